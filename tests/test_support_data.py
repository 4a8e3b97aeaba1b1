"""The carried excerpt against astronomy, and what a user reads when data are missing, damaged or too short."""

from __future__ import annotations

import math
import shutil
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from envs.basilisk.support_data import (
    CARRIED,
    EPHEMERIS,
    FILES,
    SupportDataError,
    bootstrap,
    check_epoch,
    ephemeris_span,
)

J2000 = datetime(2000, 1, 1, 12)
EPOCHS = ["2000 JAN 01 12:00:00.000 (UTC)", "2026 MAR 20 12:00:00.000 (UTC)", "2029 NOV 05 03:30:00.000 (UTC)"]


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A user's own folder."""
    return Path(shutil.copytree(CARRIED, tmp_path / "data", ignore=shutil.ignore_patterns("SHA256SUMS")))


def days_since_j2000(epoch: str) -> float:
    return (datetime.strptime(epoch, "%Y %b %d %H:%M:%S.%f (UTC)") - J2000).total_seconds() / 86400.0


def sun_direction_J2000(days: float) -> np.ndarray:
    """Astronomical Almanac, page C5: the Sun to 0.01 deg, turned from the equinox of date to that of J2000."""
    mean_anomaly = math.radians(357.528 + 0.9856003 * days)
    longitude = 280.460 + 0.9856474 * days + 1.915 * math.sin(mean_anomaly) + 0.020 * math.sin(2 * mean_anomaly)
    longitude = math.radians(longitude - 1.39697 * days / 36525.0)  # general precession in longitude
    obliquity = math.radians(23.4393)
    return np.array(
        [
            math.cos(longitude),
            math.cos(obliquity) * math.sin(longitude),
            math.sin(obliquity) * math.sin(longitude),
        ]
    )


def basilisk_states(epoch: str) -> tuple[np.ndarray, np.ndarray]:
    """The Sun seen from the Earth [m, J2000] and the Earth's rotation matrix J2000 -> Earth-fixed, by Basilisk."""
    from Basilisk.utilities import SimulationBaseClass, macros, simIncludeGravBody

    simulation = SimulationBaseClass.SimBaseClass()
    process = simulation.CreateNewProcess("process")
    process.addTask(simulation.CreateNewTask("task", macros.sec2nano(1.0)))
    bodies = simIncludeGravBody.gravBodyFactory()
    bodies.createBodies("earth", "sun")
    spice = bodies.createSpiceInterface(time=epoch)
    spice.zeroBase = "earth"
    simulation.AddModelToTask("task", spice)
    simulation.InitializeSimulation()
    earth, sun = (message.read() for message in spice.planetStateOutMsgs)
    bodies.unloadSpiceKernels()
    return np.array(sun.PositionVector), np.array(earth.J20002Pfix)


@pytest.mark.parametrize("epoch", EPOCHS)
def test_basilisk_places_the_sun_and_turns_the_earth(epoch: str) -> None:
    bootstrap()
    position, J2000_to_fixed = basilisk_states(epoch)
    days = days_since_j2000(epoch)

    angle = math.degrees(math.acos(position @ sun_direction_J2000(days) / np.linalg.norm(position)))
    assert angle < 0.01
    anomaly = math.radians(357.528 + 0.9856003 * days)
    distance_au = 1.00014 - 0.01671 * math.cos(anomaly) - 0.00014 * math.cos(2 * anomaly)  # Almanac, page C5
    assert np.linalg.norm(position) / 149597870700.0 == pytest.approx(distance_au, abs=2e-4)

    sidereal_deg = 280.46062 + 360.98564737 * days - 1.28123 * days / 36525.0  # from the equinox of J2000
    turned = math.degrees(math.atan2(J2000_to_fixed[0, 1], J2000_to_fixed[0, 0]))
    assert (turned - sidereal_deg + 180.0) % 360.0 - 180.0 == pytest.approx(0.0, abs=0.15)  # IAU_EARTH is that coarse


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named_and_nothing_is_fetched(own: Path, name: str) -> None:
    (own / name).unlink()
    with pytest.raises(SupportDataError, match=rf"{name} missing"):
        bootstrap(own)


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_named(own: Path, name: str) -> None:
    content = (own / name).read_bytes()
    (own / name).write_bytes(content[: len(content) // 3] if name == EPHEMERIS else b"\0" * len(content))
    with pytest.raises(SupportDataError, match=rf"{name} is damaged"):
        bootstrap(own)


def test_one_changed_byte_of_the_carried_ephemeris_is_noticed(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(CARRIED / "SHA256SUMS", own)
    monkeypatch.setattr("envs.basilisk.support_data.CARRIED", own)
    bootstrap()
    content = bytearray((own / EPHEMERIS).read_bytes())
    content[len(content) // 2] ^= 1
    (own / EPHEMERIS).write_bytes(content)
    with pytest.raises(SupportDataError, match=r"de430\.bsp is damaged: its SHA-256"):
        bootstrap()


def test_a_folder_of_ones_own_is_used(own: Path) -> None:
    from Basilisk.utilities.supportDataTools.dataFetcher import DataFile, get_path

    bootstrap(str(own))
    assert get_path(DataFile.EphemerisData.de430) == own / EPHEMERIS
    bootstrap()
    assert get_path(DataFile.EphemerisData.de430) == CARRIED / EPHEMERIS


def test_the_excerpt_covers_2000_to_2029() -> None:
    first_s, last_s = ephemeris_span(CARRIED / EPHEMERIS)
    assert first_s <= (datetime(2000, 1, 1) - J2000).total_seconds()
    assert last_s >= (datetime(2030, 1, 1) - J2000).total_seconds() + 70.0


@pytest.mark.parametrize(
    "epoch", ["1999 DEC 30 12:00:00.000 (UTC)", "2030 JAN 01 23:00:00.000 (UTC)", "2031 MAR 20 12:00:00.000 (UTC)"]
)
def test_an_epoch_outside_is_refused(epoch: str) -> None:
    with pytest.raises(SupportDataError) as error:
        check_epoch(epoch, duration_s=5700.0)
    sentence = str(error.value)
    assert sentence.startswith(f"scenario.epoch_utc='{epoch}' is not allowed")
    assert "between 1999-12-31 00:01 and 2030-01-01 22:24 UTC" in sentence


@pytest.mark.parametrize("epoch", EPOCHS)
def test_an_epoch_inside_is_accepted(epoch: str) -> None:
    check_epoch(epoch, duration_s=86400.0)


@pytest.mark.parametrize("epoch", ["2026-03-20T12:00:00Z", "2026 MAR 32 12:00:00.000 (UTC)", "tomorrow", ""])
def test_an_epoch_that_is_no_date_is_refused(epoch: str) -> None:
    with pytest.raises(SupportDataError, match="must be a date like '2026 MAR 20 12"):
        check_epoch(epoch, duration_s=0.0)


def test_an_ephemeris_without_the_sun_is_refused(own: Path) -> None:
    content = (own / EPHEMERIS).read_bytes()
    summaries = 2 * 1024  # the third record; the Sun's summary is the second of its 40-byte entries, after 24 bytes
    target = summaries + 24 + 40 + 16
    assert content[target : target + 4] == (10).to_bytes(4, "little")
    (own / EPHEMERIS).write_bytes(content[:target] + (4).to_bytes(4, "little") + content[target + 4 :])
    with pytest.raises(SupportDataError, match="lacks the Sun"):
        check_epoch(EPOCHS[1], 0.0, own)
