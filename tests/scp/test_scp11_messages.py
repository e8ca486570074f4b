"""SCP11 on the wire: every message class, and the data objects as other hosts write them."""

from __future__ import annotations

import pytest

from keywright.codec.message import Message
from keywright.errors import DecodeError
from keywright.scp.scp11 import messages
from keywright.scp.scp11.loading import allow_list, ca_identifier, certificate_store
from keywright.scp.scp11.messages import (
    SCP11A,
    SCP11B,
    SCP11C,
    AllowList,
    AuthenticateAnswer,
    Authorisation,
    CaIdentifierStore,
    CertificateStore,
    I,
    KeyReference,
    build_ca_identifiers,
    i_bytes,
    parse_ca_identifiers,
    parse_store_object,
)
from keywright.scp.scp11.profile import WALLET, YUBIKEY, Profile
from support.messages import all_messages, check_message

KEY = KeyReference(0x11, 0x01)
KLOC = KeyReference(0x10, 0x03)


@pytest.mark.parametrize("cls", all_messages(messages), ids=lambda cls: cls.__name__)
def test_every_message_keeps_the_promises_of_a_codec(cls: type[Message]) -> None:
    check_message(cls)


@pytest.mark.parametrize(
    ("payload", "raw"),
    [
        (certificate_store(KEY, (b"0\x01a", b"0\x01b")), "A60483021101 BF2106 300161 300162"),
        (allow_list(KLOC, [0x82, 5]), "A60483021003 7007 93020082 930105"),
        (allow_list(KLOC, []), "A60483021003 7000"),
        (allow_list(KLOC, [0], counter=7), "A60483021003 92020007 7003 930100"),
        (ca_identifier(KLOC, b"id", "host"), "A60B 800100 42026964 83021003"),
        (ca_identifier(KEY, b"id", "card"), "A60B 800101 42026964 83021101"),
        (ca_identifier(KEY, b"id", None), "A608 42026964 83021101"),
    ],
)
def test_what_a_host_stores_reads_as_other_hosts_write_it(payload: bytes, raw: str) -> None:
    assert payload == bytes.fromhex(raw)
    assert parse_store_object(payload).build() == payload


def test_each_object_of_store_data_is_told_from_the_others() -> None:
    assert isinstance(parse_store_object(certificate_store(KEY, ())), CertificateStore)
    assert isinstance(parse_store_object(allow_list(KLOC, [1], counter=1)), AllowList)
    assert isinstance(parse_store_object(ca_identifier(KEY, b"i", None)), CaIdentifierStore)
    for raw in ("", "7000", "A600", "A60483021003", "A60483021003BF2100 7000", "E000", "A60483021003 7000 9202"):
        with pytest.raises(DecodeError):
            parse_store_object(bytes.fromhex(raw))


def test_a_negative_serial_number_is_in_no_list() -> None:
    with pytest.raises(ValueError, match="positive"):
        allow_list(KLOC, [-1])


def test_ca_identifiers_are_pairs() -> None:
    pairs = ((b"one", KLOC), (b"two", KEY))
    raw = bytes.fromhex("4203 6F6E65 8302 1003 4203 74776F 8302 1101")
    assert build_ca_identifiers(pairs) == raw
    assert parse_ca_identifiers(raw) == pairs
    assert parse_ca_identifiers(b"") == ()
    for wrong in ("4200", "83021003", "420161 420161", "420161 830210", "8302100342 0161"):
        with pytest.raises(DecodeError):
            parse_ca_identifiers(bytes.fromhex(wrong))


def test_a_point_of_521_bits_has_a_length_of_two_bytes() -> None:
    raw = bytes.fromhex("5F498185") + bytes(133) + bytes.fromhex("8610") + bytes(16)
    assert AuthenticateAnswer.parse(raw).build() == raw


@pytest.mark.parametrize(
    ("raw", "commands"),
    [
        ("", set()),
        ("EF0C8D0A 8201 8202 8203 8204 8205", {(0x82, ins) for ins in range(1, 6)}),
        ("EF00", set()),
        ("EE028D00", set()),
        ("EF038E0180", set()),
    ],
)
def test_an_authorisation_lists_classes_and_instructions(raw: str, commands: set[tuple[int, int]]) -> None:
    assert Authorisation.parse(bytes.fromhex(raw)).commands == commands


def test_the_bytes_of_i_are_taken_raw() -> None:
    """A retail YubiKey: a, b, c and chains; X.509 and nothing else."""
    assert i_bytes(0x9B06) == (0x9B, 0x06)
    assert i_bytes(0x5B) == (0x5B, 0)
    assert all(YUBIKEY.offers(letter) for letter in "abc")
    assert (YUBIKEY.takes_x509, YUBIKEY.takes_gp_certificates, YUBIKEY.takes_chains) == (True, False, True)
    assert (YUBIKEY.mac_length, YUBIKEY.remembers_pk) == (8, False)
    assert not YUBIKEY.takes_authorisation("a")
    assert not YUBIKEY.takes_authorisation("c")
    assert [WALLET.offers(letter) for letter in "abc"] == [False, False, True]
    assert Profile(i=I.A | I.S16).mac_length == 16
    assert Profile(i=I.C | I.AUTHORISATION_IN_C).takes_authorisation("c")
    assert Profile(i=(I.A | I.SECOND) << 8 | I.AUTHORISATION_IN_A).takes_authorisation("a")
    assert Profile(i=I.A | I.PERSISTENT_PK).remembers_pk


def test_the_variants_differ_in_instruction_parameter_and_key() -> None:
    assert [(one.ins, one.parameter, one.kid) for one in (SCP11A, SCP11B, SCP11C)] == [
        (0x82, 1, 0x11),
        (0x88, 0, 0x13),
        (0x82, 3, 0x15),
    ]
