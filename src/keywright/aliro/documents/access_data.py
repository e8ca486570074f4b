"""The element of an Access Document: rules, schedules, extensions (Aliro 1.0 7.3).

`read` takes what a device handed over and the issuer signed. It refuses whatever it does not know, because a field
that is not understood may restrict what the others allow; only the data of extensions stay bytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Self

import msgspec

from keywright.aliro.documents.reading import (
    LATEST,
    build_epoch,
    elements,
    epoch,
    field,
    known,
    number,
    of_kind,
    sized,
)
from keywright.codec.cbor import Cbor
from keywright.errors import DecodeError

VERSION: Final = 1
SCHEDULES: Final = 8
"""Most schedules of an element: rules name them by the bits of a byte."""
ID_BYTES: Final = 16
_UTC: Final = 0x01
_NOT_CRITICAL: Final = 0x01
_MANY: Final = 256
"""More rules, reader rules or extensions than this are no document of a credential."""


class Capability:
    """Bits of what a rule allows to do (7.3.3)."""

    SECURE: Final = 0x01
    UNSECURE: Final = 0x02
    TOGGLE: Final = 0x04
    MOMENTARY_UNSECURE: Final = 0x08
    EXTENDED_MOMENTARY_UNSECURE: Final = 0x10
    PAYMENT: Final = 0x20


CAPABILITIES: Final = {
    Capability.SECURE: "secure",
    Capability.UNSECURE: "unsecure",
    Capability.TOGGLE: "toggle",
    Capability.MOMENTARY_UNSECURE: "momentary unsecure",
    Capability.EXTENDED_MOMENTARY_UNSECURE: "extended momentary unsecure",
    Capability.PAYMENT: "payment",
}
"""What each capability is called."""


class Pattern:
    """How a schedule recurs (7.3.4)."""

    DAILY: Final = 1
    WEEKLY: Final = 2
    MONTHLY_BY_DAY: Final = 3
    MONTHLY_BY_DATE: Final = 4
    YEARLY_BY_DAY: Final = 5
    YEARLY_BY_DATE: Final = 6
    YEARLY_BY_WEEK: Final = 7
    YEARLY_BY_MONTH_WEEK: Final = 8


WEEKDAYS: Final = 0x7F
"""Mask: Monday is bit 0."""
MONTHS: Final = 0xFFF << 7
"""Mask: January is bit 7."""
DATES: Final = 0x7FFFFFFF
"""Mask: the first of the month is bit 0."""

_BOUNDS: Final = {
    Pattern.DAILY: (0, 0),
    Pattern.WEEKLY: (0, WEEKDAYS),
    Pattern.MONTHLY_BY_DAY: (5, WEEKDAYS),
    Pattern.MONTHLY_BY_DATE: (31, WEEKDAYS),
    Pattern.YEARLY_BY_DAY: (5, WEEKDAYS | MONTHS),
    Pattern.YEARLY_BY_DATE: (31, WEEKDAYS | MONTHS),
    Pattern.YEARLY_BY_WEEK: (53, WEEKDAYS | MONTHS),
    Pattern.YEARLY_BY_MONTH_WEEK: (5, WEEKDAYS | MONTHS),
}
"""Greatest ordinal, also negative, and the bits of the mask that a pattern knows."""


class Recurrence(msgspec.Struct, frozen=True):
    """When a schedule comes again."""

    duration: int
    """Seconds from the beginning of each occurrence."""
    pattern: int
    """Of `Pattern`."""
    mask: int = 0
    """`WEEKDAYS` and `MONTHS`, or `DATES` for MONTHLY_BY_DATE without an ordinal."""
    interval: int = 1
    """1 to 255: every so many days, weeks, months or years, counted from those of the schedule's start."""
    ordinal: int = 0
    """Which one of a month or year, negative from its end."""

    def value(self) -> Cbor:
        """As CBOR."""
        return [self.duration, self.mask, self.pattern, self.interval, self.ordinal]

    @classmethod
    def read(cls, value: object) -> Self:
        """From decoded CBOR. Raises DecodeError."""
        what = "recurrence"
        duration, mask, pattern, interval, ordinal = elements(value, 5, what, least=5)
        found = cls(
            duration=number(duration, LATEST, f"{what}: duration", least=1),
            pattern=number(pattern, max(_BOUNDS), f"{what}: pattern", least=1),
            mask=number(mask, 0xFFFFFFFF, f"{what}: mask"),
            interval=number(interval, 255, f"{what}: interval", least=1),
            ordinal=number(ordinal, 127, f"{what}: ordinal", least=-128),
        )
        most, bits = _BOUNDS[found.pattern]
        by_date = found.pattern == Pattern.MONTHLY_BY_DATE and found.ordinal == 0
        if not -most <= found.ordinal <= most or (most and found.ordinal == 0 and not by_date):
            raise DecodeError(f"{what}: ordinal {found.ordinal} with pattern {found.pattern}")
        if found.mask & ~(DATES if by_date else bits):
            raise DecodeError(f"{what}: mask {found.mask:X} with pattern {found.pattern}")
        return found


class Schedule(msgspec.Struct, frozen=True):
    """A span of time, or what recurs in it."""

    start: int
    """Seconds since 1970; without `utc`, of a clock on the wall of the reader, as if it showed UTC."""
    end: int | None = None
    """The first second after it; None: it does not end."""
    recurrence: Recurrence | None = None
    utc: bool = True

    def value(self) -> Cbor:
        """As CBOR."""
        return {
            0: build_epoch(self.start),
            **({} if self.end is None else {1: build_epoch(self.end)}),
            **({} if self.recurrence is None else {2: self.recurrence.value()}),
            3: _UTC if self.utc else 0,
        }

    @classmethod
    def read(cls, value: object) -> Self:
        """From decoded CBOR. Raises DecodeError."""
        what = "schedule"
        found = known(value, {0: "start", 1: "end", 2: "recurrence", 3: "flags"}, what)
        start = epoch(field(found, 0, what), f"{what}: start")
        end = epoch(found[1], f"{what}: end") if 1 in found else None
        if end is not None and end <= start:
            raise DecodeError(f"{what}: it ends before it starts")
        return cls(
            start=start,
            end=end,
            recurrence=Recurrence.read(found[2]) if 2 in found else None,
            utc=bool(number(field(found, 3, what), _UTC, f"{what}: flags")),
        )


class AccessRule(msgspec.Struct, frozen=True):
    """What is allowed, and when. A rule that names no schedule holds at any time."""

    capabilities: int | None = None
    """Bits of `Capability`; those that are not known mean nothing here."""
    allow: int | None = None
    """Bit i: schedule i. At least one of these must be running."""
    deny: int | None = None
    """None of these may be running."""

    def value(self) -> Cbor:
        """As CBOR."""
        fields = {0: self.capabilities, 1: self.allow, 2: self.deny}
        return {key: part for key, part in fields.items() if part is not None}

    @classmethod
    def read(cls, value: object, schedules: int) -> Self:
        """From decoded CBOR, with the number of schedules that there are. Raises DecodeError."""
        what = "access rule"
        found = known(value, {0: "capabilities", 1: "allow", 2: "deny"}, what)
        rule = cls(
            capabilities=number(found[0], 0xFFFF, f"{what}: capabilities") if 0 in found else None,
            allow=number(found[1], 0xFF, f"{what}: allowed schedules") if 1 in found else None,
            deny=number(found[2], 0xFF, f"{what}: denied schedules") if 2 in found else None,
        )
        if ((rule.allow or 0) | (rule.deny or 0)) >> schedules:
            raise DecodeError(f"{what}: it names a schedule that is not there")
        return rule


class Extension(msgspec.Struct, frozen=True):
    """What a vendor adds that says nothing about access."""

    vendor: int
    identifier: int
    version: int
    data: bytes


class AccessExtension(msgspec.Struct, frozen=True):
    """What a vendor adds to the rules."""

    vendor: int
    identifier: int
    version: int
    data: bytes
    critical: bool = True
    """A reader that does not know it must not give access. On the wire it is bit 0 that is **not** set (7.3.7)."""


class AccessData(msgspec.Struct, frozen=True):
    """The value of an element of an Access Document."""

    id: bytes = b""
    """Name of the credential for revocation, up to 16 bytes; empty: none."""
    rules: tuple[AccessRule, ...] = ()
    """Empty: the element says nothing about what is allowed."""
    schedules: tuple[Schedule, ...] = ()
    reader_rules: tuple[int, ...] = ()
    """Numbers of rules that the reader itself keeps."""
    extensions: tuple[Extension, ...] = ()
    access_extensions: tuple[AccessExtension, ...] = ()
    version: int = VERSION

    def value(self) -> Cbor:
        """As CBOR; what is empty is left out."""
        plain = by_vendor((one.vendor, [one.identifier, one.version, one.data]) for one in self.extensions)
        access = by_vendor(
            (one.vendor, [0 if one.critical else _NOT_CRITICAL, one.identifier, one.version, one.data])
            for one in self.access_extensions
        )
        optional: dict[int, Cbor] = {
            1: self.id,
            2: [rule.value() for rule in self.rules],
            3: [schedule.value() for schedule in self.schedules],
            4: list(self.reader_rules),
            5: plain,
            6: access,
        }
        return {0: self.version, **{key: part for key, part in optional.items() if part}}

    @classmethod
    def read(cls, value: object) -> Self:
        """From decoded CBOR. Raises DecodeError, also for another version, whose fields are not known."""
        what = "access data"
        found = known(value, _FIELDS, what)
        version = number(field(found, 0, what), 0xFFFFFFFF, f"{what}: version")
        if version != VERSION:
            raise DecodeError(f"{what}: version {version}, not {VERSION}")
        schedules = elements(found[3], SCHEDULES, "schedules") if 3 in found else ()
        rules = elements(found[2], _MANY, "access rules") if 2 in found else ()
        reader_rules = elements(found[4], _MANY, "reader rules") if 4 in found else ()
        return cls(
            id=sized(found[1], ID_BYTES, f"{what}: id") if 1 in found else b"",
            rules=tuple(AccessRule.read(one, len(schedules)) for one in rules),
            schedules=tuple(Schedule.read(one) for one in schedules),
            reader_rules=tuple(number(one, 0xFFFF, "reader rule") for one in reader_rules),
            extensions=tuple(
                Extension(vendor, *read_extension(one, 3)) for vendor, one in read_vendors(found.get(5, {}))
            ),
            access_extensions=tuple(_access_extension(vendor, one) for vendor, one in read_vendors(found.get(6, {}))),
            version=version,
        )


_FIELDS: Final = {
    0: "version",
    1: "id",
    2: "access rules",
    3: "schedules",
    4: "reader rules",
    5: "extensions",
    6: "access extensions",
}


def read_vendors(value: object) -> list[tuple[int, Any]]:
    """The extensions in a map from vendors to lists, each with its vendor. Raises DecodeError."""
    found: dict[Any, Any] = of_kind(value, dict, "extensions")
    return [
        (number(vendor, 0xFFFFFFFF, "extensions: vendor", least=1), one)
        for vendor, listed in found.items()
        for one in elements(listed, _MANY, "extensions of a vendor")
    ]


def read_extension(value: object, size: int) -> tuple[int, int, bytes]:
    """Identifier, version and data, the last three of `size` parts. Raises DecodeError."""
    identifier, version, data = elements(value, size, "extension", least=size)[-3:]
    return (
        number(identifier, 0xFFFFFFFF, "extension: identifier"),
        number(version, 0xFFFFFFFF, "extension: version"),
        of_kind(data, bytes, "extension: data"),
    )


def _access_extension(vendor: int, value: object) -> AccessExtension:
    parts = read_extension(value, 4)
    flags = number(elements(value, 4, "extension")[0], 0xFF, "extension: criticality")
    return AccessExtension(vendor, *parts, critical=not flags & _NOT_CRITICAL)


def by_vendor(extensions: Iterable[tuple[int, Cbor]]) -> dict[int, list[Cbor]]:
    """Extensions, each after its vendor, as a map from vendors to lists."""
    listed: dict[int, list[Cbor]] = {}
    for vendor, one in extensions:
        listed.setdefault(vendor, []).append(one)
    return listed
