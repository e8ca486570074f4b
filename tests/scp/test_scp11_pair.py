"""Both ends of SCP11 against each other: every kind of session, and a tampering of each.

Each end was proven alone by foreign bytes (`test_scp11_host`, `test_scp11_card`) before they meet here.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from typing import NamedTuple

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize

from keywright.crypto.aes import AesKey
from keywright.crypto.ec import CURVES
from keywright.errors import AuthenticationError, KeywrightError, SequenceError
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.channels import with_channel
from keywright.sansio.dialogue import drive
from keywright.scp.scp11.authority import Form
from keywright.scp.scp11.card import State
from keywright.scp.scp11.host import Card, HostChannel, open_channel, prepare_script, read_certificates, verify_card
from keywright.scp.scp11.messages import (
    SCP11A,
    SCP11B,
    SCP11C,
    USAGE_OF_LEVEL,
    VARIANTS,
    I,
    KeyReference,
    Variant,
)
from keywright.scp.scp11.profile import ALL_USAGES, Ecka, Fragments, GroupId, Profile
from keywright.scp.session import CardSession, HostSession
from support.adversary import Adversary
from support.scp11 import KLOC, CardEnd, authority, domain, holder, key

LEVELS = tuple(USAGE_OF_LEVEL)
SLOW = ("P-384", "P-521", "brainpoolP256r1", "brainpoolP384r1", "brainpoolP512r1")
FORMS: tuple[Form, ...] = ("x509", "gp")
STYLES: tuple[Fragments, ...] = ("p1", "p1-chained", "chained", "extended")
AGREEMENTS: tuple[Ecka, ...] = ("x", "sha1")
GROUPS: tuple[GroupId, ...] = ("lv", "raw")
HOST_ID = bytes.fromhex("8080808080808080")
DATA = (b"", b"\x00", bytes(15), bytes(range(16)), bytes(200))


class Kind(NamedTuple):
    """One kind of session."""

    variant: Variant
    curve: str = "P-256"
    key_length: int = 16
    s16: bool = False
    level: int = 0x33
    host_id: bytes | None = None
    form: Form = "x509"
    channel: int = 0
    fragments: Fragments = "chained"
    pads_empty: bool = False
    ecka: Ecka = "x"
    group_id: GroupId = "lv"

    def __str__(self) -> str:
        told = (part.hex() if isinstance(part, bytes) else str(part) for part in self[1:])
        return "-".join((self.variant.letter, *told))


def kinds() -> Iterator[Kind]:
    """Every variant with every form of certificates and HostID; every other choice beside some of these."""
    for variant, form, host_id, s16 in itertools.product(VARIANTS, FORMS, (None, HOST_ID), (False, True)):
        yield Kind(variant, form=form, host_id=host_id, s16=s16)
    for number, (variant, curve) in enumerate(itertools.product(VARIANTS, SLOW)):
        yield Kind(
            variant,
            curve,
            (16, 24, 32)[number % 3],
            s16=bool(number % 2),
            form=FORMS[number % 2],
            host_id=HOST_ID if number % 4 == 0 else None,
        )
    for variant, (size, s16, level) in itertools.product(
        VARIANTS, itertools.product((16, 24, 32), (False, True), LEVELS)
    ):
        yield Kind(variant, key_length=size, s16=s16, level=level, pads_empty=size == 24)
    for channel, fragments in itertools.product((1, 3, 4, 11, 19), STYLES):
        yield Kind(SCP11A, channel=channel, fragments=fragments, form=FORMS[channel % 2])
    for ecka, group_id in itertools.product(AGREEMENTS, GROUPS):
        yield Kind(SCP11C, ecka=ecka, group_id=group_id, host_id=b"", form="gp")
        yield Kind(SCP11C, ecka=ecka, group_id=group_id, host_id=bytes(255))


KINDS = tuple(dict.fromkeys(kinds()))


@functools.cache
def profile(kind: Kind) -> Profile:
    default = Profile()
    i = default.i | (I.S16 << 8 if kind.s16 else 0)
    return msgspec.structs.replace(
        default,
        i=i,
        usages=ALL_USAGES,
        fragments=kind.fragments,
        pads_empty=kind.pads_empty,
        ecka=kind.ecka,
        group_id=kind.group_id,
    )


@functools.cache
def card_key(kind: Kind) -> Card:
    """What the host knows after it has read and verified the card's certificates."""
    made = domain(kind.curve, kind.form)
    chains = drive(read_certificates(KeyReference(kind.variant.kid, 1)), CardEnd(made))
    leaf = verify_card(chains, [authority("card", kind.form)[0].public])
    assert leaf.public_key is not None
    return Card(leaf.public_key, 1, leaf.subject_id, b"\x42\x00\x00\x01", bytes(range(8)))


def card_of(kind: Kind) -> CardEnd:
    return CardEnd(domain(kind.curve, kind.form, profile=profile(kind)))


def opened(kind: Kind, card: CardEnd) -> HostChannel:
    known = card_key(kind)
    if kind.host_id is not None and kind.variant.is_static:
        assert known.group_id
    return drive(
        open_channel(
            kind.variant,
            known,
            key(kind.curve, "ephemeral OCE"),
            holder=holder(kind.form, kind.curve) if kind.variant.authenticates_host else None,
            level=kind.level,
            key_length=kind.key_length,
            host_id=kind.host_id,
            channel=kind.channel,
            profile=profile(kind),
        ),
        card,
    )


def test_both_ends_are_sessions_as_the_house_knows_them() -> None:
    card = card_of(Kind(SCP11B))
    host: HostSession = opened(Kind(SCP11B), card)
    own = card.session
    assert own is not None
    other: CardSession = own
    assert (host.scp, other.scp, host.kvn, host.channel, host.i) == (17, 17, 1, 0, Profile().i)
    assert (host.sensitive_block, other.sensitive_block, other.authentication) == (16, 16, 0)


def test_the_kinds_cover_every_choice() -> None:
    assert {kind.variant for kind in KINDS} == set(VARIANTS)
    assert {kind.curve for kind in KINDS} == set(CURVES)
    assert {kind.level for kind in KINDS} == set(LEVELS)
    assert len(KINDS) > 100


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_every_kind_of_session_carries_every_shape_of_command(kind: Kind) -> None:
    card = card_of(kind)
    session = opened(kind, card)
    assert card.initiation.state is State.OPEN
    assert card.session is not None
    assert (session.level, card.session.level) == (kind.level, kind.level)
    for data, le, answer in itertools.product(DATA, (None, 0), DATA[::2]):
        command = Command(with_channel(0x80, kind.channel), 0xE2, 1, 2, data, le)
        card.answer = Response(answer)
        assert session.unwrap(card(session.wrap(command))) == card.answer
        assert card.received[-1] == command
    block = b"thirty-two bytes of a key set..."
    assert card.session.decrypt_sensitive(session.encrypt_sensitive(block)) == block


TAMPERED = (
    Kind(SCP11A),
    Kind(SCP11A, form="gp", host_id=HOST_ID, s16=True),
    Kind(SCP11B, host_id=HOST_ID),
    Kind(SCP11C, form="gp", host_id=HOST_ID),
    Kind(SCP11C, level=0x11),
)


class Tamper:
    """Between host and card: flips one bit of one message of the handshake."""

    def __init__(self, card: CardEnd, *, message: int, bit: int, answer: bool) -> None:
        self.card, self.message, self.bit, self.answer = card, message, bit, answer
        self.seen = 0
        self.sizes: list[tuple[int, int]] = []

    def __call__(self, command: Command) -> Response:
        number, self.seen = self.seen, self.seen + 1
        if number == self.message and not self.answer:
            command = msgspec.structs.replace(command, data=flipped(command.data, self.bit))
        response = self.card(command)
        if number == self.message and self.answer and response.data:
            response = Response(flipped(response.data, self.bit), response.sw)
        self.sizes.append((len(command.data), len(response.data)))
        return response


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@pytest.mark.parametrize("kind", TAMPERED, ids=str)
def test_one_flipped_bit_anywhere_in_the_handshake_opens_no_session_for_the_host(kind: Kind) -> None:
    quiet = Tamper(card_of(kind), message=-1, bit=0, answer=False)
    run(kind, quiet)
    tried = 0
    for message, (command, answer) in enumerate(quiet.sizes):
        for is_answer, size in ((False, command), (True, answer)):
            step = 1 if message == len(quiet.sizes) - 1 and is_answer else 53
            for bit in range(0, size * 8, step * 3):
                tamper = Tamper(card_of(kind), message=message, bit=bit, answer=is_answer)
                with pytest.raises(KeywrightError):
                    run(kind, tamper)
                tried += 1
    assert tried > 60


def run(kind: Kind, tamper: Tamper) -> HostChannel:
    known = card_key(kind)
    return drive(
        open_channel(
            kind.variant,
            known,
            key(kind.curve, "ephemeral OCE"),
            holder=holder(kind.form, kind.curve) if kind.variant.authenticates_host else None,
            ca_key=KeyReference(0x10, 3),
            level=kind.level,
            host_id=kind.host_id,
            profile=profile(kind),
        ),
        tamper,
    )


@pytest.mark.parametrize("kind", TAMPERED, ids=str)
def test_one_flipped_bit_of_a_command_ends_the_session_on_the_card(kind: Kind) -> None:
    for bit in range(0, 8 * 40, 7):
        card = card_of(kind)
        session = opened(kind, card)
        good = session.wrap(Command(0x80, 0xE2, 1, 2, bytes(20), 0))
        if bit < 16:
            changed = msgspec.structs.replace(good, p1=good.p1 ^ 1 << bit % 8)
        else:
            changed = msgspec.structs.replace(good, data=flipped(good.data, bit % (8 * len(good.data))))
        assert card(changed).sw == 0x6982
        assert (card.initiation.state, card.session) == (State.IDLE, None)
        assert card.received == []
        assert card(good).sw == 0x6982


@pytest.mark.parametrize("kind", TAMPERED, ids=str)
def test_one_flipped_bit_of_an_answer_closes_the_session_of_the_host(kind: Kind) -> None:
    for bit in range(0, 8 * 24, 5):
        card = card_of(kind)
        session = opened(kind, card)
        card.answer = Response(bytes(16))
        answer = card(session.wrap(Command(0x80, 0xCA, 1, 2, b"", 0)))
        with pytest.raises(AuthenticationError):
            session.unwrap(Response(flipped(answer.data, bit), answer.sw))
        with pytest.raises(SequenceError):
            session.wrap(Command(0x80, 0xCA, 1, 2, b"", 0))


@pytest.mark.parametrize("kind", [Kind(SCP11A), Kind(SCP11B)], ids=str)
def test_a_session_is_not_opened_again_from_what_was_recorded(kind: Kind) -> None:
    """With an ephemeral key of the card, the same script gives another session."""
    card = card_of(kind)
    session = opened(kind, card)
    command = session.wrap(Command(0x80, 0xCA, 0, 0x66, b"", 0))
    script = [sent for sent in card.sent if sent.ins in (0x2A, 0x82, 0x88)]
    again = card_of(kind)
    again.domain.ephemeral = lambda curve: key(curve, "another")
    assert [again(sent).sw for sent in script] == [0x9000] * len(script)
    assert again(command).sw == 0x6982


def test_a_script_of_scp11c_works_again_on_every_card_of_the_group() -> None:
    kind = Kind(SCP11C, form="gp", host_id=HOST_ID)
    card = card_of(kind)
    session = opened(kind, card)
    script = [*card.sent, session.wrap(Command(0x80, 0xE2, 0x90, 0, b"script", 0))]
    for _ in range(2):
        again = card_of(kind)
        answers = [again(sent) for sent in script if sent.ins != 0xCA]
        assert {answer.sw for answer in answers} == {0x9000}
        assert again.received[0].data == b"script"


def test_a_script_made_without_a_card_is_the_one_a_card_would_have_got() -> None:
    for host_id, level in ((None, 0x33), (HOST_ID, 0x33), (HOST_ID, 0x11)):
        kind = Kind(SCP11C, form="gp", host_id=host_id, level=level)
        shown, own = holder("gp", "P-256"), key("P-256", "ephemeral OCE")
        script, opening = prepare_script(
            card_key(kind), own, shown, KLOC, host_id=host_id, level=level, profile=profile(kind)
        )
        wrapped = script.wrap(Command(0x80, 0xE2, 0x90, 0, b"script", 0))
        with_card = card_of(kind)
        session = opened(kind, with_card)
        assert [sent for sent in with_card.sent if sent.ins != 0xCA] == list(opening)
        assert session.wrap(Command(0x80, 0xE2, 0x90, 0, b"script", 0)) == wrapped
        again = card_of(kind)
        again.answer = Response(b"done")
        assert {again(sent).sw for sent in opening} == {0x9000}
        assert script.unwrap(again(wrapped)) == Response(b"done")


def test_commands_are_not_accepted_twice_nor_out_of_order() -> None:
    for order in ((0, 0), (1,)):
        card = card_of(Kind(SCP11B))
        session = opened(Kind(SCP11B), card)
        commands = [session.wrap(Command(0x80, 0xE2, number, 0, b"x")) for number in (1, 2)]
        statuses = [card(commands[number]).sw for number in order]
        assert statuses[-1] == 0x6982
        assert statuses[:-1] == [0x9000] * (len(order) - 1)


def test_the_static_key_serves_where_both_ends_have_it() -> None:
    static = AesKey(bytes(range(24)))
    card = card_of(Kind(SCP11A))
    card.domain.deks = {(1, 0x12): static}
    known = card_key(Kind(SCP11A))
    own = key("P-256", "ephemeral OCE")
    dialogue = open_channel(SCP11A, known, own, holder=holder("x509"), static_dek=static, profile=Profile())
    session = drive(dialogue, card)
    assert session.encrypt_sensitive(bytes(16)) == static.encrypt_cbc(bytes(16), bytes(16))
    assert card.session is not None
    assert card.session.decrypt_sensitive(session.encrypt_sensitive(b"x" * 32)) == b"x" * 32


def test_a_remembered_host_opens_without_showing_its_certificates() -> None:
    remembering = msgspec.structs.replace(Profile(), i=Profile().i | I.PERSISTENT_PK << 8)
    made = domain(profile=remembering)
    known = card_key(Kind(SCP11A))
    first = CardEnd(made)
    drive(open_channel(SCP11A, known, key("P-256", "e"), holder=holder("x509"), profile=remembering), first)
    shown = msgspec.structs.replace(holder("x509"), chain=())
    second = CardEnd(made)
    drive(open_channel(SCP11A, known, key("P-256", "e"), holder=shown, profile=remembering), second)
    assert [command.ins for command in second.sent] == [0x82]


class Interference(Adversary):
    @initialize(kind=st.sampled_from([Kind(SCP11B), Kind(SCP11C, s16=True, key_length=32), Kind(SCP11A, form="gp")]))
    def open(self, kind: Kind) -> None:
        card = card_of(kind)
        self.host, self.card = opened(kind, card), card
        self.wire = card.sent[:]

    def repeatable(self) -> list[Command]:
        """Commands of the session: the handshake once more would open another."""
        return [command for command in self.wire if command.cla == 0x84]


TestAdversary = Interference.TestCase
TestAdversary.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
