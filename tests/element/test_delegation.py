"""Delegated management: nothing without a token that the issuer signed, and a receipt for everything done."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest

from keywright.crypto.aes import AesKey
from keywright.crypto.ec import EcPrivateKey
from keywright.crypto.rsa import RsaPrivateKey
from keywright.element.state import KeyComponentRecord, KeyComponentsRecord, KeyRecord
from keywright.errors import AuthenticationError, StatusError, WireError
from keywright.globalplatform.confirmation import Confirmation
from keywright.globalplatform.dialogues import content
from keywright.globalplatform.install import InstallForLoad
from keywright.globalplatform.load_file import LoadFile
from keywright.globalplatform.privileges import Privilege
from keywright.globalplatform.profile import CardProfile
from keywright.globalplatform.receipts import (
    Done,
    check_receipt,
    deleted,
    extradited,
    installed,
    loaded,
    made_selectable,
    registry_updated,
)
from keywright.globalplatform.signatures import VerifyingKey
from keywright.globalplatform.tokens import TokenSigner, sign_token
from keywright.store import RamMemory
from support.cards import ISD, OWN, Terminal, contents, element
from support.content import (
    DOMAIN,
    FILE,
    INNER,
    INSTANCE,
    MODULE,
    SECOND,
    ContentHost,
    give_channel_keys,
    give_keys,
    opened,
    package,
    prefix_of,
)
from support.power import CutMemory, PowerCut

BLOCK = package(FILE, [MODULE], size=300)
DIGEST = hashlib.sha256(BLOCK).digest()
EC = EcPrivateKey.from_scalar("P-256", bytes(31) + b"\x09")
RECEIPT_EC = EcPrivateKey.from_scalar("P-384", bytes(47) + b"\x0b")
RSA = {bits: RsaPrivateKey.generate(bits) for bits in (1024, 2048)}
MAC = AesKey(bytes(range(16)))
ISSUER = Privilege(0x9C4E00) | Privilege.TOKEN_VERIFICATION | Privilege.RECEIPT_GENERATION


def rsa_record(key: RsaPrivateKey, *, usage: int = 0) -> KeyRecord:
    parts = (KeyComponentRecord(0xA1, key.public.modulus), KeyComponentRecord(0xA0, key.public.exponent))
    return KeyRecord(1, 0xA1, KeyComponentsRecord(parts).build(), usage=usage)


TOKENS: dict[str, tuple[TokenSigner, int, KeyRecord]] = {
    "RSA of 1024 bits": (RSA[1024], 0x70, rsa_record(RSA[1024])),
    "RSA of 2048 bits": (RSA[2048], 0x70, rsa_record(RSA[2048])),
    "EC, found by its usage": (EC, 0x52, KeyRecord(7, 0xB0, EC.public.point, usage=0x81)),
    "AES": (MAC, 0x70, KeyRecord(1, 0x88, MAC.reveal())),
}


class Delegated:
    """A card whose issuer verifies tokens and gives receipts, and a domain with delegated management."""

    def __init__(
        self,
        token_key: str = "EC, found by its usage",
        receipt: KeyRecord | None = None,
        memory: RamMemory | None = None,
        profile: CardProfile | None = None,
    ) -> None:
        self.memory = memory or RamMemory()
        self.key, kvn, record = TOKENS[token_key]
        given = {"privileges": int(ISSUER).to_bytes(3), "iin": b"IIN", "cin": b"CIN", "profile": profile}
        self.terminal = Terminal(element(memory=self.memory, **given))
        issuer = ContentHost(self.terminal.authenticate())
        issuer.make_domain(DOMAIN, Privilege.SECURITY_DOMAIN | Privilege.DELEGATED_MANAGEMENT)
        issuer.make_domain(INNER, Privilege.SECURITY_DOMAIN)
        give_channel_keys(self.memory, prefix_of(DOMAIN), 0x30, OWN)
        give_keys(self.memory, "", kvn, record)
        give_keys(self.memory, "", 0x71, receipt or KeyRecord(1, 0x88, MAC.reveal()))
        self.terminal.card.reset()
        self.manager = opened(self.terminal, DOMAIN, OWN)

    def token(self, signed: bytes) -> bytes:
        """A token of the issuer."""
        return sign_token(self.key, signed)

    def load(self, **parameters: object) -> Confirmation:
        """A load file with its token."""
        return self.manager.load(BLOCK, digest=DIGEST, **({"token": self.token} | parameters))  # type: ignore[arg-type]  # parameters of load


def refused(sw: int, action: Callable[[], object]) -> None:
    with pytest.raises(StatusError) as caught:
        action()
    assert caught.value.sw == sw


@pytest.mark.parametrize("key", TOKENS)
def test_every_kind_of_token_key_lets_everything_through_that_it_signed(key: str) -> None:
    here = Delegated(key)
    here.load()
    here.manager.install(selectable=False, token=here.token)
    size, cvm = here.manager.size, Privilege.CVM_MANAGEMENT
    here.manager.run(content.make_selectable(INSTANCE, token=here.token, size=size))
    here.manager.run(content.update_registry(INSTANCE, privileges=cvm, token=here.token, size=size))
    here.manager.install(instance=SECOND, token=here.token)
    here.manager.run(content.delete_object(SECOND, token=here.token, size=size))
    here.manager.run(content.extradite(INSTANCE, INNER, token=here.token, size=size))


STEPS: dict[str, Callable[[Delegated, content.Token], object]] = {
    "load": lambda here, token: here.load(token=token),
    "install": lambda here, token: here.manager.install(instance=SECOND, token=token),
    "make selectable": lambda here, token: here.manager.run(content.make_selectable(INSTANCE, token=token)),
    "extradite": lambda here, token: here.manager.run(content.extradite(INSTANCE, INNER, token=token)),
    "registry update": lambda here, token: here.manager.run(
        content.update_registry(INSTANCE, privileges=Privilege.CVM_MANAGEMENT, token=token)
    ),
    "delete": lambda here, token: here.manager.run(content.delete_object(INSTANCE, token=token)),
}


@pytest.mark.parametrize("step", STEPS)
def test_without_a_token_or_with_a_wrong_one_nothing_changes(step: str) -> None:
    here = Delegated()
    if step != "load":
        here.load()
        here.manager.install(selectable=False, token=here.token)
    before = contents(here.memory, counters=False)
    foreign = EcPrivateKey.from_scalar("P-256", bytes(31) + b"\x0a")
    wrong: dict[str, content.Token] = {
        "none": b"",
        "another key's": lambda signed: sign_token(foreign, signed),
        "over other bytes": lambda signed: here.token(signed + b"!"),
        "over another P2": lambda signed: here.token(signed[:1] + b"\x77" + signed[2:]),
        "flipped": lambda signed: _flipped(here.token(signed)),
    }
    for name, token in wrong.items():
        with pytest.raises(StatusError, match="6982"):
            STEPS[step](here, token)
        assert contents(here.memory, counters=False) == before, name
    STEPS[step](here, here.token)
    assert contents(here.memory, counters=False) != before


def _flipped(token: bytes) -> bytes:
    """One bit of it turned round; of one token, for signing is random."""
    return token[:-1] + bytes((token[-1] ^ 1,))


def test_a_token_is_for_one_command_only() -> None:
    here = Delegated()
    kept: list[bytes] = []

    def keep(signed: bytes) -> bytes:
        kept.append(here.token(signed))
        return kept[-1]

    here.load()
    here.manager.install(token=keep)
    with pytest.raises(StatusError, match="6982"):
        here.manager.install(instance=SECOND, token=kept[0])
    with pytest.raises(StatusError, match="6982"):
        here.manager.run(content.delete_object(INSTANCE, token=kept[0]))


def test_a_load_with_a_token_needs_its_hash() -> None:
    here = Delegated()
    refused(0x6A80, lambda: here.manager.load(BLOCK, token=here.token))


def test_the_token_of_a_combined_process_covers_both_commands() -> None:
    here = Delegated()
    what = content.Installation(FILE, MODULE, INSTANCE)
    announced = InstallForLoad(FILE, b"", DIGEST)

    def process(token: content.Token) -> object:
        return here.manager.run(
            content.load_install_and_make_selectable(announced, LoadFile(BLOCK), what, token=token, size=200)
        )

    before = contents(here.memory, counters=False)
    with pytest.raises(StatusError, match="6982"):
        process(lambda signed: here.token(signed[1:]))
    assert contents(here.memory, counters=False) == before
    process(here.token)
    assert here.terminal.select(INSTANCE).sw == 0x9000


def test_a_domain_with_authorised_management_needs_no_token_and_gets_no_receipt() -> None:
    here = Delegated()
    here.terminal.select()
    issuer = ContentHost(here.terminal.authenticate(kvn=0xFF))
    assert issuer.load(BLOCK).receipt == b""


def test_without_a_token_key_on_the_card_nothing_is_delegated() -> None:
    here = Delegated()
    here.memory.commit({"keys/52": None, "keys": b"\xff\x71"})
    here.terminal.card.reset()
    here.manager = opened(here.terminal, DOMAIN, OWN)
    refused(0x6985, here.load)


RECEIPTS: dict[str, tuple[KeyRecord, VerifyingKey]] = {
    "AES": (KeyRecord(1, 0x88, MAC.reveal()), MAC),
    "EC": (KeyRecord(9, 0xB1, bytes(47) + b"\x0b", curve=1, usage=0x44), RECEIPT_EC.public),
}


@pytest.mark.parametrize("kind", RECEIPTS)
def test_each_step_gives_a_receipt_with_the_next_counter(kind: str) -> None:
    record, key = RECEIPTS[kind]
    here = Delegated(receipt=record)
    manager = here.manager
    steps: list[tuple[Callable[[], Confirmation], Done]] = [
        (here.load, loaded(FILE, DOMAIN)),
        (lambda: manager.install(selectable=False, token=here.token), installed(FILE, INSTANCE)),
        (
            lambda: manager.run(content.make_selectable(INSTANCE, token=here.token)),
            made_selectable(INSTANCE, bytes(3)),
        ),
        (
            lambda: manager.run(
                content.update_registry(INSTANCE, privileges=Privilege.CVM_MANAGEMENT, token=here.token)
            ),
            registry_updated(b"", INSTANCE, b"\x02\0\0"),
        ),
        (
            lambda: manager.run(content.extradite(INSTANCE, INNER, token=here.token)),
            extradited(DOMAIN, INSTANCE, INNER),
        ),
        (lambda: manager.install(instance=SECOND, token=here.token), installed(FILE, SECOND)),
        (lambda: manager.run(content.delete_object(SECOND, token=here.token)), deleted(SECOND)),
    ]
    for count, (step, done) in enumerate(steps):
        answer = step()
        data = check_receipt(key, answer, done, above=count - 1)
        assert (data.counter.count, data.domain) == (count, b"IINCIN")
        with pytest.raises(AuthenticationError):
            check_receipt(key, answer, deleted(ISD))
        with pytest.raises(WireError):
            check_receipt(key, answer, done, above=count)
    assert contents(here.memory)["confirmation"] == len(steps).to_bytes(2)


def test_the_counter_never_gives_a_number_twice_and_stops_at_its_end() -> None:
    here = Delegated()
    here.memory.commit({"confirmation": b"\xff\xfe"})
    here.terminal.card.reset()
    here.manager = opened(here.terminal, DOMAIN, OWN)
    here.load()
    before = contents(here.memory, counters=False)
    refused(0x6985, lambda: here.manager.install(token=here.token))
    assert contents(here.memory, counters=False) == before


@pytest.mark.parametrize("when", ["cut_before", "cut_after"])
def test_counter_and_content_change_together(when: str) -> None:
    here = Delegated()
    here.load()
    before = contents(here.memory, counters=False)
    memory = CutMemory(here.memory)
    terminal = Terminal(element(memory=memory))
    manager = opened(terminal, DOMAIN, OWN)
    memory.commits = 0
    setattr(memory, when, 1)
    with pytest.raises(PowerCut):
        manager.install(token=here.token)
    after = contents(here.memory, counters=False)
    both = ("registry", "confirmation")
    changed = [name for name in both if after[name] != before[name]]
    assert changed == ([] if when == "cut_before" else list(both))


def test_a_length_may_stand_around_a_confirmation_and_our_host_reads_it_so() -> None:
    """As GlobalPlatformPro expects it (GPCS 11.1.6)."""
    here = Delegated(profile=CardProfile(confirmation_length=True))
    said = here.load()
    assert check_receipt(MAC, said, loaded(FILE, DOMAIN)).counter.count == 0
    assert (
        check_receipt(MAC, here.manager.install(token=here.token), installed(FILE, INSTANCE), above=0).counter.count
        == 1
    )
