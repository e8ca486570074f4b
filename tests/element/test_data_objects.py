"""GET DATA and STORE DATA of the issuer security domain."""

from __future__ import annotations

import pytest

from keywright.codec.tlv import items
from keywright.globalplatform.dialogues import content
from keywright.store import RamMemory
from support.cards import Session, Terminal, contents, element
from support.content import DOMAIN, FILE, INSTANCE, MODULE, SECOND, ContentHost, package


def opened(**parameters: object) -> Session:
    return Terminal(element(**parameters)).authenticate()


OBJECTS = {
    "42": "42083132333435363738",
    "45": "45080102030405060708",
    "66": "6631732f06072a864886fc6b01600c060a2a864886fc6b02020301630906072a864886fc6b03640b06092a864886fc6b040370",
    "67": "6723a0098001038101708201078103fffff082031e9f308304010203048806000102030507",
    "C1": "c103000005",
    "CF": "cf0a00010203040506070809",
    "E0": "e012c00401ff8810c00402ff8810c00403ff8810",
}


@pytest.mark.parametrize("tag", ["42", "45", "66", "67", "C1", "CF", "E0"])
def test_the_gp_class_returns_the_object_and_the_iso_class_its_value(tag: str) -> None:
    here = Terminal(element(iin=b"12345678", cin=bytes(range(1, 9)), sequence_counter=5, kdd=bytes(range(10))))
    whole = bytes.fromhex(OBJECTS[tag])
    assert here.raw(f"80CA00{tag}00") == whole + b"\x90\x00"
    assert here.raw(f"00CA00{tag}00") == whole[2:] + b"\x90\x00"


def test_the_odd_instruction_has_the_iso_class_alone() -> None:
    here = Terminal(element())
    assert here.raw("00CB004200") == here.raw("00CA004200")
    assert here.raw("80CB004200").hex() == "6e00"
    session = here.authenticate()
    assert session(0x00, 0xCB, 0x00, 0xD3).data == b"\xb3"


def test_cplc_is_42_bytes() -> None:
    here = Terminal(element())
    assert here.raw("80CA9F7F00")[:3].hex() == "9f7f2a"
    assert len(here.raw("00CA9F7F00")) == 44


def test_card_data_and_capabilities_name_the_options_of_this_card() -> None:
    here = Terminal(element(i=0x30))
    assert here.raw("80CA006600").hex().endswith("2a864886fc6b0403309000")
    assert (
        here.raw("80CA006700").hex() == "6723a0098001038101308201078103fffff082031e9f3083040102030488060001020305079000"
    )


@pytest.mark.parametrize("tag", ["0000", "00D3", "5F50", "DF01", "2F00", "BF21", "7F21", "FFFF"])
def test_an_object_that_is_not_there_is_6a88(tag: str) -> None:
    assert Terminal(element()).raw(f"80CA{tag}00").hex() == "6a88"


def test_the_application_list_holds_all_on_the_card_for_a_domain_with_global_registry_and_its_own_for_another() -> None:
    memory = RamMemory()
    host = ContentHost(Terminal(element(memory=memory)).authenticate())
    host.load(package(FILE, [MODULE]))
    host.install()
    host.make_domain()
    host.install(instance=SECOND)
    host.run(content.extradite(SECOND, DOMAIN))
    asked = (0x00, 0xCA, 0x2F, 0x00, b"\x5c\x00")
    assert sorted(tlv for _, tlv in items(host.session(*asked).data)) == sorted(
        b"\x4f" + bytes((len(aid),)) + aid for aid in (INSTANCE, DOMAIN, SECOND)
    )
    here = host.session.terminal
    here.select(DOMAIN)
    assert here.raw("00CA2F0000").hex() == "61094f07" + SECOND.hex() + "9000"


def test_a_tag_list_is_6a80() -> None:
    assert Terminal(element()).raw("80CA00E0025C0000").hex() == "6a80"


def test_the_security_level_exists_in_a_session_only() -> None:
    session = opened()
    assert session(0x00, 0xCA, 0x00, 0xD3).data == b"\xb3"
    session.terminal.card.reset()
    assert session.terminal.raw("00CA00D300").hex() == "6a88"


STORED = bytes.fromhex("4203AABBCC DF0102BEEF 5F5003616263".replace(" ", ""))


@pytest.mark.parametrize("p1", [0x90, 0x80, 0x91])
def test_tlv_objects_are_stored_and_read_back(p1: int) -> None:
    memory = RamMemory()
    session = opened(memory=memory)
    assert session(0x80, 0xE2, p1, 0x00, STORED).sw == 0x9000
    here = Terminal(element(memory=memory))
    assert here.raw("80CA004200").hex() == "4203aabbcc9000"
    assert here.raw("00CADF0100").hex() == "beef9000"
    assert here.raw("80CA5F5000").hex() == "5f50036162639000"


def test_data_groups_are_stored_under_the_same_numbers() -> None:
    session = opened()
    assert session(0x80, 0xE2, 0x88, 0x00, bytes.fromhex("0045021234DF7FFF0003010203")).sw == 0x9000
    assert session(0x00, 0xCA, 0xDF, 0x7F).data == b"\1\2\3"
    assert session(0x00, 0xCA, 0x00, 0x45).data == b"\x12\x34"


def test_an_empty_value_deletes_the_object() -> None:
    session = opened()
    session(0x80, 0xE2, 0x90, 0x00, bytes.fromhex("DF010155"))
    session(0x80, 0xE2, 0x90, 0x00, bytes.fromhex("DF0100"))
    assert session(0x80, 0xCA, 0xDF, 0x01).sw == 0x6A88


def test_blocks_are_joined_and_nothing_is_written_before_the_last_one() -> None:
    memory = RamMemory()
    session = opened(memory=memory)
    before = contents(memory)
    value = bytes.fromhex("DF01820200") + bytes(512)
    for block in range(2):
        assert session(0x80, 0xE2, 0x10, block, value[200 * block : 200 * block + 200]).sw == 0x9000
    assert contents(memory) == before
    assert session(0x80, 0xE2, 0x90, 0x02, value[400:]).sw == 0x9000
    assert session(0x00, 0xCA, 0xDF, 0x01, le=0).data == bytes(512)


@pytest.mark.parametrize("blocks", [(1,), (0, 2), (0, 1, 1), (0, 1, 3)])
def test_a_block_out_of_sequence_is_6985_and_drops_the_chain(blocks: tuple[int, ...]) -> None:
    session = opened()
    *good, bad = blocks
    for block in good:
        assert session(0x80, 0xE2, 0x10, block, b"\xdf\x01").sw == 0x9000
    assert session(0x80, 0xE2, 0x10, bad, b"\x00").sw == 0x6985
    assert session(0x80, 0xE2, 0x90, len(good) or 1, b"\x00").sw == 0x6985


def test_block_00_begins_anew() -> None:
    session = opened()
    session(0x80, 0xE2, 0x10, 0x00, b"\xff\xff")
    session(0x80, 0xE2, 0x10, 0x00, b"\xdf\x01")
    assert session(0x80, 0xE2, 0x90, 0x01, b"\x01\x07").sw == 0x9000
    assert session(0x00, 0xCA, 0xDF, 0x01).data == b"\x07"


@pytest.mark.parametrize("between", [(0x80, 0xCA, 0x00, 0x66), (0x80, 0xF2, 0x80, 0x02, b"\x4f\x00"), (0x80, 0xFE)])
def test_another_command_between_two_blocks_drops_the_chain(between: tuple[int, ...]) -> None:
    session = opened()
    session(0x80, 0xE2, 0x10, 0x00, b"\xdf\x01")
    session(*between)  # type: ignore[arg-type]  # header and data mixed
    assert session(0x80, 0xE2, 0x90, 0x01, b"\x01\x07").sw == 0x6985


def test_another_format_in_the_middle_is_6985() -> None:
    session = opened()
    session(0x80, 0xE2, 0x10, 0x00, b"\xdf\x01")
    assert session(0x80, 0xE2, 0x88, 0x01, b"\x01\x07").sw == 0x6985


@pytest.mark.parametrize("p1", [0xC0, 0xA0, 0x98, 0x92, 0x84])
def test_encrypted_data_and_unknown_formats_are_6a86(p1: int) -> None:
    assert opened()(0x80, 0xE2, p1, 0x00, STORED).sw == 0x6A86


UNSTORABLE = {
    "a tag alone": (0x90, "42"),
    "cut off": (0x90, "4205AA"),
    "card data": (0x90, "66020000"),
    "key information": (0x90, "E000"),
    "CPLC": (0x90, "9F7F0101"),
    "a group cut off": (0x88, "0042"),
    "card data as a group": (0x88, "00660101"),
    "a good one, then half a one": (0x90, "DF01015542"),
    "a tag of three bytes": (0x90, "DF8001010A"),
}


@pytest.mark.parametrize(("p1", "data"), UNSTORABLE.values(), ids=UNSTORABLE)
def test_what_may_not_be_stored_is_6a80_and_nothing_is(p1: int, data: str) -> None:
    memory = RamMemory()
    session = opened(memory=memory)
    before = contents(memory)
    assert session(0x80, 0xE2, p1, 0x00, bytes.fromhex(data)).sw == 0x6A80
    assert contents(memory) == before


def test_one_bad_object_keeps_the_good_ones_out() -> None:
    session = opened()
    assert session(0x80, 0xE2, 0x90, 0x00, STORED + bytes.fromhex("660100")).sw == 0x6A80
    assert session(0x80, 0xCA, 0xDF, 0x01).sw == 0x6A88


def test_too_many_blocks_are_6a84() -> None:
    session = opened()
    answers = [session(0x80, 0xE2, 0x10, block, bytes(230)).sw for block in range(144)]
    assert set(answers[:142]) == {0x9000}
    assert answers[142:] == [0x6A84, 0x6985]


def test_the_iso_class_is_taken_too_as_yubikit_sends_it() -> None:
    session = opened()
    assert session(0x00, 0xE2, 0x90, 0x00, STORED).sw == 0x9000
    assert session(0x00, 0xCA, 0xDF, 0x01).data == b"\xbe\xef"
