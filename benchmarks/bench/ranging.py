"""The receiver of the ranging laboratory on one core: whole packets, from the channel's paths to the verdict."""

from __future__ import annotations

import time
from typing import Final

from numpy.random import default_rng

from bench.figures import Figure, rate
from bench.measure import Contender, race
from keywright.uwb.lab import CHANNELS, Scenario, simulate

PACKETS_A_SECOND: Final = 100.0
_EXCHANGES: Final = 16
_LEGS: Final = 3
_ROUNDS: Final = 15


def figures() -> list[Figure]:
    """Packets a second in each channel with multipath."""
    return [_figure(name) for name in CHANNELS if name != "awgn"]


def _figure(channel: str) -> Figure:
    """Full length: 4096 pulses, three to a measurement. The clock is the process's, so that no second core helps."""
    scenario = Scenario(channel=channel, snr_db=0.0)

    def work() -> None:
        simulate(scenario, _EXCHANGES, default_rng(1))

    packets = _EXCHANGES * _LEGS
    found = race([Contender("lab", work, packets)], rounds=_ROUNDS, clock=time.process_time)
    ours = 1 / found.median("lab")
    what = f"ranging laboratory, packets of 4096 pulses sent and received a second ({channel})"
    return Figure(what, rate(ours), "absolute, one core", ours, PACKETS_A_SECOND, form="{:.0f}/s")
