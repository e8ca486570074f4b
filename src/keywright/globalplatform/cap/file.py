"""A CAP file: read from a ZIP archive or an IJC stream, and made into what LOAD carries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from keywright.errors import DecodeError
from keywright.globalplatform.cap.archive import component_files
from keywright.globalplatform.cap.components import (
    FILE_NAMES,
    LOAD_ORDER,
    MAGIC,
    AppletComponent,
    Component,
    ComponentTag,
    Directory,
    ExtendedAppletComponent,
    ExtendedHeader,
    Flag,
    Header,
    ImportComponent,
    PackageInfo,
    parse_component,
    parse_directory,
)
from keywright.globalplatform.dap import cipher_load_block, hash_load_block, sign_dap
from keywright.globalplatform.load_file import LoadFile
from keywright.globalplatform.signatures import SecretKey, SigningKey

_ZIP: Final = b"PK"
_BY_NAME: Final = {name.lower(): tag for tag, name in FILE_NAMES.items()}
_FLAGS_AT: Final = 6


class Cap(msgspec.Struct, frozen=True):
    """A CAP file. `components`: in the order of its tags, those of the vendor last."""

    components: tuple[Component, ...]
    header: Header | ExtendedHeader
    imports: tuple[PackageInfo, ...] = ()
    applet_aids: tuple[bytes, ...] = ()
    directory: Directory | None = None
    """None where there is none, and in the extended format."""

    @property
    def package(self) -> PackageInfo:
        """The package; in the extended format, the CAP file itself. Its AID is that of the load file."""
        return self.header.package

    @property
    def format(self) -> tuple[int, int]:
        """Format version: (2, 1), (2, 2), (2, 3)."""
        return self.header.format_major, self.header.format_minor

    @property
    def is_extended(self) -> bool:
        """Whether it has the extended format, which most cards do not take."""
        return bool(self.header.flags & Flag.EXTENDED)

    def component(self, tag: int) -> Component | None:
        """The component with this tag, if there is one."""
        return next((one for one in self.components if one.tag == tag), None)

    def load_block(self, *, descriptor: bool = False) -> bytes:
        """The load file data block: components in the order a card is given them; this is also the IJC form.

        descriptor: with the descriptor component, which few cards want.
        """
        wanted = [tag for tag in LOAD_ORDER if descriptor or tag != ComponentTag.DESCRIPTOR]
        found = (self.component(tag) for tag in wanted)
        return b"".join(one.build() for one in found if one is not None)

    def hash(self, algorithm: str = "sha256", *, descriptor: bool = False) -> bytes:
        """Hash of the load file data block: sha1, sha256, sha384 or sha512."""
        return hash_load_block(self.load_block(descriptor=descriptor), algorithm)

    def load_file(
        self,
        *,
        signers: Sequence[tuple[bytes, SigningKey]] = (),
        algorithm: str = "sha256",
        cipher: SecretKey | None = None,
        icv: bytes | None = None,
        descriptor: bool = False,
    ) -> LoadFile:
        """What LOAD carries. signers: AID and DAP key of each domain that verifies; cipher: for a ciphered load file.

        The hash that DAP signs is that of the plain block. Raises ValueError for a hash weaker than a key.
        """
        block = self.load_block(descriptor=descriptor)
        digest = hash_load_block(block, algorithm)
        daps = tuple(sign_dap(key, digest, aid) for aid, key in signers)
        if cipher is None:
            return LoadFile(block, daps)
        return LoadFile(cipher_load_block(cipher, block, icv), daps, ciphered=True, icv=icv)


def parse_cap(data: bytes) -> Cap:
    """A CAP file as a ZIP archive, or as an IJC stream (its components one after the other). Raises DecodeError."""
    if data[:2] == _ZIP:
        return of_components(_unpacked(data))
    return of_components(parse_stream(data))


def parse_stream(data: bytes) -> tuple[Component, ...]:
    """Components one after the other, as an IJC file and a load file data block have them. Raises DecodeError.

    In the extended format some sizes have four bytes: the way is taken that uses up all of the data.
    """
    extended = len(data) > 3 + _FLAGS_AT and bool(data[3 + _FLAGS_AT] & Flag.EXTENDED)
    found = _ways(data, 0, frozenset(), extended=extended)
    if not found:
        raise DecodeError("the components do not fit into the data, or one stands there twice")
    return found


def _ways(data: bytes, at: int, seen: frozenset[int], *, extended: bool) -> tuple[Component, ...]:
    """Components from `at` to the end; empty when there is no way to read them."""
    if at >= len(data) or data[at] in seen:
        return ()
    tag = data[at]
    for width in (2, 4) if extended and tag != ComponentTag.HEADER else (2,):
        start = at + 1 + width
        end = start + int.from_bytes(data[at + 1 : start])
        if start > len(data) or end > len(data):
            continue
        rest = _ways(data, end, seen | {tag}, extended=extended)
        if rest or end == len(data):
            return (Component(tag, data[start:end], width), *rest)
    return ()


def _unpacked(data: bytes) -> tuple[Component, ...]:
    found = []
    for name, content in component_files(data).items():
        component = parse_component(content)
        tag = _BY_NAME.get(name.lower())
        if tag is not None and tag != component.tag:
            raise DecodeError(f"the file of the component {name} holds component {component.tag}")
        found.append(component)
    return tuple(found)


def of_components(components: Sequence[Component]) -> Cap:
    """A CAP file of its components. Raises DecodeError without a header, for one twice, and for one that is damaged."""
    ordered = tuple(sorted(components, key=lambda one: one.tag))
    tags = [one.tag for one in ordered]
    if len(set(tags)) != len(tags):
        raise DecodeError("a component is there twice")
    info = {one.tag: one.info for one in ordered}
    if ComponentTag.HEADER not in info:
        raise DecodeError("no header component: not a CAP file")
    header = _header(info[ComponentTag.HEADER])
    imports = ImportComponent.parse(info[ComponentTag.IMPORT]).packages if ComponentTag.IMPORT in info else ()
    extended = isinstance(header, ExtendedHeader)
    directory = None
    if ComponentTag.DIRECTORY in info and not extended:
        directory = parse_directory(info[ComponentTag.DIRECTORY], (header.format_major, header.format_minor))
    aids = _applets(info[ComponentTag.APPLET], extended=extended) if ComponentTag.APPLET in info else ()
    return Cap(ordered, header, imports, aids, directory)


def _header(info: bytes) -> Header | ExtendedHeader:
    if int.from_bytes(info[:4]) != MAGIC:
        raise DecodeError("the header does not begin with DECAFFED: not a CAP file")
    extended = len(info) > _FLAGS_AT and bool(info[_FLAGS_AT] & Flag.EXTENDED)
    return ExtendedHeader.parse(info) if extended else Header.parse(info)


def _applets(info: bytes, *, extended: bool) -> tuple[bytes, ...]:
    """AIDs of the applet component. In the extended format the place of an install method has a byte more."""
    if not extended:
        return tuple(applet.aid for applet in AppletComponent.parse(info).applets)
    return tuple(applet.aid for applet in ExtendedAppletComponent.parse(info).applets)
