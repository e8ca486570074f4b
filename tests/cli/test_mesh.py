"""`keywright mesh`: networks in files, devices heard, provisioned, served; what goes wrong is one line with a hint."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from keywright.cli.main import main
from keywright.cli.mesh import provision
from keywright.fob.mesh_device import static_oob_of, uuid_of

UUID = uuid_of("SIM-000001").hex()


@pytest.fixture
def network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    file = tmp_path / "home.mesh"
    assert main(["mesh", "network", "new", str(file), "--name", "home", "--addresses", "0100-01FF"]) == 0
    capsys.readouterr()
    return file


def ran(capsys: pytest.CaptureFixture[str], *words: str | Path, code: int = 0) -> tuple[str, str]:
    assert main(["mesh", *map(str, words)]) == code, capsys.readouterr()
    return capsys.readouterr()


def told(capsys: pytest.CaptureFixture[str], *words: str | Path, code: int = 0) -> dict[str, object]:
    out, _ = ran(capsys, *words, "--json", code=code)
    found: dict[str, object] = json.loads(out)
    return found


def nodes(capsys: pytest.CaptureFixture[str], network: Path) -> dict[str, str]:
    found = told(capsys, "network", "show", network)["nodes"]
    assert isinstance(found, list)
    return {node["address"]: node["uuid"] for node in found}


def test_scan_tells_what_is_heard(capsys: pytest.CaptureFixture[str]) -> None:
    heard = told(capsys, "scan", "--link", "sim:mesh?count=3")["devices"]
    assert isinstance(heard, list)
    assert {one["uuid"].replace("-", "").lower() for one in heard} == {
        uuid_of(f"SIM-00000{n}").hex() for n in (1, 2, 3)
    }


def test_a_network_file_is_private_and_shows_no_key(
    tmp_path: Path, network: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert stat.S_IMODE(network.stat().st_mode) == 0o600
    ran(capsys, "provision", "--network", network, "--link", "sim:mesh", "--oob", "none")
    out = tmp_path / "home.json"
    ran(capsys, "network", "export", network, out)
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    document = json.loads(out.read_text())
    keys = [document["netKeys"][0]["key"], document["nodes"][0]["deviceKey"]]
    for more in ([], ["--json"]):
        shown, _ = ran(capsys, "network", "show", network, *more)
        assert not any(key in shown.upper() for key in keys)
    copy = tmp_path / "copy.mesh"
    ran(capsys, "network", "import", out, copy)
    again = tmp_path / "again.json"
    ran(capsys, "network", "export", copy, again)
    assert again.read_bytes() == out.read_bytes()
    _, why = ran(capsys, "network", "import", out, copy, code=1)
    assert "already there" in why
    out.chmod(0o644)
    _, why = ran(capsys, "network", "import", out, tmp_path / "new.mesh", code=5)
    assert "chmod 600" in why
    assert not (tmp_path / "new.mesh").exists()


def test_a_wrong_database_leaves_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = tmp_path / "wrong.json"
    wrong.write_text('{"meshUUID": 5}')
    wrong.chmod(0o600)
    _, why = ran(capsys, "network", "import", wrong, tmp_path / "x.mesh", code=6)
    assert "mesh database" in why
    assert not (tmp_path / "x.mesh").exists()


def test_no_oob_has_to_be_said(network: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, why = ran(capsys, "provision", "--network", network, code=5)
    assert "no way to authenticate the device" in why
    assert "next: allow another method with --oob" in why
    assert nodes(capsys, network) == {}


@pytest.mark.parametrize("algorithm", ["cmac", "hmac"])
def test_static_oob_comes_from_a_file(
    tmp_path: Path, network: Path, capsys: pytest.CaptureFixture[str], algorithm: str
) -> None:
    device, values = tmp_path / "device", tmp_path / "values"
    device.write_text(static_oob_of("a").hex())
    values.write_text(f"# from the maker\n{UUID} {static_oob_of('b').hex()}\n")
    link = f"sim:mesh?oob={device}&memory={tmp_path / 'radio'}&elements=3&algorithm={algorithm}"
    words = ("provision", "--network", network, "--link", link, "--oob-file", values, "--algorithm", algorithm)
    _, why = ran(capsys, *words, code=6)
    assert "Failed 04" in why
    assert "MshPRT" in why
    values.write_text(f"{UUID} {static_oob_of('a').hex()}\n")
    found = told(capsys, *words)
    assert (found["address"], found["security"]) == ("0100", "secure")
    # The device is a node now, also in a new process: it says nothing any more.
    _, why = ran(capsys, *words[:5], "--oob-file", values, code=4)
    assert "no unprovisioned device was heard" in why


def test_the_wrong_algorithm_is_named(network: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("provision", "--network", network, "--link", "sim:mesh?algorithm=cmac", "--oob", "none")
    _, why = ran(capsys, *words, "--algorithm", "hmac", code=5)
    assert "does not offer" in why
    ran(capsys, *words, "--algorithm", "cmac")


@pytest.mark.parametrize(("method", "form"), [("output", "numeric:6"), ("input", "alphanumeric:8")])
def test_a_person_carries_a_value(
    network: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, method: str, form: str
) -> None:
    said: list[str] = []
    monkeypatch.setattr(provision, "note", said.append)
    monkeypatch.setattr(provision, "ask", lambda _: said[-1].split(": ")[1].split(" ")[0] + "\n")
    found = told(capsys, "provision", "--network", network, "--link", f"sim:mesh?{method}={form}", "--oob", method)
    assert found["security"] == "secure"


def test_a_short_value_is_refused_unless_it_is_said(
    network: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("provision", "--network", network, "--link", "sim:mesh?output=blink:1", "--oob", "output")
    _, why = ran(capsys, *words, code=5)
    assert "bits" in why
    said: list[str] = []
    monkeypatch.setattr(provision, "note", said.append)
    monkeypatch.setattr(provision, "ask", lambda _: "10" if not said else said[-1].split(": ")[1].split(" ")[0])
    ran(capsys, *words, "--allow-short")


def test_cmac_takes_no_value_that_is_found_while_the_session_waits(
    network: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("provision", "--network", network, "--link", "sim:mesh?output=numeric:6", "--oob", "output")
    _, why = ran(capsys, *words, "--algorithm", "cmac", code=5)
    assert "20 bits of 41 that CMAC needs" in why
    said: list[str] = []
    monkeypatch.setattr(provision, "note", said.append)
    monkeypatch.setattr(provision, "ask", lambda _: said[-1].split(": ")[1].split(" ")[0] + "\n")
    ran(capsys, *words, "--algorithm", "cmac", "--allow-short")


def test_a_bad_air_loses_no_address(network: Path, capsys: pytest.CaptureFixture[str]) -> None:
    link = "sim:mesh?count=4&elements=2&loss=20&duplication=20&reordering=100"
    out, _ = ran(capsys, "provision", "--network", network, "--link", link, "--oob", "none", "--all")
    assert out.count("provisioned") == 4
    assert sorted(nodes(capsys, network)) == ["0100", "0102", "0104", "0106"]


def test_a_node_that_comes_again_keeps_its_address(network: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A device that forgot its network (here: without memory) is refused until its node is removed."""
    words = ("provision", "--network", network, "--link", "sim:mesh?count=2", "--oob", "none")
    ran(capsys, *words, "--uuid", UUID)
    _, why = ran(capsys, *words, "--uuid", UUID, code=5)
    assert "keywright mesh network remove" in why
    other = uuid_of("SIM-000002").hex()
    ran(capsys, *words, "--uuid", other)
    assert [uuid.replace("-", "").lower() for _, uuid in sorted(nodes(capsys, network).items())] == [UUID, other]
    _, why = ran(capsys, "network", "remove", network, UUID, code=5)
    assert "--yes" in why
    ran(capsys, "network", "remove", network, UUID, "--yes")
    ran(capsys, *words, "--uuid", UUID)
    assert sorted(nodes(capsys, network)) == ["0101", "0102"]


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        (["scan", "--link", "sim:mesh?uuid=12"], 2, "16 octets"),
        (["scan", "--link", "sim:mesh?count=0"], 2, "count is a number from 1"),
        (["scan", "--link", "sim:mesh?output=sing:6"], 2, "numeric:6"),
        (["scan", "--link", "sim:mesh?kvn=30"], 2, "unknown parameter 'kvn'"),
        (["scan", "--link", "sim:element"], 2, "no mesh devices are heard there"),
        (["scan", "--link", "air:10.0.0.1:1"], 5, "for this machine alone"),
        (["network", "show", "/nowhere/at.all"], 1, "there is no mesh network"),
        (["network", "new", "/nowhere/at.all", "--addresses", "0-FFFF"], 2, "0001 to 7FFF"),
        (["device", "serve", "--link", "sim:mesh"], 2, "served on an air"),
        (["provision", "--network", "/nowhere/at.all", "--oob", "psychic"], 2, "--oob psychic"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(
    words: list[str], code: int, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _, err = ran(capsys, *words, code=code)
    assert why in err
    assert [line for line in err.splitlines() if line.startswith("keywright: ")] == err.splitlines()[:1]


def test_an_oob_file_shows_nothing_of_itself(tmp_path: Path, network: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = tmp_path / "values"
    values.write_text("0011\nsecretvalue\n")
    _, why = ran(capsys, "provision", "--network", network, "--oob-file", values, code=2)
    assert "line 2" in why
    assert "secretvalue" not in why


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A device in a process of its own."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    link, memory = f"air:127.0.0.1:{port}", tmp_path / "lamp"
    yield from _serving(link, memory)


def _serving(link: str, memory: Path) -> Iterator[tuple[str, Path]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "keywright", "mesh", "device", "serve", "--link", link, "--memory", memory, "--json"],
        stdout=subprocess.PIPE,
        env={**os.environ},
    )
    try:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["ready"] == link
        yield link, memory
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
        if process.stdout is not None:
            process.stdout.close()


def test_a_device_of_another_process_is_provisioned_in_real_time(
    served: tuple[str, Path], network: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    link, _ = served
    heard = told(capsys, "scan", "--link", link, "--for", "2")["devices"]
    assert isinstance(heard, list)
    assert [one["uuid"].replace("-", "").lower() for one in heard] == [UUID]
    found = told(capsys, "provision", "--network", network, "--link", link, "--oob", "none", "--uuid", UUID)
    assert found["address"] == "0100"
    assert told(capsys, "scan", "--link", link, "--for", "2")["devices"] == []
