"""DELETE on the wire: objects and keys (GPCS 11.2)."""

from __future__ import annotations

from typing import Annotated, Final

from keywright.codec.tlv import Template, items, tag
from keywright.errors import DecodeError
from keywright.globalplatform.install import ControlReference
from keywright.globalplatform.messages import DeleteKey, Tag

RELATED_OBJECTS: Final = 0x80
"""P2 of DELETE: the object and what belongs to it, a load file with all its applications (GPCS 11.2.2.2)."""


class DeleteObject(Template, frozen=True):
    """Data of DELETE for an application, load file or security domain (GPCS 11.2.2.3.1).

    token: that of delegated management, over the object and the control reference.
    """

    aid: Annotated[bytes, tag(0x4F)]
    control: Annotated[ControlReference | None, tag(0xB6)] = None
    token: Annotated[bytes | None, tag(0x9E)] = None


def parse_delete(data: bytes) -> DeleteObject | DeleteKey:
    """Data of DELETE, whichever it is. Raises DecodeError, also for data that name neither or both."""
    tags = {number for number, _ in items(data)}
    if Tag.AID in tags:
        if tags & {0xD0, 0xD2}:
            raise DecodeError("DELETE names an object and a key")
        return DeleteObject.parse(data)
    request = DeleteKey.parse(data)
    if request.kid is None and request.kvn is None:
        raise DecodeError("DELETE names neither an object nor a key")
    return request
