"""The key registry: what every key of a keystore is, for whom, until when, and what came from it.

It is a value without any key in it, kept by the keystore with its keys and protected as they are: a software keystore
has it in its sealed file, a token beside its objects. A change gives a new registry, which the keystore has to write
before it counts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Annotated, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta

from keywright.crypto.kcv import Kcv
from keywright.errors import PolicyError, StoreError
from keywright.production.keystores.key_states import ORIGINATING, USABLE, KeyState, KeyStateError, check_transition

Environment: TypeAlias = Literal["test", "production"]
Seconds: TypeAlias = Annotated[int, Meta(ge=0, le=1 << 40)]
"""Whole seconds since 1970, UTC."""

YEAR_S: Final = 365 * 86_400
PERIODS: Final[dict[str, tuple[int, int]]] = {
    "master": (2 * YEAR_S, 30 * YEAR_S),
    "factory": (30 * YEAR_S, 30 * YEAR_S),
    "ca": (5 * YEAR_S, 30 * YEAR_S),
    "transport": (YEAR_S, 2 * YEAR_S),
    "identity": (5 * YEAR_S, 30 * YEAR_S),
    "issuer": (5 * YEAR_S, 30 * YEAR_S),
}
"""Default cryptoperiods by purpose, in seconds from when the key was made: how long it originates, and how long what it
made is opened and verified with it. A factory set originates nothing; it is here to open what came with it."""

USAGES: Final[dict[str, str]] = {
    "master": "E5",
    "factory": "21",
    "ca": "S1",
    "transport": "K1",
    "identity": "S0",
    "issuer": "S0",
}
"""Key usage of X9.143 by purpose; 21 is ours, a set of card keys."""


class StateChange(msgspec.Struct, frozen=True):
    """When a key was brought into a state, why, and by whose leave (id of an approval, or empty)."""

    at: Seconds
    state: KeyState
    reason: str = ""
    approval: str = ""


class KeyRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one key. `id`: 16 hexadecimal digits, never given twice.

    `checks`: its check values with their rules as text; for a key set three by one rule (ENC, MAC, DEK). `usage`: as
    X9.143 codes it. `owner`: who answers for it. `originate_until`, `use_until`: the first second at which it makes
    nothing new any more, and at which nothing is opened or verified with it. `parents`: ids of the keys it was derived
    from or came in under. `history`: every state it was in, the present one last.
    """

    id: Annotated[str, Meta(pattern="^[0-9a-f]{16}$")]
    name: str
    purpose: str
    algorithm: str
    checks: tuple[str, ...]
    usage: Annotated[str, Meta(pattern="^[0-9A-Z]{2}$")]
    zone: str
    owner: str
    environment: Environment
    created: Seconds
    originate_until: Seconds
    use_until: Seconds
    parents: tuple[str, ...] = ()
    history: Annotated[tuple[StateChange, ...], Meta(min_length=1)]

    @property
    def state(self) -> KeyState:
        """The present state."""
        return self.history[-1].state

    @property
    def was_compromised(self) -> bool:
        """Whether it is compromised, or was when it was destroyed."""
        return any(change.state is KeyState.COMPROMISED for change in self.history)

    def kcvs(self) -> tuple[Kcv, ...]:
        """The check values. Comparing those of different rules is a PolicyError."""
        return tuple(Kcv.parse(text) for text in self.checks)

    def check_uses(self, now: float) -> None:
        """Raise KeyStateError unless it may still open and verify what was made with it."""
        if self.state not in USABLE:
            raise KeyStateError(f"the key {self.name!r} is {self.state}", hint=_HINTS[self.state])
        if now >= self.use_until:
            raise KeyStateError(
                f"the key {self.name!r} was for use until {_date(self.use_until)}",
                hint="what it protects has to be moved to another key; a ceremony destroys it",
            )

    def check_originates(self, now: float) -> None:
        """Raise KeyStateError unless it may make something new: it is active and its originator-use period runs."""
        if self.state not in ORIGINATING:
            raise KeyStateError(f"the key {self.name!r} is {self.state}: it makes nothing new", hint=_HINTS[self.state])
        if now >= self.originate_until:
            raise KeyStateError(
                f"the key {self.name!r} has made nothing new since {_date(self.originate_until)}",
                hint="its cryptoperiod is over: bring in its successor; what it made can still be opened",
            )


_HINTS: Final = {
    KeyState.PRE_ACTIVE: "activate it: keywright keystore activate",
    KeyState.SUSPENDED: "find out why it was suspended; keywright keystore activate ends it",
    KeyState.DEACTIVATED: "use its successor",
    KeyState.COMPROMISED: "stop, replace it wherever it is: keywright keystore affected lists what came from it",
    KeyState.DESTROYED: "it is gone for good",
}


class Registry(msgspec.Struct, frozen=True):
    """The records of one keystore, by name in the order in which they came."""

    environment: Environment
    records: tuple[KeyRecord, ...] = ()

    def named(self, name: str) -> KeyRecord:
        """The record of a key. Raises StoreError that lists the known ones."""
        for record in self.records:
            if record.name == name:
                return record
        known = ", ".join(sorted(record.name for record in self.records)) or "none"
        raise StoreError(f"the keystore has no key {name!r}", hint=f"it has: {known}")

    def with_record(self, record: KeyRecord) -> Registry:
        """With one more key.

        Raises PolicyError for a key of the other environment, for a name or id that is or was there (a destroyed key
        keeps both), and for periods that end before they begin; StoreError for a parent that is not known.
        """
        if record.environment != self.environment:
            raise PolicyError(
                f"the key {record.name!r} is of the {record.environment} environment, this keystore of the "
                f"{self.environment} one",
                hint="keys never cross between test and production: make a new one",
            )
        if any(record.name == known.name or record.id == known.id for known in self.records):
            raise PolicyError(
                f"a key {record.name!r} is or was in this keystore", hint="names are never used again: give another"
            )
        if not record.created <= record.originate_until <= record.use_until:
            raise PolicyError(f"the periods of the key {record.name!r} end before they begin")
        unknown = set(record.parents) - {known.id for known in self.records}
        if unknown:
            raise StoreError(
                f"the key {record.name!r} names a parent that is not here: {', '.join(sorted(unknown))}",
                hint="register the parents first",
            )
        return Registry(self.environment, (*self.records, record))

    def with_state(self, name: str, to: KeyState, *, at: int, reason: str = "", approval: str = "") -> Registry:
        """With one key in another state. Raises KeyStateError for a change that is not in the table."""
        record = self.named(name)
        check_transition(name, record.state, to)
        change = StateChange(max(at, record.history[-1].at), to, reason, approval)
        changed = msgspec.structs.replace(record, history=(*record.history, change))
        return Registry(self.environment, tuple(changed if one is record else one for one in self.records))

    def ancestors(self, name: str) -> tuple[KeyRecord, ...]:
        """Every key that this one came from, near ones first."""
        by_id = {record.id: record for record in self.records}
        return _reached(self.named(name), lambda record: (by_id[one] for one in record.parents))

    def descendants(self, name: str) -> tuple[KeyRecord, ...]:
        """Every key that came from this one, directly or not, near ones first."""
        children: dict[str, list[KeyRecord]] = {}
        for record in self.records:
            for parent in record.parents:
                children.setdefault(parent, []).append(record)
        return _reached(self.named(name), lambda record: children.get(record.id, ()))

    def check_uses(self, name: str, now: float) -> None:
        """Raise KeyStateError unless a key may still open and verify."""
        self.named(name).check_uses(now)

    def check_originates(self, name: str, now: float) -> None:
        """Raise KeyStateError unless a key may make something new; nor may it if a key it came from was compromised."""
        self.named(name).check_originates(now)
        for parent in self.ancestors(name):
            if parent.was_compromised:
                raise KeyStateError(
                    f"the key {name!r} comes from {parent.name!r}, which is compromised",
                    hint=_HINTS[KeyState.COMPROMISED],
                )


def _reached(start: KeyRecord, following: Callable[[KeyRecord], Iterable[KeyRecord]]) -> tuple[KeyRecord, ...]:
    """Everything that is reached from a record, near ones first, each once."""
    found: dict[str, KeyRecord] = {start.id: start}
    edge = [start]
    while edge:
        further: list[KeyRecord] = []
        for record in edge:
            for one in following(record):
                if one.id not in found:
                    found[one.id] = one
                    further.append(one)
        edge = further
    return tuple(found.values())[1:]


def _date(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}"


def new_record(
    keystore_id: str,
    name: str,
    purpose: str,
    algorithm: str,
    checks: Iterable[Kcv],
    *,
    environment: Environment,
    created: int,
    state: KeyState = KeyState.PRE_ACTIVE,
    zone: str = "line",
    owner: str = "",
    usage: str = "",
    parents: tuple[str, ...] = (),
    periods: tuple[int, int] | None = None,
) -> KeyRecord:
    """The record of a key that was just made or came in. `periods`: originator and recipient use, seconds from now.

    Its id is made of the keystore's and its name, so that two who register one key give it one id. Raises ValueError
    for a purpose that has no defaults and was given none.
    """
    if purpose not in PERIODS and (periods is None or not usage):
        raise ValueError(f"{purpose!r} has no default usage and periods")
    originate, use = periods or PERIODS[purpose]
    return KeyRecord(
        id=hashlib.sha256(f"{keystore_id} {name}".encode()).hexdigest()[:16],
        name=name,
        purpose=purpose,
        algorithm=algorithm,
        checks=tuple(str(check) for check in checks),
        usage=usage or USAGES[purpose],
        zone=zone,
        owner=owner,
        environment=environment,
        created=created,
        originate_until=created + originate,
        use_until=created + use,
        parents=parents,
        history=(StateChange(created, state, "made"),),
    )
