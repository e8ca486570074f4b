"""COSE_Sign1: the examples of the working group, and what is refused more strictly than they demand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from cbor2 import CBORTag
from hypothesis import given
from hypothesis import strategies as st

from keywright.codec.cbor import decode, encode
from keywright.crypto.cose import ALG, KID, TAG, Sign1, sign_cose, sign_parts, verify_cose, verify_parts
from keywright.crypto.ec import EcPrivateKey, EcPublicKey
from keywright.errors import AuthenticationError, DecodeError, KeywrightError
from support.signers import KEYS, Signing
from support.vectors import Case, unhex, vectors


def checked(case: Case, key: EcPrivateKey) -> Sign1:
    external = unhex(case["external"]) if "external" in case else b""
    return verify_cose(unhex(case["cbor"]), lambda _: key.public, external=external, tagged=case.get("tagged", True))


@vectors("crypto/cose_sign1.json")
def test_an_example_of_the_working_group(case: Case) -> None:
    key = EcPrivateKey.from_scalar(case["curve"], unhex(case["d"]))
    assert key.public.point == b"\x04" + unhex(case["x"]) + unhex(case["y"])
    if case["result"] != "valid":
        with pytest.raises(KeywrightError) as refused:
            checked(case, key)
        assert isinstance(refused.value, AuthenticationError | DecodeError)
        return
    found = checked(case, key)
    assert found.payload == b"This is the content."
    header, external, payload = decode(unhex(case["to_be_signed"]))[1:]
    assert (decode(header), payload) == (found.protected, found.payload)
    signed: list[bytes] = []

    class Seen:
        public = key.public

        def sign(self, data: bytes) -> bytes:
            signed.append(data)
            return Signing(key).sign(data)

    ours = sign_cose({k: v for k, v in found.protected.items() if k != ALG}, payload, Seen(), external=external)
    assert signed == [unhex(case["to_be_signed"])]
    assert verify_cose(ours, lambda _: key.public, external=external)[:2] == found[:2]


@pytest.mark.parametrize("curve", KEYS)
def test_a_signature_covers_protected_header_payload_and_what_is_not_sent(curve: str) -> None:
    signer = Signing(KEYS[curve])
    message = sign_cose({KID: b"k", "sku": "s"}, b"payload", signer, external=b"lot")

    def key_for(header: Mapping[Any, Any]) -> EcPublicKey:
        assert header[KID] == b"k"
        return signer.public

    assert verify_cose(message, key_for, external=b"lot").payload == b"payload"
    for external in (b"", b"lost"):
        with pytest.raises(AuthenticationError):
            verify_cose(message, key_for, external=external)
    other = EcPrivateKey.generate(curve)
    with pytest.raises(AuthenticationError):
        verify_cose(message, lambda _: other.public, external=b"lot")


def test_every_byte_of_a_message_counts() -> None:
    signer = Signing(KEYS["P-256"])
    message = sign_cose({KID: b"k"}, b"payload", signer)
    for at in range(len(message)):
        changed = message[:at] + bytes([message[at] ^ 1]) + message[at + 1 :]
        with pytest.raises(KeywrightError):
            verify_cose(changed, lambda _: signer.public)
        with pytest.raises(DecodeError):
            verify_cose(message[:at], lambda _: signer.public)


def _message(protected: object, unprotected: object, key: EcPrivateKey) -> bytes:
    header = protected if isinstance(protected, bytes) else encode(protected)  # type: ignore[arg-type]  # test values
    signature = Signing(key).sign(encode(["Signature1", header, b"", b"p"]))
    return encode(CBORTag(TAG, [header, unprotected, b"p", signature]))


@pytest.mark.parametrize(
    ("protected", "unprotected"),
    [
        ({ALG: -35}, {}),
        ({ALG: -8}, {}),
        ({ALG: "ES256K"}, {}),
        ({}, {ALG: -7}),
        (b"", {ALG: -7}),
        ({ALG: -7, 2: [99], 99: 1}, {}),
    ],
)
def test_the_algorithm_is_protected_and_that_of_the_key(protected: object, unprotected: object) -> None:
    key = KEYS["P-256"]
    with pytest.raises(AuthenticationError):
        verify_cose(_message(protected, unprotected, key), lambda _: key.public)


@pytest.mark.parametrize(
    ("protected", "unprotected"),
    [({ALG: -7}, {ALG: -7}), ({ALG: -7}, []), ([ALG, -7], {}), (b"\xa1", {}), (b"\xa2\x01\x26\x01\x26", {})],
)
def test_headers_that_are_none_do_not_parse(protected: object, unprotected: object) -> None:
    key = KEYS["P-256"]
    with pytest.raises(DecodeError):
        verify_cose(_message(protected, unprotected, key), lambda _: key.public)


@pytest.mark.parametrize(
    "value",
    [1, CBORTag(17, []), CBORTag(18, 1), CBORTag(18, [b"", {}, b""]), CBORTag(18, [b"", {}, None, b""]), [b""] * 4],
)
def test_what_is_no_message_does_not_parse(value: Any) -> None:
    with pytest.raises(DecodeError):
        verify_cose(encode(value), lambda _: KEYS["P-256"].public)


@given(st.binary(max_size=60))
def test_any_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(DecodeError):
        verify_cose(data, lambda _: KEYS["P-256"].public)


def test_the_parts_of_a_message_without_its_tag_are_signed_and_verified_alike() -> None:
    signer = Signing(KEYS["P-256"])
    parts = sign_parts({}, {KID: b"k"}, b"payload", signer, external=b"lot")
    assert parts[:3] == [encode({ALG: -7}), {KID: b"k"}, b"payload"]
    found = verify_parts(
        parts, lambda header: signer.public if header[KID] == b"k" else KEYS["P-384"].public, external=b"lot"
    )
    assert found == Sign1({ALG: -7}, b"payload", {KID: b"k"})
    assert verify_cose(encode(parts), lambda _: signer.public, external=b"lot", tagged=False) == found
    with pytest.raises(AuthenticationError):
        verify_parts([*parts[:3], bytes(64)], lambda _: signer.public)
    for broken in (None, b"", parts[:3], [1, *parts[1:]]):
        with pytest.raises(DecodeError):
            verify_parts(broken, lambda _: signer.public)
