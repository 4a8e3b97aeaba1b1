"""Element sets from files: read alike in every form, propagated as the library does, turned as SOFA and Vallado do."""

from __future__ import annotations

import csv
import json
from datetime import datetime
from pathlib import Path

import erfa
import numpy as np
import pytest
from sgp4 import omm
from sgp4.api import Satrec, jday
from skyfield.api import load

from envs.basilisk.divergence import divergence_km
from envs.basilisk.elements import KeplerOrbit, earth_turn, flown_states, iau_earth, teme_to_icrf
from envs.basilisk.environment import ConstellationEnv
from envs.basilisk.orbits import earth_angle_rad
from scenarios.compose import composed
from scenarios.files.elements import ElementSet, read_elements, safe_names, teme_states
from scenarios.files.reading import FileError
from scenarios.files.tle import checksum
from scenarios.mission import ScenarioConfig
from scenarios.ranges import ConfigError
from scenarios.schema import to_dict
from tests.test_config import ROOT

EXAMPLES = ROOT / "examples"
EPOCH = datetime(2026, 3, 20, 12)
CSV = (EXAMPLES / "satellites.csv").read_text()
LINES = (EXAMPLES / "satellites.3le").read_text()


def sets_of(form: str = "csv") -> tuple[ElementSet, ...]:
    return read_elements(str(EXAMPLES / f"satellites.{form}"))


def mission(file: str | Path = EXAMPLES / "satellites.csv", *overrides: str) -> ScenarioConfig:
    return composed("scenario=walker_cities", f"scenario.constellation.file='{file}'", *overrides).scenario


@pytest.mark.parametrize("form", ["json", "xml", "kvn", "tle", "3le"])
def test_every_form_tells_the_same_satellites(form: str) -> None:
    told, csv_told = sets_of(form), sets_of("csv")
    assert [each.catalogue_number for each in told] == list(range(270001, 270007))  # T0001 to T0006 in Alpha-5
    time_s = np.array([0.0, 3000.0])
    assert np.abs(teme_states(told, EPOCH, time_s)[0] - teme_states(csv_told, EPOCH, time_s)[0]).max() < 0.01  # m
    assert form == "tle" or [each.name for each in told] == [each.name for each in csv_told]


def test_states_are_those_that_the_library_reads_from_lines_itself() -> None:
    lines = [line for line in LINES.splitlines() if line[:2] in ("1 ", "2 ")]
    r_m, v_m_s = teme_states(sets_of("3le"), EPOCH, np.array([0.0]))
    for row, (one, two) in enumerate(zip(lines[::2], lines[1::2], strict=True)):
        error, r_km, v_km_s = Satrec.twoline2rv(one, two).sgp4(*jday(2026, 3, 20, 12, 0, 0.0))
        assert error == 0
        assert np.abs(r_m[row, 0] - 1e3 * np.array(r_km)).max() < 0.01
        assert np.abs(v_m_s[row, 0] - 1e3 * np.array(v_km_s)).max() < 1e-5


@pytest.mark.parametrize("form", ["csv", "xml"])
def test_states_are_those_of_the_librarys_own_reading_of_omm(form: str) -> None:
    parse = {"csv": omm.parse_csv, "xml": omm.parse_xml}[form]
    r_m = teme_states(sets_of(form), EPOCH, np.array([0.0]))[0]
    with (EXAMPLES / f"satellites.{form}").open() as file:
        for row, fields in enumerate(parse(file)):
            record = Satrec()
            omm.initialize(record, fields)
            error, r_km, _ = record.sgp4(*jday(2026, 3, 20, 12, 0, 0.0))
            assert error == 0 and np.abs(r_m[row, 0] - 1e3 * np.array(r_km)).max() < 0.01


def test_xml_may_have_a_namespace(tmp_path: Path) -> None:
    text = (EXAMPLES / "satellites.xml").read_text().replace("<ndm>", '<ndm xmlns="urn:ccsds:schema:ndmxml">')
    (tmp_path / "own.xml").write_text(text)
    assert [each.name for each in read_elements(str(tmp_path / "own.xml"))] == [each.name for each in sets_of("xml")]


def test_lines_that_begin_with_a_hash_are_comments(tmp_path: Path) -> None:
    """Before a set, between its lines, and after a name."""
    for form in ("tle", "3le"):
        lines = (EXAMPLES / f"satellites.{form}").read_text().splitlines()
        (tmp_path / form).write_text("\n".join(f"# my tles\n{line}\n  #" for line in lines))
        assert [each.name for each in read_elements(str(tmp_path / form))] == [each.name for each in sets_of(form)]
        assert [each.epoch for each in read_elements(str(tmp_path / form))] == [each.epoch for each in sets_of(form)]


def test_lines_of_other_systems(tmp_path: Path) -> None:
    """Carriage returns, "0 " before names, empty lines and blanks at ends of lines."""
    lines = [f"{'0 ' if line[:2] not in ('1 ', '2 ') else ''}{line}  " for line in LINES.splitlines()]
    (tmp_path / "own.txt").write_bytes("\r\n\r\n".join(lines).encode("utf-8-sig"))
    assert [each.name for each in read_elements(str(tmp_path / "own.txt"))] == [each.name for each in sets_of("3le")]


def test_teme_to_icrf_is_vallados_published_example() -> None:
    """AIAA 2006-6753, the example of its appendix on coordinate systems: 2004 April 6, 07:51:28.386009 UTC."""
    turn = teme_to_icrf(datetime(2004, 4, 6, 7, 51, 28, 386009), np.zeros(1))[0]
    r_km = turn @ [5094.18016210, 6127.64465950, 6380.34453270]
    v_km_s = turn @ [-4.746131487, 0.785818041, 5.531931288]
    assert 1e3 * np.abs(r_km - [5102.50895790, 6123.01140070, 6378.13692820]).max() < 5.0  # m; 3.1 m
    assert 1e3 * np.abs(v_km_s - [-4.7432201570, 0.7905364970, 5.5337557270]).max() < 0.005  # m/s


@pytest.mark.parametrize("year", [2001, 2015, 2026, 2029])
def test_teme_to_icrf_agrees_with_sofa(year: int) -> None:
    """By way of the Earth: TEME turns into the Earth's frame by GMST 1982, and that into the GCRS by IAU 2006/2000A."""
    moment = load.timescale(builtin=True).utc(year, 3, 20, 12)
    terrestrial, universal = (moment.whole, moment.tt_fraction), (moment.whole, moment.ut1_fraction)
    angle = erfa.gmst82(*universal)
    cosine, sine = np.cos(angle), np.sin(angle)
    to_earth = np.array([[cosine, sine, 0.0], [-sine, cosine, 0.0], [0.0, 0.0, 1.0]])
    theirs = erfa.c2t06a(*terrestrial, *universal, 0.0, 0.0).T @ to_earth
    ours = teme_to_icrf(datetime(year, 3, 20, 12), np.zeros(1))[0]
    assert 7e6 * np.linalg.norm(ours - theirs, 2) < 1.0  # m in a low orbit


def test_iau_earth_is_how_basilisk_turns_its_earth_and_the_difference_is_turned_back() -> None:
    env = ConstellationEnv(mission())
    env.reset([0])
    [PN] = np.reshape(env.episode(0).constellation.satellites[0].trajectory._J20002Pfix_log, (-1, 3, 3))[:1]
    moment = load.timescale(builtin=True).utc(2026, 3, 20, 12)
    et_s = (moment.tdb - 2451545.0) * 86400.0
    assert 6.4e6 * np.linalg.norm(PN - iau_earth(et_s), 2) < 1.0  # m on the ground
    # SGP4's states over SOFA's Earth are Basilisk's over its own.
    universal = (moment.whole, moment.ut1_fraction)
    angle = erfa.gmst82(*universal)
    r_TEME = teme_states(sets_of(), EPOCH, np.zeros(1))[0][:, 0]
    x, y, z = r_TEME.T
    r_P = np.stack([np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x, z], axis=-1)
    for satellite, wanted in zip(env.episode(0).constellation.satellites, r_P, strict=True):
        assert np.linalg.norm(satellite.position_P(0.0) - wanted) < 20.0  # m: the poles' wander is left out here
    assert 200 < np.degrees(np.arccos((np.trace(earth_turn(EPOCH)) - 1) / 2)) * 3600 < 400


def test_basilisk_and_sgp4_part_by_a_few_kilometres_in_an_orbit() -> None:
    env = ConstellationEnv(mission(EXAMPLES / "satellites.csv", "scenario.duration_s=5700"))
    env.reset([0])
    apart = divergence_km(env.episode(0).constellation)
    assert ((apart > 0.01) & (apart < 5.0)).all()


def test_unlike_orbits_fly(tmp_path: Path) -> None:
    """Sun-synchronous, retrograde and eccentric ones: heights and inclinations as the elements say."""
    env = ConstellationEnv(mission())
    env.reset([0])
    satellites = env.episode(0).constellation.satellites
    for satellite, inclination_deg in zip(satellites, [97.4, 97.4, 51.64, 144.0, 144.0, 63.4], strict=True):
        bus = satellite.bus()
        momentum = np.cross(bus.r_BN_N, bus.v_BN_N)
        assert np.degrees(np.arccos(momentum[2] / np.linalg.norm(momentum))) == pytest.approx(inclination_deg, abs=0.2)
    time_s = np.arange(0.0, 2850.0, 30.0)
    km = np.linalg.norm(satellites[5].position_P(time_s), axis=-1) / 1e3
    assert km.max() - km.min() > 500  # half of the eccentric orbit


def test_kepler_orbits_are_the_tracks_that_basilisk_flies() -> None:
    env = ConstellationEnv(mission())
    env.reset([0])
    constellation = env.episode(0).constellation
    time_s = np.arange(0.0, 2850.0, 60.0)
    for satellite, orbit in zip(constellation.satellites, constellation.scenario.tracks, strict=True):
        assert isinstance(orbit, KeplerOrbit)
        flown = satellite.position_P(time_s)
        flown /= np.linalg.norm(flown, axis=-1, keepdims=True)
        cosine = np.sum(flown * orbit.track(time_s, earth_angle_rad(constellation.config.epoch_utc)), axis=-1)
        assert np.degrees(np.arccos(cosine.min())) < 1.0  # it only steers where targets are strewn


def test_a_circle_and_an_ellipse_by_hand() -> None:
    circle = KeplerOrbit(np.array([7e6, 0.0, 0.0]), np.array([0.0, np.sqrt(3.986004415e14 / 7e6), 0.0]))
    quarter = circle.position(np.array([circle.period_s / 4]))[0]
    assert np.abs(quarter - [0.0, 7e6, 0.0]).max() < 1.0
    fast = KeplerOrbit(np.array([7e6, 0.0, 0.0]), np.array([0.0, np.sqrt(3.986004415e14 / 7e6 * 1.2), 0.0]))
    assert fast.radius_m == pytest.approx(7e6 * 1.2 / 0.8)  # e = 0.2
    assert fast.position(np.array([fast.period_s / 2]))[0][0] == pytest.approx(-fast.radius_m, rel=1e-9)


def test_classes_by_pattern_by_list_and_in_turn(tmp_path: Path) -> None:
    classes = (
        "[{hardware:narrow,sensing:energy,satellites:['KITE-*']},{hardware:slow,sensing:priority,satellites:['270006']},"
        "{hardware:wide,sensing:timing},{hardware:slow,sensing:timing}]"
    )
    config = mission(EXAMPLES / "satellites.csv", f"scenario.constellation.classes={classes}")
    env = ConstellationEnv(config)
    assert [spec.name for spec in env.specs] == ["KITE_1", "KITE_2", "HERON_DEMO", "SWIFT_A", "SWIFT_B", "PENDULUM"]
    assert [spec.hardware for spec in env.specs] == ["narrow", "narrow", "wide", "slow", "wide", "slow"]
    assert config.visible[0] == config.sensing["energy"] and config.visible[5] == config.sensing["priority"]
    numbers = [satellite.catalogue_number for satellite in env.episode(0).constellation.satellites]
    assert numbers == list(range(270001, 270007))


def test_names_are_safe_and_unique(tmp_path: Path) -> None:
    names = ["ISS (ZARYA)", "ISS ZARYA", "2 sat", "größer", "", "x" * 60]
    text = CSV.splitlines()
    rows = [text[0], *(f"{name},{line.partition(',')[2]}" for name, line in zip(names, text[1:], strict=True))]
    (tmp_path / "names.csv").write_text("\n".join(rows))
    safe = safe_names([(each.name, each.catalogue_number) for each in read_elements(str(tmp_path / "names.csv"))])
    assert safe == ["ISS_ZARYA", "ISS_ZARYA_270002", "sat_2_sat", "gr_er", "sat_270005", "x" * 40]
    assert all(name.isidentifier() and name.isascii() for name in safe)


def test_a_name_with_its_number_is_not_another_satellites() -> None:
    """Whatever comes first keeps its name; what comes later gets its number until nobody else is called so."""
    for third in ("X", "x"):
        safe = safe_names([("X_270003", 270001), ("X", 270002), (third, 270003)])
        assert safe == ["X_270003", "X", f"{third}_270003_270003"]
    assert safe_names([("X", 1), ("X", 2), ("X_2", 3)]) == ["X", "X_2", "X_2_3"]


def test_nine_digits_and_what_numbers_may_be_in_json(tmp_path: Path) -> None:
    records = json.loads((EXAMPLES / "satellites.json").read_text())
    for record in records:
        record["NORAD_CAT_ID"] = str(record["NORAD_CAT_ID"] + 799000000)
        record["MEAN_MOTION"] = str(record["MEAN_MOTION"])
    (tmp_path / "nine.json").write_text(json.dumps(records))
    assert read_elements(str(tmp_path / "nine.json"))[0].catalogue_number == 799270001


def test_a_file_is_told_in_records_by_its_digest_and_other_missions_are_as_before() -> None:
    told = to_dict(mission())["constellation"]
    assert told["file_sha256"] and told["per_plane"] == 6
    plain = to_dict(composed("scenario=walker_cities").scenario)["constellation"]
    assert not {"file", "file_sha256", "max_age_days"} & set(plain)
    assert all(set(each) == {"hardware", "sensing"} for each in plain["classes"])
    with pytest.raises(FileError, match=r"file_sha256='0+' is not allowed: it must be [0-9a-f]{64}, the SHA-256 of "):
        mission(EXAMPLES / "satellites.csv", f"scenario.constellation.file_sha256='{'0' * 64}'")


def changed(path: Path, **columns: str) -> Path:
    """The example with other values in its second satellite."""
    rows = list(csv.DictReader(CSV.splitlines()))
    rows[1].update(columns)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.mark.parametrize(
    "columns, sentence",
    [
        ({"NORAD_CAT_ID": "270001"}, r"line 3: NORAD_CAT_ID=270001 is that of line 2 too: it must be another sat"),
        ({"NORAD_CAT_ID": "x"}, r"line 3: NORAD_CAT_ID='x' is not allowed: it must be a number from 0 to 1e\+09"),
        ({"MEAN_MOTION": "2.0"}, r"line 3: MEAN_MOTION=2 is that of a deep-space orbit, of 720 min: the period must"),
        ({"MEAN_MOTION": "16.4"}, r"the perigee of KITE-2 is 1?\d\d km high: it must be at least 250 km"),
        ({"MEAN_MOTION": ""}, r"line 3: MEAN_MOTION='' is not allowed: it must be a number from 0.001 to 18"),
        ({"INCLINATION": "181"}, r"line 3: INCLINATION='181' is not allowed: it must be a number from 0 to 180"),
        ({"EPOCH": "yesterday"}, r"line 3: EPOCH='yesterday' is not allowed: it must be a date and time of ISO"),
        ({"EPHEMERIS_TYPE": "4"}, r"line 3: EPHEMERIS_TYPE='4' is not allowed: it must be 0 or 2"),
        ({"EPOCH": "2025-01-01T00:00:00"}, r"epoch_utc=2026-03-20T12:00:00Z is .* within"
         r" scenario.constellation.max_age_days=14 of .*KITE-2 443.5$"),
        ({"MEAN_MOTION": "15.9", "BSTAR": "0.01", "EPOCH": "2026-03-10T00:00:00"},
         r"own.csv, line 3: SGP4 has KITE-2 no longer in orbit at 2026-03-20 12:00 UTC \(.*decayed.*\): scenario.ep"),
        ({"MEAN_MOTION": "15.9", "BSTAR": "1.0", "EPOCH": "2026-03-10T00:00:00"},
         r"line 3: SGP4 has KITE-2 no longer in orbit at 2026-03-20 12:00 UTC \(a height of .* km\): scenario.epoch_u"),
        ({"MEAN_ANOMALY": "270.0"}, r"own.csv, line 3: KITE-2 is within 1 m of KITE-1 \(line 2\): it must be in anot"),
    ],
)  # fmt: skip
def test_elements_that_cannot_be_flown(tmp_path: Path, columns: dict[str, str], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        mission(changed(tmp_path / "own.csv", **columns))


def wrong_checksum() -> str:
    return LINES.replace("9993", "9994", 1)


@pytest.mark.parametrize(
    "text, sentence",
    [
        (b"", r"is empty: it must hold at least one record"),
        ("KITE".encode("utf-16"), r"is not UTF-8 text \(byte 0\): save it as UTF-8"),
        (b"satellites, of course\n", r"line 1: 'satellites, of course' is not allowed: it must be the start of TLE"),
        (CSV.replace(",", ";").encode(), r"line 1: .* is not allowed: columns must be separated by commas$"),
        (b"[1]", r"record 1: 1 is not allowed: it must be an object of OMM keywords"),
        (b'[{"OBJECT_NAME": {"a": 1}, "NORAD_CAT_ID": 1}]', r"record 1: OBJECT_NAME=\{'a': 1\} is not .* must be text"),
        (b'[{"OBJECT_NAME": [], "NORAD_CAT_ID": 1}]', r"record 1: OBJECT_NAME=\[\] is not allowed: it must be text"),
        (b"[{]", r"line 1: the text is no JSON"),
        (b"<ndm><omm>", r"line 1: the text is no XML"),
        (b"<!DOCTYPE a><ndm/>", r"line 1: a DOCTYPE is not allowed: it must be plain XML"),
        (b"<ndm/>", r"whole file: 0 satellites, where there must be 1 to 1000"),
        (b"CCSDS_OMM_VERS = 3.0\nnothing\n", r"line 2: 'nothing' is not allowed: it must be KEYWORD = VALUE"),
        (wrong_checksum().encode(), r"line 2: checksum '4' is not allowed: it must be 3, as the line adds up"),
        (LINES.replace("2 T0001", "2 T0009", 1).replace("    19\n", "    17\n", 1).encode(),
         r"line 3: catalogue number 'T0009' is not allowed: it must be 'T0001', as in line 1"),
        ("\n".join(LINES.splitlines()[:-1]).encode(), r"last line: an element set is cut short"),
        (LINES.replace("  99", " 99", 1).encode(), r"line 2: a line of 68 characters is not allowed: it must have 69"),
        ("\n".join([*CSV.splitlines()[:2], "a,b"]).encode(), r"line 3: a row of another length is not allowed"),
    ],
)  # fmt: skip
def test_files_that_cannot_be_read(tmp_path: Path, text: bytes, sentence: str) -> None:
    (tmp_path / "own").write_bytes(text)
    with pytest.raises(FileError, match=sentence) as caught:
        mission(tmp_path / "own")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "overrides, sentence",
    [
        (["scenario.constellation.file=no/such/file"], r"file='no/such/file' is not allowed: it must be a file"),
        (["scenario.constellation.file=docs"], r"scenario.constellation.file='docs' is not allowed: it must be the p"),
        (["scenario.constellation.file=examples/satellites.csv", "scenario.constellation.max_age_days=0.5"],
         r"must be within scenario.constellation.max_age_days=0.5 .* is so many days from them: KITE-1 1.2, .* 1 more"),
        (["scenario.constellation.file=examples/satellites.csv",
          "scenario.constellation.classes=[{hardware:wide,sensing:timing,satellites:['HAWK*']}]"],
         r"classes.0.satellites='HAWK\*' is not allowed: it must be a name, catalogue number or pattern"),
        (["scenario.constellation.file=examples/satellites.csv",
          "scenario.constellation.classes=[{hardware:wide,sensing:timing,satellites:['KITE*']}]"],
         r"classes names nobody for satellite 'HERON \(DEMO\)' of examples/satellites.csv \(line 4\)"),
        (["scenario.constellation.classes=[{hardware:wide,sensing:timing,satellites:['KITE*']}]"],
         r"classes.0.satellites=\['KITE\*'\] is not allowed: it must be null, for scenario.constellation.file is null"),
    ],
)  # fmt: skip
def test_settings_that_do_not_fit(overrides: list[str], sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(ConfigError, match=sentence):
        composed("scenario=walker_cities", *overrides)


def test_checksum_of_a_published_line() -> None:
    line = "1 25544U 98067A   08264.51782528 -.00002182  00000-0 -11606-4 0  2927"
    assert checksum(line) == 7


def test_states_flown_are_turned_only() -> None:
    r_m, v_m_s = flown_states(sets_of(), EPOCH, np.zeros(1))
    r_TEME, v_TEME = teme_states(sets_of(), EPOCH, np.zeros(1))
    assert np.linalg.norm(r_m, axis=-1) == pytest.approx(np.linalg.norm(r_TEME, axis=-1), rel=1e-12)
    assert np.sum(r_m * v_m_s) == pytest.approx(np.sum(r_TEME * v_TEME), rel=1e-9)
