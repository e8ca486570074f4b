"""The options that all verbs of `keywright card` share, and the decorator that gives them to a verb.

A verb is a function of a `Card` and of its own arguments. In a shell or script the card is there already and stays;
else it is opened by the options and given up at the end.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias, get_type_hints

import typer

from keywright.cli.card.connection import Access, Card
from keywright.cli.card.session import PROTOCOLS, Wish
from keywright.cli.options import Json, Keys, Link, Trace, Yes
from keywright.codec.hexa import unhex
from keywright.errors import UsageError
from keywright.fob.profiles import card_profile

Domain: TypeAlias = Annotated[
    str,
    typer.Option("--domain", "--aid", metavar="AID", help="Select this one, not the card's own domain."),
]
Scp: TypeAlias = Annotated[
    str,
    typer.Option("--scp", metavar="|".join(PROTOCOLS), help="Secure channel; else as the card says."),
]
LevelOption: TypeAlias = Annotated[
    str, typer.Option("--level", metavar="HEX", help="Security level; else the highest the card offers.")
]
KvnOption: TypeAlias = Annotated[str, typer.Option("--kvn", metavar="HEX", help="Key version of the session.")]
IOption: TypeAlias = Annotated[
    str, typer.Option("--i", metavar="HEX", help='SCP02, SCP10: "i", if the card is silent.')
]
Legacy: TypeAlias = Annotated[bool, typer.Option("--legacy", help="Allow SCP02 and SCP10, whose ciphers are old.")]
Oce: TypeAlias = Annotated[
    Path | None,
    typer.Option("--oce", metavar="FILE", help="SCP11a, c, SCP10: our key and certificates, PEM."),
]
Root: TypeAlias = Annotated[
    Path | None,
    typer.Option("--root", metavar="FILE", help="SCP11, SCP10: who certifies the card, PEM."),
]
AnyCard: TypeAlias = Annotated[
    bool, typer.Option("--any-card", help="SCP11: take the card's key unverified. Anyone may then be the card.")
]
CardKey: TypeAlias = Annotated[
    Path | None,
    typer.Option("--card-key", metavar="FILE", help="SCP11: the card's public key, PEM, in place of its certificates."),
]
KeepKeys: TypeAlias = Annotated[
    Path | None,
    typer.Option("--keep-session-keys", metavar="FILE", help="SCP11, simulated card: for decode --session-keys."),
]
HostId: TypeAlias = Annotated[
    str, typer.Option("--host-id", metavar="HEX", help="SCP11: our HostID; it goes into the session keys.")
]
ProfileOption: TypeAlias = Annotated[
    str, typer.Option("--profile", metavar="NAME|FILE", help="The kind of card it is, where it differs from the usual.")
]

_LOOKING: Final[dict[str, Any]] = {"link": (Link, ""), "json": (Json, False), "trace": (Trace, None)}
_SESSION: Final[dict[str, Any]] = {
    "keys": (Keys, ""),
    "domain": (Domain, ""),
    "scp": (Scp, ""),
    "level": (LevelOption, ""),
    "session_kvn": (KvnOption, ""),
    "i": (IOption, ""),
    "legacy": (Legacy, False),
    "oce": (Oce, None),
    "root": (Root, None),
    "any_card": (AnyCard, False),
    "card_key": (CardKey, None),
    "host_id": (HostId, ""),
    "keep_session_keys": (KeepKeys, None),
    "profile": (ProfileOption, ""),
}
_CHANGING: Final[dict[str, Any]] = {"yes": (Yes, False)}


def looking(verb: Callable[..., None]) -> Callable[..., None]:
    """A verb that needs no session: --link, --domain, --json, --trace."""
    return _with({**_LOOKING, "domain": (Domain, "")}, verb)


def managing(verb: Callable[..., None]) -> Callable[..., None]:
    """A verb that works in a session and changes nothing that cannot be undone."""
    return _with({**_LOOKING, **_SESSION}, verb)


def sending(verb: Callable[..., None]) -> Callable[..., None]:
    """A verb that opens no session, and asks before what cannot be undone: --link, --json, --trace, --yes."""
    return _with({**_LOOKING, **_CHANGING}, verb)


def changing(verb: Callable[..., None]) -> Callable[..., None]:
    """A verb that works in a session and asks before what cannot be undone."""
    return _with({**_LOOKING, **_SESSION, **_CHANGING}, verb)


def _with(shared: dict[str, Any], verb: Callable[..., None]) -> Callable[..., None]:
    hints = get_type_hints(verb, include_extras=True)
    own = [
        parameter.replace(annotation=hints[parameter.name])
        for parameter in list(inspect.signature(verb).parameters.values())[1:]
    ]
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, (annotation, default) in shared.items()
    ]

    def run(context: typer.Context, **given: Any) -> None:
        options = {name: given.pop(name) for name in shared}
        if context.invoked_subcommand is not None:
            _leave_to(context, options, shared)
            return
        there = context.find_object(Card)
        if there is not None:
            _refuse_what_is_settled(options, shared)
            there.answer(json=options["json"] or there.access.json, yes=options.get("yes", False) or there.access.yes)
            verb(there, **given)
            return
        with Card(access(options)) as card:
            verb(card, **given)

    first = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
    run.__signature__ = inspect.Signature([first, *own, *added])  # type: ignore[attr-defined]  # functions may have one
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in (first, *own, *added)}
    run.__name__, run.__doc__ = verb.__name__, verb.__doc__
    return run


def _refuse_what_is_settled(options: dict[str, Any], shared: dict[str, Any]) -> None:
    """In a shell card and session are there: an option that names others is refused, not passed over."""
    for name, value in options.items():
        if name not in ("json", "yes") and value != shared[name][1]:
            flag = "kvn" if name == "session_kvn" else name.replace("_", "-")
            raise UsageError(
                f"--{flag}: the card is open already", hint="start a shell with it, or use select and open-session"
            )


def _leave_to(context: typer.Context, options: dict[str, Any], shared: dict[str, Any]) -> None:
    """A verb of its own was named after this one: options belong behind it. Raises UsageError."""
    if any(value != shared[name][1] for name, value in options.items()):
        named = f"{context.command_path.partition(' ')[2]} {context.invoked_subcommand}"
        raise UsageError("options stand behind the whole verb", hint=f"keywright {named} --link ...")


def access(options: dict[str, Any]) -> Access:
    """The options as values. Raises UsageError, DecodeError."""
    scp = options.get("scp", "").lower()
    if scp and scp not in PROTOCOLS:
        raise UsageError(f"--scp {scp}: there is no such secure channel here", hint=f"one of {', '.join(PROTOCOLS)}")
    profile = options.get("profile", "")
    wish = Wish(
        aid=unhex(options.get("domain", ""), "--domain"),
        scp=scp,
        level=byte(options.get("level", ""), "--level"),
        kvn=byte(options.get("session_kvn", ""), "--kvn"),
        i=byte(options.get("i", ""), "--i"),
        legacy=options.get("legacy", False),
        profile=card_profile(profile) if profile else None,
        host_id=unhex(options.get("host_id", ""), "--host-id") or None,
    )
    names = ("link", "trace", "json", "yes", "keys", "oce", "root", "any_card", "card_key", "keep_session_keys")
    return Access(wish=wish, **{name: options[name] for name in names if name in options})


def byte(text: str, what: str) -> int | None:
    """One byte in hex, None for no text. Raises UsageError."""
    if not text:
        return None
    data = unhex(text, what)
    if len(data) != 1:
        raise UsageError(f"{what}: one byte in hex is due, not {text!r}")
    return data[0]
