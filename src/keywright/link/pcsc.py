"""A card in a real reader, through PC/SC (extra `pcsc`: pyscard).

A campaign must not share a card: an operating system that probes it selects other applets between our commands and so
ends the session. So the card is taken exclusively, or one transaction is held from opening to closing. `shared` is for
looking at a card that another program uses, `direct` for talking to the reader itself, with a card in it or without.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any, Final, Literal, final

from keywright.errors import DecodeError, LinkError, UsageError

Mode = Literal["exclusive", "transaction", "shared", "direct"]
Protocol = Literal["any", "t0", "t1"]

FEATURES: Final = {
    0x06: "verify PIN",
    0x07: "modify PIN",
    0x0A: "PIN properties",
    0x12: "properties",
    0x13: "CCID escape",
    0x20: "PACE",
}
"""What a reader may offer by control code (PC/SC part 10, 2.3)."""
CCID_ESCAPE: Final = 0x13

_GET_FEATURES: Final = 3400

# PC/SC code -> what it means, whether the command can have reached the card, what to do (PC/SC part 5, annex A).
_CODES: dict[int, tuple[str, bool | None, str]] = {
    0x80100068: ("the card was reset by another program", False, "start the session again, without the other program"),
    0x80100069: ("the card was removed", None, "put the card back and probe it"),
    0x8010000C: ("no card in the reader", False, "put a card in"),
    0x80100066: ("the card does not answer to a reset", False, "clean the contacts or turn the card round"),
    0x80100067: ("the card has no power", False, "reset the card"),
    0x8010000B: ("another program uses the card", False, "stop the other program (gpg's scdaemon is a usual one)"),
    0x8010000F: ("no protocol in common with the card, or not now", False, "stop other programs; look at its ATR"),
    0x80100013: ("the PC/SC service was lost", None, "start pcscd and probe the card"),
    0x80100009: ("there is no such reader", False, "look at the list of readers"),
    0x80100017: ("the reader was taken away", None, "plug the reader in and probe the card"),
    0x8010002E: ("there is no reader", False, "plug a reader in"),
    0x8010001D: ("the PC/SC service does not run", False, "start pcscd"),
    0x8010001E: ("the PC/SC service was stopped", None, "start pcscd and probe the card"),
    0x80100016: ("the exchange with the card failed", None, "probe the card"),
}


def control_code(number: int) -> int:
    """SCARD_CTL_CODE of pcsc-lite, where Windows has 310000 | number << 2."""
    return 0x42000000 + number


def list_readers() -> list[str]:
    """Names of the readers, in the order of the system. Raises LinkError, UsageError if pyscard is not installed."""
    scard = pyscard()
    context = establish_context(scard)
    try:
        return reader_names(scard, context)
    finally:
        scard.SCardReleaseContext(context)


@final
class PcscLink:
    """A card in a PC/SC reader, held for itself until `close`, which leaves the card powered as it is.

    61xx and 6Cxx are not followed here. Under T=0 the Le of a case 4 command is left out, as its TPDU has none.
    """

    def __init__(
        self, reader: str, *, mode: Mode = "exclusive", extended: bool | None = None, protocol: Protocol = "any"
    ) -> None:
        """Connect. reader: a name, or a part that only one reader has. extended: None: if the card runs T=1.

        protocol: what to ask the card for; with `any` pcsc-lite takes T=1 where the ATR offers both. Raises LinkError
        (no service, no reader, no card, card in use, protocol not offered), UsageError if pyscard is not installed.
        """
        scard = self._scard = pyscard()
        self._mode = mode
        self._asked_protocol = protocol
        self._asked_extended = extended
        self._card: Any = None
        self.protocol = 0
        self.atr = b""
        self.name = f"pcsc:{reader}"
        self._context: Any = establish_context(scard)
        try:
            self._reader = choose_reader(reader, reader_names(scard, self._context))
            self.name = f"pcsc:{self._reader}"
            self._connect()
        except BaseException:
            self.close()
            raise

    @property
    def extended(self) -> bool:
        """Whether extended-length APDUs may be sent: never in plain T=0."""
        return self._t1 if self._asked_extended is None else self._asked_extended

    def exchange(self, command: bytes, /) -> bytes:
        """Send a command and wait for its answer. Raises LinkError."""
        scard = self._scard
        card = self._connected()
        if self._mode == "direct":
            raise LinkError(f"{self.name}: connected to the reader, not to a card", delivered=False)
        pci = scard.SCARD_PCI_T1 if self._t1 else scard.SCARD_PCI_T0
        sent = command if self._t1 else _without_le(command)
        code, answer = scard.SCardTransmit(card, pci, list(sent))
        self._check(code, "no answer")
        if len(answer) < 2:
            raise LinkError(f"{self.name}: an answer of {len(answer)} bytes has no status word", delivered=None)
        return bytes(byte & 0xFF for byte in answer)

    def features(self) -> dict[int, int]:
        """What the reader offers beside cards: feature (`FEATURES`) to its control code; empty if it says nothing.

        Raises LinkError when the reader answers what is no list of features.
        """
        code, answer = self._scard.SCardControl(self._connected(), control_code(_GET_FEATURES), [])
        if code != self._scard.SCARD_S_SUCCESS:
            return {}
        try:
            return parse_features(bytes(byte & 0xFF for byte in answer))
        except DecodeError as error:
            raise LinkError(f"{self.name}: {error}", delivered=True) from error

    def escape(self, data: bytes) -> bytes:
        """Send bytes to the reader itself (CCID PC_to_RDR_Escape), and return its answer. Raises LinkError.

        What they do is the reader's business; pcsc-lite allows it only where its driver is configured to.
        """
        number = self.features().get(CCID_ESCAPE)
        if number is None:
            raise LinkError(
                f"{self.name}: the reader takes no escape commands",
                delivered=False,
                hint="its driver must allow them: ifdDriverOptions 0x0001 in Info.plist of libccid",
            )
        code, answer = self._scard.SCardControl(self._connected(), number, list(data))
        self._check(code, "escape")
        return bytes(byte & 0xFF for byte in answer)

    def _connected(self) -> Any:
        if self._card is None:
            raise LinkError(f"{self.name}: not connected", delivered=False, hint="reset the link")
        return self._card

    def reset(self) -> bytes:
        """Reset the card, or connect to the one that is there now, and return its ATR. Raises LinkError."""
        scard = self._scard
        if self._card is not None:
            if self._reconnect() == scard.SCARD_S_SUCCESS:
                self._read_atr()
                return self.atr
            self._disconnect()
        self._connect()
        self._check(self._reconnect(), "not reset")
        self._read_atr()
        return self.atr

    def close(self) -> None:
        """Let go of the card, which keeps its power, and of the service; twice does no harm."""
        self._disconnect()
        if self._context is not None:
            self._scard.SCardReleaseContext(self._context)
            self._context = None

    def _reconnect(self) -> int:
        """A warm reset; the code of PC/SC."""
        scard = self._scard
        code, protocol = scard.SCardReconnect(self._card, self._share, self._protocols, scard.SCARD_RESET_CARD)
        if code == scard.SCARD_S_SUCCESS:
            self.protocol = protocol
        return int(code)

    @property
    def _t1(self) -> bool:
        return bool(self.protocol == self._scard.SCARD_PROTOCOL_T1)

    @property
    def _share(self) -> int:
        scard = self._scard
        modes = {"exclusive": scard.SCARD_SHARE_EXCLUSIVE, "direct": scard.SCARD_SHARE_DIRECT}
        return int(modes.get(self._mode, scard.SCARD_SHARE_SHARED))

    @property
    def _protocols(self) -> int:
        scard = self._scard
        if self._mode == "direct":
            return 0
        choice = {"t0": scard.SCARD_PROTOCOL_T0, "t1": scard.SCARD_PROTOCOL_T1}
        return int(choice.get(self._asked_protocol, scard.SCARD_PROTOCOL_T0 | scard.SCARD_PROTOCOL_T1))

    def _connect(self) -> None:
        if self._context is None:
            raise LinkError(f"{self.name}: the link is closed", delivered=False)
        scard = self._scard
        code, card, protocol = scard.SCardConnect(self._context, self._reader, self._share, self._protocols)
        self._check(code, "not connected")
        self._card, self.protocol = card, protocol
        if self._mode == "transaction":
            self._check(scard.SCardBeginTransaction(card), "no transaction")
        if self._mode != "direct":
            self._read_atr()

    def _read_atr(self) -> None:
        code, _, _, _, atr = self._scard.SCardStatus(self._card)
        self._check(code, "no ATR")
        self.atr = bytes(byte & 0xFF for byte in atr)

    def _disconnect(self) -> None:
        if self._card is None:
            return
        if self._mode == "transaction":
            self._scard.SCardEndTransaction(self._card, self._scard.SCARD_LEAVE_CARD)
        self._scard.SCardDisconnect(self._card, self._scard.SCARD_LEAVE_CARD)
        self._card = None

    def _check(self, code: int, what: str) -> None:
        check_code(self._scard, code, f"{self.name}: {what}")


def parse_features(data: bytes) -> dict[int, int]:
    """Tag (1), length 04, control code (4, big-endian), again and again (PC/SC part 10, 2.2). Raises DecodeError."""
    found: dict[int, int] = {}
    for at in range(0, len(data), 6):
        entry = data[at : at + 6]
        if len(entry) != 6 or entry[1] != 4:
            raise DecodeError("the reader's list of features is not one", at)
        found[entry[0]] = int.from_bytes(entry[2:])
    return found


def pyscard() -> Any:
    """The C layer of pyscard. Raises UsageError if it is not installed."""
    try:
        from smartcard import scard  # noqa: PLC0415 - an optional extra  # pyright: ignore[reportMissingImports] - as said
    except ImportError as error:
        raise UsageError("PC/SC needs pyscard", hint="install the extra: pip install 'keywright[pcsc]'") from error
    return scard


def establish_context(scard: Any) -> Any:
    """A context of its own, to be released by the caller; one for each thread. Raises LinkError."""
    code, context = scard.SCardEstablishContext(scard.SCARD_SCOPE_USER)
    check_code(scard, code, "PC/SC")
    return context


def reader_names(scard: Any, context: Any) -> list[str]:
    """The readers, none if there are none. Raises LinkError."""
    code, readers = scard.SCardListReaders(context, [])
    if code & 0xFFFFFFFF == 0x8010002E:
        return []
    check_code(scard, code, "PC/SC")
    return [str(reader) for reader in readers]


def choose_reader(wanted: str, readers: Sequence[str]) -> str:
    """The reader of that name, or the only one whose name has `wanted` in it. Raises LinkError."""
    if wanted in readers:
        return wanted
    found = [reader for reader in readers if wanted.casefold() in reader.casefold()]
    if len(found) == 1:
        return found[0]
    listed = ", ".join(found or readers) or "none"
    what = "several readers match" if found else "no such reader"
    raise LinkError(f"pcsc:{wanted}: {what}; there are: {listed}", delivered=False, hint="give the whole name")


def check_code(scard: Any, code: int, what: str) -> None:
    """Raise LinkError for any code but success."""
    if code == scard.SCARD_S_SUCCESS:
        return
    code &= 0xFFFFFFFF
    meaning, delivered, hint = _CODES.get(code, ("", None, ""))
    if not meaning:
        with contextlib.suppress(Exception):
            meaning = str(scard.SCardGetErrorMessage(code))
    raise LinkError(f"{what}: {meaning or 'PC/SC error'} ({code:08X})", delivered=delivered, hint=hint)


def _without_le(command: bytes) -> bytes:
    """A short case 4 command without its Le; any other unchanged: a T=0 header has one P3."""
    return command[:-1] if len(command) > 5 and len(command) == 6 + command[4] else command
