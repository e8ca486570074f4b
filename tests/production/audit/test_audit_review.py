"""What auditors look at, and their sign-off: bound to the very entries, and to the auditor's key."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from keywright.errors import PolicyError, UsageError
from keywright.production.audit.entries import Wanted, entries
from keywright.production.audit.events import AuditEvent
from keywright.production.audit.evidence import evidence
from keywright.production.audit.proofs import prove_consistency
from keywright.production.audit.review import is_good, reviewed_up_to, reviews, sign_off, to_review
from keywright.production.people.people import PeopleError
from keywright.production.unit_store.units import UnitStore
from support.audited import altered, event, exported, judged, made
from support.people import NOW, directory, key


def waiting(store: UnitStore) -> list[tuple[str, str]]:
    with store.reading() as reader:
        return [(item.kind, item.body.action) for item in to_review(reader)]


def test_entries_are_found_by_number_action_object_and_actor(tmp_path: Path) -> None:
    with made(tmp_path / "lot.db") as store:
        store.commit([AuditEvent(action="x.y", object_type="thing", object_id="a/b", actor="olga", auth="ed25519")])
        for wanted, found in (
            (Wanted(), 20),
            (Wanted(first=5, last=7), 3),
            (Wanted(action="unit.*"), 12),
            (Wanted(object="unit"), 6),
            (Wanted(object="unit/2"), 2),
            (Wanted(object="event/2/*"), 2),
            (Wanted(actor="olga"), 1),
            (Wanted(actor="olga", action="unit.*"), 0),
        ):
            with store.reading() as reader:
                assert len(list(entries(reader, wanted))) == found, wanted


def test_what_is_to_be_looked_at_is_signed_off_by_an_auditor(tmp_path: Path) -> None:
    crew = directory()
    with made(tmp_path / "lot.db") as store:
        store.commit([event(1, "own_keys.put", "failed", 1.0)])
        assert waiting(store) == [("stop", "lot.stop"), ("exception", "unit.failed")]
        with pytest.raises(PeopleError, match="no auditor"):
            sign_off(store, key("olga"), crew, "seen", at_ms=NOW)
        with pytest.raises(UsageError):
            sign_off(store, key("aude"), crew, " ", at_ms=NOW)
        done = sign_off(store, key("aude"), crew, "the stop was a loose cable", at_ms=NOW, end=19)
        assert (done.first, done.size, done.root.hex()) == (0, 19, prove_consistency(store, 19).old_root)
        assert waiting(store) == [("exception", "unit.failed")]
        sign_off(store, key("aude"), crew, "seen", at_ms=NOW)
        assert waiting(store) == []
        with store.reading() as reader:
            assert [is_good(found, crew) for found in reviews(reader)] == [True, True]
        assert judged(exported(store, tmp_path / "export"), tmp_path / "export").findings == ()
        with pytest.raises(UsageError):
            sign_off(store, key("aude"), crew, "more", at_ms=NOW, end=99)
        lines = [line.text for control in evidence(store).controls for line in control.lines if control.id == "R11"]
        assert any("signed off by aude: the stop was a loose cable" in line for line in lines)


def test_a_sign_off_that_was_changed_is_found(tmp_path: Path) -> None:
    crew = directory()
    with made(tmp_path / "lot.db") as store:
        done = sign_off(store, key("aude"), crew, "seen", at_ms=NOW)
    for name, value in (("size", 3), ("first", 1), ("text", "all well"), ("root", bytes(32)), ("person", "ada")):
        assert not is_good(msgspec.structs.replace(done, **{name: value}), crew), name
    altered(tmp_path / "lot.db", "UPDATE review SET text = 'all well'")
    with UnitStore.open(str(tmp_path / "lot.db"), readonly=True) as store:
        verdict = judged(exported(store, tmp_path / "export"), tmp_path / "export")
    assert [(found.position, found.kind) for found in verdict.findings] == [(19, "edit")]


def test_nobody_reviews_their_own_acts(tmp_path: Path) -> None:
    with made(tmp_path / "lot.db") as store:
        store.commit(
            [AuditEvent(action="approval.sign", object_type="approval", object_id="1", actor="aude", auth="ed25519")]
        )
        with pytest.raises(PolicyError, match="own acts"):
            sign_off(store, key("aude"), directory(), "seen", at_ms=NOW)
        with store.reading() as reader:
            assert reviewed_up_to(reader) == 0


def test_what_waits_is_listed_in_the_evidence(tmp_path: Path) -> None:
    with made(tmp_path / "lot.db") as store:
        lines = [line.text for control in evidence(store).controls for line in control.lines if control.id == "R11"]
    assert "1 entries to be reviewed since the last sign-off" in lines
    assert any(line.startswith("to be reviewed: entry 17, stop: lot.stop lot audited") for line in lines)
