"""The values of the GATT service, from each end alone and both together."""

from __future__ import annotations

import pytest

from keywright.aliro.ble.gatt import Feature, Offer, ReaderChannel, SelectedVersion, accept, publish, select
from keywright.errors import DecodeError, PolicyError

BOTH = Offer((0x0200, 0x0100), Feature.TIME_SYNC_0 | Feature.TIME_SYNC_1)


def test_the_values_byte_for_byte() -> None:
    assert publish(Offer((0x0100,), Feature.TIME_SYNC_0), 0x80).hex() == "0080" + "02" + "0100" + "01" + "01"
    assert publish(BOTH, 0xFF).hex() == "00ff" + "04" + "02000100" + "01" + "03"
    spsm, written, negotiated = select(bytes.fromhex("00800201000101"), BOTH)
    assert (spsm, written.hex()) == (0x80, "0100" + "01" + "01")
    assert (negotiated.versions.published.hex(), negotiated.versions.selected) == ("0100", 0x0100)


def test_the_device_takes_its_best_version_that_the_reader_has() -> None:
    published = publish(Offer((0x0100, 0x0200)), 0x80)
    assert select(published, BOTH)[2].versions.selected == 0x0200
    assert select(published, Offer((0x0100,)))[2].versions.selected == 0x0100
    with pytest.raises(PolicyError, match="the reader has 0100, 0200, the device 0300"):
        select(published, Offer((0x0300,)))


@pytest.mark.parametrize("features", [0, 1, 2, 3, 7])
def test_both_ends_come_to_the_same(features: int) -> None:
    published = publish(BOTH, 0x80)
    _, written, device = select(published, Offer((0x0100,), features))
    reader = accept(published, written)
    assert reader == device
    assert reader.features == features & BOTH.features


def test_a_reader_takes_features_of_any_width_and_a_version_that_it_offered() -> None:
    published = publish(BOTH, 0x80)
    assert accept(published, bytes.fromhex("0100 00")).features == 0
    assert accept(published, bytes.fromhex("0100 02 FF01")).features == Feature.TIME_SYNC_0
    with pytest.raises(PolicyError, match="chose version 0300; offered were 0200, 0100"):
        accept(published, SelectedVersion(0x0300, b"\0").build())
    for wrong in ("", "0100", "010002FF"):
        with pytest.raises(DecodeError):
            accept(published, bytes.fromhex(wrong))


@pytest.mark.parametrize("spsm", [0x0000, 0x007F, 0x0100])
def test_a_psm_that_is_none_for_this(spsm: int) -> None:
    with pytest.raises(ValueError, match="SPSM"):
        publish(BOTH, spsm)
    with pytest.raises(DecodeError, match="SPSM"):
        select(ReaderChannel(spsm, (0x0100,), b"\0").build(), BOTH)
