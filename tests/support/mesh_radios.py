"""One simulated mesh device with its power, as a station carries its radio: by advertisements, or over GATT.

Both answer the requests of a step, `OnAir`, in virtual time. `cut_at = n`: the power goes after the n-th exchange,
whose answer is lost.
"""

from __future__ import annotations

import random

import msgspec

from keywright.errors import LinkError
from keywright.fob.mesh_device import DeviceOnAir, design_of, make_unit
from keywright.fob.mesh_model import Heard, MeshModel, Sent
from keywright.iso7816.apdu import Response
from keywright.mesh.models.composition import Composition, Element
from keywright.mesh.models.state import NodeMemory, NodeState
from keywright.mesh.pb_gatt.messages import PROVISIONING_SERVICE, PROXY_SERVICE
from keywright.mesh.pb_gatt.unit import GattUnit
from keywright.production.job import OnAir
from keywright.store.memory import RamMemory

COMPOSITION = Composition(0xFFFF, 1, 1, 1, 0, (Element(0),))
_SERVICES = {"provisioning": PROVISIONING_SERVICE, "proxy": PROXY_SERVICE}


class AdvertisingRadio:
    """A device that is heard by its advertisements."""

    has_gatt = False

    def __init__(self, name: str, model: MeshModel | None = None) -> None:
        self.name = name
        self.memory = RamMemory()
        self.model = model or MeshModel(has_certificate=True)
        self.exchanges = 0
        self.cut_at = 0
        self.switch_on()

    def switch_on(self) -> None:
        """Power, with what its memory holds."""
        self.device = DeviceOnAir(self.name, self.memory, self.model, random.Random(2).random)

    def exchange(self, request: OnAir) -> Response:
        """The answer to a step's request. Raises LinkError."""
        self.exchanges += 1
        heard = self.carry(request)
        if self.exchanges == self.cut_at:
            self.switch_on()
            raise LinkError("the power went", delivered=None)
        return Response(msgspec.msgpack.encode(heard))

    def carry(self, request: OnAir) -> Heard:
        """The same, without its cut."""
        return self.device.exchange(Sent(request.frames, request.wait_s, request.carrier, request.connects))

    @property
    def node(self) -> NodeState | None:
        """What its memory says of it as a node."""
        return NodeMemory(self.memory, COMPOSITION).state


class GattRadio(AdvertisingRadio):
    """A device that is connected to. `mtu` is what its connections get."""

    has_gatt = True
    mtu = 23

    def switch_on(self) -> None:
        """As above; a connection is lost."""
        self.now = 0.0
        unit = make_unit(design_of(self.name, self.model), self.memory, self.now, random.Random(2).random)
        self.gatt = GattUnit(unit)
        self.carrier = ""

    def carry(self, request: OnAir) -> Heard:
        """A station's part: one connection at a time, and no advertisement during it."""
        begun, end = self.now, self.now + request.wait_s
        if request.carrier == "advertising":
            assert not request.frames, "there is no PB-ADV here"
            self._leave()
            self.now += min(0.1, request.wait_s)
            return Heard((b"".join(self.gatt.advertising),), self.now - begun)
        mtu = 0
        if request.connects:
            self._leave()
            if self.gatt.pipe != _SERVICES[request.carrier]:
                raise LinkError(f"no service {_SERVICES[request.carrier].uuid}", delivered=False)
            self.carrier, mtu = request.carrier, self.mtu
            self.gatt.connected(mtu, self.now)
        if self.carrier != request.carrier:
            raise LinkError("the connection is over", delivered=False)
        for frame in request.frames:
            assert len(frame) <= self.mtu - 3
            self.gatt.receive(frame, self.now)
        return Heard(self._listen(end), self.now - begun, mtu)

    def _listen(self, end: float) -> tuple[bytes, ...]:
        while not (values := tuple(self.gatt.outgoing(self.now))):
            if self.gatt.is_closed:
                self._leave()
                raise LinkError("the device has disconnected", delivered=None)
            due = self.gatt.deadline()
            if self.now >= end or (due is not None and due > end):
                break
            self.now = end if due is None else max(self.now, due)
        self.now = self.now if values else max(self.now, end)
        return values

    def _leave(self) -> None:
        if self.carrier:
            self.carrier = ""
            self.gatt.disconnected("the host has disconnected", self.now)
            self.gatt.outgoing(self.now)
