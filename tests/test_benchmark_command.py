"""The benchmark's command: what is missing, processes, tables. A small program stands in for the training."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from game_samples import smax_record

from kdmarl_sat.games import benchmark
from kdmarl_sat.games import jobs as benchmark_jobs
from kdmarl_sat.games.jobs import Job
from kdmarl_sat.games.records import read_all, write
from kdmarl_sat.games.report.overview import BEGIN, END
from kdmarl_sat.games.report.summary import grouped

ROOT = Path(__file__).parents[1]

# Writes the records that it is asked for; what else it does is said by the environment.
STAND_IN = """
import os, subprocess, sys, time
from pathlib import Path
from game_samples import smax_record
from kdmarl_sat.games.records import write

given = dict(argument.split("=", 1) for argument in sys.argv[1:])
trace = Path(os.environ["TRACE"])
with trace.open("a") as file:
    print(*sys.argv[1:], os.environ["OMP_NUM_THREADS"], file=file)
apart = ("scenario", "seed", "methods", "variant", "budget", "compute.threads", "output.records_dir")
overrides = tuple(argument for argument in sys.argv[1:] if argument.split("=")[0] not in apart)
for method in given["methods"].strip("[]").split(","):
    if method == os.environ.get("FAILS"):
        sys.exit("ValueError: the sky fell")
    if method == os.environ.get("FORGETS"):
        continue
    if method == os.environ.get("HANGS"):
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        trace.with_suffix(".pid").write_text(str(child.pid))
        time.sleep(60)
    record = smax_record(
        method, [True], int(given["seed"]), scenario=given["scenario"], map=given["scenario"].removeprefix("smac_"),
        variant=given.get("variant", ""), budget=given["budget"], overrides=overrides,
    )
    write(record, Path(given["output.records_dir"].strip("'")))
"""


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Arguments that have jobs run by the small program."""
    (tmp_path / "stand_in.py").write_text(STAND_IN)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(ROOT), str(ROOT / "tests")]))
    monkeypatch.setenv("TRACE", str(tmp_path / "trace"))
    records = tmp_path / "re cords"  # quoted for Hydra
    return ["module=stand_in", f"records={records}", f"logs={tmp_path / 'logs'}"]


def called(*arguments: str) -> int:
    handler = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit) as ended:
            benchmark.main(arguments)
    finally:
        signal.signal(signal.SIGTERM, handler)
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_what_is_missing(tmp_path: Path) -> None:
    write(smax_record("kd_lh", [True], 0), tmp_path)
    write(smax_record("kd_lh", [True], 1, variant="no_kl"), tmp_path)
    write(smax_record("mappo_fo", [True], 1, overrides=("mappo.hidden=8",)), tmp_path)
    jobs = [Job("smac_3m", seed, ("mappo_fo", "kd_lh")) for seed in (0, 1)]
    assert benchmark_jobs.missing(jobs, tmp_path) == [
        Job("smac_3m", 0, ("mappo_fo",)),
        Job("smac_3m", 1, ("mappo_fo", "kd_lh")),
    ]
    small = [Job("smac_3m", 1, ("mappo_fo",), "", ("mappo.hidden=8",))]
    assert benchmark_jobs.missing(small, tmp_path) == []
    on_starcraft = [Job("smac_3m", 0, ("kd_lh",), "", ("scenario.environment.backend=smac",))]
    assert benchmark_jobs.missing(on_starcraft, tmp_path) == on_starcraft
    assert benchmark_jobs.missing([Job("smac_8m", 0, ("kd_lh",))], tmp_path) == [Job("smac_8m", 0, ("kd_lh",))]


def test_a_run_with_the_teacher_of_another_seed_is_another_run(tmp_path: Path) -> None:
    """It overwrites no run with the seed's own teacher, stands apart in tables, and does not make that run needless."""
    own = smax_record("kd_lh", [True], 1)
    stranger = smax_record("kd_lh", [False], 1, teacher={"path": "there", "seed": 0, "digest": "d"})
    same = smax_record("kd_lh", [True], 1, teacher={"path": "there", "seed": 1, "digest": "d"})
    assert own.file_name() == same.file_name() != stranger.file_name()
    write(stranger, tmp_path)
    job, loaded = Job("smac_3m", 1, ("kd_lh",)), Job("smac_3m", 1, ("kd_lh",), "", ("teacher.load=there",))
    assert benchmark_jobs.missing([job], tmp_path) == [job]
    assert benchmark_jobs.missing([loaded], tmp_path) == []
    other = Job("smac_3m", 1, ("kd_lh",), "", ("teacher.load=elsewhere",))
    assert benchmark_jobs.missing([other], tmp_path) == [other]
    write(own, tmp_path)
    assert benchmark_jobs.missing([job, loaded], tmp_path) == []
    second = smax_record("kd_lh", [False], 2, teacher={"path": "there", "seed": 0, "digest": "d"})
    results = grouped([stranger, own, second])
    [place] = results.places
    main = results.get(place, "kd_lh")
    assert main is not None and main.records == (own,)
    assert [group.seeds for group, _ in results.otherwise] == [(1, 2)]


def test_every_ablation_composes() -> None:
    whole = benchmark_jobs.composed("scenario=smac_3m", "budget=equal")["distill"]
    for name, overrides in benchmark_jobs.VARIANTS.items():
        without = benchmark_jobs.composed("scenario=smac_3m", "budget=equal", *overrides)["distill"]
        changed = {key: without[key] for key in whole if whole[key] != without[key]}
        on = {"constant_imitation": {"imitation_left": 1}, "frozen_critic": {"tune_critic": False}}
        assert changed == on.get(name, dict.fromkeys(changed, 0)) and len(changed) == 1, name


def test_run_does_what_is_missing_and_nothing_twice(
    tmp_path: Path, stand_in: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    records = tmp_path / "re cords"
    write(smax_record("mappo_fo", [True], 0, overrides=("mappo.hidden=8",)), records)
    asked = ["run", *stand_in, "scenarios=smac_3m", "methods=mappo_fo,kd_lh", "seeds=[0,1]"]
    asked += ["threads_per_job=3", "mappo.hidden=8", "budget=equal"]
    assert called(*asked, "dry_run=true") == 0
    assert not (tmp_path / "trace").exists()
    assert called(*asked) == 0
    lines = sorted((tmp_path / "trace").read_text().splitlines())
    end = f"mappo.hidden=8 compute.threads=3 output.records_dir='{records}' 3"
    assert lines == [
        f"scenario=smac_3m seed=0 methods=[kd_lh] budget=equal {end}",
        f"scenario=smac_3m seed=1 methods=[mappo_fo,kd_lh] budget=equal {end}",
    ]
    assert len(read_all(records)) == 4
    assert "1 of 4 runs have a record" in capfd.readouterr().out
    assert called(*asked) == 0
    assert len((tmp_path / "trace").read_text().splitlines()) == 2
    assert "4 of 4 runs have a record" in capfd.readouterr().out


def test_both_budgets_are_run_unless_one_is_named(tmp_path: Path, stand_in: list[str]) -> None:
    asked = ["run", *stand_in, "scenarios=smac_3m", "methods=teacher,kd_lh", "seeds=0", "jobs=1"]
    assert called(*asked) == 0
    found = sorted((record.method, record.budget) for record in read_all(tmp_path / "re cords"))
    assert [name for name in found if name[0] == "kd_lh"] == [("kd_lh", "converged"), ("kd_lh", "equal")]
    assert len(found) == 3  # one teacher for both
    assert called(*asked) == 0
    assert len((tmp_path / "trace").read_text().splitlines()) == 2


def test_a_failed_job_is_named_and_the_others_go_on(
    tmp_path: Path, stand_in: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    asked = ["run", *stand_in, "scenarios=[smac_3m,smac_8m]", "seeds=0", "jobs=1", "budget=equal"]
    monkeypatch.setenv("FAILS", "kd_lh")
    assert called(*asked, "methods=[mappo_fo,kd_lh]") == 1
    said = capfd.readouterr().err
    for name in ("smac_3m-seed0", "smac_8m-seed0"):
        log = tmp_path / f"logs/{name}.log"
        assert f"kdmarl-sat benchmark: {name} failed: ValueError: the sky fell (exit code 1, log {log})" in said
    assert sorted(record.map for record in read_all(tmp_path / "re cords")) == ["3m", "8m"]
    monkeypatch.setenv("FORGETS", "qmix_fo")
    assert called(*asked, "methods=qmix_fo") == 1
    assert "smac_3m-seed0 failed: it ended without a record of qmix_fo (log " in capfd.readouterr().err


def test_an_interrupted_run_ends_its_processes_and_goes_on(
    tmp_path: Path, stand_in: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ["run", *stand_in, "scenarios=smac_3m", "methods=[mappo_fo,kd_lh]", "seeds=0"]
    asked += ["budget=equal"]
    command = [sys.executable, "-m", "kdmarl_sat", "benchmark", *asked]
    process = subprocess.Popen(command, env={**os.environ, "HANGS": "kd_lh"}, stderr=subprocess.PIPE, text=True)
    pid = tmp_path / "trace.pid"
    deadline = time.monotonic() + 60
    while not (pid.exists() and pid.read_text()):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130 and "interrupted: the same command again goes on" in said
    assert not alive(int(pid.read_text()))
    assert [record.method for record in read_all(tmp_path / "re cords")] == ["mappo_fo"]
    assert called(*asked) == 0
    assert (tmp_path / "trace").read_text().splitlines()[-1].startswith("scenario=smac_3m seed=0 methods=[kd_lh] ")


def alive(pid: int) -> bool:
    """Whether a process runs; one that nobody has waited for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_ablation_passes_variant_and_override(tmp_path: Path, stand_in: list[str]) -> None:
    assert called("ablation", *stand_in, "variants=[no_kl,own_only]", "seeds=4") == 0
    found = {record.variant: record.config["distill"] for record in read_all(tmp_path / "re cords")}
    assert set(found) == {"no_kl", "own_only"}
    assert found["no_kl"]["kl"] == 0 and found["own_only"]["teacher_steps"] == 0
    assert "variant=no_kl budget=equal distill.kl=0 compute.threads=1 " in (tmp_path / "trace").read_text()


def test_tables_and_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records = tmp_path / "records"
    write(smax_record("mappo_fo", [True, True]), records)
    write(smax_record("kd_lh_a", [True, False]), records)
    both = [f"records={records}", f"out={tmp_path / 'out'}"]
    assert called("table", *both) == 0
    assert "KD-MARL LH+A" in capsys.readouterr().out
    readme = tmp_path / "README.md"
    readme.write_text(f"above\n{BEGIN}\nold\n{END}\nbelow")
    assert called("table", *both, f"readme={readme}") == 0
    assert "| KD-MARL LH+A |" in readme.read_text() and "old" not in readme.read_text()
    readme.write_text(f"above\n{BEGIN}\nbelow")
    assert called("table", *both, f"readme={readme}") == 2
    assert "README.md is not allowed: it must be a file with one line <!-- benchmark" in capsys.readouterr().err
    for content in ("<!-- ü -->".encode("latin-1"), "ü".encode("utf-16")):
        readme.write_bytes(content)
        assert called("table", both[0], f"out={tmp_path / 'none'}", f"readme={readme}") == 2
        assert "README.md is not UTF-8 text (byte " in capsys.readouterr().err
    assert not (tmp_path / "none").exists()  # no half of it
    assert called("figures", *both, "maps=3m") == 0
    names = ["actions-smac_3m-smax.png", "curves-smac_3m-smax.png", "flops-smax.png"]
    names += ["tables.csv", "tables.html", "tables.md", "tables.tex"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["run", "scenarios=smac_4m"], 2, "scenarios=smac_4m is not allowed: it must be one of mpe_adversary,"),
        (["run", "methods=magic"], 2, "methods=magic is not allowed: it must be one of teacher,"),
        (["run", "seeds=0,x"], 2, "seeds=x is not allowed: it must be whole numbers from 0"),
        (["run", "scenarios="], 2, "scenarios='' is not allowed: it must be of mpe_adversary,"),
        (["run", "methods=,"], 2, "methods=',' is not allowed: it must be of teacher,"),
        (["run", "seeds="], 2, "seeds='' is not allowed: it must be whole numbers from 0 to 2147483647"),
        (["run", "seeds=2147483648"], 2, "seeds=2147483648 is not allowed: it must be whole numbers from 0 to"),
        (["run", "jobs=0.5"], 2, "jobs=0.5 is not allowed: it must be a whole number, at least 1"),
        (["run", "jobs=9999999999999999999999999"], 2, "it must be a whole number, at least 1"),
        (["run", "threads_per_job=nan"], 2, "threads_per_job=nan is not allowed: it must be a whole number, at"),
        (["run", "scenarios=x" * 9000], 2, "…"),
        (["table", "reference=nosuch"], 2, "reference=nosuch is not allowed: it must be a file"),
        (["table", "peers=."], 2, "peers=. is not allowed: it must be a file"),
        (["table", "out=/proc/self/status"], 2, "out=/proc/self/status is not allowed: it must be a folder"),
        (["figures", "out=/proc/self/status"], 2, "it must be a folder that can be written to"),
        (["run", "jobs=0"], 2, "jobs=0 is not allowed: it must be at least 1"),
        (["run", "seed=3"], 2, "seed=3 is not allowed: it must be another setting than scenario, seed"),
        (["run", "mappo.hiden=3"], 2, "mappo.hiden is not a known key (did you mean hidden?)"),
        (["ablation", "method=mappo_fo"], 2, "method=mappo_fo is not allowed: it must be one of kd_lh,"),
        (["table"], 1, "holds no run records: kdmarl-sat benchmark run makes them"),
    ],
)
def test_bad_input_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, sentence: str
) -> None:
    assert called(*arguments, f"records={tmp_path / 'none'}") == code
    said = capsys.readouterr().err
    assert re.match(r"kdmarl-sat benchmark( run| ablation| table| figures)?: ", said)
    assert len(said) < 600 and sentence in said and said.count("\n") == 1
