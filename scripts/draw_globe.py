"""``python scripts/draw_globe.py FLIGHT.npz PICTURE.png``: a flight drawn on the globe.

``kdmarl-sat fly`` leaves it as ``flight.npz``, a run as ``flight-POLICY.npz``.
"""

from __future__ import annotations

import sys
from pathlib import Path

from envs.basilisk.trace import Trace
from envs.files import write_whole
from kdmarl_sat.missions.report.globe_figure import globe
from kdmarl_sat.report.render import png


def main() -> None:
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    flight, picture = map(Path, sys.argv[1:])
    trace = Trace.load(flight)
    names = [f"satellite {n}" for n in range(trace.latitude_deg.shape[1])]
    write_whole(picture, png(globe(trace, names, flight.stem.replace("-", " "))))


if __name__ == "__main__":
    main()
