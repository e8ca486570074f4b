"""How simulated mesh devices leave their maker, and what goes between a host and the radio beside one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

import msgspec

from keywright.sansio.air import Conditions


class MeshModel(msgspec.Struct, frozen=True):
    """How simulated mesh devices leave their maker.

    output, input: action and size of a value that a person carries, as `numeric:6`; empty for none. static_oob: whether
    a device has one; has_key: a key pair whose public key goes out of band; has_certificate: its records have
    a certificate for it, of `mesh_vendor`. remote: its node is a Remote Provisioning Server. next_elements: how many
    elements its node has after Node Address or Composition Refresh, 0: nothing else than before. iv_test: its IV index
    changes without the 96 hours. certificate_uri: https, where a server has its certificates; its records say so.
    """

    elements: int = 1
    algorithms: Literal["both", "cmac", "hmac"] = "both"
    static_oob: bool = True
    has_key: bool = True
    has_certificate: bool = False
    output: str = ""
    input: str = ""
    conditions: Conditions = Conditions()
    remote: bool = False
    next_elements: int = 0
    iv_test: bool = False
    certificate_uri: str = ""


Hear: TypeAlias = Callable[[bytes, float, int | None], object]
"""hear(data, now, rssi_dbm): takes advertising data, and how strong it came, None where that is not known."""


Carrier = Literal["advertising", "provisioning", "proxy"]
"""What carries frames: advertisements, or the values of the one or the other mesh service of a GATT connection."""


class Sent(msgspec.Struct, frozen=True, array_like=True):
    """What a host sends, and how long it listens at most, in seconds of the radio.

    connects: anew to the GATT service that is to carry frames from now on, before anything is sent.
    """

    frames: tuple[bytes, ...]
    wait_s: float
    carrier: Carrier = "advertising"
    connects: bool = False


class Heard(msgspec.Struct, frozen=True, array_like=True):
    """What came back within these seconds. mtu: ATT_MTU of a connection that was made, else 0."""

    frames: tuple[bytes, ...]
    seconds: float
    mtu: int = 0
