"""CBOR (RFC 8949) as this project writes and reads it: one text for one value, and nothing that can be read twice.

Written deterministically (4.2.1). Read strictly: only what this module would have written itself is accepted, so
whatever is hashed or signed has one form, and duplicate keys, padded lengths and bytes behind the end are errors.
"""

from __future__ import annotations

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

_MAX_DEPTH = 32


def encode(value: Cbor) -> bytes:
    """The deterministic encoding (RFC 8949 4.2.1). Raises TypeError for anything that is not `Cbor`."""
    return cbor2.dumps(_ordered(value, 0))


def decode(data: bytes) -> Any:
    """The value of exactly these bytes; maps are dicts, arrays lists. Raises DecodeError unless `encode` gives them."""
    try:
        value: Any = _ordered(cbor2.loads(data), 0)
        again = cbor2.dumps(value)
    except (cbor2.CBORError, TypeError, ValueError, RecursionError, OverflowError) as error:
        raise DecodeError("not CBOR as it is written here (RFC 8949 4.2.1)") from error
    if again != data:
        raise DecodeError("not CBOR as it is written here (RFC 8949 4.2.1)")
    return value


def _ordered(value: object, depth: int) -> object:
    """The value with every map in the order of its encoded keys, which is how the library then writes it."""
    if depth > _MAX_DEPTH:
        raise TypeError(f"more than {_MAX_DEPTH} levels")
    if value is None or isinstance(value, (bool, int, str, bytes)):
        return value
    if isinstance(value, (list, tuple)):
        return [_ordered(item, depth + 1) for item in value]
    if isinstance(value, Mapping):
        keyed = sorted((_key(key), key, item) for key, item in value.items())
        return {key: _ordered(item, depth + 1) for _, key, item in keyed}
    if isinstance(value, cbor2.CBORTag):
        return cbor2.CBORTag(value.tag, _ordered(value.value, depth + 1))
    raise TypeError(f"{type(value).__name__} is not written as CBOR here")


def _key(key: object) -> bytes:
    if not isinstance(key, (int, str, bytes)) or isinstance(key, bool):
        raise TypeError("a key of a map is a number, a text or bytes")
    return cbor2.dumps(key)
