"""kill -9 at random moments of a mission and of a game: started again, they end in the same bytes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from kdmarl_sat.measure.evidence import kills

if not sys.platform.startswith("linux"):
    pytest.skip("reads /proc", allow_module_level=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", kills.RUNS)
def test_killed_at_twenty_moments_it_ends_in_the_same_bytes(name: str) -> None:
    if name == "game":
        pytest.importorskip("mpe2")
    found = kills.measure(kills.RUNS[name], 20, 1, print)
    assert len(found["kills"]) == 20 and found["files_equal"] >= 3


def test_a_process_that_is_left_is_seen() -> None:
    """A leader that is gone, and its child that stays in the session."""
    child = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'input()'], stdin=sys.stdin); print()"
    leader = subprocess.Popen(
        [sys.executable, "-c", child], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True
    )
    leader.wait()
    assert leader.stdin is not None
    (left,) = kills.session(leader.pid)
    assert left != leader.pid
    leader.stdin.close()  # which ends the child
    for _ in range(500):
        if not kills.session(leader.pid):
            return
        subprocess.run(["sleep", "0.02"], check=True)
    pytest.fail(f"process {left} is still there")


def test_another_byte_is_another_result_and_another_time_is_none(tmp_path: Path) -> None:
    (tmp_path / "cache" / "teacher").mkdir(parents=True)
    (tmp_path / "records").mkdir()
    weights, record = tmp_path / "cache" / "teacher" / "final.safetensors", tmp_path / "records" / "r.json"
    weights.write_bytes(b"weights")
    record.write_text('{"run": {"date": "now"}, "curve": [{"return": 1.5, "cpu_s": 3}]}')
    first = kills.result(tmp_path)
    assert list(first) == ["cache/teacher/final.safetensors", "records/r.json"]
    record.write_text('{"run": {"date": "then"}, "curve": [{"return": 1.5, "cpu_s": 4}]}')
    assert kills.result(tmp_path) == first
    record.write_text('{"run": {"date": "now"}, "curve": [{"return": 1.25, "cpu_s": 3}]}')
    assert kills.result(tmp_path).keys() == first.keys() and kills.result(tmp_path) != first
    weights.write_bytes(b"weightz")
    assert kills.result(tmp_path)["cache/teacher/final.safetensors"] != first["cache/teacher/final.safetensors"]
