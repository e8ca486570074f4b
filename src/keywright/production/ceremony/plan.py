"""The plan of a ceremony: what is to happen to which key, and who has which duty. It is approved as it stands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, NamedTuple, TypeAlias

import msgspec
from msgspec import Meta

from keywright.crypto.kcv import Kcv, Rule
from keywright.crypto.keyblocks import Header, check_writable
from keywright.errors import UsageError
from keywright.production.canonical import digest
from keywright.production.ceremony.states import CeremonyError
from keywright.production.people.approvals import Operation
from keywright.production.people.people import Directory, check_key_duties
from keywright.production.people.person_key import NAME, check_name

Kind: TypeAlias = Literal["create", "import", "export", "backup", "restore", "destroy"]
Entry: TypeAlias = Literal["draw", "type", "deal", "none"]
"""How custodians come to their parts: drawn on their terminal, typed, dealt by the host, or not at all."""

WITNESSES: Final = 2
APPROVERS: Final = 1
"""Besides the one who drafted: two persons sign for every ceremony (`approvals.ACTIONS`)."""
MOST_CUSTODIANS: Final = 9


class What(NamedTuple):
    """One kind of ceremony: in words, how parts may be entered, whether it reads or writes a file."""

    words: str
    entries: tuple[Entry, ...]
    reads_file: bool = False
    writes_file: bool = False


KINDS: Final[Mapping[Kind, What]] = {
    "create": What("create a master key", ("draw", "none")),
    "import": What("import a master key", ("type", "none")),
    "export": What("export a master key to another zone", ("none",), writes_file=True),
    "backup": What("back up a master key", ("draw", "deal"), writes_file=True),
    "restore": What("restore a master key from a backup", ("type",), reads_file=True),
    "destroy": What("destroy a master key", ("none",)),
}


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is decided beforehand.

    `id`: 16 bytes as hex; `directory`: id of the directory of people. `key` names the key in the keystore `target` (a
    URI). `usage`, `exportability`: as in a key block's header. `needed` of `custodians` enter a part (components: all).
    `kek` names the key in the target that a file is wrapped under. `file`, `file_sha256`: what is written, or read and
    must then be just that. `expected`: the check value that is known beforehand, as `Kcv` writes it; empty if none is.
    """

    id: Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]
    kind: Kind
    key: Annotated[str, Meta(pattern=NAME)]
    target: str
    directory: str
    host: str
    custodians: tuple[str, ...]
    witnesses: tuple[str, ...]
    entry: Entry
    algorithm: Literal["AES", "TDES"] = "AES"
    bits: int = 256
    usage: str = "E5"
    exportability: Literal["E", "N", "S"] = "N"
    split: Literal["components", "shares"] = "components"
    needed: int = 0
    zone: str = "line"
    owner: str = ""
    kek: str = ""
    file: str = ""
    file_sha256: str = ""
    expected: str = ""
    test: bool = False

    @property
    def digest(self) -> str:
        """SHA-256 of the plan's canonical text, hex."""
        return digest(self.facts()).hex()

    def facts(self) -> dict[str, Any]:
        """The plan as it is written down and signed."""
        built: dict[str, Any] = msgspec.to_builtins(self)
        return built

    def operation(self) -> Operation:
        """What is approved: exactly this."""
        return Operation(f"key.{self.kind}", self.key, self.facts())

    @property
    def parts(self) -> int:
        """How many custodians have to enter, or take, a part."""
        if self.entry == "none":
            return 0
        return len(self.custodians) if self.entry == "deal" or self.split == "components" else self.needed

    @property
    def check_rule(self) -> Rule:
        """By which rule the key's check value is made."""
        return Rule.AES_CMAC if self.algorithm == "AES" else Rule.TDES_ZERO

    @property
    def header(self) -> Header:
        """What the key may do, as a key block of version D says it."""
        mode = "B" if self.usage in ("K0", "K1", "K4", "D0", "P0") else "C" if self.usage.startswith("M") else "X"
        letter = "A" if self.algorithm == "AES" else "T"
        return Header("D", self.usage, letter, mode, exportability=self.exportability)

    def check(self, directory: Directory) -> None:
        """Raise if this is no ceremony that can be held: UsageError for its numbers, CeremonyError for its persons."""
        _check_numbers(self)
        check_writable(self.header)
        if self.directory != directory.id:
            raise CeremonyError(
                "the plan names people of another directory", hint="give the directory it was made with"
            )
        _check_persons(self, directory)


def _check_numbers(plan: Plan) -> None:
    what = KINDS[plan.kind]
    if plan.entry not in what.entries:
        raise UsageError(
            f"{plan.kind}: parts are not entered by {plan.entry}", hint=f"one of {', '.join(what.entries)}"
        )
    if plan.bits not in ((128, 192, 256) if plan.algorithm == "AES" else (128, 192)):
        raise UsageError(f"{plan.algorithm} has no keys of {plan.bits} bits", hint="AES 128 192 256, TDES 128 192")
    check_name(plan.key)
    if plan.kek:
        check_name(plan.kek)
    if plan.expected and Kcv.parse(plan.expected).rule is not plan.check_rule:
        raise UsageError(
            f"the expected check value {plan.expected!r} is by another rule than that of this key, {plan.check_rule}",
            hint="have the sender make it by that rule",
        )
    if len(plan.witnesses) != WITNESSES:
        raise UsageError(f"{len(plan.witnesses)} witnesses", hint=f"a ceremony has {WITNESSES}")
    carried = plan.kind == "import" and plan.entry == "none"
    _check_given(plan.kind, "file", plan.file, needed=what.reads_file or what.writes_file or carried)
    _check_given(plan.kind, "KEK", plan.kek, needed=plan.kind == "export" or carried)
    _check_split(plan)


def _check_given(kind: Kind, what: str, given: str, *, needed: bool) -> None:
    if bool(given) != needed:
        raise UsageError(
            f"{kind}: {f'no {what} is used' if given else f'a {what} is needed'}", hint=f"see --{what.lower()}"
        )


def _check_split(plan: Plan) -> None:
    count = len(plan.custodians)
    if plan.entry == "none":
        if count:
            raise UsageError("nobody enters a part in this ceremony", hint="leave the custodians out")
        return
    if not 2 <= count <= MOST_CUSTODIANS:
        raise UsageError(
            f"{count} custodians: a key is held by 2 to {MOST_CUSTODIANS}, never by one",
            hint="name each with --custodian",
        )
    if plan.split == "shares" and not 2 <= plan.needed <= count:
        raise UsageError(f"{plan.needed} of {count} shares", hint="at least two, at most all")
    if plan.split == "components" and plan.needed not in (0, count):
        raise UsageError("of components all are needed", hint="or give shares, of which some are enough")
    entries = ("type", "deal") if plan.split == "shares" else ("type", "draw")
    if plan.entry not in entries:
        raise UsageError(f"{plan.split} are not entered by {plan.entry}", hint=f"one of {', '.join(entries)}")


def _check_persons(plan: Plan, directory: Directory) -> None:
    directory.require(plan.host, "key-manager")
    for name in plan.custodians:
        directory.require(name, "custodian")
    for name in plan.witnesses:
        directory.require(name, "auditor")
    seen: set[str] = set()
    for name in (plan.host, *plan.custodians, *plan.witnesses):
        if name in seen:
            raise CeremonyError(f"{name} has two duties in one ceremony", hint="every duty takes another person")
        seen.add(name)
    # Who stands in one conflict group neither holds two parts nor watches over the other.
    directory.check_apart((plan.host, *plan.custodians, *plan.witnesses))
    check_key_duties({name: {"custodian", *directory.person(name).roles} for name in plan.custodians})
