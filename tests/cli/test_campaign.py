"""`keywright campaign`, as scripts call it."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
from contextlib import closing
from pathlib import Path

import pytest

from keywright.cli.lot_eye import LotEye
from keywright.cli.progress import Lot
from keywright.production.reports.sequence import read_sequence
from keywright.production.unit_store.units import UnitStore
from keywright.store import Journal
from support.commands import Keywright, started

EXAMPLES = Path(__file__).parents[2] / "examples"
RECIPE = EXAMPLES / "fob.toml"


def looked_at(store: Path) -> Lot:
    with closing(LotEye(str(store))) as eye:
        return eye.lot()


def order(folder: Path, units: int, name: str = "order.csv") -> Path:
    path = folder / name
    rows = "".join(f"KW-{n:04d},fob-one,north\n" for n in range(units))
    path.write_text("serial,model,owner_group\n" + rows)
    return path


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store whose lot of three is sealed, with the trace of all its exchanges beside it. Read only."""
    from keywright.cli.main import main

    folder = tmp_path_factory.mktemp("lot")
    store = folder / "lot.db"
    words = ["campaign", "run", RECIPE, "--order", order(folder, 3), "--store", store, "--trace", folder / "all.jsonl"]
    assert main([str(word) for word in words]) == 0
    return store


def test_run_seals_every_unit_and_says_how_it_went(keywright: Keywright, tmp_path: Path) -> None:
    ran = keywright("campaign", "run", RECIPE, "--order", order(tmp_path, 2), "--store", tmp_path / "lot.db")
    assert ran.code == 0
    assert "Lot fob  complete, every unit sealed  TEST keys" in ran.out
    assert "2 ordered, 2 sealed" in ran.out
    assert "Next: keywright campaign report" in ran.out
    assert "2 of 2: 2 sealed" in ran.err
    assert max(map(len, ran.out.splitlines()[:-1])) <= 80


def test_the_same_command_again_goes_on_with_the_lot(keywright: Keywright, sealed: Path) -> None:
    ran = keywright("campaign", "run", RECIPE, "--order", sealed.with_name("order.csv"), "--store", sealed, "--json")
    facts = json.loads(ran.out)
    assert ran.code == facts["exit_code"] == 0
    assert facts["sealed"] == 3
    assert facts["run"]["sealed"] == 0


def test_resume_needs_the_store_alone(keywright: Keywright, sealed: Path) -> None:
    assert keywright("campaign", "resume", "--store", sealed).code == 0


def test_another_order_on_that_store_is_refused(keywright: Keywright, sealed: Path, tmp_path: Path) -> None:
    ran = keywright("campaign", "run", RECIPE, "--order", order(tmp_path, 4), "--store", sealed)
    assert ran.code == 5
    assert "begun with another order" in ran.err


@pytest.mark.parametrize("verb", ["status", "report"])
def test_figures_as_json(keywright: Keywright, sealed: Path, verb: str) -> None:
    ran = keywright("campaign", verb, "--store", sealed, "--json")
    facts = json.loads(ran.out)
    assert ran.code == 0
    assert {key: facts[key] for key in ("ordered", "sealed", "quarantined", "open")} == {
        "ordered": 3,
        "sealed": 3,
        "quarantined": 0,
        "open": 0,
    }


def test_verify_opens_a_fresh_session_to_each(keywright: Keywright, sealed: Path) -> None:
    facts = json.loads(keywright("campaign", "verify", "--store", sealed, "--json").out)
    assert (facts["checked"], facts["agree"], facts["disagree"]) == (3, 3, 0)
    assert keywright("campaign", "verify", "--store", sealed).out.startswith(
        "3 checked, 3 agree, 0 disagree  TEST keys"
    )


def test_verify_finds_a_unit_that_is_not_as_recorded(keywright: Keywright, tmp_path: Path) -> None:
    store = tmp_path / "lot.db"
    keywright("campaign", "run", RECIPE, "--order", order(tmp_path, 2), "--store", store)
    fobs = tmp_path / "lot.db.fobs"
    fobs.rename(tmp_path / "kept")
    ran = keywright("campaign", "verify", "--store", store)
    assert ran.code == 1
    assert "the memory of the simulated units is missing" in ran.err
    other = tmp_path / "other.db"
    keywright("campaign", "run", RECIPE, "--order", order(tmp_path, 2), "--store", other)
    (tmp_path / "other.db.fobs").rename(fobs)
    ran = keywright("campaign", "verify", "--store", store, "--json")
    assert ran.code == 1
    assert json.loads(ran.out)["disagree"] == 2


def test_the_report_is_written_as_page_and_rows(keywright: Keywright, sealed: Path, tmp_path: Path) -> None:
    page, rows = tmp_path / "r.html", tmp_path / "r.csv"
    ran = keywright("campaign", "report", "--store", sealed, "--html", page, "--csv", rows)
    assert ran.code == 0
    assert "<svg" in page.read_text()
    assert "SELECT" in page.read_text()
    assert rows.read_text().count("sealed") == 3
    assert f"wrote {rows}, 3 units" in ran.err


def test_a_report_takes_the_place_of_an_earlier_one_and_its_mode_is_the_umasks(
    keywright: Keywright, sealed: Path, tmp_path: Path
) -> None:
    page, rows = tmp_path / "r.html", tmp_path / "r.csv"
    words = ("campaign", "report", "--store", sealed, "--html", page, "--csv", rows)
    before = os.umask(0o027)
    try:
        assert [keywright(*words).code for _ in range(2)] == [0, 0]
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in (page, rows)} == {0o640}
    assert sorted(tmp_path.iterdir()) == [rows, page]


@pytest.mark.parametrize("option", ["--html", "--csv"])
def test_a_report_takes_the_place_of_nothing_else(
    keywright: Keywright, sealed: Path, tmp_path: Path, option: str
) -> None:
    (tmp_path / "keys").write_text("precious")
    (tmp_path / "page").write_text("<!doctype html>\n<title>mine</title>\n")
    (tmp_path / "order.csv").write_text("n,serial,model\n")
    (tmp_path / "link").symlink_to("nowhere")
    (tmp_path / "store").hardlink_to(sealed)
    os.mkfifo(tmp_path / "pipe")
    before = hashes(sealed.parent)
    for path in sorted(tmp_path.iterdir()):
        content = path.read_bytes() if path.is_file() else b""
        ran = keywright("campaign", "report", "--store", sealed, option, path)
        assert (ran.code, str(path) in ran.err) == (2, True)
        assert (path.read_bytes() if path.is_file() else b"") == content
    assert hashes(sealed.parent) == before


@pytest.mark.parametrize("suffix", ["", "-wal", "-journal", ".fobs", ".trace.jsonl", ".lock"])
def test_a_report_is_not_the_store_nor_one_of_its_files(keywright: Keywright, sealed: Path, suffix: str) -> None:
    before = hashes(sealed.parent)
    ran = keywright("campaign", "report", "--store", sealed, "--html", f"{sealed}{suffix}")
    assert ran.code == 2
    assert f"{sealed}{suffix}: belongs to the store" in ran.err
    assert hashes(sealed.parent) == before


def test_page_and_rows_are_two_files(keywright: Keywright, sealed: Path, tmp_path: Path) -> None:
    ran = keywright(
        "campaign",
        "report",
        "--store",
        sealed,
        "--html",
        tmp_path / "r",
        "--csv",
        tmp_path / "." / ".." / tmp_path.name / "r",
    )
    assert (ran.code, "--html and --csv both name" in ran.err) == (2, True)
    assert list(tmp_path.iterdir()) == []


def test_verify_of_a_lot_without_a_sealed_unit_says_so(keywright: Keywright, tmp_path: Path) -> None:
    recipe, store = tmp_path / "r.toml", tmp_path / "lot.db"
    recipe.write_text(RECIPE.read_text().replace("i = [0x70]", "i = [0x60]"))
    keywright("campaign", "run", recipe, "--order", order(tmp_path, 1), "--store", store)
    ran = keywright("campaign", "verify", "--store", store)
    assert (ran.code, ran.out) == (0, "nothing to verify: no unit of this lot is sealed\n")


def test_every_exchange_is_traced_without_keys(keywright: Keywright, sealed: Path) -> None:
    trace = sealed.with_name("all.jsonl")
    assert trace.stat().st_mode & 0o777 == 0o600
    events = [json.loads(line) for line in trace.read_text().splitlines()]
    assert {event["link"].rpartition("#")[2] for event in events} == {"KW-0000", "KW-0001", "KW-0002"}
    put_keys = [event for event in events if event["dir"] == "command" and event["hex"][2:4] == "D8"]
    assert len(put_keys) == 3
    for event in put_keys:
        assert event["note"] == "data masked"
        assert set(event["hex"][10:]) == {"0"}
    assert keywright("replay", trace).code == 0


def test_the_first_units_exchange_lies_beside_the_store(keywright: Keywright, sealed: Path) -> None:
    ran = keywright("replay", sealed.with_name("lot.db.trace.jsonl"))
    assert ran.code == 0
    assert "GENERATE KEY PAIR (protected)" in ran.out
    assert "  personalise" in ran.out


def test_a_fob_of_the_lot_can_be_looked_at_afterwards(keywright: Keywright, sealed: Path) -> None:
    link = f"sim:fob?serial=KW-0001&memory={sealed}.fobs"
    (entry,) = json.loads(keywright("card", "keys", "--link", link, "--json").out)["key_sets"]
    assert (entry["kvn"], entry["gp_test"]) == ("30", False)


def test_check_identifies_and_leaves_nothing(keywright: Keywright, tmp_path: Path) -> None:
    units = order(tmp_path, 3)
    ran = keywright("campaign", "run", RECIPE, "--order", units, "--store", tmp_path / "lot.db", "--check")
    assert ran.code == 0
    assert "3 of 3 can go through this recipe; nothing was changed" in ran.out
    assert list(tmp_path.iterdir()) == [units]
    found = json.loads(keywright("campaign", "run", RECIPE, "--order", units, "--check", "--json").out)
    assert (found["checked"], found["ok"]) == (3, 3)
    assert [unit["serial"] for unit in found["units"]] == ["KW-0000", "KW-0001", "KW-0002"]
    link = f"sim:fob?memory={tmp_path / 'fobs'}"
    assert keywright("campaign", "run", RECIPE, "--order", units, "--check", "--link", link).code == 0
    assert list(tmp_path.iterdir()) == [units]


def hashes(folder: Path) -> dict[str, str]:
    """Every file of a folder, but those that only say who is at work."""
    files = (file for file in folder.iterdir() if file.suffix != ".lock")
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def test_check_of_a_sealed_lot_shows_its_keys_and_changes_no_file(keywright: Keywright, tmp_path: Path) -> None:
    units, store = order(tmp_path, 3), tmp_path / "lot.db"
    assert keywright("campaign", "run", RECIPE, "--order", units, "--store", store).code == 0
    fobs = tmp_path / "lot.db.fobs"
    fobs.write_bytes(fobs.read_bytes() + b"as a kill leaves it")
    before = hashes(tmp_path)
    assert "lot.db.fobs" in before
    ran = keywright("campaign", "run", RECIPE, "--order", units, "--store", store, "--check")
    assert ran.code == 1
    assert ran.out.count("30   already provisioned: it holds key set 30") == 3
    assert "0 of 3 can go through this recipe; nothing was changed" in ran.out
    assert hashes(tmp_path) == before
    found = json.loads(keywright("campaign", "run", RECIPE, "--order", units, "--check", "--json").out)
    assert [(unit["key_versions"], unit["problem"]) for unit in found["units"]] == [([0xFF], "")] * 3
    assert hashes(tmp_path) == before


def test_check_may_look_while_the_lot_is_in_work(keywright: Keywright, tmp_path: Path) -> None:
    units, store = order(tmp_path, 2), tmp_path / "lot.db"
    keywright("campaign", "run", RECIPE, "--order", units, "--store", store)
    with Journal(tmp_path / "lot.db.fobs"), UnitStore.open(str(store)):
        ran = keywright("campaign", "run", RECIPE, "--order", units, "--store", store, "--check", "--json")
    assert [unit["key_versions"] for unit in json.loads(ran.out)["units"]] == [[0x30]] * 2


def test_run_needs_a_place(keywright: Keywright, tmp_path: Path) -> None:
    ran = keywright("campaign", "run", RECIPE, "--order", order(tmp_path, 1))
    assert ran.code == 2
    assert "--store is missing" in ran.err


@pytest.mark.parametrize("verb", ["status", "report", "verify", "resume"])
def test_a_store_that_is_not_there_is_not_made(keywright: Keywright, tmp_path: Path, verb: str) -> None:
    ran = keywright("campaign", verb, "--store", tmp_path / "lot.db")
    assert ran.code == 1
    assert "there is no store" in ran.err
    assert not (tmp_path / "lot.db").exists()


def test_real_devices_need_a_yes_before_they_are_touched(keywright: Keywright, tmp_path: Path) -> None:
    keystore = tmp_path / "keys"
    keywright("keystore", "new", keystore)
    ran = keywright(
        "campaign",
        "run",
        RECIPE,
        "--order",
        order(tmp_path, 1),
        "--store",
        tmp_path / "lot.db",
        "--keystore",
        keystore,
        "--link",
        "tcp:127.0.0.1:1",
    )
    assert ran.code == 5
    assert "--yes" in ran.err


def dialogues(trace: Path) -> dict[str, list[tuple[str, str]]]:
    """Direction and INS or status of each event, by unit."""
    found: dict[str, list[tuple[str, str]]] = {}
    for line in trace.read_text().splitlines():
        event = json.loads(line)
        what = event["hex"][2:4] if event["dir"] == "command" else event["hex"][-4:]
        found.setdefault(event["link"].partition("#")[2], []).append((event["dir"], what))
    return found


def test_what_several_workers_exchange_is_traced_as_what_one_does(
    keywright: Keywright, sealed: Path, tmp_path: Path
) -> None:
    store, trace = tmp_path / "lot.db", tmp_path / "all.jsonl"
    words = ("campaign", "run", RECIPE, "--order", order(tmp_path, 3), "--store", store, "--workers", 2)
    assert keywright(*words, "--trace", trace).code == 0
    assert trace.stat().st_mode & 0o777 == 0o600
    usual = sealed.with_name("all.jsonl")
    assert dialogues(trace) == dialogues(usual)
    assert trace.read_text().count("data masked") == usual.read_text().count("data masked") > 0
    first, alone = (list(read_sequence(one.with_name("lot.db.trace.jsonl"))) for one in (store, sealed))
    # Not how long it was: a certificate's signature takes one byte more or less from unit to unit.
    assert [(one.dir, one.step, bool(one.plain)) for one in first] == [
        (one.dir, one.step, bool(one.plain)) for one in alone
    ]


def test_a_recipe_that_is_wrong_is_named_with_its_line(keywright: Keywright, tmp_path: Path) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_text(RECIPE.read_text().replace('name = "identify"', 'name = "identfy"'))
    ran = keywright("campaign", "run", recipe, "--order", order(tmp_path, 1), "--store", tmp_path / "lot.db")
    assert ran.code == 2
    assert f"{recipe}:8: unknown step 'identfy'" in ran.err
    assert "did you mean 'identify'?" in ran.err


@pytest.mark.parametrize(("number", "told"), [(signal.SIGINT, ""), (signal.SIGTERM, " by SIGTERM")])
def test_a_lot_that_is_interrupted_says_so_and_can_be_resumed(
    keywright: Keywright, tmp_path: Path, number: signal.Signals, told: str
) -> None:
    store = tmp_path / "lot.db"
    words = ("campaign", "run", RECIPE, "--order", order(tmp_path, 400), "--store", store)
    with started(*words) as process:
        assert process.stderr is not None
        process.stderr.readline()
        process.send_signal(number)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    said = (
        f"keywright: interrupted{told}; nothing is lost\n  next: go on with: keywright campaign resume --store {store}"
    )
    assert said in err
    assert "Traceback" not in err
    assert looked_at(store).ordered == 400
    assert looked_at(store).finished < 400


def test_the_live_picture_knows_the_lot_from_its_store(sealed: Path) -> None:
    lot = looked_at(sealed)
    assert (lot.name, lot.ordered, lot.finished, lot.is_test) == ("fob", 3, 3, True)
    assert lot.steps == ("identify", "authenticate", "own_keys", "personalise", "lock_down")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("typed", "goes_on"), [("fob", 4), ("FOB", 5), ("yes", 5), ("", 5)])
def test_real_devices_are_changed_when_the_name_of_the_lot_is_typed(
    keywright: Keywright, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: str, goes_on: int
) -> None:
    keystore = tmp_path / "keys"
    keywright("keystore", "new", keystore)
    monkeypatch.setattr("sys.stdin", Terminal(f"{typed}\n"))
    ran = keywright(
        "campaign",
        "run",
        RECIPE,
        "--order",
        order(tmp_path, 1),
        "--store",
        tmp_path / "lot.db",
        "--keystore",
        keystore,
        "--link",
        "tcp:127.0.0.1:1",
    )
    assert ran.code == goes_on
    assert "This will replace keys on real devices (tcp:127.0.0.1:1)" in ran.err
    assert ("cannot connect" in ran.err) is (goes_on == 4)


def test_check_that_finds_a_unit_that_does_not_fit_ends_with_1(keywright: Keywright, tmp_path: Path) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_text(RECIPE.read_text().replace("i = [0x70]", "i = [0x60]"))
    ran = keywright("campaign", "run", recipe, "--order", order(tmp_path, 2), "--check")
    assert ran.code == 1
    assert "0 of 2 can go through this recipe" in ran.out


def test_a_lot_that_stops_says_why_and_how_to_go_on(keywright: Keywright, tmp_path: Path) -> None:
    recipe, store = tmp_path / "r.toml", tmp_path / "lot.db"
    text = RECIPE.read_text()
    recipe.write_text(text.replace("i = [0x70]", "i = [0x60]"))
    assert recipe.read_text() != text
    ran = keywright("campaign", "run", recipe, "--order", order(tmp_path, 9), "--store", store)
    assert ran.code == 1
    assert "Stopped: 3 units in a row failed alike" in ran.out
    assert f"Next: keywright campaign resume --store {store}" in ran.out
    assert "9 ordered, 0 sealed, 3 rejected, 6 open" in ran.out
    assert "Not sealed\n  KW-0000  rejected at identify" in ran.out
    facts = json.loads(keywright("campaign", "status", "--store", store, "--json").out)
    assert (facts["rejected"], facts["open"]) == (3, 6)
