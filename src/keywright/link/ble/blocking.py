"""Bluetooth for ordinary code: an event loop in a thread of its own, and faces that wait for it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, Final, TypeVar, final

from keywright.errors import LinkError
from keywright.link.ble.connection import Connection
from keywright.link.ble.library import require_bumble
from keywright.link.ble.pipe import GOOD_MTU, Advertisement, Peripheral, Pipe
from keywright.link.ble.radio import CONNECT_S, Radio, VirtualAir
from keywright.link.ble.server import Told, serve
from keywright.link.ble.shared_air import SCHEME, SharedAir, open_shared

Result = TypeVar("Result")

_GRACE_S: Final = 5.0


_starting: Final = threading.Lock()


def _loop() -> asyncio.AbstractEventLoop:
    """The loop of this process, started at first use: virtual controllers hear each other within one loop alone."""
    with _starting:  # the cache alone would let two threads start two
        return _started()


@functools.cache
def _started() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="keywright-ble", daemon=True).start()
    return loop


def _air() -> VirtualAir:
    with _starting:
        return _made()


@functools.cache
def _made() -> VirtualAir:
    return VirtualAir()


def _call(coroutine: Coroutine[Any, Any, Result], timeout_s: float | None = None) -> Result:
    future = asyncio.run_coroutine_threadsafe(coroutine, _loop())
    try:
        return future.result(timeout_s)
    except BaseException:
        future.cancel()
        raise


@final
class Ble:
    """A Bluetooth host. Hosts on virtual controllers hear all others of this process."""

    def __init__(self, hci: str = "", *, address: str = "") -> None:
        """As `Radio.open`, which raises too. hci: also `air:HOST:PORT`, a virtual air that processes share."""
        require_bumble()
        self._shared: SharedAir | None = None
        self._servings: list[Serving] = []
        self._radio: Radio | None
        if hci.startswith(SCHEME):
            self._radio, self._shared = _call(open_shared(hci, _air(), address))
        else:
            self._radio = _call(Radio.open(hci, air=None if hci else _air(), address=address))
        self.name = self._radio.name if self._shared is None else f"ble:?hci={self._shared.uri}"
        self.address = self._radio.address
        """Under which others see this host."""

    def __enter__(self) -> Ble:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def scan(self, timeout_s: float, enough: Callable[[Advertisement], bool] = lambda _: False) -> list[Advertisement]:
        """What is heard in some seconds, the latest of each address; ends early with one that is `enough`."""
        radio = self._open()

        async def listen() -> list[Advertisement]:
            heard: dict[str, Advertisement] = {}
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_s), contextlib.aclosing(radio.scan()) as scanning:  # type: ignore[type-var]  # a generator
                    async for one in scanning:
                        heard[one.address] = one
                        if enough(one):
                            break
            return [*heard.values()]

        return _call(listen())

    def connect(self, address: str, pipe: Pipe, *, mtu: int = GOOD_MTU, timeout_s: float = CONNECT_S) -> BleConnection:
        """As `Radio.connect`."""
        return BleConnection(_call(self._open().connect(address, pipe, mtu=mtu, timeout_s=timeout_s)))

    def serve(self, *peripherals: Peripheral, mtu: int = GOOD_MTU, on_event: Told = lambda *_: None) -> Serving:
        """Serve until `Serving.stop`, beside the caller. on_event is called in the thread of the loop."""
        self._servings.append(Serving(self._open(), peripherals, mtu, on_event))
        return self._servings[-1]

    def begin(self, work: Callable[[Radio], Coroutine[Any, Any, Result]]) -> Future[Result]:
        """Have a coroutine run beside the caller, in the loop that this host's radio is of."""
        return asyncio.run_coroutine_threadsafe(work(self._open()), _loop())

    def close(self) -> None:
        """Give the controller up, and with it what is served; twice does no harm."""
        if self._radio is not None:
            _call(self._radio.close())
            self._radio = None
        for serving in self._servings:  # it would ask a controller that is gone to advertise again
            serving.end()
        self._servings.clear()
        if self._shared is not None:
            _call(self._shared.close())
            self._shared = None

    def _open(self) -> Radio:
        if self._radio is None:
            raise LinkError(f"{self.name}: the controller is closed", delivered=False)
        return self._radio


@final
class Shared:
    """The air between the virtual controllers of this process, while others are let on to it at a local socket."""

    def __init__(self, path: str) -> None:
        """Raises UsageError without the extra `ble`, LinkError if the socket cannot be made."""
        require_bumble()
        try:
            self._shared = _call(SharedAir.behind(_air(), path))
        except OSError as error:
            raise LinkError(f"{path}: cannot be listened at: {error.strerror}", delivered=False) from error

    def close(self) -> None:
        """Let nobody on any more, and drop who is; twice does no harm."""
        _call(self._shared.close())


@final
class BleConnection:
    """The blocking face of a `Connection`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.name = connection.name

    @property
    def mtu(self) -> int:
        """ATT_MTU of the connection."""
        return self._connection.mtu

    def send(self, value: bytes) -> None:
        """Write without response. Raises LinkError if the connection is gone."""
        _call(self._connection.send(value))

    def receive(self, timeout_s: float | None) -> bytes | None:
        """The next value notified, None if none came in time. Raises LinkError once the connection is gone."""
        return _call(self._connection.receive(timeout_s))

    def close(self) -> None:
        """Disconnect; twice does no harm."""
        _call(self._connection.close())


@final
class Serving:
    """Peripherals being served."""

    def __init__(self, radio: Radio, peripherals: tuple[Peripheral, ...], mtu: int, on_event: Told) -> None:
        async def start() -> asyncio.Task[None]:
            return asyncio.create_task(serve(radio, peripherals, mtu=mtu, on_event=on_event, clock=time.monotonic))

        self._task = _call(start())

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until serving ends; whether it has. Raises what ended it."""
        _call(self._wait(timeout_s))
        if self._task.done() and not self._task.cancelled():
            self._task.result()
        return self._task.done()

    def stop(self) -> None:
        """Drop the connection and advertise no more; twice does no harm."""
        self.end()
        _call(self._wait(_GRACE_S))

    def end(self) -> None:
        """As `stop`, without waiting for it."""
        _loop().call_soon_threadsafe(self._task.cancel)

    async def _wait(self, timeout_s: float | None) -> None:
        await asyncio.wait([self._task], timeout=timeout_s)
