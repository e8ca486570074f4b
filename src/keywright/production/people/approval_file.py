"""An approval as a file: for what is approved where there is no store, as in a ceremony."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

import msgspec

from keywright.errors import StoreError
from keywright.production.people.approvals import Approval, ApprovalError, Operation, check
from keywright.production.people.people import Directory
from keywright.production.private_file import READABLE, replace_file, write_new

FILE_BYTES: Final = 1 << 20
_WHAT: Final = "approval"


class _File(msgspec.Struct, frozen=True):
    format: Literal["keywright approval"]
    version: Literal[1]
    approval: Approval


def write(path: Path, approval: Approval) -> None:
    """Write a new file, or one more signature into it. Raises StoreError if there is another approval."""
    data = msgspec.json.format(msgspec.json.encode(_File("keywright approval", 1, approval)), indent=1) + b"\n"
    if not path.exists():
        write_new(path, _WHAT, data, READABLE)
        return
    if read(path).id != approval.id:
        raise StoreError(f"{path}: is another approval", hint="give another path")
    replace_file(path, _WHAT, data, READABLE)


def read(path: Path) -> Approval:
    """The approval in a file; nothing of it is checked. Raises StoreError if there is none."""
    try:
        data = path.read_bytes()[: FILE_BYTES + 1]
        return msgspec.json.decode(data, type=_File).approval
    except OSError as error:
        raise StoreError(f"{path}: the approval cannot be read: {error.strerror}") from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise StoreError(f"{path}: no approval, or damaged", hint="ask for it anew") from error


def use(path: Path, operation: Operation, directory: Directory, *, at_ms: int) -> Approval:
    """Use the approval in a file for exactly this operation: `PATH.used` is made, durably, and made only once.

    A copy of the file in another folder knows nothing of that: whoever keeps a record of what was done has to keep the
    approval's id in it, and refuse one that stands there. Raises as `check`, and ApprovalError for a second use.
    """
    approval = read(path)
    check(approval, operation, directory, at_ms=at_ms)
    used = path.with_name(f"{path.name}.used")
    text = f"{approval.id} {operation.digest.hex()} {at_ms}\n"
    if used.exists():
        raise ApprovalError(f"{path}: has been used", hint="ask for a new approval")
    try:
        write_new(used, "mark of use", text.encode(), READABLE)
    except StoreError as error:
        raise ApprovalError(f"{path}: has been used, or cannot be marked: {error}") from error
    return approval
