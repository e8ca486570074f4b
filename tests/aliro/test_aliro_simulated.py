"""The simulated user device over short and extended APDUs, with its memory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.aliro.cache import PersistentKeys
from keywright.aliro.exchange import MailboxRequest, Read, Write
from keywright.aliro.messages import EXPEDITED_AID, ReaderStatus
from keywright.aliro.reader import Plan, authenticate, finish, use_mailbox
from keywright.aliro.session import State
from keywright.aliro.simulated import SimulatedUserDevice
from keywright.aliro.user_device import Settings, UserDevice
from keywright.errors import StoreError
from keywright.iso7816.layers import transmit
from keywright.sansio.dialogue import drive
from keywright.sansio.responder import Device as PoweredDevice
from keywright.store.memory import RamMemory
from support.aliro import fresh, key, reader, records, stream

LARGE = 1200


class Link:
    """A link that carries so much, and remembers what it carried."""

    def __init__(self, device: SimulatedUserDevice, *, extended: bool) -> None:
        self.device, self.extended = device, extended
        self.carried: list[tuple[bytes, bytes]] = []

    def exchange(self, command: bytes, /) -> bytes:
        answer = self.device.handle(command)
        self.carried.append((command, answer))
        return answer


def _device(memory: RamMemory | None = None) -> tuple[SimulatedUserDevice, RamMemory]:
    memory = memory or RamMemory({**records().kept, "mailbox/0": bytes(LARGE)})
    user_device = UserDevice(Settings(), lambda name: key(name.decode()), stream("device"))
    return SimulatedUserDevice(user_device, memory), memory


@pytest.mark.parametrize("extended", [False, True])
def test_long_commands_and_answers_travel_in_chains_or_in_one_extended_apdu(*, extended: bool) -> None:
    device, memory = _device()
    assert isinstance(device, PoweredDevice)
    link = Link(device, extended=extended)
    send = transmit(link)
    opened = drive(authenticate(reader(), Plan(), fresh("1"), PersistentKeys()), send)
    text = bytes(range(256)) * 3
    answer = drive(use_mailbox(opened, MailboxRequest((Write(0, text), Read(0, len(text))))), send)
    assert answer.reads == (text,)
    drive(finish(opened, ReaderStatus.UNSECURED), send)
    assert device.session.reader_status == ReaderStatus.UNSECURED
    assert memory.load("mailbox/0") == text + bytes(LARGE - len(text))
    chained = [command for command, _ in link.carried if command[0] == 0x90]
    more = [command for command, _ in link.carried if command[1] == 0xC0]
    assert bool(chained) == bool(more) == (not extended)


def test_a_chain_that_is_interrupted_or_too_long_is_refused() -> None:
    device, _ = _device()
    select = bytes.fromhex("00A40400 09") + EXPEDITED_AID + b"\0"
    assert device.handle(select)[-2:] == b"\x90\0"
    part = bytes.fromhex("908000000141")
    assert device.handle(part) == b"\x90\0"
    assert device.handle(bytes.fromhex("8081000000")) == bytes.fromhex("6883")
    block = bytes.fromhex("90800000FF") + bytes(255)
    answers = [device.handle(block) for _ in range(9)]
    assert answers[-2:] == [bytes.fromhex("6700"), b"\x90\0"]
    assert [device.handle(bytes.fromhex("00C0000000")).hex() for _ in range(2)] == ["6883", "6985"]


def test_the_field_that_is_lost_takes_an_atomic_session_with_it() -> None:
    device, memory = _device()
    send = transmit(Link(device, extended=True))
    opened = drive(authenticate(reader(), Plan(), fresh("1"), PersistentKeys()), send)
    drive(use_mailbox(opened, MailboxRequest((Write(0, b"x"),), continues=True)), send)
    device.reset()
    assert device.session.state is State.IDLE
    assert memory.load("mailbox/0") == bytes(LARGE)
    assert device.handle(bytes.fromhex("80C900000100")) == bytes.fromhex("6700")
    assert device.handle(bytes.fromhex("80C90000010000")) == bytes.fromhex("6985")


def test_memory_that_fails_is_said_and_the_transaction_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    device, memory = _device()
    send = transmit(Link(device, extended=True))
    opened = drive(authenticate(reader(), Plan(), fresh("1"), PersistentKeys()), send)
    before = memory.load("mailbox/0")

    def fail(_changes: object) -> None:
        raise StoreError("worn out")

    monkeypatch.setattr(RamMemory, "commit", lambda _memory, changes: fail(changes))
    with pytest.raises(Exception, match="6581"):
        drive(use_mailbox(opened, MailboxRequest((Write(0, b"x"),))), send)
    assert memory.load("mailbox/0") == before
    assert device.session.state is State.SELECTED


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_any_bytes_get_an_answer_of_at_least_a_status_word(requests: list[bytes]) -> None:
    device, _ = _device()
    for request in [bytes.fromhex("00A40400 09") + EXPEDITED_AID + b"\0", *requests]:
        assert len(device.handle(request)) >= 2
