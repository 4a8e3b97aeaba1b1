"""The C engine on emulated processors against the native one, and the count of instructions against known programs."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest

from onboard import closed_form, emulation, instructions
from onboard.closed_form import terms
from onboard.emulation import TARGETS, Target
from onboard.network import Dtype, Network
from onboard.runners import BuildError, DeadlineError, RunnerError, UpsetError
from onboard.runners.emulated import EmulatedRunner
from onboard.runners.native import NativeRunner
from onboard.spec import AgentSpec

DECISIONS = 300


def need(target: Target) -> None:
    if target.missing:
        pytest.skip(f"not installed: {' '.join(target.missing)}")
    try:
        emulation.counter()
    except BuildError as error:
        pytest.skip(str(error))


@contextmanager
def flying(target: str, net: Network, spec: AgentSpec, deadline_ms: float = 5000.0) -> Iterator[EmulatedRunner]:
    need(TARGETS[target])
    with closing(EmulatedRunner(net, spec, target, deadline_ms)) as runner:
        yield runner


@pytest.mark.requirement("EX-11")
@pytest.mark.parametrize("dtype", Dtype)
@pytest.mark.parametrize("target", TARGETS)
def test_every_bit_is_the_native_engine_s(target: str, dtype: Dtype) -> None:
    """Sizes that are no multiple of a block; LEON3 and PowerPC are big-endian."""
    for net, spec in (instructions.plain(21, 13, 5, dtype), instructions.slotted(5, 3, 7, 12, dtype)):
        with flying(target, net, spec) as emulated, closing(NativeRunner(net, spec)) as native:
            hidden = expected_hidden = np.zeros(net.design.hidden, np.float32)
            for obs, mask in instructions.random_decisions(spec, DECISIONS):
                logits, hidden = emulated.step(obs, mask, hidden)
                expected, expected_hidden = native.step(obs, mask, expected_hidden)
                assert logits.tobytes() == expected.tobytes()
                assert hidden.tobytes() == expected_hidden.tobytes()


@pytest.mark.parametrize("target", TARGETS)
def test_an_upset_is_found_and_a_reload_mends_it(target: str) -> None:
    net, spec = instructions.slotted(5, 3, 7, 12, Dtype.INT8)
    (obs, mask), hidden = instructions.random_decisions(spec, 1)[0], np.zeros(12, np.float32)
    with flying(target, net, spec) as runner:
        expected = runner.step(obs, mask, hidden)
        runner.flip(4321)
        with pytest.raises(UpsetError, match="weights in memory"):
            runner.step(obs, mask, hidden)
        runner.reload()
        for ours, theirs in zip(runner.step(obs, mask, hidden), expected, strict=True):
            assert ours.tobytes() == theirs.tobytes()


@pytest.mark.parametrize("target", ["cortex-m7", "leon3", "cortex-a53"])
def test_what_the_engine_refuses_is_named_and_the_next_decision_is_made(target: str) -> None:
    net, spec = instructions.plain(21, 13, 5, Dtype.FLOAT32)
    (obs, mask), hidden = instructions.random_decisions(spec, 1)[0], np.zeros(13, np.float32)
    with flying(target, net, spec) as runner:
        for wrong, word in (
            ((obs * np.float32(np.nan), mask, hidden), "observation"),
            ((obs, mask & False, hidden), "no action is legal"),
            ((obs, mask, hidden + 2), "hidden state"),
            ((obs[:-1], mask, hidden), "shorter or longer"),
        ):
            with pytest.raises(RunnerError, match=word):
                runner.step(*wrong)
        assert np.isfinite(runner.step(obs, mask, hidden)[0]).all()


@pytest.mark.parametrize("target", ["cortex-m7", "leon3", "cortex-a53"])
def test_a_hung_emulator_is_ended_in_time_and_replaced(target: str) -> None:
    net, spec = instructions.plain(21, 13, 5, Dtype.FLOAT32)
    (obs, mask), hidden = instructions.random_decisions(spec, 1)[0], np.zeros(13, np.float32)
    with flying(target, net, spec, deadline_ms=1000.0) as runner:
        hung = runner.pid
        stop(hung)
        start = time.monotonic()
        with pytest.raises(DeadlineError, match="no answer in time"):
            runner.step(obs, mask, hidden)
        assert 1.0 <= time.monotonic() - start < 5
        assert_gone(hung)
        with pytest.raises(DeadlineError, match="reload starts another"):
            runner.step(obs, mask, hidden)
        runner.reload()
        runner.step(obs, mask, hidden)
        last = runner.pid
    assert_gone(last)
    runner.close()  # again, to no effect


def test_an_emulator_that_died_is_named_with_its_signal() -> None:
    net, spec = instructions.plain(21, 13, 5, Dtype.FLOAT32)
    (obs, mask), hidden = instructions.random_decisions(spec, 1)[0], np.zeros(13, np.float32)
    with flying("cortex-m7", net, spec) as runner:
        os.kill(runner.pid, signal.SIGKILL)
        with pytest.raises(DeadlineError, match="was killed by SIGKILL"):
            runner.step(obs, mask, hidden)


def test_a_runner_that_is_forgotten_leaves_no_process() -> None:
    need(TARGETS["leon3"])  # which would not notice that its channel has ended
    net, spec = instructions.plain(21, 13, 5, Dtype.FLOAT32)
    runner = EmulatedRunner(net, spec, "leon3")
    pid = runner.pid
    del runner
    assert_gone(pid)


def test_missing_packages_are_named() -> None:
    known = emulation.find("cortex-a53")
    missing = dataclasses.replace(known, compiler="pdp11-linux-gnu-gcc", emulator=("qemu-system-pdp11",))
    assert missing.missing == ("gcc-pdp11-linux-gnu", "qemu-system-pdp11")
    with pytest.raises(BuildError, match="apt-get install gcc-pdp11-linux-gnu qemu-system-pdp11"):
        emulation.image(missing)
    with pytest.raises(ValueError, match="target='pdp11' is not allowed: it must be one of cortex-m7, "):
        emulation.find("pdp11")


# A loop of 100, called twice from _start: the call and its delay slot are the caller's.
ARM = """.global _start, loop
loop: mov x1, #100
1: subs x1, x1, #1
   b.ne 1b
   ret
_start: bl loop
   bl loop
   mov x8, #93
   mov x0, #0
   svc #0
"""
SPARC = """.global _start, loop
loop: mov 100, %o1
1: subcc %o1, 1, %o1
   bne 1b
   nop
   retl
   nop
_start: call loop
   nop
   call loop
   nop
   mov 1, %g1
   clr %o0
   ta 0x10
   nop
"""


@pytest.mark.parametrize(
    ("name", "emulator", "program", "expected"),
    [("cortex-a53", "qemu-aarch64", ARM, 1 + 2 * 100 + 1), ("leon3", "qemu-sparc", SPARC, 1 + 3 * 100 + 2)],
)
def test_the_count_of_a_known_program(
    name: str, emulator: str, program: str, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = dataclasses.replace(TARGETS[name], emulator=(emulator,))
    need(target)
    (tmp_path / "loop.s").write_text(program)
    built = tmp_path / "loop"
    flags = ["-nostdlib", "-static", "-no-pie", "-Wl,--build-id=none", *target.flags]
    subprocess.run([target.compiler, *flags, "loop.s", "-o", built], cwd=tmp_path, check=True)
    monkeypatch.setattr(emulation, "image", lambda _: built)
    lines = tmp_path / "counts"
    subprocess.run(emulation.command(target, lines, ["loop"]), check=True, timeout=60)
    assert lines.read_text() == f"loop {expected}\n" * 2


@pytest.mark.parametrize("target", TARGETS)
def test_counts_repeat_themselves_and_the_closed_form_is_near(target: str) -> None:
    need(TARGETS[target])
    for dtype in Dtype:
        net, spec = instructions.slotted(7, 4, 9, 20, dtype)  # a shape that the closed form was not fitted to
        decisions = instructions.random_decisions(spec, 4)
        counts, answers = instructions.count(TARGETS[target], net, spec, decisions)
        assert instructions.count(TARGETS[target], net, spec, decisions) == (counts, answers)
        assert counts.step.least + counts.verify < counts.decide.mean < counts.step.most + counts.verify + 2000
        modelled = closed_form.instructions(target, spec, net.design)
        assert modelled == pytest.approx(counts.decide.mean, rel=0.08 if target == "cortex-a53" else 0.02)


def test_a_fit_finds_the_coefficients_that_counts_were_made_of() -> None:
    made = closed_form.ClosedForm(3.5, 70.0, 6.0, 2.0, 68.0, 17.0, 4.0, 500.0)
    sizes = ((9, 8, 3), (40, 12, 5), (90, 32, 7), (30, 64, 9))
    shapes = [instructions.plain(o, h, a, Dtype.FLOAT32) for o, h, a in sizes]
    shapes += [
        instructions.slotted(c, f, k, h, Dtype.FLOAT32)
        for c, f, k, h in ((4, 3, 5, 8), (9, 6, 12, 16), (20, 2, 3, 32), (7, 7, 20, 24), (5, 9, 9, 48))
    ]
    counted = [(terms(spec, net.design), made(terms(spec, net.design))) for net, spec in shapes]
    found = instructions.fit(counted)
    assert dataclasses.astuple(found) == pytest.approx(dataclasses.astuple(made), rel=1e-3)
    assert instructions.worst(found, counted) < 1e-5
    assert instructions.worst(dataclasses.replace(found, fixed=0.0), counted) > 1e-3


def stop(pid: int) -> None:
    """And wait until every thread has stopped: a signal takes a moment to arrive."""
    os.kill(pid, signal.SIGSTOP)
    due = time.monotonic() + 5
    tasks = Path(f"/proc/{pid}/task")
    while {path.read_text().rpartition(")")[2].split()[0] for path in tasks.glob("*/stat")} != {"T"}:
        assert time.monotonic() < due
        time.sleep(0.01)


def assert_gone(pid: int) -> None:
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
