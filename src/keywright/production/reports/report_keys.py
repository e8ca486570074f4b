"""How the keys of a lot's sealed units were kept while their channels were open, and what that guarantees."""

from __future__ import annotations

from collections import Counter
from typing import Final

import msgspec
import sqlalchemy as sa

from keywright.production.keystores.key_paths import KeyPath
from keywright.production.reports.report import reading
from keywright.production.unit_store.tables import unit
from keywright.production.unit_store.units import UnitStore

_KNOWN: Final = frozenset(KeyPath)


class PathUsed(msgspec.Struct, frozen=True):
    """One way and how many units went it. `path` is a `KeyPath`, or empty where none that is known was recorded."""

    path: str
    units: int
    guarantees: str
    does_not_guarantee: str


class _Step(msgspec.Struct, frozen=True):
    path: str = ""


class _Evidence(msgspec.Struct, frozen=True):
    authenticate: _Step = _Step()
    own_keys: _Step = _Step()


def paths_used(store: UnitStore) -> tuple[PathUsed, ...]:
    """The ways that the keys of sealed units went, most frequent first."""
    decode = msgspec.json.Decoder(_Evidence).decode
    counts: Counter[str] = Counter()
    with reading(store) as reader:
        for (evidence,) in reader.execute(sa.select(unit.c.evidence).where(unit.c.state == "sealed")):
            found = decode(evidence)
            path = found.own_keys.path or found.authenticate.path
            counts[path if path in _KNOWN else ""] += 1
    return tuple(_used(path, number) for path, number in counts.most_common())


def _used(path: str, units: int) -> PathUsed:
    if not path:
        return PathUsed("", units, "", "")
    known = KeyPath(path)
    return PathUsed(path, units, known.guarantees, known.does_not_guarantee)
