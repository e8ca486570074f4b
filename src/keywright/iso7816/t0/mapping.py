"""How command APDUs ride on T=0 (ISO 7816-3 section 12), as a dialogue: TPDUs out, their answers in, one answer APDU.

61xx, 6Cxx, 9Fxx and ENVELOPE are seen to here, so that T=0 looks to what is above like any other transport.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Final, NamedTuple

from keywright.errors import DecodeError, WireError
from keywright.iso7816.apdu import EXTENDED_LE, SHORT_LE, Command, Response
from keywright.iso7816.channels import channel_of, is_valid, with_channel
from keywright.iso7816.status import SW
from keywright.iso7816.t0.header import ENVELOPE, GET_RESPONSE, MAX_P3, Header, carries_mac
from keywright.iso7816.t0.profile import T0Profile

MAX_PIECE: Final = 255
_MORE, _WRONG_P3, _MORE_GSM = 0x61, 0x6C, 0x9F
_GSM_CLASS: Final = 0xA0


class UnsendableError(WireError):
    """A command that has no form on T=0."""


class Tpdu(NamedTuple):
    """One command on T=0: header, data that goes out, bytes that may come in.

    runs: whether the card runs the command once it has all of this one; an ENVELOPE that is not the last does not.
    """

    header: Header
    data: bytes = b""
    expected: int = 0
    runs: bool = True


TpduDialogue = Generator[Tpdu, Response, Response]


def carry(apdu: bytes, profile: T0Profile) -> TpduDialogue:
    """The answer APDU to `apdu`. Raises UnsendableError, WireError for a card that never stops announcing data."""
    try:
        command = Command.parse(apdu)
    except DecodeError as error:
        raise UnsendableError(f"no command APDU, so T=0 has no header for it: {error}") from error
    if not Header(command.cla, command.ins, 0, 0, 0).is_legal:
        raise UnsendableError(f"class FF and instructions 6x and 9x cannot be sent over T=0, as in {apdu[:2].hex()}")
    long_data = len(command.data) > MAX_PIECE
    if command.extended and (long_data or (command.data and carries_mac(command.cla))):
        response = yield from _enveloped(command, apdu, profile)
    elif command.data:
        header = Header(command.cla, command.ins, command.p1, command.p2, len(command.data))
        response = yield Tpdu(header, command.data)
    else:
        return (yield from _without_data(command, profile))
    return (yield from _fetched(command, response, profile))


def _without_data(command: Command, profile: T0Profile) -> TpduDialogue:
    """Cases 1 and 2."""
    if command.le is None:
        response = yield Tpdu(Header(command.cla, command.ins, command.p1, command.p2, 0))
        return response
    response = yield from _exact(command, command.le)
    if response.sw >> 8 in (_MORE, _MORE_GSM):
        return (yield from _collected(command, response, profile))
    return response


def _exact(command: Command, le: int) -> TpduDialogue:
    """A command that sends: once, and again with the length that 6Cxx names."""
    p3 = le if le < MAX_P3 else 0
    response = yield _sending(command, p3)
    if response.sw >> 8 == _WRONG_P3:
        response = yield _sending(command, response.sw & 0xFF)
    return response


def _sending(command: Command, p3: int) -> Tpdu:
    return Tpdu(Header(command.cla, command.ins, command.p1, command.p2, p3), expected=p3 or MAX_P3)


def _fetched(command: Command, response: Response, profile: T0Profile) -> TpduDialogue:
    """Cases 3 and 4, once the data is sent: what waits is fetched if the command wants it."""
    sw1 = response.sw >> 8
    if sw1 == _MORE_GSM or (sw1 == _MORE and command.le is not None):
        return (yield from _collected(command, response, profile))
    if command.le is None:
        return response
    is_kept = (response.sw == SW.OK and profile.fetch_after_ok) or (sw1 == 0x62 and profile.fetch_after_warning)
    if not is_kept:
        return response
    fetched = yield from _exact(_get_response(command, profile), command.le)
    if fetched.sw >> 8 == _MORE:
        return (yield from _collected(command, fetched, profile))
    return fetched if fetched.data else response


def _collected(command: Command, response: Response, profile: T0Profile) -> TpduDialogue:
    """What 61xx or 9Fxx announces, in as many pieces as there are, up to a Le that is exact."""
    fetch = _get_response(command, profile)
    exact = command.le if command.le and command.le not in (SHORT_LE, EXTENDED_LE) else None
    parts, size = [response.data], len(response.data)
    for _ in range(profile.max_rounds):
        waiting = response.sw & 0xFF or MAX_P3
        room = waiting if exact is None else min(waiting, exact - size)
        if room <= 0:
            break
        response = yield from _exact(fetch, room)
        parts.append(response.data)
        size += len(response.data)
        if response.sw >> 8 not in (_MORE, _MORE_GSM):
            break
    else:
        raise WireError(f"the card announced more data {profile.max_rounds} times for one command")
    return Response(b"".join(parts), response.sw)


def _get_response(command: Command, profile: T0Profile) -> Command:
    if profile.get_response_class == "copy" or command.cla == _GSM_CLASS:
        return Command(command.cla, GET_RESPONSE, 0, 0)
    return Command(_channel_class(command.cla), GET_RESPONSE, 0, 0)


def _channel_class(cla: int) -> int:
    return with_channel(0, channel_of(cla)) if is_valid(cla) else 0


def _enveloped(command: Command, apdu: bytes, profile: T0Profile) -> TpduDialogue:
    """A command that is too long, or that must keep its length fields, in pieces (ISO 7816-4 7.6.1)."""
    cla = _channel_class(command.cla)
    pieces = cut(apdu, len(apdu) - 2 if command.le is not None else None)
    response = Response(b"")
    for number, piece in enumerate(pieces, 1):
        is_last = number == len(pieces)
        response = yield Tpdu(Header(cla, ENVELOPE, 0, 0, len(piece)), piece, runs=is_last)
        if not is_last and response.sw != SW.OK:
            return response
    if profile.closing_envelope and response.sw == SW.OK:
        response = yield Tpdu(Header(cla, ENVELOPE, 0, 0, 0))
    return response


def cut(apdu: bytes, avoid: int | None = None) -> list[bytes]:
    """`apdu` in pieces of at most 255 bytes, none of which ends at `avoid`: there a card would see a whole case 3."""
    pieces, at = [], 0
    while at < len(apdu):
        end = min(at + MAX_PIECE, len(apdu))
        end -= end == avoid
        pieces.append(apdu[at:end])
        at = end
    return pieces
