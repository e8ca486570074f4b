"""RSA keys: encodings, the signatures of PKCS#1 and ISO/IEC 9796-2, decryption that is no oracle."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding
from hypothesis import given
from hypothesis import strategies as st

from keywright.crypto import EcPrivateKey, RsaPrivateKey, RsaPublicKey
from keywright.errors import AuthenticationError, DecodeError
from support.vectors import Case, load, unhex, vectors

HASHES: Final[dict[str, Callable[[], hashes.HashAlgorithm]]] = {
    "sha1": hashes.SHA1,
    "sha256": hashes.SHA256,
    "sha384": hashes.SHA384,
    "sha512": hashes.SHA512,
}
NUMBERS: Final = {name: number for case in load("scp/ota_scp10.json") for name, number in case["keys"].items()}
every_key = pytest.mark.parametrize("name", NUMBERS)
every_hash = pytest.mark.parametrize("hash_name", HASHES)


def numbers(name: str) -> tuple[bytes, bytes, bytes]:
    # The file drops a leading zero digit.
    n, d, e = (unhex("0" * (len(NUMBERS[name][part]) % 2) + NUMBERS[name][part]) for part in "nde")
    return n, d, e


KEYS: Final = {name: RsaPrivateKey.from_numbers(*numbers(name)) for name in NUMBERS}
KEY: Final = KEYS["sd_1024"]
OTHER: Final = KEYS["oce_1024"]


def components(name: str) -> list[bytes]:
    p, q, d = (int(NUMBERS[name][part], 16) for part in "pqd")
    return [number.to_bytes(256) for number in (p, q, d % (p - 1), d % (q - 1), pow(q, -1, p))]


@every_key
def test_every_form_of_numbers_gives_the_same_key(name: str) -> None:
    key = KEYS[name]
    modulus, _, exponent = numbers(name)
    assert (key.public.modulus, key.public.exponent) == (modulus, exponent)
    assert key.public.bits == len(modulus) * 8 == key.public.size * 8
    assert RsaPrivateKey.from_crt(*components(name)) == RsaPrivateKey.from_crt(*components(name), known=True) == key
    assert RsaPrivateKey.from_pkcs8(key.to_pkcs8()) == key
    assert RsaPublicKey.from_numbers(b"\0" + modulus, b"\0" + exponent) == key.public
    assert RsaPublicKey.from_spki(key.public.spki()) == key.public
    assert hash(RsaPublicKey.from_spki(key.public.spki())) == hash(key.public)


def test_the_five_components_give_the_private_exponent_too() -> None:
    modulus, private, _ = numbers("sd_1024")
    key = RsaPrivateKey.from_crt(*components("sd_1024"))
    m, n = 0x1234567890, int.from_bytes(modulus)
    assert int.from_bytes(key.apply(m.to_bytes(128))) == pow(m, int.from_bytes(private), n)


@pytest.mark.parametrize("wrong", range(5))
def test_components_that_do_not_belong_together_are_refused(wrong: int) -> None:
    parts = components("sd_1024")
    parts[wrong] = (int.from_bytes(parts[wrong]) + 2).to_bytes(256)
    with pytest.raises(DecodeError):
        RsaPrivateKey.from_crt(*parts)
    with pytest.raises(DecodeError):
        RsaPrivateKey.from_crt(*parts, known=True)


def test_numbers_that_do_not_belong_together_are_refused_without_showing_them() -> None:
    modulus, private, exponent = numbers("sd_1024")
    wrong = (int.from_bytes(private) + 2).to_bytes(128)
    with pytest.raises(DecodeError, match=r"^not an RSA private key$") as caught:
        RsaPrivateKey.from_numbers(modulus, wrong, exponent)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_a_generated_key_has_the_size_and_exponent_asked_for() -> None:
    key = RsaPrivateKey.generate(1024)
    assert (key.public.bits, key.public.exponent) == (1024, b"\1\0\1")
    for bits in (512, 16384):
        with pytest.raises(ValueError, match="1024 to 8192 bits"):
            RsaPrivateKey.generate(bits)


@pytest.mark.parametrize("modulus", [b"", b"\1" * 64, b"\xff" * 1025, b"\xfe" * 128, b"\xc0" + bytes(127)])
def test_a_modulus_too_short_too_long_or_even_is_refused(modulus: bytes) -> None:
    with pytest.raises(DecodeError):
        RsaPublicKey.from_numbers(modulus, b"\1\0\1")


@pytest.mark.parametrize("exponent", [b"", b"\1", b"\2", b"\1\0\0"])
def test_an_exponent_that_is_even_or_one_is_refused(exponent: bytes) -> None:
    with pytest.raises(DecodeError, match="not an RSA public key"):
        RsaPublicKey.from_numbers(KEY.public.modulus, exponent)


def test_keys_of_another_kind_are_refused() -> None:
    curve = EcPrivateKey.generate("P-256")
    with pytest.raises(DecodeError, match="not an RSA private key"):
        RsaPrivateKey.from_pkcs8(curve.to_pkcs8())
    with pytest.raises(DecodeError, match="not an RSA public key"):
        RsaPublicKey.from_spki(curve.public.spki())
    secp = ec.derive_private_key(7, ec.SECP256K1()).public_key()
    spki = secp.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(DecodeError):
        RsaPublicKey.from_spki(spki)


@given(data=st.binary(max_size=140), cut=st.integers(0, 120))
def test_any_other_bytes_are_a_decode_error(data: bytes, cut: int) -> None:
    for attempt in (
        lambda: RsaPublicKey.from_spki(data),
        lambda: RsaPublicKey.from_spki(KEY.public.spki()[:cut]),
        lambda: RsaPrivateKey.from_pkcs8(data),
        lambda: RsaPrivateKey.from_pkcs8(KEY.to_pkcs8()[:cut]),
    ):
        with pytest.raises(DecodeError):
            attempt()


@vectors("crypto/rsa_rfc.json")
def test_a_published_signature_is_accepted_and_made_again(case: Case) -> None:
    public = RsaPublicKey.from_numbers(unhex(case["n"]), unhex(case["e"]))
    message, signature, hash_name = unhex(case["message"]), unhex(case["signature"]), case["hash"]
    if case["scheme"] == "pkcs1":
        public.verify(signature, message, hash_name)
        private = RsaPrivateKey.from_numbers(unhex(case["n"]), unhex(case["d"]), unhex(case["e"]))
        assert private.sign(message, hash_name) == signature
        return
    public.verify_pss(signature, message, hash_name)
    public.verify_pss(signature, message, hash_name, case["salt_length"])
    with pytest.raises(AuthenticationError):
        public.verify_pss(signature, message, hash_name, case["salt_length"] - 1)


@every_hash
def test_a_pkcs1_signature_is_the_block_of_rfc_8017_9_2_under_the_private_operation(hash_name: str) -> None:
    prefixes = {
        "sha1": "3021300906052b0e03021a05000414",
        "sha256": "3031300d060960864801650304020105000420",
        "sha384": "3041300d060960864801650304020205000430",
        "sha512": "3051300d060960864801650304020305000440",
    }
    info = bytes.fromhex(prefixes[hash_name]) + hashlib.new(hash_name, b"data").digest()
    block = b"\0\1" + b"\xff" * (128 - 3 - len(info)) + b"\0" + info
    assert KEY.sign(b"data", hash_name) == KEY.apply(block)
    KEY.public.verify(KEY.apply(block), b"data", hash_name)


@every_hash
def test_a_library_beside_ours_takes_both_kinds_of_signature(hash_name: str) -> None:
    key, chosen = KEY.public.library_key(), HASHES[hash_name]()
    key.verify(KEY.sign(b"data", hash_name), b"data", padding.PKCS1v15(), chosen)
    for salt in (0, 20, None):
        length = chosen.digest_size if salt is None else salt
        pss = padding.PSS(padding.MGF1(HASHES[hash_name]()), length)
        if length + chosen.digest_size + 2 > 128:
            with pytest.raises(ValueError):
                KEY.sign_pss(b"data", hash_name, salt)
            continue
        key.verify(KEY.sign_pss(b"data", hash_name, salt), b"data", pss, chosen)
        KEY.public.verify_pss(KEY.library_key().sign(b"data", pss, chosen), b"data", hash_name, salt)


def test_any_other_data_key_hash_salt_or_length_is_refused() -> None:
    signature, pss, iso = KEY.sign(b"data"), KEY.sign_pss(b"data"), KEY.sign_recoverable(bytes(106), b"rest")
    public = KEY.public
    refused: list[Callable[[], object]] = [
        lambda: public.verify(signature, b"date"),
        lambda: public.verify(signature, b"data", "sha1"),
        lambda: OTHER.public.verify(signature, b"data"),
        lambda: public.verify(signature[:-1], b"data"),
        lambda: public.verify(signature + b"\0", b"data"),
        lambda: public.verify(b"", b"data"),
        lambda: public.verify(pss, b"data"),
        lambda: public.verify_pss(signature, b"data"),
        lambda: public.verify_pss(pss, b"date"),
        lambda: public.verify_pss(pss, b"data", "sha384", 32),
        lambda: public.verify_pss(pss, b"data", "sha256", 20),
        lambda: OTHER.public.verify_pss(pss, b"data"),
        lambda: public.recover(iso, b"Rest"),
        lambda: public.recover(iso, b""),
        lambda: public.recover(signature, b"rest"),
        lambda: KEYS["tp_ex_1024"].public.recover(iso, b"rest"),
    ]
    for attempt in refused:
        with pytest.raises(AuthenticationError, match=r"^(signature not accepted|not a block of this key)$"):
            attempt()


def test_a_hash_that_is_not_listed_is_refused() -> None:
    with pytest.raises(ValueError, match="no RSA signature with 'md5'; one of sha1, sha256"):
        KEY.sign(b"", "md5")
    with pytest.raises(ValueError, match="no RSA signature with 'md5'"):
        KEY.public.verify_pss(bytes(128), b"", "md5")


@every_key
def test_the_bare_operations_are_inverse_and_agree_with_the_exponents(name: str) -> None:
    key, (n, d, _) = KEYS[name], (int.from_bytes(number) for number in numbers(name))
    for number in (0, 1, 2, n - 2, n - 1, n // 3):
        block = number.to_bytes(key.public.size)
        assert int.from_bytes(key.apply(block)) == pow(number, d, n)
        assert key.public.apply(key.apply(block)) == block


def test_a_block_that_is_no_number_below_the_modulus_is_refused() -> None:
    for block in (b"", bytes(127), bytes(129), KEY.public.modulus, b"\xff" * 128):
        for operation in (KEY.apply, KEY.public.apply, KEY.decrypt, KEY.public.recover):
            with pytest.raises(AuthenticationError, match=r"^not a block of this key$"):
                operation(block)


@given(carried=st.binary(min_size=106, max_size=106), rest=st.binary(max_size=40))
def test_a_recoverable_signature_gives_back_what_it_carries_in_both_forms(carried: bytes, rest: bytes) -> None:
    signature = KEY.sign_recoverable(carried, rest)
    assert KEY.public.recover(signature, rest) == carried
    other = int.from_bytes(KEY.public.modulus) - int.from_bytes(signature)
    assert KEY.public.recover(other.to_bytes(128), rest) == carried


@pytest.mark.parametrize("at", [0, 1, 60, 106, 107, 120, 126, 127])
def test_every_changed_byte_of_a_scheme_1_block_is_refused(at: int) -> None:
    block = b"\x6a" + bytes(106) + hashlib.sha1(bytes(106)).digest() + b"\xbc"
    assert KEY.public.recover(KEY.apply(block)) == bytes(106)
    changed = bytearray(block)
    changed[at] ^= 0x10 if at else 0x01
    with pytest.raises(AuthenticationError, match=r"^signature not accepted$"):
        KEY.public.recover(KEY.apply(bytes(changed)))


def test_a_recoverable_part_of_another_length_is_a_mistake_of_the_caller() -> None:
    assert KEY.public.recoverable == 106
    for size in (0, 105, 107):
        with pytest.raises(ValueError, match="carries 106 bytes"):
            KEY.sign_recoverable(bytes(size))


@given(clear=st.binary(max_size=117))
def test_what_was_encrypted_comes_back_whoever_padded(clear: bytes) -> None:
    assert KEY.decrypt(KEY.public.encrypt(clear)) == clear
    for pad in (b"\xff", b"\1"):
        assert KEY.decrypt(KEY.public.encrypt_with(clear, pad * KEY.public.padding_for(clear))) == clear


def test_a_padding_string_has_eight_bytes_and_no_zero() -> None:
    with pytest.raises(ValueError, match="118 bytes do not fit"):
        KEY.public.padding_for(bytes(118))
    with pytest.raises(ValueError, match="non-zero bytes"):
        KEY.public.encrypt_with(bytes(117), b"\1" * 7 + b"\0")
    with pytest.raises(ValueError, match="non-zero bytes"):
        KEY.public.encrypt_with(bytes(117), b"\1" * 9)


@pytest.mark.parametrize(
    "block",
    [
        b"\0\1" + b"\xff" * 20 + b"\0" + bytes(105),
        b"\1\2" + b"\xff" * 20 + b"\0" + bytes(105),
        b"\0\2" + b"\xff" * 7 + b"\0" + bytes(118),
        b"\0\2" + b"\xff" * 126,
        bytes(128),
    ],
    ids=["type", "first byte", "short padding", "no end", "zero"],
)
def test_a_block_that_is_not_well_formed_opens_to_the_same_wrong_bytes_each_time(block: bytes) -> None:
    cryptogram = KEY.public.apply(block)
    opened = KEY.decrypt(cryptogram)
    assert opened == KEY.decrypt(cryptogram)
    assert not opened or opened not in block


def test_a_backend_that_reports_padding_is_silenced() -> None:
    class Reporting:
        def decrypt(self, *_: object) -> bytes:
            raise ValueError("padding")

    key = RsaPrivateKey.from_numbers(*numbers("sd_1024"))
    setattr(key, "_key", Reporting())  # noqa: B010 - mypy knows the type of the slot
    opened = [key.decrypt(bytes([number]) * 128) for number in (1, 2, 1)]
    assert opened[0] == opened[2] != opened[1]


def test_a_wrong_result_of_the_private_operation_never_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = RsaPrivateKey._private
    monkeypatch.setattr(RsaPrivateKey, "_private", lambda key, number: honest(key, number) ^ 1)
    with pytest.raises(ArithmeticError):
        KEY.apply(bytes(127) + b"\5")


def test_the_private_operation_is_blinded(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    honest = RsaPrivateKey._private

    def watched(key: RsaPrivateKey, number: int) -> int:
        seen.append(number)
        return honest(key, number)

    monkeypatch.setattr(RsaPrivateKey, "_private", watched)
    KEY.apply(bytes(127) + b"\5")
    OTHER.apply(bytes(127) + b"\5")
    assert len(set(seen)) == 2
    assert 5 not in seen


def test_a_public_key_names_its_size_and_the_start_of_its_modulus() -> None:
    assert repr(KEY.public) == "<RSA-1024 public key d6fa24ef>"
    assert repr(KEY) == "<RSA private key of <RSA-1024 public key d6fa24ef>>"
    assert KEY.public != KEY
