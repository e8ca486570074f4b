"""Documents of an issuer for tests: the same keys and times in each run."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, Final

from hypothesis import settings
from hypothesis import strategies as st

from keywright.aliro.documents.access_data import (
    AccessData,
    AccessExtension,
    AccessRule,
    Extension,
    Pattern,
    Recurrence,
    Schedule,
)
from keywright.aliro.documents.document import Document, Validity
from keywright.aliro.documents.revocation_data import APPEND, OVERWRITE, RevocationData, RevocationEntry
from keywright.aliro.issuer import CredentialIssuer
from keywright.crypto.ec import EcPrivateKey

ISSUER: Final = EcPrivateKey.from_scalar("P-256", bytes([1] * 32))
AUTHORITY: Final = EcPrivateKey.from_scalar("P-256", bytes([2] * 32))
CREDENTIAL: Final = EcPrivateKey.from_scalar("P-256", bytes([3] * 32)).public
OTHER: Final = EcPrivateKey.from_scalar("P-256", bytes([4] * 32))
NOW: Final = 1_750_000_000
"""2025-06-15T15:06:40Z, a Sunday."""
DAY: Final = 86400
VALIDITY: Final = Validity(NOW - DAY, NOW - DAY, NOW + DAY)
EVERYTHING: Final = AccessData(rules=(AccessRule(0x3F),))


def share(of: int) -> settings:
    """One in so many of the profile's examples: `make nightly` draws more of these too."""
    count = settings.default.max_examples if settings.default else 100
    return settings(max_examples=max(10, count // of), deadline=None)


def drawn(seed: str = "") -> Callable[[int], bytes]:
    """A source of bytes that look random, the same for each seed."""
    counter = 0

    def draw(size: int) -> bytes:
        nonlocal counter
        counter += 1
        return hashlib.shake_256(f"{seed}{counter}".encode()).digest(size)

    return draw


def issuer(key: EcPrivateKey = ISSUER, **how: Any) -> CredentialIssuer:
    """A Credential Issuer; `how` as its constructor takes it."""
    return CredentialIssuer(key, drawn(), **how)


def access_document(data: AccessData = EVERYTHING, validity: Validity = VALIDITY, **how: Any) -> Document:
    """An Access Document for CREDENTIAL with one element, "floor1"."""
    return issuer().access_document(CREDENTIAL, {"floor1": data}, validity, **how)


_U32 = st.integers(0, 0xFFFFFFFF)


def _ordinals(most: int) -> st.SearchStrategy[int]:
    return st.integers(1, most) | st.integers(-most, -1)


_MASKS = st.integers(0, 0x7FFFF)
RECURRENCES: Final = st.one_of(
    st.tuples(st.just(Pattern.DAILY), st.just(0), st.just(0)),
    st.tuples(st.just(Pattern.WEEKLY), st.integers(0, 0x7F), st.just(0)),
    st.tuples(st.just(Pattern.MONTHLY_BY_DAY), st.integers(0, 0x7F), _ordinals(5)),
    st.tuples(st.just(Pattern.MONTHLY_BY_DATE), st.integers(0, 0x7FFFFFFF), st.just(0)),
    st.tuples(st.just(Pattern.MONTHLY_BY_DATE), st.integers(0, 0x7F), _ordinals(31)),
    st.tuples(st.just(Pattern.YEARLY_BY_DAY), _MASKS, _ordinals(5)),
    st.tuples(st.just(Pattern.YEARLY_BY_DATE), _MASKS, _ordinals(31)),
    st.tuples(st.just(Pattern.YEARLY_BY_WEEK), _MASKS, _ordinals(53)),
    st.tuples(st.just(Pattern.YEARLY_BY_MONTH_WEEK), _MASKS, _ordinals(5)),
).flatmap(
    lambda found: st.builds(
        Recurrence,
        duration=st.integers(1, 3 * DAY) | st.integers(1, 0xFFFFFFFF),
        pattern=st.just(found[0]),
        mask=st.just(found[1]),
        interval=st.integers(1, 4) | st.integers(1, 255),
        ordinal=st.just(found[2]),
    )
)
SCHEDULES: Final = st.tuples(st.integers(0, 0xFFFFFFFE), st.none() | st.integers(1, 0xFFFFFFFF)).flatmap(
    lambda span: st.builds(
        Schedule,
        start=st.just(span[0]),
        end=st.just(span[1] if span[1] and span[1] > span[0] else None),
        recurrence=st.none() | RECURRENCES,
        utc=st.booleans(),
    )
)
_VENDORS = st.integers(1, 3)


def _sorted_by_vendor(found: list[Any]) -> tuple[Any, ...]:
    """CBOR maps sort vendors, so that only lists in this order come back as they were."""
    return tuple(sorted(found, key=lambda one: int(one.vendor)))


def _rules(schedules: int) -> st.SearchStrategy[AccessRule]:
    bits = st.none() | st.integers(0, (1 << schedules) - 1)
    return st.builds(AccessRule, st.none() | st.integers(0, 0xFFFF), bits, bits)


_EXTENSIONS = st.lists(st.builds(Extension, _VENDORS, _U32, _U32, st.binary(max_size=9)), max_size=3)
_ACCESS_EXTENSIONS = st.lists(
    st.builds(AccessExtension, _VENDORS, _U32, _U32, st.binary(max_size=9), st.booleans()), max_size=3
)
ACCESS_DATA: Final = st.lists(SCHEDULES, max_size=8).flatmap(
    lambda schedules: st.builds(
        AccessData,
        id=st.binary(max_size=16),
        rules=st.lists(_rules(len(schedules)), max_size=3).map(tuple),
        schedules=st.just(tuple(schedules)),
        reader_rules=st.lists(st.integers(0, 0xFFFF), max_size=3).map(tuple),
        extensions=_EXTENSIONS.map(_sorted_by_vendor),
        access_extensions=_ACCESS_EXTENSIONS.map(_sorted_by_vendor),
    )
)
ENTRIES: Final = st.builds(
    RevocationEntry,
    key_hash=st.binary(min_size=32, max_size=32),
    id=st.binary(max_size=16),
    expiry=st.none() | _U32,
) | st.builds(RevocationEntry, id=st.binary(min_size=1, max_size=16), expiry=st.none() | _U32)
_LISTS = st.lists(ENTRIES, max_size=3).map(tuple)
REVOCATION_DATA: Final = st.builds(
    RevocationData, mode=st.just(APPEND), entries=_LISTS, removed=_LISTS, extensions=_EXTENSIONS.map(_sorted_by_vendor)
) | st.builds(RevocationData, mode=st.just(OVERWRITE), entries=_LISTS)
