"""Supplementary security domains: made, given keys, managing what is theirs, moved and personalised."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from keywright.codec.tlv import item
from keywright.element.recording_applet import logged
from keywright.errors import AuthenticationError, StatusError
from keywright.globalplatform.dialogues import content
from keywright.globalplatform.install import InstallForPersonalization
from keywright.globalplatform.privileges import Privilege
from keywright.globalplatform.profile import CardProfile
from keywright.sansio.dialogue import drive
from keywright.scp.scp03 import KeySet, initialize_update
from keywright.store import RamMemory
from support.cards import ECHO_AID, ISD, OTHER, OWN, EchoApplet, Terminal, contents, element
from support.content import (
    DOMAIN,
    DOMAIN_FILE,
    DOMAIN_MODULE,
    FILE,
    INNER,
    INSTANCE,
    MODULE,
    ContentHost,
    opened,
    package,
    prefix_of,
)

MANAGING = Privilege.SECURITY_DOMAIN | Privilege.AUTHORIZED_MANAGEMENT
BLOCK = package(FILE, [MODULE])


def refused(sw: int, action: Callable[[], object]) -> None:
    with pytest.raises(StatusError) as caught:
        action()
    assert caught.value.sw == sw


def card(privileges: Privilege = MANAGING, **parameters: Any) -> Terminal:
    """A card with a domain that has its own keys."""
    terminal = Terminal(element(**parameters))
    ContentHost(terminal.authenticate()).make_domain(DOMAIN, privileges)
    terminal.select(DOMAIN)
    assert terminal.authenticate().put_keys(0x31, OWN).sw == 0x9000
    terminal.select()
    return terminal


@pytest.mark.parametrize(
    ("load_file", "module"),
    [(DOMAIN_FILE, DOMAIN_MODULE), tuple(map(bytes.fromhex, ("A0000000035350", "A000000003535041")))],
)
def test_it_is_made_from_the_domain_module_of_the_card_under_the_aids_hosts_use(
    load_file: bytes, module: bytes
) -> None:
    here = ContentHost(Terminal(element()).authenticate())
    here.install(load_file, module, DOMAIN, Privilege.SECURITY_DOMAIN)
    assert here.session.terminal.select(DOMAIN).data == b"\x6f\x0f\x84\x06" + DOMAIN + bytes.fromhex("A5059F65020800")


def test_without_keys_it_is_opened_with_those_above_it_and_with_its_own_from_then_on() -> None:
    terminal = card()
    terminal.select(DOMAIN)
    with pytest.raises(AuthenticationError):
        terminal.authenticate()
    session = terminal.authenticate(keys=OWN)
    assert session(0x80, 0xCA, 0x00, 0xE0).data.hex() == "e012c00401318810c00402318810c00403318810"
    terminal.select()
    assert terminal.authenticate()(0x80, 0xCA, 0x00, 0xE0).data.hex() == "e012c00401ff8810c00402ff8810c00403ff8810"


def test_a_profile_may_keep_it_closed_until_it_has_keys() -> None:
    terminal = Terminal(element(profile=CardProfile(inherit_keys=False)))
    ContentHost(terminal.authenticate()).make_domain()
    terminal.select(DOMAIN)
    assert terminal.initialize_update().sw == 0x6A88


def test_its_counters_and_data_are_its_own() -> None:
    memory = RamMemory()
    terminal = card(memory=memory)
    terminal.select(DOMAIN)
    session = terminal.authenticate(keys=OWN)
    assert session(0x80, 0xE2, 0x90, 0x00, b"\x42\x03own").sw == 0x9000
    terminal.select(DOMAIN)
    assert terminal.raw("00CA004200")[:3] == b"own"
    terminal.select()
    assert terminal.raw("00CA004200")[:3] != b"own"
    names = contents(memory)
    assert {prefix_of(DOMAIN) + name for name in ("keys", "keys/31", "counter/31", "data/0042", "protocols")} <= set(
        names
    )


def test_an_application_below_it_opens_sessions_on_its_keys() -> None:
    terminal = card()
    here = opened(terminal, DOMAIN, OWN)
    here.load(BLOCK)
    here.install()
    terminal.select(INSTANCE)
    with pytest.raises(AuthenticationError):
        terminal.authenticate()
    assert terminal.authenticate(keys=OWN)(0x80, 0x10).sw == 0x9000


def test_the_challenge_is_made_with_the_aid_of_the_selected_application() -> None:
    terminal = card()
    here = opened(terminal, DOMAIN, OWN)
    here.load(BLOCK)
    here.install()
    for aid in (DOMAIN, INSTANCE):
        terminal.select(aid)
        drive(initialize_update(OWN, bytes(8), aid=aid), terminal.exchange)


class TestVisibility:
    def test_a_domain_sees_itself_and_what_is_below_it(self) -> None:
        terminal = card(applets=[EchoApplet()])
        here = opened(terminal, DOMAIN, OWN)
        here.load(BLOCK)
        here.install()
        listed = here.session(0x80, 0xF2, 0x40, 0x00, b"\x4f\x00").data
        assert INSTANCE in listed
        assert DOMAIN in listed
        assert ECHO_AID not in listed
        assert here.session(0x80, 0xF2, 0x80, 0x02, b"\x4f\x00").sw == 0x6A88
        assert FILE in here.session(0x80, 0xF2, 0x20, 0x00, b"\x4f\x00").data
        terminal.select()
        assert ECHO_AID in terminal.authenticate()(0x80, 0xF2, 0x40, 0x00, b"\x4f\x00").data

    def test_with_the_global_registry_privilege_it_sees_everything(self) -> None:
        terminal = card(MANAGING | Privilege.GLOBAL_REGISTRY, applets=[EchoApplet()])
        session = opened(terminal, DOMAIN, OWN).session
        assert ECHO_AID in session(0x80, 0xF2, 0x40, 0x00, b"\x4f\x00").data
        assert session(0x80, 0xF2, 0x80, 0x02, b"\x4f\x00").sw == 0x9000


class TestReach:
    """What a domain may touch: itself and what is below, nothing beside or above it."""

    def test_content_of_others_is_6985(self) -> None:
        terminal = card(applets=[EchoApplet()])
        issuer = ContentHost(terminal.authenticate())
        issuer.load(BLOCK)
        here = opened(terminal, DOMAIN, OWN)
        refused(0x6985, here.install)
        refused(0x6985, lambda: here.run(content.delete_object(ECHO_AID)))
        refused(0x6985, lambda: here.run(content.delete_object(FILE)))
        refused(0x6985, lambda: here.run(content.extradite(ECHO_AID, DOMAIN)))
        refused(0x6985, lambda: here.run(content.update_registry(ECHO_AID, privileges=Privilege.CVM_MANAGEMENT)))
        assert here.session(0x80, 0xF0, 0x40, 0x80, ECHO_AID).sw == 0x6985
        refused(0x6985, lambda: here.load(package(INNER, []), INNER, domain=ISD))

    def test_without_management_it_manages_nothing_but_its_own_keys_data_and_personalisation(self) -> None:
        terminal = card(Privilege.SECURITY_DOMAIN)
        here = opened(terminal, DOMAIN, OWN)
        refused(0x6985, lambda: here.make_domain(INNER))
        refused(0x6985, lambda: here.run(content.delete_object(DOMAIN)))
        assert here.session.put_keys(0x32, OTHER).sw == 0x9000
        assert here.session(0x80, 0xE2, 0x90, 0x00, b"\xdf\x01\x01!").sw == 0x9000

    def test_the_issuer_reaches_down_through_the_tree(self) -> None:
        terminal = card()
        here = opened(terminal, DOMAIN, OWN)
        here.make_domain(INNER)
        terminal.select()
        issuer = ContentHost(terminal.authenticate())
        assert issuer.session(0x80, 0xF0, 0x40, 0x80, INNER).sw == 0x9000
        issuer.run(content.delete_object(INNER))


class TestExtradition:
    def prepared(self, **parameters: Any) -> ContentHost:
        terminal = card(**parameters)
        here = ContentHost(terminal.authenticate())
        here.load(BLOCK)
        here.install()
        return here

    def test_an_application_and_a_load_file_go_under_another_domain(self) -> None:
        memory = RamMemory()
        here = self.prepared(memory=memory)
        for aid in (INSTANCE, FILE):
            here.run(content.extradite(aid, DOMAIN))
        assert here.session(0x80, 0xF2, 0x40, 0x02, item(0x4F, INSTANCE)).data.endswith(b"\xcc\x06" + DOMAIN)
        terminal = Terminal(element(memory=memory))
        terminal.select(INSTANCE)
        terminal.authenticate(keys=OWN)

    def test_a_domain_goes_with_all_below_it_and_never_below_itself(self) -> None:
        here = self.prepared()
        here.make_domain(INNER, MANAGING)
        here.run(content.extradite(INNER, DOMAIN))
        refused(0x6985, lambda: here.run(content.extradite(DOMAIN, INNER)))
        refused(0x6985, lambda: here.run(content.extradite(DOMAIN, DOMAIN)))

    def test_what_cannot_move_stays(self) -> None:
        here = self.prepared()
        refused(0x6A88, lambda: here.run(content.extradite(INSTANCE, INNER)))
        refused(0x6A88, lambda: here.run(content.extradite(INNER, DOMAIN)))
        refused(0x6A88, lambda: here.run(content.extradite(INSTANCE, FILE)))
        refused(0x6985, lambda: here.run(content.extradite(INSTANCE, ISD)))
        refused(0x6985, lambda: here.run(content.extradite(ISD, DOMAIN)))
        here.session(0x80, 0xF0, 0x40, 0x80, DOMAIN)
        refused(0x6985, lambda: here.run(content.extradite(INSTANCE, DOMAIN)))


class TestRegistryUpdate:
    def prepared(self) -> ContentHost:
        here = ContentHost(card().authenticate())
        here.load(BLOCK)
        here.install()
        return here

    def test_it_changes_privileges_domain_and_parameters(self) -> None:
        here = self.prepared()
        here.run(
            content.update_registry(
                INSTANCE,
                security_domain=DOMAIN,
                privileges=Privilege.CVM_MANAGEMENT,
                parameters=item(0xEF, item(0xCF, b"\x45")),
            )
        )
        listed = here.session(0x80, 0xF2, 0x40, 0x02, item(0x4F, INSTANCE)).data.hex()
        assert "c503020000" in listed
        assert "cf0145" in listed
        assert "cc06" + DOMAIN.hex() in listed

    def test_what_is_not_given_stays(self) -> None:
        here = self.prepared()
        here.run(content.update_registry(INSTANCE, privileges=Privilege.CVM_MANAGEMENT))
        here.run(content.update_registry(INSTANCE, parameters=item(0xEF, item(0xCF, b"\x45"))))
        assert "c503020000cf" not in here.session(0x80, 0xF2, 0x40, 0x02, item(0x4F, INSTANCE)).data.hex()
        assert "c503020000" in here.session(0x80, 0xF2, 0x40, 0x02, item(0x4F, INSTANCE)).data.hex()

    def test_nothing_becomes_a_domain_or_ceases_to_be_one(self) -> None:
        here = self.prepared()
        refused(0x6A80, lambda: here.run(content.update_registry(INSTANCE, privileges=Privilege.SECURITY_DOMAIN)))
        refused(0x6A80, lambda: here.run(content.update_registry(DOMAIN, privileges=Privilege.CVM_MANAGEMENT)))
        refused(0x6A88, lambda: here.run(content.update_registry(INNER, privileges=Privilege.CVM_MANAGEMENT)))

    def test_the_acting_domain_updates_itself_by_an_empty_aid(self) -> None:
        here = self.prepared()
        wanted = Privilege(0x9C4E00) | Privilege.TOKEN_VERIFICATION
        here.run(content.update_registry(b"", privileges=wanted))
        assert here.session(0x80, 0xF2, 0x80, 0x02, b"\x4f\x00").data.hex().endswith("c5039c6e00")

    @pytest.mark.parametrize("bit", [0x01, 0x04, 0x40])
    def test_a_restriction_stays_for_good(self, bit: int) -> None:
        here = self.prepared()
        here.run(content.update_registry(INSTANCE, parameters=item(0xEF, item(0xD9, bytes((bit,))))))
        steps: dict[int, Callable[[], object]] = {
            0x01: lambda: here.run(content.update_registry(INSTANCE, parameters=item(0xEF, item(0xD9, b"\0")))),
            0x04: lambda: here.run(content.extradite(INSTANCE, DOMAIN)),
            0x40: lambda: here.run(content.delete_object(INSTANCE)),
        }
        refused(0x6985, steps[bit])

    @pytest.mark.parametrize("later", [b"\0", b"\x40", b"\0\0"])
    def test_a_later_one_adds_to_it_and_takes_nothing_away(self, later: bytes) -> None:
        here = self.prepared()
        for value in (b"\x04", later):
            here.run(content.update_registry(INSTANCE, parameters=item(0xEF, item(0xD9, value))))
        refused(0x6985, lambda: here.run(content.extradite(INSTANCE, DOMAIN)))


class TestPersonalisation:
    def prepared(self, **parameters: Any) -> ContentHost:
        here = ContentHost(card(**parameters).authenticate())
        here.load(BLOCK)
        here.install()
        return here

    def begin(self, here: ContentHost, aid: bytes) -> int:
        return here.session(0x80, 0xE6, 0x20, 0x00, InstallForPersonalization(b"", b"", aid).build()).sw

    def test_store_data_goes_to_the_application_up_to_the_last_block(self) -> None:
        memory = RamMemory()
        here = self.prepared(memory=memory)
        assert self.begin(here, INSTANCE) == 0x9000
        assert here.session(0x80, 0xE2, 0x00, 0x00, b"\x01\x01one").sw == 0x9000
        assert here.session(0x80, 0xE2, 0x80, 0x01, b"\x01\x02two").sw == 0x9000
        assert logged(memory.load, INSTANCE) == (b"\x80\xe2\x00\x00\x05\x01\x01one", b"\x80\xe2\x80\x01\x05\x01\x02two")
        assert here.session(0x80, 0xE2, 0x90, 0x00, b"\xdf\x01\x01!").sw == 0x9000
        assert here.session(0x00, 0xCA, 0xDF, 0x01).data == b"!"

    def test_a_domain_below_stores_as_if_it_were_selected(self) -> None:
        here = self.prepared()
        assert self.begin(here, DOMAIN) == 0x9000
        assert here.session(0x80, 0xE2, 0x90, 0x00, b"\xdf\x01\x03own").sw == 0x9000
        assert here.session(0x00, 0xCA, 0xDF, 0x01).sw == 0x6A88
        here.session.terminal.select(DOMAIN)
        assert here.session.terminal.raw("00CADF0100")[:3] == b"own"

    def test_what_cannot_be_personalised_is_refused(self) -> None:
        here = self.prepared(applets=[EchoApplet()])
        assert self.begin(here, INNER) == 0x6A88
        assert self.begin(here, ISD) == 0x6985
        here.session(0x80, 0xF0, 0x40, 0x80, INSTANCE)
        assert self.begin(here, INSTANCE) == 0x6985
        other = opened(here.session.terminal, DOMAIN, OWN)
        assert self.begin(other, ECHO_AID) == 0x6985

    def test_what_the_application_refuses_changes_nothing(self) -> None:
        memory = RamMemory()
        here = ContentHost(card(memory=memory, applets=[EchoApplet()]).authenticate())
        assert self.begin(here, ECHO_AID) == 0x9000
        before = contents(memory)
        assert here.session(0x80, 0xE2, 0x80, 0x00, b"data").sw == 0x6D00
        assert contents(memory) == before

    def test_select_ends_it(self) -> None:
        here = self.prepared()
        self.begin(here, INSTANCE)
        here.session.terminal.select()
        session = here.session.terminal.authenticate()
        assert session(0x80, 0xE2, 0x90, 0x00, b"\xdf\x01\x01!").sw == 0x9000
        assert session(0x00, 0xCA, 0xDF, 0x01).data == b"!"


def test_protocols_of_a_new_domain_are_told_by_its_parameters_or_those_of_its_maker() -> None:
    terminal = Terminal(element(protocols=((0x02, 0x55),)))
    here = ContentHost(terminal.authenticate())
    here.make_domain(DOMAIN)
    here.make_domain(INNER, parameters=item(0xC9, item(0x81, b"\x03\x30")))
    terminal.select(DOMAIN)
    assert terminal.raw("80CA006600").hex().count("2a864886fc6b04") == 2
    terminal.select(INNER)
    assert terminal.raw("80CA006600").hex().endswith("2a864886fc6b0403309000")


def test_a_session_of_one_domain_says_nothing_to_another() -> None:
    terminal = card()
    session = terminal.authenticate()
    terminal.select(DOMAIN)
    assert terminal.exchange(session.wrap(0x80, 0xF2, 0x40, 0x02, b"\x4f\x00")).sw == 0x6982


def test_keys_of_a_domain_open_it_on_every_channel() -> None:
    terminal = card()
    terminal.raw("00700001")
    other = Terminal(terminal.card, 1)
    other.select(DOMAIN)
    one, two = terminal.authenticate(), other.authenticate(keys=OWN)
    assert KeySet.gp_test() != OWN
    for _ in range(2):
        assert one(0x80, 0xCA, 0x00, 0xE0).data != two(0x80, 0xCA, 0x00, 0xE0).data


class TestOutOfService:
    def test_a_locked_domain_opens_no_session_for_its_applications(self) -> None:
        terminal = card()
        here = opened(terminal, DOMAIN, OWN)
        here.load(BLOCK)
        here.install()
        terminal.select()
        assert terminal.authenticate()(0x80, 0xF0, 0x40, 0x80, DOMAIN).sw == 0x9000
        assert terminal.select(INSTANCE).sw == 0x9000
        assert terminal.initialize_update().sw == 0x6985

    def test_on_a_locked_card_only_the_final_application_opens_one(self) -> None:
        terminal = card(MANAGING | Privilege.FINAL_APPLICATION | Privilege.CARD_LOCK)
        terminal.raw("00700001")
        other = Terminal(terminal.card, 1)
        other.select(DOMAIN)
        session = terminal.authenticate()
        for state in (0x07, 0x0F, 0x7F):
            assert session(0x80, 0xF0, 0x80, state).sw == 0x9000
        assert terminal.initialize_update().sw == 0x6985
        assert other.authenticate(keys=OWN)(0x80, 0xF0, 0x80, 0x0F).sw == 0x9000

    @pytest.mark.parametrize("final", [True, False])
    def test_on_a_locked_card_a_final_application_goes_on_and_another_does_not(self, *, final: bool) -> None:
        terminal = Terminal(element(factories={MODULE: EchoApplet}))
        session = terminal.authenticate()
        here = ContentHost(session)
        here.load(BLOCK)
        here.install(privileges=Privilege.FINAL_APPLICATION if final else Privilege(0))
        terminal.raw("00700001")
        other = Terminal(terminal.card, 1)
        assert other.select(INSTANCE).sw == 0x9000
        for state in (0x07, 0x0F, 0x7F):
            assert session(0x80, 0xF0, 0x80, state).sw == 0x9000
        assert other(0x80, 0x10, 0, 0, b"x", 0).sw == (0x9000 if final else 0x6985)
        assert other.select(INSTANCE).sw == (0x6283 if final else 0x6A81)

    def test_a_locked_card_has_the_final_application_selected_after_reset(self) -> None:
        terminal = card(MANAGING | Privilege.FINAL_APPLICATION | Privilege.CARD_LOCK)
        session = terminal.authenticate()
        for state in (0x07, 0x0F, 0x7F):
            session(0x80, 0xF0, 0x80, state)
        terminal.card.reset()
        assert terminal.authenticate(keys=OWN)(0x80, 0xF0, 0x80, 0x0F).sw == 0x9000
