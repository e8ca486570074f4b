"""What the judgement of an exported log says."""

from __future__ import annotations

import msgspec

from keywright.production.audit.diagnosis import Kind


class Finding(msgspec.Struct, frozen=True):
    """Something that is not as it was written.

    `position`: the entry's number, from 0, and `until` the last one it may be where the log does not tell exactly;
    `line`: where in the file, from 1.
    """

    position: int
    until: int
    line: int
    kind: Kind
    text: str


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it. `sealed`: the log's key signed the export as a whole.

    `checkpointed` and `witnessed`: so many entries a good checkpoint in the file, or outside it, speaks for; `begun`
    and `ended` in milliseconds since 1970, UTC, 0 for a log without entries.
    """

    whole: bool
    size: int
    root: str
    key: str
    sealed: bool
    checkpoints: int
    checkpointed: int
    witnessed: int
    begun: int
    ended: int
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
