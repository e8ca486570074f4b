"""Proofs from a store, and bodies given up after their time."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from keywright.errors import PolicyError, UsageError
from keywright.production.audit.merkle import leaf_hash, verify_consistency, verify_inclusion
from keywright.production.audit.proofs import prove_consistency, prove_inclusion
from keywright.production.audit.retention import give_up
from keywright.production.unit_store.tables import audit
from support.audited import event, exported, judged, made

DAYS = 365


def steps(path: tuple[str, ...]) -> list[bytes]:
    return [bytes.fromhex(step) for step in path]


def test_every_entry_is_proven_to_be_in_the_log(tmp_path: Path) -> None:
    with made(tmp_path / "lot.db") as store:
        for index in range(19):
            proof = prove_inclusion(store, index)
            leaf = leaf_hash(proof.body.encode())
            verify_inclusion(leaf, index, 19, steps(proof.path), bytes.fromhex(proof.root))


def test_the_log_is_proven_to_have_grown_from_every_size(tmp_path: Path) -> None:
    with made(tmp_path / "lot.db") as store:
        for old in range(1, 20):
            proof = prove_consistency(store, old)
            roots = bytes.fromhex(proof.old_root), bytes.fromhex(proof.new_root)
            verify_consistency(old, 19, *roots, steps(proof.path))


def test_what_is_not_there_is_not_proven(tmp_path: Path) -> None:
    with made(tmp_path / "lot.db") as store:
        for index in (-1, 19):
            with pytest.raises(UsageError):
                prove_inclusion(store, index)
        for old in (0, 20):
            with pytest.raises(UsageError):
                prove_consistency(store, old)


def test_bodies_given_up_leave_the_log_whole(tmp_path: Path) -> None:
    with made(tmp_path / "lot.db") as store:
        before = prove_inclusion(store, 3)
        assert give_up(store, DAYS, at_ms=4_000_000_000_000) == 19
        assert give_up(store, DAYS, at_ms=0) == 0
        store.commit([event(1, "later", "note", 1.0)])
        verdict = judged(exported(store, tmp_path / "export"), tmp_path / "export")
        after = prove_inclusion(store, 3)
        with store.reading() as reader:
            left = reader.execute(sa.select(sa.func.count()).where(audit.c.body.is_not(None))).scalar_one()
    assert left == 2, "the entry that says so, and the later one"
    assert (after.body, after.leaf) == ("", before.leaf)
    assert verdict.findings == ()
    assert "19 entries were given up" in verdict.notes[0]


def test_a_given_up_entry_that_was_changed_is_found(tmp_path: Path) -> None:
    with made(tmp_path / "lot.db") as store:
        give_up(store, DAYS, at_ms=4_000_000_000_000)
        lines = exported(store, tmp_path / "export").splitlines(keepends=True)
    at = next(number for number, line in enumerate(lines) if line.startswith(b"hash "))
    lines[at + 4] = b"hash " + b"00" * 32 + b"\n"
    assert not judged(b"".join(lines), tmp_path / "export").whole


def test_nothing_is_given_up_before_a_year(tmp_path: Path) -> None:
    with made(tmp_path / "lot.db") as store:
        with pytest.raises(PolicyError):
            give_up(store, DAYS - 1, at_ms=4_000_000_000_000)
        assert give_up(store, DAYS, at_ms=0) == 0
