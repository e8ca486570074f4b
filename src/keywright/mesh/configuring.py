"""From a node that has just said Complete to one that does its work: composition, AppKeys, bindings, publication.

A dialogue over the network's memory: what a node has accepted is written there before the next question. Every message
may be sent twice without harm, so that a configuration that was cut is simply begun again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from keywright.errors import PolicyError, UsageError, WireError
from keywright.mesh.database.cdb import NodeEntry
from keywright.mesh.database.keys import app_key
from keywright.mesh.database.network import NetworkDatabase
from keywright.mesh.models import configuration as c
from keywright.mesh.models.composition import Composition
from keywright.mesh.models.configuration_client import (
    Dialogue,
    Patience,
    Target,
    add_app_key,
    bind,
    publish,
    read_composition,
    subscribe,
)

COMING_UP: Final = Patience(timeout_s=3.0, tries=20)
"""A node takes seconds after Complete before it listens to its network."""


class ModelPlan(msgspec.Struct, frozen=True):
    """What one model is to use. element: its number in the node, from 0. model: 2 octets, a vendor's 4, as sent."""

    element: int
    model: bytes
    app_keys: tuple[int, ...] = ()
    groups: tuple[int, ...] = ()
    publish_to: int = 0
    """0: it publishes nothing. Else under the first of its AppKeys."""
    period: int = 0
    retransmit: int = 0


class Plan(msgspec.Struct, frozen=True):
    """What a node is to have: AppKeys by index, then its models. Without any, its composition alone is read."""

    app_keys: tuple[int, ...] = ()
    models: tuple[ModelPlan, ...] = ()


def product(cid: int, pid: int) -> Callable[[Composition], None]:
    """A judge for a node whose certificate names a product (BCID, BPID; MshPRT 5.5): its composition must agree."""

    def judge(composition: Composition) -> None:
        if (composition.cid, composition.pid) != (cid, pid):
            raise PolicyError(
                f"the node says it is product {composition.cid:04X}:{composition.pid:04X}, "
                f"its certificate says {cid:04X}:{pid:04X}",
                hint="remove the node: certificate and device do not belong together",
            )

    return judge


def first_configuration(
    database: NetworkDatabase,
    uuid: bytes,
    plan: Plan | None = None,
    *,
    timestamp: str,
    judge: Callable[[Composition], None] = lambda _: None,
    coming_up: Patience = COMING_UP,
    patience: Patience | None = None,
) -> Dialogue[Composition]:
    """Configure a node; its composition. judge(composition): raises what speaks against it, before it is written.

    Raises UsageError for no node, or a plan that does not fit it; LinkError, StatusError, WireError, StoreError.
    """
    plan, patience = plan or Plan(), patience or Patience()
    node = database.node(uuid)
    if node is None:
        raise UsageError("no such node in this network", hint="provision the device first")
    net_index = node.net_keys[0].index if node.net_keys else 0
    composition = yield from read_composition(Target(node.address, net_index, coming_up))
    _check_elements(node, composition)
    judge(composition)
    if node.cid is None or not any(element.models for element in node.elements):
        # A second run finds what the first one wrote, bindings too.
        database.describe(uuid, composition, timestamp, is_complete=False)
    for index in plan.app_keys:
        bound, key = app_key(database, index)
        yield from add_app_key(Target(node.address, bound, patience), index, key)
        _note_app_key(database, uuid, index, timestamp)
    for model in plan.models:
        yield from _configure_model(database, uuid, Target(node.address, net_index, patience), model, timestamp)
    database.change_node(uuid, {"configComplete": True}, timestamp)
    return composition


def _check_elements(node: NodeEntry, composition: Composition) -> None:
    if len(composition.elements) != max(1, len(node.elements)):
        raise WireError(
            f"the node at {node.unicast_address} has {len(composition.elements)} elements, but said "
            f"{len(node.elements)} in its Capabilities (MshPRT 5.4.1.2)",
            hint="remove the node: its elements may have addresses of other nodes",
        )


def _configure_model(
    database: NetworkDatabase, uuid: bytes, target: Target, plan: ModelPlan, timestamp: str
) -> Dialogue[None]:
    element = target.address + plan.element
    for index in plan.app_keys:
        yield from bind(target, element, plan.model, index)
        _note_model(database, uuid, plan, timestamp, bind=index)
    for group in plan.groups:
        yield from subscribe(target, element, plan.model, group)
        _note_model(database, uuid, plan, timestamp, subscribe=f"{group:04X}")
    if plan.publish_to:
        if not plan.app_keys:
            raise UsageError(f"model {plan.model.hex()} is to publish, but has no AppKey", hint="give its plan one")
        yield from publish(
            target,
            c.PublicationSet(
                element, plan.publish_to, plan.app_keys[0], 0xFF, plan.period, plan.retransmit, plan.model
            ),
        )
        _note_publication(database, uuid, plan, timestamp)


def _note_app_key(database: NetworkDatabase, uuid: bytes, index: int, timestamp: str) -> None:
    node = database.node(uuid)
    held = node.app_keys if node is not None else ()
    if not any(key.index == index for key in held):
        before = [{"index": key.index, "updated": key.updated} for key in held]
        database.change_node(uuid, {"appKeys": [*before, {"index": index, "updated": False}]}, timestamp)


def _note_model(database: NetworkDatabase, uuid: bytes, plan: ModelPlan, timestamp: str, **added: int | str) -> None:
    def change(model: dict[str, Any]) -> dict[str, Any]:
        return {**model, **{name: [*dict.fromkeys([*model.get(name, []), one])] for name, one in added.items()}}

    _change_model(database, uuid, plan, timestamp, change)


def _note_publication(database: NetworkDatabase, uuid: bytes, plan: ModelPlan, timestamp: str) -> None:
    publication = {
        "address": f"{plan.publish_to:04X}",
        "index": plan.app_keys[0],
        "ttl": 0xFF,
        "period": {"numberOfSteps": plan.period & 0x3F, "resolution": (100, 1000, 10000, 600000)[plan.period >> 6]},
        "retransmit": {"count": plan.retransmit & 7, "interval": ((plan.retransmit >> 3) + 1) * 50},
        "credentials": 0,
    }
    _change_model(database, uuid, plan, timestamp, lambda model: {**model, "publish": publication})


def _change_model(
    database: NetworkDatabase,
    uuid: bytes,
    plan: ModelPlan,
    timestamp: str,
    change: Callable[[dict[str, Any]], dict[str, Any]],
) -> None:
    numbers = [int.from_bytes(plan.model[at : at + 2], "little") for at in range(0, len(plan.model), 2)]
    name = "".join(f"{number:04X}" for number in numbers)
    for entry in database.document["nodes"]:
        if bytes.fromhex(entry["UUID"].replace("-", "")) == uuid:
            elements = [
                {**element, "models": [change(one) if one["modelId"] == name else one for one in element["models"]]}
                if element["index"] == plan.element
                else element
                for element in entry["elements"]
            ]
            database.change_node(uuid, {"elements": elements}, timestamp)
            return
