"""How a secure session is opened, for every protocol: which command belongs to which, in one place.

A protocol is a row of `OPENERS`: the commands that may begin it, and those that go on with what it has pending on the
channel (`channel.opening`, whose `scp` names it). The instruction 82 is EXTERNAL AUTHENTICATE in SCP02, SCP03 and SCP10
and MUTUAL AUTHENTICATE in SCP11; 2A and 88 are in SCP10 and SCP11: `step_for` decides by what is pending, and where
nothing is, by what the security domain offers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, TypeAlias

from keywright.element.card import Card
from keywright.element.channel import Channel
from keywright.element.initiation import BEGIN, external_authenticate, initialize_update
from keywright.element.state import Transaction
from keywright.globalplatform.messages import Ins
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.refusal import Refusal
from keywright.iso7816.status import SW

Step: TypeAlias = Callable[[Card, Channel, Command, Transaction], Response]


class Opener(NamedTuple):
    """The commands that open sessions of one protocol."""

    begins: Mapping[int, Step]
    """What may come when nothing of the protocol is pending."""
    continues: Mapping[int, Step]
    """What may come when something is; takes precedence."""
    survives: bool = False
    """Whether what is pending outlives a command that is none of these."""


_SYMMETRIC: Final = Opener(
    {Ins.INITIALIZE_UPDATE: initialize_update}, {Ins.EXTERNAL_AUTHENTICATE: external_authenticate}
)

OPENERS: Final[dict[int, Opener]] = dict.fromkeys(BEGIN, _SYMMETRIC)
"""By protocol number."""


def step_for(channel: Channel, ins: int) -> Step | None:
    """The step of a handshake that an instruction is on this channel now; None when it is none."""
    pending = channel.opening
    if pending is not None:
        step = OPENERS[pending.scp].continues.get(ins)
        if step is not None:
            return step
    for scp in channel.domain.offers():
        opener = OPENERS.get(scp)
        if opener is not None and ins in opener.begins:
            return opener.begins[ins]
    return None


def known_to(channel: Channel, ins: int) -> bool:
    """Whether some protocol that the channel's domain offers has this instruction."""
    for scp in channel.domain.offers():
        opener = OPENERS.get(scp)
        if opener is not None and (ins in opener.begins or ins in opener.continues):
            return True
    return False


def survives(channel: Channel) -> bool:
    """Whether what is pending outlives a command that is no step of it."""
    pending = channel.opening
    return pending is not None and OPENERS[pending.scp].survives


def open_session(card: Card, channel: Channel, command: Command, change: Transaction) -> Response:
    """One command of a handshake. Refuses with 6985 when nothing awaits it, else as its protocol says."""
    step = step_for(channel, command.ins)
    if step is None:
        raise Refusal(SW.CONDITIONS_NOT_SATISFIED)
    return step(card, channel, command, change)


def begin_r_mac(card: Card, channel: Channel, command: Command, change: Transaction) -> Response:
    """BEGIN R-MAC SESSION (GPCS E.5.3, Amd D 7.1.3), its command already opened. P2 is 01."""
    del card, change
    session = channel.session
    assert session is not None, "the table lets it through in a session only"
    if command.p2 != _FIRST_AND_ONLY:
        raise Refusal(SW.INCORRECT_P1P2)
    session.begin_r_mac(command.p1, command.data)
    return Response(b"")


def end_r_mac(card: Card, channel: Channel, command: Command, change: Transaction) -> Response:
    """END R-MAC SESSION (GPCS E.5.4, Amd D 7.1.4); the data is what the protocol gives. P1 is 00."""
    del card, change
    session = channel.session
    assert session is not None, "the table lets it through in a session only"
    if command.p1:
        raise Refusal(SW.INCORRECT_P1P2)
    return Response(session.end_r_mac(command.p2))


_FIRST_AND_ONLY: Final = 0x01
