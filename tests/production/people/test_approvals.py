"""Approvals: for exactly one operation, by somebody else, in time, and once."""

from __future__ import annotations

import itertools
from pathlib import Path

import msgspec
import pytest

from keywright.errors import StoreError
from keywright.production.people import approval_file
from keywright.production.people.approvals import (
    ACTIONS,
    CLOCK_SKEW_MS,
    VALID_MS,
    Approval,
    ApprovalError,
    ApprovalUsed,
    Operation,
    Signature,
    approve,
    check,
    consume,
    request,
)
from keywright.production.people.people import ROLES, Directory, PeopleError
from support.people import MINUTE, NOW, counting, directory, key, person

SCRAP = Operation("campaign.scrap", "lot-1", {"units": 3, "weight": [1, 2], "why": "water"})
RELEASE = Operation("campaign.release", "lot-1", {"recipe": "ab", "units": 10_000})


@pytest.fixture(scope="module")
def crew() -> Directory:
    return directory()


def asked(crew: Directory, operation: Operation = RELEASE, by: str = "olga", at_ms: int = NOW) -> Approval:
    return request(operation, key(by), crew, at_ms=at_ms, rng=counting())


@pytest.fixture
def approval(crew: Directory) -> Approval:
    return approve(asked(crew), key("sam"), crew, at_ms=NOW + MINUTE)


def test_an_approved_operation_is_allowed(crew: Directory, approval: Approval) -> None:
    check(approval, RELEASE, crew, at_ms=NOW + 2 * MINUTE)
    assert consume(approval, RELEASE, crew, at_ms=NOW + 2 * MINUTE) == [
        ApprovalUsed(approval.id, RELEASE.digest, NOW + 2 * MINUTE)
    ]


def test_the_digest_does_not_depend_on_how_facts_are_written() -> None:
    assert Operation("a", "o", {"x": 1, "y": [1]}).digest == Operation("a", "o", {"y": (1,), "x": 1}).digest
    values: list[dict[str, object]] = [
        {},
        {"x": 1},
        {"x": "1"},
        {"x": True},
        {"x": None},
        {"x": [1]},
        {"x": {"1": 1}},
        {"y": 1},
    ]
    texts = [Operation("a", "o", facts).digest for facts in values] + [
        Operation("a", "p").digest,
        Operation("b", "o").digest,
    ]
    assert len(set(texts)) == len(texts)
    for facts in ({"x": 1.5}, {"x": b"1"}, {1: 1}):
        with pytest.raises(TypeError):
            _ = Operation("a", "o", facts).digest  # type: ignore[arg-type]  # what shall be refused


@pytest.mark.parametrize(
    "altered",
    [
        Operation("campaign.resume", "lot-1", RELEASE.facts),
        Operation("campaign.release", "lot-2", RELEASE.facts),
        Operation("campaign.release", "lot-1", {"recipe": "ab", "units": 10_001}),
        Operation("campaign.release", "lot-1", {"recipe": "ab"}),
        Operation("campaign.release", "lot-1", {"recipe": "ab", "units": 10_000, "more": ""}),
    ],
)
def test_an_altered_operation_is_refused(crew: Directory, approval: Approval, altered: Operation) -> None:
    with pytest.raises(ApprovalError, match="is not for this"):
        check(approval, altered, crew, at_ms=NOW + 2 * MINUTE)
    forged = msgspec.structs.replace(approval, operation=altered)
    with pytest.raises(ApprovalError, match="the signature of olga does not hold"):
        check(forged, altered, crew, at_ms=NOW + 2 * MINUTE)


@pytest.mark.parametrize("field", ["id", "directory"])
def test_signatures_are_bound_to_the_approval(crew: Directory, approval: Approval, field: str) -> None:
    forged = msgspec.structs.replace(approval, **{field: "0" * 32})
    with pytest.raises(ApprovalError):
        check(forged, RELEASE, crew, at_ms=NOW + 2 * MINUTE)


def test_signatures_do_not_stand_for_each_other(crew: Directory) -> None:
    """A supervisor may ask for a release and allow one: the one signature is never taken for the other."""
    by_sue = asked(crew, by="sue")
    first = approve(by_sue, key("sam"), crew, at_ms=NOW)
    swapped = msgspec.structs.replace(first, requested=first.approved[0], approved=(first.requested,))
    with pytest.raises(ApprovalError, match="the signature of sam does not hold"):
        check(swapped, RELEASE, crew, at_ms=NOW)


def test_an_approval_ends_after_thirty_minutes(crew: Directory, approval: Approval) -> None:
    check(approval, RELEASE, crew, at_ms=NOW + VALID_MS - 1)
    for late in (NOW + VALID_MS, NOW + 10 * VALID_MS):
        with pytest.raises(ApprovalError, match="has expired"):
            check(approval, RELEASE, crew, at_ms=late)
        with pytest.raises(ApprovalError, match="has expired"):
            approve(asked(crew), key("sam"), crew, at_ms=late)
    with pytest.raises(ApprovalError, match="in the future"):
        check(approval, RELEASE, crew, at_ms=NOW - CLOCK_SKEW_MS - 1)


def test_whoever_asked_cannot_make_it_last_longer(crew: Directory, approval: Approval) -> None:
    """Asking again with the same id does not carry the approver's signature over."""
    later = request(RELEASE, key("olga"), crew, at_ms=NOW + 20 * MINUTE, rng=lambda _: bytes.fromhex(approval.id))
    forged = msgspec.structs.replace(later, approved=approval.approved)
    assert forged.id == approval.id
    with pytest.raises(ApprovalError, match="signed at a time that cannot be"):
        check(forged, RELEASE, crew, at_ms=NOW + 40 * MINUTE)
    moved = Signature("sam", NOW + 21 * MINUTE, approval.approved[0].value)
    with pytest.raises(ApprovalError, match="signature of sam does not hold"):
        check(msgspec.structs.replace(later, approved=(moved,)), RELEASE, crew, at_ms=NOW + 40 * MINUTE)
    # Not even by so little that the approver's time still fits.
    little = request(RELEASE, key("olga"), crew, at_ms=NOW + 1, rng=lambda _: bytes.fromhex(approval.id))
    with pytest.raises(ApprovalError, match="signature of sam does not hold"):
        check(msgspec.structs.replace(little, approved=approval.approved), RELEASE, crew, at_ms=NOW + 2 * MINUTE)


def test_without_enough_signatures_it_allows_nothing(crew: Directory) -> None:
    with pytest.raises(ApprovalError, match="0 of 1 have approved"):
        check(asked(crew), RELEASE, crew, at_ms=NOW)
    one = approve(asked(crew, SCRAP, "sue"), key("sam"), crew, at_ms=NOW)
    with pytest.raises(ApprovalError, match="1 of 2 have approved"):
        check(one, SCRAP, crew, at_ms=NOW)
    twice = msgspec.structs.replace(one, approved=one.approved * 2)
    with pytest.raises(PeopleError, match="sam cannot act twice"):
        check(twice, SCRAP, crew, at_ms=NOW)


def test_nobody_approves_their_own_request_or_twice(crew: Directory) -> None:
    mine = asked(crew, by="sue")
    with pytest.raises(PeopleError, match="sue cannot act twice"):
        approve(mine, key("sue"), crew, at_ms=NOW)
    one = approve(asked(crew, SCRAP, "sue"), key("sam"), crew, at_ms=NOW)
    with pytest.raises(PeopleError, match="sam cannot act twice"):
        approve(one, key("sam"), crew, at_ms=NOW)


def test_a_conflict_group_counts_as_one(crew: Directory) -> None:
    with pytest.raises(PeopleError, match="conflict group shift-a"):
        approve(asked(crew, by="sam"), key("sid"), crew, at_ms=NOW)
    one = approve(asked(crew, SCRAP, "sue"), key("sam"), crew, at_ms=NOW)
    with pytest.raises(PeopleError, match="conflict group shift-a"):
        approve(one, key("sid"), crew, at_ms=NOW)


@pytest.mark.parametrize(("action", "role"), list(itertools.product(ACTIONS, ROLES)))
def test_every_role_may_do_what_the_table_says(action: str, role: str) -> None:
    rule = ACTIONS[action]
    crew = Directory.begin(person("ada"), key("ada"), at_ms=NOW)
    for name, held in (("r0", rule.request[0]), ("r1", role)):
        signing = [key(one.name) for one in crew.with_role("administrator")]
        crew = crew.changed("add", person(name, held), signing, at_ms=NOW)  # type: ignore[arg-type]  # a role
    operation = Operation(action, "x")
    if role in rule.request:
        assert request(operation, key("r1"), crew, at_ms=NOW, rng=counting()).requested.person == "r1"
    else:
        with pytest.raises(PeopleError, match="r1 is "):
            request(operation, key("r1"), crew, at_ms=NOW, rng=counting())
    begun = request(operation, key("r0"), crew, at_ms=NOW, rng=counting())
    if role in rule.approve:
        assert approve(begun, key("r1"), crew, at_ms=NOW).approved[0].person == "r1"
    else:
        with pytest.raises(PeopleError, match="r1 is "):
            approve(begun, key("r1"), crew, at_ms=NOW)


def test_the_table_of_actions_is_sound() -> None:
    for action, rule in ACTIONS.items():
        assert rule.approvals >= 1, action
        assert set(rule.request) | set(rule.approve) <= set(ROLES), action
    destroying = {action for action in ACTIONS if action.endswith(("destroy", "scrap"))}
    assert destroying == {"campaign.scrap", "unit.destroy", "key.destroy"}


def test_an_action_that_is_not_in_the_table_cannot_be_approved(crew: Directory) -> None:
    with pytest.raises(ApprovalError, match="is no action that can be approved"):
        asked(crew, Operation("unit.gild", "x"))


def test_who_has_retired_or_lost_the_role_since_does_not_count(crew: Directory, approval: Approval) -> None:
    both = [key("ada"), key("alan")]
    gone = crew.changed("retire", person("sam"), both, at_ms=NOW)
    with pytest.raises(PeopleError, match="'sam' has retired"):
        check(approval, RELEASE, gone, at_ms=NOW + 2 * MINUTE)
    less = crew.changed("change", person("sam", "operator"), both, at_ms=NOW)
    with pytest.raises(PeopleError, match="sam is operator"):
        check(approval, RELEASE, less, at_ms=NOW + 2 * MINUTE)


def test_people_of_another_directory_do_not_count(crew: Directory, approval: Approval) -> None:
    mine = Directory.begin(person("ada"), key("ada"), at_ms=NOW + 1)
    for name in ("olga", "sam"):
        mine = mine.changed("add", person(name), [key("ada")], at_ms=NOW)
    with pytest.raises(ApprovalError, match="another directory"):
        check(approval, RELEASE, mine, at_ms=NOW)
    with pytest.raises(ApprovalError, match="another directory"):
        approve(asked(crew), key("sam"), mine, at_ms=NOW)
    # The same persons in it do not make it theirs: what they signed names the directory.
    for person_name in ("olga", "sam"):
        assert mine.person(person_name).public_key == crew.person(person_name).public_key
    moved = msgspec.structs.replace(approval, directory=mine.id)
    with pytest.raises(ApprovalError, match="signature of olga does not hold"):
        check(moved, RELEASE, mine, at_ms=NOW + 2 * MINUTE)


def test_words_say_everything_that_is_signed() -> None:
    told = SCRAP.words()
    assert told == [
        ("to", "give the lot up and destroy its units"),
        ("action", "campaign.scrap"),
        ("object", "lot-1"),
        ("units", "3"),
        ("weight", "[1,2]"),
        ("why", "water"),
        ("digest", SCRAP.digest.hex()),
    ]


def test_a_file_carries_an_approval_and_its_use(crew: Directory, tmp_path: Path) -> None:
    path = tmp_path / "approval"
    begun = asked(crew)
    approval_file.write(path, begun)
    with pytest.raises(ApprovalError, match="0 of 1"):
        approval_file.use(path, RELEASE, crew, at_ms=NOW)
    approval_file.write(path, approve(approval_file.read(path), key("sam"), crew, at_ms=NOW))
    with pytest.raises(ApprovalError, match="is not for this"):
        approval_file.use(path, SCRAP, crew, at_ms=NOW)
    assert approval_file.use(path, RELEASE, crew, at_ms=NOW).id == begun.id
    with pytest.raises(ApprovalError, match="has been used"):
        approval_file.use(path, RELEASE, crew, at_ms=NOW)


def test_a_file_keeps_its_approval(crew: Directory, approval: Approval, tmp_path: Path) -> None:
    path = tmp_path / "approval"
    approval_file.write(path, approval)
    assert approval_file.read(path) == approval
    other = request(RELEASE, key("olga"), crew, at_ms=NOW, rng=counting(50))
    with pytest.raises(StoreError, match="is another approval"):
        approval_file.write(path, other)
    path.write_text("{}")
    with pytest.raises(StoreError, match="no approval, or damaged"):
        approval_file.read(path)
    with pytest.raises(StoreError, match="cannot be read"):
        approval_file.read(tmp_path / "none")
