"""Messages of card content management: what every codec promises, and the bytes that foreign hosts and cards sent."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.codec.message import Message
from keywright.crypto.aes import AesKey
from keywright.errors import DecodeError
from keywright.globalplatform import capabilities, messages
from keywright.globalplatform.capabilities import Capabilities, ChannelCapability
from keywright.globalplatform.host import put_key_command
from keywright.globalplatform.life_cycle import CARD_TRANSITIONS, CardState, name_of
from keywright.globalplatform.messages import (
    DEFAULT_ISD,
    GP_OID,
    ApplicationEntry,
    CardData,
    CardRecognitionData,
    Cplc,
    DeleteKey,
    Fci,
    KeyComponent,
    KeyEntry,
    KeyInformation,
    PutKey,
    PutKeyField,
    PutKeyResponse,
    StatusList,
    StatusQuery,
    Tag,
    build_dgi,
    card_data,
    parse_dgi,
    secure_channel_of,
    secure_channel_oid,
    unwrapped,
    wrapped,
)
from keywright.iso7816.apdu import Command
from keywright.scp.scp03.keys import GP_TEST_KEY, KeySet
from support.messages import all_messages, check_message, parsed
from support.vectors import Case, load, unhex

MESSAGES = [*all_messages(messages), *all_messages(capabilities)]


@pytest.mark.parametrize("cls", MESSAGES, ids=lambda cls: cls.__name__)
def test_every_message_keeps_the_promises_of_a_codec(cls: type[Message]) -> None:
    check_message(cls)


# ---- what foreign hosts and cards said ------------------------------------------------------------------------


def trace(name: str) -> list[tuple[Command, bytes]]:
    """Commands of a recorded session, with the data of their answers."""
    case: Case = next(case for case in load("scp/client_traces.json") if case["name"] == name)
    return [(Command.parse(unhex(x["capdu"])), unhex(x["rapdu"])[:-2]) for x in case["exchanges"]]


def answer(name: str, p1p2: int, ins: int = 0xCA) -> bytes:
    """Data of the answer to the first such command of a session."""
    return next(data for command, data in trace(name) if command.ins == ins and command.p1 << 8 | command.p2 == p1p2)


def test_select_returns_the_issuer_domain_and_the_longest_data_it_takes() -> None:
    fci = Fci.parse(unwrapped(Tag.FCI, answer("gp_info", 0x0400, 0xA4)))
    assert fci.aid == DEFAULT_ISD
    assert fci.proprietary is not None
    assert fci.proprietary.max_data == 0xFF
    assert fci.proprietary.management_data is None


def test_cplc_has_42_bytes_of_18_fields() -> None:
    raw = bytes(range(42))
    found = Cplc.parse(raw)
    assert found.build() == raw
    assert (found.ic_fabricator, found.ic_type, found.os_id) == (0x0001, 0x0203, 0x0405)
    assert found.ic_serial == raw[12:16]
    assert found.ic_batch == 0x1011
    assert found.pre_perso_equipment == raw[30:34]
    assert found.perso_equipment == raw[38:42]
    assert found.chip_id == raw[0:4] + raw[16:18] + raw[12:16]
    assert Cplc.parse(unwrapped(Tag.CPLC, answer("gp_info", 0x9F7F))) == Cplc.parse(bytes(42))


@pytest.mark.parametrize("size", [0, 41, 43])
def test_cplc_of_another_length_is_refused(size: int) -> None:
    with pytest.raises(DecodeError):
        Cplc.parse(bytes(size))


def test_iin_and_cin_are_what_the_card_says() -> None:
    assert unwrapped(Tag.IIN, answer("gp_info", 0x0042)) == b"12345678"
    assert unwrapped(Tag.CIN, answer("gp_info", 0x0045)) == b"CIN00001"


def test_card_data_names_the_secure_channels() -> None:
    found = CardData.parse(unwrapped(Tag.CARD_DATA, answer("gp_info", 0x0066)))
    assert found.secure_channels == ((3, 0x70),)
    assert found.recognition.oid == GP_OID + b"\x01"
    assert found.recognition.management is not None
    assert found.recognition.management.oid == GP_OID + bytes((2, 2, 3, 1))
    assert found.recognition.identification is not None
    assert found.recognition.configuration is None


def test_card_data_of_ours_reads_like_the_foreign_one() -> None:
    foreign = CardData.parse(unwrapped(Tag.CARD_DATA, answer("gp_info", 0x0066)))
    ours = card_data(((3, 0x70),))
    assert ours == foreign
    assert wrapped(Tag.CARD_DATA, ours.build()) == answer("gp_info", 0x0066)


def test_a_second_byte_of_i_is_taken_raw_and_other_arcs_are_left_out() -> None:
    real = bytes.fromhex("640C060A2A864886FC6B04119B06640B06092A864886FC6B040360640A06082A864886FC6B040364030601AA")
    found = CardData.parse(b"\x73" + bytes((len(real) + 9,)) + b"\x06\x07" + GP_OID + b"\x01" + real)
    assert found.secure_channels == ((0x11, 0x9B06), (3, 0x60))


@pytest.mark.parametrize(
    ("arcs", "channel", "written"),
    [
        ("040370", (0x03, 0x70), "040370"),
        ("041106", (0x11, 0x06), "041106"),
        ("04119B06", (0x11, 0x9B06), "04119B06"),
        ("048000", (0x80, 0x00), "048000"),
        ("04810000", (0x80, 0x00), "048000"),
        ("04810106", (0x81, 0x06), "04810106"),
        ("048106", (0x81, 0x06), "04810106"),
    ],
)
def test_the_last_arcs_of_a_channel_are_read_raw_or_to_base_128(
    arcs: str, channel: tuple[int, int], written: str
) -> None:
    assert secure_channel_of(GP_OID + bytes.fromhex(arcs)) == channel
    assert secure_channel_oid(*channel) == GP_OID + bytes.fromhex(written)
    assert card_data((channel,)).secure_channels == (channel,)


@pytest.mark.parametrize("oid", ["", "2A864886FC6B", "2A864886FC6B04", "2A864886FC6B0403", "2A864886FC6B050370", "06"])
def test_another_object_identifier_names_no_channel(oid: str) -> None:
    assert secure_channel_of(bytes.fromhex(oid)) is None


def test_several_channels_may_stand_in_one_template() -> None:
    both = "6416" + "06092A864886FC6B040215" + "06092A864886FC6B040370"
    found = CardRecognitionData.parse(bytes.fromhex("06072A864886FC6B01" + both))
    assert CardData(found).secure_channels == ((2, 0x15), (3, 0x70))


def test_key_information_lists_kid_kvn_type_and_length() -> None:
    found = KeyInformation.parse(unwrapped(Tag.KEY_INFORMATION, answer("gp_info", 0x00E0)))
    assert found.keys == tuple(KeyEntry(kid, 0x30, (KeyComponent(0x88, 16),)) for kid in (1, 2, 3))
    assert found.versions == (0x30,)
    assert KeyInformation.parse(answer("yubikit", 0x00E0)) == found, "the ISO class returns the value alone"


def test_key_information_of_several_sets_names_each_version_once_in_order() -> None:
    keys = tuple(KeyEntry(kid, kvn) for kvn in (0xFF, 0x30, 0x20) for kid in (1, 2, 3))
    assert KeyInformation(keys).versions == (0xFF, 0x30, 0x20)


def test_key_information_of_a_real_card_has_components_of_a_curve() -> None:
    found = KeyInformation.parse(bytes.fromhex("C0061003B040F000"))
    assert found.keys == (KeyEntry(0x10, 3, (KeyComponent(0xB0, 0x40), KeyComponent(0xF0, 0x00))),)


def test_capabilities_of_a_foreign_card() -> None:
    found = Capabilities.parse(unwrapped(Tag.CAPABILITIES, answer("gp_info", 0x0067)))
    assert found.secure_channels == (ChannelCapability(3, b"\x70", 7),)
    assert found.domain_privileges == bytes.fromhex("FFFE80")
    assert found.application_privileges == bytes.fromhex("1E0600")
    assert found.hashes == bytes.fromhex("01020304")


def test_get_status_entries_have_what_the_card_chose_to_say() -> None:
    domain = StatusList.parse(answer("gp_install_mac", 0x8002, 0xF2)).applications
    assert domain == (ApplicationEntry(DEFAULT_ISD, 0x0F, bytes.fromhex("9EFE80")),)
    files = [data for command, data in trace("gp_install_mac") if (command.ins, command.p1) == (0xF2, 0x10)][-1]
    (file,) = StatusList.parse(files).applications
    assert (file.aid, file.life_cycle, file.version) == (bytes.fromhex("0102030405"), 1, b"\x01\x00")
    assert file.security_domain == DEFAULT_ISD
    applets = answer("gp_uninstall", 0x4002, 0xF2)
    (applet,) = StatusList.parse(applets).applications
    assert applet.load_file == bytes.fromhex("0102030405")
    assert applet.privileges == bytes(3)


def test_get_status_asks_as_gp_does() -> None:
    command = next(command for command, _ in trace("gp_install_mac") if command.ins == 0xF2)
    assert command.data[:-8] == StatusQuery(b"").build() == b"\x4f\x00"


def test_delete_names_kid_and_kvn_in_one_byte_each() -> None:
    assert DeleteKey(kvn=0x09).build().hex() == "d20109"
    assert DeleteKey(kid=1, kvn=0xFF).build().hex() == "d00101d201ff"
    assert DeleteKey.parse(b"").kvn is None
    with pytest.raises(DecodeError):
        DeleteKey.parse(bytes.fromhex("D2020009"))


# ---- PUT KEY --------------------------------------------------------------------------------------------------

TEST = KeySet.gp_test()


def test_put_key_is_built_byte_for_byte_as_gp_sends_it() -> None:
    sent = next(command for command, _ in trace("gp_lock") if command.ins == 0xD8)
    ours = put_key_command(TEST, TEST, kvn=0x30, replace=0x30)
    assert sent.data[:-8] == ours.data, "C-MAC only: the data field is the plain one and 8 bytes of MAC"
    assert (sent.ins, sent.p1, sent.p2, sent.le) == (ours.ins, ours.p1, ours.p2, ours.le)


def test_put_key_of_gp_carries_the_key_length_inside_its_block() -> None:
    sent = next(command for command, _ in trace("gp_lock") if command.ins == 0xD8)
    body = PutKey.parse(sent.data[:-8])
    assert body.kvn == 0x30
    assert len(body.keys) == 3
    for field in body.keys:
        assert (field.type, len(field.block), field.kcv.hex()) == (0x88, 17, "504a77")
        size, ciphertext = field.split()
        assert (size, TEST.dek.decrypt_cbc(bytes(16), ciphertext)) == (16, GP_TEST_KEY)


@pytest.mark.parametrize("inner", [True, False], ids=["as gp", "as yubikit and gpshell"])
@pytest.mark.parametrize("size", [16, 24, 32])
def test_both_forms_of_a_key_block_are_told_apart_by_their_length(*, size: int, inner: bool) -> None:
    key = AesKey(bytes(range(size)))
    ciphertext = TEST.dek.encrypt_cbc(bytes(16), key.reveal() + bytes(-size % 16))
    field = PutKeyField(0x88, bytes((size,)) + ciphertext if inner else ciphertext, key.kcv())
    found, block = PutKeyField.parse(field.build()).split()
    assert block == ciphertext
    assert found == (size if inner else len(ciphertext))


def test_put_key_without_inner_length_is_as_long_as_yubikit_and_gpshell_send_it() -> None:
    plain = PutKey(0x30, (PutKeyField(0x88, bytes(16), bytes(3)),) * 3).build()
    padded = (len(plain) // 16 + 1) * 16 + 8
    for name in ("yubikit", "gpshell_putauth"):
        sent = next(command for command, _ in trace(name) if command.ins == 0xD8)
        assert len(sent.data) == padded == 0x58


def test_put_key_is_answered_with_version_and_check_values() -> None:
    found = PutKeyResponse.parse(answer("gp_lock", 0x3081, 0xD8))
    assert (found.kvn, found.kcvs.hex()) == (0x30, "504a77" * 3)
    assert TEST.kcvs == found.kcvs


# ---- data groups ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("groups", "raw"),
    [
        ((), ""),
        (((0xDF01, b""),), "DF0100"),
        (((0xDF01, b"\xaa"), (0x7F21, b"\xbb\xcc")), "DF0101AA7F2102BBCC"),
        (((0x0101, bytes(254)),), "0101FE" + "00" * 254),
        (((0x0101, bytes(255)),), "0101FF00FF" + "00" * 255),
        (((0x0101, bytes(300)),), "0101FF012C" + "00" * 300),
    ],
)
def test_a_data_group_is_written_as_emv_cps_does(groups: tuple[tuple[int, bytes], ...], raw: str) -> None:
    assert build_dgi(groups) == bytes.fromhex(raw)
    assert parse_dgi(bytes.fromhex(raw)) == groups


def test_a_long_form_of_a_short_length_is_understood() -> None:
    assert parse_dgi(bytes.fromhex("DF01FF0001AA")) == ((0xDF01, b"\xaa"),)


@pytest.mark.parametrize("raw", ["DF", "DF01", "DF0102AA", "DF01FF", "DF01FF00", "DF01FF0002AA", "DF0100DF"])
def test_a_cut_data_group_is_refused(raw: str) -> None:
    with pytest.raises(DecodeError) as caught:
        parse_dgi(bytes.fromhex(raw))
    assert 0 <= caught.value.offset <= len(raw) // 2


@given(st.lists(st.tuples(st.integers(0, 0xFFFF), st.binary(max_size=300)), max_size=4).map(tuple))
def test_data_groups_come_back(groups: tuple[tuple[int, bytes], ...]) -> None:
    raw = build_dgi(groups)
    assert parse_dgi(raw) == groups
    for size in range(len(raw)):
        try:
            beginning = parse_dgi(raw[:size])
        except DecodeError:
            continue
        assert beginning == groups[: len(beginning)]


@given(st.binary(max_size=60))
def test_any_bytes_are_data_groups_or_a_decode_error(raw: bytes) -> None:
    groups = parsed(parse_dgi, raw)
    assert groups is None or parse_dgi(build_dgi(groups)) == groups


# ---- one object, and life cycles ------------------------------------------------------------------------------


def test_an_answer_with_another_object_is_refused() -> None:
    assert unwrapped(0x66, b"\x66\x01\xaa") == b"\xaa"
    for raw in (b"\x67\x01\xaa", b"", b"\x66\x01\xaa\x66\x00", b"\x66\x02\xaa"):
        with pytest.raises(DecodeError):
            unwrapped(0x66, raw)


def test_transitions_are_those_of_the_figure() -> None:
    forward = {(CardState.OP_READY, CardState.INITIALIZED), (CardState.INITIALIZED, CardState.SECURED)}
    locked = {(CardState.SECURED, CardState.CARD_LOCKED), (CardState.CARD_LOCKED, CardState.SECURED)}
    ends = {(state, CardState.TERMINATED) for state in CardState} - {(CardState.TERMINATED, CardState.TERMINATED)}
    assert forward | locked | ends == CARD_TRANSITIONS


@pytest.mark.parametrize(("state", "name"), [(0x0F, "SECURED"), (0x7F, "CARD_LOCKED"), (0x42, "42"), (0x100, "100")])
def test_a_state_has_a_name_or_its_number(state: int, name: str) -> None:
    assert name_of(state) == name
