"""What goes wrong in a flight, on purpose: faults injected around the onboard executor, drawn from a seed."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from onboard.executor import Executor
from onboard.runners import BrokenError, Runner
from onboard.runners.isolated import IsolatedRunner
from onboard.spec import AgentSpec, BoolArray, FloatArray
from scenarios.onboard_sim import FaultConfig, LostReads


class DelayedRunner:
    """A runner within the executor's own process that can be made to answer late, once."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self.delay_s = 0.0
        self.send, self.reload, self.flip, self.close = runner.send, runner.reload, runner.flip, runner.close

    def step(self, obs: FloatArray, mask: BoolArray, hidden: FloatArray) -> tuple[FloatArray, FloatArray]:
        delay_s, self.delay_s = self.delay_s, 0.0
        time.sleep(delay_s)
        return self._runner.step(obs, mask, hidden)


class FaultInjector:
    """The faults of one episode. ``injected`` counts them by name."""

    def __init__(self, config: FaultConfig, specs: Sequence[AgentSpec], duration_s: float, seed: Sequence[int]) -> None:
        """``specs``: what each satellite senses; ``seed``: of the run and the episode."""
        self._config = config
        self._rng = np.random.default_rng(seed)
        self._specs = {spec.name: spec for spec in specs}
        self.injected: Counter[str] = Counter()
        self._lost_s = {spec.name: self._onset_s(config.lost_satellite, duration_s) for spec in specs}
        self._blind_s = {spec.name: self._onset_s(config.lost_block, duration_s) for spec in specs}
        self._block = {
            spec.name: config.block or str(self._rng.choice([block.name for block in spec.blocks])) for spec in specs
        }

    def _onset_s(self, probability: float, duration_s: float) -> float:
        """When a lasting fault begins; infinite: never. Draws twice, whatever comes of it."""
        happens, when = self._rng.random(2)
        return float(when * duration_s) if happens < probability else np.inf

    def lost(self, satellite: str, time_s: float) -> bool:
        """Whether the satellite decides no more."""
        lost = time_s >= self._lost_s[satellite]
        self._first(f"lost satellite {satellite}", lost)
        return lost

    def sensed(self, satellite: str, obs: FloatArray, time_s: float) -> FloatArray:
        """The observation [O] as the satellite's sensors give it now."""
        if time_s < self._blind_s[satellite]:
            return obs
        columns = _columns(self._specs[satellite], self._block[satellite])
        self._first(f"lost block {self._block[satellite]} of {satellite}", bool(columns.any()))
        read = obs.copy()
        read[columns] = np.nan if self._config.lost_reads is LostReads.nan else 0.0
        return read

    def disturb(self, satellite: str, executor: Executor) -> None:
        """Inject the faults of the executor right before a decision."""
        hang, slow, flip = self._rng.random(3)
        bit = int(self._rng.integers(2**31))
        runner = executor.runner(satellite)
        with contextlib.suppress(BrokenError):  # a runner without a process, after a hang, has nothing to disturb
            self._disturb(runner, hang, slow, flip, bit)

    def _disturb(self, runner: Runner, hang: float, slow: float, flip: float, bit: int) -> None:
        if flip < self._config.flip:
            runner.flip(bit)
            self.injected["bit flip"] += 1
        if hang < self._config.hang:
            assert isinstance(runner, IsolatedRunner)
            runner.pause()
            self.injected["hang"] += 1
        elif slow < self._config.slow:
            if isinstance(runner, IsolatedRunner):
                runner.pause()
                threading.Timer(self._config.slow_ms / 1e3, _resume, [runner, runner.pid]).start()
            else:
                assert isinstance(runner, DelayedRunner)
                runner.delay_s = self._config.slow_ms / 1e3
            self.injected["slow answer"] += 1

    def _first(self, what: str, happened: bool) -> None:
        if happened:
            self.injected[what] = 1


def _resume(runner: IsolatedRunner, pid: int) -> None:
    """Wake the worker that was slowed; another one that has replaced it may be slowed anew, and is not to be woken."""
    with contextlib.suppress(BrokenError):  # killed meanwhile, for missing its deadline
        if runner.pid == pid:
            runner.resume()


def _columns(spec: AgentSpec, name: str) -> NDArray[np.bool_]:
    """[O] where the block's columns are; none of them where the satellite does not sense it."""
    return np.repeat([block.name == name for block in spec.blocks], [block.columns for block in spec.blocks])
