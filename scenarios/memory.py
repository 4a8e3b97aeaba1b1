"""How much memory simulation workers take, and how much this machine has left."""

from __future__ import annotations

import math
from pathlib import Path

from scenarios.compute import ComputeConfig, WorkersOn
from scenarios.ranges import ConfigError
from scenarios.schema import RunConfig, Simulation

# Resident memory, measured: a process with Basilisk loaded, and one satellite of one episode (hundreds of targets).
PROCESS_BYTES = 500 * 2**20
SATELLITE_BYTES = 4 * 2**20
# Of one satellite of one of the twin's worlds: a tick of its tables (orbit, Earth, light), and its targets' share.
WORLD_TICK_BYTES = 140


def worlds_bytes(run: RunConfig) -> int:
    """What each worker keeps of the twin's worlds, where policies are trained there."""
    if run.training.simulation is not Simulation.twin:
        return 0
    scenario = run.scenario
    longest_s = max([scenario.duration_s, *(scenario.training_duration_s or [])])
    ticks = math.ceil(longest_s / scenario.sim_step_s)
    return run.training.worlds * scenario.constellation.size * ticks * WORLD_TICK_BYTES


def check_workers(compute: ComputeConfig, satellites: int, available: int | None, worlds: int = 0) -> None:
    """Refuse more workers of this machine than its memory allows.

    Args:
        compute: of the run.
        satellites: of the constellation.
        available: bytes left, see ``available_bytes``; None: not known, nothing is refused.
        worlds: bytes of each worker's worlds, see ``worlds_bytes``.

    Raises:
        ConfigError: they would not fit.
    """
    each = PROCESS_BYTES + SATELLITE_BYTES * satellites * compute.episodes_per_job + worlds
    elsewhere = compute.workers_on is WorkersOn.ray and compute.ray_address is not None
    if elsewhere or available is None or compute.workers * each <= available:
        return
    fit = available // each
    fewer = "satellites, training.worlds or episodes_per_job" if worlds else "satellites or episodes_per_job"
    allowed = f"at most {fit}" if fit else f"with fewer {fewer}, for not even one fits"
    raise ConfigError(
        f"compute.workers={compute.workers} is not allowed: each takes about {each / 2**30:.1f} GiB with {satellites} "
        f"satellites and episodes_per_job={compute.episodes_per_job}, and {available / 2**30:.1f} GiB are left: it "
        f"must be {allowed}"
    )


def available_bytes(proc: Path = Path("/proc"), cgroup: Path = Path("/sys/fs/cgroup")) -> int | None:
    """What new processes may take: the machine's, and less where this one is confined; None where that is not told."""
    limits = []
    try:
        lines = (proc / "meminfo").read_text().splitlines()
        limits += [1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    except OSError:
        pass
    try:
        limit, used = ((cgroup / f"memory.{name}").read_text().strip() for name in ("max", "current"))
        limits += [max(0, int(limit) - int(used))] if limit != "max" else []
    except OSError:
        pass
    return min(limits, default=None)
