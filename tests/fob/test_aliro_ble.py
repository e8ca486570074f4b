"""Aliro over virtual controllers of bumble: a door and devices, and bumble's own client and server for either."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from keywright.aliro.ble.advertising import Advertiser, Group, ad_structure, address_bytes, parse_advertisement
from keywright.aliro.ble.ends import Closed, Ranging
from keywright.aliro.ble.gatt import Offer
from keywright.aliro.ble.messages import Source, StateReport
from keywright.aliro.ble.reader import ReaderEnd, ReaderEvent
from keywright.aliro.ble.settings import Authenticated, RkeRequested
from keywright.aliro.ble.user_device import Completed, DeviceEvent, StateChanged
from keywright.crypto.aes import AesKey
from keywright.errors import PolicyError
from keywright.fob.aliro_ble import CHANNELS, Approach, DoorStation, approach, belongs_to, find_reader
from keywright.link.ble import Advertisement, Radio, VirtualAir
from keywright.link.ble.channels import serve_channels
from keywright.uwb.setup.ends import Agreed
from support.aliro import GROUP, SUB_GROUP, stream
from support.aliro_ble import Session, door, simulated
from support.peers import require_peer

require_peer("bumble", importlib.util.find_spec("bumble") is not None, "pip install keywright[ble]")

KEY = AesKey(bytes(16), "GroupResolvingKey")
MINE = Group(GROUP, KEY)
NOW = 1_800_000_000.0


class House:
    """A served door, radios of devices, and what was told."""

    def __init__(self, air: VirtualAir, radios: list[Radio]) -> None:
        self.air = air
        self.server, *self.radios = radios
        self.told: list[tuple[ReaderEnd, ReaderEvent]] = []
        self.closed = asyncio.Event()
        self.door = door()
        self.station = DoorStation(self.door, Advertiser(GROUP + SUB_GROUP, KEY), self._tell, utc=lambda: NOW)

    def _tell(self, end: ReaderEnd, event: ReaderEvent) -> None:
        self.told.append((end, event))
        if isinstance(event, Closed):
            self.closed.set()
        if isinstance(event, RkeRequested):
            self.door.set_state(event.action, Source.THIS_DEVICE_BLE, by=end)


def run(body: Callable[[House], Awaitable[None]], *, clients: int = 1) -> None:
    async def main() -> None:
        air, ready = VirtualAir(), asyncio.Event()
        house = House(air, [await Radio.open(air=air) for _ in range(clients + 1)])
        serving = asyncio.create_task(serve_channels(house.server, house.station, on_ready=ready))
        await ready.wait()
        try:
            await body(house)
        finally:
            serving.cancel()
            await asyncio.wait([serving])
            for radio in (house.server, *house.radios):
                await radio.close()

    asyncio.run(asyncio.wait_for(main(), 60.0))


async def until(session: Approach, found: Callable[[DeviceEvent], bool]) -> DeviceEvent:
    """Run a session up to an event."""
    async for event in session:
        if found(event):
            return event
    raise AssertionError("the session ended before")


def agreed(event: DeviceEvent) -> bool:
    return isinstance(event, Ranging) and isinstance(event.event, Agreed)


def test_a_device_finds_its_reader_and_ranges_with_it_twice_the_second_time_by_the_fast_phase() -> None:
    async def body(house: House) -> None:
        device = simulated()
        for number in range(2):
            heard, group = await find_reader(house.radios[0], [Group(bytes(16), KEY), MINE], utc=lambda: NOW)
            assert group is MINE
            assert heard.address == house.server.address
            session = await approach(house.radios[0], heard.address, device, random=stream(f"{number}"))
            await until(session, agreed)
            (end,) = {end for end, event in house.told if isinstance(event, Authenticated)} - seen
            seen.add(end)
            assert end.ursk == session.end.ursk is not None
            assert end.opened is not None
            assert end.opened.is_fast == bool(number)
            await session.close()
            assert session.end.ursk is None

    seen: set[ReaderEnd] = set()
    run(body)


def test_two_devices_at_once_and_the_bolt_that_one_moves_is_told_to_both() -> None:
    async def body(house: House) -> None:
        sessions = [
            await approach(radio, house.server.address, simulated(), is_rke=bool(number), random=stream(f"{number}"))
            for number, radio in enumerate(house.radios)
        ]
        await until(sessions[0], agreed)
        await until(sessions[1], lambda event: isinstance(event, Completed))
        waiting = [
            asyncio.ensure_future(until(session, lambda event: isinstance(event, StateChanged))) for session in sessions
        ]
        sessions[1].end.request_rke(1, 1e9)
        sessions[1].wake()
        told = await asyncio.gather(*waiting)
        assert told == [StateChanged(StateReport(0, 1)), StateChanged(StateReport(6, 1))]
        assert house.door.state == 1
        by_hand = asyncio.ensure_future(until(sessions[0], lambda event: isinstance(event, StateChanged)))
        house.door.set_state(0, Source.MANUAL)
        house.station.wake()
        assert await by_hand == StateChanged(StateReport(1, 0))
        await sessions[0].close()
        await house.closed.wait()

    run(body, clients=2)


def test_ends_without_a_common_version_open_no_channel() -> None:
    async def body(house: House) -> None:
        with pytest.raises(PolicyError, match="no common version"):
            await approach(house.radios[0], house.server.address, simulated(), offer=Offer((0x0300,)))
        assert house.told == []

    run(body)


async def foreign(air: VirtualAir) -> Any:
    """A device of bumble as its own examples make one."""
    from bumble.controller import Controller
    from bumble.device import Device
    from bumble.hci import Address
    from bumble.host import Host
    from bumble.transport.common import AsyncPipeSink

    controller = Controller("foreign", link=air.link)
    address = Address("C0:00:00:00:00:01")
    device = Device("foreign", address=address, host=Host(controller, AsyncPipeSink(controller)))
    await device.power_on()
    return device


def test_bumbles_own_client_reads_writes_and_opens_the_channel() -> None:
    """What a device said in a session in memory, and the door answers it here as it did there: with AUTH0."""
    recorded = Session().run()

    async def body(house: House) -> None:
        from bumble.core import UUID
        from bumble.device import Peer
        from bumble.hci import Address
        from bumble.l2cap import LeCreditBasedChannelSpec

        client = await foreign(house.air)
        connection = await client.connect_le(Address(house.server.address))
        peer = Peer(connection)
        (service,) = await peer.discover_service(UUID.from_16_bits(0xFFF2))
        await service.discover_characteristics()
        found = {str(one.uuid).upper(): one for one in service.characteristics}
        value = bytes(await found[CHANNELS.place].read_value())
        assert value[2:] == bytes.fromhex("0201000103")
        assert 0x80 <= int.from_bytes(value[:2]) <= 0xFF
        await found[CHANNELS.choice].write_value(bytes.fromhex("01000101"), with_response=True)
        channel = await connection.create_l2cap_channel(LeCreditBasedChannelSpec(int.from_bytes(value[:2])))
        received: asyncio.Queue[bytes] = asyncio.Queue()
        channel.sink = received.put_nowait
        channel.write(recorded.line.carried[0].octets)
        answer = await received.get()
        auth0 = recorded.line.carried[1].octets
        assert answer[:11] == auth0[:11] == bytes.fromhex("000000878080000081410101"[:22])
        await connection.disconnect()

    run(body)


def test_bumbles_own_server_is_found_and_sent_what_a_device_says_first() -> None:
    async def main() -> None:
        from bumble import gatt
        from bumble.l2cap import LeCreditBasedChannelSpec

        air = VirtualAir()
        server, radio = await foreign(air), await Radio.open(air=air)
        written: list[bytes] = []
        received: asyncio.Queue[bytes] = asyncio.Queue()

        def opened(channel: Any) -> None:
            channel.sink = received.put_nowait

        listening = server.create_l2cap_server(LeCreditBasedChannelSpec(psm=0x00B5), opened)
        place: gatt.Characteristic[bytes] = gatt.Characteristic(
            CHANNELS.place,
            gatt.Characteristic.Properties.READ,
            gatt.Characteristic.READABLE,
            bytes.fromhex("00B50402000100020001"),
        )
        choice: gatt.Characteristic[bytes] = gatt.Characteristic(
            CHANNELS.choice,
            gatt.Characteristic.Properties.WRITE,
            gatt.Characteristic.WRITEABLE,
            gatt.CharacteristicValue(write=lambda _, value: written.append(bytes(value))),
        )
        server.add_service(gatt.Service(CHANNELS.service, [place, choice]))
        data = Advertiser(GROUP + SUB_GROUP, KEY).data(address_bytes("C0:00:00:00:00:01"), None)
        await server.start_advertising(
            advertising_data=ad_structure(data), advertising_interval_min=20, advertising_interval_max=20
        )
        heard, _ = await find_reader(radio, [MINE], utc=lambda: NOW)
        session = await approach(radio, heard.address, simulated())
        running = asyncio.ensure_future(until(session, lambda event: isinstance(event, Closed)))
        assert await received.get() == bytes.fromhex("0205000C000AA508800200005C020100")
        assert written == [bytes.fromhex("01000101")]
        await session.close()
        await running
        listening.close()
        await radio.close()

    asyncio.run(asyncio.wait_for(main(), 60.0))


def test_only_readers_of_its_groups_are_a_devices() -> None:
    data = ad_structure(Advertiser(GROUP + SUB_GROUP, KEY).data(address_bytes("C0:00:00:00:00:01"), NOW))
    heard = Advertisement("C0:00:00:00:00:01", bytes.fromhex("020106") + data, -50, is_connectable=True)
    assert belongs_to(heard, [MINE], NOW) is MINE
    for other in (
        heard._replace(address="C0:00:00:00:00:02"),
        heard._replace(address="nonsense"),
        heard._replace(data=b""),
        heard._replace(data=data[:-1]),
    ):
        assert belongs_to(other, [MINE], NOW) is None
    assert belongs_to(heard, [MINE], NOW + 901) is None
    assert parse_advertisement(heard.data) is not None
