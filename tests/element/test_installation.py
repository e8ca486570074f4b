"""INSTALL [for install] and [for make selectable]: instances, their code, privileges, memory and services."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from keywright.codec.tlv import item
from keywright.element import Context
from keywright.element.recording_applet import MAX_COMMANDS, RecordingApplet, logged
from keywright.errors import StatusError
from keywright.globalplatform.confirmation import Confirmation
from keywright.globalplatform.dialogues import content
from keywright.globalplatform.host import Dialogue
from keywright.globalplatform.install import InstallForInstall, InstallForMakeSelectable
from keywright.globalplatform.privileges import Privilege
from keywright.globalplatform.profile import CardProfile
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.refusal import Refusal
from keywright.store import RamMemory
from support.cards import ECHO_AID, ISD, EchoApplet, Terminal, contents, element
from support.content import DOMAIN, DOMAIN_FILE, FILE, INSTANCE, MODULE, NOTHING, SECOND, ContentHost, package

BLOCK = package(FILE, [MODULE], size=100)


def loaded(**parameters: object) -> ContentHost:
    here = ContentHost(Terminal(element(**parameters)).authenticate())
    here.load(BLOCK)
    return here


def refused(sw: int, action: Callable[[], object]) -> None:
    with pytest.raises(StatusError) as caught:
        action()
    assert caught.value.sw == sw


def system(*values: tuple[int, bytes]) -> bytes:
    """Parameters with C9 and, in EF, these."""
    return b"\xc9\x00" + item(0xEF, b"".join(item(tag, value) for tag, value in values))


def state_of(here: ContentHost, aid: bytes) -> int:
    return here.session(0x80, 0xF2, 0x40, 0x00, item(0x4F, aid)).data[1 + len(aid)]


def test_an_instance_is_listed_with_its_load_file_and_domain() -> None:
    here = loaded()
    here.install(privileges=Privilege.CVM_MANAGEMENT)
    listed = here.session(0x80, 0xF2, 0x40, 0x02, item(0x4F, INSTANCE)).data
    assert listed.hex() == ("e3234f07" + INSTANCE.hex() + "9f700107c503020000c405" + FILE.hex() + "cc08" + ISD.hex())


def test_without_make_selectable_it_is_installed_and_not_selectable_until_it_is_made_so() -> None:
    here = loaded()
    here.install(selectable=False)
    assert state_of(here, INSTANCE) == 0x03
    terminal = here.session.terminal
    assert terminal.select(INSTANCE).sw == 0x6A82
    here.run(content.make_selectable(INSTANCE))
    assert state_of(here, INSTANCE) == 0x07
    refused(0x6985, lambda: here.run(content.make_selectable(INSTANCE)))
    assert terminal.select(INSTANCE).sw == 0x9000


def test_an_empty_instance_aid_means_that_of_the_module() -> None:
    here = loaded()
    data = InstallForInstall(FILE, MODULE, b"", b"\0").build()
    assert here.session(0x80, 0xE6, 0x0C, 0x00, data).sw == 0x9000
    assert here.session.terminal.select(MODULE).sw == 0x9000


@pytest.mark.parametrize("privileges", [b"\0", bytes(3)])
@pytest.mark.parametrize("parameters", [b"", b"\xc9\x00", b"\xc9\x02ab"])
def test_privileges_have_one_byte_or_three_and_c9_may_lack(privileges: bytes, parameters: bytes) -> None:
    here = loaded()
    data = InstallForInstall(FILE, MODULE, INSTANCE, privileges, parameters).build()
    answer = here.session(0x80, 0xE6, 0x0C, 0x00, data)
    assert (answer.data, answer.sw) == (b"\x00", 0x9000)


REFUSED = {
    "an unknown load file": ((FILE[:4] + b"\x77", MODULE, INSTANCE, b"\0"), 0x6A88),
    "an unknown module": ((FILE, MODULE + b"\x77", INSTANCE, b"\0"), 0x6A88),
    "an AID of four bytes": ((FILE, MODULE, INSTANCE[:4], b"\0"), 0x6A80),
    "the AID of an application": ((FILE, MODULE, ECHO_AID, b"\0"), 0x6985),
    "the AID of the issuer domain": ((FILE, MODULE, ISD, b"\0"), 0x6985),
    "privileges of two bytes": ((FILE, MODULE, INSTANCE, b"\0\0"), 0x6A80),
    "reserved privileges": ((FILE, MODULE, INSTANCE, b"\0\0\x0f"), 0x6A80),
    "delegated management without being a domain": ((FILE, MODULE, INSTANCE, b"\x20"), 0x6A80),
    "delegated and authorised management": ((FILE, MODULE, INSTANCE, b"\xa0\x40\0"), 0x6A80),
    "mandated DAP without DAP": ((FILE, MODULE, INSTANCE, b"\x81\0\0"), 0x6A80),
    "a domain module without the privilege": ((DOMAIN_FILE, bytes.fromhex("A000000151535041"), DOMAIN, b"\0"), 0x6A80),
    "another module of the domain load file": ((DOMAIN_FILE, MODULE, DOMAIN, b"\x80"), 0x6A88),
}


@pytest.mark.parametrize(("fields", "sw"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_installed_leaves_nothing(fields: tuple[bytes, bytes, bytes, bytes], sw: int) -> None:
    memory = RamMemory()
    here = loaded(memory=memory, applets=[EchoApplet()])
    before = contents(memory)
    assert here.session(0x80, 0xE6, 0x0C, 0x00, InstallForInstall(*fields).build()).sw == sw
    assert contents(memory) == before


@pytest.mark.parametrize(
    ("p1", "p2"), [(0x00, 0x00), (0x06, 0x00), (0x18, 0x00), (0x60, 0x00), (0x0C, 0x01), (0x02, 0x03), (0x0C, 0x02)]
)
def test_other_parameters_are_6a86(p1: int, p2: int) -> None:
    assert loaded().session(0x80, 0xE6, p1, p2, bytes(6)).sw == 0x6A86


@pytest.mark.parametrize("p1", [0x02, 0x04, 0x08, 0x0C, 0x10, 0x20, 0x40])
@pytest.mark.parametrize("data", ["", "00", "05A0", "0000000000000000"])
def test_data_of_another_form_is_6a80(p1: int, data: str) -> None:
    memory = RamMemory()
    here = loaded(memory=memory)
    before = contents(memory)
    assert here.session(0x80, 0xE6, p1, 0x00, bytes.fromhex(data)).sw == 0x6A80
    assert contents(memory) == before


class Vendor:
    """An applet as a user brings it: keeps its parameters, offers a service, may refuse to be installed."""

    multiselectable = False

    def __init__(self, aid: bytes) -> None:
        self.aid = aid

    def installed(self, context: Context, parameters: bytes) -> None:
        """Keep the parameters; refuse those that begin with FF."""
        if parameters[:1] == b"\xff":
            raise Refusal(0x6A80)
        context.write("parameters", parameters)

    def select(self, context: Context) -> bytes:
        """Nothing."""
        del context
        return b""

    def process(self, command: Command, context: Context) -> Response:
        """01 its parameters; 02 sets its state to P1; 03 asks a service; 04 writes P1 bytes; 05 forwards."""
        match command.ins:
            case 0x01:
                return Response((context.read("parameters") or b"") + bytes((context.state,)))
            case 0x02:
                context.set_state(command.p1)
                return Response(b"")
            case 0x03:
                return Response(context.serve(bytes((command.p1,)), command.data))
            case 0x04:
                context.write("bulk", bytes(command.p1))
                return Response(b"")
            case 0x05:
                return context.forward(command.data, Command(0x80, 0x01, 0, 0))
        raise Refusal(0x6D00)

    def provide(self, service: bytes, request: bytes, context: Context) -> bytes:
        """Which service, who offers it, and what was asked."""
        return service + context.aid + request


class TestCode:
    def test_a_factory_makes_the_application_of_its_module_again_after_a_restart(self) -> None:
        memory = RamMemory()
        here = loaded(memory=memory, factories={MODULE: Vendor})
        here.install(parameters=b"\xc9\x03abc")
        here.install(instance=SECOND, parameters=b"\xc9\x01x")
        terminal = Terminal(element(memory=memory, factories={MODULE: Vendor}))
        for aid, expected in ((INSTANCE, b"abc\x07"), (SECOND, b"x\x07")):
            terminal.select(aid)
            assert terminal(0x80, 0x01).data == expected

    def test_an_application_may_refuse_its_installation(self) -> None:
        memory = RamMemory()
        here = loaded(memory=memory, factories={MODULE: Vendor})
        before = contents(memory)
        refused(0x6A80, lambda: here.install(parameters=b"\xc9\x01\xff"))
        assert contents(memory) == before

    def test_without_code_a_recorder_stands_in_and_what_it_was_sent_can_be_read_back(self) -> None:
        memory = RamMemory()
        here = loaded(memory=memory)
        here.install(parameters=b"\xc9\x02hi")
        terminal = here.session.terminal
        assert terminal.select(INSTANCE).data == b"\x6f\x09\x84\x07" + INSTANCE
        session = terminal.authenticate()
        assert session(0x80, 0xE2, 0x88, 0x00, b"secret").sw == 0x9000
        assert terminal.authenticate(0x00)(0x00, 0x20, 0x00, 0x81, b"1234").sw == 0x9000
        assert logged(memory.load, INSTANCE) == (bytes.fromhex("80E2880006") + b"secret", b"\0\x20\0\x81\x041234")
        assert contents(memory)[f"applet/{INSTANCE.hex().upper()}/parameters"] == b"hi"

    def test_the_recorder_is_bounded(self) -> None:
        memory = RamMemory()
        here = loaded(memory=memory)
        here.install()
        terminal = here.session.terminal
        terminal.select(INSTANCE)
        for number in range(MAX_COMMANDS + 3):
            assert terminal(0x80, 0x10, number).sw == 0x9000
        kept = logged(memory.load, INSTANCE)
        assert [raw[2] for raw in kept] == list(range(3, MAX_COMMANDS + 3))
        long = Command(0x80, 0x11, 0, 0, bytes(5000), None, extended=True)
        assert terminal.exchange(long).sw == 0x9000
        assert len(logged(memory.load, INSTANCE)[-1]) == 1024

    def test_a_memory_never_names_code(self) -> None:
        memory = RamMemory()
        loaded(memory=memory, factories={MODULE: Vendor}).install()
        assert all(b"Vendor" not in value for value in contents(memory).values())

    def test_an_application_that_is_not_multiselectable_is_on_one_channel_at_a_time(self) -> None:
        here = loaded(factories={MODULE: Vendor})
        here.install()
        terminal = here.session.terminal
        terminal.raw("00700001")
        other = Terminal(terminal.card, 1)
        assert terminal.select(INSTANCE).sw == 0x9000
        assert other.select(INSTANCE).sw == 0x6985
        assert terminal.select(INSTANCE).sw == 0x9000
        terminal.select()
        assert other.select(INSTANCE).sw == 0x9000
        assert other.raw("0170000001").hex() == "6985"

    def test_it_sets_its_own_state_as_the_table_allows(self) -> None:
        here = loaded(factories={MODULE: Vendor})
        here.install()
        terminal = here.session.terminal
        terminal.select(INSTANCE)
        assert terminal(0x80, 0x02, 0x03).sw == 0x6985
        assert terminal(0x80, 0x02, 0x0F).sw == 0x9000
        assert terminal(0x80, 0x01).data == b"\x0f"
        assert terminal(0x80, 0x02, 0x8F).sw == 0x9000
        assert terminal(0x80, 0x02, 0x0F).sw == 0x6985
        assert terminal.select(INSTANCE).sw == 0x6A82


class TestPrivileges:
    def test_the_default_application_is_selected_by_reset_and_the_issuer_is_when_it_has_gone(
        self,
    ) -> None:
        here = loaded()
        here.install(privileges=Privilege.CARD_RESET)
        terminal = here.session.terminal
        terminal.card.reset()
        assert terminal(0x80, 0x77).sw == 0x9000
        terminal.select()
        manager = ContentHost(terminal.authenticate())
        manager.run(content.delete_object(INSTANCE))
        assert manager.session(0x80, 0xF2, 0x80, 0x02, b"\x4f\x00").data.hex().endswith("c5039c4e00")
        terminal.card.reset()
        assert terminal(0x80, 0x77).sw == 0x6D00

    @pytest.mark.parametrize("privilege", [Privilege.CARD_RESET, Privilege.FINAL_APPLICATION])
    def test_what_only_one_can_hold_goes_from_holder_to_holder(self, privilege: Privilege) -> None:
        here = loaded()
        here.install(privileges=privilege)
        here.install(instance=SECOND, privileges=privilege)
        listed = here.session(0x80, 0xF2, 0x40, 0x02, b"\x4f\x00").data
        assert listed.count(int(privilege).to_bytes(3)) == 1
        issuer = here.session(0x80, 0xF2, 0x80, 0x02, b"\x4f\x00").data
        assert not int.from_bytes(issuer[-3:]) & privilege

    def test_make_selectable_may_add_privileges(self) -> None:
        here = loaded()
        here.install(selectable=False)
        refused(0x6A80, lambda: here.run(_with_privileges(b"\x20")))
        here.run(content.make_selectable(INSTANCE, privileges=Privilege.CARD_RESET))
        here.session.terminal.card.reset()
        assert here.session.terminal(0x80, 0x77).sw == 0x9000

    def test_make_selectable_gives_a_privilege_to_what_is_selectable_already(self) -> None:
        here = loaded()
        here.install()
        here.run(content.make_selectable(INSTANCE, privileges=Privilege.CARD_RESET))
        listed = here.session(0x80, 0xF2, 0x40, 0x02, b"\x4f\x00").data
        assert b"\x9f\x70\x01\x07\xc5\x03\x04\x00\x00" in listed
        refused(0x6985, lambda: here.run(content.make_selectable(INSTANCE, privileges=Privilege.CARD_RESET)))

    def test_a_locked_application_gets_no_privilege_so(self) -> None:
        here = loaded()
        here.install()
        assert here.session(0x80, 0xF0, 0x40, 0x80, INSTANCE).sw == 0x9000
        refused(0x6985, lambda: here.run(content.make_selectable(INSTANCE, privileges=Privilege.CARD_RESET)))

    def test_by_the_profile_privileges_come_with_the_first_make_selectable_only(self) -> None:
        here = loaded(profile=CardProfile(privileges_later=False))
        here.install()
        refused(0x6985, lambda: here.run(content.make_selectable(INSTANCE, privileges=Privilege.CARD_RESET)))

    def test_the_final_application_is_selectable_on_a_locked_card_and_the_issuer_domain_is_not(self) -> None:
        here = loaded(life_cycle=0x0F)
        here.make_domain(DOMAIN, Privilege.SECURITY_DOMAIN | Privilege.FINAL_APPLICATION)
        assert here.session(0x80, 0xF0, 0x80, 0x7F).sw == 0x9000
        terminal = here.session.terminal
        assert terminal.select(DOMAIN).sw == 0x6283
        assert terminal.select().sw == 0x6A81


def _with_privileges(data: bytes) -> Dialogue[Confirmation]:
    request = InstallForMakeSelectable(b"", b"", INSTANCE, data)
    command = content.install_command(0x08, request)
    return content._installed(command, "INSTALL", 200)


class TestImplicitSelection:
    def test_an_application_is_selected_on_the_channel_it_names(self) -> None:
        here = loaded()
        here.install(parameters=system((0xCF, b"\x42")))
        terminal = here.session.terminal
        terminal.raw("00700002")
        terminal.raw("00700003")
        assert Terminal(terminal.card, 2)(0x80, 0x77).sw == 0x9000
        assert Terminal(terminal.card, 3)(0x80, 0x77).sw == 0x6D00
        refused(0x6985, lambda: here.install(instance=SECOND, parameters=system((0xCF, b"\x42"))))

    def test_it_is_told_by_get_status(self) -> None:
        here = loaded()
        here.install(parameters=system((0xCF, b"\x41"), (0xCF, b"\x81")))
        assert bytes.fromhex("CF0141CF0181") in here.session(0x80, 0xF2, 0x40, 0x02, b"\x4f\x00").data


class TestMemory:
    def test_reservations_count_against_what_the_card_has(self) -> None:
        here = loaded(volatile=100, persistent=1000)
        refused(0x6A84, lambda: here.install(parameters=system((0xD7, b"\0\x65"))))
        here.install(parameters=system((0xD7, b"\0\x50"), (0xD8, b"\0\0\1\0")))
        refused(0x6A84, lambda: here.install(instance=SECOND, parameters=system((0xD7, b"\0\x20"))))
        refused(0x6A84, lambda: here.install(instance=SECOND, parameters=system((0xD8, b"\3\0"))))

    @pytest.mark.parametrize(
        "bad", [(0xC7, b"\1"), (0xC8, b"\0\0\1"), (0xD7, b""), (0xD8, bytes(5))], ids=["C7", "C8", "D7", "D8"]
    )
    def test_a_size_has_two_or_four_bytes(self, bad: tuple[int, bytes]) -> None:
        here = loaded()
        refused(0x6A80, lambda: here.install(parameters=system(bad)))

    def test_a_reservation_is_within_its_quota(self) -> None:
        here = loaded()
        refused(0x6A80, lambda: here.install(parameters=system((0xC8, b"\0\x10"), (0xD8, b"\0\x20"))))

    def test_an_application_keeps_no_more_than_its_quota(self) -> None:
        memory = RamMemory()
        here = loaded(memory=memory, factories={MODULE: Vendor})
        here.install(parameters=system((0xC8, b"\0\x20")))
        terminal = here.session.terminal
        terminal.select(INSTANCE)
        assert terminal(0x80, 0x04, 0x20).sw == 0x9000
        before = contents(memory)
        assert terminal(0x80, 0x04, 0x21).sw == 0x6A84
        assert contents(memory) == before

    def test_a_quota_of_a_domain_bounds_everything_below_it(self) -> None:
        here = loaded()
        here.make_domain(DOMAIN, parameters=system((0xC8, b"\1\0")))
        refused(0x6A84, lambda: here.load(package(SECOND, [MODULE], size=300), SECOND, domain=DOMAIN))
        here.load(package(SECOND, [MODULE], size=100), SECOND, domain=DOMAIN)


def test_code_that_refused_its_installation_is_not_there_for_the_next_one_under_that_aid() -> None:
    class Refusing(EchoApplet):
        def installed(self, context: Context, parameters: bytes) -> None:
            del context, parameters
            raise Refusal(0x6A80)

    other = MODULE + b"\x02"
    here = ContentHost(Terminal(element(factories={MODULE: Refusing, other: RecordingApplet})).authenticate())
    here.load(package(FILE, [MODULE, other]))
    refused(0x6A80, here.install)
    here.install(module=other)
    terminal = here.session.terminal
    terminal.select(INSTANCE)
    assert terminal(0x80, 0x7E).sw == 0x9000


@pytest.mark.parametrize("size", [2, 4, 200])
def test_privileges_of_another_length_are_refused(size: int) -> None:
    here = loaded()
    here.install(selectable=False)
    data = InstallForMakeSelectable(b"", b"", INSTANCE, b"\x02" * size).build()
    assert here.session(0x80, 0xE6, 0x08, 0x00, data, 0).sw == 0x6A80


class TestGlobalServices:
    def test_a_service_is_used_by_another_application_and_offered_by_one_alone(self) -> None:
        here = loaded(factories={MODULE: Vendor})
        offer = system((0xCB, b"\x42"))
        refused(0x6A80, lambda: here.install(parameters=offer))
        here.install(privileges=Privilege.GLOBAL_SERVICE, parameters=offer)
        refused(0x6985, lambda: here.install(instance=SECOND, privileges=Privilege.GLOBAL_SERVICE, parameters=offer))
        here.install(instance=SECOND)
        terminal = here.session.terminal
        terminal.select(SECOND)
        assert terminal(0x80, 0x03, 0x42, data=b"?").data == b"\x42" + INSTANCE + b"?"
        assert terminal(0x80, 0x03, 0x43, data=b"?").sw == 0x6A88

    def test_a_locked_application_offers_nothing(self) -> None:
        here = loaded(factories={MODULE: Vendor})
        here.install(privileges=Privilege.GLOBAL_SERVICE, parameters=system((0xCB, b"\x42")))
        here.install(instance=SECOND)
        here.session(0x80, 0xF0, 0x40, 0x80, INSTANCE)
        terminal = here.session.terminal
        terminal.select(SECOND)
        assert terminal(0x80, 0x03, 0x42).sw == 0x6A88


class TestTrustedPath:
    @pytest.mark.parametrize(("privileges", "sw"), [(Privilege.TRUSTED_PATH, 0x9000), (NOTHING, 0x6985)])
    def test_a_receiving_entity_hands_commands_on(self, privileges: Privilege, sw: int) -> None:
        here = loaded(factories={MODULE: Vendor})
        here.install(privileges=privileges)
        here.install(instance=SECOND, parameters=b"\xc9\x01!")
        terminal = here.session.terminal
        terminal.select(INSTANCE)
        answer = terminal(0x80, 0x05, data=SECOND)
        assert (answer.sw, answer.data) == (sw, b"!\x07" if sw == 0x9000 else b"")
        assert terminal(0x80, 0x05, data=DOMAIN).sw == 0x6985


def test_a_recorder_is_an_applet_of_its_own() -> None:
    assert RecordingApplet(INSTANCE).aid == INSTANCE
