"""Scans through a node: what it hears is told here (MshPRT 4.4.6). Frames are network PDUs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias, final

import msgspec

from keywright.codec.record import LittleRecord
from keywright.errors import DecodeError, KeywrightError, LinkError, StatusError
from keywright.mesh.advertising import ad_structures
from keywright.mesh.network.stack import Received, Stack
from keywright.mesh.remote import messages as m
from keywright.mesh.remote.messages import STATUS_NAMES

_AGAIN_S: Final = 4.0
_TRIES: Final = 5
_GRACE_S: Final = 3.0
"""A report may be under way when the server's time is over."""


class Heard(msgspec.Struct, frozen=True):
    """The node hears an unprovisioned device."""

    uuid: bytes
    oob_information: int
    rssi: int
    """dBm at the node; `messages.NO_RSSI`: not known."""
    uri_hash: bytes = b""


class Described(msgspec.Struct, frozen=True):
    """What an extended scan found of a device: AD structures, type and content."""

    uuid: bytes
    is_heard: bool
    oob_information: int = 0
    structures: tuple[tuple[int, bytes], ...] = ()


class ScanOver(msgspec.Struct, frozen=True):
    """The scan has ended; with an error if it could not be."""

    error: KeywrightError | None = None


ScanEvent: TypeAlias = Heard | Described | ScanOver


@final
class RemoteScan:
    """Endpoint: one scan of one server. Made by `for_devices` or `for_one`; the stack is its own while it lasts."""

    def __init__(self, stack: Stack, server: int, question: LittleRecord, seconds: float, net_index: int) -> None:
        """question: Scan Start or Extended Scan Start. seconds: how long the server scans."""
        self._stack = stack
        self._server = server
        self._question = question
        self._seconds = seconds
        self._net_index = net_index
        self._tries_left = _TRIES
        self._again_at: float | None = float("-inf")
        self._until: float | None = None
        self._told: set[bytes] = set()
        self._events: list[ScanEvent] = []

    @classmethod
    def for_devices(
        cls, stack: Stack, server: int, *, seconds: int = 10, limit: int = 0, uuid: bytes = b"", net_index: int = 0
    ) -> RemoteScan:
        """All devices, at most `limit` (0: as many as the server can tell), or the one with this UUID alone."""
        return cls(stack, server, m.ScanStart(limit, seconds, uuid), float(seconds), net_index)

    @classmethod
    def for_one(
        cls, stack: Stack, server: int, types: bytes, *, uuid: bytes = b"", seconds: int = 5, net_index: int = 0
    ) -> RemoteScan:
        """AD structures of these types of one device, or without a UUID of the server's node itself."""
        question = m.ExtendedScanStart.of(types, uuid, seconds)
        return cls(stack, server, question, float(seconds if uuid else 0), net_index)

    def receive(self, data: bytes, now: float) -> None:
        """Take one network PDU."""
        self._stack.receive(data, now)
        for event in self._stack.events():
            if isinstance(event, Received) and event.src == self._server and event.app_index is None:
                try:
                    message = m.parse_message(event.message)
                except DecodeError:
                    continue
                self._take(message, now)

    def outgoing(self, now: float) -> Sequence[bytes]:
        """Network PDUs to send now."""
        if self._until is not None and now >= self._until:
            self._end(None)
        elif self._again_at is not None and now >= self._again_at:
            self._ask(now)
        return self._stack.outgoing(now)

    def deadline(self) -> float | None:
        """When `outgoing` is due."""
        times = (self._again_at, self._until, self._stack.deadline())
        return min((time for time in times if time is not None), default=None)

    def events(self) -> Sequence[ScanEvent]:
        """What has happened."""
        events, self._events = self._events, []
        return events

    def _ask(self, now: float) -> None:
        if not self._tries_left:
            name = "Scan Start" if isinstance(self._question, m.ScanStart) else "Extended Scan Start"
            self._end(
                LinkError(
                    f"{name} to {self._server:04X} was not answered (MshPRT 4.4.6)",
                    hint="is the node on, in reach, and a remote provisioning server?",
                )
            )
            return
        self._tries_left -= 1
        # An extended scan is answered by its report alone, when its time is over.
        waits = self._seconds if isinstance(self._question, m.ExtendedScanStart) else 0.0
        self._again_at = now + waits + _AGAIN_S
        try:
            self._stack.send(
                m.build_message(self._question), self._server, now, device=self._server, net_index=self._net_index
            )
        except KeywrightError as error:
            self._end(error)

    def _take(self, message: LittleRecord, now: float) -> None:
        match message:
            case m.ScanStatus() if isinstance(self._question, m.ScanStart) and self._again_at is not None:
                if message.status:
                    self._refused(message.status)
                else:
                    self._again_at, self._until = None, now + self._seconds + _GRACE_S
            case m.ScanReport() if message.uuid not in self._told:
                self._told.add(message.uuid)
                self._events.append(Heard(message.uuid, message.oob_information, message.rssi, message.uri_hash))
            case m.ExtendedScanReport() if isinstance(self._question, m.ExtendedScanStart) and self._is_mine(message):
                self._described(message)
            case _:
                pass

    def _is_mine(self, report: m.ExtendedScanReport) -> bool:
        _, uuid, _ = self._question.split() if isinstance(self._question, m.ExtendedScanStart) else (b"", b"", 0)
        return self._again_at is not None and uuid in {b"", report.uuid}

    def _described(self, report: m.ExtendedScanReport) -> None:
        if report.status:
            self._refused(report.status)
            return
        information = int.from_bytes(report.rest[:2], "little")
        structures = tuple(ad_structures(report.rest[2:]))
        self._events.append(Described(report.uuid, bool(report.rest), information, structures))
        self._end(None)

    def _refused(self, status: int) -> None:
        meaning = f"{STATUS_NAMES.get(status, 'reserved')}, MshPRT 4.3.4.3"
        self._end(StatusError(status, f"remote scan by {self._server:04X}", meaning=meaning))

    def _end(self, error: KeywrightError | None) -> None:
        self._again_at = self._until = None
        self._events.append(ScanOver(error))
