"""An element made by `keywright element new --profile yubikey` alone is a YubiKey to Yubico's own library."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from yubikit.core import TRANSPORT
from yubikit.core.smartcard import ApduError
from yubikit.core.smartcard.scp import KeyRef, Scp11KeyParams, ScpKid
from yubikit.securitydomain import Curve, SecurityDomainSession

from interop.yubico import Wire, params
from keywright.cli.main import main
from keywright.crypto.ec import EcPrivateKey
from keywright.fob.open import SimulatedLink, open_simulated
from keywright.fob.uri import parse_uri

OWN = KeyRef(ScpKid.SCP11b, 1)
CA = KeyRef(0x10, 3)
FACTORY = KeyRef(0x01, 0xFF)


@pytest.fixture
def made(tmp_path: Path) -> Iterator[SimulatedLink]:
    file = tmp_path / "yubikey"
    assert main(["element", "new", str(file), "--profile", "yubikey"]) == 0
    link = open_simulated(parse_uri(f"sim:element?memory={file}"))
    yield link
    link.close()


def opened(link: SimulatedLink, transport: TRANSPORT = TRANSPORT.USB) -> SecurityDomainSession:
    return SecurityDomainSession(Wire(link.exchange, transport))


@pytest.mark.parametrize("transport", [TRANSPORT.USB, TRANSPORT.NFC])
def test_its_owner_makes_keys_and_opens_scp11b_with_them(made: SimulatedLink, transport: TRANSPORT) -> None:
    owner = opened(made, transport)
    owner.authenticate(params())
    public = owner.generate_ec_key(OWN, Curve.SECP256R1)
    owner.put_key(CA, EcPrivateKey.from_scalar("P-256", bytes(31) + b"\x05").public.library_key())
    anyone = opened(made, transport)
    anyone.authenticate(Scp11KeyParams(OWN, public))
    assert {OWN, CA, FACTORY} <= set(anyone.get_key_information())
    with pytest.raises(ApduError, match="6982"):
        anyone.delete_key(kid=0x10)


def test_a_reset_brings_the_factory_keys_back(made: SimulatedLink) -> None:
    owner = opened(made)
    owner.authenticate(params())
    owner.generate_ec_key(OWN, Curve.SECP256R1)
    session = opened(made)
    session.reset()
    assert OWN not in session.get_key_information()
    again = opened(made)
    again.authenticate(params())
    assert FACTORY in again.get_key_information()
