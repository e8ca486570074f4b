"""SCP02 on the element: explicit and implicit sessions, what they count, and its R-MAC chain over refusals."""

from __future__ import annotations

import os

import pytest
from msgspec.structs import astuple

from keywright.element.state import KeyRecord, KeySetRecord
from keywright.globalplatform.messages import KeyType
from keywright.iso7816.apdu import Command
from keywright.sansio.dialogue import drive
from keywright.scp.scp02.host import open_channel, open_implicit
from keywright.scp.scp02.keys import KeySet
from keywright.scp.scp02.messaging import HostChannel
from keywright.store import RamMemory
from support.cards import HOST_CHALLENGE, ISD, Terminal, contents, element
from support.power import CutMemory, PowerCut

KEYS = KeySet.of(bytes(range(16)), bytes(range(16, 32)), bytes(range(32, 48)))
BASE = KeySet.gp_test()
GET_KEYS = Command(0x80, 0xCA, 0x00, 0xE0, b"", 0)


def memory_with(keys: KeySet, i: int, **parameters: object) -> RamMemory:
    """An element that offers SCP02 and has a DES set 20 beside its AES set FF."""
    memory = RamMemory()
    element(memory=memory, protocols=((0x02, i),), rng=os.urandom, **parameters)
    records = (KeyRecord(kid, KeyType.DES, key.reveal()) for kid, key in enumerate((keys.enc, keys.mac, keys.dek), 1))
    memory.commit({"keys": b"\xff\x20", "keys/20": KeySetRecord(tuple(records)).build()})
    return memory


def opened(i: int = 0x15, level: int = 0x03, keys: KeySet = KEYS) -> tuple[Terminal, HostChannel, RamMemory]:
    memory = memory_with(keys, i)
    here = Terminal(element(memory=memory, rng=os.urandom))
    dialogue = open_channel(keys, HOST_CHALLENGE, i=i, kvn=0x20, level=level, aid=ISD, allow_legacy=True)
    return here, drive(dialogue, here.exchange), memory


@pytest.mark.parametrize(
    ("i", "keys"), [(0x15, KEYS), (0x55, KEYS), (0x05, KEYS), (0x75, KEYS), (0x1D, KEYS), (0x04, BASE), (0x74, BASE)]
)
@pytest.mark.parametrize("level", [0x00, 0x01, 0x03])
def test_a_set_of_des_keys_opens_an_explicit_session(i: int, keys: KeySet, level: int) -> None:
    here, session, memory = opened(i, level, keys)
    for _ in range(3):
        answer = session.unwrap(here.exchange(session.wrap(GET_KEYS)))
        assert answer.sw == 0x9000
    assert contents(memory)["counter/20"][:4] == bytes.fromhex("00000001")


def test_the_aes_set_beside_it_still_opens_scp03() -> None:
    here, _, _ = opened()
    here.authenticate(kvn=0xFF)


def test_the_counter_moves_with_the_first_c_mac_and_not_before() -> None:
    memory = memory_with(KEYS, 0x15)
    here = Terminal(element(memory=memory, rng=os.urandom))
    assert here.initialize_update(kvn=0x20).sw == 0x9000
    assert "counter/20" not in contents(memory)
    here.raw("8482030010" + "00" * 16)
    assert "counter/20" not in contents(memory)


@pytest.mark.parametrize("when", ["cut_before", "cut_after"])
def test_no_session_is_open_whose_counter_is_not_stored(when: str) -> None:
    memory = CutMemory(memory_with(KEYS, 0x15))
    here = Terminal(element(memory=memory, rng=os.urandom))
    dialogue = open_channel(KEYS, HOST_CHALLENGE, kvn=0x20, level=1, allow_legacy=True)
    command = dialogue.send(here.exchange(next(dialogue)))
    memory.commits = 0
    setattr(memory, when, 2)  # the first one counts the command
    with pytest.raises(PowerCut):
        here.exchange(command)
    assert here.sw("80F28002024F00") == 0x6982


def test_a_refusal_is_part_of_the_r_mac_chain() -> None:
    here, session, _ = opened(0x35, 0x11)
    assert session.unwrap(here.exchange(session.wrap(Command(0x80, 0xCA, 0xDF, 0x01)))).sw == 0x6A88
    assert session.unwrap(here.exchange(session.wrap(GET_KEYS))).sw == 0x9000


def test_an_r_mac_session_begins_and_ends() -> None:
    here, session, _ = opened(0x35, 0x01)
    drive(session.begin_r_mac(b"\x01\x02"), here.exchange)
    assert session.unwrap(here.exchange(session.wrap(GET_KEYS))).sw == 0x9000
    assert len(drive(session.end_r_mac(), here.exchange)) == 8
    assert session.unwrap(here.exchange(session.wrap(GET_KEYS))).sw == 0x9000


class TestImplicit:
    def begun(self, counter: int = 0) -> tuple[Terminal, HostChannel, RamMemory]:
        memory = memory_with(KEYS, 0x0B)
        if counter:
            memory.commit({"counter/20": counter.to_bytes(4) + bytes(2)})
        here = Terminal(element(memory=memory, rng=os.urandom))
        return here, open_implicit(KEYS, counter, i=0x0B, aid=ISD, allow_legacy=True), memory

    def test_the_first_secured_command_opens_it_and_moves_the_counter(self) -> None:
        here, session, memory = self.begun(7)
        assert session.unwrap(here.exchange(session.wrap(Command(0x80, 0xF2, 0x80, 0x02, b"\x4f\x00")))).sw == 0x9000
        assert contents(memory)["counter/20"][:4] == bytes.fromhex("00000008")
        assert session.unwrap(here.exchange(session.wrap(GET_KEYS))).sw == 0x9000
        assert contents(memory)["counter/20"][:4] == bytes.fromhex("00000008")

    def test_a_bare_command_takes_the_c_mac_off_and_the_next_secured_one_begins_anew(self) -> None:
        here, session, memory = self.begun()
        here.exchange(session.wrap(GET_KEYS))
        assert here(0x80, 0xCA, 0x00, 0xE0, b"", 0).sw == 0x9000
        assert here(0x80, 0xE2, 0x90, 0x00, b"\xdf\x01\x01\x00").sw == 0x6982
        again = open_implicit(KEYS, 1, i=0x0B, aid=ISD, allow_legacy=True)
        assert again.unwrap(here.exchange(again.wrap(GET_KEYS))).sw == 0x9000
        assert contents(memory)["counter/20"][:4] == bytes.fromhex("00000002")

    def test_wrong_ones_in_a_row_block_the_key_set_as_wrong_cryptograms_do(self) -> None:
        memory = memory_with(KEYS, 0x0B, try_limit=3)
        here = Terminal(element(memory=memory, rng=os.urandom))
        wrong = Command(0x84, 0xCA, 0x00, 0xE0, bytes(8), 0)
        right = [open_implicit(KEYS, counter, i=0x0B, aid=ISD, allow_legacy=True) for counter in (0, 1)]
        assert [here.exchange(wrong).sw for _ in range(2)] == [0x6982] * 2
        here.card.reset()
        assert here.exchange(right[0].wrap(GET_KEYS)).sw == 0x9000
        here.select()
        assert [here.exchange(wrong).sw for _ in range(4)] == [0x6982] * 3 + [0x6983]
        assert here.exchange(right[1].wrap(GET_KEYS)).sw == 0x6983

    def test_a_wrong_c_mac_opens_nothing_and_what_was_sent_before_is_not_taken_again(self) -> None:
        here, session, memory = self.begun()
        command = session.wrap(GET_KEYS)
        wrong = Command(command.cla, command.ins, command.p1, command.p2, command.data[:-1] + b"!", 0)
        assert here.exchange(wrong).sw == 0x6982
        assert "counter/20" not in contents(memory)
        assert here.exchange(command).sw == 0x9000
        here.card.reset()
        assert here.exchange(command).sw == 0x6982

    def test_initialize_update_has_nothing_to_begin(self) -> None:
        here, _, _ = self.begun()
        assert here.initialize_update(kvn=0x20).sw == 0x6985

    def test_a_plain_command_changes_nothing_on_the_card_though_the_session_began_authenticated(self) -> None:
        here, session, memory = self.begun()
        assert session.unwrap(here.exchange(session.wrap(GET_KEYS))).sw == 0x9000
        before = contents(memory)
        for ins, data in ((0xD8, b"\x30"), (0xE4, b"\xd2\x01\x20"), (0xF0, b"")):
            assert here(0x80, ins, 0x80, 0x07, data).sw == 0x6982
        assert contents(memory) == before

    def on_channel_1(self, here: Terminal) -> None:
        assert here(0x00, 0x70, 0x00, 0x01).sw == 0x9000

    def test_a_first_command_of_another_channel_is_not_taken_again_on_a_suspended_one(self) -> None:
        here, session, memory = self.begun()
        self.on_channel_1(here)
        assert session.unwrap(here.exchange(session.wrap(GET_KEYS))).sw == 0x9000
        assert here(0x80, 0xCA, 0x00, 0xE0, b"", 0).sw == 0x9000
        other = open_implicit(KEYS, 1, i=0x0B, aid=ISD, channel=1, allow_legacy=True)
        recorded = other.wrap(Command(0x81, *astuple(GET_KEYS)[1:]))
        assert here.exchange(recorded).sw == 0x9000
        moved = Command(0x84, *astuple(recorded)[1:])
        assert here.exchange(moved).sw == 0x6982
        assert contents(memory)["counter/20"][:4] == bytes.fromhex("00000002")

    def test_a_session_never_takes_the_counter_back(self) -> None:
        here, session, memory = self.begun()
        self.on_channel_1(here)
        session.unwrap(here.exchange(session.wrap(GET_KEYS)))
        other = open_implicit(KEYS, 1, i=0x0B, aid=ISD, channel=1, allow_legacy=True)
        other.unwrap(here.exchange(other.wrap(Command(0x81, *astuple(GET_KEYS)[1:]))))
        assert session.unwrap(here.exchange(session.wrap(GET_KEYS))).sw == 0x9000
        assert contents(memory)["counter/20"][:4] == bytes.fromhex("00000002")


def test_a_counter_opens_one_session_even_if_two_channels_were_challenged_with_it() -> None:
    here, _, memory = opened()
    assert here(0x00, 0x70, 0x00, 0x01).sw == 0x9000
    late = open_channel(KEYS, HOST_CHALLENGE, i=0x15, kvn=0x20, level=1, channel=1, allow_legacy=True)
    command = late.send(here.exchange(next(late)))
    drive(open_channel(KEYS, HOST_CHALLENGE, i=0x15, kvn=0x20, level=1, allow_legacy=True), here.exchange)
    assert here.exchange(command).sw == 0x6985
    assert contents(memory)["counter/20"][:4] == bytes.fromhex("00000002")
