"""Labels: readable by machine and person, for sealed units, once; a reprint is approved and says so."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pypdfium2
import pytest
import zxingcpp

from keywright.errors import UsageError
from keywright.production.handover import label_files, labels
from keywright.production.handover.label_drawing import DOT_MM, QUIET_MODULES, Label, Size, size_of
from keywright.production.handover.label_files import pdf_of, svg_of
from keywright.production.handover.label_reading import DPI, UnreadableLabelError, check_pdf, check_svg
from keywright.production.handover.labels import LabelError, first_prints, operation, print_labels, reprints
from keywright.production.handover.outbox import UnitRecord
from keywright.production.people.approvals import approve, signed
from keywright.production.people.consent import AskedError, Consent, given_or_asked
from keywright.production.people.people import Directory
from keywright.production.reports.report import reading
from keywright.production.unit_store import approval_rows
from keywright.production.unit_store.label_rows import LabelPrinted
from keywright.production.unit_store.rows import UnitChange
from keywright.production.unit_store.units import ConflictError, UnitStore
from support.lots import device, lot, made_up, order
from support.people import NOW, counting, directory, key

PAYLOAD = "KW1:KW-F1-000001:4B574631CD323E8B36E4:A25A69B682FF8BDD"
LABEL = Label(PAYLOAD, "KW-F1-000001", "fob-one", ("Lot fob", "north", "UID 4B574631CD323E8B36E4"))
SIZES = [Size(), Size(40, 20), Size(100, 50), Size(60, 60)]


def page_of(pdf: bytes, n: int = 0) -> Any:
    return pypdfium2.PdfDocument(pdf)[n]


def raster(pdf: bytes) -> np.ndarray[Any, np.dtype[np.uint8]]:
    found: np.ndarray[Any, np.dtype[np.uint8]] = (
        page_of(pdf).render(scale=DPI / 72, grayscale=True).to_numpy().squeeze()
    )
    return found


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_a_page_has_the_size_of_the_label_and_its_code_reads(size: Size) -> None:
    pdf = pdf_of([LABEL], size)
    assert pdf == pdf_of([LABEL], size)
    width, height = page_of(pdf).get_size()
    assert (width * 25.4 / 72, height * 25.4 / 72) == pytest.approx((size.width_mm, size.height_mm), abs=0.01)
    (found,) = zxingcpp.read_barcodes(raster(pdf))
    assert (bytes(found.bytes), found.ec_level) == (PAYLOAD.encode(), "M")
    check_pdf(pdf, [PAYLOAD], [1])
    svg = svg_of(LABEL, size)
    assert f'width="{size.width_mm:g}mm" height="{size.height_mm:g}mm"' in svg
    check_svg(svg, PAYLOAD, 1)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_quiet_zone_is_white_and_modules_are_whole_dots(size: Size) -> None:
    image = raster(pdf_of([LABEL], size))
    (found,) = zxingcpp.read_barcodes(image)
    p = found.position
    left, top, right, bottom = p.top_left.x, p.top_left.y, p.bottom_right.x, p.bottom_right.y
    module = (right - left) / 29
    dots = module * 25.4 / DPI / DOT_MM
    assert dots == pytest.approx(round(dots), abs=0.05)
    quiet = int(QUIET_MODULES * module) - 2
    area = image[max(top - quiet, 0) : bottom + quiet, max(left - quiet, 0) : right + quiet].copy()
    inner = slice(min(top, quiet) - 2, bottom - top + quiet + 2), slice(min(left, quiet) - 2, right - left + quiet + 2)
    area[inner] = 255
    assert area.min() == 255
    assert left >= quiet
    assert top >= quiet


def test_a_person_reads_serial_and_reprint() -> None:
    reprint = Label(PAYLOAD, "KW-F1-000001", "fob-one", ("Lot fob",), 2)
    pdf = pdf_of([LABEL, reprint], Size())
    texts = [page_of(pdf, n).get_textpage().get_text_bounded() for n in (0, 1)]
    assert "KW-F1-000001" in texts[0]
    assert "REPRINT" not in texts[0]
    assert "REPRINT 2" in texts[1]
    assert all(PAYLOAD not in text for text in texts)
    assert ">REPRINT 2<" in svg_of(reprint, Size())


def test_long_and_foreign_texts_are_shown_whole_or_refused() -> None:
    long = Label(PAYLOAD, "S" * 50, "fob \N{CJK UNIFIED IDEOGRAPH-4E2D}\N{RIGHT-TO-LEFT OVERRIDE}", ())
    text = page_of(pdf_of([long], Size())).get_textpage().get_text_bounded().replace("\r\n", "")
    assert "S" * 50 in text
    assert "[U+4E2D]" in text
    assert "U+202E" in text
    with pytest.raises(UsageError, match="does not fit on the label"):
        pdf_of([Label(PAYLOAD, "S" * 400, "t", ())], Size())
    with pytest.raises(UsageError, match="too fine for a label"):
        pdf_of([Label(PAYLOAD * 4, "S", "t", ())], Size(25, 10))


@pytest.mark.parametrize("text", ["", "50", "50x", "x25", "0x0", "20x10", "25x50", "1000x10", "nanxnan", "50x25x1"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(UsageError, match="no size of a label"):
        size_of(text)


def test_a_label_that_does_not_read_is_found() -> None:
    other = Label(PAYLOAD.replace("1:4B", "2:4B"), "KW-F1-000002", "fob-one", ())
    pdf = pdf_of([LABEL, other], Size())
    check_pdf(pdf, [LABEL.payload, other.payload], [1, 2])
    with pytest.raises(UnreadableLabelError, match="unit 1 does not"):
        check_pdf(pdf, [other.payload, LABEL.payload], [1, 2])
    with pytest.raises(UnreadableLabelError, match="2 pages for 1"):
        check_pdf(pdf, [LABEL.payload], [1])
    svg = svg_of(LABEL, Size())
    with pytest.raises(UnreadableLabelError):
        check_svg(svg, other.payload, 1)
    begin, path, end = svg.partition('<path d="')[0], svg.partition('<path d="')[2], 'M 0 0 Z"/></svg>'
    cut = f'{begin}<path d="{path[: len(path) // 2].rpartition("M ")[0]}{end}'
    with pytest.raises(UnreadableLabelError):
        check_svg(cut, PAYLOAD, 1)
    with pytest.raises(UnreadableLabelError):
        check_svg("<svg/>", PAYLOAD, 1)


# ---- a lot's labels


@pytest.fixture
def store(tmp_path: Path) -> Iterator[UnitStore]:
    """A production lot of four: three sealed, one quarantined."""
    with made_up(tmp_path / "lot.db", order(4), campaign=lot(test=False, link="pcsc:X")) as opened:
        for n in (1, 2, 3):
            record = UnitRecord(n, f"a.{n}.b", b"", 1.0)
            opened.commit([UnitChange(n, {"state": "sealed"} | device(n)), record])
        opened.commit([UnitChange(4, {"state": "quarantined"})])
        yield opened


def printed(
    store: UnitStore,
    target: Path,
    wanted: list[labels.Wanted],
    kind: labels.Kind = "pdf",
    consent: Consent | None = None,
) -> int:
    return print_labels(store, wanted, target, kind=kind, size=Size(), consent=consent or Consent(), at=1.0)


def marks(store: UnitStore) -> list[tuple[int, int, str]]:
    with reading(store) as connection:
        rows = connection.exec_driver_sql("SELECT unit, number, approval FROM label ORDER BY unit, number").all()
    return [(row[0], row[1], row[2]) for row in rows]


def test_every_sealed_unit_gets_one_label(store: UnitStore, tmp_path: Path) -> None:
    target = tmp_path / "labels.pdf"
    assert printed(store, target, first_prints(store)) == 3
    assert target.stat().st_mode & 0o777 == 0o600
    document = pypdfium2.PdfDocument(target)
    texts = [page.get_textpage().get_text_bounded() for page in document]
    assert ["KW-F1-00000" + str(n) in text for n, text in enumerate(texts, 1)] == [True] * 3
    assert marks(store) == [(1, 0, ""), (2, 0, ""), (3, 0, "")]
    assert first_prints(store) == []
    with pytest.raises(LabelError, match="has its label already"):
        first_prints(store, ["KW-F1-000002"])
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_only_sealed_units_are_labelled(store: UnitStore) -> None:
    with pytest.raises(LabelError, match="KW-F1-000004 is quarantined: only sealed units"):
        first_prints(store, ["KW-F1-000004"])
    with pytest.raises(LabelError, match="no unit 'X'"):
        first_prints(store, ["X"])
    with pytest.raises(LabelError, match="has no label yet"):
        reprints(store, ["KW-F1-000001"])


def test_pictures_are_a_folder(store: UnitStore, tmp_path: Path) -> None:
    target = tmp_path / "labels"
    assert printed(store, target, first_prints(store, ["KW-F1-000001", "KW-F1-000003"]), "svg") == 2
    assert sorted(path.name for path in target.iterdir()) == ["1.svg", "3.svg"]
    with pytest.raises(UsageError, match="there already"):
        printed(store, target, first_prints(store), "svg")
    assert marks(store) == [(1, 0, ""), (3, 0, "")]


def test_a_reprint_takes_two_persons_and_is_marked(store: UnitStore, tmp_path: Path) -> None:
    crew: Directory = directory()
    printed(store, tmp_path / "first.pdf", first_prints(store))
    with pytest.raises(ConflictError):
        store.commit([LabelPrinted(2, 1, "", 1.0)])
    for number in (1, 2):
        wanted = reprints(store, ["KW-F1-000002"])
        known = store.lot()
        assert known is not None
        asked_for = operation(known, wanted, "torn")
        with pytest.raises(AskedError):
            given_or_asked(store, asked_for, crew, key("olga"), at_ms=NOW, rng=counting(number))
        with reading(store) as connection:
            (asked,) = approval_rows.unused_for(connection, asked_for)
        done = approve(asked, key("sam"), crew, at_ms=NOW)
        store.commit([signed(done, done.approved[0])])
        consent = given_or_asked(store, asked_for, crew, None, at_ms=NOW)
        target = tmp_path / f"again{number}.pdf"
        printed(store, target, wanted, consent=consent)
        assert f"REPRINT {number}" in pypdfium2.PdfDocument(target)[0].get_textpage().get_text_bounded()
        with pytest.raises(ConflictError):
            printed(store, tmp_path / "more.pdf", wanted, consent=consent)
        assert not (tmp_path / "more.pdf").exists()
    assert [mark[:2] for mark in marks(store)] == [(1, 0), (2, 0), (2, 1), (2, 2), (3, 0)]


def test_a_label_that_does_not_read_back_does_not_count(
    store: UnitStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(*_: object) -> None:
        raise UnreadableLabelError("the label of unit 2 does not read back")

    monkeypatch.setattr(label_files, "check_pdf", wrong)
    with pytest.raises(UnreadableLabelError):
        printed(store, tmp_path / "labels.pdf", first_prints(store))
    assert marks(store) == []
    assert not [path for path in tmp_path.iterdir() if "labels" in path.name]
    assert len(first_prints(store)) == 3


class Cut(BaseException):
    """The power goes."""


def test_a_cut_after_the_mark_leaves_no_label_and_takes_a_reprint(
    store: UnitStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(*_: object) -> None:
        raise Cut

    monkeypatch.setattr(Path, "rename", cut)
    with pytest.raises(Cut):
        printed(store, tmp_path / "labels.pdf", first_prints(store))
    assert not (tmp_path / "labels.pdf").exists()
    assert first_prints(store) == []
    assert [one.number for one in reprints(store, ["KW-F1-000001"])] == [1]


def test_a_cut_before_the_mark_leaves_nothing(
    store: UnitStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(*_: object) -> None:
        raise Cut

    monkeypatch.setattr(UnitStore, "commit", cut)
    with pytest.raises(Cut):
        printed(store, tmp_path / "labels.pdf", first_prints(store))
    monkeypatch.undo()
    assert not (tmp_path / "labels.pdf").exists()
    assert printed(store, tmp_path / "labels.pdf", first_prints(store)) == 3


def test_the_payload_stands_in_the_file_and_nowhere_else(
    store: UnitStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    wanted = first_prints(store)
    known = store.lot()
    assert known is not None
    payload = labels.label_of(wanted[0], known).payload
    printed(store, tmp_path / "labels.pdf", wanted)
    check = payload.rpartition(":")[2]
    assert payload not in caplog.text
    for path in tmp_path.iterdir():
        if path.name.startswith("lot.db"):
            data = path.read_bytes()
            assert payload.encode() not in data
            assert check.encode() not in data


def test_what_is_not_used_is_not_loaded() -> None:
    code = (
        "import sys, keywright.cli.campaign; "
        "print([name for name in ('reportlab', 'segno', 'zxingcpp', 'pypdfium2') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("missing", ["segno", "zxingcpp", "pypdfium2", "reportlab.graphics"])
def test_a_missing_extra_is_named(
    store: UnitStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(UsageError, match="labels need the extra paper"):
        printed(store, tmp_path / "labels.pdf", first_prints(store))
