"""The Configuration Server alone: every status that it has, every key refresh phase, and what it does not answer."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from keywright.errors import StoreError
from keywright.mesh.models import configuration as c
from keywright.mesh.models.composition import Composition, Element, parse_composition
from keywright.mesh.models.configuration import Status
from keywright.mesh.models.configuration_server import TABLE, ConfigurationServer
from keywright.mesh.models.indexes import pack_index_list, pack_indexes
from keywright.mesh.models.state import AppKeyState, NetKeyState, NodeMemory, NodeState, state_of
from keywright.mesh.network.access import AccessMessage
from keywright.mesh.network.iv_index import IvState
from keywright.mesh.network.keyring import DISTRIBUTING, NORMAL, SWITCHED
from keywright.mesh.network.keys import virtual_address
from keywright.store.memory import RamMemory

A = 0x0100
COMPOSITION = Composition(1, 2, 3, 10, 0, (Element(0, (0, 0x1000)), Element(0, (0x1000,), ((0x05F1, 7),))))
ONOFF, SERVER, VENDOR = b"\x00\x10", b"\x00\x00", b"\xf1\x05\x07\x00"
OLD, NEW, OTHER = b"O" * 16, b"N" * 16, b"X" * 16
LABEL = bytes(range(16))
ONE = pack_indexes(0, 1)


def make_node(memory: RamMemory | None = None, *, keys_room: int = 32, groups_room: int = 32) -> NodeMemory:
    """A node with NetKeys 0 and 1, AppKey 1 of NetKey 0, bound to a model of its second element."""
    node = NodeMemory(memory or RamMemory(), COMPOSITION, keys_room=keys_room, groups_room=groups_room)
    node.begin(
        NodeState(
            A, b"D" * 16, {0: NetKeyState(OLD), 1: NetKeyState(OLD)}, {1: AppKeyState(0, OLD)}, iv_state=IvState(0)
        )
    )
    assert ask(node, c.ModelAppBind(A + 1, 1, ONOFF)) == c.ModelAppStatus(0, A + 1, 1, ONOFF)
    return node


def ask(node: NodeMemory, message: c.Message, net_index: int = 0) -> c.Message | None:
    answer = ConfigurationServer(node).handle(c.build_message(message), net_index)
    return None if answer is None else c.parse_message(answer)


def publication(**changes: int | bytes) -> c.PublicationSet:
    fields: dict[str, int | bytes] = {
        "element": A + 1,
        "address": 0xC000,
        "app_index": 1,
        "ttl": 5,
        "period": 0x41,
        "retransmit": 2,
        "model": ONOFF,
    }
    return c.PublicationSet(**{**fields, **changes})  # type: ignore[arg-type]  # of the field's own type


REFUSED: Mapping[int, tuple[c.Message, ...]] = {
    Status.INVALID_ADDRESS: (
        c.ModelAppBind(A + 2, 1, ONOFF),
        c.PublicationGet(A - 1, ONOFF),
        publication(address=0x8001),
        c.SubscriptionAdd(A + 1, 0x0003, ONOFF),
        c.SubscriptionAdd(A + 1, 0xFFFF, ONOFF),
        c.SubscriptionOverwrite(A + 1, 0, ONOFF),
        c.SigModelAppGet(A + 2, ONOFF),
        c.SigModelSubscriptionGet(A + 2, ONOFF),
    ),
    Status.INVALID_MODEL: (
        c.ModelAppBind(A + 1, 1, b"\x01\x10"),
        c.ModelAppUnbind(A, 1, VENDOR),
        c.PublicationGet(A, b"\x01\x10"),
        c.SubscriptionDeleteAll(A, VENDOR),
        c.VendorModelAppGet(A, VENDOR),
        c.VendorModelSubscriptionGet(A, VENDOR),
    ),
    Status.INVALID_APPKEY_INDEX: (
        c.ModelAppBind(A, 2, ONOFF),
        publication(element=A),
        publication(app_index=2),
        c.AppKeyUpdate(pack_indexes(0, 2), NEW),
    ),
    Status.INVALID_NETKEY_INDEX: (
        c.AppKeyAdd(pack_indexes(2, 2), NEW),
        c.AppKeyAdd(pack_indexes(1, 1), OLD),
        c.AppKeyUpdate(pack_indexes(2, 1), NEW),
        c.AppKeyDelete(pack_indexes(2, 1)),
        c.AppKeyDelete(pack_indexes(1, 1)),
        c.AppKeyGet(2),
        c.NetKeyUpdate(2, NEW),
        c.KeyRefreshPhaseGet(2),
        c.KeyRefreshPhaseSet(2, 2),
        c.NodeIdentityGet(2),
    ),
    Status.KEY_INDEX_ALREADY_STORED: (c.NetKeyAdd(1, NEW), c.AppKeyAdd(ONE, NEW)),
    Status.INVALID_PUBLISH_PARAMETERS: (publication(element=A, model=SERVER), c.PublicationGet(A, SERVER)),
    Status.NOT_A_SUBSCRIBE_MODEL: (c.SubscriptionAdd(A, 0xC000, SERVER), c.SigModelSubscriptionGet(A, SERVER)),
    Status.FEATURE_NOT_SUPPORTED: (publication(app_index=0x1001),),
    Status.CANNOT_UPDATE: (c.AppKeyUpdate(ONE, NEW), c.NetKeyUpdate(1, OLD), c.KeyRefreshPhaseSet(1, 2)),
    Status.CANNOT_REMOVE: (c.NetKeyDelete(0),),
    Status.CANNOT_BIND: (c.ModelAppBind(A, 1, SERVER),),
    Status.INVALID_BINDING: (c.AppKeyUpdate(pack_indexes(1, 1), NEW),),
}


@pytest.mark.parametrize(
    ("status", "message"),
    [(status, message) for status, messages in REFUSED.items() for message in messages],
    ids=lambda value: c.STATUS_NAMES[value] if isinstance(value, int) else type(value).__name__,
)
def test_a_refusal_has_its_status_and_changes_nothing(status: int, message: c.Message) -> None:
    memory = RamMemory()
    node = make_node(memory)
    before = memory.load("node")
    answer = ask(node, message)
    assert answer is not None
    assert answer.status == status  # type: ignore[attr-defined]  # each answer here has one
    assert memory.load("node") == before
    node.undo()
    assert ask(node, c.NetKeyGet()) == c.NetKeyList(pack_index_list((0, 1)))


def test_every_status_is_provoked_or_this_server_never_gives_it() -> None:
    never = {Status.TEMPORARILY_UNABLE, Status.CANNOT_SET, Status.UNSPECIFIED}
    elsewhere = {Status.SUCCESS, Status.INSUFFICIENT_RESOURCES, Status.STORAGE_FAILURE}  # in tests of their own
    assert set(c.STATUS_NAMES) == set(REFUSED) | never | elsewhere


def test_room_for_keys_and_groups_ends() -> None:
    node = make_node(keys_room=2, groups_room=2)
    assert ask(node, c.NetKeyAdd(2, NEW)) == c.NetKeyStatus(Status.INSUFFICIENT_RESOURCES, 2)
    assert ask(node, c.AppKeyAdd(pack_indexes(1, 2), NEW)) == c.AppKeyStatus(0, pack_indexes(1, 2))
    assert ask(node, c.AppKeyAdd(pack_indexes(0, 3), NEW)) == c.AppKeyStatus(
        Status.INSUFFICIENT_RESOURCES, pack_indexes(0, 3)
    )
    for group in (0xC001, 0xC002, 0xC001):
        assert ask(node, c.SubscriptionAdd(A + 1, group, ONOFF)) == c.SubscriptionStatus(0, A + 1, group, ONOFF)
    full = ask(node, c.SubscriptionVirtualAddressAdd(A + 1, LABEL, ONOFF))
    assert full == c.SubscriptionStatus(Status.INSUFFICIENT_RESOURCES, A + 1, virtual_address(LABEL), ONOFF)
    groups = c.SigModelSubscriptionList(0, A + 1, ONOFF, (0xC001, 0xC002))
    assert ask(node, c.SigModelSubscriptionGet(A + 1, ONOFF)) == groups


class Full:
    """A memory that takes nothing any more."""

    def __init__(self, memory: RamMemory) -> None:
        self.load = memory.load
        self.names = memory.names

    def commit(self, changes: Mapping[str, bytes | None]) -> None:
        raise StoreError("full")


CHANGES = (
    c.NetKeyAdd(2, NEW),
    c.NetKeyUpdate(0, NEW),
    c.NetKeyDelete(1),
    c.AppKeyAdd(pack_indexes(0, 2), NEW),
    c.AppKeyDelete(ONE),
    c.ModelAppBind(A, 1, ONOFF),
    c.ModelAppUnbind(A + 1, 1, ONOFF),
    publication(),
    c.PublicationVirtualAddressSet(A + 1, LABEL, 1, 5, 0, 0, ONOFF),
    c.SubscriptionAdd(A + 1, 0xC000, ONOFF),
    c.SubscriptionVirtualAddressOverwrite(A + 1, LABEL, ONOFF),
    c.SubscriptionDeleteAll(A + 1, ONOFF),
    c.KeyRefreshPhaseSet(0, 3),
)


@pytest.mark.parametrize("message", CHANGES, ids=lambda message: type(message).__name__)
def test_a_full_memory_is_a_storage_failure_and_nothing_is_changed(message: c.Message) -> None:
    memory = RamMemory()
    make_node(memory)
    node = NodeMemory(Full(memory), COMPOSITION)
    before = node.memory.load("node")
    answer = ask(node, message)
    assert answer is not None
    assert answer.status == Status.STORAGE_FAILURE  # type: ignore[attr-defined]  # each answer here has one
    node.undo()
    assert node.memory.load("node") == before


@pytest.mark.parametrize(
    ("message", "answer"),
    [
        (c.BeaconSet(0), c.BeaconStatus(1)),
        (c.DefaultTtlSet(9), c.DefaultTtlStatus(5)),
        (c.NetworkTransmitSet(7), c.NetworkTransmitStatus(0)),
    ],
)
def test_where_an_answer_has_no_status_a_full_memory_is_told_by_the_old_value(
    message: c.Message, answer: c.Message
) -> None:
    memory = RamMemory()
    make_node(memory)
    assert ask(NodeMemory(Full(memory), COMPOSITION), message) == answer


NETKEY = {NORMAL: (OLD, b""), DISTRIBUTING: (OLD, NEW), SWITCHED: (OLD, NEW)}
CHANGED = (NEW, b"", NORMAL)
PHASES: Mapping[tuple[int, str], tuple[int, tuple[bytes, bytes, int]]] = {
    (NORMAL, "update"): (0, (OLD, NEW, DISTRIBUTING)),
    (NORMAL, "update with another"): (0, (OLD, OTHER, DISTRIBUTING)),
    (NORMAL, "update with the old"): (Status.CANNOT_UPDATE, (OLD, b"", NORMAL)),
    (NORMAL, "switch"): (Status.CANNOT_UPDATE, (OLD, b"", NORMAL)),
    (NORMAL, "forget"): (0, (OLD, b"", NORMAL)),
    (DISTRIBUTING, "update"): (0, (OLD, NEW, DISTRIBUTING)),
    (DISTRIBUTING, "update with another"): (Status.CANNOT_UPDATE, (OLD, NEW, DISTRIBUTING)),
    (DISTRIBUTING, "update with the old"): (Status.CANNOT_UPDATE, (OLD, NEW, DISTRIBUTING)),
    (DISTRIBUTING, "switch"): (0, (OLD, NEW, SWITCHED)),
    (DISTRIBUTING, "forget"): (0, CHANGED),
    (SWITCHED, "update"): (Status.CANNOT_UPDATE, (OLD, NEW, SWITCHED)),
    (SWITCHED, "update with another"): (Status.CANNOT_UPDATE, (OLD, NEW, SWITCHED)),
    (SWITCHED, "update with the old"): (Status.CANNOT_UPDATE, (OLD, NEW, SWITCHED)),
    (SWITCHED, "switch"): (0, (OLD, NEW, SWITCHED)),
    (SWITCHED, "forget"): (0, CHANGED),
}
STEPS: Mapping[str, c.Message] = {
    "update": c.NetKeyUpdate(0, NEW),
    "update with another": c.NetKeyUpdate(0, OTHER),
    "update with the old": c.NetKeyUpdate(0, OLD),
    "switch": c.KeyRefreshPhaseSet(0, 2),
    "forget": c.KeyRefreshPhaseSet(0, 3),
}


@pytest.mark.parametrize(("phase", "step"), PHASES, ids=str)
def test_each_step_of_a_key_refresh_in_each_phase(phase: int, step: str) -> None:
    status, (key, new_key, after) = PHASES[phase, step]
    memory = RamMemory()
    node = make_node(memory)
    old, new = NETKEY[phase]
    state_of(node).net_keys[0] = NetKeyState(old, new, phase)
    node.save()
    answer = ask(node, STEPS[step])
    assert answer is not None
    assert answer.status == status  # type: ignore[attr-defined]  # each answer here has one
    if isinstance(answer, c.KeyRefreshPhaseStatus):
        assert answer.phase == after
    kept = state_of(NodeMemory(memory, COMPOSITION)).net_keys[0]
    assert (kept.key, kept.new_key, kept.phase) == (key, new_key, after)


@pytest.mark.parametrize(
    ("phase", "status"), [(NORMAL, Status.CANNOT_UPDATE), (DISTRIBUTING, 0), (SWITCHED, Status.CANNOT_UPDATE)]
)
def test_an_appkey_is_updated_in_phase_1_alone(phase: int, status: int) -> None:
    node = make_node()
    old, new = NETKEY[phase]
    state_of(node).net_keys[0] = NetKeyState(old, new, phase)
    assert ask(node, c.AppKeyUpdate(ONE, NEW)) == c.AppKeyStatus(status, ONE)
    if not status:
        assert ask(node, c.AppKeyUpdate(ONE, NEW)) == c.AppKeyStatus(0, ONE)
        assert ask(node, c.AppKeyUpdate(ONE, OTHER)) == c.AppKeyStatus(Status.CANNOT_UPDATE, ONE)
        ask(node, c.KeyRefreshPhaseSet(0, 3))
        assert state_of(node).app_keys[1] == AppKeyState(0, NEW)


PROHIBITED = (
    c.BeaconSet(2),
    c.DefaultTtlSet(1),
    c.DefaultTtlSet(0x80),
    c.FriendSet(2),
    c.GattProxySet(2),
    c.RelaySet(2, 0),
    c.NodeIdentitySet(0, 2),
    c.NodeIdentityGet(0x1000),
    c.NetKeyAdd(0x1000, NEW),
    c.NetKeyUpdate(0x1000, NEW),
    c.NetKeyDelete(0x1000),
    c.AppKeyGet(0x1000),
    c.KeyRefreshPhaseGet(0x1000),
    c.KeyRefreshPhaseSet(0, 0),
    c.KeyRefreshPhaseSet(0, 1),
    c.KeyRefreshPhaseSet(0, 4),
    c.ModelAppBind(0, 1, ONOFF),
    c.ModelAppBind(0xC000, 1, ONOFF),
    c.ModelAppBind(A, 0x1001, ONOFF),
    publication(ttl=0x80),
    publication(element=0),
    c.PublicationGet(0x8001, ONOFF),
    c.SubscriptionAdd(0xC000, 0xC000, ONOFF),
    c.SigModelSubscriptionGet(0, ONOFF),
    c.SigModelAppGet(0, ONOFF),
)


@pytest.mark.parametrize("message", PROHIBITED, ids=lambda message: type(message).__name__)
def test_a_prohibited_value_is_not_answered_and_changes_nothing(message: c.Message) -> None:
    memory = RamMemory()
    node = make_node(memory)
    before = memory.load("node")
    assert ask(node, message) is None
    assert memory.load("node") == before


def test_what_is_no_question_is_not_answered() -> None:
    node = make_node()
    server = ConfigurationServer(node)
    for opcode, kind in c.MESSAGES.items():
        assert server.handle(AccessMessage(opcode, bytes(60)), 0) is None, kind  # of a length that none has
        if kind not in TABLE:
            for size in range(30):
                assert server.handle(AccessMessage(opcode, bytes(size)), 0) is None
    assert server.handle(AccessMessage(0x8201, b""), 0) is None
    node.reset()
    assert server.handle(c.build_message(c.BeaconGet()), 0) is None


@pytest.mark.parametrize(
    ("message", "answer"),
    [
        (c.BeaconSet(0), c.BeaconStatus(0)),
        (c.DefaultTtlSet(0), c.DefaultTtlStatus(0)),
        (c.DefaultTtlSet(0x7F), c.DefaultTtlStatus(0x7F)),
        (c.NetworkTransmitSet(0xFF), c.NetworkTransmitStatus(0xFF)),
        (c.FriendSet(1), c.FriendStatus(2)),
        (c.FriendGet(), c.FriendStatus(2)),
        (c.GattProxySet(1), c.GattProxyStatus(2)),
        (c.RelaySet(1, 3), c.RelayStatus(2, 0)),
        (c.NodeIdentitySet(0, 1), c.NodeIdentityStatus(0, 0, 2)),
        (c.NetKeyAdd(1, OLD), c.NetKeyStatus(0, 1)),
        (c.NetKeyDelete(5), c.NetKeyStatus(0, 5)),
        (c.NetKeyGet(), c.NetKeyList(pack_index_list((0, 1)))),
        (c.AppKeyAdd(ONE, OLD), c.AppKeyStatus(0, ONE)),
        (c.AppKeyDelete(pack_indexes(0, 9)), c.AppKeyStatus(0, pack_indexes(0, 9))),
        (c.AppKeyGet(0), c.AppKeyList(0, 0, pack_index_list((1,)))),
        (c.KeyRefreshPhaseGet(0), c.KeyRefreshPhaseStatus(0, 0, 0)),
        (c.SigModelAppGet(A + 1, ONOFF), c.SigModelAppList(0, A + 1, ONOFF, pack_index_list((1,)))),
        (c.VendorModelAppGet(A + 1, VENDOR), c.VendorModelAppList(0, A + 1, VENDOR, b"")),
        (c.VendorModelSubscriptionGet(A + 1, VENDOR), c.VendorModelSubscriptionList(0, A + 1, VENDOR, ())),
        (c.ModelAppUnbind(A, 1, ONOFF), c.ModelAppStatus(0, A, 1, ONOFF)),
        (publication(app_index=0xE001), c.PublicationStatus(0, A + 1, 0xC000, 1, 5, 0x41, 2, ONOFF)),
        (publication(address=0), c.PublicationStatus(0, A + 1, 0, 0, 0, 0, 0, ONOFF)),
        (c.NodeReset(), c.NodeResetStatus()),
    ],
    ids=lambda message: type(message).__name__,
)
def test_what_is_asked_is_answered(message: c.Message, answer: c.Message) -> None:
    assert ask(make_node(), message) == answer


@pytest.mark.parametrize("page", [0, 1, 128, 0xFF])
def test_every_page_of_composition_data_is_answered_with_page_0(page: int) -> None:
    status = ask(make_node(), c.CompositionDataGet(page))
    assert isinstance(status, c.CompositionDataStatus)
    assert (status.page, parse_composition(status.data)) == (0, COMPOSITION)


def test_composition_data_too_long_for_a_message_end_with_an_element() -> None:
    many = Composition(1, 2, 3, 10, 0, tuple(Element(0, (0, *range(0x1000, 0x1020))) for _ in range(9)))
    node = NodeMemory(RamMemory(), many)
    node.begin(NodeState(A, b"D" * 16, {0: NetKeyState(OLD)}))
    status = ask(node, c.CompositionDataGet(0))
    assert isinstance(status, c.CompositionDataStatus)
    assert len(status.build()) <= 379
    assert parse_composition(status.data).elements == many.elements[:5]


def test_subscriptions_of_groups_and_labels() -> None:
    node, virtual = make_node(), virtual_address(LABEL)

    def groups() -> tuple[int, ...]:
        answer = ask(node, c.SigModelSubscriptionGet(A + 1, ONOFF))
        assert isinstance(answer, c.SigModelSubscriptionList)
        return answer.addresses

    for message, after in (
        (c.SubscriptionAdd(A + 1, 0xC001, ONOFF), (0xC001,)),
        (c.SubscriptionVirtualAddressAdd(A + 1, LABEL, ONOFF), (virtual, 0xC001)),
        (c.SubscriptionDelete(A + 1, 0xC001, ONOFF), (virtual,)),
        (c.SubscriptionVirtualAddressDelete(A + 1, LABEL, ONOFF), ()),
        (c.SubscriptionOverwrite(A + 1, 0xC002, ONOFF), (0xC002,)),
        (c.SubscriptionVirtualAddressOverwrite(A + 1, LABEL, ONOFF), (virtual,)),
        (c.SubscriptionDeleteAll(A + 1, ONOFF), ()),
    ):
        status = ask(node, message)
        assert isinstance(status, c.SubscriptionStatus)
        assert (status.status, groups()) == (0, after), message


@pytest.mark.parametrize("message", [c.AppKeyDelete(ONE), c.ModelAppUnbind(A + 1, 1, ONOFF)])
def test_what_used_a_key_that_goes_stops_using_it(message: c.Message) -> None:
    node = make_node()
    ask(node, publication())
    ask(node, message)
    assert ask(node, c.PublicationGet(A + 1, ONOFF)) == c.PublicationStatus(0, A + 1, 0, 0, 0, 0, 0, ONOFF)
    assert ask(node, c.SigModelAppGet(A + 1, ONOFF)) == c.SigModelAppList(0, A + 1, ONOFF, b"")


def test_with_a_netkey_its_appkeys_go() -> None:
    node = make_node()
    ask(node, publication())
    assert ask(node, c.NetKeyDelete(0), net_index=1) == c.NetKeyStatus(0, 0)
    assert state_of(node).app_keys == {}
    assert ask(node, c.NetKeyDelete(1), net_index=0) == c.NetKeyStatus(Status.CANNOT_REMOVE, 1)  # the last one


def test_a_virtual_address_is_published_to_by_its_label() -> None:
    node = make_node()
    status = ask(node, c.PublicationVirtualAddressSet(A + 1, LABEL, 1, 0xFF, 0, 0, ONOFF))
    assert status == c.PublicationStatus(0, A + 1, virtual_address(LABEL), 1, 0xFF, 0, 0, ONOFF)
    assert ask(node, c.PublicationGet(A + 1, ONOFF)) == status
