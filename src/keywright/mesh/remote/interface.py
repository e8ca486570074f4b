"""The node's own provisioning interface: a node is provisioned anew while it stays in its network (MshPRT 3.11.8).

For a Remote Provisioning Server it is a bearer like the one to a device. The new device key, address and composition
are in memory before Complete leaves. A new key alone is a candidate beside the old one until a message comes under it;
with a new address or composition everything changes at once, after the link is closed or when the node starts again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, final

from keywright.crypto.aes import AesKey
from keywright.crypto.compare import equal
from keywright.mesh.bearer import BearerEvent, LinkClosed, LinkOpened, PduReceived
from keywright.mesh.device import Device, Provisioned, Refused, ValueShown, ValueWanted
from keywright.mesh.ends import TIMEOUT_S, CloseReason
from keywright.mesh.messages import IV_UPDATE, KEY_REFRESH, ErrorCode, ProvisioningData
from keywright.mesh.models.state import NodeMemory, state_of
from keywright.mesh.network.iv_index import IvState
from keywright.mesh.network.keyring import SWITCHED
from keywright.mesh.remote.messages import Procedure
from keywright.mesh.session import earliest


class MakeDevice(Protocol):
    """A device end for one session, that can do what this node can, with so many elements."""

    def __call__(
        self,
        elements: int,
        *,
        remember: Callable[[ProvisioningData, AesKey], None],
        judge: Callable[[ProvisioningData], int],
    ) -> Device:
        """Make it; arguments as `Device` has them."""
        ...


@final
class InterfaceLink:
    """Bearer: a link to the device end inside this node. It has no frames."""

    def __init__(self, device: Device) -> None:
        self.is_done = False
        """Whether the node has what it is to become."""
        self.device = device
        """For whoever enters a value at the node."""
        self.told: list[ValueShown | ValueWanted] = []
        """What a person at the node has to carry, since it was last emptied."""
        self._is_closed = False
        self._close_at: float | None = None
        self._events: list[BearerEvent] = [LinkOpened()]

    def send(self, pdu: bytes, now: float) -> None:
        """Give the device end a PDU."""
        if not self._is_closed:
            self.device.receive(pdu, now)
            self._collect(now)

    def close(self, reason: int, now: float) -> None:
        """Close the link."""
        del reason, now
        self._is_closed = True
        self.device.link_closed()

    def receive(self, data: bytes, now: float) -> None:
        """Nothing comes from the air."""

    def outgoing(self, now: float) -> Sequence[bytes]:
        """Nothing goes to the air; the device end's time goes on."""
        if not self._is_closed:
            self._collect(now)
        if self._close_at is not None and now >= self._close_at and not self._is_closed:
            self._is_closed = True
            self.device.link_closed()
            self._events.append(LinkClosed(CloseReason.TIMEOUT, "the client did not close the link"))
        return ()

    def deadline(self) -> float | None:
        """When `outgoing` is due."""
        return None if self._is_closed else earliest(self.device.deadline(), self._close_at)

    def events(self) -> Sequence[BearerEvent]:
        """What has happened."""
        events, self._events = self._events, []
        return events

    def _collect(self, now: float) -> None:
        self._events += [PduReceived(pdu) for pdu in self.device.outgoing(now)]
        for event in self.device.events():
            if isinstance(event, Provisioned):
                self.is_done = True
            elif isinstance(event, ValueShown | ValueWanted):
                self.told.append(event)
            elif isinstance(event, Refused) and not event.error_code:
                self._is_closed = True
                self._events.append(LinkClosed(CloseReason.TIMEOUT, event.why))
        # As on any bearer: whoever opened the link closes it, and is waited for so long (`session.DeviceSession`).
        if self.device.state in {"provisioned", "failed"} and self._close_at is None:
            self._close_at = now + TIMEOUT_S


@final
class NodeInterface:
    """What the three procedures do to a node."""

    def __init__(self, memory: NodeMemory, make_device: MakeDevice, iv_state: Callable[[], IvState]) -> None:
        self._memory = memory
        self._make_device = make_device
        self._iv_state = iv_state
        self._procedure = Procedure.DEVICE_KEY
        self._link: InterfaceLink | None = None

    def open(self, procedure: int, now: float) -> InterfaceLink | None:
        """A link for one procedure, None for one that this node has not: a composition needs a next one."""
        del now
        memory = self._memory
        elements = len(memory.composition.elements)
        after = memory.next_composition
        if procedure == Procedure.COMPOSITION and (after is None or len(after.elements) != elements):
            return None
        if procedure == Procedure.ADDRESS and after is not None:
            elements = len(after.elements)
        self._procedure = procedure
        self._link = InterfaceLink(self._make_device(elements, remember=self._remember, judge=self._judge))
        return self._link

    @property
    def is_done(self) -> bool:
        """Whether the last link ended with a node that is to change."""
        return self._link is not None and self._link.is_done

    @property
    def device(self) -> Device | None:
        """The device end of the link that is open, None without one."""
        return self._link.device if self._link is not None else None

    def told(self) -> list[ValueShown | ValueWanted]:
        """What a person at the node has to carry; each is given out once."""
        if self._link is None:
            return []
        told, self._link.told = self._link.told, []
        return told

    def forget(self) -> None:
        """What was done is seen to."""
        self._link = None

    def _judge(self, data: ProvisioningData) -> int:
        """The network stays what it is; the address changes in Node Address Refresh alone."""
        state, iv = state_of(self._memory), self._iv_state()
        net = state.net_keys.get(data.key_index)
        if net is None:
            return ErrorCode.INVALID_DATA
        flags = (KEY_REFRESH if net.phase == SWITCHED else 0) | (IV_UPDATE if iv.is_updating else 0)
        key = net.new_key if net.phase == SWITCHED else net.key
        is_same = equal(data.net_key, key) and (data.flags, int.from_bytes(data.iv_index)) == (flags, iv.index)
        moves = data.unicast_address != state.address
        return 0 if is_same and moves == (self._procedure == Procedure.ADDRESS) else ErrorCode.INVALID_DATA

    def _remember(self, data: ProvisioningData, device_key: AesKey) -> None:
        state = state_of(self._memory)
        state.new_device_key = device_key.reveal()
        state.new_address = data.unicast_address if self._procedure == Procedure.ADDRESS else 0
        state.takes_next_composition = (
            self._procedure != Procedure.DEVICE_KEY and self._memory.next_composition is not None
        )
        try:
            self._memory.save()
        except BaseException:
            self._memory.undo()
            raise


def take_new_key(memory: NodeMemory) -> None:
    """A message came under the new device key: the old one is forgotten. Raises StoreError."""
    state = state_of(memory)
    state.device_key, state.new_device_key = state.new_device_key, b""
    memory.save()


def take_new_place(memory: NodeMemory) -> bool:
    """Become what Node Address or Composition Refresh said; whether there was such a thing. Raises StoreError."""
    state = memory.state
    if state is None or not (state.new_address or state.takes_next_composition):
        return False
    state.address = state.new_address or state.address
    state.has_next_composition = state.has_next_composition or state.takes_next_composition
    if state.new_device_key:  # else a message under it came before, and it is the device key already
        state.device_key, state.new_device_key = state.new_device_key, b""
    state.new_address, state.takes_next_composition = 0, False
    kept = memory.composition.elements
    state.models = {
        place: model
        for place, model in state.models.items()
        if int(place.split(":")[0]) < len(kept) and memory.has_model(place)
    }
    memory.save()
    return True
