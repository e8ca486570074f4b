"""The device CA: what a certificate says, and that there is one for each unit and key."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from keywright.crypto.certificates import load_certificate
from keywright.crypto.ec import EcPrivateKey
from keywright.errors import AuthenticationError, DecodeError, PolicyError, StoreError
from keywright.production.authority import DeviceAuthority
from keywright.production.keystores.software_keystore import SoftwareKeystore
from keywright.production.order import OrderRow
from keywright.production.unit_store.rows import Lot, Unit
from keywright.production.unit_store.units import ConflictError, UnitStore

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
AT = NOW.timestamp()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> DeviceAuthority:
    path = tmp_path_factory.mktemp("authority") / "k"
    return DeviceAuthority(SoftwareKeystore.create(path, now=NOW, clock=NOW.timestamp), "device-ca")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[UnitStore]:
    lot = Lot(
        lot="l",
        recipe="",
        recipe_digest="",
        order_file="",
        order_digest="",
        keystore_id="",
        test=True,
        link="sim:fob",
        created_at=AT,
    )
    with UnitStore.open(str(tmp_path / "s.db"), create=True) as opened:
        opened.import_order(lot, [OrderRow(1, "KW-1", "m", "g"), OrderRow(2, "KÜ_2", "m", "g")])
        yield opened


@pytest.fixture
def units(store: UnitStore) -> list[Unit]:
    return list(store.units())


@pytest.fixture(scope="module")
def point() -> bytes:
    return EcPrivateKey.generate("P-256").public.point


def test_a_certificate_says_unit_key_and_validity(authority: DeviceAuthority, units: list[Unit], point: bytes) -> None:
    row = authority.issue(units[0], point, at=AT + 0.75, validity_days=10, rng=os.urandom)
    found = load_certificate(row.der)
    assert (found.subject, found.subject_serial) == ("KW-1", "KW-1")
    assert found.public_key.point == point
    assert (found.not_before, found.not_after) == (NOW, NOW + timedelta(days=10))
    assert found.issuer == "keywright TEST device CA"
    assert f"{found.serial_number:032x}" == row.serial_number
    assert row.spki_sha256 == DeviceAuthority.spki_digest(point)
    assert (row.unit, row.at) == (1, AT + 0.75)
    authority.verify(row, units[0], point)


def test_a_serial_outside_printable_string_names_the_unit_in_the_common_name_only(
    authority: DeviceAuthority, units: list[Unit], point: bytes
) -> None:
    found = load_certificate(authority.issue(units[1], point, at=AT, validity_days=1, rng=os.urandom).der)
    assert (found.subject, found.subject_serial) == ("KÜ_2", "")


@pytest.mark.parametrize("drawn", [bytes(16), b"\xff" * 16, b"\x80" + bytes(15)])
def test_serial_numbers_are_positive_and_of_one_length(
    authority: DeviceAuthority, units: list[Unit], point: bytes, drawn: bytes
) -> None:
    row = authority.issue(units[0], point, at=AT, validity_days=1, rng=lambda size: drawn[:size])
    assert len(row.serial_number) == 32
    assert row.serial_number[0] in "4567"


def test_a_certificate_of_another_unit_key_or_ca_is_not_accepted(
    authority: DeviceAuthority, units: list[Unit], point: bytes, tmp_path: Path
) -> None:
    row = authority.issue(units[0], point, at=AT, validity_days=1, rng=os.urandom)
    with pytest.raises(AuthenticationError, match="names 'KW-1'"):
        authority.verify(row, units[1], point)
    with pytest.raises(AuthenticationError):
        authority.verify(row, units[0], EcPrivateKey.generate("P-256").public.point)
    other = DeviceAuthority(SoftwareKeystore.create(tmp_path / "k", now=NOW, clock=NOW.timestamp), "device-ca")
    with pytest.raises(AuthenticationError):
        other.verify(row, units[0], point)


@pytest.mark.parametrize("bad", [b"", b"\x04" + bytes(64), b"\x04" * 65, bytes(97)])
def test_what_is_no_point_of_the_curve_gets_no_certificate(
    authority: DeviceAuthority, units: list[Unit], bad: bytes
) -> None:
    with pytest.raises(DecodeError):
        authority.issue(units[0], bad, at=AT, validity_days=1, rng=os.urandom)


def test_a_certificate_does_not_outlive_its_ca(authority: DeviceAuthority, units: list[Unit], point: bytes) -> None:
    authority.check_validity(AT, 30 * 365)
    with pytest.raises(PolicyError, match="ends on 2056"):
        authority.check_validity(AT, 30 * 365 + 1)
    with pytest.raises(PolicyError):
        authority.issue(units[0], point, at=AT, validity_days=30 * 365 + 1, rng=os.urandom)


def test_an_unknown_ca_is_refused(authority: DeviceAuthority, units: list[Unit], point: bytes) -> None:
    unknown = DeviceAuthority(authority._keystore, "other")
    with pytest.raises(StoreError, match="no CA 'other'"):
        unknown.issue(units[0], point, at=AT, validity_days=1, rng=os.urandom)


def test_the_store_keeps_one_certificate_for_a_unit_a_key_and_a_number(
    authority: DeviceAuthority, store: UnitStore, units: list[Unit], point: bytes
) -> None:
    first = authority.issue(units[0], point, at=AT, validity_days=1, rng=bytes)
    store.commit([first])
    other = EcPrivateKey.generate("P-256").public.point
    for unit, key, rng in (
        (units[0], other, os.urandom),
        (units[1], point, os.urandom),
        (units[1], other, bytes),
    ):
        with pytest.raises(ConflictError, match="certificate"):
            store.commit([authority.issue(unit, key, at=AT, validity_days=1, rng=rng)])
    assert store.certificate(1) == first
    assert store.certificate(2) is None
    assert list(store.certificates()) == [first]
