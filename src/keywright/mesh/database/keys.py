"""The keys of a network in its memory: the keyring of its owner, new AppKeys, and how far a key refresh is.

The document has no place for how far a refresh is within a phase, so that is a value beside it, written together with
it: after a crash the refresh goes on with the nodes that were not reached.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import msgspec

from keywright.errors import UsageError
from keywright.mesh.database.cdb import NodeEntry, uuid_bytes
from keywright.mesh.database.network import NetworkDatabase
from keywright.mesh.network.iv_index import IvIndex
from keywright.mesh.network.keyring import DISTRIBUTING, NORMAL, SWITCHED, Application, Keyring, Subnet
from keywright.mesh.network.keys import AppKey, NetKey
from keywright.mesh.network.stack import Stack

Step: TypeAlias = Literal["distribute", "switch", "forget"]
_NEXT: Final[dict[Step, Step | None]] = {"distribute": "switch", "switch": "forget", "forget": None}
_REFRESH: Final = "refresh/"


class Refresh(msgspec.Struct, frozen=True):
    """A key refresh under way: which of its three phases, and the UUIDs of the nodes that are through with it."""

    net_index: int
    step: Step
    done: tuple[bytes, ...] = ()


def keyring(database: NetworkDatabase) -> Keyring:
    """The keys of the network as its owner uses them now: both during a key refresh, and every device key."""
    ring = Keyring()
    for net in database.cdb.net_keys:
        key = NetKey(bytes.fromhex(net.key))
        if net.phase != NORMAL and net.old_key:
            ring.subnets[net.index] = Subnet(NetKey(bytes.fromhex(net.old_key)), key, net.phase)
        else:
            ring.subnets[net.index] = Subnet(key)
    for app in database.cdb.app_keys:
        new = AppKey(bytes.fromhex(app.key))
        in_refresh = app.old_key and ring.subnets[app.bound_net_key].phase != NORMAL
        old = AppKey(bytes.fromhex(app.old_key)) if in_refresh and app.old_key else None
        ring.applications[app.index] = Application(app.bound_net_key, old or new, new if old else None)
    for node in database.cdb.nodes:
        if node.device_key:
            ring.device_keys[node.address] = AppKey(bytes.fromhex(node.device_key), is_device_key=True)
    return ring


def owner_stack(database: NetworkDatabase, now: float, *, iv_since: float | None = None) -> Stack:
    """The stack that the network's owner asks its nodes with; sequence numbers and IV index are in the same memory.

    iv_since: when the state of the IV index began, on the clock of `now`; None: now.
    """
    return Stack(
        database.memory,
        address=database.own_address(),
        elements=1,
        keyring=keyring(database),
        iv_index=IvIndex(database.memory, database.iv_state, now, since=iv_since),
    )


def app_key(database: NetworkDatabase, index: int) -> tuple[int, bytes]:
    """The NetKey index and the octets of an AppKey, the old ones in phase 1. Raises UsageError for one not here."""
    for key in database.cdb.app_keys:
        if key.index == index:
            old = key.old_key if _phase(database, key.bound_net_key) == DISTRIBUTING else None
            return key.bound_net_key, bytes.fromhex(old or key.key)
    known = ", ".join(f"{key.index}" for key in database.cdb.app_keys) or "none"
    raise UsageError(f"the network has no AppKey with index {index}", hint=f"it has: {known}")


def app_key_for(database: NetworkDatabase, uuid: bytes, index: int) -> tuple[int, bytes]:
    """As `app_key`, for one node. Raises UsageError also for a node that has the new keys of a refresh in phase 1.

    It takes an AppKey with the key that is in use, and would not be sent the new one of it any more.
    """
    bound, key = app_key(database, index)
    refresh = refresh_under_way(database, bound)
    if refresh is not None and refresh.step == "distribute" and uuid in refresh.done:
        raise UsageError(
            f"NetKey {bound:03X} is being refreshed, and the node has its new keys already",
            hint="let the refresh go on first: keywright mesh network refresh",
        )
    return bound, key


def add_app_key(
    database: NetworkDatabase, index: int, key: bytes, *, timestamp: str, net_index: int = 0, name: str = ""
) -> None:
    """Give the network an AppKey. key: 16 random octets. Raises DecodeError for an index in use or none, StoreError."""
    entry = {"name": name or f"key {index}", "index": index, "key": key.hex().upper(), "boundNetKey": net_index}
    database.write({"appKeys": [*database.document.get("appKeys", []), entry], "timestamp": timestamp})


# ---- key refresh --------------------------------------------------------------------------------------------------


def refresh_under_way(database: NetworkDatabase, net_index: int) -> Refresh | None:
    """How far the refresh of a NetKey is, None if none is under way."""
    kept = database.memory.load(f"{_REFRESH}{net_index}")
    return msgspec.msgpack.decode(kept, type=Refresh) if kept else None


def refreshes_under_way(database: NetworkDatabase) -> list[int]:
    """Indexes of the NetKeys that are being refreshed."""
    return sorted(int(name[len(_REFRESH) :]) for name in database.memory.names() if name.startswith(_REFRESH))


class NewKeys(NamedTuple):
    """What a NetKey and the AppKeys bound to it, by index, are replaced by."""

    net_key: bytes
    app_keys: Mapping[int, bytes]

    def __repr__(self) -> str:
        return f"<NewKeys, {len(self.app_keys)} AppKeys>"


def begin_refresh(
    database: NetworkDatabase,
    keys: Mapping[int, NewKeys],
    *,
    timestamp: str,
    excluded: Iterable[bytes] = (),
) -> None:
    """Phase 1 of one or several NetKeys, at once: write the new keys beside the old ones.

    keys: by NetKey index. excluded: UUIDs of the nodes that are not to get them. Raises UsageError if one of the
    NetKeys is being refreshed already.
    """
    for net_index in keys:
        if refresh_under_way(database, net_index) is not None or _phase(database, net_index) != NORMAL:
            raise UsageError(f"NetKey {net_index} is being refreshed already", hint="let that refresh end first")
    document, out = database.document, set(excluded)
    new = {index: key for part in keys.values() for index, key in part.app_keys.items()}
    net_keys = [
        {**_replaced(one, keys[one["index"]].net_key), "phase": DISTRIBUTING, "timestamp": timestamp}
        if one["index"] in keys
        else one
        for one in document["netKeys"]
    ]
    app_keys = [
        _replaced(one, new[one["index"]]) if one["index"] in new else one for one in document.get("appKeys", [])
    ]
    nodes = document.get("nodes", [])
    for net_index, part in keys.items():
        nodes = [_with_updated(node, net_index, set(part.app_keys), updated=False) for node in nodes]
    nodes = [{**node, "excluded": True} if uuid_bytes(node["UUID"]) in out else node for node in nodes]
    database.write(
        {"netKeys": net_keys, "appKeys": app_keys, "nodes": nodes, "timestamp": timestamp},
        {f"{_REFRESH}{index}": msgspec.msgpack.encode(Refresh(index, "distribute")) for index in keys},
    )


def _replaced(entry: dict[str, Any], key: bytes) -> dict[str, Any]:
    return {**entry, "oldKey": entry["key"], "key": key.hex().upper()}


def nodes_to_reach(database: NetworkDatabase, refresh: Refresh) -> list[NodeEntry]:
    """The nodes that are not through with this phase."""
    return [
        node
        for node in database.cdb.nodes
        if any(key.index == refresh.net_index for key in node.net_keys)
        and not node.excluded
        and uuid_bytes(node.uuid) not in refresh.done
    ]


def app_keys_to_send(database: NetworkDatabase, refresh: Refresh, node: NodeEntry) -> dict[int, bytes]:
    """The new AppKeys that a node has to get in phase 1."""
    held = {key.index for key in node.app_keys}
    return {
        key.index: bytes.fromhex(key.key)
        for key in database.cdb.app_keys
        if key.bound_net_key == refresh.net_index and key.old_key and key.index in held
    }


def reached(database: NetworkDatabase, refresh: Refresh, uuid: bytes) -> Refresh:
    """A node is through with this phase."""
    after = Refresh(refresh.net_index, refresh.step, (*refresh.done, uuid))
    nodes = database.document["nodes"]
    if refresh.step == "distribute":
        apps = {key.index for key in database.cdb.app_keys if key.bound_net_key == refresh.net_index}
        nodes = [
            _with_updated(node, refresh.net_index, apps, updated=True) if uuid_bytes(node["UUID"]) == uuid else node
            for node in nodes
        ]
    database.write({"nodes": nodes}, {f"{_REFRESH}{refresh.net_index}": msgspec.msgpack.encode(after)})
    return after


def next_step(database: NetworkDatabase, refresh: Refresh, *, timestamp: str) -> Refresh | None:
    """Every node is through with this phase, or given up: the next one, None after the last."""
    step = _NEXT[refresh.step]
    after = None if step is None else Refresh(refresh.net_index, step)
    changes: dict[str, Any] = {"phase": NORMAL if step is None else SWITCHED, "timestamp": timestamp}
    net_keys = [
        _without_old({**one, **changes}, is_over=step is None) if one["index"] == refresh.net_index else one
        for one in database.document["netKeys"]
    ]
    app_keys = [
        _without_old(one, is_over=step is None and one["boundNetKey"] == refresh.net_index)
        for one in database.document.get("appKeys", [])
    ]
    fields = {"netKeys": net_keys, "appKeys": app_keys, "timestamp": timestamp}
    name = f"{_REFRESH}{refresh.net_index}"
    database.write(fields, {name: None if after is None else msgspec.msgpack.encode(after)})
    return after


def _without_old(entry: dict[str, Any], *, is_over: bool) -> dict[str, Any]:
    return {name: value for name, value in entry.items() if name != "oldKey" or not is_over}


def _with_updated(node: dict[str, Any], net_index: int, apps: set[int], *, updated: bool) -> dict[str, Any]:
    nets = [{**one, "updated": updated} if one["index"] == net_index else one for one in node.get("netKeys", [])]
    held = [{**one, "updated": updated} if one["index"] in apps else one for one in node.get("appKeys", [])]
    return {**node, "netKeys": nets, "appKeys": held}


def _phase(database: NetworkDatabase, net_index: int) -> int:
    return next((key.phase for key in database.cdb.net_keys if key.index == net_index), NORMAL)
