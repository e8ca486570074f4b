"""What a node is and remembers: its keys, and what its models may use (MshPRT 4.2).

All of it is one value in the node's own memory, changed at once; keys are in clear there, as in any node.
"""

from __future__ import annotations

from typing import Final, final

import msgspec

from keywright.errors import StoreError
from keywright.mesh.models.composition import Composition
from keywright.mesh.models.configuration import Status
from keywright.mesh.network.iv_index import IvState
from keywright.mesh.network.keyring import NORMAL, Application, Keyring, Subnet
from keywright.mesh.network.keys import AppKey, NetKey, virtual_address
from keywright.mesh.network.stack import DEFAULT_TTL
from keywright.store.memory import Memory

_NAME: Final = "node"
_KEYS_ROOM: Final = 32
_GROUPS_ROOM: Final = 32


class NetKeyState(msgspec.Struct):
    """A NetKey of the node."""

    key: bytes
    new_key: bytes = b""
    phase: int = NORMAL
    identity: int = 0

    def __repr__(self) -> str:
        return f"<NetKeyState in phase {self.phase}>"


class AppKeyState(msgspec.Struct):
    """An AppKey of the node."""

    net_index: int
    key: bytes
    new_key: bytes = b""

    def __repr__(self) -> str:
        return f"<AppKeyState of {self.net_index:03X}>"


class Publication(msgspec.Struct, frozen=True):
    """What a model publishes (MshPRT 4.2.3)."""

    address: int = 0
    app_index: int = 0
    ttl: int = 0
    period: int = 0
    retransmit: int = 0
    label: bytes = b""


class ModelState(msgspec.Struct):
    """What one model of one element uses."""

    bindings: list[int] = msgspec.field(default_factory=list)
    subscriptions: list[int] = msgspec.field(default_factory=list)
    labels: list[bytes] = msgspec.field(default_factory=list)
    publication: Publication = Publication()

    @property
    def groups(self) -> set[int]:
        """Every address that the model hears besides its element's."""
        return {*self.subscriptions, *map(virtual_address, self.labels)}


class NodeState(msgspec.Struct):
    """Everything."""

    address: int
    device_key: bytes
    net_keys: dict[int, NetKeyState]
    app_keys: dict[int, AppKeyState] = msgspec.field(default_factory=dict)
    models: dict[str, ModelState] = msgspec.field(default_factory=dict)
    beacon: int = 1
    private_beacon: int = 0
    """Whether it sends private beacons too; there is no model here that changes it."""
    ttl: int = DEFAULT_TTL
    network_transmit: int = 0
    relay_retransmit: int = 0
    new_device_key: bytes = b""
    """The candidate that replaces the device key (MshPRT 3.11.8)."""
    new_address: int = 0
    takes_next_composition: bool = False
    """With the candidate, the node gets another address or the next composition."""
    has_next_composition: bool = False
    iv_state: IvState = IvState(0)
    """As it was provisioned; the one in use has a place of its own."""

    def __repr__(self) -> str:
        return f"<NodeState {self.address:04X}, {len(self.net_keys)} NetKeys, {len(self.app_keys)} AppKeys>"


@final
class NodeMemory:
    """The state of a node in a memory. `state` may be changed; `save` writes it, `undo` takes it back."""

    def __init__(
        self,
        memory: Memory,
        composition: Composition,
        *,
        keys_room: int = _KEYS_ROOM,
        groups_room: int = _GROUPS_ROOM,
        next_composition: Composition | None = None,
    ) -> None:
        """next_composition: what the node is made of after Node Composition or Address Refresh, if that changes."""
        self.memory = memory
        self._first = composition
        self._next = next_composition
        self.keys_room = keys_room
        """How many NetKeys, and how many AppKeys, the node has room for."""
        self.groups_room = groups_room
        """How many groups one model may subscribe to."""
        self.state: NodeState | None = None
        self.undo()

    @property
    def composition(self) -> Composition:
        """What the node is made of now."""
        renewed = self.state is not None and self.state.has_next_composition
        return self._next if renewed and self._next is not None else self._first

    @property
    def next_composition(self) -> Composition | None:
        """What it would be made of after a refresh; None if that is what it is now."""
        return None if self.state is not None and self.state.has_next_composition else self._next

    def undo(self) -> None:
        """Take the state from memory again."""
        kept = self.memory.load(_NAME)
        self.state = msgspec.msgpack.decode(kept, type=NodeState) if kept else None

    def save(self) -> None:
        """Write the state, before anything is told because of it. Raises StoreError."""
        self.memory.commit({_NAME: None if self.state is None else msgspec.msgpack.encode(self.state)})

    def begin(self, state: NodeState) -> None:
        """Become a node: nothing that was kept before holds any more. Raises StoreError."""
        others: dict[str, bytes | None] = dict.fromkeys(self.memory.names())
        self.memory.commit({**others, _NAME: msgspec.msgpack.encode(state)})
        self.state = state

    def reset(self) -> None:
        """Be an unprovisioned device again: everything is forgotten. Raises StoreError."""
        self.memory.commit(dict.fromkeys(self.memory.names()))
        self.state = None

    def has_model(self, place: str) -> bool:
        """Whether a key of `NodeState.models` is of a model that the node has now."""
        index, identifier = place.split(":")
        numbers = _numbers(bytes.fromhex(identifier))
        element = self.composition.elements[int(index)]
        return element.has(numbers[-1], numbers[0] if len(numbers) == 2 else None)

    def model(self, element: int, model: bytes) -> ModelState | None:
        """The state of a model, by the address of its element and its identifier; None if there is none."""
        state = self.state
        if state is None or not 0 <= element - state.address < len(self.composition.elements):
            return None
        numbers = _numbers(model)
        place = self.composition.elements[element - state.address]
        if not place.has(numbers[-1], numbers[0] if len(numbers) == 2 else None):
            return None
        return state.models.setdefault(f"{element - state.address}:{model.hex()}", ModelState())

    def keyring(self) -> Keyring:
        """The keys as the stack uses them."""
        ring, state = Keyring(), self.state
        if state is None:
            return ring
        for index, net in state.net_keys.items():
            ring.subnets[index] = Subnet(NetKey(net.key), NetKey(net.new_key) if net.new_key else None, net.phase)
        for index, app in state.app_keys.items():
            new = AppKey(app.new_key) if app.new_key else None
            ring.applications[index] = Application(app.net_index, AppKey(app.key), new)
        ring.device_keys[state.address] = AppKey(state.device_key, is_device_key=True)
        if state.new_device_key:
            ring.new_device_keys[state.address] = AppKey(state.new_device_key, is_device_key=True)
        return ring


def _numbers(model: bytes) -> list[int]:
    return [int.from_bytes(model[at : at + 2], "little") for at in range(0, len(model), 2)]


def state_of(node: NodeMemory) -> NodeState:
    """The state of what is a node, which whoever asks has seen to."""
    assert node.state is not None
    return node.state


def saved(node: NodeMemory, status: int) -> int:
    """Write what was changed if `status` is success. The status to answer with: storage failure if memory is full."""
    if status:
        return status
    try:
        node.save()
    except StoreError:
        node.undo()
        return Status.STORAGE_FAILURE
    return status
