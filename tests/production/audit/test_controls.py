"""The table of controls says nothing that is not so, and the evidence of a lot shows what its data show."""

from __future__ import annotations

from pathlib import Path

import pytest

from keywright.errors import UsageError
from keywright.production.audit.checkpoints import Notary
from keywright.production.audit.controls import BY_ID, CONTROLS, Control
from keywright.production.audit.evidence import Report, evidence
from keywright.production.audit.evidence_html import write_evidence
from keywright.production.audit.key_file import open_or_make
from keywright.production.unit_store.rows import UnitChange
from keywright.production.unit_store.units import UnitStore
from support.audited import altered, made
from support.canary import MASTER
from support.controls import TESTS, exists


def test_all_twenty_are_there_in_order() -> None:
    assert [control.id for control in CONTROLS] == [f"R{number}" for number in range(1, 21)]
    assert set(TESTS) == set(BY_ID)


@pytest.mark.parametrize("name", TESTS)
def test_every_test_that_is_named_exists(name: str) -> None:
    assert [test for test in TESTS[name] if not exists(test)] == []


def test_a_test_that_does_not_exist_is_found() -> None:
    assert not exists("production/audit/test_controls.py::test_nobody_wrote")
    assert not exists("production/audit/nowhere.py::test_nobody_wrote")


@pytest.mark.parametrize("control", CONTROLS, ids=lambda control: control.id)
def test_what_the_software_does_is_shown_by_a_test(control: Control) -> None:
    if control.standing in ("software", "partly"):
        assert TESTS[control.id], "a claim without a test"
    if control.standing != "software":
        assert control.left, "what is left has to be said"


def lines(report: Report, name: str) -> str:
    return "\n".join(line.text for control in report.controls if control.id == name for line in control.lines)


def test_the_evidence_of_a_lot_is_its_own(tmp_path: Path) -> None:
    with made(tmp_path / "lot.db") as store:
        Notary(store, open_or_make(store.path, "audited"), None).make()
        report = evidence(store)
    shown = {control.id: control.shown for control in report.controls}
    assert shown["R11"] == shown["R12"] == shown["R15"] == "shown"
    assert shown["R2"] == "exception", "a TEST keystore"
    assert shown["R14"] == shown["R8"] == "not shown"
    assert "5 came in; planned 2, sealed 3" in lines(report, "R12")
    assert "0 entries after the last checkpoint" in lines(report, "R11")
    assert "3 units sealed, 3 certificates" in lines(report, "R13")
    assert report.exceptions == 1


def test_what_somebody_has_to_look_at_is_marked(tmp_path: Path) -> None:
    with made(tmp_path / "lot.db") as store:
        store.commit([UnitChange(4, {"state": "running"})])
        store.commit([UnitChange(4, {"state": "quarantined", "step": "own_keys", "failure_code": "mismatch"})])
    altered(tmp_path / "lot.db", "UPDATE unit SET state = 'sealed' WHERE n = 5")
    with UnitStore.open(str(tmp_path / "lot.db"), readonly=True) as store:
        report = evidence(store)
    assert "no checkpoint was made" in lines(report, "R11")
    assert "1 quarantined at own_keys: mismatch" in lines(report, "R17")
    assert "units, sealed: the rows of the units say +1" in lines(report, "R12")


def test_the_page_holds_the_evidence_and_needs_nothing_else(tmp_path: Path) -> None:
    with made(tmp_path / "lot.db") as store:
        report = evidence(store)
        write_evidence(report, tmp_path / "controls.html", store.path)
        page = (tmp_path / "controls.html").read_text()
        (tmp_path / "other.html").write_text("<html>")
        with pytest.raises(UsageError):
            write_evidence(report, tmp_path / "other.html", store.path)
    assert "TEST: these keys protect nothing" in page
    assert "no checkpoint was made" in page
    assert all(f"<td>{control.id}</td>" in page for control in CONTROLS)
    assert "http" not in page.replace("http-equiv", "")
    assert MASTER.hex() not in page
