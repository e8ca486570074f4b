"""Signed notes (C2SP signed-note) and the checkpoints written as such (C2SP tlog-checkpoint).

With Ed25519 (type 01), or ECDSA on P-256 with SHA-256 (type 02), which is what many tokens have.

A note is a text of whole lines, an empty line, and a line for each signature: an em dash, the name of a key, and base64
of the key's id (4 bytes) and the signature.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Final, Literal, NamedTuple, Protocol

from keywright.crypto.compare import equal
from keywright.crypto.curve25519 import verify_ed25519
from keywright.crypto.ec import EcPublicKey
from keywright.errors import AuthenticationError, DecodeError
from keywright.production.audit.merkle import HASH_BYTES

NOTE_BYTES: Final = 1 << 16
_ED25519: Final = b"\x01"
_ECDSA: Final = b"\x02"
_PUBLIC_BYTES: Final = 32
_CURVE: Final = "P-256"
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
        """The public key: Ed25519, 32 bytes, or a DER SubjectPublicKeyInfo of P-256."""
        ...

    def sign(self, data: bytes) -> bytes:
        """The signature: Ed25519, 64 bytes, or ECDSA with SHA-256, DER (RFC 3279 2.2.3)."""
        ...


class NoteKey(NamedTuple):
    """A key that notes are checked with; `public` as `Signer.public`, whose length says which algorithm it is of."""

    name: str
    public: bytes

    @property
    def algorithm(self) -> Literal["Ed25519", "ES256"]:
        """What it signs with."""
        return "Ed25519" if len(self.public) == _PUBLIC_BYTES else "ES256"

    @property
    def id(self) -> bytes:
        """The first 4 bytes of SHA-256(name || 0A || 01 || public key), for ECDSA of SHA-256(SubjectPublicKeyInfo)."""
        if self.algorithm == "ES256":
            return hashlib.sha256(self.public).digest()[:_ID_BYTES]
        return hashlib.sha256(self.name.encode() + b"\n" + _ED25519 + self.public).digest()[:_ID_BYTES]

    def __str__(self) -> str:
        """The text in which a key is handed on: name, id in hex, and base64 of the type (01 or 02) and the key."""
        kind = _ED25519 if self.algorithm == "Ed25519" else _ECDSA
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(kind + self.public).decode()}"

    @classmethod
    def parse(cls, text: str) -> NoteKey:
        """Read what `str` writes. Raises DecodeError, also for a key of another kind or an id that is not the key's."""
        # The name may not have a plus sign, base64 may.
        name, _, rest = text.strip().partition("+")
        key_id, _, encoded = rest.partition("+")
        blob = _unbase64(encoded)
        kind, public = blob[:1], blob[1:]
        if kind == _ECDSA:
            EcPublicKey.from_spki(public, _CURVE)
        elif kind != _ED25519 or len(public) != _PUBLIC_BYTES:
            raise DecodeError("the key is not one for notes: neither Ed25519 nor ECDSA on P-256")
        key = cls(check_name(name), public)
        if key_id != key.id.hex():
            raise DecodeError(f"the id of the key {name!r} is not that of the key")
        return key

    def verify(self, signature: bytes, data: bytes) -> None:
        """Raise AuthenticationError unless the key made this signature over `data`."""
        if self.algorithm == "ES256":
            EcPublicKey.from_spki(self.public, _CURVE).verify_der(signature, data)
        else:
            verify_ed25519(self.public, signature, data)


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
            key.verify(blob[_ID_BYTES:], text.encode())
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
