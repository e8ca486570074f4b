"""A node: its stack, and the Configuration Server behind the device key (MshPRT 2.3.4, 4.4.1).

Frames are network PDUs. Configuration messages are answered here; what comes under application keys is told as events.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias, final

import msgspec

from keywright.errors import KeywrightError, StoreError
from keywright.mesh.device import Device, ValueShown, ValueWanted
from keywright.mesh.ends import RandomBytes
from keywright.mesh.models.composition import REMOTE_PROVISIONING_SERVER
from keywright.mesh.models.configuration import NodeReset, NodeResetStatus, Status
from keywright.mesh.models.configuration_keys import finish_refresh
from keywright.mesh.models.configuration_server import ConfigurationServer
from keywright.mesh.models.state import NodeMemory, saved, state_of
from keywright.mesh.network.access import AccessMessage
from keywright.mesh.network.beaconing import Beaconing, Kinds
from keywright.mesh.network.iv_index import IvIndex
from keywright.mesh.network.keyring import SWITCHED
from keywright.mesh.network.segmentation import Retransmission
from keywright.mesh.network.stack import Delivered, Received, Stack, StackEvent, Undelivered
from keywright.mesh.remote.interface import MakeDevice, NodeInterface, take_new_key, take_new_place
from keywright.mesh.remote.messages import MESSAGES as REMOTE_MESSAGES
from keywright.mesh.remote.scanning import Client, Own
from keywright.mesh.remote.server import RemoteServer

DELAY_S: Final = (0.020, 0.050)
"""Random delay of an answer to a message that came to this node alone (MshPRT 3.7.3.1)."""


class WasReset(msgspec.Struct, frozen=True):
    """The node has left its network and forgotten everything."""


class WasRenewed(msgspec.Struct, frozen=True):
    """The node has another address or composition; it has to be taken up from its memory again."""


NodeEvent: TypeAlias = StackEvent | ValueShown | ValueWanted | WasReset | WasRenewed


@final
class Node:
    """Endpoint: a provisioned device."""

    def __init__(
        self,
        memory: NodeMemory,
        now: float,
        *,
        random: Callable[[], float],
        random_bytes: RandomBytes | None = None,
        test_mode: bool = False,
        own: Own | None = None,
        make_device: MakeDevice | None = None,
        retransmission: Retransmission | None = None,
    ) -> None:
        """Take up a node from its memory. random(): a number from 0 up to 1.

        random_bytes(n): n octets, for private beacons; without it none are sent. test_mode: the IV index changes
        without waiting (MshPRT 3.11.5.1). own: what it tells of itself in an extended scan; with it and `random_bytes`,
        and the model in its primary element, the node is a Remote Provisioning Server. make_device: the device end of
        its own provisioning interface; without it, it has none.
        """
        take_new_place(memory)
        state = state_of(memory)
        iv_index = IvIndex(memory.memory, state.iv_state, now, may_change_at_once=state.iv_state.is_updating)
        self.memory = memory
        self.stack = Stack(
            memory.memory,
            address=state.address,
            elements=len(memory.composition.elements),
            keyring=memory.keyring(),
            iv_index=iv_index,
            retransmission=retransmission,
        )
        self._server = ConfigurationServer(memory)
        self._random = random
        self._answers: list[tuple[float, AccessMessage, Received]] = []
        self._is_leaving = False
        self._answers_near = False
        """Whether what is said now answers a message of TTL 0, and so has TTL 0 itself (MshPRT 3.7.5)."""
        self._reports: set[int] = set()
        self._events: list[NodeEvent] = []
        self._refresh()
        self.beaconing = Beaconing(
            self.stack,
            now,
            kinds=self._beacon_kinds,
            random_bytes=random_bytes,
            go_on=self._go_on_refreshing,
            test_mode=test_mode,
        )
        """The node's beacons; a bearer that carries beacons runs them beside the node."""
        self._interface: NodeInterface | None = None
        self.remote: RemoteServer | None = None
        """Its Remote Provisioning Server; a bearer that carries advertising data runs it beside the node."""
        has_model = memory.composition.elements[0].has(REMOTE_PROVISIONING_SERVER)
        if own is not None and random_bytes is not None and has_model:
            self._interface = self._make_interface(make_device)
            self.remote = RemoteServer(
                own,
                self._say,
                random=random,
                random_bytes=random_bytes,
                interface=self._interface.open if self._interface is not None else lambda _procedure, _now: None,
            )

    def receive(self, data: bytes, now: float) -> None:
        """Take one network PDU."""
        self.stack.receive(data, now)
        self._turn(now)

    def outgoing(self, now: float) -> Sequence[bytes]:
        """Network PDUs to send now; `WasReset` is told when the answer to Node Reset is among them."""
        self._turn(now)
        frames = self.stack.outgoing(now)
        if self._is_leaving:
            self._is_leaving = False
            self._events.append(WasReset())
        return frames

    def deadline(self) -> float | None:
        """When `outgoing` is due."""
        times = [due for due, _, _ in self._answers]
        own = self.stack.deadline()
        return min([*times, own] if own is not None else times, default=None)

    def events(self) -> Sequence[NodeEvent]:
        """What has happened."""
        if self._interface is not None:
            self._events += self._interface.told()
        events, self._events = self._events, []
        return events

    @property
    def device(self) -> Device | None:
        """The device end of its own provisioning interface, while that is in use: for whoever enters a value."""
        return self._interface.device if self._interface is not None else None

    def _turn(self, now: float) -> None:
        for event in self.stack.events():
            if isinstance(event, Received) and event.app_index is None and event.dst == self.stack.address:
                if event.is_new_device_key:
                    self._take_new_key()
                if self.remote is not None and event.message.opcode in REMOTE_MESSAGES:
                    self._answers_near = not event.ttl
                    self.remote.handle(event.message, Client(event.src, event.net_index), now)
                    self._answers_near = False
                    continue
                answer = self._server.handle(event.message, event.net_index)
                if answer is not None:
                    least, most = DELAY_S
                    self._answers.append((now + least + (most - least) * self._random(), answer, event))
            elif isinstance(event, Delivered | Undelivered) and event.number in self._reports:
                self._reports.discard(event.number)
                if self.remote is not None:
                    self.remote.arrived(event.number, now, is_delivered=isinstance(event, Delivered))
            else:
                self._events.append(event)
        due, self._answers = (
            [one for one in self._answers if one[0] <= now],
            [one for one in self._answers if one[0] > now],
        )
        for _, answer, asked in due:
            # Sealed with the keys as they were when it was asked: a key refresh changes them afterwards. An answer that
            # cannot be numbered is lost, as if the air had lost it.
            with contextlib.suppress(KeywrightError):
                self.stack.send(
                    answer,
                    asked.src,
                    now,
                    device=self.stack.address,
                    net_index=asked.net_index,
                    ttl=None if asked.ttl else 0,
                )
            self._refresh()
            if asked.message.opcode == NodeReset.OPCODE and answer.opcode == NodeResetStatus.OPCODE:
                self._leave(now)
                return

        self._renew()

    def _take_new_key(self) -> None:
        try:
            take_new_key(self.memory)
        except StoreError:
            self.memory.undo()
        self._refresh()

    def _renew(self) -> None:
        """Once the link to the own interface is closed and that is told: a new key is heard, a new place is taken."""
        if self._interface is None or not self._interface.is_done or self.remote is None or not self.remote.is_idle:
            return
        self._interface.forget()
        self._refresh()
        state = state_of(self.memory)
        if state.new_address or state.takes_next_composition:
            self._events.append(WasRenewed())

    def _leave(self, now: float) -> None:
        try:
            self.memory.reset()
        except StoreError:
            # Still a node: the answer would be untrue, so it does not leave.
            self.stack.outgoing(now)
        else:
            self._answers.clear()
            self._is_leaving = True

    def _say(self, message: AccessMessage, client: Client, acknowledged: bool, now: float) -> int:  # noqa: FBT001 - as `Say` has it
        number = self.stack.send(
            message,
            client.address,
            now,
            device=self.stack.address,
            net_index=client.net_index,
            ttl=0 if self._answers_near and not acknowledged else None,
            acknowledged=acknowledged,
        )
        if acknowledged:
            self._reports.add(number)
        return number

    def _make_interface(self, make_device: MakeDevice | None) -> NodeInterface | None:
        if make_device is None:
            return None
        return NodeInterface(self.memory, make_device, lambda: self.stack.iv_index.state)

    def _beacon_kinds(self) -> Kinds:
        state = self.memory.state
        return Kinds() if state is None else Kinds(bool(state.beacon), bool(state.private_beacon))

    def _go_on_refreshing(self, net_index: int, phase: int) -> None:
        """A beacon under the new key says that the network is in this phase (MshPRT 3.11.4)."""
        state = self.memory.state
        if state is None:
            return
        if phase == SWITCHED:
            state.net_keys[net_index].phase = SWITCHED
        else:
            finish_refresh(self.memory, net_index)
        saved(self.memory, Status.SUCCESS)
        self._refresh()

    def _refresh(self) -> None:
        """Let the stack use the keys and groups that the memory has now."""
        state = self.memory.state
        if state is None:
            return
        self.stack.keyring = self.memory.keyring()
        self.stack.default_ttl = state.ttl
        self.stack.groups = {group for model in state.models.values() for group in model.groups}
        self.stack.labels = {label for model in state.models.values() for label in model.labels}
