"""The configuration of a lock as JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest

from keywright.aliro.matter import (
    CredentialType,
    DoorLock,
    Limits,
    apply_configuration,
    read_configuration,
    write_attributes,
    write_configuration,
)
from keywright.crypto.ec import EcPrivateKey
from keywright.errors import KeywrightError, UsageError
from keywright.store.memory import RamMemory
from support.aliro_documents import drawn
from support.house import ROOT
from support.pages import blocks

READER = EcPrivateKey.from_scalar("P-256", bytes([9] * 32))
KEYS = [EcPrivateKey.from_scalar("P-256", number.to_bytes(32)).public.point.hex() for number in range(21, 25)]
GROUP = bytes(range(16)).hex()
FILE: dict[str, Any] = {
    "reader": {"groupIdentifier": GROUP, "groupResolvingKey": "0f" * 16, "signingKey": "09" * 32},
    "credentials": [
        {"type": "AliroEvictableEndpointKey", "index": 1, "key": KEYS[1], "user": 5},
        {"type": "AliroCredentialIssuerKey", "index": 2, "key": KEYS[0], "user": 4},
        {"type": "AliroNonEvictableEndpointKey", "index": 1, "key": KEYS[2], "user": 5},
    ],
}


def blank() -> DoorLock:
    return DoorLock(RamMemory(), drawn(), Limits(ble_uwb_versions=(0x0100,)))


def changed(**changes: Any) -> str:
    return json.dumps({**FILE, **changes})


def test_a_lock_is_set_up_by_a_configuration_and_gives_it_back_without_its_signing_key() -> None:
    lock = blank()
    commands = read_configuration(json.dumps(FILE))
    outcomes = apply_configuration(lock, commands, fabric=2)
    assert len(outcomes) == 4
    assert "09" * 8 not in repr(commands)
    assert lock.reader is not None
    assert lock.reader.signing_key == READER
    users = {(one.slot.type, one.slot.index): one.user for one in lock.credentials()}
    assert users == {
        (CredentialType.ISSUER, 2): 1,
        (CredentialType.EVICTABLE, 1): 2,
        (CredentialType.NON_EVICTABLE, 1): 2,
    }
    written = write_configuration(lock, with_resolving_key=True)
    assert "09" * 8 not in written
    again = blank()
    apply_configuration(again, read_configuration(written, READER))
    assert write_configuration(again, with_resolving_key=True) == written
    assert "groupResolvingKey" not in write_configuration(lock)
    attributes = write_attributes(lock)
    assert attributes["AliroReaderVerificationKey"] == READER.public.point.hex()
    assert attributes["AliroGroupResolvingKey"] is True
    assert attributes["FeatureMap"] == 0x6000
    assert json.dumps(attributes)
    assert write_attributes(DoorLock(RamMemory(), drawn()))["AliroReaderVerificationKey"] is None
    assert json.loads(write_configuration(blank())) == {"credentials": []}


def test_a_lock_without_a_radio_has_no_resolving_key() -> None:
    lock = DoorLock(RamMemory(), drawn())
    reader = {"groupIdentifier": GROUP}
    apply_configuration(lock, read_configuration(json.dumps({"reader": reader}), READER))
    assert json.loads(write_configuration(lock, with_resolving_key=True)) == {"credentials": [], "reader": reader}


def test_the_example_of_the_documentation_sets_up_a_lock() -> None:
    page = (ROOT / "docs" / "aliro.md").read_text(encoding="utf-8")
    (example,) = [block.text for block in blocks(page) if block.language == "json"]
    lock = blank()
    assert len(apply_configuration(lock, read_configuration(example, READER))) == 2
    assert json.loads(write_configuration(lock, with_resolving_key=True)) == json.loads(example)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "lock configuration"),
        ("[]", "lock configuration"),
        ('{"readers": {}}', "readers"),
        (changed(reader={"groupIdentifier": GROUP, "signingKey": "zz"}), r"reader\.signingKey: not hex"),
        (changed(reader={"groupIdentifier": GROUP, "signingKey": "00" * 32}), r"reader\.signingKey: not a key"),
        (changed(reader={"groupIdentifier": GROUP}), "no signing key"),
        (changed(reader={"groupIdentifier": "00", "signingKey": "09" * 32}), r"groupIdentifier: 1 bytes, not 16"),
        (changed(reader={**FILE["reader"], "groupResolvingKey": "00"}), r"groupResolvingKey: 1 bytes"),
        (changed(credentials=[{**FILE["credentials"][0], "type": "PIN"}]), "type"),
        (changed(credentials=[{**FILE["credentials"][0], "index": "1"}]), "index"),
        (changed(credentials=[{**FILE["credentials"][0], "key": "04"}]), r"credentials\[0\]\.key"),
        (changed(credentials=[{**FILE["credentials"][0], "key": "04" + "00" * 64}]), r"credentials\[0\]\.key"),
    ],
)
def test_a_configuration_that_is_wrong_is_refused_by_name(text: str, named: str) -> None:
    with pytest.raises(UsageError, match=named) as error:
        read_configuration(text)
    assert error.value.hint
    assert "09" * 8 not in str(error.value)


def test_a_key_in_the_file_and_another_one_beside_it_are_one_too_many() -> None:
    with pytest.raises(UsageError, match="another key"):
        read_configuration(json.dumps(FILE), EcPrivateKey.from_scalar("P-256", bytes([8] * 32)))
    assert len(read_configuration(json.dumps(FILE), READER)) == 4


def test_what_the_lock_refuses_is_said_with_its_status_and_place() -> None:
    lock = blank()
    apply_configuration(lock, read_configuration(json.dumps(FILE)))
    with pytest.raises(KeywrightError, match="reader: the lock answered CB"):
        apply_configuration(lock, read_configuration(json.dumps(FILE)))
    with pytest.raises(KeywrightError, match=r"credentials\[1\]: the lock answered 03"):
        apply_configuration(lock, read_configuration(json.dumps({"credentials": FILE["credentials"]})))
    other = {"credentials": [{**FILE["credentials"][0], "index": 99, "key": KEYS[3]}]}
    with pytest.raises(KeywrightError, match=r"credentials\[0\]: the lock answered 85 CredentialIndex"):
        apply_configuration(lock, read_configuration(json.dumps(other)))
