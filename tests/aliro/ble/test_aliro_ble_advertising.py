"""What a reader advertises, and who sees through it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.aliro.ble.advertising import (
    NO_CLOCK,
    VALIDITY_S,
    Advertiser,
    Flag,
    Group,
    ServiceData,
    ad_structure,
    address_bytes,
    dynamic_tag,
    parse_advertisement,
    resolve,
)
from keywright.crypto.aes import AesKey
from keywright.errors import DecodeError
from support.vectors import Case, unhex, vectors

IDENTIFIER = bytes(range(32))
ADDRESS = bytes.fromhex("C4BB86C32710")
KEY = AesKey(bytes(16), "GroupResolvingKey")
MINE = Group(IDENTIFIER[:16], KEY)
OTHER = Group(bytes(16), KEY)
NOW = 1_800_000_000


@vectors("digitalkey/aliro_ble_dynamic_tag.json")
def test_dynamic_tags_of_the_specifications_examples(case: Case) -> None:
    key, address = AesKey(unhex(case["group_resolving_key"])), unhex(case["adv_address"])
    expiry = int(case["expiry"], 16)
    assert dynamic_tag(key, address, expiry) == unhex(case["dynamic_tag"])
    # The reader that advertises this tag, and the device that sees through it.
    advertiser = Advertiser(IDENTIFIER, key)
    data = advertiser.data(address, expiry - VALIDITY_S)
    assert (data.expiry, data.tag) == (expiry, unhex(case["dynamic_tag"]))
    assert resolve(data, address, [Group(IDENTIFIER[:16], key)], expiry - 1) is not None


def test_the_service_data_are_24_octets_in_a_full_advertisement() -> None:
    data = Advertiser(IDENTIFIER, KEY, tx_power_dbm=-12).data(ADDRESS, NOW)
    expiry = NOW + VALIDITY_S
    octets = "C0F4" + "0001020304050607" + "1011" + expiry.to_bytes(4).hex() + "00"
    assert data.build() == bytes.fromhex(octets) + dynamic_tag(KEY, ADDRESS, expiry)
    structure = ad_structure(data)
    assert structure == bytes.fromhex("1B16F2FF") + data.build()
    assert len(bytes.fromhex("020106") + structure) == 31
    assert parse_advertisement(bytes.fromhex("020106") + structure) == data
    assert (data.power_dbm, data.version, data.flags & Flag.RANGING_FLOW) == (-12, 0, 0x80)


def test_a_tag_is_made_anew_at_half_of_its_validity_or_for_another_address() -> None:
    advertiser = Advertiser(IDENTIFIER, KEY)
    assert advertiser.refresh() is None
    first = advertiser.data(ADDRESS, NOW)
    assert advertiser.refresh() == NOW + VALIDITY_S - VALIDITY_S // 2
    assert advertiser.data(ADDRESS, NOW + VALIDITY_S // 2 - 1) is first
    second = advertiser.data(ADDRESS, NOW + VALIDITY_S // 2 + 1)
    assert second.expiry == NOW + VALIDITY_S // 2 + 1 + VALIDITY_S
    assert advertiser.data(bytes(6), NOW + VALIDITY_S // 2 + 2).tag != second.tag


@pytest.mark.parametrize("jump", [-10_000_000, -2, 10_000_000, NO_CLOCK])
def test_a_clock_that_jumps_leaves_no_tag_good_for_too_long_and_none_that_has_expired(jump: int) -> None:
    advertiser = Advertiser(IDENTIFIER, KEY)
    advertiser.data(ADDRESS, NOW)
    data = advertiser.data(ADDRESS, max(0, NOW + jump))
    assert max(0, NOW + jump) < data.expiry <= max(0, NOW + jump) + VALIDITY_S or data.expiry == NO_CLOCK - 1
    assert data.expiry != NO_CLOCK


def test_a_reader_without_a_clock_says_so_until_it_has_one() -> None:
    advertiser = Advertiser(IDENTIFIER, KEY)
    blind = advertiser.data(ADDRESS, None)
    assert (blind.expiry, advertiser.refresh()) == (NO_CLOCK, None)
    assert advertiser.data(ADDRESS, None) is blind
    assert resolve(blind, ADDRESS, [MINE], NOW) is MINE
    assert resolve(blind, ADDRESS, [MINE], NOW, accepts_no_clock=False) is None
    assert advertiser.data(ADDRESS, NOW).expiry == NOW + VALIDITY_S
    assert advertiser.data(ADDRESS, None).expiry == NO_CLOCK


def test_a_tag_is_seen_through_with_the_key_of_its_group_alone() -> None:
    data = Advertiser(IDENTIFIER, KEY).data(ADDRESS, NOW)
    assert resolve(data, ADDRESS, [OTHER, MINE], NOW) is MINE
    assert resolve(data, ADDRESS, [OTHER], NOW) is None
    assert resolve(data, ADDRESS, [Group(IDENTIFIER[:16], AesKey(bytes([1]) * 16))], NOW) is None
    assert resolve(data, bytes(6), [MINE], NOW) is None
    assert resolve(data, ADDRESS, [], NOW) is None


def test_an_expired_tag_is_nobodys_unless_the_device_has_no_clock() -> None:
    data = Advertiser(IDENTIFIER, KEY).data(ADDRESS, NOW)
    assert resolve(data, ADDRESS, [MINE], data.expiry) is MINE
    assert resolve(data, ADDRESS, [MINE], data.expiry + 1) is None
    assert resolve(data, ADDRESS, [MINE], None) is MINE


@given(st.integers(0, 8 * 24 - 1))
def test_a_changed_bit_of_group_expiry_or_tag_is_nobodys(bit: int) -> None:
    octets = bytearray(Advertiser(IDENTIFIER, KEY).data(ADDRESS, NOW).build())
    octets[bit // 8] ^= 1 << bit % 8
    matters = bit // 8 not in (0, 1, 10, 11, 16)
    found = resolve(ServiceData.parse(bytes(octets)), ADDRESS, [MINE], None)
    assert (found is None) == matters


@given(st.binary(max_size=62))
def test_any_octets_are_an_advertisement_or_none(data: bytes) -> None:
    found = parse_advertisement(data)
    assert found is None or found.build() in data


def test_what_cannot_be_advertised() -> None:
    for wrong in (
        lambda: Advertiser(bytes(16), KEY),
        lambda: Advertiser(IDENTIFIER, KEY, tx_power_dbm=128),
        lambda: Advertiser(IDENTIFIER, KEY, validity_s=1),
        lambda: dynamic_tag(KEY, bytes(5), 0),
    ):
        with pytest.raises(ValueError, match=r"octets|dBm"):
            wrong()


def test_addresses_as_tools_print_them() -> None:
    assert address_bytes("C4:BB:86:C3:27:10") == address_bytes("c4:bb:86:c3:27:10/P") == ADDRESS
    for wrong in ("", "C4:BB", "C4:BB:86:C3:27:1G", "C4:BB:86:C3:27:10:00"):
        with pytest.raises(DecodeError, match="not a Bluetooth address"):
            address_bytes(wrong)
