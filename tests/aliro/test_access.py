"""What access data allow: rules, what is not understood, and readers that do not know the time."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.aliro.access import DEFAULT, REASONS, Decision, Policy, Situation, decide, evaluate, needs_time
from keywright.aliro.documents.access_data import (
    CAPABILITIES,
    AccessData,
    AccessExtension,
    AccessRule,
    Capability,
    Extension,
    Schedule,
)
from keywright.aliro.schedules import is_running
from support.aliro_documents import ACCESS_DATA, DAY, EVERYTHING, NOW, share

RUNNING, OVER, LATER = Schedule(NOW - DAY, NOW + DAY), Schedule(0, NOW), Schedule(NOW + 1)
THREE = (RUNNING, OVER, LATER)
AT_NOW = Situation(now=NOW)
ALL = 0x3F


def reason(data: AccessData, situation: Situation = AT_NOW, policy: Policy = DEFAULT, **how: Any) -> str:
    found = evaluate(data, situation, policy=policy, **how)
    assert found.granted == (found.reason == "granted") == (found.status == 0)
    return found.reason


def with_rules(*rules: AccessRule) -> AccessData:
    return AccessData(rules=rules, schedules=THREE)


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ([AccessRule(ALL)], "granted"),
        ([AccessRule(ALL, 0b001)], "granted"),
        ([AccessRule(ALL, 0b111)], "granted"),
        ([AccessRule(ALL, 0b110)], "schedule"),
        ([AccessRule(ALL, 0)], "schedule"),
        ([AccessRule(ALL, None, 0b001)], "schedule"),
        ([AccessRule(ALL, None, 0b110)], "granted"),
        ([AccessRule(ALL, 0b001, 0b001)], "schedule"),
        ([AccessRule(ALL, 0b001, 0b100)], "granted"),
        ([AccessRule(ALL, 0b110), AccessRule(ALL, 0b001)], "granted"),
        ([AccessRule(ALL, None, 0b001), AccessRule(ALL)], "granted"),
        ([AccessRule(Capability.SECURE)], "capability"),
        ([AccessRule(Capability.SECURE), AccessRule(ALL, 0b110)], "schedule"),
        ([AccessRule(0)], "capability"),
        ([AccessRule(0xFFC0)], "capability"),
        ([AccessRule(None)], "capability"),
    ],
)
def test_a_rule_holds_when_an_allowed_schedule_runs_and_no_denied_one_does(
    rules: list[AccessRule], expected: str
) -> None:
    assert reason(with_rules(*rules)) == expected


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_a_rule_allows_the_actions_it_names_only(capability: int) -> None:
    data = with_rules(AccessRule(capability))
    for action in CAPABILITIES:
        assert (reason(data, Situation(action=action, now=NOW)) == "granted") == (action == capability)


@share(4)
@given(ACCESS_DATA, st.sampled_from(list(CAPABILITIES)), st.integers(0, 0xFFFFFFFF), st.integers(-12, 14))
def test_rules_against_a_reading_of_7_3_3_word_by_word(data: AccessData, action: int, now: int, zone: int) -> None:
    data = msgspec.structs.replace(data, access_extensions=(), reader_rules=())

    def offset(_time: int) -> int:
        return zone * 3600

    def runs(number: int) -> bool:
        return is_running(data.schedules[number], now, offset)

    def valid(rule: AccessRule) -> bool:
        numbers = range(len(data.schedules))
        if rule.capabilities is None or rule.capabilities & action == 0:
            return False
        if rule.allow is not None and not [number for number in numbers if rule.allow & 1 << number and runs(number)]:
            return False
        return not [number for number in numbers if (rule.deny or 0) & 1 << number and runs(number)]

    expected = not data.rules or any(valid(rule) for rule in data.rules)
    assert evaluate(data, Situation(action=action, now=now, offset=offset)).granted is expected


def test_schedules_that_deny_undo_their_own_rule_or_all_of_an_element() -> None:
    data = with_rules(AccessRule(ALL, None, 0b001), AccessRule(ALL))
    element = Policy(deny_reaches="element")
    assert (reason(data), reason(data, policy=element)) == ("granted", "schedule")
    # A rule for another action denies nothing here.
    other = with_rules(AccessRule(Capability.SECURE, None, 0b001), AccessRule(Capability.UNSECURE))
    assert reason(other, policy=element) == "granted"
    assert reason(with_rules(AccessRule(ALL, None, 0b110)), policy=element) == "granted"


def test_a_reader_without_the_time_goes_by_rules_without_schedules() -> None:
    blind, skipping = Situation(now=None), Policy(unverified_schedules="skip")
    scheduled = with_rules(AccessRule(ALL, 0b001))
    for data in (scheduled, with_rules(AccessRule(ALL, None, 0b100))):
        assert needs_time(data)
        assert reason(data, blind) == "no clock"
        assert reason(data, blind, skipping) == "granted"
        # A document that demands the time is never let off (7.2.4).
        assert reason(data, blind, skipping, time_verification_required=True) == "no clock"
    assert reason(with_rules(AccessRule(ALL, 0b110), AccessRule(ALL)), blind) == "granted"
    assert reason(with_rules(AccessRule(1, 0b110)), blind) == "capability"
    assert not needs_time(EVERYTHING)
    assert reason(EVERYTHING, blind, time_verification_required=True) == "granted"


def test_no_rules_and_no_capabilities_are_what_the_policy_says() -> None:
    assert reason(AccessData()) == "granted"
    assert reason(AccessData(), policy=Policy(without_rules=False)) == "capability"
    assert reason(with_rules(AccessRule(None)), policy=Policy(without_capabilities=True)) == "granted"


def test_what_is_not_understood_means_no_access() -> None:
    critical = AccessExtension(7, 1, 2, b"data")
    data = AccessData(rules=EVERYTHING.rules, access_extensions=(critical,))
    assert reason(data) == "critical extension"
    known = Situation(now=NOW, understood=frozenset({(7, 1, 2)}))
    assert reason(data, known) == "granted"
    for other in ((8, 1, 2), (7, 2, 2), (7, 1, 3)):
        assert reason(data, Situation(now=NOW, understood=frozenset({other}))) == "critical extension"
    harmless = msgspec.structs.replace(critical, critical=False)
    assert reason(msgspec.structs.replace(data, access_extensions=(harmless,))) == "granted"
    assert reason(msgspec.structs.replace(data, access_extensions=(harmless, critical))) == "critical extension"
    assert reason(AccessData(rules=EVERYTHING.rules, extensions=(Extension(7, 1, 2, b""),))) == "granted"


def test_every_reader_rule_must_be_known_and_met() -> None:
    data = AccessData(rules=EVERYTHING.rules, reader_rules=(0xF118, 5))
    for rules, expected in (
        ({}, "unknown reader rule"),
        ({0xF118: True}, "unknown reader rule"),
        ({0xF118: True, 5: True}, "granted"),
        ({0xF118: True, 5: False}, "reader rule"),
        ({0xF118: False, 5: True}, "reader rule"),
    ):
        assert reason(data, Situation(now=NOW, reader_rules=rules)) == expected


def test_one_element_that_grants_is_enough_and_only_those_asked_for_count() -> None:
    closed = AccessData(rules=(AccessRule(Capability.SECURE),))
    elements = {"open": EVERYTHING.value(), "closed": closed.value(), "broken": {0: 2}, "other": True}
    granted = decide(elements, ["closed", "open"], AT_NOW)
    assert (granted.granted, granted.element, granted.data) == (True, "open", EVERYTHING)
    assert str(granted) == "access by element 'open': granted"
    for wanted, expected, element, status in (
        (["broken", "closed"], "capability", "closed", 0x0025),
        (["closed", "broken"], "capability", "closed", 0x0025),
        (["broken"], "unreadable", "broken", 0x0007),
        (["other"], "unreadable", "other", 0x0007),
        (["absent"], "no element", "", 0x0007),
        ([], "no element", "", 0x0007),
    ):
        found = decide(elements, wanted, AT_NOW)
        assert (found.reason, found.element, found.status) == (expected, element, status)
        assert str(found).startswith("no access")


def test_every_reason_has_a_status_and_denials_have_one_of_failure() -> None:
    for one in REASONS:
        status = Decision(one).status
        assert (status == 0) == (one == "granted")
        assert status >> 8 == 0
