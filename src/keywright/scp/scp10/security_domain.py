"""What the card end of SCP10 needs from the security domain around it, and the certificates it gives out."""

from __future__ import annotations

from typing import Final, Protocol

from keywright.codec.ber import spans
from keywright.crypto.rsa import RsaPrivateKey, RsaPublicKey
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.channels import is_gp
from keywright.iso7816.refusal import Refusal
from keywright.iso7816.status import SW
from keywright.scp.scp10.certificates import CERTIFICATE, Holder
from keywright.scp.scp10.messages import GET_DATA, GET_DATA_FILE
from keywright.scp.scp10.profile import Profile

_ALL: Final = b"\x5c\0"
"""Tag list of GET DATA: everything (GPCS F.4)."""


class SecurityDomain(Protocol):
    """What the initiation needs from the security domain that it serves."""

    @property
    def profile(self) -> Profile:
        """The readings of the specification that the card has taken."""
        ...

    @property
    def options(self) -> tuple[int, ...]:
        """Values of "i" that the domain offers; the first is meant when no MANAGE SECURITY ENVIRONMENT says which."""
        ...

    @property
    def identifier(self) -> bytes:
        """The 8 bytes of the holder reference of CERT.SD.AUT, see `Holder.identifier`."""
        ...

    @property
    def provider_id(self) -> bytes | None:
        """Holder reference (5F20) of the application's provider, registered for it; None when none is."""
        ...

    def private_key(self, reference: bytes, /) -> RsaPrivateKey | None:
        """SK.SD.AUT of that name; empty: the default. None when there is none."""
        ...

    def trust_point(self, reference: bytes, /) -> RsaPublicKey | None:
        """PK.TP_EX.AUT, or a key validated before, that verifies the first certificate; empty: the default."""
        ...

    def host_key(self, reference: bytes, /) -> Holder | None:
        """PK.OCE.AUT validated before; empty: the default. None when there is none."""
        ...

    def random(self, size: int, /) -> bytes:
        """That many random bytes."""
        ...

    @property
    def certificate(self) -> bytes | None:
        """CERT.SD.AUT, a 7F21 object; None when there is none."""
        ...

    def file(self, identifier: int, /) -> bytes | None:
        """Content of EF.OD (5031) or of a file that it names: the provider's own, stored and given out as it is."""
        ...


def get_data(domain: SecurityDomain, command: Command) -> Response:
    """GET DATA of the domain's certificate (7F21) or of its files (GPCS F.4); allowed at any time.

    GlobalPlatform class: INS CA, the whole object; ISO class: the value alone, files with INS CB. Refuses with 6A80 for
    data that is not 5C 00 where a file is asked for, 6A88 for what is not there.
    """
    number = command.p1 << 8 | command.p2
    if number == CERTIFICATE and command.ins == GET_DATA:
        encoded = _there(domain.certificate)
        return Response(encoded if is_gp(command.cla) else encoded[spans(encoded, 0, len(encoded))[0][1] :])
    if command.ins != (GET_DATA if is_gp(command.cla) else GET_DATA_FILE):
        raise Refusal(SW.REFERENCED_DATA_NOT_FOUND)
    if command.data != _ALL:
        raise Refusal(SW.INCORRECT_DATA)
    return Response(_there(domain.file(number)))


def _there(content: bytes | None) -> bytes:
    if content is None:
        raise Refusal(SW.REFERENCED_DATA_NOT_FOUND)
    return content
