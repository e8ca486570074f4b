"""`keywright key ccc`: owner pairing, opening, sharing, revoking, in one file."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import pytest

from support.commands import Keywright


@pytest.fixture
def garage(tmp_path: pathlib.Path, keywright: Keywright) -> pathlib.Path:
    """A file in which alice is the owner."""
    path = tmp_path / "garage.kw"
    assert keywright("key", "ccc", "pair", path, "alice").code == 0
    return path


def _row(keywright: Keywright, *words: object) -> dict[str, Any]:
    ran = keywright("key", "ccc", *words, "--json")
    assert ran.code == 0, ran.err
    found: dict[str, Any] = json.loads(ran.out)
    return found


def test_wrong_passwords_are_counted_over_runs(tmp_path: pathlib.Path, keywright: Keywright) -> None:
    path = tmp_path / "garage.kw"
    for left in range(6, -1, -1):
        ran = keywright("key", "ccc", "pair", path, "alice", "--wrong")
        assert ran.code == 6
        assert f"{left} attempts left" in ran.err
    ran = keywright("key", "ccc", "pair", path, "alice")
    assert ran.code == 5
    assert "tried 7 times" in ran.err
    ran = keywright("key", "ccc", "pair", path, "alice", "--new-password")
    assert (ran.code, ran.err) == (0, "the vehicle has a new password\n")
    assert "alice is the owner's" in ran.out
    assert keywright("key", "ccc", "pair", path, "bob").code == 5


def test_a_pairing_as_json(tmp_path: pathlib.Path, keywright: Keywright) -> None:
    made = _row(keywright, "pair", tmp_path / "garage.kw", "alice")
    assert (made["device"], made["receipt"], len(made["slot"])) == ("alice", 1, 16)


def test_a_device_opens_and_another_does_not(garage: pathlib.Path, keywright: Keywright) -> None:
    assert _row(keywright, "unlock", garage, "alice")["transaction"] == "standard"
    assert _row(keywright, "unlock", garage, "alice")["transaction"] == "fast"
    assert _row(keywright, "unlock", garage, "alice", "--standard", "--may", "drive")["transaction"] == "standard"
    ran = keywright("key", "ccc", "unlock", garage, "alice")
    assert ran.out.startswith("open (fast transaction, slot ")
    ran = keywright("key", "ccc", "unlock", garage, "mallory")
    assert ran.code == 2
    assert "devices here: alice" in ran.err


def test_a_key_is_shared_shown_and_revoked(garage: pathlib.Path, keywright: Keywright) -> None:
    shared = _row(keywright, "share", garage, "alice", "bob", "--for", "8h", "--may", "unlock,trunk")
    assert (shared["device"], shared["receipt"]) == ("bob", 2)
    told = keywright("key", "ccc", "track", garage).out
    assert "friend  bob" in told
    assert "not seen yet" in told
    assert _row(keywright, "unlock", garage, "bob", "--may", "trunk")["slot"] == shared["slot"]
    rows = [json.loads(line) for line in keywright("key", "ccc", "track", garage, "--json").out.splitlines()]
    assert {row["device"]: (row["role"], row["state"]) for row in rows} == {
        "alice": ("owner", "known to the vehicle"),
        "bob": ("friend", "known to the vehicle"),
    }
    assert keywright("key", "ccc", "unlock", garage, "bob", "--may", "drive").code == 5
    assert _row(keywright, "revoke", garage, "bob")["revoked"] == [shared["slot"]]
    assert keywright("key", "ccc", "unlock", garage, "bob").code == 6
    assert keywright("key", "ccc", "revoke", garage, "bob").code == 2
    assert keywright("key", "ccc", "revoke", garage, "alice").out.startswith("revoked ")
    assert keywright("key", "ccc", "track", garage).out == "no key is registered\n"


def test_what_is_told_in_words(garage: pathlib.Path, keywright: Keywright) -> None:
    ran = keywright("key", "ccc", "share", garage, "alice", "bob")
    assert ran.out.splitlines()[0] == "bob has a key"
    assert _row(keywright, "share", garage, "alice", "carol")["until"] is None


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("unlock", "alice", "--may", "fly"), "no 'fly'"),
        (("share", "alice", "bob", "--for", "8"), "hours or days"),
        (("share", "alice", "bob", "--for", "0h"), "hours or days"),
        (("share", "alice", "bob", "--for", "xd"), "hours or days"),
    ],
)
def test_options_that_say_nothing_usable(
    words: tuple[str, ...], what: str, garage: pathlib.Path, keywright: Keywright
) -> None:
    ran = keywright("key", "ccc", words[0], garage, *words[1:])
    assert ran.code == 2
    assert what in ran.err
