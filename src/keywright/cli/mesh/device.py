"""`keywright mesh device`: a simulated device that other processes can provision."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Annotated, Final, Literal

import typer

from keywright.cli.mesh.options import radio_at, uuid_in, value_in
from keywright.cli.options import Json, Trace
from keywright.cli.person import ask
from keywright.cli.text import note, printable, say, show_json
from keywright.errors import UsageError
from keywright.fob.mesh_device import Attendant, Attended, design_of, make_unit
from keywright.fob.mesh_model import MeshModel
from keywright.fob.mesh_radio import device_memory, read_static_oob
from keywright.fob.uri import is_simulated
from keywright.mesh.database.cdb import uuid_text
from keywright.mesh.device import Provisioned, Refused
from keywright.mesh.node import WasRenewed, WasReset
from keywright.mesh.oob import Authentication, Value, show
from keywright.mesh.unit import UnitEvent
from keywright.store.journal import Journal
from keywright.store.memory import Memory, RamMemory

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

DEFAULT_LINK: Final = "air:127.0.0.1:35964"


@app.command()
def serve(
    *,
    link: Annotated[
        str, typer.Option("--link", metavar="URI", help="The air: air:HOST:PORT, ble:?hci=air:HOST:PORT.")
    ] = DEFAULT_LINK,
    memory: Annotated[Path | None, typer.Option("--memory", metavar="FILE", help="Where it keeps its memory.")] = None,
    name: Annotated[
        str, typer.Option("--name", metavar="TEXT", help="What it is made from: another name is another device.")
    ] = "SIM-000001",
    uuid: Annotated[str, typer.Option("--uuid", metavar="HEX", help="Its Device UUID, if not the name's.")] = "",
    oob_file: Annotated[
        Path | None, typer.Option("--oob-file", metavar="FILE", help="Its static OOB value, in hex; without it, none.")
    ] = None,
    algorithm: Annotated[Literal["both", "cmac", "hmac"], typer.Option("--algorithm", help="What it offers.")] = "both",
    output: Annotated[str, typer.Option("--output", metavar="ACTION:SIZE", help="Output OOB, as numeric:6.")] = "",
    input_: Annotated[str, typer.Option("--input", metavar="ACTION:SIZE", help="Input OOB, as alphanumeric:8.")] = "",
    elements: Annotated[int, typer.Option("--elements", min=1, max=255, help="How many elements it has.")] = 1,
    certificate: Annotated[
        bool, typer.Option("--certificate", help="Have a certificate of the simulated vendor in its records.")
    ] = False,
    remote: Annotated[
        bool, typer.Option("--remote", help="As a node, be a remote provisioning server: for `scan` and others --via.")
    ] = False,
    next_elements: Annotated[
        int,
        typer.Option("--next-elements", min=0, max=255, help="How many it has after `node recompose` or `readdress`."),
    ] = 0,
    iv_test: Annotated[
        bool, typer.Option("--iv-test", help="As a node, change the IV index without the 96 hours.")
    ] = False,
    json: Json = False,
    trace: Trace = None,
) -> None:
    """Be an unprovisioned device until somebody provisions it, and a node that can be configured from then on.

    With --memory it is what it was when it is served again. Other processes of this machine reach it at the same
    --link. Ctrl-C ends it.

    Example: keywright mesh device serve --memory lamp.device --output numeric:6
    """
    if is_simulated(link):
        raise UsageError(f"{link}: a device is served on an air", hint=f"for example --link {DEFAULT_LINK}")
    values = read_static_oob(oob_file) if oob_file is not None else {}
    own = uuid_in(uuid) if uuid else None
    model = MeshModel(
        elements=elements,
        algorithms=algorithm,
        output=output,
        input=input_,
        has_certificate=certificate,
        remote=remote,
        next_elements=next_elements,
        iv_test=iv_test,
    )
    try:
        design = design_of(name, model, uuid=own, static_oob=b"")
        design = design_of(name, model, uuid=own, static_oob=values.get(design.uuid, values.get(b"", b"")))
    except ValueError as error:
        raise UsageError(str(error)) from error
    with ExitStack() as stack:
        radio = stack.enter_context(radio_at(link, trace))
        kept: Memory = RamMemory()
        if memory is not None:
            kept = device_memory(stack.enter_context(closing(Journal(memory))), design.uuid)
        unit = make_unit(design, kept, radio.now, radio.chance)
        device = Attended(unit, Attendant(_saw(as_json=json), _Typist().enters))
        stopped: list[bool] = []
        stack.enter_context(_stopped_by_signal(lambda: stopped.append(True)))
        _ready(link, uuid_text(design.uuid), is_node=unit.node is not None, as_json=json)
        radio.serve(device, lambda event: _tell(event, as_json=json), lambda: bool(stopped), lambda one: one)


def _ready(link: str, uuid: str, *, is_node: bool, as_json: bool) -> None:
    if as_json:
        show_json({"ready": link, "uuid": uuid, "node": is_node})
    else:
        say(f"ready: {link}  {uuid}, " + ("a node" if is_node else "unprovisioned"))
        note("Ctrl-C ends it")
    sys.stdout.flush()


def _saw(*, as_json: bool) -> Callable[[bytes, Authentication, Value], object]:
    """What tells the value that the device shows: that is what output OOB is for."""

    def saw(_: bytes, authentication: Authentication, value: Value) -> None:
        if as_json:
            show_json({"shown": show(authentication, value), "action": authentication.action_name})
        else:
            say(f"the device shows ({authentication.action_name}): {show(authentication, value)}")
        sys.stdout.flush()

    return saw


class _Typist:
    """Asks for a value without holding the device up."""

    def __init__(self) -> None:
        self._typed: list[str] = []
        self._is_asking = False

    def enters(self, uuid: bytes, authentication: Authentication) -> Value | None:
        """The value, once it is typed."""
        if self._typed:
            text = self._typed.pop()
            self._is_asking = False
            try:
                return value_in(authentication, text)
            except UsageError as error:
                note(f"{error}")
                return None
        if not self._is_asking:
            self._is_asking = True
            question = f"enter at {uuid_text(uuid)} ({authentication.action_name}):"
            threading.Thread(target=lambda: self._typed.append(ask(question)), daemon=True).start()
        return None


def _tell(event: UnitEvent, *, as_json: bool) -> None:
    match event:
        case Provisioned():
            said, words = {"provisioned": f"{event.unicast_address:04X}"}, f"a node at {event.unicast_address:04X}"
        case Refused():
            said, words = {"refused": event.why}, f"refused: {event.why}"
        case WasRenewed():
            said, words = {"renewed": "node"}, "has another address or composition"
        case WasReset():
            said, words = {"reset": "unprovisioned"}, "was reset: unprovisioned again"
        case _:
            return
    if as_json:
        show_json(said)
    else:
        say(printable(words))
    sys.stdout.flush()


@contextmanager
def _stopped_by_signal(stop: Callable[[], object]) -> Iterator[None]:
    """Ctrl-C and SIGTERM end the turn, not the process in the middle of a write."""
    before = {number: signal.signal(number, lambda *_: stop()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
