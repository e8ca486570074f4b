"""The verbs that manage a card: what each sends, says and asks before."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from keywright.cli import links
from keywright.codec.tlv import item
from keywright.crypto.ec import EcPrivateKey
from keywright.crypto.rsa import RsaPrivateKey
from keywright.element import SecureElement
from keywright.fob.open import SimulatedLink
from keywright.globalplatform.cap.build import build_cap
from keywright.globalplatform.cap.components import PackageInfo
from keywright.globalplatform.confirmation import Confirmation
from keywright.globalplatform.install import InstallForInstall, InstallForLoad
from keywright.globalplatform.load_file import parse_load_file
from keywright.globalplatform.messages import PutKey
from keywright.globalplatform.receipts import deleted, make_receipt
from keywright.globalplatform.tokens import delete_input, install_input, split_delete, split_install, verify_token
from keywright.iso7816.apdu import Response
from keywright.scp.scp03.keys import KeySet
from support.commands import KeyFile, Keywright, Ran
from support.managed import Managed

PACKAGE, APPLET, DOMAIN = "A000000003", "A00000000301", "A0000001515301"
OTHER = bytes(range(0x60, 0x70))
DONE = "009000"
Put = Callable[..., Managed]
Run = Callable[..., Ran]


@pytest.fixture
def managed(monkeypatch: pytest.MonkeyPatch) -> Put:
    """Put a card behind every URI that answers content management as the table says."""

    def put(answers: dict[int, Any], **parameters: Any) -> Managed:
        device = Managed(answers, **parameters)
        monkeypatch.setattr(links, "open_link", lambda _: device)
        return device

    return put


@pytest.fixture
def run(keywright: Keywright) -> Run:
    """Run a verb of `card` at level 00, so that what it sends can be read."""

    def call(*words: object, link: str = "sim:element") -> Ran:
        return keywright("card", *words, "--link", link, "--level", "00")

    return call


def pem(path: Path, kind: str, der: bytes) -> Path:
    path.write_text(f"-----BEGIN {kind}-----\n{base64.encodebytes(der).decode()}-----END {kind}-----\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """The PEM file of an EC key."""
    return pem(tmp_path / "ec.pem", "PRIVATE KEY", EcPrivateKey.generate("P-256").to_pkcs8())


# ---- content


def test_an_application_is_installed_from_a_load_file(managed: Put, run: Run) -> None:
    device = managed({0xE6: DONE})
    words = (
        "install",
        APPLET,
        "--package",
        PACKAGE,
        "--privileges",
        "card lock, global delete",
        "--parameters",
        "0102",
    )
    ran = run(*words)
    assert (ran.code, ran.out) == (0, f"installed application {APPLET}, SELECTABLE\n")
    (sent,) = device.seen
    assert (sent.p1, sent.p2) == (0x0C, 0)
    assert InstallForInstall.parse(sent.data) == InstallForInstall(
        *map(bytes.fromhex, (PACKAGE, APPLET, APPLET, "101000", "C9020102"))
    )
    assert json.loads(run(*words, "--no-select", "--json").out)["state"] == "INSTALLED"
    assert device.seen[-1].p1 == 0x04


def test_a_domain_is_made(managed: Put, run: Run) -> None:
    device = managed({0xE6: DONE})
    ran = run("create-domain", DOMAIN, "--privileges", "delegated management")
    assert ran.out == f"installed security domain {DOMAIN}, SELECTABLE\n"
    sent = InstallForInstall.parse(device.seen[0].data)
    assert (sent.module.hex().upper(), sent.privileges.hex()) == ("A000000151535041", "a0")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("install", APPLET), "an application is made from a load file"),
        (("install", "A0", "--package", PACKAGE), "an AID has 5 to 16 bytes, not 1"),
        (("install", APPLET, "--package", PACKAGE, "--privileges", "everything"), "'everything' is none"),
        (("install", "none.cap"), "none.cap: cannot be read"),
        (("install", "none.cap", "--package", PACKAGE), "a CAP file names its package and modules itself"),
        (("install", APPLET, "--package", PACKAGE, "--privileges", "delegated management"), "cannot be held together"),
    ],
)
def test_what_cannot_be_installed_is_said_before_anything_is_sent(
    managed: Put, run: Run, words: tuple[str, ...], message: str
) -> None:
    device = managed({0xE6: DONE})
    ran = run(*words)
    assert ran.code in (2, 5)
    assert message in ran.err
    assert device.seen == []


@pytest.fixture
def cap(tmp_path: Path) -> Path:
    """A CAP file of two applets."""
    path = tmp_path / "a.cap"
    path.write_bytes(build_cap(bytes.fromhex(PACKAGE), [bytes.fromhex(APPLET), bytes.fromhex(APPLET + "02")]))
    return path


def test_a_cap_file_is_loaded_and_its_applets_installed(managed: Put, run: Run, cap: Path) -> None:
    device = managed({0xE6: DONE, 0xE8: DONE})
    ran = run("install", cap)
    assert ran.code == 0, ran.err
    assert ran.out.startswith(f"loaded {PACKAGE}, ")
    assert f"installed {APPLET}02, SELECTABLE\n" in ran.out
    assert [command.ins for command in device.seen] == [0xE6, 0xE8, 0xE6, 0xE6]
    assert InstallForLoad.parse(device.seen[0].data).load_file.hex().upper() == PACKAGE


def test_a_cap_file_whose_applet_is_refused_is_taken_back(managed: Put, run: Run, cap: Path) -> None:
    answers: dict[int, Any] = {0xE8: DONE, 0xE4: DONE}
    answers[0xE6] = lambda command: Response(b"\0") if command.p1 == 0x02 else Response(b"", 0x6A80)
    device = managed(answers)
    ran = run("install", cap)
    assert ran.code == 6
    assert "the applet refused its parameters" in ran.err
    assert device.sent[-1].startswith("80E40080")


def test_a_cap_file_is_loaded_with_a_signature(managed: Put, run: Run, cap: Path, key: Path) -> None:
    device = managed({0xE6: DONE, 0xE8: DONE})
    ran = run("load", cap, "--to", DOMAIN, "--dap-key", key, "--dap-domain", DOMAIN, "--json")
    assert json.loads(ran.out)["loaded"] == PACKAGE
    announced = InstallForLoad.parse(device.seen[0].data)
    assert (announced.security_domain.hex().upper(), len(announced.hash)) == (DOMAIN, 32)
    assert device.seen[1].data[0] == 0xE2


def test_a_cap_file_is_installed_with_the_signatures_of_several_domains(
    managed: Put, run: Run, cap: Path, key: Path
) -> None:
    device = managed({0xE6: DONE, 0xE8: DONE})
    daps = ("--dap-key", key, "--dap-domain", DOMAIN)
    ran = run("install", cap, "--to", DOMAIN, *daps, *daps)
    assert ran.code == 0, ran.err
    announced = InstallForLoad.parse(device.seen[0].data)
    assert (announced.security_domain.hex().upper(), len(announced.hash)) == (DOMAIN, 32)
    sent = parse_load_file(b"".join(command.data for command in device.seen if command.ins == 0xE8))
    assert [one.security_domain.hex().upper() for one in sent.daps] == [DOMAIN, DOMAIN]
    assert run("install", cap, "--hash", "sha512").code == 0
    refused = run("load", cap, *daps, "--dap-key", key)
    assert refused.code == 2
    assert "2 --dap-key and 1 --dap-domain" in refused.err
    assert run("install", APPLET, "--package", PACKAGE, *daps).code == 2


def test_a_load_has_the_parameters_that_are_given(managed: Put, run: Run, cap: Path) -> None:
    device = managed({0xE6: DONE, 0xE8: DONE})
    assert run("load", cap, "--raw-parameters", "EF04C6020400").code == 0
    assert InstallForLoad.parse(device.seen[0].data).parameters.hex().upper() == "EF04C6020400"


def test_objects_are_deleted_moved_and_changed(managed: Put, run: Run, cap: Path) -> None:
    device = managed({0xE6: DONE, 0xE4: DONE})
    for words, said in (
        (("delete", APPLET), f"deleted {APPLET}"),
        (("delete", PACKAGE, "--related"), f"deleted {PACKAGE}"),
        (("uninstall", cap), f"uninstalled {PACKAGE}"),
        (("move", APPLET, DOMAIN), f"moved {APPLET} under {DOMAIN}"),
        (("registry", APPLET, "--privileges", "global lock"), f"changed {APPLET}"),
        (("make-selectable", APPLET), f"{APPLET} is SELECTABLE"),
    ):
        ran = run(*words)
        assert (ran.code, ran.out) == (0, f"{said}\n"), ran.err
    assert device.sent[0] == f"80E40000084F06{APPLET}00"
    assert [command.p2 for command in device.seen[:3]] == [0x00, 0x80, 0x80]
    assert [command.p1 for command in device.seen[3:]] == [0x10, 0x40, 0x08]


def test_a_refusal_names_its_likely_cause(managed: Put, run: Run) -> None:
    managed({0xE4: "6985"})
    ran = run("delete", PACKAGE)
    assert ran.code == 6
    assert "something on the card still uses it" in ran.err


def test_a_receipt_is_shown_and_can_be_checked(keywright: Keywright, managed: Put, run: Run, tmp_path: Path) -> None:
    signer = EcPrivateKey.generate("P-256")
    file = pem(tmp_path / "r.pem", "PUBLIC KEY", signer.public.spki())
    answer = make_receipt(signer, 7, deleted(bytes.fromhex(APPLET)), domain=b"\x42").build()
    managed({0xE4: answer.hex() + "9000"})
    ran = run("delete", APPLET)
    said = Confirmation.parse(answer)
    assert f"  receipt       {said.receipt.hex().upper()}\n" in ran.out
    checked = keywright("card", "sign", "receipt", answer.hex(), "delete", APPLET, "--key", file)
    assert checked.out == "the receipt is right: number 7\n"
    assert keywright("card", "sign", "receipt", answer.hex(), "delete", DOMAIN, "--key", file).code == 3
    assert keywright("card", "sign", "receipt", answer.hex(), "delete", APPLET, "--key", file, "--above", "7").code == 6
    assert keywright("card", "sign", "receipt", answer.hex(), "frob", APPLET, "--key", file).code == 2
    assert keywright("card", "sign", "receipt", answer.hex(), "install", APPLET, "--key", file).code == 2


def test_tokens_sign_what_is_sent(keywright: Keywright, managed: Put, run: Run, tmp_path: Path) -> None:
    signer = EcPrivateKey.generate("P-256")
    file = pem(tmp_path / "t.pem", "PRIVATE KEY", signer.to_pkcs8())
    device = managed({0xE6: DONE, 0xE4: DONE})
    assert run("delete", APPLET, "--token-key", file).code == 0
    assert run("install", APPLET, "--package", PACKAGE, "--token-key", file).code == 0
    delete, install = device.seen
    _, token = split_delete(delete.data)
    verify_token(signer.public, delete_input(delete), token)
    _, token = split_install(install.data)
    verify_token(signer.public, install_input(install), token)
    signed = json.loads(keywright("card", "sign", "token", device.sent[0][:-2], "--key", file, "--json").out)
    verify_token(signer.public, delete_input(delete), bytes.fromhex(signed["token"]))
    assert keywright("card", "sign", "token", "80CA006600", "--key", file).code == 2


@pytest.mark.parametrize(
    "words",
    [
        ("install", APPLET, "--package", PACKAGE),
        ("create-domain", DOMAIN),
        ("delete", APPLET),
        ("move", APPLET, DOMAIN),
        ("registry", APPLET),
        ("make-selectable", APPLET),
        ("rename", DOMAIN),
        ("lock",),
        ("unlock", APPLET),
        ("terminate",),
        ("set-status", "SECURED"),
        ("keys", "delete", "--old-kvn", "30"),
        ("data", "put", "4200"),
    ],
)
def test_every_change_of_a_real_card_is_asked_about(keywright: Keywright, managed: Put, words: tuple[str, ...]) -> None:
    device = managed({0xE6: DONE, 0xE4: DONE})
    ran = keywright("card", *words, "--link", "pcsc:x", "--keys", "gp-test")
    assert ran.code == 5, ran.err
    assert "on pcsc:x needs a confirmation" in ran.err
    assert device.seen == []
    assert device.element.attempts == 0


# ---- states


def test_the_card_goes_through_its_states(keywright: Keywright, monkeypatch: pytest.MonkeyPatch) -> None:
    device = SecureElement()
    monkeypatch.setattr(links, "open_link", lambda uri: SimulatedLink(uri, device, lambda: None))
    for words, said in (
        (("set-status", "SECURED"), "the card is SECURED through INITIALIZED"),
        (("set-status", "0F"), "the card is SECURED already"),
        (("lock",), "locked the card"),
        (("unlock",), "unlocked the card"),
        (("terminate",), "the card is TERMINATED"),
    ):
        ran = keywright("card", *words, "--link", "sim:element")
        assert (ran.code, ran.out) == (0, f"{said}\n"), ran.err
    assert device.life_cycle == 0xFF


@pytest.mark.parametrize(("state", "message"), [("BROKEN", "'BROKEN' is none"), ("ZZ", "not a hex digit")])
def test_a_state_that_is_none_is_refused(run: Run, managed: Put, state: str, message: str) -> None:
    managed({})
    ran = run("set-status", state)
    assert ran.code in (2, 6)
    assert message in ran.err


def entry(aid: str, state: int, privileges: str = "000000") -> str:
    inside = item(0x4F, bytes.fromhex(aid)) + item(0x9F70, bytes((state,))) + item(0xC5, bytes.fromhex(privileges))
    return item(0xE3, inside).hex() + "9000"


def test_applications_are_locked_and_unlocked(managed: Put, run: Run) -> None:
    device = managed({0xF2: entry(APPLET, 0x07), 0xF0: "9000"})
    assert run("lock", APPLET).out == f"locked {APPLET}\n"
    assert device.sent[-1] == f"80F0408706{APPLET}"
    assert run("lock", APPLET, "--applications").code == 0
    assert device.sent[-1] == f"80F0608006{APPLET}"
    assert run("unlock", APPLET).code == 5
    device.answers[0xF2] = entry(APPLET, 0x87)
    assert run("unlock", APPLET).out == f"unlocked {APPLET}\n"
    assert device.sent[-1] == f"80F0400706{APPLET}"


# ---- keys


def test_aes_and_des_keys_are_put(managed: Put, run: Run, key_file: KeyFile) -> None:
    device = managed({0xD8: lambda command: Response(command.data[:1])})
    ran = run("keys", "put", key_file(OTHER), "--new-kvn", "31")
    assert ran.code == 0, ran.err
    assert ran.out.startswith("put KVN 31 KID 01 to 03  KCV ")
    assert OTHER.hex() not in ran.out.lower()
    put = PutKey.parse(device.seen[0].data)
    assert (put.kvn, [one.type for one in put.keys], device.seen[0].p2) == (0x31, [0x88] * 3, 0x81)
    assert run("keys", "put", key_file(OTHER, kvn="20"), "--type", "des", "--single", "--replace", "20").code == 0
    put = PutKey.parse(device.seen[1].data)
    assert ([one.type for one in put.keys], device.seen[1].p1, device.seen[1].p2) == ([0x80], 0x20, 0x01)


def test_ec_and_rsa_keys_are_put_from_pem(managed: Put, run: Run, key: Path, tmp_path: Path) -> None:
    device = managed({0xD8: lambda command: Response(command.data[:1])})
    rsa = pem(tmp_path / "rsa.pem", "PUBLIC KEY", RsaPrivateKey.generate(1024).public.spki())
    for file, tag in ((key, 0xB1), (rsa, 0xA1)):
        ran = run("keys", "put", file, "--new-kvn", "70", "--kid", "01")
        assert ran.code == 0, ran.err
        assert device.seen[-1].data[:2] == bytes((0x70, tag))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("put", "gp-test"), "the new keys need a version number"),
        (("put", "gp-test", "--new-kvn", "3131"), "one byte in hex is due"),
        (("put", "gp-test", "--new-kvn", "31", "--type", "rsa"), "no such type"),
        (("delete",), "which keys?"),
        (("rotate", "gp-test"), "the new keys need a version number"),
    ],
)
def test_wrong_words_about_keys_are_refused(managed: Put, run: Run, words: tuple[str, ...], message: str) -> None:
    device = managed({0xD8: DONE, 0xE4: DONE})
    ran = run("keys", *words)
    assert ran.code == 2
    assert message in ran.err
    assert device.seen == []


def test_keys_are_deleted(managed: Put, run: Run) -> None:
    device = managed({0xE4: "9000"})
    assert run("keys", "delete", "--old-kvn", "30", "--kid", "01").out == "deleted KVN 30 KID 01\n"
    assert device.sent == ["80E4000006D00101D2013000"]


def test_options_stand_behind_the_whole_verb(keywright: Keywright) -> None:
    ran = keywright("card", "keys", "--link", "sim:element", "detect")
    assert ran.code == 2
    assert "keywright card keys detect --link ..." in ran.err


def test_keys_are_rotated_proved_and_the_old_ones_gone(
    keywright: Keywright, monkeypatch: pytest.MonkeyPatch, key_file: KeyFile
) -> None:
    device = SecureElement(initial_keys_stay=True)
    monkeypatch.setattr(links, "open_link", lambda uri: SimulatedLink(uri, device, lambda: None))
    new = key_file(OTHER, kvn="31")
    ran = keywright("card", "keys", "rotate", new, "--link", "sim:element")
    assert (ran.code, ran.out) == (0, "KVN 31 is the card's: put, proved, deleted\n"), ran.err
    again = keywright("card", "keys", "rotate", new, "--link", "sim:element", "--json")
    assert json.loads(again.out)["steps"] == ["proved"]
    sets = json.loads(keywright("card", "keys", "--link", "sim:element", "--json").out)["key_sets"]
    assert [one["kvn"] for one in sets] == ["31"]
    assert keywright("card", "list", "--link", "sim:element", "--keys", new).code == 0


def test_the_key_of_a_card_is_told_from_a_recording_and_no_card_is_asked(
    keywright: Keywright, monkeypatch: pytest.MonkeyPatch, key_file: KeyFile, tmp_path: Path
) -> None:
    monkeypatch.setattr(links, "open_link", lambda _: pytest.fail("no card is asked"))
    device = SecureElement(kvn=0x30, keys=KeySet.of(OTHER, OTHER, OTHER))
    challenge = bytes(range(8))
    exchanges = [bytes.fromhex("00A4040000"), b"\x80\x50\0\0\x08" + challenge + b"\0"]
    lines = [line for sent in exchanges for line in (f"> {sent.hex()}", f"< {device.handle(sent).hex()}")]
    log = tmp_path / "session.txt"
    log.write_text("\n".join(lines))
    none = keywright("card", "keys", "detect", "--recording", log)
    assert none.code == 1
    assert "KVN 30, SCP03 i=70: no candidate matched" in none.out
    found = keywright("card", "keys", "detect", "--recording", log, "--candidate", key_file(OTHER), "--json")
    assert found.code == 0
    (answer,) = json.loads(found.out)["answers"]
    (match,) = answer["matches"]
    assert (answer["kvn"], match["scheme"], match["proven"]) == ("30", "none", ["K-MAC", "K-ENC"])
    assert keywright("card", "keys", "detect", "--recording", log, "--of-kvn", "31").code == 2
    assert keywright("card", "keys", "detect", "--recording", log, "--link", "sim:element").code == 2
    log.write_text("\n".join(lines[:2]))
    assert "there is no answered INITIALIZE UPDATE" in keywright("card", "keys", "detect", "--recording", log).err


def test_the_answer_of_a_t0_card_comes_in_pieces(keywright: Keywright, key_file: KeyFile, tmp_path: Path) -> None:
    device = SecureElement(kvn=0x30, keys=KeySet.of(OTHER, OTHER, OTHER))
    answer = device.handle(b"\x80\x50\0\0\x08" + bytes(8) + b"\0")[:-2]
    log = tmp_path / "gp.log"
    log.write_text(
        f"A>> T=0 (4+0008) 80500000 08 {bytes(8).hex()}\nA<< (0000+2) (9ms) 61{len(answer):02X}\n"
        f"A>> T=0 (4+0000) 00C00000 {len(answer):02X}\nA<< ({len(answer):04}+2) (9ms) {answer.hex()} 9000\n"
    )
    ran = keywright("card", "keys", "detect", "--recording", log, "--candidate", key_file(OTHER))
    assert (ran.code, "proven: K-MAC" in ran.out) == (0, True)


def test_the_key_of_a_card_is_told_without_a_try(
    keywright: Keywright, monkeypatch: pytest.MonkeyPatch, key_file: KeyFile
) -> None:
    device = SecureElement(kvn=0x30, keys=KeySet.of(OTHER, OTHER, OTHER))
    monkeypatch.setattr(links, "open_link", lambda uri: SimulatedLink(uri, device, lambda: None))
    words = ("card", "keys", "detect", "--link", "sim:element")
    none = keywright(*words)
    assert none.code == 1
    assert "KVN 30, SCP03 i=70: no candidate matched" in none.out
    found = keywright(*words, "--candidate", key_file(OTHER), "--json")
    (match,) = json.loads(found.out)["matches"]
    assert (match["scheme"], match["bits"], match["proven"]) == ("none", 128, ["K-MAC", "K-ENC"])
    assert device.attempts == 0
    assert OTHER.hex() not in found.out.lower()


# ---- data


def test_objects_are_read_in_words(keywright: Keywright) -> None:
    ran = keywright("card", "data", "get", "00E0", "--link", "sim:element")
    assert "KVN FF KID 01 AES 128 bit" in ran.out
    document = json.loads(
        keywright("card", "data", "get", "D3", "--link", "sim:element", "--keys", "gp-test", "--json").out
    )
    assert (document["tag"], document["value"]) == ("00D3", "B3")
    assert keywright("card", "data", "get", "00EE", "--link", "sim:element").code == 2
    assert keywright("card", "data", "get", "010203", "--link", "sim:element").code == 2


def test_data_are_written_in_blocks(managed: Put, run: Run) -> None:
    device = managed({0xE2: "9000"})
    assert run("data", "put", "42" + "81C8" + "00" * 200 + "45" + "81C8" + "11" * 200).out == "wrote 406 bytes\n"
    assert [(command.p1, command.p2, len(command.data)) for command in device.seen] == [(0x10, 0, 255), (0x90, 1, 151)]
    assert run("data", "put", "00", "--as", "xml").code == 2
    assert run("rename", DOMAIN).out == f"the issuer security domain is {DOMAIN}\n"
    assert device.seen[-1].data.hex().upper() == f"4F07{DOMAIN}"


@pytest.mark.parametrize("secret", ["8113! 00112233", "8113: !00112233", "8113 ! = 00112233"])
def test_an_application_is_personalised_from_a_file(managed: Put, run: Run, tmp_path: Path, secret: str) -> None:
    device = managed({0xE6: "9000", 0xE2: "9000"})
    file = tmp_path / "card.dgi"
    file.write_text("# two groups in clear, one sealed\n9102: 5F200141\n9103 = 0102  # more\n" + secret)
    file.chmod(0o600)
    ran = run("personalise", APPLET, file)
    assert (ran.code, ran.out) == (0, f"personalised {APPLET}: 3 data groups, 19 bytes\n"), ran.err
    install, clear, sealed = device.seen
    assert install.p1 == 0x20
    assert (clear.p1, clear.p2, clear.data.hex()) == (0x08, 0, "9102045f200141" + "9103020102")
    assert (sealed.p1, sealed.p2, sealed.data[:3].hex()) == (0xE8, 1, "811310")
    assert bytes.fromhex("00112233") not in sealed.data


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("91: 00", ":1:1: a data group begins with its identifier"),
        ("9102: 0g", ":1:8: this is no hex digit"),
        ("\n9102: 0", ":2:"),
        ("# nothing\n", "there is no data group in it"),
    ],
)
def test_a_file_of_groups_says_where_it_is_wrong(
    managed: Put, run: Run, tmp_path: Path, text: str, message: str
) -> None:
    managed({})
    file = tmp_path / "card.dgi"
    file.write_text(text)
    ran = run("personalise", APPLET, file)
    assert ran.code == 2
    assert message in ran.err


def test_a_file_with_secrets_must_be_private(managed: Put, run: Run, tmp_path: Path) -> None:
    managed({})
    file = tmp_path / "card.dgi"
    file.write_text("8113! 00\n")
    file.chmod(0o644)
    assert run("personalise", APPLET, file).code == 5


# ---- CAP files


def test_a_cap_file_is_shown_hashed_checked_and_signed(keywright: Keywright, cap: Path, key: Path) -> None:
    shown = keywright("card", "cap", "info", cap)
    assert f"package       {PACKAGE} version 1.0" in shown.out
    assert "javacard.framework (A0000000620101) 1.3" in shown.out
    document = json.loads(keywright("card", "cap", "info", cap, "--json").out)
    assert document["applets"] == [APPLET, f"{APPLET}02"]
    digest = keywright("card", "cap", "hash", cap, "--hash", "sha384").out.strip()
    assert len(digest) == 96
    assert keywright("card", "cap", "hash", cap, "--hash", "md5").code == 2
    assert keywright("card", "cap", "lint", cap).out == "nothing is wrong\n"
    signed = keywright("card", "cap", "sign", cap, "--dap-key", key, "--dap-domain", DOMAIN)
    assert len(signed.out.strip()) == 128
    assert keywright("card", "cap", "sign", cap, "--dap-domain", DOMAIN).code == 2


def test_an_import_that_the_card_does_not_have_is_found(keywright: Keywright, tmp_path: Path) -> None:
    path = tmp_path / "b.cap"
    missing = PackageInfo(0, 1, bytes.fromhex("A000000099"))
    path.write_bytes(build_cap(bytes.fromhex(PACKAGE), [bytes.fromhex(APPLET)], [missing]))
    assert keywright("card", "cap", "lint", path).code == 0
    ran = keywright("card", "cap", "lint", path, "--link", "sim:element")
    assert ran.code == 1
    assert "A000000099" in ran.out
    assert ran.out.startswith("error")


def test_a_file_that_is_no_cap_is_refused(keywright: Keywright, tmp_path: Path) -> None:
    path = tmp_path / "x.cap"
    path.write_bytes(b"PK")
    assert keywright("card", "cap", "info", path).code == 6
    assert keywright("card", "cap", "info", tmp_path / "none").code == 2


# ---- the virtual element, from a new card to an empty one


def test_a_card_is_filled_used_and_emptied(keywright: Keywright, tmp_path: Path, cap: Path, key_file: KeyFile) -> None:
    link = f"sim:element?memory={tmp_path / 'card.mem'}"
    groups = tmp_path / "groups.dgi"
    groups.write_text("9102: 5F200141\n8113! 00112233\n9103: 01\n")
    groups.chmod(0o600)
    assert keywright("element", "new", tmp_path / "card.mem").code == 0
    own = key_file(OTHER, kvn="31")
    for words in (
        ("install", cap),
        ("create-domain", DOMAIN),
        ("keys", "put", own, "--domain", DOMAIN),
        ("list", "--domain", DOMAIN, "--keys", own),
        ("personalise", APPLET, groups),
        ("lock", f"{APPLET}02"),
        ("move", APPLET, DOMAIN),
    ):
        ran = keywright("card", *words, "--link", link)
        assert ran.code == 0, (words, ran.err)
    listed = keywright("card", "list", "--link", link)
    assert f"  {DOMAIN}                    SELECTABLE\n    security domain\n    {APPLET}  " in listed.out
    assert "LOCKED (SELECTABLE)" in listed.out
    for words in (("unlock", f"{APPLET}02"), ("uninstall", cap), ("delete", DOMAIN)):
        ran = keywright("card", *words, "--link", link)
        assert ran.code == 0, (words, ran.err)
    document = json.loads(keywright("card", "list", "--link", link, "--json").out)
    assert document["applications"] == document["load_files"] == []


def test_a_recording_of_an_installation_is_opened_whole(keywright: Keywright, tmp_path: Path, cap: Path) -> None:
    trace = tmp_path / "t.jsonl"
    assert keywright("card", "install", cap, "--link", "sim:element", "--trace", trace).code == 0
    told = keywright("decode", trace, "--keys", "gp-test", "--json")
    documents = [json.loads(line) for line in told.out.splitlines()]
    titles = [document["title"] for document in documents if document["session"].endswith("level 33")]
    assert [title for title in titles if not title.startswith("GET STATUS")] == [
        "INSTALL for load",
        "LOAD block 00, last",
        "INSTALL for install and make selectable",
        "INSTALL for install and make selectable",
    ]
    assert all(document["session_is_right"] for document in documents)


@pytest.mark.parametrize(
    "words", [("list",), ("keys",), ("keys", "detect"), ("keys", "rotate", "FILE"), ("install", "CAP")]
)
def test_a_recording_is_a_card_to_the_verb_that_made_it(
    keywright: Keywright, tmp_path: Path, cap: Path, key_file: KeyFile, words: tuple[str, ...]
) -> None:
    trace = tmp_path / "t.jsonl"
    own = key_file(OTHER, kvn="31")
    named = [{"FILE": own, "CAP": cap}.get(word, word) for word in words]
    first = keywright("card", *named, "--link", "sim:element", "--trace", trace, "--json")
    assert first.code == 0, first.err
    more = [] if words in (("keys",), ("keys", "detect")) else ["--keys", "gp-test"]
    more += ["--yes"] if words[-1] in ("FILE", "CAP") else []
    again = keywright("card", *named, "--link", f"replay:{trace}", "--json", *more)
    assert again.code == 0, again.err
    assert {**json.loads(again.out), "link": ""} == {**json.loads(first.out), "link": ""}
