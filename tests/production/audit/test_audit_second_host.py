"""A witness on another host: it cosigns only what grew from what it cosigned before, and forgets nothing."""

from __future__ import annotations

import base64
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.crypto.curve25519 import Ed25519Key
from keywright.errors import AuthenticationError, DecodeError, LinkError, UsageError
from keywright.production.audit.checkpoints import Notary, consistency_path
from keywright.production.audit.cosignature import WitnessKey, cosign, cosigned_at, is_cosigned
from keywright.production.audit.key_file import FileSigner
from keywright.production.audit.note import NoteKey
from keywright.production.audit.second_host import SecondHost, Witness, server_of
from keywright.production.audit.witness import read_notes
from keywright.production.unit_store.units import UnitStore
from support.audited import event, exported, judged, made

SIGNER = FileSigner("keywright/audited", bytes(32))
KEY = NoteKey(SIGNER.name, SIGNER.public)
OWN = Ed25519Key(bytes([7]) * 32)


def witness_in(folder: Path) -> Witness:
    return Witness("witness.example/w1", OWN, [KEY], folder / "kept", clock=lambda: 1_700_000_000.0)


@contextmanager
def serving(witness: Witness) -> Iterator[str]:
    with server_of(witness, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def asked(note: str, old: int = 0, proof: list[bytes] | None = None) -> bytes:
    lines = "".join(f"{base64.b64encode(step).decode()}\n" for step in proof or ())
    return f"old {old}\n{lines}\n{note}".encode()


def grown(store: UnitStore) -> str:
    store.commit([event(1, "late", "note", 1.0)])
    return Notary(store, SIGNER, None).make()


def test_what_grows_is_cosigned_and_judged(tmp_path: Path) -> None:
    witness = witness_in(tmp_path)
    with made(tmp_path / "lot.db") as store, serving(witness) as url:
        notary = Notary(store, SIGNER, tmp_path / "notes", second=SecondHost(url, witness.key), is_needed=True)
        notary.make()
        store.commit([event(1, "late", "note", 1.0)])
        notary.make()
        notary.make()
        again = Notary(store, SIGNER, tmp_path / "notes", second=SecondHost(url, witness.key), is_needed=True)
        store.commit([event(2, "late", "note", 1.0)])
        again.make()
        for place in ("notes", "kept"):
            notes = read_notes(tmp_path / place)
            assert [is_cosigned(note, witness.key) for note in notes] == [True] * 3
            verdict = judged(exported(store, tmp_path / "export"), tmp_path / "export", key=KEY, witness=notes)
            assert (verdict.findings, verdict.witnessed) == ((), 21)


def test_a_witness_remembers_over_a_restart(tmp_path: Path) -> None:
    with made(tmp_path / "lot.db") as store:
        first = Notary(store, SIGNER, None).make()
        assert witness_in(tmp_path).handle(asked(first)).status == HTTPStatus.OK
        second = grown(store)
        answer = witness_in(tmp_path).handle(asked(second))
        assert (answer.status, answer.body, answer.content_type) == (HTTPStatus.CONFLICT, "19\n", "text/x.tlog.size")
        with store.reading() as reader:
            proof = consistency_path(reader, 19, 20)
        witness = witness_in(tmp_path)
        assert witness.handle(asked(second, 19, proof[:-1])).status == HTTPStatus.UNPROCESSABLE_ENTITY
        answer = witness.handle(asked(second, 19, proof))
        assert answer.status == HTTPStatus.OK
        assert cosigned_at(second + answer.body, witness.key) == 1_700_000_000
        assert witness.handle(asked(first, 19)).status == HTTPStatus.CONFLICT, "back to the first"
        assert witness.handle(asked(first, 20)).status == HTTPStatus.BAD_REQUEST


def test_what_is_not_the_logs_is_refused(tmp_path: Path) -> None:
    witness = witness_in(tmp_path)
    with made(tmp_path / "lot.db") as store:
        note = Notary(store, SIGNER, None).make()
        foreign = Notary(store, FileSigner("other", bytes(32)), None)
        assert witness.handle(asked(note.replace("keywright/audited", "other", 1))).status == HTTPStatus.NOT_FOUND
        assert witness.handle(asked(note.replace("time 1", "time 2"))).status == HTTPStatus.FORBIDDEN
        assert witness.handle(asked(note, 99)).status == HTTPStatus.BAD_REQUEST
        assert witness.handle(asked(note, 0, [bytes(32)])).status == HTTPStatus.UNPROCESSABLE_ENTITY
        assert foreign.size() == 19
    assert not (tmp_path / "kept").exists()
    with made(tmp_path / "other.db", units=2) as store, made(tmp_path / "third.db", units=2) as third:
        first, second = (Notary(one, SIGNER, None).make() for one in (store, third))
        assert witness.handle(asked(first)).status == HTTPStatus.OK
        assert witness.handle(asked(second, int(second.split("\n")[1]))).status == HTTPStatus.CONFLICT


@given(st.binary(max_size=200))
def test_any_bytes_get_an_answer(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    witness = witness_in(tmp_path_factory.getbasetemp())
    for body in (data, b"old 0\n\n" + data, b"old 0\n\nkeywright/audited\n" + data):
        assert witness.handle(body).status in (HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.FORBIDDEN)


def test_a_witness_that_is_away_is_made_up_for_or_needed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    witness = witness_in(tmp_path)
    gone = SecondHost("http://127.0.0.1:1", witness.key)
    with made(tmp_path / "lot.db") as store:
        with caplog.at_level(logging.WARNING):
            Notary(store, SIGNER, tmp_path / "notes", second=gone).make()
        assert "not cosigned" in caplog.text
        assert len(read_notes(tmp_path / "notes")) == 1
        with pytest.raises(LinkError):
            Notary(store, SIGNER, tmp_path / "notes", second=gone, is_needed=True).make()
        with serving(witness) as url:
            Notary(store, SIGNER, tmp_path / "notes", second=SecondHost(url, witness.key)).make()
    assert is_cosigned(read_notes(tmp_path / "notes")[-1], witness.key)


def test_a_log_that_was_put_back_is_found_by_its_witness(tmp_path: Path) -> None:
    witness = witness_in(tmp_path)
    with made(tmp_path / "lot.db") as store, serving(witness) as url:
        Notary(store, SIGNER, None, second=SecondHost(url, witness.key)).make()
        grown(store)
        Notary(store, SIGNER, None, second=SecondHost(url, witness.key)).make()
        with made(tmp_path / "older.db") as older, pytest.raises(AuthenticationError, match="cut off or put back"):
            Notary(older, SIGNER, None, second=SecondHost(url, witness.key)).make()
        with made(tmp_path / "forked.db", units=4) as forked, pytest.raises(AuthenticationError, match="another log"):
            Notary(forked, SIGNER, None, second=SecondHost(url, witness.key)).make()


def test_a_foreign_witness_is_not_believed(tmp_path: Path) -> None:
    witness = witness_in(tmp_path)
    other = WitnessKey("witness.example/w1", Ed25519Key(bytes(32)).public)
    with made(tmp_path / "lot.db") as store, serving(witness) as url, pytest.raises(AuthenticationError):
        Notary(store, SIGNER, None, second=SecondHost(url, other)).make()


def test_the_key_of_a_witness_is_read_as_it_is_written() -> None:
    key = WitnessKey("w", OWN.public)
    assert WitnessKey.parse(str(key)) == key
    for text in ("", "w+00000000+AAAA", str(key).replace("w+", "v+", 1), str(NoteKey("w", OWN.public))):
        with pytest.raises(DecodeError):
            WitnessKey.parse(text)
    with pytest.raises(UsageError):
        SecondHost("ftp://x", key)


def test_a_cosignature_has_the_form_of_the_specification() -> None:
    """The example of C2SP tlog-cosignature, whose key is not published: its time, its length, what is signed."""
    text = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    line = cosign(text, "witness.example.com/w1", OWN, 1679315147)
    blob = base64.b64decode(line.split()[-1])
    assert blob[4:12] == bytes.fromhex("00000000641850cb"), "the time, as in the example"
    signed = b"cosignature/v1\ntime 1679315147\n" + text.encode()
    assert blob[12:] == OWN.sign(signed)
    assert len(blob) == 76, "as long as the example"
