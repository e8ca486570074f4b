"""The language of card scripts: what it takes, and where it says that something is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.cli.card.script_language import Assign, Expect, OpenSession, Place, Reset, Select, Send, read_script
from keywright.errors import UsageError

HERE = Place("f", 1)


def script(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "a.script"
    path.write_text(text)
    return path


def test_every_kind_of_line_is_read(tmp_path: Path) -> None:
    text = """
    # a remark
    $AID = A000000151  # behind a line, too
    select ${AID}
    expect 9000 6F ?? 84..
    select
    open-session level=33 kvn=30
    80CA00C100
    expect 9000|6A88
    $C = answer[3:6]
    send 80E28800 [${C} [01 02] 03] 00
    close-session
    reset
    """
    steps = read_script(script(tmp_path, text))
    kinds = ["Assign", "Select", "Select", "OpenSession", "Send", "Assign", "Send", "CloseSession", "Reset"]
    assert [type(step).__name__ for step in steps] == kinds
    first, select, _, session, read, counter, write, *_ = steps
    assert isinstance(first, Assign)
    assert isinstance(select, Select)
    assert select.aid.value({"AID": b"\xa0"}) == b"\xa0"
    assert str(select.expect) == "9000 6F??84.."
    assert isinstance(session, OpenSession)
    assert session.words == (("level", "33"), ("kvn", "30"))
    assert isinstance(read, Send)
    assert read.expect is not None
    assert read.expect.status == ("9000", "6A88")
    assert isinstance(counter, Assign)
    assert (counter.start, counter.end) == (3, 6)
    assert isinstance(write, Send)
    assert write.command.value({"C": b"abc"}) == bytes.fromhex("80E28800 07 616263 02 0102 03 00")
    assert isinstance(steps[-1], Reset)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("frob", "a.script:1:1: 'frob' is no word of this language"),
        ("\n  send", "a.script:2:7: a command is missing"),
        ("send 80CA0", "a.script:1:11: half a byte"),
        ("80 CA\nsend 00A40400", "a.script:1:1: this is no command"),
        ("send 00A404zz", "a.script:1:12: 'z' is not a hex digit"),
        ("send 80E28800 [01", "a.script:1:15: this bracket is not closed"),
        ("send 80E28800 01]", "a.script:1:17: this bracket was not opened"),
        ("send ${X}", "a.script:1:6: $X is not set"),
        ("$X = ${Y}", "a.script:1:6: $Y is not set"),
        ("send $X", "a.script:1:6: a variable is written ${NAME}"),
        ("$1 = 00", "a.script:1:1: a variable is set like this"),
        ("$X =", "a.script:1:5: its value is missing"),
        ("expect 9000", "a.script:1:1: nothing was sent"),
        ("reset\nexpect 9000", "a.script:2:1: nothing was sent"),
        ("select\nexpect 9000\nexpect 9000", "a.script:3:1: a second expectation"),
        ("select\nexpect", "a.script:2:1: expect begins with a status"),
        ("select\nexpect 90", "a.script:2:1: expect begins with a status"),
        ("select\nexpect 9000 6", "a.script:2:1: the data pattern ends in half a byte"),
        ("select\nexpect 9000 6G", "a.script:2:14: 'G' at digit 2 is no hex digit"),
        ("open-session keys=41", "a.script:1:14: 'keys=41' is no option of a session"),
        ("open-session level=33  33", "a.script:1:24: '33' is no option of a session"),
        ("reset now", "a.script:1:7: 'now' is too much here"),
        ("include", "a.script:1:1: include names no file"),
        ("include nothing", "nothing cannot be read"),
        ("include a.script", "a.script includes itself"),
        ("80CA", "a.script:1:1: this is no command"),
        ("$X = " + "00" * 300 + "\nsend 80E28800 [${X}]", "300 bytes in brackets"),
    ],
)
def test_what_is_wrong_is_named_by_file_line_and_column(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError) as raised:
        read_script(script(tmp_path, text))
    assert message in str(raised.value)
    assert raised.value.hint


def test_a_script_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_script(tmp_path / "none")


def test_includes_stand_in_their_place_and_share_variables(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.script").write_text("$B = 01\ninclude c.script\n")
    (tmp_path / "sub" / "c.script").write_text("reset\n")
    steps = read_script(script(tmp_path, "include sub/b.script\n80CA00${B}00\n"))
    assert [type(step).__name__ for step in steps] == ["Assign", "Reset", "Send"]
    assert steps[1].place.file.endswith("c.script")


def test_given_variables_are_known_and_those_of_answers_later(tmp_path: Path) -> None:
    text = "80CA${T}00\n$L = answer[0:1]\nsend 00${L}\n$L = 00\n"
    assert len(read_script(script(tmp_path, text), {"T": b"\0\x66"})) == 4
    with pytest.raises(UsageError, match=r":1:1: this is no command"):
        read_script(script(tmp_path, text), {"T": b""})


@pytest.mark.parametrize(
    ("status", "data", "is_open", "answer", "fits"),
    [
        ("9000", None, False, "01029000", True),
        ("9000", "", False, "9000", True),
        ("9000", "", False, "019000", False),
        ("9000", "01??", False, "01FF9000", True),
        ("9000", "0??2", False, "0FF29000", True),
        ("9000", "01??", False, "01FF009000", False),
        ("9000", "01", True, "01FF009000", True),
        ("9000", "0102", True, "019000", False),
        ("63C?", None, False, "63C3", True),
        ("63C?", None, False, "6300", False),
    ],
)
def test_an_answer_fits_or_not(status: str, data: str | None, is_open: bool, answer: str, fits: bool) -> None:  # noqa: FBT001 - a case
    raw = bytes.fromhex(answer)
    expect = Expect(place=HERE, status=(status,), data=data, is_open=is_open)
    assert expect.fits(int.from_bytes(raw[-2:]), raw[:-2]) is fits


@given(st.text(alphabet="0123456789ABCDEFabcdef []${}X=#.?|\nsendxpctrl", max_size=60))
def test_any_text_is_read_or_refused_with_its_place(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = script(tmp_path_factory.getbasetemp(), text)
    try:
        steps = read_script(path)
    except UsageError as error:
        assert str(path.parent) in str(error)  # noqa: PT017 - either is right
    else:
        assert all(step.place.line >= 1 for step in steps)
