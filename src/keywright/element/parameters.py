"""System specific parameters as the registry keeps them: one string of BER-TLV for an entry (GPCS table 11-49)."""

from __future__ import annotations

import functools
import operator
from typing import Final

from keywright.codec.tlv import item, items
from keywright.element.registry import Registry
from keywright.errors import DecodeError
from keywright.globalplatform.install import InstallParameters, InstallSystemParameters, RegistryParameters
from keywright.globalplatform.privileges import Privilege
from keywright.iso7816.refusal import Refusal
from keywright.iso7816.status import SW

GLOBAL_SERVICE: Final = 0xCB
IMPLICIT_SELECTION: Final = 0xCF
RESTRICT: Final = 0xD9
UICC_TOOLKIT: Final = 0xEA
SIM_TOOLKIT: Final = 0xCA
"""Toolkit parameters, with TARs and minimum security level, as they came in EA{80} and CA (TS 102 226 8.2.1.3.2)."""
_KEPT: Final = (
    (0xC7, "volatile_quota"),
    (0xC8, "non_volatile_quota"),
    (0xD7, "volatile_reserved"),
    (0xD8, "non_volatile_reserved"),
    (RESTRICT, "restrict"),
)


def system_items(parameters: InstallParameters) -> bytes:
    """What an entry keeps of INSTALL [for install]."""
    system = parameters.system
    uicc = parameters.uicc.toolkit if parameters.uicc is not None else None
    sim = parameters.sim_toolkit if system is None or system.toolkit is None else system.toolkit
    toolkits = [item(tag, value) for tag, value in ((UICC_TOOLKIT, uicc), (SIM_TOOLKIT, sim)) if value is not None]
    return (_kept(system) if system is not None else b"") + b"".join(toolkits)


def registry_parameters(data: bytes) -> bytes:
    """What an entry keeps of INSTALL [for make selectable], [for registry update] and [for extradition].

    Refuses with 6A80 for data that do not parse. D9, CB and CF are read inside EF and beside it.
    """
    try:
        parameters = RegistryParameters.parse(data)
    except DecodeError:
        raise Refusal(SW.INCORRECT_DATA) from None
    inside = _kept(parameters.system) if parameters.system is not None else b""
    restrict = b"" if parameters.restrict is None else item(RESTRICT, parameters.restrict)
    services = b"".join(item(GLOBAL_SERVICE, value) for value in parameters.global_services)
    return inside + restrict + services + b"".join(item(IMPLICIT_SELECTION, v) for v in parameters.implicit_selection)


def replaced(old: bytes, new: bytes) -> bytes:
    """Parameters with those of `new` in place of the same tags; a restriction (D9) stays and is only added to."""
    tags = {number for number, _ in items(new)}
    if RESTRICT in tags:
        bits = [int.from_bytes(value) for number, value in (*items(old), *items(new)) if number == RESTRICT]
        together = functools.reduce(operator.or_, bits)
        others = b"".join(item(number, value) for number, value in items(new) if number != RESTRICT)
        new = others + item(RESTRICT, together.to_bytes(max(1, (together.bit_length() + 7) // 8)))
    return b"".join(item(number, value) for number, value in items(old) if number not in tags) + new


def values(parameters: bytes, tag: int) -> tuple[bytes, ...]:
    """Every value of a tag."""
    return tuple(value for number, value in items(parameters) if number == tag)


def check_services(registry: Registry, aid: bytes, privileges: Privilege, parameters: bytes) -> None:
    """Global services and implicit selections belong to one application each (GPCS 8.1.3, 6.4.1.1).

    Refuses with 6A80 for a service of an application without the privilege, 6985 for what another one has.
    """
    services, selections = (set(values(parameters, tag)) for tag in (GLOBAL_SERVICE, IMPLICIT_SELECTION))
    if services and Privilege.GLOBAL_SERVICE not in privileges:
        raise Refusal(SW.INCORRECT_DATA)
    if any(len(value) != 1 for value in selections):
        raise Refusal(SW.INCORRECT_DATA)
    for entry in registry:
        if entry.aid == aid or not entry.parameters:
            continue
        if services & set(values(entry.parameters, GLOBAL_SERVICE)):
            raise Refusal(SW.CONDITIONS_NOT_SATISFIED)
        if selections & set(values(entry.parameters, IMPLICIT_SELECTION)):
            raise Refusal(SW.CONDITIONS_NOT_SATISFIED)


def _kept(system: InstallSystemParameters) -> bytes:
    single = [(tag, getattr(system, name)) for tag, name in _KEPT]
    services = b"".join(item(GLOBAL_SERVICE, value) for value in system.global_services)
    selections = b"".join(item(IMPLICIT_SELECTION, value) for value in system.implicit_selection)
    return b"".join(item(tag, value) for tag, value in single if value is not None) + services + selections
