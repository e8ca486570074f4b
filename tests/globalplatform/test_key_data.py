"""Data of PUT KEY and of key information for every kind of key."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.codec.message import Message
from keywright.errors import DecodeError
from keywright.globalplatform import key_data
from keywright.globalplatform.key_data import (
    ENCRYPTED,
    KEY_LOAD_GROUP,
    KEY_VALUE_GROUP,
    ComponentType,
    KeyAccess,
    KeyField,
    KeyLoad,
    KeyLoads,
    KeyPart,
    KeyUsage,
    NewKeys,
    joined_secret,
    parse_put_key,
    split_secret,
)
from keywright.globalplatform.key_information import KeyDescription, basic, build_keys, parse_keys
from keywright.globalplatform.messages import KeyComponent, KeyEntry, KeyInformation, build_dgi, parse_dgi
from keywright.iso7816.apdu import Command
from support.messages import all_messages, check_message, parsed
from support.vectors import load, unhex

KCV = bytes.fromhex("504A77")
CIPHERTEXT = bytes.fromhex("80D2A5B08FA0EE51143B459E638106DF")


@pytest.mark.parametrize("cls", all_messages(key_data))
def test_every_message_keeps_the_promises_of_a_codec(cls: type[Message]) -> None:
    check_message(cls)


def test_put_key_of_a_foreign_host_has_three_keys_with_inner_lengths() -> None:
    case = next(case for case in load("scp/client_traces.json") if case["name"] == "gp_lock")
    command = Command.parse(unhex(case["exchanges"][4]["capdu"]))
    found = parse_put_key(command.data[:-8])
    assert found.kvn == 0x30
    assert found.keys == (KeyField((KeyPart(0x88, b"\x10" + CIPHERTEXT),), KCV),) * 3
    assert found.keys[0].parts[0].opened_size() == (16, CIPHERTEXT)
    assert found.build() == command.data[:-8]


def parts(*pairs: tuple[int, bytes]) -> tuple[KeyPart, ...]:
    return tuple(KeyPart(kind, value) for kind, value in pairs)


POINT = b"\x04" + bytes(range(64))
KEYS = {
    "aes without inner length": ("8810" + CIPHERTEXT.hex() + "03504A77", KeyField(parts((0x88, CIPHERTEXT)), KCV)),
    "des without check value": ("8010" + CIPHERTEXT.hex() + "00", KeyField(parts((0x80, CIPHERTEXT)))),
    "rsa public": ("A103AABBCCA00301000100", KeyField(parts((0xA1, b"\xaa\xbb\xcc"), (0xA0, b"\x01\x00\x01")))),
    "ec public": ("B041" + POINT.hex() + "F0010000", KeyField(parts((0xB0, POINT), (0xF0, b"\0")))),
    "ec private": ("B110" + CIPHERTEXT.hex() + "F0010000", KeyField(parts((0xB1, CIPHERTEXT), (0xF0, b"\0")))),
    "psk": ("8511" + "10" + CIPHERTEXT.hex() + "03504A77", KeyField(parts((0x85, b"\x10" + CIPHERTEXT)), KCV)),
    "rsa crt": (
        "A40801020304050607 08A50102A60103A70104A8010500".replace(" ", ""),
        KeyField(
            parts((0xA4, bytes(range(1, 9))), (0xA5, b"\2"), (0xA6, b"\3"), (0xA7, b"\4"), (0xA8, b"\5")),
        ),
    ),
    "extended": (
        "FF8810" + CIPHERTEXT.hex() + "03504A77" + "0118" + "0100",
        KeyField(parts((0x88, CIPHERTEXT)), KCV, extended=True, usage=b"\x18", access=b"\0"),
    ),
    "extended of two components": (
        "FFB00104FFF0010000" + "028100" + "00",
        KeyField(parts((0xB0, b"\4"), (0xF0, b"\0")), extended=True, usage=b"\x81\0"),
    ),
}


@pytest.mark.parametrize("name", KEYS)
def test_every_kind_of_key_is_read_and_written(name: str) -> None:
    text, field = KEYS[name]
    data = b"\x30" + bytes.fromhex(text)
    assert parse_put_key(data) == NewKeys(0x30, (field,))
    assert NewKeys(0x30, (field,)).build() == data
    assert parse_put_key(data + data[1:]) == NewKeys(0x30, (field, field))


@pytest.mark.parametrize("name", KEYS)
def test_a_key_cut_short_is_refused_or_is_another_key_of_that_length(name: str) -> None:
    data = b"\x30" + bytes.fromhex(KEYS[name][0])
    for size in range(len(data)):
        found = parsed(parse_put_key, data[:size])
        assert found is None or found.build() == data[:size]
    for size in range(2, len(data)):
        with pytest.raises(DecodeError):
            parse_put_key(data[:size])


@given(st.binary(max_size=60))
def test_any_bytes_are_put_key_data_or_refused(data: bytes) -> None:
    found = parsed(parse_put_key, data)
    assert found is None or parse_put_key(found.build()) == found


@pytest.mark.parametrize("length", ["80", "8180", "820080"])
def test_a_component_of_128_bytes_is_read_in_every_form(length: str) -> None:
    data = b"\x70\xa1" + bytes.fromhex(length) + bytes(128) + bytes.fromhex("A003010001") + b"\0"
    assert parse_put_key(data).keys[0].parts[0].value == bytes(128)


@pytest.mark.parametrize("data", ["", "3003", "30FF0800", "30FFFF0100", "308001AAFF8001AA00", "3088010003"])
def test_what_is_no_key_is_refused(data: str) -> None:
    with pytest.raises(DecodeError):
        parse_put_key(bytes.fromhex(data))


@pytest.mark.parametrize(
    "field",
    [
        KeyField(()),
        KeyField(parts((0x08, b"a"))),
        KeyField(parts((0xFF, b"a"))),
        KeyField(parts((0x88, b"a")), usage=b"\1"),
        KeyField(parts((0x88, b"a")), bytes(128)),
    ],
)
def test_a_key_that_nobody_could_read_is_not_built(field: KeyField) -> None:
    with pytest.raises(ValueError, match=r"key|check value"):
        field.build()


@pytest.mark.parametrize(
    ("size", "block", "with_length"),
    [(16, 16, 17), (24, 16, 33), (32, 16, 33), (16, 8, 17), (24, 8, 25), (100, 16, 113), (128, 8, 130), (256, 16, 259)],
)
def test_a_secret_is_split_with_its_length_and_without(size: int, block: int, with_length: int) -> None:
    ciphertext = bytes(size + -size % block)
    joined = joined_secret(size, ciphertext)
    assert len(joined) == with_length
    assert split_secret(joined, block) == (size, ciphertext)
    assert split_secret(ciphertext, block) == (len(ciphertext), ciphertext)


def test_a_length_of_128_may_stand_on_one_byte() -> None:
    assert split_secret(b"\x80" + bytes(128), 16) == (128, bytes(128))


@pytest.mark.parametrize(
    "value", ["11" + "00" * 16, "00" + "00" * 16, "20" + "00" * 16, "8110" + "00" * 16 + "00", "01"]
)
def test_a_length_that_its_ciphertext_cannot_have_is_refused(value: str) -> None:
    with pytest.raises(DecodeError):
        split_secret(bytes.fromhex(value), 16)


def test_usage_and_access_have_the_values_of_their_tables() -> None:
    usages = {name: value for name, value in vars(KeyUsage).items() if name.isupper()}
    assert usages == {
        "C_MAC": 0x14,
        "R_MAC": 0x24,
        "C_MAC_R_MAC": 0x34,
        "C_ENC": 0x18,
        "R_ENC": 0x28,
        "C_ENC_R_ENC": 0x38,
        "C_DEK": 0x48,
        "R_DEK": 0x88,
        "C_DEK_R_DEK": 0xC8,
        "PSK_TLS": 0x3C,
        "TOKEN_VERIFICATION": 0x81,
        "RECEIPT_GENERATION": 0x44,
        "DAP_VERIFICATION": 0x84,
    }
    assert (KeyAccess.DOMAIN_AND_APPLICATIONS, KeyAccess.DOMAIN_ONLY, KeyAccess.APPLICATIONS_ONLY) == (0, 1, 2)


def test_every_secret_type_is_known_as_one_and_no_public_one() -> None:
    secret = {0x80, 0x83, 0x84, 0x85, 0x88, 0x90, 0x91, 0xA3, 0xA4, 0xA5, 0xA6, 0xA7, 0xA8, 0xB1}
    public = {0xA0, 0xA1, 0xA2, 0xB0, 0xB2, 0xB3, 0xB4, 0xB5, 0xB6, 0xB7, 0xF0}
    types = {value for name, value in vars(ComponentType).items() if name.isupper()}
    assert types == secret | public
    assert types & ENCRYPTED == secret


def test_a_key_load_is_announced_and_then_brought() -> None:
    announced = KeyLoads((KeyLoad(usage=b"\x3c", type=0x85, length=b"\x10", kid=1, kvn=0x40, kcv=KCV),))
    data = build_dgi(((KEY_LOAD_GROUP, announced.build()), (KEY_VALUE_GROUP, CIPHERTEXT)))
    assert data.hex().upper().startswith("00B916B91495013C80018581011082010183014084 03".replace(" ", ""))
    first, second = parse_dgi(data)
    assert KeyLoads.parse(first[1]) == announced
    assert second == (KEY_VALUE_GROUP, CIPHERTEXT)


# ---- key information --------------------------------------------------------------------------------------------


def test_key_information_is_read_in_both_formats() -> None:
    data = bytes.fromhex("C00401308810" + "C00A0270FFA1010001810100")
    assert parse_keys(data) == (
        KeyDescription(1, 0x30, ((0x88, 16),)),
        KeyDescription(2, 0x70, ((0xA1, 256),), b"\x81", b"\0"),
    )
    assert build_keys(parse_keys(data)) == data
    assert basic(parse_keys(data)) == KeyInformation(
        (KeyEntry(1, 0x30, (KeyComponent(0x88, 16),)), KeyEntry(2, 0x70, (KeyComponent(0xA1, 0),)))
    )


@pytest.mark.parametrize("entry", ["", "01", "013088", "0130FF", "0130FF8800", "0130FF880010", "0130FF880010000000"])
def test_key_information_that_is_cut_short_is_refused(entry: str) -> None:
    data = bytes.fromhex(entry)
    with pytest.raises(DecodeError):
        parse_keys(b"\xc0" + bytes((len(data),)) + data)


@given(st.binary(max_size=40))
def test_any_bytes_are_key_information_or_refused(data: bytes) -> None:
    found = parsed(parse_keys, data)
    assert found is None or parse_keys(build_keys(found)) == found
