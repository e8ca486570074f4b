"""Order files: what is read, and what is refused with file, line and column."""

from __future__ import annotations

import hashlib
import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from keywright.errors import OrderError
from keywright.fob.pool import COMMAND, Frames, frame
from keywright.production.order import OrderRow, check_order, order_digest, read_order
from keywright.production.order_names import Named, named

EXAMPLES = Path(__file__).parents[2] / "examples"
HEADER = "serial,model,owner_group\n"
NAMING = "serial,model,owner_group,kdd,uid,public_key\n"
KDD = "00112233445566778abc"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "order.csv"


def refusal(path: Path, content: str | bytes) -> str:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(OrderError) as caught:
        list(read_order(path))
    message = str(caught.value)
    assert message.startswith(f"{path}: line ")
    with pytest.raises(OrderError):
        check_order(path)
    return message.removeprefix(f"{path}: ")


def test_the_example_order_has_24_good_units_with_an_optional_column() -> None:
    rows = list(read_order(EXAMPLES / "fob.csv"))
    assert len(rows) == 24
    assert [row.n for row in rows] == list(range(1, 25))
    assert rows[0] == OrderRow(1, "KW-F1-000001", "fob-one", "north", {"colour": "black"})
    assert len({row.serial for row in rows}) == 24


def test_check_order_tells_name_digest_rows_and_columns() -> None:
    facts = check_order(EXAMPLES / "fob.csv")
    assert facts.digest == hashlib.sha256((EXAMPLES / "fob.csv").read_bytes()).hexdigest()
    assert facts.digest == order_digest(EXAMPLES / "fob.csv")
    assert (facts.name, facts.rows) == ("fob.csv", 24)
    assert facts.columns == ("serial", "model", "owner_group", "colour")


def test_a_byte_order_mark_carriage_returns_quotes_and_blank_lines_are_taken(path: Path) -> None:
    path.write_bytes(b'\xef\xbb\xbfmodel,serial,owner_group,note\r\nm,A-1,"north, ""old""",  x \r\n\r\nm,A-2,g,\r\n')
    assert list(read_order(path)) == [
        OrderRow(1, "A-1", "m", 'north, "old"', {"note": "  x "}),
        OrderRow(2, "A-2", "m", "g", {"note": ""}),
    ]


def test_an_optional_column_may_hold_what_a_serial_may_not(path: Path) -> None:
    path.write_text(HEADER.strip() + ",note\nA,m,g,=1+1/\\..\n")
    assert next(read_order(path)).extra == {"note": "=1+1/\\.."}


@pytest.mark.parametrize(
    ("content", "place", "why"),
    [
        (b"", "line 1, column 1: ", "empty"),
        (b"\n\n", "line 2, column 1: ", "empty"),
        (HEADER, "line 1, column 1 (serial)", "no units"),
        ("serial,model\nA,m\n", "line 1, column 3", "'owner_group' is missing"),
        ("serial;model;owner_group\n", "line 1, column 2", "'serial' is missing"),
        ("serial,model,owner_group,model\nA,m,g,m\n", "line 1, column 4", "'model' is there twice"),
        ("serial, model,owner_group\nA,m,g\n", "line 1, column 2", "spaces"),
        (HEADER + "A,m\n", "line 2, column 3 (owner_group)", "2 fields where the header has 3"),
        (HEADER + "A,m,g\nB,m,g,x\n", "line 3, column 4", "4 fields where the header has 3"),
        (HEADER + "A,m,\n", "line 2, column 3 (owner_group)", "empty"),
        (HEADER + "A, m,g\n", "line 2, column 2 (model)", "spaces"),
        (HEADER + 'A,m,"g\nB,m,g\n', "line 2, column 3 (owner_group)", "not a CSV row"),
        (HEADER + 'A,m,"g"x\n', "line 2, column 3 (owner_group)", "not a CSV row"),
        (HEADER + "A,m,g\nB,m,g\n\nA,m,g\n", "line 5, column 1 (serial)", "already on line 2"),
        (NAMING + "A,m,g,0102,,\n", "line 2, column 4 (kdd)", "has 2 bytes; key diversification data have 10"),
        (NAMING + "A,m,g,x,,\n", "line 2, column 4 (kdd)", "is not hex"),
        (NAMING + "A,m,g,,,02ff\n", "line 2, column 6 (public_key)", "is no point as 65 bytes"),
        (NAMING + f"A,m,g,,,04{'00' * 64}\n", "line 2, column 6 (public_key)", "is no public key on P-256"),
        (NAMING + f"A,m,g,,{'00' * 33},\n", "line 2, column 5 (uid)", "has 33 bytes; at most 32"),
        (NAMING + f"A,m,g,{KDD},,\nB,m,g,{KDD.upper()},,\n", "line 3, column 4 (kdd)", "already on line 2"),
        (HEADER.encode() + b"A,m,g\nB,m,caf\xe9\n", "line 3, column 3 (owner_group)", "E9 at position 8"),
        ("serial,model,owner_group\n".encode("utf-16"), "line 1, column 1", "UTF-16"),
        (HEADER + "A\0B,m,g\n", "line 2, column 1 (serial)", "control"),
        (HEADER + "A,m\x1b[2J,g\n", "line 2, column 2 (model)", "control"),
        (HEADER + "A,m,g\rB,m,g\n", "line 2, column 5", "not a CSV row"),
        (HEADER + "A" * 70_000 + ",m,g\n", "line 2, column 1 (serial)", "longer than 65536 bytes"),
    ],
)
def test_a_fault_is_refused_with_line_and_column(path: Path, content: str | bytes, place: str, why: str) -> None:
    message = refusal(path, content)
    assert message.startswith(place)
    assert why in message


@pytest.mark.parametrize(
    "serial",
    [
        *("a/b", "a\\b", "..", "a..b", "=A", "+1", "-1", "@A", " A", "A ", "A" * 65),
        *("A\tB", "A\x85", "A\u202eB", "A\u200b", "e\u0301", "\u2028A"),
    ],
)
def test_a_serial_that_could_lead_astray_is_refused(path: Path, serial: str) -> None:
    message = refusal(path, HEADER + f"OK-1,m,g\n{serial},m,g\n")
    assert message.startswith("line 3, column 1 (serial)")


@pytest.mark.parametrize("serial", ["KW-F1-000001", "A" * 64, "é-1", "a.b_c:d", "機-1", "A B"])
def test_a_harmless_serial_is_taken_as_it_is(path: Path, serial: str) -> None:
    path.write_text(HEADER + f"{serial},m,g\n")
    assert [row.serial for row in read_order(path)] == [serial]


def test_a_misspelled_column_is_named_in_the_hint(path: Path) -> None:
    path.write_text("serial,model,owner-group\nA,m,g\n")
    with pytest.raises(OrderError) as caught:
        check_order(path)
    assert caught.value.hint == "rename the column 'owner-group' to 'owner_group'"


def test_a_missing_file_or_a_folder_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(OrderError, match="cannot be read"):
            check_order(path)
        with pytest.raises(OrderError, match="cannot be read"):
            next(read_order(path))


def test_json_lines_give_the_same_rows(tmp_path: Path) -> None:
    path = tmp_path / "order.jsonl"
    rows = [{"model": "m", "serial": f"A-{n}", "owner_group": "g", "note": "x"} for n in (1, 2)]
    path.write_text("\n".join(map(json.dumps, rows)))
    assert list(read_order(path)) == [OrderRow(n, f"A-{n}", "m", "g", {"note": "x"}) for n in (1, 2)]


@pytest.mark.parametrize(
    ("second", "place"),
    [
        ("not json", "line 2, column 1"),
        ("[1]", "line 2, column 1"),
        ('{"serial": "B", "model": "m"}', "line 2, column 1"),
        ('{"serial": "B", "model": 7, "owner_group": "g"}', "line 2, column 2 (model)"),
        ('{"serial": "A", "model": "m", "owner_group": "g"}', "line 2, column 1 (serial)"),
        ("[" * 30_000, "line 2, column 1"),
    ],
)
def test_faults_in_json_lines_are_refused(tmp_path: Path, second: str, place: str) -> None:
    first = '{"serial": "A", "model": "m", "owner_group": "g"}\n'
    assert refusal(tmp_path / "order.jsonl", first + second).startswith(place)


def test_a_json_object_with_a_key_twice_is_refused(tmp_path: Path) -> None:
    line = '{"serial": "A", "model": "m", "owner_group": "g", "serial": "B"}'
    assert "'serial' is there twice" in refusal(tmp_path / "order.jsonl", line)


def test_rows_are_streamed_and_only_a_digest_of_each_serial_is_kept(path: Path) -> None:
    with path.open("w") as file:
        file.write("serial,model,owner_group,note\n")
        file.writelines(f"KW-{n:09d},fob-one,{'g' * 255},{'e' * 245}\n" for n in range(10_000))
    tracemalloc.start()
    count = sum(1 for _ in read_order(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 10_000
    assert peak < 3e6 < path.stat().st_size


def test_a_hundred_thousand_rows_with_one_duplicate_at_the_end_are_refused(path: Path) -> None:
    with path.open("w") as file:
        file.write(HEADER)
        file.writelines(f"KW-{n % 99_999:09d},fob-one,group-{n % 7}\n" for n in range(100_000))
    with pytest.raises(OrderError, match=r"line 100001, column 1 .* already on line 2$"):
        check_order(path)


@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_any_bytes_are_read_or_refused_as_an_order(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    for suffix in ("csv", "jsonl"):
        path = tmp_path_factory.getbasetemp() / f"any.{suffix}"
        for head in (b"", HEADER.encode()):
            path.write_bytes(head + content)
            try:
                rows = list(read_order(path))
            except OrderError:
                continue
            assert rows
            assert check_order(path).rows == len(rows)


# ---- a serial goes where its unit goes ------------------------------------------------------------------------

WIDE = "\U00020000"
"""A character of four bytes in UTF-8."""
LONGEST = (WIDE * 16, "A" * 64, "é" * 32)
SERIALS = st.one_of(
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=70),
    st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=20),
    st.text(st.sampled_from(f"{WIDE}機é1"), min_size=16, max_size=30),
)
FORMS: dict[str, Callable[[list[str]], str]] = {
    "order.csv": lambda serials: "serial,model,owner_group\n" + "".join(f"{serial},m,g\n" for serial in serials),
    "order.jsonl": lambda serials: "".join(
        json.dumps({"serial": serial, "model": "m", "owner_group": "g"}, ensure_ascii=False) + "\n"
        for serial in serials
    ),
}


def framed(serial: str) -> str:
    """The serial as the tray of simulated fobs gets it, in the middle of others."""
    frames = Frames()
    stream = frame(COMMAND, "before", b"1") + frame(COMMAND, serial, b"\x80\xca") + frame(COMMAND, "after")
    (_, (kind, name, payload), last) = frames.feed(stream)
    assert (kind, payload, last) == (COMMAND, b"\x80\xca", (COMMAND, "after", b""))
    return name


@given(SERIALS)
def test_every_serial_that_an_order_may_have_goes_through_a_frame_unchanged(
    tmp_path_factory: pytest.TempPathFactory, serial: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "serial.jsonl"
    path.write_text(FORMS["order.jsonl"]([serial]), encoding="utf-8")
    try:
        (row,) = read_order(path)
    except OrderError:
        event("refused")
        return
    event("taken")
    assert framed(row.serial) == serial


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("serial", LONGEST)
def test_the_longest_serials_are_taken_and_go_through_a_frame(tmp_path: Path, name: str, serial: str) -> None:
    path = tmp_path / name
    path.write_text(FORMS[name]([serial]), encoding="utf-8")
    (row,) = read_order(path)
    assert framed(row.serial) == serial


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize(("serial", "length"), [(WIDE * 64, 256), (WIDE * 16 + "1", 65), ("A" * 65, 65)])
def test_a_serial_of_too_many_bytes_is_refused_with_line_and_column(
    tmp_path: Path, name: str, serial: str, length: int
) -> None:
    message = refusal(tmp_path / name, FORMS[name](["good", serial]))
    assert message.startswith(f"line {3 if name == 'order.csv' else 2}, column 1 (serial): ")
    assert f"has {length} bytes in UTF-8; at most 64 are allowed" in message


def test_an_owner_group_longer_than_a_unit_takes_is_refused(path: Path) -> None:
    path.write_text(f"serial,model,owner_group\nA,m,{'g' * 256}\n")
    with pytest.raises(OrderError, match=r"line 2, column 3 \(owner_group\): the value has 256 bytes"):
        list(read_order(path))


def test_what_names_a_device_is_kept_in_one_spelling_and_may_be_empty(tmp_path: Path) -> None:
    path = tmp_path / "order.csv"
    spaced = " ".join(KDD[at : at + 2] for at in range(0, 20, 2)).upper()
    path.write_text(NAMING + f"A,m,g,{spaced},,\nB,m,g,,,\n", encoding="utf-8")
    first, second = read_order(path)
    assert first.extra["kdd"] == KDD
    assert named(first.extra) == Named(kdd=bytes.fromhex(KDD))
    assert named(second.extra) == Named()
