"""What ENVELOPE carries: sealed SessionData in DO'53' (Aliro 1.0 8.4.4). `keys.Direction` seals it."""

from __future__ import annotations

from typing import Any, Final

from keywright.aliro.documents.exchange import answer_request
from keywright.codec.ber import item, items
from keywright.codec.cbor import decode, encode
from keywright.errors import DecodeError

__all__ = ["answer_request", "unwrap", "wrap"]

_DATA_OBJECT: Final = 0x53
_TAG_BYTES: Final = 16


def wrap(sealed: bytes, *, bare: bool = False) -> bytes:
    """DO'53' with sealed bytes in CBOR SessionData; `bare`: without CBOR around them, as some devices have it."""
    return item(_DATA_OBJECT, sealed if bare else encode({"data": sealed}))


def unwrap(data: bytes) -> bytes:
    """The sealed bytes of a DO'53', in SessionData or bare. Raises DecodeError.

    What reads as SessionData is taken for that: a ciphertext is as good as never a CBOR map with that one key.
    """
    match items(data):
        case [(0x53, inside)]:
            pass
        case _:
            raise DecodeError("ENVELOPE: not one data object 53")
    sealed = _session_data(inside)
    if len(sealed) < _TAG_BYTES:
        raise DecodeError(f"ENVELOPE: {len(sealed)} sealed bytes, too few for a tag")
    return sealed


def _session_data(inside: bytes) -> bytes:
    try:
        found: Any = decode(inside)
    except DecodeError:
        return inside
    if not isinstance(found, dict) or not found.keys() <= {"data", "status"}:
        return inside
    sealed = found.get("data")
    if not isinstance(sealed, bytes):
        raise DecodeError(f"ENVELOPE: SessionData without data, status {found.get('status')}")
    return sealed
