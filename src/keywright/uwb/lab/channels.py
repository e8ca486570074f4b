"""Multipath: tapped delay lines drawn as in the IEEE 802.15.4a channel model, and the power that arrives.

A Saleh-Valenzuela model: rays come in clusters, both fade out exponentially, and each ray's amplitude is Nakagami.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from keywright.uwb.lab.pulses import SAMPLE_S

if TYPE_CHECKING:
    from numpy.random import Generator

_FADED: Final = 6.0
"""Decay times after which a cluster's rays are left out: they are 26 dB below its first."""
_FAINT: Final = 1e-3
"""Power, relative to a packet's strongest path, below which a path is left out."""
_LONGEST_NS: Final = 310.0
"""Paths later than this are left out: they fall behind the receiver's window."""


class Channel(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of an environment. Times in ns, rates in 1/ns, spreads in dB.

    clusters, cluster_rate: mean number of clusters, and how often they come. ray_rate_1, ray_rate_2, mixture: rays
    come as a mixture of two Poisson processes, `mixture` being the weight of the first. cluster_decay, ray_decay:
    exponential. m_mean, m_spread: of the logarithm of the Nakagami m factor, which is normal; m_in_db: a decadic one
    times 10, else the natural one. first_m: a fixed m of the first ray of each cluster, None if like the others.
    loss_db, loss_exponent, shadowing_db: path loss at 1 m, how it grows, and its spread.
    """

    name: str
    where: str
    clusters: float
    cluster_rate: float
    ray_rate_1: float
    ray_rate_2: float
    mixture: float
    cluster_decay: float
    ray_decay: float
    cluster_spread_db: float
    m_mean: float
    m_spread: float
    m_in_db: bool = False
    first_m: float | None = None
    loss_db: float
    loss_exponent: float
    shadowing_db: float
    single: bool = False


CM1: Final = Channel(
    name="cm1",
    where="residential, line of sight",
    clusters=3,
    cluster_rate=0.047,
    ray_rate_1=1.54,
    ray_rate_2=0.15,
    mixture=0.095,
    cluster_decay=22.61,
    ray_decay=12.53,
    cluster_spread_db=2.75,
    m_mean=0.67,
    m_spread=0.28,
    loss_db=43.9,
    loss_exponent=1.79,
    shadowing_db=2.22,
)
CM2: Final = Channel(
    name="cm2",
    where="residential, no line of sight",
    clusters=3.5,
    cluster_rate=0.12,
    ray_rate_1=1.77,
    ray_rate_2=0.15,
    mixture=0.045,
    cluster_decay=26.27,
    ray_decay=17.5,
    cluster_spread_db=2.93,
    m_mean=0.69,
    m_spread=0.32,
    loss_db=48.7,
    loss_exponent=4.58,
    shadowing_db=3.51,
)
CM5: Final = Channel(
    name="cm5",
    where="outdoor, line of sight",
    clusters=13.6,
    cluster_rate=0.0448,
    ray_rate_1=0.13,
    ray_rate_2=2.41,
    mixture=0.0078,
    cluster_decay=31.7,
    ray_decay=3.7,
    cluster_spread_db=3.0,
    m_mean=0.77,
    m_spread=0.78,
    first_m=3.0,
    loss_db=45.6,
    loss_exponent=1.76,
    shadowing_db=0.83,
)
AWGN: Final = Channel(
    name="awgn",
    where="one path and noise, nothing else",
    clusters=1,
    cluster_rate=1,
    ray_rate_1=1,
    ray_rate_2=1,
    mixture=1,
    cluster_decay=1,
    ray_decay=1,
    cluster_spread_db=0,
    m_mean=0,
    m_spread=0,
    loss_db=43.9,
    loss_exponent=2.0,
    shadowing_db=0,
    single=True,
)
CHANNELS: Final = {one.name: one for one in (AWGN, CM1, CM2, CM5)}

PROVENANCE: Final = {
    "clusters and rays": "Molisch and others, IEEE 802.15.4a channel model, final report (15-04-0662), as public "
    "programs repeat its figures: likely",
    "m factor": "the same; programs take natural logarithms, the report's tables say dB (Channel.m_in_db): unsure",
    "cm5 cluster spread, first_m": "marked as assumptions in those programs: unsure",
    "path loss, shadowing": "as quoted from the report's tables, not compared with its text: unsure",
    "no line of sight": "the first ray stands at the geometric distance; the report also lets it come late: left out",
    "frequency": "the loss of a path does not depend on frequency, unlike in the report: left out",
    "faint paths": "more than 30 dB below the strongest, or more than 310 ns late: left out",
}
"""Where the parameters are from, and how sure that is. Public reports, never a measurement of our own."""


class Taps(msgspec.Struct, frozen=True):
    """Paths of many packets: `delays` in samples after the geometric one, `gains` complex; unused ones are 0.

    Both are arrays of packets x paths. The energy of each packet's paths is 1.
    """

    delays: NDArray[np.float64]
    gains: NDArray[np.complex128]


def one_path(count: int, rng: Generator) -> Taps:
    """A single path with any phase."""
    phases = np.exp(2j * np.pi * rng.random((count, 1)))
    return Taps(np.zeros((count, 1)), phases)


def draw(channel: Channel, count: int, rng: Generator) -> Taps:
    """Paths of `count` packets, each an independent realisation."""
    if channel.single:
        return one_path(count, rng)
    clusters = int(channel.clusters + 4 * channel.clusters**0.5) + 1
    starts = np.cumsum(rng.exponential(1 / channel.cluster_rate, (count, clusters)), axis=1)
    starts -= starts[:, :1]
    used = np.arange(clusters) < np.maximum(1, rng.poisson(channel.clusters, count))[:, None]
    shape = (count, clusters, _rays(channel))
    rates = np.where(rng.random(shape) < channel.mixture, channel.ray_rate_1, channel.ray_rate_2)
    steps = rng.exponential(1.0, shape) / rates
    steps[:, :, 0] = 0
    rays = np.cumsum(steps, axis=2)
    levels = rng.normal(0, channel.cluster_spread_db, (count, clusters)) / 10 * np.log(10)
    means = np.exp((levels - starts / channel.cluster_decay)[:, :, None] - rays / channel.ray_decay)
    delays = starts[:, :, None] + rays
    means[(rays > _FADED * channel.ray_decay) | (delays > _LONGEST_NS) | ~used[:, :, None]] = 0
    powers = means * _fading(channel, shape, rng)
    powers[powers < _FAINT * powers.max(axis=(1, 2), keepdims=True)] = 0
    powers /= powers.sum(axis=(1, 2), keepdims=True)
    gains = np.sqrt(powers) * np.exp(2j * np.pi * rng.random(shape))
    return _packed(delays.reshape(count, -1) * (1e-9 / SAMPLE_S), gains.reshape(count, -1))


def _rays(channel: Channel) -> int:
    """As many rays of a cluster as are likely before it has faded."""
    gap = channel.mixture / channel.ray_rate_1 + (1 - channel.mixture) / channel.ray_rate_2
    expected = _FADED * channel.ray_decay / gap
    return int(expected + 4 * expected**0.5) + 2


def _fading(channel: Channel, shape: tuple[int, int, int], rng: Generator) -> NDArray[np.float64]:
    """Powers of mean 1: the square of a Nakagami amplitude is gamma."""
    base = 10**0.1 if channel.m_in_db else np.e
    m = base ** rng.normal(channel.m_mean, channel.m_spread, shape)
    if channel.first_m is not None:
        m[:, :, 0] = channel.first_m
    m = np.maximum(m, 0.5)
    return np.asarray(rng.gamma(m) / m)


def _packed(delays: NDArray[np.float64], gains: NDArray[np.complex128]) -> Taps:
    """Drop columns that no packet uses: later work goes over all of them."""
    order = np.argsort(gains == 0, axis=1, kind="stable")
    columns = int((gains != 0).sum(axis=1).max())
    order = order[:, :columns]
    return Taps(np.take_along_axis(delays, order, 1), np.take_along_axis(gains, order, 1))


class Budget(msgspec.Struct, frozen=True):
    """What a receiver gets of a pulse. Levels in dBm, per pulse on average; all assumptions but the first.

    power: -41.3 dBm/MHz over 499.2 MHz, the mean limit of most regulators. noise_figure, loss: of a usual receiver.
    """

    power_dbm: float = -14.3
    noise_figure_db: float = 6.0
    loss_db: float = 4.0

    def snr_db(self, channel: Channel, distance_m: float, pulses_per_s: float) -> float:
        """Energy of a pulse over the noise density, before shadowing."""
        path = channel.loss_db + 10 * channel.loss_exponent * np.log10(max(distance_m, 0.1))
        noise = -174 + self.noise_figure_db + self.loss_db
        return float(self.power_dbm - path - 10 * np.log10(pulses_per_s) - noise)
