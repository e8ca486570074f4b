"""SCP11, card end: take the off-card entity's certificates, agree on keys, and be the session (Amd F).

`Initiation` is one logical channel's way into a session. What it needs of its security domain is `SecurityDomain`; it
keeps nothing persistent itself. A `Refusal` tells the status word to send.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, NamedTuple, final

from keywright.codec.tlv import item
from keywright.crypto.ec import EcPublicKey
from keywright.errors import AuthenticationError, DecodeError, KeywrightError
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.channels import is_chained, is_secured
from keywright.iso7816.refusal import Refusal
from keywright.iso7816.status import SW
from keywright.scp.level import Level
from keywright.scp.scp11.card_channel import CardChannel
from keywright.scp.scp11.certificates import (
    AuthorisationError,
    Certificate,
    Chain,
    WrongPlaceError,
    parse_certificate,
)
from keywright.scp.scp11.domain import SecurityDomain
from keywright.scp.scp11.keys import (
    AgreementKey,
    Identifiers,
    derive,
    make_receipt,
    shared_info,
)
from keywright.scp.scp11.messages import (
    AES,
    KEY_LENGTHS,
    LEVELS_OF_USAGE,
    MORE,
    PUBLIC_KEY,
    SCP11,
    VARIANTS,
    Authenticate,
    AuthenticateAnswer,
    Parameter,
    Variant,
)

CERTIFICATE_REFUSED: Final = 0x6600
NOT_IN_ALLOW_LIST: Final = 0x6640

_UNCOMPRESSED: Final = 0x04


class State(Enum):
    """Where an initiation stands."""

    IDLE = "idle"
    FIRST_PART = "first certificate begun"
    LINKED = "chain begun"
    NEXT_PART = "further certificate begun"
    VERIFIED = "PK.OCE known"
    OPEN = "session open"


class Event(Enum):
    """What a host may send."""

    PART = "part of a certificate"
    CERTIFICATE = "certificate of a CA, complete"
    LAST = "last certificate, complete"
    MUTUAL = "MUTUAL AUTHENTICATE"
    INTERNAL = "INTERNAL AUTHENTICATE"
    OTHER = "any other command"


TABLE: Final[dict[tuple[State, Event], State]] = {
    (State.IDLE, Event.PART): State.FIRST_PART,
    (State.IDLE, Event.CERTIFICATE): State.LINKED,
    (State.IDLE, Event.LAST): State.VERIFIED,
    (State.IDLE, Event.INTERNAL): State.OPEN,
    (State.IDLE, Event.OTHER): State.IDLE,
    (State.FIRST_PART, Event.PART): State.FIRST_PART,
    (State.FIRST_PART, Event.CERTIFICATE): State.LINKED,
    (State.FIRST_PART, Event.LAST): State.VERIFIED,
    (State.FIRST_PART, Event.OTHER): State.IDLE,
    (State.LINKED, Event.PART): State.NEXT_PART,
    (State.LINKED, Event.CERTIFICATE): State.LINKED,
    (State.LINKED, Event.LAST): State.VERIFIED,
    (State.LINKED, Event.OTHER): State.LINKED,
    (State.NEXT_PART, Event.PART): State.NEXT_PART,
    (State.NEXT_PART, Event.CERTIFICATE): State.LINKED,
    (State.NEXT_PART, Event.LAST): State.VERIFIED,
    (State.NEXT_PART, Event.OTHER): State.IDLE,
    (State.VERIFIED, Event.PART): State.FIRST_PART,
    (State.VERIFIED, Event.CERTIFICATE): State.LINKED,
    (State.VERIFIED, Event.LAST): State.VERIFIED,
    (State.VERIFIED, Event.MUTUAL): State.OPEN,
    (State.VERIFIED, Event.INTERNAL): State.OPEN,
    (State.VERIFIED, Event.OTHER): State.VERIFIED,
    (State.OPEN, Event.PART): State.FIRST_PART,
    (State.OPEN, Event.CERTIFICATE): State.LINKED,
    (State.OPEN, Event.LAST): State.VERIFIED,
    (State.OPEN, Event.INTERNAL): State.OPEN,
    (State.OPEN, Event.OTHER): State.OPEN,
}
"""Where each accepted command leads. What is not listed is refused with 6985 and leads to IDLE, as every refused
command does; with a remembered PK.OCE, MUTUAL counts as sent in VERIFIED."""

_CONTINUES: Final = (State.LINKED, State.NEXT_PART)


@final
class _Part:
    """Fragments of one certificate so far, and the header bytes that all of them share."""

    __slots__ = ("data", "place")

    def __init__(self, place: tuple[int, int]) -> None:
        self.place = place
        self.data = b""


class _Party(NamedTuple):
    """Who agrees: the variant, the card's static key, and the certificate the host has shown, if any."""

    variant: Variant
    key: AgreementKey
    holder: Certificate | None


@final
class Initiation:
    """One logical channel's way into a session of SCP11.

    The three commands are given as they came, chaining bit and all: fragments are put together here. `other` is to be
    called for every other command outside a session, `drop` for SELECT, reset, a closed channel and a session whose
    messaging failed.
    """

    __slots__ = ("_chain", "_domain", "_holder", "_part", "_place", "_root", "_state", "session")

    def __init__(self, domain: SecurityDomain) -> None:
        self._domain = domain
        self._state = State.IDLE
        self._part: _Part | None = None
        self._chain: Chain | None = None
        self._place = (0, 0)
        self._root: EcPublicKey | None = None
        self._holder: Certificate | None = None
        self.session: CardChannel | None = None

    @property
    def state(self) -> State:
        """Where it stands."""
        return self._state

    def drop(self) -> None:
        """Forget everything."""
        self._forget(State.IDLE)

    def other(self) -> None:
        """Any other command came: what was begun of a certificate is gone."""
        after = TABLE[self._state, Event.OTHER]
        if after is not self._state:
            self._forget(after)

    def perform_security_operation(self, command: Command) -> Response:
        """PERFORM SECURITY OPERATION: a certificate, or a part of one. It ends a running session.

        Refuses with 6983 (CA key blocked), 6A88 (no such CA key), 6A80 (format, place), 6A81 (BF20), 6600 (signature),
        6640 (not in the allow-list), 6700 (too long), 6882 (secure messaging); the chain is then lost.
        """
        before, event = self._state, _event(command)
        self._refuse_secured(command)
        if before in (State.VERIFIED, State.OPEN):
            self._forget(State.IDLE)
        place = (command.p1 & ~MORE, command.p2 & ~MORE)
        try:
            self._open_for(place)
            raw = self._collect(command, event)
            if raw is not None:
                self._take(raw, place, is_first=before not in _CONTINUES, last=event is Event.LAST)
        except Refusal as refusal:
            self._forget(State.IDLE)
            if refusal.sw not in (SW.AUTHENTICATION_BLOCKED, SW.REFERENCED_DATA_NOT_FOUND):
                self._domain.count(*place, accepted=False)
            raise
        self._state = TABLE[before, event]
        return Response(b"")

    def mutual_authenticate(self, command: Command) -> Response:
        """MUTUAL AUTHENTICATE: SCP11a or c, after the certificates. On success `session` is open.

        Refuses with 6A86 (P2), 6983 (key blocked), 6A88 (key or identifier missing), 6A80 (data, points, usage), 6985
        (no certificates before, or a session of SCP11c elsewhere), 6A81 (BF20 not supported with the variant), 6882
        (secure messaging).
        """
        return self._authenticate(command, Event.MUTUAL)

    def internal_authenticate(self, command: Command) -> Response:
        """INTERNAL AUTHENTICATE: SCP11b. Refuses as `mutual_authenticate`."""
        return self._authenticate(command, Event.INTERNAL)

    def _refuse_secured(self, command: Command) -> None:
        """No command of the handshake has secure messaging (6882)."""
        if is_secured(command.cla):
            self._forget(State.IDLE)
            raise Refusal(SW.SECURE_MESSAGING_NOT_SUPPORTED)

    # ---- certificates -----------------------------------------------------------------------------------------

    def _open_for(self, place: tuple[int, int]) -> None:
        if self._domain.is_blocked(*place):
            raise Refusal(SW.AUTHENTICATION_BLOCKED)
        if self._domain.ca_key(*place) is None:
            raise Refusal(SW.REFERENCED_DATA_NOT_FOUND)

    def _collect(self, command: Command, event: Event) -> bytes | None:
        """The whole certificate once its last part is here."""
        part = self._part
        place = (command.p1 & ~MORE, command.p2)
        if part is None:
            part = self._part = _Part(place)
        elif part.place != place:
            raise Refusal(SW.INCORRECT_DATA)
        part.data += command.data
        if len(part.data) > self._domain.profile.certificate_bytes:
            raise Refusal(SW.WRONG_LENGTH)
        if event is Event.PART:
            return None
        self._part = None
        return part.data

    def _take(self, raw: bytes, place: tuple[int, int], *, is_first: bool, last: bool) -> None:
        profile = self._domain.profile
        if is_first:
            key = self._domain.ca_key(*place)
            assert key is not None, "asked before"
            self._chain, self._place, self._root = Chain(key, "host", profile), place, key
        if self._chain is None or self._place != place or not (last or profile.takes_chains):
            raise Refusal(SW.INCORRECT_DATA)
        certificate = self._verified(raw, self._chain, last=last)
        if is_first:
            self._check_allowed(certificate, place)
        if last:
            self._holder, self._chain = certificate, None
            self._domain.count(*place, accepted=True)
            if profile.remembers_pk:
                self._domain.remember(raw)

    def _verified(self, raw: bytes, chain: Chain, *, last: bool) -> Certificate:
        profile = self._domain.profile
        try:
            certificate = parse_certificate(raw)
            if not (profile.takes_x509 if certificate.is_x509 else profile.takes_gp_certificates):
                raise Refusal(SW.INCORRECT_DATA)
            supported = profile.takes_authorisation("a") or profile.takes_authorisation("c")
            if certificate.authorisation is not None and not supported:
                raise Refusal(SW.FUNCTION_NOT_SUPPORTED)
            chain.add(certificate, last=last)
        except (DecodeError, WrongPlaceError):
            raise Refusal(SW.INCORRECT_DATA) from None
        except AuthorisationError:
            raise Refusal(SW.FUNCTION_NOT_SUPPORTED) from None
        except AuthenticationError:
            raise Refusal(CERTIFICATE_REFUSED) from None
        return certificate

    def _check_allowed(self, certificate: Certificate, place: tuple[int, int]) -> None:
        """The first certificate of a chain is the one that a list is about; serial numbers are compared as numbers."""
        listed = self._domain.allow_list(*place)
        serials = listed.allowed.serials if listed is not None else ()
        if serials and certificate.serial not in {int.from_bytes(serial) for serial in serials}:
            raise Refusal(NOT_IN_ALLOW_LIST)

    # ---- agreement --------------------------------------------------------------------------------------------

    def _authenticate(self, command: Command, event: Event) -> Response:
        kvn, kid = command.p1, command.p2
        before, holder = self._state, self._holder if self._is_trusted() else None
        self._refuse_secured(command)
        self._forget(State.IDLE)
        variant = self._variant(kid, event)
        if self._domain.is_blocked(kvn, kid):
            raise Refusal(SW.AUTHENTICATION_BLOCKED)
        key = self._domain.agreement_key(kvn, kid)
        if key is None:
            raise Refusal(SW.REFERENCED_DATA_NOT_FOUND)
        try:
            asked, peer = self._parsed(command.data, variant, key)
            before, holder = self._standing(before, event, holder)
            response, session = self._agree(command, asked, peer, _Party(variant, key, holder))
        except Refusal as refusal:
            if refusal.sw == SW.INCORRECT_DATA:
                self._domain.count(kvn, kid, accepted=False)
            raise
        self._domain.count(kvn, kid, accepted=True)
        self.session, self._state = session, TABLE[before, event]
        return response

    def _standing(self, before: State, event: Event, holder: Certificate | None) -> tuple[State, Certificate | None]:
        """Where the command counts as sent, and with which certificate."""
        if (before, event) in TABLE and (holder is not None or event is Event.INTERNAL):
            return before, holder
        kept = self._domain.remembered() if self._domain.profile.remembers_pk else None
        if kept is None or event is not Event.MUTUAL:
            mutual = event is Event.MUTUAL
            raise Refusal(self._domain.profile.no_certificate if mutual else SW.CONDITIONS_NOT_SATISFIED)
        return State.VERIFIED, parse_certificate(kept)

    def _is_trusted(self) -> bool:
        """Whether the CA key that accepted the host's certificate is still there."""
        key = self._domain.ca_key(*self._place)
        return self._root is not None and key is not None and key.point == self._root.point

    def _variant(self, kid: int, event: Event) -> Variant:
        profile = self._domain.profile
        for variant in VARIANTS:
            fits = variant.authenticates_host is (event is Event.MUTUAL)
            if variant.kid == kid and fits and profile.offers(variant.letter):
                return variant
        raise Refusal(profile.wrong_p2)

    def _agree(
        self, command: Command, asked: Authenticate, peer: EcPublicKey, party: _Party
    ) -> tuple[Response, CardChannel]:
        domain, profile, control = self._domain, self._domain.profile, asked.control
        variant, key = party.variant, party.key
        holder = self._fitting(party) if variant.authenticates_host else None
        if variant.is_static and domain.is_static_session_elsewhere():
            raise Refusal(SW.CONDITIONS_NOT_SATISFIED)
        identifiers = self._identifiers(control.host_id, variant, command)
        info = shared_info(variant, control.usage, control.key_length, identifiers, profile)
        own = key if variant.is_static else domain.ephemeral_key(key.public.curve)
        static_peer = peer if holder is None or holder.public_key is None else holder.public_key
        try:
            secrets = derive(own.agree(peer), key.agree(static_peer), info, control.key_length, profile)
        except KeywrightError:
            raise Refusal(SW.INCORRECT_DATA) from None
        receipt = make_receipt(secrets.receipt, command.data, item(PUBLIC_KEY, own.public.point))
        session = CardChannel(
            variant,
            secrets,
            LEVELS_OF_USAGE[control.usage],
            command.p1,
            receipt,
            profile,
            authentication=self._authentication(holder),
            authorisation=holder.authorisation if holder is not None else None,
            static_dek=domain.static_dek(command.p1, command.p2 + 1) if profile.static_dek else None,
        )
        return Response(AuthenticateAnswer(own.public.point, receipt).build()), session

    def _parsed(self, data: bytes, variant: Variant, key: AgreementKey) -> tuple[Authenticate, EcPublicKey]:
        try:
            asked = Authenticate.parse(data)
            if asked.public_key[:1] != bytes((_UNCOMPRESSED,)):
                raise Refusal(SW.INCORRECT_DATA)
            peer = EcPublicKey.from_point(key.public.curve, asked.public_key)
        except DecodeError:
            raise Refusal(SW.INCORRECT_DATA) from None
        control = asked.control
        wants_ids = bool(control.protocol.parameter & Parameter.HOST_ID)
        good = (
            control.protocol.scp == SCP11,
            control.protocol.parameter & ~Parameter.HOST_ID == variant.parameter,
            (control.host_id is not None) is wants_ids,
            control.key_type == AES,
            control.key_length in KEY_LENGTHS,
            control.usage in self._domain.profile.usages,
        )
        if not all(good):
            raise Refusal(SW.INCORRECT_DATA)
        return asked, peer

    def _fitting(self, party: _Party) -> Certificate:
        """The host's certificate, if it fits this key and variant."""
        holder = party.holder
        if holder is None or holder.public_key is None or holder.public_key.curve != party.key.public.curve:
            raise Refusal(SW.INCORRECT_DATA)
        supported = self._domain.profile.takes_authorisation(party.variant.letter)
        if holder.authorisation is not None and not supported:
            raise Refusal(SW.FUNCTION_NOT_SUPPORTED)
        return holder

    def _identifiers(self, host_id: bytes | None, variant: Variant, command: Command) -> Identifiers | None:
        if host_id is None:
            return None
        if variant.is_static:
            return Identifiers(host_id, group=self._known(self._domain.group_id(command.p1, command.p2)))
        return Identifiers(host_id, self._known(self._domain.sin()), self._known(self._domain.sdin()))

    def _known(self, identifier: bytes | None) -> bytes:
        if identifier is not None:
            return identifier
        if self._domain.profile.empty_ids:
            return b""
        raise Refusal(SW.REFERENCED_DATA_NOT_FOUND)

    def _authentication(self, holder: Certificate | None) -> int:
        if holder is None:
            return 0
        provider = self._domain.provider_id()
        if self._domain.profile.always_owner or (provider and holder.subject_id == provider):
            return Level.AUTHENTICATED
        return Level.ANY_AUTHENTICATED

    def _forget(self, state: State) -> None:
        self._state = state
        self._part = self._chain = self._holder = self._root = self.session = None
        self._place = (0, 0)


def _event(command: Command) -> Event:
    if is_chained(command.cla) or command.p1 & MORE:
        return Event.PART
    return Event.CERTIFICATE if command.p2 & MORE else Event.LAST
