"""`keywright person`: key files, cards, and the directory of people."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from keywright.production.people import person_key
from support.commands import Keywright, Program
from support.people import cheap

SECRET = "correct horse battery"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(person_key.create_key, "__defaults__", (os.urandom, cheap))


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text(f"{SECRET}\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def made(keywright: Keywright, tmp_path: Path, secret: Path) -> Path:
    """A directory with one administrator; cards of others beside it."""
    for name in ("ada", "alan", "sam"):
        assert keywright("person", "new", name, "--key", tmp_path / name, "--passphrase-file", secret).code == 0
    people = tmp_path / "people.json"
    ran = keywright("person", "begin", "--people", people, "--by", tmp_path / "ada", "--passphrase-file", secret)
    assert ran.code == 0
    return people


def test_two_administrators_sign_for_a_third_person(
    keywright: Keywright, made: Path, tmp_path: Path, secret: Path
) -> None:
    signed = ("--people", made, "--passphrase-file", secret, "--by", tmp_path / "ada")
    assert keywright("person", "add", tmp_path / "alan.card", "--role", "administrator", *signed).code == 0
    alone = keywright("person", "add", tmp_path / "sam.card", "--role", "supervisor", *signed)
    assert alone.code == 5
    assert "1 of 2 administrators signed" in alone.err
    second = ("--by", tmp_path / "alan", "--passphrase-file", secret)
    both = keywright(
        "person", "add", tmp_path / "sam.card", "--role", "supervisor", "--group", "shift-a", *signed, *second, "--json"
    )
    document = json.loads(both.out)
    sam = next(one for one in document["people"] if one["name"] == "sam")
    assert (sam["roles"], sam["groups"]) == (["supervisor"], ["shift-a"])
    more = keywright("person", "change", "sam", "--role", "operator", "--role", "supervisor", *signed, *second)
    assert more.code == 0
    assert "operator supervisor" in keywright("person", "list", "--people", made).out
    assert keywright("person", "retire", "sam", *signed, *second).code == 0
    assert "sam" not in keywright("person", "list", "--people", made).out
    assert len(json.loads(keywright("person", "list", "--people", made, "--json").out)["people"]) == 2


def test_what_cannot_be_is_said(keywright: Keywright, made: Path, tmp_path: Path, secret: Path) -> None:
    signed = ("--people", made, "--passphrase-file", secret, "--by", tmp_path / "ada")
    for words, text in (
        (("begin", *signed), "begun by one administrator, once"),
        (("add", tmp_path / "sam.card", *signed), "sam gets no role"),
        (("add", tmp_path / "sam.card", "--role", "king", *signed), "no such role"),
        (("add", tmp_path / "sam.card", "--role", "operator", "--group", "A", *signed), "cannot be a name"),
        (("change", "sam", *signed), "is not in the directory"),
        (("change", "ada", "--card", tmp_path / "sam.card", *signed), "the card of sam, not of ada"),
        (("new", "Sam", "--key", tmp_path / "k"), "cannot be a name"),
    ):
        ran = keywright("person", *words)
        assert ran.code in (2, 5), words
        assert text in ran.err


def test_a_passphrase_is_typed_and_never_an_argument(program: Program, tmp_path: Path) -> None:
    done = program("person", "new", "sam", "--key", tmp_path / "k", stdin=f"{SECRET}\n{SECRET}\n")
    assert done.returncode == 5
    assert "nobody is there to type" in done.stderr
    assert not (tmp_path / "k").exists()


def test_nothing_secret_is_shown(keywright: Keywright, tmp_path: Path, secret: Path) -> None:
    ran = keywright("person", "new", "sam", "--key", tmp_path / "k", "--passphrase-file", secret, "--json")
    assert set(json.loads(ran.out)) == {"name", "key", "card", "fingerprint"}
    assert SECRET not in ran.out + ran.err
    assert (tmp_path / "k").stat().st_mode & 0o777 == 0o600
