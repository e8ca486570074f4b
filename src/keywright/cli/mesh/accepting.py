"""What is taken of a device or node at the command line: policy, values and keys from files, the person in front."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Final, NamedTuple, TypeAlias

import typer

from keywright.cli.keyring import read_public_key
from keywright.crypto.ec import EcPublicKey
from keywright.errors import KeywrightError, UsageError
from keywright.mesh.cbp import CertificatePolicy
from keywright.mesh.ends import CURVE
from keywright.mesh.keys import CMAC, HMAC
from keywright.mesh.oob import Method
from keywright.mesh.policy import SIX_DIGITS_BITS, Policy
from keywright.mesh.retrieval import HttpAnswer, HttpGet

METHODS: Final = {"static": Method.STATIC, "output": Method.OUTPUT, "input": Method.INPUT, "none": Method.NONE}
_ALGORITHMS: Final = {"": None, "cmac": CMAC, "hmac": HMAC}

Oob: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--oob",
        metavar="static|output|input|none",
        help="How the device may prove itself, the best first; may be repeated. none has to be said.",
    ),
]
OobFile: TypeAlias = Annotated[
    Path | None, typer.Option("--oob-file", metavar="FILE", help="Static OOB values, in hex: UUID VALUE, or VALUE.")
]
PublicKeyFile: TypeAlias = Annotated[
    Path | None, typer.Option("--public-key", metavar="FILE", help="The device's public key, from elsewhere (PEM).")
]
AlgorithmName: TypeAlias = Annotated[
    str, typer.Option("--algorithm", metavar="cmac|hmac", help="The only algorithm to use.")
]
AllowShort: TypeAlias = Annotated[
    bool, typer.Option("--allow-short", help="Take values that can be guessed while a session lasts, too.")
]
TrustNode: TypeAlias = Annotated[
    bool,
    typer.Option("--trust-node", help="The node in between may see and change all: needs no OOB key, no method."),
]


class Accepted(NamedTuple):
    """What is taken of a device, and how its certificates are got from a server."""

    policy: Policy
    certificates: CertificatePolicy | None
    fetch: Callable[[HttpGet], HttpAnswer | KeywrightError] | None
    trust_node: bool = False
    """Through a node: whether that may be in the device's place."""


def policy_of(oob: Sequence[str] | None, algorithm: str, *, short: bool) -> Policy:
    """The policy of these options. Raises UsageError."""
    for word in oob or ():
        if word not in METHODS:
            raise UsageError(f"--oob {word}: one of {', '.join(METHODS)}", hint="it may be repeated, the best first")
    if algorithm not in _ALGORITHMS:
        raise UsageError(f"--algorithm {algorithm}: cmac or hmac")
    usual = Policy()
    return Policy(
        methods=tuple(METHODS[word] for word in oob) if oob else usual.methods,
        algorithm=_ALGORITHMS[algorithm],
        least_bits=0.0 if short else SIX_DIGITS_BITS,
        least_bits_cmac=0.0 if short else usual.least_bits_cmac,
        least_static_octets=1 if short else usual.least_static_octets,
    )


def public_key_of(path: Path | None) -> EcPublicKey | None:
    """The key of a file, None for no file. Raises UsageError for a key on another curve."""
    if path is None:
        return None
    key = read_public_key(path)
    if not isinstance(key, EcPublicKey) or key.curve != CURVE:
        raise UsageError(f"{path}: a mesh device has a key on {CURVE}")
    return key
