"""`keywright cluster`: machines that carry a lot together."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from keywright.cli.text import note, printable
from keywright.production.cluster import head as machines
from keywright.production.cluster.address import parse_head
from keywright.production.cluster.machine import serve_head, serve_node

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

TokenFile = Annotated[
    Path, typer.Option("--token", metavar="FILE", help="The cluster's token, the same on every machine (mode 0600).")
]
Readers = Annotated[
    list[str] | None, typer.Option("--reader", metavar="URI", help="A reader of this machine; may be given often.")
]


@app.command()
def token(file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to make.")]) -> None:
    """Make the token of a cluster. Whoever has it runs code on every machine of the cluster.

    Example: keywright cluster token line.token
    """
    machines.new_token(file)
    note(f"wrote {file}; copy it to every machine, mode 0600")


@app.command()
def head(
    address: Annotated[str, typer.Argument(metavar="HOST:PORT", help="Where other machines reach this one.")],
    *,
    token: TokenFile,
    reader: Readers = None,
) -> None:
    """Be the head of a cluster until Ctrl-C; what is killed of it is started again.

    Example: keywright cluster head 10.0.0.1:6379 --token line.token
    """
    serve_head(parse_head(address), token, tuple(reader or ()), _say)


@app.command()
def node(
    address: Annotated[str, typer.Argument(metavar="HOST:PORT", help="The cluster's head.")],
    *,
    token: TokenFile,
    reader: Readers = None,
) -> None:
    """Join a cluster with this machine's readers until Ctrl-C; what is killed of it is started again.

    Example: keywright cluster node 10.0.0.1:6379 --token line.token --reader 'pcsc:ACS ACR122U'
    """
    serve_node(parse_head(address), token, tuple(reader or ()), _say)


def _say(text: str) -> None:
    note(printable(text))
