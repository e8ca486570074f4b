"""Configuration messages and Composition Data: codec promises, and the octets of the standard and of BlueZ."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.codec.message import Message
from keywright.errors import DecodeError
from keywright.mesh.models import configuration as c
from keywright.mesh.models.composition import Composition, Element, parse_composition
from keywright.mesh.models.indexes import pack_index_list, pack_indexes, unpack_index_list, unpack_indexes
from keywright.mesh.network.access import AccessMessage, parse_access
from support.messages import all_messages, check_message
from support.vectors import Case, unhex, vectors


@pytest.mark.parametrize("cls", all_messages(c), ids=lambda cls: cls.__name__)
def test_every_message_keeps_the_promises_of_a_codec(cls: type[Message]) -> None:
    check_message(cls)


def test_every_message_has_an_opcode_of_its_own() -> None:
    classes = all_messages(c)
    assert {kind.OPCODE for kind in c.MESSAGES.values()} == set(c.MESSAGES)  # type: ignore[attr-defined]  # each has one
    assert len(c.MESSAGES) == len(classes)


@vectors("mesh/composition_data.json")
def test_composition_data_of_the_standard_and_of_bluez(case: Case) -> None:
    if "elements" not in case:
        # Page 1 tells how models depend on each other; it is carried, not read.
        assert c.CompositionDataStatus.parse(b"\x01" + unhex(case["data"])).page == 1
        return
    data = unhex(case["data"]) if "data" in case else b""
    if "access" in case:
        status = c.parse_message(parse_access(unhex(case["access"])))
        assert isinstance(status, c.CompositionDataStatus)
        assert c.build_message(status).build() == unhex(case["access"])
        data = status.data
    composition = parse_composition(data)
    assert composition == Composition(
        cid=int(case["CID"], 16),
        pid=int(case["PID"], 16),
        vid=int(case["VID"], 16),
        crpl=int(case["CRPL"], 16),
        features=int(case["Features"], 16),
        elements=tuple(
            Element(
                int(element["Loc"], 16),
                tuple(int(model, 16) for model in element["sig"]),
                tuple((int(company, 16), int(model, 16)) for company, model in element["vendor"]),
            )
            for element in case["elements"]
        ),
    )
    assert composition.build() == data


def test_a_page_that_does_not_fit_has_the_elements_that_do() -> None:
    elements = tuple(Element(place, tuple(range(20))) for place in range(12))
    composition = Composition(1, 2, 3, 4, 0, elements)
    assert parse_composition(composition.build_within(378)).elements == elements[:8]
    assert composition.build_within(len(composition.build())) == composition.build()


@pytest.mark.parametrize("text", ["", "0c001a000100080003", "0c001a00010008000300", "0c001a000100080003000000ff00"])
def test_composition_data_cut_off_or_without_an_element_are_refused(text: str) -> None:
    with pytest.raises(DecodeError):
        parse_composition(bytes.fromhex(text))


@given(st.binary(max_size=60))
def test_any_octets_are_composition_data_or_refused(data: bytes) -> None:
    try:
        composition = parse_composition(data)
    except DecodeError:
        return
    assert composition.build() == data


def test_two_indexes_are_packed_as_the_standard_packs_them() -> None:
    packed = pack_indexes(0x456, 0x123)
    assert c.AppKeyDelete(packed).build() == bytes.fromhex("563412")
    assert unpack_indexes(packed) == (0x456, 0x123)


@given(st.lists(st.integers(0, 0xFFF), max_size=33))
def test_lists_of_indexes_come_back(indexes: list[int]) -> None:
    packed = pack_index_list(tuple(indexes))
    assert len(packed) == len(indexes) // 2 * 3 + len(indexes) % 2 * 2
    assert unpack_index_list(packed) == tuple(indexes)


@pytest.mark.parametrize("size", [1, 4, 7])
def test_no_list_of_indexes_has_this_length(size: int) -> None:
    with pytest.raises(DecodeError):
        unpack_index_list(bytes(size))


@pytest.mark.parametrize("opcode", [0x05, 0x8030, 0x8050, 0xC1F105])
def test_an_opcode_of_another_model_is_no_configuration_message(opcode: int) -> None:
    with pytest.raises(DecodeError, match=f"{opcode:X}"):
        c.parse_message(AccessMessage(opcode, b""))


def test_keys_are_not_printed() -> None:
    key = b"K" * 16
    for message in (c.NetKeyAdd(1, key), c.NetKeyUpdate(1, key), c.AppKeyAdd(1, key), c.AppKeyUpdate(1, key)):
        assert "KKK" not in f"{message!r} {c.build_message(message)!r}"
