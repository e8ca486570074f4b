"""One PB-ADV link, for both ends: transactions out, transactions in, opening and closing (MshPRT 5.2.1, 5.3.2, 5.3.3).

Frames are advertising data. A PDU goes out as a transaction, all its segments again and again until they are
acknowledged; one transaction at a time. What comes in is put together, acknowledged, and given up once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Literal, TypeAlias, final

import msgspec

from keywright.errors import DecodeError
from keywright.mesh.advertising import PB_ADV, ad_structures, build_ad
from keywright.mesh.bearer import BearerEvent, LinkClosed, LinkOpened, PduReceived
from keywright.mesh.ends import CloseReason
from keywright.mesh.pb_adv.messages import (
    ACK,
    LINK_CLOSE,
    LINK_OPEN,
    Generic,
    LinkAck,
    LinkClose,
    LinkOpen,
    PbAdvPdu,
    TransactionAck,
    TransactionContinuation,
    TransactionStart,
    fcs,
    parse_generic,
    segments,
)

State: TypeAlias = Literal["opening", "open", "closing", "closed"]
Role: TypeAlias = Literal["provisioner", "device"]

FIRST_TRANSACTION: Final[dict[Role, int]] = {"provisioner": 0x00, "device": 0x80}
"""Each end counts through its own half of the octet (MshPRT 5.2.1)."""
_HALF: Final = 0x80
_CLOSES: Final = 3
"""A Link Close is not acknowledged, so it is sent this often (MshPRT 5.3.1.4.3)."""
_MOST_WAITING: Final = 16
"""Answers that wait to be sent at most: who floods a link with copies must not delay what it has to say."""


class Timing(msgspec.Struct, frozen=True):
    """Times of a PB-ADV link, seconds. What the standard leaves open says so."""

    delay_s: tuple[float, float] = (0.020, 0.050)
    """Random delay before each PDU (MshPRT 5.3.3)."""
    retransmit_s: float = 0.5
    """Between the last segment and the first one again. The standard gives no value."""
    transaction_s: float = 30.0
    """Transaction acknowledgment timer (MshPRT 5.3.3)."""
    establishment_s: float = 60.0
    """Link establishment timer of the provisioner (MshPRT 5.3.2)."""
    link_s: float = 60.0
    """Link timer of the device: from Link Open to the first provisioning PDU (MshPRT 5.3.2)."""


@final
class PbAdvLink:
    """Bearer: one link with its Link ID. Made by `connect` or `accept`."""

    def __init__(self, role: Role, link_id: int, random: Callable[[], float], timing: Timing) -> None:
        """random(): a number from 0 up to 1, for the delays between PDUs."""
        self.link_id = link_id
        self.state: State = "opening"
        self._role: Role = role
        self._random = random
        self._timing = timing
        self._events: list[BearerEvent] = []
        self._frames: deque[tuple[float, int, bytes]] = deque()
        self._free_at = 0.0
        self._until: float | None = None
        self._open: bytes = b""
        # What goes out.
        self._waiting: deque[bytes] = deque()
        self._transaction = FIRST_TRANSACTION[role]
        self._segments: list[bytes] = []
        self._give_up_at = 0.0
        self._again_at: float | None = None
        # What comes in.
        self._peer_first = FIRST_TRANSACTION["device" if role == "provisioner" else "provisioner"]
        self._delivered: int | None = None
        self._assembling: int | None = None
        self._start: TransactionStart | None = None
        self._parts: dict[int, bytes] = {}

    @classmethod
    def connect(
        cls, uuid: bytes, link_id: int, now: float, *, random: Callable[[], float], timing: Timing | None = None
    ) -> PbAdvLink:
        """A provisioner's link to the device with this UUID; it opens when the device acknowledges."""
        link = cls("provisioner", link_id, random, timing or Timing())
        link._open = LinkOpen(LINK_OPEN, uuid).build()
        link._until = now + link._timing.establishment_s
        link._again_at = now
        return link

    @classmethod
    def accept(
        cls, link_id: int, now: float, *, random: Callable[[], float], timing: Timing | None = None
    ) -> PbAdvLink:
        """A device's link, after a Link Open with its UUID came."""
        link = cls("device", link_id, random, timing or Timing())
        link.state = "open"
        link._until = now + link._timing.link_s
        link._events.append(LinkOpened())
        link._put(LinkAck().build(), 0, now)
        return link

    # ---- bearer -----------------------------------------------------------------------------------------------

    def send(self, pdu: bytes, now: float) -> None:
        """Send a provisioning PDU after those sent before; dropped once the link is closed."""
        if self.state == "open":
            self._waiting.append(pdu)
            self._next_transaction(now)

    def close(self, reason: int, now: float) -> None:
        """Close the link; PDUs under way are given up, acknowledgements still go out. Twice does no harm."""
        if self.state not in {"opening", "open"}:
            return
        acknowledgements = [frame for frame in self._frames if frame[2][0] & 0b11 == ACK]
        self._stop()
        self._frames.extend(acknowledgements)
        self.state = "closing"
        for _ in range(_CLOSES):
            self._put(LinkClose(LINK_CLOSE, reason).build(), 0, now)

    def receive(self, data: bytes, now: float) -> None:
        """Take advertising data; what is not of this link is passed over."""
        for kind, content in ad_structures(data):
            if kind == PB_ADV:
                self._receive(content, now)

    def outgoing(self, now: float) -> Sequence[bytes]:
        """Advertising data to send now; also notes which timers are over."""
        self._timers(now)
        due = []
        while self._frames and self._frames[0][0] <= now:
            _, transaction, generic = self._frames.popleft()
            due.append(build_ad(PB_ADV, PbAdvPdu(self.link_id, transaction, generic).build()))
        if self.state == "closing" and not self._frames:
            self.state = "closed"
        return due

    def deadline(self) -> float | None:
        """When `outgoing` is due."""
        times = [time for time in (self._until, self._again_at) if time is not None]
        if self._segments:
            times.append(self._give_up_at)
        if self._frames:
            times.append(self._frames[0][0])
        return min(times, default=None)

    def events(self) -> Sequence[BearerEvent]:
        """What has happened."""
        events, self._events = self._events, []
        return events

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way out of this end: all PDUs are acknowledged, all frames sent."""
        return not (self._segments or self._waiting or self._frames)

    # ---- in ---------------------------------------------------------------------------------------------------

    def _receive(self, content: bytes, now: float) -> None:
        try:
            pdu = PbAdvPdu.parse(content)
            if pdu.link_id != self.link_id or self.state in {"closing", "closed"}:
                return
            message = parse_generic(pdu.generic)
        except DecodeError:
            return
        self._take(message, pdu.transaction, now)

    def _take(self, message: Generic, transaction: int, now: float) -> None:
        match message:
            case LinkOpen():
                # Only the device is asked, and only until the first PDU is the question still open.
                if self._role == "device" and self._until is not None:
                    self._answer(LinkAck().build(), 0, now)
            case LinkAck():
                self._opened(now)
            case LinkClose():
                self._lost(message.reason, f"the {self._peer} closed the link with reason {message.reason:02X}")
            case TransactionAck():
                if self._segments and transaction == self._transaction:
                    self._acknowledged(now)
            case TransactionStart() | TransactionContinuation() if self.state == "open":
                self._take_segment(message, transaction, now)
            case _:
                pass

    def _opened(self, now: float) -> None:
        if self._role == "provisioner" and self.state == "opening":
            self.state = "open"
            self._until = self._again_at = None
            self._drop_frames(0)
            self._events.append(LinkOpened())
            self._next_transaction(now)

    def _take_segment(self, message: TransactionStart | TransactionContinuation, transaction: int, now: float) -> None:
        if transaction & _HALF != self._peer_first:
            return
        if self._delivered is not None and (self._delivered - transaction) % _HALF < _HALF // 2:
            # Of a transaction that is over: its acknowledgement was lost, or it comes late.
            if transaction == self._delivered:
                self._acknowledge(transaction, now)
            return
        if transaction != self._assembling:
            self._begin_assembly(transaction)
        if isinstance(message, TransactionStart):
            self._start = message
            self._parts[0] = message.data
        else:
            self._parts[message.index] = message.data
        self._deliver_when_whole(now)

    def _deliver_when_whole(self, now: float) -> None:
        start, transaction, parts = self._start, self._assembling, self._parts
        if start is None or transaction is None or not parts.keys() >= set(range(start.last_index + 1)):
            return
        pdu = b"".join(parts[index] for index in range(start.last_index + 1))
        self._begin_assembly(None)
        if len(pdu) != start.total or fcs(pdu) != start.fcs:
            return
        self._delivered = transaction
        if self._role == "device":
            self._until = None
        self._acknowledge(transaction, now)
        self._events.append(PduReceived(pdu))

    def _begin_assembly(self, transaction: int | None) -> None:
        self._assembling = transaction
        self._start = None
        self._parts = {}

    # ---- out --------------------------------------------------------------------------------------------------

    def _acknowledge(self, transaction: int, now: float) -> None:
        self._answer(TransactionAck().build(), transaction, now)

    def _answer(self, generic: bytes, transaction: int, now: float) -> None:
        if len(self._frames) < _MOST_WAITING or all(frame[2] != generic for frame in self._frames):
            self._put(generic, transaction, now)

    def _acknowledged(self, now: float) -> None:
        self._drop_frames(self._transaction)
        self._segments = []
        self._again_at = None
        first = FIRST_TRANSACTION[self._role]
        self._transaction = first + (self._transaction - first + 1) % _HALF
        self._next_transaction(now)

    def _next_transaction(self, now: float) -> None:
        if self.state == "open" and self._waiting and not self._segments:
            self._segments = segments(self._waiting.popleft())
            self._give_up_at = now + self._timing.transaction_s
            self._transmit(now)

    def _transmit(self, now: float) -> None:
        for segment in self._segments:
            self._put(segment, self._transaction, now)
        self._again_at = self._free_at + self._timing.retransmit_s

    def _put(self, generic: bytes, transaction: int, now: float) -> None:
        least, most = self._timing.delay_s
        self._free_at = max(now, self._free_at) + least + (most - least) * self._random()
        self._frames.append((self._free_at, transaction, generic))

    def _drop_frames(self, transaction: int) -> None:
        # Acknowledgements of the peer's transactions stay; they have numbers of the other half.
        kept = [frame for frame in self._frames if frame[1] != transaction or frame[2][0] & 0b11 == ACK]
        self._frames = deque(kept)

    def _timers(self, now: float) -> None:
        if self._until is not None and now >= self._until:
            what = "Link ACK" if self._role == "provisioner" else "provisioning PDU"
            self._expired(f"no {what} came in time", now)
        elif self._segments and now >= self._give_up_at:
            self._expired(f"the {self._peer} did not acknowledge a PDU in {self._timing.transaction_s:.0f} s", now)
        elif self._again_at is not None and now >= self._again_at:
            if self.state == "opening":
                self._put(self._open, 0, now)
                self._again_at = self._free_at + self._timing.retransmit_s
            else:
                self._transmit(now)

    def _expired(self, why: str, now: float) -> None:
        self.close(CloseReason.TIMEOUT, now)
        self._events.append(LinkClosed(CloseReason.TIMEOUT, why, is_own=True))

    def _lost(self, reason: int, why: str) -> None:
        self._stop()
        self.state = "closed"
        self._events.append(LinkClosed(reason, why))

    def _stop(self) -> None:
        self._frames.clear()
        self._waiting.clear()
        self._segments = []
        self._until = self._again_at = None

    @property
    def _peer(self) -> str:
        return "device" if self._role == "provisioner" else "provisioner"
