"""The recipe format, from the classes that read it."""

from __future__ import annotations

import ast
import inspect
import json
from types import ModuleType
from typing import Any

import msgspec
from msgspec import inspect as shape

from generators.markdown import table
from keywright.production import parameters
from keywright.production.control import control
from keywright.production.control.control import PRODUCTION_LIMITS, TEST_LIMITS, Control
from keywright.production.parameters import OF_ALL, STEPS, Parameters
from keywright.production.steps.declared import DECLARED


def steps() -> str:
    """A section for every step."""
    return "\n\n".join(_step(name, kind) for name, kind in STEPS.items())


def _step(name: str, kind: type[msgspec.Struct]) -> str:
    requires = ", ".join(f"`{one}`" for one in getattr(kind, "requires", ()))
    lines = [f"### {name}\n", inspect.cleandoc(kind.__doc__ or "")]
    if requires:
        lines.append(f"Needs {requires} before it.")
    return "\n".join(lines) + "\n\n" + _fields(kind, leave_out=OF_ALL)


def of_all() -> str:
    """The keys that every step may have."""
    return _fields(Parameters)


def patience() -> str:
    """How patient the line is with each step unless the recipe says otherwise."""
    rows = [(f"`{name}`", f"{d.timeout_s:g}", str(d.retries), f"{d.backoff_s:g}") for name, d in DECLARED.items()]
    return table(("step", "`timeout_s`", "`retries`", "`backoff_s`"), rows)


def limits() -> str:
    """The limits of a lot, with what counts where the recipe is silent."""
    test, production = (msgspec.structs.asdict(one) for one in (TEST_LIMITS, PRODUCTION_LIMITS))
    remarks = _remarks(control)["Control"]
    rows = [
        (f"`{name}`", remarks[name], _limit(test.get(name, 0)), _limit(production.get(name, 0)))
        for name in Control.__struct_fields__
    ]
    return table(("key", "", "trying out", "production"), rows)


def _limit(value: float) -> str:
    return f"`{value:g}`" if value else "off"


def _fields(kind: type[msgspec.Struct], prefix: str = "", leave_out: tuple[str, ...] = ()) -> str:
    remarks = _remarks().get(kind.__name__, {})
    rows: list[tuple[str, ...]] = []
    for field in shape.type_info(kind).fields:  # type: ignore[attr-defined]  # a struct's own type has fields
        if field.name in leave_out:
            continue
        name, about = prefix + field.name, remarks.get(field.name, "")
        if isinstance(field.type, shape.StructType):
            inner = field.type.cls
            rows += [(f"`{field.name}.{one.name}`", _kind(one.type), _default(one), "") for one in field.type.fields]
            rows[-len(field.type.fields)] = (*rows[-len(field.type.fields)][:3], inspect.cleandoc(inner.__doc__ or ""))
            continue
        rows.append((f"`{name}`", _kind(field.type), _default(field), about))
    return table(("key", "value", "default", ""), rows)


def _kind(kind: shape.Type) -> str:  # noqa: PLR0911 - one for each kind of value
    """What may stand there, in words."""
    match kind:
        case shape.BoolType():
            return "`true` or `false`"
        case shape.FloatType(ge=least, le=most):
            return f"number, {least:g} to {most:g}"
        case shape.IntType(ge=low, le=high):
            return f"number, {_number(low, high)} to {_number(high, high)}"
        case shape.LiteralType(values=values):
            high = max((v for v in values if isinstance(v, int)), default=0)
            return ", ".join(f"`{_number(v, high)}`" if isinstance(v, int) else f'`"{v}"`' for v in values)
        case shape.StrType(pattern=pattern):
            return _TEXTS.get(pattern or "", "text")
        case shape.VarTupleType(item_type=item):
            return f"list of: {_kind(item)}"
        case shape.DictType():
            return "table of texts"
        case shape.UnionType(types=types):
            return " or ".join(_kind(one) for one in types if not isinstance(one, shape.NoneType))
    raise TypeError(f"no words for {kind}")


def _pattern(text: Any) -> str:
    """The pattern of an annotated text type."""
    return str(text.__metadata__[0].pattern)


_TEXTS = {
    "": "text",
    _pattern(parameters.Name): "name of a key in the keystore",
    _pattern(parameters.Aid): "AID in hex, 5 to 16 bytes",
}


def _number(value: int | None, high: int | None) -> str:
    """Bytes and words in hex, as the standards write them; days in decimal."""
    if value is None:
        return "any"
    return f"0x{value:02X}" if high in (0x33, 0x7F, 0xFF) else f"0x{value:04X}" if high == 0xFFFF else str(value)


def _default(field: shape.Field) -> str:
    if field.required:
        return "needed"
    value: Any = field.default
    if value is msgspec.NODEFAULT:
        value = field.default_factory()  # a field has one or the other
    if value is None or value in ((), {}):
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, int):
        return f"`{_number(value, _high(field.type))}`"
    if isinstance(value, tuple):
        return f"`{json.dumps(value)}`"
    return f'`"{value}"`'


def _high(kind: shape.Type) -> int | None:
    if isinstance(kind, shape.LiteralType):
        return max(v for v in kind.values if isinstance(v, int))
    return kind.le if isinstance(kind, shape.IntType) else None


def _remarks(module: ModuleType = parameters) -> dict[str, dict[str, str]]:
    """Class -> field -> the text that stands below the field in the source."""
    found: dict[str, dict[str, str]] = {}
    for node in ast.parse(inspect.getsource(module)).body:
        if not isinstance(node, ast.ClassDef):
            continue
        for field, after in zip(node.body, node.body[1:], strict=False):
            match field, after:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)),
                    ast.Expr(value=ast.Constant(value=str(text))),
                ):
                    found.setdefault(node.name, {})[name] = " ".join(text.split())
    return found


PARTS = {"docs/recipes.md": {"steps": steps, "every-step": of_all, "patience": patience, "control": limits}}
