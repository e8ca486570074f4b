"""SCP11 on the element: whose session it is, what a certificate allows, and what 82 means when.

The protocol itself is proven in tests/scp; here it meets the domain's records, the state table and other protocols.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from keywright.codec.tlv import item
from keywright.element import SecureElement
from keywright.element.state import KeyRecord
from keywright.errors import AuthenticationError, StatusError
from keywright.globalplatform.profile import CardProfile
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.channels import with_channel
from keywright.sansio.dialogue import drive
from keywright.scp.scp11.certificates import parse_certificate
from keywright.scp.scp11.host import Card, HostChannel, open_channel
from keywright.scp.scp11.messages import SCP11A, SCP11B, SCP11C, VARIANTS, I, Variant
from keywright.scp.scp11.profile import Profile
from keywright.store import RamMemory
from support.cards import Terminal, contents, element
from support.content import give_keys
from support.scp11 import KLOC, authority, holder, key

PROFILE = Profile()
OWNER = Profile(always_owner=True)
OWN = key("P-256", "SD")
CA = holder("x509")


class Element:
    """An element that offers SCP11 in every variant, its keys already there, on one or more channels."""

    def __init__(self, profile: Profile = OWNER, memory: RamMemory | None = None, **parameters: Any) -> None:
        self.profile = profile
        self.memory = memory or RamMemory()
        if not self.memory.names():
            element(memory=self.memory, protocols=[(0x11, profile.i)], rng=os.urandom, **parameters)
            scalar = OWN.library_key().private_numbers().private_value.to_bytes(32)
            give_keys(self.memory, "", 1, *(KeyRecord(variant.kid, 0xB1, scalar) for variant in VARIANTS))
            root = _root_point()
            give_keys(self.memory, "", KLOC.kvn, KeyRecord(KLOC.kid, 0xB0, root))
        self.card: SecureElement = element(memory=self.memory, profile=CardProfile(scp11=profile), rng=os.urandom)

    def open(self, variant: Variant, channel: int = 0, **changes: Any) -> Callable[..., Response]:
        """A session; returns what sends a command in it."""
        shown = changes.pop("holder", CA) if variant.authenticates_host else None
        terminal = Terminal(self.card, channel)
        dialogue = open_channel(
            variant,
            Card(OWN.public, 1, group_id=b"g"),
            key("P-256", "ephemeral OCE"),
            holder=shown,
            ca_key=KLOC if shown is not None else None,
            channel=channel,
            profile=self.profile,
            **changes,
        )
        session: HostChannel = drive(dialogue, terminal.exchange)

        def send(cla: int, ins: int, p1: int = 0, p2: int = 0, data: bytes = b"", le: int | None = None) -> Response:
            command = Command(with_channel(cla, channel), ins, p1, p2, data, le)
            return session.unwrap(terminal.exchange(session.wrap(command)))

        return send


def _root_point() -> bytes:
    return authority("host", "x509")[0].public.point


LIST = (0x80, 0xF2, 0x80, 0x02, b"\x4f\x00")
LEVEL = (0x00, 0xCA, 0x00, 0xD3)
STORE = (0x80, 0xE2, 0x90, 0x00, b"\xdf\x01\x01!")


class TestWhoseSession:
    def test_an_owner_manages_with_a_and_the_level_tells_it(self) -> None:
        send = Element().open(SCP11A)
        assert send(*LEVEL).data == b"\xb3"
        assert send(*LIST).sw == 0x9000
        assert send(*STORE).sw == 0x9000

    def test_a_holder_whose_certificate_names_the_provider_of_the_domain_is_the_owner(self) -> None:
        here = Element(PROFILE)
        subject = _subject()
        assert here.open(SCP11A)(*LEVEL).data == b"\x73"
        here.memory.commit({"data/5F20": subject})
        here.card.reset()
        assert here.open(SCP11A)(*LEVEL).data == b"\xb3"

    def test_with_b_nobody_is_authenticated_and_management_is_6982(self) -> None:
        here = Element()
        before = contents(here.memory)
        send = here.open(SCP11B)
        assert send(*LEVEL).data == b"\x33"
        assert send(0x80, 0xCA, 0x00, 0xE0).sw == 0x9000
        for command in (LIST, STORE, (0x80, 0xD8, 0, 1, b""), (0x80, 0xE6, 2, 0, b""), (0x80, 0xF0, 0x80, 7)):
            assert send(*command).sw == 0x6982
        assert contents(here.memory) == before
        assert send(0x80, 0xCA, 0x00, 0xE0).sw == 0x9000

    def test_c_never_allows_keys_or_states_whoever_holds_the_certificate(self) -> None:
        send = Element().open(SCP11C)
        for command in ((0x80, 0xD8, 0, 0x01, b""), (0x80, 0xF0, 0x80, 7), (0x80, 0xE4, 0, 0, b"\xd2\x01\x30")):
            assert send(*command).sw == 0x6982
        assert send(*STORE).sw == 0x9000

    def test_nor_does_c_bring_or_make_keys_by_another_command(self) -> None:
        here = Element()
        send = here.open(SCP11C)
        before = contents(here.memory)
        announced = item(0xB9, bytes.fromhex("95011C 800188 810110 820101 830130"))
        groups = b"\x00\xb9" + bytes((len(announced),)) + announced
        groups += b"\x81\x13\x10" + bytes(16)
        assert send(0x80, 0xE2, 0x88, 0x00, groups).sw == 0x6982
        assert send(0x80, 0xE2, 0x08, 0x00, groups[:10]).sw == 0x9000
        assert send(0x80, 0xE2, 0x88, 0x01, groups[10:]).sw == 0x6982
        assert send(0x80, 0xF1, 0x00, 0x13, bytes.fromhex("40F00100")).sw == 0x6982
        assert contents(here.memory) == before
        assert here.open(SCP11A)(0x80, 0xE2, 0x88, 0x00, groups).sw == 0x9000

    def test_one_session_of_c_at_a_time(self) -> None:
        here = Element()
        here.card.handle(bytes.fromhex("00700001"))
        send = here.open(SCP11C)
        with pytest.raises(StatusError, match="6985"):
            here.open(SCP11C, channel=1)
        here.open(SCP11A, channel=1)
        assert send(0x80, 0xCA, 0x00, 0xE0).sw == 0x9000

    def test_a_certificate_with_a_list_allows_that_and_nothing_else_to_who_is_not_the_owner(self) -> None:
        listed = bytes.fromhex("EF048D0280F2")
        here = Element(PROFILE)
        send = here.open(SCP11A, holder=holder("gp", authorisation=listed))
        assert send(*LIST).sw == 0x9000
        assert send(*STORE).sw == 0x6982


def _subject() -> bytes:
    return parse_certificate(CA.chain[-1]).subject_id


class TestWhichProtocol:
    """82 is EXTERNAL AUTHENTICATE after INITIALIZE UPDATE, MUTUAL AUTHENTICATE otherwise."""

    def test_both_protocols_open_one_after_the_other_and_each_ends_the_one_before(self) -> None:
        here = Element()
        terminal = Terminal(here.card)
        for _ in range(2):
            terminal.authenticate(kvn=0xFF)
            new = here.open(SCP11A)
            assert new(0x80, 0xCA, 0x00, 0xE0).sw == 0x9000
            terminal.initialize_update(kvn=0xFF)
            assert new(0x80, 0xCA, 0x00, 0xE0).sw == 0x6982

    def test_after_initialize_update_it_is_external_authenticate(self) -> None:
        here = Element()
        terminal = Terminal(here.card)
        assert terminal.initialize_update(kvn=0xFF).sw == 0x9000
        assert terminal.raw("8482330010" + "00" * 16).hex() == "6982"
        assert terminal.raw("8482330010" + "00" * 16).hex() == "6882"

    def test_without_anything_before_it_is_mutual_authenticate_and_wants_certificates(self) -> None:
        here = Element()
        shown = msgspec.structs.replace(CA, chain=())
        with pytest.raises(StatusError, match="6985"):
            here.open(SCP11A, holder=shown)

    def test_a_command_between_certificates_and_authentication_does_no_harm(self) -> None:
        here = Element()
        terminal = Terminal(here.card)
        dialogue = open_channel(
            SCP11A, Card(OWN.public, 1), key("P-256", "e"), holder=CA, ca_key=KLOC, profile=self.extended()
        )

        def exchange(command: Command) -> Response:
            answer = terminal.exchange(command)
            if command.ins == 0x2A:
                assert terminal.raw("80CA006600")[-2:] == b"\x90\x00"
            return answer

        assert drive(dialogue, exchange).is_open

    def extended(self) -> Profile:
        return msgspec.structs.replace(OWNER, fragments="extended")

    @pytest.mark.parametrize("style", ["p1", "p1-chained", "chained", "extended"])
    def test_certificates_come_in_every_kind_of_parts(self, style: Any) -> None:
        here = Element(msgspec.structs.replace(OWNER, fragments=style))
        assert here.open(SCP11A)(*LIST).sw == 0x9000


class TestMemory:
    def test_failures_are_counted_across_resets_and_block_the_key(self) -> None:
        here = Element(msgspec.structs.replace(OWNER, failure_limit=3))
        for _ in range(3):
            assert here.card.handle(bytes.fromhex("80820111020000")).hex() == "6a80"
            here.card.reset()
        assert here.card.handle(bytes.fromhex("80820111020000")).hex() == "6983"
        again = Element(msgspec.structs.replace(OWNER, failure_limit=3), here.memory)
        with pytest.raises(StatusError, match="6983"):
            again.open(SCP11A)
        again.open(SCP11B)

    def test_a_host_is_remembered_until_the_ca_key_that_accepted_it_goes(self) -> None:
        profile = msgspec.structs.replace(OWNER, i=OWNER.i | I.PERSISTENT_PK << 8)
        here = Element(profile)
        here.open(SCP11A)
        again = Element(profile, here.memory)
        shown = msgspec.structs.replace(CA, chain=())
        assert again.open(SCP11A, holder=shown)(*LIST).sw == 0x9000
        assert again.open(SCP11A)(0x80, 0xE4, 0x00, 0x00, bytes((0xD2, 1, KLOC.kvn))).sw == 0x9000
        with pytest.raises(StatusError, match="6985"):
            again.open(SCP11A, holder=shown)

    def test_certificates_are_worth_nothing_once_the_ca_key_that_accepted_them_has_gone(self) -> None:
        here = Element()
        assert here.card.handle(bytes.fromhex("00700001")) == b"\x90\x00"
        owner, other = here.open(SCP11A), Terminal(here.card, 1)
        dialogue = open_channel(
            SCP11A, Card(OWN.public, 1), key("P-256", "ephemeral OCE"), holder=CA, ca_key=KLOC, channel=1
        )
        command = next(dialogue)
        while command.ins == 0x2A:
            command = dialogue.send(other.exchange(command))
        assert owner(0x80, 0xE4, 0x00, 0x00, bytes((0xD2, 1, KLOC.kvn))).sw == 0x9000
        assert other.exchange(command).sw == 0x6985

    def test_and_until_the_owner_says_anew_which_hosts_are_allowed(self) -> None:
        profile = msgspec.structs.replace(OWNER, i=OWNER.i | I.PERSISTENT_PK << 8)
        here = Element(profile)
        send = here.open(SCP11A)
        target = item(0xA6, item(0x83, bytes((KLOC.kid, KLOC.kvn))))
        assert send(0x80, 0xE2, 0x90, 0x00, target + item(0x70, item(0x93, b"\x01"))).sw == 0x9000
        with pytest.raises(AuthenticationError, match="6640"):
            here.open(SCP11A)
        with pytest.raises(StatusError, match="6985"):
            here.open(SCP11A, holder=msgspec.structs.replace(CA, chain=()))

    def test_attempts_are_counted(self) -> None:
        here = Element()
        here.open(SCP11A)
        assert here.card.attempts == 1
