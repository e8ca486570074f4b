"""A mesh network at the command line, in this process: its file, and simulated devices that are kept in another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest

from keywright.cli.main import main
from keywright.fob.mesh_device import uuid_of

_made: Final[dict[tuple[int, str], tuple[bytes, bytes]]] = {}


class Home:
    """Calls `keywright mesh` for one network and the devices `SIM-000001` and on of one simulated radio."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str], *, more: str = "") -> None:
        self._capsys = capsys
        self.file = folder / "home.mesh"
        self.radio = folder / "radio"
        self.more = more
        self.call("network", "new", self.file, "--addresses", "0100-01FF")

    @classmethod
    def with_nodes(cls, folder: Path, capsys: pytest.CaptureFixture[str], count: int, *, more: str = "") -> Home:
        """A network with so many nodes, from 0100 on, and AppKey 0 that no node has; made once, then copied."""
        made = _made.get((count, more))
        home = cls(folder, capsys, more=more)
        if made is None:
            home.provision(count)
            home.call("network", "appkey", home.file)
            made = _made[count, more] = home.file.read_bytes(), home.radio.read_bytes()
        for path, octets in zip((home.file, home.radio), made, strict=True):
            path.write_bytes(octets)
            path.chmod(0o600)
        return home

    def link(self, count: int = 3) -> str:
        """The radio with so many devices within reach."""
        return f"sim:mesh?count={count}&memory={self.radio}{self.more}"

    def call(self, *words: object, code: int = 0) -> tuple[str, str]:
        """What it says on stdout and stderr."""
        self._capsys.readouterr()
        assert main(["mesh", *map(str, words)]) == code, self._capsys.readouterr()
        return self._capsys.readouterr()

    def told(self, *words: object, code: int = 0) -> dict[str, Any]:
        """The JSON that it tells."""
        out, _ = self.call(*words, "--json", code=code)
        found: dict[str, Any] = json.loads(out.splitlines()[-1])
        return found

    def node(self, *words: object, count: int = 3, code: int = 0) -> dict[str, Any]:
        """A verb of `mesh node` on the radio."""
        return self.told("node", *words, "--network", self.file, "--link", self.link(count), code=code)

    def refused(self, *words: object, count: int = 3, code: int) -> str:
        """What a verb of `mesh node` says when it cannot be done."""
        _, why = self.call("node", *words, "--network", self.file, "--link", self.link(count), code=code)
        return why

    def known(self, name: str) -> dict[str, Any]:
        """What the network's file says of a node."""
        return self.told("node", "show", name, "--network", self.file)

    def provision(self, count: int = 3) -> None:
        """Make the devices nodes, at 0100 and on."""
        for number in range(1, count + 1):
            uuid = uuid_of(f"SIM-{number:06d}").hex()
            words = ("--network", self.file, "--link", self.link(count), "--oob", "none", "--uuid", uuid)
            self.call("provision", *words)

    def document(self) -> dict[str, Any]:
        """The network's database."""
        out = self.file.with_name("out.json")
        out.unlink(missing_ok=True)
        self.call("network", "export", self.file, out)
        found: dict[str, Any] = json.loads(out.read_text())
        return found
