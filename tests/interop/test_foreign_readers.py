"""The models of foreign hosts over pyscard, pcscd and the virtual reader, nothing of ours between them and the element.

Each in the protocol and with the transport that it has: javax.smartcardio and gpshell's plugin with both, pySim T=0.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from interop.cards import T0_ATR
from interop.foreign import Transmit
from interop.gp_pro import GlobalPlatformPro
from interop.gpshell import GpShell
from interop.pcscd import Insert, connected
from interop.pysim_host import PySim
from interop.transports import gppcsc, javax, pysim
from support.cards import ISD, element
from support.content import DOMAIN, FILE, INSTANCE, MODULE, package

CODE = package(FILE, [MODULE], size=600)
T0, T1 = 1, 2


def by_gp_pro(transmit: Transmit, *, t0: bool) -> None:
    """`gp --install`, `--domain`, `--move`, `--list`, `--uninstall`."""
    gp = GlobalPlatformPro(javax(transmit, t0=t0))
    gp.discover()
    gp.info()
    gp.open(0x33)
    gp.load(FILE, CODE)
    gp.install(FILE, MODULE, INSTANCE)
    gp.domain(DOMAIN)
    gp.move(INSTANCE, DOMAIN)
    assert [entry.aid for entry in gp.registry()] == [ISD, INSTANCE, DOMAIN, FILE]
    gp.delete(FILE, dependencies=True)


def by_gpshell(transmit: Transmit, *, t0: bool) -> None:
    """`helloInstall.txt`, a list and `helloDelete.txt`."""
    here = GpShell(gppcsc(transmit, t0=t0))
    here.select()
    here.open(0x33)
    here.install_for_load(FILE, ISD, len(CODE))
    here.load(CODE)
    here.install(FILE, MODULE, INSTANCE)
    assert [one.aid for one in here.get_status(0x40)] == [INSTANCE]
    here.delete(FILE)


def by_pysim(transmit: Transmit, *, t0: bool) -> None:
    """`establish_scp03`, `install_cap`, `get_status`, `delete_card_content`."""
    assert t0
    here = PySim(pysim(transmit))
    here.select(ISD)
    here.establish(3, 0x11)
    here.install_for_load(FILE)
    here.load(CODE)
    here.install_for_install(FILE, MODULE, INSTANCE)
    assert [entry[0x4F] for entry in here.get_status(0x40)] == [INSTANCE]
    here.delete(FILE, related=True)


@pytest.mark.parametrize(
    ("host", "protocol"),
    [(by_gp_pro, T1), (by_gp_pro, T0), (by_gpshell, T1), (by_gpshell, T0), (by_pysim, T0)],
)
def test_each_manages_the_card_in_a_reader(insert: Insert, host: Callable[..., None], protocol: int) -> None:
    t0 = protocol == T0
    insert(element(atr=T0_ATR) if t0 else element())
    with connected(protocol) as transmit:
        host(transmit, t0=t0)
