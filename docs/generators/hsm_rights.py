"""What each kind of key object in a token may do, from the table that makes and audits them."""

from __future__ import annotations

from generators.markdown import table
from keywright.production.hsm.attributes import KINDS, RIGHTS
from keywright.production.hsm.mechanisms import NEEDED


def rights() -> str:
    """One row for each kind."""
    heads = ("object", "what", "lives in", "extractable", *RIGHTS)
    rows = [
        (
            f"`{kind.name}`",
            kind.what,
            ", ".join(kind.zones),
            "yes" if kind.extractable else "",
            *("yes" if kind.may(right) else "" for right in RIGHTS),
        )
        for kind in KINDS.values()
    ]
    return table(heads, rows)


def mechanisms() -> str:
    """What a token must have."""
    return table(("mechanism", "to"), [(f"`CKM_{name}`", why) for name, why in NEEDED.items()])


PARTS = {"docs/hsm.md": {"rights": rights, "mechanisms": mechanisms}}
