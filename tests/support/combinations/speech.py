"""What a host says in the sessions of the combinations: one command with data, one without, and what must come back."""

from __future__ import annotations

from collections.abc import Generator

from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.channels import with_channel
from keywright.scp.level import Level
from keywright.scp.session import HostSession
from support.cards import ISD

VALUE = b"value"


def exchange(host: HostSession, *, owner: bool) -> Generator[Command, Response, bool]:
    """Write a data object and read it; where no C-MAC allows that, ask what domain this is, and for CPLC data.

    owner: whether the session is with the owner of the security domain; others read only. Whether both answers were
    what they must be: that is for the end, for an answer may turn out to be forged only then.
    """
    cla = with_channel(0x80, host.channel)
    if owner and host.level & Level.C_MAC:
        written = yield from host.secure(Command(cla, 0xE2, 0x90, 0x00, b"\xdf\x01\x05" + VALUE))
        read = yield from host.secure(Command(cla, 0xCA, 0xDF, 0x01, b"", 0))
        return (written, read) == (Response(b""), Response(b"\xdf\x01\x05" + VALUE))
    status = yield from host.secure(Command(cla, 0xF2, 0x80, 0x02, b"\x4f\x00", 0))
    cplc = yield from host.secure(Command(cla, 0xCA, 0x9F, 0x7F, b"", 0))
    return ISD in status.data and cplc.data.startswith(b"\x9f\x7f") and status.sw == cplc.sw == 0x9000
