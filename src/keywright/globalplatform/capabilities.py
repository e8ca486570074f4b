"""What a card can do, as GET DATA 0067 tells it (GPCS H.4)."""

from __future__ import annotations

from typing import Annotated

from keywright.codec.tlv import Template, tag


class ChannelCapability(Template, frozen=True):
    """Inside A0: one secure channel protocol, the "i" values it is offered with, and its key sizes."""

    scp: Annotated[int, tag(0x80, size=1)]
    options: Annotated[bytes | None, tag(0x81)] = None
    key_sizes: Annotated[int | None, tag(0x82)] = None


class Capabilities(Template, frozen=True):
    """Inside 67. Algorithms are lists of one-byte identifiers, privileges the three bytes of GPCS table 11-7."""

    secure_channels: Annotated[tuple[ChannelCapability, ...], tag(0xA0)] = ()
    domain_privileges: Annotated[bytes | None, tag(0x81)] = None
    application_privileges: Annotated[bytes | None, tag(0x82)] = None
    hashes: Annotated[bytes | None, tag(0x83)] = None
    load_file_ciphers: Annotated[bytes | None, tag(0x84)] = None
    tokens: Annotated[bytes | None, tag(0x85)] = None
    receipts: Annotated[bytes | None, tag(0x86)] = None
    dap: Annotated[bytes | None, tag(0x87)] = None
    key_parameters: Annotated[bytes | None, tag(0x88)] = None
