"""A keystore in a token: made whole or not at all, its registry in it, states that every process sees."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from keywright.crypto.certificates import load_certificate, verify_device_certificate
from keywright.crypto.ec import EcPrivateKey
from keywright.errors import PolicyError, StoreError, UsageError
from keywright.production.hsm import client, records
from keywright.production.hsm import messages as m
from keywright.production.hsm.keystore import Pkcs11Keystore
from keywright.production.hsm.uri import TokenUri
from keywright.production.keystores.key_paths import KeyPath
from keywright.production.keystores.key_states import KeyState, KeyStateError
from keywright.production.keystores.keystore import Diversified, FactorySet
from support.softhsm import SoftHsm, use_token

NOW = datetime(2026, 11, 27, 13, tzinfo=UTC)
UNIT = Diversified("issuer", "ecb", b"a unit", 16)


def test_it_begins_with_a_master_the_test_keys_a_ca_an_identity_and_an_issuer(keystore: Pkcs11Keystore) -> None:
    found = {facts.name: (facts.purpose, facts.algorithm) for facts in keystore.show()}
    assert found == {
        "issuer": ("master", "AES-256"),
        "gp-test": ("factory", "AES-128"),
        "device-ca": ("ca", "P-256"),
        "unit-records": ("identity", "P-256"),
        "access-issuer": ("issuer", "P-256"),
    }
    assert keystore.kcv("gp-test").hex() == "504a77" * 3
    assert len(keystore.kcv("issuer")) == 3
    assert all(record.owner == "the test" for record in keystore.registry.records)
    with pytest.raises(StoreError, match="no key with a check value 'device-ca'"):
        keystore.kcv("device-ca")


def test_it_is_never_made_twice(token: SoftHsm) -> None:
    with pytest.raises(StoreError, match="holds a keystore already"):
        Pkcs11Keystore.create(token.parsed, now=NOW)


def test_a_token_without_a_keystore_says_how_to_make_one(
    empty_token: SoftHsm, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = use_token(empty_token, tmp_path / "hsm", monkeypatch)
    with pytest.raises(StoreError, match="holds no keystore") as caught:
        Pkcs11Keystore.open(empty.parsed)
    assert "keystore new" in caught.value.hint


def test_what_a_cut_left_while_it_was_made_is_removed_and_made_anew(token: SoftHsm, inside: Any) -> None:
    from pkcs11 import Attribute, ObjectClass

    from keywright.production.hsm.fresh import make_keystore
    from keywright.production.hsm.token_registry import TokenRegistry

    # Everything but the head, which is written last.
    for handle, label, _ in inside.data():
        if label == records.HEAD_LABEL:
            handle.destroy()
    with pytest.raises(StoreError, match="no whole keystore"):
        TokenRegistry.read(inside)
    made = make_keystore(inside, now=int(NOW.timestamp()), test=True, owner="")
    registry = TokenRegistry.read(inside)
    assert registry.head == made
    named = {ref.object_id for record in registry.keys.values() for ref in record.objects}
    labelled = [handle for handle in inside.objects() if str(handle[Attribute.LABEL]).startswith("keywright ")]
    found = [bytes(handle[Attribute.ID]) for handle in labelled if handle[Attribute.CLASS] is not ObjectClass.DATA]
    # Three key pairs have a public half with the same id, and the key of the records is in no record.
    assert len(found) == len(named) + 3 + 1
    assert len([one for one in found if one in named]) == len(named) + 3


@pytest.mark.parametrize("what", ["head", "record"])
def test_a_damaged_record_is_refused(inside: Any, what: str) -> None:
    from keywright.production.hsm.token_registry import TokenRegistry

    for handle, label, value in inside.data():
        if records.is_record(label) == (what == "record"):
            handle.destroy()
            inside.store_data(label, value[:-1] + bytes((value[-1] ^ 1,)))
            break
    with pytest.raises(StoreError, match="damaged or not of this keystore"):
        TokenRegistry.read(inside)


def test_a_record_that_was_put_under_another_name_is_refused(inside: Any) -> None:
    from keywright.production.hsm.token_registry import TokenRegistry

    value = next(value for _, label, value in inside.data() if label == "keywright key issuer")
    inside.store_data("keywright key other", value)
    with pytest.raises(StoreError, match="'keywright key other' is damaged"):
        TokenRegistry.read(inside)


def test_after_a_cut_between_two_versions_the_newer_one_counts(inside: Any) -> None:
    from keywright.production.hsm.token_registry import TokenRegistry, store_record

    registry = TokenRegistry.read(inside)
    older = next(value for _, label, value in inside.data() if label == "keywright key issuer")
    entry = registry.known.with_state("issuer", KeyState.SUSPENDED, at=int(NOW.timestamp())).named("issuer")
    store_record(inside, records.changed(registry.keys["issuer"], entry))
    inside.store_data("keywright key issuer", older)
    assert TokenRegistry.read(inside).keys["issuer"].entry.state is KeyState.SUSPENDED


def test_of_two_records_that_were_written_at_once_the_one_that_allows_less_counts() -> None:
    from keywright.production.keystores.registry import Registry, new_record

    made = new_record("0" * 32, "a", "master", "AES-256", (), environment="test", created=0, state=KeyState.ACTIVE)
    known = Registry("test").with_record(made)

    def record(*states: KeyState) -> records.TokenRecord:
        changed = known
        for state in states:
            changed = changed.with_state("a", state, at=1)
        return records.TokenRecord(entry=changed.named("a"), objects=(), version=2)

    suspended, deactivated = record(KeyState.SUSPENDED), record(KeyState.DEACTIVATED)
    compromised = record(KeyState.COMPROMISED)
    for one, other in ((suspended, deactivated), (deactivated, compromised), (suspended, compromised)):
        assert records.newest([one, other]) == records.newest([other, one]) == {"a": other}
    newer = msgspec.structs.replace(suspended, version=3)
    assert records.newest([newer, compromised]) == {"a": newer}
    assert records.newest([suspended, suspended]) == {"a": suspended}


def test_two_who_change_a_key_at_once_leave_a_keystore_that_opens(inside: Any) -> None:
    from keywright.production.hsm.token_registry import TokenRegistry, store_record

    registry = TokenRegistry.read(inside)
    at = int(NOW.timestamp())
    stored = []
    for state in (KeyState.COMPROMISED, KeyState.SUSPENDED):
        changed = registry.known.with_state("issuer", state, at=at).named("issuer")
        store_record(inside, records.changed(registry.keys["issuer"], changed))
        stored += [value for _, label, value in inside.data() if label == "keywright key issuer"]
    inside.store_data("keywright key issuer", stored[0])
    assert TokenRegistry.read(inside).keys["issuer"].entry.state is KeyState.COMPROMISED


def test_a_state_changes_durably_and_another_process_sees_it(
    token: SoftHsm, keystore: Pkcs11Keystore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keywright.production.hsm.keystore.REFRESH_S", 0.0)
    other = Pkcs11Keystore.open(token.parsed)
    keystore.card_keys(UNIT)
    other.change_state("issuer", KeyState.SUSPENDED, reason="a test")
    assert other.registry.named("issuer").history[-1].reason == "a test"
    other.close()
    assert _within(lambda: keystore.registry.named("issuer").state is KeyState.SUSPENDED)
    with pytest.raises(KeyStateError, match="cannot become"):
        keystore.change_state("issuer", KeyState.DESTROYED, reason="too early")


def _within(condition: Any) -> bool:
    import time

    deadline = time.monotonic() + 5 * client.REGISTRY_S
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_a_destroyed_key_has_no_objects_any_more_and_the_audit_agrees(keystore: Pkcs11Keystore) -> None:
    keystore.change_state("issuer", KeyState.COMPROMISED, reason="a test")
    keystore.change_state("issuer", KeyState.DESTROYED, reason="a test")
    with pytest.raises(KeyStateError, match="destroyed"):
        keystore.card_keys(UNIT)
    findings = keystore.audit()
    assert [one for one in findings if one.result == "wrong"] == []
    assert not [one for one in findings if one.subject.startswith("issuer")]


def test_production_keys_begin_pre_active_and_no_single_person_changes_that(
    empty_token: SoftHsm, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = use_token(empty_token, tmp_path / "hsm", monkeypatch)
    keystore = Pkcs11Keystore.create(empty.parsed, now=NOW, test=False)
    assert not keystore.test
    assert {record.state for record in keystore.registry.records} == {KeyState.PRE_ACTIVE}
    with pytest.raises(KeyStateError, match="pre-active"):
        keystore.card_keys(UNIT)
    with pytest.raises(KeyStateError, match="not changed by one person"):
        keystore.change_state("issuer", KeyState.ACTIVE, reason="alone")
    changed = keystore.change_state(
        "issuer", KeyState.ACTIVE, reason="together", approval="id of an approval", people="id"
    )
    assert changed.history[-1].approval == "id of an approval"
    assert keystore.card_keys(UNIT).kcvs
    # A copy of the approval's file allows nothing any more: what it allowed stands in the token.
    for name, to in (("issuer", KeyState.SUSPENDED), ("unit-records", KeyState.ACTIVE)):
        with pytest.raises(KeyStateError, match="has changed a key of this token before"):
            keystore.change_state(name, to, reason="again", approval="id of an approval")
    # And the people of another directory, which anybody can make, are nobody here.
    with pytest.raises(KeyStateError, match="people of another directory \\(id\\)"):
        keystore.change_state("unit-records", KeyState.ACTIVE, reason="mine", approval="another", people="mine")
    with pytest.raises(KeyStateError, match="people of another directory"):
        keystore.accept(keystore.audit(), "another", "mine")
    keystore.change_state("unit-records", KeyState.ACTIVE, reason="ours", approval="another", people="id")
    keystore.close()


def test_a_change_whose_answer_was_lost_may_be_asked_again(keystore: Pkcs11Keystore) -> None:
    question = m.ChangeState("issuer", KeyState.SUSPENDED, int(NOW.timestamp()) + 60, "a test", "", "")
    for _ in range(2):
        loaded = keystore.client.ask(question, m.Loaded)
        (record,) = (one for one in loaded.records if one.name == "issuer")
        assert [change.state for change in record.entry.history] == [KeyState.ACTIVE, KeyState.SUSPENDED]
    with pytest.raises(KeyStateError, match="cannot become suspended"):
        keystore.client.ask(msgspec.structs.replace(question, at=question.at + 1), m.Loaded)


def test_certificates_are_issued_inside_and_hold(keystore: Pkcs11Keystore) -> None:
    ca = load_certificate(keystore.certificate("device-ca"))
    key = EcPrivateKey.generate("P-256").public
    issued = load_certificate(
        keystore.issue(
            "device-ca",
            common_name="unit 1",
            subject_serial="unit 1",
            public_key=key,
            serial_number=(1 << 158) + 5,
            not_before=NOW,
            not_after=NOW + timedelta(days=30),
        )
    )
    verify_device_certificate(issued, ca, public_key=key, at=NOW + timedelta(days=1))
    assert (issued.subject, issued.subject_serial, issued.serial_number) == ("unit 1", "unit 1", (1 << 158) + 5)
    with pytest.raises(PolicyError, match="while that of its CA is"):
        keystore.issue(
            "device-ca",
            common_name="unit 1",
            subject_serial="",
            public_key=key,
            serial_number=1,
            not_before=NOW,
            not_after=NOW + timedelta(days=100 * 365),
        )
    with pytest.raises(StoreError, match="no CA 'unit-records'"):
        keystore.certificate("unit-records")


def test_a_ca_asks_for_its_certificate(keystore: Pkcs11Keystore) -> None:
    from cryptography import x509

    request = x509.load_der_x509_csr(keystore.certificate_request("device-ca", "line CA 7"))
    assert request.is_signature_valid
    assert request.subject.rfc4514_string() == "CN=line CA 7"
    assert request.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    expected = load_certificate(keystore.certificate("device-ca")).public_key.spki()
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    assert request.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) == expected


def test_an_identity_signs_digests_and_a_ca_never_does(keystore: Pkcs11Keystore) -> None:
    import hashlib

    signature = keystore.sign("unit-records", hashlib.sha256(b"a record").digest())
    keystore.public_key("unit-records").verify(signature, b"a record")
    signature = keystore.sign("access-issuer", hashlib.sha256(b"a document").digest())
    keystore.public_key("access-issuer").verify(signature, b"a document")
    with pytest.raises(StoreError, match="no identity 'device-ca'"):
        keystore.sign("device-ca", bytes(32))
    with pytest.raises(PolicyError, match="digests of 32 bytes"):
        keystore.sign("unit-records", bytes(48))
    keystore.change_state("unit-records", KeyState.SUSPENDED, reason="a test")
    with pytest.raises(KeyStateError, match="makes nothing new"):
        keystore.sign("unit-records", bytes(32))


def test_many_units_are_asked_about_in_one_turn(keystore: Pkcs11Keystore) -> None:
    refs = [Diversified("issuer", "ecb", bytes((n,)), 16) for n in range(70)]
    together = [keys.kcvs for keys in keystore.card_keys_of(refs)]
    assert len(set(together)) == 70
    assert together[3] == keystore.card_keys(refs[3]).kcvs


@pytest.mark.parametrize(
    ("ref", "error", "message"),
    [
        (Diversified("missing", "ecb", b"", 16), StoreError, "no master 'missing'"),
        (Diversified("gp-test", "ecb", b"", 16), StoreError, "no master 'gp-test'"),
        (Diversified("issuer", "emv", bytes(10), 16), PolicyError, "emv is not derived in a token"),
        (Diversified("issuer", "sp800-108", bytes(30), 16), PolicyError, "context of 30 bytes"),
        (Diversified("issuer", "ecb", b"", 20), PolicyError, "20-byte keys"),
        (FactorySet("issuer", bytes(10)), StoreError, "no factory key set 'issuer'"),
    ],
)
def test_keys_that_cannot_be_had_are_refused_when_they_are_named(
    keystore: Pkcs11Keystore, ref: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        keystore.card_keys(ref)


def test_s16_needs_a_choice_in_the_recipe(keystore: Pkcs11Keystore) -> None:
    assert keystore.card_keys(UNIT).path(8) is KeyPath.MASKS
    assert keystore.card_keys(UNIT, session_keys="encrypt").path(16) is KeyPath.ENCRYPT
    assert keystore.card_keys(UNIT, session_keys="export").path(16) is KeyPath.EXPORTED
    with pytest.raises(PolicyError, match="CKM_SP800_108_COUNTER_KDF") as caught:
        keystore.card_keys(UNIT).path(16)
    assert "session_keys" in caught.value.hint


def test_keys_are_not_wrapped_for_a_session_of_another_keystore(keystore: Pkcs11Keystore) -> None:
    with pytest.raises(PolicyError, match="the same keystore opened"):
        keystore.card_keys(UNIT).wrap_for(object())  # type: ignore[arg-type]  # a session of nobody's


@pytest.mark.parametrize(
    ("text", "uri"),
    [
        ("pkcs11:line", TokenUri("line")),
        ("pkcs11:a%20b?module=/x/y.so", TokenUri("a b", "/x/y.so")),
        ("pkcs11:line?sessions=2&module=m", TokenUri("line", "m", 2)),
    ],
)
def test_a_uri_names_label_module_and_sessions(text: str, uri: TokenUri) -> None:
    assert TokenUri.parse(text) == uri


@pytest.mark.parametrize(
    "text", ["pkcs11:", "line", "pkcs11:?module=x", "pkcs11:a?pin=1", "pkcs11:a?sessions=0", "pkcs11:a?sessions=x"]
)
def test_another_uri_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        TokenUri.parse(text)


def test_a_library_that_is_nowhere_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYWRIGHT_PKCS11_MODULE", "/missing/library.so")
    with pytest.raises(StoreError, match="there is no PKCS#11 library"):
        TokenUri("x").find_module()
