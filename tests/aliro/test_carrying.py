"""Extended length goes to devices that have announced it, and to no other."""

from __future__ import annotations

import pytest

from keywright.aliro.cache import PersistentKeys
from keywright.aliro.carrying import transmit_as_announced
from keywright.aliro.exchange import MailboxRequest, Read, Write
from keywright.aliro.reader import Plan, authenticate, use_mailbox
from keywright.aliro.simulated import SimulatedUserDevice
from keywright.aliro.user_device import Settings, UserDevice
from keywright.iso7816.apdu import Command
from keywright.sansio.dialogue import drive
from keywright.store.memory import RamMemory
from support.aliro import fresh, key, reader, records, stream

SIZE = 400


class Link:
    def __init__(self, settings: Settings, *, extended: bool) -> None:
        user_device = UserDevice(settings, lambda name: key(name.decode()), stream("device"))
        memory = RamMemory({**records().kept, "mailbox/0": bytes(SIZE)})
        self._device = SimulatedUserDevice(user_device, memory)
        self.extended = extended
        self.commands: list[Command] = []

    def exchange(self, request: bytes, /) -> bytes:
        self.commands.append(Command.parse(request))
        return self._device.handle(request)


@pytest.mark.parametrize(
    ("announced", "link_can", "uses"),
    [
        ((2000, 2000), True, True),
        ((2000, 2000), False, False),
        (None, True, False),
        ((261, 2000), True, False),
        ((SIZE, SIZE), True, False),
    ],
)
def test_extended_length_is_used_where_the_device_the_link_and_the_size_allow_it(
    announced: tuple[int, int] | None, *, link_can: bool, uses: bool
) -> None:
    link = Link(Settings(extended=announced), extended=link_can)
    send = transmit_as_announced(link)
    opened = drive(authenticate(reader(), Plan(), fresh("1"), PersistentKeys()), send)
    written = bytes(range(200)) * 2
    answer = drive(use_mailbox(opened, MailboxRequest((Write(0, written), Read(0, SIZE)))), send)
    assert answer.reads == (written,)
    assert any(command.extended for command in link.commands) is uses
    assert any(command.cla & 0x10 for command in link.commands) is not uses
