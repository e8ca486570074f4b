"""`keywright demo`: it proves what it shows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from keywright.cli import demo
from keywright.fob.pool import Plan
from support.commands import Keywright


def test_the_demo_shows_and_proves_the_main_job(keywright: Keywright, tmp_path: Path) -> None:
    folder = tmp_path / "demo-lot"
    ran = keywright("demo", "--folder", folder)
    assert ran.code == 0, ran.out + ran.err
    assert ran.out.count("  yes  ") == 4
    assert "25 fobs sealed, each with keys and a certificate of its own" in ran.out
    assert "0 tries used on it" in ran.out
    assert "lost its power inside PUT KEY: probed, recovered, sealed" in ran.out
    assert "card cryptogram wrong" in ran.out
    assert (folder / "report.html").is_file()
    (folder / "notes.txt").write_text("mine")
    again = keywright("demo", "--folder", folder, "--json")
    assert again.code == 0
    facts = json.loads(again.out)
    assert (facts["ordered"], facts["sealed"], facts["quarantined"], facts["recovered"]) == (26, 25, 1, 1)
    assert all(proof["holds"] for proof in facts["proofs"])
    assert (folder / "notes.txt").read_text() == "mine"


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
