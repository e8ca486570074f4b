"""Every recorded SCP03 session whose static keys are known, byte for byte, with its keys in the token."""

from __future__ import annotations

from typing import Any

import pytest

from keywright.errors import AuthenticationError, PolicyError, SequenceError
from keywright.iso7816.apdu import Command, Response
from keywright.production.hsm.messages import Open
from keywright.production.keystores.key_paths import KeyPath
from keywright.production.keystores.keystore import FactorySet
from keywright.scp.failure import CardCryptogramError
from support.vectors import Case, load, unhex

FILES = ("scp/scp03_kaoh.json", "scp/scp03_openscp.json", "scp/scp03_pysim_euicc.json")
MADE = 1_795_780_800
"""2026-11-27 12:00:00 UTC."""
CASES = [case for file in FILES for case in load(file)]
NAMES = [case["name"] for case in CASES]


def sized(case: Case) -> int:
    return len(unhex(case["host_challenge"]))


def keys_of(inside: Any, case: Case) -> Any:
    """The case's static keys as token objects, one for each use, beside a registry that knows them."""
    from keywright.production.hsm.card_keys import CardKeysInside, Remembered
    from keywright.production.hsm.fresh import KeyMaker
    from keywright.production.hsm.token_registry import TokenRegistry

    enc, mac, dek = (unhex(case[f"key_{name}"]) for name in ("enc", "mac", "dek"))
    registry = TokenRegistry.read(inside)
    record = KeyMaker(inside, registry.head, now=MADE, owner="").factory_set("recorded", (enc, mac, dek))
    return CardKeysInside(inside, TokenRegistry(registry.head, {**registry.keys, "recorded": record}), Remembered())


def question(case: Case, path: KeyPath, **changes: Any) -> Open:
    aids = case.get("pseudo_random_challenge_aid") or [None]
    asked: dict[str, Any] = {
        "ref": FactorySet("recorded", bytes(10)),
        "path": path.value,
        "host_challenge": unhex(case["host_challenge"]),
        "answer": unhex(case["initialize_update_rdata"]),
        "aid": unhex(aids[0]) if aids[0] else None,
    }
    return Open(**asked | changes)


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_the_token_sends_the_bytes_of_the_recording(inside: Any, case: Case) -> None:
    from keywright.production.hsm.channel import InsideKeys, open_channel

    keys = keys_of(inside, case)
    for path in (KeyPath.MASKS, KeyPath.ENCRYPT, KeyPath.EXPORTED)[sized(case) // 16 :]:
        channel = open_channel(keys, question(case, path))
        assert isinstance(channel.keys, InsideKeys) == (path is not KeyPath.EXPORTED)
        first = channel.authenticate(int(case["security_level"], 16), pads_empty=False)
        assert first.encode().hex() == case["external_authenticate_capdu"]
        for exchange in case["exchanges"]:
            wrapped = channel.messaging.wrap(Command.parse(unhex(exchange["plain_capdu"])))
            assert wrapped.encode().hex() == exchange["wrapped_capdu"]
            if "wrapped_rapdu" in exchange:
                answer = channel.messaging.unwrap(Response.parse(unhex(exchange["wrapped_rapdu"])))
                assert answer.data.hex() == exchange["plain_rdata"]
        channel.close()


def session_objects(inside: Any) -> list[Any]:
    from pkcs11 import Attribute, ObjectClass

    return list(inside.raw.get_objects({Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.TOKEN: False}))


def test_seventeen_sessions_are_recorded_and_three_of_them_are_s16() -> None:
    assert len(CASES) == 17
    assert sum(sized(case) == 16 for case in CASES) == 3


S8 = next(case for case in CASES if case["name"] == "SCP03_Test_AES128_33")
S16 = next(case for case in CASES if sized(case) == 16)


def test_no_value_of_a_session_key_can_be_read_and_none_outlives_its_channel(inside: Any) -> None:
    import pkcs11
    from pkcs11 import Attribute

    from keywright.production.hsm.channel import open_channel

    before = len(session_objects(inside))
    keys = keys_of(inside, S8)
    channel = open_channel(keys, question(S8, KeyPath.MASKS))
    sessions = session_objects(inside)
    assert len(sessions) == before + 3
    for handle in sessions:
        with pytest.raises(pkcs11.AttributeSensitive):
            handle[Attribute.VALUE]
        assert handle[Attribute.EXTRACTABLE] is handle[Attribute.MODIFIABLE] is handle[Attribute.DERIVE] is False
    channel.close()
    assert len(session_objects(inside)) == before


@pytest.mark.parametrize("path", [KeyPath.MASKS, KeyPath.ENCRYPT, KeyPath.EXPORTED])
def test_a_wrong_card_cryptogram_opens_nothing_and_leaves_nothing(inside: Any, path: KeyPath) -> None:

    from keywright.production.hsm.channel import open_channel

    keys = keys_of(inside, S8)
    flipped = bytearray(unhex(S8["initialize_update_rdata"]))
    flipped[21] ^= 1
    with pytest.raises(CardCryptogramError):
        open_channel(keys, question(S8, path, answer=bytes(flipped)))
    assert not session_objects(inside)


def test_a_card_challenge_of_another_application_is_refused(inside: Any) -> None:
    from keywright.production.hsm.channel import open_channel

    with pytest.raises(CardCryptogramError, match="pseudo-random"):
        open_channel(keys_of(inside, S8), question(S8, KeyPath.MASKS, aid=bytes.fromhex("A000000151000000")))


def test_a_changed_mask_shows_at_the_card_cryptogram(inside: Any) -> None:
    from keywright.production.hsm.channel import open_channel

    keys = keys_of(inside, S8)
    masks = keys.facts(FactorySet("recorded", bytes(10))).masks
    masks["mac"] = bytes(len(masks["mac"]))
    with pytest.raises(CardCryptogramError):
        open_channel(keys, question(S8, KeyPath.MASKS))


def test_masks_do_not_open_s16(inside: Any) -> None:
    from keywright.production.hsm.channel import open_channel

    with pytest.raises(PolicyError, match="S16"):
        open_channel(keys_of(inside, S16), question(S16, KeyPath.MASKS))


def test_a_channel_is_authenticated_once_and_first(inside: Any) -> None:
    from keywright.production.hsm.channel import open_channel

    channel = open_channel(keys_of(inside, S8), question(S8, KeyPath.MASKS))
    with pytest.raises(SequenceError):
        _ = channel.messaging
    channel.authenticate(0x33, pads_empty=False)
    with pytest.raises(SequenceError):
        channel.authenticate(0x33, pads_empty=False)


def test_a_flipped_answer_is_refused_and_closes_the_channel(inside: Any) -> None:
    from keywright.production.hsm.channel import open_channel

    channel = open_channel(keys_of(inside, S8), question(S8, KeyPath.MASKS))
    channel.authenticate(0x33, pads_empty=False)
    exchange = next(exchange for exchange in S8["exchanges"] if len(exchange.get("wrapped_rapdu", "")) > 20)
    channel.messaging.wrap(Command.parse(unhex(exchange["plain_capdu"])))
    raw = bytearray(unhex(exchange["wrapped_rapdu"]))
    raw[0] ^= 0x80
    with pytest.raises(AuthenticationError):
        channel.messaging.unwrap(Response.parse(bytes(raw)))
    assert not channel.messaging.is_open
