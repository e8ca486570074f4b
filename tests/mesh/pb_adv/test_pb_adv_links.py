"""Several links at once at one provisioner, one link after another at a device, and who disturbs them."""

from __future__ import annotations

import random

import pytest

from keywright.errors import AuthenticationError, LinkError, UsageError
from keywright.mesh.advertising import MESH_BEACON, PB_ADV, ad_structures, build_ad
from keywright.mesh.beacons import unprovisioned
from keywright.mesh.bearer import LinkOpened, PduReceived
from keywright.mesh.enrolment import Candidate, Enrolled, Failed
from keywright.mesh.pb_adv.link import PbAdvLink
from keywright.mesh.pb_adv.links import Links, topic
from keywright.mesh.pb_adv.messages import (
    ACK,
    LINK_OPEN,
    LinkAck,
    LinkOpen,
    PbAdvPdu,
    TransactionAck,
    parse_generic,
    segments,
)
from keywright.mesh.session import ProvisionerSession
from keywright.sansio.air import Conditions
from support.mesh import make_provisioner
from support.mesh_lot import Lot, static_of, uuid_of


def packet(link_id: int, transaction: int, generic: bytes) -> bytes:
    return build_ad(PB_ADV, PbAdvPdu(link_id, transaction, generic).build())


def link_open(link_id: int, uuid: bytes) -> bytes:
    return packet(link_id, 0, LinkOpen(LINK_OPEN, uuid).build())


def check_no_address_is_given_twice(lot: Lot) -> None:
    taken: set[int] = set()
    for uuid, unit in lot.units.items():
        if unit.node is not None:
            addresses = set(range(unit.node.stack.address, unit.node.stack.address + 2))
            assert not addresses & taken
            taken |= addresses
            known = lot.database.node(uuid)
            assert known is not None
            assert known.address == unit.node.stack.address


def test_devices_side_by_side_become_nodes() -> None:
    lot = Lot(40, at_once=15)
    ended = lot.run()
    assert len(ended) == 40
    assert all(isinstance(one, Enrolled) for one in ended.values())
    check_no_address_is_given_twice(lot)
    assert lot.database.all_pending() == []


@pytest.mark.parametrize("seed", range(3))
def test_in_bad_air_each_device_ends_by_name(seed: int) -> None:
    lot = Lot(12, at_once=6, seed=seed, conditions=Conditions(0.3, 0.3, 0.001, 0.2))
    ended = lot.run()
    assert len(ended) == 12
    for uuid, end in ended.items():
        if isinstance(end, Failed):
            assert isinstance(end.error, LinkError)
            assert end.may_be_node == (lot.database.pending(uuid) is not None)
    assert sum(isinstance(end, Enrolled) for end in ended.values()) >= 9


def test_one_that_is_absent_or_has_another_value_does_not_hold_up_the_others() -> None:
    lot = Lot(8, at_once=4, absent=frozenset({1}), wrong=frozenset({2}))
    ended = lot.run()
    absent, wrong = ended[uuid_of(1)], ended[uuid_of(2)]
    assert isinstance(absent, Failed)
    assert "no Link ACK" in str(absent.error)
    assert isinstance(wrong, Failed)
    assert "Failed 04" in str(wrong.error)
    assert not absent.may_be_node
    assert not wrong.may_be_node
    assert sum(isinstance(one, Enrolled) for one in ended.values()) == 6
    check_no_address_is_given_twice(lot)
    # Three calls of a minute each for the one that is absent.
    assert 180 < lot.air.now < 200
    assert not isinstance(wrong.error, AuthenticationError)


def test_the_same_device_is_not_provisioned_twice_at_once() -> None:
    lot = Lot(2)
    with pytest.raises(UsageError, match="being provisioned already"):
        lot.enrolments.add(Candidate(uuid_of(0), static_oob=static_of(0)), 0.0)
    with pytest.raises(UsageError, match="is not being provisioned"):
        lot.enrolments.enter(bytes(16), 1, 0.0)


# ---- one radio, several links ---------------------------------------------------------------------------------------


def session(link_id: int, uuid: bytes) -> ProvisionerSession:
    return ProvisionerSession(make_provisioner(), PbAdvLink.connect(uuid, link_id, 0.0, random=lambda: 0.5))


def test_a_frame_is_given_to_its_own_link_alone() -> None:
    links: Links[object] = Links()
    for link_id in (1, 2):
        links.add(link_id, session(link_id, bytes(16)), 0.0)
    assert [*links.outgoing(0.0)] == []
    links.receive(packet(2, 0, LinkAck().build()), 0.1)
    links.receive(packet(3, 0, LinkAck().build()), 0.1)
    links.receive(build_ad(MESH_BEACON, unprovisioned(bytes(16), 0)), 0.1)
    links.receive(b"\x01\x29", 0.1)
    links.outgoing(0.1)
    assert links.events() == [(2, LinkOpened())]
    assert len(links) == 2


def test_a_link_that_is_closed_is_forgotten_and_its_id_not_used_again() -> None:
    links: Links[object] = Links()
    links.add(7, session(7, bytes(16)), 0.0)
    last = 0.0
    while (due := links.deadline()) is not None:
        links.outgoing(due)
        last = due
    assert 60 < last < 62
    assert len(links) == 0
    assert links.get(7) is None
    with pytest.raises(ValueError, match="used before"):
        links.add(7, session(7, bytes(16)), 100.0)
    ids = iter((b"\x00\x00\x00\x07", b"\x00\x00\x00\x08"))
    assert links.new_link_id(lambda _: next(ids)) == 8


def test_frames_of_links_that_there_are_not_cost_nothing() -> None:
    links: Links[object] = Links()
    links.add(1, session(1, bytes(16)), 0.0)
    links.outgoing(0.0)
    for link_id in range(2, 5000):
        links.receive(packet(link_id, 0x80, segments(b"\x08")[0]), 0.001)
        assert links.outgoing(0.001) == []
    assert links.events() == []


def test_what_frames_are_about() -> None:
    assert topic(link_open(5, bytes(16))) == bytes(16)
    assert topic(packet(5, 0, TransactionAck().build())) == 5
    assert topic(build_ad(MESH_BEACON, b"\x00")) == "AD 2B"
    assert topic(b"\x02\x29\x00") is None
    assert topic(b"") is None


# ---- a device and who disturbs it -----------------------------------------------------------------------------------


def answers(lot: Lot, *frames: bytes, at: float) -> list[tuple[int, bytes]]:
    """What the only unit sends to these frames within two seconds: Link ID and generic PDU."""
    (unit,) = lot.units.values()
    sent: list[bytes] = []
    for frame in frames:
        unit.receive(frame, at)
    while (due := unit.deadline()) is not None and due < at + 2.0:
        sent += unit.outgoing(max(due, at))
    pdus = [PbAdvPdu.parse(content) for frame in sent for kind, content in ad_structures(frame) if kind == PB_ADV]
    return [(pdu.link_id, pdu.generic) for pdu in pdus]


ACKED = LinkAck().build()


def test_a_device_takes_one_link_and_passes_over_others_while_it_is_open() -> None:
    lot = Lot(1)
    uuid = uuid_of(0)
    assert answers(lot, link_open(1, bytes(16)), at=0.0) == []
    assert answers(lot, link_open(1, uuid), at=1.0) == [(1, ACKED)]
    assert answers(lot, link_open(2, uuid), link_open(3, bytes(16)), at=4.0) == []
    assert answers(lot, link_open(1, uuid), at=7.0) == [(1, ACKED)]
    invite = segments(b"\x00\x00")[0]
    assert (1, TransactionAck().build()) in answers(lot, packet(1, 0, invite), at=10.0)
    # Once a PDU has come the question is closed, also for the same Link ID.
    assert (1, ACKED) not in answers(lot, link_open(1, uuid), at=13.0)


def test_a_device_takes_link_after_link_and_no_old_one() -> None:
    lot = Lot(1)
    uuid = uuid_of(0)
    at = 0.0
    for link_id in range(1, 6):
        assert answers(lot, link_open(link_id, uuid), at=at) == [(link_id, ACKED)]
        close = packet(link_id, 0, b"\x0b\x00")
        assert answers(lot, close, at=at + 3.0) == []
        assert answers(lot, link_open(link_id, uuid), at=at + 4.0) == []
        at += 6.0
    (unit,) = lot.units.values()
    assert unit.device is None


def test_a_device_whose_provisioner_went_away_takes_another() -> None:
    """Link Close is not acknowledged, so all of them may be lost: a device that failed waits a minute, and says so."""
    lot = Lot(1)
    uuid = uuid_of(0)
    (unit,) = lot.units.values()
    assert answers(lot, link_open(1, uuid), at=0.0) == [(1, ACKED)]
    assert (1, segments(b"\x09\x01")[0]) in answers(lot, packet(1, 0, segments(b"\xff")[0]), at=3.0)
    answers(lot, packet(1, 0x80, TransactionAck().build()), at=6.0)
    assert answers(lot, link_open(2, uuid), at=30.0) == []
    assert answers(lot, at=64.0) == [(1, b"\x0b\x01")] * 3
    assert unit.device is None
    assert answers(lot, link_open(2, uuid), at=70.0) == [(2, ACKED)]


def test_copies_without_number_do_not_delay_what_a_device_has_to_say() -> None:
    """A thousand copies of the same segment: the acknowledgements that wait are few, and the answer comes in time."""
    lot = Lot(1)
    uuid = uuid_of(0)
    answers(lot, link_open(1, uuid), at=0.0)
    invite = packet(1, 0, segments(b"\x00\x00")[0])
    sent = answers(lot, *[invite] * 1000, at=3.0)
    acknowledged = [generic for _, generic in sent if generic[0] & 0b11 == ACK]
    assert 1 <= len(acknowledged) <= 16
    said = [parse_generic(generic) for _, generic in sent if generic[0] & 0b11 == 0]
    assert said, "the capabilities were not sent within two seconds"


def test_a_flooded_link_has_bounded_memory_and_delivers_what_is_real() -> None:
    """Parts of transactions that never become whole, of all numbers and places."""
    link = PbAdvLink.accept(1, 0.0, random=lambda: 0.5)
    chance = random.Random(1)
    for _ in range(5000):
        generic = bytes((chance.randrange(64) << 2 | 2,)) + chance.randbytes(23)
        link.receive(packet(1, chance.randrange(0x40, 0x60), generic), 0.1)
    assert len(link._parts) <= 64
    assert [event for event in link.events() if isinstance(event, PduReceived)] == []
    link.receive(packet(1, 0, segments(b"\x00\x05")[0]), 0.2)
    assert [event for event in link.events() if isinstance(event, PduReceived)] == [PduReceived(b"\x00\x05")]
