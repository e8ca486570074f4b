"""A device for tests of what carries bytes: it answers with what it was sent, and counts."""

from __future__ import annotations


class Echo:
    """Answers each command with itself and 9000; keeps what it saw since the last reset."""

    def __init__(self, atr: bytes = bytes.fromhex("3B80800101")) -> None:
        self.atr = atr
        self.seen: list[bytes] = []
        self.resets = 0

    def handle(self, request: bytes, /) -> bytes:
        """The request and 9000."""
        self.seen.append(request)
        return request + b"\x90\x00"

    def reset(self) -> None:
        """Count it and forget what was seen."""
        self.resets += 1
        self.seen.clear()


class Fixed(Echo):
    """Answers everything with the same bytes."""

    def __init__(self, answer: bytes) -> None:
        super().__init__()
        self.answer = answer

    def handle(self, request: bytes, /) -> bytes:
        """The fixed answer."""
        self.seen.append(request)
        return self.answer
