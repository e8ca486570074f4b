"""Signed notes (C2SP signed-note) and the checkpoints written as such (C2SP tlog-checkpoint), with Ed25519.

A note is a text of whole lines, an empty line, and a line for each signature: an em dash, the name of a key, and base64
of the key's id (4 bytes) and the signature.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Final, NamedTuple, Protocol

from keywright.crypto.compare import equal
from keywright.crypto.curve25519 import verify_ed25519
from keywright.errors import AuthenticationError, DecodeError
from keywright.production.audit.merkle import HASH_BYTES

NOTE_BYTES: Final = 1 << 16
_ED25519: Final = b"\x01"
_PUBLIC_BYTES: Final = 32
_ID_BYTES: Final = 4
_DASH: Final = "\N{EM DASH} "
_TIME: Final = "time "


class Signer(Protocol):
    """What signs checkpoints: the audit key, wherever it lives."""

    @property
    def name(self) -> str:
        """The name of the key, as the note and the verifier's key have it."""
        ...

    @property
    def public(self) -> bytes:
        """The public key, 32 bytes."""
        ...

    def sign(self, data: bytes) -> bytes:
        """The Ed25519 signature, 64 bytes."""
        ...


class NoteKey(NamedTuple):
    """A key that notes are checked with."""

    name: str
    public: bytes

    @property
    def id(self) -> bytes:
        """SHA-256(name || 0A || 01 || public key), the first 4 bytes."""
        return hashlib.sha256(self.name.encode() + b"\n" + _ED25519 + self.public).digest()[:_ID_BYTES]

    def __str__(self) -> str:
        """The text in which a key is handed on: name, id in hex, and base64 of 01 and the public key."""
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(_ED25519 + self.public).decode()}"

    @classmethod
    def parse(cls, text: str) -> NoteKey:
        """Read what `str` writes. Raises DecodeError, also for a key of another kind or an id that is not the key's."""
        # The name may not have a plus sign, base64 may.
        name, _, rest = text.strip().partition("+")
        key_id, _, encoded = rest.partition("+")
        blob = _unbase64(encoded)
        if blob[:1] != _ED25519 or len(blob) != 1 + _PUBLIC_BYTES:
            raise DecodeError("the key is not an Ed25519 key for notes")
        key = cls(check_name(name), blob[1:])
        if key_id != key.id.hex():
            raise DecodeError(f"the id of the key {name!r} is not that of the key")
        return key


def check_name(name: str) -> str:
    """The name of a key or a log, if it may be one: not empty, no blanks, no plus sign. Raises DecodeError."""
    if not name or "+" in name or not name.isprintable() or any(letter.isspace() for letter in name):
        raise DecodeError(f"{name!r} is no name for a key: it may hold no blank and no plus sign")
    return name


def sign_note(text: str, signer: Signer) -> str:
    """The note. Raises ValueError for a text that is not whole lines."""
    if not text.endswith("\n") or "\n\n" in text or text.startswith("\n"):
        raise ValueError("a note is whole lines, none of them empty")
    blob = NoteKey(signer.name, signer.public).id + signer.sign(text.encode())
    return f"{text}\n{_DASH}{signer.name} {base64.b64encode(blob).decode()}\n"


def open_note(note: str, key: NoteKey) -> str:
    """The text of a note, once the key's signature on it is seen to be right; other keys' signatures are passed over.

    Raises DecodeError for what is no note, AuthenticationError if the key did not sign it, or not so.
    """
    text, gap, lines = note.rpartition("\n\n")
    if not gap or not lines.endswith("\n") or len(note.encode()) > NOTE_BYTES:
        raise DecodeError("not a signed note")
    text += "\n"
    found = False
    for line in lines[:-1].split("\n"):
        name, _, encoded = line.removeprefix(_DASH).partition(" ")
        if not line.startswith(_DASH):
            raise DecodeError("not a line of a signature")
        blob = _unbase64(encoded)
        if name == check_name(name) == key.name and equal(blob[:_ID_BYTES], key.id):
            verify_ed25519(key.public, blob[_ID_BYTES:], text.encode())
            found = True
    if not found:
        raise AuthenticationError(f"the note is not signed with the key {key.name}")
    return text


class Checkpoint(NamedTuple):
    """A log's size and root at a time (`t`, milliseconds since 1970, UTC), as its key signs it."""

    origin: str
    size: int
    root: bytes
    t: int

    @property
    def text(self) -> str:
        """What is signed: origin, size, root as base64, and the time as a line of our own."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n{_TIME}{self.t}\n"

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """Read a note's text, in its one spelling. Raises DecodeError."""
        lines = text.split("\n")
        try:
            origin, size, root, time, end = lines
            found = cls(origin, int(size), _unbase64(root), int(time.removeprefix(_TIME)))
        except ValueError as error:
            raise DecodeError("not a checkpoint") from error
        if end or found.text != text or len(found.root) != HASH_BYTES or found.size < 0:
            raise DecodeError("not a checkpoint")
        return found


def _unbase64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise DecodeError("not base64") from error
