"""The key registry in the file of a software keystore: version 1 becomes 2, states change, keys end."""

from __future__ import annotations

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from keywright.crypto.aes import AesKey
from keywright.crypto.ec import EcPrivateKey
from keywright.errors import StoreError
from keywright.production.keystores import sealed
from keywright.production.keystores.key_states import KeyState, KeyStateError
from keywright.production.keystores.software_keystore import SoftwareKeystore
from support.software_keystores import NOW, UNIT, clock, die_at, session_of

DATA = Path(__file__).parents[1] / "data"
DAY = 86_400


@pytest.fixture
def version1(tmp_path: Path) -> Path:
    """A keystore that the release before the registry made on 2026-11-23."""
    for kept, name in (("keystore1.json", "lot.keystore"), ("keystore1-unlock.txt", "lot.keystore.unlock")):
        shutil.copyfile(DATA / kept, tmp_path / name)
        (tmp_path / name).chmod(0o600)
    return tmp_path / "lot.keystore"


def test_every_key_has_a_record_and_all_are_active(keystore: SoftwareKeystore) -> None:
    records = {one.name: one for one in keystore.registry.records}
    assert keystore.registry.environment == "test"
    assert {name: (one.purpose, one.usage, str(one.state)) for name, one in records.items()} == {
        "issuer": ("master", "E5", "active"),
        "issuer-des": ("master", "E5", "active"),
        "gp-test": ("factory", "21", "active"),
        "device-ca": ("ca", "S1", "active"),
        "unit-records": ("identity", "S0", "active"),
        "access-issuer": ("issuer", "S0", "active"),
    }
    assert len({one.id for one in records.values()}) == len(records)
    rules = {name: [check.partition(" ")[0] for check in one.checks] for name, one in records.items()}
    assert rules == {
        "issuer": ["aes-ones", "aes-cmac"],
        "issuer-des": ["tdes-zero"],
        "gp-test": ["aes-ones"] * 3,
        "device-ca": ["sha256-id"],
        "unit-records": ["sha256-id"],
        "access-issuer": ["sha256-id"],
    }
    assert records["issuer"].checks[0].lower() == f"aes-ones {keystore.kcv('issuer').hex()}"


def test_a_keystore_of_version_1_opens_and_is_then_of_version_2(version1: Path) -> None:
    opened = SoftwareKeystore.open(version1, clock=clock)
    assert opened.keystore_id == "5ffae5c31545d0ee07fe26839af8be6a"
    assert opened.card_keys(UNIT).kcvs.hex() == "c06ab96b7652fac230"
    assert {one.created for one in opened.registry.records} == {int(clock())}
    assert json.loads(version1.read_text())["version"] == 2
    assert version1.stat().st_mode & 0o7777 == 0o600
    after = version1.read_bytes()
    again = SoftwareKeystore.open(version1, clock=clock)
    assert again.registry == opened.registry
    assert again.card_keys(UNIT).kcvs == opened.card_keys(UNIT).kcvs
    assert version1.read_bytes() == after


def test_a_keystore_of_version_1_that_cannot_be_written_opens_all_the_same(
    version1: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise StoreError("read-only")

    monkeypatch.setattr(sealed, "replace_file", refuse)
    opened = SoftwareKeystore.open(version1, clock=clock)
    assert opened.card_keys(UNIT).kcvs.hex() == "c06ab96b7652fac230"
    assert json.loads(version1.read_text())["version"] == 1
    monkeypatch.undo()
    opened.change_state("issuer", KeyState.SUSPENDED, reason="a try")
    assert json.loads(version1.read_text())["version"] == 2
    assert opened.registry.named("issuer").state is KeyState.SUSPENDED


@pytest.mark.parametrize("at", ["fsync", "replace", "unlink"])
@pytest.mark.parametrize("nth", [1, 2])
def test_a_kill_while_a_keystore_is_upgraded_leaves_it_whole(version1: Path, at: str, nth: int) -> None:
    child = os.fork()
    if not child:
        die_at(at, nth)
        SoftwareKeystore.open(version1, clock=clock)
        os._exit(0)
    os.waitpid(child, 0)
    assert json.loads(version1.read_text())["version"] in (1, 2)
    assert SoftwareKeystore.open(version1, clock=clock).card_keys(UNIT).kcvs.hex() == "c06ab96b7652fac230"


def test_a_changed_state_is_in_the_file_and_another_process_obeys_it_at_once(path: Path) -> None:
    line, manager = (SoftwareKeystore.open(path, clock=clock) for _ in range(2))
    keys, session = line.card_keys(UNIT), session_of(line)
    keys.wrap_for(session)
    manager.change_state("issuer", KeyState.SUSPENDED, reason="a rumour")
    with pytest.raises(KeyStateError, match="'issuer' is suspended"):
        keys.wrap_for(session)
    line.card_keys(UNIT).close()
    manager.change_state("issuer", KeyState.ACTIVE, reason="only a rumour")
    keys.wrap_for(session)
    manager.change_state("issuer", KeyState.COMPROMISED, reason="found in a log")
    with pytest.raises(KeyStateError, match="'issuer' is compromised"):
        line.card_keys(UNIT).wrap_for(session)
    history = SoftwareKeystore.open(path, clock=clock).registry.named("issuer").history
    assert [str(change.state) for change in history] == ["active", "suspended", "active", "compromised"]
    assert history[-1].reason == "found in a log"


def test_a_ca_that_is_not_active_issues_nothing(path: Path) -> None:
    opened = SoftwareKeystore.open(path, clock=clock)
    opened.change_state("device-ca", KeyState.DEACTIVATED, reason="its successor is here")
    with pytest.raises(KeyStateError, match="'device-ca' is deactivated"):
        opened.issue(
            "device-ca",
            common_name="K",
            subject_serial="K",
            public_key=EcPrivateKey.generate("P-256").public,
            serial_number=1,
            not_before=NOW,
            not_after=NOW,
        )
    assert opened.certificate("device-ca")


def test_an_expired_master_wraps_nothing_new_and_still_opens(path: Path) -> None:
    now = [clock()]
    opened = SoftwareKeystore.open(path, clock=lambda: now[0])
    keys, session = opened.card_keys(UNIT), session_of(opened)
    now[0] += 2 * 365 * DAY
    with pytest.raises(KeyStateError, match="has made nothing new since 2028-11-22"):
        keys.wrap_for(session)
    assert opened.card_keys(UNIT).kcvs == keys.kcvs
    now[0] += 28 * 365 * DAY
    with pytest.raises(KeyStateError, match="was for use until"):
        opened.card_keys(UNIT)


def test_a_destroyed_key_is_gone_from_the_file_and_its_record_stays(path: Path) -> None:
    opened = SoftwareKeystore.open(path, clock=clock)
    for to in (KeyState.DEACTIVATED, KeyState.DESTROYED):
        opened.change_state("issuer", to, reason="end of life")
    with pytest.raises(StoreError, match="no master 'issuer'"):
        opened.card_keys(UNIT)
    assert [entry["name"] for entry in json.loads(path.read_text())["entries"]] == [
        "issuer-des",
        "gp-test",
        "device-ca",
        "unit-records",
        "access-issuer",
    ]
    again = SoftwareKeystore.open(path, clock=clock)
    assert again.registry.named("issuer").state is KeyState.DESTROYED
    assert "issuer" not in {one.name for one in again.show()}


def test_a_refused_change_leaves_the_file_as_it_was(path: Path) -> None:
    opened = SoftwareKeystore.open(path, clock=clock)
    before = path.read_bytes()
    with pytest.raises(KeyStateError, match="cannot become destroyed"):
        opened.change_state("issuer", KeyState.DESTROYED, reason="")
    with pytest.raises(StoreError, match="no key 'other'"):
        opened.change_state("other", KeyState.SUSPENDED, reason="")
    assert path.read_bytes() == before
    assert len(list(path.parent.iterdir())) == 2


@pytest.mark.parametrize("at", ["fsync", "replace", "unlink"])
@pytest.mark.parametrize("nth", [1, 2])
def test_a_kill_while_a_state_is_changed_leaves_the_old_or_the_new_one(path: Path, at: str, nth: int) -> None:
    opened = SoftwareKeystore.open(path, clock=clock)
    child = os.fork()
    if not child:
        die_at(at, nth)
        opened.change_state("issuer", KeyState.SUSPENDED, reason="a try")
        os._exit(0)
    os.waitpid(child, 0)
    found = SoftwareKeystore.open(path, clock=clock)
    assert found.registry.named("issuer").state in (KeyState.ACTIVE, KeyState.SUSPENDED)
    assert found.card_keys(UNIT).kcvs == opened.card_keys(UNIT).kcvs


def test_two_who_change_states_at_once_lose_neither_change(path: Path) -> None:
    names = ("issuer", "issuer-des", "gp-test", "device-ca", "unit-records", "access-issuer")
    keystores = [SoftwareKeystore.open(path, clock=clock) for _ in names]
    with ThreadPoolExecutor() as pool:
        list(
            pool.map(
                lambda one: one[0].change_state(one[1], KeyState.SUSPENDED, reason="all"),
                zip(keystores, names, strict=True),
            )
        )
    states = {str(one.state) for one in SoftwareKeystore.open(path, clock=clock).registry.records}
    assert states == {"suspended"}


def test_an_open_keystore_whose_file_is_gone_goes_on_and_one_that_was_exchanged_does_not(
    path: Path, tmp_path: Path
) -> None:
    opened = SoftwareKeystore.open(path, clock=clock)
    moved = path.rename(tmp_path / "moved")
    opened.card_keys(UNIT)
    SoftwareKeystore.create(path, now=NOW, clock=clock)
    with pytest.raises(StoreError, match=r"another unlock key, or damaged|another keystore has taken its place"):
        opened.card_keys(UNIT)
    moved.replace(path)
    opened.card_keys(UNIT)


def test_a_keystore_may_be_made_of_known_keys(tmp_path: Path) -> None:
    canary = bytes(range(0xA0, 0xC0))
    made = SoftwareKeystore.create(
        tmp_path / "k", now=NOW, clock=clock, entries=(sealed.Entry("canary", "master", "AES-256", canary),)
    )
    assert [one.name for one in made.registry.records] == ["canary"]
    assert made.kcv("canary") == AesKey(canary).kcv()
    assert canary not in (tmp_path / "k").read_bytes()
