"""Secure messaging taken off recorded traffic: recorded from real cards and clients first, then between our ends."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import msgspec
import pytest

from keywright.crypto.aes import AesKey
from keywright.crypto.ec import EcPrivateKey, EcPublicKey
from keywright.globalplatform.recorded_agreement import RecordedAgreement
from keywright.globalplatform.unwrapping import Candidate, GivenSession, Unwrapped, Unwrapper
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.channels import with_channel
from keywright.sansio.dialogue import drive
from keywright.scp import scp02
from keywright.scp.scp03.card import CardChannel, allowed_levels
from keywright.scp.scp03.host import HostChannel, external_authenticate, initialize_update
from keywright.scp.scp03.keys import GP_TEST_KEY, KeySet, SessionKeys, derive_session
from keywright.scp.scp03.messages import NO_IV
from keywright.scp.scp03.messaging import CardMessaging, HostMessaging
from support.vectors import Case, unhex, vectors

Exchanges = list[tuple[Command, Response]]


def key_set(size: int) -> KeySet:
    return KeySet.of(*(bytes(range(n, n + size)) for n in range(3)))


def from_vector(case: Case) -> KeySet:
    return KeySet.of(unhex(case["key_enc"]), unhex(case["key_mac"]), unhex(case["key_dek"]))


def opened_vector(case: Case, keys: KeySet) -> tuple[Unwrapper, Unwrapped | None]:
    unwrapper = Unwrapper([Candidate(keys)])
    challenge = unhex(case["host_challenge"])
    initialize = Command(0x80, 0x50, 0x30, 0, challenge, 0)
    unwrapper.exchange(initialize, Response(unhex(case["initialize_update_rdata"])))
    return unwrapper, unwrapper.exchange(Command.parse(unhex(case["external_authenticate_capdu"])), Response(b""))


@vectors("scp/scp03_pysim_euicc.json")
def test_sessions_with_a_real_card_are_opened_both_ways(case: Case) -> None:
    follow(case)


@vectors("scp/scp03_openscp.json")
def test_sessions_of_another_implementation_are_opened_both_ways(case: Case) -> None:
    follow(case)


def follow(case: Case) -> None:
    unwrapper, authenticated = opened_vector(case, from_vector(case))
    assert authenticated is not None
    assert authenticated.command is not None
    for exchange in case["exchanges"]:
        raw = exchange.get("wrapped_rapdu")
        response = None if raw is None else Response.parse(unhex(raw))
        told = unwrapper.exchange(Command.parse(unhex(exchange["wrapped_capdu"])), response)
        assert told is not None
        assert told.command is not None, told.note
        expected = Command.parse(unhex(exchange["plain_capdu"]))
        assert (told.command.ins, told.command.p1, told.command.p2, told.command.data) == (
            expected.ins,
            expected.p1,
            expected.p2,
            expected.data,
        )
        if response is not None:
            assert told.response is not None, told.note
            assert told.response.data == unhex(exchange["plain_rdata"])


@vectors("scp/scp11_openscp.json")
def test_recorded_sessions_of_scp11_are_opened_with_their_session_keys(case: Case) -> None:
    enc, mac, rmac = (AesKey(unhex(case[name])) for name in ("s_enc", "s_mac", "s_rmac"))
    for receipt in (unhex(case["receipt"]), b""):
        unwrapper = Unwrapper([], [GivenSession(SessionKeys(enc, mac, rmac), receipt)])
        handshake = Command.parse(unhex(case["authenticate_capdu"]))
        unwrapper.exchange(handshake, Response(unhex(case["authenticate_rdata"])))
        for exchange in case["exchanges"]:
            raw = exchange.get("wrapped_rapdu")
            response = None if raw is None else Response.parse(unhex(raw))
            told = unwrapper.exchange(Command.parse(unhex(exchange["wrapped_capdu"])), response)
            assert told is not None
            assert told.command is not None, told.note
            assert told.command.data == Command.parse(unhex(exchange["plain_capdu"])).data
            if response is not None:
                assert told.response is not None, told.note
                assert told.response.data == unhex(exchange["plain_rdata"])


@vectors("scp/scp11_openscp.json")
def test_recorded_sessions_of_scp11_are_opened_with_the_private_keys_of_the_host(case: Case) -> None:
    static = EcPrivateKey.from_pkcs8(unhex(case["sk_oce_ecka_pkcs8"]))
    ephemeral = EcPrivateKey.from_scalar(static.curve, unhex(case["esk_oce_ecka"]))
    unwrapper = Unwrapper([], [], RecordedAgreement([static, ephemeral]))
    unwrapper.exchange(Command.parse(unhex(case["get_data_capdu"])), Response(unhex(case["certificate_store_rdata"])))
    handshake = Command.parse(unhex(case["authenticate_capdu"]))
    told = unwrapper.exchange(handshake, Response(unhex(case["authenticate_rdata"])))
    assert told is not None
    assert told.note == "the private keys given open it: its receipt is right"
    for exchange in case["exchanges"]:
        told = unwrapper.exchange(Command.parse(unhex(exchange["wrapped_capdu"])), None)
        assert told is not None
        assert told.command is not None
        assert told.command.data == Command.parse(unhex(exchange["plain_capdu"])).data


@vectors("scp/scp11_hostid.json")
def test_every_layout_of_the_derivation_is_found_by_its_receipt(case: Case) -> None:
    curve = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}[case["curve"]]
    keys = [EcPrivateKey.from_scalar(curve, unhex(case[name])) for name in ("esk_oce", "sk_oce") if name in case]
    card = [EcPublicKey.from_point(curve, unhex(case["pk_sd"]))]
    agreement = RecordedAgreement(keys, card, [unhex(case["card_group_id"])] if "card_group_id" in case else [])
    for style in ("wrapped_empty_not_encrypted", "wrapped_empty_padded_and_encrypted"):
        unwrapper = Unwrapper([], [], agreement)
        for tag, name in ((0x42, "sin"), (0x45, "sdin")):
            answer = Response(bytes((tag, len(value))) + value if (value := unhex(case.get(name, ""))) else b"", 0x9000)
            unwrapper.exchange(Command(0x80, 0xCA, 0, tag, b"", 0), answer)
        handshake = Command.parse(unhex(case["authenticate_capdu"]))
        told = unwrapper.exchange(handshake, Response(unhex(case["authenticate_rdata"])))
        assert told is not None
        assert told.note == "the private keys given open it: its receipt is right"
        if "first_command" in case:
            told = unwrapper.exchange(Command.parse(unhex(case["first_command"][style])), None)
            assert told is not None
            assert told.command == Command.parse(unhex(case["first_command"]["plain"]))


@vectors("scp/scp11_openscp.json")
def test_other_private_keys_do_not_open_it(case: Case) -> None:
    static = EcPrivateKey.from_pkcs8(unhex(case["sk_oce_ecka_pkcs8"]))
    ephemeral = EcPrivateKey.from_scalar(static.curve, unhex(case["esk_oce_ecka"]))
    handshake = Command.parse(unhex(case["authenticate_capdu"]))
    answer = Response(unhex(case["authenticate_rdata"]))
    store = Command.parse(unhex(case["get_data_capdu"])), Response(unhex(case["certificate_store_rdata"]))
    for keys, seen in (([static], True), ([ephemeral], True), ([static, ephemeral], False)):
        unwrapper = Unwrapper([], [], RecordedAgreement(keys))
        if seen:
            unwrapper.exchange(*store)
        told = unwrapper.exchange(handshake, answer)
        assert told is not None
        assert told.note == "the private keys given do not open it"


@vectors("scp/client_traces.json")
def test_sessions_of_real_clients_are_opened(case: Case) -> None:
    unwrapper = Unwrapper([Candidate(KeySet.gp_test())])
    results = [
        (one, unwrapper.exchange(one, Response.parse(unhex(exchange["rapdu"]))))
        for exchange in case["exchanges"]
        if len(raw := unhex(exchange["capdu"])) >= 4
        for one in (Command.parse(raw),)
    ]
    sealed = [told for one, told in results if one.cla & 0x04 and one.ins != 0xA4]
    assert all(told is not None and told.command is not None and told.response is not None for told in sealed)


# ---- our own ends


def initialized(size: int, mode: int, i: int, channel: int) -> tuple[HostChannel, CardChannel, Exchanges]:
    """A session at the highest level of "i", and what travelled to open it."""
    keys = key_set(size)
    card: list[CardChannel] = []
    wire: Exchanges = []

    def handle(command: Command) -> Response:
        if command.ins == 0x50:
            card.append(CardChannel(keys, i, command.data, bytes(range(mode))))
            response = Response(card[0].initialize_update(bytes(10), 0x30, b"\0\0\1" if i & 0x10 else b""))
        else:
            card[0].external_authenticate(command)
            response = Response(b"")
        wire.append((command, response))
        return response

    opening = drive(initialize_update(keys, bytes(mode), kvn=0x30, channel=channel), handle)
    host = drive(external_authenticate(opening, max(allowed_levels(i))), handle)
    return host, card[0], wire


def spoken(
    host: HostChannel | HostMessaging, card: CardMessaging, channel: int
) -> Iterator[tuple[Command, Response, Command, Response]]:
    """Plain and protected exchanges of every shape."""
    for data, answer, sw in itertools.product((b"", b"x", bytes(100)), (b"", bytes(33)), (0x9000, 0x6310, 0x6A88)):
        command = Command(with_channel(0x80, channel), 0xE2, 0x88, 0, data, 0)
        sent = host.wrap(command)
        card.unwrap(sent)
        plain = Response(answer if sw != 0x6A88 else b"", sw)
        got = card.wrap(plain)
        assert host.unwrap(got) == plain
        yield command, plain, sent, got


@pytest.mark.parametrize("channel", [0, 4])
@pytest.mark.parametrize(("mode", "i"), [(8, 0x00), (8, 0x10), (8, 0x30), (8, 0x70), (16, 0x71), (16, 0x61)])
@pytest.mark.parametrize("size", [16, 32])
def test_every_kind_of_scp03_session_is_opened(size: int, mode: int, i: int, channel: int) -> None:
    host, card, wire = initialized(size, mode, i, channel)
    keys = key_set(size)
    unwrapper = Unwrapper([Candidate(KeySet.gp_test()), Candidate(keys, 0x31), Candidate(lambda _: keys, 0x30)])
    for exchange in wire:
        unwrapper.exchange(*exchange)
    for command, plain, sent, got in spoken(host, card, channel):
        told = unwrapper.exchange(sent, got)
        assert told is not None
        assert (told.command, told.response) == (command, plain)
        assert told.note == f"SCP03 KVN 30, level {host.level:02X}"


def test_an_r_mac_session_inside_a_session_is_followed() -> None:
    keys = derive_session(KeySet.gp_test(), bytes(16))
    host, card = HostMessaging(keys, 8, 0x03, 0), CardMessaging(keys, 8, 0x03, (0x03, 0x13, 0x33))
    unwrapper = Unwrapper([], [GivenSession(keys)])
    authenticated = agreed(0x1C)
    unwrapper.exchange(*authenticated)

    def say(command: Command, answer: Response) -> Unwrapped:
        sent = host.wrap(command)
        opened = card.unwrap(sent)
        if opened.ins == 0x7A:
            card.begin_r_mac(opened.p1, opened.data)
        elif opened.ins == 0x78:
            card.end_r_mac(opened.p2)
        told = unwrapper.exchange(sent, card.wrap(answer))
        assert told is not None
        assert told.command == command
        assert told.response == answer
        return told

    plain = Response(b"answer")
    assert say(Command(0x80, 0xE2, 0, 0, b"a"), plain).note.endswith("level 03")
    say(Command(0x80, 0x7A, 0x30, 0x01, b"", 0), Response(b""))
    assert say(Command(0x80, 0xE2, 0, 0, b"b"), plain).note.endswith("level 33")
    say(Command(0x80, 0x78, 0, 0x03, b"", 0), Response(b""))
    assert say(Command(0x80, 0xE2, 0, 0, b"c"), plain).note.endswith("level 03")


def agreed(usage: int, receipt: bytes = b"") -> tuple[Command, Response]:
    """MUTUAL AUTHENTICATE of SCP11 as far as an observer reads it."""
    control = bytes.fromhex("A60D900211019501") + bytes((usage,)) + bytes.fromhex("800188810110")
    answer = bytes.fromhex("5F4901FF") + (b"\x86\x10" + receipt if receipt else b"")
    return Command(0x80, 0x82, 1, 0x11, control + bytes.fromhex("5F4901FE"), 0), Response(answer)


@pytest.mark.parametrize("mode", [8, 16])
@pytest.mark.parametrize("known", [True, False])
def test_session_keys_find_their_session_by_receipt_or_first_mac(mode: int, known: bool) -> None:  # noqa: FBT001 - a case
    receipt = bytes(range(16))
    keys, other = derive_session(KeySet.gp_test(), bytes(16)), derive_session(KeySet.gp_test(), b"o" * 16)
    given = [GivenSession(other, b"o" * 16 if known else b""), GivenSession(keys, receipt if known else b"")]
    unwrapper = Unwrapper([], given)
    unwrapper.exchange(*agreed(0x3C, receipt))
    host, card = HostMessaging(keys, mode, 0x33, 0, receipt), CardMessaging(keys, mode, 0x33, (), receipt)
    for command, plain, sent, got in spoken(host, card, 0):
        told = unwrapper.exchange(sent, got)
        assert told is not None
        assert (told.command, told.response) == (command, plain)


def test_session_keys_open_scp03_too() -> None:
    host, card, wire = initialized(16, 8, 0x70, 0)
    challenges = wire[0][0].data + bytes(range(8))
    unwrapper = Unwrapper([], [GivenSession(derive_session(key_set(16), challenges))])
    for exchange in wire:
        unwrapper.exchange(*exchange)
    command, plain, sent, got = next(iter(spoken(host, card, 0)))
    told = unwrapper.exchange(sent, got)
    assert told is not None
    assert (told.command, told.response) == (command, plain)


# ---- SCP02


def initialized02(i: int, level: int) -> tuple[scp02.HostChannel, scp02.CardChannel, scp02.KeySet, Exchanges]:
    keys = scp02.KeySet.of(*(bytes(range(n, n + 16)) for n in range(3)))
    card: list[scp02.CardChannel] = []
    wire: Exchanges = []

    def handle(command: Command) -> Response:
        if command.ins == 0x50:
            card.append(scp02.CardChannel.explicit(keys, i, command.data, 7, aid=b"", card_challenge=bytes(6)))
            response = Response(card[0].initialize_update(bytes(10), 0x20))
        else:
            card[0].external_authenticate(command)
            response = Response(b"")
        wire.append((command, response))
        return response

    opening = drive(scp02.initialize_update(keys, bytes(8), i=i, kvn=0x20, allow_legacy=True), handle)
    return drive(scp02.external_authenticate(opening, level), handle), card[0], keys, wire


@pytest.mark.parametrize("level", [0x01, 0x03, 0x10, 0x11, 0x13])
@pytest.mark.parametrize("i", [0x25, 0x35, 0x27, 0x37])
def test_every_kind_of_scp02_session_is_opened(i: int, level: int) -> None:
    host, card, keys, wire = initialized02(i, level)
    unwrapper = Unwrapper([Candidate(KeySet.gp_test()), Candidate(scp02.KeySet.gp_test()), Candidate(keys)])
    for exchange in wire:
        unwrapper.exchange(*exchange)
    for data, answer, sw in itertools.product((b"", b"x", bytes(100)), (b"", bytes(33)), (0x9000, 0x6310, 0x6A88)):
        command, plain = Command(0x80, 0xE2, 0x88, 0, data, 0), Response(answer if sw != 0x6A88 else b"", sw)
        sent = host.wrap(command)
        card.unwrap(sent)
        got = card.wrap(plain)
        assert host.unwrap(got) == plain
        told = unwrapper.exchange(sent, got)
        assert told is not None
        assert (told.command, told.response) == (command, plain), told.note
        assert told.note == f"SCP02 KVN 20, level {level:02X}"


@pytest.mark.parametrize("i", [0x0A, 0x08, 0x1A, 0x18, 0x3A, 0x28])
@pytest.mark.parametrize("channel", [0, 2])
def test_an_implicit_session_of_scp02_is_found_by_its_first_command(i: int, channel: int) -> None:
    aid = bytes.fromhex("A000000151000000")
    one = bytes(range(16))
    keys = scp02.KeySet.of(*((one,) * 3 if not i & 1 else (one, one[::-1], one[1:] + one[:1])))
    unwrapper = Unwrapper([Candidate(KeySet.gp_test()), Candidate(scp02.KeySet.gp_test()), Candidate(keys)])
    host = scp02.open_implicit(keys, 5, i=i, aid=aid, channel=channel, allow_legacy=True)
    commands = [Command(0x80, 0xF2, 0x40, 2, b"\x4f\x00", 0), Command(0x80, 0xE2, 0x80, 0, b"\x01\x02\x03")]
    sealed = [host.wrap(with_channel_of(command, channel)) for command in commands]
    fci = Response(bytes.fromhex("6F0A8408A000000151000000"))
    assert unwrapper.exchange(with_channel_of(Command(0x00, 0xA4, 4, 0, b"", 0), channel), fci) is None
    told = unwrapper.exchange(sealed[0], Response(b""))
    assert told == Unwrapped(None, None, "no key was given for this session")
    counter = Response(bytes.fromhex("C1020005"))
    assert unwrapper.exchange(with_channel_of(Command(0x80, 0xCA, 0, 0xC1, b"", 0), channel), counter) is None
    for command, one_sealed in zip(commands, sealed, strict=True):
        told = unwrapper.exchange(one_sealed, Response(b""))
        assert told is not None
        assert told.command is not None, told.note
        assert (told.command.ins, told.command.data) == (command.ins, command.data)
        assert told.note == "implicit SCP02, level 01"
    wrong = msgspec.structs.replace(sealed[1], data=sealed[1].data[:-1] + bytes((sealed[1].data[-1] ^ 1,)))
    told = unwrapper.exchange(wrong, Response(b""))
    assert told is not None
    assert told.is_bad


def with_channel_of(command: Command, channel: int) -> Command:
    return msgspec.structs.replace(command, cla=with_channel(command.cla, channel))


@vectors("scp/scp02.json")
def test_recorded_sessions_of_scp02_are_opened(case: Case) -> None:
    if "initialize_update_rdata" not in case:  # the case of session keys alone
        assert "exchanges" not in case
        return
    keys = scp02.KeySet.of(unhex(case["key_enc"]), unhex(case["key_mac"]), unhex(case["key_dek"]))
    unwrapper = Unwrapper([Candidate(keys)])
    initialize = Command(0x80, 0x50, 0, 0, unhex(case["host_challenge"]), 0)
    unwrapper.exchange(initialize, Response(unhex(case["initialize_update_rdata"])))
    unwrapper.exchange(Command.parse(unhex(case["external_authenticate_capdu"])), Response(b""))
    for exchange in case["exchanges"]:
        told = unwrapper.exchange(Command.parse(unhex(exchange["wrapped_capdu"])), None)
        assert told is not None
        assert told.command is not None, told.note
        assert told.command.data == Command.parse(unhex(exchange["plain_capdu"])).data


@pytest.mark.parametrize("where", ["command", "answer"])
def test_a_flipped_bit_ends_a_session_of_scp02(where: str) -> None:
    host, card, keys, wire = initialized02(0x35, 0x13)
    unwrapper = Unwrapper([Candidate(keys)])
    for exchange in wire:
        unwrapper.exchange(*exchange)
    sent = host.wrap(Command(0x80, 0xE2, 0x88, 0, b"x", 0))
    card.unwrap(sent)
    got = card.wrap(Response(b"y"))
    if where == "command":
        sent = Command(sent.cla, sent.ins, sent.p1, sent.p2, bytes((sent.data[0] ^ 1,)) + sent.data[1:], sent.le)
    else:
        got = Response(bytes((got.data[0] ^ 1,)) + got.data[1:], got.sw)
    told = unwrapper.exchange(sent, got)
    assert told is not None
    assert told.is_bad
    assert (told.command is None) == (where == "command")
    assert told.response is None


# ---- what cannot be opened


def test_keys_of_another_card_open_nothing_and_it_is_said() -> None:
    host, card, wire = initialized(16, 8, 0x70, 0)
    unwrapper = Unwrapper([Candidate(KeySet.gp_test())])
    told = unwrapper.exchange(*wire[0])
    assert told is not None
    assert told.note == "none of the keys given is this card's"
    unwrapper.exchange(*wire[1])
    _, _, sent, got = next(iter(spoken(host, card, 0)))
    told = unwrapper.exchange(sent, got)
    assert told == Unwrapped(None, None, "no key was given for this session")


@pytest.mark.parametrize("where", ["command", "answer"])
def test_a_flipped_bit_is_named_and_nothing_after_it_is_opened(where: str) -> None:
    host, card, wire = initialized(16, 8, 0x70, 0)
    unwrapper = Unwrapper([Candidate(key_set(16))])
    for exchange in wire:
        unwrapper.exchange(*exchange)
    spoke = spoken(host, card, 0)
    _, _, sent, got = next(spoke)
    if where == "command":
        sent = Command(sent.cla, sent.ins, sent.p1, sent.p2 ^ 1, sent.data, sent.le)
    else:
        got = Response(bytes((got.data[0] ^ 1,)) + got.data[1:], got.sw)
    told = unwrapper.exchange(sent, got)
    assert told is not None
    assert told.is_bad
    assert told.response is None
    assert (told.command is None) == (where == "command")
    _, _, sent, got = next(spoke)
    told = unwrapper.exchange(sent, got)
    assert told is not None
    assert told.command is None


@pytest.mark.parametrize("end", ["select", "reset", "again"])
def test_a_session_ends_where_the_card_ends_it(end: str) -> None:
    host, card, wire = initialized(16, 8, 0x70, 0)
    unwrapper = Unwrapper([Candidate(key_set(16))])
    for exchange in wire:
        unwrapper.exchange(*exchange)
    if end == "select":
        unwrapper.exchange(Command(0x00, 0xA4, 4, 0, b"", 0), Response(b""))
    elif end == "reset":
        unwrapper.reset()
    else:
        unwrapper.exchange(Command(0x80, 0x50, 0, 0, bytes(8), 0), Response(b"", 0x6A88))
    _, _, sent, got = next(iter(spoken(host, card, 0)))
    told = unwrapper.exchange(sent, got)
    assert told is not None
    assert told.command is None


@pytest.mark.parametrize("i", [0x00, 0x30, 0x70])
def test_a_session_is_read_on_behind_a_masked_command_and_that_is_said(i: int) -> None:
    host, card, wire = initialized(16, 8, i, 0)
    unwrapper = Unwrapper([Candidate(key_set(16))])
    for exchange in wire:
        unwrapper.exchange(*exchange)
    spoke = spoken(host, card, 0)
    _, _, sent, got = next(spoke)
    hidden = Command(sent.cla, sent.ins, sent.p1, sent.p2, bytes(len(sent.data)), sent.le)
    told = unwrapper.exchange(hidden, got, is_masked=True)
    assert told == Unwrapped(None, None, "SCP03 KVN 30: masked in the recording")
    for command, plain, sent, got in spoke:
        told = unwrapper.exchange(sent, got)
        assert told is not None
        assert (told.command, told.response) == (command, plain)
        assert told.note.endswith("MACs not checked: a command before is masked")


def test_a_session_of_scp02_ends_at_a_masked_command() -> None:
    host, card, keys, wire = initialized02(0x35, 0x13)
    unwrapper = Unwrapper([Candidate(keys)])
    for exchange in wire:
        unwrapper.exchange(*exchange)
    for is_masked in (True, False):
        sent = host.wrap(Command(0x80, 0xE2, 0x88, 0, b"x", 0))
        card.unwrap(sent)
        got = card.wrap(Response(b"y"))
        host.unwrap(got)
        told = unwrapper.exchange(sent, got, is_masked=is_masked)
        assert told is not None
        assert told.command is None


def test_an_authentication_with_a_wrong_mac_is_named() -> None:
    _, _, wire = initialized(16, 8, 0x70, 0)
    unwrapper = Unwrapper([Candidate(key_set(16))])
    unwrapper.exchange(*wire[0])
    told = unwrapper.exchange(Command(0x84, 0x82, 0x33, 0, bytes(16)), Response(b"", 0x6982))
    assert told is not None
    assert told.is_bad
    assert GP_TEST_KEY.hex() not in told.note
    assert NO_IV.hex() not in told.note


@pytest.mark.parametrize(
    ("command", "response"),
    [
        (Command(0x80, 0x50, 0, 0, bytes(8), 0), Response(bytes(28))),
        (Command(0x80, 0x50, 0, 0, bytes(8), 0), Response(bytes(11) + b"\x03")),
        (Command(0x80, 0x50, 0, 0, b"", 0), Response(b"")),
        (Command(0x80, 0x82, 0, 0, b"\xa6\xff", 0), Response(b"\x86")),
        (Command(0x80, 0x88, 0, 0, b"\xa6\x00", 0), Response(b"\x86")),
        (Command(0x84, 0x82, 0, 0, b"", 0), None),
        (Command(0x84, 0xE2, 0, 0, b"", 0), None),
    ],
)
def test_broken_messages_open_nothing(command: Command, response: Response | None) -> None:
    keys = derive_session(KeySet.gp_test(), bytes(16))
    unwrapper = Unwrapper([Candidate(KeySet.gp_test())], [GivenSession(keys, b"r" * 16)])
    told = unwrapper.exchange(command, response)
    assert told is None or (told.command is None and told.response is None)
