"""Other machines: namespaces of network, joined by a bridge, inside the one that a test's body has for itself.

    with Machines(2) as far:
        far[0].start("cluster", "node", …)

The body's own namespace is the first machine, at `HERE`; each other one has an address of its own and no way anywhere
but to the others. All of them see the same files and processes.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from support.ray_lots import KEYWRIGHT

HERE: Final = "10.77.0.1"
_BRIDGE: Final = "br0"
_START_S: Final = 20.0


class Machine:
    """What one machine runs; it is ended with it. This one is the body's own."""

    def __init__(self, inside: Sequence[str] = (), network: Path = Path("/proc/self/ns/net")) -> None:
        self._inside = inside
        self._network = network.readlink()
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self, words: Sequence[str]) -> subprocess.Popen[bytes]:
        """Give a command of keywright on this machine."""
        process = subprocess.Popen([*self._inside, *KEYWRIGHT, *words])
        self._running.append(process)
        return process

    def has(self, pid: int) -> bool:
        """Whether that process runs here."""
        try:
            return Path(f"/proc/{pid}/ns/net").readlink() == self._network
        except OSError:
            return False

    def stop(self) -> None:
        """End what runs."""
        for process in self._running:
            process.kill()
            process.wait()


class FarMachine(Machine):
    """One more machine, with an address and a network of its own."""

    def __init__(self, number: int) -> None:
        self._namespace = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        pid = str(self._namespace.pid)
        _wait_for_another_network(self._namespace.pid)
        _ip("link", "add", f"m{number}", "type", "veth", "peer", "name", "eth0", "netns", pid)
        _ip("link", "set", f"m{number}", "master", _BRIDGE, "up")
        super().__init__(("nsenter", "--target", pid, "--net", "--"), Path(f"/proc/{pid}/ns/net"))
        for words in (
            ("addr", "add", f"10.77.0.{number}/24", "dev", "eth0"),
            ("link", "set", "eth0", "up"),
            ("link", "set", "lo", "up"),
        ):
            subprocess.run([*self._inside, "ip", *words], check=True)

    def stop(self) -> None:
        """Take it away."""
        super().stop()
        self._namespace.kill()
        self._namespace.wait()


class Machines(list[FarMachine]):
    """So many machines besides this one, which is `here`."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.here = Machine()
        self._number = number

    def __enter__(self) -> Self:
        _ip("link", "add", _BRIDGE, "type", "bridge")
        _ip("addr", "add", f"{HERE}/24", "dev", _BRIDGE)
        _ip("link", "set", _BRIDGE, "up")
        self.extend(FarMachine(number) for number in range(2, self._number + 2))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for machine in (*self, self.here):
            machine.stop()


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def _wait_for_another_network(pid: int) -> None:
    until = time.monotonic() + _START_S
    while Path(f"/proc/{pid}/ns/net").readlink() == Path("/proc/self/ns/net").readlink():
        assert time.monotonic() < until
        time.sleep(0.01)
