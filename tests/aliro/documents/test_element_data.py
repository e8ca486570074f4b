"""The elements of both kinds of documents: what is written is read, and nothing else is."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.aliro.documents.access_data import AccessData, AccessExtension, AccessRule, Pattern, Recurrence, Schedule
from keywright.aliro.documents.revocation_data import (
    APPEND,
    OVERWRITE,
    RevocationData,
    RevocationEntry,
    key_hash,
)
from keywright.codec.cbor import EPOCH, Tag, decode, encode
from keywright.errors import DecodeError
from support.aliro_documents import ACCESS_DATA, CREDENTIAL, RECURRENCES, REVOCATION_DATA, share

ANY = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 2**33) | st.text(max_size=3) | st.binary(max_size=17),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.integers(-1, 7), inner, max_size=5)
        | st.builds(Tag, st.sampled_from([0, 1]), inner)
    ),
    max_leaves=8,
)


@share(5)
@given(ACCESS_DATA)
def test_access_data_come_back_as_they_were(data: AccessData) -> None:
    assert AccessData.read(decode(encode(data.value()), dates=True)) == data


@share(5)
@given(REVOCATION_DATA)
def test_revocation_data_come_back_as_they_were(data: RevocationData) -> None:
    assert RevocationData.read(decode(encode(data.value()), dates=True)) == data


@share(4)
@given(RECURRENCES)
def test_a_recurrence_comes_back_as_it_was(recurrence: Recurrence) -> None:
    assert Recurrence.read(recurrence.value()) == recurrence


@share(4)
@given(ANY)
def test_any_value_is_an_element_or_a_decode_error(value: Any) -> None:
    for read in (AccessData.read, RevocationData.read, Schedule.read, Recurrence.read, RevocationEntry.read):
        with contextlib.suppress(DecodeError):
            assert encode(read(value).value())


def test_access_data_as_the_certification_tool_writes_them() -> None:
    """Its labels, bits and order (aliro-actuator `access_data.py`), written out by hand."""
    data = AccessData(
        id=b"\x12\x34",
        rules=(AccessRule(0x03, 0b101, 0b010), AccessRule(0x3F, 0b101)),
        schedules=(
            Schedule(1, 2, Recurrence(3600, Pattern.WEEKLY, 0b10101, 3)),
            Schedule(3, utc=False),
            Schedule(4, None, Recurrence(1800, Pattern.MONTHLY_BY_DATE, 0b10000, 2, -1)),
        ),
        reader_rules=(123, 456),
        access_extensions=(
            AccessExtension(0xFA1466, 1, 1, b"x"),
            AccessExtension(0xFA1466, 2, 1, b"y", critical=False),
        ),
    )
    assert data.value() == {
        0: 1,
        1: b"\x12\x34",
        2: [{0: 3, 1: 5, 2: 2}, {0: 63, 1: 5}],
        3: [
            {0: Tag(EPOCH, 1), 1: Tag(EPOCH, 2), 2: [3600, 21, 2, 3, 0], 3: 1},
            {0: Tag(EPOCH, 3), 3: 0},
            {0: Tag(EPOCH, 4), 2: [1800, 16, 4, 2, -1], 3: 1},
        ],
        4: [123, 456],
        6: {0xFA1466: [[0, 1, 1, b"x"], [1, 2, 1, b"y"]]},
    }


def test_times_of_an_earlier_revision_are_bare_numbers() -> None:
    assert Schedule.read({0: 5, 1: 6, 3: 1}) == Schedule(5, 6)


GOOD_SCHEDULE = {0: Tag(EPOCH, 5), 3: 1}


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (None, "access data"),
        ({}, "field 0 missing"),
        ({0: 0}, "version 0"),
        ({0: 2}, "version 2"),
        ({0: True}, "version"),
        ({0: 1, 7: 1}, "unknown field 7"),
        ({0: 1, "2": 1}, "unknown field"),
        ({0: 1, 1: bytes(17)}, "id"),
        ({0: 1, 1: "name"}, "id"),
        ({0: 1, 2: []}, "access rules"),
        ({0: 1, 2: [{3: 1}]}, "unknown field 3"),
        ({0: 1, 2: [{0: -1}]}, "capabilities"),
        ({0: 1, 2: [{0: 1, 1: 256}]}, "allowed schedules"),
        ({0: 1, 2: [{0: 1, 1: 1}]}, "a schedule that is not there"),
        ({0: 1, 2: [{0: 1, 2: 2}], 3: [GOOD_SCHEDULE]}, "a schedule that is not there"),
        ({0: 1, 3: [GOOD_SCHEDULE] * 9}, "schedules"),
        ({0: 1, 3: [{3: 1}]}, "field 0 missing"),
        ({0: 1, 3: [{0: Tag(EPOCH, 5)}]}, "field 3 missing"),
        ({0: 1, 3: [{0: Tag(0, "x"), 3: 1}]}, "start"),
        ({0: 1, 3: [{0: Tag(EPOCH, 1 << 32), 3: 1}]}, "start"),
        ({0: 1, 3: [{**GOOD_SCHEDULE, 1: Tag(EPOCH, 5)}]}, "ends before it starts"),
        ({0: 1, 3: [{**GOOD_SCHEDULE, 3: 2}]}, "flags"),
        ({0: 1, 3: [{**GOOD_SCHEDULE, 4: 2}]}, "unknown field 4"),
        ({0: 1, 4: [0x10000]}, "reader rule"),
        ({0: 1, 5: []}, "extensions"),
        ({0: 1, 5: {0: [[1, 1, b""]]}}, "vendor"),
        ({0: 1, 5: {1: [[0, 1, 1, b""]]}}, "extension"),
        ({0: 1, 6: {1: []}}, "extensions"),
        ({0: 1, 6: {1: [[1, 1, b""]]}}, "extension"),
        ({0: 1, 6: {1: [[0, 1, 1, 5]]}}, "data"),
        ({0: 1, 6: {1: [[256, 1, 1, b""]]}}, "criticality"),
    ],
)
def test_access_data_with_a_wrong_or_unknown_field_are_refused_and_the_field_named(value: Any, named: str) -> None:
    with pytest.raises(DecodeError, match=named):
        AccessData.read(value)


@pytest.mark.parametrize("flags", [0, 2, 4, 254])
def test_an_extension_is_critical_unless_bit_0_says_it_is_not(flags: int) -> None:
    for value, critical in ((flags, True), (flags | 1, False)):
        (found,) = AccessData.read({0: 1, 6: {7: [[value, 1, 1, b""]]}}).access_extensions
        assert found.critical is critical


@pytest.mark.parametrize(
    "value",
    [
        [],
        [1, 0, 1, 1],
        [0, 0, 1, 1, 0],  # no duration
        [1 << 32, 0, 1, 1, 0],
        [1, 0, 0, 1, 0],  # no pattern
        [1, 0, 9, 1, 0],
        [1, 0, 1, 0, 0],  # no interval
        [1, 0, 1, 256, 0],
        [1, 1, 1, 1, 0],  # daily has no mask
        [1, 0, 1, 1, 1],  # and no ordinal
        [1, 0x80, 2, 1, 0],
        [1, 1, 2, 1, 1],
        [1, 1, 3, 1, 0],
        [1, 1, 3, 1, 6],
        [1, 1, 3, 1, -6],
        [1, 0x80, 3, 1, 1],
        [1, 1 << 31, 4, 1, 0],
        [1, 0x80, 4, 1, 1],
        [1, 0, 4, 1, 32],
        [1, 1 << 19, 5, 1, 1],
        [1, 1, 5, 1, 0],
        [1, 1, 6, 1, 0],
        [1, 1, 6, 1, -32],
        [1, 1, 7, 1, 54],
        [1, 1, 7, 1, 0],
        [1, 1, 8, 1, 6],
        [1, 1, 8, 1, 0],
        [1, 1, 2, 1, -129],
        [1.5, 1, 2, 1, 0],
    ],
)
def test_a_recurrence_out_of_its_bounds_is_refused(value: Any) -> None:
    with pytest.raises(DecodeError, match="recurrence"):
        Recurrence.read(value)


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ([], "revocation data"),
        ({1: 0}, "field 0 missing"),
        ({0: 1}, "field 1 missing"),
        ({0: 2, 1: 0}, "version 2"),
        ({0: 1, 1: 2}, "change mode"),
        ({0: 1, 1: 0, 3: [{1: b"a"}]}, "replaced"),
        ({0: 1, 1: 0, 5: 0}, "unknown field 5"),
        ({0: 1, 1: 0, 2: [{}]}, "neither"),
        ({0: 1, 1: 0, 2: [{2: Tag(EPOCH, 1)}]}, "neither"),
        ({0: 1, 1: 0, 2: [{0: bytes(31)}]}, "key hash"),
        ({0: 1, 1: 0, 2: [{1: b""}]}, "id"),
        ({0: 1, 1: 0, 2: [{1: bytes(17)}]}, "id"),
        ({0: 1, 1: 0, 2: [{1: b"a", 2: "x"}]}, "expiry"),
        ({0: 1, 1: 0, 2: [{1: b"a", 3: 1}]}, "unknown field 3"),
        ({0: 1, 1: 0, 4: {1: [[1]]}}, "extension"),
    ],
)
def test_revocation_data_with_a_wrong_or_unknown_field_are_refused_and_the_field_named(value: Any, named: str) -> None:
    with pytest.raises(DecodeError, match=named):
        RevocationData.read(value)


def test_revocation_data_as_the_certification_tool_writes_them() -> None:
    """The documents of its NFC_RDR_STEPUP_RD: entries also when empty, unless some are removed."""
    entry = RevocationEntry(key_hash(CREDENTIAL))
    assert RevocationData(OVERWRITE).value() == {0: 1, 1: 0, 2: []}
    assert RevocationData(OVERWRITE, (entry,)).value() == {0: 1, 1: 0, 2: [{0: key_hash(CREDENTIAL)}]}
    assert RevocationData(APPEND, removed=(entry,)).value() == {0: 1, 1: 1, 3: [{0: key_hash(CREDENTIAL)}]}
    assert len(key_hash(CREDENTIAL)) == 32
