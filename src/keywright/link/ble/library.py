"""The library below: whether it is there, and its errors as ours."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

from keywright.errors import LinkError, UsageError


def require_bumble() -> None:
    """Raise UsageError if bumble is not installed."""
    try:
        import bumble  # noqa: F401, PLC0415 - loads only where Bluetooth is meant
    except ImportError as error:
        raise UsageError("Bluetooth needs bumble, which is not installed", hint="install keywright[ble]") from error


@contextlib.contextmanager
def errors_of(what: str, hint: str = "", *, delivered: bool | None = False) -> Iterator[None]:
    """Whatever bumble and the system below raise comes out as LinkError, `what` first."""
    from bumble.core import BaseBumbleError  # noqa: PLC0415 - loads only where Bluetooth is meant

    try:
        yield
    except (BaseBumbleError, OSError, asyncio.CancelledError) as error:
        task = asyncio.current_task()
        if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
            raise  # somebody cancelled us; bumble's own cancellations are lost connections
        why = str(error) or type(error).__name__
        raise LinkError(f"{what}: {why}", delivered=delivered, hint=hint) from error
