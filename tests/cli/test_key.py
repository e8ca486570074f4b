"""`keywright key`: fobs of a lot at a lock, let in, registered, revoked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import pytest

from keywright.aliro.dates import parse_timestamp
from keywright.aliro.documents.document import ACCESS, Document
from keywright.aliro.documents.verification import Trust, verify
from keywright.crypto.ec import EcPublicKey
from support.commands import Keywright
from support.ledger import FOB


class Place(NamedTuple):
    """A lot of three fobs made for one lock, which trusts the line's issuer."""

    lock: Path
    store: Path

    @property
    def keystore(self) -> Path:
        return self.store.with_name("lot.db.keystore")

    def fob(self, serial: str) -> str:
        return f"sim:fob?serial={serial}&memory={self.store}.fobs"


@pytest.fixture
def place(keywright: Keywright, tmp_path: Path) -> Place:
    made = Place(tmp_path / "door.lock", tmp_path / "lot.db")
    assert keywright("key", "lock", "new", made.lock).code == 0
    step = keywright("key", "lock", "recipe", made.lock).out
    recipe, order = tmp_path / "door.toml", tmp_path / "order.csv"
    recipe.write_text(FOB.replace('[[step]]\nname = "lock_down"', f'{step}\n[[step]]\nname = "lock_down"'))
    order.write_text("serial,model,owner_group\n" + "".join(f"F{n},fob-one,north\n" for n in (1, 2, 3)))
    ran = keywright("campaign", "run", recipe, "--order", order, "--store", made.store)
    assert ran.code == 0, ran.err
    assert keywright("key", "lock", "trust", made.lock, "--keystore", made.keystore).code == 0
    return made


def unlock(keywright: Keywright, place: Place, serial: str, *more: object) -> dict[str, object]:
    ran = keywright("key", "unlock", place.lock, "--link", place.fob(serial), "--json", *more)
    found: dict[str, object] = json.loads(ran.out)
    assert ran.code == (0 if found["granted"] else 3)
    return found


def test_a_fob_of_the_lot_opens_is_revoked_and_stays_out(keywright: Keywright, place: Place) -> None:
    first, second = (unlock(keywright, place, "F1") for _ in range(2))
    assert (first["granted"], first["phase"], first["element"]) == (True, "standard", "door")
    assert (second["granted"], second["phase"], second["reader_status"]) == (True, "fast", "0101")
    words = ("--key", first["credential"], "--keystore", place.keystore)
    ran = keywright("key", "revoke", *words, "--lock", place.lock)
    assert "its kept key is gone" in ran.out
    for _ in range(2):
        third = unlock(keywright, place, "F1")
        assert (third["granted"], third["reason"]) == (False, "the credential is revoked")
    assert unlock(keywright, place, "F2")["granted"]
    shown = json.loads(keywright("key", "lock", "show", place.lock, "--json").out)
    assert shown["revoked"] == 1
    assert "signingKey" not in keywright("key", "lock", "export", place.lock).out


def test_a_registered_fob_needs_no_document_and_a_cleared_one_is_out(keywright: Keywright, place: Place) -> None:
    issuer = json.loads(keywright("key", "lock", "show", place.lock, "--json").out)["credentials"][0]["key"]
    assert keywright("key", "lock", "clear", place.lock, issuer, "--yes").code == 0
    assert unlock(keywright, place, "F3")["reader_status"] == "0003"
    ran = keywright("key", "enrol", place.lock, "--link", place.fob("F3"))
    key = ran.out.split()[-1]
    assert unlock(keywright, place, "F3")["reason"] == "registered as 'AliroNonEvictableEndpointKey 1'"
    again = keywright("key", "enrol", place.lock, "--link", place.fob("F3"))
    assert (again.code, "the lock has this key already" in again.err) == (1, True)
    refused = keywright("key", "lock", "clear", place.lock, key)
    assert (refused.code, "--yes" in refused.err) == (5, True)
    assert keywright("key", "lock", "clear", place.lock, key, "--yes").code == 0
    assert not unlock(keywright, place, "F3")["granted"]


def test_actions_times_and_a_lock_without_a_clock(keywright: Keywright, place: Place) -> None:
    assert unlock(keywright, place, "F1", "--action", "toggle")["reader_status"] == "0025"
    assert unlock(keywright, place, "F1", "--at", "2020-01-01T00:00:00Z")["reader_status"] == "0002"
    assert unlock(keywright, place, "F1", "--at", "none")["granted"]


def test_somebody_is_given_access_for_a_while(keywright: Keywright, place: Place, tmp_path: Path) -> None:
    key = str(unlock(keywright, place, "F1")["credential"])
    out = tmp_path / "guest.aliro"
    ran = keywright(
        "key", "share", out, "--key", key, "--keystore", place.keystore, "--until", "2090-01-01T00:00:00Z", "--json"
    )
    assert ran.code == 0
    document = Document.parse(out.read_bytes())
    assert document.doc_type == ACCESS
    told = json.loads(ran.out)
    assert told["key"] == key
    trust = Trust.of((EcPublicKey.from_point("P-256", bytes.fromhex(told["issuer"])),))
    last = parse_timestamp("2090-01-01T00:00:00Z") - 1
    public = EcPublicKey.from_point("P-256", bytes.fromhex(key))
    assert verify(document, trust, doc_type=ACCESS, device_key=public, now=last).elements.keys() == {"door"}
    again = keywright("key", "share", out, "--key", key, "--keystore", place.keystore)
    assert (again.code, "cannot be made" in again.err) == (2, True)


_SHARE = ("--key", "04ff", "--keystore", "k")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("key", "unlock", "none.lock", "--link", "sim:fob"), "there is no lock"),
        (("key", "lock", "new", "door.lock", "--group", "00"), "16 bytes in hex"),
        (("key", "share", "x", "--key", "04ff", "--keystore", "k"), "not a point of P-256"),
        (("key", "revoke", "--key", "04ff", "--keystore", "k"), "nobody is told"),
        (("key", "share", "x", *_SHARE, "--until", "2020-01-01T00:00:00Z"), "over before it begins"),
        (
            ("key", "share", "x", *_SHARE, "--from", "2090-01-02T00:00:00Z", "--until", "2090-01-01T00:00:00Z"),
            "over before it begins",
        ),
        (("key", "share", "x", *_SHARE, "--until", "2090-01-01T00:00:00Z", "--validity", "1d"), "not hold so long"),
        (("key", "lock", "trust", "none.lock"), "which issuer"),
    ],
)
def test_what_is_wrong_is_named(keywright: Keywright, tmp_path: Path, words: tuple[str, ...], text: str) -> None:
    ran = keywright(*[str(tmp_path / word) if word.endswith(".lock") else word for word in words])
    assert ran.code in (1, 2)
    assert text in ran.err
    assert "next:" in ran.err


def test_a_lock_is_never_overwritten_and_another_file_is_none(keywright: Keywright, tmp_path: Path) -> None:
    lock, other = tmp_path / "door.lock", tmp_path / "net"
    assert keywright("key", "lock", "new", lock).code == 0
    assert "never overwritten" in keywright("key", "lock", "new", lock).err
    assert keywright("mesh", "network", "new", other).code == 0
    assert "holds no lock" in keywright("key", "lock", "show", other).err


def test_a_configuration_of_matter_is_taken_over(keywright: Keywright, place: Place, tmp_path: Path) -> None:
    shown = keywright("key", "lock", "export", place.lock).out
    blank = json.loads(shown)
    blank.pop("reader")
    file = tmp_path / "door.json"
    file.write_text(json.dumps(blank))
    other = tmp_path / "other.lock"
    assert keywright("key", "lock", "new", other).code == 0
    assert keywright("key", "lock", "configure", other, file).code == 0
    again = json.loads(keywright("key", "lock", "export", other).out)
    assert again["credentials"] == blank["credentials"]
    file.write_text("{")
    assert keywright("key", "lock", "configure", other, file).code == 2


def test_a_configuration_that_is_refused_leaves_no_half_lock_behind(keywright: Keywright, tmp_path: Path) -> None:
    lock, file = tmp_path / "door.lock", tmp_path / "door.json"
    for wrong in ("{", "{}", '{"reader": {"groupIdentifier": "00"}}'):
        file.write_text(wrong)
        ran = keywright("key", "lock", "new", lock, "--configuration", file)
        assert ran.code in (1, 2)
        assert "next:" in ran.err
        assert not lock.exists()
    assert keywright("key", "lock", "new", lock).code == 0
    assert lock.stat().st_mode & 0o777 == 0o600
