"""Bad input at every command's door: one sentence, before any compute, whose keys can be typed back."""

from __future__ import annotations

import copy
import dataclasses
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_module
from omegaconf import DictConfig, OmegaConf

from kdmarl_sat.bundles import doors as bundles
from kdmarl_sat.command import verdict
from kdmarl_sat.measure import doors
from onboard.bundle import BundleError, read_bundle
from scenarios import onboard_sim, quantise
from scenarios import schema as missions
from scenarios.compose import composed
from scenarios.games import schema as games
from scenarios.games.environment import GameConfig
from scenarios.games.schema import GameRunConfig
from scenarios.messages import COMPOSITION_ERRORS, explain
from scenarios.onboard_sim import OnboardSimConfig
from scenarios.overrides import check_overrides
from scenarios.own_files import check_files
from scenarios.processor import ProcessorConfig
from scenarios.quantise import QuantiseRunConfig
from scenarios.ranges import MOST, ConfigError, sentence, shown
from scenarios.roots import CONSTELLATION, FOLDERS, GAME, root_of
from scenarios.schema import RunConfig, load
from tests.test_config import ROOT, command

MINE = b"defaults: [imaging_constellation, _self_]\nname: mine\n"


def refused(*overrides: str, root: type = RunConfig) -> str:
    """The sentence for a command line."""
    with pytest.raises((ConfigError, *COMPOSITION_ERRORS)) as error:
        check_overrides(overrides, root)
    said = verdict(error.value)
    assert said is not None and said[0] == 2 and "\n" not in said[1]
    return said[1]


@pytest.mark.parametrize("group", ["scenario", "preset", "workers", "launcher", "board", "tuning"])
@pytest.mark.parametrize("value", ["null", "5", "1.5", "true", "[a,b]", "{a: b}", "", "''", "${seed}", "a,5"])
def test_a_groups_option_is_a_name(group: str, value: str) -> None:
    assert re.match(rf"{group}=.* is not allowed: it must be a name, see --help", refused(f"{group}={value}"))


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("~scenario", "~scenario is not allowed: every run has one; scenario=NAME names another, see --help"),
        ("~preset=default", "~preset=default is not allowed: every run has one; preset=NAME"),
        ("~teacher", "~teacher is not allowed: every run has it; teacher=VALUE changes it"),
        ("~seed", "~seed is not allowed: every run has it; seed=VALUE changes it"),
        ("~scenario.clouds", "~scenario.clouds is not allowed: every run has it; scenario.clouds=VALUE or null"),
        ("~scenario.hardware.slow.battery_Wh", "battery_Wh is not allowed: every run has it"),
        ("~teacher.entropy.0", "~teacher.entropy.0 is not allowed: a list has no keys; teacher.entropy=[...]"),
        ("=3", "'=3' is not understood: it must be KEY=VALUE"),
        ("output.dir=/tmp/jürgen", "it must be KEY=VALUE, with VALUE in quotes: \"output.dir='/tmp/jürgen'\""),
    ],
)
def test_what_is_lost_or_not_read(override: str, said: str) -> None:
    assert said in refused(override)


def test_what_may_be_left_out() -> None:
    check_overrides(["~tuning", "~board", "~scenario.hardware.slow", "~scenario.sensing.full", "~nosuch"], RunConfig)


def test_a_value_in_quotes_as_the_sentence_says() -> None:
    assert composed("output.dir='/tmp/jürgen'").output.dir == "/tmp/jürgen"


def own(folder: Path, content: bytes, name: str = "mine", group: str = "scenario") -> list[str]:
    (folder / group).mkdir(exist_ok=True)
    (folder / group / f"{name}.yaml").write_bytes(content)
    return ["--config-dir", str(folder), f"{group}={name}"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("# für\n".encode("latin-1"), r"mine.yaml is not UTF-8 text \(byte 3\): save it as UTF-8"),
        (MINE.decode().encode("utf-16"), r"mine.yaml is not UTF-8 text \(byte 0\)"),
        (b"\xef\xbb\xbf# @package _global_\n", "mine.yaml begins with a byte order mark: save it as UTF-8 without one"),
        (b"defaults: [mine, _self_]\n", r"lead back to it \(scenario/mine -> scenario/mine\): they must end somewhere"),
        (MINE + b"a: &a [*a]\n", r"mine.yaml has an anchor \(&\) that holds itself"),
        (MINE + b"a: &a {b: *a}\n", r"mine.yaml has an anchor \(&\) that holds itself"),
        (MINE + b"a: " + b"[" * 999 + b"]" * 999, "mine.yaml is nested too deeply to be read"),
        (b"[1, 2]\n", "mine.yaml holds a list: it must hold a group of keys"),
        (b"hello\n", "mine.yaml holds a str: it must hold a group of keys"),
    ],
    ids=["latin-1", "utf-16", "bom", "itself", "anchor", "anchor in a group", "deep", "list", "text"],
)
def test_a_file_of_ones_own_that_cannot_be_read(tmp_path: Path, content: bytes, said: str) -> None:
    arguments = own(tmp_path, content)
    root_of(arguments)  # which root it is for can be asked of any file
    with pytest.raises(ConfigError, match=said):
        check_files(arguments, FOLDERS[CONSTELLATION])


@pytest.mark.parametrize("content", [MINE, b"\xef\xbb\xbf" + MINE, MINE.replace(b"\n", b"\r\n"), MINE + "# ü".encode()])
def test_a_file_of_ones_own_that_can(tmp_path: Path, content: bytes) -> None:
    check_files(own(tmp_path, content), FOLDERS[CONSTELLATION])


def test_files_that_lead_to_one_another_folders_and_packaged_names(tmp_path: Path) -> None:
    own(tmp_path, b"defaults: [mine, _self_]\n", "other")
    with pytest.raises(ConfigError, match=r"\(scenario/mine -> scenario/other -> scenario/mine\)"):
        check_files(own(tmp_path, b"defaults: [other, _self_]\n"), FOLDERS[CONSTELLATION])
    (tmp_path / "scenario" / "folder.yaml").mkdir()
    with pytest.raises(ConfigError, match=r"folder.yaml is a folder: it must be a file"):
        check_files([f"--config-dir={tmp_path}", "scenario=folder"], FOLDERS[CONSTELLATION])
    with pytest.raises(ConfigError, match=r"smoke.yaml is not used, for preset/smoke is packaged: it must have"):
        check_files(own(tmp_path, b"", "smoke", "preset"), FOLDERS[GAME])
    with pytest.raises(ConfigError, match=r"--config-dir='.*/nosuch' is not allowed: it must be a folder"):
        check_files(["--config-dir", f"{tmp_path}/nosuch"], FOLDERS[GAME])
    with pytest.raises(ConfigError, match=r"tuning='nosuch' is not allowed: it must be one of bskrl_aeos, "):
        check_files(["tuning=nosuch"], FOLDERS[CONSTELLATION])


def test_a_sweep_of_missions_and_games() -> None:
    for names in ("imaging_constellation,mpe_spread", "choice(mpe_spread,walker_cities)"):
        with pytest.raises(ConfigError, match="is a mission and mpe_spread a game, and a sweep must be of missions or"):
            root_of(["-m", f"scenario={names}"])
    assert root_of(["-m", "scenario=choice(mpe_spread,smac_3m)"]) == GAME


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["preset=null"], "preset=null is not allowed: it must be a name, see --help"),
        (["--config-name", "mine"], "with --config-dir FOLDER that holds scenario/NAME.yaml"),
        (["-m", "scenario=imaging_constellation,mpe_spread"], "a sweep must be of missions or of games"),
        (["~teacher", "preset=smoke"], "~teacher is not allowed"),
        (["hydra.run.dir=[1]"], "hydra.run.dir"),
        (["scenario.name='../../escape'"], "scenario.name='../../escape' is not allowed: it must be letters, digits, "),
        (["scenario=mpe_spread", "scenario.name='../../escape'"], "scenario.name='../../escape' is not allowed"),
        (["scenario=mpe_spread", "variant='a/b'"], "variant='a/b' is not allowed: it must be letters, digits, _ . and"),
        (["output.cache_dir=''"], "output.cache_dir='' is not allowed: it must be the path of a folder"),
    ],
)
def test_at_the_door_of_a_run(tmp_path: Path, arguments: list[str], said: str) -> None:
    done = command(tmp_path, *arguments)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert said in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("place", "door", "setting", "said"),
    [
        ("kdmarl_sat.run.run", "kdmarl_sat.run.main", "seed=1", "same command again goes on from where it stopped"),
        ("kdmarl_sat.bundles.doors._fly", "kdmarl_sat.bundles.doors.fly", "policy=random", "interrupted"),
    ],
)
def test_only_what_keeps_its_work_says_that_it_goes_on(
    tmp_path: Path, place: str, door: str, setting: str, said: str
) -> None:
    """Ctrl-C at the moment when the work begins."""
    program = f"""
import pkgutil, sys
def interrupted(config, folder):
    raise KeyboardInterrupt
module, _, name = {place!r}.rpartition(".")
setattr(pkgutil.resolve_name(module), name, interrupted)
sys.argv[1:] = [{setting!r}]
pkgutil.resolve_name({door!r})()
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 130 and done.stderr.endswith(f"{said}\n") and done.stderr.count("\n") == 1


def test_dashes_in_names() -> None:
    made = GameRunConfig(variant="lr-1e-3", scenario=GameConfig("pz-mpe-simple-spread-v3"))
    assert (made.variant, made.scenario.name) == ("lr-1e-3", "pz-mpe-simple-spread-v3")


@pytest.mark.parametrize("name", ["", ".", "..", ".a", "-a", "a/b", "a b", "../a", "a\0", "a\n", "x" * 65, "_a"])
def test_names_that_leave_their_folder(name: str) -> None:
    with pytest.raises(ConfigError, match=r"^scenario.name="):
        GameConfig(name)
    with pytest.raises(ConfigError, match=r"^preset="):
        GameRunConfig(preset=name, scenario=GameConfig("a"))


def test_what_a_sentence_quotes_is_cut() -> None:
    assert len(shown("x" * 40000)) == MOST
    assert shown("x" * 40000).startswith("'xxx") and shown("short") == "'short'"
    assert len(sentence("PK" * 20000)) == MOST
    assert sentence("it is '" + "a b" * 9000 + "' there").count("…") == 1
    assert len(sentence("a b " * 9000)) <= 20 * MOST
    assert sentence("the agent's mask and the environment's own are\nunlike") == (
        "the agent's mask and the environment's own are unlike"
    )
    folder = "/home/somebody/" + "a-folder/" * 12
    assert sentence(f"{folder} is not a folder") == f"{folder} is not a folder"


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("scenario.name=true", "scenario.name=true is not allowed: it is read as True, and must be text, in quotes: "),
        ("scenario.name=1_0", "is read as 10, and must be text, in quotes: \"scenario.name='1_0'\""),
        ("scenario.constellation.classes.0.sensing=1e3", "is read as 1000.0, and must be text, in quotes"),
        ("output.records_dir=1_0", "output.records_dir=1_0 is not allowed: it is read as 10, and must be text"),
        ("preset='../preset/smoke'", "preset='../preset/smoke' is not allowed: it must be a name, see --help"),
        ("scenario='/tmp/x'", "scenario='/tmp/x' is not allowed: it must be a name, see --help"),
    ],
)
def test_what_is_typed_as_a_name_and_read_as_something_else(override: str, said: str) -> None:
    assert said in refused(override)


@pytest.mark.parametrize("value", ["5", "1.5", "abc", "'yes'", "True", "null", "1,2", "${seed}"])
def test_text_that_is_read_as_it_is_typed(value: str) -> None:
    check_overrides([f"output.records_dir={value}", f"scenario.faults.training={value}"], RunConfig)


GAME_FILE = b"name: mine\nenvironment: {suite: pettingzoo, parallel_env: {_target_: a.b}"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"name: yes\n", "scenario.name=yes is not allowed: YAML reads it as True: names must be written in quotes"),
        (MINE + b"hardware: {yes: {}}\n", "scenario.hardware has the name yes in .*, which YAML reads as no text"),
        (MINE + b"sensing: {1.0: [gyro]}\n", "scenario.sensing has the name 1.0 in"),
        (MINE + b"sensing: {a: [gyro, no]}\n", "scenario.sensing.a.1=no is not allowed: YAML reads it as False"),
        (MINE + b"sensing: {null: [gyro]}\n", "scenario.sensing has the name null in"),
        (MINE + b"ground_stations: {at: {5: [0, 0]}}\n", "scenario.ground_stations.at has the name 5 in"),
        (
            MINE + b"constellation: {classes: [{hardware: on, sensing: a}]}\n",
            "scenario.constellation.classes.0.hardware=on is not allowed",
        ),
    ],
)
def test_names_in_a_file_that_yaml_reads_otherwise(tmp_path: Path, content: bytes, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        check_files(own(tmp_path, content), FOLDERS[CONSTELLATION])


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        (b", blocks: {0: [{name: a, size: 1}], x: []}}\n", None),
        (b", blocks: {0x1: [{name: a, size: 1}]}}\n", "scenario.environment.blocks has the name 0x1 in"),
        (b"}\nagents: [on]\n", "scenario.agents.0=on is not allowed: YAML reads it as True"),
        (b"}\nagents: [5, 1.5, 2020-01-01]\n", None),
    ],
)
def test_names_in_a_games_file(tmp_path: Path, rest: bytes, said: str | None) -> None:
    if said is None:
        check_files(own(tmp_path, GAME_FILE + rest), FOLDERS[GAME])
        return
    with pytest.raises(ConfigError, match=said):
        check_files(own(tmp_path, GAME_FILE + rest), FOLDERS[GAME])


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("preset=a/b", "preset='a/b' is not known: it must be one of default, full, smoke"),
        (
            "scenario.targets.file=a,b.csv",
            "scenario.targets.file=a,b.csv is not understood: it must be KEY=VALUE, with VALUE in quotes: "
            "\"scenario.targets.file='a,b.csv'\", or KEY=[A,B] if it is a list",
        ),
        (
            "scenario.targets.cities.number=5",
            "scenario.targets.cities.number=5 cannot be set on the command line, because its group is null in this",
        ),
        ("scenario.targets.uniform={number: [1, 9]}", "scenario.targets.uniform={number: [1, 9]} cannot be set on the"),
        ("+processors.a-b={core: a}", "processors.a-b is not there yet: it must be added in a file of your own"),
    ],
)
def test_a_sentence_names_the_key_as_it_was_typed(override: str, said: str) -> None:
    with pytest.raises((ConfigError, *COMPOSITION_ERRORS)) as error:
        composed(override)
    found = verdict(error.value)
    assert found is not None and found[1].startswith(said)


FLAGS: dict[Callable[[Sequence[str]], None], tuple[str, ...]] = {
    doors.soak: ("episodes", "kills"),
    doors.scale: ("episodes", "largest"),
    doors.simulation: ("episodes", "resets"),
    doors.twin: ("episodes",),
    doors.onboard: ("decisions", "calls", "flips", "mutations", "trials"),
    doors.peers: ("steps", "seeds", "threads"),
    bundles.sign: ("sequence",),
}


@pytest.mark.parametrize("door", FLAGS)
def test_a_flags_number_is_refused_in_one_sentence(
    door: Callable[[Sequence[str]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """Of every setting that takes a whole number: what is none, and what is beyond its range."""
    before = ("bundle", "x", "key=y") if door is bundles.sign else ()
    for flag in FLAGS[door]:
        for value in ("nan", "inf", "1e308", "0.5", "", "abc", "-1", "9" * 23, "1_0", "x" * 500):
            with pytest.raises(SystemExit) as stopped:
                door([*before, f"{flag}={value}"])
            said = capsys.readouterr().err
            assert stopped.value.code == 2 and said.count("\n") == 1 and len(said) < 300
            quoted = value[:40] or "''"
            assert f": {flag}={quoted}" in said and " is not allowed: it must be " in said


@pytest.mark.parametrize(
    ("door", "flag"),
    [
        (doors.scale, "record"),
        (doors.simulation, "record"),
        (doors.twin, "record"),
        (doors.peers, "out"),
        (doors.onboard, "table"),
        (doors.evidence, "record"),
        (doors.soak, "record"),
    ],
)
def test_a_record_that_cannot_be_written_is_refused_before_any_compute(
    door: Callable[[Sequence[str]], None],
    flag: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    others = ["misra"] if door is doors.evidence else []
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    os.symlink("loop", tmp_path / "loop")
    for place in ("folder", "file/below", "loop/below", "x" * 250, "/proc/below/it"):
        with pytest.raises(SystemExit) as stopped:
            door([*others, f"{flag}={place}"])
        said = capsys.readouterr().err
        assert stopped.value.code == 2 and said.count("\n") == 1
        assert f": {flag}={place[:30]}" in said and "it must be a file that can be written to (" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder", "loop"]


# Every number of every schema, out of its range, and the sentence's key typed back.

ROOTS = {
    "missions": (RunConfig, "scenarios", "config", ("scenario=walker_cities",)),
    "games": (GameRunConfig, "scenarios.games", "config", ("scenario=mpe_spread",)),
    "onboard_sim": (OnboardSimConfig, "scenarios", "onboard_sim", ("bundle=x",)),
    "quantise": (QuantiseRunConfig, "scenarios", "quantise", ("bundle=x", "out=y")),
}
PROFILE = ProcessorConfig(core="a", clock_mhz=1.0, ram_bytes=9, power_w=1.0, cpi=1.0, counted_as="leon3")


def numbers(config: Any, within: str = "") -> Iterator[tuple[str, Any]]:
    """Keys of the numbers, and lists of them, below a config object, with their values."""
    if dataclasses.is_dataclass(config):
        items: list[tuple[Any, Any]] = list(vars(config).items())
    else:
        items = list(config.items() if isinstance(config, dict) else enumerate(config))
    for key, value in items:
        name = f"{within}{key}"
        if isinstance(value, dict | list) or dataclasses.is_dataclass(value):
            yield from numbers(value, f"{name}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield name, value


def composed_root(root: str) -> DictConfig:
    _, module, name, given = ROOTS[root]
    for each in (missions, games, onboard_sim, quantise):
        each.register()
    with initialize_config_module(module, version_base="1.3"):
        config = compose(name, list(given))
    if "processors" in config:
        OmegaConf.update(config, "processors.mine", PROFILE, force_add=True)
    return config


def changed(config: DictConfig, key: str, value: Any) -> DictConfig:
    """As Hydra sets KEY=VALUE."""
    changed = copy.deepcopy(config)
    OmegaConf.update(changed, key, value, merge=True)
    return changed


@pytest.mark.parametrize("root", ROOTS)
def test_keys_of_sentences_can_be_typed_back(root: str) -> None:
    config = composed_root(root)
    tried, told = 0, 0
    for key, value in numbers(load(config)):
        for bad in (-1e300, math.nan) if isinstance(value, float) else (-1000000,):
            tried += 1
            try:
                load(changed(config, key, bad))
            except (ConfigError, *COMPOSITION_ERRORS) as error:
                said = explain(error) if isinstance(error, COMPOSITION_ERRORS) else str(error)
                named = said.partition("=")[0]
                check_overrides([f"{named}=1"], ROOTS[root][0])  # it can be read
                OmegaConf.select(config, named, throw_on_missing=True)
                assert OmegaConf.select(config, named, default="not there") != "not there", said
                told += 1
    assert told > 0.8 * tried > 10, (told, tried)


def test_a_damaged_bundle_is_refused_in_few_words(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "manifest.json").write_bytes(b'{"format": "' + b"PK\\u0003" * 9000 + b'"}')
    with pytest.raises(BundleError) as refused:
        read_bundle(bundle)
    assert len(str(refused.value)) < 500 + len(str(bundle))
    (bundle / "manifest.json").write_bytes(b"{" + b"x" * 40000)
    with pytest.raises(BundleError) as refused:
        read_bundle(bundle)
    assert len(str(refused.value)) < 500 + len(str(bundle))
