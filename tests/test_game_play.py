"""Students of a game as a bundle: the executor plays what torch plays, messages included."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from pettingzoo import ParallelEnv

from envs.api import FeatureBlock
from envs.games.api import Game
from envs.games.parallel import ParallelGame
from envs.games.sensing import RandomMasks, everything, fixed
from kdmarl_sat.bundles.replay import replay
from kdmarl_sat.games import doors
from kdmarl_sat.games.package import GRANTED
from kdmarl_sat.games.pipeline import run
from kdmarl_sat.games.play import bits_of
from onboard.budget import Budget
from onboard.bundle import BundleError, SatelliteBundle, read_bundle, write_bundle
from onboard.executor import Executor
from onboard.processors import PROCESSORS
from onboard.runners import Runner, choose
from scenarios.schema import to_dict
from tests.test_game_pipeline import GUESS, Guess, composed
from tests.toy_game import ToyGame
from training.games.appended import AppendedGame, AppendedSight
from training.games.evaluate import episode_key, evaluate
from training.games.export import HEARD, export_students, wiring_of
from training.games.messages import Links, MessagingTeam, messaging_team
from training.games.networks import RecurrentTeam, Sight
from training.games.play import Played, play, signs

BUDGET = Budget(**{**to_dict(GRANTED), "processor": PROCESSORS[GRANTED.processor]})
EPISODES = 12
PATIENT_MS = 60_000.0  # a deadline that a busy machine does not miss
PATIENTLY = f"deadline_ms={PATIENT_MS}"


def students(bits: int, sight: Sight, widths: Sequence[int] = (16, 8, 16)) -> RecurrentTeam:
    """Untrained, but with opinions: large heads, and biases that make messages differ."""
    if bits:
        team: RecurrentTeam = messaging_team(sight.inputs, sight.actions, widths, bits, seed=3)
    else:
        groups = [[agent] for agent in range(len(widths))]
        team = RecurrentTeam(sight.inputs, sight.actions, groups, widths, torch.Generator().manual_seed(3))
    with torch.no_grad():
        team.head_weight.mul_(100)
        if isinstance(team, MessagingTeam):
            team.receiver_weight.mul_(5)
    return team


def packaged(folder: Path, game: Game, team: RecurrentTeam, sight: Sight) -> Path:
    export_students(folder / "bundle", "toy", game, team, sight, BUDGET, {})
    return folder / "bundle"


@pytest.mark.parametrize("runner", ["reference", "native"])
@pytest.mark.parametrize("bits", [0, 3])
@pytest.mark.parametrize("masks", ["all", "blocks", "random"])
def test_the_executor_plays_as_torch(tmp_path: Path, runner: str, bits: int, masks: str) -> None:
    game = ToyGame(1, agents=3, rounds=6, deaths=True)
    seen = {
        "all": everything(game.specs),
        "blocks": fixed(game.specs, [["cue", "own"], ["clock", "noise"], ["own"]]),
        "random": RandomMasks(game.specs, (0.4, 0.7), ("own",)),
    }[masks]
    sight = (AppendedSight if bits else Sight)(game.specs, seen, identities=False, last_action=True)
    team, links = students(bits, sight), AppendedGame(game, Links(0.3))
    of_torch = evaluate(links if bits else game, (team, sight), EPISODES, seed=7)
    bundle = read_bundle(packaged(tmp_path, links if bits else game, team, sight))

    def make(satellite: SatelliteBundle, deadline_ms: float) -> Runner:
        return choose.make(runner, satellite, deadline_ms)

    executor, wiring = Executor(bundle, PATIENT_MS, make_runner=make), wiring_of(game.specs, sight, bits)
    played: list[Played] = []
    for episode in range(EPISODES):
        played.append(play(links if bits else game, sight, wiring, executor, episode_key(7, episode)))
    executor.close()
    assert [each.reward for each in played] == pytest.approx(of_torch.returns)
    assert [each.steps for each in played] == of_torch.lengths
    assert [each.won for each in played] == of_torch.won
    assert sum(each.decisions for each in played) == sum(of_torch.decisions)
    if bits:
        assert sum(each.messages for each in played) == sum(of_torch.decisions)  # all that live send
        # Two others hear each message, while they live, and three in ten are lost.
        assert 0.3 < sum(each.heard for each in played) / (2 * sum(each.messages for each in played)) < 0.75


class Shifts(ParallelEnv):  # type: ignore[misc]
    """Three agents with unlike observations and actions. One waits at a time, and "clerk" leaves in the middle; the
    episode is cut off after nine steps. All are paid for actions that follow the clock."""

    metadata = {"name": "shifts"}  # noqa: RUF012
    max_cycles = 9
    columns: ClassVar = {"day": 4, "night": 2, "clerk": 3}
    choices: ClassVar = {"day": 3, "night": 2, "clerk": 4}

    def __init__(self) -> None:
        self.possible_agents = list(self.columns)

    def observation_space(self, agent: str) -> Box:
        return Box(-9, 9, (self.columns[agent],), np.float32)

    def action_space(self, agent: str) -> Discrete:
        return Discrete(self.choices[agent])

    def reset(self, seed: int | None = None, options: object = None) -> tuple[dict[str, Any], ...]:
        self.random, self.time = np.random.default_rng(seed), 0
        self.agents, self.leaves = list(self.possible_agents), int(self.random.integers(3, 7))
        return self._look()

    def step(self, actions: dict[str, int]) -> tuple[dict[str, Any], ...]:
        rewards = {agent: float(actions.get(agent, -1) == self.time % 2) for agent in self.agents}
        self.time += 1
        gone = {agent: agent == "clerk" and self.time == self.leaves for agent in rewards}
        over = self.time == self.max_cycles
        obs, infos = self._look()
        self.agents = [] if over else [agent for agent in self.agents if not gone[agent]]
        return obs, rewards, gone, dict.fromkeys(rewards, over), infos

    def _look(self) -> tuple[dict[str, Any], ...]:
        obs = {agent: self.random.normal(size=self.columns[agent]).astype(np.float32) for agent in self.agents}
        waits = self.possible_agents[self.time % 3]
        masks = {agent: np.full(self.choices[agent], agent != waits, np.int8) for agent in self.agents}
        return obs, {agent: {"action_mask": mask} for agent, mask in masks.items()}


@pytest.mark.parametrize("bits", [0, 3])
@pytest.mark.parametrize("random", [False, True])
def test_agents_that_wait_remember_what_they_observe(tmp_path: Path, bits: int, random: bool) -> None:
    """Torch's networks compute at every step, also while their agents wait."""
    game = ParallelGame(Shifts, 1)
    seen = RandomMasks(game.specs, (0.4, 0.7)) if random else everything(game.specs)
    sight = (AppendedSight if bits else Sight)(game.specs, seen, identities=False, last_action=True)
    team, heard_on = students(bits, sight), AppendedGame(game, Links(0.3)) if bits else game
    of_torch = evaluate(heard_on, (team, sight), EPISODES, seed=7)
    executor = Executor(read_bundle(packaged(tmp_path, heard_on, team, sight)), PATIENT_MS)
    wiring = wiring_of(game.specs, sight, bits)
    played = [play(heard_on, sight, wiring, executor, episode_key(7, episode)) for episode in range(EPISODES)]
    assert [each.reward for each in played] == pytest.approx(of_torch.returns)
    assert [each.steps for each in played] == of_torch.lengths == [9] * EPISODES
    assert sum(each.decisions for each in played) == sum(of_torch.decisions)
    assert sum(each.messages for each in played) == (sum(of_torch.decisions) if bits else 0)


def test_messages_decide(tmp_path: Path) -> None:
    """With all messages lost the same networks play otherwise: what is heard is read."""
    game = ToyGame(1, agents=3, rounds=6)
    sight = AppendedSight(game.specs, everything(game.specs), identities=False, last_action=True)
    team, wiring = students(3, sight), wiring_of(game.specs, sight, 3)
    bundle = read_bundle(packaged(tmp_path, AppendedGame(game, Links(0.0)), team, sight))
    executor = Executor(bundle, PATIENT_MS)
    returns = [
        [play(AppendedGame(game, Links(loss)), sight, wiring, executor, key).reward for key in range(EPISODES)]
        for loss in (0.0, 1.0)
    ]
    executor.close()
    assert returns[0] != returns[1]


def test_signs_by_hand() -> None:
    assert signs(0b0110, 4).tolist() == [-1.0, 1.0, 1.0, -1.0]
    assert signs(2**32 - 1, 32).tolist() == [1.0] * 32


def test_a_bundle_says_what_its_networks_read(tmp_path: Path) -> None:
    game = ToyGame(1, agents=3)
    sight = AppendedSight(game.specs, fixed(game.specs, [["cue"], ["clock", "own"], ["own"]]), False, last_action=True)
    links = AppendedGame(game, Links(0.0))
    bundle = read_bundle(packaged(tmp_path, links, students(8, sight), sight))
    blocks = [[(block.name, block.columns) for block in each.spec.blocks] for each in bundle.satellites]
    behind = [("last_action", 4), (HEARD, 16)]
    assert blocks == [[("cue", 2), *behind], [("clock", 1), ("own", 1), *behind], [("own", 1), *behind]]
    assert [each.spec.actions for each in bundle.satellites] == [spec.actions for spec in game.specs]
    assert [each.bits_per_decision for each in bundle.satellites] == [8, 8, 8]


def named(game: ToyGame, agent: str = "toy_0", block: str = "cue", columns: int = 2) -> ToyGame:
    """The game with another name of its first agent, or another first block there."""
    first, *rest = game.specs
    blocks = (FeatureBlock(block, columns, "1", 1.0), *first.blocks[1:])
    game.specs = (dataclasses.replace(first, name=agent, blocks=blocks), *rest)
    return game


@pytest.mark.parametrize("name", ["sensed", "last_action", "heard"])
def test_a_game_s_block_has_no_name_of_a_bundle_s_own(name: str) -> None:
    game = named(ToyGame(1), block=name)
    sight = Sight(game.specs, everything(game.specs), identities=False, last_action=False)
    with pytest.raises(BundleError, match=f"agent 'toy_0' block name='{name}' is not allowed: it must be none of sens"):
        wiring_of(game.specs, sight, 0)


class FirstIsDead(ToyGame):
    def _start(self, anew: torch.Tensor) -> None:
        super()._start(anew)
        self.alive[:, 0] = False


def test_what_no_bundle_holds_is_refused_in_a_sentence(tmp_path: Path) -> None:
    """A run would break off with any other error, and the methods behind this one would never be trained."""
    broken = students(3, AppendedSight(ToyGame(1).specs, everything(ToyGame(1).specs), False, True), (16, 8))
    assert isinstance(broken, MessagingTeam)
    torch.nn.init.constant_(broken.sender_bias, float("nan"))
    for game, bits, team, told in (
        (
            named(ToyGame(1), agent="left hand"),
            0,
            None,
            "satellite name='left hand' is not allowed: it must be letters",
        ),
        (named(ToyGame(1), columns=5000), 0, None, "block 'cue' size=5000 is not allowed"),
        (ToyGame(1), 32, None, "network.message_bits=32 is not allowed: it must be a whole number between 0 and 24"),
        (ToyGame(1), 3, broken, "a message is not finite"),
        (FirstIsDead(1), 0, None, "agent 'toy_0' is asked for no decision in the episode of its golden vectors"),
    ):
        kind = AppendedSight if bits else Sight
        sight = kind(game.specs, everything(game.specs), identities=False, last_action=True)
        heard_on = AppendedGame(game, Links(0.0)) if bits else game
        with pytest.raises(BundleError, match=told):
            packaged(tmp_path, heard_on, team or students(bits, sight, (16, 8)), sight)
        assert not list(tmp_path.iterdir())


@pytest.fixture
def mission(tmp_path: Path) -> Path:
    folder = tmp_path / "mission"
    (folder / "scenario").mkdir(parents=True)
    (folder / "scenario" / "guess.yaml").write_text(GUESS)
    return folder


def test_a_run_packages_its_students_and_play_plays_them(
    mission: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = composed(mission, tmp_path, "methods=[mappo_lh_a,kd_lh,kd_lh_m]", "compute.threads=1")
    records = {record.method: record for record in run(config, tmp_path / "out")}
    bundles = tmp_path / "out" / "bundles"
    assert sorted(path.name for path in bundles.iterdir()) == ["kd_lh", "kd_lh_m"]
    assert read_bundle(bundles / "kd_lh_m").satellites[0].network.design.message_bits == 8
    monkeypatch.chdir(tmp_path)
    for method in ("kd_lh", "kd_lh_m"):
        order = [f"bundle={bundles / method}", "episodes=16", f"out={method}", "record=true", PATIENTLY]
        doors.play([*order, "--config-dir", str(mission)])
        result = json.loads((tmp_path / method / "play.json").read_text())
        assert result["decisions"] == 16 * 5 * 2 == result["events"]["decision"]  # counted over all episodes
        assert result["messages"]["bits_per_decision"] == (8 if method == "kd_lh_m" else 0)
        # Both are greedy play of the same networks, on other episodes.
        assert sum(result["returns"]) / 16 == pytest.approx(sum(records[method].final["returns"]) / 16, abs=1.5)
    flown = [json.loads(line) for line in Path("kd_lh_m/flight_log_0.jsonl").read_text().splitlines()]
    assert sum(event["kind"] == "decision" for event in flown) == 5 * 2  # of the first episode alone
    again, same = replay(Path("kd_lh_m/flight_record_0.jsonl"), bundles / "kd_lh_m", "reference")
    assert same and again == "10 decisions, all as they were flown (reference runner)"
    said = capsys.readouterr().out
    assert "bits sent per decision" in said

    for arguments, told in (
        (["bundle=kd_lh/none"], "bundle kd_lh/none is not a folder"),
        ([f"bundle={bundles / 'kd_lh'}", "message_loss=0.5"], "it must be 0, the bundle sends no messages"),
        ([f"bundle={bundles / 'kd_lh_m'}", "message_loss=1.5"], "message_loss=1.5 is not allowed"),
        ([f"bundle={bundles / 'kd_lh'}", "episodes=0"], "episodes=0 is not allowed: it must be at least 1"),
        (
            [f"bundle={bundles / 'kd_lh'}", "scenario=mpe_spread"],
            "scenario=mpe_spread is not allowed: it must be a game of the bundle's agents, left, right, and it has",
        ),
        ([f"bundle={bundles / 'kd_lh'}", "scenario=mpe_spread,smac_3m"], "it must be the name of one game"),
        ([f"bundle={bundles / 'kd_lh'}", "deadline_ms=soon"], "deadline_ms=soon is not allowed: it must be a number"),
        ([f"bundle={bundles / 'kd_lh'}", "out=."], "out='.' is not allowed: it must be the path of a folder"),
        ([f"bundle={bundles / 'kd_lh'}", "target=z80"], "target='z80' is not allowed: it must be one of cortex-m7"),
        (
            [f"bundle={bundles / 'kd_lh'}", "scenario=walker_cities"],
            "scenario=walker_cities is a mission, and this command is for games: it must be one of guess, mpe_",
        ),
        ([f"bundle={bundles / 'kd_lh'}", "runner=warp"], "runner='warp' is not allowed"),
    ):
        with pytest.raises(SystemExit):
            doors.play(["out=never", *arguments, "--config-dir", str(mission)])
        assert told in capsys.readouterr().err
    assert not (tmp_path / "never").exists()


def test_a_run_says_why_it_packages_no_students(
    mission: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scenario = mission / "scenario" / "guess.yaml"
    scenario.write_text(GUESS.replace("noise", "last_action"))
    records = run(composed(mission, tmp_path, "methods=[kd_lh]"), tmp_path / "out")
    assert [record.method for record in records] == ["kd_lh"]
    assert "kd_lh is not packaged: agent 'left' block name='last_action'" in " ".join(capsys.readouterr().out.split())
    assert not (tmp_path / "out" / "bundles").exists()


class Closed(Guess):
    """Says so when it is closed."""

    def close(self) -> None:
        print("closed")


class Halts(Guess):
    """Hands over what is no reward."""

    def step(self, actions: dict[str, int]):  # type: ignore[no-untyped-def]
        obs, rewards, *others = super().step(actions)
        return obs, dict.fromkeys(rewards, float("nan")), *others


def test_what_play_refuses_leaves_nothing_open(
    mission: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    scenario = mission / "scenario" / "guess.yaml"
    scenario.write_text(GUESS.replace("test_game_pipeline.Guess", "test_game_play.Closed"))
    game = ParallelGame(Guess, 1, {"*": [("number", 2), ("noise", 2)]})
    sight = Sight(game.specs, everything(game.specs), identities=False, last_action=False)
    team = students(0, sight, (16, 8))
    export_students(Path("good"), "guess", game, team, sight, BUDGET, {})
    good = read_bundle("good")
    export_students(Path("costly"), "guess", game, team, sight, dataclasses.replace(BUDGET, max_bytes=9), {})
    write_bundle("elsewhere", "walker_cities", good.satellites, {})
    write_bundle("unknown", "guesses", good.satellites, {})
    other = ParallelGame(Guess, 1, {"*": [("number", 1), ("noise", 3)]})
    export_students(Path("other"), "guess", other, team, sight, BUDGET, {})
    strange = ParallelGame(Guess, 1, {"*": [("digit", 2), ("noise", 2)]})
    export_students(Path("strange"), "guess", strange, team, sight, BUDGET, {})
    for bundle, opened, told in (
        ("costly", 1, "satellite 'left'"),
        ("other", 1, "block 'number' has size 1 where 2 is expected"),
        ("strange", 1, "the network of agent 'left' reads a block 'digit', and in 'guess' it has number, noise"),
        (
            "elsewhere",
            0,
            "bundle=elsewhere needs scenario=walker_cities: scenario=walker_cities is a mission, and this",
        ),
        ("unknown", 0, "bundle=unknown needs scenario=guesses: scenario='guesses' is not known (did you mean guess?)"),
    ):
        with pytest.raises(SystemExit):
            doors.play([f"bundle={bundle}", f"out={tmp_path / 'never'}", "--config-dir", str(mission)])
        said = capsys.readouterr()
        assert told in said.err
        assert said.out.count("closed") == opened
        assert not Path("never").exists()

    (mission / "scenario" / "halts.yaml").write_text(GUESS.replace("test_game_pipeline.Guess", "test_game_play.Halts"))
    with pytest.raises(SystemExit):
        doors.play(["bundle=good", "scenario=halts", "out=never", "--config-dir", str(mission)])
    assert "at step 1 is nan: it must be a finite number" in capsys.readouterr().err
    assert not Path("never").exists()


def test_play_goes_by_the_agents_names_and_says_what_is_unlike(
    mission: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    game = ParallelGame(Guess, 1, {"*": [("number", 2), ("noise", 2)]})
    sight = Sight(game.specs, fixed(game.specs, [["number"], ["noise"]]), identities=False, last_action=False)
    export_students(Path("good"), "guess", game, students(0, sight, (16, 8)), sight, BUDGET, {"game": {"agents": []}})
    good = read_bundle("good")
    write_bundle("turned", "guess", good.satellites[::-1], {})
    returns = []
    for bundle in ("good", "turned"):
        doors.play([f"bundle={bundle}", "episodes=6", f"out=of_{bundle}", PATIENTLY, "--config-dir", str(mission)])
        returns.append(json.loads(Path(f"of_{bundle}/play.json").read_text())["returns"])
    assert returns[0] == returns[1] and len(set(returns[0])) > 1
    said = " ".join(capsys.readouterr().out.split())
    assert said.count("the students were trained with other settings of scenario.environment, scenario.sensing") == 1
    assert "safe mode" not in said

    doors.play(["bundle=good", "episodes=6", "deadline_ms=1e-9", "--config-dir", str(mission)])
    assert "agents in safe mode to the end 2" in " ".join(capsys.readouterr().out.split())

    first, second = good.satellites
    design = dataclasses.replace(second.network.design, message_bits=4)
    unlike = dataclasses.replace(second, network=dataclasses.replace(second.network, design=design))
    with pytest.raises(BundleError, match=r"send messages of \[0, 4\] bits: all must send equally many"):
        bits_of(dataclasses.replace(good, satellites=(first, unlike)))
