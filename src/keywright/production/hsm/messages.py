"""What goes between the line's process and the HSM client: one class for each question, and the answers.

Everything is plain data. No message has room for a key, a PIN, or data to be MACed, encrypted or derived under a
static key; what is signed is a digest under an identity, or a certificate that the client puts together itself.
"""

from __future__ import annotations

from typing import Final, TypeAlias, TypeVar

import msgspec

from keywright.iso7816.apdu import Command, Response
from keywright.production.hsm.mechanisms import Abilities
from keywright.production.hsm.records import Accepted, TokenRecord
from keywright.production.keystores.key_refs import KeyRef
from keywright.production.keystores.key_states import KeyState
from keywright.scp.scp03.messages import (
    InitializeUpdateResponse,
    InitializeUpdateResponse8,
    InitializeUpdateResponse16,
)

Got = TypeVar("Got")
"""Type of an answer."""


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """First on lane 0: which token, and where its PIN is. `pin_file` empty: KEYWRIGHT_PIN_FILE, or the terminal."""

    label: str
    module: str
    pin_file: str


class New(msgspec.Struct, frozen=True, tag="new"):
    """Make a keystore in the token. `now`: seconds since 1970."""

    now: int
    test: bool
    owner: str


class Load(msgspec.Struct, frozen=True, tag="load"):
    """Read the registry; answered with `Loaded`."""


class Check(msgspec.Struct, frozen=True, tag="check"):
    """Check values of key sets, 9 bytes each."""

    refs: tuple[KeyRef, ...]


class Open(msgspec.Struct, frozen=True, tag="open"):
    """Derive a session and check the card cryptogram; answered with the number of the channel.

    `path`: a value of `key_paths.KeyPath`. `aid`: compare a pseudo-random card challenge, if the card has one.
    """

    ref: KeyRef
    path: str
    host_challenge: bytes
    answer: bytes
    channel: int = 0
    aid: bytes | None = None

    def initialize_update(self) -> InitializeUpdateResponse:
        """The answer to INITIALIZE UPDATE, of S8 or S16 as the challenge has it. Raises DecodeError."""
        kind = InitializeUpdateResponse8 if len(self.host_challenge) == 8 else InitializeUpdateResponse16
        return kind.parse(self.answer)


class Authenticate(msgspec.Struct, frozen=True, tag="authenticate"):
    """EXTERNAL AUTHENTICATE of an opened channel; answered with the command."""

    channel: int
    level: int
    pads_empty: bool


class Wrap(msgspec.Struct, frozen=True, tag="wrap"):
    """Protect a command."""

    channel: int
    command: Command


class Unwrap(msgspec.Struct, frozen=True, tag="unwrap"):
    """Check and open an answer."""

    channel: int
    response: Response


class PutKeys(msgspec.Struct, frozen=True, tag="put-keys"):
    """New key sets, wrapped under the static K-DEK of a channel; `zeros`: check values over zeros."""

    channel: int
    refs: tuple[KeyRef, ...]
    zeros: bool = False


class Close(msgspec.Struct, frozen=True, tag="close"):
    """Destroy a channel's session keys."""

    channel: int


class Issue(msgspec.Struct, frozen=True, tag="issue"):
    """A device certificate; times are seconds since 1970, the public key a point on `curve`."""

    ca: str
    common_name: str
    subject_serial: str
    curve: str
    point: bytes
    serial_number: bytes
    not_before: int
    not_after: int


class Request(msgspec.Struct, frozen=True, tag="request"):
    """A certificate request for a CA key."""

    ca: str
    common_name: str


class Sign(msgspec.Struct, frozen=True, tag="sign"):
    """A signature r || s over a digest with an identity or issuer key; never with a CA."""

    name: str
    digest: bytes


class PublicKey(msgspec.Struct, frozen=True, tag="public-key"):
    """The point of an identity or CA key."""

    name: str


class ChangeState(msgspec.Struct, frozen=True, tag="change-state"):
    """Bring a key into another state; `at`: seconds since 1970. Answered with `Loaded`.

    `people`: id of the directory of those who allowed it by `approval`; both empty for TEST keys.
    """

    name: str
    to: KeyState
    at: int
    reason: str
    approval: str
    people: str


class Accept(msgspec.Struct, frozen=True, tag="accept"):
    """Keep that two persons of the directory `people` accepted what the token does not enforce.

    Answered with `Loaded`.
    """

    digest: str
    approval: str
    at: int
    people: str


class Audit(msgspec.Struct, frozen=True, tag="audit"):
    """Compare the token with the attribute table and the registry, and try what is forbidden."""


Question: TypeAlias = (
    Hello
    | New
    | Load
    | Check
    | Open
    | Authenticate
    | Wrap
    | Unwrap
    | PutKeys
    | Close
    | Issue
    | Request
    | Sign
    | PublicKey
    | ChangeState
    | Accept
    | Audit
)


OF_A_CHANNEL: Final = (Authenticate, Wrap, Unwrap, PutKeys, Close)
"""Questions that a new client process cannot answer: their channel went with the old one."""


class Envelope(msgspec.Struct, frozen=True, array_like=True):
    """One question, and the channels of this lane that nobody uses any more."""

    question: Question
    forgotten: tuple[int, ...] = ()


class Loaded(msgspec.Struct, frozen=True):
    """The registry and what the token can do."""

    keystore_id: str
    test: bool
    records: tuple[TokenRecord, ...]
    abilities: Abilities
    accepted: tuple[Accepted, ...] = ()


class Opened(msgspec.Struct, frozen=True):
    """A channel whose card is right."""

    channel: int
    size: int


class WrappedKeyData(msgspec.Struct, frozen=True, array_like=True):
    """One key as PUT KEY carries it: size in bytes, ciphertext, check value."""

    size: int
    ciphertext: bytes
    kcv: bytes


class Finding(msgspec.Struct, frozen=True):
    """One line of an audit. `result`: "ok", "wrong" (against the table or registry), or "not-enforceable"."""

    subject: str
    check: str
    result: str
    text: str


class Failure(msgspec.Struct, frozen=True):
    """An error of ours that crosses to the line's process: its class by name, its message and hint."""

    kind: str
    message: str
    hint: str = ""


class Reply(msgspec.Struct, frozen=True, array_like=True):
    """An answer: what was asked for, encoded, or what went wrong."""

    value: msgspec.Raw = msgspec.Raw(b"\xc0")
    failure: Failure | None = None
