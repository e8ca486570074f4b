"""One host against one card that exchange APDUs: the card, and the wire, where somebody may flip a bit.

A `Kind` is one combination of one protocol. Everything random comes from the same seeds for every kind, so two kinds
put the same bytes on the wire unless what distinguishes them shows there.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from keywright.globalplatform.profile import CardProfile
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.channels import with_channel
from keywright.sansio.dialogue import drive, through
from keywright.scp.level import Level
from keywright.scp.scp03 import HostChannel, KeySet, open_channel
from keywright.scp.session import HostSession
from keywright.store import RamMemory
from support.cards import contents, element
from support.combinations.rules import BEGIN_R_MAC_SESSION, Message, Part

CHANNELS = 20
"""Logical channels 0 to 19."""
Opening = Generator[Command, Response, HostSession]
Talk = Generator[Command, Response, bool]
"""Whether all answers were what they must be."""


def turns(number: int, *, everything: bool) -> Iterable[int]:
    """Logical channels for the nth combination: one, or all."""
    return range(CHANNELS) if everything else (7 * number % CHANNELS,)


class Stream:
    """Random bytes that are the same in every run, and differ from one use to the next."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.used = 0

    def __call__(self, size: int) -> bytes:
        self.used += 1
        return hashlib.shake_128(f"{self.name} {self.used}".encode()).digest(size)


class Card(Protocol):
    """A card as the wire sees it, and what it remembers."""

    def handle(self, command: bytes, /) -> bytes:
        """Answer a command APDU."""
        ...

    def state(self) -> Mapping[str, object]:
        """What commands change on purpose."""
        ...


class Kind(Protocol):
    """One combination of one protocol."""

    @property
    def protocol(self) -> str:
        """Name of the protocol."""
        ...

    @property
    def is_legal(self) -> bool:
        """Whether both ends take it."""
        ...

    @property
    def channel(self) -> int:
        """Logical channel."""
        ...

    @property
    def level(self) -> int:
        """Protection asked for."""
        ...

    @property
    def collects(self) -> bool:
        """Whether answers are covered by what END R-MAC SESSION returns."""
        ...

    @property
    def repeats(self) -> bool:
        """Whether the protocol means a recorded session to work again."""
        ...

    @property
    def implicit(self) -> bool:
        """Whether the first protected command opens the session."""
        ...

    def _asdict(self) -> dict[str, Any]:
        """Its choices by name."""
        ...

    def card(self) -> Card:
        """A fresh card."""
        ...

    def open(self) -> Opening:
        """The host's opening of a session."""
        ...

    def talk(self, host: HostSession) -> Talk:
        """What the host says in the session."""
        ...


# ---- the card -------------------------------------------------------------------------------------------------


class ElementCard:
    """A virtual element with what `load` has put into it, and one more logical channel open."""

    def __init__(
        self, records: Mapping[str, bytes], channel: int, *, profile: CardProfile | None = None, **given: Any
    ) -> None:
        self.memory = RamMemory(records)
        self.element = element(memory=self.memory, rng=Stream("card"), profile=profile, **given)
        if channel:
            assert self.handle(bytes((0x00, 0x70, 0x00, channel))) == b"\x90\x00"

    def handle(self, command: bytes, /) -> bytes:
        """Answer a command APDU."""
        return self.element.handle(command)

    def state(self) -> Mapping[str, object]:
        """All but the counters."""
        return {name: value for name, value in contents(self.memory, counters=False).items() if "tries/" not in name}


Load = Callable[[HostChannel], Generator[Command, Response, None]]
INITIAL = KeySet.gp_test()


@functools.cache
def loaded(load: Load, protocols: Sequence[tuple[int, int]] = (), i: int = 0x70, **given: Any) -> dict[str, bytes]:
    """What an element remembers after its owner ran `load` in a session of SCP03 on the initial keys."""
    memory = RamMemory()
    card = element(memory=memory, protocols=tuple(protocols), i=i, rng=Stream("birth"), **given)

    def exchange(command: Command) -> Response:
        return Response.parse(card.handle(command.encode()))

    session = drive(open_channel(INITIAL, bytes(16 if i & 1 else 8), level=0x03), exchange)
    drive(through(load(session), session.secure), exchange)
    return contents(memory)


# ---- the wire -------------------------------------------------------------------------------------------------


class Flip(NamedTuple):
    """Which bit of which message goes the other way; `part` is what kind of bit it is."""

    message: int
    bit: int
    part: Part


class Delivered(Exception):  # noqa: N818 - no fault: the end of a trial
    """A command of an open session has been changed, and the card has answered it."""

    def __init__(self, command: bytes, sw: int) -> None:
        super().__init__(f"{sw:04X}")
        self.command = command
        self.sw = sw


class Wire:
    """Between host and card: keeps what the sender sent, and may flip one bit on the way."""

    def __init__(self, kind: Kind, flip: Flip | None = None) -> None:
        self.kind = kind
        self.card = kind.card()
        self.flip = flip
        self.messages: list[Message] = []
        self.session: HostSession | None = None
        self.collecting = False
        self.refused = 0

    def __call__(self, command: Command) -> Response:
        """Carry one command and its answer."""
        sent = command.encode()
        level = 0 if self.session is None else self.session.level
        opening = self.session is None
        answered = bool(level & Level.R_MAC) or self.collecting
        protocol, implicit = self.kind.protocol, self.kind.implicit
        arriving = self._pass(Message(protocol, sent, sent, opening, bool(level & Level.C_MAC), implicit))
        answer = self.card.handle(arriving)
        if arriving != sent and not opening:
            raise Delivered(sent, int.from_bytes(answer[-2:]))
        if answer[-2] not in (0x90, 0x61):
            self.refused += 1
        if self.kind.collects and not opening and command.ins == BEGIN_R_MAC_SESSION:
            self.collecting = True
        return Response.parse(self._pass(Message(protocol, answer, sent, opening, answered, implicit)))

    def _pass(self, message: Message) -> bytes:
        number = len(self.messages)
        self.messages.append(message)
        if self.flip is None or self.flip.message != number:
            return message.raw
        return flipped(message.raw, self.flip.bit)

    def run(self) -> HostSession:
        """Open a session and say all there is to say; the host's end of it."""
        host = self.open()
        assert drive(self.kind.talk(host), self)
        return host

    def open(self) -> HostSession:
        """Only open it."""
        self.session = drive(self.kind.open(), self)
        return self.session

    def send(self, raw: bytes) -> int:
        """Bytes to the card behind the host's back; the status word."""
        return int.from_bytes(self.card.handle(raw)[-2:])


def flipped(raw: bytes, bit: int) -> bytes:
    """The same with one bit the other way."""
    changed = bytearray(raw)
    changed[bit // 8] ^= 0x80 >> bit % 8
    return bytes(changed)


def transcript(messages: Iterable[Message], *, blind: bool = False) -> bytes:
    """Digest of what was sent in both directions; `blind` to the number of the logical channel."""
    digest = hashlib.sha256()
    for message in messages:
        raw = message.raw
        if blind and not message.is_answer:
            raw = bytes((with_basic_channel(raw[0]),)) + raw[1:]
        digest.update(len(raw).to_bytes(4) + raw)
    return digest.digest()


def with_basic_channel(cla: int) -> int:
    """The class byte as it would be on channel 0; a class of channels 4 to 19 does not tell b3 from b4."""
    if not cla & 0x40:
        return with_channel(cla, 0)
    return cla & 0x90 | (0x04 if cla & 0x20 else 0)
