"""Boxes, arrows and words as SVG: plain shapes, readable on white and on dark pages, without fonts from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

Point = tuple[float, float]

_STYLE: Final = (
    "text{font-family:ui-sans-serif,system-ui,sans-serif;font-size:13px;fill:#1f2933}"
    ".t{font-weight:600}.s{font-size:11.5px;fill:#52606d}.c{text-anchor:middle}.e{text-anchor:end}"
    ".m{font-family:ui-monospace,monospace;font-size:11.5px}"
)
_LINE: Final = 16


class Drawing:
    """An SVG under construction; sizes and places in pixels from the upper left corner."""

    def __init__(self, width: int, height: int, title: str) -> None:
        self._head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
            f'height="{height}" role="img" aria-label="{escape(title)}">\n<title>{escape(title)}</title>\n'
            f"<style>{_STYLE}</style>\n"
            '<defs><marker id="a" viewBox="0 0 8 8" refX="7.5" refY="4" markerWidth="8" markerHeight="8" '
            'orient="auto-start-reverse"><path d="M0 0 8 4 0 8z" fill="#52606d"/></marker></defs>\n'
            f'<rect width="{width}" height="{height}" rx="8" fill="#ffffff"/>\n'
        )
        self._parts: list[str] = []

    def box(self, at: Point, size: Point, lines: Sequence[str], *, fill: str = "#f0f4f8", dashed: bool = False) -> None:
        """A box with a title and lines below it, centred."""
        (x, y), (w, h) = at, size
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        self._parts.append(
            f'<rect x="{x}" y="{y}" width="{w}" height="{h}" rx="6" fill="{fill}" stroke="#829ab1"{dash}/>'
        )
        top = y + h / 2 - _LINE * (len(lines) - 1) / 2 + 4.5
        for number, line in enumerate(lines):
            self.text((x + w / 2, top + number * _LINE), line, "t c" if not number else "s c")

    def frame(self, at: Point, size: Point, title: str) -> None:
        """A large box around others, its title in the upper left corner."""
        (x, y), (w, h) = at, size
        self._parts.append(f'<rect x="{x}" y="{y}" width="{w}" height="{h}" rx="8" fill="#fbfcfe" stroke="#bcccdc"/>')
        self.text((x + 12, y + 20), title, "t")

    def arrow(self, *points: Point, both: bool = False) -> None:
        """A line through the points with a head at its end."""
        path = " ".join(f"{x:g},{y:g}" for x, y in points)
        start = ' marker-start="url(#a)"' if both else ""
        self._parts.append(
            f'<polyline points="{path}" fill="none" stroke="#52606d" stroke-width="1.3"{start} marker-end="url(#a)"/>'
        )

    def text(self, at: Point, words: str, kind: str = "s") -> None:
        """One line of text."""
        self._parts.append(f'<text x="{at[0]:g}" y="{at[1]:g}" class="{kind}">{escape(words)}</text>')

    def lines(self, at: Point, words: Sequence[str], kind: str = "s") -> None:
        """Several lines of text below each other."""
        for number, line in enumerate(words):
            self.text((at[0], at[1] + number * 15), line, kind)

    def svg(self) -> str:
        """The whole file."""
        return self._head + "\n".join(self._parts) + "\n</svg>\n"
