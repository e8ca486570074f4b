"""The bulk lane: units prepared a second, in chunks against one by one, on one core and without a store."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.figures import Figure, rate
from bench.measure import Contender, race
from keywright.crypto.ec import EcPrivateKey
from keywright.production.keystores.software_keystore import SoftwareKeystore
from keywright.production.order import OrderRow
from keywright.production.preparation import CHUNK, prepare, prepare_chunk
from keywright.production.recipe import Recipe, read_recipe
from keywright.production.unit_store.database import store_path
from keywright.production.unit_store.rows import Lot, Unit
from keywright.production.unit_store.units import UnitStore

RECIPE = Path(__file__).parents[2] / "examples/fob.toml"
UNITS = 4 * CHUNK


def figures() -> list[Figure]:
    """By the KDD alone (keys), then with a public key (keys and certificate), then into a store, durably."""
    recipe = read_recipe(RECIPE)
    kdds = [{"kdd": f"{n:020x}"} for n in range(1, UNITS + 1)]
    keys = [{**one, "public_key": EcPrivateKey.generate("P-256").public.point.hex()} for one in kdds]
    with TemporaryDirectory() as place:
        keystore = SoftwareKeystore.create(Path(place) / "keystore", now=datetime.now(UTC))
        return [
            _batched("keys", recipe, keystore, kdds),
            _batched("keys and certificate", recipe, keystore, keys),
            _stored(recipe, keystore, keys, str(Path(place) / "lot.db")),
        ]


def _batched(what: str, recipe: Recipe, keystore: SoftwareKeystore, orders: list[dict[str, str]]) -> Figure:
    units = [_unit(n, extra) for n, extra in enumerate(orders, 1)]

    def chunked() -> None:
        for at in range(0, UNITS, CHUNK):
            prepare(recipe, units[at : at + CHUNK], keystore, at=time.time(), rng=os.urandom)

    def alone() -> None:
        for unit in units:
            prepare(recipe, [unit], keystore, at=time.time(), rng=os.urandom)

    found = race([Contender("chunks", chunked, UNITS), Contender("alone", alone, UNITS)], rounds=5)
    ours, theirs = (1 / found.median(name) for name in ("chunks", "alone"))
    return Figure(
        f"units prepared a second, {what}, in chunks of {CHUNK}",
        rate(ours),
        f"one by one {rate(theirs)}",
        found.speed("chunks", "alone"),
    )


def _stored(recipe: Recipe, keystore: SoftwareKeystore, orders: list[dict[str, str]], url: str) -> Figure:
    """The same with the rows, the certificates and their audit entries on the disk."""
    lot = Lot(
        lot=recipe.name,
        recipe=recipe.text,
        recipe_digest=recipe.digest,
        order_file="order.csv",
        order_digest="",
        keystore_id=keystore.keystore_id,
        test=True,
        link=recipe.link,
        created_at=time.time(),
    )
    with UnitStore.open(url, create=True) as store:
        store.import_order(lot, (OrderRow(n, f"K-{n:06d}", "m", "g", extra) for n, extra in enumerate(orders, 1)))
        began = time.perf_counter()
        for first in range(1, UNITS + 1, CHUNK):
            prepare_chunk(store, recipe, keystore, first, first + CHUNK - 1)
        took = time.perf_counter() - began
    size = store_path(url).stat().st_size / UNITS
    return Figure(
        "units prepared a second into SQLite, keys and certificate, a transaction a chunk",
        rate(UNITS / took),
        f"{size:.0f} bytes a unit in all",
        UNITS / took,
        form="{:.0f} /s",
    )


def _unit(n: int, extra: dict[str, str]) -> Unit:
    return Unit(
        n=n,
        serial=f"K-{n:06d}",
        model="m",
        owner_group="g",
        extra=extra,
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
