"""A campaign killed at any moment and continued loses nothing and does nothing twice."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path

import pytest

from keywright.fob.fobs import Model
from keywright.production.keystores.software_keystore import SoftwareKeystore
from support.endings import EXTERNAL_AUTHENTICATE, check_end, no_try_is_wrong
from support.faults import Kind, is_nightly
from support.kills import MOST_SESSIONS_MORE, PHASES, Lot, template

RECIPE = (Path(__file__).parents[2] / "examples/fob.toml").read_bytes()
SERIALS = ("K-000001", "K-000002", "K-000003")

SLICES = 4
"""The moments are dealt out to so many tests, so that they run on all processors. `make nightly` takes them all, other
runs every second one: even ones where the factory set vanishes, odd ones where it stays."""


def order(units: int) -> bytes:
    rows = "".join(f"{serial},fob-one,north\n" for serial in SERIALS[:units])
    return f"serial,model,owner_group\n{rows}".encode()


class Ground:
    """A template lot, and the moments of a run that nothing disturbs."""

    def __init__(self, place: Path, units: int, model: Model) -> None:
        self.place = place
        self.serials = SERIALS[:units]
        self._models: dict[str, Model] = dict.fromkeys(SERIALS, model)
        self._keystore: SoftwareKeystore = template(place / "template", RECIPE, order(units))
        self.undisturbed = self.lot("undisturbed")
        self.moments, ended = self.undisturbed.run()
        assert ended
        self.memories = {serial: self.undisturbed.memory(serial) for serial in self.serials}

    def lot(self, name: str) -> Lot:
        return Lot(self.place / "template", self.place / name, self._keystore, self._models)

    def killed(self, moments: Iterable[int], injected: Counter[Kind]) -> Iterator[tuple[dict[int, str], Lot]]:
        """For each of these moments, counted from 1, a lot that was killed there, and where its units were."""
        for at in moments:
            lot = self.lot(f"cut-{at}")
            passed, ended = lot.run(at)
            assert not ended, "a kill did not fall"
            assert len(passed) == at
            injected["worker"] += 1
            yield {moment.unit: moment.step for moment in passed}, lot
            shutil.rmtree(lot.place)


class Line(Ground):
    """A lot whose units are all good."""

    def __init__(self, place: Path, units: int, model: Model) -> None:
        super().__init__(place, units, model)
        self.check(self.undisturbed, {})

    def check(self, lot: Lot, most: Mapping[int, int]) -> None:
        """Every unit sealed, once; `most`: sessions more than undisturbed of a unit."""
        with lot.units() as store:
            units = list(store.units())
            certificates = {certificate.unit: certificate for certificate in store.certificates()}
            events = {unit.n: list(store.events(unit.n)) for unit in units}
            assert not list(store.open_intents())
        assert [unit.state for unit in units] == ["sealed"] * len(self.serials)
        assert sorted(certificates) == [unit.n for unit in units]
        for unit in units:
            answers = [(ins, sw) for serial, ins, sw in lot.answers() if serial == unit.serial]
            memory, expected = lot.memory(unit.serial), self.memories[unit.serial]
            check_end(memory, expected, events[unit.n], certificates[unit.n], answers, most=most.get(unit.n, 0))

    def sweep(self, moments: Iterable[int], injected: Counter[Kind]) -> None:
        """Kill at each of these moments, continue, check."""
        for where, lot in self.killed(moments, injected):
            assert lot.run()[1]
            self.check(lot, {n: MOST_SESSIONS_MORE[step] for n, step in where.items()})


@pytest.mark.parametrize("stays", [False, True], ids=["factory set vanishes", "factory set stays"])
@pytest.mark.parametrize("part", range(SLICES))
def test_a_kill_at_any_moment_of_one_unit_loses_nothing(
    tmp_path: Path, injected: Counter[Kind], part: int, *, stays: bool
) -> None:
    line = Line(tmp_path, 1, Model(initial_keys_stay=stays, try_limit=3))
    moments = range(1 + part, len(line.moments) + 1, SLICES)
    line.sweep(moments if is_nightly() else moments[stays::2], injected)


def test_every_phase_of_every_step_is_there_to_be_cut(tmp_path: Path) -> None:
    line = Line(tmp_path, 1, Model(initial_keys_stay=True))
    found = {(moment.step, moment.phase) for moment in line.moments}
    steps = ("authenticate", "own_keys", "personalise", "lock_down")
    assert {step for step, _ in found} >= {"identify", *steps}
    for step in steps:
        for phase in PHASES:
            assert (step, phase) in found


# ---- units in one transaction ---------------------------------------------------------------------------------


class Pair(Line):
    """Two units side by side: the first unit of a lot goes alone, the others then share transactions."""

    def __init__(self, place: Path) -> None:
        super().__init__(place, 3, Model(initial_keys_stay=True, try_limit=3))
        self.together = [at for at, moment in enumerate(self.moments, 1) if moment.unit > 1]


EVERY = 3


@pytest.mark.parametrize("part", range(SLICES))
def test_a_kill_among_units_that_share_transactions_loses_nothing_of_either(
    tmp_path: Path, injected: Counter[Kind], part: int
) -> None:
    pair = Pair(tmp_path)
    durable = ("after intent", "after commit")
    shared = [
        one
        for one, other in pairwise(pair.moments)
        if one.unit != other.unit and one.phase in durable and other.phase in durable
    ]
    assert len(shared) > 4, "their transactions were not grouped"
    moments = pair.together[::EVERY][part::SLICES]
    pair.sweep(moments if is_nightly() else moments[::2], injected)


# ---- keys that do not fit -------------------------------------------------------------------------------------


def test_a_kill_at_any_moment_of_a_unit_with_other_keys_costs_no_try_and_one_mismatch(
    tmp_path: Path, injected: Counter[Kind]
) -> None:
    ground = Ground(tmp_path, 1, Model(factory_key="11" * 16, try_limit=3))
    set_aside(ground.undisturbed)
    assert {moment.step for moment in ground.moments} == {"identify", "authenticate"}
    for _, lot in ground.killed(range(1, len(ground.moments) + 1), injected):
        assert lot.run()[1]
        set_aside(lot)
        heard = lot.answers()
        assert lot.run() == ([], True), "the unit was touched again"
        assert lot.answers() == heard
        set_aside(lot)


def set_aside(lot: Lot) -> None:
    """Quarantined by one mismatch that was seen, with no try: nothing in the unit counts one, and none was sent."""
    with lot.units() as store:
        (unit,) = store.units()
        events = list(store.events(unit.n))
        assert not list(store.open_intents())
    assert (unit.state, unit.step, unit.failure_code, unit.tries) == (
        "quarantined",
        "authenticate",
        "card-cryptogram",
        0,
    )
    ends = [(event.step, event.phase) for event in events if event.phase in ("mismatch", "failed")]
    assert ends == [("session.factory", "mismatch"), ("authenticate", "failed")]
    assert int.from_bytes(lot.memory(unit.serial).get("attempts", b"")) == 0
    assert EXTERNAL_AUTHENTICATE not in {ins for _, ins, _ in lot.answers()}


# ---- the sweep can fail ---------------------------------------------------------------------------------------


def test_a_try_that_was_wrong_is_heard(tmp_path: Path) -> None:
    """What the sweeps look for is there when it happens: a status of EXTERNAL AUTHENTICATE other than 9000."""
    line = Line(tmp_path, 1, Model(try_limit=3))
    answers = [(ins, sw) for _, ins, sw in line.undisturbed.answers()]
    assert [sw for ins, sw in answers if ins == EXTERNAL_AUTHENTICATE] == [0x9000] * 6
    assert no_try_is_wrong(answers) == []
    with line.undisturbed.heard.open("a") as file:
        file.write(f"{SERIALS[0]} {EXTERNAL_AUTHENTICATE:02X} 6982\n")
    with pytest.raises(AssertionError, match=r"EXTERNAL AUTHENTICATE was answered \['6982'\]"):
        line.check(line.undisturbed, {})
