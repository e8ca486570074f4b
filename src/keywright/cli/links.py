"""Opening what a verb talks to: the link, its trace, and the question before something irreversible."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Final

import msgspec

from keywright.cli.person import ask, is_attended
from keywright.cli.text import note
from keywright.errors import DecodeError, PolicyError, UsageError
from keywright.fob.open import open_link
from keywright.fob.uri import is_simulated
from keywright.globalplatform.redaction import MASKED, Redactor
from keywright.link.base import Exchange
from keywright.link.record import Recording
from keywright.link.trace import Event, TraceFile

DEFAULT: Final = "sim:element"


@contextmanager
def opened(uri: str, trace: Path | None = None) -> Iterator[Exchange]:
    """The link, closed at the end, recorded if a trace is wanted. An empty URI is a simulated element, and says so."""
    if not uri:
        note(f"no --link: this is a simulated element ({DEFAULT})")
    with ExitStack() as stack:
        full = trace is not None and is_simulated(uri or DEFAULT)
        sink = stack.enter_context(trace_sink(trace, full=full)) if trace is not None else None
        link = stack.enter_context(closing(open_link(uri or DEFAULT)))
        yield link if sink is None else Recording(link, sink)


@contextmanager
def trace_sink(path: Path, *, full: bool = False) -> Iterator[Callable[[Event], None]]:
    """What appends events to a trace file. Raises UsageError for a file that is none of ours.

    Keys are masked, unless `full`: for a simulated device, whose keys open nothing real.
    """
    _check_trace(path)
    with TraceFile(path) as file:
        yield file.write if full else redacting(file.write)


def redacting(sink: Callable[[Event], object]) -> Callable[[Event], None]:
    """What passes events on without what may be keys; follows every link by its name."""
    cards: dict[str, Redactor] = {}

    def redacted(event: Event) -> None:
        card = cards.setdefault(event.link, Redactor())
        if event.direction in ("open", "reset"):
            card.reset()
        if event.direction == "command" and (data := card.masked(event.data)) != event.data:
            event = msgspec.structs.replace(event, data=data, note=MASKED)
        sink(event)

    return redacted


def _check_trace(path: Path) -> None:
    """A trace is appended to a new file or to an older trace, never to anything else, and never through a link."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    except OSError as error:
        what = "is a symbolic link" if path.is_symlink() else f"cannot be used: {error.strerror}"
        raise UsageError(f"--trace {path}: {what}", hint="give the path of a new file") from error
    try:
        is_trace = stat.S_ISREG(os.fstat(descriptor).st_mode) and _begins_as_trace(descriptor)
    finally:
        os.close(descriptor)
    if not is_trace:
        raise UsageError(f"--trace {path}: there already, and no trace", hint="give the path of a new file")


def _begins_as_trace(descriptor: int) -> bool:
    """Whether a file is empty or its first line is an event; no event is longer than what is read here."""
    line, newline, _ = os.read(descriptor, 1 << 19).partition(b"\n")
    try:
        return not line or (bool(newline) and bool(Event.from_json(line)))
    except DecodeError:
        return False


def confirm(uri: str, what: str, *, yes: bool) -> None:
    """Ask before `what` is done to a real device. Raises PolicyError for a no, and where nobody can be asked."""
    insist(f"{what} on {uri}", yes=yes or is_simulated(uri or DEFAULT))


def insist(what: str, *, yes: bool) -> None:
    """Ask before `what` is done, unless `yes`. Raises PolicyError for a no, and where nobody can be asked."""
    if yes:
        return
    if not is_attended():
        raise PolicyError(f"{what} needs a confirmation", hint="repeat it with --yes")
    note(f"This will {what}. It may not be possible to undo it.")
    if ask("Go on? [y/N]").strip().lower() not in ("y", "yes"):
        raise PolicyError("not confirmed; nothing was done", hint="repeat it when you are sure")
