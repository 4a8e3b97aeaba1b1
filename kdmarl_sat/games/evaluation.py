"""The final evaluation of a method on a game, and the record that is made of it."""

from __future__ import annotations

import time

from kdmarl_sat.games.context import Benchmark, Taught, Trained
from kdmarl_sat.games.methods import BY_NAME, DISTILS, TEACHER
from kdmarl_sat.games.records import GameRecord
from scenarios.schema import to_dict
from training.games.evaluate import evaluate, time_per_step_ms

FINAL_SEED = 2  # 0 are the curves, and settings were tried on 1


def evaluated(benchmark: Benchmark, name: str, trained: Trained, taught: Taught | None, started: float) -> GameRecord:
    """The final evaluation of a method, on the canonical implementation of the game.

    ``taught``: the run's teacher, None where no method needs one; ``started``: when the method began, monotonic.
    """
    config, artifact, game = benchmark.config, trained.artifact, trained.played_on(benchmark.judged_on)
    teacher = (taught.teacher.team, taught.teacher.sight) if taught and name != TEACHER else None
    loaded = taught.loaded if taught and (name == TEACHER or BY_NAME[name].algorithm in DISTILS) else None
    with benchmark.console.stage(f"evaluate {name}") as progress:
        final = evaluate(game, (trained.team, trained.sight), config.evaluation.episodes, FINAL_SEED, teacher)
        chance = evaluate(game, None, config.evaluation.episodes, FINAL_SEED)
        won = f", {final.win_rate:.1%} won" if game.has_victory else ""
        progress(1.0, f"return {final.mean_return:.2f}{won}")
    curve = artifact.info()["curve"]
    macs = trained.team.macs(trained.sight)
    per_episode = sum(a * b for a, b in zip(macs, final.decisions, strict=True)) / len(final.returns)
    victory = game.has_victory
    record = GameRecord(
        run={
            **benchmark.origin,
            "versions": {**benchmark.origin["versions"], **benchmark.common["packages"]},
            "wall_s": round(time.monotonic() - started, 1),
            "cpu_s": round(curve[-1]["cpu_s"], 1),
            "reused": artifact.reused,
        },
        config=loaded.config(config) if loaded else to_dict(config),
        scenario=config.scenario.name,
        backend=benchmark.game.backend,
        evaluated_on=game.backend,
        map=config.scenario.environment.map or config.scenario.name,
        method=name,
        seed=config.seed,
        variant=config.variant,
        budget=config.budget,
        teacher=loaded.source() if loaded else None,
        environment_steps=int(curve[-1]["steps"]),
        curve=[
            {
                "steps": int(point["steps"]),
                "cpu_s": round(point["cpu_s"], 2),
                "return": point["return"],
                "win_rate": point["win_rate"] if victory else None,
            }
            for point in curve
        ],
        final={
            "episodes": len(final.returns),
            "returns": [round(value, 4) for value in final.returns],
            "wins": final.won if victory else None,
            "lengths": final.lengths,
        },
        random_return=chance.mean_return,
        random_win_rate=chance.win_rate if victory else None,
        macs={"per_decision": macs, "per_episode": per_episode},
        time_per_step_ms=time_per_step_ms(game, trained.team, trained.sight),
        agreement=final.agreement,
        action_counts=final.action_counts.tolist(),
        actions=list(max(game.specs, key=lambda spec: len(spec.actions)).actions),
    )
    return record
