"""`keywright key conformance`: scenarios over sockets, and what is written of them."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from keywright.aliro.conformance.outcome import Nonconformity, Result
from keywright.aliro.messages import Ins
from keywright.aliro.session import State
from keywright.aliro.user_device import TABLE
from keywright.production.reports.conformance import junit, write_page
from support.commands import Keywright


def test_our_own_sides_pass_over_sockets_with_one_object_for_each_scenario(keywright: Keywright) -> None:
    ran = keywright("key", "conformance", "--json", "--only", "nominal", "--only", "gatt, no version")
    found = [json.loads(line) for line in ran.out.splitlines()]
    assert ran.code == 0
    assert len(found) == 25
    assert {one["role"] for one in found} == {"device", "reader", "both"}
    assert {one["result"] for one in found} == {"passed"}
    assert "25 scenarios" in ran.err


def test_a_broken_device_fails_with_the_place_and_the_files_say_so(
    keywright: Keywright, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TABLE, State.AUTH0, (*TABLE[State.AUTH0], Ins.AUTH0))
    page, xml = tmp_path / "c.html", tmp_path / "c.xml"
    ran = keywright("key", "conformance", "--role", "device", "--only", "order", "--html", page, "--junit", xml)
    assert ran.code == 1
    assert "auth0, AUTH0" in ran.out
    assert "1 failed" in ran.out
    root = ET.parse(xml).getroot()
    assert (root.get("tests"), root.get("failures")) == ("23", "1")
    assert "timestamp" not in xml.read_text()
    text = page.read_text()
    assert "<script" not in text
    assert "http" not in text.replace("http-equiv", "")
    assert "<mark>86</mark>" in text
    assert text.count("<details") == 23


def test_what_came_from_a_device_is_escaped_in_both_files(tmp_path: Path) -> None:
    bad = Nonconformity.of_bytes("<b>&\x00", [b"\x90\x00"], b"\x90\x01")
    one = Result("<n>", "]]>", "failed", "\u202etext", str(bad), "device", bad.expected, bad.got, bad.at)
    root = ET.fromstring(junit([one]))
    failure = root.find(".//failure")
    assert failure is not None
    assert "first byte that differs: 1" in (failure.text or "")
    write_page(tmp_path / "p.html", [one], "<img>")
    text = (tmp_path / "p.html").read_text()
    assert "<img" not in text
    assert "<n>" not in text
    assert "90<mark>01</mark>" in text


@pytest.mark.parametrize(
    "words",
    [
        ("--only", "nothing"),
        ("--role", "lock"),
        ("--role", "reader", "--link", "tcp:127.0.0.1:1"),
        ("--listen", "here", "--role", "reader"),
    ],
)
def test_what_cannot_be_is_said(keywright: Keywright, words: tuple[str, ...]) -> None:
    ran = keywright("key", "conformance", *words)
    assert ran.code == 2
    assert "next:" in ran.err
