"""The recorded session of the standard through bumble's own GATT: its client writes it to our device, and its server
notifies it to our client, with nothing of `link.ble` on the other side.
"""

from __future__ import annotations

import asyncio
import importlib.util
import time
from typing import Any

import pytest

from keywright.crypto.ec import EcPrivateKey
from keywright.link.ble import Radio, VirtualAir, arun_pipe, serve
from keywright.mesh.bearer import LinkOpened
from keywright.mesh.device import Abilities
from keywright.mesh.keys import CMAC
from keywright.mesh.messages import ProvisioningData
from keywright.mesh.models.composition import Composition, Element
from keywright.mesh.oob import Authentication
from keywright.mesh.pb_gatt.link import PbGattLink
from keywright.mesh.pb_gatt.messages import PROVISIONING_PDU, PROVISIONING_SERVICE, proxy_pdus
from keywright.mesh.pb_gatt.unit import GattUnit
from keywright.mesh.policy import Choice
from keywright.mesh.provisioner import Authenticated, CapabilitiesReceived, Provisioned, Provisioner
from keywright.mesh.session import ProvisionerSession
from keywright.mesh.unit import Design, Unit
from keywright.store.memory import RamMemory
from support.mesh import scripted
from support.peers import require_peer
from support.vectors import document, load, unhex

require_peer("bumble", importlib.util.find_spec("bumble") is not None, "pip install keywright[ble]")

CASE = load("mesh/provisioning_crypto.json")[0]
STEPS = [step for step in document("mesh/pbadv_trace.json")["trace"] if "provisioning_pdu" in step]
UUID = bytes.fromhex("70cf7c9732a345b691494810d2e9cbf4")


def values(mtu: int) -> list[tuple[str, bytes]]:
    """Who writes or notifies what, in order."""
    return [
        (step["sender"], value)
        for step in STEPS
        for value in proxy_pdus(PROVISIONING_PDU, unhex(step["provisioning_pdu"]), mtu)
    ]


async def foreign_host(air: VirtualAir, address: str) -> Any:
    """A device of bumble as its own examples make one."""
    from bumble.controller import Controller
    from bumble.device import Device
    from bumble.hci import Address
    from bumble.host import Host
    from bumble.transport.common import AsyncPipeSink

    controller = Controller("foreign", link=air.link)
    device = Device("foreign", address=Address(address), host=Host(controller, AsyncPipeSink(controller)))
    await device.power_on()
    return device


@pytest.mark.parametrize("mtu", [23, 69])
def test_bumbles_client_writes_the_recorded_session_to_our_device(mtu: int) -> None:
    async def run() -> None:
        from bumble.device import Peer

        air, memory = VirtualAir(), RamMemory()
        radio = await Radio.open(air=air)
        unit = Unit(
            Design(UUID, Composition(1, 2, 3, 10, 0, (Element(0, (0,)),)), Abilities(algorithms=CMAC.bit)),
            memory,
            time.monotonic(),
            new_key=lambda: EcPrivateKey.from_scalar("P-256", unhex(CASE["DevicePrivateKey"])),
            random_bytes=scripted(unhex(CASE["RandomDevice"])),
            random=lambda: 0.5,
        )
        serving = asyncio.create_task(serve(radio, [GattUnit(unit)]))
        client = await foreign_host(air, "C0:00:00:00:00:01")
        connection = await client.connect(radio.address)
        peer = Peer(connection)
        if mtu > 23:
            assert await peer.request_mtu(mtu) == mtu
        await peer.discover_services()
        await peer.discover_characteristics()
        assert not peer.get_services_by_uuid(uuid16(0x1828))
        (data_in,), (data_out,) = (peer.get_characteristics_by_uuid(uuid16(one)) for one in (0x2ADB, 0x2ADC))
        assert [int(one.properties) for one in (data_in, data_out)] == [0x04, 0x10]
        notified: asyncio.Queue[bytes] = asyncio.Queue()
        await peer.subscribe(data_out, notified.put_nowait)
        for sender, value in values(mtu):
            if sender == "P":
                await peer.write_value(data_in, value)
            else:
                assert (await asyncio.wait_for(notified.get(), 10.0)).hex() == value.hex()
        await connection.disconnect()
        assert unit.node is not None
        state = unit.node.memory.state
        assert state is not None
        assert state.device_key == unhex(CASE["DeviceKey"])
        serving.cancel()
        await asyncio.wait([serving])
        await radio.close()

    asyncio.run(asyncio.wait_for(run(), 60.0))


@pytest.mark.parametrize("mtu", [23, 69])
def test_bumbles_server_notifies_the_recorded_session_to_our_client(mtu: int) -> None:
    async def run() -> None:
        from bumble import gatt

        air = VirtualAir()
        server = await foreign_host(air, "C0:00:00:00:00:02")
        server.gatt_server.max_mtu = mtu
        left, mismatches = values(mtu), []

        async def answer(connection: Any) -> None:
            while left and left[0][0] == "D":
                await server.notify_subscriber(connection, data_out, left.pop(0)[1])

        async def written(connection: Any, value: bytes) -> None:
            if not left or left.pop(0) != ("P", value):
                mismatches.append(value)
            await answer(connection)

        properties = gatt.Characteristic.Properties
        data_in: Any = gatt.Characteristic(
            "2ADB",
            properties.WRITE_WITHOUT_RESPONSE,
            gatt.Characteristic.WRITEABLE,
            gatt.CharacteristicValue(write=written),
        )
        data_out: Any = gatt.Characteristic("2ADC", properties.NOTIFY, gatt.Characteristic.READABLE, b"")
        server.add_service(gatt.Service("1827", [data_in, data_out]))
        await server.start_advertising(auto_restart=True)

        radio = await Radio.open(air=air)
        connection = await radio.connect("C0:00:00:00:00:02", PROVISIONING_SERVICE)
        assert connection.mtu == mtu
        link = PbGattLink.connect(connection.mtu, time.monotonic())
        provisioner = Provisioner(
            EcPrivateKey.from_scalar("P-256", unhex(CASE["ProvisionerPrivateKey"])),
            scripted(unhex(CASE["RandomProvisioner"])),
        )
        session, told = ProvisionerSession(provisioner, link), []
        async for event in arun_pipe(session, link, connection, until=time.monotonic() + 30.0):
            told.append(event)
            match event:
                case LinkOpened():
                    provisioner.invite(0, time.monotonic())
                case CapabilitiesReceived():
                    provisioner.start(
                        Choice(CMAC, uses_oob_key=False, authentication=Authentication()), time.monotonic()
                    )
                case Authenticated():
                    assert event.device_key.reveal() == unhex(CASE["DeviceKey"])
                    provisioner.provide(ProvisioningData.parse(unhex(CASE["ProvisioningData"])), time.monotonic())
                case _:
                    pass
        assert isinstance(told[-1], Provisioned)
        assert not mismatches
        assert not left
        await radio.close()

    asyncio.run(asyncio.wait_for(run(), 60.0))


def uuid16(number: int) -> Any:
    from bumble.core import UUID as BumbleUuid  # noqa: N811 - a peer that may be missing

    return BumbleUuid.from_16_bits(number)
