"""The record of a ceremony: what happened, in order, for people and for paper."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from keywright.production.ceremony.plan import KINDS, Plan
from keywright.production.ceremony.progress import Ceremony, Line
from keywright.production.ceremony.states import Event


class Row(NamedTuple):
    """One line of the record."""

    number: int
    time: str
    event: str
    person: str
    what: str


def title(plan: Plan) -> str:
    """What the ceremony is for."""
    words = KINDS[plan.kind].words
    return f"{words[:1].upper()}{words[1:]}: {plan.key}"


def facts(ceremony: Ceremony) -> Iterator[tuple[str, str]]:
    """The plan, and what came of it, as names and values."""
    plan = ceremony.plan
    yield "ceremony", plan.id
    yield "state", str(ceremony.state) + (f": {ceremony.why}" if ceremony.why else "")
    yield (
        "key",
        f"{plan.key}, {plan.algorithm} {plan.bits} bits, usage {plan.usage}, exportability {plan.exportability}",
    )
    yield "keystore", plan.target + (", TEST" if plan.test else "")
    yield "zone", plan.zone + (f", owner {plan.owner}" if plan.owner else "")
    if plan.entry != "none":
        how = {"draw": "drawn on each custodian's terminal", "type": "typed", "deal": "dealt by the host"}[plan.entry]
        yield "parts", f"{plan.parts} {plan.split} ({how})"
    if plan.kek:
        yield "KEK", plan.kek
    if plan.file:
        yield "file", plan.file + (f", SHA-256 {plan.file_sha256}" if plan.file_sha256 else "")
    for name, label in (("check", "check value"), ("stored_check", "in the keystore"), ("kek_check", "of the KEK")):
        value = str(ceremony.combined.get(name, ""))
        if value and not (name == "stored_check" and value == ceremony.combined.get("check")):
            yield label, value
    yield "plan", plan.digest
    yield "directory", plan.directory


def persons(ceremony: Ceremony) -> Iterator[tuple[str, str, str]]:
    """Name, duty, and fingerprint of the key they signed with."""
    plan = ceremony.plan
    duties = [(line.person, "drafted") for line in ceremony.lines if line.event is Event.DRAFT]
    duties += [(line.person, "approved") for line in ceremony.lines if line.event is Event.APPROVE]
    duties.append((plan.host, "host"))
    duties += [(name, f"custodian of part {index}") for index, name in enumerate(plan.custodians, 1)]
    duties += [(name, "witness") for name in plan.witnesses]
    names = dict.fromkeys(name for name, _ in duties)
    for name in names:
        duty = ", ".join(duty for other, duty in duties if other == name)
        yield name, duty, ceremony.directory.person(name).fingerprint


def rows(ceremony: Ceremony) -> Iterator[Row]:
    """Every line of the transcript in words."""
    for line in ceremony.lines:
        part = _part_check(ceremony, line) if line.event is Event.LOAD else ""
        yield Row(line.seq, stamp(line.at_ms), str(line.event), line.person, _what(line) + part)


def stamp(at_ms: int) -> str:
    """A moment as people read it."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _what(line: Line) -> str:
    say = _SAID.get(line.event)
    return say(line.facts) if say is not None else ""


def _part_check(ceremony: Ceremony, line: Line) -> str:
    """The check value of a part, once all are in: before, a custodian knows their own and no other."""
    if line.facts["host_key"] != ceremony.host_key.hex():
        return ""
    known = ceremony.combined.get("parts", {}).get(str(line.facts["index"]), line.facts.get("check", ""))
    return f", {known}" if known else ""


def _changed(found: dict[str, Any]) -> str:
    said = str(found.get("stored_check", "")) + (", found after a restart" if found.get("recovered") else "")
    return said + (f", file {str(found['file_sha256'])[:16]}" if "file_sha256" in found else "")


def _opened(found: dict[str, Any]) -> str:
    return f"host key {str(found['host_key'])[:16]}"


_SAID: Final[dict[Event, Callable[[dict[str, Any]], str]]] = {
    Event.DRAFT: lambda found: f"approval {found['approval']}",
    Event.OPEN: _opened,
    Event.REOPEN: _opened,
    Event.ASK: lambda found: f"part {found['index']}",
    Event.DEAL: lambda found: f"part {found['index']}",
    Event.LOAD: lambda found: f"part {found['index']}",
    Event.COMBINE: lambda found: str(found["check"]),
    Event.CONFIRM: lambda found: str(found["check"]),
    Event.EXECUTE: _changed,
    Event.SEAL: _changed,
    Event.ABORT: lambda found: str(found.get("why", "")),
}
