"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from keywright.errors import UsageError


@contextmanager
def replacing(target: str | os.PathLike[str]) -> Iterator[IO[str]]:
    """A text file (UTF-8, line ends as written) that takes the place of `target` when the block ends well.

    When it does not, `target` stays as it was. Raises UsageError if the file cannot be written.
    """
    path = Path(target)
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:64]}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
                os.fchmod(handle, 0o644)
                yield file
            Path(name).replace(path)
        finally:
            with suppress(FileNotFoundError):
                Path(name).unlink()
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}", hint="give another path") from error
