"""`keywright mesh scan`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from keywright.cli.mesh.nodes import node_in
from keywright.cli.mesh.options import RadioLink, radio_at
from keywright.cli.mesh.owner import Owner, owner_at
from keywright.cli.options import Json, Trace
from keywright.cli.text import say, show_json, table
from keywright.errors import DecodeError, UsageError
from keywright.mesh.certificate_uri import read_uri_data
from keywright.mesh.database.cdb import Cdb, NodeEntry, uuid_text
from keywright.mesh.database.keys import keyring
from keywright.mesh.network.keys import NetKey
from keywright.mesh.remote.messages import NO_RSSI
from keywright.mesh.remote.scan_client import Heard, RemoteScan, ScanOver
from keywright.mesh.scanner import DeviceSeen, NetworkSeen, ProxySeen, Scanner
from keywright.production.mesh_network import opened_network

app = typer.Typer(rich_markup_mode=None)

USUAL_S = 5
_MOST_S = 255
_REMOTE = "PB-Remote"

Via: TypeAlias = Annotated[
    str, typer.Option("--via", metavar="NODE", help="Through this node, a remote provisioning server of the network.")
]


@app.command()
def scan(
    *,
    link: RadioLink = "",
    seconds: Annotated[
        int, typer.Option("--for", metavar="SECONDS", min=1, max=_MOST_S, help="How long to listen.")
    ] = USUAL_S,
    network: Annotated[
        Path | None, typer.Option("--network", metavar="FILE", help="A network whose nodes are to be known.")
    ] = None,
    via: Via = "",
    json: Json = False,
    trace: Trace = None,
) -> None:
    """Listen for devices that want into a network, for networks, and for proxies. Nothing is sent.

    With --network its own beacons are checked and its nodes known by their identities. With --via a node of it
    listens, and tells what it hears: that takes messages to it.

    Example: keywright mesh scan --link 'sim:mesh?count=3'
    """
    if via:
        if network is None:
            raise UsageError("--via names a node of a network", hint="name the network's file with --network")
        with owner_at(network, link, trace) as owner:
            devices = scan_through(owner, node_in(owner.database, via), seconds)
        _tell(devices, (), (), seconds, as_json=json)
        return
    scanner = _scanner(network)
    with radio_at(link, trace) as radio:
        radio.listen(lambda data, now, rssi: scanner.receive(data, now, rssi_dbm=rssi), float(seconds))
    _tell(scanner.devices, scanner.networks, scanner.proxies, seconds, as_json=json)


def scan_through(owner: Owner, node: NodeEntry, seconds: int) -> list[DeviceSeen]:
    """What a node hears. Raises LinkError if it is silent, StatusError if it refuses."""
    net_index = node.net_keys[0].index if node.net_keys else 0
    owner.stack.keyring = keyring(owner.database)
    endpoint = RemoteScan.for_devices(owner.stack, node.address, seconds=seconds, net_index=net_index)
    heard: dict[bytes, DeviceSeen] = {}

    def take(event: object) -> bool:
        if isinstance(event, Heard):
            rssi = None if event.rssi == NO_RSSI else event.rssi
            heard[event.uuid] = DeviceSeen(
                event.uuid, event.oob_information, b"", (_REMOTE,), rssi, uri_hash=event.uri_hash
            )
        return isinstance(event, ScanOver)

    end = owner.run(endpoint, 60.0 + seconds, take)
    if end.error is not None:
        raise end.error
    return [*heard.values()]


def _scanner(network: Path | None) -> Scanner:
    if network is None:
        return Scanner()
    with opened_network(network, readonly=True) as database:
        cdb = database.cdb
    return Scanner(_keys(cdb), [node.address for node in cdb.nodes])


def _keys(cdb: Cdb) -> list[NetKey]:
    octets = [text for key in cdb.net_keys for text in (key.key, key.old_key) if text]
    return [NetKey(bytes.fromhex(text)) for text in octets]


def _tell(
    devices: Sequence[DeviceSeen],
    networks: Sequence[NetworkSeen],
    proxies: Sequence[ProxySeen],
    seconds: int,
    *,
    as_json: bool,
) -> None:
    if as_json:
        show_json(
            {
                "devices": [_device(one) for one in devices],
                "networks": [_network(one) for one in networks],
                "proxies": [_proxy(one) for one in proxies],
            }
        )
        return
    if not devices and not networks and not proxies:
        say(f"nothing was heard in {seconds} s")
    if devices:
        heads = ("unprovisioned device", "over", "RSSI", "URI hash", "OOB information")
        for line in table(heads, map(_row, devices)):
            say(line)
    if networks:
        rows = [
            (one.network_id.hex().upper(), f"{one.iv_index:08X}", "yes" if one.is_authenticated else "not checked")
            for one in networks
        ]
        for line in table(("network", "IV index", "ours"), rows):
            say(line)
    if proxies:
        known = [(one.kind, one.network_id.hex().upper() or "not known", _node(one)) for one in proxies]
        for line in table(("proxy", "network", "node"), known):
            say(line)


def _row(seen: DeviceSeen) -> tuple[str, ...]:
    places = ", ".join(seen.oob_places) or "none"
    uri = _uri(seen.uri)
    return (
        uuid_text(seen.uuid),
        ", ".join(seen.over),
        "-" if seen.rssi_dbm is None else f"{seen.rssi_dbm} dBm",
        seen.uri_hash.hex().upper() or "-",
        f"{places} ({uri})" if uri else places,
    )


def _uri(data: bytes) -> str:
    """URI AD data as a URI, in hex where its scheme is not one that is known here."""
    try:
        return read_uri_data(data) if data else ""
    except DecodeError:
        return data.hex().upper()


def _node(seen: ProxySeen) -> str:
    return "not known" if seen.address is None else f"{seen.address:04X}"


def _device(seen: DeviceSeen) -> dict[str, object]:
    return {
        "uuid": uuid_text(seen.uuid),
        "over": list(seen.over),
        "rssi_dbm": seen.rssi_dbm,
        "oob_information": f"{seen.oob_information:04X}",
        "oob": list(seen.oob_places),
        "uri_hash": seen.uri_hash.hex().upper(),
        "uri": seen.uri.hex().upper(),
        "uri_text": _uri(seen.uri),
    }


def _network(seen: NetworkSeen) -> dict[str, object]:
    return {
        "network_id": seen.network_id.hex().upper(),
        "iv_index": f"{seen.iv_index:08X}",
        "is_authenticated": seen.is_authenticated,
    }


def _proxy(seen: ProxySeen) -> dict[str, object]:
    return {
        "kind": seen.kind,
        "network_id": seen.network_id.hex().upper(),
        "address": None if seen.address is None else f"{seen.address:04X}",
    }
