"""`keywright mesh scan`."""

from __future__ import annotations

from typing import Annotated

import typer

from keywright.cli.mesh.options import RadioLink, radio_at
from keywright.cli.options import Json, Trace
from keywright.cli.text import say, show_json, table
from keywright.mesh.database.cdb import uuid_text
from keywright.mesh.scanner import DeviceSeen, NetworkSeen, Scanner

app = typer.Typer(rich_markup_mode=None)

USUAL_S = 5


@app.command()
def scan(
    *,
    link: RadioLink = "",
    seconds: Annotated[int, typer.Option("--for", metavar="SECONDS", min=1, help="How long to listen.")] = USUAL_S,
    json: Json = False,
    trace: Trace = None,
) -> None:
    """Listen for devices that want into a network, and for networks. Nothing is sent.

    Example: keywright mesh scan --link 'sim:mesh?count=3'
    """
    scanner = Scanner()
    with radio_at(link, trace) as radio:
        radio.run(scanner, float(seconds))
    if json:
        show_json(
            {
                "devices": [_device(one) for one in scanner.devices],
                "networks": [_network(one) for one in scanner.networks],
            }
        )
        return
    if not scanner.devices and not scanner.networks:
        say(f"nothing was heard in {seconds} s")
    if scanner.devices:
        rows = [(uuid_text(one.uuid), ", ".join(one.oob_places) or "none") for one in scanner.devices]
        for line in table(("unprovisioned device", "OOB information"), rows):
            say(line)
    if scanner.networks:
        rows = [(one.network_id.hex().upper(), f"{one.iv_index:08X}") for one in scanner.networks]
        for line in table(("network", "IV index"), rows):
            say(line)


def _device(seen: DeviceSeen) -> dict[str, object]:
    return {
        "uuid": uuid_text(seen.uuid),
        "oob_information": f"{seen.oob_information:04X}",
        "oob": list(seen.oob_places),
        "uri": seen.uri.hex().upper(),
    }


def _network(seen: NetworkSeen) -> dict[str, object]:
    return {"network_id": seen.network_id.hex().upper(), "iv_index": f"{seen.iv_index:08X}"}
