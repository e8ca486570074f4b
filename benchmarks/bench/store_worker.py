"""One process of the measurement with several: `bench.store_worker URL UNITS STATION`; begins when its input closes."""

from __future__ import annotations

import sys
import time

from bench.store import DEVICE_S, TRANSITIONS, _transition
from keywright.production.unit_store.units import UnitStore


def main() -> None:
    """Take units through their steps one by one, waiting for the device in each."""
    url, units, station = sys.argv[1:]
    with UnitStore.open(url, station=station) as store, store.keep_alive():
        print("ready", flush=True)
        sys.stdin.read()
        for _ in range(int(units)):
            (unit,) = store.claim(1)
            for number in range(TRANSITIONS):
                store.commit(list(_transition(unit.n, number)))
                if not number % 2:
                    time.sleep(DEVICE_S)


if __name__ == "__main__":
    main()
