"""Personalization: INSTALL [for personalization] and STORE DATA in every form (GPCS 7.3.3, 11.5.2.3.6, 11.11)."""

from __future__ import annotations

from collections.abc import Sequence

from keywright.codec.tlv import item
from keywright.globalplatform.dialogues.chaining import send
from keywright.globalplatform.dialogues.content import install_command
from keywright.globalplatform.host import Dialogue, store_data
from keywright.globalplatform.install import InstallFor, InstallForPersonalization
from keywright.globalplatform.key_data import KEY_LOAD_GROUP, KEY_VALUE_GROUP, KeyLoad, KeyLoads, Padding
from keywright.globalplatform.messages import Ins, StoreData, build_dgi
from keywright.iso7816.apdu import Command
from keywright.iso7816.layers import SHORT_LC
from keywright.scp.padding import pad80
from keywright.scp.session import Dek

Groups = Sequence[tuple[int, bytes]]
"""Data groups or data objects: identifier or tag, and value."""


def install_for_personalization(application: bytes) -> Dialogue[None]:
    """INSTALL [for personalization]: STORE DATA now goes to `application`, through its domain's session."""
    command = install_command(InstallFor.PERSONALIZATION, InstallForPersonalization(b"", b"", application))
    yield from send(command, f"INSTALL [for personalization] {application.hex().upper()}")


def store_groups(groups: Groups, *, size: int = SHORT_LC) -> Dialogue[None]:
    """STORE DATA of data groups in clear (structure DGI)."""
    yield from store_data(build_dgi(tuple(groups)), size=size, structure=StoreData.DGI)


def store_objects(objects: Groups, *, size: int = SHORT_LC) -> Dialogue[None]:
    """STORE DATA of data objects in clear (structure BER-TLV)."""
    data = b"".join(item(number, value) for number, value in objects)
    yield from store_data(data, size=size, structure=StoreData.BER_TLV)


def store_encrypted_groups(
    groups: Groups, dek: Dek, *, padding: Padding = "80", size: int = SHORT_LC
) -> Dialogue[None]:
    """STORE DATA of data groups whose values are encrypted under the data encryption key, each padded by itself.

    padding: as `CardProfile.encrypted_value_padding` has it.
    """
    sealed = tuple((number, sealed_value(value, dek, padding)) for number, value in groups)
    yield from store_data(build_dgi(sealed), size=size, structure=StoreData.DGI | StoreData.ENCRYPTED)


def store_encrypted_objects(
    objects: Groups, dek: Dek, *, padding: Padding = "80", size: int = SHORT_LC
) -> Dialogue[None]:
    """STORE DATA of data objects whose values are encrypted under the data encryption key, each padded by itself."""
    data = b"".join(item(number, sealed_value(value, dek, padding)) for number, value in objects)
    yield from store_data(data, size=size, structure=StoreData.BER_TLV | StoreData.ENCRYPTED)


def store_keys(keys: Sequence[tuple[KeyLoad, bytes]], dek: Dek, *, size: int = SHORT_LC) -> Dialogue[None]:
    """STORE DATA of keys: data group 00B9 announces them, one 8113 for each brings it encrypted (GPCS 11.11.3).

    A secret is filled with zeros to whole cipher blocks; its own length stands in its `KeyLoad`.
    """
    announced = KeyLoads(tuple(load for load, _ in keys)).build()
    brought = [(KEY_VALUE_GROUP, sealed_value(value, dek, "zeros")) for _, value in keys]
    yield from store_data(build_dgi(((KEY_LOAD_GROUP, announced), *brought)), size=size, structure=StoreData.DGI)


def store_and_answer(data: bytes, *, structure: int = StoreData.BER_TLV) -> Dialogue[bytes]:
    """STORE DATA of one block that is answered with data (case 4, P1 bit b1), as applications may define it."""
    p1 = StoreData.LAST | structure | StoreData.CASE_4
    return (yield from send(Command(0x80, Ins.STORE_DATA, p1, 0, data, 0), "STORE DATA (with answer)"))


def sealed_value(value: bytes, dek: Dek, padding: Padding) -> bytes:
    """A value under the data encryption key: padded with 80 and zeros, or with zeros where it needs any."""
    if padding == "80":
        return dek.encrypt_sensitive(pad80(value, dek.sensitive_block))
    return dek.encrypt_sensitive(value + bytes(-len(value) % dek.sensitive_block))
