"""OOB values that can be guessed: what an attacker gets with them, and what stops it (CVE-2020-26556 to -26560)."""

from __future__ import annotations

import random as chance

import pytest

from keywright.errors import AuthenticationError, PolicyError
from keywright.mesh import device as device_end
from keywright.mesh import provisioner as provisioner_end
from keywright.mesh.device import Abilities, Device
from keywright.mesh.keys import ALGORITHMS, CMAC, HMAC, Algorithm
from keywright.mesh.messages import (
    Capabilities,
    Confirmation,
    Data,
    ErrorCode,
    Failed,
    Invite,
    Pdu,
    ProvisioningData,
    PublicKey,
    Random,
    Start,
    build_pdu,
    parse_pdu,
)
from keywright.mesh.oob import Authentication, Method, Value
from keywright.mesh.policy import Choice, Policy
from keywright.mesh.provisioner import Provisioner
from support.mesh import DATA, make_device, make_provisioner
from support.mesh_attacks import Impostor, offer

NUMERIC = 1 << 3
DIGITS = 4
ALL = range(10**DIGITS)
PERMISSIVE = Policy(least_bits=0, least_bits_cmac=0, least_static_octets=1)


def sent_by(end: Provisioner | Device) -> list[Pdu]:
    return [parse_pdu(pdu) for pdu in end.outgoing(0.0)]


def put(end: Provisioner | Device, *messages: Pdu) -> list[Pdu]:
    for message in messages:
        end.receive(build_pdu(message), 0.0)
    return sent_by(end)


def lured(capabilities: Capabilities, policy: Policy, static_oob: bytes = b"") -> tuple[Provisioner, Impostor]:
    """A provisioner that asks what it takes for its device, up to the attacker's Public Key."""
    provisioner = make_provisioner()
    provisioner.invite(0, 0.0)
    (invite,) = sent_by(provisioner)
    put(provisioner, capabilities)
    provisioner.events()
    provisioner.start(policy.choose(capabilities, static_oob=static_oob), 0.0, static_oob=static_oob)
    start, theirs = sent_by(provisioner)
    assert isinstance(invite, Invite)
    assert isinstance(start, Start)
    assert isinstance(theirs, PublicKey)
    impostor = Impostor(invite, capabilities, start)
    impostor.agree_as_device(theirs)
    provisioner.receive(build_pdu(impostor.public), 0.0)
    return provisioner, impostor


def play_the_device(
    provisioner: Provisioner, impostor: Impostor, confirmation: bytes, confirmed: list[Pdu]
) -> tuple[bytes, bytes]:
    """Send any confirmation: the provisioner's confirmation and random are in the attacker's hands."""
    (theirs,) = confirmed
    (random,) = put(provisioner, Confirmation(confirmation))
    assert isinstance(theirs, Confirmation)
    assert isinstance(random, Random)
    return theirs.value, random.value


def test_with_cmac_four_digits_are_found_while_the_provisioner_waits() -> None:
    """The person reads 4711 off the real device; the attacker never sees it, and gets the NetKey."""
    provisioner, impostor = lured(offer(output_size=DIGITS, output_actions=NUMERIC), PERMISSIVE)
    provisioner.enter(4711, 0.0)
    anything = bytes(range(16))
    confirmation, random_p = play_the_device(provisioner, impostor, anything, sent_by(provisioner))
    value = impostor.guess(ALL, confirmation, random_p)
    assert value == 4711
    random_d = impostor.fitting_random(value, anything)
    put(provisioner, Random(random_d))
    assert provisioner.state == "authenticated"
    provisioner.provide(DATA, 0.0)
    (data,) = sent_by(provisioner)
    assert isinstance(data, Data)
    keys = impostor.session_keys(random_p, random_d)
    assert ProvisioningData.parse(keys.session_key.open(keys.session_nonce, data.sealed)) == DATA


def test_the_value_found_so_opens_the_real_device_too() -> None:
    """The attacker stands between: the device shows its value, a person carries it, and both ends have the attacker."""
    device = make_device(Abilities(output_size=DIGITS, output_actions=NUMERIC))
    invite, start = Invite(0), Start(CMAC.number, 0, Method.OUTPUT, 3, DIGITS)
    (capabilities,) = put(device, invite)
    assert isinstance(capabilities, Capabilities)
    towards_device = Impostor(invite, capabilities, start)
    (theirs,) = put(device, start, towards_device.public)
    assert isinstance(theirs, PublicKey)
    towards_device.agree_as_provisioner(theirs)
    shown = next(event.value for event in device.events() if isinstance(event, device_end.ValueShown))

    provisioner, impostor = lured(offer(output_size=DIGITS, output_actions=NUMERIC), PERMISSIVE)
    provisioner.enter(shown, 0.0)
    value = impostor.guess(ALL, *play_the_device(provisioner, impostor, bytes(16), sent_by(provisioner)))
    assert value is not None
    put(provisioner, Random(impostor.fitting_random(value, bytes(16))))
    assert provisioner.state == "authenticated"

    random = bytes(range(16))
    put(device, Confirmation(towards_device.confirmation(value, random)))
    assert [type(one) for one in put(device, Random(random))] == [Random]
    assert device.state == "authenticated"


def test_with_hmac_the_value_is_found_too_late() -> None:
    """The value is in the key of the confirmation: one sent before it was known fits no random."""
    provisioner, impostor = lured(offer(HMAC, output_size=DIGITS, output_actions=NUMERIC), PERMISSIVE)
    provisioner.enter(4711, 0.0)
    random = bytes(range(32))
    own = impostor.confirmation(1234, random)
    confirmation, random_p = play_the_device(provisioner, impostor, own, sent_by(provisioner))
    assert impostor.guess(range(4700, 4720), confirmation, random_p) == 4711
    put(provisioner, Random(random))
    last = provisioner.events()[-1]
    assert isinstance(last, provisioner_end.Ended)
    assert isinstance(last.error, AuthenticationError)
    assert provisioner.outgoing(0.0) == []


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda one: one.name)
def test_a_short_static_value_is_found_at_leisure_and_used_the_next_time(algorithm: Algorithm) -> None:
    """It is the same in every session, so HMAC does not help: one failed session, then one with the value."""
    secret = b"\x2a\x07"
    capabilities = offer(algorithm, oob_type=1)
    provisioner, impostor = lured(capabilities, PERMISSIVE, secret)
    confirmed = sent_by(provisioner)
    evidence = play_the_device(provisioner, impostor, bytes(algorithm.size), confirmed)
    found = impostor.guess((bytes((a, b)) for a in range(0x28, 0x2B) for b in range(256)), *evidence)
    assert found == secret

    provisioner, impostor = lured(capabilities, PERMISSIVE, secret)
    sent_by(provisioner)
    random = bytes(algorithm.size)
    put(provisioner, Confirmation(impostor.confirmation(found, random)))
    put(provisioner, Random(random))
    assert provisioner.state == "authenticated"


@pytest.mark.parametrize(
    ("capabilities", "static_oob", "why"),
    [
        (offer(CMAC, output_size=DIGITS, output_actions=NUMERIC), b"", "13 bits of 41"),
        (offer(CMAC, output_size=6, output_actions=NUMERIC), b"", "20 bits of 41"),
        (offer(CMAC, input_size=8, input_actions=1 << 2), b"", "27 bits of 41"),
        (offer(HMAC, output_size=DIGITS, output_actions=NUMERIC), b"", "13 bits of 20"),
        (offer(HMAC, output_size=8, output_actions=0x07), b"", None),
        (offer(HMAC, output_size=5, output_actions=0x07), b"", "17 bits of 20"),
        (offer(CMAC, output_size=8, output_actions=1 << 4), b"", None),
        (offer(HMAC, oob_type=1), b"\x2a\x07", "2 octets of 16"),
        (offer(CMAC, oob_type=1), bytes(15), "15 octets of 16"),
        (offer(CMAC, oob_type=1), bytes(range(16)), None),
    ],
)
def test_the_policy_refuses_what_can_be_guessed(capabilities: Capabilities, static_oob: bytes, why: str | None) -> None:
    if why is None:
        Policy().choose(capabilities, static_oob=static_oob)
        return
    with pytest.raises(PolicyError, match=why):
        lured(capabilities, Policy(), static_oob)


def false_provisioner(
    abilities: Abilities, algorithm: Algorithm, authentication: Authentication, guess: Value, seed: int = 1
) -> Device:
    """One session of an attacker that plays provisioner and bets on `guess`; the device as it leaves it."""
    device = make_device(abilities, random=chance.Random(seed).randbytes)
    invite = Invite(0)
    start = Start(algorithm.number, 0, authentication.method, authentication.action, authentication.size)
    (capabilities,) = put(device, invite)
    assert isinstance(capabilities, Capabilities)
    impostor = Impostor(invite, capabilities, start)
    (theirs,) = put(device, start, impostor.public)
    assert isinstance(theirs, PublicKey)
    impostor.agree_as_provisioner(theirs)
    random = bytes(algorithm.size)
    put(device, Confirmation(impostor.confirmation(guess, random)))
    answers = put(device, Random(random))
    if device.state == "failed":
        # Nothing to work on at home: the device's random stays with it.
        assert answers == [Failed(ErrorCode.CONFIRMATION_FAILED)]
    return device


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda one: one.name)
def test_who_plays_provisioner_has_one_guess_a_session(algorithm: Algorithm) -> None:
    """A value of one session: each guess is as good as any other, 1 in 10 of one digit."""
    one_digit = Authentication(Method.OUTPUT, 3, 1)
    abilities = Abilities(output_size=1, output_actions=NUMERIC)
    ends = [false_provisioner(abilities, algorithm, one_digit, 7, seed).state for seed in range(200)]
    assert set(ends) == {"failed", "authenticated"}
    assert 5 <= ends.count("authenticated") <= 40


def test_a_static_value_of_one_octet_falls_to_patience() -> None:
    """It stays the same, so each guess is one fewer; the standard has no lock. 16 octets are out of anyone's reach."""
    abilities = Abilities(static_oob=b"\x2a")
    static = Authentication(Method.STATIC)
    tries = next(
        number
        for number in range(256)
        if false_provisioner(abilities, HMAC, static, bytes((number,))).state == "authenticated"
    )
    assert tries == 0x2A


def test_the_confirmation_of_a_device_tells_a_false_provisioner_nothing() -> None:
    """It sees the device's confirmation and not its random: every value fits some random."""
    device = make_device(Abilities(output_size=DIGITS, output_actions=NUMERIC))
    invite, start = Invite(0), Start(CMAC.number, 0, Method.OUTPUT, 3, DIGITS)
    (capabilities,) = put(device, invite)
    assert isinstance(capabilities, Capabilities)
    impostor = Impostor(invite, capabilities, start)
    (theirs,) = put(device, start, impostor.public)
    assert isinstance(theirs, PublicKey)
    impostor.agree_as_provisioner(theirs)
    (confirmation,) = put(device, Confirmation(bytes(16)))
    assert isinstance(confirmation, Confirmation)
    for value in range(0, 10**DIGITS, 1000):
        random = impostor.fitting_random(value, confirmation.value)
        assert impostor.confirmation(value, random) == confirmation.value


def test_no_oob_authenticates_nobody_and_has_to_be_asked_for() -> None:
    nothing = offer(HMAC)
    with pytest.raises(PolicyError, match="no way to authenticate"):
        Policy().choose(nothing)
    provisioner, impostor = lured(nothing, Policy(methods=(Method.NONE,)))
    assert provisioner.choice == Choice(HMAC, uses_oob_key=False, authentication=Authentication())
    random = bytes(range(32))
    put(provisioner, Confirmation(impostor.confirmation(0, random)))
    put(provisioner, Random(random))
    assert provisioner.state == "authenticated"
