"""Workers whose parent is killed leave, whatever they are at."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

PARENTS = {
    "simulations": """
from envs.workers import WorkerPool
from tests import jobs
with WorkerPool(jobs.spin, 2) as pool:
    list(pool.map([sys.argv[1]] * 2))
""",
    "mutations": """
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from envs.tether import leave_with_parent
from tests import jobs
pool = ProcessPoolExecutor(2, multiprocessing.get_context("spawn"), leave_with_parent)
for each in [pool.submit(jobs.spin, sys.argv[1]) for _ in range(2)]:
    each.result()
""",
    "benchmark": """
from pathlib import Path
from kdmarl_sat.games import jobs as benchmark_jobs
benchmark_jobs._command = lambda *_: [sys.executable, "-c", f"from tests import jobs; jobs.spin({sys.argv[1]!r})"]
found = [benchmark_jobs.Job("mpe_spread", seed, ("mappo",)) for seed in range(2)]
benchmark_jobs.run(found, Path(sys.argv[1]) / "records", Path(sys.argv[1]) / "logs")
""",
}


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="reads /proc")
@pytest.mark.parametrize("kind", PARENTS)
def test_whoever_is_left_alone_leaves(tmp_path: Path, kind: str) -> None:
    code = "import sys\nif __name__ == '__main__':\n    " + PARENTS[kind].strip().replace("\n", "\n    ")
    (tmp_path / "parent.py").write_text(code)
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    parent = subprocess.Popen([sys.executable, str(tmp_path / "parent.py"), str(tmp_path)], env=environment)
    workers = _waited_for(lambda: [int(path.name) for path in tmp_path.glob("[0-9]*")], 2)
    assert all(_lives(worker) for worker in workers)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert _waited_for(lambda: [worker for worker in workers if not _lives(worker)], 2, within_s=10.0)


def _waited_for(found: Callable[[], list[int]], count: int, within_s: float = 60.0) -> list[int]:
    until = time.monotonic() + within_s
    while len(seen := found()) < count and time.monotonic() < until:
        time.sleep(0.05)
    assert len(seen) == count
    return list(seen)


def _lives(process: int) -> bool:
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"
