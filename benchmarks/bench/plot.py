"""One picture of all targets: how far each is met."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.figures import HOLDS, Figure

LONGEST = 4.0
"""Bars end here: what is a hundred times as good as asked would hide all others."""

_PEERS = ("yubikit", "bare", "echo card")
_MET, _SHORT, _INK = "#2f7d5b", "#b5482f", "#3b4252"


def draw(figures: Sequence[Figure], path: Path) -> None:
    """Write an SVG with a bar for each figure that has a target; the line is the target itself."""
    import matplotlib as mpl  # noqa: PLC0415 - half a second that only the picture needs

    mpl.use("svg")
    mpl.rcParams.update({"svg.hashsalt": "keywright", "svg.fonttype": "none", "font.family": "sans-serif"})
    from matplotlib import pyplot as plt  # noqa: PLC0415 - after the backend is chosen

    shown = [(figure, figure.share) for figure in reversed(figures) if figure.share is not None]
    picture, axes = plt.subplots(figsize=(12, 0.42 * len(shown) + 1.1), layout="constrained")
    bars = axes.barh(
        range(len(shown)),
        [min(share, LONGEST) for _, share in shown],
        color=[_MET if figure.verdict == HOLDS else _SHORT for figure, _ in shown],
    )
    labels = [figure.cells()[3] + ("  and far beyond" if share > LONGEST else "") for figure, share in shown]
    axes.bar_label(bars, labels, padding=4, color=_INK, fontsize=9)
    axes.axvline(1, color=_INK, linewidth=1)
    axes.set_yticks(range(len(shown)), [_name(figure) for figure, _ in shown])
    axes.set_xlim(0, LONGEST * 1.5)
    axes.set_xlabel("1 = the target; longer is better")
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(axis="y", length=0, labelsize=9)
    path.parent.mkdir(exist_ok=True)
    picture.savefig(path, metadata={"Date": None})
    plt.close(picture)


def _name(figure: Figure) -> str:
    """What is measured, and against whom where that is a peer; a remark in brackets stays in the table."""
    what = figure.what.partition(" (")[0]
    peer = next((peer for peer in _PEERS if figure.against.startswith(peer)), "")
    return f"{what} ({peer})" if peer else what
