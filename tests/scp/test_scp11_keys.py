"""A static key that remembers its agreements."""

from __future__ import annotations

import pickle

import pytest

from keywright.crypto.ec import EcPublicKey
from keywright.errors import PolicyError
from keywright.scp.scp11.keys import KeptAgreement
from support.scp11 import key


class Counted:
    """A key that counts how often it is asked."""

    def __init__(self) -> None:
        self._key = key("P-256", "static")
        self.asked: list[bytes] = []

    @property
    def public(self) -> EcPublicKey:
        return self._key.public

    def agree(self, peer: EcPublicKey, /) -> bytes:
        self.asked.append(peer.point)
        return self._key.agree(peer)


PEERS = [key("P-256", f"peer {n}").public for n in range(3)]


def test_the_same_peer_is_agreed_with_once_and_gets_the_same_secret() -> None:
    counted = Counted()
    kept = KeptAgreement(counted)
    secrets = [kept.agree(peer) for peer in (*PEERS, *PEERS)]
    assert secrets == [key("P-256", "static").agree(peer) for peer in PEERS] * 2
    assert counted.asked == [peer.point for peer in PEERS]
    assert kept.public.point == counted.public.point


def test_the_oldest_peer_is_forgotten_first() -> None:
    counted = Counted()
    kept = KeptAgreement(counted, limit=2)
    for peer in (PEERS[0], PEERS[1], PEERS[2], PEERS[1], PEERS[0]):
        kept.agree(peer)
    assert counted.asked == [PEERS[n].point for n in (0, 1, 2, 0)]


def test_another_curve_is_refused_as_by_the_key_itself() -> None:
    with pytest.raises(PolicyError):
        KeptAgreement(key("P-256", "static")).agree(key("P-384", "peer").public)


def test_it_is_neither_shown_nor_pickled() -> None:
    kept = KeptAgreement(key("P-256", "static"))
    kept.agree(PEERS[0])
    assert kept.agree(PEERS[0]).hex() not in repr(kept)
    with pytest.raises(TypeError):
        pickle.dumps(kept)
