"""The parameter of CKM_SP800_108_COUNTER_KDF, read as a token reads it, gives SCP03's derivation (Amd D 4.1.5)."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator

import pytest

from keywright.crypto.aes import AesKey
from keywright.scp.scp03.keys import S_ENC, S_MAC, S_RMAC, derive
from support.softhsm import require_softhsm
from support.softoken import SofToken

KEY = AesKey(bytes(range(16)))


def derived(parameter: bytes, size: int) -> bytes:
    """What a token makes of the parameter (PKCS#11 3.0, 2.44.1 to 2.44.4), PRF AES-CMAC."""
    from keywright.production.hsm.kdf import CounterFormat, Parameters

    read = Parameters.from_buffer_copy(parameter)
    assert (read.prf, read.count, read.additional_count, read.additional) == (0x108A, 3, 0, None)
    made = b""
    for counter in range(1, -(-size // 16) + 1):
        message = b""
        for one in read.data[: read.count]:
            if one.type == 4:  # CK_SP800_108_BYTE_ARRAY
                message += ctypes.string_at(one.value, one.length)
                continue
            assert one.type == 1  # CK_SP800_108_ITERATION_VARIABLE
            assert one.length == ctypes.sizeof(CounterFormat)
            form = CounterFormat.from_buffer_copy(ctypes.string_at(one.value, one.length))
            assert (form.little_endian, form.width_in_bits) == (0, 8)
            message += counter.to_bytes(1)
        made += KEY.cmac(message)
    return made[:size]


@pytest.mark.parametrize("size", [16, 24, 32])
@pytest.mark.parametrize("constant", [S_ENC, S_MAC, S_RMAC])
@pytest.mark.parametrize("context", [bytes(range(16)), bytes(range(32))], ids=["S8", "S16"])
def test_the_token_is_asked_for_the_derivation_of_scp03(constant: int, size: int, context: bytes) -> None:
    require_softhsm()
    from keywright.production.hsm.kdf import parameters

    parameter, alive = parameters(constant, size, context)
    assert alive
    assert derived(parameter, size) == derive(KEY, constant, context, size)


@pytest.fixture(scope="module")
def softoken() -> Iterator[SofToken]:
    made = SofToken()
    yield made
    made.close()


@pytest.mark.parametrize("size", [16, 24, 32])
@pytest.mark.parametrize("constant", [S_ENC, S_MAC, S_RMAC])
@pytest.mark.parametrize("context", [bytes(range(16)), bytes(range(32))], ids=["S8", "S16"])
def test_a_token_that_has_the_mechanism_derives_session_keys(
    softoken: SofToken, constant: int, size: int, context: bytes
) -> None:
    require_softhsm()
    from keywright.production.hsm.kdf import COUNTER_KDF, parameters

    for static in (bytes(range(16)), bytes(range(32))):
        parameter, alive = parameters(constant, size, context)
        assert alive
        found = softoken.derive(softoken.key(static), COUNTER_KDF, parameter, size)
        assert found == derive(AesKey(static), constant, context, size)
