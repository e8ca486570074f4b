"""The signed record of a unit: written when it is sealed, in two forms that say the same, and nobody else's."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from keywright.codec.cbor import decode, encode
from keywright.crypto.cose import KID, sign_cose
from keywright.crypto.ec import EcPrivateKey
from keywright.crypto.jws import sign_jws
from keywright.errors import AuthenticationError, DecodeError, KeywrightError, PolicyError, StoreError
from keywright.production import campaign
from keywright.production.canonical import Json, canonical
from keywright.production.engine import Engine, whole_recipe
from keywright.production.handover.outbox import UnitRecord, body_hash
from keywright.production.handover.unit_record import (
    RecordContent,
    identity_of,
    key_id,
    read_cose_record,
    read_jws_record,
    recorded,
    sign_record,
    signer_of,
)
from keywright.production.keystores.keystore import KeystoreRefusedError
from keywright.production.keystores.sealed import Entry
from keywright.production.keystores.software_keystore import SoftwareKeystore
from keywright.production.means import Means
from keywright.production.readiness import ready
from keywright.production.recipe import parse_recipe
from keywright.production.reports.report import reading
from keywright.production.unit_store.handover_tables import outbox, unit_record
from keywright.production.unit_store.rows import to_json
from keywright.production.unit_store.units import UnitStore
from keywright.production.watch import Unwatched
from support.bench import Bench
from support.engine import jobs, serials
from support.ledger import FOB, NOW, Ledger, entries
from support.ledger import keystore as in_memory
from support.lots import lot

EXAMPLES = Path(__file__).parents[3] / "examples"
CONTENT = RecordContent(
    v=1,
    uid="4b5746",
    serial="KW-F1-000001",
    lot="fob",
    order="aa" * 32,
    recipe="bb" * 32,
    record=1,
    station="s1",
    started_ms=1,
    finished_ms=2,
    evidence="cc" * 32,
    keys={"kvn": 48, "kcvs": "b1b99630515da0d065"},
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lot of three simulated fobs, run as a user does."""
    place = tmp_path_factory.mktemp("lot")
    order = place / "fob.csv"
    order.write_text("".join((EXAMPLES / "fob.csv").read_text().splitlines(keepends=True)[:4]))
    assert campaign.run(EXAMPLES / "fob.toml", order, str(place / "lot.db"), Means()).outcome.sealed == 3
    return place / "lot.db"


@pytest.fixture
def store(made: Path) -> Iterator[UnitStore]:
    with UnitStore.open(str(made), readonly=True) as opened:
        yield opened


def records(store: UnitStore) -> list[UnitRecord]:
    with reading(store) as connection:
        return [UnitRecord(**row) for row in connection.execute(sa.select(unit_record)).mappings()]


def test_every_sealed_unit_has_a_record_that_says_what_the_store_knows(store: UnitStore, made: Path) -> None:
    signer = signer_of(SoftwareKeystore.open(made.with_name("lot.db.keystore")))
    assert signer is not None
    found = records(store)
    assert [record.unit for record in found] == [1, 2, 3]
    known = store.lot()
    assert known is not None
    for record in found:
        unit, certificate = store.unit(record.unit), store.certificate(record.unit)
        assert unit is not None
        assert certificate is not None
        content = read_jws_record(record.jws, signer.public)
        assert content == read_cose_record(record.cose, signer.public)
        assert (content.serial, content.record) == (unit.serial, unit.n)
        assert content.uid == (unit.device_uid or b"").hex()
        assert (content.lot, content.order, content.recipe) == (known.lot, known.order_digest, known.recipe_digest)
        assert content.keys == {"kvn": unit.evidence["own_keys"]["kvn"], "kcvs": unit.evidence["own_keys"]["kcvs"]}
        assert content.evidence == hashlib.sha256(to_json(unit.evidence).encode()).hexdigest()
        assert content.certificate == {
            "serial_number": certificate.serial_number,
            "sha256": hashlib.sha256(certificate.der).hexdigest(),
            "spki_sha256": certificate.spki_sha256.hex(),
        }
    with reading(store) as connection:
        posted = connection.execute(sa.select(outbox).order_by(outbox.c.seq)).all()
    assert [(row.unit, row.hash, row.state) for row in posted] == [(r.unit, body_hash(r.jws), "waiting") for r in found]


def test_a_record_is_checked_by_the_library_alone(store: UnitStore, made: Path) -> None:
    """Without a line of ours: header, payload and signature of RFC 7515 by hand."""
    signer = signer_of(SoftwareKeystore.open(made.with_name("lot.db.keystore")))
    assert signer is not None
    head, payload, signature = records(store)[0].jws.split(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    der = encode_dss_signature(int.from_bytes(raw[:32]), int.from_bytes(raw[32:]))
    signer.public.library_key().verify(der, f"{head}.{payload}".encode(), ec.ECDSA(hashes.SHA256()))
    header = json.loads(base64.urlsafe_b64decode(head + "=="))
    assert header == {"alg": "ES256", "kid": signer.kid, "sku": "fob-one", "version": 1}


def test_no_record_without_an_identity_and_none_of_a_unit_that_failed() -> None:
    assert recorded(whole_recipe, lot(), None, station="s") is whole_recipe


class Refusing:
    """A keystore that does all but sign."""

    def __getattr__(self, name: str) -> object:
        return getattr(in_memory(), name)

    def sign(self, identity: str, digest: bytes) -> bytes:
        raise KeystoreRefusedError(f"the key {identity} is suspended ({len(digest)} bytes)")


def test_a_unit_whose_record_cannot_be_signed_is_not_sealed() -> None:
    ledger = Ledger.of(FOB, *serials(1))
    signer = signer_of(Refusing())  # type: ignore[arg-type]  # all of a keystore but one method
    work = recorded(whole_recipe, lot(), signer, station="s")
    outcome = Engine(ledger.as_store(), Bench(), jobs(ledger), work=work).run()
    assert (outcome.sealed, outcome.left_open) == (0, 1)
    assert "suspended" in ledger.units[1].failure_text


@pytest.mark.parametrize("curve", ["P-256", "P-384"])
def test_both_forms_are_of_the_key_alone(curve: str) -> None:
    signer = _Signer(EcPrivateKey.generate(curve))
    record = sign_record(CONTENT, sku="fob-one", unit=1, at=1.0, signer=signer)  # type: ignore[arg-type]  # signs alike
    assert read_jws_record(record.jws, signer.public) == read_cose_record(record.cose, signer.public) == CONTENT
    other = EcPrivateKey.generate(curve).public
    with pytest.raises(AuthenticationError):
        read_jws_record(record.jws, other)
    with pytest.raises(AuthenticationError):
        read_cose_record(record.cose, other)


def test_what_is_signed_and_no_record_is_refused() -> None:
    signer = _Signer(EcPrivateKey.generate("P-256"))
    fields = msgspec.to_builtins(CONTENT)
    header = {"kid": signer.kid, "sku": "s", "version": 1}
    without = {name: value for name, value in fields.items() if name != "uid"}
    wrongs: list[Json] = [{}, [], fields | {"v": "1"}, without]
    for wrong in wrongs:
        with pytest.raises(DecodeError):
            read_jws_record(sign_jws(header, canonical(wrong), signer), signer.public)
    for change in ({"kid": "0" * 16}, {"version": 2}):
        with pytest.raises(AuthenticationError):
            read_jws_record(sign_jws(header | change, canonical(fields), signer), signer.public)
    protected = {KID: bytes.fromhex(signer.kid), "version": 1}
    for payload in (encode([]), encode({}), b"\xff"):
        with pytest.raises(KeywrightError):
            read_cose_record(sign_cose(protected, payload, signer), signer.public)


def test_bytes_are_bytes_in_cbor() -> None:
    signer = _Signer(EcPrivateKey.generate("P-256"))
    record = sign_record(CONTENT, sku="s", unit=1, at=1.0, signer=signer)  # type: ignore[arg-type]  # signs alike
    payload = decode(decode(record.cose).value[2])
    assert payload["uid"] == bytes.fromhex(CONTENT.uid)
    assert payload["keys"] == {"kvn": 48, "kcvs": bytes.fromhex("b1b99630515da0d065")}
    assert len(record.cose) < len(record.jws) * 0.6


class _Signer:
    """A key in memory as the line's signer."""

    def __init__(self, key: EcPrivateKey) -> None:
        self._key = key
        self.public = key.public
        self.kid = key_id(key.public)

    def sign(self, data: bytes) -> bytes:
        return self._key.sign(data, "sha256" if self.public.curve == "P-256" else "sha384")


def with_identities(folder: Path, *names: str) -> SoftwareKeystore:
    others = [entry for entry in entries() if entry.purpose != "identity"]
    signing = [Entry(name, "identity", "P-256", EcPrivateKey.generate("P-256").to_pkcs8()) for name in names]
    return SoftwareKeystore.create(
        folder / "keys", now=datetime.fromtimestamp(NOW, UTC), entries=(*others, *signing), clock=lambda: NOW
    )


def test_one_identity_key_signs_by_itself_and_of_several_one_is_named(tmp_path: Path) -> None:
    assert identity_of(in_memory()) == "unit-records"
    held = with_identities(tmp_path, "east", "west")
    with pytest.raises(StoreError, match="several identity keys: east, west") as refused:
        identity_of(held)
    assert 'identity = "east"' in refused.value.hint
    signer = signer_of(held, "west")
    assert signer is not None
    assert signer.public.spki() == held.public_key("west").spki()
    with pytest.raises(StoreError, match="no identity key 'north'"):
        identity_of(held, "north")


def test_the_recipe_names_the_key_that_signs_its_units_and_a_wrong_one_is_met_before_the_first(tmp_path: Path) -> None:
    held = with_identities(tmp_path, "east", "west")
    order = tmp_path / "fob.csv"
    order.write_text("".join((EXAMPLES / "fob.csv").read_text().splitlines(keepends=True)[:2]))
    recipe = tmp_path / "fob.toml"
    means = Means(opened_keystore=held, station=Bench(), clock=lambda: NOW)
    recipe.write_text(FOB)
    with pytest.raises(StoreError, match="several identity keys"):
        campaign.run(recipe, order, str(tmp_path / "lot.db"), means)
    assert not (tmp_path / "lot.db").exists()
    recipe.write_text('identity = "west"\n' + FOB)
    assert campaign.run(recipe, order, str(tmp_path / "lot.db"), means).outcome.sealed == 1
    with UnitStore.open(str(tmp_path / "lot.db"), readonly=True) as done:
        (record,) = records(done)
    assert read_jws_record(record.jws, held.public_key("west")).record == 1


def test_without_an_identity_key_a_lot_says_so_and_one_that_produces_is_refused(tmp_path: Path) -> None:
    class Hearing(Unwatched):
        def noticed(self, text: str) -> None:
            heard.append(text)

    heard: list[str] = []
    held = with_identities(tmp_path)
    means = Means(opened_keystore=held, watcher=Hearing(), clock=lambda: NOW, confirm=lambda _lot, _link: True)
    ready(means, parse_recipe(FOB.encode()), "sim:fob", tmp_path / "lot.db", None)
    (said,) = heard
    assert f"{held.keystore_id} has no identity key: its units get no signed records" in said
    held.test = False
    with pytest.raises(PolicyError, match="no identity key"):
        ready(means, parse_recipe(FOB.encode()), "pcsc:X", tmp_path / "lot.db", None)
