"""How a label looks: one drawing of vectors, from which both PDF and SVG are made.

The QR code stands left with its quiet zone, what a person reads stands right of it. A module of the code is a whole
number of printer dots (8 dots/mm), so that a thermal printer draws no module wider than its neighbour.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from keywright.errors import UsageError
from keywright.production.untrusted import printable

QUIET_MODULES: Final = 4
"""ISO/IEC 18004 5.3.8: the quiet zone of a QR code is four modules wide."""
LEVEL: Final = "m"
"""Error correction: about 15 % of the code may be damaged."""
DOT_MM: Final = 0.125
"""One dot at 203 dpi, and the size of every module is a multiple of it."""
LEAST_MODULE_MM: Final = 0.25
MOST_MODULE_MM: Final = 0.75
_POINTS: Final = 72 / 25.4
_EDGE_MM: Final = 1.5
_LEAST_FONT: Final = 4.5
"""Points: the smallest that can be read without a glass."""


class Size(msgspec.Struct, frozen=True):
    """A label's size in millimetres."""

    width_mm: float = 50.0
    height_mm: float = 25.0


class Label(msgspec.Struct, frozen=True):
    """What is on a label. `payload` stands in the code alone; `reprint` 0 is the first print."""

    payload: str
    serial: str
    title: str
    lines: tuple[str, ...]
    reprint: int = 0


def size_of(text: str) -> Size:
    """A size as `WIDTHxHEIGHT` in millimetres. Raises UsageError unless a label can be as big as that."""
    width, _, height = text.partition("x")
    try:
        found = Size(float(width), float(height))
    except ValueError:
        found = Size(0, 0)
    if not (25 <= found.width_mm <= 200 and 10 <= found.height_mm <= 150 and found.width_mm >= found.height_mm):
        raise UsageError(f"--size {text}: no size of a label", hint="WIDTHxHEIGHT in mm, for example 50x25")
    return found


def drawing_of(label: Label, size: Size) -> Any:
    """The label as a drawing of the library, in points. Raises UsageError if the code does not fit on it."""
    from reportlab.graphics.shapes import Drawing, Group, Rect  # noqa: PLC0415 - an extra
    from reportlab.lib.colors import white  # noqa: PLC0415 - as above

    drawing = Drawing(size.width_mm * _POINTS, size.height_mm * _POINTS)
    paper = _filled(Rect(0, 0, drawing.width, drawing.height), white)
    matrix = _matrix(label.payload)
    module = _module_mm(len(matrix) + 2 * QUIET_MODULES, size)
    code_mm = (len(matrix) + 2 * QUIET_MODULES) * module
    drawing.add(paper)
    drawing.add(Group(_code(matrix, module, (size.height_mm - code_mm) / 2)))
    for shape in _texts(label, code_mm + _EDGE_MM / 2, size):
        drawing.add(shape)
    return drawing


def _filled(shape: Any, colour: Any) -> Any:
    """The shape in that colour, without an outline."""
    shape.fillColor, shape.strokeColor = colour, None
    return shape


def _matrix(payload: str) -> Sequence[Sequence[int]]:
    import segno  # noqa: PLC0415 - an extra

    found: Sequence[Sequence[int]] = segno.make(payload, error=LEVEL, micro=False, boost_error=False).matrix
    return found


def _module_mm(modules: int, size: Size) -> float:
    """As large as fits, in whole dots."""
    room = min(size.height_mm, size.width_mm * 0.55)
    dots = int(room / modules / DOT_MM)
    module = min(dots * DOT_MM, MOST_MODULE_MM)
    if module < LEAST_MODULE_MM:
        raise UsageError(
            f"a code of {modules} modules is too fine for a label of {size.width_mm:g} x {size.height_mm:g} mm",
            hint="use a larger label: --size",
        )
    return module


def _code(matrix: Sequence[Sequence[int]], module: float, bottom: float) -> Any:
    """All dark modules as one path, so that no seam shows between them."""
    from reportlab.graphics.shapes import Path  # noqa: PLC0415 - an extra
    from reportlab.lib.colors import black  # noqa: PLC0415 - as above

    path = Path(fillColor=black, strokeColor=None)
    step = module * _POINTS
    for y, row in enumerate(matrix):
        low = bottom * _POINTS + (len(matrix) - 1 - y + QUIET_MODULES) * step
        for begin, end in _runs(row):
            left, right = ((QUIET_MODULES + x) * step for x in (begin, end))
            path.moveTo(left, low)
            path.lineTo(right, low)
            path.lineTo(right, low + step)
            path.lineTo(left, low + step)
            path.closePath()
    return path


def _runs(row: Sequence[int]) -> list[tuple[int, int]]:
    """Where dark modules stand side by side: first, and one behind the last."""
    found: list[tuple[int, int]] = []
    for x, dark in enumerate(row):
        if dark and found and found[-1][1] == x:
            found[-1] = (found[-1][0], x + 1)
        elif dark:
            found.append((x, x + 1))
    return found


def _texts(label: Label, left_mm: float, size: Size) -> list[Any]:
    """Title, serial, lines, and the mark of a reprint, from top to bottom."""
    from reportlab.graphics.shapes import Rect, String  # noqa: PLC0415 - an extra
    from reportlab.lib.colors import black, white  # noqa: PLC0415 - as above

    left, room = left_mm * _POINTS, (size.width_mm - left_mm - _EDGE_MM) * _POINTS
    top = (size.height_mm - _EDGE_MM) * _POINTS
    scale = min(size.height_mm / 25, 2.0)
    shapes: list[Any] = []

    def line(text: str, font: str, points: float, gap: float) -> None:
        nonlocal top
        for part, fitted in _fitted(text, font, points * scale, room):
            top -= fitted * 1.15
            shapes.append(String(left, top, part, fontName=font, fontSize=fitted, fillColor=black))
        top -= gap * scale

    line(label.title, "Helvetica", 7, 1.0)
    line(label.serial, "Helvetica-Bold", 9.5, 2.0)
    for text in label.lines:
        line(text, "Helvetica", 5.5, 0.4)
    if label.reprint:
        height = 8.5 * scale
        text = f"REPRINT {label.reprint}"
        (_, fitted), *_ = _fitted(text, "Helvetica-Bold", 6 * scale, room - 4)
        bottom = _EDGE_MM * _POINTS
        width = _width(text, "Helvetica-Bold", fitted) + 6
        shapes.append(_filled(Rect(left, bottom, width, height), black))
        base = bottom + (height - fitted * 0.72) / 2
        shapes.append(String(left + 3, base, text, fontName="Helvetica-Bold", fontSize=fitted, fillColor=white))
        top -= height
    if top < _EDGE_MM * _POINTS * 0.5:
        raise UsageError(f"the text of {label.serial} does not fit on the label", hint="use a larger label: --size")
    return shapes


def _fitted(text: str, font: str, points: float, room: float) -> list[tuple[str, float]]:
    """The text in one line, smaller if need be; in several when it would be too small to be read."""
    shown = printable(text)
    wide = _width(shown, font, points)
    fitted = min(points, points * room / wide) if wide else points
    if fitted >= _LEAST_FONT:
        return [(shown, fitted)]
    characters = max(1, int(len(shown) * room / _width(shown, font, _LEAST_FONT)))
    return [(shown[at : at + characters], _LEAST_FONT) for at in range(0, len(shown), characters)]


def _width(text: str, font: str, points: float) -> float:
    from reportlab.pdfbase.pdfmetrics import stringWidth  # noqa: PLC0415 - an extra

    return float(stringWidth(text, font, points))
