"""A directory of people for tests, with keys that need no passphrase."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable
from typing import Final

from keywright.crypto.curve25519 import Ed25519Key
from keywright.production.people.argon2id import Argon2id
from keywright.production.people.people import Directory, Person, Role
from keywright.production.people.person_key import PersonKey

NOW: Final = 1_795_780_800_000
MINUTE: Final = 60_000
PASSPHRASE: Final = b"correct horse battery"

CREW: Final[dict[str, tuple[Role, ...]]] = {
    "ada": ("administrator",),
    "alan": ("administrator",),
    "olga": ("operator",),
    "sam": ("supervisor",),
    "sue": ("supervisor",),
    "sid": ("supervisor",),
    "kim": ("key-manager",),
    "kay": ("key-manager",),
    "carl": ("custodian",),
    "cora": ("custodian",),
    "cleo": ("custodian",),
    "aude": ("auditor",),
}


def counting(start: int = 1) -> Callable[[int], bytes]:
    """Different bytes at each call, the same in each run."""
    numbers = itertools.count(start)
    return lambda size: hashlib.shake_128(next(numbers).to_bytes(8, "big")).digest(size)


def key(name: str) -> PersonKey:
    """The key of that person: the same in each run."""
    return PersonKey(name, Ed25519Key(hashlib.sha256(name.encode()).digest()))


def person(name: str, *roles: Role, groups: tuple[str, ...] = ()) -> Person:
    """That person, with their own key."""
    return Person(name, roles or CREW[name], groups, key(name).public)


def directory() -> Directory:
    """Everybody of `CREW`; sid is in one conflict group with sam, and cleo with carl."""
    made = Directory.begin(person("ada"), key("ada"), at_ms=NOW)
    made = made.changed("add", person("alan"), [key("ada")], at_ms=NOW)
    for name in CREW:
        if name in ("ada", "alan"):
            continue
        groups = {"sam": ("shift-a",), "sid": ("shift-a",), "carl": ("desk",), "cleo": ("desk",)}.get(name, ())
        made = made.changed("add", person(name, groups=groups), [key("ada"), key("alan")], at_ms=NOW)
    return made


def cheap(salt: bytes) -> Argon2id:
    """A passphrase that is quickly guessed, and so quickly tried."""
    return Argon2id(salt, 8 * 1024, 1)
