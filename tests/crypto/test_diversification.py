"""The keys of one card from a master: published values, our own scheme spelled out, and batches that agree."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.cmac import CMAC
from hypothesis import given
from hypothesis import strategies as st

from keywright.crypto import (
    SCHEMES,
    AesKey,
    TripleDesKey,
    an10922_aes128,
    batch,
    card_context,
    derive_key_set,
    derive_key_sets,
)
from keywright.crypto.diversification import ecb_blocks, key_sizes
from keywright.errors import PolicyError
from support.vectors import Case, load, unhex, vectors

FACTORY_NAMES = {"emv-cps": "emv", "visa2": "visa2"}
MASTERS: dict[str, Sequence[AesKey | TripleDesKey]] = {
    "kdf3": [AesKey(bytes(range(size))) for size in (16, 24, 32)],
    "sp800-108": [AesKey(bytes(range(size))) for size in (16, 24, 32)],
    "ecb": [AesKey(bytes(range(size))) for size in (16, 24, 32)],
    "emv": [TripleDesKey(bytes(range(16))), TripleDesKey(bytes(range(24)))],
    "visa2": [TripleDesKey(bytes(range(16))), TripleDesKey(bytes(range(24)))],
    "visa": [TripleDesKey(bytes(range(16))), TripleDesKey(bytes(range(24)))],
}


def cmac(raw: bytes, message: bytes) -> bytes:
    mac = CMAC(algorithms.AES(raw))
    mac.update(message)
    return mac.finalize()


@vectors("scp/diversification.json")
def test_key_set_is_the_published_one(case: Case) -> None:
    key = AesKey if case["kdf"] == "kdf3" else TripleDesKey
    keys = derive_key_set(key(unhex(case["master"])), case["kdf"], unhex(case["kdd"]))
    assert keys == (unhex(case["enc"]), unhex(case["mac"]), unhex(case["dek"]))
    if "kcv" in case:
        assert [key(one).kcv().hex() for one in keys] == case["kcv"]


@vectors("factory/keys.json", "diversification")
def test_key_set_and_diversified_key_are_those_of_the_factory_file(case: Case) -> None:
    if case["method"] == "an10922-aes128":
        assert an10922_aes128(AesKey(unhex(case["key"])), unhex(case["m"])) == unhex(case["derived"])
    else:
        keys = derive_key_set(TripleDesKey(unhex(case["kmc"])), FACTORY_NAMES[case["method"]], unhex(case["kdd"]))
        assert keys == (unhex(case["enc"]), unhex(case["mac"]), unhex(case["dek"]))


def test_the_files_cover_every_scheme_that_is_not_ours_but_visa() -> None:
    assert {case["kdf"] for case in load("scp/diversification.json")} == set(SCHEMES) - {"sp800-108", "ecb", "visa"}
    assert {case["method"] for case in load("factory/keys.json", "diversification")} == {
        *FACTORY_NAMES,
        "an10922-aes128",
    }


def test_our_scheme_is_label_with_version_and_whole_context() -> None:
    raw, context = bytes(range(32)), b"\x03uid\x03lot\x30"
    expected = tuple(
        cmac(raw, b"\x01" + label + b"\x00" + context + b"\x01\x00")
        + cmac(raw, b"\x02" + label + b"\x00" + context + b"\x01\x00")
        for label in (b"GP-SCP03-ENC-1", b"GP-SCP03-MAC-1", b"GP-SCP03-DEK-1")
    )
    assert derive_key_set(AesKey(raw), "sp800-108", context) == expected


def test_ecb_encrypts_the_digest_of_the_same_message() -> None:
    raw, context = bytes(range(32)), b"\x03uid\x03lot\x30"
    encryptor = Cipher(algorithms.AES(raw), modes.ECB()).encryptor()
    expected = tuple(
        encryptor.update(hashlib.sha256(b"\x01" + label + b"\x00" + context + b"\x01\x00").digest()[:16])
        + encryptor.update(hashlib.sha256(b"\x02" + label + b"\x00" + context + b"\x01\x00").digest()[:16])
        for label in (b"GP-SCP03-ENC-1", b"GP-SCP03-MAC-1", b"GP-SCP03-DEK-1")
    )
    assert derive_key_set(AesKey(raw), "ecb", context) == expected
    assert tuple(encryptor.update(blocks) for blocks in ecb_blocks(context, 32)) == expected


def test_keys_of_another_length_are_other_keys_not_shorter_ones() -> None:
    master, context = AesKey(bytes(range(32))), b"card"
    shorter = derive_key_set(master, "sp800-108", context, key_bytes=16)
    longer = derive_key_set(master, "sp800-108", context, key_bytes=32)
    assert [len(key) for key in shorter + longer] == [16] * 3 + [32] * 3
    assert not any(long.startswith(short) for short, long in zip(shorter, longer, strict=True))


@given(
    cards=st.integers(0, 300),
    seed=st.binary(min_size=32, max_size=32),
    scheme=st.sampled_from(SCHEMES),
    which=st.integers(0, 2),
    width=st.integers(1, 70),
    key_bytes=st.sampled_from([None, 16]),
)
def test_a_batch_gives_the_bytes_of_single_derivations(
    cards: int, seed: bytes, scheme: str, which: int, width: int, key_bytes: int | None
) -> None:
    master = MASTERS[scheme][which % len(MASTERS[scheme])]
    if isinstance(master, TripleDesKey):
        (key_bytes,) = key_sizes(scheme)
    width = width if scheme in ("sp800-108", "ecb") else 10
    diversifiers = AesKey(seed).encrypt_blocks(bytes(16 * (cards * width // 16 + 1)))[: cards * width]
    rows = [bytes(a ^ (row & 0xFF) for a in diversifiers[row * width : (row + 1) * width]) for row in range(cards)]
    single = b"".join(b"".join(derive_key_set(master, scheme, row, key_bytes=key_bytes)) for row in rows)
    many = derive_key_sets(master, scheme, b"".join(rows), key_bytes=key_bytes, context_bytes=width)
    assert many == single


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_batch_of_several_portions_has_no_seams(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    master = MASTERS[scheme][0]
    kdds = b"".join(number.to_bytes(10) for number in range(1000, 1050))
    whole = derive_key_sets(master, scheme, kdds, key_bytes=16)
    monkeypatch.setattr(batch, "_CALL_BYTES", 7 * 48)
    assert derive_key_sets(master, scheme, kdds, key_bytes=16) == whole
    monkeypatch.setattr(batch, "_CALL_BYTES", 1)
    assert derive_key_sets(master, scheme, kdds, key_bytes=16) == whole
    assert whole[48 * 49 :] == b"".join(derive_key_set(master, scheme, kdds[-10:], key_bytes=16))


def test_a_batch_fills_the_buffer_it_is_given() -> None:
    master, kdds = AesKey(bytes(16)), bytes(range(50))
    buffer = bytearray(5 * 48)
    assert derive_key_sets(master, "kdf3", kdds, out=buffer) is buffer
    assert buffer == derive_key_sets(master, "kdf3", kdds)
    for size in (0, 5 * 48 - 1, 5 * 48 + 1):
        with pytest.raises(ValueError, match=f"5 cards take 240 bytes, not {size}"):
            derive_key_sets(master, "kdf3", kdds, out=bytearray(size))


def test_a_batch_calls_the_cipher_once_for_a_whole_portion(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    original = AesKey.encrypt_blocks

    def counting(self: AesKey, blocks: bytes) -> bytes:
        calls.append(len(blocks) // 16)
        return original(self, blocks)

    monkeypatch.setattr(AesKey, "encrypt_blocks", counting)
    derive_key_sets(AesKey(bytes(16)), "kdf3", bytes(10 * 2000))
    assert calls == [1, 6000], "one block for the subkeys, then all cards at once"
    calls.clear()
    derive_key_sets(AesKey(bytes(16)), "sp800-108", bytes(14 * 2000), context_bytes=14)
    assert calls == [1, 3, 6000], "subkeys, the three labels, then all cards at once"


@pytest.mark.parametrize("scheme", ["kdf3", "emv", "visa2", "visa"])
@pytest.mark.parametrize("size", [0, 9, 11])
def test_diversification_data_have_ten_bytes(scheme: str, size: int) -> None:
    with pytest.raises(ValueError, match=f"10 bytes, not {size}"):
        derive_key_set(MASTERS[scheme][0], scheme, bytes(size), key_bytes=16)
    with pytest.raises(ValueError, match=f"10 bytes, not {size}"):
        derive_key_sets(MASTERS[scheme][0], scheme, bytes(size), key_bytes=16, context_bytes=size)


@pytest.mark.parametrize(("size", "width"), [(9, 10), (11, 10), (21, 10), (5, 0), (0, 0), (10, -1)])
def test_a_batch_takes_whole_diversifiers(size: int, width: int) -> None:
    with pytest.raises(ValueError, match="not whole diversifiers"):
        derive_key_sets(AesKey(bytes(16)), "sp800-108", bytes(size), context_bytes=width)


@pytest.mark.parametrize("derive", [derive_key_set, derive_key_sets])
@pytest.mark.parametrize(
    ("master", "scheme", "key_bytes", "message"),
    [
        (AesKey(bytes(16)), "kdf4", None, "no diversification scheme 'kdf4'"),
        (AesKey(bytes(16)), "emv", None, "takes a master of type TripleDesKey"),
        (TripleDesKey(bytes(16)), "kdf3", None, "takes a master of type AesKey"),
        (TripleDesKey(bytes(16)), "sp800-108", None, "takes a master of type AesKey"),
        (AesKey(bytes(16)), "kdf3", 32, "32-byte keys from a 16-byte master"),
        (AesKey(bytes(32)), "kdf3", 20, "20-byte keys"),
        (AesKey(bytes(32)), "kdf3", 0, "0-byte keys"),
        (TripleDesKey(bytes(24)), "emv", None, "24-byte keys"),
    ],
)
def test_a_scheme_takes_its_own_masters_and_never_makes_stronger_keys(
    derive: Callable[..., object], master: AesKey | TripleDesKey, scheme: str, key_bytes: int | None, message: str
) -> None:
    with pytest.raises(PolicyError, match=message):
        derive(master, scheme, bytes(10), key_bytes=key_bytes)


GLOBALPLATFORMPRO = {
    "emv": "$4 $5 $6 $7 $8 $9 0xF0 $k $4 $5 $6 $7 $8 $9 0x0F $k",
    "visa2": "$0 $1 $4 $5 $6 $7 0xF0 $k $0 $1 $4 $5 $6 $7 0x0F $k",
    "visa": "$0 $1 $2 $3 $8 $9 0xF0 $k $0 $1 $2 $3 $8 $9 0x0F $k",
    "kdf3": "$_ 0x00 0x00 0x00 $k 0x00 $0 $1 $2 $3 $4 $5 $6 $7 $8 $9",
}
"""The table of martinpaljak/GlobalPlatformPro (PlaintextKeys.kdf_templates), as it stands there."""


@pytest.mark.parametrize("scheme", GLOBALPLATFORMPRO)
def test_a_named_scheme_is_the_template_of_globalplatformpro(scheme: str) -> None:
    kdd = bytes(range(0xA0, 0xAA))
    for master in MASTERS[scheme]:
        named = derive_key_set(master, scheme, kdd, key_bytes=16)
        assert derive_key_set(master, GLOBALPLATFORMPRO[scheme], kdd, key_bytes=16) == named


def test_visa_takes_four_bytes_from_the_left_and_two_from_the_right() -> None:
    master, kdd = TripleDesKey(bytes(range(16))), bytes(range(0xA0, 0xAA))
    part = bytes.fromhex("A0A1A2A3A8A9")
    expected = tuple(master.encrypt_blocks(part + bytes((0xF0, x)) + part + bytes((0x0F, x))) for x in (1, 2, 3))
    assert derive_key_set(master, "visa", kdd) == expected


def test_a_template_may_have_its_counter_anywhere_and_the_length_of_the_key() -> None:
    raw, kdd = bytes(range(32)), bytes(range(0xA0, 0xAA))
    enc, mac, _ = derive_key_set(AesKey(raw), "$k AA $_ $9 $0 $L$L", kdd)
    assert enc == cmac(raw, bytes.fromhex("01AA01A9A00100")) + cmac(raw, bytes.fromhex("01AA02A9A00100"))
    assert mac[:16] == cmac(raw, bytes.fromhex("02AA01A9A00100"))
    short, _, _ = derive_key_set(AesKey(raw), "$k AA $_ $9 $0 $L$L", kdd, key_bytes=16)
    assert short == cmac(raw, bytes.fromhex("01AA01A9A00080"))


def test_a_template_of_three_blocks_makes_keys_of_three_parts() -> None:
    master, kdd = TripleDesKey(bytes(range(24))), bytes(range(0xA0, 0xAA))
    text = "$0$1$2$3 $4$5 F0$k " * 2 + "$6$7$8$9 0000 33$k"
    enc, _, dek = derive_key_set(master, text, kdd)
    assert enc == master.encrypt_blocks(bytes.fromhex("A0A1A2A3A4A5F001" * 2 + "A6A7A8A900003301"))
    assert dek[16:] == master.encrypt_blocks(bytes.fromhex("A6A7A8A900003303"))


words = st.sampled_from(["$k", "$l$l", "00", "0xfF", *(f"${n}" for n in range(10))])


@given(
    before=st.lists(words, max_size=20),
    after=st.lists(words, max_size=20),
    which=st.integers(0, 2),
    kdds=st.lists(st.binary(min_size=10, max_size=10), max_size=5),
)
def test_a_batch_of_any_template_gives_the_bytes_of_single_derivations(
    before: list[str], after: list[str], which: int, kdds: list[bytes]
) -> None:
    text = " ".join([*before, "$_", *after, "$3"])
    master = MASTERS["kdf3"][which]
    expected = b"".join(b"".join(derive_key_set(master, text, kdd)) for kdd in kdds)
    assert derive_key_sets(master, text, b"".join(kdds)) == expected


@given(
    chosen=st.lists(st.sampled_from(["$k", "00", "$0", "$5", "$9"]), min_size=15, max_size=15),
    kdds=st.lists(st.binary(min_size=10, max_size=10), max_size=5),
)
def test_a_batch_of_any_triple_des_template_gives_the_bytes_of_single_derivations(
    chosen: list[str], kdds: list[bytes]
) -> None:
    text, master = "".join([*chosen, "$7"]), MASTERS["emv"][0]
    expected = b"".join(b"".join(derive_key_set(master, text, kdd)) for kdd in kdds)
    assert derive_key_sets(master, text, b"".join(kdds)) == expected


@pytest.mark.parametrize(
    ("master", "text", "message"),
    [
        (AesKey(bytes(16)), GLOBALPLATFORMPRO["emv"], "scheme of this template takes a master of type TripleDesKey"),
        (TripleDesKey(bytes(16)), GLOBALPLATFORMPRO["kdf3"], "scheme of this template takes a master of type AesKey"),
        (TripleDesKey(bytes(24)), GLOBALPLATFORMPRO["emv"], "does not make 24-byte keys"),
        (TripleDesKey(bytes(16)), "$0" * 24, "does not make 16-byte keys"),
    ],
)
def test_a_template_takes_its_own_masters_too(master: AesKey | TripleDesKey, text: str, message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        derive_key_set(master, text, bytes(10))


parts = st.tuples(st.binary(min_size=1, max_size=5), st.binary(max_size=5), st.integers(0, 255))


@given(one=parts, other=parts)
def test_contexts_of_different_cards_differ(one: tuple[bytes, bytes, int], other: tuple[bytes, bytes, int]) -> None:
    assert (card_context(*one) == card_context(*other)) is (one == other)


def test_a_context_is_the_length_prefixed_id_and_lot_and_the_master_version() -> None:
    assert card_context(b"KW-1", b"L7", 0x30) == b"\x04KW-1\x02L7\x30"


@pytest.mark.parametrize(
    "arguments", [(b"", b"", 1), (bytes(256), b"", 1), (b"u", bytes(256), 1), (b"u", b"", 256), (b"u", b"", -1)]
)
def test_a_context_that_cannot_be_written_is_refused(arguments: tuple[bytes, bytes, int]) -> None:
    with pytest.raises(ValueError, match="a card context takes"):
        card_context(*arguments)


@given(raw=st.binary(min_size=16, max_size=16), diversifier=st.binary(min_size=16, max_size=31))
def test_an10922_of_sixteen_bytes_and_more_is_plain_cmac(raw: bytes, diversifier: bytes) -> None:
    assert an10922_aes128(AesKey(raw), diversifier) == cmac(raw, b"\x01" + diversifier)


@given(raw=st.binary(min_size=16, max_size=16), diversifier=st.binary(min_size=1, max_size=14))
def test_an10922_of_less_always_takes_two_blocks(raw: bytes, diversifier: bytes) -> None:
    assert an10922_aes128(AesKey(raw), diversifier) != cmac(raw, b"\x01" + diversifier)


@pytest.mark.parametrize(("master", "size"), [(16, 0), (16, 32), (24, 16), (32, 16)])
def test_an10922_takes_an_aes_128_master_and_up_to_31_bytes(master: int, size: int) -> None:
    with pytest.raises(ValueError, match="1 to 31 bytes"):
        an10922_aes128(AesKey(bytes(master)), bytes(size))
