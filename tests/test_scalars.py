"""TensorBoard's own reader finds what a training has told."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from kdmarl_sat.console import Console
from kdmarl_sat.scalars import events_folder
from kdmarl_sat.stages import Stage, Workshop
from scenarios.ranges import ConfigError
from training.artifact import Place


def test_scalars_are_written_per_stage(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    def work(place: Place) -> dict[str, object]:
        place.scalars(10, {"loss": 0.5, "return": 2.0})
        place.scalars(20, {"loss": 0.25, "win_rate": None})  # type: ignore[dict-item]
        return {}

    with Console() as console:
        workshop = Workshop(tmp_path / "cache", console, events_folder(True, tmp_path / "run"))
        workshop.make(Stage("teacher", "train", {"a": 1}, (), work))
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard" / "teacher")).Reload()
    assert [(e.step, e.value) for e in events.Scalars("loss")] == [(10, 0.5), (20, 0.25)]
    assert [(e.step, e.value) for e in events.Scalars("return")] == [(10, 2.0)]
    assert sorted(events.Tags()["scalars"]) == ["loss", "return"]


def test_nothing_is_written_unasked(tmp_path: Path) -> None:
    assert events_folder(False, tmp_path) is None


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"output\.tensorboard=true needs the package tensorboard"):
        events_folder(True, tmp_path)
