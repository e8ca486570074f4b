"""The text that names a link, taken apart. The same in the command line, in recipes and in the console."""

from __future__ import annotations

import difflib
import re
from typing import Final, NamedTuple
from urllib.parse import unquote

import msgspec

from keywright.errors import UsageError

SIMULATED: Final = "sim"
AIR: Final = "air"
BLE: Final = "ble"
MESH: Final = "sim:mesh"
"""The link to simulated mesh devices."""


class Form(NamedTuple):
    """One form of link URI: how it is written, what it does, and whether it is to ask, to serve, or both.

    radio: it is the air that mesh devices are on, for `keywright mesh`.
    """

    text: str
    what: str
    asks: bool = True
    serves: bool = False
    radio: bool = False


FORMS: Final[tuple[Form, ...]] = (
    Form(
        "sim:element",
        "a simulated secure element (?memory=FILE keeps it, &kvn=, &i=, &stay=yes, &profile=NAME|FILE; "
        "&transport=t0, t1, t1-crc, nfc-a, nfc-b or gatt reaches it block by block, &transport=ble through virtual "
        "Bluetooth controllers)",
    ),
    Form(
        "sim:fob",
        "a simulated key fob (?serial=SERIAL&memory=FILE; in a lot &transport=ble reaches its chip and its mesh radio "
        "over GATT)",
    ),
    Form("sim:uicc", "a simulated UICC for over-the-air packets (as sim:element, &msl= its minimum security level)"),
    Form(
        "pcsc:READER",
        "a card in a PC/SC reader: its name, a part only one has, or a number (?mode=exclusive|transaction|shared, "
        "&protocol=t0|t1|any, &extended=yes|no, &wait=SECONDS)",
    ),
    Form(
        "sim:mesh",
        "simulated mesh devices on an air of their own, in virtual time (?count=N&memory=FILE keeps them, &uuid=HEX, "
        "&oob=FILE with their static OOB values, &algorithm=cmac|hmac, &elements=N, &output=numeric:6, "
        "&input=alphanumeric:8, &certificate=yes, &certificate-uri=https://HOST/PATH, &remote=yes: nodes are remote "
        "provisioning servers, &next=N elements after a refresh, &iv-test=yes: the IV index changes at once, &loss=, "
        "&duplication=, &reordering= in percent and milliseconds)",
        asks=False,
        radio=True,
    ),
    Form(
        "air:HOST:PORT",
        "advertising data between processes of this machine: who serves a mesh device there is heard by all others",
        asks=False,
        radio=True,
    ),
    Form("tcp:HOST:PORT", "APDUs over TCP, each after two length bytes", serves=True),
    Form(
        "ble:PEER",
        "the element of a fob over Bluetooth: its address, or nothing for the only one that is heard (?hci=CONTROLLER "
        "as bumble writes it, or hci=air:HOST:PORT for virtual ones that processes of this machine share, without it a "
        "virtual one of this process; &mtu=23 to 517); for `keywright mesh` the devices that are provisioned over GATT",
        serves=True,
        radio=True,
    ),
    Form("replay:FILE", "a recorded trace (?lenient=yes answers by position)"),
    Form("vpcd:HOST:PORT", "as a card in the virtual reader, the driver dials", asks=False, serves=True),
    Form("vpcd+connect:HOST:PORT", "as a card in the virtual reader, we dial", asks=False, serves=True),
)

_LATER: Final = frozenset({"serial", "http", "https"})
_PARAMETERS: Final = {
    SIMULATED: ("memory", "serial", "kvn", "i", "stay", "profile", "transport", "msl"),
    "sim:mesh": (
        *("memory", "count", "uuid", "oob", "algorithm", "elements", "output", "input", "certificate"),
        *("remote", "next", "iv-test", "certificate-uri"),
        *("loss", "duplication", "reordering"),
    ),
    "pcsc": ("mode", "protocol", "extended", "wait"),
    "ble": ("hci", "mtu"),
    "replay": ("lenient",),
}


class Uri(msgspec.Struct, frozen=True):
    """A link URI: scheme, what stands after it, and its parameters."""

    scheme: str
    rest: str
    parameters: dict[str, str] = {}

    def __str__(self) -> str:
        return f"{self.scheme}:{self.rest}"

    @property
    def is_simulated(self) -> bool:
        """Whether the device behind it is simulated: nothing real can be lost there."""
        return self.scheme == SIMULATED

    def address(self) -> tuple[str, int]:
        """HOST and PORT. Raises UsageError."""
        host, _, port = self.rest.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not host or not port.isascii() or not port.isdecimal() or int(port) > 0xFFFF:
            raise UsageError(f"{self}: this needs HOST:PORT", hint=f"for example {self.scheme}:127.0.0.1:35963")
        return host, int(port)

    def number(self, name: str) -> int | None:
        """A parameter of one byte in hex. Raises UsageError."""
        text = self.parameters.get(name)
        if text is None:
            return None
        try:
            value = int(text, 16)
        except ValueError:
            value = -1
        if not 0 <= value <= 0xFF:
            raise UsageError(f"{self}: {name} is one byte in hex, not {text!r}", hint=f"for example {name}=30")
        return value

    def count(self, name: str, default: int, most: int, *, least: int = 0) -> int:
        """A parameter that is a decimal number within limits. Raises UsageError."""
        text = self.parameters.get(name)
        if text is None:
            return default
        if not text.isascii() or not text.isdecimal() or not least <= int(text) <= most:
            raise UsageError(f"{self}: {name} is a number from {least} to {most}, not {text!r}")
        return int(text)

    def choice(self, name: str, choices: tuple[str, ...]) -> str:
        """A parameter that is one of some words, the first without it. Raises UsageError."""
        text = self.parameters.get(name, choices[0])
        if text not in choices:
            raise UsageError(f"{self}: {name} is {', '.join(choices)}, not {text!r}")
        return text

    def seconds(self, name: str) -> float | None:
        """A parameter that is a number of seconds, None without it. Raises UsageError."""
        text = self.parameters.get(name)
        if text is None:
            return None
        if not text.isascii() or not text.isdecimal():
            raise UsageError(
                f"{self}: {name} is a whole number of seconds, not {text!r}", hint=f"for example {name}=60"
            )
        return float(text)

    def flag(self, name: str) -> bool:
        """A parameter that is yes or no, no without it. Raises UsageError."""
        text = self.parameters.get(name, "no")
        if text not in ("yes", "no"):
            raise UsageError(f"{self}: {name} is yes or no, not {text!r}")
        return text == "yes"


def parse_uri(text: str) -> Uri:
    """Take a link URI apart. Raises UsageError that names the known forms, or the one that was probably meant."""
    scheme, colon, rest = text.partition(":")
    if not colon or scheme not in _schemes():
        raise _unknown(text, scheme)
    if scheme not in _PARAMETERS:
        return Uri(scheme, rest)
    rest, query = _divided(scheme, rest)
    return Uri(scheme, rest, _parameters(f"{scheme}:{rest}", scheme, query))


def _divided(scheme: str, rest: str) -> tuple[str, str]:
    """What is named, and the parameters. A reader's name may hold a question mark that begins no parameter."""
    name, _, query = rest.rpartition("?") if scheme == "pcsc" else rest.partition("?")
    if scheme == "pcsc" and not re.match(r"[a-z]+=", query):
        return rest, ""
    return name, query


def is_simulated(text: str) -> bool:
    """Whether a URI names a simulated device. Raises UsageError."""
    return parse_uri(text).is_simulated


def forms(*, serving: bool = False, radio: bool = False) -> str:
    """The forms that can be used, as a list for messages."""
    return ", ".join(form.text for form in FORMS if (form.radio if radio else form.serves if serving else form.asks))


def _schemes() -> set[str]:
    return {form.text.partition(":")[0] for form in FORMS}


def _unknown(text: str, scheme: str) -> UsageError:
    if scheme in _LATER:
        return UsageError(f"{text}: this version has no {scheme} links", hint=f"use one of: {forms()}")
    close = difflib.get_close_matches(scheme, sorted(_schemes()), 1)
    meant = next((form.text for form in FORMS if close and form.text.startswith(close[0] + ":")), "")
    if meant:
        return UsageError(f"{text!r} is no link", hint=f"did you mean {meant}?")
    return UsageError(f"{text!r} is no link", hint=f"use one of: {forms()}")


def _parameters(uri: str, scheme: str, query: str) -> dict[str, str]:
    found: dict[str, str] = {}
    known = _PARAMETERS.get(uri, _PARAMETERS[scheme])
    for part in filter(None, query.split("&")):
        name, equals, value = part.partition("=")
        if name not in known:
            close = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {close[0]}?" if close else f"there are: {', '.join(known)}"
            raise UsageError(f"{uri}: unknown parameter {name!r}", hint=hint)
        if not equals or not value:
            raise UsageError(f"{uri}: parameter {name} has no value", hint=f"write {name}=VALUE")
        if name in found:
            raise UsageError(f"{uri}: parameter {name} is there twice")
        found[name] = unquote(value)
    return found
