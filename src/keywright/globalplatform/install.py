"""INSTALL on the wire, in all its roles (GPCS 11.5): data fields, parameters and what P1 and P2 say.

Lengths are read as 00-7F, 80 (128 on one byte), 81 xx or 82 xxxx, and written in the shortest form of TLV: 8180 for 128
(GPCS 11.5.2.3). A field that is there but empty has the length 00; a token that is not needed is such a field.
"""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

from keywright.codec.record import Record, prefixed
from keywright.codec.tlv import Others, Template, tag

Lv: TypeAlias = Annotated[bytes, prefixed("lv")]
"""Length and value as INSTALL has them."""


class InstallFor:
    """P1 of INSTALL: what it is for (GPCS 11.5.2.1). Bit 80 on top: more of this command follows."""

    LOAD: Final = 0x02
    INSTALL: Final = 0x04
    MAKE_SELECTABLE: Final = 0x08
    INSTALL_AND_MAKE_SELECTABLE: Final = 0x0C
    EXTRADITION: Final = 0x10
    PERSONALIZATION: Final = 0x20
    REGISTRY_UPDATE: Final = 0x40
    LOAD_INSTALL_AND_MAKE_SELECTABLE: Final = 0x0E


LEGAL_INSTALLS: Final = frozenset(
    {
        InstallFor.LOAD,
        InstallFor.INSTALL,
        InstallFor.MAKE_SELECTABLE,
        InstallFor.INSTALL_AND_MAKE_SELECTABLE,
        InstallFor.LOAD_INSTALL_AND_MAKE_SELECTABLE,
        InstallFor.EXTRADITION,
        InstallFor.PERSONALIZATION,
        InstallFor.REGISTRY_UPDATE,
    }
)
"""Every P1 that INSTALL may have, bit 80 aside."""


class Combined:
    """P2 of INSTALL (GPCS 11.5.2.2): its part in a combined load, install and make selectable process."""

    NO: Final = 0x00
    FIRST: Final = 0x01
    """INSTALL [for load] opens the process."""
    LAST: Final = 0x03
    """INSTALL [for install and make selectable] ends it."""


class InstallForLoad(Record, frozen=True):
    """Data of INSTALL [for load] (GPCS 11.5.2.3.1). An empty security domain means the one that is selected."""

    load_file: Lv
    security_domain: Lv = b""
    hash: Lv = b""
    parameters: Lv = b""
    token: Lv = b""


class InstallForInstall(Record, frozen=True):
    """Data of INSTALL [for install], also with make selectable (GPCS 11.5.2.3.2).

    privileges: 1 or 3 bytes. parameters: `InstallParameters`, whose C9 is mandatory and may be empty.
    """

    load_file: Lv
    module: Lv
    instance: Lv
    privileges: Lv
    parameters: Lv = b"\xc9\x00"
    token: Lv = b""


class InstallForMakeSelectable(Record, frozen=True):
    """Data of INSTALL [for make selectable] (GPCS 11.5.2.3.3); the first two fields stay empty."""

    no_load_file: Lv
    no_module: Lv
    instance: Lv
    privileges: Lv
    parameters: Lv = b""
    token: Lv = b""


class InstallForExtradition(Record, frozen=True):
    """Data of INSTALL [for extradition] (GPCS 11.5.2.3.4): `application` moves under `security_domain`."""

    security_domain: Lv
    no_module: Lv
    application: Lv
    no_privileges: Lv = b""
    parameters: Lv = b""
    token: Lv = b""


class InstallForRegistryUpdate(Record, frozen=True):
    """Data of INSTALL [for registry update] (GPCS 11.5.2.3.5). Empty fields leave the registry as it is."""

    security_domain: Lv
    no_module: Lv
    application: Lv
    privileges: Lv = b""
    parameters: Lv = b""
    token: Lv = b""


class InstallForPersonalization(Record, frozen=True):
    """Data of INSTALL [for personalization] (GPCS 11.5.2.3.6): what STORE DATA sends next goes to `application`."""

    no_load_file: Lv
    no_module: Lv
    application: Lv
    no_privileges: Lv = b""
    no_parameters: Lv = b""
    no_token: Lv = b""


class LoadSystemParameters(Template, frozen=True):
    """Inside EF of INSTALL [for load]: memory that the load file needs, bytes (GPCS 11.5.2.3.7)."""

    code_bytes: Annotated[bytes | None, tag(0xC6)] = None
    volatile_bytes: Annotated[bytes | None, tag(0xC7)] = None
    non_volatile_bytes: Annotated[bytes | None, tag(0xC8)] = None
    data_format: Annotated[bytes | None, tag(0xCD)] = None
    others: Annotated[tuple[tuple[int, bytes], ...], Others()] = ()


class ControlReference(Template, frozen=True):
    """Inside B6: which token this is (GPCS 11.5.2.3.7). Its values enter the confirmation of a receipt.

    issuer: IIN of the security domain provider (42). image: CIN (45). application_provider: 5F20. token: token
    identifier or number (93).
    """

    issuer: Annotated[bytes | None, tag(0x42)] = None
    image: Annotated[bytes | None, tag(0x45)] = None
    application_provider: Annotated[bytes | None, tag(0x5F20)] = None
    token: Annotated[bytes | None, tag(0x93)] = None
    others: Annotated[tuple[tuple[int, bytes], ...], Others()] = ()


class LoadParameters(Template, frozen=True):
    """Parameters of INSTALL [for load]."""

    system: Annotated[LoadSystemParameters | None, tag(0xEF)] = None
    control: Annotated[ControlReference | None, tag(0xB6)] = None
    others: Annotated[tuple[tuple[int, bytes], ...], Others()] = ()


class InstallSystemParameters(Template, frozen=True):
    """Inside EF of INSTALL [for install], [for make selectable] and [for registry update] (GPCS 11.5.2.3.7).

    volatile and non-volatile quota and reservation are byte counts of 2 or 4 bytes; `memory_quota` reads them.
    toolkit: SIM file access and toolkit parameters (TS 102 226), inside EF as the older specification has it.
    restrict: what is no longer allowed, a bit each (D9; which bit is which stands in the card profile).
    """

    volatile_quota: Annotated[bytes | None, tag(0xC7)] = None
    non_volatile_quota: Annotated[bytes | None, tag(0xC8)] = None
    toolkit: Annotated[bytes | None, tag(0xCA)] = None
    global_services: Annotated[tuple[bytes, ...], tag(0xCB)] = ()
    implicit_selection: Annotated[tuple[bytes, ...], tag(0xCF)] = ()
    volatile_reserved: Annotated[bytes | None, tag(0xD7)] = None
    non_volatile_reserved: Annotated[bytes | None, tag(0xD8)] = None
    restrict: Annotated[bytes | None, tag(0xD9)] = None
    others: Annotated[tuple[tuple[int, bytes], ...], Others()] = ()


class UiccParameters(Template, frozen=True):
    """Inside EA: UICC system specific parameters (TS 102 226 8.2.1.3.2.2)."""

    toolkit: Annotated[bytes | None, tag(0x80)] = None
    access: Annotated[bytes | None, tag(0x81)] = None
    administrative_access: Annotated[bytes | None, tag(0x82)] = None
    others: Annotated[tuple[tuple[int, bytes], ...], Others()] = ()


class InstallParameters(Template, frozen=True):
    """Parameters of INSTALL [for install], with or without make selectable (GPCS 11.5.2.3.7).

    application: what the applet is given (C9); mandatory there, and it may be empty. sim_toolkit: CA beside EF.
    """

    application: Annotated[bytes | None, tag(0xC9)] = None
    system: Annotated[InstallSystemParameters | None, tag(0xEF)] = None
    uicc: Annotated[UiccParameters | None, tag(0xEA)] = None
    sim_toolkit: Annotated[bytes | None, tag(0xCA)] = None
    control: Annotated[ControlReference | None, tag(0xB6)] = None
    others: Annotated[tuple[tuple[int, bytes], ...], Others()] = ()


class RegistryParameters(Template, frozen=True):
    """Parameters of INSTALL [for make selectable], [for registry update] and [for extradition].

    The system parameters stand in EF. Some hosts leave EF out and put D9, CB and CF directly: they are read too.
    """

    system: Annotated[InstallSystemParameters | None, tag(0xEF)] = None
    restrict: Annotated[bytes | None, tag(0xD9)] = None
    global_services: Annotated[tuple[bytes, ...], tag(0xCB)] = ()
    implicit_selection: Annotated[tuple[bytes, ...], tag(0xCF)] = ()
    control: Annotated[ControlReference | None, tag(0xB6)] = None
    others: Annotated[tuple[tuple[int, bytes], ...], Others()] = ()


class ImplicitSelection:
    """Bits of CF: on which interface and channel the application is selected without SELECT (GPCS 11.1.7)."""

    CONTACTLESS: Final = 0x80
    CONTACT: Final = 0x40
    CHANNEL: Final = 0x1F
    """Mask of the logical channel number."""


InstallData: TypeAlias = (
    InstallForLoad
    | InstallForInstall
    | InstallForMakeSelectable
    | InstallForExtradition
    | InstallForRegistryUpdate
    | InstallForPersonalization
)

_DATA: Final[dict[int, type[InstallData]]] = {
    InstallFor.LOAD: InstallForLoad,
    InstallFor.INSTALL: InstallForInstall,
    InstallFor.MAKE_SELECTABLE: InstallForMakeSelectable,
    InstallFor.INSTALL_AND_MAKE_SELECTABLE: InstallForInstall,
    InstallFor.LOAD_INSTALL_AND_MAKE_SELECTABLE: InstallForInstall,
    InstallFor.EXTRADITION: InstallForExtradition,
    InstallFor.REGISTRY_UPDATE: InstallForRegistryUpdate,
    InstallFor.PERSONALIZATION: InstallForPersonalization,
}


def install_data(p1: int, p2: int = Combined.NO) -> type[InstallData] | None:
    """The class of the data of INSTALL with this P1 (bit 80 ignored) and P2; None when there is no such command.

    0E, load, install and make selectable, is a P1 of both commands of a combined process: with P2 01 its data are those
    of INSTALL [for load], with 03 those of INSTALL [for install].
    """
    role = p1 & 0x7F
    if role == InstallFor.LOAD_INSTALL_AND_MAKE_SELECTABLE:
        ends: dict[int, type[InstallData]] = {Combined.FIRST: InstallForLoad, Combined.LAST: InstallForInstall}
        return ends.get(p2)
    kind = _DATA.get(role)
    if p2 == Combined.FIRST:
        return kind if role == InstallFor.LOAD else None
    if p2 == Combined.LAST:
        return kind if kind is InstallForInstall else None
    return kind if p2 == Combined.NO else None


def memory_quota(value: bytes | None) -> int | None:
    """Bytes that a quota of 2 or 4 bytes grants; None when there is none. Raises ValueError for another size."""
    if value is None:
        return None
    if len(value) not in (2, 4):
        raise ValueError(f"a memory size has 2 or 4 bytes, not {len(value)}")
    return int.from_bytes(value)
