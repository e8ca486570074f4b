"""SCP11 on the element: the channel's initiation, and what it asks of its security domain (Amd F).

Records of the domain beside those of `scp11_objects`: `tries/KVNKID`, failures in a row of a key (2 bytes), and `oce`,
a `RememberedRecord`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Final, final

from keywright.codec.record import U8, Record, Rest, prefixed
from keywright.crypto.aes import AesKey
from keywright.crypto.ec import EcPrivateKey, EcPublicKey
from keywright.element.card import Card
from keywright.element.channel import Channel
from keywright.element.domain import Domain
from keywright.element.key_material import private_key, public_key, secret_key
from keywright.element.scp11_objects import ALLOW_LIST, CERTIFICATES, REMEMBERED, TRIES, key_record_name
from keywright.element.state import Transaction
from keywright.errors import DecodeError
from keywright.globalplatform.messages import Ins, Tag
from keywright.iso7816.apdu import Command, Response
from keywright.scp.scp11.card import Initiation
from keywright.scp.scp11.card_channel import CardChannel
from keywright.scp.scp11.certificates import parse_certificate, parse_certificate_stores
from keywright.scp.scp11.messages import SCP11, AllowList
from keywright.scp.scp11.profile import Profile

PROVIDER: Final = 0x5F20
"""Application provider identifier, a data object of the domain (GPCS table 11-50, tag 5F20 in B6)."""


class RememberedRecord(Record, frozen=True):
    """The last certificate of the chain that was accepted last, and the CA key that accepted it."""

    kvn: U8
    kid: U8
    point: Annotated[bytes, prefixed(1)]
    certificate: Annotated[bytes, Rest()]


@final
class Agreement:
    """What is pending on a channel: the `Initiation` with its domain, for as long as the application stays selected."""

    __slots__ = ("domain", "initiation")

    def __init__(self, card: Card, channel: Channel) -> None:
        self.domain = _Scp11Domain(card, channel)
        self.initiation = Initiation(self.domain)

    @property
    def scp(self) -> int:
        """17."""
        return SCP11


@final
class _Scp11Domain:
    """`scp11.domain.SecurityDomain` over the records of a domain; what it counts and remembers is committed alone."""

    def __init__(self, card: Card, channel: Channel) -> None:
        self._card = card
        self._channel = channel
        self._domain: Domain = channel.domain
        self._place = (0, 0)

    @property
    def profile(self) -> Profile:
        """The element's, with this domain's "i"."""
        return self._card.scp11_profile(self._domain)

    def agreement_key(self, kvn: int, kid: int, /) -> EcPrivateKey | None:
        """SK.SD.ECKA."""
        return private_key(self._domain.key(kvn, kid))

    def static_dek(self, kvn: int, kid: int, /) -> AesKey | None:
        """The key-DEK beside it, if loaded."""
        key = secret_key(self._domain.key(kvn, kid))
        return key if isinstance(key, AesKey) else None

    def ephemeral_key(self, curve: str, /) -> EcPrivateKey:
        """A new key."""
        assert self._card.rng is not None, "checked when the element was made"
        return EcPrivateKey.draw(curve, self._card.rng)

    def ca_key(self, kvn: int, kid: int, /) -> EcPublicKey | None:
        """PK.CA-KLOC."""
        return public_key(self._domain.key(kvn, kid))

    def allow_list(self, kvn: int, kid: int, /) -> AllowList | None:
        """What STORE DATA left for the key."""
        raw = self._domain.read(key_record_name(ALLOW_LIST, kvn, kid))
        return None if raw is None else AllowList.parse(raw)

    def sin(self) -> bytes | None:
        """Data object 42 of the domain."""
        return self._domain.data(Tag.IIN)

    def sdin(self) -> bytes | None:
        """Data object 45 of the domain."""
        return self._domain.data(Tag.CIN)

    def group_id(self, kvn: int, kid: int, /) -> bytes | None:
        """Subject identifier of the leaf that is stored for the key."""
        raw = self._domain.read(key_record_name(CERTIFICATES, kvn, kid))
        if raw is None:
            return None
        try:
            chains = parse_certificate_stores(raw)
            return parse_certificate(chains[0][-1]).subject_id if chains and chains[0] else None
        except DecodeError:
            return None

    def provider_id(self) -> bytes | None:
        """Data object 5F20 of the domain."""
        return self._domain.data(PROVIDER)

    def is_static_session_elsewhere(self) -> bool:
        """Whether SCP11c runs with this domain on another channel."""
        others = (channel for channel in self._card.channels.values() if channel is not self._channel)
        return any(
            isinstance(other.session, CardChannel) and other.session.variant.is_static
            for other in others
            if other.domain.aid == self._domain.aid
        )

    def remembered(self) -> bytes | None:
        """The certificate remembered, while the CA key that accepted it is the same."""
        raw = self._domain.read(REMEMBERED)
        if raw is None:
            return None
        record = RememberedRecord.parse(raw)
        key = self.ca_key(record.kvn, record.kid)
        return record.certificate if key is not None and key.point == record.point else None

    def remember(self, certificate: bytes, /) -> None:
        """Keep it, with the CA key whose use was counted last."""
        key = self.ca_key(*self._place)
        if key is not None:
            record = RememberedRecord(*self._place, key.point, certificate)
            self._card.storage.commit({self._domain.name(REMEMBERED): record.build()})

    def is_blocked(self, kvn: int, kid: int, /) -> bool:
        """Whether the limit of the profile is reached."""
        limit = self.profile.failure_limit
        return bool(limit) and self._tries(kvn, kid) >= limit

    def count(self, kvn: int, kid: int, /, *, accepted: bool) -> None:
        """Count a failure, or begin again from zero; nothing where the profile has no limit."""
        self._place = (kvn, kid)
        if not self.profile.failure_limit:
            return
        before = self._tries(kvn, kid)
        after = 0 if accepted else min(before + 1, 0xFFFF)
        if after != before:
            name = self._domain.name(key_record_name(TRIES, kvn, kid))
            self._card.storage.commit({name: after.to_bytes(2) if after else None})

    def _tries(self, kvn: int, kid: int) -> int:
        return int.from_bytes(self._domain.read(key_record_name(TRIES, kvn, kid)) or b"")


def perform_security_operation(card: Card, channel: Channel, command: Command, change: Transaction) -> Response:
    """PERFORM SECURITY OPERATION: a certificate of the host, or a part of one; ends a running session."""
    del change
    return _fresh(card, channel).perform_security_operation(command)


def mutual_authenticate(card: Card, channel: Channel, command: Command, change: Transaction) -> Response:
    """MUTUAL AUTHENTICATE: SCP11a and c."""
    del change
    initiation = _fresh(card, channel)
    return _opened(channel, initiation, initiation.mutual_authenticate(command))


def internal_authenticate(card: Card, channel: Channel, command: Command, change: Transaction) -> Response:
    """INTERNAL AUTHENTICATE: SCP11b."""
    del change
    initiation = _fresh(card, channel)
    return _opened(channel, initiation, initiation.internal_authenticate(command))


def interrupted(channel: Channel) -> None:
    """A command that is none of the three: what was begun of a certificate is gone, a verified chain stays."""
    pending = channel.opening
    if isinstance(pending, Agreement) and channel.session is None:
        pending.initiation.other()


def _fresh(card: Card, channel: Channel) -> Initiation:
    """The channel's initiation, without a session."""
    pending = channel.opening
    channel.drop_session()
    if not isinstance(pending, Agreement):
        pending = Agreement(card, channel)
    channel.opening = pending
    return pending.initiation


def _opened(channel: Channel, initiation: Initiation, response: Response) -> Response:
    session = initiation.session
    channel.session = session
    if session is not None:
        channel.kvn, channel.guard = session.kvn, session.authorised
    return response


STEPS: Final[Mapping[int, Callable[[Card, Channel, Command, Transaction], Response]]] = {
    Ins.PERFORM_SECURITY_OPERATION: perform_security_operation,
    Ins.EXTERNAL_AUTHENTICATE: mutual_authenticate,
    Ins.INTERNAL_AUTHENTICATE: internal_authenticate,
}
"""The commands of SCP11."""
