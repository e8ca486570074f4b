"""One PB-GATT link, for both ends: it is open while the client listens to Data Out (MshPRT 5.2.2).

Frames are the values written to Data In (by the provisioner) and notified by Data Out (by the device). What GATT itself
does is the owner's: to make a link when the client has enabled Data Out, to disconnect once `is_closed`, and to tell
`disconnected`. GATT delivers in order or not at all, so nothing is acknowledged and nothing sent twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, TypeAlias, final

from keywright.errors import DecodeError, WireError
from keywright.mesh.bearer import BearerEvent, LinkClosed, LinkOpened, PduReceived
from keywright.mesh.ends import CloseReason
from keywright.mesh.pb_gatt.messages import PROVISIONING_PDU
from keywright.mesh.pb_gatt.sar import ProxySar

State: TypeAlias = Literal["open", "closing", "closed"]

LINK_S: Final = 60.0
"""Link timer of the device: from the link's opening to the first provisioning PDU (MshPRT 5.2.2)."""


@final
class PbGattLink:
    """Bearer: one link on one GATT connection. Made by `connect` or `accept` once Data Out is enabled."""

    def __init__(self, mtu: int, now: float, timer_s: float | None) -> None:
        self.state: State = "open"
        self._sar = ProxySar(mtu, (PROVISIONING_PDU,))
        self._until = None if timer_s is None else now + timer_s
        self._frames: list[bytes] = []
        self._frames_at = now
        self._events: list[BearerEvent] = [LinkOpened()]

    @classmethod
    def connect(cls, mtu: int, now: float) -> PbGattLink:
        """A provisioner's link on a connection with this ATT_MTU."""
        return cls(mtu, now, None)

    @classmethod
    def accept(cls, mtu: int, now: float) -> PbGattLink:
        """A device's link on a connection with this ATT_MTU."""
        return cls(mtu, now, LINK_S)

    @property
    def is_closed(self) -> bool:
        """Whether the connection is to be ended, or is."""
        return self.state == "closed"

    def send(self, pdu: bytes, now: float) -> None:
        """Send a provisioning PDU after those sent before; dropped once the link is closed."""
        if self.state == "open":
            self._frames_at = now
            self._frames += self._sar.cut(PROVISIONING_PDU, pdu)

    def close(self, reason: int, now: float) -> None:
        """Close the link after what is under way; twice does no harm. The bearer carries no reason."""
        del reason
        if self.state == "open":
            self._frames_at = now
            self._until = None
            self.state = "closing" if self._frames else "closed"

    def disconnected(self, why: str, now: float) -> None:
        """The connection is gone."""
        del now
        if self.state == "open":
            self._lost(CloseReason.SUCCESS, why)
        self.state = "closed"

    def receive(self, data: bytes, now: float) -> None:
        """Take one value. What breaks the rules of Proxy PDUs closes the link."""
        if self.state != "open":
            return
        try:
            message = self._sar.take(data, now)
        except (DecodeError, WireError) as error:
            self._lost(CloseReason.FAIL, str(error))
            return
        if message is not None:
            self._until = None
            self._events.append(PduReceived(message[1]))

    def outgoing(self, now: float) -> Sequence[bytes]:
        """Values to send now; also notes which timers are over."""
        self._timers(now)
        frames, self._frames = self._frames, []
        if self.state == "closing":
            self.state = "closed"
        return frames

    def deadline(self) -> float | None:
        """When `outgoing` is due."""
        times = [self._frames_at] if self._frames else []
        if self.state == "open":
            times += [time for time in (self._until, self._sar.deadline()) if time is not None]
        return min(times, default=None)

    def events(self) -> Sequence[BearerEvent]:
        """What has happened."""
        events, self._events = self._events, []
        return events

    def _timers(self, now: float) -> None:
        if self.state != "open":
            return
        if self._until is not None and now >= self._until:
            self._lost(CloseReason.TIMEOUT, f"no provisioning PDU came in {LINK_S:.0f} s")
            return
        try:
            self._sar.check(now)
        except WireError as error:
            self._lost(CloseReason.TIMEOUT, str(error))

    def _lost(self, reason: int, why: str) -> None:
        self.state = "closed"
        self._frames = []
        self._until = None
        self._events.append(LinkClosed(reason, why))
