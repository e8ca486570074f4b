"""A network of the mesh tests: its owner's memory, and units on one air that are its nodes already."""

from __future__ import annotations

import random
from collections.abc import Generator
from typing import TypeVar

import msgspec

from keywright.crypto.ec import EcPrivateKey
from keywright.errors import KeywrightError
from keywright.mesh.conversation import Conversation, Done, Stopped
from keywright.mesh.database.keys import keyring, owner_stack
from keywright.mesh.database.network import NetworkDatabase
from keywright.mesh.device import Abilities
from keywright.mesh.messages import IV_UPDATE
from keywright.mesh.models import configuration as c
from keywright.mesh.models.composition import Composition, Element
from keywright.mesh.models.configuration_client import Ask
from keywright.mesh.models.state import NetKeyState, NodeMemory, NodeState
from keywright.mesh.network.advertised import Advertised
from keywright.mesh.network.iv_index import IvState
from keywright.mesh.unit import Design, Unit
from keywright.sansio.air import Air, Conditions
from keywright.store.memory import RamMemory

Result = TypeVar("Result")

TIME = "2026-01-02T03:04:05Z"
COMPOSITION = Composition(0x05F1, 1, 2, 100, 0, (Element(0x0100, (0, 2, 0x1000)), Element(0x0101, (0x1000,))))
ONOFF = b"\x00\x10"
NET_KEY = bytes(range(16))


def begin_network(memory: RamMemory | None = None) -> NetworkDatabase:
    """A network with nobody in it."""
    return NetworkDatabase.begin(
        memory or RamMemory(),
        name="line",
        uuid=bytes(range(100, 116)),
        net_key=NET_KEY,
        provisioner_uuid=bytes(16),
        timestamp=TIME,
    )


def uuid_of(number: int) -> bytes:
    """The UUID of a unit."""
    return bytes.fromhex("70cf7c9732a345b6914948100000") + number.to_bytes(2)


class Network:
    """An air, an owner, and nodes. Nobody was provisioned: memories say that it happened."""

    def __init__(
        self,
        nodes: int = 1,
        *,
        conditions: Conditions | None = None,
        seed: int = 1,
        composition: Composition = COMPOSITION,
        abilities: Abilities | None = None,
        next_composition: Composition | None = None,
    ) -> None:
        self._boots = 0
        self.air = Air(random.Random(seed).random, conditions)
        self.owner = RamMemory()
        self.database = begin_network(self.owner)
        self.composition = composition
        self.abilities = abilities or Abilities()
        self.next_composition = next_composition
        self.memories = [RamMemory() for _ in range(nodes)]
        self.units: dict[int, Unit] = {}
        self.places: dict[int, int] = {}
        for number, memory in enumerate(self.memories):
            self._make_node(number, memory)
            self.switch_on(number)

    def _make_node(self, number: int, memory: RamMemory) -> None:
        key, elements = bytes((number,)) * 16, len(self.composition.elements)
        data = self.database.promise(uuid_of(number), elements, key)
        self.database.complete(uuid_of(number), name=f"fob {number}", timestamp=TIME, is_secure=True)
        iv = IvState(int.from_bytes(data.iv_index), bool(data.flags & IV_UPDATE))
        state = NodeState(data.unicast_address, key, {0: NetKeyState(data.net_key)}, iv_state=iv)
        NodeMemory(memory, self.composition).begin(state)

    def switch_on(self, number: int) -> None:
        """Put a unit on the air, as its memory says."""
        self._boots += 1
        self.units[number] = Unit(
            Design(
                uuid_of(number),
                self.composition,
                msgspec.structs.replace(self.abilities, elements=len(self.composition.elements)),
                next_composition=self.next_composition,
            ),
            self.memories[number],
            self.air.now,
            new_key=lambda: EcPrivateKey.generate("P-256"),
            random_bytes=random.Random(number + 1000 * self._boots).randbytes,  # a Link ID is never drawn twice
            random=random.Random(number).random,
        )
        self.places[number] = self.air.join(self.units[number])

    def switch_off(self, number: int) -> None:
        """Cut the power of a unit."""
        self.air.leave(self.places.pop(number))
        del self.units[number]

    def address(self, number: int) -> int:
        """Where a node is."""
        node = self.database.node(uuid_of(number))
        assert node is not None
        return node.address

    def state(self, number: int) -> NodeState:
        """What a node has."""
        state = NodeMemory(self.memories[number], self.composition).state
        assert state is not None
        return state

    def run(self, dialogue: Generator[Ask, c.Message, Result], seconds: float = 3600.0) -> Result:
        """Run a dialogue of the owner; its result, or its error is raised."""
        air, database = self.air, self.database
        talk = Conversation(owner_stack(database, air.now), dialogue, air.now, keyring=lambda: keyring(database))
        place = air.join(Advertised(talk))
        found: list[Done[Result] | Stopped] = []

        def ended() -> bool:
            found.extend(event for event in talk.events() if isinstance(event, Done | Stopped))
            return bool(found)

        air.run(air.now + seconds, ended)
        air.leave(place)
        assert found, "the dialogue did not end"
        if isinstance(found[0], Stopped):
            raise found[0].error
        return found[0].result

    def fails(self, dialogue: Generator[Ask, c.Message, object]) -> KeywrightError:
        """The error of a dialogue that has to fail."""
        try:
            result = self.run(dialogue)
        except KeywrightError as error:
            return error
        raise AssertionError(f"it did not fail: {result}")
