"""Python behind an AID: `element new --applet`, `element serve --applet --module`, and that memory never imports."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from keywright.errors import UsageError
from keywright.fob.open import Code, open_simulated
from keywright.fob.uri import parse_uri
from keywright.iso7816.apdu import Command, Response
from keywright.link import TcpLink
from support.cards import EchoApplet
from support.commands import Keywright, started

CODE = """
from keywright.iso7816.apdu import Response

print("imported")

class Wallet:
    def __init__(self, aid=bytes.fromhex("F06B7757414C4C4554")):
        self.aid = aid
    def select(self, context):
        return b"\\x6f\\x00"
    def process(self, command, context):
        kept = (context.read("kept") or b"") + command.data
        context.write("kept", kept)
        return Response(kept)

class Nothing:
    pass

class Short(Wallet):
    def __init__(self):
        super().__init__(b"no")

VALUE = 3
"""
AID = "F06B7757414C4C4554"


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module in the working directory, with a name of this test's own."""
    name = f"wallet_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    path = sys.path.copy()
    yield name
    sys.path[:] = path
    sys.modules.pop(name, None)


def test_an_applet_is_registered_and_its_memory_holds_the_aid_alone(
    keywright: Keywright, tmp_path: Path, module: str
) -> None:
    file = tmp_path / "e"
    made = json.loads(keywright("element", "new", file, "--applet", f"{module}:Wallet", "--json").out.splitlines()[-1])
    assert made["applets"] == [AID]
    content = file.read_bytes()
    assert bytes.fromhex(AID) in content
    assert module.encode() not in content
    listed = json.loads(keywright("card", "list", "--link", f"sim:element?memory={file}", "--json").out)
    assert AID in json.dumps(listed)


def test_opening_a_memory_imports_nothing(keywright: Keywright, tmp_path: Path, module: str) -> None:
    file = tmp_path / "e"
    keywright("element", "new", file, "--applet", f"{module}:Wallet")
    sys.modules.pop(module)
    shown = keywright("element", "show", file)
    keywright("card", "info", "--link", f"sim:element?memory={file}")
    assert "imported" not in shown.out
    assert module not in sys.modules
    with closing(open_simulated(parse_uri(f"sim:element?memory={file}"))) as link:
        select = Command(0x00, 0xA4, 0x04, 0x00, bytes.fromhex(AID), 0).encode()
        assert Response.parse(link.exchange(select)).sw == 0x6A82


def test_a_served_element_runs_the_code_it_is_given(keywright: Keywright, tmp_path: Path, module: str) -> None:
    file = tmp_path / "e"
    keywright("element", "new", file, "--applet", f"{module}:Wallet")
    words = ("--memory", file, "--link", "tcp:127.0.0.1:0", "--applet", f"{module}:Wallet", "--json")
    with started("element", "serve", *words) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "imported\n"
        port = int(json.loads(process.stdout.readline())["ready"].rpartition(":")[2])
        with closing(TcpLink("127.0.0.1", port)) as link:
            link.exchange(Command(0x00, 0xA4, 0x04, 0x00, bytes.fromhex(AID), 0).encode())
            assert link.exchange(bytes.fromhex("80100000024142 00")) == b"AB\x90\x00"
            assert link.exchange(bytes.fromhex("80100000024344 00")) == b"ABCD\x90\x00"
        process.terminate()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "MODULE:CLASS is due"),
        ("{}:", "MODULE:CLASS is due"),
        (":Wallet", "MODULE:CLASS is due"),
        ("{}:Wallets", "has no Wallets"),
        ("{}_x:Wallet", "cannot be imported: ModuleNotFoundError"),
        ("{}:Nothing", "it has no aid, select, process"),
        ("{}:Short", "not 5 to 16 bytes"),
    ],
)
def test_what_is_no_applet_is_said_and_no_file_is_made(
    keywright: Keywright, tmp_path: Path, module: str, text: str, message: str
) -> None:
    ran = keywright("element", "new", tmp_path / "e", "--applet", text.format(module))
    assert ran.code == 2
    assert message in ran.err
    assert "Traceback" not in ran.err
    assert not (tmp_path / "e").exists()


def test_a_module_needs_its_aid(keywright: Keywright, module: str) -> None:
    ran = keywright("element", "serve", "--link", "tcp:127.0.0.1:0", "--module", f"{module}:Wallet")
    assert (ran.code, "AID=MODULE:CLASS is due" in ran.err) == (2, True)


def test_a_fob_takes_no_code() -> None:
    with pytest.raises(UsageError, match="its own applications"):
        open_simulated(parse_uri("sim:fob"), Code([EchoApplet()]))


@pytest.mark.parametrize("text", ["02", "02:", "02:555555", "2x:55", "02:zz"])
def test_a_protocol_that_is_none_is_refused(keywright: Keywright, tmp_path: Path, text: str) -> None:
    ran = keywright("element", "new", tmp_path / "e", "--scp", text)
    assert ran.code in (2, 6)
    assert not (tmp_path / "e").exists()


def test_protocols_are_offered(keywright: Keywright, tmp_path: Path) -> None:
    file = tmp_path / "e"
    made = json.loads(keywright("element", "new", file, "--scp", "02:55", "--scp", "11:9B06", "--json").out)
    assert made["protocols"] == ["02:55", "11:9B06"]
    facts = json.loads(keywright("card", "info", "--link", f"sim:element?memory={file}", "--json").out)
    assert [(one["scp"], one["i"]) for one in facts["secure_channels"]] == [("03", "70"), ("02", "55"), ("11", "9B06")]
