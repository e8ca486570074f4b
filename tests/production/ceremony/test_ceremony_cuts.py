"""A host that is cut off at any step leaves a ceremony that goes on, or is aborted; never half a key."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any, final

import pytest

from keywright.crypto.kcv import Kcv
from keywright.production.ceremony.host import Host
from keywright.production.ceremony.parts import Part
from keywright.production.ceremony.plan import Plan
from keywright.production.ceremony.software_target import SoftwareTarget
from keywright.production.ceremony.states import State
from keywright.production.ceremony.transcript import Transcript
from support.ceremonies import CUSTODIANS, KEYS, UNLOCK, Play, keystore, plan
from support.commands import SRC

CHANGES = ("store", "destroy", "wrap")


class Cut(BaseException):
    """Stands for a kill: nothing of ours catches it."""


@final
class Scissors:
    """Counts the points at which something becomes durable, before and after it, and cuts at one of them."""

    def __init__(self, at: int) -> None:
        self.left = at

    def point(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise Cut

    def around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def cut(*arguments: Any, **named: Any) -> Any:
            self.point()
            result = call(*arguments, **named)
            self.point()
            return result

        return cut


def cut_host(play: Play, target: SoftwareTarget, scissors: Scissors, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of the host that ends at the cut, if it comes to it; custodians and witnesses do their part."""
    with monkeypatch.context() as patch:
        host = play.host(target)
        write = Transcript.write

        def hosted(self: Transcript, key: Any, *rest: Any) -> Any:
            return scissors.around(write)(self, key, *rest) if key is KEYS["kim"] else write(self, key, *rest)

        patch.setattr(Transcript, "write", hosted)
        for name in CHANGES:
            patch.setattr(SoftwareTarget, name, scissors.around(getattr(SoftwareTarget, name)))
        try:
            if host.open().state is not State.SEALED:
                for name in play.plan.custodians if play.plan.parts else ():
                    play.enter(name, PARTS.get(name))
                host.step()
                play.confirm()
                host.step()
        finally:
            # The kernel would let go of the lock, and of memory.
            host._lock.release()


PARTS: dict[str, Part] = {}


@pytest.mark.parametrize("kind", ["create", "inside", "backup", "restore", "export", "destroy"])
def test_a_host_cut_off_at_every_point_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, record_property: Callable[[str, object], None]
) -> None:
    base = keystore(tmp_path / "base")
    Play(tmp_path / "base-c", plan("create", base.uri, exportability="E")).run(base)
    Play(tmp_path / "base-k", plan("create", base.uri, key="ktk", usage="K1")).run(base)
    back = Play(tmp_path / "base-b", plan("backup", base.uri, file=str(tmp_path / "base.backup")))
    kept = back.run(base)
    cuts = 0
    for at in range(1, 100):
        folder = tmp_path / f"{at}"
        folder.mkdir()
        path = folder / "keys"
        if kind in ("backup", "export", "destroy"):
            path.write_bytes((tmp_path / "base").read_bytes())
            path.chmod(0o600)
        play = Play(folder / "c", planned(kind, f"software:{path}", folder))
        play.approve()
        PARTS.clear()
        if kind == "restore":
            PARTS.update(kept)
        try:
            cut_host(play, keystore(path), Scissors(at), monkeypatch)
        except Cut:
            cuts += 1
            assert play.state is not State.ABORTED
            cut_host(play, keystore(path), Scissors(0), monkeypatch)
            is_last = False
        else:
            is_last = True
        check_end(play, keystore(path), folder / "file")
        if is_last:
            break
    record_property("cuts", cuts)
    assert cuts >= 8


def planned(kind: str, uri: str, folder: Path) -> Plan:
    """A plan of that kind for a folder of its own."""
    file = str(folder / "file")
    match kind:
        case "inside":
            return plan("create", uri, entry="none")
        case "backup":
            return plan("backup", uri, file=file)
        case "restore":
            return plan("restore", uri, file=str(folder.parent / "base.backup"))
        case "export":
            return plan("export", uri, kek="ktk", file=file)
        case _:
            return plan(kind, uri)


def check_end(play: Play, target: SoftwareTarget, file: Path) -> None:
    """Sealed, and what is there is what the witnesses saw."""
    ceremony = play.ceremony
    assert ceremony.state is State.SEALED, ceremony.why
    held = target.find("kmc")
    if play.plan.kind == "destroy":
        assert held is None
        return
    assert held is not None
    assert held.check == Kcv.parse(ceremony.combined["check"] or ceremony.lines[-1].facts["check"])
    names = [record.name for record in target._read().registry.records]  # type: ignore[union-attr]  # a keystore of now
    assert names.count("kmc") == 1
    if play.plan.kind in ("backup", "export"):
        assert str(held.check).encode() in file.read_bytes()


KILLED = """
    import os, signal, sys
    sys.path[:0] = [{src!r}, {tests!r}]
    from keywright.production.ceremony.software_target import SoftwareTarget
    from support.ceremonies import PEOPLE, KEYS, UNLOCK, Clock
    from keywright.production.ceremony.host import Host
    from keywright.production.ceremony.transcript import Transcript
    from pathlib import Path

    real = SoftwareTarget.store
    def store(*arguments):
        if {after}:
            real(*arguments)
        os.kill(os.getpid(), signal.SIGKILL)

    SoftwareTarget.store = store
    target = SoftwareTarget({uri!r}, Path({path!r}), lambda: UNLOCK)
    host = Host(Transcript(Path({folder!r}), PEOPLE), KEYS["kim"], target, clock_ms=Clock())
    host.open()
    print("open", flush=True)
    sys.stdin.readline()
    host.step()
    print("combined", flush=True)
    sys.stdin.readline()
    host.step()
"""


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_host_killed_while_it_stores_goes_on(tmp_path: Path, *, after: bool) -> None:
    target = keystore(tmp_path / "keys")
    play = Play(tmp_path / "c", plan("create", target.uri))
    play.approve()
    program = textwrap.dedent(KILLED).format(
        src=str(SRC),
        tests=str(SRC.parent / "tests"),
        after=after,
        uri=target.uri,
        path=str(tmp_path / "keys"),
        folder=str(tmp_path / "c"),
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        for name in CUSTODIANS:
            play.enter(name)
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "combined\n"
        play.confirm()
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.wait(60) == -signal.SIGKILL
    assert play.state is State.EXECUTING
    found = keystore(tmp_path / "keys").find("kmc")
    assert (found is not None) is after
    host = Host(
        play.transcript, KEYS["kim"], SoftwareTarget(target.uri, tmp_path / "keys", lambda: UNLOCK), clock_ms=play.clock
    )
    ceremony = host.open()
    host.close()
    assert ceremony.state is (State.SEALED if after else State.OPEN)
    if after:
        assert ceremony.lines[-1].facts["recovered"] is True
        assert found is not None
        assert str(found.check) == ceremony.lines[-1].facts["stored_check"]
    else:
        assert ceremony.loads == {}
