"""Short messages between phone and card: ENVELOPE, the delivery report, SEND SHORT MESSAGE (3GPP TS 31.111 7.1).

Both ends of it, and `SmsCard`: a card end of SCP80 behind the commands that a phone sends.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Final, Protocol, final

import msgspec

from keywright.codec.ber import item, items
from keywright.codec.markers import prefixed
from keywright.codec.record import U8, Record
from keywright.codec.tlv import Template, tag
from keywright.errors import DecodeError
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.status import SW
from keywright.scp.comprehension import comprehension_items
from keywright.scp.scp80.card import Answer
from keywright.scp.scp80.concatenation import Reassembly, Whole
from keywright.scp.scp80.messages import RESPONSE_IE, RESPONSE_UDH
from keywright.scp.scp80.sms import DCS, PID, UDHI, Address, Deliver, Submit, split

ENVELOPE: Final = 0xC2
FETCH: Final = 0x12
TERMINAL_RESPONSE: Final = 0x14
SMS_PP_DOWNLOAD: Final = 0xD1
PROACTIVE_COMMAND: Final = 0xD0
SEND_SHORT_MESSAGE: Final = 0x13

_NETWORK_TO_CARD: Final = bytes.fromhex("8381")
_CARD_TO_NETWORK: Final = bytes.fromhex("8183")
BUSY: Final = 0x9300
"""The card's toolkit is busy: try again later."""
_FAILURE: Final = 0xD5
"""TP-FCS: (U)SIM data download error."""
_TOOLKIT_BUSY: Final = 0xD4


class Download(Template, frozen=True):
    """SMS-PP data download (tag D1), comprehension bits set as phones do."""

    devices: Annotated[bytes, tag(0x82)]
    service_centre: Annotated[bytes | None, tag(0x06)] = None
    tpdu: Annotated[bytes, tag(0x8B)] = b""


class SendShortMessage(Template, frozen=True):
    """Proactive command SEND SHORT MESSAGE (inside D0)."""

    details: Annotated[bytes, tag(0x81)]
    devices: Annotated[bytes, tag(0x82)]
    service_centre: Annotated[bytes | None, tag(0x86)] = None
    tpdu: Annotated[bytes, tag(0x8B)] = b""


class DeliverReport(Record, frozen=True):
    """SMS-DELIVER-REPORT inside RP-ACK. `parameters` 07: PID, DCS and user data follow; `kind` 00."""

    kind: U8
    parameters: U8
    pid: U8
    dcs: U8
    user_data: Annotated[bytes, prefixed(1)]


class DeliverReportError(Record, frozen=True):
    """SMS-DELIVER-REPORT inside RP-ERROR: a failure cause before the rest."""

    kind: U8
    cause: U8
    parameters: U8
    pid: U8
    dcs: U8
    user_data: Annotated[bytes, prefixed(1)]


def envelope(deliver: Deliver, service_centre: Address | None = None, *, cla: int = 0x80) -> Command:
    """The command by which a phone hands a message to its card; class A0 for SIMs of 2G."""
    data = Download(_NETWORK_TO_CARD, service_centre.value() if service_centre else None, deliver.build())
    return Command(cla, ENVELOPE, 0, 0, item(SMS_PP_DOWNLOAD, data.build()))


def read_envelope(data: bytes) -> tuple[bytes, Address | None]:
    """TPDU and service centre of an SMS-PP download, with or without comprehension bits. Raises DecodeError."""
    found = dict(comprehension_items(_inside(data, SMS_PP_DOWNLOAD)))
    if found.get(0x02) != _NETWORK_TO_CARD or 0x0B not in found:
        raise DecodeError("no message from the network to the card")
    return found[0x0B], Address.of_value(found[0x06]) if 0x06 in found else None


def read_send_short_message(data: bytes) -> tuple[Submit, Address | None]:
    """Message and service centre of a fetched SEND SHORT MESSAGE. Raises DecodeError."""
    found = dict(comprehension_items(_inside(data, PROACTIVE_COMMAND)))
    if found.get(0x01, b"")[1:2] != bytes((SEND_SHORT_MESSAGE,)) or 0x0B not in found:
        raise DecodeError("no SEND SHORT MESSAGE")
    return Submit.parse(found[0x0B]), Address.of_value(found[0x06]) if 0x06 in found else None


def send_short_message(submit: Submit, service_centre: Address | None = None, number: int = 1) -> bytes:
    """The proactive command for FETCH."""
    details = bytes((number, SEND_SHORT_MESSAGE, 0))
    centre = service_centre.value() if service_centre else None
    inside = SendShortMessage(details, _CARD_TO_NETWORK, centre, submit.build())
    return item(PROACTIVE_COMMAND, inside.build())


def _inside(data: bytes, wanted: int) -> bytes:
    found = items(data)
    if len(found) != 1 or found[0][0] != wanted:
        raise DecodeError(f"not one object {wanted:02X}")
    return found[0][1]


def report(response: Response, pid: int = PID, dcs: int = DCS) -> bytes | None:
    """What a phone sends to the network for a card's answer to ENVELOPE: an SMS-DELIVER-REPORT (RP-ACK or RP-ERROR).

    None: a bare RP-ACK. On T=0 the data has been fetched by GET RESPONSE before.
    """
    data = response.data
    if response.sw == BUSY:
        return bytes((0, _TOOLKIT_BUSY, 0))
    if response.sw == SW.OK or response.sw >> 8 == 0x91:
        return DeliverReport(0, 7, pid, dcs, data).build() if data else None
    return DeliverReportError(0, _FAILURE, 7, pid, dcs, data).build() if data else bytes((0, _FAILURE, 0))


def response_in_report(tpdu: bytes) -> bytes:
    """The response packet, its user data header in front, that a delivery report carries. Raises DecodeError."""
    if len(tpdu) > 2 and tpdu[1] & 0x80:
        return DeliverReportError.parse(tpdu).user_data
    return DeliverReport.parse(tpdu).user_data


def packet_messages(packet: bytes, originator: Address, reference: int, identifier: int) -> list[Deliver]:
    """The messages that carry one packet to a card."""
    *firsts, last = split(packet, identifier, reference)
    return [Deliver(originator, user_data, flags=UDHI) for user_data in firsts] + [Deliver(originator, last)]


class Proactive(msgspec.Struct, frozen=True):
    """A command that waits for FETCH."""

    data: bytes

    @property
    def sw(self) -> int:
        """91xx, which says how long it is."""
        return 0x9100 | len(self.data) & 0xFF


class Receiver(Protocol):
    """What takes packets: a `ReceivingEntity`, or whatever chooses one."""

    def handle(self, packet: bytes, /) -> Answer:
        """Take one command packet. Total."""
        ...


@final
class SmsCard:
    """A card end behind ENVELOPE, FETCH and TERMINAL RESPONSE. `clock` is asked when a part comes in.

    A response in the delivery report must fit one message; a longer one goes out by SEND SHORT MESSAGE.
    """

    def __init__(self, card: Receiver, clock: Callable[[], float]) -> None:
        self._card = card
        self._clock = clock
        self._parts = Reassembly()
        self._waiting: list[Proactive] = []
        self._reference = 0
        self._number = 0

    def execute(self, command: Command) -> Response:
        """The answer to one of the three commands; 6D00 for others. Total."""
        if command.ins == ENVELOPE:
            return self._envelope(command.data)
        if command.ins == FETCH:
            return self._fetch()
        if command.ins == TERMINAL_RESPONSE:
            if self._waiting:
                self._waiting.pop(0)
            return Response(b"", self._status())
        return Response(b"", SW.INS_NOT_SUPPORTED)

    def _envelope(self, data: bytes) -> Response:
        try:
            tpdu, centre = read_envelope(data)
        except DecodeError:
            return Response(b"", SW.INCORRECT_DATA)
        self._parts.receive(tpdu, self._clock())
        report_data = b""
        for event in self._parts.events():
            if isinstance(event, Whole):
                report_data = self._packet(event, centre)
        return Response(report_data, self._status())

    def _packet(self, whole: Whole, centre: Address | None) -> bytes:
        answer = self._card.handle(whole.packet)
        if not answer.packet:
            return b""
        self._reference = (self._reference + 1) & 0xFF
        messages = split(answer.packet, RESPONSE_IE, self._reference)
        if not answer.by_submit and len(messages) == 1:
            return RESPONSE_UDH + answer.packet
        for user_data in messages:
            self._number = self._number % 0xFE + 1
            submit = Submit(whole.sender, user_data)
            self._waiting.append(Proactive(send_short_message(submit, centre, self._number)))
        return b""

    def _fetch(self) -> Response:
        if not self._waiting:
            return Response(b"", SW.CONDITIONS_NOT_SATISFIED)
        return Response(self._waiting[0].data, SW.OK)

    def _status(self) -> int:
        return self._waiting[0].sw if self._waiting else SW.OK
