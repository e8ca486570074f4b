"""Key refresh over all nodes of a network, and the removal of a node, which needs one (MshPRT 3.11.4, 3.11.7).

Dialogues over the network's memory: who is through with which phase is written before the next is asked, so that after
a crash `refresh_keys` goes on where it was. A node that is silent stops the phase, by name, or is left out on demand.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Final

import msgspec

from keywright.errors import KeywrightError, LinkError, PolicyError, StatusError, UsageError
from keywright.mesh.database.cdb import NodeEntry, uuid_bytes
from keywright.mesh.database.keys import (
    NewKeys,
    Refresh,
    app_keys_to_send,
    begin_refresh,
    next_step,
    nodes_to_reach,
    reached,
    refresh_under_way,
    refreshes_under_way,
)
from keywright.mesh.database.network import NetworkDatabase
from keywright.mesh.ends import RandomBytes
from keywright.mesh.models import configuration as c
from keywright.mesh.models.configuration_client import Dialogue, Patience, Target, ask, reset
from keywright.mesh.models.indexes import pack_indexes

_KEY_OCTETS: Final = 16
_TRANSITIONS: Final = {"switch": 2, "forget": 3}
_WHAT: Final = {
    "distribute": "nodes did not take the new keys (phase 1)",
    "switch": "nodes did not go on to phase 2",
    "forget": "nodes did not go on to phase 3",
}


class Refreshed(msgspec.Struct, frozen=True):
    """The refresh is over. Names of nodes that were left out of it, and why."""

    excluded: tuple[str, ...] = ()
    """They have the old keys alone, and are out of the network."""
    late: tuple[str, ...] = ()
    """They have the new keys, and go on when they hear a beacon of the network."""


def draw_keys(database: NetworkDatabase, net_index: int, random_bytes: RandomBytes) -> NewKeys:
    """A NetKey and the AppKeys bound to it, drawn anew."""
    bound = [key.index for key in database.cdb.app_keys if key.bound_net_key == net_index]
    return NewKeys(random_bytes(_KEY_OCTETS), {index: random_bytes(_KEY_OCTETS) for index in bound})


def refresh_keys(
    database: NetworkDatabase,
    net_index: int,
    *,
    random_bytes: RandomBytes,
    timestamp: str,
    patience: Patience | None = None,
    leave_out_silent: bool = False,
) -> Dialogue[Refreshed]:
    """Replace a NetKey and its AppKeys in every node, or go on with the refresh that is under way.

    leave_out_silent: go on without the nodes that do not answer or refuse. In phase 1 such a node is marked as
    excluded, in the others it follows by beacon. Without it, raises LinkError with their names; the network stays in
    its phase, and the next call asks those nodes again. Raises StoreError.
    """
    refresh = refresh_under_way(database, net_index)
    if refresh is None:
        keys = {net_index: draw_keys(database, net_index, random_bytes)}
        begin_refresh(database, keys, timestamp=timestamp)
        refresh = refresh_under_way(database, net_index)
    excluded: list[str] = []
    late: list[str] = []
    while refresh is not None:
        failed: dict[NodeEntry, KeywrightError] = {}
        for node in nodes_to_reach(database, refresh):
            try:
                yield from _bring(database, refresh, node, patience or Patience())
            except (LinkError, StatusError, PolicyError) as error:  # policy: its device key is not here
                failed[node] = error
            else:
                refresh = reached(database, refresh, uuid_bytes(node.uuid))
        if failed and not leave_out_silent:
            raise _incomplete(refresh, failed)
        names = [_name(node) for node in failed]
        if refresh.step == "distribute":
            for node in failed:
                database.change_node(uuid_bytes(node.uuid), {"excluded": True}, timestamp)
            excluded += names
        else:
            late += [name for name in names if name not in late]
        refresh = next_step(database, refresh, timestamp=timestamp)
    return Refreshed(tuple(excluded), tuple(late))


def remove_node(
    database: NetworkDatabase,
    uuid: bytes,
    *,
    random_bytes: RandomBytes,
    timestamp: str,
    patience: Patience | None = None,
    leave_out_silent: bool = False,
) -> Dialogue[Refreshed]:
    """Remove a node: reset it if it answers, forget it, and refresh every key it had in the others (MshPRT 3.11.7).

    New keys are written before the node is told anything: cut anywhere, the next call or `refresh_keys` goes on.
    Raises UsageError for no node, or when one of its keys is being refreshed already, and as `refresh_keys`.
    """
    node = database.node(uuid)
    if node is None:
        raise UsageError("no such node in this network")
    indexes = [key.index for key in node.net_keys]
    if not node.excluded:
        keys = {index: draw_keys(database, index, random_bytes) for index in indexes}
        begin_refresh(database, keys, timestamp=timestamp, excluded=(uuid,))
    # Gone, not willing, or without a device key here: that is why its keys go.
    with contextlib.suppress(LinkError, StatusError, PolicyError):
        yield from reset(Target(node.address, indexes[0] if indexes else 0, patience or Patience()))
    database.remove(uuid, timestamp)
    excluded: list[str] = []
    late: list[str] = []
    for index in [index for index in indexes if index in refreshes_under_way(database)]:
        part = yield from refresh_keys(
            database,
            index,
            random_bytes=random_bytes,
            timestamp=timestamp,
            patience=patience,
            leave_out_silent=leave_out_silent,
        )
        excluded += part.excluded
        late += part.late
    return Refreshed(tuple(excluded), tuple(late))


def _bring(database: NetworkDatabase, refresh: Refresh, node: NodeEntry, patience: Patience) -> Dialogue[None]:
    """Bring one node through a phase; every message of it may be sent again."""
    target = Target(node.address, refresh.net_index, patience)
    if refresh.step != "distribute":
        yield from ask(target, c.KeyRefreshPhaseSet(refresh.net_index, _TRANSITIONS[refresh.step]))
        return
    key = next(key.key for key in database.cdb.net_keys if key.index == refresh.net_index)
    yield from ask(target, c.NetKeyUpdate(refresh.net_index, bytes.fromhex(key)))
    for index, app_key in app_keys_to_send(database, refresh, node).items():
        yield from ask(target, c.AppKeyUpdate(pack_indexes(refresh.net_index, index), app_key))


def _incomplete(refresh: Refresh, failed: Mapping[NodeEntry, KeywrightError]) -> LinkError:
    reasons = "; ".join(f"{_name(node)}: {error}" for node, error in failed.items())
    return LinkError(
        f"key refresh of NetKey {refresh.net_index}: {_WHAT[refresh.step]}, {len(failed)} of them: {reasons}",
        hint="call again when they are in reach, or leave them out",
    )


def _name(node: NodeEntry) -> str:
    return f"{node.name or node.uuid} at {node.unicast_address}"
