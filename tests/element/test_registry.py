"""The registry as a value: who belongs to whom."""

from __future__ import annotations

from keywright.element.registry import Registry, changed, is_domain
from keywright.element.state import Kind, ModuleRecord, RegistryEntry
from support.cards import ISD
from support.content import DOMAIN, FILE, INNER, INSTANCE, MODULE

ENTRIES = (
    RegistryEntry(Kind.ISSUER_DOMAIN, ISD, 0, b"\x9c\x4e\0"),
    RegistryEntry(Kind.DOMAIN, DOMAIN, 7, b"\x80\0\0", ISD),
    RegistryEntry(Kind.DOMAIN, INNER, 7, b"\x80\0\0", DOMAIN),
    RegistryEntry(Kind.LOAD_FILE, FILE, 1, domain=DOMAIN, modules=(ModuleRecord(MODULE),)),
    RegistryEntry(Kind.APPLICATION, INSTANCE, 7, domain=INNER, load_file=FILE, module=MODULE),
)


def test_it_finds_each_kind_under_its_aid_only() -> None:
    here = Registry(ENTRIES)
    assert here.issuer.aid == ISD
    assert here.application(INSTANCE) == ENTRIES[4]
    assert here.application(FILE) is None
    assert here.load_file(FILE) == ENTRIES[3]
    assert here.domain(INNER) == ENTRIES[2]
    assert here.domain(INSTANCE) is None
    assert here.module(FILE, MODULE)
    assert not here.module(FILE, INSTANCE)
    assert here.knows(FILE)
    assert not here.knows(MODULE)
    assert [is_domain(entry) for entry in here] == [True, True, True, False, False]


def test_it_knows_the_tree() -> None:
    here = Registry(ENTRIES)
    assert here.under(INSTANCE, ISD)
    assert here.under(INSTANCE, DOMAIN)
    assert here.under(DOMAIN, DOMAIN)
    assert not here.under(DOMAIN, INNER)
    assert [entry.aid for entry in here.associated(DOMAIN)] == [INNER, FILE]
    assert [entry.aid for entry in here.made_from(FILE)] == [INSTANCE]


def test_a_circle_of_associations_ends() -> None:
    looped = Registry((*ENTRIES[:1], changed(ENTRIES[1], domain=INNER), ENTRIES[2]))
    assert not looped.under(INNER, ISD)
    assert looped.under(INNER, DOMAIN)


def test_a_change_makes_another_registry_and_the_record_is_the_same_both_ways() -> None:
    here = Registry(ENTRIES)
    locked = here.with_entry(changed(ENTRIES[4], life_cycle=0x87))
    assert here.application(INSTANCE) == ENTRIES[4]
    assert [entry.aid for entry in locked] == [entry.aid for entry in here]
    assert locked.without([ENTRIES[3]]).load_file(FILE) is None
    assert Registry.parse(locked.build()).entries == locked.entries


def test_an_application_and_a_load_file_may_have_one_aid() -> None:
    both = Registry(ENTRIES).with_entry(RegistryEntry(Kind.APPLICATION, FILE, 7, domain=ISD))
    assert len(both.entries) == len(ENTRIES) + 1
    assert both.load_file(FILE) == ENTRIES[3]
    assert both.application(FILE) is not None
