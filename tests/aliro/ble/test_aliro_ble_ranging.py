"""From an agreed session to a bolt that moves by distance: ranging on the virtual air, and a relay in between."""

from __future__ import annotations

import random

import pytest

from keywright.aliro.ble.approach import Approached, Left
from keywright.uwb.air import Arrival, Medium, Station, UwbAir, straight
from keywright.uwb.ranging.ends import Options
from keywright.uwb.ranging.events import Ended, Measured, Missed, Refused
from keywright.uwb.ranging.initiator import Initiator
from keywright.uwb.ranging.radio import Transmission
from keywright.uwb.ranging.responder import Responder
from keywright.uwb.setup.ends import Agreed, UrskDropped
from keywright.uwb.twr import LIGHT_M_PER_S
from support.aliro_ble import Session

QUICK = Options(sts_blocks=2)
RELAY_M = 40.0


class Scene:
    """A door at the origin, and a device that has agreed with it over Bluetooth on a session of ranging."""

    def __init__(self, *, medium: Medium = straight, loss: float = 0.0, ursk: Session | None = None) -> None:
        self.session = Session().run(1.0)
        (of_reader,), (of_device,) = self.session.of_reader(Agreed), self.session.of_device(Agreed)
        other = ursk or self.session
        assert other.device.ursk is not None
        assert self.session.reader.ursk is not None
        self.anchor = Responder(self.session.reader.ursk, of_reader.terms, 0, options=QUICK)
        self.air = UwbAir(random.Random(5).random, loss=loss, medium=medium)
        self.air.join(self.anchor)
        initiator = Initiator(other.device.ursk, of_device.terms, options=QUICK)
        self.device: Station = self.air.join(initiator)
        self.measured: list[float] = []

    def stay(self, metres: float, seconds: float) -> list[object]:
        """The device is so far away for so long; what the reader's end makes of it."""
        self.device.position = (metres, 0.0, 0.0)
        until = self.air.now_s + seconds
        news: list[object] = []
        while self.air.now_s < until:
            self.air.run(self.air.now_s + 0.1)
            now = self.session.line.now + self.air.now_s
            for event in self.anchor.events():
                self.measured += [event.distance_m] if isinstance(event, Measured) else []
                self.session.reader.ranged(event, now)
            self.session.reader.outgoing(now)
            self.session.take()
            news = [event for event in self.session.told if isinstance(event, Approached | Left)]
        return news


def test_a_device_that_walks_up_opens_the_door_and_one_that_walks_away_closes_it() -> None:
    scene = Scene()
    assert scene.stay(10.0, 2.0) == []
    (approached,) = scene.stay(1.0, 2.0)
    assert isinstance(approached, Approached)
    assert approached.metres == pytest.approx(1.0, abs=0.1)
    assert scene.stay(3.0, 2.0) == [approached]
    assert scene.stay(8.0, 2.0)[1:] == [Left("8.0 m away")]
    assert scene.measured[0] == pytest.approx(10.0, abs=0.1)


def test_a_relay_adds_its_way_and_the_door_stays_shut() -> None:
    def relay(sender: Station, receiver: Station, packet: Transmission, time_s: float) -> list[Arrival]:
        del sender, receiver, time_s
        return [Arrival(RELAY_M / LIGHT_M_PER_S, packet.octets)]

    scene = Scene(medium=relay)
    assert scene.stay(0.5, 5.0) == []
    assert min(scene.measured) == pytest.approx(RELAY_M, abs=0.1)


def test_a_device_with_another_ursk_is_never_measured() -> None:
    scene = Scene(ursk=Session(seed="another").run())
    assert scene.stay(0.5, 5.0) == []
    assert scene.measured == []


def test_a_device_out_of_reach_of_uwb_counts_as_gone_after_the_silence() -> None:
    lost = [False]

    def medium(sender: Station, receiver: Station, packet: Transmission, time_s: float) -> list[Arrival]:
        return [] if lost[0] else list(straight(sender, receiver, packet, time_s))

    scene = Scene(medium=medium)
    assert [type(event) for event in scene.stay(1.0, 2.0)] == [Approached]
    lost[0] = True
    assert scene.stay(1.0, 6.0)[1:] == [Left("no secure distance for 5 s")]


def test_what_an_anchor_tells_is_a_distance_a_round_without_one_or_the_end() -> None:
    session = Session().run(1.0)
    end = session.reader
    near = Measured(0, 0, 0, 1.0, 0.5, 1.0, 0.0)
    for event in (near, near, Missed(0, 0, "response"), near, near, Refused("noise")):
        end.ranged(event, 1.0)
    assert not [event for event in end.events() if isinstance(event, Approached)]
    end.ranged(near, 1.0)
    assert end.events() == [Approached(0.5)]
    end.ranged(Ended("sts-index"), 1.0)
    session.take()
    assert session.of_reader(UrskDropped) == [UrskDropped("sts-index")]
    assert session.of_reader(Left)
    assert end.is_over
