"""One message of a ranging exchange on its way: what the receiver hears of it, and what an attacker may change."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from keywright.crypto.aes import AesKey
from keywright.uwb.lab.air import EXPECTED, F32, F64, Signal, on_the_air, response
from keywright.uwb.lab.channels import Taps
from keywright.uwb.lab.pulses import SAMPLE_S, Mode
from keywright.uwb.lab.receiver import Reception, Settings, receive
from keywright.uwb.sts import sts

if TYPE_CHECKING:
    from numpy.random import Generator

POLL: Final = "poll"
RESPONSE: Final = "response"
FINAL: Final = "final"


class Leg(msgspec.Struct, frozen=True, kw_only=True):
    """A message, `count` times over: each entry belongs to another exchange.

    sts: the pulses that are sent and expected. sent_before: the pulses of so many slots earlier. taps: the paths on
    which they come. place: samples of the window at which the first of these arrives. noise: variance of a complex
    sample. late_s: how much later that is than by the direct way; the receiver's window has moved along. clock_ppm:
    the sender's clock against the receiver's. shift_ppm, pace_ppm: how far somebody on the way has moved the carrier,
    and the rate of pulses. more: what else is on the air.
    """

    name: str
    mode: Mode
    sts: F32
    sent_before: Callable[[int], F32]
    taps: Taps
    place: F64
    noise: F64
    clock_ppm: F64
    late_s: float = 0.0
    shift_ppm: float = 0.0
    pace_ppm: float = 0.0
    more: tuple[Signal, ...] = ()

    @property
    def count(self) -> int:
        """Number of exchanges."""
        return len(self.place)

    def with_changes(self, **changes: object) -> Leg:
        """The same with some fields changed."""
        return msgspec.structs.replace(self, **changes)

    def after(self, late_s: float) -> F64:
        """The place in the window that is so many seconds behind the first path."""
        return self.place + late_s / SAMPLE_S


class Heard(msgspec.Struct, frozen=True):
    """What a receiver has of a leg. late_s: how much later than by the direct way it believes that it arrived.

    carrier_ppm: the sender's clock against its own, as the carrier has told it.
    """

    reception: Reception
    late_s: F64
    carrier_ppm: F64


def hear(leg: Leg, settings: Settings, carrier_hz: float, tracking_ppm: float, rng: Generator) -> Heard:
    """Put a leg on the air and receive it.

    The receiver learns the sender's clock from the carrier of the preamble, to within `tracking_ppm`, and takes its
    own sampling along: it believes that both come from one crystal. What it gets wrong stays as rotation and drift.
    """
    wrong = rng.normal(0, tracking_ppm, leg.count)
    believed = leg.clock_ppm + leg.shift_ppm + wrong
    rotation = -wrong * 1e-6 * carrier_hz * leg.mode.duration_s
    drift = (believed - leg.clock_ppm - leg.pace_ppm) * 1e-6 * leg.mode.duration_s / SAMPLE_S
    carried = Signal(leg.sts, response(leg.taps, leg.place), rotation, drift)
    samples = on_the_air([carried, *leg.more], leg.mode, leg.noise, rng)
    reception = receive(samples, leg.sts, leg.mode, settings)
    return Heard(reception, (reception.at - leg.place) * SAMPLE_S + leg.late_s, believed)


class Sequences:
    """The STS of consecutive slots of one session, from the standard's generator."""

    def __init__(self, mode: Mode, rng: Generator) -> None:
        self._mode = mode
        self._key = AesKey(rng.bytes(16), "STS key")
        self._salt = rng.bytes(8)

    def pulses(self, first: int, count: int, step: int = 1) -> F32:
        """Pulses of slots `first`, `first + step`, ...: count x pulses."""
        rows = [self._slot(first + number * step) for number in range(count)]
        return np.array(rows, dtype=np.float32)

    def before(self, first: int, count: int, step: int) -> Callable[[int], F32]:
        """The pulses of so many slots before those of `pulses`, when asked for."""
        return lambda ago: self.pulses(first - ago, count, step)

    def _slot(self, index: int) -> NDArray[np.int8]:
        return sts(self._key, self._salt + (index & 0xFFFFFFFF).to_bytes(4) + bytes(4), self._mode.pulses)


def expected_places(count: int, rng: Generator) -> F64:
    """Where direct paths arrive: anywhere within a sample, as the clocks of two devices know nothing of each other."""
    return EXPECTED + rng.random(count)
