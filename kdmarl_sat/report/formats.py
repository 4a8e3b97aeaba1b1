"""Numbers as a reader wants them, the same in figures, tables and on the console."""

from __future__ import annotations

import math

from kdmarl_sat.report.statistics import Interval

MISSING = "\u2013"  # en dash
_THIN = "\u202f"  # narrow no-break space
_MINUS = "\u2212"
_TIMES = "\u00d7"


def number(value: float | None, digits: int = 1) -> str:
    """Fixed digits; whole numbers of four and more figures in groups of three."""
    if value is None or not math.isfinite(value):
        return MISSING
    text = f"{value:,.{digits}f}".replace(",", _THIN)
    zero = f"{0:.{digits}f}"
    return zero if text == f"-{zero}" else text.replace("-", _MINUS)


def count(value: float | None) -> str:
    return number(value, 0)


def short(value: float | None) -> str:
    """Three figures and k, M or G for a thousand, a million or a billion: 42.2k."""
    if value is None or not math.isfinite(value):
        return MISSING
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= 0.9995 * size:
            return f"{significant(value / size)}{unit}"
    return count(value)


def percent(fraction: float | None, digits: int = 0) -> str:
    return MISSING if fraction is None or not math.isfinite(fraction) else f"{number(100 * fraction, digits)}{_THIN}%"


def significant(value: float | None, figures: int = 3) -> str:
    """At least so many figures, for quantities of any size."""
    if value is None or not math.isfinite(value):
        return MISSING
    if value == 0:
        return "0"
    return number(value, max(0, figures - 1 - math.floor(math.log10(abs(value)))))


def told_apart(first: float, second: float) -> tuple[str, str]:
    """Two numbers to be compared, with as many figures as it takes to see that they differ."""
    for figures in range(3, 9):
        texts = significant(first, figures), significant(second, figures)
        if first == second or texts[0] != texts[1]:
            break
    return texts


def factor(value: float | None) -> str:
    """A ratio, with the sign for "times"."""
    return MISSING if value is None or not math.isfinite(value) else f"{significant(value)}{_TIMES}"


def spread(interval: Interval, digits: int = 1, scale: float = 1.0) -> str:
    """The bounds as "[29.8, 32.6]"; empty where there are none or they coincide with the estimate."""
    low, high = scale * interval.low, scale * interval.high
    if not (math.isfinite(low) and math.isfinite(high)) or interval.low == interval.high:
        return ""
    return f"[{number(low, digits)}, {number(high, digits)}]"


def duration(seconds: float) -> str:
    """7.4 s, 3 min 20 s, 1 h 05 min."""
    if not math.isfinite(seconds):
        return MISSING
    if seconds < 59.95:
        return f"{number(seconds, 1)} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"
