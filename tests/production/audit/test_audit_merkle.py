"""The tree of RFC 9162 2.1: published roots and proofs, and a recursion taken from the text word by word."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.errors import AuthenticationError, DecodeError
from keywright.production.audit.merkle import (
    EMPTY_ROOT,
    Edge,
    consistency_proof,
    consistency_ranges,
    inclusion_proof,
    inclusion_ranges,
    leaf_hash,
    root_of,
    roots_of,
    verify_consistency,
    verify_inclusion,
)
from support.vectors import Case, load, unhex, vectors

REFERENCE = [leaf_hash(unhex(leaf)) for leaf in load("factory/merkle.json", "trees")[-1]["leaves"]]
"""The eight leaves that all proofs of the vector file are about."""


def mth(leaves: list[bytes]) -> bytes:
    """RFC 9162 2.1.1, as it stands there."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = split(len(leaves))
    return hashlib.sha256(b"\x01" + mth(leaves[:k]) + mth(leaves[k:])).digest()


def path(m: int, leaves: list[bytes]) -> list[bytes]:
    """RFC 9162 2.1.3.1."""
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    if m < k:
        return [*path(m, leaves[:k]), mth(leaves[k:])]
    return [*path(m - k, leaves[k:]), mth(leaves[:k])]


def subproof(m: int, leaves: list[bytes], *, whole: bool) -> list[bytes]:
    """RFC 9162 2.1.4.1."""
    if m == len(leaves):
        return [] if whole else [mth(leaves)]
    k = split(len(leaves))
    if m <= k:
        return [*subproof(m, leaves[:k], whole=whole), mth(leaves[k:])]
    return [*subproof(m - k, leaves[k:], whole=False), mth(leaves[:k])]


def split(size: int) -> int:
    k = 1
    while k * 2 < size:
        k *= 2
    return k


def leaves_of(size: int) -> list[bytes]:
    return [leaf_hash(number.to_bytes(2)) for number in range(size)]


@vectors("factory/merkle.json", "trees")
def test_the_published_roots(case: Case) -> None:
    assert root_of(leaf_hash(unhex(leaf)) for leaf in case["leaves"]) == unhex(case["root"])


@vectors("factory/merkle.json", "inclusion")
def test_the_published_inclusion_proofs(case: Case) -> None:
    leaves, at = REFERENCE[: case["size"]], case["index"]
    steps = [unhex(step) for step in case["path"]]
    assert inclusion_proof(leaves, at) == steps
    verify_inclusion(leaves[at], at, len(leaves), steps, root_of(leaves))


@vectors("factory/merkle.json", "consistency")
def test_the_published_consistency_proofs(case: Case) -> None:
    old, new = REFERENCE[: case["old"]], REFERENCE[: case["new"]]
    steps = [unhex(step) for step in case["proof"]]
    assert consistency_proof(new, len(old)) == steps
    verify_consistency(len(old), len(new), root_of(old), root_of(new), steps)


def test_an_empty_tree_has_the_hash_of_nothing() -> None:
    assert Edge().root() == EMPTY_ROOT == mth([])


def test_roots_and_proofs_are_those_of_the_text_up_to_40_leaves() -> None:
    for size in range(1, 41):
        leaves = leaves_of(size)
        assert root_of(leaves) == mth(leaves)
        for at in range(size):
            assert inclusion_proof(leaves, at) == path(at, leaves)
        for old in range(1, size + 1):
            assert consistency_proof(leaves, old) == subproof(old, leaves, whole=True)


@given(st.integers(1, 300), st.data())
def test_a_tree_that_is_put_away_and_taken_up_goes_on_the_same(size: int, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, size))
    leaves = leaves_of(size)
    first = Edge()
    for leaf in leaves[:cut]:
        first.append(leaf)
    then = Edge(first.size, first.stack)
    for leaf in leaves[cut:]:
        then.append(leaf)
    assert (then.size, then.root()) == (size, mth(leaves))
    assert first.root() == mth(leaves[:cut])


@given(st.integers(1, 200), st.data())
def test_a_proof_of_inclusion_holds_for_its_leaf_place_and_tree_only(size: int, data: st.DataObject) -> None:
    leaves = leaves_of(size)
    at = data.draw(st.integers(0, size - 1))
    proof, root = inclusion_proof(leaves, at), root_of(leaves)
    verify_inclusion(leaves[at], at, size, proof, root)
    other = data.draw(st.integers(0, size + 3).filter(lambda place: place != at))
    refused = [
        (leaf_hash(b"another"), at, size, proof, root),
        (leaves[at], other, size, proof, root),
        (leaves[at], at, size, proof, leaf_hash(b"another")),
        (leaves[at], at, size, [*proof, root], root),
        *((leaves[at], at, size, proof[:cut], root) for cut in range(len(proof))),
        *((leaves[at], at, size, [*proof[:step], root, *proof[step + 1 :]], root) for step in range(len(proof))),
    ]
    for arguments in refused:
        with pytest.raises(AuthenticationError):
            verify_inclusion(*arguments)


@given(st.integers(1, 200), st.data())
def test_a_proof_of_consistency_holds_for_its_two_trees_only(new: int, data: st.DataObject) -> None:
    leaves = leaves_of(new)
    old = data.draw(st.integers(1, new))
    proof, old_root, new_root = consistency_proof(leaves, old), root_of(leaves[:old]), root_of(leaves)
    verify_consistency(old, new, old_root, new_root, proof)
    another = leaf_hash(b"another")
    refused = [
        (old, new, another, new_root, proof),
        (old, new, old_root, another, proof),
        (old, new, old_root, new_root, [*proof, another]),
        (new + 1, new, old_root, new_root, proof),
        *((old, new, old_root, new_root, proof[:cut]) for cut in range(len(proof))),
        *((old, new, old_root, new_root, [*proof[:at], another, *proof[at + 1 :]]) for at in range(len(proof))),
    ]
    for arguments in refused:
        with pytest.raises(AuthenticationError):
            verify_consistency(*arguments)


def test_every_tree_begins_with_the_empty_one() -> None:
    root = root_of(leaves_of(5))
    verify_consistency(0, 5, EMPTY_ROOT, root, [])
    verify_consistency(0, 0, EMPTY_ROOT, EMPTY_ROOT, [])
    with pytest.raises(AuthenticationError):
        verify_consistency(0, 5, root, root, [])
    with pytest.raises(AuthenticationError):
        verify_consistency(0, 5, EMPTY_ROOT, root, [root])


def test_a_forked_tree_is_not_consistent() -> None:
    """Two trees of the same size that differ in one early leaf: no proof made from either joins them."""
    honest, forked = leaves_of(9), [leaf_hash(b"forged"), *leaves_of(9)[1:]]
    for old in range(1, 9):
        with pytest.raises(AuthenticationError):
            verify_consistency(old, 9, root_of(honest[:old]), root_of(forked), consistency_proof(forked, old))


def test_what_is_not_in_a_tree_has_no_proof() -> None:
    for index, size in ((0, 0), (3, 3), (-1, 3)):
        with pytest.raises(ValueError):
            inclusion_ranges(index, size)
    for old, new in ((0, 3), (4, 3)):
        with pytest.raises(ValueError):
            consistency_ranges(old, new)
    with pytest.raises(ValueError):
        roots_of([(0, 4)], leaves_of(3))


@pytest.mark.parametrize(("size", "stack"), [(1, b""), (3, bytes(32)), (2, bytes(31)), (0, bytes(32)), (-1, b"")])
def test_an_edge_that_does_not_fit_its_size_is_refused(size: int, stack: bytes) -> None:
    with pytest.raises(DecodeError):
        Edge(size, stack)
