"""The card end of SCP10: what is allowed when, what each failure answers, and what it ends."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.crypto import RsaPublicKey
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.refusal import Refusal
from keywright.scp.level import Level
from keywright.scp.scp10 import Holder, Initiation, Outcome, Profile, get_data, issue_certificate
from keywright.scp.scp10.authentication import convey, prove
from keywright.scp.scp10.card import TABLE, State, Step
from keywright.scp.scp10.messages import ControlReference, SecurityParameters
from support.scp10 import CARD, HOST, ISSUER, Card, Domain, Stream, host_certificate, key

LISTED = {
    State.IDLE: {Step.MANAGE, Step.VERIFY},
    State.BEGUN: {Step.MANAGE, Step.VERIFY, Step.DECIPHER, Step.CHALLENGE},
    State.CHALLENGED: {Step.MANAGE, Step.VERIFY, Step.DECIPHER, Step.CHALLENGE, Step.EXTERNAL},
    State.HOST_AUTHENTICATED: {Step.MANAGE, Step.VERIFY, Step.INTERNAL},
}
PAIRS = list(itertools.product(State, Step))
PARAMETERS = SecurityParameters(
    0x01, ((0xB4, ControlReference(0x30, None, bytes(range(16)), bytes(8)).build()),)
).build()
AGREED = SecurityParameters(0x01, ((0xB4, ControlReference(0x30).build()),)).build()
OWN = issue_certificate("A", Holder(HOST, key("oce_1024").public, HOST), key("oce_1024"), Profile())
"""A certificate that only the host's own key verifies, to follow its first one in a chain."""


class Caller:
    """Makes the commands of a host by hand, one at a time, over one `Initiation`."""

    def __init__(self, i: int = 2, **changes: Any) -> None:
        self.i = i
        self.domain = Domain(**changes)
        self.initiation = Initiation(self.domain)
        self.challenge = b""

    def send(self, command: Command | str) -> Outcome:
        parsed = Command.parse(bytes.fromhex(command)) if isinstance(command, str) else command
        assert self.initiation.concerns(parsed)
        outcome = self.initiation.handle(parsed)
        if parsed.ins == 0x84 and outcome.response.sw == 0x9000:
            self.challenge = outcome.response.data
        return outcome

    def command(self, step: Step) -> Command:
        own, i = key("oce_1024"), self.i
        match step:
            case Step.MANAGE:
                return Command(0, 0x22, 0xC1, 0xB6, bytes((0x80, 2, 0x10, i)))
            case Step.VERIFY:
                running = self.initiation.state in (State.BEGUN, State.CHALLENGED)
                following = running and self.initiation._host is not None
                return Command(0, 0x2A, 0, 0xBE, (OWN if following else host_certificate(1024)).encoded)
            case Step.DECIPHER:
                return self.decipher(PARAMETERS)
            case Step.CHALLENGE:
                return Command(0, 0x84, 0, 0, b"", 0)
            case Step.EXTERNAL:
                if i & 1:
                    data = convey(own, key("sd_1024").public, AGREED + bytes(32), self.challenge + CARD, i, Stream())
                else:
                    data = prove(own, PARAMETERS + self.challenge, i, Stream())
                return Command(0, 0x82, 0, 0, data)
            case Step.INTERNAL:
                return Command(0, 0x88, 0, 0, bytes(8 if i & 1 else 16) + HOST, 0)

    def decipher(self, clear: bytes, ps: bytes | None = None) -> Command:
        public = key("sd_1024").public
        ps = b"\xff" * public.padding_for(clear) if ps is None else ps
        return Command(0, 0x2A, 0x80, 0x84, public.encrypt_with(clear, ps))

    def do(self, *steps: Step) -> Outcome:
        outcomes = [self.send(self.command(step)) for step in steps]
        assert [outcome.response.sw for outcome in outcomes] == [0x9000] * len(steps)
        return outcomes[-1]

    def reach(self, state: State) -> Caller:
        keys = () if self.i & 1 else (Step.DECIPHER,)
        begun = (Step.MANAGE, Step.VERIFY, *keys)
        ways = {
            State.IDLE: (),
            State.BEGUN: begun,
            State.CHALLENGED: (*begun, Step.CHALLENGE),
            State.HOST_AUTHENTICATED: (*begun, Step.CHALLENGE, Step.EXTERNAL),
        }
        if ways[state]:
            self.do(*ways[state])
        assert self.initiation.state == state
        return self


def refused(outcome: Outcome, sw: int, *, ends_session: bool) -> None:
    assert (outcome.response, outcome.ends_session, outcome.session) == (Response(b"", sw), ends_session, None)


def test_the_table_lists_what_the_clause_allows() -> None:
    assert {state: {step for found, step in TABLE if found == state} for state in State} == LISTED


@pytest.mark.parametrize("i", [0, 1, 2, 3])
@pytest.mark.parametrize(("state", "step"), [pair for pair in PAIRS if pair[1] not in LISTED[pair[0]]])
def test_a_pair_that_is_not_listed_is_refused(i: int, state: State, step: Step) -> None:
    caller = Caller(i).reach(state)
    failed_proof = step in (Step.EXTERNAL, Step.INTERNAL)
    refused(caller.send(caller.command(step)), 0x6985, ends_session=failed_proof)
    # What was to follow at once no longer can, and a failed proof discards all there is.
    after = State.IDLE if failed_proof or state == State.HOST_AUTHENTICATED else state
    assert caller.initiation.state == after
    if failed_proof:
        refused(caller.send(caller.command(Step.CHALLENGE)), 0x6985, ends_session=False)


@pytest.mark.parametrize("i", [0, 1, 2, 3])
@pytest.mark.parametrize(("state", "step"), [pair for pair in PAIRS if pair[1] in LISTED[pair[0]]])
def test_a_pair_that_is_listed_is_done(i: int, state: State, step: Step) -> None:
    if i & 1 and step == Step.DECIPHER:
        return
    caller = Caller(i, options=(i,)).reach(state)
    outcome = caller.do(step)
    begins = step == Step.MANAGE or (step == Step.VERIFY and state in (State.IDLE, State.HOST_AUTHENTICATED))
    assert outcome.ends_session == begins
    opens = step == (Step.INTERNAL if i & 1 else Step.EXTERNAL)
    assert (outcome.session is not None) == opens
    after = {
        Step.CHALLENGE: State.CHALLENGED,
        Step.EXTERNAL: State.HOST_AUTHENTICATED,
        Step.INTERNAL: State.IDLE,
    }.get(step, State.BEGUN)
    assert caller.initiation.state == after


@pytest.mark.parametrize(
    ("apdu", "sw"),
    [
        ("00228 0B6 04 80021002", 0x6A86),
        ("0022C1B8 04 80021002", 0x6A86),
        ("0022C1B6 04 80021102", 0x6A80),
        ("0022C1B6 04 80020002", 0x6A80),
        ("0022C1B6 03 800210", 0x6A80),
        ("0022C1B6 02 8400", 0x6A80),
        ("0022C1B6", 0x6A80),
        ("0022C1B6 04 80021004", 0x9484),
        ("0022C1B6 04 80021042", 0x9484),
        ("0022C1B6 07 80021002830102", 0x6A88),
        ("0022C1B6 07 80021002840102", 0x6A88),
        ("0022C1A4 04 80021002", 0x6A88),
        ("002281B6 04 80021001", 0x6A86),
    ],
)
@pytest.mark.parametrize("state", State)
def test_a_wrong_manage_security_environment_ends_session_and_initiation(apdu: str, sw: int, state: State) -> None:
    caller = Caller().reach(state)
    refused(caller.send(apdu.replace(" ", "")), sw, ends_session=True)
    assert caller.initiation.state == State.IDLE


def test_keys_are_found_by_reference_empty_or_absent() -> None:
    for references in ("", "8300", "8400", "8301018401 01".replace(" ", "")):
        data = bytes.fromhex("80021002" + references)
        caller = Caller()
        assert caller.send(Command(0, 0x22, 0xC1, 0xB6, data)).response.sw == 0x9000
        caller.do(Step.VERIFY, Step.DECIPHER, Step.CHALLENGE, Step.EXTERNAL, Step.INTERNAL)


def test_without_an_environment_all_is_by_default() -> None:
    for i in (0, 2):
        caller = Caller(i, options=(i, 1))
        caller.do(Step.VERIFY, Step.DECIPHER, Step.CHALLENGE, Step.EXTERNAL, Step.INTERNAL)


def test_a_host_key_validated_before_needs_no_certificate() -> None:
    caller = Caller(host=Holder(HOST, key("oce_1024").public))
    known = Command(0, 0x22, 0xC1, 0xA4, bytes.fromhex("80021002"))
    assert caller.send(known).response.sw == 0x9000
    caller.do(Step.DECIPHER, Step.CHALLENGE, Step.EXTERNAL, Step.INTERNAL)
    assert caller.send(known).response.sw == 0x9000
    refused(caller.send(caller.command(Step.VERIFY)), 0x6985, ends_session=False)


def test_a_chain_of_certificates_leads_to_the_last_key() -> None:
    between = issue_certificate("B", Holder(ISSUER, key("tp_in_1024").public, ISSUER), key("tp_ex_1024"), Profile())
    last = issue_certificate("C", Holder(HOST, key("oce_1024").public, ISSUER), key("tp_in_1024"), Profile())
    commands = [Command(0, 0x2A, 0, part.form, part.encoded) for part in (between, last)]
    caller = Caller()
    caller.do(Step.MANAGE)
    for command in commands:
        assert caller.send(command).response.sw == 0x9000
    caller.do(Step.DECIPHER, Step.CHALLENGE, Step.EXTERNAL)
    caller.do(Step.MANAGE)
    refused(caller.send(commands[1]), 0x6300, ends_session=False)
    caller.do(Step.MANAGE)
    assert caller.send(commands[0]).response.sw == 0x9000
    # The key between is no less validated than the last: what it may do is for the issuer to say.
    caller.do(Step.DECIPHER, Step.CHALLENGE)
    refused(caller.send(caller.command(Step.EXTERNAL)), 0x6300, ends_session=True)


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(
    ("p2", "encoded", "sw"),
    [
        (0xBE, issue_certificate("A", Holder(HOST, key("oce_1024").public), key("sd_1024"), Profile()).encoded, 0x6300),
        (0xBE, host_certificate(1024).encoded[:-1], 0x6A80),
        (0xBE, b"", 0x6A80),
        (0xAE, host_certificate(1024).encoded, 0x6A80),
        (0xB6, host_certificate(1024).encoded, 0x6A86),
    ],
)
def test_a_certificate_that_is_not_accepted_ends_the_initiation(first: bool, p2: int, encoded: bytes, sw: int) -> None:  # noqa: FBT001 - the parameter of a case
    caller = Caller()
    if not first:
        caller.do(Step.MANAGE, Step.VERIFY)
    refused(caller.send(Command(0, 0x2A, 0, p2, encoded)), sw, ends_session=first)
    assert caller.initiation.state == State.IDLE
    refused(caller.send(caller.command(Step.CHALLENGE)), 0x6985, ends_session=False)


def test_everything_wrong_with_a_cryptogram_looks_alike() -> None:
    caller = Caller()
    public = key("sd_1024").public
    whole = public.size
    blocks = {
        "type 1": b"\0\1" + b"\xff" * (whole - 3 - len(PARAMETERS)) + b"\0" + PARAMETERS,
        "first byte": b"\1\2" + b"\xff" * (whole - 3 - len(PARAMETERS)) + b"\0" + PARAMETERS,
        "short padding": b"\0\2" + b"\xff" * 7 + b"\0" + bytes(whole - 10 - len(PARAMETERS)) + PARAMETERS,
        "no end of padding": b"\0\2" + b"\xff" * (whole - 2),
    }
    wrong = {name: public.apply(block) for name, block in blocks.items()}
    clear = (b"", PARAMETERS[:-1], PARAMETERS + b"\0", b"\xd3\1\2" + PARAMETERS[3:])
    wrong |= {text.hex(): caller.decipher(text).data for text in clear}
    wrong |= {"short": bytes(whole - 1), "long": bytes(whole + 1), "modulus": public.modulus, "none": b""}
    outcomes = set()
    for cryptogram in wrong.values():
        caller.do(Step.MANAGE, Step.VERIFY)
        outcome = caller.send(Command(0, 0x2A, 0x80, 0x84, cryptogram))
        outcomes.add((outcome.response.sw, outcome.response.data, outcome.ends_session, caller.initiation.state))
    assert outcomes == {(0x6A80, b"", False, State.IDLE)}


def test_any_padding_without_a_zero_is_taken() -> None:
    size = key("sd_1024").public.padding_for(PARAMETERS)
    for ps in (b"\1" * size, bytes(byte or 1 for byte in Stream()(size))):
        caller = Caller()
        caller.do(Step.MANAGE)
        assert caller.send(caller.decipher(PARAMETERS, ps)).response.sw == 0x9000


def test_nothing_is_deciphered_with_key_agreement() -> None:
    caller = Caller(1)
    caller.do(Step.MANAGE)
    refused(caller.send(caller.command(Step.DECIPHER)), 0x6985, ends_session=False)
    assert caller.initiation.state == State.IDLE


def test_another_perform_security_operation_is_refused_and_changes_nothing() -> None:
    caller = Caller().reach(State.BEGUN)
    for apdu in ("002A8086", "002A9E9A", "002A80BE"):
        refused(caller.send(apdu), 0x6A86, ends_session=False)
    assert caller.initiation.state == State.BEGUN


@pytest.mark.parametrize(
    ("apdu", "sw"), [("0084010000", 0x6A86), ("0084000100", 0x6A86), ("0084000008", 0x6700), ("00840000", 0x6700)]
)
def test_a_wrong_get_challenge_leaves_the_initiation_but_no_challenge(apdu: str, sw: int) -> None:
    caller = Caller().reach(State.CHALLENGED)
    refused(caller.send(apdu), sw, ends_session=False)
    assert caller.initiation.state == State.BEGUN
    refused(caller.send(caller.command(Step.EXTERNAL)), 0x6985, ends_session=True)


@pytest.mark.parametrize("i", [0, 1, 2, 3])
def test_a_proof_over_another_challenge_is_refused_and_discards_the_keys(i: int) -> None:
    caller = Caller(i).reach(State.CHALLENGED)
    old = caller.command(Step.EXTERNAL)
    caller.do(Step.CHALLENGE)
    refused(caller.send(old), 0x6300, ends_session=True)
    assert caller.initiation.state == State.IDLE
    refused(caller.send(caller.command(Step.CHALLENGE)), 0x6985, ends_session=False)


@pytest.mark.parametrize("i", [0, 1, 2, 3])
def test_no_flipped_bit_of_a_proof_is_accepted(i: int) -> None:
    size = len(Caller(i).reach(State.CHALLENGED).command(Step.EXTERNAL).data)
    for bit in range(0, size * 8, 97):
        caller = Caller(i).reach(State.CHALLENGED)
        good = caller.command(Step.EXTERNAL)
        data = bytearray(good.data)
        data[bit // 8] ^= 1 << bit % 8
        refused(caller.send(Command(0, 0x82, 0, 0, bytes(data))), 0x6300, ends_session=True)
    for wrong in (b"", bytes(size), b"\xff" * size, bytes(size - 1)):
        caller = Caller(i).reach(State.CHALLENGED)
        refused(caller.send(Command(0, 0x82, 0, 0, wrong)), 0x6300, ends_session=True)


@pytest.mark.parametrize("i", [0, 1, 2, 3])
def test_a_proof_of_another_key_is_refused(i: int) -> None:
    caller = Caller(i).reach(State.CHALLENGED)
    other, public = key("tp_in_1024"), key("sd_1024").public
    if i & 1:
        data = convey(other, public, AGREED + bytes(32), caller.challenge + CARD, i, Stream())
    else:
        data = prove(other, PARAMETERS + caller.challenge, i, Stream())
    refused(caller.send(Command(0, 0x82, 0, 0, data)), 0x6300, ends_session=True)


@pytest.mark.parametrize("i", [1, 3])
@pytest.mark.parametrize("context", ["card", "parameters", "level"])
def test_an_agreement_for_another_card_or_without_parameters_is_refused(i: int, context: str) -> None:
    caller = Caller(i).reach(State.CHALLENGED)
    card = b"SD000002" if context == "card" else CARD
    text = {"card": AGREED, "parameters": b"\xd3" + AGREED[1:-1], "level": b"\xd3\1\3" + AGREED[3:]}[context]
    data = convey(key("oce_1024"), key("sd_1024").public, text + bytes(32), caller.challenge + card, i, Stream())
    sw = 0x6A80 if context == "level" else 0x6300
    refused(caller.send(Command(0, 0x82, 0, 0, data)), sw, ends_session=True)


def test_an_external_authenticate_needs_a_validated_key_and_session_keys() -> None:
    caller = Caller()
    caller.do(Step.MANAGE, Step.DECIPHER, Step.CHALLENGE)
    refused(caller.send(caller.command(Step.EXTERNAL)), 0x6985, ends_session=True)
    caller.do(Step.MANAGE, Step.VERIFY, Step.CHALLENGE)
    refused(caller.send(caller.command(Step.EXTERNAL)), 0x6985, ends_session=True)
    for apdu in ("008201000100", "008200010100"):
        caller.reach(State.CHALLENGED)
        refused(caller.send(apdu), 0x6A86, ends_session=True)


def test_agreement_between_keys_of_two_lengths_is_refused() -> None:
    caller = Caller(1, own=key("sd_2048")).reach(State.CHALLENGED)
    refused(caller.send(Command(0, 0x82, 0, 0, bytes(256))), 0x9484, ends_session=True)


@pytest.mark.parametrize("i", [0, 1, 2, 3])
def test_another_command_between_proofs_makes_them_too_late(i: int) -> None:
    caller = Caller(i).reach(State.CHALLENGED)
    caller.initiation.interrupted()
    refused(caller.send(caller.command(Step.EXTERNAL)), 0x6985, ends_session=True)
    caller.reach(State.HOST_AUTHENTICATED)
    caller.initiation.interrupted()
    refused(caller.send(caller.command(Step.INTERNAL)), 0x6985, ends_session=True)
    for state in (State.IDLE, State.BEGUN):
        caller = Caller(i).reach(state)
        caller.initiation.interrupted()
        assert caller.initiation.state == state


@pytest.mark.parametrize("i", [0, 1, 2, 3])
def test_internal_authenticate_is_answered_once(i: int) -> None:
    caller = Caller(i).reach(State.HOST_AUTHENTICATED)
    caller.do(Step.INTERNAL)
    refused(caller.send(caller.command(Step.INTERNAL)), 0x6985, ends_session=True)


@pytest.mark.parametrize("i", [0, 1, 2, 3])
def test_a_wrong_internal_authenticate_ends_the_session(i: int) -> None:
    size = 8 if i & 1 else 16
    for command, sw in (
        (Command(0, 0x88, 0, 0, bytes(size) + b"OCE00002", 0), 0x6A80),
        (Command(0, 0x88, 0, 0, bytes(size + 9), 0), 0x6A80),
        (Command(0, 0x88, 0, 0, b"", 0), 0x6A80),
        (Command(0, 0x88, 1, 0, bytes(size) + HOST, 0), 0x6A86),
        (Command(0x0C, 0x88, 0, 0, bytes(size) + HOST, 0), 0x6882),
    ):
        caller = Caller(i).reach(State.HOST_AUTHENTICATED)
        refused(caller.send(command), sw, ends_session=True)
        assert caller.initiation.state == State.IDLE


def test_the_host_identifier_is_not_compared_if_the_profile_says_so() -> None:
    for i in (1, 2):
        caller = Caller(i, profile=Profile(check_host_identifier=False)).reach(State.HOST_AUTHENTICATED)
        command = Command(0, 0x88, 0, 0, bytes(8 if i & 1 else 16) + b"OCE00002", 0)
        assert caller.send(command).response.sw == 0x9000


def test_a_host_that_asked_only_for_its_own_authentication_gets_no_proof() -> None:
    caller = Caller()
    assert caller.send("002281B60480021002").response.sw == 0x9000
    opened = caller.do(Step.VERIFY, Step.DECIPHER, Step.CHALLENGE, Step.EXTERNAL).session
    assert opened is not None
    refused(caller.send(caller.command(Step.INTERNAL)), 0x6985, ends_session=True)


@pytest.mark.parametrize("state", State)
def test_no_command_of_an_initiation_comes_under_secure_messaging(state: State) -> None:
    for step, cla in itertools.product(Step, (0x04, 0x08, 0x0C, 0x60)):
        caller = Caller().reach(state)
        plain = caller.command(step)
        outcome = caller.send(Command(cla, plain.ins, plain.p1, plain.p2, plain.data, plain.le))
        assert outcome.response.sw == 0x6882
        assert outcome.session is None


@pytest.mark.parametrize(("provider", "authentication"), [(HOST, 0x80), (b"OCE00002", 0x40), (b"", 0x40), (None, 0x40)])
@pytest.mark.parametrize("i", [1, 2])
def test_a_host_is_authenticated_only_as_the_registered_provider(
    i: int, provider: bytes | None, authentication: int
) -> None:
    caller = Caller(i, provider_id=provider).reach(State.CHALLENGED)
    outcome = caller.do(Step.EXTERNAL)
    session = outcome.session or caller.do(Step.INTERNAL).session
    assert session is not None
    assert session.authentication == authentication
    assert authentication in (Level.AUTHENTICATED, Level.ANY_AUTHENTICATED)


def test_only_iso_classes_and_five_instructions_concern_an_initiation() -> None:
    concerned = {(cla, ins) for cla in range(256) for ins in range(256) if Initiation.concerns(Command(cla, ins, 0, 0))}
    assert concerned == set(itertools.product(range(0x80), (0x22, 0x2A, 0x82, 0x84, 0x88)))


INSTRUCTIONS = st.sampled_from([0x22, 0x2A, 0x82, 0x84, 0x88])
BYTES = st.sampled_from([0x00, 0x80, 0x81, 0x84, 0xA4, 0xAE, 0xB6, 0xBE, 0xC1]) | st.integers(0, 255)
PIECES = st.sampled_from([b"\x80\2\x10\2", host_certificate(1024).encoded, b"\x7f\x21", bytes(24), b"\x84\0"])


@given(state=st.sampled_from(State), ins=INSTRUCTIONS, p1=BYTES, p2=BYTES, data=PIECES | st.binary(max_size=140))
def test_every_command_is_answered_whatever_is_in_it(state: State, ins: int, p1: int, p2: int, data: bytes) -> None:
    caller = Caller().reach(state)
    outcome = caller.send(Command(0, ins, p1, p2, data, 0))
    assert outcome.response.sw in (0x9000, 0x6300, 0x6700, 0x6985, 0x6A80, 0x6A86, 0x6A88, 0x9484)
    assert (outcome.response.sw == 0x9000) or not outcome.response.data
    assert outcome.session is None


def test_certificate_and_files_are_given_out_in_both_classes() -> None:
    encoded = host_certificate(1024).encoded
    domain = Domain(certificate=encoded)

    def got(apdu: str) -> bytes | int:
        try:
            return get_data(domain, Command.parse(bytes.fromhex(apdu))).data
        except Refusal as refusal:
            return refusal.sw

    assert got("80CA7F2100") == encoded
    assert got("00CA7F2100") == encoded[5:]
    assert got("80CA5031025C0000") == got("00CB5031025C0000") == b"directory"
    assert got("00CA5031025C0000") == got("80CB5031025C0000") == 0x6A88
    assert got("80CA5032025C0000") == 0x6A88
    assert got("80CA503100") == got("80CA5031025C0100") == 0x6A80
    domain.certificate = None
    assert got("80CA7F2100") == 0x6A88


def test_a_key_that_cannot_verify_is_never_reached() -> None:
    class NoKeys(Domain):
        def trust_point(self, reference: bytes) -> RsaPublicKey | None:
            return None

    initiation = Initiation(NoKeys())
    certificate = host_certificate(1024)
    outcome = initiation.handle(Command(0, 0x2A, 0, certificate.form, certificate.encoded))
    refused(outcome, 0x6A88, ends_session=True)
    assert initiation.state == State.IDLE


def test_a_session_survives_what_does_not_end_it() -> None:
    card = Card(Domain())
    caller = Caller()
    caller.initiation = card.initiation
    for step in (Step.MANAGE, Step.VERIFY, Step.DECIPHER, Step.CHALLENGE, Step.EXTERNAL):
        outcome = card.initiate(caller.command(step))
        caller.challenge = outcome.response.data or caller.challenge
    session = card.session
    assert session is not None
    for apdu in ("0084000000", "002A8084", "002A9E9A"):
        card.initiate(Command.parse(bytes.fromhex(apdu)))
        assert card.session is session
    card.initiate(caller.command(Step.INTERNAL))
    assert card.session is None
