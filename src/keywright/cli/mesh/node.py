"""`keywright mesh node`: what a node is, has and does; each verb asks the node itself (MshPRT 4.3.2)."""

from __future__ import annotations

import os
from typing import Annotated, Final, TypeAlias

import typer

from keywright.cli.links import confirm
from keywright.cli.mesh import renew
from keywright.cli.mesh.nodes import (
    ElementNumber,
    ModelName,
    NodeName,
    address_of,
    index_of,
    node_in,
    period_of,
    place_of,
    retransmit_of,
    tell_node,
)
from keywright.cli.mesh.options import NetworkFile, RadioLink
from keywright.cli.mesh.owner import Owner, owner_at
from keywright.cli.options import Json, Trace, Yes
from keywright.cli.text import good, note, say, show_json
from keywright.errors import UsageError
from keywright.mesh.changing import (
    bind_model,
    give_app_key,
    leave,
    publish_model,
    subscribe_model,
    take_app_key,
    unbind_model,
    unsubscribe_model,
)
from keywright.mesh.configuring import ModelPlan, Plan, first_configuration
from keywright.mesh.database.cdb import NodeEntry, uuid_bytes
from keywright.mesh.database.entries import Published, model_octets
from keywright.mesh.key_refresh import Refreshed, remove_node
from keywright.mesh.models.composition import DEVICE_KEY_MODELS
from keywright.mesh.surveying import read_node
from keywright.production.mesh_network import opened_network

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

_TTL_LAST: Final = 0x7F
_TTL_OF_NODE: Final = 0xFF

Delete: TypeAlias = Annotated[bool, typer.Option("--delete", help="Take it away instead.")]
AppKeyName: TypeAlias = Annotated[str, typer.Option("--app-key", metavar="INDEX", help="The AppKey's index, in hex.")]
AskedAt: TypeAlias = Annotated[
    str, typer.Option("--link", metavar="URI", help="The air to ask the node on; without it, what the network knows.")
]
LeaveOut: TypeAlias = Annotated[
    bool, typer.Option("--leave-out-silent", help="Go on without nodes that do not answer; they lose the network.")
]


@app.command()
def show(
    node: NodeName,
    *,
    network: NetworkFile,
    link: AskedAt = "",
    json: Json = False,
    trace: Trace = None,
) -> None:
    """Show a node: what it is made of, its keys, what its models use. With --link it is asked, and the answer kept.

    Example: keywright mesh node show 0100 --network home.mesh --link air:127.0.0.1:35964
    """
    if link:
        with owner_at(network, link, trace) as owner:
            uuid = uuid_bytes(node_in(owner.database, node).uuid)
            owner.ask(read_node(owner.visit(owner.database.require(uuid))))
            tell_node(owner.database, uuid, as_json=json)
        return
    with opened_network(network, readonly=True) as database:
        tell_node(database, uuid_bytes(node_in(database, node).uuid), as_json=json)


@app.command()
def configure(
    node: NodeName,
    *,
    network: NetworkFile,
    app_key: Annotated[
        list[str] | None, typer.Option("--app-key", metavar="INDEX", help="An AppKey for all its models; may repeat.")
    ] = None,
    link: RadioLink = "",
    json: Json = False,
    trace: Trace = None,
) -> None:
    """Bring a new node up: read what it is made of, give it AppKeys, and bind every model that can be to them.

    May be done again: what the node has already does no harm.

    Example: keywright mesh node configure 0100 --network home.mesh --app-key 000
    """
    keys = tuple(index_of(text) for text in app_key or ())
    with owner_at(network, link, trace) as owner:
        found = node_in(owner.database, node)
        uuid = uuid_bytes(found.uuid)
        owner.ask(first_configuration(owner.database, uuid, timestamp=owner.timestamp))
        if keys:
            plan = Plan(keys, _every_model(owner.database.require(uuid), keys))
            owner.ask(first_configuration(owner.database, uuid, plan, timestamp=owner.timestamp))
        tell_node(owner.database, uuid, as_json=json)


@app.command()
def appkey(
    node: NodeName,
    index: Annotated[str, typer.Argument(metavar="INDEX", help="Of an AppKey of the network, in hex.")],
    *,
    network: NetworkFile,
    delete: Delete = False,
    link: RadioLink = "",
    json: Json = False,
    trace: Trace = None,
) -> None:
    """Give a node an AppKey of the network, or take it away with what is bound to it.

    Example: keywright mesh node appkey 0100 000 --network home.mesh
    """
    number = index_of(index, "INDEX")
    with owner_at(network, link, trace) as owner:
        found = node_in(owner.database, node)
        change = take_app_key if delete else give_app_key
        owner.ask(change(owner.visit(found), number))
        _done(owner, found, as_json=json)


@app.command()
def bind(
    node: NodeName,
    model: ModelName,
    *,
    network: NetworkFile,
    app_key: AppKeyName,
    element: ElementNumber = 0,
    delete: Delete = False,
    link: RadioLink = "",
    json: Json = False,
    trace: Trace = None,
) -> None:
    """Let a model use an AppKey that its node has.

    Example: keywright mesh node bind 0100 1000 --network home.mesh --app-key 000
    """
    place, index = place_of(model, element), index_of(app_key)
    with owner_at(network, link, trace) as owner:
        found = node_in(owner.database, node)
        change = unbind_model if delete else bind_model
        owner.ask(change(owner.visit(found), place, index))
        _done(owner, found, as_json=json)


@app.command()
def subscribe(
    node: NodeName,
    model: ModelName,
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="A group, as C001, or a label UUID.")],
    *,
    network: NetworkFile,
    element: ElementNumber = 0,
    delete: Delete = False,
    link: RadioLink = "",
    json: Json = False,
    trace: Trace = None,
) -> None:
    """Let a model hear a group address, or a virtual one by its label UUID.

    Example: keywright mesh node subscribe 0100 1000 C001 --network home.mesh
    """
    place, group = place_of(model, element), address_of(address)
    with owner_at(network, link, trace) as owner:
        found = node_in(owner.database, node)
        change = unsubscribe_model if delete else subscribe_model
        owner.ask(change(owner.visit(found), place, group))
        _done(owner, found, as_json=json)


@app.command()
def publish(
    node: NodeName,
    model: ModelName,
    address: Annotated[
        str, typer.Argument(metavar="ADDRESS", help="Where to: an address, a label UUID, or none to publish nothing.")
    ],
    *,
    network: NetworkFile,
    app_key: Annotated[str, typer.Option("--app-key", metavar="INDEX", help="Under which AppKey, in hex.")] = "",
    every: Annotated[str, typer.Option("--every", metavar="SECONDS", help="Of itself so often; 0: never.")] = "0",
    repeat: Annotated[str, typer.Option("--repeat", metavar="COUNT:MS", help="Each so often again.")] = "0:50",
    ttl: Annotated[int, typer.Option("--ttl", min=0, max=255, help="How far; 255: the node's own TTL.")] = _TTL_OF_NODE,
    element: ElementNumber = 0,
    link: RadioLink = "",
    json: Json = False,
    trace: Trace = None,
) -> None:
    """Say where a model publishes to.

    Example: keywright mesh node publish 0100 1000 C001 --network home.mesh --app-key 000 --every 30
    """
    place, publication = place_of(model, element), None
    if address != "none":
        if not app_key:
            raise UsageError("a model publishes under an AppKey", hint="name it with --app-key INDEX")
        if _TTL_LAST < ttl < _TTL_OF_NODE:
            raise UsageError(f"--ttl {ttl}: no TTL", hint="0 to 127, or 255 for the node's own")
        index, where = index_of(app_key), address_of(address)
        publication = Published(where, index, ttl, period_of(every), retransmit_of(repeat))
    with owner_at(network, link, trace) as owner:
        found = node_in(owner.database, node)
        owner.ask(publish_model(owner.visit(found), place, publication))
        _done(owner, found, as_json=json)


@app.command()
def reset(
    node: NodeName,
    *,
    network: NetworkFile,
    link: RadioLink = "",
    yes: Yes = False,
    json: Json = False,
    trace: Trace = None,
) -> None:
    """Let a node leave: it forgets everything and is a device again, then the network forgets it.

    Its keys stay those of the network: where the node is not trusted, use `remove`.

    Example: keywright mesh node reset 0100 --network home.mesh
    """
    with owner_at(network, link, trace) as owner:
        found = node_in(owner.database, node)
        confirm(link, f"make node {found.unicast_address} forget its network", yes=yes)
        owner.ask(leave(owner.visit(found)))
    _left(found, Refreshed(), as_json=json)


@app.command()
def remove(
    node: NodeName,
    *,
    network: NetworkFile,
    leave_out_silent: LeaveOut = False,
    link: RadioLink = "",
    yes: Yes = False,
    json: Json = False,
    trace: Trace = None,
) -> None:
    """Remove a node that may be lost or hostile: reset it if it answers, and give all others new keys (MshPRT 3.11.7).

    Cut anywhere, it goes on when it is called again; once the node is forgotten, with `mesh network refresh`.

    Example: keywright mesh node remove 0100 --network home.mesh
    """
    with owner_at(network, link, trace) as owner:
        found = node_in(owner.database, node)
        confirm(link, f"remove node {found.unicast_address} and replace the keys of all others", yes=yes)
        done = owner.ask(
            remove_node(
                owner.database,
                uuid_bytes(found.uuid),
                random_bytes=os.urandom,
                timestamp=owner.timestamp,
                leave_out_silent=leave_out_silent,
            )
        )
    _left(found, done, as_json=json)


def _every_model(node: NodeEntry, keys: tuple[int, ...]) -> tuple[ModelPlan, ...]:
    by_device_key = {model.to_bytes(2, "little") for model in DEVICE_KEY_MODELS}
    models = [(element.index, model_octets(model.model_id)) for element in node.elements for model in element.models]
    return tuple(ModelPlan(element, model, keys) for element, model in models if model not in by_device_key)


def _done(owner: Owner, node: NodeEntry, *, as_json: bool) -> None:
    if not as_json:
        say(f"{good('done')}: node {node.unicast_address} has accepted it")
        return
    tell_node(owner.database, uuid_bytes(node.uuid), as_json=True)


def _left(node: NodeEntry, refreshed: Refreshed, *, as_json: bool) -> None:
    if as_json:
        show_json(
            {
                "address": node.unicast_address,
                "uuid": node.uuid,
                "excluded": list(refreshed.excluded),
                "late": list(refreshed.late),
            }
        )
        return
    say(f"{good('gone')}: {node.uuid}, its addresses rest until the IV index has changed")
    tell_left_out(refreshed)


def tell_left_out(refreshed: Refreshed) -> None:
    """Name the nodes that a refresh left out."""
    for name in refreshed.excluded:
        note(f"without the new keys, and so out of the network: {name}")
    for name in refreshed.late:
        note(f"has the new keys, and follows when it hears a beacon: {name}")


app.registered_commands += renew.app.registered_commands
