"""Two channels and one registry: what one channel changes while another is in the middle of something.

Nothing that was begun earlier is finished against a registry that no longer allows it, and no session outlives what it
rests on.
"""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from keywright.codec.tlv import item
from keywright.element.recording_applet import logged
from keywright.element.registry import Registry
from keywright.globalplatform.dialogues import content
from keywright.globalplatform.host import Dialogue
from keywright.globalplatform.install import InstallForLoad, InstallForPersonalization
from keywright.globalplatform.load_file import LAST_BLOCK
from keywright.globalplatform.privileges import Privilege
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.channels import with_channel
from keywright.sansio.dialogue import drive, through
from keywright.scp.scp03 import open_channel
from keywright.store import RamMemory
from support.cards import HOST_CHALLENGE, ISD, OTHER, OWN, Session, Terminal, element
from support.content import DOMAIN, FILE, INNER, INSTANCE, MODULE, ContentHost, opened, package

MANAGING = Privilege.SECURITY_DOMAIN | Privilege.AUTHORIZED_MANAGEMENT
BLOCK = package(FILE, [MODULE])
LIST = (0x80, 0xF2, 0x40, 0x02, b"\x4f\x00")
LOCK, UNLOCK = (0x80, 0xF0, 0x40, 0x80), (0x80, 0xF0, 0x40, 0x0F)


class Side(ContentHost):
    """Content dialogues on the channel of their session."""

    def run(self, dialogue: Dialogue[Any]) -> Any:
        def layer(command: Command) -> Dialogue[Response]:
            moved = msgspec.structs.replace(command, cla=with_channel(command.cla, self.session.terminal.channel))
            return self.session.host.secure(moved)

        return drive(through(dialogue, layer), self.session.terminal.exchange)

    def load_and_install(self) -> None:
        """`BLOCK`, and `INSTANCE` of it."""
        self.load(BLOCK)
        self.install()


class Pair:
    """An issuer on the basic channel, and on channel 1 a domain that manages content in its own right."""

    def __init__(self, privileges: Privilege = MANAGING, **parameters: Any) -> None:
        self.memory = RamMemory()
        self.card = element(memory=self.memory, **parameters)
        self.basic, self.second = Terminal(self.card), Terminal(self.card, 1)
        ContentHost(self.basic.authenticate()).make_domain(DOMAIN, privileges)
        assert self.basic.raw("00700001") == b"\x90\x00"
        self.second.select(DOMAIN)
        assert self.second.authenticate().put_keys(0x31, OWN).sw == 0x9000
        self.issuer = ContentHost(self.basic.authenticate())
        self.domain = Side(self.second.authenticate(keys=OWN))

    def registry(self) -> Registry:
        return Registry.parse(self.memory.load("registry") or b"")


def announce(session: Session, *, domain: bytes = b"", combined: bool = False) -> int:
    data = InstallForLoad(FILE, domain, b"", b"").build()
    return session(0x80, 0xE6, 0x0E if combined else 0x02, int(combined), data, 0).sw


def last_block(session: Session, block: bytes = BLOCK) -> int:
    return session(0x80, 0xE8, LAST_BLOCK, 0, item(0xC4, block), 0).sw


class TestLoadUnderWay:
    def test_a_load_file_of_another_domain_is_not_replaced_by_one_announced_before_it_came(self) -> None:
        here = Pair()
        assert announce(here.domain.session) == 0x9000
        here.issuer.load(BLOCK)
        assert last_block(here.domain.session, package(FILE, [MODULE], version=(9, 9))) == 0x6985
        entry = here.registry().load_file(FILE)
        assert entry is not None
        assert (entry.domain, entry.version) == (ISD, b"\x01\x02")
        assert here.memory.load(f"load/{FILE.hex().upper()}") == BLOCK

    def test_nor_at_the_end_of_a_combined_process(self) -> None:
        here = Pair()
        assert announce(here.domain.session, combined=True) == 0x9000
        assert last_block(here.domain.session, package(FILE, [MODULE], version=(9, 9))) == 0x9000
        here.issuer.load(BLOCK)
        data = b"".join(bytes((len(v),)) + v for v in (FILE, MODULE, INSTANCE, b"\0", b"\xc9\0", b""))
        assert here.domain.session(0x80, 0xE6, 0x0E, 0x03, data, 0).sw == 0x6985
        entry = here.registry().load_file(FILE)
        assert entry is not None
        assert (entry.domain, entry.version) == (ISD, b"\x01\x02")
        assert here.registry().application(INSTANCE) is None

    def test_a_combined_process_installs_from_the_file_that_it_brought(self) -> None:
        here = Pair()
        other = bytes.fromhex("F06B770009")
        here.domain.load(package(other, [MODULE]), other)
        assert announce(here.domain.session, combined=True) == 0x9000
        assert last_block(here.domain.session) == 0x9000
        data = b"".join(bytes((len(v),)) + v for v in (other, MODULE, INSTANCE, b"\0", b"\xc9\0", b""))
        assert here.domain.session(0x80, 0xE6, 0x0E, 0x03, data, 0).sw == 0x6A80
        assert here.registry().load_file(FILE) is None

    def test_an_application_that_took_the_aid_meanwhile_stays_alone_with_it(self) -> None:
        here = Pair()
        assert announce(here.domain.session) == 0x9000
        other = bytes.fromhex("F06B770009")
        here.issuer.load(package(other, [MODULE]), other)
        here.issuer.install(other, instance=FILE)
        assert last_block(here.domain.session) == 0x6985

    @pytest.mark.parametrize("locked", [False, True])
    def test_a_load_for_a_domain_that_is_gone_or_locked_is_refused(self, *, locked: bool) -> None:
        here = Pair()
        here.issuer.make_domain(INNER)
        here.issuer.run(content.extradite(INNER, DOMAIN))
        assert announce(here.domain.session, domain=INNER) == 0x9000
        if locked:
            assert here.issuer.session(*LOCK, INNER).sw == 0x9000
        else:
            here.issuer.run(content.delete_object(INNER))
        assert last_block(here.domain.session) == (0x6985 if locked else 0x6A88)
        assert here.registry().load_file(FILE) is None


class TestSessionsAndWhatTheyRestOn:
    def test_the_session_of_a_domain_ends_when_the_domain_is_locked(self) -> None:
        here = Pair()
        assert here.issuer.session(*LOCK, DOMAIN).sw == 0x9000
        assert here.domain.session(*LIST).sw == 0x6982
        assert here.issuer.session(*UNLOCK, DOMAIN).sw == 0x9000
        assert here.domain.session(*LIST).sw == 0x6982

    def test_with_all_below_it_too(self) -> None:
        here = Pair()
        assert here.issuer.session(0x80, 0xF0, 0x60, 0x80, DOMAIN).sw == 0x9000
        assert here.domain.session(*LIST).sw == 0x6982

    def test_a_domain_that_locks_itself_gets_the_answer_and_no_more(self) -> None:
        here = Pair()
        assert here.domain.session(*LOCK, DOMAIN).sw == 0x9000
        assert here.domain.session(*LIST).sw == 0x6982
        assert here.issuer.session(*LIST).sw == 0x9000

    def test_a_handshake_of_a_domain_that_is_locked_meanwhile_leads_nowhere(self) -> None:
        here = Pair()
        assert here.second.initialize_update().sw == 0x9000
        assert here.issuer.session(*LOCK, DOMAIN).sw == 0x9000
        assert here.second(0x84, 0x82, 0x01, 0x00, bytes(16)).sw == 0x6985

    def test_the_sessions_of_its_applications_end_with_it(self) -> None:
        here = Pair()
        here.domain.load_and_install()
        session = opened(here.second, INSTANCE, OWN).session
        assert session(0x80, 0x01, 0, 0, b"data").sw == 0x9000
        assert here.issuer.session(*LOCK, DOMAIN).sw == 0x9000
        assert session(0x80, 0x01, 0, 0, b"data").sw == 0x6982

    def test_an_application_that_goes_to_another_domain_has_its_keys_from_then_on(self) -> None:
        here = Pair()
        here.domain.load_and_install()
        session = opened(here.second, INSTANCE, OWN).session
        here.issuer.run(content.extradite(INSTANCE, ISD))
        assert session(0x80, 0x01, 0, 0, b"data").sw == 0x6982
        again = here.second.authenticate()
        assert again(0x80, 0x01, 0, 0, b"data").sw == 0x9000

    def test_when_the_card_is_locked_only_those_of_the_final_application_go_on(self) -> None:
        here = Pair(MANAGING | Privilege.CARD_LOCK)
        for state in (0x07, 0x0F):
            assert here.issuer.session(0x80, 0xF0, 0x80, state).sw == 0x9000
        assert here.domain.session(0x80, 0xF0, 0x80, 0x7F).sw == 0x9000
        assert here.domain.session(0x80, 0xF0, 0x80, 0x0F).sw == 0x6982
        assert here.issuer.session(0x80, 0xF0, 0x80, 0x0F).sw == 0x9000

    @pytest.mark.parametrize("deleted", [False, True])
    def test_a_challenge_made_with_keys_that_go_opens_nothing(self, *, deleted: bool) -> None:
        here = Pair()
        assert here.domain.session.put_keys(0x32, OTHER).sw == 0x9000
        assert here.basic.raw("00700002") == b"\x90\x00"
        owner = Terminal(here.card, 2)
        owner.select(DOMAIN)
        session = owner.authenticate(kvn=0x32, keys=OTHER)
        dialogue = open_channel(OWN, HOST_CHALLENGE, kvn=0x31, level=0x01, channel=1)
        command = dialogue.send(here.second.exchange(next(dialogue)))
        if deleted:
            assert session(0x80, 0xE4, 0, 0, b"\xd2\x01\x31", 0).sw == 0x9000
        else:
            assert session.put_keys(0x31, OTHER, old=0x31).sw == 0x9000
        assert here.second.exchange(command).sw == 0x6985


class TestSelection:
    def test_no_further_channel_gets_an_application_that_was_locked_meanwhile(self) -> None:
        here = Pair()
        here.domain.load_and_install()
        assert here.second.select(INSTANCE).sw == 0x9000
        assert here.issuer.session(*LOCK, INSTANCE).sw == 0x9000
        assert here.second(0x00, 0x70, 0, 0, b"", 1).sw == 0x6985
        assert Terminal(here.card, 2)(0x80, 0x01, 0, 0, b"data").sw == 0x6881

    def test_personalisation_ends_for_an_application_that_has_gone_to_another_domain(self) -> None:
        here = Pair()
        here.domain.load_and_install()
        begin = InstallForPersonalization(b"", b"", INSTANCE).build()
        assert here.domain.session(0x80, 0xE6, 0x20, 0x00, begin).sw == 0x9000
        here.issuer.run(content.extradite(INSTANCE, ISD))
        assert here.domain.session(0x80, 0xE2, 0x80, 0x00, b"\x01\x01!").sw == 0x6985
        assert logged(here.memory.load, INSTANCE) == ()
