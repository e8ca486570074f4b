"""The power fails inside a command, before or after any write: the element is as before or as after, never between."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from keywright.codec.tlv import item
from keywright.globalplatform.dialogues import content
from keywright.globalplatform.host import Dialogue
from keywright.globalplatform.install import (
    InstallData,
    InstallForExtradition,
    InstallForInstall,
    InstallForLoad,
    InstallForMakeSelectable,
    InstallForRegistryUpdate,
)
from keywright.globalplatform.load_file import LoadFile
from keywright.iso7816.apdu import Command
from keywright.sansio.dialogue import drive
from keywright.scp.scp03 import KeySet, initialize_update
from keywright.scp.scp03.host import HostChannel
from keywright.store import RamMemory
from support.cards import (
    ECHO_AID,
    HOST_CHALLENGE,
    ISD,
    OTHER,
    OWN,
    EchoApplet,
    Session,
    Terminal,
    contents,
    element,
    key_field,
)
from support.content import (
    DOMAIN,
    DOMAIN_FILE,
    DOMAIN_MODULE,
    FILE,
    INNER,
    INSTANCE,
    MODULE,
    SECOND,
    ContentHost,
    package,
)
from support.power import CutMemory, PowerCut

SECOND_FILE = FILE[:-1] + b"\x02"
THIRD = SECOND[:-1] + b"\x03"

Step = Callable[[Terminal], bytes]
"""Brings an element to the brink and returns the command that is cut."""


def put_key(here: Terminal) -> bytes:
    session = here.authenticate()
    body = b"\x30" + b"".join(key_field(key, KeySet.gp_test().dek) for key in (OWN.enc, OWN.mac, OWN.dek))
    return session.wrap(0x80, 0xD8, 0x00, 0x81, body, 0).encode()


def secured(*command: object) -> Step:
    def step(here: Terminal) -> bytes:
        return here.authenticate().wrap(*command).encode()  # type: ignore[arg-type]  # header and data mixed

    return step


def plain(*command: object) -> Step:
    return lambda here: Command(*command).encode()  # type: ignore[arg-type]  # header and data mixed


def external_authenticate(here: Terminal) -> bytes:
    opening = drive(initialize_update(KeySet.gp_test(), HOST_CHALLENGE), here.exchange)
    return HostChannel(opening, 0x33).authenticate(opening.host_cryptogram, 0x33).encode()


def applet_write(here: Terminal) -> bytes:
    here.select(ECHO_AID)
    return Command(0x80, 0x11, 0, 0, b"value").encode()


def blocks(here: Terminal) -> bytes:
    session: Session = here.authenticate()
    session(0x80, 0xE2, 0x10, 0x00, b"\xdf\x01\x02")
    return session.wrap(0x80, 0xE2, 0x90, 0x01, b"\x55\x66").encode()


def content_step(step: Callable[[ContentHost], Command]) -> Step:
    """A command of content management, protected, after what `step` does before it."""

    def prepare(here: Terminal) -> bytes:
        session = here.authenticate()
        return session.host.wrap(step(ContentHost(session))).encode()

    return prepare


def last_block(manager: ContentHost) -> Command:
    """The LOAD that completes a load file."""
    manager.run(content.install_for_load(InstallForLoad(SECOND_FILE)))
    return Command(0x80, 0xE8, 0x80, 0x00, LoadFile(package(SECOND_FILE, [MODULE])).build(), 0)


def last_of_combined(manager: ContentHost) -> Command:
    """The INSTALL that ends load, install and make selectable."""
    manager.run(_announced(SECOND_FILE))
    manager.run(content.load(LoadFile(package(SECOND_FILE, [MODULE])), size=200))
    data = InstallForInstall(SECOND_FILE, MODULE, SECOND, b"\0").build()
    return Command(0x80, 0xE6, 0x0E, 0x03, data, 0)


def _announced(aid: bytes) -> Dialogue[object]:
    command = content.install_command(0x0E, InstallForLoad(aid), 0x01)
    return content._installed(command, "INSTALL", 200)


def install(p1: int, data: InstallData) -> Step:
    return content_step(lambda _: content.install_command(p1, data))


def delete(aid: bytes, p2: int = 0x00) -> Step:
    return secured(0x80, 0xE4, 0x00, p2, item(0x4F, aid), 0)


STEPS: dict[str, tuple[Step, int]] = {
    "LOAD, last block": (content_step(last_block), 1),
    "INSTALL [for install]": (install(0x0C, InstallForInstall(FILE, MODULE, SECOND, b"\x06")), 1),
    "INSTALL of a domain": (install(0x0C, InstallForInstall(DOMAIN_FILE, DOMAIN_MODULE, INNER, b"\x80")), 1),
    "INSTALL, combined": (content_step(last_of_combined), 1),
    "INSTALL [for make selectable]": (install(0x08, InstallForMakeSelectable(b"", b"", THIRD, b"\x04")), 1),
    "INSTALL [for extradition]": (install(0x10, InstallForExtradition(DOMAIN, b"", INSTANCE)), 1),
    "INSTALL [for registry update]": (install(0x40, InstallForRegistryUpdate(b"", b"", INSTANCE, b"\x02")), 1),
    "INSTALL [for load]": (install(0x02, InstallForLoad(SECOND_FILE)), 0),
    "DELETE of an application": (delete(INSTANCE), 1),
    "DELETE of a load file with its applications": (delete(FILE, 0x80), 1),
    "DELETE of a domain": (delete(DOMAIN), 1),
    "SET STATUS of a domain and all below it": (secured(0x80, 0xF0, 0x60, 0x80, DOMAIN), 1),
    "SELECT of an applet that writes": (plain(0x00, 0xA4, 0x04, 0x00, ECHO_AID), 1),
    "INITIALIZE UPDATE": (plain(0x80, 0x50, 0x00, 0x00, HOST_CHALLENGE, 0), 1),
    "EXTERNAL AUTHENTICATE": (external_authenticate, 3),
    "PUT KEY": (put_key, 1),
    "DELETE": (secured(0x80, 0xE4, 0x00, 0x00, b"\xd2\x01\x31"), 1),
    "STORE DATA": (secured(0x80, 0xE2, 0x90, 0x00, b"\xdf\x01\x01\x55\x42\x01\x07"), 1),
    "last of several STORE DATA": (blocks, 1),
    "SET STATUS of the card": (secured(0x80, 0xF0, 0x80, 0x07, ISD), 1),
    "SET STATUS of an application": (secured(0x80, 0xF0, 0x40, 0x80, ECHO_AID), 1),
    "a command of an applet": (applet_write, 1),
    "GET DATA": (plain(0x80, 0xCA, 0x9F, 0x7F, b"", 0), 0),
    "GET STATUS": (secured(0x80, 0xF2, 0x80, 0x02, b"\x4f\x00"), 0),
    "MANAGE CHANNEL": (plain(0x00, 0x70, 0x00, 0x00, b"", 1), 0),
}


def prepared() -> RamMemory:
    """An element with a spare key set, a try limit, an applet, and content that was loaded and installed."""
    memory = RamMemory()
    here = Terminal(element(memory=memory, try_limit=5, initial_keys_stay=False, applets=[EchoApplet()]))
    session = here.authenticate()
    session(0x80, 0xD8, 0x00, 0x01, b"\x31" + key_field(OTHER.enc, KeySet.gp_test().dek))
    manager = ContentHost(session)
    manager.load(package(FILE, [MODULE]))
    manager.install()
    manager.install(instance=THIRD, selectable=False)
    manager.make_domain(DOMAIN)
    return memory


def run(step: Step, *, before: int = 0, after: int = 0) -> tuple[RamMemory, dict[str, bytes], int, bool]:
    """One run with at most one cut: memory afterwards, memory before the command, commits, whether it was cut."""
    ram = prepared()
    memory = CutMemory(ram)
    here = Terminal(element(memory=memory, applets=[EchoApplet()]))
    raw = step(here)
    old = contents(ram)
    memory.commits, memory.cut_before, memory.cut_after = 0, before, after
    try:
        here.raw(raw)
    except PowerCut:
        return ram, old, memory.commits, True
    return ram, old, memory.commits, False


def without_counters(memory: dict[str, bytes]) -> dict[str, bytes]:
    return {name: value for name, value in memory.items() if not name.startswith(("counter/FF", "attempts"))}


@pytest.mark.parametrize("name", STEPS)
def test_a_cut_leaves_the_old_or_the_new_memory_and_counters_never_go_back(name: str) -> None:
    step, commits = STEPS[name]
    done, old, count, _ = run(step)
    assert count == commits
    new = contents(done)
    for at in range(1, commits + 1):
        for kind in ("before", "after"):
            ram, _, _, cut = run(step, **{kind: at})
            assert cut
            now = contents(ram)
            assert without_counters(now) in (without_counters(old), without_counters(new))
            assert now.get("attempts", b"") >= old["attempts"]
            assert now.get("counter/FF", b"\xff")[:4] >= old["counter/FF"][:4]
            here = Terminal(element(memory=ram, applets=[EchoApplet()]))
            here.select()
            assert here.sw("80F28002024F00") == 0x6982
            here.authenticate(keys=OWN if "keys/30" in now else None)


def test_a_cut_gives_no_free_guess() -> None:
    """The try is counted before the cryptogram is looked at, so a cut at the moment of the answer gains nothing."""
    for at in (1, 2):
        ram = prepared()
        memory = CutMemory(ram)
        here = Terminal(element(memory=memory, applets=[EchoApplet()]))
        here.initialize_update()
        attempts = here.card.attempts
        memory.commits, memory.cut_after = 0, at
        with pytest.raises(PowerCut):
            here.raw("8482330010" + "00" * 16)
        again = element(memory=ram)
        assert again.attempts == attempts + 1
        assert contents(ram)["counter/FF"][4:] == (b"\0\1" if at == 2 else b"\0\0")


def test_a_cut_at_birth_leaves_no_element_or_a_whole_one() -> None:
    for cut in ({"cut_before": 1}, {"cut_after": 1}):
        ram = RamMemory()
        with pytest.raises(PowerCut):
            element(memory=CutMemory(ram, **cut))
        assert bool(ram.names()) is ("cut_after" in cut)
        Terminal(element(memory=ram)).authenticate()


def test_a_reset_after_a_cut_finds_what_memory_holds() -> None:
    """A write may have taken effect although the element never knew: nothing kept in RAM survives the reset."""
    ram = prepared()
    memory = CutMemory(ram)
    here = Terminal(element(memory=memory, applets=[EchoApplet()]))
    raw = put_key(here)
    memory.commits, memory.cut_after = 0, 1
    with pytest.raises(PowerCut):
        here.raw(raw)
    here.card.reset()
    assert here.initialize_update(kvn=0xFF).sw == 0x6A88
    here.authenticate(keys=OWN)
