"""Nodes, models and addresses as they are written at the command line, and what is told of a node."""

from __future__ import annotations

from collections.abc import Mapping
from string import hexdigits
from typing import Annotated, Any, Final, TypeAlias

import typer

from keywright.cli.mesh.options import UUID_OCTETS
from keywright.cli.text import pairs, say, show_json, table
from keywright.errors import UsageError
from keywright.mesh.database.cdb import NodeEntry, uuid_bytes
from keywright.mesh.database.entries import RETRANSMIT_MS, STEPS_MS, Address, Place, model_octets
from keywright.mesh.database.network import NetworkDatabase

NodeName: TypeAlias = Annotated[
    str, typer.Argument(metavar="NODE", help="The node: its address, its Device UUID, or its name.")
]
ModelName: TypeAlias = Annotated[
    str, typer.Argument(metavar="MODEL", help="The model: 1000, or a vendor's with its company first, FFFF0001.")
]
ElementNumber: TypeAlias = Annotated[
    int, typer.Option("--element", metavar="N", min=0, max=255, help="The model's element, counted from 0.")
]

_MODELS: Final = {
    "0000": "Configuration Server",
    "0001": "Configuration Client",
    "0002": "Health Server",
    "0003": "Health Client",
    "0004": "Remote Provisioning Server",
    "0005": "Remote Provisioning Client",
    "1000": "Generic OnOff Server",
    "1001": "Generic OnOff Client",
    "1002": "Generic Level Server",
    "1003": "Generic Level Client",
}
"""Names of the models that are met most (Bluetooth Assigned Numbers 4.4); others go by their number."""
_FEATURES: Final = {0: "off", 1: "on", 2: "not there"}
_MODEL_DIGITS: Final = (4, 8)
_ADDRESS_DIGITS: Final = 4
_INDEX_LAST: Final = 0xFFF
_MOST_STEPS: Final = 0x3F
_MOST_REPEATS: Final = 7
_LONGEST_REPEAT: Final = 0x1F


def node_in(database: NetworkDatabase, text: str) -> NodeEntry:
    """The node that is meant. Raises UsageError for none, and for a name that several have."""
    digits = text.replace("-", "")
    for node in database.cdb.nodes:
        if len(digits) == 2 * UUID_OCTETS and digits.lower() == uuid_bytes(node.uuid).hex():
            return node
        if len(text) <= _ADDRESS_DIGITS and _hex(text) == node.address:
            return node
    named = [node for node in database.cdb.nodes if text and node.name == text]
    if len(named) == 1:
        return named[0]
    if named:
        raise UsageError(f"{len(named)} nodes are called {text}", hint="give the address or the UUID of one of them")
    some = ", ".join(node.unicast_address for node in database.cdb.nodes[:5])
    raise UsageError(
        f"{text}: no such node in this network", hint=f"it has: {some}" if some else "provision a device first"
    )


def place_of(model: str, element: int) -> Place:
    """A model as it was typed. Raises UsageError."""
    digits = model.replace(":", "")
    if len(digits) not in _MODEL_DIGITS or _hex(digits) is None:
        raise UsageError(
            f"{model}: a model is 4 hex digits, or 8 with the company first", hint="keywright mesh node show lists them"
        )
    return Place(element, model_octets(digits.upper()))


def address_of(text: str) -> Address:
    """An address of 4 hex digits, or a label UUID of 32. Raises UsageError."""
    digits = text.replace("-", "")
    value = _hex(digits)
    if value is None or len(digits) not in (_ADDRESS_DIGITS, 2 * UUID_OCTETS):
        raise UsageError(
            f"{text}: an address is 4 hex digits, a label UUID 32", hint="groups go from C000 to FEFF, as C001"
        )
    return value if len(digits) == _ADDRESS_DIGITS else bytes.fromhex(digits)


def index_of(text: str, what: str = "--app-key") -> int:
    """A key index as it is shown, in hex. Raises UsageError."""
    value = _hex(text)
    if value is None or value > _INDEX_LAST:
        raise UsageError(
            f"{what} {text}: a key index is hex, 000 to FFF", hint="keywright mesh network show lists them"
        )
    return value


def period_of(text: str) -> int:
    """A publish period in seconds as one octet (MshPRT 4.2.3.4). Raises UsageError for one that there is not."""
    try:
        milliseconds = round(float(text) * 1000)
    except (ValueError, OverflowError):
        milliseconds = -1
    for place, step in enumerate(STEPS_MS):
        steps, rest = divmod(milliseconds, step)
        if not rest and 0 <= steps <= _MOST_STEPS:
            return place << 6 | steps
    raise UsageError(
        f"--every {text}: no such publish period",
        hint="up to 63 steps of 0.1, 1, 10 or 600 seconds, as 2.5 or 30; 0 for none",
    )


def retransmit_of(text: str) -> int:
    """COUNT:MILLISECONDS as one octet (MshPRT 4.2.3.6). Raises UsageError."""
    count, _, interval = text.partition(":")
    if count.isascii() and count.isdecimal() and interval.isascii() and interval.isdecimal():
        steps, rest = divmod(int(interval), RETRANSMIT_MS)
        if int(count) <= _MOST_REPEATS and not rest and 1 <= steps <= _LONGEST_REPEAT + 1:
            return (steps - 1) << 3 | int(count)
    raise UsageError(
        f"--repeat {text}: no such retransmission", hint="0 to 7 times, 50 to 1600 ms apart in steps of 50, as 3:100"
    )


def _hex(text: str) -> int | None:
    return int(text, 16) if text and set(text) <= set(hexdigits) else None


# ---- telling


def tell_node(database: NetworkDatabase, uuid: bytes, *, as_json: bool) -> None:
    """Tell what the network's memory says of a node, without its device key."""
    node = database.require(uuid)
    entry: Mapping[str, Any] = next(one for one in database.document["nodes"] if uuid_bytes(one["UUID"]) == uuid)
    if as_json:
        show_json(_document(node, entry))
        return
    for line in pairs(_facts(node, entry)):
        say(line)
    rows = [
        (
            f"{element.index}",
            model["modelId"],
            _MODELS.get(model["modelId"].upper(), ""),
            ", ".join(f"{index:03X}" for index in model.get("bind", [])) or "-",
            ", ".join(model.get("subscribe", [])) or "-",
            _publication(model.get("publish")),
        )
        for element, raw in zip(node.elements, entry.get("elements", []), strict=True)
        for model in raw.get("models", [])
    ]
    if rows:
        for line in table(("element", "model", "", "AppKeys", "hears", "publishes"), rows):
            say(line)


def _facts(node: NodeEntry, entry: Mapping[str, Any]) -> list[tuple[str, str]]:
    product = "not read yet" if node.cid is None else f"{node.cid}:{node.pid}, version {node.vid}"
    features = entry.get("features") or {}
    settings = [f"{name} {_FEATURES.get(state, '?')}" for name, state in features.items()]
    return [
        ("node", f"{node.unicast_address}, elements: {max(1, len(node.elements))}"),
        ("UUID", node.uuid),
        *([("name", node.name)] if node.name else []),
        ("product", product),
        ("security", node.security + (", excluded from the network" if node.excluded else "")),
        ("NetKeys", ", ".join(f"{key.index:03X}" for key in node.net_keys) or "none"),
        ("AppKeys", ", ".join(f"{key.index:03X}" for key in node.app_keys) or "none"),
        *([("features", ", ".join(settings))] if settings else []),
        *([("default TTL", f"{entry['defaultTTL']}")] if "defaultTTL" in entry else []),
    ]


def _publication(published: Any) -> str:
    if not isinstance(published, Mapping):
        return "-"
    period = published.get("period") or {}
    seconds = period.get("numberOfSteps", 0) * period.get("resolution", 0) / 1000
    every = f", every {seconds:g} s" if seconds else ""
    return f"{published.get('address')} under {published.get('index', 0):03X}{every}"


def _document(node: NodeEntry, entry: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "address": node.unicast_address,
        "uuid": node.uuid,
        "name": node.name,
        "security": node.security,
        "excluded": node.excluded,
        "configured": node.config_complete,
        "company": node.cid,
        "product": node.pid,
        "version": node.vid,
        "net_keys": [key.index for key in node.net_keys],
        "app_keys": [key.index for key in node.app_keys],
        "features": entry.get("features"),
        "default_ttl": entry.get("defaultTTL"),
        "elements": [
            {
                "index": element["index"],
                "location": element["location"],
                "models": [
                    {
                        "model": model["modelId"],
                        "app_keys": model.get("bind", []),
                        "subscribes": model.get("subscribe", []),
                        "publishes": model.get("publish"),
                    }
                    for model in element.get("models", [])
                ],
            }
            for element in entry.get("elements", [])
        ],
    }
