"""A device in the same process, blocking and asynchronous."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from keywright.errors import LinkError
from keywright.link import AsyncExchange, Exchange, Fault, Loopback, Recording, Replay
from keywright.link.threaded import Threaded
from support.echo import Echo


def test_commands_reach_the_device_and_answers_come_back() -> None:
    link = Loopback(Echo())
    assert link.exchange(b"\x00\xa4") == b"\x00\xa4\x90\x00"


def test_reset_resets_the_device_and_gives_its_atr() -> None:
    device = Echo(atr=b"\x3b\x00")
    link = Loopback(device)
    assert link.atr == link.reset() == b"\x3b\x00"
    assert device.resets == 1


def test_a_closed_loopback_delivers_nothing() -> None:
    device = Echo()
    link = Loopback(device)
    link.close()
    link.close()
    calls: list[Callable[[], bytes]] = [lambda: link.exchange(b"x"), link.reset, lambda: link.atr]
    for call in calls:
        with pytest.raises(LinkError) as caught:
            call()
        assert caught.value.delivered is False
    assert device.seen == []
    assert device.resets == 0


def test_every_link_and_wrapper_is_an_exchange() -> None:
    link = Loopback(Echo(), extended=False)
    for wrapped in (link, Recording(link, lambda _event: None), Fault(link, []), Replay([])):
        assert isinstance(wrapped, Exchange)
    assert isinstance(Threaded(link), AsyncExchange)
    assert [w.extended for w in (link, Recording(link, lambda _event: None), Fault(link, []))] == [False] * 3


def test_a_blocking_link_serves_asynchronous_callers() -> None:
    async def talk() -> tuple[bytes, bytes]:
        device = Echo()
        link = Threaded(Loopback(device, "echo"))
        answer = await link.exchange(b"ab")
        atr = await link.reset()
        assert (link.name, link.atr, link.extended) == ("echo", device.atr, True)
        await link.close()
        with pytest.raises(LinkError):
            await link.exchange(b"ab")
        return answer, atr

    assert asyncio.run(talk()) == (b"ab\x90\x00", Echo().atr)
