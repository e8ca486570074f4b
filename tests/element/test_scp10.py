"""SCP10 on the element: its class byte, and the identifier of key agreement. Every session is in the combinations."""

from __future__ import annotations

import pytest

from keywright.iso7816.apdu import Command
from support.cards import Terminal, element
from support.combinations.scp10 import Scp10
from support.combinations.sessions import Wire

AGREED = Scp10(3, 0x33, "shared", 16, mutual=True, card_key="known", form="A", bits=1024)
ENCRYPTED = AGREED._replace(i=2, level=0x02)


@pytest.mark.parametrize(("kind", "cla"), [(AGREED, 0x8C), (ENCRYPTED, 0x88)])
def test_a_class_of_iso_secure_messaging_reaches_a_session_of_scp10(kind: Scp10, cla: int) -> None:
    wire = Wire(kind)
    host = wire.open()
    command = host.wrap(Command(0x80, 0xCA, 0x9F, 0x7F, b"", 0))
    assert command.cla == cla if kind is AGREED else command.cla in (0x80, cla)
    assert host.unwrap(wire(command)).data.startswith(b"\x9f\x7f")


def test_without_a_session_such_a_class_is_6982_where_scp10_is_offered_and_else_6882() -> None:
    assert Wire(AGREED).send(bytes.fromhex("8CCA9F7F00")) == 0x6982
    assert Terminal(element()).sw("8CCA9F7F00") == 0x6882
    here = Terminal(element())
    here.authenticate()
    assert here.sw("8CCA9F7F00") == 0x6882


def test_the_identifier_of_the_domain_is_the_end_of_the_holder_reference_of_its_stored_certificate() -> None:
    assert Wire(AGREED).run().is_open
