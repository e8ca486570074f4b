"""The mesh network of a lot: what its units are given, so that nothing is given twice.

The network is a file beside the store (`STORE.mesh`). Before the first unit, one process reserves a block of unicast
addresses there for the lot, and from then on nobody writes to it while the lot runs: the address of a unit follows from
its number in the store, which is the unit's alone, whoever works on it and however often. Device keys stand in the
store's events and static OOB values in its units, sealed under a key of the lot that is in the network's file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Final, final

import msgspec

from keywright.crypto.aead import GCM_NONCE_BYTES, open_gcm, seal_gcm
from keywright.crypto.aes import AesKey
from keywright.errors import AuthenticationError, OrderError, PolicyError, SequenceError, StoreError
from keywright.mesh.database.network import NetworkDatabase, Pending
from keywright.mesh.messages import KEY_REFRESH, ProvisioningData
from keywright.mesh.network.iv_index import IvIndex
from keywright.mesh.network.keyring import Keyring, Subnet
from keywright.mesh.network.keys import AppKey, NetKey
from keywright.mesh.network.sequence import BLOCK
from keywright.mesh.network.stack import Stack
from keywright.production.mesh_network import begin_network, opened_network, timestamp
from keywright.production.order import OrderRow
from keywright.production.order_names import STATIC_OOB, UUID
from keywright.production.unit_store.units import UnitStore
from keywright.store.memory import RamMemory

SOURCES: Final = 16
"""Addresses of a lot that its stations ask nodes from: each has 24 bits of sequence numbers."""
_WINDOWS: Final = (1 << 24) // BLOCK
"""Blocks of sequence numbers that one source address has: each is used for one conversation, once."""
GIVE: Final = "mesh.provision.give"
"""The action that gives a unit its provisioning data."""
_LOT: Final = "lot/"
_OOB_OCTETS: Final = 32
_KEY_OCTETS: Final = 32


class _Kept(msgspec.Struct, frozen=True, array_like=True):
    """What the network's file says of a lot."""

    first: int
    units: int
    elements: int
    net_index: int
    sealing_key: bytes

    def __repr__(self) -> str:
        return f"<_Kept {self.units} units from {self.first:04X}>"


@final
class LotNetwork:
    """A network as the steps of one lot see it. Holds keys; prints none."""

    def __init__(self, database: NetworkDatabase, lot: str, kept: _Kept) -> None:
        self.net_index = kept.net_index
        self.elements = kept.elements
        """Most elements that a unit may have; each unit has as many addresses."""
        self.units = kept.units
        """How many units there is room for."""
        self._lot = lot
        self._first = kept.first
        self._net_key = database.net_key(kept.net_index)
        self._iv = database.iv_state
        self._phase = next(key.phase for key in database.cdb.net_keys if key.index == kept.net_index)
        self._sealing_key = AesKey(kept.sealing_key, "sealing")

    def __repr__(self) -> str:
        return f"<LotNetwork of {self._lot!r}>"

    @property
    def iv_index(self) -> int:
        """IV index that units are given."""
        return self._iv.index

    def address_of(self, unit: int) -> int:
        """The primary unicast address of the unit of this number. Raises PolicyError where the block has no room."""
        if not 1 <= unit <= self.units:
            raise PolicyError(
                f"the lot has addresses for {self.units} units, and this is number {unit}",
                hint="begin another lot for what was made anew",
            )
        return self._first + SOURCES + (unit - 1) * self.elements

    def data_for(self, unit: int) -> ProvisioningData:
        """The provisioning data of a unit. Raises as `address_of`."""
        flags = (KEY_REFRESH if self._phase == 2 else 0) | (2 if self._iv.is_updating else 0)
        return ProvisioningData(self._net_key, self.net_index, flags, self._iv.index.to_bytes(4), self.address_of(unit))

    def stack(self, unit: int, turn: int, device_key: bytes) -> Stack:
        """A stack to ask the node of a unit with. turn: from 1, another one each time, for no number is used twice.

        Raises PolicyError when the unit was asked too often.
        """
        share = SOURCES * _WINDOWS // self.units
        if turn > share:
            raise PolicyError(f"the unit was asked {share} times", hint="set it aside, and look at it by hand")
        window = (unit - 1) * share + turn - 1
        source, place = self._first + window // _WINDOWS, window % _WINDOWS
        keyring = Keyring()
        keyring.subnets[self.net_index] = Subnet(NetKey(self._net_key))
        keyring.device_keys[self.address_of(unit)] = AppKey(device_key, is_device_key=True)
        memory = _OneBlock({"sequence": (place * BLOCK).to_bytes(4)})
        iv_index = IvIndex(RamMemory(), self._iv, 0.0)
        return Stack(memory, address=source, elements=1, keyring=keyring, iv_index=iv_index)

    def seal(self, unit: int, device_key: bytes, nonce: bytes) -> str:
        """A device key as it may stand in the store, hex. nonce: 12 random octets."""
        return (nonce + seal_gcm(self._sealing_key, nonce, device_key, self._context(unit))).hex()

    def open(self, unit: int, sealed: str) -> bytes:
        """Inverse of `seal`. Raises AuthenticationError for what was sealed for another unit, or elsewhere."""
        data = bytes.fromhex(sealed)
        nonce = data[:GCM_NONCE_BYTES]
        return open_gcm(self._sealing_key, nonce, data[GCM_NONCE_BYTES:], self._context(unit))

    def seal_oob(self, uuid: str, value: bytes, nonce: bytes) -> str:
        """A static OOB value as it may stand in the store, for the device that the order calls `uuid`."""
        return (nonce + seal_gcm(self._sealing_key, nonce, value, self._of_device(uuid))).hex()

    def open_oob(self, uuid: str, sealed: str) -> bytes:
        """Inverse of `seal_oob`. Raises AuthenticationError for what was not sealed here, or for another device."""
        try:
            data = bytes.fromhex(sealed)
        except ValueError:
            data = b""
        if len(data) <= GCM_NONCE_BYTES:
            raise AuthenticationError("a static OOB value of the store is not sealed")
        nonce = data[:GCM_NONCE_BYTES]
        return open_gcm(self._sealing_key, nonce, data[GCM_NONCE_BYTES:], self._of_device(uuid))

    def _of_device(self, uuid: str) -> bytes:
        return f"keywright mesh static OOB\0{self._lot}\0{uuid.replace('-', '').lower()}".encode()

    def _context(self, unit: int) -> bytes:
        return f"keywright mesh device key\0{self._lot}\0{unit}".encode()


@final
class _OneBlock:
    """A stack's memory that gives out one block of sequence numbers, and no second one."""

    def __init__(self, contents: dict[str, bytes]) -> None:
        self._memory = RamMemory(contents)
        self._is_given = False
        self.load = self._memory.load
        self.names = self._memory.names

    def commit(self, changes: Mapping[str, bytes | None]) -> None:
        """Raises SequenceError for a second block."""
        if "sequence" in changes:
            if self._is_given:
                raise SequenceError("this conversation has no sequence number left")
            self._is_given = True
        self._memory.commit(changes)


def network_path(store: Path) -> Path:
    """The network's file that belongs to the store at `store`."""
    return store.with_name(f"{store.name}.mesh")


def prepare_network(
    store: Path,
    lot: str,
    *,
    rows: int,
    elements: int,
    net_index: int,
    is_simulated: bool,
    rng: Callable[[int], bytes],
    now: float,
) -> None:
    """Reserve the addresses of a lot that is about to begin; done once, whatever is cut. Simulated lots get a network.

    Raises StoreError where a network is needed and not there, or one that was begun for other units; PolicyError if it
    has no room; UsageError for a NetKey it has not.
    """
    path = network_path(store)
    if not path.exists() and is_simulated:
        begin_network(path, lot, rng, now)
    with opened_network(path) as database:
        name = _LOT + _digest(lot).hex()
        begun = database.memory.load(name)
        if begun is not None:
            had = msgspec.msgpack.decode(begun, type=_Kept)
            if had.units < rows or had.elements != elements or had.net_index != net_index:
                raise StoreError(
                    f"{path}: a lot {lot!r} of other size, elements or NetKey was begun here",
                    hint="use another --store, or another name for the lot",
                )
            return
        database.net_key(net_index)
        units = rows + rows // 4 + 8  # with room for what is made anew
        block = database.reserve(_digest(lot)[:16], SOURCES + units * elements)
        kept = _Kept(block.first, units, elements, net_index, rng(_KEY_OCTETS))
        database.memory.commit({name: msgspec.msgpack.encode(kept)})


@lru_cache(maxsize=8)
def lot_network(store: Path, lot: str) -> LotNetwork:
    """The network of a lot that was begun. Raises StoreError if it is not there."""
    path = network_path(store)
    if not path.exists():
        raise StoreError(
            f"{path}: the network of this lot is missing; its units' device keys cannot be opened without it",
            hint="restore it; to begin anew, use another --store",
        )
    with opened_network(path, readonly=True) as database:
        kept = database.memory.load(_LOT + _digest(lot).hex())
        if kept is None:
            raise StoreError(f"{path}: knows nothing of lot {lot!r}", hint="restore the file that the lot began with")
        return LotNetwork(database, lot, msgspec.msgpack.decode(kept, type=_Kept))


def sealed_order(rows: Iterable[OrderRow], network: LotNetwork, rng: Callable[[int], bytes]) -> Iterator[OrderRow]:
    """The rows of an order as they may stand in the store. Raises OrderError, which shows no value."""
    for row in rows:
        text = row.extra.get(STATIC_OOB, "")
        if text:
            sealed = network.seal_oob(row.extra.get(UUID, ""), _oob(row, text), rng(GCM_NONCE_BYTES))
            row = msgspec.structs.replace(row, extra=row.extra | {STATIC_OOB: sealed})  # noqa: PLW2901 - the same row
        yield row


def _oob(row: OrderRow, text: str) -> bytes:
    try:
        value = bytes.fromhex(text)
    except ValueError:
        value = b""
    if not 1 <= len(value) <= _OOB_OCTETS:
        raise OrderError(
            f"row {row.n} ({row.serial}): the column {STATIC_OOB} holds no static OOB value",
            hint=f"1 to {_OOB_OCTETS} octets in hex",
        )
    return value


def _digest(lot: str) -> bytes:
    return hashlib.sha256(b"keywright mesh lot\0" + lot.encode()).digest()


def collect_nodes(units: UnitStore, lot: str, now: float) -> int:
    """Write the sealed units of a lot into the database of its network; how many are new there. May be repeated.

    Raises StoreError if the network is held by another process, AuthenticationError for a key that does not open.
    """
    network = lot_network(units.path, lot)
    new = 0
    with opened_network(network_path(units.path)) as database:
        for unit in units.units(("sealed",)):
            given = {event.step: event.facts for event in units.events(unit.n) if event.phase in ("done", "recovered")}
            facts = given.get(GIVE)
            if facts is None:
                continue
            node = Pending(
                uuid=bytes.fromhex(str(facts["uuid"])),
                address=network.address_of(unit.n),
                elements=int(str(facts["elements"])),
                device_key=network.open(unit.n, str(facts["device_key"])),
                net_index=network.net_index,
            )
            new += database.node(node.uuid) is None
            is_secure = facts["security"] == "secure"
            database.adopt(node, name=unit.serial, timestamp=timestamp(now), is_secure=is_secure)
    return new
