"""Fobs that are reached by Bluetooth, many at a time: commands for the chip and frames for the mesh radio, over GATT.

A station as the line wants one. Each fob is known by its address. A connection to the APDU service is a power cycle of
the chip; for the radio it gives way to a connection to a mesh service, and the chip is reset before it is asked again.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from queue import Empty, SimpleQueue
from typing import Final, TypeAlias, final

import msgspec

from keywright.errors import KeywrightError, LinkError
from keywright.fob.mesh_model import Carrier, Heard, Sent
from keywright.fob.pool import FobPool
from keywright.iso7816.gatt import SERVICE, GattHost
from keywright.iso7816.transport import Activated, Answered, Failed, HostEvent
from keywright.link.ble import Ble, Connection, Pipe, Radio, arun_pipe
from keywright.link.ble.pipe import GOOD_MTU
from keywright.link.ble.radio import CONNECT_S
from keywright.mesh.pb_gatt.messages import PROVISIONING_SERVICE, PROXY_SERVICE

_MESH: Final[dict[Carrier, Pipe]] = {"provisioning": PROVISIONING_SERVICE, "proxy": PROXY_SERVICE}
_AGAIN: Final = "reset the fob and probe it"
_GOODBYE_S: Final = 5.0

_Answer: TypeAlias = "tuple[str, bytes | LinkError | BaseException]"


@final
class BleStation:
    """Where fobs stand that are in reach of one Bluetooth controller."""

    width = 8
    """How many fobs are worth working on at once: as many connections as small controllers have."""

    def __init__(
        self,
        hci: str,
        address_of: Callable[[str], str] | None = None,
        *,
        hand: FobPool | None = None,
        mtu: int = GOOD_MTU,
        connect_s: float = CONNECT_S,
    ) -> None:
        """hci: the controller, as `Ble` takes it. address_of: where the fob of a name is, if `learn` is not to say.

        hand: what powers fobs on and off, if they are simulated; closed with the station. Raises as `Ble`.
        """
        self.waiting = 0
        self._address_of = address_of or self._learnt
        self._addresses: dict[str, str] = {}
        self._mtu = mtu
        self._connect_s = connect_s
        self._hand = hand
        self._thread = ThreadPoolExecutor(1, "fob hand")
        self._answers: SimpleQueue[_Answer] = SimpleQueue()
        self._fobs: dict[str, _Fob] = {}
        self._ble = Ble(hci)

    def learn(self, name: str, address: str) -> None:
        """Where the fob of a name is."""
        self._addresses[name] = address

    def submit(self, name: str, command: bytes) -> None:
        """Take a command APDU for the chip of a fob; one that was not powered on is first."""

        async def work(radio: Radio, fob: _Fob) -> bytes:
            if not fob.is_on:
                await self._switch_on(radio, name, fob)
            return await fob.command(command)

        self._do(name, work)

    def submit_air(self, name: str, sent: bytes) -> None:
        """Take frames for the mesh radio of a fob, `mesh_model.Sent`; the answer is a `mesh_model.Heard`."""
        request = msgspec.msgpack.decode(sent, type=Sent)

        async def work(radio: Radio, fob: _Fob) -> bytes:
            return msgspec.msgpack.encode(await fob.on_air(radio, request))

        self._do(name, work)

    def power_on(self, name: str) -> None:
        """Connect to the chip of a fob and reset it; the answer is its answer to reset."""
        self._do(name, lambda radio, fob: self._switch_on(radio, name, fob))

    def power_off(self, name: str) -> None:
        """The fob is finished with; nothing comes back."""

        async def off(_: Radio) -> None:
            fob = self._fobs.pop(name, None)
            if fob is not None:
                async with fob.turn:
                    await fob.leave()
            await self._by_hand(name, on=False)

        self._ble.begin(off)

    def flush(self) -> None:
        """Nothing waits."""

    def receive(self, *, block: bool = True, limit_s: float | None = None) -> list[tuple[str, bytes | LinkError]]:
        """The answers that have come, at least one if blocking and any is waiting, unless `limit_s` passes.

        Raises LinkError when the process of simulated fobs is gone.
        """
        found: list[tuple[str, bytes | LinkError]] = []
        block = block and self.waiting > 0
        with contextlib.suppress(Empty):
            while self.waiting:
                name, answer = self._answers.get(block and not found, limit_s)
                self.waiting -= 1
                if not name or not isinstance(answer, (bytes, LinkError)):
                    assert isinstance(answer, BaseException)  # bytes are always somebody's
                    raise answer
                found.append((name, answer))
        return found

    def close(self) -> None:
        """Disconnect from all, and leave them as they are."""

        async def leave_all(_: Radio) -> None:
            for fob in self._fobs.values():
                await fob.leave()

        with contextlib.suppress(KeywrightError, TimeoutError):
            self._ble.begin(leave_all).result(_GOODBYE_S)
        with contextlib.suppress(KeywrightError):
            self._ble.close()
        self._thread.shutdown(wait=False, cancel_futures=True)
        if self._hand is not None:
            self._hand.close()

    def _do(self, name: str, work: Callable[[Radio, _Fob], Awaitable[bytes]]) -> None:
        """Have work done for a fob after all that it was given before; exactly one answer comes of it."""

        async def do(radio: Radio) -> None:
            fob = self._fobs.setdefault(name, _Fob(self._mtu, self._connect_s))
            answer: bytes | BaseException
            async with fob.turn:
                try:
                    fob.address = self._address_of(name)
                    answer = await work(radio, fob)
                except _GoneError as gone:
                    self._answers.put(("", LinkError(str(gone), None)))
                    return
                except BaseException as error:  # noqa: BLE001 - whatever it is, the station's caller is to have it
                    answer = error
            self._answers.put((name, answer))

        self.waiting += 1
        self._ble.begin(do)

    def _learnt(self, name: str) -> str:
        address = self._addresses.get(name)
        if address is None:
            raise LinkError(f"{name}: nobody said at which Bluetooth address it is", delivered=False)
        return address

    async def _switch_on(self, radio: Radio, name: str, fob: _Fob) -> bytes:
        await fob.leave()
        await self._by_hand(name, on=True)
        fob.is_on = True
        return await fob.reset(radio)

    async def _by_hand(self, name: str, *, on: bool) -> None:
        """Power a simulated fob. Raises LinkError for what it says, _GoneError if there is nobody to say anything."""
        hand = self._hand
        if hand is None:
            return

        def do() -> None:
            try:
                if not on:
                    hand.power_off(name)
                    hand.flush()
                    return
                hand.power_on(name)
                ((_, answer),) = hand.receive()
            except LinkError as error:
                raise _GoneError(str(error)) from error
            if isinstance(answer, LinkError):
                raise answer

        await asyncio.get_running_loop().run_in_executor(self._thread, do)


class _GoneError(Exception):
    """The process of the simulated fobs is gone, and all of them with it."""


@final
class _Fob:
    """One fob: the connection to it, and which service that is to. Used in the loop of the radio alone."""

    def __init__(self, mtu: int, connect_s: float) -> None:
        self.turn = asyncio.Lock()
        self.is_on = False
        self.address = ""
        self._mtu = mtu
        self._connect_s = connect_s
        self._connection: Connection | None = None
        self._pipe: Pipe | None = None
        self._host = GattHost(mtu)

    async def reset(self, radio: Radio) -> bytes:
        """Connect to the chip; its answer to reset. Raises LinkError."""
        connection = await self._to(radio, SERVICE)
        self._host = GattHost(connection.mtu)
        self._host.request_reset(time.monotonic())
        end = await self._end()
        if isinstance(end, Activated):
            return end.answer
        raise self._error(end)

    async def command(self, apdu: bytes) -> bytes:
        """The chip's answer. Raises LinkError; `delivered` is None where the command may have run."""
        if self._connection is None or self._pipe != SERVICE:
            why = self._host.why_lost or "the connection to the element is over"
            raise LinkError(f"ble:{self.address}: {why}", delivered=False, hint=_AGAIN)
        self._host.command(apdu, time.monotonic())
        end = await self._end()
        if isinstance(end, Answered):
            return end.data
        raise self._error(end)

    async def on_air(self, radio: Radio, sent: Sent) -> Heard:
        """Send, then listen until something was heard or the time is over. Raises LinkError."""
        begun = time.monotonic()
        if sent.carrier == "advertising":
            if sent.frames:
                raise LinkError("a GATT station has no PB-ADV", delivered=False, hint="use sim:mesh or sim:fob")
            frames = await self._listen(radio, sent.wait_s)
            return Heard(frames, time.monotonic() - begun)
        pipe = _MESH[sent.carrier]
        mtu = 0
        if sent.connects:
            mtu = (await self._to(radio, pipe)).mtu
        if self._connection is None or self._pipe != pipe:
            raise LinkError(f"ble:{self.address}: the connection is over", delivered=False, hint=_AGAIN)
        for frame in sent.frames:
            await self._connection.send(frame)
        frames = await self._values(self._connection, sent.wait_s)
        return Heard(frames, time.monotonic() - begun, mtu)

    async def leave(self) -> None:
        """Disconnect; twice does no harm."""
        connection, self._connection, self._pipe = self._connection, None, None
        if connection is not None:
            await connection.close()

    async def _to(self, radio: Radio, pipe: Pipe) -> Connection:
        await self.leave()
        self._connection = await radio.connect(self.address, pipe, mtu=self._mtu, timeout_s=self._connect_s)
        self._pipe = pipe
        return self._connection

    async def _listen(self, radio: Radio, wait_s: float) -> tuple[bytes, ...]:
        """The first advertisement of this fob, which sends none while it is connected."""
        await self.leave()
        wanted = _plain(self.address)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s), contextlib.aclosing(radio.scan()) as scanning:  # type: ignore[type-var]  # a generator
                async for one in scanning:
                    if _plain(one.address) == wanted:
                        return (one.data,)
        return ()

    async def _values(self, connection: Connection, wait_s: float) -> tuple[bytes, ...]:
        found: list[bytes] = []
        try:
            value = await connection.receive(wait_s)
            while value is not None:
                found.append(value)
                value = await connection.receive(0.0)
        except LinkError:
            if not found:
                raise
        return tuple(found)

    async def _end(self) -> HostEvent | None:
        if self._connection is not None:
            async with contextlib.aclosing(arun_pipe(self._host, self._host, self._connection)) as events:  # type: ignore[type-var]  # a generator
                async for event in events:
                    if isinstance(event, Answered | Activated | Failed):
                        return event
        return None

    def _error(self, end: HostEvent | None) -> LinkError:
        if isinstance(end, Failed):
            return LinkError(f"ble:{self.address}: {end.text}", end.delivered, hint=_AGAIN)
        return LinkError(f"ble:{self.address}: the connection is gone", delivered=None, hint=_AGAIN)


def _plain(address: str) -> str:
    return address.partition("/")[0].upper()
