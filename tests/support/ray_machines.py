"""A lot on a cluster of three machines that was there before: a head, and two with readers. Any of them is killed."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
import pytest

from keywright.production.cluster.actor import ALONE_S
from keywright.production.cluster.drive import wait_for_head
from keywright.production.cluster.library import TOKEN_PATH
from support.machines import HERE, Machine, Machines
from support.ray_bodies import HSM_COMPARED, command, lot_of
from support.ray_lots import COMMANDS, RayLot, processes, say

_PORT: Final = 6400
_HEAD: Final = f"{HERE}:{_PORT}"
_OF_A_LOT: Final = tuple(COMMANDS[kind] for kind in ("driver", "station", "tray", "hsm"))


class Node:
    """A machine with one tray, and the command that keeps it in the cluster."""

    def __init__(self, machine: Machine, token: Path) -> None:
        self._machine = machine
        self._words = ("cluster", "node", _HEAD, "--token", str(token), "--reader", "sim:fob")
        self._process = machine.start(self._words)

    def stations(self) -> list[int]:
        """Stations that run on it."""
        return [pid for pid in processes(COMMANDS["station"]) if self._machine.has(pid)]

    def kill(self) -> tuple[int, ...]:
        """All of it at once; it comes back. None while it has no station."""
        if not self.stations():
            return ()
        self._process.kill()
        self._process.wait()
        pid = self._process.pid
        RayLot.wait_until(lambda: not any(map(self._machine.has, processes("/raylet/raylet"))), "the raylet lives on")
        self._process = self._machine.start(self._words)
        return (pid,)


@contextlib.contextmanager
def line(place: Path, units: int, seed: int, *, softhsm: bool) -> Iterator[tuple[RayLot, list[Node]]]:
    """The cluster, and a lot for it."""
    token = place / "token"
    command("cluster", "token", str(token))
    with (
        pytest.MonkeyPatch.context() as patch,
        Machines(2) as far,
        lot_of(place, units, seed, softhsm=softhsm, engine=f"ray://{_HEAD}", host=HERE) as lot,
    ):
        patch.setenv(TOKEN_PATH, str(token))
        far.here.start(("cluster", "head", _HEAD, "--token", str(token)))
        wait_for_head(_HEAD)
        nodes = [Node(machine, token) for machine in far]
        lot.more = {"machine": lambda: lot.chance.choice(nodes).kill()}
        yield lot, nodes


def disturbed(
    place: Path, *, units: int, faults: list[str], seed: int = 1, softhsm: bool = False, deserted: bool = False
) -> None:
    """A lot with these faults. `deserted`: its command is killed first, and stays away until the stations give up."""
    with line(place, units, seed, softhsm=softhsm) as (lot, nodes):
        spread = False

        def spread_out() -> bool:
            nonlocal spread
            spread = spread or all(len(node.stations()) == 1 for node in nodes)
            return spread

        lot.watched = spread_out
        if deserted:
            desert(lot)
        lot.run(faults)
        assert spread, "the stations never stood on different machines"
        lot.wait_until_gone(_OF_A_LOT)
        lot.check(compared=HSM_COMPARED if softhsm else 0)
        told = {"faults": msgspec.to_builtins(lot.faults), "finished_in_s": round(lot.finished_in_s(), 1)}
        say(json.dumps(told))


def desert(lot: RayLot) -> None:
    """Kill the command: its driver ends with it, and its stations when nobody has asked them for a minute."""
    lot.start()
    assert lot.command is not None
    while not lot.sealed():
        assert lot.command.poll() is None
        time.sleep(0.1)
    began = time.monotonic()
    os.kill(lot.command.pid, 9)
    lot.command.wait()
    lot.wait_until_gone((COMMANDS["driver"],))
    assert processes(COMMANDS["station"])
    lot.wait_until_gone(_OF_A_LOT, 2 * ALONE_S)
    say(f"{time.monotonic() - began:6.1f} s  until the deserted stations had given their readers back")
