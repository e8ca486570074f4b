"""The data objects beside SCP11, both ends: certificates, CA identifiers, allow-lists, and keys that a card makes."""

from __future__ import annotations

import pytest

from keywright.codec.tlv import item
from keywright.crypto.ec import EcPublicKey
from keywright.errors import AuthenticationError, StatusError, WireError
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.refusal import Refusal
from keywright.sansio.dialogue import drive
from keywright.scp.scp11.authority import Form
from keywright.scp.scp11.certificates import Certificate, parse_certificate, parse_certificate_stores
from keywright.scp.scp11.data import accept_allow_list, get_data, leaf_of
from keywright.scp.scp11.host import ANY_CARD, find_ca_key, read_certificates, verify_card
from keywright.scp.scp11.loading import allow_list, generate_ec_key, serial_of
from keywright.scp.scp11.messages import AllowList, KeyReference
from keywright.scp.scp11.profile import Profile
from support.scp11 import KLOC, CardEnd, Domain, authority, domain, holder, key

FORMS: tuple[Form, ...] = ("x509", "gp")
ROOT = authority("card", "x509")[0]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("gp_class", [False, True])
def test_the_host_reads_and_verifies_what_the_card_has_stored(form: Form, *, gp_class: bool) -> None:
    made = domain(form=form)
    profile = Profile(gp_class_for_certificates=gp_class)
    root = authority("card", form)[0]
    by_key = drive(read_certificates(KeyReference(0x11, 1), profile=profile), CardEnd(made))
    by_issuer = drive(read_certificates(root.identifier, profile=profile), CardEnd(made))
    assert by_key == by_issuer
    assert len(by_key[0]) == 2
    anchor = parse_certificate(root.certificate)
    several: list[list[EcPublicKey | Certificate]] = [[anchor], [root.public], [key("P-256", "other").public, anchor]]
    for roots in several:
        assert verify_card(by_key, roots).public_key == key("P-256", "SD").public


def test_a_card_of_another_root_is_refused_unless_any_card_will_do() -> None:
    chains = drive(read_certificates(KeyReference(0x11, 1)), CardEnd(domain()))
    other = authority("host", "x509")[0]
    for roots in ([other.public], [parse_certificate(other.certificate)], []):
        with pytest.raises(AuthenticationError):
            verify_card(chains, roots)
    assert verify_card(chains, ANY_CARD).public_key == key("P-256", "SD").public
    with pytest.raises(AuthenticationError):
        verify_card([()], ANY_CARD)
    with pytest.raises(AuthenticationError):
        verify_card([], [ROOT.public])
    with pytest.raises(WireError):
        verify_card([(b"0\x00",)], [ROOT.public])


def test_one_good_chain_is_enough_and_without_one_the_first_says_why() -> None:
    (good,) = parse_certificate_stores(domain().stores[1, 0x11])
    unreadable, foreign = (b"0\x00",), holder("x509").chain
    for chains in ([unreadable, good], [foreign, good], [good, unreadable]):
        assert verify_card(chains, [ROOT.public]).public_key == key("P-256", "SD").public
    with pytest.raises(WireError):
        verify_card([unreadable, foreign], [ROOT.public])
    with pytest.raises(AuthenticationError):
        verify_card([foreign, unreadable], [ROOT.public])


def test_a_chain_of_the_hosts_side_is_no_card() -> None:
    root = authority("host", "x509")[0]
    chain = holder("x509").chain
    with pytest.raises(AuthenticationError, match="polic"):
        verify_card([chain], [root.public])
    assert verify_card([chain], [root.public], profile=Profile(policies="ignored")).public_key is not None


@pytest.mark.parametrize("form", FORMS)
def test_dates_are_checked_when_the_day_is_told(form: Form) -> None:
    chains = parse_certificate_stores(domain(form=form).stores[1, 0x11])
    root = authority("card", form)[0].public
    for today, due in (("20250101", True), ("20450101", True), ("20241231", False), ("20450102", False)):
        if due:
            verify_card(chains, [root], today=today)
        else:
            with pytest.raises(AuthenticationError, match="today"):
                verify_card(chains, [root], today=today)


def test_every_flipped_bit_of_the_cards_chain_is_found() -> None:
    for form in FORMS:
        root = authority("card", form)[0].public
        (chain,) = parse_certificate_stores(domain(form=form).stores[1, 0x11])
        for number, raw in enumerate(chain):
            for bit in range(0, len(raw) * 8, 41):
                flipped = bytearray(raw)
                flipped[bit // 8] ^= 1 << bit % 8
                changed = [*chain[:number], bytes(flipped), *chain[number + 1 :]]
                with pytest.raises((AuthenticationError, WireError)):
                    verify_card([changed], [root])


def test_the_host_finds_the_ca_key_that_the_card_names() -> None:
    assert drive(find_ca_key(holder("x509").chain, default_kvn=1), CardEnd(domain())) == KLOC
    unnamed = domain(names={})
    assert drive(find_ca_key(holder("x509").chain, default_kvn=9), CardEnd(unnamed)) == KeyReference(0x10, 9)


@pytest.mark.parametrize(
    ("number", "data", "sw"),
    [
        (0xBF21, "", 0x6A80),
        (0xBF21, "A600", 0x6A80),
        (0xBF21, "A6088302110142026964", 0x6A80),
        (0xBF21, "A60483021109", 0x6A88),
        (0xBF21, "A604420269FF", 0x6A88),
        (0x0083, "A604420269FF", 0x6A88),
        (0x0083, "A60483021101", 0x6A88),
        (0x0083, "83021101", 0x6A80),
    ],
)
def test_what_is_not_there_or_not_asked_for_rightly_is_refused(number: int, data: str, sw: int) -> None:
    with pytest.raises(Refusal) as refused:
        get_data(domain(), number, bytes.fromhex(data), gp_class=False)
    assert refused.value.sw == sw


def test_ca_identifiers_come_bare_or_in_their_object() -> None:
    made = domain()
    host, card = authority("host", "x509")[0].identifier, ROOT.identifier
    for number, identifier, reference in ((0xFF33, host, "1003"), (0xFF34, card, "1101")):
        bare = item(0x42, identifier) + bytes.fromhex(f"8302{reference}")
        assert get_data(made, number, b"", gp_class=False) == bare
        assert get_data(made, number, b"", gp_class=True) == item(number, bare)
        with pytest.raises(Refusal, match="6A88"):
            get_data(Domain(), number, b"", gp_class=True)


def test_the_group_of_a_card_is_the_subject_of_its_certificate() -> None:
    made = domain(form="gp")
    assert made.group_id(1, 0x15) == b"SD group 7"
    assert made.group_id(1, 0x16) is None
    assert leaf_of(b"") is None
    assert leaf_of(b"\x00\x01") is None


def listed(counter: int | None, *serials: int) -> AllowList:
    return AllowList.parse(allow_list(KLOC, serials, counter=counter))


def test_a_counter_of_an_allow_list_only_grows() -> None:
    stored = listed(5, 1)
    assert accept_allow_list(None, stored) == stored
    assert accept_allow_list(stored, listed(6, 2)) == listed(6, 2)
    removed = accept_allow_list(stored, listed(7))
    assert (removed.counter, removed.allowed.serials) == (7, ())
    for old, new in ((stored, listed(5, 1)), (stored, listed(4, 1)), (stored, listed(None, 1)), (removed, stored)):
        with pytest.raises(Refusal, match="6985"):
            accept_allow_list(old, new)
    uncounted = listed(None, 1)
    assert accept_allow_list(uncounted, listed(None, 2)) == listed(None, 2)


def test_serial_numbers_for_a_list_come_out_of_certificates() -> None:
    for form in FORMS:
        assert [serial_of(raw) for raw in holder(form).chain] == [0x82, 0x83]


def test_a_card_makes_a_key_and_tells_its_public_half() -> None:
    public = key("P-384", "SD").public
    sent: list[Command] = []

    def card(command: Command) -> Response:
        sent.append(command)
        return Response(item(0xB0, public.point))

    assert drive(generate_ec_key(KeyReference(0x13, 2), "P-384", replaces=1), card) == public
    assert sent[0].encode().hex().upper() == "80F1011304" + "02F00101" + "00"
    with pytest.raises(WireError):
        drive(generate_ec_key(KeyReference(0x13, 2)), card)
    with pytest.raises(StatusError):
        drive(generate_ec_key(KeyReference(0x13, 2)), lambda _: Response(b"", 0x6982))
