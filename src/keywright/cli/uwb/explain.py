"""UWB in words: UCI packets, messages of ranging setup in clear, and the headers of SP0 frames."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, final

import msgspec

from keywright.errors import DecodeError
from keywright.uwb.frames import ALIRO_OUI, CCC_OUI, FINAL_DATA, PRE_POLL, parse_mhr
from keywright.uwb.setup.messages import GENERAL_ERRORS, Event, parse_message
from keywright.uwb.uci.codes import STATES, STATUSES
from keywright.uwb.uci.config import SECRET
from keywright.uwb.uci.messages import (
    BY_HEADER,
    SessionInfoNtf,
    SessionStateRsp,
    SessionStatusNtf,
    SetAppConfigCmd,
    Tlv,
)
from keywright.uwb.uci.packets import RESPONSE, Packet, Reassembler

_FRAME_CONTROL: Final = bytes.fromhex("492B")
_OUIS: Final = {ALIRO_OUI: "Aliro", CCC_OUI: "CCC"}
_FRAMES: Final = {PRE_POLL: "pre-poll", FINAL_DATA: "final data"}
_MASK: Final = "a key"


class Said(msgspec.Struct, frozen=True):
    """One thing that octets say: its name, and its fields by name."""

    name: str
    fields: dict[str, str] = {}


@final
class UwbTeller:
    """Tells octets in order, and puts the segments of UCI messages together."""

    def __init__(self) -> None:
        self._stream = Reassembler()

    def tell(self, data: bytes) -> list[Said]:
        """What octets say; nothing while a UCI message is not whole. Raises DecodeError for what is none of these."""
        if data.startswith(_FRAME_CONTROL):
            return [_frame(data)]
        try:
            message = parse_message(data)
        except DecodeError:
            return [_packet(packet) for packet in self._stream.feed(data)]
        fields = _fields(message)
        if isinstance(message, Event) and message.general_error:
            fields["meaning"] = GENERAL_ERRORS.get(message.general_error[0], "reserved")
        return [Said(f"Ranging {type(message).__name__}", fields)]


def _frame(data: bytes) -> Said:
    oui = data[16:19]
    mhr = parse_mhr(data, oui=oui if oui in _OUIS else ALIRO_OUI)
    return Said(
        f"SP0 {_FRAMES.get(mhr.message_id, f'message {mhr.message_id}')}",
        {
            "profile": _OUIS[oui],
            "destination": f"{mhr.destination:04X}",
            "key_source": mhr.key_source.hex().upper(),
            "frame_counter": f"{mhr.frame_counter}",
            "sealed": f"{mhr.payload_bytes} octets and a MIC",
        },
    )


def _packet(packet: Packet) -> Said:
    kind = BY_HEADER.get(packet[:3])
    if kind is None:
        return Said(f"UCI {packet}", {"octets": packet.payload.hex().upper()})
    try:
        message = kind.parse(packet.payload)
    except DecodeError as error:
        return Said(f"UCI {kind.__name__} that is none: {error}", {"octets": packet.payload.hex().upper()})
    fields = _fields(message)
    match message:
        case SessionInfoNtf():
            fields |= dict(_measurements(message))
        case SessionStatusNtf() | SessionStateRsp():
            fields["state"] = STATES.get(message.state, fields["state"])
    if packet.type == RESPONSE and "status" in fields:
        fields["status"] = STATUSES.get(int(fields["status"]), fields["status"])
    return Said(f"UCI {kind.__name__}", fields)


def _measurements(message: SessionInfoNtf) -> Iterator[tuple[str, str]]:
    try:
        found = message.measurements()
    except DecodeError as error:
        yield "measurements", f"none: {error}"
        return
    for one in found:
        status = STATUSES.get(one.status, f"status {one.status:02X}")
        yield one.address.hex().upper(), f"{one.distance_cm / 100:.2f} m, {status}"


def _fields(message: msgspec.Struct) -> dict[str, str]:
    masks = isinstance(message, SetAppConfigCmd)
    return {name: _shown(getattr(message, name), masks=masks) for name in message.__struct_fields__}


def _shown(value: object, *, masks: bool) -> str:
    match value:
        case bytes():
            return value.hex().upper()
        case tuple():
            return ", ".join(_shown(one, masks=masks) for one in value) or "none"
        case Tlv():
            return f"{value.id:02X} {_MASK if masks and value.id in SECRET else value.value.hex().upper()}"
        case msgspec.Struct():
            return " ".join(_shown(getattr(value, name), masks=masks) for name in value.__struct_fields__)
    return f"{value}"
