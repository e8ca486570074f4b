"""What a simulated key fob is: a virtual secure element with a credential applet, told apart by its serial."""

from __future__ import annotations

import hashlib
import os
from typing import Final

import msgspec

from keywright.element import SecureElement
from keywright.fob.aliro.applet import Wiring, modules
from keywright.fob.credential.applet import CredentialApplet
from keywright.globalplatform.messages import Cplc
from keywright.scp.scp03.keys import GP_TEST_KEY, KeySet
from keywright.store import Memory

IC_FABRICATOR: Final = 0x4B57
IC_TYPE: Final = 0x4631
OS_ID: Final = 0x0101
_IIN: Final = bytes.fromhex("4B574F4200000001")


class Model(msgspec.Struct, frozen=True):
    """How a fob leaves its maker. `factory_key` (16, 24 or 32 bytes, hex) serves as ENC, MAC and DEK.

    `try_limit`: so many wrong EXTERNAL AUTHENTICATE in a row block a key set; None never does, and counts none.
    """

    kvn: int = 0xFF
    factory_key: str = GP_TEST_KEY.hex()
    i: int = 0x70
    initial_keys_stay: bool = False
    try_limit: int | None = None

    def __repr__(self) -> str:
        return f"<Model kvn={self.kvn:02X} i={self.i:02X}>"


def chip_serial(serial: str) -> bytes:
    """The ten bytes that stand for this serial in CPLC, KDD and CIN, as a maker would have burnt them in."""
    return hashlib.sha256(b"keywright simulated fob\0" + serial.encode()).digest()[:10]


def ble_address(serial: str) -> str:
    """The random static address of its radio (Bluetooth Core 6.0, Vol 6 Part B 1.3.2.1), as its maker drew it."""
    octets = bytearray(hashlib.sha256(b"keywright simulated fob, radio\0" + serial.encode()).digest()[:6])
    octets[0] |= 0xC0
    return ":".join(f"{octet:02X}" for octet in octets)


def simulated_fob(
    serial: str, memory: Memory, model: Model | None = None, *, wiring: Wiring | None = None
) -> SecureElement:
    """The fob of this serial. A memory that already holds one continues it; `model` counts only for a fresh one.

    wiring: from its Aliro applet to its radio, for whoever plays the radio.
    """
    model = model or Model()
    chip = chip_serial(serial)
    key = bytes.fromhex(model.factory_key)
    return SecureElement(
        memory=memory,
        kvn=model.kvn,
        keys=KeySet.of(key, key, key),
        i=model.i,
        initial_keys_stay=model.initial_keys_stay,
        try_limit=model.try_limit,
        kdd=chip,
        cplc=_cplc(chip),
        iin=_IIN,
        cin=chip[:8],
        rng=os.urandom,
        applets=(CredentialApplet(),),
        factories=modules(os.urandom, wiring=wiring),
    )


def _cplc(chip: bytes) -> Cplc:
    return Cplc(
        ic_fabricator=IC_FABRICATOR,
        ic_type=IC_TYPE,
        os_id=OS_ID,
        os_date=0x6001,
        os_level=0x0100,
        ic_date=0x6100,
        ic_serial=chip[:4],
        ic_batch=int.from_bytes(chip[4:6]),
        module_fabricator=IC_FABRICATOR,
        module_date=0x6101,
        icc_manufacturer=IC_FABRICATOR,
        embedding_date=0x6102,
        pre_personaliser=0,
        pre_perso_date=0,
        pre_perso_equipment=bytes(4),
        personaliser=0,
        perso_date=0,
        perso_equipment=bytes(4),
    )
