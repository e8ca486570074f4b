"""The directory of people: who is in it, who let them in, and what excludes what."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from keywright.errors import PolicyError, StoreError
from keywright.production.people import people
from keywright.production.people.people import (
    ALWAYS_APART,
    ROLES,
    Directory,
    Entry,
    PeopleError,
    Person,
    check_key_duties,
    check_person,
)
from support.people import CREW, NOW, directory, key, person


@pytest.fixture(scope="module")
def crew() -> Directory:
    return directory()


@pytest.fixture
def path(crew: Directory, tmp_path: Path) -> Path:
    crew.save(tmp_path / "people.json")
    return tmp_path / "people.json"


def test_a_directory_is_the_same_when_it_is_read_again(crew: Directory, path: Path) -> None:
    again = Directory.load(path)
    assert again.persons() == crew.persons()
    assert (again.id, again.head) == (crew.id, crew.head)
    assert [one.name for one in again.persons()] == sorted(CREW)
    assert [one.name for one in again.with_role("custodian")] == ["carl", "cleo", "cora"]
    assert again.person("kim").public_key == key("kim").public
    assert path.stat().st_mode & 0o777 & ~0o644 == 0


def test_a_person_is_found_by_key_and_role(crew: Directory) -> None:
    assert crew.of_key(key("sam")).name == "sam"
    assert crew.require("sam", "supervisor").name == "sam"
    assert crew.require("sam", ("operator", "supervisor")).name == "sam"
    with pytest.raises(PeopleError, match="olga is operator, not supervisor") as refused:
        crew.require("olga", "supervisor")
    assert refused.value.hint == "ask: sam, sid, sue"
    with pytest.raises(PeopleError, match="'eve' is not in the directory"):
        crew.person("eve")
    with pytest.raises(PeopleError, match="another key for sam"):
        crew.of_key(type(key("sam"))("sam", key("sue")._key))


def test_the_first_person_has_to_be_an_administrator() -> None:
    with pytest.raises(PeopleError, match="sam is no administrator"):
        Directory.begin(person("sam"), key("sam"), at_ms=NOW)
    with pytest.raises(PeopleError, match="at least one entry"):
        Directory([])


def test_one_administrator_adds_alone_until_there_is_a_second() -> None:
    made = Directory.begin(person("ada"), key("ada"), at_ms=NOW)
    made = made.changed("add", person("sam"), [key("ada")], at_ms=NOW)
    made = made.changed("add", person("alan"), [key("ada")], at_ms=NOW)
    for alone in (["ada"], ["alan"], ["ada", "ada"]):
        with pytest.raises(PeopleError, match="1 of 2 administrators signed"):
            made.changed("add", person("sue"), map(key, alone), at_ms=NOW)
    assert made.changed("add", person("sue"), [key("alan"), key("ada")], at_ms=NOW).person("sue") == person("sue")


def test_nobody_else_changes_the_directory(crew: Directory) -> None:
    with pytest.raises(PeopleError, match="sam: no administrator"):
        crew.changed("add", person("eve", "operator"), [key("ada"), key("alan"), key("sam")], at_ms=NOW)
    with pytest.raises(PeopleError, match="0 of 2"):
        crew.changed("add", person("eve", "operator"), [], at_ms=NOW)
    forged = type(key("ada"))("ada", key("eve")._key)
    with pytest.raises(PeopleError, match="the signature of ada does not hold"):
        crew.changed("add", person("eve", "operator"), [forged, key("alan")], at_ms=NOW)


def test_a_new_administrator_does_not_sign_for_their_own_coming() -> None:
    made = Directory.begin(person("ada"), key("ada"), at_ms=NOW)
    with pytest.raises(PeopleError, match="alan: no administrator"):
        made.changed("add", person("alan"), [key("alan")], at_ms=NOW)


@pytest.mark.parametrize(("one", "other"), ALWAYS_APART)
def test_roles_that_exclude_each_other_are_refused_together(crew: Directory, one: str, other: str) -> None:
    eve = person("eve", one, other)  # type: ignore[arg-type]  # roles of the table
    with pytest.raises(PeopleError, match=f"eve cannot be {one} and {other}"):
        crew.changed("add", eve, [key("ada"), key("alan")], at_ms=NOW)


def test_every_pair_of_roles_is_decided_by_the_table() -> None:
    refused = set()
    for one, other in itertools.combinations(ROLES, 2):
        try:
            check_person(person("eve", one, other))
        except PeopleError:
            refused.add(frozenset((one, other)))
    assert refused == {frozenset(("administrator", "auditor"))}
    with pytest.raises(PeopleError, match="role twice"):
        check_person(person("eve", "operator", "operator"))


def test_key_manager_and_custodian_of_one_key_are_two_persons() -> None:
    check_key_duties({"kim": {"key-manager"}, "carl": {"custodian", "witness"}})
    with pytest.raises(PeopleError, match="kim cannot be key-manager and custodian of the same key"):
        check_key_duties({"kim": {"key-manager", "custodian"}, "carl": {"custodian"}})


def test_custodians_of_one_key_are_apart(crew: Directory) -> None:
    crew.check_apart(["carl", "cora"])
    with pytest.raises(PeopleError, match="carl cannot act twice"):
        crew.check_apart(["carl", "cora", "carl"])
    with pytest.raises(PeopleError, match="carl and cleo are both in the conflict group desk"):
        crew.check_apart(["cora", "carl", "cleo"])
    with pytest.raises(PeopleError, match="'eve' is not in"):
        crew.check_apart(["carl", "eve"])


def test_one_key_under_two_names_is_refused(crew: Directory) -> None:
    twin = msgspec.structs.replace(person("sam"), name="samuel")
    with pytest.raises(PeopleError, match="sam and samuel have the same key"):
        crew.changed("add", twin, [key("ada"), key("alan")], at_ms=NOW)


def test_a_name_is_used_once(crew: Directory) -> None:
    both = [key("ada"), key("alan")]
    with pytest.raises(PeopleError, match="sam is or was in the directory"):
        crew.changed("add", person("sam"), both, at_ms=NOW)
    without = crew.changed("retire", person("sam"), both, at_ms=NOW)
    with pytest.raises(PeopleError, match="'sam' has retired"):
        without.person("sam")
    with pytest.raises(PeopleError, match="sam is or was in the directory"):
        without.changed("add", person("sam"), both, at_ms=NOW)
    with pytest.raises(PeopleError, match="'sam' has retired"):
        without.changed("change", person("sam"), both, at_ms=NOW)


def test_roles_change_by_an_entry_of_their_own(crew: Directory) -> None:
    changed = crew.changed("change", person("olga", "operator", "supervisor"), [key("ada"), key("alan")], at_ms=NOW)
    assert changed.require("olga", "supervisor").name == "olga"
    assert changed.id == crew.id
    assert changed.head != crew.head


def test_the_last_administrator_stays() -> None:
    made = Directory.begin(person("ada"), key("ada"), at_ms=NOW)
    with pytest.raises(PeopleError, match="leaves no administrator"):
        made.changed("retire", person("ada"), [key("ada")], at_ms=NOW)
    with pytest.raises(PeopleError, match="leaves no administrator"):
        made.changed("change", person("ada", "operator"), [key("ada")], at_ms=NOW)


def _edit(path: Path, change: Callable[[list[dict[str, Any]]], object]) -> None:
    document = json.loads(path.read_text())
    change(document["entries"])
    path.write_text(json.dumps(document))


def _grant(entries: list[dict[str, Any]]) -> None:
    entry = next(entry for entry in entries if entry["person"]["name"] == "olga")
    entry["person"]["roles"].append("key-manager")


@pytest.mark.parametrize(
    "change",
    [
        _grant,
        lambda entries: entries.pop(0),
        lambda entries: entries.pop(4),
        lambda entries: entries.insert(5, entries.pop(4)),
        lambda entries: entries.insert(5, entries[4]),
        lambda entries: entries[3].update(at_ms=1),
        lambda entries: entries[3].update(seals=entries[3]["seals"][:1]),
        lambda entries: entries[3].update(seals=[entries[3]["seals"][0]] * 2),
        lambda entries: entries[3].update(seals=entries[2]["seals"]),
        lambda entries: entries[3].update(change="change"),
        lambda entries: entries.clear(),
    ],
)
def test_a_directory_that_was_edited_is_refused(path: Path, change: Callable[[list[dict[str, Any]]], object]) -> None:
    _edit(path, change)
    with pytest.raises(PeopleError, match=r"people\.json: "):
        Directory.load(path)


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"format":"keywright people","version":2,"entries":[]}'])
def test_what_is_no_directory_is_refused(path: Path, content: str) -> None:
    path.write_text(content)
    with pytest.raises(StoreError, match="not a directory of people, or damaged"):
        Directory.load(path)
    path.unlink()
    with pytest.raises(StoreError, match="cannot be read"):
        Directory.load(path)


def test_a_file_is_only_replaced_by_what_follows_it(crew: Directory, path: Path) -> None:
    both = [key("ada"), key("alan")]
    one = crew.changed("add", person("eve", "operator"), both, at_ms=NOW)
    other = crew.changed("add", person("eva", "operator"), both, at_ms=NOW)
    one.save(path)
    with pytest.raises(StoreError, match="has changed meanwhile"):
        other.save(path)
    assert Directory.load(path).person("eve").roles == ("operator",)


def test_names_that_are_none_are_not_read(path: Path) -> None:
    for name in ("", "Sam", "sam\n", "a b", "-x", "x" * 64):
        with pytest.raises(msgspec.ValidationError):
            msgspec.json.decode(msgspec.json.encode(Entry("add", Person(name, ("operator",)), "", 0)), type=Entry)


def test_a_fingerprint_can_be_read_out() -> None:
    assert person("sam").fingerprint != person("sue").fingerprint
    assert len(person("sam").fingerprint) == 16
    assert issubclass(people.PeopleError, PolicyError)
