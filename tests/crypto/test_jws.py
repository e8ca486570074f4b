"""JWS in compact form: the RFC's own example, and everything that is not quite one."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.crypto.ec import EcPrivateKey, EcPublicKey
from keywright.crypto.jws import decode, encode, read_jws, sign_jws, verify_jws
from keywright.crypto.signing import algorithm_of
from keywright.errors import AuthenticationError, DecodeError, KeywrightError
from support.signers import KEYS, Signing
from support.vectors import Case, unhex, vectors


@vectors("crypto/jws.json")
def test_the_example_of_the_rfc(case: Case) -> None:
    key = EcPrivateKey.from_scalar(case["curve"], unhex(case["d"]))
    assert key.public.point == b"\x04" + unhex(case["x"]) + unhex(case["y"])
    found = verify_jws(case["compact"], lambda _: key.public)
    assert (found.header, found.payload) == (case["header"], unhex(case["payload"]))
    signed = sign_jws({}, unhex(case["payload"]), Signing(key))
    assert signed.rpartition(".")[0] == case["compact"].rpartition(".")[0]
    assert verify_jws(signed, lambda _: key.public) == found


@pytest.mark.parametrize("curve", KEYS)
def test_a_signature_covers_header_and_payload(curve: str) -> None:
    signer = Signing(KEYS[curve])
    text = sign_jws({"kid": "k", "sku": "ü"}, b"payload", signer)
    assert read_jws(text).header == {"alg": algorithm_of(signer.public).name, "kid": "k", "sku": "ü"}

    def key_for(header: Mapping[str, Any]) -> EcPublicKey:
        assert header["kid"] == "k"
        return signer.public

    assert verify_jws(text, key_for).payload == b"payload"
    head, payload, signature = text.split(".")
    other = sign_jws({"kid": "k", "sku": "u"}, b"other", signer).split(".")
    for parts in ((other[0], payload, signature), (head, other[1], signature), (head, payload, other[2])):
        with pytest.raises(AuthenticationError):
            verify_jws(".".join(parts), key_for)
    with pytest.raises(AuthenticationError):
        verify_jws(text, lambda _: EcPrivateKey.generate(curve).public)


def test_every_bit_of_a_jws_counts() -> None:
    signer = Signing(KEYS["P-256"])
    text = sign_jws({"kid": "k"}, b"p", signer)
    for at in range(len(text)):
        changed = text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]
        with pytest.raises(KeywrightError):
            verify_jws(changed, lambda _: signer.public)


@pytest.mark.parametrize("alg", ["none", "HS256", "ES384", "es256", "", None, 1, -7])
def test_the_algorithm_is_that_of_the_key(alg: object) -> None:
    signer = Signing(KEYS["P-256"])
    head = encode(json.dumps({"alg": alg}).encode())
    signed = f"{head}.{encode(b'p')}"
    with pytest.raises(AuthenticationError):
        verify_jws(f"{signed}.{encode(signer.sign(signed.encode()))}", lambda _: signer.public)


def test_a_signature_by_an_algorithm_of_another_curve_is_refused() -> None:
    # Mathematically it holds: RFC 7518 3.4 ties the algorithm to the curve, and so do we.
    key = KEYS["P-256"]
    signed = f"{encode(json.dumps({'alg': 'ES384'}).encode())}.{encode(b'p')}"
    signature = key.sign(signed.encode(), "sha384")
    key.public.verify(signature, signed.encode(), "sha384")
    with pytest.raises(AuthenticationError):
        verify_jws(f"{signed}.{encode(signature)}", lambda _: key.public)


def test_the_algorithm_is_not_for_the_caller_to_choose() -> None:
    signer = Signing(KEYS["P-256"])
    assert read_jws(sign_jws({"alg": "none"}, b"p", signer)).header == {"alg": "ES256"}


def test_an_extension_that_must_be_understood_is_refused() -> None:
    signer = Signing(KEYS["P-256"])
    text = sign_jws({"crit": ["exp"], "exp": 1}, b"", signer)
    with pytest.raises(AuthenticationError):
        verify_jws(text, lambda _: signer.public)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a.b",
        "a.b.c.d",
        "e30=.e30.AAAA",
        "e30.e31.AA==",
        " e30.e30.AAAA",
        "e30.e30.AAAA\n",
        "e31.e30.AAAA",  # bits behind the last byte
        "W10.e30.AAAA",  # the header is a list
        f"{encode(b'{')}.e30.AAAA",
        f"{encode(bytes([0xFF]))}.e30.AAAA",
        encode(b'{"alg":"ES256","alg":"ES384"}') + ".e30.AAAA",
        encode(b"[" * 100000) + ".e30.AAAA",
    ],
)
def test_what_is_no_compact_jws_does_not_parse(text: str) -> None:
    with pytest.raises(DecodeError):
        read_jws(text)


@given(st.binary(max_size=40))
def test_base64url_has_one_text(data: bytes) -> None:
    assert decode(encode(data)) == data


@given(st.text(alphabet="Aa0-_=+/.\n", max_size=8))
def test_any_text_is_base64url_or_an_error(text: str) -> None:
    with contextlib.suppress(DecodeError):
        assert encode(decode(text)) == text


def test_a_key_on_another_curve_has_no_algorithm() -> None:
    with pytest.raises(ValueError, match="no algorithm for keys on P-521"):
        sign_jws({}, b"", Signing(EcPrivateKey.generate("P-521")))
