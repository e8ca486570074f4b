"""The owner of a network at a radio: its stack and beacons, and dialogues with its nodes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Final, TypeVar, final

from keywright.cli.mesh.options import radio_at
from keywright.errors import LinkError
from keywright.fob.mesh_device import Attendant
from keywright.fob.mesh_radio import Radio
from keywright.mesh.beacons import NetworkState
from keywright.mesh.changing import Visit
from keywright.mesh.conversation import Conversation, Done, Stopped
from keywright.mesh.database.cdb import NodeEntry, uuid_bytes
from keywright.mesh.database.iv_age import iv_since
from keywright.mesh.database.keys import keyring, owner_stack
from keywright.mesh.database.network import NetworkDatabase
from keywright.mesh.messages import IV_UPDATE
from keywright.mesh.models.configuration_client import Dialogue
from keywright.mesh.network.beaconing import Beaconing, Kinds
from keywright.mesh.network.stack import Stack
from keywright.production.mesh_network import opened_network, timestamp
from keywright.sansio.endpoint import Endpoint

Result = TypeVar("Result")

GOODBYE_S: Final = 0.5
"""For what is left to send, as the acknowledgement of an answer in segments."""
_LONGEST_S: Final = 7 * 86400.0
"""Every dialogue ends of itself: it gives up on each node after some tries."""


@final
class Owner:
    """Who asks the nodes of a network; one at a time, for its sequence numbers are counted here."""

    def __init__(self, database: NetworkDatabase, radio: Radio, *, test_mode: bool = False) -> None:
        """test_mode: the IV index changes without the 96 hours (MshPRT 3.11.5.1)."""
        self.database = database
        self.radio = radio
        self.agreeing = 0
        """Beacons that were heard, and say of the IV index what the network's memory says."""
        self._test_mode = test_mode
        self._is_in_network = False

    @cached_property
    def stack(self) -> Stack:
        """The owner's stack; from then on an address of the network is its own."""
        self._is_in_network = True
        now, wall = self.radio.now, time.time()
        return owner_stack(self.database, now, iv_since=now - (wall - iv_since(self.database, wall)))

    @cached_property
    def beaconing(self) -> Beaconing:
        """What it says and hears of the network's state."""
        return Beaconing(
            self.stack,
            self.radio.now,
            kinds=lambda: Kinds(secure=True),
            test_mode=self._test_mode,
            heard=self._heard,
        )

    @property
    def timestamp(self) -> str:
        """Now, as the database writes it."""
        return timestamp(time.time())

    def visit(self, node: NodeEntry) -> Visit:
        """A node, for the dialogues of `mesh.changing`."""
        return Visit(self.database, uuid_bytes(node.uuid), self.timestamp)

    def ask(self, dialogue: Dialogue[Result]) -> Result:
        """Run a dialogue with nodes. Raises what it raises, and LinkError for a way into the network that is lost."""
        return self._end_of(Conversation(self.stack, dialogue, self.radio.now, keyring=lambda: keyring(self.database)))

    def ask_as_is(self, dialogue: Dialogue[Result]) -> Result:
        """The same for a dialogue that sets the stack's keys itself."""
        return self._end_of(Conversation(self.stack, dialogue, self.radio.now))

    def _end_of(self, talk: Conversation[Result]) -> Result:
        end = self.run(talk, _LONGEST_S, lambda event: isinstance(event, Done | Stopped))
        if isinstance(end, Stopped):
            raise end.error
        result: Result = end.result
        return result

    def run(self, endpoint: Endpoint[Any], seconds: float, is_last: Callable[[Any], bool]) -> Any:
        """Run what speaks over the stack, with the keys that it has, until it tells this event.

        Raises LinkError if it does not.
        """
        on_air = self._on_air(endpoint)
        found: list[Any] = []

        def is_over() -> bool:
            found.extend(event for event in endpoint.events() if is_last(event))
            return bool(found)

        self.radio.run(on_air, seconds, is_over)
        if not found:
            raise LinkError("the way into the network was lost", hint="see that the proxy is on, and try again")
        self.radio.run(on_air, GOODBYE_S)
        return found[0]

    def to_network(self, endpoint: Endpoint[Any]) -> Endpoint[Any]:
        """What the radio is to run, so that an endpoint over the stack reaches the network, with its keys of now.

        Raises LinkError.
        """
        self.stack.keyring = keyring(self.database)
        return self._on_air(endpoint)

    def _on_air(self, endpoint: Endpoint[Any]) -> Endpoint[Any]:
        addresses = [node.address for node in self.database.cdb.nodes]
        return self.radio.to_network(self.stack, endpoint, self.beaconing, addresses)

    def note_iv_index(self) -> None:
        """Write since when the IV index is as it is, if it has changed. Raises StoreError."""
        if self._is_in_network:
            iv_since(self.database, time.time())

    def _heard(self, _net_index: int, state: NetworkState) -> None:
        iv = self.stack.iv_index.state
        self.agreeing += (state.iv_index, bool(state.flags & IV_UPDATE)) == (iv.index, iv.is_updating)


@contextmanager
def owner_at(
    network: Path, link: str, trace: Path | None, attendant: Attendant | None = None, *, test_mode: bool = False
) -> Iterator[Owner]:
    """The owner of a network's file at a radio. Raises as `opened_network` and `radio_at`."""
    with opened_network(network) as database, radio_at(link, trace, attendant) as radio:
        owner = Owner(database, radio, test_mode=test_mode)
        try:
            yield owner
        finally:
            owner.note_iv_index()
