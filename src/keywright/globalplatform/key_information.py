"""Which keys a security domain holds, as GET DATA 00E0 tells it: basic and extended format (GPCS 11.3.3.1)."""

from __future__ import annotations

from typing import Final

import msgspec

from keywright.codec.ber import item, items
from keywright.errors import DecodeError
from keywright.globalplatform.messages import KeyComponent, KeyEntry, KeyInformation

_ENTRY: Final = 0xC0
_EXTENDED: Final = 0xFF
_WIDEST: Final = 0xFF


class KeyDescription(msgspec.Struct, frozen=True):
    """One key: its identifier and version, (type, length in bytes) of each component, and what it may be used for.

    usage and access: None in the basic format, which does not tell them.
    """

    kid: int
    kvn: int
    components: tuple[tuple[int, int], ...] = ()
    usage: bytes | None = None
    access: bytes | None = None

    def build(self) -> bytes:
        """Inside C0; extended when usage or access is known or a length needs two bytes."""
        head = bytes((self.kid, self.kvn))
        if self.usage is None and self.access is None and all(size <= _WIDEST for _, size in self.components):
            return head + b"".join(bytes(component) for component in self.components)
        parts = b"".join(bytes((_EXTENDED, kind)) + size.to_bytes(2) for kind, size in self.components)
        usage, access = self.usage or b"", self.access or b""
        return head + parts + bytes((len(usage),)) + usage + bytes((len(access),)) + access


def parse_keys(data: bytes) -> tuple[KeyDescription, ...]:
    """Inside E0, each entry in its own format. Raises DecodeError."""
    return tuple(_entry(value) for number, value in items(data) if number == _ENTRY)


def build_keys(keys: tuple[KeyDescription, ...]) -> bytes:
    """Inverse of `parse_keys`."""
    return b"".join(item(_ENTRY, key.build()) for key in keys)


def basic(keys: tuple[KeyDescription, ...]) -> KeyInformation:
    """The same in the basic format, whose lengths end at 255: a longer component has the length 0 there."""
    return KeyInformation(
        tuple(
            KeyEntry(
                key.kid,
                key.kvn,
                tuple(KeyComponent(kind, size if size <= _WIDEST else 0) for kind, size in key.components),
            )
            for key in keys
        )
    )


def _entry(data: bytes) -> KeyDescription:
    if len(data) < 2:
        raise DecodeError("a key has an identifier and a version number", len(data))
    if data[2:3] == bytes((_EXTENDED,)):
        return _extended(data)
    if len(data) % 2:
        raise DecodeError("a key component is a type and a length", len(data))
    pairs = tuple((data[at], data[at + 1]) for at in range(2, len(data), 2))
    return KeyDescription(data[0], data[1], pairs)


def _extended(data: bytes) -> KeyDescription:
    components, at = [], 2
    while data[at : at + 1] == bytes((_EXTENDED,)):
        if at + 4 > len(data):
            raise DecodeError("a key component is cut short", len(data))
        components.append((data[at + 1], int.from_bytes(data[at + 2 : at + 4])))
        at += 4
    usage, at = _field(data, at)
    access, at = _field(data, at)
    if at != len(data):
        raise DecodeError(f"{len(data) - at} bytes too many", at)
    return KeyDescription(data[0], data[1], tuple(components), usage, access)


def _field(data: bytes, at: int) -> tuple[bytes, int]:
    end = at + 1 + (data[at] if at < len(data) else 0)
    if at >= len(data) or end > len(data):
        raise DecodeError("key usage or access is cut short", len(data))
    return data[at + 1 : end], end
