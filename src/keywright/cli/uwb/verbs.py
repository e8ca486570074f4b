"""Every verb of `keywright uwb`, in the order of its help."""

from __future__ import annotations

import typer

from keywright.cli.uwb import attacking, ranging, uci

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
for topic in (ranging.app, attacking.app):
    app.registered_commands += topic.registered_commands
app.registered_groups += uci.app.registered_groups
