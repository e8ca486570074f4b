"""No secret key prints, pickles, copies or hashes itself, whatever its class."""

from __future__ import annotations

import copy
import functools
import itertools
import json
import pickle
import traceback
from collections.abc import Callable

import pytest

from keywright.crypto import AesKey, CcmKey, EcPrivateKey, Ed25519Key, RsaPrivateKey, SivKey, TripleDesKey, X25519Key
from keywright.crypto import key as key_module
from keywright.crypto.components import Accumulator
from keywright.crypto.key import Key, Secret
from keywright.crypto.keyblocks import BlockKey, Header, Kbpk
from keywright.crypto.shamir import Share
from keywright.crypto.single_des import DesKey
from keywright.crypto.spake2plus import Agreed, ConfirmationKeys, Prover, Verifier, VerifierData

RAW = bytes.fromhex("c0ffee00c0ffee11c0ffee22c0ffee33c0ffee44c0ffee55c0ffee66c0ffee77")
OTHER = bytes([RAW[0] ^ 1]) + RAW[1:]


def rsa_key(raw: bytes) -> RsaPrivateKey:
    """A key one of whose primes begins with `raw`."""
    p, q = (next_prime(int.from_bytes(start * 2)) for start in (raw, b"\xfe" * 32))
    inverses = (pow(65537, -1, prime - 1) for prime in (p, q))
    return RsaPrivateKey.from_crt(*(number.to_bytes(64) for number in (p, q, *inverses, pow(q, -1, p))))


@functools.cache
def next_prime(start: int) -> int:
    return next(number for number in itertools.count(start | 1, 2) if pow(2, number - 1, number) == 1)


def accumulated(raw: bytes) -> Accumulator:
    total = Accumulator("AES", len(raw))
    total.add(raw)
    return total


def scalar(raw: bytes) -> EcPrivateKey:
    return EcPrivateKey.from_scalar("P-256", raw)


def verifier_data(raw: bytes) -> VerifierData:
    return VerifierData(scalar(raw), scalar(bytes(range(32))).public.point)


MAKERS: dict[str, tuple[Callable[[bytes], Secret], int]] = {
    "AesKey": (AesKey, 32),
    "DesKey": (lambda raw: DesKey(raw[:8]), 8),
    "TripleDesKey": (lambda raw: TripleDesKey(raw[:24]), 24),
    "CcmKey": (lambda raw: CcmKey(raw[:16]), 16),
    "SivKey": (SivKey, 32),
    "X25519Key": (X25519Key, 32),
    "Ed25519Key": (Ed25519Key, 32),
    "EcPrivateKey": (scalar, 32),
    "RsaPrivateKey": (rsa_key, 32),
    "Kbpk": (lambda raw: Kbpk(AesKey(raw)), 32),
    "Accumulator": (accumulated, 32),
    "Share": (lambda raw: Share(bytes(8), 2, 3, 1, raw), 32),
    "Agreed": (lambda raw: Agreed(b"", b"", raw, raw, scalar(raw)), 32),
    "VerifierData": (verifier_data, 32),
    "Prover": (lambda raw: Prover(scalar(raw), scalar(raw), scalar(raw)), 32),
    "Verifier": (lambda raw: Verifier(verifier_data(raw), scalar(raw)), 32),
    "ConfirmationKeys": (lambda raw: ConfirmationKeys(raw, raw, AesKey(raw)), 32),
    "BlockKey": (lambda raw: BlockKey(raw, Header("D", "E5", "A", "X")), 32),
}
OF_ONE_RUN = frozenset(("Agreed", "VerifierData", "Prover", "Verifier", "ConfirmationKeys"))
"""Parts of a run of SPAKE2+, no keys: each is itself alone."""
every_secret = pytest.mark.parametrize("kind", MAKERS)
every_key = pytest.mark.parametrize("kind", [kind for kind in MAKERS if kind not in OF_ONE_RUN])


def make(kind: str, raw: bytes = RAW) -> Secret:
    return MAKERS[kind][0](raw)


def test_every_class_of_secrets_is_tested_here() -> None:
    def leaves(base: type) -> set[str]:
        every: list[type] = base.__subclasses__()
        below = [one for one in every if one.__module__.startswith("keywright.crypto.")]
        return {name for one in below for name in leaves(one)} if below else {base.__name__}

    assert leaves(Secret) == set(MAKERS)


@every_secret
def test_no_text_form_shows_the_key(kind: str) -> None:
    key = make(kind)
    for text in (repr(key), str(key), f"{key}", f"{key!r:>80}", "%s" % key, repr([key]), repr({"key": key})):  # noqa: UP031 - this form too
        lowered = text.lower()
        assert "c0ffee" not in lowered
        assert repr(RAW)[2:14] not in text
        assert str(int.from_bytes(RAW)) not in text


@every_secret
def test_a_key_is_not_pickled(kind: str) -> None:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match="not pickled"):
            pickle.dumps(make(kind), protocol)


@every_secret
def test_a_key_is_not_copied(kind: str) -> None:
    with pytest.raises(TypeError, match="not copied"):
        copy.copy(make(kind))
    with pytest.raises(TypeError, match="not copied"):
        copy.deepcopy({"keys": [make(kind)]})


@every_key
def test_a_key_is_not_hashed_and_has_no_dictionary(kind: str) -> None:
    with pytest.raises(TypeError, match="unhashable"):
        hash(make(kind))
    assert not hasattr(make(kind), "__dict__")


@every_secret
def test_a_key_is_not_written_as_json(kind: str) -> None:
    with pytest.raises(TypeError, match="not JSON serializable"):
        json.dumps({"key": make(kind)})


@every_key
def test_equality_is_that_of_the_key(kind: str) -> None:
    assert make(kind) == make(kind)
    assert make(kind) != make(kind, OTHER)
    for other in (RAW, object(), None):
        assert make(kind) != other


def test_keys_of_two_algorithms_are_never_equal() -> None:
    assert AesKey(RAW) != SivKey(RAW)
    assert X25519Key(RAW) != Ed25519Key(RAW)
    assert AesKey(RAW[:24]) != TripleDesKey(RAW[:24])


def test_symmetric_keys_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []

    class Recorder:
        @staticmethod
        def compare_digest(a: bytes, b: bytes) -> bool:
            compared.append((a, b))
            return a == b

    monkeypatch.setattr(key_module, "hmac", Recorder)
    assert AesKey(RAW) == AesKey(RAW)
    assert compared == [(RAW, RAW)]


@every_secret
def test_size_and_label_are_public_and_reveal_is_the_only_way_out(kind: str) -> None:
    key = make(kind)
    if isinstance(key, Key):
        raw = RAW[: MAKERS[kind][1]]
        assert key.size == len(raw)
        assert key.reveal() == raw
        assert repr(key).endswith(f" {len(raw) * 8} bit>")
    public = [name for name in dir(key) if not name.startswith("_") and name not in ("reveal", "to_pkcs8")]
    values = [getattr(key, name) for name in public]
    assert not [value for value in values if isinstance(value, bytes) and RAW[:24] in value]


@pytest.mark.parametrize("kind", ["AesKey", "TripleDesKey", "SivKey", "X25519Key", "Ed25519Key", "EcPrivateKey"])
def test_a_refused_key_is_not_in_the_error(kind: str) -> None:
    wrong = {"EcPrivateKey": b"\xff" * 8 + RAW}.get(kind, RAW + RAW + RAW[:1])
    makers: dict[str, Callable[[bytes], Secret]] = {"TripleDesKey": TripleDesKey}
    with pytest.raises(ValueError) as caught:
        makers.get(kind, MAKERS[kind][0])(wrong)
    text = "".join(traceback.format_exception(caught.value)).lower()
    assert "c0ffee" not in text
    assert str(int.from_bytes(wrong)) not in text
