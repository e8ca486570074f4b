"""The Configuration Client: dialogues with the Configuration Server of a node (MshPRT 4.4.2).

Each yields `Ask`, is sent the message that answers it, and returns what was wanted; `conversation` runs it over a
stack. A node that refuses is a StatusError with message, status and clause; one that is silent is a LinkError.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

import msgspec

from keywright.errors import DecodeError, StatusError, WireError
from keywright.mesh.models import configuration as c
from keywright.mesh.models.composition import Composition, parse_composition
from keywright.mesh.models.configuration import STATUS_NAMES, Status
from keywright.mesh.models.indexes import pack_indexes, unpack_index_list

Result = TypeVar("Result")


class Patience(NamedTuple):
    """How long an answer is waited for, and how often the question is sent. The standard gives no values."""

    timeout_s: float = 5.0
    tries: int = 5


class Target(NamedTuple):
    """A node, over which of its networks it is asked, and how patiently."""

    address: int
    net_index: int = 0
    patience: Patience = Patience()


class Ask(msgspec.Struct, frozen=True):
    """A message to a node under its device key. The dialogue is sent the answer, or LinkError is thrown into it."""

    target: Target
    message: c.Message

    def is_answered_by(self, answer: c.Message) -> bool:
        """Whether this is the answer, not one to an earlier question that comes late."""
        if not isinstance(answer, ANSWERS[type(self.message)]):
            return False
        names = _ECHOED + _ALSO_ECHOED.get(type(answer), ())
        if any(
            getattr(self.message, name) != getattr(answer, name)
            for name in names
            if hasattr(self.message, name) and hasattr(answer, name)
        ):
            return False
        if isinstance(self.message, c.KeyRefreshPhaseSet) and isinstance(answer, c.KeyRefreshPhaseStatus):
            return answer.status != Status.SUCCESS or answer.phase == _PHASE_AFTER.get(self.message.transition)
        return True


Dialogue: TypeAlias = Generator[Ask, c.Message, Result]

_ECHOED: Final = ("element", "model", "net_index", "indexes")
_ALSO_ECHOED: Final[dict[type, tuple[str, ...]]] = {
    c.ModelAppStatus: ("app_index",),
    c.SubscriptionStatus: ("address",),
}
_PHASE_AFTER: Final = {2: 2, 3: 0}
_ANSWERED: Final[dict[type[c.Message], tuple[type[c.Message], ...]]] = {
    c.BeaconStatus: (c.BeaconGet, c.BeaconSet),
    c.CompositionDataStatus: (c.CompositionDataGet,),
    c.DefaultTtlStatus: (c.DefaultTtlGet, c.DefaultTtlSet),
    c.FriendStatus: (c.FriendGet, c.FriendSet),
    c.GattProxyStatus: (c.GattProxyGet, c.GattProxySet),
    c.KeyRefreshPhaseStatus: (c.KeyRefreshPhaseGet, c.KeyRefreshPhaseSet),
    c.PublicationStatus: (c.PublicationGet, c.PublicationSet, c.PublicationVirtualAddressSet),
    c.SubscriptionStatus: (
        c.SubscriptionAdd,
        c.SubscriptionDelete,
        c.SubscriptionDeleteAll,
        c.SubscriptionOverwrite,
        c.SubscriptionVirtualAddressAdd,
        c.SubscriptionVirtualAddressDelete,
        c.SubscriptionVirtualAddressOverwrite,
    ),
    c.SigModelSubscriptionList: (c.SigModelSubscriptionGet,),
    c.VendorModelSubscriptionList: (c.VendorModelSubscriptionGet,),
    c.NetworkTransmitStatus: (c.NetworkTransmitGet, c.NetworkTransmitSet),
    c.RelayStatus: (c.RelayGet, c.RelaySet),
    c.ModelAppStatus: (c.ModelAppBind, c.ModelAppUnbind),
    c.SigModelAppList: (c.SigModelAppGet,),
    c.VendorModelAppList: (c.VendorModelAppGet,),
    c.NetKeyStatus: (c.NetKeyAdd, c.NetKeyUpdate, c.NetKeyDelete),
    c.NetKeyList: (c.NetKeyGet,),
    c.AppKeyStatus: (c.AppKeyAdd, c.AppKeyUpdate, c.AppKeyDelete),
    c.AppKeyList: (c.AppKeyGet,),
    c.NodeIdentityStatus: (c.NodeIdentityGet, c.NodeIdentitySet),
    c.NodeResetStatus: (c.NodeReset,),
}
ANSWERS: Final = {question: answer for answer, questions in _ANSWERED.items() for question in questions}
"""Which message answers which."""


def ask(target: Target, message: c.Message) -> Dialogue[Any]:
    """Any Configuration message; the answer. Raises StatusError if the node refuses, LinkError if it is silent."""
    answer = yield Ask(target, message)
    status = getattr(answer, "status", Status.SUCCESS)
    if status:
        raise StatusError(
            status,
            f"{describe(message)} to {target.address:04X}",
            meaning=f"{STATUS_NAMES.get(status, 'reserved')}, MshPRT 4.3.5",
            hint=_HINTS.get(status, ""),
        )
    return answer


def describe(message: c.Message) -> str:
    """What the standard calls a message."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(message).__name__)
    for found, word in (("App Key", "AppKey"), ("Net Key", "NetKey"), ("Gatt", "GATT"), ("Ttl", "TTL"), ("Sig", "SIG")):
        spaced = spaced.replace(found, word)
    return f"Config {spaced}"


def read_composition(target: Target) -> Dialogue[Composition]:
    """Composition Data page 0. Raises WireError for a page that does not read, and as `ask`."""
    status: c.CompositionDataStatus = yield from ask(target, c.CompositionDataGet(0))
    try:
        if not status.page:
            return parse_composition(status.data)
        why = f"page {status.page}, not 0"
    except DecodeError as error:
        why = str(error)
    raise WireError(
        f"Config Composition Data Status of {target.address:04X}: {why} (MshPRT 4.2.2.1)",
        hint="the node's firmware is at fault; it can be reset, not configured",
    )


def read_net_keys(target: Target) -> Dialogue[tuple[int, ...]]:
    """Indexes of the node's NetKeys. Raises DecodeError for a list of no such length, and as `ask`."""
    answer: c.NetKeyList = yield from ask(target, c.NetKeyGet())
    return unpack_index_list(answer.indexes)


def read_app_keys(target: Target, net_index: int) -> Dialogue[tuple[int, ...]]:
    """Indexes of the node's AppKeys of a NetKey. Errors as `read_net_keys`."""
    answer: c.AppKeyList = yield from ask(target, c.AppKeyGet(net_index))
    return unpack_index_list(answer.indexes)


def add_app_key(target: Target, app_index: int, key: bytes) -> Dialogue[None]:
    """Give the node an AppKey of the network it is asked over. Errors as `ask`."""
    yield from ask(target, c.AppKeyAdd(pack_indexes(target.net_index, app_index), key))


def bind(target: Target, element: int, model: bytes, app_index: int) -> Dialogue[None]:
    """Let a model use an AppKey. element: its unicast address. Errors as `ask`."""
    yield from ask(target, c.ModelAppBind(element, app_index, model))


def publish(target: Target, publication: c.PublicationSet) -> Dialogue[None]:
    """Let a model publish. Errors as `ask`."""
    yield from ask(target, publication)


def subscribe(target: Target, element: int, model: bytes, group: int) -> Dialogue[None]:
    """Let a model hear a group. Errors as `ask`."""
    yield from ask(target, c.SubscriptionAdd(element, group, model))


def reset(target: Target) -> Dialogue[None]:
    """Let the node forget everything. Errors as `ask`: a node whose answer was lost is silent for ever."""
    yield from ask(target, c.NodeReset())


_HINTS: Final = {
    Status.INVALID_ADDRESS: "read the node's Composition Data: how many elements has it?",
    Status.INVALID_MODEL: "read the node's Composition Data: which models has this element?",
    Status.INVALID_APPKEY_INDEX: "add the AppKey to the node, or bind it to the model first",
    Status.INVALID_NETKEY_INDEX: "add the NetKey to the node first",
    Status.INSUFFICIENT_RESOURCES: "delete from the node what it no longer needs",
    Status.KEY_INDEX_ALREADY_STORED: "the node has another key with this index: refresh it, or delete it",
    Status.STORAGE_FAILURE: "the node's memory took nothing; try again, or replace the node",
    Status.CANNOT_UPDATE: "ask for the key refresh phase of the node",
    Status.CANNOT_REMOVE: "ask over another network: the key that a message came under cannot be deleted",
    Status.TEMPORARILY_UNABLE: "try again later",
}
