"""The stack of a node: messages of every length over air of every kind, taken once."""

from __future__ import annotations

import random

import pytest

from keywright.errors import PolicyError
from keywright.mesh.network.access import AccessMessage
from keywright.mesh.network.iv_index import IvIndex, IvState
from keywright.mesh.network.keyring import Application, Keyring, Subnet
from keywright.mesh.network.keys import AppKey, NetKey, virtual_address
from keywright.mesh.network.lower import Form, build_segment, cut
from keywright.mesh.network.pdu import NetworkPdu, open_network, seal_network
from keywright.mesh.network.stack import Delivered, Received, Stack, Undelivered
from keywright.mesh.network.upper import seal_access
from keywright.sansio.air import Air, Conditions
from keywright.store.memory import RamMemory

NET, APP = bytes(range(16)), bytes(range(16, 32))
A, B = 0x0001, 0x0100
DEVICE_B = AppKey(b"device key of B!", is_device_key=True)
LABEL = bytes(range(32, 48))


def stack(address: int, memory: RamMemory | None = None, elements: int = 2) -> Stack:
    memory = memory or RamMemory()
    keyring = Keyring()
    keyring.subnets[0] = Subnet(NetKey(NET))
    keyring.applications[3] = Application(0, AppKey(APP))
    keyring.device_keys[B] = DEVICE_B
    return Stack(memory, address=address, elements=elements, keyring=keyring, iv_index=IvIndex(memory, IvState(5), 0.0))


def on_air(*stacks: Stack, conditions: Conditions | None = None, seed: int = 1) -> Air:
    air = Air(random.Random(seed).random, conditions)
    for one in stacks:
        air.join(one)
    return air


def received(one: Stack) -> list[Received]:
    return [event for event in one.events() if isinstance(event, Received)]


@pytest.mark.parametrize("length", [0, 1, 10, 11, 12, 50, 379])
@pytest.mark.parametrize(
    "conditions",
    [Conditions(), Conditions(loss=0.3, duplication=0.3, reordering_s=0.2)],
    ids=["good", "bad"],
)
def test_a_message_arrives_once(length: int, conditions: Conditions) -> None:
    a, b = stack(A), stack(B)
    message = AccessMessage(0x01, bytes(length))
    number = a.send(message, B + 1, 0.0, app_index=3, acknowledged=True)
    on_air(a, b, conditions=conditions).run(60.0)
    assert received(b) == [Received(A, B + 1, message, 0, 3)]
    assert a.events() == [Delivered(number)]


def test_a_short_message_needs_no_segments() -> None:
    a, b = stack(A), stack(B)
    a.send(AccessMessage(0x8008, b"\xff"), B, 0.0, device=B)
    (frame,) = a.outgoing(0.0)
    for _ in range(3):
        b.receive(frame, 0.0)
    assert received(b) == [Received(A, B, AccessMessage(0x8008, b"\xff"), 0, None)]


def test_a_message_that_was_taken_is_not_taken_again_after_a_restart() -> None:
    memory = RamMemory()
    a, b = stack(A), stack(B, memory)
    a.send(AccessMessage(0x01, b""), B, 0.0, app_index=3)
    a.send(AccessMessage(0x02, bytes(40)), B, 0.0, app_index=3)
    frames = a.outgoing(0.0)
    for frame in frames:
        b.receive(frame, 0.0)
    assert len(received(b)) == 2
    again = stack(B, memory)
    for frame in frames:
        again.receive(frame, 0.0)
    assert received(again) == []


def test_the_answer_comes_under_the_key_of_the_node_that_answers() -> None:
    a, b = stack(A), stack(B)
    b.send(AccessMessage(0x02, bytes(60)), A, 0.0, device=B)
    on_air(a, b).run(10.0)
    assert received(a) == [Received(B, A, AccessMessage(0x02, bytes(60)), 0, None)]


@pytest.mark.parametrize(("heard", "answered"), [(0, 0), (1, 5), (4, 5)])
def test_an_acknowledgement_goes_as_far_as_any_message(heard: int, answered: int) -> None:
    key, b = NetKey(NET), stack(B)
    for segment in cut(Form(ctl=False), bytes(20), 0):
        pdu = NetworkPdu(ctl=False, ttl=heard, seq=segment.index, src=A, dst=B, transport=build_segment(segment))
        b.receive(seal_network(key, 5, pdu), 0.0)
    (ack,) = b.outgoing(0.0)
    assert open_network(key, 5, ack).ttl == answered


def test_messages_of_too_many_sources_at_once_are_passed_over() -> None:
    key, b = NetKey(NET), stack(B)
    first, _ = cut(Form(ctl=False), bytes(20), 0)
    for src in range(0x1000, 0x1100):
        pdu = NetworkPdu(ctl=False, ttl=0, seq=0, src=src, dst=B, transport=build_segment(first))
        b.receive(seal_network(key, 5, pdu), 0.0)
    assert len({open_network(key, 5, ack).dst for ack in b.outgoing(1.0)}) == 64
    b.outgoing(20.0)
    assert b.deadline() is None


def test_the_last_message_of_each_source_is_remembered_of_so_many_sources() -> None:
    """What is sent again of it is acknowledged again, and a stack that hears many sources does not grow for ever."""
    key, b = NetKey(NET), stack(B)

    def send(src: int, first: int = 0) -> int:
        upper = seal_access(AppKey(APP), b"\x01" + bytes(19), seq=0, src=src, dst=B, iv_index=5)
        for number, segment in enumerate(cut(Form(ctl=False, aid=AppKey(APP).aid), upper, 0), first):
            pdu = NetworkPdu(ctl=False, ttl=0, seq=number, src=src, dst=B, transport=build_segment(segment))
            b.receive(seal_network(key, 5, pdu), 0.0)
        return len(b.outgoing(0.0))

    sources = range(0x1000, 0x1000 + 300)
    assert all(send(src) == 1 for src in sources), "the last segment is answered at once"
    assert len(received(b)) == len(sources)
    assert len(b._whole) == 128
    assert send(sources[-1], 2) == 2, "each segment that came again"
    assert send(sources[0], 2) == 0, "long forgotten; it is no new message either"
    assert not b.events()


@pytest.mark.parametrize("ttl", [0, 1, 5])
def test_it_is_told_what_was_left_of_the_ttl(ttl: int) -> None:
    a, b = stack(A), stack(B)
    for message in (AccessMessage(0x02, b""), AccessMessage(0x02, bytes(40))):
        a.send(message, B, 0.0, app_index=3, ttl=ttl)
        for frame in a.outgoing(0.0):
            b.receive(frame, 0.0)
    assert [event.ttl for event in received(b)] == [ttl, ttl]


def test_nobody_there_is_told() -> None:
    a = stack(A)
    number = a.send(AccessMessage(0x02, bytes(60)), B, 0.0, device=B)
    on_air(a).run(60.0)
    assert a.events() == [Undelivered(number, B)]


def test_groups_and_labels_are_heard_by_those_who_subscribed() -> None:
    a, b = stack(A), stack(B)
    virtual = virtual_address(LABEL)
    b.groups |= {0xC001, virtual}
    b.labels.add(LABEL)
    for dst, label in ((0xC001, b""), (0xC002, b""), (virtual, LABEL), (virtual, bytes(16))):
        a.send(AccessMessage(0x01, bytes(30)), dst, 0.0, app_index=3, label=label)
    on_air(a, b).run(10.0)
    assert [event.dst for event in received(b)] == [0xC001, virtual]


def test_keys_that_are_not_here_are_named() -> None:
    a = stack(A)
    for wrong in ({"app_index": 9}, {"device": 0x0200}, {"device": B, "net_index": 4}):
        with pytest.raises(PolicyError, match=r"no (AppKey|device key|NetKey)"):
            a.send(AccessMessage(0x01, b""), B, 0.0, **wrong)  # type: ignore[arg-type]  # one of several


def test_both_keys_are_heard_during_a_key_refresh() -> None:
    new = NetKey(bytes(reversed(NET)))
    a, b = stack(A), stack(B)
    a.keyring.subnets[0] = Subnet(NetKey(NET), new, phase=2)
    b.keyring.subnets[0] = Subnet(NetKey(NET), new, phase=1)
    a.send(AccessMessage(0x01, b"new"), B, 0.0, app_index=3)
    b.send(AccessMessage(0x01, b"old"), A, 0.0, app_index=3)
    on_air(a, b).run(1.0)
    assert received(b)[0].message.parameters == b"new"
    assert received(a)[0].message.parameters == b"old"


def test_an_update_of_the_iv_index_is_heard_across() -> None:
    a, b = stack(A), stack(B)
    b.iv_index.begin_update(0.0, test_mode=True)
    a.send(AccessMessage(0x01, b"1"), B, 0.0, app_index=3)
    b.send(AccessMessage(0x01, b"2"), A, 0.0, app_index=3)
    on_air(a, b).run(1.0)
    assert len(received(a)) == len(received(b)) == 1
    assert a.iv_index.state.sending == b.iv_index.state.sending == 5


@pytest.mark.parametrize("seed", range(20))
def test_random_octets_do_nothing(seed: int) -> None:
    chance = random.Random(seed)
    b = stack(B)
    nid = NetKey(NET).nid
    for _ in range(50):
        data = bytes((nid | chance.randrange(2) << 7,)) + chance.randbytes(chance.randrange(30))
        b.receive(data, 0.0)
    assert b.events() == []
    assert b.outgoing(0.0) == []


@pytest.mark.parametrize("seed", range(3))
def test_messages_to_one_node_go_one_after_the_other(seed: int) -> None:
    a, b = stack(A), stack(B)
    numbers = [a.send(AccessMessage(0x01, bytes((size,)) * 60), B, 0.0, app_index=3) for size in range(4)]
    assert len(a.outgoing(0.0)) == 6  # segments of the first alone
    assert a.is_sending
    on_air(a, b, conditions=Conditions(0.2, 0.2, 0.001, 0.1), seed=seed).run(120.0)
    assert [event.message.parameters[0] for event in received(b)] == [0, 1, 2, 3]
    assert a.events() == [Delivered(number) for number in numbers]


def test_segments_sent_again_are_taken_after_something_later_was() -> None:
    a, b = stack(A), stack(B)
    a.send(AccessMessage(0x01, bytes(60)), B, 0.0, app_index=3)
    first, *_ = a.outgoing(0.0)
    b.receive(first, 0.0)
    a.send(AccessMessage(0x02, b""), B, 0.1, app_index=3)
    for frame in a.outgoing(0.1):
        b.receive(frame, 0.1)
    for frame in a.outgoing(1.0):
        b.receive(frame, 1.0)
    assert [event.message.opcode for event in received(b)] == [0x02, 0x01]


def test_segments_that_were_never_heard_are_no_second_message_after_a_restart() -> None:
    memory = RamMemory()
    a, b = stack(A), stack(B, memory)
    a.send(AccessMessage(0x01, bytes(60)), B, 0.0, app_index=3)
    heard, kept = a.outgoing(0.0), a.outgoing(1.0)  # the second round is held back by somebody
    for frame in heard:
        b.receive(frame, 0.0)
    assert len(received(b)) == 1
    again = stack(B, memory)
    for frame in kept:
        again.receive(frame, 2.0)
    assert received(again) == []
