"""A key block's header in words. What is encrypted stays so: nobody needs a key to read who may do what with one."""

from __future__ import annotations

from keywright.crypto.keyblocks import Header, parse
from keywright.crypto.keyblocks.binding import MAC_BYTES
from keywright.crypto.keyblocks.header import (
    ALGORITHMS,
    BLOCKS,
    CONTEXTS,
    EXPORTABILITY,
    MODES,
    USAGES,
    VERSIONS,
)
from keywright.errors import DecodeError
from keywright.globalplatform.explain import Explanation


def key_block(text: str) -> Explanation | None:
    """What the block says; None for a text that is none. A block has its own length in it, so hex is never one."""
    try:
        header, end = parse(text.strip())
    except DecodeError:
        return None
    sealed = (len(text.strip()) - end) // 2
    mac = MAC_BYTES[header.version]
    return Explanation(
        "key block",
        (),
        (
            ("version", f"{header.version}, {VERSIONS[header.version]}"),
            ("key usage", f"{header.usage}, {USAGES.get(header.usage, 'not known here')}"),
            ("algorithm", f"{header.algorithm}, {ALGORITHMS[header.algorithm]}"),
            ("mode of use", f"{header.mode}, {MODES[header.mode]}"),
            ("key version", _version(header)),
            ("exportability", f"{header.exportability}, {EXPORTABILITY[header.exportability]}"),
            ("key context", CONTEXTS[header.context]),
            *((f"block {one.id}", f"{BLOCKS.get(one.id, 'not known here')}: {one.data}") for one in header.blocks),
            ("encrypted", f"{sealed - mac} bytes, and a MAC of {mac}"),
        ),
    )


def _version(header: Header) -> str:
    if header.is_component:
        return f"component {header.key_version[1]}"
    return "not used" if header.key_version == "00" else header.key_version
