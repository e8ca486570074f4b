"""PB-ADV links: the standard's session byte for byte, and both ends over air of every kind."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

import pytest

from keywright.crypto.ec import EcPrivateKey
from keywright.mesh.advertising import PB_ADV, ad_structures, build_ad
from keywright.mesh.bearer import LinkClosed, LinkOpened, PduReceived
from keywright.mesh.device import Abilities, Device
from keywright.mesh.keys import CMAC, HMAC
from keywright.mesh.messages import ProvisioningData
from keywright.mesh.oob import Authentication
from keywright.mesh.pb_adv.link import PbAdvLink
from keywright.mesh.pb_adv.messages import ACK, LinkClose, PbAdvPdu, TransactionAck, segments
from keywright.mesh.policy import Choice
from keywright.mesh.provisioner import Authenticated, CapabilitiesReceived, Ended, Provisioned, Provisioner
from keywright.mesh.session import DeviceSession, ProvisionerSession
from keywright.sansio.air import Air, Conditions
from support.mesh import DATA, NodeMemory, counting, make_device, make_provisioner, scripted
from support.vectors import document, load, unhex

UUID = bytes.fromhex("70cf7c9732a345b691494810d2e9cbf4")
LINK_ID = 0x23AF5850


def payloads(frames: Iterator[bytes] | list[bytes]) -> list[bytes]:
    return [content for frame in frames for kind, content in ad_structures(frame) if kind == PB_ADV]


def test_the_standards_session_byte_for_byte() -> None:
    """Both ends, with the keys and randoms of the standard, send and acknowledge what its trace has."""
    case = load("mesh/provisioning_crypto.json")[0]
    trace = document("mesh/pbadv_trace.json")["trace"]
    memory = NodeMemory()
    device = DeviceSession(
        Device(
            Abilities(algorithms=CMAC.bit),
            new_key=lambda: EcPrivateKey.from_scalar("P-256", unhex(case["DevicePrivateKey"])),
            random=scripted(unhex(case["RandomDevice"])),
            remember=memory.remember,
        ),
        PbAdvLink.accept(LINK_ID, 0.0, random=lambda: 0.0),
    )
    provisioner = ProvisionerSession(
        Provisioner(
            EcPrivateKey.from_scalar("P-256", unhex(case["ProvisionerPrivateKey"])),
            scripted(unhex(case["RandomProvisioner"])),
        ),
        PbAdvLink.connect(UUID, LINK_ID, 0.0, random=lambda: 0.0),
    )
    air = Air(random.Random(1).random, Conditions(latency_s=0.0))
    sent: list[bytes] = []
    numbers = [air.join(Recorder(provisioner, sent)), air.join(Recorder(device, sent))]
    for event in events_of(air, numbers, provisioner):
        match event:
            case LinkOpened():
                provisioner.provisioner.invite(0, air.now)
            case CapabilitiesReceived():
                provisioner.provisioner.start(Choice(CMAC, False, Authentication()), air.now)
            case Authenticated():
                provisioner.provisioner.provide(ProvisioningData.parse(unhex(case["ProvisioningData"])), air.now)
            case _:
                pass
    expected = [packet for step in trace for packet in step["packets"]]
    expected += [step["peer_ack"] for step in trace if "peer_ack" in step]
    assert {one.hex() for one in payloads(sent)} == set(expected)
    ordered = [one.hex() for one in payloads(sent) if one[5] & 0b11 != ACK]
    assert list(dict.fromkeys(ordered)) == [packet for step in trace for packet in step["packets"]]
    assert memory.kept[0][1].reveal() == unhex(case["DeviceKey"])


class Recorder:
    """An endpoint whose frames are noted."""

    def __init__(self, endpoint: ProvisionerSession | DeviceSession, sent: list[bytes]) -> None:
        self._endpoint = endpoint
        self._sent = sent
        self.receive = endpoint.receive
        self.deadline = endpoint.deadline
        self.events = endpoint.events

    def outgoing(self, now: float) -> list[bytes]:
        frames = [*self._endpoint.outgoing(now)]
        self._sent += frames
        return frames


def events_of(air: Air, numbers: list[int], session: ProvisionerSession, until: float = 400.0) -> Iterator[object]:
    """Run the air and give the provisioner's events; what the caller tells the provisioner is sent at once."""
    while air.now < until:
        found: list[object] = []

        def some(found: list[object] = found) -> bool:
            found += session.events()
            return bool(found)

        air.run(until, some)
        yield from found
        for number in numbers:
            air.wake(number)
        if any(isinstance(event, Provisioned | Ended) for event in found):
            air.run(air.now + 5.0)
            return


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize(
    "conditions",
    [
        Conditions(),
        Conditions(loss=0.3),
        Conditions(duplication=0.3),
        Conditions(reordering_s=0.3),
        Conditions(loss=0.3, duplication=0.3, reordering_s=0.2),
    ],
    ids=["good", "loss", "duplication", "reordering", "all of it"],
)
def test_a_handshake_completes_or_fails_by_name(conditions: Conditions, seed: int) -> None:
    chance = random.Random(seed).random
    memory = NodeMemory()
    device = DeviceSession(make_device(Abilities(), memory), PbAdvLink.accept(LINK_ID, 0.0, random=chance))
    provisioner = ProvisionerSession(make_provisioner(), PbAdvLink.connect(UUID, LINK_ID, 0.0, random=chance))
    air = Air(chance, conditions)
    numbers = [air.join(provisioner), air.join(device)]
    told: list[object] = []
    for event in events_of(air, numbers, provisioner):
        told.append(event)
        match event:
            case LinkOpened():
                provisioner.provisioner.invite(0, air.now)
            case CapabilitiesReceived():
                provisioner.provisioner.start(
                    Choice(HMAC, uses_oob_key=False, authentication=Authentication()), air.now
                )
            case Authenticated():
                provisioner.provisioner.provide(DATA, air.now)
            case _:
                pass
    assert isinstance(told[-1], Provisioned), told[-1]
    assert memory.kept[0][0] == DATA
    assert len(memory.kept) == 1
    assert device.is_over


def frames_of(link: PbAdvLink, until: float) -> list[bytes]:
    """Everything a link sends up to a time."""
    sent: list[bytes] = []
    while (due := link.deadline()) is not None and due <= until:
        sent += link.outgoing(due)
    return payloads(sent)


def packet(transaction: int, generic: bytes, link_id: int = LINK_ID) -> bytes:
    return build_ad(PB_ADV, PbAdvPdu(link_id, transaction, generic).build())


def accepted() -> PbAdvLink:
    link = PbAdvLink.accept(LINK_ID, 0.0, random=lambda: 0.5)
    assert [one.hex() for one in frames_of(link, 1.0)] == ["23af58500007"]
    assert link.events() == [LinkOpened()]
    return link


def test_a_lost_acknowledgement_is_sent_again_and_nothing_delivered_twice() -> None:
    link = accepted()
    (whole,) = segments(b"\x00\x05")
    for _ in range(3):
        link.receive(packet(0, whole), 1.0)
    assert link.events() == [PduReceived(b"\x00\x05")]
    assert [one.hex() for one in frames_of(link, 2.0)] == ["23af58500001"] * 3


def test_a_late_segment_of_an_older_transaction_is_passed_over() -> None:
    link = accepted()
    for number, pdu in enumerate((b"\x00\x05", b"\x00\x06")):
        link.receive(packet(number, segments(pdu)[0]), 1.0)
    link.receive(packet(0, segments(b"\x00\x05")[0]), 1.0)
    assert link.events() == [PduReceived(b"\x00\x05"), PduReceived(b"\x00\x06")]


def test_numbers_wrap_within_their_half() -> None:
    link = accepted()
    for number in itertools.chain(range(0x80), range(0x20)):
        link.receive(packet(number, segments(bytes((number, 1)))[0]), 1.0)
    assert len(link.events()) == 0xA0


def test_a_wrong_check_sequence_is_not_acknowledged() -> None:
    link = accepted()
    (whole,) = segments(b"\x00\x05")
    link.receive(packet(0, whole[:3] + bytes((whole[3] ^ 1,)) + whole[4:]), 1.0)
    assert link.events() == []
    assert frames_of(link, 2.0) == []
    link.receive(packet(0, whole), 3.0)
    assert link.events() == [PduReceived(b"\x00\x05")]


def test_other_links_and_transactions_of_this_side_are_passed_over() -> None:
    link = accepted()
    (whole,) = segments(b"\x00\x05")
    link.receive(packet(0, whole, LINK_ID + 1), 1.0)
    link.receive(packet(0x80, whole), 1.0)
    link.receive(b"\x02\x29", 1.0)
    link.receive(build_ad(0x2B, b"\x00"), 1.0)
    assert link.events() == []


def test_segments_go_out_again_until_they_are_acknowledged() -> None:
    link = accepted()
    link.send(bytes(65), 1.0)
    link.send(b"\x08", 1.0)
    first = frames_of(link, 2.5)
    assert len(first) > len(segments(bytes(65)))
    assert {one[4] for one in first} == {0x80}
    link.receive(packet(0x80, TransactionAck().build()), 2.5)
    assert {one[4] for one in frames_of(link, 3.0)} == {0x81}


def test_a_peer_that_does_not_acknowledge_loses_the_link() -> None:
    link = accepted()
    link.send(b"\x08", 1.0)
    closes = frames_of(link, 40.0)[-3:]
    assert [one.hex() for one in closes] == ["23af5850000b01"] * 3
    assert link.state == "closed"
    (closed,) = link.events()
    assert isinstance(closed, LinkClosed)
    assert "did not acknowledge a PDU in 30 s" in closed.why


def test_a_device_that_hears_no_pdu_closes_the_link_after_a_minute() -> None:
    link = accepted()
    frames_of(link, 59.9)
    assert link.state == "open"
    frames_of(link, 61.0)
    (closed,) = link.events()
    assert isinstance(closed, LinkClosed)
    assert "no provisioning PDU" in closed.why


def test_a_provisioner_asks_for_a_minute() -> None:
    link = PbAdvLink.connect(UUID, LINK_ID, 0.0, random=lambda: 0.5)
    asked = frames_of(link, 70.0)
    assert len(asked) > 50
    assert asked[0].hex() == "23af5850000370cf7c9732a345b691494810d2e9cbf4"
    (closed,) = link.events()
    assert isinstance(closed, LinkClosed)
    assert "no Link ACK" in closed.why


def test_a_close_of_any_reason_ends_a_link() -> None:
    for reason in (0, 1, 2, 3, 0xFF):
        link = accepted()
        link.send(b"\x08", 1.0)
        link.receive(packet(0, LinkClose(0x0B, reason).build()), 1.0)
        (closed,) = link.events()
        assert isinstance(closed, LinkClosed)
        assert closed.reason == reason
        assert frames_of(link, 90.0) == []


def test_chance_delays_are_within_the_clause() -> None:
    chance = random.Random(7).random
    link = PbAdvLink.accept(LINK_ID, 0.0, random=chance)
    times = []
    for number in range(20):
        link.receive(packet(number, segments(b"\x00\x05")[0]), 0.0)
    while (due := link.deadline()) is not None and due < 30:
        link.outgoing(due)
        times.append(due)
    gaps = [later - sooner for sooner, later in itertools.pairwise([0.0, *times])]
    assert all(0.0199 <= gap <= 0.0501 for gap in gaps)
    assert counting()(4) == counting()(4)
