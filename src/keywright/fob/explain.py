"""What the fob's own applets, and a phone's commands, add to the words for GlobalPlatform exchanges."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from keywright.aliro import messages as aliro
from keywright.codec.message import Message
from keywright.errors import DecodeError
from keywright.fob.aliro.messages import Dgi as AliroDgi
from keywright.fob.credential.messages import Dgi, Ins, PublicKey
from keywright.globalplatform.describe import DataObject, Lines, counted, describe
from keywright.globalplatform.explain import Knowledge
from keywright.globalplatform.instructions import Instruction, objects_or_hex
from keywright.globalplatform.messages import unwrapped
from keywright.globalplatform.packets import packet_lines
from keywright.iso7816.apdu import Command
from keywright.scp.scp80.download import ENVELOPE, FETCH, TERMINAL_RESPONSE
from keywright.scp.scp80.terminal import TERMINAL_PROFILE


def _public_key(_: Command, data: bytes) -> Lines:
    return describe(PublicKey.parse(unwrapped(Dgi.PUBLIC_KEY, data)))


def _asked(kind: type[Message] | None) -> Callable[[Command], Lines] | None:
    """The fields of an Aliro command; what a channel seals says nothing."""
    return None if kind is None else lambda command: describe(kind.parse(command.data))


def _answered(kind: type[Message] | None) -> Callable[[Command, bytes], Lines] | None:
    if kind is None:
        return lambda _, data: iter([("sealed", counted(data))] if data else [])
    return lambda _, data: describe(kind.parse(data))


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
        **{
            ins: Instruction(aliro.NAMES[ins], asked=_asked(kind), answered=_answered(answer))
            for ins, kind, answer in (
                (aliro.Ins.AUTH0, aliro.Auth0, aliro.Auth0Answer),
                (aliro.Ins.AUTH1, aliro.Auth1, None),
                (aliro.Ins.LOAD_CERT, None, None),
                (aliro.Ins.EXCHANGE, None, None),
                (aliro.Ins.CONTROL_FLOW, aliro.ControlFlow, None),
                (aliro.Ins.ENVELOPE, None, None),
            )
        },
        TERMINAL_PROFILE: Instruction("TERMINAL PROFILE"),
        FETCH: Instruction("FETCH", answered=_packet_answered),
        TERMINAL_RESPONSE: Instruction("TERMINAL RESPONSE"),
    },
    {
        Dgi.CERTIFICATE: DataObject("device certificate"),
        Dgi.OWNER_GROUP: DataObject("owner group"),
        Dgi.CONFIGURATION: DataObject("configuration"),
        Dgi.PUBLIC_KEY: DataObject("public key", PublicKey),
        AliroDgi.CREDENTIAL: DataObject("Aliro credential"),
        AliroDgi.ACCESS_DOCUMENT: DataObject("Access Document"),
        AliroDgi.REVOCATION_DOCUMENT: DataObject("Revocation Document"),
        AliroDgi.MAILBOX: DataObject("mailbox"),
    },
)
"""To be given to `explain`, `explain_response` and `Transcript`."""
