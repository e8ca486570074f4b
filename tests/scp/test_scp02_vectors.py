"""Both ends of SCP02 against bytes that nobody here made: a recorded session, R-MAC and implicit initiation."""

from __future__ import annotations

import msgspec
import pytest

from keywright.iso7816.apdu import Command, Response
from keywright.sansio.dialogue import drive
from keywright.scp.padding import pad80
from keywright.scp.scp02.card import CardChannel
from keywright.scp.scp02.host import open_channel, open_implicit
from keywright.scp.scp02.keys import KeySet, derive_session, mac_of_aid
from keywright.scp.scp02.messages import answered, covered
from keywright.scp.scp02.messaging import HostChannel
from keywright.scp.scp02.profile import HOST, Profile
from support.vectors import Case, load, unhex, vectors

SESSION = load("scp/scp02.json")[0]
COMPLETE, BEGUN_CURRENT, BEGUN_SESSION, IMPLICIT = load("scp/ota_scp02_rmac_implicit.json")
BEGUN = pytest.mark.parametrize(
    ("case", "counter"), [(BEGUN_CURRENT, "current"), (BEGUN_SESSION, "session")], ids=["current", "session"]
)
ANSWER = unhex(SESSION["initialize_update_rdata"])
CHALLENGE = unhex(SESSION["host_challenge"])


class Recording:
    """Answers in turn with what it was given, and keeps what it was sent."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)
        self.sent: list[str] = []

    def __call__(self, command: Command) -> Response:
        self.sent.append(command.encode().hex().upper())
        return Response.parse(self.answers.pop(0))


def key_set(case: Case = SESSION) -> KeySet:
    return KeySet.of(*(unhex(case[f"key_{name}"]) for name in ("enc", "mac", "dek")))


def host(level: int, i: int) -> tuple[HostChannel, Recording]:
    card = Recording(ANSWER + b"\x90\x00", b"\x90\x00")
    profile = msgspec.structs.replace(HOST, any_kvn=True)
    opening = open_channel(key_set(), CHALLENGE, i=i, kvn=0x20, level=level, profile=profile, allow_legacy=True)
    return drive(opening, card), card


def card_end(i: int, external_authenticate: str, profile: Profile | None = None) -> CardChannel:
    session = CardChannel.explicit(
        key_set(), i, CHALLENGE, 1, aid=b"", card_challenge=ANSWER[14:20], profile=profile or Profile()
    )
    assert session.initialize_update(bytes(10), 0x70) == ANSWER
    session.external_authenticate(Command.parse(unhex(external_authenticate)))
    return session


@vectors("scp/scp02.json")
def test_session_keys_are_those_of_the_sequence_counter(case: Case) -> None:
    session = derive_session(key_set(case), int(case["sequence_counter"], 16))
    assert session.enc.reveal().hex() == case["s_enc"]
    assert session.mac.reveal().hex() == case["s_cmac"]
    assert session.rmac.reveal().hex() == case["s_rmac"]
    assert session.dek.reveal().hex() == case["s_dek"]
    if "kcv" in case:
        found = [getattr(session, name).kcv().hex().upper() for name in ("enc", "mac", "dek", "rmac")]
        assert found == [case["kcv"][name] for name in ("enc", "cmac", "dek", "rmac")]
        sealed = session.dek.encrypt_blocks(unhex(case["putkey_encrypt_plain"]))
        assert sealed.hex() == case["putkey_encrypt_cipher_3des_ecb_sdek"]


def test_the_host_sends_the_bytes_of_the_recording() -> None:
    channel, card = host(int(SESSION["security_level"], 16), int(SESSION["i"], 16))
    assert card.sent == [SESSION[f"{name}_capdu"].upper() for name in ("initialize_update", "external_authenticate")]
    for exchange in SESSION["exchanges"]:
        wrapped = channel.wrap(Command.parse(unhex(exchange["plain_capdu"])))
        assert wrapped.encode().hex() == exchange["wrapped_capdu"]


def test_the_card_opens_the_commands_of_the_recording() -> None:
    session = card_end(int(SESSION["i"], 16), SESSION["external_authenticate_capdu"])
    assert (session.level, session.counter) == (1, 2)
    for exchange in SESSION["exchanges"]:
        assert session.unwrap(Command.parse(unhex(exchange["wrapped_capdu"]))).encode().hex() == exchange["plain_capdu"]


def test_every_r_mac_of_a_level_that_has_it_is_that_of_the_vector() -> None:
    channel, recording = host(0x11, 0x35)
    session = card_end(0x35, COMPLETE["external_authenticate"])
    assert recording.sent[1] == COMPLETE["external_authenticate"]
    for exchange in COMPLETE["exchanges"]:
        plain, answer = Command.parse(unhex(exchange["plain"])), Response.parse(unhex(exchange["response_plain"]))
        assert channel.wrap(plain).encode().hex().upper() == exchange["wrapped"]
        assert session.unwrap(Command.parse(unhex(exchange["wrapped"]))) == plain
        sent = session.wrap(answer)
        assert sent.encode().hex().upper() == exchange["response"]
        assert channel.unwrap(sent) == answer


def test_a_bare_error_keeps_the_chain_going_on_both_ends() -> None:
    """The vector's `response_alternative`: T=0 has no data beside an error, and the R-MACs after it stay the same."""
    channel, _ = host(0x11, 0x35)
    session = card_end(0x35, COMPLETE["external_authenticate"], Profile(r_mac_on_errors=False))
    bare = 0
    for exchange in COMPLETE["exchanges"]:
        channel.wrap(Command.parse(unhex(exchange["plain"])))
        session.unwrap(Command.parse(unhex(exchange["wrapped"])))
        sent = session.wrap(Response.parse(unhex(exchange["response_plain"])))
        assert sent.encode().hex().upper() == exchange.get("response_alternative", exchange["response"])
        bare += "response_alternative" in exchange
        channel.unwrap(sent)
    assert bare == 1


@BEGUN
def test_an_r_mac_session_that_begins_later_is_that_of_the_vector_on_both_ends(case: Case, counter: str) -> None:
    channel, recording = host(0x01, 0x35)
    assert recording.sent[1] == case["external_authenticate"]
    profile = Profile(r_mac_counter="current" if counter == "current" else "session")
    session = card_end(0x35, case["external_authenticate"], profile)
    begin, read, end = case["exchanges"]
    card = Recording(*(unhex(exchange["response"]) for exchange in case["exchanges"]))

    drive(channel.begin_r_mac(unhex(begin["plain"])[6:]), card)
    session.begin_r_mac(0x10, session.unwrap(Command.parse(unhex(begin["wrapped"]))).data)
    assert session.wrap(Response(b"")).encode().hex() == begin["response"]
    assert (channel.level, session.level) == (0x11, 0x11)
    assert channel.r_mac_counter is None

    value = drive(channel.secure(Command.parse(unhex(read["plain"]))), card)
    session.unwrap(Command.parse(unhex(read["wrapped"])))
    assert session.wrap(value).encode().hex().upper() == read["response"]
    assert channel.r_mac_counter == counter
    assert len(channel._chains) == 1, "a chain of the other counter must not open anything from here on"

    mac = drive(channel.end_r_mac(), card)
    session.unwrap(Command.parse(unhex(end["wrapped"])))
    assert session.wrap(Response(session.end_r_mac(3))).encode().hex().upper() == end["response"]
    assert mac == unhex(end["response"])[:8]
    assert (channel.level, session.level) == (0x01, 0x01)
    assert card.sent == [exchange["wrapped"] for exchange in case["exchanges"]]


def test_what_the_macs_cover_is_what_the_vectors_say() -> None:
    for case, i in ((COMPLETE, 0x35), (BEGUN_CURRENT, 0x35), (IMPLICIT, 0x1A)):
        for exchange in case["exchanges"]:
            plain = Command.parse(unhex(exchange["plain"]))
            assert pad80(covered(plain, i), 8).hex().upper() == exchange["c_mac_input"]
            if "r_mac_input" in exchange:
                response = Response.parse(unhex(exchange.get("response_plain", exchange["response"])))
                if "response_plain" not in exchange and response.data:
                    response = Response(response.data[:-8], response.sw)
                assert pad80(answered(plain, response), 8).hex().upper() == exchange["r_mac_input"]


def test_an_implicit_session_is_that_of_the_vector_on_both_ends() -> None:
    static, aid = KeySet.base(unhex(IMPLICIT["base_key"])), unhex(IMPLICIT["aid"])
    before, after = (int(IMPLICIT[f"sequence_counter_{when}"], 16) for when in ("before", "after"))
    channel = open_implicit(static, before, i=0x1A, aid=aid, allow_legacy=True)
    session = CardChannel.implicit(static, 0x1A, before, aid=aid)
    for exchange in IMPLICIT["exchanges"]:
        plain = Command.parse(unhex(exchange["plain"]))
        assert channel.wrap(plain).encode().hex().upper() == exchange["wrapped"]
        assert session.unwrap(Command.parse(unhex(exchange["wrapped"]))) == plain
        assert session.counter == after
        assert channel.unwrap(session.wrap(Response(b""))) == Response(b"")
    clear, sealed = unhex(IMPLICIT["dek_example"]["plain"]), unhex(IMPLICIT["dek_example"]["cipher_cbc_iv0"])
    assert channel.encrypt_sensitive(clear) == sealed
    assert session.decrypt_sensitive(sealed) == clear
    made = derive_session(static, before, after)
    for name, key in (("s_cmac", made.mac), ("s_rmac", made.rmac), ("s_dek", made.dek)):
        assert key.reveal().hex().upper() == IMPLICIT[name]
    assert mac_of_aid(made.mac, aid).hex().upper() == IMPLICIT["first_c_icv"]
    assert mac_of_aid(made.rmac, aid).hex().upper() == IMPLICIT["first_r_icv"]
