"""Labels as files: a PDF with a page of the label's own size for each, or a folder of SVG pictures; same drawing."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from keywright.errors import UsageError
from keywright.production.handover.label_drawing import Label, Size, drawing_of
from keywright.production.handover.label_reading import check_pdf, check_svg
from keywright.production.private_file import write_private

_POINTS: Final = 72 / 25.4
_HEAD: Final = re.compile(r"<svg [^>]*>")
_MOVED: Final = re.compile(r"translate\(0,-\d+\)")
_TEXT: Final = re.compile(r'(y="([\d.]+)"[^>]*)translate\(0,\d+\)')
_ABOUT: Final = re.compile(r"\s*<title>.*?</title>\s*<desc>.*?</desc>")
_FONT: Final = re.compile(r"font-family: Helvetica(-Bold)?;")


def check_paper() -> None:
    """Raise UsageError, naming the extra, unless everything that draws and reads labels is installed."""
    try:
        import pypdfium2  # noqa: F401, PLC0415 - an extra, asked for before anything is begun
        import reportlab.graphics  # noqa: F401, PLC0415 - as above
        import segno  # noqa: F401, PLC0415 - as above
        import zxingcpp  # noqa: F401, PLC0415 - as above
    except ImportError as error:
        raise UsageError("labels need the extra paper", hint="install it: pip install 'keywright[paper]'") from error


def pdf_of(labels: Sequence[Label], size: Size) -> bytes:
    """One page for each label. The same labels give the same bytes."""
    from reportlab.graphics import renderPDF  # noqa: PLC0415 - an extra
    from reportlab.pdfgen.canvas import Canvas  # noqa: PLC0415 - as above

    buffer = io.BytesIO()
    canvas = Canvas(buffer, pagesize=(size.width_mm * _POINTS, size.height_mm * _POINTS), invariant=1)
    canvas.setTitle("Labels")
    for label in labels:
        renderPDF.draw(drawing_of(label, size), canvas, 0, 0)
        canvas.showPage()
    canvas.save()
    return buffer.getvalue()


def svg_of(label: Label, size: Size) -> str:
    """A picture of the label, its size in millimetres.

    The library rounds heights to whole points and says no unit; both are put right here.
    """
    from reportlab.graphics import renderSVG  # noqa: PLC0415 - an extra

    text: str = renderSVG.drawToString(drawing_of(label, size))
    width, height = size.width_mm * _POINTS, size.height_mm * _POINTS
    head = (
        f'<svg width="{size.width_mm:g}mm" height="{size.height_mm:g}mm" viewBox="0 0 {width:.4f} {height:.4f}" '
        'xmlns="http://www.w3.org/2000/svg" version="1.1" fill-rule="evenodd">'
    )
    text = _HEAD.sub(head, text.partition("?>")[2].partition("<svg ")[1] + text.partition("<svg ")[2], count=1)
    text = _MOVED.sub(f"translate(0,-{height:.4f})", text, count=1)
    text = _TEXT.sub(lambda found: f"{found[1]}translate(0,{2 * float(found[2]):.4f})", _ABOUT.sub("", text))
    text = _FONT.sub(lambda found: f"font-family: Helvetica, Arial, sans-serif; font-weight: {_weight(found)};", text)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'


def write_checked(folder: Path, labels: Sequence[Label], units: Sequence[int], size: Size, kind: str) -> list[Path]:
    """Write the labels into an empty folder and read every one back from what was written.

    Raises UnreadableLabelError for the first that does not read, StoreError if a file cannot be written.
    """
    if kind == "pdf":
        data = pdf_of(labels, size)
        check_pdf(data, [label.payload for label in labels], list(units))
        write_private(folder / "labels.pdf", "labels", data)
        return [folder / "labels.pdf"]
    files = []
    for label, unit in zip(labels, units, strict=True):
        svg = svg_of(label, size)
        check_svg(svg, label.payload, unit)
        mark = f"-r{label.reprint}" if label.reprint else ""
        files.append(folder / f"{unit}{mark}.svg")
        write_private(files[-1], "label", svg.encode())
    return files


def _weight(found: re.Match[str]) -> str:
    return "bold" if found[1] else "normal"
