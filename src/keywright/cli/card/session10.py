"""Sessions of SCP10, from an RSA key and certificates in files. Experimental, as the protocol is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from keywright.cli.keyring import Ring, read_ring
from keywright.codec.ber import items
from keywright.crypto.rsa import RsaPrivateKey, RsaPublicKey
from keywright.errors import DecodeError, UsageError
from keywright.globalplatform.host import Dialogue
from keywright.scp import scp10
from keywright.scp.scp10.messages import IDENTIFIER_BYTES, I
from keywright.scp.session import HostSession

_CERTIFICATE: Final = 0x7F21
_HOLDER: Final = 0x5F20
_HINT: Final = "PEM: a PRIVATE KEY (RSA) and our certificates as blocks SCP10 CERTIFICATE, the 7F21 objects"


def identity(oce: Path, root: Path | None) -> scp10.HostIdentity:
    """Who we are to the card, and who certifies the card. Raises UsageError for files that lack something."""
    ring = read_ring(oce)
    keys = [key for key in ring.private if isinstance(key, RsaPrivateKey)]
    if len(keys) != 1:
        raise UsageError(f"{oce}: one RSA private key is due, there are {len(keys)}", hint=_HINT)
    certificates = tuple(scp10.Certificate(encoded, form) for encoded, form in ring.scp10)
    return scp10.HostIdentity(
        private_key=keys[0],
        identifier=_identifier(oce, ring),
        certificates=certificates,
        trust_point=None if root is None else _trust_point(root),
    )


def _trust_point(path: Path) -> RsaPublicKey:
    ring = read_ring(path)
    keys = [key for key in (*ring.public, *(key.public for key in ring.private)) if isinstance(key, RsaPublicKey)]
    if len(keys) != 1:
        raise UsageError(f"{path}: one RSA public key is due, there are {len(keys)}", hint="PEM: a PUBLIC KEY")
    return keys[0]


def _identifier(path: Path, ring: Ring) -> bytes:
    """The 8 bytes that name us in what is signed: the end of the holder reference in our own certificate."""
    try:
        inside = dict(items(dict(items(ring.scp10[-1][0]))[_CERTIFICATE]))
        name = inside[_HOLDER]
    except (IndexError, KeyError, DecodeError):
        raise UsageError(f"{path}: our own certificate has no holder reference (5F20)", hint=_HINT) from None
    if len(name) < IDENTIFIER_BYTES:
        raise UsageError(f"{path}: a holder reference of {len(name)} bytes gives no identifier of {IDENTIFIER_BYTES}")
    return name[-IDENTIFIER_BYTES:]


def open_scp10(
    host: scp10.HostIdentity,
    rng: Callable[[int], bytes],
    *,
    i: int | None,
    level: int | None,
    profile: scp10.Profile | None = None,
) -> Dialogue[HostSession]:
    """A session; key transport at the highest level unless told otherwise. Raises UsageError for what cannot be."""
    request = scp10.Request(i=I.NO_RECOVERY if i is None else i, level=0x33 if level is None else level)
    try:
        return (yield from scp10.open_channel(host, rng, request, profile=profile, allow_legacy=True))
    except ValueError as error:
        if isinstance(error, DecodeError):
            raise
        raise UsageError(str(error)) from error
