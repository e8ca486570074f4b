"""Out-of-band authentication: methods, their actions, and the value that both ends put in (MshPRT 5.4.2.4).

A value is `bytes` for a static OOB, `str` for an alphanumeric one, else a number.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, TypeAlias

import msgspec

from keywright.mesh.keys import Algorithm

Value: TypeAlias = bytes | str | int

LONGEST_SIZE: Final = 8
"""Digits, characters or, as a power of ten, blinks (MshPRT 5.4.1.2)."""
ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
"""Of alphanumeric values."""
OOB_KEY_AVAILABLE: Final = 0x01
"""Bit of Capabilities.public_key_type."""
STATIC_AVAILABLE: Final = 0x01
"""Bit of Capabilities.oob_type."""
OOB_ONLY: Final = 0x02
"""Bit of Capabilities.oob_type: nothing but OOB authenticated provisioning, and nothing but HMAC."""


class Method:
    """Authentication methods of Start (MshPRT 5.4.1.3)."""

    NONE: Final = 0
    STATIC: Final = 1
    OUTPUT: Final = 2
    INPUT: Final = 3


METHODS: Final = ("no OOB", "static OOB", "output OOB", "input OOB")
"""What each method is called."""
OUTPUT_ACTIONS: Final = ("blink", "beep", "vibrate", "numeric", "alphanumeric")
"""By number in Start and bit in Capabilities."""
INPUT_ACTIONS: Final = ("push", "twist", "numeric", "alphanumeric")
"""By number in Start and bit in Capabilities."""
_ACTIONS: Final = {Method.OUTPUT: OUTPUT_ACTIONS, Method.INPUT: INPUT_ACTIONS}


class Authentication(msgspec.Struct, frozen=True):
    """How the two ends authenticate each other: the last three octets of Start."""

    method: int = Method.NONE
    action: int = 0
    size: int = 0

    @property
    def is_valid(self) -> bool:
        """Whether Start may have it: known method and action; size 1 to 8 where there is a size, else both 0."""
        actions = _ACTIONS.get(self.method)
        if actions is None:
            return self.method in (Method.NONE, Method.STATIC) and not self.action and not self.size
        return self.action < len(actions) and 1 <= self.size <= LONGEST_SIZE

    @property
    def action_name(self) -> str:
        """The action as one word, empty where the method has none."""
        actions = _ACTIONS.get(self.method, ())
        return actions[self.action] if self.action < len(actions) else ""

    @property
    def is_text(self) -> bool:
        """Whether the value is alphanumeric."""
        return self.action_name == "alphanumeric"

    @property
    def takes_a_person(self) -> bool:
        """Whether somebody has to carry the value."""
        return self.method in _ACTIONS

    def entropy_bits(self) -> float:
        """How many bits somebody has to guess who does not see the value; 0 for a static value, which says nothing."""
        if not self.takes_a_person:
            return 0.0
        return self.size * math.log2(len(ALPHABET)) if self.is_text else math.log2(self.most)

    @property
    def most(self) -> int:
        """The largest number the value may be: 10^size - 1."""
        return int(10**self.size) - 1

    def accepts(self, value: Value) -> bool:
        """Whether such a value can be one of this method."""
        if self.method == Method.STATIC:
            return isinstance(value, bytes) and bool(value)
        if self.is_text:
            return isinstance(value, str) and len(value) == self.size and set(value) <= set(ALPHABET)
        return isinstance(value, int) and (0 if self.action_name == "numeric" else 1) <= value <= self.most

    def draw(self, random: Callable[[int], bytes]) -> Value:
        """A value for one session, every one as likely as any other (MshPRT 5.4.2.4).

        random(n): n random octets. Raises ValueError for a method without such a value.
        """
        if not self.takes_a_person:
            raise ValueError(f"{METHODS[self.method]} has no value of one session")
        if self.is_text:
            return "".join(ALPHABET[_below(len(ALPHABET), random)] for _ in range(self.size))
        least = 0 if self.action_name == "numeric" else 1
        return least + _below(self.most + 1 - least, random)

    def __str__(self) -> str:
        name = METHODS[self.method] if self.method < len(METHODS) else f"method {self.method}"
        return f"{name}, {self.action_name} of {self.size}" if self.takes_a_person else name


def auth_value(algorithm: Algorithm, value: Value = 0) -> bytes:
    """The AuthValue of `algorithm.size` octets (MshPRT 5.4.2.4.1).

    A number stands right, in zeros; octets and characters stand left, and what is too long is cut on the right.
    """
    if isinstance(value, int):
        return value.to_bytes(algorithm.size)
    octets = value.encode("ascii") if isinstance(value, str) else value
    return octets[: algorithm.size].ljust(algorithm.size, b"\x00")


def show(authentication: Authentication, value: Value) -> str:
    """A value as a person reads it: digits with leading zeros, characters, or how many times."""
    if isinstance(value, bytes):
        return value.hex()
    return str(value).zfill(authentication.size) if authentication.action_name == "numeric" else str(value)


def _below(limit: int, random: Callable[[int], bytes]) -> int:
    size = (limit.bit_length() + 7) // 8
    whole = 256**size // limit * limit
    while (number := int.from_bytes(random(size))) >= whole:
        pass
    return number % limit
