"""Key files: what they may look like, and that no message repeats them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from keywright.cli.keyfile import static_keys
from keywright.crypto.aes import AesKey
from keywright.errors import KeywrightError, PolicyError, StoreError, UsageError

A, B, C = (bytes((value,)) * 16 for value in (0xA1, 0xB2, 0xC3))


Write = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def make(text: str, mode: int = 0o600) -> str:
        path = tmp_path / "keys.toml"
        path.write_text(text)
        path.chmod(mode)
        return str(path)

    return make


def test_the_test_keys_have_a_name() -> None:
    assert static_keys("gp-test").keys.enc == AesKey(bytes(range(0x40, 0x50)))


def test_three_keys_and_a_version(write: Write) -> None:
    found = static_keys(write(f'enc = "{A.hex()}"\nmac = "{B.hex(":")}"\ndek = "{C.hex(" ")}"\nkvn = "30"\n'))
    assert [found.keys.enc, found.keys.mac, found.keys.dek] == [AesKey(A), AesKey(B), AesKey(C)]
    assert found.kvn == 0x30


def test_one_key_for_all_three(write: Write) -> None:
    found = static_keys(write(f'key = "{A.hex() * 2}"\n'))
    assert found.keys.enc == found.keys.mac == found.keys.dek == AesKey(A * 2)
    assert found.kvn == 0


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_file_that_others_may_read_is_refused(write: Write, mode: int) -> None:
    with pytest.raises(PolicyError, match="others"):
        static_keys(write(f'key = "{A.hex()}"\n', mode))


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no key file"):
        static_keys(str(tmp_path / "nothing"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "enc is missing"),
        ("nonsense", "not a key file"),
        (f'enc = "{A.hex()}"\nmac = "{A.hex()}"', "dek is missing"),
        (f'key = "{A.hex()[:-1]}"', "half a byte"),
        (f'key = "{A.hex()[:-2]}zz"', "is not a hex digit"),
        (f'key = "{A.hex()[:-2]}"', "15"),
        (f'enc = "{A.hex()}"\nmac = "{A.hex()}"\ndek = "{A.hex() * 2}"', "the three keys of a set have one size"),
        ("key = 1", "enc is not a text"),
        (f'key = "{A.hex()}"\nkvn = "3030"', "kvn is one byte"),
        (f'key = "{A.hex()}"\nkcv = "00"', "unknown entry 'kcv'"),
    ],
)
def test_what_is_no_key_file_is_refused_without_repeating_it(write: Write, text: str, message: str) -> None:
    with pytest.raises(KeywrightError) as raised:
        static_keys(write(text))
    assert isinstance(raised.value, UsageError)
    assert message in str(raised.value)
    assert A.hex()[:8] not in str(raised.value) + raised.value.hint
