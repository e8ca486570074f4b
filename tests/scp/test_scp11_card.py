"""The card end of SCP11 against sessions recorded with hosts that nobody here wrote, and its table of states."""

from __future__ import annotations

import functools
import itertools
import pathlib
from typing import Any

import pytest

from keywright.codec.tlv import item
from keywright.crypto.aes import AesKey
from keywright.crypto.ec import CURVES as CURVE_NAMES
from keywright.crypto.ec import EcPrivateKey, EcPublicKey
from keywright.errors import AuthenticationError
from keywright.iso7816.apdu import Command, Response
from keywright.sansio.dialogue import drive
from keywright.scp.level import Level
from keywright.scp.scp11.authority import Authority, Form
from keywright.scp.scp11.card import TABLE, Event, State
from keywright.scp.scp11.certificates import Certificate, issue_gp, parse_certificate, verify_signature
from keywright.scp.scp11.host import send_chain
from keywright.scp.scp11.messages import (
    LEVELS_OF_USAGE,
    AllowList,
    Authenticate,
    ForKey,
    I,
    Serials,
)
from keywright.scp.scp11.profile import ALL_USAGES, YUBIKEY, Fragments, Profile
from support.recovery import issuers
from support.scp11 import (
    CURVES,
    INTERNAL,
    KLOC,
    MUTUAL,
    OTHER,
    VALIDITY,
    CardEnd,
    Domain,
    Elsewhere,
    asked,
    authority,
    domain,
    holder,
    key,
    layout,
    led,
    openscp_card,
    openscp_profile,
    pso,
    reassembled,
    variant_of,
)
from support.vectors import Case, load, unhex, vectors

OPENSCP = "scp/scp11_openscp.json"
HOSTID = "scp/scp11_hostid.json"


@functools.cache
def openscp_root() -> EcPublicKey:
    """CA-KLOC of the recordings: the key that the signatures of two certificates of two formats fit."""
    case = next(case for case in load(OPENSCP) if "Gp" in case["name"])
    (first, _), (second, _) = reassembled(case["pso_capdus"])
    (found,) = (found for found in issuers(first) if accepts(found, parse_certificate(second)))
    return found


def accepts(root: EcPublicKey, certificate: Certificate) -> bool:
    try:
        verify_signature(certificate, root, Profile())
    except AuthenticationError:
        return False
    return True


def openscp_end(case: Case) -> CardEnd:
    """The card of a recording. Nobody kept its private keys, but what they agreed on."""
    curve = CURVES[case["curve"]]
    oce = EcPrivateKey.from_pkcs8(unhex(case["sk_oce_ecka_pkcs8"]), curve).public.point
    asked = Authenticate.parse(Command.parse(unhex(case["authenticate_capdu"])).data).public_key
    agreed = {oce: unhex(case["shared_secret_static"]), asked: unhex(case["shared_secret_ephemeral"])}
    static = Elsewhere(openscp_card(case).public_key, agreed)
    answer = EcPublicKey.from_point(curve, unhex(case["card_public_key_in_response"]))
    return CardEnd(
        Domain(
            profile=openscp_profile(case),
            keys={(3, variant_of(case).kid): static},
            ca_keys={(3, 0x10): openscp_root()},
            ephemeral=lambda _: Elsewhere(answer, agreed),
        )
    )


@vectors(OPENSCP)
def test_the_card_answers_as_recorded(case: Case) -> None:
    card = openscp_end(case)
    for raw in case["pso_capdus"]:
        assert card(Command.parse(unhex(raw))) == Response(b"")
    assert card.initiation.state is State.VERIFIED
    answer = card(Command.parse(unhex(case["authenticate_capdu"])))
    assert (answer.data.hex(), answer.sw) == (case["authenticate_rdata"], 0x9000)
    session = card.initiation.session
    assert session is not None
    assert (session.level, session.authentication) == (0x33, Level.ANY_AUTHENTICATED)
    for exchange in case["exchanges"]:
        card.answer = Response(unhex(exchange["plain_rdata"]))
        assert card(Command.parse(unhex(exchange["wrapped_capdu"]))).encode().hex() == exchange["wrapped_rapdu"]
        assert card.received[-1] == Command.parse(unhex(exchange["plain_capdu"]))
    assert session.decrypt_sensitive(AesKey(unhex(case["s_dek"])).encrypt_cbc(bytes(16), bytes(32))) == bytes(32)


@vectors(OPENSCP)
def test_a_flipped_bit_in_a_recorded_certificate_verifies_nothing(case: Case) -> None:
    commands = [unhex(raw) for raw in case["pso_capdus"]]
    lengths = [(number, 5 + len(Command.parse(raw).data)) for number, raw in enumerate(commands)]
    for number, bit in [(number, bit) for number, size in lengths for bit in range(5 * 8, size * 8, 83)]:
        card = openscp_end(case)
        flipped = bytearray(commands[number])
        flipped[bit // 8] ^= 0x80 >> bit % 8
        statuses = [
            card(Command.parse(raw)).sw for raw in (*commands[:number], bytes(flipped), *commands[number + 1 :])
        ]
        assert set(statuses) & {0x6600, 0x6A80, 0x6A81}, (number, bit)
        assert card.initiation.session is None


@vectors(OPENSCP)
def test_a_flipped_bit_in_a_recorded_command_ends_the_session(case: Case) -> None:
    wrapped = unhex(case["exchanges"][0]["wrapped_capdu"])
    for bit in range(8, (len(wrapped) - 1) * 8, 37):
        if bit // 8 in (1, 4):
            continue
        card = openscp_end(case)
        for raw in (*case["pso_capdus"], case["authenticate_capdu"]):
            card(Command.parse(unhex(raw)))
        flipped = bytearray(wrapped)
        flipped[bit // 8] ^= 0x80 >> bit % 8
        assert card(Command.parse(bytes(flipped))).sw == 0x6982
        assert card.initiation.state is State.IDLE
        assert card.received == []


# ---- HostID, other levels and curves --------------------------------------------------------------------------


def hostid_end(case: Case, **changes: Any) -> CardEnd:
    """The card of a computed session, which has shown its certificate already."""
    curve = CURVES[case["curve"]]
    ecka, group = layout(case)
    made = Domain(
        profile=Profile(ecka=ecka, group_id=group),
        keys={(1, variant_of(case).kid): EcPrivateKey.from_scalar(curve, unhex(case["sk_sd"]))},
        ca_keys={(KLOC.kvn, KLOC.kid): authority("host", "x509")[0].public},
        iin=unhex(case["sin"]) if "sin" in case else None,
        cin=unhex(case["sdin"]) if "sdin" in case else None,
        group=unhex(case["card_group_id"]) if "card_group_id" in case else None,
        ephemeral=lambda _: EcPrivateKey.from_scalar(curve, unhex(case["esk_sd"])),
    )
    for name, value in changes.items():
        setattr(made, name, value)
    card = CardEnd(made)
    if "pk_oce" in case:
        public = EcPublicKey.from_point(curve, unhex(case["pk_oce"]))
        certificate = authority("host", "x509")[0].issue(public, "OCE", 7)
        assert card(Command(0x80, 0x2A, 3, 0x10, certificate, 0, extended=True)).sw == 0x9000
    return card


@vectors(HOSTID)
def test_identifiers_levels_and_curves_give_the_bytes_computed_elsewhere(case: Case) -> None:
    for style in ("wrapped_empty_not_encrypted", "wrapped_empty_padded_and_encrypted"):
        card = hostid_end(case)
        answer = card(Command.parse(unhex(case["authenticate_capdu"])))
        assert (answer.data.hex(), answer.sw) == (case["authenticate_rdata"], 0x9000)
        session = card.initiation.session
        assert session is not None
        assert session.level == LEVELS_OF_USAGE[0x34 if "kuq34" in case["name"] else 0x3C]
        if "first_command" in case:
            first = case["first_command"]
            assert card(Command.parse(unhex(first[style]))).sw == 0x9000
            assert card.received == [Command.parse(unhex(first["plain"]))]


IDENTIFIED = [case for case in load(HOSTID) if case["name"] in ("a-P256-hostid", "b-P256-hostid", "c-P256-hostid-lv")]


@pytest.mark.parametrize("case", IDENTIFIED, ids=[case["name"] for case in IDENTIFIED])
def test_an_identifier_that_the_card_lacks_is_6a88_or_counts_as_empty(case: Case) -> None:
    command = Command.parse(unhex(case["authenticate_capdu"]))
    for name in ("iin", "cin") if "sin" in case else ("group",):
        assert hostid_end(case, **{name: None})(command).sw == 0x6A88
        assert hostid_end(case, **{name: None, "profile": Profile(empty_ids=True)})(command).sw == 0x9000


# ---- the table ------------------------------------------------------------------------------------------------

ALONE = holder("x509", alone=True).chain[0]
_ROOT = Authority(key("P-256", "CA-KLOC"), authority("host", "x509")[0].certificate, "host", VALIDITY, Profile(), 3)
_UPPER = _ROOT.intermediate(key("P-256", "upper"), "upper", 21)
_LOWER = _UPPER.intermediate(key("P-256", "lower"), "lower", 22)
UPPER, LOWER = _UPPER.certificate, _LOWER.certificate
LEAF = _UPPER.issue(key("P-256", "OCE").public, "OCE", 23)
CUT = 50


def way(state: State, event: Event) -> tuple[list[Command], Command]:
    """Commands that lead to a state, and one that is the event there."""
    first = (ALONE, 0x10) if event is Event.LAST else (UPPER, 0x90)
    further = (LEAF, 0x10) if event is Event.LAST else (LOWER, 0x90)
    begun = {State.FIRST_PART: first, State.NEXT_PART: further}.get(state)
    due = further if state in (State.LINKED, State.NEXT_PART) else first
    before = {
        State.IDLE: [],
        State.FIRST_PART: [pso(first[0][:CUT], first[1], part=True)],
        State.LINKED: [pso(UPPER, 0x90)],
        State.NEXT_PART: [pso(UPPER, 0x90), pso(further[0][:CUT], further[1], part=True)],
        State.VERIFIED: [pso(ALONE)],
        State.OPEN: [pso(ALONE), MUTUAL],
    }[state]
    rest = due[0][CUT:] if begun else due[0]
    command = {
        Event.PART: pso(rest[:CUT], due[1], part=True),
        Event.CERTIFICATE: pso(rest, due[1]),
        Event.LAST: pso(rest, due[1]),
        Event.MUTUAL: MUTUAL,
        Event.INTERNAL: INTERNAL,
        Event.OTHER: OTHER,
    }[event]
    return before, command


PAIRS = list(itertools.product(State, Event))


@pytest.mark.parametrize(("state", "event"), PAIRS, ids=[f"{state.name}-{event.name}" for state, event in PAIRS])
def test_every_pair_of_the_table_leads_where_it_says_and_every_other_is_6985(state: State, event: Event) -> None:
    before, command = way(state, event)
    card = led(CardEnd(domain()), before)
    assert card.initiation.state is state
    if state is State.OPEN and event is Event.OTHER:
        card.initiation.other()
        assert card.initiation.session is not None
        return
    answer = card(command)
    if (state, event) in TABLE:
        assert answer.sw == (0x6982 if event is Event.OTHER else 0x9000)
        assert card.initiation.state is TABLE[state, event]
    else:
        assert answer.sw == 0x6985
        assert card.initiation.state is State.IDLE
    assert (card.initiation.session is not None) is (card.initiation.state is State.OPEN)


def test_the_table_lists_what_it_should() -> None:
    unlisted = set(PAIRS) - set(TABLE)
    assert unlisted == {
        (State.IDLE, Event.MUTUAL),
        (State.OPEN, Event.MUTUAL),
        *itertools.product((State.FIRST_PART, State.LINKED, State.NEXT_PART), (Event.MUTUAL, Event.INTERNAL)),
    }


def test_the_documentation_shows_this_table() -> None:
    text = (pathlib.Path(__file__).parents[2] / "docs" / "scp11.md").read_text("utf-8")
    lines = [line.strip("| ").split("|") for line in text.splitlines() if line.startswith("| ")]
    rows = {row[0].strip(): [cell.strip() for cell in row[1:]] for row in lines}
    events = (Event.PART, Event.CERTIFICATE, Event.LAST, Event.MUTUAL, Event.INTERNAL)
    for state in State:
        after = [TABLE.get((state, event)) for event in events]
        shown = ["" if one is None else "stays" if one is state is not State.OPEN else one.value for one in after]
        assert [*rows[state.value], "", ""][: len(events)] == shown


def test_a_remembered_key_serves_later_sessions_where_the_card_says_so() -> None:
    remembering = Profile(i=Profile().i | I.PERSISTENT_PK << 8)
    made = domain(profile=remembering)
    led(CardEnd(made), [pso(ALONE), MUTUAL, MUTUAL])
    assert made.kept == ALONE
    led(CardEnd(made), [MUTUAL])
    begun = led(CardEnd(made), [pso(UPPER, 0x90)])
    assert begun(INTERNAL).sw == 0x6985
    made.kept = None
    assert CardEnd(made)(MUTUAL).sw == 0x6985
    forgetting = domain()
    led(CardEnd(forgetting), [pso(ALONE), MUTUAL])
    assert forgetting.kept is None


# ---- certificates ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("style", ["p1", "p1-chained", "chained", "extended"])
@pytest.mark.parametrize("form", ["x509", "gp"])
def test_every_style_of_fragments_is_taken(style: Fragments, form: Form) -> None:
    card = CardEnd(domain())
    chain = holder(form).chain
    card.domain.ca_keys = {(3, 0x10): authority("host", form)[0].public}
    drive(send_chain(chain, KLOC, profile=Profile(fragments=style)), card)
    assert card.initiation.state is State.VERIFIED
    assert len(card.sent) >= len(chain)


@pytest.mark.parametrize("place", [(4, 0x10), (3, 0x20), (3, 0x90)])
def test_parts_of_another_place_are_no_parts_of_this_certificate(place: tuple[int, int]) -> None:
    made = domain()
    made.ca_keys |= {(4, 0x10): made.ca_keys[3, 0x10], (3, 0x20): made.ca_keys[3, 0x10]}
    card = led(CardEnd(made), [Command(0x90, 0x2A, *place, ALONE[:9])])
    assert card(pso(ALONE[9:])).sw == 0x6A80
    assert card.initiation.state is State.IDLE
    led(card, [pso(ALONE[:9], part=True), pso(ALONE[9:])])


def test_a_chain_stays_with_its_ca_key() -> None:
    made = domain()
    made.ca_keys |= {(4, 0x10): made.ca_keys[3, 0x10]}
    card = led(CardEnd(made), [pso(UPPER, 0x90)])
    assert card(Command(0x80, 0x2A, 4, 0x10, LEAF, 0, extended=True)).sw == 0x6A80


def refusal_of(*certificates: bytes, p2: int = 0x10, **changes: Any) -> int:
    """Status word of the last of some certificates; those before it must be accepted."""
    card = CardEnd(domain(**changes))
    for certificate in certificates[:-1]:
        assert card(pso(certificate, 0x90)).sw == 0x9000
    answer = card(pso(certificates[-1], p2))
    assert card.initiation.state is State.IDLE
    return answer.sw


def gp(
    subject: str = "OCE", *, issuer: bytes = b"CA-KLOC", signs: bool = False, by: str = "CA-KLOC", **more: Any
) -> bytes:
    return issue_gp(
        key("P-256", by),
        serial=b"\x09",
        issuer=issuer,
        subject=subject.encode(),
        public_key=key("P-256", more.pop("of", "OCE")).public,
        expires="20450101",
        signs=signs,
        profile=Profile(),
        **more,
    )


def changed(certificate: bytes, old: str, new: str) -> bytes:
    assert certificate.count(unhex(old)) == 1
    return certificate.replace(unhex(old), unhex(new))


def test_a_certificate_that_is_not_what_it_should_be_is_refused_with_its_own_status() -> None:
    other_root = Authority.root(key("P-256", "other"), "host", "CA-KLOC", 1, VALIDITY)
    card_side = Authority(
        key("P-256", "CA-KLOC"), authority("host", "x509")[0].certificate, "card", VALIDITY, Profile(), 1
    )
    oce = key("P-256", "OCE").public
    in_order, swapped = "5F2504202501015F240420450101", "5F2404204501015F250420250101"
    middle = Authority(key("P-256", "KA-KLOC"), holder("x509").chain[0], "host", VALIDITY, Profile(), 1)
    two_deep = middle.intermediate(key("P-256", "deep"), "deep", 5)
    cases: list[tuple[str, int, int]] = [
        ("no certificate", refusal_of(b"\x00" * 20), 0x6A80),
        ("nothing", refusal_of(b""), 0x6A80),
        ("cut", refusal_of(ALONE[:-1]), 0x6A80),
        ("another root", refusal_of(other_root.issue(oce, "OCE", 2)), 0x6600),
        ("the root itself", refusal_of(authority("host", "x509")[0].certificate), 0x6A80),
        ("a leaf before a leaf", refusal_of(ALONE, p2=0x90), 0x6A80),
        ("an intermediate at the end", refusal_of(UPPER), 0x6A80),
        ("a certificate of the card's side", refusal_of(card_side.issue(oce, "SD", 3)), 0x6A80),
        ("a leaf of another intermediate", refusal_of(UPPER, holder("x509").chain[1]), 0x6600),
        ("deeper than allowed", refusal_of(holder("x509").chain[0], two_deep.certificate, p2=0x90), 0x6A80),
        ("too long", refusal_of(bytes(5000)), 0x6700),
        ("no such CA key", refusal_of(ALONE, ca_keys={}), 0x6A88),
        ("no X.509", refusal_of(ALONE, profile=Profile(i=I.A | I.CHAINS)), 0x6A80),
        ("no GP format", refusal_of(gp(), profile=Profile(i=0x9B06)), 0x6A80),
        ("no chains", refusal_of(UPPER, p2=0x90, profile=Profile(i=0x8102)), 0x6A80),
        ("two formats", refusal_of(UPPER, gp(issuer=b"upper", by="upper")), 0x6A80),
        ("GP, another root", refusal_of(gp(by="other")), 0x6600),
        ("GP, of a CA", refusal_of(gp(signs=True)), 0x6A80),
        ("GP, a leaf before a leaf", refusal_of(gp(), p2=0x90), 0x6A80),
        ("GP, unknown tag", refusal_of(changed(gp(), "5F2404", "5F2904")), 0x6A80),
        ("GP, order", refusal_of(changed(gp(effective="20250101"), in_order, swapped)), 0x6A80),
        ("GP, unknown curve", refusal_of(changed(gp(), "F00100", "F00106")), 0x6A80),
        ("GP, changed date", refusal_of(changed(gp(), "20450101", "20460101")), 0x6600),
        ("GP, short signature", refusal_of(changed(gp(), "5F3740", "5F373F")[:-1]), 0x6A80),
        ("GP, authorisation of a CA", refusal_of(gp(signs=True, authorisation=b""), p2=0x90), 0x6A81),
        ("GP, authorisation unsupported", refusal_of(gp(authorisation=b""), profile=Profile(i=I.A | I.C)), 0x6A81),
        ("GP, another issuer's name", refusal_of(gp("KA", signs=True, of="KA"), gp(issuer=b"KB", by="KA")), 0x6600),
    ]
    assert [(name, f"{got:04X}") for name, got, due in cases if got != due] == []


def test_no_certificate_lengthens_what_one_above_it_allows() -> None:
    """The first allows one CA below it; the second says five, and still only it may stand there."""
    keys = [key("P-256", name) for name in ("first", "second", "third")]
    root, certificate = key("P-256", "CA-KLOC"), authority("host", "x509")[0].certificate
    chain = []
    for own, depth in zip(keys, (2, 6, 5), strict=True):
        made = Authority(root, certificate, "host", VALIDITY, Profile(), depth).intermediate(
            own, f"depth {depth}", depth
        )
        root, certificate = own, made.certificate
        chain.append(certificate)
    card = CardEnd(domain())
    assert [card(pso(raw, 0x90)).sw for raw in chain] == [0x9000, 0x9000, 0x6A80]


@pytest.mark.parametrize("curve", CURVE_NAMES)
def test_signatures_of_gp_certificates_have_the_hash_of_the_curve_or_sha256(curve: str) -> None:
    wide = next(f"sha{bits}" for bits in (256, 384, 512) if str(bits) in curve.replace("521", "512"))
    signer = key(curve, "CA-KLOC")
    for profile, hash_name in ((Profile(), wide), (Profile(gp_hash="sha256"), "sha256")):
        made = Authority.root(signer, "host", "CA", 1, VALIDITY, form="gp", profile=profile)
        parsed = parse_certificate(made.issue(key("P-256", "OCE").public, "OCE", 2))
        signer.public.verify(parsed.signature, parsed.signed, hash_name)
        verify_signature(parsed, signer.public, profile)


def test_signatures_of_gp_certificates_may_be_der() -> None:
    for form in ("plain", "der"):
        raw = gp()
        if form == "der":
            signed = parse_certificate(raw).signed
            raw = item(0x7F21, signed + item(0x5F37, key("P-256", "CA-KLOC").sign_der(signed)))
        led(CardEnd(domain()), [pso(raw)])


def test_a_plain_signature_that_begins_like_der_is_taken() -> None:
    signer, signed = key("P-256", "CA-KLOC"), parse_certificate(gp()).signed
    drawn = (signer.sign(signed) for _ in range(20_000))
    signature = next(signature for signature in drawn if signature[0] == ord("0"))
    led(CardEnd(domain()), [pso(item(0x7F21, signed + item(0x5F37, signature)))])
    spoiled = signature[:-1] + bytes((signature[-1] ^ 1,))
    assert CardEnd(domain())(pso(item(0x7F21, signed + item(0x5F37, spoiled)))).sw == 0x6600


def test_a_key_on_another_curve_than_the_cards_is_refused_when_it_is_used() -> None:
    other = authority("host", "x509")[0].issue(key("P-384", "OCE").public, "OCE", 4)
    card = led(CardEnd(domain()), [pso(other)])
    assert card(MUTUAL).sw == 0x6A80


def allowing(*serials: bytes) -> dict[tuple[int, int], AllowList]:
    return {(3, 0x10): AllowList(target=ForKey(KLOC), allowed=Serials(serials))}


def test_the_allow_list_is_about_the_first_certificate_of_a_chain() -> None:
    chain = holder("x509").chain
    first, last = (parse_certificate(raw).serial for raw in chain)
    assert (first, last) == (0x82, 0x83)
    for listed, due in (((b"\x82",), 0x9000), ((b"\x00\x82", b"\x07"), 0x9000), ((b"\x83",), 0x6640), ((), 0x9000)):
        card = CardEnd(domain(lists=allowing(*listed)))
        assert card(pso(chain[0], 0x90)).sw == due
        if due == 0x9000:
            assert card(pso(chain[1])).sw == 0x9000
    assert CardEnd(domain(lists=allowing(b"\x83")))(pso(ALONE)).sw == 0x9000
    assert CardEnd(domain(lists=allowing(b"\x82")))(pso(ALONE)).sw == 0x6640


# ---- agreement ------------------------------------------------------------------------------------------------


def test_what_does_not_fit_in_the_command_is_refused_with_its_own_status() -> None:
    def answer(data: bytes, p2: int = 0x11, ins: int = 0x82, **changes: Any) -> int:
        card = led(CardEnd(domain(**changes)), [pso(ALONE)])
        return card(Command(0x80, ins, 1, p2, data, 0)).sw

    point = key("P-256", "ephemeral OCE").public.point
    compressed = bytes((2 + (point[-1] & 1),)) + point[1:33]
    cases: list[tuple[str, int, int]] = [
        ("good", answer(asked()), 0x9000),
        ("zeros", answer(bytes(8)), 0x6A80),
        ("usage", answer(asked(0x30)), 0x6A80),
        ("usage that is unsure", answer(asked(0x1C)), 0x6A80),
        ("key type", answer(asked(key_type=0x80)), 0x6A80),
        ("key length", answer(asked(key_length=20)), 0x6A80),
        ("protocol", answer(asked(scp=3)), 0x6A80),
        ("parameter of c with the key of a", answer(asked(parameter=3)), 0x6A80),
        ("HostID bit without HostID", answer(asked(parameter=5)), 0x6A80),
        ("unknown bit", answer(asked(parameter=9)), 0x6A80),
        ("another curve", answer(asked(curve="P-384")), 0x6A80),
        ("compressed point", answer(asked().replace(item(0x5F49, point), item(0x5F49, compressed))), 0x6A80),
        ("not on the curve", answer(asked()[:-1] + bytes((asked()[-1] ^ 1,))), 0x6A80),
        ("infinity", answer(asked().replace(item(0x5F49, point), item(0x5F49, b"\0"))), 0x6A80),
        ("KID of nothing", answer(asked(), 0x00), 0x6A86),
        ("KID of nothing, another card", answer(asked(), 0, profile=Profile(wrong_p2=0x6B00)), 0x6B00),
        ("KID of b", answer(asked(), 0x13), 0x6A86),
        ("KID of a", answer(asked(parameter=0), 0x11, 0x88), 0x6A86),
        ("variant not offered", answer(asked(parameter=3), 0x15, profile=Profile(i=0x8B02)), 0x6A86),
        ("no key", answer(asked(), keys={}), 0x6A88),
        ("c elsewhere", answer(asked(parameter=3), 0x15, elsewhere=True), 0x6985),
        ("a beside c elsewhere", answer(asked(), elsewhere=True), 0x9000),
    ]
    assert [(name, f"{got:04X}") for name, got, due in cases if got != due] == []


@pytest.mark.parametrize("usage", ALL_USAGES)
def test_every_usage_is_a_level_once_the_profile_takes_it(usage: int) -> None:
    card = led(CardEnd(domain(profile=Profile(usages=ALL_USAGES))), [pso(ALONE)])
    assert card(Command(0x80, 0x82, 1, 0x11, asked(usage), 0)).sw == 0x9000
    assert card.initiation.session is not None
    assert card.initiation.session.level == LEVELS_OF_USAGE[usage]


def test_a_key_elsewhere_that_refuses_or_gives_nothing_opens_no_session() -> None:
    class Broken:
        public = key("P-256", "SD").public

        def __init__(self, given: bytes) -> None:
            self.given = given

        def agree(self, peer: EcPublicKey) -> bytes:
            del peer
            if not self.given:
                raise AuthenticationError("not today")
            return self.given

    for given in (b"", bytes(32)):
        card = led(CardEnd(domain(keys={(1, 0x11): Broken(given)})), [pso(ALONE)])
        assert card(MUTUAL).sw == 0x6A80
        assert card.initiation.session is None


def test_too_many_failures_block_a_key_and_a_success_clears_them() -> None:
    card = CardEnd(domain(profile=YUBIKEY))
    for _ in range(63):
        assert card(Command(0x80, 0x82, 1, 0x11, bytes(8))).sw == 0x6A80
        assert card(Command(0x80, 0x2A, 3, 0x10, bytes(8))).sw == 0x6A80
    led(card, [pso(ALONE), MUTUAL])
    for _ in range(64):
        assert card(Command(0x80, 0x82, 1, 0x11, bytes(8))).sw == 0x6A80
        assert card(Command(0x80, 0x88, 1, 0x13, bytes(8))).sw == 0x6A80
        assert card(Command(0x80, 0x2A, 3, 0x10, bytes(8))).sw == 0x6A80
    for ins, kvn, kid in ((0x82, 1, 0x11), (0x88, 1, 0x13), (0x2A, 3, 0x10)):
        assert card(Command(0x80, ins, kvn, kid, bytes(8))).sw == 0x6983
    assert card(pso(ALONE)).sw == 0x6983
