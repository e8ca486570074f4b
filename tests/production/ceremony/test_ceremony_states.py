"""The state table, whole: every pair that is not listed is refused, and who may write which line."""

from __future__ import annotations

import functools
import itertools
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from keywright.errors import DecodeError, KeywrightError, PolicyError, StoreError, UsageError
from keywright.production.ceremony import drafting
from keywright.production.ceremony.parts import Part
from keywright.production.ceremony.plan import KINDS, Plan
from keywright.production.ceremony.progress import Ceremony, follow, signed
from keywright.production.ceremony.states import FINAL, HELD, TABLE, CeremonyError, Event, State, move
from keywright.production.ceremony.transcript import FILE, Transcript
from keywright.production.people.approvals import VALID_MS, ApprovalError
from keywright.production.people.people import PeopleError, Person
from support.ceremonies import CUSTODIANS, KEYS, PEOPLE, START_MS, WITNESSES, Play, directory, keystore, plan

HOST_KEY = "ab" * 32


@pytest.mark.parametrize(("state", "event"), list(itertools.product(State, Event)))
@pytest.mark.parametrize("is_last", [False, True])
def test_only_listed_pairs_move(state: State, event: Event, *, is_last: bool) -> None:
    listed = TABLE.get((state, event))
    if listed is None:
        with pytest.raises(CeremonyError, match=f"is {state}: {event} is not possible"):
            move(state, event, is_last=is_last)
    else:
        assert move(state, event, is_last=is_last) is (listed.last if is_last else listed.before)


def test_the_table_is_that_of_a_ceremony() -> None:
    # Nothing follows the end; everything that is not the end may end at once; every state is reached.
    assert not [pair for pair in TABLE if pair[0] in FINAL]
    assert {state for state, event in TABLE if event is Event.ABORT} == set(State) - FINAL - {State.NONE}
    assert {state for state, event in TABLE if event is Event.REOPEN} == HELD
    reached = {State.NONE}
    for _ in State:
        reached |= {state for (start, _), to in TABLE.items() if start in reached for state in to}
    assert reached == set(State)
    # Sealed only through combining, two witnesses and an announced change.
    assert [pair for pair, to in TABLE.items() if State.SEALED in to] == [(State.EXECUTING, Event.SEAL)]
    assert [pair for pair, to in TABLE.items() if State.EXECUTING in to] == [(State.CONFIRMED, Event.EXECUTE)]
    assert [pair for pair, to in TABLE.items() if State.CONFIRMED in to] == [(State.COMBINED, Event.CONFIRM)]
    assert [pair for pair, to in TABLE.items() if State.COMBINED in to and pair[0] is not State.COMBINED] == [
        (State.LOADED, Event.COMBINE)
    ]


class Script:
    """A ceremony driven line by line, without host or keystore."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        self.play = Play(folder, plan("create", "software:none", **changes))

    def facts(self, event: Event, name: str) -> dict[str, Any]:
        index = CUSTODIANS.index(name) + 1 if name in CUSTODIANS else 1
        some: dict[Event, dict[str, Any]] = {
            Event.OPEN: {"host_key": HOST_KEY},
            Event.REOPEN: {"host_key": HOST_KEY},
            Event.ASK: {"index": index, "public": HOST_KEY},
            Event.DEAL: {"index": index, "public": HOST_KEY, "box": ""},
            Event.LOAD: {"index": index, "host_key": HOST_KEY, "check": "", "box": ""},
            Event.COMBINE: {"check": "aes-cmac 0011223344", "stored_check": "", "kek_check": ""},
            Event.CONFIRM: {"check": "aes-cmac 0011223344"},
            Event.ABORT: {"why": "test"},
        }
        return some.get(event, {})

    def do(self, event: Event, name: str) -> None:
        if event is Event.APPROVE:
            self.play.approve(name)
        else:
            self.play.write(name, event, **self.facts(event, name))

    def reach(self, state: State) -> None:
        steps: list[tuple[Event, str]] = [
            (Event.APPROVE, "kurt"),
            (Event.OPEN, "kim"),
            *((Event.LOAD, name) for name in CUSTODIANS),
            (Event.COMBINE, "kim"),
            *((Event.CONFIRM, name) for name in WITNESSES),
            (Event.EXECUTE, "kim"),
            (Event.SEAL, "kim"),
        ]
        if state is State.ABORTED:
            steps = [(Event.ABORT, "kim")]
        for event, name in steps:
            if self.play.state is state:
                return
            self.do(event, name)
        assert self.play.state is state


RIGHT = {
    Event.DRAFT: {"kim"},
    Event.APPROVE: {"kurt", "kara"},
    Event.OPEN: {"kim"},
    Event.REOPEN: {"kim"},
    Event.ASK: set(CUSTODIANS),
    Event.DEAL: {"kim"},
    Event.LOAD: set(CUSTODIANS),
    Event.COMBINE: {"kim"},
    Event.CONFIRM: set(WITNESSES),
    Event.EXECUTE: {"kim"},
    Event.SEAL: {"kim"},
    Event.ABORT: {"kim", "kurt", *CUSTODIANS, *WITNESSES},
}


@pytest.mark.parametrize("state", [state for state in State if state is not State.NONE])
def test_every_line_of_every_person_is_written_only_where_it_may_be(tmp_path: Path, state: State) -> None:
    script = Script(tmp_path / "c")
    script.reach(state)
    before = (tmp_path / "c" / FILE).read_bytes()
    for event, name in itertools.product(Event, KEYS):
        may = (state, event) in TABLE and name in RIGHT[event]
        # In these places the right person is not enough.
        if event in (Event.ASK, Event.DEAL):
            may = False
        if event is Event.ABORT and state is State.DRAFTED and name == "kurt":
            may = False
        if event is Event.ABORT and state is State.EXECUTING:
            may = name == "kim"
        if event is Event.ABORT and name == "kurt" and state is State.ABORTED:
            may = False
        (tmp_path / "c" / FILE).write_bytes(before)
        try:
            script.do(event, name)
        except PolicyError:
            wrote = False
            assert (tmp_path / "c" / FILE).read_bytes() == before
        else:
            wrote = True
        assert wrote == may, (state, event, name)


# ---- persons ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"custodians": ("carl", "carl", "cem")}, "two duties"),
        ({"witnesses": ("wim", "wim")}, "two duties"),
        ({"witnesses": ("wim", "anna")}, "not auditor"),
        ({"custodians": ("carl", "kim", "cem")}, "not custodian"),
        ({"host": "carl"}, "not key-manager"),
        ({"custodians": ("carl", "nobody")}, "not in the directory"),
        ({"custodians": ("carl", "both", "cem")}, "both cannot be key-manager and custodian of the same key"),
        ({"directory": "00" * 32}, "another directory"),
    ],
)
def test_a_plan_with_wrong_persons_is_refused(tmp_path: Path, changes: dict[str, Any], why: str) -> None:
    both = Person("both", ("custodian", "key-manager"), (), bytes(31) + b"\x01")
    people = PEOPLE.changed("add", both, [KEYS["anna"]], at_ms=START_MS)
    with pytest.raises(PolicyError, match=why):
        Play(tmp_path / "c", plan("create", "software:x", **changes), people)
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    ("kind", "changes", "why"),
    [
        ("create", {"custodians": ("carl",)}, "never by one"),
        ("create", {"custodians": ()}, "never by one"),
        ("create", {"entry": "type"}, "not entered by type"),
        ("create", {"split": "shares", "needed": 2}, "not entered by draw"),
        ("create", {"needed": 2}, "all are needed"),
        ("create", {"bits": 64}, "no keys of 64"),
        ("create", {"algorithm": "TDES", "bits": 256}, "no keys of 256"),
        ("create", {"witnesses": ("wim",)}, "1 witnesses"),
        ("create", {"file": "x"}, "no file is used"),
        ("create", {"kek": "x"}, "no KEK is used"),
        ("import", {"split": "shares", "needed": 1}, "1 of 3 shares"),
        ("import", {"split": "shares", "needed": 4}, "4 of 3 shares"),
        ("import", {"entry": "none", "file": "x"}, "a KEK is needed"),
        ("export", {"kek": "x"}, "a file is needed"),
        ("export", {"kek": "x", "file": "x", "custodians": ("carl", "cora")}, "nobody enters"),
        ("backup", {"file": "x", "entry": "deal"}, "not entered by deal"),
        ("restore", {}, "a file is needed"),
        ("create", {"key": "My Key"}, "'My Key' cannot be a name"),
        ("create", {"key": ""}, "cannot be a name"),
        ("export", {"kek": "../x", "file": "x"}, "'../x' cannot be a name"),
        ("import", {"expected": "aes-ones 504A77"}, "by another rule than that of this key, aes-cmac"),
        ("import", {"expected": "aes-cmac 0011223344", "algorithm": "TDES", "bits": 128}, "this key, tdes-zero"),
    ],
)
def test_a_plan_with_wrong_numbers_is_refused(tmp_path: Path, kind: str, changes: dict[str, Any], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        Play(tmp_path / "c", plan(kind, "software:x", **changes))


def test_an_expected_check_value_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DecodeError, match="no check value with its rule"):
        Play(tmp_path / "c", plan("import", "software:x", expected="6F2F9BE174"))


def test_who_approves_does_not_stand_in_a_group_with_the_host(tmp_path: Path) -> None:
    people = directory(dict.fromkeys(("kara", "kurt"), ("family",)))
    play = Play(tmp_path / "c", plan("create", "software:x", directory=people.id, host="kara"), people)
    with pytest.raises(PeopleError, match="conflict group"):
        play.approve("kurt")
    assert play.state is State.DRAFTED


def test_a_line_is_not_older_than_the_one_before(tmp_path: Path) -> None:
    play = Play(tmp_path / "c", plan("create", "software:x"))
    play.approve()
    first, second = play.ceremony.lines
    older = msgspec.structs.replace(second, at_ms=first.at_ms - 1)
    older = msgspec.structs.replace(older, signature=KEYS["kurt"].sign(older.content()))
    with pytest.raises(CeremonyError, match="line 1 of the transcript is older"):
        follow([first, older], PEOPLE)


@pytest.mark.parametrize("facts", [{}, {"box": None}, {"box": 7}, {"box": "no hex"}, {"box": ""}])
def test_a_part_without_a_box_aborts(tmp_path: Path, facts: dict[str, Any]) -> None:
    target = keystore(tmp_path / "k")
    play = Play(tmp_path / "c", plan("create", target.uri, test=True))
    play.approve()
    host = play.host(target)
    opened = host.open()
    for index, name in enumerate(CUSTODIANS, 1):
        play.write(name, Event.LOAD, index=index, host_key=opened.host_key.hex(), **facts)
    assert host.step().state is State.ABORTED
    host.close()


def test_what_witnesses_are_to_compare_is_a_check_value(tmp_path: Path) -> None:
    script = Script(tmp_path / "c")
    script.reach(State.LOADED)
    for facts in ({}, {"check": ""}, {"check": 7}, {"check": "aes-cmac"}):
        with pytest.raises(CeremonyError, match="has a check value"):
            script.play.write("kim", Event.COMBINE, **facts)


def test_a_usage_that_no_key_has_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="is not for algorithm"):
        Play(tmp_path / "c", plan("create", "software:x", usage="M3"))


@pytest.mark.parametrize(
    "group",
    [("carl", "cora"), ("carl", "kim"), ("cora", "wim"), ("wim", "wanda"), ("kim", "wim")],
    ids=["custodians", "host", "witness", "witnesses", "host and witness"],
)
def test_conflict_groups_are_refused(tmp_path: Path, group: tuple[str, str]) -> None:
    people = directory(dict.fromkeys(group, ("family",)))
    with pytest.raises(PeopleError, match="conflict group"):
        Play(tmp_path / "c", plan("create", "software:x", directory=people.id), people)


@pytest.mark.parametrize("name", ["carl", "wim", "kim", "anna"])
def test_who_drafts_or_has_another_duty_does_not_approve(tmp_path: Path, name: str) -> None:
    play = Play(tmp_path / "c", plan("create", "software:x"))
    with pytest.raises(PolicyError):
        play.approve(name)
    assert play.state is State.DRAFTED


def test_only_a_key_manager_without_another_duty_drafts(tmp_path: Path) -> None:
    for name in ("carl", "wim", "anna"):
        with pytest.raises(PolicyError):
            drafting.draft(tmp_path / name, plan("create", "software:x"), PEOPLE, KEYS[name], at_ms=1, rng=os.urandom)


def test_an_approval_runs_out(tmp_path: Path) -> None:
    script = Script(tmp_path / "c")
    script.reach(State.APPROVED)
    script.play.clock.now += VALID_MS
    with pytest.raises(ApprovalError, match="expired"):
        script.do(Event.OPEN, "kim")
    assert script.play.state is State.APPROVED


def test_a_custodian_has_one_part_their_own(tmp_path: Path) -> None:
    script = Script(tmp_path / "c")
    script.reach(State.OPEN)
    for index in (0, 2, 3, 4, "1", None):
        with pytest.raises(CeremonyError):
            script.play.write("carl", Event.LOAD, index=index, host_key=HOST_KEY)
    with pytest.raises(CeremonyError, match="host that has ended"):
        script.play.write("carl", Event.LOAD, index=1, host_key="cd" * 32)
    script.do(Event.LOAD, "carl")
    with pytest.raises(CeremonyError, match="there already"):
        script.do(Event.LOAD, "carl")


def test_a_witness_confirms_once_and_only_what_was_shown(tmp_path: Path) -> None:
    script = Script(tmp_path / "c")
    script.reach(State.COMBINED)
    with pytest.raises(CeremonyError, match="another check value"):
        script.play.write("wim", Event.CONFIRM, check="aes-cmac 0011223345")
    script.do(Event.CONFIRM, "wim")
    with pytest.raises(CeremonyError, match="cannot confirm"):
        script.do(Event.CONFIRM, "wim")
    assert script.play.state is State.COMBINED


# ---- the transcript ---------------------------------------------------------------------------------------------


def test_every_alteration_of_a_transcript_is_found(tmp_path: Path) -> None:
    script = Script(tmp_path / "c")
    script.reach(State.SEALED)
    lines = script.play.ceremony.lines
    assert follow(lines, PEOPLE).hash == script.play.ceremony.hash

    def refused(changed: list[Any]) -> bool:
        try:
            follow(changed, PEOPLE)
        except PolicyError:
            return True
        return False

    for at, line in enumerate(lines):
        for changes in (
            {"at_ms": line.at_ms + 1},
            {"person": "kara"},
            {"facts": {**line.facts, "more": 1}},
            {"signature": bytes(64)},
            {"event": Event.ABORT},
            {"seq": line.seq + 1},
            {"previous": "00" * 32},
        ):
            assert refused([*lines[:at], msgspec.structs.replace(line, **changes), *lines[at + 1 :]]), (at, changes)
        if at + 1 < len(lines):
            assert refused([*lines[:at], *lines[at + 1 :]])
            assert refused([*lines[:at], lines[at + 1], line, *lines[at + 2 :]])
        assert refused([*lines[: at + 1], *lines[at:]])
    # A line is of one ceremony.
    other = Script(tmp_path / "d")
    other.reach(State.APPROVED)
    assert refused([*other.play.ceremony.lines, lines[2]])


def test_a_line_that_somebody_else_signed_is_refused(tmp_path: Path) -> None:
    script = Script(tmp_path / "c")
    script.reach(State.COMBINED)
    ceremony = script.play.ceremony
    forged = msgspec.structs.replace(
        signed(ceremony, KEYS["kim"], Event.CONFIRM, {"check": ceremony.combined["check"]}, 0), person="wim"
    )
    with pytest.raises(CeremonyError, match="signature of wim does not hold"):
        ceremony.follow(forged)


def test_a_ceremony_that_is_over_outlives_its_people(tmp_path: Path) -> None:
    over, running = Script(tmp_path / "over"), Script(tmp_path / "running")
    over.reach(State.SEALED)
    running.reach(State.COMBINED)
    retired = PEOPLE.changed("retire", PEOPLE.person("carl"), [KEYS["anna"]], at_ms=START_MS + 100_000)
    rekeyed = msgspec.structs.replace(retired.person("kim"), public_key=bytes(31) + b"\x01")
    later = retired.changed("change", rekeyed, [KEYS["anna"]], at_ms=START_MS + 100_000)
    for people in (retired, later):
        read = Transcript(tmp_path / "over", people).read()
        assert (read.state, read.hash) == (State.SEALED, over.play.ceremony.hash)
        with pytest.raises(PolicyError):
            Transcript(tmp_path / "running", people).read()
    # Whoever had retired before it was over makes it no ceremony.
    before = PEOPLE.changed("retire", PEOPLE.person("carl"), [KEYS["anna"]], at_ms=START_MS + 1)
    with pytest.raises(PeopleError, match="carl' has retired"):
        Transcript(tmp_path / "over", before).read()


def test_a_torn_last_line_is_cut_off(tmp_path: Path) -> None:
    script = Script(tmp_path / "c")
    script.reach(State.OPEN)
    path = tmp_path / "c" / FILE
    whole = path.read_bytes()
    script.do(Event.LOAD, "carl")
    more = path.read_bytes()[len(whole) :]
    for size in range(0, len(more), 37):
        path.write_bytes(whole + more[:size])
        assert script.play.ceremony.loads.keys() == set()
        script.do(Event.LOAD, "cora")
        assert script.play.ceremony.loads.keys() == {2}


def test_a_damaged_or_missing_transcript_says_so(tmp_path: Path) -> None:
    script = Script(tmp_path / "c")
    path = tmp_path / "c" / FILE
    for data in (b"{}\n", b"\xff\n", b"[" * 5000 + b"\n"):
        path.write_bytes(data)
        with pytest.raises(StoreError, match="damaged"):
            script.play.transcript.read()
    path.write_bytes(b"")
    with pytest.raises(CeremonyError, match="does not begin with a plan"):
        script.play.transcript.read()
    with pytest.raises(StoreError, match="no ceremony"):
        Transcript(tmp_path / "none", PEOPLE).read()
    with pytest.raises(StoreError, match="cannot be made"):
        Play(tmp_path / "c", plan("create", "software:x"))


# ---- parts ------------------------------------------------------------------------------------------------------


def test_a_part_that_was_swapped_or_is_for_another_host_aborts(tmp_path: Path) -> None:
    target = keystore(tmp_path / "keys")
    for number, spoil in enumerate(("box", "swap")):
        play = Play(tmp_path / f"c{number}", plan("create", target.uri))
        play.approve()
        host = play.host(target)
        host.open()

        def facts(now: Ceremony, name: str, how: str = spoil, what: Plan = play.plan) -> dict[str, Any]:
            index = what.custodians.index(name) + 1
            made = Part.drawn(what, os.urandom).sealed(now, index, os.urandom)
            if name == "cora" and how == "box":
                made["box"] = made["box"][:-2] + ("00" if made["box"][-2:] != "00" else "01")
            if name == "cora" and how == "swap":
                made["box"] = now.loads[1].facts["box"]
            return made

        for name in CUSTODIANS:
            play.transcript.write(KEYS[name], Event.LOAD, functools.partial(facts, name=name), play.clock())
        host.step()
        host.close()
        assert play.state is State.ABORTED
        assert "cora" in play.ceremony.why
        assert target.find("kmc") is None


def test_parts_of_another_length_are_refused(tmp_path: Path) -> None:
    what = plan("import", "software:x")
    for data in (bytes(16), bytes(31), b""):
        with pytest.raises(PolicyError, match="full length"):
            Part(what, data)
    for text in ("zz", "0", "not hex"):
        with pytest.raises(KeywrightError) as refused:
            Part.typed(what, text)
        assert text not in str(refused.value) or len(text) == 1
    part = Part.drawn(what, os.urandom)
    assert Part.typed(what, part.text().replace(" ", "-")).check == part.check
    part.wipe()
    assert set(part.text()) <= {"0", " "}


def test_every_kind_is_in_the_table_of_kinds() -> None:
    assert set(KINDS) == {"create", "import", "export", "backup", "restore", "destroy"}
