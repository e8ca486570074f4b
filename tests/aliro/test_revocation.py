"""A reader's list of revocations: six documents of the conformance text, any others against a plain list, and cuts."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.aliro import revocation
from keywright.aliro.documents.document import ACCESS, REVOCATION
from keywright.aliro.documents.revocation_data import APPEND, OVERWRITE, RevocationData, RevocationEntry, key_hash
from keywright.aliro.documents.verification import Trust, Verified, verify
from keywright.aliro.iterations import Iterations
from keywright.aliro.revocation import Revocations
from keywright.codec.message import Message
from keywright.crypto.ec import EcPrivateKey, EcPublicKey
from keywright.errors import DecodeError, StoreError
from keywright.store.memory import Memory, RamMemory
from support.aliro_documents import CREDENTIAL, ISSUER, NOW, OTHER, VALIDITY, access_document, issuer, share
from support.messages import all_messages, check_message

KEYS = [EcPrivateKey.from_scalar("P-256", number.to_bytes(32)).public for number in range(11, 16)]
ONE, TWO, *_ = KEYS
FIRST, SECOND = (RevocationEntry(key_hash(key)) for key in (ONE, TWO))


def listed(memory: Memory, **how: Any) -> Revocations:
    return Revocations(memory, Iterations(memory), **how)


def document(*data: RevocationData, key: EcPrivateKey = ISSUER, iteration: int | None = None) -> Verified:
    validity = msgspec.structs.replace(VALIDITY, iteration=iteration)
    elements = {f"list{number}": one for number, one in enumerate(data)}
    signed = issuer(key).revocation_document(elements, validity)
    return verify(signed, Trust.of([key.public]), doc_type=REVOCATION, now=NOW)


CONFORMANCE = [
    (RevocationData(OVERWRITE, (FIRST,)), {ONE}),
    (RevocationData(APPEND, (SECOND,)), {ONE, TWO}),
    (RevocationData(APPEND, removed=(FIRST,)), {TWO}),
    (RevocationData(APPEND, (FIRST,), (FIRST, SECOND)), set()),
    (RevocationData(OVERWRITE, (SECOND,)), {TWO}),
    (RevocationData(OVERWRITE), set()),
]


def test_the_documents_of_the_conformance_text_in_their_order() -> None:
    """Table 8-54, with the reader's power cut between any two."""
    memory = RamMemory()
    cached = {ONE: b"", TWO: b"", KEYS[2]: b""}
    for data, revoked in CONFORMANCE:
        assert set(listed(memory).apply(document(data), cached)) == revoked
        reader = listed(memory)
        assert {key for key in cached if reader.revokes(key)} == revoked
        assert set(reader.among(cached)) == revoked
        assert len(reader) == len(revoked)


def test_revoking_by_the_id_of_access_data() -> None:
    reader = listed(RamMemory())
    reader.apply(document(RevocationData(OVERWRITE, (RevocationEntry(id=b"badge"),))))
    assert reader.revokes(ONE, b"badge")
    assert not reader.revokes(ONE)
    assert not reader.revokes(ONE, b"badge2")
    assert reader.among({ONE: b"badge", TWO: b""}) == [ONE]


def test_an_entry_with_key_and_id_is_about_one_of_both_or_both() -> None:
    both = document(RevocationData(OVERWRITE, (RevocationEntry(key_hash(ONE), b"badge"),)))
    either, strict = listed(RamMemory()), listed(RamMemory(), matches="both")
    for reader in (either, strict):
        reader.apply(both)
        assert reader.revokes(ONE, b"badge")
    assert (either.revokes(ONE), either.revokes(TWO, b"badge")) == (True, True)
    assert (strict.revokes(ONE, b"x"), strict.revokes(TWO, b"badge")) == (False, False)


def test_an_entry_that_has_expired_revokes_no_longer_where_the_time_is_known() -> None:
    memory = RamMemory()
    reader = listed(memory)
    reader.apply(document(RevocationData(OVERWRITE, (RevocationEntry(key_hash(ONE), expiry=NOW), SECOND))))
    assert reader.revokes(ONE, now=NOW - 1)
    assert not reader.revokes(ONE, now=NOW)
    assert reader.revokes(ONE)
    assert reader.revokes(TWO, now=NOW)
    assert reader.forget_expired(NOW - 1) == 0
    assert reader.forget_expired(NOW) == 1
    assert not listed(memory).revokes(ONE)
    assert len(reader) == 1


def test_an_issuer_erases_its_own_entries_only_unless_all_share_one_list() -> None:
    for erases, left in (("issuer", {ONE}), ("all", set())):
        memory = RamMemory()
        reader = listed(memory, erases=erases)
        reader.apply(document(RevocationData(OVERWRITE, (FIRST,))))
        reader.apply(document(RevocationData(OVERWRITE, (SECOND,)), key=OTHER))
        reader.apply(document(RevocationData(APPEND, removed=(FIRST,)), key=OTHER))
        assert {key for key in (ONE,) if listed(memory, erases=erases).revokes(key)} == left
        assert reader.revokes(TWO)
    reader = listed(RamMemory())
    for key in (ISSUER, OTHER):
        reader.apply(document(RevocationData(OVERWRITE, (FIRST,)), key=key))
    assert reader.forget_issuer(ISSUER.public) == 1
    assert reader.revokes(ONE)
    assert reader.forget_issuer(OTHER.public) == 1
    assert not reader.revokes(ONE)
    assert reader.forget_issuer(OTHER.public) == 0


ENTRIES = st.builds(
    lambda number, identifier, both, expiry: RevocationEntry(
        key_hash(KEYS[number]) if both or not identifier else b"", identifier, expiry
    ),
    st.integers(0, 4),
    st.sampled_from([b"", b"a", b"b"]),
    st.booleans(),
    st.sampled_from([None, NOW - 1, NOW + 1]),
)
DATA = st.one_of(
    st.builds(RevocationData, st.just(OVERWRITE), st.lists(ENTRIES, max_size=4).map(tuple)),
    st.builds(
        RevocationData,
        st.just(APPEND),
        st.lists(ENTRIES, max_size=3).map(tuple),
        st.lists(ENTRIES, max_size=3).map(tuple),
    ),
)
STEPS = st.lists(st.tuples(st.sampled_from([ISSUER, OTHER]), st.lists(DATA, min_size=1, max_size=2)), max_size=5)


@share(3)
@given(STEPS)
def test_any_documents_against_a_plain_list(steps: list[tuple[EcPrivateKey, list[RevocationData]]]) -> None:
    memory, plain = RamMemory(), list[tuple[EcPublicKey, RevocationEntry]]()
    reader = listed(memory)
    for signer, data in steps:
        elements = {f"{number}": one.value() for number, one in enumerate(data)}
        reader.apply(Verified(REVOCATION, signer.public, VALIDITY, elements, None, False, True))
        for one in data:
            if one.mode == OVERWRITE:
                plain = [(whose, entry) for whose, entry in plain if whose != signer.public]
            for new in one.entries:
                same = (new.key_hash, new.id)
                plain = [
                    (whose, entry)
                    for whose, entry in plain
                    if whose != signer.public or (entry.key_hash, entry.id) != same
                ]
                plain.append((signer.public, new))
            for gone in one.removed:
                plain = [
                    (whose, entry)
                    for whose, entry in plain
                    if whose != signer.public
                    or (gone.key_hash and gone.key_hash != entry.key_hash)
                    or (gone.id and gone.id != entry.id)
                ]
    for where in (reader, listed(memory)):
        assert len(where) == len(plain)
        for key in KEYS:
            for identifier in (b"", b"a", b"b", b"c"):
                for now in (None, NOW):
                    expected = any(
                        (entry.key_hash == key_hash(key) or (identifier and entry.id == identifier))
                        and (now is None or entry.expiry is None or now < entry.expiry)
                        for _, entry in plain
                    )
                    assert where.revokes(key, identifier, now=now) == expected


class Cut(Exception):  # noqa: N818 - no error: the power is gone
    """The power is gone."""


class CutMemory:
    """A memory that loses power before or after a commit."""

    def __init__(self, inner: RamMemory, *, after: bool) -> None:
        self._inner = inner
        self._after = after

    def load(self, name: str) -> bytes | None:
        return self._inner.load(name)

    def names(self) -> list[str]:
        return self._inner.names()

    def commit(self, changes: Any) -> None:
        if self._after:
            self._inner.commit(changes)
        raise Cut


@pytest.mark.parametrize("after", [False, True])
def test_after_a_power_cut_the_list_and_the_iteration_are_both_old_or_both_new(*, after: bool) -> None:
    inner = RamMemory()
    listed(inner).apply(document(RevocationData(OVERWRITE, (FIRST,)), iteration=1))
    cut = CutMemory(inner, after=after)
    with pytest.raises(Cut):
        listed(cut).apply(document(RevocationData(OVERWRITE, (SECOND,)), iteration=2))
    again = listed(inner)
    seen = Iterations(inner).of(REVOCATION)[ISSUER.public]
    assert ([again.revokes(ONE), again.revokes(TWO)], seen) == (([False, True], 2) if after else ([True, False], 1))


def test_a_list_that_could_not_be_kept_does_not_count() -> None:
    class Full(CutMemory):
        def commit(self, changes: Any) -> None:
            raise StoreError("full")

    reader = listed(Full(RamMemory(), after=False))
    with pytest.raises(StoreError):
        reader.apply(document(RevocationData(OVERWRITE, (FIRST,))))
    assert not reader.revokes(ONE)
    assert len(reader) == 0


def test_an_element_that_cannot_be_read_changes_nothing() -> None:
    reader = listed(RamMemory())
    signed = issuer().sign(REVOCATION, {"a": RevocationData(OVERWRITE, (FIRST,)).value(), "b": {0: 2, 1: 0}}, VALIDITY)
    with pytest.raises(DecodeError, match="version 2"):
        reader.apply(verify(signed, Trust.of([ISSUER.public]), doc_type=REVOCATION, now=NOW))
    assert len(reader) == 0
    access = verify(access_document(), Trust.of([ISSUER.public]), doc_type=ACCESS, device_key=CREDENTIAL, now=NOW)
    with pytest.raises(ValueError, match="aliro-r"):
        reader.apply(access)


@pytest.mark.parametrize("name", ["revoked/00/00", "iteration/aliro-a/00", f"iteration/aliro-a/{ONE.point.hex()}"])
def test_a_memory_that_cannot_be_read_is_an_error_of_the_store_not_an_empty_list(name: str) -> None:
    with pytest.raises(StoreError):
        listed(RamMemory({name: b"\x05"}))


@pytest.mark.parametrize("cls", all_messages(revocation))
def test_what_is_kept_keeps_the_promises_of_a_codec(cls: type[Message]) -> None:
    check_message(cls)


def test_iterations_grow_and_are_forgotten_with_their_issuer() -> None:
    memory = RamMemory()
    seen = Iterations(memory)
    for iteration, expected in ((3, 3), (2, 3), (None, 3), (9, 9), (0, 9)):
        seen.advance(document(RevocationData(OVERWRITE), iteration=iteration))
        assert Iterations(memory).of(REVOCATION) == seen.of(REVOCATION) == {ISSUER.public: expected}
    assert seen.of(ACCESS) == {}
    seen.forget(OTHER.public)
    seen.forget(ISSUER.public)
    assert Iterations(memory).of(REVOCATION) == seen.of(REVOCATION) == {}
    seen.advance(document(RevocationData(OVERWRITE), iteration=0))
    assert seen.of(REVOCATION) == {ISSUER.public: 0}
