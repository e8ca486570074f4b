"""`keywright uwb attack`: what attackers achieve, with the checks on and off."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer

from keywright.cli.options import Json
from keywright.cli.text import note, say, show_json
from keywright.cli.uwb import options
from keywright.cli.uwb.options import MODEL, scenario
from keywright.cli.uwb.page import write_pictures
from keywright.cli.uwb.ranging import FARTHEST_M
from keywright.cli.uwb.results import Judge, Run, Study, as_json, in_lines, pictures, write
from keywright.cli.uwb.running import run
from keywright.errors import UsageError
from keywright.uwb.lab import ALL, ATTACKS, CHECKS, HONEST, Goal, Limits, Scenario, attack_named, portions
from keywright.uwb.lab.attacks import Attack, MixDown

app = typer.Typer(rich_markup_mode=None)

EVERYTHING: Final = "all"
_SINGLE: Final = "ss"


@app.command("attack")
def attack(
    name: Annotated[str, typer.Argument(metavar="NAME|all", help=f"One of {', '.join(ATTACKS)}, or all.")],
    *,
    distance: Annotated[
        float, typer.Option("--distance", metavar="M", min=0.1, max=FARTHEST_M, help="Where the key really is.")
    ] = 10.0,
    radius: Annotated[
        float, typer.Option("--radius", metavar="M", min=0.1, max=100, help="The door opens for a key this near.")
    ] = 2.0,
    without: Annotated[
        list[str] | None, typer.Option("--without", metavar="CHECK", help=f"Leave one out: {', '.join(CHECKS)}.")
    ] = None,
    limit: Annotated[
        list[str] | None, typer.Option("--limit", metavar="NAME=VALUE", help="Move a check's threshold.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Set a parameter of the attack.")
    ] = None,
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
    svg: Annotated[Path | None, typer.Option("--svg", metavar="DIR", help="Write each picture into DIR.")] = None,
    html: options.Html = None,
) -> None:
    """Attack whole distance measurements in a model, and count what succeeds. Nothing is sent.

    Success: the measurement is accepted at a distance at which the door opens (of an attack that enlarges: 5 m or more
    beyond the true one). Every share comes with its exact 95 % interval, and none is said to be 0.

    Example: keywright uwb attack ghost-peak --set power_db=17 --trials 1000 --html ghost.html
    """
    note(MODEL)
    if radius >= distance:
        raise UsageError(
            f"--radius {radius:g}: the key is at {distance:g} m, the door opens without an attack",
            hint="give a --distance beyond the radius",
        )
    chosen = _chosen(without or [])
    limits = _limits(limit or [])
    place = scenario(distance, channel, snr, ppm, method, mode, pulses)
    attacks = _attacks(name, _pairs("--set", settings or []))
    judge = Judge(Goal(distance, radius), chosen, limits)
    study = Study(place, judge, trials, seed, _runs(attacks, place, trials, seed, jobs, judge))
    if json:
        for values in as_json(study):
            show_json(values)
    else:
        for line in in_lines(study):
            say(line)
    if svg is not None:
        write_pictures(svg, pictures(study))
    if html is not None:
        write(html, study)


def _chosen(left_out: Collection[str]) -> frozenset[str]:
    for check in left_out:
        if check not in CHECKS:
            raise UsageError(f"--without {check}: there is no such check", hint=f"there are {', '.join(CHECKS)}")
    return ALL - frozenset(left_out)


def _pairs(option: str, words: Sequence[str]) -> dict[str, str]:
    for word in words:
        if "=" not in word:
            raise UsageError(f"{option} {word}: this is no NAME=VALUE", hint=f"for example {option} power_db=20")
    return {name: value for name, _, value in (word.partition("=") for word in words)}


def _limits(words: Sequence[str]) -> Limits:
    values = _pairs("--limit", words)
    for name in values:
        if name not in Limits.__struct_fields__:
            known = ", ".join(Limits.__struct_fields__)
            raise UsageError(f"--limit {name}: there is no such threshold", hint=f"there are {known}")
    try:
        limits = msgspec.convert(values, Limits, strict=False)
    except msgspec.ValidationError as error:
        raise UsageError(f"--limit: {error}", hint="give a number") from error
    if not all(map(math.isfinite, msgspec.structs.astuple(limits))):
        raise UsageError("--limit: a threshold is no number", hint="give a number")
    return limits


def _attacks(name: str, settings: dict[str, str]) -> list[Attack]:
    if name != EVERYTHING:
        return [attack_named(name, settings)]
    if settings:
        raise UsageError("--set needs one attack, not all of them", hint="name the attack")
    return [attack_named(one) for one in ATTACKS]


def _runs(attacks: list[Attack], place: Scenario, trials: int, seed: int, jobs: int, judge: Judge) -> list[Run]:
    """Honest measurements, then attacks; what is about SS-TWR only is shown there too."""
    pairs = [(one, place) for one in attacks]
    if place.method != _SINGLE:
        single = msgspec.structs.replace(place, method=_SINGLE)
        pairs += [(one, single) for one in attacks if isinstance(one, MixDown)]
    places = {one.method: one for _, one in pairs}
    streams = {name: number for number, name in enumerate((HONEST, *ATTACKS))}
    work = [portions(one, None, trials, seed, 0) for one in places.values()]
    work += [portions(one, who, trials, seed, streams[who.name]) for who, one in pairs]
    results = run(work, jobs)
    honest = dict(zip(places, results, strict=False))
    runs = [judge.run(HONEST, None, place, honest[place.method], honest[place.method])]
    for (who, one), found in zip(pairs, results[len(honest) :], strict=True):
        name = who.name if one is place else f"{who.name}-{one.method}"
        runs.append(judge.run(name, who, one, found, honest[one.method]))
    return runs
