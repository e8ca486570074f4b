"""Pre-shared keys: check values, identities and PUT KEY, against recorded and computed ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.codec.message import Message
from keywright.crypto.aes import AesKey
from keywright.crypto.des import TripleDesKey
from keywright.errors import AuthenticationError, DecodeError
from keywright.iso7816.apdu import Command
from keywright.scp.scp80.keys import PacketDek
from keywright.scp.scp80.profile import Profile
from keywright.scp.scp81 import keys
from keywright.scp.scp81.keys import (
    AES_KCV,
    KeyAttributes,
    Psk,
    attributes_of,
    euicc_identity,
    put_key_block,
    read_euicc_identity,
    read_put_key_block,
)
from support.messages import all_messages, check_message, parsed
from support.over_the_air import flipped
from support.vectors import load, unhex

CASES = {case["name"]: case for case in load("scp/ota_scp81.json")}


def no_random(size: int) -> bytes:
    return bytes(size)


def test_key_check_values_are_the_computed_ones() -> None:
    case = CASES["PSK key check values"]
    psk = Psk(unhex(case["key"]))
    assert psk.kcv() == unhex(case["kcv_alg_10_sha1"])
    assert psk.kcv(AES_KCV) == unhex(case["kcv_alg_11"])
    with pytest.raises(ValueError, match="12"):
        psk.kcv(0x12)


def test_the_identity_of_an_euicc_is_the_recorded_one() -> None:
    case = CASES["PSK identity, eUICC layout"]
    fields = case["fields"]
    text = case["identity_ascii"]
    identity = read_euicc_identity(text)
    assert [identity.version, identity.eid, identity.aid] == [unhex(fields[tag]) for tag in ("80", "81", "4F")]
    assert (identity.kid, identity.kvn) == (int(fields["82"], 16), int(fields["83"], 16))
    assert euicc_identity(identity.eid, identity.aid, identity.kid, identity.kvn) == text
    assert len(text) == case["length"]
    with pytest.raises(ValueError, match="16 bytes"):
        euicc_identity(bytes(15), bytes(16))
    for wrong in ("", "xyz", text[:-1]):
        with pytest.raises(DecodeError):
            read_euicc_identity(wrong)


PUT = CASES["PUT KEY: PSK (KID 01) and DEK (KID 02), KVN 40"]
WRAPPING = PacketDek(AesKey(unhex(PUT["wrapping_dek"])))
BLOCK = Command.parse(unhex(PUT["apdu"])).data[1:]


def test_put_key_carries_the_psk_as_computed_and_the_card_reads_it() -> None:
    psk = Psk(unhex(PUT["psk"]))
    written = put_key_block(psk, WRAPPING, no_random)
    assert BLOCK.startswith(written)
    read, rest = read_put_key_block(BLOCK, WRAPPING.decrypt_sensitive)
    assert read == psk
    assert rest[0] == 0x88
    dek = AesKey(WRAPPING.decrypt_sensitive(rest[3:19]))
    assert dek == AesKey(unhex(PUT["dek_key"]))
    assert rest[20:] == dek.kcv()


@pytest.mark.parametrize("size", [16, 17, 24, 31, 32, 48, 64])
def test_a_psk_of_any_size_survives_under_any_dek(size: int) -> None:
    deks = [WRAPPING, PacketDek(AesKey(bytes(24))), PacketDek(TripleDesKey(bytes(range(16))))]
    deks.append(PacketDek(TripleDesKey(bytes(range(16))), Profile(des_sensitive="CBC")))
    for dek in deks:
        psk = Psk(bytes(range(size)))
        block = put_key_block(psk, dek, no_random)
        assert read_put_key_block(block + b"rest", dek.decrypt_sensitive) == (psk, b"rest")


def test_no_flipped_bit_of_the_key_gets_through() -> None:
    block = put_key_block(Psk(bytes(range(16))), WRAPPING, no_random)
    for bit in range(len(block) * 8):
        try:
            psk, _ = read_put_key_block(flipped(block, bit), WRAPPING.decrypt_sensitive)
        except (AuthenticationError, DecodeError):
            continue
        assert psk == Psk(bytes(range(16))), bit


@given(st.binary(max_size=40))
def test_any_bytes_are_a_block_or_refused(data: bytes) -> None:
    def read(raw: bytes) -> bool:
        try:
            read_put_key_block(raw, lambda blocks: blocks)
        except AuthenticationError:
            return False
        return True

    parsed(read, data)
    parsed(read, b"\x85" + data)


@pytest.mark.parametrize("size", [0, 15, 65])
def test_a_psk_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="16 to 64"):
        Psk(bytes(size))


def test_a_premaster_secret_is_zeros_and_key() -> None:
    assert Psk(b"k" * 16).premaster() == b"\0\x10" + bytes(16) + b"\0\x10" + b"k" * 16


def test_a_psk_is_announced_with_its_check_value() -> None:
    psk = Psk(unhex(CASES["PSK key check values"]["key"]))
    assert attributes_of(psk, 0x40, 1) == KeyAttributes(0x3C, None, 0x85, 16, 1, 0x40, unhex("56178B"), None)
    assert attributes_of(psk, 0x40, 1, AES_KCV).build().hex().upper().endswith("8403D832CB850111")


@pytest.mark.parametrize("cls", all_messages(keys))
def test_every_message_keeps_the_promises_of_a_codec(cls: type[Message]) -> None:
    check_message(cls)


def test_every_case_of_the_file_has_its_test() -> None:
    here = {"PSK identity, eUICC layout", "PSK key check values", "PUT KEY: PSK (KID 01) and DEK (KID 02), KVN 40"}
    assert here <= set(CASES)
    assert len(CASES) == 20
