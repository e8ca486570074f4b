"""Parameters by which an installed application gets TARs and a minimum security level (ETSI TS 102 226 8.2.1.3.2).

They stand in the install parameters: EF{CA} for SIM toolkit applications, EA{80} for UICC ones (GPCS table 11-49).
"""

from __future__ import annotations

from typing import Annotated

from keywright.codec.record import U8, Record, Rest, counted, prefixed, raw
from keywright.codec.tlv import Template, tag
from keywright.errors import DecodeError


class MenuEntry(Record, frozen=True):
    """Position and identifier of an entry of the menu."""

    position: U8
    identifier: U8


class UiccToolkitParameters(Record, frozen=True):
    """Value of EA/80. `after_msl`: the TARs, 3 bytes each after their length, and a number of services; may be cut."""

    priority: U8
    timers: U8
    max_text: U8
    menu: Annotated[tuple[MenuEntry, ...], counted(1)]
    channels: U8
    msl: Annotated[bytes, prefixed(1)]
    after_msl: Annotated[bytes, Rest()] = b""


class SimToolkitParameters(Record, frozen=True):
    """Value of EF/CA: the same after an access domain."""

    access_domain: Annotated[bytes, prefixed(1)]
    priority: U8
    timers: U8
    max_text: U8
    menu: Annotated[tuple[MenuEntry, ...], counted(1)]
    channels: U8
    msl: Annotated[bytes, prefixed(1)]
    after_msl: Annotated[bytes, Rest()] = b""


class SystemParameters(Template, frozen=True):
    """Value of EF: memory quotas and the toolkit parameters."""

    volatile: Annotated[bytes | None, tag(0xC7)] = None
    non_volatile: Annotated[bytes | None, tag(0xC8)] = None
    toolkit: Annotated[SimToolkitParameters | None, tag(0xCA)] = None


class InstallParameters(Template, frozen=True):
    """The two places that this module knows in the install parameters."""

    system: Annotated[SystemParameters | None, tag(0xEF)] = None
    uicc: Annotated[UiccSystemParameters | None, tag(0xEA)] = None


class UiccSystemParameters(Template, frozen=True):
    """Value of EA: toolkit parameters, access and administrative access."""

    toolkit: Annotated[UiccToolkitParameters | None, tag(0x80)] = None
    access: Annotated[bytes | None, tag(0x81)] = None
    administrative_access: Annotated[bytes | None, tag(0x82)] = None


class TarList(Record, frozen=True):
    """`after_msl` where it is there: TARs, then a number of services in the UICC form."""

    tars: Annotated[tuple[Annotated[bytes, raw(3)], ...], prefixed(1)]
    services: Annotated[bytes, Rest(0, 1)] = b""


def tars(parameters: UiccToolkitParameters | SimToolkitParameters) -> tuple[bytes, ...]:
    """The TARs asked for; none where the list is left out. Raises DecodeError."""
    return TarList.parse(parameters.after_msl).tars if parameters.after_msl else ()


def minimum_security_level(parameters: UiccToolkitParameters | SimToolkitParameters) -> int:
    """The minimum SPI1; 0 where none is asked for. Raises DecodeError for a parameter that is not 01 (SPI1)."""
    if not parameters.msl:
        return 0
    if len(parameters.msl) != 2 or parameters.msl[0] != 1:
        raise DecodeError(f"minimum security level parameter {parameters.msl.hex().upper()} is not 01 and SPI1")
    return parameters.msl[1]
