"""Every field of a card profile: its default, what else it may be, and how sure it is, read from the classes."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, get_type_hints

import msgspec

from generators.markdown import table
from keywright.fob.profiles import allowed, shown
from keywright.globalplatform import profile as module
from keywright.globalplatform.profile import DEFAULT, PROFILES

UNSURE = "[?]"


def documented(kind: type[msgspec.Struct]) -> dict[str, str]:
    """The words under each field of a profile class."""
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(body, ast.ClassDef)
    found: dict[str, str] = {}
    for field, words in pairwise(body.body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            found[field.target.id] = _text(words)
    return found


def fields(profile: Any, above: str = "") -> Iterator[tuple[str, Any, Any, str]]:
    """Dotted name, type, default and words of each field; those of a protocol after the card's own."""
    kind = type(profile)
    hints, words = get_type_hints(kind, include_extras=True), documented(kind)
    inner = []
    for name in kind.__struct_fields__:
        value = getattr(profile, name)
        if isinstance(value, msgspec.Struct):
            inner.append((value, f"{above}{name}."))
        else:
            yield above + name, hints[name], value, words[name]
    for value, dotted in inner:
        yield from fields(value, dotted)


def all_fields() -> str:
    """The table of fields."""
    rows = [
        (
            f"`{name}`",
            f"`{shown(value)}`",
            allowed(kind),
            "unsure" if UNSURE in words else "known",
            words.replace(f"{UNSURE} ", ""),
        )
        for name, kind, value, words in fields(DEFAULT)
    ]
    return table(("field", "default", "it may be", "how sure", "what it says"), rows)


def names() -> str:
    """The table of named profiles, each with what differs from the default."""
    usual = {name: value for name, _, value, _ in fields(DEFAULT)}
    rows = []
    for name, profile in PROFILES.items():
        differs = [f"`{key} = {shown(value)}`" for key, _, value, _ in fields(profile) if value != usual[key]]
        rows.append((f"`{name}`", _words_of(profile), ", ".join(differs) or "nothing"))
    return table(("name", "what it is", "differs in"), rows)


def _words_of(profile: object) -> str:
    """The words under a constant of the module."""
    body = ast.parse(inspect.getsource(module)).body
    for field, words in pairwise(body):
        named = isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and field.target.id
        if named and _text(words) and getattr(module, named, None) is profile:
            return _text(words)
    raise ValueError("a named profile without words")


def _text(words: ast.stmt) -> str:
    """What a docstring says, in one line; nothing for any other statement."""
    if not isinstance(words, ast.Expr) or not isinstance(words.value, ast.Constant):
        return ""
    return re.sub(r"\s+", " ", str(words.value.value)).strip()


PARTS = {"docs/card-profiles.md": {"names": names, "fields": all_fields}}
