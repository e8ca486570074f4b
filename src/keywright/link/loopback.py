"""A device in the same process."""

from __future__ import annotations

from typing import final

from keywright.errors import LinkError
from keywright.sansio import Device


@final
class Loopback:
    """Carries commands to `device` by calling it."""

    def __init__(self, device: Device, name: str = "loopback", *, extended: bool = True) -> None:
        self.name = name
        self.extended = extended
        self._device: Device | None = device

    @property
    def atr(self) -> bytes:
        """ATR of the device."""
        return self._open().atr

    def exchange(self, command: bytes, /) -> bytes:
        """The device's answer. Raises LinkError after `close`."""
        return self._open().handle(command)

    def reset(self) -> bytes:
        """Reset the device and return its ATR. Raises LinkError after `close`."""
        device = self._open()
        device.reset()
        return device.atr

    def close(self) -> None:
        """Let go of the device."""
        self._device = None

    def _open(self) -> Device:
        if self._device is None:
            raise LinkError(f"{self.name}: the link is closed", delivered=False)
        return self._device
