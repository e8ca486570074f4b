"""The mailbox of a credential: reads, writes and fills, kept at once or when an atomic session ends.

What happens to a request of which one operation is out of range is not public; here nothing of it is done, and an
atomic session that it belongs to is rolled back.
"""

from __future__ import annotations

from typing import Final, final

from keywright.aliro.exchange import ExchangeAnswer, MailboxRequest, MailboxStatus, Read, Write

LARGEST: Final = 0xFFFF
"""Bytes of the largest mailbox; offsets have two bytes."""
MOST_READ: Final = 8192
"""Bytes that one request may read. A request of 2000 bytes could ask for the whole mailbox hundreds of times."""


@final
class Mailbox:
    """The content as one transaction sees it. `kept` is what must be durable; `open` has more while a session lasts."""

    __slots__ = ("_open", "kept")

    def __init__(self, content: bytes) -> None:
        """content: what is kept; its size is the size of the mailbox."""
        self.kept = content
        self._open: bytearray | None = None

    @property
    def is_atomic(self) -> bool:
        """Whether an atomic session is open."""
        return self._open is not None

    def run(self, request: MailboxRequest) -> ExchangeAnswer:
        """Do a request. What it makes durable is in `kept` after it."""
        content = bytearray(self.kept) if self._open is None else self._open
        self._open = None
        reads: list[bytes] = []
        for operation in request.operations:
            size = len(operation.data) if isinstance(operation, Write) else operation.size
            end = operation.offset + size
            if end > len(content):
                return ExchangeAnswer(status=MailboxStatus.OUT_OF_RANGE)
            if isinstance(operation, Read):
                if sum(map(len, reads)) + size > MOST_READ:
                    return ExchangeAnswer(status=MailboxStatus.OUT_OF_RANGE)
                reads.append(bytes(content[operation.offset : end]))
            elif isinstance(operation, Write):
                content[operation.offset : end] = operation.data
            else:
                content[operation.offset : end] = bytes((operation.value,)) * size
        if request.continues:
            self._open = content
        else:
            self.kept = bytes(content)
        return ExchangeAnswer(tuple(reads))
