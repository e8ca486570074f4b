"""The air between two antennas: signals of several senders added up, as samples of the receiver.

All that a receiver looks at lies in a window of `WINDOW` samples around the moment it expects the first path. An
impulse response is given in the coordinates of that window, so where it stands is when it arrives. A signal is then its
signs, one every `spacing` samples, convolved with the response; taken apart by the place of a sample between two
pulses, that is a product of two small matrices.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from keywright.uwb.lab.channels import Taps
from keywright.uwb.lab.pulses import HALF_WIDTH, Mode, pulse

if TYPE_CHECKING:
    from numpy.random import Generator

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
C64 = NDArray[np.complex64]

WINDOW: Final = 512
"""Samples of the window: 154 m of one way."""
EXPECTED: Final = 180
"""Where in the window the first path is expected; what a receiver may search back is before it."""

_PIECE: Final = 128
"""Pulses that are worked on at a time."""
_STILL: Final = 0.02
"""Samples of drift, over the whole STS, that are not worth the work."""
_PHASES: Final = 256
"""Positions within a sample at which a path may stand: 1.2 mm apart."""


class Signal(msgspec.Struct, frozen=True):
    """What one sender puts on the air, for many packets.

    signs: packets x pulses, +1, -1 or 0. response: packets x WINDOW. rotation: turns of the carrier's phase over the
    STS, as the receiver sees them after its correction. drift: samples by which the last pulse is later than it would
    be on the receiver's clock.
    """

    signs: F32
    response: C64
    rotation: F64
    drift: F64


def steady(signs: F32, response: C64) -> Signal:
    """A signal without rotation and drift."""
    none = np.zeros(len(signs))
    return Signal(signs, response, none, none)


def response(taps: Taps, at: F64, amplitude: float = 1.0) -> C64:
    """Paths as an impulse response, the pulse's shape included, delayed to `at` samples of the window.

    What falls outside of the window is lost.
    """
    count = len(taps.delays)
    place = taps.delays + at[:, None]
    whole = np.floor(place).astype(np.int64)
    steps = np.arange(-HALF_WIDTH, HALF_WIDTH + 1)
    shapes = _shapes()[((place - whole) * _PHASES).astype(np.int64)]
    index = whole[:, :, None] + steps
    weights = amplitude * taps.gains[:, :, None] * shapes
    weights[(index < 0) | (index >= WINDOW)] = 0
    flat = (np.clip(index, 0, WINDOW - 1) + np.arange(count)[:, None, None] * WINDOW).ravel()
    real = np.bincount(flat, weights.real.ravel(), count * WINDOW)
    imaginary = np.bincount(flat, weights.imag.ravel(), count * WINDOW)
    return (real + 1j * imaginary).reshape(count, WINDOW).astype(np.complex64)


def _shapes() -> F64:
    """The pulse around a sample, for each position of its centre behind it: _PHASES x (2 HALF_WIDTH + 1)."""
    centres = (np.arange(_PHASES) + 0.5) / _PHASES
    return pulse(np.arange(-HALF_WIDTH, HALF_WIDTH + 1) - centres[:, None])


def toeplitz(signs: F32, mode: Mode) -> F32:
    """Signs of one packet at every delay of the window, to multiply with samples: pieces x delays x slots of a piece.

    In pieces, because products so small are never given to several threads: results are the same on every machine
    with the same arithmetic, and a busy one does not make them slow.
    """
    delays = WINDOW // mode.spacing
    padded = np.concatenate([np.zeros(delays - 1, np.float32), signs, np.zeros(delays, np.float32)])
    rows = np.ascontiguousarray(sliding_window_view(padded, slots(mode))[::-1])
    return rows.reshape(delays, pieces(mode), -1).transpose(1, 0, 2)


def slots(mode: Mode) -> int:
    """Places for pulses from the first sample of the window to the last that a late path of the last pulse reaches."""
    return mode.pulses + WINDOW // mode.spacing


def pieces(mode: Mode) -> int:
    """Parts in which an STS is worked on; within one its drift stands still."""
    return mode.pulses // _PIECE


def on_the_air(signals: list[Signal], mode: Mode, noise: F64, rng: Generator) -> C64:
    """Samples of packets: packets x slots x spacing. noise: variance of a complex sample, for each packet."""
    shape = (len(noise), slots(mode), mode.spacing)
    out = rng.standard_normal((*shape, 2), dtype=np.float32)
    out *= np.sqrt(noise / 2).astype(np.float32)[:, None, None, None]
    for number, samples in enumerate(out):
        for signal in signals:
            _add(samples, signal, number, mode)
    return out.view(np.complex64)[..., 0]


def _add(samples: F32, signal: Signal, number: int, mode: Mode) -> None:
    """Add one packet of a signal to `samples`, slots x spacing x 2."""
    moved = _drifted(signal.response[number], float(signal.drift[number]), pieces(mode))
    blocks = moved.reshape(len(moved), -1, mode.spacing).view(np.float32)
    part = toeplitz(signal.signs[number], mode).transpose(0, 2, 1) @ blocks
    turns = float(signal.rotation[number])
    if turns:
        places = np.arange(len(samples)).reshape(len(part), -1, 1)
        phases = np.exp(2j * np.pi * turns * places / mode.pulses).astype(np.complex64)
        part = (part.view(np.complex64) * phases).view(np.float32)
    samples += part.reshape(samples.shape)


def _drifted(one: C64, drift: float, parts: int) -> C64:
    """The response in each part of the STS; a single one if it stands still."""
    if abs(drift) < _STILL:
        return one[None]
    shifts = drift * (np.arange(parts) + 0.5) / parts
    turned = np.fft.fft(one) * np.exp(-2j * np.pi * np.fft.fftfreq(WINDOW) * shifts[:, None])
    return np.fft.ifft(turned, axis=1).astype(np.complex64)
