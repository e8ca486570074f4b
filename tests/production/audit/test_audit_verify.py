"""An exported log: whole as it was written, and every change to it found, with its place."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.production.audit.lines import parse_line
from keywright.production.audit.verdict import Verdict
from keywright.production.unit_store.units import UnitStore
from support.audited import altered, exported, judged, made


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("audited")
    with made(folder / "lot.db") as store:
        return exported(store, folder / "export")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("changed") / "export"


def entries(data: bytes) -> list[int]:
    """The lines (from 0) that hold the entries, in their order."""
    return [at for at, line in enumerate(data.splitlines()) if line.startswith(b"leaf ")]


def first(verdict: Verdict) -> tuple[int, str]:
    assert not verdict.whole
    return verdict.findings[0].position, verdict.findings[0].kind


def test_what_was_written_is_whole(export: bytes, place: Path) -> None:
    verdict = judged(export, place)
    assert verdict.findings == ()
    assert (verdict.whole, verdict.size) == (True, len(entries(export)))


def test_the_entries_tell_what_happened_in_its_order(export: bytes) -> None:
    lines = [parse_line(0, line + b"\n") for line in export.splitlines()]
    leaves = [line.payload.decode() for line in lines if line.word == "leaf"]
    assert [leaf.split('"')[3] for leaf in leaves] == [
        "lot.import",
        "order.add",
        *["unit.intent", "unit.change", "unit.done", "certificate.issue", "unit.change"] * 3,
        "lot.stop",
        "lot.event",
    ]


def test_a_deleted_entry_is_named(export: bytes, place: Path) -> None:
    lines = export.splitlines(keepends=True)
    for position, at in enumerate(entries(export)):
        without = b"".join(lines[:at] + lines[at + 1 :])
        kind = "deletion" if position + 1 < len(entries(export)) else "truncation"
        assert first(judged(without, place)) == (position, kind)


def test_an_entry_and_its_row_deleted_is_named(export: bytes, place: Path) -> None:
    lines = export.splitlines(keepends=True)
    at = entries(export)[2]
    assert lines[at + 1].startswith(b"row ")
    assert first(judged(b"".join(lines[:at] + lines[at + 2 :]), place)) == (2, "deletion")


def test_several_deleted_entries_are_named(export: bytes, place: Path) -> None:
    lines = export.splitlines(keepends=True)
    places = entries(export)
    verdict = judged(b"".join(lines[: places[4]] + lines[places[7] :]), place)
    assert first(verdict) == (4, "deletion")
    assert "entries 4 to 6" in verdict.findings[0].text


def test_two_entries_that_changed_places_are_named(export: bytes, place: Path) -> None:
    for position in range(len(entries(export)) - 1):
        lines = export.splitlines(keepends=True)
        one, other = entries(export)[position : position + 2]
        lines[one], lines[other] = lines[other], lines[one]
        assert first(judged(b"".join(lines), place)) == (position, "reordering")


def test_an_entry_put_in_is_named(export: bytes, place: Path) -> None:
    for position, at in enumerate(entries(export)):
        for source in (entries(export)[0], entries(export)[-2], at):
            lines = export.splitlines(keepends=True)
            lines.insert(at, lines[source])
            found, kind = first(judged(b"".join(lines), place))
            # A copy put in before or after the entry itself is the same file.
            expected = position + 1 if source == at else position
            assert (found, kind) in {(expected, "insertion"), (position, "insertion")}


def test_a_log_cut_off_anywhere_is_named(export: bytes, place: Path) -> None:
    lines = export.splitlines(keepends=True)
    for position, at in enumerate(entries(export)):
        verdict = judged(b"".join(lines[:at]), place)
        assert (position, "truncation") in {(found.position, found.kind) for found in verdict.findings}


def test_a_log_whose_last_entries_went_while_the_rest_stayed_is_named(export: bytes, place: Path) -> None:
    lines = export.splitlines(keepends=True)
    places = entries(export)
    verdict = judged(b"".join(lines[: places[-3]] + lines[places[-1] + 1 :]), place)
    assert (len(places) - 3, "truncation") in {(found.position, found.kind) for found in verdict.findings}


@given(st.data())
def test_any_changed_byte_is_found_with_its_place(export: bytes, place: Path, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(export) - 1))
    value = data.draw(st.integers(0, 255).filter(lambda byte: byte != export[at]))
    verdict = judged(export[:at] + bytes([value]) + export[at + 1 :], place)
    assert not verdict.whole
    line = export.count(b"\n", 0, at)
    if export.splitlines()[line].startswith((b"leaf ", b"row ")) and value != 0x0A and export[at] != 0x0A:
        position = sum(entry <= line for entry in entries(export)) - 1
        assert verdict.findings[0].position in (position, position + 1)
        is_word = at - export.rfind(b"\n", 0, at) <= 5
        assert is_word or verdict.findings[0].position == position


@given(st.data())
def test_any_lines_changed_about_are_found(export: bytes, place: Path, data: st.DataObject) -> None:
    lines = export.splitlines(keepends=True)
    at, to = data.draw(st.lists(st.integers(0, len(lines) - 1), min_size=2, max_size=2, unique=True))
    match data.draw(st.sampled_from(("delete", "copy", "swap", "cut"))):
        case "delete":
            del lines[at]
        case "copy":
            lines.insert(to, lines[at])
        case "swap":
            lines[at], lines[to] = lines[to], lines[at]
        case _:
            del lines[at:]
    changed = b"".join(lines)
    assert judged(changed, place).whole == (changed == export)


@given(st.binary(max_size=300))
def test_any_bytes_are_judged(place: Path, data: bytes) -> None:
    assert not judged(data, place).whole


# ---- changed in the database, then exported


ADD_UNIT = (
    "INSERT INTO unit (n, serial, model, owner_group, extra, state, step, evidence, failure_code, failure_text, tries) "
    "VALUES (6, 'more', 'fob', '', '{}', 'planned', '', '{}', '', '', 0)"
)
CHANGED = [
    ("UPDATE event SET facts = '{}' WHERE unit = 2 AND phase = 'intent'", "edit", "event 2/own_keys.put/intent/1"),
    ("UPDATE event SET at = at + 1 WHERE seq = 1", "edit", "event 1/own_keys.put/intent/1"),
    ("DELETE FROM event WHERE unit = 3 AND phase = 'done'", "deletion", "event 3/own_keys.put/done/1"),
    (
        "INSERT INTO event (unit, step, phase, attempt, facts, at) VALUES (1, 'x', 'done', 1, '{}', 1.0)",
        "insertion",
        "row of event",
    ),
    ("UPDATE unit SET state = 'rejected' WHERE n = 2", "edit", "unit 2"),
    ("UPDATE unit SET device_uid = x'00' WHERE n = 3", "edit", "unit 3"),
    ("UPDATE unit SET serial = 'other' WHERE n = 1", "edit", "unit 1"),
    ("UPDATE unit SET serial = 'other' WHERE n = 5", "edit", "units 1 to 5"),
    ("UPDATE unit SET state = 'sealed' WHERE n = 4", "edit", "unit 4"),
    ("DELETE FROM unit WHERE n = 5", "deletion", "units 5 to 5"),
    ("DELETE FROM unit WHERE n = 4", "deletion", "unit 4"),
    (ADD_UNIT, "insertion", "unit 6"),
    ("UPDATE certificate SET der = x'00' WHERE unit = 1", "edit", "certificate"),
    ("DELETE FROM certificate WHERE unit = 1", "deletion", "certificate"),
    ("UPDATE campaign SET test = 0", "edit", "lot audited"),
    ("UPDATE campaign SET recipe_digest = 'other'", "edit", "lot audited"),
    ("DELETE FROM audit WHERE seq = 5", "deletion", "entry 5"),
    ("DELETE FROM audit WHERE seq > 10", "truncation", "the log's head says 19"),
    ("UPDATE audit SET body = replace(body, 'sealed', 'reject') WHERE seq = 6", "edit", "entry 6"),
    ("UPDATE audit SET body = replace(body, 'stopped', 'complete') WHERE seq = 17", "edit", "entry 17"),
    ("UPDATE audit SET body = NULL, leaf = x'" + "00" * 32 + "' WHERE seq = 4", "edit", "entry 4"),
    ("UPDATE audit SET seq = 99 WHERE seq = 4", "reordering", "entry 5"),
    ("UPDATE ledger SET quantity = 2 WHERE unit = 2", "edit", "unit 2"),
    ("UPDATE ledger SET target = 'rejected' WHERE unit = 2 AND target = 'sealed'", "edit", "unit 2"),
    ("DELETE FROM ledger WHERE unit = 3 AND target = 'used'", "deletion", "unit 3, records from issued to used"),
    ("DELETE FROM ledger WHERE unit IS NULL AND book = 'units'", "deletion", "5 units from supply"),
    ("UPDATE ledger SET quantity = 6 WHERE unit IS NULL AND book = 'records'", "edit", "came into the lot"),
    (
        "INSERT INTO ledger (book, unit, source, target, quantity, at) VALUES ('units', 1, 'sealed', 'returned', 1, 1)",
        "insertion",
        "unit 1",
    ),
    ("UPDATE lot_event SET text = 'nothing'", "edit", "lot-event 1"),
    ("DELETE FROM lot_event", "deletion", "lot-event 1"),
    ("UPDATE campaign SET allowed = 5", "edit", "lot audited"),
    ("UPDATE audit_head SET edge = zeroblob(96)", "edit", "head"),
]


@pytest.mark.parametrize(("statement", "kind", "what"), CHANGED, ids=[change[0][:50] for change in CHANGED])
def test_what_is_changed_in_the_database_is_named(tmp_path: Path, statement: str, kind: str, what: str) -> None:
    made(tmp_path / "lot.db").close()
    altered(tmp_path / "lot.db", statement)
    with UnitStore.open(str(tmp_path / "lot.db"), readonly=True) as store:
        verdict = judged(exported(store, tmp_path / "export"), tmp_path / "export")
    assert not verdict.whole
    assert verdict.findings[0].kind == kind
    assert what in "\n".join(found.text for found in verdict.findings)
