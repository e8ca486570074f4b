"""Both ends of SCP03 against each other: every legal combination, every forbidden one, and a tampering of each.

Each end was proven alone by foreign bytes (`test_scp03_host`, `test_scp03_card`) before they meet here.
"""

from __future__ import annotations

import itertools

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize

from keywright.errors import PolicyError, SequenceError, WireError
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.channels import with_channel
from keywright.iso7816.refusal import Refusal
from keywright.sansio.dialogue import drive
from keywright.scp.level import LEVELS
from keywright.scp.scp03.card import CardChannel, allowed_levels
from keywright.scp.scp03.host import HostChannel, external_authenticate, initialize_update, open_channel
from keywright.scp.scp03.keys import KeySet
from support.adversary import Adversary

SIZES = (16, 24, 32)
MODES = (8, 16)
CHANNELS = (0, 1, 3, 4, 11, 19)
I_VALUES = (0x00, 0x10, 0x20, 0x30, 0x60, 0x70)
DATA = (b"", b"\x00", bytes(15), bytes(range(16)), bytes(200))


class Card:
    """The least that the card end needs around it: one key set, one session."""

    def __init__(self, keys: KeySet, i: int, mode: int) -> None:
        self.keys, self.i, self.mode = keys, i | (mode == 16), mode
        self.session: CardChannel | None = None
        self.received: list[Command] = []
        self.answer = Response(b"")

    def __call__(self, command: Command) -> Response:
        """Answer; a failed check ends the session."""
        try:
            return self.handle(command)
        except Refusal as refusal:
            if refusal.sw in (0x6982, 0x6300):
                self.session = None
            return Response(b"", refusal.sw)

    def handle(self, command: Command) -> Response:
        """Answer or refuse."""
        if command.ins == 0x50:
            challenge = bytes(range(0xA0, 0xA0 + self.mode))
            self.session = CardChannel(self.keys, self.i, command.data, challenge)
            return Response(self.session.initialize_update(bytes(10), 0x30, b"\x00\x00\x01" if self.i & 0x10 else b""))
        if self.session is None:
            raise Refusal(0x6982)
        if command.ins == 0x82:
            self.session.external_authenticate(command)
            return Response(b"")
        self.received.append(self.session.unwrap(command))
        return self.session.wrap(self.answer)


def key_set(size: int) -> KeySet:
    return KeySet.of(bytes(range(size)), bytes(range(1, size + 1)), bytes(range(2, size + 2)))


def opened(size: int, mode: int, i: int, level: int, channel: int) -> tuple[HostChannel, Card]:
    card = Card(key_set(size), i, mode)
    opening = drive(initialize_update(key_set(size), bytes(mode), kvn=0x30, channel=channel), card)
    return drive(external_authenticate(opening, level), card), card


LEGAL = [
    (size, mode, i, level, channel)
    for size, mode, i, channel in itertools.product(SIZES, MODES, I_VALUES, CHANNELS)
    for level in allowed_levels(i)
]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("mode", MODES)
def test_every_legal_combination_carries_every_shape_of_command(size: int, mode: int) -> None:
    outcomes = set()
    for case in (case for case in LEGAL if case[:2] == (size, mode)):
        channel, card = opened(*case)
        for data, le, answer in itertools.product(DATA, (None, 0), DATA):
            command = Command(with_channel(0x80, case[4]), 0xE2, 1, 2, data, le)
            card.answer = Response(answer)
            sent = channel.wrap(command)
            assert channel.unwrap(card(sent)) == card.answer
            assert card.received[-1] == command
            outcomes.add(sent.encode())
    levels = {case[3] for case in LEGAL}
    assert levels == set(LEVELS)
    assert len(outcomes) > 1000, "the combinations hardly differ on the wire"


@pytest.mark.parametrize("i", I_VALUES)
def test_a_level_the_card_does_not_offer_is_refused_by_both_ends(i: int) -> None:
    for level in set(LEVELS) - set(allowed_levels(i)):
        card = Card(key_set(16), i, 8)
        opening = drive(initialize_update(key_set(16), bytes(8), kvn=0x30), card)
        with pytest.raises(PolicyError):
            drive(external_authenticate(opening, level), card)
        assert card(Command(0x84, 0x82, level, 0, bytes(16))).sw == 0x6A86


@pytest.mark.parametrize("level", [level for level in LEVELS if level & 1])
@pytest.mark.parametrize("mode", MODES)
def test_one_flipped_bit_of_a_command_ends_the_session_on_the_card(level: int, mode: int) -> None:
    good = opened(16, mode, 0x70, level, 0)[0].wrap(Command(0x80, 0xE2, 1, 2, bytes(20), 0))
    for bit in range((4 + 1 + len(good.data)) * 8):
        channel, card = opened(16, mode, 0x70, level, 0)
        raw = bytearray(channel.wrap(Command(0x80, 0xE2, 1, 2, bytes(20), 0)).encode())
        position = bit // 8
        if position in (0, 4):  # the class is not what the MAC covers bit by bit, and Lc changes what is parsed
            continue
        raw[position] ^= 1 << bit % 8
        flipped = Command.parse(bytes(raw))
        if flipped.ins in (0x50, 0x82):
            continue
        assert card(flipped).sw == 0x6982
        assert card.session is None
        assert card.received == []


def test_a_command_is_not_accepted_twice_nor_out_of_order() -> None:
    channel, card = opened(16, 8, 0x70, 0x33, 0)
    first, second = (channel.wrap(Command(0x80, 0xE2, n, 0, b"x")) for n in (1, 2))
    assert card(first).sw == 0x9000
    assert card(first).sw == 0x6982
    channel, card = opened(16, 8, 0x70, 0x33, 0)
    first, second = (channel.wrap(Command(0x80, 0xE2, n, 0, b"x")) for n in (1, 2))
    assert card(second).sw == 0x6982
    assert card(first).sw == 0x6982


@pytest.mark.parametrize("level", [level for level in LEVELS if level & 0x10])
def test_an_answer_is_not_accepted_twice_nor_one_that_nobody_asked_for(level: int) -> None:
    channel, card = opened(16, 8, 0x70, level, 0)
    card.answer = Response(b"told")
    answer = card(channel.wrap(Command(0x80, 0xCA, 0, 0, le=0)))
    assert channel.unwrap(answer).data == b"told"
    with pytest.raises(SequenceError):
        channel.unwrap(answer)
    assert channel.unwrap(card(channel.wrap(Command(0x80, 0xCA, 0, 0, le=0)))).data == b"told"


def test_commands_without_data_count_too() -> None:
    channel, card = opened(16, 8, 0x70, 0x33, 0)
    for n in range(300):
        data = b"" if n % 3 else bytes(n % 50)
        card.answer = Response(bytes(n % 40))
        assert channel.unwrap(card(channel.wrap(Command(0x80, 0xCA, 0, n & 0xFF, data, 0)))) == card.answer


@pytest.mark.parametrize("level", [0x03, 0x13, 0x33])
@pytest.mark.parametrize("mode", MODES)
def test_an_empty_field_encrypted_as_padding_is_accepted(level: int, mode: int) -> None:
    """yubikit and a real YubiKey send one block of padding where the specification sends nothing."""
    card = Card(key_set(16), 0x70, mode)
    channel = drive(open_channel(key_set(16), bytes(mode), kvn=0x30, level=level, pads_empty=True), card)
    for data in (b"", b"x", b""):
        command = Command(0x80, 0xCA, 0, 0x66, data, 0)
        sent = channel.wrap(command)
        assert len(sent.data) == 16 + mode
        assert channel.unwrap(card(sent)).sw == 0x9000
        assert card.received[-1] == command


class Interference(Adversary):
    @initialize(size=st.sampled_from(SIZES), mode=st.sampled_from(MODES))
    def open(self, size: int, mode: int) -> None:
        self.host, self.card = opened(size, mode, 0x70, 0x33, 0)


TestAdversary = Interference.TestCase
TestAdversary.settings = settings(max_examples=40, stateful_step_count=25)


def test_a_card_of_another_protocol_is_named() -> None:
    def scp02(_: Command) -> Response:
        return Response(bytes(10) + bytes((0x20, 0x02)) + bytes(17))

    with pytest.raises(WireError, match="SCP02"):
        drive(initialize_update(key_set(16), bytes(8)), scp02)
