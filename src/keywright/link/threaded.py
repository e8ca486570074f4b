"""A blocking link for asynchronous callers; imported by its full name, for asyncio is slow to load."""

from __future__ import annotations

import asyncio
from typing import final

from keywright.link.base import Exchange


@final
class Threaded:
    """The `AsyncExchange` of a blocking link: each call runs in a worker thread, one at a time as the caller awaits.

    A cancelled call still runs to its end in its thread; the device has seen the command.
    """

    def __init__(self, link: Exchange) -> None:
        self._link = link

    @property
    def name(self) -> str:
        """Name of the link."""
        return self._link.name

    @property
    def atr(self) -> bytes:
        """ATR of the device."""
        return self._link.atr

    @property
    def extended(self) -> bool:
        """Whether extended-length APDUs may be sent."""
        return self._link.extended

    async def exchange(self, command: bytes, /) -> bytes:
        """Send a command and wait for its answer. Raises LinkError."""
        return await asyncio.to_thread(self._link.exchange, command)

    async def reset(self) -> bytes:
        """Reset the device and return its ATR. Raises LinkError."""
        return await asyncio.to_thread(self._link.reset)

    async def close(self) -> None:
        """Give the link up."""
        await asyncio.to_thread(self._link.close)
