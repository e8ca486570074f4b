"""Ranging setup from each end alone, with bytes written by hand: choices, and what is not due."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from keywright.uwb.grid import Hopping
from keywright.uwb.keys import LAST_STS_INDEX
from keywright.uwb.setup.device import LEAD_S, DeviceSetup
from keywright.uwb.setup.ends import (
    Agreed,
    Failed,
    Later,
    SetupEnd,
    State,
    Synchronized,
    UrskDropped,
)
from keywright.uwb.setup.messages import (
    M4,
    MESSAGES,
    ConfigIds,
    Event,
    GeneralError,
    RangingNotice,
    SetupMessage,
    general_error,
)
from keywright.uwb.setup.reader import ReaderSetup
from keywright.uwb.setup.terms import (
    ADAPTIVE,
    AES_SEQUENCE,
    CONTINUOUS,
    DEFAULT_SEQUENCE,
    NO_HOPPING,
    Capabilities,
    Wishes,
    mac_mode,
    round_offset,
)
from support.ranging_setup import (
    ANSWER,
    BEGINNING,
    DECISION,
    OFFER,
    SAMPLES,
    SESSION,
    SYNC,
    agreed,
    device,
    device_in,
    hear,
    reader,
    reader_in,
    sent,
    talk,
)

# ---- each end alone -------------------------------------------------------------------------------------------


def test_reader_sends_m1_and_m3_for_hand_written_answers() -> None:
    end = reader()
    assert sent(end) == [OFFER]
    assert hear(end, ANSWER) == [DECISION]
    assert hear(end, BEGINNING) == []
    (event,) = end.events()
    assert isinstance(event, Agreed)
    terms = event.terms
    assert (terms.channel, terms.sync_code, terms.uwb_time0) == (9, 9, 5_000_000)
    assert (terms.grid.sts_index0, terms.grid.hop_key, terms.grid.hopping) == (1000, 7, Hopping.CONTINUOUS)
    assert terms.configuration.build().hex() == "0100000001020304000003e80102060311"


def test_device_sends_m2_and_m4_for_hand_written_offers() -> None:
    end = device()
    assert hear(end, OFFER) == [ANSWER]
    (beginning,) = hear(end, DECISION, now=1.0)
    assert isinstance(beginning, M4)
    assert beginning.sync_code == 9
    assert beginning.uwb_time0 == 1_000_000 + LEAD_S * 1e6
    assert beginning.sts_index0 < 1 << 30
    (event,) = end.events()
    assert isinstance(event, Agreed)
    assert event.terms.grid.sts_index0 == beginning.sts_index0


def test_both_ends_agree_on_the_same_terms() -> None:
    one, other = agreed()
    assert one.terms == other.terms
    assert one.terms is not None
    assert one.terms.configuration == other.terms.configuration  # type: ignore[union-attr]  # it is the same


def test_m1_waits_for_a_time_sync_that_holds_a_measurement() -> None:
    end = ReaderSetup(SESSION)
    end.start(0.0)
    assert sent(end) == []
    assert hear(end, replace(SYNC, success=0)) == []
    assert hear(end, SYNC) == [OFFER]
    assert end.events() == [Synchronized(SYNC)]


def test_a_reader_may_go_without_time_sync() -> None:
    end = ReaderSetup(SESSION, needs_time_sync=False)
    assert hear(end, RangingNotice(initiate=True)) == [OFFER]


# ---- choices --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ({"config_ids": ConfigIds((1,))}, "no common UWB configuration"),
        ({"config_ids": ConfigIds((0, 0))}, "2 values of config id"),
        ({"config_ids": ConfigIds(())}, "0 values of config id"),
        ({"pulse_shapes": b"\x12"}, "no common pulse shape"),
        ({"pulse_shapes": b""}, "0 values of pulse shape"),
        ({"channels": 4}, "no common channel"),
        ({"channels": 3}, "channel 0x3 is not one choice"),
        ({"channels": 0}, "channel 0x0 is not one choice"),
        ({"sync_codes": 0xFF}, "no common SYNC code"),
        ({"slots": 0x80}, "no common number of chaps"),
        ({"hopping": ADAPTIVE | DEFAULT_SEQUENCE}, "no common hopping mode"),
        ({"hopping": CONTINUOUS}, "no common hopping mode"),
        ({"hopping": 0xF8}, "AES hopping sequence"),
    ],
)
def test_reader_names_what_there_is_none_of(answer: dict[str, Any], why: str) -> None:
    end = reader()
    hear(end)
    assert hear(end, replace(ANSWER, **answer)) == [general_error(GeneralError.WRONG_PARAMETERS)]
    (event,) = end.events()
    assert isinstance(event, Failed)
    assert why in event.why
    assert end.state == "idle"


@pytest.mark.parametrize(
    ("offer", "why"),
    [
        ({"config_ids": ConfigIds((9,))}, "no common UWB configuration"),
        ({"config_ids": ConfigIds(())}, "no common UWB configuration"),
        ({"pulse_shapes": b"\x99"}, "no common pulse shape"),
        ({"channels": 0xFC}, "no common channel"),
        ({"session_id": SESSION + 1}, "session 01020305"),
        ({"session_id": 0}, "session 00000000"),
        ({"session_id": 0xFFFFFFFF}, "session FFFFFFFF"),
    ],
)
def test_device_names_what_there_is_none_of(offer: dict[str, Any], why: str) -> None:
    end = device()
    assert hear(end, replace(OFFER, **offer)) == [general_error(GeneralError.WRONG_PARAMETERS)]
    (event,) = end.events()
    assert isinstance(event, Failed)
    assert why in event.why
    assert end.state == "idle"


@pytest.mark.parametrize(
    ("decision", "why"),
    [
        ({"ran_multiplier": 1}, "RAN multiplier 1"),
        ({"chaps_per_slot": 5}, "5 chaps per slot"),
        ({"responders": 0}, "0 responders"),
        ({"responders": 3}, "too few for 3"),
        ({"responders": 255}, "255 responders"),
        ({"slots_per_round": 7}, "do not divide"),
        ({"slots_per_round": 0}, "too few"),
        ({"responders": 8, "slots_per_round": 12, "chaps_per_slot": 24}, "longer than a timestamp"),
        ({"sync_codes": 0xFF}, "no common SYNC code"),
        ({"sync_codes": 0}, "no common SYNC code"),
        ({"hopping": CONTINUOUS | AES_SEQUENCE}, "AES hopping sequence"),
        ({"hopping": NO_HOPPING | CONTINUOUS | DEFAULT_SEQUENCE}, "not one mode"),
        ({"hopping": 0}, "not one mode"),
        ({"mac_mode": 0x01}, "neither one round nor two"),
        ({"mac_mode": 0x80}, "neither one round nor two"),
        ({"mac_mode": 0xFF}, "127 apart in a block of 32"),
    ],
)
def test_device_refuses_decisions_that_it_did_not_offer(decision: dict[str, Any], why: str) -> None:
    end = device()
    hear(end, OFFER)
    assert hear(end, replace(DECISION, **decision)) == [general_error(GeneralError.WRONG_PARAMETERS)]
    (event,) = end.events()
    assert isinstance(event, Failed)
    assert why in event.why
    assert end.state == "idle"


def test_device_refuses_a_mode_that_it_cannot_do() -> None:
    end = device(capabilities=Capabilities(hopping=NO_HOPPING))
    hear(end, OFFER)
    hear(end, DECISION)
    (event,) = end.events()
    assert isinstance(event, Failed)
    assert "was not offered" in event.why


@pytest.mark.parametrize(
    ("beginning", "why"),
    [
        ({"sync_code": 8}, "SYNC code 8"),
        ({"sync_code": 0}, "SYNC code 0"),
        ({"sync_code": 255}, "SYNC code 255"),
        ({"sts_index0": LAST_STS_INDEX}, "beyond"),
        ({"sts_index0": 0xFFFFFFFF}, "beyond"),
    ],
)
def test_reader_refuses_beginnings_that_cannot_be(beginning: dict[str, Any], why: str) -> None:
    end = reader()
    hear(end, ANSWER)
    assert hear(end, replace(BEGINNING, **beginning)) == [general_error(GeneralError.WRONG_PARAMETERS)]
    (event,) = end.events()
    assert isinstance(event, Failed)
    assert why in event.why


@pytest.mark.parametrize(
    ("wishes", "grid"),
    [
        (Wishes(), (1, 6, 3, Hopping.CONTINUOUS)),
        (Wishes(responders=2), (2, 6, 3, Hopping.CONTINUOUS)),
        (Wishes(responders=3), (3, 8, 3, Hopping.CONTINUOUS)),
        (Wishes(responders=10), (10, 16, 3, Hopping.CONTINUOUS)),
        (Wishes(hopping=(Hopping.NONE,)), (1, 6, 3, Hopping.NONE)),
        (Wishes(hopping=(Hopping.ADAPTIVE,)), (1, 6, 3, Hopping.ADAPTIVE)),
    ],
)
def test_reader_gets_what_it_wishes(wishes: Wishes, grid: tuple[int, int, int, Hopping]) -> None:
    one, other = ReaderSetup(SESSION, wishes=wishes, needs_time_sync=False), device()
    one.start(0.0)
    talk(one, other)
    assert one.terms == other.terms
    assert one.terms is not None
    found = one.terms.grid
    assert (found.responders, found.slots_per_round, found.chaps_per_slot, found.hopping) == grid


def test_two_rounds_are_agreed_through_the_mac_mode() -> None:
    one, other = ReaderSetup(SESSION, wishes=Wishes(round_offset=3), needs_time_sync=False), device()
    one.start(0.0)
    talk(one, other)
    assert other.terms is not None
    assert other.terms.grid.round_offset == 3


def test_a_block_too_short_for_its_rounds_is_named() -> None:
    end = reader(wishes=Wishes(responders=10, round_offset=100))
    hear(end, ANSWER)
    (event,) = end.events()
    assert isinstance(event, Failed)
    assert "no round of 10 responders fits" in event.why


@pytest.mark.parametrize("offset", [0, 1, 127])
def test_mac_mode_and_offset_are_inverse(offset: int) -> None:
    assert round_offset(mac_mode(offset)) == offset


@pytest.mark.parametrize("offset", [-1, 128])
def test_mac_mode_has_no_room_for_more(offset: int) -> None:
    with pytest.raises(ValueError, match="round offset"):
        mac_mode(offset)


# ---- order ----------------------------------------------------------------------------------------------------

PAIRS = [
    (make, state, kind)
    for make, cls in ((reader_in, ReaderSetup), (device_in, DeviceSetup))
    for state, allowed in cls.TABLE.items()
    if allowed or state == "ended"
    for kind in MESSAGES
    if kind is not Event and kind not in allowed
]


@pytest.mark.parametrize(
    ("make", "state", "kind"),
    PAIRS,
    ids=[f"{make.__name__[:6]}-{state}-{kind.__name__}" for make, state, kind in PAIRS],
)
def test_what_is_not_due_is_refused_and_changes_nothing(
    make: Callable[[State], SetupEnd], state: State, kind: type[SetupMessage]
) -> None:
    end = make(state)
    assert end.state == state
    sent(end)
    end.events()
    before = (end.terms, end.deadline())
    code = GeneralError.URSK_UNAVAILABLE if state == "ended" else GeneralError.UNKNOWN
    assert hear(end, SAMPLES[kind]) == [general_error(code)]
    assert (end.state, (end.terms, end.deadline())) == (state, before)
    assert all(isinstance(event, Failed) for event in end.events())


@pytest.mark.parametrize("octets", ["", "ff", "0100", "010000ff", "0100000102", "02000001", "0909 0000"])
@pytest.mark.parametrize("state", ["idle", "ranging"])
def test_bytes_that_mean_nothing_are_answered_and_change_nothing(state: State, octets: str) -> None:
    for make in (reader_in, device_in):
        end = make(state)
        sent(end)
        end.events()
        end.receive(bytes.fromhex(octets), 0.0)
        assert sent(end) == [general_error(GeneralError.WRONG_PARAMETERS)]
        assert end.state == state


def test_a_missing_attribute_is_general_error_2() -> None:
    one, other = reader(), device()
    sent(one)
    one.receive(bytes.fromhex("0101000400020000"), 0.0)
    other.receive(bytes.fromhex("0100000c010111030103020401020304"), 0.0)
    for end in (one, other):
        assert sent(end) == [general_error(GeneralError.WRONG_PARAMETERS)]
        (event,) = end.events()
        assert isinstance(event, Failed)
        assert "missing" in event.why
        assert event.code == GeneralError.WRONG_PARAMETERS


def test_errors_about_errors_do_not_go_back_and_forth() -> None:
    makers: list[Callable[[State], SetupEnd]] = [reader_in, device_in]
    for make in makers:
        for event in (Event(), Event(general_error=b""), Event(general_error=b"\x01\x02"), general_error(9)):
            end = make("ranging")
            sent(end)
            assert hear(end, event) == []
            assert end.state == "ranging"


def test_a_general_error_of_the_peer_takes_setup_back() -> None:
    end = reader_in("m3")
    sent(end)
    assert hear(end, general_error(GeneralError.RESOURCE)) == []
    assert end.state == "idle"
    (event,) = end.events()
    assert event == Failed("the other end: general error resource", GeneralError.RESOURCE, is_peers=True)


def test_a_peer_without_urks_ends_the_session() -> None:
    end = reader_in("resuming")
    sent(end)
    end.events()
    hear(end, general_error(GeneralError.URSK_UNAVAILABLE))
    assert end.state == "ended"
    assert end.events()[-1] == UrskDropped("peer")


def test_busy_and_later_are_told_apart_from_failure() -> None:
    end = reader_in("m1")
    sent(end)
    hear(end, Event(is_busy=True))
    states = [end.state]
    hear(end, RangingNotice(setup_later=True))
    assert [*states, end.state] == ["m1", "idle"]
    assert end.events() == [Later(), Later()]
