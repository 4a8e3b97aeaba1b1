"""A mission of an operator's size, made of the examples: 24 satellites, 500 targets, 20 stations, from files."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path

EXAMPLES = Path(__file__).parents[1] / "examples"

SCENARIO = """\
defaults: [{base}, _self_]
name: large
epoch_utc: "2026-03-20T12:00:00Z"
duration_s: 5700.0
constellation: {{file: {folder}/satellites.csv}}
targets: {{file: {folder}/targets.geojson}}
"""
STATIONS = """\
ground_stations: {{file: {folder}/stations.csv, min_elevation_deg: 5.0}}
actions: {{downlink_duration_s: 60.0}}
"""


def make(folder: Path, base: str, stations: bool) -> None:
    """Write the files, and ``scenario/large.yaml`` that builds on a packaged mission.

    Four planes of six satellites as the examples' first one; the examples' sixty cities, each with some seven more
    places within 300 km; the examples' eight stations and twelve of the cities.
    """
    (folder / "scenario").mkdir(parents=True)
    text = SCENARIO + (STATIONS if stations else "")
    (folder / "scenario" / "large.yaml").write_text(text.format(base=base, folder=folder))
    with (EXAMPLES / "satellites.csv").open() as file:
        first = next(csv.DictReader(file))
    with (folder / "satellites.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, first)
        writer.writeheader()
        for n in range(24):
            plane, place = divmod(n, 6)
            own = {"OBJECT_NAME": f"BIRD-{n:02}", "OBJECT_ID": f"2026-{101 + n}A", "NORAD_CAT_ID": 280001 + n}
            angles = {"RA_OF_ASC_NODE": 45.0 * plane, "MEAN_ANOMALY": (60.0 * place + 15.0 * plane) % 360}
            writer.writerow({**first, **own, **angles})
    with (EXAMPLES / "targets.csv").open() as file:
        cities = list(csv.DictReader(file))
    rng = random.Random(20)
    features = []
    for n in range(500):
        city, more = cities[n % len(cities)], n // len(cities)
        latitude = float(city["latitude"]) + (rng.uniform(-2, 2) if more else 0)
        longitude = (float(city["longitude"]) + (rng.uniform(-3, 3) if more else 0) + 180) % 360 - 180
        name = city["name"] + (f" {more}" if more else "")
        properties = {"name": name, "priority": round(rng.uniform(0.05, 1.0), 2)}
        place = {"type": "Point", "coordinates": [longitude, max(-89.0, min(89.0, latitude))]}
        features.append({"type": "Feature", "geometry": place, "properties": properties})
    (folder / "targets.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    lines = (EXAMPLES / "stations.csv").read_text().splitlines()
    lines += [f"{city['name']} dish,{city['latitude']},{city['longitude']},0,Cities" for city in cities[::5]]
    assert len(lines) == 21, len(lines)
    (folder / "stations.csv").write_text("\n".join(lines) + "\n")
