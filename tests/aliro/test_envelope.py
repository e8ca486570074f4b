"""What ENVELOPE carries: the example of the specification both ways, and what is no SessionData."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.aliro import envelope
from keywright.codec.ber import item
from keywright.codec.cbor import encode
from keywright.crypto.aead import open_gcm, seal_gcm
from keywright.crypto.aes import AesKey
from keywright.errors import DecodeError
from support.vectors import Case, unhex, vectors


@vectors("digitalkey/aliro_stepup.json")
@pytest.mark.parametrize("way", ["request", "response"])
def test_session_data_of_the_specification_both_ways(case: Case, way: str) -> None:
    data = unhex(case[f"session_data_{way}"])
    sealed = envelope.unwrap(item(0x53, data))
    assert envelope.wrap(sealed) == item(0x53, data)
    assert envelope.unwrap(envelope.wrap(sealed, bare=True)) == sealed
    key = AesKey(unhex(case["sk_reader" if way == "request" else "sk_device"]))
    iv, message = unhex(case[f"gcm_iv_{way}"]), unhex(case[f"device_{way}"])
    assert open_gcm(key, iv, sealed) == message
    assert seal_gcm(key, iv, message) == sealed


@given(st.binary(min_size=16, max_size=300), st.booleans())
def test_what_is_wrapped_is_unwrapped(sealed: bytes, bare: bool) -> None:  # noqa: FBT001 - drawn by hypothesis
    assert envelope.unwrap(envelope.wrap(sealed, bare=bare)) == sealed


@pytest.mark.parametrize(
    "data",
    [
        b"",
        item(0x54, bytes(16)),
        item(0x53, bytes(16)) * 2,
        item(0x53, b""),
        item(0x53, bytes(15)),
        item(0x53, encode({"data": bytes(15)})),
        item(0x53, encode({"status": 20})),
        item(0x53, encode({"data": "text"})),
        item(0x53, encode({})),
        item(0x53, encode({"data": bytes(16)}))[:-1],
    ],
)
def test_what_carries_nothing_sealed_is_refused(data: bytes) -> None:
    with pytest.raises(DecodeError):
        envelope.unwrap(data)


@given(st.binary(max_size=80))
def test_any_bytes_are_an_envelope_or_a_decode_error(data: bytes) -> None:
    for whole in (data, item(0x53, data)):
        with contextlib.suppress(DecodeError):
            assert len(envelope.unwrap(whole)) >= 16
