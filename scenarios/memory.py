"""How much memory simulation workers take, and how much this machine has left."""

from __future__ import annotations

from pathlib import Path

from scenarios.ranges import ConfigError
from scenarios.schema import ComputeConfig, WorkersOn

# Resident memory, measured: a process with Basilisk loaded, and one satellite of one episode (hundreds of targets).
PROCESS_BYTES = 500 * 2**20
SATELLITE_BYTES = 4 * 2**20


def check_workers(compute: ComputeConfig, satellites: int, available: int | None) -> None:
    """Refuse more workers of this machine than its memory allows.

    Args:
        compute: of the run.
        satellites: of the constellation.
        available: bytes left, see ``available_bytes``; None: not known, nothing is refused.

    Raises:
        ConfigError: they would not fit.
    """
    each = PROCESS_BYTES + SATELLITE_BYTES * satellites * compute.episodes_per_job
    elsewhere = compute.workers_on is WorkersOn.ray and compute.ray_address is not None
    if elsewhere or available is None or compute.workers * each <= available:
        return
    fit = available // each
    allowed = f"at most {fit}" if fit else "with fewer satellites or episodes_per_job, for not even one fits"
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
