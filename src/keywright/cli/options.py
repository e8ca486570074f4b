"""Options that mean the same for every verb."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

Link: TypeAlias = Annotated[
    str, typer.Option("--link", metavar="URI", help="The device: sim:element, pcsc:READER, tcp:HOST:PORT, ...")
]
Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Answer as JSON.")]
Trace: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--trace", metavar="FILE", help="Append the exchange to FILE (mode 0600; keys masked, unless simulated)."
    ),
]
Yes: TypeAlias = Annotated[bool, typer.Option("--yes", help="Do not ask before something that cannot be undone.")]
Keys: TypeAlias = Annotated[
    str, typer.Option("--keys", metavar="FILE|gp-test", help="The card's keys: a key file, or the public test keys.")
]
