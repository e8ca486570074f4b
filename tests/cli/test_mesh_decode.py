"""`keywright decode --mesh`: a recorded session, PDUs alone, and any bytes."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.cli.main import main
from keywright.cli.mesh.explain import FrameTeller
from keywright.errors import DecodeError


def test_a_recorded_session_is_told_to_its_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network, trace = str(tmp_path / "n"), str(tmp_path / "t.jsonl")
    assert main(["mesh", "network", "new", network]) == 0
    assert main(["mesh", "provision", "--network", network, "--oob", "none", "--trace", trace]) == 0
    capsys.readouterr()
    assert main(["decode", "--mesh", trace, "--json"]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    pdus = [(one["way"], one["name"].removeprefix("Provisioning ")) for one in told if "Provisioning" in one["name"]]
    assert list(dict.fromkeys(pdus)) == [
        (">", "Invite"),
        ("<", "Capabilities"),
        (">", "Start"),
        (">", "Public Key"),
        ("<", "Public Key"),
        (">", "Confirmation"),
        ("<", "Confirmation"),
        (">", "Random"),
        ("<", "Random"),
        (">", "Data"),
        ("<", "Complete"),
    ]
    assert {"Unprovisioned Device beacon", "Link Open", "Link Ack", "Transaction Ack"} <= {one["name"] for one in told}
    assert main(["decode", "--mesh", trace]) == 0


def test_a_pdu_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["decode", "--mesh", "0904"]) == 0
    assert "confirmation failed" in capsys.readouterr().out.lower()
    assert main(["decode", "--mesh", "FF00"]) == 6


@given(st.lists(st.binary(max_size=40), max_size=5))
def test_any_bytes_get_an_answer(frames: list[bytes]) -> None:
    teller = FrameTeller()
    for frame in frames:
        with contextlib.suppress(DecodeError):
            assert teller.tell(frame)
