"""Approvals: what one person asks for and others allow, each signature bound to the exact operation.

A signature covers the SHA-256 of the operation's canonical text, the approval's id, and when it was asked for. An
approval is valid for 30 minutes and allows the operation once: that it was used is a row with a unique key, written in
the transaction of what it allows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final, NamedTuple, TypeAlias

import msgspec
from msgspec import Meta

from keywright.crypto.compare import equal
from keywright.crypto.curve25519 import verify_ed25519
from keywright.errors import AuthenticationError, PolicyError
from keywright.production.canonical import Json, canonical
from keywright.production.people.people import Directory, Person, check_two
from keywright.production.people.person_key import PersonKey
from keywright.production.unit_store.rows import Change

VALID_MS: Final = 30 * 60 * 1000
CLOCK_SKEW_MS: Final = 60_000
"""By so much the clocks of those who sign may differ."""
_DOMAIN: Final = b"keywright approval 1\n"


class ApprovalError(PolicyError):
    """An operation is not allowed, or no longer, by the approval that was given for it."""

    code = "approval"


class Rule(NamedTuple):
    """Who may ask for an action and who may allow it, how many have to, and what it is in words."""

    words: str
    request: tuple[str, ...]
    approve: tuple[str, ...]
    approvals: int = 1


_SUPERVISOR: Final = ("supervisor",)
_LINE: Final = ("operator", "supervisor")
_KEYS: Final = ("key-manager",)
_ADMINISTRATOR: Final = ("administrator",)

ACTIONS: Final[Mapping[str, Rule]] = {
    "campaign.release": Rule("begin to produce the lot", _LINE, _SUPERVISOR),
    "campaign.first-article": Rule("accept the first units of the lot and produce the rest", _LINE, _SUPERVISOR),
    "campaign.resume": Rule("go on with a lot that was stopped", _LINE, _SUPERVISOR),
    "campaign.close": Rule("close the lot: nothing is produced in it any more", _SUPERVISOR, _SUPERVISOR),
    "campaign.scrap": Rule("give the lot up and destroy its units", _SUPERVISOR, _SUPERVISOR, 2),
    "recipe.approve": Rule("produce by this recipe", _LINE, _SUPERVISOR),
    "unit.rework": Rule("take a unit that was set aside through the recipe again", _LINE, _SUPERVISOR),
    "unit.unpin": Rule("let another station go on with a unit", _LINE, _SUPERVISOR),
    "unit.remake": Rule("make a unit anew, with new secrets only", _LINE, _SUPERVISOR),
    "unit.return": Rule("take a unit back from the customer", _LINE, _SUPERVISOR),
    "unit.destroy": Rule("destroy units for good", _LINE, _SUPERVISOR),
    "label.reprint": Rule("print labels again", _LINE, _SUPERVISOR),
    "key.create": Rule("create a master key", _KEYS, _KEYS),
    "key.import": Rule("import a master key", _KEYS, _KEYS),
    "key.export": Rule("export a master key", _KEYS, _KEYS),
    "key.backup": Rule("back up a master key", _KEYS, _KEYS),
    "key.restore": Rule("restore a master key", _KEYS, _KEYS),
    "key.destroy": Rule("destroy a master key for good", _KEYS, _KEYS),
    "key.state": Rule("change the state of a key", _KEYS, _KEYS),
    "token.accept": Rule("use a token in spite of what it does not enforce", _KEYS, _KEYS),
    "policy.change": Rule("change a rule of the line", _KEYS, _KEYS),
    "audit.rekey": Rule("give the audit log another key", _ADMINISTRATOR, ("auditor",)),
    "witness.disable": Rule("stop sending checkpoints of the audit log to a witness", _ADMINISTRATOR, ("auditor",)),
}
"""Every action that needs an approval. An action that is not here cannot be approved."""


class Operation(msgspec.Struct, frozen=True):
    """What is to be done, to what, and every fact that matters: nothing else is allowed by its approval."""

    action: str
    object: str
    facts: dict[str, Any] = {}

    @property
    def digest(self) -> bytes:
        """SHA-256 of the canonical text, 32 bytes. Raises TypeError for facts that have none."""
        facts: Json = self.facts
        text = canonical({"action": self.action, "object": self.object, "facts": facts})
        return hashlib.sha256(text).digest()

    @property
    def rule(self) -> Rule:
        """Who may ask and allow. Raises ApprovalError for an action that nobody can approve."""
        try:
            return ACTIONS[self.action]
        except KeyError:
            raise ApprovalError(f"{self.action!r} is no action that can be approved") from None

    def words(self) -> list[tuple[str, str]]:
        """What a signature allows, for a person to read: names and values, the digest last."""
        facts = [(name, _told(value)) for name, value in sorted(self.facts.items())]
        head = [("to", self.rule.words), ("action", self.action), ("object", self.object)]
        return [*head, *facts, ("digest", self.digest.hex())]


class Signature(msgspec.Struct, frozen=True):
    """Who signed and when (ms since 1970, UTC); `value` is Ed25519, 64 bytes."""

    person: str
    at_ms: int
    value: Annotated[bytes, Meta(min_length=64, max_length=64)]


class Approval(msgspec.Struct, frozen=True):
    """An operation, who asked for it and who allowed it. `directory`: the id of the directory they stand in."""

    id: Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]
    directory: str
    operation: Operation
    requested: Signature
    approved: tuple[Signature, ...] = ()

    @property
    def expires_ms(self) -> int:
        """The first moment at which it allows nothing any more."""
        return self.requested.at_ms + VALID_MS


class ApprovalRequested(Change, frozen=True):
    """A change: somebody asks for an operation. Fields as the columns of the table `approval`."""

    id: str
    directory: str
    action: str
    object: str
    facts: str
    digest: bytes
    person: str
    at_ms: int
    signature: bytes


class ApprovalSigned(Change, frozen=True):
    """A change: somebody allows it. A person signs an approval once."""

    approval: str
    person: str
    at_ms: int
    signature: bytes


class ApprovalUsed(Change, frozen=True):
    """A change: the approval has allowed what is written with this; a second one of the same id is a ConflictError."""

    approval: str
    digest: bytes
    at_ms: int


ApprovalChange: TypeAlias = ApprovalRequested | ApprovalSigned | ApprovalUsed


def request(
    operation: Operation, by: PersonKey, directory: Directory, *, at_ms: int, rng: Callable[[int], bytes]
) -> Approval:
    """Ask for an operation. Raises ApprovalError if the action is none, PeopleError if this person may not ask."""
    requester = directory.require(directory.of_key(by).name, operation.rule.request)
    name = rng(16).hex()
    text = _signed(name, directory.id, operation, "request", requester.name, at_ms, at_ms)
    return Approval(name, directory.id, operation, Signature(requester.name, at_ms, by.sign(text)))


def approve(approval: Approval, by: PersonKey, directory: Directory, *, at_ms: int) -> Approval:
    """Allow it: the approval with one more signature.

    Raises ApprovalError if it has expired or this person has signed already, PeopleError if they may not allow it.
    """
    _check_directory(approval, directory)
    _check_time(approval, at_ms)
    _check_request(approval, directory)
    approver = directory.of_key(by)
    _check_approver(approval, approver, directory)
    text = _signed_by(approval, approver.name, at_ms)
    more = Signature(approver.name, at_ms, by.sign(text))
    return msgspec.structs.replace(approval, approved=(*approval.approved, more))


def check(approval: Approval, operation: Operation, directory: Directory, *, at_ms: int) -> None:
    """See that the approval allows exactly this operation now.

    Raises ApprovalError if it is for another operation, has expired, has too few signatures or one that does not hold;
    PeopleError if a signature is of somebody who has not the role, is not there any more, or is not independent.
    """
    if not equal(approval.operation.digest, operation.digest):
        raise ApprovalError(
            f"the approval {approval.id} is not for this: {operation.action} {operation.object}",
            hint="ask for a new approval; one digit changed is another operation",
        )
    _check_directory(approval, directory)
    _check_time(approval, at_ms)
    _check_request(approval, directory)
    counted = msgspec.structs.replace(approval, approved=())
    for signature in approval.approved:
        _check_approver(counted, directory.person(signature.person), directory)
        _check_moment(approval, signature, at_ms)
        _verify(directory.person(signature.person), signature, _signed_by(approval, signature.person, signature.at_ms))
        counted = msgspec.structs.replace(counted, approved=(*counted.approved, signature))
    needed = operation.rule.approvals
    if len(counted.approved) < needed:
        raise ApprovalError(
            f"{len(counted.approved)} of {needed} have approved {operation.action} {operation.object}",
            hint=f"ask a {' or '.join(operation.rule.approve)}: keywright approve sign {approval.id}",
        )


def recorded(approval: Approval) -> list[ApprovalChange]:
    """The rows of an approval that is in no store yet."""
    operation = approval.operation
    requested = ApprovalRequested(
        approval.id,
        approval.directory,
        operation.action,
        operation.object,
        canonical(operation.facts).decode(),
        operation.digest,
        approval.requested.person,
        approval.requested.at_ms,
        approval.requested.value,
    )
    return [requested, *(signed(approval, signature) for signature in approval.approved)]


def signed(approval: Approval, signature: Signature) -> ApprovalSigned:
    """The row of one more signature."""
    return ApprovalSigned(approval.id, signature.person, signature.at_ms, signature.value)


def consume(approval: Approval, operation: Operation, directory: Directory, *, at_ms: int) -> list[ApprovalChange]:
    """What to commit together with what the approval allows; raises as `check`.

    The commit raises ConflictError, and changes nothing, if the approval has been used before.
    """
    check(approval, operation, directory, at_ms=at_ms)
    return [ApprovalUsed(approval.id, operation.digest, at_ms)]


def _check_directory(approval: Approval, directory: Directory) -> None:
    if approval.directory != directory.id:
        raise ApprovalError(
            f"the approval {approval.id} was given by people of another directory", hint="use the lot's own directory"
        )


def _check_time(approval: Approval, at_ms: int) -> None:
    if at_ms >= approval.expires_ms:
        raise ApprovalError(
            f"the approval {approval.id} has expired", hint=f"it is valid for {VALID_MS // 60_000} min; ask anew"
        )
    if approval.requested.at_ms > at_ms + CLOCK_SKEW_MS:
        raise ApprovalError(f"the approval {approval.id} was asked for in the future", hint="set the clocks right")


def _check_moment(approval: Approval, signature: Signature, at_ms: int) -> None:
    """A signature stands between the request and its end, and not after now."""
    begin = approval.requested.at_ms - CLOCK_SKEW_MS
    if not begin <= signature.at_ms < min(approval.expires_ms, at_ms + CLOCK_SKEW_MS + 1):
        raise ApprovalError(f"the approval {approval.id}: {signature.person} signed at a time that cannot be")


def _check_request(approval: Approval, directory: Directory) -> None:
    asked = approval.requested
    requester = directory.require(asked.person, approval.operation.rule.request)
    text = _signed(
        approval.id, approval.directory, approval.operation, "request", asked.person, asked.at_ms, asked.at_ms
    )
    _verify(requester, asked, text)


def _check_approver(approval: Approval, approver: Person, directory: Directory) -> None:
    """Another person than who asked and who signed before, none of a conflict group with them, in the right role."""
    directory.require(approver.name, approval.operation.rule.approve)
    for name in (approval.requested.person, *(signature.person for signature in approval.approved)):
        check_two(directory.person(name), approver)


def _verify(person: Person, signature: Signature, text: bytes) -> None:
    try:
        verify_ed25519(person.public_key, signature.value, text)
    except AuthenticationError as error:
        raise ApprovalError(f"the signature of {person.name} does not hold", hint="ask for a new approval") from error


def _signed_by(approval: Approval, person: str, at_ms: int) -> bytes:
    return _signed(
        approval.id,
        approval.directory,
        approval.operation,
        "approve",
        person,
        at_ms,
        approval.requested.at_ms,
    )


def _signed(
    approval: str, directory: str, operation: Operation, duty: str, person: str, at_ms: int, requested_at_ms: int
) -> bytes:
    return _DOMAIN + canonical(
        {
            "approval": approval,
            "directory": directory,
            "digest": operation.digest.hex(),
            "as": duty,
            "person": person,
            "at_ms": at_ms,
            "requested_at_ms": requested_at_ms,
        }
    )


def _told(value: object) -> str:
    return value if isinstance(value, str) else canonical(value).decode()  # type: ignore[arg-type]  # facts are Json
