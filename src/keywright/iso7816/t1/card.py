"""The card's end of T=1 (ISO 7816-3 section 11; rule numbers as there), in front of any device.

A command runs once, when its last I-block is valid and new; a repeated I-block is asked for anew and never runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Literal, final

from keywright.iso7816.t1 import block
from keywright.iso7816.t1.block import ABORT, EDC_WRONG, IFS, OTHER, RESYNCH, WTX, Invalid, Received, Receiver
from keywright.iso7816.t1.profile import T1Profile
from keywright.iso7816.transport import CardEvent, Outbox, Ran, Resynchronised, earliest
from keywright.sansio.responder import Device

Sent = Literal["", "I", "R", "request", "response"]
_WRONG_LENGTH: Final = b"\x67\x00"
_NO_DIAGNOSIS: Final = b"\x6f\x00"
_MAX_MULTIPLIER: Final = 255


@final
class T1Card:
    """Endpoint: a card that speaks T=1, after its answer to reset."""

    def __init__(
        self, device: Device, profile: T1Profile | None = None, *, work: Callable[[bytes], float] | None = None
    ) -> None:
        """work: seconds that the device takes for a command APDU, for which the card asks S(WTX); without it, none."""
        self.device = device
        self.profile = profile or T1Profile()
        self._code = self.profile.code
        self._work = work
        self._events: list[CardEvent] = []
        self._outbox = Outbox()
        self._nad: int | None = None
        self._asked: tuple[int, bytes] | None = None
        self._chain: bytearray | None = None
        self._busy_until: float | None = None
        self._last_kind: Sent = ""
        self._begin()

    # ---- what a caller asks -----------------------------------------------------------------------------------

    def ask_time(self, multiplier: int) -> None:
        """Before the next answer ask for `multiplier` times BWT (rule 3); several are asked one after the other."""
        self._times.append(multiplier)

    def ask_ifs(self, size: int) -> None:
        """At the next turn tell the host how many bytes of INF this side takes (rule 4)."""
        self._wanted_ifsc = size

    def abort(self) -> None:
        """At the next turn inside a chain, either direction, give it up (rule 9); an answer becomes 6F00."""
        self._wants_abort = True

    # ---- endpoint ---------------------------------------------------------------------------------------------

    def receive(self, data: bytes, now: float) -> None:
        """Take characters; none are heard while the device works."""
        if self._busy_until is not None and now < self._busy_until:
            return
        frame = self._receiver.add(data, now)
        if frame is not None:
            self._take(block.read(frame, self._code, self._ifsc), now)

    def parity_error(self, now: float) -> None:
        """The block that these characters belong to is invalid."""
        self._receiver.flush()
        if self._busy_until is None or now >= self._busy_until:
            self._bad(EDC_WRONG, now)

    def outgoing(self, now: float) -> Sequence[bytes]:
        """Blocks to send now; also ends a block that was cut, and sends an answer that has become ready."""
        if self._receiver.is_cut(now):
            self._take(block.read(self._receiver.flush(), self._code, self._ifsc), now)
        if self._busy_until is not None and now >= self._busy_until:
            self._busy_until = None
            self._turn(now)
        return self._outbox.take(now)

    def deadline(self) -> float | None:
        """When `outgoing` is due."""
        return earliest(self._outbox.deadline(), self._receiver.deadline(), self._busy_until)

    def events(self) -> Sequence[CardEvent]:
        """What has happened."""
        events, self._events = self._events, []
        return events

    def reset(self, now: float) -> None:  # noqa: ARG002 - the shape of `CardEnd`; nothing is timed here
        """Reset the device, and begin anew."""
        self.device.reset()
        self._events.clear()
        self._outbox.clear()
        self._begin()

    # ---- state ------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        self._receiver = Receiver(self._code, self.profile.character_wait)
        self._nad = None
        self._times: list[int] = []
        self._wanted_ifsc = 0
        self._wants_abort = False
        self._restart()

    def _restart(self) -> None:
        """Numbers and sizes as after a reset; chains are gone."""
        self._ns = self._nr = 0
        self._ifsc, self._ifsd = self.profile.ifsc, self.profile.ifsd
        self._takes_either = False
        self._asked = None
        self._asked_again = 0
        self._chain = None
        self._answer: bytes | None = None
        self._ready = self._granted = 0.0
        self._busy_until = None
        self._unacked = b""
        self._is_more = False
        self._last = b""
        self._last_kind = ""
        self._bad_count = 0

    # ---- sending ----------------------------------------------------------------------------------------------

    def _send(self, pcb: int, inf: bytes, kind: Sent, now: float) -> None:
        self._put(block.seal(self._code, block.swapped(self._nad or 0), pcb, inf), kind, now)

    def _put(self, frame: bytes, kind: Sent, now: float) -> None:
        self._outbox.replace(frame, now + self.profile.block_guard)
        self._last, self._last_kind = frame, kind

    def _send_r(self, error: int, now: float) -> None:
        self._send(block.r_pcb(self._nr, error), b"", "R", now)

    def _request(self, kind: int, inf: bytes, now: float) -> None:
        self._asked = (kind, inf)
        self._asked_again = 0
        self._send(kind, inf, "request", now)

    def _turn(self, now: float) -> None:
        """What this side sends when it is its turn: a wish of its own, an acknowledgement, or a piece of the answer."""
        if self._wants_abort and (self._chain is not None or self._unacked):
            self._wants_abort = False
            self._request(ABORT, b"", now)
        elif self._wanted_ifsc:
            size, self._wanted_ifsc = self._wanted_ifsc, 0
            self._request(IFS, bytes((size,)), now)
        elif self._chain is not None:
            self._send_r(0, now)
        elif self._times and not self._unacked:
            self._request(WTX, bytes((self._times.pop(0),)), now)
        elif now < self._ready:
            self._wait(now)
        else:
            self._next_piece(now)

    def _wait(self, now: float) -> None:
        """Let the device work on: within half of BWT or what the host has granted, else ask for time first (rule 3)."""
        left, bwt = self._ready - now, self.profile.block_wait
        if left <= bwt / 2:
            self._busy_until = self._ready
        elif now < self._granted:
            self._busy_until = min(self._ready, self._granted)
        else:
            self._request(WTX, bytes((min(_MAX_MULTIPLIER, int(left / bwt) + 2),)), now)

    def _next_piece(self, now: float) -> None:
        rest = self._answer or b""
        inf, self._answer = rest[: self._ifsd], rest[self._ifsd :]
        self._is_more = bool(self._answer) or (self.profile.empty_tail and bool(inf))
        self._send(block.i_pcb(self._ns, more=self._is_more), inf, "I", now)
        self._unacked = self._last

    # ---- blocks of the host -----------------------------------------------------------------------------------

    def _take(self, found: Received | Invalid, now: float) -> None:
        if isinstance(found, Invalid):
            self._bad(found.error, now)
        elif not self._is_ours(found.nad):
            self._bad(OTHER, now)
        elif found.kind == "I":
            self._on_i(found, now)
        elif found.kind == "R":
            self._on_r(found, now)
        elif found.is_response:
            self._on_response(found, now)
        else:
            self._on_request(found, now)

    def _is_ours(self, nad: int) -> bool:
        return nad == self._nad if self._nad is not None else block.is_address(nad)

    def _valid(self, found: Received) -> None:
        self._nad = found.nad
        self._bad_count = 0

    def _bad(self, error: int, now: float) -> None:
        """Rules 7.1 to 7.4.3: say once that a block was invalid."""
        self._bad_count += 1
        if self._bad_count > self.profile.card_answers:
            return
        if self._asked is not None:
            self._ask_again(now)
        elif self._last_kind == "R" or (self._last_kind == "response" and self.profile.after_response == "response"):
            self._put(self._last, self._last_kind, now)
        else:
            self._send_r(error, now)

    def _ask_again(self, now: float) -> None:
        assert self._asked is not None
        kind, inf = self._asked
        self._asked_again += 1
        if kind == IFS and self._asked_again > self.profile.card_ifs_repeats:
            self._asked = None
            self._turn(now)
        else:
            self._send(kind, inf, "request", now)

    def _on_i(self, found: Received, now: float) -> None:
        is_expected = found.number == self._nr or self._takes_either
        if self._asked is not None or not is_expected or (self._unacked and self._is_more):
            self._bad(0 if self._asked is None else OTHER, now)
            return
        self._valid(found)
        self._takes_either = False
        self._nr = found.number ^ 1
        self._acknowledged()
        if self._chain is None:
            self._chain = bytearray()
        if len(self._chain) <= self.profile.max_command:
            self._chain += found.inf
        if not found.more:
            self._run(bytes(self._chain), now)
        self._turn(now)

    def _run(self, apdu: bytes, now: float) -> None:
        self._chain = None
        if len(apdu) > self.profile.max_command:
            self._answer = _WRONG_LENGTH
            return
        self._ready = now + (self._work(apdu) if self._work else 0.0)
        self._granted = now
        self._answer = self.device.handle(apdu)
        self._events.append(Ran(apdu))

    def _acknowledged(self) -> None:
        if self._unacked:
            self._unacked = b""
            self._ns ^= 1

    def _on_r(self, found: Received, now: float) -> None:
        self._valid(found)
        if self._asked is not None:
            self._ask_again(now)
        elif self._unacked and found.number == self._ns:
            self._put(self._unacked, "I", now)
        elif self._unacked and self._is_more:
            if self._wants_abort:
                self._turn(now)
            self._acknowledged()
            if self._asked is None:
                self._turn(now)
        elif self._last_kind in ("R", "response"):
            self._put(self._last, self._last_kind, now)
        else:
            self._send_r(OTHER, now)

    def _on_request(self, found: Received, now: float) -> None:
        kind = found.request
        if kind == WTX:
            self._bad(OTHER, now)
            return
        self._valid(found)
        if kind == RESYNCH:
            self._restart()
            self._events.append(Resynchronised(may_have_run=False))
        elif kind == IFS:
            self._ifsd = found.inf[0]
        else:
            self._acknowledged()
            self._chain = None
            self._answer = None
            self._asked = None
            self._takes_either = self.profile.abort_number == "either"
        self._send(kind | 0x20, found.inf, "response", now)

    def _on_response(self, found: Received, now: float) -> None:
        if self._asked != (found.request, found.inf):
            self._bad(OTHER, now)
            return
        self._valid(found)
        self._asked = None
        if found.request == IFS:
            self._ifsc = found.inf[0]
        if found.request == WTX:
            self._granted = now + (found.inf[0] - 0.5) * self.profile.block_wait
        if found.request == ABORT:
            self._takes_either = self.profile.abort_number == "either"
            if self._chain is not None:
                self._chain = None
                self._send_r(0, now)
                return
            self._answer = _NO_DIAGNOSIS
        self._turn(now)
