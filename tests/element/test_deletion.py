"""DELETE of content: what may go, what depends on it, and that nothing of it stays."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from keywright.codec.tlv import item
from keywright.errors import StatusError
from keywright.globalplatform.dialogues import content
from keywright.globalplatform.privileges import Privilege
from keywright.store import RamMemory
from support.cards import ECHO_AID, ISD, OWN, EchoApplet, Terminal, contents, element
from support.content import DOMAIN, FILE, INNER, INSTANCE, MODULE, SECOND, ContentHost, component, opened, package

BLOCK = package(FILE, [MODULE], size=50)
MANAGING = Privilege.SECURITY_DOMAIN | Privilege.AUTHORIZED_MANAGEMENT


def prepared(**parameters: object) -> tuple[ContentHost, RamMemory, dict[str, bytes]]:
    """A card with a load file and an instance of it; and what it held before."""
    memory = RamMemory()
    here = ContentHost(Terminal(element(memory=memory, **parameters)).authenticate())
    before = contents(memory, counters=False)
    here.load(BLOCK)
    here.install()
    return here, memory, before


def refused(sw: int, action: Callable[[], object]) -> None:
    with pytest.raises(StatusError) as caught:
        action()
    assert caught.value.sw == sw


def test_an_application_goes_with_all_its_records() -> None:
    here, memory, _ = prepared()
    terminal = here.session.terminal
    terminal.select(INSTANCE)
    terminal(0x80, 0x10, data=b"keep this")
    terminal.select()
    here = ContentHost(terminal.authenticate())
    assert any(name.startswith(f"applet/{INSTANCE.hex().upper()}/") for name in contents(memory))
    here.run(content.delete_object(INSTANCE))
    assert not any(name.startswith(f"applet/{INSTANCE.hex().upper()}/") for name in contents(memory))
    assert terminal.select(INSTANCE).sw == 0x6A82
    here = ContentHost(terminal.authenticate())
    refused(0x6A88, lambda: here.run(content.delete_object(INSTANCE)))


def test_a_load_file_goes_after_its_instances_and_then_the_card_is_as_before() -> None:
    here, memory, before = prepared()
    refused(0x6985, lambda: here.run(content.delete_object(FILE)))
    here.run(content.delete_object(INSTANCE))
    here.run(content.delete_object(FILE))
    assert contents(memory, counters=False) == before


def test_a_load_file_goes_with_everything_made_from_it_when_asked_so() -> None:
    here, memory, before = prepared()
    here.install(instance=SECOND)
    here.run(content.delete_object(FILE, related=True))
    assert contents(memory, counters=False) == before


def test_a_load_file_that_another_imports_stays_as_long_as_that_one() -> None:
    here, _, _ = prepared()
    other = FILE[:-1] + b"\x02"
    imports = bytes((2, 0, 1, 7)) + bytes.fromhex("A0000000620101") + bytes((2, 1, len(FILE))) + FILE
    here.load(package(other, []) + component(4, imports), other)
    refused(0x6985, lambda: here.run(content.delete_object(FILE, related=True)))
    here.run(content.delete_object(other))
    here.run(content.delete_object(FILE, related=True))


def test_a_domain_goes_after_what_is_associated_with_it() -> None:
    here, memory, _ = prepared()
    here.make_domain(DOMAIN, MANAGING)
    before = contents(memory, counters=False)
    here.run(content.extradite(INSTANCE, DOMAIN))
    refused(0x6985, lambda: here.run(content.delete_object(DOMAIN)))
    here.run(content.extradite(FILE, DOMAIN))
    here.run(content.delete_object(INSTANCE))
    refused(0x6985, lambda: here.run(content.delete_object(DOMAIN)))
    here.run(content.delete_object(FILE))
    here.run(content.delete_object(DOMAIN))
    assert DOMAIN.hex().upper() not in "".join(contents(memory))
    assert len(contents(memory)) < len(before)


def test_a_domain_goes_with_its_whole_tree_when_asked_so() -> None:
    memory = RamMemory()
    here = ContentHost(Terminal(element(memory=memory)).authenticate())
    before = contents(memory, counters=False)
    here.load(BLOCK)
    here.install()
    here.make_domain(DOMAIN, MANAGING)
    here.make_domain(INNER, MANAGING)
    here.run(content.extradite(INNER, DOMAIN))
    here.run(content.extradite(INSTANCE, INNER))
    here.run(content.extradite(FILE, INNER))
    here.run(content.delete_object(DOMAIN, related=True))
    assert contents(memory, counters=False) == before


def test_keys_and_counters_of_a_domain_are_gone_and_do_not_come_back() -> None:
    terminal = Terminal(element())
    ContentHost(terminal.authenticate()).make_domain(DOMAIN, MANAGING)
    terminal.select(DOMAIN)
    terminal.authenticate().put_keys(0x30, OWN)
    terminal.select()
    here = ContentHost(terminal.authenticate())
    here.run(content.delete_object(DOMAIN))
    here.make_domain(DOMAIN)
    terminal.select(DOMAIN)
    assert terminal.initialize_update(kvn=0x30).sw == 0x6A88
    terminal.authenticate()


def test_what_is_selected_on_any_channel_stays() -> None:
    here, memory, _ = prepared(applets=[EchoApplet()])
    terminal = here.session.terminal
    terminal.raw("00700001")
    other = Terminal(terminal.card, 1)
    other.select(INSTANCE)
    before = contents(memory, counters=False)
    refused(0x6985, lambda: here.run(content.delete_object(INSTANCE)))
    refused(0x6985, lambda: here.run(content.delete_object(FILE, related=True)))
    assert contents(memory, counters=False) == before
    other.select()
    here.run(content.delete_object(FILE, related=True))


def test_the_issuer_domain_and_the_acting_one_stay() -> None:
    here, _, _ = prepared()
    refused(0x6985, lambda: here.run(content.delete_object(ISD)))
    here.make_domain(DOMAIN, MANAGING)
    acting = opened(here.session.terminal, DOMAIN)
    refused(0x6985, lambda: acting.run(content.delete_object(DOMAIN)))
    refused(0x6985, lambda: acting.run(content.delete_object(ISD)))


def test_global_delete_reaches_everything() -> None:
    here, _, _ = prepared(applets=[EchoApplet()])
    here.make_domain(DOMAIN, Privilege.SECURITY_DOMAIN | Privilege.GLOBAL_DELETE)
    acting = opened(here.session.terminal, DOMAIN)
    acting.run(content.delete_object(ECHO_AID))
    acting.run(content.delete_object(FILE, related=True))


@pytest.mark.parametrize("data", ["4f05a0000000aad20130", "4f05a0000000aad00130", "9e00", "4f", "4f0000"])
def test_data_that_names_no_object_or_a_key_too_is_refused(data: str) -> None:
    here, _, _ = prepared()
    assert here.session(0x80, 0xE4, 0x00, 0x00, bytes.fromhex(data)).sw == 0x6A80


def test_an_aid_in_part_names_nothing() -> None:
    here, _, _ = prepared()
    assert here.session(0x80, 0xE4, 0x00, 0x00, item(0x4F, INSTANCE[:-1])).sw == 0x6A88
