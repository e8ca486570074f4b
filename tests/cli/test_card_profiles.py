"""`--profile` of `element new` and of the verbs of `card`: the kind of card, by name or by file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from keywright.cli.card.options import access
from keywright.cli.card.session import Wish
from keywright.fob.open import open_simulated
from keywright.fob.uri import parse_uri
from keywright.globalplatform.profile import DEFAULT, WALLET, YUBIKEY, CardProfile
from keywright.link.trace import read_trace
from keywright.scp.scp02.profile import DEFAULT as SCP02_CARD
from keywright.scp.scp02.profile import HOST as SCP02_HOST
from support.commands import KeyFile, Keywright

NEW = bytes(range(48))


def made(keywright: Keywright, file: Path, *words: object) -> dict[str, object]:
    ran = keywright("element", "new", file, *words, "--json")
    assert ran.code == 0, ran.err
    told: dict[str, object] = json.loads(ran.out)
    return told


def profile_in(file: Path) -> CardProfile:
    link = open_simulated(parse_uri(f"sim:element?memory={file}"))
    try:
        return link.element.profile
    finally:
        link.close()


def test_a_new_element_keeps_the_profile_that_it_was_made_with(keywright: Keywright, tmp_path: Path) -> None:
    told = made(keywright, tmp_path / "e", "--profile", "wallet")
    assert (told["profile"], told["protocols"]) == ("wallet", [])
    assert profile_in(tmp_path / "e") == WALLET
    assert made(keywright, tmp_path / "usual")["profile"] == "default"
    assert profile_in(tmp_path / "usual") == DEFAULT


@pytest.mark.parametrize(
    ("words", "protocols"), [((), ["11:9B06"]), (("--scp", "02:55"), ["02:55"]), (("--no-resets",), ["11:9B06"])]
)
def test_a_yubikey_offers_scp11_unless_told_otherwise(
    keywright: Keywright, tmp_path: Path, words: tuple[str, ...], protocols: list[str]
) -> None:
    assert made(keywright, tmp_path / "e", "--profile", "yubikey", *words)["protocols"] == protocols
    assert profile_in(tmp_path / "e") == YUBIKEY


def test_a_file_upon_yubikey_is_one_too(keywright: Keywright, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('base = "yubikey"\nscp11.ecka = "sha1"\n', encoding="utf-8")
    assert made(keywright, tmp_path / "e", "--profile", tmp_path / "mine.toml")["protocols"] == ["11:9B06"]
    assert profile_in(tmp_path / "e").scp11.ecka == "sha1"


def test_a_profile_that_is_none_makes_no_element(keywright: Keywright, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("receits = false\n", encoding="utf-8")
    for text, said in (("yubike", "did you mean yubikey?"), (str(tmp_path / "mine.toml"), "did you mean receipts?")):
        ran = keywright("element", "new", tmp_path / "e", "--profile", text)
        assert ran.code == 2
        assert said in ran.err
        assert not (tmp_path / "e").exists()


def test_the_verbs_of_card_take_names_and_files(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("scp02.r_mac_on_errors = false\n", encoding="utf-8")
    assert access({"profile": "yubikey"}).wish.card == YUBIKEY
    assert access({"profile": str(tmp_path / "mine.toml")}).wish.scp02.r_mac_on_errors is False
    assert access({}).wish == Wish()
    assert (Wish().scp02, Wish(profile=DEFAULT).scp02) == (SCP02_HOST, SCP02_CARD)


def test_keys_go_to_a_card_as_its_profile_wants_them(keywright: Keywright, tmp_path: Path, key_file: KeyFile) -> None:
    """A check value over zeros is refused by a usual card, and taken by one that computes it so."""
    (tmp_path / "zeros.toml").write_text('scp03.kcv = "zeros"\n', encoding="utf-8")
    zeros, keys = tmp_path / "zeros.toml", key_file(NEW[:16])
    link = f"sim:element?profile={zeros}"
    ran = keywright("card", "keys", "put", keys, "--new-kvn", "31", "--link", link, "--profile", zeros, "--json")
    assert ran.code == 0, ran.err
    assert keywright("card", "keys", "put", keys, "--new-kvn", "31", "--link", link).code != 0


@pytest.mark.parametrize(("profile", "size"), [("default", 8), ("yubikey", 24)])
def test_an_empty_command_is_padded_for_a_yubikey(
    keywright: Keywright, tmp_path: Path, profile: str, size: int
) -> None:
    trace = tmp_path / "t"
    words = ("--link", "sim:element", "--profile", profile, "--keys", "gp-test", "--trace", trace)
    assert keywright("card", "apdu", "80CA006600", "--secure", *words).code == 0
    sent = [event.data for event in read_trace(trace) if event.direction == "command"]
    assert sent[-1][:5] == bytes((0x84, 0xCA, 0x00, 0x66, size))
