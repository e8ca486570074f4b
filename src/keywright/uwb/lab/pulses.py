"""What goes on the air: chips, pulses, the two pulse rates, and how they are sampled.

Time is counted in samples of half a chip. The pulse is a Gaussian of 500 MHz: it has no precursor that would give its
sign away early. IEEE 802.15.4z asks of pulses that their cross-correlation with a reference pulse has a main lobe of at
least 0.8 for 0.5 ns (general knowledge, not compared with the text); this one has. It is not the pulse of a chip that
anybody can buy.
"""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from keywright.uwb.sts import CHIP_HZ, SEGMENT_PULSES
from keywright.uwb.twr import LIGHT_M_PER_S, TICK_HZ

CHIP_S: Final = 1 / CHIP_HZ
SAMPLES_PER_CHIP: Final = 2
SAMPLE_S: Final = CHIP_S / SAMPLES_PER_CHIP
SAMPLE_M: Final = SAMPLE_S * LIGHT_M_PER_S
"""Metres that light goes in a sample: about 0.30."""
RANGING_UNIT_S: Final = 1 / TICK_HZ
"""Unit of a timestamp, about 15.65 ps."""

PULSE_SIGMA_S: Final = 0.966e-9
"""Standard deviation of the pulse's amplitude: its spectrum is 10 dB down 250 MHz from the carrier."""
PULSE_SIGMA: Final = PULSE_SIGMA_S / SAMPLE_S
"""The same in samples."""
HALF_WIDTH: Final = 5
"""Samples on each side after which a pulse is over; its amplitude is then below 2e-6."""


class Mode(msgspec.Struct, frozen=True):
    """A pulse rate of the STS. One segment of 64 units is 32,768 chips in both (reference section 10)."""

    name: str
    spacing_chips: int
    pulses: int

    @property
    def spacing(self) -> int:
        """Samples from pulse to pulse."""
        return self.spacing_chips * SAMPLES_PER_CHIP

    @property
    def duration_s(self) -> float:
        """From the first pulse of the STS to the end of the last one's slot."""
        return self.pulses * self.spacing_chips * CHIP_S

    def shortened(self, pulses: int) -> Mode:
        """The same with fewer pulses, for trying things out."""
        return msgspec.structs.replace(self, pulses=pulses)


BPRF: Final = Mode("bprf", spacing_chips=8, pulses=SEGMENT_PULSES)
HPRF: Final = Mode("hprf", spacing_chips=4, pulses=2 * SEGMENT_PULSES)
MODES: Final = {mode.name: mode for mode in (BPRF, HPRF)}


def pulse(at: NDArray[np.float64]) -> NDArray[np.float64]:
    """The pulse at times in samples from its centre. Sampled once a sample its energy is 1."""
    scale = (np.pi**0.5 * PULSE_SIGMA) ** -0.5
    return np.asarray(scale * np.exp(-0.5 * (at / PULSE_SIGMA) ** 2), dtype=np.float64)


def reference_pulse(at: NDArray[np.float64]) -> NDArray[np.float64]:
    """The standard's reference pulse, root raised cosine with roll-off 0.5, at times in chips (IEEE 802.15.4 HRP)."""
    out = np.empty_like(at)
    for index, t in np.ndenumerate(at):
        if abs(t) < 1e-9:
            out[index] = 0.5 + 2 / np.pi
        elif abs(abs(t) - 0.5) < 1e-9:
            out[index] = 0.5 / 2**0.5 * ((1 + 2 / np.pi) * np.sin(np.pi / 2) + (1 - 2 / np.pi) * np.cos(np.pi / 2))
        else:
            over = np.sin(np.pi * t * 0.5) + 2 * t * np.cos(np.pi * t * 1.5)
            out[index] = over / (np.pi * t * (1 - (2 * t) ** 2))
    return out
