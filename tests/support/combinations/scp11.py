"""SCP11 a, b and c: certificates and curves, key sizes, S8 and S16, levels, HostID, layouts, fragments (Amd F)."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Generator, Iterator
from typing import Literal, NamedTuple

import msgspec

from keywright.codec.tlv import item
from keywright.element.open import DEFAULT_CIN, DEFAULT_IIN
from keywright.globalplatform.dialogues.keys import put_key
from keywright.globalplatform.dialogues.personalization import store_objects
from keywright.globalplatform.host import store_data
from keywright.globalplatform.messages import StoreData
from keywright.globalplatform.profile import CardProfile
from keywright.iso7816.apdu import Command, Response
from keywright.scp.scp03.host import HostChannel as OwnersChannel
from keywright.scp.scp11.certificates import parse_certificate
from keywright.scp.scp11.host import Card, Holder, open_channel
from keywright.scp.scp11.loading import ca_identifier, certificate_store
from keywright.scp.scp11.messages import (
    CRT,
    KEY_LENGTHS,
    SCP11,
    SCP11A,
    SCP11C,
    VARIANTS,
    I,
    KeyOrIssuer,
    KeyReference,
    Variant,
)
from keywright.scp.scp11.profile import ALL_USAGES, Ecka, Fragments, GroupId, Profile
from keywright.scp.session import HostSession
from support.combinations.sessions import ElementCard, Opening, Talk, loaded, turns
from support.combinations.speech import ask, exchange
from support.scp11 import KLOC, authority, key

KVN = 0x03
"""Not 01: with KVN 00, one bit away, a command would ask for the same key."""
LEVELS = (0x33, 0x11)
MORE_LEVELS = (0x03, 0x13)
CURVES = ("P-384", "P-521", "brainpoolP256r1", "brainpoolP384r1", "brainpoolP512r1")
HOST_ID = b"host 0001"
Form = Literal["x509", "gp"]
FORMS: tuple[Form, ...] = ("x509", "gp")
STYLES: tuple[Fragments, ...] = ("p1", "p1-chained", "chained", "extended")
_PROVIDER = 0x5F20


class Scp11(NamedTuple):
    """One session."""

    variant: Variant
    curve: str = "P-256"
    key_length: int = 16
    s16: bool = False
    level: int = 0x33
    host_id: bytes | None = None
    form: Form = "x509"
    fragments: Fragments = "chained"
    pads_empty: bool = False
    ecka: Ecka = "x"
    group_id: GroupId = "lv"
    owner: bool = True
    channel: int = 0

    @property
    def protocol(self) -> str:
        """Name of the protocol."""
        return "SCP11"

    @property
    def collects(self) -> bool:
        """Never: each answer carries its own."""
        return False

    @property
    def repeats(self) -> bool:
        """With SCP11c, whose key on the card is always the same: its scripts work on every card of a group."""
        return self.variant is SCP11C

    @property
    def implicit(self) -> bool:
        """Never."""
        return False

    @property
    def is_legal(self) -> bool:
        """Whether the card takes the level."""
        return self.level in self.profile.levels

    @property
    def profile(self) -> Profile:
        """What both ends know of the card."""
        return _profile(self)

    def card(self) -> ElementCard:
        """An element whose owner has put keys, certificates and the name of a CA."""
        offers = ((SCP11, self.profile.i),)
        records = loaded(_load(self.variant, self.curve, self.form, owner=self.owner), offers)
        return ElementCard(records, self.channel, profile=CardProfile(scp11=self.profile))

    def open(self) -> Opening:
        """Certificates, if the variant has them, then MUTUAL or INTERNAL AUTHENTICATE."""
        card = Card(key(self.curve, "SD").public, KVN, _group(self.curve, self.form), DEFAULT_IIN, DEFAULT_CIN)
        return (
            yield from open_channel(
                self.variant,
                card,
                key(self.curve, "ephemeral OCE"),
                holder=_holder(self.curve, self.form) if self.variant.authenticates_host else None,
                ca_key=KLOC,
                level=self.level,
                key_length=self.key_length,
                host_id=self.host_id,
                channel=self.channel,
                profile=self.profile,
            )
        )

    def talk(self, host: HostSession) -> Talk:
        """Two commands; whoever is not the owner asks for a key and for CPLC data."""
        if self.variant.authenticates_host and self.owner:
            return (yield from exchange(host))
        identifier = authority("host", self.form, self.curve)[0].identifier
        query = item(CRT, KeyOrIssuer(identifier=identifier).build())
        return (yield from ask(host, Command(0x80, 0xCA, 0x00, 0x83, query, 0), KLOC.build()))


@functools.cache
def _profile(kind: Scp11) -> Profile:
    default = Profile()
    return msgspec.structs.replace(
        default,
        i=default.i | (I.S16 << 8 if kind.s16 else 0),
        usages=default.usages if kind.level in LEVELS else ALL_USAGES,
        fragments=kind.fragments,
        pads_empty=kind.pads_empty,
        ecka=kind.ecka,
        group_id=kind.group_id,
    )


@functools.cache
def _holder(curve: str, form: Form) -> Holder:
    """The host, its whole chain on the curve of the card's key."""
    middle, own = authority("host", form, curve)[1], key(curve, "OCE")
    return Holder(own, (middle.certificate, middle.issue(own.public, "OCE", 0x83)))


@functools.cache
def _chain(curve: str, form: Form) -> tuple[bytes, bytes]:
    middle = authority("card", form, curve)[1]
    return middle.certificate, middle.issue(key(curve, "SD").public, "SD group 7", 0x84)


@functools.cache
def _group(curve: str, form: Form) -> bytes:
    return parse_certificate(_chain(curve, form)[-1]).subject_id


@functools.cache
def _load(
    variant: Variant, curve: str, form: Form, *, owner: bool
) -> Callable[[OwnersChannel], Generator[Command, Response, None]]:
    reference = KeyReference(variant.kid, KVN)
    root = authority("host", form, curve)[0]
    provider = parse_certificate(_holder(curve, form).chain[-1]).subject_id if owner else b"somebody else"

    def load(session: OwnersChannel) -> Generator[Command, Response, None]:
        size = session.max_data
        yield from put_key(key(curve, "SD"), session, kvn=reference.kvn, kid=reference.kid, size=size)
        yield from put_key(root.public, session, kvn=KLOC.kvn, kid=KLOC.kid, size=size)
        stored = (certificate_store(reference, _chain(curve, form)), ca_identifier(KLOC, root.identifier, "host"))
        for payload in stored:
            yield from store_data(payload, size=size, structure=StoreData.BER_TLV)
        yield from store_objects(((_PROVIDER, provider),), size=size)

    return load


def _all() -> Iterator[Scp11]:
    """All choices that cost nothing with P-256; other curves, layouts and styles beside some of them."""
    choices = itertools.product(VARIANTS, KEY_LENGTHS, (False, True), LEVELS, (None, HOST_ID))
    for variant, size, s16, level, host_id in choices:
        kind = Scp11(variant, key_length=size, s16=s16, level=level, host_id=host_id)
        yield from (kind._replace(form=form) for form in (FORMS if variant.authenticates_host else FORMS[:1]))
    for variant, size, level in itertools.product(VARIANTS, KEY_LENGTHS, MORE_LEVELS):
        yield Scp11(variant, key_length=size, level=level)
    for variant, size, level in itertools.product(VARIANTS, KEY_LENGTHS, (0x33, 0x03)):
        yield Scp11(variant, key_length=size, level=level, pads_empty=True)
    for number, (variant, curve) in enumerate(itertools.product(VARIANTS, CURVES)):
        kind = Scp11(variant, curve, KEY_LENGTHS[number % 3], form=FORMS[number % 2])
        yield kind._replace(host_id=HOST_ID if number % 4 else None, level=LEVELS[number // 3 % 2])
        yield kind._replace(s16=True)
    for fragments, form in itertools.product(STYLES, FORMS):
        yield from (Scp11(variant, fragments=fragments, form=form, owner=False) for variant in (SCP11A, SCP11C))
    layouts: tuple[tuple[Ecka, GroupId], ...] = (("x", "lv"), ("x", "raw"), ("sha1", "lv"), ("sha1", "raw"))
    for (ecka, group_id), host_id in itertools.product(layouts, (b"", bytes(255))):
        yield Scp11(SCP11C, ecka=ecka, group_id=group_id, host_id=host_id, form="gp")


def combinations(*, everything: bool = False) -> Iterator[Scp11]:
    """Each on one logical channel, the numbers taking turns; or on every one."""
    for number, kind in enumerate(dict.fromkeys(_all())):
        for channel in turns(number, everything=everything):
            yield kind._replace(channel=channel)
