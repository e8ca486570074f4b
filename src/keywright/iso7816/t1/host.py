"""The host's end of T=1 (ISO 7816-3 section 11; rule numbers as there).

One command at a time: its I-blocks go out, the answer's come in, and between them whatever the card asks. A command
ends with `Answered` or `Failed`. RESYNCH is told by `Resynchronised`, because the command may have run by then.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, final

from keywright.errors import SequenceError
from keywright.iso7816.t1 import block
from keywright.iso7816.t1.block import ABORT, EDC_WRONG, IFS, OTHER, RESYNCH, WTX, Invalid, Received, Receiver
from keywright.iso7816.t1.profile import T1Profile
from keywright.iso7816.transport import (
    Answered,
    Failed,
    Failure,
    HostEvent,
    Outbox,
    Resynchronised,
    SizeAgreed,
    earliest,
)

Sent = Literal["", "I", "R", "request", "response"]
_DOWN: Final = "the card was lost; reset it first"


@final
class T1Host:
    """Endpoint: the interface device of T=1. It starts idle, as after an answer to reset or a PPS."""

    def __init__(self, profile: T1Profile | None = None) -> None:
        self.profile = profile or T1Profile()
        self._code = self.profile.code
        self._events: list[HostEvent] = []
        self._outbox = Outbox()
        self._apdu: bytes | None = None
        self._asked: tuple[int, bytes] | None = None
        self._until: float | None = None
        self._last_kind: Sent = ""
        self._begin()

    # ---- what a caller asks -----------------------------------------------------------------------------------

    def command(self, apdu: bytes, now: float, pieces: Sequence[int] = ()) -> None:
        """Send one command APDU. pieces: sizes of its first I-blocks, to try a card with; else as large as IFSC.

        Raises SequenceError while something is under way.
        """
        if not self._claim():
            return
        self._apdu = apdu
        self._pieces = tuple(pieces)
        self._is_whole_sent = False
        self._restarts = self._blocks = 0
        self._start(now)

    def request_ifs(self, size: int, now: float) -> None:
        """Tell the card how many bytes of INF this side takes (rule 4). Raises SequenceError, ValueError for a size."""
        if not 1 <= size <= block.MAX_INF:
            raise ValueError(f"IFSD is 1 to {block.MAX_INF}, not {size}")
        if self._claim():
            self._request(IFS, bytes((size,)), now)

    def resynchronise(self, now: float) -> None:
        """Begin anew without a command (rule 6). Raises SequenceError while something is under way."""
        if self._claim():
            self._request(RESYNCH, b"", now)

    def abort(self) -> None:
        """Give up the chain under way, either direction, at this side's next turn in it (rule 9)."""
        self._wants_abort = True

    # ---- endpoint ---------------------------------------------------------------------------------------------

    def receive(self, data: bytes, now: float) -> None:
        """Take characters; what comes while nothing is awaited is dropped."""
        if self._apdu is None and self._asked is None:
            return
        frame = self._receiver.add(data, now)
        if frame is not None:
            self._take(block.read(frame, self._code, self._ifsd), now)

    def parity_error(self, now: float) -> None:
        """The block that these characters belong to is invalid."""
        self._receiver.flush()
        if self._apdu is not None or self._asked is not None:
            self._bad(EDC_WRONG, now)

    def outgoing(self, now: float) -> Sequence[bytes]:
        """Blocks to send now; also notes that CWT or BWT is over."""
        if self._receiver.is_open:
            if self._receiver.is_cut(now):
                self._take(block.read(self._receiver.flush(), self._code, self._ifsd), now)
        elif self._until is not None and now >= self._until:
            self._until = None
            self._silence(now)
        return self._outbox.take(now)

    def deadline(self) -> float | None:
        """When `outgoing` is due."""
        return earliest(self._outbox.deadline(), self._receiver.deadline() or self._until)

    def events(self) -> Sequence[HostEvent]:
        """What has happened."""
        events, self._events = self._events, []
        return events

    def reset(self, now: float) -> None:  # noqa: ARG002 - the shape of `HostEnd`; nothing is timed here
        """Begin anew, as after an answer to reset."""
        self._events.clear()
        self._outbox.clear()
        self._begin()

    # ---- state ------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        self._receiver = Receiver(self._code, self.profile.character_wait)
        self._ns = self._nr = 0
        self._ifsc, self._ifsd = self.profile.ifsc, self.profile.ifsd
        self._is_alive = self._is_down = False
        self._takes_either = self._wants_abort = False
        self._apdu = self._asked = None
        self._is_whole_sent = False
        self._restarts = self._blocks = 0
        self._clear()

    def _clear(self) -> None:
        """Forget the blocks of an exchange, not its numbers."""
        self._rest = b""
        self._sizes: list[int] = []
        self._unacked = b""
        self._is_more = self._is_chain_in = self._is_given_up = False
        self._answer = bytearray()
        self._last = b""
        self._last_kind = ""
        self._bad_count = self._repeats = self._tries = 0
        self._until = None

    def _claim(self) -> bool:
        """Whether something may begin; a card that was lost is told as an event."""
        if self._apdu is not None or self._asked is not None:
            raise SequenceError("a command is under way on this card; T=1 takes one after the other")
        if self._is_down:
            self._events.append(Failed(Failure.DOWN, False, _DOWN))
        return not self._is_down

    # ---- sending ----------------------------------------------------------------------------------------------

    def _send(self, pcb: int, inf: bytes, kind: Sent, now: float, extension: int = 1) -> None:
        self._put(block.seal(self._code, self.profile.nad, pcb, inf), kind, now, extension)

    def _put(self, frame: bytes, kind: Sent, now: float, extension: int = 1) -> None:
        due = now + self.profile.block_guard
        self._outbox.replace(frame, due)
        self._last, self._last_kind = frame, kind
        self._until = due + self.profile.duration(frame) + extension * self.profile.block_wait

    def _start(self, now: float) -> None:
        self._clear()
        self._rest = self._apdu or b""
        self._sizes = list(self._pieces)
        self._next_piece(now)

    def _next_piece(self, now: float) -> None:
        size = self._sizes.pop(0) if self._sizes else self._ifsc
        inf, self._rest = self._rest[:size], self._rest[size:]
        self._is_more = bool(self._rest or self._sizes)
        self._send(block.i_pcb(self._ns, more=self._is_more), inf, "I", now)
        self._unacked = self._last
        self._is_whole_sent = self._is_whole_sent or not self._is_more

    def _send_r(self, error: int, now: float) -> None:
        self._send(block.r_pcb(self._nr, error), b"", "R", now)

    def _request(self, kind: int, inf: bytes, now: float) -> None:
        self._asked = (kind, inf)
        self._tries = 1
        self._send(kind, inf, "request", now)

    def _ask_again(self, failure: Failure, now: float) -> None:
        if self._tries >= self.profile.max_requests:
            self._give_up(failure, "an S request stayed unanswered")
            return
        self._tries += 1
        self._put(self._last, "request", now)

    # ---- ends -------------------------------------------------------------------------------------------------

    def _finish(self, event: HostEvent) -> None:
        self._apdu = self._asked = None
        self._wants_abort = False
        self._clear()
        self._events.append(event)

    def _give_up(self, failure: Failure, text: str) -> None:
        self._is_down = True
        self._outbox.clear()
        self._finish(Failed(failure, self._delivered, f"{text}; the card must be reset"))

    @property
    def _delivered(self) -> bool | None:
        """False until the last block of the command was sent once, be it before a RESYNCH; then unknown."""
        return None if self._is_whole_sent else False

    def _resynchronise(self, failure: Failure, now: float) -> None:
        self._restarts += 1
        if self._restarts > self.profile.max_restarts:
            self._give_up(failure, "beginning anew did not help")
            return
        self._request(RESYNCH, b"", now)

    # ---- invalid and missing blocks ---------------------------------------------------------------------------

    def _take(self, found: Received | Invalid, now: float) -> None:
        self._until = None
        self._blocks += 1
        if self._blocks > self.profile.max_blocks:
            self._give_up(Failure.ENDLESS, f"more than {self.profile.max_blocks} blocks for one command")
        elif isinstance(found, Invalid):
            self._bad(found.error, now)
        elif found.nad != block.swapped(self.profile.nad):
            self._bad(OTHER, now)
        elif found.kind == "I":
            self._on_i(found, now)
        elif found.kind == "R":
            self._on_r(found.number, now)
        elif found.is_response:
            self._on_response(found, now)
        else:
            self._on_request(found, now)

    def _silence(self, now: float) -> None:
        if self.profile.silence == "fatal":
            self._give_up(Failure.SILENCE, "the card did not answer within BWT")
        else:
            self._bad(OTHER, now, Failure.SILENCE)

    def _bad(self, error: int, now: float, failure: Failure = Failure.DAMAGED) -> None:
        """Rules 7.1 to 7.4: ask again, and know when to stop."""
        self._until = None
        self._bad_count += 1
        if self._asked is not None:
            self._ask_again(failure, now)
        elif self._bad_count > self.profile.max_bad:
            if not self._is_alive and self.profile.first_failure == "reset":
                self._give_up(failure, "no valid block since the reset")
            else:
                self._resynchronise(failure, now)
        elif self._last_kind == "R" or (self._last_kind == "response" and self.profile.after_response == "response"):
            self._put(self._last, self._last_kind, now)
        else:
            self._send_r(error, now)

    def _valid(self) -> None:
        self._is_alive = True
        self._bad_count = 0

    def _repeat(self, frame: bytes, kind: Sent, now: float) -> None:
        """Send a block once more because the card asked for it, within bounds."""
        self._repeats += 1
        if self._repeats > self.profile.max_repeats:
            self._resynchronise(Failure.DAMAGED, now)
        else:
            self._put(frame, kind, now)

    # ---- blocks of the card -----------------------------------------------------------------------------------

    def _on_i(self, found: Received, now: float) -> None:
        is_expected = found.number == self._nr or self._takes_either
        if self._asked is not None or (self._unacked and self._is_more) or not is_expected:
            self._bad(OTHER, now)
            return
        self._valid()
        self._takes_either = self._is_given_up = False
        self._nr = found.number ^ 1
        self._acknowledged()
        self._answer += found.inf
        self._is_chain_in = found.more
        if len(self._answer) > self.profile.max_answer:
            self._give_up(Failure.ENDLESS, f"an answer of more than {self.profile.max_answer} bytes")
        elif not found.more:
            self._finish(Answered(bytes(self._answer)))
        elif self._wants_abort:
            self._request(ABORT, b"", now)
        else:
            self._send_r(0, now)

    def _acknowledged(self) -> None:
        self._repeats = 0
        if self._unacked:
            self._unacked = b""
            self._ns ^= 1

    def _on_r(self, number: int, now: float) -> None:
        self._valid()
        if self._asked is not None:
            self._ask_again(Failure.DAMAGED, now)
        elif self._is_given_up:
            self._ns = number
            self._finish(Failed(Failure.ABORTED, self._delivered, "the card gave up the command", is_down=False))
        elif self._unacked and number == self._ns:
            self._repeat(self._unacked, "I", now)
        elif self._unacked and self._is_more:
            self._acknowledged()
            if self._wants_abort:
                self._request(ABORT, b"", now)
            else:
                self._next_piece(now)
        elif self._last_kind in ("R", "response"):
            self._repeat(self._last, self._last_kind, now)
        else:
            self._repeat(block.seal(self._code, self.profile.nad, block.r_pcb(self._nr, OTHER)), "R", now)

    def _on_request(self, found: Received, now: float) -> None:
        """An S request of the card: answered while this side waits for the card, else as an invalid block."""
        kind = found.request
        if kind == RESYNCH:
            if self.profile.card_resynch == "resynch" and self._asked is None:
                self._is_alive = True
                self._resynchronise(Failure.DAMAGED, now)
            else:
                self._bad(OTHER, now)
            return
        if self._asked is not None or (kind == ABORT and not self._is_in_chain):
            self._bad(OTHER, now)
            return
        self._valid()
        if kind == IFS:
            self._ifsc = found.inf[0]
        elif kind == ABORT:
            self._aborted_by_card()
        self._send(kind | 0x20, found.inf, "response", now, found.inf[0] if kind == WTX else 1)

    @property
    def _is_in_chain(self) -> bool:
        return self._is_given_up or self._is_chain_in or bool(self._unacked and self._is_more)

    def _aborted_by_card(self) -> None:
        if self._is_chain_in:
            self._answer.clear()
        else:
            self._is_given_up = True
            self._rest, self._sizes = b"", []
            self._unacked = b""
        self._takes_either = self.profile.abort_number == "either"

    def _on_response(self, found: Received, now: float) -> None:
        if self._asked != (found.request, found.inf):
            self._bad(OTHER, now)
            return
        self._valid()
        if found.request == RESYNCH:
            self._on_resynchronised(now)
        elif found.request == IFS:
            self._ifsd = found.inf[0]
            self._finish(SizeAgreed(self._ifsd))
        else:
            self._takes_either = self.profile.abort_number == "either"
            delivered = True if self._is_chain_in else self._delivered
            self._finish(Failed(Failure.ABORTED, delivered, "the host gave up the chain", is_down=False))

    def _on_resynchronised(self, now: float) -> None:
        self._ns = self._nr = 0
        self._ifsc, self._ifsd = self.profile.ifsc, self.profile.ifsd
        self._takes_either = False
        self._asked = None
        event = Resynchronised(self._is_whole_sent and self._apdu is not None, is_over=self._apdu is None)
        if self._apdu is None:
            self._finish(event)
            return
        self._events.append(event)
        if self.profile.after_resynch == "repeat":
            self._start(now)
        else:
            outcome = "may have run" if self._is_whole_sent else "did not run"
            text = f"the card had to be resynchronised; the command {outcome}"
            self._finish(Failed(Failure.RESYNCHRONISED, self._delivered, text, is_down=False))
