"""The wire and the records of the profile: every class keeps the promises of a codec."""

from __future__ import annotations

import itertools

import pytest

from keywright.ccc import memory, messages, records, sharing, statements, tracking
from keywright.ccc.messages import AppletSelected, FrameworkSelected, KeyCreation, SpakeRequest, versions
from keywright.codec.message import Message
from keywright.errors import DecodeError
from support.messages import all_messages, check_message

ALL = list(itertools.chain(*map(all_messages, (messages, records, statements, tracking, memory, sharing))))


@pytest.mark.parametrize("cls", ALL)
def test_every_message_keeps_the_promises_of_a_codec(cls: type[Message]) -> None:
    check_message(cls)


@pytest.mark.parametrize("raw", [b"", b"\1", b"\1\0\1"])
def test_versions_are_whole_and_at_least_one(raw: bytes) -> None:
    with pytest.raises(DecodeError):
        versions(raw)
    assert versions(b"\1\0\0\x09") == (0x0100, 0x0009)


def test_commands_as_the_notes_lay_them_out() -> None:
    """Tags and lengths of tables 5-3 to 5-8 in the notes on Release 3; the values are ours."""
    scrypt = messages.ScryptParameters(bytes(range(16)), 4096, 8, 1)
    request = SpakeRequest(0x0100, b"\1\0", scrypt, 3)
    assert request.build().hex() == (
        "5b0201005c0201007f5020c010000102030405060708090a0b0c0d0e0fc10400001000c2020008c3020001d6020003"
    )
    assert request.version_tlvs().hex() == "5b0201005c020100"
    assert FrameworkSelected(b"\1\0", b"\1\0", 2).build().hex() == "5a0201005c020100d40102"
    assert AppletSelected(b"\1\0").build().hex() == "5c020100"
    verify = messages.SpakeVerify(bytes(65), bytes(16)).build()
    assert (verify[:2].hex(), verify[67:69].hex(), len(verify)) == ("5241", "5710", 85)
    assert messages.SpakeAnswer(bytes(65)).build()[:2].hex() == "5041"
    assert messages.SpakeEvidence(bytes(16)).build()[:2].hex() == "5810"


def test_commands_in_the_clear_are_read_strictly() -> None:
    """Another order and an unknown tag: nothing else would notice them."""
    built = FrameworkSelected(b"\1\0", b"\1\0", 2).build()
    for bad in (built[4:8] + built[:4] + built[8:], built + b"\x99\0", built + built[-3:]):
        with pytest.raises(DecodeError):
            FrameworkSelected.parse(bad)


def test_secrets_of_records_do_not_print() -> None:
    secret = bytes(range(0x41, 0x61))
    shown = [
        records.PairingRecord(secret[:8], 7),
        memory.OfferRecord(secret * 3 + b"A", messages.ScryptParameters(bytes(16), 1024, 8, 1)),
        memory.KnownKey(public_key=bytes(65), role=1, entitlements=1, persistent=secret),
    ]
    for one in shown:
        assert "ABCD" not in repr(one)
        assert secret[:4].hex() not in repr(one)


def test_a_key_creation_fits_one_protected_command() -> None:
    creation = KeyCreation(bytes(8), bytes(65), bytes(8), 1, 1024, 256)
    assert len(creation.build()) < 239
