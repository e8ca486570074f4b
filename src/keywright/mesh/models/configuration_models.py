"""How a node answers about its models: bindings, publication, subscriptions (MshPRT 4.4.1.2)."""

from __future__ import annotations

from typing import Any, Final

from keywright.mesh.models import configuration as c
from keywright.mesh.models.composition import DEVICE_KEY_MODELS
from keywright.mesh.models.configuration import Status
from keywright.mesh.models.indexes import pack_index_list
from keywright.mesh.models.state import ModelState, NodeMemory, Publication, saved, state_of
from keywright.mesh.network.keys import virtual_address
from keywright.mesh.network.pdu import ALL_NODES, GROUP_FIRST, UNASSIGNED, UNICAST_LAST, VIRTUAL_FIRST

_TTL_LAST: Final = 0x7F
_TTL_DEFAULT: Final = 0xFF
_INDEX_MASK: Final = 0x0FFF
_CREDENTIAL_FLAG: Final = 0x1000
_DEVICE_KEY_ALONE: Final = tuple(model.to_bytes(2, "little") for model in DEVICE_KEY_MODELS)


def _is_unicast(element: int) -> bool:
    return UNASSIGNED < element <= UNICAST_LAST


def _element_status(node: NodeMemory, element: int) -> int:
    place = element - state_of(node).address
    return Status.SUCCESS if 0 <= place < len(node.composition.elements) else Status.INVALID_ADDRESS


def _model_of(node: NodeMemory, element: int, model: bytes) -> tuple[int, ModelState]:
    status = _element_status(node, element)
    found = node.model(element, model)
    if found is None:
        return status or Status.INVALID_MODEL, ModelState()
    return Status.SUCCESS, found


def bind(node: NodeMemory, message: c.ModelAppBind | c.ModelAppUnbind, _: int) -> c.Message | None:
    """Model App Bind and Unbind."""
    if not _is_unicast(message.element) or message.app_index > _INDEX_MASK:
        return None
    status, model = _model_of(node, message.element, message.model)
    index = message.app_index
    if not status and index not in state_of(node).app_keys:
        status = Status.INVALID_APPKEY_INDEX
    if not status and message.model in _DEVICE_KEY_ALONE:
        status = Status.CANNOT_BIND
    if not status:
        if isinstance(message, c.ModelAppBind):
            if index not in model.bindings:
                model.bindings.append(index)
        elif index in model.bindings:
            model.bindings.remove(index)
            if model.publication.address and model.publication.app_index == index:
                model.publication = Publication()
        status = saved(node, status)
    return c.ModelAppStatus(status, message.element, index, message.model)


def publish(
    node: NodeMemory, message: c.PublicationGet | c.PublicationSet | c.PublicationVirtualAddressSet, _: int
) -> c.Message | None:
    """Publication Get, Set and Virtual Address Set."""
    if not _is_unicast(message.element):
        return None
    status, model = _model_of(node, message.element, message.model)
    if not status and message.model in _DEVICE_KEY_ALONE:
        status = Status.INVALID_PUBLISH_PARAMETERS
    if status:
        return c.PublicationStatus(status, message.element, 0, 0, 0, 0, 0, message.model)
    if not isinstance(message, c.PublicationGet):
        if _TTL_LAST < message.ttl < _TTL_DEFAULT:
            return None
        status = _set_publication(node, message, model)
        if status:
            return c.PublicationStatus(status, message.element, 0, 0, 0, 0, 0, message.model)
    _, model = _model_of(node, message.element, message.model)
    now = model.publication
    return c.PublicationStatus(
        status, message.element, now.address, now.app_index, now.ttl, now.period, now.retransmit, message.model
    )


def _set_publication(
    node: NodeMemory, message: c.PublicationSet | c.PublicationVirtualAddressSet, model: ModelState
) -> int:
    label = message.label if isinstance(message, c.PublicationVirtualAddressSet) else b""
    address = virtual_address(label) if label else getattr(message, "address", 0)
    if not label and VIRTUAL_FIRST <= address < GROUP_FIRST:
        return Status.INVALID_ADDRESS
    app_index = message.app_index & _INDEX_MASK
    if message.app_index & _CREDENTIAL_FLAG:
        return Status.FEATURE_NOT_SUPPORTED  # there is no friendship here
    if address == UNASSIGNED:
        model.publication = Publication()
        return saved(node, Status.SUCCESS)
    if app_index not in state_of(node).app_keys or app_index not in model.bindings:
        return Status.INVALID_APPKEY_INDEX
    model.publication = Publication(address, app_index, message.ttl, message.period, message.retransmit, label)
    return saved(node, Status.SUCCESS)


def subscribe(node: NodeMemory, message: Any, _: int) -> c.Message | None:
    """Subscription Add, Delete, Delete All and Overwrite, of addresses and of labels."""
    if not _is_unicast(message.element):
        return None
    label: bytes = getattr(message, "label", b"")
    address: int = virtual_address(label) if label else getattr(message, "address", UNASSIGNED)
    status, model = _model_of(node, message.element, message.model)
    clears = isinstance(message, c.SubscriptionDeleteAll)
    if not status and message.model in _DEVICE_KEY_ALONE:
        status = Status.NOT_A_SUBSCRIBE_MODEL
    if not status and not clears and not label and (address < GROUP_FIRST or address == ALL_NODES):
        status = Status.INVALID_ADDRESS
    if not status:
        _change_subscription(message, model, address, label)
        if len(model.subscriptions) + len(model.labels) > node.groups_room:
            status = Status.INSUFFICIENT_RESOURCES
            node.undo()
        status = saved(node, status)
    return c.SubscriptionStatus(status, message.element, address, message.model)


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


def subscription_list(
    node: NodeMemory, message: c.SigModelSubscriptionGet | c.VendorModelSubscriptionGet, _: int
) -> c.Message | None:
    """SIG and Vendor Model Subscription Get."""
    if not _is_unicast(message.element):
        return None
    status, model = _model_of(node, message.element, message.model)
    if not status and message.model in _DEVICE_KEY_ALONE:
        status = Status.NOT_A_SUBSCRIBE_MODEL
    is_sig = isinstance(message, c.SigModelSubscriptionGet)
    answer = c.SigModelSubscriptionList if is_sig else c.VendorModelSubscriptionList
    return answer(status, message.element, message.model, tuple(sorted(model.groups)))


def binding_list(node: NodeMemory, message: c.SigModelAppGet | c.VendorModelAppGet, _: int) -> c.Message | None:
    """SIG and Vendor Model App Get."""
    if not _is_unicast(message.element):
        return None
    status, model = _model_of(node, message.element, message.model)
    answer = c.SigModelAppList if isinstance(message, c.SigModelAppGet) else c.VendorModelAppList
    return answer(status, message.element, message.model, pack_index_list(tuple(model.bindings)))
