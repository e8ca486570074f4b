"""What a token can do, asked at the start, and which way each operation goes on it.

Nothing here is tried that could hurt: SoftHSM 2.6.1 lists CKM_DES3_ECB_ENCRYPT_DATA and ends the process when it is
used, so triple DES is never derived in a token.
"""

from __future__ import annotations

from typing import Final

import msgspec

from keywright.errors import PolicyError

NEEDED: Final = {
    "AES_KEY_GEN": "make masters",
    "AES_ECB": "check values and masks",
    "AES_CBC": "protect commands, and wrap new card keys",
    "AES_CMAC": "MAC commands, answers and the registry's records",
    "AES_ECB_ENCRYPT_DATA": "derive card keys and session keys inside",
    "EC_KEY_PAIR_GEN": "make CA and identity keys",
    "ECDSA": "sign certificates and unit records",
}
"""Mechanisms without which the token cannot be a keystore, and what each is for."""
COUNTER_KDF: Final = "SP800_108_COUNTER_KDF"


class Abilities(msgspec.Struct, frozen=True):
    """What a token offers. `mechanisms`: names of PKCS#11 without CKM_. `wraps_192`: wraps 24 bytes by AES-CBC."""

    manufacturer: str
    model: str
    serial: str
    library: str
    mechanisms: tuple[str, ...]
    sessions: int = 1

    @property
    def has_kdf(self) -> bool:
        """Whether session keys, S16 too, come from one call without masks (PKCS#11 3.0, CKM_SP800_108_COUNTER_KDF)."""
        return COUNTER_KDF in self.mechanisms

    def check(self) -> None:
        """Raise PolicyError naming every mechanism that is missing."""
        missing = [f"CKM_{name} ({why})" for name, why in NEEDED.items() if name not in self.mechanisms]
        if missing:
            raise PolicyError(
                f"the token {self.model} cannot be a keystore; it lacks {', '.join(missing)}",
                hint="use another token, or newer firmware",
            )

    def strategies(self) -> dict[str, str]:
        """Operation -> how it is done on this token, or why not; for `keystore audit` and the docs."""
        return {
            "SCP03 session keys, S8": COUNTER_KDF if self.has_kdf else "masks and AES_ECB_ENCRYPT_DATA",
            "SCP03 session keys, S16": COUNTER_KDF if self.has_kdf else "ENCRYPT on the static key, or exported",
            "card keys, scheme ecb": "AES_ECB_ENCRYPT_DATA",
            "card keys, scheme kdf3": "a mask and AES_ECB_ENCRYPT_DATA",
            "card keys, scheme sp800-108": "masks and AES_ECB_ENCRYPT_DATA, for contexts of at most 14 bytes",
            "card keys, schemes emv and visa2": "refused: triple DES is not derived in a token",
            "certificates and unit records": "ECDSA over our digest",
        }
