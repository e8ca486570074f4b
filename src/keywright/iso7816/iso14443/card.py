"""The card's end of ISO 14443-4 (7.5; letters and numbers of rules as there), in front of any device.

It never reports a damaged block: it stays silent, and the reader asks. A command runs once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, final

from keywright.errors import DecodeError
from keywright.iso7816.ats import Atqb, Ats, Attrib, AttribAnswer, Limits, Rats, TypeAPps
from keywright.iso7816.iso14443 import block
from keywright.iso7816.iso14443.block import MAX_WTXM, Block, Kind
from keywright.iso7816.iso14443.profile import Iso14443Profile
from keywright.iso7816.t1.block import swapped
from keywright.iso7816.transport import CardEvent, Deselected, Outbox, Ran, earliest
from keywright.sansio.responder import Device

_WRONG_LENGTH: Final = b"\x67\x00"


@final
class Iso14443Card:
    """Endpoint: a proximity card in front of a device.

    activation: the ATS of type A or the ATQB of type B; the card then waits for RATS or ATTRIB. Without it the card is
    active from the start, with the limits of the profile. work: seconds that the device takes for a command APDU, for
    which the card asks S(WTX).
    """

    def __init__(
        self,
        device: Device,
        profile: Iso14443Profile | None = None,
        activation: Ats | Atqb | None = None,
        *,
        work: Callable[[bytes], float] | None = None,
    ) -> None:
        self.device = device
        self.profile = profile or Iso14443Profile()
        self.activation = activation
        self._code = self.profile.code
        self._work = work
        self._events: list[CardEvent] = []
        self._outbox = Outbox()
        self._busy_until: float | None = None
        self._waits_for: Ats | Atqb | Rats | None = None
        self._mirrors_cid: int | None = None
        self._is_asleep = False
        self._begin()

    def ask_time(self, multiplier: int) -> None:
        """Before the next answer ask for `multiplier` times FWT (rule 9); several are asked one after the other.

        Raises ValueError for one that is not 1 to 59.
        """
        if not 1 <= multiplier <= MAX_WTXM:
            raise ValueError(f"WTXM is 1 to {MAX_WTXM}, not {multiplier}")
        self._times.append(multiplier)

    # ---- endpoint ---------------------------------------------------------------------------------------------

    def receive(self, data: bytes, now: float) -> None:
        """Take one frame; none is heard while the device works or after S(DESELECT)."""
        if self._is_asleep or (self._busy_until is not None and now < self._busy_until):
            return
        if self._waits_for is not None and self._activate(data, now):
            return
        if isinstance(self._waits_for, Ats | Atqb):
            return
        found = block.read(data, self._code, self._limits.fsc)
        if found is not None and self._is_mine(found):
            self._waits_for = None
            self._mirrors_cid = found.cid
            self._take(found, now)

    def parity_error(self, now: float) -> None:
        """A damaged frame: silence (7.5.5)."""

    def outgoing(self, now: float) -> Sequence[bytes]:
        """Frames to send now, among them an answer that has become ready."""
        if self._busy_until is not None and now >= self._busy_until:
            self._busy_until = None
            self._turn(now)
        return self._outbox.take(now)

    def deadline(self) -> float | None:
        """When `outgoing` is due."""
        return earliest(self._outbox.deadline(), self._busy_until)

    def events(self) -> Sequence[CardEvent]:
        """What has happened."""
        events, self._events = self._events, []
        return events

    def reset(self, now: float) -> None:  # noqa: ARG002 - the shape of `CardEnd`; nothing is timed here
        """Take the field away and give it back: the device is reset, and the card waits for its activation."""
        self.device.reset()
        self._events.clear()
        self._outbox.clear()
        self._begin()

    # ---- state ------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        self._limits = self.profile.limits
        self._waits_for = self.activation
        self._number = 1
        self._has_heard = self._is_asleep = False
        self._mirrors_cid = None
        self._times: list[int] = []
        self._asked = 0
        self._chain: bytearray | None = None
        self._nad: int | None = None
        self._answer = b""
        self._is_first = self._is_more = False
        self._ready = self._granted = 0.0
        self._last = b""
        self._busy_until = None

    @property
    def limits(self) -> Limits:
        """What activation has settled."""
        return self._limits

    def _is_mine(self, found: Block) -> bool:
        own = self._limits.cid
        return found.cid == own or (own == 0 and found.cid is None)

    # ---- activation -------------------------------------------------------------------------------------------

    def _activate(self, data: bytes, now: float) -> bool:
        """Answer RATS, ATTRIB, or the PPS that may follow a RATS; False if the frame is something else."""
        if not self._code.holds(data):
            return isinstance(self._waits_for, Ats | Atqb)
        raw = data[: -self._code.size]
        try:
            answer = self._answer_activation(raw)
        except DecodeError:
            return False
        if answer:
            self._outbox.replace(self._code.close(answer), now)
        return bool(answer)

    def _answer_activation(self, raw: bytes) -> bytes:
        match self._waits_for:
            case Ats() as ats:
                rats = Rats.parse(raw)
                self._limits, self._waits_for = ats.limits(rats), rats
                return ats.build()
            case Atqb() as atqb:
                attrib = Attrib.parse(raw)
                if attrib.pupi != atqb.pupi:
                    return b""
                self._limits, self._waits_for = atqb.limits(attrib), None
                return AttribAnswer(0, attrib.cid).build()
            case Rats() as rats:
                pps = TypeAPps.parse(raw)
                self._waits_for = None
                return pps.answer() if pps.cid == rats.cid else b""
            case _:
                return b""

    # ---- sending ----------------------------------------------------------------------------------------------

    def _put(self, frame: bytes, now: float) -> None:
        self._outbox.replace(frame, now)
        self._last = frame

    def _send(self, kind: Kind, number: int, now: float, inf: bytes = b"") -> None:
        self._put(self._code.close(Block(kind, number, cid=self._mirrors_cid, inf=inf).build()), now)

    def _turn(self, now: float) -> None:
        """What this side sends after an I-block: the acknowledgement, a request for time, or a piece of the answer."""
        if self._chain is not None:
            self._send(Kind.ACK, self._number, now)
        elif self._times:
            self._ask(self._times.pop(0), now)
        elif now < self._ready:
            self._wait(now)
        else:
            self._next_piece(now)

    def _ask(self, multiplier: int, now: float) -> None:
        self._asked = multiplier
        self._send(Kind.WTX, 0, now, bytes((multiplier,)))

    def _wait(self, now: float) -> None:
        """Let the device work on: within half of FWT or what the reader has granted, else ask for time first."""
        left, fwt = self._ready - now, self._limits.fwt
        if left <= fwt / 2:
            self._busy_until = self._ready
        elif now < self._granted:
            self._busy_until = min(self._ready, self._granted)
        else:
            self._ask(min(MAX_WTXM, int(left / fwt) + 2), now)

    def _next_piece(self, now: float) -> None:
        nad = self._nad if self._is_first else None
        size = block.room(self._limits.fsd, self._mirrors_cid, nad)
        inf, self._answer = self._answer[:size], self._answer[size:]
        self._is_first, self._is_more = False, bool(self._answer)
        sent = Block(Kind.I, self._number, self._is_more, self._mirrors_cid, nad, inf)
        self._put(self._code.close(sent.build()), now)

    # ---- blocks of the reader ---------------------------------------------------------------------------------

    def _take(self, found: Block, now: float) -> None:
        match found.kind:
            case Kind.I:
                self._on_i(found, now)
            case Kind.ACK:
                self._on_ack(found.number, now)
            case Kind.NAK:
                self._on_nak(found.number, now)
            case Kind.WTX:
                self._on_wtx(found.inf[0] & block.WTXM_MASK, now)
            case Kind.DESELECT:
                self._send(Kind.DESELECT, 0, now)
                self._is_asleep = True
                self._events.append(Deselected())

    def _on_i(self, found: Block, now: float) -> None:
        is_repeated = self._has_heard and found.number == self._number
        if is_repeated and self.profile.repeated_block == "drop":
            self._put(self._last, now)
            return
        if self._asked:
            return
        self._has_heard = True
        self._is_more = False
        self._number ^= 1
        if self._chain is None:
            self._chain = bytearray()
            self._nad = None if found.nad is None else swapped(found.nad)
        if len(self._chain) <= self.profile.max_command:
            self._chain += found.inf
        if not found.more:
            self._run(bytes(self._chain), now)
        self._turn(now)

    def _run(self, apdu: bytes, now: float) -> None:
        self._chain = None
        self._is_first = True
        if len(apdu) > self.profile.max_command:
            self._answer = _WRONG_LENGTH
            return
        self._ready = now + (self._work(apdu) if self._work else 0.0)
        self._granted = now
        self._answer = self.device.handle(apdu)
        self._events.append(Ran(apdu))

    def _on_ack(self, number: int, now: float) -> None:
        if number == self._number:
            if self._last:
                self._outbox.replace(self._last, now)
        elif self._is_more:
            self._number ^= 1
            self._next_piece(now)

    def _on_nak(self, number: int, now: float) -> None:
        """Rules 11 and 12: the last block once more, if there is one and it is meant; else an acknowledgement."""
        is_meant = number == self._number and self._last
        self._outbox.replace(self._last if is_meant else self._acknowledgement(), now)

    def _acknowledgement(self) -> bytes:
        return self._code.close(Block(Kind.ACK, self._number, cid=self._mirrors_cid).build())

    def _on_wtx(self, multiplier: int, now: float) -> None:
        if not self._asked or multiplier != self._asked:
            return
        self._asked = 0
        self._granted = now + (multiplier - 0.5) * self._limits.fwt
        self._turn(now)
