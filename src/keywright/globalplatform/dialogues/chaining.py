"""One command of any length: in parts, as GlobalPlatform chains them by P1 (GPCS 11.1.5, 11.2.2.1, 11.5.2.1, 11.8.2.1).

This is not the chaining of ISO 7816-4: the class stays, and bit b8 of P1 says on every part but the last that more
follows. In a session there are two readings. `send` cuts before secure messaging, so that each part is protected by
itself, as many hosts do. GPCS 11.1.5.1 has the command protected as a whole, its C-MAC at the end of the last part: for
that, give the dialogue a `size` of 65 535, code what is long extended above the session (`iso7816.layers.sized`), and
put `segmented` below it. The virtual element takes both.
"""

from __future__ import annotations

from collections.abc import Generator

from msgspec.structs import replace

from keywright.errors import WireError
from keywright.globalplatform.host import Dialogue
from keywright.globalplatform.messages import CHAINED, MORE_COMMANDS
from keywright.globalplatform.remedies import demand
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.layers import SHORT_LC
from keywright.iso7816.status import SW


def send(command: Command, doing: str, *, size: int = SHORT_LC) -> Dialogue[bytes]:
    """Send a command, in parts if its data are longer than `size` plain bytes; returns the data of the last answer.

    Raises StatusError with its likely cause when any part is refused, WireError when a card answers a part with data,
    ValueError for a long command that cannot be chained.
    """
    data = command.data
    if len(data) <= size:
        return demand(command, (yield command), doing)
    if command.ins not in CHAINED:
        raise ValueError(f"{len(data)} bytes do not fit {doing}, which takes {size} and has no parts")
    whole = (len(data) - 1) // size * size
    for at in range(0, whole, size):
        part = replace(command, p1=command.p1 | MORE_COMMANDS, data=data[at : at + size])
        if demand(part, (yield part), doing):
            raise WireError(f"{doing}: the card answered a part of the command with data")
    last = replace(command, p1=command.p1 & ~MORE_COMMANDS, data=data[whole:])
    return demand(last, (yield last), doing)


def segmented(command: Command) -> Generator[Command, Response, Response]:
    """Layer below secure messaging: a long command of `CHAINED`, protected as a whole, in short parts.

    A part that is refused ends the command, and its answer is the command's. Raises WireError when a card answers a
    part with data.
    """
    data = command.data
    if len(data) <= SHORT_LC or command.ins not in CHAINED:
        return (yield command)
    whole = (len(data) - 1) // SHORT_LC * SHORT_LC
    le = None if command.le is None else 0
    for at in range(0, whole, SHORT_LC):
        part = data[at : at + SHORT_LC]
        response = yield Command(command.cla, command.ins, command.p1 | MORE_COMMANDS, command.p2, part)
        if response.sw != SW.OK:
            return response
        if response.data:
            raise WireError(f"the card answered {len(response.data)} bytes to a part of a command")
    return (yield Command(command.cla, command.ins, command.p1, command.p2, data[whole:], le))
