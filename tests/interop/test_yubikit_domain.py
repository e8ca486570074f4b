"""All that Yubico's host does with a security domain, on our element: keys of SCP11 made and imported, certificates,
allow-lists, CA identifiers, sessions of every kind, deletion, and the reset that blocks every key.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from yubikit.core import TRANSPORT
from yubikit.core.smartcard import ApduError, SmartCardConnection
from yubikit.core.smartcard.scp import KeyRef, Scp03KeyParams, Scp11KeyParams, ScpKid
from yubikit.securitydomain import Curve, SecurityDomainSession

from interop.pcscd import READER, Insert
from interop.yubico import Wire, params, static
from keywright.crypto.ec import EcPublicKey
from keywright.element import SecureElement
from keywright.globalplatform import host
from keywright.globalplatform.profile import YUBIKEY
from keywright.iso7816.apdu import Command, Response
from keywright.link import PcscLink
from keywright.sansio.dialogue import drive
from keywright.scp.scp11.host import Card, open_channel
from keywright.scp.scp11.messages import SCP11B
from support.cards import OWN, element
from support.scp11 import holder, key

SCP11 = 0x11
CA = KeyRef(0x10, 3)
KIDS: tuple[ScpKid, ...] = (ScpKid.SCP11a, ScpKid.SCP11b, ScpKid.SCP11c)
KVN = 1
TRIES = 65

Open = Callable[[], SecurityDomainSession]


def card(**parameters: Any) -> SecureElement:
    return element(protocols=[(SCP11, YUBIKEY.scp11.i)], profile=YUBIKEY, rng=os.urandom, resets=True, **parameters)


@pytest.fixture(params=["extended", "short", "pcsc"])
def connect(request: pytest.FixtureRequest) -> Iterator[tuple[SecureElement, Open]]:
    """An element, and what opens a foreign session with it: in process both ways, and through a PC/SC daemon."""
    made = card()
    if request.param != "pcsc":
        transport = TRANSPORT.USB if request.param == "extended" else TRANSPORT.NFC
        yield made, lambda: SecurityDomainSession(Wire(made.handle, transport))
        return
    insert: Insert = request.getfixturevalue("insert")
    insert(made)
    link = PcscLink(READER)
    yield made, lambda: SecurityDomainSession(_wire(link))
    link.close()


def _wire(link: PcscLink) -> SmartCardConnection:
    return Wire(link.exchange, TRANSPORT.USB)


def owner(opened: Open) -> SecurityDomainSession:
    session = opened()
    session.authenticate(params())
    return session


def chain(side: str) -> list[x509.Certificate]:
    return [x509.load_der_x509_certificate(raw) for raw in holder("x509").chain] if side == "host" else []


def taught(opened: Open) -> dict[ScpKid, ec.EllipticCurvePublicKey]:
    """A domain with a key for each variant, one made on the card, and the CA key of the host's certificates."""
    session = owner(opened)
    session.put_key(CA, key("P-256", "CA-KLOC").public.library_key())
    publics = {ScpKid.SCP11b: session.generate_ec_key(KeyRef(ScpKid.SCP11b, KVN), Curve.SECP256R1)}
    for kid in (ScpKid.SCP11a, ScpKid.SCP11c):
        own = key("P-256", f"SD {kid}")
        session.put_key(KeyRef(kid, KVN), own.library_key())
        publics[kid] = own.public.library_key()
    return publics


def agreed(kid: ScpKid, public: ec.EllipticCurvePublicKey) -> Scp11KeyParams:
    if kid == ScpKid.SCP11b:
        return Scp11KeyParams(KeyRef(kid, KVN), public)
    return Scp11KeyParams(KeyRef(kid, KVN), public, CA, key("P-256", "OCE").library_key(), chain("host"))


@pytest.mark.parametrize("kid", KIDS)
def test_sessions_with_keys_made_and_imported(connect: tuple[SecureElement, Open], kid: ScpKid) -> None:
    _, opened = connect
    publics = taught(opened)
    session = opened()
    session.authenticate(agreed(kid, publics[kid]))
    keys = session.get_key_information()
    assert {CA, *(KeyRef(one, KVN) for one in KIDS)} <= set(keys)
    if kid == ScpKid.SCP11b:
        with pytest.raises(ApduError, match="6982"):
            session.delete_key(kid=ScpKid.SCP11c)
    elif kid == ScpKid.SCP11a:
        session.delete_key(kid=ScpKid.SCP11c)
        assert KeyRef(ScpKid.SCP11c, KVN) not in session.get_key_information()
    else:
        with pytest.raises(ApduError, match="6982"):
            session.delete_key(kid=ScpKid.SCP11a)


def test_a_key_set_is_put_in_a_session_of_scp11a(connect: tuple[SecureElement, Open]) -> None:
    _, opened = connect
    publics = taught(opened)
    session = opened()
    session.authenticate(agreed(ScpKid.SCP11a, publics[ScpKid.SCP11a]))
    session.put_key(KeyRef(ScpKid.SCP03, 0x30), static(OWN))
    fresh = opened()
    fresh.authenticate(Scp03KeyParams(KeyRef(ScpKid.SCP03, 0x30), static(OWN)))
    assert KeyRef(1, 0x30) in fresh.get_key_information()
    assert KeyRef(1, 0xFF) not in fresh.get_key_information()


def test_certificates_and_ca_identifiers_are_kept_with_their_key(connect: tuple[SecureElement, Open]) -> None:
    _, opened = connect
    taught(opened)
    session = owner(opened)
    bundle = chain("host")
    leaf = KeyRef(ScpKid.SCP11b, KVN)
    assert session.get_certificate_bundle(leaf) == []
    session.store_certificate_bundle(leaf, bundle)
    assert session.get_certificate_bundle(leaf) == bundle
    session.store_ca_issuer(CA, b"K" * 20)
    session.store_ca_issuer(leaf, b"L" * 20)
    assert session.get_supported_ca_identifiers() == {CA: b"K" * 20, leaf: b"L" * 20}
    assert session.get_supported_ca_identifiers(kloc=True) == {CA: b"K" * 20}
    session.delete_key(kid=ScpKid.SCP11b)
    assert session.get_certificate_bundle(leaf) == []
    assert session.get_supported_ca_identifiers() == {CA: b"K" * 20}


def test_an_allow_list_lets_only_listed_serials_pass(connect: tuple[SecureElement, Open]) -> None:
    _, opened = connect
    publics = taught(opened)
    bundle = chain("host")
    serials = [certificate.serial_number for certificate in bundle]
    session = owner(opened)
    session.store_allowlist(CA, [serials[0] + 1])
    with pytest.raises(ApduError, match="6640"):
        opened().authenticate(agreed(ScpKid.SCP11a, publics[ScpKid.SCP11a]))
    session = owner(opened)
    session.store_allowlist(CA, serials)
    opened().authenticate(agreed(ScpKid.SCP11a, publics[ScpKid.SCP11a]))
    session = owner(opened)
    session.store_allowlist(CA, [])
    opened().authenticate(agreed(ScpKid.SCP11a, publics[ScpKid.SCP11a]))


@pytest.mark.parametrize("curve", [Curve.SECP256R1, Curve.SECP384R1, Curve.SECP521R1, Curve.BrainpoolP256R1])
def test_keys_are_generated_on_every_curve_and_replaced(curve: Curve) -> None:
    made = card()
    session = owner(lambda: SecurityDomainSession(Wire(made.handle)))
    place = KeyRef(ScpKid.SCP11b, KVN)
    first = session.generate_ec_key(place, curve)
    with pytest.raises(ApduError, match="6a80"):
        session.generate_ec_key(place, curve)
    second = session.generate_ec_key(place, curve, replace_kvn=KVN)
    assert first.public_numbers() != second.public_numbers()
    moved = session.generate_ec_key(KeyRef(ScpKid.SCP11b, 2), curve, replace_kvn=KVN)
    assert moved.curve.name == first.curve.name
    assert place not in session.get_key_information()


def test_a_reset_blocks_every_key_and_brings_back_what_was_there_at_birth(connect: tuple[SecureElement, Open]) -> None:
    made, opened = connect
    taught(opened)
    session = owner(opened)
    session.put_key(KeyRef(ScpKid.SCP03, 0x30), static(OWN))
    session.store_ca_issuer(CA, b"K" * 20)
    opened().reset()
    fresh = owner(opened)
    assert set(fresh.get_key_information()) == {KeyRef(kid, 0xFF) for kid in (1, 2, 3)}
    assert fresh.get_supported_ca_identifiers() == {}
    assert made.attempts


def test_our_host_opens_what_a_foreign_host_has_made() -> None:
    made = card()

    def ask(command: Command) -> Response:
        return Response.parse(made.handle(command.encode()))

    publics = taught(lambda: SecurityDomainSession(Wire(made.handle)))
    drive(host.select(), ask)
    there = Card(EcPublicKey(publics[ScpKid.SCP11b]), KVN)
    session = drive(open_channel(SCP11B, there, key("P-256", "ephemeral"), profile=YUBIKEY.scp11), ask)
    information = drive(host.secured(session, host.key_information()), ask)
    assert information is not None
    assert set(information.versions) == {0xFF, KVN, CA.kvn}
