"""Tokens, receipts and DAP: the exact bytes that are signed, and both ends of every scheme."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.crypto.aes import AesKey
from keywright.crypto.des import TripleDesKey
from keywright.crypto.ec import EcPrivateKey
from keywright.crypto.rsa import RsaPrivateKey
from keywright.errors import AuthenticationError, WireError
from keywright.globalplatform.confirmation import Confirmation
from keywright.globalplatform.dap import (
    HASH_BYTES,
    HASH_CODES,
    algorithm_of,
    check_load_hash,
    cipher_load_block,
    decipher_load_block,
    hash_load_block,
    is_strong_enough,
    sign_dap,
    verify_dap,
    weakest_hash,
)
from keywright.globalplatform.install import Combined, InstallForInstall, InstallForLoad
from keywright.globalplatform.load_file import DapBlock
from keywright.globalplatform.receipts import (
    check_receipt,
    deleted,
    extradited,
    installed,
    loaded,
    made_selectable,
    make_receipt,
    receipt_input,
    registry_updated,
)
from keywright.globalplatform.signatures import SigningKey, public_half, sign, verify
from keywright.globalplatform.tokens import (
    combined_input,
    delete_input,
    install_input,
    sign_token,
    split_delete,
    split_install,
    verify_token,
    with_delete_token,
    with_install_token,
)
from keywright.iso7816.apdu import Command
from support.messages import parsed

PACKAGE, APPLET, ISD = (bytes.fromhex(text) for text in ("0102030405", "010203040506", "A000000151000000"))

KEYS: dict[str, SigningKey] = {
    "rsa-1024": RsaPrivateKey.generate(1024),
    "rsa-2048": RsaPrivateKey.generate(2048),
    "p-256": EcPrivateKey.from_scalar("P-256", b"\x11" * 32),
    "p-384": EcPrivateKey.from_scalar("P-384", b"\x12" * 48),
    "p-521": EcPrivateKey.from_scalar("P-521", b"\x13" * 64),
    "brainpool": EcPrivateKey.from_scalar("brainpoolP256r1", b"\x14" * 32),
    "aes-128": AesKey(bytes(range(16))),
    "aes-256": AesKey(bytes(range(32))),
    "des": TripleDesKey(bytes(range(16))),
}
each_key = pytest.mark.parametrize("name", KEYS)


@each_key
def test_what_one_end_signs_the_other_accepts_and_a_flipped_bit_it_refuses(name: str) -> None:
    key = KEYS[name]
    message = bytes(range(40))
    signature = sign(key, message)
    check = public_half(key)
    verify(check, message, signature)
    for bit in range(0, len(signature) * 8, 37):
        flipped = bytearray(signature)
        flipped[bit // 8] ^= 0x80 >> bit % 8
        with pytest.raises(AuthenticationError):
            verify(check, message, bytes(flipped))
    with pytest.raises(AuthenticationError):
        verify(check, message + b"\0", signature)
    with pytest.raises(AuthenticationError):
        verify(check, message, signature[:-1])


def test_the_scheme_follows_the_key() -> None:
    small, large = KEYS["rsa-1024"], KEYS["rsa-2048"]
    assert isinstance(small, RsaPrivateKey)
    assert isinstance(large, RsaPrivateKey)
    small.public.verify(sign(small, b"m"), b"m", "sha1")
    verify(small.public, b"m", small.sign(b"m", "sha256"))
    with pytest.raises(AuthenticationError):
        verify(small.public, b"n", small.sign(b"m", "sha256"))
    with pytest.raises(AuthenticationError):
        verify(small.public, b"m", small.sign(b"m", "sha512"))
    large.public.verify_pss(sign(large, b"m"), b"m", "sha256", 32)
    for name, hash_name in (("p-256", "sha256"), ("p-384", "sha384"), ("p-521", "sha512"), ("brainpool", "sha256")):
        key = KEYS[name]
        assert isinstance(key, EcPrivateKey)
        key.public.verify(sign(key, b"m"), b"m", hash_name)
    assert len(sign(KEYS["aes-256"], b"m")) == 16
    assert len(sign(KEYS["des"], b"m")) == 8


def test_the_retail_mac_pads_with_80() -> None:
    key = TripleDesKey(bytes(range(16)))
    assert sign(key, b"12345678") == key.retail_mac(bytes(8), b"12345678" + b"\x80" + bytes(7))


# ---- tokens -----------------------------------------------------------------------------------------------------


def install(p1: int, p2: int, data: bytes) -> Command:
    return Command(0x80, 0xE6, p1, p2, data, 0)


def test_the_input_of_a_load_token_is_the_command_up_to_its_token() -> None:
    command = install(
        0x02, 0, InstallForLoad(PACKAGE, ISD, b"\xaa" * 20, bytes.fromhex("EF04C6020400"), b"T" * 64).build()
    )
    assert (
        install_input(command).hex()
        == ("0200" + "2B" + "050102030405" + "08A000000151000000" + "14" + "aa" * 20 + "06EF04C6020400").lower()
    )


def test_the_input_of_an_install_token_is_the_command_up_to_its_token() -> None:
    data = InstallForInstall(PACKAGE, APPLET, APPLET, b"\x00").build()
    assert install_input(install(0x0C, 0, data)).hex() == "0c00" + "19" + data[:-1].hex()
    assert len(data[:-1]) == 0x19
    assert install_input(install(0x8C, 0, data)) == install_input(install(0x0C, 0, data)), "more follows is not signed"


def test_from_256_bytes_on_the_length_takes_three() -> None:
    data = InstallForInstall(PACKAGE, APPLET, APPLET, b"\0", b"\xc9\x81\xf0" + bytes(240)).build()
    fields = data[:-1]
    assert install_input(install(0x04, 0, data)) == b"\x04\x00\x00" + len(fields).to_bytes(2) + fields


def test_the_inputs_of_a_combined_process_are_joined() -> None:
    first = install(0x0E, Combined.FIRST, InstallForLoad(PACKAGE).build())
    last = install(0x0E, Combined.LAST, InstallForInstall(PACKAGE, APPLET, APPLET, b"\0").build())
    assert combined_input(first, last) == install_input(first) + install_input(last)
    assert combined_input(first, last).hex().startswith("0e0109" + "050102030405" + "000000" + "0e0319")


def test_the_input_of_a_delete_token_has_no_token_in_it() -> None:
    data = bytes.fromhex("4F050102030405B603420112")
    command = Command(0x80, 0xE4, 0, 0x80, with_delete_token(data, b"T" * 128), 0)
    assert command.data[len(data) :][:3] == b"\x9e\x81\x80"
    assert delete_input(command) == b"\x00\x80\x0c" + data
    assert split_delete(command.data) == (data, b"T" * 128)


@pytest.mark.parametrize("length", ["80", "8180", "820080"])
def test_the_input_is_cut_from_the_bytes_that_were_sent(length: str) -> None:
    fields = b"\x05" + PACKAGE + b"\0\0" + bytes.fromhex(length) + bytes(128)
    command = install(0x02, 0, fields + bytes.fromhex(length) + b"T" * 128)
    assert split_install(command.data) == (fields, b"T" * 128)
    assert install_input(command) == bytes((2, 0, len(fields))) + fields


@pytest.mark.parametrize("name", ["rsa-1024", "rsa-2048", "p-256", "aes-128"])
def test_a_token_fits_its_command_and_no_other(name: str) -> None:
    key = KEYS[name]
    assert not isinstance(key, TripleDesKey)
    check = public_half(key)
    assert not isinstance(check, TripleDesKey)
    plain = install(0x02, 0, InstallForLoad(PACKAGE, ISD).build())
    token = sign_token(key, install_input(plain))
    signed = install(0x02, 0, with_install_token(plain.data, token))
    assert InstallForLoad.parse(signed.data).token == token
    verify_token(check, install_input(signed), token)
    for other in (
        install(0x0C, 0, signed.data),
        install(0x02, 1, signed.data),
        install(0x02, 0, InstallForLoad(PACKAGE, APPLET, token=token).build()),
    ):
        with pytest.raises(AuthenticationError):
            verify_token(check, install_input(other), token)


@pytest.mark.parametrize("split", [split_install, split_delete])
@given(data=st.binary(max_size=40))
def test_any_bytes_are_split_or_refused(split: Callable[[bytes], tuple[bytes, bytes]], data: bytes) -> None:
    found = parsed(split, data)
    assert found is None or len(found[0]) + len(found[1]) <= len(data)


# ---- receipts ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("done", "data"),
    [
        (loaded(PACKAGE, ISD), "050102030405 08A000000151000000"),
        (installed(PACKAGE, APPLET), "050102030405 06010203040506"),
        (made_selectable(APPLET, b"\x04"), "06010203040506 0104"),
        (deleted(APPLET), "06010203040506"),
        (extradited(ISD, APPLET, PACKAGE), "08A000000151000000 06010203040506 050102030405"),
        (registry_updated(ISD, APPLET, bytes(3)), "08A000000151000000 06010203040506 03000000"),
    ],
)
def test_a_receipt_signs_its_confirmation_and_what_was_done(done: object, data: str) -> None:
    from keywright.globalplatform.receipts import Done

    assert isinstance(done, Done)
    assert receipt_input(b"\xcc", done) == b"\xcc" + bytes.fromhex(data.replace(" ", ""))


@each_key
def test_a_receipt_is_made_on_card_and_checked_off_card(name: str) -> None:
    key = KEYS[name]
    answer = make_receipt(key, 7, installed(PACKAGE, APPLET), domain=b"\x42\x45", token=b"\x09")
    parsed_answer = Confirmation.parse(answer.build())
    assert parsed_answer.data.hex() == "02000702424509"
    data = check_receipt(public_half(key), parsed_answer, installed(PACKAGE, APPLET), above=6)
    assert (data.counter.count, data.domain, data.token) == (7, b"\x42\x45", b"\x09")
    with pytest.raises(AuthenticationError):
        check_receipt(public_half(key), parsed_answer, installed(PACKAGE, PACKAGE))
    with pytest.raises(AuthenticationError):
        check_receipt(public_half(key), Confirmation(answer.receipt, b"\x02\x00\x08\x00"), installed(PACKAGE, APPLET))


def test_a_repeated_a_missing_and_a_spent_receipt_are_refused() -> None:
    key = AesKey(bytes(16))
    answer = make_receipt(key, 7, deleted(APPLET))
    with pytest.raises(WireError, match="repeated"):
        check_receipt(key, answer, deleted(APPLET), above=7)
    with pytest.raises(WireError, match="no receipt"):
        check_receipt(key, Confirmation(), deleted(APPLET))
    with pytest.raises(WireError, match="confirmation data"):
        check_receipt(key, Confirmation(sign(key, b"\x07" + deleted(APPLET).build()), b"\x07"), deleted(APPLET))
    with pytest.raises(ValueError, match="spent"):
        make_receipt(key, 0x10000, deleted(APPLET))


# ---- DAP --------------------------------------------------------------------------------------------------------

BLOCK = b"load file data block"


@pytest.mark.parametrize("algorithm", HASH_BYTES)
def test_the_hash_tells_its_algorithm_by_its_length(algorithm: str) -> None:
    digest = hash_load_block(BLOCK, algorithm)
    assert digest == hashlib.new(algorithm, BLOCK).digest()
    assert algorithm_of(digest) == algorithm
    check_load_hash(digest, BLOCK)
    with pytest.raises(AuthenticationError):
        check_load_hash(digest, BLOCK + b"\0")


def test_a_card_names_hashes_by_code() -> None:
    assert [HASH_CODES[code] for code in (1, 2, 3, 4)] == ["sha1", "sha256", "sha384", "sha512"]


def test_no_other_hash_is_taken() -> None:
    with pytest.raises(ValueError, match="md5"):
        hash_load_block(BLOCK, "md5")
    with pytest.raises(ValueError, match="16 bytes"):
        algorithm_of(bytes(16))


@each_key
def test_a_dap_is_over_the_hash_as_a_message(name: str) -> None:
    key = KEYS[name]
    digest = hash_load_block(BLOCK, "sha512")
    dap = sign_dap(key, digest, ISD)
    verify(public_half(key), digest, dap.signature)
    verify_dap(public_half(key), digest, DapBlock.parse(dap.build()))
    with pytest.raises(AuthenticationError):
        verify_dap(public_half(key), hash_load_block(BLOCK + b"\0", "sha512"), dap)


@pytest.mark.parametrize(
    ("size", "weakest", "too_weak"), [(16, "sha256", "sha1"), (24, "sha384", "sha256"), (32, "sha512", "sha384")]
)
def test_a_hash_is_not_weaker_than_the_key(size: int, weakest: str, too_weak: str) -> None:
    key = AesKey(bytes(size))
    assert weakest_hash(key) == weakest
    assert is_strong_enough(hash_load_block(BLOCK, weakest), key)
    digest = hash_load_block(BLOCK, too_weak)
    with pytest.raises(ValueError, match=weakest):
        sign_dap(key, digest, ISD)
    with pytest.raises(AuthenticationError, match="weaker"):
        verify_dap(key, digest, DapBlock(ISD, key.cmac(digest)))


@pytest.mark.parametrize("key", [AesKey(bytes(16)), AesKey(bytes(32)), TripleDesKey(bytes(range(16)))])
def test_a_load_file_is_ciphered_and_deciphered(key: AesKey | TripleDesKey) -> None:
    size = 8 if isinstance(key, TripleDesKey) else 16
    for icv in (None, b"\x55" * size):
        for length in (0, 1, size - 1, size, size + 1):
            ciphered = cipher_load_block(key, bytes(length), icv)
            assert len(ciphered) % size == 0
            assert decipher_load_block(key, ciphered, icv) == bytes(length)
    for bad in (bytes(size - 1), key.encrypt_cbc(bytes(size), bytes(size))):
        with pytest.raises(AuthenticationError):
            decipher_load_block(key, bad)
