"""What each attack can do to a whole measurement, and what it cannot, with the checks on and off."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.random import default_rng

from keywright.errors import UsageError
from keywright.uwb.lab import (
    ATTACKS,
    Exchanges,
    Goal,
    Limits,
    Outcome,
    Scenario,
    Settings,
    Work,
    attack_named,
    believed,
    done,
    judged,
    portions,
    together,
)
from keywright.uwb.lab.attacks import (
    EVERY,
    Attack,
    Cicada,
    EarlyLate,
    Enlarge,
    GhostPeak,
    MixDown,
    Relay,
    RepeatedSts,
    StaleSts,
    Stretch,
)
from keywright.uwb.lab.checks import DRAWN
from keywright.uwb.lab.pulses import CHIP_S
from keywright.uwb.twr import LIGHT_M_PER_S

CHIP_M = CHIP_S * LIGHT_M_PER_S
SCENARIO = Scenario(pulses=1024)
SHORT = Scenario(pulses=512)
GOAL = Goal(SCENARIO.distance_m)


def run(attack: Attack | None, scenario: Scenario = SCENARIO, count: int = 48, seed: int = 1) -> Exchanges:
    return together([done(work, default_rng(work.seed)) for work in portions(scenario, attack, count, seed, 0)])


@pytest.fixture(scope="module")
def honest() -> Exchanges:
    return run(None, seed=2)


@pytest.fixture(scope="module")
def ghosts() -> Exchanges:
    return run(GhostPeak())


def outcome(attack: Attack, honest: Exchanges, found: Exchanges, **arguments: object) -> Outcome:
    return judged(attack.name, attack.aim, found, honest, GOAL, **arguments)  # type: ignore[arg-type]  # keywords only


@pytest.mark.parametrize("extra_m", [0.5, 5.0, 38.0])
def test_a_relay_always_adds_and_never_more_than_its_way(extra_m: float) -> None:
    found = run(Relay(extra_m=extra_m), SHORT, 16)
    assert found.distance_m == pytest.approx(np.full(16, 10 + extra_m), abs=0.05)
    assert believed(found).all()


def test_what_early_detection_gains_is_less_than_a_chip() -> None:
    gains = {}
    for listen_ns in (-2.5, -2.0, -1.0):
        found = run(EarlyLate(listen_ns=listen_ns, snr_db=40), Scenario(channel="awgn", pulses=512), 16)
        gains[listen_ns] = 10 - np.nanmedian(found.distance_m)
        assert (found.distance_m > 10 - 1.1 * CHIP_M).all()
    assert CHIP_M > gains[-2.5] > gains[-2.0] > 0.3
    assert gains[-1.0] < 0.05


def test_who_commits_before_the_pulse_guesses() -> None:
    chances = [EarlyLate(listen_ns=listen).chance_of_error() for listen in (-6.0, -2.5, -2.0, 0.0)]
    assert chances == sorted(chances, reverse=True)
    assert chances[0] == pytest.approx(0.5, abs=0.01)
    assert chances[-1] < 1e-9
    assert EarlyLate(snr_db=10).chance_of_error() > EarlyLate(snr_db=30).chance_of_error()
    # 16 ns ahead is a whole pulse: nothing of the cut pulse is left, and nothing is gained.
    found = run(EarlyLate(ahead_ns=16, snr_db=40), Scenario(channel="awgn", pulses=512), 16)
    assert found.distance_m == pytest.approx(np.full(16, 10.0), abs=0.05)


def test_a_ghost_peak_opens_more_doors_with_the_checks_off(honest: Exchanges, ghosts: Exchanges) -> None:
    result = outcome(GhostPeak(), honest, ghosts)
    assert result.off.low > result.on.high
    assert result.on.hits == 0
    assert result.nearer.hits >= result.off.hits > 5
    assert result.alone["signs"].hits < result.off.hits
    assert outcome(GhostPeak(), honest, ghosts, chosen=()).on == result.off


def test_more_power_makes_more_ghosts() -> None:
    hits = [int((run(GhostPeak(power_db=power), count=32).distance_m < 9).sum()) for power in (2, 6, 14)]
    assert hits[0] < hits[1] < hits[2]


def test_a_ghost_on_the_poll_alone_contradicts_the_clock() -> None:
    found = run(GhostPeak(power_db=20, legs=("poll",)), count=32)
    early = found.distance_m < 9
    assert early.sum() > 12
    assert not (early & believed(found, {"clock"})).any()


def test_a_cicada_degrades_and_shortens_only_where_noise_sets_no_threshold(honest: Exchanges) -> None:
    attack = Cicada(power_db=17, spacing_chips=5)
    careful = outcome(attack, honest, run(attack, count=32))
    assert careful.on.hits == 0
    assert careful.refused.rate > 0.05
    naive = outcome(attack, honest, run(attack, Scenario(pulses=1024, receiver=Settings(noise_factor=1)), 32))
    assert naive.nearer.low > careful.nearer.rate
    assert naive.on.hits == 0
    steady = run(Cicada(power_db=20, random=False), count=24)
    assert not (believed(steady) & (steady.distance_m <= 2)).any()


def test_a_stale_sts_is_noise_and_a_repeated_one_is_not(honest: Exchanges) -> None:
    stale = outcome(StaleSts(), honest, run(StaleSts(), count=32))
    assert stale.on.hits == 0
    assert stale.off.hits > 0
    found = run(RepeatedSts(), SHORT, 16)
    again = outcome(RepeatedSts(), honest, found)
    assert again.on.hits == 16
    assert found.distance_m == pytest.approx(np.full(16, 1.0), abs=0.05)


def test_a_moved_carrier_shortens_single_sided_ranging_only(honest: Exchanges) -> None:
    single, double = (run(MixDown(), Scenario(method=method), 12) for method in ("ss", "ds"))
    assert np.median(single.distance_m) == pytest.approx(10 - 0.3 * 30 + 0.25, abs=0.3)
    assert believed(single, {"signs", "blocks", "floor"}).mean() > 0.8
    assert np.median(double.distance_m) == pytest.approx(10.25, abs=0.4)
    assert not believed(double, {"clock"}).any()
    assert believed(double, {"signs", "blocks", "floor"}).mean() > 0.8
    # Its pulses do not come as fast as its carrier tells; stretched, they do, and single-sided ranging is lost.
    assert not believed(single, {"drift"}).any()
    stretched = run(Stretch(), Scenario(method="ss"), 12)
    assert np.median(stretched.distance_m) == pytest.approx(10 - 0.3 * 30 + 0.25, abs=0.3)
    assert believed(stretched, {"drift"}).mean() > 0.8
    assert not believed(run(Stretch(), SHORT, 8), {"clock"}).any()
    # Beyond what two crystals can be apart even single-sided ranging notices.
    assert not believed(run(MixDown(shift_ppm=-90), Scenario(pulses=512, method="ss"), 8)).any()


def test_the_checks_do_not_prevent_enlargement(honest: Exchanges) -> None:
    found = run(Enlarge(), SHORT, 24)
    result = outcome(Enlarge(), honest, found)
    assert np.median(found.distance_m) == pytest.approx(30, abs=0.1)
    assert result.on.rate > 0.9
    assert result.goal == "accepted at 15 m or more"


@pytest.mark.parametrize("name", ATTACKS)
def test_every_attack_is_reproducible_and_does_something(name: str) -> None:
    attack = attack_named(name)
    scenario = Scenario(pulses=256)
    one, other, nobody = (run(who, scenario, 6) for who in (attack, attack, None))
    assert one.distance_m.tobytes() == other.distance_m.tobytes()
    assert one.distance_m.tobytes() != nobody.distance_m.tobytes()
    assert attack.aim in {"shorter", "longer"}
    assert type(attack).__doc__ is not None


def test_portions_are_all_the_work_and_each_has_its_own_generator() -> None:
    work = portions(SCENARIO, None, 70, 5, 2)
    assert [one.count for one in work] == [32, 32, 6]
    assert len({one.seed for one in work}) == 3
    assert portions(SCENARIO, None, 64, 5, 2)[1] == Work(SCENARIO, None, 32, (5, 2, 1))


def test_curves_are_drawn_for_what_would_have_succeeded(honest: Exchanges, ghosts: Exchanges) -> None:
    curves = outcome(GhostPeak(), honest, ghosts).curves
    harmful = int((ghosts.distance_m <= 2).sum())
    assert {name: points[0].caught.trials for name, points in curves.items()} == dict.fromkeys(DRAWN, harmful)
    assert outcome(Relay(), honest, run(Relay(), count=8)).curves == {name: [] for name in DRAWN}


def test_limits_move_the_verdict(honest: Exchanges, ghosts: Exchanges) -> None:
    lax = outcome(
        GhostPeak(), honest, ghosts, limits=Limits(signs=0, blocks=0, least_m=-99, clock_ppm=99, drift_ns=1e9)
    )
    assert lax.on == lax.off


def test_parameters_come_from_text() -> None:
    assert attack_named("ghost-peak", {"power_db": "20", "legs": "poll+final"}) == GhostPeak(
        power_db=20.0, legs=("poll", "final")
    )
    assert attack_named("cicada", {"spacing_chips": "3", "random": "false"}) == Cicada(spacing_chips=3, random=False)
    assert attack_named("repeated-sts") == RepeatedSts(legs=EVERY)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("ghost", {}, "no attack ghost"),
        ("relay", {"power_db": "3"}, "no parameter power_db"),
        ("relay", {"extra_m": "far"}, "relay"),
        ("cicada", {"spacing_chips": "1.5"}, "cicada"),
        ("cicada", {"spacing_chips": "0"}, "cicada"),
        ("relay", {"extra_m": "-1"}, ">= 0"),
        ("relay", {"extra_m": "nan"}, "relay"),
        ("enlarge", {"later_m": "inf"}, "enlarge"),
        ("stale-sts", {"legs": "poll+ack"}, "stale-sts"),
    ],
)
def test_what_an_attack_does_not_take_is_a_usage_error(name: str, settings: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        attack_named(name, settings)
    assert caught.value.hint
