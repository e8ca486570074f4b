"""A document: elements that its issuer signed one by one, so that a device may show some of them (Aliro 1.0 7.2).

It is the mdoc of ISO 18013-5 with shorter keys. What is signed is the MobileSecurityObject, which has a digest of each
element. CBOR is read strictly here (`codec.cbor`): only one encoding of a value is accepted, so the bytes that are
hashed are the bytes that were received.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterable, Mapping
from typing import Any, Final, Self

import msgspec

from keywright.aliro.documents.reading import (
    build_date,
    date,
    elements,
    embedded,
    field,
    number,
    of_kind,
    sized,
    version,
)
from keywright.codec.cbor import EMBEDDED, Cbor, Tag, decode, encode, encode_sorted
from keywright.crypto.ec import EcPublicKey
from keywright.errors import DecodeError

CURVE: Final = "P-256"
ACCESS: Final = "aliro-a"
"""docType and namespace of an Access Document."""
REVOCATION: Final = "aliro-r"
"""docType and namespace of a Revocation Document."""
MATTER_ELEMENT: Final = "matter1"
"""Element that locks provisioned over Matter ask for (Matter 5.2.6.9.1)."""
DEVICE_KEY: Final = "1"
"""Label of the key in DeviceKeyInfo, as implementations have it."""
DEVICE_KEY_OF_EXAMPLE: Final = "4"
"""Label of the key in the example that the specification is said to give (14.6)."""
RANDOM_BYTES: Final = 32
"""What is drawn for each element, so that its digest does not tell its value; 16 are enough to be read."""

_DIGEST: Final = "SHA-256"
_DIGEST_BYTES: Final = 32
_LARGEST_ID: Final = (1 << 31) - 1
_ITERATIONS: Final = (1 << 64) - 1
_MANY: Final = 1024
_EC2, _P256 = 2, 1


class SignedItem(msgspec.Struct, frozen=True):
    """An element with what its digest is about (IssuerSignedItem)."""

    digest_id: int
    random: bytes
    identifier: str
    value: Any
    """Decoded CBOR."""
    inside: bytes
    """The item's own bytes, as received."""

    @classmethod
    def make(cls, digest_id: int, random: bytes, identifier: str, value: Cbor) -> Self:
        """A new element."""
        return cls(
            digest_id, random, identifier, value, encode({"1": digest_id, "2": random, "3": identifier, "4": value})
        )

    @classmethod
    def read(cls, value: object) -> Self:
        """From decoded CBOR. Raises DecodeError."""
        what = "element"
        found: dict[Any, Any] = of_kind(embedded(value, what), dict, what)
        return cls(
            digest_id=number(field(found, "1", what), _LARGEST_ID, f"{what}: digest id"),
            random=sized(field(found, "2", what), 1024, f"{what}: random", least=16),
            identifier=of_kind(field(found, "3", what), str, f"{what}: identifier"),
            value=field(found, "4", what),
            inside=of_kind(value, Tag, what).value,
        )

    def tagged(self) -> Tag:
        """The item under tag 24."""
        return Tag(EMBEDDED, self.inside)

    def digest(self) -> bytes:
        """SHA-256 of the item under its tag, tag included (7.2.2)."""
        return hashlib.sha256(encode(self.tagged())).digest()


class Validity(msgspec.Struct, frozen=True):
    """When a document was signed and holds (ValidityInfo); seconds since 1970."""

    signed: int
    valid_from: int
    valid_until: int
    """The last second."""
    expected_update: int | None = None
    iteration: int | None = None
    """validityIteration: grows when an issuer makes earlier documents void."""

    def value(self) -> Cbor:
        """As CBOR."""
        return {
            "1": build_date(self.signed),
            "2": build_date(self.valid_from),
            "3": build_date(self.valid_until),
            **({} if self.expected_update is None else {"4": build_date(self.expected_update)}),
            **({} if self.iteration is None else {"5": self.iteration}),
        }

    @classmethod
    def read(cls, value: object) -> Self:
        """From decoded CBOR. Raises DecodeError."""
        what = "validity"
        found: dict[Any, Any] = of_kind(value, dict, what)
        signed, valid_from, valid_until = (date(field(found, key, what), f"{what}: {key}") for key in "123")
        return cls(
            signed,
            valid_from,
            valid_until,
            expected_update=date(found["4"], f"{what}: 4") if "4" in found else None,
            iteration=number(found["5"], _ITERATIONS, f"{what}: iteration") if "5" in found else None,
        )


class SecurityObject(msgspec.Struct, frozen=True):
    """What an issuer signs (MobileSecurityObject)."""

    doc_type: str
    digests: Mapping[str, Mapping[int, bytes]]
    """For each namespace, by digest id."""
    validity: Validity
    device_key: EcPublicKey | None = None
    """Of the credential that the document is for; a Revocation Document has none (7.6)."""
    time_verification_required: bool = False
    """Whether a reader that does not know the time must refuse the document."""
    device_key_label: str = DEVICE_KEY
    """Under what the key stands in DeviceKeyInfo: `DEVICE_KEY`, or `DEVICE_KEY_OF_EXAMPLE`. Both are read."""

    def payload(self) -> bytes:
        """What is signed: the object under tag 24."""
        key = self.device_key
        digests = {name: dict(sorted(self.digests[name].items())) for name in self.digests}
        # Sorted as it stands here, as a test sees to: an issuer signs many.
        inside = {
            "1": "1.0",
            "2": _DIGEST,
            "3": digests if len(digests) == 1 else decode(encode(digests)),
            **({} if key is None else {"4": {self.device_key_label: _cose_key(key)}}),
            "5": self.doc_type,
            "6": self.validity.value(),
            "7": self.time_verification_required,
        }
        return encode_sorted(Tag(EMBEDDED, encode_sorted(inside)))

    @classmethod
    def parse(cls, payload: bytes) -> Self:
        """From what is signed. Raises DecodeError."""
        what = "security object"
        found: dict[Any, Any] = of_kind(embedded(decode(payload), what), dict, what)
        version(found, what)
        if field(found, "2", what) != _DIGEST:
            raise DecodeError(f"{what}: digests with {found['2']!r}, not with {_DIGEST}")
        listed: dict[Any, Any] = of_kind(field(found, "3", what), dict, f"{what}: digests")
        key, label = _device_key(found["4"]) if "4" in found else (None, DEVICE_KEY)
        return cls(
            doc_type=of_kind(field(found, "5", what), str, f"{what}: docType"),
            digests={of_kind(name, str, f"{what}: namespace"): _digests(part) for name, part in listed.items()},
            validity=Validity.read(field(found, "6", what)),
            device_key=key,
            time_verification_required=of_kind(found.get("7", False), bool, f"{what}: timeVerificationRequired"),
            device_key_label=label,
        )


class Document(msgspec.Struct, frozen=True):
    """A document as its issuer gives it to a device, or with fewer elements as the device gives it to a reader."""

    doc_type: str
    items: Mapping[str, tuple[SignedItem, ...]]
    """For each namespace."""
    issuer_auth: tuple[Any, ...]
    """The four parts of a COSE_Sign1: protected, unprotected, payload, signature."""

    def value(self) -> Cbor:
        """As CBOR."""
        names: dict[str, Cbor] = {name: [item.tagged() for item in items] for name, items in self.items.items()}
        return {"1": {"1": names, "2": list(self.issuer_auth)}, "5": self.doc_type}

    def build(self) -> bytes:
        """The document alone, as a device stores it."""
        return encode(self.value())

    @classmethod
    def read(cls, value: object) -> Self:
        """From decoded CBOR. Nothing is verified. Raises DecodeError."""
        what = "document"
        found: dict[Any, Any] = of_kind(value, dict, what)
        signed: dict[Any, Any] = of_kind(field(found, "1", what), dict, "IssuerSigned")
        names: dict[Any, Any] = of_kind(signed.get("1", {}), dict, "IssuerSigned: namespaces")
        return cls(
            doc_type=of_kind(field(found, "5", what), str, f"{what}: docType"),
            items={
                of_kind(name, str, "namespace"): tuple(
                    SignedItem.read(one) for one in elements(listed, _MANY, f"namespace {name}")
                )
                for name, listed in names.items()
            },
            issuer_auth=tuple(elements(field(signed, "2", "IssuerSigned"), 4, "IssuerAuth", least=4)),
        )

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """From bytes. Raises DecodeError."""
        return cls.read(decode(data))

    def with_elements(self, identifiers: Container[str]) -> Self:
        """The document with those elements only, of the namespace that has its own name."""
        kept = tuple(item for item in self.items.get(self.doc_type, ()) if item.identifier in identifiers)
        return type(self)(self.doc_type, {self.doc_type: kept} if kept else {}, self.issuer_auth)


def digests_of(items: Iterable[SignedItem]) -> dict[int, bytes]:
    """Digests by id. Raises ValueError when an id is there twice."""
    found: dict[int, bytes] = {}
    for item in items:
        if item.digest_id in found:
            raise ValueError(f"digest id {item.digest_id} twice")
        found[item.digest_id] = item.digest()
    return found


def _digests(value: object) -> dict[int, bytes]:
    found: dict[Any, Any] = of_kind(value, dict, "digests")
    return {
        number(key, _LARGEST_ID, "digest id"): sized(one, _DIGEST_BYTES, "digest", least=_DIGEST_BYTES)
        for key, one in found.items()
    }


def _cose_key(key: EcPublicKey) -> Cbor:
    """COSE_Key of a point on P-256 (RFC 9053 7.1.1)."""
    return {1: _EC2, -1: _P256, -2: key.point[1:33], -3: key.point[33:]}


def _device_key(value: object) -> tuple[EcPublicKey, str]:
    what = "device key"
    info: dict[Any, Any] = of_kind(value, dict, what)
    label = DEVICE_KEY_OF_EXAMPLE if DEVICE_KEY not in info and DEVICE_KEY_OF_EXAMPLE in info else DEVICE_KEY
    inside: dict[Any, Any] = of_kind(field(info, label, what), dict, what)
    if (field(inside, 1, what), field(inside, -1, what)) != (_EC2, _P256):
        raise DecodeError(f"{what}: not on {CURVE}")
    x, y = (sized(field(inside, part, what), 32, what, least=32) for part in (-2, -3))
    return EcPublicKey.from_point(CURVE, b"\x04" + x + y), label
