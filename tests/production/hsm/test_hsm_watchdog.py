"""The HSM client process: killed, hung, busy, handed a wrong PIN; and where its PIN is not."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from keywright.errors import PolicyError, SequenceError, StoreError, UsageError
from keywright.iso7816.apdu import Command
from keywright.production.hsm import frames, watchdog
from keywright.production.hsm import messages as m
from keywright.production.hsm.keystore import Pkcs11Keystore
from keywright.production.hsm.session import Pkcs11Session
from keywright.production.keystores.keystore import Diversified, FactorySet, KeystoreBusyError, KeystoreLostError
from keywright.scp.scp03.messages import InitializeUpdateResponse8
from support.softhsm import SoftHsm
from support.vectors import load, unhex

UNIT = Diversified("issuer", "ecb", b"a unit", 16)
# A card with the test keys 40..4F, whose session the factory set gp-test opens.
RECORDED = next(
    case
    for file in ("scp/scp03_kaoh.json", "scp/scp03_openscp.json", "scp/scp03_pysim_euicc.json")
    for case in load(file)
    if case["key_enc"].lower() == "404142434445464748494a4b4c4d4e4f" and len(case["host_challenge"]) == 16
)
WAIT_S = 20.0


def killed(keystore: Pkcs11Keystore, how: signal.Signals = signal.SIGKILL) -> int:
    """End the client; the number of the process that was there."""
    process = keystore.client.client_pid
    assert process > 0
    os.kill(process, how)
    return process


def stopped(keystore: Pkcs11Keystore) -> int:
    """Have the client stand still."""
    process = killed(keystore, signal.SIGSTOP)
    while _state(process) != "T":
        time.sleep(0.001)
    return process


def opened(keystore: Pkcs11Keystore) -> Pkcs11Session:
    keys = keystore.card_keys(FactorySet("gp-test", bytes(10)))
    answer = InitializeUpdateResponse8.parse(unhex(RECORDED["initialize_update_rdata"]))
    session, command = keys.open(unhex(RECORDED["host_challenge"]), answer).authenticate(
        int(RECORDED["security_level"], 16)
    )
    assert command.encode().hex() == RECORDED["external_authenticate_capdu"]
    return session


def test_a_killed_client_is_started_again_and_makes_the_same_keys(keystore: Pkcs11Keystore) -> None:
    before = keystore.card_keys(UNIT).kcvs
    first = killed(keystore)
    assert keystore.card_keys(UNIT).kcvs == before
    assert keystore.client.client_pid not in (0, first)
    assert keystore.client.restarts == 1


def test_whoever_opened_the_keystore_is_told_of_every_new_client(token: SoftHsm, keystore: Pkcs11Keystore) -> None:
    told: list[str] = []
    other = Pkcs11Keystore.open(token.parsed, token.pin_file, noticed=told.append)
    try:
        killed(other)
        assert other.card_keys(UNIT).kcvs == keystore.card_keys(UNIT).kcvs
        deadline = time.monotonic() + WAIT_S
        while not told and time.monotonic() < deadline:
            time.sleep(0.01)
    finally:
        other.close()
    assert told == ["the HSM client was started again (1)"]


def test_a_client_that_is_killed_again_and_again_comes_back(keystore: Pkcs11Keystore) -> None:
    before = keystore.card_keys(UNIT).kcvs
    for _ in range(3):
        killed(keystore)
        assert keystore.card_keys(UNIT).kcvs == before
    assert keystore.client.restarts == 3


def test_a_channel_is_lost_with_its_client_and_says_so(keystore: Pkcs11Keystore) -> None:
    session = opened(keystore)
    killed(keystore)
    with pytest.raises(KeystoreLostError) as caught:
        session.wrap(Command(0x80, 0xF2, 0x80, 0, b"\x4f\x00"))
    assert caught.value.delivered is False
    assert not session.is_open
    with pytest.raises(SequenceError):
        session.wrap(Command(0x80, 0xF2, 0x80, 0))
    session.close()
    # A channel of the first client is none of the second, even if the numbers are the same.
    again = opened(keystore)
    assert again.is_open


def test_a_call_in_flight_is_told_that_its_client_is_gone(keystore: Pkcs11Keystore) -> None:
    session = opened(keystore)
    stopped(keystore)
    failed: list[BaseException] = []

    def use() -> None:
        try:
            session.wrap(Command(0x80, 0xF2, 0x80, 0, b"\x4f\x00"))
        except KeystoreLostError as error:
            failed.append(error)

    waiting = threading.Thread(target=use)
    waiting.start()
    while not any(lane.busy for lane in keystore.client.lanes):
        time.sleep(0.001)
    killed(keystore)
    waiting.join(WAIT_S)
    assert not waiting.is_alive()
    assert len(failed) == 1


def test_a_client_that_hangs_is_replaced(keystore: Pkcs11Keystore) -> None:
    session = opened(keystore)
    for lane in keystore.client.lanes:
        lane.stream.settimeout(0.2)
    first = stopped(keystore)
    with pytest.raises(KeystoreLostError):
        session.wrap(Command(0x80, 0xF2, 0x80, 0, b"\x4f\x00"))
    assert keystore.card_keys(UNIT).kcvs
    assert keystore.client.client_pid != first


def test_whoever_asks_after_an_interrupted_question_does_not_get_its_answer(
    keystore: Pkcs11Keystore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for lane in keystore.client.lanes[1:]:
        lane.busy = True
    first = keystore.card_keys(UNIT)

    def interrupted(_: object) -> bytes:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(frames, "receive", interrupted)
        with pytest.raises(KeyboardInterrupt):
            first.kcvs  # noqa: B018 - it is asked for
    other = keystore.card_keys(Diversified("issuer", "ecb", b"another", 16))
    assert other.kcvs != first.kcvs
    assert keystore.client.restarts == 1


@pytest.mark.parametrize("answer", [b"", b"\xc1", b"\x92\xc3\xc0", b"\x92\xa1x\xc0", bytes(100)])
def test_an_answer_that_is_none_ends_the_client_that_gave_it(
    keystore: Pkcs11Keystore, monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    keys, process = keystore.card_keys(UNIT), keystore.client.client_pid
    with monkeypatch.context() as patch:
        patch.setattr(watchdog, "_REPEATS", 1)
        patch.setattr(frames, "receive", lambda _: answer)
        with pytest.raises(KeystoreLostError):
            keys.kcvs  # noqa: B018 - it is asked for
    assert keys.kcvs
    assert keystore.client.client_pid != process


def test_a_token_with_fewer_sessions_says_how_many(monkeypatch: pytest.MonkeyPatch) -> None:
    import pkcs11

    from keywright.production.hsm import client

    class Full:
        def __init__(self, *_: object) -> None:
            self.left = 2

        def session(self) -> object:
            self.left -= 1
            if self.left < 0:
                raise pkcs11.SessionCount
            return object()

    monkeypatch.setattr(client, "Client", Full)
    with pytest.raises(StoreError, match="gave 2 of 4 sessions") as caught:
        client.lanes_of(m.Hello("", "", ""), lambda _: "", 4)
    assert "sessions=2" in caught.value.hint


def test_callers_wait_for_a_session_and_not_for_ever(keystore: Pkcs11Keystore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "LANE_S", 0.05)
    for lane in keystore.client.lanes:
        lane.busy = True
    with pytest.raises(KeystoreBusyError, match="no session of the token was free"):
        keystore.card_keys(UNIT).kcvs  # noqa: B018 - it is asked for
    keystore.client.lanes[2].busy = False
    assert keystore.card_keys(UNIT).kcvs


def test_more_callers_than_sessions_are_all_served(keystore: Pkcs11Keystore) -> None:
    found: list[bytes] = []

    def ask(number: int) -> None:
        for _ in range(5):
            keys = keystore.card_keys(Diversified("issuer", "ecb", bytes((number,)), 16))
            found.append(keys.kcvs)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    assert len(found) == 80
    assert len(set(found)) == 16


def test_a_channel_that_is_dropped_is_closed_with_the_next_question(keystore: Pkcs11Keystore) -> None:
    session = opened(keystore)
    number, place = session.channel_number, session.place
    del session
    assert keystore.client.lanes[place.lane].forgotten == [number]
    with pytest.raises(SequenceError, match="closed"):
        keystore.client.ask(m.Wrap(number, Command(0x80, 0xF2, 0x80, 0)), Command, place=place)


def test_a_wrong_pin_is_tried_once(token: SoftHsm) -> None:
    token.pin_file.write_text("this is not it\n")
    with pytest.raises(PolicyError, match="does not accept the PIN"):
        Pkcs11Keystore.open(token.parsed)


def test_a_pin_that_was_changed_is_not_tried_again_after_a_restart(token: SoftHsm) -> None:
    keystore = Pkcs11Keystore.open(token.parsed)
    token.pin_file.write_text("this is not it\n")
    killed(keystore)
    with pytest.raises(PolicyError, match="does not accept the PIN"):
        keystore.card_keys(UNIT).kcvs  # noqa: B018 - it is asked for
    assert keystore.client.restarts == 0
    keystore.close()


def test_a_pin_file_that_others_may_read_is_refused(token: SoftHsm) -> None:
    token.pin_file.chmod(0o644)
    with pytest.raises(PolicyError, match="may be read or written by others"):
        Pkcs11Keystore.open(token.parsed)


def test_without_a_pin_file_and_a_terminal_nobody_can_be_asked(token: SoftHsm, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.isatty(0) or (Path("/dev/tty").exists() and _has_terminal()):
        monkeypatch.setenv("KEYWRIGHT_PIN_FILE", str(token.pin_file.parent / "missing"))
        with pytest.raises(StoreError, match="there is no PIN file"):
            Pkcs11Keystore.open(token.parsed)
        return
    monkeypatch.delenv("KEYWRIGHT_PIN_FILE")
    with pytest.raises(PolicyError, match="nobody is there"):
        Pkcs11Keystore.open(token.parsed)


def _has_terminal() -> bool:
    try:
        with Path("/dev/tty").open("w"):
            return True
    except OSError:
        return False


def test_a_passphrase_typed_into_the_line_is_no_pin(token: SoftHsm) -> None:
    with pytest.raises(UsageError, match="asked for by the HSM client"):
        Pkcs11Keystore.open(token.parsed, lambda: b"1234")


def test_the_pin_is_in_no_process_but_the_client_and_in_no_message(keystore: Pkcs11Keystore, token: SoftHsm) -> None:
    assert token.pin not in repr(keystore)
    with pytest.raises(TypeError):
        pickle.dumps(keystore)
    with pytest.raises(TypeError):
        pickle.dumps(keystore.client)
    arguments = Path(f"/proc/{keystore.client.client_pid}/cmdline").read_bytes()
    assert token.pin.encode() not in arguments
    assert str(token.pin_file).encode() not in arguments
    assert b"PIN" not in arguments


def test_the_client_makes_no_core_dump_and_nobody_looks_in(keystore: Pkcs11Keystore) -> None:
    process = keystore.client.client_pid
    limits = Path(f"/proc/{process}/limits").read_text()
    core = next(line for line in limits.splitlines() if line.startswith("Max core file size"))
    assert core.split()[4:6] == ["0", "0"]
    # A process that is not dumpable belongs to root in /proc, whoever runs it.
    assert Path(f"/proc/{process}/mem").stat().st_uid == 0


def test_the_client_ends_with_the_line(token: SoftHsm) -> None:
    keystore = Pkcs11Keystore.open(token.parsed)
    process = keystore.client.client_pid
    keystore.close()
    keystore.close()
    assert not Path(f"/proc/{process}").exists()
    with pytest.raises(StoreError, match="closed"):
        keystore.card_keys(UNIT).kcvs  # noqa: B018 - it is asked for


def test_the_client_of_a_line_that_was_killed_ends_too(token: SoftHsm) -> None:
    program = (
        "import sys, time\n"
        "from keywright.production.keystores.keystore_uri import open_keystore\n"
        "keystore = open_keystore(sys.argv[1])\n"
        "print(keystore.client.client_pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    command = [sys.executable, "-c", program, token.uri]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=token.environment()) as line:
        assert line.stdout is not None
        client = int(line.stdout.readline())
        line.kill()
    deadline = time.monotonic() + WAIT_S
    while Path(f"/proc/{client}").exists() and _state(client) != "Z":
        assert time.monotonic() < deadline, "the client outlives the line"
        time.sleep(0.01)


def _state(process: int) -> str:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def test_a_forked_child_is_told_to_open_its_own(keystore: Pkcs11Keystore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getpid", lambda: -1)
    with pytest.raises(UsageError, match="forked"):
        keystore.card_keys(UNIT).kcvs  # noqa: B018 - it is asked for
    monkeypatch.undo()


def test_a_library_that_ends_the_process_is_said_to(token: SoftHsm, tmp_path: Path) -> None:
    wrong = tmp_path / "no-library.so"
    wrong.write_bytes(b"not a library")
    with pytest.raises(StoreError, match="not a PKCS#11 library"):
        Pkcs11Keystore.open(token.parsed.__class__(token.label, str(wrong)))


def test_a_token_that_is_not_there_is_named_with_those_that_are(token: SoftHsm) -> None:
    with pytest.raises(StoreError, match="no token is labelled 'other'") as caught:
        Pkcs11Keystore.open(token.parsed.__class__("other", token.module))
    assert token.label in caught.value.hint
