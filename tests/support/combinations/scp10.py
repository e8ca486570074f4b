"""SCP10: key transport and agreement, with and without recovery, every level, two and three keys' DES (GPCS App. F)."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Generator, Iterator
from typing import Literal, NamedTuple

from keywright.codec.tlv import items
from keywright.globalplatform.dialogues.keys import put_key
from keywright.globalplatform.dialogues.personalization import store_objects
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.layers import chained, complete
from keywright.sansio.dialogue import through
from keywright.scp.level import Level
from keywright.scp.scp03.host import HostChannel as OwnersChannel
from keywright.scp.scp10 import Certificate, Holder, HostIdentity, Profile, Request, issue_certificate, open_channel
from keywright.scp.scp10.certificates import CERTIFICATE
from keywright.scp.scp10.keys import SEPARATE_KEYS, SHARED_KEYS
from keywright.scp.scp10.messages import SCP10, I
from keywright.scp.session import HostSession
from support.combinations.sessions import ElementCard, Opening, Stream, Talk, loaded, turns
from support.combinations.speech import exchange
from support.scp10 import CARD, HOST, ISSUER, key

I_VALUES = (0, 1, 2, 3)
LEVELS = tuple(c | r << 4 for c, r in itertools.product(range(4), range(4)))
Form = Literal["A", "B", "C", "C values"]
CardKey = Literal["known", "certificate read"]
_PROVIDER = 0x5F20


class Scp10(NamedTuple):
    """One session. `keys`: three shared by both directions, or five. `mutual`: whether the card proves itself."""

    i: int
    level: int
    keys: Literal["shared", "separate"]
    key_bytes: int
    mutual: bool
    card_key: CardKey
    form: Form
    bits: int
    channel: int = 0

    @property
    def protocol(self) -> str:
        """Name of the protocol."""
        return "SCP10"

    @property
    def collects(self) -> bool:
        """Never: each answer carries its own."""
        return False

    @property
    def repeats(self) -> bool:
        """Never: the card's challenge differs."""
        return False

    @property
    def implicit(self) -> bool:
        """Never."""
        return False

    @property
    def is_legal(self) -> bool:
        """All are."""
        return True

    def card(self) -> ElementCard:
        """An element whose owner has put RSA keys, certificate and the name of the provider."""
        return ElementCard(loaded(_load(self.bits), ((SCP10, self.i),)), self.channel)

    def open(self) -> Opening:
        """From MANAGE SECURITY ENVIRONMENT to the last authentication."""
        identity = HostIdentity(
            private_key=key(f"oce_{self.bits}"),
            identifier=HOST,
            certificates=(_certificate(self.form, HOST, "oce", "tp_ex", self.bits),),
            trust_point=key("tp_in_1024").public,
        )
        request = Request(
            i=self.i,
            level=self.level,
            keys=SHARED_KEYS if self.keys == "shared" else SEPARATE_KEYS[:3],
            key_bytes=self.key_bytes,
            mutual=self.mutual,
            channel=self.channel,
        )
        known = Holder(CARD, key(f"sd_{self.bits}").public) if self.card_key == "known" else None
        dialogue = open_channel(identity, Stream("host"), request, card=known, allow_legacy=True)
        return (yield from through(through(dialogue, chained), complete))

    def talk(self, host: HostSession) -> Talk:
        """Two commands."""
        return (yield from exchange(host))


@functools.cache
def _certificate(form: Form, name: bytes, holder: str, signer: str, bits: int) -> Certificate:
    described = form in ("A", "C")
    subject = Holder(name, key(f"{holder}_{bits}").public, ISSUER, b"\x80" if described else b"")
    return issue_certificate(form, subject, key(f"{signer}_{bits if signer == 'tp_ex' else 1024}"), Profile())


@functools.cache
def _load(bits: int) -> Callable[[OwnersChannel], Generator[Command, Response, None]]:
    ((_, certificate),) = items(_certificate("A", CARD, "sd", "tp_in", bits).encoded)

    def load(session: OwnersChannel) -> Generator[Command, Response, None]:
        size = session.max_data
        yield from put_key(key(f"sd_{bits}"), session, kvn=0x71, size=size)
        yield from put_key(key(f"tp_ex_{bits}").public, session, kvn=0x72, size=size)
        yield from store_objects(((CERTIFICATE, certificate), (_PROVIDER, HOST)), size=size)

    return load


def _all() -> Iterator[Scp10]:
    """Every option, level and kind of session keys; the ways of certificates, which are slow, beside some of them."""
    plain = Scp10(0, 0, "shared", 16, mutual=True, card_key="known", form="A", bits=1024)
    for i, level in itertools.product(I_VALUES, LEVELS):
        kind = plain._replace(i=i, level=level)
        yield kind
        if not level & Level.R_ENC:
            yield kind._replace(keys="separate")
        if not i & I.AGREEMENT:
            yield kind._replace(key_bytes=24)
            yield kind._replace(mutual=False)
    forms: tuple[Form, ...] = ("A", "B", "C", "C values")
    for number, (i, form) in enumerate(itertools.product(I_VALUES, forms)):
        level = (0x33, 0x11, 0x13)[number % 3]
        yield plain._replace(i=i, level=level, card_key="certificate read", form=form)
    for i in I_VALUES:
        yield plain._replace(i=i, level=0x33, bits=2048)


def combinations(*, everything: bool = False) -> Iterator[Scp10]:
    """Each on one logical channel, the numbers taking turns; or on every one."""
    for number, kind in enumerate(_all()):
        for channel in turns(number, everything=everything):
            yield kind._replace(channel=channel)
