"""Off-card side of the credential applet: dialogues to be run under a secure channel, or plainly where reading."""

from __future__ import annotations

from keywright.errors import DecodeError, WireError
from keywright.fob.credential.messages import SIGN_P1, SIGN_P2, SIGN_PREFIX, Dgi, Ins, PublicKey
from keywright.globalplatform.host import Dialogue, get_value, store_data
from keywright.globalplatform.messages import build_dgi, unwrapped
from keywright.iso7816.apdu import Command
from keywright.iso7816.status import check


def generate_key_pair() -> Dialogue[bytes]:
    """Make a new P-256 key pair on the card and return its point, 65 bytes. Refused with 6985 when there is one."""
    response = yield Command(0x80, Ins.GENERATE_KEY_PAIR, 0x00, 0x00, b"", 0)
    return _point(check(response, "GENERATE KEY PAIR"))


def read_public_key() -> Dialogue[bytes | None]:
    """The point of the card's key pair, 65 bytes; None when none was generated."""
    value = yield from get_value(Dgi.PUBLIC_KEY)
    if value is None:
        return None
    try:
        return PublicKey.parse(value).point
    except DecodeError as error:
        raise WireError(f"public key of the card: {error}") from error


def _point(data: bytes) -> bytes:
    try:
        return PublicKey.parse(unwrapped(Dgi.PUBLIC_KEY, data)).point
    except DecodeError as error:
        raise WireError(f"GENERATE KEY PAIR: {error}") from error


def store(groups: tuple[tuple[int, bytes], ...], *, size: int) -> Dialogue[None]:
    """Write data groups with STORE DATA, at most `size` plain bytes a block."""
    yield from store_data(build_dgi(groups), size=size)


def read(group: int) -> Dialogue[bytes | None]:
    """Value of a data group; None when it was not written."""
    return (yield from get_value(group))


def sign(challenge: bytes) -> Dialogue[bytes]:
    """Have the card sign a challenge of 32 bytes with its private key; raw r || s, 64 bytes, over `signed_bytes`."""
    response = yield Command(0x80, Ins.SIGN, SIGN_P1, SIGN_P2, challenge, 0)
    return check(response, "PERFORM SECURITY OPERATION (sign)")


def signed_bytes(challenge: bytes) -> bytes:
    """What the card's signature covers (ECDSA with SHA-256)."""
    return SIGN_PREFIX + challenge
