"""INITIALIZE UPDATE, EXTERNAL AUTHENTICATE and secure messaging, as a security domain must refuse and count them."""

from __future__ import annotations

import pytest

from keywright.errors import AuthenticationError, StatusError
from keywright.iso7816.apdu import Command, Response
from keywright.sansio.dialogue import drive
from keywright.scp.padding import pad80
from keywright.scp.scp03 import KeySet, external_authenticate, initialize_update, open_channel
from keywright.scp.scp03.host import HostChannel, Opening
from keywright.scp.scp03.messages import InitializeUpdateResponse8, InitializeUpdateResponse16
from keywright.store import RamMemory
from support.cards import (
    ECHO_AID,
    HOST_CHALLENGE,
    ISD,
    OTHER,
    OWN,
    EchoApplet,
    Session,
    Terminal,
    contents,
    element,
)

GET_KEYS = (0x80, 0xCA, 0x00, 0xE0)


def terminal(**parameters: object) -> Terminal:
    return Terminal(element(**parameters))


def is_open(session: Session) -> bool:
    return session.terminal.exchange(session.wrap(*GET_KEYS)).sw == 0x9000


class TestInitializeUpdate:
    def test_it_answers_with_kdd_key_version_protocol_and_counter(self) -> None:
        here = terminal(kdd=bytes(range(10)), sequence_counter=0x41)
        answer = InitializeUpdateResponse8.parse(here.initialize_update().data)
        assert (answer.kdd, answer.kvn, answer.scp, answer.i) == (bytes(range(10)), 0xFF, 3, 0x70)
        assert answer.sequence_counter == bytes.fromhex("000042")

    def test_s16_has_challenges_and_cryptograms_of_sixteen_bytes(self) -> None:
        here = terminal(i=0x71)
        answer = InitializeUpdateResponse16.parse(here.initialize_update(challenge=bytes(16)).data)
        assert answer.i == 0x71
        channel = drive(open_channel(KeySet.gp_test(), bytes(16), aid=ISD), here.exchange)
        assert Session(here, channel, KeySet.gp_test())(*GET_KEYS).sw == 0x9000

    @pytest.mark.parametrize(("i", "size"), [(0x70, 16), (0x70, 7), (0x70, 0), (0x71, 8), (0x71, 17)])
    def test_a_host_challenge_of_another_length_is_6700(self, i: int, size: int) -> None:
        assert terminal(i=i).initialize_update(challenge=bytes(size)).sw == 0x6700

    def test_a_key_identifier_other_than_00_is_6a86(self) -> None:
        assert terminal()(0x80, 0x50, 0x00, 0x01, HOST_CHALLENGE, 0).sw == 0x6A86

    def test_an_unknown_key_version_is_6a88(self) -> None:
        here = terminal()
        assert here.initialize_update(kvn=0x30).sw == 0x6A88
        assert here.initialize_update(kvn=0xFF).sw == 0x9000

    def test_version_00_is_the_oldest_set_of_the_owner_else_the_initial_one(self) -> None:
        here = terminal(initial_keys_stay=True)
        assert here.initialize_update().data[10] == 0xFF
        here.authenticate().put_keys(0x31, OWN)
        here.authenticate(keys=OWN).put_keys(0x30, OTHER)
        assert here.initialize_update().data[10] == 0x31

    def test_the_counter_goes_up_before_each_use_and_belongs_to_its_key_set(self) -> None:
        here = terminal(initial_keys_stay=True)
        here.authenticate().put_keys(0x30, OWN)
        counters = [here.initialize_update(kvn=kvn).data[-3:] for kvn in (0xFF, 0x30, 0x30, 0xFF)]
        assert [int.from_bytes(counter) for counter in counters] == [2, 1, 2, 3]

    def test_no_counter_means_no_session_any_more(self) -> None:
        here = terminal(sequence_counter=0xFF_FFFE)
        assert here.initialize_update().data[-3:] == b"\xff\xff\xff"
        assert here.initialize_update().sw == 0x6985

    def test_a_pseudo_random_challenge_is_made_with_the_aid_of_the_selected_application(self) -> None:
        here = terminal(applets=[EchoApplet()])
        here.select(ECHO_AID)
        drive(initialize_update(KeySet.gp_test(), HOST_CHALLENGE, aid=ECHO_AID), here.exchange)
        with pytest.raises(AuthenticationError):
            drive(initialize_update(KeySet.gp_test(), HOST_CHALLENGE, aid=ISD), here.exchange)

    def test_a_random_challenge_comes_from_the_given_source_and_needs_no_counter(self) -> None:
        memory = RamMemory()
        here = terminal(memory=memory, i=0x60, rng=lambda size: b"\xa5" * size)
        before = contents(memory)
        answer = InitializeUpdateResponse8.parse(here.initialize_update().data)
        assert (answer.card_challenge, answer.sequence_counter, answer.i) == (b"\xa5" * 8, b"", 0x60)
        assert contents(memory) == before
        assert here.raw("80CA00C100").hex() == "6a88"

    @pytest.mark.parametrize("kvn", [0x00, 0x77])
    def test_it_closes_a_running_session_even_when_it_is_refused(self, kvn: int) -> None:
        here = terminal()
        session = here.authenticate()
        here.initialize_update(kvn=kvn)
        assert not is_open(session)


class TestExternalAuthenticate:
    def test_before_initialize_update_it_is_6985(self) -> None:
        assert terminal().sw("8482330010" + "00" * 16) == 0x6985

    @pytest.mark.parametrize(
        "between",
        [
            "80CA006600",
            "00A4040008A000000151000001",
            "80F28002024F00",
            "0070800100",
            "80FE0000",
            "84CA006608" + "00" * 8,
            "8050770008" + "00" * 8,
        ],
    )
    def test_after_any_command_but_initialize_update_it_is_6985(self, between: str) -> None:
        here = terminal()
        opening = drive(initialize_update(KeySet.gp_test(), HOST_CHALLENGE), here.exchange)
        here.raw(between)
        with pytest.raises(StatusError, match="6985"):
            drive(external_authenticate(opening), here.exchange)

    def test_get_response_does_not_come_between(self) -> None:
        here = terminal()
        opening = drive(initialize_update(KeySet.gp_test(), HOST_CHALLENGE), here.exchange)
        here.raw("00C0000000")
        assert drive(external_authenticate(opening), here.exchange).is_open

    def test_a_second_one_is_6985_and_keeps_the_session_if_its_mac_is_right(self) -> None:
        here = terminal()
        session = here.authenticate()
        assert session(0x80, 0x82, 0x33, 0x00, bytes(8)).sw == 0x6985
        assert is_open(session)

    @pytest.mark.parametrize("level", [0x02, 0x10, 0x30, 0x31, 0x32, 0x80])
    def test_a_level_that_does_not_exist_is_6a86(self, level: int) -> None:
        here = terminal()
        here.initialize_update()
        assert here.sw(f"8482{level:02X}0010" + "00" * 16) == 0x6A86

    @pytest.mark.parametrize(("i", "level"), [(0x10, 0x11), (0x10, 0x33), (0x30, 0x33)])
    def test_a_level_that_i_does_not_offer_is_6a86(self, i: int, level: int) -> None:
        here = terminal(i=i)
        here.initialize_update()
        assert here.sw(f"8482{level:02X}0010" + "00" * 16) == 0x6A86

    @pytest.mark.parametrize("level", [0x00, 0x01, 0x03, 0x11, 0x13, 0x33])
    def test_every_level_that_exists_opens_and_is_what_d3_tells(self, level: int) -> None:
        session = terminal().authenticate(level)
        assert session(0x80, 0xCA, 0x00, 0xD3, le=0).data == bytes((0xD3, 1, 0x80 | level))

    def test_a_wrong_mac_is_6982_a_wrong_cryptogram_6300_and_neither_opens(self) -> None:
        for changed, sw in (("mac", 0x6982), ("cryptogram", 0x6300)):
            here = terminal()
            opening = drive(initialize_update(KeySet.gp_test(), HOST_CHALLENGE), here.exchange)
            channel = open_with(opening, changed)
            assert here.sw(channel) == sw
            assert here.sw("80F28002024F00") == 0x6982

    def test_a_wrong_length_is_6700(self) -> None:
        here = terminal()
        here.initialize_update()
        assert here.sw("8482330011" + "00" * 17) == 0x6700


def open_with(opening: Opening, changed: str) -> bytes:
    """EXTERNAL AUTHENTICATE with a wrong MAC, or with a wrong cryptogram under a right MAC."""
    cryptogram = opening.host_cryptogram
    if changed == "cryptogram":
        cryptogram = bytes((cryptogram[0] ^ 1,)) + cryptogram[1:]
    raw = bytearray(HostChannel(opening, 0x33).authenticate(cryptogram, 0x33).encode())
    if changed == "mac":
        raw[-1] ^= 1
    return bytes(raw)


class TestTries:
    def test_every_external_authenticate_is_counted_across_resets_and_restarts(self) -> None:
        memory = RamMemory()
        here = terminal(memory=memory)
        here.authenticate()
        here.raw("8482330010" + "00" * 16)
        here.card.reset()
        assert here.card.attempts == 2
        again = terminal(memory=memory)
        again.initialize_update()
        again.raw("8482330010" + "00" * 16)
        assert again.card.attempts == 3

    def test_initialize_update_alone_is_no_try(self) -> None:
        here = terminal()
        for kvn in (0xFF, 0x30, 0x00):
            here.initialize_update(kvn=kvn)
        assert here.card.attempts == 0

    def test_so_many_failures_in_a_row_block_the_key_set_and_no_other(self) -> None:
        here = terminal(try_limit=3, initial_keys_stay=True)
        here.authenticate().put_keys(0x30, OWN)
        for _ in range(3):
            assert here.initialize_update(kvn=0xFF).sw == 0x9000
            assert here.sw("8482330010" + "00" * 16) == 0x6982
        assert here.initialize_update(kvn=0xFF).sw == 0x6983
        here.card.reset()
        assert here.initialize_update(kvn=0xFF).sw == 0x6983
        here.authenticate(keys=OWN, kvn=0x30)

    def test_a_success_resets_the_count(self) -> None:
        here = terminal(try_limit=2)
        for _ in range(3):
            here.initialize_update()
            here.raw("8482330010" + "00" * 16)
            here.authenticate()
        assert here.initialize_update().sw == 0x9000

    def test_a_challenge_on_another_channel_is_no_way_round_the_limit(self) -> None:
        here = terminal(try_limit=1)
        here.raw("00700001")
        other = Terminal(here.card, 1)
        here.initialize_update()
        other.initialize_update()
        assert here.sw("8482330010" + "00" * 16) == 0x6982
        assert here.sw("8582330010" + "00" * 16) == 0x6983

    def test_without_a_limit_nothing_blocks(self) -> None:
        here = terminal()
        for _ in range(70):
            here.initialize_update()
            here.raw("8482330010" + "00" * 16)
        here.authenticate()
        assert here.card.attempts == 71


class TestMessaging:
    @pytest.mark.parametrize("level", [0x01, 0x03, 0x11, 0x13, 0x33])
    def test_a_command_without_its_protection_is_6982_and_ends_the_session(self, level: int) -> None:
        here = terminal()
        session = here.authenticate(level)
        assert here(*GET_KEYS).sw == 0x6982
        assert not is_open(session)
        assert here(*GET_KEYS).sw == 0x9000
        assert here.sw("80F28002024F00") == 0x6982

    def test_at_level_00_a_protected_command_is_6982_and_ends_the_session(self) -> None:
        here = terminal()
        session = here.authenticate(0x00)
        assert session(0x80, 0xF2, 0x80, 0x02, b"\x4f\x00").sw == 0x9000
        assert here.sw("84F280020A4F00" + "00" * 8) == 0x6982
        assert here.sw("80F28002024F00") == 0x6982

    def test_a_repeated_command_is_6982_and_ends_the_session(self) -> None:
        here = terminal()
        session = here.authenticate()
        command = session.wrap(*GET_KEYS)
        assert here.exchange(command).sw == 0x9000
        assert here.exchange(command).sw == 0x6982
        assert not is_open(session)

    @pytest.mark.parametrize(
        ("command", "sw"),
        [
            ((0x80, 0xCA, 0x01, 0x02), 0x6A88),
            ((0x80, 0xEE, 0x02, 0x00, b"\0"), 0x6D00),
            ((0x80, 0xE6, 0x02, 0x00, b"\0"), 0x6A80),
            ((0x00, 0xF2, 0x80, 0x02, b"\x4f\x00"), 0x6E00),
            ((0x80, 0xF2, 0x77, 0x02, b"\x4f\x00"), 0x6A86),
            ((0x80, 0xF0, 0x80, 0x01), 0x6985),
        ],
    )
    def test_a_refusal_goes_bare_and_keeps_the_session(self, command: tuple[int, ...], sw: int) -> None:
        here = terminal()
        session = here.authenticate()
        raw = here.exchange(session.wrap(*command))  # type: ignore[arg-type]  # header and data mixed
        assert (raw.data, raw.sw) == (b"", sw)
        assert session(*GET_KEYS).sw == 0x9000

    @pytest.mark.parametrize(
        "between", ["00C0000000", "0070000001", "00A4040006F06B77000001", "80500000", "FFCA006600", "00"]
    )
    def test_what_goes_bare_or_does_not_parse_leaves_the_session_as_it_is(self, between: str) -> None:
        here = terminal()
        session = here.authenticate()
        here.raw(between)
        assert is_open(session) is (between != "80500000")

    def test_an_empty_field_may_come_encrypted_as_one_block_of_padding(self) -> None:
        here = terminal()
        session = here.authenticate()
        host = session.host
        host._counter += 1
        enc = host._keys.enc
        block = enc.encrypt_cbc(enc.encrypt_cbc(bytes(16), host._counter.to_bytes(16)), pad80(b""))
        assert host.unwrap(here.exchange(host._with_mac(Command(*GET_KEYS), block))).sw == 0x9000
        assert is_open(session)

    @pytest.mark.parametrize("block", [bytes(16), bytes(15), b"\x01" * 16])
    def test_ciphertext_without_padding_is_6982_like_a_wrong_mac(self, block: bytes) -> None:
        here = terminal()
        session = here.authenticate()
        host = session.host
        host._counter += 1
        enc = host._keys.enc
        if len(block) == 16:
            block = enc.encrypt_cbc(enc.encrypt_cbc(bytes(16), host._counter.to_bytes(16)), block)
        assert here.exchange(host._with_mac(Command(*GET_KEYS), block)).sw == 0x6982
        assert not is_open(session)

    @pytest.mark.parametrize("size", [1, 15, 16, 239])
    def test_a_secured_command_carries_up_to_what_fits(self, size: int) -> None:
        here = terminal(applets=[EchoApplet()])
        here.select(ECHO_AID)
        assert here.authenticate()(0x80, 0x10, data=bytes(size)).data == b"\x80" + bytes(size)

    def test_an_extended_command_is_maced_with_its_long_lc(self) -> None:
        here = terminal(applets=[EchoApplet()])
        here.select(ECHO_AID)
        session = here.authenticate()
        command = Command(0x80, 0x10, 0, 0, bytes(5), 0, extended=True)
        assert session.send(command).data == b"\x80" + bytes(5)
        command = Command(0x80, 0x10, 0, 0, bytes(2000), 0, extended=True)
        assert session.send(command).data == b"\x80" + bytes(2000)
        changed = session.host.wrap(Command(0x80, 0x10, 0, 0, bytes(5), 0, extended=True))
        short = Command(changed.cla, changed.ins, 0, 0, changed.data, 0)
        assert here.exchange(short).sw == 0x6982

    def test_an_answer_is_protected_before_it_is_cut_in_pieces(self) -> None:
        here = terminal(applets=[EchoApplet()])
        here.select(ECHO_AID)
        session = here.authenticate()
        command = session.wrap(0x80, 0x18, 0x01, 0xF0, le=0)
        pieces = [here.exchange(command)]
        while pieces[-1].sw >> 8 == 0x61:
            pieces.append(here(0x00, 0xC0, le=pieces[-1].sw & 0xFF))
        assert [len(piece.data) for piece in pieces] == [256, 256, 8]
        whole = Response(b"".join(piece.data for piece in pieces), pieces[-1].sw)
        assert session.host.unwrap(whole).data == bytes(0x1F0)
