"""Functions of probability that numpy lacks."""

from __future__ import annotations

import math
from typing import Final

_TINY: Final = 1e-300
_CLOSE: Final = 1e-15
_TERMS: Final = 10_000
_STEPS: Final = 200
_NEAR: Final = 1e-13


def tail_of_normal(x: float) -> float:
    """How likely a standard normal variable is above `x`."""
    return 0.5 * math.erfc(x / 2**0.5)


def beta_cdf(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function, by its continued fraction (DLMF 8.17.22)."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - beta_cdf(1 - x, b, a)
    return x * (1 - x) * math.exp(_log_density(x, a, b)) / a / _fraction(x, a, b)


def beta_quantile(p: float, a: float, b: float) -> float:
    """Where the beta distribution reaches `p`, 0 < p < 1: Newton's steps, halves where they leave the bracket."""
    low, high = 0.0, 1.0
    x = a / (a + b)
    for _ in range(_STEPS):
        over = beta_cdf(x, a, b) - p
        low, high = (low, x) if over > 0 else (x, high)
        density = math.exp(_log_density(x, a, b))
        step = x - over / density if density else low
        following = step if low < step < high else (low + high) / 2
        if abs(following - x) <= _NEAR * following:
            return following
        x = following
    return x


def _log_density(x: float, a: float, b: float) -> float:
    whole = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    return whole + (a - 1) * math.log(x) + (b - 1) * math.log1p(-x)


def _fraction(x: float, a: float, b: float) -> float:
    """1 + d1/(1 + d2/(1 + ...)) by Lentz' method."""
    value, above, below = 1.0, 1.0, 0.0
    for n in range(1, _TERMS):
        m = n // 2
        if n % 2:
            d = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            d = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        above = 1 + d / above or _TINY
        below = 1 / (1 + d * below or _TINY)
        value *= above * below
        if abs(above * below - 1) < _CLOSE:
            break
    return value
