"""The answering side: what a card, an eUICC or a server end looks like to whatever carries its bytes."""

from __future__ import annotations

from typing import Protocol, runtime_checkable


@runtime_checkable
class Responder(Protocol):
    """Answers every request. Total: any bytes get an answer, never an exception."""

    def handle(self, request: bytes, /) -> bytes:
        """The answer to one request."""
        ...


@runtime_checkable
class Device(Responder, Protocol):
    """A responder with power: a reset ends its sessions and keeps its memory."""

    @property
    def atr(self) -> bytes:
        """Answer to reset (ISO 7816-3 8.2), empty if the device has none."""
        ...

    def reset(self) -> object:
        """What taking the power away and giving it back does. The result is not used."""
        ...
