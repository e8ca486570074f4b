"""The ledger, as the log says it must be: its rows follow from how the states of units changed, one after another."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final, NamedTuple, final

import sqlalchemy as sa

from keywright.production.audit.diagnosis import Kind
from keywright.production.audit.events import Body
from keywright.production.audit.subjects import DIGITS, ORDER, UNIT
from keywright.production.handover.ledger import BOOKS, RECORD_OF, SUPPLY
from keywright.production.unit_store.handover_tables import ledger

LEDGER: Final = "ledger"
COLUMNS: Final = ("unit", "seq", "book", "source", "target", "quantity", "at")
ROWS: Final = sa.select(*(ledger.c[name] for name in COLUMNS)).order_by(
    sa.func.coalesce(ledger.c.unit, 0), ledger.c.seq
)
"""The rows in the order in which they are judged: those of no unit together, then unit by unit."""
_BLANK: Final = "planned"

Move = tuple[str, str, str, int]
"""Book, source, target, quantity."""


class Wrong(NamedTuple):
    """A row that is not as the log says, and the entry that says it."""

    position: int
    kind: Kind
    text: str


@final
class Books:
    """What entries said of units coming in and moving on, then compared with the ledger's rows."""

    def __init__(self) -> None:
        self._moves: dict[int, list[tuple[int, str]]] = {}
        self._opened: Counter[Move] = Counter()
        self._ordered = 0
        self._is_importing = False
        self._is_adopted = False
        self._rows: list[tuple[int, Move]] = []
        self._unit: int | None = None

    def said(self, body: Body) -> None:
        """Take in an entry."""
        kind, name = body.object.type, body.object.id
        if kind == ORDER:
            first, _, last = name.partition("-")
            count = int(last) - int(first) + 1 if first.isdecimal() and last.isdecimal() and len(last) <= DIGITS else 0
            if self._is_importing:
                self._ordered += count
            else:
                self._open(count)
            return
        if self._is_importing:
            self._open(self._ordered)
        self._is_importing = body.action == "lot.import"
        self._is_adopted |= body.action == "lot.adopt"
        if kind == UNIT.type and name.isdecimal() and len(name) <= DIGITS:
            states = self._moves.setdefault(int(name), [])
            if body.reason != (states[-1][1] if states else _BLANK):
                states.append((body.seq, sys.intern(body.reason)))

    def _open(self, count: int) -> None:
        if count:
            self._opened.update((book, SUPPLY, _BLANK, count) for book in BOOKS)

    def stands(self, values: Any, end: int) -> Iterator[Wrong]:
        """Compare a row, in the order of `ROWS`; `end` is the number of entries."""
        if not isinstance(values, list) or len(values) != len(COLUMNS) or not isinstance(values[0], int | None):
            yield Wrong(end, "format", "a row of the ledger that is none")
            return
        n, seq, book, source, target, quantity, _ = values
        if n != self._unit:
            yield from self._settle(end)
            self._unit = n
        self._rows.append((seq, (str(book), str(source), str(target), quantity)))

    def left(self, end: int = 0) -> Iterator[Wrong]:
        """After the last row: what ought to have been there."""
        yield from self._settle(end)
        for n in list(self._moves):
            self._unit = n
            yield from self._settle(end)

    def _settle(self, end: int) -> Iterator[Wrong]:
        """Judge the rows of one unit, or those of none."""
        rows, self._rows, unit = self._rows, [], self._unit
        if self._is_importing:
            self._open(self._ordered)
            self._is_importing = False
        if self._is_adopted:
            return
        if unit is None:
            yield from self._settle_openings(rows)
            return
        expected = list(_moves_of(self._moves.pop(unit, [])))
        for (seq, found), (position, move) in zip(rows, expected, strict=False):
            if found != move:
                text = f"row {seq} of the ledger is not the move of unit {unit} that entry {position} tells of"
                yield Wrong(position, "edit", text)
                return
        if len(rows) < len(expected):
            position, move = expected[len(rows)]
            text = f"the ledger's row for unit {unit}, {move[0]} from {move[1]} to {move[2]}, is gone"
            yield Wrong(position, "deletion", text)
        elif len(rows) > len(expected):
            yield Wrong(end, "insertion", f"no entry speaks of row {rows[len(expected)][0]} of the ledger, unit {unit}")

    def _settle_openings(self, rows: list[tuple[int, Move]]) -> Iterator[Wrong]:
        expected, self._opened = self._opened, Counter()
        for seq, found in rows:
            if expected[found] > 0:
                expected[found] -= 1
            else:
                yield Wrong(0, "edit", f"row {seq} of the ledger is not what the log says came into the lot")
        for (book, source, target, quantity), count in expected.items():
            if count > 0:
                yield Wrong(0, "deletion", f"the ledger's row for {quantity} {book} from {source} to {target} is gone")


def _moves_of(states: list[tuple[int, str]]) -> Iterator[tuple[int, Move]]:
    """The rows that follow from the states of a unit, each with the entry that told of the state."""
    before = _BLANK
    for position, state in states:
        yield position, ("units", before, state, 1)
        source, target = RECORD_OF.get(before, before), RECORD_OF.get(state, before)
        if source != target:
            yield position, ("records", source, target, 1)
        before = state
