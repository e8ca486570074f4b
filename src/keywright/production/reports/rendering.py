"""Templates of the reports, and the one way to fill them: everything is escaped, nothing stays invisible."""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from keywright.production.unit_store.rows import Unit
from keywright.production.untrusted import visible


def render(name: str, **values: object) -> Markup:
    """Fill a template. Every text in `values` is escaped for HTML and shows its invisible characters."""
    return Markup(_environment().get_template(name).render(values))  # noqa: S704 - escaped by the environment


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("keywright.production.reports", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Callable[..., Any]] = {
        "count": _count,
        "percent": _percent,
        "seconds": seconds_text,
        "rate": _rate,
        "stamp": _stamp,
        "taken": _taken,
    }
    environment.filters.update(filters)
    return environment


def _shown(value: object) -> object:
    """Texts with their invisible characters spelled out; what was rendered here before stays as it is."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return visible(value)
    return value


_NONE = "\N{EN DASH}"


def _count(number: int) -> str:
    return f"{number:,}".replace(",", "\N{THIN SPACE}")


def _percent(share: float | None) -> str:
    """A share of one in percent, never rounded up to 100."""
    if share is None:
        return _NONE
    return "100 %" if share >= 1 else f"{min(share * 100, 99.9):.1f} %"


def seconds_text(seconds: float | None) -> str:
    """A duration as a person reads it; a dash for none."""
    if seconds is None:
        return _NONE
    if seconds < 1:
        return f"{seconds * 1000:.1f} ms"
    if seconds < 120:
        return f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"


def _rate(rate: float | None) -> str:
    if rate is None:
        return _NONE
    return f"{rate:.0f}" if rate >= 10 else f"{rate:.2f}"


def _stamp(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _taken(unit: Unit) -> float | None:
    if unit.started_at is None or unit.finished_at is None:
        return None
    return max(unit.finished_at - unit.started_at, 0.0)
