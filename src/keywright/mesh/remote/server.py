"""The Remote Provisioning Server of a node: it scans, and carries PDUs between a client and a device (MshPRT 4.4.5).

One link at a time, for the client that opened it. PDUs are counted in both directions; what is sent again keeps its
number, so that each is carried once. What the link leads to is a bearer: PB-ADV to a device, or the node itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias, final

import msgspec

from keywright.codec.record import LittleRecord
from keywright.errors import DecodeError, KeywrightError
from keywright.mesh.bearer import Bearer, LinkClosed, LinkOpened, PduReceived
from keywright.mesh.ends import CloseReason, RandomBytes
from keywright.mesh.network.access import LONGEST, AccessMessage
from keywright.mesh.pb_adv.link import PbAdvLink, Timing
from keywright.mesh.remote import messages as m
from keywright.mesh.remote.messages import NO_RSSI, LinkState, Procedure, Status
from keywright.mesh.remote.scanning import Client, Own, Scanning

OPEN_S: Final = 10
"""How long a link is tried when Link Open does not say (MshPRT 4.3.4.2.6)."""
_LONGEST_OPEN_S: Final = 60
_REPORT_TRIES: Final = 4
_INBOUND_ROOM: Final = 4
"""PDUs of the device that wait for the client; a device sends one or two before it waits for an answer."""
_LONGEST_PDU: Final = LONGEST - 3
"""Octets of a provisioning PDU that a report has room for, after its opcode and number; PB-ADV carries longer ones."""
_UUID_OCTETS: Final = 16
_NUMBERS: Final = 0x100

Say: TypeAlias = Callable[[AccessMessage, Client, bool, float], int]
"""say(message, client, acknowledged, now): sends under the node's device key; the number its arrival is told by."""


class _Report(msgspec.Struct):
    """A report that has to arrive, and what the link is closed with if it does not."""

    message: LittleRecord
    failure: int
    tries_left: int = _REPORT_TRIES


@final
class RemoteServer:
    """Responder and endpoint: messages of the client in, advertising data out and in."""

    def __init__(
        self,
        own: Own,
        say: Say,
        *,
        random: Callable[[], float],
        random_bytes: RandomBytes,
        timing: Timing | None = None,
        can_scan: Callable[[], bool] = lambda: True,
        can_open: Callable[[bytes], bool] = lambda _: True,
        interface: Callable[[int, float], Bearer | None] = lambda _procedure, _now: None,
    ) -> None:
        """can_scan(): whether the radio can. can_open(uuid): whether a link to this device may be opened now.

        interface(procedure, now): the node's own provisioning interface as a bearer, None if it has not that procedure.
        """
        self.state = LinkState.IDLE
        self.scanning = Scanning(own, self._tell, can_scan)
        self._say = say
        self._random = random
        self._random_bytes = random_bytes
        self._timing = timing or Timing()
        self._can_open = can_open
        self._interface = interface
        self._client: Client | None = None
        self._target = b""
        self._link: Bearer | None = None
        self._last_report = m.LinkReport(Status.SUCCESS, LinkState.IDLE)
        self._outbound = self._inbound = 0
        self._reports: deque[_Report] = deque()
        self._sent: dict[int, _Report] = {}

    @property
    def is_idle(self) -> bool:
        """Whether there is no link, and everything about the last one is told."""
        return self.state == LinkState.IDLE and not self._reports

    # ---- the client -------------------------------------------------------------------------------------------

    def handle(self, access: AccessMessage, client: Client, now: float) -> None:
        """Take a message of a client; what is no question, or a prohibited value, is passed over."""
        try:
            message = m.parse_message(access)
        except DecodeError:
            return
        handler = TABLE.get(type(message))
        answer = handler(self, message, client, now) if handler is not None else None
        if answer is not None:
            self._tell(answer, client, now)
        self._turn(now)

    def arrived(self, number: int, now: float, *, is_delivered: bool) -> None:
        """What became of a message that `say` sent acknowledged."""
        report = self._sent.pop(number, None)
        if report is None or self._client is None:
            return
        if is_delivered:
            if self._reports and self._reports[0] is report:
                self._reports.popleft()
                self._send_report(now)
            return
        report.tries_left -= 1
        if report.tries_left:
            self._send_report(now)
        elif report.failure:
            self._reports.clear()
            self._close(report.failure, CloseReason.FAIL, now)
            self._turn(now)
        else:
            self._reports.popleft()
            self._send_report(now)

    # ---- the air ----------------------------------------------------------------------------------------------

    def hear(self, data: bytes, now: float, rssi: int = NO_RSSI) -> None:
        """Take advertising data. rssi: dBm."""
        self.scanning.hear(data, now, rssi)
        if self._link is not None:
            self._link.receive(data, now)
            self._turn(now)

    def outgoing(self, now: float) -> Sequence[bytes]:
        """Advertising data to send now."""
        self.scanning.turn(now)
        frames = list(self._link.outgoing(now)) if self._link is not None else []
        self._turn(now)
        return frames

    def deadline(self) -> float | None:
        """When `outgoing` is due."""
        times = (self.scanning.deadline(), self._link.deadline() if self._link is not None else None)
        return min((time for time in times if time is not None), default=None)

    # ---- questions --------------------------------------------------------------------------------------------

    def link_status(self, status: int = Status.SUCCESS) -> m.LinkStatus:
        """Answer to Link Get, Open and Close."""
        return m.LinkStatus(status, self.state)

    def open(self, message: m.LinkOpen, client: Client, now: float) -> m.LinkStatus | None:
        """Link Open: the same question again is no error, another one while the link is not idle is."""
        target, timeout_s = message.rest, OPEN_S
        if len(target) > _UUID_OCTETS:
            target, timeout_s = target[:_UUID_OCTETS], target[_UUID_OCTETS]
        if not 1 <= timeout_s <= _LONGEST_OPEN_S or (len(target) == 1 and target[0] > Procedure.COMPOSITION):
            return None
        if self.state != LinkState.IDLE:
            is_same = (self._client, self._target) == (client, target) and self.state != LinkState.CLOSING
            return self.link_status(Status.SUCCESS if is_same else Status.INVALID_STATE)
        link = self._bearer(target, timeout_s, now)
        if link is None:
            return self.link_status(Status.LINK_CANNOT_OPEN)
        self._client, self._target, self._link = client, target, link
        self._outbound = self._inbound = 0
        self._reports.clear()
        self._sent.clear()
        self.state = LinkState.OPENING
        return self.link_status()

    def _bearer(self, target: bytes, timeout_s: int, now: float) -> Bearer | None:
        if len(target) == 1:
            return self._interface(target[0], now)
        if not self._can_open(target):
            return None
        link_id = int.from_bytes(self._random_bytes(4))
        timing = msgspec.structs.replace(self._timing, establishment_s=float(timeout_s))
        return PbAdvLink.connect(target, link_id, now, random=self._random, timing=timing)

    def close(self, message: m.LinkClose, client: Client, now: float) -> m.LinkStatus | None:
        """Link Close: of whoever opened the link."""
        if message.reason not in {CloseReason.SUCCESS, CloseReason.FAIL}:
            return None
        if self.state == LinkState.IDLE:
            return self.link_status()
        if client != self._client:
            return self.link_status(Status.INVALID_STATE)
        self._close(Status.LINK_CLOSED_BY_CLIENT, message.reason, now)
        return self.link_status()

    def send_pdu(self, message: m.PduSend, client: Client, now: float) -> None:
        """PDU Send: the next number, or the last one again. Any other is passed over."""
        if client != self._client or self._link is None:
            return
        if self.state == LinkState.ACTIVE and message.number == (self._outbound + 1) % _NUMBERS:
            if not message.pdu:
                self._close(Status.CANNOT_SEND_PDU, CloseReason.FAIL, now)
                return
            self._outbound = message.number
            self.state = LinkState.TRANSFER
            self._link.send(message.pdu, now)
        elif self.state == LinkState.ACTIVE and message.number == self._outbound and not self._is_reporting_outbound:
            # It was reported, and the client did not get that.
            self._report(m.PduOutboundReport(message.number), Status.CANNOT_DELIVER_PDU_OUTBOUND_REPORT, now)

    @property
    def _is_reporting_outbound(self) -> bool:
        return not self._outbound or any(isinstance(one.message, m.PduOutboundReport) for one in self._reports)

    # ---- the link ---------------------------------------------------------------------------------------------

    def _turn(self, now: float) -> None:
        link = self._link
        if link is None:
            return
        for event in link.events():
            match event:
                case LinkOpened():
                    self.state = LinkState.ACTIVE
                    self._report(m.LinkReport(Status.SUCCESS, self.state), Status.LINK_CLOSED_BY_SERVER, now)
                case PduReceived():
                    self._take(event.pdu, now)
                case LinkClosed():
                    self._lost(event, now)
                    return
        if self.state == LinkState.TRANSFER and _has_delivered(link):
            self.state = LinkState.ACTIVE
            self._report(m.PduOutboundReport(self._outbound), Status.CANNOT_DELIVER_PDU_OUTBOUND_REPORT, now)
        if self.state == LinkState.CLOSING and link.deadline() is None:
            self._end(self._last_report, now)

    def _take(self, pdu: bytes, now: float) -> None:
        if self.state not in {LinkState.ACTIVE, LinkState.TRANSFER}:
            return
        waiting = sum(isinstance(report.message, m.PduReport) for report in self._reports)
        if waiting >= _INBOUND_ROOM or len(pdu) > _LONGEST_PDU:
            self._close(Status.CANNOT_RECEIVE_PDU, CloseReason.FAIL, now)
            return
        self._inbound = (self._inbound + 1) % _NUMBERS
        self._report(m.PduReport(self._inbound, pdu), Status.CANNOT_DELIVER_PDU_REPORT, now)

    def _close(self, status: int, reason: int, now: float) -> None:
        if self._link is None or self.state == LinkState.CLOSING:
            return
        self.state, self._last_report = LinkState.CLOSING, m.LinkReport(status, LinkState.IDLE)
        self._link.close(reason, now)

    def _lost(self, event: LinkClosed, now: float) -> None:
        if self.state == LinkState.OPENING:
            status = Status.LINK_OPEN_FAILED
        elif event.is_own:
            status = Status.CANNOT_SEND_PDU if self.state == LinkState.TRANSFER else Status.LINK_CLOSED_BY_SERVER
        else:
            status = Status.LINK_CLOSED_BY_DEVICE
        reason = bytes((event.reason,)) if status == Status.LINK_CLOSED_BY_DEVICE else b""
        self._last_report = m.LinkReport(status, LinkState.IDLE, reason)
        if event.is_own and self._link is not None and self._link.deadline() is not None:
            self.state = LinkState.CLOSING  # its Link Close has to be sent yet
        else:
            self._end(self._last_report, now)

    def _end(self, report: m.LinkReport, now: float) -> None:
        self._link = None
        self.state = LinkState.IDLE
        self._report(report, Status.SUCCESS, now)

    # ---- reports ----------------------------------------------------------------------------------------------

    def _report(self, message: LittleRecord, failure: int, now: float) -> None:
        self._reports.append(_Report(message, failure))
        if len(self._reports) == 1:
            self._send_report(now)

    def _send_report(self, now: float) -> None:
        if self._reports and self._client is not None:
            report = self._reports[0]
            number = self._put(report.message, self._client, now, acknowledged=True)
            if number is not None:
                self._sent[number] = report

    def _tell(self, message: LittleRecord, client: Client, now: float) -> None:
        self._put(message, client, now, acknowledged=False)

    def _put(self, message: LittleRecord, client: Client, now: float, *, acknowledged: bool) -> int | None:
        try:
            return self._say(m.build_message(message), client, acknowledged, now)
        except KeywrightError:
            return None  # no sequence number, no key: the client hears nothing, as if the air had lost it


def _has_delivered(link: Bearer) -> bool:
    return link.is_idle if isinstance(link, PbAdvLink) else True


_Handler: TypeAlias = Callable[[RemoteServer, Any, Client, float], LittleRecord | None]
TABLE: Final[Mapping[type[LittleRecord], _Handler]] = {
    m.ScanCapabilitiesGet: lambda server, _message, _client, _now: server.scanning.capabilities(),
    m.ScanGet: lambda server, _message, _client, now: server.scanning.status(now),
    m.ScanStart: lambda server, message, client, now: server.scanning.start(message, client, now),
    m.ScanStop: lambda server, _message, client, now: server.scanning.stop(client, now),
    m.ExtendedScanStart: lambda server, message, client, now: server.scanning.start_extended(message, client, now),
    m.LinkGet: lambda server, _message, _client, _now: server.link_status(),
    m.LinkOpen: lambda server, message, client, now: server.open(message, client, now),
    m.LinkClose: lambda server, message, client, now: server.close(message, client, now),
    m.PduSend: lambda server, message, client, now: server.send_pdu(message, client, now),
}
"""Which message is taken by what; a report or status of another server is none."""
