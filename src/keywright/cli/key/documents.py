"""`keywright key share` and `revoke`: documents of a Credential Issuer whose key is in a keystore."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Final

import typer

from keywright.aliro.access import Situation
from keywright.aliro.dates import build_timestamp
from keywright.aliro.documents.access_data import AccessData, AccessRule, Schedule
from keywright.aliro.documents.document import Document, Validity
from keywright.aliro.documents.revocation_data import APPEND, RevocationData, RevocationEntry, key_hash
from keywright.cli.key.issuers import Issuer, Keystore, opened_issuer
from keywright.cli.key.options import action_in, duration_in, public_key_in, time_in
from keywright.cli.options import Json
from keywright.cli.text import good, pairs, say, show_json
from keywright.cli.unlock import Passphrase, UnlockFile
from keywright.errors import UsageError
from keywright.fob.lock import opened_lock

app = typer.Typer(rich_markup_mode=None)

Element = Annotated[str, typer.Option("--element", metavar="NAME", help="Element that locks look for.")]
Key = Annotated[str, typer.Option("--key", metavar="KEY", help="Public key of the fob: hex, or a file with it.")]
_CLOCKS_S: Final = 3600


@app.command()
def share(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The file to make.")],
    *,
    key: Key,
    keystore: Keystore,
    issuer: Issuer = "access-issuer",
    element: Element = "door",
    allow: Annotated[list[str] | None, typer.Option("--allow", metavar="ACTION", help="What it allows.")] = None,
    begin: Annotated[str, typer.Option("--from", metavar="TIME", help="First moment of access.")] = "",
    until: Annotated[str, typer.Option("--until", metavar="TIME", help="First moment without it.")] = "",
    validity: Annotated[
        str,
        typer.Option("--validity", metavar="TIME", help="How long the document holds: 365d, or until access ends."),
    ] = "",
    unlock: UnlockFile = None,
    passphrase: Passphrase = False,
    json: Json = False,
) -> None:
    """Give somebody's key access: sign an Access Document for it. Its holder puts it on the fob.

    Example: keywright key share guest.aliro --key guest.pem --keystore lot.db.keystore --until 2026-12-24T18:00:00Z
    """
    now = time_in("", "") or 0
    start, end = _span(now, begin, until)
    lasts = duration_in(validity or "365d", "--validity")
    if end is not None and end > now + lasts:
        if validity:
            raise UsageError(
                f"--until {until}: the document does not hold so long", hint="give a longer --validity, or none"
            )
        lasts = end - now
    schedules = (Schedule(start, end),) if begin or until else ()
    allowed = sum({action_in(one, "--allow") for one in (allow or ["unsecure", "secure"])})
    data = AccessData(rules=(AccessRule(allowed, allow=1 if schedules else None),), schedules=schedules)
    public = public_key_in(key, "--key")
    with opened_issuer(keystore, issuer, unlock, passphrase=passphrase) as signer:
        document = signer.access_document(public, {element: data}, Validity(now, now - _CLOCKS_S, now + lasts))
    _write(out, document)
    if json:
        show_json(
            {"file": str(out), "key": public.point.hex(), "issuer": signer.public.point.hex(), "element": element}
        )
        return
    say(f"{good('signed')} {out}")
    say(
        "\n".join(
            pairs(
                [
                    ("for", public.point.hex()),
                    ("element", element),
                    ("until", build_timestamp(now + lasts)),
                    ("issuer", signer.public.point.hex()),
                ]
            )
        )
    )


@app.command()
def revoke(
    *,
    key: Key,
    keystore: Keystore,
    issuer: Issuer = "access-issuer",
    element: Element = "door",
    lock: Annotated[
        list[Path] | None, typer.Option("--lock", metavar="LOCK", help="Tell this lock now; may be repeated.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write the Revocation Document.")] = None,
    validity: Annotated[str, typer.Option("--validity", metavar="TIME", help="How long the document holds.")] = "365d",
    unlock: UnlockFile = None,
    passphrase: Passphrase = False,
    json: Json = False,
) -> None:
    """Take access away: sign a Revocation Document, tell locks. What they kept of the key dies with it.

    Example: keywright key revoke --key lost.pem --keystore lot.db.keystore --lock door.lock
    """
    if not lock and out is None:
        raise UsageError("nobody is told", hint="give --lock LOCK, or --out FILE for the document")
    now = time_in("", "") or 0
    public = public_key_in(key, "--key")
    data = RevocationData(APPEND, entries=(RevocationEntry(key_hash=key_hash(public)),))
    with opened_issuer(keystore, issuer, unlock, passphrase=passphrase) as signer:
        valid = Validity(now, now - _CLOCKS_S, now + duration_in(validity, "--validity"))
        document = signer.revocation_document({element: data}, valid)
    if out is not None:
        _write(out, document)
    killed = {}
    for path in lock or ():
        with opened_lock(path, os.urandom) as reader:
            killed[str(path)] = len(reader.lock().take_revocations(document, Situation(now=now)))
    if json:
        show_json({"key": public.point.hex(), "file": str(out) if out else None, "locks": killed})
        return
    for name, count in killed.items():
        say(f"{good('told')} {name}: {'its kept key is gone' if count else 'nothing was kept of it'}")
    if out is not None:
        say(f"{good('signed')} {out}")


def _span(now: int, begin: str, until: str) -> tuple[int, int | None]:
    """First moment of access, and the first without it, if there is one."""
    start = (time_in(begin, "--from") if begin else now) or 0
    end = time_in(until, "--until") if until else None
    if end is not None and end <= max(start, now):
        raise UsageError(f"--until {until}: access would be over before it begins", hint="give a later time")
    return start, end


def _write(path: Path, document: Document) -> None:
    try:
        with path.open("xb") as file:
            file.write(document.build())
    except OSError as error:
        raise UsageError(f"{path}: cannot be made: {error.strerror}", hint="give the path of a new file") from error
