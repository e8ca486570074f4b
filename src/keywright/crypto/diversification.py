"""The three keys of one card, or of many cards at once, derived from a master key.

========== ======================================================= ===================== =================
scheme     key x (1 ENC, 2 MAC, 3 DEK) of the card with data KDD   master                source
========== ======================================================= ===================== =================
kdf3       SP 800-108: CMAC(i || 000000 x || 00 || KDD), no L      AES                   GlobalPlatformPro
emv        T = KDD[4:10];  E(T || F0 x) || E(T || 0F x)            triple DES, 16 bytes  EMV CPS 1.1
visa2      T = KDD[0:2] || KDD[4:8];  as emv                       triple DES, 16 bytes  GlobalPlatformPro
visa       T = KDD[0:4] || KDD[8:10];  as emv                      triple DES, 16 bytes  GlobalPlatformPro
sp800-108  SP 800-108: CMAC(i || label || 00 || context || L)      AES                   ours, below
ecb        E(SHA-256(i || label || 00 || context || L), cut)       AES                   ours, below
========== ======================================================= ===================== =================

KDD are the 10 bytes of key diversification data in the answer to INITIALIZE UPDATE. Where a scheme is asked for, a
template is as good as a name (`keywright.crypto.templates`): anything with a ``$`` in it. All but ours are templates.

The scheme ``sp800-108`` is our own: i is one byte counting from 1; the label is 14 ASCII bytes,
``GP-SCP03-ENC-1``, ``GP-SCP03-MAC-1`` or ``GP-SCP03-DEK-1`` (protocol, purpose, version of this recipe);
L is the key length in bits in two bytes. The context is whatever names the card completely; `card_context` builds
the one that the production line uses. i || label || 00 fills one AES block, which is what makes batches cheap.

The scheme ``ecb`` is our own too, for a master that never leaves a token: the same message goes through SHA-256, its
first 16 bytes are the block that is encrypted. A token without SP 800-108 does that by one CKM_AES_ECB_ENCRYPT_DATA
for each key, and the key stays inside. Different messages give different blocks but for a collision of 128 bits of
SHA-256, and different blocks give different keys, because AES is a permutation.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Final, NamedTuple

from keywright.crypto.aes import AesKey, cmac_subkeys
from keywright.crypto.des import TripleDesKey
from keywright.crypto.templates import KDD_BYTES, PURPOSES, Template
from keywright.errors import PolicyError

OWN: Final = "sp800-108"
ECB: Final = "ecb"
TEMPLATES: Final = {
    "kdf3": "$_ 00 00 00 $k 00 $0 $1 $2 $3 $4 $5 $6 $7 $8 $9",
    "emv": "$4 $5 $6 $7 $8 $9 F0 $k $4 $5 $6 $7 $8 $9 0F $k",
    "visa2": "$0 $1 $4 $5 $6 $7 F0 $k $0 $1 $4 $5 $6 $7 0F $k",
    "visa": "$0 $1 $2 $3 $8 $9 F0 $k $0 $1 $2 $3 $8 $9 0F $k",
}
"""The schemes that have a name and are no more than a template."""
SCHEMES: Final = (*TEMPLATES, OWN, ECB)
OF_ANY_LENGTH: Final = (OWN, ECB)
"""The schemes that take a context of any length; the others take the KDD."""

LABELS: Final = (b"GP-SCP03-ENC-1", b"GP-SCP03-MAC-1", b"GP-SCP03-DEK-1")

_BLOCK = 16


class _Layout(NamedTuple):
    """Derivation data of one card: rows with 00 where its diversifier goes, and which byte of that goes where."""

    rows: tuple[bytes, ...]
    places: tuple[tuple[int, int], ...]


def card_context(unique_id: bytes, lot: bytes, master_kvn: int) -> bytes:
    """The context of one card for ``sp800-108``: length (1) || unique id || length (1) || lot || master KVN (1).

    `unique_id` is the whole identity of the card, not a part of it. Two different triples never give the same bytes.
    Raises ValueError if a part is longer than 255 bytes or the id is empty.
    """
    if not unique_id or len(unique_id) > 255 or len(lot) > 255 or not 0 <= master_kvn <= 255:
        raise ValueError("a card context takes an id of 1 to 255 bytes, a lot of at most 255 and a one-byte KVN")
    return bytes([len(unique_id)]) + unique_id + bytes([len(lot)]) + lot + bytes([master_kvn])


def master_kind(scheme: str) -> type[AesKey | TripleDesKey]:
    """What kind of master a scheme or template takes. Raises PolicyError, or UsageError for a template, as below."""
    return AesKey if scheme in OF_ANY_LENGTH or _template(scheme).counts else TripleDesKey


def key_sizes(scheme: str) -> tuple[int, ...]:
    """How long the keys may be that a scheme or template makes, in bytes. Errors as `master_kind`."""
    return (len(_template(scheme).marks),) if master_kind(scheme) is TripleDesKey else (16, 24, 32)


def ecb_blocks(context: bytes, key_bytes: int) -> tuple[bytes, bytes, bytes]:
    """What ``ecb`` encrypts under the master for ENC, MAC and DEK: one AES block for each 16 bytes of a key, joined."""
    counters, tail = range(1, _blocks(key_bytes) + 1), b"\x00" + context + (key_bytes * 8).to_bytes(2)
    enc, mac, dek = (
        b"".join(hashlib.sha256(bytes((i,)) + label + tail).digest()[:_BLOCK] for i in counters) for label in LABELS
    )
    return enc, mac, dek


def derive_key_set(
    master: AesKey | TripleDesKey, scheme: str, diversifier: bytes, *, key_bytes: int | None = None
) -> tuple[bytes, bytes, bytes]:
    """ENC, MAC and DEK of one card, each `key_bytes` long (default: as long as the master).

    `scheme` is a name or a template. `diversifier` is the KDD of 10 bytes, or for ``sp800-108`` and ``ecb`` the context
    of any length. Raises PolicyError for an unknown scheme, a master of the wrong algorithm, or keys longer than the
    master, UsageError for a template that does not parse.
    """
    size = _key_bytes(master, scheme, key_bytes)
    if scheme == ECB and isinstance(master, AesKey):
        enc, mac, dek = (master.encrypt_blocks(blocks)[:size] for blocks in ecb_blocks(diversifier, size))
        return enc, mac, dek
    rows, places = _layout(scheme, size, _width(scheme, len(diversifier)))
    filled = []
    for row in rows:
        data = bytearray(row)
        for at, column in places:
            data[at] = diversifier[column]
        filled.append(bytes(data))
    if isinstance(master, TripleDesKey):
        keys = b"".join(map(master.encrypt_blocks, filled))
        step = size
    else:
        keys = b"".join(map(master.cmac, filled))
        step = len(keys) // 3
    enc, mac, dek = (keys[at : at + size] for at in range(0, 3 * step, step))
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

    `diversifiers` holds the cards' KDDs (10 bytes each), or for ``sp800-108`` and ``ecb`` contexts of `context_bytes`
    each.
    The result is `out`, if given (of exactly the size needed), or a new buffer; the caller may overwrite it after use.
    Errors as `derive_key_set`, and ValueError for sizes that do not fit.
    """
    size = _key_bytes(master, scheme, key_bytes)
    _width(scheme, context_bytes)
    if context_bytes < 1 or len(diversifiers) % context_bytes:
        raise ValueError(f"{len(diversifiers)} bytes are not whole diversifiers of {context_bytes} bytes")
    count = len(diversifiers) // context_bytes
    keys = bytearray(count * 3 * size) if out is None else out
    if len(keys) != count * 3 * size:
        raise ValueError(f"the keys of {count} cards take {count * 3 * size} bytes, not {len(keys)}")
    if not count:
        return keys
    if scheme == ECB:
        for at in range(count):
            context = diversifiers[at * context_bytes : (at + 1) * context_bytes]
            keys[3 * size * at : 3 * size * (at + 1)] = b"".join(
                derive_key_set(master, scheme, context, key_bytes=size)
            )
        return keys
    from keywright.crypto.batch import fill_cmac, fill_ecb  # noqa: PLC0415 - numpy: 70 ms that only batches pay

    rows, places = _layout(scheme, size, context_bytes)
    if isinstance(master, TripleDesKey):
        fill_ecb(keys, master, rows, places, diversifiers, context_bytes)
    else:
        fill_cmac(keys, master, rows, places, diversifiers, context_bytes, size)
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
    wanted = master_kind(scheme)
    shown = scheme if scheme in SCHEMES else "of this template"
    if not isinstance(master, wanted):
        raise PolicyError(f"scheme {shown} takes a master of type {wanted.__name__}")
    size = master.size if key_bytes is None else key_bytes
    if size not in key_sizes(scheme) or size > master.size:
        raise PolicyError(f"scheme {shown} does not make {size}-byte keys from a {master.size}-byte master")
    return size


@lru_cache(maxsize=256)
def _template(scheme: str) -> Template:
    text = TEMPLATES.get(scheme, scheme)
    if "$" not in text:
        raise PolicyError(
            f"no diversification scheme {scheme!r}",
            hint=f"one of {', '.join(SCHEMES)}, or a template with $0 to $9",
        )
    return Template.parse(text)


def _width(scheme: str, size: int) -> int:
    if scheme not in OF_ANY_LENGTH and size != KDD_BYTES:
        raise ValueError(f"key diversification data have {KDD_BYTES} bytes, not {size}")
    return size


@lru_cache(maxsize=256)
def _layout(scheme: str, size: int, width: int) -> _Layout:
    if scheme == OWN:
        head, tail = len(LABELS[0]) + 2, (size * 8).to_bytes(2)
        rows = [
            bytes((i,)) + label + b"\x00" + bytes(width) + tail for label in LABELS for i in range(1, _blocks(size) + 1)
        ]
        return _Layout(tuple(rows), tuple((head + at, at) for at in range(width)))
    template = _template(scheme)
    counters = range(1, _blocks(size) + 1) if template.counts else (0,)
    return _Layout(tuple(template.row(x, i, size) for x in PURPOSES for i in counters), template.places)


def _blocks(size: int) -> int:
    """How many times a derivation in counter mode runs for a key of this size."""
    return -(-size // _BLOCK)
