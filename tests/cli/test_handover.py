"""`keywright campaign ledger`, `close`, `send`, `manifest`: what happens to a lot when it has been made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from keywright.production import campaign
from keywright.production.handover.manifest import read_manifest
from keywright.production.handover.unit_record import signer_of
from keywright.production.keystores.software_keystore import SoftwareKeystore
from keywright.production.means import Means
from keywright.production.unit_store.rows import UnitChange
from keywright.production.unit_store.units import UnitStore
from support.commands import Keywright
from support.lots import lot, made_up, order
from support.receiving import Registry, serving

EXAMPLES = Path(__file__).parents[2] / "examples"
UNITS = 3


@pytest.fixture(scope="module")
def run_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("lot")
    rows = (EXAMPLES / "fob.csv").read_text().splitlines(keepends=True)[: UNITS + 1]
    (place / "fob.csv").write_text("".join(rows))
    campaign.run(EXAMPLES / "fob.toml", place / "fob.csv", str(place / "lot.db"), Means())
    return place / "lot.db"


@pytest.fixture
def store(run_once: Path, tmp_path: Path) -> Path:
    for name in ("lot.db", "lot.db.keystore", "lot.db.keystore.unlock", "lot.db.audit-key"):
        copy = tmp_path / name
        copy.write_bytes(run_once.with_name(name).read_bytes())
        copy.chmod(0o600)
    return tmp_path / "lot.db"


def test_a_lot_of_simulated_units_closes_by_itself(keywright: Keywright, store: Path) -> None:
    shown = keywright("campaign", "ledger", "--store", store)
    assert "units    sealed   good" in shown.out
    assert "it can be closed" in shown.out
    closed = keywright("campaign", "close", "--store", store)
    assert (closed.code, closed.out) == (0, f"Lot fob is closed; counted {UNITS} units, no difference.\n")
    assert f"{UNITS} records have not been acknowledged yet" in closed.err
    again = keywright("campaign", "close", "--store", store)
    assert again.code == 5
    assert "closed already" in again.err


def test_a_count_that_differs_does_not_close(keywright: Keywright, store: Path) -> None:
    ran = keywright("campaign", "close", "--store", store, "--counted", "sealed=2", "--json")
    assert ran.code == 5
    error = json.loads(ran.out)["error"]
    assert error["code"] == "closing"
    assert "counted -1 'good'" in error["message"]
    for wrong in ("sealed", "gold=1", "sealed=x", "sealed=\N{SUPERSCRIPT TWO}"):
        assert keywright("campaign", "close", "--store", store, "--counted", wrong).code == 2
    twice = keywright("campaign", "close", "--store", store, "--counted", "sealed=1", "--counted", "sealed=2")
    assert (twice.code, "names an account twice" in twice.err) == (2, True)


def test_real_units_have_to_be_counted_by_two(keywright: Keywright, tmp_path: Path) -> None:
    with made_up(tmp_path / "lot.db", order(2), campaign=lot(test=False, link="pcsc:X")) as opened:
        opened.commit([UnitChange(n, {"state": "sealed"}) for n in (1, 2)])
    ran = keywright("campaign", "close", "--store", tmp_path / "lot.db")
    assert "real units have to be counted" in ran.err
    ran = keywright("campaign", "close", "--store", tmp_path / "lot.db", "--counted", "sealed=2")
    assert "this takes two persons" in ran.err


def test_records_go_to_a_folder(keywright: Keywright, store: Path, tmp_path: Path) -> None:
    ran = keywright("campaign", "send", "--store", store, "--to", f"file:{tmp_path / 'registry'}")
    assert ran.code == 0
    assert "every record has been acknowledged" in ran.out
    assert sorted(path.name for path in (tmp_path / "registry").iterdir()) == ["1.jws", "2.jws", "3.jws"]
    assert json.loads(keywright("campaign", "ledger", "--store", store, "--json").out)["unsent"] == 0


def test_what_a_server_refuses_stays_and_is_told(keywright: Keywright, store: Path) -> None:
    registry = Registry()
    registry.faults = {2: [500]}
    with serving(registry) as url:
        ran = keywright("campaign", "send", "--store", store, "--to", url, "--json")
    assert ran.code == 1
    told = json.loads(ran.out)
    assert (told["stored"], told["failed"], told["left"]) == (2, 1, {"waiting": 1, "dead": 0, "conflict": 0})
    assert told["troubles"][0]["last_error"].endswith("answered 500")
    assert keywright("campaign", "send", "--store", store, "--to", "registry").code == 2


def test_a_manifest_is_checked_with_the_key_beside_it(keywright: Keywright, store: Path, tmp_path: Path) -> None:
    out = tmp_path / "manifest.json"
    ran = keywright("campaign", "manifest", "--store", store, "--out", out, "--json")
    assert ran.code == 0, ran.err
    signer = signer_of(SoftwareKeystore.open(store.with_name("lot.db.keystore")))
    assert signer is not None
    found = read_manifest(out, signer.public)
    assert [content.serial for content in found] == ["KW-F1-000001", "KW-F1-000002", "KW-F1-000003"]
    assert all(text.count(".") == 2 for text in json.loads(out.read_text()))
    assert (tmp_path / "manifest.json.pem").read_text().startswith("-----BEGIN PUBLIC KEY-----\n")
    assert keywright("campaign", "manifest", "--store", store, "--out", out).code == 0


def test_a_sealed_unit_without_a_record_is_not_left_out(keywright: Keywright, store: Path, tmp_path: Path) -> None:
    with made_up(tmp_path / "other.db", order(1)) as opened:
        opened.commit([UnitChange(1, {"state": "sealed"})])
    out = tmp_path / "manifest.json"
    words = ("campaign", "manifest", "--store", tmp_path / "other.db", "--out", out)
    ran = keywright(*words, "--keystore", store.with_name("lot.db.keystore"))
    assert ran.code == 1
    assert "unit 1 (KW-F1-000001) has no record" in ran.err
    assert not out.exists()
    with UnitStore.open(str(store), readonly=True) as opened:
        assert opened.lot() is not None


def test_labels_are_printed_once_and_again_only_as_reprints(keywright: Keywright, store: Path, tmp_path: Path) -> None:
    first = keywright("campaign", "labels", "--store", store, "--out", tmp_path / "labels.pdf")
    assert first.out.endswith(f"labels.pdf: {UNITS} labels of 50 x 25 mm, every code read back\n")
    again = keywright("campaign", "labels", "--store", store, "--out", tmp_path / "more.pdf")
    assert again.code == 2
    assert "no sealed unit is without a label" in again.err
    words = ("campaign", "labels", "--store", store, "--svg", "--reprint", "KW-F1-000002")
    assert "--reprint takes --why" in keywright(*words, "--out", tmp_path / "x").err
    reprint = keywright(*words, "--out", tmp_path / "again", "--why", "torn", "--size", "60x30", "--json")
    assert json.loads(reprint.out)["labels"] == 1
    assert "REPRINT 1" in (tmp_path / "again/2-r1.svg").read_text()


def test_a_reprint_of_a_production_lot_takes_two_persons(keywright: Keywright, tmp_path: Path) -> None:
    path = tmp_path / "lot.db"
    with made_up(path, order(1), campaign=lot(test=False, link="pcsc:X")) as opened:
        opened.commit([UnitChange(1, {"state": "sealed"})])
    assert keywright("campaign", "labels", "--store", path, "--out", tmp_path / "labels.pdf").code == 0
    ran = keywright(
        "campaign", "labels", "--store", path, "--out", tmp_path / "2.pdf", "--reprint", "KW-F1-000001", "--why", "x"
    )
    assert "this takes two persons" in ran.err
    assert not (tmp_path / "2.pdf").exists()


def test_units_are_destroyed_or_given_back_before_a_lot_closes(keywright: Keywright, tmp_path: Path) -> None:
    path = tmp_path / "lot.db"
    with made_up(path, order(3)) as opened:
        opened.commit([UnitChange(1, {"state": "sealed"}), UnitChange(2, {"state": "quarantined"})])
    words = ("--store", path, "--why", "not needed")
    assert "1 units are 'blank'" in keywright("campaign", "close", "--store", path).err
    assert keywright("campaign", "destroy", "KW-F1-000002", *words).out == "1 units are scrapped\n"
    returned = keywright("campaign", "return", "KW-F1-000003", *words, "--json")
    assert json.loads(returned.out) == {"units": ["KW-F1-000003"], "state": "returned", "approval": ""}
    assert keywright("campaign", "destroy", "KW-F1-000002", *words).code != 0
    assert keywright("campaign", "destroy", "KW-F1-000001", "--store", path, "--why", " ").code == 2
    assert keywright("campaign", "close", "--store", path).code == 0


def test_destruction_in_a_production_lot_takes_two_persons(keywright: Keywright, tmp_path: Path) -> None:
    path = tmp_path / "lot.db"
    with made_up(path, order(1), campaign=lot(test=False, link="pcsc:X")) as opened:
        opened.commit([UnitChange(1, {"state": "rejected"})])
    ran = keywright("campaign", "destroy", "KW-F1-000001", "--store", path, "--why", "water")
    assert ran.code == 2
    assert "this takes two persons" in ran.err
