"""Our dialogues against our virtual element, at every level: whole tasks, and what the card lists afterwards."""

from __future__ import annotations

from typing import Final

import pytest

from keywright.crypto.des import TripleDesKey
from keywright.crypto.ec import EcPrivateKey
from keywright.crypto.rsa import RsaPrivateKey
from keywright.errors import StatusError
from keywright.globalplatform.cap.build import make_cap
from keywright.globalplatform.card_objects import ApplicationList, Resources, TagList
from keywright.globalplatform.dialogues.content import delete_key, delete_object, extradite, update_registry
from keywright.globalplatform.dialogues.installing import Wanted, create_domain, install_cap, uninstall_cap
from keywright.globalplatform.dialogues.keys import describe_keys, put_key
from keywright.globalplatform.dialogues.registry import read_registry
from keywright.globalplatform.dialogues.states import (
    bring_card_to,
    lock_application,
    lock_card,
    unlock_application,
    unlock_card,
)
from keywright.globalplatform.host import Asked, Dialogue, card_state, get_data, get_value, secured
from keywright.globalplatform.life_cycle import CardState
from keywright.globalplatform.messages import Tag
from keywright.globalplatform.privileges import Privilege
from keywright.iso7816 import transmit
from keywright.link import Loopback
from keywright.sansio.dialogue import drive
from keywright.scp.scp03 import HostChannel, KeySet, open_channel
from support.cards import HOST_CHALLENGE, element

PACKAGE: Final = bytes.fromhex("F06B770001")
ONE, TWO = PACKAGE + b"\x01", PACKAGE + b"\x02"
DOMAIN: Final = bytes.fromhex("F06B77AA01")
CAP: Final = make_cap(PACKAGE, [ONE, TWO], code_bytes=600)


class Desk:
    """A card and an open session of its issuer domain."""

    def __init__(self, level: int) -> None:
        self.ask = transmit(Loopback(element()))
        self.session: HostChannel = drive(open_channel(KeySet.gp_test(), HOST_CHALLENGE, level=level), self.ask)

    def run(self, dialogue: Dialogue[Asked]) -> Asked:
        """One dialogue under the session."""
        return drive(secured(self.session, dialogue), self.ask)

    @property
    def size(self) -> int:
        """Plain data bytes of one command."""
        return self.session.max_data


@pytest.fixture(params=[0x01, 0x03, 0x11, 0x13, 0x33], ids=lambda level: f"level {level:02X}")
def desk(request: pytest.FixtureRequest) -> Desk:
    return Desk(request.param)


def applications(desk: Desk) -> dict[bytes, int]:
    return {entry.aid: entry.life_cycle for entry in desk.run(read_registry()).applications}


def test_a_cap_file_goes_onto_the_card_and_off_again(desk: Desk) -> None:
    before = desk.run(read_registry())
    desk.run(install_cap(CAP, card=(), size=desk.size))
    held = desk.run(read_registry())
    assert {ONE, TWO} <= {entry.aid for entry in held.applications}
    assert (PACKAGE, b"\x01\x00") in held.packages
    with pytest.raises(StatusError, match="still uses it"):
        desk.run(delete_object(PACKAGE))
    desk.run(uninstall_cap(CAP, size=desk.size))
    assert desk.run(read_registry()) == before


def test_the_combined_process_installs_one_applet(desk: Desk) -> None:
    desk.run(install_cap(CAP, [Wanted(ONE)], combined=True, size=desk.size))
    assert applications(desk)[ONE] == 0x07
    assert TWO not in applications(desk)


def test_an_applet_that_is_refused_leaves_nothing_behind(desk: Desk) -> None:
    before = desk.run(read_registry())
    with pytest.raises(StatusError, match="INSTALL"):
        desk.run(install_cap(CAP, [Wanted(ONE), Wanted(TWO, ONE)], size=desk.size))
    assert desk.run(read_registry()) == before


def test_applications_are_locked_and_unlocked(desk: Desk) -> None:
    desk.run(install_cap(CAP, size=desk.size))
    desk.run(lock_application(ONE))
    assert applications(desk)[ONE] == 0x87
    desk.run(unlock_application(ONE))
    assert applications(desk)[ONE] == 0x07


def test_an_application_moves_under_a_domain_and_gains_a_privilege(desk: Desk) -> None:
    desk.run(install_cap(CAP, size=desk.size))
    desk.run(create_domain(DOMAIN, size=desk.size))
    desk.run(extradite(ONE, DOMAIN, size=desk.size))
    desk.run(update_registry(TWO, privileges=Privilege.GLOBAL_LOCK, size=desk.size))
    held = {entry.aid: entry for entry in desk.run(read_registry()).applications}
    assert held[ONE].security_domain == DOMAIN
    assert held[TWO].privileges == bytes.fromhex("000800")
    assert held[DOMAIN].privileges == bytes.fromhex("800000")


def test_keys_of_every_kind_are_put_listed_and_deleted(desk: Desk) -> None:
    keys = (
        (EcPrivateKey.from_scalar("P-256", b"\x11" * 32).public, 0x73, {0xB0, 0xF0}),
        (RsaPrivateKey.generate(1024).public, 0x70, {0xA1, 0xA0}),
        (TripleDesKey(bytes(range(16))), 0x72, {0x80}),
        (EcPrivateKey.from_scalar("P-384", b"\x12" * 48), 0x13, {0xB1, 0xF0}),
    )
    for key, kvn, _ in keys:
        desk.run(put_key(key, desk.session, kvn=kvn, size=desk.size))
    listed = {key.kvn: {kind for kind, _ in key.components} for key in desk.run(describe_keys())}
    for _, kvn, kinds in keys:
        assert listed[kvn] <= kinds
        desk.run(delete_key(kvn=kvn))
    assert not {kvn for _, kvn, _ in keys} & {key.kvn for key in desk.run(describe_keys())}


def test_a_key_that_needs_several_commands_arrives_whole(desk: Desk) -> None:
    desk.run(put_key(RsaPrivateKey.generate(2048).public, desk.session, kvn=0x70, size=desk.size))
    assert 0x70 in {key.kvn for key in desk.run(describe_keys())}
    assert desk.session.is_open


def test_the_card_goes_through_its_life(desk: Desk) -> None:
    assert desk.run(bring_card_to(CardState.SECURED)) == (CardState.INITIALIZED, CardState.SECURED)
    desk.run(lock_card())
    assert desk.run(card_state()) == CardState.CARD_LOCKED
    desk.run(unlock_card())
    assert desk.run(card_state()) == CardState.SECURED


def test_the_card_tells_its_resources_and_its_applications(desk: Desk) -> None:
    desk.run(install_cap(CAP, size=desk.size))
    data = desk.run(get_value(Tag.RESOURCES))
    assert data is not None
    assert Resources.parse(data).non_volatile > 0
    listed = desk.run(get_data(Tag.APPLICATION_LIST, TagList(b"").build()))
    assert listed is not None
    assert {ONE, TWO} <= set(ApplicationList.parse(listed).all_aids)
