"""One append-only file that holds the memories of many devices.

Every commit is one record written by one `write()`, so a kill leaves it whole or cut short at the end of the file,
where the next opening drops it. The index keeps name -> place of the value; values are read back from the file.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self, final

from keywright.errors import StoreError
from keywright.store.lock import FileLock
from keywright.store.records import (
    DELETED,
    HEADER_SIZE,
    MAX_VALUE,
    Found,
    build_header,
    build_record,
    parse_header,
    read_records,
)

logger = logging.getLogger(__name__)

_LENGTH_BITS = MAX_VALUE.bit_length()
_CACHE_BYTES = 8 << 20
_CACHE_ENTRY_BYTES = 200
_ENTRY_BYTES = 5
_SPACE_BYTES = 14
_GARBAGE_AT_OPEN = 1 << 16
_GARBAGE_RUNNING = 8 << 20
_BUFFER = 1 << 20


@final
class Journal:
    """A file of memories, held by one process, usable from several threads.

    Without sync a commit survives the death of the process, not of the machine; with it every commit is followed by
    fdatasync. `dropped_bytes` says how long a torn tail was found at opening.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, sync: bool = False, wait_s: float = 0.0, readonly: bool = False
    ) -> None:
        """Open or create (mode 0600). wait_s: seconds to wait for another holder to finish.

        readonly: hold what is there at this moment and change nothing on disk, not even a torn tail; another process
        may be writing. Raises StoreError if another process holds it (naming its pid), it is no journal, or it is
        damaged anywhere but at its end (naming the offset).
        """
        self.path = os.fspath(path)
        self.dropped_bytes = 0
        self._sync = sync
        self._readonly = readonly
        self._mutex = threading.Lock()
        self._index: dict[str, dict[str, int]] = {}
        self._live = 0
        self._end = HEADER_SIZE
        self._compact_at = 0
        self._cache: OrderedDict[int, bytes] = OrderedDict()
        self._cached = 0
        self._failed = ""
        self._fd = -1
        self._pid = os.getpid()
        try:
            _check_ours(self.path)
            self._lock = None if readonly else FileLock(f"{self.path}.lock", self.path, wait_s)
        except OSError as error:
            raise StoreError(f"{self.path}: {error.strerror}") from error
        try:
            self._open()
        except BaseException as error:
            self.close()
            if isinstance(error, OSError):
                raise StoreError(f"{self.path}: {error.strerror}") from error
            raise

    def memory(self, namespace: str) -> JournalMemory:
        """The memory called `namespace`; made by its first commit."""
        return JournalMemory(self, namespace)

    def namespaces(self) -> list[str]:
        """The namespaces that hold a value, sorted."""
        with self._mutex:
            return sorted(self._index)

    def names(self, namespace: str) -> list[str]:
        """The names that hold a value in `namespace`, sorted."""
        with self._mutex:
            return sorted(self._index.get(namespace, ()))

    def load(self, namespace: str, name: str) -> bytes | None:
        """The value last committed, None if there is none. Raises StoreError if the file cannot be read."""
        with self._mutex:
            if self._fd < 0:
                raise StoreError(f"{self.path}: the journal is closed")
            place = self._index.get(namespace, {}).get(name)
            if place is None:
                return None
            value = self._cache.get(place)
            if value is not None:
                self._cache.move_to_end(place)
                return value
            value = self._read(place)
            self._keep(place, value)
            return value

    def commit(self, namespace: str, changes: Mapping[str, bytes | None]) -> None:
        """Append one record of all changes (None: delete); durable against a kill on return.

        Raises StoreError with nothing changed if the file cannot take it, ValueError naming what is too long.
        """
        if not changes:
            return
        with self._mutex:
            self._check_usable()
            record, found = build_record(self._salt, self._end, namespace, changes)
            self._append(record)
            self._enter(namespace, found)
            if self._end >= self._compact_at:
                self._compact_or_later()

    def compact(self) -> None:
        """Rewrite the file without what was overwritten or deleted. A kill leaves the old file or the new one."""
        with self._mutex:
            self._check_usable()
            try:
                self._compact()
            except OSError as error:
                raise StoreError(f"{self.path}: cannot be compacted: {error.strerror}") from error

    def close(self) -> None:
        """Give up the file and the lock; twice does no harm."""
        with self._mutex:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1
            if self._lock is not None:
                self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Journal {self.path} {len(self._index)} namespaces>"

    def _open(self) -> None:
        if not self._readonly and (not Path(self.path).exists() or Path(self.path).stat().st_size == 0):
            self._compact()
            return
        mode = os.O_RDONLY if self._readonly else os.O_RDWR | os.O_APPEND
        self._fd = os.open(self.path, mode | os.O_CLOEXEC)
        size = os.fstat(self._fd).st_size
        if not size:
            return
        # The same descriptor: a writer may put a compacted file into this one's place.
        with open(self._fd, "rb", buffering=_BUFFER, closefd=False) as stream:
            self._salt = parse_header(stream.read(HEADER_SIZE), self.path)
            self._end = read_records(stream, self._salt, size, self._enter, self.path)
        self.dropped_bytes = size - self._end
        if self._readonly:
            return
        if self.dropped_bytes:
            logger.warning("journal torn tail path=%s offset=%d bytes=%d", self.path, self._end, self.dropped_bytes)
            os.ftruncate(self._fd, self._end)
            os.fsync(self._fd)
        self._compact_at = _compact_at(self._live)
        if self._end - HEADER_SIZE - self._live > max(self._live, _GARBAGE_AT_OPEN):
            self._compact_or_later()

    def _check_usable(self) -> None:
        if self._fd < 0:
            raise StoreError(f"{self.path}: the journal is closed")
        if self._failed:
            raise StoreError(f"{self.path}: {self._failed}", hint="open the journal again")
        if self._pid != os.getpid():
            raise StoreError(f"{self.path}: opened by process {self._pid}, not by this one")
        if self._readonly:
            raise StoreError(f"{self.path}: was opened to be read only")

    def _append(self, record: bytes) -> None:
        """Write one record at the end, or leave the file as it was."""
        try:
            written = os.write(self._fd, record)
            reason = "" if written == len(record) else "no space left"
        except OSError as error:
            written, reason = 0, error.strerror or "write failed"
        if reason:
            try:
                os.ftruncate(self._fd, self._end)
            except OSError:
                self._failed = "a failed write could not be undone"
            raise StoreError(f"{self.path}: {reason}; nothing was changed", hint="make room on the file system")
        self._synchronise()
        self._end += len(record)

    def _synchronise(self) -> None:
        if not self._sync:
            return
        try:
            os.fdatasync(self._fd)
        except OSError as error:
            # The kernel may have dropped the pages: neither "written" nor "not written" would be true.
            self._failed = "a sync failed, what the disk holds is unknown"
            raise StoreError(f"{self.path}: {self._failed}") from error

    def _enter(self, namespace: str, found: list[Found]) -> None:
        """Bring the index up to date with one record's entries."""
        names = self._index.get(namespace)
        if names is None:
            names = self._index[namespace] = {}
            self._live += len(namespace) + _SPACE_BYTES
        for name, offset, size in found:
            old = names.pop(name, None) if size == DELETED else names.get(name)
            if old is not None:
                self._live -= (old & MAX_VALUE) + len(name) + _ENTRY_BYTES
            if size != DELETED:
                names[name] = offset << _LENGTH_BITS | size
                self._live += size + len(name) + _ENTRY_BYTES
        if not names:
            del self._index[namespace]
            self._live -= len(namespace) + _SPACE_BYTES

    def _read(self, place: int) -> bytes:
        offset, size = place >> _LENGTH_BITS, place & MAX_VALUE
        try:
            value = os.pread(self._fd, size, offset)
        except OSError as error:
            raise StoreError(f"{self.path}: {error.strerror} at offset {offset}") from error
        if len(value) != size:
            raise StoreError(f"{self.path}: cut short at offset {offset} by another program")
        return value

    def _keep(self, place: int, value: bytes) -> None:
        """Put a value into the cache and push the least recently used out."""
        if len(value) + _CACHE_ENTRY_BYTES > _CACHE_BYTES // 8:
            return
        self._cache[place] = value
        self._cached += len(value) + _CACHE_ENTRY_BYTES
        while self._cached > _CACHE_BYTES:
            _, gone = self._cache.popitem(last=False)
            self._cached -= len(gone) + _CACHE_ENTRY_BYTES

    def _compact_or_later(self) -> None:
        """Compaction that nobody asked for: what was committed stays committed if there is no room for it."""
        try:
            self._compact()
        except OSError as error:
            self._compact_at = 2 * self._end
            logger.warning("journal not compacted path=%s reason=%s", self.path, error.strerror)

    def _compact(self) -> None:
        """Write a file of what the index names, one record for each namespace, and rename it into place."""
        fresh = f"{self.path}.new"
        salt = int.from_bytes(os.urandom(4), "big")
        places: dict[str, dict[str, int]] = {}
        _check_ours(fresh)
        Path(fresh).unlink(missing_ok=True)
        fd = os.open(fresh, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            with open(fd, "wb", buffering=_BUFFER, closefd=False) as stream:
                stream.write(build_header(salt))
                end = HEADER_SIZE
                for namespace, names in self._index.items():
                    values = {name: self._read(place) for name, place in names.items()}
                    record, found = build_record(salt, end, namespace, values)
                    stream.write(record)
                    end += len(record)
                    places[namespace] = {name: offset << _LENGTH_BITS | size for name, offset, size in found}
            os.fsync(fd)
            Path(fresh).rename(self.path)
        except BaseException:
            os.close(fd)
            raise
        self._cache.clear()
        self._cached = 0
        if self._fd >= 0:
            logger.info("journal compacted path=%s bytes=%d from=%d", self.path, end, self._end)
            os.close(self._fd)
        self._fd, self._index, self._salt, self._end = fd, places, salt, end
        self._compact_at = _compact_at(self._live)
        _sync_directory(self.path)


@final
class JournalMemory:
    """The memory of one device inside a journal."""

    __slots__ = ("_journal", "_namespace")

    def __init__(self, journal: Journal, namespace: str) -> None:
        self._journal = journal
        self._namespace = namespace

    def load(self, name: str) -> bytes | None:
        """The value last committed under `name`, None if there is none."""
        return self._journal.load(self._namespace, name)

    def commit(self, changes: Mapping[str, bytes | None]) -> None:
        """Write every change, None meaning "delete", all or nothing. Raises StoreError with nothing changed."""
        self._journal.commit(self._namespace, changes)

    def names(self) -> list[str]:
        """The names that hold a value, sorted."""
        return self._journal.names(self._namespace)

    def __repr__(self) -> str:
        return f"<JournalMemory {self._namespace} in {self._journal.path}>"


def _check_ours(path: str) -> None:
    """Raise StoreError if there is something at `path` that is no journal, before anything is written beside it."""
    with contextlib.suppress(FileNotFoundError), open(path, "rb", opener=_without_waiting) as stream:
        head = stream.read(HEADER_SIZE)
        if head:
            parse_header(head, path)


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def _compact_at(live: int) -> int:
    """The file size at which more than half of it, and no small amount, is garbage."""
    return HEADER_SIZE + live + max(live, _GARBAGE_RUNNING)


def _sync_directory(path: str) -> None:
    """Make a rename in the directory of `path` durable."""
    fd = os.open(Path(path).parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
