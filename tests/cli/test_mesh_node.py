"""`keywright mesh node`: nodes are configured, asked, reset and removed; the network's file says what they have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from keywright.cli.main import main
from keywright.fob.mesh_device import uuid_of
from support.mesh_home import Home

LABEL = "00112233445566778899AABBCCDDEEFF"
ONOFF = "1000"


@pytest.fixture
def lamp(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Home:
    """One node at 0100, and an AppKey that it has not yet."""
    return Home.with_nodes(tmp_path, capsys, 1)


def model(node: dict[str, Any], name: str, element: int = 0) -> dict[str, Any]:
    (found,) = [one for one in node["elements"][element]["models"] if one["model"] == name]
    assert isinstance(found, dict)
    return found


def test_a_new_node_is_brought_up_in_one_go(lamp: Home) -> None:
    told = lamp.node("configure", "0100", "--app-key", "000")
    assert (told["company"], told["product"], told["configured"], told["app_keys"]) == ("FFFF", "4B57", True, [0])
    assert [model(told, name)["app_keys"] for name in ("0000", "0002", ONOFF)] == [[], [0], [0]]
    assert lamp.node("configure", "0100", "--app-key", "000") == told


def test_each_change_is_asked_and_kept_and_the_node_says_the_same(lamp: Home) -> None:
    lamp.node("appkey", "0100", "0")
    lamp.node("bind", "0100", ONOFF, "--app-key", "0")
    lamp.node("subscribe", "0100", ONOFF, "C001")
    lamp.node("subscribe", "0100", ONOFF, LABEL)
    words = ("--app-key", "0", "--every", "2.5", "--repeat", "3:100", "--ttl", "7")
    changed = lamp.node("publish", "0100", ONOFF, LABEL, *words)
    onoff = model(changed, ONOFF)
    assert (onoff["app_keys"], sorted(onoff["subscribes"])) == ([0], sorted([LABEL, "C001"]))
    assert onoff["publishes"] == {
        "address": LABEL,
        "index": 0,
        "ttl": 7,
        "period": {"numberOfSteps": 25, "resolution": 100},
        "retransmit": {"count": 3, "interval": 100},
        "credentials": 0,
    }
    asked = lamp.node("show", "0100")
    said = model(asked, ONOFF)
    # The node tells the virtual address of a label; the file knows whose it is.
    assert {**said, "subscribes": sorted(said["subscribes"])} == {**onoff, "subscribes": sorted(onoff["subscribes"])}
    assert (asked["default_ttl"], asked["features"]["relay"]) == (5, 2)
    assert lamp.known("0100") == asked


def test_each_change_is_taken_back(lamp: Home) -> None:
    lamp.node("configure", "0100", "--app-key", "000")
    lamp.node("subscribe", "0100", ONOFF, "C001")
    lamp.node("subscribe", "0100", ONOFF, LABEL)
    lamp.node("publish", "0100", ONOFF, "C002", "--app-key", "0")
    lamp.node("subscribe", "0100", ONOFF, LABEL, "--delete")
    lamp.node("publish", "0100", ONOFF, "none")
    onoff = model(lamp.node("show", "0100"), ONOFF)
    assert (onoff["subscribes"], onoff["publishes"]) == (["C001"], None)
    lamp.node("publish", "0100", ONOFF, "C002", "--app-key", "0")
    lamp.node("bind", "0100", ONOFF, "--app-key", "0", "--delete")
    unbound = model(lamp.known("0100"), ONOFF)
    assert (unbound["app_keys"], unbound["publishes"]) == ([], None)
    lamp.node("bind", "0100", ONOFF, "--app-key", "0")
    lamp.node("publish", "0100", ONOFF, "C002", "--app-key", "0")
    without = lamp.node("appkey", "0100", "0", "--delete")
    assert (without["app_keys"], model(without, ONOFF)["publishes"], model(without, "0002")["app_keys"]) == (
        [],
        None,
        [],
    )
    assert lamp.node("show", "0100")["elements"] == without["elements"]


def test_what_was_not_kept_is_found_by_asking(lamp: Home, tmp_path: Path) -> None:
    """As after a cut between the node's answer and the write: the file of before is put back."""
    before = lamp.file.read_bytes()
    lamp.node("configure", "0100", "--app-key", "000")
    later = lamp.node("subscribe", "0100", ONOFF, "C001")
    lamp.file.write_bytes(before)
    lamp.told("node", "appkey", "0100", "0", "--network", lamp.file, "--link", "sim:mesh", code=4)  # it asks in vain
    # In a copy that goes on for itself nobody asks from the address of before, whose numbers are used.
    export = lamp.document()
    export["nodes"][0]["name"] = "lamp"
    source = tmp_path / "in.json"
    source.write_text(json.dumps(export))
    source.chmod(0o600)
    lamp.file = tmp_path / "again.mesh"
    lamp.call("network", "import", source, lamp.file)
    assert lamp.known("lamp")["app_keys"] == []
    found = lamp.node("show", "lamp")
    assert (found["app_keys"], found["elements"], found["name"]) == (later["app_keys"], later["elements"], "lamp")


def test_a_second_element_has_models_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = Home.with_nodes(tmp_path, capsys, 1, more="&elements=2")
    home.node("appkey", "0100", "0")
    told = home.node("bind", "0100", ONOFF, "--element", "1", "--app-key", "0")
    assert [model(told, ONOFF, element)["app_keys"] for element in (0, 1)] == [[], [0]]
    assert home.node("show", "0100")["elements"] == told["elements"]


def test_a_reset_node_is_a_device_again(lamp: Home) -> None:
    gone = lamp.node("reset", "0100")
    assert gone["address"] == "0100"
    assert lamp.told("network", "show", lamp.file)["nodes"] == []
    devices = lamp.told("scan", "--link", lamp.link(1))["devices"]
    assert [one["uuid"] for one in devices] == [gone["uuid"]]
    lamp.provision(1)  # at another address: the old one rests
    assert [node["address"] for node in lamp.told("network", "show", lamp.file)["nodes"]] != ["0100"]


def test_a_silent_node_is_kept_until_somebody_says_otherwise(lamp: Home) -> None:
    lamp.more = f"&uuid={uuid_of('another').hex()}"
    lamp.radio = lamp.radio.with_name("elsewhere")
    why = lamp.refused("reset", "0100", count=1, code=4)
    assert "Config Node Reset to 0100 was not answered" in why
    assert "next: if it was reset and its answer was lost" in why
    assert lamp.known("0100")["address"] == "0100"


def test_a_node_that_is_not_trusted_is_removed_and_the_others_have_new_keys(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = Home.with_nodes(tmp_path, capsys, 3)
    before = home.document()["netKeys"][0]["key"]
    done = home.node("remove", "0101")
    assert (done["address"], done["excluded"], done["late"]) == ("0101", [], [])
    after = home.document()
    assert after["netKeys"][0]["key"] != before
    assert "oldKey" not in after["netKeys"][0]
    for left in ("0100", "0102"):
        home.node("show", left)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("show", "0333"), "0333: no such node"),
        (("bind", "0100", "10", "--app-key", "0"), "a model is 4 hex digits"),
        (("bind", "0100", "1001", "--app-key", "0"), "has no model 1001"),
        (("bind", "0100", ONOFF, "--element", "1", "--app-key", "0"), "has no element 1"),
        (("bind", "0100", ONOFF, "--app-key", "1000"), "a key index is hex, 000 to FFF"),
        (("appkey", "0100", "5"), "no AppKey with index 5"),
        (("subscribe", "0100", ONOFF, "8001"), "8001 is a virtual address"),
        (("subscribe", "0100", ONOFF, "0101"), "no address that a model can subscribe to"),
        (("subscribe", "0100", ONOFF, "C00"), "an address is 4 hex digits"),
        (("publish", "0100", ONOFF, "C001"), "publishes under an AppKey"),
        (("publish", "0100", ONOFF, "C001", "--app-key", "0", "--every", "6.35"), "no such publish period"),
        (("publish", "0100", ONOFF, "C001", "--app-key", "0", "--repeat", "8:50"), "no such retransmission"),
        (("publish", "0100", ONOFF, "C001", "--app-key", "0", "--ttl", "200"), "no TTL"),
    ],
)
def test_what_cannot_be_is_said_before_the_node_is_changed(lamp: Home, words: tuple[str, ...], why: str) -> None:
    assert why in lamp.refused(*words, count=1, code=2)


def test_a_refusal_of_the_node_names_message_status_and_remedy(lamp: Home) -> None:
    why = lamp.refused("bind", "0100", ONOFF, "--app-key", "0", count=1, code=6)
    assert "Config Model App Bind to 0100: status 0003 (invalid appkey index, MshPRT 4.3.5)" in why
    assert "next: add the AppKey to the node" in why
    assert model(lamp.known("0100"), ONOFF)["app_keys"] == []


def test_what_cannot_be_undone_asks_first(lamp: Home, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (
        ["node", "reset", "0100", "--network"],
        ["node", "remove", "0100", "--network"],
        ["network", "refresh"],
    ):
        assert main(["mesh", *words, str(lamp.file), "--link", "air:127.0.0.1:0"]) == 5
        assert "--yes" in capsys.readouterr().err
    assert lamp.known("0100")["address"] == "0100"


def test_no_key_is_ever_shown(lamp: Home) -> None:
    lamp.node("configure", "0100", "--app-key", "000")
    document = lamp.document()
    keys = [document["netKeys"][0]["key"], document["appKeys"][0]["key"], document["nodes"][0]["deviceKey"]]
    words = ("node", "show", "0100", "--network", lamp.file)
    for more in ((), ("--json",), ("--link", lamp.link(1))):
        shown, remarks = lamp.call(*words, *more)
        assert not any(key in (shown + remarks).upper() for key in keys)
