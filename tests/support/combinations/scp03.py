"""SCP03: S8 and S16, three key sizes, every level, way to begin and end R-MAC sessions (Amd D)."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Generator, Iterator
from typing import Literal, NamedTuple

from keywright.globalplatform.dialogues.keys import put_key
from keywright.iso7816.apdu import Command, Response
from keywright.scp.level import LEVELS, Level
from keywright.scp.scp03.card import allowed_levels
from keywright.scp.scp03.host import HostChannel, external_authenticate, initialize_update
from keywright.scp.scp03.keys import KeySet
from keywright.scp.scp03.messages import I
from keywright.scp.session import HostSession
from support.cards import ISD
from support.combinations.sessions import ElementCard, Opening, Talk, loaded, turns
from support.combinations.speech import exchange

KVN = 0x30
OPTIONS = tuple(i for i in (a | b | c for a in (0, 1) for b in (0, 0x10) for c in (0, 0x20, 0x60)))
SIZES = (16, 24, 32)
RMac = Literal["", "R-MAC", "R-MAC and R-ENC"]
ADDED: dict[RMac, int] = {"R-MAC": Level.R_MAC, "R-MAC and R-ENC": Level.R_MAC | Level.R_ENC}


def keys_of(size: int) -> KeySet:
    """Three keys of that many bytes."""
    return KeySet.of(*(bytes(range(first, first + size)) for first in range(3)))


class Scp03(NamedTuple):
    """One session. `pads_empty`: an empty data field goes as one encrypted block of padding."""

    i: int
    key_bytes: int
    level: int
    r_mac: RMac = ""
    pads_empty: bool = False
    channel: int = 0

    @property
    def protocol(self) -> str:
        """Name of the protocol."""
        return "SCP03"

    @property
    def collects(self) -> bool:
        """Never: each answer carries its own."""
        return False

    @property
    def repeats(self) -> bool:
        """Never: challenges differ."""
        return False

    @property
    def implicit(self) -> bool:
        """Never."""
        return False

    @property
    def is_legal(self) -> bool:
        """Whether "i" offers the level."""
        return self.level in allowed_levels(self.i)

    def card(self) -> ElementCard:
        """An element whose owner has put the keys."""
        return ElementCard(loaded(_put(self.key_bytes), (), self.i), self.channel)

    def open(self) -> Opening:
        """INITIALIZE UPDATE and EXTERNAL AUTHENTICATE."""
        challenge = bytes(range(16 if self.i & I.S16 else 8))
        opening = yield from initialize_update(
            keys_of(self.key_bytes), challenge, kvn=KVN, channel=self.channel, aid=ISD
        )
        return (yield from external_authenticate(opening, self.level, pads_empty=self.pads_empty))

    def talk(self, host: HostSession) -> Talk:
        """Two commands, inside an R-MAC session if there is one."""
        assert isinstance(host, HostChannel)
        if self.r_mac:
            yield from host.begin_r_mac(encrypted=self.r_mac != "R-MAC")
        right = yield from exchange(host)
        if self.r_mac:
            yield from host.end_r_mac()
        return right


@functools.cache
def _put(size: int) -> Callable[[HostChannel], Generator[Command, Response, None]]:
    keys = keys_of(size)

    def load(session: HostChannel) -> Generator[Command, Response, None]:
        yield from put_key((keys.enc, keys.mac, keys.dek), session, kvn=KVN, size=session.max_data)

    return load


def _all() -> Iterator[Scp03]:
    for i, size, level in itertools.product(OPTIONS, SIZES, LEVELS):
        offered = allowed_levels(i)
        for pads in (False, True)[: 2 if level & Level.C_DEC and level in offered else 1]:
            kind = Scp03(i, size, level, pads_empty=pads)
            yield kind
            for name, added in ADDED.items():
                if not level & Level.R_MAC and level in offered and level | added in offered:
                    yield kind._replace(r_mac=name)


def combinations(*, everything: bool = False) -> Iterator[Scp03]:
    """Each on one logical channel, the numbers taking turns; or on every one."""
    for number, kind in enumerate(_all()):
        for channel in turns(number, everything=everything):
            yield kind._replace(channel=channel)
