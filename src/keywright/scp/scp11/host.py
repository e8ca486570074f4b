"""SCP11, off-card entity: verify the card, show certificates, agree on keys, be the session (Amd F).

    chain = yield from read_certificates(key)
    card_key = verify_card(chain, [root], profile).public_key
    session = yield from open_channel(SCP11B, Card(card_key, key), ephemeral)

The receipt is always checked, so an open session is with who holds SK.SD.ECKA.
"""

from __future__ import annotations

import itertools
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Final, Literal, TypeAlias, final

import msgspec

from keywright.codec.tlv import find, item
from keywright.crypto.aes import AesKey
from keywright.crypto.compare import equal
from keywright.crypto.ec import EcPublicKey
from keywright.errors import AuthenticationError, DecodeError, KeywrightError, PolicyError, WireError
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.channels import with_channel
from keywright.iso7816.status import SW, check, status_error
from keywright.scp.scp03.messages import NO_IV
from keywright.scp.scp03.messaging import SHORT_LC, HostMessaging
from keywright.scp.scp11.certificates import (
    Certificate,
    parse_certificate,
    parse_certificate_stores,
    verify_chain,
)
from keywright.scp.scp11.keys import (
    AgreementKey,
    Identifiers,
    Secrets,
    SessionDek,
    derive,
    make_receipt,
    shared_info,
)
from keywright.scp.scp11.messages import (
    AES,
    CERTIFICATE_STORE,
    CRT,
    GET_DATA,
    KEY_LENGTHS,
    KEY_OF_CA,
    KLOC_IDENTIFIERS,
    MORE,
    PERFORM_SECURITY_OPERATION,
    PUBLIC_KEY,
    SCP11,
    SCP11C,
    USAGE_OF_LEVEL,
    Authenticate,
    AuthenticateAnswer,
    ControlReference,
    KeyFound,
    KeyOrIssuer,
    KeyReference,
    Kid,
    Parameter,
    ProtocolParameter,
    Variant,
    parse_ca_identifiers,
)
from keywright.scp.scp11.profile import Ecka, GroupId, Profile

ANY_CARD: Final = "any-card"
"""In place of roots: take the key out of a card's certificate without verifying it. Any card will then do, an
attacker's as well; only for keys that are verified in another way."""

Roots: TypeAlias = Iterable[EcPublicKey | Certificate] | Literal["any-card"]


class Card(msgspec.Struct, frozen=True):
    """The key that a card is asked for, as its verified certificate has it."""

    public_key: EcPublicKey
    """PK.SD.ECKA."""
    kvn: int
    """Key version number of SK.SD.ECKA; its key identifier is the variant's."""
    group_id: bytes = b""
    """CardGroupID: subject identifier of the certificate."""
    sin: bytes = b""
    """Value of GET DATA 42."""
    sdin: bytes = b""
    """Value of GET DATA 45."""


class Holder(msgspec.Struct, frozen=True):
    """Who we are: SK.OCE.ECKA, and the chain that certifies it, the key's own certificate last, without the root."""

    key: AgreementKey
    chain: tuple[bytes, ...]


@final
class HostChannel(HostMessaging):
    """An open secure channel seen from the host. `secure` is the layer to put under a dialogue."""

    __slots__ = ("_dek", "i", "kvn", "receipt", "session", "variant")

    def __init__(
        self,
        variant: Variant,
        secrets: Secrets,
        level: int,
        channel: int,
        kvn: int,
        receipt: bytes,
        profile: Profile,
        static_dek: AesKey | None,
    ) -> None:
        """`receipt` is where chaining begins; zeros if the card gave none."""
        super().__init__(secrets.session, profile.mac_length, level, channel, receipt, pads_empty=profile.pads_empty)
        self._dek = secrets.dek if static_dek is None else SessionDek(static_dek)
        self.i = profile.i
        self.kvn = kvn
        self.receipt = receipt
        self.session = secrets.session
        self.variant = variant

    @property
    def scp(self) -> int:
        """17."""
        return SCP11

    @property
    def sensitive_block(self) -> int:
        """16."""
        return len(NO_IV)

    def encrypt_sensitive(self, data: bytes) -> bytes:
        """Whole blocks under S-DEK or the static key-DEK: AES-CBC, ICV 0. Raises ValueError for a rest."""
        return self._dek.encrypt_sensitive(data)


# ---- the card's certificates ----------------------------------------------------------------------------------


def read_certificates(
    key: KeyReference | bytes, *, channel: int = 0, profile: Profile | None = None
) -> Generator[Command, Response, tuple[tuple[bytes, ...], ...]]:
    """GET DATA BF21: the chains that the card has for a key, or below the CA-KLCC with this identifier.

    Last certificate last in each; a card may have one of each format. Raises StatusError (6A88: none), WireError.
    """
    query = KeyOrIssuer(identifier=key) if isinstance(key, bytes) else KeyOrIssuer(key=key)
    cla = 0x80 if (profile or Profile()).gp_class_for_certificates else 0x00
    response = yield _get_data(cla, CERTIFICATE_STORE, item(CRT, query.build()), channel)
    data = check(response, "GET DATA BF21 (certificates of the card)")
    try:
        return parse_certificate_stores(data)
    except DecodeError as error:
        raise WireError("GET DATA BF21 answered what is no list of certificates") from error


def verify_card(
    chains: Sequence[Sequence[bytes]], roots: Roots, *, profile: Profile | None = None, today: str | None = None
) -> Certificate:
    """The certificate of SK.SD.ECKA out of one of the card's chains, verified up to one of our roots (CA-KLCC).

    `roots`: keys or certificates; `ANY_CARD` verifies nothing. `today`: YYYYMMDD, for the dates; None leaves them.
    Raises AuthenticationError when no chain is good, WireError when it cannot be read, PolicyError for BF20 in a CA's
    certificate: what is wrong with the first.
    """
    anchors = () if roots == ANY_CARD else tuple(roots)
    failure: KeywrightError | None = None
    for chain in chains:
        try:
            parsed = [parse_certificate(raw) for raw in chain]
            if roots == ANY_CARD and parsed and parsed[-1].public_key is not None:
                return parsed[-1]
            return verify_chain(parsed, anchors, "card", profile or Profile(), today=today)
        except (DecodeError, AuthenticationError, PolicyError) as error:
            failure = failure or error
    if isinstance(failure, DecodeError):
        raise WireError("a certificate of the card cannot be read") from failure
    raise failure or AuthenticationError("certificate not accepted: the card has none")


# ---- our certificates -----------------------------------------------------------------------------------------


def find_ca_key(
    chain: Sequence[bytes], *, default_kvn: int, channel: int = 0
) -> Generator[Command, Response, KeyReference]:
    """Which CA-KLOC key of the card verifies our chain: GET DATA 83, else FF33, else the default KVN with KID 10.

    `default_kvn`: that of the session's key. Raises DecodeError when our own certificate cannot be read.
    """
    issuer = parse_certificate(chain[0]).issuer_id
    if not issuer:
        return KeyReference(Kid.CA_KLOC, default_kvn)
    query = item(CRT, KeyOrIssuer(identifier=issuer).build())
    response = yield _get_data(0x80, KEY_OF_CA, query, channel)
    try:
        if response.sw == SW.OK:
            return KeyFound.parse(response.data).key
        response = yield _get_data(0x80, KLOC_IDENTIFIERS, b"", channel)
        if response.sw == SW.OK:
            listed = parse_ca_identifiers(find(response.data, KLOC_IDENTIFIERS) or response.data)
            return dict(listed).get(issuer) or KeyReference(Kid.CA_KLOC, default_kvn)
    except DecodeError as error:
        raise WireError("the card's answer about its CA keys cannot be read") from error
    return KeyReference(Kid.CA_KLOC, default_kvn)


def send_chain(
    chain: Sequence[bytes], ca_key: KeyReference, *, channel: int = 0, profile: Profile | None = None
) -> Generator[Command, Response, None]:
    """PERFORM SECURITY OPERATION for every certificate of our chain, the key's own last; never the root.

    Raises AuthenticationError when the card does not accept one (6600, 6640), StatusError otherwise.
    """
    for command in _chain_commands(chain, ca_key, channel, profile or Profile()):
        response = yield command
        if response.sw >> 8 == _CERTIFICATE_REFUSED:
            raise AuthenticationError(
                f"the card does not accept our certificates: {response.sw:04X}",
                hint="6640: a serial number is not in the allow-list; 6600: a signature is not that of the CA",
            )
        if response.sw != SW.OK:
            raise status_error(response.sw, "PERFORM SECURITY OPERATION")


_CERTIFICATE_REFUSED: Final = 0x66
_CHAINED: Final = 0x10


def _chain_commands(chain: Sequence[bytes], ca_key: KeyReference, channel: int, profile: Profile) -> Iterator[Command]:
    for number, certificate in enumerate(chain, 1):
        p2 = ca_key.kid | (MORE if number < len(chain) else 0)
        yield from _fragments(certificate, ca_key.kvn, p2, channel, profile)


def _fragments(certificate: bytes, kvn: int, p2: int, channel: int, profile: Profile) -> list[Command]:
    style, cla, ins = profile.fragments, with_channel(0x80, channel), PERFORM_SECURITY_OPERATION
    if style == "extended":
        return [Command(cla, ins, kvn, p2, certificate, 0, len(certificate) > SHORT_LC)]
    parts = [certificate[at : at + SHORT_LC] for at in range(0, len(certificate), SHORT_LC)]
    chained = cla if style == "p1" else cla | _CHAINED
    marked = kvn if style == "chained" else kvn | MORE
    return [
        *(Command(chained, ins, marked, p2, part, 0) for part in parts[:-1]),
        Command(cla, ins, kvn, p2, parts[-1], 0),
    ]


# ---- the session ----------------------------------------------------------------------------------------------


def open_channel(
    variant: Variant,
    card: Card,
    ephemeral: AgreementKey,
    *,
    holder: Holder | None = None,
    ca_key: KeyReference | None = None,
    level: int = 0x33,
    key_length: int = 16,
    host_id: bytes | None = None,
    static_dek: AesKey | None = None,
    channel: int = 0,
    profile: Profile | None = None,
) -> Generator[Command, Response, HostChannel]:
    """Open a session: our chain if the variant wants it, then MUTUAL or INTERNAL AUTHENTICATE, receipt checked.

    `ephemeral`: a key made for this session alone, on the curve of the card's key. `holder`: for SCP11a and c; with an
    empty chain the card must remember it. `ca_key`: KID and KVN of the card's CA-KLOC key; None looks it up.
    `key_length`: 16, 24 or 32 bytes. `host_id`: puts it and the card's identifiers into the derivation. `static_dek`:
    the key-DEK that the card has loaded beside its key, in place of S-DEK. Raises ValueError for arguments that do not
    go together, PolicyError for a level or variant that the profile does not have, StatusError, AuthenticationError
    for a receipt or key that is not the card's.
    """
    profile = profile or Profile()
    _check_arguments(variant, card, ephemeral, holder, level, key_length, profile)
    if holder is not None and holder.chain:
        if ca_key is None:
            ca_key = yield from find_ca_key(holder.chain, default_kvn=card.kvn, channel=channel)
        yield from send_chain(holder.chain, ca_key, channel=channel, profile=profile)
    control = _control(variant, level, key_length, host_id)
    command = _authenticate(variant, control, card, ephemeral, channel)
    response = yield command
    name = "MUTUAL AUTHENTICATE" if variant.authenticates_host else "INTERNAL AUTHENTICATE"
    answer, peer = _answer(check(response, name), variant, card, profile)
    static = ephemeral if holder is None else holder.key
    shared = (ephemeral.agree(peer), static.agree(card.public_key))
    secrets = _secrets(variant, card, control, shared, command.data, answer, profile)
    receipt = answer.receipt or NO_IV
    return HostChannel(variant, secrets, level, channel, card.kvn, receipt, profile, static_dek)


def prepare_script(
    card: Card,
    ephemeral: AgreementKey,
    holder: Holder,
    ca_key: KeyReference,
    *,
    level: int = 0x33,
    key_length: int = 16,
    host_id: bytes | None = None,
    static_dek: AesKey | None = None,
    channel: int = 0,
    profile: Profile | None = None,
) -> tuple[HostChannel, tuple[Command, ...]]:
    """A session of SCP11c without a card: the commands that open it, and the session to wrap what shall follow them.

    The whole script works on every card that holds the same key, as often as it is sent; its first answers carry
    nothing new, and those to what was wrapped can be opened in order, each before the next command is wrapped.
    Arguments and errors as for `open_channel`; `tries_layouts` of the profile is of no use without an answer.
    """
    profile = profile or Profile()
    _check_arguments(SCP11C, card, ephemeral, holder, level, key_length, profile)
    control = _control(SCP11C, level, key_length, host_id)
    command = _authenticate(SCP11C, control, card, ephemeral, channel)
    shared = (ephemeral.agree(card.public_key), holder.key.agree(card.public_key))
    secrets = derive(*shared, _info(SCP11C, card, control, profile), control.key_length, profile)
    receipt = make_receipt(secrets.receipt, command.data, item(PUBLIC_KEY, card.public_key.point))
    opening = (*_chain_commands(holder.chain, ca_key, channel, profile), command)
    return HostChannel(SCP11C, secrets, level, channel, card.kvn, receipt, profile, static_dek), opening


def _control(variant: Variant, level: int, key_length: int, host_id: bytes | None) -> ControlReference:
    parameter = variant.parameter | (Parameter.HOST_ID if host_id is not None else 0)
    return ControlReference(ProtocolParameter(SCP11, parameter), USAGE_OF_LEVEL[level], AES, key_length, host_id)


def _authenticate(
    variant: Variant, control: ControlReference, card: Card, ephemeral: AgreementKey, channel: int
) -> Command:
    data = Authenticate(control, ephemeral.public.point).build()
    cla, extended = with_channel(0x80, channel), len(data) > SHORT_LC
    return Command(cla, variant.ins, card.kvn, variant.kid, data, 0, extended)


def _check_arguments(
    variant: Variant,
    card: Card,
    ephemeral: AgreementKey,
    holder: Holder | None,
    level: int,
    key_length: int,
    profile: Profile,
) -> None:
    if (holder is not None) is not variant.authenticates_host:
        raise ValueError(f"SCP11{variant.letter} {'needs' if variant.authenticates_host else 'has no'} holder")
    keys = [ephemeral.public] + ([holder.key.public] if holder is not None else [])
    if any(key.curve != card.public_key.curve for key in keys):
        raise ValueError(f"the card's key is on {card.public_key.curve}, and so must ours be")
    if level not in USAGE_OF_LEVEL or key_length not in KEY_LENGTHS:
        raise ValueError(f"no session of SCP11 has level {level:02X} and keys of {key_length} bytes")
    if level not in profile.levels:
        raise PolicyError(f"the profile of this card does not take security level {level:02X}")
    if not profile.offers(variant.letter):
        raise PolicyError(f"the card (SCP11 i={profile.i:X}) does not offer SCP11{variant.letter}")


def _answer(data: bytes, variant: Variant, card: Card, profile: Profile) -> tuple[AuthenticateAnswer, EcPublicKey]:
    try:
        answer = AuthenticateAnswer.parse(data)
        peer = EcPublicKey.from_point(card.public_key.curve, answer.public_key)
    except DecodeError as error:
        raise WireError("the card's answer is no public key with a receipt") from error
    if answer.receipt is None and not (profile.receipt_may_lack and not variant.authenticates_host):
        raise WireError("the card gave no receipt")
    if variant.is_static and peer != card.public_key:
        raise AuthenticationError("the card answered with another key than its certificate has")
    return answer, peer


def _secrets(
    variant: Variant,
    card: Card,
    control: ControlReference,
    shared: tuple[bytes, bytes],
    data: bytes,
    answer: AuthenticateAnswer,
    profile: Profile,
) -> Secrets:
    """Session keys, the receipt checked. Raises AuthenticationError."""
    for layout in _layouts(profile):
        secrets = derive(*shared, _info(variant, card, control, layout), control.key_length, layout)
        expected = make_receipt(secrets.receipt, data, item(PUBLIC_KEY, answer.public_key))
        if answer.receipt is None or equal(expected, answer.receipt):
            return secrets
    raise AuthenticationError(
        "receipt wrong: the card does not hold the key of its certificate, or derives in another way",
        hint="if the card is right, its profile is not: look at ecka, group_id and the identifiers",
    )


def _info(variant: Variant, card: Card, control: ControlReference, profile: Profile) -> bytes:
    identifiers = None
    if control.host_id is not None:
        identifiers = Identifiers(control.host_id, card.sin, card.sdin, card.group_id)
    return shared_info(variant, control.usage, control.key_length, identifiers, profile)


def _layouts(profile: Profile) -> Iterable[Profile]:
    if not profile.tries_layouts:
        return (profile,)
    kinds = itertools.product(_AGREEMENTS, _GROUPS)
    return (msgspec.structs.replace(profile, ecka=ecka, group_id=group) for ecka, group in kinds)


_AGREEMENTS: Final[tuple[Ecka, ...]] = ("x", "sha1")
_GROUPS: Final[tuple[GroupId, ...]] = ("lv", "raw")


def _get_data(cla: int, number: int, data: bytes, channel: int) -> Command:
    return Command(with_channel(cla, channel), GET_DATA, number >> 8, number & 0xFF, data, 0)
