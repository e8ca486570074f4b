"""pySim-shell, as a model, against the element: over T=1, and over T=0 in TPDU mode as pySim asks its reader for it.

Sources of the model: osmocom/pysim, files named in `pysim_host.py`.
"""

from __future__ import annotations

import os

import pytest

from interop.cards import T0_ATR, with_scp02
from interop.foreign import ForeignError, Keys, Wire
from interop.pysim_host import AES, DES, PSK, PySim
from interop.transports import pysim
from keywright.element import SecureElement
from support.cards import ISD, element
from support.content import DOMAIN, DOMAIN_FILE, DOMAIN_MODULE, FILE, INSTANCE, MODULE, package

CODE = package(FILE, [MODULE], size=700)
NEW = Keys(bytes(range(16)), bytes(range(16, 32)), bytes(range(32, 48)))


def shell(card: SecureElement, *, scp: int = 3, level: int = 0x01, size: int = 8) -> tuple[PySim, Wire]:
    """pySim in the issuer domain with a session."""
    wire = Wire(card.handle)
    here = PySim(pysim(wire), size=size)
    assert here.select(ISD) == ISD
    here.establish(scp, level)
    return here, wire


@pytest.mark.parametrize("p2", [0x00, 0x04, 0x08, 0x0C])
def test_select_may_ask_for_any_template_or_none(p2: int) -> None:
    card = element()
    answer = card.handle(bytes((0x00, 0xA4, 0x04, p2, len(ISD))) + ISD + b"\0")
    assert answer[-2:] == b"\x90\0"


@pytest.mark.parametrize("tag", [0x42, 0x45, 0x66, 0xE0, 0xC1, 0x67, 0xFF21])
def test_get_data_reads_the_objects_that_it_knows(tag: int) -> None:
    """All but the list of applications: pySim takes 2F00 for a tag of its own around the 61 templates, which it is not
    (2F 00 is an empty object in BER; GPCS 11.3.3.1 has the templates alone).
    """
    here, _ = shell(element())
    assert here.get_data(tag)


@pytest.mark.parametrize("level", [0x01, 0x03, 0x11, 0x13, 0x33])
@pytest.mark.parametrize("t0", [False, True], ids=["T=1", "T=0"])
def test_scp03_manages_content(level: int, *, t0: bool) -> None:
    here, wire = shell(element(atr=T0_ATR) if t0 else element(), level=level)
    here.install_for_load(FILE)
    if level & 2:
        with pytest.raises(ForeignError, match="modified Lc"):
            here.load(CODE)
        return
    here.load(CODE)
    here.install_for_install(FILE, MODULE, INSTANCE)
    assert here.get_status(0x40)[0][0x4F] == INSTANCE
    assert [entry[0x4F] for entry in here.get_status(0x10, FILE[:3])] == [FILE]
    here.set_status(0x40, 0x80, INSTANCE)
    here.set_status(0x40, 0x07, INSTANCE)
    here.set_status(0x80, 0x07)
    here.delete(FILE, related=True)
    assert here.get_status(0x40) == []
    assert {command[0] for command in wire.sent(0xC0)} == ({0x00, 0x80, 0x84} if t0 else set())


@pytest.mark.parametrize("i", [0x15, 0x55])
@pytest.mark.parametrize("level", [0x01, 0x03])
def test_scp02_manages_content(i: int, level: int) -> None:
    here, _ = shell(with_scp02(i), scp=2, level=level)
    here.install_for_load(FILE)
    here.load(package(FILE, [MODULE], size=100))
    here.install_for_install(FILE, MODULE, INSTANCE, parameters=bytes.fromhex("C900EF08C7020010C8020020"))
    here.install_for_install(DOMAIN_FILE, DOMAIN_MODULE, DOMAIN, privileges=b"\x80")
    assert {entry[0x4F]: entry[0xC5] for entry in here.get_status(0x40)} == {
        INSTANCE: bytes(3),
        DOMAIN: bytes.fromhex("800000"),
    }
    here.put_key(0x25, 1, [(DES, NEW.enc), (DES, NEW.mac), (DES, NEW.dek)])
    here.delete(INSTANCE)
    here.delete(DOMAIN)


def test_s16_is_asked_for() -> None:
    here, _ = shell(element(i=0x71), size=16, level=0x33)
    assert here.get_status(0x80)[0][0x4F] == ISD


@pytest.mark.parametrize("page", [0, 1])
def test_a_tag_list_leaves_out_what_it_does_not_name(page: int) -> None:
    here, _ = shell(element(page=page))
    here.install_for_load(FILE)
    here.load(CODE)
    here.install_for_install(FILE, MODULE, INSTANCE)
    here.install_for_install(DOMAIN_FILE, DOMAIN_MODULE, DOMAIN, privileges=b"\x80")
    found = here.get_status(0x40)
    assert [set(entry) for entry in found] == [{0x4F, 0x9F70, 0xC5, 0xCC}] * 2
    assert {0xC4, 0x84, 0xCE}.isdisjoint(here.get_status(0x10)[0])


def test_a_domain_is_made_personalised_and_entered() -> None:
    card = element()
    here, _ = shell(card)
    here.install_for_install(DOMAIN_FILE, DOMAIN_MODULE, DOMAIN, privileges=b"\x80", parameters=bytes.fromhex("C900"))
    here.install_for_personalization(DOMAIN)
    here.store_data(bytes.fromhex("DF0103010203"))
    inside = PySim(pysim(card.handle))
    inside.select(DOMAIN)
    inside.establish(3, 0x01)
    inside.put_key(0x30, 1, [(AES, key) for key in NEW])
    own = PySim(pysim(card.handle), NEW, kvn=0x30)
    own.select(DOMAIN)
    own.establish(3, 0x33)
    assert own.get_data(0xDF01) == bytes.fromhex("010203")


@pytest.mark.parametrize("size", [16, 24, 32])
@pytest.mark.parametrize("check", [True, False])
def test_aes_keys_carry_a_length_only_where_they_were_filled_up(size: int, *, check: bool) -> None:
    here, _ = shell(element())
    told = here.put_key(0x31, 1, [(AES, os.urandom(size)) for _ in range(3)], check=check)
    assert told[0] == 0x31
    assert len(told) in (1, 10)
    assert sum(entry.startswith(bytes((1, 0x31))) for entry in _key_entries(here)) == 1


def test_keys_for_over_the_air_use_are_put_together() -> None:
    here, _ = shell(element())
    here.put_key(0x01, 1, [(AES, key) for key in NEW])
    here.put_key(0x40, 1, [(PSK, bytes(range(16))), (DES, bytes(range(16, 32)))])
    assert {entry[:4] for entry in _key_entries(here)} >= {bytes.fromhex("01408510"), bytes.fromhex("02408010")}
    here.put_key(0x40, 2, [(DES, bytes(range(32, 48)))], old=0x40)


@pytest.mark.parametrize("related", [False, True])
def test_keys_are_deleted_by_identifier_by_version_and_by_both(*, related: bool) -> None:
    here, _ = shell(element())
    for kvn in (0x31, 0x32, 0x33):
        here.put_key(kvn, 1, [(AES, key) for key in NEW])
    here.put_key(0x41, 5, [(AES, NEW.enc)])
    here.put_key(0x42, 5, [(AES, NEW.enc)])
    here.delete_key(kvn=0x33, related=related)
    here.delete_key(kid=5, kvn=0x42, related=related)
    assert {entry[1] for entry in _key_entries(here)} == {0x31, 0x32, 0x41}
    here.delete_key(kid=5, related=related)
    assert {entry[1] for entry in _key_entries(here)} == {0x31, 0x32}


@pytest.mark.parametrize("structure", [0, 1, 2], ids=["none", "dgi", "ber-tlv"])
@pytest.mark.parametrize("response", [False, True])
@pytest.mark.parametrize("size", [3, 200, 500])
def test_data_are_stored_in_every_structure(structure: int, size: int, *, response: bool) -> None:
    here, _ = shell(element())
    value = os.urandom(size)
    if structure == 1:
        length = bytes((size,)) if size < 0xFF else b"\xff" + size.to_bytes(2)
    else:
        length = bytes((size,)) if size < 0x80 else b"\x82" + size.to_bytes(2)
    here.store_data(b"\xdf\x01" + length + value, structure=structure, response=response)
    assert here.get_data(0xDF01) == value


def _key_entries(here: PySim) -> list[bytes]:
    data = here.get_data(0xE0)
    found = []
    while data:
        found.append(data[2 : 2 + data[1]])
        data = data[2 + data[1] :]
    return found
