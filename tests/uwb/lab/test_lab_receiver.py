"""The air and the receiver: samples are what the formula says, arrivals are found, noise is not."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.random import default_rng

from keywright.uwb.lab.air import EXPECTED, WINDOW, Signal, on_the_air, response, slots, steady
from keywright.uwb.lab.channels import Taps, one_path
from keywright.uwb.lab.pulses import (
    BPRF,
    CHIP_S,
    HALF_WIDTH,
    HPRF,
    MODES,
    PULSE_SIGMA,
    SAMPLE_M,
    SAMPLE_S,
    Mode,
    pulse,
    reference_pulse,
)
from keywright.uwb.lab.receiver import BLOCKS, Settings, correlate, quality, receive

SHORT = BPRF.shortened(512)
SILENT = 1e-9


def signs(count: int, mode: Mode, seed: int = 1) -> np.ndarray:
    return np.where(default_rng(seed).random((count, mode.pulses)) < 0.5, np.float32(-1), np.float32(1))


def paths(*pairs: tuple[float, complex]) -> Taps:
    return Taps(np.array([[delay for delay, _ in pairs]]), np.array([[gain for _, gain in pairs]], dtype=complex))


@pytest.mark.parametrize("fraction", [0.0, 0.25, 0.5, 0.9])
def test_a_pulse_has_energy_one_wherever_it_is_sampled(fraction: float) -> None:
    assert np.sum(pulse(np.arange(-20.0, 21.0) - fraction) ** 2) == pytest.approx(1, abs=3e-4)
    assert pulse(np.array([float(HALF_WIDTH)]))[0] < 1e-5


def test_the_pulse_is_as_near_to_the_reference_pulse_as_the_standard_asks() -> None:
    at = np.arange(-8, 8, 1 / 64)
    ours, reference = pulse(at * 2), reference_pulse(at)
    crossed = np.correlate(ours, reference, "full") / np.sqrt(np.sum(ours**2) * np.sum(reference**2))
    assert np.sum(reference**2) / 64 == pytest.approx(1, abs=0.01)
    above = np.count_nonzero(crossed >= 0.8) / 64 * CHIP_S
    assert above >= 0.5e-9
    assert crossed.max() < 0.999


@pytest.mark.parametrize("mode", MODES.values(), ids=list(MODES))
def test_one_segment_is_32768_chips(mode: Mode) -> None:
    assert mode.pulses * mode.spacing_chips == 32768
    assert mode.duration_s == pytest.approx(65.64e-6, rel=1e-3)


@pytest.mark.parametrize("mode", [BPRF.shortened(256), HPRF.shortened(256)], ids=["bprf", "hprf"])
@pytest.mark.parametrize(("turns", "drift"), [(0.0, 0.0), (0.3, 0.0), (0.0, 1.5), (-0.2, -0.7)])
def test_samples_are_the_sum_of_all_pulses(mode: Mode, turns: float, drift: float) -> None:
    sent = signs(1, mode)
    taps = paths((0.0, 0.8), (7.3, 0.6j))
    signal = Signal(sent, response(taps, np.array([100.4])), np.array([turns]), np.array([drift]))
    samples = on_the_air([signal], mode, np.zeros(1), default_rng(1))[0].ravel()
    at = np.arange(slots(mode) * mode.spacing)
    slow = np.zeros(len(at), complex)
    pulses = np.arange(mode.pulses)
    for delay, gain in zip(taps.delays[0], taps.gains[0], strict=True):
        centres = 100.4 + delay + pulses * mode.spacing + drift * pulses / mode.pulses
        near = np.abs(at - centres[:, None]) <= HALF_WIDTH
        slow += gain * np.sum(sent[0][:, None] * pulse(at - centres[:, None]) * near, axis=0)
    slow *= np.exp(2j * np.pi * turns * (at // mode.spacing) / mode.pulses)
    # A piece of 128 pulses has one drift, and a place is rounded to 1/256 of a sample.
    assert np.max(np.abs(samples - slow)) < 0.01 + abs(drift) * 0.25 + abs(turns) * 0.05


def test_noise_has_the_variance_that_was_asked_for() -> None:
    samples = on_the_air([], SHORT, np.array([4.0, 0.25]), default_rng(2))
    assert np.mean(np.abs(samples) ** 2, axis=(1, 2)) == pytest.approx([4.0, 0.25], rel=0.05)


@pytest.mark.parametrize("mode", MODES.values(), ids=list(MODES))
def test_the_correlation_is_that_of_an_fft(mode: Mode) -> None:
    sent = signs(1, mode)
    samples = on_the_air(
        [steady(sent, response(one_path(1, default_rng(3)), np.array([77.7])))], mode, np.ones(1), default_rng(4)
    )
    flat = samples[0].ravel()
    train = np.zeros(len(flat), complex)
    train[: mode.pulses * mode.spacing : mode.spacing] = sent[0]
    shape = np.roll(np.pad(pulse(np.arange(-5.0, 6.0)), (0, len(flat) - 11)), -5)
    spectrum = np.fft.fft(flat) * np.conj(np.fft.fft(train)) * np.conj(np.fft.fft(shape))
    whole = np.fft.ifft(spectrum)[:WINDOW] / mode.pulses
    ours = correlate(samples, sent, mode)[0]
    inner = slice(HALF_WIDTH, WINDOW - HALF_WIDTH)
    assert ours[inner] == pytest.approx(whole[inner], abs=2e-5)


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.37, 0.5, 0.81])
def test_a_lone_path_is_found_to_a_millimetre(fraction: float) -> None:
    sent = signs(1, SHORT)
    place = np.array([EXPECTED + fraction])
    samples = on_the_air([steady(sent, response(paths((0, 1)), place))], SHORT, np.array([SILENT]), default_rng(1))
    found = receive(samples, sent, SHORT, Settings())
    assert found.found[0]
    assert abs(found.at[0] - place[0]) * SAMPLE_M < 1.5e-3
    assert found.agreeing[0] == 1.0
    assert found.blocks[0] == BLOCKS


def test_errors_are_unbiased_and_as_small_as_the_cramer_rao_bound() -> None:
    count, snr = 400, 10**-0.5
    place = EXPECTED + default_rng(5).random(count)
    sent = signs(count, SHORT, 6)
    heard = steady(sent, response(one_path(count, default_rng(7)), place))
    samples = on_the_air([heard], SHORT, np.full(count, 1 / snr), default_rng(8))
    errors = receive(samples, sent, SHORT, Settings()).at - place
    bound = PULSE_SIGMA / np.sqrt(SHORT.pulses * snr)
    assert 0.85 * bound < np.std(errors) < 1.3 * bound
    assert abs(np.mean(errors)) < 4 * bound / np.sqrt(count)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (Settings(), -40.0),
        (Settings(back_search_ns=30.0), 0.0),
        (Settings(mpep_db=9.0), 0.0),
        (Settings(noise_factor=100.0), 0.0),
    ],
    ids=["found", "beyond the back search", "below the threshold of MPEP", "below that of noise"],
)
def test_a_weak_early_path_is_found_within_window_and_thresholds(settings: Settings, expected: float) -> None:
    sent = signs(1, SHORT)
    early = paths((0.0, 1.0), (-40.0, 10 ** (-10 / 20)))
    samples = on_the_air([steady(sent, response(early, np.array([250.0])))], SHORT, np.array([1e-2]), default_rng(1))
    found = receive(samples, sent, SHORT, settings)
    assert found.at[0] - 250.0 == pytest.approx(expected, abs=0.1)
    assert found.early_db[0] == pytest.approx(10 if expected else 0, abs=0.5)


def test_noise_alone_is_no_path() -> None:
    count = 64
    sent = signs(count, SHORT)
    found = receive(on_the_air([], SHORT, np.ones(count), default_rng(9)), sent, SHORT, Settings())
    assert np.count_nonzero(found.found) == 0
    assert np.isnan(found.at).all()


def test_another_sts_is_no_path() -> None:
    count = 32
    heard = steady(signs(count, BPRF, 1), response(one_path(count, default_rng(2)), np.full(count, 180.0)))
    samples = on_the_air([heard], BPRF, np.full(count, 1.0), default_rng(3))
    agreeing, blocks = quality(samples, signs(count, BPRF, 4), np.full(count, 180.0), BPRF)
    assert agreeing.max() < 0.54
    assert np.median(blocks) < 26


def test_a_drift_smears_the_peak_and_moves_it_by_half() -> None:
    sent = signs(1, BPRF)
    for drift in (1.0, -1.0):
        signal = Signal(sent, response(paths((0, 1)), np.array([200.0])), np.zeros(1), np.array([drift]))
        found = receive(on_the_air([signal], BPRF, np.array([SILENT]), default_rng(1)), sent, BPRF, Settings())
        assert found.at[0] - 200.0 == pytest.approx(drift / 2, abs=0.03)
        assert found.drift_ns[0] == pytest.approx(drift * SAMPLE_S * 1e9, rel=0.1)


def test_multipath_that_stands_still_is_no_drift() -> None:
    sent = signs(1, BPRF)
    several = paths((0, 1), (1.4, -0.7), (2.9, 0.9j))
    samples = on_the_air([steady(sent, response(several, np.array([200.0])))], BPRF, np.array([SILENT]), default_rng(1))
    assert abs(receive(samples, sent, BPRF, Settings()).drift_ns[0]) < 0.07


def test_a_carrier_half_a_turn_off_still_lets_most_signs_agree() -> None:
    sent = signs(1, BPRF)
    signal = Signal(sent, response(paths((0, 1)), np.array([200.0])), np.array([0.4]), np.zeros(1))
    samples = on_the_air([signal], BPRF, np.array([SILENT]), default_rng(1))
    assert quality(samples, sent, np.array([200.0]), BPRF)[0][0] == 1.0
    whole = Signal(sent, signal.response, np.array([0.9]), np.zeros(1))
    samples = on_the_air([whole], BPRF, np.array([SILENT]), default_rng(1))
    assert quality(samples, sent, np.array([200.0]), BPRF)[0][0] < 0.8
