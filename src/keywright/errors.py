"""One tree of errors for the whole project.

Programming mistakes stay `TypeError`, `ValueError` and `AssertionError`; everything that a user, a peer or a
device can cause is a `KeywrightError` with a stable `code`, an exit code for the command line and a `hint`.
"""

from __future__ import annotations


class KeywrightError(Exception):
    """Root. `code` is a stable slug for --json, logs and docs; `hint` says what to do next."""

    code = "error"
    exit_code = 1
    hint = ""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        if hint:
            self.hint = hint


class UsageError(KeywrightError):
    """What the user gave (an option, a file, a URI) cannot be used as it is."""

    code = "usage"
    exit_code = 2


class OrderError(UsageError):
    """An order file is not usable; the message names file, line and column."""

    code = "order"


class RecipeError(UsageError):
    """A recipe is not usable; the message names file and line."""

    code = "recipe"


class DecodeError(KeywrightError, ValueError):
    """Bytes that do not parse. `offset` is the byte position, counted from the start of what was given."""

    code = "decode"
    exit_code = 6

    def __init__(self, message: str, offset: int = 0, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.offset = offset


class HexError(DecodeError):
    """Text that somebody typed or wrote is not the hex that is due. `offset` counts characters."""

    code = "hex"
    exit_code = 2


class WireError(KeywrightError):
    """The peer's bytes or behaviour break the protocol."""

    code = "wire"
    exit_code = 6


class SequenceError(WireError):
    """Right message, wrong state."""

    code = "sequence"


class StatusError(KeywrightError):
    """The device refused with a status word."""

    code = "status"
    exit_code = 6

    def __init__(self, sw: int, doing: str = "", *, meaning: str = "", hint: str = "") -> None:
        text = f"{doing or 'command'}: status {sw:04X}"
        super().__init__(f"{text} ({meaning})" if meaning else text, hint=hint)
        self.sw = sw


class AuthenticationError(KeywrightError):
    """MAC, signature, cryptogram or certificate not accepted. Never says which byte or which key matched."""

    code = "authentication"
    exit_code = 3


class PolicyError(KeywrightError):
    """Our own rules forbid it (key usage, downgrade, dual control, an unattended destructive step)."""

    code = "policy"
    exit_code = 5


class StoreError(KeywrightError):
    """A store, journal or keystore cannot be opened or used; nothing was changed."""

    code = "store"


class LinkError(KeywrightError):
    """Transport failed; `delivered` is True, False or None (unknown) and decides whether a retry is safe."""

    code = "link"
    exit_code = 4

    def __init__(self, message: str, delivered: bool | None = None, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.delivered = delivered
