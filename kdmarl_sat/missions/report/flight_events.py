"""What a flight log tells, along mission time: one row of marks per kind of event, one panel per satellite."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from kdmarl_sat.report.style import MUTED, WIDTH_IN, satellite_colour, styled
from onboard.flightlog import FlightLog, Kind

ROWS = {
    Kind.DECISION: "decision",
    Kind.OVERRIDE: "guard's override",
    Kind.FALLBACK: "fallback",
    Kind.LATE: "missed deadline",
    Kind.FAILED: "broken down",
    Kind.UPSET: "weight upset",
    Kind.RESPAWNED: "started again",
    Kind.BAD_OUTPUT: "unusable answer",
    Kind.BAD_OBSERVATION: "unusable observation",
    Kind.SAFE_MODE: "safe mode",
}


@styled
def events_figure(log: FlightLog, satellites: Sequence[str], duration_s: float) -> Figure:
    """Events of one episode; kinds that never happened get no row."""
    happened = [kind for kind in ROWS if log.counts()[kind]]
    figure = Figure(figsize=(WIDTH_IN, (0.35 + 0.17 * max(1, len(happened))) * len(satellites) + 0.5))
    axes = figure.subplots(len(satellites), 1, sharex=True, squeeze=False)[:, 0]
    for index, (name, ax) in enumerate(zip(satellites, axes, strict=True)):
        for row, kind in enumerate(happened):
            times = [event.time_s for event in log.events if event.satellite == name and event.kind is kind]
            ordinary = kind is Kind.DECISION
            ax.plot(
                [time / 60 for time in times],
                [row] * len(times),
                linestyle="none",
                marker="|" if ordinary else "D",
                markersize=6 if ordinary else 4,
                color=MUTED if ordinary else satellite_colour(index),
            )
        ax.set_yticks(range(len(happened)), [ROWS[kind] for kind in happened])
        ax.set_ylim(-0.6, len(happened) - 0.4)
        ax.invert_yaxis()
        ax.set_title(name)
    axes[-1].set_xlim(0, duration_s / 60)
    axes[-1].set_xlabel("mission time [min]")
    figure.tight_layout()
    return figure
