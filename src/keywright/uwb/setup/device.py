"""The device's end of ranging setup: it sends M2 and M4, and says where STS index and time begin."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar, Final, final

from msgspec.structs import replace

from keywright.errors import SequenceError
from keywright.uwb.grid import LAST_STS_INDEX0, Grid, Hopping
from keywright.uwb.keys import LAST_STS_INDEX
from keywright.uwb.setup.ends import Later, ParameterError, SetupEnd, State
from keywright.uwb.setup.messages import (
    M1,
    M2,
    M3,
    M4,
    SUSPENDED,
    ConfigIds,
    GeneralError,
    RangingNotice,
    ResumeRequest,
    ResumeResponse,
    SetupMessage,
    SuspendRequest,
    SuspendResponse,
    TimeSync,
)
from keywright.uwb.setup.terms import (
    CHANNELS,
    Capabilities,
    Terms,
    chaps_of,
    common_bits,
    first_common,
    hopping_bits,
    hopping_of,
    round_offset,
)
from keywright.uwb.twr import TICK_HZ

LEAD_S: Final = 0.2
"""From M4 or a resume to the first pre-poll, seconds."""


@final
class DeviceSetup(SetupEnd):
    """Endpoint: the device's side of one session's setup."""

    TABLE: ClassVar[Mapping[State, tuple[type[SetupMessage], ...]]] = {
        "idle": (RangingNotice, M1),
        "m1": (),
        "m2": (RangingNotice, M3),
        "m3": (),
        "ranging": (RangingNotice, SuspendRequest),
        "suspending": (RangingNotice, SuspendRequest, SuspendResponse),
        "suspended": (RangingNotice, ResumeRequest, SuspendResponse),
        "resuming": (),
        "ended": (),
    }
    """What is expected in which state; everything else is answered with a general error and changes nothing."""

    def __init__(
        self,
        session_id: int,
        capabilities: Capabilities | None = None,
        *,
        random: Callable[[int], bytes],
        clock_us: Callable[[float], int] = lambda now: round(now * 1e6),
    ) -> None:
        """random(n): n random octets. clock_us(now): the UWB clock at that time of the endpoint's, microseconds."""
        super().__init__(session_id)
        self._able = capabilities or Capabilities()
        self._random = random
        self._clock_us = clock_us
        self._offer: M2 | None = None
        self._channel = 0
        self._since = 0.0

    # ---- what the device's owner does -------------------------------------------------------------------------

    def synchronize(
        self, device_time: int, now: float, *, uncertainty: int = 80, max_ppm: int = 100, event_count: int = 0
    ) -> None:
        """Send a time sync: what the UWB clock said at an event of Bluetooth (`uwb.sync`). 80 is about 1 ms."""
        self._send(TimeSync(event_count, device_time, uncertainty, 0, max_ppm, 1, 0), now)

    def initiate(self, now: float) -> None:
        """Ask the reader for M1, or to resume. Raises SequenceError in any other state than idle and suspended."""
        if self.state == "idle":
            self._send(RangingNotice(initiate=True), now)
        elif self.state == "suspended":
            self._send(RangingNotice(initiate_resume=True), now)
        else:
            raise SequenceError(f"initiate while {self.state}")

    def suspend(self, now: float) -> None:
        """Ask the reader to pause. Raises SequenceError unless ranging."""
        if self.state != "ranging":
            raise SequenceError(f"suspend while {self.state}")
        self._send(SuspendRequest(self.session_id), now, "suspending")

    # ---- the protocol -----------------------------------------------------------------------------------------

    def _take(self, message: SetupMessage, now: float) -> None:
        match message:
            case RangingNotice():
                if message.setup_later or message.resume_later:
                    self._events.append(Later())
            case M1():
                self._answer(message, now)
            case M3():
                self._begin(message, now)
            case SuspendRequest():
                self._check_session(message.session_id, GeneralError.URSK_UNAVAILABLE)
                self._send(SuspendResponse(SUSPENDED), now)
                self._rest()
            case SuspendResponse():
                self._settle(message)
            case ResumeRequest():
                self._check_session(message.session_id, GeneralError.URSK_UNAVAILABLE)
                self._go_on(now)
            case _:  # TABLE lists nothing else
                raise SequenceError(f"{type(message).__name__} is not for a device")

    def _answer(self, message: M1, now: float) -> None:
        able = self._able
        self._check_session(message.session_id, GeneralError.WRONG_PARAMETERS)
        config_id = first_common("UWB configuration", message.config_ids.ids, able.config_ids)
        pulse_shape = first_common("pulse shape", tuple(message.pulse_shapes), able.pulse_shapes)
        channels = common_bits("channel", able.channels, message.channels)
        channel = channels & -channels if not channels & 0x02 else 0x02  # channel 9 where both have it
        if channel not in CHANNELS:
            raise ParameterError(f"channel bit {channel:#04x} is no UWB channel")
        self._offer = M2(
            ConfigIds((config_id,)),
            bytes((pulse_shape,)),
            channel,
            able.sync_codes,
            able.ran_multiplier,
            able.slots,
            able.hopping,
        )
        self._channel = CHANNELS[channel]
        self._send(self._offer, now, "m2")

    def _begin(self, message: M3, now: float) -> None:
        offer = self._offer
        if offer is None:
            raise ParameterError("M3 without M2")
        hopping = hopping_of(message.hopping)
        if hopping_bits(hopping) & ~offer.hopping:
            raise ParameterError(f"hopping {message.hopping:#x} was not offered")
        if message.ran_multiplier < offer.ran_multiplier:
            raise ParameterError(
                f"RAN multiplier {message.ran_multiplier}; at least {offer.ran_multiplier} was offered"
            )
        if message.chaps_per_slot not in chaps_of(offer.slots):
            raise ParameterError(f"{message.chaps_per_slot} chaps per slot were not offered")
        sync_codes = common_bits("SYNC code", offer.sync_codes, message.sync_codes)
        sync_code = (sync_codes & -sync_codes).bit_length()
        sts_index0 = int.from_bytes(self._random(4)) & LAST_STS_INDEX0
        hop_key = 0 if hopping is Hopping.NONE else int.from_bytes(self._random(4))
        try:
            grid = Grid(
                sts_index0,
                message.responders,
                message.ran_multiplier,
                message.slots_per_round,
                message.chaps_per_slot,
                hopping,
                hop_key,
                round_offset(message.mac_mode),
            )
        except ValueError as error:
            raise ParameterError(f"M3: {error}") from error
        uwb_time0 = self._clock_us(now + LEAD_S)
        self._send(M4(sts_index0, uwb_time0, hop_key, sync_code), now)
        self._since = now + LEAD_S
        terms = Terms(
            self.session_id,
            offer.config_ids.ids[0],
            offer.pulse_shapes[0],
            self._channel,
            sync_code,
            grid,
            uwb_time0,
        )
        self._agree(terms, now)

    def _go_on(self, now: float) -> None:
        """A new grid whose indices all come after those that time has used up, whether or not they were sent."""
        terms = self.terms
        if terms is None:
            raise ParameterError("nothing to resume", GeneralError.URSK_UNAVAILABLE)
        since = now + LEAD_S - self._since
        blocks = int(max(0.0, since) * TICK_HZ // terms.grid.block_ticks) + 1
        sts_index0 = terms.grid.sts_index(blocks, 0)
        if sts_index0 >= LAST_STS_INDEX:
            self.drop_ursk("sts-index")
            raise ParameterError("the STS indices are used up", GeneralError.URSK_UNAVAILABLE)
        uwb_time0 = self._clock_us(now + LEAD_S)
        self._since = now + LEAD_S
        self._send(ResumeResponse(sts_index0, uwb_time0), now)
        self._agree(terms._replace(grid=replace(terms.grid, sts_index0=sts_index0), uwb_time0=uwb_time0), now)
