"""examples/mesh-lot: a hundred simulated devices, the line killed with SIGKILL while it works, and nothing lost."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from keywright.cli.main import main
from keywright.fob.fobs import chip_serial
from keywright.fob.mesh_device import NAMESPACE, static_oob_of, uuid_of
from keywright.mesh.models.composition import Composition, Element
from keywright.mesh.models.state import NodeMemory
from keywright.production import campaign
from keywright.production.means import Means
from keywright.production.mesh_lot import GIVE, lot_network, network_path
from keywright.production.steps.mesh_provision import STEP
from keywright.production.unit_store.units import UnitStore
from keywright.store.journal import Journal
from support.canary import Canary, leaks
from support.house import ROOT

UNITS = 100
PATIENCE_S = 240.0
RECIPE, ORDER = ROOT / "examples/mesh-lot.toml", ROOT / "examples/mesh-lot.csv"
COMPOSITION = Composition(0xFFFF, 1, 1, 1, 0, (Element(0),))


def start(store: Path) -> subprocess.Popen[bytes]:
    words = ["campaign", "run", str(RECIPE), "--order", str(ORDER), "--store", str(store), "--json"]
    return subprocess.Popen(
        [sys.executable, "-m", "keywright", *words],
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=store.parent,
    )


def test_the_example_killed_in_the_middle_loses_nothing_and_gives_no_address_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "lot.db"
    memory = tmp_path / "lot.db.fobs"
    for nodes in (20, 55):  # about 350 octets of journal for each
        process = start(store)
        deadline = time.monotonic() + PATIENCE_S
        while process.poll() is None and time.monotonic() < deadline:
            if memory.exists() and memory.stat().st_size > nodes * 350:
                break
            time.sleep(0.005)
        assert process.poll() is None, "it was done before it could be killed"
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert main(["campaign", "resume", "--store", str(store), "--json"]) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert summary["sealed"] == UNITS
    check(store, memory)
    # The network's owner sees the block of the lot, and no key.
    assert main(["mesh", "network", "show", str(network_path(store)), "--json"]) == 0


def check(store: Path, memory: Path) -> None:
    """Every device is the node that the line has written down, and no two have an address in common."""
    network = lot_network(store, "mesh-lot")
    addresses: dict[str, str] = {}
    security: list[str] = []
    journal = Journal(memory, readonly=True)
    with closing(journal), UnitStore.open(str(store), readonly=True) as units:
        for unit in units.units(("sealed",)):
            done = {event.step: event.facts for event in units.events(unit.n) if event.phase in ("done", "recovered")}
            given = done[GIVE]
            state = NodeMemory(journal.memory(f"{NAMESPACE}{unit.serial}"), COMPOSITION).state
            assert state is not None
            assert state.device_key == network.open(unit.n, str(given["device_key"]))
            assert f"{state.address:04X}" == given["address"] == done[STEP]["address"]
            assert given["uuid"] == uuid_of(unit.serial).hex()
            assert addresses.setdefault(str(given["address"]), unit.serial) == unit.serial
            security.append(str(given["security"]))
    assert len(addresses) == UNITS
    assert (security.count("secure"), security.count("insecure")) == (60, 40)


def test_a_mesh_recipe_and_a_link_have_to_fit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["campaign", "run", str(RECIPE), "--order", str(ORDER), "--store", str(tmp_path / "x.db")]
    for link, why in (
        ("sim:fob", "'mesh-lot' is for a mesh, and sim:fob is no sim:mesh"),
        ("sim:mesh?count=3", "leave count out"),
        ("tcp:127.0.0.1:1", "is no sim:mesh"),
        ("sim:mesh?transport=ble", "unknown parameter"),
    ):
        assert main([*words, "--link", link]) == 2
        assert why in capsys.readouterr().err
        assert not (tmp_path / "x.db").exists()


def test_a_lot_that_begins_with_its_preparation_has_a_network_and_sealed_values(tmp_path: Path) -> None:
    lines = (ROOT / "examples/mesh-fob.csv").read_text(encoding="utf-8").splitlines()[:3]
    lines = [lines[0] + ",kdd", *(f"{line},{chip_serial(line.partition(',')[0]).hex()}" for line in lines[1:])]
    order, store = tmp_path / "order.csv", tmp_path / "lot.db"
    order.write_text("\n".join(lines) + "\n", encoding="utf-8")
    standing = campaign.prepare(ROOT / "examples/mesh-fob.toml", order, str(store), Means(link="sim:fob"))
    assert standing.prepared == 2
    network = lot_network(store, "mesh-fob")
    with UnitStore.open(str(store), readonly=True) as units:
        for unit in units.units():
            uuid, sealed = unit.extra["mesh_uuid"], unit.extra["mesh_static_oob"]
            assert network.open_oob(uuid, sealed) == static_oob_of(unit.serial)
    order.unlink()
    assert not list(leaks(tmp_path, Canary(*(static_oob_of(line.partition(",")[0]) for line in lines[1:]))))


def test_a_fob_is_personalised_and_then_its_radio_provisioned(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """examples/mesh-fob by advertisements and whole APDUs, worked on by two processes; over GATT see test_ble_lot."""
    store = tmp_path / "fob.db"
    recipe, order = ROOT / "examples/mesh-fob.toml", ROOT / "examples/mesh-fob.csv"
    words = ["campaign", "run", str(recipe), "--order", str(order), "--store", str(store), "--workers", "2", "--json"]
    assert main([*words, "--link", "sim:fob"]) == 0
    capsys.readouterr()
    network = lot_network(store, "mesh-fob")
    journal = Journal(tmp_path / "fob.db.fobs", readonly=True)
    with closing(journal), UnitStore.open(str(store), readonly=True) as units:
        sealed = list(units.units(("sealed",)))
        assert len(sealed) == 8
        for unit in sealed:
            assert {"own_keys", "personalise", "lock_down", STEP} <= set(unit.evidence)
            state = NodeMemory(journal.memory(f"{NAMESPACE}{unit.serial}"), COMPOSITION).state
            assert state is not None
            assert state.address == network.address_of(unit.n)
    assert main(["campaign", "verify", "--store", str(store), "--json"]) == 0
    # The order's static OOB values are in no file of the lot.
    with order.open(newline="") as file:
        canary = Canary(*(bytes.fromhex(row["mesh_static_oob"]) for row in csv.DictReader(file)))
    assert canary.forms_in(order.read_bytes())
    assert main(["audit", "export", "--store", str(store), "--out", str(tmp_path / "audit")]) == 0
    assert main(["campaign", "report", "--store", str(store), "--html", str(tmp_path / "report.html")]) == 0
    assert not list(leaks(tmp_path, canary))
    capsys.readouterr()
    for new in (8, 0):
        assert main(["mesh", "network", "collect", "--store", str(store), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["new"] == new
    out = tmp_path / "nodes.json"
    assert main(["mesh", "network", "export", str(network_path(store)), str(out)]) == 0
    exported = {node["name"]: node for node in json.loads(out.read_text())["nodes"]}
    with closing(Journal(tmp_path / "fob.db.fobs", readonly=True)) as journal:
        for serial, node in exported.items():
            state = NodeMemory(journal.memory(f"{NAMESPACE}{serial}"), COMPOSITION).state
            assert state is not None
            assert (node["unicastAddress"], node["deviceKey"]) == (
                f"{state.address:04X}",
                state.device_key.hex().upper(),
            )
    assert len(exported) == 8
