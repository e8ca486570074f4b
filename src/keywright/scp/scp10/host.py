"""SCP10, off-card entity: authenticate with certificates and RSA, then protect what goes through (GPCS App. F).

SCP10 is legacy: its messages rest on triple DES and its signatures on SHA-1. `open_channel` refuses until told that
this is wanted.
"""

from __future__ import annotations

from collections.abc import Generator

import msgspec

from keywright.crypto.rsa import RsaPrivateKey, RsaPublicKey
from keywright.errors import AuthenticationError, DecodeError, PolicyError, WireError
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.channels import with_channel
from keywright.iso7816.status import SW, check
from keywright.scp.scp10.authentication import Rng, check_proof, convey, conveyed, prove
from keywright.scp.scp10.certificates import Certificate, Holder, verify_certificate
from keywright.scp.scp10.host_channel import HostChannel
from keywright.scp.scp10.keys import (
    PROTECTION,
    SHARED_KEYS,
    Reference,
    Source,
    agreed,
    read_parameters,
    session_keys,
    transported,
)
from keywright.scp.scp10.messages import (
    ALGORITHM,
    CERTIFICATES,
    DECIPHER_P1,
    DECIPHER_P2,
    EXTERNAL_AUTHENTICATE,
    EXTERNAL_ONLY,
    GET_CHALLENGE,
    GET_DATA,
    I_VALUES,
    IDENTIFIER_BYTES,
    INTERNAL_AUTHENTICATE,
    MAC_KEY,
    MANAGE_SECURITY_ENVIRONMENT,
    MUTUAL,
    NO_CERTIFICATES,
    PERFORM_SECURITY_OPERATION,
    SECRET_BYTES,
    SELF_DESCRIPTIVE,
    ControlReference,
    I,
    InternalAuthenticate8,
    InternalAuthenticate16,
    SecurityEnvironment,
    SecurityParameters,
    challenge_bytes,
)
from keywright.scp.scp10.profile import Profile


class HostIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """What the off-card entity holds."""

    private_key: RsaPrivateKey
    """SK.OCE.AUT."""
    identifier: bytes
    """8 bytes of the holder reference of its certificate, see `Holder.identifier`."""
    certificates: tuple[Certificate, ...] = ()
    """CERT.OCE.AUT, last of its chain; none when the card knows the key already."""
    trust_point: RsaPublicKey | None = None
    """PK.TP_IN.AUT, which verifies the card's certificate; not needed when the card's key is given."""
    public_key_reference: bytes | None = None
    """Names the key that verifies the first certificate, or with no certificate the host's own; None: the default."""
    private_key_reference: bytes | None = None
    """Names the card's private key; None: the default."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """The session that the host wants."""

    i: int = I.NO_RECOVERY
    """Option: key transport or agreement, signatures with or without recovery."""
    level: int = 0x33
    """Protection of commands and answers; any combination of the four bits, or none."""
    keys: tuple[tuple[int, int], ...] = SHARED_KEYS
    """Session keys to be made: (template, usage)."""
    key_bytes: int = 16
    """Length of transported keys, 16 or 24; agreed keys have 16."""
    mutual: bool = True
    """Whether the card proves itself by INTERNAL AUTHENTICATE; with key agreement it must."""
    channel: int = 0
    """Logical channel, 0 to 19."""


def open_channel(
    identity: HostIdentity,
    rng: Rng,
    request: Request | None = None,
    *,
    card: Holder | None = None,
    card_form: int = SELF_DESCRIPTIVE,
    profile: Profile | None = None,
    allow_legacy: bool = False,
) -> Generator[Command, Response, HostChannel]:
    """Open a secure channel (GPCS F.1.4). Commands longer than short are left to `chained`.

    `rng`: from a number to that many random bytes; a session is as secret as they are. `card`: its key and reference,
    when known; else its certificate is read and verified, `card_form` being BE or AE.

    Raises PolicyError without `allow_legacy`, for agreement without INTERNAL AUTHENTICATE or between keys of two
    lengths, and for transport of more keys than fit the card's; ValueError for a session that cannot be (a level
    without its keys); AuthenticationError when the card refuses the host, or its own certificate or answer does not
    verify; WireError for answers of another form; StatusError otherwise.
    """
    if not allow_legacy:
        raise PolicyError(
            "SCP10 is legacy: triple DES, and SHA-1 in its signatures",
            hint="use SCP03 or SCP11; for a card that has nothing else, allow legacy protocols explicitly",
        )
    return (yield from _Opening(identity, rng, request or Request(), card, profile or Profile()).run(card_form))


class _Opening:
    """One initiation, from MANAGE SECURITY ENVIRONMENT to the open session."""

    def __init__(
        self, identity: HostIdentity, rng: Rng, request: Request, card: Holder | None, profile: Profile
    ) -> None:
        self.identity, self.rng, self.request, self.profile = identity, rng, request, profile
        self.agreement = bool(request.i & I.AGREEMENT)
        self.card = card
        if request.i not in I_VALUES or request.level & ~PROTECTION:
            raise ValueError(f"no SCP10 with i={request.i:02X} and level {request.level:02X}")
        if len(identity.identifier) != IDENTIFIER_BYTES:
            raise ValueError(f"the host's identifier has {IDENTIFIER_BYTES} bytes, not {len(identity.identifier)}")
        if self.agreement and not request.mutual:
            raise PolicyError("key agreement is finished by INTERNAL AUTHENTICATE; it cannot be left out")
        self.parameters = SecurityParameters(request.level, tuple(map(self._reference, request.keys))).build()
        try:
            self.references: tuple[Reference, ...] = read_parameters(self.parameters, request.i)[1]
        except DecodeError as error:
            raise ValueError(f"this session cannot be: {error}") from None

    def _reference(self, key: tuple[int, int]) -> tuple[int, bytes]:
        kind, usage = key
        if self.agreement:
            return kind, ControlReference(usage).build()
        counter = self.rng(8) if kind == MAC_KEY else None
        return kind, ControlReference(usage, None, self.rng(self.request.key_bytes), counter).build()

    def run(self, card_form: int) -> Generator[Command, Response, HostChannel]:
        """The whole dialogue."""
        yield from self._environment()
        for certificate in self.identity.certificates:
            response = yield self._command(PERFORM_SECURITY_OPERATION, 0, certificate.form, certificate.encoded)
            _refuse_failed(response, "PERFORM SECURITY OPERATION [verify certificate]")
        card = self.card or (yield from self._card_certificate(card_form))
        if self.agreement and card.public_key.bits != self.identity.private_key.public.bits:
            raise PolicyError("key agreement needs keys of one length at card and host")
        if not self.agreement:
            yield from self._transport(card)
        challenge = yield from self._get_challenge()
        secret = self.rng(SECRET_BYTES) if self.agreement else b""
        yield from self._external(card, challenge, secret)
        source: Source = transported
        if self.request.mutual:
            card_secret = yield from self._internal(card)
            source = agreed(secret, card_secret) if self.agreement else transported
        keys = session_keys(self.references, source, self.profile)
        return HostChannel(keys, self.request.i, self.request.level, self.request.channel, self.profile)

    def _command(self, ins: int, p1: int, p2: int, data: bytes = b"", le: int | None = None) -> Command:
        return Command(with_channel(0x00, self.request.channel), ins, p1, p2, data, le)

    def _environment(self) -> Generator[Command, Response, None]:
        identity = self.identity
        p1 = MUTUAL if self.request.mutual else EXTERNAL_ONLY
        p2 = CERTIFICATES if identity.certificates else NO_CERTIFICATES
        data = SecurityEnvironment(
            ALGORITHM | self.request.i, identity.public_key_reference, identity.private_key_reference
        )
        response = yield self._command(MANAGE_SECURITY_ENVIRONMENT, p1, p2, data.build())
        check(response, "MANAGE SECURITY ENVIRONMENT")

    def _card_certificate(self, form: int) -> Generator[Command, Response, Holder]:
        if self.identity.trust_point is None:
            raise PolicyError("the card's key is neither known nor can its certificate be verified")
        response = yield Command(with_channel(0x80, self.request.channel), GET_DATA, 0x7F, 0x21, b"", 0)
        check(response, "GET DATA (card certificate)")
        try:
            return verify_certificate(response.data, form, self.identity.trust_point, self.profile)
        except DecodeError as error:
            raise WireError(f"the card's certificate does not parse: {error}") from error

    def _transport(self, card: Holder) -> Generator[Command, Response, None]:
        try:
            room = card.public_key.padding_for(self.parameters)
        except ValueError as error:
            raise PolicyError(
                f"these session keys do not fit the card's key of {card.public_key.bits} bits",
                hint="ask for fewer session keys: one may serve commands and answers",
            ) from error
        ps = bytes(byte or 0xFF for byte in self.rng(room)) if self.profile.random_padding else b"\xff" * room
        cryptogram = card.public_key.encrypt_with(self.parameters, ps)
        response = yield self._command(PERFORM_SECURITY_OPERATION, DECIPHER_P1, DECIPHER_P2, cryptogram)
        check(response, "PERFORM SECURITY OPERATION [decipher]")

    def _get_challenge(self) -> Generator[Command, Response, bytes]:
        response = yield self._command(GET_CHALLENGE, 0, 0, b"", 0)
        check(response, "GET CHALLENGE")
        if len(response.data) != challenge_bytes(self.request.i):
            raise WireError(f"a challenge of {len(response.data)} bytes does not fit i={self.request.i:02X}")
        return response.data

    def _external(self, card: Holder, challenge: bytes, secret: bytes) -> Generator[Command, Response, None]:
        own, i = self.identity.private_key, self.request.i
        if self.agreement:
            context = challenge + card.identifier(self.profile)
            data = convey(own, card.public_key, self.parameters + secret, context, i, self.rng)
        else:
            data = prove(own, self.parameters + challenge, i, self.rng)
        _refuse_failed((yield self._command(EXTERNAL_AUTHENTICATE, 0, 0, data)), "EXTERNAL AUTHENTICATE")

    def _internal(self, card: Holder) -> Generator[Command, Response, bytes]:
        """INTERNAL AUTHENTICATE; the card's half of the secret with key agreement."""
        own, i, identifier = self.identity.private_key, self.request.i, self.identity.identifier
        challenge = self.rng(challenge_bytes(i))
        data = (InternalAuthenticate8 if self.agreement else InternalAuthenticate16)(challenge, identifier)
        response = yield self._command(INTERNAL_AUTHENTICATE, 0, 0, data.build(), 0)
        _refuse_failed(response, "INTERNAL AUTHENTICATE")
        if self.agreement:
            secret = conveyed(own, card.public_key, response.data, challenge + identifier, i)
            if len(secret) < SECRET_BYTES:
                raise WireError(f"the card's half of the secret has {len(secret)} bytes, not {SECRET_BYTES}")
            return secret[-SECRET_BYTES:]
        keys = b"".join(transported(reference)[0] for reference in self.references)
        check_proof(card.public_key, keys + challenge, response.data, i)
        return b""


def _refuse_failed(response: Response, doing: str) -> None:
    if response.sw == SW.AUTHENTICATION_FAILED:
        raise AuthenticationError(f"{doing} refused: the card did not accept our signature or certificate")
    check(response, doing)
