"""A station of fobs that are reached by Bluetooth: chips and radios over GATT, power that is cut, hosts that go."""

from __future__ import annotations

import contextlib
import importlib.util
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from keywright.errors import LinkError
from keywright.fob.ble_station import BleStation
from keywright.fob.fobs import ble_address, simulated_fob
from keywright.fob.mesh_device import uuid_of
from keywright.fob.mesh_model import Carrier, Heard, Sent
from keywright.fob.pool import COMMAND, Cut, FobPool, Plan, frame
from keywright.fob.tray import serve
from keywright.iso7816.gatt import GattCard
from keywright.link.ble import Ble
from keywright.mesh.beacons import ServiceData
from keywright.mesh.identities import parse_advertisement
from keywright.store.memory import RamMemory
from support.peers import require_peer

require_peer("bumble", importlib.util.find_spec("bumble") is not None, "pip install keywright[ble]")

CPLC = bytes.fromhex("80CA9F7F00")
INVITE = bytes.fromhex("030000")
"""A whole Proxy PDU with Provisioning Invite."""
CUTS = {"CUT": Cut(0xCA, nth=2, commit=0)}


@pytest.fixture(scope="module")
def station(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BleStation]:
    """Fobs in a thread of this process, on its virtual air, and a host that joined it at the socket."""
    with tray(tmp_path_factory.mktemp("air") / "air") as (pool, air):
        one = BleStation(f"unix:{air}", ble_address, hand=pool)
        yield one
        one.close()


@contextlib.contextmanager
def tray(air: Path) -> Iterator[tuple[FobPool, Path]]:
    ours, theirs = socket.socketpair()
    with theirs:
        thread = threading.Thread(target=serve, args=(theirs,))
        thread.start()
        ours.sendall(frame(COMMAND, "", msgspec.json.encode(Plan(ble=str(air), cuts=CUTS))))
        pool = FobPool(ours)
        try:
            pool.wait_until_listening()
            yield pool, air
        finally:
            pool.close()
            thread.join(20.0)
    assert not thread.is_alive()


def answers(station: BleStation) -> list[tuple[str, bytes | LinkError]]:
    found: list[tuple[str, bytes | LinkError]] = []
    while station.waiting:
        some = station.receive(limit_s=60.0)
        assert some, "an answer is owed and does not come"
        found += some
    return found


def answer(station: BleStation) -> bytes | LinkError:
    ((_, one),) = answers(station)
    return one


def on_air(
    station: BleStation, carrier: Carrier, *frames: bytes, connects: bool = False, wait_s: float = 5.0
) -> Heard | LinkError:
    station.submit_air("A", msgspec.msgpack.encode(Sent(frames, wait_s, carrier, connects)))
    got = answer(station)
    return got if isinstance(got, LinkError) else msgspec.msgpack.decode(got, type=Heard)


def test_many_fobs_at_once_and_the_answers_of_each_in_order(station: BleStation) -> None:
    names = [f"F{n}" for n in range(station.width)]
    for name in names:
        station.power_on(name)
        station.submit(name, CPLC)
        station.submit(name, bytes.fromhex("80CA006600"))
    found = answers(station)
    for name in names:
        chip = simulated_fob(name, RamMemory())
        assert [got for of, got in found if of == name] == [
            chip.reset(),
            chip.handle(CPLC),
            chip.handle(bytes.fromhex("80CA006600")),
        ]
        station.power_off(name)
    assert station.receive(block=False) == []


def test_a_fob_that_nobody_switched_on_is_before_its_first_command(station: BleStation) -> None:
    station.submit("B", CPLC)
    assert answer(station) == simulated_fob("B", RamMemory()).handle(CPLC)


def test_power_that_is_cut_is_a_lost_answer_and_then_no_answer_until_it_is_back(station: BleStation) -> None:
    station.power_on("CUT")
    for _ in range(3):
        station.submit("CUT", CPLC)
    _, (_, first), (_, cut), (_, after) = answers(station)
    assert isinstance(first, bytes)
    assert isinstance(cut, LinkError)
    assert cut.delivered is None
    assert isinstance(after, LinkError)
    assert after.delivered is False
    station.power_on("CUT")
    station.submit("CUT", CPLC)
    assert [got for _, got in answers(station)] == [simulated_fob("CUT", RamMemory()).atr, first]


def test_the_radio_is_heard_connected_to_and_then_the_chip_is_not_there(station: BleStation) -> None:
    station.power_on("A")
    assert isinstance(answer(station), bytes)
    heard = on_air(station, "advertising")
    assert isinstance(heard, Heard)
    said = parse_advertisement(heard.frames[0])
    assert isinstance(said, ServiceData)
    assert said.uuid == uuid_of("A")
    silent = on_air(station, "provisioning", INVITE)
    assert isinstance(silent, LinkError), "it was not connected to"
    heard = on_air(station, "provisioning", connects=True, wait_s=0.0)
    assert isinstance(heard, Heard)
    assert (heard.mtu, heard.frames) == (247, ())
    heard = on_air(station, "provisioning", INVITE)
    assert isinstance(heard, Heard)
    assert heard.frames[0][:2] == bytes.fromhex("0301"), "Capabilities"
    no_node = on_air(station, "proxy", connects=True)
    assert isinstance(no_node, LinkError)
    assert "no service 1828" in str(no_node)
    pb_adv = on_air(station, "advertising", b"frame")
    assert isinstance(pb_adv, LinkError)
    assert "no PB-ADV" in str(pb_adv)
    station.submit("A", CPLC)
    gone = answer(station)
    assert isinstance(gone, LinkError)
    assert gone.delivered is False


def test_the_tray_itself_gives_no_other_way_to_a_fob(tmp_path: Path) -> None:
    with tray(tmp_path / "air") as (pool, _):
        pool.power_on("A")
        assert pool.receive() == [("A", simulated_fob("A", RamMemory()).atr)]
        pool.submit("A", CPLC)
        pool.submit_air("A", msgspec.msgpack.encode(Sent((), 0.1)))
        refused: list[tuple[str, bytes | LinkError]] = []
        while len(refused) < 2:
            refused += pool.receive()
        assert all("Bluetooth alone" in str(one) for _, one in refused if isinstance(one, LinkError))
        assert not [one for _, one in refused if isinstance(one, bytes)]


def test_a_host_without_its_fobs_says_so(tmp_path: Path) -> None:
    with tray(tmp_path / "air") as (pool, air):
        station = BleStation(f"unix:{air}", ble_address, hand=pool)
        station.power_on("A")
        assert isinstance(answer(station), bytes)
        pool._sock.shutdown(socket.SHUT_RDWR)
        station.power_on("A")
        with pytest.raises(LinkError, match="simulated fobs"):
            answers(station)
        station.close()


def test_without_simulation_a_station_learns_where_its_fobs_are() -> None:
    chip = simulated_fob("R", RamMemory())
    with Ble() as fob:
        serving = fob.serve(GattCard(chip))
        station = BleStation("", connect_s=0.2)
        station.power_on("R")
        unknown = answer(station)
        assert isinstance(unknown, LinkError)
        assert unknown.delivered is False
        station.learn("R", "C0:00:00:00:00:09")
        station.power_on("R")
        assert "nobody answers" in str(answer(station))
        station.learn("R", fob.address)
        station.power_on("R")
        station.submit("R", CPLC)
        assert [got for _, got in answers(station)] == [chip.atr, chip.handle(CPLC)]
        station.close()
        serving.stop()


def test_an_address_of_a_simulated_fob_is_random_static_and_its_own() -> None:
    addresses = {ble_address(f"KW-{n:06d}") for n in range(500)}
    assert len(addresses) == 500
    assert all(int(address[:2], 16) >= 0xC0 for address in addresses)
