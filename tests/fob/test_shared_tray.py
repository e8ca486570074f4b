"""One tray for several processes: a fob is with whoever powered it on last, and a host that ends takes its power."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from keywright.errors import LinkError
from keywright.fob.pool import FobPool, Plan
from keywright.globalplatform.host import identify
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.layers import complete
from keywright.production.stations import exchange_with
from keywright.sansio.dialogue import drive, through

CPLC = Command(0x80, 0xCA, 0x9F, 0x7F, b"", 0)
INITIALIZE_UPDATE = Command(0x80, 0x50, 0, 0, bytes(8), 0)
ELSEWHERE = "stands on another station"


@pytest.fixture
def socket_path(tmp_path: Path) -> str:
    return str(tmp_path / "tray")


@pytest.fixture
def tray(socket_path: str, tmp_path: Path) -> Iterator[FobPool]:
    with FobPool.start(Plan(journal=str(tmp_path / "fobs"), listen=socket_path)) as pool:
        pool.wait_until_listening()
        yield pool


def powered(pool: FobPool, name: str) -> FobPool:
    pool.power_on(name)
    ((_, answer),) = pool.receive()
    assert isinstance(answer, bytes)
    return pool


def ask(pool: FobPool, name: str, command: Command = CPLC) -> Response:
    return exchange_with(pool, name)(command)


def test_two_hosts_have_each_their_fobs_at_the_same_time(tray: FobPool, socket_path: str) -> None:
    del tray
    with FobPool.connect(socket_path) as one, FobPool.connect(socket_path) as two:
        powered(one, "A")
        powered(two, "B")
        uids = {
            drive(through(identify(), complete), exchange_with(pool, name)).uid
            for pool, name in ((one, "A"), (two, "B"))
        }
        assert len(uids) == 2


def test_a_fob_is_with_whoever_powered_it_on_last_and_begins_anew_there(tray: FobPool, socket_path: str) -> None:
    del tray
    with FobPool.connect(socket_path) as one, FobPool.connect(socket_path) as two:
        powered(one, "A")
        assert ask(one, "A", INITIALIZE_UPDATE).sw == 0x9000
        with pytest.raises(LinkError, match=ELSEWHERE):
            ask(two, "A")
        powered(two, "A")
        assert ask(two, "A").sw == 0x9000
        with pytest.raises(LinkError, match=ELSEWHERE):
            ask(one, "A")
        one.power_off("A")
        one.flush()
        assert ask(two, "A").sw == 0x9000
        two.power_off("A")
        with pytest.raises(LinkError, match=ELSEWHERE):
            ask(two, "A")


def test_a_host_that_ends_leaves_its_fobs_without_power_and_the_others_alone(tray: FobPool, socket_path: str) -> None:
    del tray
    with FobPool.connect(socket_path) as other:
        powered(other, "B")
        gone = FobPool.connect(socket_path)
        powered(gone, "A")
        gone.close()
        with pytest.raises(LinkError, match=ELSEWHERE):
            ask(other, "A")
        assert ask(other, "B").sw == 0x9000
        powered(other, "A")
        assert ask(other, "A").sw == 0x9000


def test_the_tray_ends_with_the_one_who_started_it(tray: FobPool, socket_path: str) -> None:
    with FobPool.connect(socket_path) as host:
        powered(host, "A")
        assert tray.is_running
        tray.close()
        assert not tray.is_running
        with pytest.raises(LinkError):
            ask(host, "A")
    with pytest.raises(LinkError, match="is not there"):
        FobPool.connect(socket_path)


def test_garbage_of_one_host_costs_the_others_nothing(tray: FobPool, socket_path: str) -> None:
    del tray
    with FobPool.connect(socket_path) as good, FobPool.connect(socket_path) as bad:
        powered(good, "A")
        bad._sock.sendall(b"\xff\xff\xff\xff" * 10)
        worse = FobPool.connect(socket_path)
        worse._sock.sendall(b"\x00\x00\x00\x03\x00\x01\xff" * 3)  # a name that is no text
        worse.waiting = 1
        with pytest.raises(LinkError):
            worse.receive()
        worse.close()
        assert ask(good, "A").sw == 0x9000


def test_a_place_where_nobody_can_listen_is_named(tmp_path: Path) -> None:
    with (
        FobPool.start(Plan(listen=str(tmp_path / "no" / "tray"))) as pool,
        pytest.raises(LinkError, match="cannot be listened at"),
    ):
        pool.wait_until_listening()
