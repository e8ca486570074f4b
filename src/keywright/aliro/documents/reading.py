"""Reading decoded CBOR field by field: each helper gives a value of one kind, or a DecodeError that names the field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeVar

from keywright.aliro.dates import build_timestamp, parse_timestamp
from keywright.codec.cbor import EMBEDDED, EPOCH, TEXT_DATE, Cbor, Tag, decode
from keywright.errors import DecodeError

T = TypeVar("T")

LATEST: Final = 0xFFFFFFFF
"""Last time of the four bytes that schedules and revocations have: 2106-02-07T06:28:15Z."""


def of_kind(value: object, kind: type[T], what: str) -> T:
    """The value, if it is of this very type: True is no number here. Raises DecodeError."""
    if type(value) is not kind:
        raise DecodeError(f"{what}: {type(value).__name__} where {kind.__name__} is due")
    return value


def number(value: object, most: int, what: str, *, least: int = 0) -> int:
    """A number from `least` to `most`."""
    found = of_kind(value, int, what)
    if not least <= found <= most:
        raise DecodeError(f"{what}: {found} is not from {least} to {most}")
    return found


def sized(value: object, most: int, what: str, *, least: int = 0) -> bytes:
    """Bytes, from `least` to `most` of them."""
    found = of_kind(value, bytes, what)
    if not least <= len(found) <= most:
        raise DecodeError(f"{what}: {len(found)} bytes, not {least} to {most}")
    return found


def elements(value: object, most: int, what: str, *, least: int = 1) -> list[Any]:
    """An array, of `least` to `most` elements."""
    found: list[Any] = of_kind(value, list, what)
    if not least <= len(found) <= most:
        raise DecodeError(f"{what}: {len(found)} elements, not {least} to {most}")
    return found


def known(value: object, keys: Mapping[Any, str], what: str) -> dict[Any, Any]:
    """A map with no other keys than these: one that is not known may restrict what the others allow."""
    found: dict[Any, Any] = of_kind(value, dict, what)
    for key in found:
        if key not in keys:
            raise DecodeError(f"{what}: unknown field {key!r}")
    return found


def field(found: Mapping[Any, Any], key: object, what: str) -> Any:
    """A field that must be there."""
    if key not in found:
        raise DecodeError(f"{what}: field {key!r} missing")
    return found[key]


def epoch(value: object, what: str) -> int:
    """A time of four bytes under tag 1; a bare number is read too, as an earlier revision had it."""
    if isinstance(value, Tag) and value.tag == EPOCH:
        value = value.value
    return number(value, LATEST, what)


def build_epoch(time: int) -> Cbor:
    """A time under tag 1."""
    return Tag(EPOCH, time)


def date(value: object, what: str) -> int:
    """A time as text under tag 0."""
    if not isinstance(value, Tag) or value.tag != TEXT_DATE:
        raise DecodeError(f"{what}: no date (tag 0)")
    try:
        return parse_timestamp(of_kind(value.value, str, what))
    except DecodeError as error:
        raise DecodeError(f"{what}: {error}") from error


def build_date(time: int) -> Cbor:
    """A time as text under tag 0."""
    return Tag(TEXT_DATE, build_timestamp(time))


def embedded(value: object, what: str) -> Any:
    """What the bytes under tag 24 are as CBOR."""
    if not isinstance(value, Tag) or value.tag != EMBEDDED:
        raise DecodeError(f"{what}: no embedded CBOR (tag 24)")
    try:
        return decode(of_kind(value.value, bytes, what), dates=True)
    except DecodeError as error:
        raise DecodeError(f"{what}: {error}") from error


def version(found: Mapping[Any, Any], what: str) -> None:
    """Demand version 1.0 of a structure that says its version as text."""
    if field(found, "1", what) != "1.0":
        raise DecodeError(f"{what}: version {found['1']!r}, not '1.0'")
