"""What is done with a combination whose messages are APDUs: run it, tamper with it, say what it gave."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pytest

from keywright.errors import AuthenticationError, KeywrightError, PolicyError, SequenceError
from keywright.iso7816.apdu import Command
from keywright.iso7816.channels import channel_of, secured, with_channel
from keywright.scp.level import Level
from support.combinations.outcome import Attack, Outcome
from support.combinations.rules import EXTERNAL_AUTHENTICATE, Message, Part, parts
from support.combinations.sessions import Delivered, Flip, Kind, Wire, transcript


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
