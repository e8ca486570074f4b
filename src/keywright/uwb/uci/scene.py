"""Where simulated UWB devices are, and what one of their ranging rounds gives.

FiRa's own frames and key schedule are not public: a round is played with ours (`uwb.ranging`), under a key made from
the session's. Distances, clocks, lost packets and responder slots are therefore real, octets on the air are not FiRa's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple, final

from keywright.crypto.aes import AesKey
from keywright.crypto.mac import hmac_tag
from keywright.uwb.air import Clock, Position, UwbAir
from keywright.uwb.grid import OVERHEAD_SLOTS, Grid
from keywright.uwb.ranging.ends import Options
from keywright.uwb.ranging.events import Measured
from keywright.uwb.ranging.initiator import Initiator
from keywright.uwb.ranging.responder import Responder
from keywright.uwb.setup.terms import Terms

_LABEL: Final = b"keywright UCI"
_CHAPS: Final = 3
_START_US: Final = 10_000
_INDICES: Final = 64
_LAST: Final = 1 << 30
_PPM: Final = 1000


class Request(NamedTuple):
    """One round that a device wants."""

    address: bytes
    session_id: int
    peers: tuple[bytes, ...]
    sequence: int
    key: AesKey | None


class Outcome(NamedTuple):
    """What it gave for one peer; metres None: nothing was heard."""

    address: bytes
    metres: float | None


@final
class Scene:
    """Devices and anchors in one room. An anchor answers always, a device while it is in the same session."""

    def __init__(
        self,
        random: Callable[[], float],
        places: Mapping[bytes, Position] | None = None,
        *,
        anchors: Sequence[bytes] = (),
        loss: float = 0.0,
    ) -> None:
        """random(): a number from 0 up to 1. places: where whoever has a MAC address is; others are at the origin."""
        self.places: dict[bytes, Position] = dict(places or {})
        self._anchors = frozenset(anchors)
        self._random = random
        self._loss = loss
        self._active: set[tuple[int, bytes]] = set()

    def enter(self, session_id: int, address: bytes) -> None:
        """A device ranges in this session from now on."""
        self._active.add((session_id, address))

    def leave(self, session_id: int, address: bytes) -> None:
        """It no longer does."""
        self._active.discard((session_id, address))

    def measure(self, request: Request) -> tuple[Outcome, ...]:
        """Play one round between a device and those of its peers that are there."""
        there = [peer for peer in request.peers if peer in self._anchors or (request.session_id, peer) in self._active]
        found = self._round(request, there) if there else {}
        return tuple(Outcome(peer, found.get(peer)) for peer in request.peers)

    def _round(self, request: Request, there: Sequence[bytes]) -> dict[bytes, float]:
        slots = 6 if len(there) + OVERHEAD_SLOTS <= 6 else 12
        grid = Grid(request.sequence * _INDICES % _LAST, len(there), 1, slots, _CHAPS)
        terms = Terms(request.session_id, 0, 0x11, 9, 9, grid, _START_US)
        ursk = AesKey(hmac_tag(request.key.reveal() if request.key else b"", _LABEL), "URSK")
        options = Options(sts_blocks=4)
        air = UwbAir(self._random, loss=self._loss)
        air.join(Initiator(ursk, terms, options=options), self._place(request.address), self._clock(request.address))
        responders = [Responder(ursk, terms, number, options=options) for number in range(len(there))]
        for peer, responder in zip(there, responders, strict=True):
            air.join(responder, self._place(peer), self._clock(peer))
        air.run(0.03)
        return {
            peer: event.distance_m
            for peer, responder in zip(there, responders, strict=True)
            for event in responder.events()
            if isinstance(event, Measured)
        }

    def _place(self, address: bytes) -> Position:
        return self.places.get(address, (0.0, 0.0, 0.0))

    @staticmethod
    def _clock(address: bytes) -> Clock:
        """Every device has a clock of its own, within 10 ppm of the truth."""
        return Clock(int.from_bytes(address, "little") % 21 * _PPM - 10 * _PPM)
