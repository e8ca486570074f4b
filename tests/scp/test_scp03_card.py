"""The card end of SCP03 against sessions recorded with cards and hosts that nobody here wrote."""

from __future__ import annotations

import pytest

from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.refusal import Refusal
from keywright.scp.scp03.card import CardChannel, allowed_levels
from keywright.scp.scp03.keys import KeySet, derive_card_challenge
from keywright.scp.scp03.messages import InitializeUpdateResponse, InitializeUpdateResponse8, InitializeUpdateResponse16
from support.vectors import Case, load, unhex

FILES = ("scp/scp03_kaoh.json", "scp/scp03_openscp.json", "scp/scp03_pysim_euicc.json")
CASES = [case for file in FILES for case in load(file)]
sessions = pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])

OVER_PADDED = [(f"scp03-aes{size}", 16) for size in ("128-s8", "128-s16", "192-s8", "192-s16", "256-s16")]
"""In their last exchange the other card padded one whole block more than there must be; only the length is compared."""


def keys(case: Case) -> KeySet:
    return KeySet.of(*(unhex(case[f"key_{name}"]) for name in ("enc", "mac", "dek")))


def recorded(case: Case) -> InitializeUpdateResponse:
    raw = unhex(case["initialize_update_rdata"])
    kind = InitializeUpdateResponse8 if len(raw) < 40 else InitializeUpdateResponse16
    return kind.parse(raw)


def challenged(case: Case) -> CardChannel:
    answer = recorded(case)
    return CardChannel(keys(case), answer.i, unhex(case["host_challenge"]), answer.card_challenge)


def opened(case: Case) -> CardChannel:
    channel = challenged(case)
    channel.external_authenticate(Command.parse(unhex(case["external_authenticate_capdu"])))
    return channel


@sessions
def test_the_card_answers_initialize_update_as_recorded(case: Case) -> None:
    answer = recorded(case)
    mine = challenged(case).initialize_update(answer.kdd, answer.kvn, answer.sequence_counter)
    assert mine.hex() == case["initialize_update_rdata"]


@sessions
def test_a_pseudo_random_challenge_is_the_recorded_one(case: Case) -> None:
    answer = recorded(case)
    for aid in case.get("pseudo_random_challenge_aid", []):
        size = len(answer.card_challenge)
        assert derive_card_challenge(keys(case).enc, answer.sequence_counter, unhex(aid), size) == answer.card_challenge


@sessions
def test_the_card_opens_the_commands_and_protects_the_answers_of_the_recording(case: Case) -> None:
    channel = opened(case)
    assert channel.level == int(case["security_level"], 16)
    for exchange in case["exchanges"]:
        plain = Command.parse(unhex(exchange["plain_capdu"]))
        assert channel.unwrap(Command.parse(unhex(exchange["wrapped_capdu"]))) == plain
        if "wrapped_rapdu" in exchange:
            wrapped = unhex(exchange["wrapped_rapdu"])
            answer = channel.wrap(Response(unhex(exchange["plain_rdata"]), int.from_bytes(wrapped[-2:]))).encode()
            if len(wrapped) == len(answer):
                assert answer == wrapped
            else:
                assert (case["name"], len(wrapped) - len(answer)) in OVER_PADDED


@sessions
def test_a_flipped_bit_in_external_authenticate_opens_nothing(case: Case) -> None:
    raw = unhex(case["external_authenticate_capdu"])
    for bit in range(5 * 8, len(raw) * 8, 5):
        flipped = bytearray(raw)
        flipped[bit // 8] ^= 0x80 >> bit % 8
        channel = challenged(case)
        with pytest.raises(Refusal) as refused:
            channel.external_authenticate(Command.parse(bytes(flipped)))
        assert refused.value.sw == 0x6982
        assert not channel.is_authenticated


@sessions
def test_a_flipped_bit_in_a_command_is_6982(case: Case) -> None:
    raw = unhex(case["exchanges"][0]["wrapped_capdu"])
    mac_length = len(recorded(case).card_challenge)
    lc = 5 + raw[4]
    for bit in [*range(8, 4 * 8), *range(5 * 8, lc * 8, 7), *range((lc - mac_length) * 8, lc * 8, 3)]:
        flipped = bytearray(raw)
        flipped[bit // 8] ^= 0x80 >> bit % 8
        channel = opened(case)
        with pytest.raises(Refusal) as refused:
            channel.unwrap(Command.parse(bytes(flipped)))
        assert refused.value.sw == 0x6982


@sessions
def test_a_repeated_command_is_6982(case: Case) -> None:
    command = Command.parse(unhex(case["exchanges"][0]["wrapped_capdu"]))
    channel = opened(case)
    channel.unwrap(command)
    with pytest.raises(Refusal) as refused:
        channel.unwrap(command)
    assert refused.value.sw == 0x6982


@sessions
def test_an_error_status_goes_bare_and_a_warning_does_not(case: Case) -> None:
    channel = opened(case)
    channel.unwrap(Command.parse(unhex(case["exchanges"][0]["wrapped_capdu"])))
    has_r_mac = bool(int(case["security_level"], 16) & 0x10)
    if has_r_mac:
        assert channel.wrap(Response(b"data", 0x6A88)) == Response(b"", 0x6A88)
    assert len(channel.wrap(Response(b"", 0x6283)).data) == (len(recorded(case).card_challenge) if has_r_mac else 0)


def test_levels_follow_the_options_of_i() -> None:
    assert allowed_levels(0x00) == allowed_levels(0x10) == (0x00, 0x01, 0x03)
    assert allowed_levels(0x30) == (0x00, 0x01, 0x03, 0x11, 0x13)
    assert allowed_levels(0x70) == (0x00, 0x01, 0x03, 0x11, 0x13, 0x33)


def test_before_external_authenticate_no_command_is_opened() -> None:
    channel = challenged(CASES[0])
    with pytest.raises(Refusal) as refused:
        channel.unwrap(Command.parse(unhex(CASES[0]["exchanges"][0]["wrapped_capdu"])))
    assert refused.value.sw == 0x6982
