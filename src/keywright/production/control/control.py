"""When a lot has to stop: the limits, and the judgement over what has failed. No store, no clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby, takewhile
from types import MappingProxyType
from typing import Annotated, Final

import msgspec
from msgspec import Meta

WINDOWS: Final = (50, 500)
"""Units over which the rolling yield is taken."""

Units = Annotated[int, Meta(ge=0, le=100_000)]
Share = Annotated[float, Meta(ge=0.0, le=1.0)]


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The limits that count for a lot; 0 switches one off."""

    first_article: int
    max_alike: int
    max_consecutive: int
    max_identical: int
    min_yield_50: float
    min_yield_500: float


TEST_LIMITS: Final = Limits(
    first_article=0, max_alike=3, max_consecutive=0, max_identical=0, min_yield_50=0.0, min_yield_500=0.0
)
"""Of lots that produce nothing: simulated units, or keys that protect nothing."""
PRODUCTION_LIMITS: Final = Limits(
    first_article=1, max_alike=3, max_consecutive=3, max_identical=5, min_yield_50=0.9, min_yield_500=0.95
)


class Control(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When the lot has to stop for a person. What is not given is as the table below says."""

    first_article: Units | None = None
    """So many units first; then the lot waits until a second person has accepted them."""
    max_alike: Units | None = None
    """So many failures of the same kind (error, status word, step) in a row stop the lot."""
    max_consecutive: Units | None = None
    """So many failures of any kind in a row stop the lot."""
    max_identical: Units | None = None
    """So many failures of the same kind among the last 500 units stop the lot."""
    min_yield_50: Share | None = None
    """The share of sealed units among the last 50 below which the lot stops."""
    min_yield_500: Share | None = None
    """The same among the last 500."""

    need_witness: bool = False
    """Whether the lot goes on only while a second host cosigns the checkpoints of its log."""

    def limits(self, *, production: bool) -> Limits:
        """What counts: what is given, or else the defaults of the lot's kind."""
        usual = msgspec.structs.asdict(PRODUCTION_LIMITS if production else TEST_LIMITS)
        given = {name: getattr(self, name) for name in usual if getattr(self, name) is not None}
        return Limits(**usual | given)


class Failed(msgspec.Struct, frozen=True):
    """One unit that did not come through. `sealed`: how many of the lot were, then; `ended`: it was set aside."""

    unit: int
    kind: str
    code: str
    text: str
    severity: str
    ended: bool
    sealed: int


class Breach(msgspec.Struct, frozen=True):
    """Why a lot has to stop: which limit, and one line for a person."""

    cause: str
    text: str


def judge(
    limits: Limits,
    failures: Sequence[Failed],
    sealed: int,
    *,
    since: int = 0,
    several: Mapping[str, int] = MappingProxyType({}),
) -> Breach | None:
    """Whether the lot has to stop now.

    `failures`: those since it was last released, the newest first; `sealed`: units sealed by now; `since`: those that
    were, when it was released; `several`: error code -> so many units with it are too many. Units in work together end
    in no order of their own, so a row is one of commits.
    """
    if not failures:
        return None
    return (
        _of_the_lot(failures)
        or _of_several_units(failures, several)
        or _in_a_row(limits, failures, sealed)
        or _identical(limits, failures, sealed)
        or _yield(limits, failures, sealed, since)
    )


def _of_the_lot(failures: Sequence[Failed]) -> Breach | None:
    found = next((one for one in failures if one.severity == "lot"), None)
    return None if found is None else Breach("lot", f"{found.code}: {found.text}")


def _of_several_units(failures: Sequence[Failed], several: Mapping[str, int]) -> Breach | None:
    for code, units in several.items():
        met = {one.unit for one in failures if one.code == code}
        if len(met) >= units:
            return Breach("several", f"{len(met)} units failed with {code}: that is not the units' fault")
    return None


def _in_a_row(limits: Limits, failures: Sequence[Failed], sealed: int) -> Breach | None:
    row = list(takewhile(lambda one: one.sealed == sealed, failures))
    if not row:
        return None
    kind, first = next(groupby(row, key=lambda one: one.kind))
    alike = sum(1 for _ in first)
    if _is_reached(limits.max_alike, alike):
        return Breach("alike", f"{alike} units in a row failed alike ({kind})")
    if _is_reached(limits.max_consecutive, len(row)):
        return Breach("consecutive", f"{len(row)} units in a row failed, the last with {kind}")
    return None


def _identical(limits: Limits, failures: Sequence[Failed], sealed: int) -> Breach | None:
    last = failures[0].kind
    number = sum(one.kind == last for one in _among(failures, sealed, WINDOWS[-1]))
    if not _is_reached(limits.max_identical, number):
        return None
    return Breach("identical", f"{number} of the last {WINDOWS[-1]} units failed with {last}")


def _yield(limits: Limits, failures: Sequence[Failed], sealed: int, since: int) -> Breach | None:
    """Only over as many units as the window has: a lot that has just begun has no yield yet."""
    ended = [one for one in failures if one.ended]
    for window, least in zip(WINDOWS, (limits.min_yield_50, limits.min_yield_500), strict=True):
        bad = sum(1 for _ in _among(ended, sealed, window))
        if least and len(ended) + sealed - since >= window and (window - bad) / window < least:
            share = 100 * (window - bad) / window
            return Breach("yield", f"{share:.0f} % of the last {window} units are sealed, of {100 * least:.0f} % due")
    return None


def _among(failures: Iterable[Failed], sealed: int, window: int) -> list[Failed]:
    """The failures among the last so many units that came to an end; between two of them lie the units sealed."""
    return [one for place, one in enumerate(failures, 1) if place + max(0, sealed - one.sealed) <= window]


def _is_reached(limit: int, number: int) -> bool:
    return bool(limit) and number >= limit
