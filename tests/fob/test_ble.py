"""The element of a fob through Bluetooth: SCP03 over `ble:`, beside the mesh services, connections that are lost."""

from __future__ import annotations

import importlib.util
import queue
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from keywright.crypto.ec import EcPrivateKey
from keywright.errors import LinkError, SequenceError, UsageError
from keywright.fob.ble import BleLink
from keywright.fob.fobs import simulated_fob
from keywright.fob.open import SimulatedLink, check_link, open_link, open_server
from keywright.globalplatform.host import card_state, get_status, identify, put_keys, secured
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.gatt import GattCard
from keywright.iso7816.layers import transmit
from keywright.link import base
from keywright.link.ble import Ble
from keywright.mesh.models.composition import Composition, Element
from keywright.mesh.pb_gatt.unit import GattUnit
from keywright.mesh.unit import Design, Unit
from keywright.sansio.dialogue import drive
from keywright.scp.scp03 import HostChannel, KeySet, open_channel
from keywright.store.memory import RamMemory
from support.cards import ECHO_AID, HOST_CHALLENGE, OWN, EchoApplet, element
from support.mesh import counting
from support.peers import require_peer

require_peer("bumble", importlib.util.find_spec("bumble") is not None, "pip install keywright[ble]")

SELECT_ECHO = Command(0x00, 0xA4, 0x04, 0x00, ECHO_AID, 0)


@pytest.fixture(scope="module")
def fob() -> Iterator[Ble]:
    with Ble() as ble:
        yield ble


def opened(link: base.Exchange, keys: KeySet, level: int = 0x33) -> HostChannel:
    return drive(open_channel(keys, HOST_CHALLENGE, level=level), transmit(link))


@pytest.mark.parametrize("mtu", [23, 247])
def test_scp03_personalises_the_element_of_a_fob(fob: Ble, mtu: int) -> None:
    card = element(applets=[EchoApplet()], kvn=0x30)
    serving = fob.serve(GattCard(card))
    with closing(open_link(f"ble:{fob.address}?mtu={mtu}")) as link:
        assert isinstance(link, base.Exchange)
        assert link.atr == card.atr
        assert drive(identify(), transmit(link)).uid
        send = transmit(link)
        session = opened(link, KeySet.gp_test())
        drive(secured(session, put_keys(session, OWN, kvn=0x31)), send)
        link.reset()
        session = drive(open_channel(OWN, HOST_CHALLENGE, kvn=0x31, level=0x33), send)
        assert drive(secured(session, card_state()), send) == 0x01
        assert drive(secured(session, get_status(0x80)), send)
        send(SELECT_ECHO)
        data = bytes(range(250))
        assert send(Command(0x80, 0x10, 0, 0, data * 8, 0)) == Response(b"\x80" + data * 8)
    with pytest.raises(LinkError, match="closed"):
        link.exchange(bytes(4))
    serving.stop()


def test_a_fob_shows_its_element_beside_its_mesh_radio(fob: Ble) -> None:
    card = element(kvn=0x30)
    unit = Unit(
        Design(bytes(range(16)), Composition(1, 2, 3, 10, 0, (Element(0, (0,)),))),
        RamMemory(),
        time.monotonic(),
        new_key=lambda: EcPrivateKey.generate("P-256"),
        random_bytes=counting(7),
        random=lambda: 0.5,
    )
    serving = fob.serve(GattUnit(unit), GattCard(card))
    with closing(open_link(f"ble:{fob.address}")) as link:
        assert drive(secured(opened(link, KeySet.gp_test()), card_state()), transmit(link)) == 0x01
    serving.stop()


def test_a_lost_connection_is_told_and_a_reset_connects_anew(fob: Ble) -> None:
    card = element(kvn=0x30)
    serving = fob.serve(GattCard(card))
    with closing(open_link(f"ble:{fob.address}")) as link:
        session = opened(link, KeySet.gp_test())
        serving.stop()
        with pytest.raises(LinkError) as caught:
            drive(secured(session, card_state()), transmit(link))
        assert caught.value.delivered is None
        with pytest.raises(LinkError) as caught:
            link.exchange(bytes.fromhex("00A4040000"))
        assert caught.value.delivered is False
        serving = fob.serve(GattCard(card))
        assert link.reset() == card.atr
        with pytest.raises(SequenceError, match="channel is closed"):
            drive(secured(session, card_state()), transmit(link))
        assert drive(secured(opened(link, KeySet.gp_test()), card_state()), transmit(link)) == 0x01
    serving.stop()


def test_the_only_fob_that_is_heard_needs_no_name(fob: Ble) -> None:
    with pytest.raises(LinkError, match="no fob"):
        open_link("ble:")
    serving = fob.serve(GattCard(element(kvn=0x30)))
    with closing(open_link("ble:")) as link:
        assert link.name == f"ble:{fob.address}"
    serving.stop()


@pytest.mark.parametrize("mtu", ["22", "518", "x", "1e2"])
def test_an_mtu_that_no_connection_has(mtu: str) -> None:
    with pytest.raises(UsageError, match="mtu is 23 to 517"):
        open_link(f"ble:C0:00:00:00:00:01?mtu={mtu}")


def test_a_ble_uri_is_real_hardware_to_whoever_asks() -> None:
    assert not check_link("ble:C0:00:00:00:00:01?hci=usb:0").is_simulated


def test_a_link_that_was_never_there(fob: Ble) -> None:
    with pytest.raises(LinkError):
        BleLink(fob, "C0:00:00:00:00:09", timeout_s=0.2)


def test_a_simulated_fob_can_be_reached_through_virtual_controllers_alone() -> None:
    link = open_link("sim:fob?transport=ble&serial=SIM-000008")
    assert isinstance(link, SimulatedLink)
    assert link.exchange(bytes.fromhex("80CA9F7F00")) == simulated_fob("SIM-000008", RamMemory()).handle(
        bytes.fromhex("80CA9F7F00")
    )
    assert link.reset() == link.atr
    assert drive(secured(opened(link, KeySet.gp_test()), card_state()), transmit(link)) == 0x01
    for _ in range(2):
        link.close()
    with pytest.raises(LinkError, match="closed"):
        link.exchange(bytes(4))


def test_a_link_over_bluetooth_without_bumble_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bumble", None)
    for use in (check_link, open_link):
        with pytest.raises(UsageError) as caught:
            use("sim:fob?transport=ble")
        assert caught.value.hint == "install keywright[ble]"


def test_a_simulated_fob_is_served_and_personalised() -> None:
    """What `element serve` and `card` do, each at a controller of its own."""
    with closing(open_link("sim:fob?serial=SIM-000007")) as behind:
        assert isinstance(behind, SimulatedLink)
        server = open_server("ble:", behind.element)
        ready: queue.Queue[str] = queue.Queue()
        thread = threading.Thread(target=server.serve, args=(ready.put,))
        thread.start()
        try:
            with closing(open_link(ready.get(timeout=10.0))) as link:
                send = transmit(link)
                keys = KeySet.gp_test()
                session = opened(link, keys)
                drive(secured(session, put_keys(session, OWN, kvn=0x31)), send)
                session = drive(open_channel(OWN, HOST_CHALLENGE, kvn=0x31, level=0x33), send)
                assert drive(secured(session, card_state()), send) == 0x01
        finally:
            server.stop()
            thread.join(10.0)
            server.close()
    assert not thread.is_alive()
    with pytest.raises(UsageError, match="one device"):
        open_server("ble:", element(), element())
