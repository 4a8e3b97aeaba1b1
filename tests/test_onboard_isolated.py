"""The worker process: the bits of the other runners, limits that hold, and no fault of it that outlasts a deadline."""

from __future__ import annotations

import gc
import multiprocessing
import os
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from onboard import build, quantise, table
from onboard.network import Activation, Architecture, Design, Dtype, Network, tensor_types
from onboard.runners import BrokenError, BuildError, DeadlineError, RunnerError, UpsetError
from onboard.runners.isolated import LIMITS, IsolatedRunner
from onboard.runners.native import NativeRunner
from onboard.runners.reference import ReferenceRunner
from onboard.spec import AgentSpec, Block, BoolArray, FloatArray

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the isolated runner needs Linux"),
    pytest.mark.skipif(not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="no C compiler"),
]

PATIENT_MS = 20_000.0  # where the deadline is not what is tested: shared machines stall
LOAD, DECIDE, VERIFY, QUIT = 1, 2, 3, 4
SLOTS = AgentSpec("scout", "h", (Block("own", 5, "1", 1.0), Block("seen", 3, "1", 1.0, 4)), ("charge",), 4)
PLAIN = AgentSpec("relay", "h", (Block("own", 17, "1", 1.0),), ("charge", "drift", "point"), 0)


def make_network(spec: AgentSpec, architecture: Architecture, dtype: Dtype = Dtype.FLOAT32, hidden: int = 9) -> Network:
    generator, design = np.random.default_rng(1), Design(hidden, architecture, Activation.RELU)
    tensors = {
        name: generator.normal(0, 2 / np.sqrt(shape[-1]), shape).astype(np.float32)
        for name, (shape, _) in tensor_types(spec, design).items()
    }
    network = Network(design, tensors)
    return quantise.quantised(network) if dtype is Dtype.INT8 else network


RELAY = make_network(PLAIN, Architecture.RECURRENT)


def inputs(spec: AgentSpec, count: int) -> Iterator[tuple[FloatArray, BoolArray]]:
    generator = np.random.default_rng(2)
    for _ in range(count):
        mask = generator.random(len(spec.actions)) < 0.6
        mask[generator.integers(len(mask))] = True
        yield generator.normal(0, 2, spec.obs_size).astype(np.float32), mask


OBS, MASK = next(inputs(PLAIN, 1))
HIDDEN = np.zeros(9, np.float32)


@pytest.fixture
def runner() -> Iterator[IsolatedRunner]:
    with IsolatedRunner(RELAY, PLAIN, PATIENT_MS) as made:
        yield made


def status_of(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, value in (line.split(":", 1) for line in lines)}


def exists(pid: int) -> bool:
    """Zombies do."""
    return Path(f"/proc/{pid}").exists()


# --- answers ---


@pytest.mark.requirement("EX-11")
@pytest.mark.parametrize("dtype", list(Dtype))
@pytest.mark.parametrize(
    ("spec", "architecture"),
    [(SLOTS, Architecture.OPPORTUNITY), (PLAIN, Architecture.RECURRENT), (SLOTS, Architecture.RECURRENT)],
)
def test_bits_are_those_of_the_other_runners(spec: AgentSpec, architecture: Architecture, dtype: Dtype) -> None:
    network = make_network(spec, architecture, dtype)
    others = ReferenceRunner(network, spec), NativeRunner(network, spec)
    hidden = HIDDEN
    with IsolatedRunner(network, spec, PATIENT_MS) as isolated:
        for t, (obs, mask) in enumerate(inputs(spec, 300)):
            if t == 150:
                isolated.reload()
            logits, after = isolated.step(obs, mask, hidden)
            assert logits.dtype == after.dtype == np.float32
            for other in others:
                expected_logits, expected_after = other.step(obs, mask, hidden)
                np.testing.assert_array_equal(logits.view(np.uint32), expected_logits.view(np.uint32))
                np.testing.assert_array_equal(after.view(np.uint32), expected_after.view(np.uint32))
            hidden = after
    assert np.abs(hidden).max() > 0.1  # the recurrence was exercised


def test_the_largest_network() -> None:
    spec = AgentSpec("big", "h", (Block("own", 512, "1", 1.0),), tuple(f"a{i}" for i in range(128)), 0)
    network = make_network(spec, Architecture.RECURRENT, hidden=256)
    obs, mask = next(inputs(spec, 1))
    hidden = np.zeros(256, np.float32)
    with IsolatedRunner(network, spec, PATIENT_MS) as isolated:
        found, expected = isolated.step(obs, mask, hidden), NativeRunner(network, spec).step(obs, mask, hidden)
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])


def test_settings_beyond_their_range() -> None:
    for hidden, said in ((264, "exceed the engine's maxima"), (600, "bytes of weights, at most 3145728")):
        with pytest.raises(BuildError, match=f"'relay': .*{said}"):
            IsolatedRunner(make_network(PLAIN, Architecture.RECURRENT, hidden=hidden), PLAIN, PATIENT_MS)
    with pytest.raises(ValueError, match="deadline_ms=0 is not allowed"):
        IsolatedRunner(RELAY, PLAIN, 0)
    with IsolatedRunner(RELAY, PLAIN, 1e300) as runner:  # a deadline in name only
        assert len(runner.step(OBS, MASK, HIDDEN)[0]) == len(MASK)


def test_a_bad_question_costs_one_answer(runner: IsolatedRunner) -> None:
    expected, pid = runner.step(OBS, MASK, HIDDEN), runner.pid
    bad = OBS.copy()
    bad[3] = np.nan
    for obs, mask, hidden, said in (
        (bad, MASK, HIDDEN, "observation"),
        (OBS, np.zeros_like(MASK), HIDDEN, "no action"),
        (OBS, MASK, HIDDEN + 2, "hidden state"),
    ):
        with pytest.raises(RunnerError, match=said) as caught:
            runner.step(obs, mask, hidden)
        assert type(caught.value) is RunnerError
    again = runner.step(OBS, MASK, HIDDEN)
    np.testing.assert_array_equal(again[0], expected[0])
    np.testing.assert_array_equal(again[1], expected[1])
    assert runner.pid == pid


# --- faults ---


@pytest.mark.requirement("EX-4")
def test_a_hung_worker_costs_the_deadline_and_is_back() -> None:
    with IsolatedRunner(RELAY, PLAIN, 300.0) as runner:
        reference = ReferenceRunner(RELAY, PLAIN).step(OBS, MASK, HIDDEN)
        first = runner.pid
        runner.pause()
        start = time.perf_counter()
        with pytest.raises(DeadlineError, match="no answer within 300 ms"):
            runner.step(OBS, MASK, HIDDEN)
        assert 0.3 <= time.perf_counter() - start < 10
        assert not exists(first)
        with pytest.raises(BrokenError, match="reload"):
            runner.step(OBS, MASK, HIDDEN)
        runner.reload()
        assert runner.pid != first
        runner.pause()
        runner.resume()
        np.testing.assert_array_equal(runner.step(OBS, MASK, HIDDEN)[0], reference[0])


@pytest.mark.requirement("EX-8")
@pytest.mark.parametrize("waiting", [False, True])
def test_a_killed_worker_is_noticed_at_once_and_replaced(runner: IsolatedRunner, waiting: bool) -> None:
    expected, pid = runner.step(OBS, MASK, HIDDEN), runner.pid
    if waiting:  # for an answer while it dies
        runner.pause()
        threading.Timer(0.2, os.kill, (pid, signal.SIGKILL)).start()
    else:
        os.kill(pid, signal.SIGKILL)
    start = time.perf_counter()
    with pytest.raises(BrokenError, match=r"the worker was ended by signal 9 \(Killed\)"):
        runner.step(OBS, MASK, HIDDEN)
    assert time.perf_counter() - start < PATIENT_MS / 2e3
    runner.reload()
    np.testing.assert_array_equal(runner.step(OBS, MASK, HIDDEN)[0], expected[0])
    assert runner.pid != pid and not exists(pid)


def test_an_interrupted_question_leaves_no_answer_for_the_next(runner: IsolatedRunner) -> None:
    class Interrupted(Exception):
        pass

    def interrupt(*_: object) -> None:
        raise Interrupted

    runner.pause()
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(Interrupted):
            runner.step(OBS, MASK, HIDDEN)
    finally:
        signal.signal(signal.SIGALRM, before)
    runner.reload()
    other = OBS + 1
    np.testing.assert_array_equal(
        runner.step(other, MASK, HIDDEN)[0], ReferenceRunner(RELAY, PLAIN).step(other, MASK, HIDDEN)[0]
    )


@pytest.mark.parametrize("dtype", list(Dtype))
def test_a_flipped_bit_is_found_and_gone_after_reload(dtype: Dtype) -> None:
    network = make_network(PLAIN, Architecture.RECURRENT, dtype)
    with IsolatedRunner(network, PLAIN, PATIENT_MS) as runner:
        expected = runner.step(OBS, MASK, HIDDEN)[0]
        for bit in (0, 7, 12_345, 10**9 + 7):
            runner.flip(bit)
            for _ in range(2):
                with pytest.raises(UpsetError, match="weights in memory have changed"):
                    runner.step(OBS, MASK, HIDDEN)
            runner.flip(bit)  # the same bit: all is well again
            np.testing.assert_array_equal(runner.step(OBS, MASK, HIDDEN)[0], expected)
            runner.flip(bit)
            runner.reload()
            np.testing.assert_array_equal(runner.step(OBS, MASK, HIDDEN)[0], expected)
        os.kill(runner.pid, signal.SIGKILL)
        os.waitid(os.P_PID, runner.pid, os.WEXITED | os.WNOWAIT)
        with pytest.raises(RunnerError, match="can be flipped"):
            runner.flip(0)


# --- limits ---


@pytest.mark.requirement("EX-15")
def test_every_limit_is_applied(runner: IsolatedRunner) -> None:
    status = status_of(runner.pid)
    assert status["Seccomp"] == "2" and status["NoNewPrivs"] == "1"
    limits = dict(re.findall(r"^(Max .*?) {2,}(\S+) ", Path(f"/proc/{runner.pid}/limits").read_text(), re.M))
    for name in ("Max data size", "Max open files", "Max file size", "Max core file size", "Max processes"):
        assert limits[name] == "0", name
    assert limits["Max cpu time"] == "3600"
    size = int(status["VmSize"].removesuffix(" kB")) * 1024
    assert size < int(limits["Max address space"]) < size + 1.1 * 2**20
    assert int(status["VmRSS"].removesuffix(" kB")) <= 1024
    root = os.geteuid() == 0
    assert runner.missing == (() if root else ("user",))
    assert set(runner.applied) == set(LIMITS) - set(runner.missing)
    if root:
        assert status["Uid"].split() == status["Gid"].split() == ["65534"] * 4
        assert status["Groups"] == "" and status["CapEff"].strip("0") == status["CapPrm"].strip("0") == ""
        assert sorted(os.listdir(f"/proc/{runner.pid}/fd")) == ["0", "1"]


def test_its_core() -> None:
    cores = os.sched_getaffinity(0)
    with IsolatedRunner(RELAY, PLAIN, PATIENT_MS, max(cores)) as runner:
        assert "affinity" in runner.applied
        os.sched_setaffinity(0, (min(cores),))
        try:
            runner.step(OBS, MASK, HIDDEN)
            assert os.sched_getaffinity(runner.pid) == {max(cores)}
        finally:
            os.sched_setaffinity(0, cores)
    with IsolatedRunner(RELAY, PLAIN, PATIENT_MS, core=100_000) as runner:
        assert runner.missing[0] == "affinity"
        assert len(runner.step(OBS, MASK, HIDDEN)[0]) == len(MASK)


def test_it_follows_its_caller(runner: IsolatedRunner) -> None:
    cores = os.sched_getaffinity(0)
    try:
        for core in (*cores, *cores):
            os.sched_setaffinity(0, (core,))
            runner.step(OBS, MASK, HIDDEN)
            assert os.sched_getaffinity(runner.pid) == {core}
    finally:
        os.sched_setaffinity(0, cores)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give it up")
def test_without_root_the_other_limits_hold() -> None:
    with open(build.worker(), "rb") as program:
        command, kept = [f"/proc/self/fd/{program.fileno()}"], [program.fileno()]  # its folder may be root's alone
        done = subprocess.run(
            command, pass_fds=kept, input=b"", capture_output=True, timeout=60, user=1000, group=1000, extra_groups=[]
        )
    taken = int.from_bytes(done.stdout[:4], "little")
    assert {name for bit, name in enumerate(LIMITS) if not taken >> bit & 1} == {"affinity", "user"}


def test_inside_another_filter() -> None:
    """As in a container, which has a seccomp filter of its own."""
    setup = """
import ctypes, os, struct, sys
allow = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0x7FFF0000))  # BPF_RET | BPF_K, SECCOMP_RET_ALLOW
program = ctypes.create_string_buffer(struct.pack("HP", 1, ctypes.addressof(allow)))
prctl = ctypes.CDLL(None, use_errno=True).prctl
long = ctypes.c_ulong
assert prctl(38, long(1), long(0), long(0), long(0)) == 0  # PR_SET_NO_NEW_PRIVS
assert prctl(22, long(2), program) == 0, ctypes.get_errno()  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER
os.execv(sys.argv[1], sys.argv[1:])
"""
    done = subprocess.run([sys.executable, "-c", setup, build.worker()], input=b"", capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")
    taken = int.from_bytes(done.stdout[:4], "little")
    assert "system calls" in [name for bit, name in enumerate(LIMITS) if taken >> bit & 1]


@pytest.mark.requirement("EX-15")
def test_the_sandbox_kills_whoever_leaves_it(tmp_path: Path) -> None:
    source, program = tmp_path / "escape.c", tmp_path / "escape"
    source.write_text(
        """
#define _GNU_SOURCE
#include "sandbox.h"
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
int main(int argc, char **argv)
{
    (void)argc;
    if (sandbox_enter(-1) == 0u || write(1, "in", 2) != 2) { return 1; }
    switch (atoi(argv[1])) {
    case 0: return 0;
    case 1: return open("/etc/passwd", O_RDONLY);
    case 2: return socket(AF_INET, SOCK_STREAM, 0);
    case 3: return fork();
    case 4: return kill(getppid(), SIGTERM);
    case 5: return execl("/bin/true", "true", (char *)0);
    case 6: return mmap(0, 4096, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED;
    default: return malloc(1 << 16) == 0;
    }
}
"""
    )
    command = [build.compiler(), f"-I{build.ENGINE}", str(source), str(build.ENGINE / "sandbox.c"), "-o", str(program)]
    subprocess.run(command, check=True, timeout=120)
    for deed in range(8):
        done = subprocess.run([program, str(deed)], stdout=subprocess.PIPE, timeout=60)
        assert done.stdout == b"in", deed
        assert done.returncode == (0 if deed == 0 else -signal.SIGSYS), deed


# --- requests that nobody should send ---


def message(opcode: int, payload: bytes) -> bytes:
    return struct.pack("<II", opcode, len(payload)) + payload


TABLE = table.dump(RELAY, PLAIN)
QUESTION = bytes(4) + OBS.tobytes() + MASK.tobytes() + HIDDEN.tobytes()
SHORT, ARGUMENT, DAMAGED = -2, -1, -5


def talk(program: Path, stream: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """The answers that a worker gives before its input ends or it stops; whatever it leaves behind is an error."""
    done = subprocess.run([program], input=stream, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    answers, at = [], 0
    while at < len(done.stdout):
        status, length = struct.unpack_from("<iI", done.stdout, at)
        assert len(done.stdout) >= at + 8 + length
        answers.append((status, done.stdout[at + 8 : at + 8 + length]))
        at += 8 + length
    return answers, done.stderr


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def hostile(seed: int) -> bytes:
    """Requests of right and wrong content, each framed, so that there is an answer to each."""
    generator, requests = np.random.default_rng(seed), []
    for _ in range(300):
        match generator.integers(6):
            case 0:
                requests.append(message(LOAD, TABLE))
            case 1:  # damaged, its CRC set right
                damaged = bytearray(TABLE)
                for _ in range(generator.integers(1, 4)):
                    damaged[generator.integers(4, 60)] = generator.integers(256)
                damaged[12:16] = zlib.crc32(damaged[16:]).to_bytes(4, "little")
                requests.append(message(LOAD, bytes(damaged[: len(damaged) - generator.integers(2) * 4])))
            case 2:
                requests.append(message(DECIDE, QUESTION))
            case 3:
                requests.append(message(DECIDE, generator.bytes(len(QUESTION) + int(generator.integers(-2, 3)))))
            case 4:
                requests.append(message(VERIFY, b""))
            case _:
                opcode = int(generator.integers(6, 2**32))
                requests.append(message(opcode, generator.bytes(int(generator.integers(5000)))))
    return b"".join(requests)


@pytest.fixture(scope="module")
def sanitised(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The request loop without the sandbox, under the address and undefined-behaviour sanitisers."""
    folder = tmp_path_factory.mktemp("sanitised")
    source, program = folder / "main.c", folder / "worker"
    source.write_text(
        '#include "targets/port.h"\nint main(void) { const uint8_t hello[8] = {0};\n'
        "if (port_write(hello, 8u) == 0) { serve(); } return 0; }\n"
    )
    files = [str(build.ENGINE / name) for name in (*build.SOURCES, "targets/driver.c", "channel.c")]
    flags = ["-std=c99", "-ffp-contract=off", "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    sizes = [f"-DKD_DRIVER_TABLE_BYTES={build.TABLE_BYTES}u", f"-I{build.ENGINE}"]
    command = [build.compiler(), *flags, *sizes, str(source), *files, "-o", str(program)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if done.returncode != 0 and re.search("lib(a|ub)san|-l(a|ub)san", done.stderr):
        pytest.skip("no sanitiser runtime")
    assert done.returncode == 0, done.stderr
    return program


def test_malformed_requests(sanitised: Path) -> None:
    loaded, decided = message(LOAD, TABLE), message(DECIDE, QUESTION)
    for program in (build.worker(), sanitised):
        answers, _ = talk(program, loaded + decided + message(VERIFY, b"") + message(QUIT, b"") + decided)
        assert [status for status, _ in answers[1:]] == [0, answers[2][0], 0] and answers[2][0] >= 0
        assert len(answers[2][1]) == 4 * (len(MASK) + len(HIDDEN))
        for stream, expected in {
            b"": [],
            decided[:5]: [],  # within the header
            loaded + decided[:-1]: [0],
            message(LOAD, TABLE[:100])[:60]: [],
            struct.pack("<II", LOAD, 2**32 - 1) + TABLE: [],
            decided + message(VERIFY, b""): [ARGUMENT, ARGUMENT],  # before a table
            message(77, b"?") + message(0, b""): [ARGUMENT, ARGUMENT],
            loaded + message(DECIDE, QUESTION[:-1]) + message(DECIDE, QUESTION + b"\0"): [0, SHORT, SHORT],
            loaded + message(DECIDE, b"") + message(VERIFY, b"more"): [0, SHORT, 0],
            message(LOAD, b"") + message(LOAD, TABLE[:-4]) + message(LOAD, TABLE + bytes(4)): [SHORT] * 3,
            loaded + message(LOAD, flipped(TABLE, 200)) + decided: [0, DAMAGED, ARGUMENT],
            message(LOAD, bytes(build.TABLE_BYTES + 100_000)) + loaded: [SHORT, 0],  # skipped to its end
        }.items():
            answers, errors = talk(program, stream)
            assert [status for status, _ in answers[1:]] == expected
            assert not any(payload for _, payload in answers[1:])
            assert errors == b""


@pytest.mark.requirement("EX-15")
def test_hostile_requests_leave_no_trace(sanitised: Path) -> None:
    for seed in range(3):
        stream = hostile(seed)
        (_, *flown), (_, *checked) = talk(build.worker(), stream)[0], talk(sanitised, stream)[0]
        assert flown == checked and len(flown) == 300
        assert {ARGUMENT, SHORT, 0} < {status for status, _ in flown}
        assert all(bool(payload) <= (status >= 0) for status, payload in flown)


# --- processes and files ---


def children() -> set[str]:
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if fields[1] == str(os.getpid()):
            found.add(path.parent.name)
    return found


def open_files() -> set[int]:
    listed = os.listdir("/proc/self/fd")
    return {int(file) for file in listed if os.path.lexists(f"/proc/self/fd/{file}")}  # without that of the listing


def test_respawns_leak_nothing() -> None:
    before = children(), open_files()
    runner = IsolatedRunner(RELAY, PLAIN, PATIENT_MS)
    for _ in range(200):
        runner.reload()
    runner.step(OBS, MASK, HIDDEN)
    assert children() == before[0] | {str(runner.pid)}
    runner.close()
    runner.close()
    with pytest.raises(BrokenError):
        runner.step(OBS, MASK, HIDDEN)
    assert (children(), open_files()) == before
    runner.reload()  # a closed runner may come back
    del runner
    gc.collect()
    with pytest.raises(BuildError):
        IsolatedRunner(make_network(PLAIN, Architecture.RECURRENT, hidden=264), PLAIN, PATIENT_MS)
    assert (children(), open_files()) == before


def test_a_worker_that_cannot_start(runner: IsolatedRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    runner.close()
    before, (soft, hard) = open_files(), resource.getrlimit(resource.RLIMIT_NOFILE)
    unused = sorted(set(range(1024)) - before)
    for left in range(4):  # two pipes take four numbers
        resource.setrlimit(resource.RLIMIT_NOFILE, (unused[left], hard))
        try:
            with pytest.raises(BrokenError, match="Too many open files"):
                runner.reload()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    monkeypatch.setattr(build, "worker", lambda: Path("/nowhere/worker"))
    with pytest.raises(BuildError, match=r"'relay': .* /nowhere/worker does not start: .* No such file"):
        IsolatedRunner(RELAY, PLAIN, PATIENT_MS)
    assert open_files() == before
    runner.reload()
    assert len(runner.step(OBS, MASK, HIDDEN)[0]) == len(MASK)


def test_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(BuildError, match="needs Linux, and this is darwin"):
        IsolatedRunner(RELAY, PLAIN, PATIENT_MS)


def test_a_forked_child_leaves_the_worker_alone(runner: IsolatedRunner) -> None:
    expected = runner.step(OBS, MASK, HIDDEN)[0]
    child = os.fork()
    if child == 0:
        runner.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    np.testing.assert_array_equal(runner.step(OBS, MASK, HIDDEN)[0], expected)


def _fly_and_leave(answers: multiprocessing.SimpleQueue[tuple[int, bytes]]) -> None:
    runner = IsolatedRunner(RELAY, PLAIN, PATIENT_MS)
    answers.put((runner.pid, runner.step(OBS, MASK, HIDDEN)[0].tobytes()))


def test_from_a_spawned_process_that_leaves_without_closing() -> None:
    context = multiprocessing.get_context("spawn")
    answers: multiprocessing.SimpleQueue[tuple[int, bytes]] = context.SimpleQueue()
    process = context.Process(target=_fly_and_leave, args=(answers,))
    process.start()
    pid, logits = answers.get()
    process.join(60)
    assert process.exitcode == 0
    assert logits == ReferenceRunner(RELAY, PLAIN).step(OBS, MASK, HIDDEN)[0].tobytes()
    assert not exists(pid)


def test_a_parent_without_standard_streams_that_is_killed() -> None:
    """Its worker goes with it, though another process holds the pipes open."""
    script = f"""
import os, sys
sys.path[:0] = {[str(build.ENGINE.parents[1]), str(Path(__file__).parent)]!r}
from test_onboard_isolated import *
told = os.dup(1)
os.close(0)
os.close(1)
runner = IsolatedRunner(RELAY, PLAIN, PATIENT_MS)
runner.step(OBS, MASK, HIDDEN)
if os.fork() == 0:
    os.close(told)
    time.sleep(5)
    os._exit(0)
os.write(told, str(runner.pid).encode())
os.close(told)
os.kill(os.getpid(), signal.SIGKILL)
"""
    parent = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    output, _ = parent.communicate(timeout=60)
    assert parent.returncode == -signal.SIGKILL
    until = time.monotonic() + 4
    while exists(int(output)) and time.monotonic() < until:
        time.sleep(0.01)
    assert not exists(int(output))
