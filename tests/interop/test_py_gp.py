"""Py-GP, a foreign host from PyPI, manages the element: SCP02 and SCP03, T=0 and T=1, channels, content, keys, data."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from interop.cards import T0_ATR, with_scp02
from interop.foreign import Wire
from interop.pcscd import Insert, connected
from interop.py_gp import KEY, T0, T1, PyGp, pygp
from keywright.element import SecureElement
from support.cards import ISD, element
from support.content import DOMAIN, DOMAIN_FILE, DOMAIN_MODULE, FILE, INSTANCE, MODULE, package

pytestmark = pytest.mark.filterwarnings("ignore")
"""Those of code from 2018."""
pygp()

NEW = bytes(range(16)).hex().upper()
SESSIONS = [("03", 0x01), ("03", 0x03), ("02", 0x01), ("02", 0x03)]
CODE = package(FILE, [MODULE], size=700)


def text(data: bytes) -> str:
    """Hex as Py-GP has it."""
    return data.hex().upper()


def card_for(scp: str, **parameters: object) -> SecureElement:
    """An element whose first keys are for this protocol."""
    return with_scp02(0x55, **parameters) if scp == "02" else element(rng=os.urandom, **parameters)


@pytest.fixture
def ijc(tmp_path: Path) -> str:
    """A load file as Py-GP reads it: bare components."""
    path = tmp_path / "applet.ijc"
    path.write_bytes(CODE)
    return str(path)


@pytest.fixture(params=[T1, T0], ids=["T=1", "T=0"])
def protocol(request: pytest.FixtureRequest) -> int:
    """What Py-GP believes to speak; the element has the answer to reset for it."""
    found: int = request.param
    return found


def atr(protocol: int) -> dict[str, bytes]:
    """Parameters of an element for a protocol."""
    return {"atr": T0_ATR} if protocol == T0 else {}


def test_it_reads_cplc_keys_and_card_data_before_a_session(protocol: int) -> None:
    here = PyGp(element(**atr(protocol)).handle, protocol)
    here.select_isd()
    here.get_cplc()
    assert here.key_list() == [("01", "FF", "10", "88"), ("02", "FF", "10", "88"), ("03", "FF", "10", "88")]
    assert here.get_data("0066").startswith("66")


@pytest.mark.parametrize("level", [0x00, 0x01, 0x03, 0x33])
def test_scp03_opens_at_every_level_and_reads_the_registry(level: int) -> None:
    here = PyGp(element().handle)
    here.enter("03", level)
    assert [entry["aid"] for entry in here.listed("80")] == [text(ISD)]


@pytest.mark.parametrize(("scp", "level"), SESSIONS)
def test_content_is_loaded_used_and_deleted(scp: str, level: int, protocol: int, ijc: str) -> None:
    wire = Wire(card_for(scp, **atr(protocol)).handle)
    here = PyGp(wire, protocol)
    here.enter(scp, level)
    here.upload_install(ijc, text(ISD), text(MODULE), text(INSTANCE))
    assert [entry["aid"] for entry in here.listed("40")] == [text(INSTANCE)]
    assert here.listed("10")[0]["module_aid"] == text(MODULE)
    here.set_app_state("80", text(INSTANCE))
    assert here.listed("40")[0]["lifecycle"] == "87"
    here.set_app_state("00", text(INSTANCE))
    here.set_status("80", "07", "")
    here.delete(text(INSTANCE))
    here.delete_package(text(FILE))
    assert [entry["lifecycle"] for entry in here.listed("80")] == ["07"]
    assert bool(wire.sent(0xC0)) == (protocol == T0)


@pytest.mark.parametrize("level", [0x11, 0x13])
def test_it_checks_the_mac_of_every_answer(level: int, protocol: int, ijc: str) -> None:
    """Without reading lists: at these levels it takes the MAC for data once it has checked it."""
    here = PyGp(element(**atr(protocol)).handle, protocol)
    here.enter("03", level)
    here.upload_install(ijc, text(ISD), text(MODULE), text(INSTANCE))
    here.set_app_state("80", text(INSTANCE))
    here.set_app_state("00", text(INSTANCE))
    here.store_data("DF 01 03 01 02 03")
    here.delete_package(text(FILE))


@pytest.mark.parametrize(("scp", "level"), SESSIONS)
def test_a_domain_is_made_locked_and_given_content(scp: str, level: int, ijc: str) -> None:
    here = PyGp(card_for(scp).handle)
    here.enter(scp, level)
    here.upload_install(ijc, text(ISD), text(MODULE), text(INSTANCE))
    here.install(True, text(DOMAIN_FILE), text(DOMAIN_MODULE), text(DOMAIN), application_privileges=["SD"])
    here.extradite(text(DOMAIN), text(INSTANCE))
    here.registry_update(text(DOMAIN), text(INSTANCE), ["CR"])
    assert {entry["aid"]: entry["privileges"] for entry in here.listed("40")} == {
        text(INSTANCE): "040000",
        text(DOMAIN): "800000",
    }
    here.set_sd_state("80", text(DOMAIN))
    assert [entry["lifecycle"] for entry in here.listed("40")] == ["87", "87"]
    here.set_sd_state("00", text(DOMAIN))


@pytest.mark.parametrize(("scp", "kind"), [("03", "AES"), ("02", "DES")])
def test_keys_are_put_used_and_replaced(scp: str, kind: str, protocol: int) -> None:
    card = card_for(scp, **atr(protocol))
    here = PyGp(card.handle, protocol)
    here.enter(scp, 0x01)
    for kid in "123":
        here.set_key(f"31/{kid}/{kind}/{NEW}")
    here.set_key(f"32/1/{kind}/{NEW}")
    here.put_scp_key("31")
    here.put_key("32", "1")
    assert [entry[1] for entry in here.key_list()].count("31") == 3
    again = PyGp(card.handle, protocol)
    again.enter(scp, 0x03, "31", NEW)
    for kid in "123":
        again.set_key(f"31/{kid}/{kind}/{KEY}")
    again.put_scp_key("31", True)
    PyGp(card.handle, protocol).enter(scp, 0x03, "31", KEY)


@pytest.mark.parametrize(("scp", "level"), SESSIONS)
def test_data_are_stored_in_blocks_and_read(scp: str, level: int, protocol: int) -> None:
    here = PyGp(card_for(scp, **atr(protocol)).handle, protocol)
    here.enter(scp, level)
    here.store_data("DF 01 03 01 02 03")
    here.store_data("DF 02 81 F0 " + "AB" * 240)
    here.select_isd()
    assert here.get_data("DF01").startswith("DF0103010203")
    assert here.get_data("DF02").upper().startswith("DF0281F0" + "AB" * 240)


@pytest.mark.parametrize("scp", ["02", "03"])
def test_a_session_runs_on_another_channel(scp: str, protocol: int) -> None:
    here = PyGp(card_for(scp, **atr(protocol)).handle, protocol)
    here.select_isd()
    here.manage_channel(True)
    here.select_isd(1)
    here.auth(KEY, KEY, KEY, scp=scp, keysetversion="00", securitylevel=0x03)
    assert [entry["aid"] for entry in here.listed("80")] == [text(ISD)]
    here.manage_channel(False, 1)


@pytest.mark.parametrize("scp", ["02", "03"])
def test_wrong_keys_stop_it_before_anything_is_authenticated(scp: str) -> None:
    wire = Wire(card_for(scp).handle)
    with pytest.raises(BaseException, match="card cryptogram"):
        PyGp(wire).enter(scp, 0x01, "00", NEW)
    assert wire.sent(0x82) == []


def test_a_refusal_reaches_it_as_the_status_that_it_names() -> None:
    here = PyGp(element().handle)
    here.enter("03", 0x01)
    with pytest.raises(BaseException, match="Referenced data not found"):
        here.delete(text(INSTANCE))


def test_it_manages_the_card_in_a_reader(insert: Insert, protocol: int, ijc: str) -> None:
    """Over pyscard, pcscd and the virtual reader, no layer of ours between them and the element."""
    insert(element(**atr(protocol)))
    with connected(protocol) as transmit:
        here = PyGp(transmit, protocol)
        here.enter("03", 0x03)
        here.upload_install(ijc, text(ISD), text(MODULE), text(INSTANCE))
        assert [entry["aid"] for entry in here.listed("40")] == [text(INSTANCE)]
        here.delete_package(text(FILE))
