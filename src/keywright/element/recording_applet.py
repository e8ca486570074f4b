"""What stands in for an application whose code this element does not have: it takes everything and keeps it.

Loading a vendor's load file and installing from it works as on a card that runs the code: SELECT finds the application,
its commands are answered 9000, and what came can be read back afterwards. Its records, in the element's memory under
`applet/AID/`: `parameters` (C9 of INSTALL), `count` (commands ever taken, 4 bytes) and `log/00` .. `log/1F` (the last
32 commands, written round; `logged` gives them in order). Each is the command APDU as the application saw it, its
secure messaging opened, cut at `MAX_KEPT` bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple, final

from keywright.codec.tlv import item
from keywright.element.applet import Context
from keywright.element.state import applet_name
from keywright.globalplatform.messages import Fci, Tag
from keywright.iso7816.apdu import Command, Response

MAX_COMMANDS: Final = 32
"""Commands kept; the next one takes the place of the oldest."""
MAX_KEPT: Final = 1024
"""Bytes kept of one command."""

_COUNT: Final = "count"
_PARAMETERS: Final = "parameters"


@final
class RecordingApplet:
    """An application that answers 9000 to everything. Keeps no state of its own."""

    def __init__(self, aid: bytes) -> None:
        self.aid = aid

    def installed(self, context: Context, parameters: bytes) -> None:
        """Keep the installation parameters."""
        context.write(_PARAMETERS, parameters[:MAX_KEPT])

    def select(self, context: Context) -> bytes:
        """File control information with the AID."""
        del context
        return item(Tag.FCI, Fci(self.aid).build())

    def process(self, command: Command, context: Context) -> Response:
        """Keep the command; 9000 without data."""
        count = int.from_bytes(context.read(_COUNT) or b"")
        context.write(_log(count), command.encode()[:MAX_KEPT])
        context.write(_COUNT, (count + 1).to_bytes(4))
        return Response(b"")


class Recorded(NamedTuple):
    """What one such application was given. received: commands ever taken; commands: the last of them, oldest first."""

    aid: bytes
    parameters: bytes
    received: int
    commands: tuple[bytes, ...]


def recorded(read: Callable[[str], bytes | None], aid: bytes) -> Recorded:
    """All that a recording application has kept; `read` loads a record of the element's memory."""
    count = int.from_bytes(read(applet_name(aid, _COUNT)) or b"")
    return Recorded(aid, read(applet_name(aid, _PARAMETERS)) or b"", count, logged(read, aid))


def logged(read: Callable[[str], bytes | None], aid: bytes) -> tuple[bytes, ...]:
    """What a recording application has kept, oldest first; `read` loads a record of the element's memory."""
    count = int.from_bytes(read(applet_name(aid, _COUNT)) or b"")
    numbers = range(max(0, count - MAX_COMMANDS), count)
    return tuple(read(applet_name(aid, _log(number))) or b"" for number in numbers)


def _log(number: int) -> str:
    return f"log/{number % MAX_COMMANDS:02X}"
