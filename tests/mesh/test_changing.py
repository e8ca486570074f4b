"""One change of a node at a time, cut at any frame on either side; what the node says it has is written then."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from keywright.errors import LinkError, StatusError, UsageError, WireError
from keywright.mesh.changing import (
    Visit,
    bind_model,
    give_app_key,
    leave,
    publish_model,
    subscribe_model,
    take_app_key,
    unbind_model,
    unsubscribe_model,
)
from keywright.mesh.conversation import Conversation
from keywright.mesh.database.entries import Place, Published, model_name, model_octets
from keywright.mesh.database.keys import add_app_key, keyring, owner_stack, refresh_under_way
from keywright.mesh.database.network import NetworkDatabase
from keywright.mesh.key_refresh import refresh_keys
from keywright.mesh.models.composition import Composition, Element
from keywright.mesh.models.configuration_client import Dialogue, Patience
from keywright.mesh.models.state import Publication
from keywright.mesh.network.advertised import Advertised
from keywright.mesh.network.keys import virtual_address
from keywright.mesh.surveying import read_node
from support.mesh_network import ONOFF, TIME, Network, uuid_of

KEY = b"application key!"
LABEL = bytes(range(16))
PLACE = Place(1, ONOFF)
QUICK = Patience(1.0, 3)
GROUP, LONG = 0xC001, Published(LABEL, 5, 7, 0x45, 9)

CHANGES: dict[str, tuple[Callable[[Visit], Dialogue[None]], ...]] = {
    "AppKey": (lambda visit: give_app_key(visit, 5), lambda visit: take_app_key(visit, 5)),
    "binding": (lambda visit: bind_model(visit, PLACE, 5), lambda visit: unbind_model(visit, PLACE, 5)),
    "group": (lambda visit: subscribe_model(visit, PLACE, GROUP), lambda visit: unsubscribe_model(visit, PLACE, GROUP)),
    "label": (lambda visit: subscribe_model(visit, PLACE, LABEL), lambda visit: unsubscribe_model(visit, PLACE, LABEL)),
    "publication": (lambda visit: publish_model(visit, PLACE, LONG), lambda visit: publish_model(visit, PLACE, None)),
}


def network(nodes: int = 1) -> Network:
    net = Network(nodes)
    add_app_key(net.database, 5, KEY, timestamp=TIME)
    return net


def visit(net: Network, number: int = 0) -> Visit:
    return Visit(net.database, uuid_of(number), TIME, QUICK)


def used(net: Network) -> dict[str, Any]:
    """What the network's memory says of the model, and of the node's AppKeys."""
    (node,) = NetworkDatabase(net.owner).document["nodes"]
    models = [one for element in node["elements"] for one in element["models"] if element["index"] == PLACE.element]
    known = models[0] if models else {}
    subscribed = sorted(known.get("subscribe", []))
    return {
        "keys": [key["index"] for key in node["appKeys"]],
        "bind": known.get("bind", []),
        "subscribe": subscribed,
        "publish": (known.get("publish") or {}).get("address"),
    }


def has(net: Network) -> dict[str, Any]:
    """What the node itself has."""
    state = net.state(0)
    model = state.models.get(f"1:{ONOFF.hex()}")
    if model is None:
        return {"keys": [*state.app_keys], "bind": [], "subscribe": [], "publish": None}
    published = model.publication
    where = published.label.hex().upper() if published.label else f"{published.address:04X}"
    groups = [f"{one:04X}" for one in model.subscriptions] + [label.hex().upper() for label in model.labels]
    return {
        "keys": [*state.app_keys],
        "bind": model.bindings,
        "subscribe": sorted(groups),
        "publish": where if published.address else None,
    }


def prepared(name: str, *, back: bool) -> Network:
    """A node with what the change takes for granted; back: with the change, which is to be taken back."""
    net = network()
    needs = {"binding": ("AppKey",), "publication": ("AppKey", "binding")}.get(name, ())
    for one in (*needs, *((name,) if back else ())):
        net.run(CHANGES[one][0](visit(net)))
    return net


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_written_when_the_node_has_accepted_it_and_taken_back(name: str) -> None:
    net = prepared(name, back=False)
    before = used(net)
    net.run(CHANGES[name][0](visit(net)))
    assert used(net) == has(net) != before
    net.run(CHANGES[name][0](visit(net)))  # twice does no harm
    assert used(net) == has(net)
    net.run(CHANGES[name][1](visit(net)))
    assert used(net) == has(net) == {**before, "bind": before["bind"]}


@pytest.mark.parametrize("side", ["node", "owner"])
@pytest.mark.parametrize("back", [False, True], ids=["done", "taken back"])
@pytest.mark.parametrize("name", CHANGES)
def test_a_change_cut_at_any_frame_is_found_by_asking_and_made_by_doing_it_again(
    name: str, side: str, *, back: bool
) -> None:
    for cut in itertools.count(1):
        net = prepared(name, back=back)
        change = CHANGES[name][int(back)]
        talk = Conversation(owner_stack(net.database, net.air.now), change(visit(net)), net.air.now)
        place, last = net.air.join(Advertised(talk)), net.air.sent + cut
        net.air.run(net.air.now + 30.0, partial(_is_cut, net, talk, last))
        is_over = talk.is_over
        net.air.leave(place)
        if side == "node":
            net.switch_off(0)
            net.switch_on(0)
        net.database = NetworkDatabase(net.owner)  # a new process
        net.air.run(net.air.now + 5.0)
        net.run(read_node(visit(net)))
        assert as_told(used(net)) == as_told(has(net))
        net.run(change(visit(net)))
        assert used(net) == has(net)
        if is_over:
            assert cut >= 2
            return


def _is_cut(net: Network, talk: Conversation[None], last: int) -> bool:
    return talk.is_over or net.air.sent >= last


def as_told(found: dict[str, Any]) -> dict[str, Any]:
    """What a node can tell of it: of a label the virtual address."""

    def told(name: str | None) -> str | None:
        return f"{virtual_address(bytes.fromhex(name)):04X}" if name is not None and len(name) > 4 else name

    return {**found, "publish": told(found["publish"]), "subscribe": sorted(map(str, map(told, found["subscribe"])))}


def test_a_key_that_goes_takes_bindings_and_publication_along() -> None:
    net = prepared("publication", back=True)
    net.run(take_app_key(visit(net), 5))
    assert used(net) == has(net) == {"keys": [], "bind": [], "subscribe": [], "publish": None}


def test_what_the_node_refuses_is_not_written() -> None:
    net = network()
    error = net.fails(bind_model(visit(net), PLACE, 5))
    assert isinstance(error, StatusError)
    assert used(net)["bind"] == []


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda visit: bind_model(visit, Place(2, ONOFF), 5), "has no element 2"),
        (lambda visit: bind_model(visit, Place(0, b"\x01\x10"), 5), "has no model 1001"),
        (lambda visit: subscribe_model(visit, PLACE, 0x8001), "8001 is a virtual address"),
        (lambda visit: unsubscribe_model(visit, PLACE, 0xFFFF), "FFFF is no address that a model can subscribe to"),
        (lambda visit: publish_model(visit, PLACE, Published(0x8001, 5)), "8001 is a virtual address"),
        (lambda visit: give_app_key(visit, 6), "no AppKey with index 6"),
        (lambda visit: give_app_key(visit._replace(uuid=bytes(16)), 5), "no node of this network"),
    ],
)
def test_what_cannot_be_is_said_before_the_node_is_changed(change: Callable[[Visit], Dialogue[None]], why: str) -> None:
    net = network()
    before = has(net)
    error = net.fails(change(visit(net)))
    assert isinstance(error, UsageError)
    assert why in str(error)
    assert has(net) == before


def test_a_node_with_the_new_keys_of_a_refresh_takes_no_old_one() -> None:
    """In phase 1 the old AppKey is sent, and the new one of it would never follow."""
    net = network(2)
    net.switch_off(1)
    error = net.fails(refresh_keys(net.database, 0, random_bytes=bytes, timestamp=TIME, patience=QUICK))
    assert isinstance(error, LinkError)
    assert refresh_under_way(net.database, 0) is not None
    refused = net.fails(give_app_key(visit(net, 0), 5))
    assert isinstance(refused, UsageError)
    net.switch_on(1)
    net.run(give_app_key(visit(net, 1), 5))  # it is not through: it gets the new one with the phase
    net.run(refresh_keys(net.database, 0, random_bytes=bytes, timestamp=TIME, patience=QUICK))
    assert net.state(1).app_keys[5].key == bytes(16)
    net.run(give_app_key(visit(net, 0), 5))
    assert net.state(0).app_keys[5].key == bytes(16)


def test_a_node_leaves_and_its_addresses_rest() -> None:
    net = network()
    address = net.address(0)
    net.run(leave(visit(net)))
    assert net.units[0].node is None
    assert net.database.node(uuid_of(0)) is None
    assert net.database.reserve(uuid_of(0), 2).first != address


def test_a_node_that_does_not_say_that_it_left_is_kept() -> None:
    net = network()
    net.switch_off(0)
    error = net.fails(leave(visit(net)))
    assert isinstance(error, LinkError)
    assert "kept in the network's memory" in str(error)
    assert net.database.node(uuid_of(0)) is not None


def test_a_node_that_is_not_what_it_was_is_not_written() -> None:
    net = network()
    before = net.database.export()
    net.composition = Composition(1, 2, 3, 4, 0, (Element(0, (0,)),))
    net.switch_off(0)
    net.switch_on(0)
    assert isinstance(net.fails(read_node(visit(net))), WireError)
    assert net.database.document["nodes"] == NetworkDatabase(net.owner).document["nodes"]
    assert before.count('"appKeys": []') == net.database.export().count('"appKeys": []')


def test_models_have_names() -> None:
    for octets, name in ((ONOFF, "1000"), (b"\xf1\x05\x34\x12", "05F11234")):
        assert (model_name(octets), model_octets(name)) == (name, octets)


def test_nothing_published_is_said_as_such() -> None:
    net = prepared("publication", back=True)
    net.run(publish_model(visit(net), PLACE, None))
    assert net.state(0).models[f"1:{ONOFF.hex()}"].publication == Publication()
    assert keyring(net.database).applications.keys() == {5}
