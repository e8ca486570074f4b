"""Every legal combination of protocol, option, key size, level and logical channel: run, tampered with, counted.

The table is data in `support/combinations`; docs/combinations.md is made from it.
"""

from __future__ import annotations

import itertools

import pytest
from hypothesis import settings

from keywright.scp.scp03 import messaging
from support.combinations.rules import GET_RESPONSE, RULES, Part, parts
from support.combinations.scp03 import Scp03
from support.combinations.sessions import CHANNELS, Flip
from support.combinations.table import PROTOCOLS, Ran, distinct, ran, rows, sessions_of
from support.combinations.trials import honest, tamper

SLICES = 6
LEAST = 500
NIGHTLY = settings().max_examples > settings.get_profile("ci").max_examples


@pytest.mark.parametrize("part", range(SLICES))
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_combination_works_and_its_tampering_variant_does_not(protocol: str, part: int) -> None:
    """One flipped bit ends the session on the side that sees it; nothing is accepted twice or out of order."""
    tried = 0
    for kind, run in itertools.islice(rows(protocol, everything=NIGHTLY), part, None, SLICES):
        outcome = run()
        if kind.is_legal:
            outcome.attack()
            tried += 1
    assert tried


def test_at_least_five_hundred_legal_combinations_differ() -> None:
    found = [result for protocol in PROTOCOLS for result in ran(protocol)]
    assert distinct(result for result in found if result.kind.is_legal) >= LEAST
    for before, after in itertools.pairwise(found):
        assert before.outcome.digest != after.outcome.digest, (before.kind, after.kind)


UNSEEN = {"SCP02": {"i"}, "SCP81": {"where"}}
"""Choices that leave no trace where nothing makes use of them: R-MAC that is offered and not asked for, for one."""


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_combinations_that_look_alike_differ_only_in_what_leaves_no_trace(protocol: str) -> None:
    groups: dict[bytes, list[Ran]] = {}
    for result in ran(protocol):
        groups.setdefault(result.outcome.digest, []).append(result)
    for first, *others in groups.values():
        for other in others:
            one, two = first.kind._asdict(), other.kind._asdict()
            assert {name for name in one if one[name] != two[name]} <= UNSEEN.get(protocol, set())


@pytest.mark.parametrize("protocol", ["SCP02", "SCP03", "SCP10", "SCP11"])
def test_every_logical_channel_has_its_turn(protocol: str) -> None:
    assert {kind.channel for kind, _ in rows(protocol)} == set(range(CHANNELS))


# ---- the tampering can fail


KIND = Scp03(0x70, 16, 0x33)


def test_an_end_that_checks_nothing_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    clean = honest(KIND).messages
    for number in (4, 5):
        spot = Flip(number, 8 * len(clean[number].raw) - 20, Part.SEALED)
        tamper(KIND, clean, spot)
        with monkeypatch.context() as patched:
            patched.setattr(messaging, "equal", lambda _one, _other: True)
            with pytest.raises((AssertionError, pytest.fail.Exception)):
                tamper(KIND, clean, spot)


def test_every_bit_of_a_session_is_seen_by_somebody() -> None:
    clean = honest(KIND).messages
    for number, message in enumerate(clean):
        for bit, part in parts(message).items():
            tamper(KIND, clean, Flip(number, bit, part))


def test_each_rule_leaves_something_out_and_never_all_of_a_protected_command() -> None:
    used: set[str] = set()
    for protocol in ("SCP02", "SCP03", "SCP10", "SCP11"):
        for kind in itertools.islice(sessions_of(protocol), 0, None, 9):
            for message in honest(kind).messages if kind.is_legal else ():
                used |= {rule.why for rule in RULES if set(rule.excludes(message))}
                protected = message.opening or message.covered
                assert parts(message) or not protected or message.is_answer or message.ins == GET_RESPONSE
    assert used == {rule.why for rule in RULES}
