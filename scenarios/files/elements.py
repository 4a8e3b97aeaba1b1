"""Satellites' mean elements from a file: TLE, 3LE, or OMM as CSV, JSON, XML or KVN (CCSDS 502.0-B, CelesTrak)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scenarios.files.reading import FileError, read_text
from scenarios.orbits import EARTH_RADIUS_M
from scenarios.ranges import cut, shown

FIELD = "scenario.constellation.file"
LEAST_PERIGEE_KM = 250.0  # as the least altitude of a circular orbit
DEEP_SPACE_MIN = 225.0  # period from which SGP4 takes its deep-space model
WGS72_RADIUS_KM = 6378.135
MOST = 1000
_DAY_S = 86400.0
_BEFORE_1950 = datetime(1949, 12, 31)
_SAFE = 40  # characters of a name
_DOWN_KM = 150.0  # height below which nothing stays in orbit; and more than short-period terms add to an apogee


@dataclass(frozen=True, slots=True)
class ElementSet:
    """One satellite's mean elements (SGP4; TEME of date)."""

    name: str  # OBJECT_NAME
    catalogue_number: int  # NORAD_CAT_ID; up to nine digits
    epoch: datetime  # UTC, without tzinfo
    mean_motion_rev_day: float
    eccentricity: float
    inclination_deg: float
    raan_deg: float
    perigee_deg: float  # argument
    mean_anomaly_deg: float
    bstar: float  # 1 / Earth radii
    where: str  # in the file

    def satrec(self) -> Any:
        """The ``sgp4`` library's record."""
        from sgp4.api import WGS72, Satrec

        record, turn = Satrec(), math.pi / 180.0
        days = (self.epoch - _BEFORE_1950).total_seconds() / _DAY_S
        motion = self.mean_motion_rev_day * 2.0 * math.pi / 1440.0
        # The catalogue number plays no part, and the library's has six digits at most.
        record.sgp4init(
            *(WGS72, "i", 0, days, self.bstar, 0.0, 0.0, self.eccentricity, self.perigee_deg * turn),
            *(self.inclination_deg * turn, self.mean_anomaly_deg * turn, motion, self.raan_deg * turn),
        )
        return record

    def age_days(self, epoch: datetime) -> float:
        return abs((epoch - self.epoch).total_seconds()) / _DAY_S

    @property
    def apogee_km(self) -> float:
        """Height at apogee."""
        return float(self.satrec().alta) * WGS72_RADIUS_KM

    @property
    def altitude_km(self) -> float:
        """Mean semi-major axis above the Earth's radius."""
        return round(float(self.satrec().a) * WGS72_RADIUS_KM - EARTH_RADIUS_M / 1e3, 3)


def read_elements(file: str) -> tuple[ElementSet, ...]:
    """The element sets of a file, in its order.

    Raises:
        FileError: one sentence with file, line or record, value and what is allowed.
    """
    text, digest = read_text(FIELD, file)
    return _parsed(text, cut(file), digest)


@lru_cache(maxsize=8)
def _parsed(text: str, file: str, digest: str) -> tuple[ElementSet, ...]:
    from scenarios.files.omm import records
    from scenarios.files.tle import line_sets

    def refuse(where: str, what: str) -> FileError:
        return FileError(f"{FIELD}: {file}, {where}: {what}")

    fields = line_sets(text, refuse) if looks_like_lines(text) else records(text, refuse)
    sets = [element_set(each, where, refuse) for where, each in fields]
    if not 0 < len(sets) <= MOST:
        raise refuse("whole file", f"{len(sets)} satellites, where there must be 1 to {MOST}")
    first: dict[int, str] = {}
    for each in sets:
        if each.catalogue_number in first:
            before = first[each.catalogue_number]
            what = f"NORAD_CAT_ID={each.catalogue_number} is that of {before} too: it must be another satellite's"
            raise refuse(each.where, what)
        first[each.catalogue_number] = each.where
    return tuple(sets)


def looks_like_lines(text: str) -> bool:
    """Whether a text is of TLE or 3LE: a line 1 is followed by a line 2."""
    from scenarios.files.tle import is_comment

    lines = [line.rstrip() for line in text.splitlines() if line.strip() and not is_comment(line)]
    after = [*lines[1:], ""]
    return any(
        one.startswith("1 ") and (two.startswith("2 ") or len(one) == 69) for one, two in zip(lines, after, strict=True)
    )


def element_set(fields: Mapping[str, Any], where: str, refuse: Any) -> ElementSet:
    """From OMM keywords and their values, as text or numbers.

    Raises:
        FileError: a keyword is missing, or its value not allowed.
    """

    def number(key: str, low: float, high: float, default: float | None = None) -> float:
        value = fields.get(key)
        if value in (None, "") and default is not None:
            return default
        try:
            found = float(str(value).replace("D", "e"))
        except ValueError:
            found = math.nan
        if isinstance(value, bool) or not low <= found <= high:
            raise refuse(where, f"{key}={shown(value)} is not allowed: it must be a number from {low:g} to {high:g}")
        return found

    _check_kind(fields, where, refuse)
    name = fields.get("OBJECT_NAME")
    if name is not None and type(name) not in (str, int, float):
        raise refuse(where, f"OBJECT_NAME={shown(name)} is not allowed: it must be text")
    catalogue = number("NORAD_CAT_ID", 0, 999999999, -1.0)
    if catalogue < 0 or catalogue % 1:
        value = shown(fields.get("NORAD_CAT_ID"))
        raise refuse(where, f"NORAD_CAT_ID={value} is not allowed: it must be a whole number of at most nine digits")
    elements = ElementSet(
        name=str(name or "").strip() or str(int(catalogue)),
        catalogue_number=int(catalogue),
        epoch=_epoch(fields.get("EPOCH"), where, refuse),
        mean_motion_rev_day=number("MEAN_MOTION", 1e-3, 18.0),
        eccentricity=number("ECCENTRICITY", 0.0, 0.999),
        inclination_deg=number("INCLINATION", 0.0, 180.0),
        raan_deg=number("RA_OF_ASC_NODE", -360.0, 360.0),
        perigee_deg=number("ARG_OF_PERICENTER", -360.0, 360.0),
        mean_anomaly_deg=number("MEAN_ANOMALY", -360.0, 360.0),
        bstar=number("BSTAR", -1.0, 1.0, 0.0),
        where=where,
    )
    period_min = 1440.0 / elements.mean_motion_rev_day
    if period_min >= DEEP_SPACE_MIN:
        what = f"MEAN_MOTION={elements.mean_motion_rev_day:g} is that of a deep-space orbit, of {period_min:.0f} min"
        raise refuse(where, f"{what}: the period must be below {DEEP_SPACE_MIN:g} min")
    record = elements.satrec()
    perigee_km = float(record.altp) * WGS72_RADIUS_KM
    if record.error or not perigee_km >= LEAST_PERIGEE_KM:
        what = f"the perigee of {elements.name} is {perigee_km:.0f} km high"
        raise refuse(where, f"{what}: it must be at least {LEAST_PERIGEE_KM:g} km, for lower orbits decay")
    return elements


_KINDS = {
    "CENTER_NAME": ("EARTH",),
    "REF_FRAME": ("TEME",),
    "TIME_SYSTEM": ("UTC",),
    "MEAN_ELEMENT_THEORY": ("SGP4", "SGP/SGP4"),
    "EPHEMERIS_TYPE": ("0", "2"),  # 4 is SGP4-XP, whose elements mean something else
}


def _check_kind(fields: Mapping[str, Any], where: str, refuse: Any) -> None:
    """What is left out is as usual."""
    for key, allowed in _KINDS.items():
        value = str(fields.get(key) if fields.get(key) not in (None, "") else allowed[0]).strip().upper()
        if value not in allowed:
            raise refuse(where, f"{key}={shown(fields[key])} is not allowed: it must be {' or '.join(allowed)}")


def _epoch(value: Any, where: str, refuse: Any) -> datetime:
    text = str(value or "").strip()
    try:
        day_of_year = re.fullmatch(r"(\d{4}-\d{3}T\d\d:\d\d:\d\d)(\.\d{1,6})?\d*Z?", text)
        if day_of_year:
            fraction = day_of_year[2] or ".0"
            return datetime.strptime(day_of_year[1] + fraction, "%Y-%jT%H:%M:%S.%f")
        epoch = datetime.fromisoformat(text)
        return epoch.astimezone(UTC).replace(tzinfo=None) if epoch.tzinfo else epoch
    except (ValueError, OverflowError):
        allowed = "it must be a date and time of ISO 8601 in UTC, as 2026-03-20T12:00:00.000"
        raise refuse(where, f"EPOCH={shown(value)} is not allowed: {allowed}") from None


def safe_names(satellites: Sequence[tuple[str, int | None]]) -> list[str]:
    """Of all satellites, given their names and catalogue numbers: ASCII letters, digits and _, each one once. BSK-RL
    asks for Python identifiers, and bundles for names of files."""
    names: list[str] = []
    taken: set[str] = set()  # without capitals, which some file systems do not know
    for told, number in satellites:
        name = re.sub(r"_+", "_", re.sub(r"\W", "_", told, flags=re.ASCII)).strip("_")[:_SAFE]
        if not name[:1].isalpha():
            name = f"sat_{name}".rstrip("_")
        while name.lower() in taken:  # with its number it may be another satellite's name
            name = f"{name}_{number}"
        names.append(name)
        taken.add(name.lower())
    return names


def teme_states(
    sets: Sequence[ElementSet], epoch: datetime, time_s: NDArray[np.float64], file: str | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """SGP4 positions [N, T, 3] in m and velocities [N, T, 3] in m/s, in TEME, at times [T] in s after an epoch (UTC).
    An error names the ``file``.

    Raises:
        FileError: SGP4 gives no state of a satellite there: it has decayed.
    """
    from sgp4.api import SGP4_ERRORS, jday

    day, fraction = jday(
        *(epoch.year, epoch.month, epoch.day, epoch.hour, epoch.minute), epoch.second + epoch.microsecond * 1e-6
    )
    fractions = fraction + np.asarray(time_s, np.float64) / _DAY_S
    days = np.full(len(fractions), day)
    r_m, v_m_s = np.empty((2, len(sets), len(fractions), 3))
    for row, each in enumerate(sets):
        errors, r_km, v_km_s = each.satrec().sgp4_array(days, fractions)
        height_km = np.linalg.norm(r_km, axis=-1) - WGS72_RADIUS_KM
        # Where drag has brought it down, SGP4 gives a code, or a height that no such orbit has.
        lost = (errors > 0) | ~((height_km > _DOWN_KM) & (height_km < each.apogee_km + _DOWN_KM))
        if lost.any():
            first = int(np.argmax(lost))
            when = epoch + timedelta(seconds=float(time_s[first]))
            why = SGP4_ERRORS.get(int(errors[first]), f"a height of {height_km[first]:.3g} km")
            where = each.where if file is None else f"{file}, {each.where}"
            raise FileError(
                f"{FIELD}: {where}: SGP4 has {each.name} no longer in orbit at {when:%Y-%m-%d %H:%M} UTC ({why}): "
                "scenario.epoch_utc must be nearer to its elements' epoch"
            )
        r_m[row], v_m_s[row] = r_km * 1e3, v_km_s * 1e3
    return r_m, v_m_s


def check_ages(sets: Sequence[ElementSet], epoch: datetime, max_age_days: float) -> None:
    """
    Raises:
        FileError: an epoch that is too far from some satellite's elements.
    """
    ages = sorted(((each.age_days(epoch), each) for each in sets), key=lambda pair: -pair[0])
    old = [f"{each.name} {age:.1f}" for age, each in ages if age > max_age_days]
    if old:
        more = f" and {len(old) - 5} more" if len(old) > 5 else ""
        raise FileError(
            f"scenario.epoch_utc={epoch:%Y-%m-%dT%H:%M:%SZ} is not allowed: it must be within "
            f"scenario.constellation.max_age_days={max_age_days:g} of the epochs in {FIELD}, "
            f"and is so many days from them: {', '.join(old[:5])}{more}"
        )
