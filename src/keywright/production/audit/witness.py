"""The witness file: checkpoints of logs kept where those who write the logs cannot change them.

Notes one after another, each followed by an empty line; only ever appended to. Several logs may share one. It belongs
on another disk or, by a mounted folder, on another machine.
"""

from __future__ import annotations

import fcntl
import os
import re
from pathlib import Path
from typing import Final

from keywright.errors import DecodeError, StoreError
from keywright.production.audit.note import Checkpoint, NoteKey, open_note
from keywright.production.private_file import read_plain
from keywright.production.unit_store.sqlite import sync_folder

WITNESS_BYTES: Final = 1 << 28
_NOTE: Final = re.compile(r"(?:[^\n]+\n)+\n(?:\N{EM DASH} [^\n ]+ [A-Za-z0-9+/=]+\n)+(?=\n)")
_END: Final = b"\n\n"
_TORN: Final = b"~"
"""Ends what a power cut left of a note, so that it is not taken for one."""


def add_note(path: Path, note: str) -> None:
    """Append a note durably; other processes may do the same. Raises StoreError if it cannot be."""
    try:
        is_new = not path.exists()
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            size = os.fstat(descriptor).st_size
            is_whole = not size or os.pread(descriptor, len(_END), max(size - len(_END), 0)) == _END
            os.write(descriptor, (b"" if is_whole else _TORN + _END) + note.encode() + b"\n")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if is_new:
            sync_folder(path.parent)
    except OSError as error:
        raise StoreError(
            f"{path}: the witness file cannot be written: {error.strerror}", hint="give another --witness"
        ) from error


def beside_store(store: Path) -> Path:
    """The witness file of a store for which none was named."""
    return store.with_name(f"{store.name}.witness")


def read_notes(path: Path) -> list[str]:
    """The whole notes of a witness file, in their order. Raises UsageError if it cannot be read."""
    return _NOTE.findall(read_plain(path, "witness file", WITNESS_BYTES).decode("utf-8", "replace"))


def checkpoints_of(notes: list[str], *keys: NoteKey) -> dict[int, Checkpoint]:
    """The checkpoints of the log that `keys` sign, by their size; notes of other logs are passed over.

    Raises AuthenticationError for one that bears the log's name without the key's signature, DecodeError for one that
    is no checkpoint or contradicts an earlier one.
    """
    by_name = {key.name: key for key in keys}
    found: dict[int, Checkpoint] = {}
    for note in notes:
        key = by_name.get(note.partition("\n")[0])
        if key is not None:
            checkpoint = Checkpoint.parse(open_note(note, key))
            if found.setdefault(checkpoint.size, checkpoint).root != checkpoint.root:
                raise DecodeError(
                    f"the witness has two different roots of {checkpoint.size} entries: the log was forked"
                )
    return found
