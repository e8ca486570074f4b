"""How a secure session is opened, for every protocol: which command belongs to which, in one place.

A protocol is a row of `OPENERS`: the commands that may begin it, and those that go on with what it has pending on the
channel (`channel.opening`, whose `scp` names it). The instruction 82 is EXTERNAL AUTHENTICATE in SCP02, SCP03 and SCP10
and MUTUAL AUTHENTICATE in SCP11; 2A and 88 are in SCP10 and SCP11. `step_for` decides: SCP10 has the ISO class and all
others that of GlobalPlatform; then by what is pending, and where nothing is, by what the security domain offers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, TypeAlias

from keywright.element import scp10, scp11
from keywright.element.card import Card
from keywright.element.channel import Channel
from keywright.element.domain import Domain
from keywright.element.factory_reset import give_up_blocked
from keywright.element.initiation import BEGIN, external_authenticate, initialize_update
from keywright.element.registry import LOCKED
from keywright.element.state import Transaction
from keywright.globalplatform.life_cycle import CardState
from keywright.globalplatform.messages import Ins
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.channels import GP, is_gp, is_secured
from keywright.iso7816.refusal import Refusal
from keywright.iso7816.status import SW
from keywright.scp.scp10.messages import SCP10
from keywright.scp.scp11.messages import SCP11

_FIRST_AND_ONLY: Final = 0x01
_FINAL_APPLICATION: Final = 0x02
"""In the second byte of privileges (GPCS table 11-8)."""
_IN_PARTS: Final = frozenset((Ins.PERFORM_SECURITY_OPERATION,))

Step: TypeAlias = Callable[[Card, Channel, Command, Transaction], Response]


class Opener(NamedTuple):
    """The commands that open sessions of one protocol."""

    begins: Mapping[int, Step]
    """What may come when nothing of the protocol is pending."""
    continues: Mapping[int, Step]
    """What may come when something is; takes precedence."""
    interrupted: Callable[[Channel], None]
    """What a command outside these does to what is pending."""
    iso: bool = False
    """Whether its commands have an ISO class, not GlobalPlatform's."""
    takes_parts: bool = False
    """Whether the parts of a chained command are given to it as they come."""


_SYMMETRIC: Final = Opener(
    {Ins.INITIALIZE_UPDATE: initialize_update},
    {Ins.EXTERNAL_AUTHENTICATE: external_authenticate},
    Channel.drop_session,
)
_SCP10: Final = Opener(scp10.STEPS, scp10.STEPS, scp10.interrupted, iso=True)
_SCP11: Final = Opener(scp11.STEPS, scp11.STEPS, scp11.interrupted, takes_parts=True)

OPENERS: Final[dict[int, Opener]] = dict.fromkeys(BEGIN, _SYMMETRIC) | {SCP10: _SCP10, SCP11: _SCP11}
"""By protocol number."""


EXTRAS: Final = {Ins.GENERATE_EC_KEY: SCP11}
"""Instructions that come with a protocol and open nothing."""


def step_for(channel: Channel, command: Command) -> Step | None:
    """The step of a handshake that a command is on this channel now; None when it is none."""
    ins, iso = command.ins, not command.cla & GP
    pending = channel.opening
    if pending is not None and OPENERS[pending.scp].iso is iso:
        step = OPENERS[pending.scp].continues.get(ins)
        if step is not None:
            return step
    for scp in channel.domain.offers():
        opener = OPENERS.get(scp)
        if opener is not None and opener.iso is iso and ins in opener.begins:
            return opener.begins[ins]
    return None


def known_to(channel: Channel, command: Command) -> bool:
    """Whether some protocol that the channel's domain offers has this instruction in this class."""
    if command.ins in EXTRAS and is_gp(command.cla):
        return channel.domain.i_of(EXTRAS[command.ins]) is not None
    iso = not is_gp(command.cla)
    openers = (OPENERS.get(scp) for scp in channel.domain.offers())
    return any(
        opener is not None and opener.iso is iso and (command.ins in opener.begins or command.ins in opener.continues)
        for opener in openers
    )


def interrupt(channel: Channel) -> None:
    """A command that is no step of what is pending has come."""
    if channel.opening is not None:
        OPENERS[channel.opening.scp].interrupted(channel)


def takes_parts(channel: Channel, command: Command) -> bool:
    """Whether a part of a chained command goes to its protocol as it is, which puts the parts together itself."""
    if command.ins not in _IN_PARTS or not is_gp(command.cla) or is_secured(command.cla):
        return False
    pending = channel.opening
    for scp in (pending.scp,) if pending is not None else channel.domain.offers():
        opener = OPENERS.get(scp)
        if opener is not None and command.ins in opener.continues:
            return opener.takes_parts
    return False


def open_session(card: Card, channel: Channel, command: Command, change: Transaction) -> Response:
    """One command of a handshake.

    Refuses with 6985 when nothing awaits it, or the security domain is out of service: locked (GPCS 5.3.2), or on a
    locked card not the final application (5.1.1.4); else as its protocol says.
    """
    step = step_for(channel, command)
    if step is None or not in_service(card, channel.domain):
        raise Refusal(SW.CONDITIONS_NOT_SATISFIED)
    try:
        return step(card, channel, command, change)
    except Refusal as refused:
        if refused.sw == SW.AUTHENTICATION_BLOCKED:
            give_up_blocked(card, channel.domain, command)
        raise


def in_service(card: Card, domain: Domain) -> bool:
    """Whether a domain may have sessions: not locked (GPCS 5.3.2), on a locked card the final application (5.1.1.4)."""
    card_locked = card.life() == CardState.CARD_LOCKED
    if domain.is_issuer and not card_locked:
        return True
    entry = card.registry().domain(domain.aid)
    if entry is None or entry.life_cycle & LOCKED:
        return False
    return not card_locked or bool(entry.privileges[1] & _FINAL_APPLICATION)


def end_unfounded_sessions(card: Card) -> None:
    """After a change of the registry or of the card's life: no session outlives what it rests on.

    Sessions and handshakes end whose domain has gone out of service, or is no longer that of the selected application.
    """
    registry = card.registry()
    for channel in card.channels.values():
        entry = registry.application(channel.aid)
        domain = channel.domain if entry is None else card.domain_of(entry)
        if domain.aid != channel.domain.aid or not in_service(card, domain):
            channel.domain = domain
            channel.drop_session()


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
