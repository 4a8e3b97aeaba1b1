"""What Basilisk's own lighter modes save, and what they change: the greedy rule in the default mission, three episodes.

    python -m scripts.lighter_modes        # writes results/benchmark_lighter_modes.json; a minute

Each mode runs in a process of its own, since it changes Basilisk's or BSK-RL's classes.
"""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from Basilisk.simulation import spacecraft, svIntegrators
from bsk_rl.sim import world

from envs.basilisk.environment import ConstellationEnv
from envs.basilisk.heuristics import GreedyPolicy
from envs.files import write_json
from scenarios.compose import composed

RECORD = Path(__file__).parents[1] / "results" / "benchmark_lighter_modes.json"
ROUNDS = 4  # of all modes; of each episode the least CPU time counts
MODES = ("fourth order", "second order", "Euler", "point mass")
_INTEGRATORS = {"second order": svIntegrators.svIntegratorRK2, "Euler": svIntegrators.svIntegratorEuler}
_kept: list[Any] = []  # Basilisk does not hold its integrators


def fly(mode: str) -> dict[str, Any]:
    """Images and CPU seconds of each episode."""
    if mode in _INTEGRATORS:
        made = spacecraft.Spacecraft.__init__

        def with_integrator(self: Any) -> None:
            made(self)
            _kept.append(_INTEGRATORS[mode](self))
            self.setIntegrator(_kept[-1])

        spacecraft.Spacecraft.__init__ = with_integrator
    elif mode == "point mass":
        setup = world.WorldModel.setup_gravity_bodies

        @functools.wraps(setup)  # BSK-RL reads its arguments
        def with_point_mass(self: Any, *args: Any, **kwargs: Any) -> None:
            setup(self, *args, **kwargs)
            self.planet.usePointMassGravityModel()

        world.WorldModel.setup_gravity_bodies = with_point_mass
    env = ConstellationEnv(composed("scenario=imaging_constellation").scenario)
    images, cpu_s = [], []
    for seed in range(3):
        step = env.reset([seed])
        policy = GreedyPolicy(env.specs)
        start = time.process_time()
        while not (step.terminated | step.truncated).all():
            step = env.step(policy.act(step))
        cpu_s.append(round(time.process_time() - start, 2))
        images.append(sum(env.results()[0].images))
    env.close()
    return {"images": images, "cpu_s": cpu_s}


def main() -> None:
    if len(sys.argv) > 1:
        print(json.dumps(fly(sys.argv[1])))
        return
    rounds = [{mode: _flown_apart(mode) for mode in MODES} for _ in range(ROUNDS)]
    found = {}
    for mode in MODES:
        images = [each[mode]["images"] for each in rounds]
        assert images.count(images[0]) == ROUNDS
        least_s = [min(of) for of in zip(*(each[mode]["cpu_s"] for each in rounds), strict=True)]
        found[mode] = {"images": sum(images[0]), "cpu_s": round(sum(least_s), 2)}
        print(f"{mode}: {found[mode]['images']} images, {found[mode]['cpu_s']} CPU s")
    write_json(RECORD, found)


def _flown_apart(mode: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "scripts.lighter_modes", mode]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    main()
