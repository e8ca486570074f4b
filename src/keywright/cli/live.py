"""The picture of a running lot: bars that move in a terminal, plain lines elsewhere. Both on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Final, final

from keywright.cli.progress import SEALED, Lot, Progress, totals
from keywright.cli.text import note, printable
from keywright.errors import StoreError
from keywright.iso7816.apdu import Command, Response
from keywright.production.reports.now import Now
from keywright.production.watch import Phase, Unwatched, Watcher

if TYPE_CHECKING:
    from rich.console import RenderableType

REFRESH_PER_SECOND: Final = 8
LOOK_S: Final = 0.5
"""How often the store is asked how the lot stands."""
LINES_A_RUN: Final = 10
"""Progress lines without a terminal, at most, whatever the size of the lot."""


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
        self._noticed = [one.noticed for one in hearing("noticed")]

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

    def noticed(self, text: str) -> None:
        """Pass it on."""
        for tell in self._noticed:
            tell(text)


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
        if state != SEALED:
            self._say(f"{printable(serial)}: {state}: {printable(failure)}")
        every = max(1, -(-(progress.lot.ordered - progress.lot.finished) // LINES_A_RUN))
        if progress.done % every == 0 or progress.done + progress.lot.finished == progress.lot.ordered:
            self._say(totals(progress))

    def noticed(self, text: str) -> None:
        """A line each."""
        self._say(printable(text))


@contextmanager
def shown(
    learn: Callable[[], Lot], *, look: Callable[[], Now] = Now, moving: bool = True
) -> Iterator[tuple[Watcher, ...]]:
    """Watchers that show the run on stderr until the end of the block; nothing before a unit is taken up.

    `look`: how the lot stands now; asked every half second for the moving picture.
    `moving`: a picture that moves, if there is a terminal; lines where a person may be asked something meanwhile.
    """
    progress = Progress(learn)
    if not moving or not sys.stderr.isatty():
        yield progress, PlainLines(progress)
        return
    with ExitStack() as stack:
        yield progress, _Curtain(progress, look, stack)


@final
class _Curtain(Unwatched):
    """Raises the curtain when the first unit is taken up: before that a question may be on the screen."""

    def __init__(self, progress: Progress, look: Callable[[], Now], stack: ExitStack) -> None:
        self._progress = progress
        self._look = look
        self._looked = 0.0
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
                get_renderable=self._picture,
                refresh_per_second=REFRESH_PER_SECOND,
                redirect_stdout=False,
            )
        )

    def _picture(self) -> RenderableType:
        """The picture now. It stays as it was while the store cannot be asked: the work itself says what is wrong."""
        from keywright.cli.live_picture import picture_of  # noqa: PLC0415 - only where there is a terminal

        if time.monotonic() - self._looked >= LOOK_S:
            with suppress(StoreError):
                self._progress.now = self._look()
            self._looked = time.monotonic()
        return picture_of(self._progress)
