"""What a host says in the sessions of the combinations: one command with data, one without, and what must come back.

The answers are compared only at the end: an answer may turn out to be forged then, with END R-MAC SESSION.
"""

from __future__ import annotations

from collections.abc import Generator

from keywright.globalplatform.messages import Tag
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.channels import with_channel
from keywright.scp.level import Level
from keywright.scp.session import HostSession
from support.cards import ISD

VALUE = b"value"
Speech = Generator[Command, Response, bool]
"""Whether both answers were what they must be."""


def exchange(host: HostSession) -> Speech:
    """Write a data object and read it; where no C-MAC allows that, ask which domain this is, and for CPLC data."""
    if not host.level & Level.C_MAC:
        return (yield from ask(host, Command(0x80, 0xF2, 0x80, 0x02, b"\x4f\x00", 0), ISD))
    cla = with_channel(0x80, host.channel)
    written = yield from host.secure(Command(cla, 0xE2, 0x90, 0x00, b"\xdf\x01\x05" + VALUE))
    read = yield from host.secure(Command(cla, 0xCA, 0xDF, 0x01, b"", 0))
    return (written, read) == (Response(b""), Response(b"\xdf\x01\x05" + VALUE))


def ask(host: HostSession, question: Command, answer: bytes) -> Speech:
    """A question, coded for channel 0, whose answer contains `answer`; then for CPLC data."""
    cla = with_channel(question.cla, host.channel)
    first = yield from host.secure(Command(cla, question.ins, question.p1, question.p2, question.data, question.le))
    cplc = yield from host.secure(Command(cla, 0xCA, Tag.CPLC >> 8, Tag.CPLC & 0xFF, b"", 0))
    return answer in first.data and cplc.data.startswith(b"\x9f\x7f") and first.sw == cplc.sw == 0x9000
