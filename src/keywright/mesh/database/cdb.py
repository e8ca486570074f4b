"""The mesh configuration database: one JSON document that mesh tools exchange (1.0.1, as Nordic's tools have it).

The document as it was read is the truth, so that what another tool put in goes out again; these types read it and check
it. Addresses, keys and identifiers are upper-case hex, UUIDs have hyphens; 32 plain digits are taken as a UUID too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Annotated, Any, Final, TypeAlias

import msgspec
from msgspec import Meta

from keywright.errors import DecodeError

SCHEMA: Final = "http://json-schema.org/draft-04/schema#"
ID: Final = "http://www.bluetooth.com/specifications/assigned-numbers/mesh-profile/cdb-schema.json#"
"""Some tools leave the hyphen out, so it is never compared."""
VERSION: Final = "1.0.1"
VERSIONS: Final = ("1.0.0", "1.0.1")

Hex16: TypeAlias = Annotated[str, Meta(pattern="^[0-9A-Fa-f]{4}$")]
ModelId: TypeAlias = Annotated[str, Meta(pattern="^[0-9A-Fa-f]{4}([0-9A-Fa-f]{4})?$")]
KeyText: TypeAlias = Annotated[str, Meta(pattern="^[0-9A-Fa-f]{32}$")]
UuidText: TypeAlias = Annotated[
    str, Meta(pattern="^([0-9A-Fa-f]{32}|[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12})$")
]
KeyIndex: TypeAlias = Annotated[int, Meta(ge=0, le=0xFFF)]
Address: TypeAlias = Annotated[str, Meta(pattern="^([0-9A-Fa-f]{4}|[0-9A-Fa-f]{32})$")]
"""An address, or the label UUID of a virtual one."""


class _Entry(msgspec.Struct, frozen=True, rename="camel"):
    """A part of the document; a field that is not known is passed over here and kept in the document."""


class NetKeyEntry(_Entry, frozen=True):
    """A network key."""

    index: KeyIndex
    key: KeyText
    phase: Annotated[int, Meta(ge=0, le=2)] = 0
    name: str = ""
    min_security: str = "secure"
    old_key: KeyText | None = None

    def __repr__(self) -> str:
        return f"<NetKeyEntry {self.index:03X}, phase {self.phase}>"


class AppKeyEntry(_Entry, frozen=True):
    """An application key."""

    index: KeyIndex
    key: KeyText
    bound_net_key: KeyIndex
    name: str = ""
    old_key: KeyText | None = None

    def __repr__(self) -> str:
        return f"<AppKeyEntry {self.index:03X} of {self.bound_net_key:03X}>"


class AddressRange(_Entry, frozen=True):
    """Addresses from low to high, both included."""

    low_address: Hex16
    high_address: Hex16


class ProvisionerEntry(_Entry, frozen=True):
    """A provisioner, and the addresses it may give out."""

    uuid: UuidText = msgspec.field(name="UUID")
    provisioner_name: str = ""
    allocated_unicast_range: tuple[AddressRange, ...] = ()
    allocated_group_range: tuple[AddressRange, ...] = ()


class NodeKeyEntry(_Entry, frozen=True):
    """That a node has a key."""

    index: KeyIndex
    updated: bool = False


class ModelEntry(_Entry, frozen=True):
    """A model of an element."""

    model_id: ModelId
    subscribe: tuple[Address, ...] = ()
    bind: tuple[KeyIndex, ...] = ()


class ElementEntry(_Entry, frozen=True):
    """An element of a node."""

    index: Annotated[int, Meta(ge=0, le=0xFF)]
    location: Hex16
    models: tuple[ModelEntry, ...] = ()
    name: str = ""


class NodeEntry(_Entry, frozen=True):
    """A node. Its device key is in clear, as the format has it."""

    uuid: UuidText = msgspec.field(name="UUID")
    device_key: KeyText | None = None
    unicast_address: Hex16 = "0000"
    security: str = "secure"
    config_complete: bool = False
    name: str = ""
    cid: Hex16 | None = None
    pid: Hex16 | None = None
    vid: Hex16 | None = None
    crpl: Hex16 | None = None
    net_keys: tuple[NodeKeyEntry, ...] = ()
    app_keys: tuple[NodeKeyEntry, ...] = ()
    elements: tuple[ElementEntry, ...] = ()
    excluded: bool = False

    @property
    def address(self) -> int:
        """Address of the primary element."""
        return int(self.unicast_address, 16)

    @property
    def last_address(self) -> int:
        """Address of the last element; a node has one at least."""
        return self.address + max(1, len(self.elements)) - 1

    def __repr__(self) -> str:
        return f"<NodeEntry {self.unicast_address} {self.uuid}>"


class Exclusion(_Entry, frozen=True):
    """Addresses that may not be given out again under this IV index (MshPRT 3.11.7)."""

    iv_index: Annotated[int, Meta(ge=0, le=0xFFFFFFFF)]
    addresses: tuple[Hex16, ...] = ()


class Cdb(_Entry, frozen=True):
    """The whole document, checked."""

    mesh_uuid: UuidText = msgspec.field(name="meshUUID")
    mesh_name: str = ""
    version: str = VERSION
    timestamp: str = ""
    partial: bool = False
    net_keys: tuple[NetKeyEntry, ...] = ()
    app_keys: tuple[AppKeyEntry, ...] = ()
    provisioners: tuple[ProvisionerEntry, ...] = ()
    nodes: tuple[NodeEntry, ...] = ()
    network_exclusions: tuple[Exclusion, ...] = ()

    def __repr__(self) -> str:
        return f"<Cdb {self.mesh_name!r}, {len(self.nodes)} nodes>"


Document: TypeAlias = dict[str, Any]


def read_document(text: bytes | str) -> Document:
    """The JSON as it is. Raises DecodeError for what is no JSON object, or has a name twice in an object."""

    def no_number(_: str) -> None:
        raise DecodeError("mesh database: NaN and Infinity are no JSON")

    def once(pairs: list[tuple[str, Any]]) -> Document:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise DecodeError("mesh database: a name stands twice in one object")
        return found

    try:
        document = json.loads(text, object_pairs_hook=once, parse_constant=no_number)
        write_document(document).encode()  # half a surrogate pair reads, and could not be written again
    except (ValueError, RecursionError) as error:
        if isinstance(error, DecodeError):
            raise
        raise DecodeError(f"mesh database: not JSON ({type(error).__name__})") from error
    if not isinstance(document, dict):
        raise DecodeError("mesh database: not a JSON object")
    return document


def check_document(document: Document, before: tuple[Document, Cdb] | None = None) -> Cdb:
    """What the document says. Raises DecodeError that names the place, also for what contradicts itself.

    before: a document that was checked, and what it said; nodes that are the same objects are not read again.
    """
    try:
        cdb = msgspec.convert(document, Cdb) if before is None else _changed(document, *before)
    except msgspec.ValidationError as error:
        # The message may repeat no value: a key may be one.
        raise DecodeError(f"mesh database: {_place(str(error))}") from None
    if cdb.version not in VERSIONS:
        raise DecodeError(f"mesh database: version {cdb.version[:20]!r}", hint=f"one of {', '.join(VERSIONS)}")
    _check_unique("netKeys", (key.index for key in cdb.net_keys))
    _check_unique("appKeys", (key.index for key in cdb.app_keys))
    _check_unique("nodes", (uuid_bytes(node.uuid) for node in cdb.nodes))
    known = {key.index for key in cdb.net_keys}
    for key in cdb.app_keys:
        if key.bound_net_key not in known:
            raise DecodeError(
                f"mesh database: AppKey {key.index:03X} is bound to NetKey {key.bound_net_key:03X}, not here"
            )
    _check_addresses(cdb)
    return cdb


def _changed(document: Document, old_document: Document, old: Cdb) -> Cdb:
    nodes = document.get("nodes", [])
    if not isinstance(nodes, list):
        return msgspec.convert(document, Cdb)
    known = {id(one): entry for one, entry in zip(old_document.get("nodes", ()), old.nodes, strict=True)}
    rest = msgspec.convert({**document, "nodes": [one for one in nodes if id(one) not in known]}, Cdb)
    fresh = iter(rest.nodes)
    return msgspec.structs.replace(rest, nodes=tuple(known.get(id(one)) or next(fresh) for one in nodes))


def write_document(document: Document) -> str:
    """The JSON text, indented, with a line feed at the end."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def uuid_text(uuid: bytes) -> str:
    """16 octets as the format writes them."""
    digits = uuid.hex().upper()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def uuid_bytes(text: str) -> bytes:
    """16 octets of a UUID with or without hyphens."""
    return bytes.fromhex(text.replace("-", ""))


def _place(text: str) -> str:
    found = re.search(r"at `([^`]*)`", text)
    what = text.split(" - at", maxsplit=1)[0] if found else text
    return f"{found[1]}: {what}" if found else what


def _check_unique(name: str, found: Any) -> None:
    seen = set()
    for one in found:
        if one in seen:
            shown = one.hex() if isinstance(one, bytes) else f"{one:03X}"
            raise DecodeError(f"mesh database: {name} has {shown} twice")
        seen.add(one)


def _check_addresses(cdb: Cdb) -> None:
    taken: list[tuple[int, int, str]] = []
    for node in cdb.nodes:
        if not 1 <= node.address <= node.last_address <= 0x7FFF:
            raise DecodeError(f"mesh database: node {node.uuid} has addresses {node.unicast_address} and on")
        taken.append((node.address, node.last_address, node.uuid))
    taken.sort()
    key: Callable[[int], tuple[int, int, str]] = taken.__getitem__
    for place in range(1, len(taken)):
        before, here = key(place - 1), key(place)
        if here[0] <= before[1]:
            raise DecodeError(f"mesh database: nodes {before[2]} and {here[2]} share address {here[0]:04X}")
