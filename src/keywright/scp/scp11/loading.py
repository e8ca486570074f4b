"""What a host stores on a card for SCP11: payloads of STORE DATA (P1 90, in a session of the owner), and new keys."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence

from keywright.crypto.ec import EcPublicKey
from keywright.errors import DecodeError, WireError
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.status import check
from keywright.scp.scp11.certificates import Side, parse_certificate
from keywright.scp.scp11.messages import (
    GENERATE_EC_KEY,
    PARAMETER_OF_CURVE,
    AllowList,
    CaIdentifier,
    CaIdentifierStore,
    CertificateStore,
    ForKey,
    GeneratedEcKey,
    GenerateEcKey,
    KeyReference,
    Serials,
)

_CURVE_TAG = 0xF0
_SIDE_NUMBERS: dict[Side, int] = {"host": 0, "card": 1}


def certificate_store(key: KeyReference, chain: Sequence[bytes]) -> bytes:
    """Payload that stores the chain of an SK.SD.ECKA, the key's own certificate last."""
    return CertificateStore(ForKey(key), b"".join(chain)).build()


def allow_list(key: KeyReference, serials: Iterable[int], *, counter: int | None = None) -> bytes:
    """Payload that lets a CA-KLOC key accept only chains that begin with a certificate of these serial numbers.

    Cards look at the first certificate of a chain: list those of the intermediates, or of the last ones that come
    alone. No serial number removes the list. `counter`, 0 to FFFF: must grow where it is used at all.
    """
    listed = Serials(tuple(positive_integer(serial) for serial in serials))
    return AllowList(target=ForKey(key), counter=counter, allowed=listed).build()


def ca_identifier(key: KeyReference, identifier: bytes, side: Side | None) -> bytes:
    """Payload that names a CA key. `side` None leaves out which it is, as some hosts do."""
    number = None if side is None else _SIDE_NUMBERS[side]
    return CaIdentifierStore(CaIdentifier(side=number, identifier=identifier, key=key)).build()


def generate_ec_key(
    key: KeyReference, curve: str = "P-256", *, replaces: int = 0
) -> Generator[Command, Response, EcPublicKey]:
    """Yubico's GENERATE EC KEY: a new SK.SD.ECKA made by the card. `replaces`: KVN of the key it takes the place of.

    Raises StatusError, WireError for an answer that is no key on that curve.
    """
    data = GenerateEcKey(key.kvn, _CURVE_TAG, 1, PARAMETER_OF_CURVE[curve]).build()
    response = yield Command(0x80, GENERATE_EC_KEY, replaces, key.kid, data, 0)
    try:
        return EcPublicKey.from_point(curve, GeneratedEcKey.parse(check(response, "GENERATE EC KEY")).point)
    except DecodeError as error:
        raise WireError("GENERATE EC KEY answered what is no public key") from error


def serial_of(certificate: bytes) -> int:
    """Serial number of a certificate, for an allow-list. Raises DecodeError."""
    return parse_certificate(certificate).serial


def positive_integer(number: int) -> bytes:
    """A serial number as the content of a positive DER INTEGER. Raises ValueError for a negative one."""
    if number < 0:
        raise ValueError("serial numbers are positive")
    return number.to_bytes(number.bit_length() // 8 + 1)
