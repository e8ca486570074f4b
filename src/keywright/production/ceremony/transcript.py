"""The transcript of a ceremony as a file, in the ceremony's folder.

A line is appended and synced before anything that depends on it is done. Processes of different persons append to it,
one at a time; what a killed one left behind the last whole line is cut off by the next.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, final

import msgspec

from keywright.errors import StoreError
from keywright.production.ceremony.plan import Plan
from keywright.production.ceremony.progress import Ceremony, Line, follow, signed
from keywright.production.ceremony.states import Event
from keywright.production.people.people import Directory
from keywright.production.people.person_key import PersonKey
from keywright.production.unit_store.sqlite import sync_folder
from keywright.store.lock import FileLock

FILE: Final = "transcript.jsonl"
_LOCK: Final = ".transcript.lock"
_BYTES: Final = 8 << 20
_WAIT_S: Final = 20.0


@final
class Transcript:
    """The file of a ceremony in its folder; any number of processes append to it, one at a time."""

    def __init__(self, folder: Path, directory: Directory) -> None:
        self.folder = folder
        self.path = folder / FILE
        self.directory = directory

    @classmethod
    def begin(cls, folder: Path, plan: Plan, directory: Directory, line: Callable[[Ceremony], Line]) -> Transcript:
        """Make the folder (mode 0700) and the first line. Raises StoreError if the folder is there."""
        try:
            folder.mkdir(mode=0o700, parents=False)
        except OSError as error:
            raise StoreError(
                f"{folder}: the ceremony's folder cannot be made: {error.strerror}", hint="give a new path"
            ) from error
        made = cls(folder, directory)
        ceremony = Ceremony(plan, directory)
        first = line(ceremony)
        ceremony.follow(first)
        made._append(first, 0)
        sync_folder(folder.parent)
        return made

    def read(self) -> Ceremony:
        """The ceremony as it stands. Raises StoreError if it is missing or damaged, CeremonyError if it was altered."""
        return self._read()[0]

    def write(self, key: PersonKey, event: Event, facts: Callable[[Ceremony], dict[str, Any]], at_ms: int) -> Ceremony:
        """Append a line of that person, made from the ceremony as it stands then; it is on the disk when this returns.

        Raises CeremonyError, and writes nothing, for what cannot follow now.
        """
        lock = FileLock(str(self.folder / _LOCK), str(self.folder), _WAIT_S)
        try:
            ceremony, end = self._read()
            self.directory.of_key(key)
            line = signed(ceremony, key, event, facts(ceremony), at_ms)
            ceremony.follow(line, verify=False)
            self._append(line, end)
        finally:
            lock.release()
        return ceremony

    def _append(self, line: Line, end: int) -> None:
        # What a killed process left behind its last whole line is cut off.
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.truncate(end)
            file.seek(end)
            file.write(msgspec.json.encode(line) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        if not end:
            sync_folder(self.folder)

    def _read(self) -> tuple[Ceremony, int]:
        try:
            data = self.path.read_bytes()
        except OSError as error:
            raise StoreError(
                f"{self.folder}: there is no ceremony: {error.strerror}", hint="give the folder of one"
            ) from error
        if len(data) > _BYTES:
            raise StoreError(f"{self.path}: too long for a transcript")
        end = data.rfind(b"\n") + 1
        return follow(self._lines(data[:end]), self.directory), end

    def _lines(self, data: bytes) -> list[Line]:
        try:
            return [msgspec.json.decode(line, type=Line) for line in data.splitlines()]
        except (msgspec.DecodeError, RecursionError) as error:
            raise StoreError(f"{self.path}: damaged", hint="keep it as evidence; begin another ceremony") from error
