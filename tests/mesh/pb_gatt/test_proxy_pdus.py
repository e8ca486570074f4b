"""Proxy PDUs: codec promises, cutting and joining at any ATT_MTU, what ends the connection; and as btmesh cuts."""

from __future__ import annotations

import importlib.util
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.codec.message import Message
from keywright.errors import DecodeError, SequenceError, WireError
from keywright.mesh.pb_gatt import messages
from keywright.mesh.pb_gatt.messages import (
    COMPLETE,
    CONTINUATION,
    FIRST,
    GOOD_MTU,
    LAST,
    LEAST_MTU,
    MESH_BEACON,
    NETWORK_PDU,
    PROVISIONING_PDU,
    PROXY_CONFIGURATION,
    ProxyPdu,
    proxy_pdus,
)
from keywright.mesh.pb_gatt.sar import LONGEST, PARTIAL_S, ProxySar
from support.messages import all_messages, check_message
from support.peers import require_peer
from support.vectors import document, load, unhex

ALL = (NETWORK_PDU, MESH_BEACON, PROXY_CONFIGURATION, PROVISIONING_PDU)


@pytest.mark.parametrize("cls", all_messages(messages), ids=lambda cls: cls.__name__)
def test_every_message_keeps_the_promises_of_a_codec(cls: type[Message]) -> None:
    check_message(cls)


def test_the_standards_proxy_configuration_pdu() -> None:
    case = next(case for case in load("mesh/beacons_and_proxy.json") if "ProxyPDU" in case)
    value = unhex(case["ProxyPDU"])
    kind, message = ProxySar(LEAST_MTU, ALL).take(value, 0.0) or (None, b"")
    assert kind == PROXY_CONFIGURATION
    assert proxy_pdus(PROXY_CONFIGURATION, message, 64) == [value]


@given(st.sampled_from(ALL), st.binary(min_size=1, max_size=400), st.integers(LEAST_MTU, 517))
def test_what_is_cut_is_joined(kind: int, message: bytes, mtu: int) -> None:
    values = proxy_pdus(kind, message, mtu)
    assert all(len(value) == mtu - 3 for value in values[:-1])
    assert 2 <= len(values[-1]) <= mtu - 3
    sar = ProxySar(mtu, ALL)
    taken = [sar.take(value, 0.0) for value in values]
    assert taken == [None] * (len(values) - 1) + [(kind, message)]
    assert sar.deadline() is None
    assert sar.take(proxy_pdus(kind, b"more", mtu)[0], 0.0) == (kind, b"more")


def test_a_public_key_at_the_least_and_at_a_good_mtu() -> None:
    pdu = unhex(
        next(step for step in document("mesh/pbadv_trace.json")["trace"] if step["step"] == "PublicKey")[
            "provisioning_pdu"
        ]
    )
    assert len(pdu) == 65
    assert proxy_pdus(PROVISIONING_PDU, pdu, GOOD_MTU) == [b"\x03" + pdu]
    parts = proxy_pdus(PROVISIONING_PDU, pdu, LEAST_MTU)
    assert parts == [b"\x43" + pdu[:19], b"\x83" + pdu[19:38], b"\x83" + pdu[38:57], b"\xc3" + pdu[57:]]


@pytest.mark.parametrize(("held", "comes"), [*itertools.product((False, True), (COMPLETE, FIRST, CONTINUATION, LAST))])
def test_every_part_in_every_state(held: bool, comes: int) -> None:  # noqa: FBT001 - a row of the table
    sar = ProxySar(LEAST_MTU, ALL)
    if held:
        assert sar.take(b"\x43first", 0.0) is None
    value = ProxyPdu(comes << 6 | PROVISIONING_PDU, b"next").build()
    if held == (comes in {CONTINUATION, LAST}):
        whole = {COMPLETE: b"next", LAST: b"firstnext"}.get(comes)
        assert sar.take(value, 0.0) == (whole and (PROVISIONING_PDU, whole))
    else:
        with pytest.raises(SequenceError, match="of a Provisioning PDU after"):
            sar.take(value, 0.0)


@pytest.mark.parametrize("kind", range(64))
def test_kinds_that_may_not_come(kind: int) -> None:
    sar = ProxySar(LEAST_MTU, (PROVISIONING_PDU,))
    if kind == PROVISIONING_PDU:
        assert sar.take(bytes((kind, 1)), 0.0) == (kind, b"\x01")
    else:
        with pytest.raises(WireError, match=r"may not come here \(MshPRT 6.3.1\)"):
            sar.take(bytes((kind, 1)), 0.0)


def test_a_kind_that_changes_within_a_message() -> None:
    sar = ProxySar(LEAST_MTU, ALL)
    sar.take(b"\x43first", 0.0)
    with pytest.raises(SequenceError, match="the last part of a Network PDU after a part of a Provisioning PDU"):
        sar.take(b"\xc0last", 0.0)


def test_a_partial_message_has_twenty_seconds() -> None:
    sar = ProxySar(LEAST_MTU, ALL)
    sar.take(b"\x43first", 5.0)
    sar.take(b"\x83more", 20.0)
    assert sar.deadline() == 5.0 + PARTIAL_S
    sar.check(24.9)
    with pytest.raises(WireError, match="not whole in 20 s"):
        sar.check(25.0)


def test_a_message_without_end_is_refused() -> None:
    sar = ProxySar(LEAST_MTU, ALL)
    sar.take(b"\x43" + bytes(LONGEST), 0.0)
    with pytest.raises(WireError, match="more than"):
        sar.take(b"\x831", 0.0)


@given(st.lists(st.binary(max_size=30), max_size=12))
def test_any_values_are_joined_or_refused_by_name(values: list[bytes]) -> None:
    sar = ProxySar(LEAST_MTU, ALL)
    for value in values:
        try:
            taken = sar.take(value, 0.0)
        except (DecodeError, WireError):
            return
        assert taken is None or taken[0] in ALL


@pytest.mark.parametrize(("mtu", "message"), [(22, b"x"), (23, b"")])
def test_what_cannot_be_cut(mtu: int, message: bytes) -> None:
    with pytest.raises(ValueError, match=r"23 or more|at least one"):
        proxy_pdus(PROVISIONING_PDU, message, mtu)


@given(st.sampled_from(ALL), st.binary(min_size=1, max_size=300), st.integers(LEAST_MTU, 247))
def test_btmesh_cuts_and_joins_the_same(kind: int, message: bytes, mtu: int) -> None:
    require_peer(
        "btmesh", importlib.util.find_spec("btmesh") is not None, "pip install --ignore-requires-python btmesh"
    )
    from btmesh import proxy_pdu

    ours = proxy_pdus(kind, message, mtu)
    assert proxy_pdu.segment(kind, message, mtu - 3) == ours
    reassembler = proxy_pdu.Reassembler()
    assert [reassembler.feed(value) for value in ours][-1] == (kind, message)
