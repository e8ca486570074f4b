"""gpshell, as a model, against the element: the commands of its scripts, over T=1 and T=0 as its PC/SC plugin does it.

Sources of the model: kaoh/globalplatform, files named in `gpshell.py`; what a real gpshell once sent is replayed in
`tests/element/test_client_traces.py`.
"""

from __future__ import annotations

import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from interop.cards import T0_ATR, with_scp02
from interop.foreign import ForeignError, Keys, Plain, Wire, lv
from interop.gpshell import GpShell
from interop.transports import gppcsc
from keywright.element import SecureElement
from support.cards import ISD, element
from support.content import DOMAIN, DOMAIN_FILE, DOMAIN_MODULE, FILE, INSTANCE, MODULE, SECOND, package

CODE = package(FILE, [MODULE], size=900)
NEW = Keys(bytes(range(16)), bytes(range(16, 32)), bytes(range(32, 48)))
LIMITS = "C7020100C8020200"


def shell(card: SecureElement, *, level: int | None = 0x33, t0: bool = False) -> tuple[GpShell, Wire]:
    """gpshell with the issuer domain selected and, unless level is None, in a session."""
    wire = Wire(card.handle)
    here = GpShell(gppcsc(wire, t0=t0))
    here.select()
    if level is not None:
        here.open(level)
    return here, wire


def fill(here: GpShell) -> None:
    """Load and install, as `helloInstall.txt` does."""
    here.install_for_load(FILE, ISD, len(CODE), limits=LIMITS)
    here.load(CODE)
    here.install(FILE, MODULE, INSTANCE, limits=LIMITS)


@pytest.mark.parametrize("card", [element, with_scp02], ids=["scp03", "scp02"])
def test_what_it_reads_before_a_session_is_in_the_order_it_wants(card: type[SecureElement]) -> None:
    here, _ = shell(card(), level=None)
    assert here.recognition_data()[0] == (0x03, 0x70)
    assert here.key_information()
    assert set(here.resources()) == {0x81, 0x82, 0x83}


@pytest.mark.parametrize("tag", [0x42, 0x45, 0x66, 0x67, 0xC1, 0xCF, 0xE0, 0x9F7F, 0xFF21])
def test_get_data_gives_the_object_to_one_class_and_its_value_to_the_other(tag: int) -> None:
    here, _ = shell(element(), level=None)
    value = here.get_data(tag, gp=False)
    size = 2 if tag > 0xFF else 1
    whole = here.get_data(tag)
    assert whole.startswith(tag.to_bytes(size))
    assert whole.endswith(value)
    assert len(whole) - len(value) in (size + 1, size + 2)


@pytest.mark.parametrize("level", [0x01, 0x03, 0x11, 0x13, 0x33])
@pytest.mark.parametrize("t0", [False, True], ids=["T=1", "T=0"])
def test_a_script_installs_lists_and_deletes(level: int, *, t0: bool) -> None:
    here, wire = shell(element(atr=T0_ATR) if t0 else element(), level=level, t0=t0)
    fill(here)
    assert [one.aid for one in here.get_status(0x40)] == [INSTANCE]
    assert here.get_status(0x10)[0].modules == (MODULE,)
    assert here.get_status(0x80)[0].privileges >> 16 & 0x80
    here.set_status(0x40, 0x80, INSTANCE)
    here.set_status(0x40, 0x07, INSTANCE)
    here.set_status(0x80, 0x07)
    here.store(bytes.fromhex("DF0103010203"))
    here.delete(FILE)
    with pytest.raises(ForeignError, match="6A88"):
        here.get_status(0x40)
    assert here.get_status(0x80)[0].state == 0x07
    assert {command[0] for command in wire.sent(0xC0)} == ({0x00} if t0 else set())


def test_t0_asks_for_an_answer_after_9000_too() -> None:
    """Its plugin sends GET RESPONSE whenever the command had Le, and takes what comes for the result."""
    here, wire = shell(element(atr=T0_ATR), level=0x01, t0=True)
    here.install_for_load(FILE, ISD, len(CODE))
    here.load(CODE)
    answers = [answer for command, answer in wire.log if command[1] == 0xC0]
    assert answers[-1] == b"\0\x90\0"
    here.put_key(0x31, 1, NEW.enc)
    here.delete_key(0x31)
    assert wire.log[-1][0][1] == 0xC0


@pytest.mark.parametrize("i", [0x05, 0x15, 0x45, 0x55])
@pytest.mark.parametrize("level", [0x01, 0x03])
def test_scp02_is_used_where_the_card_names_it_first(i: int, level: int) -> None:
    wire = Wire(with_scp02(i).handle)
    here = GpShell(gppcsc(wire))
    here.select()
    here.recognition_data = lambda: [(2, i)]  # type: ignore[method-assign] # -scp -scpimpl of the script
    here.open(level)
    fill(here)
    here.put_channel_keys(0x22, NEW, aes=False)
    here.put_key(0x23, 1, NEW.enc, aes=False)
    assert {key[0] for key in here.key_information()} >= {0x20, 0x22, 0x23}


@pytest.mark.parametrize("element_kind", [0x80, 0x40, 0x20, 0x10])
@pytest.mark.parametrize("page", [0, 1])
def test_the_deprecated_form_tells_the_same(element_kind: int, page: int) -> None:
    here, _ = shell(element(page=page))
    fill(here)
    here.install(FILE, MODULE, SECOND)
    old = here.get_status(element_kind, deprecated=True)
    new = here.get_status(element_kind)
    assert [(one.aid, one.state, one.modules) for one in old] == [(one.aid, one.state, one.modules) for one in new]
    assert len(old) == (2 if element_kind == 0x40 else 1)


def test_a_list_longer_than_one_answer_is_joined() -> None:
    here, _ = shell(element())
    fill(here)
    for number in range(30):
        here.install(FILE, MODULE, INSTANCE + bytes((number,)))
    assert len(here.get_status(0x40)) == 31


@pytest.mark.parametrize("size", [0, 60, 120, 5000])
def test_load_has_le_on_its_last_command_only(size: int) -> None:
    code = package(FILE, [MODULE], size=size)
    here, wire = shell(element(), level=0x01)
    here.install_for_load(FILE, ISD, len(code), digest=hashlib.sha1(code).digest())
    here.load(code)
    with_le = [len(command) == command[4] + 6 for command in wire.sent(0xE8)]
    assert with_le == [False] * (len(with_le) - 1) + [True]


def test_a_domain_is_made_given_content_and_keys() -> None:
    card = element()
    here, _ = shell(card)
    fill(here)
    here.install(DOMAIN_FILE, DOMAIN_MODULE, DOMAIN, 0x80)
    here.extradite(INSTANCE, DOMAIN)
    assert {one.aid: one.domain for one in here.get_status(0x40)}[INSTANCE] == DOMAIN
    here.select(DOMAIN)
    here.open(0x13)
    here.put_channel_keys(0x30, NEW)
    own, _ = shell(card, level=None)
    own.keys = NEW
    own.select(DOMAIN)
    own.open(0x33)
    assert {one.aid for one in own.get_status(0x40)} == {DOMAIN, INSTANCE}


def test_an_installed_application_is_made_selectable_with_a_privilege_byte_of_00() -> None:
    here, _ = shell(element())
    here.install_for_load(FILE, ISD, len(CODE))
    here.load(CODE)
    data = lv(FILE) + lv(MODULE) + lv(INSTANCE) + lv(b"\0") + lv(b"\xc9\0") + b"\0"
    assert here.send(Plain(0x80, 0xE6, 0x04, 0x00, data, 256)).sw == 0x9000
    here.make_selectable(INSTANCE)
    assert here.get_status(0x40)[0].state == 0x07
    here.make_selectable(INSTANCE, 0x04)


def test_delete_names_one_object_and_several_are_refused_whole() -> None:
    """The library can put several 4F into one DELETE; the specification has one (GPCS 11.2.2.3.1), and so 6A80."""
    here, _ = shell(element())
    fill(here)
    here.install(FILE, MODULE, SECOND)
    with pytest.raises(ForeignError, match="6A80"):
        here.delete(INSTANCE, SECOND)
    assert len(here.get_status(0x40)) == 2
    here.delete(INSTANCE)
    assert [one.aid for one in here.get_status(0x40)] == [SECOND]


@pytest.mark.parametrize("inner_length", [True, False])
@pytest.mark.parametrize("size", [16, 24, 32])
def test_aes_keys_come_with_their_length_inside_or_without(size: int, *, inner_length: bool) -> None:
    card = element()
    here, _ = shell(card)
    here.inner_length = inner_length
    keys = Keys(*(bytes(range(start, start + size)) for start in (1, 2, 3)))
    here.put_channel_keys(0x31, keys)
    here.put_key(0x41, 1, keys.enc)
    assert (0x31, 2, 0x88, size) in here.key_information()
    here.put_channel_keys(0x32, keys, replaced=0x31)
    here.delete_key(0x41, 1)
    assert {key[0] for key in here.key_information()} == {0x32}
    here.select()
    here.keys = keys
    here.open(0x33, 0x32)


@pytest.mark.parametrize("bits", [1024, 2048])
@pytest.mark.parametrize("level", [0x01, 0x33])
def test_an_rsa_key_has_a_check_value_length_behind_each_component(bits: int, level: int) -> None:
    numbers = rsa.generate_private_key(65537, bits).public_key().public_numbers()
    here, wire = shell(element(), level=level)
    here.put_rsa_key(0x70, 1, numbers.n.to_bytes(bits // 8), b"\1\0\1")
    assert (0x70, 1, 0xA1, bits // 8) in here.key_information()
    assert len(wire.sent(0xD8)) == bits // 1024


def test_a_locked_card_is_opened_again() -> None:
    card = element(life_cycle=0x0F)
    here, _ = shell(card)
    here.set_status(0x80, 0x7F)
    with pytest.raises(ForeignError, match="6283"):
        shell(card)
    here = GpShell(gppcsc(card.handle))
    here.open(0x01)
    here.set_status(0x80, 0x0F)
    shell(card)
