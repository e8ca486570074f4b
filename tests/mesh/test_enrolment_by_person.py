"""Devices that a person helps to enrol: output and input OOB over the air, and power that goes at any frame."""

from __future__ import annotations

import random

import pytest
from hypothesis import settings

from keywright.crypto.ec import EcPrivateKey
from keywright.mesh import device as device_end
from keywright.mesh.database.network import NetworkDatabase
from keywright.mesh.device import Abilities
from keywright.mesh.enrolment import Candidate, Enrolled, Enrolment, Failed
from keywright.mesh.models.composition import Composition, Element
from keywright.mesh.oob import Method, Value
from keywright.mesh.pb_adv.link import PbAdvLink
from keywright.mesh.policy import Policy
from keywright.mesh.provisioner import ValueShown
from keywright.mesh.session import ProvisionerSession
from keywright.mesh.unit import Design, Unit
from keywright.sansio.air import Air, Conditions
from keywright.store.memory import RamMemory
from support.mesh import make_provisioner
from support.mesh_lot import TIME, begin

UUID = bytes.fromhex("70cf7c9732a345b691494810d2e9cbf4")
COMPOSITION = Composition(1, 2, 3, 10, 0, (Element(0, (0,)),))
IS_NIGHT = settings.get_current_profile_name() == "nightly"
STEP = 1 if IS_NIGHT else 5
"""Every frame at night, every fifth by day."""
METHODS = {"output": Method.OUTPUT, "input": Method.INPUT}
BEGUN_AGAIN_S = 130.0


class Bench:
    """A device, a provisioner, and the person between them, who takes `takes_s` seconds to read and type."""

    def __init__(self, method: str, conditions: Conditions | None = None, seed: int = 1) -> None:
        self.chance = random.Random(seed)
        self.air = Air(self.chance.random, conditions)
        self.owner, self.own = RamMemory(), RamMemory()
        self.database = begin(self.owner)
        self.method = method
        self.ended: Enrolled | Failed | None = None
        self.takes_s = 3.0
        self._typed: list[tuple[float, str, Value]] = []
        self.unit = self._unit()
        self.place = self.air.join(self.unit)
        self.call(1)

    def _unit(self) -> Unit:
        abilities = (
            Abilities(output_size=8, output_actions=1 << 4)
            if self.method == "output"
            else Abilities(input_size=8, input_actions=1 << 2)
        )
        return Unit(
            Design(UUID, COMPOSITION, abilities),
            self.own,
            self.air.now,
            new_key=lambda: EcPrivateKey.generate("P-256"),
            random_bytes=self.chance.randbytes,
            random=self.chance.random,
        )

    def call(self, link_id: int) -> None:
        """A new enrolment on a new link."""
        self.ended = None
        link = PbAdvLink.connect(UUID, link_id, self.air.now, random=self.chance.random)
        self.enrolment = Enrolment(
            ProvisionerSession(make_provisioner(), link),
            self.database,
            Candidate(UUID),
            policy=Policy(methods=(METHODS[self.method],)),
            timestamp=TIME,
        )
        self.caller = self.air.join(self.enrolment)

    def run(self, seconds: float = 400.0, cut: int | None = None) -> Enrolled | Failed | None:
        """Until the enrolment has ended, or so many frames were sent."""
        until = self.air.now + seconds
        while self.air.now < until and self.ended is None and (cut is None or self.air.sent < cut):
            self.air.run(min(until, self.air.now + 0.5), lambda: cut is not None and self.air.sent >= cut)
            self._carry()
        return self.ended

    def power_cut(self, side: str) -> None:
        """One side loses power, and everything that is not in its memory; the other waits until it gives up."""
        self._typed.clear()
        if side == "provisioner":
            self.air.leave(self.caller)
            self.database = NetworkDatabase(self.owner)
            self.air.run(self.air.now + BEGUN_AGAIN_S)
        else:
            self.air.leave(self.place)
            self.air.run(self.air.now + BEGUN_AGAIN_S)
            self.unit = self._unit()
            self.place = self.air.join(self.unit)

    def _carry(self) -> None:
        for event in self.enrolment.events():
            if isinstance(event, ValueShown):
                self._typed.append((self.air.now + self.takes_s, "device", event.value))
            elif isinstance(event, Enrolled | Failed):
                self.ended = event
        for told in self.unit.events():
            if isinstance(told, device_end.ValueShown):
                self._typed.append((self.air.now + self.takes_s, "provisioner", told.value))
        for at, where, value in [one for one in self._typed if one[0] <= self.air.now]:
            self._typed.remove((at, where, value))
            if where == "device" and self.unit.device is not None:
                self.unit.device.enter(value, self.air.now)
                self.air.wake(self.place)
            elif where == "provisioner":
                self.enrolment.enter(value, self.air.now)
                self.air.wake(self.caller)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("conditions", [Conditions(), Conditions(0.3, 0.3, 0.001, 0.2)], ids=["good", "bad"])
def test_a_person_carries_the_value(method: str, conditions: Conditions) -> None:
    for seed in range(4):
        bench = Bench(method, conditions, seed)
        end = bench.run()
        assert isinstance(end, Enrolled), end
        assert end.node.security == "secure"
        assert bench.unit.node is not None


def test_nobody_comes_and_the_session_ends_by_name() -> None:
    bench = Bench("output")
    bench.takes_s = 200.0
    end = bench.run()
    assert isinstance(end, Failed)
    assert "the device closed the link with reason 01 while value" in str(end.error)
    assert 120 < bench.air.now < 125
    assert not end.may_be_node
    bench.air.run(bench.air.now + 5.0)
    assert bench.unit.device is None


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("side", ["device", "provisioner"])
def test_a_cut_at_any_frame_loses_nothing(side: str, method: str) -> None:
    whole = Bench(method)
    assert isinstance(whole.run(), Enrolled)
    for cut in range(1, whole.air.sent, STEP):
        bench = Bench(method)
        bench.run(cut=cut)
        bench.power_cut(side)
        promised, known = bench.database.pending(UUID), bench.database.node(UUID)
        if bench.unit.node is not None:
            held = bench.unit.node.memory.state
            assert held is not None
            keys = {promised.device_key if promised else b"", bytes.fromhex(known.device_key or "") if known else b""}
            assert held.device_key in keys, cut
            continue
        assert known is None, cut
        before = promised.address if promised else None
        if promised:
            bench.database.give_up(UUID)
        bench.call(1000 + cut)
        end = bench.run()
        assert isinstance(end, Enrolled), (cut, end)
        assert before in (None, end.node.address)
