"""The test that shows each control; `docs/controls.md` is made from this, and a test checks that every one is there."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Final

TESTS: Final[Mapping[str, tuple[str, ...]]] = {
    "R1": (
        "crypto/test_components.py::test_one_missing_component_makes_every_byte_of_the_key_equally_likely",
        "crypto/test_shamir.py::test_m_minus_1_shares_are_uniform_whatever_the_secret",
        "production/ceremony/test_ceremony_states.py::test_a_plan_with_wrong_persons_is_refused",
        "production/ceremony/test_ceremony_states.py::test_a_custodian_has_one_part_their_own",
    ),
    "R2": (
        "production/test_campaign.py::test_a_production_recipe_takes_no_test_keystore_and_touches_nothing",
        "production/keystores/test_keystore.py::test_the_keystore_offers_nothing_but_the_interface",
        (
            "production/hsm/test_hsm_recorded_sessions.py::"
            "test_no_value_of_a_session_key_can_be_read_and_none_outlives_its_channel"
        ),
        "production/audit/test_canary.py::test_no_part_of_the_canary_key_is_in_anything_a_lot_writes",
    ),
    "R3": (
        "crypto/keyblocks/test_keyblocks.py::test_every_character_changed_is_refused",
        "production/ceremony/test_whole_ceremonies.py::test_a_key_goes_from_zone_to_zone_under_a_transport_key",
    ),
    "R4": ("production/keystores/test_registry.py::test_a_key_of_the_other_environment_is_refused",),
    "R5": (
        "production/keystores/test_registry.py::test_a_key_past_its_originator_use_still_opens_until_its_recipient_use_ends",
        "production/keystores/test_key_states.py::test_every_pair_that_is_not_listed_is_refused",
    ),
    "R6": ("crypto/keyblocks/test_keyblock_policy.py::test_a_key_is_carried_by_none_weaker",),
    "R7": (
        "production/people/test_people.py::test_roles_that_exclude_each_other_are_refused_together",
        "production/people/test_person_key.py::test_six_wrong_tries_shut_the_file_for_half_an_hour",
        "production/people/test_person_key.py::test_a_passphrase_has_twelve_characters_at_least",
    ),
    "R8": (
        "production/people/test_approvals.py::test_an_altered_operation_is_refused",
        "production/people/test_approvals.py::test_nobody_approves_their_own_request_or_twice",
        "production/people/test_consent.py::test_it_is_used_with_what_it_allows_and_never_again",
    ),
    "R9": (),
    "R10": (
        "production/keystores/test_sealed_registry.py::test_a_destroyed_key_is_gone_from_the_file_and_its_record_stays",
    ),
    "R11": (
        "production/audit/test_audit_verify.py::test_any_changed_byte_is_found_with_its_place",
        "production/audit/test_audit_verify.py::test_what_is_changed_in_the_database_is_named",
        "production/audit/test_audit_checkpoints.py::test_a_log_written_anew_is_not_the_one_that_was_witnessed",
        "production/audit/test_audit_second_host.py::test_a_log_that_was_put_back_is_found_by_its_witness",
        "production/audit/test_audit_review.py::test_what_is_to_be_looked_at_is_signed_off_by_an_auditor",
    ),
    "R12": (
        "production/handover/test_ledger.py::test_a_walk_of_ten_thousand_operations_always_adds_up",
        "production/handover/test_closing.py::test_a_missing_unit_blocks_closing",
    ),
    "R13": ("production/handover/test_ledger.py::test_a_spoiled_record_is_never_issued_again",),
    "R14": (),
    "R15": ("production/test_campaign.py::test_another_recipe_is_refused",),
    "R16": ("test_house.py::test_a_lock_holds_hashes_and_no_addresses",),
    "R17": (
        "production/keystores/test_affected.py::test_units_that_a_key_of_the_recipe_reached_are_listed_and_no_other",
        "production/keystores/test_registry.py::test_nothing_new_comes_from_a_key_whose_ancestor_was_compromised",
    ),
    "R18": ("production/keystores/test_keystore.py::test_nothing_secret_is_shown_pickled_copied_or_stored_in_clear",),
    "R19": ("production/hsm/test_hsm_recorded_sessions.py::test_a_flipped_answer_is_refused_and_closes_the_channel",),
    "R20": (
        (
            "production/ceremony/test_whole_ceremonies.py::"
            "test_a_backup_restores_into_an_empty_keystore_with_the_same_check_value"
        ),
    ),
}
"""Control -> ids of tests, paths below tests."""

_TESTS: Final = Path(__file__).resolve().parents[1]


def exists(test: str) -> bool:
    """Whether there is such a test."""
    path, _, name = test.partition("::")
    file = _TESTS / path
    if not file.is_file():
        return False
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return any(isinstance(node, ast.FunctionDef) and node.name == name for node in tree.body)
