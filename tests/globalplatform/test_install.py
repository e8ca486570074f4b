"""INSTALL, LOAD, DELETE and their answers on the wire."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.codec.message import Message
from keywright.errors import DecodeError
from keywright.globalplatform import (
    card_objects,
    channel_management,
    confirmation,
    deletion,
    install,
    legacy_status,
    load_file,
)
from keywright.globalplatform.card_objects import ApplicationList, CounterValue, Resources, TagList, sequence_counter
from keywright.globalplatform.confirmation import Confirmation, ConfirmationData
from keywright.globalplatform.deletion import DeleteObject, parse_delete
from keywright.globalplatform.install import (
    LEGAL_INSTALLS,
    Combined,
    ControlReference,
    InstallFor,
    InstallForExtradition,
    InstallForInstall,
    InstallForLoad,
    InstallForMakeSelectable,
    InstallForPersonalization,
    InstallForRegistryUpdate,
    InstallParameters,
    InstallSystemParameters,
    LoadParameters,
    LoadSystemParameters,
    RegistryParameters,
    UiccParameters,
    install_data,
    memory_quota,
)
from keywright.globalplatform.legacy_status import build_legacy, parse_legacy
from keywright.globalplatform.load_file import DapBlock, LoadFile, parse_load_file, split_load_file
from keywright.globalplatform.messages import ApplicationEntry, DeleteKey, StatusScope
from keywright.iso7816.apdu import Command
from support.messages import all_messages, check_message, parsed
from support.vectors import load, unhex

MODULES = (install, deletion, load_file, confirmation, card_objects, legacy_status, channel_management)
MESSAGES = [cls for module in MODULES for cls in all_messages(module)]
PACKAGE, APPLET = bytes.fromhex("0102030405"), bytes.fromhex("0102030405060708")
ISD = bytes.fromhex("A000000151000000")


@pytest.mark.parametrize("cls", MESSAGES, ids=lambda cls: cls.__name__)
def test_every_message_keeps_the_promises_of_a_codec(cls: type[Message]) -> None:
    check_message(cls)


def sent(ins: int, p1: int) -> list[bytes]:
    """Data of every such command of the recorded session with C-MAC only, its MAC taken off."""
    case = next(case for case in load("scp/client_traces.json") if case["name"] == "gp_install_mac")
    commands = [Command.parse(unhex(exchange["capdu"])) for exchange in case["exchanges"]]
    return [command.data[:-8] for command in commands if (command.ins, command.p1) == (ins, p1)]


def test_install_for_load_of_a_foreign_host() -> None:
    (data,) = sent(0xE6, 0x02)
    assert InstallForLoad.parse(data) == InstallForLoad(PACKAGE, ISD)
    assert InstallForLoad(PACKAGE, ISD).build() == data


def test_install_for_install_of_a_foreign_host() -> None:
    (data,) = sent(0xE6, 0x0C)
    found = InstallForInstall.parse(data)
    assert found == InstallForInstall(PACKAGE, APPLET, APPLET, bytes(3))
    assert InstallParameters.parse(found.parameters) == InstallParameters(b"")
    assert found.build() == data


def test_the_load_file_of_a_foreign_host_is_one_data_block() -> None:
    (data,) = sent(0xE8, 0x80)
    found = parse_load_file(data)
    assert found.block[:7] == bytes.fromhex("01000FDECAFFED")
    assert not found.daps
    assert found.build() == data


@pytest.mark.parametrize("length", ["80", "8180", "820080", "83000080"])
def test_a_length_of_128_is_read_in_every_form(length: str) -> None:
    data = b"\x05" + PACKAGE + b"\0\0\0" + bytes.fromhex(length) + bytes(128)
    found = InstallForLoad.parse(data)
    assert found.token == bytes(128)
    assert found.build()[9:11] == b"\x81\x80", "as TLV has it, which every card reads"


def test_a_token_of_256_bytes_takes_a_length_of_three() -> None:
    data = InstallForLoad(PACKAGE, token=bytes(256)).build()
    assert data[9:12] == b"\x82\x01\x00"
    assert InstallForLoad.parse(data).token == bytes(256)


@pytest.mark.parametrize(
    ("message", "data"),
    [
        (InstallForMakeSelectable(b"", b"", APPLET, b"\x04"), "0000 08 0102030405060708 01 04 00 00"),
        (InstallForExtradition(ISD, b"", APPLET), "08 A000000151000000 00 08 0102030405060708 00 00 00"),
        (InstallForRegistryUpdate(b"", b"", APPLET, bytes(3)), "0000 08 0102030405060708 03 000000 00 00"),
        (InstallForPersonalization(b"", b"", APPLET), "0000 08 0102030405060708 00 00 00"),
    ],
)
def test_every_role_has_six_fields_in_its_order(message: Message, data: str) -> None:
    assert message.build() == bytes.fromhex(data)
    assert type(message).parse(bytes.fromhex(data)) == message


def test_parameters_of_memory_and_services_are_read_from_ef() -> None:
    raw = bytes.fromhex("C902AABB EF16 C7020100 C80400010000 CB028101 CF0140 D7020010 D8020020".replace(" ", ""))
    raw = raw[:5] + bytes((len(raw) - 6,)) + raw[6:]
    found = InstallParameters.parse(raw)
    assert found.application == b"\xaa\xbb"
    assert found.system == InstallSystemParameters(
        volatile_quota=b"\x01\x00",
        non_volatile_quota=b"\x00\x01\x00\x00",
        global_services=(b"\x81\x01",),
        implicit_selection=(b"\x40",),
        volatile_reserved=b"\x00\x10",
        non_volatile_reserved=b"\x00\x20",
    )
    assert found.system is not None
    assert memory_quota(found.system.non_volatile_quota) == 0x10000
    assert memory_quota(None) is None
    with pytest.raises(ValueError, match="2 or 4"):
        memory_quota(b"\x01")
    assert found.build() == raw


def test_toolkit_parameters_stand_in_ea_or_ca_or_inside_ef() -> None:
    data = bytes.fromhex("EA0C800A01000001000000020112C900CA01AA")
    found = InstallParameters.parse(data)
    assert found.uicc == UiccParameters(bytes.fromhex("01000001000000020112"))
    assert found.application == b""
    assert found.sim_toolkit == b"\xaa"
    assert InstallParameters.parse(bytes.fromhex("C900EF03CA01BB")).system == InstallSystemParameters(toolkit=b"\xbb")


def test_a_control_reference_names_issuer_image_provider_and_token() -> None:
    data = bytes.fromhex("EF04C6020400B60D420112450134 5F2001569301 78".replace(" ", ""))
    found = LoadParameters.parse(data)
    assert found.system == LoadSystemParameters(code_bytes=b"\x04\x00")
    assert found.control == ControlReference(b"\x12", b"\x34", b"\x56", b"\x78")
    assert found.build() == data


def test_registry_parameters_are_read_with_ef_and_without() -> None:
    inside, outside = (RegistryParameters.parse(bytes.fromhex(text)) for text in ("EF03D90110", "D90110"))
    assert inside.system is not None
    assert (inside.system.restrict, outside.restrict) == (b"\x10", b"\x10")


def test_what_is_not_known_is_kept() -> None:
    data = bytes.fromhex("C900DF0101AA")
    assert InstallParameters.parse(data).others == ((0xDF01, b"\xaa"),)


@pytest.mark.parametrize("p1", range(0x80))
def test_only_the_legal_roles_have_data(p1: int) -> None:
    kinds = [install_data(p1, p2) for p2 in (Combined.NO, Combined.FIRST, Combined.LAST)]
    assert any(kinds) == (p1 in LEGAL_INSTALLS)
    assert [install_data(p1 | 0x80, p2) for p2 in (0, 1, 3)] == kinds, "bit 80 says that more follows"


def test_a_combined_process_begins_with_load_and_ends_with_install() -> None:
    everything = InstallFor.LOAD_INSTALL_AND_MAKE_SELECTABLE
    assert install_data(everything, Combined.FIRST) is InstallForLoad
    assert install_data(everything, Combined.LAST) is InstallForInstall
    assert install_data(everything) is None
    assert install_data(InstallFor.LOAD, Combined.FIRST) is InstallForLoad
    assert install_data(InstallFor.INSTALL_AND_MAKE_SELECTABLE, Combined.LAST) is InstallForInstall
    assert install_data(InstallFor.LOAD, Combined.LAST) is None
    assert install_data(InstallFor.EXTRADITION, Combined.FIRST) is None
    assert install_data(InstallFor.LOAD, 2) is None


# ---- load files -------------------------------------------------------------------------------------------------

DAP = DapBlock(ISD, b"\x11" * 16)


@pytest.mark.parametrize(
    "file",
    [
        LoadFile(b"code"),
        LoadFile(b"code", (DAP, DapBlock(APPLET, b"\x22" * 64))),
        LoadFile(bytes(16), (DAP,), ciphered=True),
        LoadFile(bytes(16), ciphered=True, icv=bytes(16)),
    ],
)
def test_a_load_file_is_read_as_it_was_built(file: LoadFile) -> None:
    data = file.build()
    assert parse_load_file(data) == file
    for size in range(len(data)):
        with pytest.raises(DecodeError):
            parse_load_file(data[:size])


@pytest.mark.parametrize("data", ["", "C40101E2024F00", "C40101C40102", "D30101C40101", "D30101", "450101C40101"])
def test_a_load_file_of_another_order_is_refused(data: str) -> None:
    with pytest.raises(DecodeError):
        parse_load_file(bytes.fromhex(data))


def test_an_icv_needs_ciphering() -> None:
    with pytest.raises(ValueError, match="ICV"):
        LoadFile(b"code", icv=bytes(16)).build()


@given(st.binary(max_size=60))
def test_any_bytes_are_a_load_file_or_refused(data: bytes) -> None:
    found = parsed(parse_load_file, data)
    assert found is None or parse_load_file(found.build()) == found


def test_blocks_are_numbered_and_the_last_is_marked() -> None:
    assert list(split_load_file(b"abcde", 2)) == [(0, 0, b"ab"), (0, 1, b"cd"), (0x80, 2, b"e")]
    assert list(split_load_file(b"abcd", 2)) == [(0, 0, b"ab"), (0x80, 1, b"cd")]
    assert len(list(split_load_file(bytes(256), 1))) == 256
    with pytest.raises(ValueError, match="256"):
        list(split_load_file(bytes(257), 1))


# ---- DELETE and answers -----------------------------------------------------------------------------------------


def test_delete_tells_objects_from_keys() -> None:
    assert parse_delete(bytes.fromhex("4F050102030405")) == DeleteObject(PACKAGE)
    assert parse_delete(bytes.fromhex("4F050102030405B6034201129E02AABB")) == DeleteObject(
        PACKAGE, ControlReference(b"\x12"), b"\xaa\xbb"
    )
    assert parse_delete(bytes.fromhex("D00101D20130")) == DeleteKey(1, 0x30)


@pytest.mark.parametrize("data", ["", "4F0101D00101", "9E0101", "D0020101", "4F"])
def test_delete_of_neither_or_both_is_refused(data: str) -> None:
    with pytest.raises(DecodeError):
        parse_delete(bytes.fromhex(data))


def test_an_answer_without_a_receipt_is_one_zero() -> None:
    assert Confirmation().build() == confirmation.no_confirmation() == b"\0"
    assert Confirmation.parse(b"\0") == Confirmation()


def test_an_answer_with_a_receipt_carries_its_confirmation_data() -> None:
    data = ConfirmationData(CounterValue(7), b"\x42\x45", b"\x09")
    assert data.build() == bytes.fromhex("020007 024245 09".replace(" ", ""))
    answer = Confirmation(b"\xaa" * 16, data.build())
    assert Confirmation.parse(answer.build()) == answer


# ---- other objects ----------------------------------------------------------------------------------------------


def test_resources_and_lists_and_counters() -> None:
    assert Resources.parse(bytes.fromhex("810102820400010000830210 00".replace(" ", ""))) == Resources(2, 65536, 4096)
    assert TagList(b"").build() == b"\x5c\x00"
    both = ApplicationList.parse(bytes.fromhex("61074F0501020304054F080102030405060708"))
    assert both.all_aids == (PACKAGE, APPLET)
    assert sequence_counter(b"\x00\x00\x05") == 5
    with pytest.raises(DecodeError):
        sequence_counter(b"\x05")


def test_the_old_format_of_get_status_is_read_by_scope() -> None:
    data = bytes.fromhex("08A000000151000000 0F 9E".replace(" ", ""))
    entries = parse_legacy(data, StatusScope.ISSUER_DOMAIN)
    assert entries == (ApplicationEntry(ISD, 0x0F, b"\x9e"),)
    assert build_legacy(entries, StatusScope.ISSUER_DOMAIN) == data
    files = parse_legacy(bytes.fromhex("050102030405 01 00 01 080102030405060708".replace(" ", "")), 0x10)
    assert files == (ApplicationEntry(PACKAGE, 1, modules=(APPLET,)),)
    assert parse_legacy(bytes.fromhex("0501020304050100"), 0x20) == (ApplicationEntry(PACKAGE, 1),)
    assert parse_legacy(build_legacy(files, 0x10), 0x10) == files
