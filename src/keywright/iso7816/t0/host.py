"""The host's end of T=0 (ISO 7816-3 section 10): procedure bytes, waiting time, and the commands of `mapping` in turn.

T=0 repeats single characters by its error signal, and nothing else: a lost or wrong exchange is never tried again, so
a command runs at most once. Any failure costs a reset.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from keywright.errors import SequenceError, WireError
from keywright.iso7816.apdu import Response
from keywright.iso7816.t0.header import Procedure, procedure
from keywright.iso7816.t0.mapping import Tpdu, TpduDialogue, UnsendableError, carry
from keywright.iso7816.t0.profile import T0Profile
from keywright.iso7816.transport import Answered, Failed, Failure, HostEvent, Outbox, earliest


@final
class T0Host:
    """Endpoint: the interface device of T=0. A frame is any run of characters."""

    def __init__(self, profile: T0Profile | None = None) -> None:
        self.profile = profile or T0Profile()
        self._events: list[HostEvent] = []
        self._outbox = Outbox()
        self._dialogue: TpduDialogue | None = None
        self._until: float | None = None
        self._tpdu: Tpdu | None = None
        self._is_down = False
        self._end()

    def command(self, apdu: bytes, now: float) -> None:
        """Send one command APDU. Raises SequenceError while one is under way."""
        if self._dialogue is not None:
            raise SequenceError("a command is under way on this card; T=0 takes one after the other")
        if self._is_down:
            self._events.append(Failed(Failure.DOWN, False, "the card was lost; reset it first"))
            return
        self._dialogue = carry(apdu, self.profile)
        self._advance(None, now)

    # ---- endpoint ---------------------------------------------------------------------------------------------

    def receive(self, data: bytes, now: float) -> None:
        """Take characters; what comes while nothing is awaited is dropped."""
        for byte in data:
            if self._tpdu is None or self._outbox.deadline() is not None:
                return
            self._until = now + self.profile.wait
            self._take(byte, now)

    def parity_error(self, now: float) -> None:  # noqa: ARG002 - the shape of `HostEnd`; nothing is timed here
        """A character stayed wrong although its error was signalled (7.3): nothing after it can be told apart."""
        if self._tpdu is not None:
            self._fail(Failure.DAMAGED, "a character stayed wrong through all repeats")

    def outgoing(self, now: float) -> Sequence[bytes]:
        """Characters to send now; also notes that WT is over."""
        if self._until is not None and now >= self._until:
            self._fail(Failure.SILENCE, "no character within the waiting time")
        return self._outbox.take(now)

    def deadline(self) -> float | None:
        """When `outgoing` is due."""
        return earliest(self._outbox.deadline(), self._until)

    def events(self) -> Sequence[HostEvent]:
        """What has happened."""
        events, self._events = self._events, []
        return events

    def reset(self, now: float) -> None:  # noqa: ARG002 - the shape of `HostEnd`; nothing is timed here
        """Begin anew, as after an answer to reset."""
        self._events.clear()
        self._outbox.clear()
        self._is_down = False
        self._end()

    # ---- one command ------------------------------------------------------------------------------------------

    def _end(self) -> None:
        self._dialogue = None
        self._may_have_run = False
        self._nulls = 0
        self._forget()

    def _forget(self) -> None:
        self._tpdu = None
        self._rest = b""
        self._found = bytearray()
        self._reads = 0
        self._sw1 = 0
        self._until = None

    def _advance(self, response: Response | None, now: float) -> None:
        """Give the dialogue its answer, and send what it wants next."""
        assert self._dialogue is not None
        try:
            tpdu = next(self._dialogue) if response is None else self._dialogue.send(response)
        except StopIteration as stop:
            self._end()
            self._events.append(Answered(stop.value.encode()))
        except UnsendableError as error:
            self._end()
            self._events.append(Failed(Failure.UNSENDABLE, False, str(error), is_down=False))
        except WireError as error:
            self._fail(Failure.ENDLESS, str(error))
        else:
            self._tpdu, self._rest = tpdu, tpdu.data
            self._send(tpdu.header.build(), now)

    def _send(self, characters: bytes, now: float) -> None:
        due = now + self.profile.guard
        self._outbox.put(characters, due)
        self._until = due + self.profile.duration(characters) + self.profile.wait
        assert self._tpdu is not None
        self._may_have_run = self._may_have_run or (self._tpdu.runs and not self._rest)

    def _fail(self, failure: Failure, text: str) -> None:
        delivered = None if self._may_have_run else False
        self._is_down = True
        self._outbox.clear()
        self._end()
        self._events.append(Failed(failure, delivered, f"{text}; the card must be reset"))

    # ---- characters of the card -------------------------------------------------------------------------------

    def _take(self, byte: int, now: float) -> None:
        assert self._tpdu is not None
        if self._reads:
            self._reads -= 1
            self._found.append(byte)
        elif self._sw1:
            self._on_status(self._sw1 << 8 | byte, now)
        else:
            self._on_procedure(byte, now)

    def _on_procedure(self, byte: int, now: float) -> None:
        assert self._tpdu is not None
        match procedure(byte, self._tpdu.header.ins, lax=self.profile.lax_acknowledge):
            case Procedure.NULL:
                self._nulls += 1
                if self._nulls > self.profile.max_nulls:
                    self._fail(Failure.ENDLESS, f"more than {self.profile.max_nulls} NULL bytes for one command")
            case Procedure.STATUS:
                self._sw1 = byte
            case Procedure.ALL:
                self._transfer(byte, MAX, now)
            case Procedure.ONE:
                self._transfer(byte, 1, now)
            case Procedure.ILLEGAL:
                self._fail(Failure.ILLEGAL, f"{byte:02X} is no procedure byte here")

    def _transfer(self, byte: int, most: int, now: float) -> None:
        """Let data travel, in the direction of this command."""
        assert self._tpdu is not None
        left = self._tpdu.expected - len(self._found)
        if self._rest:
            portion, self._rest = self._rest[:most], self._rest[most:]
            self._send(portion, now)
        elif left > 0:
            self._reads = min(left, most)
        else:
            self._fail(Failure.ILLEGAL, f"{byte:02X} asks for data where none is left")

    def _on_status(self, sw: int, now: float) -> None:
        assert self._tpdu is not None
        if self._found and len(self._found) != self._tpdu.expected:
            self._fail(Failure.ILLEGAL, f"{len(self._found)} bytes of data where P3 says {self._tpdu.expected}")
            return
        response = Response(bytes(self._found), sw)
        self._forget()
        self._advance(response, now)


MAX = 256
"""All bytes that remain."""
