"""Who works on which unit: leases with an epoch, which fence every change that a station writes.

A lease names a station and ends at a time. Whoever gets a unit counts its `epoch` up; a change by somebody who holds
an older epoch is refused by the transaction itself. A lease that ended by itself makes the unit one to *recover*: its
history is read and its probes are asked before anything is sent. Times are seconds since 1970: of the database's
clock where stations may stand on several machines.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, final

import sqlalchemy as sa
from sqlalchemy.sql.dml import ReturningUpdate

from keywright.errors import StoreError
from keywright.production.unit_store.rows import Certificate, Change, Event, Unit, UnitChange, unit_row
from keywright.production.unit_store.tables import FINISHED, STATES, campaign, event, station, unit
from keywright.production.unit_store.transaction import Transaction

TTL_S: Final = 30.0
"""How long a lease lasts without a heartbeat, unless told otherwise."""

_UNFINISHED: Final = tuple(state for state in STATES if state not in FINISHED)
_FREE: Final = unit.c.until.is_(None)


class FencedError(StoreError):
    """Another station has the unit now, so that nothing was written for this one. `units` are their numbers."""

    code = "fenced"
    hint = "nothing to do: whoever has the unit goes on with it, by its probes"

    def __init__(self, message: str, units: Sequence[int]) -> None:
        super().__init__(message)
        self.units = tuple(units)


class Leave(Change, frozen=True):
    """A change: the station puts a unit back that it has not finished; it is left alone for the rest of the run."""

    unit: int


def write_leaves(transaction: Transaction, changes: Sequence[Leave]) -> None:
    """End the leases."""
    for change in changes:
        values = _ENDED | {"recover": 1, "left_in": _RUN}
        transaction.execute(unit.update().where(unit.c.n == change.unit).values(values))


_ENDED: Final[dict[str, object]] = {"station": "", "until": None}
_RUN: Final = sa.select(campaign.c.run).scalar_subquery()
_ALLOWED: Final = unit.c.n <= sa.select(sa.func.coalesce(campaign.c.allowed, 2**31 - 1)).scalar_subquery()
"""While the first article is not accepted, no other fresh unit is taken up."""


_STANDING: Final = sa.select(campaign.c.state, campaign.c.recipe_digest).with_for_update(read=True)


def _is_going(transaction: Transaction, recipe: str) -> bool:
    """Nobody takes up a unit of a lot that was stopped, or that has another recipe by now; nor can that change until
    the lease is there.
    """
    lot = transaction.one(_STANDING)
    return lot is not None and lot.state == "open" and recipe in ("", lot.recipe_digest)


def begin_run(transaction: Transaction) -> None:
    """What earlier runs left open may be taken up again."""
    transaction.execute(campaign.update().values(run=campaign.c.run + 1))


@final
class Leasing:
    """How one station leases units. Its statements are made once: to make one takes longer than to run it.

    Leases last until `until`. Units pinned to another station are its own, and those left open in this run are for
    the next. `recipe` is the digest of the one that units are to be worked on by.
    """

    def __init__(self, name: str, until: sa.ColumnElement[float]) -> None:
        begun = _begun(name) & unit.c.n.not_in(sa.bindparam("without", expanding=True))
        one = (unit.c.n == sa.bindparam("asked")) & unit.c.state.in_(_UNFINISHED) & _open_to(name)
        one &= (unit.c.state != "planned") | (unit.c.recover == 1) | _ALLOWED
        self._begun, self._planned, self._one = (_lease(name, what, until) for what in (begun, _planned(name), one))

    def claim(
        self,
        transaction: Transaction,
        limit: int,
        *,
        without: Iterable[int] = (),
        pinned: bool = False,
        recipe: str = "",
    ) -> list[Unit]:
        """Lease at most `limit` units: first those to recover, then planned ones, each by number.

        `without` lists more that are not wanted. `pinned`: from now on they stand on this station's reader.
        """
        if not _is_going(transaction, recipe):
            return []
        found = _leased(transaction, self._begun[pinned], {"most": limit, "without": list(without)})
        if len(found) < limit:
            found += _leased(transaction, self._planned[pinned], {"most": limit - len(found)})
        return found

    def take(self, transaction: Transaction, n: int, *, pinned: bool = False, recipe: str = "") -> Unit | None:
        """Lease one unit that is not finished and that nobody else has; None for any other."""
        if not _is_going(transaction, recipe):
            return None
        return next(iter(_leased(transaction, self._one[pinned], {"most": 1, "asked": n})), None)


def claimable(name: str, recipe: str = "") -> sa.Select[tuple[int]]:
    """What finds a unit, if there is one, that a station could claim."""
    going = campaign.c.state == "open"
    if recipe:
        going &= campaign.c.recipe_digest == recipe
    return sa.select(unit.c.n).where(_FREE, _begun(name) | _planned(name), sa.exists().where(going)).limit(1)


def _begun(name: str) -> sa.ColumnElement[bool]:
    return (
        (unit.c.recover == sa.literal_column("1"))
        & unit.c.state.not_in(FINISHED)  # as a list of the others, SQLite would look through all planned units by state
        & (unit.c.left_in != _RUN)
        & _open_to(name)
    )


def _planned(name: str) -> sa.ColumnElement[bool]:
    return (unit.c.state == "planned") & (unit.c.recover == 0) & _open_to(name) & _ALLOWED


def _open_to(name: str) -> sa.ColumnElement[bool]:
    return unit.c.pinned.in_(("", name))


def _lease(
    name: str, wanted: sa.ColumnElement[bool], until: sa.ColumnElement[float]
) -> dict[bool, ReturningUpdate[Any]]:
    """What leases the first `most` of the wanted units that are free: as they stand, or pinned to the station."""
    most = sa.bindparam("most", type_=sa.Integer)
    chosen = sa.select(unit.c.n).where(wanted, _FREE).order_by(unit.c.n).limit(most).with_for_update(skip_locked=True)
    values = {"epoch": unit.c.epoch + 1, "station": name, "until": until}
    leased = unit.update().where(unit.c.n.in_(chosen)).values(values)
    return {False: leased.returning(*unit.c), True: leased.values(pinned=name).returning(*unit.c)}


def _leased(transaction: Transaction, statement: ReturningUpdate[Any], values: Mapping[str, object]) -> list[Unit]:
    return sorted(map(unit_row, transaction.returning(statement, values)), key=lambda one: one.n)


def extend(
    transaction: Transaction,
    name: str,
    host: str,
    process: str,
    now: sa.ColumnElement[float],
    until: sa.ColumnElement[float],
) -> int:
    """Heartbeat: all leases of a station last until then; returns how many it has: none once another is the station."""
    if not transaction.execute(station.update().where(_is_of(name, host, process)).values(seen_at=now)):
        return 0
    return transaction.execute(unit.update().where(unit.c.station == name, ~_FREE).values(until=until))


def _is_of(name: str, host: str, process: str) -> sa.ColumnElement[bool]:
    return (station.c.name == name) & (station.c.host == host) & (station.c.process == process)


def register(transaction: Transaction, name: str, host: str, process: str, now: sa.ColumnElement[float]) -> None:
    """Say which process a station is; one that came back under its old name takes the name over."""
    values = {"host": host, "process": process, "seen_at": now}
    if not transaction.execute(station.update().where(station.c.name == name).values(values)):
        transaction.execute(station.insert().values(name=name, **values))


def holders(transaction: Transaction) -> Sequence[sa.Row[*tuple[Any, ...]]]:
    """Stations that have leases: name, host, process."""
    having = sa.select(unit.c.station).where(~_FREE).distinct()
    query: sa.Select[*tuple[Any, ...]] = sa.select(station.c.name, station.c.host, station.c.process).where(
        station.c.name.in_(having)
    )
    return transaction.all(query)


def expire(transaction: Transaction, now: sa.ColumnElement[float]) -> int:
    """Leases that have ended become units to recover, never fresh ones; returns how many."""
    return _end(transaction, unit.c.until < now)


def expire_of(transaction: Transaction, names: Sequence[str]) -> int:
    """All leases of stations that are known to be gone become units to recover; returns how many."""
    return _end(transaction, unit.c.station.in_(names)) if names else 0


_TOUCHED: Final = (unit.c.state != "planned") | sa.exists().where(event.c.unit == unit.c.n)
_STANDS: Final = sa.case((_TOUCHED, unit.c.pinned), else_="")
"""The station whose reader holds a unit; one that nothing happened to stands nowhere."""


def _end(transaction: Transaction, ended: sa.ColumnElement[bool]) -> int:
    values = _ENDED | {"epoch": unit.c.epoch + 1, "recover": 1, "pinned": _STANDS}
    return transaction.execute(unit.update().where(~_FREE, ended).values(values))


def give_back(transaction: Transaction, name: str, host: str, process: str) -> int:
    """A station ends in order: units it began are to recover, untouched ones are as they were; returns how many.

    A process whose name another one has by now has nothing to give back.
    """
    if not transaction.execute(station.delete().where(_is_of(name, host, process))):
        return 0
    begun = sa.case(((unit.c.recover == 1) | _TOUCHED, 1), else_=0)
    values = _ENDED | {"epoch": unit.c.epoch + 1, "recover": begun, "pinned": _STANDS}
    return transaction.execute(unit.update().where(unit.c.station == name, ~_FREE).values(values))


def pin(transaction: Transaction, n: int, name: str) -> None:
    """The unit stands on this station's reader until somebody releases it; "" releases it."""
    transaction.execute(unit.update().where(unit.c.n == n).values(pinned=name))


def fence(transaction: Transaction, held: Mapping[int, int], touched: frozenset[int]) -> list[int]:
    """Those of the units that the writer may not change, by the epochs it holds. Nobody can lease them meanwhile."""
    if not touched:
        return []
    found: Any = transaction.units(("n", "epoch", "until"), touched, lock=True)
    return [n for n, epoch, until in found if _is_stale(held.get(n), epoch, until)]


def _is_stale(held: int | None, epoch: int, until: float | None) -> bool:
    """Without a lease a unit may be changed as long as nobody has one."""
    return until is not None if held is None else epoch != held


def mark_begun(transaction: Transaction, touched: frozenset[int]) -> None:
    """Units changed without a lease were begun by somebody: whoever takes them up has to recover them."""
    if touched:
        free = unit.c.n.in_(sorted(touched)) & _FREE & (unit.c.recover == 0) & unit.c.state.in_(_UNFINISHED)
        transaction.execute(unit.update().where(free).values(recover=1))


def touched_by(changes: Iterable[Change]) -> frozenset[int]:
    """Units that these changes are about, and for which a lease is needed while somebody works on them."""
    return frozenset(change.unit for change in changes if isinstance(change, _FENCED))


_FENCED: Final = (Event, UnitChange, Certificate, Leave)
