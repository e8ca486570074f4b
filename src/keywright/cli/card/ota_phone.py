"""A phone around a card in a reader: what a driver of `send_script` needs."""

from __future__ import annotations

from typing import Any, final

from keywright.cli.card.connection import Card
from keywright.cli.card.ota_options import Counting
from keywright.scp.scp80 import sms
from keywright.scp.scp80.concatenation import Reassembly, Whole
from keywright.scp.scp80.download import packet_messages
from keywright.scp.scp80.host import Channel, Commit, Request, Transmit
from keywright.scp.scp80.messages import COMMAND_IE, RESPONSE_IE
from keywright.scp.scp80.terminal import Handed, hand_in, switch_on


@final
class Phone:
    """Plays the phone around a card: packets go in as messages, what the card answers comes back."""

    def __init__(self, card: Card, sender: str) -> None:
        self._card = card
        self._sender = sms.Address(sender)
        self._reference = 0
        self._answers: dict[Channel, list[bytes]] = {Channel.REPORT: [], Channel.SUBMIT: []}
        self._parts = Reassembly(RESPONSE_IE)
        self._is_on = False
        self.packets: list[dict[str, Any]] = []

    def do(self, counting: Counting, request: Request) -> bytes | None:
        """What `send_script` asks for. Raises LinkError, StatusError, StoreError."""
        if isinstance(request, Commit):
            counting.commit(request.counter)
            return None
        if isinstance(request, Transmit):
            self._transmit(request.packet)
            first = self._next(Channel.REPORT) or self._next(Channel.SUBMIT)
        else:
            first = self._next(request.answer)
        if first is not None:
            self.packets[-1]["answer"] = first
        return first

    def _next(self, channel: Channel) -> bytes | None:
        waiting = self._answers.get(channel)
        return waiting.pop(0) if waiting else None

    def _transmit(self, packet: bytes) -> None:
        if not self._is_on:
            self._take(Handed(b"", self._card.ask(switch_on())))
            self._is_on = True
        for waiting in self._answers.values():
            waiting.clear()  # to packets before this one
        self._reference = (self._reference + 1) & 0xFF
        messages = packet_messages(packet, self._sender, self._reference, COMMAND_IE)
        self.packets.append({"packet": packet, "messages": len(messages), "answer": None})
        for message in messages:
            self._take(self._card.ask(hand_in(message)))

    def _take(self, handed: Handed) -> None:
        if handed.report:
            self._answers[Channel.REPORT].append(handed.report)
        for submit in handed.sent:
            self._parts.receive(submit.build(), 0)
        self._answers[Channel.SUBMIT] += [one.packet for one in self._parts.events() if isinstance(one, Whole)]
