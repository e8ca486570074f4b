"""The user device's end of one session over Bluetooth (Aliro 1.0 11.1); what happens is told in `aliro.ble.reader`.

APDUs are answered by a responder: a simulated device, or whoever carries them to an element. What it must show besides
is its `Session`, in which the keys are that outlive the access protocol.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar, Final, Protocol, TypeAlias, final

import msgspec

from keywright.aliro.ble.channel import LONGEST
from keywright.aliro.ble.ends import BleEnd, CommonEvent, Limits, Phase
from keywright.aliro.ble.gatt import Feature, Negotiated
from keywright.aliro.ble.messages import (
    ACCESS_PROTOCOL,
    LONGEST_VALUE,
    AccessCompleted,
    ApRequest,
    ApResponse,
    Attribute,
    BleMessage,
    Envelope,
    InitiateAccess,
    InitiateRke,
    RkeRequest,
    StateInformation,
    StateReport,
    StatusChanged,
)
from keywright.aliro.messages import EXPEDITED_AID, Ins, parse_selected
from keywright.aliro.session import Session
from keywright.errors import DecodeError, KeywrightError, SequenceError, WireError
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.status import check
from keywright.uwb.setup.device import DeviceSetup
from keywright.uwb.setup.terms import Capabilities

_COMPLETED: Final = (AccessCompleted.PROTOCOL, AccessCompleted.ID)


class Responding(Protocol):
    """What answers the APDUs: `aliro.simulated.SimulatedUserDevice` is one."""

    @property
    def session(self) -> Session:
        """The transaction under way."""
        ...

    def handle(self, request: bytes, /) -> bytes:
        """The answer to one command APDU."""
        ...

    def reset(self) -> object:
        """The transaction is over; its keys are forgotten."""
        ...


class DeviceSettings(msgspec.Struct, frozen=True):
    """How a device goes about a session over Bluetooth."""

    limits: Limits = Limits()
    capabilities: Capabilities = Capabilities()
    initiates: bool = True
    """Ask for ranging as soon as the access protocol is completed; False: wait for the reader's M1."""
    interval_s: float = 0.03
    """Of the Bluetooth connection: what time sync procedure 1 counts."""
    uncertainty: int = 80
    """Of a time sync, as `uwb.sync.uncertainty_code` gives it; 80 is about 1 ms."""


class Completed(msgspec.Struct, frozen=True):
    """The reader has accepted this device."""

    information: StateInformation


class StateChanged(msgspec.Struct, frozen=True):
    """The state of the reader is another one."""

    report: StateReport


class ReaderRefused(msgspec.Struct, frozen=True):
    """The reader has ended the access protocol with this `ReaderStatus`."""

    status: int


OwnEvent: TypeAlias = Completed | StateChanged | ReaderRefused
DeviceEvent: TypeAlias = OwnEvent | CommonEvent


@final
class UserDeviceEnd(BleEnd[OwnEvent]):
    """Endpoint: the device's side of one channel. Its first message is ready at once."""

    TABLE: ClassVar[Mapping[Phase, tuple[type[BleMessage], ...]]] = {
        "waiting": (),
        "access": (ApRequest, AccessCompleted),
        "open": (StatusChanged,),
        "closed": (),
    }

    def __init__(
        self,
        device: Responding,
        negotiated: Negotiated,
        now: float,
        *,
        random: Callable[[int], bytes],
        is_rke: bool = False,
        settings: DeviceSettings | None = None,
        clock_us: Callable[[float], int] = lambda now: round(now * 1e6),
    ) -> None:
        """Begin a transaction on `device`, whose settings name Bluetooth as its interface.

        random(n): n octets. is_rke: remote keyless entry, without UWB. clock_us(now): the UWB clock at that time of
        the endpoint's, microseconds. Raises StatusError or WireError when `device` does not let Aliro be selected.
        """
        self._settings = settings or DeviceSettings()
        super().__init__(negotiated, self._settings.limits, now, is_reader=False)
        self.phase = "access"
        self.is_rke = is_rke
        self.session_id: int | None = None
        """Of ranging: the end of the transaction identifier."""
        self._device = device
        self._random = random
        self._clock_us = clock_us
        self._connected_at = now
        self._is_synchronized = False
        self._send((InitiateRke if is_rke else InitiateAccess)((Attribute(0, _select(device)),)))

    # ---- for the owner ----------------------------------------------------------------------------------------

    def request_rke(self, action: int, now: float) -> None:
        """The holder has pressed a button: a value of `RkeAction`. Raises SequenceError in another flow, or too early.

        That the holder is there, the device has to see to.
        """
        self._demand("open", "an RKE request")
        if not self.is_rke:
            raise SequenceError("an RKE request in the flow with UWB", hint="connect with is_rke")
        self._session_until = now + self._limits.session_s
        self._send(RkeRequest(action))

    def initiate(self, now: float) -> None:
        """Ask for ranging, or for it to go on. Raises SequenceError where neither can be."""
        setup = self._own()
        if setup.state == "idle" and not self._is_synchronized and self.negotiated.features & Feature.TIME_SYNC_1:
            self._synchronize(setup, now)
        self._is_synchronized = False
        setup.initiate(now)
        self._pump(now)

    def suspend(self, now: float) -> None:
        """Ask the reader to pause ranging. Raises SequenceError unless it ranges."""
        self._own().suspend(now)
        self._pump(now)

    # ---- the protocol -----------------------------------------------------------------------------------------

    def _arrived(self, frame: Envelope) -> Envelope:
        if self.phase == "access" and frame.protocol != ACCESS_PROTOCOL:
            if (frame.protocol, frame.id) != _COMPLETED:
                return frame  # an error of the reader, before messages are sealed
            survivors = self._device.session.survivors
            if survivors is None:
                raise SequenceError("the access protocol is completed before there is a key")
            # The first sealed message: that it opens proves that the reader has the keys.
            self._channel.protect(survivors.ble, self.negotiated.versions)
        return super()._arrived(frame)

    def _on(self, message: BleMessage, now: float) -> None:
        match message:
            case ApRequest():
                self._answer(message, now)
            case AccessCompleted():
                self._complete(message, now)
            case StatusChanged():
                self._events.append(StateChanged(message.report))
            case _:  # TABLE lists nothing else
                raise SequenceError(f"{type(message).__name__} is not for a device")

    def _answer(self, message: ApRequest, now: float) -> None:
        self._phase_until = now + self._limits.phase_s
        answer = self._device.handle(message.apdu)
        session = self._device.session
        if session.command is not None:
            self.session_id = int.from_bytes(session.command.transaction_identifier[-4:])
        if len(answer) > LONGEST:
            raise WireError(f"an answer APDU of {len(answer)} octets; {LONGEST} fit a message")
        self._send(ApResponse(answer))
        if session.reader_status is not None and session.reader_status >> 8 != 1:
            self._events.append(ReaderRefused(session.reader_status))

    def _complete(self, message: AccessCompleted, now: float) -> None:
        session = self._device.session
        survivors, session_id = session.survivors, self.session_id
        if survivors is None or session_id is None:
            raise SequenceError("the access protocol is completed before it has begun")
        is_ready = session.ursk_ready
        self._device.reset()
        self.phase = "open"
        self._phase_until = None
        self._events.append(Completed(message.information))
        if self.is_rke or not is_ready:
            return
        setup = DeviceSetup(session_id, self._settings.capabilities, random=self._random, clock_us=self._clock_us)
        self._begin_ranging(setup, survivors.ursk)
        if self.negotiated.features & Feature.TIME_SYNC_0:
            self._synchronize(setup, self._connected_at)
            self._is_synchronized = True
        if self._settings.initiates:
            self.initiate(now)

    def _synchronize(self, setup: DeviceSetup, now: float) -> None:
        """Say what the UWB clock was at the last event of the connection before `now`; event 0 is its beginning."""
        interval = self._settings.interval_s
        count = max(0, int((now - self._connected_at) // interval))
        at = self._clock_us(self._connected_at + count * interval)
        setup.synchronize(at, now, uncertainty=self._settings.uncertainty, event_count=count)

    def _close(self, why: str, error: KeywrightError | None = None) -> None:
        self._device.reset()
        super()._close(why, error)

    def _own(self) -> DeviceSetup:
        setup = self._ranging()
        if not isinstance(setup, DeviceSetup):
            raise SequenceError("there is no ranging in this session")
        return setup


def _select(device: Responding) -> bytes:
    """Begin a transaction: the TLV A5 of its answer to SELECT."""
    device.reset()
    response = Response.parse(device.handle(Command(0x00, Ins.SELECT, 0x04, 0x00, EXPEDITED_AID, 0).encode()))
    try:
        _, proprietary = parse_selected(check(response, "SELECT of Aliro, expedited"))
    except DecodeError as error:
        raise WireError(f"SELECT: {error}") from error
    if not proprietary or len(proprietary) > LONGEST_VALUE:
        raise WireError(f"SELECT: a TLV A5 of {len(proprietary)} octets; 1 to {LONGEST_VALUE} fit a message")
    return proprietary
