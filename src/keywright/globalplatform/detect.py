"""Which keys a card has, told from one answer to INITIALIZE UPDATE: nothing more is sent, no try is used.

Every candidate key is put through every diversification scheme and size, as the card would have been, and the card
cryptogram recomputed. A scheme is not held to the algorithm it was meant for: cards with triple DES derived bytes as
AES keys exist, and the reverse.

The cryptogram proves one key of three: K-MAC in SCP03, K-ENC in SCP02. A pseudo-random card challenge proves the
other of the two, given the AID of the application that answered. Nothing in the answer depends on the DEK.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Literal, Self, TypeAlias

import msgspec

from keywright.crypto.aes import AesKey
from keywright.crypto.compare import equal
from keywright.crypto.des import TripleDesKey
from keywright.crypto.diversification import OWN, TEMPLATES, derive_key_set
from keywright.crypto.key import Key
from keywright.errors import DecodeError, PolicyError, UsageError, WireError
from keywright.globalplatform.messages import DEFAULT_ISD
from keywright.scp.failure import SCP_AT
from keywright.scp.scp02 import keys as scp02
from keywright.scp.scp02.messages import SCP02
from keywright.scp.scp02.messages import InitializeUpdateResponse as Answer02
from keywright.scp.scp03 import keys as scp03
from keywright.scp.scp03.messages import (
    SCP03,
    I,
    InitializeUpdateResponse,
    InitializeUpdateResponse8,
    InitializeUpdateResponse16,
)

NONE: Final = "none"
"""The scheme of keys that are on the card as they are."""
SCHEMES: Final = (NONE, *TEMPLATES)
"""The schemes that need nothing but the answer: `sp800-108` is tried for the contexts that are given."""

_SIZES: Final = (16, 24, 32)
_ALGORITHMS: Final[tuple[tuple[type[AesKey | TripleDesKey], tuple[int, ...]], ...]] = (
    (AesKey, _SIZES),
    (TripleDesKey, (16, 24)),
)

Answer: TypeAlias = Answer02 | InitializeUpdateResponse
AnyKeySet: TypeAlias = scp02.KeySet | scp03.KeySet
_Raw: TypeAlias = tuple[bytes, bytes, bytes]


class Candidate(msgspec.Struct, frozen=True):
    """Keys that may be the card's, or the masters that its keys were derived from, under a name for people."""

    name: str
    enc: Key
    mac: Key
    dek: Key

    @classmethod
    def of(cls, name: str, enc: bytes, mac: bytes, dek: bytes) -> Self:
        """Three keys of 16, 24 or 32 bytes, all of one size. Raises ValueError otherwise."""
        if len(enc) not in _SIZES or not len(enc) == len(mac) == len(dek):
            raise ValueError("a candidate has keys of 16, 24 or 32 bytes, all of one size")
        return cls(name, Key(enc, "ENC"), Key(mac, "MAC"), Key(dek, "DEK"))

    @classmethod
    def one(cls, name: str, key: bytes) -> Self:
        """One key in all three places: a master, or a base key."""
        return cls.of(name, key, key, key)


GP_TEST: Final = Candidate.one("GlobalPlatform test key", scp03.GP_TEST_KEY)
"""The published test key 40..4F in all three places."""
WELL_KNOWN: Final = (
    GP_TEST,
    Candidate.one("GemXpresso sample key", b"GEMXPRESSOSAMPLE"),
)
"""Published keys that new cards come with; the second is `OPGP_GEMXPRESSO_DEFAULT_KEY` of kaoh/globalplatform."""


class Match(msgspec.Struct, frozen=True):
    """A candidate whose card cryptogram is the card's.

    `challenge`: what the card challenge says of the other key: "confirms" (it is the pseudo-random one, for `aid`),
    "differs" (the card says that it is pseudo-random, but these keys and AIDs make another), "silent".
    """

    candidate: str
    scheme: str
    key_bytes: int
    keys: AnyKeySet
    challenge: Literal["confirms", "differs", "silent"]
    aid: bytes = b""

    @property
    def proven(self) -> tuple[str, ...]:
        """The keys of the set that the answer proves."""
        first, second = ("K-ENC", "K-MAC") if isinstance(self.keys, scp02.KeySet) else ("K-MAC", "K-ENC")
        return (first, second) if self.challenge == "confirms" else (first,)

    @property
    def text(self) -> str:
        """One line for a person."""
        how = "not diversified" if self.scheme == NONE else f"diversified by {self.scheme}"
        line = f"{self.candidate}, {how}, {self.key_bytes * 8} bit; proven: {', '.join(self.proven)}"
        if self.challenge == "differs":
            line += "; the card challenge is of another K-ENC or another application"
        return line


class Detection(msgspec.Struct, frozen=True):
    """What one answer tells. `tried`: how many key sets its cryptogram was recomputed for."""

    answer: Answer
    tried: int
    matches: tuple[Match, ...]

    @property
    def kvn(self) -> int:
        """Key version number that the card answered for."""
        return self.answer.kvn

    @property
    def text(self) -> str:
        """The result in a line for each match, or that there is none."""
        head = f"KVN {self.kvn:02X}, SCP{self.answer.scp:02X}"
        if not isinstance(self.answer, Answer02):
            head += f" i={self.answer.i:02X}"
        if not self.matches:
            return f"{head}: no candidate matched, {self.tried} tried"
        return "\n".join(f"{head}: {match.text}" for match in self.matches)


def read_answer(data: bytes, host_challenge: bytes) -> Answer:
    """An answer to INITIALIZE UPDATE, of SCP02 or SCP03. Raises WireError for any other."""
    scp = data[SCP_AT] if len(data) > SCP_AT else 0
    kinds: dict[tuple[int, int], type[Answer]] = {
        (SCP02, 8): Answer02,
        (SCP03, 8): InitializeUpdateResponse8,
        (SCP03, 16): InitializeUpdateResponse16,
    }
    kind = kinds.get((scp, len(host_challenge)))
    if kind is None:
        raise WireError(
            f"no answer of SCP02 or SCP03 to a host challenge of {len(host_challenge)} bytes: SCP{scp:02X}",
            hint="keys can be told from the answer to INITIALIZE UPDATE only where it has a card cryptogram",
        )
    try:
        return kind.parse(data)
    except DecodeError as error:
        raise WireError(f"{len(data)} bytes that are no answer of SCP{scp:02X} to INITIALIZE UPDATE") from error


def detect(
    data: bytes,
    host_challenge: bytes,
    candidates: Iterable[Candidate],
    *,
    schemes: Sequence[str] = SCHEMES,
    contexts: Sequence[bytes] = (),
    aids: Sequence[bytes] = (DEFAULT_ISD,),
) -> Detection:
    """All candidates that have the card cryptogram of one answer to INITIALIZE UPDATE, `data` without status.

    `schemes`: names or templates (`keywright.crypto.templates`), "none" for keys as they are; `contexts`: for the
    scheme ``sp800-108``. `aids`: of the application that may have answered. Raises WireError for an answer that has no
    cryptogram to compare, UsageError for a scheme that is none, and a template that does not parse.
    """
    unknown = next((scheme for scheme in schemes if scheme not in (*SCHEMES, OWN) and "$" not in scheme), None)
    if unknown is not None:
        raise UsageError(
            f"{unknown!r}: no such diversification scheme",
            hint=f"one of {', '.join(SCHEMES)}, or a template such as $4 F0",
        )
    answer = read_answer(data, host_challenge)
    diversifiers = [(scheme, answer.kdd) for scheme in schemes if scheme != OWN]
    diversifiers += [(OWN, context) for context in contexts]
    tried = 0
    matches: list[Match] = []
    for candidate in candidates:
        for scheme, diversifier in diversifiers:
            for raw in _derived(candidate, scheme, diversifier):
                keys = _key_set(answer, raw)
                if keys is None:
                    continue
                tried += 1
                if equal(_cryptogram(answer, host_challenge, keys), answer.card_cryptogram):
                    verdict, aid = _challenge(answer, keys, aids)
                    matches.append(Match(candidate.name, scheme, len(raw[0]), keys, verdict, aid))
    return Detection(answer, tried, tuple(matches))


def _derived(candidate: Candidate, scheme: str, diversifier: bytes) -> Iterator[_Raw]:
    """Every set of keys that a scheme makes of a candidate, its key taken as one of either algorithm."""
    masters = [candidate.enc.reveal(), candidate.mac.reveal(), candidate.dek.reveal()]
    if scheme == NONE:
        yield masters[0], masters[1], masters[2]
        return
    for algorithm, sizes in _ALGORITHMS:
        for size in sizes if len(masters[0]) in sizes else ():
            try:
                enc, mac, dek = (derive_key_set(algorithm(raw), scheme, diversifier, key_bytes=size) for raw in masters)
            except PolicyError:  # this scheme has another algorithm, or makes no keys of this size
                continue
            yield enc[0], mac[1], dek[2]


def _key_set(answer: Answer, raw: _Raw) -> AnyKeySet | None:
    """The keys as the protocol of the answer uses them; None for a size that it does not have."""
    if not isinstance(answer, Answer02):
        return scp03.KeySet.of(*raw)
    return scp02.KeySet.of(*raw) if len(raw[0]) == 16 else None


def _cryptogram(answer: Answer, host_challenge: bytes, keys: AnyKeySet) -> bytes:
    if isinstance(keys, scp02.KeySet):
        assert isinstance(answer, Answer02), "made for this answer"
        counter = answer.sequence_counter
        enc = scp02.derive(keys.enc, scp02.ENC, counter)
        return scp02.card_cryptogram(enc, host_challenge, counter, answer.card_challenge)
    context = host_challenge + answer.card_challenge
    mac = AesKey(scp03.derive(keys.mac, scp03.S_MAC, context, keys.mac.size))
    return scp03.derive(mac, scp03.CARD_CRYPTOGRAM, context, len(host_challenge))


def _challenge(
    answer: Answer, keys: AnyKeySet, aids: Sequence[bytes]
) -> tuple[Literal["confirms", "differs", "silent"], bytes]:
    """What the card challenge says of the key that the cryptogram does not prove, and for which application."""
    for aid in aids:
        if equal(_pseudo_random(answer, keys, aid), answer.card_challenge):
            return "confirms", aid
    if not isinstance(answer, Answer02) and answer.i & I.PSEUDO_RANDOM and aids:
        return "differs", b""
    return "silent", b""


def _pseudo_random(answer: Answer, keys: AnyKeySet, aid: bytes) -> bytes:
    if isinstance(keys, scp02.KeySet):
        assert isinstance(answer, Answer02), "made for this answer"
        return scp02.pseudo_random_challenge(scp02.derive(keys.mac, scp02.C_MAC, answer.sequence_counter), aid)
    assert not isinstance(answer, Answer02), "made for this answer"
    return scp03.derive_card_challenge(keys.enc, answer.sequence_counter, aid, len(answer.card_challenge))
