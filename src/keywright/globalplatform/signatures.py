"""How content management signs: tokens, receipts and DAP use one scheme for each kind of key (GPCS B.1 to B.4, C.1).

| key | scheme |
| --- | --- |
| RSA of 1024 bits | RSASSA-PKCS1-v1_5 with SHA-1; verified with SHA-256 too, as GlobalPlatformPro signs DAP |
| RSA above | RSASSA-PSS with SHA-256, salt of 32 bytes |
| elliptic curve | ECDSA, r and s as wide as the curve; SHA-256, -384 or -512 by its size |
| AES | CMAC, 16 bytes |
| triple DES, two keys | retail MAC over the padded message, 8 bytes (DAP and receipts only) |
"""

from __future__ import annotations

from typing import Final, TypeAlias

from keywright.crypto.aes import AesKey
from keywright.crypto.compare import equal
from keywright.crypto.des import TripleDesKey
from keywright.crypto.ec import EcPrivateKey, EcPublicKey
from keywright.crypto.rsa import RsaPrivateKey, RsaPublicKey
from keywright.errors import AuthenticationError
from keywright.scp.padding import pad80

SecretKey: TypeAlias = AesKey | TripleDesKey
SigningKey: TypeAlias = RsaPrivateKey | EcPrivateKey | SecretKey
VerifyingKey: TypeAlias = RsaPublicKey | EcPublicKey | SecretKey

_OLD_RSA_BITS: Final = 1024
_PSS_SALT: Final = 32
_DES_BLOCK: Final = 8


def sign(key: SigningKey, message: bytes) -> bytes:
    """Signature or MAC of `message` in the scheme of the key."""
    match key:
        case RsaPrivateKey():
            if key.public.bits <= _OLD_RSA_BITS:
                return key.sign(message, "sha1")
            return key.sign_pss(message, "sha256", _PSS_SALT)
        case EcPrivateKey():
            return key.sign(message, curve_hash(key.public))
        case _:
            return _mac(key, message)


def verify(key: VerifyingKey, message: bytes, signature: bytes) -> None:
    """Check a signature or MAC. Raises AuthenticationError."""
    match key:
        case RsaPublicKey():
            if key.bits <= _OLD_RSA_BITS:
                _verify_old(key, message, signature)
            else:
                key.verify_pss(signature, message, "sha256", _PSS_SALT)
        case EcPublicKey():
            key.verify(signature, message, curve_hash(key))
        case _:
            if not equal(signature, _mac(key, message)):
                raise AuthenticationError("signature not accepted")


def _verify_old(key: RsaPublicKey, message: bytes, signature: bytes) -> None:
    try:
        key.verify(signature, message, "sha1")
    except AuthenticationError:
        key.verify(signature, message, "sha256")


def curve_hash(key: EcPublicKey) -> str:
    """Hash of ECDSA with this curve: the one that is at least as strong (GPCS B.4.3)."""
    if key.width <= 32:
        return "sha256"
    return "sha384" if key.width <= 48 else "sha512"


def public_half(key: SigningKey) -> VerifyingKey:
    """What checks the signatures of `key`: its public key, or itself when it is secret on both ends."""
    return key.public if isinstance(key, RsaPrivateKey | EcPrivateKey) else key


def _mac(key: SecretKey, message: bytes) -> bytes:
    if isinstance(key, AesKey):
        return key.cmac(message)
    return key.retail_mac(bytes(_DES_BLOCK), pad80(message, _DES_BLOCK))
