"""Loading, installing, moving and deleting card content (GPCS 9.3, 11.2, 11.5, 11.6).

Every dialogue takes `size`, the plain data bytes of one command (`session.max_data`), and where the specification has
one a token; each returns the card's `Confirmation`, whose receipt is empty where the card gives none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import msgspec

from keywright.errors import DecodeError, PolicyError, WireError
from keywright.globalplatform.confirmation import Confirmation, read_confirmation
from keywright.globalplatform.deletion import RELATED_OBJECTS, DeleteObject
from keywright.globalplatform.dialogues.chaining import send
from keywright.globalplatform.host import Dialogue
from keywright.globalplatform.install import (
    Combined,
    ControlReference,
    InstallData,
    InstallFor,
    InstallForExtradition,
    InstallForInstall,
    InstallForLoad,
    InstallForMakeSelectable,
    InstallForRegistryUpdate,
)
from keywright.globalplatform.load_file import LoadFile, split_load_file
from keywright.globalplatform.messages import DeleteKey, Ins
from keywright.globalplatform.privileges import Privilege, build_privileges, conflicts
from keywright.globalplatform.remedies import demand
from keywright.globalplatform.tokens import (
    combined_input,
    delete_input,
    install_input,
    with_delete_token,
    with_install_token,
)
from keywright.iso7816.apdu import Command
from keywright.iso7816.layers import SHORT_LC

Token: TypeAlias = bytes | Callable[[bytes], bytes]
"""A token, or what makes one from the bytes it is to sign: `lambda signed: sign_token(key, signed)`."""

NO_TOKEN: Token = b""


class Installation(msgspec.Struct, frozen=True):
    """What INSTALL [for install] is told: from which load file and module, under which AID, with what."""

    load_file: bytes
    module: bytes
    instance: bytes
    privileges: Privilege = Privilege(0)
    parameters: bytes = b"\xc9\x00"


def install_command(p1: int, data: InstallData, p2: int = Combined.NO, token: Token = NO_TOKEN) -> Command:
    """One INSTALL with its token put in. A longer one than 255 bytes goes out in parts (`send`)."""
    plain = Command(0x80, Ins.INSTALL, p1, p2, data.build(), 0)
    made = token if isinstance(token, bytes) else token(install_input(plain))
    return msgspec.structs.replace(plain, data=with_install_token(plain.data, made)) if made else plain


def confirmation(data: bytes, doing: str) -> Confirmation:
    """What a card answered to a content management command; no data at all is taken as "nothing to tell"."""
    try:
        return read_confirmation(data)
    except DecodeError as error:
        raise WireError(f"{doing}: the card's confirmation: {error}") from error


def _installed(command: Command, doing: str, size: int) -> Dialogue[Confirmation]:
    return confirmation((yield from send(command, doing, size=size)), doing)


def install_for_load(data: InstallForLoad, *, token: Token = NO_TOKEN, size: int = SHORT_LC) -> Dialogue[Confirmation]:
    """INSTALL [for load]: announce a load file. After it only LOAD may follow (GPCS 11.5.2.3.1)."""
    doing = f"INSTALL [for load] {data.load_file.hex().upper()}"
    return (yield from _installed(install_command(InstallFor.LOAD, data, token=token), doing, size))


def load(file: LoadFile, *, size: int = SHORT_LC) -> Dialogue[Confirmation]:
    """LOAD: carry the load file in blocks of `size` bytes, numbered from 00, the last one marked (GPCS 11.6).

    The card checks hash and DAP after the last block. After a refusal it forgets the load. Raises ValueError before
    the first block when 256 blocks do not suffice.
    """
    blocks = list(split_load_file(file.build(), size))
    data = b""
    for p1, number, block in blocks:
        command = Command(0x80, Ins.LOAD, p1, number, block, 0)
        data = demand(command, (yield command), f"LOAD (block {number:02X} of {len(blocks):02X})")
    return confirmation(data, "LOAD")


def install_for_install(
    what: Installation, *, make_selectable: bool = True, token: Token = NO_TOKEN, size: int = SHORT_LC
) -> Dialogue[Confirmation]:
    """INSTALL [for install], with make selectable unless told not to (GPCS 11.5.2.3.2).

    Raises PolicyError, with nothing sent, for privileges that no application can hold together.
    """
    p1 = InstallFor.INSTALL_AND_MAKE_SELECTABLE if make_selectable else InstallFor.INSTALL
    doing = f"INSTALL [for install] {what.instance.hex().upper()}"
    return (yield from _installed(install_command(p1, _installation(what), token=token), doing, size))


def make_selectable(
    instance: bytes,
    *,
    privileges: Privilege | None = None,
    parameters: bytes = b"",
    token: Token = NO_TOKEN,
    size: int = SHORT_LC,
) -> Dialogue[Confirmation]:
    """INSTALL [for make selectable]; privileges other than those it was installed with may be given (11.5.2.3.3)."""
    held = b"\0" if privileges is None else _privileges(privileges)
    data = InstallForMakeSelectable(b"", b"", instance, held, parameters)
    doing = f"INSTALL [for make selectable] {instance.hex().upper()}"
    return (yield from _installed(install_command(InstallFor.MAKE_SELECTABLE, data, token=token), doing, size))


def extradite(
    application: bytes,
    security_domain: bytes,
    *,
    parameters: bytes = b"",
    token: Token = NO_TOKEN,
    size: int = SHORT_LC,
) -> Dialogue[Confirmation]:
    """INSTALL [for extradition]: move an application or load file under another security domain (11.5.2.3.4)."""
    data = InstallForExtradition(security_domain, b"", application, b"", parameters)
    doing = f"INSTALL [for extradition] {application.hex().upper()}"
    return (yield from _installed(install_command(InstallFor.EXTRADITION, data, token=token), doing, size))


def update_registry(
    application: bytes,
    *,
    security_domain: bytes = b"",
    privileges: Privilege | None = None,
    parameters: bytes = b"",
    token: Token = NO_TOKEN,
    size: int = SHORT_LC,
) -> Dialogue[Confirmation]:
    """INSTALL [for registry update]: change privileges, services or domain of an application (11.5.2.3.5).

    What is not given stays as it is. An empty `application` updates the domain itself.
    """
    held = b"" if privileges is None else _privileges(privileges)
    data = InstallForRegistryUpdate(security_domain, b"", application, held, parameters)
    doing = f"INSTALL [for registry update] {application.hex().upper() or 'of the domain itself'}"
    return (yield from _installed(install_command(InstallFor.REGISTRY_UPDATE, data, token=token), doing, size))


def load_install_and_make_selectable(
    announced: InstallForLoad,
    file: LoadFile,
    what: Installation,
    *,
    p1: int = InstallFor.LOAD_INSTALL_AND_MAKE_SELECTABLE,
    token: Token = NO_TOKEN,
    size: int = SHORT_LC,
) -> Dialogue[Confirmation]:
    """The combined process: all of it happens on the card, or nothing (GPCS 9.3.8).

    p1: of both INSTALL; some cards want 02 and 0C there, each with its P2 (`CardProfile.combined_p1`). The one token
    covers both commands and stands in the last.
    """
    first_p1, last_p1 = (
        (p1, p1)
        if p1 == InstallFor.LOAD_INSTALL_AND_MAKE_SELECTABLE
        else (InstallFor.LOAD, InstallFor.INSTALL_AND_MAKE_SELECTABLE)
    )
    first = install_command(first_p1, announced, Combined.FIRST)
    last = install_command(last_p1, _installation(what), Combined.LAST)
    made = token if isinstance(token, bytes) else token(combined_input(first, last))
    if made:
        last = msgspec.structs.replace(last, data=with_install_token(last.data, made))
    yield from send(first, f"INSTALL [for load, combined] {announced.load_file.hex().upper()}", size=size)
    yield from load(file, size=size)
    return (yield from _installed(last, f"INSTALL [for install, combined] {what.instance.hex().upper()}", size))


def delete_object(
    aid: bytes,
    *,
    related: bool = False,
    control: ControlReference | None = None,
    token: Token = NO_TOKEN,
    size: int = SHORT_LC,
) -> Dialogue[Confirmation]:
    """DELETE an application, load file or domain (GPCS 11.2); with `related`, a load file and all its applications."""
    data = DeleteObject(aid, control).build()
    command = Command(0x80, Ins.DELETE, 0x00, RELATED_OBJECTS if related else 0x00, data, 0)
    made = token if isinstance(token, bytes) else token(delete_input(command))
    if made:
        command = msgspec.structs.replace(command, data=with_delete_token(data, made))
    return (yield from _installed(command, f"DELETE {aid.hex().upper()}", size))


def delete_key(*, kid: int | None = None, kvn: int | None = None) -> Dialogue[None]:
    """DELETE keys by identifier, version number, or both (GPCS 11.2.2.3.2). Raises ValueError for neither."""
    if kid is None and kvn is None:
        raise ValueError("DELETE KEY needs a key identifier or a key version number")
    command = Command(0x80, Ins.DELETE, 0x00, 0x00, DeleteKey(kid, kvn).build(), 0)
    named = " ".join(f"{name} {value:02X}" for name, value in (("KID", kid), ("KVN", kvn)) if value is not None)
    yield from send(command, f"DELETE KEY ({named})")


def _installation(what: Installation) -> InstallForInstall:
    return InstallForInstall(what.load_file, what.module, what.instance, _privileges(what.privileges), what.parameters)


def _privileges(privileges: Privilege) -> bytes:
    """As they are sent: one byte where that says it, which every card reads. Raises PolicyError for a conflict."""
    found = conflicts(privileges)
    if found:
        raise PolicyError(f"privileges that cannot be held together: {'; '.join(found)}")
    data = build_privileges(privileges)
    return data if any(data[1:]) else data[:1]
