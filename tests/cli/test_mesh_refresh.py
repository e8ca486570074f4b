"""`keywright mesh network appkey|refresh|iv-update`: what changes in every node, and goes on where it was cut."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from keywright.cli.mesh import keys
from keywright.fob.mesh_device import SimulatedRadio
from keywright.mesh.network.iv_index import LEAST_S
from support.mesh_home import Home


@pytest.fixture
def home(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Home:
    home = Home.with_nodes(tmp_path, capsys, 3)
    home.node("configure", "0100", "--app-key", "0")
    return home


def refresh(home: Home, *more: str, count: int = 3, code: int = 0) -> dict[str, Any]:
    return home.told("network", "refresh", home.file, "--link", home.link(count), *more, code=code)


def key_octets(home: Home) -> list[str]:
    document = home.document()
    return [document["netKeys"][0]["key"], document["appKeys"][0]["key"]]


def test_appkeys_are_drawn_and_numbered(home: Home) -> None:
    assert home.told("network", "appkey", home.file, "--index", "00a") == {
        "file": str(home.file),
        "app_key": 10,
        "net_key": 0,
    }
    assert home.told("network", "appkey", home.file)["app_key"] == 1
    found = home.document()["appKeys"]
    assert len({one["key"] for one in found}) == 3
    _, why = home.call("network", "appkey", home.file, "--index", "1", code=2)
    assert "AppKey 001 is there already" in why
    _, why = home.call("network", "appkey", home.file, "--net-key", "5", code=2)
    assert "no NetKey with index 5" in why


def test_every_node_has_new_keys(home: Home) -> None:
    before = key_octets(home)
    assert refresh(home) == {"net_key": 0, "nodes": 3, "excluded": [], "late": []}
    after = key_octets(home)
    assert not set(before) & set(after)
    assert "oldKey" not in home.document()["netKeys"][0]
    for node in ("0100", "0101", "0102"):
        home.node("show", node)


def test_a_silent_node_stops_the_phase_and_the_next_call_goes_on(home: Home) -> None:
    before = key_octets(home)
    out, _ = home.call("network", "refresh", home.file, "--link", home.link(2), "--json", code=4)
    error = json.loads(out)["error"]
    assert "nodes did not take the new keys (phase 1), 1 of them" in error["message"]
    assert "0102" in error["message"]
    assert "leave them out" in error["hint"]
    shown = home.told("network", "show", home.file)
    assert shown["refreshes"] == [{"net_key": 0, "step": "distribute", "through": 2}]
    assert shown["net_keys"][0]["phase"] == 1
    told, _ = home.call("network", "show", home.file)
    assert "key refresh of NetKey 000: distribute, 2 nodes are through" in told
    new = key_octets(home)
    # A node that has the new keys takes no AppKey until the phase is over: it would get the old one alone.
    assert "let the refresh go on first" in home.refused("appkey", "0100", "0", code=2)
    assert refresh(home)["excluded"] == []
    assert key_octets(home) == new != before


def test_silent_nodes_are_left_out_if_that_is_said(home: Home) -> None:
    told = refresh(home, "--leave-out-silent", count=2)
    assert (len(told["excluded"]), told["late"]) == (1, [])
    assert home.known("0102")["excluded"] is True
    home.node("show", "0100")
    assert "not answered" in home.refused("show", "0102", code=4)


@pytest.mark.parametrize("stops", [5, 12, 25])
def test_a_refresh_that_is_cut_goes_on(home: Home, monkeypatch: pytest.MonkeyPatch, stops: int) -> None:
    """The process dies while nodes are asked, as by a signal."""
    frames = 0

    def run(self: SimulatedRadio, endpoint: Any, seconds: float, stop: Any = lambda: False) -> None:
        def counted() -> bool:
            nonlocal frames
            frames += 1
            if frames == stops:
                raise KeyboardInterrupt
            return bool(stop())

        whole(self, endpoint, seconds, counted)

    whole = SimulatedRadio.run
    with monkeypatch.context() as patch:
        patch.setattr(SimulatedRadio, "run", run)
        home.call("network", "refresh", home.file, "--link", home.link(), code=130)
    assert frames == stops
    assert len(home.told("network", "show", home.file)["refreshes"]) == 1
    begun = key_octets(home)
    assert refresh(home)["excluded"] == []
    assert key_octets(home) == begun
    for node in ("0100", "0101", "0102"):
        home.node("show", node)


# ---- the IV index


@pytest.fixture
def testing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Home:
    return Home.with_nodes(tmp_path, capsys, 2, more="&iv-test=yes")


def update(home: Home, *more: str, code: int = 0) -> dict[str, Any]:
    return home.told("network", "iv-update", home.file, "--link", home.link(2), *more, code=code)


def test_an_iv_update_reaches_the_nodes_and_ends(testing: Home) -> None:
    begun = update(testing, "--test-mode")
    assert begun == {"iv_index": 1, "iv_update": True, "followed": False, "beacons": begun["beacons"]}
    assert begun["beacons"] > 0
    ended = update(testing, "--test-mode")
    assert (ended["iv_index"], ended["iv_update"], ended["followed"]) == (1, False, False)
    assert ended["beacons"] > 0
    testing.node("show", "0100", count=2)
    assert testing.told("network", "show", testing.file)["iv_index"] == 1


def test_each_state_lasts_96_hours_over_many_processes(testing: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    later = time.time()
    monkeypatch.setattr(time, "time", lambda: later)
    _, why = testing.call("network", "iv-update", testing.file, "--link", testing.link(2), code=5)
    assert "stays as it is for 96 hours (MshPRT 3.11.5)" in why
    assert "next: call again after 20" in why
    later += LEAST_S + 1
    assert update(testing)["iv_update"] is True
    assert update(testing, code=5)["error"]["code"] == "policy"
    later += LEAST_S + 1
    assert (update(testing)["iv_index"], testing.told("network", "show", testing.file)["iv_update"]) == (1, False)


def test_who_comes_late_follows_the_network(testing: Home, tmp_path: Path) -> None:
    export = tmp_path / "early.json"
    testing.call("network", "export", testing.file, export)
    update(testing, "--test-mode")
    late = tmp_path / "late.mesh"
    testing.call("network", "import", export, late)
    told = testing.told("network", "iv-update", late, "--link", testing.link(2), "--test-mode")
    assert (told["iv_index"], told["iv_update"], told["followed"]) == (1, True, True)
    assert testing.told("network", "show", late)["iv_index"] == 1


def test_a_network_that_is_told_nothing_says_so(testing: Home) -> None:
    testing.call("network", "iv-update", testing.file, "--link", "sim:mesh", "--test-mode", "--for", "1")
    out, _ = testing.call("network", "iv-update", testing.file, "--link", "sim:mesh", "--test-mode", "--for", "1")
    assert "no beacon of a node has said the same yet" in out
    assert keys.LISTEN_S > 10.0
