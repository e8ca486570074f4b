"""Whole distance measurements: two or three messages, a receiver at the end of each, and the arithmetic on timestamps.

Double-sided two-way ranging (DS-TWR) needs no correction of clocks; single-sided (SS-TWR) takes the responder's clock
from the carrier. Timestamps are counted in the standard's unit by the device whose clock it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np

from keywright.uwb.lab.air import F64
from keywright.uwb.lab.channels import CHANNELS, Budget, draw
from keywright.uwb.lab.legs import FINAL, POLL, RESPONSE, Heard, Leg, Sequences, expected_places, hear
from keywright.uwb.lab.pulses import CHIP_S, MODES, RANGING_UNIT_S, Mode
from keywright.uwb.lab.receiver import Settings
from keywright.uwb.twr import LIGHT_M_PER_S

if TYPE_CHECKING:
    from numpy.random import Generator

DS, SS = "ds", "ss"
METHODS: Final = (DS, SS)
_LEGS: Final = {DS: (POLL, RESPONSE, FINAL), SS: (POLL, RESPONSE)}


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """Where two devices are, and how they range.

    channel, mode, method: names of CHANNELS, MODES, METHODS. snr_db: energy of a pulse, of all paths together, over
    the noise density; from the link budget and the distance if None. ppm: clocks are off by at most this, any value
    alike. slot_s: from message to message; the responder answers `reply_slots` after the poll, and the final follows
    `final_slots` after that. carrier_hz: channel 9. tracking_ppm: how well a receiver reads the carrier (an
    assumption). pulses: of an STS; a power of two, None for one segment.
    """

    distance_m: float = 10.0
    channel: str = "cm1"
    snr_db: float | None = None
    mode: str = "bprf"
    method: str = DS
    ppm: float = 20.0
    slot_s: float = 2e-3
    reply_slots: int = 1
    final_slots: int = 1
    carrier_hz: float = 7987.2e6
    tracking_ppm: float = 0.1
    pulses: int | None = None
    budget: Budget = Budget()
    receiver: Settings = Settings()

    @property
    def pulse_mode(self) -> Mode:
        """The pulse rate, with as many pulses as are asked for."""
        mode = MODES[self.mode]
        return mode if self.pulses is None else mode.shortened(self.pulses)

    def snr_of_pulse_db(self) -> float:
        """The mean SNR of a pulse."""
        if self.snr_db is not None:
            return self.snr_db
        mode = self.pulse_mode
        return self.budget.snr_db(CHANNELS[self.channel], self.distance_m, 1 / (mode.spacing_chips * CHIP_S))


class Exchanges(msgspec.Struct, frozen=True):
    """Many measurements; every array has one entry for each.

    found: whether every receiver found a path. distance_m: what was measured; NaN if not. agreeing, blocks: the least
    of the receptions' (receiver.Reception). apart_m: how far the distances differ that either half of DS-TWR gives on
    its own. clock_ppm: how far the clock that the carrier told is from the one that the timestamps tell. carrier_ppm:
    the clock that the carrier told. The last but one and `apart_m` are NaN for SS-TWR.
    """

    found: F64
    distance_m: F64
    agreeing: F64
    blocks: F64
    clock_ppm: F64
    carrier_ppm: F64
    drift_ns: F64

    def __len__(self) -> int:
        return len(self.found)


def together(parts: list[Exchanges]) -> Exchanges:
    """One after the other."""
    names = Exchanges.__struct_fields__
    return Exchanges(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def simulate(
    scenario: Scenario, count: int, rng: Generator, strike: Callable[[Leg, Generator], Leg] | None = None
) -> Exchanges:
    """Measure `count` times, each time in another place with other clocks; `strike` is what an attacker does to a leg.

    What it may not do is see a receiver's samples, its noise or the STS before it is sent.
    """
    mode = scenario.pulse_mode
    channel = CHANNELS[scenario.channel]
    taps = draw(channel, count, rng)
    snr_db = np.full(count, scenario.snr_of_pulse_db())
    if scenario.snr_db is None:
        snr_db += rng.normal(0, channel.shadowing_db, count)
    initiator, responder = rng.uniform(-scenario.ppm, scenario.ppm, (2, count))
    sequences = Sequences(mode, rng)
    names = _LEGS[scenario.method]
    heard = []
    for number, name in enumerate(names):
        leg = Leg(
            name=name,
            mode=mode,
            sts=sequences.pulses(number, count, len(names)),
            sent_before=sequences.before(number, count, len(names)),
            taps=taps,
            place=expected_places(count, rng),
            noise=10 ** (-snr_db / 10),
            clock_ppm=responder - initiator if name == RESPONSE else initiator - responder,
        )
        leg = strike(leg, rng) if strike is not None else leg
        heard.append(hear(leg, scenario.receiver, scenario.carrier_hz, scenario.tracking_ppm, rng))
    return _measured(scenario, heard, initiator * 1e-6, responder * 1e-6)


class Stamps(msgspec.Struct, frozen=True):
    """Intervals in seconds, each on its own device's clock: rounds and delays of initiator and responder."""

    round_1: F64
    delay_1: F64
    round_2: F64
    delay_2: F64


def double_sided(at: Stamps) -> F64:
    """Time of flight of DS-TWR (the formula for unequal delays of IEEE 802.15.4z), in seconds."""
    total = at.round_1 + at.delay_1 + at.round_2 + at.delay_2
    return (at.round_1 * at.round_2 - at.delay_1 * at.delay_2) / total


def single_sided(at: Stamps, clock: F64) -> F64:
    """Time of flight of SS-TWR. clock: the responder's against the initiator's, as a ratio less 1."""
    return (at.round_1 - at.delay_1 * (1 - clock)) / 2


def _measured(scenario: Scenario, heard: list[Heard], initiator: F64, responder: F64) -> Exchanges:
    """Timestamps of the messages, and what follows from them."""
    flight = scenario.distance_m / LIGHT_M_PER_S
    reply, pause = scenario.reply_slots * scenario.slot_s, scenario.final_slots * scenario.slot_s

    def stamp(moment: F64, clock: F64) -> F64:
        return np.asarray(np.round(moment * (1 + clock) / RANGING_UNIT_S) * RANGING_UNIT_S)

    poll_sent = np.zeros(len(initiator))
    poll_seen = poll_sent + flight + heard[0].late_s
    response_sent = poll_sent + flight + reply
    response_seen = response_sent + flight + heard[1].late_s
    t1, t2 = stamp(poll_sent, initiator), stamp(poll_seen, responder)
    t3, t4 = stamp(response_sent, responder), stamp(response_seen, initiator)
    nothing = np.full(len(initiator), np.nan)
    carrier = heard[1].carrier_ppm
    if scenario.method == SS:
        at = Stamps(t4 - t1, t3 - t2, nothing, nothing)
        flown, clock = single_sided(at, carrier * 1e-6), nothing
    else:
        final_sent = response_sent + flight + pause
        t5 = stamp(final_sent, initiator)
        t6 = stamp(final_sent + flight + heard[2].late_s, responder)
        at = Stamps(t4 - t1, t3 - t2, t6 - t3, t5 - t4)
        ratio = (at.delay_1 + at.round_2) / (at.round_1 + at.delay_2)
        flown, clock = double_sided(at), carrier - (ratio - 1) * 1e6
    receptions = [one.reception for one in heard]
    return Exchanges(
        found=np.all([one.found for one in receptions], axis=0),
        distance_m=flown * LIGHT_M_PER_S,
        agreeing=np.min([one.agreeing for one in receptions], axis=0),
        blocks=np.min([one.blocks for one in receptions], axis=0),
        clock_ppm=clock,
        carrier_ppm=carrier,
        drift_ns=np.max([abs(one.drift_ns) for one in receptions], axis=0),
    )
