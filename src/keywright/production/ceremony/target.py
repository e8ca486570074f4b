"""Where a ceremony's key goes or stands: what it asks of a keystore, whatever kind it is."""

from __future__ import annotations

from typing import Final, Literal, Protocol, TypeAlias, final

import msgspec

from keywright.crypto.aes import AesKey
from keywright.crypto.des import TripleDesKey
from keywright.crypto.kcv import Kcv
from keywright.crypto.key import Secret
from keywright.crypto.keyblocks import FREEDOM, Header, check_not_widened, check_strength
from keywright.errors import PolicyError
from keywright.production.ceremony.carried import Carried, Form
from keywright.production.ceremony.plan import Plan

WRAPPING: Final = ("K0", "K1", "K4")
"""Usages of keys whose only purpose is to wrap others."""

Kek: TypeAlias = str | AesKey
"""A wrapping key: the name of one in the keystore, or one that custodians put together."""


class Held(msgspec.Struct, frozen=True):
    """A key of the keystore: its check value by the keystore's rule, what it may do, and its size."""

    check: Kcv
    header: Header
    algorithm: Literal["AES", "TDES"]
    bits: int

    @property
    def strength(self) -> tuple[str, int]:
        """Algorithm and bits as the key block policy takes them."""
        return ("A" if self.algorithm == "AES" else "T"), self.bits


@final
class Pending(Secret):
    """A key that is there but not yet kept: nothing is left of it when the process ends.

    `inside`: how the keystore holds it. `check`: by the keystore's own rule.
    """

    __slots__ = ("bits", "check", "header", "inside")

    def __init__(self, inside: object, check: Kcv, header: Header, bits: int) -> None:
        self.inside = inside
        self.check = check
        self.header = header
        self.bits = bits

    def __repr__(self) -> str:
        return f"<key not yet kept, {self.check}>"


class Wrapped(msgspec.Struct, frozen=True):
    """A key wrapped: how, and as text."""

    form: Form
    text: str


class Target(Protocol):
    """A keystore as ceremonies use it. Nothing it hands out is a key in clear."""

    @property
    def uri(self) -> str:
        """As `--keystore` names it."""
        ...

    @property
    def test(self) -> bool:
        """Whether its keys protect nothing of value."""
        ...

    def find(self, name: str) -> Held | None:
        """The key of that name, None if there is none. A key that cannot be used by ceremonies is a PolicyError."""
        ...

    def check_free(self, name: str) -> None:
        """Raise StoreError if a key has, or had, that name."""
        ...

    def check_wraps(self, name: str, kek: str, at_ms: int) -> None:
        """Raise KeyStateError unless the key may still be used and the KEK of that name (if any) may still wrap."""
        ...

    def load(self, key: AesKey | TripleDesKey, header: Header) -> Pending:
        """A key that custodians put together."""
        ...

    def generate(self, bits: int, header: Header) -> Pending:
        """A new AES key that nobody ever sees."""
        ...

    def unwrap(self, carried: Carried, kek: Kek) -> Pending:
        """The key of a file. Raises AuthenticationError if it is not under `kek`, PolicyError for what rules forbid."""
        ...

    def store(self, name: str, pending: Pending, plan: Plan, at_ms: int) -> None:
        """Keep it: when this returns it survives a crash; a crash before leaves nothing that `find` finds."""
        ...

    def wrap(self, name: str, kek: Kek, header: Header) -> Wrapped:
        """The key of that name under `kek`, to do from then on what `header` says."""
        ...

    def destroy(self, name: str, plan: Plan, at_ms: int, approval: str) -> None:
        """Remove the key; it is gone when this returns, and its record says so."""
        ...

    def close(self) -> None:
        """Let go of the keystore and of everything pending."""
        ...


def check_export(held: Held, kek: Held, header: Header) -> None:
    """Raise PolicyError unless the key may leave as `header` says, and `kek` is a KEK strong enough for it."""
    check_not_widened(header, held.header)
    check_kek(kek)
    check_strength(kek.strength, held.strength)


def check_kek(kek: Held) -> None:
    """Raise PolicyError unless this key's only purpose is to wrap others."""
    if kek.header.usage not in WRAPPING:
        raise PolicyError(f"a key of usage {kek.header.usage} wraps no others", hint="make a transport key: --usage K1")


def check_arrived(carried: Carried, plan: Plan, target: Target) -> None:
    """Raise PolicyError unless a file holds the key that the plan speaks of, for a keystore of this kind."""
    if carried.test != target.test:
        ours, theirs = ("TEST" if one else "production" for one in (target.test, carried.test))
        raise PolicyError(f"a {theirs} key does not go into a {ours} keystore", hint="test and production stay apart")
    wanted = "backup" if plan.kind == "restore" else "export"
    if carried.purpose != wanted:
        raise PolicyError(f"the file is made by {carried.purpose}, not by {wanted}", hint=f"{plan.kind} takes another")
    header = carried.key_header
    for what, found, planned in (
        ("algorithm", carried.algorithm, plan.algorithm),
        ("bits", carried.bits, plan.bits),
        ("usage", header.usage, plan.usage),
    ):
        if found != planned:
            raise PolicyError(f"the file has a key of {what} {found}, the plan says {planned}", hint="draft it anew")
    # A backup brings a key back as it was; what comes from another zone may do no more than was approved here.
    if plan.kind == "import" and FREEDOM.index(header.exportability) > FREEDOM.index(plan.exportability):
        raise PolicyError(
            f"the key of the file is exportable ({header.exportability}), the plan says {plan.exportability}",
            hint="draft it anew with --exportable, or have it exported as not exportable",
        )
