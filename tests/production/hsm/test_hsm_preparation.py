"""Units prepared with the keys in a token: what was prepared is what the lot gets, though the client dies between."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from keywright.production import campaign
from keywright.production.hsm.keystore import Pkcs11Keystore
from keywright.production.means import Means
from keywright.production.recipe import read_recipe
from keywright.production.unit_store.units import UnitStore
from support.named_orders import by_key, serials

RECIPE = Path(__file__).parents[3] / "examples" / "fob-hsm.toml"


def test_a_lot_gets_what_a_token_prepared(keystore: Pkcs11Keystore, tmp_path: Path) -> None:
    store, order = str(tmp_path / "lot.db"), tmp_path / "order.csv"
    order.write_text(by_key(serials(3), tmp_path / "lot.db.fobs"), encoding="utf-8")
    means = Means(opened_keystore=keystore)
    assert campaign.prepare(RECIPE, order, store, means).prepared == 3
    digest = read_recipe(RECIPE).digest
    with UnitStore.open(store, readonly=True) as units:
        before = [units.prepared(n, digest) for n in (1, 2, 3)]
    client = keystore.client.client_pid
    assert client
    os.kill(client, signal.SIGKILL)
    assert campaign.run(RECIPE, order, store, means).summary.sealed == 3
    verified = campaign.verify(store, means)
    assert (verified.agree, verified.disagree) == (3, 0)
    with UnitStore.open(store, readonly=True) as units:
        assert [units.prepared(n, digest) for n in (1, 2, 3)] == before
        for found in filter(None, before):
            own = next(event for event in units.events(found.unit) if event.step == "own_keys")
            assert own.facts["kcvs"] == found.steps["own_keys"]["kcvs"]
            assert own.facts["path"] == "inside-masks"
