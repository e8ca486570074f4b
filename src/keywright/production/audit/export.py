"""Write the audit log of a store to a file that can be judged without the store (`lines` has the format)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

import msgspec
import sqlalchemy as sa
from msgspec import structs
from sqlalchemy.exc import DatabaseError

from keywright.errors import DecodeError, StoreError
from keywright.production.audit.books import LEDGER, ROWS
from keywright.production.audit.lines import FORMAT, VERSION, End, Head, Word, line
from keywright.production.audit.merkle import Edge
from keywright.production.audit.note import Signer, sign_note
from keywright.production.audit.subjects import BY_TYPE, SUBJECTS
from keywright.production.outfile import replacing
from keywright.production.reports.report import reading
from keywright.production.unit_store.tables import audit, audit_checkpoint, audit_head
from keywright.production.unit_store.units import UnitStore

_CHUNK: Final = 400
"""Entries whose rows are looked up together."""
_OPENING: Final = line("head", b'{"format":"keywright audit export"')[:-1].decode()
"""How every file begins: by this an older one is known, which a new one may replace."""


class Exported(NamedTuple):
    """What was written: entries, checkpoints, the root (32 bytes), and whether the log's key sealed it."""

    size: int
    checkpoints: int
    root: bytes
    is_sealed: bool


class _Subject(msgspec.Struct, frozen=True):
    id: str
    type: str


class _About(msgspec.Struct, frozen=True):
    """The part of an entry that an export looks at."""

    object: _Subject
    after_hash: str


def export(store: UnitStore, path: Path, signer: Signer | None = None) -> Exported:
    """Write the whole log, and the rows it speaks of, in one picture of the store; others may go on writing.

    `signer`, the log's key, seals the file: without it nobody can tell whether its end was left out or put on anew.
    Nothing is judged here: what the store has is written. `path` gets its content whole or keeps its old one. Raises
    UsageError if it cannot be written or is there already and no export, StoreError for a store that cannot be read.
    """
    try:
        with replacing(path, opening=_OPENING, store=store.path) as file, reading(store) as reader:
            return _write(reader, file, signer)
    except (DatabaseError, DecodeError) as error:
        raise StoreError(f"{store.name}: the log cannot be read: {error}", hint="restore it from a backup") from error


class _Output:
    """The file, and SHA-256 of what went into it."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._digest = hashlib.sha256()

    def write(self, word: Word, payload: bytes) -> None:
        """Write a line."""
        data = line(word, payload)
        self._digest.update(data)
        self._file.write(data.decode())

    @property
    def digest(self) -> str:
        """Over all lines so far, in hex."""
        return self._digest.hexdigest()


def _write(reader: sa.Connection, file: IO[str], signer: Signer | None) -> Exported:
    out = _Output(file)
    head = reader.execute(sa.select(audit_head)).one()
    checkpoints = [(row.size, row.note) for row in reader.execute(_CHECKPOINTS)]
    keys = [row.vkey for row in reader.execute(_KEYS)]
    key = head.vkey or (keys[-1] if keys else "")
    out.write("head", msgspec.json.encode(Head(FORMAT, key, VERSION, tuple(one for one in keys if one != key))))
    written = _entries(reader, out, [*checkpoints])
    _now(reader, out)
    _extra(reader, out, written)
    root = Edge(head.size, head.edge).root()
    end = End(len(checkpoints), out.digest, head.last.hex(), root.hex(), head.size)
    if signer is not None:
        end = structs.replace(end, seal=sign_note(end.sealed_text(signer.name), signer))
    out.write("end", msgspec.json.encode(end))
    return Exported(head.size, len(checkpoints), root, signer is not None)


def _entries(reader: sa.Connection, out: _Output, checkpoints: list[tuple[int, str]]) -> dict[str, int]:
    """Entries with their rows and checkpoints; returns how many entries speak of rows of each kind, -1 if not known."""
    spoken: dict[str, int] = {rows.type: 0 for rows in SUBJECTS if not rows.is_changing}
    size = 0
    for chunk in _chunks(reader):
        abouts = [None if row.body is None else _about(row.body) for row in chunk]
        found = _rows_of(reader, [about for about in abouts if about is not None])
        for row, about in zip(chunk, abouts, strict=True):
            _checkpoints_up_to(size, checkpoints, out)
            size += 1
            if row.body is None:
                spoken = dict.fromkeys(spoken, -1)
                out.write("hash", row.leaf.hex().encode())
                continue
            out.write("leaf", row.body.encode())
            if about is not None and about.object.type in spoken and about.after_hash:
                kind, name = about.object.type, about.object.id
                spoken[kind] += spoken[kind] >= 0
                out.write("row", found.get((kind, name), b"null"))
    _checkpoints_up_to(None, checkpoints, out)
    return spoken


def _chunks(reader: sa.Connection) -> Iterator[Sequence[Any]]:
    yield from reader.execution_options(yield_per=_CHUNK).execute(_LOG).partitions()


def _about(body: str) -> _About | None:
    """What an entry speaks of; None for one that cannot be read, which is written all the same."""
    try:
        return msgspec.json.decode(body, type=_About)
    except msgspec.DecodeError:
        return None


def _checkpoints_up_to(size: int | None, checkpoints: list[tuple[int, str]], out: _Output) -> None:
    while checkpoints and (size is None or checkpoints[0][0] <= size):
        out.write("checkpoint", msgspec.json.encode(checkpoints.pop(0)[1]))


def _rows_of(reader: sa.Connection, abouts: Iterable[_About]) -> dict[tuple[str, str], bytes]:
    """The rows that entries speak of, as they are hashed."""
    names: dict[str, set[str]] = {}
    for about in abouts:
        names.setdefault(about.object.type, set()).add(about.object.id)
    found: dict[tuple[str, str], bytes] = {}
    for kind, wanted in names.items():
        rows = BY_TYPE.get(kind)
        if rows is None or rows.is_changing:
            continue
        keys = [key for key in map(rows.key_of, wanted) if key is not None]
        query = rows.query().where(sa.tuple_(*(rows.table.c[name] for name in rows.key)).in_(keys))
        for row in reader.execute(query):
            values = tuple(row)
            found[kind, rows.name_of(values)] = msgspec.json.encode(values)
    return found


def _now(reader: sa.Connection, out: _Output) -> None:
    for row in reader.execution_options(yield_per=_CHUNK).execute(ROWS):
        out.write("now", b"%b %b" % (LEDGER.encode(), msgspec.json.encode(tuple(row))))
    for rows in SUBJECTS:
        if rows.is_changing:
            for row in reader.execute(rows.query().order_by(*(rows.table.c[name] for name in rows.key))):
                out.write("now", b"%b %b" % (rows.type.encode(), msgspec.json.encode(tuple(row))))


def _extra(reader: sa.Connection, out: _Output, spoken: dict[str, int]) -> None:
    """Rows that no entry speaks of. They are looked for only if there are more rows than entries about them."""
    for kind, number in spoken.items():
        rows = BY_TYPE[kind]
        there: int = reader.execute(sa.select(sa.func.count()).select_from(rows.table)).scalar_one()
        if number < 0 or there <= number:
            continue
        known = set(_names(reader, kind))
        for row in reader.execute(rows.query()):
            values = tuple(row)
            if rows.name_of(values) not in known:
                out.write("extra", b"%b %b" % (kind.encode(), msgspec.json.encode(values)))


def _names(reader: sa.Connection, kind: str) -> Iterator[str]:
    for chunk in _chunks(reader):
        for row in chunk:
            about = None if row.body is None else _about(row.body)
            if about is not None and about.object.type == kind:
                yield about.object.id


_LOG: Final = sa.select(audit.c.body, audit.c.leaf).order_by(audit.c.seq)
_CHECKPOINTS: Final = sa.select(audit_checkpoint.c.size, audit_checkpoint.c.note).order_by(audit_checkpoint.c.size)
_KEYS: Final = (
    sa.select(audit_checkpoint.c.vkey).group_by(audit_checkpoint.c.vkey).order_by(sa.func.min(audit_checkpoint.c.size))
)
