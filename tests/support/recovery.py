"""Public keys out of ECDSA signatures: the CA keys of recorded chains, whose certificates nobody kept.

A signature fits two points (SEC 1 4.1.6); a second signature by the same key says which one. Affine arithmetic on
integers, for tests only.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from keywright.crypto.ec import EcPublicKey

Point = tuple[int, int] | None


class Domain(NamedTuple):
    """y^2 = x^3 + ax + b modulo p; generator (x, y) of order n."""

    p: int
    a: int
    b: int
    x: int
    y: int
    n: int


P_256 = Domain(
    0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF,
    -3,
    0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B,
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
    0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
)
"""SEC 2 2.4.2."""


def issuers(certificate: bytes, domain: Domain = P_256) -> list[EcPublicKey]:
    """Both P-256 keys that the signature of an X.509 certificate (ecdsa-with-SHA256) fits."""
    loaded = x509.load_der_x509_certificate(certificate)
    r, s = decode_dss_signature(loaded.signature)
    hashed = int.from_bytes(hashlib.sha256(loaded.tbs_certificate_bytes).digest())
    square = (r**3 + domain.a * r + domain.b) % domain.p
    root = pow(square, (domain.p + 1) // 4, domain.p)
    inverse = pow(r, -1, domain.n)
    found = []
    for y in (root, domain.p - root):
        multiple = _times(domain, s * inverse % domain.n, (r, y))
        point = _add(domain, multiple, _times(domain, -hashed * inverse % domain.n, (domain.x, domain.y)))
        assert point is not None
        found.append(EcPublicKey.from_point("P-256", b"\x04" + point[0].to_bytes(32) + point[1].to_bytes(32)))
    return found


def _add(domain: Domain, one: Point, other: Point) -> Point:
    if one is None or other is None:
        return one or other
    p = domain.p
    if one[0] == other[0]:
        if (one[1] + other[1]) % p == 0:
            return None
        slope = (3 * one[0] ** 2 + domain.a) * pow(2 * one[1], -1, p) % p
    else:
        slope = (other[1] - one[1]) * pow(other[0] - one[0], -1, p) % p
    x = (slope**2 - one[0] - other[0]) % p
    return x, (slope * (one[0] - x) - one[1]) % p


def _times(domain: Domain, factor: int, point: Point) -> Point:
    result: Point = None
    while factor:
        if factor & 1:
            result = _add(domain, result, point)
        point = _add(domain, point, point)
        factor >>= 1
    return result
