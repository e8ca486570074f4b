"""What the registry needs of a load file data block in the format of Java Card: its AID, version and modules.

A data block is the components of a CAP file one after the other (Java Card VM specification 6).
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from keywright.codec.record import U8, U16, Record, Rest, counted, prefixed, raw
from keywright.errors import DecodeError

HEADER: Final = 1
APPLETS: Final = 3
MAGIC: Final = bytes.fromhex("DECAFFED")


class Component(Record, frozen=True):
    """One component, whole."""

    tag: U8
    info: Annotated[bytes, prefixed(2)]


class Components(Record, frozen=True):
    """A load file data block."""

    components: tuple[Component, ...] = ()


class HeaderInfo(Record, frozen=True):
    """Inside the header component (6.4)."""

    magic: Annotated[bytes, raw(4)]
    minor: U8
    major: U8
    flags: U8
    package_minor: U8
    package_major: U8
    aid: Annotated[bytes, prefixed(1)]
    name: Annotated[bytes, Rest()] = b""


class AppletInfo(Record, frozen=True):
    """One applet of the applet component (6.6)."""

    aid: Annotated[bytes, prefixed(1)]
    install_offset: U16


class AppletsInfo(Record, frozen=True):
    """Inside the applet component."""

    applets: Annotated[tuple[AppletInfo, ...], counted(1)] = ()


class Package(msgspec.Struct, frozen=True):
    """What a load file is: version is major and minor, two bytes."""

    aid: bytes
    version: bytes
    modules: tuple[bytes, ...]


def parse_package(block: bytes) -> Package:
    """The package in a load file data block. Raises DecodeError when it is none."""
    found = {component.tag: component.info for component in Components.parse(block).components}
    if HEADER not in found:
        raise DecodeError("a load file data block without a header component")
    header = HeaderInfo.parse(found[HEADER])
    if header.magic != MAGIC:
        raise DecodeError("the header component has not the magic number of a CAP file")
    applets = AppletsInfo.parse(found[APPLETS]).applets if APPLETS in found else ()
    version = bytes((header.package_major, header.package_minor))
    return Package(header.aid, version, tuple(applet.aid for applet in applets))
