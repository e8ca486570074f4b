"""What SCP10 puts on the wire (GlobalPlatform Card Specification 2.3.1, Appendix F)."""

from __future__ import annotations

from typing import Annotated, Final

from keywright.codec.record import Record, raw
from keywright.codec.tlv import Others, Template, tag

SCP10: Final = 0x10
"""Protocol identifier: the names of the protocols are hexadecimal."""

MANAGE_SECURITY_ENVIRONMENT: Final = 0x22
PERFORM_SECURITY_OPERATION: Final = 0x2A
EXTERNAL_AUTHENTICATE: Final = 0x82
GET_CHALLENGE: Final = 0x84
INTERNAL_AUTHENTICATE: Final = 0x88
GET_DATA: Final = 0xCA
GET_DATA_FILE: Final = 0xCB
"""GET DATA of a file, in an ISO class (GPCS F.4)."""

EXTERNAL_ONLY: Final = 0x81
"""P1 of MANAGE SECURITY ENVIRONMENT: only the host is authenticated (GPCS F.4)."""
MUTUAL: Final = 0xC1
"""P1 of MANAGE SECURITY ENVIRONMENT: host and card are authenticated (GPCS F.4)."""
NO_CERTIFICATES: Final = 0xA4
"""P2 of MANAGE SECURITY ENVIRONMENT: the card knows the host's key already (GPCS F.4)."""
CERTIFICATES: Final = 0xB6
"""P2 of MANAGE SECURITY ENVIRONMENT: certificates follow (GPCS F.4)."""

SELF_DESCRIPTIVE: Final = 0xBE
"""P2 of PERFORM SECURITY OPERATION [verify certificate]: TLV objects are certified (GPCS F.4)."""
NOT_SELF_DESCRIPTIVE: Final = 0xAE
"""P2 of PERFORM SECURITY OPERATION [verify certificate]: concatenated values are certified (GPCS F.4)."""
DECIPHER_P1: Final = 0x80
"""P1 of PERFORM SECURITY OPERATION [decipher]: plain value returned or used (GPCS F.4)."""
DECIPHER_P2: Final = 0x84
"""P2 of PERFORM SECURITY OPERATION [decipher]: the data field is a bare cryptogram (GPCS F.4)."""

MAC_KEY: Final = 0xB4
"""Control reference template of a MAC key (GPCS F.1.4)."""
CIPHER_KEY: Final = 0xB8
"""Control reference template of a cipher key (GPCS F.1.4)."""

SECRET_BYTES: Final = 32
"""Length of OES and CS, the halves of the agreed secret (GPCS F.1.4.3)."""
IDENTIFIER_BYTES: Final = 8
"""Length of the card's and the host's identifier in what is signed (GPCS F.1.4.3)."""
ALGORITHM: Final = 0x1000
"""What stands before "i" in tag 80 of MANAGE SECURITY ENVIRONMENT: SCP10 (GPCS F.4)."""


class I:  # noqa: E742 - the standard's own name
    """Bits of the "i" parameter (GPCS F.1.2)."""

    AGREEMENT: Final = 0x01
    """Session keys are agreed; else the host makes and transports them."""
    NO_RECOVERY: Final = 0x02
    """Signatures are PKCS#1 v1.5; else they recover the message (ISO/IEC 9796-2 scheme 1)."""


I_VALUES: Final = (0x00, 0x01, 0x02, 0x03)
"""Every "i" there is; a card has to offer 01 or 02 (GPCS F.1.2)."""


def challenge_bytes(i: int) -> int:
    """Length of a challenge: 8 bytes with key agreement, 16 with key transport (GPCS F.4)."""
    return 8 if i & I.AGREEMENT else 16


class SecurityEnvironment(Template, frozen=True):
    """Data of MANAGE SECURITY ENVIRONMENT (GPCS F.4). An absent or empty reference is the default key."""

    algorithm: Annotated[int, tag(0x80, size=2)]
    """10, then "i"."""
    public_key: Annotated[bytes | None, tag(0x83)] = None
    """Key that verifies the first certificate, or the host's own key when no certificate follows."""
    private_key: Annotated[bytes | None, tag(0x84)] = None
    """The card's key."""


class ControlReference(Template, frozen=True):
    """What one session key is for, and the key itself with key transport (GPCS F.1.4)."""

    strict = True

    usage: Annotated[int, tag(0x95, size=1)]
    key_type: Annotated[int | None, tag(0x80, size=1)] = None
    key: Annotated[bytes | None, tag(0xD1)] = None
    """Key transport: 16 or 24 bytes."""
    counter: Annotated[bytes | None, tag(0x91), raw(8)] = None
    """Key transport, MAC keys: where the counter of the ICV starts."""

    def __repr__(self) -> str:
        """Without the key."""
        return f"ControlReference(usage={self.usage:02X}, {'no key' if self.key is None else 'a key'})"


class SecurityParameters(Template, frozen=True):
    """Security level and control reference templates, which the host signs (GPCS F.1.4). Their order counts."""

    level: Annotated[int, tag(0xD3, size=1)]
    references: Annotated[tuple[tuple[int, bytes], ...], Others()] = ()
    """(`MAC_KEY` or `CIPHER_KEY`, content)."""

    def __repr__(self) -> str:
        """Without the content, where the keys are."""
        return f"SecurityParameters(level={self.level:02X}, {len(self.references)} references)"


class InternalAuthenticate8(Record, frozen=True):
    """Data of INTERNAL AUTHENTICATE with key agreement (GPCS F.4)."""

    challenge: Annotated[bytes, raw(8)]
    host_identifier: Annotated[bytes, raw(8)]


class InternalAuthenticate16(Record, frozen=True):
    """Data of INTERNAL AUTHENTICATE with key transport (GPCS F.4)."""

    challenge: Annotated[bytes, raw(16)]
    host_identifier: Annotated[bytes, raw(8)]


class ProtectedCommand(Template, frozen=True):
    """Data field of a command under secure messaging (GPCS F.3.2, ISO 7816-4)."""

    strict = True

    plain: Annotated[bytes | None, tag(0x81)] = None
    """Data, when only a MAC protects it."""
    cryptogram: Annotated[bytes | None, tag(0x87)] = None
    """01, then the encrypted data, under the MAC."""
    bare_cryptogram: Annotated[bytes | None, tag(0x86)] = None
    """01, then the encrypted data, without a MAC."""
    le: Annotated[bytes | None, tag(0x97)] = None
    """Le, under the MAC."""
    bare_le: Annotated[bytes | None, tag(0x96)] = None
    """Le, without a MAC."""
    mac: Annotated[bytes | None, tag(0x8E), raw(8)] = None


class ProtectedResponse(Template, frozen=True):
    """Data field of an answer under secure messaging (GPCS F.3.2, ISO 7816-4)."""

    strict = True

    plain: Annotated[bytes | None, tag(0x81)] = None
    cryptogram: Annotated[bytes | None, tag(0x87)] = None
    bare_cryptogram: Annotated[bytes | None, tag(0x86)] = None
    sw: Annotated[bytes | None, tag(0x99), raw(2)] = None
    mac: Annotated[bytes | None, tag(0x8E), raw(8)] = None


class PublicKeyObject(Template, frozen=True):
    """Public key of a self-descriptive certificate, value of 7F49 (ISO 7816-8, GPCS F.1.3)."""

    modulus: Annotated[bytes, tag(0x81)]
    exponent: Annotated[bytes, tag(0x82)]


class CertificateBody(Template, frozen=True):
    """What a self-descriptive certificate certifies (GPCS F.1.3.4)."""

    strict = True

    issuer: Annotated[bytes, tag(0x42)]
    holder: Annotated[bytes, tag(0x5F20)]
    authorisation: Annotated[bytes, tag(0x5F4C)]
    public_key: Annotated[PublicKeyObject, tag(0x7F49)]


class ContentCertificate(Template, frozen=True):
    """Non-self-descriptive certificate without message recovery, value of 7F21 (GPCS F.1.3.4)."""

    strict = True

    content: Annotated[bytes, tag(0x5F4E)]
    signature: Annotated[bytes, tag(0x9E)]


class RecoverableCertificate(Template, frozen=True):
    """Certificate with message recovery, value of 7F21: the signature carries the rest (GPCS F.1.3.4)."""

    strict = True

    remainder: Annotated[bytes, tag(0x5F38)]
    signature: Annotated[bytes, tag(0x9E)]
