"""A node is provisioned anew through its own interface: key, address, composition; refused data, lost answers, cuts."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from keywright.crypto.ec import EcPrivateKey
from keywright.errors import LinkError, PolicyError, UsageError
from keywright.mesh import device, provisioner
from keywright.mesh.configuring import first_configuration
from keywright.mesh.conversation import Conversation, Done
from keywright.mesh.database.keys import owner_stack
from keywright.mesh.database.network import NetworkDatabase
from keywright.mesh.device import Abilities
from keywright.mesh.enrolment import Candidate, Failed
from keywright.mesh.messages import ErrorCode, ProvisioningData
from keywright.mesh.models import configuration as c
from keywright.mesh.models.composition import Composition, Element, parse_composition
from keywright.mesh.models.configuration_client import Patience, Target, ask, bind
from keywright.mesh.models.indexes import pack_indexes
from keywright.mesh.models.state import NetKeyState, NodeMemory, NodeState
from keywright.mesh.network.advertised import Advertised
from keywright.mesh.network.iv_index import IvState
from keywright.mesh.oob import Method, Value
from keywright.mesh.policy import Policy
from keywright.mesh.remote.interface import InterfaceLink, NodeInterface, take_new_place
from keywright.mesh.remote.messages import Procedure
from keywright.mesh.remote.renewing import Renewed, Renewing, find_out, renewal_under_way
from keywright.sansio.air import Conditions
from keywright.store.memory import RamMemory
from support.mesh import make_device, make_provisioner
from support.mesh_network import NET_KEY, ONOFF, TIME, Network, uuid_of

STATIC = bytes(range(32))
KEY = EcPrivateKey.generate("P-256")
NOW = Composition(0x05F1, 1, 1, 100, 0, (Element(0x0100, (0, 2, 4, 0x1000)),))
NEXT = Composition(0x05F1, 1, 2, 100, 0, (Element(0x0100, (0, 2, 4, 0x1002)),))
LARGER = Composition(0x05F1, 1, 2, 100, 0, (Element(0x0100, (0, 2, 4, 0x1000)), Element(0x0101, (0x1000,))))
UUID = uuid_of(0)
QUICK = Patience(2.0, 4)


def network(after: Composition | None = None, conditions: Conditions | None = None, seed: int = 1) -> Network:
    able = Abilities(static_oob=STATIC, static_key=KEY)
    return Network(1, composition=NOW, abilities=able, next_composition=after, conditions=conditions, seed=seed)


def renewing(net: Network, procedure: int, *, known: bool = True, allow_weak: bool = False) -> Renewing:
    return Renewing(
        owner_stack(net.database, net.air.now),
        make_provisioner(),
        net.database,
        Candidate(UUID, static_oob=STATIC, public_key=KEY.public) if known else Candidate(UUID),
        procedure,
        net.air.now,
        policy=Policy(methods=(Method.STATIC, Method.NONE)),
        timestamp=TIME,
        allow_weak=allow_weak,
    )


def run(net: Network, endpoint: Renewing) -> Renewed | Failed:
    place = net.air.join(Advertised(endpoint))
    found: list[Renewed | Failed] = []

    def ended() -> bool:
        found.extend(event for event in endpoint.events() if isinstance(event, Renewed | Failed))
        return bool(found)

    net.air.run(net.air.now + 900.0, ended)
    assert found, "neither renewed nor failed"
    net.air.run(net.air.now + 20.0)
    net.air.leave(place)
    return found[0]


def page(net: Network, number: int) -> Composition:
    status = net.run(ask(Target(net.address(0)), c.CompositionDataGet(number)))
    assert isinstance(status, c.CompositionDataStatus)
    assert status.page == number
    return parse_composition(status.data)


@pytest.mark.parametrize("seed", range(3))
def test_a_device_key_is_replaced(seed: int) -> None:
    net = network(conditions=Conditions(0.2, 0.2, 0.001, 0.1) if seed else None, seed=seed)
    before = net.state(0)
    end = run(net, renewing(net, Procedure.DEVICE_KEY))
    assert isinstance(end, Renewed), end
    waiting = net.state(0)
    assert waiting.device_key == before.device_key
    assert waiting.new_device_key.hex().upper() == end.node.device_key
    assert net.run(ask(Target(net.address(0), patience=Patience(3.0, 20)), c.BeaconGet())) == c.BeaconStatus(1)
    after = net.state(0)
    assert (after.device_key, after.new_device_key) == (waiting.new_device_key, b"")
    assert after.address == before.address
    assert renewal_under_way(net.database, UUID) is None


def test_an_address_and_with_it_the_composition_changes() -> None:
    net = network(LARGER)
    first = net.address(0)
    assert (page(net, 0), page(net, 128)) == (NOW, LARGER)
    end = run(net, renewing(net, Procedure.ADDRESS))
    assert isinstance(end, Renewed), end
    assert end.node.address not in {first, net.database.own_address()}
    assert (end.node.last_address - end.node.address, end.node.config_complete) == (1, False)
    assert net.run(first_configuration(net.database, UUID, timestamp=TIME)) == LARGER
    assert net.state(0).address == net.address(0) == end.node.address
    assert (page(net, 0), page(net, 128)) == (LARGER, LARGER)
    assert net.database.cdb.network_exclusions[0].addresses == (f"{first:04X}",)
    again = NetworkDatabase(net.owner)
    assert again.reserve(bytes(16), 1).first not in {first, end.node.address, end.node.address + 1}


def test_a_composition_changes_and_what_no_model_has_goes() -> None:
    net = network(NEXT)
    index = pack_indexes(0, 5)
    net.run(ask(Target(net.address(0)), c.AppKeyAdd(index, b"K" * 16)))
    net.run(bind(Target(net.address(0)), net.address(0), ONOFF, 5))
    first = net.address(0)
    end = run(net, renewing(net, Procedure.COMPOSITION))
    assert isinstance(end, Renewed), end
    assert net.run(first_configuration(net.database, UUID, timestamp=TIME)) == NEXT
    assert net.address(0) == first
    assert ONOFF.hex() not in "".join(net.state(0).models)
    assert net.state(0).app_keys.keys() == {5}
    net.switch_off(0)
    net.switch_on(0)
    assert page(net, 0) == NEXT
    # There is no further one.
    end = run(net, renewing(net, Procedure.COMPOSITION))
    assert isinstance(end, Failed)
    assert "status 04 (link cannot open)" in str(end.error)


@pytest.mark.parametrize("after", [None, LARGER], ids=["none", "with another element"])
def test_no_composition_refresh_without_a_next_composition_of_as_many_elements(after: Composition | None) -> None:
    net = network(after)
    end = run(net, renewing(net, Procedure.COMPOSITION))
    assert isinstance(end, Failed)
    assert "status 04 (link cannot open)" in str(end.error)


def test_policy_holds_here_too() -> None:
    net = network()
    end = run(net, renewing(net, Procedure.DEVICE_KEY, known=False))
    assert isinstance(end, Failed)
    assert isinstance(end.error, PolicyError)
    assert not end.may_be_node
    assert isinstance(run(net, renewing(net, Procedure.DEVICE_KEY, known=False, allow_weak=True)), Renewed)


# ---- what the node takes ------------------------------------------------------------------------------------------

ADDRESS = 0x0100
GOOD = ProvisioningData(NET_KEY, 0, 0, (5).to_bytes(4), ADDRESS)


def interface(memory: RamMemory, judged: list[Callable[[ProvisioningData], int]], phase: int = 0) -> NodeInterface:
    node = NodeMemory(memory, NOW)
    key = NetKeyState(b"O" * 16, NET_KEY, 2) if phase == 2 else NetKeyState(NET_KEY)
    node.begin(NodeState(ADDRESS, b"D" * 16, {0: key}))

    def make(elements: int, *, remember: object, judge: Callable[[ProvisioningData], int]) -> object:
        del elements, remember
        judged.append(judge)
        return make_device()

    return NodeInterface(node, make, lambda: IvState(5, is_updating=phase == 2))  # type: ignore[arg-type]  # makes a device


@pytest.mark.parametrize(
    ("procedure", "changes", "code"),
    [
        (Procedure.DEVICE_KEY, {}, 0),
        (Procedure.DEVICE_KEY, {"net_key": bytes(16)}, ErrorCode.INVALID_DATA),
        (Procedure.DEVICE_KEY, {"key_index": 1}, ErrorCode.INVALID_DATA),
        (Procedure.DEVICE_KEY, {"flags": 1}, ErrorCode.INVALID_DATA),
        (Procedure.DEVICE_KEY, {"flags": 2}, ErrorCode.INVALID_DATA),
        (Procedure.DEVICE_KEY, {"iv_index": bytes(4)}, ErrorCode.INVALID_DATA),
        (Procedure.DEVICE_KEY, {"unicast_address": ADDRESS + 1}, ErrorCode.INVALID_DATA),
        (Procedure.ADDRESS, {}, ErrorCode.INVALID_DATA),
        (Procedure.ADDRESS, {"unicast_address": ADDRESS + 1}, 0),
        (Procedure.ADDRESS, {"unicast_address": ADDRESS + 1, "flags": 1}, ErrorCode.INVALID_DATA),
    ],
)
def test_data_of_another_network_are_refused(procedure: int, changes: dict[str, object], code: int) -> None:
    judged: list[Callable[[ProvisioningData], int]] = []
    assert interface(RamMemory(), judged).open(procedure, 0.0) is not None
    assert judged[0](msgspec.structs.replace(GOOD, **changes)) == code


def test_in_phase_2_the_new_key_is_the_networks() -> None:
    judged: list[Callable[[ProvisioningData], int]] = []
    interface(RamMemory(), judged, phase=2).open(Procedure.DEVICE_KEY, 0.0)
    assert judged[0](msgspec.structs.replace(GOOD, flags=3)) == 0
    assert judged[0](GOOD) == ErrorCode.INVALID_DATA


def test_a_link_that_nobody_uses_ends_by_its_timer() -> None:
    link = InterfaceLink(make_device())
    assert len(link.events()) == 1
    link.send(b"\x00\x00", 0.0)
    assert link.outgoing(1.0) == ()
    assert len(link.events()) == 1
    assert link.deadline() == 60.0
    link.outgoing(60.0)
    (closed,) = link.events()
    assert "no PDU" in str(closed)
    assert link.deadline() is None


def test_a_node_that_is_to_change_nothing_stays() -> None:
    memory = NodeMemory(RamMemory(), NOW)
    assert not take_new_place(memory)
    memory.begin(NodeState(ADDRESS, b"D" * 16, {0: NetKeyState(NET_KEY)}, new_device_key=b"N" * 16))
    assert not take_new_place(memory)


@pytest.mark.parametrize("method", [Method.OUTPUT, Method.INPUT])
def test_a_person_carries_a_value_between_owner_and_node(method: int) -> None:
    able = Abilities(static_key=KEY, output_size=6, output_actions=1 << 3, input_size=6, input_actions=1 << 2)
    net = Network(1, composition=NOW, abilities=able)
    endpoint = Renewing(
        owner_stack(net.database, 0.0),
        make_provisioner(),
        net.database,
        Candidate(UUID, public_key=KEY.public),
        Procedure.DEVICE_KEY,
        0.0,
        policy=Policy(methods=(method,)),
        timestamp=TIME,
    )
    owner = net.air.join(Advertised(endpoint))
    shown: list[Value] = []
    wanted: list[Callable[[Value, float], None]] = []
    ended: list[Renewed | Failed] = []

    def carry() -> bool:
        at_node = net.units[0].device
        for event in (*net.units[0].events(), *endpoint.events()):
            match event:
                case device.ValueShown() | provisioner.ValueShown():
                    shown.append(event.value)
                case device.ValueWanted() if at_node is not None:
                    wanted.append(at_node.enter)
                case provisioner.ValueWanted():
                    wanted.append(endpoint.enter)
                case Renewed() | Failed():
                    ended.append(event)
                case _:
                    pass
        if shown and wanted:
            wanted.pop()(shown.pop(), net.air.now)
            net.air.wake(net.places[0])
            net.air.wake(owner)
        return bool(ended)

    net.air.run(300.0, carry)
    assert isinstance(ended[0], Renewed)


# ---- cuts ---------------------------------------------------------------------------------------------------------


def ask_which(net: Network) -> bool:
    """Find out, as an owner does after a cut."""
    stack = owner_stack(net.database, net.air.now)
    talk = Conversation(stack, find_out(net.database, stack, UUID, TIME, QUICK), net.air.now)
    place = net.air.join(Advertised(talk))
    net.air.run(net.air.now + 60.0, lambda: talk.is_over)
    net.air.leave(place)
    (done,) = (event for event in talk.events() if isinstance(event, Done))
    result: bool = done.result
    return result


@pytest.mark.parametrize("procedure", [Procedure.DEVICE_KEY, Procedure.ADDRESS])
@pytest.mark.parametrize("side", ["owner", "node"])
def test_after_a_cut_the_node_answers_under_a_key_that_the_owner_has(side: str, procedure: int) -> None:
    outcomes = set()
    for cut in range(21, 110, 3):
        net = network()
        endpoint = renewing(net, procedure)
        place = net.air.join(Advertised(endpoint))
        end = net.air.sent + cut
        net.air.run(60.0, lambda net=net, end=end: net.air.sent >= end)  # type: ignore[misc]  # bound for this turn
        net.air.leave(place)
        if side == "node":
            net.switch_off(0)
            net.switch_on(0)
        net.air.run(net.air.now + 100.0)
        net.database = NetworkDatabase(net.owner)
        outcome = ask_which(net) if renewal_under_way(net.database, UUID) else None
        outcomes.add(outcome)
        is_kept = outcome is False and procedure != Procedure.DEVICE_KEY
        assert (renewal_under_way(net.database, UUID) is not None) == is_kept
        assert net.run(ask(Target(net.address(0), patience=QUICK), c.BeaconGet())) == c.BeaconStatus(1), cut
        assert net.state(0).address == net.address(0)
        assert net.state(0).new_device_key == b"" or outcome is False
    # All segments of a message leave at once, so the owner is never cut between them.
    assert outcomes == ({None, True, False} if side == "node" else {None, True})


@pytest.mark.parametrize("procedure", [Procedure.DEVICE_KEY, Procedure.ADDRESS, Procedure.COMPOSITION])
def test_a_node_that_is_asked_while_its_link_is_still_open_is_not_lost(procedure: int) -> None:
    """The owner comes back at once: the node has the data, and changes its place only when the link is over."""
    outcomes = set()
    for cut in range(21, 110, 3):
        net = network(NEXT)
        endpoint = renewing(net, procedure)
        place = net.air.join(Advertised(endpoint))
        end = net.air.sent + cut
        net.air.run(60.0, lambda net=net, end=end: net.air.sent >= end)  # type: ignore[misc]  # bound for this turn
        net.air.leave(place)
        net.database = NetworkDatabase(net.owner)
        outcomes.add(ask_which(net) if renewal_under_way(net.database, UUID) else None)
        net.air.run(net.air.now + 100.0)
        if renewal_under_way(net.database, UUID):
            ask_which(net)  # the next call asks again
        assert net.run(ask(Target(net.address(0), patience=QUICK), c.BeaconGet())) == c.BeaconStatus(1), cut
        assert net.state(0).address == net.address(0)
        net.switch_off(0)
        net.switch_on(0)
        assert net.run(ask(Target(net.address(0), patience=QUICK), c.BeaconGet())) == c.BeaconStatus(1), cut
    assert outcomes == {None, False}


def test_who_answers_under_neither_key_is_named() -> None:
    net = network()
    assert isinstance(net.fails(find_out(net.database, owner_stack(net.database, 0.0), UUID, TIME, QUICK)), UsageError)
    endpoint = renewing(net, Procedure.DEVICE_KEY)
    place = net.air.join(Advertised(endpoint))
    net.air.run(60.0, lambda: renewal_under_way(net.database, UUID) is not None)
    net.air.leave(place)
    net.switch_off(0)
    stack = owner_stack(net.database, net.air.now)
    error = net.fails(find_out(net.database, stack, UUID, TIME, QUICK))
    assert isinstance(error, LinkError)
