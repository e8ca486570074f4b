"""UWB ranging without a radio, against what its cryptography alone costs.

The floor of a frame is its AES-CCM, twice: sealed and opened, with a context that is there already. That of a round's
keys is the four AES-CMACs of the derivation under three keys, two of which are new in every round. That of a slot's
pulses is 32 blocks of AES. A round is what one initiator and one responder do together for one distance, the virtual
air between them included.
"""

from __future__ import annotations

import random
import time
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESCCM
from cryptography.hazmat.primitives.cmac import CMAC

from bench.figures import Figure, micro, rate
from bench.measure import Contender, race
from keywright.crypto.aes import AesKey
from keywright.uwb.air import UwbAir
from keywright.uwb.frames import MHR_BYTES, MIC_BYTES, PRE_POLL, PrePoll, open_frame, seal_frame
from keywright.uwb.grid import Grid
from keywright.uwb.keys import SessionKeys
from keywright.uwb.ranging.events import Measured
from keywright.uwb.ranging.initiator import Initiator
from keywright.uwb.ranging.responder import Responder
from keywright.uwb.setup.terms import Terms
from keywright.uwb.sts import drbg

FRAMES: Final = 0.20
LADDER: Final = 0.35
PULSES: Final = 0.06
ROUNDS_PER_S: Final = 300.0
_ROUNDS: Final = 31
_BLOCKS: Final = 32
_PAYLOAD: Final = PrePoll(1, 2, 3, 0, 0)
_URSK: Final = AesKey(bytes(range(32)), "URSK")
_TERMS: Final = Terms(1, 0, 0x11, 9, 9, Grid(1000, 1, 1, 6, 3), 10_000)


def figures() -> list[Figure]:
    """Every row."""
    return [_frames(), _ladder(), _pulses(), _rounds()]


def _frames() -> Figure:
    keys = SessionKeys(_URSK, _TERMS.configuration)
    ccm, nonce, payload = AESCCM(bytes(16), tag_length=MIC_BYTES), bytes(13), _PAYLOAD.build()
    mhr = bytes(MHR_BYTES)
    sealed = ccm.encrypt(nonce, payload, mhr)

    def ours() -> None:
        frame = seal_frame(keys.mupsk1, keys.uad, 1, PRE_POLL, _PAYLOAD.build())
        PrePoll.parse(open_frame(keys.mupsk1, keys.uad, frame, PRE_POLL).payload)

    def bare() -> None:
        ccm.encrypt(nonce, payload, mhr)
        ccm.decrypt(nonce, sealed, mhr)

    ours()  # compiles the messages: what a round of the race is long enough for must not be found with that
    result = race([Contender("ours", ours), Contender("bare", bare)], rounds=_ROUNDS)
    each = result.median("ours")
    against = f"{rate(1 / result.median('bare'))} CCM alone"
    return Figure("UWB frame sealed and opened", rate(1 / each), against, result.speed("ours", "bare"), FRAMES)


def _ladder() -> Figure:
    keys = SessionKeys(_URSK, _TERMS.configuration)
    master = CMAC(algorithms.AES(bytes(32)))
    first, other = bytes(48), bytes(32)

    def ours() -> None:
        keys.round_keys(1000)

    def bare() -> None:
        one, two = master.copy(), master.copy()
        one.update(first)
        two.update(first)
        cascade = CMAC(algorithms.AES(one.finalize() + two.finalize()))
        for _ in range(2):
            derived = cascade.copy()
            derived.update(other)
            derived.finalize()

    result = race([Contender("ours", ours), Contender("bare", bare)], rounds=_ROUNDS)
    against = f"{micro(result.median('bare'))} its four CMACs alone"
    share = result.speed("ours", "bare")
    return Figure("UWB keys of a round", micro(result.median("ours")), against, share, LADDER)


def _pulses() -> Figure:
    keys = SessionKeys(_URSK, _TERMS.configuration).round_keys(1000)
    v = keys.sts_v(1001)
    block = Cipher(algorithms.AES(bytes(16)), modes.ECB()).encryptor().update
    counters = b"".join(bytes(12) + n.to_bytes(4) for n in range(_BLOCKS))

    def ours() -> None:
        drbg(keys.dursk, v, _BLOCKS)

    def bare() -> None:
        block(counters)

    result = race([Contender("ours", ours), Contender("bare", bare)], rounds=_ROUNDS)
    against = f"{micro(result.median('bare'))} AES of {_BLOCKS} blocks alone"
    share = result.speed("ours", "bare")
    return Figure("UWB pulses of a slot (4,096)", micro(result.median("ours")), against, share, PULSES)


def _rounds() -> Figure:
    start = time.perf_counter()
    count = rounds(30.0)
    each = count / (time.perf_counter() - start)
    what = "UWB ranging rounds, both ends and the air"
    return Figure(what, rate(each), f"{count} distances", each, ROUNDS_PER_S, form="{:.0f} a second")


def rounds(virtual_s: float) -> int:
    """Range for so long in virtual time; how many distances there were. Raises RuntimeError if one is wrong."""
    air = UwbAir(random.Random(1).random)
    responder = Responder(_URSK, _TERMS, 0)
    air.join(Initiator(_URSK, _TERMS))
    air.join(responder, (5.0, 0.0, 0.0))
    air.run(virtual_s)
    found = [event.distance_m for event in responder.events() if isinstance(event, Measured)]
    if not found or any(abs(one - 5) > 0.01 for one in found):
        raise RuntimeError(f"{len(found)} distances, not all of 5 m")
    return len(found)
