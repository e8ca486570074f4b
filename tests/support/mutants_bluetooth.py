"""Broken ends of Bluetooth: our own with one rule taken out each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keywright.aliro.ble import channel
from keywright.aliro.ble.approach import Approached, Watch
from keywright.aliro.ble.channel import MessageChannel
from keywright.aliro.ble.ends import BleEnd
from keywright.aliro.ble.messages import Envelope
from keywright.aliro.ble.reader import ReaderEnd
from keywright.aliro.ble.settings import RkeRequested
from keywright.aliro.keys import Direction
from keywright.errors import AuthenticationError, KeywrightError
from support.mutants import Mutant, Patch


def _no_seals(patch: Patch) -> None:
    opened = MessageChannel.open

    def tolerant(self: MessageChannel, frame: Envelope) -> Envelope:
        try:
            return opened(self, frame)
        except AuthenticationError:
            return Envelope(frame.protocol, frame.id, frame.payload[: max(0, len(frame.payload) - channel.TAG_BYTES)])

    patch.setattr(MessageChannel, "open", tolerant)


def _clear_too(patch: Patch) -> None:
    """What does not open is taken as if it had come in clear, and the next message may."""
    opened = Direction.open

    def tolerant(self: Direction, sealed: bytes, associated: bytes = b"") -> bytes:
        counter = self._counter
        try:
            return opened(self, sealed, associated)
        except AuthenticationError:
            self._ended, self._counter = False, counter
            if associated:
                return sealed
            raise

    patch.setattr(Direction, "open", tolerant)


def _twice(patch: Patch) -> None:
    """A message that came before is overlooked instead of ending the session."""
    taken = BleEnd._take

    def changed(self: Any, frame: Envelope, now: float) -> None:
        seen = _SEEN.setdefault(id(self), set())
        if (frame.protocol, frame.id, frame.payload) not in seen:
            seen.add((frame.protocol, frame.id, frame.payload))
            taken(self, frame, now)

    _SEEN.clear()
    patch.setattr(BleEnd, "_take", changed)


_SEEN: dict[int, set[tuple[int, int, bytes]]] = {}


def _keeps_ursk(patch: Patch) -> None:
    closed = BleEnd._close

    def changed(self: Any, why: str, error: KeywrightError | None = None) -> None:
        ursk = self.ursk
        closed(self, why, error)
        self.ursk = ursk

    patch.setattr(BleEnd, "_close", changed)


def _says_nothing(patch: Patch) -> None:
    closed = BleEnd._close
    patch.setattr(BleEnd, "_close", lambda self, _, error=None: closed(self, "", error))


def _opens_at_once(patch: Patch) -> None:
    completed = ReaderEnd._begin

    def changed(self: ReaderEnd, message: Any, now: float) -> None:
        self._events.append(Approached(0.0))
        completed(self, message, now)

    patch.setattr(ReaderEnd, "_begin", changed)


def _opens_when_known(patch: Patch) -> None:
    completed = ReaderEnd._completed

    def changed(self: ReaderEnd, *given: Any) -> None:
        completed(self, *given)
        self._events.append(Approached(0.0))

    patch.setattr(ReaderEnd, "_completed", changed)


def _any_rke(patch: Patch) -> None:
    requested = ReaderEnd._requested

    def changed(self: ReaderEnd, message: Any, now: float) -> None:
        requested(self, message, now)
        self._events.append(RkeRequested(message.action))

    patch.setattr(ReaderEnd, "_requested", changed)


def _never_open(patch: Patch) -> None:
    patch.setattr(Watch, "measured", lambda *_: None)


def _no_errors(patch: Patch) -> None:
    patch.setattr(BleEnd, "_on_event", lambda *_: None)


def _no_versions(patch: Patch) -> None:
    made: Any = channel.__dict__["ble_keys"]
    patch.setattr(channel, "ble_keys", lambda ble, _, version: made(ble, b"\1\0", version))


def _any_gatt(name: str) -> Callable[[Patch], object]:
    from keywright.aliro.conformance import bluetooth

    return lambda patch: patch.setattr(bluetooth, name, lambda *_: None)


BLUETOOTH = (
    Mutant("overlooks seals", ("access 13, M3 doubled", "access 14, M4 doubled"), _no_seals),
    Mutant("takes what is not sealed", ("request in clear", "state in clear"), _clear_too),
    Mutant("overlooks doubles", ("access 12, M2 doubled",), _twice),
    Mutant("keeps its URSK", ("access 11, M1 doubled", "sealed M2, first attribute missing"), _keeps_ursk),
    Mutant("does not say why", ("access 1, InitiateAccess lost", "answer first"), _says_nothing),
    Mutant("opens for whoever comes", ("access 5, ApResponse changed",), _opens_at_once),
    Mutant("opens for whoever it knows", ("access 11, M1 lost", "access 14, M4 changed"), _opens_when_known),
    Mutant("opens twice on one request", ("remote keyless entry", "rke 9, RkeRequest doubled"), _any_rke),
    Mutant("never opens", ("nobody on the line",), _never_open),
    Mutant("overlooks general errors", ("error at once", "error in the middle"), _no_errors),
    Mutant("leaves the versions out of the keys", ("gatt, versions changed on the way",), _no_versions),
    Mutant("takes any choice of version", ("gatt, version not offered", "gatt, choice cut"), _any_gatt("accept")),
    Mutant("takes any offer of versions", ("gatt, no common version", "gatt, no dynamic SPSM"), _any_gatt("select")),
)
