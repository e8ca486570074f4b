"""`keywright audit`: exit codes, what is said, and every way a file can be none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from keywright.production.audit.checkpoints import Notary
from keywright.production.audit.key_file import open_or_make
from support.audited import altered, made
from support.commands import Keywright


@pytest.fixture
def lot(tmp_path: Path) -> Path:
    path = tmp_path / "lot.db"
    with made(path) as store:
        Notary(store, open_or_make(path, "audited"), tmp_path / "witness").make()
    return path


def exported(keywright: Keywright, lot: Path) -> str:
    out = str(lot.with_name("export"))
    ran = keywright("audit", "export", "--store", str(lot), "--out", out)
    assert ran.code == 0, ran.err
    return out


def test_an_export_is_judged_whole_with_key_and_witness(keywright: Keywright, lot: Path) -> None:
    key, witness = f"{lot}.audit-key.pub", str(lot.with_name("witness"))
    ran = keywright("audit", "verify", exported(keywright, lot), "--key", key, "--witness", witness)
    assert ran.code == 0
    assert "Whole: 19 entries" in ran.out
    assert "Note" not in ran.out


def test_what_is_not_whole_ends_with_1_and_its_first_position(keywright: Keywright, lot: Path) -> None:
    altered(lot, "UPDATE event SET facts = '{}' WHERE unit = 2 AND phase = 'intent'")
    out = exported(keywright, lot)
    ran = keywright("audit", "verify", out)
    assert ran.code == 1
    assert "NOT WHOLE: first at entry 7: edit" in ran.out
    found = json.loads(keywright("audit", "verify", out, "--json").out)
    assert (found["whole"], found["findings"][0]["position"]) == (False, 7)


def test_a_folder_may_be_given_as_the_place(keywright: Keywright, lot: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    assert keywright("audit", "export", "--store", str(lot), "--out", str(folder)).code == 0
    assert keywright("audit", "verify", str(folder)).code == 0


def test_an_export_replaces_only_an_export(keywright: Keywright, lot: Path, tmp_path: Path) -> None:
    exported(keywright, lot)
    exported(keywright, lot)
    (tmp_path / "mine").write_text("mine")
    assert keywright("audit", "export", "--store", str(lot), "--out", str(tmp_path / "mine")).code == 2
    assert (tmp_path / "mine").read_text() == "mine"


@pytest.mark.parametrize("option", ["--key", "--witness"])
def test_a_missing_file_is_a_usage_error(keywright: Keywright, lot: Path, tmp_path: Path, option: str) -> None:
    assert keywright("audit", "verify", exported(keywright, lot), option, str(tmp_path / "none")).code == 2
    assert keywright("audit", "verify", str(tmp_path / "none")).code == 2


def test_a_key_that_is_none_is_a_usage_error(keywright: Keywright, lot: Path, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("no key")
    assert keywright("audit", "verify", exported(keywright, lot), "--key", str(tmp_path / "key")).code == 2


def test_a_proof_is_one_object(keywright: Keywright, lot: Path) -> None:
    assert json.loads(keywright("audit", "prove", "--store", str(lot), "--entry", "3").out)["size"] == 19
    assert json.loads(keywright("audit", "prove", "--store", str(lot), "--since", "9").out)["old"] == 9
    assert keywright("audit", "prove", "--store", str(lot)).code == 2
    assert keywright("audit", "prove", "--store", str(lot), "--entry", "19").code == 2


def test_young_entries_are_not_given_up(keywright: Keywright, lot: Path) -> None:
    assert json.loads(keywright("audit", "give-up", "--store", str(lot), "--json").out) == {"given_up": 0}
    assert keywright("audit", "give-up", "--store", str(lot), "--days", "30").code == 5


def test_the_evidence_of_a_lot_is_shown(keywright: Keywright, lot: Path, tmp_path: Path) -> None:
    ran = keywright("audit", "controls", "--store", str(lot), "--html", str(tmp_path / "page.html"))
    assert ran.code == 0
    assert "R12" in ran.out
    assert (tmp_path / "page.html").exists()
    assert json.loads(keywright("audit", "controls", "--store", str(lot), "--json").out)["test"] is True


def test_entries_are_shown_and_listed_for_review(keywright: Keywright, lot: Path) -> None:
    shown = keywright("audit", "show", "--store", str(lot), "--action", "lot.*", "--from", "1")
    assert (shown.code, len(shown.out.splitlines())) == (0, 2)
    assert "lot.stop  lot audited" in shown.out
    found = [json.loads(line) for line in keywright("audit", "show", "--store", str(lot), "--json").out.splitlines()]
    assert [body["seq"] for body in found] == list(range(19))
    listed = keywright("audit", "review", "--store", str(lot))
    assert "1 entries to look at" in listed.out
    (item,) = [
        json.loads(line) for line in keywright("audit", "review", "--store", str(lot), "--json").out.splitlines()
    ]
    assert (item["kind"], item["action"]) == ("stop", "lot.stop")
