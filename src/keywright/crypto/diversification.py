"""The three keys of one card, or of many cards at once, derived from a master key.

========== ======================================================= ===================== =================
scheme     key x (1 ENC, 2 MAC, 3 DEK) of the card with data KDD   master                source
========== ======================================================= ===================== =================
kdf3       SP 800-108: CMAC(i || 000000 x || 00 || KDD), no L      AES                   GlobalPlatformPro
emv        T = KDD[4:10];  E(T || F0 x) || E(T || 0F x)            triple DES, 16 bytes  EMV CPS 1.1
visa2      T = KDD[0:2] || KDD[4:8];  as emv                       triple DES, 16 bytes  GlobalPlatformPro
sp800-108  SP 800-108: CMAC(i || label || 00 || context || L)      AES                   ours, below
========== ======================================================= ===================== =================

KDD are the 10 bytes of key diversification data in the answer to INITIALIZE UPDATE.

The scheme ``sp800-108`` is our own: i is one byte counting from 1; the label is 14 ASCII bytes,
``GP-SCP03-ENC-1``, ``GP-SCP03-MAC-1`` or ``GP-SCP03-DEK-1`` (protocol, purpose, version of this recipe);
L is the key length in bits in two bytes. The context is whatever names the card completely; `card_context` builds
the one that the production line uses. i || label || 00 fills one AES block, which is what makes batches cheap.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from keywright.crypto.aes import AesKey, cmac_subkeys
from keywright.crypto.des import TripleDesKey
from keywright.crypto.kdf import sp800_108_counter
from keywright.errors import PolicyError

SCHEMES: Final = ("kdf3", "emv", "visa2", "sp800-108")

KDD_BYTES: Final = 10
LABELS: Final = (b"GP-SCP03-ENC-1", b"GP-SCP03-MAC-1", b"GP-SCP03-DEK-1")

_BLOCK = 16
_PURPOSES = (1, 2, 3)
_DES_HALVES = (0xF0, 0x0F)
_DES_COLUMNS = {"emv": (4, 5, 6, 7, 8, 9), "visa2": (0, 1, 4, 5, 6, 7)}
"""Which bytes of the KDD make T."""
_LENGTH_FIELD_BYTES = {"kdf3": 0, "sp800-108": 2}


def card_context(unique_id: bytes, lot: bytes, master_kvn: int) -> bytes:
    """The context of one card for ``sp800-108``: length (1) || unique id || length (1) || lot || master KVN (1).

    `unique_id` is the whole identity of the card, not a part of it. Two different triples never give the same bytes.
    Raises ValueError if a part is longer than 255 bytes or the id is empty.
    """
    if not unique_id or len(unique_id) > 255 or len(lot) > 255 or not 0 <= master_kvn <= 255:
        raise ValueError("a card context takes an id of 1 to 255 bytes, a lot of at most 255 and a one-byte KVN")
    return bytes([len(unique_id)]) + unique_id + bytes([len(lot)]) + lot + bytes([master_kvn])


def derive_key_set(
    master: AesKey | TripleDesKey, scheme: str, diversifier: bytes, *, key_bytes: int | None = None
) -> tuple[bytes, bytes, bytes]:
    """ENC, MAC and DEK of one card, each `key_bytes` long (default: as long as the master).

    `diversifier` is the KDD of 10 bytes, or for ``sp800-108`` the context of any length.
    Raises PolicyError for an unknown scheme, a master of the wrong algorithm, or keys longer than the master.
    """
    size = _key_bytes(master, scheme, key_bytes)
    if scheme != "sp800-108" and len(diversifier) != KDD_BYTES:
        raise ValueError(f"key diversification data have {KDD_BYTES} bytes, not {len(diversifier)}")
    if isinstance(master, TripleDesKey):
        keys = master.encrypt_blocks(_des_blocks(scheme, diversifier))
        return keys[:16], keys[16:32], keys[32:]
    enc, mac, dek = (
        sp800_108_counter(
            master.cmac,
            label=label,
            context=diversifier,
            length_bytes=size,
            length_field_bytes=_LENGTH_FIELD_BYTES[scheme],
        )
        for label in _labels(scheme)
    )
    return enc, mac, dek


def derive_key_sets(
    master: AesKey | TripleDesKey,
    scheme: str,
    diversifiers: bytes,
    *,
    key_bytes: int | None = None,
    context_bytes: int = KDD_BYTES,
    out: bytearray | None = None,
) -> bytearray:
    """ENC || MAC || DEK of many cards, one after another: the bytes of `derive_key_set` for each, much faster.

    `diversifiers` holds the cards' KDDs (10 bytes each), or for ``sp800-108`` contexts of `context_bytes` each.
    The result is `out`, if given (of exactly the size needed), or a new buffer; the caller may overwrite it after use.
    Errors as `derive_key_set`, and ValueError for sizes that do not fit.
    """
    size = _key_bytes(master, scheme, key_bytes)
    if scheme != "sp800-108" and context_bytes != KDD_BYTES:
        raise ValueError(f"key diversification data have {KDD_BYTES} bytes, not {context_bytes}")
    if context_bytes < 1 or len(diversifiers) % context_bytes:
        raise ValueError(f"{len(diversifiers)} bytes are not whole diversifiers of {context_bytes} bytes")
    count = len(diversifiers) // context_bytes
    keys = bytearray(count * 3 * size) if out is None else out
    if len(keys) != count * 3 * size:
        raise ValueError(f"the keys of {count} cards take {count * 3 * size} bytes, not {len(keys)}")
    if not count:
        return keys
    from keywright.crypto.batch import fill_cmac, fill_ecb  # noqa: PLC0415 - numpy: 70 ms that only batches pay

    if isinstance(master, TripleDesKey):
        fill_ecb(keys, master, _des_blocks(scheme, bytes(KDD_BYTES)), diversifiers, KDD_BYTES, _DES_COLUMNS[scheme])
    else:
        counters = range(1, -(-size // _BLOCK) + 1)
        heads = [bytes([i]) + label + b"\x00" for label in _labels(scheme) for i in counters]
        tail = (size * 8).to_bytes(2)[: _LENGTH_FIELD_BYTES[scheme]]
        fill_cmac(keys, master, heads, diversifiers, context_bytes, tail, size)
    return keys


def an10922_aes128(master: AesKey, diversifier: bytes) -> bytes:
    """An AES-128 key from a master of the same size (NXP AN10922 2.2.1).

    `diversifier` has 1 to 31 bytes, e.g. UID || application id || system id. Raises ValueError for other sizes.
    """
    if master.size != _BLOCK or not 1 <= len(diversifier) <= 31:
        raise ValueError("AN10922 for AES-128 takes a 16-byte master and 1 to 31 bytes of diversification input")
    message = b"\x01" + diversifier
    k1, k2 = cmac_subkeys(master)
    # Always two blocks, so this is not CMAC for inputs shorter than 16 bytes.
    padded, subkey = (message, k1) if len(message) == 32 else ((message + b"\x80").ljust(32, b"\x00"), k2)
    last = int.from_bytes(padded[_BLOCK:]) ^ int.from_bytes(subkey)
    return master.encrypt_cbc(bytes(_BLOCK), padded[:_BLOCK] + last.to_bytes(_BLOCK))[_BLOCK:]


def _key_bytes(master: AesKey | TripleDesKey, scheme: str, key_bytes: int | None) -> int:
    if scheme not in SCHEMES:
        raise PolicyError(f"no diversification scheme {scheme!r}", hint=f"one of {', '.join(SCHEMES)}")
    wanted: type[AesKey | TripleDesKey] = TripleDesKey if scheme in ("emv", "visa2") else AesKey
    if not isinstance(master, wanted):
        raise PolicyError(f"scheme {scheme} takes a master of type {wanted.__name__}")
    size = master.size if key_bytes is None else key_bytes
    sizes = (16,) if wanted is TripleDesKey else (16, 24, 32)
    if size not in sizes or size > master.size:
        raise PolicyError(f"scheme {scheme} does not make {size}-byte keys from a {master.size}-byte master")
    return size


def _des_blocks(scheme: str, kdd: bytes) -> bytes:
    part = bytes(kdd[column] for column in _DES_COLUMNS[scheme])
    return b"".join(part + bytes([half, x]) for x in _PURPOSES for half in _DES_HALVES)


def _labels(scheme: str) -> Sequence[bytes]:
    return [x.to_bytes(4) for x in _PURPOSES] if scheme == "kdf3" else LABELS
