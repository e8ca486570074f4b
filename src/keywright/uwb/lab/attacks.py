"""Attacks on a distance measurement, each an idea from the public literature, with what it costs the attacker.

An attack is given one leg at a time and says what else is on the air, and what of the direct way is left. Powers are
relative to all that the receiver gets of the honest signal. None knows the STS of a slot before it has been sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Final, Literal, TypeAlias

import msgspec
import numpy as np

from keywright.uwb.lab.air import C64, F32, F64, WINDOW, response, steady
from keywright.uwb.lab.channels import one_path
from keywright.uwb.lab.legs import FINAL, POLL, RESPONSE, Leg
from keywright.uwb.lab.pulses import HALF_WIDTH, PULSE_SIGMA, SAMPLE_S, SAMPLES_PER_CHIP, pulse
from keywright.uwb.lab.special import tail_of_normal
from keywright.uwb.twr import LIGHT_M_PER_S

if TYPE_CHECKING:
    from numpy.random import Generator

LegName: TypeAlias = Literal["poll", "response", "final"]
Metres: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=50)]
"""What stays within the receiver's window."""
Decibels: TypeAlias = Annotated[float, msgspec.Meta(ge=-60, le=60)]
Nanoseconds: TypeAlias = Annotated[float, msgspec.Meta(ge=-20, le=20)]

EVERY: Final[tuple[LegName, ...]] = (POLL, RESPONSE, FINAL)
SHORTER, LONGER = "shorter", "longer"
_FINE: Final = 16
"""Points to a sample in which a cut pulse is drawn."""
_REACH: Final = 24
"""Samples on each side of a cut pulse that are looked at."""


def _amplitude(power_db: float) -> float:
    return float(10 ** (power_db / 20))


def _path(leg: Leg, at: F64, power_db: float, rng: Generator) -> C64:
    """One path of the attacker's at a place in the window."""
    return response(one_path(leg.count, rng), at, _amplitude(power_db))


def _random_signs(leg: Leg, rng: Generator) -> F32:
    return np.where(rng.random(leg.sts.shape, dtype=np.float32) < 0.5, np.float32(-1), np.float32(1))


class Relay(msgspec.Struct, frozen=True, kw_only=True):
    """Carries every message over a longer way, faithfully; the direct one does not arrive.

    extra_m: how much longer the way is, its electronics included. Nothing that carries can be shorter than the
    straight line. Francillon, Danev, Capkun: Relay attacks on passive keyless entry and start systems (NDSS 2011).
    """

    name: ClassVar[str] = "relay"
    aim: ClassVar[str] = SHORTER
    extra_m: Annotated[float, msgspec.Meta(ge=0, le=100_000)] = 30.0

    def strike(self, leg: Leg, rng: Generator) -> Leg:
        """The same signal, later, and on a single strong path."""
        return leg.with_changes(late_s=self.extra_m / LIGHT_M_PER_S, taps=one_path(leg.count, rng))


class EarlyLate(msgspec.Struct, frozen=True, kw_only=True):
    """Early detect, late commit, pulse by pulse: listens to the start of each pulse, then sends its sign ahead.

    ahead_ns: how much earlier than the honest pulse its own would stand. listen_ns: until when it listens, counted
    from the centre of the pulse; before that, and `delay_ns` longer, it sends nothing. snr_db: of a whole pulse at the
    attacker. It guesses a sign wrong as often as noise makes it. Clulow, Hancke, Kuhn, Moore: So near and yet so far
    (ESAS 2006); Poturalski and others: Distance bounding with IEEE 802.15.4a (IEEE Trans. Wireless Comm. 2011).
    """

    name: ClassVar[str] = "early-late"
    aim: ClassVar[str] = SHORTER
    ahead_ns: Nanoseconds = 3.0
    listen_ns: Nanoseconds = -2.0
    delay_ns: Nanoseconds = 0.0
    snr_db: Decibels = 30.0
    power_db: Decibels = 20.0

    def strike(self, leg: Leg, rng: Generator) -> Leg:
        """Adds the pulses, cut off where the attacker did not yet know their sign."""
        wrong = rng.random(leg.sts.shape) < self.chance_of_error()
        signs = np.where(wrong, -leg.sts, leg.sts)
        return leg.with_changes(more=(*leg.more, steady(signs, self._cut(leg, rng))))

    def chance_of_error(self) -> float:
        """How often a sign is taken for the other, from what has been heard of the pulse by then."""
        heard = 1 - tail_of_normal(2**0.5 * self.listen_ns * 1e-9 / (PULSE_SIGMA * SAMPLE_S))
        return tail_of_normal((2 * 10 ** (self.snr_db / 10) * heard) ** 0.5)

    def _cut(self, leg: Leg, rng: Generator) -> C64:
        """The advanced pulse from the moment of the commitment on, as the receiver's band lets it through."""
        at = np.arange(-_REACH * _FINE, _REACH * _FINE + 1) / _FINE
        known = at >= (self.listen_ns + self.delay_ns) * 1e-9 / SAMPLE_S
        cut = np.where(known, pulse(at + self.ahead_ns * 1e-9 / SAMPLE_S), 0.0) / _FINE
        whole = np.floor(leg.place).astype(int)
        steps = np.arange(-_REACH, _REACH + 1)
        seen = np.sinc((steps - (leg.place - whole)[:, None])[:, :, None] - at) @ cut
        out = np.zeros((leg.count, WINDOW), np.complex64)
        phases = np.exp(2j * np.pi * rng.random((leg.count, 1)))
        np.put_along_axis(out, whole[:, None] + steps, _amplitude(self.power_db) * phases * seen, axis=1)
        return out


class Cicada(msgspec.Struct, frozen=True, kw_only=True):
    """Sends pulses at a steady rate and listens to nothing; some of them pass for an early path.

    spacing_chips: from pulse to pulse; it needs no knowledge of the receiver's rate. power_db: of one of its pulses
    over one honest one. random: whether its signs are; if not, all are alike. Poturalski, Flury, Papadimitratos,
    Hubaux, Le Boudec: The cicada attack (ICUWB 2010).
    """

    name: ClassVar[str] = "cicada"
    aim: ClassVar[str] = SHORTER
    spacing_chips: Annotated[int, msgspec.Meta(ge=1, le=64)] = 5
    power_db: Decibels = 14.0
    random: bool = True
    legs: tuple[LegName, ...] = (RESPONSE,)

    def strike(self, leg: Leg, rng: Generator) -> Leg:
        """Adds the pulses, as one signal for each place that they have between two honest ones."""
        if leg.name not in self.legs:
            return leg
        spacing = leg.mode.spacing
        step = self.spacing_chips * SAMPLES_PER_CHIP
        count = leg.mode.pulses
        places = np.arange(0, count * spacing, step)
        signs = np.where(rng.random((leg.count, len(places)), dtype=np.float32) < 0.5, np.float32(-1), np.float32(1))
        if not self.random:
            signs[:] = 1
        begin = rng.random(leg.count) * spacing + 2 * HALF_WIDTH
        signals = []
        for offset in np.unique(places % spacing):
            mine = places % spacing == offset
            train = np.zeros_like(leg.sts)
            train[:, places[mine] // spacing] = signs[:, mine]
            signals.append(steady(train, _path(leg, begin + offset, self.power_db, rng)))
        return leg.with_changes(more=(*leg.more, *signals))


class GhostPeak(msgspec.Struct, frozen=True, kw_only=True):
    """Sends an STS of random signs at the honest rate and more power; by chance it correlates a little, and early.

    Its pulses stand at one place of the honest grid, so that most of the profile, and the noise that is measured in it,
    stay as they are. Leu, Camurati, Heinrich, Roeschlin, Anliker, Hollick, Capkun, Classen: Ghost peak (USENIX
    Security 2022), who report success of up to 4 % on chips in use.
    """

    name: ClassVar[str] = "ghost-peak"
    aim: ClassVar[str] = SHORTER
    power_db: Decibels = 14.0
    legs: tuple[LegName, ...] = (RESPONSE,)

    def strike(self, leg: Leg, rng: Generator) -> Leg:
        """Adds the random STS."""
        if leg.name not in self.legs:
            return leg
        at = leg.place - rng.random(leg.count) * leg.mode.spacing
        signal = steady(_random_signs(leg, rng), _path(leg, at, self.power_db, rng))
        return leg.with_changes(more=(*leg.more, signal))


class StaleSts(msgspec.Struct, frozen=True, kw_only=True):
    """Sends an STS that it has recorded, early and louder, in the hope that the receiver still takes it.

    ago: how many slots back. ahead_m: how much earlier, in metres of one way. power_db: over the honest signal. Singh,
    Roeschlin, Zalzala, Leu, Capkun: Security analysis of IEEE 802.15.4z/HRP UWB time-of-flight distance measurement
    (WiSec 2021).
    """

    name: ClassVar[str] = "stale-sts"
    aim: ClassVar[str] = SHORTER
    ago: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 1
    ahead_m: Metres = 18.0
    power_db: Decibels = 14.0
    legs: tuple[LegName, ...] = (RESPONSE,)

    def strike(self, leg: Leg, rng: Generator) -> Leg:
        """Adds the recorded pulses, early."""
        if leg.name not in self.legs:
            return leg
        at = leg.after(-self.ahead_m / LIGHT_M_PER_S)
        signs = leg.sent_before(self.ago) if self.ago else leg.sts
        return leg.with_changes(more=(*leg.more, steady(signs, _path(leg, at, self.power_db, rng))))


class RepeatedSts(StaleSts, frozen=True, kw_only=True):
    """What if a counter came back: the attacker has heard this very STS before, and sends it early in every leg."""

    name: ClassVar[str] = "repeated-sts"
    ago: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 0
    ahead_m: Metres = 9.0
    legs: tuple[LegName, ...] = EVERY


class MixDown(msgspec.Struct, frozen=True, kw_only=True):
    """Carries the response on and moves its carrier, so that the receiver is wrong about the sender's clock.

    SS-TWR corrects the responder's delay by that clock; every ppm is 0.3 m for each 2 ms of it. shift_ppm: of the
    carrier. stretches: whether it delays pulses more and more, so that their rate fits the carrier; that takes a shift
    below 0, as nobody can send a pulse before it comes. extra_m: how much longer its way is. Anliker, Camurati,
    Capkun: Time for change, how clocks break UWB secure ranging (USENIX Security 2023).
    """

    name: ClassVar[str] = "mix-down"
    aim: ClassVar[str] = SHORTER
    shift_ppm: Annotated[float, msgspec.Meta(ge=-500, le=500)] = -30.0
    stretches: bool = False
    extra_m: Annotated[float, msgspec.Meta(ge=0, le=100_000)] = 0.5

    def strike(self, leg: Leg, rng: Generator) -> Leg:
        """The response with another carrier; unless stretched, its pulses do not come as fast as that tells."""
        if leg.name != RESPONSE:
            return leg
        pace = min(self.shift_ppm, 0.0) if self.stretches else 0.0
        late = self.extra_m / LIGHT_M_PER_S
        return leg.with_changes(shift_ppm=self.shift_ppm, pace_ppm=pace, late_s=late, taps=one_path(leg.count, rng))


class Stretch(MixDown, frozen=True, kw_only=True):
    """Moves the carrier of the response and stretches it, so that it looks like one of a slower clock."""

    name: ClassVar[str] = "stretch"
    stretches: bool = True


class Enlarge(msgspec.Struct, frozen=True, kw_only=True):
    """Buries the honest signal under noise and sends it again later: the key seems further away than it is.

    later_m: by how much. jam_db: noise over the honest signal's, so that the first path drowns. power_db: of what is
    sent again. Singh, Leu, Abdou, Capkun: UWB-ED, distance enlargement attack detection (USENIX Security 2019).
    """

    name: ClassVar[str] = "enlarge"
    aim: ClassVar[str] = LONGER
    later_m: Metres = 20.0
    jam_db: Decibels = 20.0
    power_db: Decibels = 20.0

    def strike(self, leg: Leg, rng: Generator) -> Leg:
        """More noise, and the STS of this slot again: it was on the air a moment ago."""
        jam = 10 ** (self.jam_db / 10)
        again = steady(leg.sts, _path(leg, leg.after(self.later_m / LIGHT_M_PER_S), self.power_db, rng))
        return leg.with_changes(noise=leg.noise + jam, more=(*leg.more, again))


Attack: TypeAlias = Relay | EarlyLate | Cicada | GhostPeak | StaleSts | RepeatedSts | MixDown | Stretch | Enlarge
ATTACKS: Final[dict[str, type[Attack]]] = {
    one.name: one for one in (Relay, EarlyLate, Cicada, GhostPeak, StaleSts, RepeatedSts, MixDown, Stretch, Enlarge)
}
