"""Whole measurements without an attacker: arithmetic, clocks, channels, and how often the checks refuse them."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.random import default_rng

from keywright.uwb.lab import ALL, CHECKS, Exchanges, Limits, Scenario, believed, share, simulate, spread, together
from keywright.uwb.lab.legs import FINAL, POLL, RESPONSE, Leg, Sequences
from keywright.uwb.lab.pulses import BPRF, RANGING_UNIT_S, SAMPLE_M
from keywright.uwb.lab.ranging import Stamps, double_sided, single_sided
from keywright.uwb.twr import LIGHT_M_PER_S, ds_twr, ss_twr

SHORT = 512


def measured(scenario: Scenario, count: int = 64, seed: int = 1, **arguments: object) -> Exchanges:
    return simulate(scenario, count, default_rng(seed), **arguments)  # type: ignore[arg-type]  # one keyword only


def test_double_sided_ranging_needs_no_clock_and_single_sided_needs_one() -> None:
    flight, reply, pause, ours, theirs = 40e-9, 2e-3, 3e-3, 1 + 20e-6, 1 - 20e-6
    at = Stamps(
        *(
            np.array([x])
            for x in ((2 * flight + reply) * ours, reply * theirs, (2 * flight + pause) * theirs, pause * ours)
        )
    )
    assert double_sided(at)[0] == pytest.approx(flight, rel=1e-4)
    assert single_sided(at, np.array([theirs / ours - 1]))[0] == pytest.approx(flight, rel=1e-3)
    assert single_sided(at, np.array([0.0]))[0] == pytest.approx(flight + reply * 20e-6, rel=0.01)


def test_both_formulas_are_those_of_the_protocol_half_in_ticks() -> None:
    ticks = [(63_900_100, 63_898_000, 127_800_033, 127_797_901), (5, 4, 3, 2)]
    at = Stamps(*(np.array(column) * RANGING_UNIT_S for column in zip(*ticks, strict=True)))
    for number, (round1, reply1, round2, reply2) in enumerate(ticks):
        assert double_sided(at)[number] / RANGING_UNIT_S == pytest.approx(
            ds_twr(round1, reply1, round2, reply2), rel=1e-6
        )
        single = single_sided(at, np.array(3e-6))[number] / RANGING_UNIT_S
        assert single == pytest.approx(ss_twr(round1, reply1, 3e-6), rel=1e-6)


@pytest.mark.parametrize("method", ["ds", "ss"])
def test_one_path_gives_the_distance_whatever_the_clocks(method: str) -> None:
    found = measured(Scenario(distance_m=7.5, channel="awgn", snr_db=10, method=method, tracking_ppm=0, pulses=SHORT))
    assert found.found.all()
    assert found.distance_m == pytest.approx(np.full(64, 7.5), abs=0.03)
    assert abs(np.mean(found.distance_m) - 7.5) < 0.004


@pytest.mark.parametrize(("name", "part"), [(POLL, 0.25), (RESPONSE, 0.5), (FINAL, 0.25)])
def test_a_leg_that_comes_late_counts_with_its_part(name: str, part: float) -> None:
    def late(leg: Leg, _: object) -> Leg:
        return leg.with_changes(late_s=12 / LIGHT_M_PER_S) if leg.name == name else leg

    found = measured(Scenario(distance_m=5, channel="awgn", snr_db=10, pulses=SHORT), 8, strike=late)
    assert found.distance_m == pytest.approx(np.full(8, 5 + 12 * part), abs=0.03)
    assert believed(found, {"clock"}).all() == (name == RESPONSE)


def test_errors_grow_as_the_signal_gets_weaker() -> None:
    sigmas = [
        np.std(measured(Scenario(channel="awgn", snr_db=snr, pulses=SHORT)).distance_m) for snr in (10.0, 0.0, -5.0)
    ]
    assert sigmas[0] < 0.6 * sigmas[1] < 0.6 * 0.9 * sigmas[2]


def test_no_line_of_sight_is_worse_than_one() -> None:
    both = [
        spread(measured(Scenario(distance_m=5, channel=name, pulses=SHORT), 128).distance_m) for name in ("cm1", "cm2")
    ]
    assert both[0].trials == 128
    assert both[1].high - both[1].low > 1.5 * (both[0].high - both[0].low)


def test_honest_measurements_are_refused_seldom() -> None:
    found = measured(Scenario(), 40, seed=4)
    refused = share(int((~believed(found)).sum()), 40)
    assert refused.high < 0.14
    assert believed(found, ()).all()


def test_the_sts_is_the_standard_generators_and_never_the_same_twice() -> None:
    sequences = Sequences(BPRF.shortened(128), default_rng(1))
    found = sequences.pulses(5, 3, 2)
    assert found.shape == (3, 128)
    assert set(np.unique(found)) == {-1.0, 1.0}
    assert len({row.tobytes() for row in found}) == 3
    assert sequences.before(5, 3, 2)(2)[1].tobytes() == found[0].tobytes()


def test_the_same_seed_gives_the_same_bytes() -> None:
    scenario = Scenario(pulses=SHORT)
    one, other, third = (measured(scenario, 8, seed) for seed in (3, 3, 4))
    for name in Exchanges.__struct_fields__:
        assert getattr(one, name).tobytes() == getattr(other, name).tobytes()
    assert one.distance_m.tobytes() != third.distance_m.tobytes()
    assert len(together([one, third])) == 16


def test_the_link_budget_decides_if_no_snr_is_given() -> None:
    assert Scenario(snr_db=3).snr_of_pulse_db() == 3
    assert Scenario(distance_m=3).snr_of_pulse_db() > Scenario(distance_m=30).snr_of_pulse_db() + 15
    # Half the time from pulse to pulse is half the energy of each.
    assert Scenario(mode="bprf").snr_of_pulse_db() - Scenario(mode="hprf").snr_of_pulse_db() == pytest.approx(
        3.01, abs=0.01
    )


@pytest.mark.parametrize(
    ("field", "value", "refusing"),
    [
        ("agreeing", 0.5, "signs"),
        ("blocks", 20, "blocks"),
        ("distance_m", -2.0, "floor"),
        ("distance_m", 400.0, "floor"),
        ("clock_ppm", 3.0, "clock"),
        ("carrier_ppm", -50.0, "clock"),
        ("drift_ns", 2.0, "drift"),
    ],
)
def test_each_check_refuses_alone_and_can_be_left_out(field: str, value: float, refusing: str) -> None:
    good = {
        "found": 1,
        "distance_m": 1,
        "agreeing": 0.7,
        "blocks": 32,
        "clock_ppm": 0.1,
        "carrier_ppm": 10.0,
        "drift_ns": 0.3,
    }
    assert believed(Exchanges(**{name: np.array([v]) for name, v in good.items()}))[0]
    bad = Exchanges(**{name: np.array([v]) for name, v in {**good, field: value}.items()})
    assert {name for name in CHECKS if not believed(bad, {name})[0]} == {refusing}
    assert not believed(bad)[0]
    assert believed(bad, ALL - {refusing})[0]


def test_thresholds_can_be_moved_and_nothing_found_is_never_believed() -> None:
    good = {
        "found": 1,
        "distance_m": 1,
        "agreeing": 0.53,
        "blocks": 32,
        "clock_ppm": np.nan,
        "carrier_ppm": 0.0,
        "drift_ns": 0.3,
    }
    weak = Exchanges(**{name: np.array([v]) for name, v in good.items()})
    assert not believed(weak)[0]
    assert believed(weak, limits=Limits(signs=0.52))[0]
    nothing = Exchanges(**{name: np.array([v]) for name, v in {**good, "found": 0.0, "distance_m": np.nan}.items()})
    assert not believed(nothing, ())[0]


def test_a_sample_is_thirty_centimetres() -> None:
    assert pytest.approx(0.3003, abs=1e-4) == SAMPLE_M
