"""The simulated garage: a file that a program opens again and again."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from keywright.ccc.sharing import Time
from keywright.ccc.statements import Entitlement
from keywright.ccc.vehicle import Plan
from keywright.errors import PolicyError, StatusError, StoreError, UsageError
from keywright.fob.garage import Garage, opened_garage
from keywright.iso7816.layers import transmit
from keywright.link import Loopback
from keywright.sansio.dialogue import drive
from keywright.store.journal import Journal
from support.aliro import stream

NOW = 1_700_000_000
_runs = iter(range(1 << 30))


@contextmanager
def opened(path: pathlib.Path, now: int = NOW) -> Iterator[Garage]:
    """The garage as another run of a program has it."""
    with opened_garage(path, stream(f"run {next(_runs)}"), lambda: now) as garage:
        yield garage


def _pair(garage: Garage, name: str, *, wrong: bool = False) -> bytes:
    garage.enter(name, wrong=wrong)
    slot = drive(garage.pair(), transmit(Loopback(garage.device(name), name))).slot
    garage.track(name)
    return slot


def _unlock(garage: Garage, name: str, entitlements: int = Entitlement.UNLOCK) -> bool:
    plan = Plan(entitlements=entitlements)
    return drive(garage.unlock(plan), transmit(Loopback(garage.device(name), name))).is_fast


def test_attempts_stay_counted_from_one_run_to_the_next(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "garage.kw"
    with opened(path) as garage:
        assert not garage.has_offer
        garage.offer()
    for left in range(6, -1, -1):
        with opened(path) as garage, pytest.raises(StatusError, match=f"{left} attempts left"):
            _pair(garage, "alice", wrong=True)
    with opened(path) as garage, pytest.raises(PolicyError, match="7 times"):
        _pair(garage, "alice")
    with opened(path) as garage:
        garage.offer()
        _pair(garage, "alice")
    with opened(path) as garage:
        assert not _unlock(garage, "alice")
        assert not garage.has_offer
    with opened(path) as garage:
        assert _unlock(garage, "alice")


def test_a_key_is_shared_used_in_its_time_and_revoked(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "garage.kw"
    with opened(path) as garage:
        garage.offer()
        owner = _pair(garage, "alice")
        receipt = garage.share("alice", "bob", Entitlement.UNLOCK, Time(not_after=NOW + 60))
        assert receipt.serial == 2
        assert [one.slot for one in garage.server.registered(garage.vehicle.identifier)] == sorted(
            [owner, receipt.slot]
        )
    with opened(path) as garage:
        assert garage.devices() == ["alice", "bob"]
        assert garage.slot_of("bob") == receipt.slot
        assert not _unlock(garage, "bob")
        assert _unlock(garage, "bob")
        with pytest.raises(PolicyError, match="entitle"):
            _unlock(garage, "bob", Entitlement.DRIVE)
        with pytest.raises(PolicyError, match="only the owner"):
            garage.share("bob", "carol", Entitlement.UNLOCK, Time())
    with opened(path, NOW + 61) as garage, pytest.raises(PolicyError, match="any more"):
        _unlock(garage, "bob")
    with opened(path) as garage:
        assert set(garage.revoke(owner)) == {owner, receipt.slot}
        garage.delete("alice")
        garage.delete("alice")
        assert garage.server.registered(garage.vehicle.identifier) == ()
        with pytest.raises(StatusError, match="6982"):
            _unlock(garage, "alice")
        with pytest.raises(PolicyError, match="revoked"):
            _unlock(garage, "bob")


def test_what_is_not_there_is_said(tmp_path: pathlib.Path) -> None:
    with opened(tmp_path / "garage.kw") as garage:
        with pytest.raises(UsageError, match="no password yet"):
            garage.enter("alice")
        with pytest.raises(UsageError, match="no device alice") as error:
            garage.slot_of("alice")
        assert error.value.hint == "devices here: none"
        garage.device("alice", new=True)
        assert garage.slot_of("alice") is None
    with Journal(tmp_path / "other.kw") as journal:
        journal.commit("lock", {"a": b"b"})
    with pytest.raises(StoreError, match="holds no garage"), opened(tmp_path / "other.kw"):
        pass


def test_the_file_is_for_its_owner_alone(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "garage.kw"
    with opened(path) as garage:
        garage.offer()
        _pair(garage, "alice")
    assert path.stat().st_mode & 0o777 == 0o600
