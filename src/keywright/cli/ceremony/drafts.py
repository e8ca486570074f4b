"""The verbs that draft a ceremony, one for each kind, and the one that approves it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

from keywright.cli.ceremony.looking import show_ceremony
from keywright.cli.options import Json
from keywright.cli.passphrases import PassphraseFile, People, now_ms, opened
from keywright.cli.text import note, pairs, say
from keywright.errors import UsageError
from keywright.production.ceremony.drafting import approve as approve_draft
from keywright.production.ceremony.drafting import draft
from keywright.production.ceremony.plan import Entry, Kind, Plan
from keywright.production.ceremony.record import facts, title
from keywright.production.ceremony.transcript import Transcript
from keywright.production.people.people import Directory

Folder: TypeAlias = Annotated[Path, typer.Argument(metavar="FOLDER", help="The ceremony's folder.")]
By: TypeAlias = Annotated[Path, typer.Option("--by", metavar="KEY", help="Your key file.")]
Key: TypeAlias = Annotated[str, typer.Option("--key", metavar="NAME", help="The name of the master key.")]
Keystore: TypeAlias = Annotated[
    str, typer.Option("--keystore", metavar="URI", help="Where the key goes, or is: software:FILE, pkcs11:LABEL.")
]
Witness: TypeAlias = Annotated[
    list[str], typer.Option("--witness", metavar="NAME", help="An auditor who compares the check value; two of them.")
]
Custodian: TypeAlias = Annotated[
    list[str] | None, typer.Option("--custodian", metavar="NAME", help="Who holds a part; one for each part.")
]
HostName: TypeAlias = Annotated[
    str, typer.Option("--host", metavar="NAME", help="The key manager who runs the host; who drafts, by default.")
]
Algorithm: TypeAlias = Annotated[str, typer.Option("--algorithm", help="AES or TDES.")]
Bits: TypeAlias = Annotated[int, typer.Option("--bits", help="Length of the key.")]
Usage: TypeAlias = Annotated[
    str, typer.Option("--usage", help="Key usage as key blocks have it: E5 issuer master, K1 transport key, ...")
]
Exportable: TypeAlias = Annotated[
    bool, typer.Option("--exportable", help="The key may be exported under a transport key later.")
]
Zone: TypeAlias = Annotated[str, typer.Option("--zone", help="offline: the key can be wrapped; line: it never leaves.")]
Owner: TypeAlias = Annotated[str, typer.Option("--owner", help="Whose key it is.")]
Shares: TypeAlias = Annotated[
    int, typer.Option("--shares", metavar="M", help="Shares of which M are enough, in place of components.")
]
Test: TypeAlias = Annotated[bool, typer.Option("--test", help="A TEST key; software keystores hold no others.")]
File: TypeAlias = Annotated[str, typer.Option("--file", metavar="FILE", help="The file with the wrapped key.")]
Kek: TypeAlias = Annotated[str, typer.Option("--kek", metavar="NAME", help="The transport key that wraps it.")]


def create(
    folder: Folder,
    *,
    people: People,
    by: By,
    key: Key,
    keystore: Keystore,
    witness: Witness,
    custodian: Custodian = None,
    inside: Annotated[
        bool, typer.Option("--inside", help="Generated in the keystore: no custodians, nobody ever holds a part.")
    ] = False,
    host: HostName = "",
    algorithm: Algorithm = "AES",
    bits: Bits = 256,
    usage: Usage = "E5",
    exportable: Exportable = False,
    zone: Zone = "line",
    owner: Owner = "",
    test: Test = False,
    passphrase_file: PassphraseFile = None,
    json: Json = False,
) -> None:
    """Draft: make a new master from parts that custodians draw, or inside the keystore."""
    _draft(
        folder, people, by, passphrase_file, as_json=json, kind="create", entry="none" if inside else "draw",
        key=key, target=keystore, witnesses=witness, custodians=custodian, host=host, algorithm=algorithm, bits=bits,
        usage=usage, exportability="E" if exportable else "N", zone=zone, owner=owner, test=test,
    )  # fmt: skip  # one long list of names


def import_(
    folder: Folder,
    *,
    people: People,
    by: By,
    key: Key,
    keystore: Keystore,
    witness: Witness,
    custodian: Custodian = None,
    shares: Shares = 0,
    file: File = "",
    kek: Kek = "",
    expected: Annotated[
        str, typer.Option("--expected", metavar="KCV", help="The check value that was sent: 'aes-cmac 6F2F9BE174'.")
    ] = "",
    host: HostName = "",
    algorithm: Algorithm = "AES",
    bits: Bits = 256,
    usage: Usage = "E5",
    exportable: Exportable = False,
    zone: Zone = "line",
    owner: Owner = "",
    test: Test = False,
    passphrase_file: PassphraseFile = None,
    json: Json = False,
) -> None:
    """Draft: load a master from components or shares that custodians type, or from an export (--file, --kek)."""
    _draft(
        folder, people, by, passphrase_file, as_json=json, kind="import", entry="none" if file else "type",
        key=key, target=keystore, witnesses=witness, custodians=custodian, host=host, algorithm=algorithm, bits=bits,
        usage=usage, exportability="E" if exportable else "N", zone=zone, owner=owner, test=test, kek=kek,
        expected=expected, file=file, needed=shares,
    )  # fmt: skip  # as above


def export(
    folder: Folder,
    *,
    people: People,
    by: By,
    key: Key,
    keystore: Keystore,
    witness: Witness,
    kek: Kek,
    file: File,
    host: HostName = "",
    exportable: Exportable = False,
    zone: Zone = "line",
    owner: Owner = "",
    test: Test = False,
    passphrase_file: PassphraseFile = None,
    json: Json = False,
) -> None:
    """Draft: write a master, wrapped under a transport key, into a file for another zone."""
    _draft(
        folder, people, by, passphrase_file, as_json=json, kind="export", entry="none", key=key, target=keystore,
        witnesses=witness, custodians=None, host=host, exportability="E" if exportable else "N", zone=zone,
        owner=owner, test=test, kek=kek, file=file,
    )  # fmt: skip  # as above


def backup(
    folder: Folder,
    *,
    people: People,
    by: By,
    key: Key,
    keystore: Keystore,
    witness: Witness,
    custodian: Custodian,
    file: File,
    shares: Shares = 0,
    host: HostName = "",
    zone: Zone = "line",
    owner: Owner = "",
    test: Test = False,
    passphrase_file: PassphraseFile = None,
    json: Json = False,
) -> None:
    """Draft: write a master into a file, wrapped under a key whose parts the custodians get."""
    _draft(
        folder, people, by, passphrase_file, as_json=json, kind="backup", entry="deal" if shares else "draw", key=key,
        target=keystore, witnesses=witness, custodians=custodian, host=host, zone=zone, owner=owner, test=test,
        file=file, needed=shares,
    )  # fmt: skip  # as above


def restore(
    folder: Folder,
    *,
    people: People,
    by: By,
    key: Key,
    keystore: Keystore,
    witness: Witness,
    custodian: Custodian,
    file: File,
    shares: Shares = 0,
    host: HostName = "",
    algorithm: Algorithm = "AES",
    bits: Bits = 256,
    usage: Usage = "E5",
    zone: Zone = "line",
    owner: Owner = "",
    test: Test = False,
    passphrase_file: PassphraseFile = None,
    json: Json = False,
) -> None:
    """Draft: load a master from a backup, with the parts that the custodians got then."""
    _draft(
        folder, people, by, passphrase_file, as_json=json, kind="restore", entry="type", key=key, target=keystore,
        witnesses=witness, custodians=custodian, host=host, algorithm=algorithm, bits=bits, usage=usage, zone=zone,
        owner=owner, test=test, file=file, needed=shares,
    )  # fmt: skip  # as above


def destroy(
    folder: Folder,
    *,
    people: People,
    by: By,
    key: Key,
    keystore: Keystore,
    witness: Witness,
    host: HostName = "",
    test: Test = False,
    passphrase_file: PassphraseFile = None,
    json: Json = False,
) -> None:
    """Draft: remove a master from its keystore for good."""
    _draft(
        folder, people, by, passphrase_file, as_json=json, kind="destroy", entry="none", key=key, target=keystore,
        witnesses=witness, custodians=None, host=host, test=test,
    )  # fmt: skip  # as above


def approve(
    folder: Folder, *, people: People, by: By, passphrase_file: PassphraseFile = None, json: Json = False
) -> None:
    """Approve a ceremony as it was drafted: another key manager than who drafted it and who hosts it."""
    transcript = Transcript(folder, Directory.load(people))
    ceremony = transcript.read()
    note(title(ceremony.plan))
    for line in pairs(facts(ceremony)):
        note(line)
    (key,) = opened([by], passphrase_file)
    show_ceremony(approve_draft(transcript, key, at_ms=now_ms()), as_json=json)


def add_to(app: typer.Typer) -> None:
    """Make them verbs."""
    for verb in (create, export, backup, restore, destroy, approve):
        app.command()(verb)
    app.command("import")(import_)


def _draft(
    folder: Path,
    people: Path,
    by: Path,
    files: list[Path] | None,
    *,
    as_json: bool,
    kind: Kind,
    entry: Entry,
    target: str,
    host: str,
    custodians: list[str] | None,
    witnesses: list[str],
    needed: int = 0,
    file: str = "",
    **fields: Any,
) -> None:
    directory = Directory.load(people)
    (key,) = opened([by], files)
    plan = Plan(
        id=os.urandom(16).hex(),
        kind=kind,
        entry=entry,
        target=_absolute(target),
        directory=directory.id,
        host=host or key.name,
        custodians=tuple(custodians or ()),
        witnesses=tuple(witnesses),
        split="shares" if needed else "components",
        needed=needed,
        file=str(Path(file).absolute()) if file else "",
        file_sha256=_hash(file) if file and kind in ("import", "restore") else "",
        **_checked(fields),
    )
    transcript = draft(folder, plan, directory, key, at_ms=now_ms(), rng=os.urandom)
    show_ceremony(transcript.read(), as_json=as_json)
    if not as_json:
        say(f"  next: another key manager approves it: keywright ceremony approve {folder}")


def _absolute(uri: str) -> str:
    """A path is looked for from everywhere."""
    if uri.startswith("pkcs11:"):
        return uri
    return f"software:{Path(uri.removeprefix('software:')).absolute()}"


def _hash(file: str) -> str:
    try:
        return hashlib.sha256(Path(file).read_bytes()).hexdigest()
    except OSError as error:
        raise UsageError(
            f"{file}: cannot be read: {error.strerror}", hint="give the file of an export or backup"
        ) from error


def _checked(fields: dict[str, Any]) -> dict[str, Any]:
    if fields.get("algorithm", "AES") not in ("AES", "TDES"):
        raise UsageError(f"--algorithm {fields['algorithm']}: not known", hint="AES or TDES")
    if fields.get("zone", "line") not in ("line", "offline"):
        raise UsageError(f"--zone {fields['zone']}: not known", hint="line or offline")
    return fields
