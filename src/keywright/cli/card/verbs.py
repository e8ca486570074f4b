"""Every verb of `keywright card`, in the order of its help."""

from __future__ import annotations

import typer

from keywright.cli.card import (
    cap,
    content,
    data,
    key_verbs,
    keys,
    look,
    ota,
    ota_admin,
    scp11,
    script,
    shell,
    sign,
    states,
)

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

for topic in (look.app, content.app, cap.on_card, states.app, script.app):
    app.registered_commands += topic.registered_commands
app.command()(data.personalise)
app.command()(shell.shell_of(app))
app.add_typer(keys.app, name="keys")
app.add_typer(data.app, name="data", help="Read and write data objects.")
app.add_typer(cap.app, name="cap", help="CAP files: what is in them, lint, hash, sign.")
app.add_typer(sign.app, name="sign", help="Sign tokens, check receipts.")
app.registered_groups += scp11.app.registered_groups
app.add_typer(ota.app, name="ota", help="Over the air: packets (SCP80), administration by HTTP (SCP81).")

__all__ = ["app", "key_verbs", "ota_admin"]
