"""Labels of a lot: for sealed units only, each once; a reprint is approved and marked.

A label counts as printed when its code has been read back from the file. That it was printed is on the disk before the
file gets its name: after a crash in between there is a mark without a label, which takes a reprint, and never a second
label without a mark. What the code holds is written into the file and nowhere else.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, Literal

import msgspec
import sqlalchemy as sa

from keywright.errors import PolicyError, UsageError
from keywright.production.audit.log import AuditEvent
from keywright.production.handover.label_drawing import Label, Size
from keywright.production.handover.label_files import check_paper, write_checked
from keywright.production.handover.outbox import body_hash
from keywright.production.people.approvals import Operation
from keywright.production.people.consent import Consent
from keywright.production.readiness import lot_in
from keywright.production.reports.report import reading
from keywright.production.unit_store.handover_tables import label as label_table
from keywright.production.unit_store.handover_tables import unit_record
from keywright.production.unit_store.label_rows import LabelPrinted
from keywright.production.unit_store.mark_rows import marked
from keywright.production.unit_store.rows import Change, Lot, Unit
from keywright.production.unit_store.sqlite import sync_folder
from keywright.production.unit_store.units import UnitStore

ACTION: Final = "label.reprint"
NO_PEOPLE: Final = "test lot"
"""Stands for the approval of a reprint where none is needed."""
Kind = Literal["pdf", "svg"]


class LabelError(PolicyError):
    """A label may not be printed; nothing was."""

    code = "label"


class Wanted(msgspec.Struct, frozen=True):
    """One label to be printed; `number` 0 is the first, a higher one the reprint of that number."""

    unit: Unit
    number: int
    record: str


def first_prints(store: UnitStore, serials: Iterable[str] = ()) -> list[Wanted]:
    """Sealed units without a label yet: all, or those named. Raises LabelError if one named is not such a unit."""
    units = [_named(store, serial) for serial in serials]
    if not units:
        spoiled = _marked(store)
        units = [unit for unit in store.units(("sealed",)) if unit.n not in spoiled]
    found = []
    for unit, number, record in _printed(store, units):
        if number is None:
            found.append(Wanted(unit, 0, record))
        elif serials:
            raise LabelError(
                f"{unit.serial} has its label already", hint="a second one is a reprint: --reprint, with an approval"
            )
    return found


def reprints(store: UnitStore, serials: Iterable[str]) -> list[Wanted]:
    """Units that have a label, each with the number of its next reprint. Raises LabelError if one has none."""
    found = []
    for unit, number, record in _printed(store, [_named(store, serial) for serial in serials]):
        if number is None:
            raise LabelError(f"{unit.serial} has no label yet", hint="print it without --reprint")
        found.append(Wanted(unit, number + 1, record))
    return found


def operation(lot: Lot, wanted: Sequence[Wanted], why: str) -> Operation:
    """What is asked for and allowed when labels are printed again."""
    return Operation(ACTION, lot.lot, {"labels": {one.unit.serial: one.number for one in wanted}, "why": why})


def print_labels(
    store: UnitStore,
    wanted: Sequence[Wanted],
    target: Path,
    *,
    kind: Kind,
    size: Size,
    consent: Consent,
    at: float,
) -> int:
    """Write labels to a new PDF, or as SVG into a new folder; returns how many.

    `consent`: of a reprint. Raises UnreadableLabelError if a code does not read back, ConflictError if a label was
    printed meanwhile, UsageError if `target` is there already; then nothing counts as printed.
    """
    check_paper()
    if target.exists():
        raise UsageError(f"{target}: there already; a label is never overwritten", hint="give another --out")
    lot = lot_in(store, store.name)
    folder = target.with_name(f".{target.name}.{os.getpid()}")
    labels = [label_of(one, lot) for one in wanted]
    try:
        try:
            folder.mkdir(mode=0o700)
        except OSError as error:
            raise UsageError(f"{target}: cannot be written: {error.strerror}", hint="give another --out") from error
        files = write_checked(folder, labels, [one.unit.n for one in wanted], size, kind)
        store.commit([*_marks(wanted, consent, at), *consent.changes])
        (files[0] if kind == "pdf" else folder).rename(target)
        sync_folder(target.parent)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return len(labels)


def label_of(wanted: Wanted, lot: Lot) -> Label:
    """What is on a unit's label. The code: form, serial, device, and the first 8 bytes of the record's hash."""
    unit = wanted.unit
    uid = (unit.device_uid or b"").hex().upper()
    check = wanted.record[:16].upper()
    lines = [f"Lot {lot.lot}  \N{MIDDLE DOT}  unit {unit.n}"]
    if unit.owner_group:
        lines.append(unit.owner_group)
    if uid:
        lines.append(f"UID {uid}")
    return Label(f"KW1:{unit.serial}:{uid}:{check}", unit.serial, unit.model, tuple(lines), wanted.number)


def _marks(wanted: Sequence[Wanted], consent: Consent, at: float) -> Iterable[Change]:
    for one in wanted:
        approval = consent.approval or (NO_PEOPLE if one.number else "")
        yield LabelPrinted(one.unit.n, one.number, approval, at)
        yield AuditEvent(
            action=ACTION if one.number else "label.print",
            object_type="unit-label",
            object_id=f"{one.unit.n}/{one.number}",
            actor=consent.actor,
            approvals=(consent.approval,) if consent.approval else (),
        )


def _named(store: UnitStore, serial: str) -> Unit:
    unit = store.find(serial)
    if unit is None:
        raise LabelError(f"the lot has no unit {serial!r}", hint="keywright campaign report shows its units")
    if unit.state != "sealed":
        raise LabelError(f"{serial} is {unit.state}: only sealed units get labels")
    if unit.n in _marked(store):
        raise LabelError(
            f"{serial} is marked: a key that reached it is compromised", hint="return or destroy it; it gets no label"
        )
    return unit


def _marked(store: UnitStore) -> set[int]:
    with reading(store) as connection:
        return marked(connection)


def _printed(store: UnitStore, units: Sequence[Unit]) -> list[tuple[Unit, int | None, str]]:
    """Each unit with the number of its last label, and the hash of its record."""
    numbers = sa.select(label_table.c.unit, sa.func.max(label_table.c.number)).group_by(label_table.c.unit)
    records = sa.select(unit_record.c.unit, unit_record.c.jws)
    with reading(store) as connection:
        last: dict[int, int] = {int(unit): int(number) for unit, number in connection.execute(numbers)}
        hashes: dict[int, str] = {int(unit): body_hash(jws) for unit, jws in connection.execute(records)}
    return [(unit, last.get(unit.n), hashes.get(unit.n, "")) for unit in units]
