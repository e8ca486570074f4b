"""What is told to the parts of a lot on a cluster: plain data, no secret among it.

Keystores are named, and so are the files that open them; each station opens its own.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import resources
from typing import Final

import msgspec

from keywright.fob.pool import Plan

PREFIX: Final = "station."


class StationPlan(msgspec.Struct, frozen=True, kw_only=True):
    """One station: where it reads its work, what opens its keys, and the reader it holds.

    `resource` is the custom resource of the machine with the reader; "" for simulated units, which stand anywhere.
    """

    name: str
    store: str
    link: str
    keystore: str
    unlock: str = ""
    resource: str = ""
    plan: Plan = Plan()
    width: int = 64


class LotPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A whole lot: its cluster's head (HOST:PORT), its own name there, its stations, and where to tell the end."""

    gcs: str
    identity: str
    stations: tuple[StationPlan, ...]
    end: str


class Report(msgspec.Struct, kw_only=True):
    """What a station did in one call. `idle`: there was nothing for it to take up.

    `stopped` says why the lot has to stop; `trouble` what this station met, `final` that it would meet it again.
    """

    sealed: int = 0
    failed: int = 0
    left_open: int = 0
    idle: bool = False
    stopped: str = ""
    trouble: str = ""
    hint: str = ""
    code: str = ""
    final: bool = False


class End(msgspec.Struct, kw_only=True):
    """How the driver left the lot: why it stopped, or what went wrong; both empty when nothing is left to do."""

    stopped: str = ""
    trouble: str = ""
    hint: str = ""


def lot_identity(lot: str, order_digest: str, keystore_id: str, created_at: float) -> str:
    """A short name that no other lot has; the lot's actors have it as their namespace."""
    text = "\0".join((lot, order_digest, keystore_id, repr(created_at)))
    return f"keywright-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def actor_name(plan: StationPlan, recipe_digest: str) -> str:
    """The name of a station's actor. Another recipe, other code or another plan is another actor.

    A detached actor goes on with the code it was started with; whoever finds one of another name ends it.
    """
    text = "\0".join((recipe_digest, code_digest(), msgspec.json.encode(plan).decode()))
    return f"{PREFIX}{plan.name}.{hashlib.sha256(text.encode()).hexdigest()[:16]}"


@cache
def code_digest() -> str:
    """SHA-256 over this program's own source files, as hex."""
    digest = hashlib.sha256()
    folders = [resources.files("keywright")]
    while folders:
        for entry in sorted(folders.pop().iterdir(), key=lambda one: one.name):
            if entry.is_dir():
                folders.append(entry)
            elif entry.name.endswith(".py"):
                digest.update(entry.name.encode() + b"\0" + entry.read_bytes())
    return digest.hexdigest()
