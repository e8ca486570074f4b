from __future__ import annotations

import base64
import hashlib
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest

from keywright.errors import StoreError, UsageError
from keywright.production.order import OrderRow
from keywright.production.reports.rendering import seconds_text
from keywright.production.reports.report_html import write_html
from keywright.production.reports.sequence import Recorder, SequenceFile, trace_path
from keywright.production.unit_store.rows import UnitChange
from keywright.production.unit_store.units import UnitStore
from support import lots

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</style><script>alert(1)</script>",
    "{{ 7*7 }}{% raw %}",
    "&lt;b&gt;&amp;",
    "javascript:alert(1)",
    "<!--",
    "]]><svg onload=alert(1)>",
)


class Page(HTMLParser):
    """What a browser would find: tags with attributes, and the text outside of style."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.styles: list[str] = []
        self.words: list[str] = []
        self._in_style = False
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._in_style = tag == "style"

    def handle_endtag(self, tag: str) -> None:
        self._in_style = False

    def handle_data(self, data: str) -> None:
        (self.styles if self._in_style else self.words).append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def page_of(store: UnitStore, path: Path, **options: object) -> Page:
    write_html(store, path, **options)  # type: ignore[arg-type]  # passed on as they are
    return Page(path.read_text(encoding="utf-8"))


def record(store: UnitStore) -> None:
    file = SequenceFile(trace_path(store.path))
    lots.exchange(Recorder(file, clock=lots.ticking()))
    file.close()


@pytest.fixture
def demo(tmp_path: Path) -> Page:
    with lots.demo_lot(tmp_path / "lot.db") as store:
        record(store)
        return page_of(store, tmp_path / "report.html")


def test_the_page_needs_nothing_besides_itself(demo: Page) -> None:
    assert not {tag for tag, _ in demo.tags} & {"script", "link", "img", "iframe", "object", "embed", "form", "base"}
    for _, attributes in demo.tags:
        assert not {"src", "href", "style", "srcset", "action"} & set(attributes)
        assert not [name for name in attributes if name.startswith("on")]
    assert not re.search(r"url\(|@import|@font-face", "".join(demo.styles))


def test_the_policy_allows_its_one_style_and_nothing_else(demo: Page) -> None:
    (style,) = demo.styles
    (policy,) = [meta["content"] for meta in demo.named("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def test_it_tells_the_figures_the_exceptions_and_where_they_come_from(demo: Page) -> None:
    for words in (
        "Ordered 24 Sealed 23 Quarantined 1 Rejected 0 Open 0 Recovered 1 Yield 95.8 % First-pass yield 91.7 %",
        "11 KW-F1-000011 quarantined authenticate card-cryptogram card cryptogram wrong (KVN FF, SCP03 i=70)",
        "complete, 1 set aside",
        f"SHA-256 {lots.lot().recipe_digest}",
        f"SHA-256 {lots.lot().order_digest}",
        "journal wal, synchronous FULL",
        'name = "own_keys"',
    ):
        assert words in demo.text


def test_time_per_step_is_a_row_and_a_bar_for_each(demo: Page) -> None:
    bars = [svg for svg in demo.named("svg") if svg.get("class") == "bar"]
    assert len(bars) == 4 + 7
    order = [demo.text.index(f" {name} ") for name in ("identify", "own_keys", "own_keys.put", "personalise")]
    assert order == sorted(order)


def test_a_test_lot_says_so_before_anything_else(demo: Page, tmp_path: Path) -> None:
    assert demo.text.startswith("TEST ")
    assert "TEST: these keys protect nothing." in demo.text
    with lots.made_up(tmp_path / "real.db", lots.order(1), campaign=lots.lot(test=False)) as store:
        page = page_of(store, tmp_path / "real.html")
    assert "TEST" not in page.text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "\N{EN DASH}"),
        (0.0018, "1.8 ms"),
        (1.0, "1.00 s"),
        (119.994, "119.99 s"),
        (120, "2 min 00 s"),
        (754.6, "12 min 35 s"),
        (3 * 3600 + 125, "3 h 02 min"),
    ],
)
def test_a_duration_is_told_in_the_unit_that_fits(seconds: float | None, text: str) -> None:
    assert seconds_text(seconds) == text


def test_every_unit_sealed_is_said(tmp_path: Path) -> None:
    with lots.made_up(tmp_path / "lot.db", lots.order(1), lots.sealed(1, lots.BEGIN)) as store:
        page = page_of(store, tmp_path / "report.html")
    assert "every unit sealed" in page.text
    assert "Yield 100 %" in page.text


@pytest.mark.parametrize("text", HOSTILE)
def test_untrusted_texts_stay_texts(text: str, tmp_path: Path) -> None:
    row = OrderRow(1, f"{text}1", f"{text}2", f"{text}3", {})
    changes = [
        *lots.rejected(1, lots.BEGIN),
        UnitChange(1, {"failure_code": f"{text}4", "failure_text": f"{text}5", "step": f"{text}6"}),
    ]
    campaign = lots.lot(lot=f"{text}7", order_file=f"{text}8", link=f"{text}9", recipe=f"{text}10")
    with lots.made_up(tmp_path / "lot.db", [row], changes, campaign) as store:
        page = page_of(store, tmp_path / "report.html")
    harmless = [OrderRow(1, "1", "2", "3", {})]
    with lots.made_up(tmp_path / "tame.db", harmless, lots.rejected(1, lots.BEGIN)) as store:
        tame = page_of(store, tmp_path / "tame.html")
    assert [tag for tag, _ in page.tags] == [tag for tag, _ in tame.tags]
    assert not {"script", "img", "b"} & {tag for tag, _ in page.tags}
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    for number in range(1, 11):
        assert f"{text}{number}" in page.text


def test_directional_and_invisible_characters_are_shown(tmp_path: Path) -> None:
    row = OrderRow(1, "KW\u202e1", "zero\u200bwidth", "a\x1bb", {})
    with lots.made_up(tmp_path / "lot.db", [row], campaign=lots.lot(lot="x\u2066y")) as store:
        page = page_of(store, tmp_path / "report.html")
    for shown in ("KW⟨U+202E⟩1", "zero⟨U+200B⟩width", "a⟨U+001B⟩b", "Lot x⟨U+2066⟩y"):
        assert shown in page.text
    assert not {"\u202e", "\u200b", "\x1b", "\u2066"} & set((tmp_path / "report.html").read_text(encoding="utf-8"))


def test_a_long_lot_is_cut_and_points_to_the_csv(tmp_path: Path) -> None:
    with lots.made_up(tmp_path / "lot.db", lots.order(30)) as store:
        page = page_of(store, tmp_path / "report.html", units=10)
    assert "The first 10 of 30; the CSV report has every unit." in page.text
    assert "KW-F1-000010" in page.text
    assert "KW-F1-000011" not in page.text


def test_without_a_trace_there_is_no_diagram(tmp_path: Path) -> None:
    with lots.demo_lot(tmp_path / "lot.db") as store:
        page = page_of(store, tmp_path / "report.html")
        assert "exchange" not in page.text
        record(store)
        page = page_of(store, tmp_path / "report.html")
    assert "8 exchanges, 3 of them under secure messaging" in page.text


def test_a_damaged_trace_is_told_and_spoils_nothing_else(tmp_path: Path) -> None:
    with lots.demo_lot(tmp_path / "lot.db") as store:
        trace_path(store.path).write_bytes(b"<b>garbage</b>\n")
        page = page_of(store, tmp_path / "report.html")
    assert "the recording cannot be read" in page.text
    assert "lot.db.trace.jsonl line 1: not a step of an exchange" in page.text
    assert "Ordered 24 Sealed 23" in page.text


def test_a_trace_that_names_no_unit_is_drawn_by_itself(tmp_path: Path) -> None:
    with lots.demo_lot(tmp_path / "lot.db") as store:
        line = b'{"t":1.5,"who":"host","link":"x","dir":"command","hex":"00A4040000"}\n'
        trace_path(store.path).write_bytes(line)
        page = page_of(store, tmp_path / "report.html")
    assert "A unit : 1 exchanges, 0 of them under secure messaging" in page.text


def test_a_lot_that_was_not_begun_is_a_page_too(tmp_path: Path) -> None:
    with lots.made_up(tmp_path / "lot.db", lots.order(2)) as store:
        page = page_of(store, tmp_path / "report.html", made_at=datetime(2026, 11, 23, 18, tzinfo=UTC))
    assert "not complete" in page.text
    assert "None: no unit was set aside so far." in page.text
    assert "No step has come to an end yet." in page.text
    assert "on 2026-11-23 18:00:00 UTC." in page.text


def test_the_same_lot_makes_the_same_page(tmp_path: Path) -> None:
    made_at = datetime(2026, 11, 23, 18, tzinfo=UTC)
    with lots.demo_lot(tmp_path / "lot.db") as store:
        record(store)
        for name in ("one.html", "two.html"):
            write_html(store, tmp_path / name, made_at=made_at)
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "two.html").read_bytes()


def test_a_store_without_a_lot_has_no_page(tmp_path: Path) -> None:
    with UnitStore.open(str(tmp_path / "lot.db"), create=True) as store, pytest.raises(StoreError, match="no order"):
        write_html(store, tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with (
        lots.made_up(tmp_path / "lot.db", lots.order(1)) as store,
        pytest.raises(UsageError, match=r"report\.html: cannot be written"),
    ):
        write_html(store, tmp_path / "nowhere" / "report.html")
