"""What the OPEN does for applications: their own life cycle, global services, the trusted path (GPCS 5.3, 6.6, 8.1)."""

from __future__ import annotations

from typing import final

from keywright.element.applet import Context
from keywright.element.card import Card
from keywright.element.parameters import GLOBAL_SERVICE, values
from keywright.element.registry import LOCKED, changed
from keywright.element.rights import held
from keywright.element.state import REGISTRY, Kind, RegistryEntry, Transaction
from keywright.globalplatform.life_cycle import ApplicationState, may_set_application
from keywright.globalplatform.privileges import Privilege
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.refusal import Refusal
from keywright.iso7816.status import SW


@final
class Services:
    """`applet.Surroundings` of one card."""

    __slots__ = ("_card",)

    def __init__(self, card: Card) -> None:
        self._card = card

    def state(self, aid: bytes, change: Transaction, /) -> int:
        """Life cycle state of an application."""
        return self._entry(aid, change).life_cycle

    def set_state(self, aid: bytes, state: int, change: Transaction, /) -> None:
        """An application sets its own state (GPCS 5.3.1). Refuses with 6985 for what the table does not have."""
        entry = self._entry(aid, change)
        if not may_set_application(entry.life_cycle, state, by_itself=True):
            raise Refusal(SW.CONDITIONS_NOT_SATISFIED)
        registry = self._card.registry(change).with_entry(changed(entry, life_cycle=state))
        change.write(REGISTRY, registry.build())

    def serve(self, context: Context, service: bytes, request: bytes, /) -> bytes:
        """Ask the application that offers a global service. Refuses with 6A88 when none can."""
        for entry in self._card.registry(context.change):
            if entry.parameters and service in values(entry.parameters, GLOBAL_SERVICE) and _is_usable(entry):
                provide = getattr(self._card.applet(entry), "provide", None)
                if provide is not None:
                    return bytes(provide(service, request, context.on_behalf_of(entry.aid)))
        raise Refusal(SW.REFERENCED_DATA_NOT_FOUND)

    def forward(self, context: Context, aid: bytes, command: Command, /) -> Response:
        """Hand a command on, from an application with the trusted path privilege (GPCS 6.6.2).

        Refuses with 6985 without it, or when the receiver is not usable, or of another security domain.
        """
        sender = self._entry(context.aid, context.change)
        receiver = self._card.registry(context.change).application(aid)
        if Privilege.TRUSTED_PATH not in held(sender) or receiver is None or receiver.domain != sender.domain:
            raise Refusal(SW.CONDITIONS_NOT_SATISFIED)
        applet = self._card.applet(receiver) if _is_usable(receiver) else None
        if applet is None:
            raise Refusal(SW.CONDITIONS_NOT_SATISFIED)
        return applet.process(command, context.on_behalf_of(aid))

    def _entry(self, aid: bytes, change: Transaction) -> RegistryEntry:
        entry = self._card.registry(change).application(aid)
        if entry is None or entry.kind != Kind.APPLICATION:
            raise Refusal(SW.CONDITIONS_NOT_SATISFIED)
        return entry


def _is_usable(entry: RegistryEntry) -> bool:
    return not entry.life_cycle & LOCKED and entry.life_cycle != ApplicationState.INSTALLED
