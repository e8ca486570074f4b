"""One host against one card that exchange APDUs: their wire, what is said over it, and how somebody tampers with it.

A `Kind` is one combination of one protocol. Everything random comes from the same seeds for every kind, so two kinds
put the same bytes on the wire unless what distinguishes them shows there.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import pytest

from keywright.element.card import Profiles
from keywright.errors import AuthenticationError, KeywrightError, PolicyError, SequenceError
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.channels import channel_of, secured, with_channel
from keywright.sansio.dialogue import drive, through
from keywright.scp.level import Level
from keywright.scp.scp03 import HostChannel, KeySet, open_channel
from keywright.scp.session import HostSession
from keywright.store import RamMemory
from support.cards import contents, element
from support.combinations.outcome import Attack, Outcome
from support.combinations.rules import BEGIN_R_MAC_SESSION, EXTERNAL_AUTHENTICATE, Message, Part, parts

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
        self, records: Mapping[str, bytes], channel: int, *, profiles: Profiles | None = None, **given: Any
    ) -> None:
        self.memory = RamMemory(records)
        self.element = element(memory=self.memory, rng=Stream("card"), profiles=profiles, **given)
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


# ---- the trials -----------------------------------------------------------------------------------------------


def run(kind: Kind) -> Outcome:
    """Host and card of a combination; or, where it is illegal, how both refuse."""
    if not kind.is_legal:
        return _refused(kind)
    wire = honest(kind)
    digests = transcript(wire.messages), transcript(wire.messages, blind=True)
    return Outcome(*digests, lambda: attack(kind, wire))


def attack(kind: Kind, wire: Wire) -> Attack:
    """Flip one bit in another session, send commands of a third in the wrong order, and all of this one again."""
    message = wire.messages[tampered(kind, wire.messages).message]
    where = f"{'answer' if message.is_answer else 'command'}{' of the opening' if message.opening else ''}"
    return Attack(where, reordered=reordered(kind), repeated=repeated(wire))


def _refused(kind: Kind) -> Outcome:
    """A level that "i" does not offer: the host does not ask for it, and the card refuses it."""
    wire = Wire(kind)
    with pytest.raises(PolicyError) as error:
        wire.open()
    cla = secured(with_channel(0x80, kind.channel))
    size = len(wire.messages[0].raw) - 6
    sw = wire.send(Command(cla, EXTERNAL_AUTHENTICATE, kind.level, 0, bytes(size * 2)).encode())
    assert sw == 0x6A86
    told = f"{error.value.code} {kind.level:02X} {sw:04X}".encode()
    digest, blind = (hashlib.sha256(transcript(wire.messages, blind=dim) + told).digest() for dim in (False, True))
    return Outcome(digest, blind, Attack)


def honest(kind: Kind) -> Wire:
    """Run a combination; host and card agree on everything, all of it on the kind's logical channel."""
    wire = Wire(kind)
    host = wire.run()
    assert host.is_open
    assert wire.refused == 0
    assert {channel_of(message.raw[0]) for message in wire.messages if not message.is_answer} == {kind.channel}
    return wire


def repeated(wire: Wire) -> bool:
    """What has been accepted is not accepted again: neither the last command, nor the whole recording.

    Whether that is so: a recording of SCP11c is meant to be accepted again.
    """
    commands = [message for message in wire.messages if not message.is_answer]
    *_, last = commands
    before = wire.card.state()
    if last.covered and not last.opening:
        assert wire.send(last.raw) == 0x6982
    statuses = [(message, wire.send(message.raw)) for message in commands]
    if not wire.kind.repeats:
        talked = [sw for message, sw in statuses if not message.opening]
        assert talked[0] != 0x9000, "a recorded session opened once more"
        assert wire.card.state() == before
    return not wire.kind.repeats


def reordered(kind: Kind) -> bool:
    """The second command of a session before the first: refused, and the session is gone. Whether there is order."""
    wire = Wire(kind)
    host = wire.open()
    if not host.level & Level.C_MAC:
        return False
    before = wire.card.state()
    cla = with_channel(0x80, kind.channel)
    first, second = (host.wrap(Command(cla, 0xE2, 0x90, 0, bytes.fromhex(data))) for data in ("DF010101", "DF010102"))
    assert wire.send(second.encode()) == 0x6982
    assert kind.implicit or wire.send(first.encode()) == 0x6982
    assert wire.card.state() == before
    return True


def tampered(kind: Kind, clean: Sequence[Message]) -> Flip:
    """One bit of one message of the session the other way, chosen by what was sent; what it was that was flipped."""
    # A message first, for long ones would otherwise take nearly all of the choices.
    seed = int.from_bytes(transcript(clean))
    order = [(seed + step) % len(clean) for step in range(len(clean))]
    number, choices = next((number, found) for number in order if (found := parts(clean[number])))
    bit, part = list(choices.items())[seed // len(clean) % len(choices)]
    flip = Flip(number, bit, part)
    tamper(kind, clean, flip)
    return flip


def tamper(kind: Kind, clean: Sequence[Message], flip: Flip) -> None:
    """Run a combination with one bit flipped: whoever sees it refuses, and the session is over there."""
    message = clean[flip.message]
    if message.opening:
        _tamper_with_opening(kind, clean, flip)
    elif message.is_answer:
        _tamper_with_answer(kind, flip)
    else:
        _tamper_with_command(kind, flip)


def _tamper_with_opening(kind: Kind, clean: Sequence[Message], flip: Flip) -> None:
    wire = Wire(kind, flip)
    with pytest.raises(KeywrightError):
        wire.open()
    # A card that could not read the command does not know that there was one.
    if wire.refused and flip.part is not Part.FRAMING:
        before = wire.card.state()
        talked = next(message for message in clean if not message.opening)
        assert wire.send(talked.raw) != 0x9000
        assert wire.card.state() == before


def _tamper_with_answer(kind: Kind, flip: Flip) -> None:
    wire = Wire(kind, flip)
    with pytest.raises(AuthenticationError):
        wire.run()
    assert wire.session is not None
    assert not wire.session.is_open
    with pytest.raises(SequenceError):
        wire.session.wrap(Command(0x80, 0xCA, 0, 0x66, b"", 0))


def _tamper_with_command(kind: Kind, flip: Flip) -> None:
    wire = Wire(kind, flip)
    with pytest.raises(Delivered) as seen:
        wire.run()
    host, sw = wire.session, seen.value.sw
    assert host is not None
    before = wire.card.state()
    if flip.part is Part.SEALED:
        assert sw in (0x6982, 0x6882, 0x6E00), f"{sw:04X}"
    if kind.implicit and not any(message.is_answer for message in wire.messages):
        # The command that would have opened the session has not; as it was sent, it may still do so.
        assert sw != 0x9000
        assert before == Wire(kind).card.state()
        return
    if flip.part is Part.SEALED:
        assert wire.send(seen.value.command) == 0x6982, "the session is still there"
    else:
        assert (sw == 0x9000) is (flip.part is Part.SEGMENT)
        cla = with_channel(0x80, kind.channel)
        following = [host.wrap(Command(cla, 0xE2, 0x90, 0, bytes.fromhex("DF010107"))).encode() for _ in range(2)]
        assert wire.send(following[0]) in (0x6982, 0x6985)
        assert wire.send(following[1]) == 0x6982, "the gap was not seen"
    assert wire.card.state() == before
