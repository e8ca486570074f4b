"""What a compromised key reached: units with keys from it, or certificates by it, and nothing of another lot."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa

from keywright.errors import StoreError
from keywright.production import campaign
from keywright.production.keystores.affected import affected_lot, affected_units, concerned, freeze
from keywright.production.keystores.key_states import KeyState
from keywright.production.keystores.registry import StateChange, new_record
from keywright.production.keystores.software_keystore import SoftwareKeystore
from keywright.production.means import Means
from keywright.production.reports.report import reading
from keywright.production.unit_store.database import database_at
from keywright.production.unit_store.tables import audit
from keywright.production.unit_store.units import UnitStore
from support import lots
from support.bench import Bench
from support.ledger import FOB, NOW, keystore

MANY = 20_000


@pytest.fixture
def store(tmp_path: Path) -> str:
    """A lot of three units, of which the second was never reached."""
    (tmp_path / "fob.toml").write_text(FOB, encoding="utf-8")
    rows = "".join(f"K-{n:06d},fob-one,north\n" for n in range(1, 4))
    (tmp_path / "fob.csv").write_text(f"serial,model,owner_group\n{rows}", encoding="utf-8")

    def tamper(name: str, _number: int, _command: bytes, answer: bytes) -> bytes:
        return bytes.fromhex("6A82") if name == "K-000002" else answer

    means = Means(station=Bench(tamper=tamper), opened_keystore=keystore(), clock=lambda: NOW)
    campaign.run(tmp_path / "fob.toml", tmp_path / "fob.csv", str(tmp_path / "lot.db"), means)
    return str(tmp_path / "lot.db")


def reached(url: str, *names: str, keystore_id: str = "") -> list[int] | None:
    with UnitStore.open(url, readonly=True) as units:
        lot = affected_lot(units, keystore_id or keystore().keystore_id, names)
        assert lot is not None
        return [n for n, _ in affected_units(units, lot)] if lot.keys else None


@pytest.mark.parametrize("name", ["issuer", "gp-test", "device-ca"])
def test_units_that_a_key_of_the_recipe_reached_are_listed_and_no_other(store: str, name: str) -> None:
    assert reached(store, name) == [1, 3]
    assert reached(store, "another", name) == [1, 3]


def test_a_key_that_the_recipe_does_not_name_or_of_another_keystore_reached_none(store: str) -> None:
    assert reached(store, "issuer-des") is None
    assert reached(store, "issuer", keystore_id="00" * 16) is None


def test_a_store_without_a_lot_has_none(tmp_path: Path) -> None:
    with UnitStore.open(str(tmp_path / "empty.db"), create=True) as units:
        assert affected_lot(units, "00" * 16, ("issuer",)) is None


def test_the_keys_that_are_concerned_are_the_key_and_its_descendants() -> None:
    registry = keystore().registry
    root = registry.named("issuer")
    lot = new_record(
        "00" * 16, "lot", "master", "AES-256", [], environment="test", created=int(NOW), parents=(root.id,)
    )
    assert concerned(registry.with_record(lot), "issuer") == ("issuer", "lot")
    with pytest.raises(StoreError, match="no key 'other'"):
        concerned(registry, "other")


def test_all_of_many_units_are_listed_at_once(store: str) -> None:
    engine = database_at(store).engine(write=True)
    with engine.begin() as connection:
        row = connection.execute(sa.text("SELECT * FROM unit WHERE n = 1")).mappings().one()
        values = [dict(row) | {"n": n, "serial": f"M-{n}", "device_uid": None} for n in range(10, MANY + 10)]
        names = ", ".join(map(str, row))
        connection.execute(
            sa.text(f"INSERT INTO unit ({names}) VALUES ({', '.join(f':{name}' for name in row)})"), values
        )
    engine.dispose()
    begun = time.perf_counter()
    assert len(reached(store, "issuer") or []) == MANY + 2
    assert time.perf_counter() - begun < 2


def test_a_compromised_key_says_so_in_its_registry(tmp_path: Path) -> None:
    held = SoftwareKeystore.create(tmp_path / "k", now=datetime.fromtimestamp(NOW, UTC), clock=lambda: NOW)
    record = held.change_state("issuer", KeyState.COMPROMISED, reason="found in a log", approval="ab" * 16)
    assert msgspec.to_builtins(record)["history"][-1] == {
        "at": int(NOW),
        "state": "compromised",
        "reason": "found in a log",
        "approval": "ab" * 16,
    }


def test_an_open_lot_is_stopped_and_its_log_says_why(tmp_path: Path) -> None:
    record = keystore().registry.named("issuer")
    leaked = StateChange(int(NOW), KeyState.COMPROMISED, "found in a log", "ab" * 16)
    record = msgspec.structs.replace(record, history=(*record.history, leaked))
    with lots.made_up(tmp_path / "lot.db", lots.order(3), []) as units:
        kept = units.lot()
        assert kept is not None
        other = affected_lot(units, kept.keystore_id, ("issuer-des",))
        concerned_lot = affected_lot(units, kept.keystore_id, ("issuer",))
        assert other is not None
        assert concerned_lot is not None
        assert not freeze(units, other, record, NOW)
        assert freeze(units, concerned_lot, record, NOW)
        stopped = units.lot()
        assert stopped is not None
        assert stopped.state == "stopped"
        assert units.claim(3) == []
        assert not freeze(units, concerned_lot, record, NOW)
        with reading(units) as reader:
            bodies = [body for (body,) in reader.execute(sa.select(audit.c.body))]
    told = [body for body in bodies if "key.compromised" in body]
    assert len(told) == 2
    assert all("found in a log" in body and record.id in body and "ab" * 16 in body for body in told)
