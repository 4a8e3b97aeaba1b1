"""A flown episode as a schedule: who did what when, and what came of it; and its targets, with who imaged them.

Times are UTC, angles in degrees. Files: CSV and JSON of the tasks, GeoJSON (RFC 7946) of the targets.
"""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from envs.basilisk.tasks import OUTCOMES, Tasks
from envs.basilisk.trace import ACTIVITIES, Trace
from envs.files import write_whole
from kdmarl_sat.missions.report.czml import czml, start_of

FORMAT = "kdmarl_sat.schedule"
VERSION = 1
ACTIONS = dict(zip(ACTIVITIES, ("charge", "image", "downlink", "desaturate"), strict=True))
COLUMNS = (
    *("start_utc", "end_utc", "satellite", "catalogue_number", "action", "target", "latitude_deg", "longitude_deg"),
    *("off_nadir_deg", "elevation_deg", "priority", "outcome"),
)


@dataclass(frozen=True, slots=True)
class Flight:
    """Whose episode it is."""

    scenario: str
    policy: str
    epoch_utc: str  # in Basilisk's format
    satellites: tuple[str, ...]
    catalogue_numbers: tuple[int | None, ...]  # of the satellites; empty: nobody has one

    def number_of(self, satellite: int) -> int | None:
        return self.catalogue_numbers[satellite] if self.catalogue_numbers else None

    def utc(self, seconds: float) -> str:
        """ISO 8601 of so many seconds after the start, to the millisecond."""
        moment = start_of(self.epoch_utc) + timedelta(seconds=seconds)
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def rows(tasks: Tasks, flight: Flight) -> list[dict[str, Any]]:
    """The tasks in the order of their beginnings, by ``COLUMNS``; what a task has not is None."""
    return [
        {
            "start_utc": flight.utc(float(tasks.start_s[k])),
            "end_utc": flight.utc(float(tasks.end_s[k])),
            "satellite": flight.satellites[tasks.satellite[k]],
            "catalogue_number": flight.number_of(int(tasks.satellite[k])),
            "action": ACTIONS[ACTIVITIES[tasks.action[k]]],
            "target": str(tasks.target_name[k]) if tasks.target[k] >= 0 else None,
            "latitude_deg": _number(tasks.latitude_deg[k], 5),
            "longitude_deg": _number(tasks.longitude_deg[k], 5),
            "off_nadir_deg": _number(tasks.off_nadir_deg[k], 2),
            "elevation_deg": _number(tasks.elevation_deg[k], 2),
            "priority": _number(tasks.priority[k], 4),
            "outcome": OUTCOMES[tasks.outcome[k]],
        }
        for k in range(len(tasks.satellite))
    ]


def _number(value: float, digits: int) -> float | None:
    return round(float(value), digits) if math.isfinite(value) else None


def as_csv(tasks: Tasks, flight: Flight) -> str:
    """RFC 4180 with a line of names; what a task has not is empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(rows(tasks, flight))
    return text.getvalue()


def as_json(tasks: Tasks, flight: Flight) -> str:
    document = {
        "format": FORMAT,
        "version": VERSION,
        "scenario": flight.scenario,
        "policy": flight.policy,
        "epoch_utc": flight.utc(0.0),
        "tasks": rows(tasks, flight),
    }
    return json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def as_geojson(trace: Trace, flight: Flight) -> str:
    """The targets as points with who was first to image them and to send an image to the ground, and when."""
    features = []
    for m in range(len(trace.target_priority)):
        place = [round(float(trace.target_longitude_deg[m]), 6), round(float(trace.target_latitude_deg[m]), 6)]
        imaged, (sent, sent_s) = int(trace.target_imaged_by[m]), trace.sent(m)
        features.append(
            {
                "type": "Feature",
                "geometry": {"type": "Point", "coordinates": place},
                "properties": {
                    "name": trace.name_of(m),
                    "priority": _number(trace.target_priority[m], 4),
                    "in_reach": bool(trace.target_accessible[m]),
                    "imaged_by": flight.satellites[imaged] if imaged >= 0 else None,
                    "catalogue_number": flight.number_of(imaged) if imaged >= 0 else None,
                    "imaged_utc": flight.utc(float(trace.target_imaged_s[m])) if imaged >= 0 else None,
                    "delivered_by": flight.satellites[sent] if sent >= 0 else None,
                    "delivered_utc": flight.utc(sent_s) if sent >= 0 else None,
                },
            }
        )
    return json.dumps({"type": "FeatureCollection", "features": features}, ensure_ascii=False) + "\n"


def write_schedule(tasks: Tasks, flight: Flight, folder: Path, ending: str) -> None:
    """``schedule`` and the ending, as CSV and as JSON."""
    write_whole(folder / f"schedule{ending}.csv", as_csv(tasks, flight).encode())
    write_whole(folder / f"schedule{ending}.json", as_json(tasks, flight).encode())


def write_targets(trace: Trace, flight: Flight, folder: Path, ending: str) -> None:
    """``targets`` and the ending, as GeoJSON."""
    write_whole(folder / f"targets{ending}.geojson", as_geojson(trace, flight).encode())


def write_trace(trace: Trace, tasks: Tasks | None, flight: Flight, folder: Path, ending: str) -> None:
    """``flight`` and the ending, as CZML and as the trace itself (npz)."""
    title = f"{flight.scenario}: {flight.policy}"
    text = czml(trace, flight.satellites, flight.epoch_utc, title, tasks)
    write_whole(folder / f"flight{ending}.czml", text.encode())
    trace.save(folder / f"flight{ending}.npz")
