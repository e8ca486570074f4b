"""One unit's exchange as it happened: who told whom what, in a file beside the store that the report draws.

A line of the file is a line of a link's trace (`keywright.link.trace`) with more in it: the command as it was before
secure messaging, and the step of the recipe. So the file can be replayed, and any trace can be drawn. What may be
keys is zeros in it.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, final

import msgspec

from keywright.errors import DecodeError, UsageError
from keywright.globalplatform.redaction import MASKED, masked
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.channels import is_secured
from keywright.production.parameters import MESH
from keywright.production.watch import Phase, Unwatched

if TYPE_CHECKING:
    # Reading or writing a recording needs no database.
    from keywright.production.unit_store.units import UnitStore

HOST: Final = "host"
FOB: Final = "fob"
KEYSTORE: Final = "keystore"
AUTHORITY: Final = "CA"
STORE: Final = "unit store"

_ANYWHERE: Final = frozenset({"session", "link", "retry"})
"""Events with these names before the dot happen in any step."""

Direction = Literal["open", "command", "answer", "reset", "lost", "close", "message"]


class Step(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line. `who` asks and `to` answers, whichever way `dir` points; a message goes over no link.

    `hex` is what travelled; `plain` the same without its protection, empty when it had none or it is not known.
    `note` is the text of a message or a loss. `t`: seconds since 1970.
    """

    t: float
    who: str
    link: str
    dir: Direction
    hex: str
    note: str = ""
    delivered: bool | None = None
    to: str = FOB
    plain: str = ""
    step: str = ""
    unit: int = 0

    @property
    def is_protected(self) -> bool:
        """Whether secure messaging carried it, as far as that can be seen."""
        if self.dir == "command":
            return len(self.hex) >= 2 and is_secured(int(self.hex[:2], 16))
        return bool(self.plain)


@final
class Recorder(Unwatched):
    """A watcher that notes what one unit of a lot is told and answers. `sink` is usually a `SequenceFile`."""

    def __init__(
        self, sink: Callable[[Step], object], unit: int = 1, *, link: str = "", clock: Callable[[], float] = time.time
    ) -> None:
        self._sink = sink
        self._unit = unit
        self._link = link
        self._clock = clock
        self._step = ""
        self._sent = self._answered = 0.0

    def moment(self, phase: Phase, unit: int, step: str) -> None:
        """Remember when a command left and when its answer came, and for which step."""
        if unit != self._unit:
            return
        if phase == "after send":
            self._step, self._sent = step, self._clock()
        elif phase == "after answer":
            self._answered = self._clock()

    def started(self, unit: int, serial: str) -> None:
        """Note that the unit was powered on."""
        del serial
        if unit == self._unit:
            self._tell(self._clock(), "reset", b"")

    def exchanged(self, unit: int, sent: Command, plain: Command, got: Response, opened: Response) -> None:
        """Note one command and its answer."""
        if unit != self._unit:
            return
        now = self._clock()
        wire = sent.encode()
        shown = masked(wire)
        note = MASKED if shown != wire else ""
        before = b"" if plain == sent else masked(plain.encode())
        self._tell(self._sent or now, "command", shown, before, note)
        self._tell(self._answered or now, "answer", got.encode(), b"" if opened == got else opened.encode())

    def _tell(self, at: float, direction: Direction, data: bytes, plain: bytes = b"", note: str = "") -> None:
        step = Step(
            t=at,
            who=HOST,
            link=self._link,
            dir=direction,
            hex=data.hex().upper(),
            note=note,
            plain=plain.hex().upper(),
            step=self._step,
            unit=self._unit,
        )
        self._sink(step)


def from_store(store: UnitStore, unit: int) -> Iterator[Step]:
    """What the store tells of a unit's way besides its exchange: intents and results, keys derived, a certificate."""
    certificate = store.certificate(unit)
    for event in store.events(unit):
        step = _recipe_step(event.step)
        if certificate is not None and certificate.at <= event.at:
            text = f"issue certificate {certificate.serial_number}"
            yield _message(unit, certificate.at, AUTHORITY, text, step)
            certificate = None
        if event.phase == "intent" and "master" in event.facts:
            text = f"derive key set ({event.facts.get('scheme', 'unknown scheme')})"
            yield _message(unit, event.at, KEYSTORE, text, step)
        attempt = f", try {event.attempt}" if event.attempt > 1 else ""
        yield _message(unit, event.at, STORE, f"{event.phase}: {event.step}{attempt}", step)


def _recipe_step(name: str) -> str:
    """The step of the recipe that an event belongs to; empty for what happens in any of them."""
    step = MESH if name.startswith(MESH) else name.partition(".")[0]
    return "" if step in _ANYWHERE else step


def _message(unit: int, at: float, to: str, text: str, step: str) -> Step:
    return Step(t=at, who=HOST, link="", dir="message", hex="", note=text, to=to, step=step, unit=unit)


def trace_path(store: Path) -> Path:
    """The file of the recorded exchange that belongs to the store at `store`."""
    return store.with_name(f"{store.name}.trace.jsonl")


@final
class SequenceFile:
    """Appends steps to a file that only its owner may read (0600); every step is written at once."""

    def __init__(self, path: Path) -> None:
        """Open or create. Raises UsageError if it cannot be written."""
        self.path = path
        try:
            self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            if stat.S_ISREG(os.fstat(self._fd).st_mode):
                os.fchmod(self._fd, 0o600)
        except OSError as error:
            raise UsageError(f"{path}: cannot be written: {error.strerror}") from error

    def __call__(self, step: Step) -> None:
        """Append one step. A full disk ends the recording, never the work that is recorded."""
        if self._fd < 0:
            return
        try:
            os.write(self._fd, msgspec.json.encode(step) + b"\n")
        except OSError:
            self.close()

    def close(self) -> None:
        """Close the file; twice does no harm."""
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                os.close(self._fd)
            self._fd = -1


_decoder: Final = msgspec.json.Decoder(Step)


def read_sequence(path: Path) -> Iterator[Step]:
    """The steps of a file, or the events of a link's trace. A last line that a kill cut short is left out.

    Raises UsageError if the file cannot be read, DecodeError naming the line if one is no step.
    """
    try:
        with path.open("rb") as stream:
            for number, line in enumerate(stream, 1):
                try:
                    if line.strip():
                        yield _step(line)
                except (msgspec.DecodeError, ValueError) as error:
                    if not line.endswith(b"\n"):
                        return
                    raise DecodeError(f"{path} line {number}: not a step of an exchange: {error}") from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error


def _step(line: bytes) -> Step:
    step = _decoder.decode(line)
    bytes.fromhex(step.hex)
    bytes.fromhex(step.plain)
    return step
