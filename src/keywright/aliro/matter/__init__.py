"""How a reader is provisioned: the Aliro part of Matter's Door Lock cluster, and its configuration as JSON."""

from keywright.aliro.matter.cluster import Attribute, CredentialType, Invoke, Operation, SetCredential, Slot, Status
from keywright.aliro.matter.configuration import (
    apply_configuration,
    read_configuration,
    write_attributes,
    write_configuration,
)
from keywright.aliro.matter.door_lock import DoorLock, Effects, Outcome, State
from keywright.aliro.matter.keeping import Credential, Limits, ReaderConfig

__all__ = [
    "Attribute",
    "Credential",
    "CredentialType",
    "DoorLock",
    "Effects",
    "Invoke",
    "Limits",
    "Operation",
    "Outcome",
    "ReaderConfig",
    "SetCredential",
    "Slot",
    "State",
    "Status",
    "apply_configuration",
    "read_configuration",
    "write_attributes",
    "write_configuration",
]
