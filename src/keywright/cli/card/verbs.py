"""Every verb of `keywright card`, in the order of its help."""

from __future__ import annotations

from keywright.cli.card import keys, look

app = look.app
app.add_typer(keys.app, name="keys")
