"""Signed statements: what a device's maker, its element and an owner say about a key. The format is ours.

    root of the maker ── INSTANCE ──> key of the element ── ENDPOINT ──> key for one vehicle, made on the element
    key of the owner ─── GRANT ────> key of a friend, with entitlements and a time

A vehicle takes an owner's key with the first two, a friend's with all three.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Annotated, Final, TypeAlias

from keywright.ccc.messages import POINT_BYTES, SIGNATURE_BYTES, SLOT_BYTES, VEHICLE_BYTES
from keywright.ccc.profile import STATEMENT
from keywright.codec.record import Record, prefixed, raw
from keywright.codec.tlv import Template, tag
from keywright.crypto import p256
from keywright.crypto.ec import EcPublicKey
from keywright.crypto.signing import Signer
from keywright.errors import AuthenticationError, DecodeError, PolicyError

Roots: TypeAlias = Mapping[bytes, EcPublicKey]
"""Public keys of device makers by key identifier."""


class Kind:
    """What a statement says."""

    INSTANCE: Final = 1
    """A maker: the subject is the key of an element."""
    ENDPOINT: Final = 2
    """An element: the subject was made on it, for this vehicle and slot."""
    GRANT: Final = 3
    """An owner: whoever has the subject may use the vehicle."""


class Entitlement:
    """Bits of what a key may do; ours."""

    UNLOCK: Final = 1 << 0
    DRIVE: Final = 1 << 1
    TRUNK: Final = 1 << 2
    ALL: Final = 0x0007


class Statement(Template, frozen=True, kw_only=True):
    """What is signed."""

    strict = True
    kind: Annotated[int, tag(0x80, size=1)]
    issuer: Annotated[bytes, tag(0x81), raw(8)]
    """Key identifier of who signs."""
    subject: Annotated[bytes, tag(0x82), raw(POINT_BYTES)]
    vehicle: Annotated[bytes | None, tag(0x83), raw(VEHICLE_BYTES)] = None
    slot: Annotated[bytes | None, tag(0x84), raw(SLOT_BYTES)] = None
    entitlements: Annotated[int | None, tag(0x85, size=2)] = None
    """Bits of `Entitlement`."""
    not_before: Annotated[int | None, tag(0x86, size=4)] = None
    """Seconds since 1970."""
    not_after: Annotated[int | None, tag(0x87, size=4)] = None


class SignedStatement(Record, frozen=True):
    """A statement as it was signed, and r || s over it."""

    statement: Annotated[bytes, prefixed(2)]
    signature: Annotated[bytes, raw(SIGNATURE_BYTES)]


class Chain(Record, frozen=True):
    """What says that a key was made on an element: signed statements of kind INSTANCE and ENDPOINT."""

    instance: Annotated[bytes, prefixed(2)]
    endpoint: Annotated[bytes, prefixed(2)]


class Package(Record, frozen=True):
    """What a friend's device shows a vehicle once."""

    grant: Annotated[bytes, prefixed(2)]
    chain: Annotated[bytes, prefixed(2)]
    receipt: Annotated[bytes, prefixed(2)] = b""
    """Of key tracking; empty for none."""


def key_identifier(key: EcPublicKey) -> bytes:
    """By what an issuer is found: the first 8 bytes of SHA-256 over its point."""
    return hashlib.sha256(key.point).digest()[:8]


def roots(keys: Iterable[EcPublicKey]) -> Roots:
    """Keys of makers, to be found by their identifiers."""
    return {key_identifier(key): key for key in keys}


def sign(signer: Signer, statement: Statement) -> bytes:
    """A `SignedStatement`. Raises ValueError when the statement names another issuer."""
    if statement.issuer != key_identifier(signer.public):
        raise ValueError("a statement names the key that signs it")
    body = statement.build()
    return SignedStatement(body, signer.sign(STATEMENT.value + body)).build()


def verify(signed: bytes, key: EcPublicKey, kind: int) -> Statement:
    """What was signed by that key, of that kind. Raises DecodeError, AuthenticationError."""
    found = SignedStatement.parse(signed)
    key.verify(found.signature, STATEMENT.value + found.statement)
    statement = Statement.parse(found.statement)
    if (statement.kind, statement.issuer) != (kind, key_identifier(key)):
        raise AuthenticationError("statement not accepted: it is of another kind or issuer")
    p256.check(statement.subject)
    return statement


def issuer_of(signed: bytes) -> bytes:
    """The key identifier that a statement names, not yet verified. Raises DecodeError."""
    return Statement.parse(SignedStatement.parse(signed).statement).issuer


def verify_chain(chain: bytes, makers: Roots, vehicle: bytes, slot: bytes) -> EcPublicKey:
    """The key that a chain is about. Raises DecodeError, AuthenticationError, and PolicyError for an unknown maker."""
    parts = Chain.parse(chain)
    root = makers.get(issuer_of(parts.instance))
    if root is None:
        raise PolicyError("the device is of a maker that is not trusted here", hint="add the maker's root key")
    instance = verify(parts.instance, root, Kind.INSTANCE)
    endpoint = verify(parts.endpoint, p256.check(instance.subject), Kind.ENDPOINT)
    if (endpoint.vehicle, endpoint.slot) != (vehicle, slot):
        raise AuthenticationError("the key was made for another vehicle or slot")
    return p256.check(endpoint.subject)


def verify_grant(package: Package, owner: EcPublicKey, makers: Roots, vehicle: bytes, slot: bytes) -> Statement:
    """What an owner granted to whom. Times are the caller's to check (`check_time`). Raises as `verify_chain`."""
    grant = verify(package.grant, owner, Kind.GRANT)
    if (grant.vehicle, grant.slot) != (vehicle, slot):
        raise AuthenticationError("the grant is for another vehicle or slot")
    if grant.entitlements is None:
        raise DecodeError("a grant says what it entitles to")
    if verify_chain(package.chain, makers, vehicle, slot).point != grant.subject:
        raise AuthenticationError("the grant is for another key than the chain")
    return grant


def check_time(not_before: int | None, not_after: int | None, now: int | None) -> None:
    """Raises PolicyError outside of the time, and when there is a time and no clock (`now` None)."""
    if not_before is None and not_after is None:
        return
    if now is None:
        raise PolicyError("the key is limited in time and there is no clock", hint="set the vehicle's clock")
    if now < (not_before or 0):
        raise PolicyError("the key is not valid yet")
    if not_after is not None and now > not_after:
        raise PolicyError("the key is not valid any more", hint="ask the owner to share it again")
