"""Key blocks: published examples, what is refused before and after decrypting, and their form."""

from __future__ import annotations

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keywright.crypto import AesKey, EcPrivateKey, TripleDesKey
from keywright.crypto.des_keys import has_odd_parity, odd_parity
from keywright.crypto.keyblocks import REFUSED, Expected, Header, Kbpk, OptionalBlock, parse, rewrap, unwrap, wrap
from keywright.crypto.keyblocks.binding import block_keys
from keywright.errors import AuthenticationError, DecodeError, KeywrightError, PolicyError
from support.vectors import Case, document, load, unhex, vectors

ALL = ("A", "B", "C", "D", "E")
KBPK = Kbpk(AesKey(bytes(range(32))))
KMC = Header("D", "E5", "A", "X", exportability="E")
ASKED = Expected(usages=("E5",), algorithms=("A",))
KEY = bytes.fromhex("404142434445464748494A4B4C4D4E4F")


def protection_key(case: Case, version: str) -> Kbpk:
    raw = unhex(case["kbpk"])
    return Kbpk(AesKey(raw) if version in "DE" else TripleDesKey(raw))


def anything(header: Header, *, odd: bool = True) -> Expected:
    return Expected(usages=(header.usage,), algorithms=(header.algorithm,), versions=ALL, odd_parity=odd)


@vectors("factory/keyblocks.json", "unwrap")
def test_published_blocks_open(case: Case) -> None:
    text = case["key_block"]
    header, _ = parse(text)
    key = unhex(case["key"])
    odd = header.algorithm != "T" or has_odd_parity(key)
    out = unwrap(protection_key(case, text[0]), text, anything(header, odd=odd))
    assert out.reveal() == key
    assert out.header == header
    if not odd:
        with pytest.raises(AuthenticationError, match=REFUSED):
            unwrap(protection_key(case, text[0]), text, anything(header))


def test_the_published_blocks_are_of_all_versions_and_some_have_no_parity() -> None:
    cases = load("factory/keyblocks.json", "unwrap")
    assert {case["key_block"][0] for case in cases} == set(ALL)
    tdes = [case for case in cases if case["key_block"][7] == "T"]
    assert (len(tdes), sum(not has_odd_parity(unhex(case["key"])) for case in tdes)) == (12, 7)
    assert {len(block.data) > 255 for case in cases for block in parse(case["key_block"])[0].blocks} == {True, False}
    assert "key blocks" in document("factory/keyblocks.json")["topic"]


@vectors("factory/keyblocks.json", "wrap")
def test_the_published_wrap_comes_out_to_the_letter(case: Case) -> None:
    header, _ = Header.parse(case["header_in"])
    kbpk = protection_key(case, case["version"])
    keys = block_keys(kbpk.key, "D")
    assert keys.encryption.reveal() == unhex(case["kbek"])
    assert keys.authentication.reveal() == unhex(case["kbak"])
    pad = unhex(case["pad"])

    def fixed(size: int) -> bytes:
        assert size == len(pad)
        return pad

    assert wrap(kbpk, header, unhex(case["key"]), fixed, hide_length=False) == case["key_block"]


@vectors("factory/keyblocks.json", "reject")
def test_altered_blocks_are_refused(case: Case) -> None:
    asked = Expected(usages=("P0",), algorithms=("A",), versions=("D",))
    kbpk = Kbpk(AesKey(unhex(case["kbpk"])))
    with pytest.raises((AuthenticationError, DecodeError, PolicyError)):
        unwrap(kbpk, case["key_block"], asked)
    # And by its secret part alone, where the form is right and the caller asked for just that.
    try:
        header, _ = parse(case["key_block"])
    except DecodeError:
        return
    if header.version == "D":
        with pytest.raises(AuthenticationError, match=REFUSED):
            unwrap(kbpk, case["key_block"], anything(header))


# ---- round trips ------------------------------------------------------------------------------------------------

labels = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40)
long_labels = labels | st.integers(230, 300).map(lambda size: "L" * size)
optional = st.lists(st.sampled_from(["LB", "KS", "TS", "KC", "WP", "Z9"]), unique=True, max_size=4).flatmap(
    lambda ids: st.tuples(*(st.builds(OptionalBlock, st.just(one), long_labels) for one in ids))
)
headers = st.builds(
    Header,
    version=st.sampled_from("DE"),
    usage=st.sampled_from(["E5", "B3", "20"]),
    algorithm=st.just("A"),
    mode=st.sampled_from("XN"),
    key_version=st.sampled_from(["00", "01", "7Q"]),
    exportability=st.sampled_from("ENS"),
    blocks=optional,
    context=st.sampled_from("012"),
)
keys = st.sampled_from([16, 24, 32]).flatmap(lambda size: st.binary(min_size=size, max_size=size))


@given(header=headers, key=keys, hide=st.booleans())
def test_what_is_wrapped_comes_out_and_its_length_is_hidden(*, header: Header, key: bytes, hide: bool) -> None:
    text = wrap(KBPK, header, key, os.urandom, hide_length=hide)
    assert parse(text)[0] == header
    assert len(text) == int(text[1:5])
    out = unwrap(KBPK, text, anything(header))
    assert (out.reveal(), out.header) == (key, header)
    if hide:
        assert len(text) == len(wrap(KBPK, header, bytes(32), os.urandom))


@settings(max_examples=15)
@given(headers)
def test_every_proper_prefix_of_a_block_is_refused(header: Header) -> None:
    text = wrap(KBPK, header, KEY, os.urandom)
    for size in range(len(text)):
        with pytest.raises(DecodeError) as refused:
            parse(text[:size])
        assert 0 <= refused.value.offset <= size


@given(st.text(max_size=80) | st.binary(max_size=80).map(lambda data: data.decode("latin-1")))
def test_any_text_is_a_block_or_a_decode_error(text: str) -> None:
    parsed(text)


@given(st.data())
def test_any_text_with_a_right_start_is_a_block_or_a_decode_error(data: st.DataObject) -> None:
    characters = list(wrap(KBPK, data.draw(headers), KEY, os.urandom))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(characters) - 1))
        characters[at] = data.draw(st.characters(min_codepoint=1, max_codepoint=300))
    text = "".join(characters)
    found = parsed(text)
    if found is not None:
        header, end = found
        assert Header.parse(header.build(len(text) - end))[0] == header


def parsed(text: str) -> tuple[Header, int] | None:
    """What is in the text, None for a DecodeError whose place lies in it; any other exception is a failure."""
    try:
        return parse(text)
    except DecodeError as error:
        offset = error.offset
    assert 0 <= offset <= len(text)
    return None


@settings(max_examples=10)
@given(st.sampled_from("DE"), st.data())
def test_every_character_changed_is_refused(version: str, data: st.DataObject) -> None:
    header = Header(version, "E5", "A", "X", "01", "E", (OptionalBlock("LB", "lot 7"),))
    text = wrap(KBPK, header, KEY, os.urandom)
    for at, old in enumerate(text):
        new = data.draw(st.sampled_from([c for c in "0123456789ABCDEFKNSTX~" if c != old]))
        altered = text[:at] + new + text[at + 1 :]
        with pytest.raises(KeywrightError):
            unwrap(KBPK, altered, ASKED)
        # Also for a caller who would take anything: then only the MAC stands in the way.
        try:
            asked = parse(altered)[0]
        except DecodeError:
            continue
        with pytest.raises((AuthenticationError, PolicyError)) as refused:
            unwrap(
                Kbpk(KBPK.key),
                altered,
                Expected(
                    usages=(asked.usage,),
                    algorithms=(asked.algorithm,),
                    versions=ALL,
                    is_component=asked.is_component,
                    odd_parity=False,
                ),
            )
        assert isinstance(refused.value, AuthenticationError) == (asked.version in "DE")


# ---- what was asked for, before decrypting ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (Expected(usages=("D0",), algorithms=("A",)), "key usage E5, asked for D0"),
        (Expected(usages=("E5",), algorithms=("T",)), "algorithm A, asked for T"),
        (Expected(usages=("E5",), algorithms=("A",), modes=("N",)), "mode of use X, asked for N"),
        (Expected(usages=("E5",), algorithms=("A",), versions=("E",)), "version D, asked for E"),
        (Expected(usages=("E5",), algorithms=("A",), is_component=True), "carries a whole key"),
    ],
)
def test_what_was_not_asked_for_is_refused_before_decrypting(asked: Expected, why: str) -> None:
    text = wrap(KBPK, KMC, KEY, os.urandom)
    broken = text[:-1] + ("0" if text[-1] != "0" else "1")
    for block in (text, broken):
        with pytest.raises(PolicyError, match=why):
            unwrap(KBPK, block, asked)
    assert unwrap(KBPK, text, ASKED).reveal() == KEY


def test_variants_of_1996_are_opened_only_when_named() -> None:
    case = load("factory/keyblocks.json", "unwrap")[0]
    asked = Expected(usages=("K0",), algorithms=("T",))
    with pytest.raises(PolicyError, match="version A"):
        unwrap(protection_key(case, "A"), case["key_block"], asked)


def test_a_component_is_not_a_key() -> None:
    component = wrap(KBPK, Header("D", "E5", "A", "X", "c1"), KEY, os.urandom)
    with pytest.raises(PolicyError, match="carries a component"):
        unwrap(KBPK, component, ASKED)


def test_all_failures_of_the_secret_part_read_alike() -> None:
    texts = set()
    for payload_bits, version in ((0, "D"), (129, "D"), (136, "D"), (512, "D"), (0, "E"), (65535, "E")):
        with pytest.raises(AuthenticationError) as refused:
            unwrap(KBPK, forged(payload_bits, version), ASKED)
        texts.add(str(refused.value))
    with pytest.raises(AuthenticationError) as refused:
        unwrap(Kbpk(AesKey(bytes(32))), wrap(KBPK, KMC, KEY, os.urandom), ASKED)
    assert texts | {str(refused.value)} == {REFUSED}


def forged(bits: int, version: str) -> str:
    """A block with a right MAC around a payload that is none, as a sender with the key could make it."""
    from keywright.crypto.keyblocks.binding import seal

    text = Header(version, "E5", "A", "X").build(2 * (32 + 16))
    ciphertext, mac = seal(block_keys(KBPK.key, version), version, text, bits.to_bytes(2) + bytes(30))
    return text + (ciphertext + mac).hex().upper()


def test_tdes_keys_are_written_with_parity_and_read_with_it_unless_asked() -> None:
    header = Header("D", "E5", "T", "X")
    with pytest.raises(ValueError, match="odd parity"):
        wrap(KBPK, header, bytes(16), os.urandom)
    key = odd_parity(os.urandom(24))
    assert unwrap(KBPK, wrap(KBPK, header, key, os.urandom), anything(header)).key() == TripleDesKey(key)


# ---- keys of the block ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("usage", ["K0", "E5", "D0", "20"])
def test_only_a_protection_key_protects(usage: str) -> None:
    with pytest.raises(PolicyError, match="does not protect key blocks"):
        Kbpk(AesKey(KEY), usage=usage)


@pytest.mark.parametrize("mode", ["C", "G", "N", "S", "T", "V", "X", "Y"])
def test_a_protection_key_has_a_mode_that_wraps(mode: str) -> None:
    with pytest.raises(PolicyError, match="does not protect key blocks"):
        Kbpk(AesKey(KEY), mode=mode)


def test_a_protection_key_works_in_its_own_direction_and_cipher() -> None:
    text = wrap(Kbpk(AesKey(bytes(32)), mode="E"), KMC, KEY, os.urandom)
    assert unwrap(Kbpk(AesKey(bytes(32)), mode="D"), text, ASKED).key() == AesKey(KEY)
    with pytest.raises(PolicyError, match="makes no key blocks"):
        wrap(Kbpk(AesKey(bytes(32)), mode="D"), KMC, KEY, os.urandom)
    with pytest.raises(PolicyError, match="opens no key blocks"):
        unwrap(Kbpk(AesKey(bytes(32)), mode="E"), text, ASKED)
    with pytest.raises(PolicyError, match="takes an AES protection key"):
        unwrap(Kbpk(TripleDesKey(KEY)), text, ASKED)


def test_a_protection_key_travels_in_a_block_and_protects_then() -> None:
    inner = bytes(range(16))
    text = wrap(KBPK, Header("D", "K1", "A", "D", exportability="N"), inner, os.urandom)
    arrived = unwrap(KBPK, text, Expected(usages=("K1",), algorithms=("A",))).protection_key()
    assert (arrived.usage, arrived.mode, arrived.key) == ("K1", "D", AesKey(inner))
    assert "000102" not in repr(arrived)
    other = unwrap(KBPK, wrap(KBPK, KMC, KEY, os.urandom), ASKED)
    with pytest.raises(PolicyError):
        other.protection_key()
    assert repr(other) == "<E5 key 128 bit>"


def test_private_keys_travel_under_keys_as_strong_as_they_are() -> None:
    header = Header("D", "S0", "E", "S", exportability="E")
    key = EcPrivateKey.generate("P-384").to_pkcs8()
    asked = Expected(usages=("S0",), algorithms=("E",))
    held = unwrap(KBPK, wrap(KBPK, header, key, os.urandom), asked)
    assert held.reveal() == key
    with pytest.raises(PolicyError, match="neither AES nor TDES"):
        held.key()
    with pytest.raises(PolicyError, match="too weak"):
        wrap(Kbpk(AesKey(bytes(16))), header, key, os.urandom)
    with pytest.raises(PolicyError, match="too weak"):
        wrap(Kbpk(AesKey(bytes(24))), header, b"no DER that we know", os.urandom)
    rsa = Header("D", "S0", "R", "S")
    with pytest.raises(PolicyError, match="too weak"):
        wrap(Kbpk(AesKey(bytes(16))), rsa, b"no DER that we know", os.urandom)


def test_a_weaker_protection_key_is_refused_when_reading_too() -> None:
    from keywright.crypto.keyblocks.binding import seal

    weak = Kbpk(AesKey(bytes(16)))
    text = Header("D", "E5", "A", "X").build(2 * (48 + 16))
    ciphertext, mac = seal(block_keys(weak.key, "D"), "D", text, (256).to_bytes(2) + bytes(46))
    with pytest.raises(PolicyError, match="too weak"):
        unwrap(weak, text + (ciphertext + mac).hex().upper(), ASKED)


def test_an_exported_key_gains_nothing() -> None:
    held = unwrap(KBPK, wrap(KBPK, KMC, KEY, os.urandom), ASKED)
    again = rewrap(Kbpk(AesKey(bytes(16))), Header("E", "E5", "A", "X", exportability="N"), held, os.urandom)
    kept = unwrap(Kbpk(AesKey(bytes(16))), again, ASKED)
    assert kept.reveal() == KEY
    with pytest.raises(PolicyError, match="not exportable"):
        rewrap(KBPK, Header("D", "E5", "A", "X", exportability="N"), kept, os.urandom)
    with pytest.raises(PolicyError, match="cannot become N"):
        rewrap(KBPK, Header("D", "E5", "A", "N", exportability="E"), held, os.urandom)


@pytest.mark.parametrize("version", ["A", "B", "C"])
def test_old_versions_are_never_written(version: str) -> None:
    with pytest.raises(PolicyError, match="read, never written"):
        wrap(Kbpk(TripleDesKey(KEY)), Header(version, "E5", "T", "X"), odd_parity(KEY), os.urandom)


@pytest.mark.parametrize(
    "header",
    [
        Header("D", "E5", "A", "X", key_version="1"),
        Header("D", "E5", "A", "X", blocks=(OptionalBlock("PB", "00"),)),
        Header("D", "E5", "A", "X", blocks=(OptionalBlock("lb", "00"),)),
        Header("D", "E5", "A", "X", blocks=(OptionalBlock("LB", "\n"),)),
        Header("D", "E5", "A", "X", blocks=(OptionalBlock("LB", "x" * 9990),)),
        Header("D", "E5", "A", "X", blocks=(OptionalBlock("LB", ""), OptionalBlock("LB", ""))),
    ],
    ids=["short version", "own padding", "small id", "line end", "too long", "twice"],
)
def test_a_header_that_is_none_is_not_written(header: Header) -> None:
    with pytest.raises(ValueError):
        wrap(KBPK, header, KEY, os.urandom)


@pytest.mark.parametrize("size", [0, 8, 17, 33])
def test_a_key_that_is_none_is_not_wrapped(size: int) -> None:
    with pytest.raises(ValueError, match="no key of algorithm A"):
        wrap(KBPK, KMC, bytes(size), os.urandom)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("D0048E5AX00E0100LB00000000000000" + "0" * 16, "1 to 8 digits"),
        ("D0048E5AX00E0100LB02000000000000" + "0" * 16, "shorter than its own head"),
        ("D0048E5AX00E0100LB00040009" + "0" * 22, "shorter than its own head"),
        ("D0048E5AX00E0100LBFF" + "0" * 28, "beyond the end"),
        ("D0048E5AX00E0100LB080000" + "0" * 24, "whole 16 characters"),
        ("D0048E5AX00E0200PB08000000LB0800" + "0" * 16, "not the last"),
        ("D0048E5AX00E0200LB080000LB080000" + "0" * 16, "second optional block"),
        ("D0048E5AX00E0001" + "0" * 32, "last reserved"),
        ("D0048E5AX\x7f0E0000" + "0" * 32, "printable"),
        ("D0048E5AX00E0000" + "0" * 32, "encrypted part"),
        ("D0080E5AX00E0000" + "a" * 64, "upper-case hex"),
        ("F0080E5AX00E0000" + "0" * 64, "no version"),
        ("D00x0E5AX00E0000" + "0" * 64, "the length has"),
    ],
)
def test_a_malformed_block_says_where(text: str, why: str) -> None:
    with pytest.raises(DecodeError, match=why) as refused:
        parse(text)
    assert refused.value.offset <= len(text)
