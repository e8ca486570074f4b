"""Keys that never print themselves, and what is done with them. The one room that touches `cryptography`."""

from __future__ import annotations

from keywright.crypto.aead import CCM_NONCE_BYTES, GCM_NONCE_BYTES, CcmKey, SivKey, open_gcm, seal_gcm
from keywright.crypto.aes import AesKey
from keywright.crypto.certificates import (
    Certificate,
    Issuer,
    issue_ca_certificate,
    issue_device_certificate,
    load_certificate,
    verify_device_certificate,
)
from keywright.crypto.compare import equal
from keywright.crypto.curve25519 import Ed25519Key, X25519Key, verify_ed25519
from keywright.crypto.des import TripleDesKey
from keywright.crypto.diversification import (
    SCHEMES,
    an10922_aes128,
    card_context,
    derive_key_set,
    derive_key_sets,
)
from keywright.crypto.ec import CURVES, EcPrivateKey, EcPublicKey
from keywright.crypto.kdf import hkdf, sp800_108_counter, x963
from keywright.crypto.mac import hmac_tag, verify_hmac
from keywright.crypto.rsa import RsaPrivateKey, RsaPublicKey

__all__ = [
    "CCM_NONCE_BYTES",
    "CURVES",
    "GCM_NONCE_BYTES",
    "SCHEMES",
    "AesKey",
    "CcmKey",
    "Certificate",
    "EcPrivateKey",
    "EcPublicKey",
    "Ed25519Key",
    "Issuer",
    "RsaPrivateKey",
    "RsaPublicKey",
    "SivKey",
    "TripleDesKey",
    "X25519Key",
    "an10922_aes128",
    "card_context",
    "derive_key_set",
    "derive_key_sets",
    "equal",
    "hkdf",
    "hmac_tag",
    "issue_ca_certificate",
    "issue_device_certificate",
    "load_certificate",
    "open_gcm",
    "seal_gcm",
    "sp800_108_counter",
    "verify_device_certificate",
    "verify_ed25519",
    "verify_hmac",
    "x963",
]
