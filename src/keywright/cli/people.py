"""`keywright person`: key files of persons, and the directory that says what each may do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import typer

from keywright.cli.options import Json
from keywright.cli.passphrases import By, PassphraseFile, People, new_passphrase, now_ms, opened
from keywright.cli.text import note, say, show_json, table
from keywright.errors import UsageError
from keywright.production.people.people import ROLES, Directory, Person
from keywright.production.people.person_key import card_of, check_name, create_key, read_card
from keywright.production.private_file import READABLE, write_new

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

Name = Annotated[str, typer.Argument(metavar="NAME", help="How the person is called: small letters, digits, . _ -")]
KeyFile = Annotated[Path, typer.Option("--key", metavar="KEY", help="The person's key file.")]
Roles = Annotated[
    list[str] | None, typer.Option("--role", metavar="ROLE", help=f"{' '.join(ROLES)}; may be given several times.")
]
Groups = Annotated[
    list[str] | None,
    typer.Option("--group", metavar="GROUP", help="A conflict group: its members do not control each other."),
]


@app.command()
def new(name: Name, *, key: KeyFile, passphrase_file: PassphraseFile = None, json: Json = False) -> None:
    """Make a person's key file, sealed with a passphrase, and beside it a card (KEY.card) for an administrator."""
    check_name(name)
    card = key.with_name(f"{key.name}.card")
    made = create_key(key, name, new_passphrase(name, passphrase_file[0] if passphrase_file else None))
    write_new(card, "card", card_of(made), READABLE)
    fingerprint = Person(name, (), (), made.public).fingerprint
    if json:
        show_json({"name": name, "key": str(key), "card": str(card), "fingerprint": fingerprint})
        return
    say(f"made {key} and {card}, fingerprint {fingerprint}")
    say(f"  {name} keeps {key}; an administrator adds {card} and compares the fingerprint")


@app.command()
def begin(
    *, people: People, by: By, group: Groups = None, passphrase_file: PassphraseFile = None, json: Json = False
) -> None:
    """Begin a directory with its first administrator, who signs alone. Keep its id: it says which directory it is."""
    if len(by) != 1 or people.exists():
        raise UsageError(f"{people}: begun by one administrator, once", hint="give one --by, and a new file")
    (key,) = opened(by, passphrase_file)
    administrator = Person(key.name, ("administrator",), tuple(group or ()), key.public)
    directory = Directory.begin(administrator, key, at_ms=now_ms())
    directory.save(people)
    _told(directory, people, as_json=json)


@app.command()
def add(
    card: Annotated[Path, typer.Argument(metavar="CARD", help="The card of the person.")],
    *,
    people: People,
    by: By,
    role: Roles = None,
    group: Groups = None,
    passphrase_file: PassphraseFile = None,
    json: Json = False,
) -> None:
    """Add a person. It takes two administrators (--by twice) as soon as there are two."""
    found = read_card(card)
    person = _person(found.name, role, group, found.public_key)
    _change("add", person, people, by, passphrase_file, as_json=json)


@app.command()
def change(
    name: Name,
    *,
    people: People,
    by: By,
    role: Roles = None,
    group: Groups = None,
    card: Annotated[Path | None, typer.Option("--card", metavar="CARD", help="A new key of the person.")] = None,
    passphrase_file: PassphraseFile = None,
    json: Json = False,
) -> None:
    """Give a person other roles, other groups or another key; what is not given stays."""
    old = Directory.load(people).person(name)
    public_key = old.public_key if card is None else read_card(card).public_key
    if card is not None and read_card(card).name != name:
        raise UsageError(f"{card}: the card of {read_card(card).name}, not of {name}")
    person = _person(name, role or list(old.roles), list(old.groups) if group is None else group, public_key)
    _change("change", person, people, by, passphrase_file, as_json=json)


@app.command()
def retire(name: Name, *, people: People, by: By, passphrase_file: PassphraseFile = None, json: Json = False) -> None:
    """Take all rights from a person, for good; the name is never used again."""
    _change("retire", Directory.load(people).person(name), people, by, passphrase_file, as_json=json)


@app.command("list")
def list_(*, people: People, json: Json = False) -> None:
    """Show who is in a directory, after checking every signature in it."""
    _told(Directory.load(people), people, as_json=json)


def _person(name: str, roles: list[str] | None, groups: list[str] | None, public_key: bytes) -> Person:
    for group in groups or ():
        check_name(group)
    if wrong := set(roles or ()) - set(ROLES):
        raise UsageError(f"--role {', '.join(sorted(wrong))}: no such role", hint=f"roles: {' '.join(ROLES)}")
    if not roles:
        raise UsageError(f"{name} gets no role", hint=f"give --role: {' '.join(ROLES)}")
    held = {"name": name, "roles": roles, "groups": groups or [], "public_key": public_key}
    return msgspec.convert(held, Person)


def _change(
    kind: Literal["add", "change", "retire"],
    person: Person,
    people: Path,
    by: list[Path],
    files: list[Path] | None,
    *,
    as_json: bool,
) -> None:
    directory = Directory.load(people)
    note(f"{kind} {person.name} ({', '.join(person.roles)}), key {person.fingerprint}")
    changed = directory.changed(kind, person, opened(by, files), at_ms=now_ms())
    changed.save(people)
    _told(changed, people, as_json=as_json)


def _told(directory: Directory, path: Path, *, as_json: bool) -> None:
    if as_json:
        show_json(_document(directory, path))
        return
    say(f"{path}, directory {directory.id}")
    rows = [(p.name, " ".join(p.roles), " ".join(p.groups), p.fingerprint) for p in directory.persons()]
    for line in table(("name", "roles", "groups", "key"), rows):
        say(line)
    say(f"  last change {directory.head}")


def _document(directory: Directory, path: Path) -> dict[str, Any]:
    persons = [
        {"name": p.name, "roles": list(p.roles), "groups": list(p.groups), "fingerprint": p.fingerprint}
        for p in directory.persons()
    ]
    return {"file": str(path), "id": directory.id, "head": directory.head, "people": persons}
