"""Card profiles by name and out of files."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from keywright.errors import UsageError
from keywright.fob.open import open_simulated
from keywright.fob.profiles import allowed, card_profile, parse_profile
from keywright.fob.uri import parse_uri
from keywright.globalplatform.profile import DEFAULT, PROFILES, YUBIKEY, CardProfile, RestrictBits

WHOLE = """
# what we met in the field
base = "yubikey"
same_state_status = 0x6A80
domain_module = "A0 00 00 01 51 53 50 42"
scp11.ecka = "sha1"
scp11.usages = [0x34, 0x3C, 0x1C]
scp80.counter_per = "application"

[restrict]
load = 0x80
"""


def test_a_file_says_what_differs_from_a_known_kind() -> None:
    found = parse_profile(WHOLE, "f.toml")
    replace = msgspec.structs.replace
    assert found == replace(
        YUBIKEY,
        same_state_status=0x6A80,
        domain_module=bytes.fromhex("A000000151535042"),
        restrict=RestrictBits(load=0x80),
        scp11=replace(YUBIKEY.scp11, ecka="sha1", usages=(0x34, 0x3C, 0x1C)),
        scp80=replace(YUBIKEY.scp80, counter_per="application"),
    )


def test_without_a_base_it_is_the_default() -> None:
    assert parse_profile("", "f.toml") == DEFAULT
    assert parse_profile("receipts = false", "f.toml") == CardProfile(receipts=False)


@pytest.mark.parametrize("name", PROFILES)
def test_every_name_is_known(name: str) -> None:
    assert card_profile(name) is PROFILES[name]


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        ('base = "yubiky"', "f.toml:1: 'yubiky' is no profile", "one of default, yubikey"),
        ('\nscp11.ecka = "sha2"', 'f.toml:2: scp11.ecka cannot be "sha2"', 'it may be "x" or "sha1"'),
        ("# receits\nreceits = false", "f.toml:2: there is no receits", "did you mean receipts?"),
        ("[scp02]\n\nmax_countr = 1", "f.toml:3: there is no scp02.max_countr", "did you mean scp02.max_counter?"),
        ("combined_p1 = 3", "f.toml:1: combined_p1 cannot be 0x03", "it may be 0x0E or 0x02"),
        ("load_order_status = 0x1234", "f.toml:1: load_order_status cannot be 0x1234", "from 0x6000 to 0x9FFF"),
        ("receipts = 1", "f.toml:1: receipts cannot be 0x01", "true or false"),
        ("scp11 = 1", "f.toml:1: scp11 has fields of its own", "write scp11.FIELD = ..."),
        ('domain_module = "A00"', 'f.toml:1: domain_module cannot be "A00"', "hex digits"),
        ("scp11.usages = [true]", "f.toml:1: scp11.usages cannot be [true]", "a list of numbers"),
        ("scp11.usages = ", "f.toml: Invalid value", None),
    ],
)
def test_what_cannot_be_is_refused_with_its_place_and_what_is_allowed(text: str, said: str, hint: str | None) -> None:
    with pytest.raises(UsageError) as caught:
        parse_profile(text, "f.toml")
    assert str(caught.value).startswith(said)
    assert hint is None or hint in (caught.value.hint or "")


def test_a_file_that_is_not_there_or_is_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no card profile, and no file") as caught:
        card_profile("yubike")
    assert caught.value.hint == "did you mean yubikey?"
    (tmp_path / "p").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="no text"):
        card_profile(str(tmp_path / "p"))
    with pytest.raises(UsageError, match="no file"):
        card_profile(str(tmp_path))


def test_every_type_of_field_has_its_words() -> None:
    assert [allowed(kind) for kind in (bool, int, str)] == ["true or false", "a number, as 0x6985", "a string"]


def test_a_simulated_element_takes_a_profile_and_a_fob_has_its_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("receipts = false", encoding="utf-8")
    for text, profile in (("yubikey", YUBIKEY), (str(file), CardProfile(receipts=False))):
        assert open_simulated(parse_uri(f"sim:element?profile={text}")).element.profile == profile
        assert open_simulated(parse_uri(f"sim:uicc?profile={text}")).element.profile == profile
    with pytest.raises(UsageError, match="maker"):
        open_simulated(parse_uri("sim:fob?profile=yubikey"))


def test_the_profile_of_a_fresh_memory_stays(tmp_path: Path) -> None:
    memory = tmp_path / "e.mem"
    open_simulated(parse_uri(f"sim:element?memory={memory}&profile=yubikey")).close()
    link = open_simulated(parse_uri(f"sim:element?memory={memory}"))
    assert link.element.profile == YUBIKEY
    link.close()
