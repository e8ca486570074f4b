"""Components of a CAP file, as far as loading, checking and installing need them (JCVM 6).

A component is a tag, a size and its information. What only a virtual machine reads stays bytes.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated, Final

import msgspec

from keywright.codec.record import U8, U16, U32, Record, Rest, counted, prefixed
from keywright.errors import DecodeError

MAGIC: Final = 0xDECAFFED


class ComponentTag(IntEnum):
    """Tags of the components (JCVM table 6-1)."""

    HEADER = 1
    DIRECTORY = 2
    APPLET = 3
    IMPORT = 4
    CONSTANT_POOL = 5
    CLASS = 6
    METHOD = 7
    STATIC_FIELD = 8
    REFERENCE_LOCATION = 9
    EXPORT = 10
    DESCRIPTOR = 11
    DEBUG = 12
    STATIC_RESOURCES = 13


FILE_NAMES: Final = {
    ComponentTag.HEADER: "Header",
    ComponentTag.DIRECTORY: "Directory",
    ComponentTag.APPLET: "Applet",
    ComponentTag.IMPORT: "Import",
    ComponentTag.CONSTANT_POOL: "ConstantPool",
    ComponentTag.CLASS: "Class",
    ComponentTag.METHOD: "Method",
    ComponentTag.STATIC_FIELD: "StaticField",
    ComponentTag.REFERENCE_LOCATION: "RefLocation",
    ComponentTag.EXPORT: "Export",
    ComponentTag.DESCRIPTOR: "Descriptor",
    ComponentTag.DEBUG: "Debug",
    ComponentTag.STATIC_RESOURCES: "StaticResources",
}
"""Name of a component's file in the archive, without its suffix .cap or .capx."""

LOAD_ORDER: Final = (
    ComponentTag.HEADER,
    ComponentTag.DIRECTORY,
    ComponentTag.IMPORT,
    ComponentTag.APPLET,
    ComponentTag.CLASS,
    ComponentTag.METHOD,
    ComponentTag.STATIC_FIELD,
    ComponentTag.EXPORT,
    ComponentTag.CONSTANT_POOL,
    ComponentTag.REFERENCE_LOCATION,
    ComponentTag.STATIC_RESOURCES,
    ComponentTag.DESCRIPTOR,
)
"""Order in which a card is given them (JCVM 6.1.2); the debug component never goes there."""


class Flag:
    """Flags of the header (JCVM table 6-4)."""

    INT: Final = 0x01
    EXPORT: Final = 0x02
    APPLET: Final = 0x04
    EXTENDED: Final = 0x08


class PackageInfo(Record, frozen=True):
    """A package: version and AID."""

    minor: U8
    major: U8
    aid: Annotated[bytes, prefixed(1)]

    @property
    def version(self) -> tuple[int, int]:
        """Major and minor."""
        return self.major, self.minor


class Header(Record, frozen=True):
    """Information of the header, compact format. name: nothing, or the package's name after its length."""

    magic: U32
    format_minor: U8
    format_major: U8
    flags: U8
    package: PackageInfo
    name: Annotated[bytes, Rest()] = b""


class ExtendedHeader(Record, frozen=True):
    """Information of the header, extended format (since 2.3): a CAP file of several packages with an AID of its own."""

    magic: U32
    format_minor: U8
    format_major: U8
    flags: U8
    package: PackageInfo
    packages: Annotated[tuple[PackageInfo, ...], counted(1)]
    names: Annotated[bytes, Rest()] = b""


class ImportComponent(Record, frozen=True):
    """Information of the import component: the packages that the code refers to."""

    packages: Annotated[tuple[PackageInfo, ...], counted(1)]


class AppletInfo(Record, frozen=True):
    """An applet class: its AID, by which INSTALL names the module, and where its install method is."""

    aid: Annotated[bytes, prefixed(1)]
    install_offset: U16


class AppletComponent(Record, frozen=True):
    """Information of the applet component, compact format."""

    applets: Annotated[tuple[AppletInfo, ...], counted(1)]


class ExtendedAppletInfo(Record, frozen=True):
    """An applet class in the extended format: its install method is in a block of the method component."""

    aid: Annotated[bytes, prefixed(1)]
    block: U8
    install_offset: U16


class ExtendedAppletComponent(Record, frozen=True):
    """Information of the applet component, extended format."""

    applets: Annotated[tuple[ExtendedAppletInfo, ...], counted(1)]


class CustomComponent(Record, frozen=True):
    """A vendor's component, as the directory lists it."""

    tag: U8
    size: U16
    aid: Annotated[bytes, prefixed(1)]


class DirectoryTail(Record, frozen=True):
    """What follows the sizes in the directory, compact format."""

    static_image_bytes: U16
    array_init_count: U16
    array_init_bytes: U16
    import_count: U8
    applet_count: U8
    custom: Annotated[tuple[CustomComponent, ...], counted(1)]


class Directory(msgspec.Struct, frozen=True):
    """Information of the directory, compact format: the size of each component's information by tag, from 1."""

    sizes: tuple[int, ...]
    tail: DirectoryTail

    def build(self) -> bytes:
        """Its bytes."""
        return b"".join(size.to_bytes(2) for size in self.sizes) + self.tail.build()


SIZES_BY_FORMAT: Final = {(2, 1): 11, (2, 2): 12, (2, 3): 13}
"""How many sizes the directory of a format version has: 2.1 knows no debug component, 2.2 no static resources."""


def parse_directory(info: bytes, version: tuple[int, int]) -> Directory:
    """Information of the directory. Raises DecodeError when it fits no number of sizes that there is.

    The number follows from the format version; converters that kept an older one are read too.
    """
    expected = SIZES_BY_FORMAT.get(version, max(SIZES_BY_FORMAT.values()))
    for count in sorted(set(SIZES_BY_FORMAT.values()), key=lambda count: abs(count - expected)):
        try:
            tail = DirectoryTail.parse(info[2 * count :])
        except DecodeError:
            continue
        return Directory(tuple(int.from_bytes(info[2 * at : 2 * at + 2]) for at in range(count)), tail)
    raise DecodeError(f"a directory of {len(info)} bytes fits no format version")


class Component(msgspec.Struct, frozen=True):
    """One component: its tag, the bytes of its size field (2, or 4 in some of the extended format), its information."""

    tag: int
    info: bytes
    size_bytes: int = 2

    @property
    def name(self) -> str:
        """Name of its file, or its number for a vendor's."""
        return FILE_NAMES[ComponentTag(self.tag)] if self.tag in FILE_NAMES else f"component {self.tag}"

    def build(self) -> bytes:
        """Tag, size and information."""
        return bytes((self.tag,)) + len(self.info).to_bytes(self.size_bytes) + self.info


def parse_component(data: bytes) -> Component:
    """One component that takes all of `data`. Raises DecodeError for a size that does not fit.

    A size of two bytes is tried before one of four: only the extended format has those.
    """
    for width in (2, 4):
        if len(data) > width and int.from_bytes(data[1 : 1 + width]) == len(data) - 1 - width:
            return Component(data[0], data[1 + width :], width)
    raise DecodeError(f"a component of {len(data)} bytes announces another size")
