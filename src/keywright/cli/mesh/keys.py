"""`keywright mesh network appkey|refresh|iv-update`: the keys of a network, and what changes in all its nodes."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated, Final

import typer

from keywright.cli.links import confirm
from keywright.cli.mesh.node import LeaveOut, tell_left_out
from keywright.cli.mesh.nodes import index_of
from keywright.cli.mesh.options import RadioLink
from keywright.cli.mesh.owner import Owner, owner_at
from keywright.cli.options import Json, Trace, Yes
from keywright.cli.text import good, note, say, show_json
from keywright.errors import PolicyError, UsageError
from keywright.mesh.database.keys import add_app_key, refresh_under_way
from keywright.mesh.database.network import NetworkDatabase
from keywright.mesh.key_refresh import refresh_keys
from keywright.mesh.network.beaconing import INTERVAL_S
from keywright.mesh.network.iv_index import LEAST_HOURS
from keywright.mesh.network.pdu import IV_INDEX_LAST
from keywright.production.mesh_network import opened_network, timestamp

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

LISTEN_S: Final = INTERVAL_S + 1.0
"""A node sends a beacon at least so often, if nobody else does."""
_KEY_OCTETS: Final = 16
_INDEXES: Final = 0x1000

File = Annotated[Path, typer.Argument(metavar="FILE", help="The network's file.")]
NetKeyName = Annotated[str, typer.Option("--net-key", metavar="INDEX", help="The NetKey's index, in hex.")]


@app.command()
def appkey(
    file: File,
    *,
    index: Annotated[str, typer.Option("--index", metavar="INDEX", help="In hex; without it, the first free.")] = "",
    name: Annotated[str, typer.Option("--name", metavar="TEXT", help="What it is for.")] = "",
    net_key: NetKeyName = "000",
    json: Json = False,
) -> None:
    """Give the network an AppKey, drawn at random and bound to a NetKey. No node has it yet: see `mesh node appkey`.

    Example: keywright mesh network appkey home.mesh --name lights
    """
    with opened_network(file) as database:
        number = index_of(index, "--index") if index else _first_free(database)
        bound = index_of(net_key, "--net-key")
        database.net_key(bound)
        if any(key.index == number for key in database.cdb.app_keys):
            raise UsageError(f"AppKey {number:03X} is there already", hint="leave --index out to get a free one")
        key = os.urandom(_KEY_OCTETS)
        add_app_key(database, number, key, timestamp=timestamp(time.time()), net_index=bound, name=name)
    if json:
        show_json({"file": str(file), "app_key": number, "net_key": bound})
    else:
        say(f"{good('made')} AppKey {number:03X} in {file}")


@app.command()
def refresh(
    file: File,
    *,
    net_key: NetKeyName = "000",
    leave_out_silent: LeaveOut = False,
    link: RadioLink = "",
    yes: Yes = False,
    json: Json = False,
    trace: Trace = None,
) -> None:
    """Replace a NetKey and its AppKeys in every node, or go on with a refresh that was cut (MshPRT 3.11.4).

    New keys are in the file before a node gets them, and so is who has them. A node that is silent stops the phase;
    when it is back, call again.

    Example: keywright mesh network refresh home.mesh --link air:127.0.0.1:35964
    """
    index = index_of(net_key, "--net-key")
    with owner_at(file, link, trace) as owner:
        database = owner.database
        database.net_key(index)
        under_way = refresh_under_way(database, index)
        nodes = [node for node in database.cdb.nodes if any(key.index == index for key in node.net_keys)]
        if under_way is not None:
            note(f"the refresh goes on: {under_way.step}, {len(under_way.done)} of {len(nodes)} nodes are through")
        confirm(link, f"replace NetKey {index:03X} in {len(nodes)} nodes", yes=yes)
        done = owner.ask(
            refresh_keys(
                database,
                index,
                random_bytes=os.urandom,
                timestamp=owner.timestamp,
                leave_out_silent=leave_out_silent,
            )
        )
    if json:
        show_json({"net_key": index, "nodes": len(nodes), "excluded": list(done.excluded), "late": list(done.late)})
        return
    say(f"{good('refreshed')} NetKey {index:03X}: {len(nodes) - len(done.excluded)} of {len(nodes)} nodes have the new")
    tell_left_out(done)


@app.command(name="iv-update")
def iv_update(
    file: File,
    *,
    seconds: Annotated[int, typer.Option("--for", metavar="SECONDS", min=1, help="How long it is told.")] = 30,
    test_mode: Annotated[
        bool, typer.Option("--test-mode", help="Without the 96 hours, for nodes that are in that mode too.")
    ] = False,
    link: RadioLink = "",
    yes: Yes = False,
    json: Json = False,
    trace: Trace = None,
) -> None:
    """Begin an update of the IV index, or end the one in progress, and tell the network by beacon (MshPRT 3.11.5).

    Each state lasts 96 hours at least. Addresses of removed nodes are free again once it is over.

    Example: keywright mesh network iv-update home.mesh --link air:127.0.0.1:35964
    """
    with owner_at(file, link, trace, test_mode=test_mode) as owner:
        followed = _listen(owner)
        if not followed:
            _check_time(owner, test_mode=test_mode)
            before = owner.stack.iv_index.state
            what = "end the IV update" if before.is_updating else f"go from IV index {before.index:08X} to the next"
            confirm(link, what, yes=yes)
            owner.stack.update_iv_index(owner.radio.now, test_mode=test_mode)
            owner.note_iv_index()
            owner.agreeing = 0
        owner.beaconing.hurry(owner.radio.now)
        owner.radio.run(owner.to_network(owner.stack), float(seconds))
        now, heard = owner.stack.iv_index.state, owner.agreeing
    if json:
        show_json({"iv_index": now.index, "iv_update": now.is_updating, "followed": followed, "beacons": heard})
        return
    state = f"IV index {now.index:08X}, " + ("update in progress" if now.is_updating else "normal operation")
    say(f"{good('followed' if followed else 'changed')}: {state}")
    say(f"{heard} beacons of nodes say the same" if heard else "no beacon of a node has said the same yet")
    if now.is_updating:
        note(f"call again after {LEAST_HOURS} hours to end it")


def _listen(owner: Owner) -> bool:
    """Whether the network is further than its memory, which follows then."""
    before = owner.stack.iv_index.state
    owner.radio.run(
        owner.to_network(owner.stack), LISTEN_S, lambda: owner.stack.iv_index.state != before or owner.agreeing > 0
    )
    return owner.stack.iv_index.state != before


def _check_time(owner: Owner, *, test_mode: bool) -> None:
    iv = owner.stack.iv_index
    if iv.state.index == IV_INDEX_LAST and not iv.state.is_updating:
        raise PolicyError("no IV index is left", hint="provision the nodes into a new network")
    left_s = iv.may_change_at - owner.radio.now
    if left_s > 0 and not test_mode:
        when = timestamp(time.time() + left_s)
        raise PolicyError(
            f"the IV index stays as it is for {LEAST_HOURS} hours (MshPRT 3.11.5)", hint=f"call again after {when}"
        )


def _first_free(database: NetworkDatabase) -> int:
    taken = {key.index for key in database.cdb.app_keys}
    found = next((index for index in range(_INDEXES) if index not in taken), None)
    if found is None:
        raise UsageError("every AppKey index is taken", hint="export the network and take keys out that nobody uses")
    return found
