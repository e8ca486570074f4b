"""The header of a command, field by field: class, instruction, P1 and P2 as its instruction reads them, Lc and Le."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from keywright.globalplatform import names
from keywright.globalplatform.channel_management import CLOSE
from keywright.globalplatform.deletion import RELATED_OBJECTS
from keywright.globalplatform.install import Combined, InstallFor
from keywright.globalplatform.load_file import LAST_BLOCK
from keywright.globalplatform.messages import MORE_COMMANDS, MULTIPLE_KEYS, Ins, StatusScope, StoreData
from keywright.iso7816.apdu import EXTENDED_LE, SHORT_LE, Command
from keywright.iso7816.channels import channel_of, is_chained, is_gp, is_secured, is_valid
from keywright.scp.level import Level

Words = tuple[str, str]
"""What P1 and P2 say; empty where there is nothing to say."""

BEGIN_R_MAC_SESSION: Final = 0x7A
END_R_MAC_SESSION: Final = 0x78
_ISO_SM: Final = 0x08
_CHANNEL_FURTHER: Final = 0x40

SCOPES: Final = {
    StatusScope.ISSUER_DOMAIN: "issuer security domain",
    StatusScope.APPLICATIONS: "applications",
    StatusScope.LOAD_FILES: "load files",
    StatusScope.LOAD_FILES_AND_MODULES: "load files and modules",
    0x60: "security domain and its applications",
}
INSTALLS: Final = {
    InstallFor.LOAD: "for load",
    InstallFor.INSTALL: "for install",
    InstallFor.MAKE_SELECTABLE: "for make selectable",
    InstallFor.INSTALL_AND_MAKE_SELECTABLE: "for install and make selectable",
    InstallFor.LOAD_INSTALL_AND_MAKE_SELECTABLE: "for load, install and make selectable",
    InstallFor.EXTRADITION: "for extradition",
    InstallFor.PERSONALIZATION: "for personalization",
    InstallFor.REGISTRY_UPDATE: "for registry update",
}
_COMBINED: Final = {Combined.NO: "", Combined.FIRST: "first of a combined process", Combined.LAST: "last of it"}
_CIPHERED: Final = {0x00: "", 0x20: "encryption as the application says", 0x60: "encrypted"}
_ENCRYPTION: Final = 0x60


def header(command: Command) -> Iterator[tuple[str, str]]:
    """Name and value of every field of the header; values begin with the byte itself."""
    p1, p2 = PARAMETERS.get(command.ins, _nothing)(command)
    yield "class", f"{command.cla:02X} {_class(command.cla)}"
    yield "P1", f"{command.p1:02X} {p1}".rstrip()
    yield "P2", f"{command.p2:02X} {p2}".rstrip()
    if command.data:
        size = len(command.data)
        yield "Lc", f"{size:02X} {size} byte{'' if size == 1 else 's'}" + (", extended" if command.extended else "")
    if command.le is not None:
        most = EXTENDED_LE if command.extended else SHORT_LE
        is_all = command.le in (0, most)
        yield "Le", f"{command.le % most:02X} " + (f"all there are, up to {most}" if is_all else f"{command.le} bytes")


def _class(cla: int) -> str:
    if not is_valid(cla):
        return "no class that exists"
    words = ["GlobalPlatform" if is_gp(cla) else "interindustry"]
    if is_secured(cla):
        words.append("secure messaging")
    elif not cla & _CHANNEL_FURTHER and cla & _ISO_SM:
        words.append("secure messaging of ISO 7816-4")
    if is_chained(cla):
        words.append("more of this command follows")
    words.append(f"logical channel {channel_of(cla)}")
    return ", ".join(words)


def _nothing(command: Command) -> Words:
    del command
    return "", ""


def _more(byte: int) -> str:
    return "more commands follow" if byte & MORE_COMMANDS else ""


def _joined(*words: str) -> str:
    return ", ".join(word for word in words if word)


def _select(command: Command) -> Words:
    occurrence = {0x00: "first or only occurrence", 0x02: "next occurrence"}
    return "by name" if command.p1 == 0x04 else "", occurrence.get(command.p2, "")


def _initialize(command: Command) -> Words:
    return f"key version {command.p1:02X}" if command.p1 else "default key version", ""


def _authenticate(command: Command) -> Words:
    if not is_secured(command.cla):
        return f"key version {command.p1:02X}", f"key identifier {command.p2:02X}"
    return names.security_level(command.p1).partition(" ")[2].strip("()"), ""


def _get_data(command: Command) -> Words:
    del command
    return "tag, high byte", "tag, low byte"


def _get_status(command: Command) -> Words:
    page = "next occurrences" if command.p2 & 0x01 else "first or all occurrences"
    return SCOPES.get(command.p1, ""), _joined("TLV" if command.p2 & 0x02 else "old format", page)


def _set_status(command: Command) -> Words:
    if command.p1 == StatusScope.ISSUER_DOMAIN:
        return "card", names.card_state(command.p2)
    return SCOPES.get(command.p1, "").replace("applications", "application or security domain", 1), (
        names.application_state(command.p2)
    )


def _put_key(command: Command) -> Words:
    version = command.p1 & ~MORE_COMMANDS
    what = f"replaces key version {version:02X}" if version else "adds a key version"
    several = "several keys from" if command.p2 & MULTIPLE_KEYS else "one key,"
    return _joined(what, _more(command.p1)), f"{several} key identifier {command.p2 & ~MULTIPLE_KEYS:02X}"


def _delete(command: Command) -> Words:
    return _more(command.p1), "object and related ones" if command.p2 & RELATED_OBJECTS else "object or key"


def _install(command: Command) -> Words:
    role = INSTALLS.get(command.p1 & ~MORE_COMMANDS, "")
    return _joined(role, _more(command.p1)), _COMBINED.get(command.p2, "")


def _load(command: Command) -> Words:
    return "last block" if command.p1 & LAST_BLOCK else "more blocks follow", f"block {command.p2}"


def _store_data(command: Command) -> Words:
    p1 = command.p1
    structure = "DGI" if p1 & StoreData.DGI and not p1 & StoreData.BER_TLV else "TLV" if p1 & StoreData.BER_TLV else ""
    last = "last block" if p1 & StoreData.LAST else "more blocks follow"
    answers = "answers data" if p1 & StoreData.CASE_4 else ""
    return _joined(last, structure, _CIPHERED.get(p1 & _ENCRYPTION, ""), answers), f"block {command.p2}"


def _manage_channel(command: Command) -> Words:
    if command.p1 & CLOSE:
        return "close", f"channel {command.p2}"
    return "open", f"channel {command.p2}" if command.p2 else "the card chooses"


def _begin(command: Command) -> Words:
    bits = {0x00: "R-MAC at the end only", Level.R_MAC: "R-MAC", Level.R_MAC | Level.R_ENC: "R-MAC and R-ENC"}
    return bits.get(command.p1, ""), ""


def _end(command: Command) -> Words:
    return "", {0x01: "return the R-MAC, go on", 0x03: "end"}.get(command.p2, "")


def _security_operation(command: Command) -> Words:
    more = "; more certificates follow" if command.p2 & MORE_COMMANDS else ""
    part = "; more of this certificate follows" if command.p1 & MORE_COMMANDS else ""
    return f"key version {command.p1 & 0x7F:02X}{part}", f"key identifier {command.p2 & 0x7F:02X}{more}"


PARAMETERS: Final[Mapping[int, Callable[[Command], Words]]] = {
    Ins.SELECT: _select,
    Ins.INITIALIZE_UPDATE: _initialize,
    Ins.EXTERNAL_AUTHENTICATE: _authenticate,
    0x88: _authenticate,
    0x2A: _security_operation,
    Ins.GET_DATA: _get_data,
    Ins.GET_DATA_ODD: _get_data,
    Ins.GET_STATUS: _get_status,
    Ins.SET_STATUS: _set_status,
    Ins.PUT_KEY: _put_key,
    Ins.DELETE: _delete,
    Ins.INSTALL: _install,
    Ins.LOAD: _load,
    Ins.STORE_DATA: _store_data,
    Ins.MANAGE_CHANNEL: _manage_channel,
    BEGIN_R_MAC_SESSION: _begin,
    END_R_MAC_SESSION: _end,
}
"""What P1 and P2 say, by instruction."""
