"""`keywright keystore import-factory`: a set from components, key blocks or a file, and what is refused on the way."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import pytest

from keywright.crypto.aes import AesKey
from keywright.crypto.keyblocks import Header, Kbpk, wrap
from keywright.production.hsm.factory_set import keep_in_token
from keywright.production.keystores.key_states import KeyState, KeyStateError
from keywright.production.keystores.keystore import FactorySet
from keywright.production.keystores.sealed import Content, Entry, SealedFile
from keywright.production.keystores.software_keystore import SoftwareKeystore
from keywright.scp.scp03.keys import KeySet
from support.commands import Keywright
from support.softhsm import make_token

KEYS = tuple(bytes(range(at, at + 16)) for at in (0x10, 0x30, 0x50))
KCVS = KeySet.of(*KEYS).kcvs.hex().upper()
FIRST = tuple(bytes([one] * 16) for one in (0xA1, 0xA2, 0xA3))
KEK = bytes(range(0x80, 0xA0))


def components() -> str:
    """What two persons type: each a component of each of the three keys."""
    second = [bytes(a ^ b for a, b in zip(key, one, strict=True)) for key, one in zip(KEYS, FIRST, strict=True)]
    return "".join(f"{part.hex()}\n" for part in (*FIRST, *second))


@pytest.fixture
def made(keywright: Keywright, tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    assert keywright("keystore", "new", path).code == 0
    return path


def held(path: Path, name: str) -> str:
    return SoftwareKeystore.open(path).card_keys(FactorySet(name, bytes(10))).kcvs.hex().upper()


def with_kek(path: Path) -> None:
    """The keystore as a ceremony leaves it that loaded a transport key."""
    file, _ = SealedFile.open(path, lambda: path.with_name(f"{path.name}.unlock").read_bytes().strip())

    def change(content: Content) -> Content:
        assert content.registry is not None
        entry = Entry("supplier", "transport", "AES-256", KEK, header=Header("D", "K1", "A", "B").build())
        from keywright.production.keystores.fresh_keys import records_of

        (record,) = records_of(content.keystore_id, (entry,), 1_700_000_000).records
        return Content(
            content.keystore_id, content.test, (*content.entries, entry), content.registry.with_record(record)
        )

    file.update(change)


def test_two_persons_type_their_components_and_nothing_of_them_is_shown(
    keywright: Keywright, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(components()))
    ran = keywright("keystore", "import-factory", made, "maker", "--components", 2, "--expected", KCVS, "--json")
    assert ran.code == 0, ran.err
    assert (json.loads(ran.out)["purpose"], json.loads(ran.out)["state"]) == ("factory", "active")
    assert held(made, "maker") == KCVS
    said = (ran.out + ran.err).lower()
    assert not any(part.hex()[:16] in said for part in (*KEYS, *FIRST))


@pytest.mark.parametrize(
    ("typed", "text"),
    [
        (components().replace("a1", "a2", 1), "nothing was kept"),
        ("a1" * 16 + "\n", "the input has ended"),
        ("zz\n", "component 1 of K-ENC"),
        (("a1" * 8 + "\n") * 6, "no AES key has 8 bytes"),
        ((("a1" * 16) + "\n") * 6, "all zero or was given before"),
    ],
)
def test_a_wrong_component_leaves_the_keystore_as_it_was(
    keywright: Keywright, made: Path, monkeypatch: pytest.MonkeyPatch, typed: str, text: str
) -> None:
    before = made.read_bytes()
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    ran = keywright("keystore", "import-factory", made, "maker", "--components", 2, "--expected", KCVS)
    assert ran.code != 0
    assert text in ran.err
    assert "a1a1" not in ran.err
    assert made.read_bytes() == before


def test_a_set_comes_in_key_blocks_under_a_transport_key_that_a_ceremony_loaded(
    keywright: Keywright, made: Path, tmp_path: Path
) -> None:
    with_kek(made)
    header = Header("D", "21", "A", "X")
    blocks = tmp_path / "set.tr31"
    blocks.write_text("\n".join(wrap(Kbpk(AesKey(KEK)), header, key, os.urandom) for key in KEYS) + "\n")
    words = ("keystore", "import-factory", made, "maker", "--blocks", blocks, "--kek")
    assert "no transport key 'issuer'" in keywright(*words, "issuer").err
    ran = keywright(*words, "supplier")
    assert ran.code == 0, ran.err
    assert held(made, "maker") == KCVS
    assert "compare them with those that the keys' sender has" in ran.err
    assert "has, or had, a key 'maker'" in keywright(*words, "supplier").err
    blocks.write_text(blocks.read_text()[:-5] + "0000\n")
    assert keywright("keystore", "import-factory", made, "other", *words[4:], "supplier").code == 3
    other = wrap(Kbpk(AesKey(KEK)), Header("D", "K1", "A", "B"), KEYS[0], os.urandom)
    blocks.write_text("\n".join([other] * 3))
    assert "key usage K1" in keywright("keystore", "import-factory", made, "other", *words[4:], "supplier").err


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ((), "one of --components, --blocks, --key-file"),
        (("--components", 2, "--key-file", "f"), "one of --components, --blocks, --key-file"),
        (("--components", 1), "never by one"),
        (("--components", 2, "--kek", "k"), "--blocks and --kek go together"),
        (("--key-file", "missing"), "missing"),
    ],
)
def test_what_makes_no_sense_is_refused(keywright: Keywright, made: Path, words: tuple[object, ...], text: str) -> None:
    ran = keywright("keystore", "import-factory", made, "maker", *words)
    assert ran.code != 0
    assert text in ran.err


def test_a_set_goes_into_a_token_and_a_production_token_wants_two_persons(
    keywright: Keywright, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Both before the library is loaded: it lists the tokens once.
    real = make_token(tmp_path, monkeypatch, label="real")
    token = make_token(tmp_path, monkeypatch)
    assert keywright("keystore", "new", token.uri, "--unlock", token.pin_file).code == 0
    keys = tmp_path / "maker.toml"
    keys.touch(mode=0o600)
    keys.write_text("".join(f'{name} = "{key.hex()}"\n' for name, key in zip(("enc", "mac", "dek"), KEYS, strict=True)))
    words = ("keystore", "import-factory", token.uri, "maker", "--unlock", token.pin_file)
    ran = keywright(*words, "--key-file", keys, "--expected", KCVS)
    assert ran.code == 0, ran.err
    shown = json.loads(keywright("keystore", "show", token.uri, "--unlock", token.pin_file, "--json").out)
    assert next(one["check"] for one in shown["keys"] if one["name"] == "maker").upper() == KCVS
    assert keywright("keystore", "audit", token.uri, "--unlock", token.pin_file).code == 0
    assert keywright("keystore", "new", real.uri, "--unlock", real.pin_file, "--production").code == 0
    words = ("keystore", "import-factory", real.uri, "maker", "--unlock", real.pin_file)
    assert "do not stand in a file" in keywright(*words, "--key-file", keys).err
    assert "--expected is missing" in keywright(*words, "--components", 2).err
    assert "changed by two people" in keywright(*words, "--components", 2, "--expected", KCVS).err
    uri, keys_of = real.parsed, KeySet.of(*KEYS)
    record = keep_in_token(uri, real.pin_file, "maker", keys_of, at=1_795_453_200, owner="", people="aa" * 16)
    assert record.state is KeyState.PRE_ACTIVE
    with pytest.raises(KeyStateError, match="people of another directory"):
        keep_in_token(uri, real.pin_file, "other", keys_of, at=1_795_453_200, owner="", people="bb" * 16)
