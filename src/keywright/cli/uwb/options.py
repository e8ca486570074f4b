"""Options that both verbs of `keywright uwb` have, and the scenario that they describe."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, TypeAlias

import typer

from keywright.errors import UsageError
from keywright.uwb.lab import CHANNELS, METHODS, MODES, Scenario

MODEL: Final = "this is a model: no figure in it was measured on a chip (docs/uwb-lab.md)"

FEWEST_PULSES: Final = 128

Channel: TypeAlias = Annotated[
    str, typer.Option("--channel", metavar="NAME", help="awgn, cm1 (home), cm2 (no line of sight), cm5 (outdoor).")
]
Snr: TypeAlias = Annotated[
    float | None,
    typer.Option("--snr", metavar="DB", min=-40, max=60, help="Of a pulse; without it the distance decides."),
]
Ppm: TypeAlias = Annotated[
    float, typer.Option("--ppm", metavar="PPM", min=0, max=100, help="Clocks are off by up to this.")
]
Method: TypeAlias = Annotated[
    str, typer.Option("--method", metavar="ds|ss", help="Double-sided or single-sided two-way ranging.")
]
PulseRate: TypeAlias = Annotated[str, typer.Option("--mode", metavar="bprf|hprf", help="Pulse rate of the STS.")]
Pulses: TypeAlias = Annotated[
    int | None, typer.Option("--pulses", metavar="N", help="Of the STS, a power of two; one segment has 4096 or 8192.")
]
Trials: TypeAlias = Annotated[
    int, typer.Option("--trials", metavar="N", min=1, max=10_000_000, help="Measurements of each kind.")
]
Seed: TypeAlias = Annotated[
    int, typer.Option("--seed", metavar="N", min=0, help="Equal seeds give equal results, whatever --jobs says.")
]
Jobs: TypeAlias = Annotated[int, typer.Option("--jobs", metavar="N", min=1, max=256, help="Processes that work.")]
Html: TypeAlias = Annotated[
    Path | None, typer.Option("--html", metavar="FILE", help="Write a page with the pictures; it needs nothing else.")
]


def scenario(
    distance_m: float,
    channel: str,
    snr: float | None,
    ppm: float,
    method: str,
    mode: str,
    pulses: int | None = None,
    *,
    reply_slots: int = 1,
    final_slots: int = 1,
) -> Scenario:
    """What the options describe. Raises UsageError for a name that there is not."""
    _known("--channel", channel, CHANNELS)
    _known("--method", method, dict.fromkeys(METHODS))
    _known("--mode", mode, MODES)
    most = MODES[mode].pulses
    if pulses is not None and not (FEWEST_PULSES <= pulses <= most and pulses & (pulses - 1) == 0):
        raise UsageError(f"--pulses {pulses}: not for {mode}", hint=f"a power of two, {FEWEST_PULSES} to {most}")
    return Scenario(
        distance_m=distance_m,
        channel=channel,
        snr_db=snr,
        ppm=ppm,
        method=method,
        mode=mode,
        pulses=pulses,
        reply_slots=reply_slots,
        final_slots=final_slots,
    )


def _known(option: str, name: str, names: Mapping[str, object]) -> None:
    if name not in names:
        raise UsageError(f"{option} {name}: there is no such one", hint=f"give one of {', '.join(names)}")


def in_words(one: Scenario) -> str:
    """A scenario in a line."""
    where, mode = CHANNELS[one.channel], one.pulse_mode
    return (
        f"{where.name} ({where.where}), {one.snr_of_pulse_db():.1f} dB a pulse, {mode.pulses} pulses "
        f"{mode.name.upper()}, {one.method.upper()}-TWR, clocks within {one.ppm:g} ppm"
    )


def as_values(one: Scenario) -> dict[str, object]:
    """A scenario for --json."""
    return {
        "distance_m": one.distance_m,
        "channel": one.channel,
        "snr_of_pulse_db": round(one.snr_of_pulse_db(), 2),
        "mode": one.mode,
        "pulses": one.pulse_mode.pulses,
        "method": one.method,
        "ppm": one.ppm,
    }
