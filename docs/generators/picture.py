"""The picture of the README: the demonstration runs in a terminal of its own, and one moment of it is drawn."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.text import Text

COLUMNS, ROWS = 92, 50
COMMAND = "make demo"
"""What a reader would type; it runs `keywright demo`."""

_EXAMPLES = Path(__file__).parents[2] / "examples"
_CONTROL = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])|\r|\n|[^\x1b\r\n]+|\x1b")
_FORMAT = """<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: {char_height}px; line-height: {line_height}px; font-variant-east-asian: full-width; }}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: ui-sans-serif, system-ui, sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/></clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""
"""Rich's own form, less the fonts it would fetch from elsewhere."""


class Screen:
    """As much of a terminal as the live picture uses: lines, colours, cursor up, line erased."""

    def __init__(self) -> None:
        self._lines: list[str] = [""]
        self._row = 0

    def feed(self, data: str) -> Iterator[list[str]]:
        """Take output; yield the lines, with their colours, whenever the picture is about to be drawn anew."""
        erasing = False
        for found in _CONTROL.finditer(data):
            text, verb = found.group(), found.group(2)
            if verb in ("A", "K"):
                if not erasing:
                    yield list(self._lines)
                erasing = True
            if verb == "A":
                self._row = max(0, self._row - int(found.group(1) or 1))
            elif verb == "K":
                self._lines[self._row] = ""
            elif text == "\n":
                self._row += 1
                if self._row == len(self._lines):
                    self._lines.append("")
            elif verb == "m" or not text.startswith(("\x1b", "\r")):
                erasing = False
                self._lines[self._row] += text
        yield list(self._lines)


def output(command: list[str], folder: Path) -> str:
    """What a command writes to a terminal of `COLUMNS` by `ROWS`."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(COLUMNS)}
    process = subprocess.Popen(  # noqa: S603 - our own command
        command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder, env=environment
    )
    os.close(theirs)
    data = bytearray()
    with contextlib.suppress(OSError):  # the terminal is gone when the command ends
        while block := os.read(ours, 1 << 16):
            data += block
    os.close(ours)
    if process.wait():
        raise RuntimeError(f"{command} ended with {process.returncode}:\n{data.decode()}")
    return data.decode()


def moment(frames: list[list[str]]) -> list[str]:
    """The frame to show: one in which the lot is at work and something has gone wrong already."""
    live = [frame for frame in frames if any("in work" in line and "KW-" in line for line in frame)]
    wrong = [frame for frame in live if any("! " in line for line in frame)]
    chosen = wrong[len(wrong) // 2] if wrong else (live or frames)[-1]
    return [line for line in chosen if line.strip()]


def drawn(lines: list[str]) -> str:
    """Lines with colours as SVG."""
    console = Console(record=True, width=COLUMNS, file=StringIO(), force_terminal=True, legacy_windows=False)
    for line in lines:
        console.print(Text.from_ansi(line), no_wrap=True, crop=True)
    return console.export_svg(title=COMMAND, code_format=_FORMAT, unique_id="keywright-demo")


def demo() -> str:
    """Run the demonstration in a folder that has only the examples, and draw it."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(_EXAMPLES, Path(folder, "examples"))
        shown = output([sys.executable, "-m", "keywright", "demo"], Path(folder))
    return drawn(moment(list(Screen().feed(shown))))
