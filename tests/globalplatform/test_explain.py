"""Exchanges in words: fields from the message classes, and nothing that may be a key."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.codec.message import Message
from keywright.globalplatform import capabilities
from keywright.globalplatform.describe import OBJECTS, DataObject, describe
from keywright.globalplatform.explain import (
    Explanation,
    Knowledge,
    Transcript,
    explain,
    explain_objects,
    explain_response,
)
from keywright.globalplatform.instructions import INSTRUCTIONS, Instruction
from keywright.globalplatform.messages import Cplc, Ins, PutKey, PutKeyField
from keywright.iso7816.apdu import Command, Response
from support.messages import all_messages, check_message
from support.vectors import Case, unhex, vectors


def test_two_bytes_of_i_are_one_option_of_scp11() -> None:
    value = bytes.fromhex("A0078001118102" + "9B06" + "A0078001038102" + "6070")
    told = dict(explain(Command(0x00, 0xCA, 0, 0x67, b"", 0), Response(value)).answered)
    assert [line.split(" A")[0] for line in told.values()] == ["SCP11 i=9B06", "SCP03 i=60, i=70"]


@pytest.mark.parametrize("cls", all_messages(capabilities))
def test_every_message_of_the_capabilities_keeps_the_promises_of_a_codec(cls: type[Message]) -> None:
    check_message(cls)


def told(command: str, answer: str = "") -> Explanation:
    return explain(Command.parse(bytes.fromhex(command)), Response.parse(bytes.fromhex(answer)) if answer else None)


@vectors("scp/client_traces.json")
def test_recorded_sessions_of_foreign_clients_can_be_told_to_their_end(case: Case) -> None:
    transcript = Transcript()
    for exchange in case["exchanges"]:
        command, response = Command.parse(unhex(exchange["capdu"])), Response.parse(unhex(exchange["rapdu"]))
        explanation = transcript.explain(command, response)
        assert explanation.title
        assert explanation.status.startswith(f"{response.sw:04X}")
        if command.ins == Ins.PUT_KEY:
            assert explanation.asked == (("data", f"masked, {len(command.data)} bytes"),)


def test_select_says_what_was_selected_and_what_the_card_says_of_itself() -> None:
    explanation = told("00A4040000", "6f108408a000000151000000a5049f6501ff9000")
    assert explanation.title == "SELECT issuer security domain"
    assert explanation.answered == (("AID", "A000000151000000"), ("proprietary", ""), ("  max data", "255 bytes"))
    assert explanation.status == "9000 ok"


def test_key_information_is_told_key_by_key() -> None:
    explanation = told("80CA00E000", "e012c00401308810c00402308810c004033088109000")
    assert explanation.title == "GET DATA 00E0 (key information)"
    assert explanation.answered[0] == ("keys 1", "KVN 30 KID 01 AES 128 bit")


def test_key_information_of_the_extended_format_is_told_key_by_key() -> None:
    """A 2048-bit modulus has no room in the basic format."""
    told_keys = told("80CA00E000", "e01ac00c0173ffa10100ffa000030000c00a0230ff880010011401009000")
    assert told_keys.answered == (
        ("keys 1", "KVN 73 KID 01 RSA public 2048 bit"),
        ("keys 2", "KVN 30 KID 02 AES 128 bit, usage 14"),
    )


def test_the_iso_class_of_get_data_carries_the_value_alone() -> None:
    value = "c00401308810c00402308810c00403308810"
    assert told("00CA00E000", value + "9000").answered == told("80CA00E000", f"e012{value}9000").answered


def test_initialize_update_is_told_with_its_secure_channel_in_words() -> None:
    explanation = told(
        "8050000008cd346b3d7e140dab00", "0000000000000000000030037086c8bd65fa1044ee8aed03f0685cf1e60000019000"
    )
    assert explanation.title == "INITIALIZE UPDATE KVN 00"
    assert ("secure channel", "SCP03 i=70 (S8, pseudo-random challenge, R-MAC, R-ENC)") in explanation.answered
    assert ("sequence counter", "000001") in explanation.answered


def test_an_answer_of_another_length_is_told_as_it_is() -> None:
    explanation = told("8050000008cd346b3d7e140dab00", "0000019000")
    assert explanation.answered[0][1].startswith("000001 (not as it should be: ")


@pytest.mark.parametrize("ins", [Ins.PUT_KEY, 0x20])
def test_data_that_may_be_keys_is_never_shown(ins: int) -> None:
    secret = bytes.fromhex("00112233445566778899AABBCCDDEEFF")
    explanation = explain(Command(0x80, ins, 0, 0x81, secret))
    assert secret.hex().upper() not in str(explanation)


def test_of_a_protected_command_without_its_session_only_the_header_is_told() -> None:
    explanation = told("84f280020a4f00d7b84eaa51e99bd400")
    assert explanation.title == "GET STATUS issuer security domain (protected)"
    assert explanation.asked == (("data", "protected, 10 bytes"),)


def open_session(level: int, size: int = 8) -> Transcript:
    transcript = Transcript()
    transcript.explain(Command(0x84, 0x82, level, 0, bytes(2 * size)), Response(b""))
    return transcript


def test_a_session_of_c_mac_alone_is_readable() -> None:
    explanation = open_session(0x01).explain(Command.parse(bytes.fromhex("84f280020a4f00d7b84eaa51e99bd400")))
    assert explanation.asked == (("AID", "any"), ("C-MAC", "D7B84EAA51E99BD4"))


def test_a_session_with_encryption_tells_lengths_and_macs() -> None:
    transcript = open_session(0x33)
    explanation = transcript.explain(Command(0x84, 0xCA, 0, 0xE0, bytes(24), 0), Response(bytes(40)))
    assert ("encrypted data", "16 bytes") in explanation.asked
    assert explanation.answered == (("encrypted answer", "32 bytes"), ("R-MAC", "00" * 8))


def test_macs_of_s16_have_16_bytes() -> None:
    explanation = open_session(0x13, 16).explain(
        Command(0x84, 0xF2, 0x80, 2, b"\x4f\x00" + bytes(16)), Response(bytes(16))
    )
    assert explanation.asked == (("encrypted data", "2 bytes"), ("C-MAC", "00" * 16))
    assert explanation.answered == (("R-MAC", "00" * 16),)


@pytest.mark.parametrize("ender", ["00A4040000", "80500000080000000000000000"])
def test_a_select_or_a_new_initialize_update_ends_the_session(ender: str) -> None:
    transcript = open_session(0x01)
    transcript.explain(Command.parse(bytes.fromhex(ender)), Response(b""))
    assert transcript.explain(Command(0x84, 0xF2, 0x80, 2, bytes(10))).asked[0] == ("data", "protected, 10 bytes")


def test_a_reset_ends_every_session() -> None:
    transcript = open_session(0x01)
    transcript.reset()
    assert transcript.explain(Command(0x84, 0xF2, 0x80, 2, bytes(10))).asked[0] == ("data", "protected, 10 bytes")


def test_a_refused_external_authenticate_opens_nothing() -> None:
    transcript = Transcript()
    transcript.explain(Command(0x84, 0x82, 1, 0, bytes(16)), Response(b"", 0x6300))
    assert transcript.explain(Command(0x84, 0xF2, 0x80, 2, bytes(10))).asked[0] == ("data", "protected, 10 bytes")


def test_sessions_belong_to_their_logical_channel() -> None:
    transcript = open_session(0x01)
    assert transcript.explain(Command(0x85, 0xF2, 0x80, 2, bytes(10))).asked == (
        ("logical channel", "1"),
        ("data", "protected, 10 bytes"),
    )


def test_an_application_can_add_its_words() -> None:
    more = Knowledge({0x46: Instruction("MAKE")}, {0xDF01: DataObject("owner")})
    assert explain(Command(0x80, 0x46, 0, 0), None, more).title == "MAKE"
    assert explain(Command(0x80, 0xCA, 0xDF, 1), None, more).title == "GET DATA DF01 (owner)"
    assert told("80460000").title == "INS 46"


def test_an_answer_without_its_command_is_told_by_its_objects() -> None:
    explanation = explain_response(Response.parse(bytes.fromhex("e012c00401308810c00402308810c004033088109000")))
    assert explanation.answered[2] == ("keys 3", "KVN 30 KID 03 AES 128 bit")


@pytest.mark.parametrize("size", [8, 16])
def test_an_answer_to_initialize_update_is_known_by_its_form(size: int) -> None:
    data = bytes(10) + b"\x30\x03\x71" + bytes(2 * size) + bytes(3)
    assert ("KVN", "30") in explain_response(Response(data)).answered


def test_objects_that_nobody_knows_are_not_told() -> None:
    assert explain_objects(bytes.fromhex("DF7A0101")) is None
    assert explain_objects(b"\x4f") is None


@pytest.mark.parametrize(
    ("command", "answer", "title", "line"),
    [
        ("80500102081122334455667788", "", "INITIALIZE UPDATE KVN 01", ("KID", "02")),
        (
            "80500000081122334455667788",
            "00000000000000000000FF010001020304050607081122334455667788" + "9000",
            "INITIALIZE UPDATE KVN 00",
            ("answer", "00000000000000000000FF010001020304050607081122334455667788"),
        ),
        ("80F23000024F00", "", "GET STATUS 30", ("AID", "any")),
        (
            "80F24000024F00",
            "07A0000000000003" + "0700" + "9000",
            "GET STATUS applications",
            ("A0000000000003", "SELECTABLE"),
        ),
        (
            "80F24002024F00",
            "E3124F07A00000000410109F700187C503000000" + "9000",
            "GET STATUS applications",
            ("A0000000041010", "LOCKED (SELECTABLE)"),
        ),
        ("80F0800F", "", "SET STATUS card to SECURED", ()),
        ("80F0408705A000000001", "", "SET STATUS A000000001 to LOCKED (SELECTABLE)", ()),
        ("80E2900003010203", "", "STORE DATA block 00, last", ("data", "010203")),
        ("80E2080003DF0105", "", "STORE DATA block 00", ("part of data groups", "DF0105")),
        ("80E288010BDF01056E6F727468DF0200", "", "STORE DATA block 01, last", ("data group DF01", "6E6F727468")),
        ("80E4000003D20130", "", "DELETE", ("KVN", "30")),
        ("80E40000074F05A000000001", "", "DELETE", ("AID", "A000000001")),
        ("80E60C00", "", "INSTALL for install and make selectable", ()),
        ("0070000001", "", "MANAGE CHANNEL open", ()),
        ("00708002", "", "MANAGE CHANNEL close 02", ()),
        ("80D8308100", "30112233" + "9000", "PUT KEY replace KVN 30", ("KCVS", "112233")),
        ("80CA006700", "6700" + "9000", "GET DATA 0067 (card capabilities)", ("card capabilities", "empty")),
        (
            "00CB004200",
            "999999019000",
            "GET DATA 0042 (issuer identification number)",
            ("issuer identification number", "99999901"),
        ),
        ("80CA006600", "6A009000", "GET DATA 0066 (card data)", ("answer", "6A00")),
        ("80CA006600", "6601009000", "GET DATA 0066 (card data)", None),
        ("80AA0000020102", "0304" + "9000", "INS AA", ("answer", "0304")),
    ],
)
def test_a_command_is_told_by_its_name_and_what_is_in_it(
    command: str, answer: str, title: str, line: tuple[str, str] | tuple[()] | None
) -> None:
    explanation = told(command, answer)
    assert explanation.title == title
    if line is None:
        assert "not as it should be" in explanation.answered[0][1]
    elif line:
        assert line in explanation.asked + explanation.answered


def test_an_entry_of_the_registry_is_told_once() -> None:
    lines = told("80F24002024F00", "E3124F07A00000000410109F700187C503000000" + "9000").answered
    assert [name for name, _ in lines] == ["A0000000041010", "  privileges"]


def test_a_key_field_is_told_without_its_block() -> None:
    field = PutKeyField(0x88, bytes(range(16)), b"\x11\x22\x33")
    assert dict(describe(PutKey(0x30, (field,)))) == {
        "KVN": "30",
        "keys": "AES, block masked (16 bytes), KCV 112233",
    }


def test_the_lines_of_an_exchange_end_with_its_status() -> None:
    assert told("80CA00CF00", "6A88").lines == (("status", "6A88 referenced data not found"),)
    assert told("00A4040000").lines == ()


def test_every_field_of_a_message_has_a_line() -> None:
    cplc = Cplc.parse(bytes(range(42)))
    assert [name for name, _ in describe(cplc)][:3] == ["IC fabricator", "IC type", "OS id"]
    assert len(list(describe(cplc))) == len(Cplc.__struct_fields__)


@given(st.sampled_from(sorted(INSTRUCTIONS)), st.binary(max_size=60), st.binary(max_size=60), st.integers(0, 255))
def test_any_bytes_can_be_told(ins: int, data: bytes, answer: bytes, p1: int) -> None:
    for cla in (0x00, 0x80, 0x84):
        for sw in (0x9000, 0x6A88):
            assert explain(Command(cla, ins, p1, 0x02, data), Response(answer, sw)).title


@given(st.sampled_from(sorted(OBJECTS)), st.binary(max_size=60))
def test_any_object_can_be_told(number: int, value: bytes) -> None:
    assert explain(Command(0x00, 0xCA, number >> 8, number & 0xFF), Response(value)).status == "9000 ok"


@given(st.binary(max_size=80))
def test_any_answer_can_be_told(data: bytes) -> None:
    assert explain_response(Response(data)).title == "answer"
