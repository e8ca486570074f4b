"""`keywright keystore audit`: is a token as its registry and the table of rights say, and what does it not enforce?"""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias

import msgspec
import typer

from keywright.cli.keystore_states import ApprovalFile, By, People, Signing, approval_for
from keywright.cli.options import Json
from keywright.cli.passphrases import PassphraseFile
from keywright.cli.text import bad, good, say, show_json, table
from keywright.cli.unlock import UnlockFile
from keywright.errors import UsageError
from keywright.production.keystores.keystore_uri import is_token
from keywright.production.people.approvals import Operation

if TYPE_CHECKING:
    from pathlib import Path

    from keywright.production.hsm.keystore import Pkcs11Keystore

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

CONFIGURED: Final = "KEYWRIGHT_KEYSTORE"
WRONG: Final = 5
"""Exit code of an audit after which the token must not be used as it is."""

Audited: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="[KEYSTORE]",
        help="A token: pkcs11:LABEL. Without it: what KEYWRIGHT_KEYSTORE names, else the only token there is.",
        show_default=False,
    ),
]
All: TypeAlias = Annotated[bool, typer.Option("--all", help="Show what is as it must be, too.")]
Accept: TypeAlias = Annotated[
    bool, typer.Option("--accept", help="Accept what the token does not enforce; two key managers have to.")
]


@app.command()
def audit(
    keystore: Audited = "",
    *,
    unlock: UnlockFile = None,
    everything: All = False,
    accept: Accept = False,
    approval: ApprovalFile = None,
    people: People = None,
    by: By = None,
    passphrase_file: PassphraseFile = None,
    json: Json = False,
) -> None:
    """Compare a token with its registry and the table of rights, and try every forbidden use.

    Ends with 5 when something is wrong. What a token cannot enforce at all is named; with keys that are not TEST it
    counts as wrong until two persons have accepted it (--accept), and no production lot begins before.
    """
    held = _token(keystore, unlock)
    try:
        findings = held.audit()
        bad_ones = any(finding.result == "wrong" for finding in findings)
        if accept and not bad_ones:
            signing = Signing(approval, people, by, passphrase_file)
            _accept(held, signing, json=json)
            return
        wrong = bad_ones or (not held.test and not held.is_accepted(findings))
        document = {
            "keystore_id": held.keystore_id,
            "test": held.test,
            "token": msgspec.to_builtins(held.abilities),
            "strategies": held.abilities.strategies(),
            "counts": dict(Counter(finding.result for finding in findings)),
            "accepted": held.is_accepted(findings),
            "findings": [msgspec.to_builtins(finding) for finding in findings],
            "exit_code": WRONG if wrong else 0,
        }
    finally:
        held.close()
    if json:
        show_json(document)
    else:
        _say_findings(document, everything=everything)
    if wrong:
        raise typer.Exit(WRONG)


def _accept(held: Pkcs11Keystore, signing: Signing, *, json: bool) -> None:
    findings = held.audit()
    named = [f"{one.subject}: {one.check}" for one in findings if one.result == "not-enforceable"]
    if not named:
        say("the token enforces all that the audit tries; there is nothing to accept")
        return
    facts = {"keystore": held.keystore_id, "token": held.abilities.serial, "not enforced": named}
    approved = approval_for(Operation("token.accept", held.abilities.model, facts), signing, json=json)
    if approved is not None:
        held.accept(findings, approved.id, approved.directory)
        if json:
            show_json({"accepted": named, "approval": approved.id})
        else:
            say(f"accepted, by approval {approved.id}: {'; '.join(named)}")


def _token(uri: str, unlock: Path | None) -> Pkcs11Keystore:
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
    if wrong := counts.get("wrong", 0):
        say(bad(f"{wrong} wrong: do not use this token before each is explained"))
    if number := counts.get("not-enforceable", 0):
        say(bad(f"{number} not enforceable on this token: who has its PIN can do that; guard the PIN and the client"))
        say("two persons accepted that" if document["accepted"] else "nobody accepted that; production lots need it")


def _row(finding: dict[str, str]) -> tuple[str, str, str, str]:
    return finding["result"], finding["subject"], finding["check"], finding["text"]
