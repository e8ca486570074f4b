"""Privileges and life cycles as tables: what is legal is listed, everything else is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.errors import DecodeError
from keywright.globalplatform.life_cycle import (
    CARD_TRANSITIONS,
    DOMAIN_TRANSITIONS,
    LOCKED,
    CardState,
    card_path,
    may_set_application,
    may_set_card,
    may_set_domain,
)
from keywright.globalplatform.privileges import (
    ALL,
    ISSUER_DOMAIN,
    NEEDS_DOMAIN,
    Privilege,
    build_privileges,
    conflicts,
    in_words,
    parse_privileges,
)
from support.messages import parsed

P = Privilege


def test_the_issuer_domain_holds_what_its_card_says() -> None:
    assert build_privileges(ISSUER_DOMAIN) == bytes.fromhex("9EFE80")
    assert parse_privileges(bytes.fromhex("9EFE80")) == ISSUER_DOMAIN
    assert not conflicts(ISSUER_DOMAIN)


@pytest.mark.parametrize(
    ("data", "privileges"),
    [
        ("80", P.SECURITY_DOMAIN),
        ("800000", P.SECURITY_DOMAIN),
        ("A00000", P.SECURITY_DOMAIN | P.DELEGATED_MANAGEMENT),
        ("C00000", P.SECURITY_DOMAIN | P.DAP_VERIFICATION),
        ("C10000", P.SECURITY_DOMAIN | P.DAP_VERIFICATION | P.MANDATED_DAP),
        ("808000", P.SECURITY_DOMAIN | P.TRUSTED_PATH),
        ("04", P.CARD_RESET),
        ("000010", P.CONTACTLESS_SELF_ACTIVATION),
    ],
)
def test_privileges_have_one_byte_or_three(data: str, privileges: Privilege) -> None:
    raw = bytes.fromhex(data)
    assert parse_privileges(raw) == privileges
    assert build_privileges(privileges, short=len(raw) == 1) == raw
    assert not conflicts(privileges)


@pytest.mark.parametrize("data", ["", "8000", "80000000", "00000F", "000001"])
def test_privileges_of_another_size_or_with_reserved_bits_are_refused(data: str) -> None:
    with pytest.raises(DecodeError):
        parse_privileges(bytes.fromhex(data))


def test_one_byte_cannot_say_what_stands_in_the_others() -> None:
    with pytest.raises(ValueError, match="three"):
        build_privileges(P.SECURITY_DOMAIN | P.TRUSTED_PATH, short=True)


@given(st.binary(max_size=4))
def test_any_bytes_are_privileges_or_refused(data: bytes) -> None:
    found = parsed(parse_privileges, data)
    assert found is None or parse_privileges(build_privileges(found)) == found


@pytest.mark.parametrize("privilege", [bit for bit in Privilege if bit & NEEDS_DOMAIN])
def test_what_belongs_to_a_domain_needs_one(privilege: Privilege) -> None:
    assert any("needs security domain" in why for why in conflicts(privilege))


@pytest.mark.parametrize("privilege", [bit for bit in Privilege if not bit & NEEDS_DOMAIN])
def test_every_other_privilege_may_stand_alone(privilege: Privilege) -> None:
    assert not conflicts(privilege)


def test_mandated_dap_needs_dap_verification() -> None:
    assert conflicts(P.SECURITY_DOMAIN | P.MANDATED_DAP) == ("mandated DAP needs DAP verification",)


def test_delegated_management_excludes_authorized_management() -> None:
    both = P.SECURITY_DOMAIN | P.DELEGATED_MANAGEMENT | P.AUTHORIZED_MANAGEMENT
    assert conflicts(both) == ("delegated management excludes authorised management",)


def test_every_bit_has_one_name() -> None:
    assert len({int(bit) for bit in Privilege}) == 20
    assert len(set(in_words(ALL))) == 20
    assert in_words(P.SECURITY_DOMAIN | P.CARD_RESET) == ("security domain", "default selected")
    assert int(ALL) == 0xFFFFF0


# ---- life cycles ------------------------------------------------------------------------------------------------


def test_every_transition_of_a_card_that_is_not_listed_is_refused() -> None:
    for old in range(256):
        for new in range(256):
            assert may_set_card(old, new) == ((old, new) in CARD_TRANSITIONS)
    assert len(CARD_TRANSITIONS) == 8
    assert not any(old in (CardState.TERMINATED, new) for old, new in CARD_TRANSITIONS)


def test_every_transition_of_a_domain_that_is_not_listed_is_refused() -> None:
    legal = {(old, new) for old in range(256) for new in range(256) if may_set_domain(old, new)}
    assert legal == {(7, 0x0F), (3, 0x83), (7, 0x87), (0x0F, 0x8F), (0x83, 3), (0x87, 7), (0x8F, 0x0F)}
    assert legal == DOMAIN_TRANSITIONS


@pytest.mark.parametrize("state", [0x03, 0x07, 0x0F, 0x17, 0x7F])
def test_an_application_is_locked_and_comes_back_to_the_state_it_had(state: int) -> None:
    legal = {new for new in range(256) if may_set_application(state, new)}
    assert legal == {state | LOCKED}
    assert {new for new in range(256) if may_set_application(state | LOCKED, new)} == {state}


def test_an_application_itself_moves_among_its_own_states_and_never_unlocks() -> None:
    own = {new for new in range(256) if may_set_application(0x07, new, by_itself=True)}
    assert own == {0x87, *(state for state in range(0x80) if state & 7 == 7 and state != 7)}
    assert not any(may_set_application(0x87, new, by_itself=True) for new in range(256))
    assert {new for new in range(256) if may_set_application(0x03, new, by_itself=True)} == {0x83}


@pytest.mark.parametrize("state", [0x00, 0x01, 0x05, 0x0B, 0x80, 0x81, 0xFE])
def test_a_state_that_no_application_has_is_neither_left_nor_entered(state: int) -> None:
    for other in range(256):
        for by_itself in (False, True):
            assert not may_set_application(state, other, by_itself=by_itself)
            assert not may_set_application(other, state, by_itself=by_itself)


@pytest.mark.parametrize(
    ("old", "new", "steps"),
    [(0x01, 0x0F, (0x07, 0x0F)), (0x01, 0xFF, (0xFF,)), (0x7F, 0x0F, (0x0F,)), (0x0F, 0x01, ()), (0xFF, 0x0F, ())],
)
def test_the_way_of_a_card_goes_through_every_state_between(old: int, new: int, steps: tuple[int, ...]) -> None:
    assert card_path(old, new) == steps
