"""Since when the network is in its state of the IV index, over many processes of its owner (MshPRT 3.11.5)."""

from __future__ import annotations

from typing import Final

import msgspec

from keywright.mesh.database.network import NetworkDatabase
from keywright.mesh.network.iv_index import IvState

_NAME: Final = "iv_since"


class _Since(msgspec.Struct, frozen=True, array_like=True):
    state: IvState
    since: float


def iv_since(database: NetworkDatabase, now: float) -> float:
    """When the state that the network's memory has now began, seconds since 1970; `now` if that was not known.

    What was not known is written: from then on the 96 hours count. Raises StoreError. now: seconds since 1970.
    """
    kept = database.memory.load(_NAME)
    known = msgspec.msgpack.decode(kept, type=_Since) if kept else None
    if known is not None and known.state == database.iv_state and known.since <= now:
        return known.since
    database.memory.commit({_NAME: msgspec.msgpack.encode(_Since(database.iv_state, now))})
    return now
