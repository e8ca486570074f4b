"""`keywright demo`: it proves what it shows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from keywright.cli import demo, demo_door
from keywright.fob.approach import Relay
from keywright.fob.pool import Plan
from support.commands import Keywright


def test_the_demo_shows_and_proves_the_main_job(keywright: Keywright, tmp_path: Path) -> None:
    folder = tmp_path / "demo-lot"
    ran = keywright("demo", "--folder", folder)
    assert ran.code == 0, ran.out + ran.err
    assert ran.out.count("  yes  ") == 10
    assert "25 fobs sealed, each with keys and a certificate of its own" in ran.out
    assert "0 tries used on it" in ran.out
    assert "lost its power inside PUT KEY: probed, recovered, sealed" in ran.out
    assert "card cryptogram wrong" in ran.out
    assert "it opens by Bluetooth and UWB: near: 1.20 m" in ran.out
    assert "every message is right, and it stays shut" in ran.out
    assert "the fob is revoked and refused: the credential is revoked" in ran.out
    assert (folder / "report.html").is_file()
    picture = (folder / "door.svg").read_text("utf-8")
    for word in ("INSTALL for load", "AUTH0", "door: Bluetooth and UWB", "UWB: 1.20 m", "shut: too far"):
        assert word in picture
    assert keywright("key", "unlock", folder / "door.lock", "--link", fob(folder)).code == 0
    (folder / "notes.txt").write_text("mine")
    again = keywright("demo", "--folder", folder, "--json")
    assert again.code == 0
    facts = json.loads(again.out)
    assert (facts["ordered"], facts["sealed"], facts["quarantined"], facts["recovered"]) == (26, 25, 1, 1)
    assert all(proof["holds"] for proof in (*facts["proofs"], *facts["door"]))
    assert len(facts["door"]) == 6
    assert (folder / "notes.txt").read_text() == "mine"


def fob(folder: Path) -> str:
    return f"sim:fob?serial=KW-D1-000002&memory={folder}/door.db.fobs"


def test_a_door_that_opens_for_a_relay_fails_the_demo(
    keywright: Keywright, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo_door, "FAR_M", 1.0)
    monkeypatch.setattr(demo_door, "Relay", lambda: Relay(0.0))
    ran = keywright("demo", "--folder", tmp_path / "demo-lot")
    assert ran.code == 1
    assert ran.out.count("  NO   ") == 1


def test_the_demo_fails_when_something_else_happened(
    keywright: Keywright, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo.Faults, "plan", property(lambda _: Plan()))
    ran = keywright("demo", "--folder", tmp_path / "demo-lot")
    assert ran.code == 1
    assert "  NO   " in ran.out


def test_the_demo_says_where_it_must_be_run(
    keywright: Keywright, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "__file__", str(tmp_path / "a" / "b" / "c" / "demo.py"))
    ran = keywright("demo")
    assert ran.code == 2
    assert "checkout" in ran.err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_an_error(keywright: Keywright, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ran = keywright("demo", "--folder", tmp_path / "file" / "x")
    assert ran.code == 2
    assert "cannot be used" in ran.err
