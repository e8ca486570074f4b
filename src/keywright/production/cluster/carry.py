"""Carries a lot that is in its store on a cluster, from the command that began it until its end."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from keywright.errors import UsageError
from keywright.production.cluster import drive, head
from keywright.production.cluster.address import Cluster
from keywright.production.cluster.folder import working_folder
from keywright.production.cluster.library import ClusterError, check_installed, environment
from keywright.production.cluster.plan import End, LotPlan, StationPlan, lot_identity
from keywright.production.cluster.supervisor import Kept, Supervisor
from keywright.production.means import SIM, Means
from keywright.production.readiness import lot_in
from keywright.production.unit_store.database import database_at
from keywright.production.unit_store.units import Lot, UnitStore

_REACH_S: Final = 5.0
TRAYS: Final = 2
"""Stations for simulated units, unless told otherwise."""

logger = logging.getLogger(__name__)


def check(cluster: Cluster, store: str, means: Means) -> None:
    """Raise before anything is begun when a lot cannot be carried so: UsageError, ClusterError for no cluster there.

    Many machines need a store that all of them reach, and a keystore that opens without a person.
    """
    check_installed()
    if database_at(store).dialect == "sqlite" and not cluster.is_own:
        raise UsageError(
            f"--store {store}: stations on other machines cannot reach a SQLite file",
            hint="keep the lot in PostgreSQL: --store postgresql://USER@HOST:PORT/DATABASE",
        )
    if callable(means.unlock):
        raise UsageError(
            "stations open the keystore themselves, and nobody is there to type its passphrase",
            hint="use an unlock file that each machine has at the same path: --unlock FILE",
        )
    if not cluster.is_own:
        environment(cluster)
        try:
            drive.wait_for_head(cluster.gcs, _REACH_S)
        except ClusterError as error:
            raise ClusterError(str(error), hint="start it: keywright cluster head; or use ray://local") from error


def stations(cluster: Cluster, store: str, link: str, means: Means, names: Sequence[str]) -> tuple[StationPlan, ...]:
    """The stations of a lot. Each holds a reader of a machine, but for simulated units in a cluster of the lot's own.

    A machine alone has one reader of a name.
    """
    simulated = link.startswith(SIM)
    return tuple(
        StationPlan(
            name=name,
            store=store,
            link=link,
            keystore=means.keystore,
            unlock="" if means.unlock is None else str(means.unlock),
            resource="" if simulated and cluster.is_own else f"{head.READER}{link}",
            plan=means.plan,
            width=means.width,
        )
        for name in (names if simulated or not cluster.is_own else names[:1])
    )


def run(store: str, link: str, means: Means) -> str:
    """Work the lot of a store to its end; why it was stopped, if it was. Raises ClusterError."""
    if means.engine is None:
        raise AssertionError("asked for a lot that no cluster is to carry")
    with UnitStore.open(store, readonly=True) as units:
        lot = lot_in(units, store)
        pinned = units.stations_pinned()
    number = means.workers or (TRAYS if link.startswith(SIM) else 1)
    names = sorted({str(one) for one in range(1, number + 1)} | pinned)
    planned = stations(means.engine, store, link, means, names)
    return carry(means.engine, lot, planned, meanwhile=means.meanwhile).stopped


def carry(
    cluster: Cluster,
    lot: Lot,
    planned: tuple[StationPlan, ...],
    *,
    meanwhile: Callable[[], None] = lambda: None,
) -> End:
    """Have the cluster do the work of the lot until its end; `meanwhile` is called often.

    Head (of a cluster of its own) and driver are kept running whatever kills them. Raises ClusterError for what no
    new start would cure.
    """
    with working_folder() as place:
        kept: list[Kept] = []
        told = environment(cluster) if not cluster.is_own else {}
        at = cluster
        if cluster.is_own:
            at = Cluster(head.LOOPBACK, head.free_port())
            token = head.new_token(place / "token")
            told = environment(at, token)
            kept.append(head.own_head(place, at, token, tuple({one.link for one in planned if one.resource})))
        plan = LotPlan(
            gcs=at.gcs,
            identity=lot_identity(lot.lot, lot.order_digest, lot.keystore_id, lot.created_at),
            stations=planned,
            end=str(place / "end"),
        )
        kept.append(
            Kept(
                "driver",
                (sys.executable, "-m", "keywright.production.cluster.drive"),
                told,
                msgspec.json.encode(plan),
                frozenset({drive.ENDED}),
                place / "driver.log",
                follows="head",
            )
        )
        with Supervisor(kept, told=_note) as supervisor:
            supervisor.run(meanwhile)
        end = msgspec.json.decode((place / "end").read_bytes(), type=End)
    if end.trouble:
        raise ClusterError(end.trouble, hint=end.hint)
    return end


def _note(name: str, code: int) -> None:
    if code:
        logger.warning("the %s ended with %d and is started again", name, code)
