"""How a lot stands at this moment: what holds it up, who works on it, what is to be recovered. Cheap to ask often."""

from __future__ import annotations

from typing import Final

import msgspec
import sqlalchemy as sa

from keywright.production.reports.report import reading, why_it_stands
from keywright.production.unit_store.control_rows import lot_events
from keywright.production.unit_store.tables import IN_TROUBLE, OPEN, event, unit
from keywright.production.unit_store.units import UnitStore

_IN_HAND: Final = sa.func.count().label("units")
_STATIONS: Final = (
    sa.select(unit.c.station, _IN_HAND).where(unit.c.until.is_not(None)).group_by(unit.c.station).order_by("station")
)
_TO_RECOVER: Final = sa.select(sa.func.count()).where(
    unit.c.recover == sa.literal_column("1"), unit.c.until.is_(None), unit.c.state.in_(OPEN)
)
_RECOVERED: Final = sa.select(sa.func.count(event.c.unit.distinct())).where(IN_TROUBLE, event.c.phase == "recovered")


class Now(msgspec.Struct, frozen=True):
    """A lot at a moment. Every query behind it is answered from an index, whatever the size of the lot."""

    state: str = "open"
    stands: str = ""
    """Why it was stopped or waits, empty while it may go on."""
    first_article: int | None = None
    """So many units are taken up before a person accepts them; None for all."""
    stations: tuple[tuple[str, int], ...] = ()
    """Who has units in hand, and how many."""
    to_recover: int = 0
    """Units that somebody began and nobody works on."""
    recovered: int = 0
    """Units with an action that was cut off and completed later."""


def now_of(store: UnitStore) -> Now:
    """How the lot of a store stands; of a store without a lot, nothing holds it up."""
    lot = store.lot()
    if lot is None:
        return Now()
    with reading(store) as reader:
        stations = tuple((str(name), int(units)) for name, units in reader.execute(_STATIONS))
        to_recover = int(reader.execute(_TO_RECOVER).scalar_one())
        recovered = int(reader.execute(_RECOVERED).scalar_one())
        stands = "" if lot.state == "open" else why_it_stands(lot.state, tuple(lot_events(reader)))
    return Now(lot.state, stands, lot.allowed, stations, to_recover, recovered)
