"""`keywright campaign` on a link with one device, with nobody at the terminal: whatever fails has a name."""

from __future__ import annotations

import contextlib
import io
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from keywright.element import SecureElement
from keywright.fob.fobs import simulated_fob
from keywright.link.sockets import Framer, frame
from keywright.production.unit_store.rows import Event, Unit
from keywright.production.unit_store.units import UnitStore
from keywright.sansio import Device
from keywright.store import RamMemory
from support.commands import Keywright, Ran
from support.serving import running

RECIPE = Path(__file__).parents[2] / "examples/card.toml"


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard input as `<&-` leaves it."""
    monkeypatch.setattr("sys.stdin", None)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from keywright.cli.main import main

    path = tmp_path_factory.mktemp("keys") / "keystore"
    assert main(["keystore", "new", str(path)]) == 0
    return path


class Refusing:
    """A device that is there and answers 6F00 to everything."""

    atr = b""

    def reset(self) -> bytes:
        return self.atr

    def handle(self, _command: bytes, /) -> bytes:
        return b"\x6f\x00"


def card(serial: str = "any") -> SecureElement:
    return simulated_fob(serial, RamMemory())


class Cable:
    """Carries commands to a device on a TCP port; after so many answers it is pulled, and nobody listens any more."""

    def __init__(self, device: Device, answers: int = 1 << 20) -> None:
        self._device = device
        self._left = answers
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: socket.socket | None = None
        self.link = f"tcp:127.0.0.1:{self._listener.getsockname()[1]}"

    def serve(self) -> None:
        with contextlib.suppress(OSError):
            while self._left:
                self._open, _ = self._listener.accept()
                with self._open:
                    self._device.reset()
                    self._answer(self._open)
        self._listener.close()

    def _answer(self, connection: socket.socket) -> None:
        framer = Framer()
        while self._left and (data := connection.recv(4096)):
            for command in framer.feed(data):
                self._left -= 1
                if not self._left:  # before the last answer: whoever calls again after it must find nobody
                    self._listener.close()
                connection.sendall(frame(self._device.handle(command)))

    def pull(self) -> None:
        self._left = 0
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        if self._open is not None:
            self._open.close()


@contextlib.contextmanager
def plugged(device: Device, answers: int = 1 << 20) -> Iterator[str]:
    """The link to a device."""
    cable = Cable(device, answers)
    with running(cable.serve, cable.pull):
        yield cable.link


class Lot:
    """A lot of some cards, worked on over one link without a question."""

    def __init__(self, keywright: Keywright, folder: Path, keys: Path, units: int) -> None:
        self._keywright = keywright
        self._keys = keys
        self._order = folder / "order.csv"
        self.store = folder / "lot.db"
        rows = "".join(f"C-{n},card,north\n" for n in range(1, units + 1))
        self._order.write_text(f"serial,model,owner_group\n{rows}")

    def run(self, link: str) -> Ran:
        return self._ask("run", RECIPE, "--order", self._order, "--link", link, "--yes")

    def resume(self, link: str) -> Ran:
        return self._ask("resume", "--link", link, "--yes")

    def verify(self, link: str) -> Ran:
        return self._ask("verify", "--link", link)

    def _ask(self, verb: str, *words: object) -> Ran:
        return self._keywright("campaign", verb, *words, "--store", self.store, "--keystore", self._keys)

    def first(self) -> tuple[Unit, list[Event]]:
        """The first unit and all that happened to it."""
        with UnitStore.open(str(self.store), readonly=True) as store:
            unit = store.unit(1)
            assert unit is not None
            return unit, list(store.events(1))


@pytest.mark.parametrize(("units", "code"), [(1, 7), (2, 1)])
def test_a_device_that_refuses_everything_is_named_recorded_and_set_aside(
    keywright: Keywright, tmp_path: Path, keys: Path, units: int, code: int
) -> None:
    lot = Lot(keywright, tmp_path, keys, units)
    with plugged(Refusing()) as link:
        ran = lot.run(link)
    assert ran.code == code
    assert "C-1  quarantined at identify: SELECT issuer security domain: status 6F00" in ran.out
    assert "C-1: quarantined: status: SELECT issuer security domain: status 6F00" in ran.err
    unit, events = lot.first()
    assert (unit.state, unit.step, unit.failure_code) == ("quarantined", "identify", "status")
    assert [(event.step, event.phase) for event in events] == [("retry", "note"), ("identify", "failed")]


@pytest.mark.parametrize(
    ("answers", "state", "step"),
    [(4, "planned", ""), (9, "planned", "identify"), (14, "running", "authenticate"), (17, "running", "own_keys")],
)
def test_a_link_that_dies_leaves_the_unit_open_with_its_failure_and_it_is_sealed_later(
    keywright: Keywright, tmp_path: Path, keys: Path, answers: int, state: str, step: str
) -> None:
    lot, device = Lot(keywright, tmp_path, keys, 2), card()
    with plugged(device, answers) as link:
        ran = lot.run(link)
    assert ran.code == 1
    assert "not complete, 2 of 2 to go" in ran.out
    assert "C-1: open: link: " in ran.err
    assert "Connection refused" in ran.err
    assert f"C-1  {state} at {step.replace('_', ' ') or 'begin'}: " in ran.out
    unit, events = lot.first()
    assert (unit.state, unit.step, unit.failure_code) == (state, step, "link")
    assert "Connection refused" in unit.failure_text
    losses = [event for event in events if event.step == "link"]
    assert [event.facts["delivered"] for event in losses] == ["unknown" if step else "no", "no", "no"]
    assert {event.facts["step"] for event in losses} == {step}
    with plugged(device) as link:
        assert lot.resume(link).code == 1
        assert lot.first()[0].state == "sealed"
        assert lot.verify(link).out.startswith("1 checked, 1 agree, 0 disagree")


def test_a_device_that_is_no_unit_that_is_left_is_named_and_nothing_recorded_of_it(
    keywright: Keywright, tmp_path: Path, keys: Path
) -> None:
    lot, device = Lot(keywright, tmp_path, keys, 2), card()
    with plugged(device) as link:
        assert lot.run(link).code == 1
        ran = lot.resume(link)
    assert (ran.code, ran.out) == (4, "")
    assert "this one is C-1, sealed\n  next: put a device of the lot on the link" in ran.err
    other = card("other")
    with plugged(other, 12) as link:
        lot.resume(link)
    for wrong, text in (
        (Refusing(), "SELECT issuer security domain: status 6F00"),
        (card("third"), "this device belongs to no unit that is left"),
    ):
        with plugged(wrong) as link:
            ran = lot.resume(link)
        assert (ran.code, ran.out) == (4, "")
        assert text in ran.err
    with plugged(other) as link:
        assert lot.resume(link).code == 0


@pytest.mark.parametrize("done", [True, False], ids=["one sealed", "none sealed"])
def test_verify_of_a_device_that_cannot_be_told_is_a_failure_and_never_nothing_checked(
    keywright: Keywright, tmp_path: Path, keys: Path, *, done: bool
) -> None:
    lot = Lot(keywright, tmp_path, keys, 2)
    with plugged(card() if done else Refusing()) as link:
        assert lot.run(link).code == 1
    for device, text in ((Refusing(), "status 6F00"), (card("other"), "no sealed unit that is left to check")):
        with plugged(device) as link:
            ran = lot.verify(link)
        assert (ran.code, ran.out) == (4, "")
        assert text in ran.err
        assert "next: put a device of the lot on the link" in ran.err
    with plugged(card(), 3) as link:
        ran = lot.verify(link)
    assert (ran.code, ran.out) == (4, "")
    assert "no answer" in ran.err


@pytest.mark.parametrize("stdin", [None, io.StringIO()], ids=["closed", "empty"])
def test_nobody_is_asked_and_the_failure_is_in_the_figures_too(
    keywright: Keywright, tmp_path: Path, keys: Path, monkeypatch: pytest.MonkeyPatch, stdin: io.StringIO | None
) -> None:
    monkeypatch.setattr("sys.stdin", stdin)
    lot = Lot(keywright, tmp_path, keys, 2)
    with plugged(Refusing()) as link:
        assert "Put the device" not in lot.run(link).err
    facts = json.loads(keywright("campaign", "report", "--store", lot.store, "--json").out)
    assert (facts["ordered"], facts["quarantined"], facts["open"]) == (2, 1, 1)
    assert facts["exceptions"]["units"][0]["code"] == "status"
