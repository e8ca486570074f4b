"""Python behind an AID: `MODULE:CLASS` on the command line becomes an application of the virtual element.

Only what stands on the command line is imported. A memory file holds AIDs and never causes an import.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias

import typer

from keywright.codec.hexa import unhex
from keywright.errors import UsageError

if TYPE_CHECKING:
    from keywright.element import Applet
    from keywright.element.card import Factory

_PARTS: Final = ("aid", "select", "process")

Applets: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--applet", metavar="MODULE:CLASS", help="An application in Python, made without arguments; may be repeated."
    ),
]
Modules: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--module",
        metavar="AID=MODULE:CLASS",
        help="Python for instances of this executable module once it is loaded, made with the instance's AID.",
    ),
]


def applets(texts: Sequence[str] | None) -> list[Applet]:
    """The applications that `--applet` names, each made. Raises UsageError naming what is wrong with which."""
    return [_checked(_class(text, "--applet")(), text, "--applet") for text in texts or ()]


def factories(texts: Sequence[str] | None) -> dict[bytes, Factory]:
    """What `--module` gives, by module AID. Raises UsageError naming what is wrong with which."""
    found: dict[bytes, Factory] = {}
    for text in texts or ():
        aid, equals, where = text.partition("=")
        if not equals:
            raise UsageError(f"--module {text}: AID=MODULE:CLASS is due", hint="for example A0000000031010=mine:Wallet")
        found[unhex(aid, "--module")] = _factory(_class(where, "--module"), text)
    return found


def _factory(kind: Any, text: str) -> Factory:
    return lambda instance: _checked(kind(instance), text, "--module")


def _class(text: str, option: str) -> Any:
    module, colon, name = text.partition(":")
    if not colon or not module or not name.isidentifier():
        raise UsageError(f"{option} {text}: MODULE:CLASS is due", hint="for example my_applets.wallet:Wallet")
    here = os.getcwd()  # noqa: PTH109 - an entry of sys.path is a text
    if here not in sys.path:
        sys.path.append(here)
    try:
        return getattr(import_module(module), name)
    except AttributeError as error:
        raise UsageError(f"{option} {text}: {module} has no {name}", hint="name a class of that module") from error
    except Exception as error:
        raise UsageError(
            f"{option} {text}: {module} cannot be imported: {type(error).__name__}: {error}",
            hint="give a module that Python finds here, as `python -c 'import MODULE'` would",
        ) from error


def _checked(applet: Any, text: str, option: str) -> Applet:
    missing = [part for part in _PARTS if not hasattr(applet, part)]
    if missing:
        raise UsageError(
            f"{option} {text}: no application: it has no {', '.join(missing)}",
            hint="see keywright.element.Applet: aid, select(context), process(command, context)",
        )
    if not isinstance(applet.aid, bytes) or not 5 <= len(applet.aid) <= 16:
        raise UsageError(f"{option} {text}: its aid is not 5 to 16 bytes", hint="give it an AID of its own")
    found: Applet = applet
    return found
