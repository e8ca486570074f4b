"""What starts an administration session, and what a security domain keeps for it (Amd B 3.7, 3.8, 3.11)."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from keywright.codec.ber import item
from keywright.codec.record import U8, U16, Record, Rest, prefixed, raw
from keywright.codec.tlv import Template, tag
from keywright.errors import DecodeError, PolicyError
from keywright.iso7816.apdu import Command
from keywright.scp.comprehension import (
    ADDRESS,
    REQUIRED,
    TIMER_VALUE,
    address_text,
    address_value,
    comprehension_item,
    comprehension_items,
)

TRIGGER: Final = 0x81
STORED_ALL: Final = 0x85
"""Tag in STORE DATA and GET DATA: the whole set is replaced, and deleted by an empty value."""
STORED_PART: Final = 0xA5
"""Only the objects present are replaced; an empty one is deleted."""
DNS_ALL: Final = 0xF4
DNS_PART: Final = 0xF5
_SCRIPTING_IN_EXPANDED: Final = 0xAA


class KeyReference(Record, frozen=True):
    """Which key is the PSK."""

    kvn: U8
    kid: U8


class SecurityParameters(Record, frozen=True):
    """Tag 85 inside a session's parameters. `hash_type` as for load file hashes (01 SHA-1, 02 SHA-256 ..), TLS 1.3."""

    identity: Annotated[bytes, prefixed(1)]
    key: Annotated[KeyReference, prefixed(1)]
    hash_type: Annotated[bytes, Rest(0, 1)] = b""


class ExtendedSecurity(Template, frozen=True):
    """Tag A5: several, in order of preference; TLS up to 1.2 takes the first."""

    choices: Annotated[tuple[SecurityParameters, ...], tag(0x85)] = ()


class RetryPolicy(Record, frozen=True):
    """Tag 86: how often a session is tried again, after which delay (a COMPREHENSION-TLV timer value), and a report.

    `report` has the coding of OMA SCWS 13.3.2.9.7; here it is kept as it is.
    """

    count: U16
    delay: Annotated[bytes, raw(5)]
    report: Annotated[bytes, Rest()] = b""


class HttpParameters(Template, frozen=True):
    """Tag 89: whom to post to, and who says so."""

    host: Annotated[bytes | None, tag(0x8A)] = None
    agent: Annotated[bytes | None, tag(0x8B)] = None
    uri: Annotated[bytes | None, tag(0x8C)] = None


class SessionParameters(Template, frozen=True):
    """Tag 83. `connection`: the objects of OPEN CHANNEL. `security` and `extended_security` exclude each other."""

    connection: Annotated[bytes | None, tag(0x84)] = None
    security: Annotated[SecurityParameters | None, tag(0x85)] = None
    extended_security: Annotated[ExtendedSecurity | None, tag(0xA5)] = None
    retry: Annotated[RetryPolicy | None, tag(0x86)] = None
    http: Annotated[HttpParameters | None, tag(0x89)] = None


class DnsParameters(Template, frozen=True):
    """Tag B3 of a trigger; F4 and F5 when stored. `fqdn`: a name in DNS form."""

    force: Annotated[bytes | None, tag(0xD0)] = None
    terminal_retry: Annotated[bytes | None, tag(0xD1)] = None
    retry: Annotated[bytes | None, tag(0xD2)] = None
    fqdn: Annotated[bytes | None, tag(0xD6)] = None
    server_cache: Annotated[bytes | None, tag(0xF7)] = None
    dns_cache: Annotated[bytes | None, tag(0xF9)] = None
    connection: Annotated[bytes | None, tag(0xFA)] = None
    server_fallback: Annotated[bytes | None, tag(0xFB)] = None
    dns_fallback: Annotated[bytes | None, tag(0xFC)] = None


class TriggerParameters(Template, frozen=True):
    """Value of tag 81, the triggering message; it may be empty."""

    session: Annotated[SessionParameters | None, tag(0x83)] = None
    dns: Annotated[DnsParameters | None, tag(0xB3)] = None


class StoredParameters(Template, frozen=True):
    """Value of 85 or A5 in STORE DATA. Tags 8A and 8B mean other things here than inside 89."""

    connection: Annotated[bytes | None, tag(0x84)] = None
    security: Annotated[SecurityParameters | None, tag(0x85)] = None
    extended_security: Annotated[ExtendedSecurity | None, tag(0xA5)] = None
    retry: Annotated[RetryPolicy | None, tag(0x86)] = None
    http: Annotated[HttpParameters | None, tag(0x89)] = None
    address_retry: Annotated[RetryPolicy | None, tag(0x8A)] = None
    inactivity: Annotated[bytes | None, tag(0x8B)] = None


def trigger_message(parameters: TriggerParameters, *, expanded: bool = False) -> bytes:
    """The triggering message for an SCP80 packet; inside AA for an application that takes the expanded format."""
    message = item(TRIGGER, parameters.build())
    return item(_SCRIPTING_IN_EXPANDED, message) if expanded else message


def store_parameters(value: bytes, kind: int = STORED_ALL) -> list[Command]:
    """STORE DATA commands for parameters: TLV form, in as many as they need. `kind`: 85, A5, F4 or F5."""
    data = item(kind, value)
    blocks = [data[start : start + 255] for start in range(0, len(data), 255)]
    last = len(blocks) - 1
    return [Command(0x80, 0xE2, 0x90 if n == last else 0x10, n, block) for n, block in enumerate(blocks)]


class Settings(msgspec.Struct, frozen=True):
    """All that a session needs, nothing missing. Times in seconds; retries count further tries."""

    connection: bytes
    security: SecurityParameters
    host: str
    agent: str
    uri: str
    session_retries: int = 0
    session_delay_s: int = 0
    address_retries: int = 0
    address_delay_s: int = 0
    inactivity_s: int | None = None
    addresses: tuple[str, ...] = ()
    fallbacks: tuple[str, ...] = ()


def settle(trigger: TriggerParameters, *stored: StoredParameters, dns: DnsParameters | None = None) -> Settings:
    """Complete a trigger from what the security domain keeps, then its issuer's (Amd B 3.7.2).

    Raises PolicyError naming what is missing: the trigger is rejected then; or when 85 and A5 are both there.
    """
    own = trigger.session or SessionParameters()
    sources: list[SessionParameters | StoredParameters] = [own, *stored]
    https = [source.http for source in sources if source.http is not None]
    security = next((found for source in sources if (found := _security(source)) is not None), None)
    connection = next((source.connection for source in sources if source.connection), None)
    host, agent, uri = (_text(https, name) for name in ("host", "agent", "uri"))
    wanted = {"connection": connection, "security": security, "host": host, "agent": agent, "uri": uri}
    missing = [name for name, value in wanted.items() if value is None]
    if connection is None or security is None or host is None or agent is None or uri is None:
        raise PolicyError(
            f"the trigger is rejected: no {', no '.join(missing)}", hint="store it, or put it in the trigger"
        )
    retry = next((source.retry for source in sources if source.retry is not None), None)
    address_retry = next((source.address_retry for source in stored if source.address_retry is not None), None)
    inactivity = next((source.inactivity for source in stored if source.inactivity), None)
    names = dns or DnsParameters()
    return Settings(
        connection,
        security,
        host,
        agent,
        uri,
        retry.count if retry else 0,
        timer_seconds(retry.delay) if retry else 0,
        address_retry.count if address_retry else 0,
        timer_seconds(address_retry.delay) if address_retry else 0,
        timer_seconds(inactivity) if inactivity else None,
        addresses(connection) or addresses(names.server_cache or b""),
        addresses(names.server_fallback or b""),
    )


def _security(source: SessionParameters | StoredParameters) -> SecurityParameters | None:
    if source.security is not None and source.extended_security is not None:
        raise PolicyError("security parameters 85 and A5 exclude each other")
    if source.extended_security is not None and source.extended_security.choices:
        return source.extended_security.choices[0]
    return source.security


def _text(https: list[HttpParameters], name: str) -> str | None:
    value: bytes | None = next((found for http in https if (found := getattr(http, name)) is not None), None)
    if value is None:
        return None
    try:
        text = value.decode()
    except UnicodeDecodeError:
        raise DecodeError(f"{name}: no UTF-8") from None
    if any(ord(letter) <= 0x20 or ord(letter) == 0x7F for letter in text):
        raise DecodeError(f"{name}: a control character or blank")
    return text


def timer_seconds(value: bytes) -> int:
    """A COMPREHENSION-TLV timer value: hour, minute, second with swapped digits (TS 102 223 8.38).

    Two public tools write plain digits: a value that is impossible when swapped is read so.

    Raises DecodeError.
    """
    found = comprehension_items(value)
    if len(found) != 1 or found[0][0] != TIMER_VALUE or len(found[0][1]) != 3:
        raise DecodeError("no timer value")
    octets = found[0][1]
    for read in (_swapped, _plain):
        hours, minutes, seconds = (read(octet) for octet in octets)
        if 0 <= hours < 100 and 0 <= minutes < 60 and 0 <= seconds < 60:
            return hours * 3600 + minutes * 60 + seconds
    raise DecodeError(f"{octets.hex().upper()} is no time")


def timer_value(seconds: int) -> bytes:
    """Inverse of `timer_seconds`, digits swapped. Raises ValueError from 100 hours on."""
    if not 0 <= seconds < 360_000:
        raise ValueError(f"{seconds} s do not fit a timer value")
    parts = (seconds // 3600, seconds // 60 % 60, seconds % 60)
    return bytes((TIMER_VALUE, 3)) + bytes(part // 10 | part % 10 << 4 for part in parts)


def _swapped(octet: int) -> int:
    low, high = octet & 0xF, octet >> 4
    return 10 * low + high if low < 10 and high < 10 else -1


def _plain(octet: int) -> int:
    low, high = octet & 0xF, octet >> 4
    return 10 * high + low if low < 10 and high < 10 else -1


def addresses(objects: bytes) -> tuple[str, ...]:
    """The IP addresses among comprehension objects, in words. Raises DecodeError."""
    return tuple(address_text(value) for number, value in comprehension_items(objects) if number == ADDRESS)


def address_objects(texts: tuple[str, ...], *, required: bool = False) -> bytes:
    """Inverse of `addresses`. Raises ValueError."""
    tag_ = ADDRESS | (REQUIRED if required else 0)
    return b"".join(comprehension_item(tag_, address_value(text)) for text in texts)


def dns_name(fqdn: bytes) -> str:
    """A name in DNS form (RFC 1035 3.1), without its last dot. Raises DecodeError."""
    labels, at = [], 0
    while at < len(fqdn) and fqdn[at]:
        label = fqdn[at + 1 : at + 1 + fqdn[at]]
        if len(label) != fqdn[at] or fqdn[at] > 63 or not label.isascii():
            raise DecodeError("DNS name cut short", at)
        labels.append(label.decode("ascii"))
        at += 1 + len(label)
    if at + 1 != len(fqdn):
        raise DecodeError("a DNS name ends with 00", at)
    return ".".join(labels)


def dns_form(name: str) -> bytes:
    """Inverse of `dns_name`. Raises ValueError."""
    labels = [label.encode("ascii") for label in name.split(".")]
    if not all(1 <= len(label) < 64 for label in labels):
        raise ValueError(f"{name}: a label has 1 to 63 letters")
    return b"".join(bytes((len(label),)) + label for label in labels) + b"\0"


_VERSIONS: Final = {0x01: "TLS 1.0", 0x02: "TLS 1.1", 0x04: "TLS 1.2", 0x08: "TLS 1.3"}
SCP81: Final = 0x81
SCP80: Final = 0x80
_OPTIONS: Final = bytes.fromhex("C981")
_SCP_OID: Final = bytes.fromhex("2A864886FC6B04")


def versions(i: int) -> tuple[str, ...]:
    """TLS versions that the "i" parameter of SCP81 names, oldest first (Amd B 3.2.1); the first two are deprecated."""
    return tuple(name for bit, name in _VERSIONS.items() if i & bit)


def options_dgi(i: int) -> bytes:
    """The DGI that changes "i" by STORE DATA (Amd B 3.2.2)."""
    return _OPTIONS + bytes((2, SCP81, i))


def read_options_dgi(data: bytes, current: int) -> int:
    """The new "i" of such a DGI, card end. Raises DecodeError; PolicyError when the lowest or highest version drops."""
    if len(data) != 5 or not data.startswith(_OPTIONS + bytes((2, SCP81))):
        raise DecodeError("not the options of SCP81")
    new = data[4]
    if not versions(new) or new & ~0x0F:
        raise DecodeError(f"i={new:02X} names no TLS version, or an unknown one")
    lowered = new.bit_length() < current.bit_length() or new & -new < current & -current
    if lowered:
        raise PolicyError(f"i={new:02X} lowers the lowest or highest TLS version of i={current:02X}")
    return new


def protocol_oid(scp: int, i: int) -> bytes:
    """Value of the OID {globalPlatform 4 scp i} as cards have it: SCP80 as a raw byte, SCP81 in base 128. Unsure."""
    arc = bytes((0x81, scp & 0x7F)) if scp == SCP81 else bytes((scp,))
    return _SCP_OID + arc + bytes((i,))


def read_protocol_oid(value: bytes) -> tuple[int, int]:
    """Protocol and "i" of such a value, either way it is written. Raises DecodeError."""
    rest = value.removeprefix(_SCP_OID)
    if rest == value:
        raise DecodeError("no OID of a secure channel protocol")
    if len(rest) == 2:
        return rest[0], rest[1]
    if len(rest) == 3 and rest[0] == 0x81:
        return 0x80 | rest[1], rest[2]
    raise DecodeError("an OID of a secure channel protocol has two arcs here", len(_SCP_OID))
