"""`keywright card ota`: manage a card over the air, by short messages through a reader; packets built and explained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Final

import typer

from keywright.cli.card.connection import Card
from keywright.cli.card.options import sending
from keywright.cli.card.ota_options import Protection, protected
from keywright.cli.card.ota_phone import Phone
from keywright.cli.card.ota_script import Asked, Commands, Given, ScriptFile, commands_of
from keywright.cli.card.script import ExpectationError
from keywright.cli.keyfile import ota_keys
from keywright.cli.options import Json
from keywright.cli.text import bad, good, heading, pairs, say, show_json
from keywright.codec.hexa import unhex
from keywright.errors import UsageError
from keywright.fob.explain import KNOWN
from keywright.globalplatform.explain import explain
from keywright.globalplatform.packets import explain_packet, find_packet, together
from keywright.globalplatform.redaction import masked
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.status import SW, meaning
from keywright.sansio.dialogue import drive
from keywright.scp.scp80 import sms
from keywright.scp.scp80.applications import Format, target
from keywright.scp.scp80.compact import Management, compact_string
from keywright.scp.scp80.download import envelope, packet_messages
from keywright.scp.scp80.expanded import Script
from keywright.scp.scp80.host import JUMP, Receipt
from keywright.scp.scp80.messages import COMMAND_IE, CounterMode, Spi, status_name
from keywright.scp.scp80.packet import Header
from keywright.scp.scp80.scripts import ScriptReport, send_script

_FORMAT_HINT: Final = "the expanded format takes any command: --tar B20100, or --form expanded"

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

SENDER: Final = "491510000000"
"""Who the messages seem to come from, unless told: cards take packets from anybody."""
Sender = Annotated[str, typer.Option("--sender", metavar="NUMBER", help="Number that the messages come from.")]


@app.command()
@sending
@protected
def send(
    card: Card,
    commands: Commands = None,
    *,
    protection: Protection,
    script: ScriptFile = None,
    given: Given = None,
    sender: Sender = SENDER,
    messages: Annotated[int, typer.Option("--messages", metavar="N", help="Most messages for one packet.")] = 5,
    repeats: Annotated[
        int, typer.Option("--repeats", metavar="N", help="Send the same bytes again when no answer came.")
    ] = 0,
) -> None:
    """Send commands in packets, by short messages (SCP80).

    The messages are handed to the card as a phone does it (TERMINAL PROFILE, ENVELOPE), what it wants sent is
    fetched, and the proof of receipt is deciphered and checked. The counter is kept before its packet leaves, and
    never taken back: a packet of unknown fate is not followed by another one.

    Example: keywright card ota send 80F28002024F0000 --keys ota.toml --counter-file card.counter --link pcsc:
    """
    asked = commands_of(commands or (), script, given or ())
    card.confirm("send commands over the air that may change it")
    phone = Phone(card, sender)
    with protection.counting() as counting:
        dialogue = send_script(
            protection.entity,
            [one.command for one in asked],
            counting.last,
            form=protection.form,
            limit=sms.most_in(messages),
            repeats=repeats,
            jump=0 if protection.cntr is not None else JUMP,
            profile=protection.profile,
        )
        try:
            report = drive(dialogue, partial(phone.do, counting))
        except ValueError as error:
            raise UsageError(str(error), hint=_FORMAT_HINT) from None
    results = _results(asked, report)
    if card.access.json:
        card.tell("", _sent_document(protection, phone, report, results))
    else:
        card.tell(_sent_lines(protection, phone, report, results), {})
    _judge(results, report)


Result = tuple[Asked, Response | None]


def _results(asked: Sequence[Asked], report: ScriptReport) -> list[Result]:
    """Each command with its answer, None where the card told none: the compact format tells the last one only."""
    answers: list[Response | None] = list(report.responses)
    if len(answers) == 1 and report.executed is not None and 1 < report.executed <= len(asked):
        answers = [*(None for _ in range(report.executed - 1)), *answers]
    answers += [None for _ in range(len(asked) - len(answers))]
    return list(zip(asked, answers, strict=False))


def _judge(results: Sequence[Result], report: ScriptReport) -> None:
    """Fail where an answer is not as expected, or where the script ended before its last command."""
    for asked, answer in results:
        if answer is None:
            continue
        expect = asked.expect
        if expect is not None and not expect.fits(answer.sw, answer.data):
            raise ExpectationError(f"{expect.place}: expected {expect}, got {answer.sw:04X}")
        if expect is None and answer.sw != SW.OK and answer.sw >> 8 not in (0x61, 0x91, 0x9F):
            raise typer.Exit(1)
    if report.confirmed and report.executed is not None and report.executed < len(results):
        raise typer.Exit(1)


def _sent_lines(protection: Protection, phone: Phone, report: ScriptReport, results: Sequence[Result]) -> Iterator[str]:
    count = sum(one["messages"] for one in phone.packets)
    packets = f"{len(phone.packets)} packet{'s' * (len(phone.packets) != 1)}"
    yield heading(f"sent {packets} in {count} message{'s' * (count != 1)}, counter {report.counter}")
    for one in phone.packets:
        if one["answer"] is None:
            yield "  no proof of receipt"
            continue
        receipt = protection.entity.open(one["answer"], _counter(protection, one["packet"]))
        yield f"  PoR {_receipt_text(receipt)}"
    for asked, answer in results:
        title = explain(asked.command, more=KNOWN).title
        if answer is None:
            yield f"  {title}  not told"
            continue
        status = f"{answer.sw:04X} {meaning(answer.sw).name}"
        yield f"  {title}  {(good if answer.sw == SW.OK else bad)(status)}"
        if answer.data:
            yield from pairs([("", answer.data.hex().upper())], indent=2)


def _receipt_text(receipt: Receipt) -> str:
    text = f"{receipt.status:02X} {status_name(receipt.status)}"
    return good(text) + ("" if receipt.authentic else ", not authenticated")


def _counter(protection: Protection, packet: bytes) -> int:
    """The counter of a packet that we have made."""
    told = dict(explain_packet(find_packet(packet), protection.keys).answered)
    return int(told["counter"].split()[0])


def _sent_document(
    protection: Protection, phone: Phone, report: ScriptReport, results: Sequence[Result]
) -> dict[str, Any]:
    packets = []
    for one in phone.packets:
        receipt = None
        if one["answer"] is not None:
            receipt = protection.entity.open(one["answer"], _counter(protection, one["packet"]))
        packets.append(
            {
                "packet": one["packet"].hex().upper(),
                "messages": one["messages"],
                "por": None if one["answer"] is None else one["answer"].hex().upper(),
                "status": None if receipt is None else f"{receipt.status:02X}",
                "authentic": receipt is not None and receipt.authentic,
            }
        )
    return {
        "tar": protection.entity.header.tar.hex().upper(),
        "spi": protection.entity.header.spi.build().hex().upper(),
        "counter": report.counter,
        "executed": report.executed,
        "confirmed": report.confirmed,
        "packets": packets,
        "answers": [
            {
                "command": masked(asked.command.encode()).hex().upper(),
                "sw": None if answer is None else f"{answer.sw:04X}",
                "data": None if answer is None else answer.data.hex().upper(),
            }
            for asked, answer in results
        ],
    }


# ---- without a card


@app.command()
@protected
def packet(
    commands: Commands = None,
    *,
    protection: Protection,
    script: ScriptFile = None,
    given: Given = None,
    sender: Sender = SENDER,
    raw: Annotated[
        str, typer.Option("--data", metavar="HEX", help="Secured data as they are, in place of commands.")
    ] = "",
    json: Json = False,
) -> None:
    """Build a packet, and the messages that carry it; nothing is sent.

    The counter comes from --cntr or --counter-file, where it counts as used.

    Example: keywright card ota packet 80F28002024F0000 --keys ota.toml --cntr 1
    """
    data = unhex(raw, "--data")
    if not data:
        data = _data(protection, [one.command for one in commands_of(commands or (), script, given or ())])
    entity = protection.entity
    with protection.counting() as counting:
        counter = counting.last + 1 if entity.header.spi.counter != CounterMode.NONE else 0
        counting.commit(counter)
    try:
        built = entity.seal(data, counter)
        messages = packet_messages(built, sms.Address(sender), counter & 0xFF, COMMAND_IE)
    except ValueError as error:
        raise UsageError(str(error)) from None
    envelopes = [envelope(message).encode().hex().upper() for message in messages]
    tpdus = [message.build().hex().upper() for message in messages]
    if json:
        show_json({"packet": built.hex().upper(), "counter": counter, "tpdus": tpdus, "envelopes": envelopes})
        return
    say(heading(f"packet with counter {counter}, {len(messages)} message{'s' * (len(messages) != 1)}"))
    lines = [("packet", built.hex().upper())]
    for number, (tpdu, command) in enumerate(zip(tpdus, envelopes, strict=True), 1):
        lines += [(f"TPDU {number}", tpdu), (f"ENVELOPE {number}", command)]
    for line in pairs(lines):
        say(line)


def _data(protection: Protection, commands: Sequence[Command]) -> bytes:
    if protection.form is Format.EXPANDED:
        return Script.of(commands).build()
    row = target(protection.entity.header.tar)
    try:
        return compact_string(commands, row.management if row else Management.APPLICATIONS)
    except ValueError as error:
        raise UsageError(str(error), hint=_FORMAT_HINT) from None


@app.command(name="explain")
def explain_(
    messages: Annotated[
        list[str], typer.Argument(metavar="HEX...", help="ENVELOPE, short message, user data or packet; parts in turn.")
    ],
    *,
    keys: Annotated[
        str, typer.Option("--keys", metavar="FILE|gp-test", help="Keys that decipher and check the packet.")
    ] = "",
    spi: Annotated[
        str, typer.Option("--spi", metavar="HEX", help="For an answer: SPI, KIc and KID of its command (4 bytes).")
    ] = "",
    json: Json = False,
) -> None:
    """Say what a packet is, bit by bit.

    With keys it is deciphered and checked. An answer is protected as its command asked: --spi says how that was.

    Example: keywright card ota explain 027000001D1502391212B20100... --keys ota.toml
    """
    found = together([find_packet(unhex(text, "message")) for text in messages])
    told = explain_packet(found, ota_keys(keys).keys if keys else None, _header(spi))
    if json:
        fields: Mapping[str, str] = dict((*told.asked, *told.answered))
        show_json({"kind": told.title, "packet": (found.packet or b"").hex().upper(), "fields": fields})
        return
    say(heading(told.title))
    for line in pairs([*told.asked, *told.answered]):
        say(line)


def _header(text: str) -> Header | None:
    """How the command of an answer was protected. Raises UsageError."""
    if not text:
        return None
    data = unhex(text, "--spi")
    if len(data) != 4:
        raise UsageError("--spi: SPI, KIc and KID are 4 bytes", hint="for example --spi 16191212")
    return Header(Spi.parse(data[:2]), data[2], data[3], bytes(3))
