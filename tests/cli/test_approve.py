"""`keywright approve`: what is signed is shown first, and who may not sign is told so."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from keywright.production.people import approval_file
from keywright.production.people.approvals import Approval, Operation, recorded, request
from keywright.production.people.people import Directory, Person, Role
from keywright.production.people.person_key import PersonKey, create_key
from support.commands import Keywright
from support.lots import made_up, order
from support.people import PASSPHRASE, cheap, counting

REPRINT = Operation("label.reprint", "lot-1", {"units": ["KW-F1-000001"], "why": "torn"})


class Crew:
    """Three persons with key files, in a directory, and the present time."""

    def __init__(self, place: Path) -> None:
        self.people = place / "people.json"
        self.secret = place / "secret"
        self.secret.write_bytes(PASSPHRASE)
        self.secret.chmod(0o600)
        self.at_ms = time.time_ns() // 1_000_000
        roles: dict[str, tuple[Role, ...]] = {"ada": ("administrator",), "olga": ("operator",), "sam": ("supervisor",)}
        self.keys: dict[str, PersonKey] = {}
        for n, name in enumerate(roles):
            self.keys[name] = create_key(place / name, name, PASSPHRASE, counting(n * 50), cheap)
        made = [Person(name, held, (), self.keys[name].public) for name, held in roles.items()]
        self.directory = Directory.begin(made[0], self.keys["ada"], at_ms=self.at_ms)
        for one in made[1:]:
            self.directory = self.directory.changed("add", one, [self.keys["ada"]], at_ms=self.at_ms)
        self.directory.save(self.people)

    def asked(self, ago_ms: int = 0) -> Approval:
        at_ms = self.at_ms - ago_ms
        return request(REPRINT, self.keys["olga"], self.directory, at_ms=at_ms, rng=counting(7))

    def sign(self, place: Path, name: str) -> tuple[object, ...]:
        return ("--people", self.people, "--passphrase-file", self.secret, "--by", place / name)


@pytest.fixture
def crew(tmp_path: Path) -> Crew:
    return Crew(tmp_path)


@pytest.fixture
def store(crew: Crew, tmp_path: Path) -> Path:
    with made_up(tmp_path / "lot.db", order(2)) as opened:
        opened.commit(recorded(crew.asked()))
    return tmp_path / "lot.db"


def test_what_is_signed_is_shown_in_words_and_signed(
    keywright: Keywright, crew: Crew, store: Path, tmp_path: Path
) -> None:
    approval = crew.asked().id
    ran = keywright("approve", "sign", approval, "--store", store, "--yes", *crew.sign(tmp_path, "sam"))
    assert ran.code == 0, ran.err
    assert ran.out == f"signed {approval}: approved\n"
    words = " ".join(ran.err.split())
    for text in ("to print labels again", "object lot-1", '["KW-F1-000001"]', "why torn", "asked by olga"):
        assert text in words
    assert REPRINT.digest.hex() in words
    shown = json.loads(keywright("approve", "show", approval, "--store", store, "--json").out)
    assert (shown["approved_by"], shown["state"]) == (["sam"], "approved")
    assert "approved" in keywright("approve", "list", "--store", store).out
    again = keywright("approve", "sign", approval, "--store", store, "--yes", *crew.sign(tmp_path, "sam"))
    assert again.code == 5
    assert "sam cannot act twice" in again.err


@pytest.mark.parametrize(("name", "text"), [("olga", "olga is operator, not supervisor"), ("ada", "ada is admin")])
def test_who_may_not_sign_is_told_so(
    keywright: Keywright, crew: Crew, store: Path, tmp_path: Path, name: str, text: str
) -> None:
    words = ("approve", "sign", crew.asked().id, "--store", store, "--yes", *crew.sign(tmp_path, name))
    ran = keywright(*words)
    assert ran.code == 5
    assert text in ran.err
    assert json.loads(keywright("approve", "list", "--store", store, "--json").out)[0]["approved_by"] == []


def test_nobody_at_the_terminal_signs_nothing(keywright: Keywright, crew: Crew, store: Path, tmp_path: Path) -> None:
    ran = keywright("approve", "sign", crew.asked().id, "--store", store, *crew.sign(tmp_path, "sam"))
    assert ran.code == 5
    assert "not signed" in ran.err


def test_a_file_is_signed_too(keywright: Keywright, crew: Crew, tmp_path: Path) -> None:
    path = tmp_path / "approval"
    approval_file.write(path, crew.asked())
    assert keywright("approve", "sign", path, "--yes", *crew.sign(tmp_path, "sam")).code == 0
    assert json.loads(keywright("approve", "show", path, "--json").out)["state"] == "approved"
    approval_file.use(path, REPRINT, crew.directory, at_ms=crew.at_ms)
    assert json.loads(keywright("approve", "show", path, "--json").out)["state"] == "used"
    ran = keywright("approve", "sign", path, "--yes", *crew.sign(tmp_path, "sam"))
    assert "has been used" in ran.err


def test_what_is_too_old_is_not_signed(keywright: Keywright, crew: Crew, tmp_path: Path) -> None:
    path = tmp_path / "approval"
    approval_file.write(path, crew.asked(ago_ms=31 * 60_000))
    ran = keywright("approve", "sign", path, "--yes", *crew.sign(tmp_path, "sam"))
    assert ran.code == 5
    assert "has expired" in ran.err
    assert json.loads(keywright("approve", "show", path, "--json").out)["state"] == "expired"


def test_an_approval_that_is_not_there(keywright: Keywright, crew: Crew, store: Path, tmp_path: Path) -> None:
    ran = keywright("approve", "show", "0" * 32, "--store", store)
    assert ran.code == 2
    assert "there is no approval" in ran.err
    assert keywright("approve", "show", tmp_path / "none").code == 1
    two = ("approve", "sign", crew.asked().id, "--store", store, "--yes", *crew.sign(tmp_path, "sam"), "--by", "x")
    assert "one person signs at a time" in keywright(*two).err
