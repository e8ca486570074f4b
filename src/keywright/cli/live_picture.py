"""A running lot as a person at a terminal of 80 columns sees it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from keywright.cli.progress import Progress
from keywright.cli.text import printable

IN_WORK_SHOWN: Final = 2
STATIONS_SHOWN: Final = 4
_BAR: Final = 40


def picture_of(progress: Progress) -> RenderableType:
    """The picture at this moment."""
    return Group(
        _head(progress),
        _bars(progress),
        *_standing(progress),
        *_in_work(progress),
        *_notices(progress),
        *_failures(progress),
    )


def _head(progress: Progress) -> RenderableType:
    lot = progress.lot
    return Text.assemble(
        (f"Lot {printable(lot.name)}", "bold"),
        ("  TEST keys" if lot.is_test else "", "yellow"),
        f"   {progress.done + lot.finished} of {lot.ordered}   ",
        (f"{progress.sealed_in_all} sealed", "green"),
        (f"   {progress.aside_in_all} set aside" if progress.aside_in_all else "", "red"),
        (f"   {progress.left_open} left open" if progress.left_open else "", "yellow"),
        f"   {progress.rate:.0f}/s   {_lasted(progress.seconds)}",
    )


def _lasted(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest:02d} s"


def _bars(progress: Progress) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    grid.add_column()
    grid.add_column()
    grid.add_column(justify="right")
    total = progress.lot.ordered - progress.lot.finished
    for step, passed in progress.passed.items():
        bar = ProgressBar(
            total=max(total, 1), completed=passed, width=_BAR, complete_style="cyan", finished_style="green"
        )
        grid.add_row(f"  {_words(step)}", bar, f"{passed}/{total}")
    return grid


def _standing(progress: Progress) -> Iterator[RenderableType]:
    """What holds the lot up, who works on it, what is to be recovered: as far as there is anything to say."""
    now = progress.now
    if now.stands:
        yield _marked("!", "red", f"{now.state}: {now.stands}")
    elif now.first_article is not None:
        yield _marked(" ", "yellow", f"first article: units 1 to {now.first_article}, then the lot waits for a person")
    words = [f"{printable(name)} {units}" for name, units in now.stations[:STATIONS_SHOWN] if not _is_alone(name)]
    more = len(now.stations) - STATIONS_SHOWN
    if more > 0:
        words.append(f"and {more} more")
    if words:
        yield _line("stations", "   ".join(words))
    found = [f"{now.recovered} recovered"] if now.recovered else []
    found += [f"{now.to_recover} to be recovered"] if now.to_recover else []
    if found:
        yield _line("cut off", ", ".join(found))


def _is_alone(name: str) -> bool:
    """Whether that is no station, but whoever has the store for itself."""
    return name.startswith("alone ")


def _in_work(progress: Progress) -> Iterator[RenderableType]:
    now = list(progress.in_work.values())
    if now:
        names = "   ".join(f"{printable(serial)} {_words(step)}" for serial, step in now[:IN_WORK_SHOWN])
        more = f"   and {len(now) - IN_WORK_SHOWN} more" if len(now) > IN_WORK_SHOWN else ""
        yield _line("in work", f"{names}{more}")


def _notices(progress: Progress) -> Iterator[RenderableType]:
    for text in tuple(progress.notices):
        yield _marked("*", "yellow", printable(text))


def _failures(progress: Progress) -> Iterator[RenderableType]:
    """The last ones in whole: what is wrong often stands at the end of the line."""
    shown = tuple(progress.failures)
    hidden = progress.failed - len(shown)
    if hidden > 0:
        yield Text(f"  ! {hidden} earlier", style="red")
    for serial, step, failure in shown:
        yield _marked("!", "red", f"{printable(serial)} {_words(step)}: {printable(failure)}")


def _line(name: str, words: str) -> Text:
    return Text(f"  {name:8} {words}", style="dim", no_wrap=True, overflow="ellipsis")


def _marked(mark: str, style: str, words: str) -> RenderableType:
    """A line that goes on below itself where the terminal is too narrow."""
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=3, justify="right")
    grid.add_column(overflow="fold")
    grid.add_row(Text(mark, style=style), Text(words))
    return grid


def _words(step: str) -> str:
    return step.replace("_", " ")
