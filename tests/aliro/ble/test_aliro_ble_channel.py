"""Messages out of octets, and BleSK, against sealing by another hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.aliro.ble.channel import LONGEST, MessageChannel, Versions
from keywright.aliro.ble.messages import Envelope
from keywright.aliro.keys import DerivationKey
from keywright.errors import AuthenticationError, SequenceError, WireError
from support.aliro_ble import Foreign
from support.vectors import Case, unhex, vectors

VERSIONS = Versions(bytes.fromhex("0100"), 0x0100)
COMPLETED = Envelope(2, 3, bytes.fromhex("00022000"))
BLE = bytes(range(32))


def _end(*, is_reader: bool, ble: bytes = BLE, versions: Versions = VERSIONS) -> MessageChannel:
    channel = MessageChannel(is_reader=is_reader)
    channel.protect(DerivationKey(ble, "BleSK"), versions)
    return channel


def _open(channel: MessageChannel, octets: bytes) -> Envelope:
    (frame,) = channel.split(octets)
    return channel.open(frame)


@vectors("digitalkey/aliro_expedited_standard.json")
def test_messages_are_sealed_with_the_key_of_the_worked_example_as_another_hand_seals_them(case: Case) -> None:
    ble = unhex(case["ble_sk"])
    for is_reader in (True, False):
        ours, other = _end(is_reader=is_reader, ble=ble), Foreign(is_reader=is_reader)
        back = Foreign(is_reader=not is_reader)
        other.protect(ble)
        back.protect(ble)
        for frame in (COMPLETED, Envelope(2, 2, bytes.fromhex("00020401")), Envelope(1, 0, b""), Envelope(4, 9, b"x")):
            octets = ours.seal(frame)
            assert octets == other.build(frame.protocol, frame.id, frame.payload)
            assert len(octets) == 4 + len(frame.payload) + 16
            assert _open(ours, back.build(frame.protocol, frame.id, frame.payload)) == frame


def test_all_published_versions_and_the_selected_one_go_into_the_keys() -> None:
    wide = Versions(bytes.fromhex("02000100"), 0x0100)
    foreign = Foreign(is_reader=True)
    foreign.protect(BLE, bytes.fromhex("020001000100"))
    octets = foreign.build(2, 3, COMPLETED.payload)
    assert _open(_end(is_reader=False, versions=wide), octets) == COMPLETED
    for other in (VERSIONS, Versions(wide.published, 0x0200)):
        with pytest.raises(AuthenticationError):
            _open(_end(is_reader=False, versions=other), octets)


def test_ap_messages_are_never_sealed() -> None:
    apdu = Envelope(0, 0, bytes.fromhex("80800000"))
    assert _end(is_reader=True).seal(apdu) == apdu.build()
    assert _open(_end(is_reader=False), apdu.build()) == apdu


def test_a_message_may_come_in_any_pieces_and_several_may_come_at_once() -> None:
    frames = [Envelope(2, 3, bytes(20)), Envelope(0, 1, b""), Envelope(4, 255, bytes(300))]
    stream = b"".join(frame.build() for frame in frames)
    for step in (1, 3, 7, len(stream)):
        channel = MessageChannel(is_reader=True)
        found = []
        for at in range(0, len(stream), step):
            found += channel.split(stream[at : at + step])
        assert found == frames
        assert not channel.is_inside


def test_a_header_that_cannot_be_says_that_the_channel_is_out_of_step() -> None:
    channel = MessageChannel(is_reader=True)
    with pytest.raises(WireError, match="out of step"):
        channel.split(b"\x05\0\0\0")
    with pytest.raises(ValueError, match="are the most"):
        channel.seal(Envelope(4, 0, bytes(LONGEST + 1)))


@given(st.integers(0, 8 * 24 - 1))
def test_one_changed_bit_is_found_and_nothing_is_opened_after_it(bit: int) -> None:
    octets = bytearray(_end(is_reader=True).seal(COMPLETED))
    octets[bit // 8] ^= 1 << bit % 8
    device = _end(is_reader=False)
    try:
        frames = device.split(bytes(octets))
    except WireError:
        return
    if not frames:
        assert device.is_inside  # a length that is longer now: the rest never comes, which time finds
        return
    if frames[0].protocol == 0:
        return  # nothing an AP message could be; the session refuses it
    with pytest.raises(AuthenticationError):
        device.open(frames[0])
    with pytest.raises(SequenceError):
        device.open(Envelope.parse(_end(is_reader=True).seal(COMPLETED)))


def test_a_message_is_opened_once_and_in_its_turn() -> None:
    reader = _end(is_reader=True)
    first, second = reader.seal(COMPLETED), reader.seal(COMPLETED)
    device = _end(is_reader=False)
    assert _open(device, first) == COMPLETED
    with pytest.raises(AuthenticationError):
        _open(device, first)
    with pytest.raises(AuthenticationError):
        _open(_end(is_reader=False), second)


def test_what_one_end_has_sealed_it_does_not_open_itself() -> None:
    reader = _end(is_reader=True)
    with pytest.raises(AuthenticationError):
        _open(reader, reader.seal(COMPLETED))


@given(st.binary(max_size=64))
def test_any_octets_are_messages_or_an_error_of_the_wire(data: bytes) -> None:
    channel = _end(is_reader=False)
    try:
        for frame in channel.split(data):
            channel.open(frame)
    except (WireError, AuthenticationError):
        return
