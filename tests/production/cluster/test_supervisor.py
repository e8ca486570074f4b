"""Processes that are kept running, and that leave nobody behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import pytest

from keywright.production.cluster.library import ClusterError
from keywright.production.cluster.processes import kill_session, session_members
from keywright.production.cluster.supervisor import Kept, Supervisor

PATIENCE_S = 60.0
LONELY = """
import os, signal, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import os, time; os.setpgid(0, 0); time.sleep(600)"])
open(sys.argv[1], "a").write(f"{os.getpid()} {child.pid}\\n")
time.sleep(600)
"""
"""Starts a process in a group of its own, as Ray does with its workers, writes both numbers and lives long."""
TELLS = "import sys; open(sys.argv[1], 'ab').write(sys.stdin.buffer.read() + b'\\n')"


def is_there(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def wait_for(what: Callable[[], bool], step: Callable[[], object] = lambda: None) -> None:
    until = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < until
        step()
        time.sleep(0.02)


def numbers(file: Path) -> list[tuple[int, int]]:
    lines = file.read_text().splitlines() if file.exists() else []
    return [(int(first), int(second)) for first, second in (line.split() for line in lines)]


def lonely(file: Path) -> Kept:
    return Kept("lonely", (sys.executable, "-c", LONELY, str(file)))


def test_what_is_killed_is_started_again_and_what_it_left_is_swept_away(tmp_path: Path) -> None:
    file = tmp_path / "pids"
    heard: list[tuple[str, int]] = []
    with Supervisor([lonely(file)], told=lambda name, code: heard.append((name, code))) as supervisor:
        wait_for(lambda: len(numbers(file)) == 1, supervisor.step)
        ((first, left),) = numbers(file)
        os.kill(first, signal.SIGKILL)
        wait_for(lambda: len(numbers(file)) == 2, supervisor.step)
        assert not is_there(left)
        assert heard == [("lonely", 128 + signal.SIGKILL)]
        assert supervisor.starts("lonely") == 2
        second = numbers(file)[1]
    assert not any(map(is_there, second))


def test_what_holds_a_kept_process_may_itself_be_killed(tmp_path: Path) -> None:
    file = tmp_path / "pids"
    with Supervisor([lonely(file)]) as supervisor:
        wait_for(lambda: len(numbers(file)) == 1, supervisor.step)
        before = numbers(file)[0]
        holder = int(Path(f"/proc/{before[0]}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(holder, signal.SIGKILL)
        wait_for(lambda: len(numbers(file)) == 2, supervisor.step)
        assert not any(map(is_there, before))


SUPERVISES = """
import sys
from pathlib import Path
from keywright.production.cluster.supervisor import Kept, Supervisor
with Supervisor([Kept("lonely", (sys.executable, "-c", sys.argv[1], sys.argv[2]))]) as supervisor:
    supervisor.run()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_supervisor_that_ends_takes_everything_with_it(number: signal.Signals, tmp_path: Path) -> None:
    file = tmp_path / "pids"
    command = [sys.executable, "-c", SUPERVISES, LONELY, str(file)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        wait_for(lambda: len(numbers(file)) == 1)
        process.send_signal(number)
        process.wait(PATIENCE_S)
    wait_for(lambda: not any(is_there(pid) for pid in numbers(file)[0]))


def test_it_is_told_its_task_at_every_start_and_ends_for_good_with_a_final_code(tmp_path: Path) -> None:
    file = tmp_path / "told"
    script = f"{TELLS}; import os; sys.exit(0 if os.path.getsize(sys.argv[1]) > 10 else 9)"
    task = Kept("task", (sys.executable, "-c", script, str(file)), told=b"plan", final=frozenset({0}))
    with Supervisor([task]) as supervisor:
        assert supervisor.run() == ("task", 0)
        assert supervisor.starts("task") == 3
    assert file.read_bytes() == b"plan\n" * 3


def test_output_goes_to_the_log_and_the_environment_is_added(tmp_path: Path) -> None:
    log = tmp_path / "log"
    script = "import os, sys; print(os.environ['KEPT'], 'PATH' in os.environ); sys.exit(4)"
    kept = Kept("once", (sys.executable, "-c", script), {"KEPT": "word"}, final=frozenset({4}), log=log)
    with Supervisor([kept]) as supervisor:
        supervisor.run()
    assert log.read_text() == "word True\n"


def test_what_follows_another_starts_anew_with_it_and_never_the_other_way(tmp_path: Path) -> None:
    head, driver = tmp_path / "head", tmp_path / "driver"
    kept = [
        Kept("head", (sys.executable, "-c", LONELY, str(head))),
        Kept("driver", (sys.executable, "-c", LONELY, str(driver)), follows="head"),
    ]
    with Supervisor(kept) as supervisor:
        wait_for(lambda: len(numbers(head)) == len(numbers(driver)) == 1, supervisor.step)
        os.kill(numbers(head)[0][0], signal.SIGKILL)
        wait_for(lambda: len(numbers(head)) == len(numbers(driver)) == 2, supervisor.step)
        assert not is_there(numbers(driver)[0][0])
        os.kill(numbers(driver)[1][0], signal.SIGKILL)
        wait_for(lambda: len(numbers(driver)) == 3, supervisor.step)
        assert supervisor.starts("head") == 2


def test_what_does_not_last_is_started_with_growing_pauses() -> None:
    now = 0.0
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds
        time.sleep(0.001)

    started = Kept("short", (sys.executable, "-c", "raise SystemExit(3)"))
    with Supervisor([started], clock=lambda: now, sleep=sleep) as supervisor:
        ends = 0
        while ends < 4:
            before = supervisor.starts("short")
            supervisor.step()
            child = supervisor._children[0]
            if child.process is None and child.due > now:
                ends += 1
                pauses.append(round(child.due - now, 3))
                now = child.due
            elif before == supervisor.starts("short"):
                sleep(0.0)
    assert pauses == [0.2, 0.5, 1.0, 2.0]


def test_what_ends_again_and_again_by_itself_is_given_up_with_its_last_words(tmp_path: Path) -> None:
    log = tmp_path / "log"
    script = "import sys; print('first'); print('the port is taken'); sys.exit(2)"
    kept = Kept("head", (sys.executable, "-c", script), log=log)
    now = 0.0
    with Supervisor([kept], clock=lambda: now) as supervisor:

        def step() -> None:
            nonlocal now
            supervisor.step()
            time.sleep(0.001)
            if supervisor._children[0].process is None:
                now = supervisor._children[0].due

        with pytest.raises(ClusterError, match=r"the head does not last: .*the port is taken"):
            deque(iter(step, "never"), maxlen=0)


@pytest.mark.parametrize("how", ["os.kill(os.getpid(), 9)", "sys.exit(75)"], ids=["killed", "passing trouble"])
def test_what_is_killed_or_asks_for_it_is_started_for_ever(how: str) -> None:
    kept = Kept("driver", (sys.executable, "-c", f"import os, sys; {how}"))
    now = 0.0
    with Supervisor([kept], clock=lambda: now) as supervisor:
        while supervisor.starts("driver") < 15:
            supervisor.step()
            now += 0.5
            time.sleep(0.001)


def test_a_session_is_killed_whole_and_nobody_else(tmp_path: Path) -> None:
    file = tmp_path / "pids"
    inside = subprocess.Popen([sys.executable, "-c", LONELY, str(file)], start_new_session=True)
    outside = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    wait_for(lambda: len(numbers(file)) == 1)
    members = set(numbers(file)[0])
    assert members == set(session_members(inside.pid))
    kill_session(inside.pid)
    assert inside.wait(PATIENCE_S) == -signal.SIGKILL
    assert not any(map(is_there, members))
    assert outside.poll() is None
    outside.kill()
    outside.wait()
