"""`keywright keystore`: two private files, and no key on the screen."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.commands import Keywright, Program


@pytest.fixture
def made(keywright: Keywright, tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    assert keywright("keystore", "new", path).code == 0
    return path


def test_new_makes_keystore_and_unlock_key_as_private_files(made: Path) -> None:
    for path in (made, made.with_name("keys.unlock")):
        assert path.stat().st_mode & 0o777 == 0o600


def test_new_says_test_and_to_keep_both_files(keywright: Keywright, tmp_path: Path) -> None:
    ran = keywright("keystore", "new", tmp_path / "k")
    assert "TEST keystore" in ran.out
    assert "keep a copy of both files" in ran.out


def test_new_never_overwrites(keywright: Keywright, made: Path) -> None:
    before = made.read_bytes()
    ran = keywright("keystore", "new", made)
    assert ran.code == 1
    assert "never overwritten" in ran.err
    assert made.read_bytes() == before


def test_show_lists_names_and_check_values_and_no_key(keywright: Keywright, made: Path) -> None:
    ran = keywright("keystore", "show", made, "--json")
    facts = json.loads(ran.out)
    assert facts["test"] is True
    assert {key["name"] for key in facts["keys"]} >= {"issuer", "gp-test", "device-ca"}
    assert set(facts["keys"][0]) == {"name", "purpose", "algorithm", "check", "test"}
    shown = keywright("keystore", "show", made).out
    unlock = made.with_name("keys.unlock").read_text().strip()
    assert "issuer" in shown
    assert unlock not in shown + ran.out
    assert "404142434445464748494a4b4c4d4e4f" not in (shown + ran.out).lower()


def test_show_tells_states_periods_and_check_values_with_their_rules(keywright: Keywright, made: Path) -> None:
    registry = json.loads(keywright("keystore", "show", made, "--json").out)["registry"]
    by_name = {entry["name"]: entry for entry in registry}
    assert len(by_name) == len(registry)
    issuer, factory = by_name["issuer"], by_name["gp-test"]
    assert (issuer["name"], issuer["usage"], issuer["state"], issuer["environment"]) == (
        "issuer",
        "E5",
        "active",
        "test",
    )
    assert issuer["originate_until"] - issuer["created"] == 2 * 365 * 86_400
    assert factory["checks"] == ["aes-ones 504A77"] * 3
    shown = keywright("keystore", "show", made).out
    assert "new until" in shown
    assert "aes-ones 504A77 504A77 504A77" in shown


def test_a_scheme_may_stand_before_the_path(keywright: Keywright, made: Path) -> None:
    assert keywright("keystore", "show", f"software:{made}").code == 0
    assert keywright("keystore", "show", "pkcs11:?token=x").code == 2


def test_an_unlock_key_elsewhere(keywright: Keywright, tmp_path: Path) -> None:
    assert keywright("keystore", "new", tmp_path / "k", "--unlock", tmp_path / "u").code == 0
    assert not (tmp_path / "k.unlock").exists()
    assert keywright("keystore", "show", tmp_path / "k").code == 1
    assert keywright("keystore", "show", tmp_path / "k", "--unlock", tmp_path / "u").code == 0


def test_a_passphrase_needs_somebody_to_type_it(program: Program, tmp_path: Path) -> None:
    done = program("keystore", "new", tmp_path / "k", "--passphrase", stdin="secret\nsecret\n")
    assert done.returncode == 5
    assert "use an unlock file" in done.stderr
    assert not (tmp_path / "k").exists()


def test_a_passphrase_is_asked_for_and_opens_the_keystore(
    keywright: Keywright, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("keywright.cli.unlock.ask_passphrase", lambda *_, **__: b"correct horse")
    assert keywright("keystore", "new", tmp_path / "k", "--passphrase").code == 0
    assert keywright("keystore", "show", tmp_path / "k", "--passphrase").code == 0
    monkeypatch.setattr("keywright.cli.unlock.ask_passphrase", lambda *_, **__: b"wrong horse")
    ran = keywright("keystore", "show", tmp_path / "k", "--passphrase")
    assert ran.code != 0
    assert "horse" not in ran.err


def test_one_way_to_unlock_at_a_time(keywright: Keywright, tmp_path: Path) -> None:
    ran = keywright("keystore", "new", tmp_path / "k", "--passphrase", "--unlock", tmp_path / "u")
    assert ran.code == 2


def test_a_keystore_that_is_not_there(keywright: Keywright, tmp_path: Path) -> None:
    ran = keywright("keystore", "show", tmp_path / "k")
    assert ran.code == 1
    assert ran.err.startswith("keywright: ")
