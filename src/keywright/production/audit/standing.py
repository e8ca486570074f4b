"""Rows that change, as the log says they must stand: the last entry about each, and what was ordered."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, Final, NamedTuple, final

import msgspec
import sqlalchemy as sa

from keywright.production.audit.books import LEDGER, Books, Wrong
from keywright.production.audit.events import Body
from keywright.production.audit.subjects import (
    BY_TYPE,
    DIGITS,
    ORDER,
    ORDERED,
    OUTBOX,
    UNIT,
    UNTOUCHED,
    Rows,
    ordered_hash,
)
from keywright.production.handover.outbox import body_hash

_UNTOUCHED: Final = msgspec.json.encode(UNTOUCHED)


class _Order(NamedTuple):
    first: int
    last: int
    hash: str
    position: int


@final
class Standing:
    """What entries said, then compared with the rows one after another."""

    def __init__(self) -> None:
        self._said: dict[tuple[str, str], tuple[bytes, int]] = {}
        self._orders: list[_Order] = []
        self._ordered: list[tuple[Any, ...]] = []
        self._units = 0
        self._books = Books()
        self.is_partial = False
        """Whether entries were given up: then rows may stand that no entry left speaks of."""

    def said(self, body: Body) -> None:
        """Take in an entry."""
        kind, name = body.object.type, body.object.id
        self._books.said(body)
        if kind == ORDER:
            first, _, last = name.partition("-")
            if _is_number(first) and _is_number(last):
                self._orders.append(_Order(int(first), int(last), body.after_hash, body.seq))
        elif kind in BY_TYPE and BY_TYPE[kind].is_changing and body.after_hash:
            self._said[kind, name] = (_unhex(body.after_hash), body.seq)
        elif kind == OUTBOX.type:
            self._said.pop((kind, name), None)  # acknowledged

    def posted(self, payload: bytes, position: int) -> None:
        """Take in the row of a signed record: it waits in the outbox until the receiver acknowledges it."""
        n, jws, _, at = msgspec.json.decode(payload)
        name = body_hash(jws)
        first = msgspec.json.encode((name, n, "waiting", 0, at, ""))
        self._said[OUTBOX.type, name] = (hashlib.sha256(first).digest(), position)

    def stands(self, kind: str, payload: bytes, end: int) -> Iterator[Wrong]:
        """Compare a row, in the order of the export; `end` is the number of entries."""
        rows = BY_TYPE.get(kind)
        try:
            values = msgspec.json.decode(payload)
        except RecursionError as error:
            raise msgspec.DecodeError("nested too deeply") from error
        if kind == LEDGER:
            yield from () if self.is_partial else self._books.stands(values, end)
            return
        if rows is None or not rows.is_changing or not _is_row(rows, values):
            yield Wrong(end, "format", f"a row of {kind} that is none")
            return
        name = rows.name_of(values)
        said = self._said.pop((kind, name), None)
        if said is not None:
            if hashlib.sha256(payload).digest() != said[0]:
                yield Wrong(
                    said[1], "edit", f"the row of {kind} {name} is not as entry {said[1]}, the last about it, says"
                )
        elif self.is_partial:
            pass
        elif kind != UNIT.type:
            yield Wrong(end, "insertion", f"no entry speaks of the row of {kind} {name}")
        elif msgspec.json.encode(values[len(ORDERED) :]) != _UNTOUCHED:
            yield Wrong(
                self._ordered_at(values[0], end), "edit", f"the row of unit {name} was changed without an entry"
            )
        if kind == UNIT.type:
            yield from self._in_order(tuple(values), end)

    def left(self) -> Iterator[Wrong]:
        """After the last row: what ought to have been there."""
        if not self.is_partial:
            yield from self._books.left()
        for (kind, name), (_, position) in self._said.items():
            yield Wrong(
                position, "deletion", f"the row of {kind} {name} is gone; entry {position} is the last about it"
            )
        for order in self._orders:
            if order.last > self._units:
                yield Wrong(
                    order.position, "deletion", f"units {max(order.first, self._units + 1)} to {order.last} are gone"
                )

    def _in_order(self, values: tuple[Any, ...], end: int) -> Iterator[Wrong]:
        n = values[0]
        expected, self._units = self._units + 1, n
        if n != expected:
            yield Wrong(self._ordered_at(expected, end), "deletion", f"the row of unit {expected} is gone")
        order = self._order_of(n)
        if order is None:
            if not self.is_partial:
                yield Wrong(end, "insertion", f"nobody ordered unit {n}")
            return
        self._ordered.append(values)
        if n == order.last:
            if ordered_hash(self._ordered) != order.hash:
                text = f"a serial, model, owner group or extra of units {order.first} to {order.last} is not as ordered"
                yield Wrong(order.position, "edit", text)
            self._ordered.clear()

    def _order_of(self, n: int) -> _Order | None:
        """Orders are in the order of units, and mostly of one size; so the place is guessed, then looked for."""
        return next((order for order in self._near(n) if order.first <= n <= order.last), None)

    def _near(self, n: int) -> Iterator[_Order]:
        if self._orders:
            span = self._orders[0].last - self._orders[0].first + 1
            guess = (n - 1) // span if span > 0 else 0
            if 0 <= guess < len(self._orders):
                yield self._orders[guess]
        yield from self._orders

    def _ordered_at(self, n: int, end: int) -> int:
        order = self._order_of(n)
        return end if order is None else order.position


def _is_row(rows: Rows, values: Any) -> bool:
    """Whether it has the columns of the table, and a number as the key where that is one."""
    if not isinstance(values, list) or len(values) != len(rows.columns):
        return False
    found = dict(zip(rows.columns, values, strict=True))
    return all(type(found[name]) is int for name in rows.key if isinstance(rows.table.c[name].type, sa.Integer))


def _is_number(text: str) -> bool:
    return text.isdecimal() and len(text) <= DIGITS


def _unhex(text: str) -> bytes:
    """The hash, or nothing that a row could have."""
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b""
