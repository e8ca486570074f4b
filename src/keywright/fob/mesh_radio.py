"""The one place that turns a URI into an air with mesh devices on it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, Protocol, final

from keywright.codec.hexa import unhex
from keywright.errors import DecodeError, StoreError, UsageError
from keywright.fob.mesh_device import NAMESPACE, Attendant, Attended, SimulatedRadio, design_of, system_chance, uuid_of
from keywright.fob.mesh_model import Hear, MeshModel
from keywright.fob.uri import AIR, BLE, MESH, Uri, forms, parse_uri
from keywright.mesh.bearer import Bearer
from keywright.mesh.network.advertised import Advertised
from keywright.mesh.network.beaconing import Beaconing
from keywright.mesh.network.stack import Stack
from keywright.mesh.pb_adv.link import PbAdvLink
from keywright.mesh.unit import Design, UnitEvent
from keywright.sansio.air import Conditions
from keywright.sansio.endpoint import Endpoint
from keywright.store.journal import Journal
from keywright.store.memory import Memory, RamMemory

MOST_DEVICES: Final = 10_000
OOB_FILE_BYTES: Final = 1 << 20
_STATIC_OCTETS: Final = 32
_UUID_OCTETS: Final = 16


_TURN_S: Final = 0.5
Around = Callable[[Endpoint[UnitEvent]], Endpoint[UnitEvent]]
"""Puts something around an endpoint that sees its frames."""


class Air(Protocol):
    """An air that a host can use. `chance` is where its endpoints get theirs from."""

    chance: Callable[[], float]

    @property
    def now(self) -> float:
        """Seconds of the clock that endpoints on it are told."""
        ...

    def run(self, endpoint: Endpoint[Any], seconds: float, stop: Callable[[], bool] = ..., /) -> None:
        """Put an endpoint on the air until `stop()` or for that long. Raises LinkError."""
        ...

    def close(self) -> object:
        """Let go of it."""
        ...


class Radio(Air, Protocol):
    """An air, and how devices are provisioned and networks reached there."""

    def listen(self, hear: Hear, seconds: float, stop: Callable[[], bool] = ..., /) -> None:
        """Tell everything that is advertised until `stop()` or for that long. Raises LinkError."""
        ...

    def to_network(
        self, stack: Stack, inner: Endpoint[Any], beaconing: Beaconing, addresses: Sequence[int] = (), /
    ) -> Endpoint[Any]:
        """What `run` is called with then, so that `inner`, which runs over `stack`, reaches its network.

        addresses: of the primary elements of its nodes. Raises LinkError if no way into it is found.
        """
        ...

    def link_to(self, uuid: bytes, /) -> Bearer:
        """A link to a device, for a session that `run` is called with then. Raises LinkError."""
        ...

    def serve(
        self,
        device: Attended,
        told: Callable[[UnitEvent], object],
        stop: Callable[[], bool],
        around: Around,
        /,
    ) -> None:
        """Be a device there until `stop()`, and tell what happens to it. Raises LinkError."""
        ...


@final
class AdvertisingRadio:
    """PB-ADV, and networks, on an air that carries advertising data."""

    def __init__(self, air: Air) -> None:
        self._air = air
        self.chance = air.chance
        self.run = air.run
        self.close = air.close

    @property
    def now(self) -> float:
        """Seconds of the clock of the air."""
        return self._air.now

    def listen(self, hear: Hear, seconds: float, stop: Callable[[], bool] = lambda: False) -> None:
        """As `Radio`; these airs measure no signal strength."""
        self.run(_Ear(hear), seconds, stop)

    def to_network(
        self, stack: Stack, inner: Endpoint[Any], beaconing: Beaconing, addresses: Sequence[int] = ()
    ) -> Endpoint[Any]:
        """As `Radio`: everybody on the air is in reach."""
        del stack, addresses
        return Advertised(inner, beaconing)

    def link_to(self, uuid: bytes) -> PbAdvLink:
        """As `Radio`; whether the device is there shows once the session runs."""
        return PbAdvLink.connect(uuid, int.from_bytes(os.urandom(4)), self.now, random=self.chance)

    def serve(
        self, device: Attended, told: Callable[[UnitEvent], object], stop: Callable[[], bool], around: Around
    ) -> None:
        """As `Radio`."""
        endpoint = around(device)
        while not stop():
            self.run(endpoint, _TURN_S, stop)
            for event in device.events():
                told(event)


@final
class _Ear:
    """Endpoint that only listens."""

    def __init__(self, hear: Hear) -> None:
        self._hear = hear

    def receive(self, data: bytes, now: float) -> None:
        self._hear(data, now, None)

    def outgoing(self, now: float) -> Sequence[bytes]:  # noqa: ARG002 - every endpoint is told
        return ()

    def deadline(self) -> None:
        return None

    def events(self) -> Sequence[Any]:
        return ()


def open_radio(text: str, attendant: Attendant | None = None) -> Radio:
    """The air that a URI names; the caller closes it. attendant: who stands before devices that are simulated there.

    Raises UsageError for a URI that cannot be used, StoreError and LinkError for what is behind it.
    """
    uri = parse_uri(text)
    if str(uri) == MESH:
        return AdvertisingRadio(_simulated(uri, attendant or Attendant()))
    if uri.scheme == AIR:
        from keywright.link.air import Datagrams  # noqa: PLC0415 - loads only where it is meant

        return AdvertisingRadio(Datagrams(*uri.address(), chance=system_chance))
    if uri.scheme == BLE:
        from keywright.fob.mesh_ble import BleRadio  # noqa: PLC0415 - loads only where Bluetooth is meant
        from keywright.link.ble.pipe import GOOD_MTU  # noqa: PLC0415 - as above

        return BleRadio(uri.rest, uri.parameters.get("hci", ""), uri.count("mtu", GOOD_MTU, 517, least=23))
    raise UsageError(f"{text}: no mesh devices are heard there", hint=f"use one of: {forms(radio=True)}")


def mesh_model(uri: Uri) -> MeshModel:
    """How the simulated devices of a URI leave their maker. Raises UsageError."""
    algorithm = uri.choice("algorithm", ("both", "cmac", "hmac"))
    model = MeshModel(
        elements=uri.count("elements", 1, 255, least=1),
        algorithms="both" if algorithm == "both" else "cmac" if algorithm == "cmac" else "hmac",
        output=uri.parameters.get("output", ""),
        input=uri.parameters.get("input", ""),
        has_certificate=uri.flag("certificate"),
        remote=uri.flag("remote"),
        next_elements=uri.count("next", 0, 255),
        iv_test=uri.flag("iv-test"),
        certificate_uri=uri.parameters.get("certificate-uri", ""),
        conditions=Conditions(
            loss=uri.count("loss", 0, 100) / 100,
            duplication=uri.count("duplication", 0, 100) / 100,
            reordering_s=uri.count("reordering", 0, 60_000) / 1000,
        ),
    )
    try:
        design_of("", model)
    except (ValueError, DecodeError) as error:
        raise UsageError(f"{uri}: {error}") from error
    return model


def read_static_oob(path: Path) -> Mapping[bytes, bytes]:
    """Static OOB values by Device UUID from a file; a value alone on its line is under the empty UUID, for all.

    A line is `UUID VALUE` or `VALUE`, both in hex; what is empty or begins with # is left out. Raises UsageError that
    names the line and shows nothing of it.
    """
    try:
        with path.open("rb") as file:
            text = file.read(OOB_FILE_BYTES + 1).decode("ascii")
    except OSError as error:
        raise UsageError(
            f"{path}: cannot be read: {error.strerror}", hint="give a file with static OOB values"
        ) from error
    except UnicodeDecodeError:
        text = "\x00"
    if len(text) > OOB_FILE_BYTES:
        raise UsageError(f"{path}: longer than {OOB_FILE_BYTES} bytes", hint="is this a file with static OOB values?")
    found: dict[bytes, bytes] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        try:
            octets = [unhex(word) for word in words]
        except DecodeError:
            octets = []
        uuid = octets[0] if len(octets) == 2 else b""
        is_good = len(octets) in (1, 2) and 1 <= len(octets[-1]) <= _STATIC_OCTETS and len(uuid) in (0, _UUID_OCTETS)
        if not is_good or uuid in found:
            what = "this UUID is there twice" if is_good else "no static OOB value"
            raise UsageError(
                f"{path}: line {number}: {what}", hint="write UUID VALUE or VALUE, in hex; a value has 1 to 32 octets"
            )
        found[uuid] = octets[-1]
    return found


def designs_of(uri: Uri) -> list[Design]:
    """The simulated devices of a URI. Raises UsageError."""
    model = mesh_model(uri)
    values = read_static_oob(Path(uri.parameters["oob"])) if "oob" in uri.parameters else {}
    count = uri.count("count", 1, MOST_DEVICES, least=1)
    first = uri.parameters.get("uuid")
    uuids = [uuid_of(f"SIM-{n:06d}") for n in range(1, count + 1)] if first is None else _uuids(uri, first, count)
    return [
        design_of(f"SIM-{n:06d}", model, uuid=uuid, static_oob=values.get(uuid, values.get(b"", b"")))
        for n, uuid in enumerate(uuids, 1)
    ]


def _uuids(uri: Uri, text: str, count: int) -> list[bytes]:
    try:
        first = unhex(text.replace("-", ""))
    except DecodeError:
        first = b""
    if len(first) != _UUID_OCTETS or int.from_bytes(first) + count > 1 << 128:
        raise UsageError(f"{uri}: uuid is 16 octets in hex", hint=f"for example uuid={uuid_of('').hex()}")
    return [(int.from_bytes(first) + n).to_bytes(_UUID_OCTETS) for n in range(count)]


def _simulated(uri: Uri, attendant: Attendant) -> SimulatedRadio:
    designs = designs_of(uri)
    memories: dict[bytes, Memory] = {design.uuid: RamMemory() for design in designs}
    with ExitStack() as stack:
        if "memory" in uri.parameters:
            journal = Journal(uri.parameters["memory"])
            stack.callback(journal.close)
            memories = _kept(journal, designs)
        radio = SimulatedRadio(
            designs, memories, conditions=mesh_model(uri).conditions, chance=system_chance, attendant=attendant
        )
        radio.close = stack.pop_all().close
    return radio


def device_memory(journal: Journal, uuid: bytes) -> Memory:
    """The memory of one simulated mesh device in a journal that holds others too."""
    return journal.memory(NAMESPACE + uuid.hex())


def _kept(journal: Journal, designs: list[Design]) -> dict[bytes, Memory]:
    mine = {NAMESPACE + design.uuid.hex() for design in designs}
    others = [name for name in journal.namespaces() if name not in mine]
    if len(others) > 0 and not mine & set(journal.namespaces()):
        raise StoreError(
            f"{journal.path}: holds {len(others)} devices, and none of these", hint="give another file as memory="
        )
    return {design.uuid: device_memory(journal, design.uuid) for design in designs}
