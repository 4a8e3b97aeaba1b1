"""The globe in report.html: its data against numbers by hand, and the page in a real browser."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib.colors
import matplotlib.image
import numpy as np
import pytest

from envs.basilisk.trace import ACTIVITIES, Trace
from kdmarl_sat.missions.report import globe, write_report
from kdmarl_sat.missions.report.exhibits import traces_to_show
from kdmarl_sat.missions.results import RunResult
from kdmarl_sat.report.style import satellite_colour
from tests.test_report import SATELLITES, synthetic_result

TINY = Trace(
    time_s=np.array([0.0, 10.04, 10.04, 30.0]),
    latitude_deg=np.array([[0.0, 10.0], [1.004, 11.0], [1.006, 11.0], [2.0, 12.0]]),
    longitude_deg=np.array([[179.0, -5.0], [180.0, -4.0], [-179.996, -4.0], [-179.0, -3.0]]),
    radius_km=np.full((4, 2), 6878.0),
    battery=np.array([[0.5, 0.25], [0.4996, 0.2], [0.4994, 0.2], [0.0, 0.1]]),
    sunlit=np.array([[True, False], [True, False], [True, True], [False, True]]),
    storage=np.array([[0.0, 0.0], [0.1, 0.0], [0.12345, 0.0], [0.2, 1.0]]),
    action=np.array([[0, 1], [1, 1], [1, 2], [-1, 3]]),
    pursued=np.array([[-1, 1], [0, 1], [0, -1], [-1, -1]]),
    target_latitude_deg=np.array([1.0, -2.346]),
    target_longitude_deg=np.array([180.0, 3.0]),
    target_priority=np.array([0.123456, 1.0]),
    target_imaged_by=np.array([0, -1]),
    target_imaged_s=np.array([12.34, math.nan]),
    target_delivered_by=np.array([1, -1]),
    target_delivered_s=np.array([20.06, math.nan]),
    target_accessible=np.array([False, False]),
)


@pytest.fixture(scope="module")
def result() -> RunResult:
    """The teacher's flight and the student's, which loses a satellite."""
    whole = synthetic_result()
    shown = tuple(policy for policy, _ in traces_to_show(whole.policies))
    return dataclasses.replace(whole, policies=shown, curves=(), budget=())


# --- the data ---------------------------------------------------------------------------------------------------------


def test_a_flight_by_hand() -> None:
    assert globe.flight("tiny", TINY) == {
        "label": "tiny",
        "time": [0.0, 10.0, 30.0],  # of two samples at one time, what holds from then on
        "tracks": [
            {
                "latitude": [0.0, 1.01, 2.0],
                "longitude": [179.0, -180.0, -179.0],
                "battery": [0.5, 0.499, 0.0],
                "storage": [0.0, 0.123, 0.2],
                "sunlit": [1, 1, 0],
                "action": [0, 1, -1],
                "pursued": [-1, 0, -1],
            },
            {
                "latitude": [10.0, 11.0, 12.0],
                "longitude": [-5.0, -4.0, -3.0],
                "battery": [0.25, 0.2, 0.1],
                "storage": [0.0, 0.0, 1.0],
                "sunlit": [0, 1, 1],
                "action": [1, 2, 3],
                "pursued": [1, -1, -1],
            },
        ],
        "targets": {
            "latitude": [1.0, -2.35],
            "longitude": [180.0, 3.0],
            "priority": [0.1235, 1.0],
            "imaged_by": [0, -1],
            "imaged_s": [12.3, None],
            "delivered_by": [1, -1],
            "delivered_s": [20.1, None],
            "reachable": [1, 0],  # imaged, so it was in reach
        },
    }


def test_the_document_tells_what_the_flights_share(result: RunResult) -> None:
    document = globe.document(result)
    assert document is not None
    assert document["epoch"] == "2026-03-20T04:08:00.000Z"
    assert document["radius"] == pytest.approx(6878.1366 / 6378.1366, abs=1e-4)
    assert tuple(document["activities"]) == ACTIVITIES
    assert [satellite["name"] for satellite in document["satellites"]] == list(SATELLITES)
    assert document["stations"] == []
    assert [flight["label"] for flight in document["flights"]] == ["Teacher (FO)", "KD-MARL LH+A"]
    assert json.loads(globe.embedded(document)) == json.loads(json.dumps(document))


def test_ground_stations(result: RunResult) -> None:
    at = {"Hawaii": [19.9, -155.6], "Seoul": [37.6, 127]}
    scenario = {**result.config["scenario"], "ground_stations": {"min_elevation_deg": 10.0, "at": at}}
    document = globe.document(dataclasses.replace(result, config={**result.config, "scenario": scenario}))
    assert document is not None
    assert document["stations"] == [
        {"name": "Hawaii", "latitude": 19.9, "longitude": -155.6},
        {"name": "Seoul", "latitude": 37.6, "longitude": 127.0},
    ]


def test_no_document_without_flights_or_orbits(result: RunResult) -> None:
    untraced = tuple(dataclasses.replace(policy, trace=None) for policy in result.policies)
    assert globe.document(dataclasses.replace(result, policies=untraced)) is None
    assert globe.document(dataclasses.replace(result, config={})) is None
    assert globe.document(dataclasses.replace(result, config={"scenario": {"name": "somewhere"}})) is None


def long_trace(samples: int, satellites: int, targets: int) -> Trace:
    """Arbitrary values of full precision."""
    rng = np.random.default_rng(0)
    shape = samples, satellites
    return Trace(
        time_s=np.linspace(0.0, 17000.0, samples),
        latitude_deg=rng.uniform(-90, 90, shape),
        longitude_deg=rng.uniform(-180, 180, shape),
        radius_km=rng.uniform(6700, 7000, shape),
        battery=rng.random(shape),
        sunlit=rng.random(shape) < 0.6,
        storage=rng.random(shape),
        action=rng.integers(-1, len(ACTIVITIES), shape),
        pursued=rng.integers(-1, targets, shape),
        target_latitude_deg=rng.uniform(-90, 90, targets),
        target_longitude_deg=rng.uniform(-180, 180, targets),
        target_priority=rng.random(targets),
        target_imaged_by=rng.integers(-1, satellites, targets),
        target_imaged_s=rng.uniform(0, 17000, targets),
        target_delivered_by=rng.integers(-1, satellites, targets),
        target_delivered_s=rng.uniform(0, 17000, targets),
        target_accessible=rng.random(targets) < 0.9,
    )


def test_thinning_is_even_and_keeps_both_ends() -> None:
    trace = dataclasses.replace(long_trace(101, 2, 3), time_s=np.arange(101.0))
    assert globe.flight("", trace, most_states=22)["time"] == [10.0 * k for k in range(11)]
    for most_states in (1, 4, 50, 201):
        thinned = globe.flight("", trace, most_states=most_states)
        assert len(thinned["time"]) == max(2, most_states // 2)
        assert thinned["time"][0] == 0.0 and thinned["time"][-1] == 100.0
        assert (np.diff(thinned["time"]) > 0).all()
        kept = np.array(thinned["time"], dtype=int)
        assert thinned["tracks"][1]["pursued"] == trace.pursued[kept, 1].tolist()
    assert len(globe.flight("", trace, most_states=202)["time"]) == 101


@pytest.mark.parametrize("satellites", [1, 4, 66])
def test_two_long_flights_take_less_than_600_kB(satellites: int, result: RunResult) -> None:
    trace = long_trace(700 if satellites == 4 else 9000, satellites, 600)
    policies = tuple(dataclasses.replace(policy, trace=trace) for policy in result.policies)
    run = dataclasses.replace(result, policies=policies, satellites=tuple(map(str, range(satellites))))
    assert len(globe.embedded(globe.document(run))) < 600_000


def test_nothing_ends_the_script_element() -> None:
    hostile = {"</script>": ["<!-- <script>", "a < b", "]]>", "\u2028"]}
    text = globe.embedded(hostile)
    assert "<" not in text and json.loads(text) == hostile
    assert "</script" not in globe.script().lower() and "<!--" not in globe.script()


@pytest.mark.parametrize(
    ("time", "latitude_deg", "longitude_deg"),
    [  # by the equation of time of published tables, four minutes to the degree
        (datetime(2026, 3, 20, 14, 46), 0.0, -360 * (14 + 46 / 60 - 12) / 24 + 7.5 / 4),  # equinox
        (datetime(2026, 6, 21, 8, 24), 23.44, -360 * (8 + 24 / 60 - 12) / 24 + 1.9 / 4),  # solstice
        (datetime(2026, 11, 3, 12), -15.1, -16.4 / 4),  # the Sun is early
        (datetime(2026, 2, 11, 12), -14.0, 14.2 / 4),  # and late
    ],
)
def test_the_sun_stands_where_tables_have_it(time: datetime, latitude_deg: float, longitude_deg: float) -> None:
    latitude, longitude = globe.subsolar_point_deg(time.replace(tzinfo=UTC))
    assert latitude == pytest.approx(latitude_deg, abs=0.1 if latitude_deg in (-15.1, -14.0) else 0.02)
    assert longitude == pytest.approx(longitude_deg, abs=0.05)


def unit(latitude_deg: Any, longitude_deg: Any) -> Any:
    latitude, longitude = np.radians(latitude_deg), np.radians(longitude_deg)
    x, y = np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude)
    return np.stack([x, y, np.sin(latitude)], axis=-1)


@pytest.mark.parametrize(
    ("place", "latitude_deg", "longitude_deg", "is_land"),
    [
        ("Paris", 48.9, 2.3, True), ("Beijing", 39.9, 116.4, True), ("Alice Springs", -23.7, 133.9, True),
        ("Manaus", -3.1, -60.0, True), ("Chukotka, beyond 180", 66.5, -176.0, True), ("South Pole", -89.9, 10.0, True),
        ("Greenland", 72.0, -40.0, True), ("Atlantic", 0.0, -30.0, False), ("Caspian Sea", 41.5, 50.5, False),
        ("Pacific", 10.0, -179.9, False), ("North Pole", 89.9, 10.0, False), ("Argentina", -39.9, -63.6, True),
    ],
)  # fmt: skip
def test_land_is_land(place: str, latitude_deg: float, longitude_deg: float, is_land: bool, result: RunResult) -> None:
    here, east = unit(latitude_deg, longitude_deg), unit(0.0, longitude_deg + 90)
    north = np.cross(here, east)
    document = globe.document(result)
    assert document is not None
    inside = 0
    for ring in document["land"]:
        corners = unit(np.array(ring[1::2] + ring[1:2]), np.array(ring[::2] + ring[:1]))
        turn = np.unwrap(np.arctan2(corners @ north, corners @ east))
        inside += turn[-1] - turn[0] < -math.pi  # clockwise round this place: it is on the ring's right
    assert (inside % 2 == 1) == is_land, place


# --- the page in a browser --------------------------------------------------------------------------------------------

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
WIDTH = 1100


@dataclasses.dataclass
class Opened:
    """A page, the addresses it asked for, and what it complained of."""

    page: Any
    asked: list[str]
    problems: list[str]

    def at(self) -> float:
        """Seconds into the flight where the slider stands."""
        return int(self.page.locator("#globe-slider").input_value()) / 500 * end_s(self.page)

    def text(self, name: str) -> str:
        """What an element shows."""
        return str(self.page.locator(f"#globe-{name}").inner_text())

    def rows(self) -> list[list[str]]:
        """The satellite table, cell by cell."""
        script = "rows => rows.map(row => [...row.cells].map(cell => cell.innerText))"
        cells: list[list[str]] = self.page.locator("#globe-satellites tr").evaluate_all(script)
        return cells

    def captured(self) -> list[tuple[float, float]]:
        """For each flight, captured so far and in the end."""
        texts = self.page.locator(".globe-captured").all_inner_texts()
        return [(float(now), float(end)) for now, end in (text.split(" of ") for text in texts)]

    def picture(self) -> Any:
        """The canvas, [height, width, 3]."""
        png = self.page.locator("#globe-canvas").screenshot()
        return matplotlib.image.imread(io.BytesIO(png))[..., :3]

    def click_slider(self, share: float) -> None:
        """A click on the slider so far along it, with the mouse."""
        self.page.mouse.click(*self.on_slider(share))
        self.settle()

    def on_slider(self, share: float) -> tuple[float, float]:
        box = self.page.locator("#globe-slider").bounding_box()
        return box["x"] + 8 + share * (box["width"] - 16), box["y"] + box["height"] / 2

    def settle(self) -> None:
        """Until the picture asked for is drawn."""
        self.page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def end_s(page: Any) -> float:
    return float(json.loads(page.locator("#globe-data").inner_text())["flights"][0]["time"][-1])


@pytest.fixture(scope="module")
def report(result: RunResult, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(result, tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine (chromium, chromium-browser, google-chrome)")
    with playwright.sync_playwright() as driver:
        launched = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield launched
        launched.close()


@pytest.fixture
def opened(browser: Any, report: Path) -> Iterator[Opened]:
    """The report, freshly opened from the disk; whatever a test does, it must neither fail nor fetch."""
    page = browser.new_page(viewport={"width": WIDTH, "height": 900})
    asked: list[str] = []
    problems: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(report.as_uri())
    page.locator("#globe-view").scroll_into_view_if_needed()
    there = Opened(page, asked, problems)
    there.settle()
    yield there
    assert problems == []
    assert asked == [report.as_uri()]
    page.close()


def assert_tells(opened: Opened, trace: Trace, time_s: float) -> None:
    """That clock and table say what the trace says at a time."""
    whole = int(time_s + 1e-6)
    assert opened.text("clock") == f"{whole // 60:02d}:{whole % 60:02d} of 47:24"  # the last sample is at 2844 s
    assert opened.text("date") == f"2026-03-20 04:{8 + whole // 60:02d}:{whole % 60:02d} UTC"
    last = int(np.searchsorted(trace.time_s, time_s + 1e-6, side="right")) - 1
    for n, (name, doing, battery, storage, earned) in enumerate(opened.rows()):
        assert name == SATELLITES[n]
        action, pursued = int(trace.action[last, n]), int(trace.pursued[last, n])
        activity, light = doing.split("\n")
        if action < 0:
            assert activity == "lost"
        else:
            assert activity == ACTIVITIES[action] + (f" target {pursued}" if pursued >= 0 else "")
        assert light == ("in sunlight" if trace.sunlit[last, n] else "in eclipse")
        for shown, values in ((battery, trace.battery), (storage, trace.storage)):
            assert int(shown.split("\u202f%")[0]) == pytest.approx(
                100 * np.interp(time_s, trace.time_s, values[:, n]), abs=0.56
            )
        own = (trace.target_delivered_by == n) & (trace.target_delivered_s <= time_s)
        assert float(earned) == pytest.approx(trace.target_priority[own].sum(), abs=0.06)


def test_the_slider_takes_clock_table_and_total_along(opened: Opened, result: RunResult, tmp_path: Path) -> None:
    traces = [trace for _, trace in traces_to_show(result.policies)]
    assert_tells(opened, traces[0], 0.0)
    seen = []
    for share in (0.21, 0.5, 0.83):
        opened.click_slider(share)
        time_s = opened.at()
        assert time_s == pytest.approx(share * 2844, abs=15)
        assert_tells(opened, traces[0], time_s)
        seen.append(opened.captured())
        for (now, end), trace in zip(seen[-1], traces, strict=True):
            delivered = trace.target_delivered_by >= 0
            assert end == pytest.approx(trace.target_priority[delivered].sum(), abs=0.06)
            assert now == pytest.approx(
                trace.target_priority[delivered & (trace.target_delivered_s <= time_s)].sum(), abs=0.06
            )
    assert seen[0] < seen[1] < seen[2]
    opened.page.locator("#globe-view").screenshot(path=tmp_path / "globe.png")
    assert matplotlib.image.imread(tmp_path / "globe.png").std() > 0.02

    opened.page.mouse.move(*opened.on_slider(0.83))
    opened.page.mouse.down()
    opened.page.mouse.move(*opened.on_slider(0.9))
    opened.page.mouse.move(*opened.on_slider(1.1))
    opened.page.mouse.up()
    opened.settle()
    assert opened.at() == 2844.0
    assert_tells(opened, traces[0], 2844.0)
    assert all(now == end for now, end in opened.captured())
    opened.page.get_by_role("radio", name="KD-MARL LH+A").check()
    opened.settle()
    assert_tells(opened, traces[1], 2844.0)
    assert opened.rows()[1][1].startswith("lost")


def test_the_keyboard_plays_and_moves(opened: Opened) -> None:
    page = opened.page
    slider = page.locator("#globe-slider")
    slider.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    opened.settle()
    assert slider.input_value() == "2" and opened.text("clock") == "00:11 of 47:24"  # 2/500 of 2844 s
    assert slider.get_attribute("aria-valuetext") == "00:11 of 47:24"
    assert opened.text("play") == "Play"  # nothing moves unasked
    page.keyboard.press("Space")
    assert opened.text("play") == "Pause"
    page.wait_for_function("document.getElementById('globe-clock').textContent > '00:20'")
    page.keyboard.press("Space")
    assert opened.text("play") == "Play"
    opened.settle()
    stopped = opened.text("clock")
    page.wait_for_timeout(100)
    assert opened.text("clock") == stopped
    page.locator("#globe-canvas").click(position={"x": 20, "y": 20})
    page.keyboard.press("Space")
    assert opened.text("play") == "Pause"
    page.locator("#globe-play").click()
    assert opened.text("play") == "Play"


@pytest.mark.parametrize("share", [0.0, 0.34, 0.9])
def test_satellites_are_drawn_where_they_are(opened: Opened, result: RunResult, share: float) -> None:
    """An orthographic projection of our own: north up, 25 degrees south of the first satellite, which is followed."""
    if share:
        opened.click_slider(share)
    trace = traces_to_show(result.policies)[0][1]
    last = int(np.searchsorted(trace.time_s, opened.at(), side="right")) - 1
    on = (opened.at() - trace.time_s[last]) / 18.0  # between two samples, 1 degree apart: the chord will do
    before, after = (unit(trace.latitude_deg[k], trace.longitude_deg[k]) for k in (last, last + 1))
    places = (1 - on) * before + on * after  # [N, 3]
    latitude_deg, longitude_deg = np.degrees([np.arcsin(places[0, 2]), np.arctan2(places[0, 1], places[0, 0])])
    towards, right = unit(latitude_deg - 25, longitude_deg), unit(0.0, longitude_deg + 90)
    up = np.cross(towards, right)
    picture = opened.picture()
    height, width, _ = picture.shape
    radius = 0.45 * min(width, height) * (6878.1366 / 6378.1366)
    for n in range(4):
        x, y = round(width / 2 + radius * places[n] @ right), round(height / 2 - radius * places[n] @ up)
        colour = np.array(matplotlib.colors.to_rgb(satellite_colour(n)))
        assert np.abs(picture[y - 1 : y + 2, x - 1 : x + 2] - colour).max() < 0.02


def test_the_globe_turns_and_zooms(opened: Opened) -> None:
    page = opened.page
    follow = page.locator("#globe-follow")
    pictures = [opened.picture()]
    box = page.locator("#globe-canvas").bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.locator("#globe-in").click()
    opened.settle()
    pictures.append(opened.picture())
    assert follow.input_value() == "0"
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(middle[0] + 120, middle[1] + 30)
    page.mouse.up()
    opened.settle()
    pictures.append(opened.picture())
    assert follow.input_value() == "-1"  # who turns it by hand, follows nobody
    page.mouse.wheel(0, -300)  # the globe has been clicked
    opened.settle()
    pictures.append(opened.picture())
    page.keyboard.press("ArrowLeft")
    opened.settle()
    pictures.append(opened.picture())
    for one, other in pairwise(pictures):
        assert np.abs(one - other).mean() > 0.01


def test_dark_and_narrow_pages(opened: Opened) -> None:
    page = opened.page
    light = opened.picture()
    page.emulate_media(color_scheme="dark")
    opened.settle()
    assert opened.picture().mean() < light.mean() - 0.3
    page.set_viewport_size({"width": 400, "height": 800})
    opened.settle()
    assert page.evaluate("document.documentElement.scrollWidth") == 400
    table = page.locator(".globe-table")
    assert table.evaluate("table => table.scrollWidth <= table.clientWidth")  # four satellites need no scrolling
