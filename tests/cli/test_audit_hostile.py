"""Exports made by somebody who knows the format and has not the key: each is found out, with one clear line."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from msgspec import structs

from keywright.production.audit.checkpoints import Notary
from keywright.production.audit.events import Body, decode_body, encode_body
from keywright.production.audit.key_file import FileSigner, signer_of
from keywright.production.audit.lines import End, line
from keywright.production.audit.merkle import Edge, leaf_hash
from keywright.production.audit.note import sign_note
from support.audited import event, made
from support.commands import Keywright

Lines = list[bytes]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lot with two checkpoints and some entries after them."""
    path = tmp_path_factory.mktemp("hostile") / "lot.db"
    with made(path) as store:
        notary = Notary(store, signer_of(store, path, "audited"), path.with_name("witness"))
        notary.make()
        for step in ("one", "two"):
            store.commit([event(1, step, "note", 1.0)])
        notary.make()
        store.commit([event(2, "tail", "note", 1.0)])
    return path


@pytest.fixture
def lines(keywright: Keywright, place: Path, tmp_path: Path) -> Lines:
    out = tmp_path / "export"
    assert keywright("audit", "export", "--store", str(place), "--out", str(out)).code == 0
    ran = keywright("audit", "verify", str(out))
    assert ran.code == 0, ran.out
    return out.read_bytes().splitlines(keepends=True)


def mended(lines: Lines, *, seal: str = "") -> bytes:
    """The export with its last line made to fit, as far as that goes without the key."""
    edge, last = Edge(), b""
    for one in lines:
        if one.startswith(b"leaf "):
            last = leaf_hash(one[5:-1])
            edge.append(last)
    count = sum(one.startswith(b"checkpoint ") for one in lines)
    body = b"".join(lines[:-1])
    end = End(count, hashlib.sha256(body).hexdigest(), last.hex(), edge.root().hex(), edge.size, seal)
    return body + line("end", msgspec.json.encode(end))


def rehashed(lines: Lines, change: Callable[[Body], Body | None]) -> Lines:
    """Every entry as `change` has it (None: left out), numbered and chained anew, without rows."""
    found: Lines = []
    prev, seq = "", 0
    for one in lines:
        if one.startswith(b"row "):
            continue
        if one.startswith(b"leaf "):
            body = change(decode_body(one[5:-1]))
            if body is None:
                continue
            payload = encode_body(structs.replace(body, seq=seq, prev=prev, after_hash=""))
            prev, seq = leaf_hash(payload).hex(), seq + 1
            found.append(line("leaf", payload))
        else:
            found.append(one)
    return found


def without(lines: Lines, word: bytes) -> Lines:
    return [one for one in lines if not one.startswith(word)]


def edited(body: Body) -> Body:
    return structs.replace(body, reason="nothing") if body.seq == 5 else body


def older(lines: Lines, which: int) -> Lines:
    """Only what stands before a checkpoint, and it."""
    at = [n for n, one in enumerate(lines) if one.startswith(b"checkpoint ")][which]
    return [*lines[: at + 1], *[one for one in lines if one.startswith(b"now ")], lines[-1]]


def foreign_key(lines: Lines) -> bytes:
    """The whole log signed with a key of one's own, under the log's name and key in the head."""
    end = msgspec.json.decode(lines[-1][4:], type=End)
    name = end.seal.partition(" ")[0]
    rest = mended(without(rehashed(lines, edited), b"checkpoint "))
    last = msgspec.json.decode(rest.splitlines()[-1][4:], type=End)
    signer = FileSigner(name, bytes(32))
    return mended([*rest.splitlines(keepends=True)[:-1], b""], seal=sign_note(last.sealed_text(name), signer))


ATTACKS: dict[str, Callable[[Lines], bytes]] = {
    "hashed anew, checkpoints kept": lambda lines: mended(rehashed(lines, edited)),
    "hashed anew, checkpoints left out": lambda lines: mended(without(rehashed(lines, edited), b"checkpoint ")),
    "an entry left out, hashed anew": lambda lines: mended(
        without(rehashed(lines, lambda body: None if body.seq == 5 else body), b"checkpoint ")
    ),
    "sealed with another key": foreign_key,
    "checkpoints left out": lambda lines: mended(without(lines, b"checkpoint ")),
    "checkpoints left out, the old seal": lambda lines: b"".join(without(lines, b"checkpoint ")),
    "back to the last checkpoint": lambda lines: mended(older(lines, -1)),
    "back to the first checkpoint": lambda lines: mended(older(lines, 0)),
    "back to the last checkpoint, the old end": lambda lines: b"".join(older(lines, -1)),
    "the seal left out": mended,
    "no last line": lambda lines: b"".join(lines[:-1]),
    "only the head": lambda lines: lines[0],
    "only the end": lambda lines: lines[-1],
    "twice": lambda lines: b"".join(lines) * 2,
    "something after it": lambda lines: b"".join(lines) + b"leaf {}\n",
    "empty": lambda lines: b"",
    "a gigantic line": lambda lines: lines[0] + b"leaf " + b"x" * (1 << 25) + b"\n",
    "nested": lambda lines: lines[0] + b"now unit " + b"[" * 100_000 + b"\n",
    "numbers of any length": lambda lines: lines[0] + b"now unit [" + b"9" * 5000 + b"]\n",
    "binary": lambda lines: os.urandom(4096),
    "line ends of another system": lambda lines: b"".join(lines).replace(b"\n", b"\r\n"),
    "another version": lambda lines: b"".join(lines).replace(b'"version":1', b'"version":2', 1),
    "a row of text as a number": lambda lines: mended(
        [one.replace(b"now unit [1,", b'now unit ["1",') for one in lines]
    ),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_was_made_without_the_key_is_not_whole(
    keywright: Keywright, lines: Lines, tmp_path: Path, attack: str
) -> None:
    (tmp_path / "changed").write_bytes(ATTACKS[attack](lines))
    ran = keywright("audit", "verify", str(tmp_path / "changed"))
    assert ran.code == 1, ran.out
    assert ran.out.startswith("NOT WHOLE: first at entr")
    assert ran.err == ""


def test_the_first_wrong_position_is_named_however_it_was_hashed(
    keywright: Keywright, lines: Lines, tmp_path: Path
) -> None:
    """All that the log's key signed up to the edit is kept: the checkpoint after it says where it cannot have been."""
    (tmp_path / "changed").write_bytes(mended(rehashed(lines, edited)))
    first = keywright("audit", "verify", str(tmp_path / "changed")).out.splitlines()[0]
    assert first == "NOT WHOLE: first at entries 0-19: edit"


def test_the_lines_of_two_stores_do_not_mix(keywright: Keywright, lines: Lines, tmp_path: Path) -> None:
    with made(tmp_path / "other.db", units=4) as store:
        signer_of(store, tmp_path / "other.db", "audited")
    keywright("audit", "export", "--store", str(tmp_path / "other.db"), "--out", str(tmp_path / "other"))
    other = (tmp_path / "other").read_bytes().splitlines(keepends=True)
    for at in range(1, min(len(lines), len(other)) - 1, 5):
        (tmp_path / "mixed").write_bytes(mended([*lines[:at], *other[at:]]))
        assert keywright("audit", "verify", str(tmp_path / "mixed")).code == 1
        (tmp_path / "mixed").write_bytes(b"".join([*other[:at], *lines[at:]]))
        assert keywright("audit", "verify", str(tmp_path / "mixed")).code == 1


def test_an_unsealed_export_is_taken_only_when_asked_for(keywright: Keywright, place: Path, tmp_path: Path) -> None:
    hidden = place.with_name("lot.db.audit-key").rename(place.with_name("hidden"))
    try:
        ran = keywright("audit", "export", "--store", str(place), "--out", str(tmp_path / "export"))
    finally:
        hidden.rename(place.with_name("lot.db.audit-key"))
    assert (ran.code, "not sealed" in ran.err) == (0, True)
    ran = keywright("audit", "verify", str(tmp_path / "export"))
    assert (ran.code, "did not seal" in ran.out) == (1, True)
    assert keywright("audit", "verify", str(tmp_path / "export"), "--unsealed").code == 0


def test_what_is_no_file_is_said_in_a_line(keywright: Keywright, lines: Lines, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    os.mkfifo(tmp_path / "pipe")
    for name in ("empty", "dangling", "circle", "pipe", "none", "export/none"):
        ran = keywright("audit", "verify", str(tmp_path / name))
        assert (ran.code, ran.out) == (2, ""), name
        assert "cannot be read" in ran.err or "plain file" in ran.err
    for device in ("/dev/zero", "/dev/null"):
        assert keywright("audit", "verify", device).code == 2
        assert keywright("audit", "verify", str(tmp_path / "export"), "--key", device).code == 2
        assert keywright("audit", "verify", str(tmp_path / "export"), "--witness", device).code == 2
    assert keywright("audit", "verify").code == 2


def test_a_store_is_judged_as_it_is(keywright: Keywright, place: Path) -> None:
    ran = keywright("audit", "verify", "--store", str(place), "--witness", str(place.with_name("witness")))
    assert ran.code == 0, ran.out
