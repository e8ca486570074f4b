"""Opening a session of SCP11 on P-256, host side: against Yubico's host and against nothing but the cryptography.

The card is an answer that was recorded, so every contender makes a new key, as it must, and then goes on with the key
that the answer is for. Two key agreements and one new key are nine tenths of it for everybody: the bare cryptography
itself is only about 1.2 times as fast as Yubico's host.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from hmac import compare_digest
from typing import Any, Final

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import algorithms
from cryptography.hazmat.primitives.cmac import CMAC
from cryptography.hazmat.primitives.kdf.x963kdf import X963KDF
from cryptography.x509 import load_der_x509_certificate
from yubikit.core.smartcard import scp as foreign
from yubikit.core.smartcard.scp import KeyRef, Scp11KeyParams, ScpKid, ScpState

from bench.figures import Figure, micro
from bench.measure import Contender, Race, race
from keywright.crypto.ec import EcPrivateKey, EcPublicKey
from keywright.iso7816.apdu import Response
from keywright.scp.scp11.authority import Authority
from keywright.scp.scp11.card import Initiation
from keywright.scp.scp11.host import Card, Holder, open_channel
from keywright.scp.scp11.keys import KeptAgreement
from keywright.scp.scp11.messages import (
    PERFORM_SECURITY_OPERATION,
    SCP11A,
    SCP11B,
    KeyReference,
    Variant,
)
from keywright.scp.scp11.profile import Profile

CURVE: Final = "P-256"
KVN: Final = 1
FLOOR: Final = 60.0
AGAINST_YUBIKIT: Final = 1.3
CA: Final = KeyReference(0x10, 3)
_VALIDITY: Final = (dt.datetime(2025, 1, 1, tzinfo=dt.UTC), dt.datetime(2045, 1, 1, tzinfo=dt.UTC))
_HEADER: Final = bytes.fromhex("5F4941")
_RECEIPT: Final = slice(70, 86)
_POINT: Final = slice(3, 68)


class _OneKey:
    """A security domain with one key, one CA and nothing else; what else an initiation may ask is never asked."""

    def __init__(self, static: EcPrivateKey, ephemeral: EcPrivateKey, ca: EcPublicKey) -> None:
        self.profile = Profile()
        self._static, self._ephemeral, self._ca = static, ephemeral, ca

    def agreement_key(self, kvn: int, kid: int) -> EcPrivateKey:
        """The one key."""
        del kvn, kid
        return self._static

    def ca_key(self, kvn: int, kid: int) -> EcPublicKey:
        """The one CA."""
        del kvn, kid
        return self._ca

    def ephemeral_key(self, curve: str) -> EcPrivateKey:
        """Always the same: the answer is recorded."""
        del curve
        return self._ephemeral

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: None


def figures() -> list[Figure]:
    """Every row about the agreement."""
    return [*_variant_b(), *_variant_a()]


def _variant_b() -> list[Figure]:
    own, static, other = (EcPrivateKey.generate(CURVE) for _ in range(3))
    card = Card(static.public, KVN)
    command = next(open_channel(SCP11B, card, own))
    answer = Initiation(_OneKey(static, other, own.public)).internal_authenticate(command)
    params = Scp11KeyParams(KeyRef(ScpKid.SCP11b, KVN), static.public.library_key())
    found = race(
        [
            Contender("keywright", lambda: _open(own, (answer,), SCP11B, card)),
            Contender("yubikit", _Foreign(own, params, answer).open),
            Contender("bare", _Bare(own, own, static, command.data, answer).open),
        ]
    )
    what = "session open with SCP11b, P-256, host side"
    return [_row(what, found, "yubikit", AGAINST_YUBIKIT), _row(what, found, "bare", FLOOR, percent=True)]


def _variant_a() -> list[Figure]:
    own, static, other, oce = (EcPrivateKey.generate(CURVE) for _ in range(4))
    root = Authority.root(EcPrivateKey.generate(CURVE), "host", "CA-KLOC", 1, _VALIDITY)
    middle = root.intermediate(EcPrivateKey.generate(CURVE), "KA-KLOC", 2)
    chain = (middle.certificate, middle.issue(oce.public, "OCE", 3))
    anchor = load_der_x509_certificate(root.certificate).public_key()
    assert isinstance(anchor, ec.EllipticCurvePublicKey)
    card, holder = Card(static.public, KVN), Holder(oce, chain)
    initiation = Initiation(_OneKey(static, other, EcPublicKey(anchor)))
    answers, data = _recorded(initiation, own, card, holder)
    params = Scp11KeyParams(
        KeyRef(ScpKid.SCP11a, KVN),
        static.public.library_key(),
        KeyRef(CA.kid, CA.kvn),
        oce.library_key(),
        [load_der_x509_certificate(raw) for raw in chain],
    )
    kept = Holder(KeptAgreement(oce), chain)
    found = race(
        [
            Contender("keywright", lambda: _open(own, answers, SCP11A, card, holder)),
            Contender("kept", lambda: _open(own, answers, SCP11A, card, kept)),
            Contender("yubikit", _Foreign(own, params, answers[-1]).open),
            Contender("bare", _Bare(own, oce, static, data, answers[-1]).open),
        ]
    )
    what = "session open with SCP11a, P-256, host side"
    again = f"{what}, with a card met before (KeptAgreement)"
    return [
        _row(what, found, "yubikit", AGAINST_YUBIKIT),
        _row(what, found, "bare", FLOOR, percent=True),
        _row(again, found, "yubikit", AGAINST_YUBIKIT, ours="kept"),
    ]


def _recorded(
    initiation: Initiation, own: EcPrivateKey, card: Card, holder: Holder
) -> tuple[tuple[Response, ...], bytes]:
    """What the card answers to each command of an opening, and the data of the last command."""
    dialogue = open_channel(SCP11A, card, own, holder=holder, ca_key=CA)
    answers, command = [], next(dialogue)
    while True:
        verify = command.ins == PERFORM_SECURITY_OPERATION
        take = initiation.perform_security_operation if verify else initiation.mutual_authenticate
        answers.append(take(command))
        try:
            command = dialogue.send(answers[-1])
        except StopIteration:
            return tuple(answers), command.data


def _open(
    own: EcPrivateKey, answers: Sequence[Response], variant: Variant, card: Card, holder: Holder | None = None
) -> None:
    """A key made, as in every session, and then the opening that was recorded."""
    EcPrivateKey.generate(CURVE)
    opening = open_channel(variant, card, own, holder=holder, ca_key=CA if holder else None)
    next(opening)
    try:
        for answer in answers:
            opening.send(answer)
    except StopIteration:
        return
    raise AssertionError("the session is not open")


class _Foreign:
    """yubikit's own function; its module is given an `ec` that makes a key and hands out ours."""

    def __init__(self, own: EcPrivateKey, params: Scp11KeyParams, answer: Response) -> None:
        self._params = params
        self._answer = answer.data
        self._making = _Making(own.library_key())

    def open(self) -> None:
        """The session's state."""
        foreign.ec = self._making
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

    def __init__(
        self, own: EcPrivateKey, long: EcPrivateKey, static: EcPrivateKey, data: bytes, answer: Response
    ) -> None:
        self._own, self._long, self._static = own.library_key(), long.library_key(), static.public.library_key()
        self._covered = data + _HEADER + answer.data[_POINT]
        self._point, self._receipt = answer.data[_POINT], answer.data[_RECEIPT]

    def open(self) -> None:
        """Key, its point, both agreements, derivation, receipt."""
        made = ec.generate_private_key(ec.SECP256R1()).public_key()
        made.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
        peer = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), self._point)
        shared = self._own.exchange(ec.ECDH(), peer) + self._long.exchange(ec.ECDH(), self._static)
        block = X963KDF(hashes.SHA256(), 80, b"\x3c\x88\x10").derive(shared)
        mac = CMAC(algorithms.AES(block[:16]))
        mac.update(self._covered)
        if not compare_digest(mac.finalize(), self._receipt):
            raise ValueError("receipt")


def _row(
    what: str, found: Race, other: str, target: float, *, percent: bool = False, ours: str = "keywright"
) -> Figure:
    ratio = found.speed(ours, other)
    own, theirs = (micro(found.median(name)) for name in (ours, other))
    value, form = (ratio * 100, "{:.0f} %") if percent else (ratio, "{:.2f} x")
    return Figure(what, own, f"{other} {theirs}", value, target, form=form)
