"""Access messages: an opcode of one to three octets and parameters (MshPRT 3.7.3.1)."""

from __future__ import annotations

from typing import Final, NamedTuple

from keywright.errors import DecodeError

LONGEST: Final = 380
"""Octets of the longest access message, opcode included, with a TransMIC of 4."""
_TWO: Final = 0x80
_THREE: Final = 0xC0
_RESERVED: Final = 0x7F


class AccessMessage(NamedTuple):
    """An opcode and its parameters.

    opcode: 00 to 7E, 8000 to BFFF, or for a vendor's C0 to FF, then the company identifier as it goes on the air.
    """

    opcode: int
    parameters: bytes

    def build(self) -> bytes:
        """The message. Raises ValueError for an opcode that there is not, or a message that is too long."""
        size = opcode_size(self.opcode)
        built = self.opcode.to_bytes(size) + self.parameters
        if len(built) > LONGEST:
            raise ValueError(f"an access message has at most {LONGEST} octets, not {len(built)}")
        return built

    def __repr__(self) -> str:
        # The parameters of AppKey Add are a key.
        return f"<AccessMessage {self.opcode:0{2 * opcode_size(self.opcode)}X}, {len(self.parameters)} octets>"


def opcode_size(opcode: int) -> int:
    """How many octets an opcode has. Raises ValueError for one that there is not."""
    if 0 <= opcode < _RESERVED:
        return 1
    if _TWO << 8 <= opcode < _THREE << 8:
        return 2
    if _THREE << 16 <= opcode <= 0xFFFFFF:
        return 3
    raise ValueError(f"no opcode {opcode:X}")


def parse_access(data: bytes) -> AccessMessage:
    """An access message. Raises DecodeError for an opcode that is reserved or cut off."""
    if not data or data[0] == _RESERVED:
        raise DecodeError("an access message without an opcode, or with the reserved one")
    size = 1 if data[0] < _TWO else 2 if data[0] < _THREE else 3
    if len(data) < size:
        raise DecodeError("an access message whose opcode is cut off")
    return AccessMessage(int.from_bytes(data[:size]), data[size:])
