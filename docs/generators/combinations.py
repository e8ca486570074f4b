"""The table of combinations, run once and counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Final

from generators.markdown import table
from keywright.scp.scp11.messages import Variant
from keywright.scp.scp80.messages import Binding, Spi
from support.combinations import scp80, scp81
from support.combinations.rules import RULES, Part
from support.combinations.table import PROTOCOLS, Ran, distinct, ran

_MOST: Final = 12
"""Values of a dimension that are told one by one."""

Told = Callable[[Any], str]


def _hex(value: int) -> str:
    return f"`{value:02X}`"


def _yes(value: bool) -> str:  # noqa: FBT001 - a value of the table
    return "yes" if value else "no"


def _bits(value: int) -> str:
    return f"{8 * value}"


def _or_none(value: str) -> str:
    return value or "none"


def _host_id(value: bytes | None) -> str:
    return "none" if value is None else f"{len(value)} bytes"


def _letter(value: Variant) -> str:
    return value.letter


def _name(value: scp80.Suite | Binding) -> str:
    return value.name


def _spi(value: Spi) -> str:
    return f"`{value.build().hex().upper()}`"


def _media_type(value: str) -> str:
    return value.removeprefix("application/vnd.").partition(";")[0]


DIMENSIONS: Final[dict[str, dict[str, tuple[str, Told]]]] = {
    "SCP02": {
        "i": ('"i"', _hex),
        "level": ("level", _hex),
        "r_mac": ("R-MAC session begun and ended", _or_none),
        "channel": ("logical channel", str),
    },
    "SCP03": {
        "i": ('"i"', _hex),
        "key_bytes": ("AES key, bits", _bits),
        "level": ("level", _hex),
        "r_mac": ("R-MAC session begun and ended", _or_none),
        "pads_empty": ("empty data under C-DEC as a block of padding", _yes),
        "channel": ("logical channel", str),
    },
    "SCP10": {
        "i": ('"i"', _hex),
        "level": ("level", _hex),
        "keys": ("session keys, for both directions", str),
        "key_bytes": ("session key, bytes", str),
        "mutual": ("the card proves itself", _yes),
        "card_key": ("the card's key", str),
        "form": ("profile of certificates", str),
        "bits": ("RSA, bits", str),
        "channel": ("logical channel", str),
    },
    "SCP11": {
        "variant": ("variant", _letter),
        "curve": ("curve", str),
        "key_length": ("session keys, bits", _bits),
        "s16": ("S16", _yes),
        "level": ("level", _hex),
        "host_id": ("HostID", _host_id),
        "form": ("certificates", str),
        "fragments": ("style of fragments", str),
        "pads_empty": ("empty data under C-DEC as a block of padding", _yes),
        "ecka": ("result of the agreement", str),
        "group_id": ("CardGroupID", str),
        "owner": ("the host is the card's provider", _yes),
        "channel": ("logical channel", str),
    },
    "SCP80": {
        "suite": ("algorithms", _name),
        "spi": ("SPI", _spi),
        "binding": ("transport", _name),
    },
    "SCP81": {
        "where": ("target of the scripts", str),
        "content_type": ("media type", _media_type),
        "indefinite": ("script of indefinite length", _yes),
        "level": ("security level of the cipher suite", _hex),
        "fault": ("what breaks", str),
        "at": ("at which exchange", str),
        "retries": ("further sessions tried", str),
    },
}
"""Protocol -> field of its combination -> its name in words, and how a value is told."""

SAMPLED: Final = {
    "SCP02": "Every option with every level and R-MAC session; each of these on one logical channel.",
    "SCP03": "Every option, key size, level and R-MAC session; each of these on one logical channel.",
    "SCP10": "Every option and level with each kind of session keys; profiles of certificates, the card's certificate "
    "and RSA with 2048 bits beside some of them.",
    "SCP11": "Every key size, S8 and S16, level 11 and 33, HostID and format of certificates on P-256; other curves, "
    "levels, layouts and styles of fragments beside some of them.",
    "SCP80": "Every SPI that both ends take with every algorithm that fits it; each of these on one transport.",
    "SCP81": "Every kind of script and target; every break at every exchange for one kind of script. TLS is left out.",
}


_INTRODUCTION: Final = """\
**{count} combinations** of protocol, option, key size, level and logical channel run through host and card, and a
tampering variant of each. [SCP02](scp02.md), [SCP03](scp03.md), [SCP10](scp10.md) and [SCP11](scp11.md) run on the
virtual element, whose owner has put keys and certificates into it by PUT KEY and STORE DATA before;
[SCP80 and SCP81](over-the-air.md) on their card ends."""

_COUNTING: Final = """\
All randomness comes from the same seeds for every combination. So two of them put the same bytes on the wire unless
what distinguishes them shows there. One counts when the digest of everything that was sent, in both directions, from
the first command of the opening to the answer to the last of two commands, is that of no other before it; the {alike}
that look like another one (an option that nothing makes use of leaves no trace) are run all the same. Combinations
that the protocol rules out are run too, to see both ends refuse them, and counted apart. Every number here is counted
anew when this page is made, and a test compares them.

`make test` runs each on one logical channel, or transport of SCP80, in turn; `make nightly` on every one."""

_ATTACKS: Final = """\
One bit of one message is flipped: first a message is chosen, then a bit of it, by the digest of the session. In the
opening, the host raises an error, and a card that has refused something has no session. In an answer, the host refuses
it and is closed. In a command, the card refuses it and changes nothing:

{parts}

At levels with C-MAC the last command is refused with `6982` when it comes once more; so is a second command before the
first, and then the first. The whole recording, sent again to the card, opens no session, except with SCP11c, whose
scripts are made to be sent to many cards."""

_PLACES: Final = {
    Part.SEALED: "everywhere but in the places below",
    Part.FRAMING: "in Lc",
    Part.SEGMENT: "where STORE DATA becomes INSTALL",
}


def page() -> str:
    """The whole page."""
    everything = [result for protocol in PROTOCOLS for result in ran(protocol)]
    legal = [result for result in everything if result.kind.is_legal]
    differ = distinct(legal)
    parts = [
        "# Combinations",
        "<!-- Generated by docs/generate.py from tests/support/combinations; do not edit. -->",
        _INTRODUCTION.format(count=differ),
        _totals(everything),
        "## How they are counted",
        _COUNTING.format(alike=len(legal) - differ),
        "## What is done to each",
        _ATTACKS.format(parts="\n".join(f"- {_PLACES[part]}, {part.value}" for part in Part)),
        "## What is left out of the tampering",
        _left_out(),
        *(part for protocol in PROTOCOLS for part in _section(protocol)),
    ]
    return "\n\n".join(parts) + "\n"


def _totals(everything: list[Ran]) -> str:
    rows = [_total(protocol, ran(protocol)) for protocol in PROTOCOLS]
    return table(
        ("protocol", "run", "differ", "differ apart from the channel number", "illegal, refused by both ends"),
        [*rows, _total("all", everything)],
    )


def _total(name: str, results: Iterable[Ran]) -> tuple[str, ...]:
    legal = [result for result in results if result.kind.is_legal]
    refused = [result for result in results if not result.kind.is_legal]
    return (
        name,
        str(len(legal)),
        f"**{distinct(legal)}**",
        str(distinct(legal, blind=True)),
        str(distinct(refused)) if refused else "",
    )


def _left_out() -> str:
    reasons = [rule.why for rule in RULES]
    reasons += [f"SCP80: {why}" for why in scp80.NOT_COVERED]
    reasons += [f"SCP81: {why}" for why in scp81.NOT_COVERED]
    return "Bits that no protocol covers, each by a rule and not by trial:\n\n" + "\n".join(
        f"- {why}" for why in reasons
    )


def _section(protocol: str) -> list[str]:
    legal = [result.kind for result in ran(protocol) if result.kind.is_legal]
    rows = []
    for field, (name, told) in DIMENSIONS[protocol].items():
        counts = Counter(told(kind._asdict()[field]) for kind in legal)
        rows.append((name, str(len(counts)), _values(counts)))
    return [f"## {protocol}", SAMPLED[protocol], table(("dimension", "values", "in how many combinations"), rows)]


def _values(counts: Counter[str]) -> str:
    if len(counts) <= _MOST:
        return " · ".join(f"{value}: {count}" for value, count in counts.items())
    least, most = min(counts.values()), max(counts.values())
    return f"each in {least}" if least == most else f"each in {least} to {most}"


FILES = {"docs/combinations.md": page}
