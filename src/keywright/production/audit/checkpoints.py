"""Checkpoints: the log's size and root, signed now and then and at the end of every run, and handed to a witness.

A checkpoint that a witness keeps is what makes the loss of entries before it detectable; so the last one of a run is
made when the lot's state has been written.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final, Protocol, final

import msgspec
import sqlalchemy as sa

from keywright.errors import KeywrightError, LinkError
from keywright.production.audit.merkle import Edge, consistency_ranges, roots_of
from keywright.production.audit.note import Checkpoint, NoteKey, Signer, sign_note
from keywright.production.audit.second_host import SecondHost
from keywright.production.audit.witness import add_note, read_notes
from keywright.production.unit_store.rows import Change
from keywright.production.unit_store.tables import audit, audit_checkpoint, audit_head
from keywright.production.unit_store.transaction import Transaction, added

EVERY_ENTRIES: Final = 10_000
EVERY_S: Final = 60.0
_POLL_S: Final = 1.0

logger = logging.getLogger(__name__)


class CheckpointMade(Change, frozen=True):
    """A change: the log was signed at this size; `vkey` checks the note. The second of a size is not written."""

    size: int
    note: str
    vkey: str


class Store(Protocol):
    """What is needed of a unit store."""

    def commit(self, batch: Iterable[Change]) -> None:
        """Write durably."""
        ...

    def reading(self) -> AbstractContextManager[sa.Connection]:
        """A connection with one picture of the store."""
        ...


_ADD: Final = added(audit_checkpoint, CheckpointMade.__struct_fields__)


def write_checkpoints(transaction: Transaction, changes: Sequence[CheckpointMade]) -> None:
    """A row each, but for sizes that were signed before."""
    for change in changes:
        if transaction.one(sa.select(audit_checkpoint.c.size).where(audit_checkpoint.c.size == change.size)) is None:
            transaction.run(_ADD, [msgspec.structs.astuple(change)], is_change=False)


@final
class Notary:
    """Signs the log of one store."""

    def __init__(
        self,
        store: Store,
        signer: Signer,
        witness: Path | None,
        *,
        second: SecondHost | None = None,
        is_needed: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`witness`: the file that notes go to besides the store; `clock` in seconds since 1970, UTC.

        `second`: a witness on another host, whose word goes into that file; while it cannot be had, a checkpoint is
        made all the same, and the next one makes up for it, unless it `is_needed`.
        """
        self._second = second
        self._is_needed = is_needed
        self._cosigned = -1
        self._store = store
        self._signer = signer
        self._witness = witness
        self._clock = clock

    def make(self) -> str:
        """Sign the log as it is, unless its last checkpoint is of this size; returns the note.

        Raises StoreError if the store or the witness file cannot be written, AuthenticationError if a second host has
        seen another log, LinkError if it is needed and cannot be reached.
        """
        with self._store.reading() as connection:
            head = connection.execute(sa.select(audit_head)).one()
            known = connection.execute(
                sa.select(audit_checkpoint.c.note).where(audit_checkpoint.c.size == head.size)
            ).scalar()
        if known is not None:
            self._hand_over(str(known), head.size, is_new=False)
            return str(known)
        root = Edge(head.size, head.edge).root()
        checkpoint = Checkpoint(self._signer.name, head.size, root, int(self._clock() * 1000))
        note = sign_note(checkpoint.text, self._signer)
        vkey = str(NoteKey(self._signer.name, self._signer.public))
        self._store.commit([CheckpointMade(head.size, note, vkey)])
        self._hand_over(note, head.size, is_new=True)
        return note

    def size(self) -> int:
        """Entries in the log now."""
        with self._store.reading() as connection:
            found: int = connection.execute(sa.select(audit_head.c.size)).scalar_one()
        return found

    def _hand_over(self, note: str, size: int, *, is_new: bool) -> None:
        """One that is in the store may have been lost on its way to the witness."""
        if self._second is not None and self._cosigned != size:
            try:
                note = self._second.cosigned(note, size, lambda old: self._proof(old, size))
                self._cosigned = size
            except LinkError as error:
                if self._is_needed:
                    raise
                logger.warning("not cosigned, the next checkpoint makes up for it: %s", error)
        # One that has a witness's line under it is there, too.
        if self._witness is not None and (is_new or not any(one.startswith(note) for one in _notes(self._witness))):
            add_note(self._witness, note)

    def _proof(self, old: int, size: int) -> list[bytes]:
        with self._store.reading() as connection:
            return consistency_path(connection, old, size)


def consistency_path(connection: sa.Connection, old: int, size: int) -> list[bytes]:
    """The proof that the first `size` entries begin with the first `old` (RFC 9162 2.1.4), 0 < old <= size."""
    query = sa.select(audit.c.leaf).where(audit.c.seq < size).order_by(audit.c.seq)
    rows = connection.execution_options(yield_per=1000).execute(query)
    return roots_of(consistency_ranges(old, size), (row.leaf for row in rows))


@contextmanager
def notarised(notary: Notary, *, every_entries: int = EVERY_ENTRIES, every_s: float = EVERY_S) -> Iterator[None]:
    """Make checkpoints while the block runs, and one if it raises; the last of a run is the caller's to make.

    One that fails is logged, and made up for by the next.
    """
    done = threading.Event()
    thread = threading.Thread(target=_keep, args=(notary, done, every_entries, every_s), name="notary", daemon=True)
    thread.start()
    try:
        yield
    except BaseException:
        _try(notary)
        raise
    finally:
        done.set()
        thread.join()


def _keep(notary: Notary, done: threading.Event, every_entries: int, every_s: float) -> None:
    signed, at = -1, time.monotonic()
    while not done.wait(min(_POLL_S, every_s)):
        try:
            size = notary.size()
            is_due = size - signed >= every_entries or time.monotonic() - at >= every_s
            if signed < 0 or (size != signed and is_due):
                notary.make()
                signed, at = size, time.monotonic()
        except KeywrightError as error:
            logger.warning("no checkpoint: %s", error)


def _try(notary: Notary) -> None:
    try:
        notary.make()
    except KeywrightError as error:
        logger.warning("no checkpoint: %s", error)


def _notes(path: Path) -> list[str]:
    return read_notes(path) if path.exists() else []
