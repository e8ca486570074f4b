"""What is on a card: domains and applications made, moved, deleted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from keywright.cli.card import words
from keywright.cli.card.cap import DapDomains, DapKeys, LoadHash, To, loading, packages_of, read_cap, signed
from keywright.cli.card.connection import Card
from keywright.cli.card.options import changing
from keywright.cli.card.words import Aid, Parameters, Privileges, TokenKey, Wide
from keywright.codec.hexa import unhex
from keywright.codec.tlv import item
from keywright.errors import DecodeError, UsageError
from keywright.globalplatform.confirmation import Confirmation
from keywright.globalplatform.dialogues import content
from keywright.globalplatform.dialogues.installing import Loading, Wanted, install_cap
from keywright.globalplatform.install import InstallParameters
from keywright.globalplatform.messages import Tag
from keywright.globalplatform.privileges import Privilege

app = typer.Typer(rich_markup_mode=None)


@app.command()
@changing
def install(
    card: Card,
    what: Annotated[str, typer.Argument(metavar="FILE|AID", help="A CAP file, or the AID of the new application.")],
    *,
    package: Annotated[str, typer.Option("--package", metavar="AID", help="The load file on the card.")] = "",
    module: Annotated[str, typer.Option("--module", metavar="AID", help="Its module; else AID of the instance.")] = "",
    instance: Annotated[
        str, typer.Option("--instance", metavar="AID", help="Of a CAP file with one applet: its AID on the card.")
    ] = "",
    privileges: Privileges = "",
    parameters: Parameters = "",
    raw: Wide = "",
    select: Annotated[bool, typer.Option("--select/--no-select", help="Make it selectable, too.")] = True,
    combined: Annotated[
        bool, typer.Option("--combined", help="Of a CAP file with one applet: load and install as one process.")
    ] = False,
    token_key: TokenKey = None,
    to: To = "",
    algorithm: LoadHash = "",
    dap_key: DapKeys = None,
    dap_domain: DapDomains = None,
) -> None:
    """Install an application, from a CAP file or a package.

    A CAP file is loaded and its applets installed; an AID is installed from a load file that is on the card. What the
    CAP file imports is checked against the card first. --to, --hash and --dap-... are for the load, as in `card load`.

    Example: keywright card install applet.cap --link pcsc: --keys card.toml
    """
    given, held, token = _parameters(parameters, raw), words.privileges(privileges), words.token(token_key)
    if not _is_hex(what):
        if package or module:
            raise UsageError("a CAP file names its package and modules itself", hint="leave --package and --module")
        if not select:
            raise UsageError(
                "the applets of a CAP file are made selectable", hint="load it, then install with --package"
            )
        wanted = Wanted(b"", None, held, InstallParameters.parse(given), token)
        how = loading(to, algorithm, dap_key, dap_domain, content.NO_TOKEN if combined else token)
        _install_file(card, Path(what), instance, wanted, how, combined=combined)
        return
    if to or dap_key or dap_domain:
        raise UsageError("--to and --dap-... are for a load, and this package is on the card", hint="leave them")
    if not package:
        hint = "name it with --package AID, or give a CAP file"
        raise UsageError("an application is made from a load file", hint=hint)
    name = words.aid(what)
    source = words.aid(package, "--package")
    made = content.Installation(source, words.aid(module or what, "--module"), name, held, given)
    card.confirm(f"install the application {name.hex().upper()}")
    _install(card, made, "application", select=select, token=token)


def _is_hex(text: str) -> bool:
    try:
        return bool(unhex(text))
    except DecodeError:
        return False


def _install_file(card: Card, path: Path, instance: str, wanted: Wanted, how: Loading, *, combined: bool) -> None:
    cap = read_cap(path)
    if instance and len(cap.applet_aids) != 1:
        raise UsageError(f"{path} has {len(cap.applet_aids)} applets: --instance is for one", hint="leave it")
    own = words.aid(instance, "--instance") if instance else None
    chosen = [msgspec.structs.replace(wanted, module=module, instance=own) for module in cap.applet_aids]
    package = cap.package.aid.hex().upper()
    card.confirm(f"load the package {package} and install {len(chosen)} applet{'s' * (len(chosen) != 1)}")
    present = packages_of(card)
    dialogue = install_cap(
        cap, chosen, how, card=present, combined=combined, profile=card.access.wish.card, size=card.size
    )
    done = signed(lambda: card.manage(dialogue))
    names = [name.hex().upper() for name, _ in done.applets]
    lines = [f"loaded {package}, {len(cap.load_block())} bytes"]
    if done.loaded is not None:
        lines += words.receipt_lines(done.loaded)
    for name, said in done.applets:
        lines += [f"installed {name.hex().upper()}, SELECTABLE", *words.receipt_lines(said)]
    loaded = None if done.loaded is None else words.confirmed(done.loaded)
    applets = [{"aid": name.hex().upper(), **words.confirmed(said)} for name, said in done.applets]
    card.tell(lines, {"loaded": package, "confirmation": loaded, "applets": applets, "installed": names})


@app.command(name="create-domain")
@changing
def create_domain(
    card: Card,
    instance: Aid,
    *,
    package: Annotated[
        str, typer.Option("--package", metavar="AID", help="Its load file; else as the card profile has it.")
    ] = "",
    module: Annotated[str, typer.Option("--module", metavar="AID", help="Its module; else likewise.")] = "",
    privileges: Privileges = "",
    parameters: Parameters = "",
    raw: Wide = "",
    token_key: TokenKey = None,
) -> None:
    """Make a supplementary security domain.

    It has no keys until some are put: card keys put FILE --domain AID.

    Example: keywright card create-domain A0000001515301 --privileges "delegated management"
    """
    name = words.aid(instance)
    held = words.privileges(privileges) | Privilege.SECURITY_DOMAIN
    kind = card.access.wish.card
    load_file = words.aid(package, "--package") if package else kind.domain_load_file
    named = words.aid(module, "--module") if module else kind.domain_module
    what = content.Installation(load_file, named, name, held, _parameters(parameters, raw))
    card.confirm(f"make the security domain {name.hex().upper()}")
    _install(card, what, "security domain", select=True, token=words.token(token_key))


def _parameters(value: str, raw: str) -> bytes:
    if raw:
        return unhex(raw, "--raw-parameters")
    return InstallParameters(application=unhex(value, "--parameters")).build() or item(0xC9, b"")


def _install(card: Card, what: content.Installation, kind: str, *, select: bool, token: content.Token) -> None:
    name = what.instance.hex().upper()
    said = card.manage(content.install_for_install(what, make_selectable=select, token=token, size=card.size))
    state = "SELECTABLE" if select else "INSTALLED"
    _tell(card, f"installed {kind} {name}, {state}", said, {"installed": name, "state": state})


def _tell(card: Card, line: str, said: Confirmation, document: dict[str, Any]) -> None:
    card.tell([line, *words.receipt_lines(said)], {**document, **words.confirmed(said)})


@app.command(name="make-selectable")
@changing
def make_selectable(card: Card, instance: Aid, *, privileges: Privileges = "", token_key: TokenKey = None) -> None:
    """Make an installed application selectable.

    Example: keywright card make-selectable A00000000301
    """
    name = words.aid(instance)
    held = words.privileges(privileges) if privileges else None
    signed = words.token(token_key)
    card.confirm(f"make {instance.upper()} selectable")
    said = card.manage(content.make_selectable(name, privileges=held, token=signed, size=card.size))
    _tell(card, f"{name.hex().upper()} is SELECTABLE", said, {"selectable": name.hex().upper()})


@app.command()
@changing
def delete(
    card: Card,
    target: Aid,
    *,
    related: Annotated[
        bool, typer.Option("--related", help="A load file with all its applications, a domain with what it has.")
    ] = False,
    token_key: TokenKey = None,
) -> None:
    """Delete an application, load file or security domain.

    Example: keywright card delete A000000003 --related
    """
    name = words.aid(target)
    signed = words.token(token_key)
    card.confirm(f"delete {name.hex().upper()}" + (" and everything that belongs to it" if related else ""))
    said = card.manage(content.delete_object(name, related=related, token=signed, size=card.size))
    _tell(card, f"deleted {name.hex().upper()}", said, {"deleted": name.hex().upper(), "related": related})


@app.command()
@changing
def move(
    card: Card,
    application: Aid,
    domain_to: Annotated[str, typer.Argument(metavar="DOMAIN", help="AID of its new security domain.")],
    *,
    token_key: TokenKey = None,
) -> None:
    """Move an application under another security domain.

    Extradition; a load file can be moved, too.

    Example: keywright card move A00000000301 A0000001515301
    """
    name, to = words.aid(application), words.aid(domain_to, "DOMAIN")
    signed = words.token(token_key)
    card.confirm(f"move {name.hex().upper()} under {to.hex().upper()}")
    said = card.manage(content.extradite(name, to, token=signed, size=card.size))
    moved = {"moved": name.hex().upper(), "to": to.hex().upper()}
    _tell(card, f"moved {name.hex().upper()} under {to.hex().upper()}", said, moved)


@app.command()
@changing
def registry(
    card: Card,
    application: Aid,
    *,
    privileges: Privileges = "",
    to: Annotated[str, typer.Option("--to", metavar="AID", help="Its new security domain.")] = "",
    raw: Wide = "",
    token_key: TokenKey = None,
) -> None:
    """Change what the registry says of an application.

    Privileges, services, domain; what is not given stays.

    Example: keywright card registry A00000000301 --privileges "global delete"
    """
    name = words.aid(application)
    held = words.privileges(privileges) if privileges else None
    to_aid = words.aid(to, "--to") if to else b""
    signed, more = words.token(token_key), unhex(raw, "--raw-parameters")
    card.confirm(f"change the registry entry of {name.hex().upper()}")
    dialogue = content.update_registry(
        name, security_domain=to_aid, privileges=held, parameters=more, token=signed, size=card.size
    )
    _tell(card, f"changed {name.hex().upper()}", card.manage(dialogue), {"changed": name.hex().upper()})


@app.command(name="rename")
@changing
def rename(card: Card, new: Annotated[str, typer.Argument(metavar="AID", help="Its new AID.")]) -> None:
    """Give the issuer security domain another AID.

    By STORE DATA of 4F, where the card allows it.

    Example: keywright card rename A000000151000001
    """
    from keywright.globalplatform.dialogues.personalization import store_objects  # noqa: PLC0415 - rarely needed

    name = words.aid(new)
    card.confirm(f"rename the issuer security domain to {name.hex().upper()}")
    card.manage(store_objects([(Tag.AID, name)], size=card.size))
    card.drop()
    card.tell(f"the issuer security domain is {name.hex().upper()}", {"renamed": name.hex().upper()})
