"""Card content management from outside: what is sent, and what each kind of answer comes to."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from keywright.codec.tlv import item
from keywright.errors import DecodeError, KeywrightError, LinkError, SequenceError, StatusError, WireError
from keywright.globalplatform.host import (
    MAX_PAGES,
    Asked,
    Dialogue,
    Identity,
    KcvMismatchError,
    card_state,
    delete_keys,
    get_data,
    get_status,
    get_value,
    identify,
    key_information,
    put_key_command,
    put_keys,
    secured,
    select,
    set_card_state,
    store_data,
)
from keywright.globalplatform.messages import Cplc, KeyEntry, PutKeyResponse, StatusScope, StoreData, Tag, card_data
from keywright.iso7816 import Command, Response, transmit
from keywright.link import Loopback
from keywright.sansio.dialogue import drive
from keywright.scp.scp03 import KeySet, open_channel
from support.cards import HOST_CHALLENGE, ISD, OTHER, OWN, element

TEST = KeySet.gp_test()


def talk(dialogue: Dialogue[Asked], answers: Iterable[str]) -> tuple[Asked, list[str]]:
    """Result of a dialogue over scripted answers (hex), and the commands it sent."""
    sent: list[str] = []
    script = iter(answers)

    def exchange(command: Command) -> Response:
        sent.append(command.encode().hex().upper())
        return Response.parse(bytes.fromhex(next(script)))

    result = drive(dialogue, exchange)
    assert next(script, None) is None, "an answer was not asked for"
    return result, sent


def refused(dialogue: Dialogue[Asked], answers: Iterable[str]) -> KeywrightError:
    with pytest.raises(KeywrightError) as caught:
        talk(dialogue, answers)
    return caught.value


# ---- SELECT and GET DATA --------------------------------------------------------------------------------------

FCI = "6F108408A000000151000000A5049F6501FF"


def test_select_without_a_name_asks_for_the_issuer_domain() -> None:
    fci, sent = talk(select(), [FCI + "9000"])
    assert sent == ["00A4040000"]
    assert fci is not None
    assert fci.aid == ISD


def test_select_by_name_and_no_file_control_information() -> None:
    fci, sent = talk(select(bytes.fromhex("F06B6501")), ["9000"])
    assert fci is None
    assert sent == ["00A4040004F06B650100"]


def test_select_of_the_next_application_with_this_beginning() -> None:
    assert talk(select(bytes.fromhex("F06B"), following=True), ["9000"])[1] == ["00A4040202F06B00"]


def test_get_data_asks_for_a_part_of_a_list() -> None:
    assert talk(get_data(Tag.APPLICATION_LIST, b"\x5c\x00"), ["61034F01AA9000"])[1] == ["80CA2F00025C0000"]


def test_a_locked_card_is_selected_all_the_same() -> None:
    assert talk(select(), [FCI + "6283"])[0] is not None


@pytest.mark.parametrize("sw", ["6A82", "6999", "6A81"])
def test_a_refused_select_names_what_was_to_be_selected(sw: str) -> None:
    error = refused(select(ISD), [sw])
    assert isinstance(error, StatusError)
    assert f"SELECT {ISD.hex().upper()}: status {sw}" in str(error)
    assert "issuer security domain" in str(refused(select(), [sw]))


@pytest.mark.parametrize("data", ["6F", "6F00", "6F048408A000", "7000", "6F02840185", "FF"])
def test_file_control_information_that_does_not_parse_is_the_cards_fault(data: str) -> None:
    assert isinstance(refused(select(), [data + "9000"]), WireError)


@pytest.mark.parametrize("sw", ["6A88", "6A82", "6A86"])
def test_an_absent_object_is_none(sw: str) -> None:
    assert talk(get_data(0x0042), [sw]) == (None, ["80CA004200"])
    assert talk(get_value(0x0042), [sw])[0] is None


@pytest.mark.parametrize("sw", ["6982", "6985", "6D00", "6F00", "6283"])
def test_every_other_refusal_names_the_object(sw: str) -> None:
    assert f"GET DATA 9F7F: status {sw}" in str(refused(get_value(0x9F7F), [sw]))


def test_a_value_is_taken_out_of_its_object() -> None:
    assert talk(get_value(0x0042), ["4203AABBCC9000"])[0] == bytes.fromhex("AABBCC")
    assert talk(get_data(0x0042), ["4203AABBCC9000"])[0] == bytes.fromhex("4203AABBCC")


@pytest.mark.parametrize("data", ["4503AABBCC", "AABBCC", "4204AABBCC", "", "42004200"])
def test_another_object_than_asked_for_is_the_cards_fault(data: str) -> None:
    assert isinstance(refused(get_value(0x0042), [data + "9000"]), WireError)


# ---- identify -------------------------------------------------------------------------------------------------

CPLC = Cplc.parse(bytes(range(42)))
OBJECTS = {
    "fci": FCI + "9000",
    "cplc": item(Tag.CPLC, CPLC.build()).hex() + "9000",
    "card_data": item(Tag.CARD_DATA, card_data(((3, 0x70),)).build()).hex() + "9000",
    "keys": "E012C00401308810C00402308810C004033088109000",
    "iin": "42029901" + "9000",
    "cin": "45020001" + "9000",
}


def read_identity(**answers: str) -> Identity:
    return talk(identify(), [answers.get(name, OBJECTS[name]) for name in OBJECTS])[0]


def test_identify_reads_everything_public_in_one_order() -> None:
    found, sent = talk(identify(), OBJECTS.values())
    assert sent == ["00A4040000", "80CA9F7F00", "80CA006600", "80CA00E000", "80CA004200", "80CA004500"]
    assert found.cplc == CPLC
    assert found.card_data == card_data(((3, 0x70),))
    assert found.keys is not None
    assert found.keys.keys[0] == KeyEntry(1, 0x30, found.keys.keys[0].components)
    assert (found.iin, found.cin) == (b"\x99\x01", b"\x00\x01")
    assert found.uid == CPLC.chip_id.hex()


@pytest.mark.parametrize("missing", [name for name in OBJECTS if name != "fci"])
def test_identify_goes_on_without_any_one_object(missing: str) -> None:
    found = read_identity(**{missing: "6A88"})
    assert getattr(found, missing) is None
    assert all(getattr(found, name) is not None for name in OBJECTS if name != missing)


def test_identify_of_a_card_that_says_nothing() -> None:
    found = read_identity(**dict.fromkeys(OBJECTS, "6A88") | {"fci": "9000"})
    assert found == Identity(None, None, None, None, None, None)
    assert found.uid == ""


def test_without_a_chip_serial_the_card_is_told_by_iin_and_cin() -> None:
    assert read_identity(cplc="6A88").uid == "99010001"
    assert read_identity(cplc=item(Tag.CPLC, bytes(42)).hex() + "9000").uid == "99010001"
    assert read_identity(cplc="6A88", iin="6A88").uid == "0001"


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("cplc", "9F7F02AABB9000"),
        ("cplc", "9F7E00" + "9000"),
        ("card_data", "660101" + "9000"),
        ("card_data", "66009000"),
        ("keys", "E003C001019000"),
        ("iin", "4205AA9000"),
    ],
)
def test_an_object_that_does_not_parse_is_a_wire_error_not_a_crash(name: str, answer: str) -> None:
    with pytest.raises(WireError) as caught:
        read_identity(**{name: answer})
    assert not isinstance(caught.value, DecodeError)


def test_key_information_is_none_where_the_card_does_not_say() -> None:
    assert talk(key_information(), ["6A88"])[0] is None


# ---- keys -----------------------------------------------------------------------------------------------------


def test_put_keys_compares_version_and_check_values() -> None:
    good = PutKeyResponse(0x30, OWN.kcvs).build().hex() + "9000"
    _, (sent,) = talk(put_keys(TEST, OWN, kvn=0x30), [good])
    assert sent == put_key_command(OWN, TEST, kvn=0x30).encode().hex().upper()
    assert sent.startswith("80D80081")


def test_put_keys_in_place_of_a_version() -> None:
    command = put_key_command(OWN, TEST, kvn=0x31, replace=0x30)
    assert (command.p1, command.p2, command.data[0]) == (0x30, 0x81, 0x31)


@pytest.mark.parametrize("answer", ["", "30"])
def test_a_card_may_confirm_less(answer: str) -> None:
    talk(put_keys(TEST, OWN, kvn=0x30), [answer + "9000"])


@pytest.mark.parametrize(
    "answer",
    [
        PutKeyResponse(0x31, OWN.kcvs).build(),
        PutKeyResponse(0x30, OTHER.kcvs).build(),
        PutKeyResponse(0x30, OWN.kcvs[:-1]).build(),
        PutKeyResponse(0x30, OWN.kcvs + b"\0").build(),
        PutKeyResponse(0x30, OWN.kcvs[:6] + OTHER.kcvs[6:]).build(),
    ],
)
def test_a_card_that_confirms_other_keys_is_suspect(answer: bytes) -> None:
    error = refused(put_keys(TEST, OWN, kvn=0x30), [answer.hex() + "9000"])
    assert isinstance(error, KcvMismatchError)
    assert "set the card aside" in error.hint
    assert OWN.kcvs.hex() not in str(error)


def test_a_refused_put_key_names_its_version() -> None:
    assert "PUT KEY (KVN 30): status 6A84" in str(refused(put_keys(TEST, OWN, kvn=0x30), ["6A84"]))


@pytest.mark.parametrize("size", [16, 24, 32])
def test_a_key_of_any_size_is_padded_to_blocks_and_decrypts_to_itself(size: int) -> None:
    new = KeySet.of(*(bytes((n,)) * size for n in (1, 2, 3)))
    command = put_key_command(new, OTHER, kvn=0x30)
    assert len(command.data) == 1 + 3 * (1 + 1 + 1 + -(-size // 16) * 16 + 1 + 3)
    at = command.data.index(bytes((size,)), 3)
    block = command.data[at + 1 : at + 1 + -(-size // 16) * 16]
    assert OTHER.dek.decrypt_cbc(bytes(16), block) == b"\x01" * size + bytes(-size % 16)


def test_delete_keys_names_the_version() -> None:
    assert talk(delete_keys(0xFF), ["009000"])[1] == ["80E4000003D201FF00"]
    assert "DELETE KEY (KVN FF): status 6985" in str(refused(delete_keys(0xFF), ["6985"]))


# ---- GET STATUS and SET STATUS --------------------------------------------------------------------------------


def entry(number: int) -> str:
    return f"E30C4F06F00000000{number:03X}9F700107"


def test_get_status_collects_pages_until_9000() -> None:
    found, sent = talk(get_status(StatusScope.APPLICATIONS), [entry(1) + entry(2) + "6310", entry(3) + "9000"])
    assert [one.aid[-1] for one in found] == [1, 2, 3]
    assert sent == ["80F24002024F0000", "80F24003024F0000"]


def test_get_status_of_nothing_is_empty() -> None:
    assert talk(get_status(StatusScope.LOAD_FILES), ["6A88"])[0] == ()


def test_get_status_ends_also_where_the_last_page_is_not_found() -> None:
    assert len(talk(get_status(StatusScope.APPLICATIONS), [entry(1) + "6310", "6A88"])[0]) == 1


def test_get_status_asks_for_names_that_begin_so() -> None:
    assert talk(get_status(StatusScope.APPLICATIONS, b"\xf0\x6b"), ["6A88"])[1] == ["80F24002044F02F06B00"]


def test_get_status_asks_for_the_tags_it_wants() -> None:
    _, sent = talk(get_status(StatusScope.APPLICATIONS, tags=b"\x4f\x9f\x70\xc5"), ["6A88"])
    assert sent == ["80F24002084F005C044F9F70C500"]


def test_get_status_reads_the_old_format_page_by_page() -> None:
    answers = ["05F06B77000107006310", "05F06B77000287049000"]
    found, sent = talk(get_status(StatusScope.APPLICATIONS, legacy=True), answers)
    assert [(one.aid[-1], one.life_cycle, one.privileges) for one in found] == [(1, 7, b"\0"), (2, 0x87, b"\x04")]
    assert sent == ["80F24000024F0000", "80F24001024F0000"]


@pytest.mark.parametrize("answer", ["6310", "E30100" + "9000", "AA9000", "E30A4F03A000009F700107" + "9000"])
def test_pages_that_make_no_sense_are_the_cards_fault(answer: str) -> None:
    assert isinstance(refused(get_status(StatusScope.APPLICATIONS), [answer]), WireError)


def test_pages_without_end_are_given_up() -> None:
    error = refused(get_status(StatusScope.APPLICATIONS), [entry(1) + "6310"] * (MAX_PAGES + 1))
    assert isinstance(error, WireError)
    assert f"{MAX_PAGES} times" in str(error)


def test_the_cards_state_is_that_of_the_issuer_domain() -> None:
    state, sent = talk(card_state(), ["E30E4F08A0000001510000009F70010F9000"])
    assert state == 0x0F
    assert sent == ["80F28002024F0000"]


def test_a_card_without_an_issuer_domain_has_no_state() -> None:
    assert isinstance(refused(card_state(), ["6A88"]), WireError)


def test_set_card_state_names_the_state() -> None:
    assert talk(set_card_state(0x0F), ["9000"])[1] == ["80F0800F"]
    assert "SET STATUS (card to 0F): status 6985" in str(refused(set_card_state(0x0F), ["6985"]))


# ---- STORE DATA -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "blocks"),
    [
        (0, ["80E28800"]),
        (1, ["80E288000100"]),
        (4, ["80E288000400010203"]),
        (5, ["80E208000400010203", "80E288010104"]),
        (8, ["80E208000400010203", "80E288010404050607"]),
    ],
)
def test_blocks_are_numbered_from_zero_and_the_last_is_marked(size: int, blocks: list[str]) -> None:
    assert talk(store_data(bytes(range(size)), size=4), ["9000"] * len(blocks))[1] == blocks


def test_other_structures_keep_their_bits() -> None:
    assert talk(store_data(b"\x01", size=4, structure=StoreData.BER_TLV), ["9000"])[1] == ["80E290000101"]


def test_a_refused_block_is_named_and_nothing_more_is_sent() -> None:
    error = refused(store_data(bytes(12), size=4), ["9000", "6A84"])
    assert "STORE DATA (block 01): status 6A84" in str(error)


def test_more_than_256_blocks_are_refused_before_the_first() -> None:
    assert len(talk(store_data(bytes(256), size=1), ["9000"] * 256)[1]) == 256
    with pytest.raises(ValueError, match="more than 256 blocks"):
        talk(store_data(bytes(257), size=1), [])


# ---- under a channel ------------------------------------------------------------------------------------------


def test_every_dialogue_runs_under_a_channel_as_it_runs_plainly() -> None:
    card = element()
    send = transmit(Loopback(card))
    plainly = drive(get_value(Tag.CIN), send)
    channel = drive(open_channel(TEST, HOST_CHALLENGE), send)
    assert drive(secured(channel, get_value(Tag.CIN)), send) == plainly
    drive(secured(channel, put_keys(TEST, OWN, kvn=0x30)), send)
    own = drive(open_channel(OWN, HOST_CHALLENGE, kvn=0x30), send)
    information = drive(secured(own, key_information()), send)
    assert information is not None
    assert information.versions == (0x30,)
    drive(secured(own, set_card_state(0x07)), send)
    assert drive(secured(own, card_state()), send) == 0x07


def test_a_refusal_keeps_the_channel_and_a_lost_answer_closes_it() -> None:
    card = element()
    send = transmit(Loopback(card))
    channel = drive(open_channel(TEST, HOST_CHALLENGE), send)
    with pytest.raises(StatusError):
        drive(secured(channel, delete_keys(0x55)), send)
    assert channel.is_open
    assert drive(secured(channel, get_value(Tag.CIN)), send)

    def lost(_: Command) -> Response:
        raise LinkError("gone", None)

    with pytest.raises(LinkError):
        drive(secured(channel, get_value(Tag.CIN)), lost)
    assert not channel.is_open


def test_a_closed_channel_sends_nothing() -> None:
    card = element()
    send = transmit(Loopback(card))
    channel = drive(open_channel(TEST, HOST_CHALLENGE), send)
    channel.close()
    sent: list[Command] = []

    def exchange(command: Command) -> Response:
        sent.append(command)
        return Response(b"")

    with pytest.raises(SequenceError, match="closed"):
        drive(secured(channel, get_value(Tag.CIN)), exchange)
    assert sent == []
