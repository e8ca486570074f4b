"""A device comes near a reader: distances follow it, and a relay does not bring it nearer."""

from __future__ import annotations

import random

import pytest

from keywright.crypto.aes import AesKey
from keywright.uwb.grid import Hopping
from keywright.uwb.ranging.events import Measured
from support.uwb import QUICK, URSK, terms_of
from support.uwb_approach import Approach, Session

TERMS = terms_of(hopping=Hopping.CONTINUOUS, uwb_time0=1_234_567_890)
OURS = Session(URSK, TERMS)


def approach(metres: float, **options: float | None) -> Approach:
    return Approach(OURS, OURS, (metres, 0.0, 0.0), random=random.Random(1).random, options=QUICK, **options)  # type: ignore[arg-type]  # numbers all


def test_distances_follow_the_device() -> None:
    one = approach(20.0, device_ppm=15.0)
    for metres in (20.0, 7.0, 1.5, 0.5):
        one.device_at = (metres, 0.0, 0.0)
        assert one.device_at == (metres, 0.0, 0.0)
        found = one.distances(0.4)
        assert len(found) >= 3
        # A round that was under way when the device jumped is of neither place.
        assert all(abs(distance - metres) < 0.02 for distance in found[1:])


def test_a_device_out_of_reach_has_no_distance() -> None:
    assert approach(150.0).distances(1.0) == []


def test_a_relay_brings_the_device_into_reach_and_not_near() -> None:
    found = approach(150.0, relay_m=40.0).distances(1.0)
    assert len(found) >= 8
    assert all(abs(distance - 40.0) < 0.02 for distance in found)


def test_a_relay_is_not_heard_where_the_device_itself_is() -> None:
    assert all(abs(distance - 5.0) < 0.02 for distance in approach(5.0, relay_m=40.0).distances(0.5))


@pytest.mark.parametrize(
    "reader",
    [
        Session(AesKey(bytes(32), "URSK"), TERMS),
        Session(URSK, TERMS._replace(session_id=1)),
        Session(URSK, terms_of(sts_index0=5)),
    ],
)
def test_ends_that_have_not_agreed_have_no_distance(reader: Session) -> None:
    one = Approach(OURS, reader, (1.0, 0.0, 0.0), random=random.Random(1).random, options=QUICK)
    assert one.distances(0.5) == []


def test_several_anchors_tell_in_the_order_of_blocks() -> None:
    terms = Session(URSK, terms_of(responders=2))
    places = [(0.0, 0.0, 0.0), (0.0, 4.0, 0.0)]
    one = Approach(terms, terms, (3.0, 0.0, 0.0), places, random=random.Random(1).random, options=QUICK)
    events = one.events(0.4)
    assert all(isinstance(event, Measured) for event in events)
    found = [(event.block, event.responder, round(event.distance_m)) for event in events if isinstance(event, Measured)]
    assert found[:4] == [(0, 0, 3), (0, 1, 5), (1, 0, 3), (1, 1, 5)]
    with pytest.raises(ValueError, match="no responder 1"):
        Approach(OURS, OURS, (3.0, 0.0, 0.0), places, random=random.Random(1).random)
