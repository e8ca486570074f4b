"""Figures with their targets, and how they are shown: in the terminal and in the documentation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_HEAD = ("figure", "keywright", "against", "ratio", "target", "")
HOLDS, SHORT = "holds", "falls short"


@dataclass(frozen=True, slots=True)
class Figure:
    """One row. `value` is what the target is about, in the unit of `form`; `most` says that less is better."""

    what: str
    ours: str
    against: str
    value: float
    target: float | None = None
    most: bool = False
    form: str = "{:.2f} x"

    @property
    def verdict(self) -> str:
        """Whether the target is met; empty without one."""
        if self.target is None:
            return ""
        return HOLDS if (self.value <= self.target if self.most else self.value >= self.target) else SHORT

    @property
    def share(self) -> float | None:
        """How far the target is met: 1 is just, 2 is twice as good; None without one."""
        if self.target is None:
            return None
        return self.target / self.value if self.most else self.value / self.target

    def cells(self) -> tuple[str, ...]:
        """The row as texts."""
        bound = ("at most " if self.most else "at least ") if self.target is not None else ""
        target = "" if self.target is None else bound + self.form.format(self.target)
        return self.what, self.ours, self.against, self.form.format(self.value), target, self.verdict


def table(figures: Sequence[Figure]) -> str:
    """The figures as a Markdown table with columns in line, which is also how the terminal shows it."""
    rows = [_HEAD, *(figure.cells() for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    rule = tuple("-" * width for width in widths)
    lines = (zip(row, widths, strict=True) for row in (rows[0], rule, *rows[1:]))
    return "".join("| " + " | ".join(cell.ljust(width) for cell, width in line) + " |\n" for line in lines)


def micro(seconds: float) -> str:
    """A time of one operation."""
    return f"{seconds * 1e6:.2f} µs"


def rate(per_s: float) -> str:
    """Operations a second."""
    return f"{per_s / 1e6:.1f} M/s" if per_s >= 1e6 else f"{per_s:,.0f}/s"
