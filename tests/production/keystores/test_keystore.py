"""The software keystore: what it does, what it refuses, and that nothing secret leaves it by accident."""

from __future__ import annotations

import copy
import json
import os
import pickle
import signal
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from keywright.crypto.aead import seal_gcm
from keywright.crypto.aes import AesKey
from keywright.crypto.des import TripleDesKey
from keywright.crypto.diversification import derive_key_set
from keywright.errors import KeywrightError, PolicyError, StoreError, UsageError
from keywright.production import private_file
from keywright.production.keystores import sealed
from keywright.production.keystores.key_paths import KeyPath
from keywright.production.keystores.keystore import CardKeys, Diversified, FactorySet, Keystore, check_same
from keywright.production.keystores.keystore_uri import keystore_path, open_keystore
from keywright.production.keystores.software_keystore import SoftwareKeystore
from keywright.sansio.dialogue import drive
from keywright.scp.scp03 import CardCryptogramError, KeySet, open_channel
from keywright.scp.scp03.host import request_challenge
from support.cards import Terminal, element
from support.software_keystores import KDD, NOW, UNIT, die_at, master, session_of


def test_a_keystore_opens_again_with_the_unlock_key_beside_it(keystore: SoftwareKeystore, path: Path) -> None:
    for uri in (str(path), f"software:{path}"):
        opened = open_keystore(uri)
        assert opened.keystore_id == keystore.keystore_id
        assert opened.show() == keystore.show()
        assert opened.certificate("device-ca") == keystore.certificate("device-ca")
        assert opened.card_keys(UNIT).kcvs == keystore.card_keys(UNIT).kcvs


def test_show_says_what_is_there_and_marks_it_test(keystore: SoftwareKeystore) -> None:
    facts = {one.name: one for one in keystore.show()}
    assert {name: (one.purpose, one.algorithm) for name, one in facts.items()} == {
        "issuer": ("master", "AES-256"),
        "issuer-des": ("master", "TDES"),
        "gp-test": ("factory", "AES-128"),
        "device-ca": ("ca", "P-256"),
        "unit-records": ("identity", "P-256"),
        "access-issuer": ("issuer", "P-256"),
    }
    assert keystore.test
    assert all(one.test for one in facts.values())
    assert facts["gp-test"].check == "504a77" * 3
    assert facts["issuer"].check == AesKey(master("issuer")).kcv().hex()
    assert "TEST" in repr(keystore)


def test_check_values_are_given_for_masters_and_key_sets_only(keystore: SoftwareKeystore) -> None:
    assert keystore.kcv("issuer") == AesKey(master("issuer")).kcv()
    assert keystore.kcv("issuer-des") == TripleDesKey(master("issuer-des")).kcv()
    assert keystore.kcv("gp-test").hex() == "504a77" * 3
    with pytest.raises(StoreError, match="no key with a check value 'device-ca'"):
        keystore.kcv("device-ca")


@pytest.mark.parametrize(
    ("name", "kind", "scheme", "context", "size"),
    [
        ("issuer", AesKey, "sp800-108", b"any context", 16),
        ("issuer", AesKey, "sp800-108", b"any context", 32),
        ("issuer", AesKey, "kdf3", KDD, 24),
        ("issuer-des", TripleDesKey, "emv", KDD, 16),
    ],
)
def test_key_sets_are_those_of_the_diversification_scheme(
    keystore: SoftwareKeystore,
    name: str,
    kind: type[AesKey | TripleDesKey],
    scheme: str,
    context: bytes,
    size: int,
) -> None:
    expected = derive_key_set(kind(master(name)), scheme, context, key_bytes=size)
    assert sent(keystore.card_keys(Diversified(name, scheme, context, size)), keystore) == expected


def test_a_master_of_the_wrong_kind_is_refused_with_the_ones_that_fit(keystore: SoftwareKeystore) -> None:
    with pytest.raises(PolicyError, match="not a key for the scheme emv") as caught:
        keystore.card_keys(Diversified("issuer", "emv", KDD, 16))
    assert caught.value.hint == "masters that are: issuer-des"
    with pytest.raises(PolicyError, match="not a key for the scheme kdf3"):
        keystore.card_keys(Diversified("issuer-des", "kdf3", KDD, 16))


def test_an_unknown_name_is_refused_with_the_known_ones(keystore: SoftwareKeystore) -> None:
    for call in (
        lambda: keystore.card_keys(Diversified("other", "kdf3", KDD, 16)),
        lambda: keystore.card_keys(FactorySet("other", KDD)),
        lambda: keystore.certificate("other"),
        lambda: keystore.kcv("other"),
    ):
        with pytest.raises(StoreError, match="'other'") as caught:
            call()
        assert "it has: " in caught.value.hint


def test_the_factory_set_is_the_globalplatform_test_keys(keystore: SoftwareKeystore) -> None:
    keys = keystore.card_keys(FactorySet("gp-test", KDD))
    assert sent(keys, keystore) == (bytes(range(0x40, 0x50)),) * 3
    assert keys is not keystore.card_keys(FactorySet("gp-test", KDD))


def test_a_batch_is_one_set_after_another(keystore: SoftwareKeystore) -> None:
    refs = [Diversified("issuer", "sp800-108", bytes((n,)), 24) for n in range(3)] + [FactorySet("gp-test", KDD)]
    found = keystore.card_keys_of(refs)
    assert [(one.size, one.kcvs) for one in found] == [
        (one.size, one.kcvs) for one in (keystore.card_keys(ref) for ref in refs)
    ]
    assert [one.size for one in found] == [24, 24, 24, 16]


# ---- the keys of one unit --------------------------------------------------------------------------------------


def test_keys_are_wrapped_only_for_a_session_of_the_same_keystore(keystore: SoftwareKeystore, tmp_path: Path) -> None:
    other = SoftwareKeystore.create(tmp_path / "k", now=NOW)
    foreign = drive(open_channel(KeySet.gp_test(), bytes(8)), Terminal(element()).exchange)
    keys = keystore.card_keys(UNIT)
    for session in (session_of(other), foreign):
        with pytest.raises(PolicyError, match="a session that the same keystore opened"):
            keys.wrap_for(session)
    (first, *_), (zeros, *_) = keys.wrap_for(session_of(keystore)), keys.wrap_for(session_of(keystore), kcv="zeros")
    assert first.ciphertext == zeros.ciphertext
    assert first.kcv == keys.kcvs[:3] != zeros.kcv


def test_keys_that_are_not_the_cards_open_nothing(keystore: SoftwareKeystore) -> None:
    challenge = bytes(8)
    answer = drive(request_challenge(challenge), Terminal(element()).exchange)
    with pytest.raises(CardCryptogramError):
        keystore.card_keys(UNIT).open(challenge, answer)
    ready = keystore.card_keys(FactorySet("gp-test", KDD)).open(challenge, answer)
    assert ready.answer is answer
    ready.close()


def test_what_is_handed_out_for_a_unit_shows_no_key_and_says_so(keystore: SoftwareKeystore) -> None:
    keys = keystore.card_keys(FactorySet("gp-test", KDD))
    assert keys.path(8) is keys.path(16) is KeyPath.MEMORY
    assert "for trying out only" in KeyPath.MEMORY.does_not_guarantee
    assert bytes(range(0x40, 0x50)).hex() not in repr(keys)
    public = {name for name in dir(keys) if not name.startswith("_")}
    assert public == {name for name in dir(CardKeys) if not name.startswith("_")}
    for act in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="keys are not"):
            act(keys)
    keys.close()
    keys.close()


def test_the_keystore_offers_nothing_but_the_interface() -> None:
    """No raw CMAC, derivation, encryption or wrapping with a static key."""
    offered = {name for name in dir(SoftwareKeystore) if not name.startswith("_")}
    assert offered - {"create", "open"} == {name for name in dir(Keystore) if not name.startswith("_")}


def sent(keys: CardKeys, keystore: SoftwareKeystore) -> tuple[bytes, ...]:
    """ENC, MAC and DEK as a card whose K-DEK is the test key finds them in PUT KEY."""
    dek = KeySet.gp_test().dek
    return tuple(dek.decrypt_cbc(bytes(16), one.ciphertext)[: one.size] for one in keys.wrap_for(session_of(keystore)))


def test_another_keystore_is_refused(keystore: SoftwareKeystore) -> None:
    check_same(keystore, keystore.keystore_id)
    with pytest.raises(PolicyError, match="not the one this lot was begun with") as caught:
        check_same(keystore, "00" * 16)
    assert "--keystore" in caught.value.hint


def test_both_files_are_for_the_owner_only(path: Path) -> None:
    umask = os.umask(0)
    try:
        fresh = path.with_name("fresh")
        SoftwareKeystore.create(fresh, now=NOW)
    finally:
        os.umask(umask)
    for file in (fresh, fresh.with_name("fresh.unlock")):
        assert file.stat().st_mode & 0o7777 == 0o600
    assert sorted(file.name for file in path.parent.iterdir()) == [
        "fresh",
        "fresh.unlock",
        "lot.keystore",
        "lot.keystore.unlock",
    ]


@pytest.mark.parametrize("name", ["lot.keystore", "lot.keystore.unlock"])
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_file_that_others_may_read_is_refused(path: Path, name: str, mode: int) -> None:
    path.with_name(name).chmod(mode)
    with pytest.raises(PolicyError, match=f"mode {mode:04o}") as caught:
        SoftwareKeystore.open(path)
    assert "chmod 600" in caught.value.hint


def test_an_existing_keystore_is_never_overwritten(path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(StoreError, match="already there"):
        SoftwareKeystore.create(path, now=NOW)
    with pytest.raises(StoreError, match="already there"):
        private_file.write_private(path, "keystore", b"x")
    assert path.read_bytes() == before
    assert len(list(path.parent.iterdir())) == 2


def test_an_unlock_key_left_by_a_crash_is_used(path: Path) -> None:
    path.unlink()
    secret = path.with_name("lot.keystore.unlock").read_bytes()
    made = SoftwareKeystore.create(path, now=NOW)
    assert path.with_name("lot.keystore.unlock").read_bytes() == secret
    assert SoftwareKeystore.open(path).keystore_id == made.keystore_id


def test_a_passphrase_may_be_asked_for_instead_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "k"
    SoftwareKeystore.create(path, now=NOW, unlock=lambda: b"correct horse")
    assert [file.name for file in tmp_path.iterdir()] == ["k"]
    assert SoftwareKeystore.open(path, lambda: b"correct horse").test
    with pytest.raises(StoreError, match="another unlock key, or damaged"):
        SoftwareKeystore.open(path, lambda: b"wrong")
    with pytest.raises(StoreError, match="there is no unlock key"):
        SoftwareKeystore.open(path)


def test_a_missing_keystore_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"none: there is no keystore"):
        SoftwareKeystore.open(tmp_path / "none")
    with pytest.raises(StoreError, match="cannot be read: Is a directory"):
        SoftwareKeystore.open(tmp_path)


def test_what_is_no_plain_file_or_not_ours_is_refused(path: Path) -> None:
    unlock = path.with_name("lot.keystore.unlock")
    if os.geteuid() == 0:
        os.chown(path, 4711, 4711)
        with pytest.raises(PolicyError, match="belongs to another user"):
            SoftwareKeystore.open(path)
        os.chown(path, 0, 0)
    unlock.unlink()
    os.mkfifo(unlock, 0o600)
    with pytest.raises(StoreError, match="is not a plain file"):
        SoftwareKeystore.open(path)


def test_an_empty_unlock_key_is_refused(path: Path) -> None:
    path.with_name("lot.keystore.unlock").write_text("\n")
    with pytest.raises(StoreError, match="unlock key is empty"):
        SoftwareKeystore.open(path)


def test_a_keystore_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be written"):
        SoftwareKeystore.create(tmp_path / "no" / "k", now=NOW)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda file: file.update(test=False),
        lambda file: file.update(version=1),
        lambda file: file["registry"].update(environment="production"),
        lambda file: file["registry"]["records"].pop(),
        lambda file: file["registry"]["records"][0]["history"][0].update(state="destroyed"),
        lambda file: file["registry"]["records"][0].update(originate_until=1 << 39),
        lambda file: file.update(keystore_id="00" * 16),
        lambda file: file["entries"].pop(),
        lambda file: file["entries"].reverse(),
        lambda file: file["entries"][0].update(name="other"),
        lambda file: file["entries"][0].update(algorithm="AES-128"),
        lambda file: file["entries"][0].update(nonce="AAAAAAAAAAAAAAAA"),
        lambda file: file["entries"][0].update(secret=file["entries"][1]["secret"]),
        lambda file: file["entries"][3].update(certificate="AAAA"),
        lambda file: file["argon2id"].update(salt="A" * 22 + "=="),
        lambda file: file.update(tag=""),
    ],
)
def test_a_changed_file_does_not_open(path: Path, change: Callable[[dict[str, object]], object]) -> None:
    file = json.loads(path.read_text())
    change(file)
    path.write_text(json.dumps(file))
    with pytest.raises(StoreError, match="does not open: another unlock key, or damaged"):
        SoftwareKeystore.open(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda file: file.update(version=3),
        lambda file: file.update(format="x"),
        lambda file: file.update(nonce="AAAA"),
        lambda file: file.update(keystore_id="XX"),
        lambda file: file["argon2id"].update(memory_kib=1 << 40),
        lambda file: file["entries"][0].update(purpose="x"),
        lambda file: file.pop("tag") and file.pop("entries"),
    ],
)
def test_a_file_of_another_shape_is_no_keystore(path: Path, change: Callable[[dict[str, object]], object]) -> None:
    file = json.loads(path.read_text())
    change(file)
    path.write_text(json.dumps(file))
    with pytest.raises(StoreError, match="not a keystore, or damaged"):
        SoftwareKeystore.open(path)


def test_a_secret_cannot_be_passed_off_as_another_even_with_a_matching_tag(path: Path) -> None:
    secret = path.with_name("lot.keystore.unlock").read_bytes().strip()
    file = msgspec.json.decode(path.read_bytes(), type=sealed._File)
    first = msgspec.structs.replace(file.entries[0], name="issuer-des")
    forged = msgspec.structs.replace(file, entries=(first,))
    tag = seal_gcm(file.argon2id.key(secret), file.nonce, b"", sealed._bound(forged))
    path.write_bytes(msgspec.json.encode(msgspec.structs.replace(forged, tag=tag)))
    with pytest.raises(StoreError, match="does not open"):
        SoftwareKeystore.open(path)


@pytest.mark.parametrize("content", [b"", b"\x00" * 100, b"{}", b"[" * 100_000, b"x" * (sealed.FILE_BYTES + 1)])
def test_anything_else_is_no_keystore(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"not a keystore, or damaged|too long for the keystore"):
        SoftwareKeystore.open(path)


@pytest.mark.parametrize("uri", ["", "software:", "pkcs11:token=x", "http://x/y"])
def test_other_kinds_of_keystores_are_refused(uri: str) -> None:
    with pytest.raises(UsageError):
        keystore_path(uri)


def test_nothing_secret_is_shown_pickled_copied_or_stored_in_clear(made: tuple[Path, SoftwareKeystore]) -> None:
    path, keystore = made
    secrets = [master("issuer"), master("issuer-des"), bytes(range(0x40, 0x50))]
    unlock = path.with_name("lot.keystore.unlock").read_bytes().strip()
    file, content = sealed.SealedFile.open(path, lambda: unlock)
    entries = content.entries
    shown = repr(keystore) + repr(keystore.show()) + repr(entries) + str(vars(type(keystore)))
    for secret in secrets:
        assert secret.hex() not in shown.lower()
        assert repr(secret)[2:-1] not in shown
        assert secret.hex().encode() not in path.read_bytes().lower()
        assert secret not in path.read_bytes()
    for one in (keystore, entries[0], file):
        for act in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match="keys are not"):
                act(one)


def test_an_error_shows_no_secret(path: Path) -> None:
    secret = path.with_name("lot.keystore.unlock").read_text().strip()
    file = json.loads(path.read_text())
    file["entries"][0]["name"] = "other"
    path.write_text(json.dumps(file))
    error: BaseException | None = None
    try:
        SoftwareKeystore.open(path)
    except KeywrightError as caught:
        error = caught
    while error is not None:
        assert secret not in repr(error)
        error = error.__cause__ or error.__context__


@pytest.mark.parametrize("at", ["fsync", "link", "unlink"])
@pytest.mark.parametrize("nth", [1, 2])
def test_a_kill_while_it_is_made_leaves_both_files_whole_or_absent(tmp_path: Path, at: str, nth: int) -> None:
    path = tmp_path / "k"
    child = os.fork()
    if not child:
        die_at(at, nth)
        SoftwareKeystore.create(path, now=NOW)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL
    assert path.with_name("k.unlock").exists() or not path.exists()
    made = SoftwareKeystore.open(path) if path.exists() else SoftwareKeystore.create(path, now=NOW)
    assert SoftwareKeystore.open(path).keystore_id == made.keystore_id
