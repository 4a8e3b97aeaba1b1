"""Records of runs on games that nobody has made: small, with numbers that can be checked by hand."""

from __future__ import annotations

from typing import Any

from kdmarl_sat.games.jobs import composed
from kdmarl_sat.games.records import GameRecord

NAMES = ["stop", "north", "attack 0"]


def smax_record(method: str, wins: list[bool], seed: int = 0, **changes: Any) -> GameRecord:
    """A run on 3m of two agents; ``overrides`` are the configuration's."""
    overrides = changes.pop("overrides", ())
    scenario = changes.get("scenario", "smac_3m")
    fields: dict[str, Any] = {
        "run": {"commit": "0" * 40, "versions": {}, "wall_s": 9.0, "cpu_s": 8.0 + seed, "date": "2026-01-01"},
        "config": composed(f"scenario={scenario}", f"budget={changes.get('budget', 'equal')}", *overrides),
        "scenario": scenario,
        "backend": "smax",
        "evaluated_on": "smax",
        "map": "3m",
        "method": method,
        "seed": seed,
        "environment_steps": 1000,
        "curve": [{"steps": 500 * n, "cpu_s": 1.0 * n, "return": 2.0 * n, "win_rate": 0.2 * n} for n in (1, 2)],
        "final": {
            "episodes": len(wins),
            "returns": [20.0 * won for won in wins],
            "wins": wins,
            "lengths": [10] * len(wins),
        },
        "random_return": 1.0,
        "random_win_rate": 0.25,
        "macs": {"per_decision": [1000, 3000], "per_episode": 40000.0},
        "time_per_step_ms": 0.5,
        "agreement": 0.75 if method.startswith("kd") else None,
        "action_counts": [[5, 5, 0], [0, 10, 30]],
        "actions": NAMES,
    }
    return GameRecord(**{**fields, **changes})


def mpe_record(method: str, returns: list[float], seed: int = 0, **changes: Any) -> GameRecord:
    """A run on simple_spread of three agents."""
    fields: dict[str, Any] = {
        "scenario": "mpe_spread",
        "backend": "mpe",
        "evaluated_on": "mpe2",
        "map": "simple_spread",
        "final": {"episodes": len(returns), "returns": returns, "wins": None, "lengths": [25] * len(returns)},
        "curve": [],
        "random_return": -60.0,
        "random_win_rate": None,
        "macs": {"per_decision": [100, 100, 100], "per_episode": 7500.0},
        "action_counts": [[1, 2, 3]] * 3,
    }
    return smax_record(method, [], seed, **{**fields, **changes})
