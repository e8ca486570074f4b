"""What the registry needs of a load file data block in the format of Java Card: AID, version, modules and imports.

A data block is the components of a CAP file one after the other (Java Card VM specification 6).
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from keywright.codec.record import U8, U16, Record, Rest, counted, prefixed, raw
from keywright.errors import DecodeError

HEADER: Final = 1
APPLETS: Final = 3
IMPORTS: Final = 4
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


class ImportInfo(Record, frozen=True):
    """One package that this one needs (6.7)."""

    minor: U8
    major: U8
    aid: Annotated[bytes, prefixed(1)]


class ImportsInfo(Record, frozen=True):
    """Inside the import component."""

    packages: Annotated[tuple[ImportInfo, ...], counted(1)] = ()


class Package(msgspec.Struct, frozen=True):
    """What a load file is: version is major and minor, two bytes; imports are AIDs of other packages."""

    aid: bytes
    version: bytes
    modules: tuple[bytes, ...]
    imports: tuple[bytes, ...] = ()


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
    needed = ImportsInfo.parse(found[IMPORTS]).packages if IMPORTS in found else ()
    return Package(
        header.aid, version, tuple(applet.aid for applet in applets), tuple(package.aid for package in needed)
    )
