"""Small CAP files that a card can load: for tests and rehearsals, with an applet that has no code of its own.

Every component is there and agrees with the others, so that a reader that checks them finds nothing wrong; the method
component is empty, so that a real virtual machine would not link it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from keywright.globalplatform.cap.archive import build_archive
from keywright.globalplatform.cap.components import (
    FILE_NAMES,
    MAGIC,
    SIZES_BY_FORMAT,
    AppletComponent,
    AppletInfo,
    Component,
    ComponentTag,
    Directory,
    DirectoryTail,
    Flag,
    Header,
    ImportComponent,
    PackageInfo,
)
from keywright.globalplatform.cap.file import Cap, of_components

JAVA_LANG: Final = PackageInfo(0, 1, bytes.fromhex("A0000000620001"))
FRAMEWORK: Final = PackageInfo(3, 1, bytes.fromhex("A0000000620101"))
_NO_STATIC_FIELDS: Final = bytes(10)
_EMPTY: Final = {
    ComponentTag.CONSTANT_POOL: bytes(2),
    ComponentTag.CLASS: b"",
    ComponentTag.METHOD: b"\0",
    ComponentTag.STATIC_FIELD: _NO_STATIC_FIELDS,
    ComponentTag.REFERENCE_LOCATION: bytes(4),
    ComponentTag.DESCRIPTOR: bytes(3),
}


def make_cap(
    package_aid: bytes,
    applets: Sequence[bytes] = (),
    imports: Sequence[PackageInfo] = (FRAMEWORK, JAVA_LANG),
    *,
    version: tuple[int, int] = (1, 0),
    form: tuple[int, int] = (2, 2),
    code_bytes: int = 0,
) -> Cap:
    """A CAP file. form: its format version, one of `SIZES_BY_FORMAT`; code_bytes: filling, to make it larger."""
    info = {tag: bytes(value) for tag, value in _EMPTY.items()}
    info[ComponentTag.METHOD] += bytes(code_bytes)
    major, minor = version
    flags = Flag.APPLET if applets else 0
    info[ComponentTag.HEADER] = Header(
        MAGIC, form[1], form[0], flags, PackageInfo(minor, major, package_aid), b"" if form == (2, 1) else b"\0"
    ).build()
    info[ComponentTag.IMPORT] = ImportComponent(tuple(imports)).build()
    if applets:
        info[ComponentTag.APPLET] = AppletComponent(tuple(AppletInfo(aid, 1) for aid in applets)).build()
    tail = DirectoryTail(0, 0, 0, len(imports), len(applets), ())
    count = SIZES_BY_FORMAT[form]
    info[ComponentTag.DIRECTORY] = bytes(2 * count + len(tail.build()))
    sizes = tuple(len(info.get(ComponentTag(tag), b"")) for tag in range(1, count + 1))
    info[ComponentTag.DIRECTORY] = Directory(sizes, tail).build()
    return of_components([Component(tag, value) for tag, value in info.items()])


def build_cap(
    package_aid: bytes,
    applets: Sequence[bytes] = (),
    imports: Sequence[PackageInfo] = (FRAMEWORK, JAVA_LANG),
    *,
    version: tuple[int, int] = (1, 0),
    form: tuple[int, int] = (2, 2),
    code_bytes: int = 0,
) -> bytes:
    """The ZIP archive of `make_cap`."""
    return pack(make_cap(package_aid, applets, imports, version=version, form=form, code_bytes=code_bytes))


def pack(cap: Cap, folder: str = "example/javacard") -> bytes:
    """The ZIP archive of a CAP file, its components below `folder`."""
    files = {f"{folder}/{one.name}.cap": one.build() for one in cap.components if one.tag in FILE_NAMES}
    return build_archive({"META-INF/MANIFEST.MF": b"Manifest-Version: 1.0\r\n\r\n", **files})
