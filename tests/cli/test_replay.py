"""`keywright replay`: a recording in words, and beside a device."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from keywright.cli import links
from keywright.element import SecureElement
from keywright.errors import LinkError
from keywright.fob.open import SimulatedLink
from support.commands import Keywright


@pytest.fixture
def trace(keywright: Keywright, tmp_path: Path) -> Path:
    """A session with a simulated element."""
    path = tmp_path / "t.jsonl"
    assert keywright("card", "list", "--link", "sim:element", "--trace", path).code == 0
    return path


def test_a_trace_is_told_exchange_by_exchange(keywright: Keywright, trace: Path) -> None:
    ran = keywright("replay", trace)
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert lines[0].startswith("t.jsonl: 7 exchanges in ")
    assert [
        words in line for words, line in zip(("SELECT", "card data", "INITIALIZE", "level 33"), lines[1:], strict=False)
    ] == [True] * 4
    assert "GET STATUS applications (protected)" in ran.out
    assert max(map(len, lines)) <= 80


def test_a_recording_for_wireshark_is_told_played_and_compared_like_its_trace(
    keywright: Keywright, trace: Path, tmp_path: Path
) -> None:
    path = tmp_path / "t.pcapng"
    assert keywright("decode", trace, "--pcapng", path).code == 0
    from_trace, from_capture = keywright("replay", trace, "--full").out, keywright("replay", path, "--full").out
    assert from_capture.partition("\n")[2] == from_trace.partition("\n")[2]
    played = keywright("card", "list", "--link", f"replay:{path}", "--keys", "gp-test")
    assert (played.code, played.out) == (0, keywright("card", "list", "--link", "sim:element").out)
    assert keywright("replay", path, "--link", "sim:element").out.splitlines()[-1] == "3 same, 0 different, 4 left out"


@pytest.mark.parametrize("data", [b"PK\3\4\0\1\2", b"hello", b'{"t":1.0'])
def test_what_is_no_recording_is_said_to_be_none(keywright: Keywright, tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x"
    path.write_bytes(data)
    ran = keywright("card", "info", "--link", f"replay:{path}")
    assert ran.code == 6
    assert f"{path}: no recording: neither a trace nor a pcapng file" in ran.err
    path.unlink()
    assert "cannot be read: No such file" in keywright("replay", path).err


def test_full_shows_bytes_and_fields(keywright: Keywright, trace: Path) -> None:
    ran = keywright("replay", trace, "--full")
    assert "  > 00 A4 04 00 00" in ran.out
    assert "security level" in ran.out


def test_json_has_one_object_for_each_exchange(keywright: Keywright, trace: Path) -> None:
    documents = [json.loads(line) for line in keywright("replay", trace, "--json").out.splitlines()]
    assert len(documents) == 7
    assert documents[0]["title"] == "SELECT issuer security domain"
    assert {"t", "kind", "step", "title", "command", "answer", "sw", "masked"} <= set(documents[0])


def test_the_same_device_answers_the_same(keywright: Keywright, trace: Path) -> None:
    ran = keywright("replay", trace, "--link", "sim:element")
    assert ran.code == 0
    assert ran.out.splitlines()[-1] == "3 same, 0 different, 4 left out"


def test_another_device_is_told_apart(keywright: Keywright, tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    keywright("card", "info", "--link", "sim:fob?serial=A", "--trace", path)
    ran = keywright("replay", path, "--link", "sim:fob?serial=B")
    assert ran.code == 1
    assert "! GET DATA 0045 (card image number)\n    recorded  45 08" in ran.out
    ran = keywright("replay", path, "--link", "sim:fob?serial=B", "--json")
    assert json.loads(ran.out.splitlines()[-1]) == {"same": 9, "different": 3, "left_out": 0}


def test_a_session_is_never_played_to_a_device_again(
    keywright: Keywright, trace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = SecureElement()
    monkeypatch.setattr(links, "open_link", lambda uri: SimulatedLink(uri, device, lambda: None))
    keywright("replay", trace, "--link", "sim:element")
    assert device.attempts == 0


def test_masked_commands_are_left_out(keywright: Keywright, tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    keywright("card", "apdu", "80D80081023000", "--link", "sim:element", "--trace", path)
    path.write_text(path.read_text().replace('"hex":"80D80081023000"', '"hex":"80D80081020000","note":"data masked"'))
    ran = keywright("replay", path, "--link", "sim:element")
    assert "(masked in the trace)" in ran.out
    assert ran.out.splitlines()[-1] == "0 same, 0 different, 1 left out"


def test_commands_that_may_change_a_real_device_need_a_yes(
    keywright: Keywright, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "t.jsonl"
    keywright("card", "apdu", "80F0800F", "--link", "sim:element", "--trace", path)
    monkeypatch.setattr(links, "open_link", lambda uri: SimulatedLink(uri, SecureElement(), lambda: None))
    assert keywright("replay", path, "--link", "pcsc:x").code == 5
    assert keywright("replay", path, "--link", "pcsc:x", "--yes").code == 0


def test_a_device_that_is_lost_where_it_was_not_is_different(
    keywright: Keywright, trace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Dead:
        name, atr, extended = "dead", b"", True

        def exchange(self, command: bytes) -> bytes:
            raise LinkError("gone", None)

        def close(self) -> None:
            pass

    monkeypatch.setattr(links, "open_link", lambda _: Dead())
    ran = keywright("replay", trace, "--link", "sim:element")
    assert ran.code == 1
    assert ran.out.splitlines()[-1] == "0 same, 3 different, 4 left out"
    assert "(gone)" in ran.out


def test_units_of_a_lot_are_told_apart(keywright: Keywright, tmp_path: Path) -> None:
    path = tmp_path / "t"
    path.write_text(
        '{"t":1.0,"who":"host","link":"sim:fob#A","dir":"command","hex":"00A4040000"}\n'
        '{"t":1.0,"who":"host","link":"sim:fob#A","dir":"answer","hex":"9000"}\n'
        '{"t":1.0,"who":"host","link":"sim:fob#B","dir":"command","hex":"00A4040000"}\n'
        '{"t":1.0,"who":"host","link":"sim:fob#B","dir":"answer","hex":"9000"}\n'
    )
    lines = keywright("replay", path).out.splitlines()
    assert lines[1] == "sim:fob#A"
    assert lines[3] == "sim:fob#B"


def test_losses_and_resets_are_told(keywright: Keywright, tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(
        '{"t":1.0,"who":"host","link":"l","dir":"reset","hex":"3B00"}\n'
        '{"t":1.1,"who":"host","link":"l","dir":"command","hex":"00A4040000"}\n'
        '{"t":1.2,"who":"host","link":"l","dir":"lost","hex":"","note":"power cut"}\n'
        '{"t":1.3,"who":"host","link":"l","dir":"command","hex":"00A4040000"}\n'
    )
    out = keywright("replay", path).out
    assert "-- reset" in out
    assert "no answer: power cut" in out
    assert out.count("no answer") == 2


@pytest.mark.parametrize(
    ("content", "code"), [("", 6), ("hello\n", 6), ('{"t":1,"who":"h","link":"l","dir":"command","hex":"0"}\n', 6)]
)
def test_a_file_that_is_no_trace_is_refused(keywright: Keywright, tmp_path: Path, content: str, code: int) -> None:
    (tmp_path / "t").write_text(content)
    ran = keywright("replay", tmp_path / "t")
    assert ran.code == code
    assert ran.err.startswith("keywright: ")


def test_a_file_that_is_not_there_is_refused(keywright: Keywright, tmp_path: Path) -> None:
    assert keywright("replay", tmp_path / "t").code == 2


def test_bytes_that_are_no_apdu_are_told_as_that(keywright: Keywright, tmp_path: Path) -> None:
    (tmp_path / "t").write_text('{"t":1.0,"who":"h","link":"l","dir":"command","hex":"00A4"}\n')
    ran = keywright("replay", tmp_path / "t")
    assert ran.code == 0
    assert "not an APDU" in ran.out
