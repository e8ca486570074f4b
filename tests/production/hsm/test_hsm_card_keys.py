"""Card keys made in the token are the keys that the software keystore makes: both ends of each scheme."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from keywright.crypto.aes import AesKey
from keywright.crypto.diversification import derive_key_set
from keywright.errors import PolicyError
from keywright.production.hsm.diversify import blocks_for, master_masks
from keywright.production.keystores.key_states import KeyState, KeyStateError
from keywright.production.keystores.keystore import Diversified, FactorySet
from keywright.production.keystores.registry import StateChange
from keywright.scp.scp03.keys import KeySet

MADE = 1_795_780_800
"""2026-11-27 12:00:00 UTC."""
MASTER = bytes(range(32))
KDD = bytes.fromhex("00112233445566778899")
MASKS = master_masks(AesKey(MASTER).encrypt_blocks)
INSIDE = [
    ("ecb", b"any context, of any length at all, goes through SHA-256"),
    ("ecb", b""),
    ("kdf3", KDD),
    ("sp800-108", b"x"),
    ("sp800-108", b"thirteen byte"),
    ("sp800-108", b"fourteen bytes"),
]


@pytest.mark.parametrize("size", [16, 24, 32])
@pytest.mark.parametrize(("scheme", "context"), INSIDE)
def test_what_the_master_encrypts_gives_the_keys_of_the_scheme(scheme: str, context: bytes, size: int) -> None:
    master = AesKey(MASTER)
    blocks = blocks_for(scheme, context, size, MASKS)
    assert tuple(master.encrypt_blocks(one)[:size] for one in blocks) == derive_key_set(
        master, scheme, context, key_bytes=size
    )


@pytest.mark.parametrize(("scheme", "context"), [("emv", KDD), ("visa2", KDD), ("sp800-108", bytes(15)), ("x", KDD)])
def test_a_scheme_that_cannot_be_had_in_a_token_is_refused_by_name(scheme: str, context: bytes) -> None:
    with pytest.raises(PolicyError, match=scheme):
        blocks_for(scheme, context, 16, MASKS)


def test_kdf3_takes_key_diversification_data_alone() -> None:
    with pytest.raises(ValueError, match="10 bytes"):
        blocks_for("kdf3", KDD + b"x", 16, MASKS)


@pytest.fixture
def keys(inside: Any) -> Any:
    """A master whose value is known, in the token."""
    from keywright.production.hsm.card_keys import CardKeysInside, Remembered
    from keywright.production.hsm.fresh import KeyMaker
    from keywright.production.hsm.token_registry import TokenRegistry

    registry = TokenRegistry.read(inside)
    record = KeyMaker(inside, registry.head, now=MADE, owner="").imported_master("known", MASTER)
    return CardKeysInside(
        inside, TokenRegistry(registry.head, {**registry.keys, "known": record}), Remembered(), lambda: MADE
    )


@pytest.mark.parametrize("size", [16, 24, 32])
@pytest.mark.parametrize(("scheme", "context"), INSIDE)
def test_check_values_in_the_token_are_those_of_the_software(keys: Any, scheme: str, context: bytes, size: int) -> None:
    expected = KeySet.of(*derive_key_set(AesKey(MASTER), scheme, context, key_bytes=size))
    facts = keys.facts(Diversified("known", scheme, context, size))
    assert facts.kcvs == expected.kcvs
    assert facts.kcvs_zeros == b"".join(key.kcv("zeros") for key in (expected.enc, expected.mac, expected.dek))
    assert facts.size == size


@pytest.mark.parametrize("size", [16, 32])
def test_new_keys_are_wrapped_as_put_key_carries_them(keys: Any, size: int) -> None:
    ref = Diversified("known", "ecb", b"a unit", size)
    expected = KeySet.of(*derive_key_set(AesKey(MASTER), "ecb", b"a unit", key_bytes=size))
    dek = AesKey(bytes(range(0x40, 0x50)))
    wrapped = keys.wrapped(FactorySet("gp-test", bytes(10)), ref, zeros=False)
    for one, key in zip(wrapped, (expected.enc, expected.mac, expected.dek), strict=True):
        assert (one.size, one.ciphertext, one.kcv) == (size, dek.encrypt_cbc(bytes(16), key.reveal()), key.kcv())
    zeros = keys.wrapped(FactorySet("gp-test", bytes(10)), ref, zeros=True)
    assert zeros[0].kcv == expected.enc.kcv("zeros")


def test_keys_of_24_bytes_cannot_be_wrapped_and_that_is_said_before_the_token_is_asked(keys: Any) -> None:
    with pytest.raises(PolicyError, match="24 bytes"):
        keys.wrapped(FactorySet("gp-test", bytes(10)), Diversified("known", "ecb", b"a unit", 24), zeros=False)


def test_a_factory_set_never_leaves_the_token(keys: Any) -> None:
    with pytest.raises(PolicyError, match="does not leave"):
        keys.wrapped(FactorySet("gp-test", bytes(10)), FactorySet("gp-test", bytes(10)), zeros=False)


def test_no_object_is_left_behind(keys: Any) -> None:
    from pkcs11 import Attribute

    before = len(list(keys.session.raw.get_objects({})))
    ref = Diversified("known", "ecb", b"a unit", 16)
    keys.facts(ref)
    keys.wrapped(FactorySet("gp-test", bytes(10)), ref, zeros=False)
    with pytest.raises(PolicyError):
        keys.facts(Diversified("known", "emv", KDD, 16))
    assert len(list(keys.session.raw.get_objects({}))) == before
    assert not list(keys.session.raw.get_objects({Attribute.TOKEN: False}))


def in_state(keys: Any, state: KeyState, *, now: float = MADE) -> Any:
    """The same keys, with the master in another state."""
    from keywright.production.hsm.card_keys import CardKeysInside, Remembered
    from keywright.production.hsm.records import changed
    from keywright.production.hsm.token_registry import TokenRegistry

    record = keys.registry.keys["known"]
    history = (*record.entry.history, StateChange(MADE, state))
    other = changed(record, msgspec.structs.replace(record.entry, history=history))
    registry = TokenRegistry(keys.registry.head, {**keys.registry.keys, "known": other})
    return CardKeysInside(keys.session, registry, Remembered(), lambda: now)


UNIT = Diversified("known", "ecb", b"a unit", 16)
GP_TEST = FactorySet("gp-test", bytes(10))


@pytest.mark.parametrize("state", [KeyState.PRE_ACTIVE, KeyState.DESTROYED])
def test_a_master_that_may_not_be_used_derives_nothing(keys: Any, state: KeyState) -> None:
    with pytest.raises(KeyStateError, match=state):
        in_state(keys, state).facts(UNIT)


@pytest.mark.parametrize("state", [KeyState.SUSPENDED, KeyState.DEACTIVATED, KeyState.COMPROMISED])
def test_a_master_that_is_not_active_makes_no_new_card_keys(keys: Any, state: KeyState) -> None:
    with pytest.raises(KeyStateError, match="makes nothing new"):
        in_state(keys, state).wrapped(GP_TEST, UNIT, zeros=False)


def test_a_master_whose_period_is_over_still_opens_and_makes_nothing_new(keys: Any) -> None:
    later = in_state(keys, KeyState.ACTIVE, now=keys.registry.keys["known"].entry.originate_until)
    assert later.facts(UNIT).kcvs == keys.facts(UNIT).kcvs
    with pytest.raises(KeyStateError, match="made nothing new since"):
        later.wrapped(GP_TEST, UNIT, zeros=False)
    with pytest.raises(KeyStateError, match="for use until"):
        in_state(keys, KeyState.ACTIVE, now=keys.registry.keys["known"].entry.use_until).facts(UNIT)
