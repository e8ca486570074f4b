"""A node is configured over the air by its network's owner: what it has is what the network's memory says it has."""

from __future__ import annotations

import itertools

import pytest

from keywright.errors import LinkError, PolicyError, StatusError, UsageError, WireError
from keywright.mesh.configuring import ModelPlan, Plan, first_configuration
from keywright.mesh.conversation import Conversation, Stopped
from keywright.mesh.database.keys import add_app_key, keyring, owner_stack
from keywright.mesh.database.network import NetworkDatabase
from keywright.mesh.models import configuration as c
from keywright.mesh.models.composition import Composition, Element
from keywright.mesh.models.configuration_client import Patience, Target, ask, reset
from keywright.mesh.models.state import AppKeyState, Publication
from keywright.mesh.network.advertised import Advertised
from keywright.sansio.air import Conditions
from support.mesh_network import COMPOSITION, ONOFF, TIME, Network, uuid_of

KEY = b"application key!"
PLAN = Plan(
    app_keys=(5,),
    models=(ModelPlan(1, ONOFF, app_keys=(5,), groups=(0xC001, 0xC002), publish_to=0xC003, period=0x45, retransmit=9),),
)


def network(**options: object) -> Network:
    net = Network(1, **options)  # type: ignore[arg-type]  # as Network has them
    add_app_key(net.database, 5, KEY, timestamp=TIME)
    return net


def check_configured(net: Network) -> None:
    """Node and memory agree, and with the plan."""
    state, first = net.state(0), net.address(0)
    assert state.app_keys == {5: AppKeyState(0, KEY)}
    model = state.models[f"1:{ONOFF.hex()}"]
    assert model.bindings == [5]
    assert model.subscriptions == [0xC001, 0xC002]
    assert model.publication == Publication(0xC003, 5, 0xFF, 0x45, 9)
    again = NetworkDatabase(net.owner).node(uuid_of(0))
    assert again is not None
    assert (again.address, again.config_complete, again.cid) == (first, True, "05F1")
    assert [key.index for key in again.app_keys] == [5]
    (known,) = again.elements[1].models
    assert (known.model_id, known.bind, known.subscribe) == ("1000", (5,), ("C001", "C002"))
    (written,) = net.database.document["nodes"][0]["elements"][1]["models"]
    assert written["publish"] == {
        "address": "C003",
        "index": 5,
        "ttl": 255,
        "period": {"numberOfSteps": 5, "resolution": 1000},
        "retransmit": {"count": 1, "interval": 100},
        "credentials": 0,
    }


@pytest.mark.parametrize("seed", range(4))
def test_a_node_is_configured_also_in_bad_air(seed: int) -> None:
    net = network(conditions=Conditions(0.3, 0.3, 0.001, 0.2) if seed else None, seed=seed)
    patience = Patience(5.0, 20)
    assert (
        net.run(first_configuration(net.database, uuid_of(0), PLAN, timestamp=TIME, patience=patience)) == COMPOSITION
    )
    check_configured(net)


def test_a_node_that_comes_up_late_is_waited_for() -> None:
    net = network()
    net.switch_off(0)
    dialogue = first_configuration(net.database, uuid_of(0), timestamp=TIME)
    talk = Conversation(owner_stack(net.database, 0.0), dialogue, 0.0)
    net.air.join(Advertised(talk))
    net.air.run(20.0)
    assert not talk.is_over
    net.switch_on(0)
    net.air.run(40.0, lambda: talk.is_over)
    node = net.database.node(uuid_of(0))
    assert node is not None
    assert node.config_complete


def test_a_node_that_never_comes_up_is_named() -> None:
    net = network()
    net.switch_off(0)
    error = net.fails(first_configuration(net.database, uuid_of(0), timestamp=TIME))
    assert isinstance(error, LinkError)
    assert str(error) == "Config Composition Data Get to 0001 was not answered in 20 tries of 3 s"


@pytest.mark.parametrize("side", ["node", "owner"])
def test_a_cut_at_any_frame_is_made_good_by_beginning_again(side: str) -> None:
    for cut in itertools.count(1):
        net = network()
        run = first_configuration(net.database, uuid_of(0), PLAN, timestamp=TIME, coming_up=Patience(1.0, 3))
        talk = Conversation(owner_stack(net.database, 0.0), run, 0.0, keyring=lambda net=net: keyring(net.database))  # type: ignore[misc]  # bound for this turn
        place = net.air.join(Advertised(talk))
        net.air.run(30.0, lambda net=net, cut=cut, talk=talk: net.air.sent >= cut or talk.is_over)  # type: ignore[misc]  # bound for this turn too
        if talk.is_over:
            assert cut > 15
            return
        net.air.leave(place)
        if side == "node":
            net.switch_off(0)
            net.switch_on(0)
        else:
            net.database = NetworkDatabase(net.owner)  # a new process
        net.air.run(net.air.now + 15.0)
        net.run(first_configuration(net.database, uuid_of(0), PLAN, timestamp=TIME))
        check_configured(net)


def test_a_node_with_more_elements_than_it_said_is_refused() -> None:
    net = network()
    more = Composition(1, 2, 3, 4, 0, (*COMPOSITION.elements, Element(0)))
    net.database.reserve(b"a gap after them", 1)  # else the owner's address would be the third element's
    net.composition = more
    net.switch_off(0)
    net.switch_on(0)
    error = net.fails(first_configuration(net.database, uuid_of(0), timestamp=TIME))
    assert isinstance(error, WireError)
    assert "3 elements, but said 2" in str(error)


def test_a_plan_that_does_not_fit_is_an_error_that_says_so() -> None:
    net = network()
    for plan, kind, text in (
        (Plan((6,)), UsageError, "no AppKey with index 6"),
        (Plan(models=(ModelPlan(0, ONOFF, publish_to=0xC000),)), UsageError, "has no AppKey"),
        (Plan((5,), (ModelPlan(2, ONOFF, (5,)),)), StatusError, "invalid address"),
        (Plan((5,), (ModelPlan(0, b"\x02\x10", (5,)),)), StatusError, "invalid model"),
        (Plan((5,), (ModelPlan(0, b"\x00\x00", (5,)),)), StatusError, "cannot bind"),
    ):
        error = net.fails(first_configuration(net.database, uuid_of(0), plan, timestamp=TIME))
        assert isinstance(error, kind)
        assert text in str(error)
        node = net.database.node(uuid_of(0))
        assert node is not None
        assert not node.config_complete
    assert isinstance(net.fails(first_configuration(net.database, bytes(16), timestamp=TIME)), UsageError)


def test_a_key_that_is_not_here_stops_a_conversation() -> None:
    net = network()
    talk = Conversation(owner_stack(net.database, 0.0), ask(Target(0x0300), c.BeaconGet()), 0.0)
    talk.outgoing(0.0)
    (stopped,) = talk.events()
    assert isinstance(stopped, Stopped)
    assert isinstance(stopped.error, PolicyError)
    assert talk.deadline() is None


def test_a_reset_node_is_a_device_again_and_silent() -> None:
    net = network()
    target = Target(net.address(0), patience=Patience(1.0, 2))
    net.run(reset(target))
    assert net.units[0].node is None
    assert isinstance(net.fails(reset(target)), LinkError)
