"""Which keys a card has, told from one answer: recorded cards first, then every scheme on cards of our own."""

from __future__ import annotations

import itertools

import pytest

from keywright.crypto.aes import AesKey
from keywright.crypto.des import TripleDesKey
from keywright.crypto.diversification import TEMPLATES, card_context, derive_key_set
from keywright.errors import UsageError, WireError
from keywright.globalplatform.detect import NONE, SCHEMES, WELL_KNOWN, AnyKeySet, Candidate, Detection, detect
from keywright.globalplatform.messages import DEFAULT_ISD
from keywright.scp import scp02, scp03
from keywright.scp.scp02.card import CardChannel as Card02
from keywright.scp.scp03.card import CardChannel as Card03
from keywright.scp.scp03.keys import derive_card_challenge
from support.vectors import Case, load, unhex

RECORDED = [
    case
    for file in ("scp/scp03_openscp.json", "scp/scp03_pysim_euicc.json", "scp/scp03_kaoh.json")
    for case in load(file)
]
KDD = bytes(range(0xA0, 0xAA))
HOST = bytes(range(8))
TEMPLATE = "$k $0 $_ $9 $l$l"
OLD_VISA = "$0 $1 $2 $3 $8 $9 F0 01 $0 $1 $2 $3 $8 $9 0F 01"
"""GlobalPlatformPro's `visa` as it once was: one key for all three purposes, and that the ENC key of today's."""
BLOCKS = "00 $k " * 7 + "$3 $4"
MASTER = bytes(range(0x10, 0x30))
OTHERS = [Candidate.one(f"other {n}", bytes((n,)) * size) for n, size in enumerate((16, 16, 24, 32))]


def keys(case: Case) -> tuple[bytes, bytes, bytes]:
    enc, mac, dek = (unhex(case[f"key_{name}"]) for name in ("enc", "mac", "dek"))
    return enc, mac, dek


def thrice(key: bytes) -> tuple[bytes, bytes, bytes]:
    return key, key, key


def raw(key_set: AnyKeySet) -> tuple[bytes, bytes, bytes]:
    return key_set.enc.reveal(), key_set.mac.reveal(), key_set.dek.reveal()


def only(found: Detection) -> tuple[str, str, int]:
    [match] = found.matches
    return match.candidate, match.scheme, match.key_bytes


@pytest.mark.parametrize("case", RECORDED, ids=[case["name"] for case in RECORDED])
def test_a_recorded_card_is_told_from_its_one_answer(case: Case) -> None:
    mine = Candidate.of("mine", *keys(case))
    aids = [unhex(aid) for aid in case.get("pseudo_random_challenge_aid") or []]
    answer, challenge = unhex(case["initialize_update_rdata"]), unhex(case["host_challenge"])
    found = detect(answer, challenge, [*OTHERS, mine], aids=aids)
    assert only(found) == ("mine", NONE, len(keys(case)[0]))
    assert raw(found.matches[0].keys) == keys(case)
    assert found.kvn == answer[10]
    assert found.matches[0].challenge == ("confirms" if aids else "silent")
    assert detect(answer, challenge, OTHERS).matches == ()


def test_the_recorded_card_of_scp02_is_told_too() -> None:
    case = load("scp/scp02.json")[0]
    answer, challenge = unhex(case["initialize_update_rdata"]), unhex(case["host_challenge"])
    found = detect(answer, challenge, [*OTHERS, Candidate.of("mine", *keys(case))])
    assert only(found) == ("mine", NONE, 16)
    assert found.text == "KVN 70, SCP02: mine, not diversified, 128 bit; proven: K-ENC"


def card03(static: tuple[bytes, bytes, bytes], i: int = 0x70, aid: bytes = DEFAULT_ISD) -> tuple[bytes, bytes]:
    """An answer of our own card, and the host challenge."""
    key_set, size = scp03.KeySet.of(*static), 16 if i & 1 else 8
    sequence = b"\0\0\7" if i & 0x10 else b""
    challenge = derive_card_challenge(key_set.enc, sequence, aid, size) if sequence else bytes(range(50, 50 + size))
    host = HOST * (size // 8)
    return Card03(key_set, i, host, challenge).initialize_update(KDD, 0x30, sequence), host


def card02(static: tuple[bytes, bytes, bytes], i: int = 0x15) -> tuple[bytes, bytes]:
    card = Card02.explicit(scp02.KeySet.of(*static), i, HOST, 9, aid=DEFAULT_ISD, card_challenge=b"random")
    return card.initialize_update(KDD, 0x20), HOST


def masters(scheme: str, size: int) -> tuple[bytes, bytes, bytes]:
    algorithm = AesKey if "$_" in TEMPLATES.get(scheme, scheme) else TripleDesKey
    return derive_key_set(algorithm(MASTER[:size]), scheme, KDD, key_bytes=16)


ALL = [*SCHEMES, TEMPLATE, BLOCKS]


@pytest.mark.parametrize("scheme", [scheme for scheme in ALL if scheme != NONE])
@pytest.mark.parametrize("size", [16, 24, 32])
def test_every_scheme_is_found_behind_either_protocol(scheme: str, size: int) -> None:
    if size == 32 and "$_" not in TEMPLATES.get(scheme, scheme):
        size = 24
    static = masters(scheme, size)
    mine = Candidate.one("mine", MASTER[:size])
    for answer, host in (card03(static), card03(static, 0x01), card02(static)):
        found = detect(answer, host, [*OTHERS, mine], schemes=ALL)
        assert only(found) == ("mine", scheme, 16)
        assert raw(found.matches[0].keys) == static


@pytest.mark.parametrize(("master", "size"), [(24, 24), (32, 24), (32, 32)])
def test_longer_keys_are_found_whatever_their_size(master: int, size: int) -> None:
    static = derive_key_set(AesKey(MASTER[:master]), "kdf3", KDD, key_bytes=size)
    found = detect(*card03(static), [*OTHERS, Candidate.one("mine", MASTER[:master])])
    assert only(found) == ("mine", "kdf3", size)


def test_three_masters_make_the_three_keys() -> None:
    three = (MASTER[:16], MASTER[1:17], MASTER[2:18])
    sets = [derive_key_set(TripleDesKey(one), "emv", KDD) for one in three]
    static = (sets[0][0], sets[1][1], sets[2][2])
    found = detect(*card02(static), [Candidate.of("three", *three)])
    assert only(found) == ("three", "emv", 16)
    assert raw(found.matches[0].keys) == static
    assert detect(*card02(static), [Candidate.one("first", three[1])]).matches == ()


def test_schemes_that_one_answer_cannot_tell_apart_are_both_named_until_the_challenge_does() -> None:
    static, mine = masters("visa", 16), Candidate.one("mine", MASTER[:16])
    found = detect(*card02(static), [mine], schemes=["visa", OLD_VISA])
    assert [(match.scheme, match.proven) for match in found.matches] == [("visa", ("K-ENC",)), (OLD_VISA, ("K-ENC",))]
    found = detect(*card02(static, 0x55), [mine], schemes=["visa", OLD_VISA])
    assert [(match.scheme, match.challenge) for match in found.matches] == [("visa", "confirms"), (OLD_VISA, "silent")]


def test_our_own_scheme_is_tried_for_the_contexts_that_are_given() -> None:
    contexts = [card_context(b"unit-%d" % n, b"lot", 0x30) for n in range(5)]
    static = derive_key_set(AesKey(MASTER), "sp800-108", contexts[3])
    mine = Candidate.one("mine", MASTER)
    assert only(detect(*card03(static), [mine], contexts=contexts)) == ("mine", "sp800-108", 32)
    assert detect(*card03(static), [mine]).matches == ()


def test_the_challenge_proves_the_other_key_and_names_the_application() -> None:
    static = (MASTER[:16], MASTER[1:17], MASTER[2:18])
    mine = Candidate.of("mine", *static)
    for answer in (card03(static), card02(static, 0x55)):
        [match] = detect(*answer, [mine], aids=[b"other", DEFAULT_ISD]).matches
        assert (match.challenge, match.aid, set(match.proven)) == ("confirms", DEFAULT_ISD, {"K-ENC", "K-MAC"})
    [match] = detect(*card03(static), [mine], aids=[b"other"]).matches
    assert (match.challenge, match.proven) == ("differs", ("K-MAC",))
    assert "another K-ENC or another application" in match.text
    for silent in (detect(*card03(static, 0x60), [mine]), detect(*card02(static), [mine])):
        assert silent.matches[0].challenge == "silent"
    assert detect(*card03(static), [mine], aids=[]).matches[0].challenge == "silent"


def test_a_key_that_the_answer_does_not_prove_is_not_said_to_be_proven() -> None:
    right, wrong = (MASTER[:16], MASTER[1:17], MASTER[2:18]), MASTER[3:19]
    [match] = detect(*card03(right), [Candidate.of("wrong ENC", wrong, *right[1:])]).matches
    assert (match.challenge, match.proven) == ("differs", ("K-MAC",))
    assert detect(*card03(right), [Candidate.of("wrong MAC", right[0], wrong, right[2])]).matches == ()
    [match] = detect(*card02(right), [Candidate.of("wrong MAC", right[0], wrong, right[2])]).matches
    assert match.proven == ("K-ENC",)
    assert detect(*card02(right), [Candidate.of("wrong ENC", wrong, *right[1:])]).matches == ()


def test_when_nothing_matches_it_says_how_many_were_tried() -> None:
    found = detect(*card03(thrice(MASTER[:16])), OTHERS)
    assert found.matches == ()
    # none: 4. kdf3: 1 of each 16, 2 of 24, 3 of 32. emv, visa2, visa: 1 of each 16 and 24.
    assert found.tried == 4 + (1 + 1 + 2 + 3) + 3 * 3
    assert found.text == "KVN 30, SCP03 i=70: no candidate matched, 20 tried"
    assert detect(*card02(thrice(MASTER[:16])), OTHERS).tried == 2 + (1 + 1 + 1 + 1) + 3 * 3


def test_every_candidate_that_matches_is_named() -> None:
    found = detect(
        *card03(thrice(WELL_KNOWN[0].enc.reveal())), [*WELL_KNOWN, Candidate.one("again", bytes(range(0x40, 0x50)))]
    )
    assert [match.candidate for match in found.matches] == ["GlobalPlatform test key", "again"]
    assert "GlobalPlatform test key, not diversified, 128 bit" in found.text


def test_one_changed_bit_of_answer_or_challenge_matches_nothing() -> None:
    static = thrice(MASTER[:16])
    mine = [Candidate.one("mine", MASTER[:16])]
    for (answer, host), start in ((card03(static), 13), (card02(static), 12)):
        assert detect(answer, host, mine).matches
        end = 29 if start == 13 else 28
        for bit in itertools.chain(range(start * 8, end * 8)):
            changed = bytearray(answer)
            changed[bit // 8] ^= 1 << bit % 8
            assert detect(bytes(changed), host, mine, schemes=[NONE]).matches == ()
        assert detect(answer, host[:-1] + b"\xff", mine).matches == ()


@pytest.mark.parametrize(
    ("data", "challenge"),
    [
        (b"", HOST),
        (bytes(11), HOST),
        (bytes(28), HOST),
        (bytes(11) + b"\x01" + bytes(16), HOST),
        (bytes(11) + b"\x02" + bytes(15), HOST),
        (bytes(11) + b"\x02" + bytes(16), HOST * 2),
        (bytes(11) + b"\x03\x70" + bytes(15), HOST),
        (bytes(11) + b"\x03\x70" + bytes(16), HOST * 2),
        (bytes(11) + b"\x03\x70" + bytes(16), b""),
    ],
)
def test_what_is_no_answer_is_refused(data: bytes, challenge: bytes) -> None:
    with pytest.raises(WireError):
        detect(data, challenge, WELL_KNOWN)


def test_a_template_that_does_not_parse_is_named() -> None:
    with pytest.raises(UsageError, match="position 1"):
        detect(*card03(thrice(MASTER[:16])), WELL_KNOWN, schemes=["$x"])


def test_a_scheme_that_is_none_is_named() -> None:
    with pytest.raises(UsageError, match="no such diversification scheme"):
        detect(*card03(thrice(MASTER[:16])), WELL_KNOWN, schemes=["kdf3", "kdf4"])


def test_candidates_show_no_keys_and_have_sizes_that_exist() -> None:
    found = detect(*card03(thrice(MASTER[:16])), [Candidate.one("mine", MASTER[:16])])
    assert MASTER[:16].hex() not in repr(found).lower()
    assert repr(MASTER[:16])[2:-1] not in repr(found)
    for sizes in ((15, 15, 15), (16, 16, 24), (8, 8, 8)):
        with pytest.raises(ValueError, match="16, 24 or 32"):
            Candidate.of("x", *map(bytes, sizes))
