"""Every verb of `keywright key`, in the order of its help."""

from __future__ import annotations

import typer

from keywright.cli.key import ccc, conformance, documents, locks, unlock

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
for topic in (unlock.app, documents.app, conformance.app):
    app.registered_commands += topic.registered_commands
app.add_typer(locks.app, name="lock", help="A lock with its own memory.")
app.add_typer(ccc.app, name="ccc", help="A simulated vehicle and its devices, with the profile CCC-public.")
