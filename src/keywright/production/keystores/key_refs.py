"""Names of the keys of units: plain data that any process may have, and no key."""

from __future__ import annotations

from typing import TypeAlias

import msgspec


class Diversified(msgspec.Struct, frozen=True, tag="diversified"):
    """Names the keys of one unit that come from a master.

    `scheme`: as `crypto.diversification` has them. `context`: the KDD of 10 bytes, or for sp800-108 what names the
    unit. `key_bytes`: size of each key.
    """

    master: str
    scheme: str
    context: bytes
    key_bytes: int


class FactorySet(msgspec.Struct, frozen=True, tag="factory"):
    """Names the keys that a unit with these diversification data (10 bytes) came with."""

    name: str
    kdd: bytes


KeyRef: TypeAlias = Diversified | FactorySet
