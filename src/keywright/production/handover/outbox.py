"""The outbox: records of sealed units that a receiver has not acknowledged, sent in order, once each as it sees them.

A row is written in the transaction that seals its unit and leaves only after the receiver has acknowledged that very
record. Whatever is cut in between, the record is sent again, under the same key, and the receiver knows it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Literal, Protocol, TypeAlias

import msgspec
import sqlalchemy as sa

from keywright.errors import KeywrightError, LinkError
from keywright.production.unit_store.handover_tables import outbox, unit_record
from keywright.production.unit_store.mark_rows import is_marked
from keywright.production.unit_store.rows import Change
from keywright.production.unit_store.transaction import Transaction, added

FIRST_WAIT_S: Final = 1.0
LONGEST_WAIT_S: Final = 3600.0
_PAGE: Final = 64
"""Records read at a time."""
MAX_TRIES: Final = 12
"""After so many a record is put aside (`dead`); the others go on."""

Answer = Literal["stored", "same", "conflict"]


class UnitRecord(Change, frozen=True):
    """A change: the signed record of a unit, in both forms. A unit has one, and it is to be sent."""

    unit: int
    jws: str
    cose: bytes
    at: float


class ReceiverError(LinkError):
    """A receiver could not be reached, or answered something that is no answer."""

    code = "receiver"


class Sent(msgspec.Struct, frozen=True):
    """One record on its way. `key`: unit and body hash, under which the receiver knows it again."""

    seq: int
    unit: int
    hash: str
    jws: str
    tries: int

    @property
    def key(self) -> str:
        """The idempotency key."""
        return f"{self.unit}-{self.hash}"


NextDue: TypeAlias = Callable[[float, int], Sequence[Sent]]
"""The next records in order, some at a time: by the time that it is, behind that seq; empty at the end."""


class Receiver(Protocol):
    """Who takes records: keeps each durably before it answers."""

    def take(self, record: Sent, /) -> Answer:
        """`stored` now, the `same` as before, or `conflict`: another body for that unit. Raises ReceiverError."""
        ...


class OutboxChange(Change, frozen=True):
    """A change: a try did not end with an acknowledgement. `at`: earliest time of the next, seconds since 1970."""

    seq: int
    state: Literal["waiting", "dead", "conflict"]
    tries: int
    at: float
    error: str


class Acknowledged(Change, frozen=True):
    """A change: the receiver has this record. Nothing leaves the outbox otherwise."""

    seq: int
    hash: str


class Tally(msgspec.Struct):
    """What sending came to."""

    stored: int = 0
    same: int = 0
    conflicts: int = 0
    failed: int = 0
    dead: int = 0


KINDS: Final = (UnitRecord, OutboxChange, Acknowledged)
_WITHHELD: Final = is_marked(outbox.c.unit)


def body_hash(jws: str) -> str:
    """SHA-256 of a record in JWS form, hex: with the unit, the key by which a receiver knows it again."""
    return hashlib.sha256(jws.encode()).hexdigest()


def write(transaction: Transaction, changes: Sequence[Change]) -> None:
    """New records go into both tables; an acknowledged one leaves the outbox, if it is still that one."""
    records = [change for change in changes if isinstance(change, UnitRecord)]
    transaction.run(_RECORD, [msgspec.structs.astuple(record) for record in records])
    transaction.run(_POST, [(r.unit, body_hash(r.jws), "waiting", 0, r.at, "") for r in records])
    for change in changes:
        if isinstance(change, OutboxChange):
            values = {"state": change.state, "tries": change.tries, "next_at": change.at, "last_error": change.error}
            transaction.execute(outbox.update().where(outbox.c.seq == change.seq).values(values))
        elif isinstance(change, Acknowledged):
            gone = outbox.delete().where(outbox.c.seq == change.seq, outbox.c.hash == change.hash)
            transaction.execute(gone)


def due(connection: sa.Connection, *, now: float, after: int = 0, limit: int = _PAGE) -> list[Sent]:
    """The next records in order, after that seq, whose time has come; none of a unit that is marked."""
    query = (
        _rows()
        .where(outbox.c.state == "waiting", outbox.c.next_at <= now, outbox.c.seq > after, ~_WITHHELD)
        .order_by(outbox.c.seq)
        .limit(limit)
    )
    return [Sent(row.seq, row.unit, row.hash, row.jws, row.tries) for row in connection.execute(query)]


def counts(connection: sa.Connection) -> dict[str, int]:
    """How many rows stand in each state, without those that are withheld."""
    query = sa.select(outbox.c.state, sa.func.count()).where(~_WITHHELD).group_by(outbox.c.state)
    return {"waiting": 0, "dead": 0, "conflict": 0} | {str(state): int(n) for state, n in connection.execute(query)}


def withheld(connection: sa.Connection) -> int:
    """How many records are not sent because their units are marked: a key that reached them is compromised."""
    return int(connection.execute(sa.select(sa.func.count()).select_from(outbox).where(_WITHHELD)).scalar_one())


def troubles(connection: sa.Connection) -> Iterator[dict[str, Any]]:
    """Rows that were tried and are still there: unit, state, tries, last error."""
    columns = (outbox.c.unit, outbox.c.state, outbox.c.tries, outbox.c.next_at, outbox.c.last_error)
    query = sa.select(*columns).where(outbox.c.tries > 0).order_by(outbox.c.seq)
    return (dict(row) for row in connection.execute(query).mappings())


def revived(rows: Sequence[Sent], *, now: float) -> list[OutboxChange]:
    """What has records that were put aside sent again, from their first try."""
    return [OutboxChange(row.seq, "waiting", 0, now, "") for row in rows]


def set_aside(connection: sa.Connection) -> list[Sent]:
    """Records that are no longer sent, after too many tries."""
    rows = connection.execute(_rows().where(outbox.c.state == "dead").order_by(outbox.c.seq))
    return [Sent(row.seq, row.unit, row.hash, row.jws, row.tries) for row in rows]


def send(
    next_due: NextDue,
    commit: Callable[[Sequence[Change]], None],
    receiver: Receiver,
    *,
    clock: Callable[[], float],
    rng: Callable[[int], bytes],
    max_tries: int = MAX_TRIES,
) -> Tally:
    """Send every record whose time has come, in order, each once; one that fails holds up nobody.

    `next_due(now, after)` and `commit` are the store's. What a try came to is on the disk before the next begins.
    """
    tally = Tally()
    for record in _in_order(next_due, clock):
        try:
            answer = receiver.take(record)
        except KeywrightError as error:
            commit([_put_off(record, str(error), clock(), rng, max_tries, tally)])
            continue
        if answer == "conflict":
            tally.conflicts += 1
            text = "the receiver has another record of this unit"
            commit([OutboxChange(record.seq, "conflict", record.tries + 1, clock(), text)])
            continue
        tally.stored += answer == "stored"
        tally.same += answer == "same"
        commit([Acknowledged(record.seq, record.hash)])
    return tally


def _in_order(next_due: NextDue, clock: Callable[[], float]) -> Iterator[Sent]:
    after = 0
    while page := next_due(clock(), after):
        yield from page
        after = page[-1].seq


def wait_s(tries: int, rng: Callable[[int], bytes]) -> float:
    """Seconds until the next try after so many failed: doubled each time, then any part of the upper half of it."""
    longest = min(FIRST_WAIT_S * 2.0 ** min(tries - 1, 30), LONGEST_WAIT_S)
    return longest * (0.5 + int.from_bytes(rng(2)) / 0x20000)


def _put_off(
    record: Sent, error: str, now: float, rng: Callable[[int], bytes], max_tries: int, tally: Tally
) -> OutboxChange:
    tries = record.tries + 1
    if tries >= max_tries:
        tally.dead += 1
        return OutboxChange(record.seq, "dead", tries, now, error)
    tally.failed += 1
    return OutboxChange(record.seq, "waiting", tries, now + wait_s(tries, rng), error)


def _rows() -> sa.Select[Any, Any, Any, Any, Any]:
    return sa.select(outbox.c.seq, outbox.c.unit, outbox.c.hash, unit_record.c.jws, outbox.c.tries).join_from(
        outbox, unit_record, unit_record.c.unit == outbox.c.unit
    )


_RECORD: Final = added(unit_record, UnitRecord.__struct_fields__)
_POST: Final = added(outbox, ("unit", "hash", "state", "tries", "next_at", "last_error"))
