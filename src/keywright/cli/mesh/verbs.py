"""Every verb of `keywright mesh`, in the order of its help."""

from __future__ import annotations

import typer

from keywright.cli.mesh import certificates, device, keys, network, node, provision, scan

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
for topic in (scan.app, provision.app, certificates.app):
    app.registered_commands += topic.registered_commands
network.app.registered_commands += keys.app.registered_commands
app.add_typer(node.app, name="node", help="Nodes of a network: what they are made of, their keys, what models use.")
app.add_typer(device.app, name="device", help="A mesh device with its own memory.")
app.add_typer(network.app, name="network", help="Networks: their keys, addresses and nodes.")
