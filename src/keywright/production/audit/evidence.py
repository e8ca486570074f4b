"""What the data of a lot show of each control. Nothing is shown by silence: a control without data says so."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final, Literal

import msgspec
import sqlalchemy as sa

from keywright.production.audit.controls import CONTROLS, Standing
from keywright.production.audit.merkle import Edge
from keywright.production.audit.review import reviews, to_review
from keywright.production.handover import ledger
from keywright.production.handover.ledger import BOOKS
from keywright.production.keystores.keystore import Keystore
from keywright.production.readiness import lot_in
from keywright.production.unit_store import approval_rows
from keywright.production.unit_store.handover_tables import closing, unit_record
from keywright.production.unit_store.tables import audit_checkpoint, audit_head, certificate, unit
from keywright.production.unit_store.units import Lot, UnitStore

Shown = Literal["shown", "exception", "not shown"]
_APPROVALS: Final = 200
_WAITING: Final = 50


class Line(msgspec.Struct, frozen=True):
    """One fact, and whether it is one that somebody has to look at."""

    text: str
    is_exception: bool = False


class Evidence(msgspec.Struct, frozen=True):
    """What was found for one control."""

    id: str
    asked: str
    standing: Standing
    shown: Shown
    lines: tuple[Line, ...]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The evidence of a lot; `exceptions` counts what somebody has to look at."""

    lot: str
    state: str
    test: bool
    size: int
    root: str
    exceptions: int
    controls: tuple[Evidence, ...]


def evidence(store: UnitStore, keystore: Keystore | None = None) -> Report:
    """Gather it from one picture of the store. Raises StoreError if there is no lot.

    `keystore`: to show the states and periods of its keys, too.
    """
    lot = lot_in(store, store.name)
    with store.reading() as reader:
        head = reader.execute(sa.select(audit_head)).one()
        found = {
            "R2": _hsm(lot),
            "R4": _marks(lot),
            "R5": _keys(keystore),
            "R8": _approvals(reader),
            "R11": [*_log(reader, head.size), *_reviewed(reader)],
            "R12": _balance(reader),
            "R13": _once(reader),
            "R15": _recipe(lot),
            "R17": _incidents(reader),
        }
        gathered = {name: tuple(lines) for name, lines in found.items()}
    controls = tuple(
        Evidence(control.id, control.asked, control.standing, _shown(lines := gathered.get(control.id, ())), lines)
        for control in CONTROLS
    )
    return Report(
        lot=lot.lot,
        state=lot.state,
        test=lot.test,
        size=head.size,
        root=Edge(head.size, head.edge).root().hex(),
        exceptions=sum(line.is_exception for control in controls for line in control.lines),
        controls=controls,
    )


def _shown(lines: tuple[Line, ...]) -> Shown:
    if not lines:
        return "not shown"
    return "exception" if any(line.is_exception for line in lines) else "shown"


def _hsm(lot: Lot) -> Iterator[Line]:
    if lot.test:
        yield Line("a TEST keystore: its keys protect nothing", is_exception=True)


def _marks(lot: Lot) -> Iterator[Line]:
    yield Line(f"keystore {lot.keystore_id}, marked {'TEST' if lot.test else 'production'}")
    yield Line(f"link {lot.link}")


def _keys(keystore: Keystore | None) -> Iterator[Line]:
    if keystore is None:
        return
    for record in keystore.registry.records:
        owner = record.owner or "nobody"
        until = f"makes new until {_day(record.originate_until)}, is used until {_day(record.use_until)}"
        text = f"{record.name}: {record.state}, usage {record.usage}, owner {owner}, zone {record.zone}, {until}"
        yield Line(text, is_exception=record.state == "compromised")


def _approvals(reader: sa.Connection) -> Iterator[Line]:
    for number, approval in enumerate(approval_rows.listed(reader, used=True)):
        if number == _APPROVALS:
            yield Line("and more")
            return
        signers = ", ".join(signature.person for signature in approval.approved)
        operation = approval.operation
        yield Line(f"{operation.action} {operation.object}: asked by {approval.requested.person}, allowed by {signers}")


def _log(reader: sa.Connection, size: int) -> Iterator[Line]:
    last = reader.execute(
        sa.select(audit_checkpoint.c.size, audit_checkpoint.c.vkey).order_by(audit_checkpoint.c.size.desc()).limit(1)
    ).one_or_none()
    number: int = reader.execute(sa.select(sa.func.count()).select_from(audit_checkpoint)).scalar_one()
    yield Line(f"{size} entries, {number} checkpoints")
    if last is None:
        yield Line("no checkpoint was made", is_exception=True)
        return
    yield Line(f"signed with {last.vkey}")
    yield Line(f"{size - last.size} entries after the last checkpoint", is_exception=size != last.size)


def _reviewed(reader: sa.Connection) -> Iterator[Line]:
    """What auditors signed off, and what waits for them: for them to look at, and by itself nothing out of order."""
    for done in reviews(reader):
        yield Line(f"entries {done.first} to {done.size - 1} signed off by {done.person}: {done.text}")
    waiting = list(to_review(reader))
    yield Line(f"{len(waiting)} entries to be reviewed since the last sign-off")
    for item in waiting[:_WAITING]:
        body = item.body
        text = f"to be reviewed: entry {body.seq}, {item.kind}: {body.action} {body.object.type} {body.object.id}"
        yield Line(f"{text}, {body.reason}" if body.reason else text)
    if len(waiting) > _WAITING:
        yield Line(f"and {len(waiting) - _WAITING} more: keywright audit review")


def _balance(reader: sa.Connection) -> Iterator[Line]:
    for book in BOOKS:
        balances = ledger.balances(reader, book)
        accounts = ", ".join(f"{name} {number}" for name, number in balances.accounts.items())
        yield Line(f"{book}: {balances.supplied} came in; {accounts or 'none left'}")
        for name, off in ledger.differences(balances.accounts, ledger.standing(reader, book)).items():
            yield Line(f"{book}, {name}: the rows of the units say {off:+d}", is_exception=True)
    row = reader.execute(sa.select(closing)).one_or_none()
    yield Line("the lot is not closed" if row is None else f"closed with approval {row.approval or 'none'}")


def _once(reader: sa.Connection) -> Iterator[Line]:
    sealed = _count(reader, sa.select(sa.func.count()).select_from(unit).where(unit.c.state == "sealed"))
    certificates = _count(reader, sa.select(sa.func.count()).select_from(certificate))
    records = _count(reader, sa.select(sa.func.count()).select_from(unit_record))
    yield Line(f"{sealed} units sealed, {certificates} certificates and {records} signed records, each once")


def _recipe(lot: Lot) -> Iterator[Line]:
    yield Line(f"recipe SHA-256 {lot.recipe_digest}")
    yield Line(f"order {lot.order_file} SHA-256 {lot.order_digest}")


def _incidents(reader: sa.Connection) -> Iterator[Line]:
    query = sa.select(unit.c.state, unit.c.step, unit.c.failure_code, sa.func.count().label("number"))
    aside = unit.c.state.in_(("quarantined", "rejected"))
    for row in reader.execute(query.where(aside).group_by(unit.c.state, unit.c.step, unit.c.failure_code)):
        yield Line(f"{row.number} {row.state} at {row.step}: {row.failure_code}", is_exception=True)


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")


def _count(reader: sa.Connection, query: sa.Select[*tuple[Any, ...]]) -> int:
    number: int = reader.execute(query).scalar_one()
    return number
