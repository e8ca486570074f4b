"""What the fob's own applets add to the words for GlobalPlatform exchanges."""

from __future__ import annotations

from typing import Final

from keywright.fob.credential.messages import Dgi, Ins, PublicKey
from keywright.globalplatform.describe import DataObject, Lines, describe
from keywright.globalplatform.explain import Knowledge
from keywright.globalplatform.instructions import Instruction
from keywright.globalplatform.messages import unwrapped
from keywright.iso7816.apdu import Command


def _public_key(_: Command, data: bytes) -> Lines:
    return describe(PublicKey.parse(unwrapped(Dgi.PUBLIC_KEY, data)))


KNOWN: Final = Knowledge(
    {
        Ins.GENERATE_KEY_PAIR: Instruction("GENERATE KEY PAIR", answered=_public_key),
        Ins.SIGN: Instruction("SIGN"),
    },
    {
        Dgi.CERTIFICATE: DataObject("device certificate"),
        Dgi.OWNER_GROUP: DataObject("owner group"),
        Dgi.CONFIGURATION: DataObject("configuration"),
        Dgi.PUBLIC_KEY: DataObject("public key", PublicKey),
    },
)
"""To be given to `explain`, `explain_response` and `Transcript`."""
