"""Both ends of SCP02 against each other: every "i", level and kind of key set, on channels of every coding.

Each end was proven alone by foreign bytes (`test_scp02_vectors`) before they meet here.
"""

from __future__ import annotations

import itertools

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize

from keywright.errors import AuthenticationError, PolicyError, SequenceError
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.channels import is_secured, with_channel
from keywright.iso7816.refusal import Refusal
from keywright.sansio.dialogue import drive
from keywright.scp.level import Level
from keywright.scp.scp02.card import CardChannel
from keywright.scp.scp02.host import external_authenticate, initialize_update, open_implicit
from keywright.scp.scp02.keys import KeySet
from keywright.scp.scp02.messages import LEVELS, OPTIONS, I, allowed_levels
from keywright.scp.scp02.messaging import HostChannel
from keywright.scp.scp02.profile import DEFAULT, HOST, Profile
from keywright.scp.session import CardSession, HostSession
from support.adversary import Adversary

CHANNELS = (0, 3, 4, 19)
AID = bytes.fromhex("A000000151000000")
DATA = (b"", b"\x00", bytes(7), bytes(range(8)), bytes(231))
THREE = (bytes(range(16)), bytes(range(1, 17)), bytes(range(2, 18)))


class Card:
    """The least that the card end needs around it: one key set with its counter, one session, R-MAC instructions."""

    def __init__(self, i: int, *, counter: int = 5, profile: Profile = DEFAULT) -> None:
        self.keys, self.i, self.profile = key_set(i), i, profile
        self.counter = counter
        self.session: CardChannel | None = None
        self.received: list[Command] = []
        self.answer = Response(b"")
        self.opened = 0

    def __call__(self, command: Command) -> Response:
        """Answer; a failed check ends the session."""
        try:
            response = self.handle(command)
        except Refusal as refusal:
            self.session = None
            return Response(b"", refusal.sw)
        if self.session is not None and self.session.counter != self.counter:
            self.counter = self.session.counter
            self.opened += 1
        return response

    def handle(self, command: Command) -> Response:
        """Answer or refuse."""
        explicit = self.i & I.EXPLICIT
        if command.ins == 0x50 and explicit:
            self.session = CardChannel.explicit(
                self.keys,
                self.i,
                command.data,
                self.counter,
                aid=AID,
                card_challenge=bytes(range(0xA0, 0xA6)),
                profile=self.profile,
            )
            return Response(self.session.initialize_update(bytes(10), 0x20))
        if command.ins == 0x82 and self.session is not None and explicit:
            self.session.external_authenticate(command)
            return Response(b"")
        idle = self.session is None or self.session.is_suspended
        if idle and not explicit and is_secured(command.cla):
            self.session = CardChannel.implicit(self.keys, self.i, self.counter, aid=AID, profile=self.profile)
        if self.session is None:
            raise Refusal(0x6982)
        plain = self.session.unwrap(command)
        return self.session.wrap(self.run(self.session, plain))

    def run(self, session: CardChannel, plain: Command) -> Response:
        """R-MAC instructions, or the answer of the test."""
        try:
            if plain.ins == 0x7A:
                session.begin_r_mac(plain.p1, plain.data)
                return Response(b"")
            if plain.ins == 0x78:
                return Response(session.end_r_mac(plain.p2))
        except Refusal as refusal:
            return Response(b"", refusal.sw)
        self.received.append(plain)
        return self.answer


def key_set(i: int) -> KeySet:
    return KeySet.of(*THREE) if i & I.THREE_KEYS else KeySet.base(THREE[0])


def opened(i: int, level: int, channel: int = 0, card: Card | None = None) -> tuple[HostChannel, Card]:
    card = card or Card(i)
    if not i & I.EXPLICIT:
        return open_implicit(key_set(i), card.counter, i=i, aid=AID, channel=channel, allow_legacy=True), card
    opening = initialize_update(key_set(i), bytes(8), i=i, kvn=0x20, channel=channel, aid=AID, allow_legacy=True)
    return drive(external_authenticate(drive(opening, card), level), card), card


LEGAL = [(i, level, channel) for i, channel in itertools.product(OPTIONS, CHANNELS) for level in allowed_levels(i)]


def with_le(command: Command, level: int) -> Command:
    """What the card sees of it: a Le where an R-MAC must come back."""
    le = 0 if level & Level.R_MAC and command.le is None else command.le
    return Command(command.cla, command.ins, command.p1, command.p2, command.data, le)


def test_there_are_ninety_six_options_and_over_a_thousand_combinations() -> None:
    assert len(OPTIONS) == 96
    assert {level for _, level, _ in LEGAL} == set(LEVELS)
    assert len(LEGAL) == 4 * (32 * 3 + 32 * 6 + 32) == 1280


def test_every_legal_combination_carries_every_shape_of_command() -> None:
    """And of all sessions, only those whose options differ in nothing that shows send the same bytes."""
    wires: dict[bytes, list[tuple[int, int, int]]] = {}
    for case in LEGAL:
        i, level, channel = case
        host, card = opened(*case)
        wire = b""
        for number, (data, answer) in enumerate(zip(DATA, reversed(DATA), strict=True)):
            command = Command(
                with_channel(0x80 if number % 4 else 0x00, channel), 0xE2, 1, 2, data, (None, 0)[number % 2]
            )
            card.answer = Response(answer, (0x9000, 0x6310)[number % 2])
            sent = host.wrap(command)
            back = card(sent)
            assert host.unwrap(back) == card.answer
            assert card.received[-1] == with_le(command, level)
            wire += sent.encode() + back.encode()
        assert (card.opened, card.counter) == (1, 6)
        assert (host.i, host.level, host.channel, host.is_open) == (i, level, channel, True)
        for block in (bytes(16), THREE[0]):
            assert card.session is not None
            assert card.session.decrypt_sensitive(host.encrypt_sensitive(block)) == block
        wires.setdefault(wire, []).append(case)
    for same in wires.values():
        shown = {i & ~hidden(i, level) for i, level, _ in same}
        assert len({(level, channel) for _, level, channel in same}) == len(shown) == 1, same


def hidden(i: int, level: int) -> int:
    """Bits of "i" that leave no trace in the bytes of an open session at this level."""
    bits = I.R_MAC
    if i & I.EXPLICIT and not level & Level.C_MAC:
        bits |= I.ICV_ENCRYPTED | I.UNMODIFIED
        if not level & Level.R_MAC:
            bits |= 0x7F
    return bits


@pytest.mark.parametrize("i", [i for i in OPTIONS if i & I.EXPLICIT])
def test_a_level_the_card_does_not_offer_is_refused_by_both_ends(i: int) -> None:
    for level in set(LEVELS) - set(allowed_levels(i)):
        card = Card(i)
        opening = drive(initialize_update(key_set(i), bytes(8), i=i, aid=AID, allow_legacy=True), card)
        with pytest.raises(PolicyError):
            drive(external_authenticate(opening, level), card)
        assert card(Command(0x84, 0x82, level, 0, bytes(16))).sw == 0x6A86
    assert (len(allowed_levels(i)) == 6) is bool(i & I.R_MAC)


TAMPERED = [(i, level) for i in OPTIONS for level in allowed_levels(i) if level & Level.C_MAC]


@pytest.mark.parametrize("first", [True, False])
def test_one_flipped_bit_anywhere_in_a_command_ends_every_kind_of_session(first: bool) -> None:  # noqa: FBT001 - a parameter
    """Bit n of the command in the nth session: all positions, over all combinations."""
    for number, (i, level) in enumerate(TAMPERED):
        host, card = opened(i, level)
        if not first:
            assert card(host.wrap(Command(0x80, 0xE2, 0, 0, b"before", 0))).sw == 0x9000
        before, counter = len(card.received), card.counter
        raw = bytearray(host.wrap(Command(0x80, 0xE2, 1, 2, bytes(20), 0)).encode())
        spots = [bit for bit in range(8, 8 * (len(raw) - 1)) if bit // 8 != 4]  # not the class, Lc or Le
        bit = spots[number * 7 % len(spots)]
        raw[bit // 8] ^= 1 << bit % 8
        flipped = Command.parse(bytes(raw))
        if flipped.ins in (0x50, 0x82) and i & I.EXPLICIT:
            continue
        assert card(flipped).sw == 0x6982, (i, level, bit)
        assert card.session is None
        assert (len(card.received), card.counter) == (before, counter)


@pytest.mark.parametrize("level", [0x01, 0x03, 0x11, 0x13])
@pytest.mark.parametrize("i", [0x35, 0x24, 0x67])
def test_every_bit_of_a_command_is_covered(i: int, level: int) -> None:
    size = len(opened(i, level)[0].wrap(Command(0x80, 0xE2, 1, 2, bytes(20), 0)).encode()) - 1
    for bit in range(8, size * 8):
        host, card = opened(i, level)
        raw = bytearray(host.wrap(Command(0x80, 0xE2, 1, 2, bytes(20), 0)).encode())
        raw[bit // 8] ^= 1 << bit % 8
        if bit // 8 == 4 or raw[1] in (0x50, 0x82):
            continue
        assert card(Command.parse(bytes(raw))).sw == 0x6982


def test_one_flipped_bit_in_an_answer_closes_the_host() -> None:
    protected = [(i, level) for i, level, channel in LEGAL if level & Level.R_MAC and not channel]
    for number, (i, level) in enumerate(protected):
        host, card = opened(i, level)
        card.answer = Response(bytes(range(number % 30)), (0x9000, 0x6310, 0x6A88)[number % 3])
        answer = bytearray(card(host.wrap(Command(0x80, 0xCA, 0, 0x66, b"", 0))).encode())
        bit = number * 5 % (8 * (len(answer) - 2))
        answer[bit // 8] ^= 1 << bit % 8
        with pytest.raises(AuthenticationError, match="R-MAC is missing or wrong"):
            host.unwrap(Response.parse(bytes(answer)))
        assert not host.is_open


def test_a_forged_status_word_is_found_at_the_latest_with_the_next_answer() -> None:
    host, card = opened(0x35, 0x11)
    card.answer = Response(b"data")
    card(host.wrap(Command(0x80, 0xCA, 0, 0x66, b"", 0)))
    assert host.unwrap(Response(b"", 0x6A88)).sw == 0x6A88, "a card behind T=0 says just that"
    with pytest.raises(AuthenticationError):
        host.unwrap(card(host.wrap(Command(0x80, 0xCA, 0, 0x66, b"", 0))))


def test_a_command_is_not_accepted_twice_nor_out_of_order_in_any_kind_of_session() -> None:
    for i, level in TAMPERED:
        host, card = opened(i, level)
        first, second = (host.wrap(Command(0x80, 0xE2, n, 0, b"x")) for n in (1, 2))
        assert card(first).sw == 0x9000
        assert card(first).sw == 0x6982
        assert card(second).sw == 0x6982
        host, card = opened(i, level)
        first, second = (host.wrap(Command(0x80, 0xE2, n, 0, b"x")) for n in (1, 2))
        assert card(second).sw == 0x6982
        assert (card.received, card.session) == ([], None)


def test_a_recorded_session_is_not_accepted_once_more() -> None:
    """The same card challenge may come again (it is fixed here): the counter alone must keep the recording out."""
    for i in OPTIONS:
        card = Card(i)
        wire: list[Command] = []

        def record(command: Command, card: Card = card, wire: list[Command] = wire) -> Response:
            wire.append(command)
            return card(command)

        if i & I.EXPLICIT:
            opening = drive(initialize_update(key_set(i), bytes(8), i=i, aid=AID, allow_legacy=True), record)
            host = drive(external_authenticate(opening, 0x01), record)
        else:
            host = open_implicit(key_set(i), card.counter, i=i, aid=AID, allow_legacy=True)
        assert record(host.wrap(Command(0x80, 0xE2, 0, 0, b"x"))).sw == 0x9000
        card.session = None
        assert [card(command).sw for command in wire][-1] == 0x6982
        assert (len(card.received), card.counter) == (1, 6)


R_MAC_OPTIONS = [i for i in OPTIONS if i & I.R_MAC]


@pytest.mark.parametrize("counter", ["current", "session"])
@pytest.mark.parametrize("every", [True, False])
def test_an_r_mac_session_begins_goes_on_and_ends_in_every_kind_of_session(every: bool, counter: str) -> None:  # noqa: FBT001 - a parameter
    profile = Profile(r_mac_counter="current" if counter == "current" else "session")
    for i in R_MAC_OPTIONS:
        for level in (level for level in allowed_levels(i) if not level & Level.R_MAC):
            host, card = opened(i, level, card=Card(i, profile=profile))
            for again in range(2):
                drive(host.begin_r_mac(b"nonce" * again, every=every), card)
                assert card.session is not None
                assert host.level == card.session.level == level | 0x10 * every
                seen = set()
                for answer in (Response(b"one"), Response(b"", 0x6A88), Response(b"two", 0x6310)):
                    card.answer = answer
                    assert drive(host.secure(Command(0x80, 0xCA, 0, 0x66, b"", 0)), card) == answer
                    seen.add(drive(host.end_r_mac(go_on=True), card))
                mac = drive(host.end_r_mac(), card)
                assert (len(seen), mac in seen) == (3, True)
                assert host.level == card.session.level == level
            assert host.r_mac_counter == (counter if i & I.EXPLICIT else "session")


def test_a_plain_command_suspends_an_implicit_session_and_the_next_secured_one_begins_another() -> None:
    for i in (i for i in OPTIONS if not i & I.EXPLICIT):
        host, card = opened(i, 0x01)
        first = host.wrap(Command(0x80, 0xE2, 0, 0, b"x", 0))
        assert card(first).sw == 0x9000
        assert card(Command(0x80, 0xE2, 0, 0, b"plain", 0)).sw == 0x9000
        assert card(first).sw == 0x6982, "a recorded first command opened another session"
        host, _ = opened(i, 0x01, card=card)
        assert card(host.wrap(Command(0x80, 0xE2, 0, 0, b"y", 0))).sw == 0x9000
        assert (card.counter, card.opened) == (7, 2)


def test_an_answer_changed_while_r_macs_are_collected_is_found_at_the_end() -> None:
    host, card = opened(0x35, 0x01)
    drive(host.begin_r_mac(every=False), card)
    card.answer = Response(b"true")
    card(host.wrap(Command(0x80, 0xCA, 0, 0x66, b"", 0)))
    assert host.unwrap(Response(b"lies")).data == b"lies"
    with pytest.raises(AuthenticationError):
        drive(host.end_r_mac(), card)
    with pytest.raises(SequenceError):
        host.wrap(Command(0x80, 0xCA, 0, 0x66))


class Interference(Adversary):
    @initialize(i=st.sampled_from([i for i in R_MAC_OPTIONS if i & I.EXPLICIT]), level=st.sampled_from([0x11, 0x13]))
    def open(self, i: int, level: int) -> None:
        self.host, self.card = opened(i, level)


TestAdversary = Interference.TestCase
TestAdversary.settings = settings(max_examples=30, stateful_step_count=20)


@pytest.mark.parametrize("level", [0x00, 0x01, 0x03, 0x13])
def test_an_extended_command_goes_through_whole(level: int) -> None:
    host, card = opened(0x35, level)
    command = Command(0x80, 0xE2, 1, 2, bytes(range(256)) * 3, 0, extended=True)
    card.answer = Response(bytes(300))
    assert host.unwrap(card(host.wrap(command))) == card.answer
    assert card.received == [command]


def test_both_ends_are_sessions_like_those_of_any_protocol() -> None:
    host, card = opened(0x15, 0x03)
    assert card.session is not None
    ends: tuple[HostSession, CardSession] = (host, card.session)
    assert [end.scp for end in ends] == [2, 2]
    assert [end.sensitive_block for end in ends] == [8, 8]
    assert (host.kvn, card.session.authentication) == (0x20, Level.AUTHENTICATED)
    assert HOST != DEFAULT
