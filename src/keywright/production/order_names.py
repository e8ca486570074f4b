"""What an order may say of the devices themselves, as their supplier lists them: then units are prepared beforehand.

Three columns of an order are more than kept: `kdd`, `uid` and `public_key`. An empty value says nothing. Each names one
device only, so none may stand twice in an order, and a unit made anew, which is another device, does not inherit it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from keywright.crypto.ec import EcPublicKey
from keywright.crypto.templates import KDD_BYTES
from keywright.errors import DecodeError

CURVE: Final = "P-256"
UUID: Final = "mesh_uuid"
"""Column: Device UUID of the unit's mesh radio, hex."""
STATIC_OOB: Final = "mesh_static_oob"
"""Column: its static OOB value, hex. In the store it is sealed (`mesh_lot`)."""
PUBLIC_KEY: Final = "mesh_public_key"
"""Column: its public key, an uncompressed point in hex."""
BLE_ADDRESS: Final = "ble_address"
"""Column: the Bluetooth address of the unit's radio, as C0:11:22:33:44:55, with /P after a public one."""
OF_RADIO: Final = (UUID, STATIC_OOB, PUBLIC_KEY, BLE_ADDRESS)
"""These, too, are of one device, and not inherited."""
_UID_BYTES: Final = 32
_POINT_BYTES: Final = 65
_UNCOMPRESSED: Final = 0x04


class Named(msgspec.Struct, frozen=True):
    """What the order says of one unit's device; None for what it does not say.

    `kdd`: key diversification data, 10 bytes; `uid`: the chip's identity as `identify` reads it; `public_key`: the
    point of a key pair that the device comes with, 04 || X || Y on P-256.
    """

    kdd: bytes | None = None
    uid: bytes | None = None
    public_key: bytes | None = None


def named(extra: Mapping[str, str]) -> Named:
    """What the optional columns of an order say of a unit's device."""
    return Named(**{name: bytes.fromhex(extra[name]) for name in NAMES if extra.get(name)})


def without_names(extra: Mapping[str, str]) -> dict[str, str]:
    """The optional columns that say nothing of one device alone."""
    return {name: value for name, value in extra.items() if name not in NAMES and name not in OF_RADIO}


def fault(name: str, value: str) -> str:
    """Why a value cannot stand in a column, or nothing; every other column takes anything."""
    check = NAMES.get(name)
    if check is None or not value:
        return ""
    try:
        return check(bytes.fromhex(value))
    except ValueError:
        return "is not hex: pairs of 0 to 9 and A to F"


def normal(name: str, value: str) -> str:
    """The one spelling of a value of such a column."""
    return value.replace(" ", "").lower() if name in NAMES else value


def _kdd(value: bytes) -> str:
    return "" if len(value) == KDD_BYTES else f"has {len(value)} bytes; key diversification data have {KDD_BYTES}"


def _uid(value: bytes) -> str:
    return "" if len(value) <= _UID_BYTES else f"has {len(value)} bytes; at most {_UID_BYTES} are allowed"


def _public_key(value: bytes) -> str:
    if len(value) != _POINT_BYTES or value[0] != _UNCOMPRESSED:
        return f"is no point as {_POINT_BYTES} bytes that begin with {_UNCOMPRESSED:02X}"
    try:
        EcPublicKey.from_point(CURVE, value)
    except DecodeError as error:
        return f"is no public key on {CURVE}: {error}"
    return ""


NAMES: Final[Mapping[str, Callable[[bytes], str]]] = {"kdd": _kdd, "uid": _uid, "public_key": _public_key}
"""The columns by name, each with what says why a value is none."""
