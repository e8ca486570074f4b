"""Loading, installing, moving and deleting from outside: what is sent, and what each kind of answer comes to."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from keywright.crypto.aes import AesKey
from keywright.errors import PolicyError, StatusError, WireError
from keywright.globalplatform.confirmation import Confirmation
from keywright.globalplatform.dialogues.chaining import send
from keywright.globalplatform.dialogues.content import (
    Installation,
    delete_key,
    delete_object,
    extradite,
    install_for_install,
    install_for_load,
    load,
    load_install_and_make_selectable,
    make_selectable,
    update_registry,
)
from keywright.globalplatform.host import Dialogue
from keywright.globalplatform.install import ControlReference, InstallFor, InstallForLoad
from keywright.globalplatform.load_file import DapBlock, LoadFile, parse_load_file
from keywright.globalplatform.privileges import Privilege
from keywright.globalplatform.tokens import combined_input, delete_input, install_input, split_delete, split_install
from keywright.iso7816.apdu import Command
from support.scripts import refused, sent, talk
from support.vectors import load as vector
from support.vectors import unhex

PACKAGE, APPLET = bytes.fromhex("0102030405"), bytes.fromhex("0102030405060708")
ISD = bytes.fromhex("A000000151000000")
KEY = AesKey(bytes(range(16)))
WHAT = Installation(PACKAGE, APPLET, APPLET)


def foreign(session: str, ins: int, p1: int) -> list[str]:
    """Such commands of a recorded session under C-MAC, as they were before it protected them."""
    case = next(case for case in vector("scp/client_traces.json") if case["name"] == session)
    commands = [Command.parse(unhex(exchange["capdu"])) for exchange in case["exchanges"]]
    return [
        Command(0x80, ins, p1, command.p2, command.data[:-8], command.le).encode().hex().upper()
        for command in commands
        if (command.ins, command.p1) == (ins, p1)
    ]


def test_install_for_load_sends_the_bytes_of_a_foreign_host() -> None:
    assert sent(install_for_load(InstallForLoad(PACKAGE, ISD)), ["009000"]) == foreign("gp_install_mac", 0xE6, 0x02)


def test_load_sends_the_bytes_of_a_foreign_host() -> None:
    (block,) = foreign("gp_install_mac", 0xE8, 0x80)
    file = parse_load_file(Command.parse(bytes.fromhex(block)).data)
    assert sent(load(file, size=247), ["009000"]) == [block]


def test_install_for_install_sends_the_bytes_of_a_foreign_host_but_for_its_three_bytes_of_privileges() -> None:
    (theirs,) = foreign("gp_install_mac", 0xE6, 0x0C)
    (ours,) = sent(install_for_install(WHAT), ["009000"])
    assert ours == theirs.replace("80E60C0020", "80E60C001E").replace("03000000", "0100")


def test_delete_sends_the_bytes_of_a_foreign_host() -> None:
    assert sent(delete_object(PACKAGE, related=True), ["009000"]) == foreign("gp_uninstall", 0xE4, 0x00)


@pytest.mark.parametrize(
    ("dialogue", "command"),
    [
        (
            install_for_install(WHAT, make_selectable=False),
            "80E604001E 050102030405" + 2 * "080102030405060708" + "0100 02C900 00 00",
        ),
        (make_selectable(APPLET), "80E608000F00000801020304050607080100000000"),
        (make_selectable(APPLET, privileges=Privilege.CARD_RESET), "80E608000F00000801020304050607080104000000"),
        (extradite(APPLET, ISD), "80E610001608A00000015100000000080102030405060708 000000 00"),
        (
            update_registry(APPLET, privileges=Privilege.GLOBAL_LOCK),
            "80E6400011 0000" + "080102030405060708 03000800 0000 00",
        ),
        (update_registry(b"", parameters=b"\xef\x03\xd9\x01\x01"), "80E640000B 00000000 05EF03D90101 00 00"),
        (delete_object(APPLET), "80E400000A4F08010203040506070800"),
        (delete_key(kid=1, kvn=0x30), "80E4000006D00101D2013000"),
        (delete_key(kid=1), "80E4000003D0010100"),
    ],
)
def test_every_command_is_built_as_its_clause_has_it(dialogue: Dialogue[object], command: str) -> None:
    assert sent(dialogue, ["9000"]) == [command.replace(" ", "")]


@pytest.mark.parametrize(("answer", "found"), [("9000", Confirmation()), ("009000", Confirmation())])
def test_an_answer_without_a_receipt_tells_nothing(answer: str, found: Confirmation) -> None:
    assert talk(delete_object(APPLET), [answer])[0] == found


def test_a_receipt_is_handed_back_with_its_data() -> None:
    assert talk(delete_object(APPLET), ["02AABB0200079000"])[0] == Confirmation(b"\xaa\xbb", b"\x02\x00\x07")
    assert isinstance(refused(delete_object(APPLET), ["05AA9000"]), WireError)


def test_a_load_file_goes_out_in_numbered_blocks_with_its_signatures_first() -> None:
    file = LoadFile(bytes(20), (DapBlock(ISD, bytes(16)),))
    commands = [Command.parse(bytes.fromhex(text)) for text in sent(load(file, size=16), ["9000"] * 3 + ["009000"])]
    assert [(one.p1, one.p2) for one in commands] == [(0, 0), (0, 1), (0, 2), (0x80, 3)]
    assert b"".join(one.data for one in commands) == file.build()


def test_a_refused_block_ends_the_load_and_is_named() -> None:
    error = refused(load(LoadFile(bytes(40)), size=16), ["9000", "6985"])
    assert "LOAD (block 01 of 03): status 6985" in str(error)
    assert "begin the load again" in error.hint


def test_a_load_file_that_needs_more_than_256_blocks_sends_none() -> None:
    with pytest.raises(ValueError, match="256"):
        talk(load(LoadFile(bytes(300)), size=1), [])


@pytest.mark.parametrize(
    "privileges",
    [Privilege.DELEGATED_MANAGEMENT, Privilege.SECURITY_DOMAIN | Privilege.MANDATED_DAP, Privilege.RECEIPT_GENERATION],
)
def test_privileges_that_conflict_are_refused_before_anything_is_sent(privileges: Privilege) -> None:
    error = refused(install_for_install(Installation(PACKAGE, APPLET, APPLET, privileges)))
    assert isinstance(error, PolicyError)
    assert "needs" in str(error)


# ---- tokens -----------------------------------------------------------------------------------------------------


def sign(signed: bytes) -> bytes:
    """A token that shows what it signs."""
    return KEY.cmac(signed)


@pytest.mark.parametrize(
    "make",
    [
        lambda token: install_for_load(InstallForLoad(PACKAGE, ISD), token=token),
        lambda token: install_for_install(WHAT, token=token),
        lambda token: make_selectable(APPLET, token=token),
        lambda token: extradite(APPLET, ISD, token=token),
        lambda token: update_registry(APPLET, security_domain=ISD, token=token),
    ],
)
def test_a_token_signs_the_command_that_carries_it(
    make: Callable[[Callable[[bytes], bytes] | bytes], Dialogue[Confirmation]],
) -> None:
    (made,) = sent(make(sign), ["9000"])
    command = Command.parse(bytes.fromhex(made))
    _, token = split_install(command.data)
    assert token == KEY.cmac(install_input(command))
    assert sent(make(token), ["9000"]) == [made], "a token that was made elsewhere is sent as it is"


def test_a_token_of_delete_signs_object_and_control_reference() -> None:
    (made,) = sent(delete_object(APPLET, control=ControlReference(b"\x42"), token=sign), ["9000"])
    command = Command.parse(bytes.fromhex(made))
    fields, token = split_delete(command.data)
    assert fields == bytes.fromhex("4F080102030405060708B603420142")
    assert token == KEY.cmac(delete_input(command))


def test_the_token_of_the_combined_process_signs_both_commands_and_stands_in_the_last() -> None:
    dialogue = load_install_and_make_selectable(InstallForLoad(PACKAGE), LoadFile(bytes(8)), WHAT, token=sign)
    first, block, last = (Command.parse(bytes.fromhex(text)) for text in sent(dialogue, ["9000"] * 3))
    assert [(one.p1, one.p2) for one in (first, block, last)] == [(0x0E, 1), (0x80, 0), (0x0E, 3)]
    assert split_install(first.data)[1] == b""
    assert split_install(last.data)[1] == KEY.cmac(combined_input(first, last))


def test_the_combined_process_can_be_told_with_the_bits_of_its_parts() -> None:
    dialogue = load_install_and_make_selectable(InstallForLoad(PACKAGE), LoadFile(bytes(8)), WHAT, p1=InstallFor.LOAD)
    commands = [Command.parse(bytes.fromhex(text)) for text in sent(dialogue, ["9000"] * 3)]
    assert [(one.p1, one.p2) for one in commands] == [(0x02, 1), (0x80, 0), (0x0C, 3)]


# ---- commands in parts ------------------------------------------------------------------------------------------


def test_a_long_token_goes_out_in_parts_that_say_that_more_follows() -> None:
    token = bytes(256)
    commands = [
        Command.parse(bytes.fromhex(text))
        for text in sent(install_for_load(InstallForLoad(PACKAGE, ISD), token=token, size=200), ["9000", "009000"])
    ]
    assert [(one.p1, one.p2, len(one.data)) for one in commands] == [(0x82, 0, 200), (0x02, 0, 76)]
    assert InstallForLoad.parse(b"".join(one.data for one in commands)).token == token


@pytest.mark.parametrize(("length", "parts"), [(9, [9]), (10, [10]), (11, [10, 1]), (20, [10, 10]), (21, [10, 10, 1])])
def test_parts_are_as_long_as_they_may_be(length: int, parts: list[int]) -> None:
    texts = sent(send(Command(0x80, 0xE4, 0, 0, bytes(length), 0), "DELETE", size=10))
    commands = [Command.parse(bytes.fromhex(text)) for text in texts]
    assert [len(command.data) for command in commands] == parts
    assert [command.p1 for command in commands] == [0x80] * (len(parts) - 1) + [0x00]


def test_a_refused_part_ends_the_command() -> None:
    error = refused(install_for_load(InstallForLoad(PACKAGE), token=bytes(256), size=100), ["9000", "6A86"])
    assert isinstance(error, StatusError)
    assert "takes no chained commands" in str(error)


def test_a_part_that_is_answered_with_data_is_the_cards_fault() -> None:
    assert isinstance(refused(delete_object(bytes(16), token=bytes(240)), ["009000"]), WireError)


def test_what_has_no_parts_is_not_cut() -> None:
    with pytest.raises(ValueError, match="no parts"):
        talk(send(Command(0x80, 0xE2, 0x80, 0, bytes(10)), "STORE DATA", size=9), [])


def test_delete_key_of_nothing_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="identifier"):
        talk(delete_key(), [])
