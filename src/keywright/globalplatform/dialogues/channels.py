"""Logical channels from outside: MANAGE CHANNEL (ISO 7816-4 11.1.2, GPCS 11.7)."""

from __future__ import annotations

from keywright.errors import WireError
from keywright.globalplatform.channel_management import CARD_CHOOSES, CLOSE, MAX_CHANNEL, OPEN
from keywright.globalplatform.host import Dialogue
from keywright.globalplatform.messages import Ins
from keywright.globalplatform.remedies import demand
from keywright.iso7816.apdu import Command
from keywright.iso7816.channels import with_channel
from keywright.iso7816.status import SW


def open_logical_channel(number: int = CARD_CHOOSES, *, on: int = 0) -> Dialogue[int]:
    """Open a logical channel, from channel `on`; returns its number. Number 0: the card chooses.

    Raises ValueError for a number beyond 19, WireError when the card answers no usable number.
    """
    if not 0 <= number <= MAX_CHANNEL:
        raise ValueError(f"logical channels are 0 to {MAX_CHANNEL}, not {number}")
    command = Command(with_channel(0x00, on), Ins.MANAGE_CHANNEL, OPEN, number, b"", 0 if number else 1)
    answer = demand(command, (yield command), "MANAGE CHANNEL (open)")
    if number:
        return number
    if len(answer) != 1 or not 1 <= answer[0] <= MAX_CHANNEL:
        raise WireError(f"MANAGE CHANNEL opened channel {answer.hex() or 'nothing'}")
    return answer[0]


def close_logical_channel(number: int, *, on: int | None = None) -> Dialogue[bool]:
    """Close a logical channel; from itself unless `on` says another. False when it was closed already (6200)."""
    if not 1 <= number <= MAX_CHANNEL:
        raise ValueError(f"logical channels that can be closed are 1 to {MAX_CHANNEL}, not {number}")
    command = Command(with_channel(0x00, number if on is None else on), Ins.MANAGE_CHANNEL, CLOSE, number)
    response = yield command
    if response.sw == SW.LOGICAL_CHANNEL_CLOSED:
        return False
    demand(command, response, f"MANAGE CHANNEL (close {number})")
    return True
