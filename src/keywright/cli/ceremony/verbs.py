"""All verbs of `keywright ceremony`."""

from __future__ import annotations

import typer

from keywright.cli.ceremony import drafts, looking, terminals

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
for module in (drafts, terminals, looking):
    module.add_to(app)
