"""`keywright card` on simulated devices, and over TCP on one served by the program itself."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from keywright.cli import links
from keywright.element import SecureElement
from keywright.errors import StatusError
from keywright.fob.open import SimulatedLink
from keywright.globalplatform.cap.build import build_cap
from keywright.globalplatform.dialogues import registry
from keywright.globalplatform.messages import ApplicationEntry, StatusScope
from keywright.iso7816.apdu import Command, Response
from keywright.scp.scp03.keys import KeySet
from support.commands import KeyFile, Keywright, started

OTHER = bytes(range(0x60, 0x70))
CANARY = bytes.fromhex("C0FFEE00C0FFEE11C0FFEE22C0FFEE33")


PutElement = Callable[..., SecureElement]
Entries = Generator[Command, Response, tuple[ApplicationEntry, ...]]


@pytest.fixture
def element(monkeypatch: pytest.MonkeyPatch) -> PutElement:
    """Put an element of our choice behind every URI the commands open."""

    def put(**parameters: Any) -> SecureElement:
        device = SecureElement(**parameters)
        monkeypatch.setattr(links, "open_link", lambda uri: SimulatedLink(uri or "sim:element", device, lambda: None))
        return device

    return put


def test_info_tells_what_the_card_says(keywright: Keywright) -> None:
    ran = keywright("card", "info", "--link", "sim:fob?serial=KW-1")
    assert ran.code == 0
    for words in (
        "A000000151000000 issuer security domain",
        "SCP03 i=70 S8, pseudo-random challenge, R-MAC, R-ENC",
        "KVN FF AES 128 bit, KID 01 02 03 (initial keys)",
        "GlobalPlatform 2.3.1",
        "day 100",
        "Capabilities",
    ):
        assert words in " ".join(ran.out.split())
    assert max(map(len, ran.out.splitlines())) <= 80
    assert ran.err == ""


def test_without_a_link_it_is_a_simulated_element_and_says_so(keywright: Keywright) -> None:
    ran = keywright("card", "info")
    assert ran.code == 0
    assert ran.err == "no --link: this is a simulated element (sim:element)\n"


def test_info_as_json_has_every_fact(keywright: Keywright) -> None:
    ran = keywright("card", "info", "--link", "sim:fob?serial=KW-1", "--json")
    facts = json.loads(ran.out)
    assert facts["aid"] == "A000000151000000"
    assert facts["secure_channels"] == [
        {"scp": "03", "i": "70", "text": "SCP03 i=70 (S8, pseudo-random challenge, R-MAC, R-ENC)"}
    ]
    assert [key["kid"] for key in facts["keys"]] == ["01", "02", "03"]
    assert facts["keys"][0] == {"kvn": "FF", "kid": "01", "components": [{"type": "AES", "bits": 128}]}
    assert facts["cplc"]["ic_date"] == "6100"
    assert facts["protocols"] == ["T=1"]
    assert set(facts["resources"]) == {"applications", "free_non_volatile", "free_volatile"}
    assert facts["confirmation_counter"] == "0000"
    assert facts["globalplatform"] == "2.3.1"
    assert facts["locked"] is False
    assert ran.out.count("\n") == 1


class Sparse:
    """A card that knows SELECT and nothing else, or answers rubbish."""

    atr = b""

    def __init__(self, answers: dict[bytes, str], otherwise: str = "6A88") -> None:
        self.answers = answers
        self.otherwise = otherwise

    def exchange(self, command: bytes) -> bytes:
        return bytes.fromhex(self.answers.get(command[1:2] + command[2:4], self.otherwise))

    name = "sparse"
    extended = False

    def close(self) -> None:
        pass


def behind(monkeypatch: pytest.MonkeyPatch, **answers: str) -> None:
    table = {bytes.fromhex(key.removeprefix("x")): value for key, value in answers.items()}
    monkeypatch.setattr(links, "open_link", lambda _: Sparse(table))


def test_a_card_that_says_nothing_is_told_as_that(keywright: Keywright, monkeypatch: pytest.MonkeyPatch) -> None:
    behind(monkeypatch, xA40400="9000", xCAFF21="FF210B810102820401020304 83009000".replace(" ", ""))
    assert "free memory" not in keywright("card", "info", "--link", "sim:element").out
    behind(monkeypatch, xA40400="9000", xCAFF21="FF210C8101028203010203830208009000")
    ran = keywright("card", "info", "--link", "sim:element")
    assert "66,051 bytes, volatile 2,048 bytes" in ran.out
    behind(monkeypatch, xA40400="9000")
    ran = keywright("card", "info", "--link", "sim:element")
    assert ran.code == 0
    assert "no file control information" in ran.out
    assert "the card names none" in ran.out
    assert "the card does not say" in ran.out
    facts = json.loads(keywright("card", "info", "--link", "sim:element", "--json").out)
    assert facts["aid"] is facts["keys"] is facts["cplc"] is facts["iin"] is None
    assert facts["secure_channels"] == []


def test_objects_that_do_not_parse_are_shown_as_they_are(keywright: Keywright, monkeypatch: pytest.MonkeyPatch) -> None:
    behind(monkeypatch, xA40400="6F009000", xCA9F7F="9F7F03010203" + "9000", xCA0066="FFFF9000")
    ran = keywright("card", "info", "--link", "sim:element")
    assert ran.code == 0
    assert "010203" in ran.out
    assert "the card names none" in ran.out


def test_a_locked_card_is_still_read(keywright: Keywright, monkeypatch: pytest.MonkeyPatch) -> None:
    behind(monkeypatch, xA40400="6F0A8408A0000001510000006283")
    ran = keywright("card", "info", "--link", "sim:element", "--json")
    assert json.loads(ran.out)["locked"] is True
    assert "locked (6283)" in keywright("card", "info", "--link", "sim:element").out


def test_a_card_that_cannot_be_selected_is_a_status_error_with_a_hint(keywright: Keywright) -> None:
    ran = keywright("card", "info", "--link", "sim:element", "--aid", "A0000000041010")
    assert ran.code == 6
    assert ran.err.startswith("keywright: SELECT A0000000041010: status 6A82 (no such application or file)\n  next: ")


def test_keys_says_that_the_test_keys_open_the_card_and_uses_no_try(keywright: Keywright, element: PutElement) -> None:
    device = element()
    ran = keywright("card", "keys", "--link", "sim:element")
    assert "FF   01 02 03  AES 128 bit  yes        open to everyone" in ran.out
    assert device.attempts == 0


def test_keys_says_that_other_keys_are_there_and_uses_no_try(keywright: Keywright, element: PutElement) -> None:
    device = element(keys=KeySet.of(OTHER, OTHER, OTHER), kvn=0x30)
    ran = keywright("card", "keys", "--link", "sim:element", "--json")
    (entry,) = json.loads(ran.out)["key_sets"]
    assert (entry["kvn"], entry["gp_test"], entry["note"]) == ("30", False, "other keys")
    assert device.attempts == 0


def test_keys_of_an_s16_card_are_told(keywright: Keywright, element: PutElement) -> None:
    element(i=0x71)
    ran = keywright("card", "keys", "--link", "sim:element", "--json")
    assert json.loads(ran.out)["key_sets"][0]["gp_test"] is True


def test_keys_warns_where_a_real_card_is_open_to_everyone(keywright: Keywright, element: PutElement) -> None:
    element()
    assert "Anyone can open this card" in keywright("card", "keys", "--link", "pcsc:x").out
    assert "Anyone can open this card" not in keywright("card", "keys", "--link", "sim:element").out


def test_keys_of_a_card_without_key_information(keywright: Keywright, monkeypatch: pytest.MonkeyPatch) -> None:
    behind(monkeypatch, xA40400="9000")
    assert keywright("card", "keys", "--link", "sim:element").out == "the card lists no keys\n"


@pytest.mark.parametrize("i", [0x00, 0x20, 0x60, 0x70, 0x71])
def test_list_opens_a_session_with_whatever_the_card_offers(keywright: Keywright, element: PutElement, i: int) -> None:
    element(i=i, rng=os.urandom)
    ran = keywright("card", "list", "--link", "sim:element")
    assert ran.code == 0, ran.err
    assert "A000000151000000                  OP_READY" in ran.out


def test_list_of_a_fob_shows_its_applet(keywright: Keywright) -> None:
    ran = keywright("card", "list", "--link", "sim:fob", "--json")
    facts = json.loads(ran.out)
    assert facts["issuer_domain"][0]["state_name"] == "OP_READY"
    assert facts["applications"][0]["state_name"] == "SELECTABLE"
    assert facts["load_files"] == []


def test_list_with_wrong_keys_ends_before_a_try(keywright: Keywright, element: PutElement, key_file: KeyFile) -> None:
    device = element()
    ran = keywright("card", "list", "--link", "sim:element", "--keys", key_file(CANARY))
    assert ran.code == 3
    assert "card cryptogram wrong (KVN FF, SCP03 i=70)" in ran.err
    assert device.attempts == 0
    assert CANARY.hex() not in (ran.out + ran.err).lower()


def test_list_with_a_key_file_opens_the_card(keywright: Keywright, element: PutElement, key_file: KeyFile) -> None:
    element(keys=KeySet.of(CANARY, CANARY, CANARY), kvn=0x30)
    ran = keywright("card", "list", "--link", "sim:element", "--keys", key_file(CANARY, kvn="30"))
    assert ran.code == 0
    assert CANARY.hex() not in (ran.out + ran.err).lower()


def test_list_of_a_card_that_knows_no_modules_asks_for_load_files(
    keywright: Keywright, monkeypatch: pytest.MonkeyPatch
) -> None:
    scopes: list[int] = []

    def answers(
        scope: int, aid: bytes = b"", **_: object
    ) -> Generator[Command, Response, tuple[ApplicationEntry, ...]]:
        del aid
        scopes.append(scope)
        if scope == StatusScope.LOAD_FILES_AND_MODULES:
            raise StatusError(0x6A86, "GET STATUS")
        return (ApplicationEntry(b"\xa0\0\0\0\1", 1, modules=(b"\xa0\0\0\0\2",)),)
        yield Command(0, 0, 0, 0)

    monkeypatch.setattr(registry, "get_status", answers)
    ran = keywright("card", "list", "--link", "sim:element")
    assert scopes == [0x80, 0x40, 0x10, 0x20]
    assert "A000000001                        LOADED\n    module A000000002" in ran.out


def test_list_says_what_it_may_not_see(keywright: Keywright, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(
        scope: int, aid: bytes = b"", **_: object
    ) -> Generator[Command, Response, tuple[ApplicationEntry, ...]]:
        raise StatusError(0x6982, f"GET STATUS {scope:02X}{aid.hex()}")
        yield Command(0, 0, 0, 0)

    monkeypatch.setattr(registry, "get_status", refused)
    assert keywright("card", "list", "--link", "sim:element").code == 6


def test_keys_of_scp02_are_told_apart_from_the_test_keys_and_others_cannot_be_told(
    keywright: Keywright, monkeypatch: pytest.MonkeyPatch
) -> None:
    fixed = "0" * 20 + "2002" + "00010203040506070811223344556677"
    behind(monkeypatch, xA40400="9000", xCA00E0="E006C004012080109000", x502000=fixed + "9000")
    ran = keywright("card", "keys", "--link", "sim:element")
    assert "20   01   DES 128 bit  no         other keys" in ran.out
    behind(monkeypatch, xA40400="9000", xCA00E0="E006C004012080109000", x502000="6A88")
    assert "opens no session by INITIALIZE UPDATE (6A88)" in keywright("card", "keys", "--link", "sim:element").out
    behind(monkeypatch, xA40400="9000", xCA00E0="E006C004012080109000", x502000=fixed[:22] + "059000")
    ran = keywright("card", "keys", "--link", "sim:element")
    assert "20   01   DES 128 bit  ?          no answer of SCP02 or SCP03" in ran.out


def test_test_keys_of_scp02_are_known(keywright: Keywright, tmp_path: Path) -> None:
    link = f"sim:element?memory={tmp_path / 'card'}"
    keys = tmp_path / "des.toml"
    keys.touch(0o600)
    keys.write_text('key = "404142434445464748494A4B4C4D4E4F"\nkvn = "20"\n')
    assert keywright("element", "new", str(tmp_path / "card"), "--scp", "02:55").code == 0
    assert keywright("card", "keys", "put", str(keys), "--type", "des", "--link", link).code == 0
    assert "DES 128 bit  yes        open to everyone" in keywright("card", "keys", "--link", link).out


def test_a_card_that_lists_no_keys(keywright: Keywright, monkeypatch: pytest.MonkeyPatch) -> None:
    behind(monkeypatch, xA40400="9000", xCA00E0="E0009000", xCA9F7F="9F7F2A" + "00" * 42 + "9000")
    ran = keywright("card", "info", "--link", "sim:element")
    assert "the card lists no keys" in ran.out
    assert "personalised      not given" in ran.out


def test_list_asks_for_keys_on_real_devices(keywright: Keywright, element: PutElement) -> None:
    element()
    ran = keywright("card", "list", "--link", "pcsc:x")
    assert ran.code == 2
    assert "--keys FILE, or --keys gp-test" in ran.err
    assert keywright("card", "list", "--link", "pcsc:x", "--keys", "gp-test").code == 0


def test_apdu_shows_bytes_and_meaning(keywright: Keywright) -> None:
    ran = keywright("card", "apdu", "00A4040000", "80CA00C100", "--link", "sim:element")
    assert ran.code == 0
    assert "SELECT issuer security domain\n  > 00 A4 04 00 00\n  < 6F" in ran.out
    assert "sequence counter  000000" in ran.out
    assert "    9000 ok" in ran.out


def test_apdu_takes_a_command_in_spaced_bytes(keywright: Keywright) -> None:
    ran = keywright("card", "apdu", *"00 A4 04 00 00".split(), "--link", "sim:element", "--json")
    assert json.loads(ran.out)["command"] == "00A4040000"


def test_apdu_explains_a_refusal(keywright: Keywright) -> None:
    ran = keywright("card", "apdu", "80CA00EE00", "--link", "sim:element")
    assert ran.code == 0
    assert "6A88 referenced data not found: the card has no such data object" in ran.out


@pytest.mark.parametrize("bad", ["xyz", "00A4", "00A40400FF00"])
def test_apdu_refuses_what_is_no_command_before_anything_is_sent(keywright: Keywright, bad: str) -> None:
    ran = keywright("card", "apdu", "00A4040000", bad, "--link", "sim:element")
    assert ran.code == 2
    assert ran.out == ""
    assert "HEX 2" in ran.err


def test_apdu_that_may_change_a_real_card_needs_a_yes(keywright: Keywright, element: PutElement) -> None:
    element()
    ran = keywright("card", "apdu", "80F0800F", "--link", "pcsc:x")
    assert ran.code == 5
    assert "change a life cycle (SET STATUS) on pcsc:x needs a confirmation" in ran.err
    assert keywright("card", "apdu", "80F0800F", "--link", "pcsc:x", "--yes").code == 0
    assert keywright("card", "apdu", "80F0800F", "--link", "sim:element").code == 0


def test_a_terminated_card_still_says_what_it_says(keywright: Keywright, tmp_path: Path) -> None:
    link = ("--link", f"sim:element?memory={tmp_path / 'm'}")
    assert keywright("card", "terminate", *link).code == 0
    ran = keywright("card", "info", *link)
    assert ran.code == 0, ran.err
    assert "state terminated, or locked: it refuses SELECT (6A81)" in " ".join(ran.out.split())
    assert "CIN" in ran.out
    assert json.loads(keywright("card", "info", *link, "--json").out)["refuses_select"] is True


@pytest.mark.parametrize("command", ["80F1000000", "80C20000", "00DA0000", "00240000"])
def test_apdu_asks_before_any_command_that_does_not_only_read(
    keywright: Keywright, element: PutElement, command: str
) -> None:
    element()
    ran = keywright("card", "apdu", command, "--link", "pcsc:x")
    assert ran.code == 5
    assert f"send INS {command[2:4]}, which may change it, on pcsc:x needs a confirmation" in ran.err
    for reading in (
        "00A4040000",
        "80CA006600",
        "00B0000000",
        "0084000008",
        "80F28002024F0000",
        "8050000008" + "00" * 8,
    ):
        assert keywright("card", "apdu", reading, "--link", "pcsc:x").code == 0


def test_apdu_says_that_keys_are_not_used(keywright: Keywright) -> None:
    words = ("card", "apdu", "80F28002024F0000", "--link", "sim:element", "--keys", "gp-test")
    assert "the keys are not used: commands go plainly without --secure" in keywright(*words).err
    assert keywright(*words, "--secure").err == ""


def test_the_state_of_a_load_file_has_its_name(keywright: Keywright, tmp_path: Path) -> None:
    path = tmp_path / "a.cap"
    path.write_bytes(build_cap(bytes.fromhex("A000000003"), [bytes.fromhex("A00000000301")]))
    link = ("--link", f"sim:element?memory={tmp_path / 'm'}")
    assert keywright("card", "install", path, *link).code == 0
    listed = json.loads(keywright("card", "list", *link, "--json").out)
    assert [entry["state_name"] for entry in listed["load_files"]] == ["LOADED"]


def test_a_trace_is_private_and_holds_no_keys(keywright: Keywright, element: PutElement, tmp_path: Path) -> None:
    trace = tmp_path / "t.jsonl"
    element()
    put_key = f"80D8008113{'30'}8810{CANARY.hex()}00"
    words = ("00A4040000", put_key, "--link", "pcsc:x", "--yes", "--trace", trace)
    assert keywright("card", "apdu", *words).code == 0
    assert trace.stat().st_mode & 0o777 == 0o600
    text = trace.read_text()
    assert CANARY.hex().upper() not in text
    assert '"note":"data masked"' in text
    shown = keywright("decode", put_key)
    assert CANARY.hex().upper() not in shown.out.replace(" ", "")


# ---- over TCP, as two programs


@pytest.fixture
def served() -> Iterator[str]:
    """The URI of an element that `keywright element serve` serves."""
    with started("element", "serve", "--link", "tcp:127.0.0.1:0", "--json") as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["ready"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_info_of_a_served_element(keywright: Keywright, served: str) -> None:
    facts = json.loads(keywright("card", "info", "--link", served, "--json").out)
    assert facts["link"] == served
    assert facts["aid"] == "A000000151000000"
    assert keywright("card", "list", "--link", served, "--keys", "gp-test").code == 0
