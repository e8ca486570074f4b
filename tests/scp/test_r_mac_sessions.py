"""BEGIN and END R-MAC SESSION of SCP03 against the virtual element (Amd D 7.1.3, 7.1.4)."""

from __future__ import annotations

import itertools

import pytest

from keywright.element import SecureElement
from keywright.errors import AuthenticationError, SequenceError, StatusError
from keywright.iso7816.apdu import Command, Response
from keywright.sansio.dialogue import drive
from keywright.scp.level import LEVELS, Level
from keywright.scp.scp03 import HostChannel, KeySet, open_channel
from support.cards import element

GET_CPLC = Command(0x80, 0xCA, 0x9F, 0x7F, le=0)
CPLC = 45
"""Bytes of the plain object."""


class Wire:
    """The element, and what crossed between it and the host."""

    def __init__(self, i: int = 0x70) -> None:
        self.card: SecureElement = element(i=i)
        self.answers: list[Response] = []
        self.flip = False

    def ask(self, command: Command) -> Response:
        raw = self.card.handle(command.encode())
        if self.flip:
            raw = bytes((raw[0] ^ 1,)) + raw[1:]
        self.answers.append(Response.parse(raw))
        return self.answers[-1]

    def open(self, level: int) -> HostChannel:
        return drive(open_channel(KeySet.gp_test(), bytes(8), level=level), self.ask)

    def read(self, session: HostChannel) -> int:
        """Bytes on the wire of a protected answer that says the same thing each time."""
        assert len(drive(session.secure(GET_CPLC), self.ask).data) == CPLC
        return len(self.answers[-1].data)


SIZES = {0x00: CPLC, 0x01: CPLC, 0x03: CPLC, 0x11: CPLC + 8, 0x13: CPLC + 8, 0x33: 48 + 8}


@pytest.mark.parametrize(
    ("level", "encrypted"), [(0x01, False), (0x03, False), (0x03, True)], ids=["01-10", "03-10", "03-30"]
)
def test_answers_are_protected_from_the_next_command_to_the_end(level: int, *, encrypted: bool) -> None:
    wire = Wire()
    session = wire.open(level)
    assert wire.read(session) == CPLC
    for _ in range(2):
        drive(session.begin_r_mac(encrypted=encrypted), wire.ask)
        assert wire.answers[-1].data == b"", "the answer to BEGIN is not protected yet"
        assert session.level == level | (0x30 if encrypted else 0x10)
        assert wire.read(session) == SIZES[session.level]
        drive(session.end_r_mac(), wire.ask)
        assert len(wire.answers[-1].data) == 8, "the answer to END is the last one with an R-MAC"
        assert session.level == level
        assert wire.read(session) == CPLC


@pytest.mark.parametrize("level", LEVELS)
def test_a_session_that_cannot_begin_one_says_so_before_anything_is_sent(level: int) -> None:
    wire = Wire()
    session = wire.open(level)
    sent = len(wire.answers)
    for encrypted in (False, True):
        if level & Level.R_MAC or level | (0x30 if encrypted else 0x10) not in LEVELS:
            with pytest.raises(SequenceError):
                drive(session.begin_r_mac(encrypted=encrypted), wire.ask)
    if not level & Level.R_MAC:
        with pytest.raises(SequenceError):
            drive(session.end_r_mac(), wire.ask)
    assert len(wire.answers) == sent
    assert session.is_open


@pytest.mark.parametrize(
    ("level", "ins", "p1", "p2"),
    [
        *((level, 0x7A, p1, 0x01) for level, p1 in itertools.product(LEVELS, (0x10, 0x30))),
        *((level, 0x78, 0x00, 0x03) for level in LEVELS),
    ],
)
def test_the_card_refuses_what_the_level_does_not_allow_and_the_session_lives(
    level: int, ins: int, p1: int, p2: int
) -> None:
    wire = Wire()
    session = wire.open(level)
    answer = drive(session.secure(Command(0x80, ins, p1, p2)), wire.ask)
    allowed = level & Level.R_MAC if ins == 0x78 else not level & Level.R_MAC and level | p1 in LEVELS
    assert answer.sw == (0x9000 if allowed else 0x6985)
    if not allowed:
        assert wire.read(session) == SIZES[level]


@pytest.mark.parametrize(
    ("ins", "p1", "p2"), [(0x7A, 0x00, 1), (0x7A, 0x20, 1), (0x7A, 0x10, 0), (0x78, 1, 3), (0x78, 0, 1)]
)
def test_other_parameters_are_refused_and_change_nothing(ins: int, p1: int, p2: int) -> None:
    wire = Wire()
    session = wire.open(0x03 if ins == 0x7A else 0x33)
    assert drive(session.secure(Command(0x80, ins, p1, p2)), wire.ask).sw == 0x6A86
    assert wire.read(session) == SIZES[session.level]


@pytest.mark.parametrize(("i", "encrypted"), [(0x10, False), (0x30, True)])
def test_a_card_whose_i_does_not_offer_it_refuses(i: int, *, encrypted: bool) -> None:
    wire = Wire(i)
    session = wire.open(0x03)
    with pytest.raises(StatusError, match="6985"):
        drive(session.begin_r_mac(encrypted=encrypted), wire.ask)
    assert wire.read(session) == CPLC


def test_a_changed_answer_ends_the_session_once_r_mac_has_begun() -> None:
    wire = Wire()
    session = wire.open(0x01)
    wire.flip = False
    drive(session.begin_r_mac(), wire.ask)
    wire.flip = True
    with pytest.raises(AuthenticationError):
        drive(session.secure(GET_CPLC), wire.ask)
    assert not session.is_open
