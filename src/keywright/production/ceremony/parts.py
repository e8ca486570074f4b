"""The parts that custodians hold: components, or shares. How each travels from its custodian to the host.

A part is sealed on the custodian's own terminal to the key of the running host (`crypto.box`), for this ceremony, part
and person. The sealed box stands in the transcript. Only the host process can open it; when that process ends, nobody
can, and every part has to be entered again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, final

from keywright.codec.hexa import tohex, unhex
from keywright.crypto import shamir
from keywright.crypto.aes import AesKey
from keywright.crypto.box import open_box, seal_box
from keywright.crypto.compare import equal
from keywright.crypto.components import SIZES, Accumulator, Algorithm
from keywright.crypto.curve25519 import X25519Key
from keywright.crypto.des import TripleDesKey
from keywright.crypto.des_keys import check_des_key, odd_parity
from keywright.crypto.kcv import Kcv, ceremony_check_value, identifier
from keywright.crypto.key import Secret
from keywright.crypto.shamir import Share
from keywright.errors import AuthenticationError, DecodeError, PolicyError
from keywright.production.canonical import canonical
from keywright.production.ceremony.plan import Plan
from keywright.production.ceremony.progress import Ceremony
from keywright.production.ceremony.states import CeremonyError

KEK_BITS: Final = 256
"""Backups are wrapped under AES-256, whatever key they hold."""


def part_algorithm(plan: Plan) -> tuple[Algorithm, int]:
    """Algorithm and size in bytes of what the parts put together: the key, or the KEK of its backup."""
    if plan.kind in ("backup", "restore"):
        return "AES", KEK_BITS // 8
    return plan.algorithm, plan.bits // 8


@final
class Part(Secret):
    """One part, in a buffer that `wipe` overwrites."""

    __slots__ = ("_buffer", "check", "plan")

    def __init__(self, plan: Plan, data: bytes) -> None:
        """`data`: a component, or a share as it is written. Raises DecodeError or PolicyError for what is neither."""
        self.plan = plan
        self._buffer = bytearray(data)
        self.check = check_of_part(plan, data)

    @classmethod
    def drawn(cls, plan: Plan, rng: Callable[[int], bytes]) -> Part:
        """A new random component; one for a TDES key has odd parity, as the forms of other systems want it."""
        algorithm, size = part_algorithm(plan)
        while True:
            data = rng(size) if algorithm == "AES" else odd_parity(rng(size))
            if any(data):
                return cls(plan, data)

    @classmethod
    def typed(cls, plan: Plan, text: str) -> Part:
        """What a custodian typed: hex, blanks and colons between bytes as they like. It is never repeated."""
        return cls(plan, unhex(text.replace("-", " "), "the part"))

    def text(self) -> str:
        """For its custodian's paper: hex, four digits at a time."""
        digits = tohex(bytes(self._buffer))
        return " ".join(digits[at : at + 4] for at in range(0, len(digits), 4))

    def sealed(self, ceremony: Ceremony, index: int, rng: Callable[[int], bytes]) -> dict[str, Any]:
        """The facts of the line that brings it to the host; its check value is for nobody else yet."""
        purpose = purpose_of(ceremony.plan, index)
        box = seal_box(ceremony.host_key, bytes(self._buffer), purpose, rng)
        return {"index": index, "host_key": ceremony.host_key.hex(), "box": box.hex()}

    def wipe(self) -> None:
        """Overwrite it. Copies that Python made elsewhere are out of reach."""
        self._buffer[:] = bytes(len(self._buffer))

    def __repr__(self) -> str:
        return f"<part, {self.check}>"


def check_of_part(plan: Plan, data: bytes) -> Kcv:
    """Its own check value. Raises DecodeError for what is no part, PolicyError for a component of another length."""
    if plan.split == "shares":
        share = Share.parse(data)
        if (share.m, share.n) != (plan.needed, len(plan.custodians)):
            raise PolicyError(
                f"a share of a set of {share.m} of {share.n}, not {plan.needed} of {len(plan.custodians)}",
                hint="draft the ceremony for the set that the shares are of",
            )
        return identifier(b"keywright share", data)
    algorithm, size = part_algorithm(plan)
    if len(data) != size or size not in SIZES[algorithm]:
        raise PolicyError(
            f"a component has the full length of the key, {size} bytes, not {len(data)}",
            hint="halves of a key are no components",
        )
    return ceremony_check_value(AesKey(data) if algorithm == "AES" else TripleDesKey(data))


def purpose_of(plan: Plan, index: int) -> bytes:
    """What a box is sealed for: this ceremony, this part, this person."""
    return canonical(
        {"ceremony": plan.id, "plan": plan.digest, "index": index, "custodian": plan.custodians[index - 1]}
    )


class Combined(NamedTuple):
    """The key that the parts make, and the check value of each part by its index."""

    key: AesKey | TripleDesKey
    checks: dict[str, str]


def combine(ceremony: Ceremony, host_key: X25519Key) -> Combined:
    """The key of all parts that were loaded; every buffer is wiped.

    Raises CeremonyError naming the custodian whose part does not open, PolicyError or AuthenticationError if the parts
    are no key together.
    """
    opened = {index: _opened(ceremony, host_key, index) for index in sorted(ceremony.loads)}
    checks = {str(index): str(check_of_part(ceremony.plan, data)) for index, data in opened.items()}
    return Combined(_together(ceremony.plan, list(opened.values())), checks)


def _together(plan: Plan, parts: list[bytes]) -> AesKey | TripleDesKey:
    algorithm, size = part_algorithm(plan)
    if plan.split == "shares":
        raw = shamir.combine([Share.parse(data) for data in parts])
        if len(raw) != size:
            raise PolicyError(f"the shares hold a key of {len(raw) * 8} bits, not {size * 8}")
        return AesKey(raw, "combined key") if algorithm == "AES" else _tdes(raw)
    total = Accumulator(algorithm, size)
    try:
        for data in parts:
            total.add(data)
        return total.key()
    finally:
        total.wipe()


def _opened(ceremony: Ceremony, host_key: X25519Key, index: int) -> bytes:
    line = ceremony.loads[index]
    try:
        data = open_box(host_key, bytes.fromhex(line.facts["box"]), purpose_of(ceremony.plan, index))
        check_of_part(ceremony.plan, data)
    except (AuthenticationError, DecodeError, PolicyError, KeyError, TypeError, ValueError) as error:
        raise CeremonyError(f"part {index} of {line.person} does not open", hint="begin another ceremony") from error
    return data


def _tdes(raw: bytes) -> TripleDesKey:
    check_des_key(raw)
    return TripleDesKey(odd_parity(raw), "combined key")


@final
class Dealer(Secret):
    """The KEK of a backup and its shares, while they are dealt."""

    __slots__ = ("_shares", "kek", "plan")

    def __init__(self, plan: Plan, rng: Callable[[int], bytes]) -> None:
        raw = rng(KEK_BITS // 8)
        self.plan = plan
        self.kek = AesKey(raw, "backup KEK")
        self._shares: Sequence[Share] = shamir.split(
            raw, plan.needed, len(plan.custodians), rng(shamir.SET_ID_BYTES), rng
        )

    def dealt(self, ceremony: Ceremony, index: int, rng: Callable[[int], bytes]) -> dict[str, Any]:
        """The facts of the line that brings a share to the custodian who asked for it."""
        data = self._shares[index - 1].build()
        public = bytes.fromhex(ceremony.asked[index].facts["public"])
        box = seal_box(public, data, purpose_of(self.plan, index), rng)
        return {"index": index, "public": public.hex(), "box": box.hex()}

    def check(self, index: int) -> Kcv:
        """The check value of a share."""
        return check_of_part(self.plan, self._shares[index - 1].build())


@final
class Receiver(Secret):
    """A custodian's terminal that waits for a share."""

    __slots__ = ("_key", "index")

    def __init__(self, index: int, rng: Callable[[int], bytes]) -> None:
        self.index = index
        self._key = X25519Key(rng(32), "share key")

    def asking(self) -> dict[str, Any]:
        """The facts of the line that asks for it."""
        return {"index": self.index, "public": self._key.public.hex()}

    def received(self, ceremony: Ceremony) -> Part | None:
        """The share, None while it has not come. Raises AuthenticationError if it is not for this terminal."""
        line = ceremony.dealt.get(self.index)
        if line is None or line.facts.get("public") != self._key.public.hex():
            return None
        data = open_box(self._key, bytes.fromhex(line.facts["box"]), purpose_of(ceremony.plan, self.index))
        return Part(ceremony.plan, data)


def taken(ceremony: Ceremony, index: int, part: Part) -> dict[str, Any]:
    """The facts of the line by which a custodian says that the share is written down."""
    return {"index": index, "host_key": ceremony.host_key.hex(), "check": str(part.check)}


def same_part(part: Part, again: Part) -> bool:
    """Whether a custodian typed what is written: the check values cover every byte of both."""
    return equal(part.check.value, again.check.value)
