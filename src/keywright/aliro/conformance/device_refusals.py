"""Commands out of order, wrong headers, wrong fields."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

from keywright.aliro.conformance.cases import BAD, ERASED, Play, scenario
from keywright.aliro.conformance.outcome import Nonconformity, Scenario
from keywright.aliro.conformance.tester import Bench, Tester, command_of, tlvs
from keywright.aliro.exchange import Exchange
from keywright.aliro.messages import (
    CLASSES,
    EXPEDITED_AID,
    NAMES,
    Ins,
    ReaderStatus,
)
from keywright.aliro.reader import Dialogue
from keywright.codec.ber import items
from keywright.iso7816.apdu import Command
from keywright.iso7816.layers import SHORT_LC
from keywright.iso7816.status import SW

Parts: TypeAlias = list[tuple[int, bytes]]
Change: TypeAlias = Callable[[Parts], Parts]
ChangeOfTag: TypeAlias = Callable[[Parts, int], Parts]


def _to_selected(t: Tester) -> Dialogue[None]:
    yield from t.select()


def _to_auth0(t: Tester) -> Dialogue[None]:
    yield from t.select()
    yield from t.auth0()


def _to_open(t: Tester) -> Dialogue[None]:
    yield from t.open_channel()


def _to_ended(t: Tester) -> Dialogue[None]:
    yield from t.open_channel()
    yield from t.exchange(Exchange(status=ReaderStatus.SECURED))


def _to_failed(t: Tester) -> Dialogue[None]:
    yield from t.select()
    yield from t.auth0()
    t.refused((yield command_of(Ins.AUTH1, b"")), "AUTH1 with nothing", BAD)


def _to_step_up(t: Tester) -> Dialogue[None]:
    yield from t.open_channel()
    yield from t.begin_step_up()


_PLACES: Final[dict[str, tuple[Play, tuple[int, ...]]]] = {
    "selected": (_to_selected, (Ins.LOAD_CERT, Ins.AUTH1, Ins.EXCHANGE, Ins.ENVELOPE)),
    "auth0": (_to_auth0, (Ins.AUTH0, Ins.EXCHANGE, Ins.ENVELOPE)),
    "open": (_to_open, (Ins.AUTH0, Ins.LOAD_CERT, Ins.AUTH1)),
    "step-up": (_to_step_up, (Ins.AUTH0, Ins.LOAD_CERT, Ins.AUTH1, Ins.EXCHANGE)),
    "ended": (_to_ended, (Ins.AUTH0, Ins.LOAD_CERT, Ins.AUTH1, Ins.EXCHANGE, Ins.ENVELOPE)),
    "failed": (_to_failed, (Ins.LOAD_CERT, Ins.AUTH1, Ins.EXCHANGE, Ins.ENVELOPE)),
}
"""Where a transaction may stand, how to get there, and what is then out of order."""


def _out_of_order(reach: Play, ins: int) -> Play:
    def play(t: Tester) -> Dialogue[None]:
        yield from reach(t)
        data = t.auth0_fields().build() if ins == Ins.AUTH0 else bytes.fromhex("4101019E40") + bytes(64)
        t.refused((yield command_of(ins, data)), f"{NAMES[ins]} out of order", ERASED)
        yield from t.erased()

    return play


def states() -> Iterator[Scenario[Bench]]:
    """Every command where it is out of order."""
    for place, (reach, wrong) in _PLACES.items():
        for ins in wrong:
            text = f"{NAMES[ins]} is out of order: refused, and nothing of the transaction is left"
            yield scenario("order", f"{place}, {NAMES[ins]}", text, _out_of_order(reach, ins))


def _header(command: Command, *statuses: int) -> Play:
    def play(t: Tester) -> Dialogue[None]:
        yield from t.select()
        t.refused((yield command), "the command", *statuses)

    return play


def _interrupted(t: Tester) -> Dialogue[None]:
    yield from t.select()
    data = t.auth0_fields().build()
    t.good((yield Command(0x90, Ins.AUTH0, 0, 0, data[:100])), "AUTH0, first part")
    t.refused((yield command_of(Ins.AUTH1, data[:5])), "another command in a chain", 0x6883)


def _too_long(t: Tester) -> Dialogue[None]:
    yield from t.select()
    for part in range(10):
        # Where a device collects more than Aliro ever sends, what it has collected is still no AUTH0.
        response = yield Command(0x90 if part < 9 else 0x80, Ins.AUTH0, 0, 0, bytes(SHORT_LC), None if part < 9 else 0)
        if response.sw != SW.OK:
            t.refused(response, "a chain of more than 2000 bytes", SW.WRONG_LENGTH, BAD)
            return
    raise Nonconformity("AUTH0", "an error to a chain of more than 2000 bytes", "9000 for each part")


def headers() -> Iterator[Scenario[Bench]]:
    """Wrong classes, parameters, lengths, instructions, chains."""
    for ins in (Ins.AUTH0, Ins.AUTH1, Ins.LOAD_CERT, Ins.EXCHANGE, Ins.ENVELOPE, Ins.CONTROL_FLOW):
        cla, other = CLASSES[ins], 0x80 if CLASSES[ins] == 0 else 0x00
        name, le = NAMES[ins], None if ins == Ins.CONTROL_FLOW else 0
        yield scenario(
            "header",
            f"{name} class",
            f"{name} with class {other:02X}",
            _header(Command(other, ins, 0, 0, b"\0", le), 0x6E00),
        )
        yield scenario(
            "header", f"{name} p1", f"{name} with P1 01", _header(Command(cla, ins, 1, 0, b"\0", le), 0x6A86)
        )
        yield scenario(
            "header", f"{name} p2", f"{name} with P2 01", _header(Command(cla, ins, 0, 1, b"\0", le), 0x6A86)
        )
        if le is not None:
            yield scenario(
                "header", f"{name} without Le", f"{name} without Le", _header(Command(cla, ins, 0, 0, b"\0"), 0x6700)
            )
    yield scenario("header", "unknown instruction", "INS 55", _header(Command(0x80, 0x55, 0, 0, b"", 0), 0x6D00))
    yield scenario(
        "header",
        "unknown AID",
        "SELECT of another AID",
        _header(Command(0, Ins.SELECT, 4, 0, EXPEDITED_AID[:-1] + b"\x7f", 0), 0x6A82),
    )

    yield scenario("header", "chain interrupted", "another command between the parts", _interrupted)
    yield scenario("header", "chain too long", "more than 2000 bytes", _too_long)


def _auth0(change: Change) -> Play:
    def play(t: Tester) -> Dialogue[None]:
        yield from t.select()
        data = tlvs(change(items(t.auth0_fields().build())))
        t.refused((yield command_of(Ins.AUTH0, data)), "AUTH0", BAD)
        yield from t.erased()

    return play


def _auth1(change: Change) -> Play:
    def play(t: Tester) -> Dialogue[None]:
        yield from t.select()
        yield from t.auth0()
        data = tlvs(change(items(t.auth1_fields().build())))
        t.refused((yield command_of(Ins.AUTH1, data)), "AUTH1", BAD)
        yield from t.erased()

    return play


def _at(tag: int, change: ChangeOfTag) -> Change:
    return lambda parts: change(parts, tag)


def fields() -> Iterator[Scenario[Bench]]:
    """Every field missing, doubled, too long and too short, and values that none may have."""
    for command, tags, case in (
        ("AUTH0", (0x41, 0x42, 0x5C, 0x87, 0x4C, 0x4D), _auth0),
        ("AUTH1", (0x41, 0x9E), _auth1),
    ):
        for tag in tags:
            for what, change in _CHANGES.items():
                yield scenario(
                    "field",
                    f"{command} {tag:02X} {what}",
                    f"{command}: tag {tag:02X} {what}",
                    case(_at(tag, change)),
                )
    for name, other in _OTHERS.items():
        yield scenario("field", f"AUTH0 {name}", f"AUTH0: {name}", _auth0(other))


def _replaced(tag: int, make: Callable[[bytes], bytes]) -> Change:
    return lambda parts: [(number, make(value) if number == tag else value) for number, value in parts]


_CHANGES: Final[dict[str, ChangeOfTag]] = {
    "missing": lambda parts, tag: [one for one in parts if one[0] != tag],
    "twice": lambda parts, tag: [one for part in parts for one in ((part, part) if part[0] == tag else (part,))],
    "too long": lambda parts, tag: _replaced(tag, lambda value: value + b"\0")(parts),
    "too short": lambda parts, tag: _replaced(tag, lambda value: value[:-1])(parts),
}
_OTHERS: Final[dict[str, Change]] = {
    "out of order": lambda parts: parts[::-1],
    "vendor field of 128 bytes": lambda parts: [*parts, (0xB1, bytes(128))],
    "policy 00": _replaced(0x42, lambda _: b"\0"),
    "policy 04": _replaced(0x42, lambda _: b"\4"),
    "version that was not offered": _replaced(0x5C, lambda _: b"\x7f\x7f"),
    "point beside the curve": _replaced(0x87, lambda value: value[:-1] + bytes((value[-1] ^ 1,))),
    "compressed point": _replaced(0x87, lambda value: b"\2" + value[1:]),
    "point at infinity": _replaced(0x87, lambda value: bytes(len(value))),
    "point with X beyond the field": _replaced(0x87, lambda value: value[:1] + b"\xff" * 64),
}
