"""What an Access Document lets its credential do, here and now (Aliro 1.0 7.3).

The document has been verified (`documents.verify`). Whatever is not understood means no access.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, TypeAlias, get_args

import msgspec

from keywright.aliro.documents.access_data import CAPABILITIES, AccessData, AccessRule, Capability
from keywright.aliro.schedules import Offset, Reading, is_running, utc
from keywright.errors import DecodeError

Reason: TypeAlias = Literal[
    "granted",
    "no element",
    "unreadable",
    "critical extension",
    "unknown reader rule",
    "reader rule",
    "capability",
    "no clock",
    "schedule",
]
"""Why access is given or not."""
REASONS: Final[tuple[Reason, ...]] = get_args(Reason)

_STATUS: Final[dict[Reason, int]] = {
    "granted": 0,
    "no element": 0x0007,
    "unreadable": 0x0007,
    "critical extension": 0x0007,
    "unknown reader rule": 0x0025,
    "reader rule": 0x0025,
    "capability": 0x0025,
    "no clock": 0x0025,
    "schedule": 0x0025,
}
_RANK: Final = {reason: rank for rank, reason in enumerate(REASONS[1:])}


class Policy(msgspec.Struct, frozen=True):
    """What of access is open or disputed; the defaults deny where sources leave a choice and none of them grants."""

    without_rules: bool = True
    """An element without access rules allows everything, as two implementations have it."""
    without_capabilities: bool = False
    """A rule that names no capability allows every action; False: none."""
    unverified_schedules: Literal["deny", "skip"] = "deny"
    """A reader without the time, and a document that does not demand it: a rule with schedules does not hold, or holds
    as if it had none."""
    deny_reaches: Literal["rule", "element"] = "rule"
    """A schedule that denies undoes its own rule (7.3.3 as quoted by an implementation), or every rule of the element
    for the same action."""
    reading: Reading = Reading()
    """How schedules are read."""


DEFAULT: Final = Policy()


class Situation(msgspec.Struct, frozen=True):
    """The reader, and what it is about to do."""

    action: int = Capability.UNSECURE
    """One bit of `Capability`."""
    now: int | None = None
    """Seconds since 1970, UTC; None: the reader does not know the time."""
    offset: Offset = utc
    """The time zone of the reader's wall."""
    reader_rules: Mapping[int, bool] = {}
    """Rules that the reader keeps, by number: whether each is met now."""
    understood: frozenset[tuple[int, int, int]] = frozenset()
    """Access extensions that the reader has dealt with: vendor, identifier, version."""


class Decision(msgspec.Struct, frozen=True):
    """Whether there is access, and why."""

    reason: Reason
    element: str = ""
    """Identifier of the element that decided."""
    detail: str = ""
    data: AccessData | None = None
    """The element, if it was read."""

    @property
    def granted(self) -> bool:
        """Whether there is access."""
        return self.reason == "granted"

    @property
    def status(self) -> int:
        """The reader status of a denial: 0007 bad content, 0025 access rights; 0 when granted."""
        return _STATUS[self.reason]

    def __str__(self) -> str:
        where = f" by element {self.element!r}" if self.element else ""
        detail = f" ({self.detail})" if self.detail else ""
        return f"{'access' if self.granted else 'no access'}{where}: {self.reason}{detail}"


def decide(
    elements: Mapping[str, Any],
    wanted: Iterable[str],
    situation: Situation,
    *,
    time_verification_required: bool = False,
    policy: Policy = DEFAULT,
) -> Decision:
    """Decide by the elements of a verified Access Document that the reader asked for: one that grants is enough.

    If none does, the decision is that of the element that came furthest.
    """
    best = Decision("no element", detail="none that was asked for was given")
    for name in wanted:
        if name not in elements:
            continue
        found = _element(name, elements[name], situation, policy, required=time_verification_required)
        if found.granted:
            return found
        if _RANK[found.reason] > _RANK[best.reason]:
            best = found
    return best


def evaluate(
    data: AccessData,
    situation: Situation,
    *,
    time_verification_required: bool = False,
    policy: Policy = DEFAULT,
) -> Decision:
    """Decide by one element."""
    for one in data.access_extensions:
        if one.critical and (one.vendor, one.identifier, one.version) not in situation.understood:
            return Decision("critical extension", detail=f"{one.identifier} of vendor {one.vendor:X} is not known")
    for number in data.reader_rules:
        if number not in situation.reader_rules:
            return Decision("unknown reader rule", detail=f"{number:04X}")
        if not situation.reader_rules[number]:
            return Decision("reader rule", detail=f"{number:04X} is not met")
    if not data.rules:
        return Decision("granted") if policy.without_rules else Decision("capability", detail="there are no rules")
    return _by_rules(data, situation, policy, required=time_verification_required)


def _element(name: str, value: Any, situation: Situation, policy: Policy, *, required: bool) -> Decision:
    try:
        data = AccessData.read(value)
    except DecodeError as error:
        return Decision("unreadable", element=name, detail=str(error))
    found = evaluate(data, situation, time_verification_required=required, policy=policy)
    return msgspec.structs.replace(found, element=name, data=data)


def _by_rules(data: AccessData, situation: Situation, policy: Policy, *, required: bool) -> Decision:
    fitting = [rule for rule in data.rules if _allows(rule, situation.action, policy)]
    if not fitting:
        return Decision(
            "capability", detail=f"no rule allows to {CAPABILITIES.get(situation.action, situation.action)}"
        )
    if situation.now is None:
        held = [rule for rule in fitting if _holds_without_time(rule, policy, required=required)]
        return Decision("granted") if held else Decision("no clock", detail="the rules have schedules")
    running = [is_running(one, situation.now, situation.offset, policy.reading) for one in data.schedules]
    bits = sum(1 << number for number, runs in enumerate(running) if runs)
    if policy.deny_reaches == "element" and any((rule.deny or 0) & bits for rule in fitting):
        return Decision("schedule", detail="one that denies is running")
    if any(_holds(rule, bits) for rule in fitting):
        return Decision("granted")
    return Decision("schedule", detail="no rule holds at this time")


def _allows(rule: AccessRule, action: int, policy: Policy) -> bool:
    if rule.capabilities is None:
        return policy.without_capabilities
    return bool(rule.capabilities & action)


def _holds(rule: AccessRule, running: int) -> bool:
    """Schedules that are named must be running, one at least; of those that deny none may be (7.3.3)."""
    return (rule.allow is None or bool(rule.allow & running)) and not (rule.deny or 0) & running


def _holds_without_time(rule: AccessRule, policy: Policy, *, required: bool) -> bool:
    if rule.allow is None and rule.deny is None:
        return True
    return not required and policy.unverified_schedules == "skip"


def needs_time(data: AccessData) -> bool:
    """Whether what an element allows changes with time."""
    return any(rule.allow is not None or rule.deny is not None for rule in data.rules)
