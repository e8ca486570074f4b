"""`keywright mesh` at `ble:` links: PB-GATT through bumble, with a device in this process or in another one."""

from __future__ import annotations

import importlib.util
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from keywright.cli.main import main
from keywright.cli.mesh import provision
from keywright.fob import mesh_ble
from keywright.fob.mesh_device import Attendant, Attended, design_of, make_unit
from keywright.fob.mesh_model import MeshModel
from keywright.fob.mesh_radio import open_radio
from keywright.mesh.device import Provisioned
from keywright.mesh.node import WasReset
from keywright.mesh.oob import show
from keywright.mesh.scanner import Scanner
from keywright.mesh.unit import UnitEvent
from keywright.store.memory import RamMemory
from support.peers import require_peer

require_peer("bumble", importlib.util.find_spec("bumble") is not None, "pip install keywright[ble]")


@pytest.fixture(autouse=True)
def short_scans(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mesh_ble, "SCAN_S", 3.0)


@pytest.fixture
def network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    file = tmp_path / "home.mesh"
    assert main(["mesh", "network", "new", str(file), "--name", "home"]) == 0
    capsys.readouterr()
    return file


class Lamp:
    """A device that is served in a thread; what it shows and tells."""

    def __init__(self) -> None:
        self.shown: list[str] = []
        self.told: list[UnitEvent] = []
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self.serve)

    def serve(self) -> None:
        radio = open_radio("ble:?mtu=69")
        unit = make_unit(
            design_of("SIM-000001", MeshModel(output="numeric:6", remote=True), static_oob=b""),
            RamMemory(),
            radio.now,
            radio.chance,
        )
        attendant = Attendant(lambda _, how, value: self.shown.append(show(how, value)))
        radio.serve(Attended(unit, attendant), self.told.append, self.stopped.is_set, lambda one: one)
        radio.close()


@pytest.fixture
def lamp() -> Iterator[Lamp]:
    lamp = Lamp()
    lamp.thread.start()
    radio, scanner = open_radio("ble:"), Scanner()
    radio.run(scanner, 30.0, lambda: bool(scanner.devices))
    radio.close()
    assert scanner.devices
    yield lamp
    lamp.stopped.set()
    lamp.thread.join(10.0)
    assert not lamp.thread.is_alive()


def test_a_device_is_heard_and_provisioned(
    lamp: Lamp, network: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    uuid = design_of("SIM-000001").uuid
    assert main(["mesh", "scan", "--link", "ble:", "--for", "3", "--json"]) == 0
    (heard,) = json.loads(capsys.readouterr().out)["devices"]
    assert bytes.fromhex(heard["uuid"].replace("-", "")) == uuid

    def look(_: str) -> str:
        until = time.monotonic() + 5.0
        while not lamp.shown:
            assert time.monotonic() < until
            time.sleep(0.01)
        return lamp.shown[-1]

    words = ["mesh", "provision", "--network", str(network), "--link", "ble:?mtu=23", "--oob", "output", "--json"]
    # A value that is not the one shown ends the session, and the device is there for the next.
    monkeypatch.setattr(provision, "ask", lambda _: f"{(int(look('')) + 1) % 1_000_000}")
    assert main(words) == 6
    assert "Failed 04" in capsys.readouterr().out
    lamp.shown.clear()
    monkeypatch.setattr(provision, "ask", look)
    trace = network.with_name("trace")
    assert main([*words, "--uuid", uuid.hex(), "--trace", str(trace)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["address"], found["security"]) == ("0001", "secure")
    assert trace.stat().st_size > 0
    lamp.stopped.set()
    lamp.thread.join(10.0)
    assert [event.unicast_address for event in lamp.told if isinstance(event, Provisioned)] == [1]
    assert main([*words, "--uuid", uuid.hex()]) == 4
    assert "not heard over Bluetooth" in capsys.readouterr().out


def test_two_commands_share_an_air(network: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A device served by one process, provisioned by another: the same link in both windows, and nothing else."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        link = f"ble:?hci=air:127.0.0.1:{probe.getsockname()[1]}"
    words = ["mesh", "device", "serve", "--link", link, "--memory", str(tmp_path / "lamp"), "--json"]
    with subprocess.Popen([sys.executable, "-m", "keywright", *words], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert json.loads(process.stdout.readline())["ready"] == link
            words = ["mesh", "provision", "--network", str(network), "--link", link, "--oob", "none", "--json"]
            assert main(words) == 0
            assert json.loads(capsys.readouterr().out)["address"] == "0001"
            assert json.loads(process.stdout.readline()) == {"provisioned": "0001"}
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(10.0) == 0


def test_a_node_is_asked_through_its_proxy(lamp: Lamp, network: Path, capsys: pytest.CaptureFixture[str]) -> None:
    on = ["--network", str(network), "--link", "ble:", "--json"]
    assert main(["mesh", "network", "appkey", str(network)]) == 0
    assert main(["mesh", "provision", "--oob", "none", *on]) == 0
    assert main(["mesh", "node", "configure", "0001", "--app-key", "0", *on]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (told["app_keys"], told["product"]) == ([0], "4B57")
    assert main(["mesh", "node", "rekey", "0001", "--oob", "none", "--trust-path", "--yes", *on]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["elements"] == told["elements"]
    assert main(["mesh", "scan", "--network", str(network), "--link", "ble:", "--for", "2", "--json"]) == 0
    (proxy,) = json.loads(capsys.readouterr().out)["proxies"]
    assert proxy["kind"] == "Network ID"
    assert main(["mesh", "node", "reset", "0001", "--yes", *on]) == 0
    assert any(isinstance(event, WasReset) for event in lamp.told)
    assert main(["mesh", "node", "show", "0001", *on]) == 2
    assert "no such node" in capsys.readouterr().out


def test_a_network_without_a_proxy_in_reach(network: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["mesh", "network", "iv-update", str(network), "--link", "ble:", "--yes", "--json"]
    assert main(words) == 4
    assert "no proxy of this network was heard over Bluetooth" in capsys.readouterr().out


def test_another_peer_is_not_heard(lamp: Lamp, capsys: pytest.CaptureFixture[str]) -> None:
    assert lamp.thread.is_alive()
    assert main(["mesh", "scan", "--link", "ble:C0:00:00:00:00:01", "--for", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["devices"] == []


@pytest.mark.parametrize(
    ("link", "why"),
    [
        ("ble:?mtu=22", "mtu is a number from 23 to 517"),
        ("ble:?hci=nonsense:1", "unknown transport scheme"),
        ("ble:?hci=tcp-client:127.0.0.1:1", "cannot open the controller"),
        ("ble:?hci=air:127.0.0.1", "needs HOST:PORT"),
        ("ble:?kvn=30", "unknown parameter"),
    ],
)
def test_what_cannot_be_used_is_refused(network: Path, capsys: pytest.CaptureFixture[str], link: str, why: str) -> None:
    for words in (["scan"], ["provision", "--network", str(network)], ["device", "serve"]):
        assert main(["mesh", *words, "--link", link]) in (2, 4)
        said = capsys.readouterr().err
        assert why in said
        assert "Traceback" not in said


def test_the_missing_extra_is_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bumble", None)
    assert main(["mesh", "scan", "--link", "ble:"]) == 2
    assert "install keywright[ble]" in capsys.readouterr().err
