"""INSTALL [for load] and LOAD: what becomes a load file, and everything that does not."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest

from keywright.crypto.aes import AesKey
from keywright.crypto.ec import EcPrivateKey
from keywright.element.state import KeyRecord
from keywright.errors import StatusError
from keywright.globalplatform.dap import cipher_load_block, hash_load_block, sign_dap
from keywright.globalplatform.dialogues import content
from keywright.globalplatform.install import InstallForLoad
from keywright.globalplatform.load_file import DapBlock, LoadFile
from keywright.globalplatform.privileges import Privilege
from keywright.store import RamMemory
from support.cards import ECHO_AID, ISD, EchoApplet, Terminal, contents, element
from support.content import (
    DOMAIN,
    FILE,
    INSTANCE,
    MODULE,
    ContentHost,
    give_keys,
    opened,
    package,
    prefix_of,
)

BLOCK = package(FILE, [MODULE, MODULE + b"\x02"], size=700)
DIGEST = hashlib.sha256(BLOCK).digest()
EC = EcPrivateKey.from_scalar("P-256", bytes(31) + b"\x07")
MAC = AesKey(bytes(range(16)))


def manager(**parameters: object) -> ContentHost:
    return ContentHost(Terminal(element(**parameters)).authenticate())


def refused(sw: int, action: Callable[[], object]) -> None:
    with pytest.raises(StatusError) as caught:
        action()
    assert caught.value.sw == sw


@pytest.mark.parametrize("level", [0x01, 0x03, 0x33])
@pytest.mark.parametrize("size", [50, 0])
def test_a_load_file_enters_the_registry_with_version_and_modules(level: int, size: int) -> None:
    memory = RamMemory()
    here = ContentHost(Terminal(element(memory=memory)).authenticate(level))
    confirmed = here.load(BLOCK, digest=DIGEST, size=size)
    assert (confirmed.receipt, confirmed.data) == (b"", b"")
    expected = (
        "e32a4f05" + FILE.hex() + "9f700101cc08" + ISD.hex() + "ce020102"
        "8406" + MODULE.hex() + "8407" + MODULE.hex() + "02"
    )
    assert here.session(0x80, 0xF2, 0x10, 0x02, b"\x4f\x00").data.hex() == expected
    assert contents(memory)["load/" + FILE.hex().upper()] == BLOCK


def test_it_is_one_commit_at_the_last_block() -> None:
    memory = RamMemory()
    here = manager(memory=memory)
    before = contents(memory)
    here.run(content.install_for_load(InstallForLoad(FILE)))
    raw = LoadFile(BLOCK).build()
    for number, at in enumerate(range(0, len(raw) - 200, 200)):
        assert here.session(0x80, 0xE8, 0x00, number, raw[at : at + 200]).sw == 0x9000
        assert contents(memory) == before


ANNOUNCEMENTS = {
    "an AID of four bytes": (InstallForLoad(FILE[:4]), 0x6A80),
    "an AID of seventeen bytes": (InstallForLoad(bytes(17)), 0x6A80),
    "a hash of a length that none has": (InstallForLoad(FILE, b"", bytes(33)), 0x6A80),
    "an unknown security domain": (InstallForLoad(FILE, DOMAIN), 0x6A88),
    "an application as security domain": (InstallForLoad(FILE, ECHO_AID), 0x6A88),
    "parameters that are no TLV": (InstallForLoad(FILE, b"", b"", b"\xef\x05"), 0x6A80),
    "a size of three bytes": (InstallForLoad(FILE, b"", b"", bytes.fromhex("EF05C603000001")), 0x6A80),
    "more code than the card has": (InstallForLoad(FILE, b"", b"", bytes.fromhex("EF06C604FFFFFFFF")), 0x6A84),
    "the AID of an application": (InstallForLoad(ECHO_AID), 0x6985),
    "the AID of the issuer domain": (InstallForLoad(ISD), 0x6985),
}


@pytest.mark.parametrize(("request_", "sw"), ANNOUNCEMENTS.values(), ids=ANNOUNCEMENTS)
def test_what_cannot_be_loaded_is_refused_at_once(request_: InstallForLoad, sw: int) -> None:
    here = manager(applets=[EchoApplet()])
    refused(sw, lambda: here.run(content.install_for_load(request_)))
    assert here.session(0x80, 0xE8, 0x80, 0x00, b"\xc4\x00").sw == 0x6985


def test_a_load_file_is_loaded_once() -> None:
    here = manager()
    here.load(BLOCK)
    refused(0x6985, lambda: here.load(BLOCK))


class TestSequence:
    def begun(self) -> tuple[ContentHost, list[bytes]]:
        here = manager()
        here.run(content.install_for_load(InstallForLoad(FILE)))
        raw = LoadFile(BLOCK).build()
        return here, [raw[at : at + 200] for at in range(0, len(raw), 200)]

    @pytest.mark.parametrize(("p1", "p2"), [(0x00, 0x01), (0x00, 0xFF), (0x40, 0x00), (0x80, 0x01)])
    def test_a_wrong_number_or_p1_ends_the_load(self, p1: int, p2: int) -> None:
        here, parts = self.begun()
        assert here.session(0x80, 0xE8, p1, p2, parts[0]).sw == 0x6A86
        assert here.session(0x80, 0xE8, 0x00, 0x00, parts[0]).sw == 0x6985

    def test_a_block_twice_or_left_out_ends_the_load(self) -> None:
        for second in (0x00, 0x02):
            here, parts = self.begun()
            assert here.session(0x80, 0xE8, 0x00, 0x00, parts[0]).sw == 0x9000
            assert here.session(0x80, 0xE8, 0x00, second, parts[1]).sw == 0x6A86
            assert here.session(0x80, 0xE8, 0x00, 0x01, parts[1]).sw == 0x6985

    def test_after_block_ff_comes_block_00(self) -> None:
        here, _ = self.begun()
        raw = LoadFile(package(FILE, [MODULE], size=600)).build()
        last = len(raw) - 1
        for at in range(len(raw)):
            p1 = 0x80 if at == last else 0x00
            assert here.session(0x80, 0xE8, p1, at & 0xFF, raw[at : at + 1]).sw == 0x9000
        assert last > 0xFF

    @pytest.mark.parametrize("between", [(0x80, 0xCA, 0x00, 0x66), (0x80, 0xF2, 0x80, 0x02, b"\x4f\x00"), (0x80, 0xE6)])
    def test_any_other_command_ends_the_load(self, between: tuple[int, ...]) -> None:
        here, parts = self.begun()
        here.session(0x80, 0xE8, 0x00, 0x00, parts[0])
        here.session(*between)  # type: ignore[arg-type]  # header and data mixed
        assert here.session(0x80, 0xE8, 0x00, 0x01, parts[1]).sw == 0x6985

    def test_load_without_announcement_and_after_the_last_block_is_6985(self) -> None:
        here = manager()
        assert here.session(0x80, 0xE8, 0x80, 0x00, LoadFile(package(FILE, [])).build()).sw == 0x6985
        here.load(BLOCK)
        assert here.session(0x80, 0xE8, 0x80, 0x00, b"\xc4\x00").sw == 0x6985

    def test_a_load_belongs_to_its_channel(self) -> None:
        terminal = Terminal(element())
        terminal.raw("00700001")
        other = Terminal(terminal.card, 1).authenticate()
        here, (_, parts) = ContentHost(terminal.authenticate()), self.begun()
        here.run(content.install_for_load(InstallForLoad(FILE)))
        assert other(0x80, 0xE8, 0x00, 0x00, parts[0]).sw == 0x6985
        assert here.session(0x80, 0xE8, 0x00, 0x00, parts[0]).sw == 0x9000

    def test_more_than_the_card_has_is_6a84(self) -> None:
        here = manager(persistent=300)
        here.run(content.install_for_load(InstallForLoad(FILE)))
        answers = [here.session(0x80, 0xE8, 0x00, number, bytes(200)).sw for number in range(4)]
        assert answers == [0x9000, 0x9000, 0x9000, 0x6A84]
        refused(0x6A84, lambda: here.load(package(FILE, [MODULE], size=300)))


FILES = {
    "no data block": b"",
    "a header cut short": b"\xc4\x05\x00",
    "a data block that is no package": LoadFile(b"\x01\x00\x02ab").build(),
    "a package without header": LoadFile(package(FILE, [MODULE])[20:]).build(),
    "another magic number": LoadFile(BLOCK.replace(b"\xde\xca\xff\xed", b"\xde\xca\xff\xee")).build(),
    "another AID than announced": LoadFile(package(FILE[:-1] + b"\x09", [MODULE])).build(),
    "a DAP after the block": LoadFile(BLOCK).build() + b"\xe2\x00",
}


@pytest.mark.parametrize("raw", FILES.values(), ids=FILES)
def test_a_file_that_is_none_is_6a80_and_leaves_nothing(raw: bytes) -> None:
    memory = RamMemory()
    here = manager(memory=memory)
    before = contents(memory)
    here.run(content.install_for_load(InstallForLoad(FILE)))
    parts = [raw[at : at + 200] for at in range(0, len(raw), 200)] or [b""]
    for number, part in enumerate(parts[:-1]):
        assert here.session(0x80, 0xE8, 0x00, number, part).sw == 0x9000
    assert here.session(0x80, 0xE8, 0x80, len(parts) - 1, parts[-1]).sw == 0x6A80
    assert contents(memory) == before


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha384", "sha512"])
def test_the_announced_hash_is_that_of_the_data_block(algorithm: str) -> None:
    digest = hash_load_block(BLOCK, algorithm)
    manager().load(BLOCK, digest=digest)
    wrong = bytes((digest[0] ^ 1,)) + digest[1:]
    refused(0x6A80, lambda: manager().load(BLOCK, digest=wrong))


class TestDap:
    """A domain with DAP verification, keys EC (usage 84) or AES at KVN 73."""

    def card(self, privileges: Privilege, *, with_ec: bool = True) -> tuple[ContentHost, RamMemory]:
        memory = RamMemory()
        here = manager(memory=memory)
        here.make_domain(DOMAIN, Privilege.SECURITY_DOMAIN | privileges)
        key = KeyRecord(0x05, 0xB0, EC.public.point, usage=0x84) if with_ec else KeyRecord(0x01, 0x88, MAC.reveal())
        give_keys(memory, prefix_of(DOMAIN), 0x51 if with_ec else 0x73, key)
        here.session.terminal.card.reset()
        return ContentHost(here.session.terminal.authenticate()), memory

    @pytest.mark.parametrize("with_ec", [True, False])
    def test_a_good_dap_is_accepted_and_a_wrong_one_ends_the_load(self, *, with_ec: bool) -> None:
        here, _ = self.card(Privilege.DAP_VERIFICATION, with_ec=with_ec)
        dap = sign_dap(EC if with_ec else MAC, DIGEST, DOMAIN)
        wrong = DapBlock(DOMAIN, dap.signature[:-1] + bytes((dap.signature[-1] ^ 1,)))
        refused(0x6982, lambda: here.load(BLOCK, digest=DIGEST, daps=(wrong,)))
        here.load(BLOCK, digest=DIGEST, daps=(dap,))

    def test_a_domain_that_verifies_wants_a_dap_for_its_own_load_files_only(self) -> None:
        here, _ = self.card(Privilege.DAP_VERIFICATION)
        refused(0x6982, lambda: here.load(BLOCK, digest=DIGEST, domain=DOMAIN))
        here.load(BLOCK, digest=DIGEST)

    def test_mandated_dap_wants_one_for_every_load_file(self) -> None:
        here, _ = self.card(Privilege.DAP_VERIFICATION | Privilege.MANDATED_DAP)
        refused(0x6982, lambda: here.load(BLOCK, digest=DIGEST))
        refused(0x6982, lambda: here.load(BLOCK))
        here.load(BLOCK, digest=DIGEST, daps=(sign_dap(EC, DIGEST, DOMAIN),))

    def test_a_dap_needs_the_hash_in_install(self) -> None:
        here, _ = self.card(Privilege.DAP_VERIFICATION)
        refused(0x6A80, lambda: here.load(BLOCK, daps=(sign_dap(EC, DIGEST, DOMAIN),)))

    def test_a_dap_of_a_domain_without_the_privilege_or_the_key_is_refused(self) -> None:
        here, _ = self.card(Privilege(0))
        refused(0x6982, lambda: here.load(BLOCK, digest=DIGEST, daps=(sign_dap(EC, DIGEST, DOMAIN),)))
        refused(0x6982, lambda: here.load(BLOCK, digest=DIGEST, daps=(sign_dap(EC, DIGEST, ISD),)))
        without_key = manager()
        without_key.make_domain(DOMAIN, Privilege.SECURITY_DOMAIN | Privilege.DAP_VERIFICATION)
        refused(0x6982, lambda: without_key.load(BLOCK, digest=DIGEST, daps=(sign_dap(EC, DIGEST, DOMAIN),)))


class TestCiphered:
    KEY = AesKey(bytes(range(16, 32)))

    def card(self) -> ContentHost:
        memory = RamMemory()
        here = manager(memory=memory)
        here.make_domain(DOMAIN, Privilege.SECURITY_DOMAIN | Privilege.CIPHERED_LOAD_FILE)
        give_keys(memory, prefix_of(DOMAIN), 0x75, KeyRecord(0x01, 0x88, self.KEY.reveal()))
        here.session.terminal.card.reset()
        return ContentHost(here.session.terminal.authenticate())

    @pytest.mark.parametrize("icv", [None, bytes(range(16))])
    def test_the_block_is_deciphered_and_its_hash_is_that_of_the_plain_block(self, icv: bytes | None) -> None:
        here = self.card()
        file = LoadFile(cipher_load_block(self.KEY, BLOCK, icv), ciphered=True, icv=icv)
        here.load(b"", digest=DIGEST, domain=DOMAIN, file=file)
        assert here.session(0x80, 0xF2, 0x20, 0x00, b"\x4f\x00").sw == 0x9000

    def test_without_hash_with_another_key_or_without_anybodys_key_it_is_refused(self) -> None:
        here = self.card()
        file = LoadFile(cipher_load_block(self.KEY, BLOCK), ciphered=True)
        refused(0x6A80, lambda: here.load(b"", domain=DOMAIN, file=file))
        other = LoadFile(cipher_load_block(MAC, BLOCK), ciphered=True)
        refused(0x6A80, lambda: here.load(b"", digest=DIGEST, domain=DOMAIN, file=other))
        refused(0x6985, lambda: manager().load(b"", digest=DIGEST, file=file))


class TestCombined:
    WHAT = content.Installation(FILE, MODULE, INSTANCE)

    @pytest.mark.parametrize("p1", [0x0E, 0x02])
    def test_load_install_and_make_selectable_is_one_process(self, p1: int) -> None:
        memory = RamMemory()
        here = manager(memory=memory)
        before = contents(memory)
        dialogue = content.load_install_and_make_selectable(
            InstallForLoad(FILE), LoadFile(BLOCK), self.WHAT, p1=p1, size=here.size
        )
        here.run(dialogue)
        assert contents(memory) != before
        assert here.session.terminal.select(INSTANCE).sw == 0x9000

    def test_nothing_stays_of_it_when_the_last_command_is_refused(self) -> None:
        memory = RamMemory()
        here = manager(memory=memory)
        before = contents(memory)
        what = content.Installation(FILE, MODULE + b"\x77", INSTANCE)
        dialogue = content.load_install_and_make_selectable(InstallForLoad(FILE), LoadFile(BLOCK), what, size=here.size)
        refused(0x6A88, lambda: here.run(dialogue))
        assert contents(memory) == before

    def test_the_last_command_without_the_others_is_6985(self) -> None:
        here = manager()
        here.load(BLOCK)
        data = content.install_command(0x0E, content._installation(self.WHAT), 0x03)
        assert here.session(0x80, 0xE6, 0x0E, 0x03, data.data).sw == 0x6985


def test_a_domain_without_management_loads_nothing() -> None:
    terminal = Terminal(element())
    ContentHost(terminal.authenticate()).make_domain()
    refused(0x6985, lambda: opened(terminal, DOMAIN).load(BLOCK))
