"""`keywright keystore suspend` and its like: what changes, what is asked first, and what production keys need."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from keywright.cli import keystore_states
from keywright.production.keystores.keystore import Keystore
from keywright.production.keystores.software_keystore import SoftwareKeystore
from keywright.production.people import approval_file
from keywright.production.people.approvals import approve
from keywright.production.people.people import Directory
from keywright.production.people.person_key import PersonKey
from support import people
from support.commands import Keywright


@pytest.fixture
def made(keywright: Keywright, tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    assert keywright("keystore", "new", path).code == 0
    return path


def state(keywright: Keywright, keystore: Path, name: str) -> str:
    records = json.loads(keywright("keystore", "show", keystore, "--json").out)["registry"]
    return str(next(one["state"] for one in records if one["name"] == name))


def test_a_key_is_suspended_and_activated_again_and_show_says_why(keywright: Keywright, made: Path) -> None:
    ran = keywright("keystore", "suspend", made, "issuer", "--reason", "a rumour")
    assert (ran.code, ran.out) == (0, "issuer is suspended (was active)\n")
    assert "issuer is suspended: a rumour" in keywright("keystore", "show", made).out
    ran = keywright("keystore", "activate", made, "issuer", "--reason", "only a rumour", "--json")
    document = json.loads(ran.out)
    assert (document["name"], document["state"]) == ("issuer", "active")
    assert [one["reason"] for one in document["history"]] == ["made", "a rumour", "only a rumour"]


def test_a_change_that_is_not_in_the_table_says_what_is(keywright: Keywright, made: Path) -> None:
    ran = keywright("keystore", "activate", made, "issuer", "--reason", "why not")
    assert ran.code == 5
    assert "is active and cannot become active" in ran.err
    assert "compromised, deactivated, suspended" in ran.err


def test_a_reason_is_needed_and_kept(keywright: Keywright, made: Path) -> None:
    assert keywright("keystore", "suspend", made, "issuer").code == 2
    ran = keywright("keystore", "suspend", made, "issuer", "--reason", "  ")
    assert ran.code == 2
    assert "--reason is empty" in ran.err
    assert state(keywright, made, "issuer") == "active"


@pytest.mark.parametrize("verb", ["deactivate", "compromise"])
def test_what_cannot_be_undone_is_asked_first(keywright: Keywright, made: Path, verb: str) -> None:
    ran = keywright("keystore", verb, made, "issuer", "--reason", "its time")
    assert ran.code == 5
    assert "'issuer'" in ran.err
    assert state(keywright, made, "issuer") == "active"
    assert keywright("keystore", verb, made, "issuer", "--reason", "its time", "--yes").code == 0
    assert state(keywright, made, "issuer") == f"{verb}d"


def nothing_is_handed_over(keywright: Keywright, store: Path, folder: Path) -> None:
    """Of the two units of a lot, both sealed with a key that is compromised."""
    assert "2 units, by the key 'issuer': nothing of them is handed over" in keywright(
        "campaign", "status", "--store", store
    ).out.replace("\n                ", " ")
    sent = json.loads(keywright("campaign", "send", "--store", store, "--to", f"file:{folder / 'sent'}", "--json").out)
    assert (sent["stored"], sent["withheld"], sum(sent["left"].values())) == (0, 2, 0)
    ran = keywright("campaign", "labels", "--store", store, "--out", folder / "labels.pdf", "--unit", "K-000001")
    assert "a key that reached it is compromised" in ran.err
    ran = keywright("campaign", "manifest", "--store", store, "--out", folder / "m.json", "--keystore", folder / "keys")
    assert "0 units" in ran.out
    ran = keywright("campaign", "close", "--store", store)
    assert "2 sealed units are marked" in ran.err
    again = ("keystore", "affected", folder / "keys", "issuer", "--store", store, "--mark")
    assert keywright(*again).code == 0
    csv = folder / "units.csv"
    keywright("campaign", "report", "--store", store, "--csv", csv)
    assert [row.rsplit(",", 1)[1] for row in csv.read_text().splitlines()] == ["compromised", "issuer", "issuer"]
    exported = folder / "log"
    assert keywright("audit", "export", "--store", store, "--out", exported).code == 0
    assert keywright("audit", "verify", exported).code == 0


def test_units_are_marked_for_no_key_but_a_compromised_one(keywright: Keywright, made: Path) -> None:
    ran = keywright("keystore", "affected", made, "issuer", "--mark")
    assert (ran.code, "marked for a compromised key" in ran.err) == (5, True)


def test_a_compromised_key_is_listed_with_the_units_it_reached(
    keywright: Keywright, tmp_path: Path, made: Path
) -> None:
    order = tmp_path / "fob.csv"
    order.write_text("serial,model,owner_group\nK-000001,fob-one,north\nK-000002,fob-one,north\n")
    store = tmp_path / "lot.db"
    recipe = Path(__file__).parents[2] / "examples" / "fob.toml"
    lot = ("campaign", "run", recipe, "--order", order, "--store", store, "--keystore", made)
    assert keywright(*lot).code == 0
    ran = keywright("keystore", "compromise", made, "issuer", "--reason", "leaked", "--yes", "--store", store, "--json")
    document = json.loads(ran.out)
    assert (document["state"], document["descendants"]) == ("compromised", [])
    (found,) = document["lots"]
    assert (found["lot"], found["keys"]) == ("fob", ["issuer"])
    assert found["units"] == [[1, "K-000001"], [2, "K-000002"]]
    nothing_is_handed_over(keywright, store, tmp_path)
    shown = keywright("keystore", "affected", made, "issuer", "--store", store).out
    assert "2 units concerned through issuer" in shown
    assert "K-000002" in shown
    shown = keywright("keystore", "affected", made, "issuer-des", "--store", store).out
    assert "has nothing to do with it" in shown
    other = keywright("campaign", "run", recipe, "--order", order, "--store", tmp_path / "2.db", "--keystore", made)
    assert other.code == 5
    assert "'issuer' is compromised" in other.err


# ---- production keys ------------------------------------------------------------------------------------------


@pytest.fixture
def production(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A keystore that says it is for production, as a token does; and the people of the line."""

    def opened(uri: str, unlock: object = None) -> Keystore:
        del unlock
        held = SoftwareKeystore.open(Path(uri))
        held.test = False
        return held

    monkeypatch.setattr(keystore_states, "open_keystore", opened)
    monkeypatch.setattr(keystore_states, "opened", lambda paths, _: [people.key(Path(one).name) for one in paths])
    monkeypatch.setattr(keystore_states, "now_ms", lambda: people.NOW)
    people.directory().save(tmp_path / "people.json")
    return made


def test_a_production_key_is_changed_by_two_people_and_once(
    keywright: Keywright, production: Path, tmp_path: Path
) -> None:
    words = ("keystore", "suspend", production, "issuer", "--reason", "a rumour")
    ran = keywright(*words)
    assert ran.code == 5
    assert "changed by two people" in ran.err
    signed = ("--people", tmp_path / "people.json", "--approval", tmp_path / "approval.json")
    assert keywright(*words, *signed).code == 2
    ran = keywright(*words, *signed, "--by", tmp_path / "kim")
    assert ran.code == 0
    assert "nothing was changed yet" in ran.out
    ran = keywright(*words, *signed)
    assert ran.code == 5
    assert "0 of 1 have approved" in ran.err
    sign(tmp_path, people.key("kay"))
    other = keywright("keystore", "suspend", production, "issuer", "--reason", "another", *signed)
    assert "is not for this" in other.err
    assert state(keywright, production, "issuer") == "active"
    assert keywright(*words, *signed).code == 0
    assert state(keywright, production, "issuer") == "suspended"
    again = keywright("keystore", "activate", production, "issuer", "--reason", "a rumour", *signed)
    assert again.code == 5
    approval = approval_file.read(tmp_path / "approval.json")
    records = json.loads(keywright("keystore", "show", production, "--json").out)["registry"]
    assert records[0]["history"][-1]["approval"] == approval.id


def sign(place: Path, key: PersonKey) -> None:
    path = place / "approval.json"
    approval_file.write(
        path, approve(approval_file.read(path), key, Directory.load(place / "people.json"), at_ms=people.NOW)
    )
