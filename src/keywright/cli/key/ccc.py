"""`keywright key ccc`: a simulated vehicle and devices with the profile CCC-public, in one file."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final, TypeAlias

import typer

from keywright.ccc.pairing import Paired
from keywright.ccc.records import Role
from keywright.ccc.sharing import Time
from keywright.ccc.statements import Entitlement
from keywright.ccc.vehicle import Plan
from keywright.cli.options import Json
from keywright.cli.text import caution, good, note, pairs, say, show_json
from keywright.errors import UsageError
from keywright.fob.garage import Garage, opened_garage
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.layers import transmit
from keywright.link import Loopback
from keywright.sansio.dialogue import drive

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

ENTITLEMENTS: Final = {"unlock": Entitlement.UNLOCK, "drive": Entitlement.DRIVE, "trunk": Entitlement.TRUNK}
ROLES: Final = {Role.OWNER: "owner", Role.FRIEND: "friend"}
_UNITS_S: Final = {"h": 3600, "d": 86_400}

File: TypeAlias = Annotated[
    Path, typer.Argument(metavar="GARAGE", help="The file of vehicle and devices; made if there is none.")
]
Device: TypeAlias = Annotated[str, typer.Argument(metavar="DEVICE", help="The name of a device, as you like.")]
May: TypeAlias = Annotated[
    str, typer.Option("--may", metavar="LIST", help="What the key is to do: unlock,drive,trunk.")
]


@app.command()
def pair(
    garage: File,
    device: Device,
    *,
    new_password: Annotated[bool, typer.Option("--new-password", help="Give the vehicle a new one first.")] = False,
    wrong: Annotated[bool, typer.Option("--wrong", help="Type another password, to see that it is counted.")] = False,
    json: Json = False,
) -> None:
    """Make a device the owner's, and register its key. A password is good for seven attempts, over all runs.

    Example: keywright key ccc pair garage.kw alice
    """
    with opened_garage(garage, os.urandom, _now) as place:
        if new_password or not place.has_offer:
            place.offer()
            note("the vehicle has a new password")
        place.enter(device, wrong=wrong)
        paired: Paired = drive(place.pair(), _link(place, device))
        receipt = place.track(device)
    if json:
        show_json({"device": device, "slot": paired.slot.hex(), "receipt": receipt.serial})
        return
    say(good(f"{device} is the owner's"))
    _say([("slot", paired.slot.hex().upper()), ("registered as", str(receipt.serial))])


@app.command()
def unlock(
    garage: File,
    device: Device,
    *,
    may: May = "unlock",
    standard: Annotated[bool, typer.Option("--standard", help="Do not try the fast transaction.")] = False,
    json: Json = False,
) -> None:
    """Hold a device to the vehicle. Ends with 0 if it opened.

    Example: keywright key ccc unlock garage.kw alice
    """
    with opened_garage(garage, os.urandom, _now) as place:
        opened = drive(place.unlock(Plan(fast=not standard, entitlements=_bits(may))), _link(place, device))
    kind = "fast" if opened.is_fast else "standard"
    if json:
        show_json({"device": device, "slot": opened.slot.hex(), "transaction": kind})
        return
    say(good("open") + f" ({kind} transaction, slot {opened.slot.hex().upper()})")


@app.command()
def share(
    garage: File,
    owner: Annotated[str, typer.Argument(metavar="OWNER", help="The owner's device.")],
    friend: Annotated[str, typer.Argument(metavar="FRIEND", help="The friend's device.")],
    *,
    may: May = "unlock",
    lasting: Annotated[str, typer.Option("--for", metavar="TIME", help="How long: 8h, 7d; else for ever.")] = "",
    json: Json = False,
) -> None:
    """Share a key with a friend's device, and register it. The vehicle learns of it when the friend comes.

    Example: keywright key ccc share garage.kw alice bob --for 8h
    """
    with opened_garage(garage, os.urandom, _now) as place:
        until = _now() + _seconds(lasting) if lasting else None
        receipt = place.share(owner, friend, _bits(may), Time(not_after=until))
    if json:
        show_json({"device": friend, "slot": receipt.slot.hex(), "receipt": receipt.serial, "until": until})
        return
    say(good(f"{friend} has a key"))
    _say([("slot", receipt.slot.hex().upper()), ("may", may), ("registered as", str(receipt.serial))])


@app.command()
def revoke(garage: File, device: Device, *, json: Json = False) -> None:
    """Refuse a device's key for good; with the owner's go those that it shared.

    Example: keywright key ccc revoke garage.kw bob
    """
    with opened_garage(garage, os.urandom, _now) as place:
        slot = place.slot_of(device)
        if slot is None:
            raise UsageError(f"{device} has no key for the vehicle")
        gone = place.revoke(slot)
        place.delete(device)
    if json:
        show_json({"device": device, "revoked": [one.hex() for one in gone]})
        return
    say(caution("revoked") + " " + ", ".join(one.hex().upper() for one in gone))


@app.command()
def track(garage: File, *, json: Json = False) -> None:
    """Show what the key tracking server and the vehicle know of keys.

    Example: keywright key ccc track garage.kw
    """
    with opened_garage(garage, os.urandom, _now) as place:
        registered = place.server.registered(place.vehicle.identifier)
        known = dict(place.memory.all_keys())
        names = {place.slot_of(name): name for name in place.devices()}
    for one in registered:
        key = known.get(one.slot)
        state = "not seen yet" if key is None else "known to the vehicle"
        role, device = ROLES.get(one.role, "?"), names.get(one.slot, "")
        if json:
            show_json({"slot": one.slot.hex(), "device": device, "role": role, "state": state})
        else:
            say(f"{one.slot.hex().upper()}  {role:8}{device:16}{state}")
    if not registered and not json:
        say("no key is registered")


def _link(place: Garage, name: str) -> Callable[[Command], Response]:
    return transmit(Loopback(place.device(name), f"device {name}"))


def _now() -> int:
    return int(time.time())


def _bits(text: str) -> int:
    bits = 0
    for name in text.split(","):
        if name not in ENTITLEMENTS:
            raise UsageError(f"--may {text}: no {name!r}", hint=f"some of {','.join(ENTITLEMENTS)}")
        bits |= ENTITLEMENTS[name]
    return bits


def _seconds(text: str) -> int:
    unit, number = _UNITS_S.get(text[-1:]), text[:-1]
    if unit is None or not (number.isascii() and number.isdigit() and int(number)):
        raise UsageError(f"--for {text}: a number of hours or days", hint="for example --for 8h")
    return int(number) * unit


def _say(lines: list[tuple[str, str]]) -> None:
    for line in pairs(lines):
        say(line)
