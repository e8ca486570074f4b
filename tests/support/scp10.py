"""What the tests of SCP10 share: the keys of its vectors, a security domain, and a card of one logical channel."""

from __future__ import annotations

import functools
from typing import Any

from keywright.crypto import RsaPrivateKey, RsaPublicKey
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.channels import is_chained
from keywright.iso7816.refusal import Refusal
from keywright.scp.scp10 import (
    CardChannel,
    Certificate,
    Holder,
    HostChannel,
    HostIdentity,
    Initiation,
    Outcome,
    Profile,
    get_data,
    issue_certificate,
)
from keywright.scp.scp10.keys import SHARED_KEYS, read_parameters, session_keys, transported
from keywright.scp.scp10.messages import ControlReference, SecurityParameters
from support.vectors import Case, load

FILE = "scp/ota_scp10.json"
TRANSPORT, AGREEMENT = load(FILE)
ISSUER, HOST, CARD = b"TPEX0001", b"OCE00001", b"SD000001"


@functools.cache
def key(name: str) -> RsaPrivateKey:
    """A private key of the vectors: tp_ex_1024, oce_1024, sd_1024, tp_in_1024, tp_ex_2048, oce_2048, sd_2048."""
    numbers = next(case["keys"][name] for case in (TRANSPORT, AGREEMENT) if name in case["keys"])
    n, d, e = (int(numbers[part], 16) for part in "nde")
    return RsaPrivateKey.from_numbers(n.to_bytes(256), d.to_bytes(256), e.to_bytes(3))


def step(case: Case, start: str) -> dict[str, Any]:
    """The step of a dialogue whose description begins so."""
    found: dict[str, Any] = next(step for step in case["steps"] if step["what"].startswith(start))
    return found


class Script:
    """Randomness that is known beforehand: gives its pieces in order, and each must have the size asked for."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = list(pieces)

    def __call__(self, size: int) -> bytes:
        piece = self.pieces.pop(0)
        assert len(piece) == size
        return piece


class Stream:
    """Bytes that differ each time and are the same in each run."""

    def __init__(self, seed: int = 1) -> None:
        self.state = seed

    def __call__(self, size: int) -> bytes:
        out = bytearray()
        for _ in range(size):
            self.state = (self.state * 6364136223846793005 + 1442695040888963407) % 2**64
            out.append(self.state >> 56)
        return bytes(out)


class Domain:
    """A security domain with one private key and one trust point, each known by default and as 01."""

    def __init__(self, bits: int = 1024, **changes: Any) -> None:
        self.profile: Profile = changes.pop("profile", Profile())
        self.options: tuple[int, ...] = changes.pop("options", (2, 0, 1, 3))
        self.identifier: bytes = changes.pop("identifier", CARD)
        self.provider_id: bytes | None = changes.pop("provider_id", HOST)
        self.certificate: bytes | None = changes.pop("certificate", None)
        self.host: Holder | None = changes.pop("host", None)
        self.rng = changes.pop("rng", None) or Stream(7)
        self.own: RsaPrivateKey = changes.pop("own", None) or key(f"sd_{bits}")
        self.root: RsaPublicKey = changes.pop("root", None) or key(f"tp_ex_{bits}").public
        assert not changes

    def private_key(self, reference: bytes) -> RsaPrivateKey | None:
        return self.own if reference in (b"", b"\1") else None

    def trust_point(self, reference: bytes) -> RsaPublicKey | None:
        return self.root if reference in (b"", b"\1") else None

    def host_key(self, reference: bytes) -> Holder | None:
        return self.host if reference in (b"", b"\1") else None

    def random(self, size: int) -> bytes:
        piece: bytes = self.rng(size)
        return piece

    def file(self, identifier: int) -> bytes | None:
        return {0x5031: b"directory"}.get(identifier)


class Card:
    """One logical channel as an element would run it: chains put together, initiation, session, answers."""

    def __init__(self, domain: Domain) -> None:
        self.domain = domain
        self.initiation = Initiation(domain)
        self.session: CardChannel | None = None
        self.chain = b""
        self.sent: list[bytes] = []
        self.received: list[Command] = []
        self.answer = Response(b"")

    def __call__(self, command: Command) -> Response:
        self.sent.append(command.encode())
        if is_chained(command.cla):
            self.chain += command.data
            return Response(b"")
        data, self.chain = self.chain + command.data, b""
        return self.whole(Command(command.cla, command.ins, command.p1, command.p2, data, command.le, command.extended))

    def whole(self, command: Command) -> Response:
        if self.initiation.concerns(command):
            outcome = self.initiate(command)
            return outcome.response
        self.initiation.interrupted()
        try:
            if command.ins in (0xCA, 0xCB) and self.session is None:
                return get_data(self.domain, command)
            if self.session is None:
                return Response(b"", 0x6982)
            self.received.append(self.session.unwrap(command))
            return self.session.wrap(self.answer)
        except Refusal as refusal:
            if refusal.sw == 0x6982:
                self.session = None
            return Response(b"", refusal.sw)

    def initiate(self, command: Command) -> Outcome:
        outcome = self.initiation.handle(command)
        if outcome.ends_session:
            self.session = None
        if outcome.session is not None:
            self.session = outcome.session
        return outcome


@functools.cache
def host_certificate(bits: int, kind: Any = "A") -> Certificate:
    holder = Holder(HOST, key(f"oce_{bits}").public, ISSUER, b"\x80" if kind in ("A", "C") else b"")
    return issue_certificate(kind, holder, key(f"tp_ex_{bits}"), Profile())


def host_identity(bits: int = 1024, **changes: Any) -> HostIdentity:
    """The host of the vectors, certified by the card's trust point."""
    fields: dict[str, Any] = {
        "private_key": key(f"oce_{bits}"),
        "identifier": HOST,
        "certificates": (host_certificate(bits),),
        "trust_point": key("tp_in_1024").public,
    }
    return HostIdentity(**fields | changes)


def card_holder(bits: int = 1024) -> Holder:
    """The card's key and reference, known beforehand."""
    return Holder(CARD, key(f"sd_{bits}").public)


def session_pair(
    level: int, keys: Any = SHARED_KEYS, *, size: int = 16, host: Profile | None = None, card: Profile | None = None
) -> tuple[HostChannel, CardChannel]:
    """Both ends of a session on fixed keys, without the initiation."""
    rng = Stream(3)
    templates = tuple(
        (kind, ControlReference(usage, None, rng(size), b"\xff" * 7 + b"\xfe" if kind == 0xB4 else None).build())
        for kind, usage in keys
    )
    references = read_parameters(SecurityParameters(level, templates).build(), 2)[1]
    profiles = host or card or Profile(), card or host or Profile()
    made = [session_keys(references, transported, profile) for profile in profiles]
    return HostChannel(made[0], 2, level, 0, profiles[0]), CardChannel(made[1], 2, level, 0x80, profiles[1])
