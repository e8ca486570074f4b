"""Project Wycheproof: key agreement and signatures. Every case of every file is run."""

from __future__ import annotations

import pytest

from keywright.crypto import EcPrivateKey, EcPublicKey, X25519Key, verify_ed25519
from keywright.errors import AuthenticationError, DecodeError, PolicyError
from support.vectors import Case, unhex, vectors

CURVES = {"secp256r1": "P-256", "secp384r1": "P-384", "brainpoolP256r1": "brainpoolP256r1"}


def check_agreement(case: Case) -> None:
    """Valid: the secret of the file. Invalid: refused. Acceptable: one or the other, never another secret."""
    curve = CURVES[case["group"]["curve"]]
    private = EcPrivateKey.from_scalar(curve, unhex(case["private"]))
    try:
        secret = private.agree(EcPublicKey.from_spki(unhex(case["public"])))
    except (DecodeError, PolicyError):
        assert case["result"] != "valid"
    else:
        assert case["result"] != "invalid"
        assert secret == unhex(case["shared"])


def check_signature(case: Case) -> None:
    group = case["group"]
    public = EcPublicKey.from_spki(unhex(group["publicKeyDer"]), CURVES[group["publicKey"]["curve"]])
    hash_name = group["sha"].lower().replace("-", "")
    if case["result"] == "valid":
        public.verify_der(unhex(case["sig"]), unhex(case["msg"]), hash_name)
    else:
        with pytest.raises(AuthenticationError):
            public.verify_der(unhex(case["sig"]), unhex(case["msg"]), hash_name)


@vectors("wycheproof/ecdh_secp256r1_test.json.gz")
def test_ecdh_p256(case: Case) -> None:
    check_agreement(case)


@vectors("wycheproof/ecdh_secp384r1_test.json.gz")
def test_ecdh_p384(case: Case) -> None:
    check_agreement(case)


@vectors("wycheproof/ecdh_brainpoolP256r1_test.json.gz")
def test_ecdh_brainpool(case: Case) -> None:
    check_agreement(case)


@vectors("wycheproof/ecdsa_secp256r1_sha256_test.json.gz")
def test_ecdsa_p256(case: Case) -> None:
    check_signature(case)


@vectors("wycheproof/ecdsa_secp384r1_sha384_test.json.gz")
def test_ecdsa_p384(case: Case) -> None:
    check_signature(case)


@vectors("wycheproof/ecdsa_brainpoolP256r1_sha256_test.json.gz")
def test_ecdsa_brainpool(case: Case) -> None:
    check_signature(case)


@vectors("wycheproof/ed25519_test.json.gz")
def test_ed25519(case: Case) -> None:
    public, signature, message = unhex(case["group"]["publicKey"]["pk"]), unhex(case["sig"]), unhex(case["msg"])
    if case["result"] == "valid":
        verify_ed25519(public, signature, message)
    else:
        with pytest.raises(AuthenticationError):
            verify_ed25519(public, signature, message)


@vectors("wycheproof/x25519_test.json.gz")
def test_x25519(case: Case) -> None:
    private = X25519Key(unhex(case["private"]))
    try:
        secret = private.agree(unhex(case["public"]))
    except AuthenticationError:
        assert case["result"] != "valid"
    else:
        assert secret == unhex(case["shared"])
