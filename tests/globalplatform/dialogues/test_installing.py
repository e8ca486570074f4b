"""Whole tasks: a CAP file onto a card and off it again, a domain of one's own."""

from __future__ import annotations

import hashlib

import pytest

from keywright.crypto.aes import AesKey
from keywright.errors import PolicyError, StatusError, UsageError
from keywright.globalplatform.cap.build import make_cap
from keywright.globalplatform.cap.components import PackageInfo
from keywright.globalplatform.cap.lint import CardPackage
from keywright.globalplatform.dap import verify_dap
from keywright.globalplatform.dialogues.installing import Loading, Wanted, create_domain, install_cap, uninstall_cap
from keywright.globalplatform.install import InstallForInstall, InstallForLoad, InstallParameters, UiccParameters
from keywright.globalplatform.load_file import parse_load_file
from keywright.globalplatform.privileges import Privilege
from keywright.globalplatform.profile import DEFAULT, CardProfile, RestrictBits
from keywright.iso7816.apdu import Command, Response
from keywright.sansio.dialogue import drive
from support.scripts import refused, sent, talk

PACKAGE = bytes.fromhex("F06B770001")
ONE, TWO, INSTANCE = PACKAGE + b"\x01", PACKAGE + b"\x02", bytes.fromhex("F06B7700010101")
ISD = bytes.fromhex("A000000151000000")
CAP = make_cap(PACKAGE, [ONE, TWO], code_bytes=300)
KEY = AesKey(bytes(range(16)))


def commands(texts: list[str]) -> list[Command]:
    return [Command.parse(bytes.fromhex(text)) for text in texts]


def test_a_cap_file_is_announced_loaded_and_its_applets_installed() -> None:
    found, texts = talk(install_cap(CAP))
    first, *loads, one, two = commands(texts)
    assert InstallForLoad.parse(first.data) == InstallForLoad(PACKAGE)
    assert b"".join(command.data for command in loads) == CAP.load_file().build()
    assert [(command.p1, command.p2) for command in loads] == [(0, 0), (0x80, 1)]
    assert InstallForInstall.parse(one.data) == InstallForInstall(PACKAGE, ONE, ONE, b"\0")
    assert InstallForInstall.parse(two.data).instance == TWO
    assert [aid for aid, _ in found.applets] == [ONE, TWO]


def test_an_applet_is_installed_under_another_name_with_what_it_is_given() -> None:
    wanted = Wanted(ONE, INSTANCE, Privilege.CARD_RESET, InstallParameters(uicc=UiccParameters(b"\x01")))
    data = commands(sent(install_cap(CAP, [wanted])))[-1].data
    found = InstallForInstall.parse(data)
    assert (found.module, found.instance, found.privileges) == (ONE, INSTANCE, b"\x04")
    assert found.parameters == bytes.fromhex("C900EA03800101"), "C9 is mandatory, and may be empty"


def test_a_signed_load_file_brings_its_hash_and_its_signatures() -> None:
    how = Loading(domain=ISD, signers=((ISD, KEY),), token=KEY.cmac)
    first, *loads = commands(sent(install_cap(CAP, [], how)))
    announced = InstallForLoad.parse(first.data)
    assert announced.security_domain == ISD
    assert announced.hash == hashlib.sha256(CAP.load_block()).digest()
    assert len(announced.token) == 16
    (dap,) = parse_load_file(b"".join(command.data for command in loads)).daps
    verify_dap(KEY, announced.hash, dap)


def test_a_ciphered_load_file_has_no_code_in_clear() -> None:
    texts = sent(install_cap(CAP, [], Loading(cipher=KEY, hash="sha384")))
    first, *loads = commands(texts)
    assert len(InstallForLoad.parse(first.data).hash) == 48
    data = b"".join(command.data for command in loads)
    assert parse_load_file(data).ciphered
    assert b"\xde\xca\xff\xed" not in data


def test_the_combined_process_installs_one_applet() -> None:
    texts = commands(sent(install_cap(CAP, [Wanted(ONE)], combined=True)))
    assert [(command.ins, command.p1, command.p2) for command in (texts[0], texts[-1])] == [
        (0xE6, 0x0E, 1),
        (0xE6, 0x0E, 3),
    ]
    assert isinstance(refused(install_cap(CAP, combined=True)), UsageError)
    old = commands(sent(install_cap(CAP, [Wanted(ONE)], combined=True, profile=CardProfile(combined_p1=0x02))))
    assert (old[0].p1, old[-1].p1) == (0x02, 0x0C)


def test_what_the_card_would_refuse_is_not_sent() -> None:
    importing = make_cap(PACKAGE, [ONE], [PackageInfo(0, 1, bytes.fromhex("F06B770009"))])
    assert "not on the card" in str(refused(install_cap(importing, card=[])))
    assert "on the card already" in str(refused(install_cap(CAP, card=[CardPackage(PACKAGE)])))
    assert "no applet" in str(refused(install_cap(CAP, [Wanted(INSTANCE)])))


def test_when_an_applet_is_refused_all_of_it_goes_again() -> None:
    dialogue = install_cap(CAP, size=247)
    error = refused(dialogue, ["9000", "9000", "9000", "9000", "6A80", "9000"])
    assert isinstance(error, StatusError)
    assert error.sw == 0x6A80
    assert refused(install_cap(CAP, undo=False), ["9000", "9000", "9000", "6A80"]).code == "status"


def test_the_undo_deletes_the_load_file_and_what_came_of_it() -> None:
    texts: list[str] = []

    def exchange(command: Command) -> Response:
        texts.append(command.encode().hex().upper())
        return Response(b"", 0x6A80 if command.ins == 0xE6 and TWO in command.data else 0x9000)

    with pytest.raises(StatusError):
        drive(install_cap(CAP), exchange)
    assert texts[-1] == "80E40080074F05F06B77000100"


def test_what_was_refused_first_is_told_even_if_the_undo_is_refused_too() -> None:
    error = refused(install_cap(CAP, size=247), ["9000", "9000", "9000", "9000", "6A80", "6982"])
    assert isinstance(error, StatusError)
    assert error.sw == 0x6A80
    assert "6982" in error.hint


def test_uninstalling_deletes_the_load_file_with_its_applets() -> None:
    assert sent(uninstall_cap(CAP)) == ["80E40080074F05F06B77000100"]


def test_a_domain_is_an_instance_of_the_module_that_globalplatform_named() -> None:
    (command,) = commands(sent(create_domain(INSTANCE, Privilege.TRUSTED_PATH)))
    found = InstallForInstall.parse(command.data)
    assert (found.load_file.hex(), found.module.hex()) == ("a0000001515350", "a000000151535041")
    assert (command.p1, found.privileges.hex(), found.parameters.hex()) == (0x0C, "808000", "c900")
    assert isinstance(refused(create_domain(INSTANCE, Privilege.MANDATED_DAP)), PolicyError)


def test_every_unsure_fact_is_a_field_that_can_be_changed() -> None:
    assert CardProfile() == DEFAULT
    assert CardProfile(restrict=RestrictBits(load=0x80)).restrict.load == 0x80
    with pytest.raises(AttributeError):
        DEFAULT.receipts = False  # type: ignore[misc]  # frozen, which is what is tested
