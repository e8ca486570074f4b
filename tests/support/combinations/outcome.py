"""What running a combination gives, and what became of tampering with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Attack(NamedTuple):
    """What was tried and refused. `flipped`: where the bit was, empty when nothing covers any bit."""

    flipped: str = ""
    repeated: bool = False
    reordered: bool = False


class Outcome(NamedTuple):
    """Digests of all that was sent, the second one blind to the logical channel, and the tampering variant."""

    digest: bytes
    blind: bytes
    attack: Callable[[], Attack]
