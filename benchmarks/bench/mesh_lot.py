"""Bluetooth Mesh: a lot of 1,000 simulated PB-ADV devices over one radio, in virtual time, with the network's memory.

Both ends of every session are computed, and every frame: what is measured is one processor and one process.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Final

from bench.figures import Figure

DEVICES: Final = 1000
AT_ONCE: Final = 200
LONGEST_S: Final = 60.0
"""The target, by the wall clock."""
TESTS: Final = Path(__file__).parents[2] / "tests"


def figures() -> list[Figure]:
    """Every row about a lot over PB-ADV."""
    took_s, on_air_s = adv_devices(DEVICES, AT_ONCE)
    what = f"{DEVICES:,} devices provisioned over PB-ADV, {AT_ONCE} at once, both ends, in virtual time"
    return [
        Figure(what, f"{took_s:.1f} s", f"{on_air_s:.1f} s on the air", took_s, LONGEST_S, most=True, form="{:.1f} s")
    ]


def adv_devices(count: int, at_once: int) -> tuple[float, float]:
    """Provision so many devices; seconds that it took, and seconds of virtual time.

    Raises RuntimeError if one of them is no node at the end, or an address has two owners.
    """
    if str(TESTS) not in sys.path:
        sys.path.append(str(TESTS))
    from support.mesh_lot import Lot  # noqa: PLC0415 - of the tests, only where this is measured

    start = time.perf_counter()
    lot = Lot(count, at_once=at_once)
    lot.run()
    took_s = time.perf_counter() - start
    nodes = [unit.node for unit in lot.units.values() if unit.node is not None]
    if len(nodes) != count or len({node.stack.address for node in nodes}) != count:
        raise RuntimeError(f"{len(nodes)} of {count} devices are nodes")
    return took_s, lot.air.now
