"""Yubico's host library opens sessions of SCP11 with our card end, shows it certificates, and is protected."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from yubikit.core import TRANSPORT
from yubikit.core.smartcard import ApduError, SmartCardProtocol
from yubikit.core.smartcard.scp import KeyRef, Scp11KeyParams, ScpKid

from interop.yubico import Wire, flipping
from keywright.iso7816.apdu import Command, Response
from keywright.scp.level import Level
from keywright.scp.scp11.profile import YUBIKEY
from support.scp11 import CardEnd, domain, holder, key

CURVES = ("P-256", "P-384")


def card(curve: str) -> CardEnd:
    return CardEnd(domain(curve, profile=YUBIKEY))


def wire(end: CardEnd, transport: TRANSPORT) -> Wire:
    return Wire(lambda raw: end(Command.parse(raw)).encode(), transport)


def params(kid: ScpKid, curve: str) -> Scp11KeyParams:
    public = key(curve, "SD").public.library_key()
    if kid == ScpKid.SCP11b:
        return Scp11KeyParams(KeyRef(kid, 1), public)
    own = holder("x509", curve)
    chain = [x509.load_der_x509_certificate(raw) for raw in own.chain]
    return Scp11KeyParams(KeyRef(kid, 1), public, KeyRef(0x10, 3), key(curve, "OCE").library_key(), chain)


@pytest.mark.parametrize("curve", CURVES)
@pytest.mark.parametrize("kid", [ScpKid.SCP11a, ScpKid.SCP11b, ScpKid.SCP11c])
def test_a_foreign_host_opens_a_session_and_uses_it(kid: ScpKid, curve: str, transport: TRANSPORT) -> None:
    end = card(curve)
    protocol = SmartCardProtocol(wire(end, transport))
    protocol.init_scp(params(kid, curve))
    session = end.initiation.session
    assert session is not None
    assert session.level == 0x33
    assert session.authentication == (0 if kid == ScpKid.SCP11b else Level.AUTHENTICATED)
    for answer in (b"", b"sixteen bytes...", bytes(200)):
        end.answer = Response(answer)
        for data in (b"", b"x", bytes(180)):
            assert protocol.send_apdu(0x80, 0xE2, 1, 2, data) == answer
            assert (end.received[-1].ins, end.received[-1].data) == (0xE2, data)


@pytest.mark.parametrize("kid", [ScpKid.SCP11a, ScpKid.SCP11b, ScpKid.SCP11c])
def test_a_foreign_host_notices_a_flipped_bit_of_the_answer(kid: ScpKid) -> None:
    end = card("P-256")
    line = wire(end, TRANSPORT.USB)
    line.changing_answer = lambda raw: raw[:-3] + bytes((raw[-3] ^ 1,)) + raw[-2:] if len(raw) > 60 else raw
    with pytest.raises(InvalidSignature):
        SmartCardProtocol(line).init_scp(params(kid, "P-256"))


@pytest.mark.parametrize("ins", [0x2A, 0x82])
def test_the_card_notices_a_flipped_bit_of_a_foreign_host(ins: int) -> None:
    end = card("P-256")
    line = wire(end, TRANSPORT.USB)
    line.changing = flipping(ins, -5)
    with pytest.raises((ApduError, InvalidSignature)):
        SmartCardProtocol(line).init_scp(params(ScpKid.SCP11a, "P-256"))
    assert end.initiation.session is None


def test_a_key_is_blocked_as_a_foreign_reset_expects() -> None:
    """What `SecurityDomainSession.reset` does with every key: eight zero bytes until the card says blocked."""
    end = card("P-256")
    protocol = SmartCardProtocol(wire(end, TRANSPORT.USB))
    for ins, kvn, kid in ((0x2A, 3, 0x10), (0x82, 1, 0x11), (0x88, 1, 0x13)):
        statuses = []
        for _ in range(65):
            with pytest.raises(ApduError) as refused:
                protocol.send_apdu(0x80, ins, kvn, kid, bytes(8))
            statuses.append(refused.value.sw)
        assert statuses == [0x6A80] * 64 + [0x6983]
