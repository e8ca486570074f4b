"""A lot as one page of HTML that needs nothing besides itself: no script, no font, no image, nothing to fetch."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Final, NamedTuple

from markupsafe import Markup

from keywright import __version__
from keywright.errors import DecodeError, UsageError
from keywright.production.outfile import replacing
from keywright.production.reports.diagram import Explain, describe, sequence_svg
from keywright.production.reports.history import Times
from keywright.production.reports.rendering import render
from keywright.production.reports.report import Summary, moment, summarise
from keywright.production.reports.report_keys import paths_used
from keywright.production.reports.sequence import from_store, read_sequence, trace_path
from keywright.production.unit_store.units import UnitStore

UNITS_SHOWN: Final = 2000
"""Rows of the table of units; the CSV has all."""
_OPENING: Final = (
    '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<meta name="generator" content="keywright '
)
"""How every page begins: by this an older one is known, which a new one may replace."""
_STEPS_READ: Final = 4000
"""Lines of a trace that are read; far fewer are drawn."""


class _Verdict(NamedTuple):
    text: str
    tone: str


class _Share(NamedTuple):
    name: str
    units: int
    x: float
    width: float


class _Timed(NamedTuple):
    name: str
    times: Times
    is_action: bool


class _Exchange(NamedTuple):
    """The recorded exchange of one unit, or why it cannot be shown."""

    picture: Markup
    serial: str = "A unit"
    what: str = ""
    problem: str = ""


def write_html(
    store: UnitStore,
    path: str | os.PathLike[str],
    *,
    summary: Summary | None = None,
    explain: Explain | None = None,
    units: int = UNITS_SHOWN,
    made_at: datetime | None = None,
) -> None:
    """Write the report of the lot in `store`; `path` gets its new content whole or keeps its old one.

    The exchange is drawn from the trace beside the store, if there is one; `explain` puts it into words. `made_at`
    is now unless given. Raises StoreError if there is no lot, UsageError if the file cannot be written
    or is there already and no such report.
    """
    summary = summary or summarise(store)
    lot = store.lot()
    timed = list(_timed(summary))
    style = render("colours.css") + render("sequence.css") + render("report.css")
    page = render(
        "report.html",
        style=style,
        style_hash=_hash(style),
        summary=summary,
        verdict=_verdict(summary),
        shares=list(_shares(summary)),
        timed=timed,
        decisions=[(moment(one.at), one) for one in summary.decisions if one.event != "finish"],
        longest=max((entry.times.p95 for entry in timed), default=0.0) or 1.0,
        exchange=_exchange(store, explain),
        units=list(islice(store.units(), units)),
        key_paths=paths_used(store),
        recipe=lot.recipe.splitlines() if lot is not None else [],
        store=store.path.name,
        version=__version__,
        made_at=made_at or datetime.now(UTC),
    )
    with replacing(path, opening=_OPENING, store=store.path) as file:
        file.write(page)


def _exchange(store: UnitStore, explain: Explain | None) -> _Exchange:
    """The exchange in the trace beside the store, with what the store tells of the same unit."""
    path = trace_path(store.path)
    if not path.exists():
        return _Exchange(Markup(""))
    try:
        steps = list(islice(read_sequence(path), _STEPS_READ))
    except (DecodeError, UsageError) as error:
        return _Exchange(Markup(""), problem=str(error))
    unit = store.unit(next((step.unit for step in steps if step.unit), 0))
    if unit is None:
        return _Exchange(sequence_svg(steps, explain), what=describe(steps))
    return _Exchange(sequence_svg([*steps, *from_store(store, unit.n)], explain), unit.serial, describe(steps))


def _verdict(summary: Summary) -> _Verdict:
    if summary.stands:
        return _Verdict(f"{summary.state}: {summary.stands}", "warn")
    if summary.open:
        return _Verdict("not complete", "warn")
    if summary.sealed == summary.ordered:
        return _Verdict("every unit sealed", "good")
    return _Verdict(f"complete, {summary.ordered - summary.sealed} set aside", "warn")


def _shares(summary: Summary) -> Iterator[_Share]:
    """Parts of a bar 1000 wide; states without units have none."""
    at = 0.0
    for name in ("sealed", "quarantined", "rejected", "scrapped", "returned", "open"):
        number: int = getattr(summary, name)
        if number:
            width = 1000 * number / (summary.ordered + summary.remade)
            yield _Share(name, number, at, width)
            at += width


def _timed(summary: Summary) -> Iterator[_Timed]:
    """Steps, each with its actions below it; then the actions that happen in several steps."""
    left = {entry.step: entry.times for entry in summary.actions}
    for step in summary.steps:
        yield _Timed(step.step, step.times, is_action=False)
        for name in [name for name in left if name == step.step or name.startswith(f"{step.step}.")]:
            yield _Timed(name, left.pop(name), is_action=True)
    for name, times in left.items():
        yield _Timed(name, times, is_action=True)


def _hash(style: Markup) -> str:
    """The page's only style, as its content security policy names it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
