"""Aliro over real or virtual Bluetooth controllers: a door that is found, and a device that approaches it."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any, Final, final

from keywright.aliro.ble.advertising import (
    Advertiser,
    Group,
    ad_structure,
    address_bytes,
    parse_advertisement,
    resolve,
)
from keywright.aliro.ble.door import Door
from keywright.aliro.ble.gatt import (
    SERVICE,
    SPSM_CHARACTERISTIC,
    VERSION_CHARACTERISTIC,
    Negotiated,
    Offer,
    accept,
    publish,
    select,
)
from keywright.aliro.ble.reader import ReaderEnd, ReaderEvent
from keywright.aliro.ble.user_device import DeviceEvent, DeviceSettings, Responding, UserDeviceEnd
from keywright.errors import DecodeError, LinkError
from keywright.link.ble import Advertisement, Radio
from keywright.link.ble.channels import Channel, ChannelEnd, ChannelService, open_channel
from keywright.link.ble.pipe import Clock, arun_pipe

CHANNELS: Final = ChannelService(SERVICE, SPSM_CHARACTERISTIC, VERSION_CHARACTERISTIC)
Told = Callable[[ReaderEnd, ReaderEvent], None]


@final
class DoorStation:
    """A door as `link.ble.channels.serve_channels` serves it."""

    service = CHANNELS

    def __init__(
        self,
        door: Door,
        advertiser: Advertiser,
        on_event: Told,
        *,
        offer: Offer | None = None,
        utc: Callable[[], float | None] = time.time,
    ) -> None:
        """on_event(end, event): what the owner does about it, in the event loop. utc(): None without a clock."""
        self._door = door
        self._advertiser = advertiser
        self._on_event = on_event
        self._offer = offer or Offer()
        self._utc = utc
        self._published = b""
        self.wake: Callable[[], None] = lambda: None
        """Let all sessions send what they were told to outside of `on_event`, as by `Door.set_state`."""

    def served(self, wake: Callable[[], None]) -> None:
        """Serving begins."""
        self.wake = wake

    def place(self, psm: int) -> bytes:
        """Value of the SPSM characteristic."""
        self._published = publish(self._offer, psm)
        return self._published

    def advertising(self, address: str) -> tuple[Sequence[bytes], float | None]:
        """The service data, and when its tag is to be made anew."""
        now = self._utc()
        data = self._advertiser.data(address_bytes(address), now)
        due = self._advertiser.refresh()
        return (ad_structure(data),), None if due is None or now is None else max(1.0, due - now)

    def connected(self, choice: bytes, now: float) -> ReaderEnd:
        """A session for a device that has chosen a version. Raises DecodeError, PolicyError."""
        return self._door.connect(accept(self._published, choice), now)

    def told(self, end: ChannelEnd, event: Any) -> None:
        """Hand on what a session tells."""
        assert isinstance(end, ReaderEnd)
        self._on_event(end, event)


async def find_reader(
    radio: Radio, groups: Iterable[Group], *, utc: Callable[[], float | None] = time.time
) -> tuple[Advertisement, Group]:
    """The first reader heard that belongs to one of the groups. Waits for ever; put it under a timeout."""
    known = tuple(groups)
    async with contextlib.aclosing(radio.scan()) as scanning:  # type: ignore[type-var]  # a generator
        async for heard in scanning:
            group = belongs_to(heard, known, utc())
            if group is not None:
                return heard, group
    raise LinkError("the scan has ended", delivered=False)


def belongs_to(heard: Advertisement, groups: Iterable[Group], utc: float | None) -> Group | None:
    """The group of the reader that was heard, None if it is none or nobody's."""
    data = parse_advertisement(heard.data)
    if data is None:
        return None
    try:
        return resolve(data, address_bytes(heard.address), groups, utc)
    except DecodeError:
        return None


@final
class Approach:
    """A device's session with a door: made by `approach`; iterate over it to run it."""

    def __init__(self, end: UserDeviceEnd, channel: Channel, clock: Clock) -> None:
        self.end = end
        self._channel = channel
        self._clock = clock

    def __aiter__(self) -> AsyncIterator[DeviceEvent]:
        """Run the session; ends when it is closed."""
        return arun_pipe(self.end, self.end, self._channel, clock=self._clock)

    def wake(self) -> None:
        """Send at once what `end` was told to send."""
        self._channel.wake()

    async def close(self) -> None:
        """Leave; twice does no harm."""
        self.end.close()
        await self._channel.close()


async def approach(
    radio: Radio,
    address: str,
    device: Responding,
    *,
    is_rke: bool = False,
    offer: Offer | None = None,
    settings: DeviceSettings | None = None,
    clock: Clock = time.monotonic,
    random: Callable[[int], bytes] = secrets.token_bytes,
) -> Approach:
    """Open the channel to a door and begin. Raises LinkError, and PolicyError without a common version."""
    chosen: list[Negotiated] = []

    def choose(place: bytes) -> tuple[int, bytes]:
        psm, value, negotiated = select(place, offer or Offer())
        chosen.append(negotiated)
        return psm, value

    channel = await open_channel(radio, address, CHANNELS, choose)
    end = UserDeviceEnd(device, chosen[0], clock(), random=random, is_rke=is_rke, settings=settings)
    return Approach(end, channel, clock)
