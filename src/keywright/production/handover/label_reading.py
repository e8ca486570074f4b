"""Reads a label's code back from what would be printed, with another program than the one that drew it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from keywright.errors import KeywrightError

DPI: Final = 406
"""Twice 203 dpi: every module is a whole number of points of the raster."""
_PATH: Final = re.compile(r'<path d="([^"]+)"')
_NUMBER: Final = re.compile(r"-?\d+(?:\.\d+)?")
_SIZE: Final = re.compile(r'viewBox="0 0 ([\d.]+) ([\d.]+)"')
_POINTS_PER_INCH: Final = 72


class UnreadableLabelError(KeywrightError):
    """A label's code does not read as it should; it does not count as printed."""

    code = "label-unreadable"
    hint = "use a larger label (--size), and report it if that does not help"


def check_pdf(pdf: bytes, payloads: list[str], units: list[int]) -> None:
    """Every page of a PDF, rendered, has to read as the payload of its place.

    Raises UnreadableLabelError naming the unit of the first that does not.
    """
    import pypdfium2  # noqa: PLC0415 - an extra

    document = pypdfium2.PdfDocument(pdf)
    try:
        if len(document) != len(payloads):
            raise UnreadableLabelError(f"{len(document)} pages for {len(payloads)} labels")
        for page, payload, unit in zip(document, payloads, units, strict=True):
            scale: Any = DPI / _POINTS_PER_INCH  # the library's annotation says int, its text any number
            bitmap = page.render(scale=scale, grayscale=True)
            _check(bitmap.to_numpy().squeeze(), payload, unit)
            bitmap.close()
            page.close()
    finally:
        document.close()


def check_svg(svg: str, payload: str, unit: int) -> None:
    """The same for a picture: its one path is drawn again, without the program that made it."""
    _check(_raster(svg), payload, unit)


def _check(image: Any, payload: str, unit: int) -> None:
    import zxingcpp  # noqa: PLC0415 - an extra

    found = zxingcpp.read_barcodes(image, formats=zxingcpp.BarcodeFormats(zxingcpp.BarcodeFormat.QRCode))
    if [bytes(one.bytes) for one in found] != [payload.encode()]:
        raise UnreadableLabelError(f"the label of unit {unit} does not read back")


def _raster(svg: str) -> Any:
    """The path of rectangles in an SVG, black on white; anything else in the picture is left out."""
    import numpy as np  # noqa: PLC0415 - only labels need it here

    path, size = _PATH.search(svg), _SIZE.search(svg)
    if path is None or size is None:
        raise UnreadableLabelError("the picture of a label has no code")
    scale = DPI / _POINTS_PER_INCH
    width, height = (round(float(number) * scale) for number in size.groups())
    image = np.full((height, width), 255, dtype=np.uint8)
    for left, bottom, right, top in _rectangles(path[1]):
        rows = slice(round(height - top * scale), round(height - bottom * scale))
        image[rows, round(left * scale) : round(right * scale)] = 0
    return image


def _rectangles(path: str) -> Iterator[tuple[float, float, float, float]]:
    for part in path.split("Z"):
        numbers = [float(number) for number in _NUMBER.findall(part)]
        if numbers:
            x, y = numbers[0::2], numbers[1::2]
            yield min(x), min(y), max(x), max(y)
