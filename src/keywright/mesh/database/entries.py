"""What a node has accepted, in its entry of the document: AppKeys, bindings, subscriptions, publication.

Written once the node has said so, and before it is asked the next thing. `resolution` and `interval` are milliseconds,
as the format has them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

from keywright.errors import UsageError
from keywright.mesh.database.cdb import ModelEntry, NodeEntry
from keywright.mesh.database.network import NetworkDatabase
from keywright.mesh.network.keys import virtual_address

STEPS_MS: Final = (100, 1_000, 10_000, 600_000)
"""Resolutions of a publish period, by its upper two bits (MshPRT 4.2.3.4)."""
RETRANSMIT_MS: Final = 50
"""Unit of a publish retransmit interval (MshPRT 4.2.3.7)."""

Address: TypeAlias = int | bytes
"""A unicast, group or virtual address, or the label UUID of a virtual one (16 octets)."""
Model: TypeAlias = dict[str, Any]


class Place(NamedTuple):
    """A model of a node. element: its number, from 0. model: 2 octets, a vendor's 4, as sent."""

    element: int
    model: bytes


class Published(NamedTuple):
    """What a model publishes. period, retransmit: octets as sent (MshPRT 4.2.3.4, 4.2.3.6, 4.2.3.7)."""

    address: Address
    app_index: int
    ttl: int = 0xFF
    period: int = 0
    retransmit: int = 0


def model_name(model: bytes) -> str:
    """A model as the document names it: 4 hex digits, a vendor's 8 with the company first."""
    numbers = [int.from_bytes(model[at : at + 2], "little") for at in range(0, len(model), 2)]
    return "".join(f"{number:04X}" for number in numbers)


def model_octets(name: str) -> bytes:
    """Inverse of `model_name`."""
    return b"".join(bytes.fromhex(name[at : at + 4])[::-1] for at in range(0, len(name), 4))


def address_name(address: Address) -> str:
    """An address or label UUID as the document writes it."""
    return f"{address:04X}" if isinstance(address, int) else address.hex().upper()


def model_entry(node: NodeEntry, place: Place) -> ModelEntry:
    """What the document says of a model. Raises UsageError for one that the node has not."""
    name = model_name(place.model)
    elements = {element.index: element for element in node.elements}
    element = elements.get(place.element)
    if element is None:
        raise UsageError(
            f"the node at {node.unicast_address} has no element {place.element}",
            hint=f"it has {len(elements)}, counted from 0",
        )
    for model in element.models:
        if model.model_id.upper() == name:
            return model
    known = ", ".join(model.model_id for model in element.models)
    raise UsageError(
        f"element {place.element} of the node at {node.unicast_address} has no model {name}", hint=f"it has: {known}"
    )


def note_app_key(database: NetworkDatabase, uuid: bytes, index: int, timestamp: str) -> None:
    """The node has an AppKey."""
    node = database.node(uuid)
    held = node.app_keys if node is not None else ()
    if not any(key.index == index for key in held):
        before = [{"index": key.index, "updated": key.updated} for key in held]
        database.change_node(uuid, {"appKeys": [*before, {"index": index, "updated": False}]}, timestamp)


def forget_app_key(database: NetworkDatabase, uuid: bytes, index: int, timestamp: str) -> None:
    """The node has it no more: what was bound to it or published under it is gone too (MshPRT 4.4.1.2)."""

    def without(model: Model) -> Model:
        kept: Model = {**model, "bind": [one for one in model.get("bind", []) if one != index]}
        if isinstance(kept.get("publish"), Mapping) and kept["publish"].get("index") == index:
            del kept["publish"]
        return kept

    for entry in _entries(database, uuid):
        keys = [key for key in entry.get("appKeys", []) if key["index"] != index]
        elements = [
            {**element, "models": [without(model) for model in element["models"]]} for element in entry["elements"]
        ]
        database.change_node(uuid, {"appKeys": keys, "elements": elements}, timestamp)


def note_binding(database: NetworkDatabase, uuid: bytes, place: Place, index: int, timestamp: str) -> None:
    """A model is bound to an AppKey."""
    change_model(database, uuid, place, timestamp, lambda model: _with(model, "bind", index))


def forget_binding(database: NetworkDatabase, uuid: bytes, place: Place, index: int, timestamp: str) -> None:
    """It is no more, and publishes nothing under it."""

    def change(model: Model) -> Model:
        after = _without(model, "bind", index)
        if isinstance(after.get("publish"), Mapping) and after["publish"].get("index") == index:
            del after["publish"]
        return after

    change_model(database, uuid, place, timestamp, change)


def note_subscription(database: NetworkDatabase, uuid: bytes, place: Place, group: Address, timestamp: str) -> None:
    """A model hears a group or virtual address."""
    change_model(
        database, uuid, place, timestamp, lambda model: _with(_unheard(model, group), "subscribe", address_name(group))
    )


def forget_subscription(database: NetworkDatabase, uuid: bytes, place: Place, group: Address, timestamp: str) -> None:
    """It does no more."""
    change_model(database, uuid, place, timestamp, lambda model: _unheard(model, group))


def note_publication(
    database: NetworkDatabase, uuid: bytes, place: Place, publication: Published | None, timestamp: str
) -> None:
    """What a model publishes; None for nothing."""

    def change(model: Model) -> Model:
        kept = {name: value for name, value in model.items() if name != "publish"}
        return kept if publication is None else {**kept, "publish": publication_entry(publication)}

    change_model(database, uuid, place, timestamp, change)


def publication_entry(publication: Published) -> dict[str, Any]:
    """A publication as the document has it."""
    period, retransmit = publication.period, publication.retransmit
    return {
        "address": address_name(publication.address),
        "index": publication.app_index,
        "ttl": publication.ttl,
        "period": {"numberOfSteps": period & 0x3F, "resolution": STEPS_MS[period >> 6]},
        "retransmit": {"count": retransmit & 7, "interval": ((retransmit >> 3) + 1) * RETRANSMIT_MS},
        "credentials": 0,
    }


def change_model(
    database: NetworkDatabase, uuid: bytes, place: Place, timestamp: str, change: Callable[[Model], Model]
) -> None:
    """Change what the document says of one model. Nothing happens for one that it has not. Raises StoreError."""
    name = model_name(place.model)
    for entry in _entries(database, uuid):
        elements = [
            {**element, "models": [change(one) if one["modelId"].upper() == name else one for one in element["models"]]}
            if element["index"] == place.element
            else element
            for element in entry["elements"]
        ]
        database.change_node(uuid, {"elements": elements}, timestamp)


def _unheard(model: Model, group: Address) -> Model:
    """Without an address; that of a label stands there alone where the node told it and nobody knew the label."""
    if isinstance(group, bytes):
        model = _without(model, "subscribe", address_name(virtual_address(group)))
    return _without(model, "subscribe", address_name(group))


def _entries(database: NetworkDatabase, uuid: bytes) -> list[dict[str, Any]]:
    """The node's entry as it stands in the document, or nothing."""
    return [one for one in database.document["nodes"] if bytes.fromhex(one["UUID"].replace("-", "")) == uuid]


def _with(model: Model, name: str, value: int | str) -> Model:
    return {**model, name: [*dict.fromkeys([*model.get(name, []), value])]}


def _without(model: Model, name: str, value: int | str) -> Model:
    return {**model, name: [one for one in model.get(name, []) if one != value]}
