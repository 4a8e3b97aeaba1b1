"""Workers that die, hang or refuse."""

from __future__ import annotations

from pathlib import Path

import pytest

from envs.workers import WorkerError, WorkerPool
from tests import jobs


@pytest.mark.parametrize("workers", [1, 3])
def test_results_come_in_order(workers: int) -> None:
    with WorkerPool(jobs.square, workers) as pool:
        assert list(pool.map(range(7))) == [0, 1, 4, 9, 16, 25, 36]
        assert list(pool.map([5])) == [25]  # and again


def test_jobs_cpu_seconds_are_added_up() -> None:
    with WorkerPool(jobs.spend, 2) as pool:
        spent = sum(pool.map([0.2, 0.1, 0.2]))
        assert spent <= pool.cpu_s < spent + 0.3  # none for the waits


def test_a_crashed_workers_job_is_done_again(tmp_path: Path) -> None:
    with WorkerPool(jobs.crash_once, 2) as pool:
        assert list(pool.map([(str(tmp_path), n) for n in range(5)])) == [0, 1, 4, 9, 16]
        assert pool.restarts == 2


def test_a_hanging_workers_job_is_done_again(tmp_path: Path) -> None:
    with WorkerPool(jobs.hang_once, 2, job_timeout_s=3.0) as pool:
        assert list(pool.map([(str(tmp_path), n) for n in range(3)])) == [0, 1, 4]
        assert pool.restarts == 1


def test_a_job_that_keeps_killing_workers_is_named() -> None:
    with (
        WorkerPool(jobs.always_crash, 1, max_restarts=1) as pool,
        pytest.raises(WorkerError, match=r"job 0 was given up after 2 attempts: its worker died \(exit code -11\)"),
    ):
        list(pool.map([3]))


def test_a_job_that_raises_says_why_at_once() -> None:
    with WorkerPool(jobs.refuse, 1) as pool, pytest.raises(WorkerError) as caught:
        list(pool.map([8]))
    lines = str(caught.value).splitlines()
    assert lines[0] == "job 0 failed: Traceback (most recent call last):"
    assert lines[-1] == "ValueError: job 8 makes no sense"


@pytest.mark.parametrize(
    ("job", "sentence"), [(7, "job=7 is not allowed: it must be even"), (8, "bundle x is damaged")]
)
def test_an_error_of_ours_is_its_sentence_and_no_more(job: int, sentence: str) -> None:
    with WorkerPool(jobs.refuse_in_our_words, 1) as pool, pytest.raises(WorkerError) as caught:
        list(pool.map([job]))
    assert str(caught.value) == sentence


def test_an_abandoned_map_leaves_nothing_behind() -> None:
    with WorkerPool(jobs.square, 2) as pool:
        first = pool.map(range(50))
        assert next(first) == 0
        first.close()
        assert list(pool.map([7, 8])) == [49, 64]
