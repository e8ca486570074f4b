"""The one place that turns a URI into something to talk to, or a device into something others can talk to."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias, final

import msgspec

from keywright.errors import LinkError, StoreError, UsageError
from keywright.fob.uri import AIR, BLE, MESH, Uri, forms, parse_uri
from keywright.link.base import Exchange
from keywright.store.journal import Journal
from keywright.store.memory import Memory, RamMemory

if TYPE_CHECKING:
    from keywright.element import Applet, SecureElement
    from keywright.element.card import Factory
    from keywright.fob.fobs import Model
    from keywright.fob.uicc import Uicc
    from keywright.globalplatform.profile import CardProfile
    from keywright.sansio import Device

ELEMENT: Final = "element"
"""Namespace of an element that has a journal of its own."""
UICC: Final = "uicc"
LEAST_MTU: Final = 23
GREATEST_MTU: Final = 517
"""ATT_MTU that a value of the greatest length needs (Bluetooth Core 6.0, Vol 3 Part F 3.2.9)."""
DEFAULT_SERIAL: Final = "SIM-000001"
"""The fob of `sim:fob` without a serial."""


Maker: TypeAlias = "Callable[[Uri, str, Memory, Code], SecureElement]"


def open_link(uri: str) -> Exchange:
    """A link to the device that `uri` names (`keywright.fob.uri.FORMS`). The caller closes it.

    Raises UsageError for a URI that cannot be used, LinkError and StoreError for what is behind it.
    """
    parsed = parse_uri(uri)
    _refuse_radio(parsed)
    opener = _OPENERS.get(parsed.scheme)
    if opener is None:
        raise UsageError(
            f"{uri}: this form serves a device; it cannot be asked",
            hint=f"serve with: keywright element serve --link {uri}; ask through one of: {forms()}",
        )
    return opener(parsed)


def check_link(text: str) -> Uri:
    """Take a URI apart and see that such a device can be asked; opens nothing and keeps nothing. Raises UsageError."""
    uri = parse_uri(text)
    if str(uri) == MESH:
        from keywright.fob.mesh_radio import mesh_model  # noqa: PLC0415 - loads only where one is simulated

        mesh_model(uri)
        return uri
    _refuse_radio(uri)
    if uri.scheme not in _OPENERS:
        raise UsageError(f"{text}: this form serves a device; it cannot be asked", hint=f"one of: {forms()}")
    if uri.is_simulated:
        _transport(uri)
        _made(uri, DEFAULT_SERIAL, RamMemory())
    return uri


def _refuse_radio(uri: Uri) -> None:
    if str(uri) == MESH or uri.scheme == AIR:
        raise UsageError(
            f"{uri}: there is an air with mesh devices, and no card to be asked",
            hint=f"use keywright mesh, or a link to a card: {forms()}",
        )


@final
class SimulatedLink:
    """A simulated device in this process; closing the link lets go of the device's memory too.

    transport: one of `fob.transport.TRANSPORTS`, to reach the device block by block, or `ble`, to reach it through two
    virtual Bluetooth controllers; without it, by whole APDUs.
    """

    def __init__(
        self,
        name: str,
        element: SecureElement,
        close: Callable[[], object],
        transport: str = "",
        uicc: Uicc | None = None,
    ) -> None:
        self.name = name
        self._element: SecureElement | None = element
        self._device: Device = element if uicc is None else uicc
        self._uicc = uicc
        self._close = close
        self._carrier: Exchange | None = None
        if transport == BLE:
            from keywright.fob.ble import over_ble  # noqa: PLC0415 - loads only where Bluetooth is meant

            self._carrier = over_ble(self._device)
        elif transport:
            from keywright.fob.transport import over  # noqa: PLC0415 - loads only where blocks are asked for

            self._carrier = over(self._device, transport, name=name)
        self.extended = True if self._carrier is None else self._carrier.extended

    @property
    def element(self) -> SecureElement:
        """The device itself, for whoever serves it or owns its memory; not for a host. Raises LinkError if closed."""
        return self._open()

    @property
    def uicc(self) -> Uicc | None:
        """The device where it is a UICC, for whoever plays its phone. Raises LinkError if closed."""
        self._open()
        return self._uicc

    @property
    def atr(self) -> bytes:
        """ATR of the device, over a transport the one that names it."""
        element = self._open()
        return element.atr if self._carrier is None else self._carrier.atr

    def exchange(self, command: bytes, /) -> bytes:
        """The device's answer. Raises LinkError after `close`, and for what goes wrong on a transport."""
        self._open()
        return self._device.handle(command) if self._carrier is None else self._carrier.exchange(command)

    def reset(self) -> bytes:
        """Reset the device and return its ATR. Raises LinkError after `close`."""
        element = self._open()
        if self._carrier is not None:
            return self._carrier.reset()
        return element.reset() if self._uicc is None else self._uicc.reset()

    def close(self) -> None:
        """Let go of the device and of its memory; twice does no harm."""
        if self._element is not None:
            self._element = None
            if self._carrier is not None:
                self._carrier.close()
            self._close()

    def _open(self) -> SecureElement:
        if self._element is None:
            raise LinkError(f"{self.name}: the link is closed", delivered=False)
        return self._element


class Code(NamedTuple):
    """Applications in Python for an element: those that are there from birth, and makers by module AID.

    Memory holds AIDs only, so whoever opens it brings the code.
    """

    applets: Sequence[Applet] = ()
    factories: Mapping[bytes, Factory] = {}


NO_CODE: Final = Code()


def open_simulated(uri: Uri, code: Code = NO_CODE) -> SimulatedLink:
    """The simulated device of a `sim` URI; a fob has code of its own and takes none. Raises as `open_link`."""
    _maker(uri)
    namespace = uri.parameters.get("serial", DEFAULT_SERIAL) if uri.rest == "fob" else ELEMENT
    if "serial" in uri.parameters and uri.rest != "fob":
        raise UsageError(f"{uri}: only sim:fob has a serial", hint="leave it out, or use sim:fob")
    if "msl" in uri.parameters and (uri.rest != UICC or uri.number("msl") is None):
        raise UsageError(f"{uri}: only sim:uicc has a minimum security level", hint="leave it out, or use sim:uicc")
    transport = _transport(uri)
    path = uri.parameters.get("memory")
    journal = Journal(path) if path else None
    try:
        if journal is not None:
            _refuse_stranger(journal, namespace, uri)
        element = _made(uri, namespace, journal.memory(namespace) if journal else RamMemory(), code)
    except BaseException:
        if journal is not None:
            journal.close()
        raise
    close = journal.close if journal else element.close
    return SimulatedLink(str(uri), element, close, transport, _uicc(uri, element))


def _uicc(uri: Uri, element: SecureElement) -> Uicc | None:
    """What stands in front of the element of `sim:uicc`, None for other devices."""
    if uri.rest != UICC:
        return None
    from keywright.fob.uicc import DEFAULT_MSL, Uicc  # noqa: PLC0415 - loads only where one is simulated

    msl = uri.number("msl")
    return Uicc(element, msl=DEFAULT_MSL if msl is None else msl)


def _transport(uri: Uri) -> str:
    """The transport that a `sim` URI asks for, empty for none. Raises UsageError."""
    name = uri.parameters.get("transport", "")
    if name == BLE:
        from keywright.link.ble.library import require_bumble  # noqa: PLC0415 - loads only where Bluetooth is meant

        require_bumble()
    elif name:
        from keywright.fob.transport import TRANSPORTS  # noqa: PLC0415 - loads only where blocks are asked for

        if name not in TRANSPORTS:
            raise UsageError(f"{uri}: no transport {name!r}", hint=f"there are: {', '.join((*TRANSPORTS, BLE))}")
    return name


def _made(uri: Uri, serial: str, memory: Memory, code: Code = NO_CODE) -> SecureElement:
    """The device of a `sim` URI over a memory. Raises UsageError naming what of it cannot be."""
    make = _maker(uri)
    try:
        return make(uri, serial, memory, code)
    except ValueError as error:
        raise UsageError(f"{uri}: {error}") from error


def _maker(uri: Uri) -> Maker:
    make = _DEVICES.get(uri.rest)
    if make is None:
        close = difflib.get_close_matches(uri.rest, _DEVICES, 1)
        hint = (
            f"did you mean sim:{close[0]}?" if close else f"there are: {', '.join(f'sim:{name}' for name in _DEVICES)}"
        )
        raise UsageError(f"{uri}: no such simulated device", hint=hint)
    return make


def _refuse_stranger(journal: Journal, namespace: str, uri: Uri) -> None:
    """A file that holds other devices is not given one more by a wrong name."""
    others = journal.namespaces()
    if others and namespace not in others:
        close = difflib.get_close_matches(namespace, others, 1) or others[:1]
        meant = "sim:element?" if close[0] == ELEMENT else f"sim:fob?serial={close[0]}&"
        raise StoreError(
            f"{journal.path}: no {uri.rest} {namespace} in it, but {len(others)} other device{'s' * (len(others) > 1)}",
            hint=f"for example {meant}memory={journal.path}",
        )


def _element(uri: Uri, _: str, memory: Memory, code: Code) -> SecureElement:
    from keywright.element import SecureElement  # noqa: PLC0415 - loads only where one is simulated

    model = model_of(uri)
    return SecureElement(
        memory=memory,
        profile=_profile(uri),
        kvn=model.kvn,
        i=model.i,
        initial_keys_stay=model.initial_keys_stay,
        rng=os.urandom,
        applets=code.applets,
        factories=code.factories,
    )


def _profile(uri: Uri) -> CardProfile | None:
    """The card profile that a URI names, None for that of the memory. Raises UsageError."""
    text = uri.parameters.get("profile")
    if text is None:
        return None
    from keywright.fob.profiles import card_profile  # noqa: PLC0415 - loads only where one is named

    return card_profile(text)


def _fob(uri: Uri, serial: str, memory: Memory, code: Code) -> SecureElement:
    from keywright.fob.fobs import simulated_fob  # noqa: PLC0415 - loads only where one is simulated

    if "profile" in uri.parameters:
        raise UsageError(f"{uri}: a fob has the profile of its maker", hint="leave it out, or use sim:element")
    if code.applets or code.factories:
        raise UsageError(f"{uri}: a fob has its own applications", hint="serve an element instead")
    return simulated_fob(serial, memory, model_of(uri))


def model_of(uri: Uri, usual: Model | None = None) -> Model:
    """How the simulated devices of a URI leave their maker: what it does not say is as usual. Raises UsageError."""
    from keywright.fob.fobs import Model  # noqa: PLC0415 - loads only where one is simulated

    usual = usual or Model()
    kvn, i = uri.number("kvn"), uri.number("i")
    return msgspec.structs.replace(
        usual,
        kvn=usual.kvn if kvn is None else kvn,
        i=usual.i if i is None else i,
        initial_keys_stay=uri.flag("stay") if "stay" in uri.parameters else usual.initial_keys_stay,
    )


def _pcsc(uri: Uri) -> Exchange:
    from keywright.link.pcsc import Mode, PcscLink, Protocol  # noqa: PLC0415 - loads only where a reader is meant
    from keywright.link.pcsc_readers import wait_for_card  # noqa: PLC0415 - as above

    mode: Mode = uri.choice("mode", ("exclusive", "transaction", "shared"))  # type: ignore[assignment]  # same words
    protocol: Protocol = uri.choice("protocol", ("any", "t0", "t1"))  # type: ignore[assignment]  # same words
    extended = uri.flag("extended") if "extended" in uri.parameters else None
    wait_s = uri.seconds("wait")
    reader = _reader(uri)
    if wait_s is not None:
        wait_for_card(reader, wait_s)
    return PcscLink(reader, mode=mode, protocol=protocol, extended=extended)


def _reader(uri: Uri) -> str:
    """Name of the reader that a URI means."""
    from keywright.link.pcsc import list_readers  # noqa: PLC0415 - loads only where a reader is meant

    reader = uri.rest
    if reader and not reader.isdecimal():
        return reader
    readers = list_readers()
    if not readers:
        raise LinkError(f"{uri}: there is no reader", delivered=False, hint="plug a reader in, and see that pcscd runs")
    if not reader and len(readers) > 1:
        raise UsageError(f"{uri}: there are {len(readers)} readers: {', '.join(readers)}", hint="name one of them")
    number = int(reader or 0)
    if number >= len(readers):
        raise UsageError(
            f"{uri}: there are only {len(readers)} readers, counted from 0", hint=f"they are: {', '.join(readers)}"
        )
    return readers[number]


def _tcp(uri: Uri) -> Exchange:
    from keywright.link.tcp import TcpLink  # noqa: PLC0415 - loads only where it is meant

    return TcpLink(*uri.address())


def _ble(uri: Uri) -> Exchange:
    from keywright.fob.ble import open_ble  # noqa: PLC0415 - loads only where Bluetooth is meant

    return open_ble(uri.rest, uri.parameters.get("hci", ""), mtu_of(uri))


def mtu_of(uri: Uri) -> int:
    """ATT_MTU to ask for at a `ble` URI. Raises UsageError."""
    text = uri.parameters.get("mtu", "247")
    if not text.isascii() or not text.isdecimal() or not LEAST_MTU <= int(text) <= GREATEST_MTU:
        raise UsageError(f"{uri}: mtu is {LEAST_MTU} to {GREATEST_MTU}, not {text!r}", hint="for example mtu=247")
    return int(text)


def _replay(uri: Uri) -> Exchange:
    from keywright.link.pcapng import read_recording  # noqa: PLC0415 - loads only where it is meant
    from keywright.link.replay import Replay  # noqa: PLC0415 - as above

    if not uri.rest:
        raise UsageError(f"{uri} names no file", hint="write replay:FILE")
    events = list(read_recording(uri.rest))
    if len({(event.who, event.link) for event in events}) > 1:
        events = [event for event in events if (event.who, event.link) == (events[0].who, events[0].link)]
    return Replay(events, lenient=uri.flag("lenient"), name=str(uri))


_OPENERS: Final[Mapping[str, Callable[[Uri], Exchange]]] = {
    "sim": open_simulated,
    "pcsc": _pcsc,
    "tcp": _tcp,
    "ble": _ble,
    "replay": _replay,
}
_DEVICES: Final[Mapping[str, Maker]] = {
    "element": _element,
    "card": _element,
    "fob": _fob,
    UICC: _element,
}


@final
class Server:
    """A device that others can reach; `stop` may be called by any thread or signal handler."""

    def __init__(
        self, run: Callable[[Callable[[str], object]], None], stop: Callable[[], object], close: Callable[[], object]
    ) -> None:
        self._run = run
        self.stop = stop
        self.close = close

    def serve(self, on_ready: Callable[[str], object]) -> None:
        """Serve until `stop`, or until the driver that was dialled hangs up. on_ready(URI) is called once it is there.

        Raises LinkError if a port is taken or nobody listens, PolicyError for a host that is not loopback.
        """
        self._run(on_ready)


def open_server(uri: str, device: Device, second: Device | None = None) -> Server:
    """What serves `device` at a vpcd, tcp or ble URI; port 0 takes a free one. Raises as `Server.serve` and UsageError.

    second: what sits in the other slot of the virtual reader; a TCP port serves one device.
    """
    parsed = parse_uri(uri)
    if parsed.scheme == "tcp":
        if second is not None:
            raise UsageError(f"{uri}: a port serves one device", hint="serve the other one at a port of its own")
        return _tcp_server(parsed, device)
    if parsed.scheme == "ble":
        return _ble_server(parsed, device, second)
    if parsed.scheme in ("vpcd", "vpcd+connect"):
        return _vpcd_server(parsed, device, second)
    raise UsageError(f"{uri}: nothing can be served there", hint=f"use one of: {forms(serving=True)}")


def _tcp_server(uri: Uri, device: Device) -> Server:
    from keywright.link.tcp import TcpServer  # noqa: PLC0415 - loads only where it is meant

    host, port = uri.address()
    server = TcpServer(device, host, port)

    def run(on_ready: Callable[[str], object]) -> None:
        on_ready(f"tcp:{host}:{server.port}")
        server.serve()

    return Server(run, server.stop, server.close)


def _ble_server(uri: Uri, device: Device, second: Device | None) -> Server:
    from keywright.fob.ble import BleServer  # noqa: PLC0415 - loads only where Bluetooth is meant

    if second is not None:
        raise UsageError(f"{uri}: a controller serves one device", hint="serve the other one at another controller")
    server = BleServer(device, uri.parameters.get("hci", ""), uri.rest, mtu_of(uri))
    return Server(server.serve, server.stop, server.close)


def _vpcd_server(uri: Uri, device: Device, second: Device | None) -> Server:
    from keywright.link.vpcd import VpcdServer  # noqa: PLC0415 - loads only where it is meant

    host, port = uri.address()
    server = VpcdServer(device, second)

    def listen(on_ready: Callable[[str], object]) -> None:
        server.serve(host, port, lambda actual, _: on_ready(f"vpcd:{host}:{actual}"))

    def dial(on_ready: Callable[[str], object]) -> None:
        on_ready(str(uri))
        server.connect(host, port)

    return Server(dial if uri.scheme == "vpcd+connect" else listen, server.stop, server.close)
