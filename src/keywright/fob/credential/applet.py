"""On-card side of the credential applet; `docs/credential-applet.md` says what each command does.

Records: `key` (PKCS#8 of the private key), `point`, and one for each data group that was written.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, final

from keywright.codec.tlv import item
from keywright.crypto.ec import EcPrivateKey
from keywright.element.applet import Context
from keywright.fob.credential.messages import (
    CHALLENGE_BYTES,
    CREDENTIAL_AID,
    SIGN_P1,
    SIGN_P2,
    SIGN_PREFIX,
    Dgi,
    Fci,
    Ins,
    PublicKey,
)
from keywright.fob.data_groups import stored_groups
from keywright.globalplatform.messages import Ins as GpIns
from keywright.globalplatform.messages import Tag
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.channels import is_gp
from keywright.iso7816.refusal import Refusal
from keywright.iso7816.status import SW
from keywright.scp.level import Level


@final
class CredentialApplet:
    """A P-256 key pair made on card, and what belongs to it. Keeps no state of its own."""

    aid = CREDENTIAL_AID

    def select(self, context: Context) -> bytes:
        """File control information with the AID."""
        del context
        return item(Tag.FCI, Fci(CREDENTIAL_AID).build())

    def process(self, command: Command, context: Context) -> Response:
        """Answer by the table; whatever is not in it is refused with 6D00."""
        entry = COMMANDS.get(command.ins)
        if entry is None:
            raise Refusal(SW.INS_NOT_SUPPORTED)
        if command.ins != GpIns.STORE_DATA:
            context.volatile.clear()
        return entry(command, context)


def _generate(command: Command, context: Context) -> Response:
    """Make the key pair, once."""
    context.require(Level.C_MAC)
    _expect(command, 0x00, 0x00)
    _expect_no_data(command)
    if context.read("key") is not None:
        raise Refusal(SW.CONDITIONS_NOT_SATISFIED)
    key = EcPrivateKey.generate("P-256")
    context.write("key", key.to_pkcs8())
    context.write("point", key.public.point)
    return Response(_public_key(key.public.point))


def _sign(command: Command, context: Context) -> Response:
    """Prove possession of the private key over a challenge of 32 bytes."""
    _expect(command, SIGN_P1, SIGN_P2)
    if len(command.data) != CHALLENGE_BYTES:
        raise Refusal(SW.WRONG_LENGTH)
    stored = context.read("key")
    if stored is None:
        raise Refusal(SW.CONDITIONS_NOT_SATISFIED)
    return Response(EcPrivateKey.from_pkcs8(stored, "P-256").sign(SIGN_PREFIX + command.data))


def _get_data(command: Command, context: Context) -> Response:
    """Public key or data group; the GlobalPlatform class returns the object, the ISO class its value."""
    _expect_no_data(command)
    tag = command.p1 << 8 | command.p2
    if tag == Dgi.PUBLIC_KEY:
        point = context.read("point")
        value = None if point is None else PublicKey(point).build()
    else:
        value = context.read(_record(tag)) if tag in Dgi.WRITABLE else None
    if value is None:
        raise Refusal(SW.REFERENCED_DATA_NOT_FOUND)
    return Response(item(tag, value) if is_gp(command.cla) else value)


def _store_data(command: Command, context: Context) -> Response:
    """Gather blocks in order; the last one writes every group of the chain at once."""
    for tag, value in stored_groups(command, context, Dgi.WRITABLE) or ():
        context.write(_record(tag), value)
    return Response(b"")


def _expect(command: Command, p1: int, p2: int) -> None:
    if (command.p1, command.p2) != (p1, p2):
        raise Refusal(SW.INCORRECT_P1P2)


def _expect_no_data(command: Command) -> None:
    if command.data:
        raise Refusal(SW.INCORRECT_DATA)


def _record(tag: int) -> str:
    return f"{tag:04X}"


def _public_key(point: bytes) -> bytes:
    return item(Dgi.PUBLIC_KEY, PublicKey(point).build())


COMMANDS: Final[dict[int, Callable[[Command, Context], Response]]] = {
    Ins.GENERATE_KEY_PAIR: _generate,
    Ins.SIGN: _sign,
    GpIns.GET_DATA: _get_data,
    GpIns.STORE_DATA: _store_data,
}
"""Every instruction the applet knows."""
