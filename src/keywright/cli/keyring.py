"""Private keys and certificates from files: PEM, several in one file, keys only where nobody else may read them."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from keywright.crypto.ec import EcPrivateKey, EcPublicKey
from keywright.crypto.rsa import RsaPrivateKey, RsaPublicKey
from keywright.errors import DecodeError, UsageError
from keywright.scp.scp10.messages import NOT_SELF_DESCRIPTIVE, SELF_DESCRIPTIVE
from keywright.scp.scp11.certificates import Certificate, parse_certificate

PrivateKey = EcPrivateKey | RsaPrivateKey
PublicKey = EcPublicKey | RsaPublicKey

_LIMIT: Final = 1 << 18
_BLOCK: Final = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----\s+(.*?)-----END \1-----", re.DOTALL)
_SCP10: Final = {"SCP10 CERTIFICATE": SELF_DESCRIPTIVE, "SCP10 CERTIFICATE VALUES": NOT_SELF_DESCRIPTIVE}
_HINT: Final = "PEM: PRIVATE KEY, PUBLIC KEY and CERTIFICATE blocks, as openssl writes them"
_PRIVATE: Final = ("PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY")
"""PKCS#8, and the older forms of SEC 1 and PKCS#1."""
_PARAMETERS: Final = "EC PARAMETERS"
"""What openssl writes before an EC PRIVATE KEY, which names its curve itself."""
_ENCRYPTED: Final = b"Proc-Type: 4,ENCRYPTED"
_WITHOUT: Final = "without its passphrase it can: openssl pkey -in FILE -out NEW, and chmod 600 NEW"


class Ring(NamedTuple):
    """What files hold, in their order."""

    private: tuple[PrivateKey, ...] = ()
    public: tuple[PublicKey, ...] = ()
    certificates: tuple[bytes, ...] = ()
    """X.509 in DER, or in GlobalPlatform's own format."""
    scp10: tuple[tuple[bytes, int], ...] = ()
    """Certificates of SCP10, 7F21 objects, and P2 of the command that presents them."""


def read_ring(path: Path) -> Ring:
    """Keys and certificates of one file: PEM blocks, or one certificate in DER or GlobalPlatform's format.

    Raises PolicyError for private keys that others can read, StoreError if there is no such file, UsageError for what
    is neither; no message repeats what is in it.
    """
    data = _read(path)
    found = list(_blocks(path, data))
    if not found and data[:1] in (b"\x30", b"\x7f"):
        found = [("CERTIFICATE", data)]
    if not found:
        raise UsageError(f"{path}: neither a key nor a certificate", hint=_HINT)
    private, public, certificates, others = [], [], [], []
    for kind, der in found:
        if kind in _PRIVATE:
            private.append(_private(path, der))
        elif kind == "PUBLIC KEY":
            public.append(_public(path, der))
        elif kind in ("CERTIFICATE", "GP CERTIFICATE"):
            certificates.append(_certificate(path, der))
        elif kind in _SCP10:
            others.append((der, _SCP10[kind]))
        elif kind != _PARAMETERS:
            hint = _WITHOUT if kind == "ENCRYPTED PRIVATE KEY" else _HINT
            raise UsageError(f"{path}: a PEM block {kind} cannot be used", hint=hint)
    return Ring(tuple(private), tuple(public), tuple(certificates), tuple(others))


def read_certificates(path: Path) -> list[Certificate]:
    """The certificates of a file, at least one. Raises as `read_ring`."""
    found = read_ring(path).certificates
    if not found:
        raise UsageError(f"{path}: there is no certificate in it", hint=_HINT)
    return [parse_certificate(raw) for raw in found]


def read_private_key(path: Path) -> PrivateKey:
    """The one private key of a file. Raises as `read_ring`."""
    keys = read_ring(path).private
    if len(keys) != 1:
        raise UsageError(f"{path}: one private key is due, there are {len(keys)}", hint=_HINT)
    return keys[0]


def read_public_key(path: Path) -> PublicKey:
    """The one public key of a file, or that of its certificate or private key. Raises as `read_ring`."""
    ring = read_ring(path)
    keys: list[PublicKey] = [*ring.public, *(key.public for key in ring.private)]
    keys += [key for raw in ring.certificates if (key := parse_certificate(raw).public_key) is not None]
    if not keys:
        raise UsageError(f"{path}: there is no public key in it", hint=_HINT)
    return keys[0]


def _read(path: Path) -> bytes:
    from keywright.production.private_file import read_private  # noqa: PLC0415 - loads the database, too

    try:
        with path.open("rb") as file:
            data = file.read(_LIMIT + 1)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    return read_private(path, "key file", _LIMIT) if b"PRIVATE KEY" in data else data


def _blocks(path: Path, data: bytes) -> Iterator[tuple[str, bytes]]:
    for kind, text in _BLOCK.findall(data):
        if _ENCRYPTED in text:
            raise UsageError(f"{path}: a PEM block {kind.decode()} is encrypted", hint=_WITHOUT)
        try:
            yield kind.decode(), base64.b64decode(b"".join(text.split()), validate=True)
        except ValueError as error:
            raise UsageError(f"{path}: a PEM block is damaged", hint=_HINT) from error


def _private(path: Path, der: bytes) -> PrivateKey:
    for kind in (EcPrivateKey, RsaPrivateKey):
        try:
            return kind.from_pkcs8(der)
        except DecodeError:
            continue
    raise UsageError(f"{path}: the private key is of no kind that cards take", hint="EC or RSA, without a passphrase")


def _public(path: Path, der: bytes) -> PublicKey:
    for kind in (EcPublicKey, RsaPublicKey):
        try:
            return kind.from_spki(der)
        except DecodeError:
            continue
    raise UsageError(f"{path}: the public key is of no kind that cards take", hint="EC or RSA")


def _certificate(path: Path, raw: bytes) -> bytes:
    try:
        parse_certificate(raw)
    except DecodeError as error:
        raise UsageError(f"{path}: a certificate cannot be read: {error}", hint=_HINT) from error
    return raw
