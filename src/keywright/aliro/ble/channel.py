"""One end of the L2CAP channel: messages out of a stream of octets, in clear and then sealed with BleSK (11.8).

An SDU is not taken for a message: a stack may put several into one, or end one in the next.
"""

from __future__ import annotations

from typing import Final, NamedTuple, final

from keywright.aliro.ble.messages import ACCESS_PROTOCOL, HEADER_BYTES, THIRD_PARTY, Envelope
from keywright.aliro.keys import DerivationKey, Direction, Mode, ble_keys
from keywright.errors import WireError

LONGEST: Final = 0xFFFF
"""Octets of a message's payload as it travels: what its length can say."""
TAG_BYTES: Final = 16


class Versions(NamedTuple):
    """What was negotiated over GATT, and goes into the keys."""

    published: bytes
    """The reader's versions as its characteristic has them."""
    selected: int
    """The one that the device wrote."""


@final
class MessageChannel:
    """Messages of one end. Sealed from `protect` on; AP messages never are."""

    __slots__ = ("_in", "_is_reader", "_out", "_partial")

    def __init__(self, *, is_reader: bool) -> None:
        self._is_reader = is_reader
        self._partial = b""
        self._out: Direction | None = None
        self._in: Direction | None = None

    @property
    def is_protected(self) -> bool:
        """Whether messages are sealed."""
        return self._out is not None

    @property
    def is_inside(self) -> bool:
        """Whether the last octets received do not end a message."""
        return bool(self._partial)

    def protect(self, ble: DerivationKey, versions: Versions) -> None:
        """Seal what is sent, and open what is received, from now on; both counters begin at 1."""
        reader, device = ble_keys(ble, versions.published, versions.selected)
        to_device = Direction(reader, Mode.TO_DEVICE, seals_empty=True)
        to_reader = Direction(device, Mode.TO_READER, seals_empty=True)
        self._out, self._in = (to_device, to_reader) if self._is_reader else (to_reader, to_device)

    def split(self, data: bytes) -> list[Envelope]:
        """The messages that these octets complete, as they travelled. Raises WireError for what cannot be a header."""
        stream = self._partial + data
        found = []
        while len(stream) >= HEADER_BYTES:
            size = int.from_bytes(stream[2:HEADER_BYTES])
            if stream[0] > THIRD_PARTY:
                self._partial = b""
                raise WireError(f"a message of protocol {stream[0]}: the channel is out of step")
            end = HEADER_BYTES + size
            if len(stream) < end:
                break
            found.append(Envelope.parse(stream[:end]))
            stream = stream[end:]
        self._partial = stream
        return found

    def open(self, frame: Envelope) -> Envelope:
        """The message in clear. Raises AuthenticationError, after which no other is opened."""
        if self._in is None or frame.protocol == ACCESS_PROTOCOL:
            return frame
        header = _header(frame.protocol, frame.id, max(0, len(frame.payload) - TAG_BYTES))
        return Envelope(frame.protocol, frame.id, self._in.open(frame.payload, header))

    def seal(self, frame: Envelope) -> bytes:
        """The message as it travels. Raises ValueError when it is too long, SequenceError at the counters' end."""
        payload = frame.payload
        if self._out is not None and frame.protocol != ACCESS_PROTOCOL:
            payload = self._out.seal(payload, _header(frame.protocol, frame.id, len(payload)))
        if len(payload) > LONGEST:
            raise ValueError(f"a message with {len(payload)} octets; {LONGEST} are the most")
        return Envelope(frame.protocol, frame.id, payload).build()

    def forget(self) -> None:
        """Drop keys and what was received in part."""
        self._out = self._in = None
        self._partial = b""


def _header(protocol: int, message_id: int, size: int) -> bytes:
    """What is authenticated: the header with the length of the plaintext."""
    return bytes((protocol, message_id)) + size.to_bytes(2)
