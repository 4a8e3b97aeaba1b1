"""Two-line and three-line element sets as OMM keywords (NORAD's format; Alpha-5 catalogue numbers)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

from scenarios.ranges import shown

_LENGTH = 69
Refuse = Callable[[str, str], Exception]


def checksum(line: str) -> int:
    """Of the first 68 characters: the sum of the digits, 1 for each minus sign, modulo 10."""
    return sum(int(mark) if mark.isdigit() else mark == "-" for mark in line[: _LENGTH - 1]) % 10


def is_comment(line: str) -> bool:
    return line.lstrip().startswith("#")


def line_sets(text: str, refuse: Refuse) -> Iterator[tuple[str, dict[str, Any]]]:
    """Where each element set stands, and its OMM keywords.

    Raises:
        the error that ``refuse(where, what)`` makes.
    """
    name, first, first_at = "", "", 0
    for number, raw in enumerate(text.splitlines(), 1):
        line, where = raw.rstrip(), f"line {number}"
        if not line.strip() or is_comment(line):
            continue
        if first:
            if not line.startswith("2 "):
                raise refuse(where, f"{shown(line)} is not allowed: it must be line 2 of the set that began before it")
            _check(line, where, refuse)
            if line[2:7] != first[2:7]:
                what = f"catalogue number {line[2:7]!r} is not allowed: it must be {first[2:7]!r}, as in line 1"
                raise refuse(where, what)
            yield f"line {first_at}", _keywords(name, first, line, f"lines {first_at} and {number}", refuse)
            name, first = "", ""
        elif line.startswith("1 ") and (len(line) == _LENGTH or line[7:8] in "UCS"):
            _check(line, where, refuse)
            first, first_at = line, number
        elif line.startswith("2 ") and len(line) == _LENGTH:
            raise refuse(where, "line 2 of a set is not allowed here: it must follow its line 1")
        elif name:
            raise refuse(where, f"{shown(line)} is not allowed: after a satellite's name there must be its line 1")
        else:
            name = line.removeprefix("0 ").strip()
    if first or name:
        raise refuse("last line", "an element set is cut short: it must have its lines 1 and 2")


def _check(line: str, where: str, refuse: Refuse) -> None:
    if len(line) != _LENGTH or not line.isascii():
        raise refuse(where, f"a line of {len(line)} characters is not allowed: it must have {_LENGTH}, all ASCII")
    if line[-1] != str(checksum(line)):
        raise refuse(where, f"checksum {line[-1]!r} is not allowed: it must be {checksum(line)}, as the line adds up")


def _keywords(name: str, one: str, two: str, where: str, refuse: Refuse) -> dict[str, Any]:
    try:
        year, day = int(one[18:20]), float(one[20:32])
        if not 1.0 <= day < 367.0:
            raise ValueError
        epoch = datetime(year + (1900 if year >= 57 else 2000), 1, 1) + timedelta(days=day - 1.0)
    except ValueError:
        what = f"epoch {one[18:32]!r} is not allowed: it must be a year of two digits and a day of it"
        raise refuse(where, what) from None
    return {
        "OBJECT_NAME": name,
        "NORAD_CAT_ID": _catalogue(one[2:7], where, refuse),
        "EPHEMERIS_TYPE": one[62].strip(),
        "EPOCH": epoch.isoformat(),
        "BSTAR": _assumed_point(one[53:61]),
        "INCLINATION": two[8:16].strip(),
        "RA_OF_ASC_NODE": two[17:25].strip(),
        "ECCENTRICITY": f"0.{two[26:33].strip()}",
        "ARG_OF_PERICENTER": two[34:42].strip(),
        "MEAN_ANOMALY": two[43:51].strip(),
        "MEAN_MOTION": two[52:63].strip(),
    }


def _catalogue(text: str, where: str, refuse: Refuse) -> int:
    """Alpha-5: the first character may be a letter but I and O, for 10 to 33."""
    letters = "ABCDEFGHJKLMNPQRSTUVWXYZ"
    text = text.strip()
    head, rest = text[:1], text[1:]
    if head in letters and head and rest.isdigit():
        return (letters.index(head) + 10) * 10000 + int(rest)
    if not text.isdigit():
        what = f"catalogue number {text!r} is not allowed: it must be of digits, the first one perhaps a letter"
        raise refuse(where, what)
    return int(text)


def _assumed_point(text: str) -> str:
    """ " 28098-4" is 0.28098e-4."""
    text = text.strip()
    sign, text = (text[0], text[1:]) if text[:1] in ("+", "-") else ("", text)
    mantissa, mark, exponent = text[:-2], text[-2:-1], text[-1:]
    return f"{sign}0.{mantissa.strip()}e{mark.strip() or '+'}{exponent}" if text else "0"
