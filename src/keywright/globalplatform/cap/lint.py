"""Checks of a CAP file before it meets a card: its structure, and what the card must have for it (JCVM 6, 4.5)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Final

import msgspec

from keywright.globalplatform.cap.components import (
    FILE_NAMES,
    SIZES_BY_FORMAT,
    ComponentTag,
    ExtendedHeader,
    Flag,
    PackageInfo,
)
from keywright.globalplatform.cap.file import Cap

_PLATFORM: Final = bytes.fromhex("A000000062")
"""RID of the Java Card platform: its packages are in the mask, and many cards do not list them."""
_GLOBALPLATFORM: Final = bytes.fromhex("A000000151")
_RID_BYTES: Final = 5
_AID_BYTES: Final = range(5, 17)
_MANDATORY: Final = (
    ComponentTag.DIRECTORY,
    ComponentTag.IMPORT,
    ComponentTag.CONSTANT_POOL,
    ComponentTag.CLASS,
    ComponentTag.METHOD,
    ComponentTag.STATIC_FIELD,
    ComponentTag.REFERENCE_LOCATION,
)
KNOWN_PACKAGES: Final = {
    bytes.fromhex("A0000000620001"): "java.lang",
    bytes.fromhex("A0000000620002"): "java.io",
    bytes.fromhex("A0000000620003"): "java.rmi",
    bytes.fromhex("A0000000620101"): "javacard.framework",
    bytes.fromhex("A000000062010101"): "javacard.framework.service",
    bytes.fromhex("A0000000620102"): "javacard.security",
    bytes.fromhex("A0000000620201"): "javacardx.crypto",
    bytes.fromhex("A0000000620202"): "javacardx.biometry",
    bytes.fromhex("A0000000620203"): "javacardx.external",
    bytes.fromhex("A0000000620209"): "javacardx.apdu",
    bytes.fromhex("A00000015100"): "org.globalplatform",
}
"""Names of packages that nearly every applet imports."""


class Severity(StrEnum):
    """Whether the card will refuse, or may."""

    ERROR = "error"
    WARNING = "warning"


class Finding(msgspec.Struct, frozen=True):
    """One thing that is wrong: `rule` is a stable slug, `where` the component it is about."""

    severity: Severity
    rule: str
    where: str
    text: str


class CardPackage(msgspec.Struct, frozen=True):
    """A package that a card has; `version` (major, minor) None where it does not tell."""

    aid: bytes
    version: tuple[int, int] | None = None

    @classmethod
    def listed(cls, aid: bytes, version: bytes | None) -> CardPackage:
        """As GET STATUS lists a load file: its version is two bytes (CE), major first."""
        return cls(aid, (version[0], version[1]) if version is not None and len(version) == 2 else None)


def package_name(aid: bytes) -> str:
    """Name of a well-known package with its AID, or the AID alone."""
    shown = aid.hex().upper()
    return f"{KNOWN_PACKAGES[aid]} ({shown})" if aid in KNOWN_PACKAGES else shown


def lint(cap: Cap, card: Sequence[CardPackage] | None = None) -> tuple[Finding, ...]:
    """All that is wrong with a CAP file, and with loading it on a card that has these packages; best is empty."""
    found = [*_structure(cap), *_names(cap), *_directory(cap)]
    if card is not None:
        found += _on_card(cap, card)
    return tuple(found)


def _error(rule: str, where: str, text: str) -> Finding:
    return Finding(Severity.ERROR, rule, where, text)


def _warning(rule: str, where: str, text: str) -> Finding:
    return Finding(Severity.WARNING, rule, where, text)


def _structure(cap: Cap) -> Iterator[Finding]:
    if cap.format not in SIZES_BY_FORMAT:
        yield _warning("format-version", "Header", f"format version {cap.format[0]}.{cap.format[1]} is not known")
    if cap.is_extended:
        yield _warning("extended-format", "Header", "the extended format needs a card of Java Card 3.1 that takes it")
    for tag in _MANDATORY:
        if cap.component(tag) is None:
            yield _error("component-missing", FILE_NAMES[tag], "this component is mandatory")
    for flag, tag in ((Flag.APPLET, ComponentTag.APPLET), (Flag.EXPORT, ComponentTag.EXPORT)):
        if bool(cap.header.flags & flag) != (cap.component(tag) is not None):
            state = "there without its flag" if cap.component(tag) else "flagged in the header and not there"
            yield _error("flag", FILE_NAMES[tag], f"this component is {state}")
    if cap.component(ComponentTag.DEBUG) is not None:
        yield _warning("debug", "Debug", "the debug component is left out when loading")
    for one in cap.components:
        if one.tag not in FILE_NAMES:
            yield _warning("custom-component", one.name, "a vendor's component is left out when loading")


def _names(cap: Cap) -> Iterator[Finding]:
    packages = cap.header.packages if isinstance(cap.header, ExtendedHeader) else ()
    named = [
        *(("Header", one.aid) for one in (cap.package, *packages)),
        *(("Import", one.aid) for one in cap.imports),
        *(("Applet", aid) for aid in cap.applet_aids),
    ]
    for where, aid in named:
        if len(aid) not in _AID_BYTES:
            yield _error("aid-length", where, f"{aid.hex().upper() or 'nothing'} is no AID of 5 to 16 bytes")
    for aid in cap.applet_aids:
        if aid[:_RID_BYTES] != cap.package.aid[:_RID_BYTES]:
            text = f"applet {aid.hex().upper()} has another RID than its package {cap.package.aid.hex().upper()}"
            yield _error("applet-rid", "Applet", text)
    for where, aids in (("Applet", cap.applet_aids), ("Import", tuple(one.aid for one in cap.imports))):
        if len(set(aids)) != len(aids):
            yield _error("twice", where, "an AID stands there twice")
    if cap.header.flags & Flag.APPLET and not cap.applet_aids:
        yield _error("no-applet", "Applet", "the applet component names no applet")


def _directory(cap: Cap) -> Iterator[Finding]:
    directory = cap.directory
    if directory is None:
        return
    if len(directory.sizes) != SIZES_BY_FORMAT.get(cap.format, len(directory.sizes)):
        yield _warning("directory-form", "Directory", f"{len(directory.sizes)} sizes are not those of this format")
    for tag, announced in enumerate(directory.sizes, 1):
        one = cap.component(tag)
        actual = len(one.info) if one is not None else 0
        left_out = one is None and tag in (ComponentTag.DESCRIPTOR, ComponentTag.DEBUG)
        if announced != actual and not left_out:
            name = FILE_NAMES[ComponentTag(tag)]
            yield _error("directory-size", name, f"the directory says {announced} bytes, it has {actual}")
    counts = (
        ("Import", directory.tail.import_count, len(cap.imports)),
        ("Applet", directory.tail.applet_count, len(cap.applet_aids)),
    )
    for where, announced, actual in counts:
        if announced != actual:
            yield _error("directory-count", where, f"the directory says {announced} entries, it has {actual}")


def _on_card(cap: Cap, card: Sequence[CardPackage]) -> Iterator[Finding]:
    there = {one.aid: one.version for one in card}
    if cap.package.aid in there:
        text = f"the package {cap.package.aid.hex().upper()} is on the card already; delete it first"
        yield _error("loaded", "Header", text)
    for one in cap.imports:
        yield from _import(one, there)


def _import(wanted: PackageInfo, there: dict[bytes, tuple[int, int] | None]) -> Iterator[Finding]:
    name, needs = package_name(wanted.aid), f"version {wanted.major}.{wanted.minor}"
    if wanted.aid not in there:
        if wanted.aid.startswith((_PLATFORM, _GLOBALPLATFORM)):
            text = f"{name} {needs} is not listed; a card seldom lists what is in its mask"
            yield _warning("import-untold", "Import", text)
        else:
            yield _error("import-missing", "Import", f"{name} {needs} is not on the card")
        return
    held = there[wanted.aid]
    if held is None:
        yield _warning("import-version-untold", "Import", f"{name}: {needs} is needed, the card does not tell its own")
    elif held[0] != wanted.major or held[1] < wanted.minor:
        yield _error("import-version", "Import", f"{name}: {needs} is needed, the card has {held[0]}.{held[1]}")
