"""Building the engine: without a compiler, into a cache, and never half."""

from __future__ import annotations

import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from onboard_samples import TINY, draw_network, make_bundle, make_inputs

from onboard import build
from onboard.executor import Executor
from onboard.flightlog import Kind
from onboard.network import Design
from onboard.runners import BuildError, Runner, native
from onboard.runners.native import NativeRunner

CACHED = (build.compiler, build.shared_library, build.worker, build.version, native._engine)

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache folder, nothing of it remembered before or after."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("CC", raising=False)
    for function in CACHED:
        function.cache_clear()
    yield tmp_path / "cache" / "kdmarl_sat" / "onboard"
    for function in CACHED:
        function.cache_clear()


def compiler_that(folder: Path, script: str) -> str:
    """A command that stands in for a compiler."""
    path = folder / "compiler"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def make_native(satellite: object, deadline_ms: float) -> Runner:
    return NativeRunner(satellite.network, satellite.spec)  # type: ignore[attr-defined]


def test_without_a_compiler_native_says_so_and_the_reference_flies(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BuildError, match=r"^no C compiler was found \(\$CC, cc, gcc, clang\): .* runner=reference$"):
        Executor(make_bundle(), make_runner=make_native)
    assert not cache.exists()
    executor = Executor(make_bundle(), deadline_ms=60_000)
    obs, mask = make_inputs(TINY, 5, 1)
    for t in range(5):
        executor.decide("scout", obs[t], mask[t], 60.0 * t)
    assert executor.log.counts()[Kind.DECISION] == 5


def test_the_compiler_of_the_environment_goes_first(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = compiler_that(tmp_path, 'exec cc "$@"')
    monkeypatch.setenv("CC", named)
    assert build.compiler() == named
    build.compiler.cache_clear()
    monkeypatch.setenv("CC", "/nowhere/cc")
    with pytest.raises(BuildError, match="CC='/nowhere/cc' is not allowed"):
        build.compiler()


def test_the_engine_is_built_once(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = tmp_path / "calls"
    monkeypatch.setenv("CC", compiler_that(tmp_path, f'echo x >> {calls}\nexec cc "$@"'))
    path = build.shared_library()
    built = len(calls.read_text().split())
    assert built == 1 + len(build.SOURCES) + 1  # its version, the sources, the link
    assert list(cache.iterdir()) == [path]
    build.shared_library.cache_clear()  # as in another process
    assert build.shared_library() == path
    assert len(calls.read_text().split()) == built


def test_other_flags_and_other_sources_are_another_file(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def built(*flags: str) -> Path:
        return build.build("kd.so", build.SOURCES, ("-std=c99", "-fPIC", *flags), ("-shared",))

    first = built()
    assert built("-DUNUSED=1") != first
    copy = Path(shutil.copytree(build.ENGINE, tmp_path / "engine"))
    monkeypatch.setattr(build, "ENGINE", copy)
    assert built() == first
    (copy / "kd_math.h").write_text((copy / "kd_math.h").read_text() + "\n")
    assert built() != first
    assert len(list(cache.iterdir())) == 3


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo 'it is broken' >&2; exit 1", "it is broken"),
        ("exit 1", "libkd.so could not be built by "),
        # It writes half of its output and then fails.
        ('while [ "$1" != -o ]; do [ "$1" ] || exit 0; shift; done; echo half > "$2"; exit 1', "could not be built"),
        ("printf '\\377' >&2; exit 1", "could not be built"),  # not UTF-8
        ("exit 0", "No such file or directory"),  # it says that it worked, and wrote nothing
    ],
)
def test_a_compiler_that_fails_leaves_nothing(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, said: str
) -> None:
    monkeypatch.setenv("CC", compiler_that(tmp_path, script))
    with pytest.raises(BuildError) as caught:
        build.shared_library()
    assert said in str(caught.value) and "\n" not in str(caught.value)
    assert list(cache.iterdir()) == []


def test_a_compiler_that_cannot_be_run(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path(compiler_that(tmp_path, ""))
    path.write_bytes(b"\0 neither a program nor a script")
    monkeypatch.setenv("CC", str(path))
    with pytest.raises(BuildError, match=r"libkd.so could not be built: .*Exec format error"):
        build.shared_library()


def test_a_cache_that_cannot_be_written(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(BuildError, match=r"libkd.so could not be built: .*Not a directory"):
        build.shared_library()


def test_a_library_that_cannot_be_loaded(cache: Path) -> None:
    build.shared_library().write_bytes(b"rubbish")
    with pytest.raises(BuildError, match="the C engine cannot be loaded: "):
        NativeRunner(draw_network(TINY, Design(4), 1), TINY)


def test_builders_at_the_same_time_do_not_disturb_each_other(cache: Path) -> None:
    """The last step of each is a rename onto the same name."""
    command = [sys.executable, "-c", "from onboard import build; print(build.shared_library())"]
    root = Path(__file__).parents[1]
    others = [subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    path = build.shared_library()
    assert [other.communicate()[0].strip() for other in others] == [str(path)] * 2
    assert list(cache.iterdir()) == [path]
    runner = NativeRunner(draw_network(TINY, Design(4), 1), TINY)
    obs, mask = make_inputs(TINY, 1, 1)
    assert np.isfinite(runner.step(obs[0], mask[0], np.zeros(4, np.float32))[0]).all()
