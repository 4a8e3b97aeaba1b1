"""A game's teacher that is given by name: loaded, or trained on from a checkpoint; what does not fit is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from test_game_pipeline import composed, mission, results  # noqa: F401 (a fixture)

from envs.games.make import make_game
from kdmarl_sat.games import pipeline as game_pipeline
from kdmarl_sat.games.jobs import composed as as_recorded
from kdmarl_sat.games.methods import BY_NAME, TEACHER, sight_of, team_of
from kdmarl_sat.games.records import read, settings, write
from kdmarl_sat.games.teacher import load_teacher
from scenarios.games.schema import GameRunConfig
from scenarios.ranges import ConfigError
from training import artifact, checkpoint
from training.games import mappo, training
from training.games.networks import StateCritic

ROOT = Path(__file__).parents[1]
STORED = sorted(p for p in (ROOT / "results/checkpoints").glob("*-teacher-*") if p.name.startswith(("smac", "mpe")))


class Stop(Exception):
    pass


@pytest.fixture(autouse=True)
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables and figures take longer than the training here, and are no part of it."""
    for name in ("write_tables", "write_figures"):
        monkeypatch.setattr(game_pipeline, name, lambda records, folder: [])


@pytest.fixture
def other_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """Digests as of another version of the program."""
    monkeypatch.setattr(game_pipeline, "code_digest", lambda sources: "")
    monkeypatch.setattr(artifact, "code_digest", lambda sources: "another version")


def trained(mission: Path, folder: Path, *overrides: str) -> Path:  # noqa: F811
    """The folder of a trained teacher, moved out of the cache that it was made in."""
    game_pipeline.run(composed(mission, folder, "methods=[teacher]", *overrides), folder / "out")
    [made] = (folder / "cache").glob("guess-teacher-*")
    return made.rename(folder / "teacher")


def test_a_loaded_teacher_teaches_what_it_taught_at_home(mission: Path, tmp_path: Path, other_code: None) -> None:  # noqa: F811
    both = ("methods=[teacher,kd_lh]",)
    expected = game_pipeline.run(composed(mission, tmp_path / "home", *both), tmp_path / "out")
    [home] = (tmp_path / "home/cache").glob("guess-teacher-*")
    folder = home.rename(tmp_path / "teacher")
    away = composed(mission, tmp_path / "away", *both, f"teacher.load={folder}")
    found = game_pipeline.run(away, tmp_path / "out")
    assert [results(record) for record in found] == [results(record) for record in expected]
    assert not list((tmp_path / "away/cache").glob("guess-teacher-*"))
    for record, before in zip(found, expected, strict=True):
        assert record.teacher is not None and record.teacher["path"] == str(folder)
        assert before.teacher is None
        assert record.settings() == before.settings()  # the same run, by other means
        assert read(write(record, tmp_path / "stored")) == record
    assert found[0].teacher == found[1].teacher


def test_students_are_kept_by_what_the_teacher_is_not_by_where(
    mission: Path,  # noqa: F811
    tmp_path: Path,
    guessing: Path,
) -> None:
    first, twin = guessing, Path(shutil.copytree(guessing, tmp_path / "copy"))
    other = trained(mission, tmp_path / "second", "seed=1")
    run = composed(mission, tmp_path, "methods=[kd_lh]", f"teacher.load={first}")
    assert not game_pipeline.run(run, tmp_path / "out")[0].run["reused"]
    run.teacher.load = str(twin)
    assert game_pipeline.run(run, tmp_path / "out")[0].run["reused"]
    run.teacher.load = str(other)
    assert not game_pipeline.run(run, tmp_path / "out")[0].run["reused"]


def test_a_teacher_is_used_with_the_settings_it_was_trained_with(mission: Path, tmp_path: Path) -> None:  # noqa: F811
    unusual = ("mappo.discount=0.7", "mappo.gae_lambda=0.55", "teacher.phases=[{steps: 480}]")
    folder = trained(mission, tmp_path / "home", *unusual)
    expected = game_pipeline.run(composed(mission, tmp_path / "whole", "methods=[kd_lh]", *unusual), tmp_path / "out")[
        0
    ]
    found = game_pipeline.run(
        composed(mission, tmp_path / "away", "methods=[kd_lh]", f"teacher.load={folder}"), tmp_path / "out"
    )[0]
    assert results(found) == results(expected)
    assert found.settings() == expected.settings()
    assert found.config["teacher"]["phases"][0]["steps"] == 480


def without(name: str) -> Any:
    return lambda folder: (folder / name).unlink()


def flip(folder: Path) -> None:
    content = bytearray((folder / "final.safetensors").read_bytes())
    content[-3] ^= 1
    (folder / "final.safetensors").write_bytes(content)


def cut(folder: Path) -> None:
    content = (folder / "final.safetensors").read_bytes()
    (folder / "final.safetensors").write_bytes(content[: len(content) // 2])


def edited(change: Any) -> Any:
    def edit(folder: Path) -> None:
        done = json.loads((folder / "done.json").read_text())
        change(done)
        (folder / "done.json").write_text(json.dumps(done))

    return edit


def newer(folder: Path) -> None:
    path = folder / "final.safetensors"
    content = path.read_bytes()
    path.write_bytes(content.replace(b'\\"format\\": 1', b'\\"format\\": 2'))


@pytest.mark.parametrize(
    ("change", "overrides", "sentence"),
    [
        (shutil.rmtree, [], "holds no done.json"),
        (without("final.safetensors"), [], "holds no final.safetensors"),
        (flip, [], "damaged: its checksum does not match"),
        (cut, [], "final.safetensors is damaged"),
        (newer, [], "has format 2; this program reads format 1"),
        (lambda folder: (folder / "done.json").write_text("{"), [], "done.json is damaged"),
        (edited(lambda done: done.update(digest="0" * 64)), [], "done.json and final.safetensors are of two"),
        (edited(lambda done: done["depends_on"].update(backend="smax")), [], "trained on smax, and this is pettingzoo"),
        (
            edited(lambda done: done["info"]["agents"][0]["blocks"].reverse()),
            [],
            "the feature blocks and actions of this game's",
        ),
        (edited(lambda done: done["depends_on"].update(method="mappo_lh")), [], "a teacher of a game, and it holds"),
        (None, ["mappo.hidden=24"], r"mappo.hidden \(units\) 16 there, 24 here"),
        (None, ["mappo.critic_hidden=24"], r"mappo.critic_hidden \(units\) 16 there, 24 here"),
        (None, ["mappo.last_action=false"], "with mappo.last_action=False"),
        (None, ["seed=3", "methods=[teacher]"], "of this run's seed where methods name the teacher too"),
        (
            None,
            ["scenario.environment.parallel_env._target_=tests.test_game_pipeline.Other"],
            'a teacher of this game: environment.parallel_env._target_ is "tests.test_game_pipeline.Guess" there',
        ),
    ],
)
def test_what_does_not_fit_is_refused_before_any_compute(
    mission: Path,  # noqa: F811
    tmp_path: Path,
    guessing: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Any,
    overrides: list[str],
    sentence: str,
) -> None:
    import test_game_pipeline

    monkeypatch.setattr("tests.test_game_pipeline.Other", test_game_pipeline.Guess, raising=False)
    folder = Path(shutil.copytree(guessing, tmp_path / "teacher"))
    if change is not None:
        change(folder)
    run = composed(mission, tmp_path, "methods=[kd_lh]", f"teacher.load={folder}", *overrides)
    with pytest.raises(ConfigError, match=sentence) as refused:
        game_pipeline.run(run, tmp_path / "out")
    assert str(refused.value).startswith(f"teacher.load='{folder}' is not allowed: it must be ")
    assert not (tmp_path / "cache").exists()


@pytest.fixture(scope="module")
def guessing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained teacher."""
    from test_game_pipeline import GUESS

    folder = tmp_path_factory.mktemp("guessing")
    (folder / "mission/scenario").mkdir(parents=True)
    (folder / "mission/scenario/guess.yaml").write_text(GUESS)
    with pytest.MonkeyPatch.context() as patch:
        no_report.__wrapped__(patch)  # type: ignore[attr-defined]
        return trained(folder / "mission", folder)


def test_load_and_resume_exclude_each_other(mission: Path, tmp_path: Path) -> None:  # noqa: F811
    with pytest.raises(ConfigError, match=r"teacher\.resume='b' is not allowed: it must be null where teacher\.load"):
        composed(mission, tmp_path, "teacher.load=a", "teacher.resume=b")


def stopped(run: GameRunConfig, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a teacher's training that was stopped after its first checkpoint."""
    save = training._save

    def once(*arguments: Any) -> None:
        save(*arguments)
        raise Stop

    with monkeypatch.context() as patch, pytest.raises(Stop):
        patch.setattr(training, "_save", once)
        game_pipeline.run(run, folder / "out")
    [made] = Path(run.output.cache_dir).glob("guess-teacher-*")
    return made.rename(folder / "begun")


def test_a_stopped_training_goes_on_elsewhere(
    mission: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    only = "methods=[teacher]"
    expected = game_pipeline.run(composed(mission, tmp_path / "whole", only), tmp_path / "out")[0]
    folder = stopped(composed(mission, tmp_path / "home", only), tmp_path, monkeypatch)
    assert {path.name for path in folder.iterdir()} == {"begun.json", "checkpoint.safetensors", "cpu.json", "lock"}
    monkeypatch.setattr(game_pipeline, "code_digest", lambda sources: "")
    monkeypatch.setattr(artifact, "code_digest", lambda sources: "another version")
    updates = []
    update = mappo.update
    monkeypatch.setattr(mappo, "update", lambda *given: updates.append(given) or update(*given))
    away = composed(mission, tmp_path / "away", only, f"teacher.resume={folder}")
    assert results(game_pipeline.run(away, tmp_path / "out")[0]) == results(expected)
    assert len(updates) == 800 / 80 - 200 / 80 // 1  # 10 in all, 2 before the first checkpoint
    for overrides, sentence in (
        (["mappo.clip=0.1"], "mappo.clip is 0.2 there, 0.1 here"),
        (["seed=4"], "seed is 0 there, 4 here"),
    ):
        with pytest.raises(ConfigError, match=sentence):
            game_pipeline.run(
                composed(mission, tmp_path / "no", only, f"teacher.resume={folder}", *overrides), tmp_path
            )
    with pytest.raises(ConfigError, match=r"has not ended: teacher\.resume=.* goes on with it"):
        game_pipeline.run(composed(mission, tmp_path / "no", only, f"teacher.load={folder}"), tmp_path)
    (folder / "begun.json").unlink()  # as older versions left it: only the networks can be looked at
    with pytest.raises(ConfigError, match=r"mappo.hidden \(units\) 16 there, 8 here"):
        run = composed(mission, tmp_path / "no", only, f"teacher.resume={folder}", "mappo.hidden=8")
        game_pipeline.run(run, tmp_path)
    assert not (tmp_path / "no").exists()


def test_a_finished_training_does_not_go_on(mission: Path, tmp_path: Path, guessing: Path) -> None:  # noqa: F811
    run = composed(mission, tmp_path, "methods=[teacher]", f"teacher.resume={guessing}")
    with pytest.raises(ConfigError, match=r"this one has ended: teacher\.load=.* takes its networks"):
        game_pipeline.run(run, tmp_path)


def of_game(name: str) -> tuple[GameRunConfig, Any, mappo.Learner]:
    """The packaged game, and a fresh teacher for it."""
    from hydra import compose, initialize_config_module

    from scenarios.games import schema
    from scenarios.schema import load

    schema.register()
    with initialize_config_module("scenarios.games", version_base="1.3"):
        config = load(compose("config", [f"scenario={name}", "scenario.environment.backend=smax"]))
    game = make_game(config.scenario, 2)
    sight = sight_of(BY_NAME[TEACHER], config, game.specs, torch.zeros(0))
    team = team_of(BY_NAME[TEACHER], config, game.specs, sight, 0)
    critic = StateCritic(game.state_size, config.mappo.critic_hidden, torch.Generator().manual_seed(0))
    return config, game, mappo.new_learner(team, sight, critic, 0)


@pytest.mark.parametrize("folder", STORED, ids=lambda folder: folder.name.partition("-")[0])
def test_the_stored_teachers_load(folder: Path) -> None:
    name = folder.name.partition("-")[0]
    config, game, learner = of_game(name)
    config.teacher.load = str(folder)
    loaded = load_teacher(config, game, learner)
    state = checkpoint.load(folder / "final.safetensors", json.loads((folder / "done.json").read_text())["digest"])
    assert all(torch.equal(value, state["team"][key]) for key, value in learner.team.state_dict().items())
    assert (loaded.discount, loaded.gae_lambda) == ((0.99, 0.8) if "smac" in name else (0.9, 0.6))
    assert settings(loaded.config(config), "kd_lh") == settings(as_recorded(f"scenario={name}"), "kd_lh")


def test_the_stored_teachers_are_of_their_game_alone() -> None:
    config, game, learner = of_game("mpe_spread_groups")
    config.teacher.load = str(next(folder for folder in STORED if "mpe_spread" in folder.name))
    assert load_teacher(config, game, learner).discount == 0.9  # it sees everything, whatever the groups are
    config.teacher.load = str(next(folder for folder in STORED if "3m" in folder.name))
    with pytest.raises(ConfigError, match=r'environment\.suite is "smac" there, "mpe" here'):
        load_teacher(config, game, learner)
