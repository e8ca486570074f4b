"""Yubico's host library with nothing beneath it: its own functions in its own order, commands going nowhere."""

from __future__ import annotations

from yubikit.core.smartcard import ApduProcessor, ScpProcessor, ShortApduFormatter
from yubikit.core.smartcard.scp import KeyRef, Scp03KeyParams, ScpKid, ScpState, StaticKeys


class Silence(ApduProcessor):  # type: ignore[misc]  # mypy does not follow the imports of yubikit
    """Stands where the transport would: 9000 to everything."""

    def send_apdu(self, cla: int, ins: int, p1: int, p2: int, data: bytes, le: int) -> tuple[bytes, int]:
        """No data and 9000."""
        del cla, ins, p1, p2, data, le
        return b"", 0x9000


class ForeignHost:
    """What `SmartCardProtocol.init_scp` does, with a given host challenge and a canned answer."""

    def __init__(self, keys: tuple[bytes, bytes, bytes], kvn: int, host_challenge: bytes, answer: bytes) -> None:
        self._params = Scp03KeyParams(KeyRef(ScpKid.SCP03, kvn), StaticKeys(*keys))
        self._challenge = host_challenge
        self._answer = answer
        self._formatter = ShortApduFormatter()

    def open(self) -> ScpProcessor:
        """The answer to INITIALIZE UPDATE taken, keys derived, cryptograms, EXTERNAL AUTHENTICATE built."""
        state, cryptogram = ScpState.scp03_init(self._answered, self._params, host_challenge=self._challenge)
        processor = ScpProcessor(Silence(), self._formatter, state)
        processor.send_apdu(0x84, 0x82, 0x33, 0, cryptogram, 0, encrypt=False)
        return processor

    def _answered(self, cla: int, ins: int, p1: int, p2: int, data: bytes) -> bytes:
        del cla, ins, p1, p2, data
        return self._answer
