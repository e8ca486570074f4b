"""From a node that has just said Complete to one that does its work: composition, AppKeys, bindings, publication.

A dialogue over the network's memory: what a node has accepted is written there before the next question. Every message
may be sent twice without harm, so that a configuration that was cut is simply begun again.
"""

from __future__ import annotations

from typing import Final

import msgspec

from keywright.errors import UsageError, WireError
from keywright.mesh.database.cdb import NodeEntry
from keywright.mesh.database.entries import (
    Place,
    Published,
    note_app_key,
    note_binding,
    note_publication,
    note_subscription,
)
from keywright.mesh.database.keys import app_key_for
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


def first_configuration(
    database: NetworkDatabase,
    uuid: bytes,
    plan: Plan | None = None,
    *,
    timestamp: str,
    coming_up: Patience = COMING_UP,
    patience: Patience | None = None,
) -> Dialogue[Composition]:
    """Configure a node; its composition.

    Raises AuthenticationError for a node that is another product than its certificate says, before that is written;
    UsageError for no node, or a plan that does not fit it; LinkError, StatusError, WireError, StoreError.
    """
    plan, patience = plan or Plan(), patience or Patience()
    node = database.node(uuid)
    if node is None:
        raise UsageError("no such node in this network", hint="provision the device first")
    net_index = node.net_keys[0].index if node.net_keys else 0
    composition = yield from describe_node(
        database, uuid, Target(node.address, net_index, coming_up), timestamp=timestamp
    )
    for index in plan.app_keys:
        bound, key = app_key_for(database, uuid, index)
        yield from add_app_key(Target(node.address, bound, patience), index, key)
        note_app_key(database, uuid, index, timestamp)
    for model in plan.models:
        yield from _configure_model(database, uuid, Target(node.address, net_index, patience), model, timestamp)
    database.change_node(uuid, {"configComplete": True}, timestamp)
    return composition


def describe_node(
    database: NetworkDatabase,
    uuid: bytes,
    target: Target,
    *,
    timestamp: str,
) -> Dialogue[Composition]:
    """Read what a node is made of, and write it; its composition. Errors as `first_configuration`."""
    composition = yield from read_composition(target)
    node = database.require(uuid)
    check_elements(node, composition)
    check_certified(database, uuid, composition)
    database.describe(uuid, composition, timestamp, is_complete=False)
    return composition


def check_certified(database: NetworkDatabase, uuid: bytes, composition: Composition) -> None:
    """Raises AuthenticationError for a node that is another product than its certificate says (MshPRT 5.5)."""
    certified = database.certified_product(uuid)
    if certified is not None:
        from keywright.mesh.certificates import check_product  # noqa: PLC0415 - loads X.509, which few nodes need

        check_product(certified, composition)


def check_elements(node: NodeEntry, composition: Composition) -> None:
    """Raises WireError for a node that has not as many elements as it said when it was provisioned."""
    if len(composition.elements) != max(1, len(node.elements)):
        raise WireError(
            f"the node at {node.unicast_address} has {len(composition.elements)} elements, but said "
            f"{len(node.elements)} in its Capabilities (MshPRT 5.4.1.2)",
            hint="remove the node: its elements may have addresses of other nodes",
        )


def _configure_model(
    database: NetworkDatabase, uuid: bytes, target: Target, plan: ModelPlan, timestamp: str
) -> Dialogue[None]:
    element, place = target.address + plan.element, Place(plan.element, plan.model)
    for index in plan.app_keys:
        yield from bind(target, element, plan.model, index)
        note_binding(database, uuid, place, index, timestamp)
    for group in plan.groups:
        yield from subscribe(target, element, plan.model, group)
        note_subscription(database, uuid, place, group, timestamp)
    if plan.publish_to:
        if not plan.app_keys:
            raise UsageError(f"model {plan.model.hex()} is to publish, but has no AppKey", hint="give its plan one")
        yield from publish(
            target,
            c.PublicationSet(
                element, plan.publish_to, plan.app_keys[0], 0xFF, plan.period, plan.retransmit, plan.model
            ),
        )
        published = Published(plan.publish_to, plan.app_keys[0], 0xFF, plan.period, plan.retransmit)
        note_publication(database, uuid, place, published, timestamp)
