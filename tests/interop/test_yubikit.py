"""Yubico's host library opens sessions with our element, reads and writes, and is protected.

Every result is looked at through APDUs of our own host: what one wrote the other reads.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from yubikit.core import TRANSPORT, ApplicationNotAvailableError, BadResponseError
from yubikit.core.smartcard import ApduError, SmartCardProtocol
from yubikit.core.smartcard.scp import KeyRef, ScpKid
from yubikit.securitydomain import SecurityDomainSession

from interop.yubico import (
    OBJECT,
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
from keywright.codec.tlv import item
from keywright.globalplatform import host
from keywright.globalplatform.life_cycle import CardState
from keywright.globalplatform.messages import CardData, Fci, KeyInformation, StoreData, Tag, unwrapped
from keywright.scp.scp03 import KeySet
from keywright.store import RamMemory
from support.cards import ISD, OTHER, OTHER_AID, OWN, Terminal, contents, element

KDD = bytes.fromhex("00010203040506070809")


# ---- finding and opening


def test_select_finds_the_issuer_domain_and_nothing_else() -> None:
    wire = Wire(element().handle)
    SecurityDomainSession(wire)
    assert Fci.parse(unwrapped(Tag.FCI, wire.log[-1][1][:-2])).aid == ISD
    with pytest.raises(ApplicationNotAvailableError):
        SmartCardProtocol(wire).select(OTHER_AID)
    assert wire.sw == 0x6A82


def test_what_a_foreign_host_reads_in_the_clear_is_what_ours_reads(transport: TRANSPORT) -> None:
    card = element(kdd=KDD, iin=b"12345678", cin=b"CIN1", kvn=OWN_KVN)
    session = SecurityDomainSession(Wire(card.handle, transport))
    read = {
        tag: session.get_data(tag) for tag in (Tag.CPLC, Tag.IIN, Tag.CIN, Tag.KDD, Tag.CARD_DATA, Tag.CAPABILITIES)
    }
    assert read == {tag: ask(card, host.get_value(tag)) for tag in read}
    assert (read[Tag.IIN], read[Tag.CIN], read[Tag.KDD]) == (b"12345678", b"CIN1", KDD)


@pytest.mark.parametrize("i", [0x60, 0x70])
def test_the_card_recognition_data_name_the_variant(i: int) -> None:
    card = element(i=i, rng=os.urandom)
    recognition = SecurityDomainSession(Wire(card.handle)).get_card_recognition_data()
    ours = CardData.parse(unwrapped(Tag.CARD_DATA, ask(card, host.get_data(Tag.CARD_DATA))))
    assert recognition == ours.recognition.build()
    assert ours.secure_channels == ((3, i),)


@pytest.mark.parametrize("i", [0x60, 0x70], ids=["random", "pseudo-random"])
def test_a_foreign_host_opens_sessions_at_the_full_level(i: int, transport: TRANSPORT) -> None:
    draws = itertools.count(1)
    card = element(i=i, rng=lambda size: next(draws).to_bytes(size))
    wire = Wire(card.handle, transport)
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
    wire = Wire(card.handle, transport)
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


# ---- data


@pytest.mark.parametrize("size", [0, 1, 200, 215, 216, 231, 232, 255, 256, 1000, 2900])
def test_foreign_data_of_any_size_read_back_the_same_on_both_sides(size: int, transport: TRANSPORT) -> None:
    card = element()
    value = bytes(n & 0xFF for n in range(size))
    wire = Wire(card.handle, transport)
    session = foreign_session(wire)
    session.store_data(item(OBJECT, value))
    if not size:
        assert ask(card, host.get_value(OBJECT)) is None
        return
    assert session.get_data(OBJECT) == value
    in_pieces = transport == TRANSPORT.NFC and size > 239
    assert bool(wire.commands(0xC0)) == in_pieces, "an extended command without Le asks for everything at once"
    assert ask(card, host.get_value(OBJECT)) == value
    assert SecurityDomainSession(Wire(card.handle, transport)).get_data(OBJECT) == value


def test_foreign_data_in_several_blocks_are_written_with_the_last_one(transport: TRANSPORT) -> None:
    card = element(iin=b"before")
    session = foreign_session(Wire(card.handle, transport))
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
    assert SecurityDomainSession(Wire(card.handle, transport)).get_data(OBJECT) == value
    assert foreign_session(Wire(card.handle, transport)).get_data(OBJECT) == value


def test_absent_objects_are_absent_to_the_foreign_host_and_keep_its_session(transport: TRANSPORT) -> None:
    session = foreign_session(Wire(element().handle, transport))
    assert session.get_supported_ca_identifiers() == {}
    assert session.get_certificate_bundle(KeyRef(ScpKid.SCP11b, 1)) == []
    with pytest.raises(ApduError, match="6a88"):
        session.get_data(OBJECT)
    assert len(session.get_key_information()) == 3


# ---- protection


@pytest.mark.parametrize("manages", ["put_key", "delete_key", "store_data"])
def test_without_a_session_a_foreign_host_manages_nothing(manages: str) -> None:
    memory = RamMemory()
    card = element(memory=memory, initial_keys_stay=True)
    session = foreign_session(Wire(card.handle))
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
    wire = Wire(card.handle)
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
    wire = Wire(card.handle)
    session = foreign_session(wire)
    session.store_data(item(OBJECT, b"once"))
    assert card.handle(wire.commands(0xE2)[-1]) == b"\x69\x82"
    with pytest.raises(ApduError, match="6982"):
        session.get_data(OBJECT)
    assert ask(card, host.get_value(OBJECT)) == b"once"


@pytest.mark.parametrize("place", [0, -3], ids=["data", "R-MAC"])
def test_the_foreign_host_notices_a_changed_answer(place: int) -> None:
    wire = Wire(element().handle)
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
    session = foreign_session(Wire(card.handle))
    assert Terminal(card).sw("80CA00E000") == 0x6982
    with pytest.raises(ApduError, match="6982"):
        session.get_key_information()


def test_our_session_on_another_channel_goes_beside_the_foreign_one() -> None:
    card = element()
    session = foreign_session(Wire(card.handle))
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
    foreign_session(Wire(card.handle)).put_key(ref(OWN_KVN), static(OWN))
    manage(card, OWN, OWN_KVN, host.set_card_state(CardState.CARD_LOCKED))
    wire = Wire(card.handle)
    with pytest.raises(ApduError, match="6283"):
        SecurityDomainSession(wire)  # yubikit takes the warning for a failure
    protocol = SmartCardProtocol(wire)
    protocol.init_scp(params(OWN, OWN_KVN))
    with pytest.raises(ApduError, match="6985"):
        protocol.send_apdu(0x80, 0xE4, 0, 0, bytes.fromhex("D20130"))
    assert versions(card) == (OWN_KVN,)
    manage(card, OWN, OWN_KVN, host.set_card_state(CardState.SECURED))
    foreign_session(Wire(card.handle), OWN, OWN_KVN)


def test_what_a_foreign_host_put_is_there_after_the_element_was_closed_and_opened(tmp_path: Path) -> None:
    path = str(tmp_path / "element")
    with element(path=path) as card:
        session = foreign_session(Wire(card.handle))
        session.put_key(ref(OWN_KVN), static(OWN))
        session.store_data(item(OBJECT, b"kept"))
        tries = card.attempts
    with element(path=path) as card:
        assert card.attempts == tries
        assert versions(card) == (OWN_KVN,)
        assert ask(card, host.get_value(OBJECT)) == b"kept"
        our_session(card, OWN, OWN_KVN)
        foreign_session(Wire(card.handle), OWN, OWN_KVN)
