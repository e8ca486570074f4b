"""The beacons of a node: what it says of its networks, and what it does when it hears others (MshPRT 3.10, 3.11).

Frames are mesh beacons, the content of AD type 2B. A beacon carries the IV index and its update through the network,
and takes along in a key refresh whoever missed a message. The more beacons are heard, the fewer are sent.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, final

from keywright.errors import KeywrightError, SequenceError, StoreError
from keywright.mesh.beacons import (
    PRIVATE,
    SECURE_NETWORK,
    NetworkState,
    open_private,
    open_secure_network,
    private,
    secure_network,
)
from keywright.mesh.ends import RandomBytes
from keywright.mesh.messages import IV_UPDATE, KEY_REFRESH
from keywright.mesh.network.iv_index import LEAST_S, IvState
from keywright.mesh.network.keyring import NORMAL, SWITCHED, Subnet
from keywright.mesh.network.keys import NetKey
from keywright.mesh.network.pdu import SEQ_LAST
from keywright.mesh.network.stack import Stack

INTERVAL_S: Final = 10.0
"""Between two beacons of a network, whoever sends them; a node alone sends each of them (MshPRT 3.10.3.1)."""
LONGEST_S: Final = 600.0
SEQUENCE_RESERVE: Final = SEQ_LAST // 4
"""So few sequence numbers left begin an IV update, which takes 96 hours before the new index is sent under."""
_RANDOM_OCTETS: Final = 13
_PRIMARY: Final = 0


class Kinds(NamedTuple):
    """Which beacons a node sends."""

    secure: bool = False
    private: bool = False


@final
class Beaconing:
    """Endpoint beside a node: its frames are mesh beacons."""

    def __init__(
        self,
        stack: Stack,
        now: float,
        *,
        kinds: Callable[[], Kinds],
        random_bytes: RandomBytes | None = None,
        go_on: Callable[[int, int], None] = lambda _net_index, _phase: None,
        test_mode: bool = False,
        heard: Callable[[int, NetworkState], object] = lambda _net_index, _state: None,
    ) -> None:
        """kinds(): which beacons are sent now. go_on(net_index, phase): a key refresh goes on to this phase.

        heard(net_index, state): what an authenticated beacon of one of its networks says.

        test_mode: the IV index changes without the 96 hours (MshPRT 3.11.5.1); no update begins or ends of itself then.
        """
        self._stack = stack
        self._kinds = kinds
        self._random_bytes = random_bytes
        self._go_on = go_on
        self._test_mode = test_mode
        self._tell_heard = heard
        self._next: dict[int, float] = {}
        self._observed: dict[int, int] = {}
        self._started = now

    def receive(self, data: bytes, now: float) -> None:
        """Take a mesh beacon. Total: what is of no network of this node is passed over."""
        for net_index, subnet in list(self._stack.keyring.subnets.items()):
            for key in subnet.all:
                state = _open(key, data)
                if state is not None:
                    self._observed[net_index] = self._observed.get(net_index, 0) + 1
                    self._tell_heard(net_index, state)
                    # A memory that takes nothing leaves all as it is; the beacon comes again.
                    with contextlib.suppress(StoreError):
                        self._heard(net_index, subnet, key, state, now)
                    return

    def hurry(self, now: float) -> None:
        """Send a beacon of each network at once: what they say has changed."""
        self._next = dict.fromkeys(self._stack.keyring.subnets, now)

    def outgoing(self, now: float) -> Sequence[bytes]:
        """Mesh beacons to send now; also begins and ends IV updates."""
        self._update_iv_index(now)
        frames: list[bytes] = []
        for net_index, subnet in self._stack.keyring.subnets.items():
            if now < self._next.setdefault(net_index, self._started + INTERVAL_S):
                continue
            # MshPRT 3.10.3.1 with an observation period of 20 s, in which 2 beacons are expected.
            interval = INTERVAL_S * (self._observed.pop(net_index, 0) + 1)
            self._next[net_index] = now + min(interval, LONGEST_S)
            frames += self._beacons(subnet)
        return frames

    def deadline(self) -> float | None:
        """When `outgoing` is due."""
        times = [self._next.get(index, self._started + INTERVAL_S) for index in self._stack.keyring.subnets]
        return min(times, default=None)

    def events(self) -> Sequence[object]:
        """Nothing: what happens is in the stack and the memory."""
        return ()

    # ---- out --------------------------------------------------------------------------------------------------

    def _beacons(self, subnet: Subnet) -> list[bytes]:
        kinds, key = self._kinds(), subnet.sending
        state = network_state(subnet, self._stack.iv_index.state)
        frames = [secure_network(key, state)] if kinds.secure else []
        if kinds.private and self._random_bytes is not None:
            frames.append(private(key, state, self._random_bytes(_RANDOM_OCTETS)))
        return frames

    def _update_iv_index(self, now: float) -> None:
        stack, iv = self._stack, self._stack.iv_index
        # A node that came in during an update follows at once, but does not end it of itself (MshPRT 3.11.5).
        if self._test_mode or now < max(iv.may_change_at, self._started + LEAST_S):
            return
        if iv.state.is_updating or (stack.sequence_left < SEQUENCE_RESERVE and self._may_update(_PRIMARY)):
            with contextlib.suppress(SequenceError, StoreError):
                stack.update_iv_index(now)

    # ---- in ---------------------------------------------------------------------------------------------------

    def _heard(self, net_index: int, subnet: Subnet, key: NetKey, state: NetworkState, now: float) -> None:
        if subnet.new_key is not None and key == subnet.new_key:
            phase = SWITCHED if state.flags & KEY_REFRESH else NORMAL
            if phase != subnet.phase:
                self._go_on(net_index, phase)
        if self._may_update(net_index):
            told = IvState(state.iv_index, bool(state.flags & IV_UPDATE))
            self._stack.follow(told, now, test_mode=self._test_mode)

    def _may_update(self, net_index: int) -> bool:
        # Whoever is in the primary network takes the IV index from that alone (MshPRT 3.11.5).
        return net_index == _PRIMARY or _PRIMARY not in self._stack.keyring.subnets


def network_state(subnet: Subnet, iv: IvState) -> NetworkState:
    """What a beacon of this network says now."""
    flags = (KEY_REFRESH if subnet.phase == SWITCHED else 0) | (IV_UPDATE if iv.is_updating else 0)
    return NetworkState(flags, iv.index)


def _open(key: NetKey, data: bytes) -> NetworkState | None:
    openers = {SECURE_NETWORK: open_secure_network, PRIVATE: open_private}
    opener = openers.get(data[0]) if data else None
    if opener is None:
        return None
    try:
        return opener(key, data)
    except KeywrightError:
        return None
