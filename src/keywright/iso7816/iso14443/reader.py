"""The reader's end of ISO 14443-4 (7.5; letters and numbers of rules as there)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, final

from keywright.errors import DecodeError, SequenceError
from keywright.iso7816.ats import Atqb, Ats, Attrib, AttribAnswer, Limits, Rats, TypeAPps
from keywright.iso7816.iso14443 import block
from keywright.iso7816.iso14443.block import Block, Kind
from keywright.iso7816.iso14443.profile import ACTIVATION_WAIT_S, MAX_WAIT_S, Iso14443Profile, duration
from keywright.iso7816.timing import start_up_guard_time
from keywright.iso7816.transport import (
    Activated,
    Answered,
    Deselected,
    Failed,
    Failure,
    HostEvent,
    Outbox,
    Present,
    earliest,
)

Task = Literal["", "command", "presence", "deselect", "rats", "attrib", "pps"]
_ACTIVATING: Final = ("rats", "attrib", "pps")
_DOWN: Final = "the card was lost or deselected; activate it first"


@final
class Iso14443Reader:
    """Endpoint: a proximity coupling device and one card. Without `activate` the limits of the profile hold."""

    def __init__(self, profile: Iso14443Profile | None = None) -> None:
        self.profile = profile or Iso14443Profile()
        self._code = self.profile.code
        self._events: list[HostEvent] = []
        self._outbox = Outbox()
        self._until: float | None = None
        self._task: Task = ""
        self._atqb: Atqb | None = None
        self._attrib: Attrib | None = None
        self._pps: TypeAPps | None = None
        self._unacked: Block | None = None
        self._begin()

    # ---- what a caller asks -----------------------------------------------------------------------------------

    def activate(self, now: float, rats: Rats | None = None, pps: TypeAPps | None = None) -> None:
        """Send RATS and, once the ATS is there, `pps` if given; ends with `Activated`. For type A."""
        self._claim()
        self._is_down = False
        self._rats, self._pps = rats or Rats(), pps
        self._task = "rats"
        self._put(self._code.close(self._rats.build()), now, ACTIVATION_WAIT_S)

    def attach(self, now: float, atqb: Atqb, attrib: Attrib | None = None) -> None:
        """Select the type B card that answered `atqb`; ends with `Activated`."""
        self._claim()
        self._is_down = False
        self._atqb, self._attrib = atqb, attrib or Attrib(atqb.pupi)
        self._task = "attrib"
        self._put(self._code.close(self._attrib.build()), now, ACTIVATION_WAIT_S)

    def command(self, apdu: bytes, now: float) -> None:
        """Send one command APDU. Raises SequenceError while something is under way."""
        if not self._ready():
            return
        self._task = "command"
        self._rest, self._is_first = apdu, True
        self._next_piece(now)

    def check_presence(self, now: float) -> None:
        """Ask whether the card is still there (R(NAK) while idle); ends with `Present`."""
        if self._ready():
            self._task = "presence"
            self._send(Kind.NAK, now)

    def deselect(self, now: float) -> None:
        """Send the card to sleep; ends with `Deselected`."""
        if self._ready():
            self._task = "deselect"
            self._send(Kind.DESELECT, now)

    @property
    def limits(self) -> Limits:
        """What activation has settled."""
        return self._limits

    # ---- endpoint ---------------------------------------------------------------------------------------------

    def receive(self, data: bytes, now: float) -> None:
        """Take one frame; what comes while nothing is awaited is dropped."""
        if not self._task:
            return
        self._until = None
        self._blocks += 1
        if self._task in _ACTIVATING:
            self._on_activation(data, now)
            return
        found = block.read(data, self._code, self._limits.fsd)
        if self._blocks > self.profile.max_blocks:
            self._give_up(Failure.ENDLESS, f"more than {self.profile.max_blocks} blocks for one command")
        elif found is None or found.cid != self._limits.cid:
            self._bad(Failure.DAMAGED, now)
        elif found.kind is Kind.I:
            self._on_i(found, now)
        elif found.kind is Kind.ACK:
            self._on_ack(found.number, now)
        elif found.kind is Kind.WTX and self._task == "command":
            self._on_wtx(found.inf[0] & block.WTXM_MASK, now)
        elif found.kind is Kind.DESELECT and self._task == "deselect":
            self._is_down = True
            self._finish(Deselected())
        else:
            self._bad(Failure.DAMAGED, now)

    def parity_error(self, now: float) -> None:
        """The frame that these characters belong to is damaged."""
        self.receive(b"", now)

    def outgoing(self, now: float) -> Sequence[bytes]:
        """Frames to send now; also notes that FWT is over."""
        if self._until is not None and now >= self._until:
            self._until = None
            if self._task in _ACTIVATING:
                self._give_up(Failure.SILENCE, "no answer to the activation")
            else:
                self._bad(Failure.SILENCE, now)
        return self._outbox.take(now)

    def deadline(self) -> float | None:
        """When `outgoing` is due."""
        return earliest(self._outbox.deadline(), self._until)

    def events(self) -> Sequence[HostEvent]:
        """What has happened."""
        events, self._events = self._events, []
        return events

    def reset(self, now: float) -> None:  # noqa: ARG002 - the shape of `HostEnd`; nothing is timed here
        """Begin anew, as after the field was off and the card was activated with the limits of the profile."""
        self._events.clear()
        self._outbox.clear()
        self._begin()

    # ---- state ------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        self._limits = self.profile.limits
        self._number = 0
        self._is_down = False
        self._not_before = 0.0
        self._rats = Rats()
        self._pps = self._atqb = self._attrib = None
        self._ats = b""
        self._clear()

    def _clear(self) -> None:
        self._task = ""
        self._rest = b""
        self._is_first = self._is_more = self._is_chain_in = self._is_whole_sent = False
        self._unacked = None
        self._answer = bytearray()
        self._tries = self._repeats = self._blocks = 0
        self._until = None

    def _claim(self) -> None:
        if self._task:
            raise SequenceError("something is under way with this card; it takes one thing after the other")

    def _ready(self) -> bool:
        self._claim()
        if self._is_down:
            self._events.append(Failed(Failure.DOWN, False, _DOWN))
        return not self._is_down

    def _finish(self, event: HostEvent) -> None:
        self._clear()
        self._events.append(event)

    def _give_up(self, failure: Failure, text: str) -> None:
        delivered = None if self._is_whole_sent else False
        self._is_down = True
        self._outbox.clear()
        self._finish(Failed(failure, delivered, f"{text}; the card must be activated anew"))

    # ---- sending ----------------------------------------------------------------------------------------------

    def _put(self, frame: bytes, now: float, wait: float) -> None:
        due = max(now, self._not_before)
        self._outbox.replace(frame, due)
        self._until = due + duration(frame) + wait

    def _send_block(self, sent: Block, now: float, wait: float = 0.0) -> None:
        self._put(self._code.close(sent.build()), now, wait or self._limits.fwt)

    def _send(self, kind: Kind, now: float) -> None:
        number = 0 if kind is Kind.DESELECT else self._number
        self._send_block(Block(kind, number, cid=self._limits.cid), now)

    def _next_piece(self, now: float) -> None:
        nad = self.profile.nad if self._is_first and self.profile.nad is not None else None
        size = block.room(self._limits.fsc, self._limits.cid, nad)
        inf, self._rest = self._rest[:size], self._rest[size:]
        self._is_first, self._is_more = False, bool(self._rest)
        self._is_whole_sent = self._is_whole_sent or not self._is_more
        self._unacked = Block(Kind.I, self._number, self._is_more, self._limits.cid, nad, inf)
        self._send_block(self._unacked, now)

    # ---- what is wrong (rules 4, 5, 8) ------------------------------------------------------------------------

    def _bad(self, failure: Failure, now: float) -> None:
        self._tries += 1
        if self._tries > self.profile.max_retries:
            self._give_up(failure, f"asked {self.profile.max_retries} times again in vain")
        elif self._task == "deselect":
            self._send(Kind.DESELECT, now)
        else:
            self._send(Kind.ACK if self._is_chain_in else Kind.NAK, now)

    # ---- blocks of the card -----------------------------------------------------------------------------------

    def _on_i(self, found: Block, now: float) -> None:
        if self._task != "command" or found.number != self._number or (self._unacked and self._is_more):
            self._bad(Failure.DAMAGED, now)
            return
        self._tries = self._repeats = 0
        self._number ^= 1
        self._unacked = None
        self._answer += found.inf
        self._is_chain_in = found.more
        if len(self._answer) > self.profile.max_answer:
            self._give_up(Failure.ENDLESS, f"an answer of more than {self.profile.max_answer} bytes")
        elif found.more:
            self._send(Kind.ACK, now)
        else:
            self._finish(Answered(bytes(self._answer)))

    def _on_ack(self, number: int, now: float) -> None:
        if self._task == "presence":
            self._finish(Present())
        elif self._task != "command" or self._unacked is None:
            self._bad(Failure.DAMAGED, now)
        elif number != self._number:
            self._repeats += 1
            self._tries = 0
            if self._repeats > self.profile.max_retries:
                self._give_up(Failure.DAMAGED, "the card asked for the same block again and again")
            else:
                self._send_block(self._unacked, now)
        elif self._is_more:
            self._tries = self._repeats = 0
            self._number ^= 1
            self._next_piece(now)
        else:
            self._bad(Failure.DAMAGED, now)

    def _on_wtx(self, multiplier: int, now: float) -> None:
        self._tries = 0
        wait = min(multiplier * self._limits.fwt, MAX_WAIT_S)
        self._send_block(Block(Kind.WTX, cid=self._limits.cid, inf=bytes((multiplier,))), now, wait)

    def _on_activation(self, data: bytes, now: float) -> None:
        if not self._code.holds(data):
            self._give_up(Failure.DAMAGED, "the answer to the activation is damaged")
            return
        try:
            self._activated(data[: -self._code.size], now)
        except DecodeError as error:
            self._give_up(Failure.ILLEGAL, f"the answer to the activation is none: {error}")

    def _activated(self, answer: bytes, now: float) -> None:
        if self._task == "pps":
            if self._pps is None or answer != self._pps.answer():
                raise DecodeError("the card did not repeat the start byte of the PPS", 0)
            self._finish(Activated(self._ats))
            return
        if self._task == "attrib":
            if self._atqb is None or self._attrib is None or AttribAnswer.parse(answer).cid != self._attrib.cid:
                raise DecodeError("the card answered with another number", 0)
            self._limits = self._atqb.limits(self._attrib)
        else:
            self._limits = Ats.parse(answer).limits(self._rats)
        self._number = 0
        self._ats = answer
        self._not_before = now + start_up_guard_time(self._limits.sfgi)
        if self._task == "rats" and self._pps is not None:
            self._task = "pps"
            self._put(self._code.close(self._pps.build()), now, ACTIVATION_WAIT_S)
        else:
            self._finish(Activated(answer))
