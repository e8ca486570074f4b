"""Signed notes: a published one, our own, and everything that is none."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.crypto.curve25519 import Ed25519Key
from keywright.errors import AuthenticationError, DecodeError
from keywright.production.audit.note import Checkpoint, NoteKey, open_note, sign_note

# From the documentation of golang.org/x/mod/sumdb/note.
PUBLISHED_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PUBLISHED = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "\N{EM DASH} PeterNeumann "
    "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)


class Auditor:
    name = "example.org/lot"

    def __init__(self, seed: bytes = bytes(32)) -> None:
        self._key = Ed25519Key(seed)
        self.public = self._key.public

    def sign(self, data: bytes) -> bytes:
        return self._key.sign(data)


SIGNER = Auditor()
KEY = NoteKey(SIGNER.name, SIGNER.public)
NOTE = sign_note("one\ntwo\n", SIGNER)


def test_a_published_note_opens_with_its_published_key() -> None:
    key = NoteKey.parse(PUBLISHED_KEY)
    assert str(key) == PUBLISHED_KEY
    assert open_note(PUBLISHED, key).startswith("If you think")


def test_a_note_opens_with_the_key_that_signed_it() -> None:
    assert open_note(NOTE, NoteKey.parse(str(KEY))) == "one\ntwo\n"


def test_a_note_that_others_signed_too_opens() -> None:
    other = sign_note("one\ntwo\n", Auditor(bytes([1]) * 32))
    assert open_note(NOTE + other.rpartition("\n\n")[2], KEY) == "one\ntwo\n"


@pytest.mark.parametrize("at", range(0, len(NOTE), 3))
def test_any_changed_character_is_refused(at: int) -> None:
    changed = NOTE[:at] + ("x" if NOTE[at] != "x" else "y") + NOTE[at + 1 :]
    with pytest.raises((AuthenticationError, DecodeError)):
        open_note(changed, KEY)


@pytest.mark.parametrize("cut", range(len(NOTE)))
def test_every_beginning_is_refused(cut: int) -> None:
    with pytest.raises((AuthenticationError, DecodeError)):
        open_note(NOTE[:cut], KEY)


def test_another_key_of_the_same_name_is_refused() -> None:
    with pytest.raises(AuthenticationError):
        open_note(NOTE, NoteKey(KEY.name, Auditor(bytes([1]) * 32).public))


def test_a_wrong_signature_is_not_made_good_by_a_right_one() -> None:
    wrong = NOTE.replace("two", "six")
    with pytest.raises(AuthenticationError):
        open_note(wrong + NOTE.rpartition("\n\n")[2], KEY)


@pytest.mark.parametrize("text", ["", "one", "\n", "one\n\ntwo\n", "\none\n"])
def test_only_whole_lines_are_signed(text: str) -> None:
    with pytest.raises(ValueError):
        sign_note(text, SIGNER)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\tb", "a\u00a0b", "a\n"])
def test_a_name_that_would_break_a_line_is_refused(name: str) -> None:
    with pytest.raises(DecodeError):
        NoteKey.parse(str(NoteKey(name, KEY.public)))


def test_a_key_with_another_id_or_kind_is_refused() -> None:
    name, key_id, blob = str(KEY).split("+", 2)
    for wrong in (f"{name}+{'0' * 8}+{blob}", f"{name}+{key_id}", f"{name}+{key_id}+AAAA", f"{name}+{key_id}+{blob}!"):
        with pytest.raises(DecodeError):
            NoteKey.parse(wrong)


@given(st.integers(0, 2**63), st.binary(min_size=32, max_size=32), st.integers(0, 2**53))
def test_a_checkpoint_reads_back(size: int, root: bytes, t: int) -> None:
    point = Checkpoint("example.org/lot", size, root, t)
    assert Checkpoint.parse(open_note(sign_note(point.text, SIGNER), KEY)) == point
    assert point.text.split("\n")[0:2] == ["example.org/lot", str(size)]


@given(st.text(max_size=120))
def test_any_text_is_a_checkpoint_or_refused(text: str) -> None:
    with contextlib.suppress(DecodeError):
        assert Checkpoint.parse(text).text == text


TEXT = Checkpoint("lot", 7, bytes(32), 1).text


@pytest.mark.parametrize(
    "text",
    [
        *(TEXT[:cut] for cut in range(len(TEXT))),
        TEXT + "more\n",
        TEXT.replace("7", "07"),
        TEXT.replace("7", "-7"),
        TEXT.replace("7", "\u0667"),
        TEXT.replace("A", "", 4),
    ],
)
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(DecodeError):
        Checkpoint.parse(text)
