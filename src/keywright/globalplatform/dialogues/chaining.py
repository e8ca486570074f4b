"""One command of any length: in parts, as GlobalPlatform chains them by P1 (GPCS 11.1.5, 11.2.2.1, 11.5.2.1, 11.8.2.1).

This is not the chaining of ISO 7816-4: the class stays, and bit b8 of P1 says on every part but the last that more
follows. Each part is protected by itself, so the parts are cut before secure messaging.
"""

from __future__ import annotations

from msgspec.structs import replace

from keywright.errors import WireError
from keywright.globalplatform.host import Dialogue
from keywright.globalplatform.messages import CHAINED, MORE_COMMANDS
from keywright.globalplatform.remedies import demand
from keywright.iso7816.apdu import Command
from keywright.iso7816.layers import SHORT_LC


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
