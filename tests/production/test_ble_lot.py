"""Lots over Bluetooth: examples/mesh-fob through GATT alone, killed, cut, lost; and fobs on a controller by address."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from keywright.cli.main import main
from keywright.fob.fobs import ble_address, simulated_fob
from keywright.fob.mesh_device import NAMESPACE, design_of, make_unit, system_chance
from keywright.fob.pool import Cut, Plan
from keywright.iso7816.gatt import GattCard
from keywright.link.ble import Ble
from keywright.mesh.models.state import NodeMemory
from keywright.mesh.pb_gatt.unit import GattUnit
from keywright.production import campaign
from keywright.production.means import Means
from keywright.production.mesh_lot import lot_network, network_path
from keywright.production.steps.mesh_provision import STEP
from keywright.production.unit_store.units import UnitStore
from keywright.store.journal import Journal
from keywright.store.memory import RamMemory
from support.faults import is_nightly
from support.house import ROOT
from support.mesh_radios import COMPOSITION
from support.peers import require_peer

require_peer("bumble", importlib.util.find_spec("bumble") is not None, "pip install keywright[ble]")

RECIPE, ORDER = ROOT / "examples/mesh-fob.toml", ROOT / "examples/mesh-fob.csv"
PATIENCE_S = 120.0
STEPS = {"identify", "authenticate", "own_keys", "personalise", "lock_down", STEP}


def some_of_the_order(path: Path, rows: int, **columns: list[str]) -> Path:
    """The first units of the example's order, with more columns."""
    with ORDER.open(newline="") as file:
        units = list(csv.DictReader(file))[:rows]
    for name, values in columns.items():
        for unit, value in zip(units, values, strict=True):
            unit[name] = value
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, units[0])
        writer.writeheader()
        writer.writerows(units)
    return path


def check(store: Path, memory: Path, units: int) -> None:
    """Every fob went through the whole recipe, and its radio is the node that the line has written down."""
    network = lot_network(store, "mesh-fob")
    journal = Journal(memory, readonly=True)
    with closing(journal), UnitStore.open(str(store), readonly=True) as lot:
        sealed = list(lot.units(("sealed",)))
        assert len(sealed) == units
        for unit in sealed:
            assert set(unit.evidence) == STEPS
            state = NodeMemory(journal.memory(f"{NAMESPACE}{unit.serial}"), COMPOSITION).state
            assert state is not None
            assert f"{state.address:04X}" == unit.evidence[STEP]["address"]
            assert state.address == network.address_of(unit.n)


def test_the_example_goes_through_gatt_and_survives_kill_9(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Begun by one process, which is killed; nightly ended by two workers, each a host on the air of the same fobs."""
    store, memory = tmp_path / "lot.db", tmp_path / "lot.db.fobs"
    words = ["campaign", "run", str(RECIPE), "--order", str(ORDER), "--store", str(store), "--json"]
    process = subprocess.Popen(
        [sys.executable, "-m", "keywright", *words],
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=tmp_path,
    )
    deadline = time.monotonic() + PATIENCE_S
    while process.poll() is None and time.monotonic() < deadline:
        if memory.exists() and memory.stat().st_size > 6_000:
            break
        time.sleep(0.005)
    assert process.poll() is None, "it was done before it could be killed"
    process.send_signal(signal.SIGKILL)
    process.wait()
    workers = "2" if is_nightly() else "1"
    assert main(["campaign", "resume", "--store", str(store), "--workers", workers, "--json"]) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (summary["sealed"], summary["link"]) == (8, "sim:fob?transport=ble")
    check(store, memory, 8)


def test_a_lost_connection_is_a_lost_answer(tmp_path: Path) -> None:
    """Power cut in the middle of what changes keys, before and after it took effect: the line probes, and goes on."""
    store = tmp_path / "lot.db"
    order = some_of_the_order(tmp_path / "order.csv", 3)
    cuts = {
        "KW-M2-000001": Cut(0xD8, commit=1),  # PUT KEY not written
        "KW-M2-000002": Cut(0xD8, commit=0),  # written, not answered
        "KW-M2-000003": Cut(0xE2, commit=0),  # STORE DATA, likewise
    }
    done = campaign.run(RECIPE, order, str(store), Means(plan=Plan(cuts=cuts)))
    assert (done.summary.sealed, done.exit_code) == (3, 0)
    check(store, tmp_path / "lot.db.fobs", 3)
    with UnitStore.open(str(store), readonly=True) as lot:
        for unit in lot.units(("sealed",)):
            lost = [event.facts for event in lot.events(unit.n) if (event.phase, event.step) == ("note", "link")]
            assert [facts["delivered"] for facts in lost] == ["unknown"]
            assert "ble:" in str(lost[0]["text"])
        settled = {event.phase for event in lot.events(2) if event.step.startswith("own_keys")}
        assert "recovered" in settled, "a probe found that the key was there"


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--link", "ble:C0:00:00:00:00:01"], "this is one"),
        (["--link", "ble:"], "does not say where its units are"),
        (["--link", "pcsc:0"], "no radio beside such a link"),
        (["--link", "sim:fob?transport=gatt"], "reached by whole APDUs"),
        (["--link", "sim:element?transport=ble"], "reached by whole APDUs"),
        (["--engine", "ray://local"], "does not work over Bluetooth"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_touched(
    words: list[str], why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "lot.db"
    assert main(["campaign", "run", str(RECIPE), "--order", str(ORDER), "--store", str(store), *words]) == 2
    assert why in capsys.readouterr().err
    assert not store.exists()


def test_fobs_on_a_controller_are_found_by_the_address_in_the_order(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As with real fobs: another URI, a keystore and a network of one's own, consent; here on virtual controllers."""
    serials = ["KW-M2-000001", "KW-M2-000002"]
    order = some_of_the_order(tmp_path / "order.csv", 2, ble_address=[ble_address(serial) for serial in serials])
    store, keys = tmp_path / "lot.db", tmp_path / "keys"
    assert main(["keystore", "new", str(keys)]) == 0
    words = ["campaign", "run", str(RECIPE), "--order", str(order), "--store", str(store), "--link", "ble:"]
    words += ["--keystore", str(keys), "--yes", "--json"]
    assert main(words) == 1
    assert "there is no mesh network" in capsys.readouterr().out
    assert main(["mesh", "network", "new", str(network_path(store)), "--name", "lot"]) == 0
    memories = {serial: RamMemory() for serial in serials}
    with ExitStack() as stack:
        for serial in serials:
            unit = make_unit(design_of(serial), memories[serial], time.monotonic(), system_chance)
            fob = stack.enter_context(Ble(address=ble_address(serial)))
            serving = fob.serve(GattUnit(unit), GattCard(simulated_fob(serial, RamMemory())))
            stack.callback(serving.stop)
        assert main(words) == 0
        capsys.readouterr()
        # The keys that the chips got through the air are those that the keystore derives.
        assert main(["campaign", "verify", "--store", str(store), "--keystore", str(keys), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["agree"] == 2
    network = lot_network(store, "mesh-fob")
    for n, serial in enumerate(serials, 1):
        state = NodeMemory(memories[serial], COMPOSITION).state
        assert state is not None
        assert state.address == network.address_of(n)
