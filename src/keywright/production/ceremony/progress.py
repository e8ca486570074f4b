"""A ceremony as the lines of its transcript add up to it, each signed by who did it and bound to the one before.

Nobody can write a line for somebody else. Secrets stand in a line only inside sealed boxes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Final, final

import msgspec
from msgspec import Meta

from keywright.crypto.curve25519 import verify_ed25519
from keywright.crypto.kcv import Kcv
from keywright.errors import AuthenticationError, DecodeError
from keywright.production.canonical import canonical
from keywright.production.ceremony.plan import WITNESSES, Plan
from keywright.production.ceremony.states import FINAL, CeremonyError, Event, State, move
from keywright.production.people.approvals import Approval, Signature, check
from keywright.production.people.people import Directory, PeopleError
from keywright.production.people.person_key import PersonKey

_DOMAIN: Final = b"keywright ceremony 1\n"


class Line(msgspec.Struct, frozen=True):
    """One thing that somebody did. `previous`: SHA-256 of the line before, hex; `at_ms`: ms since 1970, UTC."""

    ceremony: str
    seq: int
    previous: str
    at_ms: int
    event: Event
    person: str
    facts: dict[str, Any]
    signature: Annotated[bytes, Meta(min_length=64, max_length=64)] = bytes(64)

    def content(self) -> bytes:
        """What the signature covers: everything else."""
        fields = msgspec.to_builtins(self)
        del fields["signature"]
        return _DOMAIN + canonical(fields)

    def hash(self) -> str:
        """SHA-256 of the line with its signature, hex: what the next one is bound to."""
        return hashlib.sha256(canonical(msgspec.to_builtins(self))).hexdigest()


@final
class Ceremony:
    """What the lines of a transcript add up to. It is made by following them all; a line that does not fit is refused.

    `loads`: index of a part -> the line that brought it, since the host last opened.
    """

    def __init__(self, plan: Plan, directory: Directory) -> None:
        self.plan = plan
        self.directory = directory
        self.state = State.NONE
        self.lines: list[Line] = []
        self.approval: Approval | None = None
        self.host_key = b""
        self.loads: dict[int, Line] = {}
        self.asked: dict[int, Line] = {}
        self.dealt: dict[int, Line] = {}
        self.confirmed: set[str] = set()
        self.combined: dict[str, Any] = {}
        self.why = ""

    @property
    def hash(self) -> str:
        """Of the last line, hex: the transcript's."""
        return self.lines[-1].hash() if self.lines else ""

    def duty(self, person: str) -> str:
        """What the person is here. Raises CeremonyError for somebody who has no part in it."""
        plan = self.plan
        if person in plan.custodians:
            return "custodian"
        if person in plan.witnesses:
            return "witness"
        if person == plan.host:
            return "host"
        if any(line.person == person and line.event in (Event.DRAFT, Event.APPROVE) for line in self.lines):
            return "approver"
        raise CeremonyError(f"{person} has no part in this ceremony", hint="its plan names who has")

    def follow(self, line: Line, *, verify: bool = True) -> None:
        """Take one more line. Raises CeremonyError if it does not follow, or is not this person's to write."""
        if (line.ceremony, line.seq, line.previous) != (self.plan.id, len(self.lines), self.hash):
            raise CeremonyError(f"line {line.seq} of the transcript does not follow the one before")
        if self.lines and line.at_ms < self.lines[-1].at_ms:
            raise CeremonyError(f"line {line.seq} of the transcript is older than the one before")
        person = self.directory.person(line.person)
        if verify:
            try:
                verify_ed25519(person.public_key, line.signature, line.content())
            except AuthenticationError as error:
                raise CeremonyError(
                    f"line {line.seq} of the transcript: the signature of {line.person} does not hold",
                    hint="the transcript was altered; keep it as evidence",
                ) from error
        state = move(self.state, line.event, is_last=self._is_last(line))
        _RULES[line.event](self, line)
        self.state = state
        self.lines.append(line)

    def _is_last(self, line: Line) -> bool:
        match line.event:
            case Event.LOAD:
                return len(self.loads) + 1 >= self.plan.parts
            case Event.OPEN | Event.REOPEN:
                return self.plan.parts == 0
            case Event.CONFIRM:
                return len(self.confirmed | {line.person}) >= WITNESSES
            case Event.APPROVE:
                return self.approval is not None and (
                    len(self.approval.approved) + 1 >= self.approval.operation.rule.approvals
                )
            case _:
                return True

    # ---- whose line it may be, and what it says

    def _draft(self, line: Line) -> None:
        if msgspec.convert(line.facts["plan"], Plan) != self.plan:
            raise CeremonyError("the transcript begins with another plan")
        self.plan.check(self.directory)
        requested = msgspec.convert(line.facts["requested"], Signature)
        if requested.person != line.person or line.person in (*self.plan.custodians, *self.plan.witnesses):
            raise CeremonyError(f"{line.person} cannot draft this ceremony", hint="a key manager without another duty")
        self.approval = Approval(line.facts["approval"], self.directory.id, self.plan.operation(), requested)

    def _approve(self, line: Line) -> None:
        if self.approval is None:
            raise AssertionError("a draft comes first")
        if line.person in (*self.plan.custodians, *self.plan.witnesses, self.plan.host):
            raise CeremonyError(f"{line.person} has another duty here", hint="another key manager approves")
        self.directory.check_apart((self.plan.host, line.person))
        signature = msgspec.convert(line.facts["signature"], Signature)
        if signature.person != line.person:
            raise CeremonyError("an approval is signed by who gives it")
        self.approval = msgspec.structs.replace(self.approval, approved=(*self.approval.approved, signature))

    def _open(self, line: Line) -> None:
        if self.approval is None:
            raise AssertionError("a draft comes first")
        check(self.approval, self.plan.operation(), self.directory, at_ms=line.at_ms)
        self._opened(line)

    def _opened(self, line: Line) -> None:
        self._by_host(line)
        self.host_key = _hex(line, "host_key", 32)
        self.loads, self.asked, self.dealt = {}, {}, {}
        self.confirmed, self.combined = set(), {}

    def _ask(self, line: Line) -> None:
        self._by_custodian(line)
        if self.plan.entry != "deal":
            raise CeremonyError("parts are not dealt in this ceremony")
        _hex(line, "public", 32)
        self.asked[line.facts["index"]] = line
        self.dealt.pop(line.facts["index"], None)

    def _deal(self, line: Line) -> None:
        self._by_host(line)
        if line.facts.get("index") not in self.asked:
            raise CeremonyError("a part is dealt to who asked for it")
        self.dealt[line.facts["index"]] = line

    def _load(self, line: Line) -> None:
        self._by_custodian(line)
        index = line.facts["index"]
        if index in self.loads:
            raise CeremonyError(f"part {index} is there already", hint="every part is entered once")
        if line.facts.get("host_key") != self.host_key.hex():
            raise CeremonyError("the part is for a host that has ended meanwhile", hint="enter it again")
        if self.plan.entry == "deal" and index not in self.dealt:
            raise CeremonyError(f"part {index} was not dealt")
        self.loads[index] = line

    def _combine(self, line: Line) -> None:
        self._by_host(line)
        try:
            Kcv.parse(str(line.facts["check"]))
        except (DecodeError, KeyError) as error:
            raise CeremonyError("a key that was put together has a check value") from error
        self.combined = line.facts

    def _confirm(self, line: Line) -> None:
        if line.person not in self.plan.witnesses or line.person in self.confirmed:
            raise CeremonyError(
                f"{line.person} cannot confirm now", hint=f"witnesses: {', '.join(self.plan.witnesses)}"
            )
        if line.facts.get("check") != self.combined.get("check"):
            raise CeremonyError("another check value than the one that was shown")
        self.confirmed.add(line.person)

    def _by_host(self, line: Line) -> None:
        if line.person != self.plan.host:
            raise CeremonyError(f"{line.person} is not the host of this ceremony", hint=f"it is {self.plan.host}")

    def _by_custodian(self, line: Line) -> None:
        index = line.facts.get("index")
        if not isinstance(index, int) or not 1 <= index <= len(self.plan.custodians):
            raise CeremonyError("a part has a number")
        if self.plan.custodians[index - 1] != line.person:
            raise CeremonyError(
                f"{line.person} is not the custodian of part {index}", hint="every custodian has one part, their own"
            )

    def _abort(self, line: Line) -> None:
        self.duty(line.person)
        if self.state is State.EXECUTING and line.person != self.plan.host:
            raise CeremonyError(
                "the keystore is being changed: only the host can say what became of it", hint="begin the host again"
            )
        self.why = str(line.facts.get("why", ""))


_RULES: Final[dict[Event, Callable[[Ceremony, Line], None]]] = {
    Event.DRAFT: Ceremony._draft,  # noqa: SLF001 - a table of the class's own rules
    Event.APPROVE: Ceremony._approve,  # noqa: SLF001 - as above
    Event.OPEN: Ceremony._open,  # noqa: SLF001 - as above
    Event.REOPEN: Ceremony._opened,  # noqa: SLF001 - as above
    Event.ASK: Ceremony._ask,  # noqa: SLF001 - as above
    Event.DEAL: Ceremony._deal,  # noqa: SLF001 - as above
    Event.LOAD: Ceremony._load,  # noqa: SLF001 - as above
    Event.COMBINE: Ceremony._combine,  # noqa: SLF001 - as above
    Event.CONFIRM: Ceremony._confirm,  # noqa: SLF001 - as above
    Event.EXECUTE: Ceremony._by_host,  # noqa: SLF001 - as above
    Event.SEAL: Ceremony._by_host,  # noqa: SLF001 - as above
    Event.ABORT: Ceremony._abort,  # noqa: SLF001 - as above
}


def follow(lines: Iterable[Line], directory: Directory) -> Ceremony:
    """What the lines add up to. Raises CeremonyError if they were altered, PeopleError for persons who may not.

    A ceremony that is over stays what it was: where the people of today would not do, those of its last line count.
    """
    every = list(lines)
    try:
        return _followed(every, directory)
    except (CeremonyError, PeopleError) as error:
        if not every or every[-1].event not in (Event.SEAL, Event.ABORT):
            raise
        try:
            return _followed(every, directory.as_of(every[-1].at_ms))
        except (CeremonyError, PeopleError):
            raise error from None


def _followed(every: list[Line], directory: Directory) -> Ceremony:
    try:
        plan = msgspec.convert(every[0].facts["plan"], Plan)
    except (IndexError, KeyError, msgspec.ValidationError) as error:
        raise CeremonyError("the transcript does not begin with a plan") from error
    ceremony = Ceremony(plan, directory)
    for line in every:
        try:
            ceremony.follow(line)
        except (KeyError, msgspec.ValidationError, TypeError) as error:
            raise CeremonyError(f"line {line.seq} of the transcript is not in order") from error
    return ceremony


def signed(ceremony: Ceremony, key: PersonKey, event: Event, facts: dict[str, Any], at_ms: int) -> Line:
    """The next line, signed by who writes it."""
    before = ceremony.lines[-1].at_ms if ceremony.lines else at_ms
    line = Line(ceremony.plan.id, len(ceremony.lines), ceremony.hash, max(at_ms, before), event, key.name, facts)
    return msgspec.structs.replace(line, signature=key.sign(line.content()))


def is_over(ceremony: Ceremony) -> bool:
    """Whether nothing can follow any more."""
    return ceremony.state in FINAL


def _hex(line: Line, name: str, size: int) -> bytes:
    try:
        value = bytes.fromhex(line.facts[name])
    except (KeyError, TypeError, ValueError) as error:
        raise CeremonyError(f"line {line.seq} of the transcript has no {name}") from error
    if len(value) != size:
        raise CeremonyError(f"line {line.seq} of the transcript: {name} has another size")
    return value
