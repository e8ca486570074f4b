"""Yubico's host library against our element: what it writes our host reads, what our host puts it opens.

yubikit is a foreign off-card entity in the same process. It speaks SCP03 at level 33 with AES-128 only, sends an empty
command under C-DEC as one block of padding, extended APDUs over USB and ISO command chaining over NFC. Every result is
looked at through APDUs of our own host.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from yubikit.core import TRANSPORT, ApplicationNotAvailableError, BadResponseError
from yubikit.core.smartcard import ApduError, SmartCardConnection, SmartCardProtocol
from yubikit.core.smartcard.scp import KeyRef, Scp03KeyParams, Scp11KeyParams, ScpKid, StaticKeys
from yubikit.securitydomain import Curve, SecurityDomainSession

from keywright.codec.tlv import item
from keywright.element import SecureElement
from keywright.errors import StatusError
from keywright.globalplatform import host
from keywright.globalplatform.life_cycle import CardState
from keywright.globalplatform.messages import CardData, Fci, KeyInformation, StoreData, Tag, unwrapped
from keywright.iso7816.layers import transmit
from keywright.link import Loopback
from keywright.sansio.dialogue import drive
from keywright.scp.scp03 import HostChannel, KeySet, open_channel
from keywright.scp.scp03.host import CardCryptogramError, initialize_update
from keywright.store import RamMemory
from support.cards import ISD, OTHER, OTHER_AID, OWN, Terminal, contents, element

TEST_KVN, OWN_KVN, OTHER_KVN = 0xFF, 0x30, 0x31
OBJECT = 0xDF01
KDD = bytes.fromhex("00010203040506070809")

Change = Callable[[bytes], bytes]


class Wire(SmartCardConnection):  # type: ignore[misc] # untyped base class
    """Carries yubikit's APDUs to an element and keeps them; `changing` replaces commands, `losing` drops an answer."""

    def __init__(self, card: SecureElement, transport: TRANSPORT = TRANSPORT.USB) -> None:
        self.card = card
        self.changing: Change = bytes
        self.changing_answer: Change = bytes
        self.log: list[tuple[bytes, bytes]] = []
        self._transport = transport

    @property
    def transport(self) -> TRANSPORT:
        """USB makes yubikit send extended APDUs, NFC short ones that it chains."""
        return self._transport

    def send_and_receive(self, apdu: bytes) -> tuple[bytes, int]:
        sent = self.changing(bytes(apdu))
        answer = self.card.handle(sent)
        self.log.append((sent, answer))
        answer = self.changing_answer(answer)
        return answer[:-2], int.from_bytes(answer[-2:])

    def close(self) -> None:
        """Nothing to let go of."""

    def commands(self, ins: int) -> list[bytes]:
        """What was sent with this instruction."""
        return [command for command, _ in self.log if command[1] == ins]

    @property
    def sw(self) -> int:
        """Status word of the last answer."""
        return int.from_bytes(self.log[-1][1][-2:])


def static(keys: KeySet) -> StaticKeys:
    return StaticKeys(keys.enc.reveal(), keys.mac.reveal(), keys.dek.reveal())


def params(keys: KeySet | None = None, kvn: int = 0) -> Scp03KeyParams:
    return Scp03KeyParams(KeyRef(ScpKid.SCP03, kvn), static(keys or KeySet.gp_test()))


def ref(kvn: int) -> KeyRef:
    return KeyRef(ScpKid.SCP03, kvn)


def foreign_session(card: SecureElement | Wire, keys: KeySet | None = None, kvn: int = 0) -> SecurityDomainSession:
    """An authenticated session of yubikit, shown to be one by its level."""
    session = SecurityDomainSession(card if isinstance(card, Wire) else Wire(card))
    session.authenticate(params(keys, kvn))
    assert session.get_data(Tag.SECURITY_LEVEL) == b"\xb3"
    return session


def ask(card: SecureElement, dialogue: host.Dialogue[Any]) -> Any:
    """Our host, in the clear, after a reset of the element."""
    card.reset()
    return drive(dialogue, transmit(Loopback(card)))


def versions(card: SecureElement) -> tuple[int, ...]:
    information: KeyInformation = ask(card, host.key_information())
    return information.versions


def our_session(card: SecureElement, keys: KeySet, kvn: int) -> HostChannel:
    """A session of our host, which also recomputes a pseudo-random card challenge."""
    channel: HostChannel = ask(card, open_channel(keys, os.urandom(8), kvn=kvn, aid=ISD))
    return channel


def manage(card: SecureElement, keys: KeySet, kvn: int, dialogue: host.Dialogue[Any]) -> None:
    """Our host does something in a session of its own."""
    drive(host.secured(our_session(card, keys, kvn), dialogue), transmit(Loopback(card)))


@pytest.fixture(params=[TRANSPORT.USB, TRANSPORT.NFC], ids=["extended", "short"])
def transport(request: pytest.FixtureRequest) -> TRANSPORT:
    found: TRANSPORT = request.param
    return found


# ---- finding and opening


def test_select_finds_the_issuer_domain_and_nothing_else() -> None:
    wire = Wire(element())
    SecurityDomainSession(wire)
    assert Fci.parse(unwrapped(Tag.FCI, wire.log[-1][1][:-2])).aid == ISD
    with pytest.raises(ApplicationNotAvailableError):
        SmartCardProtocol(wire).select(OTHER_AID)
    assert wire.sw == 0x6A82


def test_what_a_foreign_host_reads_in_the_clear_is_what_ours_reads(transport: TRANSPORT) -> None:
    card = element(kdd=KDD, iin=b"12345678", cin=b"CIN1", kvn=OWN_KVN)
    session = SecurityDomainSession(Wire(card, transport))
    read = {
        tag: session.get_data(tag) for tag in (Tag.CPLC, Tag.IIN, Tag.CIN, Tag.KDD, Tag.CARD_DATA, Tag.CAPABILITIES)
    }
    assert read == {tag: ask(card, host.get_value(tag)) for tag in read}
    assert (read[Tag.IIN], read[Tag.CIN], read[Tag.KDD]) == (b"12345678", b"CIN1", KDD)


@pytest.mark.parametrize("i", [0x60, 0x70])
def test_the_card_recognition_data_name_the_variant(i: int) -> None:
    card = element(i=i, rng=os.urandom)
    recognition = SecurityDomainSession(Wire(card)).get_card_recognition_data()
    ours = CardData.parse(unwrapped(Tag.CARD_DATA, ask(card, host.get_data(Tag.CARD_DATA))))
    assert recognition == ours.recognition.build()
    assert ours.secure_channels == ((3, i),)


@pytest.mark.parametrize("i", [0x60, 0x70], ids=["random", "pseudo-random"])
def test_a_foreign_host_opens_sessions_at_the_full_level(i: int, transport: TRANSPORT) -> None:
    draws = itertools.count(1)
    card = element(i=i, rng=lambda size: next(draws).to_bytes(size))
    wire = Wire(card, transport)
    for _ in range(3):
        foreign_session(wire, kvn=TEST_KVN)
    assert card.attempts == 3
    assert [command[2] for command in wire.commands(0x82)] == [0x33] * 3
    answers = [answer for command, answer in wire.log if command[1] == 0x50]
    challenges = [answer[13:21] for answer in answers]
    if i & 0x10:
        assert [answer[-5:-2].hex() for answer in answers] == ["000001", "000002", "000003"]
        assert len(set(challenges)) == 3
        assert ask(card, host.get_value(Tag.SEQUENCE_COUNTER)) == bytes((0, 0, 3))
        our_session(card, KeySet.gp_test(), TEST_KVN)
        assert ask(card, host.get_value(Tag.SEQUENCE_COUNTER)) == bytes((0, 0, 4))
    else:
        assert challenges == [n.to_bytes(8) for n in (1, 2, 3)]
        assert {len(answer) for answer in answers} == {31}
        assert ask(card, host.get_value(Tag.SEQUENCE_COUNTER)) is None


def test_an_empty_command_as_one_block_of_padding_is_taken_like_an_empty_one(transport: TRANSPORT) -> None:
    card = element(kvn=OWN_KVN)
    wire = Wire(card, transport)
    session = foreign_session(wire)
    assert session.get_key_information() == {KeyRef(kid, OWN_KVN): {0x88: 16} for kid in (1, 2, 3)}
    padded = wire.commands(0xCA)[-1]
    lc = padded[4:7] if transport == TRANSPORT.USB else padded[4:5]
    assert int.from_bytes(lc) == 16 + 8
    ours = Terminal(card).authenticate(kvn=OWN_KVN)
    bare = ours.wrap(0x80, 0xCA, 0x00, 0xE0, b"", 0)
    assert len(bare.data) == 8
    information = ours.host.unwrap(ours.terminal.exchange(bare))
    assert KeyInformation.parse(unwrapped(Tag.KEY_INFORMATION, information.data)).versions == (OWN_KVN,)


# ---- keys that do not fit


def test_a_wrong_key_is_refused_by_the_foreign_host_and_costs_no_try() -> None:
    card = element()
    wire = Wire(card)
    session = SecurityDomainSession(wire)
    with pytest.raises(ValueError, match="Incorrect SCP parameters"):
        session.authenticate(params(OWN, TEST_KVN))
    assert card.attempts == 0
    assert not wire.commands(0x82)
    session.authenticate(params())
    assert card.attempts == 1


def test_an_absent_key_version_is_refused_by_the_card() -> None:
    card = element()
    wire = Wire(card)
    with pytest.raises(ValueError, match="Incorrect SCP parameters"):
        SecurityDomainSession(wire).authenticate(params(kvn=OWN_KVN))
    assert (wire.sw, card.attempts) == (0x6A88, 0)
    assert ask(card, host.get_value(Tag.SEQUENCE_COUNTER)) == bytes(3)


@pytest.mark.parametrize("place", [-16, -1], ids=["cryptogram", "C-MAC"])
def test_a_changed_authentication_is_counted_refused_and_opens_nothing(place: int) -> None:
    card = element(try_limit=2)
    wire = Wire(card, TRANSPORT.NFC)
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


def flipping(ins: int, place: int) -> Change:
    """Flip a bit of every command with this instruction; `place` -1 is the last byte of the data, Le aside."""

    def change(command: bytes) -> bytes:
        if command[1] != ins:
            return command
        changed = bytearray(command)
        changed[place] ^= 0x01
        return bytes(changed)

    return change


def test_a_card_without_response_protection_refuses_the_foreign_level() -> None:
    card = element(i=0x10)
    wire = Wire(card)
    session = SecurityDomainSession(wire)
    session.authenticate(params())  # yubikit does not look at this status word
    assert (wire.sw, card.attempts) == (0x6A86, 1)
    with pytest.raises(ApduError, match="6982"):
        session.get_key_information()


def test_a_card_of_16_byte_challenges_refuses_the_foreign_one() -> None:
    card = element(i=0x71)
    with pytest.raises(ApduError, match="6a80"):
        SecurityDomainSession(Wire(card)).authenticate(params())
    assert card.attempts == 0


# ---- keys put


def test_a_foreign_new_key_set_opens_to_our_host_and_the_initial_one_is_gone(transport: TRANSPORT) -> None:
    card = element()
    session = foreign_session(Wire(card, transport))
    session.put_key(ref(OWN_KVN), static(OWN))
    assert set(session.get_key_information()) == {KeyRef(kid, OWN_KVN) for kid in (1, 2, 3)}
    assert versions(card) == (OWN_KVN,)
    assert our_session(card, OWN, OWN_KVN).level == 0x33
    assert our_session(card, OWN, 0).kvn == OWN_KVN
    with pytest.raises(StatusError, match="6A88"):
        our_session(card, KeySet.gp_test(), TEST_KVN)
    foreign_session(card, OWN, OWN_KVN)


def test_an_initial_key_set_that_stays_is_deleted_by_the_foreign_host() -> None:
    card = element(initial_keys_stay=True)
    session = foreign_session(card)
    session.put_key(ref(OWN_KVN), static(OWN))
    assert sorted(versions(card)) == [OWN_KVN, TEST_KVN]
    our_session(card, KeySet.gp_test(), TEST_KVN)
    foreign_session(card, OWN, OWN_KVN).delete_key(kvn=TEST_KVN)
    assert versions(card) == (OWN_KVN,)
    our_session(card, OWN, OWN_KVN)


def test_keys_of_our_host_open_to_the_foreign_one() -> None:
    card = element()
    manage(card, KeySet.gp_test(), TEST_KVN, host.put_keys(KeySet.gp_test(), OWN, kvn=OWN_KVN))
    session = foreign_session(card, OWN, OWN_KVN)
    assert set(session.get_key_information()) == {KeyRef(kid, OWN_KVN) for kid in (1, 2, 3)}


@pytest.mark.parametrize("kvn", [OWN_KVN, OTHER_KVN], ids=["same version", "new version"])
def test_a_foreign_replacement_takes_the_place_of_our_keys(kvn: int) -> None:
    card = element()
    manage(card, KeySet.gp_test(), TEST_KVN, host.put_keys(KeySet.gp_test(), OWN, kvn=OWN_KVN))
    foreign_session(card, OWN, OWN_KVN).put_key(ref(kvn), static(OTHER), replace_kvn=OWN_KVN)
    assert versions(card) == (kvn,)
    assert ask(card, host.get_value(Tag.SEQUENCE_COUNTER)) == bytes(3)
    our_session(card, OTHER, kvn)
    with pytest.raises(CardCryptogramError if kvn == OWN_KVN else StatusError):
        our_session(card, OWN, OWN_KVN)


@pytest.mark.parametrize("kvn", [OWN_KVN, OTHER_KVN], ids=["same version", "new version"])
def test_our_replacement_takes_the_place_of_foreign_keys(kvn: int) -> None:
    card = element()
    foreign_session(card).put_key(ref(OWN_KVN), static(OWN))
    manage(card, OWN, OWN_KVN, host.put_keys(OWN, OTHER, kvn=kvn, replace=OWN_KVN))
    foreign_session(card, OTHER, kvn)
    with pytest.raises(ValueError, match="Incorrect SCP parameters"):
        foreign_session(card, OWN, OWN_KVN)


@pytest.mark.parametrize(
    ("kvn", "replace", "sw"),
    [(OWN_KVN, 0, 0x6A80), (OTHER_KVN, OTHER_KVN, 0x6A88), (TEST_KVN, OWN_KVN, 0x6A80)],
    ids=["there already", "nothing to replace", "no version number"],
)
def test_a_foreign_key_that_cannot_be_put_changes_nothing(kvn: int, replace: int, sw: int) -> None:
    card = element(kvn=OWN_KVN)
    session = foreign_session(card)
    with pytest.raises(ApduError, match=f"{sw:04x}"):
        session.put_key(ref(kvn), static(OWN), replace_kvn=replace)
    assert len(session.get_key_information()) == 3
    assert versions(card) == (OWN_KVN,)
    our_session(card, KeySet.gp_test(), OWN_KVN)


def test_a_foreign_set_of_256_bit_keys_opens_to_our_host_only() -> None:
    card = element()
    long = KeySet.of(*(bytes([n]) * 32 for n in (1, 2, 3)))
    foreign_session(card).put_key(ref(OWN_KVN), static(long))
    information: KeyInformation = ask(card, host.key_information())
    assert {(key.kvn, key.components[0].length) for key in information.keys} == {(OWN_KVN, 32)}
    assert our_session(card, long, OWN_KVN).level == 0x33
    tries = card.attempts
    with pytest.raises(ValueError, match="Incorrect SCP parameters"):
        foreign_session(card, long, OWN_KVN)  # yubikit derives 128-bit session keys only
    assert card.attempts == tries


def test_a_lost_answer_to_a_foreign_put_key_leaves_one_set_that_a_probe_finds() -> None:
    card = element()
    wire = Wire(card)
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


def test_the_last_key_set_cannot_be_deleted(transport: TRANSPORT) -> None:
    card = element(kvn=OWN_KVN)
    session = foreign_session(Wire(card, transport))
    with pytest.raises(ApduError, match="6985"):
        session.delete_key(kvn=OWN_KVN)
    with pytest.raises(ApduError, match="6a86"):
        session.delete_key(kvn=OWN_KVN, delete_last=True)  # Yubico's own P2
    assert len(session.get_key_information()) == 3
    our_session(card, KeySet.gp_test(), OWN_KVN)


def test_a_deletion_of_nothing_is_refused() -> None:
    card = element(kvn=OWN_KVN)
    session = foreign_session(card)
    for kid, kvn in ((0, OTHER_KVN), (0x11, 0), (0x11, OWN_KVN)):
        with pytest.raises(ApduError, match="6a88"):
            session.delete_key(kid, kvn)
    assert versions(card) == (OWN_KVN,)


def test_the_set_that_opened_the_session_may_be_deleted_once_another_is_there() -> None:
    card = element(initial_keys_stay=True)
    session = foreign_session(card)
    session.put_key(ref(OWN_KVN), static(OWN))
    session.put_key(ref(OTHER_KVN), static(OTHER))
    session.delete_key(kvn=TEST_KVN)
    session.delete_key(kvn=OWN_KVN)
    assert set(session.get_key_information()) == {KeyRef(kid, OTHER_KVN) for kid in (1, 2, 3)}
    our_session(card, OTHER, OTHER_KVN)


# ---- data


@pytest.mark.parametrize("size", [0, 1, 200, 215, 216, 231, 232, 255, 256, 1000, 2900])
def test_foreign_data_of_any_size_read_back_the_same_on_both_sides(size: int, transport: TRANSPORT) -> None:
    card = element()
    value = bytes(n & 0xFF for n in range(size))
    session = foreign_session(Wire(card, transport))
    session.store_data(item(OBJECT, value))
    if not size:
        assert ask(card, host.get_value(OBJECT)) is None
        return
    assert session.get_data(OBJECT) == value
    assert ask(card, host.get_value(OBJECT)) == value
    assert SecurityDomainSession(Wire(card, transport)).get_data(OBJECT) == value


def test_foreign_data_in_several_blocks_are_written_with_the_last_one(transport: TRANSPORT) -> None:
    card = element(iin=b"before")
    session = foreign_session(Wire(card, transport))
    assert card.handle(bytes.fromhex("0070000001")) == bytes.fromhex("019000")
    beside = Terminal(card, 1)
    value = os.urandom(700)
    data = item(OBJECT, value) + item(Tag.IIN, b"after")
    blocks = [data[at : at + 150] for at in range(0, len(data), 150)]
    for number, block in enumerate(blocks):
        assert beside(0x80, 0xCA, 0x00, Tag.IIN, b"", 0).data == item(Tag.IIN, b"before")
        last = StoreData.LAST if number == len(blocks) - 1 else 0
        session.protocol.send_apdu(0x80, 0xE2, StoreData.BER_TLV | last, number, block)
    assert ask(card, host.get_value(OBJECT)) == value
    assert ask(card, host.get_value(Tag.IIN)) == b"after"


def test_data_of_our_host_are_read_by_the_foreign_one(transport: TRANSPORT) -> None:
    card = element()
    value = os.urandom(600)
    manage(
        card,
        KeySet.gp_test(),
        TEST_KVN,
        host.store_data(item(OBJECT, value), size=200, structure=StoreData.BER_TLV),
    )
    assert SecurityDomainSession(Wire(card, transport)).get_data(OBJECT) == value
    assert foreign_session(Wire(card, transport)).get_data(OBJECT) == value


def test_absent_objects_are_absent_to_the_foreign_host_and_keep_its_session(transport: TRANSPORT) -> None:
    session = foreign_session(Wire(element(), transport))
    assert session.get_supported_ca_identifiers() == {}
    assert session.get_certificate_bundle(KeyRef(ScpKid.SCP11b, 1)) == []
    with pytest.raises(ApduError, match="6a88"):
        session.get_data(OBJECT)
    assert len(session.get_key_information()) == 3


# ---- what this element does not do


def test_what_only_a_yubikey_does_is_refused_changes_nothing_and_keeps_the_session(transport: TRANSPORT) -> None:
    memory = RamMemory()
    card = element(memory=memory)
    session = foreign_session(Wire(card, transport))
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = self_signed(key)
    before = contents(memory)
    asked: list[tuple[int, Callable[[], object]]] = [
        (0x6A80, lambda: session.put_key(KeyRef(ScpKid.SCP11b, 1), key)),
        (0x6A80, lambda: session.put_key(KeyRef(0x10, 1), key.public_key())),
        (0x6D00, lambda: session.generate_ec_key(KeyRef(ScpKid.SCP11b, 1), Curve.SECP256R1)),
        (0x6A80, lambda: session.store_ca_issuer(KeyRef(0x10, 1), bytes(20))),
        (0x6A80, lambda: session.store_allowlist(KeyRef(0x10, 1), [1, 2**64])),
        (0x6A80, lambda: session.store_certificate_bundle(KeyRef(ScpKid.SCP11b, 1), [certificate])),
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
    session = SecurityDomainSession(Wire(card))
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    with pytest.raises(ApduError, match="6d00"):
        session.authenticate(Scp11KeyParams(KeyRef(ScpKid.SCP11b, 1), key))
    assert card.attempts == 0
    assert versions(card) == (TEST_KVN,)


def test_a_foreign_factory_reset_resets_nothing() -> None:
    memory = RamMemory()
    card = element(memory=memory, kvn=OWN_KVN, keys=OWN, try_limit=3)
    before = contents(memory, counters=False)
    session = SecurityDomainSession(Wire(card))
    session.reset()
    assert contents(memory, counters=False) == before
    assert card.attempts == 0
    foreign_session(card, OWN, OWN_KVN)
    our_session(card, OWN, OWN_KVN)


# ---- protection


@pytest.mark.parametrize("manages", ["put_key", "delete_key", "store_data"])
def test_without_a_session_a_foreign_host_manages_nothing(manages: str) -> None:
    memory = RamMemory()
    card = element(memory=memory, initial_keys_stay=True)
    session = foreign_session(card)
    session.put_key(ref(OWN_KVN), static(OWN))
    before = contents(memory)
    card.reset()
    ask_for: dict[str, Callable[[], object]] = {
        "put_key": lambda: session.put_key(ref(OTHER_KVN), static(OTHER)),
        "delete_key": lambda: session.delete_key(kvn=OWN_KVN),
        "store_data": lambda: session.store_data(item(OBJECT, b"x")),
    }
    with pytest.raises(ApduError, match="6982"):
        ask_for[manages]()
    session.protocol.select(ISD)
    if manages != "put_key":
        with pytest.raises(ApduError, match="6982"):
            ask_for[manages]()
    assert contents(memory) == before


@pytest.mark.parametrize("place", [0, 2, 3, 8, -1], ids=["class", "P1", "P2", "data", "C-MAC"])
def test_a_foreign_command_changed_on_its_way_ends_the_session_and_does_nothing(place: int) -> None:
    memory = RamMemory()
    card = element(memory=memory)
    wire = Wire(card)
    session = foreign_session(wire)
    before = contents(memory)
    wire.changing = flipping(0xD8, place) if place else lambda command: bytes((command[0] & 0x83,)) + command[1:]
    with pytest.raises(ApduError, match="6982"):
        session.put_key(ref(OWN_KVN), static(OWN))
    wire.changing = bytes
    with pytest.raises(ApduError, match="6982"):
        session.get_key_information()
    assert contents(memory) == before
    foreign_session(wire).put_key(ref(OWN_KVN), static(OWN))
    our_session(card, OWN, OWN_KVN)


def test_a_foreign_command_sent_twice_ends_the_session() -> None:
    card = element()
    wire = Wire(card)
    session = foreign_session(wire)
    session.store_data(item(OBJECT, b"once"))
    assert card.handle(wire.commands(0xE2)[-1]) == b"\x69\x82"
    with pytest.raises(ApduError, match="6982"):
        session.get_data(OBJECT)
    assert ask(card, host.get_value(OBJECT)) == b"once"


@pytest.mark.parametrize("place", [0, -3], ids=["data", "R-MAC"])
def test_the_foreign_host_notices_a_changed_answer(place: int) -> None:
    wire = Wire(element())
    session = foreign_session(wire)

    def change(answer: bytes) -> bytes:
        changed = bytearray(answer)
        changed[place] ^= 0x80
        return bytes(changed)

    wire.changing_answer = change
    with pytest.raises(BadResponseError, match="Wrong MAC"):
        session.get_key_information()


def test_a_plain_command_of_another_program_ends_the_foreign_session() -> None:
    card = element()
    session = foreign_session(card)
    assert Terminal(card).sw("80CA00E000") == 0x6982
    with pytest.raises(ApduError, match="6982"):
        session.get_key_information()


def test_our_session_on_another_channel_goes_beside_the_foreign_one() -> None:
    card = element()
    session = foreign_session(card)
    assert card.handle(bytes.fromhex("0070000001")) == bytes.fromhex("019000")
    ours = Terminal(card, 1).authenticate(kvn=TEST_KVN)
    session.store_data(item(OBJECT, b"foreign"))
    answer = ours(0x80, 0xCA, OBJECT >> 8, OBJECT & 0xFF, b"", 0)
    assert answer.data == item(OBJECT, b"foreign")
    assert ours(0x80, 0xE2, StoreData.BER_TLV | StoreData.LAST, 0, item(OBJECT, b"ours")).sw == 0x9000
    assert session.get_data(OBJECT) == b"ours"


# ---- life


def test_a_card_locked_by_our_host_is_not_managed_by_the_foreign_one() -> None:
    card = element(life_cycle=CardState.SECURED)
    foreign_session(card).put_key(ref(OWN_KVN), static(OWN))
    manage(card, OWN, OWN_KVN, host.set_card_state(CardState.CARD_LOCKED))
    wire = Wire(card)
    with pytest.raises(ApduError, match="6283"):
        SecurityDomainSession(wire)  # yubikit takes the warning for a failure
    protocol = SmartCardProtocol(wire)
    protocol.init_scp(params(OWN, OWN_KVN))
    with pytest.raises(ApduError, match="6985"):
        protocol.send_apdu(0x80, 0xE4, 0, 0, bytes.fromhex("D20130"))
    assert versions(card) == (OWN_KVN,)
    manage(card, OWN, OWN_KVN, host.set_card_state(CardState.SECURED))
    foreign_session(card, OWN, OWN_KVN)


def test_what_a_foreign_host_put_is_there_after_the_element_was_closed_and_opened(tmp_path: Path) -> None:
    path = str(tmp_path / "element")
    with element(path=path) as card:
        session = foreign_session(card)
        session.put_key(ref(OWN_KVN), static(OWN))
        session.store_data(item(OBJECT, b"kept"))
        tries = card.attempts
    with element(path=path) as card:
        assert card.attempts == tries
        assert versions(card) == (OWN_KVN,)
        assert ask(card, host.get_value(OBJECT)) == b"kept"
        our_session(card, OWN, OWN_KVN)
        foreign_session(card, OWN, OWN_KVN)
