"""Intervals are exact, nothing is said to be 0 %, curves only rise."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.random import default_rng

from keywright.uwb.lab import special
from keywright.uwb.lab.special import beta_cdf, beta_quantile, tail_of_normal
from keywright.uwb.lab.statistics import histogram, percent, roc, share, spread, useful_thresholds


@pytest.mark.parametrize(("n", "k", "p"), [(10, 3, 0.2), (40, 39, 0.9), (1000, 7, 0.01), (5, 1, 0.5)])
def test_the_beta_function_is_the_tail_of_a_binomial(n: int, k: int, p: float) -> None:
    tail = sum(math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k, n + 1))
    assert beta_cdf(p, k, n - k + 1) == pytest.approx(tail, rel=1e-9)
    assert (beta_cdf(0, 2, 3), beta_cdf(1, 2, 3)) == (0, 1)


@pytest.mark.parametrize("p", [1e-9, 0.025, 0.5, 0.975, 1 - 1e-9])
@pytest.mark.parametrize(("a", "b"), [(1, 1), (1, 10_000), (10_000, 1), (0.5, 0.5), (3, 998), (500, 500)])
def test_a_quantile_is_where_the_distribution_reaches_it(p: float, a: float, b: float) -> None:
    x = beta_quantile(p, a, b)
    assert beta_cdf(x, a, b) == pytest.approx(p, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize(
    ("hits", "trials", "low", "high"),
    [
        # As in published tables; with no hit the upper limit is 1 - 0.025 ** (1 / n).
        (5, 10, 0.1871, 0.8129),
        (1, 20, 0.0013, 0.2487),
        (10, 100, 0.0490, 0.1762),
        (0, 20, 0.0, 0.1684),
        (20, 20, 0.8316, 1.0),
        (0, 3000, 0.0, 0.001229),
    ],
)
def test_intervals_are_exact(hits: int, trials: int, low: float, high: float) -> None:
    found = share(hits, trials)
    assert [found.low, found.high] == pytest.approx([low, high], abs=5e-5)


@pytest.mark.parametrize("p", [0.001, 0.03, 0.1, 0.5, 0.97])
def test_an_interval_covers_as_often_as_it_says_whatever_the_truth(p: float) -> None:
    intervals = [share(k, 30) for k in range(31)]
    covers = [math.comb(30, k) * p**k * (1 - p) ** (30 - k) for k in range(31)]
    assert sum(c for c, one in zip(covers, intervals, strict=True) if one.low <= p <= one.high) >= 0.95


def test_no_rate_is_told_that_the_trials_do_not_bear() -> None:
    assert str(share(0, 100)) == "< 3.7 % (95 %, 100 trials)"
    assert str(share(0, 20000)) == "< 0.019 % (95 %, 20000 trials)"
    assert str(share(100, 100)) == "> 96.3 % (95 %, 100 trials)"
    assert str(share(1, 100)) == "1 % (0.025 % to 5.5 %)"
    assert str(share(0, 0)) == share(0, 0).brief() == share(0, 0).with_limits() == "no trials"
    assert share(0, 100).brief() == share(0, 100).with_limits() == "< 3.7 %"
    assert (share(1, 100).brief(), share(1, 100).with_limits()) == ("1 %", "1 % (0.025 % to 5.5 %)")
    with pytest.raises(ValueError, match="3 of 2"):
        share(3, 2)


@pytest.mark.parametrize("value", [0.0001234, 0.051, 0.49, 0.951, 0.99951, 0.1])
def test_limits_are_rounded_away_from_what_they_enclose(value: float) -> None:
    assert float(percent(value, up=True)[:-2]) >= 100 * value - 1e-9
    assert float(percent(value, up=False)[:-2]) <= 100 * value + 1e-9


def test_limits_at_the_ends_are_told_as_they_are() -> None:
    assert (percent(0.0, up=True), percent(1.0, up=False)) == ("0 %", "100 %")


def test_who_stops_early_is_near(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = beta_quantile(0.3, 3, 40)
    monkeypatch.setattr(special, "_STEPS", 3)
    monkeypatch.setattr(special, "_TERMS", 8)
    assert beta_quantile(0.3, 3, 40) == pytest.approx(exact, rel=1e-3)
    assert beta_quantile(0.3, 3, 40) != exact


def test_a_curve_never_falls_and_runs_from_nothing_to_everything() -> None:
    rng = default_rng(1)
    honest, attacked = rng.normal(0.6, 0.05, 200), rng.normal(0.52, 0.02, 50)
    points = roc(honest, attacked, useful_thresholds(honest, attacked))
    for axis in ("alarms", "caught"):
        rates = [getattr(point, axis).rate for point in points]
        assert rates == sorted(rates)
        assert (rates[0], rates[-1]) == (0.0, 1.0)
    assert all(point.caught.low <= point.caught.rate <= point.caught.high for point in points)
    assert useful_thresholds(np.array([]), np.array([])) == []


def test_bins_share_what_is_finite_among_all_trials() -> None:
    bins = histogram(np.array([0.5, 0.6, 1.5, np.nan, 9.0]), 0, 2, 2)
    assert [(one.start, one.end, one.share.hits, one.share.trials) for one in bins] == [(0, 1, 2, 5), (1, 2, 1, 5)]


def test_the_spread_is_that_of_a_normal_distribution() -> None:
    found = spread(np.append(default_rng(2).normal(3, 0.5, 20000), np.nan))
    assert found.trials == 20000
    assert [found.median, found.sigma] == pytest.approx([3, 0.5], abs=0.02)
    assert math.isnan(spread(np.array([np.nan])).median)
    assert tail_of_normal(1.6449) == pytest.approx(0.05, abs=1e-4)
