"""Frames of Bluetooth Mesh in words: advertising data, PB-ADV, and the provisioning PDUs that their segments make."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, final

import msgspec

from keywright.errors import DecodeError
from keywright.mesh.advertising import FLAGS, MESH_BEACON, MESH_MESSAGE, PB_ADV, URI, ad_structures
from keywright.mesh.beacons import parse_unprovisioned
from keywright.mesh.messages import ERRORS, Failed, Pdu, describe, parse_pdu
from keywright.mesh.pb_adv.messages import PbAdvPdu, TransactionContinuation, TransactionStart, fcs, parse_generic

_KINDS: Final = {FLAGS: "flags", MESH_MESSAGE: "mesh message", MESH_BEACON: "mesh beacon", PB_ADV: "PB-ADV", URI: "URI"}


class Said(msgspec.Struct, frozen=True):
    """One thing that a frame says: its name, and its fields by name."""

    name: str
    fields: dict[str, str] = {}


@final
class FrameTeller:
    """Tells frames in order, and puts the segments of each transaction together."""

    def __init__(self) -> None:
        self._starts: dict[tuple[int, int], TransactionStart] = {}
        self._parts: dict[tuple[int, int], dict[int, bytes]] = {}

    def tell(self, data: bytes) -> list[Said]:
        """What a frame says: advertising data, or a provisioning PDU alone. Raises DecodeError for neither."""
        structures = list(ad_structures(data))
        if sum(len(content) + 2 for _, content in structures) == len(data) and any(
            kind in _KINDS for kind, _ in structures
        ):
            return [said for kind, content in structures for said in self._structure(kind, content)]
        return [tell_pdu(data)]

    def _structure(self, kind: int, content: bytes) -> Iterator[Said]:
        try:
            if kind == PB_ADV:
                yield from self._pb_adv(content)
                return
            if kind == MESH_BEACON and content[:1] == b"\x00":
                yield Said("Unprovisioned Device beacon", _fields(parse_unprovisioned(content)))
                return
        except DecodeError as error:
            yield Said(f"{_KINDS[kind]} that is none: {error}")
            return
        yield Said(_KINDS.get(kind, f"AD type {kind:02X}"), {"octets": content.hex().upper()})

    def _pb_adv(self, content: bytes) -> Iterator[Said]:
        frame = PbAdvPdu.parse(content)
        message = parse_generic(frame.generic)
        where = {"link_id": f"{frame.link_id:08X}", "transaction": f"{frame.transaction:02X}"}
        yield Said(_spaced(type(message).__name__), where | _fields(message))
        if isinstance(message, TransactionStart | TransactionContinuation):
            yield from self._whole((frame.link_id, frame.transaction), message)

    def _whole(self, key: tuple[int, int], message: TransactionStart | TransactionContinuation) -> Iterator[Said]:
        parts = self._parts.setdefault(key, {})
        if isinstance(message, TransactionStart):
            self._starts[key] = message
        parts[0 if isinstance(message, TransactionStart) else message.index] = message.data
        start = self._starts.get(key)
        if start is None or not parts.keys() >= set(range(start.last_index + 1)):
            return
        pdu = b"".join(parts[index] for index in range(start.last_index + 1))
        del self._parts[key], self._starts[key]
        if len(pdu) == start.total and fcs(pdu) == start.fcs:
            yield tell_pdu(pdu)
        else:
            yield Said("a transaction whose length or FCS is wrong (MshPRT 5.3.1.1)")


def tell_pdu(data: bytes) -> Said:
    """A provisioning PDU. Raises DecodeError."""
    message: Pdu = parse_pdu(data)
    fields = _fields(message)
    if isinstance(message, Failed):
        fields["meaning"] = ERRORS.get(message.error_code, "reserved")
    return Said(f"Provisioning {describe(message)}", fields)


def _fields(message: msgspec.Struct) -> dict[str, str]:
    return {name: _shown(getattr(message, name)) for name in message.__struct_fields__}


def _shown(value: object) -> str:
    return value.hex().upper() if isinstance(value, bytes) else f"{value}"


def _spaced(name: str) -> str:
    return "".join(" " + letter if letter.isupper() else letter for letter in name).strip()
