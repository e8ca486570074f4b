"""What a node has, as it says itself: composition, keys, what its models use, and its settings (MshPRT 4.3.2).

A dialogue over the network's memory, which says the same afterwards, written at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeVar

import msgspec

from keywright.errors import StatusError
from keywright.mesh.changing import Visit
from keywright.mesh.configuring import check_certified, check_elements
from keywright.mesh.database.cdb import uuid_bytes
from keywright.mesh.database.elements import composition_fields, merged_elements
from keywright.mesh.database.entries import (
    Address,
    Published,
    address_name,
    model_octets,
    publication_entry,
)
from keywright.mesh.models import configuration as c
from keywright.mesh.models.composition import DEVICE_KEY_MODELS, FRIEND, LOW_POWER, PROXY, RELAY, Composition
from keywright.mesh.models.configuration import Status
from keywright.mesh.models.configuration_client import Dialogue, ask, read_app_keys, read_composition, read_net_keys
from keywright.mesh.models.indexes import unpack_index_list
from keywright.mesh.network.keys import virtual_address

_SIG_OCTETS: Final = 2
_UNSUPPORTED: Final = 2
"""Of a feature, as the document has it; 0: off, 1: on."""
_HAS_NONE: Final = frozenset((Status.INVALID_MODEL, Status.NOT_A_SUBSCRIBE_MODEL, Status.INVALID_PUBLISH_PARAMETERS))
"""With one of these a model says that it has no such thing."""
_BY_DEVICE_KEY: Final = tuple(model.to_bytes(2, "little") for model in DEVICE_KEY_MODELS)

Result = TypeVar("Result")


class Survey(msgspec.Struct, frozen=True):
    """What the node said."""

    composition: Composition
    net_keys: tuple[int, ...]
    app_keys: tuple[int, ...]


def read_node(visit: Visit) -> Dialogue[Survey]:
    """Ask a node everything, and write it. Raises UsageError for no such node, and as `configuration_client.ask`.

    Raises WireError for a node that has not the elements that it said it had.
    """
    composition = yield from read_composition(visit.target)
    check_elements(visit.node, composition)
    check_certified(visit.database, visit.uuid, composition)
    net_keys = yield from read_net_keys(visit.target)
    app_keys: list[int] = []
    for index in net_keys:
        app_keys += yield from read_app_keys(visit.target, index)
    settings = yield from _settings(visit, composition)
    entry = _entry(visit)
    labels = _labels(entry)
    fields = composition_fields(composition)
    for element in fields["elements"]:
        for model in element["models"]:
            used = yield from _used(visit, visit.node.address + element["index"], model["modelId"], labels)
            model.update(used)
    had = {key["index"]: key for key in entry.get("appKeys", [])}
    visit.database.change_node(
        visit.uuid,
        {
            **fields,
            **settings,
            "elements": merged_elements(entry["elements"], fields["elements"]),
            "appKeys": [had.get(index, {"index": index, "updated": False}) for index in app_keys],
            "configComplete": True,
        },
        visit.timestamp,
    )
    return Survey(composition, net_keys, tuple(app_keys))


def _settings(visit: Visit, composition: Composition) -> Dialogue[dict[str, Any]]:
    """Beacons, Default TTL and features; a feature that the node has not is not asked for."""
    beacon: c.BeaconStatus = yield from ask(visit.target, c.BeaconGet())
    ttl: c.DefaultTtlStatus = yield from ask(visit.target, c.DefaultTtlGet())
    features = {"relay": _UNSUPPORTED, "proxy": _UNSUPPORTED, "friend": _UNSUPPORTED, "lowPower": _UNSUPPORTED}
    if composition.features & RELAY:
        features["relay"] = _feature((yield from ask(visit.target, c.RelayGet())).relay)
    if composition.features & PROXY:
        features["proxy"] = _feature((yield from ask(visit.target, c.GattProxyGet())).proxy)
    if composition.features & FRIEND:
        features["friend"] = _feature((yield from ask(visit.target, c.FriendGet())).friend)
    if composition.features & LOW_POWER:
        features["lowPower"] = 1
    return {"secureNetworkBeacon": bool(beacon.beacon), "defaultTTL": ttl.ttl, "features": features}


def _feature(state: int) -> int:
    return min(_UNSUPPORTED, state)


def _used(visit: Visit, element: int, name: str, labels: Mapping[int, bytes]) -> Dialogue[dict[str, Any]]:
    """What one model uses, as the document has it. element: address."""
    model = model_octets(name)
    if model in _BY_DEVICE_KEY:
        return {}
    is_sig = len(model) == _SIG_OCTETS
    bound = c.SigModelAppGet(element, model) if is_sig else c.VendorModelAppGet(element, model)
    heard = c.SigModelSubscriptionGet(element, model) if is_sig else c.VendorModelSubscriptionGet(element, model)
    bindings = yield from _if_any(ask(visit.target, bound))
    groups = yield from _if_any(ask(visit.target, heard))
    published: c.PublicationStatus | None = yield from _if_any(ask(visit.target, c.PublicationGet(element, model)))
    used: dict[str, Any] = {
        "publish": None,
        "bind": list(unpack_index_list(bindings.indexes)) if bindings is not None else [],
        "subscribe": [address_name(_known(one, labels)) for one in groups.addresses] if groups is not None else [],
    }
    if published is not None and published.address:
        address = _known(published.address, labels)
        index = published.app_index & 0x0FFF  # above it is the credential flag
        used["publish"] = publication_entry(
            Published(address, index, published.ttl, published.period, published.retransmit)
        )
    return used


def _if_any(dialogue: Dialogue[Result]) -> Dialogue[Result | None]:
    try:
        return (yield from dialogue)
    except StatusError as error:
        if error.sw in _HAS_NONE:
            return None
        raise


def _known(address: int, labels: Mapping[int, bytes]) -> Address:
    """The label of a virtual address if it is known: the node tells the address alone."""
    return labels.get(address, address)


def _labels(entry: Mapping[str, Any]) -> dict[int, bytes]:
    models = [model for element in entry["elements"] for model in element["models"]]
    names = [name for model in models for name in model.get("subscribe", [])]
    names += [model["publish"]["address"] for model in models if isinstance(model.get("publish"), Mapping)]
    octets = [bytes.fromhex(name) for name in names if len(name) > len("C000")]
    return {virtual_address(label): label for label in octets}


def _entry(visit: Visit) -> dict[str, Any]:
    return next(one for one in visit.database.document["nodes"] if uuid_bytes(one["UUID"]) == visit.uuid)
