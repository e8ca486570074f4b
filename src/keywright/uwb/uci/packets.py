"""UCI packets: header, segments, and the stream they come in (UCI Generic Specification 4, as google/pica has it).

A control packet has four octets of header: message type (3 bits), packet boundary flag, group; opcode (6 bits);
reserved; length of the payload. A message longer than 255 octets goes in segments, all but the last with the flag. A
data packet says its format in place of the group and its length in the last two octets, little-endian.
"""

from __future__ import annotations

from typing import Final, NamedTuple, final

from keywright.errors import DecodeError

HEADER_BYTES: Final = 4
MOST_PAYLOAD: Final = 255
MOST_DATA_PAYLOAD: Final = 1024
MOST_MESSAGE: Final = 1 << 14
"""What we put together of segments at most."""

DATA: Final = 0
COMMAND: Final = 1
RESPONSE: Final = 2
NOTIFICATION: Final = 3
_TYPES: Final = {DATA: "data", COMMAND: "command", RESPONSE: "response", NOTIFICATION: "notification"}

_FLAG: Final = 0x10
_GROUP: Final = 0x0F
_OPCODE: Final = 0x3F


class Packet(NamedTuple):
    """A whole message: what its segments carry, put together."""

    type: int
    group: int
    """Of a data packet: its format."""
    opcode: int
    payload: bytes

    def __str__(self) -> str:
        return f"{_TYPES.get(self.type, self.type)} {self.group:X}.{self.opcode:02X}, {len(self.payload)} octets"


def build_packet(packet: Packet) -> bytes:
    """A message as it goes into the stream, in segments where it is long. Raises ValueError for what has no place."""
    if not (0 <= packet.type <= 7 and 0 <= packet.group <= _GROUP and 0 <= packet.opcode <= _OPCODE):
        raise ValueError(f"no UCI header for {packet}")
    most = MOST_DATA_PAYLOAD if packet.type == DATA else MOST_PAYLOAD
    payload = packet.payload
    parts = [payload[at : at + most] for at in range(0, len(payload), most)] or [b""]
    first = packet.type << 5 | packet.group
    out = []
    for number, part in enumerate(parts, 1):
        flag = _FLAG if number < len(parts) else 0
        length = len(part).to_bytes(2, "little") if packet.type == DATA else bytes((0, len(part)))
        out.append(bytes((first | flag, packet.opcode)) + length + part)
    return b"".join(out)


@final
class Reassembler:
    """Cuts a stream of octets into packets and puts segments together."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._parts = bytearray()
        self._key: tuple[int, int, int] | None = None
        self._whole: list[Packet] = []

    def feed(self, data: bytes) -> list[Packet]:
        """The messages that are now whole, in order.

        Raises DecodeError for a segment that does not belong to what was begun, and for a message longer than
        `MOST_MESSAGE`; what was begun is then forgotten, the packet at fault passed over, and what came before it is
        given out by the next call, with what comes after it.
        """
        self._buffer += data
        while (packet := self._cut()) is not None:
            joined = self._join(*packet)
            if joined is not None:
                self._whole.append(joined)
        whole, self._whole = self._whole, []
        return whole

    def _cut(self) -> tuple[Packet, bool] | None:
        buffer = self._buffer
        if len(buffer) < HEADER_BYTES:
            return None
        first, opcode = buffer[0], buffer[1] & _OPCODE
        kind = first >> 5
        size = int.from_bytes(buffer[2:4], "little") if kind == DATA else buffer[3]
        if len(buffer) < HEADER_BYTES + size:
            return None
        payload = bytes(buffer[HEADER_BYTES : HEADER_BYTES + size])
        del buffer[: HEADER_BYTES + size]
        return Packet(kind, first & _GROUP, opcode, payload), bool(first & _FLAG)

    def _join(self, packet: Packet, has_more: bool) -> Packet | None:  # noqa: FBT001 - what `_cut` gives
        key = packet[:3]
        if self._key is not None and key != self._key:
            begun, self._key, self._parts = self._key, None, bytearray()
            raise DecodeError(
                f"UCI: a segment of {key[1]:X}.{key[2]:02X} inside a message of {begun[1]:X}.{begun[2]:02X}"
            )
        self._parts += packet.payload
        if len(self._parts) > MOST_MESSAGE:
            self._key, self._parts = None, bytearray()
            raise DecodeError(f"UCI: a message of more than {MOST_MESSAGE} octets")
        if has_more:
            self._key = key
            return None
        payload, self._parts, self._key = bytes(self._parts), bytearray(), None
        return packet._replace(payload=payload)
