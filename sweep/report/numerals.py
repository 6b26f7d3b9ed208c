"""Numbers as people read them."""

from __future__ import annotations

import math

_SMALLEST_P = 1e-200


def percent(share: float) -> str:
    """A share as per cent with three significant digits: 0.0731 → '7.31 %'."""
    if math.isnan(share):
        return "–"
    number = f"{100 * share:.3g}"
    if number == "100" and share < 1:  # nearly all is not all
        number = f"{100 * share:.8g}"
    if "e" in number and abs(float(number)) >= 1e-6:
        number = f"{float(number):.10f}".rstrip("0").rstrip(".")
    return f"{number} %"


def points(share: float) -> str:
    """A difference of shares in percentage points with its sign: −0.0867 → '−8.67'."""
    sign = "−" if share < 0 else "+" if share > 0 else ""
    return sign + percent(abs(share)).removesuffix(" %")


def span(low: float, high: float) -> str:
    """Two ends in percentage points, or the one number where they agree."""
    return points(low) if low == high else f"{points(low)} to {points(high)}"


def number(value: float) -> str:
    """Three significant digits; '∞', and '–' for nothing."""
    if math.isnan(value):
        return "–"
    return "∞" if math.isinf(value) else f"{value:.3g}"


def count(value: float) -> str:
    """A count of seeds, with one decimal where it is a mean over draws."""
    return f"{int(value):,}" if float(value).is_integer() else f"{value:,.1f}"


def p_value(p: float, relation: str = "=") -> str:
    """'p = 0.012', 'p < 1e-200'; `relation` may be '≤'."""
    return f"p < {_SMALLEST_P:g}" if p < _SMALLEST_P else f"p {relation} {p:.2g}"


def counted(number: int, noun: str) -> str:
    """A number and its noun: '1 seed', '2,000 seeds'."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
