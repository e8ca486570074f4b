"""CBOR (RFC 8949) as this project writes and reads it: one text for one value, and nothing that can be read twice.

Written deterministically (4.2.1). Read strictly: only what this module would have written itself is accepted, so
whatever is hashed or signed has one form, and duplicate keys, padded lengths and bytes behind the end are errors.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, TypeAlias

import cbor2

from keywright.errors import DecodeError

Cbor: TypeAlias = (
    bool | int | str | bytes | list["Cbor"] | tuple["Cbor", ...] | Mapping[Any, "Cbor"] | cbor2.CBORTag | None
)
"""What is written here: no fractions, no dates, no undefined."""

Tag = cbor2.CBORTag
"""A tagged value: `Tag(number, value)`."""

TEXT_DATE = 0
"""Tag of a date and time as text (RFC 8949 3.4.1)."""
EPOCH = 1
"""Tag of a time in seconds since 1970 (RFC 8949 3.4.2)."""
EMBEDDED = 24
"""Tag of bytes that are CBOR themselves (RFC 8949 3.4.5.1)."""

_MAX_DEPTH = 32
_PLAIN = frozenset((str, bytes, int, bool, type(None)))
_DATES = {
    TEXT_DATE: lambda value, *_: Tag(TEXT_DATE, value),
    EPOCH: lambda value, *_: Tag(EPOCH, value),
}


def encode(value: Cbor) -> bytes:
    """The deterministic encoding (RFC 8949 4.2.1). Raises TypeError for anything that is not `Cbor`."""
    return cbor2.dumps(_ordered(value, 0))


def encode_sorted(value: Cbor) -> bytes:
    """`encode` for a value whose maps have their keys in order already, each in that of its encoding: much faster.

    Neither that nor the kinds of values is checked: for the fixed structures of whoever writes many of them.
    """
    return cbor2.dumps(value)


def decode(data: bytes, *, dates: bool = False) -> Any:
    """The value of exactly these bytes; maps are dicts, arrays lists. Raises DecodeError unless `encode` gives them.

    `dates`: tags 0 and 1 are read too, as `Tag` of their text or number; whoever asks for them reads them strictly.
    """
    try:
        value: Any = _ordered(cbor2.loads(data, semantic_decoders=_DATES if dates else {}), 0)
        again = cbor2.dumps(value)
    except (cbor2.CBORError, TypeError, ValueError, RecursionError, OverflowError) as error:
        raise DecodeError("not CBOR as it is written here (RFC 8949 4.2.1)") from error
    if again != data:
        raise DecodeError("not CBOR as it is written here (RFC 8949 4.2.1)")
    return value


def _ordered(value: object, depth: int) -> object:
    """The value with every map in the order of its encoded keys, which is how the library then writes it.

    What is most of a document is told by its type alone: that is several times as fast as asking for a call each.
    """
    if depth > _MAX_DEPTH:
        raise TypeError(f"more than {_MAX_DEPTH} levels")
    kind = type(value)
    if kind in _PLAIN:
        return value
    if isinstance(value, (list, tuple)):
        return [item if type(item) in _PLAIN else _ordered(item, depth + 1) for item in value]
    if isinstance(value, cbor2.CBORTag):
        return cbor2.CBORTag(value.tag, _ordered(value.value, depth + 1))
    if isinstance(value, (dict, Mapping)):
        keyed = [(key, value[key]) for key in sorted(value, key=_order)]
        return {key: item if type(item) in _PLAIN else _ordered(item, depth + 1) for key, item in keyed}
    if isinstance(value, (bool, int, str, bytes)):
        return value
    raise TypeError(f"{kind.__name__} is not written as CBOR here")


@functools.lru_cache(maxsize=1024, typed=True)
def _order(key: object) -> bytes:
    """What sorts keys: their encoding (RFC 8949 4.2.1). Most keys are the same few numbers and words."""
    if not isinstance(key, (int, str, bytes)) or isinstance(key, bool):
        raise TypeError("a key of a map is a number, a text or bytes")
    return cbor2.dumps(key)
