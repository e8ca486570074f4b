"""Addresses are given to one device each: in any order of events, and wherever the power is cut."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keywright.errors import PolicyError, StoreError, UsageError
from keywright.mesh.database.addresses import Range
from keywright.mesh.database.cdb import uuid_bytes
from keywright.mesh.database.network import NetworkDatabase
from keywright.mesh.network.iv_index import IvState
from keywright.store.memory import RamMemory
from support.mesh_export import EXPORT

TIME = "2026-05-06T07:08:09Z"
LAMP = bytes.fromhex("70cf7c9732a345b691494810d2e9cbf4")
RANGES = (Range(0x0010, 0x001F), Range(0x0100, 0x0107))


def uuid(number: int) -> bytes:
    return bytes(15) + bytes((number + 1,))


def begin(memory: RamMemory | None = None, ranges: tuple[Range, ...] = RANGES) -> NetworkDatabase:
    return NetworkDatabase.begin(
        memory or RamMemory(),
        name="n",
        uuid=b"n" * 16,
        net_key=bytes(16),
        provisioner_uuid=b"p" * 16,
        timestamp=TIME,
        ranges=ranges,
    )


def set_iv(database: NetworkDatabase, index: int, *, is_updating: bool = False) -> None:
    database.memory.commit({"iv_index": msgspec.msgpack.encode(IvState(index, is_updating))})


def enrol(database: NetworkDatabase, number: int, elements: int = 1) -> set[int]:
    first = database.promise(uuid(number), elements, bytes(16)).unicast_address
    database.complete(uuid(number), name="", timestamp=TIME, is_secure=True)
    return set(range(first, first + elements))


def test_addresses_come_from_the_ranges_in_their_order() -> None:
    database = begin()
    given_out = [database.reserve(uuid(number), 5).first for number in range(4)]
    assert given_out == [0x10, 0x15, 0x1A, 0x100]
    with pytest.raises(PolicyError, match="no 5 addresses in a row"):
        database.reserve(uuid(9), 5)
    assert database.reserve(uuid(9), 1).first == 0x1F
    assert database.reserve(uuid(10), 3).first == 0x105
    with pytest.raises(PolicyError, match="no 1 addresses"):
        database.reserve(uuid(11), 1)


def test_a_document_without_ranges_has_all_of_them_and_none_beyond() -> None:
    document = json.loads(EXPORT)
    document["provisioners"] = []
    database = NetworkDatabase.take_in(RamMemory(), json.dumps(document))
    assert database.reserve(uuid(1), 0xFF).first == 0x0007
    odd = begin(ranges=(Range(0, 1), Range(0x7FFF, 0xFFFF)))
    assert odd.reserve(uuid(1), 1).first == 1
    assert odd.reserve(uuid(2), 1).first == 0x7FFF
    with pytest.raises(PolicyError):
        odd.reserve(uuid(3), 1)


def test_what_an_import_says_is_taken_is_not_given_out() -> None:
    """Nodes, the exporting provisioner, and addresses that rest."""
    database = NetworkDatabase.take_in(RamMemory(), EXPORT)
    assert database.reserve(uuid(1), 1).first == 0x0002
    assert database.reserve(uuid(2), 1).first == 0x0007
    set_iv(database, 1)
    assert database.reserve(uuid(3), 2).first == 0x0005


def test_the_own_address_is_reserved_once_and_never_a_devices() -> None:
    database = begin()
    own = database.own_address()
    assert database.own_address() == NetworkDatabase(database.memory).own_address() == own
    for number in range(10):
        assert own not in enrol(database, number, 2)
    imported = NetworkDatabase.take_in(RamMemory(), EXPORT)
    assert imported.own_address() == 0x0002
    # A device that calls itself by the UUID of the network neither gets it nor frees it.
    device = uuid_bytes(database.cdb.mesh_uuid)
    assert database.promise(device, 1, bytes(16)).unicast_address != own
    database.give_up(device)
    assert database.own_address() == own
    assert own not in enrol(database, 10, 2)


def test_a_device_that_is_tried_again_gets_what_it_had() -> None:
    database = begin()
    first = database.promise(uuid(1), 2, bytes(16)).unicast_address
    assert database.reserve(uuid(2), 1).first == first + 2
    again = NetworkDatabase(database.memory)
    assert again.promise(uuid(1), 2, b"other key at all").unicast_address == first
    # With more elements than before it needs others; the old ones stay its own, because it may have taken them.
    assert again.reserve(uuid(1), 3).first == first + 3
    assert again.reserve(uuid(3), 1).first == first + 6


def test_a_promise_takes_no_earlier_one_back() -> None:
    """Without OOB whoever calls itself by the UUID is promised something; what took the first promise may be a node."""
    database = begin()
    address = database.promise(uuid(1), 2, b"A" * 16).unicast_address
    assert database.earlier(uuid(1)) == ()
    database.promise(uuid(1), 2, b"A" * 16)
    assert database.earlier(uuid(1)) == (), "the same one again"
    database.promise(uuid(1), 2, b"B" * 16)
    database.promise(uuid(1), 2, b"C" * 16)

    def keys() -> tuple[bytes, ...]:
        database = NetworkDatabase(memory)
        standing = database.pending(uuid(1))
        return (*(one.device_key for one in database.earlier(uuid(1))), standing.device_key if standing else b"")

    memory = database.memory
    assert keys() == (b"A" * 16, b"B" * 16, b"C" * 16)
    # The one that came last took nothing: the address stays reserved for who may have it.
    database.give_up(uuid(1))
    assert keys() == (b"A" * 16, b"B" * 16)
    assert not enrol(database, 2, 2) & {address, address + 1}
    # A node without authentication may be another device than the one before it; a node that proved itself is not.
    database.complete(uuid(1), name="", timestamp=TIME, is_secure=False)
    assert keys() == (b"A" * 16, b"")
    database.remove(uuid(1), TIME)
    assert keys() == (b"",)
    database.promise(uuid(1), 2, b"D" * 16)
    database.promise(uuid(1), 2, b"E" * 16)
    database.complete(uuid(1), name="", timestamp=TIME, is_secure=True)
    assert keys() == (b"",)
    for number in range(20):
        database.promise(uuid(3), 1, bytes((number,)) * 16)
    assert [one.device_key[0] for one in database.earlier(uuid(3))] == [*range(11, 19)]


def test_given_up_is_free_and_a_node_is_not() -> None:
    database = begin()
    database.promise(uuid(1), 2, bytes(16))
    database.give_up(uuid(1))
    assert database.pending(uuid(1)) is None
    assert enrol(database, 2, 2) == {0x10, 0x11}
    database.give_up(uuid(2))
    assert database.reserve(uuid(3), 1).first == 0x12
    with pytest.raises(PolicyError, match="a node of this network already"):
        database.promise(uuid(2), 2, bytes(16))
    with pytest.raises(UsageError, match="promised nothing"):
        database.complete(uuid(7), name="", timestamp=TIME, is_secure=True)


def test_addresses_of_a_removed_node_rest_until_others_send_under_a_new_iv_index() -> None:
    database = begin()
    assert enrol(database, 1, 2) == {0x10, 0x11}
    database.remove(uuid(1), TIME)
    exported = json.loads(database.export())
    assert exported["networkExclusions"] == [{"ivIndex": 0, "addresses": ["0010", "0011"]}]
    assert exported["nodes"] == []
    assert database.reserve(uuid(2), 2).first == 0x12
    # In progress: index 1, but nodes still send under 0, and would take the new node for a replay of the old one.
    set_iv(database, 1, is_updating=True)
    assert database.reserve(uuid(3), 2).first == 0x14
    set_iv(database, 1)
    database = NetworkDatabase(database.memory)
    assert database.reserve(uuid(4), 2).first == 0x10
    # The same device may come back as well, after the rest.
    assert database.reserve(uuid(1), 1).first != 0x10
    with pytest.raises(UsageError, match="no node of this network"):
        database.remove(uuid(9), TIME)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["reserve", "promise", "complete", "give_up", "remove", "iv", "reload", "own_address"]),
        st.integers(0, 7),
        st.integers(1, 4),
    ),
    max_size=40,
)


class Owners:
    """Who may use which address: nodes, devices that were promised it, the provisioner; and what rests since when."""

    def __init__(self) -> None:
        self.memory = RamMemory()
        self.database = begin(self.memory)
        self.held: dict[bytes, set[int]] = {}
        self.resting: dict[int, int] = {}
        self.own: set[int] = set()

    def reserve(self, device: bytes, elements: int) -> None:
        self._got(device, self.database.reserve(device, elements).first, elements)

    def promise(self, device: bytes, elements: int) -> None:
        self._got(device, self.database.promise(device, elements, bytes(16)).unicast_address, elements)

    def _got(self, device: bytes, first: int, elements: int) -> None:
        new = set(range(first, first + elements))
        others = (addresses for one, addresses in self.held.items() if one != device)
        assert not new & self.own.union(*others)
        assert all(self.resting.get(address, -1) < self.database.iv_state.sending for address in new)
        self.held[device] = self.held.get(device, set()) | new

    def complete(self, device: bytes, _: int) -> None:
        if self.database.pending(device) is not None and self.database.node(device) is None:
            self.database.complete(device, name="", timestamp=TIME, is_secure=False)

    def give_up(self, device: bytes, _: int) -> None:
        self.database.give_up(device)
        if self.database.node(device) is None:
            self.held.pop(device, None)

    def remove(self, device: bytes, _: int) -> None:
        if self.database.node(device) is not None:
            self.database.remove(device, TIME)
            self.resting |= dict.fromkeys(self.held.pop(device), self.database.iv_state.index)

    def iv(self, _: bytes, __: int) -> None:
        """The next state of the IV index: update in progress, or over."""
        state = self.database.iv_state
        set_iv(self.database, state.index + (not state.is_updating), is_updating=not state.is_updating)

    def reload(self, _: bytes, __: int) -> None:
        self.database = NetworkDatabase(self.memory)

    def own_address(self, _: bytes, __: int) -> None:
        self.own = {self.database.own_address()}
        assert not self.own & set[int]().union(*self.held.values())


@settings(deadline=None)
@given(STEPS)
def test_in_no_order_of_events_has_an_address_two_owners(steps: list[tuple[str, int, int]]) -> None:
    owners = Owners()
    for step, number, elements in steps:
        with contextlib.suppress(PolicyError):
            getattr(owners, step)(uuid(number), elements)


class Cut:
    """A memory that stops at the n-th commit: before it is written, or after, when nobody hears of it."""

    def __init__(self, inner: RamMemory, at: int, *, written: bool) -> None:
        self.inner, self.left, self.written = inner, at, written
        self.load, self.names = inner.load, inner.names

    def commit(self, changes: Mapping[str, bytes | None]) -> None:
        self.left -= 1
        if self.left == 0:
            if self.written:
                self.inner.commit(changes)
            raise StoreError("the power is gone")
        self.inner.commit(changes)


def life(database: NetworkDatabase, told: dict[int, set[int]]) -> None:
    """Three devices: a node, one that is given up, one that is removed. `told`: what each was told before a cut."""
    for number in range(3):
        first = database.promise(uuid(number), 2, bytes((number,)) * 16).unicast_address
        told[number] = {first, first + 1}
        if number == 1:
            database.give_up(uuid(number))
        else:
            database.complete(uuid(number), name="", timestamp=TIME, is_secure=True)
    database.remove(uuid(2), TIME)


@pytest.mark.parametrize("written", [False, True], ids=["before the write", "after the write"])
def test_a_cut_at_any_write_gives_no_address_to_two(written: bool) -> None:  # noqa: FBT001 - a parameter
    whole = Cut(RamMemory(), -1, written=False)
    life(_open(whole), {})
    count = -1 - whole.left
    assert count > 8
    for at in range(1, count + 1):
        inner = RamMemory()
        memory = Cut(inner, at, written=written)
        told: dict[int, set[int]] = {}
        try:
            life(_open(memory), told)
        except StoreError as error:
            assert "power" in str(error)  # noqa: PT017 - the cut may be in any step
        if not inner.names():
            continue
        after = NetworkDatabase(inner)
        for number, addresses in told.items():
            known, promised = after.node(uuid(number)), after.pending(uuid(number))
            assert (known is None) or (promised is None), at
            if number == 0:
                assert known is not None or promised is not None, at
                assert (known or promised).address in addresses  # type: ignore[union-attr]  # one of them is there
        fresh = enrol(after, 9, 3)
        still = {number for number in told if after.node(uuid(number)) or after.pending(uuid(number))}
        assert not fresh & set[int]().union(*(told[number] for number in still)), at
        assert json.loads(NetworkDatabase(inner).export())["nodes"], at


def _open(memory: Any) -> NetworkDatabase:
    return begin(memory) if not memory.names() else NetworkDatabase(memory)


@pytest.mark.parametrize(
    "step",
    [
        lambda database: database.reserve(uuid(5), 1),
        lambda database: database.promise(uuid(5), 1, bytes(16)),
        lambda database: database.complete(uuid(1), name="", timestamp=TIME, is_secure=True),
        lambda database: database.give_up(uuid(1)),
        lambda database: database.remove(uuid(0), TIME),
    ],
    ids=["reserve", "promise", "complete", "give up", "remove"],
)
def test_a_memory_that_takes_nothing_changes_nothing(step: Callable[[NetworkDatabase], Any]) -> None:
    inner = RamMemory()
    memory = Cut(inner, -1, written=False)
    database = _open(memory)
    enrol(database, 0)
    database.promise(uuid(1), 1, bytes(16))
    before = ({name: inner.load(name) for name in inner.names()}, database.export())
    memory.left = 1
    with pytest.raises(StoreError):
        step(database)
    assert ({name: inner.load(name) for name in inner.names()}, database.export()) == before
    memory.left = -1
    step(database)


def test_who_goes_on_with_an_export_gives_no_address_that_was_sent_from() -> None:
    """The same keys, address and sequence numbers would make the same nonces."""
    net = begin()
    own = net.own_address()
    net.promise(uuid(1), 2, bytes(16))
    net.complete(uuid(1), name="", timestamp=TIME, is_secure=True)
    net.promise(uuid(2), 1, bytes(16))  # cut: it may be a node
    excluded = json.loads(net.export())["networkExclusions"]
    assert excluded == [{"ivIndex": 0, "addresses": [f"{own:04X}", f"{own + 3:04X}"]}]
    other = NetworkDatabase.take_in(RamMemory(), net.export())
    assert other.own_address() == own + 4
    assert json.loads(other.export())["networkExclusions"] == [
        {"ivIndex": 0, "addresses": [f"{one:04X}" for one in (own, own + 3, own + 4)]}
    ]
