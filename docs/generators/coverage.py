"""What of each protocol exists: asked of the code, so that a missing end is a "no"."""

from __future__ import annotations

from importlib.util import find_spec
from typing import NamedTuple

from generators.markdown import table
from support.rooms import ROOMS


class Row(NamedTuple):
    """A protocol and the modules that would be each of its sides; an empty name is a "no" by nature."""

    protocol: str
    host: str
    card: str
    simulated: str
    hardware: str


_PCSC = "keywright.link.pcsc"
_ELEMENT = "keywright.element.open"
_AIR = "keywright.element.over_the_air"
_TRANSPORT = "keywright.fob.transport"
_ROWS = (
    Row("ISO 7816-4 commands, status words, channels", "keywright.iso7816.layers", _ELEMENT, _ELEMENT, _PCSC),
    Row("T=0, T=1, ISO 14443-4 blocks", "keywright.iso7816.t1.host", "keywright.iso7816.t1.card", _TRANSPORT, ""),
    Row("SCP02 secure channel (legacy)", "keywright.scp.scp02.host", "keywright.scp.scp02.card", _ELEMENT, _PCSC),
    Row("SCP03 secure channel", "keywright.scp.scp03.host", "keywright.scp.scp03.card", _ELEMENT, _PCSC),
    Row("SCP10 secure channel (experimental)", "keywright.scp.scp10.host", "keywright.scp.scp10.card", _ELEMENT, _PCSC),
    Row("SCP11 a, b, c secure channels", "keywright.scp.scp11.host", "keywright.scp.scp11.card", _ELEMENT, _PCSC),
    Row("SCP80 over-the-air packets and scripts", "keywright.scp.scp80.host", "keywright.scp.scp80.card", _AIR, ""),
    Row("SCP81 administration over HTTP", "keywright.scp.scp81.server", "keywright.scp.scp81.card", _AIR, ""),
    Row("GlobalPlatform: keys, data, life cycle", "keywright.globalplatform.host", _ELEMENT, _ELEMENT, _PCSC),
    Row(
        "GlobalPlatform: load, install, extradite, delete",
        "keywright.globalplatform.dialogues.content",
        "keywright.element.installation",
        _ELEMENT,
        _PCSC,
    ),
    Row(
        "GlobalPlatform: DAP, tokens, receipts",
        "keywright.globalplatform.tokens",
        "keywright.element.delegation",
        _ELEMENT,
        _PCSC,
    ),
    Row(
        "Bluetooth Mesh provisioning: PB-ADV, PB-GATT, PB-Remote",
        "keywright.mesh.provisioner",
        "keywright.mesh.device",
        "keywright.fob.mesh_device",
        "",
    ),
    Row(
        "Aliro access protocol and documents: lock, user device",
        "keywright.aliro.lock",
        "keywright.aliro.user_device",
        "keywright.fob.aliro.applet",
        _PCSC,
    ),
    Row(
        "Aliro over Bluetooth: lock, user device",
        "keywright.aliro.ble.reader",
        "keywright.aliro.ble.user_device",
        "keywright.fob.aliro_ble",
        "",
    ),
    Row(
        "CCC Digital Key, our profile CCC-public",
        "keywright.ccc.vehicle",
        "keywright.ccc.device",
        "keywright.fob.garage",
        "",
    ),
    Row(
        "UWB ranging of CCC and Aliro: setup and rounds",
        "keywright.uwb.ranging.responder",
        "keywright.uwb.ranging.initiator",
        "keywright.uwb.air",
        "",
    ),
    Row(
        "UCI, host and UWB subsystem",
        "keywright.uwb.uci.host",
        "keywright.uwb.uci.device",
        "keywright.fob.uci",
        "",
    ),
    Row(
        "Credential applet (our own)",
        "keywright.fob.credential.host",
        "keywright.fob.credential.applet",
        "keywright.fob.fobs",
        "",
    ),
)

_PLANNED = {
    "remote": "remote element management",
    "esim": "eSIM",
    "mesh": "Bluetooth Mesh",
    "zigbee": "Zigbee",
    "aliro": "Aliro",
    "ccc": "CCC Digital Key",
    "uwb": "UWB",
    "rkp": "Android Remote Key Provisioning",
    "service": "HTTP services",
    "console": "a web console",
}


def exists(module: str) -> bool:
    """Whether a module is there, without running it."""
    try:
        return bool(module) and find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def protocols() -> str:
    """Protocol by side."""
    rows = [
        (
            row.protocol,
            *("yes" if exists(module) else "no" for module in (row.host, row.card, row.simulated, row.hardware)),
        )
        for row in _ROWS
    ]
    return table(("", "host end", "card end", "simulated device", "real reader (PC/SC)"), rows)


def planned() -> str:
    """The rooms of the plan that do not exist, in words."""
    missing = [name for name in ROOMS if not exists(f"keywright.{name}")]
    return f"Planned, not here yet: {', '.join(_PLANNED[name] for name in missing)}."


def both() -> str:
    """Table and sentence."""
    return f"{protocols()}\n\n{planned()}"


PARTS = {"README.md": {"coverage": both}}
