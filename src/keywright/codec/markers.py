"""The markers that say, in an annotation, how a value lies in bytes.

A marker stands in `Annotated`: `Annotated[bytes, raw(8)]`, `Annotated[tuple[U16, ...], counted(1)]`. Nothing here
knows a protocol: the length forms "ber", "dgi" and "lv" are ways of writing a number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

LengthForm = Literal[1, 2, 3, 4, "ber", "dgi", "lv"]


@dataclass(frozen=True, slots=True)
class Unsigned:
    """Marker of an unsigned integer of `size` bytes, 1 to 8."""

    size: int


@dataclass(frozen=True, slots=True)
class Raw:
    """Marker of exactly `size` bytes."""

    size: int


@dataclass(frozen=True, slots=True, init=False)
class Rest:
    """Marker of all bytes that are left. `Rest(0, 3)`: their number is one of these; `Rest()`: any number."""

    lengths: tuple[int, ...]

    def __init__(self, *lengths: int) -> None:
        """lengths: the numbers of bytes that are allowed; none given: all are."""
        object.__setattr__(self, "lengths", lengths)


@dataclass(frozen=True, slots=True)
class Prefixed:
    """Marker of a value after its length in bytes, itself written as `form` says."""

    form: LengthForm


@dataclass(frozen=True, slots=True)
class Counted:
    """Marker of a tuple after the number of its elements, written as `form` says."""

    form: LengthForm


@dataclass(frozen=True, slots=True)
class Tag:
    """Marker of a TLV field. size: bytes of an integer, None for as few as it needs."""

    number: int
    size: int | None = None


@dataclass(frozen=True, slots=True)
class Others:
    """Marker of a `tuple[tuple[int, bytes], ...]` that keeps the (tag, value) pairs no other field names, in order."""


def raw(size: int) -> Raw:
    """Exactly `size` bytes."""
    return Raw(size)


def prefixed(form: LengthForm) -> Prefixed:
    """A length, then that many bytes.

    form: 1 to 4 for its size in bytes, "ber" as in TLV, "dgi" 1 byte or FF and 2, "lv" as "ber" but 80 is read as 128.
    """
    return Prefixed(form)


def counted(form: LengthForm) -> Counted:
    """A number of elements, then the elements of the tuple. form: as for `prefixed`."""
    return Counted(form)


def tag(number: int, size: int | None = None) -> Tag:
    """The TLV with this tag, the integer of its bytes (0x9F7F). size: the width of an integer, 1 to 8 bytes."""
    return Tag(number, size)
