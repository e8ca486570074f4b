"""One process of the measurement with several: `bench.store_worker URL UNITS DEVICE_S STATION`.

It begins when its input closes.
"""

from __future__ import annotations

import sys
import time

from bench.store import TRANSITIONS, transition
from keywright.production.unit_store.units import UnitStore


def main() -> None:
    """Take units through their steps one by one, waiting for the device in each."""
    url, units, device_s, station = sys.argv[1:]
    with UnitStore.open(url, station=station) as store, store.keep_alive():
        print("ready", flush=True)
        sys.stdin.read()
        for _ in range(int(units)):
            (unit,) = store.claim(1)
            for number in range(TRANSITIONS):
                store.commit(list(transition(unit.n, number)))
                if not number % 2:
                    time.sleep(float(device_s))


if __name__ == "__main__":
    main()
