"""The programs that are compared: how each is started on simple_spread, and how what it prints is read.

Nothing of theirs is changed. Two modules that they import are replaced by ``doubles``, found before the real ones:
wandb, to which JaxMARL reports and nowhere else, prints; smaclite, which EPyMARL imports for every game, is empty.

Episodes have 25 steps in all of them, tests along the way are off where that can be, and returns are those of training,
turned into the mean over agents, as mpe2 gives them.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

WINDOW_STEPS = 20_000  # environment steps over whose episodes a return is averaged
AGENTS = 3
HORIZON = 25
ROOT = str(Path(__file__).resolve().parents[3])


@dataclass(frozen=True, slots=True)
class Report:
    """What a program said of its training."""

    steps: int  # of one environment, summed over environments, taken so far
    mean_return: float | None  # per agent


class Started:
    """Imports are done, training begins."""


class Reader(Protocol):
    def __call__(self, line: str) -> Report | Started | None: ...


@dataclass(frozen=True)
class Program:
    """One that is ready to run; ``command`` gets the number of environment steps and the seed."""

    name: str
    command: Callable[[int, int], list[str]]
    reader: Callable[[], Reader]
    origin: dict[str, Any]  # commit and versions
    macs_per_step: int  # multiply-accumulates of one forward pass of actors and critic over one environment's step
    averaged: bool = False  # what it reports is the mean over WINDOW_STEPS already
    share: float = 1.0  # of the steps that the others train
    python_path: tuple[str, ...] = ()
    doubles: Mapping[str, str] = field(default_factory=dict)  # module -> source


class MissingError(ValueError):
    """A peer that is not there; the message is one sentence."""


# Each peer's sizes, environments, epochs and minibatches. How we learn (rate, entropy bonus, discount) stays ours, as
# theirs stays theirs.
LIKE: dict[str, dict[str, Any]] = {
    "JaxMARL": {"hidden": 128, "critic_hidden": 128, "environments": 16, "window": 128, "epochs": 4, "minibatches": 4},
    "EPyMARL": {"hidden": 128, "critic_hidden": 128, "environments": 10, "window": 25, "epochs": 4, "minibatches": 1},
    # It draws 4 x 15 times one sequence of 600 steps: as many as 6 epochs have of its 10 sequences.
    "BenchMARL": {"hidden": 128, "critic_hidden": 256, "environments": 10, "window": 600, "epochs": 6}
    | {"minibatches": 10},
}
# JaxMARL's critic is recurrent, and once per agent; its actor has a layer more. Ours with as much arithmetic in all:
JAXMARL_ARITHMETIC = {"hidden": 194}
_LEARNING = {"learning_rate": 4e-3, "entropy": [0.01, 0.0]}  # as scenarios/games/tuning/mpe.yaml, over fewer steps


def ours(threads: int, origin: dict[str, Any], macs: Callable[[list[str]], int]) -> list[Program]:
    """Ours as it is meant to be used, and with each peer's environments, window and minibatches too.

    As it is used it has the widths and epochs of EPyMARL and JaxMARL, but more play between updates.
    """
    settings: dict[str, dict[str, Any]] = {"ours": {}}
    for peer, sizes in LIKE.items():
        settings[f"ours, as {peer}"] = sizes | {"last_action": "false"}  # no peer's networks read it
    settings["ours, as JaxMARL, equal arithmetic"] = settings["ours, as JaxMARL"] | JAXMARL_ARITHMETIC
    settings["ours, with JaxMARL's arithmetic"] = JAXMARL_ARITHMETIC
    programs = []
    for name, chosen in settings.items():
        values = chosen | _LEARNING

        def command(steps: int, seed: int, values: dict[str, Any] = values) -> list[str]:
            return [sys.executable, "-m", "kdmarl_sat.measure.peers.ours", *overrides(values, steps, seed, threads)]

        share = BENCHMARL_SHARE if "BenchMARL" in name else 1.0
        own = macs(overrides(values, 1, 0, threads))
        programs.append(Program(name, command, OurReader, origin, own, share=share, python_path=(ROOT,)))
    return programs


def overrides(settings: Mapping[str, Any], steps: int, seed: int, threads: int) -> list[str]:
    """Of the command line, for a run on simple_spread with these settings of MAPPO."""
    rest = dict(settings)
    rate, entropy = rest.pop("learning_rate"), rest.pop("entropy")
    phase = f"{{steps:{steps},learning_rate:{rate},entropy:{json.dumps(entropy, separators=(',', ':'))}}}"
    return [
        *("scenario=mpe_spread", f"seed={seed}", f"compute.threads={threads}", f"mappo.phases=[{phase}]"),
        *(f"mappo.{name}={value}" for name, value in rest.items()),
    ]


def epymarl(checkout: Path) -> Program:
    """Its mappo.yaml on gymma: 10 processes, hidden 128, 4 epochs, recurrent actor."""
    python = interpreter(checkout, "src/main.py")
    # It prints the mean of its latest 5 reports.
    every = WINDOW_STEPS // 5

    def command(steps: int, seed: int) -> list[str]:
        return [
            *(str(python), str(checkout / "src/main.py"), "--config=mappo", "--env-config=gymma", "with"),
            *("env_args.key=pz-mpe-simple-spread-v3", f"env_args.time_limit={HORIZON}", f"t_max={steps}"),
            *(f"seed={seed}", "use_cuda=False", f"log_interval={every}", f"runner_log_interval={every}"),
            *(f"learner_log_interval={every}", "test_interval=1000000000", "test_nepisode=10"),  # the first one stays
        ]

    actor = (18 + AGENTS) * 128 + 6 * 128**2 + 128 * 5
    critic = (AGENTS * 18 + AGENTS) * 128 + 128**2 + 128
    origin = origin_of(checkout, python, ("src",), ("torch", "numpy", "gymnasium", "pettingzoo", "sacred"))
    macs = AGENTS * (actor + critic)
    return Program("EPyMARL", command, EpymarlReader, origin, macs, averaged=True, doubles={"smaclite": ""})


WANDB = """import json


def init(**settings):
    print(json.dumps({"event": "start"}), flush=True)


def log(record):
    print(json.dumps({name: float(value) for name, value in record.items()}), flush=True)
"""


def jaxmarl(checkout: Path) -> Program:
    """Its mappo_rnn_mpe.py: 16 environments x 128 steps, FC and GRU 128, 4 epochs x 4 minibatches."""
    script = "baselines/MAPPO/mappo_rnn_mpe.py"
    python = interpreter(checkout, script)

    def command(steps: int, seed: int) -> list[str]:
        return [
            *(str(python), str(checkout / script), f"TOTAL_TIMESTEPS={steps}", f"SEED={seed}"),
            f"+ENV_KWARGS.max_steps={HORIZON - 1}",  # it compares the limit with the number of steps before this one
            *("hydra.run.dir=.", "hydra.output_subdir=null"),
        ]

    recurrent = 6 * 128**2 + 128**2  # GRU, and the layer behind it
    macs = AGENTS * (18 * 128 + recurrent + 128 * 5) + AGENTS * (AGENTS * 18 * 128 + recurrent + 128)
    packages = ("jax", "jaxlib", "flax", "optax", "distrax", "numpy")
    origin = origin_of(checkout, python, ("baselines", "jaxmarl"), packages)
    return Program(
        "JaxMARL", command, JaxmarlReader, origin, macs, python_path=(str(checkout),), doubles={"wandb": WANDB}
    )


BENCHMARL_SHARE = 0.3  # the slowest by far
_FRAMES = 6000  # per iteration, its default


def benchmarl(folder: Path) -> Program:
    """Its GRU actor and MLP critic, 10 environments, and 4 passes in place of its 45."""
    python = interpreter(folder, "")
    origin = origin_of(folder, python, None, ("benchmarl", "torchrl", "tensordict", "torch", "numpy", "pettingzoo"))
    if origin["versions"]["benchmarl"] is None:
        raise MissingError(f"benchmarl is not installed in {folder / '.venv'}")

    def command(steps: int, seed: int) -> list[str]:
        return [
            *(str(python), "-m", "benchmarl.run", "algorithm=mappo", "task=pettingzoo/simple_spread"),
            *("model=layers/gru", "model@critic_model=layers/mlp", f"task.max_cycles={HORIZON}", f"seed={seed}"),
            *(f"experiment.max_n_frames={steps}", "experiment.on_policy_n_minibatch_iters=4"),
            *("experiment.prefer_continuous_actions=false", "experiment.evaluation=false", "experiment.render=false"),
            *("experiment.loggers=[]", "experiment.create_json=false"),
            *("hydra.run.dir=.", "hydra.output_subdir=null"),
        ]

    actor = 3 * (18 * 128 + 128**2) + 128 * 256 + 256**2 + 256 * 5
    macs = AGENTS * actor + AGENTS * 18 * 256 + 256**2 + 256
    return Program("BenchMARL", command, BenchmarlReader, origin, macs, share=BENCHMARL_SHARE)


class OurReader:
    def __call__(self, line: str) -> Report | Started | None:
        record = as_json(line)
        if record.get("event") == "start":
            return Started()
        if "steps" not in record:
            return None
        return Report(int(record["steps"]), record["return"])


class JaxmarlReader:
    """Returns are three times an agent's: MPELogWrapper multiplies by the number of agents."""

    update = 16 * 128  # environment steps

    def __call__(self, line: str) -> Report | Started | None:
        record = as_json(line)
        if record.get("event") == "start":
            return Started()
        if "returns" not in record:
            return None
        # It says how many steps had been taken before the update.
        return Report(int(record["env_step"]) + self.update, record["returns"] / AGENTS)


class EpymarlReader:
    """Returns are summed over agents (``reward_scalarisation: sum``)."""

    _STEPS = re.compile(r"Recent Stats \| t_env:\s*(\d+)")
    _RETURN = re.compile(r"\breturn_mean:\s*(-?\d+\.\d+)")  # not test_return_mean

    def __init__(self) -> None:
        self._steps: int | None = None

    def __call__(self, line: str) -> Report | Started | None:
        if "Beginning training for" in line:
            return Started()
        if match := self._STEPS.search(line):
            self._steps = int(match[1])
        elif self._steps is not None and (match := self._RETURN.search(line)):
            report = Report(self._steps, float(match[1]) / AGENTS)
            self._steps = None
            return report
        return None


class BenchmarlReader:
    """Returns are the mean over agents. A progress bar that is drawn again says the same twice."""

    _BAR = re.compile(r"(?:mean return = (-?\d+\.\d+):)?\s*\d+%\|.*\| (\d+)/\d+ \[")

    def __init__(self) -> None:
        self._last = -1

    def __call__(self, line: str) -> Report | Started | None:
        match = self._BAR.search(line)
        if match is None or int(match[2]) <= self._last:
            return None
        self._last = int(match[2])
        if self._last == 0:
            return Started()
        return Report(self._last * _FRAMES, float(match[1]) if match[1] else None)


PEERS: dict[str, Callable[[Path], Program]] = {"EPyMARL": epymarl, "JaxMARL": jaxmarl, "BenchMARL": benchmarl}


def as_json(line: str) -> dict[str, Any]:
    if not line.startswith("{"):
        return {}
    try:
        record = json.loads(line)
    except json.JSONDecodeError:
        return {}
    return record if isinstance(record, dict) else {}


def interpreter(checkout: Path, script: str) -> Path:
    """The interpreter of the environment in the checkout.

    Raises:
        MissingError: it or the script is not there.
    """
    python = checkout / ".venv/bin/python"
    for needed in (checkout / script, python):
        if not needed.exists():
            raise MissingError(f"{needed} is not there")
    return python


def origin_of(checkout: Path, python: Path, code: tuple[str, ...] | None, packages: tuple[str, ...]) -> dict[str, Any]:
    """Commit, whether its code was changed, and installed versions (None: not installed)."""
    asked = (
        "import importlib.metadata as m, json, sys\n"
        "known = {d.metadata['Name'].lower(): d.version for d in m.distributions()}\n"
        "print(json.dumps({name: known.get(name) for name in sys.argv[1:]}))"
    )
    found = subprocess.run([python, "-c", asked, *packages], capture_output=True, text=True, check=True).stdout
    origin: dict[str, Any] = {"versions": json.loads(found)}
    if code is not None:
        git = ["git", "-C", str(checkout)]
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
        changed = subprocess.run([*git, "diff", "--quiet", "HEAD", "--", *code], capture_output=True, check=False)
        known = head.returncode == 0
        origin |= {"commit": head.stdout.strip() if known else "unknown", "changed": changed.returncode != 0}
    return origin


def find(folders: Mapping[str, Path | None]) -> tuple[dict[str, Program], dict[str, str]]:
    """Peers that are ready to run, and why the others are not."""
    found, missing = {}, {}
    for peer, folder in folders.items():
        if folder is None:
            missing[peer] = f"{peer.lower()}=FOLDER was not given"
            continue
        try:
            found[peer] = PEERS[peer](folder.resolve())
        except MissingError as error:
            missing[peer] = str(error)
    return found, missing
