"""Students of a game packaged as a bundle, for ``kdmarl-sat play`` and for every other command on bundles."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from kdmarl_sat.games.context import Benchmark, Trained
from kdmarl_sat.games.methods import BY_NAME
from onboard.admission import admit
from onboard.budget import Budget, BudgetError
from onboard.bundle import BundleError, read_bundle
from onboard.processors import PROCESSORS
from scenarios.schema import BudgetConfig, to_dict
from training.games.export import export_students

GRANTED = BudgetConfig()  # to each agent: what a satellite of a mission is granted
GAME = "game"  # in a bundle's provenance: the scenario's settings that the students were trained with


def packaged(name: str) -> bool:
    """Whether a method's networks fly: a small one for each agent, distilled."""
    method = BY_NAME[name]
    return method.algorithm in ("kd", "kd_buffer") and method.individual and method.widths != "teacher"


def package(benchmark: Benchmark, name: str, trained: Trained, folder: Path) -> None:
    """Write ``folder/bundles/NAME``, or say why there is none, or why no executor admits it."""
    target = folder / "bundles" / name
    scenario = benchmark.config.scenario
    provenance = {
        **benchmark.origin,
        "method": name,
        "config_digest": trained.artifact.digest,
        GAME: to_dict(scenario),
    }
    budget = Budget(**{**dataclasses.asdict(GRANTED), "processor": PROCESSORS[GRANTED.processor]})
    game = trained.played_on(benchmark.judged_on)
    try:
        export_students(target, scenario.name, game, trained.team, trained.sight, budget, provenance)
        admit(read_bundle(target))
    except BundleError as error:
        benchmark.console.say(f"{name} is not packaged: {error}")
    except BudgetError as error:
        benchmark.console.say(f"bundle: {target}; no executor admits it: {error}")
    else:
        benchmark.console.say(f"bundle: {target}")
