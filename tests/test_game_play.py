"""Students of a game as a bundle: the executor plays what torch plays, messages included."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from envs.games.sensing import RandomMasks, everything, fixed
from kdmarl_sat.bundles.replay import replay
from kdmarl_sat.games import doors
from kdmarl_sat.games.package import GRANTED
from kdmarl_sat.games.pipeline import run
from onboard.budget import Budget
from onboard.bundle import SatelliteBundle, read_bundle
from onboard.executor import Executor
from onboard.processors import PROCESSORS
from onboard.runners import Runner, choose
from scenarios.schema import to_dict
from tests.test_game_pipeline import GUESS, composed
from tests.toy_game import ToyGame
from training.games.appended import AppendedGame, AppendedSight
from training.games.evaluate import episode_key, evaluate
from training.games.export import HEARD, export_students, wiring_of
from training.games.messages import Links, MessagingTeam, messaging_team
from training.games.networks import RecurrentTeam, Sight
from training.games.play import Played, play, signs

BUDGET = Budget(**{**to_dict(GRANTED), "processor": PROCESSORS[GRANTED.processor]})
EPISODES = 12


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


def packaged(folder: Path, game: AppendedGame | ToyGame, team: RecurrentTeam, sight: Sight) -> Path:
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

    executor, wiring = Executor(bundle, make_runner=make), wiring_of(game.specs, sight, bits)
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


def test_messages_decide(tmp_path: Path) -> None:
    """With all messages lost the same networks play otherwise: what is heard is read."""
    game = ToyGame(1, agents=3, rounds=6)
    sight = AppendedSight(game.specs, everything(game.specs), identities=False, last_action=True)
    team, wiring = students(3, sight), wiring_of(game.specs, sight, 3)
    bundle = read_bundle(packaged(tmp_path, AppendedGame(game, Links(0.0)), team, sight))
    executor = Executor(bundle)
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
        doors.play(
            [f"bundle={bundles / method}", "episodes=16", f"out={method}", "record=true", "--config-dir", str(mission)]
        )
        result = json.loads((tmp_path / method / "play.json").read_text())
        assert result["decisions"] == 16 * 5 * 2
        assert result["messages"]["bits_per_decision"] == (8 if method == "kd_lh_m" else 0)
        # Both are greedy play of the same networks, on other episodes.
        assert sum(result["returns"]) / 16 == pytest.approx(sum(records[method].final["returns"]) / 16, abs=1.5)
    again, same = replay(Path("kd_lh_m/flight_record_0.jsonl"), bundles / "kd_lh_m", "reference")
    assert same and again == "10 decisions, all as they were flown (reference runner)"
    said = capsys.readouterr().out
    assert "bits sent per decision" in said

    for arguments, told in (
        (["bundle=kd_lh/none"], "bundle kd_lh/none is not a folder"),
        ([f"bundle={bundles / 'kd_lh'}", "message_loss=0.5"], "it must be 0, the bundle sends no messages"),
        ([f"bundle={bundles / 'kd_lh_m'}", "message_loss=1.5"], "message_loss=1.5 is not allowed"),
        ([f"bundle={bundles / 'kd_lh'}", "episodes=0"], "episodes=0 is not allowed: it must be at least 1"),
        ([f"bundle={bundles / 'kd_lh'}", "scenario=mpe_spread"], "the bundle has 2 networks"),
        ([f"bundle={bundles / 'kd_lh'}", "target=z80"], "target='z80' is not allowed: it must be one of cortex-m7"),
        (
            [f"bundle={bundles / 'kd_lh'}", "scenario=walker_cities"],
            "scenario=walker_cities is a mission, and this is for games: it must be one of guess, mpe_",
        ),
        ([f"bundle={bundles / 'kd_lh'}", "runner=warp"], "runner='warp' is not allowed"),
    ):
        with pytest.raises(SystemExit):
            doors.play([*arguments, "--config-dir", str(mission), "out=never"])
        assert told in capsys.readouterr().err
    assert not (tmp_path / "never").exists()
