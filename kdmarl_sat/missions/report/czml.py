"""A traced flight as CZML, for Cesium (https://github.com/AnalyticalGraphicsInc/czml-writer/wiki/CZML-Guide).

Satellites along their orbits with battery and what they do, targets by priority and state, and a line from a satellite
to its target while it takes the image. Times are UTC, positions Earth-fixed in metres, as the simulation has them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.basilisk.tasks import OUTCOMES, Tasks
from envs.basilisk.trace import ACTIVITIES, Trace
from kdmarl_sat.report.style import satellite_colour

EARTH_RADIUS_KM = 6378.1366
_LINE_S = 15.0  # before a capture, in which the line to the target is shown
_TRAIL_S = 900.0
_APART_S = 15.0  # at least, of positions: Cesium interpolates, which samples of unlike spacing make worse
_WAITING, _MISSED = (255, 208, 90, 230), (150, 158, 170, 90)
_ON_BOARD_ALPHA = 110  # imaged, and not yet delivered
_EPOCH_FORMAT = "%Y %b %d %H:%M:%S.%f (UTC)"  # Basilisk's


def czml(trace: Trace, satellites: Sequence[str], epoch_utc: str, title: str, tasks: Tasks | None = None) -> str:
    """The document as JSON text.

    Args:
        trace: of N satellites.
        satellites: their N names.
        epoch_utc: the episode's start, in Basilisk's format.
        title: shown by Cesium.
        tasks: of the same episode: satellites then have the properties "task" (what and which target) and "outcome".
    """
    epoch = start_of(epoch_utc)
    time_s, first = np.unique(trace.time_s, return_index=True)

    def at(seconds: float) -> str:
        return (epoch + timedelta(seconds=float(seconds))).isoformat(timespec="milliseconds").replace("+00:00", "Z")

    end_s = float(time_s[-1])
    whole = f"{at(0)}/{at(end_s)}"
    clock = {"interval": whole, "currentTime": at(0), "multiplier": 30, "range": "LOOP_STOP"}
    packets: list[dict[str, Any]] = [{"id": "document", "name": title, "version": "1.0", "clock": clock}]
    kept = spaced(time_s, _APART_S)
    at_kept = first[kept]
    positions = _cartesian_m(trace.latitude_deg[at_kept], trace.longitude_deg[at_kept], trace.radius_km[at_kept])
    for n, name in enumerate(satellites):
        colour = {"rgba": _rgba(satellite_colour(n))}
        rows = np.column_stack([time_s[kept], positions[:, n]])
        packets.append(
            {
                "id": _satellite(n),
                "name": name,
                "availability": whole,
                "position": {
                    "epoch": at(0),
                    "referenceFrame": "FIXED",
                    "interpolationAlgorithm": "LAGRANGE",
                    "interpolationDegree": 5,
                    "cartesian": np.round(rows, 2).ravel().tolist(),
                },
                "point": {"pixelSize": 9, "color": colour},
                "label": {"text": name, "font": "11pt sans-serif", "pixelOffset": {"cartesian2": [0, -18]}},
                "path": {
                    "leadTime": 0,
                    "trailTime": _TRAIL_S,
                    "width": 2,
                    "material": {"solidColor": {"color": colour}},
                },
                "properties": {
                    "battery": {"epoch": at(0), "number": _samples(time_s, trace.battery[first, n])},
                    "action": _actions(trace.action[first, n], time_s, at),
                    **(_tasks(tasks, n, at) if tasks is not None else {}),
                },
            }
        )
    places = _cartesian_m(trace.target_latitude_deg, trace.target_longitude_deg, EARTH_RADIUS_KM)
    # Where nothing is sent to the ground, an image counts when it is taken.
    down_s = trace.target_sent_s if np.isfinite(trace.target_sent_s).any() else trace.target_delivered_s
    for m, place in enumerate(places):
        by, when = int(trace.target_imaged_by[m]), float(trace.target_imaged_s[m])
        waiting = {"rgba": _WAITING if by >= 0 or trace.target_accessible[m] else _MISSED}
        colours: Any = waiting
        if by >= 0:
            colours = [{"interval": f"{at(0)}/{at(when)}", **waiting}]
            down = float(np.nan_to_num(down_s[m], nan=end_s))
            spans = [(when, down, _ON_BOARD_ALPHA), (down, end_s, 255)]
            paint = _rgba(satellite_colour(by))
            colours += [
                {"interval": f"{at(start)}/{at(stop)}", "rgba": [*paint[:3], alpha]}
                for start, stop, alpha in spans
                if stop > start
            ]
        priority = float(trace.target_priority[m])
        packets.append(
            {
                "id": _target(m),
                "name": f"{trace.name_of(m)}, priority {priority:.2f}",
                "position": {"cartesian": np.round(place, 1).tolist()},
                "point": {"pixelSize": round(3 + 5 * priority, 1), "color": colours},
                "properties": {
                    "priority": priority,
                    **({"imaged_by": satellites[by], "imaged_utc": at(when)} if by >= 0 else {}),
                },
            }
        )
        if by >= 0:
            packets.append(
                {
                    "id": f"image-{m}",
                    "availability": f"{at(max(0.0, when - _LINE_S))}/{at(when)}",
                    "polyline": {
                        "positions": {"references": [f"{_satellite(by)}#position", f"{_target(m)}#position"]},
                        "arcType": "NONE",
                        "width": 2,
                        "material": {"solidColor": {"color": {"rgba": _rgba(satellite_colour(by))}}},
                    },
                }
            )
    return json.dumps(packets, separators=(",", ":"))


def start_of(epoch_utc: str) -> datetime:
    """The episode's start, given in Basilisk's format."""
    return datetime.strptime(epoch_utc, _EPOCH_FORMAT).replace(tzinfo=UTC)


def spaced(time_s: NDArray[np.float64], apart_s: float) -> NDArray[np.int64]:
    """Indices of rising times that are at least so far apart; the first and the last are among them."""
    kept = [0]
    for index in range(1, len(time_s) - 1):
        if time_s[index] - time_s[kept[-1]] >= apart_s:
            kept.append(index)
    if len(time_s) > 1:
        if len(kept) > 1 and time_s[-1] - time_s[kept[-1]] < apart_s:
            kept.pop()
        kept.append(len(time_s) - 1)
    return np.array(kept)


def _satellite(n: int) -> str:
    return f"satellite-{n}"


def _target(m: int) -> str:
    return f"target-{m}"


def _samples(time_s: NDArray[np.float64], values: NDArray[np.float64]) -> list[float]:
    rows: list[float] = np.round(np.column_stack([time_s, values]), 4).ravel().tolist()
    return rows


def _actions(action: NDArray[np.int64], time_s: NDArray[np.float64], at: Any) -> list[dict[str, str]]:
    """What a satellite does, an interval for each stretch of the same."""
    names = {-1: "lost", **dict(enumerate(ACTIVITIES))}
    starts = [0, *(np.nonzero(np.diff(action))[0] + 1).tolist()]
    ends = [*starts[1:], len(time_s) - 1]
    return [
        {"interval": f"{at(time_s[start])}/{at(time_s[end])}", "string": names[int(action[start])]}
        for start, end in zip(starts, ends, strict=True)
    ]


def _tasks(tasks: Tasks, satellite: int, at: Any) -> dict[str, list[dict[str, str]]]:
    """What a satellite was told to do, an interval for each task, and what came of each."""
    own = [k for k in np.flatnonzero(tasks.satellite == satellite).tolist() if tasks.end_s[k] > tasks.start_s[k]]
    spans = [f"{at(tasks.start_s[k])}/{at(tasks.end_s[k])}" for k in own]
    told = [_told(tasks, k) for k in own]
    return {
        "task": [{"interval": span, "string": text} for span, text in zip(spans, told, strict=True)],
        "outcome": [
            {"interval": span, "string": OUTCOMES[tasks.outcome[k]]} for span, k in zip(spans, own, strict=True)
        ],
    }


def _told(tasks: Tasks, k: int) -> str:
    """ "imaging Paris"; a task in place of an image: "charging, not imaging Paris"."""
    activity, images = ACTIVITIES[tasks.action[k]], tasks.target[k] >= 0
    if not images:
        return activity
    return f"{activity}{'' if activity == 'imaging' else ', not imaging'} {tasks.target_name[k]}"


def _cartesian_m(
    latitude_deg: NDArray[np.float64], longitude_deg: NDArray[np.float64], radius_km: float | NDArray[np.float64]
) -> NDArray[np.float64]:
    """Earth-fixed positions [..., 3] of geocentric latitudes and longitudes."""
    latitude, longitude = np.radians(latitude_deg), np.radians(longitude_deg)
    x, y = np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude)
    return np.asarray(1e3 * np.stack([radius_km * x, radius_km * y, radius_km * np.sin(latitude)], axis=-1))


def _rgba(colour: str) -> list[int]:
    return [*(int(colour[i : i + 2], 16) for i in (1, 3, 5)), 255]
