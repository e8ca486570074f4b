"""Results as files: one page that needs nothing besides itself, and pictures each for itself."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from keywright import __version__
from keywright.cli.uwb.drawing import STYLE, Picture
from keywright.errors import UsageError
from keywright.production.outfile import replacing

_PAGE: Final = (
    '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<meta name="generator" content="keywright uwb '
)
_PICTURE: Final = '<svg class="plot"'


class Table(NamedTuple):
    """A table of a page."""

    title: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    text: str = ""


class Part(NamedTuple):
    """A heading with what is said and drawn below it."""

    title: str
    text: str
    pictures: Sequence[Picture]


def write_page(
    path: Path, title: str, lead: str, tables: Sequence[Table], parts: Sequence[Part], facts: Mapping[str, str]
) -> None:
    """Write the page; a file that is there is replaced only if it is an earlier one. Raises UsageError."""
    from markupsafe import Markup  # noqa: PLC0415 - for pages only

    from keywright.production.reports.rendering import render  # noqa: PLC0415 - for pages only

    style = render("colours.css") + render("report.css") + render("ranging.css") + Markup(STYLE)  # noqa: S704 - a constant of ours
    page = render(
        "ranging.html",
        title=title,
        lead=lead,
        tables=tables,
        parts=[
            {
                "title": part.title,
                "text": part.text,
                "plots": [Markup(picture.svg()) for picture in part.pictures],  # noqa: S704 - escaped where it is drawn
            }
            for part in parts
        ],
        facts=list(facts.items()),
        version=__version__,
        style=style,
        style_hash="sha256-" + base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
    )
    with replacing(path, opening=_PAGE) as file:
        file.write(page)


def write_pictures(folder: Path, pictures: Mapping[str, Picture]) -> None:
    """Write pictures into a folder, which is made if need be. Raises UsageError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder}: no folder can be made: {error.strerror}", hint="give another path") from error
    for name, picture in pictures.items():
        with replacing(folder / f"{name}.svg", opening=_PICTURE) as file:
            file.write(picture.svg(standalone=True))
