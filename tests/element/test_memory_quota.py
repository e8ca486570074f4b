"""Quotas against what applications really keep, by whatever command it came."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from keywright.codec.tlv import item
from keywright.element import Context
from keywright.globalplatform.card_objects import Resources
from keywright.globalplatform.dialogues import content
from keywright.globalplatform.install import InstallForPersonalization
from keywright.globalplatform.privileges import Privilege
from keywright.iso7816.apdu import Command, Response
from keywright.store import RamMemory
from support.cards import Session, Terminal, contents, element
from support.content import DOMAIN, FILE, INSTANCE, MODULE, SECOND, ContentHost, package

BLOCK = package(FILE, [MODULE])
APPLICATION_QUOTA, RESERVED = 0xC8, 0xD8


def system(**sizes: int) -> bytes:
    """Parameters of INSTALL with a quota (C8) and a reservation (D8)."""
    tags: Mapping[str, int] = {"quota": APPLICATION_QUOTA, "reserved": RESERVED}
    return b"\xc9\x00" + item(0xEF, b"".join(item(tags[name], size.to_bytes(2)) for name, size in sizes.items()))


class Keeper:
    """Keeps as many bytes as P1 says, for itself (01), or for the application named by the data (02), or here (E2)."""

    def __init__(self, aid: bytes) -> None:
        self.aid = aid

    def installed(self, context: Context, parameters: bytes) -> None:
        context.write("installed", parameters)

    def select(self, context: Context) -> bytes:
        del context
        return b""

    def process(self, command: Command, context: Context) -> Response:
        if command.ins == 0x02:
            return context.forward(command.data, Command(0x80, 0x01, command.p1, 0))
        context.write("kept", bytes(command.p1 & 0x7F) if command.p1 & 0x7F else None)
        return Response(b"")


class Issuer(ContentHost):
    """The issuer on a card where `Keeper` is loaded."""

    def __init__(self, **parameters: object) -> None:
        self.memory = RamMemory()
        super().__init__(Terminal(element(memory=self.memory, factories={MODULE: Keeper}, **parameters)).authenticate())
        self.load(BLOCK)

    def kept(self) -> dict[str, bytes]:
        return contents(self.memory, counters=False)


def store_data(session: Session, aid: bytes, size: int) -> int:
    begin = InstallForPersonalization(b"", b"", aid).build()
    assert session(0x80, 0xE6, 0x20, 0x00, begin, 0).sw == 0x9000
    return session(0x80, 0xE2, 0x80 | size, 0x00, b"\x01\x01!").sw


class TestOwnQuota:
    def test_it_bounds_what_personalisation_leaves(self) -> None:
        here = Issuer()
        here.install(parameters=system(quota=16))
        assert store_data(here.session, INSTANCE, 16) == 0x9000
        before = here.kept()
        assert store_data(here.session, INSTANCE, 17) == 0x6A84
        assert here.kept() == before

    def test_it_bounds_what_another_application_hands_on(self) -> None:
        here = Issuer()
        here.install(privileges=Privilege.TRUSTED_PATH)
        here.install(instance=SECOND, parameters=system(quota=16))
        terminal = here.session.terminal
        terminal.select(INSTANCE)
        assert terminal(0x80, 0x02, 16, data=SECOND).sw == 0x9000
        assert terminal(0x80, 0x02, 17, data=SECOND).sw == 0x6A84

    def test_it_bounds_what_its_installation_leaves(self) -> None:
        here = Issuer()
        before = here.kept()
        parameters = item(0xC9, bytes(17)) + item(0xEF, item(APPLICATION_QUOTA, b"\0\x10"))
        with pytest.raises(Exception, match="6A84"):
            here.install(parameters=parameters)
        assert here.kept() == before

    def test_what_becomes_less_is_never_refused(self) -> None:
        here = Issuer()
        here.install()
        terminal = here.session.terminal
        terminal.select(INSTANCE)
        assert terminal(0x80, 0x01, 20).sw == 0x9000
        terminal.select()
        ContentHost(terminal.authenticate()).run(
            content.update_registry(INSTANCE, parameters=item(0xEF, item(APPLICATION_QUOTA, b"\0\x10")))
        )
        terminal.select(INSTANCE)
        assert terminal(0x80, 0x01, 21).sw == 0x6A84
        assert terminal(0x80, 0x01, 18).sw == 0x9000


class TestQuotaOfADomain:
    def test_it_bounds_together_what_the_applications_below_it_keep(self) -> None:
        here = Issuer()
        here.make_domain(DOMAIN, parameters=system(quota=0x100))
        for aid in (INSTANCE, SECOND):
            here.install(instance=aid)
            here.run(content.extradite(aid, DOMAIN))
        terminal = here.session.terminal
        terminal.select(INSTANCE)
        assert terminal(0x80, 0x01, 0x7F).sw == 0x9000
        terminal.select(SECOND)
        assert terminal(0x80, 0x01, 0x7F).sw == 0x9000
        here = Issuer()
        here.make_domain(DOMAIN, parameters=system(quota=0xC0))
        for aid in (INSTANCE, SECOND):
            here.install(instance=aid)
            here.run(content.extradite(aid, DOMAIN))
        terminal = here.session.terminal
        terminal.select(INSTANCE)
        assert terminal(0x80, 0x01, 0x7F).sw == 0x9000
        terminal.select(SECOND)
        assert terminal(0x80, 0x01, 0x42).sw == 0x6A84
        assert terminal(0x80, 0x01, 0x41).sw == 0x9000

    def test_what_is_kept_already_goes_with_an_application_that_moves(self) -> None:
        here = Issuer()
        here.make_domain(DOMAIN, parameters=system(quota=0x40))
        here.install()
        assert store_data(here.session, INSTANCE, 0x41) == 0x9000
        with pytest.raises(Exception, match="6A84"):
            here.run(content.extradite(INSTANCE, DOMAIN))

    def test_a_reservation_holds_room_that_is_not_yet_used(self) -> None:
        here = Issuer()
        here.make_domain(DOMAIN, parameters=system(quota=0x60))
        here.install(parameters=system(reserved=0x40))
        here.run(content.extradite(INSTANCE, DOMAIN))
        here.install(instance=SECOND)
        here.run(content.extradite(SECOND, DOMAIN))
        assert store_data(here.session, INSTANCE, 0x30) == 0x9000
        assert store_data(here.session, SECOND, 0x21) == 0x6A84
        assert store_data(here.session, SECOND, 0x20) == 0x9000


def test_the_card_tells_as_free_what_is_not_kept() -> None:
    here = Issuer(persistent=1000)
    here.install()

    def free() -> int:
        return Resources.parse(here.session(0x00, 0xCA, 0xFF, 0x21).data).non_volatile

    before = free()
    assert store_data(here.session, INSTANCE, 0x50) == 0x9000
    assert before - free() == 0x50


@pytest.mark.parametrize(
    ("parameters", "sw"),
    [
        (item(0xEF, item(APPLICATION_QUOTA, b"\0\0\x10")), "6A80"),
        (item(0xEF, item(RESERVED, b"\x10\x00")), "6A84"),
    ],
)
def test_make_selectable_takes_no_sizes_that_install_refuses(parameters: bytes, sw: str) -> None:
    here = Issuer(persistent=1000)
    here.install(selectable=False)
    before = here.kept()
    with pytest.raises(Exception, match=sw):
        here.run(content.make_selectable(INSTANCE, parameters=parameters))
    assert here.kept() == before
