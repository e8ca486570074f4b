"""The IV index of a network and its update (MshPRT 3.11.5, 3.11.6).

Every PDU is sealed under an IV index, so that 24 bits of sequence number are enough. In normal operation a node sends
under its index; while an update is in progress it listens under the new one and still sends under the one before.
"""

from __future__ import annotations

from typing import Final, final

import msgspec

from keywright.errors import SequenceError
from keywright.mesh.network.pdu import IV_INDEX_LAST
from keywright.store.memory import Memory

LEAST_HOURS: Final = 96
"""How long a node stays in each state at least."""
LEAST_S: Final = LEAST_HOURS * 3600.0
FARTHEST: Final = 42
"""How far an index may be ahead for a node to recover (MshPRT 3.11.6)."""
RECOVERY_S: Final = 192 * 3600.0
"""Least time between two recoveries."""
_NAME: Final = "iv_index"


class IvState(msgspec.Struct, frozen=True, array_like=True):
    """The index, and whether its update is in progress."""

    index: int
    is_updating: bool = False

    @property
    def sending(self) -> int:
        """The index that PDUs are sent under."""
        return self.index - 1 if self.is_updating and self.index else self.index


@final
class IvIndex:
    """The IV index as one node has it, in memory before it is used.

    Times are of the endpoint's clock, which begins anew with a process: after a restart the 96 hours begin anew too,
    unless whoever takes it up knows better.
    """

    def __init__(
        self,
        memory: Memory,
        initial: IvState,
        now: float,
        *,
        may_change_at_once: bool = False,
        since: float | None = None,
    ) -> None:
        """may_change_at_once: the index came with provisioning data that said "update in progress" (MshPRT 3.11.5).

        since: when its state began, on the clock of `now`; None: now.
        """
        kept = memory.load(_NAME)
        self.state = msgspec.msgpack.decode(kept, type=IvState) if kept else initial
        self._memory = memory
        self._since = now - LEAST_S if may_change_at_once else now if since is None else since
        self._recovered_at: float | None = None
        if kept is None:
            memory.commit({_NAME: msgspec.msgpack.encode(initial)})

    def begin_update(self, now: float, *, test_mode: bool = False) -> None:
        """Go from normal operation to the update, as a node does that runs out of sequence numbers.

        test_mode: without the 96 hours (MshPRT 3.11.5.1). Raises SequenceError before its time.
        """
        if self.state.is_updating or self.state.index == IV_INDEX_LAST:
            raise SequenceError("an IV update is in progress already, or no index is left")
        self._check_time(now, test_mode=test_mode)
        self._change(IvState(self.state.index + 1, is_updating=True), now)

    def end_update(self, now: float, *, test_mode: bool = False) -> None:
        """Go back to normal operation; from now on PDUs are sent under the new index. Errors as `begin_update`."""
        if not self.state.is_updating:
            raise SequenceError("no IV update is in progress")
        self._check_time(now, test_mode=test_mode)
        self._change(IvState(self.state.index), now)

    @property
    def may_change_at(self) -> float:
        """When the 96 hours of this state are over."""
        return self._since + LEAST_S

    def heard(self, told: IvState, now: float, *, test_mode: bool = False) -> bool:
        """What an authenticated beacon says; gives whether it changed this node's state (MshPRT 3.11.6).

        test_mode: as in `begin_update`.
        """
        mine = self.state
        ahead = told.index - mine.index
        if ahead < 0 or ahead > FARTHEST or (ahead == 0 and told.is_updating):
            return False
        if ahead == 0:
            if not mine.is_updating or self._is_early(now, test_mode=test_mode):
                return False
        elif ahead == 1 and told.is_updating and not mine.is_updating:
            if self._is_early(now, test_mode=test_mode):
                return False
        elif not self._may_recover(now):
            return False
        else:
            self._recovered_at = now
        self._change(told, now)
        return True

    def _may_recover(self, now: float) -> bool:
        return self._recovered_at is None or now - self._recovered_at >= RECOVERY_S

    def _check_time(self, now: float, *, test_mode: bool) -> None:
        if self._is_early(now, test_mode=test_mode):
            raise SequenceError(f"the IV index stays as it is for {LEAST_HOURS} hours (MshPRT 3.11.5)")

    def _is_early(self, now: float, *, test_mode: bool) -> bool:
        return not test_mode and now < self.may_change_at

    def _change(self, state: IvState, now: float) -> None:
        self._memory.commit({_NAME: msgspec.msgpack.encode(state)})
        self.state = state
        self._since = now
