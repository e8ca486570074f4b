"""What the two ends of a session over Bluetooth have in common: messages in and out, timers, ranging setup, the end.

An end is an endpoint for one L2CAP channel that is also told when the channel is lost (`disconnected`) and says when
it is to be closed (`is_closed`), which is once its last messages are out.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, Final, Generic, Literal, TypeAlias, TypeVar

import msgspec

from keywright.aliro.ble.channel import MessageChannel
from keywright.aliro.ble.gatt import Feature, Negotiated
from keywright.aliro.ble.messages import (
    ACCESS_PROTOCOL,
    THIRD_PARTY,
    BleMessage,
    Envelope,
    Event,
    GeneralError,
    envelope,
    general_error,
    parse_message,
)
from keywright.aliro.keys import DerivationKey
from keywright.crypto.aes import AesKey
from keywright.errors import AuthenticationError, DecodeError, KeywrightError, SequenceError, WireError
from keywright.uwb.grid import Grid
from keywright.uwb.keys import LAST_STS_INDEX
from keywright.uwb.setup.ends import Agreed, SetupEnd, SetupEvent, UrskDropped
from keywright.uwb.setup.messages import GENERAL_ERRORS, is_setup
from keywright.uwb.twr import TICK_HZ

OwnEvent = TypeVar("OwnEvent")
Phase: TypeAlias = Literal["waiting", "access", "open", "closed"]
"""waiting: for the device to ask; access: the access protocol; open: completed, messages are sealed."""
TIME_SYNC: Final = Feature.TIME_SYNC_0 | Feature.TIME_SYNC_1


class Limits(msgspec.Struct, frozen=True):
    """How long an end is patient, in seconds (the values of a public reader)."""

    phase_s: float = 5.0
    """For the other end's next message during the access protocol, and for the rest of a message begun."""
    session_s: float = 30.0
    """From the beginning to agreed ranging; where nothing else is due, since the last request."""


class Ranging(msgspec.Struct, frozen=True):
    """Ranging setup says so."""

    event: SetupEvent


class Application(msgspec.Struct, frozen=True):
    """Data of an application have come (protocol 4)."""

    message_id: int
    data: bytes


class Busy(msgspec.Struct, frozen=True):
    """The other end has no room for another session now."""


class Closed(msgspec.Struct, frozen=True):
    """The session is over: the last event of an end."""

    why: str
    error: KeywrightError | None = None
    """What this end found wrong, None if nothing."""


CommonEvent: TypeAlias = Ranging | Application | Busy | Closed


class ParameterError(WireError):
    """A message lacks an attribute, or has a value that cannot be: general error 2."""

    code = "aliro-ble-parameters"


class BleEnd(ABC, Generic[OwnEvent]):
    """An endpoint whose frames are what L2CAP carries. It keeps no key once it is closed."""

    TABLE: ClassVar[Mapping[Phase, tuple[type[BleMessage], ...]]]
    """What is due in which phase, ranging setup aside. Anything else ends the session, but for phase "open", where
    it is answered with a general error."""

    def __init__(self, negotiated: Negotiated, limits: Limits, now: float, *, is_reader: bool) -> None:
        self.phase: Phase
        self.negotiated = negotiated
        self.setup: SetupEnd | None = None
        """Ranging setup, once the access protocol is completed with a URSK."""
        self.ursk: AesKey | None = None
        """What ranging takes; dropped when the session is over."""
        self._limits = limits
        self._channel = MessageChannel(is_reader=is_reader)
        self._out: list[bytes] = []
        self._events: list[OwnEvent | CommonEvent] = []
        self._phase_until: float | None = now + limits.phase_s
        self._session_until: float | None = now + limits.session_s
        self._rest_until: float | None = None
        self._sts_until: float | None = None

    # ---- endpoint ---------------------------------------------------------------------------------------------

    @property
    def is_closed(self) -> bool:
        """Whether the channel is to be closed, after what `outgoing` still has."""
        return self.is_over and not self._out

    @property
    def is_over(self) -> bool:
        """Whether the session is over; its last messages may still be in `outgoing`."""
        return self.phase == "closed"

    def receive(self, data: bytes, now: float) -> None:
        """Take the octets of one SDU. Total."""
        self._look_at_clock(now)
        if self.is_over:
            return
        try:
            frames = self._channel.split(data)
        except WireError as error:
            self._fail(error, GeneralError.UNKNOWN)
            return
        for frame in frames:
            self._take(frame, now)
        self._rest_until = now + self._limits.phase_s if self._channel.is_inside else None
        self._pump(now)

    def outgoing(self, now: float) -> Sequence[bytes]:
        """Octets to send now, one message each."""
        self._look_at_clock(now)
        self._pump(now)
        out, self._out = self._out, []
        return out

    def deadline(self) -> float | None:
        """When `outgoing` is due: at once while messages wait, else when patience ends."""
        if self._out:
            return float("-inf")
        if self.is_over:
            return None
        times = [self._phase_until, self._session_until, self._rest_until, self._sts_until]
        times.append(None if self.setup is None else self.setup.deadline())
        known = [time for time in times if time is not None]
        return min(known) if known else None

    def events(self) -> Sequence[OwnEvent | CommonEvent]:
        """What has happened."""
        events, self._events = self._events, []
        return events

    def disconnected(self, why: str, now: float) -> None:
        """The channel is gone; whatever it was for is over. Twice does no harm."""
        self._look_at_clock(now)
        self._out = []
        if not self.is_over:
            if self.setup is not None:
                self.setup.drop_ursk("link-lost")
                self._events += [Ranging(event) for event in self.setup.events()]
            self._close(why)

    # ---- for the owner ----------------------------------------------------------------------------------------

    def send_application(self, message_id: int, data: bytes) -> None:
        """Send data of an application. Raises SequenceError before the access protocol is completed."""
        self._demand("open", "data of an application")
        self._send_frame(Envelope(THIRD_PARTY, message_id, data))

    def drop_ursk(self) -> None:
        """The STS indices of the URSK are used up: ranging ends, and the session with it."""
        if self.setup is not None:
            self.setup.drop_ursk("sts-index")
            self._pump(float("-inf"))

    def close(self, why: str = "closed here") -> None:
        """End the session; twice does no harm."""
        if not self.is_over:
            self._close(why)

    # ---- for both ends ----------------------------------------------------------------------------------------

    @abstractmethod
    def _on(self, message: BleMessage, now: float) -> None:
        """Act on a message that the table lists. Raises ParameterError, SequenceError, WireError."""

    def _arrived(self, frame: Envelope) -> Envelope:
        """The message in clear."""
        return self._channel.open(frame)

    def _take(self, frame: Envelope, now: float) -> None:
        if self.is_over:
            return
        try:
            self._sort(self._arrived(frame), now)
        except AuthenticationError as error:
            self._fail(error, GeneralError.UNKNOWN)
        except ParameterError as error:
            self._refuse(error, GeneralError.WRONG_PARAMETERS)
        except SequenceError as error:
            self._refuse(error, GeneralError.UNKNOWN)
        except WireError as error:
            self._fail(error, GeneralError.UNKNOWN)

    def _sort(self, frame: Envelope, now: float) -> None:
        is_open = self.phase == "open"
        if is_open and frame.protocol == ACCESS_PROTOCOL:
            raise WireError("an APDU after the access protocol was completed")
        if is_open and frame.protocol == THIRD_PARTY:
            self._events.append(Application(frame.id, frame.payload))
        elif is_open and self.setup is not None and is_setup(frame.protocol, frame.id):
            self.setup.receive(frame.build(), now)
        else:
            self._read(frame, now)

    def _read(self, frame: Envelope, now: float) -> None:
        try:
            message = parse_message(frame)
        except DecodeError as error:
            raise ParameterError(str(error)) from error
        if isinstance(message, Event):
            self._on_event(message)
        elif isinstance(message, self.TABLE[self.phase]):
            self._on(message, now)
        elif self.phase == "open" and is_setup(frame.protocol, frame.id):
            self._send(general_error(GeneralError.URSK_UNAVAILABLE))
        else:
            raise SequenceError(f"{type(message).__name__} in phase {self.phase}")

    def _on_event(self, event: Event) -> None:
        if event.general_error is not None:
            code = event.general_error[0] if len(event.general_error) == 1 else GeneralError.UNKNOWN
            self._close(f"the other end: general error {GENERAL_ERRORS.get(code, str(code))}")
        elif event.is_busy:
            self._events.append(Busy())
            if self.phase != "open":
                self._close("the other end is busy")

    def _refuse(self, error: WireError, code: int) -> None:
        """Say what is wrong with a message; before the access protocol is completed that ends the session."""
        if self.phase == "open":
            self._send(general_error(code))
        else:
            self._fail(error, code)

    def _fail(self, error: KeywrightError, code: int) -> None:
        self._send(general_error(code))
        self._close(str(error), error)

    def _close(self, why: str, error: KeywrightError | None = None) -> None:
        self.phase = "closed"
        self.setup = self.ursk = None
        self._channel.forget()
        self._phase_until = self._session_until = self._rest_until = self._sts_until = None
        self._events.append(Closed(why, error))

    def _send(self, message: BleMessage) -> None:
        self._send_frame(envelope(message))

    def _send_frame(self, frame: Envelope) -> None:
        self._out.append(self._channel.seal(frame))

    def _demand(self, phase: Phase, what: str) -> None:
        if self.phase != phase:
            raise SequenceError(f"{what} in phase {self.phase}", hint="wait until the access protocol is completed")

    def _ranging(self) -> SetupEnd:
        if self.phase != "open" or self.setup is None:
            raise SequenceError("there is no ranging in this session", hint="authenticate in the flow with UWB first")
        return self.setup

    def _begin_ranging(self, setup: SetupEnd, ursk: DerivationKey) -> None:
        self.setup, self.ursk = setup, AesKey(ursk.reveal(), "URSK")

    # ---- timers and ranging setup -----------------------------------------------------------------------------

    def _pump(self, now: float) -> None:
        """Carry what ranging setup wants to say, and tell what it tells."""
        setup = self.setup
        if setup is None:
            return
        for clear in setup.outgoing(now):
            self._send_frame(Envelope.parse(clear))
        for event in setup.events():
            self._events.append(Ranging(event))
            if isinstance(event, Agreed):
                self._session_until = None
                self._sts_until = now + indices_last_s(event.terms.grid)
            elif isinstance(event, UrskDropped):
                self._close(f"the URSK is dropped: {event.why}")
                return

    def _look_at_clock(self, now: float) -> None:
        if self.is_over:
            return
        if self._sts_until is not None and now >= self._sts_until and self.setup is not None:
            self.setup.drop_ursk("sts-index")
            self._pump(now)
            return
        waited = [
            what
            for what, until in (
                (f"no message in time in phase {self.phase}", self._phase_until),
                ("the rest of a message did not come", self._rest_until),
                ("the session has lasted too long", self._session_until),
            )
            if until is not None and now >= until
        ]
        if waited:
            self._fail(WireError(waited[0]), GeneralError.UNKNOWN)


def indices_last_s(grid: Grid) -> float:
    """How many seconds of ranging the STS indices of a URSK are good for on this grid."""
    blocks = (LAST_STS_INDEX + 1 - grid.sts_index0) // grid.indices_per_block
    return blocks * grid.block_ticks / TICK_HZ
