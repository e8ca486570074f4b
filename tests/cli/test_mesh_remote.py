"""Through a node: scans, provisioning, and a node that is provisioned anew; in this process and with three of them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from keywright.cli.card.pem import public_key_pem
from keywright.cli.mesh import provision
from keywright.fob.mesh_device import SimulatedRadio, key_of, static_oob_of, uuid_of
from keywright.fob.mesh_vendor import VENDOR
from keywright.mesh.remote.interface import NodeInterface
from keywright.production.mesh_network import opened_network
from support.faults import is_nightly
from support.mesh_home import Home

FIRST, SECOND = "SIM-000001", "SIM-000002"


@pytest.fixture
def home(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Home:
    """A remote provisioning server at 0100. What devices are made with is in files, as an order would have it."""
    home = Home.with_nodes(tmp_path, capsys, 1, more="&remote=yes&next=2")
    for name in (FIRST, SECOND):
        (tmp_path / f"{name}.pem").write_text(public_key_pem(key_of(name).public))
    values = tmp_path / "values"
    values.write_text("".join(f"{uuid_of(name).hex()} {static_oob_of(name).hex()}\n" for name in (FIRST, SECOND)))
    home.more += f"&oob={values}"
    return home


def proofs(home: Home, name: str) -> tuple[str, ...]:
    """What is known of a device out of band."""
    folder = home.file.parent
    return ("--public-key", str(folder / f"{name}.pem"), "--oob-file", str(folder / "values"))


def test_a_node_tells_what_it_hears(home: Home) -> None:
    words = ("scan", "--via", "0100", "--network", home.file, "--link", home.link(3))
    devices = home.told(*words)["devices"]
    assert {one["uuid"].replace("-", "").lower() for one in devices} == {
        uuid_of(name).hex() for name in (SECOND, "SIM-000003")
    }
    assert {(*one["over"], one["rssi_dbm"]) for one in devices} == {("PB-Remote", None)}
    out, _ = home.call(*words)
    assert "PB-Remote" in out
    _, why = home.call("scan", "--via", "0100", "--link", home.link(3), code=2)
    assert "name the network's file with --network" in why


def test_a_node_without_the_model_is_silent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain = Home.with_nodes(tmp_path, capsys, 1)
    _, why = plain.call("scan", "--via", "0100", "--network", plain.file, "--link", plain.link(2), code=4)
    assert "Scan Start to 0100 was not answered" in why
    assert "a remote provisioning server?" in why


def test_a_device_is_provisioned_through_a_node(home: Home) -> None:
    words = ("provision", "--via", "0100", "--network", home.file, "--link", home.link(2))
    _, why = home.call(*words, "--oob", "none", code=5)
    assert "the device's public key is not known from elsewhere" in why
    assert [node["address"] for node in home.told("network", "show", home.file)["nodes"]] == ["0100"]
    made = home.told(*words, "--oob", "none", "--trust-node")
    assert made["security"] == "insecure"
    home.node("configure", made["address"], count=2)


def test_what_the_node_in_between_cannot_forge(home: Home) -> None:
    words = ("provision", "--via", "0100", "--network", home.file, "--link", home.link(2), *proofs(home, SECOND))
    assert home.told(*words)["security"] == "secure"


def test_a_certificate_is_a_key_out_of_band(home: Home) -> None:
    home.more = home.more.replace("&remote", "&certificate=yes&remote")
    root = home.file.with_name("root.pem")
    home.call("root", root)
    words = ("provision", "--via", "0100", "--network", home.file, "--link", home.link(2), "--cert-root", root)
    made = home.told(*words, *proofs(home, SECOND)[2:])
    assert (made["security"], made["certified_by"]) == ("secure", VENDOR)


# ---- a node anew


@pytest.fixture
def renewable(home: Home) -> Home:
    """The node's next composition has as many elements."""
    home.more = home.more.replace("next=2", "next=1")
    home.node("configure", "0100", "--app-key", "0", count=1)
    home.node("subscribe", "0100", "1000", "C001", count=1)
    return home


@pytest.mark.parametrize("verb", ["rekey", "readdress", "recompose"])
def test_a_node_is_provisioned_anew(renewable: Home, verb: str) -> None:
    before = renewable.document()["nodes"][0]
    told = renewable.node(verb, "0100", *proofs(renewable, FIRST), count=1)
    after = renewable.document()["nodes"][0]
    assert after["deviceKey"] != before["deviceKey"]
    assert (told["address"] != "0100") == (verb == "readdress")
    assert told["version"] == ("0001" if verb == "rekey" else "0002")
    # What its models use stays, and the node says so itself.
    assert told["elements"] == renewable.node("show", told["address"], count=1)["elements"]
    assert [model["subscribes"] for model in told["elements"][0]["models"] if model["model"] == "1000"] == [["C001"]]


@pytest.mark.parametrize("method", ["output", "input"])
def test_a_person_carries_a_value_to_or_from_a_node(
    renewable: Home, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    renewable.more += f"&{method}=numeric:6"
    said: list[str] = []
    monkeypatch.setattr(provision, "note", said.append)
    monkeypatch.setattr(provision, "ask", lambda _: said[-1].split(": ")[1].split(" ")[0])
    old = renewable.document()["nodes"][0]["deviceKey"]
    renewable.node("rekey", "0100", *proofs(renewable, FIRST)[:2], "--oob", method, count=1)
    assert renewable.document()["nodes"][0]["deviceKey"] != old
    assert len(said) == 1


def test_more_elements_take_other_addresses(home: Home) -> None:
    why = home.refused("recompose", "0100", *proofs(home, FIRST), count=1, code=4)
    assert "status 04 (link cannot open): the node cannot do this now" in why
    told = home.node("readdress", "0100", *proofs(home, FIRST), count=1)
    assert len(told["elements"]) == 2
    assert told["address"] != "0100"


def test_without_proof_nothing_is_given(renewable: Home) -> None:
    before = renewable.document()
    assert "not known from elsewhere" in renewable.refused("rekey", "0100", count=1, code=5)
    assert renewable.document()["nodes"] == before["nodes"]


@pytest.mark.parametrize("is_taken", [True, False])
def test_after_a_cut_the_node_is_asked_which_key_it_has(
    renewable: Home, monkeypatch: pytest.MonkeyPatch, *, is_taken: bool
) -> None:
    """The owner dies when the node has taken the data, or just before it does."""
    old = renewable.document()["nodes"][0]["deviceKey"]

    def run(self: SimulatedRadio, endpoint: Any, seconds: float, stop: Any = lambda: False) -> None:
        def watched() -> bool:
            unit = self.units[0]
            if unit.node is not None and bool(unit.node.memory.state.new_device_key):  # type: ignore[union-attr]  # a node has a state
                raise KeyboardInterrupt
            return bool(stop())

        whole(self, endpoint, seconds, watched)

    def cut(*_: object) -> None:
        raise KeyboardInterrupt

    whole = SimulatedRadio.run
    words = ("node", "rekey", "0100", "--network", renewable.file, "--link", renewable.link(1))
    with monkeypatch.context() as patch:
        if is_taken:
            patch.setattr(SimulatedRadio, "run", run)
        else:
            patch.setattr(NodeInterface, "_remember", cut)
        renewable.call(*words, *proofs(renewable, FIRST), code=130)
    with opened_network(renewable.file, readonly=True) as database:
        assert [name for name in database.memory.names() if name.startswith("renewal/")]
    _, remarks = renewable.call(*words, *proofs(renewable, FIRST))
    assert ("it is what it was to become" in remarks) == is_taken
    assert renewable.document()["nodes"][0]["deviceKey"] != old
    renewable.node("show", "0100", count=1)


# ---- processes of their own


@contextmanager
def served(link: str, name: str, *more: str) -> Iterator[None]:
    process = subprocess.Popen(
        [sys.executable, "-m", "keywright", "mesh", "device", "serve", "--link", link, "--name", name, *more, "--json"],
        stdout=subprocess.PIPE,
        env={**os.environ},
    )
    assert process.stdout is not None
    try:
        assert json.loads(process.stdout.readline())["ready"] == link
        yield
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
        process.stdout.close()


def test_processes_share_one_air(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A node of another process in real time: made, configured, reset; nightly provisioned anew, and one through it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        link = f"air:127.0.0.1:{probe.getsockname()[1]}"
    home = Home(tmp_path, capsys)
    home.told("network", "appkey", home.file)
    on = ("--network", home.file, "--link", link)
    with ExitStack() as stack:
        stack.enter_context(served(link, FIRST, "--remote"))
        home.told("provision", "--oob", "none", "--uuid", uuid_of(FIRST).hex(), *on)
        told = home.told("node", "configure", "0100", "--app-key", "0", *on)
        assert told["app_keys"] == [0]
        if is_nightly():
            anew = home.told("node", "rekey", "0100", "--oob", "none", "--trust-path", "--yes", *on)
            assert anew["elements"] == told["elements"]
            stack.enter_context(served(link, SECOND))
            through_another(home, on)
        home.told("node", "reset", "0100", "--yes", *on)
        assert home.told("network", "show", home.file)["nodes"] == []


def through_another(home: Home, on: tuple[object, ...]) -> None:
    """What the node at 0100 hears becomes a node through it, and leaves again."""
    (seen,) = home.told("scan", "--via", "0100", "--for", "2", *on)["devices"]
    made = home.told("provision", "--via", "0100", "--oob", "none", "--trust-node", "--uuid", seen["uuid"], *on)
    assert home.told("node", "show", made["address"], *on)["product"] == "4B57"
    home.told("node", "reset", made["address"], "--yes", *on)
