"""What the verbs of `keywright mesh` have in common: options, the radio with its trace, values that persons carry."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias, final

import typer

from keywright.cli.links import trace_sink
from keywright.cli.text import note
from keywright.codec.hexa import unhex
from keywright.errors import DecodeError, UsageError
from keywright.fob.mesh_device import Attendant, Attended
from keywright.fob.mesh_model import Hear
from keywright.fob.mesh_radio import Around, Radio, open_radio
from keywright.fob.uri import MESH
from keywright.link.trace import Event
from keywright.mesh.oob import Authentication, Value
from keywright.mesh.unit import UnitEvent
from keywright.sansio.endpoint import Endpoint

UUID_OCTETS: Final = 16

RadioLink: TypeAlias = Annotated[
    str, typer.Option("--link", metavar="URI", help="The air: sim:mesh (simulated devices), air:HOST:PORT, ble:PEER.")
]
NetworkFile: TypeAlias = Annotated[Path, typer.Option("--network", metavar="FILE", help="The network's file.")]


@contextmanager
def radio_at(link: str, trace: Path | None, attendant: Attendant | None = None) -> Iterator[Radio]:
    """The air of a URI, closed at the end, recorded if a trace is wanted. An empty one is simulated, and says so."""
    if not link:
        note(f"no --link: these are simulated devices ({MESH})")
        link = MESH
    with ExitStack() as stack:
        # Provisioning data are encrypted on the air: there is nothing to mask.
        sink = stack.enter_context(trace_sink(trace, full=True)) if trace is not None else None
        radio = stack.enter_context(closing(open_radio(link, attendant)))
        yield radio if sink is None else _Recorded(radio, link.partition("?")[0], sink)


def uuid_in(text: str, what: str = "--uuid") -> bytes:
    """A Device UUID, with or without hyphens. Raises UsageError."""
    try:
        uuid = unhex(text.replace("-", ""), what)
    except DecodeError:
        uuid = b""
    if len(uuid) != UUID_OCTETS:
        raise UsageError(f"{what} {text}: a Device UUID has 16 octets in hex", hint="keywright mesh scan shows them")
    return uuid


def value_in(authentication: Authentication, text: str) -> Value:
    """A value as it was typed. Raises UsageError for what is none of this method."""
    typed = text.strip()
    value: Value = (
        typed.upper() if authentication.is_text else int(typed) if typed.isascii() and typed.isdecimal() else ""
    )
    if not authentication.accepts(value):
        raise UsageError(f"what was typed is no value of {authentication}", hint="begin again, and type it as shown")
    return value


@final
class _Recorded:
    """A radio whose frames go to a trace."""

    def __init__(self, radio: Radio, name: str, sink: Callable[[Event], object]) -> None:
        self._radio = radio
        self._name = name
        self._sink = sink
        self.chance = radio.chance
        self.close = radio.close
        self.link_to = radio.link_to
        self.to_network = radio.to_network

    @property
    def now(self) -> float:
        """As the radio."""
        return self._radio.now

    def run(self, endpoint: Endpoint[Any], seconds: float, stop: Callable[[], bool] = lambda: False) -> None:
        """As the radio."""
        self._radio.run(_Heard(endpoint, self._name, self._sink), seconds, stop)

    def listen(self, hear: Hear, seconds: float, stop: Callable[[], bool] = lambda: False) -> None:
        """As the radio."""

        def heard(data: bytes, now: float, rssi_dbm: int | None) -> None:
            self._sink(Event(time.time(), "host", self._name, "answer", data))
            hear(data, now, rssi_dbm)

        self._radio.listen(heard, seconds, stop)

    def serve(
        self, device: Attended, told: Callable[[UnitEvent], object], stop: Callable[[], bool], around: Around
    ) -> None:
        """As the radio."""
        self._radio.serve(device, told, stop, lambda one: _Heard(around(one), self._name, self._sink))


@final
class _Heard:
    """Endpoint that records what another one hears and sends."""

    def __init__(self, endpoint: Endpoint[Any], name: str, sink: Callable[[Event], object]) -> None:
        self._endpoint = endpoint
        self._name = name
        self._sink = sink
        self.deadline = endpoint.deadline
        self.events = endpoint.events

    def receive(self, data: bytes, now: float) -> None:
        """As the endpoint."""
        self._sink(Event(time.time(), "host", self._name, "answer", data))
        self._endpoint.receive(data, now)

    def outgoing(self, now: float) -> Sequence[bytes]:
        """As the endpoint."""
        frames = self._endpoint.outgoing(now)
        for frame in frames:
            self._sink(Event(time.time(), "host", self._name, "command", frame))
        return frames
