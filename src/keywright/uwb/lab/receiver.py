"""A receiver of the STS: correlates with the pulses it expects, looks for the first path, and says how good it is.

The correlation is the whole window's, by the same small matrices that made the signal; it equals one by FFT, of which
it takes a fifth of the time. The first path is searched backwards from the strongest, as far as `back_search_ns`, down
to a threshold: a share of the strongest path (maximum peak to early path, MPEP) and a multiple of the noise.
"""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from keywright.uwb.lab.air import C64, F32, F64, WINDOW, pieces, toeplitz
from keywright.uwb.lab.pulses import HALF_WIDTH, PULSE_SIGMA, SAMPLE_S, Mode, pulse

INT = NDArray[np.intp]

BLOCKS: Final = 32
"""Parts of an STS whose consensus is asked: 128 pulses of BPRF each."""
_QUIET: Final = 128
"""Samples at the start of the window that the noise is measured in: no honest path is there."""
_LEAST: Final = 1e-12
_EDGE: Final = HALF_WIDTH + 3


class Settings(msgspec.Struct, frozen=True):
    """How the first path is looked for. Assumptions: no vendor has published its own.

    back_search_ns: how far before the strongest path. mpep_db: how far below it a first path may be. noise_factor: how
    many times the noise's effective value it has to be, which is itself only estimated.
    """

    back_search_ns: float = 100.0
    mpep_db: float = 14.0
    noise_factor: float = 5.0


class Reception(msgspec.Struct, frozen=True):
    """What a receiver says of packets; every array has one entry, or row, for each.

    found: whether there was a path at all. at: samples of the window at which the first path arrived; NaN if none.
    early_db: how far the first path is below the strongest. snr_db: the strongest path over the noise, both after
    correlation. agreeing: share of pulses whose sign is the expected one at the first path. blocks: how many of
    BLOCKS parts agree, each on its own, with the whole's phase. drift_ns: how much later the last pulse comes than
    the carrier lets expect, from the arrivals of both halves.
    """

    found: F64
    at: F64
    early_db: F64
    snr_db: F64
    agreeing: F64
    blocks: F64
    drift_ns: F64


def correlate(samples: C64, sts: F32, mode: Mode) -> C64:
    """The correlation over the window, packets x WINDOW, matched to the pulse. A lone path of energy 1 gives 1."""
    out = np.empty((len(samples), WINDOW), np.complex64)
    for number, packet in enumerate(samples):
        flat = packet.view(np.float32).reshape(pieces(mode), -1, 2 * mode.spacing)
        out[number] = (toeplitz(sts[number], mode) @ flat).sum(axis=0).view(np.complex64).ravel()
    padded = np.pad(out, ((0, 0), (HALF_WIDTH, HALF_WIDTH)))
    matched = sum(weight * padded[:, step : step + WINDOW] for step, weight in enumerate(_filter(0.0)))
    return np.asarray(matched / np.float32(mode.pulses), dtype=np.complex64)


def receive(samples: C64, sts: F32, mode: Mode, settings: Settings) -> Reception:
    """Look for the first path of each packet, and judge it."""
    profile = correlate(samples, sts, mode)
    size = np.abs(profile).astype(np.float64)
    noise = np.median(size[:, :_QUIET], axis=1) / np.log(2) ** 0.5
    inner = size.copy()
    inner[:, :_EDGE] = inner[:, -_EDGE:] = 0
    peak = inner.argmax(axis=1)
    highest = inner[np.arange(len(inner)), peak]
    least = np.maximum(highest * 10 ** (-settings.mpep_db / 20), settings.noise_factor * noise)
    first = _first(inner, peak, least, round(settings.back_search_ns * 1e-9 / SAMPLE_S))
    at = first + _vertex(size, first)
    found = highest >= settings.noise_factor * noise
    agreeing, blocks = quality(samples, sts, at, mode)
    drift = np.array([drifted(one, sts[number], float(at[number]), mode) for number, one in enumerate(samples)])
    with np.errstate(divide="ignore"):
        early = 20 * np.log10(highest / size[np.arange(len(size)), first])
        snr = 20 * np.log10(highest / noise)
    return Reception(found, np.where(found, at, np.nan), early, snr, agreeing, blocks, drift)


def _first(size: F64, peak: INT, least: F64, back: int) -> INT:
    """The earliest local maximum at or above the threshold, not further before the strongest path than `back`."""
    columns = np.arange(WINDOW)
    rises = np.zeros(size.shape, dtype=bool)
    rises[:, 1:-1] = (size[:, 1:-1] >= size[:, :-2]) & (size[:, 1:-1] > size[:, 2:])
    near = (columns >= peak[:, None] - back) & (columns <= peak[:, None])
    allowed = rises & near & (size >= least[:, None])
    allowed[np.arange(len(size)), peak] = True
    return np.asarray(allowed.argmax(axis=1))


def _vertex(size: F64, at: INT) -> F64:
    """Where between samples the maximum lies: exact for a lone pulse, for the logarithm of a Gaussian is a parabola."""
    rows = np.arange(len(size))
    before, here, after = (np.log(np.maximum(size[rows, at + step], 1e-30)) for step in (-1, 0, 1))
    bend = before - 2 * here + after
    return np.asarray(np.clip(0.5 * (before - after) / np.where(bend == 0, -1, bend), -0.5, 0.5))


def quality(samples: C64, sts: F32, at: F64, mode: Mode) -> tuple[F64, F64]:
    """Share of pulses with the expected sign, and number of agreeing blocks, at times `at` of the window."""
    agreeing = np.zeros(len(samples))
    blocks = np.zeros(len(samples))
    for number, packet in enumerate(samples):
        despread = pulses_at(packet, float(at[number]), mode) * sts[number]
        whole = despread.sum()
        along = (despread * np.conj(whole)).real
        agreeing[number] = np.count_nonzero(along > 0) / mode.pulses
        blocks[number] = np.count_nonzero(along.reshape(BLOCKS, -1).sum(axis=1) > 0)
    return agreeing, blocks


def drifted(packet: C64, sts: F32, at: float, mode: Mode) -> float:
    """How much later than expected the last pulse comes, against the first, in ns.

    Each half says by how much more it has half a sample after the first path than half a sample before: of a lone
    Gaussian pulse the logarithm of that is its lateness, and what other paths add is the same in both halves.
    """
    sizes = [
        np.abs((pulses_at(packet, at + side, mode) * sts).reshape(2, -1).sum(axis=1)) + _LEAST for side in (0.5, -0.5)
    ]
    early, late = 2 * PULSE_SIGMA**2 * np.log(sizes[0] / sizes[1])
    return float(2 * (late - early) * SAMPLE_S * 1e9)


def pulses_at(packet: C64, at: float, mode: Mode) -> C64:
    """Each pulse of a packet through the matched filter, if its first path came at `at` samples of the window."""
    whole = int(np.floor(at))
    flat = packet.reshape(-1)
    length = mode.pulses * mode.spacing
    out = np.zeros(mode.pulses, np.complex64)
    for step, weight in enumerate(_filter(at - whole)):
        begin = whole - HALF_WIDTH + step
        out += weight * flat[begin : begin + length : mode.spacing]
    return out


def _filter(centre: float) -> F32:
    """The pulse as it is sampled if its centre is that much behind a sample."""
    return pulse(np.arange(-HALF_WIDTH, HALF_WIDTH + 1, dtype=np.float64) - centre).astype(np.float32)
