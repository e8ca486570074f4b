"""Named persons: who they are, what they may do, and which duties exclude each other.

A directory is a file of signed entries, each bound to the one before; it is read from the first to the last, so that
nobody is in it whom an administrator did not sign for. The first entry names the first administrator and is signed by
that person alone: whoever relies on a directory has to know its id (`Directory.id`) from elsewhere. As soon as two
administrators are in it, every change takes two.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Final, Literal, final, get_args

import msgspec
from msgspec import Meta

from keywright.crypto.curve25519 import verify_ed25519
from keywright.errors import AuthenticationError, PolicyError, StoreError
from keywright.production.canonical import canonical
from keywright.production.people.person_key import NAME, PersonKey
from keywright.production.private_file import READABLE, replace_file, write_new

Role = Literal["operator", "supervisor", "key-manager", "custodian", "auditor", "administrator", "api-station"]
ROLES: Final[tuple[Role, ...]] = get_args(Role)

ALWAYS_APART: Final = (("administrator", "auditor"),)
"""Roles that no person has together: who grants rights does not judge their use."""
APART_FOR_ONE_KEY: Final = (("key-manager", "custodian"),)
"""Duties that no person has for the same key."""
APART_IN_ONE_APPROVAL: Final = (("requester", "approver"),)
"""Duties that no person has in the same operation."""

DIRECTORY_BYTES: Final = 4 << 20
_WHAT: Final = "directory of people"
_DOMAIN: Final = b"keywright directory of people 1\n"
_BOTH: Final = 2


class PeopleError(PolicyError):
    """A person is not known, or not allowed to do this."""

    code = "people"


class Person(msgspec.Struct, frozen=True):
    """A person or a station.

    `public_key` is Ed25519, 32 bytes. Persons of one of the `groups` (a team, a family) do not control each other.
    """

    name: Annotated[str, Meta(pattern=NAME)]
    roles: tuple[Role, ...]
    groups: tuple[Annotated[str, Meta(pattern=NAME)], ...] = ()
    public_key: Annotated[bytes, Meta(min_length=32, max_length=32)] = bytes(32)

    @property
    def fingerprint(self) -> str:
        """The first 8 bytes of the SHA-256 of the public key, as hex: short enough to be read out."""
        return hashlib.sha256(self.public_key).hexdigest()[:16]

    def has(self, roles: Iterable[str]) -> bool:
        """Whether the person has one of these roles."""
        return not set(self.roles).isdisjoint(roles)


class Seal(msgspec.Struct, frozen=True):
    """One administrator's signature under an entry, 64 bytes."""

    person: str
    signature: bytes


class Entry(msgspec.Struct, frozen=True):
    """One change of a directory. `previous`: SHA-256 of the entry before as hex; times in ms since 1970, UTC."""

    change: Literal["begin", "add", "change", "retire"]
    person: Person
    previous: str
    at_ms: int
    seals: tuple[Seal, ...] = ()

    def content(self) -> bytes:
        """What the seals cover: everything but themselves."""
        fields = msgspec.to_builtins(self)
        del fields["seals"]
        return _DOMAIN + canonical(fields)

    def identity(self) -> str:
        """SHA-256 of the entry with its seals, hex: what the next one is bound to."""
        return hashlib.sha256(canonical(msgspec.to_builtins(self))).hexdigest()


class _File(msgspec.Struct, frozen=True):
    format: Literal["keywright people"]
    version: Literal[1]
    entries: tuple[Entry, ...]


@final
class Directory:
    """Who is who. Read it with `load`, begin one with `begin`; it does not change, a change gives a new one."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        """Follow the entries from the first. Raises PeopleError for one that is not signed as it has to be."""
        self.entries: tuple[Entry, ...] = ()
        self._people: dict[str, Person] = {}
        self._retired: set[str] = set()
        for entry in entries:
            self._follow(entry)
        if not self.entries:
            raise PeopleError("a directory of people has at least one entry")

    @classmethod
    def load(cls, path: Path) -> Directory:
        """Read and check a file. Raises StoreError if it is missing or damaged, PeopleError if it is not in order."""
        try:
            data = path.read_bytes()[: DIRECTORY_BYTES + 1]
        except OSError as error:
            raise StoreError(
                f"{path}: the {_WHAT} cannot be read: {error.strerror}", hint="begin one: keywright person begin"
            ) from error
        try:
            file = msgspec.json.decode(data, type=_File)
        except (msgspec.DecodeError, RecursionError) as error:
            raise StoreError(f"{path}: not a {_WHAT}, or damaged", hint="restore it from a backup") from error
        try:
            return cls(file.entries)
        except PeopleError as error:
            raise PeopleError(f"{path}: {error}", hint=error.hint or "restore it from a backup") from error

    @classmethod
    def begin(cls, administrator: Person, key: PersonKey, *, at_ms: int) -> Directory:
        """A directory with its first administrator, who signs for themselves. Raises PeopleError."""
        entry = Entry("begin", administrator, "", at_ms)
        return cls([_sealed(entry, [key])])

    def changed(
        self, change: Literal["add", "change", "retire"], person: Person, keys: Iterable[PersonKey], *, at_ms: int
    ) -> Directory:
        """The directory after one more change, signed with the keys of administrators. Raises PeopleError.

        `add` brings a new name, `change` gives a name other roles, groups or another key, `retire` ends it for good.
        """
        entry = Entry(change, person, self.head, at_ms)
        return Directory([*self.entries, _sealed(entry, keys)])

    def save(self, path: Path) -> None:
        """Write the file durably. Raises StoreError if the one that is there is not an earlier state of this one."""
        data = msgspec.json.format(msgspec.json.encode(_File("keywright people", 1, self.entries)), indent=1) + b"\n"
        if not path.exists():
            write_new(path, _WHAT, data, READABLE)
            return
        present = Directory.load(path).entries
        if self.entries[: len(present)] != present:
            raise StoreError(f"{path}: has changed meanwhile, or is another {_WHAT}", hint="look at it, then try again")
        replace_file(path, _WHAT, data, READABLE)

    @property
    def id(self) -> str:
        """SHA-256 of the first entry as hex: which directory this is."""
        return self.entries[0].identity()

    @property
    def head(self) -> str:
        """SHA-256 of the last entry as hex: which state of the directory this is."""
        return self.entries[-1].identity()

    def as_of(self, at_ms: int) -> Directory:
        """The directory as it was then (ms since 1970, UTC). Raises PeopleError if it had not begun."""
        return Directory(itertools.takewhile(lambda entry: entry.at_ms <= at_ms, self.entries))

    def persons(self) -> tuple[Person, ...]:
        """Everybody who has not retired, by name."""
        return tuple(self._people[name] for name in sorted(self._people))

    def with_role(self, role: Role) -> tuple[Person, ...]:
        """Everybody with that role, by name."""
        return tuple(person for person in self.persons() if role in person.roles)

    def person(self, name: str) -> Person:
        """The person of that name. Raises PeopleError if there is none, or they have retired."""
        try:
            return self._people[name]
        except KeyError:
            raise PeopleError(
                f"{name!r} {'has retired' if name in self._retired else 'is not in the directory of people'}",
                hint=f"people in it: {', '.join(sorted(self._people)) or 'none'}",
            ) from None

    def require(self, name: str, roles: str | Iterable[str]) -> Person:
        """The person of that name. Raises PeopleError unless they have one of the roles."""
        wanted = (roles,) if isinstance(roles, str) else tuple(roles)
        person = self.person(name)
        if not person.has(wanted):
            raise PeopleError(
                f"{name} is {' and '.join(person.roles) or 'without a role'}, not {' or '.join(wanted)}",
                hint="ask: " + (", ".join(p.name for p in self.persons() if p.has(wanted)) or "nobody has that role"),
            )
        return person

    def of_key(self, key: PersonKey) -> Person:
        """The person whose key this is. Raises PeopleError if the directory has another key for that name."""
        person = self.person(key.name)
        if person.public_key != key.public:
            raise PeopleError(
                f"the directory has another key for {key.name}", hint="use that person's present key file"
            )
        return person

    def check_apart(self, names: Iterable[str]) -> None:
        """Raise PeopleError if two of these are one person, or stand in one conflict group (custodians of a key)."""
        seen: list[Person] = []
        for name in names:
            person = self.person(name)
            for other in seen:
                check_two(other, person)
            seen.append(person)

    def _follow(self, entry: Entry) -> None:
        expected = self.entries[-1].identity() if self.entries else ""
        if entry.previous != expected or (entry.change == "begin") == bool(self.entries):
            raise PeopleError(f"entry {len(self.entries)} does not follow the one before")
        _CHECKS[entry.change](self, entry.person)
        people = dict(self._people)
        if entry.change == "retire":
            del people[entry.person.name]
        else:
            check_person(entry.person)
            people[entry.person.name] = entry.person
            _check_keys(people.values())
        if not any("administrator" in person.roles for person in people.values()):
            raise PeopleError(f"entry {len(self.entries)} leaves no administrator", hint="add another one first")
        self._check_seals(entry, self._people or people)
        self._people = people
        if entry.change == "retire":
            self._retired.add(entry.person.name)
        self.entries = (*self.entries, entry)

    def _check_seals(self, entry: Entry, people: Mapping[str, Person]) -> None:
        """By who was an administrator before the entry."""
        administrators = {name: person for name, person in people.items() if "administrator" in person.roles}
        signers = {seal.person for seal in entry.seals}
        if strangers := signers - set(administrators):
            raise PeopleError(f"{', '.join(sorted(strangers))}: no administrator, so cannot change the directory")
        needed = min(_BOTH, len(administrators))
        if len(signers) < needed or len(signers) != len(entry.seals):
            raise PeopleError(
                f"{entry.change} {entry.person.name}: {len(signers)} of {needed} administrators signed",
                hint=f"administrators: {', '.join(sorted(administrators))}",
            )
        for seal in entry.seals:
            try:
                verify_ed25519(administrators[seal.person].public_key, seal.signature, entry.content())
            except AuthenticationError as error:
                raise PeopleError(f"entry {len(self.entries)}: the signature of {seal.person} does not hold") from error

    def _check_new(self, person: Person) -> None:
        if person.name in self._people or person.name in self._retired:
            raise PeopleError(f"{person.name} is or was in the directory already", hint="a name is never used again")

    def _check_there(self, person: Person) -> None:
        self.person(person.name)

    def _check_first(self, person: Person) -> None:
        if "administrator" not in person.roles:
            raise PeopleError(
                f"{person.name} is no administrator", hint="the first person of a directory has to be one"
            )


_CHECKS: Final[dict[str, Callable[[Directory, Person], None]]] = {
    "begin": Directory._check_first,  # noqa: SLF001 - a table of the class's own checks
    "add": Directory._check_new,  # noqa: SLF001 - as above
    "change": Directory._check_there,  # noqa: SLF001 - as above
    "retire": Directory._check_there,  # noqa: SLF001 - as above
}


def check_person(person: Person) -> None:
    """Raise PeopleError for roles that exclude each other, or named twice."""
    if len(set(person.roles)) != len(person.roles):
        raise PeopleError(f"{person.name} has a role twice")
    for one, other in ALWAYS_APART:
        if {one, other} <= set(person.roles):
            raise PeopleError(f"{person.name} cannot be {one} and {other}", hint="these roles exclude each other")


def check_two(one: Person, other: Person) -> None:
    """Raise PeopleError unless these are two persons, and in no conflict group together."""
    if one.name == other.name or one.public_key == other.public_key:
        raise PeopleError(f"{other.name} cannot act twice in this", hint="two persons are needed")
    if shared := set(one.groups) & set(other.groups):
        raise PeopleError(
            f"{one.name} and {other.name} are both in the conflict group {', '.join(sorted(shared))}",
            hint="ask somebody outside that group",
        )


def check_key_duties(duties: Mapping[str, Iterable[str]]) -> None:
    """Raise PeopleError if one person has two duties for the same key that exclude each other; by person's name."""
    for name, held in duties.items():
        for pair in APART_FOR_ONE_KEY:
            if set(pair) <= set(held):
                raise PeopleError(
                    f"{name} cannot be {pair[0]} and {pair[1]} of the same key", hint="ask another person"
                )


def _check_keys(people: Iterable[Person]) -> None:
    owners: dict[bytes, str] = {}
    for person in people:
        if (other := owners.setdefault(person.public_key, person.name)) != person.name:
            raise PeopleError(
                f"{other} and {person.name} have the same key", hint="every person has a key of their own"
            )


def _sealed(entry: Entry, keys: Iterable[PersonKey]) -> Entry:
    seals = tuple(Seal(key.name, key.sign(entry.content())) for key in keys)
    return msgspec.structs.replace(entry, seals=seals)
