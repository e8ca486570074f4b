"""Key derivation: layout of the inputs, published values, and the library as a second opinion."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import algorithms
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.kbkdf import KBKDFCMAC, CounterLocation, Mode
from cryptography.hazmat.primitives.kdf.x963kdf import X963KDF
from hypothesis import given
from hypothesis import strategies as st

from keywright.crypto import AesKey, hkdf, sp800_108_counter, x963
from keywright.crypto.kdf import scrypt

HASHES = {"sha256": hashes.SHA256(), "sha384": hashes.SHA384(), "sha512": hashes.SHA512()}
short = st.binary(max_size=40)


@given(raw=st.binary(min_size=16, max_size=16), label=short, context=short, size=st.integers(1, 100))
def test_counter_mode_is_that_of_the_library(raw: bytes, label: bytes, context: bytes, size: int) -> None:
    library = KBKDFCMAC(
        algorithms.AES, Mode.CounterMode, size, 1, 2, CounterLocation.BeforeFixed, label, context, None
    ).derive(raw)
    assert sp800_108_counter(AesKey(raw).cmac, label=label, context=context, length_bytes=size) == library


def test_counter_mode_input_is_counter_label_zero_context_and_bits() -> None:
    inputs: list[bytes] = []

    def prf(message: bytes) -> bytes:
        inputs.append(message)
        return bytes([len(inputs)]) * 16

    derived = sp800_108_counter(
        prf, label=b"LB", context=b"CTX", length_bytes=40, counter_bytes=2, length_field_bytes=4
    )
    assert inputs == [b"\0" + bytes([i]) + b"LB\0CTX\0\0\x01\x40" for i in (1, 2, 3)]
    assert derived == b"\1" * 16 + b"\2" * 16 + b"\3" * 8


def test_counter_mode_without_length_field_ends_with_the_context() -> None:
    inputs: list[bytes] = []

    def prf(message: bytes) -> bytes:
        inputs.append(message)
        return bytes(16)

    sp800_108_counter(prf, label=b"L", context=b"C", length_bytes=16, length_field_bytes=0)
    assert inputs == [b"\1L\0C"]


def test_counter_mode_refuses_what_its_fields_cannot_hold() -> None:
    with pytest.raises(ValueError, match="256 does not fit into 1 bytes"):
        sp800_108_counter(lambda _: b"x", label=b"", context=b"", length_bytes=256)
    with pytest.raises(ValueError, match="65536 does not fit into 2 bytes"):
        sp800_108_counter(lambda _: bytes(16), label=b"", context=b"", length_bytes=8192)


def test_x963_is_the_published_value() -> None:
    # NIST CAVP, ansx963_2001.rsp, SHA-256, shared secret of 192 bits, no shared info, COUNT 0.
    secret = bytes.fromhex("96c05619d56c328ab95fe84b18264b08725b85e33fd34f08")
    assert x963(secret, b"", 16).hex() == "443024c3dae66b95e6f5670601558f71"


@given(secret=short, info=short, size=st.integers(1, 200), name=st.sampled_from(list(HASHES)))
def test_x963_is_that_of_the_library(secret: bytes, info: bytes, size: int, name: str) -> None:
    assert x963(secret, info, size, name) == X963KDF(HASHES[name], size, info).derive(secret)


@given(ikm=short, salt=short, info=short, size=st.integers(1, 200), name=st.sampled_from(list(HASHES)))
def test_hkdf_is_that_of_the_library(ikm: bytes, salt: bytes, info: bytes, size: int, name: str) -> None:
    assert hkdf(ikm, salt, info, size, name) == HKDF(HASHES[name], size, salt, info).derive(ikm)


@pytest.mark.parametrize(("name", "most"), [("sha256", 8160), ("sha384", 12240), ("sha512", 16320)])
def test_hkdf_gives_at_most_255_blocks(name: str, most: int) -> None:
    assert len(hkdf(b"k", b"", b"", most, name)) == most
    with pytest.raises(ValueError, match=f"at most {most} bytes"):
        hkdf(b"k", b"", b"", most + 1, name)


@pytest.mark.parametrize(
    ("password", "salt", "cost", "expected"),
    [
        (
            b"",
            b"",
            (16, 1, 1),
            (
                "77d6576238657b203b19ca42c18a0497f16b4844e3074ae8dfdffa3fede21442"
                "fcd0069ded0948f8326a753a0fc81f17e8d3e0fb2e0d3628cf35e20c38d18906"
            ),
        ),
        (
            b"password",
            b"NaCl",
            (1024, 8, 16),
            (
                "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162"
                "2eaf30d92e22a3886ff109279d9830dac727afb94a83ee6d8360cbdfa2cc0640"
            ),
        ),
    ],
)
def test_scrypt_of_rfc_7914(password: bytes, salt: bytes, cost: tuple[int, int, int], expected: str) -> None:
    """Section 12."""
    assert scrypt(password, salt, *cost, length_bytes=64).hex() == expected
    assert scrypt(password, salt, *cost, length_bytes=20).hex() == expected[:40]


@pytest.mark.parametrize("cost", [(0, 8, 1), (1, 8, 1), (1500, 8, 1), (1024, 0, 1), (1024, 8, 0)])
def test_costs_that_scrypt_does_not_know(cost: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError):
        scrypt(b"password", b"NaCl", *cost, length_bytes=32)
