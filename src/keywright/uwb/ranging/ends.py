"""What the two ends of ranging have in common: keys, grid, counters, and when it is over.

Times are seconds of the end's own clock. Its radio's counter is that clock in ticks, modulo 2^40.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

import msgspec

from keywright.crypto.aes import AesKey
from keywright.errors import KeywrightError, WireError
from keywright.uwb.frames import ALIRO_OUI
from keywright.uwb.keys import RoundKeys, SessionKeys
from keywright.uwb.ranging.events import Ended, Refused
from keywright.uwb.ranging.radio import Reception, agreement
from keywright.uwb.setup.ends import Why
from keywright.uwb.setup.terms import Terms
from keywright.uwb.sts import WRITTEN, Mapping, drbg
from keywright.uwb.twr import COUNTER_MASK, TICK_HZ

Event = TypeVar("Event")
STS_BLOCKS: Final = 32
"""Blocks of 128 pulses of one STS segment (BPRF)."""
NEVER: Final = float("inf")


class Options(msgspec.Struct, frozen=True):
    """What texts leave open, and how strict an end is."""

    oui: bytes = ALIRO_OUI
    mapping: Mapping = WRITTEN
    """How key and STS-V become pulses; both ends the same."""
    sts_blocks: int = STS_BLOCKS
    min_quality: float = 0.9
    """Share of STS pulses of the right polarity that is taken for the other end."""
    max_drift: float = 200e-6
    """Two clocks that differ by more are not believed: two of 100 ppm each."""
    detect: Callable[[bytes, bytes], float] = agreement
    """detect(expected, heard): the quality of an STS."""
    rekeys_on_resume: bool = True
    """A resume's STS_Index0 goes into the configuration, and so into SaltedHash and addresses (not public)."""
    reports_failures: bool = False
    """Final data holds records of responses that did not come or fit too (CCC: the initiator may)."""


class RangingEnd(ABC, Generic[Event]):
    """An endpoint whose frames are orders to its radio and what that has heard (`ranging.radio`)."""

    def __init__(self, ursk: AesKey, terms: Terms, options: Options, ursk_until: float) -> None:
        self.terms = terms
        self.grid = terms.grid
        self.is_suspended = False
        self.ended: Why | None = None
        self._ursk = ursk
        self._keys = SessionKeys(ursk, terms.configuration)
        self._options = options
        self._ursk_until = ursk_until
        self._out: list[bytes] = []
        self._happened: list[Event | Ended | Refused] = []

    # ---- endpoint ---------------------------------------------------------------------------------------------

    def receive(self, data: bytes, now: float) -> None:
        """Take what the radio has heard. What is not accepted is an event, and changes nothing else."""
        self._look_at_clock(now)
        if self.ended or self.is_suspended:
            return
        try:
            self._hear(Reception.parse(data), now)
        except KeywrightError as error:
            self._happened.append(Refused(str(error)))

    def outgoing(self, now: float) -> Sequence[bytes]:
        """Orders for the radio."""
        self._look_at_clock(now)
        if not self.ended and not self.is_suspended:
            self._act(now)
        out, self._out = self._out, []
        return out

    def deadline(self) -> float | None:
        """When something is due."""
        if self.ended:
            return None
        if self._out:
            return float("-inf")
        due = NEVER if self.is_suspended else self._next()
        due = min(due, self._ursk_until)
        return None if due == NEVER else due

    def events(self) -> Sequence[Event | Ended | Refused]:
        """What has happened."""
        happened, self._happened = self._happened, []
        return happened

    # ---- what the owner does ----------------------------------------------------------------------------------

    def suspend(self) -> None:
        """Send and hear nothing until `resume`."""
        self.is_suspended = True
        self._out.clear()

    def resume(self, terms: Terms, now: float) -> None:
        """Go on from a new STS_Index0 and time. Raises WireError if one of its indices was used before."""
        if terms.grid.sts_index0 <= self._last_index():
            raise WireError(
                f"STS_Index0 {terms.grid.sts_index0} was used before: {self._last_index()} was the last",
                hint="resume beyond every index that time has used up",
            )
        if self._options.rekeys_on_resume:
            self._keys = SessionKeys(self._ursk, terms.configuration)
        self.terms, self.grid = terms, terms.grid
        self.is_suspended = False
        self._restart(now)

    def end(self, why: Why) -> None:
        """Range no more: the link over which the session came is lost, or its URSK is used up."""
        if self.ended is None:
            self.ended = why
            self._out.clear()
            self._happened.append(Ended(why))

    # ---- for both ends ----------------------------------------------------------------------------------------

    @abstractmethod
    def _hear(self, heard: Reception, now: float) -> None:
        """Take a reception. Raises KeywrightError for one that is not accepted."""

    @abstractmethod
    def _act(self, now: float) -> None:
        """Do what is due."""

    @abstractmethod
    def _next(self) -> float:
        """When something is due, `NEVER` if nothing is."""

    @abstractmethod
    def _last_index(self) -> int:
        """The highest STS index used, below STS_Index0 for none."""

    @abstractmethod
    def _restart(self, now: float) -> None:
        """Begin on a new grid."""

    def _look_at_clock(self, now: float) -> None:
        if now >= self._ursk_until:
            self.end("age")

    def _sts(self, keys: RoundKeys, index: int) -> bytes:
        return drbg(keys.dursk, keys.sts_v(index), self._options.sts_blocks, self._options.mapping)

    def _quality(self, keys: RoundKeys, index: int, heard: bytes) -> float:
        return self._options.detect(self._sts(keys, index), heard)


def counter(ticks: int) -> int:
    """Ticks of an end's clock as its radio counts them."""
    return ticks & COUNTER_MASK


def seconds(ticks: int) -> float:
    """Ticks of an end's clock as its seconds."""
    return ticks / TICK_HZ
