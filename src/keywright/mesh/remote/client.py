"""The Remote Provisioning Client: a link through a node as a bearer, and scans as dialogues (MshPRT 4.4.6, 5.2.3).

Frames are network PDUs. A question is sent until it is answered, a PDU until the server says that the device has it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final, Literal, TypeAlias, final

import msgspec

from keywright.codec.record import LittleRecord
from keywright.errors import DecodeError, KeywrightError
from keywright.mesh.bearer import BearerEvent, LinkClosed, LinkOpened, PduReceived
from keywright.mesh.ends import CloseReason
from keywright.mesh.network.stack import Received, Stack
from keywright.mesh.remote import messages as m
from keywright.mesh.remote.messages import STATUS_NAMES, LinkState, Status

State: TypeAlias = Literal["asking", "clearing", "opening", "open", "closing", "closed"]
_NUMBERS: Final = 0x100
_CLEARS: Final = 5
"""How often a link that is there already is closed before this one is given up."""


class RemoteTiming(msgspec.Struct, frozen=True):
    """Times of a remote link, seconds. The standard gives none but the server's own timeout."""

    again_s: float = 4.0
    """Between two times that a message is sent."""
    device_s: int = 30
    """How long the server tries to open its link, 1 to 60."""
    pdu_s: float = 60.0
    """How long one PDU, or a question to the server, may take."""


@final
class RemoteLink:
    """Bearer: a link to a device through a node that is a Remote Provisioning Server.

    The stack is this link's alone while it lasts; the server's device key has to be in its keyring.
    """

    def __init__(
        self,
        stack: Stack,
        server: int,
        target: bytes,
        now: float,
        *,
        net_index: int = 0,
        timing: RemoteTiming | None = None,
    ) -> None:
        """server: address of the node. target: UUID of the device, or one octet, a `messages.Procedure`."""
        self.stack = stack
        self.state: State = "asking"
        self._server = server
        self._target = target
        self._net_index = net_index
        self._timing = timing or RemoteTiming()
        self._events: list[BearerEvent] = []
        self._waiting: deque[bytes] = deque()
        self._outbound = self._inbound = 0
        self._clears_left = _CLEARS
        self._question: LittleRecord | None = None
        self._again_at: float | None = None
        self._until: float | None = None
        self._ask(m.LinkGet(), now)

    # ---- bearer -----------------------------------------------------------------------------------------------

    def send(self, pdu: bytes, now: float) -> None:
        """Send a provisioning PDU after those sent before; dropped once the link is closed."""
        if self.state == "open":
            self._waiting.append(pdu)
            self._next(now)

    def close(self, reason: int, now: float) -> None:
        """Close the link; a PDU under way is given up. Twice does no harm."""
        if self.state in {"closing", "closed"}:
            return
        self.state = "closing"
        self._waiting.clear()
        # Timeout is no reason that a client has (MshPRT 4.3.4.2.7).
        self._ask(m.LinkClose(CloseReason.SUCCESS if reason == CloseReason.SUCCESS else CloseReason.FAIL), now)

    def receive(self, data: bytes, now: float) -> None:
        """Take one network PDU."""
        self.stack.receive(data, now)
        self._turn(now)

    def outgoing(self, now: float) -> Sequence[bytes]:
        """Network PDUs to send now."""
        self._turn(now)
        if self._until is not None and now >= self._until:
            self._expired()
        elif self._again_at is not None and now >= self._again_at:
            self._put(now)
        return self.stack.outgoing(now)

    def deadline(self) -> float | None:
        """When `outgoing` is due."""
        times = (self._again_at, self._until, self.stack.deadline())
        return min((time for time in times if time is not None), default=None)

    def events(self) -> Sequence[BearerEvent]:
        """What has happened."""
        events, self._events = self._events, []
        return events

    # ---- in ---------------------------------------------------------------------------------------------------

    def _turn(self, now: float) -> None:
        for event in self.stack.events():
            if isinstance(event, Received) and event.src == self._server and event.app_index is None:
                try:
                    message = m.parse_message(event.message)
                except DecodeError:
                    continue
                self._take(message, now)

    def _take(self, message: LittleRecord, now: float) -> None:
        match message:
            case m.LinkStatus():
                self._take_status(message, now)
            case m.LinkReport():
                self._take_report(message, now)
            case m.PduOutboundReport():
                if isinstance(self._question, m.PduSend) and message.number == self._question.number:
                    self._outbound = message.number
                    self._answered()
                    self._next(now)
            case m.PduReport():
                if self.state == "open" and message.number == (self._inbound + 1) % _NUMBERS:
                    self._inbound = message.number
                    self._events.append(PduReceived(message.pdu))
            case _:
                pass

    def _take_status(self, message: m.LinkStatus, now: float) -> None:
        match self.state:
            case "asking":
                if message.state == LinkState.IDLE:
                    self.state = "opening"
                    octets = self._target + (bytes((self._timing.device_s,)) if len(self._target) > 1 else b"")
                    self._ask(m.LinkOpen(octets), now)
                    self._until = now + self._timing.device_s + self._timing.pdu_s
                elif not self._clears_left:
                    self._fail(CloseReason.FAIL, f"the link of {self._server:04X} does not become idle (MshPRT 4.4.6)")
                else:
                    # Of a session that was cut, if it is ours; a link of another client stays, and this one fails.
                    self._clears_left -= 1
                    self.state = "clearing"
                    self._ask(m.LinkClose(CloseReason.FAIL), now)
            case "clearing":
                if message.status:
                    self._lost(message.status, "")
                else:
                    self.state = "asking"
                    self._ask(m.LinkGet(), now, at=now + self._timing.again_s)
            case "opening":
                if message.status:
                    self._lost(message.status, "")
                elif message.state in {LinkState.ACTIVE, LinkState.TRANSFER}:
                    self._opened()
            case "closing":
                self._stop()
            case _:
                pass

    def _take_report(self, message: m.LinkReport, now: float) -> None:
        del now
        if self.state == "opening" and message.status == Status.SUCCESS and message.state == LinkState.ACTIVE:
            self._opened()
        elif self.state in {"opening", "open"} and message.status:
            reason = f" with reason {message.reason[0]:02X}" if message.reason else ""
            self._lost(message.status, reason)

    # ---- out --------------------------------------------------------------------------------------------------

    def _next(self, now: float) -> None:
        if self.state == "open" and self._question is None and self._waiting:
            self._ask(m.PduSend((self._outbound + 1) % _NUMBERS, self._waiting.popleft()), now)

    def _ask(self, question: LittleRecord, now: float, *, at: float | None = None) -> None:
        self._question = question
        self._again_at = now if at is None else at
        self._until = now + self._timing.pdu_s

    def _put(self, now: float) -> None:
        if self._question is None:
            return
        self._again_at = now + self._timing.again_s
        try:
            self.stack.send(
                m.build_message(self._question),
                self._server,
                now,
                device=self._server,
                net_index=self._net_index,
                acknowledged=isinstance(self._question, m.PduSend),
            )
        except KeywrightError as error:
            self._fail(CloseReason.FAIL, str(error))

    def _opened(self) -> None:
        self.state = "open"
        self._answered()
        self._events.append(LinkOpened())

    def _answered(self) -> None:
        self._question = self._again_at = self._until = None

    def _lost(self, status: int, detail: str) -> None:
        name = STATUS_NAMES.get(status, "reserved")
        if status == Status.LINK_CANNOT_OPEN and len(self._target) == 1:
            # A Node Composition Refresh needs a next composition with as many elements (MshPRT 3.11.8).
            detail = ": the node cannot do this now; does it have another composition, and room for its elements?"
        self._fail(
            CloseReason.FAIL,
            f"remote provisioning through {self._server:04X}: status {status:02X} ({name}){detail} (MshPRT 4.3.4.3)",
        )

    def _expired(self) -> None:
        asked = type(self._question).__name__
        if self.state == "closing":
            self._stop()
        else:
            self._fail(CloseReason.TIMEOUT, f"{asked} to {self._server:04X} was not answered in time (MshPRT 4.4.6)")

    def _fail(self, reason: int, why: str) -> None:
        self._stop()
        self._events.append(LinkClosed(reason, why))

    def _stop(self) -> None:
        self.state = "closed"
        self._waiting.clear()
        self._answered()
