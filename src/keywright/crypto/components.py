"""A key in n components of its full length: all of them XORed are the key, all but one are nothing (ANSI X9.24-1).

Half a key is no component. Each component has its own check value, and so has the key.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Literal, TypeAlias, final

from keywright.crypto.aes import AesKey
from keywright.crypto.compare import equal
from keywright.crypto.des import TripleDesKey
from keywright.crypto.des_keys import check_des_key, odd_parity
from keywright.crypto.key import Secret
from keywright.errors import PolicyError

Algorithm: TypeAlias = Literal["AES", "TDES"]

SIZES: Final[dict[Algorithm, tuple[int, ...]]] = {"AES": (16, 24, 32), "TDES": (16, 24)}
LEAST: Final = 2
MOST: Final = 9
"""Key blocks number components with one digit."""


@final
class Accumulator(Secret):
    """The XOR of the components taken so far, in one buffer of its own that `wipe` overwrites."""

    __slots__ = ("_algorithm", "_buffer", "_seen", "count", "size")

    def __init__(self, algorithm: Algorithm, size: int) -> None:
        """`size`: of the key in bytes. Raises ValueError for a size that no key of the algorithm has."""
        if size not in SIZES[algorithm]:
            raise ValueError(f"no {algorithm} key has {size} bytes")
        self._algorithm = algorithm
        self._buffer = bytearray(size)
        self._seen: list[bytearray] = []
        self.size = size
        self.count = 0

    def add(self, component: bytes | bytearray) -> None:
        """XOR a component in. Raises PolicyError if it is not as long as the key, all zero, or one that was there.

        A component of zeros, or the same one twice, would leave the key to fewer persons than took part.
        """
        if len(component) != self.size:
            raise PolicyError(
                f"a component has the full length of the key, {self.size} bytes, not {len(component)}",
                hint="halves of a key are no components",
            )
        repeated = sum(equal(bytes(component), bytes(other)) for other in self._seen)
        if equal(bytes(component), bytes(self.size)) or repeated:
            raise PolicyError("the component is all zero or was given before", hint="make new components")
        if self.count >= MOST:
            raise PolicyError(f"a key has at most {MOST} components")
        self._seen.append(bytearray(component))
        for at, byte in enumerate(component):
            self._buffer[at] ^= byte
        self.count += 1

    def key(self) -> AesKey | TripleDesKey:
        """The key, a TDES key with odd parity. Raises PolicyError for fewer than 2 components or a weak DES key."""
        if self.count < LEAST:
            raise PolicyError(f"a key has at least {LEAST} components", hint="no person holds a key alone")
        raw = bytes(self._buffer)
        if self._algorithm == "AES":
            return AesKey(raw, "combined key")
        check_des_key(raw)
        return TripleDesKey(odd_parity(raw), "combined key")

    def wipe(self) -> None:
        """Overwrite what was taken. Copies that Python made elsewhere are out of reach."""
        for buffer in (self._buffer, *self._seen):
            buffer[:] = bytes(len(buffer))
        self._seen.clear()
        self.count = 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Accumulator) and equal(bytes(self._buffer), bytes(other._buffer))

    __hash__ = None  # type: ignore[assignment]  # a secret must not become a dictionary key by accident

    def __repr__(self) -> str:
        return f"<{self.count} components of {self._algorithm} {self.size * 8} bit>"


def combine(algorithm: Algorithm, components: Sequence[bytes | bytearray]) -> AesKey | TripleDesKey:
    """The key of all its components. Raises PolicyError as `Accumulator`."""
    if len(components) < LEAST:
        raise PolicyError(f"a key has at least {LEAST} components", hint="no person holds a key alone")
    size = len(components[0])
    if size not in SIZES[algorithm]:
        raise PolicyError(f"no {algorithm} key has {size} bytes", hint="halves of a key are no components")
    total = Accumulator(algorithm, size)
    try:
        for component in components:
            total.add(component)
        return total.key()
    finally:
        total.wipe()


def split(key: bytes, count: int, rng: Callable[[int], bytes]) -> tuple[bytes, ...]:
    """`count` components, 2 to 9, all but the last straight from `rng`. Raises ValueError for another count."""
    if not LEAST <= count <= MOST:
        raise ValueError(f"a key has {LEAST} to {MOST} components, not {count}")
    drawn = [rng(len(key)) for _ in range(count - 1)]
    last = int.from_bytes(key)
    for component in drawn:
        last ^= int.from_bytes(component)
    return (*drawn, last.to_bytes(len(key)))
