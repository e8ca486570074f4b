"""People, keystores and whole ceremonies for tests: everybody acts through the same calls as the command line."""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

from keywright.crypto import Ed25519Key
from keywright.production.ceremony import drafting
from keywright.production.ceremony.host import Host
from keywright.production.ceremony.parts import Part, Receiver, taken
from keywright.production.ceremony.plan import Plan
from keywright.production.ceremony.progress import Ceremony
from keywright.production.ceremony.software_target import SoftwareTarget
from keywright.production.ceremony.states import FINAL, Event, State
from keywright.production.ceremony.target import Target
from keywright.production.ceremony.transcript import Transcript
from keywright.production.keystores import sealed
from keywright.production.keystores.software_keystore import SoftwareKeystore
from keywright.production.people.argon2id import Argon2id
from keywright.production.people.people import Directory, Person, Role
from keywright.production.people.person_key import PersonKey

ROLES: dict[str, Role] = {
    "anna": "administrator",
    "kim": "key-manager",
    "kurt": "key-manager",
    "kara": "key-manager",
    "carl": "custodian",
    "cora": "custodian",
    "cem": "custodian",
    "wim": "auditor",
    "wanda": "auditor",
}
CUSTODIANS = ("carl", "cora", "cem")
WITNESSES = ("wim", "wanda")
UNLOCK = b"unlock key of a test"
START_MS = 1_800_000_000_000

KEYS = {name: PersonKey(name, Ed25519Key(bytes((number + 1,)) * 32)) for number, name in enumerate(ROLES)}


def directory(groups: dict[str, tuple[str, ...]] | None = None) -> Directory:
    """All of them, with conflict groups by name."""
    people = [Person(name, (role,), (groups or {}).get(name, ()), KEYS[name].public) for name, role in ROLES.items()]
    made = Directory.begin(people[0], KEYS["anna"], at_ms=START_MS)
    for person in people[1:]:
        made = made.changed("add", person, [KEYS["anna"]], at_ms=START_MS)
    return made


PEOPLE = directory()


class Clock:
    """Milliseconds that go on by themselves."""

    def __init__(self) -> None:
        self.now = START_MS + 1000

    def __call__(self) -> int:
        self.now += 10
        return self.now


def keystore(path: Path, *, empty: bool = True) -> SoftwareTarget:
    """A software keystore, made if it is not there; its unlock key is cheap to guess, so that tests are quick."""
    if not path.exists():
        with patch.object(sealed, "Argon2id", lambda salt: Argon2id(salt, 8192, 1)):
            SoftwareKeystore.create(
                path, now=datetime(2027, 1, 1, tzinfo=UTC), unlock=lambda: UNLOCK, entries=() if empty else None
            )
    return SoftwareTarget(f"software:{path}", path, lambda: UNLOCK)


def plan(kind: str, target: str, **changes: Any) -> Plan:
    """A plan of that kind as one would make it; `changes` as its fields."""
    parts = {"create": "draw", "import": "type", "export": "none", "backup": "draw", "restore": "type"}
    entry = changes.pop("entry", parts.get(kind, "none"))
    fields: dict[str, Any] = {
        "id": os.urandom(16).hex(),
        "kind": kind,
        "key": "kmc",
        "target": target,
        "directory": PEOPLE.id,
        "host": "kim",
        "custodians": () if entry == "none" else CUSTODIANS,
        "witnesses": WITNESSES,
        "entry": entry,
    }
    return Plan(**{**fields, **changes})


class Play:
    """One ceremony in a folder."""

    def __init__(self, folder: Path, what: Plan, people: Directory = PEOPLE) -> None:
        self.clock = Clock()
        self.plan = what
        self.people = people
        self.transcript = draft(folder, what, people, self.clock())

    @property
    def ceremony(self) -> Ceremony:
        return self.transcript.read()

    @property
    def state(self) -> State:
        return self.ceremony.state

    def write(self, name: str, event: Event, **facts: Any) -> Ceremony:
        return self.transcript.write(KEYS[name], event, lambda _: facts, self.clock())

    def approve(self, name: str = "kurt") -> Ceremony:
        return approve_as(self.transcript, KEYS[name], self.clock())

    def host(self, target: Target) -> Host:
        return Host(self.transcript, KEYS[self.plan.host], target, clock_ms=self.clock)

    def enter(self, name: str, part: Part | None = None) -> Part:
        given = Part.drawn(self.plan, os.urandom) if part is None else part
        index = self.plan.custodians.index(name) + 1
        self.transcript.write(KEYS[name], Event.LOAD, lambda now: given.sealed(now, index, os.urandom), self.clock())
        return given

    def confirm(self, names: Iterable[str] = WITNESSES) -> Ceremony:
        for name in names:
            check = self.ceremony.combined["check"]
            self.write(name, Event.CONFIRM, check=check)
        return self.ceremony

    def receive(self, name: str, host: Host) -> Part:
        """A share that is dealt to its custodian."""
        index = self.plan.custodians.index(name) + 1
        receiver = Receiver(index, os.urandom)
        self.write(name, Event.ASK, **receiver.asking())
        part = receiver.received(host.step())
        assert part is not None
        self.transcript.write(KEYS[name], Event.LOAD, lambda now: taken(now, index, part), self.clock())
        return part

    def run(self, target: Target, parts: dict[str, Part] | None = None) -> dict[str, Part]:
        """The whole of it after the draft; the parts as the custodians hold them."""
        self.approve()
        host = self.host(target)
        try:
            host.open()
            held: dict[str, Part] = {}
            for name in self.plan.custodians if self.plan.entry != "type" else parts or {}:
                held[name] = (
                    self.receive(name, host) if self.plan.entry == "deal" else self.enter(name, (parts or {}).get(name))
                )
            if host.step().state not in FINAL:
                self.confirm()
                host.step()
        finally:
            host.close()
        return held


def draft(folder: Path, what: Plan, people: Directory, at_ms: int, by: str = "kim") -> Transcript:
    """The draft of a ceremony, signed."""
    return drafting.draft(folder, what, people, KEYS[by], at_ms=at_ms, rng=os.urandom)


def approve_as(transcript: Transcript, key: PersonKey, at_ms: int) -> Ceremony:
    """One approval."""
    return drafting.approve(transcript, key, at_ms=at_ms)
