"""Keys that Yubico's host library puts open to our host, and the other way round; what it cannot do it does not do."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from yubikit.core import TRANSPORT
from yubikit.core.smartcard import ApduError
from yubikit.core.smartcard.scp import KeyRef, Scp11KeyParams, ScpKid
from yubikit.securitydomain import Curve, SecurityDomainSession

from interop.yubico import (
    OTHER_KVN,
    OWN_KVN,
    TEST_KVN,
    Wire,
    ask,
    flipping,
    foreign_session,
    manage,
    our_session,
    params,
    ref,
    static,
    versions,
)
from keywright.errors import StatusError
from keywright.globalplatform import host
from keywright.globalplatform.messages import KeyInformation, Tag
from keywright.scp.scp03 import KeySet
from keywright.scp.scp03.host import CardCryptogramError, initialize_update
from keywright.store import RamMemory
from support.cards import OTHER, OWN, contents, element

# ---- keys that do not fit


def test_a_wrong_key_is_refused_by_the_foreign_host_and_costs_no_try() -> None:
    card = element()
    wire = Wire(card.handle)
    session = SecurityDomainSession(wire)
    with pytest.raises(ValueError, match="Incorrect SCP parameters"):
        session.authenticate(params(OWN, TEST_KVN))
    assert card.attempts == 0
    assert not wire.commands(0x82)
    session.authenticate(params())
    assert card.attempts == 1


def test_an_absent_key_version_is_refused_by_the_card() -> None:
    card = element()
    wire = Wire(card.handle)
    with pytest.raises(ValueError, match="Incorrect SCP parameters"):
        SecurityDomainSession(wire).authenticate(params(kvn=OWN_KVN))
    assert (wire.sw, card.attempts) == (0x6A88, 0)
    assert ask(card, host.get_value(Tag.SEQUENCE_COUNTER)) == bytes(3)


@pytest.mark.parametrize("place", [-16, -1], ids=["cryptogram", "C-MAC"])
def test_a_changed_authentication_is_counted_refused_and_opens_nothing(place: int) -> None:
    card = element(try_limit=2)
    wire = Wire(card.handle, TRANSPORT.NFC)
    wire.changing = flipping(0x82, place)
    session = SecurityDomainSession(wire)
    session.authenticate(params())  # yubikit does not look at this status word
    assert (wire.sw, card.attempts) == (0x6982, 1)
    with pytest.raises(ApduError, match="6982"):
        session.get_key_information()
    with pytest.raises(ApduError, match="6982"):
        session.put_key(ref(OWN_KVN), static(OWN))
    assert versions(card) == (TEST_KVN,)
    session.authenticate(params())
    assert (wire.sw, card.attempts) == (0x6982, 2)
    with pytest.raises(ApduError, match="6983"):
        session.authenticate(params())
    wire.changing = bytes
    with pytest.raises(ApduError, match="6983"):
        SecurityDomainSession(wire).authenticate(params())
    assert card.attempts == 2


def test_a_card_without_response_protection_refuses_the_foreign_level() -> None:
    card = element(i=0x10)
    wire = Wire(card.handle)
    session = SecurityDomainSession(wire)
    session.authenticate(params())  # yubikit does not look at this status word
    assert (wire.sw, card.attempts) == (0x6A86, 1)
    with pytest.raises(ApduError, match="6982"):
        session.get_key_information()


def test_a_card_of_16_byte_challenges_refuses_the_foreign_one() -> None:
    card = element(i=0x71)
    with pytest.raises(ApduError, match="6700"):
        SecurityDomainSession(Wire(card.handle)).authenticate(params())
    assert card.attempts == 0


# ---- keys put


def test_a_foreign_new_key_set_opens_to_our_host_and_the_initial_one_is_gone(transport: TRANSPORT) -> None:
    card = element()
    session = foreign_session(Wire(card.handle, transport))
    session.put_key(ref(OWN_KVN), static(OWN))
    assert set(session.get_key_information()) == {KeyRef(kid, OWN_KVN) for kid in (1, 2, 3)}
    assert versions(card) == (OWN_KVN,)
    assert our_session(card, OWN, OWN_KVN).level == 0x33
    assert our_session(card, OWN, 0).kvn == OWN_KVN
    with pytest.raises(StatusError, match="6A88"):
        our_session(card, KeySet.gp_test(), TEST_KVN)
    foreign_session(Wire(card.handle), OWN, OWN_KVN)


def test_an_initial_key_set_that_stays_is_deleted_by_the_foreign_host() -> None:
    card = element(initial_keys_stay=True)
    session = foreign_session(Wire(card.handle))
    session.put_key(ref(OWN_KVN), static(OWN))
    assert sorted(versions(card)) == [OWN_KVN, TEST_KVN]
    our_session(card, KeySet.gp_test(), TEST_KVN)
    foreign_session(Wire(card.handle), OWN, OWN_KVN).delete_key(kvn=TEST_KVN)
    assert versions(card) == (OWN_KVN,)
    our_session(card, OWN, OWN_KVN)


def test_keys_of_our_host_open_to_the_foreign_one() -> None:
    card = element()
    manage(card, KeySet.gp_test(), TEST_KVN, host.put_keys(KeySet.gp_test(), OWN, kvn=OWN_KVN))
    session = foreign_session(Wire(card.handle), OWN, OWN_KVN)
    assert set(session.get_key_information()) == {KeyRef(kid, OWN_KVN) for kid in (1, 2, 3)}


@pytest.mark.parametrize("kvn", [OWN_KVN, OTHER_KVN], ids=["same version", "new version"])
def test_a_foreign_replacement_takes_the_place_of_our_keys(kvn: int) -> None:
    card = element()
    manage(card, KeySet.gp_test(), TEST_KVN, host.put_keys(KeySet.gp_test(), OWN, kvn=OWN_KVN))
    foreign_session(Wire(card.handle), OWN, OWN_KVN).put_key(ref(kvn), static(OTHER), replace_kvn=OWN_KVN)
    assert versions(card) == (kvn,)
    assert ask(card, host.get_value(Tag.SEQUENCE_COUNTER)) == bytes(3)
    our_session(card, OTHER, kvn)
    with pytest.raises(CardCryptogramError if kvn == OWN_KVN else StatusError):
        our_session(card, OWN, OWN_KVN)


@pytest.mark.parametrize("kvn", [OWN_KVN, OTHER_KVN], ids=["same version", "new version"])
def test_our_replacement_takes_the_place_of_foreign_keys(kvn: int) -> None:
    card = element()
    foreign_session(Wire(card.handle)).put_key(ref(OWN_KVN), static(OWN))
    manage(card, OWN, OWN_KVN, host.put_keys(OWN, OTHER, kvn=kvn, replace=OWN_KVN))
    foreign_session(Wire(card.handle), OTHER, kvn)
    with pytest.raises(ValueError, match="Incorrect SCP parameters"):
        foreign_session(Wire(card.handle), OWN, OWN_KVN)


@pytest.mark.parametrize(
    ("kvn", "replace", "sw"),
    [(OWN_KVN, 0, 0x6A80), (OTHER_KVN, OTHER_KVN, 0x6A88), (TEST_KVN, OWN_KVN, 0x6A80)],
    ids=["there already", "nothing to replace", "no version number"],
)
def test_a_foreign_key_that_cannot_be_put_changes_nothing(kvn: int, replace: int, sw: int) -> None:
    card = element(kvn=OWN_KVN)
    session = foreign_session(Wire(card.handle))
    with pytest.raises(ApduError, match=f"{sw:04x}"):
        session.put_key(ref(kvn), static(OWN), replace_kvn=replace)
    assert len(session.get_key_information()) == 3
    assert versions(card) == (OWN_KVN,)
    our_session(card, KeySet.gp_test(), OWN_KVN)


def test_a_foreign_set_of_256_bit_keys_opens_to_our_host_only() -> None:
    card = element()
    long = KeySet.of(*(bytes([n]) * 32 for n in (1, 2, 3)))
    foreign_session(Wire(card.handle)).put_key(ref(OWN_KVN), static(long))
    information: KeyInformation = ask(card, host.key_information())
    assert {(key.kvn, key.components[0].length) for key in information.keys} == {(OWN_KVN, 32)}
    assert our_session(card, long, OWN_KVN).level == 0x33
    tries = card.attempts
    with pytest.raises(ValueError, match="Incorrect SCP parameters"):
        foreign_session(Wire(card.handle), long, OWN_KVN)  # yubikit derives 128-bit session keys only
    assert card.attempts == tries


def test_a_lost_answer_to_a_foreign_put_key_leaves_one_set_that_a_probe_finds() -> None:
    card = element()
    wire = Wire(card.handle)
    session = foreign_session(wire)

    def lose(answer: bytes) -> bytes:
        raise ConnectionError("the answer is lost")

    wire.changing_answer = lose
    with pytest.raises(ConnectionError):
        session.put_key(ref(OWN_KVN), static(OWN))
    tries = card.attempts
    assert versions(card) == (OWN_KVN,)
    with pytest.raises(StatusError, match="6A88"):
        ask(card, initialize_update(KeySet.gp_test(), os.urandom(8), kvn=TEST_KVN))
    assert ask(card, initialize_update(OWN, os.urandom(8), kvn=OWN_KVN)).answer.kvn == OWN_KVN
    assert card.attempts == tries


# ---- keys deleted


def test_the_last_key_set_goes_only_when_that_is_said(transport: TRANSPORT) -> None:
    card = element(kvn=OWN_KVN)
    session = foreign_session(Wire(card.handle, transport))
    with pytest.raises(ApduError, match="6985"):
        session.delete_key(kvn=OWN_KVN)
    assert len(session.get_key_information()) == 3
    our_session(card, KeySet.gp_test(), OWN_KVN)
    session = foreign_session(Wire(card.handle, transport))
    session.delete_key(kvn=OWN_KVN, delete_last=True)
    assert not session.get_key_information()


def test_a_deletion_of_nothing_is_refused() -> None:
    card = element(kvn=OWN_KVN)
    session = foreign_session(Wire(card.handle))
    for kid, kvn in ((0, OTHER_KVN), (0x11, 0), (0x11, OWN_KVN)):
        with pytest.raises(ApduError, match="6a88"):
            session.delete_key(kid, kvn)
    assert versions(card) == (OWN_KVN,)


def test_the_set_that_opened_the_session_may_be_deleted_once_another_is_there() -> None:
    card = element(initial_keys_stay=True)
    session = foreign_session(Wire(card.handle))
    session.put_key(ref(OWN_KVN), static(OWN))
    session.put_key(ref(OTHER_KVN), static(OTHER))
    session.delete_key(kvn=TEST_KVN)
    session.delete_key(kvn=OWN_KVN)
    assert set(session.get_key_information()) == {KeyRef(kid, OTHER_KVN) for kid in (1, 2, 3)}
    our_session(card, OTHER, OTHER_KVN)


# ---- what this element does not do


def test_what_names_a_key_that_is_not_there_is_refused_changes_nothing_and_keeps_the_session(
    transport: TRANSPORT,
) -> None:
    memory = RamMemory()
    card = element(memory=memory)
    session = foreign_session(Wire(card.handle, transport))
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = self_signed(key)
    before = contents(memory)
    asked: list[tuple[int, Callable[[], object]]] = [
        (0x6D00, lambda: session.generate_ec_key(KeyRef(ScpKid.SCP11b, 1), Curve.SECP256R1)),
        (0x6A88, lambda: session.store_ca_issuer(KeyRef(0x10, 1), bytes(20))),
        (0x6A88, lambda: session.store_allowlist(KeyRef(0x10, 1), [1, 2**64])),
        (0x6A88, lambda: session.store_certificate_bundle(KeyRef(ScpKid.SCP11b, 1), [certificate])),
    ]
    for sw, ask_for in asked:
        with pytest.raises(ApduError, match=f"{sw:04x}"):
            ask_for()
        assert contents(memory) == before
        assert len(session.get_key_information()) == 3


def self_signed(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "keywright test")])
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, begin, begin + timedelta(days=1))
    return builder.sign(key, hashes.SHA256())


def test_a_foreign_scp11_session_is_refused_without_a_try_of_the_scp03_keys() -> None:
    card = element()
    session = SecurityDomainSession(Wire(card.handle))
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    with pytest.raises(ApduError, match="6d00"):
        session.authenticate(Scp11KeyParams(KeyRef(ScpKid.SCP11b, 1), key))
    assert card.attempts == 0
    assert versions(card) == (TEST_KVN,)


def test_a_foreign_factory_reset_resets_nothing() -> None:
    memory = RamMemory()
    card = element(memory=memory, kvn=OWN_KVN, keys=OWN, try_limit=3)
    before = contents(memory, counters=False)
    session = SecurityDomainSession(Wire(card.handle))
    session.reset()
    assert contents(memory, counters=False) == before
    assert card.attempts == 0
    foreign_session(Wire(card.handle), OWN, OWN_KVN)
    our_session(card, OWN, OWN_KVN)
