"""What the fob's own applets, and a phone's commands, add to the words for GlobalPlatform exchanges."""

from __future__ import annotations

from typing import Final

from keywright.errors import DecodeError
from keywright.fob.credential.messages import Dgi, Ins, PublicKey
from keywright.globalplatform.describe import DataObject, Lines, describe
from keywright.globalplatform.explain import Knowledge
from keywright.globalplatform.instructions import Instruction, objects_or_hex
from keywright.globalplatform.messages import unwrapped
from keywright.globalplatform.packets import packet_lines
from keywright.iso7816.apdu import Command
from keywright.scp.scp80.download import ENVELOPE, FETCH, TERMINAL_RESPONSE
from keywright.scp.scp80.terminal import TERMINAL_PROFILE


def _public_key(_: Command, data: bytes) -> Lines:
    return describe(PublicKey.parse(unwrapped(Dgi.PUBLIC_KEY, data)))


def _packet(data: bytes) -> Lines:
    """An over-the-air packet by its header, whatever else by its objects."""
    try:
        yield from list(packet_lines(data))
    except DecodeError:
        yield from objects_or_hex(data)


def _packet_answered(_: Command, data: bytes) -> Lines:
    return _packet(data)


KNOWN: Final = Knowledge(
    {
        Ins.GENERATE_KEY_PAIR: Instruction("GENERATE KEY PAIR", answered=_public_key),
        Ins.SIGN: Instruction("SIGN"),
        ENVELOPE: Instruction(
            "ENVELOPE", asked=lambda command: _packet(command.data), answered=lambda _, data: _packet(data)
        ),
        TERMINAL_PROFILE: Instruction("TERMINAL PROFILE"),
        FETCH: Instruction("FETCH", answered=_packet_answered),
        TERMINAL_RESPONSE: Instruction("TERMINAL RESPONSE"),
    },
    {
        Dgi.CERTIFICATE: DataObject("device certificate"),
        Dgi.OWNER_GROUP: DataObject("owner group"),
        Dgi.CONFIGURATION: DataObject("configuration"),
        Dgi.PUBLIC_KEY: DataObject("public key", PublicKey),
    },
)
"""To be given to `explain`, `explain_response` and `Transcript`."""
