"""Delegated management, both ends: a domain installs with tokens, the card proves it with receipts, DAP is demanded."""

from __future__ import annotations

from typing import Final

import pytest

from keywright.crypto.aes import AesKey
from keywright.crypto.des import TripleDesKey
from keywright.crypto.ec import EcPrivateKey
from keywright.crypto.rsa import RsaPrivateKey
from keywright.errors import StatusError
from keywright.globalplatform.cap.build import make_cap
from keywright.globalplatform.dialogues.content import Token, delete_object
from keywright.globalplatform.dialogues.installing import Installed, Loading, Wanted, create_domain, install_cap
from keywright.globalplatform.dialogues.keys import put_key
from keywright.globalplatform.dialogues.states import make_personalized
from keywright.globalplatform.host import Asked, Dialogue, put_keys, secured, select
from keywright.globalplatform.key_fields import CardKey
from keywright.globalplatform.privileges import ISSUER_DOMAIN, Privilege, build_privileges
from keywright.globalplatform.receipts import check_receipt, deleted, installed, loaded
from keywright.globalplatform.signatures import SigningKey, public_half
from keywright.globalplatform.tokens import TokenSigner, sign_token
from keywright.iso7816 import transmit
from keywright.link import Loopback
from keywright.sansio.dialogue import drive
from keywright.scp.scp03 import HostChannel, KeySet, open_channel
from support.cards import HOST_CHALLENGE, OWN, element

PACKAGE: Final = bytes.fromhex("F06B770001")
APPLET: Final = PACKAGE + b"\x01"
DELEGATED, VERIFIER = bytes.fromhex("F06B77AA01"), bytes.fromhex("F06B77AA02")
CAP: Final = make_cap(PACKAGE, [APPLET])

RSA_1024 = RsaPrivateKey.generate(1024)
RSA_2048 = RsaPrivateKey.generate(2048)
P_256 = EcPrivateKey.from_scalar("P-256", b"\x11" * 32)
P_384 = EcPrivateKey.from_scalar("P-384", b"\x12" * 48)
AES = AesKey(bytes(range(16)))
DES = TripleDesKey(bytes(range(16)))


class Market:
    """A card whose issuer checks tokens and gives receipts, with a delegated domain and one that demands DAP."""

    def __init__(self, token: TokenSigner, receipt: SigningKey, dap: SigningKey) -> None:
        self.token = token
        self.receipt = public_half(receipt)
        self.dap = dap
        self.ask = transmit(Loopback(element(privileges=build_privileges(ISSUER_DOMAIN))))
        issuer = self.open(b"", KeySet.gp_test())
        self.put(issuer, public_half(token), 0x70)
        self.put(issuer, receipt, 0x71)
        self.under(issuer, create_domain(DELEGATED, Privilege.DELEGATED_MANAGEMENT))
        self.under(issuer, create_domain(VERIFIER, Privilege.DAP_VERIFICATION | Privilege.MANDATED_DAP))
        for domain in (DELEGATED, VERIFIER):
            first = self.open(domain, KeySet.gp_test())
            self.under(first, put_keys(first, OWN, kvn=0x30))
        self.put(self.open(VERIFIER, OWN, 0x30), public_half(dap), 0x73)
        issuer = self.open(b"", KeySet.gp_test())
        for domain in (DELEGATED, VERIFIER):
            self.under(issuer, make_personalized(domain))
        self.session = self.open(DELEGATED, OWN, 0x30)

    def open(self, domain: bytes, keys: KeySet, kvn: int = 0) -> HostChannel:
        """A session of a domain; one without keys of its own answers with those of the domain above."""
        drive(select(domain), self.ask)
        return drive(open_channel(keys, HOST_CHALLENGE, kvn=kvn), self.ask)

    def under(self, session: HostChannel, dialogue: Dialogue[Asked]) -> Asked:
        return drive(secured(session, dialogue), self.ask)

    def put(self, session: HostChannel, key: CardKey, kvn: int) -> None:
        self.under(session, put_key(key, session, kvn=kvn, size=session.max_data))

    def sign(self, signed: bytes) -> bytes:
        """A token, by whoever holds the token key."""
        return sign_token(self.token, signed)

    def install(self, *, load: Token = b"", applet: Token = b"", dap: bool = True) -> Installed:
        """Install the CAP file from the delegated domain."""
        how = Loading(signers=((VERIFIER, self.dap),) if dap else (), token=load, hash="sha256")
        dialogue = install_cap(CAP, [Wanted(APPLET, token=applet)], how, size=self.session.max_data, undo=False)
        return self.under(self.session, dialogue)


@pytest.mark.parametrize(
    ("token", "receipt", "dap"),
    [(RSA_1024, AES, P_256), (RSA_2048, DES, RSA_2048), (P_256, P_384, AES), (AES, P_256, RSA_1024), (P_384, AES, DES)],
    ids=["rsa-1024 aes p-256", "rsa-2048 des rsa-2048", "p-256 p-384 aes", "aes p-256 rsa-1024", "p-384 aes des"],
)
def test_a_delegated_domain_installs_with_tokens_and_has_a_receipt_for_each_step(
    token: TokenSigner, receipt: SigningKey, dap: SigningKey
) -> None:
    market = Market(token, receipt, dap)
    done = market.install(load=market.sign, applet=market.sign)
    assert done.loaded is not None
    first = check_receipt(market.receipt, done.loaded, loaded(PACKAGE, DELEGATED))
    ((_, confirmation),) = done.applets
    second = check_receipt(market.receipt, confirmation, installed(PACKAGE, APPLET), above=first.counter.count)
    removed = market.under(market.session, delete_object(APPLET, token=market.sign, size=market.session.max_data))
    third = check_receipt(market.receipt, removed, deleted(APPLET), above=second.counter.count)
    assert [first.counter.count, second.counter.count, third.counter.count] == [0, 1, 2]


@pytest.fixture(scope="module")
def market() -> Market:
    return Market(P_256, AES, AES)


def test_without_a_token_nothing_is_loaded(market: Market) -> None:
    with pytest.raises(StatusError, match=r"INSTALL \[for load\].*token"):
        market.install()


def test_a_token_of_another_command_or_another_key_is_refused(market: Market) -> None:
    with pytest.raises(StatusError, match="6982"):
        market.install(load=lambda signed: market.sign(signed + b"\0"))
    with pytest.raises(StatusError, match="6982"):
        market.install(load=lambda signed: sign_token(P_384, signed))


def test_without_the_signature_that_is_mandated_the_load_ends_with_its_last_block(market: Market) -> None:
    with pytest.raises(StatusError, match=r"LOAD.*DAP"):
        market.install(load=market.sign, dap=False)


def test_a_token_is_good_for_its_command_only_and_the_applet_needs_its_own(market: Market) -> None:
    with pytest.raises(StatusError, match=r"INSTALL \[for install\]"):
        market.install(load=market.sign)
    with pytest.raises(StatusError, match="DELETE"):
        market.under(market.session, delete_object(PACKAGE))
    market.under(market.session, delete_object(PACKAGE, token=market.sign))
