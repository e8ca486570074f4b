"""Power lost at every commit of the Aliro applet, and in every place of a transaction, on both sides."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator

import pytest

from keywright.aliro.access import Situation
from keywright.aliro.credential import GroupRecord
from keywright.aliro.documents.access_data import AccessData, AccessRule, Capability
from keywright.aliro.documents.document import Validity
from keywright.aliro.documents.revocation_data import APPEND, RevocationData
from keywright.aliro.documents.verification import Trust
from keywright.aliro.exchange import MailboxRequest, Read, Write
from keywright.aliro.issuer import CredentialIssuer
from keywright.aliro.lock import Lock, Outcome, Settings
from keywright.aliro.messages import EXPEDITED_AID, STEP_UP_AID, ReaderStatus
from keywright.aliro.reader import Plan, authenticate, finish, use_mailbox
from keywright.crypto.ec import EcPublicKey
from keywright.element import SecureElement
from keywright.errors import StatusError, StoreError
from keywright.fob.aliro.applet import AliroApplet
from keywright.fob.aliro.messages import Credential, Dgi, Numbered
from keywright.globalplatform.messages import build_dgi
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.layers import transmit
from keywright.link import Exchange
from keywright.sansio.dialogue import drive
from keywright.store import Memory, RamMemory
from support.aliro import GROUP, fresh, key, reader, stream
from support.cards import Session, Terminal, contents, element
from support.power import CutMemory, PowerCut, sweep

NOW = 1_790_000_000
RECORDS = f"applet/{EXPEDITED_AID.hex()}/"
ISSUER = CredentialIssuer(key("credential issuer"), stream("issuer"))


class Link:
    """A link to an element."""

    extended = True

    def __init__(self, device: SecureElement) -> None:
        self.exchange = device.handle


def card(memory: Memory) -> SecureElement:
    return element(memory=memory, applets=[AliroApplet(aid, stream(aid.hex())) for aid in (EXPEDITED_AID, STEP_UP_AID)])


def terminal(memory: Memory) -> Terminal:
    here = Terminal(card(memory))
    assert here.select(EXPEDITED_AID).sw == 0x9000
    return here


def records(memory: RamMemory) -> dict[str, bytes]:
    return {
        name.lower().removeprefix(RECORDS): value
        for name, value in contents(memory).items()
        if name.lower().startswith(RECORDS)
    }


def generate(session: Session) -> EcPublicKey:
    answer = session(0x80, 0x46, 0, 0, le=0)
    assert answer.sw == 0x9000
    return EcPublicKey.from_point("P-256", answer.data[-65:])


def groups(public: EcPublicKey, *, mailbox: bytes = bytes(16)) -> bytes:
    """All four data groups of credential 0."""
    valid = Validity(NOW - 60, NOW - 60, NOW + 3600)
    access = AccessData(rules=(AccessRule(Capability.UNSECURE),))
    values = {
        Dgi.CREDENTIAL: Credential(0, (GroupRecord(GROUP, key("reader").public.point),)).build(),
        Dgi.ACCESS_DOCUMENT: ISSUER.access_document(public, {"door": access}, valid).build(),
        Dgi.REVOCATION_DOCUMENT: ISSUER.revocation_document({"door": RevocationData(APPEND)}, valid).build(),
        Dgi.MAILBOX: mailbox,
    }
    return build_dgi(tuple((tag, Numbered(b"\0", value).build()) for tag, value in values.items()))


def store(session: Session, data: bytes) -> Command:
    """Send all blocks but the last; the last, protected, to be sent."""
    parts = [data[at : at + 200] for at in range(0, len(data), 200)]
    for number, part in enumerate(parts[:-1]):
        assert session(0x80, 0xE2, 0x08, number, part).sw == 0x9000
    return session.wrap(0x80, 0xE2, 0x88, len(parts) - 1, parts[-1])


def personalised() -> RamMemory:
    memory = RamMemory()
    session = terminal(memory).authenticate()
    last = store(session, groups(generate(session)))
    session.terminal.raw(last.encode())
    assert set(records(memory)) >= {"credential/0", "mailbox/0"}
    return memory


# ---- the line's commands --------------------------------------------------------------------------------------

WRITTEN = {
    "GENERATE KEY PAIR": {"key/0", "point/0"},
    "STORE DATA": {"credential/0", "access/0", "revocation/0", "mailbox/0"},
}


@pytest.mark.parametrize("name", WRITTEN)
@pytest.mark.parametrize("after", [False, True])
def test_a_power_cut_leaves_everything_of_a_command_of_the_line_or_nothing(name: str, *, after: bool) -> None:
    ram = RamMemory()
    maker = terminal(ram).authenticate()
    public = generate(maker) if name == "STORE DATA" else None
    before = set(records(ram))
    memory = CutMemory(ram)
    session = terminal(memory).authenticate()
    if public is None:
        last = session.wrap(0x80, 0x46, 0, 0, le=0)
    else:
        last = store(session, groups(public))
        assert set(records(ram)) == before, "nothing before the last block"
    memory.commits, memory.cut_before, memory.cut_after = 0, int(not after), int(after)
    with pytest.raises(PowerCut):
        session.terminal.raw(last.encode())
    assert set(records(ram)) - before == (WRITTEN[name] if after else set())
    again = terminal(ram).authenticate()
    if public is None:
        assert again(0x80, 0x46, 0, 0, le=0).sw == (0x6985 if after else 0x9000)
    else:
        assert again(0x80, 0xE2, 0x88, 3, b"").sw == 0x6985, "blocks that were gathered are gone"
        again.terminal.raw(store(terminal(ram).authenticate(), groups(public)).encode())


def test_what_only_reads_or_gathers_commits_nothing() -> None:
    memory = CutMemory(personalised())
    session = terminal(memory).authenticate()
    memory.commits = 0
    for tag in (Dgi.CREDENTIAL, Dgi.ACCESS_DOCUMENT, Dgi.MAILBOX, Dgi.PUBLIC_KEY):
        assert session(0x80, 0xCA, tag >> 8, tag & 0xFF, b"\0", 0).sw == 0x9000
    assert session(0x80, 0xE2, 0x08, 0, b"x").sw == 0x9000
    assert memory.commits == 0


# ---- transactions ---------------------------------------------------------------------------------------------


def by_link(link: Exchange) -> Callable[[Command], Response]:
    return transmit(link)


def door(memory: Memory) -> Lock:
    return Lock(reader(), memory, Trust.of((key("credential issuer").public,)), Settings(elements=("door",)))


def visit(memory: Memory, seed: str) -> Generator[Command, Response, Outcome]:
    return door(memory).unlock(fresh(seed), Situation(now=NOW))


@pytest.mark.parametrize("visits", [0, 1])
def test_power_lost_anywhere_in_a_transaction_leaves_a_fob_that_opens_the_next_time(visits: int) -> None:
    """visits: how often the fob was there before; with 1 the fast phase is cut."""
    fob, of_lock = personalised(), RamMemory()
    for number in range(visits):
        assert drive(visit(of_lock, f"before {number}"), transmit(Link(card(fob)))).granted
    start = dict(contents(of_lock))
    current = RamMemory()

    def make_device(memory: Memory) -> SecureElement:
        if not memory.names():
            memory.commit(contents(fob))
        return card(memory)

    def make_dialogue() -> Generator[Command, Response, Outcome]:
        nonlocal current
        current = RamMemory(start)
        return visit(current, "cut")

    def recover(link: Exchange) -> None:
        assert drive(visit(current, "again"), transmit(link)).granted

    def check(device: SecureElement) -> None:
        device.reset()
        last = drive(visit(current, "last"), transmit(Link(device)))
        assert (last.granted, last.is_fast) == (True, True)

    counts = sweep(make_device, make_dialogue, recover, check, transmit=by_link)
    # SELECT, AUTH0, AUTH1, ENVELOPE in parts, EXCHANGE; or SELECT, AUTH0, EXCHANGE. AUTH1 alone commits, and once.
    assert counts["inside the command"] == (0 if visits else 1)
    assert counts["before delivery"] == counts["after delivery, before the answer"] >= (3 if visits else 5)


@pytest.mark.parametrize("visits", [0, 1])
@pytest.mark.parametrize("after", [False, True])
def test_power_lost_in_the_lock_leaves_a_fob_that_opens_the_next_time(visits: int, *, after: bool) -> None:
    device, ram = card(personalised()), RamMemory()
    for number in range(visits):
        assert drive(visit(ram, f"before {number}"), transmit(Link(device))).granted
        device.reset()
    memory = CutMemory(ram, cut_before=int(not after), cut_after=int(after))
    plan = Plan(always_standard=True)
    with pytest.raises(PowerCut):
        drive(door(memory).unlock(fresh("cut"), Situation(now=NOW), plan), transmit(Link(device)))
    device.reset()
    outcome = drive(visit(ram, "again"), transmit(Link(device)))
    assert (outcome.granted, outcome.is_fast) == (True, after)


def test_power_lost_in_a_mailbox_leaves_an_atomic_session_whole_or_undone() -> None:
    start = personalised()
    counts = {}
    for kind, at in itertools.product(("before", "after"), (1, 2, 3)):
        ram = RamMemory(contents(start))
        memory = CutMemory(ram, **{f"cut_{kind}": at})
        device = card(memory)
        memory.commits, memory.fired = 0, False
        send = transmit(Link(device))
        try:
            opened = drive(authenticate(reader(), Plan(), fresh("1"), door(RamMemory()).keys), send)
            drive(use_mailbox(opened, MailboxRequest((Write(0, b"one"),), continues=True)), send)
            drive(use_mailbox(opened, MailboxRequest((Write(3, b"two"),))), send)
            drive(finish(opened, ReaderStatus.UNSECURED), send)
        except PowerCut:
            pass
        counts[kind, at] = memory.fired
        again = transmit(Link(card(ram)))
        opened = drive(authenticate(reader(), Plan(), fresh("2"), door(RamMemory()).keys), again)
        (found,) = drive(use_mailbox(opened, MailboxRequest((Read(0, 6),))), again).reads
        assert found == (b"onetwo" if at > 2 or (kind, at) == ("after", 2) else bytes(6))
    # AUTH1 and the end of the atomic session commit, nothing else does.
    assert counts == {(kind, at): at < 3 for kind, at in counts}


# ---- a memory that is full ------------------------------------------------------------------------------------


class Full(CutMemory):
    full = False

    def commit(self, changes: object) -> None:
        if self.full:
            raise StoreError("no room")
        super().commit(changes)  # type: ignore[arg-type]  # passed on as it came


@pytest.mark.parametrize("what", ["AUTH1", "EXCHANGE"])
def test_a_command_whose_writes_do_not_fit_ends_the_transaction(what: str) -> None:
    memory = Full(personalised())
    device = card(memory)
    send = transmit(Link(device))
    begin = authenticate(reader(), Plan(fast=False), fresh("1"), door(RamMemory()).keys)
    if what == "AUTH1":
        memory.full = True
        with pytest.raises(StatusError, match="6A84"):
            drive(begin, send)
    else:
        opened = drive(begin, send)
        memory.full = True
        with pytest.raises(StatusError, match="6A84"):
            drive(use_mailbox(opened, MailboxRequest((Write(0, b"x"),))), send)
        memory.full = False
        with pytest.raises(StatusError, match="6985"):
            drive(use_mailbox(opened, MailboxRequest((Read(0, 1),))), send)
    memory.full = False
    device.reset()
    opened = drive(authenticate(reader(), Plan(), fresh("2"), door(RamMemory()).keys), send)
    assert drive(use_mailbox(opened, MailboxRequest((Read(0, 1),))), send).reads == (b"\0",)
