"""The key sets of many cards derived at once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from bench.figures import Figure, rate
from bench.measure import Contender, Race, race
from keywright.crypto.aes import AesKey
from keywright.crypto.des import TripleDesKey
from keywright.crypto.diversification import derive_key_sets

CARDS = 100_000
KDD_BYTES = 10
KEY_BYTES = 16
_PORTION = 2048
"""Cards in one cipher call of the bare contender: 96 KiB, which stays in the cache."""


def figures() -> list[Figure]:
    """Key sets a second; the target is an absolute one, so the ratio to bare stands beside it."""
    master = bytes(range(16))
    kdds = np.random.default_rng(1).bytes(CARDS * KDD_BYTES)
    out = bytearray(CARDS * 3 * KEY_BYTES)
    key = AesKey(master)
    found = race(
        [
            Contender("keywright", lambda: derive_key_sets(key, "kdf3", kdds, out=out), CARDS),
            Contender("bare", _bare(master), CARDS),
        ],
        rounds=51,
    )
    return [*_against_bare(found), *_triple_des(master, kdds, out)]


def _against_bare(found: Race) -> list[Figure]:
    ours, bare = (1 / found.median(name) for name in ("keywright", "bare"))
    what = "batch derivation, key sets a second (kdf3, AES-128)"
    share = found.speed("keywright", "bare") * 100
    return [
        Figure(what, rate(ours), f"bare {rate(bare)}", ours / 1e6, 5.0, form="{:.1f} M/s"),
        Figure(f"{what}: share of bare", rate(ours), f"bare {rate(bare)}", share, form="{:.0f} %"),
    ]


def _triple_des(master: bytes, kdds: bytes, out: bytearray) -> list[Figure]:
    """EMV: the bare contender only encrypts, again and again, one buffer that stands ready."""
    key = TripleDesKey(master)
    found = race(
        [
            Contender("keywright", lambda: derive_key_sets(key, "emv", kdds, out=out), CARDS),
            Contender("bare", _bare_triple_des(master), CARDS),
        ],
        rounds=11,
    )
    ours, bare = (1 / found.median(name) for name in ("keywright", "bare"))
    share = found.speed("keywright", "bare") * 100
    what = "batch derivation, key sets a second (emv, triple DES): share of bare"
    return [Figure(what, rate(ours), f"bare {rate(bare)}", share, 60.0, form="{:.0f} %")]


def _bare_triple_des(master: bytes) -> Callable[[], None]:
    update = Cipher(TripleDES(master + master[:8]), modes.ECB()).encryptor().update
    buffer = bytes(_PORTION * 3 * KEY_BYTES)
    rest = bytes(CARDS % _PORTION * 3 * KEY_BYTES)

    def derive() -> None:
        for _ in range(CARDS // _PORTION):
            update(buffer)
        update(rest)

    return derive


def _bare(master: bytes) -> Callable[[], None]:
    """The same XORs and the same ECB calls on arrays that stand ready: three last CMAC blocks for each card."""
    update = Cipher(algorithms.AES(master), modes.ECB()).encryptor().update
    out = np.empty((CARDS, 3, 2), dtype=np.uint64)
    blocks = np.zeros((CARDS, 3, 2), dtype=np.uint64)
    fixed = np.arange(6, dtype=np.uint64).reshape(3, 2)

    def derive() -> None:
        for start in range(0, CARDS, _PORTION):
            message = blocks[start : start + _PORTION] ^ fixed
            encrypted = np.frombuffer(update(message.tobytes()), dtype=np.uint64)
            out[start : start + _PORTION] = encrypted.reshape(-1, 3, 2)

    return derive
