"""`keywright uwb range`: what honest devices measure."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, NamedTuple

import numpy as np
import typer
from numpy.typing import NDArray

from keywright.cli.options import Json
from keywright.cli.text import note, say, show_json, table
from keywright.cli.uwb import options
from keywright.cli.uwb.options import MODEL, as_values, in_words, scenario
from keywright.cli.uwb.page import Part, Table, write_page, write_pictures
from keywright.cli.uwb.plots import distances, extent
from keywright.cli.uwb.running import run
from keywright.errors import UsageError
from keywright.uwb.lab import Exchanges, Scenario, Share, believed, histogram, portions, share, spread
from keywright.uwb.lab.channels import PROVENANCE
from keywright.uwb.lab.statistics import Bin, Spread

app = typer.Typer(rich_markup_mode=None)

MOST_RESPONDERS: Final = 12
FARTHEST_M: Final = 300.0
_BINS: Final = 21
_BLOCKS: Final = " ▏▎▍▌▋▊▉█"
_BAR: Final = 40


class _Responder(NamedTuple):
    """What was measured to one responder."""

    number: int
    scenario: Scenario
    found: Exchanges
    errors: NDArray[np.float64]
    figures: Spread
    refused: Share


@app.command("range")
def measure(
    *,
    distance: Annotated[
        str, typer.Option("--distance", metavar="M[,M...]", help="To each responder; the last one counts for the rest.")
    ] = "3",
    responders: Annotated[
        int,
        typer.Option("--responders", metavar="N", min=1, max=MOST_RESPONDERS, help="They answer one after another."),
    ] = 1,
    channel: options.Channel = "cm1",
    snr: options.Snr = None,
    ppm: options.Ppm = 20.0,
    method: options.Method = "ds",
    mode: options.PulseRate = "bprf",
    pulses: options.Pulses = None,
    trials: options.Trials = 500,
    seed: options.Seed = 1,
    jobs: options.Jobs = 1,
    json: Json = False,
    svg: Annotated[Path | None, typer.Option("--svg", metavar="DIR", help="Write the picture into DIR.")] = None,
    html: options.Html = None,
) -> None:
    """Measure distances in a model of the air, and say how good they are. Nothing is sent.

    Example: keywright uwb range --distance 3,8 --responders 2 --channel cm2 --trials 200
    """
    note(MODEL)
    places = _places(distance, responders)
    scenarios = [
        scenario(
            place, channel, snr, ppm, method, mode, pulses, reply_slots=number + 1, final_slots=responders - number
        )
        for number, place in enumerate(places)
    ]
    work = [portions(one, None, trials, seed, number) for number, one in enumerate(scenarios)]
    rows = [_judged(number, *pair) for number, pair in enumerate(zip(scenarios, run(work, jobs), strict=True), start=1)]
    if json:
        show_json({"seed": seed, "trials": trials, "responders": [_values(row) for row in rows]})
    else:
        _show(rows, seed)
    errors = {f"responder {row.number}": row.errors for row in rows[:3]}
    picture = distances("Errors", errors, {"true": 0.0}, "measured less true distance (m)")
    if svg is not None:
        write_pictures(svg, {"range": picture})
    if html is not None:
        lead = f"{in_words(scenarios[0])}; {trials} measurements, seed {seed}."
        table_ = Table("Responders", _HEADS, [_cells(row) for row in rows])
        part = Part("Errors", "Bars with exact 95 % intervals. At most three responders are drawn.", [picture])
        write_page(html, "Ranging in a model", lead, [table_], [part], PROVENANCE)


def _places(text: str, responders: int) -> list[float]:
    """A distance for each responder."""
    try:
        places = [float(word) for word in text.split(",")]
    except ValueError:
        places = []
    if not places or not all(0 < place <= FARTHEST_M for place in places) or len(places) > responders:
        raise UsageError(
            f"--distance {text}: metres, more than 0 and at most {FARTHEST_M:g}, for at most {responders} responders",
            hint="for example --distance 3,8 --responders 2",
        )
    return places + [places[-1]] * (responders - len(places))


def _judged(number: int, one: Scenario, found: Exchanges) -> _Responder:
    errors = found.distance_m - one.distance_m
    refused = share(int((~believed(found)).sum()), len(found))
    return _Responder(number, one, found, errors, spread(errors), refused)


_HEADS: Final = ("responder", "true", "bias", "sigma", "5 % to 95 %", "not found", "refused by checks")


def _cells(row: _Responder) -> tuple[str, ...]:
    figures = row.figures
    missing = len(row.found) - int(row.found.found.sum())
    spreads = (
        (f"{figures.median:+.3f} m", f"{figures.sigma:.3f} m", f"{figures.low:+.2f} to {figures.high:+.2f} m")
        if figures.trials
        else ("none",) * 3
    )
    return (
        str(row.number),
        f"{row.scenario.distance_m:.2f} m",
        *spreads,
        str(share(missing, len(row.found))),
        str(row.refused),
    )


def _show(rows: list[_Responder], seed: int) -> None:
    say(in_words(rows[0].scenario))
    say(f"{len(rows[0].found)} measurements of each responder, seed {seed}; bias is the median error, sigma half of")
    say("what the middle 68 % spread over; refused: a path was not found, or a check did not pass")
    say()
    for line in table(_HEADS, [_cells(row) for row in rows]):
        say(line)
    errors = np.concatenate([row.errors for row in rows])
    if np.isfinite(errors).any():
        say()
        say("  measured less true distance, all responders")
        start, end = extent([errors], [0.0])
        for line in bars(histogram(errors, start, end, _BINS)):
            say(line)


def bars(bins: list[Bin]) -> list[str]:
    """A histogram for a terminal: the middle of each bin, its bar, its share."""
    most = max((one.share.rate for one in bins), default=0.0) or 1.0
    lines = []
    for one in bins:
        whole, rest = divmod(round(8 * _BAR * one.share.rate / most), 8)
        drawn = "█" * whole + _BLOCKS[rest].strip()
        text = f"{100 * one.share.rate:.1f} %" if one.share.hits else ""
        lines.append(f"  {(one.start + one.end) / 2:+8.2f} m  {drawn:{_BAR}} {text}".rstrip())
    return lines


def _values(row: _Responder) -> dict[str, object]:
    figures = row.figures

    def rounded(value: float) -> float | None:
        return round(value, 4) if np.isfinite(value) else None

    return {
        "responder": row.number,
        "scenario": as_values(row.scenario),
        "found": int(row.found.found.sum()),
        "bias_m": rounded(figures.median),
        "sigma_m": rounded(figures.sigma),
        "p5_m": rounded(figures.low),
        "p95_m": rounded(figures.high),
        "refused": share_values(row.refused),
    }


def share_values(one: Share) -> dict[str, object]:
    """A share for --json: never a rate without its interval."""
    return {"hits": one.hits, "trials": one.trials, "low": round(one.low, 6), "high": round(one.high, 6)}
