"""The table of all combinations, protocol by protocol, and what running it gives."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, Protocol, TypeAlias

from support.combinations import scp02, scp03, scp10, scp11, scp80, scp81, sessions, trials
from support.combinations.outcome import Outcome


class Combination(Protocol):
    """One row: a named tuple of a protocol's choices."""

    @property
    def protocol(self) -> str:
        """Name of the protocol."""
        ...

    @property
    def is_legal(self) -> bool:
        """Whether both ends take it."""
        ...

    @property
    def channel(self) -> int:
        """Logical channel; 0 where there is none."""
        ...

    def _asdict(self) -> dict[str, Any]:
        """Its choices by name."""
        ...


Run: TypeAlias = Callable[[], Outcome]


def sessions_of(protocol: str, *, everything: bool = False) -> Iterator[sessions.Kind]:
    """The combinations of a protocol whose messages are APDUs."""
    match protocol:
        case "SCP02":
            return scp02.combinations(everything=everything)
        case "SCP03":
            return scp03.combinations(everything=everything)
        case "SCP10":
            return scp10.combinations(everything=everything)
        case "SCP11":
            return scp11.combinations(everything=everything)
    raise KeyError(protocol)


def rows(protocol: str, *, everything: bool = False) -> Iterator[tuple[Combination, Run]]:
    """The combinations of a protocol, each with what runs it; `everything`: on every logical channel or transport."""
    match protocol:
        case "SCP80":
            return ((kind, functools.partial(scp80.run, kind)) for kind in scp80.combinations(everything=everything))
        case "SCP81":
            return ((kind, functools.partial(scp81.run, kind)) for kind in scp81.combinations(everything=everything))
    return ((kind, functools.partial(trials.run, kind)) for kind in sessions_of(protocol, everything=everything))


PROTOCOLS = ("SCP02", "SCP03", "SCP10", "SCP11", "SCP80", "SCP81")


class Ran(NamedTuple):
    """A combination and what it gave."""

    kind: Combination
    outcome: Outcome


@functools.cache
def ran(protocol: str) -> tuple[Ran, ...]:
    """Every combination of a protocol, run once without tampering."""
    return tuple(Ran(kind, run()) for kind, run in rows(protocol))


def distinct(results: Iterable[Ran], *, blind: bool = False) -> int:
    """How many outcomes differ; `blind` to the number of the logical channel."""
    return len({result.outcome.blind if blind else result.outcome.digest for result in results})
