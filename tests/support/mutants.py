"""What a mutant is: our own side with one rule taken out, and what the scenarios of conformance must say of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from keywright.crypto.ec import EcPublicKey

Patch = pytest.MonkeyPatch
Handle = Callable[[bytes], bytes]


class Mutant(NamedTuple):
    """One broken side."""

    name: str
    finds: tuple[str, ...]
    """Scenarios that each must find it; of a family, at least one."""
    patch: Callable[[Patch], object] = lambda _: None
    edge: Callable[[Handle], Handle] = lambda handle: handle
    """Of a device: what stands before it."""


def any_signature(usage: bytes) -> Callable[[Patch], object]:
    """Every signature over a message with this usage is good."""
    verify = EcPublicKey.verify

    def loose(key: EcPublicKey, signature: bytes, message: bytes, *more: Any, **named: Any) -> None:
        if usage not in message:
            verify(key, signature, message, *more, **named)

    return lambda patch: patch.setattr(EcPublicKey, "verify", loose)
