"""`keywright element`: files that are made once, servers that end when told, and no key anywhere."""

from __future__ import annotations

import json
import re
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from keywright.cli import element
from keywright.element import SecureElement
from keywright.globalplatform.cap.build import build_cap
from keywright.sansio import Device
from keywright.scp.scp03.keys import KeySet
from support.commands import KeyFile, Keywright, started

CANARY = bytes.fromhex("C0FFEE00C0FFEE11C0FFEE22C0FFEE33")


def test_new_makes_a_private_file_that_other_verbs_open(keywright: Keywright, tmp_path: Path) -> None:
    file = tmp_path / "e"
    made = keywright("element", "new", file, "--kvn", "30", "--i", "60", "--aid", "A000000003000000", "--json")
    assert json.loads(made.out) == {
        "file": str(file),
        "aid": "A000000003000000",
        "kvn": "30",
        "i": "60",
        "test_keys": True,
        "protocols": [],
        "profile": "default",
        "applets": [],
        "atr": "3B8F018073C021DF596B65797772696768747A",
    }
    assert file.stat().st_mode & 0o777 == 0o600
    facts = json.loads(keywright("card", "info", "--link", f"sim:element?memory={file}", "--json").out)
    assert (facts["aid"], facts["keys"][0]["kvn"], facts["secure_channels"][0]["i"]) == ("A000000003000000", "30", "60")


def test_new_says_how_to_go_on(keywright: Keywright, tmp_path: Path) -> None:
    ran = keywright("element", "new", tmp_path / "e")
    assert ran.code == 0
    assert "with the public test keys 40..4F" in ran.out
    assert f"keywright element serve --memory {tmp_path / 'e'}" in ran.out


def test_new_takes_an_answer_to_reset_and_t0_alone_keeps_answers_back(keywright: Keywright, tmp_path: Path) -> None:
    path = tmp_path / "t0.element"
    made = keywright("element", "new", path, "--atr", "3B00", "--json")
    assert json.loads(made.out)["atr"] == "3B00"
    with SecureElement(path=path) as card:
        assert card.atr == b"\x3b\x00"
        assert card.handle(bytes.fromhex("00A4040008A000000151000000"))[0] == 0x61
    assert keywright("card", "info", "--link", f"sim:element?memory={path}").code == 0
    refused = keywright("element", "new", tmp_path / "bad", "--atr", "FF00")
    assert refused.code != 0
    assert "internal" not in refused.err
    assert not (tmp_path / "bad").exists()


def test_new_never_overwrites(keywright: Keywright, tmp_path: Path) -> None:
    file = tmp_path / "e"
    file.write_bytes(b"precious")
    ran = keywright("element", "new", file)
    assert ran.code == 1
    assert "never overwritten" in ran.err
    assert file.read_bytes() == b"precious"


def test_new_takes_keys_from_a_file_and_shows_none(keywright: Keywright, tmp_path: Path, key_file: KeyFile) -> None:
    file = tmp_path / "e"
    made = keywright("element", "new", file, "--key-file", key_file(CANARY, kvn="31"))
    shown = keywright("element", "show", file)
    assert made.code == shown.code == 0
    assert CANARY.hex() not in (made.out + made.err + shown.out + shown.err).lower()
    assert "test keys" not in made.out
    link = f"sim:element?memory={file}"
    assert keywright("card", "list", "--link", link, "--keys", tmp_path / "keys.toml").code == 0
    assert json.loads(keywright("card", "keys", "--link", link, "--json").out)["key_sets"][0]["gp_test"] is False


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--kvn", "zz"), "--kvn: 'z' is not a hex digit"),
        (("--kvn", "3030"), "--kvn: one byte in hex is due"),
        (("--kvn", "00"), "kvn: a key version number is 01 to FF"),
        (("--i", "40"), "is no SCP03 option set"),
        (("--aid", "A0"), "isd_aid: an AID has 5 to 16 bytes"),
        (("--kdd", "00"), "kdd: 10 bytes"),
        (("--try-limit", "0"), "try_limit"),
        (("--key-file", "/nonexistent"), "there is no key file"),
    ],
)
def test_new_refuses_what_is_no_element_and_leaves_no_file(
    keywright: Keywright, tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    ran = keywright("element", "new", tmp_path / "e", *words)
    assert ran.code in (1, 2, 6)
    assert message in ran.err
    assert not (tmp_path / "e").exists()


def test_show_tells_state_and_tries_of_the_memory(keywright: Keywright, tmp_path: Path) -> None:
    file = tmp_path / "e"
    with SecureElement(path=str(file)) as device:
        device.handle(bytes.fromhex("8482330010") + bytes(16))
    facts = json.loads(keywright("element", "show", file, "--json").out)
    assert facts["life_cycle"] == "OP_READY"
    assert facts["tries"] == 1
    assert re.search(r"tries +1 EXTERNAL AUTHENTICATE received", keywright("element", "show", file).out)


def test_show_tells_what_a_loaded_application_without_code_was_sent(keywright: Keywright, tmp_path: Path) -> None:
    """So a vendor's flow of installation and personalisation can be rehearsed and looked at."""
    path, cap, groups = tmp_path / "my.element", tmp_path / "a.cap", tmp_path / "a.dgi"
    link = f"sim:element?memory={path}"
    cap.write_bytes(build_cap(bytes.fromhex("F06B770001"), [bytes.fromhex("F06B77000101")]))
    groups.write_text("9102: 0102\n")
    assert keywright("element", "new", path).code == 0
    assert "nothing" in keywright("element", "show", path, "--recorded").out
    assert keywright("card", "install", cap, "--parameters", "CAFE", "--link", link).code == 0
    assert keywright("card", "personalise", "F06B77000101", groups, "--link", link).code == 0
    assert keywright("card", "apdu", "00A4040006F06B77000101", "8010000001AA", "--link", link).code == 0
    shown = keywright("element", "show", path, "--recorded").out
    assert "Sent to F06B77000101" in shown
    assert "CAFE" in shown
    assert "8010000001AA" in shown
    (one,) = json.loads(keywright("element", "show", path, "--recorded", "--json").out)["recorded"]
    assert one == {
        "aid": "F06B77000101",
        "parameters": "CAFE",
        "received": 2,
        "commands": ["80E28800059102020102", "8010000001AA"],
    }
    assert "Sent to" not in keywright("element", "show", path).out


def test_show_of_nothing_makes_nothing(keywright: Keywright, tmp_path: Path) -> None:
    ran = keywright("element", "show", tmp_path / "e")
    assert ran.code == 1
    assert "keywright element new" in ran.err
    assert list(tmp_path.iterdir()) == []


def test_show_of_a_file_that_is_no_memory(keywright: Keywright, tmp_path: Path) -> None:
    (tmp_path / "e").write_text("hello")
    ran = keywright("element", "show", tmp_path / "e")
    assert ran.code == 1
    assert ran.err.startswith("keywright: ")
    assert (tmp_path / "e").read_text() == "hello"


def test_show_of_one_fob_of_a_lot(keywright: Keywright, tmp_path: Path) -> None:
    memory = tmp_path / "fobs"
    keywright("card", "info", "--link", f"sim:fob?serial=KW-1&memory={memory}")
    assert keywright("element", "show", memory, "--fob", "KW-1").code == 0
    assert "no fob KW-2" in keywright("element", "show", memory, "--fob", "KW-2").err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_ends_well_when_told_and_keeps_its_memory(
    keywright: Keywright, tmp_path: Path, number: signal.Signals
) -> None:
    memory = tmp_path / "e"
    keywright("element", "new", memory, "--kvn", "42")
    trace = tmp_path / "t.jsonl"
    with started("element", "serve", "--link", "tcp:127.0.0.1:0", "--memory", memory, "--trace", trace) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("ready: tcp:127.0.0.1:")
        link = line.split()[1]
        assert json.loads(keywright("card", "keys", "--link", link, "--json").out)["key_sets"][0]["kvn"] == "42"
        process.send_signal(number)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "served 4 commands" in err
    assert "Traceback" not in err
    assert trace.stat().st_mode & 0o777 == 0o600
    assert len([line for line in trace.read_text().splitlines() if '"dir":"command"' in line]) == 4


def test_serve_refuses_a_port_that_is_taken(keywright: Keywright) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ran = keywright("element", "serve", "--link", f"tcp:127.0.0.1:{port}")
    assert ran.code == 4
    assert "cannot listen" in ran.err


def test_serve_refuses_other_machines(keywright: Keywright) -> None:
    ran = keywright("element", "serve", "--link", "tcp:0.0.0.0:0")
    assert ran.code == 5
    assert "loopback only" in ran.err


def test_serve_refuses_a_link_that_serves_nothing(keywright: Keywright) -> None:
    ran = keywright("element", "serve", "--link", "pcsc:x")
    assert ran.code == 2
    assert "vpcd:HOST:PORT" in ran.err


def test_an_element_of_other_keys_can_be_served_from_its_memory(
    tmp_path: Path, keywright: Keywright, key_file: KeyFile
) -> None:
    with SecureElement(path=str(tmp_path / "e"), keys=KeySet.of(CANARY, CANARY, CANARY)):
        pass
    with started("element", "serve", "--link", "tcp:127.0.0.1:0", "--memory", tmp_path / "e", "--json") as process:
        assert process.stdout is not None
        link = json.loads(process.stdout.readline())["ready"]
        assert keywright("card", "list", "--link", link, "--keys", key_file(CANARY)).code == 0
        process.terminate()
        process.communicate(timeout=20)


class OneVisit:
    """Stands for the server: one client comes, resets, asks, and goes."""

    def __init__(self, device: Device) -> None:
        self.device = device

    def serve(self, on_ready: Callable[[str], object]) -> None:
        on_ready("tcp:127.0.0.1:4")
        self.device.reset()
        assert self.device.handle(bytes.fromhex("00A4040000"))[-2:] == b"\x90\x00"
        assert self.device.atr[:1] == b"\x3b"

    def stop(self) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ((), "ready: tcp:127.0.0.1:4  sim:element, in memory only\n"),
        (("--fob", "KW-1"), "ready: tcp:127.0.0.1:4  sim:fob, in memory only\n"),
    ],
)
def test_serve_says_what_is_where(
    keywright: Keywright, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: tuple[str, ...], line: str
) -> None:
    monkeypatch.setattr(element, "open_server", lambda _, device: OneVisit(device))
    trace = tmp_path / "t"
    ran = keywright("element", "serve", "--trace", trace, *words)
    assert ran == (0, line, "Ctrl-C ends it\nserved 1 commands\n")
    assert [json.loads(event)["dir"] for event in trace.read_text().splitlines()] == ["reset", "command", "answer"]


def test_serve_gives_the_signals_back(keywright: Keywright, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(element, "open_server", lambda _, device: OneVisit(device))
    before = signal.getsignal(signal.SIGINT)
    facts = json.loads(keywright("element", "serve", "--json").out)
    assert facts["ready"] == "tcp:127.0.0.1:4"
    assert facts["memory"] is None
    assert signal.getsignal(signal.SIGINT) is before
