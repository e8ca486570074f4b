"""A second host's word for a checkpoint: a timestamped Ed25519 cosignature (C2SP tlog-cosignature, type 04).

It says that the witness saw the log grow to this size and root from every size that it cosigned before.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Final, NamedTuple

from keywright.crypto.compare import equal
from keywright.crypto.curve25519 import Ed25519Key, verify_ed25519
from keywright.errors import AuthenticationError, DecodeError
from keywright.production.audit.note import check_name

_KIND: Final = b"\x04"
_PUBLIC_BYTES: Final = 32
_ID_BYTES: Final = 4
_TIME_BYTES: Final = 8
_SIGNATURE_BYTES: Final = 64
_DASH: Final = "\N{EM DASH} "


class WitnessKey(NamedTuple):
    """The key that a witness's cosignatures are checked with; `public` is Ed25519, 32 bytes."""

    name: str
    public: bytes

    @property
    def id(self) -> bytes:
        """SHA-256(name || 0A || 04 || public key), the first 4 bytes."""
        return hashlib.sha256(self.name.encode() + b"\n" + _KIND + self.public).digest()[:_ID_BYTES]

    def __str__(self) -> str:
        """The text in which a key is handed on: name, id in hex, and base64 of 04 and the public key."""
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(_KIND + self.public).decode()}"

    @classmethod
    def parse(cls, text: str) -> WitnessKey:
        """Read what `str` writes. Raises DecodeError, also for a key of another kind or an id that is not the key's."""
        name, _, rest = text.strip().partition("+")
        key_id, _, encoded = rest.partition("+")
        blob = _unbase64(encoded)
        if blob[:1] != _KIND or len(blob) != 1 + _PUBLIC_BYTES:
            raise DecodeError("the key is not that of a witness")
        key = cls(check_name(name), blob[1:])
        if key_id != key.id.hex():
            raise DecodeError(f"the id of the key {name!r} is not that of the key")
        return key


def cosign(text: str, name: str, key: Ed25519Key, at_s: int) -> str:
    """The line of a witness under a note's text; `at_s`: seconds since 1970, UTC."""
    blob = WitnessKey(name, key.public).id + at_s.to_bytes(_TIME_BYTES) + key.sign(_signed(text, at_s))
    return f"{_DASH}{name} {base64.b64encode(blob).decode()}\n"


def cosigned_at(note: str, key: WitnessKey) -> int:
    """When this witness cosigned the note, in seconds since 1970, UTC; other lines are passed over.

    Raises AuthenticationError if it did not, DecodeError for what is no note.
    """
    text, gap, lines = note.rpartition("\n\n")
    if not gap:
        raise DecodeError("not a signed note")
    for line in lines.splitlines():
        name, _, encoded = line.removeprefix(_DASH).partition(" ")
        if name != key.name or not line.startswith(_DASH):
            continue
        blob = _unbase64(encoded)
        if equal(blob[:_ID_BYTES], key.id) and len(blob) == _ID_BYTES + _TIME_BYTES + _SIGNATURE_BYTES:
            at_s = int.from_bytes(blob[_ID_BYTES : _ID_BYTES + _TIME_BYTES])
            verify_ed25519(key.public, blob[_ID_BYTES + _TIME_BYTES :], _signed(text + "\n", at_s))
            return at_s
    raise AuthenticationError(f"the witness {key.name} did not cosign the note")


def is_cosigned(note: str, key: WitnessKey) -> bool:
    """Whether `cosigned_at` finds the witness's word."""
    try:
        cosigned_at(note, key)
    except (AuthenticationError, DecodeError):
        return False
    return True


def _signed(text: str, at_s: int) -> bytes:
    return f"cosignature/v1\ntime {at_s}\n{text}".encode()


def _unbase64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise DecodeError("not base64") from error
