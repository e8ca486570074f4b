"""Sessions of `keywright card`, whatever their protocol: from keys, certificates and wishes to an open channel."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from typing import Final, TypeVar

import msgspec

from keywright.cli.card.session10 import open_scp10
from keywright.cli.keyfile import StaticKeys
from keywright.crypto.ec import EcPrivateKey, EcPublicKey
from keywright.errors import AuthenticationError, DecodeError, PolicyError, StatusError, UsageError
from keywright.globalplatform.host import Dialogue, get_value, select
from keywright.globalplatform.messages import CardData, Fci, Ins, Tag
from keywright.globalplatform.profile import DEFAULT, CardProfile
from keywright.globalplatform.remedies import remedy, wrong_keys
from keywright.iso7816.status import SW
from keywright.scp import scp02, scp10, scp11
from keywright.scp.failure import CardCryptogramError, OtherProtocolError
from keywright.scp.level import LEVELS
from keywright.scp.scp02.host import DEFAULT_I, open_implicit, read_counter
from keywright.scp.scp02.host import external_authenticate as authenticate02
from keywright.scp.scp02.host import request_challenge as challenge02
from keywright.scp.scp02.host import verify_card as verify02
from keywright.scp.scp02.messages import SCP02, allowed_levels
from keywright.scp.scp02.messages import I as I02
from keywright.scp.scp02.profile import HOST
from keywright.scp.scp03.host import external_authenticate, request_challenge, verify_card
from keywright.scp.scp03.messages import SCP03, I
from keywright.scp.scp11.certificates import Certificate
from keywright.scp.scp11.host import ANY_CARD, Roots
from keywright.scp.scp11.messages import SCP11, VARIANTS, Variant
from keywright.scp.session import HostSession

PROTOCOLS: Final = ("02", "03", "10", "11a", "11b", "11c")
_S8: Final = 8
_S16: Final = 16
_SCP11_LEVELS: Final = (0x33, 0x11)

Rng = Callable[[int], bytes]
Answer = TypeVar("Answer")


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """The session that is asked for. What is None or empty is chosen by what the card says.

    scp: one of `PROTOCOLS`. aid: of the security domain, empty for the card's own. legacy: SCP02 and SCP10 are allowed.
    profile: the kind of card, None where it is not known. host_id: HostID of SCP11, None for a session without.
    """

    aid: bytes = b""
    scp: str = ""
    level: int | None = None
    kvn: int | None = None
    i: int | None = None
    legacy: bool = False
    profile: CardProfile | None = None
    host_id: bytes | None = None

    @property
    def card(self) -> CardProfile:
        """The kind of card that is meant."""
        return self.profile or DEFAULT

    @property
    def scp02(self) -> scp02.Profile:
        """How the card is expected to do SCP02: one that is not known may answer more freely."""
        return HOST if self.profile is None else self.profile.scp02


class Means(msgspec.Struct, frozen=True, kw_only=True):
    """What a session is opened with. static_name: how the user named the static keys.

    holder: our key and certificates for SCP11a and c; host10: those for SCP10. roots: who may certify the card;
    None: nobody was named. card_key: the card's own key for SCP11, where it came another way than by a certificate.
    today: YYYYMMDD, when certificates have to be valid; None where nobody looks.
    """

    static: StaticKeys | None = None
    static_name: str = ""
    holder: scp11.Holder | None = None
    roots: tuple[Certificate, ...] | None = None
    any_card: bool = False
    card_key: EcPublicKey | None = None
    today: str | None = None
    rng: Rng = os.urandom
    host10: scp10.HostIdentity | None = None


def open_session(wish: Wish, means: Means) -> Dialogue[HostSession]:
    """SELECT, and a session as wished; at the highest level that the card offers if none is.

    A wrong key set of SCP02 or SCP03 ends before anything is counted. Raises UsageError for keys that are missing,
    PolicyError for SCP02 that was not allowed, AuthenticationError naming the likely cause, StatusError, WireError.
    """
    fci = yield from select(wish.aid)
    data = yield from _card_data()
    protocol = wish.scp or _protocol(data, means)
    if protocol.startswith("11"):
        variant = next(variant for variant in VARIANTS if variant.letter == protocol[2:])
        return (yield from _scp11(variant, wish, means, data))
    if protocol == "10":
        if means.host10 is None:
            raise UsageError("SCP10 shows the card who we are", hint="give our key and its certificates with --oce")
        _demand_legacy(wish, "SCP10 is legacy: triple DES, and SHA-1 in its signatures")
        return (yield from open_scp10(means.host10, means.rng, i=wish.i, level=wish.level, profile=wish.card.scp10))
    static = means.static
    if static is None:
        raise UsageError(f"SCP{protocol} needs static keys", hint="give a key file with --keys FILE, or --keys gp-test")
    if protocol == "02":
        return (yield from _scp02(wish, means, static, data, fci))
    try:
        return (yield from _scp03(wish, means, static, data))
    except OtherProtocolError as error:
        if wish.scp or error.scp != SCP02:
            raise
        return (yield from _scp02(wish, means, static, data, fci))


def _card_data() -> Dialogue[CardData | None]:
    value = yield from get_value(Tag.CARD_DATA)
    try:
        return CardData.parse(value) if value else None
    except DecodeError:
        return None


def _protocol(data: CardData | None, means: Means) -> str:
    """The protocol of the card that our keys are for: SCP03 where it does not say, SCP02 only where it has no other."""
    offered = {scp for scp, _ in (data.secure_channels if data is not None else ())}
    if means.static is None and (
        means.holder is not None or means.roots is not None or means.any_card or means.card_key
    ):
        return "11a" if means.holder is not None else "11b"
    return "02" if SCP02 in offered and SCP03 not in offered else "03"


def _level(wished: int | None, highest: int) -> int:
    return highest if wished is None else wished


def _demand_level(wished: int | None, levels: Collection[int], protocol: str) -> None:
    if wished is not None and wished not in levels:
        there = ", ".join(f"{level:02X}" for level in sorted(levels))
        raise UsageError(f"--level {wished:02X}: {protocol} has no such level", hint=f"there are: {there}")


def _scp03(wish: Wish, means: Means, static: StaticKeys, data: CardData | None) -> Dialogue[HostSession]:
    _demand_level(wish.level, LEVELS, "SCP03")
    kvn = static.kvn if wish.kvn is None else wish.kvn
    challenge = means.rng(_S8 if data is None else data.challenge_bytes)
    answer = yield from _told(request_challenge(challenge, kvn=kvn), kvn)
    try:
        opening = verify_card(static.of(answer.kdd), challenge, answer)
    except CardCryptogramError as error:
        raise _not_the_keys(error, means, kvn, answer.kvn) from error
    highest = 0x33 if answer.i & I.R_ENC else 0x13 if answer.i & I.R_MAC else 0x03
    return (
        yield from external_authenticate(opening, _level(wish.level, highest), pads_empty=wish.card.scp03.pads_empty)
    )


def _scp02(
    wish: Wish, means: Means, static: StaticKeys, data: CardData | None, fci: Fci | None
) -> Dialogue[HostSession]:
    _demand_legacy(wish, "SCP02 is legacy: triple DES, and known attacks on its padding")
    kvn = static.kvn if wish.kvn is None else wish.kvn
    named = dict(data.secure_channels).get(SCP02) if data is not None else None
    i = wish.i if wish.i is not None else DEFAULT_I if named is None else named
    _demand_level(wish.level, allowed_levels(i), f"SCP02 i={i:02X}")
    aid = wish.aid or (fci.aid if fci is not None else None)
    if not i & I02.EXPLICIT:
        return (yield from _implicit(static, i, aid, kvn, wish.scp02))
    challenge, profile = means.rng(_S8), wish.scp02
    answer = yield from _told(challenge02(challenge, kvn=kvn, profile=profile, allow_legacy=True), kvn)
    try:
        opening = verify02(
            static.des_of(answer.kdd), challenge, answer, i=i, aid=aid, profile=profile, allow_legacy=True
        )
    except CardCryptogramError as error:
        raise _not_the_keys(error, means, kvn, answer.kvn) from error
    return (yield from authenticate02(opening, _level(wish.level, max(allowed_levels(i)))))


def _implicit(static: StaticKeys, i: int, aid: bytes | None, kvn: int, profile: scp02.Profile) -> Dialogue[HostSession]:
    """A session that the first command will open (GPCS E.1.2.2); wrong keys show at that command only."""
    if aid is None:
        raise UsageError(f"SCP02 i={i:02X} begins with the AID of the domain", hint="name it with --domain")
    counter = yield from read_counter()
    kdd = (yield from get_value(Tag.KDD)) or b""
    return open_implicit(static.des_of(kdd), counter, i=i, aid=aid, kvn=kvn, profile=profile, allow_legacy=True)


def _demand_legacy(wish: Wish, why: str) -> None:
    if not wish.legacy:
        raise PolicyError(why, hint="if the card has nothing else, repeat it with --legacy")


def _told(dialogue: Dialogue[Answer], kvn: int) -> Dialogue[Answer]:
    """INITIALIZE UPDATE; a refusal with what it means for this command."""
    try:
        return (yield from dialogue)
    except StatusError as error:
        known = remedy(Ins.INITIALIZE_UPDATE, error.sw)
        named = f"INITIALIZE UPDATE (KVN {kvn:02X})"
        raise StatusError(error.sw, named, meaning=known.cause, hint=known.hint) from error


def _not_the_keys(error: CardCryptogramError, means: Means, asked: int, answered: int) -> CardCryptogramError:
    named = means.static_name or "the key set"
    cause = wrong_keys(asked, answered, named, is_test_set=means.static_name == "gp-test")
    return CardCryptogramError(f"{error}: {cause.cause}", hint=cause.hint)


def _scp11(variant: Variant, wish: Wish, means: Means, data: CardData | None) -> Dialogue[HostSession]:
    profile = wish.card.scp11
    named = dict(data.secure_channels).get(SCP11) if data is not None else None
    if named is not None and wish.profile is None:
        profile = msgspec.structs.replace(profile, i=named)
    holder = means.holder if variant.authenticates_host else None
    if variant.authenticates_host and holder is None:
        raise UsageError(
            f"SCP11{variant.letter} shows the card who we are", hint="give key and certificates with --oce"
        )
    _demand_level(wish.level, profile.levels, "SCP11")
    kvn = 1 if wish.kvn is None else wish.kvn
    public, group = yield from _card_key(scp11.KeyReference(variant.kid, kvn), means, profile)
    sin, sdin = (b"", b"") if wish.host_id is None or variant.is_static else (yield from _identifiers())
    card = scp11.Card(public, kvn, group, sin, sdin)
    ephemeral = EcPrivateKey.draw(card.public_key.curve, means.rng)
    level = _level(wish.level, next(level for level in _SCP11_LEVELS if level in profile.levels))
    opened = scp11.open_channel(
        variant, card, ephemeral, holder=holder, level=level, host_id=wish.host_id, profile=profile
    )
    return (yield from opened)


def _card_key(key: scp11.KeyReference, means: Means, profile: scp11.Profile) -> Dialogue[tuple[EcPublicKey, bytes]]:
    """The card's key and the subject of its certificate; of a key that was given nothing more is known."""
    if means.card_key is not None:
        return means.card_key, b""
    try:
        chains = yield from scp11.read_certificates(key, profile=profile)
    except StatusError as error:
        if error.sw != SW.REFERENCED_DATA_NOT_FOUND:
            raise
        raise StatusError(
            error.sw,
            f"GET DATA BF21 (certificates of KVN {key.kvn:02X} KID {key.kid:02X})",
            meaning="the card has no such key, or no certificates of it",
            hint="see `card scp11 certificates get`; store them with `certificates put`, or give the key by --card-key",
        ) from error
    certificate = scp11.verify_card(chains, _roots(means), profile=profile, today=means.today)
    if certificate.public_key is None:
        raise AuthenticationError("the card's certificate has no key that can be used")
    return certificate.public_key, certificate.subject_id


def _identifiers() -> Dialogue[tuple[bytes, bytes]]:
    """SIN and SDIN, which go into the keys of a session with a HostID (Amd F 5.2). Raises UsageError."""
    sin, sdin = (yield from get_value(Tag.IIN)), (yield from get_value(Tag.CIN))
    if not sin or not sdin:
        raise UsageError("a session with a HostID needs the card's IIN and CIN, and it lacks one", hint="no --host-id")
    return sin, sdin


def _roots(means: Means) -> Roots:
    if means.roots is not None:
        return means.roots
    if means.any_card:
        return ANY_CARD
    raise UsageError(
        "nobody was named who may certify the card",
        hint="give the root certificate with --root FILE, or take any card's word with --any-card",
    )
