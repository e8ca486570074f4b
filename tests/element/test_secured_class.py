"""The secure messaging bit of the class where it does not belong, or is missing."""

from __future__ import annotations

import pytest

from keywright.iso7816.apdu import Command
from keywright.iso7816.channels import plain, secured
from keywright.sansio.dialogue import drive
from keywright.scp.scp03.host import external_authenticate, initialize_update
from keywright.scp.scp03.keys import KeySet
from keywright.scp.scp11.messages import SCP11A, SCP11B
from support.cards import HOST_CHALLENGE, Terminal, element
from support.combinations.scp11 import Scp11
from support.combinations.sessions import Wire


def test_external_authenticate_of_scp03_without_the_bit_opens_nothing() -> None:
    """Its C-MAC is over a class with the bit, whatever was sent."""
    here = Terminal(element())
    opening = drive(initialize_update(KeySet.gp_test(), HOST_CHALLENGE), here.exchange)
    command = next(external_authenticate(opening, 0x33))
    bare = Command(plain(command.cla), command.ins, command.p1, command.p2, command.data)
    assert here.exchange(bare).sw == 0x6982
    assert here.exchange(command).sw == 0x6985


@pytest.mark.parametrize(
    ("raw", "sw"), [("04A4040000", 0x6882), ("0470000001", 0x6882), ("8470000008" + "00" * 8, 0x6E00)]
)
def test_a_command_that_has_no_secure_messaging_ends_the_session_when_it_comes_with_it(raw: str, sw: int) -> None:
    here = Terminal(element())
    session = here.authenticate()
    assert here.sw(raw) == sw
    assert here.exchange(session.wrap(0x80, 0xF2, 0x80, 0x02, b"\x4f\x00")).sw == 0x6982


@pytest.mark.parametrize("kind", [Scp11(SCP11A), Scp11(SCP11B)])
@pytest.mark.parametrize("at", [0, -1])
def test_no_command_that_opens_a_session_of_scp11_may_have_it(kind: Scp11, at: int) -> None:
    wire = Wire(kind)
    wire.open()
    sent = [message.raw for message in wire.messages if not message.is_answer]
    sent[at] = bytes((secured(sent[at][0]),)) + sent[at][1:]
    again = Wire(kind)
    statuses = [again.send(raw) for raw in sent]
    assert {0x6882, 0x6883} & set(statuses)
    assert statuses[-1] != 0x9000
