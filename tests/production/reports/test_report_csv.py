from __future__ import annotations

import csv
import io
import itertools
import json
import tracemalloc
from pathlib import Path

import pytest

from keywright.errors import UsageError
from keywright.production.order import OrderRow
from keywright.production.reports.report_csv import COLUMNS, write_csv
from keywright.production.unit_store.rows import UnitChange
from keywright.production.unit_store.units import UnitStore
from support import lots


def written(store: UnitStore) -> str:
    file = io.StringIO(newline="")
    write_csv(store, file)
    return file.getvalue()


def read(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


def test_every_unit_is_a_row_in_the_order_of_the_order(tmp_path: Path) -> None:
    with lots.demo_lot(tmp_path / "lot.db") as store:
        file = io.StringIO(newline="")
        assert write_csv(store, file) == 24
    rows = read(file.getvalue())
    assert [row["n"] for row in rows] == [str(n) for n in range(1, 25)]
    assert rows[10]["state"] == "quarantined"
    assert rows[10]["failure_code"] == "card-cryptogram"


def test_the_columns_are_promised(tmp_path: Path) -> None:
    with lots.made_up(tmp_path / "lot.db", lots.order(1)) as store:
        head = written(store).partition("\r\n")[0]
    assert head == (
        "n,serial,model,owner_group,state,step,failure_code,failure_text,tries,started_at,finished_at,seconds,"
        "device_uid,kdd,certificate_serial,extra,evidence,compromised"
    )
    assert tuple(head.split(",")) == COLUMNS


def test_values_are_times_in_utc_bytes_in_hex_and_objects_in_json(tmp_path: Path) -> None:
    with lots.made_up(tmp_path / "lot.db", lots.order(2), lots.sealed(1, lots.BEGIN)) as store:
        sealed, planned = read(written(store))
    assert sealed["started_at"] == "2026-11-23T17:00:00.000Z"
    assert float(sealed["seconds"]) > 0.03
    assert sealed["device_uid"] == lots.digest("uid", 1)[:10].hex().upper()
    assert sealed["certificate_serial"] == f"{1:032x}"
    assert json.loads(sealed["extra"]) == {"colour": "white"}
    assert json.loads(sealed["evidence"]) == {"kvn": 0x30}
    empty = ("started_at", "finished_at", "seconds", "device_uid", "kdd", "certificate_serial", "failure_code")
    assert {planned[column] for column in empty} == {""}


def test_a_certificate_stands_in_the_row_of_its_unit(tmp_path: Path) -> None:
    changes = itertools.chain.from_iterable(lots.sealed(n, lots.BEGIN) for n in (5, 2))
    with lots.made_up(tmp_path / "lot.db", lots.order(6), changes) as store:
        found = {row["n"]: row["certificate_serial"] for row in read(written(store)) if row["certificate_serial"]}
    assert found == {"2": f"{2:032x}", "5": f"{5:032x}"}


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t", "\r"])
def test_no_cell_begins_like_a_formula(first: str, tmp_path: Path) -> None:
    evil = f'{first}HYPERLINK("http://x")'
    row = OrderRow(1, f"{evil}1", f"{evil}2", f"{evil}3", {})
    change = UnitChange(1, {"failure_code": f"{evil}4", "failure_text": f"{evil}5"})
    with lots.made_up(tmp_path / "lot.db", [row], [change]) as store:
        (found,) = read(written(store))
    for number, column in enumerate(("serial", "model", "owner_group", "failure_code", "failure_text"), 1):
        assert found[column] == f"'{evil}{number}"


def test_quotes_commas_and_line_ends_stay_inside_their_cell(tmp_path: Path) -> None:
    text = 'said "no", twice\r\nand\nleft\u2028'
    with lots.made_up(tmp_path / "lot.db", [OrderRow(1, "KW-1", text, "a,b", {})]) as store:
        raw = written(store)
        (found,) = read(raw)
    assert (found["model"], found["owner_group"]) == (text, "a,b")
    assert '"said ""no"", twice\r\nand\nleft' in raw
    assert raw.endswith("\r\n")


def test_a_file_is_whole_or_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "lot.csv"
    before = ",".join(COLUMNS) + "\r\nbefore"
    path.write_bytes(before.encode())
    with lots.made_up(tmp_path / "lot.db", lots.order(3)) as store:
        store.close()
        (tmp_path / "lot.db").write_bytes(b"no store any more")
        with pytest.raises(Exception, match="not a store of this program"):
            write_csv(store, path)
    assert path.read_bytes() == before.encode()
    assert [entry.name for entry in tmp_path.iterdir() if entry.name.startswith(".lot.csv")] == []


def test_a_file_takes_the_place_of_an_older_one(tmp_path: Path) -> None:
    path = tmp_path / "lot.csv"
    path.write_text(",".join(COLUMNS) + "\r\nbefore" * 1000)
    with lots.made_up(tmp_path / "lot.db", lots.order(1)) as store:
        assert write_csv(store, path) == 1
    assert path.read_bytes().startswith(b"n,serial,")
    assert path.read_bytes().count(b"\r\n") == 2


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with (
        lots.made_up(tmp_path / "lot.db", lots.order(1)) as store,
        pytest.raises(UsageError, match=r"nowhere/lot\.csv: cannot be written"),
    ):
        write_csv(store, tmp_path / "nowhere" / "lot.csv")


class Counted(io.StringIO):
    """Forgets what is written, counts it."""

    def __init__(self) -> None:
        super().__init__()
        self.characters = 0

    def write(self, text: str, /) -> int:
        self.characters += len(text)
        return len(text)


def test_memory_does_not_grow_with_the_lot(tmp_path: Path) -> None:
    with lots.made_up(tmp_path / "lot.db", lots.order(12_000)) as store:
        file = Counted()
        tracemalloc.start()
        try:
            write_csv(store, file)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert file.characters > 800_000
    # A thousand rows at a time and their texts; all twelve thousand would take some 20 MB.
    assert peak < 6_000_000
