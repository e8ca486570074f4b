"""Recipes: TOML files that say what every unit of a lot gets, checked completely before any device is touched."""

from __future__ import annotations

import difflib
import hashlib
import re
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final, NoReturn, TypeVar

import msgspec

from keywright.errors import RecipeError
from keywright.production.control.control import Control
from keywright.production.keystores.registry import Environment
from keywright.production.parameters import OF_ALL, STEPS, Parameters, step_of_others
from keywright.production.toml_lines import Lines

Table = TypeVar("Table", bound=msgspec.Struct)

RECIPE_BYTES: Final = 1 << 20
"""A recipe is at most this long."""

DEVICES: Final = ("fob", "card", "mesh")
"""What a recipe may be for: a fob has our credential applet, a card need not; a mesh device has a radio and no chip."""
_TOP: Final = {"name": str, "device": str, "link": str, "step": list}
_ALLOWED: Final = (*_TOP, "environment", "identity", "control")
ENVIRONMENTS: Final = ("test", "production")
"""What a recipe's units are for: a production recipe takes no TEST keystore."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class StepSpec(msgspec.Struct, frozen=True):
    """One step: its name, the line it begins on, and its parameters, an object of the step's own class."""

    name: str
    line: int
    parameters: Parameters


class Recipe(msgspec.Struct, frozen=True):
    """What every unit gets. `digest` is the SHA-256 of the file's bytes, hex; `text` the file itself."""

    name: str
    digest: str
    device: str
    link: str
    steps: tuple[StepSpec, ...]
    text: str
    environment: Environment = "test"
    control: Control = Control()
    """When the lot has to stop."""
    identity: str = ""
    """The key of the keystore that signs the units' records; empty for the only one."""

    def step(self, name: str) -> StepSpec | None:
        """The step of that name, if the recipe has it."""
        return next((step for step in self.steps if step.name == name), None)


class _Source(msgspec.Struct):
    """The document being read and where its keys stand, for messages."""

    path: str
    lines: Lines

    def refuse(self, where: tuple[str | int, ...], why: str, *, hint: str = "") -> NoReturn:
        raise RecipeError(f"{self.path}:{self.lines.of(*where)}: {why}", hint=hint)


def read_recipe(path: Path | str, steps: Mapping[str, type[Parameters]] = STEPS) -> Recipe:
    """Read and check a recipe file. Raises RecipeError naming file and line."""
    try:
        with Path(path).open("rb") as file:
            data = file.read(RECIPE_BYTES + 1)
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read: {error.strerror}", hint="give the path of a recipe") from error
    if len(data) > RECIPE_BYTES:
        raise RecipeError(f"{path}:1: longer than {RECIPE_BYTES} bytes", hint="is this a recipe?")
    return parse_recipe(data, str(path), steps)


def parse_recipe(data: bytes, name: str = "recipe", steps: Mapping[str, type[Parameters]] = STEPS) -> Recipe:
    """Check a recipe's bytes, for example those a campaign has stored; `name` stands for the file in messages."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise RecipeError(f"{name}:{line}: not UTF-8", hint="save the recipe as UTF-8") from error
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _syntax(name, text, error) from error
    except RecursionError as error:
        raise RecipeError(f"{name}:1: nested too deeply") from error
    except ValueError as error:
        raise RecipeError(f"{name}:1: a number in it is too long") from error
    source = _Source(name, Lines(text))
    _check_top(source, document)
    return Recipe(
        name=document["name"],
        digest=hashlib.sha256(data).hexdigest(),
        device=document["device"],
        link=document["link"],
        steps=_steps(source, document["device"], document["step"], steps),
        text=text,
        environment=document.get("environment", "test"),
        control=_control(source, document.get("control", {})),
        identity=document.get("identity", ""),
    )


def _syntax(name: str, text: str, error: tomllib.TOMLDecodeError) -> RecipeError:
    place = re.search(r" \(at line (\d+), column (\d+)\)$", str(error))
    line = int(place[1]) if place else text.count("\n") + 1
    message = str(error).partition(" (at ")[0]
    return RecipeError(f"{name}:{line}: not TOML: {message}", hint="see examples/fob.toml for a whole recipe")


def _check_top(source: _Source, document: dict[str, object]) -> None:
    for key in document:
        if key not in _ALLOWED:
            source.refuse((key,), f"unknown key {key!r}", hint=_did_you_mean(key, _ALLOWED))
    for key, kind in _TOP.items():
        if key not in document:
            source.refuse((), f"the key {key!r} is missing", hint=_MISSING[key])
        if not isinstance(document[key], kind):
            source.refuse((key,), f"{key}: expected {_KINDS[kind]}", hint=_MISSING[key])
    _check_values(source, document)


def _check_values(source: _Source, document: dict[str, object]) -> None:
    if not _NAME.fullmatch(str(document["name"])):
        source.refuse(("name",), "name: letters, digits, dot, dash and underline, at most 64")
    if document["device"] not in DEVICES:
        source.refuse(("device",), f"device: {document['device']!r} is not known", hint=_MISSING["device"])
    if document.get("environment", "test") not in ENVIRONMENTS:
        source.refuse(
            ("environment",), f"environment: {document['environment']!r} is not known", hint="test or production"
        )
    identity = document.get("identity", "")
    if not isinstance(identity, str) or (identity and not _NAME.fullmatch(identity)):
        source.refuse(
            ("identity",), "identity: expected the name of a key", hint='for example identity = "unit-records"'
        )
    if ":" not in str(document["link"]):
        source.refuse(("link",), "link: not usable", hint=_MISSING["link"])
    if "memory=" in str(document["link"]):
        source.refuse(("link",), "link: a recipe names no files", hint="give such a link on the command line: --link")


_CONTROL: Final = "control"


def _control(source: _Source, values: object) -> Control:
    """The table `[control]`, where there is one."""
    if not isinstance(values, dict):
        source.refuse((_CONTROL,), "control: expected a table [control]", hint="write [control] on a line of its own")
    return _converted(source, (_CONTROL,), "control", values, Control)


_KINDS: Final = {str: "a text", list: "tables [[step]]"}
_MISSING: Final = {
    "name": 'add name = "…" at the top',
    "device": 'write device = "fob" (a card with our credential applet), "card" (any card) or "mesh" (a radio)',
    "link": 'add link = "sim:fob" at the top, or pcsc:READER for a real reader',
    "step": "add at least one table [[step]]",
}


def _steps(
    source: _Source, device: str, tables: list[object], known: Mapping[str, type[Parameters]]
) -> tuple[StepSpec, ...]:
    if not tables:
        source.refuse(("step",), "the recipe has no steps", hint=_MISSING["step"])
    specs: list[StepSpec] = []
    for index, table in enumerate(tables):
        if not isinstance(table, dict):
            source.refuse(("step",), "a step is a table [[step]]", hint=_MISSING["step"])
        spec = _step(source, index, table, known)
        _check_order(source, index, spec, specs, list(known))
        if device not in spec.parameters.devices:
            source.refuse(
                ("step", index, "name"), f"the step {spec.name!r} is not for a {device}", hint=_MISSING["device"]
            )
        specs.append(spec)
    return tuple(specs)


def _step(source: _Source, index: int, table: dict[str, object], known: Mapping[str, type[Parameters]]) -> StepSpec:
    values = dict(table)
    name = values.pop("name", None)
    if name is None:
        source.refuse(("step", index), "the step has no name", hint=f"name is one of {', '.join(known)}")
    kind = _kind(name, known)
    if not isinstance(name, str) or kind is None:
        hint = _did_you_mean(str(name), known)
        source.refuse(("step", index, "name"), f"unknown step {name!r}", hint=hint)
    parameters = _parameters(source, index, name, values, kind)
    return StepSpec(name, source.lines.of("step", index), parameters)


def _parameters(
    source: _Source, index: int, name: str, values: dict[str, object], kind: type[Parameters]
) -> Parameters:
    what = f"step {name!r}"
    parameters = _converted(source, ("step", index), what, values, kind)
    try:
        parameters.check()
    except ValueError as error:
        key = str(error).partition(":")[0]
        source.refuse(("step", index, *key.split(".")), f"{what}: {error}")
    return parameters


def _converted(
    source: _Source, where: tuple[str | int, ...], what: str, values: dict[str, object], kind: type[Table]
) -> Table:
    """A table as an object of its class; refused by name and line if a key or a value does not fit."""
    _check_keys(source, where, what, values, kind)
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        message, path = _explain(error)
        source.refuse((*where, *path), f"{what}: {'.'.join(map(str, path))}: {message}")


def _check_keys(
    source: _Source, where: tuple[str | int, ...], what: str, values: dict[str, object], kind: type[msgspec.Struct]
) -> None:
    """Unknown and missing keys, with the likely one; nested tables with fixed keys as well."""
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    fields |= {name: fields.pop(name) for name in OF_ALL if name in fields}  # a step's own keys are offered first
    for key, value in values.items():
        if key not in fields:
            source.refuse((*where, key), f"{what}: unknown key {key!r}", hint=_did_you_mean(key, fields))
        inner = fields[key].type
        if isinstance(value, dict) and isinstance(inner, type) and issubclass(inner, msgspec.Struct):
            _check_keys(source, (*where, key), f"{what}, {key}", value, inner)
    for key, field in fields.items():
        if field.required and key not in values:
            source.refuse(where, f"{what}: the parameter {key!r} is missing", hint=f"add {key} = …")


def _check_order(source: _Source, index: int, spec: StepSpec, before: list[StepSpec], order: list[str]) -> None:
    names = [step.name for step in before]
    where = ("step", index, "name")
    if spec.name in names:
        line = before[names.index(spec.name)].line
        source.refuse(where, f"the step {spec.name!r} is already on line {line}", hint="list each step once")
    for required in spec.parameters.requires:
        if required not in names:
            source.refuse(where, f"the step {spec.name!r} needs {required!r} before it", hint=f"add {required!r} above")
    before_this = [order.index(name) for name in names if name in order]
    if before_this and spec.name in order and order.index(spec.name) < before_this[-1]:
        source.refuse(where, f"the step {spec.name!r} cannot come after {names[-1]!r}", hint=" → ".join(order))


def _kind(name: object, known: Mapping[str, type[Parameters]]) -> type[Parameters] | None:
    """The parameters of a step: ours, or those of another package."""
    if not isinstance(name, str) or name in known:
        return known.get(str(name))
    other = step_of_others(name)
    return None if other is None else other.PARAMETERS


def _explain(error: msgspec.ValidationError) -> tuple[str, tuple[str | int, ...]]:
    """The message of msgspec and the path it names (`$.product.ic_type`, `$.i[1]`, `$.configuration[...]`)."""
    message, _, place = str(error).partition(" - at `")
    steps = re.findall(r"\.(\w+)|\[(\d+)\]", place)
    return message, tuple(name or int(number) for name, number in steps)


def _did_you_mean(wrong: str, known: Collection[str]) -> str:
    if close := difflib.get_close_matches(wrong, list(known), 1):
        return f"did you mean {close[0]!r}?"
    return f"known are {', '.join(known)}"
