from __future__ import annotations

import stat
from pathlib import Path

import pytest

from keywright.errors import DecodeError, UsageError
from keywright.iso7816.apdu import Command, Response
from keywright.link.trace import read_trace
from keywright.production.reports.sequence import (
    AUTHORITY,
    KEYSTORE,
    STORE,
    Recorder,
    SequenceFile,
    Step,
    from_store,
    read_sequence,
    trace_path,
)
from support import lots

PUT_KEY = Command(0x80, 0xD8, 0x00, 0x81, b"\x30" + bytes(range(0x40, 0x80)), 0)
WRAPPED = Command(0x84, 0xD8, 0x00, 0x81, bytes(range(0x80, 0xC0)), 0)


def recorded() -> list[Step]:
    steps: list[Step] = []
    lots.exchange(Recorder(steps.append, clock=lots.ticking(), link="sim:fob"))
    return steps


def test_every_command_is_followed_by_its_answer() -> None:
    assert [step.dir for step in recorded()] == ["reset", *["command", "answer"] * 8]


def test_a_step_says_for_which_step_of_the_recipe_it_was() -> None:
    commands = [step.step for step in recorded() if step.dir == "command"]
    assert commands == ["identify"] * 3 + ["authenticate"] * 2 + ["own_keys", "personalise", "lock_down"]


def test_what_another_unit_does_is_not_noted() -> None:
    steps: list[Step] = []
    recorder = Recorder(steps.append, unit=2)
    lots.exchange(recorder)
    assert steps == []


def test_commands_and_answers_have_the_times_when_they_passed() -> None:
    times = iter([10.0, 20.0, 30.0])
    steps: list[Step] = []
    recorder = Recorder(steps.append, clock=lambda: next(times))
    recorder.moment("after send", 1, "identify")
    recorder.moment("after answer", 1, "identify")
    recorder.moment("before intent", 1, "own_keys")
    recorder.exchanged(1, WRAPPED, WRAPPED, Response(b""), Response(b""))
    assert [(step.t, step.step) for step in steps] == [(10.0, "identify"), (20.0, "identify")]


def test_key_material_is_zeros_whether_protected_or_not() -> None:
    steps: list[Step] = []
    Recorder(steps.append).exchanged(1, WRAPPED, PUT_KEY, Response(b"mac"), Response(b"ok"))
    command, answer = steps
    assert bytes.fromhex(command.hex) == WRAPPED.encode()[:5] + bytes(64) + b"\x00"
    assert bytes.fromhex(command.plain) == PUT_KEY.encode()[:5] + bytes(65) + b"\x00"
    assert command.note == "data masked"
    assert bytes.fromhex(answer.plain) == Response(b"ok").encode()


def test_plain_is_kept_only_where_it_differs() -> None:
    steps = recorded()
    protected = [step for step in steps if step.plain]
    assert {step.step for step in protected} == {"own_keys", "personalise"}
    assert all(step.is_protected for step in protected)
    assert not any(step.is_protected for step in steps if step.step == "identify")


def test_the_file_is_the_owners_alone_and_gives_back_what_was_written(tmp_path: Path) -> None:
    path = trace_path(tmp_path / "lot.db")
    assert path.name == "lot.db.trace.jsonl"
    file = SequenceFile(path)
    steps = recorded()
    for step in steps:
        file(step)
    file.close()
    file.close()
    file(steps[0])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(read_sequence(path)) == steps


def test_a_recording_goes_on_in_the_same_file(tmp_path: Path) -> None:
    steps = recorded()
    for step in steps[:2]:
        file = SequenceFile(tmp_path / "t.jsonl")
        file(step)
        file.close()
    assert list(read_sequence(tmp_path / "t.jsonl")) == steps[:2]


def test_a_recording_is_a_trace_of_a_link_too(tmp_path: Path) -> None:
    file = SequenceFile(tmp_path / "t.jsonl")
    steps = recorded()
    for step in steps:
        file(step)
    file.close()
    events = list(read_trace(tmp_path / "t.jsonl"))
    assert [(event.direction, event.data.hex().upper()) for event in events] == [(step.dir, step.hex) for step in steps]


def test_a_trace_of_a_link_is_a_sequence_too(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_bytes(b'{"t":1.5,"who":"host","link":"x","dir":"command","hex":"00A4040000"}\n')
    assert list(read_sequence(path)) == [Step(t=1.5, who="host", link="x", dir="command", hex="00A4040000")]


def test_a_last_line_that_a_kill_cut_short_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_bytes(b'{"t":1.5,"who":"host","link":"x","dir":"reset","hex":""}\n\n{"t":1.5,"wh')
    assert len(list(read_sequence(path))) == 1


@pytest.mark.parametrize(
    "line",
    [
        b"{}",
        b"[]",
        b"\xff",
        b'{"t":1,"who":"a","link":"b","dir":"up","hex":""}',
        b'{"t":1,"who":"a","link":"b","dir":"command","hex":"0"}',
        b'{"t":1,"who":"a","link":"b","dir":"command","hex":"","plain":"zz"}',
    ],
)
def test_a_damaged_line_is_named(line: bytes, tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_bytes(b"\n" + line + b"\n")
    with pytest.raises(DecodeError, match=r"t\.jsonl line 2: not a step"):
        list(read_sequence(path))


def test_a_file_that_cannot_be_read_or_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        list(read_sequence(tmp_path / "none"))
    with pytest.raises(UsageError, match="cannot be written"):
        SequenceFile(tmp_path / "none" / "t.jsonl")


def test_a_link_in_place_of_the_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="cannot be written"):
        SequenceFile(tmp_path / "t.jsonl")
    assert not (tmp_path / "elsewhere").exists()


def test_a_full_disk_ends_the_recording_and_not_the_work() -> None:
    file = SequenceFile(Path("/dev/full"))
    for step in recorded():
        file(step)
    file.close()


def test_the_store_tells_of_intents_results_keys_and_the_certificate(tmp_path: Path) -> None:
    with lots.demo_lot(tmp_path / "lot.db") as store:
        told = [(step.to, step.note, step.step) for step in from_store(store, 1)]
    put = told.index((STORE, "intent: own_keys.put", "own_keys"))
    assert told[put - 1] == (KEYSTORE, "derive key set (sp800-108)", "own_keys")
    assert told[put + 1] == (STORE, "done: own_keys.put", "own_keys")
    issued = told.index((AUTHORITY, f"issue certificate {1:032x}", "personalise"))
    assert issued < told.index((STORE, "intent: personalise.write", "personalise"))
    assert (STORE, "done: session.own", "") in told


def test_a_unit_without_certificate_tells_of_none(tmp_path: Path) -> None:
    with lots.demo_lot(tmp_path / "lot.db") as store:
        assert {step.to for step in from_store(store, 11)} == {STORE}
