"""Basilisk's support data (ephemeris, leap seconds, constants, gravity) from a folder, never from the internet.

The project carries an excerpt in ``support_data/`` (scripts/make_support_data.py remakes it); a user's own folder
of the same layout may hold the full files or other years.
"""

from __future__ import annotations

import hashlib
import struct
from datetime import datetime, timedelta
from pathlib import Path

from scenarios.ranges import ConfigError

CARRIED = Path(__file__).parent / "support_data"
EPHEMERIS = "EphemerisData/de430.bsp"  # the name that BSK-RL asks for, whatever ephemeris it holds
TEXT_KERNELS = ("EphemerisData/naif0012.tls", "EphemerisData/pck00010.tpc", "EphemerisData/de-403-masses.tpc")
GRAVITY = "LocalGravData/GGM03S.txt"
GRAVITY_DEGREE = 10  # what BSK-RL evaluates
FILES = (EPHEMERIS, *TEXT_KERNELS, GRAVITY)

_J2000 = datetime(2000, 1, 1, 12)
_EPOCH_FORMAT = "%Y %b %d %H:%M:%S.%f (UTC)"
_AHEAD_OF_UTC_S = 120.0  # bound on ephemeris time minus UTC (69.2 s since 2017)
_RECORD_BYTES = 1024
_BODIES = {10: "Sun", 3: "Earth-Moon barycentre", 399: "Earth"}


class SupportDataError(ConfigError):
    """Support data that is missing or damaged, or an epoch it does not cover; the message is for the user."""


def bootstrap(folder: str | Path | None = None) -> None:
    """Point this process's Basilisk at the support data and silence its chatter; call it in every process.

    Args:
        folder: a folder of the same layout as ``support_data/``; None: the excerpt carried in the project.

    Raises:
        SupportDataError: a file is missing or damaged. (Basilisk itself would start a download.)
    """
    path = _resolve(folder)
    _check_files(path, carried=folder is None)

    from Basilisk.architecture import bskLogging
    from Basilisk.utilities.supportDataTools import dataFetcher

    dataFetcher.LOCAL_SUPPORT = path  # read at each look-up
    bskLogging.setDefaultLogLevel(bskLogging.BSK_WARNING)


def check_epoch(epoch_utc: str, duration_s: float, folder: str | Path | None = None) -> None:
    """Refuse an epoch from which the ephemeris does not cover ``duration_s`` seconds of simulation.

    Args:
        epoch_utc: in Basilisk's format, such as "2026 MAR 20 12:00:00.000 (UTC)".
        duration_s: all that is simulated after it.
        folder: as for ``bootstrap``.

    Raises:
        SupportDataError: the epoch is outside, or not in that format, or the ephemeris cannot be read.
    """
    epoch = parse_epoch(epoch_utc)
    kernel = _resolve(folder) / EPHEMERIS
    start_s, end_s = ephemeris_span(kernel)
    first, last = _calendar(start_s), _calendar(end_s - _AHEAD_OF_UTC_S - duration_s)
    if not first <= epoch <= last:
        raise SupportDataError(
            f"scenario.epoch_utc={epoch_utc!r} is not allowed: for {duration_s:g} s of flight within the ephemeris "
            f"{kernel} it must lie between {first:%Y-%m-%d %H:%M} and {last:%Y-%m-%d %H:%M} UTC "
            "(scenario.support_data_dir can name a folder with other years)"
        )


def data_digest(folder: str | Path | None) -> str:
    """SHA-256 over the five files."""
    path = _resolve(folder)
    total = hashlib.sha256()
    for name in FILES:
        total.update(name.encode())
        total.update((path / name).read_bytes())
    return total.hexdigest()


def parse_epoch(epoch_utc: str) -> datetime:
    """A date in Basilisk's format.

    Raises:
        SupportDataError: it is not in that format.
    """
    try:
        return datetime.strptime(epoch_utc, _EPOCH_FORMAT)
    except ValueError:
        raise SupportDataError(
            f"scenario.epoch_utc={epoch_utc!r} is not allowed: it must be a date like '2026 MAR 20 12:00:00.000 (UTC)' "
            "or 2026-03-20T12:00:00Z"
        ) from None


def ephemeris_span(kernel: Path) -> tuple[float, float]:
    """First and last ephemeris time [s past J2000, TDB] at which an SPK file has both the Sun and the Earth.

    Reads the segment summaries of the DAF container (NAIF, "DAF Required Reading").

    Raises:
        SupportDataError: no such file, not an SPK file, cut short, or without one of the bodies.
    """
    spans: dict[int, tuple[float, float]] = {}
    try:
        with kernel.open("rb") as file:
            header = file.read(_RECORD_BYTES)
            order = {b"LTL-IEEE": "<", b"BIG-IEEE": ">"}[header[88:96]]
            doubles, integers = struct.unpack_from(f"{order}2i", header, 8)
            record, _, free = struct.unpack_from(f"{order}3i", header, 76)
            if header[:8] != b"DAF/SPK " or (doubles, integers) != (2, 6) or kernel.stat().st_size < 8 * (free - 1):
                raise ValueError
            for _ in range(free):  # a damaged chain of summary records may be circular
                if record == 0:
                    break
                file.seek((record - 1) * _RECORD_BYTES)
                summaries = file.read(_RECORD_BYTES)
                following, _, count = struct.unpack_from(f"{order}3d", summaries)
                for index in range(int(count)):
                    start, end, target = struct.unpack_from(f"{order}2di", summaries, 24 + 40 * index)
                    known = spans.get(target, (start, end))
                    spans[target] = (min(start, known[0]), max(end, known[1]))
                record = int(following)
    except FileNotFoundError:
        raise SupportDataError(f"the support data file {kernel} is missing") from None
    except (KeyError, ValueError, OverflowError, struct.error):
        raise SupportDataError(f"the support data file {kernel} is damaged: it is not a whole SPK ephemeris") from None
    lacking = [name for body, name in _BODIES.items() if body not in spans]
    if lacking:
        raise SupportDataError(f"the ephemeris {kernel} cannot be used: it lacks the {' and the '.join(lacking)}")
    return max(spans[body][0] for body in _BODIES), min(spans[body][1] for body in _BODIES)


def _resolve(folder: str | Path | None) -> Path:
    return CARRIED if folder is None else Path(folder).expanduser().resolve()


def _check_files(folder: Path, carried: bool) -> None:
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        owner = "the project's own support data in" if carried else "scenario.support_data_dir ="
        raise SupportDataError(f"{owner} {folder} cannot be used: {', '.join(missing)} missing, of {', '.join(FILES)}")
    if carried:
        for line in (folder / "SHA256SUMS").read_text().splitlines():
            digest, name = line.split()
            if hashlib.sha256((folder / name).read_bytes()).hexdigest() != digest:
                raise _damaged(folder / name, "its SHA-256 is not the one in SHA256SUMS; install the project again")
        return
    ephemeris_span(folder / EPHEMERIS)
    for name in TEXT_KERNELS:
        if b"\\begindata" not in (folder / name).read_bytes():
            raise _damaged(folder / name, "it is not a SPICE text kernel")
    with (folder / GRAVITY).open(errors="replace") as file:
        header = file.readline().split(",")
    if len(header) < 5 or not header[3].strip().isdigit() or int(header[3]) < GRAVITY_DEGREE:
        raise _damaged(folder / GRAVITY, f"its first line must give a degree of at least {GRAVITY_DEGREE}")


def _damaged(file: Path, why: str) -> SupportDataError:
    return SupportDataError(f"the support data file {file} is damaged: {why}")


def _calendar(seconds: float) -> datetime:
    """Seconds past J2000 as a date, clipped to the years that ``datetime`` has."""
    low, high = ((bound - _J2000).total_seconds() for bound in (datetime.min, datetime.max))
    return _J2000 + timedelta(seconds=min(max(seconds, low + 1), high - 1))
