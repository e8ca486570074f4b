"""The key ladder gives the values that a public driver keeps as its own, and no key shows itself."""

from __future__ import annotations

import pickle

import pytest

from keywright.codec.message import Message
from keywright.crypto.aes import AesKey
from keywright.uwb import keys
from keywright.uwb.keys import (
    LAST_STS_INDEX,
    RANGING_PROTOCOL,
    RangingConfiguration,
    SessionKeys,
    dudsk,
    dursk,
    mupsks,
    mursk,
    salted_hash,
    sts_v,
    uad,
    ursk_kt,
)
from support.messages import all_messages, check_message
from support.vectors import document, unhex

LADDER = document("digitalkey/ccc_uwb_key_ladder.json")
INPUTS = LADDER["inputs"]
URSK = AesKey(unhex(INPUTS["ursk"]), "URSK")
CONFIGURATION = RangingConfiguration(RANGING_PROTOCOL, 0, 0x01020304, 1000, 1, 2, 12, 3, 0x11)


@pytest.mark.parametrize("cls", all_messages(keys))
def test_every_message_keeps_the_promises_of_a_codec(cls: type[Message]) -> None:
    check_message(cls)


def test_ladder_is_the_drivers() -> None:
    mupsk1, mupsk2 = mupsks(URSK)
    master = mursk(URSK)
    salted = salted_hash(URSK, unhex(INPUTS["ranging_config"]))
    cascade = ursk_kt(master, INPUTS["sts_index_for_ursk_kt"])
    found = {
        "mupsk1": mupsk1.reveal(),
        "mupsk2": mupsk2.reveal(),
        "mursk": master.reveal(),
        "salted_hash": salted,
        "ursk_kt": cascade.reveal(),
        "dursk": dursk(cascade, salted).reveal(),
        "dudsk": dudsk(cascade, salted).reveal(),
        "sts_v": sts_v(salted, INPUTS["sts_index_for_sts_v"]),
    }
    assert found == {name: unhex(LADDER[name]) for name in found}


def test_addresses_are_the_drivers() -> None:
    _, mupsk2 = mupsks(URSK)
    found = uad(mupsk2, INPUTS["sts_index0_for_uad"])
    assert found.key_source == unhex(LADDER["key_source"])
    assert found.destination.to_bytes(2) == unhex(LADDER["dest_short_addr"])
    assert found.source == unhex(LADDER["src_long_addr"])


@pytest.mark.parametrize(
    ("derived", "key_source", "destination", "source"),
    [
        ("fffffffffffeffffffffffffffff0000", "7fffffff", 0x7FFE, "7fffffffffffffff"),
        ("0001fffffffffffffffffffffffe0000", "ffff0001", 0x7FFF, "fffffffffffffffe"),
        ("00010203fffd00ffffffffffffff0000", "02030001", 0xFFFD, "00ffffffffffffff"),
    ],
)
def test_reserved_addresses_lose_their_top_bit(
    monkeypatch: pytest.MonkeyPatch, derived: str, key_source: str, destination: int, source: str
) -> None:
    monkeypatch.setattr(keys, "_kdf", lambda *_: bytes.fromhex(derived))
    assert uad(URSK, 0) == (bytes.fromhex(key_source), destination, bytes.fromhex(source))


def test_ranging_configuration_is_seventeen_octets() -> None:
    assert CONFIGURATION.build().hex() == "0100000001020304000003e801020c0311"


def test_session_keys_are_the_ladder_step_by_step() -> None:
    session = SessionKeys(URSK, CONFIGURATION)
    one = session.round_keys(5)
    salted = salted_hash(URSK, CONFIGURATION.build())
    cascade = ursk_kt(mursk(URSK), 5)
    assert session.mupsk1.reveal() == unhex(LADDER["mupsk1"])
    assert session.uad == uad(mupsks(URSK)[1], 1000)
    assert one.dursk == dursk(cascade, salted)
    assert one.dudsk == dudsk(cascade, salted)
    assert one.sts_v(7) == sts_v(salted, 7)


def test_every_negotiated_value_changes_the_keys_of_a_round() -> None:
    before = SessionKeys(URSK, CONFIGURATION).round_keys(5).dursk
    octets = CONFIGURATION.build()
    for at in range(len(octets)):
        changed = bytearray(octets)
        changed[at] ^= 1
        other = SessionKeys(URSK, RangingConfiguration.parse(bytes(changed)))
        assert other.round_keys(5).dursk != before, f"octet {at}"


def test_sts_v_wraps_within_its_word() -> None:
    salted = bytes(8) + b"\xff\xff\xff\xff" + b"\x11\x22\x33\x44"
    assert sts_v(salted, 1) == bytes(12) + b"\x11\x22\x33\x44"
    assert sts_v(salted, LAST_STS_INDEX)[8:12] == bytes.fromhex("7ffffffe")


@pytest.mark.parametrize("size", [16, 24])
def test_a_ursk_has_32_octets(size: int) -> None:
    with pytest.raises(ValueError, match="32 octets, not"):
        SessionKeys(AesKey(bytes(size)), CONFIGURATION)


def test_an_index_beyond_32_bits_is_no_index() -> None:
    with pytest.raises(OverflowError):
        SessionKeys(URSK, CONFIGURATION).round_keys(1 << 32)


def test_keys_neither_print_nor_travel() -> None:
    session = SessionKeys(URSK, CONFIGURATION)
    one = session.round_keys(5)
    shown = f"{session!r} {one!r} {session.mupsk1!r} {one.dursk!r} {one.dudsk!r}"
    for secret in (session.mupsk1, one.dursk, one.dudsk):
        assert secret.reveal().hex() not in shown
        assert repr(secret.reveal()) not in shown
    for keyring in (session, one):
        with pytest.raises(TypeError):
            pickle.dumps(keyring)
