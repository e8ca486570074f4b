"""BER-TLV, one level at a time (ISO 7816-4 5.2.2, X.690 8.1): tags up to 4 bytes, lengths up to 3 bytes after 8x.

A tag is the integer of its bytes: 0x4F, 0x9F7F. Longer forms of a length than needed are read, the shortest is written;
the indefinite length 80 is refused.
"""

from __future__ import annotations

import functools

from keywright.errors import DecodeError

_SHORT = tuple(bytes((size,)) for size in range(0x80))
_LONG = 0x1F


def items(data: bytes) -> list[tuple[int, bytes]]:
    """The (tag, value) pairs that make up `data`, outermost level only. Raises DecodeError."""
    return [(tag, data[start:stop]) for tag, start, stop in spans(data, 0, len(data))]


def find(data: bytes, tag: int, *inner: int) -> bytes | None:
    """The value of the first `tag` of `data`, or of the tags inside it in turn; None if it is not there.

    Raises DecodeError if one of the levels walked through is not TLV from start to end.
    """
    start, end = 0, len(data)
    for wanted in (tag, *inner):
        for found, begin, stop in spans(data, start, end):
            if found == wanted:
                start, end = begin, stop
                break
        else:
            return None
    return data[start:end]


def item(tag: int, value: bytes) -> bytes:
    """Tag, shortest length and value. Raises ValueError if `tag` is no tag or the value takes 2**24 bytes or more."""
    return tag_bytes(tag) + length(len(value)) + value


def length(size: int) -> bytes:
    """The shortest form of a length. Raises ValueError outside 0 .. 2**24-1."""
    if 0 <= size < 0x80:
        return _SHORT[size]
    if not 0 < size < 1 << 24:
        raise ValueError(f"{size} is no length of up to 3 bytes")
    width = (size.bit_length() + 7) // 8
    return bytes((0x80 | width,)) + size.to_bytes(width, "big")


@functools.lru_cache(maxsize=1024)
def tag_bytes(tag: int) -> bytes:
    """The bytes of a tag. Raises ValueError for an integer that is no tag of up to 4 bytes."""
    if 0 <= tag < 1 << 32:
        coded = tag.to_bytes(max(1, (tag.bit_length() + 7) // 8), "big")
        more = coded[0] & _LONG == _LONG, *(byte > 0x7F for byte in coded[1:])
        if more == (True,) * (len(coded) - 1) + (False,):
            return coded
    raise ValueError(f"{tag:#x} is no tag of up to 4 bytes")


def spans(data: bytes, start: int, end: int) -> list[tuple[int, int, int]]:
    """(tag, where its value starts, where it ends) for each TLV of data[start:end]. Raises DecodeError."""
    found: list[tuple[int, int, int]] = []
    try:
        while start < end:
            tag = data[start]
            if tag & _LONG == _LONG:
                start += 1
                if data[start] < 0x80:
                    tag = tag << 8 | data[start]
                else:
                    tag, start = _long_tag(data, start - 1, end)
            stop = data[start + 1]
            start += 2
            if stop > 0x7F:
                stop, start = read_length(data, start - 1, end)
            stop += start
            found.append((tag, start, stop))
            start = stop
    except IndexError:
        raise DecodeError("tag or length cut short", end) from None
    if start > end:
        tag, begin, stop = found[-1]
        raise DecodeError(f"tag {tag:X} cut short: its value ends at {stop}, the data at {end}", min(begin, end))
    return found


def read_length(data: bytes, start: int, end: int) -> tuple[int, int]:
    """A length and the position after it. Raises DecodeError."""
    if start >= end:
        raise DecodeError("length missing", start)
    first = data[start]
    if first < 0x80:
        return first, start + 1
    stop = start + 1 + (first & 0x7F)
    if not 0x81 <= first <= 0x83:
        raise DecodeError(f"length form {first:02X}", start)
    if stop > end:
        raise DecodeError("length cut short", start)
    return int.from_bytes(data[start + 1 : stop], "big"), stop


def _long_tag(data: bytes, start: int, end: int) -> tuple[int, int]:
    """A tag of more than two bytes and the position of its last one."""
    for at in range(start + 1, min(start + 4, end)):
        if data[at] < 0x80:
            return int.from_bytes(data[start : at + 1], "big"), at
    raise DecodeError("tag cut short or longer than 4 bytes", start)
