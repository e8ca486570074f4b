"""The card's end of T=0 (ISO 7816-3 sections 10 and 12), in front of any device.

It keeps data of a case 4 command for GET RESPONSE, wants P3 exact (6Cxx), and puts ENVELOPEs together. A command runs
once, whatever is fetched or repeated afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, final

from keywright.errors import DecodeError
from keywright.iso7816.apdu import Command
from keywright.iso7816.channels import is_gp
from keywright.iso7816.status import SW
from keywright.iso7816.t0.header import ENVELOPE, GET_RESPONSE, MAX_P3, NULL, Header, takes_data
from keywright.iso7816.t0.profile import T0Profile
from keywright.iso7816.transport import CardEvent, Muted, Outbox, Ran, earliest
from keywright.sansio.responder import Device

_HEADER_SIZE: Final = 5
_MORE, _MORE_GSM, _WRONG_P3 = 0x6100, 0x9F00, 0x6C00


@final
class T0Card:
    """Endpoint: a card that speaks T=0, after its answer to reset. A frame is any run of characters.

    takes_data: the card's knowledge of which instructions take data. refuses: a status word that answers a header at
    once, before any data, or 0. work: seconds that the device takes, for which the card sends NULL bytes.
    """

    def __init__(
        self,
        device: Device,
        profile: T0Profile | None = None,
        *,
        takes_data: Callable[[Header], bool] = takes_data,
        refuses: Callable[[Header], int] | None = None,
        work: Callable[[bytes], float] | None = None,
    ) -> None:
        self.device = device
        self.profile = profile or T0Profile()
        self._takes_data = takes_data
        self._refuses = refuses
        self._work = work
        self._events: list[CardEvent] = []
        self._outbox = Outbox()
        self._header: Header | None = None
        self._kept: tuple[Header, bytes] | None = None
        self._busy_until: float | None = None
        self._last = self._null_at = 0.0
        self._late = b""
        self._begin()

    # ---- endpoint ---------------------------------------------------------------------------------------------

    def receive(self, data: bytes, now: float) -> None:
        """Take characters; none are heard while the device works or once this end is mute."""
        if self._is_mute or self._busy_until is not None:
            return
        if self._buffer and now - self._last > self.profile.wait:
            self._mute("a command stopped in the middle")
            return
        self._last = now
        self._buffer += data
        self._read(now)

    def parity_error(self, now: float) -> None:  # noqa: ARG002 - the shape of `CardEnd`; nothing is timed here
        """A character stayed wrong although its error was signalled: nothing after it can be told apart."""
        self._mute("a character stayed wrong through all repeats")

    def outgoing(self, now: float) -> Sequence[bytes]:
        """Characters to send now: NULL bytes while the device works, then its answer."""
        if self._busy_until is not None and now >= min(self._busy_until, self._null_at):
            if now >= self._busy_until:
                self._busy_until = None
                self._outbox.put(self._late, now)
            else:
                self._outbox.put(bytes((NULL,)), now)
                self._null_at = now + self.profile.wait / 2
        return self._outbox.take(now)

    def deadline(self) -> float | None:
        """When `outgoing` is due."""
        busy = None if self._busy_until is None else min(self._busy_until, self._null_at)
        return earliest(self._outbox.deadline(), busy)

    def events(self) -> Sequence[CardEvent]:
        """What has happened."""
        events, self._events = self._events, []
        return events

    def reset(self, now: float) -> None:  # noqa: ARG002 - the shape of `CardEnd`; nothing is timed here
        """Reset the device, and begin anew."""
        self.device.reset()
        self._events.clear()
        self._outbox.clear()
        self._begin()

    # ---- state ------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        self._is_mute = False
        self._buffer = b""
        self._last = 0.0
        self._header = None
        self._singles = 0
        self._got = b""
        self._waiting, self._waiting_sw = b"", 0
        self._kept = None
        self._pieces = b""
        self._closed_sw = self._last_sw = 0
        self._busy_until = None
        self._null_at = 0.0
        self._late = b""

    def _mute(self, text: str) -> None:
        if not self._is_mute:
            self._begin()
            self._is_mute = True
            self._events.append(Muted(text))

    def _say(self, characters: bytes, now: float) -> None:
        self._outbox.put(characters, now + self.profile.guard)

    def _status(self, sw: int, now: float, before: bytes = b"") -> None:
        """The end of one command: what precedes the status word, and the word."""
        self._header = None
        self._say(before + sw.to_bytes(2), now)

    # ---- characters of the host -------------------------------------------------------------------------------

    def _read(self, now: float) -> None:
        while self._buffer and not self._is_mute:
            if self._header is None:
                if len(self._buffer) < _HEADER_SIZE:
                    return
                raw, self._buffer = self._buffer[:_HEADER_SIZE], self._buffer[_HEADER_SIZE:]
                self._on_header(Header.parse(raw), now)
                continue
            wanted = 1 if self._singles else self._header.p3 - len(self._got)
            if len(self._buffer) < wanted:
                return
            self._got += self._buffer[:wanted]
            self._buffer = self._buffer[wanted:]
            self._on_data(self._header, now)

    def _on_header(self, header: Header, now: float) -> None:
        refusal = self._refuses(header) if self._refuses else 0
        if not header.is_legal:
            refusal = SW.CLA_NOT_SUPPORTED if header.cla == 0xFF else SW.INS_NOT_SUPPORTED
        if refusal:
            self._drop()
            self._status(refusal, now)
        elif header.ins == GET_RESPONSE and self._waiting:
            self._send_waiting(header, now)
        elif self._is_envelope(header) or self._takes_data(header):
            self._take_data(header, now)
        else:
            self._send_data(header, now)

    def _drop(self) -> None:
        """Any other command ends what was waiting, kept or begun."""
        self._waiting, self._waiting_sw = b"", 0
        self._kept = None
        self._pieces = b""
        self._closed_sw = 0

    def _is_envelope(self, header: Header) -> bool:
        return header.ins == ENVELOPE and not is_gp(header.cla) and not header.p1 | header.p2

    # ---- commands that send -----------------------------------------------------------------------------------

    def _send_data(self, header: Header, now: float) -> None:
        kept = self._kept
        self._drop()
        if kept is not None and kept[0] == header:
            data, sw, seconds = kept[1][:-2], int.from_bytes(kept[1][-2:]), 0.0
        else:
            data, sw, seconds = self._run(header.build())
        room = header.p3 or MAX_P3
        if not data:
            out = sw.to_bytes(2)
        elif len(data) == room or (len(data) > room and not header.p3):
            self._waiting, self._waiting_sw = data[room:], sw
            out = self._framed(header, data[:room]) + self._end(sw).to_bytes(2)
        else:
            right = Header(header.cla, header.ins, header.p1, header.p2, _low(len(data)))
            self._kept = (right, data + sw.to_bytes(2))
            out = (_WRONG_P3 | right.p3).to_bytes(2)
        self._deliver(out, seconds, now)

    def _send_waiting(self, header: Header, now: float) -> None:
        """GET RESPONSE: the first P3 bytes of what waits, and the status that says whether there is more."""
        room = header.p3 or MAX_P3
        if room > len(self._waiting):
            self._status(_WRONG_P3 | _low(len(self._waiting)), now)
            return
        data, self._waiting = self._waiting[:room], self._waiting[room:]
        self._status(self._end(self._waiting_sw), now, self._framed(header, data))

    def _end(self, sw: int) -> int:
        return _MORE | _low(len(self._waiting)) if self._waiting else sw

    def _framed(self, header: Header, data: bytes) -> bytes:
        """Data behind its procedure bytes: one by one, then all the rest."""
        out = bytes((NULL,)) * self.profile.nulls
        for byte in data[: self.profile.single]:
            out += bytes((header.ins ^ 0xFF, byte))
        rest = data[self.profile.single :]
        return out + (bytes((header.ins,)) + rest if rest else b"") + bytes((NULL,)) * self.profile.nulls_before_status

    # ---- commands that take -----------------------------------------------------------------------------------

    def _take_data(self, header: Header, now: float) -> None:
        if not self._is_envelope(header):
            self._drop()
        self._header, self._got = header, b""
        if header.p3:
            self._singles = min(self.profile.single, header.p3)
            self._acknowledge(header, now)
        else:
            self._on_whole(header, now)

    def _acknowledge(self, header: Header, now: float) -> None:
        nulls = b"" if self._got else bytes((NULL,)) * self.profile.nulls
        self._say(nulls + bytes((header.ins ^ 0xFF if self._singles else header.ins,)), now)

    def _on_data(self, header: Header, now: float) -> None:
        if self._singles:
            self._singles -= 1
        if len(self._got) < header.p3:
            self._acknowledge(header, now)
        else:
            self._on_whole(header, now)

    def _on_whole(self, header: Header, now: float) -> None:
        if self._is_envelope(header):
            self._on_piece(now)
            return
        raw = header.build()
        self._answer(raw[:4] if not header.p3 else raw + self._got, now)

    def _on_piece(self, now: float) -> None:
        """One ENVELOPE; the last one runs the command it carried, an empty one closes it."""
        is_empty = not self._got
        if is_empty and self._closed_sw:
            self._status(self._closed_sw, now)
            return
        if not is_empty:
            self._closed_sw = 0
            self._waiting, self._waiting_sw = b"", 0
        self._pieces += self._got
        if len(self._pieces) > self.profile.max_command or not self._pieces:
            self._drop()
            self._status(SW.WRONG_LENGTH, now)
        elif is_empty or (self.profile.envelope_ends == "length" and _is_whole(self._pieces)):
            whole = self._pieces
            self._drop()
            self._answer(whole, now)
            self._closed_sw = self._last_sw
        else:
            self._status(SW.OK, now)

    def _answer(self, apdu: bytes, now: float) -> None:
        data, sw, seconds = self._run(apdu)
        if data:
            self._waiting, self._waiting_sw = data, sw
            size = _low(len(data))
            sw = {"61": _MORE | size, "9F": _MORE_GSM | size}.get(self.profile.announces, sw)
        self._last_sw = sw
        nulls = bytes((NULL,)) * self.profile.nulls_before_status if len(apdu) > _HEADER_SIZE else b""
        self._deliver(nulls + sw.to_bytes(2), seconds, now)

    # ---- the device -------------------------------------------------------------------------------------------

    def _run(self, apdu: bytes) -> tuple[bytes, int, float]:
        """Data, status word and the seconds that the device takes."""
        seconds = self._work(apdu) if self._work else 0.0
        answer = self.device.handle(apdu)
        self._events.append(Ran(apdu))
        return answer[:-2], int.from_bytes(answer[-2:]), seconds

    def _deliver(self, out: bytes, seconds: float, now: float) -> None:
        self._header = None
        if seconds:
            self._busy_until = now + seconds
            self._null_at = now + self.profile.wait / 2
            self._late = out
        else:
            self._say(out, now)


def _low(size: int) -> int:
    """A length in the second byte of 61xx, 9Fxx and 6Cxx; 00 stands for 256 or more."""
    return size if size < MAX_P3 else 0


def _is_whole(apdu: bytes) -> bool:
    try:
        Command.parse(apdu)
    except DecodeError:
        return False
    return True
