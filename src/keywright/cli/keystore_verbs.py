"""Every verb of `keywright keystore`, in the order of its help."""

from __future__ import annotations

import typer

from keywright.cli import keystore, keystore_audit, keystore_factory, keystore_states

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

for topic in (keystore.app, keystore_audit.app, keystore_factory.app, keystore_states.app):
    app.registered_commands += topic.registered_commands

__all__ = ["app"]
