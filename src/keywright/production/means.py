"""What a campaign may use besides recipe, order and store."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from keywright.fob.pool import Plan
from keywright.production.cluster.address import Cluster
from keywright.production.keystores.keystore import Keystore, Unlock
from keywright.production.people.approvals import Operation
from keywright.production.people.consent import Consent
from keywright.production.stations import Station
from keywright.production.unit_store.units import UnitStore
from keywright.production.watch import Unwatched, Watcher

WIDTH: Final = 64
"""Simulated units worked on at once."""
SIM: Final = "sim:"


class Means(msgspec.Struct, kw_only=True):
    """What a run may use besides recipe, order and store.

    `keystore` "" is the TEST keystore beside the store, for simulated units only; `unlock` opens the
    one given. `link` "" is the recipe's.
    `plan` is what a tray of simulated fobs is to be like; its journal is set here, and what the link says of its
    devices counts more. `confirm` is asked before real devices are changed, with the lot's name and the link. `swap`
    has the next device put on the link: it is told the serial expected and what is wrong with the device that is
    there, and answers False to stop. `ask_for` gets the approval of what needs one, or raises. `workers` processes
    share the simulated units of a lot; where `engine`, a cluster, carries it, as many stations do (0: as many as is
    usual). `traced`: the watcher hears the exchanges of every unit also where workers have them, else only those of
    the first. `meanwhile` is called often while a cluster works. `witness` is the file that checkpoints of the log go
    to, None the one beside the store; `witness_url` a second host that cosigns them, with the key in `witness_key`.
    """

    keystore: str = ""
    unlock: Unlock | None = None
    link: str = ""
    watcher: Watcher = Unwatched()
    plan: Plan = Plan()
    confirm: Callable[[str, str], bool] | None = None
    swap: Callable[[str, str], bool] | None = None
    ask_for: Callable[[UnitStore, Operation], Consent] | None = None
    station: Station | None = None
    opened_keystore: Keystore | None = None
    clock: Callable[[], float] = time.time
    rng: Callable[[int], bytes] = os.urandom
    width: int = WIDTH
    workers: int = 1
    traced: bool = False
    engine: Cluster | None = None
    meanwhile: Callable[[], None] = lambda: None
    wait_s: float = 0.0
    witness: Path | None = None
    prepares: bool = True
    """This process prepares units ahead of its devices; of many that work on a lot one need do it."""
    witness_url: str = ""
    witness_key: Path | None = None
