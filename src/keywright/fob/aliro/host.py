"""Off-card side of the Aliro applet: dialogues to be run under a secure channel with the applet selected."""

from __future__ import annotations

from keywright.aliro.credential import GroupRecord
from keywright.errors import DecodeError, WireError
from keywright.fob.aliro.messages import Credential, Dgi, Ins, Numbered, PublicKey
from keywright.globalplatform.host import Dialogue, store_data
from keywright.globalplatform.messages import Ins as GpIns
from keywright.globalplatform.messages import build_dgi, unwrapped
from keywright.iso7816.apdu import Command
from keywright.iso7816.status import SW, check

__all__ = ["Credential", "Dgi", "GroupRecord", "generate_key_pair", "read", "read_public_key", "store"]


def generate_key_pair(number: int) -> Dialogue[bytes]:
    """Make the key pair of a credential on the card; its point, 65 bytes. Refused with 6985 when there is one."""
    response = yield Command(0x80, Ins.GENERATE_KEY_PAIR, number, 0x00, b"", 0)
    data = check(response, f"GENERATE KEY PAIR of credential {number}")
    return _point(unwrapped(Dgi.PUBLIC_KEY, data))


def read_public_key(number: int) -> Dialogue[bytes | None]:
    """The point of a credential's key pair, 65 bytes; None when none was generated."""
    content = yield from read(Dgi.PUBLIC_KEY, number)
    return None if content is None else _point(content)


def read(group: int, number: int) -> Dialogue[bytes | None]:
    """Content of a data group of a credential; None when it was not written. Raises StatusError, WireError."""
    response = yield Command(0x80, GpIns.GET_DATA, group >> 8, group & 0xFF, bytes((number,)), 0)
    if response.sw == SW.REFERENCED_DATA_NOT_FOUND:
        return None
    try:
        return unwrapped(group, check(response, f"GET DATA {group:04X} of credential {number}"))
    except DecodeError as error:
        raise WireError(f"GET DATA {group:04X}: {error}") from error


def store(number: int, contents: dict[int, bytes], *, size: int) -> Dialogue[None]:
    """Write data groups of a credential, all at once, at most `size` plain bytes a block. Raises StatusError."""
    groups = tuple((tag, Numbered(bytes((number,)), content).build()) for tag, content in contents.items())
    yield from store_data(build_dgi(groups), size=size)


def _point(content: bytes) -> bytes:
    try:
        return PublicKey.parse(content).point
    except DecodeError as error:
        raise WireError(f"public key of the card: {error}") from error
