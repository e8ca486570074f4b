"""A unit store in memory, with the uniqueness rules of the real one: what a step, a job or the engine writes to.

ledger = Ledger.of(RECIPE, "K-000001", "K-000002")
job = ledger.job(1)                       # as the line makes it, with the history so far
drive(whole_recipe(job), ledger.over(transmit(link)))
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

import msgspec

from keywright.crypto.des import TripleDesKey
from keywright.crypto.diversification import derive_key_set, master_kind
from keywright.errors import StoreError
from keywright.iso7816.apdu import Command, Response
from keywright.production.control.control import Failed
from keywright.production.job import Commit, Job, StepRequest
from keywright.production.keystores.fresh_keys import fresh_entries
from keywright.production.keystores.keystore import Keystore
from keywright.production.keystores.sealed import Entry
from keywright.production.keystores.software_keystore import SoftwareKeystore
from keywright.production.mesh_lot import LotNetwork
from keywright.production.recipe import Recipe, parse_recipe
from keywright.production.unit_store.control_rows import Setback
from keywright.production.unit_store.leases import Leave
from keywright.production.unit_store.rows import Certificate, Change, Event, Unit, UnitChange, to_json
from keywright.production.unit_store.transitions import TransitionError, unit_sources
from keywright.production.unit_store.units import ConflictError, UnitStore
from keywright.scp.scp03.keys import KeySet

ROOT = Path(__file__).parents[2]
FOB = (ROOT / "examples/fob.toml").read_text(encoding="utf-8")
CARD = (ROOT / "examples/card.toml").read_text(encoding="utf-8")
NOW = 1_795_453_200.0


@cache
def entries() -> tuple[Entry, ...]:
    """The keys of `keystore`, which are always the same but for the CA."""
    draws = itertools.count(1)

    def rng(size: int) -> bytes:
        return bytes((next(draws) * 29 + i * 7) % 256 for i in range(size))

    return fresh_entries(datetime.fromtimestamp(NOW, UTC), rng)


def own_key_set(scheme: str, context: bytes, key_bytes: int = 16) -> KeySet:
    """The keys themselves that `keystore` derives, which it does not give away."""
    kind = master_kind(scheme)
    name = "issuer-des" if kind is TripleDesKey else "issuer"
    master = next(entry.secret for entry in entries() if entry.name == name)
    return KeySet.of(*derive_key_set(kind(master), scheme, context, key_bytes=key_bytes))


@cache
def keystore() -> SoftwareKeystore:
    """The TEST keystore of this process; its files are gone, the open keystore is what the line uses."""
    with TemporaryDirectory() as place:
        now = datetime.fromtimestamp(NOW, UTC)
        return SoftwareKeystore.create(Path(place) / "keystore", now=now, entries=entries(), clock=now.timestamp)


@cache
def recipe(text: str = FOB) -> Recipe:
    """A recipe by its text."""
    return parse_recipe(text.encode())


def unit(n: int, serial: str) -> Unit:
    """A unit as the import of an order leaves it."""
    return Unit(
        n=n,
        serial=serial,
        model="fob-one",
        owner_group="north",
        extra={},
        state="planned",
        step="",
        device_uid=None,
        kdd=None,
        evidence={},
        failure_code="",
        failure_text="",
        tries=0,
        started_at=None,
        finished_at=None,
    )


class Ledger:
    """Units, events and certificates of a lot; `batches` keeps what each transaction held."""

    def __init__(self, of: Recipe, units: Iterable[Unit]) -> None:
        self.recipe = of
        self.units = {one.n: one for one in units}
        self.events: list[Event] = []
        self.certificates: dict[int, Certificate] = {}
        self.setbacks: list[Failed] = []
        self.network: LotNetwork | None = None
        self.has_gatt = False
        self.batches: list[tuple[Change, ...]] = []
        self._there: set[object] = set()
        self._ticks = itertools.count()
        self._draws = itertools.count(1)

    @classmethod
    def of(cls, text: str, *serials: str) -> Ledger:
        """A lot of these serials, nothing done yet."""
        return cls(recipe(text), [unit(n, serial) for n, serial in enumerate(serials, 1)])

    def copy(self) -> Ledger:
        """The same lot, to go on with separately."""
        twin = Ledger(self.recipe, self.units.values())
        twin.events, twin.certificates = list(self.events), dict(self.certificates)
        twin.network = self.network
        twin.has_gatt = self.has_gatt
        twin._there = set(self._there)
        twin._draws = itertools.count(1000 * (len(self.events) + 1))
        return twin

    def as_store(self) -> UnitStore:
        """For those who ask for the real one and only commit to it."""
        return cast("UnitStore", self)

    def clock(self) -> float:
        """A little later at every look."""
        return NOW + next(self._ticks) / 1000

    def rng(self, size: int) -> bytes:
        """Other bytes at every draw, the same in every test."""
        return (next(self._draws) * 0x9E3779B97F4A7C15).to_bytes(16)[-8:].rjust(size, b"\x5a")[-size:]

    def job(self, n: int = 1, *, keys: Keystore | None = None) -> Job:
        """A job for a unit, made as a campaign makes it: from the unit's row, events and certificate."""
        return Job(
            self.units[n],
            self.recipe,
            keys or keystore(),
            clock=self.clock,
            rng=self.rng,
            history=tuple(event for event in self.events if event.unit == n),
            certificate=self.certificates.get(n),
            network=self.network,
            has_gatt=self.has_gatt,
        )

    def commit(self, batch: Iterable[Change]) -> None:
        """All or nothing. Raises ConflictError as the real store does, StoreError for an unknown unit."""
        changes = tuple(batch)
        _as_rows(changes)
        units: dict[int, Unit] = {}
        fresh: set[object] = set()
        for change in changes:
            if isinstance(change, UnitChange):
                if change.unit not in self.units:
                    raise StoreError(f"no unit {change.unit}")
                before = units.get(change.unit, self.units[change.unit])
                units[change.unit] = msgspec.structs.replace(before, **dict(change.values))
                continue
            if isinstance(change, Leave | Setback):
                continue  # nobody else works here
            if not isinstance(change, Event | Certificate):
                raise TypeError(f"nobody writes {type(change).__name__} here")
            for once in _once(change):
                if once in self._there or once in fresh:
                    raise ConflictError(f"{once} is there already")
                fresh.add(once)
        self._check_devices(units)
        self._check_moves(changes, units)
        self._there |= fresh
        self.units |= units
        sealed = sum(one.state == "sealed" for one in self.units.values())
        for change in changes:
            if isinstance(change, Setback):
                values = msgspec.structs.asdict(change)
                del values["at"]
                self.setbacks.append(Failed(**values, sealed=sealed))
        self.events += [change for change in changes if isinstance(change, Event)]
        self.certificates |= {change.unit: change for change in changes if isinstance(change, Certificate)}
        self.batches.append(changes)

    def over(self, send: Callable[[Command], Response]) -> Callable[[StepRequest], Response]:
        """Answers a step's requests: commands go to `send`, commits here."""

        def answer(request: StepRequest) -> Response:
            if isinstance(request, Commit):
                self.commit(request.changes)
                return Response(b"")
            assert isinstance(request, Command), "no radio stands beside this unit"
            return send(request)

        return answer

    def settle(self, job: Job) -> None:
        """Write what a job still has to write, as the engine does at its end."""
        self.commit(job.take_pending().changes)

    def phases(self, step: str, n: int = 1) -> list[str]:
        """Phases of the events of a step or action, oldest first."""
        return [event.phase for event in self.events if event.unit == n and event.step == step]

    def open_intents(self) -> set[tuple[int, str]]:
        """Units and actions with an intent that nothing has settled."""
        found: set[tuple[int, str, int]] = set()
        for event in self.events:
            key = event.unit, event.step, event.attempt
            if event.phase == "intent":
                found.add(key)
            elif event.phase != "note":
                found.discard(key)
        return {(n, step) for n, step, _ in found}

    def _check_moves(self, changes: tuple[Change, ...], units: dict[int, Unit]) -> None:
        """From the state a unit had before the batch to the one it has after, one move."""
        for n in {one.unit for one in changes if isinstance(one, UnitChange) and "state" in one.values}:
            before, after = self.units[n].state, units[n].state
            if before not in unit_sources(after):
                raise TransitionError(f"unit {n} is {before}: it cannot become {after}")

    def _check_devices(self, changed: dict[int, Unit]) -> None:
        uids = [one.device_uid for one in (self.units | changed).values() if one.device_uid is not None]
        if len(set(uids)) != len(uids):
            raise ConflictError("the device is another unit's already")


def _as_rows(changes: tuple[Change, ...]) -> None:
    """Raises TypeError for what the real store could not write as JSON."""
    for change in changes:
        if isinstance(change, Event):
            to_json(change.facts)
        elif isinstance(change, UnitChange):
            to_json(change.values.get("evidence", {}))  # type: ignore[arg-type]  # any value is tried


def _once(change: Event | Certificate) -> tuple[object, ...]:
    """What of a row may be in the store once."""
    if isinstance(change, Event):
        return (("event", change.unit, change.step, change.phase, change.attempt),)
    return ("certificate of", change.unit), ("certificate for", change.spki_sha256), ("number", change.serial_number)
