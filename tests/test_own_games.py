"""docs/own_game.md as it stands: a turn-based game of Dict and Discrete observations, from its file to its report."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
import torch

from envs.games.make import make_game
from scenarios.roots import GAME, root_of
from tests.test_config import ROOT, command
from tests.test_games_make import composed

PAGE = (ROOT / "docs" / "own_game.md").read_text()


@pytest.fixture
def clue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a user who followed the page."""
    [python] = [text for text in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "class Clue" in text]
    [yaml] = [text for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL) if "name: clue" in text]
    (tmp_path / "my_turns.py").write_text(python)
    (tmp_path / "scenario").mkdir()
    (tmp_path / "scenario" / "clue.yaml").write_text(yaml)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_turns", raising=False)
    return tmp_path


def test_the_page_as_it_stands(clue: Path) -> None:
    game = make_game(composed("clue", folder=clue), 1)
    giver, guesser = game.specs
    assert {block.name: block.size for block in giver.blocks} == {"said": 4, "turn": 1, "number": 3}
    assert {block.name: block.size for block in guesser.blocks} == {"said": 4, "turn": 1}
    frame = game.reset(0)
    for _ in range(3):
        assert frame.alive.tolist() == [[True, False]]
        number = frame.obs[0, 0, giver.slice("number")].argmax()
        heard = game.step(torch.tensor([[number, 0]])).frame
        assert heard.alive.tolist() == [[False, True]]
        said = heard.obs[0, 1, guesser.slice("said")].argmax()
        after = game.step(torch.tensor([[0, said]]))
        assert (said.item(), after.reward.item(), after.terminated.item()) == (number.item(), 1.0, True)
        frame = after.frame


def test_a_run_of_it_from_the_command_line_to_the_report(clue: Path) -> None:
    assert root_of(["--config-dir", str(clue), "scenario=clue"]) == GAME
    done = command(
        clue,
        *("--config-dir", ".", "scenario=clue", "preset=smoke", "methods=[teacher,kd_lh]", "compute.threads=1"),
        "scenario.name=clue-2",  # a dash
        PYTHONPATH=f"{ROOT}:{clue}",
    )
    assert done.returncode == 0, done.stderr
    records = [json.loads(path.read_text()) for path in clue.glob("outputs/2*/records/*.json")]
    assert {record["method"] for record in records} == {"teacher", "kd_lh"}
    assert {record["scenario"] for record in records} == {"clue-2"}
    for record in records:
        counts = torch.tensor(record["action_counts"])
        assert counts.sum(1).tolist() == [16, 16]  # each is asked once per episode
        assert record["final"]["lengths"] == [2] * 16
