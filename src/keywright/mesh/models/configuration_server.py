"""The Configuration Server: how a node answers whoever has its device key (MshPRT 4.4.1).

A responder over access messages: one table from message to what answers it. What a message changes is in memory before
its answer leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias, final

from keywright.codec.record import LittleRecord
from keywright.errors import DecodeError, StoreError
from keywright.mesh.models import configuration as c
from keywright.mesh.models.configuration import Status, pack_index_list, unpack_indexes
from keywright.mesh.models.state import AppKeyState, ModelState, NetKeyState, NodeMemory, NodeState, Publication
from keywright.mesh.network.access import AccessMessage
from keywright.mesh.network.keyring import DISTRIBUTING, NORMAL, SWITCHED
from keywright.mesh.network.keys import virtual_address
from keywright.mesh.network.pdu import ALL_NODES, GROUP_FIRST, UNASSIGNED, UNICAST_LAST, VIRTUAL_FIRST

Answer: TypeAlias = LittleRecord | None
_NOT_SUPPORTED: Final = 2
"""State of a feature that a node does not have."""
_TTL_LAST: Final = 0x7F
_TTL_DEFAULT: Final = 0xFF
_INDEX_MASK: Final = 0x0FFF
_SWITCH: Final = 2
_FORGET: Final = 3


@final
class ConfigurationServer:
    """Responder: Configuration messages in, their answers out."""

    def __init__(self, memory: NodeMemory) -> None:
        self._memory = memory

    def handle(self, access: AccessMessage, net_index: int) -> AccessMessage | None:
        """The answer to a message that came over the network `net_index`; None if it has none, or is none.

        A prohibited value is passed over without an answer (MshPRT 3.7.3.1). A memory that takes nothing is answered
        with `STORAGE_FAILURE` where the answer has a status.
        """
        if self._memory.state is None:
            return None
        try:
            message = c.parse_message(access)
        except DecodeError:
            return None
        handler = TABLE.get(type(message))
        if handler is None:
            return None
        answer = handler(self, message, net_index)
        return None if answer is None else c.build_message(answer)

    # ---- what the handlers use --------------------------------------------------------------------------------

    @property
    def _state(self) -> NodeState:
        assert self._memory.state is not None  # `handle` asks a node alone
        return self._memory.state

    def _saved(self, status: int) -> int:
        """The status, once what was changed is in memory."""
        if status:
            return status
        try:
            self._memory.save()
        except StoreError:
            self._memory.undo()
            return Status.STORAGE_FAILURE
        return status

    # ---- simple states ----------------------------------------------------------------------------------------

    def _composition(self, message: c.CompositionDataGet, _: int) -> Answer:
        # There is page 0 alone; any higher one is answered with the highest below it (MshPRT 4.4.1.2.2).
        del message
        return c.CompositionDataStatus(0, self._memory.composition.build())

    def _beacon(self, message: c.BeaconGet | c.BeaconSet, _: int) -> Answer:
        if isinstance(message, c.BeaconSet):
            if message.beacon > 1:
                return None
            self._state.beacon = message.beacon
            self._saved(Status.SUCCESS)
        return c.BeaconStatus(self._state.beacon)

    def _ttl(self, message: c.DefaultTtlGet | c.DefaultTtlSet, _: int) -> Answer:
        if isinstance(message, c.DefaultTtlSet):
            if message.ttl == 1 or message.ttl > _TTL_LAST:
                return None
            self._state.ttl = message.ttl
            self._saved(Status.SUCCESS)
        return c.DefaultTtlStatus(self._state.ttl)

    def _transmit(self, message: c.NetworkTransmitGet | c.NetworkTransmitSet, _: int) -> Answer:
        if isinstance(message, c.NetworkTransmitSet):
            self._state.network_transmit = message.transmit
            self._saved(Status.SUCCESS)
        return c.NetworkTransmitStatus(self._state.network_transmit)

    def _friend(self, message: c.FriendGet | c.FriendSet, _: int) -> Answer:
        return None if isinstance(message, c.FriendSet) and message.friend > 1 else c.FriendStatus(_NOT_SUPPORTED)

    def _proxy(self, message: c.GattProxyGet | c.GattProxySet, _: int) -> Answer:
        return None if isinstance(message, c.GattProxySet) and message.proxy > 1 else c.GattProxyStatus(_NOT_SUPPORTED)

    def _relay(self, message: c.RelayGet | c.RelaySet, _: int) -> Answer:
        if isinstance(message, c.RelaySet) and message.relay > 1:
            return None
        return c.RelayStatus(_NOT_SUPPORTED, self._state.relay_retransmit)

    # ---- network keys -----------------------------------------------------------------------------------------

    def _net_key_add(self, message: c.NetKeyAdd, _: int) -> Answer:
        index, keys = message.net_index, self._state.net_keys
        if index > _INDEX_MASK:
            return None
        if index in keys:
            status = Status.SUCCESS if keys[index].key == message.key else Status.KEY_INDEX_ALREADY_STORED
        elif len(keys) >= self._memory.keys_room:
            status = Status.INSUFFICIENT_RESOURCES
        else:
            keys[index] = NetKeyState(message.key)
            status = self._saved(Status.SUCCESS)
        return c.NetKeyStatus(status, index)

    def _net_key_update(self, message: c.NetKeyUpdate, _: int) -> Answer:
        index = message.net_index
        if index > _INDEX_MASK:
            return None
        found = self._state.net_keys.get(index)
        if found is None:
            return c.NetKeyStatus(Status.INVALID_NETKEY_INDEX, index)
        if found.phase == DISTRIBUTING and found.new_key == message.key:
            return c.NetKeyStatus(Status.SUCCESS, index)
        if found.phase != NORMAL or found.key == message.key:
            return c.NetKeyStatus(Status.CANNOT_UPDATE, index)
        found.new_key, found.phase = message.key, DISTRIBUTING
        return c.NetKeyStatus(self._saved(Status.SUCCESS), index)

    def _net_key_delete(self, message: c.NetKeyDelete, net_index: int) -> Answer:
        index, state = message.net_index, self._state
        if index > _INDEX_MASK:
            return None
        if index == net_index or (len(state.net_keys) == 1 and index in state.net_keys):
            # The message came under this key, so it cannot be the one to go (MshPRT 4.4.1.2.10).
            return c.NetKeyStatus(Status.CANNOT_REMOVE, index)
        if state.net_keys.pop(index, None) is None:
            return c.NetKeyStatus(Status.SUCCESS, index)
        for app_index in [one for one, key in state.app_keys.items() if key.net_index == index]:
            self._forget_app_key(app_index)
        return c.NetKeyStatus(self._saved(Status.SUCCESS), index)

    def _net_key_list(self, _message: c.NetKeyGet, _: int) -> Answer:
        return c.NetKeyList(pack_index_list(tuple(self._state.net_keys)))

    def _phase(self, message: c.KeyRefreshPhaseGet | c.KeyRefreshPhaseSet, _: int) -> Answer:
        index = message.net_index
        if index > _INDEX_MASK:
            return None
        found = self._state.net_keys.get(index)
        if found is None:
            return c.KeyRefreshPhaseStatus(Status.INVALID_NETKEY_INDEX, index, NORMAL)
        status = Status.SUCCESS
        if isinstance(message, c.KeyRefreshPhaseSet):
            if message.transition not in {_SWITCH, _FORGET} or (message.transition, found.phase) == (_SWITCH, NORMAL):
                return None
            if message.transition == _SWITCH:
                found.phase = SWITCHED
            else:
                self._finish_refresh(index, found)
            status = self._saved(status)
        return c.KeyRefreshPhaseStatus(status, index, self._state.net_keys[index].phase)

    def _finish_refresh(self, index: int, found: NetKeyState) -> None:
        if found.phase == NORMAL:
            return
        found.key, found.new_key, found.phase = found.new_key, b"", NORMAL
        for key in self._state.app_keys.values():
            if key.net_index == index and key.new_key:
                key.key, key.new_key = key.new_key, b""

    def _identity(self, message: c.NodeIdentityGet | c.NodeIdentitySet, _: int) -> Answer:
        index = message.net_index
        if index > _INDEX_MASK or (isinstance(message, c.NodeIdentitySet) and message.identity > 1):
            return None
        known = index in self._state.net_keys
        # Advertising an identity needs a proxy, which this node is not.
        status = Status.SUCCESS if known else Status.INVALID_NETKEY_INDEX
        return c.NodeIdentityStatus(status, index, _NOT_SUPPORTED if known else 0)

    # ---- application keys -------------------------------------------------------------------------------------

    def _app_key_add(self, message: c.AppKeyAdd, _: int) -> Answer:
        net_index, index = unpack_indexes(message.indexes)
        keys, found = self._state.app_keys, self._state.app_keys.get(index)
        if net_index not in self._state.net_keys:
            status = Status.INVALID_NETKEY_INDEX
        elif found is not None:
            same = (found.net_index, found.key) == (net_index, message.key)
            other_net = found.net_index != net_index
            stored = Status.INVALID_NETKEY_INDEX if other_net else Status.KEY_INDEX_ALREADY_STORED
            status = Status.SUCCESS if same else stored
        elif len(keys) >= self._memory.keys_room:
            status = Status.INSUFFICIENT_RESOURCES
        else:
            keys[index] = AppKeyState(net_index, message.key)
            status = self._saved(Status.SUCCESS)
        return c.AppKeyStatus(status, message.indexes)

    def _app_key_update(self, message: c.AppKeyUpdate, _: int) -> Answer:
        net_index, index = unpack_indexes(message.indexes)
        net, found = self._state.net_keys.get(net_index), self._state.app_keys.get(index)
        if net is None:
            status = Status.INVALID_NETKEY_INDEX
        elif found is None:
            status = Status.INVALID_APPKEY_INDEX
        elif found.net_index != net_index:
            status = Status.INVALID_BINDING
        elif net.phase == DISTRIBUTING and found.new_key == message.key:
            status = Status.SUCCESS
        elif net.phase != DISTRIBUTING or found.new_key:
            status = Status.CANNOT_UPDATE
        else:
            found.new_key = message.key
            status = self._saved(Status.SUCCESS)
        return c.AppKeyStatus(status, message.indexes)

    def _app_key_delete(self, message: c.AppKeyDelete, _: int) -> Answer:
        net_index, index = unpack_indexes(message.indexes)
        found = self._state.app_keys.get(index)
        if net_index not in self._state.net_keys:
            return c.AppKeyStatus(Status.INVALID_NETKEY_INDEX, message.indexes)
        if found is None:
            return c.AppKeyStatus(Status.SUCCESS, message.indexes)
        if found.net_index != net_index:
            return c.AppKeyStatus(Status.INVALID_NETKEY_INDEX, message.indexes)
        self._forget_app_key(index)
        return c.AppKeyStatus(self._saved(Status.SUCCESS), message.indexes)

    def _app_key_list(self, message: c.AppKeyGet, _: int) -> Answer:
        index = message.net_index
        if index > _INDEX_MASK:
            return None
        if index not in self._state.net_keys:
            return c.AppKeyList(Status.INVALID_NETKEY_INDEX, index, b"")
        bound = tuple(one for one, key in self._state.app_keys.items() if key.net_index == index)
        return c.AppKeyList(Status.SUCCESS, index, pack_index_list(bound))

    def _forget_app_key(self, index: int) -> None:
        del self._state.app_keys[index]
        for model in self._state.models.values():
            if index in model.bindings:
                model.bindings.remove(index)
            if model.publication.address and model.publication.app_index == index:
                model.publication = Publication()

    # ---- models -----------------------------------------------------------------------------------------------

    def _element_status(self, element: int) -> int:
        place = element - self._state.address
        return Status.SUCCESS if 0 <= place < len(self._memory.composition.elements) else Status.INVALID_ADDRESS

    def _model(self, element: int, model: bytes) -> tuple[int, ModelState]:
        status = self._element_status(element)
        found = self._memory.model(element, model)
        if found is None:
            return status or Status.INVALID_MODEL, ModelState()
        return Status.SUCCESS, found

    def _bind(self, message: c.ModelAppBind | c.ModelAppUnbind, _: int) -> Answer:
        if not UNASSIGNED < message.element <= UNICAST_LAST or message.app_index > _INDEX_MASK:
            return None
        status, model = self._model(message.element, message.model)
        index = message.app_index
        if not status and index not in self._state.app_keys:
            status = Status.INVALID_APPKEY_INDEX
        if not status and message.model == b"\x00\x00":
            status = Status.CANNOT_BIND  # the Configuration Server is under the device key alone
        if not status:
            if isinstance(message, c.ModelAppBind):
                if index not in model.bindings:
                    model.bindings.append(index)
            elif index in model.bindings:
                model.bindings.remove(index)
                if model.publication.address and model.publication.app_index == index:
                    model.publication = Publication()
            status = self._saved(status)
        return c.ModelAppStatus(status, message.element, index, message.model)

    def _publish(self, message: c.PublicationGet | c.PublicationSet | c.PublicationVirtualAddressSet, _: int) -> Answer:
        status, model = self._model(message.element, message.model)
        if status:
            return c.PublicationStatus(status, message.element, 0, 0, 0, 0, 0, message.model)
        if not isinstance(message, c.PublicationGet):
            if _TTL_LAST < message.ttl < _TTL_DEFAULT:
                return None
            status = self._set_publication(message, model)
            if status:
                return c.PublicationStatus(status, message.element, 0, 0, 0, 0, 0, message.model)
        _, model = self._model(message.element, message.model)
        now = model.publication
        return c.PublicationStatus(
            status, message.element, now.address, now.app_index, now.ttl, now.period, now.retransmit, message.model
        )

    def _set_publication(self, message: c.PublicationSet | c.PublicationVirtualAddressSet, model: ModelState) -> int:
        label = message.label if isinstance(message, c.PublicationVirtualAddressSet) else b""
        address = virtual_address(label) if label else getattr(message, "address", 0)
        if not label and VIRTUAL_FIRST <= address < GROUP_FIRST:
            return Status.INVALID_ADDRESS
        if message.app_index > _INDEX_MASK:
            return Status.FEATURE_NOT_SUPPORTED  # friendship credentials
        if address == UNASSIGNED:
            model.publication = Publication()
            return self._saved(Status.SUCCESS)
        if message.app_index not in self._state.app_keys or message.app_index not in model.bindings:
            return Status.INVALID_APPKEY_INDEX
        model.publication = Publication(
            address, message.app_index, message.ttl, message.period, message.retransmit, label
        )
        return self._saved(Status.SUCCESS)

    def _subscribe(self, message: Any, _: int) -> Answer:
        label: bytes = getattr(message, "label", b"")
        address: int = virtual_address(label) if label else getattr(message, "address", UNASSIGNED)
        status, model = self._model(message.element, message.model)
        clears = isinstance(message, c.SubscriptionDeleteAll)
        if not status and message.model == b"\x00\x00":
            status = Status.NOT_A_SUBSCRIBE_MODEL
        if not status and not clears and not label and (address < GROUP_FIRST or address == ALL_NODES):
            status = Status.INVALID_ADDRESS
        if not status:
            _change_subscription(message, model, address, label)
            status = self._saved(status)
        return c.SubscriptionStatus(status, message.element, address, message.model)

    # ---- the end ----------------------------------------------------------------------------------------------

    def _reset(self, _message: c.NodeReset, _: int) -> Answer:
        """The node forgets when its answer is sealed; see `node.Node`."""
        return c.NodeResetStatus()


def _change_subscription(message: Any, model: ModelState, address: int, label: bytes) -> None:
    if isinstance(message, c.SubscriptionDeleteAll | c.SubscriptionOverwrite | c.SubscriptionVirtualAddressOverwrite):
        model.subscriptions.clear()
        model.labels.clear()
    if isinstance(message, c.SubscriptionDelete | c.SubscriptionVirtualAddressDelete):
        model.subscriptions[:] = [one for one in model.subscriptions if one != address or label]
        model.labels[:] = [one for one in model.labels if one != label]
    elif label:
        model.labels[:] = [*dict.fromkeys([*model.labels, label])]
    elif address != UNASSIGNED:
        model.subscriptions[:] = [*dict.fromkeys([*model.subscriptions, address])]


S = ConfigurationServer
TABLE: Final[Mapping[type[LittleRecord], Callable[[ConfigurationServer, Any, int], Answer]]] = {
    c.CompositionDataGet: S._composition,
    c.BeaconGet: S._beacon,
    c.BeaconSet: S._beacon,
    c.DefaultTtlGet: S._ttl,
    c.DefaultTtlSet: S._ttl,
    c.NetworkTransmitGet: S._transmit,
    c.NetworkTransmitSet: S._transmit,
    c.FriendGet: S._friend,
    c.FriendSet: S._friend,
    c.GattProxyGet: S._proxy,
    c.GattProxySet: S._proxy,
    c.RelayGet: S._relay,
    c.RelaySet: S._relay,
    c.NetKeyAdd: S._net_key_add,
    c.NetKeyUpdate: S._net_key_update,
    c.NetKeyDelete: S._net_key_delete,
    c.NetKeyGet: S._net_key_list,
    c.KeyRefreshPhaseGet: S._phase,
    c.KeyRefreshPhaseSet: S._phase,
    c.NodeIdentityGet: S._identity,
    c.NodeIdentitySet: S._identity,
    c.AppKeyAdd: S._app_key_add,
    c.AppKeyUpdate: S._app_key_update,
    c.AppKeyDelete: S._app_key_delete,
    c.AppKeyGet: S._app_key_list,
    c.ModelAppBind: S._bind,
    c.ModelAppUnbind: S._bind,
    c.PublicationGet: S._publish,
    c.PublicationSet: S._publish,
    c.PublicationVirtualAddressSet: S._publish,
    c.SubscriptionAdd: S._subscribe,
    c.SubscriptionDelete: S._subscribe,
    c.SubscriptionDeleteAll: S._subscribe,
    c.SubscriptionOverwrite: S._subscribe,
    c.SubscriptionVirtualAddressAdd: S._subscribe,
    c.SubscriptionVirtualAddressDelete: S._subscribe,
    c.SubscriptionVirtualAddressOverwrite: S._subscribe,
    c.NodeReset: S._reset,
}
"""Which message is answered by what."""
