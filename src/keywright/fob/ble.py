"""The secure element of a fob through Bluetooth: `ble:PEER`, with our framing of APDUs over GATT underneath."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Final, final

from keywright.errors import LinkError, UsageError
from keywright.iso7816.gatt import SERVICE, GattCard, GattHost
from keywright.iso7816.transport import Activated, Answered, Failed, HostEvent
from keywright.link.ble import Advertisement, Ble, BleConnection, run_pipe
from keywright.link.ble.pipe import GOOD_MTU
from keywright.link.ble.radio import CONNECT_S
from keywright.sansio.responder import Device

_HINT: Final = "reset the element and probe it"
_STEP_S: Final = 0.2
SCAN_S: Final = 3.0
"""How long a fob is looked for that is not named."""


@final
class BleLink:
    """An `Exchange` over the APDU service of a fob. A failure leaves it down until `reset`, which connects anew."""

    extended = True

    def __init__(
        self,
        ble: Ble,
        address: str,
        *,
        mtu: int = GOOD_MTU,
        timeout_s: float = CONNECT_S,
        close: Callable[[], object] = lambda: None,
    ) -> None:
        """Connect, and take the answer to reset. close: called once the link is closed. Raises LinkError."""
        self.name = f"ble:{address}"
        self._ble = ble
        self._address = address
        self._mtu = mtu
        self._timeout_s = timeout_s
        self._close = close
        self._is_open = True
        self._connection: BleConnection | None = None
        self._host = GattHost(mtu)
        try:
            self._connect()
        except BaseException:
            self.close()
            raise

    @property
    def atr(self) -> bytes:
        """Answer to reset as the element told it."""
        return self._host.atr or b""

    def exchange(self, command: bytes, /) -> bytes:
        """The element's answer. Raises LinkError; `delivered` is None where the command may have run."""
        self._check()
        if self._connection is None:
            raise LinkError(f"{self.name}: {self._host.why_lost}", delivered=False, hint=_HINT)
        self._host.command(command, time.monotonic())
        end = self._end()
        if isinstance(end, Answered):
            return end.data
        raise self._error(end)

    def reset(self) -> bytes:
        """Reset the element, on a new connection if this one failed, and return its ATR. Raises LinkError."""
        self._check()
        if self._host.is_closed or self._connection is None:
            self._connect()
            return self.atr
        self._host.request_reset(time.monotonic())
        end = self._end()
        if not isinstance(end, Activated):
            raise self._error(end)
        return self.atr

    def close(self) -> None:
        """Disconnect; twice does no harm."""
        self._is_open = False
        self._drop("the link is closed")
        self._close()

    def _connect(self) -> None:
        self._drop("connected anew")
        self._connection = self._ble.connect(self._address, SERVICE, mtu=self._mtu, timeout_s=self._timeout_s)
        self._host = GattHost(self._connection.mtu)
        # Its answer to reset is the first that the element says; asking again costs little and cannot miss it.
        self._host.request_reset(time.monotonic())
        end = self._end()
        if not isinstance(end, Activated):
            raise self._error(end)

    def _end(self) -> HostEvent | None:
        if self._connection is not None:
            for event in run_pipe(self._host, self._host, self._connection):
                if isinstance(event, Answered | Activated | Failed):
                    return event
        return None

    def _error(self, end: HostEvent | None) -> LinkError:
        if isinstance(end, Failed):
            if end.is_down:
                self._drop(end.text)
            return LinkError(f"{self.name}: {end.text}", end.delivered, hint=_HINT)
        return LinkError(f"{self.name}: the connection is gone", delivered=None, hint=_HINT)

    def _drop(self, why: str) -> None:
        self._host.disconnected(why, time.monotonic())
        self._host.events()
        if self._connection is not None:
            with contextlib.suppress(LinkError):
                self._connection.close()
            self._connection = None

    def _check(self) -> None:
        if not self._is_open:
            raise LinkError(f"{self.name}: the link is closed", delivered=False)


@final
class BleServer:
    """An element that others reach by Bluetooth."""

    def __init__(self, device: Device, hci: str = "", address: str = "", mtu: int = GOOD_MTU) -> None:
        """Open the controller. address: random static address to use, drawn if empty. Raises as `Ble`."""
        self._ble = Ble(hci, address=address)
        self._card = GattCard(device)
        self._mtu = mtu
        self._stopped = threading.Event()

    def serve(self, on_ready: Callable[[str], object]) -> None:
        """Serve until `stop`; on_ready(URI) is called once it is there. Raises LinkError when the controller fails."""
        serving = self._ble.serve(self._card, mtu=self._mtu)
        try:
            on_ready(f"ble:{self._ble.address}")
            while not self._stopped.is_set() and not serving.wait(_STEP_S):
                pass
        finally:
            serving.stop()

    def stop(self) -> None:
        """Make `serve` return; any thread or signal handler may call it."""
        self._stopped.set()

    def close(self) -> None:
        """Give the controller up; twice does no harm."""
        self._ble.close()


def open_ble(peer: str, hci: str = "", mtu: int = GOOD_MTU) -> BleLink:
    """A link to the fob at an address, or without one to the only fob that is heard.

    hci: the controller as bumble writes it, a virtual one without. Raises LinkError, UsageError.
    """
    ble = Ble(hci)
    try:
        return BleLink(ble, peer or _only_one(ble), mtu=mtu, close=ble.close)
    except BaseException:
        ble.close()
        raise


def over_ble(device: Device) -> BleLink:
    """A device of this process, reached through two virtual controllers. Raises UsageError without the extra `ble`."""
    with contextlib.ExitStack() as stack:
        fob = Ble()
        stack.callback(fob.close)
        stack.callback(fob.serve(GattCard(device)).stop)
        host = Ble()
        stack.callback(host.close)
        return BleLink(host, fob.address, close=stack.pop_all().close)
    raise AssertionError("a link was made or an error raised")


def _only_one(ble: Ble) -> str:
    found = sorted({one.address for one in ble.scan(SCAN_S) if _has_service(one)})
    if not found:
        raise LinkError("ble: no fob with an element is heard", delivered=False, hint="see that it is near and awake")
    if len(found) > 1:
        raise UsageError(f"ble: {len(found)} fobs are heard: {', '.join(found)}", hint="name one: ble:ADDRESS")
    return found[0]


def _has_service(heard: Advertisement) -> bool:
    return bytes.fromhex(SERVICE[0].replace("-", ""))[::-1] in heard.data
