"""The driver's loop against a library that plays Ray: who is asked, who is made anew, and when it ends."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from keywright.production.cluster.driver import GIVE_UP_S, PENDING_S, STUCK_S, TROUBLE_S, Driver
from keywright.production.cluster.library import ClusterLostError
from keywright.production.cluster.plan import End, Report, StationPlan, actor_name


class RayError(Exception):
    pass


class ActorUnavailableError(RayError):
    pass


class ActorDiedError(RayError):
    pass


Answer = Report | Exception | None
"""None: no answer comes."""


class FakeRay:
    """As much of the library as the driver uses. A station's script says what it answers, call by call."""

    exceptions = SimpleNamespace(RayError=RayError, ActorUnavailableError=ActorUnavailableError)

    def __init__(self, scripts: dict[str, Callable[[int], Answer]], *, unfair: bool = False) -> None:
        self.now = 0.0
        self.scripts = scripts
        self.unfair = unfair
        self.resources: dict[str, float] = {}
        self.actors: dict[str, SimpleNamespace] = {}
        self.calls: dict[str, int] = dict.fromkeys(scripts, 0)
        self.made: list[str] = []
        self.killed: list[str] = []
        self.options: dict[str, dict[str, Any]] = {}
        self.util = SimpleNamespace(list_named_actors=lambda: list(self.actors))

    def clock(self) -> float:
        self.now += 0.001
        return self.now

    def remote(self, _actor: type) -> Any:
        return SimpleNamespace(options=self._options)

    def _options(self, **options: Any) -> Any:
        def make(plan: bytes) -> SimpleNamespace:
            station = msgspec.json.decode(plan, type=StationPlan).name
            name = options["name"]
            self.made.append(station)
            self.options[station] = options
            call = lambda _seconds: self._called(station)  # noqa: E731 - what `.remote` is
            actor = SimpleNamespace(
                name=name,
                work=SimpleNamespace(remote=call),
                close=SimpleNamespace(remote=lambda: ("closed", station, Report())),
            )
            return self.actors.setdefault(name, actor)

        return SimpleNamespace(remote=make)

    def _called(self, station: str) -> tuple[str, int, Answer]:
        self.calls[station] += 1
        return (station, self.calls[station], self.scripts[station](self.calls[station]))

    def wait(self, refs: list[Any], *, num_returns: int, timeout: float) -> tuple[list[Any], list[Any]]:
        there = [ref for ref in refs if ref[2] is not None]
        if self.unfair:
            there.sort(key=lambda ref: ref[0])
        if not there:
            self.now += timeout
        ready = there[:num_returns]
        return ready, [ref for ref in refs if ref not in ready]

    def get(self, ref: Any, timeout: float = 0) -> bytes:
        if isinstance(ref[2], Exception):
            raise ref[2]
        return msgspec.json.encode(ref[2])

    def get_actor(self, name: str) -> SimpleNamespace:
        return self.actors[name]

    def kill(self, actor: SimpleNamespace) -> None:
        self.killed.append(actor.name)
        self.actors.pop(actor.name, None)

    def cluster_resources(self) -> dict[str, float]:
        return self.resources


class FakeLot:
    """So many units are left; each that a station reports sealed is one fewer."""

    def __init__(self, left: int) -> None:
        self.units = left
        self.hands = 0
        self.dead = 0

    def reap(self) -> int:
        found, self.dead = self.dead, 0
        return found

    def left(self) -> int:
        return self.units

    def leased(self) -> int:
        return self.hands


def plan(name: str, resource: str = "") -> StationPlan:
    return StationPlan(name=name, store="s", link="sim:fob", keystore="k", resource=resource)


def driver(ray: FakeRay, lot: FakeLot, *plans: StationPlan) -> Driver:
    named = [(actor_name(one, "digest"), one) for one in plans]
    return Driver(ray, lot, named, clock=ray.clock)


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keywright.production.cluster.driver.time.sleep", lambda _seconds: None)


def ticking(ray: FakeRay) -> Callable[[], None]:
    """Time goes on at every round."""

    def tick() -> None:
        ray.now += 0.2

    return tick


def sealing(lot: FakeLot, each: int = 1) -> Callable[[int], Answer]:
    def answer(_call: int) -> Answer:
        done = min(each, lot.units)
        lot.units -= done
        return Report(sealed=done, idle=not done)

    return answer


def test_it_ends_when_no_unit_is_left_and_ends_the_stations() -> None:
    lot = FakeLot(40)
    ray = FakeRay({"1": sealing(lot), "2": sealing(lot)})
    driven = driver(ray, lot, plan("1"), plan("2"))
    assert driven.run() == End()
    driven.close()
    assert sorted(ray.made) == ["1", "2"]
    assert len(ray.killed) == 2


def test_stations_that_always_answer_do_not_starve_the_others() -> None:
    """With `ray.wait` alone the first two would be asked for ever, and the units of the others stay in hand."""
    lot = FakeLot(20)
    first_two = lambda _call: Report(left_open=1)  # noqa: E731 - busy, and never sealing anything
    ray = FakeRay({"1": first_two, "2": first_two, "3": sealing(lot), "4": sealing(lot)}, unfair=True)
    assert driver(ray, lot, *map(plan, "1234")).run() == End()
    assert min(ray.calls["3"], ray.calls["4"]) >= 9


def test_actors_live_on_are_restarted_and_no_call_is_repeated() -> None:
    lot = FakeLot(1)
    ray = FakeRay({"1": sealing(lot)})
    driver(ray, lot, plan("1", "reader:pcsc:A")).run()
    options = ray.options["1"]
    assert options["lifetime"] == "detached"
    assert options["get_if_exists"] is True
    assert (options["max_restarts"], options["max_task_retries"], options["max_concurrency"]) == (-1, 0, 1)
    assert options["resources"] == {"reader:pcsc:A": 1}
    assert options["num_cpus"] < 0.1


def test_an_actor_of_other_code_or_of_a_station_that_is_no_more_is_ended() -> None:
    lot = FakeLot(1)
    ray = FakeRay({"1": sealing(lot)})
    mine = actor_name(plan("1"), "digest")
    for name in ("station.1.0123456789abcdef", "station.9.0123456789abcdef", "others", mine):
        ray.actors[name] = SimpleNamespace(name=name, work=SimpleNamespace(remote=lambda _s: ray._called("1")))
    driver(ray, lot, plan("1")).run()
    assert ray.killed == ["station.1.0123456789abcdef", "station.9.0123456789abcdef"]
    assert {"others", mine} <= set(ray.actors)


def test_the_name_of_an_actor_changes_with_recipe_and_plan() -> None:
    names = {
        actor_name(plan("1"), "digest"),
        actor_name(plan("1"), "another"),
        actor_name(plan("2"), "digest"),
        actor_name(plan("1", "reader:x"), "digest"),
    }
    assert len(names) == 4
    assert actor_name(plan("1"), "digest") in names


def test_a_station_that_is_being_restarted_is_asked_again_and_not_made_again() -> None:
    lot = FakeLot(3)
    seal = sealing(lot)
    ray = FakeRay({"1": lambda call: ActorUnavailableError() if call in (2, 3) else seal(call)})
    assert driver(ray, lot, plan("1")).run() == End()
    assert ray.made == ["1"]


def test_a_dead_actor_is_made_again() -> None:
    lot = FakeLot(3)
    seal = sealing(lot)
    ray = FakeRay({"1": lambda call: ActorDiedError() if call == 2 else seal(call)})
    assert driver(ray, lot, plan("1")).run() == End()
    assert ray.made == ["1", "1"]


def test_without_a_word_from_any_station_the_cluster_is_lost() -> None:
    lot = FakeLot(3)
    ray = FakeRay({"1": lambda _call: ActorUnavailableError(), "2": lambda _call: ActorDiedError()})
    with pytest.raises(ClusterLostError):
        driver(ray, lot, plan("1"), plan("2")).run(ticking(ray))
    assert GIVE_UP_S < ray.now < 2 * GIVE_UP_S


def test_a_call_that_hangs_into_a_lost_cluster_does_not_hold_the_others_up() -> None:
    """One failed, the other never answers: still nobody is heard of."""
    lot = FakeLot(3)
    ray = FakeRay({"1": lambda _call: ActorUnavailableError(), "2": lambda _call: None})
    with pytest.raises(ClusterLostError):
        driver(ray, lot, plan("1"), plan("2")).run()
    assert ray.now < 3 * GIVE_UP_S


def test_one_station_that_fails_for_long_does_not_end_a_cluster_in_which_others_work() -> None:
    lot = FakeLot(200)
    seal = sealing(lot)
    ray = FakeRay({"1": lambda call: ActorUnavailableError() if call < 40 else seal(call), "2": seal})
    assert driver(ray, lot, plan("1"), plan("2")).run(ticking(ray)) == End()
    assert ray.now > 2 * GIVE_UP_S


def test_a_reader_that_no_machine_has_is_named() -> None:
    lot = FakeLot(3)
    ray = FakeRay({"1": lambda _call: None})
    end = driver(ray, lot, plan("1", "reader:pcsc:B")).run()
    assert end.trouble == "no 'reader:pcsc:B' in the cluster: station 1 waits for a machine with one"
    assert "cluster node" in end.hint
    assert PENDING_S < ray.now < 2 * PENDING_S


def test_a_station_more_than_there_are_readers_does_not_hold_the_others_up() -> None:
    lot = FakeLot(100)
    ray = FakeRay({"1": sealing(lot), "2": lambda _call: None})
    ray.resources["reader:sim:fob"] = 1.0
    two = plan("1", "reader:sim:fob"), plan("2", "reader:sim:fob")
    assert driver(ray, lot, *two).run() == End()
    lot.units = 3
    ray.scripts["1"] = lambda _call: Report(idle=True)  # what is left stands on the other
    assert "only 1 of 2 'reader:sim:fob'" in driver(ray, lot, *two).run().trouble


def test_a_machine_that_comes_late_is_still_taken_in() -> None:
    lot = FakeLot(400)
    ray = FakeRay({"1": sealing(lot), "2": lambda call: Report(sealed=1) if ray.now > 2 * PENDING_S else None})
    late: list[float] = []

    def alive() -> None:
        ray.now += 0.3
        if ray.now > 2 * PENDING_S and not late:
            late.append(ray.now)
            ray.resources["reader:b"] = 1.0
            seat = driven._seats[1]
            seat.call = ("2", 1, Report(sealed=1))  # Ray places the actor, and the call is answered
        if late and driven._seats[1].missing is None:
            lot.units = 0

    ray.resources["reader:a"] = 1.0
    driven = driver(ray, lot, plan("1", "reader:a"), plan("2", "reader:b"))
    assert driven.run(alive) == End()
    assert late
    assert ray.now < 3 * PENDING_S
    assert ray.made == ["1", "2"]


def test_a_reader_that_is_there_is_waited_for() -> None:
    lot = FakeLot(0)
    lot.units = 1
    ray = FakeRay({"1": lambda _call: None})
    ray.resources["reader:pcsc:B"] = 1.0

    def alive() -> None:
        if ray.now > 3 * PENDING_S:
            lot.units = 0

    assert driver(ray, lot, plan("1", "reader:pcsc:B")).run(alive) == End()


def test_a_station_that_hangs_is_made_anew() -> None:
    lot = FakeLot(2)
    seal = sealing(lot)
    ray = FakeRay({"1": lambda call: None if call == 2 else seal(call)})
    assert driver(ray, lot, plan("1")).run() == End()
    assert ray.made == ["1", "1"]
    assert ray.now > STUCK_S


def test_a_lot_that_has_to_stop_waits_for_what_is_in_hand() -> None:
    lot = FakeLot(100)
    ray = FakeRay({"1": lambda _call: Report(stopped="three alike"), "2": sealing(lot)})
    assert driver(ray, lot, plan("1"), plan("2")).run() == End(stopped="three alike")
    assert ray.calls == {"1": 1, "2": 1}


def test_units_left_open_for_the_next_run_end_it() -> None:
    lot = FakeLot(2)
    ray = FakeRay({"1": lambda call: Report(left_open=2) if call == 1 else Report(idle=True)})
    assert driver(ray, lot, plan("1")).run() == End()
    assert lot.units == 2


def test_units_in_the_hands_of_somebody_are_waited_for_and_then_taken_up() -> None:
    """Leased to nobody that lives: the reaper puts them where stations find them."""
    lot = FakeLot(2)
    lot.hands = 2

    def answer(_call: int) -> Answer:
        done = 0 if lot.hands else lot.units
        lot.units -= done
        return Report(sealed=done, idle=not done)

    def alive() -> None:
        if ray.now > 20 and lot.hands:
            lot.hands, lot.dead = 0, 2
        ray.now += 0.1

    ray = FakeRay({"1": answer})
    assert driver(ray, lot, plan("1")).run(alive) == End()
    assert lot.units == 0


def test_what_every_station_would_meet_again_ends_it_with_what_to_do() -> None:
    lot = FakeLot(2)
    trouble = Report(trouble="the keystore is another", hint="give the lot's own", final=True)
    ray = FakeRay({"1": lambda _call: trouble, "2": lambda _call: trouble})
    end = driver(ray, lot, plan("1"), plan("2")).run()
    assert end == End(trouble="the keystore is another", hint="give the lot's own")


def test_one_station_out_of_order_leaves_the_lot_to_the_others() -> None:
    lot = FakeLot(30)
    ray = FakeRay({"1": lambda _call: Report(trouble="no reader", final=True), "2": sealing(lot)})
    assert driver(ray, lot, plan("1"), plan("2")).run() == End()
    assert ray.calls["1"] == 1


def test_trouble_that_does_not_pass_ends_the_station_and_is_told() -> None:
    lot = FakeLot(2)
    ray = FakeRay({"1": lambda _call: Report(trouble="the keystore is not here", hint="copy it")})
    end = driver(ray, lot, plan("1")).run(ticking(ray))
    assert end == End(trouble="the keystore is not here", hint="copy it")
    assert TROUBLE_S < ray.now < 2 * TROUBLE_S


def test_passing_trouble_is_tried_again() -> None:
    lot = FakeLot(2)
    seal = sealing(lot)
    ray = FakeRay({"1": lambda call: Report(trouble="the server is away") if call < 4 else seal(call)})
    assert driver(ray, lot, plan("1")).run() == End()
