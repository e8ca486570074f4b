"""Project Wycheproof: symmetric primitives. Every case of every file is run."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.padding import PKCS7

from keywright.crypto import AesKey, SivKey, hkdf, hmac_tag, open_gcm, seal_gcm, verify_hmac
from keywright.errors import AuthenticationError
from support.vectors import Case, unhex, vectors


def unpad(padded: bytes) -> bytes:
    remover = PKCS7(128).unpadder()
    return remover.update(padded) + remover.finalize()


@vectors("wycheproof/aes_cbc_pkcs5_test.json.gz")
def test_cbc_with_padding(case: Case) -> None:
    key, iv, sealed = AesKey(unhex(case["key"])), unhex(case["iv"]), unhex(case["ct"])
    if case["result"] == "valid":
        padder = PKCS7(128).padder()
        assert key.encrypt_cbc(iv, padder.update(unhex(case["msg"])) + padder.finalize()) == sealed
        assert unpad(key.decrypt_cbc(iv, sealed)) == unhex(case["msg"])
    else:
        with pytest.raises(ValueError):
            unpad(key.decrypt_cbc(iv, sealed))


@vectors("wycheproof/aes_gcm_test.json.gz")
def test_gcm(case: Case) -> None:
    key, nonce, associated = AesKey(unhex(case["key"])), unhex(case["iv"]), unhex(case["aad"])
    sealed = unhex(case["ct"]) + unhex(case["tag"])
    if len(nonce) != 12:
        with pytest.raises(ValueError, match="nonce of 12 bytes"):
            seal_gcm(key, nonce, unhex(case["msg"]), associated)
        with pytest.raises(ValueError, match="nonce of 12 bytes"):
            open_gcm(key, nonce, sealed, associated)
    elif case["result"] == "valid":
        assert seal_gcm(key, nonce, unhex(case["msg"]), associated) == sealed
        assert open_gcm(key, nonce, sealed, associated) == unhex(case["msg"])
    else:
        with pytest.raises(AuthenticationError):
            open_gcm(key, nonce, sealed, associated)


@vectors("wycheproof/aes_siv_cmac_test.json.gz")
def test_siv(case: Case) -> None:
    key, associated, sealed = SivKey(unhex(case["key"])), [unhex(case["aad"])], unhex(case["ct"])
    if case["result"] == "valid":
        assert key.seal(unhex(case["msg"]), associated) == sealed
        assert key.open(sealed, associated) == unhex(case["msg"])
    else:
        with pytest.raises(AuthenticationError):
            key.open(sealed, associated)


@vectors("wycheproof/hkdf_sha256_test.json.gz")
def test_hkdf(case: Case) -> None:
    arguments = unhex(case["ikm"]), unhex(case["salt"]), unhex(case["info"]), case["size"]
    if case["result"] == "valid":
        assert hkdf(*arguments) == unhex(case["okm"])
    else:
        with pytest.raises(ValueError, match="at most 8160 bytes"):
            hkdf(*arguments)


@vectors("wycheproof/hmac_sha256_test.json.gz")
def test_hmac(case: Case) -> None:
    size = case["group"]["tagSize"] // 8
    key, message, tag = unhex(case["key"]), unhex(case["msg"]), unhex(case["tag"])
    if case["result"] == "valid":
        assert hmac_tag(key, message)[:size] == tag
        verify_hmac(tag, key, message, tag_bytes=size)
    else:
        with pytest.raises(AuthenticationError):
            verify_hmac(tag, key, message, tag_bytes=size)
