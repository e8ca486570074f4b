"""`keywright mesh network`: make, show, export and import the memory of a network."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from keywright.cli.links import insist
from keywright.cli.mesh.options import uuid_in
from keywright.cli.options import Json, Yes
from keywright.cli.text import good, note, pairs, say, show_json, table
from keywright.errors import UsageError
from keywright.mesh.database.addresses import Range
from keywright.mesh.database.cdb import uuid_text
from keywright.mesh.database.keys import Refresh, refresh_under_way, refreshes_under_way
from keywright.mesh.database.network import ALL_UNICAST, NetworkDatabase
from keywright.mesh.network.iv_index import IvState
from keywright.mesh.network.keys import NetKey
from keywright.production.mesh_lot import collect_nodes, network_path
from keywright.production.mesh_network import begin_network, import_network, opened_network, timestamp
from keywright.production.private_file import read_private, write_private
from keywright.production.readiness import lot_in
from keywright.production.unit_store.units import UnitStore

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

DATABASE_BYTES = 16 << 20
_WHAT = "mesh configuration database"

File = Annotated[Path, typer.Argument(metavar="FILE", help="The network's file.")]


@app.command()
def new(
    file: File,
    *,
    name: Annotated[str, typer.Option("--name", metavar="TEXT", help="What the network is called.")] = "keywright",
    addresses: Annotated[
        str, typer.Option("--addresses", metavar="FIRST-LAST", help="Unicast addresses to give out, in hex.")
    ] = "0001-7FFF",
    json: Json = False,
) -> None:
    """Make a network with one NetKey, drawn at random. The file is the network: keep it as you keep keys.

    Example: keywright mesh network new home.mesh --name home
    """
    begin_network(file, name, os.urandom, time.time(), _range(addresses))
    with opened_network(file, readonly=True) as database:
        _show(file, database, as_json=json, done="made")


@app.command()
def show(file: File, *, json: Json = False) -> None:
    """Show a network: its nodes, addresses, and what was promised to whom. No key is shown.

    Example: keywright mesh network show home.mesh
    """
    with opened_network(file, readonly=True) as database:
        _show(file, database, as_json=json)


@app.command()
def export(
    file: File,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The file to make, of mode 0600.")],
    *,
    json: Json = False,
) -> None:
    """Write the network as a mesh configuration database (JSON 1.0.1), keys included. Other provisioners read it.

    Example: keywright mesh network export home.mesh home.json
    """
    with opened_network(file, readonly=True) as database:
        write_private(out, _WHAT, database.export().encode())
        pending, iv = len(database.all_pending()), database.iv_state
    if json:
        show_json({"file": str(out), "pending": pending, "iv_index": iv.index})
        return
    say(f"{good('wrote')} {out}: it holds the keys of the network in clear")
    if iv.index:
        note(f"the format does not say the IV index, which is {iv.index:08X}")
    if pending:
        note(f"{pending} devices whose provisioning was cut are not in it")


@app.command(name="import")
def import_(
    database: Annotated[Path, typer.Argument(metavar="DATABASE", help="A mesh configuration database, mode 0600.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The network's file, to be made.")],
    *,
    iv_index: Annotated[
        str, typer.Option("--iv-index", metavar="HEX", help="The network's IV index, which the database does not say.")
    ] = "0",
    json: Json = False,
) -> None:
    """Take in a mesh configuration database. What it holds comes out of `export` again, whatever it is.

    Example: keywright mesh network import home.json home.mesh
    """
    try:
        index = int(iv_index, 16)
    except ValueError:
        index = -1
    if not 0 <= index <= 0xFFFFFFFF:
        raise UsageError(f"--iv-index {iv_index}: four octets in hex", hint="for example --iv-index 0000000A")
    import_network(file, read_private(database, _WHAT, DATABASE_BYTES), IvState(index))
    with opened_network(file, readonly=True) as taken:
        _show(file, taken, as_json=json, done="imported into")


@app.command()
def collect(
    store: Annotated[str, typer.Option("--store", metavar="URL", help="The lot's store.")],
    *,
    json: Json = False,
) -> None:
    """Take the nodes of a lot into its network, which is beside its store: then they can be shown and exported.

    Example: keywright mesh network collect --store mesh.db
    """
    with UnitStore.open(store, readonly=True) as units:
        new = collect_nodes(units, lot_in(units, store).lot, time.time())
        file = network_path(units.path)
    if json:
        show_json({"file": str(file), "new": new})
    else:
        say(f"{good('wrote')} {new} nodes into {file}")


@app.command()
def remove(
    file: File,
    uuid: Annotated[str, typer.Argument(metavar="UUID", help="The node's Device UUID.")],
    *,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Forget a node, its device key included; its addresses rest until the IV index has changed.

    The node itself is not told: reset it, or change the network's keys if it is lost.

    Example: keywright mesh network remove home.mesh B02C06ED-B07D-8D97-95F3-C9B1894CFE34
    """
    wanted = uuid_in(uuid, "UUID")
    insist(f"forget the device key of {uuid_text(wanted)}", yes=yes)
    with opened_network(file) as database:
        database.remove(wanted, timestamp(time.time()))
        _show(file, database, as_json=json, done="removed from")


def _range(text: str) -> Range:
    first, _, last = text.partition("-")
    try:
        found = Range(int(first, 16), int(last, 16))
    except ValueError:
        found = Range(0, 0)
    if not ALL_UNICAST.first <= found.first <= found.last <= ALL_UNICAST.last:
        raise UsageError(f"--addresses {text}: unicast addresses go from 0001 to 7FFF", hint="for example 0100-01FF")
    return found


def _show(file: Path, database: NetworkDatabase, *, as_json: bool, done: str = "") -> None:
    if as_json:
        show_json(_document(file, database))
        return
    if done:
        say(f"{good(done)} {file}")
    cdb, iv = database.cdb, database.iv_state
    facts = [
        ("network", cdb.mesh_name),
        ("UUID", cdb.mesh_uuid),
        ("IV index", f"{iv.index:08X}" + (", update in progress" if iv.is_updating else "")),
        *(
            (f"NetKey {key.index:03X}", f"Network ID {network_id}, phase {key.phase}")
            for key, network_id in zip(cdb.net_keys, _network_ids(database), strict=True)
        ),
        ("AppKeys", ", ".join(f"{key.index:03X}" for key in cdb.app_keys) or "none"),
    ]
    for line in pairs(facts):
        say(line)
    rows = [
        (node.unicast_address, f"{max(1, len(node.elements))}", node.uuid, node.security, node.name)
        for node in cdb.nodes
    ]
    if rows:
        for line in table(("address", "elements", "UUID", "security", "name"), rows):
            say(line)
    for refresh in _refreshes(database):
        say(f"  key refresh of NetKey {refresh.net_index:03X}: {refresh.step}, {len(refresh.done)} nodes are through")
    for one in database.all_pending():
        say(f"  cut: {one.uuid.hex().upper()} may be a node at {one.address:04X}")


def _network_ids(database: NetworkDatabase) -> list[str]:
    return [NetKey(bytes.fromhex(key.key)).network_id.hex().upper() for key in database.cdb.net_keys]


def _refreshes(database: NetworkDatabase) -> list[Refresh]:
    found = (refresh_under_way(database, index) for index in refreshes_under_way(database))
    return [refresh for refresh in found if refresh is not None]


def _document(file: Path, database: NetworkDatabase) -> dict[str, Any]:
    cdb = database.cdb
    return {
        "file": str(file),
        "name": cdb.mesh_name,
        "uuid": cdb.mesh_uuid,
        "iv_index": database.iv_state.index,
        "iv_update": database.iv_state.is_updating,
        "net_keys": [
            {"index": key.index, "network_id": network_id, "phase": key.phase}
            for key, network_id in zip(cdb.net_keys, _network_ids(database), strict=True)
        ],
        "app_keys": [key.index for key in cdb.app_keys],
        "nodes": [
            {
                "address": node.unicast_address,
                "elements": max(1, len(node.elements)),
                "uuid": node.uuid,
                "security": node.security,
                "name": node.name,
            }
            for node in cdb.nodes
        ],
        "refreshes": [
            {"net_key": refresh.net_index, "step": refresh.step, "through": len(refresh.done)}
            for refresh in _refreshes(database)
        ],
        "pending": [
            {"uuid": one.uuid.hex().upper(), "address": f"{one.address:04X}"} for one in database.all_pending()
        ],
    }
