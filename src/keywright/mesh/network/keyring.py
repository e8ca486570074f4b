"""The keys that a node holds, and which of them are tried and used when (MshPRT 3.9.6, 3.11.4)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, final

import msgspec

from keywright.errors import PolicyError
from keywright.mesh.network.keys import AppKey, NetKey

NORMAL: Final = 0
"""Key refresh phase 0: one key."""
DISTRIBUTING: Final = 1
"""Phase 1: both are tried, the old one is used for sending."""
SWITCHED: Final = 2
"""Phase 2: both are tried, the new one is used for sending."""


class Subnet(msgspec.Struct):
    """A network key, the one that replaces it during a key refresh, and the phase of that."""

    key: NetKey
    new_key: NetKey | None = None
    phase: int = NORMAL

    @property
    def sending(self) -> NetKey:
        """The key that PDUs are sent under."""
        return self.new_key if self.new_key is not None and self.phase == SWITCHED else self.key

    @property
    def all(self) -> tuple[NetKey, ...]:
        """The keys that PDUs are opened with."""
        return (self.key,) if self.new_key is None else (self.new_key, self.key)


class Application(msgspec.Struct):
    """An application key, the network it is bound to, and the key that replaces it."""

    net_index: int
    key: AppKey
    new_key: AppKey | None = None

    @property
    def all(self) -> tuple[AppKey, ...]:
        """The keys that messages are opened with."""
        return (self.key,) if self.new_key is None else (self.new_key, self.key)


@final
class Keyring:
    """Network and application keys by index, device keys by the primary address of their node."""

    def __init__(self) -> None:
        self.subnets: dict[int, Subnet] = {}
        self.applications: dict[int, Application] = {}
        self.device_keys: dict[int, AppKey] = {}
        self.new_device_keys: dict[int, AppKey] = {}
        """Candidates that replace device keys: heard, not sent under, until the first message comes under them."""

    def net_keys(self, nid: int) -> Iterator[tuple[int, NetKey]]:
        """Index and key of each network whose NID this is."""
        for index, subnet in self.subnets.items():
            for key in subnet.all:
                if key.nid == nid:
                    yield index, key

    def app_keys(self, aid: int, net_index: int) -> Iterator[tuple[int, AppKey]]:
        """Index and key of each application key with this AID that is bound to the network."""
        for index, application in self.applications.items():
            if application.net_index == net_index:
                for key in application.all:
                    if key.aid == aid:
                        yield index, key

    def sending_net_key(self, net_index: int) -> NetKey:
        """The key of a network for sending. Raises PolicyError if this node has none with that index."""
        subnet = self.subnets.get(net_index)
        if subnet is None:
            raise PolicyError(f"no NetKey with index {net_index:03X}", hint="add it first, or name another network")
        return subnet.sending

    def sending_app_key(self, app_index: int) -> tuple[int, AppKey]:
        """The network index and the key of an application for sending. Errors as `sending_net_key`."""
        application = self.applications.get(app_index)
        if application is None:
            raise PolicyError(f"no AppKey with index {app_index:03X}", hint="add it first, or name another key")
        switched = self.subnets[application.net_index].phase == SWITCHED
        key = application.new_key if application.new_key is not None and switched else application.key
        return application.net_index, key

    def device_key(self, address: int) -> AppKey:
        """The device key of the node with this primary address. Errors as `sending_net_key`."""
        key = self.device_keys.get(address)
        if key is None:
            raise PolicyError(f"no device key for {address:04X}", hint="the node was not provisioned by this network")
        return key
