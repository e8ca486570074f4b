"""One entry of the audit log: what is asked for, and the body that is hashed, in its one spelling."""

from __future__ import annotations

import os
import pwd
import socket
from typing import Final

import msgspec

from keywright.production.unit_store.rows import Change

VERSION: Final = 1
"""`v` of every body written by this code."""


class AuditEvent(Change, frozen=True, kw_only=True):
    """A change: somebody did something, written down with whatever else the batch holds.

    `action` in the form `noun.verb`; `result` is `ok` or what went wrong in a word; `actor` a person's name, empty for
    whoever runs this process; hashes as `row_hash` or SHA-256 give them, in hex, empty where there is none;
    `approvals` the ids of those that were used. Never a secret: key check values and hashes only.
    """

    action: str
    object_type: str
    object_id: str
    result: str = "ok"
    actor: str = ""
    auth: str = ""
    reason: str = ""
    before_hash: str = ""
    after_hash: str = ""
    approvals: tuple[str, ...] = ()


class Actor(msgspec.Struct, frozen=True):
    """Who acted: `auth` says how that is known (`os`: the account of the process), `session` names the run."""

    auth: str
    id: str
    session: str


class Subject(msgspec.Struct, frozen=True):
    """What was acted on."""

    id: str
    type: str


class Body(msgspec.Struct, frozen=True):
    """What is hashed into a leaf: JSON without blanks, UTF-8, keys sorted (the fields stand so), no floats.

    `seq` counts from 0 without a gap; `t` is milliseconds since 1970, UTC; `mono` milliseconds of the host's monotonic
    clock; `prev` the leaf hash of the entry before, in hex, empty for the first.
    """

    action: str
    actor: Actor
    after_hash: str
    approvals: tuple[str, ...]
    before_hash: str
    host: str
    mono: int
    object: Subject
    prev: str
    reason: str
    result: str
    seq: int
    t: int
    v: int


encode_body: Final = msgspec.json.Encoder().encode
decode_body: Final = msgspec.json.Decoder(Body, strict=True).decode


def process_actor() -> Actor:
    """The account this process runs under, and a name for the process that no later one has."""
    uid = os.geteuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = str(uid)
    return Actor("os", name, f"{os.getpid()}-{os.urandom(4).hex()}")


def this_host() -> str:
    """The name of this machine."""
    return socket.gethostname()
