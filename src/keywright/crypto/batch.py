"""The same derivation for many cards in step: numpy lays out the messages, one call ciphers many blocks.

Imported by `keywright.crypto.diversification` only when a batch is asked for, because numpy takes 70 ms to load.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from keywright.crypto.aes import AesKey, cmac_subkeys
from keywright.crypto.des import TripleDesKey

Bytes: TypeAlias = NDArray[np.uint8]
Halves: TypeAlias = NDArray[np.uint64]
"""Cipher blocks as two machine words each: numpy works on whole words four times faster than on single bytes."""

Places: TypeAlias = Sequence[tuple[int, int]]
"""Position in a row, and which byte of the card's diversifier stands there."""

_BLOCK = 16
_CALL_BYTES = 96 * 1024
"""Input of one cipher call: stays in the cache and below the size for which malloc asks the system for fresh pages
(measured: 2.2 ns a block at four times the size, 0.3 ns at this)."""


def fill_cmac(
    out: bytearray,
    key: AesKey,
    rows: Sequence[bytes],
    places: Places,
    diversifiers: bytes,
    width: int,
    size: int,
) -> None:
    """Write the derived keys of every card into `out`, `size` bytes a key.

    Row r of a card is CMAC(rows[r]), its `width` bytes of `diversifiers` put in their `places`; all rows have one
    length. A key takes as many rows, one after another, as its size needs; what is left of the last is dropped.
    """
    fixed, opened = _layout(key, rows, places)
    cards = np.frombuffer(diversifiers, dtype=np.uint8).reshape(-1, width)
    keys = np.frombuffer(out, dtype=np.uint8).reshape(len(cards), -1, size)
    for some in _portions(len(cards), len(rows) * _BLOCK):
        macs = _cmacs(key, fixed, opened, _spread(cards[some], places, opened))
        keys[some] = macs.view(np.uint8).reshape(-1, keys.shape[1], len(rows) // keys.shape[1] * _BLOCK)[:, :, :size]


def fill_ecb(
    out: bytearray,
    key: TripleDesKey,
    rows: Sequence[bytes],
    places: Places,
    diversifiers: bytes,
    width: int,
) -> None:
    """Write the encrypted rows of every card into `out`, its `width` bytes of `diversifiers` put in their `places`."""
    blocks = np.frombuffer(b"".join(rows), dtype=np.uint8).reshape(len(rows), -1)
    cards = np.frombuffer(diversifiers, dtype=np.uint8).reshape(-1, width)
    keys = np.frombuffer(out, dtype=np.uint8).reshape(len(cards), -1)
    for some in _portions(len(cards), blocks.size):
        chosen = cards[some]
        message = np.broadcast_to(blocks, (len(chosen), *blocks.shape)).copy()
        for at, column in places:
            message[:, :, at] = chosen[:, column, None]
        keys[some] = np.frombuffer(key.encrypt_blocks(message.tobytes()), dtype=np.uint8).reshape(len(chosen), -1)


def _portions(cards: int, card_bytes: int) -> Iterator[slice]:
    step = max(1, _CALL_BYTES // card_bytes)
    return (slice(at, min(at + step, cards)) for at in range(0, cards, step))


def _layout(key: AesKey, rows: Sequence[bytes], places: Places) -> tuple[Bytes, range]:
    """The rows, padded and with the subkey in the last block (SP 800-38B 6.2), and where they wait for card data."""
    complete, padded = cmac_subkeys(key)
    length = len(rows[0])
    padding = b"" if length % _BLOCK == 0 else b"\x80" + bytes(-(length + 1) % _BLOCK)
    whole = b"".join(row + padding for row in rows)
    fixed = np.frombuffer(whole, dtype=np.uint8).reshape(len(rows), -1).copy()
    fixed[:, -_BLOCK:] ^= np.frombuffer(padded if padding else complete, dtype=np.uint8)
    positions = [at for at, _ in places]
    return fixed, range(min(positions), max(positions) + 1)


def _spread(cards: Bytes, places: Places, opened: range) -> Bytes:
    """The bytes of each card as they stand in a row from `opened.start` on, 00 where the row has bytes of its own."""
    if len(places) == len(opened) == cards.shape[1] and all(at - opened.start == column for at, column in places):
        return cards
    spread = np.zeros((len(cards), len(opened)), dtype=np.uint8)
    for at, column in places:
        spread[:, at - opened.start] = cards[:, column]
    return spread


def _cmacs(key: AesKey, fixed: Bytes, opened: range, cards: Bytes) -> Halves:
    """CMAC of every row of every card, block by block: cards x rows x two words."""
    rows = len(fixed)
    state = np.zeros((1, rows, 2), dtype=np.uint64)
    for at in range(0, fixed.shape[1], _BLOCK):
        words = np.ascontiguousarray(fixed[:, at : at + _BLOCK]).view(np.uint64)
        start, stop = max(at, opened.start), min(at + _BLOCK, opened.stop)
        if start < stop:
            block = np.zeros((len(cards), _BLOCK), dtype=np.uint8)
            block[:, start - at : stop - at] = cards[:, start - opened.start : stop - opened.start]
            state = _xor(block.view(np.uint64), words, state)
        else:
            state = state ^ words
        encrypted = key.encrypt_blocks(state.tobytes())
        state = np.frombuffer(encrypted, dtype=np.uint64).reshape(-1, rows, 2)
    return state


def _xor(blocks: Halves, words: Halves, state: Halves) -> Halves:
    """Card block xor fixed words xor chaining state. Column by column: broadcasting is four times slower here."""
    message = np.empty((len(blocks), *words.shape), dtype=np.uint64)
    same_for_all = len(state) == 1
    fixed = words ^ state[0] if same_for_all else words
    for row in range(len(words)):
        for half in range(2):
            np.bitwise_xor(blocks[:, half], fixed[row, half], out=message[:, row, half])
    if not same_for_all:
        message ^= state
    return message
