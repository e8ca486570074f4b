"""From distances to a wish: open when somebody comes near, close when they are gone.

A single short distance is noise or an attack, so each of a row of rounds has to be short for a door to open; that it
closes, their median decides. An insecure round proves nothing: it begins the row anew, and a run of them is silence.
"""

from __future__ import annotations

import math
from collections import deque
from typing import NamedTuple, final

import msgspec


class Distance(NamedTuple):
    """What a ranging round said."""

    metres: float
    """Signed: noise makes small distances negative."""
    is_secure: bool = True
    """Whether the STS was good and the checks of the receiver passed."""


class Approach(msgspec.Struct, frozen=True):
    """When a door opens and when it closes. Raises ValueError for distances or numbers that make no sense."""

    near_m: float = 2.0
    """Unlock within this distance."""
    far_m: float = 4.0
    """Lock beyond this distance; more than `near_m`, so that nobody on the line makes the bolt chatter."""
    rounds: int = 3
    """Secure rounds in a row that decide."""
    floor_m: float = -1.0
    """Less than this is no noise: the round is not counted."""
    silence_s: float = 5.0
    """Without a secure round for so long, the device counts as gone."""

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        if not self.floor_m < self.near_m < self.far_m < math.inf or self.rounds < 1 or not self.silence_s > 0:
            raise ValueError("floor_m < near_m < far_m, at least one round, and some time of silence are due")


class Approached(msgspec.Struct, frozen=True):
    """The device is within `Approach.near_m`: unlock."""

    metres: float


class Left(msgspec.Struct, frozen=True):
    """The device is beyond `Approach.far_m`, silent, or lost: lock."""

    why: str


@final
class Watch:
    """Follows one device. Each method says what is new, None if nothing."""

    def __init__(self, approach: Approach) -> None:
        self._approach = approach
        self._last: deque[float] = deque(maxlen=approach.rounds)
        self._is_near = False
        self._silent_from: float | None = None

    @property
    def is_near(self) -> bool:
        """Whether the door should be open for this device."""
        return self._is_near

    def measured(self, distance: Distance, now: float) -> Approached | Left | None:
        """Take the result of one round."""
        approach = self._approach
        gone = self.look(now)
        if gone is not None:
            return gone
        if not distance.is_secure or not approach.floor_m <= distance.metres < math.inf:
            self._last.clear()  # the rounds that decide are in a row
            return None
        self._last.append(distance.metres)
        self._silent_from = now + approach.silence_s
        if len(self._last) < approach.rounds:
            return None
        middle = sorted(self._last)[len(self._last) // 2]
        if not self._is_near and max(self._last) <= approach.near_m:
            self._is_near = True
            return Approached(middle)
        if self._is_near and middle > approach.far_m:
            return self._gone(f"{middle:.1f} m away")
        return None

    def deadline(self) -> float | None:
        """When silence has lasted too long."""
        return self._silent_from if self._is_near else None

    def look(self, now: float) -> Left | None:
        """Whether silence has lasted too long."""
        if self._is_near and self._silent_from is not None and now >= self._silent_from:
            return self._gone(f"no secure distance for {self._approach.silence_s:g} s")
        return None

    def lost(self, why: str) -> Left | None:
        """The session is over."""
        return self._gone(why) if self._is_near else None

    def _gone(self, why: str) -> Left:
        self._is_near = False
        self._last.clear()
        self._silent_from = None
        return Left(why)
