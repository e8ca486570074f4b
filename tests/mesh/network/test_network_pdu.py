"""Network PDUs: the standard's samples, and what does not open."""

from __future__ import annotations

import msgspec
import pytest

from keywright.errors import AuthenticationError, DecodeError
from keywright.mesh.network.keys import NetKey
from keywright.mesh.network.pdu import PROXY, NetworkPdu, open_network, seal_network, sent_under
from support.vectors import Case, load, unhex, vectors

KEY = NetKey(bytes(range(16)))
PDU = NetworkPdu(ctl=False, ttl=5, seq=0x010203, src=0x0001, dst=0xC000, transport=b"\x00" * 16)


@vectors("mesh/network_messages.json")
def test_the_standards_messages(case: Case) -> None:
    key, iv_index = NetKey(unhex(case["NetKey"]), unhex(case["k2_P"])), int(case["IVIndex"], 16)
    pdu = NetworkPdu(
        bool(case["CTL"]),
        case["TTL"],
        int(case["SEQ"], 16),
        int(case["SRC"], 16),
        int(case["DST"], 16),
        unhex(case["LowerTransportPDU"]),
    )
    sealed = unhex(case["NetworkPDU"])
    assert seal_network(key, iv_index, pdu) == sealed
    assert sent_under(sealed, iv_index) == sent_under(sealed, iv_index + 1) == iv_index
    assert open_network(key, iv_index, sealed) == pdu


def test_the_standards_proxy_configuration_message() -> None:
    case = next(one for one in load("mesh/beacons_and_proxy.json") if "ProxyPDU" in one)
    key, sealed = NetKey(unhex(case["NetKey"])), unhex(case["ProxyPDU"])[1:]
    pdu = NetworkPdu(True, 0, int(case["SEQ"], 16), int(case["SRC"], 16), 0, unhex(case["TransportPDU"]))
    iv_index = int(case["IVIndex"], 16)
    assert seal_network(key, iv_index, pdu, PROXY) == sealed
    assert open_network(key, iv_index, sealed, PROXY) == pdu
    with pytest.raises(AuthenticationError):
        open_network(key, iv_index, sealed)


@pytest.mark.parametrize("place", range(29))
def test_a_changed_octet_does_not_open(place: int) -> None:
    sealed = bytearray(seal_network(KEY, 7, PDU))
    sealed[place] ^= 1
    with pytest.raises((AuthenticationError, DecodeError)):
        open_network(KEY, 7, bytes(sealed))


def test_prefixes_and_other_keys_do_not_open() -> None:
    sealed = seal_network(KEY, 7, PDU)
    for size in range(len(sealed)):
        with pytest.raises((AuthenticationError, DecodeError)):
            open_network(KEY, 7, sealed[:size])
    with pytest.raises(AuthenticationError):
        open_network(NetKey(bytes(16)), 7, sealed)
    with pytest.raises(AuthenticationError):
        open_network(KEY, 9, sealed)


def test_the_index_before_the_first_is_the_first() -> None:
    assert sent_under(b"\x80", 0) == 0
    assert sent_under(b"\x80", 4) == 3
    assert sent_under(b"\x00", 4) == 4


@pytest.mark.parametrize("wrong", [{"ttl": 0x80}, {"seq": 1 << 24}, {"src": 0}, {"src": 0x8000}])
def test_a_field_out_of_range_is_not_sent(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="out of range"):
        seal_network(KEY, 0, msgspec.structs.replace(PDU, **wrong))


def test_keys_do_not_print() -> None:
    assert KEY.reveal().hex() not in repr(KEY)
    assert repr(KEY).startswith("<NetKey NID ")
