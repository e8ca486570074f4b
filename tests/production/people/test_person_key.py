"""A person's key file: sealed with a passphrase, and shut after too many wrong ones."""

from __future__ import annotations

import json
import pickle
import threading
from pathlib import Path

import pytest

from keywright.crypto.curve25519 import verify_ed25519
from keywright.errors import AuthenticationError, KeywrightError, PolicyError, StoreError, UsageError
from keywright.production.people.person_key import (
    LOCKED_MS,
    MAX_TRIES,
    card_of,
    create_key,
    name_of,
    open_key,
    read_card,
)
from support.people import NOW, PASSPHRASE, cheap, counting, key


def right() -> bytes:
    return PASSPHRASE


def wrong() -> bytes:
    return b"incorrect horse battery"


def nobody() -> bytes:
    raise AssertionError("asked although the file is shut")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    create_key(tmp_path / "sam.key", "sam", PASSPHRASE, counting(), cheap)
    return tmp_path / "sam.key"


def test_a_key_opens_again_with_its_passphrase(path: Path) -> None:
    key = open_key(path, right, at_ms=NOW)
    verify_ed25519(key.public, key.sign(b"text"), b"text")
    assert key.name == name_of(path) == "sam"
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_guess_costs_what_the_standard_recommends(tmp_path: Path) -> None:
    made = create_key(tmp_path / "sue.key", "sue", PASSPHRASE)
    cost = json.loads((tmp_path / "sue.key").read_bytes())["argon2id"]
    assert (cost["memory_kib"], cost["iterations"], cost["lanes"]) == (64 * 1024, 3, 4)  # RFC 9106 4
    assert open_key(tmp_path / "sue.key", right, at_ms=NOW).public == made.public


def test_a_key_does_not_show_or_pickle_itself(path: Path) -> None:
    key = open_key(path, right, at_ms=NOW)
    assert repr(key) == "<key of sam>"
    with pytest.raises(TypeError):
        pickle.dumps(key)


@pytest.mark.parametrize("passphrase", [b"", b"eleven char", "äöüäöüäöüäö".encode()])
def test_a_passphrase_has_twelve_characters_at_least(tmp_path: Path, passphrase: bytes) -> None:
    with pytest.raises(PolicyError, match="too short"):
        create_key(tmp_path / "k", "sam", passphrase)
    assert not list(tmp_path.iterdir())
    longer = passphrase.ljust(len(passphrase) + 12, b"x")
    assert create_key(tmp_path / "k", "sam", longer, cost=cheap).name == "sam"


def test_a_name_is_small_letters(tmp_path: Path) -> None:
    for name in ("", "Sam", "sam\n", "../sam", "s" * 64):
        with pytest.raises(UsageError, match="cannot be a name"):
            create_key(tmp_path / "k", name, PASSPHRASE)


def test_a_key_file_is_never_overwritten(path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(StoreError, match="never overwritten"):
        create_key(path, "sam", PASSPHRASE)
    assert path.read_bytes() == before


def test_six_wrong_tries_shut_the_file_for_half_an_hour(path: Path) -> None:
    for n in range(MAX_TRIES):
        with pytest.raises(AuthenticationError) as refused:
            open_key(path, wrong, at_ms=NOW + n)
        left = MAX_TRIES - n - 1
        assert refused.value.hint == (f"{left} more tries" if left else "the file stays shut for 30 minutes")
    last = NOW + MAX_TRIES - 1
    for at_ms in (last, last + LOCKED_MS - 1):
        with pytest.raises(PolicyError, match="shut after 6 wrong"):
            open_key(path, nobody, at_ms=at_ms)
    assert open_key(path, right, at_ms=last + LOCKED_MS).name == "sam"


def test_after_the_half_hour_six_more_tries_shut_it_again(path: Path) -> None:
    for n in range(MAX_TRIES):
        with pytest.raises(AuthenticationError):
            open_key(path, wrong, at_ms=NOW + n)
    later = NOW + 2 * LOCKED_MS
    for n in range(MAX_TRIES):
        with pytest.raises(AuthenticationError):
            open_key(path, wrong, at_ms=later + n)
    with pytest.raises(PolicyError, match="shut after 6 wrong"):
        open_key(path, nobody, at_ms=later + MAX_TRIES)


def test_the_right_passphrase_begins_the_count_anew(path: Path) -> None:
    for _ in range(2):
        for n in range(MAX_TRIES - 1):
            with pytest.raises(AuthenticationError):
                open_key(path, wrong, at_ms=NOW + n)
        assert open_key(path, right, at_ms=NOW).name == "sam"


def test_a_try_is_counted_before_it_is_made(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("keywright.production.people.person_key.open_gcm", killed)
    with pytest.raises(KeyboardInterrupt):
        open_key(path, wrong, at_ms=NOW)
    assert json.loads(path.with_name("sam.key.tries").read_text())["wrong"] == 1


def test_tries_at_the_same_time_are_counted_one_by_one(path: Path) -> None:
    met: list[str] = []

    def attempt() -> None:
        try:
            open_key(path, wrong, at_ms=NOW)
        except KeywrightError as error:
            met.append(error.code)

    threads = [threading.Thread(target=attempt) for _ in range(MAX_TRIES + 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(met) == ["authentication"] * MAX_TRIES + ["policy"] * 4


def test_a_damaged_count_does_not_open_the_file(path: Path) -> None:
    path.with_name("sam.key.tries").write_text("{")
    with pytest.raises(StoreError, match="count of wrong tries is damaged"):
        open_key(path, nobody, at_ms=NOW)


@pytest.mark.parametrize("field", ["name", "public_key", "secret", "nonce"])
def test_a_changed_file_does_not_open(path: Path, field: str) -> None:
    other = path.with_name("sue.key")
    create_key(other, "sue", PASSPHRASE, counting(7), cheap)
    document = json.loads(path.read_text())
    document[field] = json.loads(other.read_text())[field]
    path.write_text(json.dumps(document))
    with pytest.raises(AuthenticationError, match="another passphrase, or damaged"):
        open_key(path, right, at_ms=NOW)


def test_what_is_no_key_file_is_refused_without_asking(path: Path, tmp_path: Path) -> None:
    path.write_text("{}")
    with pytest.raises(StoreError, match="not a key file of a person"):
        open_key(path, nobody, at_ms=NOW)
    with pytest.raises(StoreError, match="there is no key file"):
        open_key(tmp_path / "none", nobody, at_ms=NOW)


def test_a_file_that_others_may_read_is_refused(path: Path) -> None:
    path.chmod(0o644)
    with pytest.raises(PolicyError, match="may be read or written by others"):
        open_key(path, nobody, at_ms=NOW)


def test_where_tries_cannot_be_counted_nothing_is_tried(path: Path) -> None:
    path.with_name("sam.key.tries.lock").mkdir()
    with pytest.raises(StoreError, match="cannot be counted"):
        open_key(path, right, at_ms=NOW)


def test_a_card_shows_that_its_owner_has_the_key(tmp_path: Path) -> None:
    path = tmp_path / "sam.card"
    path.write_bytes(card_of(key("sam")))
    assert (read_card(path).name, read_card(path).public_key) == ("sam", key("sam").public)
    document = json.loads(path.read_text())
    for field, value in (("name", "sue"), ("public_key", json.loads(card_of(key("sue")))["public_key"])):
        path.write_text(json.dumps(document | {field: value}))
        with pytest.raises(AuthenticationError):
            read_card(path)
    path.write_text("{}")
    with pytest.raises(StoreError, match="no card of a person"):
        read_card(path)
    path.unlink()
    with pytest.raises(StoreError, match="cannot be read"):
        read_card(path)
