"""Scenarios can fail: every one of these broken sides is found by the scenarios that are for it."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from keywright.aliro.access import Situation
from keywright.aliro.conformance import bluetooth, device, own, reader
from keywright.aliro.conformance.outcome import Result
from keywright.aliro.conformance.run import play, play_reader
from keywright.aliro.reader import Fresh
from keywright.iso7816.layers import transmit
from keywright.sansio.dialogue import drive
from keywright.store.memory import RamMemory
from support.faults import is_nightly
from support.mutants import Handle, Mutant
from support.mutants_bluetooth import BLUETOOTH
from support.mutants_device import DEVICES
from support.mutants_reader import READERS

NOW = 1_800_000_000
Run = Callable[[Mutant, Callable[[str, str], bool]], Iterable[Result]]
"""Results of a mutant at the scenarios that are chosen by name and family."""
DEVICE_SCENARIOS, READER_SCENARIOS, BLE_SCENARIOS = device.scenarios(), reader.scenarios(), bluetooth.scenarios()


def stream(seed: str) -> Callable[[int], bytes]:
    return own.bench().random(seed)


class Short:
    """A link to a device that takes short APDUs."""

    extended = False

    def __init__(self, handle: Handle) -> None:
        self.exchange = handle


def devices(mutant: Mutant, wanted: Callable[[str, str], bool]) -> Iterable[Result]:
    simulated = own.device(stream("device"), NOW)
    chosen = [one for one in DEVICE_SCENARIOS if wanted(one.name, one.family)]
    return play(chosen, own.bench(), transmit(Short(mutant.edge(simulated.handle))), between=simulated.reset)


def readers(_: Mutant, wanted: Callable[[str, str], bool]) -> Iterable[Result]:
    made, fresh = own.issuing(stream("issuer"), NOW), stream("reader")
    return play_reader(
        [one for one in READER_SCENARIOS if wanted(one.name, one.family)],
        lambda one: own.device_for(one, made, stream(one.name)),
        lambda at: drive(own.lock(RamMemory()).unlock(Fresh.draw(fresh), Situation(now=NOW)), at),
    )


def ends(_: Mutant, wanted: Callable[[str, str], bool]) -> Iterable[Result]:
    return bluetooth.play(one for one in BLE_SCENARIOS if wanted(one.name, one.family))


ALL: list[tuple[str, Run, Mutant]] = [
    *(("device", devices, one) for one in DEVICES),
    *(("reader", readers, one) for one in READERS),
    *(("bluetooth", ends, one) for one in BLUETOOTH),
]


def test_there_are_enough_of_them_with_names_of_their_own() -> None:
    assert (len(DEVICES) >= 25, len(READERS) >= 15, len(BLUETOOTH) >= 10) == (True, True, True)
    assert len({(side, one.name) for side, _, one in ALL}) == len(ALL)


@pytest.mark.parametrize(("run", "mutant"), [pytest.param(run, m, id=f"{side}: {m.name}") for side, run, m in ALL])
def test_a_broken_side_is_found_by_the_scenarios_that_are_for_it(
    run: Run, mutant: Mutant, monkeypatch: pytest.MonkeyPatch
) -> None:
    mutant.patch(monkeypatch)
    results = list(run(mutant, lambda name, family: bool({name, family} & set(mutant.finds))))
    found = {word for one in results if one.verdict == "failed" for word in (one.name, one.family)}
    assert set(mutant.finds) - found == set()
    for one in results:
        assert one.verdict == "passed" or one.why


@pytest.mark.parametrize("run", [devices, readers, ends])
def test_a_side_that_is_not_broken_passes_everything(run: Run) -> None:
    results = list(run(Mutant("none", ()), lambda *_: True))
    assert Counter(one.verdict for one in results) == {"passed": len(results)}


def test_what_no_sharp_mutant_fails_is_listed() -> None:
    sharp: set[str] = set()
    names: set[str] = set()
    # Every mutant at every scenario takes half a minute.
    for side, run, mutant in ALL if is_nightly() else random.Random(6).sample(ALL, 3):
        with pytest.MonkeyPatch.context() as patch:
            mutant.patch(patch)
            results = list(run(mutant, lambda *_: True))
        failed = {f"{side}: {one.name}" for one in results if one.verdict == "failed"}
        names |= {f"{side}: {one.name}" for one in results}
        # Who breaks every transaction says nothing about a single scenario.
        sharp |= failed if 3 * len(failed) <= len(results) else set()
    untouched = set(UNTOUCHED.read_text().splitlines())
    assert sharp & untouched == set()
    assert not is_nightly() or names - sharp == untouched


UNTOUCHED = Path(__file__).with_name("untouched.txt")
"""Scenarios that only mutants fail that break more than a third of all: nothing shows that they can by themselves."""


def test_the_page_counts_the_families_as_they_are() -> None:
    counts = Counter(("device", one.family) for one in DEVICE_SCENARIOS)
    counts.update(("reader", one.family) for one in READER_SCENARIOS)
    counts.update(("both", one.family) for one in BLE_SCENARIOS)
    page = (Path(__file__).parents[3] / "docs" / "aliro-conformance.md").read_text()
    assert [line for line in page.splitlines() if line.startswith("| ")][2:] == [
        f"| {role} | {family} | {count} |" for (role, family), count in counts.items()
    ]
    names = [(role, one.name) for role, side in _SIDES for one in side]
    assert len(set(names)) == len(names)


_SIDES = (("device", DEVICE_SCENARIOS), ("reader", READER_SCENARIOS), ("both", BLE_SCENARIOS))
