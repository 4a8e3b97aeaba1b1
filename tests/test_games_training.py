"""MAPPO and KD-MARL on a game whose best return is known; interrupted runs; what evaluation reports."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from envs.games.sensing import everything, fixed
from kdmarl_sat.games.pipeline import run
from scenarios.games.schema import CurriculumConfig, GameDistillConfig, GameStudentConfig, MappoConfig, PhaseConfig
from scenarios.ranges import ConfigError
from tests.test_roots import composed
from tests.toy_game import ToyGame
from training.artifact import CHECKPOINT, Place
from training.games import mappo
from training.games.distill import (
    Distiller,
    Teacher,
    learn_from_own,
    new_distiller,
    own_windows,
    student_widths,
    teacher_windows,
)
from training.games.evaluate import evaluate
from training.games.mappo import Learner
from training.games.networks import RecurrentTeam, Sight, StateCritic
from training.games.training import Evaluations, train_mappo, train_students
from training.games.windows import Player

MAPPO = MappoConfig(
    hidden=16,
    critic_hidden=16,
    environments=32,
    window=8,
    phases=[PhaseConfig(steps=20_000, learning_rate=5e-3, entropy=[0.02, 0.0])],
    discount=0.9,
)
DISTILL = GameDistillConfig(
    environments=32, window=8, teacher_steps=2_000, teacher_epochs=6, student_steps=10_000, learning_rate=5e-3
)


def silent(share: float, text: str) -> None:
    pass


def fresh(game: ToyGame, seed: int = 0, hidden: int = 16) -> Learner:
    sight = Sight(game.specs, everything(game.specs), identities=True, last_action=True)
    generator = torch.Generator().manual_seed(seed)
    team = RecurrentTeam(sight.inputs, sight.actions, [range(game.agents)], [hidden], generator)
    return mappo.new_learner(team, sight, StateCritic(game.state_size, 16, generator), seed)


def measure(game: ToyGame, sight: Sight):  # type: ignore[no-untyped-def]
    return lambda team: {"return": evaluate(game, (team, sight), 32, 0).mean_return}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> tuple[ToyGame, Teacher]:
    game = ToyGame(environments=32, rounds=3)
    learner = fresh(game)
    folder = tmp_path_factory.mktemp("teacher")
    train_mappo(learner, game, MAPPO, Place(folder, "key", silent), Evaluations(measure(game, learner.sight), 10_000))
    return game, Teacher(learner.team, learner.sight, learner.critic, learner.value_norm, 0.9, 0.95)


def test_mappo_finds_the_best_plan(teacher: tuple[ToyGame, Teacher]) -> None:
    """It must remember the cue; waiting is illegal now and then, so greedy play is the optimum."""
    game, taught = teacher
    result = evaluate(game, (taught.team, taught.sight), 64, seed=3)
    assert result.mean_return == pytest.approx(game.optimum())
    assert result.win_rate == 1.0
    assert result.lengths == [3] * 64
    assert int(result.action_counts.sum()) == 64 * 3 * game.agents == sum(result.decisions)


def distiller_for(game: ToyGame, taught: Teacher, visible: list[list[str]], seed: int = 0) -> Distiller:
    sight = Sight(game.specs, fixed(game.specs, visible), identities=False, last_action=True)
    generator = torch.Generator().manual_seed(seed)
    team = RecurrentTeam(sight.inputs, sight.actions, [[0], [1]], [8, 4], generator)
    return new_distiller(team, sight, taught, DISTILL, seed)


def test_students_learn_what_their_mask_allows(teacher: tuple[ToyGame, Teacher], tmp_path: Path) -> None:
    """Both see the cue: they reach the optimum. One does not: it can only guess, and no one can do better."""
    game, taught = teacher
    seeing = distiller_for(game, taught, [["cue"], ["cue", "clock"]])
    train_students(
        seeing, taught, game, DISTILL, Place(tmp_path, "key", silent), Evaluations(measure(game, seeing.sight), 5_000)
    )
    assert evaluate(game, (seeing.students, seeing.sight), 64, 3).mean_return == pytest.approx(game.optimum())

    blind = distiller_for(game, taught, [["cue"], ["clock"]])
    train_students(
        blind,
        taught,
        game,
        DISTILL,
        Place(tmp_path / "b", "key", silent),
        Evaluations(measure(game, blind.sight), 5_000),
    )
    reached = evaluate(game, (blind.students, blind.sight), 512, 3, (taught.team, taught.sight))
    # A guess is right in half the episodes: 1.5 per round then, 0.5 otherwise.
    assert reached.mean_return == pytest.approx(3 * 1.0, abs=0.25)
    assert reached.agreement is not None
    assert 0.6 < reached.agreement < 0.9


def test_the_buffer_alone_teaches_too(teacher: tuple[ToyGame, Teacher], tmp_path: Path) -> None:
    game, taught = teacher
    paper = dataclasses.replace(DISTILL, teacher_steps=8_000, student_steps=0)
    students = distiller_for(game, taught, [["cue"], ["cue"]])
    students = new_distiller(students.students, students.sight, taught, paper, 0)
    curve = train_students(
        students, taught, game, paper, Place(tmp_path, "key", silent), Evaluations(measure(game, students.sight), 5_000)
    )
    assert len(curve) == 1
    assert curve[0]["return"] == pytest.approx(game.optimum(), abs=0.1)


def test_a_curriculum_is_told_how_much_is_behind_and_evaluations_are_at_full_strength(
    teacher: tuple[ToyGame, Teacher], tmp_path: Path
) -> None:
    game, _ = teacher
    short = dataclasses.replace(MAPPO, phases=[PhaseConfig(steps=2048)], environments=32)  # 8 updates
    told: list[float] = []
    learner, measured = fresh(game), list[float]()

    def noted(_: RecurrentTeam) -> dict[str, float]:
        measured.append(told[-1])
        return {"return": 0.0}

    train_mappo(learner, game, short, Place(tmp_path / "c", "k", silent), Evaluations(noted, 1024), told.append)
    assert told == [0.0, 1.0, 0.5, 1.0]
    assert measured == [1.0, 1.0]


def test_the_weakest_enemies_by_hand() -> None:
    curriculum = CurriculumConfig(enemy_health=0.6, rises=[0.2, 0.7])
    assert [curriculum.lowest(at) for at in (0.0, 0.2, 0.45, 0.7, 1.0)] == pytest.approx([0.6, 0.6, 0.8, 1.0, 1.0])
    assert curriculum.lowest(1.0) == 1.0


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("enemy_health=0", r"teacher.curriculum.enemy_health=0.0 is not allowed: it must be between 0.05 and 1"),
        ("rises=[0.7,0.2]", r"teacher.curriculum.rises=\[0.7, 0.2\] is not allowed: it must be \[first, last\]"),
    ],
)
def test_a_curriculum_out_of_range_is_refused(override: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        composed("scenario=smac_3m", f"teacher.curriculum.{override}")


def test_a_curriculum_is_refused_where_enemies_cannot_be_weakened(tmp_path: Path) -> None:
    config = composed(
        "scenario=mpe_spread", "preset=smoke", "methods=[teacher]", "teacher.curriculum.enemy_health=0.5",
        "compute.threads=1", f"output.cache_dir={tmp_path / 'cache'}", f"output.dir={tmp_path}",
    )  # fmt: skip
    with pytest.raises(ConfigError, match=r"enemy_health=0.5 is not allowed on mpe, it must be 1: only SMAX's"):
        run(config, tmp_path)
    assert not list((tmp_path / "cache").glob("*/checkpoint*"))


class Interrupted(Exception):
    pass


def test_an_interrupted_run_gives_the_same_numbers(teacher: tuple[ToyGame, Teacher], tmp_path: Path) -> None:
    game, taught = teacher
    short = dataclasses.replace(MAPPO, phases=[PhaseConfig(steps=2048)], environments=32)
    whole = fresh(game)
    expected = train_mappo(
        whole, game, short, Place(tmp_path / "w", "k", silent), Evaluations(measure(game, whole.sight), 512)
    )

    def stop(share: float, text: str) -> None:
        if share > 0.6:
            raise Interrupted

    broken = fresh(game)
    with pytest.raises(Interrupted):
        train_mappo(
            broken, game, short, Place(tmp_path / "b", "k", stop), Evaluations(measure(game, broken.sight), 512)
        )
    assert (tmp_path / "b" / CHECKPOINT).exists()
    resumed = fresh(game, seed=9)  # the checkpoint replaces all of it
    got = train_mappo(
        resumed, game, short, Place(tmp_path / "b", "k", silent), Evaluations(measure(game, resumed.sight), 512)
    )
    strip = [{k: v for k, v in point.items() if k != "cpu_s"} for point in expected]
    assert [{k: v for k, v in point.items() if k != "cpu_s"} for point in got] == strip
    torch.testing.assert_close(resumed.team.state_dict(), whole.team.state_dict(), atol=0, rtol=0)

    results = []
    for folder, stops in (("sw", False), ("sb", True)):
        students = distiller_for(game, taught, [["cue"], ["clock"]])
        arguments = (taught, game, DISTILL, tmp_path / folder)
        points = Evaluations(measure(game, students.sight), 3_000)
        if stops:
            with pytest.raises(Interrupted):
                train_students(students, *arguments[:3], Place(arguments[3], "k", stop), points)
            students = distiller_for(game, taught, [["cue"], ["clock"]], seed=4)
        train_students(students, *arguments[:3], Place(arguments[3], "k", silent), points)
        results.append(students.students.state_dict())
    torch.testing.assert_close(results[0], results[1], atol=0, rtol=0)


def test_the_frozen_teacher_is_not_changed(teacher: tuple[ToyGame, Teacher]) -> None:
    game, taught = teacher
    before = {name: value.clone() for name, value in taught.team.state_dict().items()}
    critic = {name: value.clone() for name, value in taught.critic.state_dict().items()}
    distiller = distiller_for(game, taught, [["cue"], ["cue"]])
    player = Player(game, distiller.students, distiller.sight, 0, (taught.team, taught.sight))
    learn_from_own(distiller, taught, player.play(8)[0], DISTILL)
    torch.testing.assert_close(taught.team.state_dict(), before, atol=0, rtol=0)
    torch.testing.assert_close(taught.critic.state_dict(), critic, atol=0, rtol=0)


def test_values_that_go_on_learning_become_the_students(teacher: tuple[ToyGame, Teacher], tmp_path: Path) -> None:
    """The teacher earns 1.5 a round, a guess 1 on average, over three rounds at a discount of 0.9."""
    game, taught = teacher
    rounds = 1 + 0.9 + 0.81
    before = {name: value.clone() for name, value in taught.critic.state_dict().items()}
    first = game.reset(5).state

    @torch.no_grad()
    def worth(distiller: Distiller) -> float:
        return float(distiller.value_norm.denormalise(distiller.critic(first)).mean())

    for tune, expected in ((False, 1.5 * rounds), (True, 1.0 * rounds)):
        config = dataclasses.replace(DISTILL, tune_critic=tune)
        blind = distiller_for(game, taught, [["cue"], ["clock"]])
        arguments = (Place(tmp_path / str(tune), "key", silent), Evaluations(measure(game, blind.sight), 5_000))
        train_students(blind, taught, game, config, *arguments)
        assert worth(blind) == pytest.approx(expected, abs=0.35)
        torch.testing.assert_close(taught.critic.state_dict(), before, atol=0, rtol=0)


def test_random_play_is_uniform_over_legal_actions() -> None:
    game = ToyGame(environments=500, rounds=2)
    result = evaluate(game, None, 500, 0)
    # Waiting is legal with probability 0.7: (0.7/3, and (0.7/3 + 0.3/2) each way) of the decisions.
    total = 500 * 2 * 2
    for action, share in enumerate((0.7 / 3, 0.7 / 3 + 0.15, 0.7 / 3 + 0.15, 0.0)):
        count = int(result.action_counts[:, action].sum())
        assert abs(count - share * total) <= 4 * (share * (1 - share) * total) ** 0.5


def test_an_evaluation_counts_the_episodes_that_it_returns_alone() -> None:
    """Five episodes in four environments: three of the second batch are nobody's."""
    game = ToyGame(environments=4, rounds=3)
    result = evaluate(game, None, 5, 0)
    assert (len(result.returns), result.lengths) == (5, [3] * 5)
    assert result.decisions == [5 * 3] * game.agents  # nobody dies


def test_few_steps_are_one_window_and_none_are_none() -> None:
    config = GameDistillConfig(environments=32, window=8, teacher_steps=0, student_steps=30)
    assert (teacher_windows(config), own_windows(config)) == (0, 1)
    config = GameDistillConfig(environments=32, window=8, teacher_steps=640, student_steps=0)
    assert (teacher_windows(config), own_windows(config)) == (2, 0)  # of 256 steps each; 2.5 is rounded to even


def test_schedules_by_hand() -> None:
    config = MappoConfig(
        environments=10,
        window=10,
        phases=[
            PhaseConfig(steps=400, learning_rate=1.0, entropy=[0.4, 0.0]),
            PhaseConfig(steps=200, learning_rate=0.5, entropy=[0.2, 0.1]),
        ],
    )
    assert mappo.updates_of(config) == [4, 2]
    assert [mappo.schedule(config, k)[0] for k in range(6)] == [1.0, 0.75, 0.5, 0.25, 0.5, 0.25]
    assert [mappo.schedule(config, k)[1] for k in range(6)] == pytest.approx([0.4, 0.3, 0.2, 0.1, 0.2, 0.15])
    with pytest.raises(ValueError, match="behind the last phase"):
        mappo.schedule(config, 6)


def test_widths_follow_what_is_sensed() -> None:
    config = GameStudentConfig(hidden=32, hidden_small=16, small_below=0.75)
    assert student_widths([40, 30, 29, 5], config, by_sensing=True) == [32, 32, 16, 16]
    assert student_widths([40, 30, 29, 5], config, by_sensing=False) == [32] * 4


def test_a_run_that_diverges_says_so(tmp_path: Path) -> None:
    game = ToyGame(environments=32, rounds=3)
    learner = fresh(game)
    with torch.no_grad():
        learner.critic.value[0].weight.fill_(float("nan"))
    with pytest.raises(ValueError, match="diverged"):
        train_mappo(learner, game, MAPPO, Place(tmp_path, "k", silent), Evaluations(measure(game, learner.sight), 512))
