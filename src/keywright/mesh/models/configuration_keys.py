"""How a node answers about its keys: add, update, delete, list, and the phases of a key refresh (MshPRT 4.4.1.2).

What a message changes is in memory before its answer leaves.
"""

from __future__ import annotations

from typing import Final

from keywright.crypto.compare import equal
from keywright.mesh.models import configuration as c
from keywright.mesh.models.configuration import Status
from keywright.mesh.models.indexes import pack_index_list, unpack_indexes
from keywright.mesh.models.state import AppKeyState, NetKeyState, NodeMemory, Publication, saved, state_of
from keywright.mesh.network.keyring import DISTRIBUTING, NORMAL, SWITCHED

_INDEX_MASK: Final = 0x0FFF
_NOT_SUPPORTED: Final = 2
_SWITCH: Final = 2
_FORGET: Final = 3


def net_key_add(node: NodeMemory, message: c.NetKeyAdd, _: int) -> c.Message | None:
    """NetKey Add: a key that is here already is no error, another one with its index is."""
    index, keys = message.net_index, state_of(node).net_keys
    if index > _INDEX_MASK:
        return None
    if index in keys:
        status = Status.SUCCESS if equal(keys[index].key, message.key) else Status.KEY_INDEX_ALREADY_STORED
    elif len(keys) >= node.keys_room:
        status = Status.INSUFFICIENT_RESOURCES
    else:
        keys[index] = NetKeyState(message.key)
        status = saved(node, Status.SUCCESS)
    return c.NetKeyStatus(status, index)


def net_key_update(node: NodeMemory, message: c.NetKeyUpdate, _: int) -> c.Message | None:
    """NetKey Update: begins a key refresh, phase 1."""
    index = message.net_index
    if index > _INDEX_MASK:
        return None
    found = state_of(node).net_keys.get(index)
    if found is None:
        return c.NetKeyStatus(Status.INVALID_NETKEY_INDEX, index)
    if found.phase == DISTRIBUTING and equal(found.new_key, message.key):
        return c.NetKeyStatus(Status.SUCCESS, index)
    if found.phase != NORMAL or equal(found.key, message.key):
        return c.NetKeyStatus(Status.CANNOT_UPDATE, index)
    found.new_key, found.phase = message.key, DISTRIBUTING
    return c.NetKeyStatus(saved(node, Status.SUCCESS), index)


def net_key_delete(node: NodeMemory, message: c.NetKeyDelete, net_index: int) -> c.Message | None:
    """NetKey Delete: with the AppKeys bound to it, but never the key that the message came under."""
    index, state = message.net_index, state_of(node)
    if index > _INDEX_MASK:
        return None
    if index == net_index or (len(state.net_keys) == 1 and index in state.net_keys):
        # The message came under this key, so it cannot be the one to go (MshPRT 4.4.1.2.10).
        return c.NetKeyStatus(Status.CANNOT_REMOVE, index)
    if state.net_keys.pop(index, None) is None:
        return c.NetKeyStatus(Status.SUCCESS, index)
    for app_index in [one for one, key in state.app_keys.items() if key.net_index == index]:
        _forget_app_key(node, app_index)
    return c.NetKeyStatus(saved(node, Status.SUCCESS), index)


def net_key_list(node: NodeMemory, _message: c.NetKeyGet, _: int) -> c.Message | None:
    """NetKey Get."""
    return c.NetKeyList(pack_index_list(tuple(state_of(node).net_keys)))


def phase(node: NodeMemory, message: c.KeyRefreshPhaseGet | c.KeyRefreshPhaseSet, _: int) -> c.Message | None:
    """Key Refresh Phase Get and Set."""
    index = message.net_index
    if index > _INDEX_MASK:
        return None
    found = state_of(node).net_keys.get(index)
    if found is None:
        return c.KeyRefreshPhaseStatus(Status.INVALID_NETKEY_INDEX, index, NORMAL)
    status = Status.SUCCESS
    if isinstance(message, c.KeyRefreshPhaseSet):
        if message.transition not in {_SWITCH, _FORGET}:
            return None
        if message.transition == _FORGET:
            finish_refresh(node, index)
        elif found.phase == NORMAL:
            status = Status.CANNOT_UPDATE  # there is no new key to go on to
        else:
            found.phase = SWITCHED
        status = saved(node, status)
    return c.KeyRefreshPhaseStatus(status, index, state_of(node).net_keys[index].phase)


def finish_refresh(node: NodeMemory, index: int) -> None:
    """Phase 3: forget the old NetKey, and the old AppKeys that are bound to it. The caller saves it."""
    found = state_of(node).net_keys[index]
    if found.phase == NORMAL:
        return
    found.key, found.new_key, found.phase = found.new_key, b"", NORMAL
    for key in state_of(node).app_keys.values():
        if key.net_index == index and key.new_key:
            key.key, key.new_key = key.new_key, b""


def identity(node: NodeMemory, message: c.NodeIdentityGet | c.NodeIdentitySet, _: int) -> c.Message | None:
    """Node Identity Get and Set: without a proxy there is nothing to advertise."""
    index = message.net_index
    if index > _INDEX_MASK or (isinstance(message, c.NodeIdentitySet) and message.identity > 1):
        return None
    known = index in state_of(node).net_keys
    status = Status.SUCCESS if known else Status.INVALID_NETKEY_INDEX
    return c.NodeIdentityStatus(status, index, _NOT_SUPPORTED if known else 0)


def app_key_add(node: NodeMemory, message: c.AppKeyAdd, _: int) -> c.Message | None:
    """AppKey Add, as NetKey Add."""
    net_index, index = unpack_indexes(message.indexes)
    keys, found = state_of(node).app_keys, state_of(node).app_keys.get(index)
    if net_index not in state_of(node).net_keys:
        status = Status.INVALID_NETKEY_INDEX
    elif found is not None:
        other_net = found.net_index != net_index
        same = not other_net and equal(found.key, message.key)
        stored = Status.INVALID_NETKEY_INDEX if other_net else Status.KEY_INDEX_ALREADY_STORED
        status = Status.SUCCESS if same else stored
    elif len(keys) >= node.keys_room:
        status = Status.INSUFFICIENT_RESOURCES
    else:
        keys[index] = AppKeyState(net_index, message.key)
        status = saved(node, Status.SUCCESS)
    return c.AppKeyStatus(status, message.indexes)


def app_key_update(node: NodeMemory, message: c.AppKeyUpdate, _: int) -> c.Message | None:
    """AppKey Update, in phase 1 of its network alone."""
    net_index, index = unpack_indexes(message.indexes)
    net, found = state_of(node).net_keys.get(net_index), state_of(node).app_keys.get(index)
    if net is None:
        status = Status.INVALID_NETKEY_INDEX
    elif found is None:
        status = Status.INVALID_APPKEY_INDEX
    elif found.net_index != net_index:
        status = Status.INVALID_BINDING
    elif net.phase == DISTRIBUTING and equal(found.new_key, message.key):
        status = Status.SUCCESS
    elif net.phase != DISTRIBUTING or found.new_key:
        status = Status.CANNOT_UPDATE
    else:
        found.new_key = message.key
        status = saved(node, Status.SUCCESS)
    return c.AppKeyStatus(status, message.indexes)


def app_key_delete(node: NodeMemory, message: c.AppKeyDelete, _: int) -> c.Message | None:
    """AppKey Delete, with everything that uses it."""
    net_index, index = unpack_indexes(message.indexes)
    found = state_of(node).app_keys.get(index)
    if net_index not in state_of(node).net_keys:
        return c.AppKeyStatus(Status.INVALID_NETKEY_INDEX, message.indexes)
    if found is None:
        return c.AppKeyStatus(Status.SUCCESS, message.indexes)
    if found.net_index != net_index:
        return c.AppKeyStatus(Status.INVALID_NETKEY_INDEX, message.indexes)
    _forget_app_key(node, index)
    return c.AppKeyStatus(saved(node, Status.SUCCESS), message.indexes)


def app_key_list(node: NodeMemory, message: c.AppKeyGet, _: int) -> c.Message | None:
    """AppKey Get."""
    index = message.net_index
    if index > _INDEX_MASK:
        return None
    if index not in state_of(node).net_keys:
        return c.AppKeyList(Status.INVALID_NETKEY_INDEX, index, b"")
    bound = tuple(one for one, key in state_of(node).app_keys.items() if key.net_index == index)
    return c.AppKeyList(Status.SUCCESS, index, pack_index_list(bound))


def _forget_app_key(node: NodeMemory, index: int) -> None:
    del state_of(node).app_keys[index]
    for model in state_of(node).models.values():
        if index in model.bindings:
            model.bindings.remove(index)
        if model.publication.address and model.publication.app_index == index:
            model.publication = Publication()
