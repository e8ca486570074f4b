"""The picture of a running lot: bars that move in a terminal, plain lines elsewhere. Both on stderr."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final, final

import msgspec

from keywright.cli.text import note, printable
from keywright.iso7816.apdu import Command, Response
from keywright.production.watch import Phase, Unwatched, Watcher

if TYPE_CHECKING:
    from rich.console import RenderableType

REFRESH_PER_SECOND: Final = 8
FAILURES_SHOWN: Final = 5
IN_WORK_SHOWN: Final = 2
LINES_A_RUN: Final = 10
"""Progress lines without a terminal, at most, whatever the size of the lot."""
_SEALED: Final = "sealed"


class Lot(msgspec.Struct, frozen=True):
    """What the picture is of. `finished` units came to their end in an earlier run."""

    name: str
    ordered: int
    steps: tuple[str, ...]
    finished: int = 0
    is_test: bool = False


EMPTY: Final = Lot("", 0, ())


@final
class Progress(Unwatched):
    """Counts what a run tells. Cheap: it is called several times for every command.

    learn: asked for the lot when the first unit is taken up; only then is it known to be on the disk.
    """

    def __init__(self, learn: Callable[[], Lot], clock: Callable[[], float] = time.monotonic) -> None:
        self.lot = EMPTY
        self.sealed = 0
        self.set_aside = 0
        self.left_open = 0
        self.passed: dict[str, int] = {}
        self.in_work: dict[int, tuple[str, str]] = {}
        self.failures: deque[tuple[str, str, str]] = deque(maxlen=FAILURES_SHOWN)
        self.failed = 0
        self._learn = learn
        self._clock = clock
        self._begun = 0.0
        self._order: dict[str, int] = {}
        self._reached: dict[int, int] = {}

    @property
    def done(self) -> int:
        """Units this run brought to an end."""
        return self.sealed + self.set_aside + self.left_open

    @property
    def seconds(self) -> float:
        """How long the run has lasted."""
        return self._clock() - self._begun if self._begun else 0.0

    @property
    def rate(self) -> float:
        """Units per second in this run."""
        return self.done / self.seconds if self.seconds > 0 else 0.0

    def started(self, unit: int, serial: str) -> None:
        """A unit is taken up."""
        if not self._begun:
            self._begin()
        self.in_work[unit] = (serial, "")

    def moment(self, phase: Phase, unit: int, step: str) -> None:
        """A unit is at a step: it has passed those before. A result that is written late takes nobody back."""
        del phase
        entry = self.in_work.get(unit)
        if entry is None or entry[1] == step or self._order.get(step, -1) <= self._order.get(entry[1], -1):
            return
        self.in_work[unit] = (entry[0], step)
        self._pass(unit, self._order[step])

    def finished(self, unit: int, serial: str, state: str, failure: str) -> None:
        """A unit has come to its end."""
        step = self.in_work.pop(unit, ("", ""))[1]
        if state == _SEALED:
            self.sealed += 1
            self._pass(unit, len(self.lot.steps))
        else:
            self.set_aside += state != "open"
            self.left_open += state == "open"
            self.failed += 1
            self.failures.append((serial, step, failure or state))
        self._reached.pop(unit, None)

    def _begin(self) -> None:
        self.lot = self._learn()
        self.passed = dict.fromkeys(self.lot.steps, 0)
        self._order = {step: number for number, step in enumerate(self.lot.steps)}
        self._begun = self._clock()

    def _pass(self, unit: int, reached: int) -> None:
        before = self._reached.get(unit, 0)
        for step in self.lot.steps[before:reached]:
            self.passed[step] += 1
        self._reached[unit] = max(before, reached)


@final
class Watchers:
    """Several watchers as one; each hears only of what it has a method of its own for."""

    def __init__(self, watchers: Sequence[Watcher]) -> None:
        def hearing(name: str) -> list[Watcher]:
            return [one for one in watchers if getattr(type(one), name) is not getattr(Unwatched, name)]

        self._moment = [one.moment for one in hearing("moment")]
        self._started = [one.started for one in hearing("started")]
        self._finished = [one.finished for one in hearing("finished")]
        self._exchanged = [one.exchanged for one in hearing("exchanged")]

    def moment(self, phase: Phase, unit: int, step: str) -> None:
        """Pass it on."""
        for tell in self._moment:
            tell(phase, unit, step)

    def started(self, unit: int, serial: str) -> None:
        """Pass it on."""
        for tell in self._started:
            tell(unit, serial)

    def finished(self, unit: int, serial: str, state: str, failure: str) -> None:
        """Pass it on."""
        for tell in self._finished:
            tell(unit, serial, state, failure)

    def exchanged(self, unit: int, sent: Command, plain: Command, got: Response, opened: Response) -> None:
        """Pass it on."""
        for tell in self._exchanged:
            tell(unit, sent, plain, got, opened)


@final
class PlainLines(Unwatched):
    """Tells of the progress in lines: one for each unit that fails, and some in between."""

    def __init__(self, progress: Progress, say: Callable[[str], object] = note) -> None:
        self._progress = progress
        self._say = say

    def finished(self, unit: int, serial: str, state: str, failure: str) -> None:
        """A line for a failure, and for every tenth of the lot. Called after the progress has counted."""
        del unit
        progress = self._progress
        if state != _SEALED:
            self._say(f"{printable(serial)}: {state}: {printable(failure)}")
        every = max(1, -(-(progress.lot.ordered - progress.lot.finished) // LINES_A_RUN))
        if progress.done % every == 0 or progress.done + progress.lot.finished == progress.lot.ordered:
            self._say(totals(progress))


def totals(progress: Progress) -> str:
    """One line of figures."""
    lot = progress.lot
    text = f"{progress.done + lot.finished} of {lot.ordered}: {progress.sealed} sealed"
    if progress.set_aside:
        text += f", {progress.set_aside} set aside"
    if progress.left_open:
        text += f", {progress.left_open} left open"
    return f"{text}, {progress.rate:.0f} a second"


@contextmanager
def shown(learn: Callable[[], Lot], *, moving: bool = True) -> Iterator[tuple[Watcher, ...]]:
    """Watchers that show the run on stderr until the end of the block; nothing before a unit is taken up.

    `moving`: a picture that moves, if there is a terminal; lines where a person may be asked something meanwhile.
    """
    progress = Progress(learn)
    if not moving or not sys.stderr.isatty():
        yield progress, PlainLines(progress)
        return
    with ExitStack() as stack:
        yield progress, _Curtain(progress, stack)


@final
class _Curtain(Unwatched):
    """Raises the curtain when the first unit is taken up: before that a question may be on the screen."""

    def __init__(self, progress: Progress, stack: ExitStack) -> None:
        self._progress = progress
        self._stack = stack
        self._is_up = False

    def started(self, unit: int, serial: str) -> None:
        """Begin to show."""
        del unit, serial
        if self._is_up:
            return
        self._is_up = True
        from rich.console import Console  # noqa: PLC0415 - only where there is a terminal
        from rich.live import Live  # noqa: PLC0415 - as above

        self._stack.enter_context(
            Live(
                console=Console(stderr=True, highlight=False),
                get_renderable=lambda: picture_of(self._progress),
                refresh_per_second=REFRESH_PER_SECOND,
                redirect_stdout=False,
            )
        )


def picture_of(progress: Progress) -> RenderableType:
    """The picture at this moment."""
    from rich.console import Group  # noqa: PLC0415 - only where there is a terminal
    from rich.text import Text  # noqa: PLC0415 - as above

    lot = progress.lot
    head = Text.assemble(
        (f"Lot {printable(lot.name)}", "bold"),
        ("  TEST keys" if lot.is_test else "", "yellow"),
        f"   {progress.done + lot.finished} of {lot.ordered}   ",
        (f"{progress.sealed} sealed", "green"),
        (f"   {progress.set_aside} set aside" if progress.set_aside else "", "red"),
        f"   {progress.rate:.0f}/s   {progress.seconds:.1f} s",
    )
    return Group(head, _bars(progress), *_in_work(progress), *_failures(progress))


def _bars(progress: Progress) -> RenderableType:
    from rich.progress_bar import ProgressBar  # noqa: PLC0415 - only where there is a terminal
    from rich.table import Table  # noqa: PLC0415 - as above

    lot = progress.lot
    grid = Table.grid(padding=(0, 2))
    grid.add_column()
    grid.add_column()
    grid.add_column(justify="right")
    total = lot.ordered - lot.finished
    for step, passed in progress.passed.items():
        bar = ProgressBar(
            total=max(total, 1), completed=passed, width=40, complete_style="cyan", finished_style="green"
        )
        grid.add_row(f"  {step.replace('_', ' ')}", bar, f"{passed}/{total}")
    return grid


def _in_work(progress: Progress) -> list[RenderableType]:
    from rich.text import Text  # noqa: PLC0415 - only where there is a terminal

    now = list(progress.in_work.values())
    if not now:
        return []
    names = "   ".join(f"{printable(serial)} {step.replace('_', ' ')}" for serial, step in now[:IN_WORK_SHOWN])
    more = f"   and {len(now) - IN_WORK_SHOWN} more" if len(now) > IN_WORK_SHOWN else ""
    return [Text(f"  in work  {names}{more}", style="dim", no_wrap=True, overflow="ellipsis")]


def _failures(progress: Progress) -> list[RenderableType]:
    from rich.text import Text  # noqa: PLC0415 - only where there is a terminal

    lines: list[RenderableType] = [
        Text.assemble(
            ("  ! ", "red"),
            (printable(serial), "bold"),
            f" {step.replace('_', ' ')}: {printable(failure)}",
            no_wrap=True,
            overflow="ellipsis",
        )
        for serial, step, failure in tuple(progress.failures)
    ]
    hidden = progress.failed - len(lines)
    if hidden > 0:
        lines.insert(0, Text(f"  ! {hidden} earlier", style="red"))
    return lines
