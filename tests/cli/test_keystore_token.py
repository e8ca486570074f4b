"""`keywright keystore` with a token: made, shown, audited, and accepted where it does not enforce all."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from keywright.errors import PolicyError
from keywright.production.hsm.keystore import Pkcs11Keystore
from keywright.production.people import approval_file
from keywright.production.people.people import Directory, Person, Role
from keywright.production.people.person_key import create_key
from support.commands import Keywright
from support.people import PASSPHRASE, cheap, counting
from support.softhsm import SoftHsm, make_token


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SoftHsm:
    return make_token(tmp_path / "hsm", monkeypatch)


def test_a_keystore_is_made_shown_and_audited(
    keywright: Keywright, token: SoftHsm, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = keywright("keystore", "new", token.uri, "--owner", "line 7")
    assert made.code == 0, made.err
    assert "TEST keystore" in made.out
    assert token.pin not in made.out + made.err
    again = keywright("keystore", "new", token.uri)
    assert (again.code, "never overwritten" in again.err) == (1, True)

    shown = json.loads(keywright("keystore", "show", token.uri, "--json").out)
    assert [key["name"] for key in shown["keys"]] == ["access-issuer", "device-ca", "gp-test", "issuer", "unit-records"]
    assert {record["owner"] for record in shown["registry"]} == {"line 7"}

    audited = keywright("keystore", "audit", "--json")  # the only token there is
    found = json.loads(audited.out)
    assert audited.code == found["exit_code"] == 0
    assert found["keystore_id"] == shown["keystore_id"]
    assert found["counts"]["not-enforceable"] == 2
    assert "wrong" not in found["counts"]
    assert found["token"]["manufacturer"] == "SoftHSM project"
    monkeypatch.setenv("KEYWRIGHT_KEYSTORE", "pkcs11:missing")
    assert "no token is labelled 'missing'" in keywright("keystore", "audit").err
    text = keywright("keystore", "audit", token.uri).out
    assert "derive with a readable result" in text
    assert "nobody accepted that" in text
    assert len(keywright("keystore", "audit", token.uri, "--all").out) > 10 * len(text)


def test_a_keystore_in_a_file_has_nothing_to_audit(keywright: Keywright, tmp_path: Path) -> None:
    ran = keywright("keystore", "audit", tmp_path / "keys")
    assert (ran.code, "enforces nothing" in ran.err) == (2, True)
    ran = keywright("keystore", "new", tmp_path / "keys", "--production")
    assert (ran.code, "for tokens" in ran.err) == (2, True)


def test_what_a_token_does_not_enforce_is_accepted_by_two_persons(
    keywright: Keywright, token: SoftHsm, tmp_path: Path
) -> None:
    assert keywright("keystore", "new", token.uri, "--production").code == 0
    # Not TEST: what is not enforceable is wrong until it is accepted, and no production lot begins.
    assert keywright("keystore", "audit", token.uri).code == 5
    held = Pkcs11Keystore.open(token.parsed)
    with pytest.raises(PolicyError, match="nobody accepted that"):
        held.check_production()
    held.close()

    people, secret = tmp_path / "people.json", tmp_path / "secret"
    secret.write_bytes(PASSPHRASE)
    secret.chmod(0o600)
    roles: dict[str, tuple[Role, ...]] = {"ada": ("administrator",), "kim": ("key-manager",), "kay": ("key-manager",)}
    keys = {
        name: create_key(tmp_path / name, name, PASSPHRASE, counting(n * 50), cheap) for n, name in enumerate(roles)
    }
    now = time.time_ns() // 1_000_000
    made = [Person(name, held_roles, (), keys[name].public) for name, held_roles in roles.items()]
    directory = Directory.begin(made[0], keys["ada"], at_ms=now)
    for one in made[1:]:
        directory = directory.changed("add", one, [keys["ada"]], at_ms=now)
    directory.save(people)

    approval = tmp_path / "approval"
    asking = ("keystore", "audit", token.uri, "--accept", "--people", people, "--approval", approval)
    by = ("--passphrase-file", secret, "--by")
    asked = keywright(*asking, *by, tmp_path / "kim")
    assert (asked.code, "nothing was changed yet" in asked.out) == (0, True)
    alone = keywright(*asking, *by, tmp_path / "kim")
    assert alone.code == 5
    own = keywright("approve", "sign", approval, "--people", people, "--yes", *by, tmp_path / "kim")
    assert own.code == 5
    signed = keywright("approve", "sign", approval, "--people", people, "--yes", *by, tmp_path / "kay")
    assert signed.code == 0, signed.err
    accepted = keywright(*asking, *by, tmp_path / "kim")
    assert (accepted.code, "derive with a readable result" in accepted.out) == (0, True), accepted.err

    assert keywright("keystore", "audit", token.uri).code == 0
    held = Pkcs11Keystore.open(token.parsed)
    held.check_production()
    assert held.is_accepted(held.audit())
    held.close()
    used = keywright(*asking, *by, tmp_path / "kim")
    assert used.code == 5, "an approval is used once"
    # A copy of its file knows nothing of that; the token does.
    copy = tmp_path / "copy"
    copy.write_bytes(approval.read_bytes())
    held = Pkcs11Keystore.open(token.parsed)
    with pytest.raises(PolicyError, match="has been used for this token"):
        held.accept((), approval_file.read(copy).id, directory.id)
    held.close()
