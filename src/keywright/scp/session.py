"""What a secure session is, whatever protocol opened it: the two ends as the rest of the house sees them.

The host end protects commands and opens answers; the card end does the reverse. Neither knows the other, and both
are made by the protocol's own room (`scp03`, `scp02`, `scp10`, `scp11`).
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Protocol

from keywright.iso7816.apdu import Command, Response


class Dek(Protocol):
    """What encrypts keys and other sensitive data on their way to a card (GPCS 11.8.2.3)."""

    @property
    def sensitive_block(self) -> int:
        """Bytes of a cipher block: 16 with AES, 8 with triple DES."""
        ...

    def encrypt_sensitive(self, data: bytes, /) -> bytes:
        """Whole blocks under the data encryption key. Raises ValueError for a rest: the caller pads."""
        ...


class HostSession(Dek, Protocol):
    """An open session, off-card end. `secure` is the layer to put under a dialogue."""

    @property
    def scp(self) -> int:
        """Protocol number: 02, 03, 10, 11."""
        ...

    @property
    def i(self) -> int:
        """The "i" parameter, as the card or the profile gave it."""
        ...

    @property
    def kvn(self) -> int:
        """Key version number that the session runs on; 0 where the protocol has none."""
        ...

    @property
    def channel(self) -> int:
        """Logical channel, 0 to 19."""
        ...

    @property
    def level(self) -> int:
        """Protection of commands and answers, the lower six bits of `Level`."""
        ...

    @property
    def is_open(self) -> bool:
        """Whether it can still be used."""
        ...

    @property
    def max_data(self) -> int:
        """Plain data bytes that fit one short command at this level."""
        ...

    def wrap(self, command: Command, /) -> Command:
        """Protect one command. Raises SequenceError when closed, ValueError when it does not fit."""
        ...

    def unwrap(self, response: Response, /) -> Response:
        """Check and open one answer. Raises AuthenticationError, after which the session is closed."""
        ...

    def secure(self, command: Command, /) -> Generator[Command, Response, Response]:
        """Layer for `through`: one command under this session. A lost answer closes it."""
        ...

    def close(self) -> None:
        """Forget the session; every later use raises SequenceError."""
        ...


class CardSession(Protocol):
    """A session, card end. After a `Refusal` from `unwrap` the caller drops it."""

    @property
    def scp(self) -> int:
        """Protocol number: 02, 03, 10, 11."""
        ...

    @property
    def level(self) -> int | None:
        """Protection of commands and answers, the lower six bits of `Level`; None until the host has authenticated."""
        ...

    @property
    def authentication(self) -> int:
        """Who the host is: `Level.AUTHENTICATED`, `Level.ANY_AUTHENTICATED`, or 0 for nobody (SCP11b)."""
        ...

    @property
    def sensitive_block(self) -> int:
        """Bytes of a cipher block of the data encryption key."""
        ...

    def unwrap(self, command: Command, /) -> Command:
        """Check and open one command; its class loses the secure messaging bit. Refuses with 6982."""
        ...

    def wrap(self, response: Response, /) -> Response:
        """Protect the answer to the command that was unwrapped last."""
        ...

    def decrypt_sensitive(self, data: bytes, /) -> bytes:
        """Open whole blocks under the data encryption key, padding left in place. Refuses with 6A80 for a rest."""
        ...

    def begin_r_mac(self, p1: int, data: bytes, /) -> None:
        """BEGIN R-MAC SESSION, its command already unwrapped. Refuses with 6985 (or as the protocol says)."""
        ...

    def end_r_mac(self, p2: int, /) -> bytes:
        """END R-MAC SESSION: data of the answer. Refuses with 6985 when none runs."""
        ...
