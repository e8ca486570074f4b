"""The reader's end of one session over Bluetooth (Aliro 1.0 11.1); `door.Door` makes it.

    device: initiate access    reader: AUTH0, AUTH1, EXCHANGE ... access completed
    device: time sync, initiate ranging    M1 to M4    ranging ... status changed
    or, for remote keyless entry    device: RKE request    reader: status changed

Whether a credential may open is the owner's word, twice: `decide` of the door during the access protocol, and what the
owner does about `Approached` or `RkeRequested`. Nothing here moves a bolt.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Generator, Mapping
from typing import ClassVar, TypeAlias, final

from keywright.aliro.ble.approach import Approached, Distance, Left, Watch
from keywright.aliro.ble.ends import TIME_SYNC, BleEnd, CommonEvent, ParameterError, Phase
from keywright.aliro.ble.gatt import Negotiated
from keywright.aliro.ble.messages import (
    AccessCompleted,
    ApRequest,
    ApResponse,
    BleMessage,
    Event,
    GeneralError,
    InitiateAccess,
    InitiateRke,
    RkeAction,
    RkeRequest,
    StateInformation,
    StateReport,
    StatusChanged,
)
from keywright.aliro.ble.settings import Authenticated, Refused, RkeRequested, Shared
from keywright.aliro.exchange import Exchange
from keywright.aliro.keys import DerivationKey
from keywright.aliro.messages import EXPEDITED_AID, READER_STATUSES, Ins, Proprietary, ReaderStatus
from keywright.aliro.reader import Dialogue, Fresh, Opened, Plan, authenticate, exchange, finish
from keywright.codec.ber import item, items
from keywright.errors import DecodeError, KeywrightError, LinkError, SequenceError, WireError
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.layers import chained, complete, sized
from keywright.iso7816.status import SW
from keywright.sansio.dialogue import through
from keywright.uwb.ranging.events import Ended, Measured, Missed, ResponderEvent
from keywright.uwb.setup.reader import ReaderSetup

OwnEvent: TypeAlias = Authenticated | Refused | RkeRequested | Approached | Left
ReaderEvent: TypeAlias = OwnEvent | CommonEvent


@final
class ReaderEnd(BleEnd[OwnEvent]):
    """Endpoint: the reader's side of one channel; made by `Door.connect`."""

    TABLE: ClassVar[Mapping[Phase, tuple[type[BleMessage], ...]]] = {
        "waiting": (InitiateAccess, InitiateRke),
        "access": (ApResponse,),
        "open": (RkeRequest,),
        "closed": (),
    }

    def __init__(self, shared: Shared, negotiated: Negotiated, now: float, *, is_busy: bool = False) -> None:
        super().__init__(negotiated, shared.settings.limits, now, is_reader=True)
        self.phase = "waiting"
        self.is_rke = False
        self.opened: Opened | None = None
        """Who is there, once the access protocol is completed."""
        self._shared = shared
        self._settings = shared.settings
        self._is_busy = is_busy
        self._dialogue: Generator[Command, Response, tuple[Opened, int]] | None = None
        self._proprietary = b""
        self._watch = Watch(shared.settings.approach)

    # ---- for the owner ----------------------------------------------------------------------------------------

    def measured(self, distance: Distance, now: float) -> None:
        """A distance from the ranging of this session. Raises SequenceError unless it ranges."""
        setup = self._ranging()
        if setup.state != "ranging":
            raise SequenceError(f"a distance while ranging is {setup.state}")
        self._tell(self._watch.measured(distance, now))

    def ranged(self, event: ResponderEvent, now: float) -> None:
        """What an anchor of this session tells (`uwb.ranging`): distances, rounds without one, the end of the URSK.

        What an anchor refuses is nothing: whoever makes noise must not be able to lock a door.
        """
        match event:
            case Measured():
                self.measured(Distance(event.distance_m), now)
            case Missed():
                self.measured(Distance(math.nan, is_secure=False), now)
            case Ended():
                self.drop_ursk()

    def suspend(self, now: float) -> None:
        """Ask the device to pause ranging. Raises SequenceError unless it ranges."""
        self._own().suspend(now)
        self._pump(now)

    def resume(self, now: float) -> None:
        """Ask the device to go on. Raises SequenceError unless it is suspended."""
        self._own().resume(now)
        self._pump(now)

    def start_ranging(self, now: float) -> None:
        """Send M1 without being asked. Raises SequenceError in the middle of a setup."""
        self._own().start(now)
        self._pump(now)

    def report(self, state: int, source: int) -> None:
        """Tell the device a new state of the reader; before the access protocol is completed nothing is told."""
        if self.phase == "open":
            self._send(StatusChanged(StateReport(source, state)))

    # ---- the protocol -----------------------------------------------------------------------------------------

    def deadline(self) -> float | None:
        """As `BleEnd.deadline`, and when a device that is not heard of any more counts as gone."""
        times = [time for time in (super().deadline(), self._watch.deadline()) if time is not None]
        return min(times) if times else None

    def outgoing(self, now: float) -> list[bytes]:
        """As `BleEnd.outgoing`."""
        out = list(super().outgoing(now))
        self._tell(self._watch.look(now))
        return out

    def _close(self, why: str, error: KeywrightError | None = None) -> None:
        dialogue, self._dialogue = self._dialogue, None
        if dialogue is not None:
            with contextlib.suppress(KeywrightError, StopIteration):
                dialogue.throw(LinkError(why, delivered=None))
            dialogue.close()
        self._tell(self._watch.lost(why))
        super()._close(why, error)

    def _on(self, message: BleMessage, now: float) -> None:
        match message:
            case InitiateAccess() | InitiateRke():
                self._begin(message, now)
            case ApResponse():
                self._go_on(message, now)
            case RkeRequest():
                self._requested(message, now)
            case _:  # TABLE lists nothing else
                raise SequenceError(f"{type(message).__name__} is not for a reader")

    def _begin(self, message: InitiateAccess | InitiateRke, now: float) -> None:
        if self._is_busy:
            self._send(Event(is_busy=True))
            self._close("too many sessions")
            return
        self.is_rke = isinstance(message, InitiateRke)
        plan = self._settings.rke_plan if self.is_rke else self._settings.plan
        if plan is None:
            raise SequenceError("no remote keyless entry here")
        try:
            self._proprietary = message.proprietary()
            extended = _limits(self._proprietary).extended is not None and self._settings.takes_extended
        except DecodeError as error:
            raise ParameterError(f"{type(message).__name__}: {error}") from error
        self.phase = "access"
        self._dialogue = _divided(self._access(plan), extended=extended)
        self._advance(None, now)

    def _access(self, plan: Plan) -> Dialogue[tuple[Opened, int]]:
        shared = self._shared
        opened = yield from authenticate(
            self._settings.reader, plan, Fresh.draw(shared.random), shared.keys, shared.find_slot
        )
        status = yield from shared.decide(opened)
        if not _is_success(status):
            yield from finish(opened, status)
            return opened, status
        if opened.kept is not None:
            shared.keys.keep(opened.kept)
        if self.is_rke or self._settings.status_with_ursk:
            yield from finish(opened, ReaderStatus.SECURED | shared.state, ursk_ready=not self.is_rke)
        else:
            yield from exchange(opened, Exchange(ursk_ready=True))
        return opened, status

    def _go_on(self, message: ApResponse, now: float) -> None:
        try:
            response = Response.parse(message.apdu)
        except DecodeError as error:
            raise WireError(f"an AP response that is no answer APDU: {error}") from error
        self._advance(response, now)

    def _advance(self, response: Response | None, now: float) -> None:
        """Send the next command of the dialogue, or take what it has come to."""
        dialogue = self._dialogue
        if dialogue is None:
            raise SequenceError("an AP response that nothing was asked for")
        try:
            command = next(dialogue) if response is None else dialogue.send(response)
            while (local := self._answer_here(command)) is not None:
                command = dialogue.send(local)
        except StopIteration as stop:
            self._dialogue = None
            self._completed(*stop.value)
        except KeywrightError as error:
            self._dialogue = None
            self._fail(error, GeneralError.UNKNOWN)
        else:
            self._phase_until = now + self._limits.phase_s
            self._send(ApRequest(command.encode()))

    def _answer_here(self, command: Command) -> Response | None:
        """What does not travel as an APDU over Bluetooth: SELECT, which `InitiateAccess` is, and CONTROL FLOW.

        A general error says what CONTROL FLOW says; it follows when the dialogue raises.
        """
        if command.ins == Ins.SELECT and command.data == EXPEDITED_AID:
            return Response(item(0x6F, item(0x84, EXPEDITED_AID) + self._proprietary))
        return Response(b"", SW.OK) if command.ins == Ins.CONTROL_FLOW else None

    def _completed(self, opened: Opened, status: int) -> None:
        if not _is_success(status):
            self._events.append(Refused(status))
            self._fail(WireError(f"refused: {READER_STATUSES.get(status, f'{status:04X}')}"), GeneralError.UNKNOWN)
            return
        self.opened = opened
        self._phase_until = None
        self._channel.protect(_there(opened.ble), self.negotiated.versions)
        self._send(AccessCompleted(StateInformation(self._settings.reporting << 5, self._shared.state)))
        self.phase = "open"
        if not self.is_rke:
            session_id = int.from_bytes(opened.transaction.command.transaction_identifier[-4:])
            needs_sync = bool(self.negotiated.features & TIME_SYNC)
            setup = ReaderSetup(
                session_id, self._settings.capabilities, self._settings.wishes, needs_time_sync=needs_sync
            )
            self._begin_ranging(setup, _there(opened.ursk))
        self._events.append(Authenticated(opened, self.is_rke))

    def _requested(self, message: RkeRequest, now: float) -> None:
        if not self.is_rke:
            raise SequenceError("an RKE request in the flow with UWB")
        if message.action not in (RkeAction.SECURE, RkeAction.UNSECURE):
            raise ParameterError(f"RKE action {message.action}")
        self._session_until = now + self._limits.session_s
        self._events.append(RkeRequested(message.action))

    # ---- helpers ----------------------------------------------------------------------------------------------

    def _own(self) -> ReaderSetup:
        setup = self._ranging()
        if not isinstance(setup, ReaderSetup):
            raise SequenceError("there is no ranging in this session")
        return setup

    def _tell(self, news: Approached | Left | None) -> None:
        if news is not None:
            self._events.append(news)


def _divided(
    dialogue: Dialogue[tuple[Opened, int]], *, extended: bool
) -> Generator[Command, Response, tuple[Opened, int]]:
    """Commands as they travel: extended where both ends can, else in parts; answers collected."""

    def one(command: Command) -> Generator[Command, Response, Response]:
        whole = complete(sized(command, extended=extended))
        return (yield from (whole if extended else through(whole, chained)))

    return through(dialogue, one)


def _limits(tlv: bytes) -> Proprietary:
    match items(tlv):
        case [(Proprietary.TAG, value)]:
            return Proprietary.parse(value)
        case _:
            raise DecodeError("not one TLV A5")


def _is_success(status: int) -> bool:
    return status >> 8 == ReaderStatus.SECURED >> 8


def _there(key: DerivationKey | None) -> DerivationKey:
    if key is None:
        raise WireError("the access protocol gave no key")
    return key
