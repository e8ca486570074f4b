"""The Configuration Server: how a node answers whoever has its device key (MshPRT 4.4.1).

A responder over access messages: one table from message to what answers it. What a message changes is in memory before
its answer leaves. Simple states are here, keys and models have a module each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, final

from keywright.codec.record import LittleRecord
from keywright.errors import DecodeError
from keywright.mesh.models import configuration as c
from keywright.mesh.models import configuration_keys as keys
from keywright.mesh.models import configuration_models as models
from keywright.mesh.models.composition import REMOTE_PROVISIONING_SERVER
from keywright.mesh.models.configuration import Status
from keywright.mesh.models.state import NodeMemory, saved, state_of
from keywright.mesh.network.access import LONGEST, AccessMessage

_NOT_SUPPORTED: Final = 2
"""State of a feature that a node does not have."""
_NEXT_PAGE: Final = 128
_TTL_LAST: Final = 0x7F
_PAGE_ROOM: Final = LONGEST - 2
"""Octets of a page in one message: without the opcode and the page number."""


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
        answer = handler(self._memory, message, net_index) if handler is not None else None
        return None if answer is None else c.build_message(answer)


def _composition(node: NodeMemory, message: c.CompositionDataGet, _: int) -> c.Message | None:
    # A page that is not there is answered with the highest below it (MshPRT 4.4.1.2.2). Page 128 is what the node would
    # be made of after a refresh through its provisioning interface.
    if message.page >= _NEXT_PAGE and node.composition.elements[0].has(REMOTE_PROVISIONING_SERVER):
        after = node.next_composition or node.composition
        return c.CompositionDataStatus(_NEXT_PAGE, after.build_within(_PAGE_ROOM))
    return c.CompositionDataStatus(0, node.composition.build_within(_PAGE_ROOM))


def _beacon(node: NodeMemory, message: c.BeaconGet | c.BeaconSet, _: int) -> c.Message | None:
    if isinstance(message, c.BeaconSet):
        if message.beacon > 1:
            return None
        state_of(node).beacon = message.beacon
        saved(node, Status.SUCCESS)
    return c.BeaconStatus(state_of(node).beacon)


def _ttl(node: NodeMemory, message: c.DefaultTtlGet | c.DefaultTtlSet, _: int) -> c.Message | None:
    if isinstance(message, c.DefaultTtlSet):
        if message.ttl == 1 or message.ttl > _TTL_LAST:
            return None
        state_of(node).ttl = message.ttl
        saved(node, Status.SUCCESS)
    return c.DefaultTtlStatus(state_of(node).ttl)


def _transmit(node: NodeMemory, message: c.NetworkTransmitGet | c.NetworkTransmitSet, _: int) -> c.Message | None:
    if isinstance(message, c.NetworkTransmitSet):
        state_of(node).network_transmit = message.transmit
        saved(node, Status.SUCCESS)
    return c.NetworkTransmitStatus(state_of(node).network_transmit)


def _friend(_node: NodeMemory, message: c.FriendGet | c.FriendSet, _: int) -> c.Message | None:
    return None if isinstance(message, c.FriendSet) and message.friend > 1 else c.FriendStatus(_NOT_SUPPORTED)


def _proxy(_node: NodeMemory, message: c.GattProxyGet | c.GattProxySet, _: int) -> c.Message | None:
    return None if isinstance(message, c.GattProxySet) and message.proxy > 1 else c.GattProxyStatus(_NOT_SUPPORTED)


def _relay(node: NodeMemory, message: c.RelayGet | c.RelaySet, _: int) -> c.Message | None:
    if isinstance(message, c.RelaySet) and message.relay > 1:
        return None
    return c.RelayStatus(_NOT_SUPPORTED, state_of(node).relay_retransmit)


def _reset(_node: NodeMemory, _message: c.NodeReset, _: int) -> c.Message | None:
    # The node forgets once its answer is sealed: see `node.Node`.
    return c.NodeResetStatus()


TABLE: Final[Mapping[type[LittleRecord], Callable[[NodeMemory, Any, int], c.Message | None]]] = {
    c.CompositionDataGet: _composition,
    c.BeaconGet: _beacon,
    c.BeaconSet: _beacon,
    c.DefaultTtlGet: _ttl,
    c.DefaultTtlSet: _ttl,
    c.NetworkTransmitGet: _transmit,
    c.NetworkTransmitSet: _transmit,
    c.FriendGet: _friend,
    c.FriendSet: _friend,
    c.GattProxyGet: _proxy,
    c.GattProxySet: _proxy,
    c.RelayGet: _relay,
    c.RelaySet: _relay,
    c.NetKeyAdd: keys.net_key_add,
    c.NetKeyUpdate: keys.net_key_update,
    c.NetKeyDelete: keys.net_key_delete,
    c.NetKeyGet: keys.net_key_list,
    c.KeyRefreshPhaseGet: keys.phase,
    c.KeyRefreshPhaseSet: keys.phase,
    c.NodeIdentityGet: keys.identity,
    c.NodeIdentitySet: keys.identity,
    c.AppKeyAdd: keys.app_key_add,
    c.AppKeyUpdate: keys.app_key_update,
    c.AppKeyDelete: keys.app_key_delete,
    c.AppKeyGet: keys.app_key_list,
    c.ModelAppBind: models.bind,
    c.ModelAppUnbind: models.bind,
    c.PublicationGet: models.publish,
    c.PublicationSet: models.publish,
    c.PublicationVirtualAddressSet: models.publish,
    c.SubscriptionAdd: models.subscribe,
    c.SubscriptionDelete: models.subscribe,
    c.SubscriptionDeleteAll: models.subscribe,
    c.SubscriptionOverwrite: models.subscribe,
    c.SubscriptionVirtualAddressAdd: models.subscribe,
    c.SubscriptionVirtualAddressDelete: models.subscribe,
    c.SubscriptionVirtualAddressOverwrite: models.subscribe,
    c.SigModelSubscriptionGet: models.subscription_list,
    c.VendorModelSubscriptionGet: models.subscription_list,
    c.SigModelAppGet: models.binding_list,
    c.VendorModelAppGet: models.binding_list,
    c.NodeReset: _reset,
}
"""Which message is answered by what."""
