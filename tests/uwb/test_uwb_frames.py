"""SP0 frames: the driver's bytes, and every way to spoil them."""

from __future__ import annotations

import pytest

from keywright.codec.message import Message
from keywright.crypto.aead import CcmKey
from keywright.errors import AuthenticationError, DecodeError, KeywrightError, WireError
from keywright.uwb import frames
from keywright.uwb.frames import (
    CCC_OUI,
    FINAL_DATA,
    MHR_BYTES,
    MIC_BYTES,
    MOST_RESPONDERS,
    PRE_POLL,
    FinalData,
    PrePoll,
    ResponderRecord,
    open_frame,
    record_of,
    seal_frame,
)
from keywright.uwb.keys import Uad
from support.messages import all_messages, check_message
from support.vectors import document, unhex

VECTOR = document("digitalkey/ccc_uwb_key_ladder.json")["sp0_pre_poll"]
KEY = CcmKey(unhex(VECTOR["key"]), "mUPSK1")
UAD = Uad(bytes.fromhex("deadbeef"), 0x1234, unhex(VECTOR["nonce"])[:8])
FRAME = unhex(VECTOR["mhr"]) + unhex(VECTOR["ciphertext"]) + unhex(VECTOR["mic"])
RECORDS = (ResponderRecord(0, 0x1000, 3, 1), ResponderRecord(1, 0x2000, 4, 0))
DATA = FinalData(0x01020304, 0x42, 1, 3, 0x00ABCDEF, 0x00998877, RECORDS)


@pytest.mark.parametrize("cls", all_messages(frames))
def test_every_message_keeps_the_promises_of_a_codec(cls: type[Message]) -> None:
    check_message(cls)


def test_pre_poll_sealed_is_the_drivers() -> None:
    payload = PrePoll(0x01020304, 0x06, 2, 1, 3)
    assert payload.build() == unhex(VECTOR["payload"])
    assert seal_frame(KEY, UAD, 1, PRE_POLL, payload.build(), oui=CCC_OUI) == FRAME


def test_pre_poll_of_the_driver_opens() -> None:
    opened = open_frame(KEY, UAD, FRAME, PRE_POLL, oui=CCC_OUI)
    assert opened == (1, unhex(VECTOR["payload"]))
    assert PrePoll.parse(opened.payload).round == 3


def test_frames_of_aliro_differ_in_the_oui_alone() -> None:
    aliro = seal_frame(KEY, UAD, 1, PRE_POLL, unhex(VECTOR["payload"]))
    assert aliro[16:19] == bytes.fromhex("1b194a")
    assert aliro[:16] + aliro[19:MHR_BYTES] == FRAME[:16] + FRAME[19:MHR_BYTES]
    with pytest.raises(DecodeError, match="OUI 1B194A, not 69DF04"):
        open_frame(KEY, UAD, aliro, PRE_POLL, oui=CCC_OUI)


def test_every_prefix_and_every_longer_frame_is_refused() -> None:
    for size in range(len(FRAME)):
        with pytest.raises(DecodeError):
            open_frame(KEY, UAD, FRAME[:size], PRE_POLL, oui=CCC_OUI)
    with pytest.raises(DecodeError, match="announces 13 octets, 22 follow"):
        open_frame(KEY, UAD, FRAME + b"\x00", PRE_POLL, oui=CCC_OUI)


def test_every_flipped_bit_is_refused() -> None:
    for bit in range(len(FRAME) * 8):
        spoiled = bytearray(FRAME)
        spoiled[bit // 8] ^= 1 << bit % 8
        with pytest.raises(KeywrightError) as caught:
            open_frame(KEY, UAD, bytes(spoiled), PRE_POLL, oui=CCC_OUI)
        if bit // 8 >= MHR_BYTES:
            assert type(caught.value) is AuthenticationError


@pytest.mark.parametrize("after", [1, 2, 0xFFFFFFFF])
def test_a_counter_that_does_not_grow_is_a_frame_sent_again(after: int) -> None:
    with pytest.raises(WireError, match="sent again"):
        open_frame(KEY, UAD, FRAME, PRE_POLL, oui=CCC_OUI, after=after)


def test_the_last_counter_is_sealed_and_none_after_it() -> None:
    last = seal_frame(KEY, UAD, 0xFFFFFFFF, PRE_POLL, b"x")
    assert open_frame(KEY, UAD, last, PRE_POLL, after=0xFFFFFFFE) == (0xFFFFFFFF, b"x")
    with pytest.raises(ValueError, match="frame_counter"):
        seal_frame(KEY, UAD, 1 << 32, PRE_POLL, b"x")


@pytest.mark.parametrize(
    "uad", [UAD._replace(destination=0x1235), UAD._replace(key_source=bytes(4)), UAD._replace(source=bytes(8))]
)
def test_a_frame_of_another_session_is_refused(uad: Uad) -> None:
    with pytest.raises(KeywrightError, match=r"another session|not accepted"):
        open_frame(KEY, uad, FRAME, PRE_POLL, oui=CCC_OUI)


def test_a_frame_of_another_kind_is_refused() -> None:
    with pytest.raises(WireError, match="message 1 where 2 is due"):
        open_frame(KEY, UAD, FRAME, FINAL_DATA, oui=CCC_OUI)


def test_final_data_is_eighteen_octets_and_seven_for_each_record() -> None:
    assert DATA.build().hex() == ("040302014200010300efcdab0077889900020000100000030101002000000400")
    most = FinalData(0, 0, 0, 0, 0, 0, tuple(ResponderRecord(n, 0, 0, 0) for n in range(MOST_RESPONDERS)))
    assert MHR_BYTES + len(most.build()) + MIC_BYTES <= 125


def test_a_record_is_found_by_its_index_not_its_place() -> None:
    backwards = FinalData(0, 0, 0, 0, 0, 0, RECORDS[::-1])
    for data in (DATA, backwards):
        assert record_of(data, 0, 2) == RECORDS[0]
        assert record_of(data, 1, 2) == RECORDS[1]
        assert record_of(data, 2, 3) is None


@pytest.mark.parametrize("index", range(3))
def test_doubled_and_unknown_records_spoil_the_frame_for_all(index: int) -> None:
    twice = FinalData(0, 0, 0, 0, 0, 0, (*RECORDS, RECORDS[0]))
    with pytest.raises(WireError, match="two records of responder 0"):
        record_of(twice, index, 3)
    for responders in (1, 0):
        with pytest.raises(WireError, match="a record of responder"):
            record_of(DATA, index, responders)
