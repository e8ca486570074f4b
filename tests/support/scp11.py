"""The least that both ends of SCP11 need around them: a security domain of dictionaries, a card, certificates."""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from keywright.codec.tlv import item
from keywright.crypto.aes import AesKey
from keywright.crypto.ec import EcPrivateKey, EcPublicKey
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.channels import is_gp, is_secured
from keywright.iso7816.refusal import Refusal
from keywright.scp.scp11.authority import Authority, Form
from keywright.scp.scp11.card import Initiation
from keywright.scp.scp11.card_channel import CardChannel
from keywright.scp.scp11.certificates import Side
from keywright.scp.scp11.data import OBJECTS, get_data, leaf_of
from keywright.scp.scp11.host import Card, Holder
from keywright.scp.scp11.keys import AgreementKey
from keywright.scp.scp11.messages import (
    VARIANTS,
    AllowList,
    Authenticate,
    ControlReference,
    I,
    KeyReference,
    ProtocolParameter,
    Variant,
)
from keywright.scp.scp11.profile import Ecka, GroupId, Profile
from support.vectors import Case, unhex

VALIDITY = (dt.datetime(2025, 1, 1, tzinfo=dt.UTC), dt.datetime(2045, 1, 1, tzinfo=dt.UTC))
KLOC = KeyReference(0x10, 0x03)
Key = tuple[int, int]


@functools.cache
def key(curve: str, name: str) -> EcPrivateKey:
    """A key that is the same in every run."""

    calls = itertools.count()

    def rng(size: int) -> bytes:
        return hashlib.shake_256(f"{curve} {name} {next(calls)}".encode()).digest(size)

    return EcPrivateKey.draw(curve, rng)


@dataclass
class Domain:
    """A security domain: keys by (KVN, KID), certificates, identifiers."""

    profile: Profile = field(default_factory=Profile)
    keys: dict[Key, AgreementKey] = field(default_factory=dict)
    deks: dict[Key, AesKey] = field(default_factory=dict)
    ca_keys: dict[Key, EcPublicKey] = field(default_factory=dict)
    lists: dict[Key, AllowList] = field(default_factory=dict)
    stores: dict[Key, bytes] = field(default_factory=dict)
    names: dict[Side, tuple[tuple[bytes, KeyReference], ...]] = field(default_factory=dict)
    iin: bytes | None = None
    cin: bytes | None = None
    group: bytes | None = None
    provider: bytes | None = None
    elsewhere: bool = False
    kept: bytes | None = None
    failures: dict[Key, int] = field(default_factory=dict)
    ephemeral: Callable[[str], AgreementKey] = field(default=lambda curve: key(curve, "ephemeral SD"))

    def agreement_key(self, kvn: int, kid: int) -> AgreementKey | None:
        return self.keys.get((kvn, kid))

    def static_dek(self, kvn: int, kid: int) -> AesKey | None:
        return self.deks.get((kvn, kid))

    def ephemeral_key(self, curve: str) -> AgreementKey:
        return self.ephemeral(curve)

    def ca_key(self, kvn: int, kid: int) -> EcPublicKey | None:
        return self.ca_keys.get((kvn, kid))

    def allow_list(self, kvn: int, kid: int) -> AllowList | None:
        return self.lists.get((kvn, kid))

    def sin(self) -> bytes | None:
        return self.iin

    def sdin(self) -> bytes | None:
        return self.cin

    def group_id(self, kvn: int, kid: int) -> bytes | None:
        leaf = leaf_of(self.stores.get((kvn, kid), b""))
        return leaf.subject_id if self.group is None and leaf is not None else self.group

    def provider_id(self) -> bytes | None:
        return self.provider

    def is_static_session_elsewhere(self) -> bool:
        return self.elsewhere

    def remembered(self) -> bytes | None:
        return self.kept

    def remember(self, certificate: bytes) -> None:
        self.kept = certificate

    def is_blocked(self, kvn: int, kid: int) -> bool:
        limit = self.profile.failure_limit
        return bool(limit) and self.failures.get((kvn, kid), 0) >= limit

    def count(self, kvn: int, kid: int, *, accepted: bool) -> None:
        self.failures[kvn, kid] = 0 if accepted else self.failures.get((kvn, kid), 0) + 1

    def certificates(self, kvn: int, kid: int) -> bytes | None:
        return self.stores.get((kvn, kid))

    def certificates_by_issuer(self, identifier: bytes) -> bytes | None:
        for name, reference in self.ca_identifiers("card"):
            if name == identifier:
                return self.stores.get((reference.kvn, reference.kid))
        return None

    def ca_identifiers(self, side: Side) -> tuple[tuple[bytes, KeyReference], ...]:
        return self.names.get(side, ())


class CardEnd:
    """Answers like a card with one logical channel; what came through the session is kept in `received`."""

    def __init__(self, domain: Domain) -> None:
        self.domain = domain
        self.initiation = Initiation(domain)
        self.sent: list[Command] = []
        self.received: list[Command] = []
        self.answer = Response(b"")

    @property
    def session(self) -> CardChannel | None:
        """The open session."""
        return self.initiation.session

    def __call__(self, command: Command) -> Response:
        """Answer; a failed check ends the session."""
        self.sent.append(command)
        try:
            return self.handle(command)
        except Refusal as refusal:
            return Response(b"", refusal.sw)

    def handle(self, command: Command) -> Response:
        """Answer or refuse."""
        handlers: dict[int, Callable[[Command], Response]] = {
            0x2A: self.initiation.perform_security_operation,
            0x82: self.initiation.mutual_authenticate,
            0x88: self.initiation.internal_authenticate,
        }
        if command.ins in handlers and not is_secured(command.cla):
            return handlers[command.ins](command)
        session = self.session
        if session is None:
            self.initiation.other()
            number = command.p1 << 8 | command.p2
            if command.ins == 0xCA and number in OBJECTS:
                return Response(get_data(self.domain, number, command.data, gp_class=is_gp(command.cla)))
            raise Refusal(0x6982)
        try:
            self.received.append(session.unwrap(command))
        except Refusal:
            self.initiation.drop()
            raise
        return session.wrap(self.answer)


class Elsewhere:
    """A key that lives where we cannot look: only its public key and what it agreed on are known."""

    def __init__(self, public: EcPublicKey, agreed: dict[bytes, bytes]) -> None:
        self.public = public
        self.agreed = agreed

    def agree(self, peer: EcPublicKey) -> bytes:
        """What was recorded for this peer; another one was never asked."""
        return self.agreed[peer.point]


@functools.cache
def authority(side: Side, form: Form, curve: str = "P-256") -> tuple[Authority, Authority]:
    """A root and an intermediate below it."""
    ca, ka = ("CA-KLOC", "KA-KLOC") if side == "host" else ("CA-KLCC", "KA-KLCC")
    root = Authority.root(key(curve, ca), side, ca, 0x81, VALIDITY, form=form)
    return root, root.intermediate(key(curve, ka), ka, 0x82)


@functools.cache
def holder(form: Form, curve: str = "P-256", *, alone: bool = False, authorisation: bytes | None = None) -> Holder:
    """An off-card entity with its chain: intermediate and own certificate, or only that, below the root."""
    root, middle = authority("host", form)
    own = key(curve, "OCE")
    issuer = root if alone else middle
    leaf = issuer.issue(own.public, "OCE", 0x83, authorisation=authorisation)
    return Holder(own, (leaf,) if alone else (middle.certificate, leaf))


def domain(curve: str = "P-256", form: Form = "x509", **changes: Any) -> Domain:
    """A security domain with SK.SD.ECKA of every variant (KVN 01), their certificates, and a CA-KLOC key (KVN 03)."""
    root, middle = authority("card", form)
    own = key(curve, "SD")
    chain = middle.certificate + middle.issue(own.public, "SD group 7", 0x84)
    references = [(1, kid) for kid in (0x11, 0x13, 0x15)]
    made = Domain(
        keys=dict.fromkeys(references, own),
        ca_keys={(KLOC.kvn, KLOC.kid): authority("host", form)[0].public},
        stores=dict.fromkeys(references, chain),
        names={
            "host": ((authority("host", form)[0].identifier, KLOC),),
            "card": ((root.identifier, KeyReference(0x11, 1)),),
        },
        iin=b"\x42\x00\x00\x01",
        cin=bytes(range(8)),
    )
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def bf21(chain: bytes) -> bytes:
    """The object around a chain."""
    return item(0xBF21, chain)


# ---- commands of a host ---------------------------------------------------------------------------------------


def pso(data: bytes, p2: int = 0x10, *, part: bool = False) -> Command:
    """A certificate in one command of extended length, or a part of it in a chained one."""
    return Command(0x90 if part else 0x80, 0x2A, 3, p2, data, None if part else 0, extended=not part)


def asked(usage: int = 0x3C, *, parameter: int = 1, curve: str = "P-256", **changes: int) -> bytes:
    control = ControlReference(
        ProtocolParameter(changes.get("scp", 0x11), parameter),
        usage,
        changes.get("key_type", 0x88),
        changes.get("key_length", 16),
    )
    return Authenticate(control, key(curve, "ephemeral OCE").public.point).build()


MUTUAL = Command(0x80, 0x82, 1, 0x11, asked(), 0)
INTERNAL = Command(0x80, 0x88, 1, 0x13, asked(parameter=0), 0)
OTHER = Command(0x80, 0xCA, 0, 0x66, b"", 0)


def led(card: CardEnd, commands: list[Command]) -> CardEnd:
    for command in commands:
        assert card(command).sw == 0x9000
    return card


# ---- recorded cases -------------------------------------------------------------------------------------------

CURVES = {
    "P256": "P-256",
    "P384": "P-384",
    "BP256": "brainpoolP256r1",
    "secp256r1": "P-256",
    "secp384r1": "P-384",
    "secp521r1": "P-521",
}


def variant_of(case: Case) -> Variant:
    kid = unhex(case["authenticate_capdu"])[3]
    return next(variant for variant in VARIANTS if variant.kid == kid)


def reassembled(commands: Iterable[str]) -> list[tuple[bytes, bool]]:
    """Certificates out of recorded PERFORM SECURITY OPERATION, and whether another one follows."""
    found, part = [], b""
    for command in (Command.parse(unhex(raw)) for raw in commands):
        part += command.data
        if not command.cla & 0x10:
            found.append((part, bool(command.p2 & 0x80)))
            part = b""
    return found


def openscp_profile(case: Case) -> Profile:
    first = I.A | I.B | I.C | I.CHAINS | I.SECOND | (I.S16 if case["mac_len"] == 16 else 0)
    return Profile(i=first << 8 | I.X509, fragments="p1-chained")


def openscp_card(case: Case) -> Card:
    public = EcPublicKey.from_point(CURVES[case["curve"]], unhex(case["pk_sd_ecka"]))
    return Card(public, unhex(case["authenticate_capdu"])[2])


def layout(case: Case) -> tuple[Ecka, GroupId]:
    return ("sha1", "raw") if "raw-sha1" in case["name"] else ("x", "lv")
