"""A network as its owner keeps it: the configuration database and everything that must survive a crash.

One memory holds it all. A device passes through it in three writes: its addresses are reserved before it is told
anything, its device key is kept before the provisioning data leave, and it becomes a node when it said Complete.
Whatever is cut between two of them, the next run finds what the device may have.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, final

import msgspec

from keywright.crypto.compare import equal
from keywright.errors import DecodeError, PolicyError, StoreError, UsageError
from keywright.mesh.database.addresses import Range, Reservation, reserve, with_reservation
from keywright.mesh.database.cdb import (
    ID,
    SCHEMA,
    VERSION,
    Cdb,
    Document,
    NodeEntry,
    check_document,
    read_document,
    uuid_bytes,
    uuid_text,
    write_document,
)
from keywright.mesh.database.elements import composition_fields, merged_elements
from keywright.mesh.messages import ProvisioningData
from keywright.mesh.models.composition import Composition
from keywright.mesh.network.iv_index import IvState
from keywright.mesh.network.keyring import DISTRIBUTING
from keywright.store.memory import Memory

_DOCUMENT: Final = "document"
"""The document without its nodes."""
_NODES: Final = "nodes"
"""UUIDs of the nodes, in the order of the document."""
_NODE: Final = "node/"
"""Each node by itself: a lot of a thousand devices changes one of them at a time."""
_RESERVATIONS: Final = "reservations"
_IV_INDEX: Final = "iv_index"
_PENDING: Final = "pending/"
_EARLIER: Final = "earlier/"
"""What a device may have been given before what is pending: a promise takes nothing back."""
_MOST_EARLIER: Final = 8
_CERTIFIED: Final = "certified/"
_ANEW: Final = b" anew"
"""After the UUID of a node whose addresses are to change: no device has such a UUID."""
_OWN: Final = b" own"
"""After the UUID of the network, for the same reason: a device may call itself by that."""
ALL_UNICAST: Final = Range(0x0001, 0x7FFF)


class Pending(msgspec.Struct, frozen=True):
    """A device that was, or may have been, given provisioning data and has not said Complete."""

    uuid: bytes
    address: int
    elements: int
    device_key: bytes
    net_index: int

    def __repr__(self) -> str:
        return f"<Pending {uuid_text(self.uuid)} at {self.address:04X}>"


@final
class NetworkDatabase:
    """A network in a memory. One process at a time: the memory's own lock sees to that."""

    def __init__(self, memory: Memory) -> None:
        """Take up a network. Raises StoreError if the memory has none, DecodeError if it does not read."""
        self.memory = memory
        self._document = _load(memory)
        self.cdb = check_document(self._document)
        reservations = memory.load(_RESERVATIONS)
        self._reservations = msgspec.msgpack.decode(reservations, type=tuple[Reservation, ...]) if reservations else ()

    @classmethod
    def begin(
        cls,
        memory: Memory,
        *,
        name: str,
        uuid: bytes,
        net_key: bytes,
        provisioner_uuid: bytes,
        timestamp: str,
        ranges: Sequence[Range] = (ALL_UNICAST,),
    ) -> NetworkDatabase:
        """Begin a network with one NetKey, index 0. Raises StoreError if the memory holds one already.

        uuid, net_key, provisioner_uuid: 16 random octets each. timestamp: RFC 3339.
        """
        document: Document = {
            "$schema": SCHEMA,
            "id": ID,
            "version": VERSION,
            "meshUUID": uuid_text(uuid),
            "meshName": name,
            "timestamp": timestamp,
            "partial": False,
            "provisioners": [
                {
                    "provisionerName": "keywright",
                    "UUID": uuid_text(provisioner_uuid),
                    "allocatedUnicastRange": [
                        {"lowAddress": f"{one.first:04X}", "highAddress": f"{one.last:04X}"} for one in ranges
                    ],
                    "allocatedGroupRange": [],
                    "allocatedSceneRange": [],
                }
            ],
            "netKeys": [
                {
                    "name": "primary",
                    "index": 0,
                    "key": net_key.hex().upper(),
                    "phase": 0,
                    "minSecurity": "insecure",
                    "timestamp": timestamp,
                }
            ],
            "appKeys": [],
            "nodes": [],
            "groups": [],
            "scenes": [],
            "networkExclusions": [],
        }
        return cls.take_in(memory, write_document(document))

    @classmethod
    def take_in(cls, memory: Memory, text: str | bytes, iv_index: IvState | None = None) -> NetworkDatabase:
        """Put an exported document into an empty memory. Raises StoreError if it is not, DecodeError for the text.

        iv_index: of the network now; the format does not say it, and a network that was never updated has 0.
        """
        if memory.load(_DOCUMENT) is not None:
            raise StoreError("this memory holds a network already", hint="take another file")
        document = read_document(text)
        cdb = check_document(document)
        held = [Reservation(node.address, node.last_address, uuid_bytes(node.uuid)) for node in cdb.nodes]
        for exclusion in cdb.network_exclusions:
            held += [Reservation(int(one, 16), int(one, 16), b"", exclusion.iv_index) for one in exclusion.addresses]
        memory.commit(
            {
                **_pieces(document, {}),
                _RESERVATIONS: msgspec.msgpack.encode(tuple(held)),
                _IV_INDEX: msgspec.msgpack.encode(iv_index or IvState(0)),
            }
        )
        return cls(memory)

    def export(self) -> str:
        """The document, with everything that was in it when it was taken in.

        Addresses that are no node's and not free either (this provisioner's own, those of a lot and of devices whose
        provisioning was cut) are excluded in it under this IV index: sequence numbers were used from there, or may be.
        """
        held = self._held_by_no_node()
        if not held:
            return write_document(self._document)
        return write_document({**self._document, "networkExclusions": self._with_exclusions(held)})

    def _held_by_no_node(self) -> list[str]:
        held = {one for each in self._reservations if each.rests_since is None for one in each.addresses}
        for node in self.cdb.nodes:
            held -= {*range(node.address, node.last_address + 1)}
        return [f"{one:04X}" for one in sorted(held)]

    @property
    def document(self) -> Document:
        """The document as it is now; not to be changed."""
        return self._document

    # ---- what is asked ----------------------------------------------------------------------------------------

    @property
    def iv_state(self) -> IvState:
        """The IV index of the network, and whether its update is in progress."""
        kept = self.memory.load(_IV_INDEX)
        return msgspec.msgpack.decode(kept, type=IvState) if kept else IvState(0)

    def net_key(self, index: int) -> bytes:
        """A network key in clear, for provisioning data. Raises UsageError for one that the network has not."""
        for key in self.cdb.net_keys:
            if key.index == index:
                # Until phase 2 of a key refresh the network is the old key; the new one is sent to a new node later.
                distributing = key.phase == DISTRIBUTING and key.old_key is not None
                return bytes.fromhex(key.old_key if distributing and key.old_key else key.key)
        known = ", ".join(f"{key.index}" for key in self.cdb.net_keys)
        raise UsageError(f"the network has no NetKey with index {index}", hint=f"it has: {known}")

    def own_address(self) -> int:
        """The address that this provisioner asks from: reserved once, under a name no device has. Raises StoreError.

        It is never the address of a provisioner that a document came from, whose sequence numbers are not known here.
        """
        return self.reserve(uuid_bytes(self.cdb.mesh_uuid) + _OWN, 1).first

    def node(self, uuid: bytes) -> NodeEntry | None:
        """The node with this UUID, None if there is none."""
        return next((node for node in self.cdb.nodes if uuid_bytes(node.uuid) == uuid), None)

    def pending(self, uuid: bytes) -> Pending | None:
        """What a device may have been given, None if nothing was on its way."""
        kept = self.memory.load(_PENDING + uuid.hex())
        return msgspec.msgpack.decode(kept, type=Pending) if kept else None

    def earlier(self, uuid: bytes) -> tuple[Pending, ...]:
        """What it may have been given before that, the oldest first: who answered to this UUID need not be the same."""
        kept = self.memory.load(_EARLIER + uuid.hex())
        return msgspec.msgpack.decode(kept, type=tuple[Pending, ...]) if kept else ()

    def all_pending(self) -> list[Pending]:
        """Every device whose provisioning was cut."""
        found = (self.pending(bytes.fromhex(name[len(_PENDING) :])) for name in self._pending_names())
        return [one for one in found if one is not None]

    # ---- a device becomes a node ------------------------------------------------------------------------------

    def reserve(self, uuid: bytes, elements: int) -> Reservation:
        """Addresses for a device, written before they are returned. Raises PolicyError, StoreError."""
        # While an update is in progress nodes still send under the old index, and remember who sent what under it.
        sent_under = self.iv_state.sending
        given = reserve(self._reservations, self._ranges(), uuid, elements, sent_under)
        if given not in self._reservations:
            self._write_reservations(with_reservation(self._reservations, given, sent_under))
        return given

    def reserve_anew(self, uuid: bytes, elements: int) -> Reservation:
        """Other addresses for a node, beside those it has; the same ones until `move`. As `reserve`."""
        return self.reserve(uuid + _ANEW, elements)

    def move(self, uuid: bytes, fields: Mapping[str, Any], others: Mapping[str, bytes | None], timestamp: str) -> None:
        """A node has the addresses of `reserve_anew`: those it had rest. fields: of its entry, changed at once with it.

        others: values of the memory beside the document. Raises UsageError for no node, StoreError.
        """
        node = self.require(uuid)
        anew = next((one for one in self._reservations if one.uuid == uuid + _ANEW), None)
        if anew is None:
            raise UsageError(f"{uuid_text(uuid)} was given no other addresses")
        index = self.iv_state.index
        rested = [
            Reservation(one.first, one.last, one.uuid, index) if one.uuid == uuid and one.rests_since is None else one
            for one in self._reservations
            if one != anew
        ]
        held = (*rested, Reservation(anew.first, anew.last, uuid))
        left = [f"{one:04X}" for one in range(node.address, node.last_address + 1)]
        changed = {**fields, "unicastAddress": f"{anew.first:04X}"}
        nodes = [{**one, **changed} if uuid_bytes(one["UUID"]) == uuid else one for one in self._document["nodes"]]
        self.write(
            {"nodes": nodes, "networkExclusions": self._with_exclusions(left), "timestamp": timestamp},
            {**others, _RESERVATIONS: msgspec.msgpack.encode(held)},
        )
        self._reservations = held

    def _with_exclusions(self, addresses: Sequence[str]) -> list[dict[str, Any]]:
        index = self.iv_state.index
        exclusions = [dict(one) for one in self._document.get("networkExclusions", [])]
        same = next((one for one in exclusions if one.get("ivIndex") == index), None)
        if same is None:
            return [*exclusions, {"ivIndex": index, "addresses": [*addresses]}]
        same["addresses"] = [*dict.fromkeys([*same.get("addresses", []), *addresses])]
        return exclusions

    def promise(
        self,
        uuid: bytes,
        elements: int,
        device_key: bytes,
        net_index: int = 0,
        *,
        certified: tuple[int, int] | None = None,
    ) -> ProvisioningData:
        """The data for a device, once everything needed after a crash is written: address, device key, NetKey index.

        certified: company and product that its certificate names, for who reads its composition.
        Raises PolicyError for a device that is a node already, and as `reserve` and `net_key`.
        """
        if self.node(uuid) is not None:
            raise PolicyError(
                f"{uuid_text(uuid)} is a node of this network already",
                hint="if the device was reset, remove the node first: keywright mesh network remove",
            )
        self.net_key(net_index)
        address = self.reserve(uuid, elements).first
        promised = Pending(uuid, address, elements, device_key, net_index)
        before, earlier = self.pending(uuid), self.earlier(uuid)
        if before is not None and not equal(before.device_key, device_key):
            earlier = (*earlier, before)[-_MOST_EARLIER:]
        self.memory.commit(
            {
                _PENDING + uuid.hex(): msgspec.msgpack.encode(promised),
                _CERTIFIED + uuid.hex(): None if certified is None else msgspec.msgpack.encode(certified),
                **_kept_earlier(uuid, earlier),
            }
        )
        return self.data_for(address, net_index)

    def certified_product(self, uuid: bytes) -> tuple[int, int] | None:
        """Company and product that a node's certificate names (BCID, BPID; MshPRT 5.5), None if it named none."""
        kept = self.memory.load(_CERTIFIED + uuid.hex())
        return msgspec.msgpack.decode(kept, type=tuple[int, int]) if kept else None

    def data_for(self, address: int, net_index: int) -> ProvisioningData:
        """The data for a device or node at this address, as the network is now. Raises UsageError as `net_key`."""
        iv = self.iv_state
        flags = self._phase(net_index) // 2 | (2 if iv.is_updating else 0)
        return ProvisioningData(self.net_key(net_index), net_index, flags, iv.index.to_bytes(4), address)

    def complete(self, uuid: bytes, *, name: str, timestamp: str, is_secure: bool) -> NodeEntry:
        """The device is a node. is_secure: it proved itself by an OOB key or value. Raises StoreError.

        If it did not, what was promised to this UUID earlier is kept: another device may have taken that.
        Raises UsageError for a device that nothing was promised to.
        """
        promised = self.pending(uuid)
        if promised is None:
            raise UsageError(f"{uuid_text(uuid)} was promised nothing by this network")
        node = {
            "UUID": uuid_text(uuid),
            "name": name,
            "deviceKey": promised.device_key.hex().upper(),
            "unicastAddress": f"{promised.address:04X}",
            "security": "secure" if is_secure else "insecure",
            "configComplete": False,
            "netKeys": [{"index": promised.net_index, "updated": False}],
            "appKeys": [],
            "elements": [{"index": index, "location": "0000", "models": []} for index in range(promised.elements)],
            "excluded": False,
        }
        self.write(
            {"nodes": [*self._document.get("nodes", []), node], "timestamp": timestamp},
            {_PENDING + uuid.hex(): None, **(_kept_earlier(uuid, ()) if is_secure else {})},
        )
        found = self.node(uuid)
        assert found is not None  # it was written a moment ago
        return found

    def adopt(self, given: Pending, *, name: str, timestamp: str, is_secure: bool) -> NodeEntry:
        """Take in a node that was provisioned with data of this network by somebody else, from reserved addresses.

        One that is here already with this address and device key is left as it is. Raises PolicyError for the same
        device with others, DecodeError for an address that another node has, StoreError.
        """
        known = self.node(given.uuid)
        if known is not None:
            if known.address != given.address or known.device_key != given.device_key.hex().upper():
                raise PolicyError(
                    f"{uuid_text(given.uuid)} is in this network already, with another address or device key",
                    hint="remove that node first, if the device was provisioned anew",
                )
            return known
        self.memory.commit({_PENDING + given.uuid.hex(): msgspec.msgpack.encode(given)})
        return self.complete(given.uuid, name=name, timestamp=timestamp, is_secure=is_secure)

    def give_up(self, uuid: bytes) -> None:
        """Nothing was taken by this device, for certain: its promise and its addresses are free. Raises StoreError.

        Of an earlier promise that is not certain: then that one stands again, and the addresses stay reserved.
        """
        earlier = self.earlier(uuid)
        if earlier:
            standing = {_PENDING + uuid.hex(): msgspec.msgpack.encode(earlier[-1])}
            self.memory.commit({**standing, **_kept_earlier(uuid, earlier[:-1])})
            return
        is_node = self.node(uuid) is not None  # one that came once more: its addresses stay its own
        kept = tuple(one for one in self._reservations if is_node or one.uuid != uuid or one.rests_since is not None)
        self._write_reservations(kept, {_PENDING + uuid.hex(): None})

    # ---- a node changes ---------------------------------------------------------------------------------------

    def describe(self, uuid: bytes, composition: Composition, timestamp: str, *, is_complete: bool = True) -> None:
        """Write what a node says it is made of; models that are still there stay as they were written.

        is_complete: whether nothing of its first configuration is left to do. Raises UsageError for no node,
        StoreError.
        """
        fields = composition_fields(composition)
        entry: Document = next((one for one in self._document["nodes"] if uuid_bytes(one["UUID"]) == uuid), {})
        fields["elements"] = merged_elements(entry.get("elements", []), fields["elements"])
        self.change_node(uuid, {**fields, "configComplete": is_complete}, timestamp)

    def remove(self, uuid: bytes, timestamp: str) -> None:
        """Take a node out; its addresses rest until the IV index has changed (MshPRT 3.11.7). Errors as `describe`."""
        node = self.require(uuid)
        index = self.iv_state.index
        rested = tuple(
            Reservation(one.first, one.last, one.uuid, index) if one.uuid == uuid else one for one in self._reservations
        )
        addresses = [f"{one:04X}" for one in range(node.address, node.last_address + 1)]
        exclusions = self._with_exclusions(addresses)
        nodes = [one for one in self._document["nodes"] if uuid_bytes(one["UUID"]) != uuid]
        self.write(
            {"nodes": nodes, "networkExclusions": exclusions, "timestamp": timestamp},
            {
                _RESERVATIONS: msgspec.msgpack.encode(rested),
                _CERTIFIED + uuid.hex(): None,
                **_kept_earlier(uuid, ()),
            },
        )
        self._reservations = rested

    # ---- writing ----------------------------------------------------------------------------------------------

    def require(self, uuid: bytes) -> NodeEntry:
        """The node with this UUID. Raises UsageError if there is none."""
        node = self.node(uuid)
        if node is None:
            raise UsageError(f"{uuid_text(uuid)} is no node of this network")
        return node

    def change_node(self, uuid: bytes, fields: Mapping[str, Any], timestamp: str) -> None:
        """Change fields of a node's entry, as the format has them. Raises UsageError for no node, StoreError."""
        self.require(uuid)
        nodes = [{**node, **fields} if uuid_bytes(node["UUID"]) == uuid else node for node in self._document["nodes"]]
        self.write({"nodes": nodes, "timestamp": timestamp})

    def write(self, fields: Mapping[str, Any], others: Mapping[str, bytes | None] | None = None) -> None:
        """Change fields of the document, and other values of the memory, all at once.

        Raises DecodeError for what would not read again, StoreError; nothing is changed then.
        """
        document = {**self._document, **fields}
        cdb = check_document(document, (self._document, self.cdb))
        self.memory.commit({**_pieces(document, self._document), **(others or {})})
        self._document, self.cdb = document, cdb

    def _write_reservations(
        self, reservations: tuple[Reservation, ...], others: Mapping[str, bytes | None] | None = None
    ) -> None:
        self.memory.commit({_RESERVATIONS: msgspec.msgpack.encode(reservations), **(others or {})})
        self._reservations = reservations

    def _ranges(self) -> Sequence[Range]:
        """Where this provisioner may give addresses: the first of the document is this one."""
        for provisioner in self.cdb.provisioners:
            if provisioner.allocated_unicast_range:
                return [
                    Range(int(one.low_address, 16), int(one.high_address, 16))
                    for one in provisioner.allocated_unicast_range
                ]
        return (ALL_UNICAST,)

    def _phase(self, net_index: int) -> int:
        return next((key.phase for key in self.cdb.net_keys if key.index == net_index), 0)

    def _pending_names(self) -> Iterable[str]:
        return [name for name in self.memory.names() if name.startswith(_PENDING)]


def _kept_earlier(uuid: bytes, promises: Sequence[Pending]) -> dict[str, bytes | None]:
    return {_EARLIER + uuid.hex(): msgspec.msgpack.encode(promises) if promises else None}


def _load(memory: Memory) -> Document:
    kept = memory.load(_DOCUMENT)
    if kept is None:
        raise StoreError("there is no network in this memory", hint="begin one with: keywright mesh network new")
    document = read_document(kept)
    order = memory.load(_NODES)
    if order is not None:
        uuids = msgspec.msgpack.decode(order, type=list[bytes])
        nodes = [(uuid, memory.load(_NODE + uuid.hex())) for uuid in uuids]
        missing = [uuid_text(uuid) for uuid, node in nodes if node is None]
        if missing:
            raise DecodeError(f"mesh database: node {missing[0]} is listed and not here")
        document["nodes"] = [read_document(node) for _, node in nodes if node is not None]
    return document


def _pieces(document: Document, before: Document) -> dict[str, bytes | None]:
    """What is to be written of a document, where the memory holds what was before."""
    old = {uuid_bytes(node["UUID"]): node for node in before.get("nodes", [])}
    new = {uuid_bytes(node["UUID"]): node for node in document.get("nodes", [])}
    pieces: dict[str, bytes | None] = {_NODE + uuid.hex(): None for uuid in old if uuid not in new}
    pieces |= {_NODE + uuid.hex(): _compact(node) for uuid, node in new.items() if old.get(uuid) is not node}
    if "nodes" in document:
        pieces[_NODES] = msgspec.msgpack.encode([*new])
    # The name stays in its place, so that the document is put together as it was.
    return pieces | {_DOCUMENT: _compact({name: [] if name == "nodes" else document[name] for name in document})}


def _compact(document: Document) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


__all__ = ["ALL_UNICAST", "Cdb", "NetworkDatabase", "Pending"]
