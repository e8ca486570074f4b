"""Channels: each drawn as its table says, and no more."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from numpy.random import default_rng

from keywright.uwb.lab.channels import AWGN, CHANNELS, CM1, CM2, CM5, PROVENANCE, Budget, Channel, Taps, draw
from keywright.uwb.lab.pulses import SAMPLE_S


def spread_ns(taps: Taps) -> float:
    """The median effective delay spread."""
    power = np.abs(taps.gains) ** 2
    mean = np.sum(power * taps.delays, axis=1)
    return float(np.median(np.sqrt(np.sum(power * taps.delays**2, axis=1) - mean**2)) * SAMPLE_S * 1e9)


@pytest.mark.parametrize("channel", CHANNELS.values(), ids=list(CHANNELS))
def test_energy_is_one_and_no_path_comes_before_the_straight_line(channel: Channel) -> None:
    taps = draw(channel, 50, default_rng(1))
    assert np.sum(np.abs(taps.gains) ** 2, axis=1) == pytest.approx(np.ones(50))
    used = taps.gains != 0
    assert (taps.delays[used] >= 0).all()
    assert (taps.delays[used] * SAMPLE_S < 311e-9).all()
    assert used.any(axis=0).all()


def test_the_same_generator_draws_the_same_paths() -> None:
    one, other, third = (draw(CM1, 5, default_rng(seed)) for seed in (7, 7, 8))
    assert one.gains.tobytes() == other.gains.tobytes()
    assert one.delays.tobytes() == other.delays.tobytes()
    assert one.gains.tobytes() != third.gains.tobytes()


def test_delay_spreads_are_in_the_order_of_the_environments() -> None:
    spreads = {channel.name: spread_ns(draw(channel, 300, default_rng(2))) for channel in CHANNELS.values()}
    assert spreads["awgn"] == 0
    assert 8 < spreads["cm1"] < spreads["cm2"] < 40
    assert 10 < spreads["cm5"] < 45


def test_rays_are_as_frequent_as_the_mixture_says() -> None:
    few, many = (np.mean(np.sum(draw(channel, 100, default_rng(3)).gains != 0, axis=1)) for channel in (CM1, CM5))
    assert few < 60
    assert many > 150


def test_an_m_factor_in_db_makes_paths_fade_more() -> None:
    natural, decibels = (
        np.mean(np.abs(draw(channel, 2000, default_rng(4)).gains[:, 0]) ** 2 < 0.01)
        for channel in (CM1, msgspec.structs.replace(CM1, m_in_db=True))
    )
    assert natural < 0.8 * decibels


def test_power_falls_as_the_path_loss_says() -> None:
    budget = Budget()
    near, far = (budget.snr_db(CM1, distance, 62.4e6) for distance in (1.0, 10.0))
    assert near - far == pytest.approx(10 * CM1.loss_exponent)
    assert far == pytest.approx(-14.3 - 43.9 - 17.9 - 77.95 + 174 - 10, abs=0.1)
    assert budget.snr_db(CM2, 10.0, 62.4e6) < far - 20
    assert budget.snr_db(AWGN, 0.0, 62.4e6) == budget.snr_db(AWGN, 0.1, 62.4e6)


def test_every_parameter_says_where_it_is_from() -> None:
    assert all(text for text in PROVENANCE.values())
    assert sum("unsure" in text for text in PROVENANCE.values()) >= 3
