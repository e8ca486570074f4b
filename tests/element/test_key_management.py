"""PUT KEY and DELETE of keys, as an issuer security domain takes and refuses them."""

from __future__ import annotations

import pytest

from keywright.errors import AuthenticationError
from keywright.globalplatform.profile import CardProfile
from keywright.iso7816.apdu import Command
from keywright.scp.scp03 import KeySet
from keywright.store import RamMemory
from support.cards import OTHER, OWN, Session, Terminal, contents, element, key_field

TEST = KeySet.gp_test()


def opened(**parameters: object) -> Session:
    return Terminal(element(**parameters)).authenticate()


@pytest.mark.parametrize(("size", "inner_length"), [(16, True), (24, True), (32, True), (16, False), (32, False)])
def test_a_new_set_is_answered_with_its_version_and_check_values_and_opens(size: int, *, inner_length: bool) -> None:
    keys = KeySet.of(bytes(range(size)), bytes(range(1, size + 1)), bytes(range(2, size + 2)))
    session = opened()
    answer = session.put_keys(0x30, keys, inner_length=inner_length)
    assert (answer.data, answer.sw) == (b"\x30" + keys.kcvs, 0x9000)
    fresh = session.terminal.authenticate(keys=keys, kvn=0x30)
    assert fresh(0x80, 0xCA, 0x00, 0xE0).data[2:8] == bytes((0xC0, 4, 1, 0x30, 0x88, size))


def test_the_first_set_of_the_owner_makes_the_initial_set_vanish() -> None:
    session = opened()
    session.put_keys(0x30, OWN)
    assert session(0x00, 0xCA, 0x00, 0xE0).data.hex() == "c00401308810c00402308810c00403308810"
    assert session.terminal.initialize_update(kvn=0xFF).sw == 0x6A88


def test_initial_keys_may_be_made_to_stay() -> None:
    session = opened(initial_keys_stay=True)
    session.put_keys(0x30, OWN)
    assert session(0x00, 0xCA, 0x00, 0xE0).data[3::6] == b"\xff\xff\xff\x30\x30\x30"
    session.terminal.authenticate(kvn=0xFF)


def test_an_incomplete_set_is_stored_opens_nothing_and_leaves_the_initial_set() -> None:
    session = opened()
    dek = session.keys.dek
    assert session(0x80, 0xD8, 0x00, 0x01, b"\x30" + key_field(OWN.enc, dek)).sw == 0x9000
    assert session(0x80, 0xD8, 0x00, 0x02, b"\x30" + key_field(OWN.mac, dek)).sw == 0x9000
    assert session(0x00, 0xCA, 0x00, 0xE0).data.hex().endswith("c00401308810c00402308810")
    here = session.terminal
    assert here.initialize_update(kvn=0x30).sw == 0x6A88
    session = here.authenticate(kvn=0xFF)
    assert session(0x80, 0xD8, 0x00, 0x03, b"\x30" + key_field(OWN.dek, dek)).sw == 0x9000
    assert here.initialize_update(kvn=0xFF).sw == 0x6A88
    here.authenticate(keys=OWN, kvn=0x30)


def test_replacing_the_set_in_use_keeps_the_running_session_and_zeroes_the_counter() -> None:
    session = opened(kvn=0x30, sequence_counter=9)
    assert session.put_keys(0x30, OWN, old=0x30).sw == 0x9000
    assert session.put_keys(0x30, OTHER, old=0x30, dek=TEST.dek).sw == 0x9000
    here = session.terminal
    assert here.initialize_update(kvn=0x30).data[-3:] == bytes.fromhex("000001")
    with pytest.raises(AuthenticationError):
        here.authenticate(keys=OWN)
    here.authenticate(keys=OTHER)


def test_replacing_may_change_the_version_and_keeps_the_place_in_the_order() -> None:
    session = opened(kvn=0x30)
    session.put_keys(0x31, OWN)
    assert session.put_keys(0x32, OTHER, old=0x30).sw == 0x9000
    assert session(0x00, 0xCA, 0x00, 0xE0).data[3::6] == b"\x32\x32\x32\x31\x31\x31"
    assert session.terminal.initialize_update(kvn=0x30).sw == 0x6A88


@pytest.mark.parametrize(("kid", "counter"), [(1, 1), (2, 1), (3, 11), (4, 11)])
def test_the_counter_starts_again_only_with_a_key_that_makes_old_recordings_useless(kid: int, counter: int) -> None:
    session = opened(kvn=0x30, sequence_counter=9)
    old = 0x30 if kid <= 3 else 0x00
    assert session(0x80, 0xD8, old, kid, b"\x30" + key_field(OWN.enc, TEST.dek)).sw == 0x9000
    assert int.from_bytes(session.terminal.initialize_update(kvn=0x30).data[-3:]) == counter


@pytest.mark.parametrize("old", [0x31, 0x7F])
def test_replacing_what_is_not_there_is_6a88(old: int) -> None:
    assert opened(kvn=0x30).put_keys(0x32, OWN, old=old).sw == 0x6A88


def test_replacing_one_key_keeps_the_others() -> None:
    session = opened(kvn=0x30)
    assert session(0x80, 0xD8, 0x30, 0x03, b"\x30" + key_field(OWN.dek, TEST.dek)).sw == 0x9000
    mixed = KeySet(TEST.enc, TEST.mac, OWN.dek)
    assert session.terminal.authenticate(keys=mixed).put_keys(0x30, OWN, old=0x30).sw == 0x9000


def test_replacing_part_of_a_set_under_another_version_is_6a80() -> None:
    assert opened(kvn=0x30)(0x80, 0xD8, 0x30, 0x03, b"\x31" + key_field(OWN.dek, TEST.dek)).sw == 0x6A80


def test_a_version_that_exists_is_neither_added_nor_moved_onto() -> None:
    session = opened(kvn=0x30)
    assert session.put_keys(0x30, OWN).sw == 0x6A80
    session.put_keys(0x31, OWN)
    assert session.put_keys(0x31, OTHER, old=0x30).sw == 0x6A80


def test_a_wrong_check_value_is_6982_changes_nothing_and_keeps_the_session() -> None:
    memory = RamMemory()
    session = opened(memory=memory)
    before = contents(memory)
    fields = key_field(OWN.enc, TEST.dek) + key_field(OWN.mac, TEST.dek, kcv=b"\0\0\0") + key_field(OWN.dek, TEST.dek)
    assert session(0x80, 0xD8, 0x00, 0x81, b"\x30" + fields).sw == 0x6982
    assert contents(memory) == before
    assert session.put_keys(0x30, OWN).sw == 0x9000


def test_keys_without_check_value_are_taken_and_answered_with_theirs() -> None:
    fields = b"".join(key_field(key, TEST.dek, kcv=b"") for key in (OWN.enc, OWN.mac, OWN.dek))
    assert opened()(0x80, 0xD8, 0x00, 0x81, b"\x30" + fields).data == b"\x30" + OWN.kcvs


GOOD = key_field(OWN.enc, TEST.dek)
BAD_DATA = {
    "nothing": b"",
    "no key": b"\x30",
    "version 00": b"\x00" + GOOD,
    "version FF": b"\xff" + GOOD,
    "version 80": b"\x80" + GOOD,
    "cut off": b"\x30" + GOOD[:-1],
    "HMAC": b"\x30\x90" + GOOD[1:],
    "check value of 2 bytes": b"\x30" + GOOD[:-4] + b"\x02" + GOOD[-3:-1],
    "no block": b"\x30\x88\x00\x00",
    "key of 15 bytes": b"\x30\x88\x11\x0f" + bytes(16) + b"\x00",
    "key longer than its block": b"\x30\x88\x11\x20" + bytes(16) + b"\x00",
    "block longer than the key": b"\x30\x88\x21\x10" + bytes(32) + b"\x00",
    "block of 15 bytes": b"\x30\x88\x0f" + bytes(15) + b"\x00",
    "block of 48 bytes": b"\x30\x88\x30" + bytes(48) + b"\x00",
    "two keys for one": b"\x30" + GOOD + GOOD,
}


@pytest.mark.parametrize("data", BAD_DATA.values(), ids=BAD_DATA)
def test_data_that_is_no_key_is_6a80_and_changes_nothing(data: bytes) -> None:
    memory = RamMemory()
    session = opened(memory=memory)
    before = contents(memory)
    assert session(0x80, 0xD8, 0x00, 0x01, data).sw == 0x6A80
    assert contents(memory) == before


def test_keys_of_different_sizes_do_not_make_a_set() -> None:
    long = KeySet.of(bytes(32), bytes(32), bytes(32))
    fields = key_field(OWN.enc, TEST.dek) + key_field(OWN.mac, TEST.dek) + key_field(long.dek, TEST.dek)
    assert opened()(0x80, 0xD8, 0x00, 0x81, b"\x30" + fields).sw == 0x6A80


@pytest.mark.parametrize(("p1", "p2"), [(0x00, 0x00), (0x00, 0x80)])
def test_key_identifier_00_is_6a86(p1: int, p2: int) -> None:
    assert opened()(0x80, 0xD8, p1, p2, b"\x30" + GOOD).sw == 0x6A86


def test_key_identifiers_end_at_7f() -> None:
    assert opened()(0x80, 0xD8, 0x00, 0x7F, b"\x30" + GOOD).sw == 0x9000
    assert opened()(0x80, 0xD8, 0x00, 0xFF, b"\x30" + GOOD + GOOD).sw == 0x6A80


class TestDelete:
    def test_a_set_goes_by_its_version(self) -> None:
        session = opened(kvn=0x30)
        session.put_keys(0x31, OWN)
        answer = session(0x80, 0xE4, 0x00, 0x00, b"\xd2\x01\x31", 0)
        assert (answer.data, answer.sw) == (b"\x00", 0x9000)
        assert session.terminal.initialize_update(kvn=0x31).sw == 0x6A88

    def test_the_set_in_use_may_go_and_the_session_stays(self) -> None:
        session = opened(kvn=0x30)
        session.put_keys(0x31, OWN)
        assert session(0x80, 0xE4, 0x00, 0x00, b"\xd2\x01\x30").sw == 0x9000
        assert session(0x80, 0xCA, 0x00, 0xE0).sw == 0x9000

    def test_one_key_goes_by_version_and_identifier(self) -> None:
        session = opened(kvn=0x30)
        session.put_keys(0x31, OWN)
        assert session(0x80, 0xE4, 0x00, 0x00, b"\xd0\x01\x02\xd2\x01\x31").sw == 0x9000
        assert session(0x00, 0xCA, 0x00, 0xE0).data.hex().endswith("c00401318810c00403318810")
        assert session.terminal.initialize_update(kvn=0x31).sw == 0x6A88

    @pytest.mark.parametrize("data", ["d20131", "d00104", "d00104d20130", "4f05a0000000aa"])
    def test_what_is_not_there_is_6a88(self, data: str) -> None:
        assert opened(kvn=0x30)(0x80, 0xE4, 0x00, 0x00, bytes.fromhex(data)).sw == 0x6A88

    @pytest.mark.parametrize("data", ["d20130", "d00101", "d00102d20130", "4f08a000000151000000"])
    def test_the_last_usable_set_and_the_issuer_domain_stay_6985(self, data: str) -> None:
        memory = RamMemory()
        session = opened(kvn=0x30, memory=memory)
        before = contents(memory)
        assert session(0x80, 0xE4, 0x00, 0x00, bytes.fromhex(data)).sw == 0x6985
        assert contents(memory) == before

    @pytest.mark.parametrize("data", ["", "d2", "d203010203", "c10130", "4f"])
    def test_data_that_names_nothing_is_6a80(self, data: str) -> None:
        assert opened()(0x80, 0xE4, 0x00, 0x00, bytes.fromhex(data)).sw == 0x6A80

    @pytest.mark.parametrize(("p1", "p2"), [(0x01, 0x00), (0x00, 0x02)])
    def test_other_parameters_are_6a86(self, p1: int, p2: int) -> None:
        assert opened()(0x80, 0xE4, p1, p2, b"\xd2\x01\x30").sw == 0x6A86


@pytest.mark.parametrize("ins", [0xD8, 0xE4, 0xE2, 0xF0])
def test_changing_commands_need_a_c_mac_where_the_profile_says_so(ins: int) -> None:
    session = opened(profile=CardProfile(changes_need_mac=True))
    here = session.terminal
    assert here.authenticate(0x00).terminal.exchange(Command(0x80, ins, 0x80, 0x07)).sw == 0x6982
    assert here(0x80, 0xCA, 0x00, 0xD3, le=0).data == b"\xd3\x01\x80"


def test_at_level_00_keys_are_put_used_and_deleted() -> None:
    """GPCS 11 asks for AUTHENTICATED, nothing more; what clients call clear mode."""
    session = opened().terminal.authenticate(0x00)
    assert session.put_keys(0x30, OWN).sw == 0x9000
    assert session.put_keys(0x31, OWN).sw == 0x9000
    own = session.terminal.authenticate(0x00, keys=OWN, kvn=0x30)
    assert own(0x80, 0xE4, 0x00, 0x00, b"\xd2\x01\x31").sw == 0x9000
    assert own(0x80, 0xF0, 0x80, 0x07).sw == 0x9000
