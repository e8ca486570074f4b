"""Opening a session of SCP11 on P-256, host side: against Yubico's host and against nothing but the cryptography.

The card is an answer that was recorded, so every contender makes a new key, as it must, and then goes on with the key
that the answer is for. Two key agreements and one new key are nine tenths of it for everybody: the bare cryptography
itself is only about 1.2 times as fast as Yubico's host.
"""

from __future__ import annotations

from hmac import compare_digest
from typing import Any, Final

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import algorithms
from cryptography.hazmat.primitives.cmac import CMAC
from cryptography.hazmat.primitives.kdf.x963kdf import X963KDF
from yubikit.core.smartcard import scp as foreign
from yubikit.core.smartcard.scp import KeyRef, Scp11KeyParams, ScpKid, ScpState

from bench.figures import Figure, micro
from bench.measure import Contender, Race, race
from keywright.crypto.ec import EcPrivateKey
from keywright.iso7816.apdu import Response
from keywright.scp.scp11.card import Initiation
from keywright.scp.scp11.host import Card, open_channel
from keywright.scp.scp11.messages import SCP11B
from keywright.scp.scp11.profile import Profile

CURVE: Final = "P-256"
KVN: Final = 1
FLOOR: Final = 60.0
AGAINST_YUBIKIT: Final = 1.3
_HEADER: Final = bytes.fromhex("5F4941")
_RECEIPT: Final = slice(70, 86)
_POINT: Final = slice(3, 68)


class _OneKey:
    """A security domain with one key and nothing else; the rest of what an initiation may ask is never asked."""

    def __init__(self, static: EcPrivateKey, ephemeral: EcPrivateKey) -> None:
        self.profile = Profile()
        self._static, self._ephemeral = static, ephemeral

    def agreement_key(self, kvn: int, kid: int) -> EcPrivateKey | None:
        """The one key."""
        return self._static if (kvn, kid) == (KVN, SCP11B.kid) else None

    def ephemeral_key(self, curve: str) -> EcPrivateKey:
        """Always the same: the answer is recorded."""
        del curve
        return self._ephemeral

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: None


def figures() -> list[Figure]:
    """Every row about the agreement."""
    own, static, other = (EcPrivateKey.generate(CURVE) for _ in range(3))
    card = Card(static.public, KVN)
    dialogue = open_channel(SCP11B, card, own)
    command = next(dialogue)
    answer = Initiation(_OneKey(static, other)).internal_authenticate(command)

    def ours() -> None:
        EcPrivateKey.generate(CURVE)
        opening = open_channel(SCP11B, card, own)
        next(opening)
        try:
            opening.send(answer)
        except StopIteration:
            return
        raise AssertionError("the session is not open")

    found = race(
        [
            Contender("keywright", ours),
            Contender("yubikit", _Foreign(own, static, answer).open),
            Contender("bare", _Bare(own, static, command.data, answer).open),
        ]
    )
    what = "session open with SCP11b, P-256, host side"
    return [_row(what, found, "yubikit", AGAINST_YUBIKIT), _row(what, found, "bare", FLOOR, percent=True)]


class _Foreign:
    """yubikit's own function; its module is given an `ec` that makes a key and hands out ours."""

    def __init__(self, own: EcPrivateKey, static: EcPrivateKey, answer: Response) -> None:
        self._params = Scp11KeyParams(KeyRef(ScpKid.SCP11b, KVN), static.public.library_key())
        self._answer = answer.data
        foreign.ec = _Making(own.library_key())

    def open(self) -> None:
        """The session's state."""
        ScpState.scp11_init(lambda *_: self._answer, self._params)


class _Making:
    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        self._key = key

    def generate_private_key(self, curve: ec.EllipticCurve) -> ec.EllipticCurvePrivateKey:
        """Ours, after one was made."""
        ec.generate_private_key(curve)
        return self._key

    def __getattr__(self, name: str) -> Any:
        return getattr(ec, name)


class _Bare:
    """The same primitives, messages standing ready."""

    def __init__(self, own: EcPrivateKey, static: EcPrivateKey, data: bytes, answer: Response) -> None:
        self._own, self._static = own.library_key(), static.public.library_key()
        self._covered = data + _HEADER + answer.data[_POINT]
        self._point, self._receipt = answer.data[_POINT], answer.data[_RECEIPT]

    def open(self) -> None:
        """Key, its point, both agreements, derivation, receipt."""
        made = ec.generate_private_key(ec.SECP256R1()).public_key()
        made.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
        peer = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), self._point)
        shared = self._own.exchange(ec.ECDH(), peer) + self._own.exchange(ec.ECDH(), self._static)
        block = X963KDF(hashes.SHA256(), 80, b"\x3c\x88\x10").derive(shared)
        mac = CMAC(algorithms.AES(block[:16]))
        mac.update(self._covered)
        if not compare_digest(mac.finalize(), self._receipt):
            raise ValueError("receipt")


def _row(what: str, found: Race, other: str, target: float, *, percent: bool = False) -> Figure:
    ratio = found.speed("keywright", other)
    ours, theirs = (micro(found.median(name)) for name in ("keywright", other))
    value, form = (ratio * 100, "{:.0f} %") if percent else (ratio, "{:.2f} x")
    return Figure(what, ours, f"{other} {theirs}", value, target, form=form)
