"""`keywright decode --uwb`: UCI, ranging setup in clear, SP0 frames, and any octets."""

from __future__ import annotations

import json
import random

import pytest

from keywright.cli.uwb.explain import UwbTeller
from keywright.errors import DecodeError
from keywright.uwb.setup.messages import GeneralError, SuspendRequest, general_error
from keywright.uwb.setup.messages import build_message as build_setup
from keywright.uwb.uci.messages import (
    Aoa,
    DeviceStatusNtf,
    SessionInfoNtf,
    SessionInitRsp,
    SessionStatusNtf,
    SetAppConfigCmd,
    ShortMeasurement,
    Tlv,
    build_message,
)
from support.commands import Keywright
from support.vectors import document

VECTOR = document("digitalkey/ccc_uwb_key_ladder.json")["sp0_pre_poll"]
FRAME = VECTOR["mhr"] + VECTOR["ciphertext"] + VECTOR["mic"]


def test_a_frame_is_told_by_its_header(keywright: Keywright) -> None:
    ran = keywright("decode", "--uwb", f">{FRAME}", "--json")
    assert json.loads(ran.out) == {
        "way": ">",
        "name": "SP0 pre-poll",
        "profile": "CCC",
        "destination": "1234",
        "key_source": "DEADBEEF",
        "frame_counter": "1",
        "sealed": "13 octets and a MIC",
    }


def test_ranging_setup_is_told_by_its_attributes(keywright: Keywright) -> None:
    ran = keywright("decode", "--uwb", f"> {build_setup(SuspendRequest(0x01020304)).hex()}")
    assert ran.out.splitlines() == ["> Ranging SuspendRequest", "    session_id  16909060"]
    ran = keywright("decode", "--uwb", build_setup(general_error(GeneralError.URSK_UNAVAILABLE)).hex())
    assert "URSK unavailable" in ran.out


def test_packets_of_uci_are_told_with_what_numbers_mean() -> None:
    teller = UwbTeller()
    told = teller.tell(
        build_message(SessionInitRsp(0x12))
        + build_message(SessionStatusNtf(1, 2, 0))
        + build_message(DeviceStatusNtf(1))
        + build_message(SessionInfoNtf.of(0, 1, 200, (ShortMeasurement(b"\2\0", 0, 0, 512, Aoa(), Aoa(), 2, 0),)))
    )
    assert [said.name for said in told] == [
        "UCI SessionInitRsp",
        "UCI SessionStatusNtf",
        "UCI DeviceStatusNtf",
        "UCI SessionInfoNtf",
    ]
    assert told[0].fields["status"] == "session duplicate"
    assert told[1].fields["state"] == "ACTIVE"
    assert told[2].fields["state"] == "1"
    assert told[3].fields["0200"] == "5.12 m, ok"


def test_keys_are_masked_and_segments_told_once_they_are_whole() -> None:
    parameters = (Tlv(4, b"\x09"), Tlv(0x45, b"\xaa" * 16), *(Tlv(0xE3, bytes(250)) for _ in range(2)))
    octets = build_message(SetAppConfigCmd(1, parameters))
    teller = UwbTeller()
    assert teller.tell(octets[:259]) == []
    (said,) = teller.tell(octets[259:])
    assert said.fields["parameters"].startswith("04 09, 45 a key, E3 00")
    assert "AAAA" not in said.fields["parameters"]


@pytest.mark.parametrize(
    ("octets", "name"),
    [
        ("2c000000", "UCI command C.00, 0 octets"),
        ("2100000100", "UCI SessionInitCmd that is none: SessionInitCmd: 1 bytes where 5 are due"),
        ("62000019" + "00" * 25, "UCI SessionInfoNtf"),
    ],
)
def test_what_is_no_message_is_shown_as_it_is(octets: str, name: str) -> None:
    (said,) = UwbTeller().tell(bytes.fromhex(octets))
    assert said.name == name


def test_a_frame_that_is_none_is_named(keywright: Keywright) -> None:
    ran = keywright("decode", "--uwb", FRAME[:-2])
    assert ran.code == 6
    assert "announces 13 octets" in ran.err
    ran = keywright("decode", "--uwb", FRAME[:32] + "FFFFFF" + FRAME[38:])
    assert "OUI FFFFFF" in ran.err


def test_any_octets_are_told_or_refused() -> None:
    chance = random.Random(3)
    for _ in range(500):
        teller = UwbTeller()
        try:
            teller.tell(chance.choice([b"", b"\x49\x2b", b"\x01"]) + chance.randbytes(chance.randrange(60)))
        except DecodeError:
            continue


def test_mesh_and_uwb_are_not_both(keywright: Keywright) -> None:
    assert keywright("decode", "--uwb", "--mesh", "00").code == 2
