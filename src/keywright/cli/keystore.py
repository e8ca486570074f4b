"""`keywright keystore`: make, look at and audit what holds the line's keys, a sealed file or a token."""

from __future__ import annotations

import os
import time
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
import typer

from keywright.cli.keystore_text import record_document, say_registry
from keywright.cli.options import Json
from keywright.cli.text import bad, good, say, show_json, table
from keywright.cli.unlock import Passphrase, UnlockFile, unlock_with
from keywright.errors import UsageError
from keywright.production.keystore import Keystore, Unlock
from keywright.production.keystore_uri import is_token, keystore_path, open_keystore
from keywright.production.software_keystore import SoftwareKeystore

if TYPE_CHECKING:
    from keywright.production.hsm.keystore import Pkcs11Keystore

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

CONFIGURED: Final = "KEYWRIGHT_KEYSTORE"
WRONG: Final = 5
"""Exit code of an audit that found something wrong."""
Which = Annotated[str, typer.Argument(metavar="KEYSTORE", help="A path, software:PATH, or a token: pkcs11:LABEL.")]
Audited = Annotated[
    str,
    typer.Argument(
        metavar="[KEYSTORE]",
        help="A token: pkcs11:LABEL. Without it: what KEYWRIGHT_KEYSTORE names, else the only token there is.",
        show_default=False,
    ),
]
Production = Annotated[bool, typer.Option("--production", help="A token only: its keys are not for trying out.")]
All = Annotated[bool, typer.Option("--all", help="Show what is as it must be, too.")]
Owner = Annotated[str, typer.Option("--owner", help="A token only: who the keys belong to, for the registry.")]
_TEST: Final = "TEST keystore: its keys are in a file and in this program's memory. Try out with it, ship nothing."
_TEST_INSIDE: Final = "TEST keystore: its keys were made for trying out. Ship nothing with them."


@app.command()
def new(
    keystore: Which,
    *,
    unlock: UnlockFile = None,
    passphrase: Passphrase = False,
    production: Production = False,
    owner: Owner = "",
    json: Json = False,
) -> None:
    """Make a keystore with new issuer keys and a new certificate authority.

    In a file of mode 0600, sealed; or in a token that is initialised and has a PIN, where the keys are generated.
    """
    if is_token(keystore):
        _new_in_token(keystore, unlock_with(unlock, passphrase=passphrase), owner, production=production, json=json)
        return
    if production or owner:
        raise UsageError("--production and --owner are for tokens", hint="a keystore in a file is always TEST")
    path = keystore_path(keystore)
    made = SoftwareKeystore.create(
        path, now=datetime.now(UTC), unlock=unlock_with(unlock, passphrase=passphrase, twice=True)
    )
    if json:
        show_json(_document(made, keystore))
        return
    say(f"made {path}, keystore {made.keystore_id}")
    if not passphrase:
        say(f"  unlock key in {unlock or f'{path}.unlock'}: keep a copy of both files, apart from each other")
    _say_keys(made, keystore)


def _new_in_token(uri: str, unlock: Unlock | None, owner: str, *, production: bool, json: bool) -> None:
    from keywright.production.hsm.keystore import Pkcs11Keystore  # noqa: PLC0415 - nobody else needs it
    from keywright.production.hsm.uri import TokenUri  # noqa: PLC0415 - nobody else needs it

    made = Pkcs11Keystore.create(TokenUri.parse(uri), unlock, now=datetime.now(UTC), test=not production, owner=owner)
    try:
        if json:
            show_json(_document(made, uri))
            return
        say(f"made keystore {made.keystore_id} in {uri}")
        _say_keys(made, uri)
    finally:
        made.close()


@app.command()
def show(keystore: Which, *, unlock: UnlockFile = None, passphrase: Passphrase = False, json: Json = False) -> None:
    """Show which keys a keystore holds: names and check values, never a key."""
    held = open_keystore(keystore, unlock_with(unlock, passphrase=passphrase))
    try:
        if json:
            show_json(_document(held, keystore))
            return
        say(f"{keystore if is_token(keystore) else keystore_path(keystore)}, keystore {held.keystore_id}")
        _say_keys(held, keystore)
    finally:
        held.close()


@app.command()
def audit(keystore: Audited = "", *, unlock: UnlockFile = None, everything: All = False, json: Json = False) -> None:
    """Compare a token with its registry and the table of rights, and try every forbidden use.

    Ends with 5 when something is wrong. What a token cannot enforce at all is named, and wrong only for what is not a
    TEST keystore, unless two persons accepted it.
    """
    held = _token(keystore, unlock_with(unlock, passphrase=False))
    try:
        findings = held.audit()
        document = {
            "keystore_id": held.keystore_id,
            "test": held.test,
            "token": msgspec.to_builtins(held.abilities),
            "counts": dict(Counter(finding.result for finding in findings)),
            "findings": [msgspec.to_builtins(finding) for finding in findings],
        }
    finally:
        held.close()
    wrong = any(finding.result == "wrong" for finding in findings)
    if json:
        show_json({**document, "exit_code": WRONG if wrong else 0})
    else:
        _say_findings(document, everything=everything)
    if wrong:
        raise typer.Exit(WRONG)


def _token(uri: str, unlock: Unlock | None) -> Pkcs11Keystore:
    from keywright.production.hsm.keystore import Pkcs11Keystore  # noqa: PLC0415 - nobody else needs it
    from keywright.production.hsm.uri import TokenUri  # noqa: PLC0415 - nobody else needs it

    named = uri or os.environ.get(CONFIGURED, "")
    if named and not is_token(named):
        raise UsageError(
            f"{named}: a keystore in a file enforces nothing that could be audited", hint="name a token: pkcs11:LABEL"
        )
    return Pkcs11Keystore.open(TokenUri.parse(named) if named else TokenUri(""), unlock)


def _say_findings(document: dict[str, Any], *, everything: bool) -> None:
    token = document["token"]
    say(f"{token['manufacturer']} {token['model']} {token['serial']}, keystore {document['keystore_id']}")
    shown = [one for one in document["findings"] if everything or one["result"] != "ok"]
    for line in table(("result", "object", "check", "found"), [_row(one) for one in shown]):
        say(line)
    counts = document["counts"]
    text = f"{counts.get('ok', 0)} checks as they must be"
    say(good(text) if not shown else text)
    if refused := counts.get("wrong", 0):
        say(bad(f"{refused} wrong: do not use this token before each is explained"))
    if open_ := counts.get("not-enforceable", 0):
        say(
            bad(f"{open_} not enforceable on this token: whoever has its PIN can do that; guard the PIN and the client")
        )


def _row(finding: dict[str, str]) -> tuple[str, str, str, str]:
    return finding["result"], finding["subject"], finding["check"], finding["text"]


def _document(keystore: Keystore, uri: str) -> dict[str, Any]:
    where = {"token": uri} if is_token(uri) else {"file": str(keystore_path(uri))}
    return {
        **where,
        "keystore_id": keystore.keystore_id,
        "test": keystore.test,
        "keys": [msgspec.to_builtins(facts) for facts in keystore.show()],
        "registry": [record_document(record) for record in keystore.registry.records],
    }


def _say_keys(keystore: Keystore, uri: str) -> None:
    say_registry(keystore.registry, time.time())
    if keystore.test:
        say(bad(_TEST_INSIDE if is_token(uri) else _TEST))
