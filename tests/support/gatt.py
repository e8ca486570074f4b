"""A GATT connection without GATT: the values that two ends write and notify, carried in order and noted."""

from __future__ import annotations

from typing import Any

from keywright.mesh.pb_gatt.link import PbGattLink
from keywright.sansio.endpoint import Endpoint


class Wire:
    """Carries values between a client's end ("P") and a device's ("D"), until one of their links is closed."""

    def __init__(self, client: Endpoint[Any], client_link: PbGattLink, device: Endpoint[Any], link: PbGattLink) -> None:
        self.now = 0.0
        self.carried: list[tuple[str, bytes]] = []
        self.cut_at: int | None = None
        """The connection is lost instead of carrying this value."""
        self._ends = {"P": (client, client_link), "D": (device, link)}

    def turn(self) -> bool:
        """Carry what both ends have now; whether there was anything."""
        before = len(self.carried)
        for side, (end, link) in self._ends.items():
            other, _ = self._ends["D" if side == "P" else "P"]
            for value in end.outgoing(self.now):
                if len(self.carried) == self.cut_at:
                    self.disconnect("the connection is lost")
                    return False
                self.carried.append((side, value))
                other.receive(value, self.now)
            if link.is_closed:
                self.disconnect("the peer disconnected")
        return len(self.carried) > before

    def disconnect(self, why: str) -> None:
        """Both ends are told that the connection is gone."""
        for end, link in self._ends.values():
            link.disconnected(why, self.now)
            end.outgoing(self.now)
