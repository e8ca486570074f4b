"""A lot on one link, as on a real reader: devices come one after the other, in any order, and are known again."""

from __future__ import annotations

from pathlib import Path

import pytest

from keywright.element import SecureElement
from keywright.errors import LinkError
from keywright.fob.fobs import chip_serial, simulated_fob
from keywright.production import campaign
from keywright.production.campaign import Run
from keywright.production.means import Means
from keywright.production.stations import LinkStation
from keywright.production.unit_store.units import UnitStore
from keywright.store import RamMemory
from support.ledger import FOB, NOW, keystore
from support.named_orders import uid_of

EMPTY = "empty"


class Reader:
    """One link; `put` changes the device on it. `dead` is how many commands more are answered at all."""

    name = "reader"
    extended = True

    def __init__(self) -> None:
        self.devices: dict[str, SecureElement] = {}
        self.on_it = EMPTY
        self.answers_left: int | None = None
        self.closed = False

    def put(self, chip: str) -> None:
        """The device of that chip, or nothing."""
        self.on_it = chip
        if chip != EMPTY and chip not in self.devices:
            self.devices[chip] = simulated_fob(chip, RamMemory())

    @property
    def atr(self) -> bytes:
        return b""

    def exchange(self, command: bytes, /) -> bytes:
        if self.answers_left is not None:
            self.answers_left -= 1
            if self.answers_left < 0:
                raise LinkError("the card was removed", None)
        return self._device().handle(command)

    def reset(self) -> bytes:
        return self._device().reset()

    def close(self) -> None:
        self.closed = True

    def _device(self) -> SecureElement:
        if self.on_it == EMPTY:
            raise LinkError("no card in the reader", False)
        return self.devices[self.on_it]


class Hands:
    """Puts one device after the other on the reader; keeps what it was asked for and told."""

    def __init__(self, reader: Reader, *chips: str) -> None:
        self._reader = reader
        first, *self._chips = chips
        reader.put(first)
        self.asked: list[tuple[str, str]] = []

    def __call__(self, serial: str, note: str) -> bool:
        self.asked.append((serial, note))
        if not self._chips:
            return False
        self._reader.put(self._chips.pop(0))
        return True


class Place:
    """A lot of three units and one reader."""

    def __init__(self, folder: Path) -> None:
        self.reader = Reader()
        self.folder = folder
        self.store = str(folder / "lot.db")
        (folder / "fob.toml").write_text(FOB, encoding="utf-8")
        rows = "".join(f"K-{n},fob-one,north\n" for n in (1, 2, 3))
        (folder / "fob.csv").write_text(f"serial,model,owner_group\n{rows}", encoding="utf-8")

    def means(self, hands: Hands | None) -> Means:
        return Means(station=LinkStation(self.reader), opened_keystore=keystore(), clock=lambda: NOW, swap=hands)

    def run(self, hands: Hands | None) -> Run:
        return campaign.run(self.folder / "fob.toml", self.folder / "fob.csv", self.store, self.means(hands))

    def chips(self) -> dict[str, str]:
        """Serial -> state of every unit."""
        with UnitStore.open(self.store, readonly=True) as store:
            return {unit.serial: unit.state for unit in store.units()}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_devices_become_units_in_the_order_of_the_order(place: Place) -> None:
    hands = Hands(place.reader, "a", "b", "c")
    done = place.run(hands)
    assert (done.summary.sealed, done.exit_code) == (3, 0)
    assert hands.asked == [("K-2", ""), ("K-3", "")]
    assert [device.life_cycle for device in place.reader.devices.values()] == [0x0F] * 3


def test_without_hands_the_device_that_is_there_is_the_only_one(place: Place) -> None:
    place.reader.put("a")
    done = place.run(None)
    assert (done.summary.sealed, done.summary.open, done.exit_code) == (1, 2, 1)


def test_hands_that_stop_leave_the_rest_for_the_next_run(place: Place) -> None:
    assert place.run(Hands(place.reader, "a")).exit_code == 1
    done = place.run(Hands(place.reader, "b", "c"))
    assert (done.summary.sealed, done.exit_code) == (3, 0)


def test_a_device_that_is_done_is_told_by_name_and_not_touched(place: Place) -> None:
    hands = Hands(place.reader, "a", "a", "b", "c")
    assert place.run(hands).exit_code == 0
    assert hands.asked == [("K-2", ""), ("K-2", "this one is K-1, sealed"), ("K-3", "")]
    assert place.reader.devices["a"].attempts == 6


def test_a_device_that_was_begun_is_its_unit_again_whenever_it_comes(place: Place) -> None:
    place.reader.answers_left = 30
    first = place.run(Hands(place.reader, "a"))
    assert (first.outcome.left_open, first.summary.running) == (1, 1)
    place.reader.answers_left = None
    hands = Hands(place.reader, "b", "a", "c")
    done = place.run(hands)
    assert (done.summary.sealed, done.exit_code) == (3, 0)
    place.reader.devices["a"].reset()
    with UnitStore.open(place.store, readonly=True) as store:
        unit = store.unit(1)
        assert unit is not None
        assert unit.kdd == place.reader.devices["a"].handle(bytes.fromhex("00CA00CF00"))[:-2]


def test_an_empty_reader_is_said_and_another_device_asked_for(place: Place) -> None:
    hands = Hands(place.reader, EMPTY, "a", EMPTY, "b", "c")
    assert place.run(hands).exit_code == 0
    notes = [note for _, note in hands.asked]
    assert notes == ["no card in the reader", "", "no card in the reader", ""]


def test_an_empty_reader_without_hands_is_recorded_as_the_failure_of_the_next_unit(place: Place) -> None:
    run = place.run(None)
    assert run.exit_code == 1
    assert run.outcome.left_open == 1
    with UnitStore.open(str(place.store), readonly=True) as store:
        unit = store.unit(1)
        assert unit is not None
        assert (unit.state, unit.failure_code) == ("planned", "link")
        assert "no card in the reader" in unit.failure_text
        assert [event.step for event in store.events(1)] == ["link"] * 3


def test_a_device_too_many_is_named_when_only_a_begun_unit_is_left(place: Place) -> None:
    place.run(Hands(place.reader, "a", "b"))
    place.reader.answers_left = 30
    place.run(Hands(place.reader, "c"))
    place.reader.answers_left = None
    hands = Hands(place.reader, "d", "c")
    assert place.run(hands).exit_code == 0
    assert hands.asked == [("K-3", "this device belongs to no unit that is left")]
    assert place.reader.devices["d"].attempts == 0


def test_every_sealed_device_is_checked_as_it_comes(place: Place) -> None:
    place.run(Hands(place.reader, "a", "b", "c"))
    hands = Hands(place.reader, "c", EMPTY, "x", "c", "a", "b")
    found = campaign.verify(place.store, place.means(hands))
    assert (found.checked, found.agree, found.disagree) == (3, 3, 0)
    assert [note for _, note in hands.asked] == [
        "",
        "no card in the reader",
        "this device is no sealed unit that is left to check",
        "this device is no sealed unit that is left to check",
        "",
    ]


def test_verify_without_hands_checks_the_one_device_that_is_there(place: Place) -> None:
    place.run(Hands(place.reader, "a", "b", "c"))
    place.reader.put("b")
    found = campaign.verify(place.store, place.means(None))
    assert (found.checked, found.agree) == (1, 1)
    place.reader.put(EMPTY)
    with pytest.raises(LinkError):
        campaign.verify(place.store, place.means(None))


def test_check_on_one_link_looks_at_the_device_that_is_there(place: Place) -> None:
    place.reader.put("a")
    (found,) = campaign.check(place.folder / "fob.toml", place.folder / "fob.csv", place.means(None))
    assert (found.serial, found.problem) == ("K-1", "")
    assert not Path(place.store).exists()


def test_a_station_gives_every_answer_once_and_closes_its_link() -> None:
    reader = Reader()
    reader.put("a")
    station = LinkStation(reader)
    station.submit("a", bytes.fromhex("80CA9F7F00"))
    station.power_on("a")
    reader.put(EMPTY)
    station.submit("a", bytes.fromhex("80CA9F7F00"))
    station.power_on("a")
    station.power_off("a")
    station.flush()
    assert station.waiting == 4
    kinds = [type(answer) for _, answer in station.receive()]
    assert kinds == [bytes, bytes, LinkError, LinkError]
    assert station.receive(block=False) == []
    station.close()
    assert reader.closed


def test_a_device_that_the_order_names_is_its_unit_whichever_comes_first(place: Place) -> None:
    """Units 1 to 3 are for chips a to c; another chip is nobody's."""
    rows = "".join(f"K-{n},fob-one,north,{chip_serial(chip).hex()},{uid_of(chip)}\n" for n, chip in enumerate("abc", 1))
    (place.folder / "fob.csv").write_text(f"serial,model,owner_group,kdd,uid\n{rows}", encoding="utf-8")
    campaign.prepare(place.folder / "fob.toml", place.folder / "fob.csv", place.store, place.means(None))
    hands = Hands(place.reader, "c", "x", "a", "b")
    assert place.run(hands).exit_code == 0
    assert [note for _, note in hands.asked if note] == [
        f"this device ({uid_of('x')}) is not the one that the order names"
    ]
    with UnitStore.open(place.store, readonly=True) as store:
        assert {unit.serial: (unit.kdd or b"") for unit in store.units()} == {
            f"K-{n}": chip_serial(chip) for n, chip in enumerate("abc", 1)
        }
