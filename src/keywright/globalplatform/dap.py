"""Load file data block: its hash, the DAP signature over that hash, and ciphering (GPCS C.2, C.3).

A DAP signature is over the hash as a message: RSA and ECDSA hash it once more.
"""

from __future__ import annotations

import hashlib
from typing import Final

from keywright.crypto.aes import AesKey
from keywright.crypto.compare import equal
from keywright.crypto.des import TripleDesKey
from keywright.errors import AuthenticationError
from keywright.globalplatform.load_file import DapBlock
from keywright.globalplatform.signatures import SecretKey, SigningKey, VerifyingKey, sign, verify
from keywright.scp.padding import pad80, unpad80

HASH_BYTES: Final = {"sha1": 20, "sha256": 32, "sha384": 48, "sha512": 64}
"""Hash algorithms of a load file data block (GPCS C.2), weakest first, with their length in bytes."""
HASH_CODES: Final = {0x01: "sha1", 0x02: "sha256", 0x03: "sha384", 0x04: "sha512"}
"""As card capabilities list them (GPCS H.4)."""
_AES_HASHES: Final = {16: "sha256", 24: "sha384", 32: "sha512"}


def hash_load_block(block: bytes, algorithm: str = "sha256") -> bytes:
    """Hash of a load file data block, without the header of its C4. Raises ValueError for another algorithm."""
    if algorithm not in HASH_BYTES:
        raise ValueError(f"no load file hash with {algorithm!r}; one of {', '.join(HASH_BYTES)}")
    return hashlib.new(algorithm, block).digest()


def algorithm_of(digest: bytes) -> str:
    """Algorithm of a hash, by its length. Raises ValueError for another length."""
    for name, size in HASH_BYTES.items():
        if len(digest) == size:
            return name
    raise ValueError(f"no load file hash has {len(digest)} bytes")


def check_load_hash(digest: bytes, block: bytes) -> None:
    """Check the hash that INSTALL [for load] announced. Raises AuthenticationError, ValueError for another length."""
    if not equal(digest, hash_load_block(block, algorithm_of(digest))):
        raise AuthenticationError("the load file data block does not have the hash that was announced")


def weakest_hash(key: VerifyingKey | SigningKey) -> str:
    """The weakest hash that a DAP, token or cipher key may be used with (GPCS C.2): not weaker than the key itself."""
    return _AES_HASHES[key.size] if isinstance(key, AesKey) else "sha1"


def is_strong_enough(digest: bytes, key: VerifyingKey | SigningKey) -> bool:
    """Whether a hash of this length goes with the key."""
    return len(digest) >= HASH_BYTES[weakest_hash(key)]


def sign_dap(key: SigningKey, digest: bytes, security_domain: bytes) -> DapBlock:
    """DAP block of one security domain over the load file hash. Raises ValueError for a hash weaker than the key."""
    _demand_strength(digest, key)
    return DapBlock(security_domain, sign(key, digest))


def verify_dap(key: VerifyingKey, digest: bytes, dap: DapBlock) -> None:
    """Check a DAP block on card. Raises AuthenticationError, also for a hash weaker than the key."""
    try:
        _demand_strength(digest, key)
    except ValueError as error:
        raise AuthenticationError(str(error)) from None
    verify(key, digest, dap.signature)


def cipher_load_block(key: SecretKey, block: bytes, icv: bytes | None = None) -> bytes:
    """A load file data block in CBC under its padding, for D4; `icv` as D3 brings it, zeros when there is none."""
    size = _block(key)
    return key.encrypt_cbc(icv or bytes(size), pad80(block, size))


def decipher_load_block(key: SecretKey, ciphered: bytes, icv: bytes | None = None) -> bytes:
    """Inverse of `cipher_load_block`. Raises AuthenticationError for what is not whole blocks or not padded."""
    size = _block(key)
    start = icv or bytes(size)
    if len(ciphered) % size or len(start) != size:
        raise AuthenticationError("a ciphered load file is whole blocks, its ICV one of them")
    try:
        return unpad80(key.decrypt_cbc(start, ciphered))
    except ValueError:
        raise AuthenticationError("the padding of the ciphered load file is wrong") from None


def _block(key: SecretKey) -> int:
    return 8 if isinstance(key, TripleDesKey) else 16


def _demand_strength(digest: bytes, key: VerifyingKey | SigningKey) -> None:
    algorithm_of(digest)
    if not is_strong_enough(digest, key):
        raise ValueError(f"a hash of {len(digest)} bytes is weaker than the key; use {weakest_hash(key)} or more")
