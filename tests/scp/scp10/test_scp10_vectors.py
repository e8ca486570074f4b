"""Both ends of SCP10 against two dialogues with all their intermediate values, byte for byte.

The dialogues were computed by another program from the specification; no recording of a card is public.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.layers import chained
from keywright.sansio.dialogue import drive, through
from keywright.scp.level import Level
from keywright.scp.scp10 import Certificate, HostChannel, HostIdentity, Profile, Request, open_channel
from keywright.scp.scp10.card_channel import CardChannel
from keywright.scp.scp10.keys import SEPARATE_KEYS, SHARED_KEYS, agreed, read_parameters, session_keys, transported
from keywright.scp.scp10.messages import SecurityParameters
from support.scp10 import AGREEMENT, TRANSPORT, Card, Domain, Script, card_holder, key, step
from support.vectors import Case, unhex

PROFILE = Profile()


def apdus(part: dict[str, Any]) -> list[str]:
    return part.get("apdus") or [part["apdu"]]


def dialogue(case: Case) -> list[tuple[bytes, bytes]]:
    """Every exchange of the initiation as (command, answer), without the alternative certificate."""
    found = []
    for part in case["steps"]:
        if "alternative" in part["what"]:
            continue
        *first, last = apdus(part)
        found += [(unhex(apdu), b"\x90\x00") for apdu in first]
        found.append((unhex(last), unhex(part.get("response_data", "") + part["sw"])))
    return found


class Recording:
    """The card of the vectors: answers only the command that comes next."""

    def __init__(self, exchanges: list[tuple[bytes, bytes]]) -> None:
        self.exchanges = list(exchanges)

    def __call__(self, command: Command) -> Response:
        expected, answer = self.exchanges.pop(0)
        assert command.encode().hex() == expected.hex()
        return Response.parse(answer)


def transport() -> tuple[Generator[Command, Response, HostChannel], Domain]:
    keys, counter = TRANSPORT["session_keys"], unhex(TRANSPORT["session_keys"]["initial_counter"])
    internal = unhex(step(TRANSPORT, "INTERNAL")["apdu"])
    drawn = [counter, *(unhex(keys[name]) for name in ("mac (C and R)", "enc (C and R)", "dek")), internal[5:21]]
    host = HostIdentity(
        private_key=key("oce_1024"),
        identifier=unhex(TRANSPORT["oce_id"]),
        certificates=(Certificate(unhex(step(TRANSPORT, "PERFORM SECURITY OPERATION verify")["certificate"])),),
        trust_point=key("tp_in_1024").public,
    )
    domain = Domain(
        options=(2,),
        certificate=unhex(step(TRANSPORT, "GET DATA")["response_data"]),
        rng=Script(unhex(step(TRANSPORT, "GET CHALLENGE")["response_data"])),
    )
    return open_channel(host, Script(*drawn), Request(i=2), allow_legacy=True), domain


def agreement() -> tuple[Generator[Command, Response, HostChannel], Domain]:
    external, internal = step(AGREEMENT, "EXTERNAL"), step(AGREEMENT, "INTERNAL")
    host = HostIdentity(
        private_key=key("oce_2048"),
        identifier=unhex(AGREEMENT["oce_id"]),
        certificates=(Certificate(unhex(step(AGREEMENT, "PERFORM SECURITY OPERATION verify")["certificate"])),),
    )
    drawn = [unhex(external["oce_secret"]), unhex(external["random_padding"]), unhex(internal["apdu"])[5:13]]
    answers = [step(AGREEMENT, "GET CHALLENGE")["response_data"], internal["card_secret"], internal["random_padding"]]
    domain = Domain(2048, options=(1,), rng=Script(*map(unhex, answers)))
    request = Request(i=1, keys=SEPARATE_KEYS)
    return open_channel(host, Script(*drawn), request, card=card_holder(2048), allow_legacy=True), domain


DIALOGUES = pytest.mark.parametrize(
    ("case", "prepare"), [(TRANSPORT, transport), (AGREEMENT, agreement)], ids=["transport", "agreement"]
)


@DIALOGUES
def test_the_host_sends_every_byte_of_the_dialogue(case: Case, prepare: Any) -> None:
    card = Recording(dialogue(case))
    channel = drive(through(prepare()[0], chained), card)
    assert not card.exchanges
    assert (channel.scp, channel.i, channel.level, channel.kvn) == (0x10, int(case["i"], 16), 0x33, 0)
    for exchange in case["exchanges"]:
        command, answer = exchange["command"], exchange["response"]
        sent = channel.wrap(Command.parse(unhex(command["plain"])))
        assert sent.encode().hex().upper() == command["protected"]
        opened = channel.unwrap(Response.parse(unhex(answer["protected"])))
        assert opened.encode().hex().upper() == answer["plain"]
    assert channel.is_open


@DIALOGUES
def test_the_card_answers_every_byte_of_the_dialogue(case: Case, prepare: Any) -> None:
    card = Card(prepare()[1])
    for command, answer in dialogue(case):
        assert card(Command.parse(command)).encode().hex() == answer.hex()
    session = card.session
    assert session is not None
    assert (session.scp, session.level, session.authentication) == (0x10, 0x33, Level.AUTHENTICATED)
    for exchange in case["exchanges"]:
        command, response = exchange["command"], exchange["response"]
        plain = Command.parse(unhex(command["plain"]))
        opened = session.unwrap(Command.parse(unhex(command["protected"])))
        assert opened == Command(plain.cla, plain.ins, plain.p1, plain.p2, plain.data, plain.le or 0)
        assert session.wrap(Response.parse(unhex(response["plain"]))).encode().hex().upper() == response["protected"]


@DIALOGUES
def test_the_two_ends_have_the_same_data_encryption_key(case: Case, prepare: Any) -> None:
    dialogue_of_host, domain = prepare()
    card = Card(domain)
    channel = drive(through(dialogue_of_host, chained), card)
    data = bytes(range(24))
    assert card.session is not None
    assert card.session.decrypt_sensitive(channel.encrypt_sensitive(data)) == data
    sensitive = [exchange for exchange in case["exchanges"] if "DEK" in exchange.get("note", "")]
    for exchange in sensitive:
        block = unhex(exchange["command"]["plain"])[8:24]
        assert card.session.decrypt_sensitive(block) == bytes.fromhex("404142434445464748494A4B4C4D4E4F")
        assert channel.encrypt_sensitive(card.session.decrypt_sensitive(block)) == block


def derived() -> tuple[Any, SecurityParameters]:
    oce, card = unhex(step(AGREEMENT, "EXTERNAL")["oce_secret"]), unhex(step(AGREEMENT, "INTERNAL")["card_secret"])
    parameters, references = read_parameters(bytes.fromhex("D30133") + unhex(AGREEMENT["crts"]), 1)
    return lambda: session_keys(references, agreed(oce, card), PROFILE), parameters


def test_agreed_keys_are_those_of_the_vector_in_the_order_of_their_numbers() -> None:
    keys, names = derived()[0](), AGREEMENT["session_keys"]
    for made, name in ((keys.c_enc, "C-ENC"), (keys.r_enc, "R-ENC"), (keys.dek.key, "DEK")):
        assert made.reveal().hex().upper() == names[name]
    for made, name in ((keys.c_mac, "C-MAC"), (keys.r_mac, "R-MAC")):
        assert made._key.reveal().hex().upper() == names[name]
        assert made.counter.take().hex().upper() == AGREEMENT["initial_counter"]


@pytest.mark.parametrize("case", AGREEMENT["single_levels"], ids=lambda case: case["level"])
def test_every_single_level_protects_as_the_vector_has_it(case: Case) -> None:
    level = int(case["level"], 16)
    host = HostChannel(derived()[0](), 1, level, 0, PROFILE)
    card = CardChannel(derived()[0](), 1, level, 0x80, PROFILE)
    command, response = case["command"], case["response"]
    plain = Command.parse(unhex(command["plain"]))
    protected = host.wrap(plain)
    assert protected.encode().hex().upper() == command["protected"]
    assert card.unwrap(protected).encode()[:4] == plain.encode()[:4]
    answer = card.wrap(Response.parse(unhex(response["plain"])))
    assert answer.encode().hex().upper() == response["protected"]
    assert host.unwrap(answer).encode().hex().upper() == response["plain"]


@pytest.mark.parametrize(
    ("exchange", "part"),
    [
        (exchange, part)
        for case in (TRANSPORT, AGREEMENT)
        for exchange in case["exchanges"]
        for part in ("command", "response")
        if "mac" in exchange[part]
    ],
)
def test_every_mac_has_the_icv_and_the_input_of_the_vector(exchange: Any, part: str) -> None:
    found = exchange[part]
    role = "c_mac" if part == "command" else "r_mac"
    source = transport_keys() if exchange in TRANSPORT["exchanges"] else derived()[0]()
    mac_key = getattr(source, role)
    while (counter := mac_key.counter.take()).hex().upper() != found["counter"]:
        pass
    assert mac_key._single.encrypt_blocks(counter).hex().upper() == found["icv"]
    mac_key.counter._value -= 1
    padded = unhex(found["mac_input"])
    unpadded = padded.rstrip(b"\0").removesuffix(b"\x80")
    # A command's header is padded too; what is padded twice keeps the first.
    assert mac_key.next_mac(unpadded).hex().upper() == found["mac"]


def transport_keys() -> Any:
    clear = unhex(step(TRANSPORT, "PERFORM SECURITY OPERATION decipher")["clear_data"])
    return session_keys(read_parameters(clear, 2)[1], transported, PROFILE)


def test_the_parameters_of_the_vector_are_read_and_built_alike() -> None:
    clear = unhex(step(TRANSPORT, "PERFORM SECURITY OPERATION decipher")["clear_data"])
    parameters, references = read_parameters(clear, 2)
    assert parameters.build() == clear
    assert [(reference.kind, reference.template.usage) for reference in references] == list(SHARED_KEYS)


def test_the_alternative_certificate_gives_the_same_key() -> None:
    part = step(AGREEMENT, "same key, non-self")
    holder = Certificate(unhex(part["certificate"]), 0xAE).verify(key("tp_ex_2048").public, PROFILE)
    first = Certificate(unhex(step(AGREEMENT, "PERFORM SECURITY OPERATION verify")["certificate"]))
    described = first.verify(key("tp_ex_2048").public, PROFILE)
    assert holder.public_key == described.public_key == key("oce_2048").public
    assert (holder.name, holder.issuer) == (described.name, described.issuer) == (b"OCE00001", b"TPEX0001")
    assert holder.identifier(PROFILE) == unhex(AGREEMENT["oce_id"])
