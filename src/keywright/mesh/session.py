"""One provisioning session on a bearer: an end and a link, as one endpoint.

The end knows PDUs, the link knows frames; this carries PDUs between them and closes the link when the end is done.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from keywright.mesh.bearer import Bearer, LinkClosed, LinkOpened, PduReceived
from keywright.mesh.device import Device, DeviceEvent, Refused
from keywright.mesh.ends import TIMEOUT_S, CloseReason
from keywright.mesh.provisioner import Ended, Provisioned, Provisioner, ProvisionerEvent


@final
class ProvisionerSession:
    """Endpoint: a provisioner on a link. Its owner talks to `provisioner`, then calls `outgoing`."""

    def __init__(self, provisioner: Provisioner, link: Bearer) -> None:
        self.provisioner = provisioner
        self._link = link
        self._is_closing = False
        self._events: list[ProvisionerEvent | LinkOpened] = []

    def receive(self, data: bytes, now: float) -> None:
        """Take one frame of the bearer."""
        self._link.receive(data, now)
        self._turn(now)

    def outgoing(self, now: float) -> Sequence[bytes]:
        """Frames of the bearer to send now."""
        self._turn(now)
        frames = self._link.outgoing(now)
        self._turn(now)
        return frames

    def deadline(self) -> float | None:
        """When `outgoing` is due."""
        return earliest(self.provisioner.deadline(), self._link.deadline())

    def events(self) -> Sequence[ProvisionerEvent | LinkOpened]:
        """What has happened: that the link opened, then what the provisioner tells."""
        events, self._events = self._events, []
        return events

    @property
    def is_over(self) -> bool:
        """Whether the session has ended and its link has nothing more to send."""
        return self._is_closing and self._link.deadline() is None

    def give_up(self, now: float) -> None:
        """Close the link, as after a failure."""
        self._is_closing = True
        self._link.close(CloseReason.FAIL, now)

    def _turn(self, now: float) -> None:
        for event in self._link.events():
            match event:
                case LinkOpened():
                    self._events.append(event)
                case PduReceived():
                    self.provisioner.receive(event.pdu, now)
                case LinkClosed():
                    self.provisioner.link_closed(event.why)
        for pdu in self.provisioner.outgoing(now):
            self._link.send(pdu, now)
        for told in self.provisioner.events():
            self._events.append(told)
            match told:
                case Provisioned():
                    self._is_closing = True
                    self._link.close(CloseReason.SUCCESS, now)
                case Ended():
                    self._is_closing = True
                    self._link.close(told.reason, now)
                case _:
                    pass


@final
class DeviceSession:
    """Endpoint: a device on a link that a provisioner opened."""

    def __init__(self, device: Device, link: Bearer) -> None:
        self.device = device
        self._link = link
        self._is_closing = False
        self._close_at: float | None = None
        self._events: list[DeviceEvent] = []

    def receive(self, data: bytes, now: float) -> None:
        """Take one frame of the bearer."""
        self._link.receive(data, now)
        self._turn(now)

    def outgoing(self, now: float) -> Sequence[bytes]:
        """Frames of the bearer to send now."""
        self._turn(now)
        frames = self._link.outgoing(now)
        self._turn(now)
        return frames

    def deadline(self) -> float | None:
        """When `outgoing` is due."""
        lingers = None if self._is_closing else self._close_at
        return earliest(self.device.deadline(), self._link.deadline(), lingers)

    @property
    def is_over(self) -> bool:
        """Whether the link is closed, so that the device may take another one."""
        return self._is_closing and self._link.deadline() is None

    def events(self) -> Sequence[DeviceEvent]:
        """What has happened."""
        events, self._events = self._events, []
        return events

    def _turn(self, now: float) -> None:
        for event in self._link.events():
            match event:
                case PduReceived():
                    self.device.receive(event.pdu, now)
                case LinkClosed():
                    self.device.link_closed()
                    self._is_closing = True
                case LinkOpened():
                    pass
        for pdu in self.device.outgoing(now):
            self._link.send(pdu, now)
        for told in self.device.events():
            self._events.append(told)
            # Timed out: no Failed is sent, the link is closed (MshPRT 5.4.4). Else the provisioner closes it.
            if isinstance(told, Refused) and not told.error_code:
                self._close(now)
        self._linger(now)

    def _linger(self, now: float) -> None:
        # The provisioner closes the link, and says so unacknowledged: a device that never hears it waits no longer.
        if self.device.state in {"provisioned", "failed"} and self._close_at is None:
            self._close_at = now + TIMEOUT_S
        if self._close_at is not None and now >= self._close_at and not self._is_closing:
            self._close(now)

    def _close(self, now: float) -> None:
        self._is_closing = True
        self._link.close(CloseReason.TIMEOUT, now)


def earliest(*times: float | None) -> float | None:
    """The first of several deadlines, None if there is none."""
    return min((time for time in times if time is not None), default=None)
