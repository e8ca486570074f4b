"""What keeps a lot in hand, as changes and rows: failures, moves of the lot from state to state, units made anew."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from keywright.production.control.control import WINDOWS, Failed
from keywright.production.handover.ledger import opening, write_entries
from keywright.production.order_names import without_names
from keywright.production.unit_store.control_tables import lot_event, remake, setback
from keywright.production.unit_store.rows import PLANNED, Change, to_json
from keywright.production.unit_store.tables import campaign, unit
from keywright.production.unit_store.transaction import Transaction
from keywright.production.unit_store.transitions import LotMove, LotState, TransitionError, lot_sources, lot_target

JUDGED: Final = WINDOWS[-1]
"""So many failures are looked at: more cannot be among the last units of the longest window."""
_SEALED: Final = sa.select(sa.func.count()).select_from(unit).where(unit.c.state == "sealed").scalar_subquery()
_SETBACKS: Final = sa.select(sa.func.coalesce(sa.func.max(setback.c.seq), 0)).scalar_subquery()


class Setback(Change, frozen=True, kw_only=True):
    """A change: a unit did not come through. It stands after the failures committed before it."""

    unit: int
    kind: str
    code: str
    text: str
    severity: str
    ended: bool
    at: float


class LotMoved(Change, frozen=True, kw_only=True):
    """A change: something happens to the lot as a whole; refused if its state does not allow it."""

    event: LotMove
    at: float
    cause: str = ""
    text: str = ""
    person: str = ""
    approval: str = ""
    recipe: tuple[str, str] | None = None
    """The new recipe's text and digest, where that is what happens."""
    allowed: int | None = None
    """Fresh units that the new recipe lets be taken up first; None for all."""


class Remade(Change, frozen=True, kw_only=True):
    """A change: a new unit under a new serial, with nothing of the old one but what the order says."""

    instead_of: int
    serial: str
    reason: str
    at: float
    person: str = ""
    approval: str = ""


class LotEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `lot_event`."""

    seq: int
    event: str
    came_from: str
    state: str
    cause: str
    text: str
    person: str
    approval: str
    setbacks: int
    sealed: int
    at: float


class Remake(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `remake`."""

    unit: int
    instead_of: int
    reason: str
    person: str
    approval: str
    at: float


def write_setbacks(transaction: Transaction, changes: Sequence[Setback]) -> None:
    """A row each, with how many units are sealed now."""
    for change in changes:
        values = msgspec.structs.asdict(change) | {"ended": int(change.ended), "sealed": _SEALED}
        transaction.execute(setback.insert().values(values))


def write_lot_moves(transaction: Transaction, changes: Sequence[LotMoved]) -> None:
    """The lot's row and the event. Raises TransitionError if it is in no state in which this happens."""
    for change in changes:
        row = transaction.one(sa.select(campaign.c.state).with_for_update())
        state: LotState | None = None if row is None else row.state
        if state is None or state not in lot_sources(change.event):
            raise TransitionError(f"the lot is {state or 'not there'}: it cannot {change.event}")
        target = lot_target(change.event)
        values: dict[str, Any] = {"state": target}
        if change.event == "accept":
            values["allowed"] = None
        if change.recipe is not None:
            _check_untouched(transaction)
            values["recipe"], values["recipe_digest"] = change.recipe
            values["allowed"] = change.allowed
        transaction.execute(campaign.update().values(values))
        transaction.execute(
            lot_event.insert().values(
                event=change.event,
                came_from=state,
                state=target,
                cause=change.cause,
                text=change.text,
                person=change.person,
                approval=change.approval,
                setbacks=_SETBACKS,
                sealed=_SEALED,
                at=change.at,
            )
        )


def _check_untouched(transaction: Transaction) -> None:
    """Raise TransitionError unless every unit is as it was ordered and nobody has one in hand."""
    begun = (unit.c.state != "planned") | (unit.c.recover == 1) | unit.c.until.is_not(None)
    found = transaction.one(sa.select(unit.c.n).where(begun).limit(1))
    if found is not None:
        raise TransitionError(
            f"unit {found.n} is in work, or was begun: the lot is pinned to its recipe",
            hint="finish the lot by it, or return its blank units and begin another lot",
        )


_SPOILED: Final = ("scrapped", "rejected")


def write_remakes(transaction: Transaction, changes: Sequence[Remade]) -> None:
    """A planned unit each, after the last one.

    Raises TransitionError unless the old one's record is spoiled, and for a lot that is closed: nobody would make it.
    """
    lot = transaction.one(sa.select(campaign.c.state).with_for_update())
    if lot is None or lot.state == "closed":
        raise TransitionError("the lot is closed: nothing is made anew in it", hint="order it in another lot")
    for change in changes:
        old = transaction.one(sa.select(unit).where(unit.c.n == change.instead_of).with_for_update())
        if old is None or old.state not in _SPOILED:
            state = "not there" if old is None else old.state
            raise TransitionError(
                f"unit {change.instead_of} is {state}: only what is scrapped or rejected is made anew",
                hint="keywright campaign destroy first: what it had is then spoiled, and never used again",
            )
        last = transaction.one(sa.select(sa.func.max(unit.c.n)))
        n = 1 + (last[0] if last is not None else 0)
        extra = to_json(without_names(msgspec.json.decode(old.extra)))  # it is another device
        row = (n, change.serial, old.model, old.owner_group, extra, "planned", "", to_json({}), "", "", 0)
        transaction.copy("unit", PLANNED, [row])
        values = msgspec.structs.asdict(change)
        del values["serial"]
        transaction.execute(remake.insert().values(values | {"unit": n}))
        transaction.execute(campaign.update().values(units=campaign.c.units + 1))
        _replace_article(transaction, change.instead_of)
        write_entries(transaction, opening(1))


def _replace_article(transaction: Transaction, instead_of: int) -> None:
    """Where the first article lost a unit, the next planned one takes its place."""
    following = sa.select(sa.func.min(unit.c.n)).where(unit.c.n > campaign.c.allowed, unit.c.state == "planned")
    lost = campaign.c.allowed >= instead_of
    transaction.execute(campaign.update().where(lost).values(allowed=following.scalar_subquery()))


# ---- reading


def failures(connection: sa.Connection, since: int = 0) -> list[Failed]:
    """The last failures after row `since` of `setback`, the newest first, as many as can matter."""
    columns = tuple(setback.c[name] for name in Failed.__struct_fields__)
    query = sa.select(*columns).where(setback.c.seq > since).order_by(setback.c.seq.desc()).limit(JUDGED)
    return [_failed(dict(row._mapping)) for row in connection.execute(query)]  # noqa: SLF001 - documented name


def _failed(values: dict[str, Any]) -> Failed:
    values["ended"] = bool(values["ended"])
    return Failed(**values)


def sealed(connection: sa.Connection) -> int:
    """How many units are sealed."""
    return int(connection.execute(sa.select(_SEALED)).scalar_one())


def lot_events(connection: sa.Connection) -> Iterator[LotEvent]:
    """What happened to the lot, oldest first."""
    for row in connection.execute(sa.select(lot_event).order_by(lot_event.c.seq)):
        yield LotEvent(**row._mapping)  # noqa: SLF001 - the documented name of a row's mapping


def last_event(connection: sa.Connection, *events: LotMove) -> LotEvent | None:
    """The last of these that happened to the lot."""
    query = sa.select(lot_event).where(lot_event.c.event.in_(events)).order_by(lot_event.c.seq.desc()).limit(1)
    row = connection.execute(query).one_or_none()
    return None if row is None else LotEvent(**row._mapping)  # noqa: SLF001 - the documented name of a row's mapping


def remakes(connection: sa.Connection) -> Iterator[Remake]:
    """Units made anew, in the order of their numbers."""
    for row in connection.execute(sa.select(remake).order_by(remake.c.unit)):
        yield Remake(**row._mapping)  # noqa: SLF001 - the documented name of a row's mapping
