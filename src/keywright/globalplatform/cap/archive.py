"""The ZIP archive around a CAP file, from bytes to bytes: nothing is opened by name."""

from __future__ import annotations

import io
import zipfile
import zlib
from typing import Final

from keywright.errors import DecodeError

MOST_FILES: Final = 4096
MOST_BYTES: Final = 16 << 20
"""Of one file, unpacked: far above the largest load file, far below what would hurt."""
_SUFFIXES: Final = (".cap", ".capx")


def component_files(data: bytes) -> dict[str, bytes]:
    """Files of the archive that are components, by name without folder and suffix. Raises DecodeError.

    An archive that names a component twice is refused: a card and a person would not see the same one.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return _read(archive)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError, OverflowError) as error:
        if isinstance(error, DecodeError):
            raise
        raise DecodeError(f"not a CAP file: {error}") from error


def _read(archive: zipfile.ZipFile) -> dict[str, bytes]:
    entries = archive.infolist()
    if len(entries) > MOST_FILES:
        raise DecodeError(f"an archive of {len(entries)} files is no CAP file")
    found: dict[str, bytes] = {}
    for entry in entries:
        name = _component_name(entry.filename)
        if name is None:
            continue
        if name in found:
            raise DecodeError(f"the archive has two files for the component {name}")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise DecodeError(f"the component {name} is packed by method {entry.compress_type}")
        if entry.file_size > MOST_BYTES:
            raise DecodeError(f"the component {name} unpacks to {entry.file_size} bytes")
        found[name] = archive.read(entry)
    return found


def _component_name(path: str) -> str | None:
    """`Header` of `com/example/javacard/Header.cap`; None for a manifest, a signature and the like."""
    name = path.rpartition("/")[2]
    for suffix in _SUFFIXES:
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return None


def build_archive(files: dict[str, bytes]) -> bytes:
    """An archive of these files, by path; the same bytes for the same files, whenever it is made."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in files.items():
            archive.writestr(zipfile.ZipInfo(path), content, zipfile.ZIP_DEFLATED)
    return out.getvalue()
