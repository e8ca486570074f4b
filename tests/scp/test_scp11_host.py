"""The host end of SCP11 against sessions recorded with cards and hosts that nobody here wrote."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from keywright.crypto.ec import EcPrivateKey, EcPublicKey
from keywright.errors import AuthenticationError, LinkError, PolicyError, SequenceError, StatusError, WireError
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.layers import complete
from keywright.sansio.dialogue import drive, through
from keywright.scp.scp11.certificates import parse_certificate, verify_signature
from keywright.scp.scp11.host import (
    ANY_CARD,
    Card,
    Holder,
    HostChannel,
    find_ca_key,
    open_channel,
    read_certificates,
    send_chain,
    verify_card,
)
from keywright.scp.scp11.messages import SCP11A, SCP11B, SCP11C, KeyReference
from keywright.scp.scp11.profile import YUBIKEY, Ecka, GroupId, Profile
from support.recovery import issuers
from support.scp11 import CURVES, layout, openscp_card, openscp_profile, reassembled, variant_of
from support.vectors import Case, load, unhex, vectors

OPENSCP = "scp/scp11_openscp.json"
HOSTID = "scp/scp11_hostid.json"
TRACE = "scp/scp11_yubikey_trace.json"


class Recording:
    """Answers with what the card of the recording answered, and keeps what it was sent."""

    def __init__(self, *answers: bytes) -> None:
        self.answers: Iterator[bytes] = iter(answers)
        self.sent: list[bytes] = []

    def __call__(self, command: Command) -> Response:
        self.sent.append(command.encode())
        return Response.parse(next(self.answers))


OK = b"\x90\x00"


def openscp_opened(case: Case, *answers: bytes) -> tuple[HostChannel, Recording]:
    curve = CURVES[case["curve"]]
    holder = Holder(EcPrivateKey.from_pkcs8(unhex(case["sk_oce_ecka_pkcs8"]), curve), ())
    ephemeral = EcPrivateKey.from_scalar(curve, unhex(case["esk_oce_ecka"]))
    peer = Recording(*(answers or (unhex(case["authenticate_rdata"]) + OK,)))
    dialogue = open_channel(
        variant_of(case),
        openscp_card(case),
        ephemeral,
        holder=holder,
        key_length=case["key_len"],
        profile=openscp_profile(case),
    )
    return drive(dialogue, peer), peer


@vectors(OPENSCP)
def test_the_host_asks_for_the_certificates_of_the_recording_and_takes_the_key_out_of_each(case: Case) -> None:
    card = Recording(unhex(case["certificate_store_rdata"]) + OK)
    chains = drive(read_certificates(KeyReference(variant_of(case).kid, 3)), card)
    assert [sent.hex() for sent in card.sent] == [case["get_data_capdu"]]
    assert {verify_card([chain], ANY_CARD).public_key for chain in chains} == {openscp_card(case).public_key}
    assert len(chains) == (2 if "Gp" in case["name"] else 1)


@vectors(OPENSCP)
def test_the_certificates_of_the_recording_lead_to_one_root(case: Case) -> None:
    """The root is not in the recordings; two certificates with its signature give its key."""
    known = next(case for case in load(OPENSCP) if case["name"] == "Scp11aP256Aes128S8Mode")
    chains = drive(read_certificates(KeyReference(0x11, 3)), Recording(unhex(known["certificate_store_rdata"]) + OK))
    keys = issuers(chains[0][0])
    mine = drive(read_certificates(KeyReference(0x11, 3)), Recording(unhex(case["certificate_store_rdata"]) + OK))
    for chain in mine:
        leaf = verify_card([chain], keys)
        assert leaf.public_key == openscp_card(case).public_key
        wrong = [key for key in keys if not verifies(chain[-1], key)]
        assert len(wrong) < len(keys)
        for key in wrong:
            with pytest.raises(AuthenticationError):
                verify_card([chain], [key])


def verifies(raw: bytes, key: EcPublicKey) -> bool:
    try:
        verify_signature(parse_certificate(raw), key, Profile())
    except AuthenticationError:
        return False
    return True


@vectors(OPENSCP)
def test_the_host_sends_the_certificates_as_recorded(case: Case) -> None:
    card = Recording(*[OK] * 9)
    for certificate, more in reassembled(case["pso_capdus"]):
        assert not more
        drive(send_chain((certificate,), KeyReference(0x10, 3), profile=openscp_profile(case)), card)
    assert [sent.hex() for sent in card.sent] == case["pso_capdus"]


@vectors(OPENSCP)
def test_the_host_sends_the_bytes_of_the_recording(case: Case) -> None:
    channel, card = openscp_opened(case)
    assert [sent.hex() for sent in card.sent] == [case["authenticate_capdu"]]
    for exchange in case["exchanges"]:
        wrapped = channel.wrap(Command.parse(unhex(exchange["plain_capdu"])))
        assert wrapped.encode().hex() == exchange["wrapped_capdu"]
        answer = channel.unwrap(Response.parse(unhex(exchange["wrapped_rapdu"])))
        assert answer.data.hex() == exchange["plain_rdata"]
    assert channel.encrypt_sensitive(bytes(16)) == _encrypted(case["s_dek"], bytes(16))
    assert (channel.scp, channel.kvn, channel.sensitive_block, channel.level) == (0x11, 3, 16, 0x33)


def _encrypted(key: str, block: bytes) -> bytes:
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    return Cipher(algorithms.AES(unhex(key)), modes.CBC(bytes(16))).encryptor().update(block)


@vectors(OPENSCP)
def test_a_flipped_bit_in_the_answer_opens_no_session(case: Case) -> None:
    raw = unhex(case["authenticate_rdata"])
    for bit in range(0, len(raw) * 8, 67):
        flipped = bytearray(raw)
        flipped[bit // 8] ^= 0x80 >> bit % 8
        with pytest.raises((AuthenticationError, WireError)):
            openscp_opened(case, bytes(flipped) + OK)


@vectors(OPENSCP)
def test_a_flipped_bit_in_a_protected_answer_closes_the_session(case: Case) -> None:
    exchange = case["exchanges"][0]
    raw = unhex(exchange["wrapped_rapdu"])
    for bit in range(0, (len(raw) - 2) * 8, 101):
        channel, _ = openscp_opened(case)
        channel.wrap(Command.parse(unhex(exchange["plain_capdu"])))
        flipped = bytearray(raw)
        flipped[bit // 8] ^= 0x80 >> bit % 8
        with pytest.raises(AuthenticationError):
            channel.unwrap(Response.parse(bytes(flipped)))
        assert not channel.is_open


# ---- HostID, other levels and curves --------------------------------------------------------------------------


def hostid_opened(case: Case, **changes: Any) -> tuple[HostChannel, Recording]:
    curve = CURVES[case["curve"]]
    ids = {name: unhex(case.get(name, "")) for name in ("card_group_id", "sin", "sdin")}
    card = Card(EcPublicKey.from_point(curve, unhex(case["pk_sd"])), 1, ids["card_group_id"], ids["sin"], ids["sdin"])
    holder = Holder(EcPrivateKey.from_scalar(curve, unhex(case["sk_oce"])), ()) if "sk_oce" in case else None
    peer = Recording(unhex(case["authenticate_rdata"]) + OK)
    ecka, group = layout(case)
    arguments: dict[str, Any] = {
        "holder": holder,
        "level": 0x11 if "kuq34" in case["name"] else 0x33,
        "key_length": case["key_len"],
        "host_id": unhex(case["host_id"]) if "host_id" in case else None,
        "profile": Profile(ecka=ecka, group_id=group),
    } | changes
    ephemeral = EcPrivateKey.from_scalar(curve, unhex(case["esk_oce"]))
    dialogue = open_channel(variant_of(case), card, ephemeral, **arguments)
    return drive(dialogue, peer), peer


@vectors(HOSTID)
def test_identifiers_levels_and_curves_give_the_bytes_computed_elsewhere(case: Case) -> None:
    channel, card = hostid_opened(case)
    assert card.sent[0].hex() == case["authenticate_capdu"]
    assert channel.encrypt_sensitive(bytes(16)) == _encrypted(case["s_dek"], bytes(16))
    for style, pads in (("wrapped_empty_not_encrypted", False), ("wrapped_empty_padded_and_encrypted", True)):
        if "first_command" in case:
            ecka, group = layout(case)
            channel, _ = hostid_opened(case, profile=Profile(ecka=ecka, group_id=group, pads_empty=pads))
            first = case["first_command"]
            assert channel.wrap(Command.parse(unhex(first["plain"]))).encode().hex() == first[style]


@vectors(HOSTID)
def test_a_host_that_does_not_know_the_layout_finds_it_by_the_receipt(case: Case) -> None:
    channel, _ = hostid_opened(case, profile=Profile(tries_layouts=True))
    assert channel.encrypt_sensitive(bytes(16)) == _encrypted(case["s_dek"], bytes(16))


WITH_IDS = [case for case in load(HOSTID) if case["name"] in ("c-P256-hostid-lv", "c-P256-hostid-raw-sha1")]


@pytest.mark.parametrize("case", WITH_IDS, ids=[case["name"] for case in WITH_IDS])
@pytest.mark.parametrize("ecka", ["x", "sha1"])
@pytest.mark.parametrize("group", ["lv", "raw"])
def test_a_layout_that_is_not_the_cards_opens_no_session(case: Case, ecka: Ecka, group: GroupId) -> None:
    profile = Profile(ecka=ecka, group_id=group)
    if (ecka, group) == layout(case):
        assert hostid_opened(case, profile=profile)[0].is_open
        return
    with pytest.raises(AuthenticationError, match="receipt"):
        hostid_opened(case, profile=profile)


# ---- a real card ----------------------------------------------------------------------------------------------

EXCHANGES = [(unhex(case["command"]), unhex(case["response"])) for case in load(TRACE)]
CERTIFICATES = EXCHANGES[3:8]
CHAIN = EXCHANGES[8:10]


def test_the_certificates_of_a_real_card_are_read_in_pieces_and_verified() -> None:
    card = Recording(*(answer for _, answer in CERTIFICATES))
    (chain,) = drive(through(read_certificates(KeyReference(0x11, 1), profile=YUBIKEY), complete), card)
    assert card.sent == [command for command, _ in CERTIFICATES]
    sub_ca, leaf = (parse_certificate(raw) for raw in chain)
    assert sub_ca.x509 is not None
    assert sub_ca.x509.policies == ("1.2.840.114283.100.0.10.2.1.50", "1.2.840.114283.100.0.10.2.1.10")
    assert verify_card([chain], [sub_ca], profile=YUBIKEY, today="20261127") == leaf
    with pytest.raises(AuthenticationError, match="today"):
        verify_card([chain], [sub_ca], profile=YUBIKEY, today="20241130")
    with pytest.raises(AuthenticationError):
        verify_card([chain], [], profile=YUBIKEY)
    assert leaf.public_key is not None
    with pytest.raises(AuthenticationError):
        verify_card([chain], [leaf.public_key], profile=YUBIKEY)
    with pytest.raises(AuthenticationError):
        verify_card([chain[1:]], [leaf], profile=YUBIKEY)


def test_the_chain_is_sent_as_a_real_card_took_it() -> None:
    """The other host left Le out; a card takes both."""
    certificate = b"".join(Command.parse(command).data for command, _ in CHAIN)
    card = Recording(OK, OK)
    drive(send_chain((certificate,), KeyReference(0x10, 3), profile=YUBIKEY), card)
    assert [sent[:-1] for sent in card.sent] == [command for command, _ in CHAIN]


def test_the_handshake_of_a_real_card_has_the_form_of_ours() -> None:
    """Its session keys are unknown, so the receipt must fail, after the same bytes but for the point."""
    command, answer = EXCHANGES[10]
    (chain,) = drive(
        through(read_certificates(KeyReference(0x11, 1)), complete), Recording(*(raw for _, raw in CERTIFICATES))
    )
    key = verify_card([chain], ANY_CARD).public_key
    assert key is not None
    ephemeral = EcPrivateKey.from_scalar("P-256", b"\x01")
    card = Recording(answer)
    with pytest.raises(AuthenticationError, match="receipt"):
        drive(open_channel(SCP11A, Card(key, 1), ephemeral, holder=Holder(ephemeral, ()), profile=YUBIKEY), card)
    sent = card.sent[0]
    assert sent[:-66] + sent[-1:] == command[:-66] + command[-1:]


def test_a_secured_command_is_as_long_as_the_recorded_one() -> None:
    case = load(OPENSCP)[0]
    channel, _ = hostid_opened(load(HOSTID)[0], profile=Profile(pads_empty=True))
    recorded = Command.parse(EXCHANGES[11][0])
    ours = channel.wrap(Command(0x80, 0xCA, 0x00, 0xE0, b"", 0))
    assert (ours.cla, ours.ins, ours.p1, ours.p2, len(ours.data), ours.le) == (
        recorded.cla,
        recorded.ins,
        recorded.p1,
        recorded.p2,
        len(recorded.data),
        recorded.le,
    )
    assert case["mac_len"] == 8


# ---- refusals -------------------------------------------------------------------------------------------------

CASE = next(case for case in load(OPENSCP) if case["name"] == "Scp11aP256Aes128S8Mode")
STATIC = next(case for case in load(OPENSCP) if case["name"] == "Scp11cP256Aes128S8Mode")
EPHEMERAL_ONLY = next(case for case in load(HOSTID) if case["name"] == "b-P256-hostid")


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (bytes.fromhex("6A88"), StatusError),
        (bytes.fromhex("6985"), StatusError),
        (OK, WireError),
        (unhex(CASE["authenticate_rdata"])[:-18] + OK, WireError),  # no receipt
        (bytes(85) + OK, WireError),
    ],
)
def test_any_other_answer_ends_the_dialogue(answer: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        openscp_opened(CASE, answer)


def test_with_scp11c_the_answer_must_hold_the_key_of_the_certificate() -> None:
    other = unhex(CASE["authenticate_rdata"])
    with pytest.raises(AuthenticationError, match="another key"):
        openscp_opened(STATIC, other + OK)


def test_a_missing_receipt_is_taken_only_with_scp11b_and_when_asked_for() -> None:
    without = {**EPHEMERAL_ONLY, "authenticate_rdata": EPHEMERAL_ONLY["authenticate_rdata"][: -18 * 2]}
    with pytest.raises(WireError, match="no receipt"):
        hostid_opened(without)
    channel, _ = hostid_opened(without, profile=Profile(receipt_may_lack=True))
    assert channel._chaining == bytes(16)
    case = load(HOSTID)[0]
    without = {**case, "authenticate_rdata": case["authenticate_rdata"][: -18 * 2]}
    with pytest.raises(WireError, match="no receipt"):
        hostid_opened(without, profile=Profile(receipt_may_lack=True))


def test_what_does_not_go_together_is_refused_before_anything_is_sent() -> None:
    card, ephemeral = openscp_card(CASE), EcPrivateKey.from_scalar("P-256", b"\x05")
    holder = Holder(ephemeral, ())
    other = EcPrivateKey.from_scalar("P-384", b"\x05")
    for dialogue, error in (
        (open_channel(SCP11A, card, ephemeral), ValueError),
        (open_channel(SCP11B, card, ephemeral, holder=holder), ValueError),
        (open_channel(SCP11A, card, other, holder=holder), ValueError),
        (open_channel(SCP11A, card, ephemeral, holder=Holder(other, ())), ValueError),
        (open_channel(SCP11B, card, ephemeral, level=0x01), ValueError),
        (open_channel(SCP11B, card, ephemeral, key_length=20), ValueError),
        (open_channel(SCP11B, card, ephemeral, level=0x13), PolicyError),
        (open_channel(SCP11C, card, ephemeral, holder=holder, profile=Profile(i=0x0B)), PolicyError),
    ):
        with pytest.raises(error):
            next(dialogue)


@pytest.mark.parametrize(
    ("sw", "error"), [(0x6600, AuthenticationError), (0x6640, AuthenticationError), (0x6A88, StatusError)]
)
def test_a_refused_certificate_stops_the_chain(sw: int, error: type[Exception]) -> None:
    chain = [certificate for certificate, _ in reassembled(CASE["pso_capdus"])] * 2
    card = Recording(OK, OK, OK, sw.to_bytes(2))
    with pytest.raises(error):
        drive(send_chain(chain, KeyReference(0x10, 3), profile=openscp_profile(CASE)), card)
    assert len(card.sent) == 4
    assert [sent[3] for sent in card.sent] == [0x90, 0x90, 0x90, 0x10]


ISSUER = parse_certificate(reassembled(CASE["pso_capdus"])[0][0]).issuer_id


@pytest.mark.parametrize(
    ("answers", "found"),
    [
        (["830210059000"], (0x10, 5)),
        (["6A88", "42026162830221079000"], (0x10, 3)),
        (["6A88", f"4202616283022107 4214{ISSUER.hex()}830222079000"], (0x22, 7)),
        (["6A88", f"FF331A 4214{ISSUER.hex()}830222079000"], (0x22, 7)),
        (["6A88", "6A88"], (0x10, 3)),
    ],
)
def test_the_ca_key_is_asked_for_then_looked_up_then_assumed(answers: list[str], found: tuple[int, int]) -> None:
    certificate = reassembled(CASE["pso_capdus"])[0][0]
    card = Recording(*(bytes.fromhex(answer) for answer in answers))
    reference = drive(find_ca_key((certificate,), default_kvn=3), card)
    assert (reference.kid, reference.kvn) == found
    assert card.sent[0].hex() == f"80ca008318a61642 14{ISSUER.hex()}00".replace(" ", "")
    assert len(card.sent) == len(answers)


def test_a_lost_answer_closes_the_session() -> None:
    channel, _ = openscp_opened(CASE)
    dialogue = channel.secure(Command(0x80, 0xCA, 0, 0x66, b"", 0))
    next(dialogue)
    with pytest.raises(LinkError):
        dialogue.throw(LinkError("gone"))
    with pytest.raises(SequenceError):
        channel.wrap(Command(0x80, 0xCA, 0, 0x66))
