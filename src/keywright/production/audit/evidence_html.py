"""The evidence of a lot as one page that needs nothing besides itself."""

from __future__ import annotations

import base64
import hashlib
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from keywright import __version__
from keywright.production.audit.evidence import Report
from keywright.production.outfile import replacing
from keywright.production.reports.rendering import render

_OPENING: Final = (
    '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<meta name="generator" content="keywright '
)
"""How every page begins: by this an older one is known, which a new one may replace."""


def write_evidence(report: Report, path: str | os.PathLike[str], store: Path, made_at: datetime | None = None) -> None:
    """Write the page; `path` gets its content whole or keeps its old one. `store`: the file it is not to replace.

    Raises UsageError if it cannot be written or is there already and no page of ours.
    """
    style = render("colours.css") + render("report.css")
    style_hash = "sha256-" + base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    page = render(
        "controls.html",
        report=report,
        style=style,
        style_hash=style_hash,
        version=__version__,
        made_at=made_at or datetime.now(UTC),
    )
    with replacing(path, opening=_OPENING, store=store) as file:
        file.write(page)
