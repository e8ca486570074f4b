"""The record of a ceremony as a PDF, for signatures in ink. The same transcript gives the same bytes."""

from __future__ import annotations

import io
from typing import Any, Final

from keywright.errors import KeywrightError
from keywright.production.ceremony.progress import Ceremony
from keywright.production.ceremony.record import facts, persons, rows, title
from keywright.production.untrusted import printable

_MARGIN_MM: Final = 18
_FOOT: Final = "keywright ceremony {}, transcript {}"


def record_pdf(ceremony: Ceremony) -> bytes:
    """The PDF, A4. Raises KeywrightError if the extra `paper` is missing."""
    try:
        from reportlab.lib.pagesizes import A4  # noqa: PLC0415 - an extra
        from reportlab.lib.units import mm  # noqa: PLC0415 - as above
        from reportlab.platypus import Paragraph, SimpleDocTemplate, Spacer  # noqa: PLC0415 - as above
    except ImportError as error:
        raise KeywrightError(
            "a printed record needs the extra paper", hint="install it: pip install 'keywright[paper]'"
        ) from error
    styles = _styles()
    story: list[Any] = [
        Paragraph(_escaped(title(ceremony.plan)), styles["Title"]),
        Paragraph("Record of a key ceremony. It holds check values, never a key or a part of one.", styles["Small"]),
        Spacer(1, 4 * mm),
        _table([[name, value] for name, value in facts(ceremony)], (34, 136), styles),
        Paragraph("Persons", styles["Heading"]),
        _table(
            [["name", "duty", "key", "signature"], *([*one, ""] for one in persons(ceremony))],
            (30, 50, 40, 50),
            styles,
            head=True,
            row_mm=11,
        ),
        Paragraph("Transcript", styles["Heading"]),
        _table(
            [["", "time", "event", "person", "what"], *([str(row.number), *row[1:]] for row in rows(ceremony))],
            (8, 42, 20, 24, 76),
            styles,
            head=True,
        ),
        Spacer(1, 4 * mm),
        _table([["transcript hash", ceremony.hash]], (34, 136), styles),
    ]
    buffer = io.BytesIO()
    foot = _FOOT.format(ceremony.plan.id, ceremony.hash[:16])
    document = SimpleDocTemplate(
        buffer,
        pagesize=A4,
        leftMargin=_MARGIN_MM * mm,
        rightMargin=_MARGIN_MM * mm,
        topMargin=_MARGIN_MM * mm,
        bottomMargin=_MARGIN_MM * mm,
        title=title(ceremony.plan),
        author="keywright",
        invariant=1,
    )

    def footer(canvas: Any, page: Any) -> None:
        canvas.setFont("Helvetica", 7)
        canvas.drawString(_MARGIN_MM * mm, 10 * mm, foot)
        canvas.drawRightString(A4[0] - _MARGIN_MM * mm, 10 * mm, f"page {page.page}")

    document.build(story, onFirstPage=footer, onLaterPages=footer)
    return buffer.getvalue()


def _styles() -> dict[str, Any]:
    from reportlab.lib.colors import HexColor  # noqa: PLC0415 - an extra
    from reportlab.lib.styles import ParagraphStyle  # noqa: PLC0415 - an extra

    return {
        "Title": ParagraphStyle("Title", fontName="Helvetica-Bold", fontSize=16, leading=20),
        "Heading": ParagraphStyle(
            "Heading", fontName="Helvetica-Bold", fontSize=11, leading=14, spaceBefore=12, spaceAfter=4
        ),
        "Small": ParagraphStyle("Small", fontName="Helvetica", fontSize=8, leading=10, textColor=HexColor("#555555")),
        "Cell": ParagraphStyle("Cell", fontName="Helvetica", fontSize=8, leading=10, wordWrap="CJK"),
        "Head": ParagraphStyle("Head", fontName="Helvetica-Bold", fontSize=8, leading=10),
    }


def _table(
    cells: list[list[str]], widths_mm: tuple[int, ...], styles: dict[str, Any], *, head: bool = False, row_mm: int = 0
) -> Any:
    from reportlab.lib.units import mm  # noqa: PLC0415 - an extra
    from reportlab.platypus import Paragraph, Table, TableStyle  # noqa: PLC0415 - as above

    def style(row: int, column: int) -> Any:
        return styles["Head" if (head and row == 0) or (not head and column == 0) else "Cell"]

    body = [
        [Paragraph(_escaped(text), style(row, column)) for column, text in enumerate(line)]
        for row, line in enumerate(cells)
    ]
    heights = [None if not row_mm or row == 0 else row_mm * mm for row in range(len(body))]
    made = Table(
        body,
        colWidths=[width * mm for width in widths_mm],
        rowHeights=heights,
        repeatRows=1 if head else 0,
        splitInRow=1,
        hAlign="LEFT",
    )
    made.setStyle(
        TableStyle(
            [
                ("VALIGN", (0, 0), (-1, -1), "TOP"),
                ("LINEBELOW", (0, 0), (-1, -1), 0.25, "#BBBBBB"),
                ("LEFTPADDING", (0, 0), (-1, -1), 0),
                ("RIGHTPADDING", (0, 0), (-1, -1), 2),
                ("TOPPADDING", (0, 0), (-1, -1), 2),
                ("BOTTOMPADDING", (0, 0), (-1, -1), 2),
            ]
        )
    )
    return made


def _escaped(text: str) -> str:
    """Names and reasons come from people: nothing in them is markup, nothing stays invisible."""
    return printable(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
