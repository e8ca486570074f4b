"""How commands reach a device over a link of APDUs: in extended form only where both ends have said so.

A link that could carry extended length is no promise of the device: what it takes stands in 7F66 of its answer to
SELECT. Where that is missing, long commands are chained and long answers collected.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, final

from keywright.aliro.messages import Ins, Proprietary, parse_selected
from keywright.errors import DecodeError
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.layers import Exchange, transmit
from keywright.iso7816.status import SW

_OVERHEAD: Final = 9
"""Header, Lc and Le of an extended command."""


@final
class _Short:
    """A link whose extended length is not to be used."""

    extended = False

    def __init__(self, link: Exchange) -> None:
        self.exchange = link.exchange


def transmit_as_announced(link: Exchange) -> Callable[[Command], Response]:
    """`iso7816.layers.transmit` for one device after the other; each SELECT says anew what the device takes."""
    short, long = transmit(_Short(link)), transmit(link)
    longest = 0

    def send(command: Command) -> Response:
        nonlocal longest
        if command.ins != Ins.SELECT:
            return (long if len(command.data) + _OVERHEAD <= longest else short)(command)
        response = short(command)
        announced = _longest_command(response)
        if announced is not None:
            longest = announced
        return response

    return send


def _longest_command(response: Response) -> int | None:
    """Bytes of the longest command APDU that a device takes in extended form, 0 for none; None: nothing is said."""
    if response.sw != SW.OK:
        return 0
    try:
        proprietary = parse_selected(response.data)[0].proprietary
        if proprietary is None:  # the step-up AID says nothing of it
            return None
        extended = Proprietary.parse(proprietary).extended
    except DecodeError:
        return 0
    return int.from_bytes(extended.limits[0]) if extended is not None and len(extended.limits) == 2 else 0
