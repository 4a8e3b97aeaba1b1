"""BSK-RL's own PPO on its benchmark of agile imaging, by RLlib, and its flight on our held-out episodes.

RLlib has an environment of its own, from the root of the repository:

    python3.11 -m venv build/rllib
    build/rllib/bin/pip install "ray[rllib]==2.35.0" bsk==2.12.1 bsk_rl==1.3.8 torch
    PYTHONPATH=. build/rllib/bin/python scripts/bskrl_aeos_rllib.py train cpu_s=3600 out=build/aeos_ppo

Its networks are then flown by plain BSK-RL in the project's environment, on the episodes that kdmarl-sat run judges by:

    python -m scripts.bskrl_aeos_rllib fly episodes=20 out=build/aeos_ppo record=results/benchmark_bskrl_aeos.json

Settings of PPO: benchmarks/aeos.py and benchmark.py of AVSLab/bsk_rl at 4af0447e9d33de6d164668ac523c479b31772172, but
for episode statistics, which RLlib 2.35 cannot log with a newer gymnasium. CPU-seconds are of this process, simulation
included, from its start; one environment runs in it.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from envs.basilisk.bskrl_aeos import ORBIT_S, aeos_episode, aeos_settings
from envs.basilisk.support_data import bootstrap
from envs.files import write_json

BATCH = 3000
SETTINGS = {"satellites": 3, "cpu_s": 3600.0, "episodes": 20, "seed": 0, "limit_s": 3 * ORBIT_S, "batch": BATCH}
WEIGHTS, CURVE = "weights.npz", "curve.jsonl"
FILES = {"out": Path("build/aeos_ppo"), "record": Path("build/aeos_ppo/flown.json")}


def train(given: dict[str, Any], out: Path) -> None:
    """Train, and write the weights and a line of the curve after each iteration."""
    import ray

    ray.init(num_cpus=1, include_dashboard=False, object_store_memory=200_000_000)
    names = [f"EO{index + 1}" for index in range(given["satellites"])]
    algorithm = _ppo(aeos_settings(names, given["limit_s"]), len(names) > 1, given["batch"], given["seed"]).build()
    out.mkdir(parents=True, exist_ok=True)
    with (out / CURVE).open("w") as curve:
        while _cpu_s() < given["cpu_s"]:
            result = algorithm.train()
            line = {
                "cpu_s": _cpu_s(),
                "env_steps": result["num_env_steps_sampled_lifetime"],
                "return": result["env_runners"].get("episode_return_mean"),
            }
            curve.write(json.dumps(line) + "\n")
            curve.flush()
            print(f"{line['cpu_s']:.0f} of {given['cpu_s']:.0f} CPU-seconds: return {line['return']:.1f}", flush=True)
            weights = algorithm.get_module("policy").state_dict()
            np.savez(out / WEIGHTS, **{name: value.numpy() for name, value in weights.items()})


def _ppo(env: dict[str, Any], several: bool, batch: int, seed: int) -> Any:
    from bsk_rl.utils import rllib  # noqa: F401  # registers their environments
    from bsk_rl.utils.rllib import discounting
    from ray.rllib.algorithms.ppo import PPOConfig
    from ray.rllib.core.rl_module.multi_rl_module import MultiRLModuleSpec
    from ray.rllib.core.rl_module.rl_module import RLModuleSpec

    network = {"use_lstm": False, "fcnet_hiddens": [1024, 1024], "vf_share_layers": False}
    later = {"module_to_env_connector": lambda env: (discounting.ContinuePreviousAction(),)} if several else {}
    config = (
        PPOConfig()
        .training(
            lr=3e-5, gamma=0.997, train_batch_size=batch, num_sgd_iter=10,
            use_kl_loss=False, clip_param=0.2, grad_clip=0.5,
        )
        .env_runners(num_env_runners=0, sample_timeout_s=50000.0, **later)
        .environment(env="ConstellationTasking-RLlib", env_config=env)
        .reporting(metrics_num_episodes_for_smoothing=1)
        .framework("torch")
        .debugging(seed=seed)
        .api_stack(enable_rl_module_and_learner=True, enable_env_runner_and_connector_v2=True)
        .resources(num_gpus=0)
        .multi_agent(policies={"policy"}, policy_mapping_fn=lambda *_, **__: "policy")
        .rl_module(rl_module_spec=MultiRLModuleSpec(module_specs={"policy": RLModuleSpec(model_config_dict=network)}))
    )  # fmt: skip
    config.training(
        learner_class=discounting.TimeDiscountedGAEPPOTorchLearner, learner_config_dict={"reward_time": "step_end"}
    )
    if not several:
        return config
    config.training(
        learner_connector=lambda *_: (
            discounting.MakeAddedStepActionValid(expected_train_batch_size=batch),
            discounting.CondenseMultiStepActions(),
        )
    )
    usual = config.build_module_to_env_connector

    def with_appended(env: Any) -> Any:
        pipeline = usual(env)
        pipeline.insert_after("NormalizeAndClipActions", discounting.ContinuePreviousActionAppended())
        return pipeline

    config.build_module_to_env_connector = with_appended
    return config


def _cpu_s() -> float:
    times = os.times()
    return times.user + times.system


def fly(given: dict[str, Any], out: Path) -> None:
    """Fly the stored network on held-out episodes, by its likeliest action; print and write rewards."""
    from dataclasses import replace

    from envs.basilisk.simulation import Constellation
    from scenarios.compose import composed
    from training.missions.simulate import HELD_OUT, episode_seeds

    layers = _layers(out / WEIGHTS)
    size = f"scenario.constellation.per_plane={given['satellites']}"
    config = composed("scenario=bskrl_aeos", size).scenario
    ours = Constellation(replace(config, duration_s=given["limit_s"]))
    captured = []
    for seed in track(episode_seeds(HELD_OUT, 0, 0, given["episodes"]), description="flying"):
        ours.reset(seed)
        captured.append(_flown(aeos_episode(ours), layers))
    trained = json.loads((out / CURVE).read_text().splitlines()[-1])
    found = {
        "captured": captured,
        "satellites": given["satellites"],
        "duration_s": given["limit_s"],
        "macs_per_decision": sum(weight.size for weight, _ in layers),
        "training": trained,  # the last line of the curve
    }
    write_json(given["record"], found)
    print(json.dumps(found, indent=1))


def _layers(path: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Weight [out, in] and bias [out] of each layer of the policy."""
    with np.load(path) as stored:
        names = [name for name in stored.files if "actor_encoder" in name or name.startswith("pi.")]
        weights = [name for name in names if name.endswith("weight")]
        return [(stored[name], stored[name.removesuffix("weight") + "bias"]) for name in weights]


def _flown(env: Any, layers: list[tuple[np.ndarray, np.ndarray]]) -> float:
    from bsk_rl.gym import NO_ACTION

    observations, _ = env.reset(seed=0)
    asked, total = set(env.agents), 0.0
    while env.agents:
        actions = dict.fromkeys(env.agents, NO_ACTION)
        for agent in asked & set(env.agents):
            x = np.asarray(observations[agent], np.float64)
            for weight, bias in layers[:-1]:
                x = np.tanh(weight @ x + bias)
            actions[agent] = np.int64(np.argmax(layers[-1][0] @ x + layers[-1][1]))
        observations, rewards, _, _, infos = env.step(actions)
        total += float(sum(rewards.values()))
        # One satellite decides anew after each step, as in their training; of several, who has ended its action.
        asked = {agent for agent in env.agents if infos[agent]["requires_retasking"] or len(env.satellites) == 1}
    return total


def main(arguments: list[str]) -> None:
    known = " ".join(f"[{name}={value}]" for name, value in {**FILES, **SETTINGS}.items())
    given: dict[str, Any] = {**FILES, **SETTINGS}
    try:
        verb, *rest = arguments
        do = {"train": train, "fly": fly}[verb]
        for each in rest:
            name, value = each.split("=", 1)
            given[name] = type({**FILES, **SETTINGS}[name])(value)
    except (KeyError, ValueError):
        sys.exit(f"bskrl_aeos_rllib: {' '.join(arguments)!r} is not allowed: it must be train|fly {known}")
    bootstrap(None)
    do(given, given["out"])


if __name__ == "__main__":
    main(sys.argv[1:])
