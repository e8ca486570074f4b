"""`keywright ceremony` as people use it: every person a process of their own, custodians on a terminal."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from keywright.crypto import AesKey
from keywright.crypto.components import combine, split
from keywright.crypto.kcv import ceremony_check_value
from keywright.production.people.argon2id import Argon2id
from keywright.production.people.people import Directory, Person
from keywright.production.people.person_key import create_key
from support.ceremonies import ROLES
from support.commands import Keywright, Ran, environment
from support.terminals import Terminal

PASSPHRASE = "one two three four five"
PEOPLE = ("anna", "kim", "kurt", "carl", "cora", "wim", "wanda")


class House:
    """A folder with people, their key files and keystores. What holds no secret runs in this process."""

    def __init__(self, folder: Path, keywright: Keywright, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.keywright, self.monkeypatch = keywright, monkeypatch
        self.people = folder / "people.json"
        self.passphrase = folder / "passphrase"
        self.passphrase.write_text(PASSPHRASE + "\n")
        self.passphrase.chmod(0o600)
        keys = {
            name: create_key(self.key(name), name, PASSPHRASE.encode(), cost=lambda salt: Argon2id(salt, 8192, 1))
            for name in PEOPLE
        }
        now = int(time.time() * 1000)
        made = Directory.begin(Person("anna", ("administrator",), (), keys["anna"].public), keys["anna"], at_ms=now)
        for name in PEOPLE[1:]:
            made = made.changed("add", Person(name, (ROLES[name],), (), keys[name].public), [keys["anna"]], at_ms=now)
        made.save(self.people)

    def key(self, name: str) -> Path:
        return self.folder / f"{name}.key"

    def words(self, verb: str, ceremony: str, name: str, *more: object) -> list[str]:
        by = ["--people", self.people, "--by", self.key(name), "--passphrase-file", self.passphrase]
        return [str(word) for word in ("ceremony", verb, self.folder / ceremony, *by, *more)]

    def run(self, verb: str, ceremony: str, name: str, *more: object, stdin: str = "") -> Ran:
        words = self.words(verb, ceremony, name, *more)
        if verb != "enter":
            self.monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
            return self.keywright(*words)
        done = subprocess.run(
            [sys.executable, "-m", "keywright", *words],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env=environment(),
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def plan(self, kind: str, ceremony: str, *more: object, custodians: bool = True) -> None:
        who = ["--witness", "wim", "--witness", "wanda"]
        who += ["--custodian", "carl", "--custodian", "cora"] if custodians else []
        keys = ["--key", "kmc", "--keystore", self.folder / "keys", "--test"]
        drafted = self.run(kind, ceremony, "kim", *keys, *who, *more)
        assert drafted.code == 0, drafted.err
        approved = self.run("approve", ceremony, "kurt")
        assert approved.code == 0, approved.err

    def host(self, ceremony: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "keywright", *self.words("host", ceremony, "kim")],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
        )

    def state(self, ceremony: str) -> dict[str, object]:
        shown = self.keywright("ceremony", "show", self.folder / ceremony, "--people", self.people, "--json")
        assert shown.code == 0, shown.err
        found: dict[str, object] = json.loads(shown.out)
        return found

    def wait_for(self, ceremony: str, state: str) -> dict[str, object]:
        end = time.monotonic() + 60
        while (found := self.state(ceremony))["state"] != state:
            assert time.monotonic() < end, found
            time.sleep(0.05)
        return found

    def confirm(self, ceremony: str) -> None:
        check = str(self.wait_for(ceremony, "combined")["check"])
        for name in ("wim", "wanda"):
            done = self.run("confirm", ceremony, name, stdin=f"{check}\n{check.split()[1].lower()}\n")
            assert done.code == 0, done.err


@pytest.fixture
def house(tmp_path: Path, keywright: Keywright, monkeypatch: pytest.MonkeyPatch) -> House:
    return House(tmp_path, keywright, monkeypatch)


@pytest.fixture
def hosted(house: House) -> Iterator[list[subprocess.Popen[str]]]:
    """Hosts that are ended with the test."""
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_a_key_is_created_on_terminals_and_recorded(house: House, hosted: list[subprocess.Popen[str]]) -> None:
    house.plan("create", "c")
    hosted.append(house.host("c"))
    house.wait_for("c", "open")
    parts = {}
    for name in ("carl", "cora"):
        with Terminal(*house.words("enter", "c", name)) as terminal:
            shown = terminal.wait_for("check value").partition("shown once:")[2].replace("check value", "").strip()
            terminal.wait_for("Type it from your paper (it is not shown):")
            mark = len(terminal.seen)
            terminal.type("00" * 32)
            terminal.wait_for("this is not what was shown")
            terminal.wait_for("Type it from your paper (it is not shown):")
            terminal.type(shown.replace(" ", "").lower())
            terminal.wait_for("\x1b[2J")
            assert terminal.end() == 0
            # What was typed was not echoed.
            assert shown.replace(" ", "").lower() not in terminal.seen[mark:].lower()
            parts[name] = bytes.fromhex(shown)
    house.confirm("c")
    out, err = hosted[0].communicate(timeout=60)
    assert hosted[0].returncode == 0, err
    whole = combine("AES", list(parts.values()))
    assert str(ceremony_check_value(whole)) in err
    assert "sealed" in out
    # Nobody's part, nor the key, is anywhere.
    secrets = [data.hex() for data in (*parts.values(), whole.reveal())]
    for path in (house.folder / "c").iterdir():
        text = path.read_bytes().lower()
        assert not [secret for secret in secrets if secret.encode() in text]
    assert not [secret for secret in secrets if secret in (out + err).lower()]

    pdf = house.folder / "record.pdf"
    done = house.keywright("ceremony", "record", house.folder / "c", "--people", house.people, "--out", pdf)
    assert (done.code, str(house.state("c")["transcript"]) in done.out) == (0, True)
    assert pdf.read_bytes().startswith(b"%PDF")


def test_components_come_from_pipes_and_a_killed_host_starts_over(
    house: House, hosted: list[subprocess.Popen[str]]
) -> None:
    key = bytes(range(1, 33))
    pieces = dict(zip(("carl", "cora"), split(key, 2, lambda size: b"\x5a" * size), strict=True))
    house.plan("import", "c", "--expected", str(ceremony_check_value(AesKey(key))))
    assert house.run("enter", "c", "carl", stdin=f"{pieces['carl'].hex()}\ny\n").code == 5
    hosted.append(house.host("c"))
    house.wait_for("c", "open")
    assert house.run("enter", "c", "wim", stdin="00\n").code == 5
    first = house.run("enter", "c", "carl", stdin=f"{pieces['carl'].hex()}\ny\n")
    assert first.code == 0, first.err
    again = house.run("enter", "c", "carl", stdin=f"{pieces['carl'].hex()}\ny\n")
    assert (again.code, "there already" in again.err) == (5, True)
    hosted[0].send_signal(signal.SIGKILL)
    hosted[0].wait()
    # Sealed to a host that is dead, the part is lost to everybody.
    hosted.append(house.host("c"))
    end = time.monotonic() + 60
    while house.state("c")["loaded"]:
        assert time.monotonic() < end
    for name, piece in pieces.items():
        done = house.run("enter", "c", name, stdin=f"{piece.hex()}\ny\n")
        assert done.code == 0, done.err
        assert piece.hex() not in done.out + done.err
    house.confirm("c")
    _, err = hosted[1].communicate(timeout=60)
    assert hosted[1].returncode == 0, err
    assert house.state("c")["check"] == str(ceremony_check_value(AesKey(key)))


def test_another_check_value_aborts_and_wipes(house: House, hosted: list[subprocess.Popen[str]]) -> None:
    house.plan("create", "c", "--inside", custodians=False)
    hosted.append(house.host("c"))
    house.wait_for("c", "combined")
    wrong = house.run("confirm", "c", "wim", stdin="0000000000\n0000000000\n")
    assert (wrong.code, "aborted" in wrong.err) == (5, True)
    _, err = hosted[0].communicate(timeout=60)
    assert hosted[0].returncode == 5
    assert "another check value" in err
    assert house.state("c")["state"] == "aborted"
    assert house.run("confirm", "c", "wanda", stdin="00\n00\n").code == 5


def test_persons_with_another_duty_are_refused(house: House) -> None:
    keys = ["--key", "kmc", "--keystore", house.folder / "keys", "--test", "--witness", "wim", "--witness", "wanda"]
    for more, why in (
        (["--custodian", "carl", "--custodian", "carl"], "two duties"),
        (["--custodian", "carl", "--custodian", "kurt"], "not custodian"),
        (["--custodian", "carl"], "never by one"),
        (["--custodian", "carl", "--custodian", "cora", "--host", "wim"], "not key-manager"),
        (["--custodian", "carl", "--custodian", "cora", "--bits", "100"], "no keys of 100 bits"),
    ):
        done = house.run("create", "c", "kim", *keys, *more)
        assert done.code in (2, 5)
        assert why in done.err, done.err
        assert not (house.folder / "c").exists()
    house.plan("create", "c")
    for name in ("kim", "carl", "wim", "anna"):
        done = house.run("approve", "c", name)
        assert done.code == 5, done.err
