"""What a session of SCP11 may do on the card: its owner, its certificate, its data encryption key."""

from __future__ import annotations

from typing import Any

import pytest

from keywright.crypto.aes import AesKey
from keywright.crypto.chains import key_identifier
from keywright.iso7816.apdu import Command
from keywright.iso7816.refusal import Refusal
from keywright.scp.level import Level
from keywright.scp.scp11.authority import Form
from keywright.scp.scp11.card_channel import CardChannel
from keywright.scp.scp11.messages import I
from keywright.scp.scp11.profile import Profile
from support.scp11 import MUTUAL, CardEnd, asked, authority, domain, holder, key, led, pso

ALONE = holder("x509", alone=True).chain[0]


def session(kid: int, form: Form = "x509", authorisation: bytes | None = None, **changes: Any) -> CardChannel:
    made = domain(**changes)
    made.ca_keys = {(3, 0x10): authority("host", form)[0].public}
    chain = holder(form, alone=True, authorisation=authorisation).chain
    parameter = {0x11: 1, 0x13: 0, 0x15: 3}[kid]
    command = Command(0x80, 0x88 if kid == 0x13 else 0x82, 1, kid, asked(parameter=parameter), 0)
    opened = led(CardEnd(made), [pso(chain[0]), command]).initiation.session
    assert opened is not None
    return opened


def test_the_owner_is_who_shows_the_identifier_of_the_provider() -> None:
    assert session(0x11, "gp").authentication == Level.ANY_AUTHENTICATED
    assert session(0x11, "gp", provider=b"OCE").authentication == Level.AUTHENTICATED
    assert session(0x11, "gp", provider=b"OCf").authentication == Level.ANY_AUTHENTICATED
    assert session(0x11, provider=key_identifier(key("P-256", "OCE").public)).authentication == Level.AUTHENTICATED
    assert session(0x15, "gp", provider=b"OCE").authentication == Level.AUTHENTICATED
    assert session(0x11, profile=Profile(always_owner=True)).authentication == Level.AUTHENTICATED
    assert session(0x13, profile=Profile(always_owner=True), provider=b"OCE").authentication == 0


PUT_KEY = Command(0x80, 0xD8, 1, 0x81)
DELETE_KEY = Command(0x80, 0xE4, 0, 0, bytes.fromhex("D00111"))
DELETE_APPLICATION = Command(0x80, 0xE4, 0, 0, bytes.fromhex("4F05A000000001"))
SET_STATUS = Command(0x80, 0xF0, 0x80, 0x7F)
STORE = Command(0x80, 0xE2, 0x90, 0)
INSTALL = Command(0x80, 0xE6, 4, 0)
GET = Command(0x80, 0xCA, 0, 0x66)
ALL = (PUT_KEY, DELETE_KEY, DELETE_APPLICATION, SET_STATUS, STORE, INSTALL, GET)


@pytest.mark.parametrize(
    ("kid", "authorisation", "owner", "allowed"),
    [
        (0x11, None, False, set(ALL)),
        (0x11, None, True, set(ALL)),
        (0x11, "", False, {GET}),
        (0x11, "EF048D0280E2", False, {GET, STORE}),
        (0x11, "EF048D0280E2", True, set(ALL)),
        (0x13, None, False, set(ALL)),
        (0x15, None, True, {DELETE_APPLICATION, STORE, INSTALL, GET}),
        (0x15, None, False, {GET}),
        (0x15, "EF088D0680E280D880E6", False, {GET, STORE, INSTALL}),
        (0x15, "EF048D0280E4", False, {GET, DELETE_APPLICATION}),
        (0x15, "EF038D0180", False, {GET}),
        (0x15, "EE048D0280E4", False, {GET}),
    ],
)
def test_what_a_session_may_do_follows_from_variant_owner_and_certificate(
    kid: int, authorisation: str | None, allowed: set[Command], *, owner: bool
) -> None:
    inside = None if authorisation is None else bytes.fromhex(authorisation)
    opened = session(kid, "gp", inside, provider=b"OCE" if owner else None)
    assert {command for command in ALL if opened.authorised(command)} == allowed
    assert opened.authentication == (0 if kid == 0x13 else 0x80 if owner else 0x40)


def test_an_authorisation_speaks_of_classes_with_and_without_their_channel() -> None:
    opened = session(0x15, "gp", bytes.fromhex("EF088D0680E282018305"))
    for cla, ins, due in ((0x80, 0xE2, True), (0x81, 0xE2, True), (0xC5, 0xE2, True), (0x00, 0xE2, False)):
        assert opened.authorised(Command(cla, ins, 0, 0)) is due
    assert opened.authorised(Command(0x82, 0x01, 0, 0))
    assert not opened.authorised(Command(0x81, 0x01, 0, 0))


def test_an_authorisation_is_taken_only_with_the_variants_that_support_it() -> None:
    only_c = Profile(i=I.A | I.C | I.AUTHORISATION_IN_C)
    made = domain(profile=only_c)
    made.ca_keys = {(3, 0x10): authority("host", "gp")[0].public}
    chain = holder("gp", alone=True, authorisation=b"").chain
    card = led(CardEnd(made), [pso(chain[0])])
    assert card(MUTUAL).sw == 0x6A81
    led(CardEnd(made), [pso(chain[0]), Command(0x80, 0x82, 1, 0x15, asked(parameter=3), 0)])


def test_sensitive_data_is_under_the_static_key_where_one_is_loaded() -> None:
    static = AesKey(bytes(range(16)))
    block = static.encrypt_cbc(bytes(16), b"sixteen bytes...")
    with_key = {(1, 0x12): static}
    assert session(0x11, deks=with_key).decrypt_sensitive(block) == b"sixteen bytes..."
    assert (
        session(0x11, deks=with_key, profile=Profile(static_dek=False)).decrypt_sensitive(block) != b"sixteen bytes..."
    )
    assert session(0x15, deks=with_key).decrypt_sensitive(block) != b"sixteen bytes..."
    with pytest.raises(Refusal) as refused:
        session(0x11).decrypt_sensitive(bytes(15))
    assert refused.value.sw == 0x6A80


def test_r_mac_sessions_are_refused_unless_the_profile_has_them() -> None:
    usages = (0x1C,)
    for profile, due in ((Profile(usages=usages), 0x6985), (Profile(usages=usages, r_mac_sessions=True), None)):
        card = led(CardEnd(domain(profile=profile)), [pso(ALONE), Command(0x80, 0x82, 1, 0x11, asked(0x1C), 0)])
        opened = card.initiation.session
        assert opened is not None
        if due is None:
            opened.begin_r_mac(0x30, b"")
        else:
            with pytest.raises(Refusal) as refused:
                opened.begin_r_mac(0x30, b"")
            assert refused.value.sw == due
