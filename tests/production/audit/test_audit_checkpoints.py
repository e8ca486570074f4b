"""Checkpoints: made, kept by a witness, and what they make detectable."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from keywright.crypto.curve25519 import Ed25519Key
from keywright.errors import PolicyError, StoreError, UsageError
from keywright.production.audit.checkpoints import Notary, notarised
from keywright.production.audit.key_file import open_or_make
from keywright.production.audit.note import Checkpoint, NoteKey, open_note
from keywright.production.audit.verdict import Verdict
from keywright.production.audit.witness import add_note, checkpoints_of, read_notes
from keywright.production.unit_store.units import UnitStore
from support.audited import altered, event, exported, judged, made


class Signer:
    name = "keywright/audited"

    def __init__(self, seed: bytes = bytes(32)) -> None:
        self._key = Ed25519Key(seed)
        self.public = self._key.public

    def sign(self, data: bytes) -> bytes:
        return self._key.sign(data)


SIGNER = Signer()
KEY = NoteKey(SIGNER.name, SIGNER.public)


def checked(store: UnitStore, folder: Path, **given: object) -> Verdict:
    return judged(exported(store, folder / "export"), folder / "export", **given)


def test_a_checkpoint_signs_the_size_and_root_of_the_log(tmp_path: Path) -> None:
    with made(tmp_path / "lot.db") as store:
        note = Notary(store, SIGNER, tmp_path / "witness", clock=lambda: 7.0).make()
        verdict = checked(store, tmp_path, key=KEY, witness=read_notes(tmp_path / "witness"))
    assert Checkpoint.parse(open_note(note, KEY)) == Checkpoint(KEY.name, 19, bytes.fromhex(verdict.root), 7000)
    assert (verdict.whole, verdict.checkpointed, verdict.witnessed) == (True, 19, 19)
    assert verdict.notes == ()


def test_a_log_that_did_not_grow_is_signed_once(tmp_path: Path) -> None:
    with made(tmp_path / "lot.db") as store:
        notary = Notary(store, SIGNER, tmp_path / "witness")
        assert notary.make() == notary.make()
    assert len(read_notes(tmp_path / "witness")) == 1


def test_a_note_that_the_witness_did_not_get_is_handed_over_later(tmp_path: Path) -> None:
    with made(tmp_path / "lot.db") as store:
        note = Notary(store, SIGNER, None).make()
        Notary(store, SIGNER, tmp_path / "witness").make()
    assert read_notes(tmp_path / "witness") == [note]


def test_entries_cut_off_after_a_witnessed_checkpoint_are_missed(tmp_path: Path) -> None:
    """Head, edge and the store's own checkpoints changed to fit: only what is kept elsewhere tells."""
    with made(tmp_path / "lot.db") as store:
        Notary(store, SIGNER, tmp_path / "early").make()
        whole = exported(store, tmp_path / "export")
        store.commit([event(1, "late", "note", 1.0)])
        Notary(store, SIGNER, tmp_path / "witness").make()
    assert judged(whole, tmp_path / "export", key=KEY, witness=read_notes(tmp_path / "early")).whole
    verdict = judged(whole, tmp_path / "export", key=KEY, witness=read_notes(tmp_path / "witness"))
    assert [(found.position, found.kind) for found in verdict.findings] == [(19, "truncation")]


def test_what_nobody_witnessed_can_be_cut_off_unseen_and_the_verdict_says_so(tmp_path: Path) -> None:
    with made(tmp_path / "lot.db") as store:
        Notary(store, SIGNER, tmp_path / "witness").make()
        store.commit([event(1, "late", "note", 1.0)])
        verdict = checked(store, tmp_path, key=KEY, witness=read_notes(tmp_path / "witness"))
    assert (verdict.whole, verdict.size, verdict.witnessed) == (True, 20, 19)
    assert "entries from 19 on" in verdict.notes[0]


def rewritten(folder: Path) -> UnitStore:
    """A store of the same lot, made anew from the first entry on: each chain is right, but it is another log."""
    return made(folder / "other.db", units=3, planned=2)


def test_a_log_written_anew_is_not_the_one_that_was_witnessed(tmp_path: Path) -> None:
    with made(tmp_path / "lot.db") as store:
        Notary(store, SIGNER, tmp_path / "witness").make()
    with rewritten(tmp_path) as store:
        Notary(store, SIGNER, None).make()
        verdict = checked(store, tmp_path, key=KEY, witness=read_notes(tmp_path / "witness"))
    assert not verdict.whole
    found = verdict.findings[0]
    assert (found.position, found.until, found.kind) == (0, 18, "edit")


def test_a_log_signed_with_another_key_is_refused(tmp_path: Path) -> None:
    with made(tmp_path / "lot.db") as store:
        Notary(store, Signer(bytes([1]) * 32), tmp_path / "witness").make()
        verdict = checked(store, tmp_path, key=KEY)
        assert (verdict.whole, verdict.findings[0].kind) == (False, "checkpoint")
        assert not checked(store, tmp_path, key=KEY, witness=read_notes(tmp_path / "witness")).whole


def test_a_witness_that_does_not_know_the_log_is_a_finding(tmp_path: Path) -> None:
    (tmp_path / "witness").write_text("")
    with made(tmp_path / "lot.db") as store:
        Notary(store, SIGNER, None).make()
        verdict = checked(store, tmp_path, key=KEY, witness=read_notes(tmp_path / "witness"))
    assert "no checkpoint of this log" in verdict.findings[0].text


def test_a_forked_log_is_seen_by_its_witness(tmp_path: Path) -> None:
    with made(tmp_path / "lot.db") as store:
        Notary(store, SIGNER, tmp_path / "witness").make()
    with made(tmp_path / "other.db") as store:
        Notary(store, SIGNER, tmp_path / "witness").make()
        verdict = checked(store, tmp_path, key=KEY, witness=read_notes(tmp_path / "witness"))
    assert "forked" in verdict.findings[0].text


def test_a_checkpoint_changed_in_the_store_is_found(tmp_path: Path) -> None:
    with made(tmp_path / "lot.db") as store:
        Notary(store, SIGNER, None).make()
    altered(tmp_path / "lot.db", "UPDATE audit_checkpoint SET note = replace(note, 'time 1', 'time 2')")
    with UnitStore.open(str(tmp_path / "lot.db"), readonly=True) as store:
        assert checked(store, tmp_path, key=KEY).findings[0].kind == "checkpoint"


def test_every_line_of_an_export_with_checkpoints_counts(tmp_path: Path) -> None:
    with made(tmp_path / "lot.db") as store:
        Notary(store, SIGNER, None).make()
        store.commit([event(1, "late", "note", 1.0)])
        Notary(store, SIGNER, None).make()
        lines = exported(store, tmp_path / "export").splitlines(keepends=True)
    assert sum(line.startswith(b"checkpoint ") for line in lines) == 2
    for at in range(len(lines)):
        assert not judged(b"".join(lines[:at] + lines[at + 1 :]), tmp_path / "export").whole


def test_checkpoints_are_made_while_entries_come(tmp_path: Path) -> None:
    with made(tmp_path / "lot.db") as store:
        with notarised(Notary(store, SIGNER, tmp_path / "witness"), every_entries=1, every_s=0.01):
            for number in range(2000):
                store.commit([event(1, f"step{number}", "note", 1.0)])
                if len(read_notes(tmp_path / "witness") if (tmp_path / "witness").exists() else []) > 2:
                    break
                time.sleep(0.01)
        assert len(read_notes(tmp_path / "witness")) > 2
        assert checked(store, tmp_path, key=KEY, witness=read_notes(tmp_path / "witness")).whole


def test_a_run_that_fails_is_signed_all_the_same(tmp_path: Path) -> None:
    with made(tmp_path / "lot.db") as store:
        notary = Notary(store, SIGNER, tmp_path / "witness")
        with pytest.raises(RuntimeError), notarised(notary, every_s=3600):
            raise RuntimeError
    assert checkpoints_of(read_notes(tmp_path / "witness"), KEY).keys() == {19}


# ---- the witness file


def test_what_a_power_cut_left_of_a_note_does_not_hide_the_next(tmp_path: Path) -> None:
    with made(tmp_path / "lot.db") as store:
        note = Notary(store, SIGNER, None).make()
    for cut in range(len(note.encode())):
        path = tmp_path / f"witness{cut}"
        path.write_bytes(note.encode()[:cut])
        add_note(path, note)
        assert read_notes(path) == [note]


def test_a_witness_file_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        add_note(tmp_path / "none" / "witness", "note")
    with pytest.raises(UsageError):
        read_notes(tmp_path / "none")


# ---- the key's file


def test_the_key_is_made_once_and_private(tmp_path: Path) -> None:
    signer = open_or_make(tmp_path / "lot.db", "a lot", os.urandom)
    again = open_or_make(tmp_path / "lot.db", "a lot", os.urandom)
    assert (again.name, again.public) == (signer.name, signer.public)
    assert (tmp_path / "lot.db.audit-key").stat().st_mode & 0o777 == 0o600
    assert NoteKey.parse((tmp_path / "lot.db.audit-key.pub").read_text()) == NoteKey(signer.name, signer.public)
    assert signer.name.startswith("keywright/a-lot/")


def test_a_key_that_others_may_read_or_that_is_damaged_is_refused(tmp_path: Path) -> None:
    open_or_make(tmp_path / "lot.db", "lot", os.urandom)
    path = tmp_path / "lot.db.audit-key"
    path.chmod(0o640)
    with pytest.raises(PolicyError):
        open_or_make(tmp_path / "lot.db", "lot", os.urandom)
    path.chmod(0o600)
    path.write_text("{}")
    with pytest.raises(StoreError):
        open_or_make(tmp_path / "lot.db", "lot", os.urandom)
