"""The card profile: each field changes what the element does, and the profile stays with the memory."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
import pytest

from element.test_delegation import Delegated
from element.test_scp11 import OWN as OWN_KEY
from element.test_scp11 import Element
from keywright.crypto.aes import AesKey
from keywright.element import SecureElement
from keywright.element.profile_record import PROFILE, build_profile, parse_profile
from keywright.errors import AuthenticationError, StatusError, StoreError
from keywright.globalplatform.dialogues import content
from keywright.globalplatform.dialogues.keys import put_key
from keywright.globalplatform.dialogues.personalization import store_encrypted_objects
from keywright.globalplatform.install import InstallForLoad, InstallForPersonalization
from keywright.globalplatform.privileges import Privilege
from keywright.globalplatform.profile import DEFAULT, PROFILES, YUBIKEY, CardProfile, RestrictBits
from keywright.iso7816.apdu import Command
from keywright.sansio.dialogue import drive
from keywright.scp.scp03.profile import Profile as Scp03Profile
from keywright.scp.scp10.profile import Profile as Scp10Profile
from keywright.scp.scp11.messages import SCP11A, SCP11B, SCP11C
from keywright.scp.scp11.profile import Profile as Scp11Profile
from keywright.scp.scp80.profile import Profile as Scp80Profile
from keywright.store import RamMemory
from support.cards import OWN, Session, Terminal, element, key_field
from support.content import DOMAIN, FILE, INNER, INSTANCE, MODULE, SECOND, ContentHost, package

BLOCK = package(FILE, [MODULE])
WHOLE = bytes.fromhex("4204") + bytes.fromhex("99999901")
NEW = AesKey(bytes(range(16)))


def session(profile: CardProfile, level: int = 0x33, **parameters: Any) -> Session:
    return Terminal(element(profile=profile, **parameters)).authenticate(level)


def host(profile: CardProfile, **parameters: Any) -> ContentHost:
    here = ContentHost(session(profile, **parameters))
    here.load(BLOCK)
    here.install()
    here.make_domain(DOMAIN)
    return here


def status(action: Callable[[], object]) -> int:
    try:
        action()
    except StatusError as error:
        return error.sw
    return 0x9000


# ---- the record


@pytest.mark.parametrize("name", PROFILES)
def test_the_record_holds_all_of_a_profile(name: str) -> None:
    record = build_profile(PROFILES[name])
    assert parse_profile(record) == PROFILES[name]
    assert set(msgspec.json.decode(record)) == set(CardProfile.__struct_fields__)
    assert build_profile(parse_profile(record)) == record


def test_an_element_keeps_its_profile_and_another_one_stands_in_for_it_only_while_open() -> None:
    memory = RamMemory()
    assert SecureElement(memory=memory, profile=YUBIKEY).profile == YUBIKEY
    assert SecureElement(memory=memory).profile == YUBIKEY
    assert SecureElement(memory=memory, profile=DEFAULT).profile == DEFAULT
    assert SecureElement(memory=memory).profile == YUBIKEY


def test_a_memory_without_the_record_has_the_default() -> None:
    memory = RamMemory()
    assert SecureElement(memory=memory).profile == DEFAULT
    assert memory.load(PROFILE) is None


@pytest.mark.parametrize("record", [b"", b"{", b"[]", b'{"receipts": 1}', b'{"same_state_status": 1}', b"\x80"])
def test_a_record_that_is_no_profile_is_refused(record: bytes) -> None:
    memory = RamMemory()
    SecureElement(memory=memory)
    memory.commit({PROFILE: record})
    with pytest.raises(StoreError, match="profile"):
        SecureElement(memory=memory)


def test_a_record_of_an_earlier_version_has_the_defaults_of_what_it_lacks() -> None:
    assert parse_profile(b'{"receipts": false, "of a later version": 1}') == CardProfile(receipts=False)


# ---- objects and lists


def test_the_iso_class_may_answer_the_whole_object() -> None:
    assert Terminal(element())(0x00, 0xCA, 0x00, 0x42).data == WHOLE[2:]
    strange = Terminal(element(profile=CardProfile(iso_class_returns_value=False)))
    assert strange(0x00, 0xCA, 0x00, 0x42).data == strange(0x80, 0xCA, 0x00, 0x42).data == WHOLE


def test_key_information_may_be_extended_for_every_key() -> None:
    assert session(DEFAULT)(0x80, 0xCA, 0x00, 0xE0).data.hex().startswith("e012c00401ff8810")
    told = session(CardProfile(extended_key_information=True))(0x80, 0xCA, 0x00, 0xE0).data
    assert told.hex().startswith("e024c00a01ffff88001001000100c00a02ff")


def test_get_status_may_not_know_the_old_format() -> None:
    assert session(DEFAULT)(0x80, 0xF2, 0x80, 0x00, b"\x4f\x00").sw == 0x9000
    strict = session(CardProfile(legacy_status=False))
    assert strict(0x80, 0xF2, 0x80, 0x00, b"\x4f\x00").sw == 0x6A86
    assert strict(0x80, 0xF2, 0x80, 0x02, b"\x4f\x00").sw == 0x9000


def test_the_application_list_may_hold_bare_aids() -> None:
    one = b"\x4f\x07" + INSTANCE
    assert one in host(DEFAULT).session(0x80, 0xCA, 0x2F, 0x00, b"\x5c\x00").data
    bare = host(CardProfile(application_list_in_templates=False)).session(0x80, 0xCA, 0x2F, 0x00, b"\x5c\x00").data
    assert bare == one + b"\x4f\x06" + DOMAIN


def test_select_may_tell_card_data_and_life_cycle() -> None:
    assert Terminal(element()).select().data.hex() == "6f118408a000000151000000a5059f65020800"
    card = Terminal(element(profile=CardProfile(fci_tells_card_data=True), life_cycle=0x0F))
    answer = card.select().data
    assert bytes.fromhex("9F6E010F") in answer
    assert card(0x80, 0xCA, 0x00, 0x66).data[2:] in answer


# ---- content


def personalize(here: ContentHost) -> None:
    command = content.install_command(0x20, InstallForPersonalization(b"", b"", INSTANCE))
    drive(content._installed(command, "INSTALL [for personalization]", 200), here.session.send)


STEPS: dict[str, Callable[[ContentHost], object]] = {
    "registry_update": lambda here: here.run(content.update_registry(INSTANCE)),
    "personalization": personalize,
    "extradition": lambda here: here.run(content.extradite(INSTANCE, DOMAIN)),
    "make_selectable": lambda here: here.run(content.make_selectable(INSTANCE, privileges=Privilege.CVM_MANAGEMENT)),
    "install": lambda here: here.install(instance=SECOND),
    "load": lambda here: here.load(package(INNER, [MODULE]), INNER, domain=DOMAIN),
    "delete": lambda here: here.run(content.delete_object(INSTANCE)),
}
RESTRICTED = {"install": FILE, "load": DOMAIN}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("moved", [False, True])
def test_each_restriction_has_its_bit(step: str, *, moved: bool) -> None:
    bits = RestrictBits() if not moved else msgspec.structs.replace(RestrictBits(), **{step: 0x80})
    bit = getattr(bits, step)
    for asked in sorted({getattr(RestrictBits(), name) for name in STEPS} | {0x80}):
        here = host(CardProfile(restrict=bits))
        target = RESTRICTED.get(step, INSTANCE)
        here.run(content.update_registry(target, parameters=b"\xd9\x01" + bytes((asked,))))
        assert status(partial(STEPS[step], here)) == (0x6985 if asked == bit else 0x9000), (step, asked)


def test_the_domain_module_may_have_another_name() -> None:
    named = CardProfile(domain_load_file=b"\xf0DOMAIN", domain_module=b"\xf0DOMAIN1")
    parameters = (named.domain_load_file, named.domain_module, DOMAIN, Privilege.SECURITY_DOMAIN)
    assert status(lambda: ContentHost(session(named)).install(*parameters)) == 0x9000
    assert status(lambda: ContentHost(session(DEFAULT)).install(*parameters)) == 0x6A88


def test_a_single_privilege_may_stay_with_its_holder() -> None:
    def second(profile: CardProfile) -> int:
        here = host(profile)
        here.install(instance=SECOND, privileges=Privilege.CARD_RESET)
        return status(lambda: here.install(instance=INNER, privileges=Privilege.CARD_RESET))

    assert second(DEFAULT) == 0x9000
    assert second(CardProfile(single_privileges_move=False)) == 0x6985


@pytest.mark.parametrize("sw", [DEFAULT.load_order_status, 0x6985])
def test_the_status_of_a_block_out_of_order(sw: int) -> None:
    here = ContentHost(session(CardProfile(load_order_status=sw)))
    here.run(content.install_for_load(InstallForLoad(FILE, b"")))
    assert here.session(0x80, 0xE8, 0x00, 0x05, BLOCK[:10]).sw == sw
    assert here.session(0x80, 0xE8, 0x00, 0x00, BLOCK[:10]).sw == 0x6985


@pytest.mark.parametrize("sw", [DEFAULT.same_state_status, 0x6A80])
def test_the_status_of_a_change_to_the_same_state(sw: int) -> None:
    here = host(CardProfile(same_state_status=sw)).session
    assert here(0x80, 0xF0, 0x80, 0x01).sw == sw
    assert here(0x80, 0xF0, 0x40, 0x07, INSTANCE).sw == sw
    assert here(0x80, 0xF0, 0x60, 0x00, DOMAIN).sw == sw


def test_deletion_may_need_no_token() -> None:
    def deleting(profile: CardProfile) -> int:
        here = Delegated(profile=profile)
        here.load()
        return status(lambda: here.manager.run(content.delete_object(FILE)))

    assert deleting(DEFAULT) == 0x6982
    assert deleting(CardProfile(delete_token=False)) == 0x9000


# ---- keys and data


@pytest.mark.parametrize("sw", [DEFAULT.wrong_kcv_status, 0x9485])
def test_the_status_of_a_wrong_check_value(sw: int) -> None:
    here = session(CardProfile(wrong_kcv_status=sw))
    wrong = b"\x30" + key_field(NEW, here.keys.dek, kcv=bytes(3))
    assert here(0x80, 0xD8, 0x00, 0x01, wrong, 0).sw == sw


@pytest.mark.parametrize("over", ["ones", "zeros"])
def test_check_values_may_be_over_zeros(over: Any) -> None:
    profile = CardProfile(scp03=Scp03Profile(kcv=over))
    here = ContentHost(session(profile))
    here.run(put_key(NEW, here.session.host, kvn=0x30, profile=profile))
    other = CardProfile(scp03=Scp03Profile(kcv="zeros" if over == "ones" else "ones"))
    refused = put_key(NEW, here.session.host, kvn=0x31, profile=other)
    assert status(lambda: here.run(refused)) == 0x6982


def test_a_host_sends_a_key_with_its_length_or_without() -> None:
    def sent(profile: CardProfile) -> int:
        return len(next(put_key(NEW, session(DEFAULT).host, kvn=0x30, profile=profile)).data)

    assert sent(CardProfile(aes_inner_length=False)) == sent(DEFAULT) - 1


@pytest.mark.parametrize("padding", ["80", "zeros"])
def test_encrypted_values_are_padded_as_the_profile_says(padding: Any) -> None:
    here = ContentHost(session(CardProfile(encrypted_value_padding=padding)))
    value = b"sixteen bytes...", 0xDF01
    here.run(store_encrypted_objects([(value[1], value[0])], here.session.host, padding=padding))
    assert here.session(0x00, 0xCA, 0xDF, 0x01).data == value[0]
    other: Any = "zeros" if padding == "80" else "80"
    wrong = store_encrypted_objects([(value[1], value[0])], here.session.host, padding=other)
    assert status(lambda: here.run(wrong)) == (0x6A80 if padding == "80" else 0x9000)
    assert (here.session(0x00, 0xCA, 0xDF, 0x01).data == value[0]) is (padding == "80")


# ---- proofs


def test_a_card_may_give_no_receipts() -> None:
    assert Delegated().load().receipt != b""
    assert Delegated(profile=CardProfile(receipts=False)).load().receipt == b""


@pytest.mark.parametrize("told", [True, False])
def test_the_receipt_ends_with_the_identifier_of_the_token_where_the_profile_says_so(told: bool) -> None:  # noqa: FBT001 - a parameter of the test
    here = Delegated(profile=CardProfile(receipt_tells_token=told))
    named = bytes.fromhex("B6059303") + b"tok"
    assert here.load(parameters=named).data.endswith(b"tok") is told
    assert here.manager.install(parameters=b"\xc9\x00" + named, token=here.token).data.endswith(b"tok") is told


# ---- protocols


@pytest.mark.parametrize("covered", [True, False])
def test_the_end_of_an_r_mac_session_is_covered_or_bare(covered: bool) -> None:  # noqa: FBT001 - a parameter of the test
    here = session(CardProfile(scp03=Scp03Profile(covered_end=covered)))
    command = here.host.wrap(Command(0x80, 0x78, 0x00, 0x03, le=0))
    assert (len(here.terminal.exchange(command).data) == 8) is covered


@pytest.mark.parametrize("covered", [True, False])
def test_a_host_ends_an_r_mac_session_as_its_card_does(covered: bool) -> None:  # noqa: FBT001 - a parameter of the test
    here = session(CardProfile(scp03=Scp03Profile(covered_end=covered)))
    drive(here.host.end_r_mac(covered=covered), here.terminal.exchange)
    assert here(0x80, 0xCA, 0x00, 0x42).data == WHOLE
    assert here.host.level == 0x03


def test_the_profiles_of_the_protocols_reach_them() -> None:
    strange = CardProfile(scp10=Scp10Profile(wrong_order=0x6A80))
    for profile, sw in ((DEFAULT, 0x6985), (strange, 0x6A80)):
        card = Terminal(element(profile=profile, protocols=[(0x10, 0x02)], rng=os.urandom))
        assert card(0x00, 0x88, 0, 0, bytes(8), 0).sw == sw


@pytest.mark.parametrize("size", ["sha256", "sha384"])
def test_scp11_derives_by_the_hash_of_the_profile(size: Any) -> None:
    profile = Scp11Profile(always_owner=True, kdf_hash=size)
    card = Element(profile)
    assert card.open(SCP11B)(0x80, 0xCA, 0x00, 0x42).sw == 0x9000
    card.profile = Scp11Profile(kdf_hash="sha384" if size == "sha256" else "sha256")
    with pytest.raises(AuthenticationError):
        card.open(SCP11B)


@pytest.mark.parametrize(("limit", "sw"), [(4096, 0x9000), (255, 0x6700)])
def test_a_certificate_has_as_many_bytes_as_the_profile_allows(limit: int, sw: int) -> None:
    assert status(lambda: Element(Scp11Profile(always_owner=True, certificate_bytes=limit)).open(SCP11A)) == sw


def test_a_holder_who_is_not_the_owner_has_the_instructions_of_the_profile() -> None:
    usual, none = (Element(profile).open(SCP11C) for profile in (Scp11Profile(), Scp11Profile(built_in=())))
    assert usual(0x80, 0xCA, 0x00, 0x42).sw == 0x9000
    assert none(0x80, 0xCA, 0x00, 0x42).sw == 0x6982


@pytest.mark.parametrize("sw", [DEFAULT.scp03.challenge_status, 0x6A80])
def test_the_status_of_a_challenge_of_another_mode(sw: int) -> None:
    card = Terminal(element(profile=CardProfile(scp03=Scp03Profile(challenge_status=sw))))
    assert card.initialize_update(challenge=bytes(16)).sw == sw
    assert card.initialize_update(kvn=0x77, challenge=bytes(16)).sw == sw


@pytest.mark.parametrize("sw", [DEFAULT.scp11.no_certificate, 0x6A88])
def test_the_status_of_an_authentication_with_no_certificate_before_it(sw: int) -> None:
    card = Terminal(Element(Scp11Profile(no_certificate=sw)).card)
    asked = "A60D90021101950134800188810110" + "5F4941" + OWN_KEY.public.point.hex()
    assert card(0x80, 0x82, 0x01, 0x11, bytes.fromhex(asked), 0).sw == sw


@pytest.mark.parametrize("anew", [True, False])
def test_new_keys_begin_the_counter_of_their_packets_anew_or_not(anew: bool) -> None:  # noqa: FBT001 - a parameter of the test
    memory = RamMemory()
    here = session(CardProfile(scp80=Scp80Profile(new_keys_count_anew=anew)), memory=memory)
    assert here.put_keys(0x01, OWN).sw == 0x9000
    memory.commit({"air/01": b"counted"})
    here.terminal.card.reset()
    again = here.terminal.authenticate(kvn=0x01, keys=OWN)
    assert again.put_keys(0x01, OWN, old=0x01).sw == 0x9000
    assert (memory.load("air/01") is None) is anew


def test_own_keys_open_what_a_profile_made() -> None:
    here = session(YUBIKEY, initial_keys_stay=True)
    assert here.put_keys(0x30, OWN, inner_length=YUBIKEY.aes_inner_length).sw == 0x9000
