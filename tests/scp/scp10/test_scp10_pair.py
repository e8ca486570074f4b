"""Both ends of SCP10 against each other: every option and level, and a tampering of each.

Each end was proven alone by the dialogues of `test_scp10_vectors` before they meet here.
"""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from keywright.errors import AuthenticationError
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.channels import channel_of, with_channel
from keywright.iso7816.layers import chained
from keywright.iso7816.refusal import Refusal
from keywright.sansio.dialogue import drive, through
from keywright.scp.level import Level
from keywright.scp.scp10 import HostChannel, Profile, Request, open_channel
from keywright.scp.scp10.keys import SEPARATE_KEYS, SHARED_KEYS, read_parameters, session_keys, transported
from keywright.scp.scp10.messages import ControlReference, SecurityParameters
from keywright.scp.session import CardSession, HostSession
from support.scp10 import Card, Domain, Stream, card_holder, host_identity, session_pair

I_VALUES = (0, 1, 2, 3)
LEVELS = tuple(c | r << 4 for c, r in itertools.product(range(4), range(4)))
CHANNELS = (0, 1, 3, 4, 11, 19)
DATA = (b"", b"\x00", bytes(7), bytes(range(8)), bytes(231))
COMBINATIONS = [
    (i, level, keys, size, CHANNELS[number % len(CHANNELS)])
    for number, (i, level, (keys, size)) in enumerate(
        itertools.product(I_VALUES, LEVELS, ((SHARED_KEYS, 16), (SHARED_KEYS, 24), (SEPARATE_KEYS, 16)))
    )
    # Agreed keys have 16 bytes, and five transported ones do not fit a block of RSA-1024.
    if (keys, size) == (SHARED_KEYS, 16) or bool(i & 1) == (keys == SEPARATE_KEYS)
]


def opened(
    i: int = 2,
    level: int = 0x33,
    keys: Any = SHARED_KEYS,
    size: int = 16,
    channel: int = 0,
    profiles: tuple[Profile, Profile] = (Profile(), Profile()),
) -> tuple[HostChannel, Card]:
    card = Card(Domain(profile=profiles[1]))
    request = Request(i=i, level=level, keys=keys, key_bytes=size, channel=channel)
    dialogue = open_channel(
        host_identity(), Stream(level + 1), request, card=card_holder(), profile=profiles[0], allow_legacy=True
    )
    return drive(through(dialogue, chained), card), card


@pytest.mark.parametrize("i", I_VALUES)
def test_every_option_level_and_key_carries_every_shape_of_command(i: int) -> None:
    outcomes = set()
    for _, level, keys, size, number in (case for case in COMBINATIONS if case[0] == i):
        host, card = opened(i, level, keys, size, number)
        assert card.session is not None
        assert (card.session.level, host.level, host.channel) == (level, level, number)
        assert {channel_of(command[0]) for command in card.sent} == {number}
        for (data, le), answer in zip(itertools.product(DATA, (None, 0)), itertools.cycle(DATA[::-1])):
            command = Command(with_channel(0x80, number), 0xE2, 1, 2, data, le)
            card.answer = Response(answer)
            sent = host.wrap(command)
            assert host.unwrap(card(sent)) == card.answer
            # With R-MAC every command gets an answer, so one without Le comes out with Le 00.
            assert card.received[-1] == Command(
                command.cla, 0xE2, 1, 2, data, 0 if le is not None or level & Level.R_MAC else None
            )
            outcomes.add(sent.encode())
        block = bytes(range(16))
        assert card.session.decrypt_sensitive(host.encrypt_sensitive(block)) == block
    assert len(outcomes) > 150, "the combinations hardly differ on the wire"


def test_the_ends_are_what_the_element_and_the_host_expect() -> None:
    host, card = opened()
    session: CardSession | None = card.session
    ours: HostSession = host
    assert session is not None
    assert (ours.scp, session.scp, ours.sensitive_block, session.sensitive_block) == (0x10, 0x10, 8, 8)
    for attempt in (lambda: session.begin_r_mac(0x10, b""), lambda: session.end_r_mac(0x03)):
        with pytest.raises(Refusal, match="6D00"):
            attempt()


PROTECTED = [level for level in LEVELS if level & Level.C_MAC]
ANSWERED = [level for level in LEVELS if level & Level.R_MAC]


@pytest.mark.parametrize("level", PROTECTED)
def test_one_flipped_bit_of_a_command_is_refused_by_the_card(level: int) -> None:
    raw = session_pair(level)[0].wrap(Command(0x80, 0xE2, 1, 2, bytes(20), 0)).encode()
    for bit in range(len(raw) * 8):
        if bit // 8 in (0, 4, len(raw) - 1):  # of the class the MAC covers b8; the lengths are covered in the objects
            continue
        changed = bytearray(raw)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Refusal, match="6982"):
            session_pair(level)[1].unwrap(Command.parse(bytes(changed)))


@pytest.mark.parametrize("level", PROTECTED)
def test_a_command_moved_to_the_other_class_is_refused(level: int) -> None:
    host, card = session_pair(level)
    sent = host.wrap(Command(0x80, 0xE2, 1, 2, bytes(20), 0))
    with pytest.raises(Refusal, match="6982"):
        card.unwrap(Command(sent.cla & 0x7F, sent.ins, sent.p1, sent.p2, sent.data, sent.le))


@pytest.mark.parametrize("level", ANSWERED)
@pytest.mark.parametrize("answer", [b"", bytes(20)])
def test_one_flipped_bit_of_an_answer_ends_the_session_at_the_host(level: int, answer: bytes) -> None:
    size = len(session_pair(level)[1].wrap(Response(answer)).data)
    for bit in range(size * 8):
        host, card = session_pair(level)
        raw = bytearray(card.wrap(Response(answer)).data)
        raw[bit // 8] ^= 1 << bit % 8
        with pytest.raises(AuthenticationError, match=r"^answer refused: its protection is missing or wrong"):
            host.unwrap(Response(bytes(raw)))
        assert not host.is_open


@pytest.mark.parametrize("level", ANSWERED)
def test_the_status_word_is_covered_too(level: int) -> None:
    host, card = session_pair(level)
    with pytest.raises(AuthenticationError):
        host.unwrap(Response(card.wrap(Response(b"x", 0x6310)).data, 0x9000))


@pytest.mark.parametrize("i", I_VALUES)
@pytest.mark.parametrize("order", [(0, 0), (1,), (0, 2), (0, 1, 0)])
def test_a_command_is_not_accepted_twice_nor_out_of_order(i: int, order: tuple[int, ...]) -> None:
    host, card = opened(i, 0x03)
    sent = [host.wrap(Command(0x80, 0xE2, n, 0, b"x")) for n in range(3)]
    *good, last = order
    for n in good:
        assert card(sent[n]).sw == 0x9000
    assert card(sent[last]).sw == 0x6982
    assert card.session is None
    assert card(sent[len(good)]).sw == 0x6982


@pytest.mark.parametrize("order", [(0, 0), (1,), (0, 2)])
def test_an_answer_is_not_accepted_twice_nor_out_of_order(order: tuple[int, ...]) -> None:
    host, card = session_pair(0x30)
    answers = [card.wrap(Response(bytes([n]))) for n in range(3)]
    *good, last = order
    for n in good:
        assert host.unwrap(answers[n]).data == bytes([n])
    with pytest.raises(AuthenticationError):
        host.unwrap(answers[last])


def test_a_command_is_not_taken_for_an_answer_of_the_same_key() -> None:
    host, card = session_pair(0x11)
    sent = host.wrap(Command(0x80, 0xE2, 0, 0, b"x"))
    with pytest.raises(AuthenticationError):
        host.unwrap(Response(sent.data))
    assert card.unwrap(sent).data == b"x"


@pytest.mark.parametrize(("required", "given"), list(itertools.product(range(4), repeat=2)))
def test_less_protection_is_refused_and_more_is_taken(required: int, given: int) -> None:
    host, card = session_pair(given)[0], session_pair(required)[1]
    command = Command(0x80, 0xE2, 1, 2, b"data", 0)
    if required & ~given:
        with pytest.raises(Refusal, match="6982"):
            card.unwrap(host.wrap(command))
        return
    assert card.unwrap(host.wrap(command)) == command
    assert card.level == required | given


def test_the_level_rises_only_for_the_command_that_came_with_more() -> None:
    card, more, less = session_pair(0x00)[1], session_pair(0x03)[0], session_pair(0x00)[0]
    levels = []
    for host in (less, more, less):
        card.unwrap(host.wrap(Command(0x80, 0xE2, 1, 2, b"data", 0)))
        levels.append(card.level)
    assert levels == [0x00, 0x03, 0x00]


def test_more_protection_needs_its_keys() -> None:
    for given in (0x01, 0x02, 0x03):
        host, _ = session_pair(given)
        _, card = session_pair(0, ())
        with pytest.raises(Refusal, match="6982"):
            card.unwrap(host.wrap(Command(0x80, 0xE2, 1, 2, b"data", 0)))


def objects(level: int, data: bytes) -> Command:
    """A command of class 8C with these objects and a right MAC at the end."""
    host, _ = session_pair(level)
    key = host._keys.c_mac
    assert key is not None
    mac = key.next_mac(bytes.fromhex("80E2000080000000") + data)
    return Command(0x8C, 0xE2, 0, 0, data + b"\x8e\x08" + mac)


@pytest.mark.parametrize(
    "data",
    [
        "8701", "870101", "8702 0100", "8709 00 0000000000000000", "8709 01 0000000000000000", "8601 01", "9601 00",
        "8101 00 8709 01 0000000000000000", "8101 00 8101 00", "9701 00 8101 00", "9703 000000", "9700", "99029000",
        "8E08 0000000000000000", "80 00", "81",
    ],
)  # fmt: skip # a list of objects reads better in lines
def test_objects_that_cannot_be_are_refused_under_a_right_mac(data: str) -> None:
    with pytest.raises(Refusal, match="6982"):
        session_pair(0x01)[1].unwrap(objects(0x01, bytes.fromhex(data.replace(" ", ""))))


def test_two_data_objects_are_refused_even_if_both_open() -> None:
    host, _ = session_pair(0x03)
    whole = host.wrap(Command(0x80, 0xE2, 0, 0, b"data")).data[:-10]
    assert session_pair(0x03)[1].unwrap(objects(0x03, whole)).data == b"data"
    with pytest.raises(Refusal, match="6982"):
        session_pair(0x03)[1].unwrap(objects(0x03, b"\x81\x04data" + whole))


def test_objects_with_and_without_a_mac_do_not_go_together() -> None:
    sent = session_pair(0x02)[0].wrap(Command(0x80, 0xE2, 0, 0, b"data", 0))
    assert session_pair(0x02)[1].unwrap(sent).data == b"data"
    for wrong in (sent.data.replace(b"\x96\1\0", b"\x97\1\0"), sent.data + b"\x8e\x08" + bytes(8)):
        with pytest.raises(Refusal, match="6982"):
            session_pair(0x02)[1].unwrap(Command(0x88, 0xE2, 0, 0, wrong, 0))


@pytest.mark.parametrize("level", [0x02, *PROTECTED])
def test_a_class_that_denies_the_mac_or_claims_one_is_refused(level: int) -> None:
    """Nothing covers that bit: only what is there tells that it was changed."""
    host, card = session_pair(level)
    sent = host.wrap(Command(0x80, 0xE2, 1, 2, bytes(20), 0))
    with pytest.raises(Refusal, match="6982"):
        card.unwrap(Command(sent.cla ^ 0x04, sent.ins, sent.p1, sent.p2, sent.data, sent.le))


@pytest.mark.parametrize(("at_card", "at_host"), list(itertools.permutations((0x10, 0x20, 0x30), 2)))
def test_an_answer_with_the_objects_of_another_level_is_refused(at_card: int, at_host: int) -> None:
    answer = session_pair(at_card)[1].wrap(Response(b"data"))
    with pytest.raises(AuthenticationError):
        session_pair(at_host)[0].unwrap(answer)


@pytest.mark.parametrize("data", ["", "8100", "8103 010203", "9701 00", "8101 00 9701 10", "8101 00 9702 0100"])
def test_objects_in_their_order_are_taken(data: str) -> None:
    assert session_pair(0x01)[1].unwrap(objects(0x01, bytes.fromhex(data.replace(" ", "")))).cla == 0x80


@pytest.mark.parametrize("sw", [0x6A88, 0x6982, 0x6F00, 0x6100, 0x9484])
@pytest.mark.parametrize("level", LEVELS)
def test_errors_go_bare_and_the_session_goes_on(sw: int, level: int) -> None:
    host, card = session_pair(level)
    for answer in (Response(b"", sw), Response(b"data"), Response(b"", 0x6310), Response(b"", 0x6283)):
        card.unwrap(host.wrap(Command(0x80, 0xCA, 0, 0, b"", 0)))
        sent = card.wrap(answer)
        assert sent == answer or answer.sw != sw
        assert host.unwrap(sent) == answer


# ---- what the text leaves open


@pytest.mark.parametrize(
    ("one", "other", "levels"),
    [
        (Profile(), Profile(mac_class="sent"), PROTECTED),
        (Profile(), Profile(counter="direction"), [0x11, 0x33]),
        (Profile(counter="direction"), Profile(counter="session"), [0x11, 0x33]),
    ],
)
def test_a_reading_is_the_same_at_both_ends_or_nothing_passes(one: Profile, other: Profile, levels: list[int]) -> None:
    def exchange(host: HostChannel, card: Any) -> None:
        for n in range(3):
            assert card.unwrap(host.wrap(Command(0x80, 0xCA, 0, n, b"x", 0))).p2 == n
            assert host.unwrap(card.wrap(Response(b"y"))).data == b"y"

    for level in levels:
        for profile in (one, other):
            exchange(*session_pair(level, host=profile, card=profile))
        for host, card in ((one, other), (other, one)):
            with pytest.raises((Refusal, AuthenticationError)):
                exchange(*session_pair(level, host=host, card=card))


def test_one_counter_for_the_session_is_another_reading_for_separate_keys_only() -> None:
    keys = SEPARATE_KEYS
    for profile in (Profile(), Profile(counter="session")):
        host, card = session_pair(0x33, keys, host=profile)
        sent = host.wrap(Command(0x80, 0xCA, 0, 0, b"", 0))
        card.unwrap(sent)
        assert host.unwrap(card.wrap(Response(b"z"))).data == b"z"
        values = {key.counter._value for key in (card._keys.c_mac, card._keys.r_mac) if key is not None}
        # Counters start at 2**64 - 2: one MAC each, or two with one counter, which then has come round.
        assert values == ({2**64 - 1} if profile.counter == "key" else {0})


def test_counters_come_round_after_2_to_the_64() -> None:
    host, card = session_pair(0x11)
    for n in range(5):
        assert card.unwrap(host.wrap(Command(0x80, 0xCA, 0, n, b"", 0))).p2 == n
        assert host.unwrap(card.wrap(Response(b"x"))).data == b"x"


def test_bare_answers_count_if_the_profile_says_so() -> None:
    def exchange(host: HostChannel, card: Any) -> None:
        for sw in (0x6A88, 0x9000, 0x9000):
            card.unwrap(host.wrap(Command(0x80, 0xCA, 0, 0, b"", 0)))
            host.unwrap(card.wrap(Response(b"", sw)))

    counting = Profile(bare_answers_count=True)
    exchange(*session_pair(0x11, host=counting, card=counting))
    for host, card in ((counting, Profile()), (Profile(), counting)):
        with pytest.raises((Refusal, AuthenticationError)):
            exchange(*session_pair(0x11, host=host, card=card))


def test_the_object_of_le_that_r_mac_adds_is_read_both_ways() -> None:
    for added in (True, False):
        host, card = session_pair(0x11, host=Profile(le_object_for_r_mac=added), card=Profile())
        sent = host.wrap(Command(0x80, 0x70, 0, 0))
        assert (sent.le, b"\x97\x01\x00" in sent.data) == (0, added)
        assert card.unwrap(sent).le == (0 if added else None)


@pytest.mark.parametrize(("mode", "same"), [("ecb", True), ("cbc", False)])
def test_the_mode_of_a_data_key_without_type_is_that_of_the_profile(mode: Any, *, same: bool) -> None:
    host, card = session_pair(0, host=Profile(dek_mode=mode))
    sealed = host.encrypt_sensitive(bytes(16))
    assert (sealed[:8] == sealed[8:]) == same
    assert card.decrypt_sensitive(sealed) == bytes(16)
    with pytest.raises(Refusal, match="6A80"):
        card.decrypt_sensitive(bytes(9))


@pytest.mark.parametrize(("key_type", "same"), [(0x83, True), (0x82, False)])
@pytest.mark.parametrize("profile", [Profile(), Profile(dek_mode="cbc")])
def test_the_type_of_a_data_key_says_its_mode_whatever_the_profile(
    key_type: int, profile: Profile, *, same: bool
) -> None:
    reference = ControlReference(0xC0, key_type, bytes(range(16)))
    references = read_parameters(SecurityParameters(0, ((0xB8, reference.build()),)).build(), 2)[1]
    dek = session_keys(references, transported, profile).dek
    assert dek is not None
    sealed = dek.encrypt(bytes(16))
    assert (sealed[:8] == sealed[8:]) == same
    assert dek.decrypt(sealed) == bytes(16)


def test_without_a_data_key_the_card_opens_nothing() -> None:
    with pytest.raises(Refusal, match="6985"):
        session_pair(0, SHARED_KEYS[:2])[1].decrypt_sensitive(bytes(8))


def test_of_two_data_keys_the_profile_chooses_the_one_for_commands() -> None:
    def sealed(keys: Any, profile: Profile) -> bytes:
        return session_pair(0, keys, host=profile)[0].encrypt_sensitive(bytes(8))

    profiles = Profile(), Profile(command_dek=0x40)
    assert len({sealed(((0xB8, 0x80), (0xB8, 0x40)), profile) for profile in profiles}) == 2
    for bit in (0x80, 0x40):
        assert len({sealed(((0xB8, bit),), profile) for profile in profiles}) == 1


# ---- many commands


class Sessions(RuleBasedStateMachine):
    """Any run of commands and answers: what one end says is what the other hears, until somebody interferes."""

    @initialize(level=st.sampled_from(LEVELS), keys=st.sampled_from([SHARED_KEYS, SEPARATE_KEYS]))
    def open(self, level: int, keys: Any) -> None:
        self.level = level
        self.host, self.card = session_pair(level, keys)

    @rule(
        data=st.binary(max_size=60),
        le=st.sampled_from([None, 0, 5]),
        cla=st.sampled_from([0x00, 0x80]),
        answer=st.binary(max_size=60),
        sw=st.sampled_from([0x9000, 0x6310, 0x6A80]),
    )
    def exchange(self, data: bytes, le: int | None, cla: int, answer: bytes, sw: int) -> None:
        command = Command(cla, 0xE2, 1, 2, data, le)
        heard = self.card.unwrap(self.host.wrap(command))
        assert (heard.cla, heard.ins, heard.p1, heard.p2, heard.data) == (cla, 0xE2, 1, 2, data)
        response = Response(answer if sw != 0x6A80 else b"", sw)
        assert self.host.unwrap(self.card.wrap(response)) == response

    @rule(data=st.binary(min_size=1, max_size=60), cla=st.sampled_from([0x8C, 0x80, 0x88, 0x84, 0xE0]))
    def a_foreign_command_is_refused(self, data: bytes, cla: int) -> None:
        if self.level & Level.C_MAC:
            with pytest.raises(Refusal, match="6982"):
                session_pair(self.level)[1].unwrap(Command(cla, 0xE2, 0, 0, data))

    @invariant()
    def stays_open(self) -> None:
        assert self.host.is_open


TestSessions = Sessions.TestCase
TestSessions.settings = settings(max_examples=20, stateful_step_count=12, deadline=None)
