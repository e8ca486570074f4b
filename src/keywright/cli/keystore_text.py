"""What a key registry says, for people and as a document."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from keywright.cli.text import bad, caution, good, say, table
from keywright.production.keystores.key_states import KeyState
from keywright.production.keystores.registry import KeyRecord, Registry

SOON_S: Final = 90 * 86_400
"""So long before a key ends it is time to bring in its successor."""


def record_document(record: KeyRecord) -> dict[str, Any]:
    """A record as it is kept, and its state; times in seconds since 1970."""
    found: dict[str, Any] = {**msgspec.to_builtins(record), "state": str(record.state)}
    return found


def say_registry(registry: Registry, now: float) -> None:
    """A table of the keys, and a line for each that needs somebody's attention."""
    heads = ("name", "purpose", "use", "algorithm", "state", "new until", "opens until", "zone", "owner")
    rows = [
        (
            record.name,
            record.purpose,
            record.usage,
            record.algorithm,
            str(record.state),
            _day(record.originate_until),
            _day(record.use_until),
            record.zone,
            record.owner or "-",
        )
        for record in registry.records
    ]
    for line in table(heads, rows):
        say(line)
    for line in table(("name", "id", "check values"), [(one.name, one.id, _checks(one)) for one in registry.records]):
        say(line)
    for record in registry.records:
        for line in _remarks(record, registry, now):
            say(line)


def _checks(record: KeyRecord) -> str:
    """Each rule once, before its values: three of one rule are a set's ENC, MAC and DEK."""
    rules: dict[str, list[str]] = {}
    for check in record.checks:
        rule, _, value = check.partition(" ")
        rules.setdefault(rule, []).append(value)
    return ", ".join(f"{rule} {' '.join(values)}" for rule, values in rules.items())


def _remarks(record: KeyRecord, registry: Registry, now: float) -> list[str]:
    lines = []
    if record.parents:
        names = ", ".join(parent.name for parent in registry.ancestors(record.name))
        lines.append(f"  {record.name} came from {names}")
    reason = record.history[-1].reason
    match record.state:
        case KeyState.ACTIVE if now >= record.originate_until:
            lines.append(bad(f"  {record.name} makes nothing new any more: its cryptoperiod is over"))
        case KeyState.ACTIVE if now >= record.originate_until - SOON_S:
            lines.append(caution(f"  {record.name} makes nothing new from {_day(record.originate_until)} on"))
        case KeyState.ACTIVE:
            pass
        case KeyState.COMPROMISED:
            lines.append(bad(f"  {record.name} is compromised: {reason}"))
        case KeyState.PRE_ACTIVE:
            lines.append(good(f"  {record.name} waits to be activated"))
        case state:
            lines.append(caution(f"  {record.name} is {state}: {reason}"))
    return lines


def _day(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}"
