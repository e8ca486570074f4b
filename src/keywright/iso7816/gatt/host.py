"""The host's end of the APDU service: one command at a time, its answer or a failure by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from keywright.errors import DecodeError, SequenceError, WireError
from keywright.iso7816.gatt.messages import (
    ANSWER,
    ATR,
    CODES,
    COMMAND,
    ERROR,
    LIMIT_S,
    LONGEST,
    RESET,
    Joiner,
    cut,
)
from keywright.iso7816.transport import Activated, Answered, Failed, Failure, HostEvent, earliest


@final
class GattHost:
    """Endpoint: frames are the values written and notified, on one connection that the host listens to."""

    def __init__(self, mtu: int) -> None:
        """mtu: ATT_MTU of the connection."""
        self.atr: bytes | None = None
        """Answer to reset as the card last told it, None before."""
        self.why_lost = ""
        """Why the connection is gone, empty while it is not."""
        self._mtu = mtu
        self._is_down = ""
        self._joiner = Joiner((ANSWER, ATR, ERROR))
        self._awaits = 0
        self._until: float | None = None
        self._values: list[bytes] = []
        self._values_at = 0.0
        self._events: list[HostEvent] = []

    @property
    def is_closed(self) -> bool:
        """Whether the connection is over."""
        return bool(self.why_lost)

    def command(self, apdu: bytes, now: float) -> None:
        """Begin one command APDU; after a failure none until a reset. Raises SequenceError while one is under way."""
        if len(apdu) > LONGEST:
            self._fail(Failure.UNSENDABLE, f"a command of {len(apdu)} octets", delivered=False, is_down=False)
            return
        self._ask(COMMAND, ANSWER, apdu, now)

    def request_reset(self, now: float) -> None:
        """Ask for a reset of the device; it ends with `Activated`. Raises SequenceError as `command`."""
        self._ask(RESET, ATR, b"", now)

    def reset(self, now: float) -> None:
        """Begin anew, as after a reset of the card; what was under way is forgotten without an event."""
        del now
        self._joiner.forget()
        self._awaits, self._until, self._is_down = 0, None, ""
        self._values, self._events = [], []

    def parity_error(self, now: float) -> None:
        """There are none on this transport."""

    def disconnected(self, why: str, now: float) -> None:
        """The connection is gone."""
        del now
        self.why_lost = self.why_lost or why
        if self._awaits:
            self._fail(Failure.SILENCE, why, delivered=None)

    def receive(self, data: bytes, now: float) -> None:
        """Take one value."""
        try:
            message = self._joiner.take(data, now)
        except (DecodeError, WireError) as error:
            if self._awaits:
                self._fail(Failure.ILLEGAL, f"the card sent what no rule allows: {error}", delivered=None)
            return
        if self._awaits:
            self._until = now + LIMIT_S
        if message is not None:
            self._take(*message)

    def outgoing(self, now: float) -> Sequence[bytes]:
        """Values to write now; also notes that the card is silent for too long."""
        if self._until is not None and now >= self._until:
            self._joiner.forget()
            self._fail(Failure.SILENCE, f"no answer in {LIMIT_S:.0f} s", delivered=None)
        values, self._values = self._values, []
        return values

    def deadline(self) -> float | None:
        """When `outgoing` is due."""
        return earliest(self._values_at if self._values else None, self._until)

    def events(self) -> Sequence[HostEvent]:
        """What has happened."""
        events, self._events = self._events, []
        return events

    def _ask(self, kind: int, awaits: int, message: bytes, now: float) -> None:
        if self._awaits:
            raise SequenceError("a command is under way already")
        why = self.why_lost or (self._is_down if kind == COMMAND else "")
        if why:
            self._fail(Failure.DOWN, why, delivered=False)
            return
        self._awaits, self._until, self._values_at = awaits, now + LIMIT_S, now
        self._values += cut(kind, message, self._mtu)

    def _take(self, kind: int, octets: bytes) -> None:
        if kind == ATR:
            self.atr = octets
        if kind == ERROR and self._awaits:
            code = octets[0] if octets else 0
            what = CODES.get(code, f"error {code:02X}")
            self._fail(Failure.ABORTED, f"the card took no command: {what}", delivered=False, is_down=False)
        elif kind == self._awaits:
            self._awaits, self._until, self._is_down = 0, None, ""
            self._events.append(Answered(octets) if kind == ANSWER else Activated(octets))

    def _fail(self, failure: Failure, text: str, *, delivered: bool | None, is_down: bool = True) -> None:
        self._awaits, self._until, self._values = 0, None, []
        if is_down:
            self._is_down = text
        self._events.append(Failed(failure, delivered, text, is_down))
