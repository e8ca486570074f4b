"""Devices become nodes of a network: in which order things are written, and what a cut at any frame leaves behind."""

from __future__ import annotations

import random
from collections.abc import Mapping

import pytest

from keywright.crypto.ec import EcPrivateKey
from keywright.errors import AuthenticationError, LinkError, PolicyError, StoreError
from keywright.mesh.database.network import NetworkDatabase
from keywright.mesh.device import Abilities
from keywright.mesh.enrolment import Candidate, Enrolled, Enrolment, Failed
from keywright.mesh.models.composition import Composition, Element
from keywright.mesh.oob import Method
from keywright.mesh.pb_adv.link import PbAdvLink
from keywright.mesh.policy import Policy
from keywright.mesh.session import ProvisionerSession
from keywright.mesh.unit import Design, Unit
from keywright.sansio.air import Air, Conditions
from keywright.store.memory import RamMemory
from support.mesh import counting, make_provisioner

UUID = bytes.fromhex("70cf7c9732a345b691494810d2e9cbf4")
TIME = "2026-01-02T03:04:05Z"
STATIC = bytes(range(32))
COMPOSITION = Composition(1, 2, 3, 10, 0, (Element(0, (0,)), Element(0, (0x1000,))))
ANYBODY = Policy(methods=(Method.STATIC, Method.NONE))


def network(memory: RamMemory | None = None) -> NetworkDatabase:
    memory = memory or RamMemory()
    return NetworkDatabase.begin(
        memory, name="line", uuid=bytes(16), net_key=bytes(range(16)), provisioner_uuid=bytes(16), timestamp=TIME
    )


def unit(memory: RamMemory, static_oob: bytes = STATIC, now: float = 0.0) -> Unit:
    return Unit(
        Design(UUID, COMPOSITION, Abilities(elements=2, static_oob=static_oob)),
        memory,
        now,
        new_key=lambda: EcPrivateKey.generate("P-256"),
        random_bytes=counting(7),
        random=random.Random(3).random,
    )


def enrolment(
    database: NetworkDatabase, air: Air, link_id: int = 1, *, policy: Policy = ANYBODY, static_oob: bytes = STATIC
) -> Enrolment:
    link = PbAdvLink.connect(UUID, link_id, air.now, random=random.Random(4).random)
    return Enrolment(
        ProvisionerSession(make_provisioner(), link),
        database,
        Candidate(UUID, name="fob", static_oob=static_oob),
        policy=policy,
        timestamp=TIME,
    )


def end_of(air: Air, run: Enrolment, seconds: float = 300.0) -> Enrolled | Failed:
    found: list[Enrolled | Failed] = []

    def ended() -> bool:
        found.extend(event for event in run.events() if isinstance(event, Enrolled | Failed))
        return bool(found)

    air.run(air.now + seconds, ended)
    assert found, "neither enrolled nor failed"
    air.run(air.now + 5.0)
    return found[0]


def test_a_device_is_in_the_database_when_it_is_a_node() -> None:
    air, database, memory = Air(random.Random(1).random), network(), RamMemory()
    device = unit(memory)
    air.join(device)
    run = enrolment(database, air)
    air.join(run)
    end = end_of(air, run)
    assert isinstance(end, Enrolled)
    assert device.node is not None
    assert end.node == database.node(UUID)
    assert end.node.security == "secure"
    assert device.node.stack.address == end.node.address
    assert database.all_pending() == []
    again = NetworkDatabase(database.memory)
    assert again.node(UUID) == end.node
    assert again.export() == database.export()
    with pytest.raises(PolicyError, match="a node of this network already"):
        database.promise(UUID, 2, bytes(16))


def test_a_wrong_static_value_leaves_nothing_behind() -> None:
    air, database = Air(random.Random(1).random), network()
    air.join(unit(RamMemory()))
    run = enrolment(database, air, static_oob=bytes(32))
    air.join(run)
    end = end_of(air, run)
    assert isinstance(end, Failed)
    assert not end.may_be_node
    assert "Failed 04" in str(end.error)
    assert database.reserve(bytes(16), 1).first == database.reserve(UUID, 1).first - 1


def test_a_device_that_offers_too_little_is_refused_by_policy() -> None:
    air, database = Air(random.Random(1).random), network()
    air.join(unit(RamMemory(), static_oob=b""))
    run = enrolment(database, air, policy=Policy())
    air.join(run)
    end = end_of(air, run)
    assert isinstance(end, Failed)
    assert isinstance(end.error, PolicyError)


def test_no_device_is_named() -> None:
    air, database = Air(random.Random(1).random), network()
    run = enrolment(database, air)
    air.join(run)
    end = end_of(air, run)
    assert isinstance(end, Failed)
    assert isinstance(end.error, LinkError)
    assert "no Link ACK" in str(end.error)


def frames_in_a_session() -> int:
    air, database = Air(random.Random(1).random), network()
    air.join(unit(RamMemory()))
    run = enrolment(database, air)
    air.join(run)
    end_of(air, run)
    return air.sent


@pytest.mark.parametrize("side", ["device", "provisioner"])
def test_a_cut_at_any_frame_loses_nothing(side: str) -> None:
    """The power of one side goes at each frame; then the device is either the node that the network knows, or none."""
    for cut in range(1, frames_in_a_session()):
        air, owner, memory = Air(random.Random(1).random), RamMemory(), RamMemory()
        database, device = network(owner), unit(memory)
        place = air.join(device)
        run = enrolment(database, air)
        other = air.join(run)
        air.run(400.0, lambda air=air, cut=cut: air.sent >= cut)  # type: ignore[misc]  # bound for this turn
        air.leave(place if side == "device" else other)
        if side == "provisioner":
            database = NetworkDatabase(owner)  # a new process
            air.run(air.now + 130.0)
        else:
            air.run(air.now + 130.0)
            device = unit(memory, now=air.now)
            air.join(device)
        promised, known = database.pending(UUID), database.node(UUID)
        if device.node is not None:
            held = device.node.memory.state
            assert held is not None
            found = known.device_key if known else promised.device_key.hex().upper() if promised else None
            assert held.device_key.hex().upper() == found, cut
            continue
        assert known is None, cut
        # The device is unprovisioned, as its beacon says: it is tried again, and gets the same addresses.
        before = promised.address if promised else None
        if promised:
            database.give_up(UUID)
        again = enrolment(database, air, link_id=1000 + cut)
        air.join(again)
        end = end_of(air, again)
        assert isinstance(end, Enrolled), (cut, end)
        assert before in (None, end.node.address)


@pytest.mark.parametrize("seed", range(6))
def test_in_bad_air_no_address_is_lost(seed: int) -> None:
    air, database = Air(random.Random(seed).random, Conditions(0.3, 0.3, 0.001, 0.2)), network()
    device = unit(RamMemory())
    air.join(device)
    run = enrolment(database, air)
    air.join(run)
    end = end_of(air, run, 600.0)
    if isinstance(end, Enrolled):
        assert device.node is not None
        assert device.node.stack.address == end.node.address
    else:
        assert isinstance(end.error, LinkError | AuthenticationError)
        assert (database.pending(UUID) is not None) == end.may_be_node


@pytest.mark.parametrize("seed", range(6))
def test_with_frames_lost_a_node_says_complete_all_the_same(seed: int) -> None:
    """A device that has become a node goes on with its link: what was lost of it is sent again until it arrives."""
    air, database = Air(random.Random(seed).random, Conditions(0.2, 0.2, 0.001, 0.1)), network()
    air.join(unit(RamMemory()))
    run = enrolment(database, air)
    air.join(run)
    assert isinstance(end_of(air, run, 600.0), Enrolled)


def test_what_an_earlier_session_promised_is_kept_when_nobody_answers() -> None:
    air, database = Air(random.Random(1).random), network()
    database.promise(UUID, 2, b"d" * 16)
    before = database.pending(UUID)
    run = enrolment(database, air)
    air.join(run)
    assert isinstance(end_of(air, run), Failed)
    assert before is not None
    assert database.pending(UUID) == before
    assert database.reserve(bytes(16), 1).first == before.address + 2


def test_a_node_that_comes_once_more_keeps_its_addresses() -> None:
    """Its device was reset without a word: it is refused, and its addresses go to nobody else."""
    air, database = Air(random.Random(1).random), network()
    for link_id, kind in ((1, Enrolled), (2, Failed)):
        place, run = air.join(unit(RamMemory(), now=air.now)), enrolment(database, air, link_id)
        other = air.join(run)
        assert isinstance(end_of(air, run), kind)
        air.leave(place)
        air.leave(other)
    node = database.node(UUID)
    assert node is not None
    assert database.reserve(bytes(16), 1).first == node.last_address + 1


def test_a_memory_that_takes_nothing_gives_nothing_away() -> None:
    class Full:
        """Takes the network itself, then nothing."""

        def __init__(self) -> None:
            self.inner, self.is_full = RamMemory(), False

        def load(self, name: str) -> bytes | None:
            return self.inner.load(name)

        def commit(self, changes: Mapping[str, bytes | None]) -> None:
            if self.is_full:
                raise StoreError("disk full")
            self.inner.commit(changes)

        def names(self) -> list[str]:
            return self.inner.names()

    memory = Full()
    air = Air(random.Random(1).random)
    database = NetworkDatabase.begin(
        memory, name="line", uuid=bytes(16), net_key=bytes(16), provisioner_uuid=bytes(16), timestamp=TIME
    )
    memory.is_full = True
    device = unit(RamMemory())
    air.join(device)
    run = enrolment(database, air)
    air.join(run)
    end = end_of(air, run)
    assert isinstance(end, Failed)
    assert isinstance(end.error, StoreError)
    assert device.node is None
