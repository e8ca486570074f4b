"""Keys of a whole network are replaced, nodes removed: over the air, with nodes that are silent and power that goes."""

from __future__ import annotations

import itertools

import pytest

from keywright.errors import LinkError, UsageError
from keywright.mesh.configuring import Plan, first_configuration
from keywright.mesh.conversation import Conversation
from keywright.mesh.database.keys import add_app_key, keyring, owner_stack, refreshes_under_way
from keywright.mesh.database.network import NetworkDatabase
from keywright.mesh.key_refresh import Refreshed, refresh_keys, remove_node
from keywright.mesh.models import configuration as c
from keywright.mesh.models.configuration_client import Dialogue, Patience, Target, ask
from keywright.mesh.models.state import AppKeyState, NetKeyState
from keywright.mesh.network.advertised import Advertised
from keywright.sansio.air import Conditions
from support.mesh import counting
from support.mesh_network import NET_KEY, TIME, Network, uuid_of

APP_KEY = b"application key!"
QUICK = Patience(2.0, 3)


def network(nodes: int = 3, **options: object) -> Network:
    """Nodes with AppKey 5; the last one has none."""
    net = Network(nodes, **options)  # type: ignore[arg-type]  # as Network has them
    add_app_key(net.database, 5, APP_KEY, timestamp=TIME)
    for number in range(nodes - 1):
        plan = Plan((5,), ())
        net.run(first_configuration(net.database, uuid_of(number), plan, timestamp=TIME, patience=Patience(5.0, 20)))
    return net


def refresh(
    net: Network, patience: Patience = QUICK, *, leave_out: bool = False, seed: int = 77
) -> Dialogue[Refreshed]:
    return refresh_keys(
        net.database, 0, random_bytes=counting(seed), timestamp=TIME, patience=patience, leave_out_silent=leave_out
    )


def removal(net: Network, number: int, *, leave_out: bool = False) -> Dialogue[Refreshed]:
    return remove_node(
        net.database,
        uuid_of(number),
        random_bytes=counting(78),
        timestamp=TIME,
        patience=QUICK,
        leave_out_silent=leave_out,
    )


def check_refreshed(net: Network, *numbers: int) -> None:
    """The network has new keys alone, and so have these nodes."""
    again = NetworkDatabase(net.owner)
    (net_key,), (app_key,) = again.cdb.net_keys, again.cdb.app_keys
    assert (net_key.phase, net_key.old_key, app_key.old_key) == (0, None, None)
    assert bytes.fromhex(net_key.key) != NET_KEY
    assert bytes.fromhex(app_key.key) != APP_KEY
    assert refreshes_under_way(again) == []
    for number in numbers:
        state = net.state(number)
        assert state.net_keys == {0: NetKeyState(bytes.fromhex(net_key.key))}, number
        assert state.app_keys in ({5: AppKeyState(0, bytes.fromhex(app_key.key))}, {}), number
        assert net.run(ask(Target(net.address(number)), c.BeaconGet())) == c.BeaconStatus(1)


@pytest.mark.parametrize("seed", range(3))
def test_every_node_gets_the_new_keys_also_in_bad_air(seed: int) -> None:
    net = network(conditions=Conditions(0.3, 0.2, 0.001, 0.1) if seed else None, seed=seed)
    assert net.run(refresh(net, Patience(5.0, 20))) == Refreshed()
    check_refreshed(net, 0, 1, 2)
    assert [state.app_keys for state in map(net.state, range(3))][2] == {}
    assert all(key.updated for node in net.database.cdb.nodes for key in node.net_keys)


@pytest.mark.parametrize("side", ["node", "owner"])
def test_a_refresh_that_is_cut_at_any_frame_goes_on_where_it_was(side: str) -> None:
    for cut in itertools.count(1, 3):
        net = network(2)
        before = net.air.sent
        talk = Conversation(
            owner_stack(net.database, net.air.now),
            refresh(net),
            net.air.now,
            keyring=lambda net=net: keyring(net.database),  # type: ignore[misc]  # bound for this turn
        )
        place = net.air.join(Advertised(talk))
        net.air.run(
            net.air.now + 60.0,
            lambda net=net, talk=talk, end=before + cut: net.air.sent >= end or talk.is_over,  # type: ignore[misc]  # bound for this turn too
        )
        if talk.is_over:
            assert cut > 15
            return
        net.air.leave(place)
        if side == "node":
            net.switch_off(0)
            net.switch_on(0)
        else:
            net.database = NetworkDatabase(net.owner)  # a new process
        assert net.run(refresh(net)) == Refreshed()
        check_refreshed(net, 0, 1)


def test_a_silent_node_is_named_and_asked_again() -> None:
    net = network()
    net.switch_off(1)
    error = net.fails(refresh(net))
    assert isinstance(error, LinkError)
    assert "nodes did not take the new keys (phase 1), 1 of them: fob 1 at 0003: Config NetKey Update to 0003" in str(
        error
    )
    assert net.database.cdb.net_keys[0].phase == 1
    assert net.database.net_key(0) == NET_KEY  # what a new device would get
    net.switch_on(1)
    assert net.run(refresh(net)) == Refreshed()
    check_refreshed(net, 0, 1, 2)


def test_a_silent_node_is_left_out_on_demand_and_has_the_old_keys_alone() -> None:
    net = network()
    net.switch_off(1)
    assert net.run(refresh(net, leave_out=True)) == Refreshed(excluded=("fob 1 at 0003",))
    check_refreshed(net, 0, 2)
    assert [node.excluded for node in net.database.cdb.nodes] == [False, True, False]
    net.switch_on(1)
    assert isinstance(net.fails(ask(Target(net.address(1), patience=QUICK), c.BeaconGet())), LinkError)
    # The next refresh passes it over.
    assert net.run(refresh(net, seed=99)) == Refreshed()


@pytest.mark.parametrize("phase", [2, 3])
def test_who_misses_a_later_phase_follows_by_beacon(phase: int) -> None:
    net = network()
    dialogue = refresh(net, leave_out=True)

    def without_one_answer() -> Dialogue[Refreshed]:
        """Node 1 goes off the air when the phase begins, and comes back after the refresh."""
        asked = next(dialogue)
        try:
            while True:
                message = asked.message
                if isinstance(message, c.KeyRefreshPhaseSet) and message.transition == phase and 1 in net.units:
                    net.switch_off(1)
                try:
                    answer = yield asked
                except LinkError as error:
                    asked = dialogue.throw(error)
                else:
                    asked = dialogue.send(answer)
        except StopIteration as stop:
            result: Refreshed = stop.value
            return result

    assert net.run(without_one_answer()) == Refreshed(late=("fob 1 at 0003",))
    assert net.state(1).net_keys[0].phase == phase - 1
    net.switch_on(1)
    net.air.run(net.air.now + 40.0)
    check_refreshed(net, 0, 1, 2)


def test_a_removed_node_hears_nothing_any_more() -> None:
    net = network()
    address = net.address(1)
    assert net.run(removal(net, 1)) == Refreshed()
    check_refreshed(net, 0, 2)
    assert net.units[1].node is None
    assert net.database.node(uuid_of(1)) is None
    assert net.database.cdb.network_exclusions[0].addresses == (f"{address:04X}", f"{address + 1:04X}")


def test_a_node_that_is_gone_is_removed_all_the_same() -> None:
    net = network()
    net.switch_off(1)
    net.run(removal(net, 1))
    check_refreshed(net, 0, 2)
    net.switch_on(1)  # stolen, and found again: it has no key of the network
    assert net.state(1).net_keys == {0: NetKeyState(NET_KEY)}
    net.air.run(net.air.now + 60.0)
    assert net.state(1).net_keys == {0: NetKeyState(NET_KEY)}


def test_a_removal_that_is_cut_is_ended_by_the_next_call() -> None:
    for cut in range(1, 30, 4):
        net = network()
        net.switch_off(1)
        talk = Conversation(
            owner_stack(net.database, net.air.now),
            removal(net, 1),
            net.air.now,
            keyring=lambda net=net: keyring(net.database),  # type: ignore[misc]  # bound for this turn
        )
        place = net.air.join(Advertised(talk))
        end = net.air.sent + cut
        net.air.run(
            net.air.now + 60.0,
            lambda net=net, talk=talk, end=end: net.air.sent >= end or talk.is_over,  # type: ignore[misc]  # bound for this turn too
        )
        net.air.leave(place)
        net.database = NetworkDatabase(net.owner)
        if net.database.node(uuid_of(1)) is not None:
            net.run(removal(net, 1))
        elif refreshes_under_way(net.database):
            net.run(refresh(net))
        check_refreshed(net, 0, 2)
        assert net.database.node(uuid_of(1)) is None


def test_one_refresh_at_a_time() -> None:
    net = network()
    net.switch_off(1)
    net.fails(refresh(net))
    error = net.fails(removal(net, 1))
    assert isinstance(error, UsageError)
    assert "NetKey 0 is being refreshed already" in str(error)
    assert isinstance(net.fails(removal(net, 9)), UsageError)
