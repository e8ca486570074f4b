"""What the two ends of ranging setup have in common: messages out, events, timers, and the end of a URSK."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, Final, Literal, TypeAlias

import msgspec

from keywright.errors import DecodeError, SequenceError, WireError
from keywright.uwb.grid import URSK_S
from keywright.uwb.setup.messages import (
    GENERAL_ERRORS,
    SUSPENDED,
    Event,
    GeneralError,
    SetupMessage,
    SuspendResponse,
    TimeSync,
    build_message,
    general_error,
    parse_message,
)
from keywright.uwb.setup.terms import Terms

PHASE_S: Final = 5.0
"""How long an end waits for the answer to its message (a public reader's value)."""

State: TypeAlias = Literal["idle", "m1", "m2", "m3", "ranging", "suspending", "suspended", "resuming", "ended"]
Why: TypeAlias = Literal["sts-index", "age", "link-lost", "peer"]
"""What ended a URSK: indices or 12 hours are used up, the link it came over is lost, or the other end says so."""


class Synchronized(msgspec.Struct, frozen=True):
    """The device has sent a time sync with a measurement in it."""

    message: TimeSync


class Agreed(msgspec.Struct, frozen=True):
    """Ranging may begin, or go on, on these terms."""

    terms: Terms


class Suspended(msgspec.Struct, frozen=True):
    """Ranging rests; the URSK is kept."""


class Later(msgspec.Struct, frozen=True):
    """The other end asks for patience: setup or resume will be possible later."""


class Failed(msgspec.Struct, frozen=True):
    """What was under way has failed; the session is where it was before."""

    why: str
    code: int = GeneralError.UNKNOWN
    """General error that was sent or received."""
    is_peers: bool = False
    """The other end said so."""


class UrskDropped(msgspec.Struct, frozen=True):
    """The URSK is used up; only a new access transaction gives another."""

    why: Why


SetupEvent: TypeAlias = Synchronized | Agreed | Suspended | Later | Failed | UrskDropped

_BEFORE: Final[Mapping[State, State]] = {
    "m1": "idle",
    "m2": "idle",
    "m3": "idle",
    "suspending": "ranging",
    "resuming": "suspended",
}
"""Where an end is again when what was under way fails."""


class ParameterError(WireError):
    """The other end's message is one that this end answers with a general error; `SetupEnd.receive` does."""

    def __init__(
        self, message: str, general_error_code: int = GeneralError.WRONG_PARAMETERS, *, hint: str = ""
    ) -> None:
        super().__init__(message, hint=hint)
        self.general_error = general_error_code


class SetupEnd(ABC):
    """An endpoint whose frames are messages in clear, header and payload (`setup.messages`)."""

    TABLE: ClassVar[Mapping[State, tuple[type[SetupMessage], ...]]]

    def __init__(self, session_id: int) -> None:
        """session_id: the last four octets of the transaction identifier, big-endian."""
        self.state: State = "idle"
        self.session_id = session_id
        self.terms: Terms | None = None
        self._out: list[bytes] = []
        self._events: list[SetupEvent] = []
        self._until: float | None = None
        self._ursk_until: float | None = None

    # ---- endpoint ---------------------------------------------------------------------------------------------

    def receive(self, data: bytes, now: float) -> None:
        """Take one message in clear. What is none, or not due, is answered with a general error."""
        self._look_at_clock(now)
        try:
            message = parse_message(data)
            if isinstance(message, Event):
                self._peer_failed(message)
            else:
                self._take(self._expected(message), now)
        except ParameterError as error:
            self._fail(str(error), error.general_error)
        except SequenceError as error:
            # Not part of what is under way, so that goes on.
            self._out.append(build_message(general_error(GeneralError.UNKNOWN)))
            self._events.append(Failed(str(error)))
        except (DecodeError, WireError) as error:
            self._fail(str(error), GeneralError.WRONG_PARAMETERS)

    def outgoing(self, now: float) -> Sequence[bytes]:
        """Messages to send now."""
        self._look_at_clock(now)
        out, self._out = self._out, []
        return out

    def deadline(self) -> float | None:
        """At once while a message waits, else when an answer is overdue or the URSK ends."""
        if self._out:
            return float("-inf")
        times = [time for time in (self._until, self._ursk_until) if time is not None]
        return min(times) if times else None

    def events(self) -> Sequence[SetupEvent]:
        """What has happened."""
        events, self._events = self._events, []
        return events

    # ---- what ends a URSK -------------------------------------------------------------------------------------

    def drop_ursk(self, why: Why) -> None:
        """No more ranging with this URSK: its indices are used up, or the link that it belongs to is lost."""
        if self.state == "ended":
            return
        self.state = "ended"
        self.terms = None
        self._until = self._ursk_until = None
        self._events.append(UrskDropped(why))

    # ---- for both ends ----------------------------------------------------------------------------------------

    @abstractmethod
    def _take(self, message: SetupMessage, now: float) -> None:
        """Act on a message that the table lists. Raises ParameterError or WireError for its values."""

    def _expected(self, message: SetupMessage) -> SetupMessage:
        if self.state == "ended":
            raise ParameterError("the URSK is gone", GeneralError.URSK_UNAVAILABLE)
        if not isinstance(message, self.TABLE[self.state]):
            raise SequenceError(f"{type(message).__name__} while {self.state}")
        return message

    def _send(self, message: SetupMessage, now: float, state: State | None = None) -> None:
        self._out.append(build_message(message))
        if state is not None:
            self.state = state
            self._until = now + PHASE_S if state in _BEFORE else None

    def _agree(self, terms: Terms, now: float) -> None:
        self.terms = terms
        self.state = "ranging"
        self._until = None
        if self._ursk_until is None:
            self._ursk_until = now + URSK_S
        self._events.append(Agreed(terms))

    def _rest(self) -> None:
        self.state = "suspended"
        self._until = None
        self._events.append(Suspended())

    def _settle(self, response: SuspendResponse) -> None:
        if self.state == "suspended":
            return  # both have asked at once
        if response.status == SUSPENDED:
            self._rest()
        else:
            self._back()
            self._events.append(Later())

    def _check_session(self, session_id: int, code: int) -> None:
        if session_id != self.session_id:
            raise ParameterError(f"session {session_id:08X}, here it is {self.session_id:08X}", code)

    def _back(self) -> None:
        if self.state in _BEFORE:
            self.state = _BEFORE[self.state]
        self._until = None

    def _fail(self, why: str, code: int) -> None:
        self._back()
        self._out.append(build_message(general_error(code)))
        self._events.append(Failed(why, code))

    def _peer_failed(self, event: Event) -> None:
        if event.is_busy and event.general_error is None:
            self._events.append(Later())
            return
        code = event.general_error
        if code is None or len(code) != 1:
            return  # nothing that could be answered: an error about an error would go back and forth
        self._back()
        named = GENERAL_ERRORS.get(code[0], f"{code[0]:#04x}")
        self._events.append(Failed(f"the other end: general error {named}", code[0], is_peers=True))
        if code[0] == GeneralError.URSK_UNAVAILABLE:
            self.drop_ursk("peer")

    def _look_at_clock(self, now: float) -> None:
        if self._ursk_until is not None and now >= self._ursk_until:
            self.drop_ursk("age")
        if self._until is not None and now >= self._until:
            waited = self.state
            self._back()
            self._events.append(Failed(f"no answer in time while {waited}"))
