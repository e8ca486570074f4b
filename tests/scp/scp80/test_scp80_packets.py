"""Secured packets against packets of real cards and of implementations that nobody here wrote."""

from __future__ import annotations

import pytest

from keywright.codec.message import Message
from keywright.crypto.aes import AesKey
from keywright.errors import AuthenticationError, DecodeError, PolicyError
from keywright.scp.scp80 import messages
from keywright.scp.scp80.keys import Checksum, KeySet, crc16, crc32
from keywright.scp.scp80.messages import (
    BINDINGS,
    SMS_PP,
    Binding,
    Check,
    CheckAlgorithm,
    CounterMode,
    PorMode,
    SecuredResponse,
    Spi,
    meets,
    status_name,
)
from keywright.scp.scp80.packet import (
    Header,
    Suite,
    breaks,
    command_suite,
    open_command,
    open_response,
    read_command,
    read_response,
    response_suite,
    seal_command,
    seal_response,
    suite_of,
)
from keywright.scp.scp80.profile import Profile
from support.messages import all_messages, check_message, parsed
from support.over_the_air import OLD, binding_of, header_of, key_set_of
from support.vectors import Case, load, unhex

CASES = load("scp/ota_scp80_packets.json")


def of_type(*types: str) -> pytest.MarkDecorator:
    chosen = [case for case in CASES if case["type"] in types]
    return pytest.mark.parametrize("case", chosen, ids=[case["name"] for case in chosen])


def suite_for(case: Case) -> Suite:
    """By the bits alone: some of these packets break rules that came later."""
    at = header_of(case)
    return suite_of(at.spi.check, ciphered=at.spi.ciphered, kic=at.kic, kid=at.kid, keys=key_set_of(case), profile=OLD)


@of_type("rc")
def test_redundancy_checks_are_those_of_the_specification(case: Case) -> None:
    compute = {"CRC16": crc16, "CRC32": crc32}[case["algorithm"]]
    assert compute(unhex(case["data"])) == unhex(case["result"])


@of_type("command")
def test_a_command_packet_is_sealed_to_the_bytes_of_the_recording(case: Case) -> None:
    assert seal_command(header_of(case), unhex(case["secured_data"]), suite_for(case), binding_of(case)) == unhex(
        case["packet"]
    )


@of_type("command")
def test_a_recorded_command_packet_is_opened(case: Case) -> None:
    body = read_command(unhex(case["packet"]), binding_of(case))
    assert (body.spi, body.tar) == (unhex(case["spi"]), unhex(case["tar"]))
    inner = open_command(body, suite_for(case), binding_of(case))
    assert inner.rest == unhex(case["secured_data"])
    assert inner.cntr == int(case["cntr"], 16)


@of_type("response")
def test_a_recorded_response_packet_is_opened_and_sealed_again(case: Case) -> None:
    packet = unhex(case["packet"])
    suite = response_suite(header_of(case), key_set_of(case), OLD) if "spi" in case else Suite()
    body = read_response(packet, binding_of(case))
    inner = open_response(body, suite, binding_of(case))
    assert body.tar == unhex(case["tar"])
    assert (inner.cntr, inner.status) == (int(case["cntr"], 16), int(case["status"], 16))
    assert inner.rest == unhex(case["secured_data"])
    assert inner.pcntr == case.get("pcntr", 0)
    sealed = seal_response(body.tar, SecuredResponse(inner.cntr, 0, inner.status, inner.rest), suite, binding_of(case))
    assert sealed == packet.removeprefix(messages.RESPONSE_UDH)


@of_type("response_negative")
def test_a_recorded_response_that_was_tampered_with_is_refused(case: Case) -> None:
    body = read_response(unhex(case["packet"]), binding_of(case))
    with pytest.raises(AuthenticationError):
        open_response(body, response_suite(header_of(case), key_set_of(case), OLD), binding_of(case))


def test_every_case_of_the_file_is_one_of_these() -> None:
    assert {case["type"] for case in CASES} == {"rc", "command", "response", "response_negative"}


PROTECTED = [case for case in CASES if case["type"] == "command" and int(case["spi"][:2], 16) & 3 == 2]


@pytest.mark.parametrize("case", PROTECTED, ids=[case["name"] for case in PROTECTED])
def test_no_flipped_bit_of_a_checked_command_is_opened(case: Case) -> None:
    packet = unhex(case["packet"])
    at = binding_of(case)
    for bit in range(0, len(packet) * 8, 1 if len(packet) < 64 else 7):
        changed = bytearray(packet)
        changed[bit // 8] ^= 0x80 >> bit % 8
        with pytest.raises((AuthenticationError, DecodeError)):
            open_command(read_command(bytes(changed), at), suite_for(case), at)


CHECKED = [case for case in CASES if case["type"] == "response" and case.get("rc_cc")]


@pytest.mark.parametrize("case", CHECKED, ids=[case["name"] for case in CHECKED])
def test_no_flipped_bit_of_a_checked_response_is_opened(case: Case) -> None:
    packet, at = unhex(case["packet"]).removeprefix(messages.RESPONSE_UDH), binding_of(case)
    suite = response_suite(header_of(case), key_set_of(case), OLD)
    for bit in range(len(packet) * 8):
        changed = bytearray(packet)
        changed[bit // 8] ^= 0x80 >> bit % 8
        with pytest.raises((AuthenticationError, DecodeError)):
            open_response(read_response(bytes(changed), at), suite, at)


def test_the_user_data_header_enters_the_checksum_of_a_response() -> None:
    case = next(case for case in CHECKED if case["name"] == "AES CMAC-64 response, expanded format")
    without = Binding("SMS-PP", b"", b"", b"", wide=True)
    with pytest.raises(AuthenticationError):
        open_response(
            read_response(unhex(case["packet"]), SMS_PP),
            response_suite(header_of(case), key_set_of(case), OLD),
            without,
        )


AES = KeySet.aes(bytes(16), bytes(range(16)))
DES2 = KeySet.des(bytes(16), bytes(range(16)))
SINGLE = KeySet.des(bytes(8), bytes(range(8)))


@pytest.mark.parametrize(
    ("spi", "kic", "kid", "keys", "why"),
    [
        ("1621", 0x12, 0x22, AES, "different key sets"),
        ("0621", 0x12, 0x12, AES, "only rises"),
        ("0E21", 0x12, 0x12, AES, "only rises"),
        ("1625", 0x12, 0x12, AES, "another kind"),
        ("1231", 0x12, 0x12, AES, "only the answer to a ciphered"),
        ("3621", 0x12, 0x12, AES, "reserved"),
        ("1661", 0x12, 0x12, AES, "reserved"),
        ("1623", 0x12, 0x12, AES, "reserved"),
        ("1721", 0x12, 0x12, AES, "signature"),
        ("1621", 0x15, 0x15, AES, "another kind"),
        ("1621", 0x19, 0x19, DES2, "another kind"),
        ("1621", 0x12, 0x12, DES2, "another kind"),
        ("1621", 0x11, 0x11, SINGLE, "refused"),
        ("161D", 0x1D, 0x11, SINGLE, "refused"),
        ("1621", 0x1E, 0x12, AES, "no ciphering"),
        ("1621", 0x13, 0x12, AES, "no ciphering"),
        ("1621", 0x12, 0x1D, AES, "no CC"),
        ("1521", 0x12, 0x12, AES, "no RC"),
        ("1621", 0x10, 0x12, AES, "no ciphering"),
        ("1621", 0x12, 0x12, KeySet(), "no key"),
    ],
)
def test_parameters_that_break_a_rule_are_refused(spi: str, kic: int, kid: int, keys: KeySet, why: str) -> None:
    with pytest.raises(PolicyError, match=why):
        command_suite(Header(Spi.parse(bytes.fromhex(spi)), kic, kid, bytes(3)), keys)


def test_what_is_refused_by_default_can_be_allowed() -> None:
    at = Header(Spi.parse(bytes.fromhex("1621")), 0x11, 0x11, bytes(3))
    assert command_suite(at, SINGLE, Profile(single_des=True)).check_size == 8
    low = Header(Spi.parse(bytes.fromhex("0621")), 0x12, 0x12, bytes(3))
    assert command_suite(low, AES, Profile(aes_needs_counter=False)).check_size == 8


def test_key_set_0_goes_with_every_other() -> None:
    assert not breaks(Header(Spi.of(), 0x02, 0x12, bytes(3)), Suite())
    assert Header(Spi.of(), 0x02, 0x12, bytes(3)).kvn == 1
    assert Header(Spi.of(), 0x32, 0x02, bytes(3)).kvn == 3


def test_spi_is_made_and_read_the_same_way() -> None:
    assert Spi.of(by_submit=True).build().hex() == "1639"
    assert Spi.of(por_check=Check.NONE, por_ciphered=False, by_submit=True).build().hex() == "1621"
    for first in range(256):
        spi = Spi.parse(bytes((first, 0x19)))
        assert spi.build() == bytes((first, 0x19))
        again = Spi.of(spi.check, ciphered=spi.ciphered, counter=spi.counter)
        assert again.first == first & 0x1F
    for second in range(64):
        spi = Spi.parse(bytes((0, second)))
        made = Spi.of(por=spi.por, por_check=spi.por_check, por_ciphered=spi.por_ciphered, by_submit=spi.by_submit)
        assert made.second == second
        assert spi.reserved == (spi.por == PorMode.RESERVED)
    for wrong in (b"", b"\x16", bytes(3)):
        with pytest.raises(DecodeError):
            Spi.parse(wrong)


@pytest.mark.parametrize("minimum", range(0x20))
def test_the_minimum_security_level_is_met_field_by_field(minimum: int) -> None:
    fields = Spi(minimum, 0)
    for first in range(0x20):
        spi = Spi(first, 0)
        met = spi.check >= fields.check and spi.ciphered >= fields.ciphered and spi.counter >= fields.counter
        assert meets(first, minimum) is met


def test_statuses_have_names() -> None:
    assert status_name(0x02) == "counter low"
    assert status_name(0x0D) == status_name(0xBF) == "reserved"
    assert status_name(0xC0) == status_name(0xFE) == "proprietary"


@pytest.mark.parametrize("at", list(BINDINGS.values()), ids=lambda at: at.name)
@pytest.mark.parametrize("size", [0, 1, 127, 128, 255, 256, 1000])
def test_packets_follow_one_another_on_a_stream(at: Binding, size: int) -> None:
    first, second = bytes(size), b"second"
    stream = at.frame(at.command_identifier, first) + at.frame(at.command_identifier, second)
    body, rest = at.cut(at.command_identifier, stream)
    assert body == first
    assert at.unframe(at.command_identifier, rest) == second
    with pytest.raises(DecodeError):
        at.unframe(at.command_identifier, stream)
    for cut in range(min(len(rest), 4)):
        with pytest.raises(DecodeError):
            at.unframe(at.command_identifier, rest[:cut])


def test_a_packet_too_long_for_its_binding_is_refused() -> None:
    with pytest.raises(ValueError, match="65537"):
        SMS_PP.frame(b"", bytes(0x10001))


@pytest.mark.parametrize("cls", all_messages(messages))
def test_every_message_keeps_the_promises_of_a_codec(cls: type[Message]) -> None:
    check_message(cls)


def test_every_prefix_of_a_packet_is_refused() -> None:
    case = next(case for case in CASES if case["name"] == "AES-128 + CMAC-32")
    packet = unhex(case["packet"])
    for size in range(len(packet)):
        assert parsed(lambda data: read_command(data, SMS_PP), packet[:size]) is None


def test_a_checksum_of_a_wrong_size_is_no_match() -> None:
    check = Checksum(CheckAlgorithm.CMAC, AesKey(bytes(16)), 4)
    assert len(check.compute(b"data")) == check.size == 4
    assert CounterMode(3) is CounterMode.NEXT
    with pytest.raises(ValueError, match="8 or 4"):
        KeySet.aes(bytes(16), bytes(16), mac_length=16)
