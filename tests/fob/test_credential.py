"""The credential applet as `docs/credential-applet.md` has it: every command, every refusal, every cut of the power."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.codec.tlv import item
from keywright.crypto.ec import EcPublicKey
from keywright.errors import StatusError, WireError
from keywright.fob.credential import host
from keywright.fob.credential.applet import COMMANDS, CredentialApplet
from keywright.fob.credential.messages import CREDENTIAL_AID, Dgi, PublicKey
from keywright.fob.data_groups import MAX_GROUPS_BYTES
from keywright.globalplatform.host import secured
from keywright.globalplatform.messages import build_dgi
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.layers import complete
from keywright.sansio.dialogue import drive
from keywright.scp.scp03 import KeySet, open_channel
from keywright.store import RamMemory
from support.cards import HOST_CHALLENGE, Session, Terminal, contents, element
from support.power import CutMemory, PowerCut

CHALLENGE = bytes(range(32))
GROUPS = ((Dgi.CERTIFICATE, bytes(range(256)) * 2), (Dgi.OWNER_GROUP, "nörd".encode()), (Dgi.CONFIGURATION, b"{}"))
LEVELS = (0x01, 0x03, 0x11, 0x13, 0x33)
RECORDS = f"applet/{CREDENTIAL_AID.hex().upper()}/"


def terminal(memory: RamMemory | CutMemory | None = None, channel: int = 0) -> Terminal:
    here = Terminal(element(memory=memory or RamMemory(), applets=[CredentialApplet()]), channel)
    if channel:
        while channel not in here.card._card.channels:
            Terminal(here.card)(0x00, 0x70, 0, 0, le=1)
    here.select(CREDENTIAL_AID)
    return here


def records(memory: RamMemory) -> dict[str, bytes]:
    return {name.removeprefix(RECORDS): value for name, value in contents(memory).items() if name.startswith(RECORDS)}


def generate(session: Session) -> bytes:
    answer = session(0x80, 0x46, 0, 0, le=0)
    assert answer.sw == 0x9000
    return answer.data


# ---- every command, protected and plain -----------------------------------------------------------------------


def test_select_returns_the_aid() -> None:
    here = terminal()
    assert here.select(CREDENTIAL_AID).data == item(0x6F, item(0x84, CREDENTIAL_AID))
    assert here.select(CREDENTIAL_AID[:5]).sw == 0x9000


@pytest.mark.parametrize("channel", [0, 1, 4, 19])
@pytest.mark.parametrize("level", LEVELS)
def test_a_whole_personalisation_at_every_level_and_on_far_channels(level: int, channel: int) -> None:
    memory = RamMemory()
    here = terminal(memory, channel)
    session = here.authenticate(level)
    point = PublicKey.parse(generate(session)[3:]).point
    assert len(point) == 65
    raw = build_dgi(GROUPS)
    size = session.host.max_data
    blocks = [raw[at : at + size] for at in range(0, len(raw), size)]
    for number, block in enumerate(blocks):
        last = 0x80 if number == len(blocks) - 1 else 0
        assert session(0x80, 0xE2, 0x08 | last, number, block).sw == 0x9000
    for tag, value in GROUPS:
        assert session(0x80, 0xCA, tag >> 8, tag & 0xFF, le=0).data == item(tag, value)
        assert session(0x00, 0xCA, tag >> 8, tag & 0xFF, le=0).data == value
    signature = session(0x80, 0x2A, 0x9E, 0x9A, CHALLENGE, 0).data
    EcPublicKey.from_point("P-256", point).verify(signature, host.signed_bytes(CHALLENGE))
    assert records(memory).keys() == {"key", "point", "7F21", "DF01", "DF02"}


def test_what_a_door_needs_works_without_a_session() -> None:
    here = terminal()
    session = here.authenticate()
    generate(session)
    session(0x80, 0xE2, 0x88, 0, build_dgi(GROUPS[1:]))
    here.card.reset()
    here.select(CREDENTIAL_AID)
    value = here(0x00, 0xCA, 0x7F, 0x49, le=0).data
    assert here(0x80, 0xCA, 0xDF, 0x01, le=0).data == item(Dgi.OWNER_GROUP, "nörd".encode())
    signature = here(0x00, 0x2A, 0x9E, 0x9A, CHALLENGE, 0)
    assert len(signature.data) == 64
    EcPublicKey.from_point("P-256", PublicKey.parse(value).point).verify(signature.data, host.signed_bytes(CHALLENGE))


def test_a_signature_covers_a_prefix_of_our_own() -> None:
    assert host.signed_bytes(CHALLENGE) == b"keywright credential proof v1\0" + CHALLENGE


def test_two_fobs_make_different_keys() -> None:
    assert generate(terminal().authenticate()) != generate(terminal().authenticate())


# ---- every refusal: state x command ---------------------------------------------------------------------------

SESSIONS: dict[str, int | None] = {"none": None, "authenticated only": 0x00, "C-MAC": 0x01, "full": 0x33}
MADE = {"no key": (False, False), "key": (True, False), "key and groups": (True, True)}
COMMANDS_SENT: dict[str, tuple[int, int, int, bytes]] = {
    "GENERATE KEY PAIR": (0x46, 0x00, 0x00, b""),
    "GENERATE KEY PAIR, P1": (0x46, 0x01, 0x00, b""),
    "GENERATE KEY PAIR, P2": (0x46, 0x00, 0x81, b""),
    "GENERATE KEY PAIR with data": (0x46, 0x00, 0x00, b"\0"),
    "sign": (0x2A, 0x9E, 0x9A, CHALLENGE),
    "sign, P1": (0x2A, 0x9C, 0x9A, CHALLENGE),
    "sign, P2": (0x2A, 0x9E, 0x00, CHALLENGE),
    "sign 31 bytes": (0x2A, 0x9E, 0x9A, CHALLENGE[1:]),
    "sign 33 bytes": (0x2A, 0x9E, 0x9A, CHALLENGE + b"\0"),
    "sign nothing": (0x2A, 0x9E, 0x9A, b""),
    "GET DATA public key": (0xCA, 0x7F, 0x49, b""),
    "GET DATA certificate": (0xCA, 0x7F, 0x21, b""),
    "GET DATA owner group": (0xCA, 0xDF, 0x01, b""),
    "GET DATA unknown": (0xCA, 0xDF, 0x03, b""),
    "GET DATA of the issuer domain": (0xCA, 0x9F, 0x7F, b""),
    "GET DATA with data": (0xCA, 0x7F, 0x49, b"\x5c\x00"),
    "STORE DATA": (0xE2, 0x88, 0x00, build_dgi(GROUPS[1:])),
    "STORE DATA, case 4": (0xE2, 0x89, 0x00, build_dgi(GROUPS[1:])),
    "STORE DATA, first of several": (0xE2, 0x08, 0x00, b"\xdf\x01\x05abc"),
    "STORE DATA, block 01 first": (0xE2, 0x88, 0x01, build_dgi(GROUPS[1:])),
    "STORE DATA, TLV": (0xE2, 0x90, 0x00, b"\xdf\x01\x00"),
    "STORE DATA, encrypted": (0xE2, 0xE8, 0x00, bytes(16)),
    "STORE DATA of nothing": (0xE2, 0x88, 0x00, b""),
    "STORE DATA, cut group": (0xE2, 0x88, 0x00, b"\xdf\x01\x05abc"),
    "STORE DATA of the public key": (0xE2, 0x88, 0x00, b"\x7f\x49\x01\x00"),
    "STORE DATA of a good and an unknown group": (0xE2, 0x88, 0x00, b"\xdf\x01\x01a\xdf\x09\x01b"),
    "GET CHALLENGE": (0x84, 0x00, 0x00, b""),
    "PUT KEY": (0xD8, 0x00, 0x81, bytes(16)),
    "VERIFY": (0x20, 0x00, 0x80, b"1234"),
}


def expected(session: int | None, made: tuple[bool, bool], name: str) -> int:
    """The rules of the page, written down a second time: session, P1 P2, data, state."""
    ins, p1, p2, data = COMMANDS_SENT[name]
    key, groups = made
    there = {0x7F49: key, 0x7F21: groups, 0xDF01: groups}.get(p1 << 8 | p2, False)
    broken = "cut" in name or "nothing" in name
    foreign = "unknown" in name or "public" in name
    rules: dict[int, tuple[tuple[bool, int], ...]] = {
        0x46: ((not session, 0x6982), ((p1, p2) != (0, 0), 0x6A86), (bool(data), 0x6A80), (key, 0x6985)),
        0x2A: (((p1, p2) != (0x9E, 0x9A), 0x6A86), (len(data) != 32, 0x6700), (not key, 0x6985)),
        0xCA: ((bool(data), 0x6A80), (not there, 0x6A88)),
        0xE2: (
            (not session, 0x6982),
            (p1 & 0x7E != 0x08, 0x6A86),
            (p2 != 0, 0x6985),
            (broken, 0x6A80),
            (foreign, 0x6A88),
        ),
    }
    return next((sw for applies, sw in rules.get(ins, ((True, 0x6D00),)) if applies), 0x9000)


@pytest.mark.parametrize("made", MADE)
@pytest.mark.parametrize("session", SESSIONS)
def test_every_command_in_every_state_ends_as_the_page_says(session: str, made: str) -> None:
    for name, (ins, p1, p2, data) in COMMANDS_SENT.items():
        memory = RamMemory()
        here = terminal(memory)
        maker = here.authenticate()
        if MADE[made][0]:
            generate(maker)
        if MADE[made][1]:
            for tag, value in GROUPS:
                assert maker(0x80, 0xE2, 0x88, 0, build_dgi(((tag, value[:200]),))).sw == 0x9000
        here.select(CREDENTIAL_AID)
        before = records(memory)
        level = SESSIONS[session]
        send: Callable[..., Response] = here if level is None else here.authenticate(level)
        answer = send(0x80, ins, p1, p2, data, 0)
        want = expected(level, MADE[made], name)
        assert f"{answer.sw:04X}" == f"{want:04X}", name
        if want != 0x9000:
            assert answer.data == b""
        changes = want == 0x9000 and (ins == 0x46 or (ins == 0xE2 and p1 & 0x80))
        assert (records(memory) != before) == bool(changes and not (ins == 0xE2 and MADE[made][1])), name
        if level is not None and want != 0x9000:
            assert send(0x80, 0xCA, 0xDF, 0x7E, b"", 0).sw == 0x6A88, "a refusal keeps the session"


def test_every_instruction_that_is_not_in_the_table_is_unknown() -> None:
    here = terminal()
    session = here.authenticate()
    ours = {0x50, 0x78, 0x7A, 0x82, 0xC0, *COMMANDS}
    for ins in set(range(256)) - ours:
        assert session(0x80, ins, 0, 0, b"", 0).sw == 0x6D00
    assert set(COMMANDS) == {0x46, 0x2A, 0xCA, 0xE2}


@given(st.integers(0, 255), st.integers(0, 255), st.integers(0, 255), st.binary(max_size=60))
def test_any_command_gets_an_answer_and_no_fault(ins: int, p1: int, p2: int, data: bytes) -> None:
    session = terminal().authenticate(0x01)
    assert session(0x80, ins, p1, p2, data, 0).sw >> 12 in (6, 9)


# ---- blocks ---------------------------------------------------------------------------------------------------


def test_nothing_is_written_before_the_last_block() -> None:
    memory = RamMemory()
    session = terminal(memory).authenticate()
    assert session(0x80, 0xE2, 0x08, 0, b"\xdf\x01\x02a").sw == 0x9000
    assert records(memory) == {}
    assert session(0x80, 0xE2, 0x88, 1, b"b\xdf\x02\x00").sw == 0x9000
    assert records(memory) == {"DF01": b"ab", "DF02": b""}
    assert session(0x80, 0xCA, 0xDF, 0x02, le=0).data == bytes.fromhex("DF0200")


@pytest.mark.parametrize("between", ["command", "block", "refused block", "select", "reset"])
def test_what_comes_between_blocks_drops_them(between: str) -> None:
    memory = RamMemory()
    here = terminal(memory)
    session = here.authenticate()
    session(0x80, 0xE2, 0x08, 0, b"\xdf\x01\x02a")
    match between:
        case "command":
            session(0x80, 0xCA, 0xDF, 0x01, le=0)
        case "block":
            assert session(0x80, 0xE2, 0x08, 2, b"x").sw == 0x6985
        case "refused block":
            assert session(0x80, 0xE2, 0x90, 1, b"x").sw == 0x6A86
        case _:
            if between == "reset":
                here.card.reset()
            here.select(CREDENTIAL_AID)
            session = here.authenticate()
    assert session(0x80, 0xE2, 0x88, 1, b"b").sw == 0x6985
    assert records(memory) == {}


def test_blocks_of_more_than_the_limit_are_refused_and_dropped() -> None:
    session = terminal().authenticate(0x01)
    block = bytes(MAX_GROUPS_BYTES // 20)
    for number in range(20):
        assert session(0x80, 0xE2, 0x08, number, block).sw == 0x9000
    assert session(0x80, 0xE2, 0x08, 20, block).sw == 0x6A84
    assert session(0x80, 0xE2, 0x88, 21, b"").sw == 0x6985


def test_a_full_memory_is_6a84_and_changes_nothing() -> None:
    from keywright.errors import StoreError

    class Full(CutMemory):
        full = False

        def commit(self, changes: object) -> None:
            if self.full:
                raise StoreError("no room")
            super().commit(changes)  # type: ignore[arg-type]  # passed on as it came

    ram = RamMemory()
    memory = Full(ram)
    session = terminal(memory).authenticate()
    memory.full = True
    assert session.send(Command(0x80, 0x46, 0, 0, le=0)).sw == 0x6A84
    memory.full = False
    assert records(ram) == {}


def test_a_group_is_replaced_as_a_whole() -> None:
    session = terminal().authenticate()
    for value in (b"a longer value", b"short"):
        session(0x80, 0xE2, 0x88, 0, build_dgi(((Dgi.OWNER_GROUP, value),)))
        assert session(0x00, 0xCA, 0xDF, 0x01, le=0).data == value


# ---- power cuts -----------------------------------------------------------------------------------------------

CUTS: dict[str, tuple[Callable[[Session], Command], int]] = {
    "GENERATE KEY PAIR": (lambda s: s.wrap(0x80, 0x46, 0, 0, le=0), 1),
    "sign": (lambda s: s.wrap(0x80, 0x2A, 0x9E, 0x9A, CHALLENGE, 0), 0),
    "GET DATA": (lambda s: s.wrap(0x80, 0xCA, 0x7F, 0x49, le=0), 0),
    "first block": (lambda s: s.wrap(0x80, 0xE2, 0x08, 0, b"\xdf\x01\x02a"), 0),
    "STORE DATA": (lambda s: s.wrap(0x80, 0xE2, 0x88, 0, build_dgi(GROUPS[1:])), 1),
}


@pytest.mark.parametrize("name", CUTS)
def test_a_power_cut_leaves_everything_of_a_command_or_nothing(name: str) -> None:
    make, commits = CUTS[name]
    for kind, at in [("none", 0), *itertools.product(("before", "after"), range(1, commits + 1))]:
        ram = RamMemory()
        memory = CutMemory(ram)
        session = terminal(memory).authenticate()
        raw = make(session).encode()
        memory.commits = 0
        memory.cut_before = at if kind == "before" else 0
        memory.cut_after = at if kind == "after" else 0
        if kind == "none":
            session.terminal.raw(raw)
            assert memory.commits == commits
            continue
        with pytest.raises(PowerCut):
            session.terminal.raw(raw)
        whole = {"GENERATE KEY PAIR": {"key", "point"}, "STORE DATA": {"DF01", "DF02"}}[name]
        assert set(records(ram)) == (whole if kind == "after" else set())
        has_key = "key" in records(ram)
        again = terminal(ram).authenticate()
        assert again(0x80, 0x46, 0, 0, le=0).sw == (0x6985 if has_key else 0x9000)


# ---- the host's side ------------------------------------------------------------------------------------------


def test_the_hosts_dialogues_and_the_applet_understand_each_other() -> None:
    here = terminal()

    def send(command: Command) -> Response:
        return drive(complete(command), here.exchange)

    channel = drive(open_channel(KeySet.gp_test(), HOST_CHALLENGE), send)
    assert drive(secured(channel, host.read_public_key()), send) is None
    assert drive(secured(channel, host.read(Dgi.CERTIFICATE)), send) is None
    with pytest.raises(StatusError, match=r"sign.*6985"):
        drive(secured(channel, host.sign(CHALLENGE)), send)
    point = drive(secured(channel, host.generate_key_pair()), send)
    with pytest.raises(StatusError, match="GENERATE KEY PAIR: status 6985"):
        drive(secured(channel, host.generate_key_pair()), send)
    drive(secured(channel, host.store(GROUPS, size=channel.max_data)), send)
    assert [drive(secured(channel, host.read(tag)), send) for tag, _ in GROUPS] == [value for _, value in GROUPS]
    assert drive(secured(channel, host.read_public_key()), send) == point
    signature = drive(secured(channel, host.sign(CHALLENGE)), send)
    EcPublicKey.from_point("P-256", point).verify(signature, host.signed_bytes(CHALLENGE))


@pytest.mark.parametrize("data", ["", "7F4900", "7F2100", "7F490186", "7F49028600AA", "867F"])
def test_a_public_key_that_does_not_parse_is_the_cards_fault(data: str) -> None:
    answer = Response(bytes.fromhex(data))
    with pytest.raises(WireError):
        drive(host.generate_key_pair(), lambda _: answer)
    with pytest.raises(WireError):
        drive(host.read_public_key(), lambda _: answer)
