"""The record that a sealed unit is handed over with: signed by the keystore's identity key, as JWS and as COSE_Sign1.

It names the unit, what was ordered and by which recipe, the keys it holds by their check values, its certificate, and
the SHA-256 of all evidence. No secret is in it.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable, Mapping
from typing import Any, Final, final

import msgspec

from keywright.codec.cbor import decode as decode_cbor
from keywright.codec.cbor import encode as encode_cbor
from keywright.crypto.cose import KID, sign_cose, verify_cose
from keywright.crypto.ec import EcPublicKey
from keywright.crypto.jws import sign_jws, verify_jws
from keywright.crypto.signing import algorithm_of
from keywright.errors import AuthenticationError, DecodeError, StoreError
from keywright.production.canonical import canonical
from keywright.production.control.admission import recipe_of
from keywright.production.handover.outbox import UnitRecord
from keywright.production.job import Job, StepDialogue
from keywright.production.keystores.keystore import Keystore
from keywright.production.unit_store.rows import Lot, to_json
from keywright.production.unit_store.units import UnitStore

VERSION: Final = 1
IDENTITY: Final = "identity"
"""Purpose of the keys of a keystore that sign records."""
_HEX: Final = frozenset({"uid", "order", "recipe", "sha256", "spki_sha256", "kcvs", "evidence"})
"""Fields that are hex text in JSON and bytes in CBOR."""


class RecordContent(msgspec.Struct, frozen=True, kw_only=True):
    """What a record says. Bytes as lower-case hex, times in ms since 1970, UTC.

    `record`: number of the prepared data set; `order`, `recipe`: SHA-256 of the files; `evidence`: SHA-256 of the
    evidence as the store keeps it; `keys`: key version and check values; `certificate`: hashes.
    """

    v: int
    uid: str
    serial: str
    lot: str
    order: str
    recipe: str
    record: int
    station: str
    started_ms: int
    finished_ms: int
    evidence: str
    keys: dict[str, Any] | None = None
    certificate: dict[str, str] | None = None


@final
class KeystoreSigner:
    """An identity key of a keystore, as what JWS and COSE sign with."""

    def __init__(self, keystore: Keystore, name: str) -> None:
        self._keystore = keystore
        self._name = name
        self.public: EcPublicKey = keystore.public_key(name)
        self.kid = key_id(self.public)
        self._hash_name = algorithm_of(self.public).hash_name

    def sign(self, data: bytes) -> bytes:
        """ECDSA over `data`, r || s."""
        return self._keystore.sign(self._name, hashlib.new(self._hash_name, data).digest())


def identity_of(keystore: Keystore, name: str = "") -> str:
    """The name of the identity key to sign with: the one named, or the only one; empty if the keystore has none.

    Raises StoreError if it has not the one named, or has several and none is named.
    """
    names = sorted(facts.name for facts in keystore.show() if facts.purpose == IDENTITY)
    if name and name not in names:
        raise StoreError(
            f"the keystore has no identity key {name!r}", hint=f"it has: {', '.join(names) or 'no identity key'}"
        )
    if not name and len(names) > 1:
        raise StoreError(
            f"the keystore has several identity keys: {', '.join(names)}",
            hint=f'name one at the top of the recipe: identity = "{names[0]}"',
        )
    return name or next(iter(names), "")


def signer_of(keystore: Keystore, name: str = "") -> KeystoreSigner | None:
    """The keystore's identity key: the one named, or the only one; None if it has none. Errors as `identity_of`."""
    found = identity_of(keystore, name)
    return KeystoreSigner(keystore, found) if found else None


def key_id(public: EcPublicKey) -> str:
    """The first 8 bytes of the SHA-256 of the SubjectPublicKeyInfo, as hex."""
    return hashlib.sha256(public.spki()).hexdigest()[:16]


def content_of(job: Job, lot: Lot, *, station: str, at: float) -> RecordContent:
    """What is to be said of a unit whose recipe is done."""
    evidence = job.evidence()
    keys: Mapping[str, Any] = evidence.get("own_keys", {})
    found: Mapping[str, Any] = evidence.get("identify", {})
    begun = job.unit.started_at if job.unit.started_at is not None else job.begun
    certificate = job.certificate
    return RecordContent(
        v=VERSION,
        uid=str(found.get("uid", "")),
        serial=job.unit.serial,
        lot=lot.lot,
        order=lot.order_digest,
        recipe=lot.recipe_digest,
        record=job.unit.n,
        station=station,
        started_ms=round(begun * 1000),
        finished_ms=round(at * 1000),
        evidence=hashlib.sha256(to_json(evidence).encode()).hexdigest(),
        keys={"kvn": keys["kvn"], "kcvs": keys["kcvs"]} if "kcvs" in keys else None,
        certificate=None
        if certificate is None
        else {
            "serial_number": certificate.serial_number,
            "sha256": hashlib.sha256(certificate.der).hexdigest(),
            "spki_sha256": certificate.spki_sha256.hex(),
        },
    )


def sign_record(content: RecordContent, *, sku: str, unit: int, at: float, signer: KeystoreSigner) -> UnitRecord:
    """The record in both forms. `sku`: the model that was ordered."""
    fields = _without_none(content)
    jws = sign_jws({"kid": signer.kid, "sku": sku, "version": VERSION}, canonical(fields), signer)
    protected = {KID: bytes.fromhex(signer.kid), "sku": sku, "version": VERSION}
    return UnitRecord(unit, jws, sign_cose(protected, encode_cbor(_in_bytes(fields)), signer), at)


def recording(
    work: Callable[[Job], StepDialogue[None]], units: UnitStore, keystore: Keystore
) -> Callable[[Job], StepDialogue[None]]:
    """The same work for the units of a store, each with its record at the end: what every station of a lot does."""
    lot = units.lot()
    if lot is None:
        return work
    signer = signer_of(keystore, recipe_of(lot).identity)
    return recorded(work, lot, signer, station=platform.node())


def recorded(
    work: Callable[[Job], StepDialogue[None]], lot: Lot, signer: KeystoreSigner | None, *, station: str
) -> Callable[[Job], StepDialogue[None]]:
    """The same work, and at its end the unit's record, written in the transaction that seals it; none without a key.

    Whatever the keystore raises while it signs is met as an error of the unit's last step: the unit is not sealed.
    """
    if signer is None:
        return work

    def working(job: Job) -> StepDialogue[None]:
        yield from work(job)
        at = job.clock()
        content = content_of(job, lot, station=station, at=at)
        job.add(sign_record(content, sku=job.unit.model, unit=job.unit.n, at=at, signer=signer))

    return working


def read_jws_record(text: str, public: EcPublicKey) -> RecordContent:
    """Check and read a record. Raises AuthenticationError if this key did not sign it, DecodeError if it is none."""

    def key_for(header: Mapping[str, Any]) -> EcPublicKey:
        _check_header(header.get("kid"), header.get("version"), key_id(public))
        return public

    found = verify_jws(text, key_for)
    return _read(found.payload)


def read_cose_record(data: bytes, public: EcPublicKey) -> RecordContent:
    """Check and read a record; errors as `read_jws_record`."""

    def key_for(header: Mapping[Any, Any]) -> EcPublicKey:
        _check_header(header.get(KID), header.get("version"), bytes.fromhex(key_id(public)))
        return public

    found = decode_cbor(verify_cose(data, key_for).payload)
    return _read(msgspec.json.encode(_in_hex(found)))


def _check_header(kid: object, version: object, expected: object) -> None:
    if kid != expected or version != VERSION:
        raise AuthenticationError("signature not accepted")


def _read(payload: bytes) -> RecordContent:
    try:
        return msgspec.json.decode(payload, type=RecordContent, strict=True)
    except msgspec.MsgspecError as error:
        raise DecodeError("not the record of a unit") from error


def _without_none(content: RecordContent) -> dict[str, Any]:
    return {name: value for name, value in msgspec.to_builtins(content).items() if value is not None}


def _in_bytes(value: Any, name: str = "") -> Any:
    if isinstance(value, dict):
        return {key: _in_bytes(item, key) for key, item in value.items()}
    return bytes.fromhex(value) if name in _HEX else value


def _in_hex(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _in_hex(item) for key, item in value.items()}
    return value.hex() if isinstance(value, bytes) else value
