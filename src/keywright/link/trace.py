"""The event stream of a link, and its file: one JSON object a line.

{"t": seconds since 1970, "who": "host", "link": "loopback", "dir": "command", "hex": "00A40400"} and, where they
say something, "note" and "delivered". Directions: `open` (hex: ATR), `command`, `answer`, `reset` (hex: ATR),
`lost` (a LinkError: note is its text), `close`.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, final

import msgspec

from keywright.errors import DecodeError, StoreError, UsageError

Direction = Literal["open", "command", "answer", "reset", "lost", "close"]


@final
class Event(msgspec.Struct, frozen=True):
    """One thing that happened on a link. time: seconds since 1970. delivered: only of a `lost`, None if unknown."""

    time: float
    who: str
    link: str
    direction: Direction
    data: bytes = b""
    note: str = ""
    delivered: bool | None = None

    def to_json(self) -> bytes:
        """One line of a trace file, without the line end."""
        line = _Line(self.time, self.who, self.link, self.direction, self.data.hex().upper(), self.note, self.delivered)
        return _encoder.encode(line)

    @classmethod
    def from_json(cls, line: bytes) -> Event:
        """Parse one line. Raises DecodeError."""
        try:
            parsed = _decoder.decode(line)
            data = bytes.fromhex(parsed.hex)
        except (msgspec.DecodeError, ValueError) as error:
            raise DecodeError(f"not a trace event: {error}") from error
        return cls(parsed.t, parsed.who, parsed.link, parsed.dir, data, parsed.note, parsed.delivered)


class _Line(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=False):
    t: float
    who: str
    link: str
    dir: Direction
    hex: str
    note: str = ""
    delivered: bool | None = None


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(_Line)


@final
class TraceFile:
    """Appends events to a file that only its owner may read (0600); every event is written at once."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Open or create. Raises UsageError if it cannot be written or is a symbolic link."""
        self.path = os.fspath(path)
        try:
            self._fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            if stat.S_ISREG(os.fstat(self._fd).st_mode):
                os.fchmod(self._fd, 0o600)
        except OSError as error:
            raise UsageError(f"{self.path}: cannot be written: {error.strerror}") from error

    def write(self, event: Event) -> None:
        """Append one event. Raises StoreError if the file system refuses it: a trace with holes is none."""
        if self._fd < 0:
            raise StoreError(f"{self.path}: the trace is closed")
        try:
            os.write(self._fd, event.to_json() + b"\n")
        except OSError as error:
            raise StoreError(f"{self.path}: trace not written: {error.strerror}") from error

    __call__ = write

    def close(self) -> None:
        """Close the file; twice does no harm."""
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_trace(path: str | os.PathLike[str]) -> Iterator[Event]:
    """The events of a trace file, one at a time. A last line that a kill cut short is left out.

    Raises UsageError if the file cannot be read, DecodeError naming the line if one is no event.
    """
    name = os.fspath(path)
    try:
        stream = Path(name).open("rb")  # noqa: SIM115 - closed by the with below; only opening may fail as UsageError
    except OSError as error:
        raise UsageError(f"{name}: cannot be read: {error.strerror}") from error
    offset = 0
    with stream:
        for number, line in enumerate(stream, 1):
            if line.strip():
                try:
                    yield Event.from_json(line)
                except DecodeError as error:
                    if not line.endswith(b"\n"):
                        return
                    raise DecodeError(f"{name} line {number}: {error}", offset) from error
            offset += len(line)
