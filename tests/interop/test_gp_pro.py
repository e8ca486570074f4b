"""GlobalPlatformPro, as a model, against the element: every option of `gp` that reaches the card, both generations.

Sources of the model: martinpaljak/GlobalPlatformPro and martinpaljak/apdu4j, files named in `gp_pro.py`,
`transports.py`; what a real `gp.jar` once sent is replayed in `tests/element/test_client_traces.py`.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from interop.cards import T0_ATR, with_scp02
from interop.foreign import ForeignError, Keys, Wire
from interop.gp_pro import GlobalPlatformPro, ec_key, rsa_key
from interop.transports import apdu4j, javax
from keywright.element import SecureElement
from support.cards import ISD, element
from support.content import DOMAIN, FILE, INSTANCE, MODULE, SECOND, package

CODE = package(FILE, [MODULE], size=900)
NEW = Keys(bytes(range(16)), bytes(range(16, 32)), bytes(range(32, 48)))
NEW_AID = bytes.fromhex("A00000015100000099")

Make = Callable[[], SecureElement]
CARDS: dict[str, Make] = {
    "scp02-15": lambda: with_scp02(0x15),
    "scp02-55": lambda: with_scp02(0x55),
    "scp03-70": element,
    "scp03-60": lambda: element(i=0x60, rng=os.urandom),
    "scp03-71": lambda: element(i=0x71),
}


@pytest.fixture(params=[True, False], ids=["now", "2020"])
def modern(request: pytest.FixtureRequest) -> bool:
    """The generation of gp.jar."""
    found: bool = request.param
    return found


def host(card: SecureElement, *, modern: bool = True, kvn: int = 0) -> tuple[GlobalPlatformPro, Wire]:
    """gp.jar over javax.smartcardio."""
    wire = Wire(card.handle)
    return GlobalPlatformPro(javax(wire), kvn=kvn, modern=modern), wire


def opened(card: SecureElement, *, modern: bool = True, level: int = 0x01) -> tuple[GlobalPlatformPro, Wire]:
    """The same, in a session."""
    gp, wire = host(card, modern=modern)
    gp.discover()
    gp.open(level)
    return gp, wire


def installed(card: SecureElement, *, modern: bool = True, level: int = 0x01) -> GlobalPlatformPro:
    """A session in which one application was installed."""
    gp, _ = opened(card, modern=modern, level=level)
    gp.block = 231 if gp.session is not None and gp.session.overhead == 16 else gp.block
    gp.load(FILE, CODE)
    gp.install(FILE, MODULE, INSTANCE)
    return gp


# ---- discovery -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", CARDS.values(), ids=CARDS)
def test_info_reads_every_object_it_asks_for(make: Make) -> None:
    gp, _ = host(make())
    assert gp.discover() == gp.connect(ISD) == ISD
    found = gp.info()
    without_counter = [0xC1] if make is CARDS["scp03-60"] else []
    assert [tag for tag, value in found.items() if value is None] == without_counter
    cplc = found[0x9F7F]
    assert cplc is not None
    assert len(cplc) == 42
    assert gp.identifiers[0] == bytes.fromhex("2A864886FC6B01")
    assert gp.key_information()


def test_select_with_the_beginning_of_the_aid_tells_the_whole_aid() -> None:
    gp, _ = host(element())
    assert gp.connect(ISD[:5]) == ISD


def test_card_recognition_data_names_each_protocol_under_tag_4() -> None:
    gp, _ = host(with_scp02(0x55))
    gp.info()
    protocols = [oid[-2:].hex() for oid in gp.identifiers if oid[:-2] == bytes.fromhex("2A864886FC6B04")]
    assert protocols == ["0370", "0255"]


# ---- session -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", CARDS.values(), ids=CARDS)
@pytest.mark.parametrize("level", [0x01, 0x03])
def test_a_session_opens_at_every_level_that_all_protocols_have(make: Make, level: int) -> None:
    gp, _ = opened(make(), level=level)
    assert gp.key_information()


@pytest.mark.parametrize("name", ["scp02-55", "scp03-70"])
def test_a_session_without_secure_messaging_reads_as_the_older_generation_does(name: str) -> None:
    gp, wire = opened(CARDS[name](), modern=False, level=0x00)
    assert gp.key_information()
    assert wire.log[-1][0].hex() == "80ca00e000"


def test_the_older_generation_has_no_challenge_of_16_bytes() -> None:
    with pytest.raises(ForeignError, match="6700"):
        opened(element(i=0x71), modern=False)


@pytest.mark.parametrize("level", [0x11, 0x13, 0x33])
def test_scp03_protects_answers(level: int, *, modern: bool) -> None:
    gp, _ = opened(element(), modern=modern, level=level)
    assert [entry.aid for entry in gp.registry()] == [ISD]
    gp.load(FILE, CODE)
    gp.install(FILE, MODULE, INSTANCE)
    assert len(gp.registry()) == 3


@pytest.mark.parametrize("level", [0x11, 0x13])
def test_scp02_protects_answers(level: int, *, modern: bool) -> None:
    card = with_scp02(0x75)
    gp, _ = host(card, modern=modern)
    gp.discover()
    gp.open(level)
    gp.load(FILE, CODE)
    gp.install(FILE, MODULE, INSTANCE)
    assert {entry.aid for entry in gp.registry()} == {ISD, FILE, INSTANCE}


def test_eight_byte_challenges_are_6700_for_s16_and_the_second_try_works() -> None:
    gp, wire = host(element(i=0x71))
    gp.discover()
    gp.open()
    assert [command[4] for command in wire.sent(0x50)] == [8, 16]


def test_an_explicit_key_version_comes_back() -> None:
    gp, _ = host(with_scp02(), kvn=0xFF)
    gp.discover()
    gp.open()
    assert gp.card_kvn == 0xFF


def test_wrong_keys_are_seen_before_anything_is_authenticated() -> None:
    card = element()
    wire = Wire(card.handle)
    gp = GlobalPlatformPro(javax(wire), NEW)
    gp.discover()
    with pytest.raises(ForeignError, match="challenge"):
        gp.open()
    assert wire.sent(0x82) == []


# ---- registry ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tags", [True, False], ids=["tags", "old form"])
@pytest.mark.parametrize("page", [0, 1])
def test_the_registry_reads_in_both_forms_and_in_pages(page: int, *, tags: bool) -> None:
    gp = installed(element(page=page))
    gp.domain(DOMAIN)
    gp.install(FILE, MODULE, SECOND)
    found = {entry.aid: entry for entry in gp.registry(tags=tags)}
    assert list(found) == [ISD, INSTANCE, DOMAIN, SECOND, FILE]
    assert [entry.kind for entry in found.values()] == ["ISD", "APP", "DOM", "APP", "PKG"]
    assert found[FILE].modules == [MODULE]
    assert found[INSTANCE].state == 0x07
    assert found[ISD].has(0, 0x80)
    if tags:
        assert found[INSTANCE].load_file == FILE
        assert found[INSTANCE].domain == ISD
        assert found[FILE].version == bytes.fromhex("0102")


def test_an_empty_list_is_6a88_and_a_list_longer_than_le_comes_in_pieces() -> None:
    gp = installed(element())
    for number in range(20):
        gp.install(FILE, MODULE, INSTANCE + bytes((number,)))
    assert len(gp.registry()) == 23


# ---- content -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", CARDS.values(), ids=CARDS)
@pytest.mark.parametrize("level", [0x01, 0x03])
def test_install_and_uninstall(make: Make, level: int) -> None:
    gp = installed(make(), level=level)
    assert gp.bare_select(INSTANCE) == 0x9000
    gp.discover()
    gp.open(level)
    gp.delete(FILE, dependencies=True)
    assert [entry.aid for entry in gp.registry()] == [ISD]


@pytest.mark.parametrize("size", [0, 20, 100, 130, 200, 5000])
def test_the_load_file_header_has_every_form_of_length(size: int, *, modern: bool) -> None:
    code = package(FILE, [MODULE], size=size)
    gp, wire = opened(element(), modern=modern, level=0x03)
    gp.load(FILE, code)
    gp.install(FILE, MODULE, INSTANCE)
    assert len(wire.sent(0xE8)) == -(-(len(code) + (2 if len(code) < 128 else 3 if len(code) < 256 else 4)) // 239)


def test_load_takes_hash_and_system_parameters() -> None:
    import hashlib

    gp, _ = opened(element())
    gp.load(FILE, CODE, digest=hashlib.sha1(CODE).digest(), parameters=bytes.fromhex("EF04C6020400"))
    gp.delete(FILE)
    gp.load(FILE, CODE, digest=hashlib.sha256(CODE).digest())
    with pytest.raises(ForeignError, match="6A80"):
        gp.load(SECOND, CODE, digest=bytes(32))


@pytest.mark.parametrize("privileges", ["00", "000000", "04"])
@pytest.mark.parametrize("parameters", ["", "C900", "C903010203", "0102", "C9020102EF08C7020010C8020100"])
def test_install_takes_short_and_long_privileges_and_parameters(privileges: str, parameters: str) -> None:
    gp, _ = opened(element())
    gp.load(FILE, CODE)
    gp.install(FILE, MODULE, INSTANCE, bytes.fromhex(privileges), bytes.fromhex(parameters))
    entry = next(entry for entry in gp.registry() if entry.aid == INSTANCE)
    assert entry.privileges == bytes.fromhex(privileges).ljust(3, b"\0")


def test_delete_of_an_instance_leaves_the_file_and_of_a_used_file_is_refused() -> None:
    gp = installed(element())
    with pytest.raises(ForeignError, match="6985"):
        gp.delete(FILE)
    gp.delete(INSTANCE)
    gp.delete(FILE)
    with pytest.raises(ForeignError, match="6A88"):
        gp.delete(FILE)


def test_an_application_is_locked_and_unlocked_to_state_00() -> None:
    gp = installed(element())
    gp.lock_applet(INSTANCE, lock=True)
    assert next(entry for entry in gp.registry() if entry.aid == INSTANCE).state == 0x87
    gp.lock_applet(INSTANCE, lock=False)
    assert next(entry for entry in gp.registry() if entry.aid == INSTANCE).state == 0x07


def test_the_card_goes_through_its_life_without_data_in_set_status(*, modern: bool) -> None:
    gp, _ = opened(element(), modern=modern)
    for state in (0x07, 0x0F, 0x7F, 0x0F):
        gp.set_card(state)
        assert gp.registry()[0].state == state


def test_a_locked_card_is_found_and_opened_again() -> None:
    card = element(life_cycle=0x0F)
    gp, _ = opened(card)
    gp.set_card(0x7F)
    card.reset()
    gp, _ = opened(card)
    gp.set_card(0x0F)


def test_the_default_selected_application_is_set_after_installation() -> None:
    card = element()
    gp = installed(card)
    gp.make_default(INSTANCE)
    assert next(entry for entry in gp.registry() if entry.aid == INSTANCE).has(0, 0x04)
    card.reset()
    assert gp.bare_select(ISD) == 0x9000


def test_load_blocks_too_long_for_s16_are_refused_as_last_blocks_out_of_order() -> None:
    """gp.jar leaves 8 bytes for a C-MAC of 16, so that its LOAD needs a second segment with P1 b8, which says "last"
    for LOAD (GPCS 11.6.2.1); no card can take that, and `--bs 231` is what its user has to say.
    """
    gp, _ = opened(element(i=0x71))
    with pytest.raises(ForeignError, match="segment: 6982"):
        gp.load(FILE, CODE)


# ---- domains -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", CARDS.values(), ids=CARDS)
@pytest.mark.parametrize("rules", [False, True])
def test_a_domain_is_made_filled_and_opened(make: Make, *, rules: bool) -> None:
    card = make()
    gp = installed(card)
    gp.domain(DOMAIN, allow_from=rules, allow_to=rules)
    gp.move(INSTANCE, DOMAIN)
    assert next(entry for entry in gp.registry() if entry.aid == INSTANCE).domain == DOMAIN
    there, _ = host(card)
    there.connect(DOMAIN)
    session = there.open()
    aes = session.number == 3
    there.put_keys(0x30 if aes else 0x21, NEW, aes=aes)
    own, _ = host(card)
    own.keys = NEW
    own.connect(DOMAIN)
    own.open()
    assert [key[0] for key in own.key_information()] == [0x30 if aes else 0x21] * 3
    with pytest.raises(ForeignError, match="6985"):
        own.move(INSTANCE, bytes.fromhex("F06B770000"))


def test_a_domain_sees_itself_and_no_issuer() -> None:
    card = element()
    gp = installed(card)
    gp.domain(DOMAIN)
    there, _ = host(card)
    there.connect(DOMAIN)
    there.open()
    assert [entry.aid for entry in there.registry()] == [DOMAIN]


@pytest.mark.parametrize("old", ["C90145", "C900"])
def test_a_domain_takes_the_parameters_of_older_cards(old: str) -> None:
    gp, _ = opened(element())
    gp.install(
        bytes.fromhex("A0000000035350"),
        bytes.fromhex("A000000003535041"),
        DOMAIN,
        b"\x80",
        bytes.fromhex(old),
    )
    assert DOMAIN in [entry.aid for entry in gp.registry()]


# ---- keys ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", CARDS.values(), ids=CARDS)
def test_keys_are_added_used_and_replaced(make: Make) -> None:
    card = make()
    gp, _ = opened(card)
    aes = gp.session is not None and gp.session.number == 3
    kvn = 0x30 if aes else 0x21
    gp.put_keys(kvn, NEW, aes=aes)
    gp, _ = host(card, kvn=kvn)
    gp.keys = NEW
    gp.discover()
    gp.open()
    gp.put_keys(kvn, Keys(), aes=aes, replace=True)
    gp, _ = host(card, kvn=kvn)
    gp.discover()
    gp.open()


@pytest.mark.parametrize("size", [24, 32])
def test_longer_aes_keys_carry_their_length(size: int) -> None:
    card = element()
    gp, _ = opened(card, level=0x03)
    long = Keys(bytes(range(size)), bytes(range(1, size + 1)), bytes(range(2, size + 2)))
    gp.put_keys(0x30, long)
    gp, _ = host(card, kvn=0x30)
    gp.keys = long
    gp.discover()
    gp.open(0x33)
    assert {key[3] for key in gp.key_information()} == {size}


def test_des_keys_go_over_scp03() -> None:
    gp, _ = opened(element())
    gp.put_keys(0x21, NEW, aes=False)
    assert (0x21, 1, 0x80, 16) in gp.key_information()


@pytest.mark.parametrize("bits", [1024, 2048])
def test_an_rsa_key_longer_than_a_command_comes_in_segments(bits: int) -> None:
    numbers = rsa.generate_private_key(65537, bits).public_key().public_numbers()
    gp, wire = opened(element())
    gp.put_public_key(0x73, rsa_key(numbers.n.to_bytes(bits // 8), b"\1\0\1"))
    assert [command[2] for command in wire.sent(0xD8)] == ([0x80, 0x00] if bits == 2048 else [0x00])
    assert (0x73, 1, 0xA1, bits // 8) in gp.key_information()


@pytest.mark.parametrize(("curve", "reference"), [(ec.SECP256R1(), 0), (ec.SECP384R1(), 1)])
def test_an_ec_key_is_put_and_deleted(curve: ec.EllipticCurve, reference: int) -> None:
    public = ec.generate_private_key(curve).public_key()
    gp, _ = opened(element())
    point = public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    gp.put_public_key(0x70, ec_key(point, reference))
    assert 0x70 in [key[0] for key in gp.key_information()]
    gp.put_public_key(0x70, ec_key(point, reference), replace=True)
    gp.delete_key(0x70)
    assert 0x70 not in [key[0] for key in gp.key_information()]


def test_a_key_set_is_deleted_by_its_version_alone() -> None:
    gp, _ = opened(element())
    gp.put_keys(0x31, NEW)
    gp.put_keys(0x32, NEW)
    gp.delete_key(0x32)
    assert {key[0] for key in gp.key_information()} == {0x31}


# ---- data ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [0x01, 0x03, 0x33])
@pytest.mark.parametrize("size", [3, 400])
def test_data_is_stored_in_one_block_or_several(level: int, size: int) -> None:
    gp, _ = opened(element(), level=level)
    value = os.urandom(size)
    length = bytes((size,)) if size < 128 else b"\x82" + size.to_bytes(2)
    gp.store(b"\xdf\x01" + length + value)
    assert gp.read(0xDF01) == b"\xdf\x01" + length + value


def test_an_application_is_personalised_through_its_domain() -> None:
    gp = installed(element())
    gp.store(bytes.fromhex("0101020304"), applet=INSTANCE)
    gp.store(bytes.fromhex("9F7001AA") + bytes(300), 0x60, applet=INSTANCE)


def test_the_issuer_domain_is_renamed_and_everything_stays_below_it() -> None:
    card = element()
    gp = installed(card)
    gp.rename_issuer(NEW_AID)
    found = {entry.aid: entry for entry in gp.registry()}
    assert found[NEW_AID].kind == "ISD"
    assert found[INSTANCE].domain == found[FILE].domain == NEW_AID
    card.reset()
    again, _ = host(card)
    assert again.discover() == NEW_AID
    again.open()
    assert again.bare_select(ISD[:-1] + b"\x77") == 0x6A82
    again.connect(NEW_AID)


@pytest.mark.parametrize(("before", "at"), [(False, 34), (True, 26)], ids=["perso", "pre-perso"])
def test_the_cplc_takes_its_personalisation_fields(at: int, *, before: bool) -> None:
    gp, _ = opened(element())
    gp.set_personalization(bytes.fromhex("1122334455667788"), before=before)
    cplc = gp.read(0x9F7F)[3:]
    assert cplc[at : at + 8].hex() == "1122334455667788"
    assert len(cplc) == 42


# ---- below ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", [lambda send: javax(send, t0=True), apdu4j], ids=["javax", "apdu4j"])
@pytest.mark.parametrize("level", [0x01, 0x33])
def test_t0_keeps_answers_for_get_response_with_the_class_of_the_command(
    transport: Callable[..., Callable[[bytes], bytes]], level: int
) -> None:
    wire = Wire(element(atr=T0_ATR).handle)
    gp = GlobalPlatformPro(transport(wire))
    gp.discover() if transport is not apdu4j else gp.connect(ISD)
    gp.open(level)
    gp.load(FILE, CODE)
    gp.install(FILE, MODULE, INSTANCE)
    gp.domain(DOMAIN)
    assert len(gp.registry()) == 4
    gp.store(bytes.fromhex("DF0103010203"))
    gp.delete(FILE, dependencies=True)
    assert 0x84 in {command[0] for command in wire.sent(0xC0)}
