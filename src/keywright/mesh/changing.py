"""One change of one node at a time: AppKeys, bindings, subscriptions, publication, Node Reset (MshPRT 4.3.2).

Dialogues over the network's memory. What a node has accepted is written there when it has said so; one that was cut may
be asked again without harm, and `surveying.read_node` finds out what it has.
"""

from __future__ import annotations

from typing import NamedTuple

from keywright.errors import LinkError, UsageError
from keywright.mesh.configuring import describe_node
from keywright.mesh.database.cdb import NodeEntry
from keywright.mesh.database.entries import (
    Address,
    Place,
    Published,
    forget_app_key,
    forget_binding,
    forget_subscription,
    model_entry,
    note_app_key,
    note_binding,
    note_publication,
    note_subscription,
)
from keywright.mesh.database.keys import app_key_for
from keywright.mesh.database.network import NetworkDatabase
from keywright.mesh.models import configuration as c
from keywright.mesh.models.configuration_client import Dialogue, Patience, Target, add_app_key, ask, bind, reset
from keywright.mesh.models.indexes import pack_indexes
from keywright.mesh.network.pdu import ALL_NODES, GROUP_FIRST, VIRTUAL_FIRST

_NOTHING = 0x0000
"""The unassigned address: a model that publishes there publishes nothing."""


class Visit(NamedTuple):
    """Which node is asked, in which network. timestamp: RFC 3339, for its database."""

    database: NetworkDatabase
    uuid: bytes
    timestamp: str
    patience: Patience = Patience()

    @property
    def node(self) -> NodeEntry:
        """Its entry as it is now. Raises UsageError for no such node."""
        return self.database.require(self.uuid)

    @property
    def target(self) -> Target:
        """The node, over the first of its networks."""
        node = self.node
        return Target(node.address, node.net_keys[0].index if node.net_keys else 0, self.patience)


def give_app_key(visit: Visit, index: int) -> Dialogue[None]:
    """Give the node an AppKey of the network.

    Raises UsageError for a key that the network has not or the node cannot have now, and as
    `configuration_client.ask`.
    """
    bound, key = app_key_for(visit.database, visit.uuid, index)
    yield from add_app_key(visit.target._replace(net_index=bound), index, key)
    note_app_key(visit.database, visit.uuid, index, visit.timestamp)


def take_app_key(visit: Visit, index: int) -> Dialogue[None]:
    """Take an AppKey away from the node; models that were bound to it are so no more. Errors as `give_app_key`."""
    bound, _ = app_key_for(visit.database, visit.uuid, index)
    yield from ask(visit.target._replace(net_index=bound), c.AppKeyDelete(pack_indexes(bound, index)))
    forget_app_key(visit.database, visit.uuid, index, visit.timestamp)


def bind_model(visit: Visit, place: Place, index: int) -> Dialogue[None]:
    """Let a model use an AppKey. Raises UsageError for no such model, and as `configuration_client.ask`."""
    element = yield from _element(visit, place)
    yield from bind(visit.target, element, place.model, index)
    note_binding(visit.database, visit.uuid, place, index, visit.timestamp)


def unbind_model(visit: Visit, place: Place, index: int) -> Dialogue[None]:
    """Let it use the AppKey no more. Errors as `bind_model`."""
    element = yield from _element(visit, place)
    yield from ask(visit.target, c.ModelAppUnbind(element, index, place.model))
    forget_binding(visit.database, visit.uuid, place, index, visit.timestamp)


def subscribe_model(visit: Visit, place: Place, group: Address) -> Dialogue[None]:
    """Let a model hear a group, or a virtual address by its label UUID. Errors as `bind_model`."""
    element = yield from _element(visit, place)
    if isinstance(group, bytes):
        yield from ask(visit.target, c.SubscriptionVirtualAddressAdd(element, group, place.model))
    else:
        _check_group(group)
        yield from ask(visit.target, c.SubscriptionAdd(element, group, place.model))
    note_subscription(visit.database, visit.uuid, place, group, visit.timestamp)


def unsubscribe_model(visit: Visit, place: Place, group: Address) -> Dialogue[None]:
    """Let it hear the address no more. Errors as `bind_model`."""
    element = yield from _element(visit, place)
    if isinstance(group, bytes):
        yield from ask(visit.target, c.SubscriptionVirtualAddressDelete(element, group, place.model))
    else:
        _check_group(group)
        yield from ask(visit.target, c.SubscriptionDelete(element, group, place.model))
    forget_subscription(visit.database, visit.uuid, place, group, visit.timestamp)


def publish_model(visit: Visit, place: Place, publication: Published | None) -> Dialogue[None]:
    """Let a model publish; None: nothing. Errors as `bind_model`; UsageError for a virtual address without label."""
    element = yield from _element(visit, place)
    message: c.Message
    if publication is None:
        message = c.PublicationSet(element, _NOTHING, 0, 0, 0, 0, place.model)
    elif isinstance(publication.address, bytes):
        message = c.PublicationVirtualAddressSet(
            element,
            publication.address,
            publication.app_index,
            publication.ttl,
            publication.period,
            publication.retransmit,
            place.model,
        )
    else:
        if VIRTUAL_FIRST <= publication.address < GROUP_FIRST:
            raise _no_label(publication.address)
        message = c.PublicationSet(
            element,
            publication.address,
            publication.app_index,
            publication.ttl,
            publication.period,
            publication.retransmit,
            place.model,
        )
    yield from ask(visit.target, message)
    note_publication(visit.database, visit.uuid, place, publication, visit.timestamp)


def leave(visit: Visit) -> Dialogue[None]:
    """Node Reset: the node forgets everything, then the network forgets the node; its addresses rest.

    Raises UsageError for no such node, LinkError if it is silent: it stays in the database, since it may be either.
    """
    node = visit.node
    try:
        yield from reset(visit.target)
    except LinkError as error:
        raise LinkError(
            f"{error}; it is kept in the network's memory",
            hint=f"if it was reset and its answer was lost, forget it: keywright mesh network remove FILE {node.uuid}",
        ) from error
    visit.database.remove(visit.uuid, visit.timestamp)


def _element(visit: Visit, place: Place) -> Dialogue[int]:
    """The address of the model's element, once it is known what the node is made of."""
    node = visit.node
    if not any(element.models for element in node.elements):
        yield from describe_node(visit.database, visit.uuid, visit.target, timestamp=visit.timestamp)
        node = visit.node
    model_entry(node, place)
    return node.address + place.element


def _check_group(group: int) -> None:
    if VIRTUAL_FIRST <= group < GROUP_FIRST:
        raise _no_label(group)
    if not GROUP_FIRST <= group < ALL_NODES:
        raise UsageError(
            f"{group:04X} is no address that a model can subscribe to", hint="group addresses go from C000 to FFFE"
        )


def _no_label(address: int) -> UsageError:
    return UsageError(f"{address:04X} is a virtual address", hint="give its label UUID instead, 16 octets in hex")
