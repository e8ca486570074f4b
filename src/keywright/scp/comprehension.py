"""COMPREHENSION-TLVs of the card application toolkit (ETSI TS 102 223, TS 101 220 7.1.1): one-byte tags.

The highest bit of the tag says whether the receiver must understand the object; it is no part of its number.
"""

from __future__ import annotations

import ipaddress
from typing import Final

from keywright.codec.ber import length, read_length
from keywright.errors import DecodeError

REQUIRED: Final = 0x80
"""Bit of the tag: the receiver must understand it."""
_NO_TAGS: Final = (0x00, 0x7F, 0x80, 0xFF)

_IPV4: Final = 0x21
_IPV6: Final = 0x57

TIMER_VALUE: Final = 0x25
BEARER: Final = 0x35
IDENTIFICATION: Final = 0x36
BUFFER_SIZE: Final = 0x39
TRANSPORT: Final = 0x3C
ADDRESS: Final = 0x3E
NETWORK_NAME: Final = 0x47


def comprehension_items(data: bytes) -> list[tuple[int, bytes]]:
    """The (number, value) pairs that make up `data`, the comprehension bit taken away. Raises DecodeError."""
    return [(tag & ~REQUIRED, value) for tag, value in comprehension_tags(data)]


def comprehension_tags(data: bytes) -> list[tuple[int, bytes]]:
    """The same with tags as they are. Raises DecodeError, also for tags of more than one byte."""
    found, start, end = [], 0, len(data)
    while start < end:
        tag = data[start]
        if tag in _NO_TAGS:
            raise DecodeError(f"{tag:02X} is no tag of one byte", start)
        size, begin = read_length(data, start + 1, end)
        if begin + size > end:
            raise DecodeError(f"tag {tag:02X} cut short", begin)
        found.append((tag, data[begin : begin + size]))
        start = begin + size
    return found


def comprehension_item(tag: int, value: bytes) -> bytes:
    """One object. Raises ValueError for a tag that is none."""
    if tag in _NO_TAGS or not 0 < tag < 0x100:
        raise ValueError(f"{tag:#x} is no tag of one byte")
    return bytes((tag,)) + length(len(value)) + value


def one(data: bytes, number: int) -> bytes | None:
    """The value of the first object with this number, None if there is none. Raises DecodeError."""
    return next((value for found, value in comprehension_items(data) if found == number), None)


def address_value(text: str) -> bytes:
    """An IP address as the toolkit codes it: 21 or 57, then 4 or 16 bytes. Raises ValueError."""
    address = ipaddress.ip_address(text)
    return bytes((_IPV4 if address.version == 4 else _IPV6,)) + address.packed


def address_text(value: bytes) -> str:
    """Inverse of `address_value`. Raises DecodeError."""
    size = {_IPV4: 4, _IPV6: 16}.get(value[0] if value else 0)
    if size is None or len(value) != size + 1:
        raise DecodeError(f"{value.hex().upper()} is no IP address")
    return str(ipaddress.ip_address(value[1:]))
