"""The two kinds of link: `Exchange` (ask and be answered) and `Port` (frames, unasked, with address and time)."""

from __future__ import annotations

from typing import Protocol, final, runtime_checkable

import msgspec


@runtime_checkable
class Exchange(Protocol):
    """Carries a command to a device and its answer back. Knows bytes only."""

    @property
    def name(self) -> str:
        """What to call this link in traces and messages."""
        ...

    @property
    def atr(self) -> bytes:
        """Answer to reset of the device, empty if the link has none."""
        ...

    @property
    def extended(self) -> bool:
        """Whether extended-length APDUs may be sent (ISO 7816-4 5.2)."""
        ...

    def exchange(self, command: bytes, /) -> bytes:
        """Send a command and wait for its answer.

        Raises LinkError; its `delivered` is False if the device cannot have seen the command, None if it may have.
        """
        ...

    def reset(self) -> bytes:
        """Reset the device, also after a failure, and return its ATR. Raises LinkError."""
        ...

    def close(self) -> None:
        """Give the link up and leave the device as it is; twice does no harm."""
        ...


@runtime_checkable
class AsyncExchange(Protocol):
    """The asynchronous twin of `Exchange`."""

    @property
    def name(self) -> str:
        """What to call this link in traces and messages."""
        ...

    @property
    def atr(self) -> bytes:
        """Answer to reset of the device, empty if the link has none."""
        ...

    @property
    def extended(self) -> bool:
        """Whether extended-length APDUs may be sent."""
        ...

    async def exchange(self, command: bytes, /) -> bytes:
        """Send a command and wait for its answer. Raises LinkError."""
        ...

    async def reset(self) -> bytes:
        """Reset the device and return its ATR. Raises LinkError."""
        ...

    async def close(self) -> None:
        """Give the link up."""
        ...


@final
class Frame(msgspec.Struct, frozen=True):
    """What a port received: bytes, sender (empty: unknown), time in seconds, signal strength in dBm if measured."""

    data: bytes
    address: bytes
    time: float
    rssi_dbm: int | None = None


@runtime_checkable
class Port(Protocol):
    """Sends and receives frames, for endpoints."""

    @property
    def name(self) -> str:
        """What to call this port in traces and messages."""
        ...

    def send(self, data: bytes, address: bytes = b"") -> None:
        """Send one frame, to everyone if no address is given. Raises LinkError."""
        ...

    def receive(self, timeout_s: float | None) -> Frame | None:
        """The next frame, None if none came in time (None: wait for ever). Raises LinkError."""
        ...

    def close(self) -> None:
        """Give the port up; twice does no harm."""
        ...
