"""The reader's end of ranging setup: it sends M1 and M3, and is the one that resumes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, final

from msgspec.structs import replace

from keywright.errors import SequenceError
from keywright.uwb.grid import Grid
from keywright.uwb.keys import LAST_STS_INDEX
from keywright.uwb.setup.ends import Later, ParameterError, SetupEnd, State, Synchronized
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
    AES_SEQUENCE,
    CHANNELS,
    Capabilities,
    Terms,
    Wishes,
    choose_grid,
    choose_hopping,
    common_bits,
    first_common,
    hopping_bits,
    mac_mode,
    only,
    only_bit,
)


@final
class ReaderSetup(SetupEnd):
    """Endpoint: the reader's side of one session's setup. Needs a time sync before it sends M1."""

    TABLE: ClassVar[Mapping[State, tuple[type[SetupMessage], ...]]] = {
        "idle": (TimeSync, RangingNotice),
        "m1": (TimeSync, RangingNotice, M2),
        "m2": (),
        "m3": (TimeSync, RangingNotice, M4),
        "ranging": (TimeSync, RangingNotice, SuspendRequest),
        "suspending": (TimeSync, RangingNotice, SuspendRequest, SuspendResponse),
        "suspended": (TimeSync, RangingNotice, SuspendResponse),
        "resuming": (TimeSync, RangingNotice, ResumeResponse),
        "ended": (),
    }
    """What is expected in which state; everything else is answered with a general error and changes nothing."""

    def __init__(
        self,
        session_id: int,
        capabilities: Capabilities | None = None,
        wishes: Wishes | None = None,
        *,
        needs_time_sync: bool = True,
    ) -> None:
        """needs_time_sync: M1 waits for a time sync that holds a measurement."""
        super().__init__(session_id)
        self._able = capabilities or Capabilities()
        self._wishes = wishes or Wishes()
        self._is_synced = not needs_time_sync
        self._is_wanted = False
        self._chosen: Terms | None = None

    # ---- what the reader's owner does -------------------------------------------------------------------------

    def start(self, now: float) -> None:
        """Send M1, as soon as clocks are synchronized. Raises SequenceError unless idle."""
        if self.state != "idle":
            raise SequenceError(f"M1 while {self.state}", hint="suspend and resume instead, or open a new session")
        self._is_wanted = True
        self._offer(now)

    def suspend(self, now: float) -> None:
        """Ask the device to pause. Raises SequenceError unless ranging."""
        if self.state != "ranging":
            raise SequenceError(f"suspend while {self.state}")
        self._send(SuspendRequest(self.session_id), now, "suspending")

    def resume(self, now: float) -> None:
        """Ask the device to go on. Raises SequenceError unless suspended."""
        if self.state != "suspended":
            raise SequenceError(f"resume while {self.state}")
        self._send(ResumeRequest(self.session_id), now, "resuming")

    # ---- the protocol -----------------------------------------------------------------------------------------

    def _take(self, message: SetupMessage, now: float) -> None:
        match message:
            case TimeSync():
                self._synchronize(message, now)
            case RangingNotice():
                self._notice(message, now)
            case M2():
                self._decide(message, now)
            case M4():
                self._begin(message, now)
            case SuspendRequest():
                self._check_session(message.session_id, GeneralError.URSK_UNAVAILABLE)
                self._send(SuspendResponse(SUSPENDED), now)
                self._rest()
            case SuspendResponse():
                self._settle(message)
            case ResumeResponse():
                self._go_on(message, now)
            case _:  # TABLE lists nothing else
                raise SequenceError(f"{type(message).__name__} is not for a reader")

    def _synchronize(self, message: TimeSync, now: float) -> None:
        if message.success:
            self._is_synced = True
            self._events.append(Synchronized(message))
            self._offer(now)

    def _notice(self, message: RangingNotice, now: float) -> None:
        if message.initiate and self.state == "idle":
            self.start(now)
        elif message.initiate_resume and self.state == "suspended":
            self.resume(now)
        elif message.setup_later or message.resume_later:
            self._back()
            self._events.append(Later())
        elif message.suspended and self.state == "ranging":
            self._rest()

    def _offer(self, now: float) -> None:
        if self.state == "idle" and self._is_wanted and self._is_synced:
            able = self._able
            self._is_wanted = False
            offer = M1(ConfigIds(able.config_ids), bytes(able.pulse_shapes), able.channels, self.session_id)
            self._send(offer, now, "m1")

    def _decide(self, message: M2, now: float) -> None:
        able, wishes = self._able, self._wishes
        if message.hopping & AES_SEQUENCE:
            raise ParameterError("M2 offers the AES hopping sequence, which Aliro forbids")
        config_id = first_common("UWB configuration", able.config_ids, (only("config id", message.config_ids.ids),))
        pulse_shape = first_common(
            "pulse shape", able.pulse_shapes, (only("pulse shape", tuple(message.pulse_shapes)),)
        )
        channel = common_bits("channel", able.channels, only_bit("channel", message.channels))
        sync_codes = common_bits("SYNC code", able.sync_codes, message.sync_codes)
        slots = common_bits("number of chaps per slot", able.slots, message.slots)
        hopping = choose_hopping(wishes.hopping, able.hopping, message.hopping)
        grid = choose_grid(wishes, slots, max(1, able.ran_multiplier, message.ran_multiplier), hopping)
        if channel not in CHANNELS:
            raise ParameterError(f"channel bit {channel:#04x} is no UWB channel")
        self._chosen = Terms(self.session_id, config_id, pulse_shape, CHANNELS[channel], sync_codes, grid, 0)
        self._send(
            M3(
                grid.ran_multiplier,
                grid.chaps_per_slot,
                grid.responders,
                grid.slots_per_round,
                sync_codes,
                hopping_bits(hopping),
                mac_mode(grid.round_offset),
            ),
            now,
            "m3",
        )

    def _begin(self, message: M4, now: float) -> None:
        chosen = self._chosen
        if chosen is None or not 1 <= message.sync_code <= 32 or not chosen.sync_code >> message.sync_code - 1 & 1:
            raise ParameterError(f"SYNC code {message.sync_code} is none of those that M3 left")
        grid = self._regrid(chosen, message.sts_index0, message.hop_key)
        self._agree(chosen._replace(sync_code=message.sync_code, grid=grid, uwb_time0=message.uwb_time0), now)

    def _regrid(self, terms: Terms, sts_index0: int, hop_key: int) -> Grid:
        if sts_index0 >= LAST_STS_INDEX:
            raise ParameterError(f"STS_Index0 {sts_index0} is beyond {LAST_STS_INDEX}")
        return replace(terms.grid, sts_index0=sts_index0, hop_key=hop_key)

    def _go_on(self, message: ResumeResponse, now: float) -> None:
        terms = self.terms
        if terms is None or message.sts_index0 <= terms.grid.sts_index0:
            raise ParameterError(f"resume at STS index {message.sts_index0}, which was used before")
        grid = self._regrid(terms, message.sts_index0, terms.grid.hop_key)
        self._agree(terms._replace(grid=grid, uwb_time0=message.uwb_time0), now)
