"""The OPEN: from one command APDU to its answer (GPCS 6).

In this order: the bytes parse (6700), the class exists (6E00) and its channel is open (6881), chained commands are put
together, and GlobalPlatform's own segments too, secure messaging opens (6982, and the session is gone), the instruction
is known (6D00) in that class (6E00), the state allows it (6985, 6982); then the function of the table runs, its changes
are committed, the answer is protected.
"""

from __future__ import annotations

from keywright.element.applet import Applet, Context
from keywright.element.card import Card
from keywright.element.channel import AUTHENTICATED, Channel
from keywright.element.initiation import begin_implicitly, begins_session, count_attempt, keep_implicit_counter
from keywright.element.memory_quota import check_records
from keywright.element.openers import end_unfounded_sessions, interrupt, known_to, step_for, takes_parts
from keywright.element.state import LIFE, REGISTRY, Transaction
from keywright.element.table import RULES, TABLE, Rule, refusal, state_of
from keywright.errors import DecodeError, StoreError
from keywright.globalplatform.life_cycle import CardState
from keywright.globalplatform.messages import MORE_COMMANDS, Ins
from keywright.globalplatform.privileges import Privilege
from keywright.iso7816.apdu import SHORT_LE, Command, Response
from keywright.iso7816.channels import CHANNEL_OF, GP, is_chained, is_gp, is_secured
from keywright.iso7816.delivery import joined
from keywright.iso7816.refusal import Refusal
from keywright.iso7816.status import SW, is_ok, is_warning
from keywright.scp.level import Level
from keywright.scp.scp10.messages import SCP10
from keywright.scp.session import CardSession

_FURTHER = 0x40
_ISO_SECURE_MESSAGING = 0x08
_CHAIN = 0x10
_SELECT_BY_NAME = 0x04
_R_MAC = frozenset((Ins.BEGIN_R_MAC_SESSION, Ins.END_R_MAC_SESSION))
_SEGMENTED = frozenset((Ins.PUT_KEY, Ins.DELETE, Ins.INSTALL))
_LOADING = (Ins.LOAD, Ins.INSTALL)
_IN_BLOCKS = (Ins.STORE_DATA,)
_MAX_ASSEMBLED = 0xFFFF
_FOUNDATIONS = frozenset((LIFE, REGISTRY))
"""Records that every session rests on."""


def answer(card: Card, raw: bytes) -> bytes:
    """The answer to one command APDU; what it changes is durable on return. Raises nothing that the wire can cause."""
    try:
        command = Command.parse(raw)
    except DecodeError:
        return SW.WRONG_LENGTH.to_bytes(2)
    try:
        return _on_channel(card, command)
    except Refusal as refused:
        return refused.sw.to_bytes(2)


def _on_channel(card: Card, command: Command) -> bytes:
    cla = command.cla
    number = CHANNEL_OF[cla]
    if number is None:
        raise Refusal(SW.CLA_NOT_SUPPORTED)
    channel = card.channels.get(number)
    if channel is None:
        raise Refusal(SW.CHANNEL_NOT_SUPPORTED)
    delivery = channel.delivery
    if command.ins == Ins.GET_RESPONSE and channel.chain is None:
        return delivery.more(command)
    if delivery.waits:
        again = delivery.repeat(command)
        if again is not None:
            return again
        delivery.drop()
    last = command
    if channel.chain is not None or (cla & _CHAIN and not takes_parts(channel, command)):
        whole = _assemble(channel, command)
        if whole is None:
            return SW.OK.to_bytes(2)
        command = whole
    try:
        response = _execute(card, channel, command)
    except Refusal as refused:
        return refused.sw.to_bytes(2)
    except StoreError:
        return SW.NOT_ENOUGH_MEMORY.to_bytes(2)
    # The answer is as long as the last part asked for, however long the whole command was.
    return delivery.send(last, response)


def _assemble(channel: Channel, command: Command) -> Command | None:
    """Take one command of an ISO chain (ISO 7816-4 5.3.3); the whole command once its last part is here.

    Refuses with 6883, the chain dropped, when another command comes between, 6700 when it becomes too long.
    """
    sofar, channel.chain = channel.chain, None
    whole = joined(sofar, command, _MAX_ASSEMBLED)
    if is_chained(command.cla):
        channel.chain = whole
        return None
    return whole


def _execute(card: Card, channel: Channel, command: Command) -> Response:
    cla, ins = command.cla, command.ins
    if cla & _ISO_SECURE_MESSAGING and not cla & _FURTHER:
        _check_objects(channel)
    rule = _rule_for(channel, command)
    if ins not in _IN_BLOCKS:
        channel.blocks = None
    if rule is not None and (rule.bare or rule.opens):
        answered = _bare(card, channel, command, rule)
        if answered is not None:
            return answered
    elif channel.opening is not None:
        interrupt(channel)
    if channel.segments is not None:
        whole = _joined(channel, command, channel.segments)
        if whole is None:
            return Response(b"")
        command = whole
    return _in_or_out(card, channel, command, rule)


def _check_objects(channel: Channel) -> None:
    """Secure messaging of ISO 7816-4, by data objects: that of SCP10 alone (GPCS F.3.2).

    Refuses with 6982 where such a session is none, 6882 where it cannot be, or another one runs.
    """
    session = channel.session
    if session is None and channel.domain.i_of(SCP10) is not None:
        raise Refusal(SW.SECURITY_STATUS_NOT_SATISFIED)
    if session is None or session.scp != SCP10:
        raise Refusal(SW.SECURE_MESSAGING_NOT_SUPPORTED)


def _in_or_out(card: Card, channel: Channel, command: Command, rule: Rule | None) -> Response:
    """One whole command, inside the channel's session or outside any."""
    cla = command.cla
    session = channel.session
    if is_secured(cla) and begins_session(session):
        session = begin_implicitly(card, channel)
    if session is not None:
        return _secured(card, channel, session, command, rule)
    if is_secured(cla) and (rule is not None or channel.applet is not None):
        raise Refusal(SW.SECURITY_STATUS_NOT_SATISFIED)
    return _dispatch(card, channel, command, rule)


def _bare(card: Card, channel: Channel, command: Command, rule: Rule) -> Response | None:
    """A command that comes without secure messaging by its nature, or opens a session; None when it is in one.

    One that comes with it all the same ends the session: its protection cannot be right.
    """
    secured = is_secured(command.cla)
    if rule.bare:
        if secured:
            channel.drop_session()
        _check_class(rule, command.cla)
        if secured:
            raise Refusal(SW.SECURE_MESSAGING_NOT_SUPPORTED)
        channel.segments = channel.parts = None
        if channel.opening is not None and not rule.opens:
            interrupt(channel)
        return _by_table(card, channel, command)
    known = command.cla & GP or known_to(channel, command)
    if known and command.ins == Ins.EXTERNAL_AUTHENTICATE:
        count_attempt(card)
    if channel.session is None or (not secured and step_for(channel, command) is not None):
        if not known:
            raise Refusal(SW.CLA_NOT_SUPPORTED)
        return _by_table(card, channel, command)
    return None


def _joined(channel: Channel, command: Command, sofar: Command | None) -> Command | None:
    """One more segment of a GlobalPlatform command (GPCS 11.1.5.1); the whole command once its last one is here.

    Segments are kept on the channel, in `parts` when each one was opened by itself, as many hosts protect them, and in
    `segments` as they came when the protection is over the whole, its C-MAC at the end of the last one (11.1.5.1).
    Refuses with 6985, the segments dropped, when another command comes between, 6700 when it becomes too long.
    """
    opened = channel.segments is None
    channel.segments = channel.parts = None
    p1, data, extended = command.p1 & ~MORE_COMMANDS, command.data, command.extended
    if sofar is not None:
        if (command.cla, command.ins, p1, command.p2) != (sofar.cla, sofar.ins, sofar.p1, sofar.p2):
            raise Refusal(SW.CONDITIONS_NOT_SATISFIED)
        data, extended = sofar.data + data, sofar.extended or extended
    if len(data) > _MAX_ASSEMBLED:
        raise Refusal(SW.WRONG_LENGTH)
    whole = Command(command.cla, command.ins, p1, command.p2, data, command.le, extended or len(data) >= SHORT_LE)
    if not command.p1 & MORE_COMMANDS:
        return whole
    if opened:
        channel.parts = whole
    else:
        channel.segments = whole
    return None


def _begins_segments(card: Card, channel: Channel, command: Command, rule: Rule | None) -> bool:
    """Whether this is a first segment that the state, the level and the class would let through."""
    if rule is None or command.ins not in _SEGMENTED or not command.p1 & MORE_COMMANDS:
        return False
    return _is_expected(card, channel, command)


def _is_expected(card: Card, channel: Channel, command: Command) -> bool:
    """Whether the state, the level and the class would let a command through, before its data are looked at."""
    entry = TABLE.get((state_of(card.life(), channel.phase), command.ins))
    return entry is not None and _reaches(card, channel, entry.level) and is_gp(command.cla)


def _reaches(card: Card, channel: Channel, level: int) -> bool:
    """Whether the session has the level that a command needs where the card asks for one.

    A suspended session was open at that level and lost it to a plain command: there it is asked for on every card.
    """
    session = channel.session
    if not level or (session is not None and not card.profile.changes_need_mac and not begins_session(session)):
        return True
    return session is not None and (session.level or 0) & level == level


def _secured(card: Card, channel: Channel, session: CardSession, command: Command, rule: Rule | None) -> Response:
    """One command inside a session. A wrong or missing protection ends the session; any other refusal keeps it.

    Refusals go through the session too: SCP02 chains their R-MAC.
    """
    begins = session.level is None
    try:
        plain = session.unwrap(command)
        if begins:
            keep_implicit_counter(card, channel)
    except StoreError:
        channel.drop_session()
        raise
    except Refusal:
        if is_secured(command.cla) and _begins_segments(card, channel, command, rule):
            channel.segments = Command(
                command.cla, command.ins, command.p1 & ~MORE_COMMANDS, command.p2, command.data, None, command.extended
            )
            return Response(b"")
        channel.drop_session()
        raise
    try:
        whole: Command | None = plain
        if channel.parts is not None or _begins_segments(card, channel, plain, rule):
            whole = _joined(channel, plain, channel.parts)
        response = Response(b"") if whole is None else _dispatch(card, channel, whole, rule)
    except Refusal as refused:
        response = Response(b"", refused.sw)
    except StoreError:
        response = Response(b"", SW.NOT_ENOUGH_MEMORY)
    return session.wrap(response)


def _dispatch(card: Card, channel: Channel, command: Command, rule: Rule | None) -> Response:
    if rule is not None:
        _check_class(rule, command.cla)
        return _by_table(card, channel, command)
    if channel.applet is None:
        raise Refusal(SW.INS_NOT_SUPPORTED)
    if card.life() in (CardState.CARD_LOCKED, CardState.TERMINATED) and not _is_final(card, channel.aid):
        raise Refusal(SW.CONDITIONS_NOT_SATISFIED)
    return _by_applet(card, channel, channel.applet, command)


def _is_final(card: Card, aid: bytes) -> bool:
    """Whether an application works on a locked card: the final application does, until the card is terminated."""
    entry = card.registry().application(aid)
    final = entry is not None and bool(int.from_bytes(entry.privileges) & Privilege.FINAL_APPLICATION)
    return final and card.life() != CardState.TERMINATED


def _check_class(rule: Rule, cla: int) -> None:
    if not (rule.gp if cla & GP else rule.iso):
        raise Refusal(SW.CLA_NOT_SUPPORTED)


def _by_table(card: Card, channel: Channel, command: Command) -> Response:
    phase, session, guard = channel.phase, channel.session, channel.guard
    if guard is not None and session is not None:
        if not guard(command):
            raise Refusal(SW.SECURITY_STATUS_NOT_SATISFIED)
        if session.authentication & Level.ANY_AUTHENTICATED:
            phase = AUTHENTICATED
    state = state_of(card.life(), phase)
    entry = TABLE.get((state, command.ins))
    if entry is None:
        raise Refusal(refusal(state, command.ins))
    if not _reaches(card, channel, entry.level):
        raise Refusal(SW.SECURITY_STATUS_NOT_SATISFIED)
    if channel.loading is not None and command.ins not in _LOADING:
        channel.loading = None
    change = Transaction(card.storage)
    response = entry.function(card, channel, command, change)
    if change.is_pending:
        check_records(card, change)
        shaken = not _FOUNDATIONS.isdisjoint(change.changes)
        change.commit()
        if shaken:
            end_unfounded_sessions(card)
    return response


def _by_applet(card: Card, channel: Channel, applet: Applet, command: Command) -> Response:
    cla = command.cla & GP
    if cla != command.cla:
        command = Command(cla, command.ins, command.p1, command.p2, command.data, command.le, command.extended)
    change = Transaction(card.storage)
    context = Context(
        applet.aid,
        change,
        channel.session,
        volatile=channel.volatile,
        channel_number=channel.number,
        around=card.services,
    )
    response = applet.process(command, context)
    if change.is_pending and (is_ok(response.sw) or is_warning(response.sw)):
        check_records(card, change)
        try:
            change.commit()
        except StoreError:
            channel.volatile.clear()  # it may say that the command has happened
            raise
    return response


def _rule_for(channel: Channel, command: Command) -> Rule | None:
    """The rule of an instruction that is ours; None is for the selected applet, or unknown to the security domain.

    While an applet is selected only SELECT by name, MANAGE CHANNEL and what opens a secure session are ours.
    """
    ins = command.ins
    rule = RULES.get(ins)
    if rule is None or (rule.optional and not known_to(channel, command)):
        return None
    if channel.applet is None:
        return rule
    if is_gp(command.cla):
        return rule if rule.opens or (ins in _R_MAC and channel.session is not None) else None
    if rule.opens and ins != Ins.PERFORM_SECURITY_OPERATION and known_to(channel, command):
        return rule
    ours = ins == Ins.MANAGE_CHANNEL or (ins == Ins.SELECT and command.p1 == _SELECT_BY_NAME)
    return rule if ours else None
