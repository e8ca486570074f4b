"""`keywright card cap`, `card load` and `card uninstall`: CAP files looked at, signed, and brought to a card."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from keywright.cli.card import words
from keywright.cli.card.connection import Card
from keywright.cli.card.options import changing, managing
from keywright.cli.card.words import TokenKey, Wide
from keywright.cli.keyfile import raw_keys
from keywright.cli.keyring import read_private_key
from keywright.cli.options import Json
from keywright.cli.text import bad, caution, good, pairs, say, show_json
from keywright.codec.hexa import unhex
from keywright.crypto.aes import AesKey
from keywright.errors import DecodeError, UsageError
from keywright.globalplatform.cap.file import Cap, parse_cap
from keywright.globalplatform.cap.lint import CardPackage, Finding, Severity, lint, package_name
from keywright.globalplatform.confirmation import Confirmation
from keywright.globalplatform.dap import HASH_BYTES, sign_dap
from keywright.globalplatform.dialogues import content
from keywright.globalplatform.dialogues.installing import Loading, install_cap
from keywright.globalplatform.dialogues.registry import read_registry
from keywright.globalplatform.signatures import SigningKey

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
on_card = typer.Typer(rich_markup_mode=None)

_LIMIT: Final = 1 << 22

File = Annotated[Path, typer.Argument(metavar="FILE", help="A CAP file, or its IJC form.")]
Hash = Annotated[str, typer.Option("--hash", metavar="|".join(HASH_BYTES), help="Hash of the load file data block.")]
LoadHash = Annotated[
    str,
    typer.Option("--hash", metavar="|".join(HASH_BYTES), help="Hash of the load file, sent; else where one is due."),
]
Descriptor = Annotated[bool, typer.Option("--descriptor", help="With the descriptor component, which few cards want.")]
DapKey = Annotated[
    Path | None,
    typer.Option("--dap-key", metavar="FILE", help="Key that signs the load file: PEM, or an AES key file."),
]
DapDomain = Annotated[str, typer.Option("--dap-domain", metavar="AID", help="The domain that verifies the signature.")]
DapKeys = Annotated[
    list[Path] | None,
    typer.Option("--dap-key", metavar="FILE", help="Key that signs the load file: PEM, or AES; one for each domain."),
]
DapDomains = Annotated[
    list[str] | None,
    typer.Option("--dap-domain", metavar="AID", help="The domain that verifies the signature; repeatable."),
]
To = Annotated[str, typer.Option("--to", metavar="AID", help="Domain of the load file; else the one selected.")]


def read_cap(path: Path) -> Cap:
    """A CAP file. Raises UsageError if it cannot be read, DecodeError if it is none."""
    try:
        with path.open("rb") as file:
            data = file.read(_LIMIT + 1)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        return parse_cap(data)
    except DecodeError as error:
        raise DecodeError(
            f"{path}: {error}", error.offset, hint="give a CAP file (a ZIP archive) or an IJC file"
        ) from error


def signing_key(path: Path) -> SigningKey:
    """A private key from PEM, or the AES key of a key file. Raises UsageError."""
    try:
        beginning = path.read_bytes()[: 1 << 16]
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    if b"-----BEGIN" in beginning:
        return read_private_key(path)
    return AesKey(raw_keys(str(path))[0][0], "signing key")


@app.command()
def info(file: File, *, json: Json = False) -> None:
    """Show package, applets, imports and components.

    Example: keywright card cap info applet.cap
    """
    cap = read_cap(file)
    if json:
        show_json(_document(cap))
        return
    package = cap.package
    lines = [
        ("package", f"{package.aid.hex().upper()} version {package.major}.{package.minor}"),
        ("format", ".".join(map(str, cap.format)) + (" extended" if cap.is_extended else "")),
        ("size to load", f"{len(cap.load_block())} bytes"),
        *(("applet", aid.hex().upper()) for aid in cap.applet_aids),
        *(("import", f"{package_name(one.aid)} {one.major}.{one.minor}") for one in cap.imports),
        ("components", ", ".join(f"{one.name} {len(one.info)}" for one in cap.components)),
    ]
    for line in pairs(lines):
        say(line)


def _document(cap: Cap) -> dict[str, Any]:
    package = cap.package
    return {
        "package": package.aid.hex().upper(),
        "version": f"{package.major}.{package.minor}",
        "format": ".".join(map(str, cap.format)),
        "extended": cap.is_extended,
        "load_bytes": len(cap.load_block()),
        "applets": [aid.hex().upper() for aid in cap.applet_aids],
        "imports": [{"aid": one.aid.hex().upper(), "version": f"{one.major}.{one.minor}"} for one in cap.imports],
        "components": [{"name": one.name, "bytes": len(one.info)} for one in cap.components],
    }


@app.command(name="lint")
@managing
def lint_(card: Card, file: File) -> None:
    """Check a CAP file, also against a card.

    Its structure, and with --link whether the card has what it imports. The exit code is 1 if a card will refuse it.

    Example: keywright card cap lint applet.cap --link pcsc: --keys card.toml
    """
    cap = read_cap(file)
    packages: list[CardPackage] | None = None
    if card.access.link or card.session is not None:
        packages = packages_of(card)
    findings = lint(cap, packages)
    card.tell(_findings(findings), {"findings": [_finding(one) for one in findings]})
    if any(one.severity == Severity.ERROR for one in findings):
        raise typer.Exit(1)


def _findings(findings: Sequence[Finding]) -> Iterator[str]:
    for one in findings:
        style = bad if one.severity == Severity.ERROR else caution
        yield f"{style(str(one.severity))}  {one.where}: {one.text}  ({one.rule})"
    if not findings:
        yield good("nothing is wrong")


def _finding(one: Finding) -> dict[str, str]:
    return {"severity": str(one.severity), "rule": one.rule, "where": one.where, "text": one.text}


@app.command(name="hash")
def hash_(file: File, *, algorithm: Hash = "sha256", descriptor: Descriptor = False, json: Json = False) -> None:
    """Hash the load file data block of a CAP file.

    As INSTALL [for load] and DAP want it.

    Example: keywright card cap hash applet.cap --hash sha384
    """
    digest = read_cap(file).hash(_algorithm(algorithm), descriptor=descriptor).hex().upper()
    if json:
        show_json({"hash": algorithm, "digest": digest})
    else:
        say(digest)


def _algorithm(name: str) -> str:
    if name not in HASH_BYTES:
        raise UsageError(f"--hash {name}: no such hash", hint=f"one of {', '.join(HASH_BYTES)}")
    return name


@app.command()
def sign(
    file: File,
    *,
    dap_key: DapKey = None,
    dap_domain: DapDomain = "",
    algorithm: Hash = "sha256",
    descriptor: Descriptor = False,
    json: Json = False,
) -> None:
    """Sign a CAP file for a domain with DAP verification.

    Prints the signature; `card load` and `card install` send it, with --dap-key.

    Example: keywright card cap sign applet.cap --dap-key dap.pem --dap-domain A0000001515301
    """
    if dap_key is None:
        raise UsageError("a key signs", hint="give it with --dap-key FILE")
    cap, name = read_cap(file), words.aid(dap_domain, "--dap-domain")
    block = signed(lambda: sign_dap(signing_key(dap_key), cap.hash(_algorithm(algorithm), descriptor=descriptor), name))
    if json:
        show_json({"domain": name.hex().upper(), "signature": block.signature.hex().upper(), "hash": algorithm})
    else:
        say(block.signature.hex().upper())


def signed(make: Any) -> Any:
    """What `make` returns. Raises UsageError for a key that cannot sign."""
    try:
        return make()
    except ValueError as error:
        raise UsageError(str(error)) from error


# ---- on a card


def loading(
    to: str,
    algorithm: str,
    dap_keys: list[Path] | None,
    dap_domains: list[str] | None,
    token: content.Token,
    parameters: bytes = b"",
) -> Loading:
    """The options of a load; algorithm: empty for a hash where one is due.

    Raises UsageError for keys and domains that are not as many, and as `signing_key`.
    """
    keys, domains = dap_keys or [], dap_domains or []
    if len(keys) != len(domains):
        raise UsageError(
            f"{len(keys)} --dap-key and {len(domains)} --dap-domain", hint="one of each for every domain that verifies"
        )
    signers = tuple(
        (words.aid(name, "--dap-domain"), signing_key(key)) for name, key in zip(domains, keys, strict=True)
    )
    target = words.aid(to, "--to") if to else b""
    hash_name = _algorithm(algorithm) if algorithm else None
    return Loading(target, hash_name, signers, parameters=parameters, token=token)


def packages_of(card: Card) -> list[CardPackage]:
    """The packages that a card lists."""
    return [CardPackage.listed(aid, version) for aid, version in card.manage(read_registry()).packages]


@on_card.command()
@changing
def load(
    card: Card,
    file: File,
    *,
    to: To = "",
    algorithm: Hash = "sha256",
    dap_key: DapKeys = None,
    dap_domain: DapDomains = None,
    raw: Wide = "",
    token_key: TokenKey = None,
) -> None:
    """Load a CAP file without installing its applets.

    What it imports is checked against the card first.

    Example: keywright card load applet.cap --link pcsc: --keys card.toml
    """
    cap = read_cap(file)
    name = cap.package.aid.hex().upper()
    given = unhex(raw, "--raw-parameters")
    how = loading(to, algorithm, dap_key, dap_domain, words.token(token_key), given)
    card.confirm(f"load the package {name}")
    present = packages_of(card)
    done = signed(lambda: card.manage(install_cap(cap, (), how, card=present, size=card.size)))
    said = done.loaded or Confirmation()
    size = len(cap.load_block())
    document = {"loaded": name, "bytes": size, **words.confirmed(said)}
    card.tell([f"loaded {name}, {size} bytes", *words.receipt_lines(said)], document)


@on_card.command()
@changing
def uninstall(card: Card, file: File, *, token_key: TokenKey = None) -> None:
    """Delete a package and what is made from it.

    Example: keywright card uninstall applet.cap --link pcsc: --keys card.toml
    """
    name = read_cap(file).package.aid
    signed = words.token(token_key)
    card.confirm(f"delete {name.hex().upper()} and every application made from it")
    said = card.manage(content.delete_object(name, related=True, token=signed, size=card.size))
    card.tell(
        [f"uninstalled {name.hex().upper()}", *words.receipt_lines(said)],
        {"uninstalled": name.hex().upper(), **words.confirmed(said)},
    )
