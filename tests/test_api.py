"""kdmarl_sat.api: flights in this process against stored records and against worker processes; what it refuses."""

from __future__ import annotations

import dataclasses
import inspect
import json
from pathlib import Path

import pytest
import torch
from matplotlib.figure import Figure

from kdmarl_sat import api
from kdmarl_sat.api import Heuristic, compose, fly_bundle, fly_rule, plot, plot_flight, read_bundle, read_records
from scripts.site import notebook
from tests.test_config import ROOT
from training.missions.simulate import HELD_OUT, Flyer, episode_seeds, jobs, worker_pool

BUNDLE = ROOT / "results/bundles/imaging_constellation-lh_a"


def test_at_most_ten_names_all_typed_and_told() -> None:
    assert len(api.__all__) <= 10
    for name in api.__all__:
        thing = getattr(api, name)
        if inspect.isfunction(thing):
            assert thing.__doc__
            hints = inspect.get_annotations(thing)
            assert set(hints) == {*inspect.signature(thing).parameters, "return"}, name


def test_a_rule_in_this_process_flies_as_in_workers() -> None:
    config = compose("preset=smoke", "scenario.duration_s=200", "evaluation.episodes=3", "compute.workers=1")
    threads = torch.get_num_threads()
    flown = fly_rule(config, Heuristic.random)
    assert torch.get_num_threads() == threads
    seeds = episode_seeds(HELD_OUT, 0, 0, 3)
    with worker_pool(config.compute) as pool:
        work = jobs(config.scenario, Flyer(heuristic=Heuristic.random), seeds, config.compute, training=False)
        assert flown.episodes == tuple(result for part in pool.map(work) for result in part.results)
    assert flown.trace is not None
    assert isinstance(plot_flight(config, flown), Figure)


@pytest.mark.slow
def test_a_rule_captures_what_the_stored_record_says() -> None:
    [record] = [r for r in read_records() if r["run"]["scenario"] == "imaging_constellation"]
    [stored] = [policy for policy in record["policies"] if policy["name"] == "global_knowledge"]
    flown = fly_rule(compose("evaluation.episodes=2"), Heuristic.global_knowledge)
    assert [e.captured for e in flown.episodes] == pytest.approx([e["captured"] for e in stored["episodes"][:2]])


def test_a_bundle_flies_and_finds_what_is_flipped() -> None:
    config = compose("preset=smoke", "scenario.duration_s=200", "evaluation.episodes=2")
    plain = fly_bundle(config, BUNDLE, label="students")
    upset = fly_bundle(config, str(BUNDLE), faults={"flip": 0.5})
    assert plain.episodes == upset.episodes
    assert plain.events is not None
    assert upset.events is not None
    assert (plain.events["upset"], upset.events["upset"] > 0) == (0, True)
    assert len(plain.macs_per_decision) == len(read_bundle(BUNDLE).satellites) == 4
    assert isinstance(plot([plain, dataclasses.replace(upset, label="upset")]), Figure)


def test_what_is_refused_in_one_sentence(tmp_path: Path) -> None:
    config = compose("preset=smoke", "scenario.duration_s=200", "evaluation.episodes=1", "evaluation.trace=false")
    with pytest.raises(ValueError, match=r"evaluation\.episodes=0 is not allowed"):
        compose("evaluation.episodes=0")
    with pytest.raises(ValueError, match="has no trace: compose with"):
        plot_flight(config, fly_rule(config, Heuristic.greedy_battery))
    with pytest.raises(ValueError, match="not of the same episodes"):
        plot([])
    with pytest.raises(ValueError, match="bundle"):
        fly_bundle(config, tmp_path)
    with pytest.raises(ValueError, match="satellite"):
        fly_bundle(compose("scenario=optical_sar", "preset=smoke"), BUNDLE)


def test_the_notebook_runs_and_stores_what_it_shows() -> None:
    stored = json.loads(notebook.PATH.read_text())
    made = notebook.execute(stored)
    kinds = [[output["output_type"] for output in cell.get("outputs", [])] for cell in made["cells"]]
    assert kinds == [[output["output_type"] for output in cell.get("outputs", [])] for cell in stored["cells"]]
    assert sum(kind == ["display_data"] for kind in kinds) == 3
    texts = ["".join(output.get("text", "")) for cell in made["cells"] for output in cell.get("outputs", [])]
    [flown] = [text for text in texts if "upsets found" in text]
    without, upset, found = flown.splitlines()
    assert without.partition("[")[2] == upset.partition("[")[2]
    assert int(found.rpartition(" ")[2]) > 0
