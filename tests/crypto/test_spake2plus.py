"""SPAKE2+: published runs from each end alone, then both ends against each other."""

from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keywright.crypto import p256, spake2plus
from keywright.crypto.ec import EcPrivateKey
from keywright.crypto.spake2plus import Agreed, ConfirmationKeys, Prover, Verifier, VerifierData
from keywright.errors import AuthenticationError, DecodeError
from support.vectors import Case, load, unhex, vectors

HMAC = "digitalkey/spake2plus_rfc9383_p256_hmac.json"
CMAC = "digitalkey/spake2plus_rfc9383_p256_cmac.json"
DRAFT = "digitalkey/spake2plus_draft01_p256.json"


def _key(case: Case, name: str) -> EcPrivateKey:
    return EcPrivateKey.from_scalar("P-256", unhex(case[name]))


def _prover(case: Case) -> Prover:
    return Prover(_key(case, "w0"), _key(case, "w1"), _key(case, "x"))


def _verifier(case: Case) -> Verifier:
    return Verifier(VerifierData(_key(case, "w0"), unhex(case["L"])), _key(case, "y"))


def _names(case: Case) -> tuple[bytes, bytes, bytes]:
    return case["context"].encode(), case["idProver"].encode(), case["idVerifier"].encode()


def _check_group_part(case: Case) -> list[Agreed]:
    """What each end computes from the other's published share; returns what each has agreed on."""
    prover, verifier = _prover(case), _verifier(case)
    assert _key(case, "w1").public.point == unhex(case["L"])
    assert prover.share == unhex(case["shareP"])
    assert verifier.share == unhex(case["shareV"])
    both = [prover.finish(unhex(case["shareV"])), verifier.finish(unhex(case["shareP"]))]
    for agreed in both:
        transcript = agreed.transcript(*_names(case), spake2plus.M, spake2plus.N)
        assert transcript == unhex(case["TT"])
        assert unhex(case["Z"]) in transcript
        assert unhex(case["V"]) in transcript
    return both


def _check_rfc(case: Case, mac: str) -> None:
    for agreed in _check_group_part(case):
        keys = spake2plus.rfc9383(agreed, *_names(case), mac=mac)
        assert keys.confirm_p() == unhex(case["confirmP"])
        assert keys.confirm_v() == unhex(case["confirmV"])
        assert keys.shared.reveal() == unhex(case["K_shared"])
        keys.verify_p(unhex(case["confirmP"]))
        keys.verify_v(unhex(case["confirmV"]))


@vectors(HMAC)
def test_rfc_9383_with_hmac(case: Case) -> None:
    _check_rfc(case, "hmac")
    assert (unhex(case["M"]), unhex(case["N"])) == (spake2plus.M, spake2plus.N)


@vectors(CMAC)
def test_rfc_9383_with_cmac(case: Case) -> None:
    _check_rfc(case, "cmac")


@vectors(DRAFT)
def test_the_first_draft_as_matter_uses_it(case: Case) -> None:
    for agreed in _check_group_part(case):
        keys = spake2plus.draft01(agreed, *_names(case))
        assert keys.shared.reveal() == unhex(case["Ke"])
        assert keys.confirm_p() == unhex(case["cA_hmac"])
        assert keys.confirm_v() == unhex(case["cB_hmac"])


# ---- both ends ------------------------------------------------------------------------------------------------

_few = settings(max_examples=max(5, settings.default.max_examples // 12) if settings.default else 8, deadline=None)
"""One run of both ends takes some milliseconds."""
_SCALARS = st.integers(1, p256.ORDER - 1).map(p256.scalar)


def _run(w0: EcPrivateKey, w1: EcPrivateKey, data: VerifierData, x: EcPrivateKey, y: EcPrivateKey) -> list[Agreed]:
    prover, verifier = Prover(w0, w1, x), Verifier(data, y)
    return [prover.finish(verifier.share), verifier.finish(prover.share)]


def _keys(agreed: Agreed) -> ConfirmationKeys:
    return spake2plus.rfc9383(agreed, b"test")


@_few
@given(_SCALARS, _SCALARS, _SCALARS, _SCALARS)
def test_both_ends_agree_when_the_password_is_the_same(
    w0: EcPrivateKey, w1: EcPrivateKey, x: EcPrivateKey, y: EcPrivateKey
) -> None:
    data = VerifierData.parse(VerifierData(w0, w1.public.point).reveal())
    one, other = map(_keys, _run(w0, w1, data, x, y))
    assert one.shared == other.shared
    other.verify_p(one.confirm_p())
    one.verify_v(other.confirm_v())


@_few
@given(st.integers(0, 1), st.integers(2, 1 << 200))
def test_with_another_w0_or_w1_neither_end_accepts_the_other(which: int, add: int) -> None:
    right = [p256.scalar(7), p256.scalar(11)]
    wrong = list(right)
    wrong[which] = p256.scalar(11 + add)
    data = VerifierData(right[0], right[1].public.point)
    one, other = map(_keys, _run(wrong[0], wrong[1], data, p256.scalar(13), p256.scalar(17)))
    assert one.shared != other.shared
    with pytest.raises(AuthenticationError):
        other.verify_p(one.confirm_p())
    with pytest.raises(AuthenticationError):
        one.verify_v(other.confirm_v())


def test_a_share_that_is_no_point_or_the_mask_alone_is_refused() -> None:
    w0, w1 = p256.scalar(7), p256.scalar(11)
    prover = Prover(w0, w1, p256.scalar(13))
    verifier = Verifier(VerifierData(w0, w1.public.point), p256.scalar(17))
    good = verifier.share
    for bad in (
        b"",
        bytes(65),
        good[:-1] + bytes((good[-1] ^ 1,)),
        b"\x02" + good[1:33],
        p256.multiply(w0, spake2plus.N),
    ):
        with pytest.raises(DecodeError):
            prover.finish(bad)
    for bad in (b"", bytes(65), p256.multiply(w0, spake2plus.M)):
        with pytest.raises(DecodeError):
            verifier.finish(bad)


@pytest.mark.parametrize("raw", [b"", bytes(97), (1).to_bytes(32) + bytes(65), bytes(96)])
def test_what_a_verifier_keeps_is_read_strictly(raw: bytes) -> None:
    with pytest.raises(DecodeError):
        VerifierData.parse(raw)


def test_nothing_of_it_shows_itself() -> None:
    case = load(HMAC)[0]
    agreed = _check_group_part(case)[0]
    secrets = [case[name] for name in ("w0", "w1", "x", "y", "Z", "V", "K_shared", "K_confirmP")]
    for one in (
        _prover(case),
        _verifier(case),
        agreed,
        _keys(agreed),
        VerifierData(_key(case, "w0"), unhex(case["L"])),
    ):
        assert not any(secret[2:34] in repr(one) for secret in secrets)
        for refused in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError):
                refused(one)
