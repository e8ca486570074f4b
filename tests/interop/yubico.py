"""Yubico's host library as a foreign off-card entity, and our own host beside it.

yubikit speaks SCP03 at level 33 with AES-128 only, sends an empty command under C-DEC as one block of padding,
extended APDUs over USB and ISO command chaining over NFC.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final

from yubikit.core import TRANSPORT
from yubikit.core.smartcard import SmartCardConnection
from yubikit.core.smartcard.scp import KeyRef, Scp03KeyParams, ScpKid, StaticKeys
from yubikit.securitydomain import SecurityDomainSession

from keywright.element import SecureElement
from keywright.globalplatform import host
from keywright.globalplatform.messages import KeyInformation, Tag
from keywright.iso7816.layers import transmit
from keywright.link import Loopback
from keywright.sansio.dialogue import drive
from keywright.scp.scp03 import HostChannel, KeySet, open_channel
from support.cards import ISD

TEST_KVN: Final = 0xFF
OWN_KVN: Final = 0x30
OTHER_KVN: Final = 0x31
OBJECT: Final = 0xDF01
"""A data object of the tests' own."""

Change = Callable[[bytes], bytes]


class Wire(SmartCardConnection):  # type: ignore[misc] # untyped base class
    """Carries yubikit's APDUs and keeps them; `changing` and `changing_answer` are what happens on the way."""

    def __init__(self, send: Callable[[bytes], bytes], transport: TRANSPORT = TRANSPORT.USB) -> None:
        """send: what takes a command APDU to a card, for example `SecureElement.handle`."""
        self._send = send
        self.changing: Change = bytes
        self.changing_answer: Change = bytes
        self.log: list[tuple[bytes, bytes]] = []
        self._transport = transport

    @property
    def transport(self) -> TRANSPORT:
        """USB makes yubikit send extended APDUs, NFC short ones that it chains."""
        return self._transport

    def send_and_receive(self, apdu: bytes) -> tuple[bytes, int]:
        """One exchange, as yubikit asks for it."""
        sent = self.changing(bytes(apdu))
        answer = self._send(sent)
        self.log.append((sent, answer))
        answer = self.changing_answer(answer)
        return answer[:-2], int.from_bytes(answer[-2:])

    def close(self) -> None:
        """Nothing is held here."""

    def commands(self, ins: int) -> list[bytes]:
        """What was sent with this instruction."""
        return [command for command, _ in self.log if command[1] == ins]

    @property
    def sw(self) -> int:
        """Status word of the last answer."""
        return int.from_bytes(self.log[-1][1][-2:])


def static(keys: KeySet) -> StaticKeys:
    """Our key set as yubikit takes it."""
    return StaticKeys(keys.enc.reveal(), keys.mac.reveal(), keys.dek.reveal())


def params(keys: KeySet | None = None, kvn: int = 0) -> Scp03KeyParams:
    """What yubikit opens a session with; the test keys if none are given."""
    return Scp03KeyParams(KeyRef(ScpKid.SCP03, kvn), static(keys or KeySet.gp_test()))


def ref(kvn: int) -> KeyRef:
    """An SCP03 key set of this version number."""
    return KeyRef(ScpKid.SCP03, kvn)


def foreign_session(wire: Wire, keys: KeySet | None = None, kvn: int = 0) -> SecurityDomainSession:
    """An authenticated session of yubikit, shown to be one by its level."""
    session = SecurityDomainSession(wire)
    session.authenticate(params(keys, kvn))
    assert session.get_data(Tag.SECURITY_LEVEL) == b"\xb3"
    return session


def ask(card: SecureElement, dialogue: host.Dialogue[Any]) -> Any:
    """Our host, in the clear, after a reset of the element."""
    card.reset()
    return drive(dialogue, transmit(Loopback(card)))


def versions(card: SecureElement) -> tuple[int, ...]:
    """Key version numbers that our host reads."""
    information: KeyInformation = ask(card, host.key_information())
    return information.versions


def our_session(card: SecureElement, keys: KeySet, kvn: int) -> HostChannel:
    """A session of our host, which also recomputes a pseudo-random card challenge."""
    channel: HostChannel = ask(card, open_channel(keys, os.urandom(8), kvn=kvn, aid=ISD))
    return channel


def manage(card: SecureElement, keys: KeySet, kvn: int, dialogue: host.Dialogue[Any]) -> None:
    """Our host does something in a session of its own."""
    drive(host.secured(our_session(card, keys, kvn), dialogue), transmit(Loopback(card)))


def flipping(ins: int, place: int) -> Change:
    """Flip a bit of every command with this instruction; `place` -1 is the last byte of the data, Le aside."""

    def change(command: bytes) -> bytes:
        if command[1] != ins:
            return command
        changed = bytearray(command)
        changed[place] ^= 0x01
        return bytes(changed)

    return change
