"""What SCP80 puts on the wire: the secured packets of ETSI TS 102 225, and their bindings (3GPP TS 31.115).

There is no session: every command packet stands alone, and the answer, the proof of receipt (PoR), refers to it.
"""

from __future__ import annotations

import enum
from typing import Annotated, Final, Self

import msgspec

from keywright.codec.ber import length, read_length
from keywright.codec.markers import Unsigned
from keywright.codec.record import U8, Record, Rest, raw
from keywright.errors import DecodeError

SCP80: Final = 0x80

COMMAND_HEADER: Final = 0x0D
"""CHL without RC, CC or DS: SPI 2, KIc 1, KID 1, TAR 3, CNTR 5, PCNTR 1 bytes (TS 102 225 5.1)."""
RESPONSE_HEADER: Final = 0x0A
"""RHL without RC, CC or DS: TAR 3, CNTR 5, PCNTR 1, status 1 bytes (TS 102 225 5.2)."""
LAST_COUNTER: Final = 0xFFFFFFFFFF
"""The counter has 5 bytes; at this value the key set is blocked for good (TS 102 225 5.1.4)."""


class Check(enum.IntEnum):
    """What proves that a packet is whole: nothing, a redundancy check, a cryptographic checksum, a signature."""

    NONE = 0
    RC = 1
    CC = 2
    DS = 3


class CounterMode(enum.IntEnum):
    """What the card does with CNTR (SPI1 b5b4)."""

    NONE = 0
    UNCHECKED = 1
    HIGHER = 2
    NEXT = 3


class PorMode(enum.IntEnum):
    """When the card answers (SPI2 b2b1)."""

    NEVER = 0
    ALWAYS = 1
    ON_ERROR = 2
    RESERVED = 3


class Status(enum.IntEnum):
    """Response status codes (TS 102 225 table 5). 0D to BF are reserved, C0 to FE proprietary."""

    OK = 0x00
    CHECK_FAILED = 0x01
    COUNTER_LOW = 0x02
    COUNTER_HIGH = 0x03
    COUNTER_BLOCKED = 0x04
    CIPHERING_ERROR = 0x05
    SECURITY_ERROR = 0x06
    NO_MEMORY = 0x07
    MORE_TIME = 0x08
    TAR_UNKNOWN = 0x09
    INSUFFICIENT_LEVEL = 0x0A
    BY_SMS_SUBMIT = 0x0B
    BY_USSD = 0x0C


UNAUTHENTICATED: Final = frozenset(
    {
        Status.CHECK_FAILED,
        Status.CIPHERING_ERROR,
        Status.SECURITY_ERROR,
        Status.TAR_UNKNOWN,
        Status.INSUFFICIENT_LEVEL,
    }
)
"""Errors found before the sender is known: a signed one would be known plaintext for a search of the key."""


def status_name(status: int) -> str:
    """A status in words, whether it has a name or not."""
    try:
        return Status(status).name.lower().replace("_", " ")
    except ValueError:
        return "proprietary" if 0xC0 <= status <= 0xFE else "reserved"


class Spi(msgspec.Struct, frozen=True):
    """Security parameter indicator: how the command is protected, and how its answer is to be (TS 102 225 5.1.1)."""

    first: int
    second: int

    @classmethod
    def of(
        cls,
        check: Check = Check.CC,
        *,
        ciphered: bool = True,
        counter: CounterMode = CounterMode.HIGHER,
        por: PorMode = PorMode.ALWAYS,
        por_check: Check = Check.CC,
        por_ciphered: bool = True,
        by_submit: bool = False,
    ) -> Self:
        """The two bytes for these choices; by default everything protected: 16 39 with `by_submit`, else 16 19."""
        first = check | ciphered << 2 | counter << 3
        return cls(first, por | por_check << 2 | por_ciphered << 4 | by_submit << 5)

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Of two bytes. Raises DecodeError for another length; reserved bits are kept, see `reserved`."""
        if len(data) != 2:
            raise DecodeError(f"SPI: {len(data)} bytes where 2 are due", len(data))
        return cls(data[0], data[1])

    def build(self) -> bytes:
        """The two bytes."""
        return bytes((self.first, self.second))

    @property
    def check(self) -> Check:
        """SPI1 b2b1."""
        return Check(self.first & 3)

    @property
    def ciphered(self) -> bool:
        """SPI1 b3."""
        return bool(self.first & 4)

    @property
    def counter(self) -> CounterMode:
        """SPI1 b5b4."""
        return CounterMode(self.first >> 3 & 3)

    @property
    def por(self) -> PorMode:
        """SPI2 b2b1."""
        return PorMode(self.second & 3)

    @property
    def por_check(self) -> Check:
        """SPI2 b4b3."""
        return Check(self.second >> 2 & 3)

    @property
    def por_ciphered(self) -> bool:
        """SPI2 b5."""
        return bool(self.second & 0x10)

    @property
    def by_submit(self) -> bool:
        """SPI2 b6: the answer comes as a message of its own (SMS-SUBMIT), not in the delivery report."""
        return bool(self.second & 0x20)

    @property
    def reserved(self) -> bool:
        """Whether a bit is set that has no meaning."""
        return bool(self.first & 0xE0 or self.second & 0xC0 or self.por == PorMode.RESERVED)


def meets(first: int, minimum: int) -> bool:
    """Whether SPI1 `first` is at least the minimum security level, field by field (TS 102 226 8.2.1.3.2.4.2)."""
    return all((first & mask) >= (minimum & mask) for mask in (0x03, 0x04, 0x18))


class CipherAlgorithm(enum.Enum):
    """What ciphers a packet (TS 102 225 5.1.2). The last one exists by arrangement only."""

    DES_CBC = "DES-CBC"
    TDES2_CBC = "3DES-CBC, two keys"
    TDES3_CBC = "3DES-CBC, three keys"
    DES_ECB = "DES-ECB"
    AES_CBC = "AES-CBC"
    TDES_ECB = "3DES-ECB"


class CheckAlgorithm(enum.Enum):
    """What RC and CC are computed with (TS 102 225 5.1.3). The last two exist by arrangement only."""

    CRC16 = "CRC16"
    CRC32 = "CRC32"
    DES_MAC = "DES-CBC MAC"
    TDES2_MAC = "3DES-CBC MAC, two keys"
    TDES3_MAC = "3DES-CBC MAC, three keys"
    CMAC = "AES-CMAC"
    XOR4 = "XOR4"
    XOR8 = "XOR8"


CIPHERS: Final = {
    0x1: CipherAlgorithm.DES_CBC,
    0x5: CipherAlgorithm.TDES2_CBC,
    0x9: CipherAlgorithm.TDES3_CBC,
    0xD: CipherAlgorithm.DES_ECB,
    0x2: CipherAlgorithm.AES_CBC,
}
"""Low nibble of KIc. With b2b1 = 00 both sides know the algorithm; everything else is reserved or proprietary."""
REDUNDANCY_CHECKS: Final = {0x1: CheckAlgorithm.CRC16, 0x5: CheckAlgorithm.CRC32}
"""Low nibble of KID for RC."""
CHECKSUMS: Final = {
    0x1: CheckAlgorithm.DES_MAC,
    0x5: CheckAlgorithm.TDES2_MAC,
    0x9: CheckAlgorithm.TDES3_MAC,
    0x2: CheckAlgorithm.CMAC,
}
"""Low nibble of KID for CC."""


def key_set_number(indicator: int) -> int:
    """Key version number in KIc or KID: 1 to F, 0 where both sides know it."""
    return indicator >> 4


def is_by_arrangement(indicator: int) -> bool:
    """Whether KIc or KID leaves the algorithm to what both sides know (b2b1 = 00)."""
    return not indicator & 3


class CommandBody(Record, frozen=True):
    """A command packet after CPL; `secured` begins with CNTR and is ciphered or not."""

    header_length: U8
    spi: Annotated[bytes, raw(2)]
    kic: U8
    kid: U8
    tar: Annotated[bytes, raw(3)]
    secured: Annotated[bytes, Rest()]


class ResponseBody(Record, frozen=True):
    """A response packet after RPL; `secured` begins with CNTR and is ciphered or not."""

    header_length: U8
    tar: Annotated[bytes, raw(3)]
    secured: Annotated[bytes, Rest()]


class SecuredCommand(Record, frozen=True):
    """What stands from CNTR on in a command: `rest` is RC/CC/DS, secured data and `pcntr` zero bytes."""

    cntr: Annotated[int, Unsigned(5)]
    pcntr: U8
    rest: Annotated[bytes, Rest()]


class SecuredResponse(Record, frozen=True):
    """What stands from CNTR on in a response: `rest` is RC/CC/DS, data and `pcntr` zero bytes."""

    cntr: Annotated[int, Unsigned(5)]
    pcntr: U8
    status: U8
    rest: Annotated[bytes, Rest()]


class Binding(msgspec.Struct, frozen=True):
    """How a packet lies in its transport (TS 31.115 4, TS 102 225 6 to 8).

    `before_response` is what enters the checksum of a response in front of its length: on SMS the user data header.
    `wide`: CPL and RPL are 2 bytes, else a BER length.
    """

    name: str
    command_identifier: bytes
    response_identifier: bytes
    before_response: bytes
    wide: bool

    def frame(self, identifier: bytes, body: bytes) -> bytes:
        """A body after its identifier and length. Raises ValueError when it is too long."""
        return self.before(identifier, len(body)) + body

    def before(self, identifier: bytes, size: int) -> bytes:
        """Identifier and length of a body of `size` bytes. Raises ValueError when that is too long."""
        if not self.wide:
            return identifier + length(size)
        if size > 0xFFFF:
            raise ValueError(f"a packet of {size} bytes; its length has 2 bytes")
        return identifier + size.to_bytes(2)

    def unframe(self, identifier: bytes, packet: bytes) -> bytes:
        """The body of one whole packet. Raises DecodeError."""
        body, rest = self.cut(identifier, packet)
        if rest:
            raise DecodeError(f"{len(rest)} bytes after the packet", len(packet) - len(rest))
        return body

    def cut(self, identifier: bytes, stream: bytes) -> tuple[bytes, bytes]:
        """The body of the first packet and what follows it: packets come one after the other. Raises DecodeError."""
        start, end = len(identifier), len(stream)
        if not stream.startswith(identifier):
            raise DecodeError(f"a packet on {self.name} starts with {identifier.hex().upper()}")
        if not self.wide:
            size, start = read_length(stream, start, end)
        elif end - start < 2:
            raise DecodeError("packet length cut short", end)
        else:
            size, start = int.from_bytes(stream[start : start + 2]), start + 2
        if size > end - start:
            raise DecodeError(f"a packet of {size} bytes, {end - start} are there", end)
        return stream[start : start + size], stream[start + size :]


COMMAND_IE: Final = 0x70
"""Information element of the user data header that marks a command packet (TS 31.115 4.1)."""
RESPONSE_IE: Final = 0x71
"""Likewise, a response packet."""
RESPONSE_UDH: Final = bytes.fromhex("027100")

SMS_PP: Final = Binding("SMS-PP", b"", b"", RESPONSE_UDH, wide=True)
CAT_TP: Final = Binding("CAT_TP", b"\x01", b"\x02", b"\x02", wide=False)
TCP_IP: Final = Binding("TCP/IP", b"\x01", b"\x02", b"\x02", wide=False)
USSD: Final = Binding("USSD", b"\x03", b"\x04", b"\x04", wide=False)
BINDINGS: Final = {binding.name: binding for binding in (SMS_PP, CAT_TP, TCP_IP, USSD)}
