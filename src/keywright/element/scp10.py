"""SCP10 on the element: the channel's initiation, and what it asks of its security domain (GPCS F).

What it needs lies among the domain's own records. Keys are RSA keys of its key sets, named by KVN and KID, two bytes;
without a name the first of their kind. `data/7F21` is CERT.SD.AUT and `data/5F20` the holder reference of the
application's provider; files that EF.OD names are data objects under their identifiers. `identifier` holds the 8 bytes
that stand for the domain, where its certificate does not tell them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, final

from keywright.codec.tlv import item, items
from keywright.crypto.rsa import RsaPrivateKey, RsaPublicKey
from keywright.element.card import Card
from keywright.element.channel import Channel
from keywright.element.domain import Domain
from keywright.element.key_material import rsa_private_key, verifying_key
from keywright.element.state import KeyRecord, Transaction
from keywright.errors import DecodeError
from keywright.globalplatform.messages import Ins
from keywright.iso7816.apdu import Command, Response
from keywright.scp.scp10.card import Initiation
from keywright.scp.scp10.certificates import CERTIFICATE, Holder
from keywright.scp.scp10.messages import IDENTIFIER_BYTES, SCP10
from keywright.scp.scp10.profile import Profile

PROVIDER: Final = 0x5F20
"""Holder reference of the application's provider, a data object of the domain."""
IDENTIFIER: Final = "identifier"


@final
class Handshake:
    """What is pending on a channel: the `Initiation`, for as long as the application stays selected."""

    __slots__ = ("initiation",)

    def __init__(self, card: Card, channel: Channel) -> None:
        self.initiation = Initiation(DomainOfScp10(card, channel.domain))

    @property
    def scp(self) -> int:
        """16: the protocol's number is hexadecimal 10."""
        return SCP10


@final
class DomainOfScp10:
    """`scp10.SecurityDomain` over the records of a domain."""

    def __init__(self, card: Card, domain: Domain) -> None:
        self._card = card
        self._domain = domain

    @property
    def profile(self) -> Profile:
        """The element's."""
        return self._card.profile.scp10

    @property
    def options(self) -> tuple[int, ...]:
        """The one "i" that the domain offers."""
        i = self._domain.i_of(SCP10)
        return () if i is None else (i,)

    @property
    def identifier(self) -> bytes:
        """The domain's record, else the end or beginning of its certificate's holder reference."""
        kept = self._domain.read(IDENTIFIER)
        if kept is not None:
            return kept
        try:
            inside = dict(items(dict(items(self.certificate or b"")).get(CERTIFICATE, b"")))
        except DecodeError:
            inside = {}
        name = inside.get(PROVIDER, b"").rjust(IDENTIFIER_BYTES, b"\0")
        return name[-IDENTIFIER_BYTES:] if self.profile.identifier_end == "last" else name[:IDENTIFIER_BYTES]

    @property
    def provider_id(self) -> bytes | None:
        """Data object 5F20 of the domain."""
        return self._domain.data(PROVIDER)

    def private_key(self, reference: bytes, /) -> RsaPrivateKey | None:
        """SK.SD.AUT."""
        return next((key for key in map(rsa_private_key, self._records(reference)) if key is not None), None)

    def trust_point(self, reference: bytes, /) -> RsaPublicKey | None:
        """PK.TP_EX.AUT."""
        return next(
            (key for key in map(verifying_key, self._records(reference)) if isinstance(key, RsaPublicKey)), None
        )

    def host_key(self, reference: bytes, /) -> Holder | None:
        """None: this element keeps no validated host key beyond an initiation."""
        del reference
        return None

    def random(self, size: int, /) -> bytes:
        """Of the element's source."""
        assert self._card.rng is not None, "checked when the element was made"
        return self._card.rng(size)

    @property
    def certificate(self) -> bytes | None:
        """Data object 7F21 of the domain, its tag included."""
        value = self._domain.data(CERTIFICATE)
        return None if value is None else item(CERTIFICATE, value)

    def file(self, identifier: int, /) -> bytes | None:
        """Data object of that number."""
        return self._domain.data(identifier)

    def _records(self, reference: bytes) -> tuple[KeyRecord, ...]:
        domain = self._domain
        if not reference:
            return tuple(key for kvn in domain.kvns() for key in domain.keys(kvn))
        found = domain.key(*reference) if len(reference) == 2 else None
        return () if found is None else (found,)


def step(card: Card, channel: Channel, command: Command, change: Transaction) -> Response:
    """Any command of an initiation. Refuses as the protocol says."""
    del change
    pending = channel.opening if isinstance(channel.opening, Handshake) else Handshake(card, channel)
    outcome = pending.initiation.handle(command)
    if outcome.ends_session or outcome.session is not None:
        channel.drop_session()
    channel.opening = pending
    if outcome.session is not None:
        channel.session = outcome.session
    return outcome.response


def interrupted(channel: Channel) -> None:
    """A command that is no step of it: what has to follow at once can no longer do so."""
    pending = channel.opening
    if isinstance(pending, Handshake):
        pending.initiation.interrupted()


STEPS: Final[Mapping[int, Callable[[Card, Channel, Command, Transaction], Response]]] = dict.fromkeys(
    (
        Ins.MANAGE_SECURITY_ENVIRONMENT,
        Ins.PERFORM_SECURITY_OPERATION,
        Ins.GET_CHALLENGE,
        Ins.EXTERNAL_AUTHENTICATE,
        Ins.INTERNAL_AUTHENTICATE,
    ),
    step,
)
"""The commands of SCP10, all of an ISO class."""
