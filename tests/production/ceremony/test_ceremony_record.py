"""The record on paper, and what an audit log is told."""

from __future__ import annotations

import sys
from pathlib import Path

import pypdfium2
import pytest

from keywright.cli.main import main
from keywright.errors import KeywrightError
from keywright.production.audit.events import AuditEvent
from keywright.production.ceremony.audited import audit_event
from keywright.production.ceremony.paper import record_pdf
from keywright.production.ceremony.record import facts, persons, rows
from keywright.production.ceremony.states import Event, State
from keywright.production.unit_store.units import UnitStore
from support.audited import exported, judged, made
from support.ceremonies import CUSTODIANS, WITNESSES, Play, keystore, plan


@pytest.fixture
def sealed(tmp_path: Path) -> Play:
    target = keystore(tmp_path / "keys")
    play = Play(tmp_path / "c", plan("create", target.uri, owner="<b>factory</b>", test=True))
    play.run(target)
    assert play.state is State.SEALED
    return play


def text_of(pdf: bytes) -> str:
    document = pypdfium2.PdfDocument(pdf)
    return "\n".join(page.get_textpage().get_text_bounded() for page in document)


def test_the_paper_has_every_person_every_step_and_the_hash(sealed: Play) -> None:
    ceremony = sealed.ceremony
    pdf = record_pdf(ceremony)
    assert pdf == record_pdf(ceremony)
    text = text_of(pdf)
    for name in ("kim", "kurt", *CUSTODIANS, *WITNESSES):
        assert f"{name}" in text
    for line in ceremony.lines:
        assert line.event in text
    assert ceremony.hash in text
    assert str(ceremony.combined["check"]) in text
    # What people wrote is text, not markup.
    assert "<b>factory</b>" in text


def test_the_record_names_each_duty_and_the_check_values_of_parts(sealed: Play) -> None:
    ceremony = sealed.ceremony
    assert [(name, duty) for name, duty, _ in persons(ceremony)] == [
        ("kim", "drafted, host"),
        ("kurt", "approved"),
        *((name, f"custodian of part {index}") for index, name in enumerate(CUSTODIANS, 1)),
        *((name, "witness") for name in WITNESSES),
    ]
    told = [row.what for row in rows(ceremony) if row.event == "load"]
    checks = ceremony.combined["parts"]
    assert told == [f"part {index}, {checks[str(index)]}" for index in (1, 2, 3)]
    assert len(set(checks.values())) == 3
    assert dict(facts(ceremony))["parts"] == "3 components (drawn on each custodian's terminal)"
    assert "box" not in str(list(rows(ceremony)))


def test_an_aborted_ceremony_has_a_record_too(tmp_path: Path) -> None:
    target = keystore(tmp_path / "keys")
    play = Play(tmp_path / "c", plan("create", target.uri))
    play.write("wim", Event.ABORT, why="a stranger in the room")
    text = text_of(record_pdf(play.ceremony))
    assert "aborted: a stranger in the room" in text
    event = audit_event(play.ceremony)
    assert (event.result, event.after_hash) == ("aborted", play.ceremony.hash)


@pytest.mark.parametrize("why", ["x " * 10_000, "y" * 9_000, "a\nb\n" * 3_000])
def test_a_reason_longer_than_a_page_is_printed_whole(tmp_path: Path, why: str) -> None:
    play = Play(tmp_path / "c", plan("create", "software:x"))
    play.write("wim", Event.ABORT, why=why)
    text = text_of(record_pdf(play.ceremony))
    # Twice: as the state, and in the transcript.
    assert text.count(why[0]) >= 2 * why.count(why[0])
    assert play.ceremony.hash in text


def test_what_the_fonts_of_the_paper_lack_is_spelled_out(tmp_path: Path) -> None:
    play = Play(tmp_path / "c", plan("create", "software:x", owner="\u6f22\u5b57 Gr\u00fcn"))
    play.write("wim", Event.ABORT, why="\u202egnorw")
    text = text_of(record_pdf(play.ceremony))
    assert "[U+6F22][U+5B57] Gr\u00fcn" in text
    assert "U+202E" in text


def test_an_audit_log_is_told_the_transcript_hash_and_no_secret(sealed: Play) -> None:
    ceremony = sealed.ceremony
    event = audit_event(ceremony)
    assert isinstance(event, AuditEvent)
    assert (event.action, event.object_id, event.actor) == ("ceremony.create", "kmc", "kim")
    assert (event.result, event.after_hash) == ("ok", ceremony.hash)
    assert event.reason == f"{ceremony.plan.id} {ceremony.combined['check']}"
    assert ceremony.approval is not None
    assert event.approvals == (ceremony.approval.id,)


def test_without_the_extra_one_line_says_what_is_missing(sealed: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("reportlab")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "reportlab", None)
    with pytest.raises(KeywrightError, match="extra paper"):
        record_pdf(sealed.ceremony)


def test_the_drafts_of_two_ceremonies_are_different(tmp_path: Path) -> None:
    one, other = (plan("create", "software:x") for _ in range(2))
    assert one.digest != other.digest
    assert one.operation().digest != other.operation().digest


def test_nobody_reads_the_check_value_of_another_part_before_all_are_in(tmp_path: Path) -> None:
    target = keystore(tmp_path / "keys")
    play = Play(tmp_path / "c", plan("create", target.uri))
    play.approve()
    host = play.host(target)
    host.open()
    parts = [play.enter(name) for name in CUSTODIANS]
    text = play.transcript.path.read_text()
    assert not [part for part in parts if str(part.check).split()[1] in text.upper()]
    assert [row.what for row in rows(play.ceremony) if row.event == "load"] == ["part 1", "part 2", "part 3"]
    ceremony = host.step()
    host.close()
    assert list(ceremony.combined["parts"].values()) == [str(part.check) for part in parts]


def test_the_transcript_hash_stands_in_the_audit_log_of_a_lot(
    sealed: Play, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "lot.db"
    made(store).close()
    sealed.people.save(tmp_path / "people")
    assert (
        main(
            [
                "ceremony",
                "log",
                str(sealed.transcript.folder),
                "--people",
                str(tmp_path / "people"),
                "--store",
                str(store),
            ]
        )
        == 0
    )
    assert sealed.ceremony.hash in capsys.readouterr().out
    with UnitStore.open(str(store), readonly=True) as opened:
        export = exported(opened, tmp_path / "export")
    assert f'"after_hash":"{sealed.ceremony.hash}"'.encode() in export
    assert judged(export, tmp_path / "export").findings == ()


def test_a_ceremony_that_is_not_over_has_no_record_yet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    play = Play(tmp_path / "c", plan("create", "software:x"))
    play.people.save(tmp_path / "people")
    words = ["--people", str(tmp_path / "people")]
    assert main(["ceremony", "record", str(tmp_path / "c"), *words, "--out", str(tmp_path / "r.pdf")]) == 5
    assert main(["ceremony", "log", str(tmp_path / "c"), *words, "--store", str(tmp_path / "none.db")]) == 5
    assert "not over" in capsys.readouterr().err
