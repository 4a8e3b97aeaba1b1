"""The still picture of a flight: land where there is land, and what lies behind the Earth is not drawn."""

from __future__ import annotations

import io
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from envs.basilisk.trace import Trace
from kdmarl_sat.missions.report.globe_figure import _land, _view, globe
from kdmarl_sat.report.render import png

FLIGHT = Path(__file__).parents[1] / "results/flights/imaging_constellation-lh_a.npz"


@pytest.mark.parametrize(
    ("place", "land"),
    [
        ((0.0, 0.0), False),  # Gulf of Guinea
        ((-10.0, -55.0), True),  # Brazil
        ((47.0, 100.0), True),  # Mongolia
        ((67.0, -176.0), True),  # Chukotka, beyond the date line
        ((-80.0, 0.0), True),  # Antarctica
        ((-89.0, 90.0), True),
        ((85.0, 0.0), False),  # the Arctic Ocean
        ((-45.0, 100.0), False),
    ],
)
def test_land_is_where_it_is(place: tuple[float, float], land: bool) -> None:
    picture = _land(_view(*place))  # seen from above the place: it is in the middle
    assert (picture[len(picture) // 2, len(picture) // 2, 3] > 0) == land


def test_the_stored_flight_is_drawn() -> None:
    trace = Trace.load(FLIGHT)
    figure = globe(trace, ["a", "b", "c", "d"], "a flight")
    [axes] = figure.axes
    drawn = sum(len(points.get_offsets()) for points in axes.collections if hasattr(points, "get_sizes"))
    middle = len(trace.time_s) // 2
    towards = _view(trace.latitude_deg[middle, 0], trace.longitude_deg[middle, 0])[2]
    latitude, longitude = np.radians(trace.target_latitude_deg), np.radians(trace.target_longitude_deg)
    places = [np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude), np.sin(latitude)]
    assert drawn == np.count_nonzero(np.stack(places, axis=-1) @ towards > 0)
    assert matplotlib.image.imread(io.BytesIO(png(figure))).shape[2] == 4
