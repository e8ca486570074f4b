"""Yubico's host library on a canned card: the same key set, the same answers, and no wire beneath."""

from __future__ import annotations

from typing import Any

from yubikit.core import TRANSPORT
from yubikit.core.smartcard import ScpProcessor, ShortApduFormatter, SmartCardConnection, SmartCardProtocol
from yubikit.core.smartcard.scp import KeyRef, Scp03KeyParams, ScpKid, ScpState, StaticKeys


class Canned(SmartCardConnection):
    """Answers every command with the same bytes."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    @property
    def transport(self) -> TRANSPORT:
        """NFC, where yubikit sends short APDUs."""
        return TRANSPORT.NFC

    def send_and_receive(self, apdu: bytes) -> tuple[bytes, int]:
        """The canned answer."""
        del apdu
        return self._answer, 0x9000

    def close(self) -> None:
        """Nothing to close."""


class ForeignHost:
    """yubikit's own functions in yubikit's own order (`SmartCardProtocol.init_scp`), with a given host challenge."""

    def __init__(self, keys: tuple[bytes, bytes, bytes], answer: bytes, host_challenge: bytes) -> None:
        self._protocol = SmartCardProtocol(Canned(answer))
        self._silent = SmartCardProtocol(Canned(b""))
        self._params = Scp03KeyParams(KeyRef(ScpKid.SCP03, 0xFF), StaticKeys(*keys))
        self._challenge = host_challenge

    def open(self) -> ScpProcessor:
        """INITIALIZE UPDATE answered, keys derived, cryptogram checked, EXTERNAL AUTHENTICATE built and sent."""
        state, cryptogram = ScpState.scp03_init(
            self._protocol.send_apdu, self._params, host_challenge=self._challenge
        )
        processor = self.channel(state)
        processor.send_apdu(0x84, 0x82, 0x33, 0, cryptogram, 0, encrypt=False)
        return processor

    def channel(self, state: ScpState) -> ScpProcessor:
        """A channel whose commands are built and answered with 9000 and nothing to open."""
        base: Any = self._silent._processor  # noqa: SLF001 - what init_scp itself wraps
        return ScpProcessor(base, ShortApduFormatter(), state)
