"""The comparison with other programs: what is read of their logs, what figures say, who is missing. No peer runs."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import sys
from pathlib import Path

import pytest
from rich.console import Console
from toy_game import ToyGame

from kdmarl_sat.games.records import RecordError
from kdmarl_sat.games.report.peers import peers, read
from kdmarl_sat.measure import doors
from kdmarl_sat.measure.peers import benchmark, cost, programs, smax
from kdmarl_sat.measure.peers.benchmark import compared, costs, ratios, record
from kdmarl_sat.measure.peers.cost import FailedError, Point, Run, averaged, compare, measure
from kdmarl_sat.measure.peers.ours import Watched, macs_per_step, train
from kdmarl_sat.measure.peers.programs import (
    BenchmarlReader,
    EpymarlReader,
    JaxmarlReader,
    OurReader,
    Program,
    Reader,
    Report,
    Started,
    find,
    overrides,
)
from scenarios.compose import composed_game

# As the programs print them, shortened.
EPYMARL = """\
[WARNING 00:18:11] my_main CUDA flag use_cuda was switched OFF automatically because no CUDA devices are available!
[INFO 00:18:15] my_main Beginning training for 6000 timesteps
[INFO 00:18:15] my_main t_env: 250 / 6000
[INFO 00:18:17] my_main Recent Stats | t_env:       4000 | Episode:      160
advantage_mean:           -0.0240	agent_grad_norm:           0.4149	critic_loss:              16.6735
ep_length_mean:           25.0000	pg_loss:                  -0.0199	q_taken_mean:              0.0112
return_mean:             -83.2500	return_std:               26.3142	target_mean:              -0.0127
test_ep_length_mean:      25.0000	test_return_mean:        -71.3551	test_return_std:          17.4280
[INFO 00:18:20] my_main Recent Stats | t_env:       8000 | Episode:      320
test_return_mean:        -71.3551	return_mean:             -79.5000	return_std:               23.7813
[INFO 00:18:22] my_main Finished Training
"""
JAXMARL = """\
Importing submoduled environments...
{"event": "start"}
{"returns": -86.7, "env_step": 0.0, "actor_loss": -0.02, "entropy": 1.605}
{"returns": -72.6, "env_step": 2048.0, "actor_loss": -0.02, "entropy": 1.597}
"""
BENCHMARL = (
    "Algorithm: mappo, Task: pettingzoo/simple_spread\n"
    "  0%|          | 0/3 [00:00<?, ?it/s]\x1b[92m [torchrl][INFO]\x1b[0m    Initialized LazyTensorStorage\n"
    "mean return = -27.125:  33%|███▎      | 1/3 [00:48<01:36, 48.19s/it]\r"
    "mean return = nan:  67%|██████▋   | 2/3 [01:34<00:47, 47.27s/it]\r"
    "mean return = -24.5: 100%|██████████| 3/3 [02:20<00:00, 47.27s/it]\r"
    "mean return = -24.5: 100%|██████████| 3/3 [02:20<00:00, 47.41s/it]\n"
)
OURS = """\
{"event": "start"}
{"steps": 3200, "return": -27.5, "episodes": 128}
{"steps": 6400, "return": null, "episodes": 0}
[1, 2]
{"not json
"""


@pytest.mark.parametrize(
    ("reader", "log", "reports"),
    [
        (EpymarlReader(), EPYMARL, [(4000, -27.75), (8000, -26.5)]),  # a sum over three agents
        (JaxmarlReader(), JAXMARL, [(2048, -28.9), (4096, -24.2)]),  # three times an agent's; steps before the update
        (BenchmarlReader(), BENCHMARL, [(6000, -27.125), (12000, None), (18000, -24.5)]),
        (OurReader(), OURS, [(3200, -27.5), (6400, None)]),
    ],
)
def test_logs_are_read(reader: Reader, log: str, reports: list[tuple[int, float | None]]) -> None:
    said = [event for line in log.replace("\r", "\n").splitlines() if (event := reader(line)) is not None]
    assert isinstance(said[0], Started)
    found = [event for event in said if isinstance(event, Report)]
    assert len(found) == len(said) - 1
    assert [report.steps for report in found] == [steps for steps, _ in reports]
    assert [report.mean_return for report in found] == [pytest.approx(value) for _, value in reports]


def test_the_doubles_print_what_is_read() -> None:
    space: dict[str, object] = {}
    exec(programs.WANDB, space)
    assert callable(space["init"]) and callable(space["log"])


def test_a_return_is_the_mean_over_the_latest_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "WINDOW_STEPS", 20)
    curve = [Point(10, 1.0, -4.0), Point(20, 2.0, None), Point(30, 3.0, -2.0), Point(40, 4.0, -1.0)]
    assert [point.mean_return for point in averaged(curve)] == [-4.0, -4.0, -2.0, -1.5]
    assert averaged([Point(10, 1.0, None)])[0].mean_return is None


def run_of(name: str, rate: float, start: float, returns: list[float], seed: int = 0) -> Run:
    """Reports every 20,000 steps, at ``rate`` steps per CPU second behind ``start`` CPU seconds."""
    steps = [20_000 * (n + 1) for n in range(len(returns))]
    curve = tuple(Point(s, start + s / rate, value) for s, value in zip(steps, returns, strict=True))
    return Run(name, seed, curve, curve[-1].cpu_s + 1.0, start / 2, 99.0)


RUNS = [
    run_of("ours", 10_000.0, 5.0, [-25.0, -21.0, -19.0]),
    run_of("ours, as JaxMARL", 4_000.0, 5.0, [-26.0, -23.0, -22.0]),
    run_of("JaxMARL", 2_000.0, 30.0, [-25.0, -20.0, -21.0]),
]


def test_a_run_tells_its_start_from_its_training() -> None:
    run = RUNS[2]
    assert run.steps == 60_000
    assert run.steady_rate == pytest.approx(2000.0)
    assert run.cpu_s_start == pytest.approx(30.0)
    assert run.whole_rate == pytest.approx(60_000 / 61.0)
    assert run.best == -20.0
    assert run.cpu_s_to(-20.0) == pytest.approx(50.0)
    assert run.cpu_s_to(-19.0) is None
    early = dataclasses.replace(run, curve=(Point(10_000, 35.0, -1.0), *run.curve))  # by luck: no full window yet
    assert (early.best, early.cpu_s_to(-20.0)) == (-20.0, pytest.approx(50.0))


def test_ratios_by_hand() -> None:
    row = compare(RUNS, "JaxMARL", "ours")
    assert row.level == -20.0  # JaxMARL's best; ours reaches it with its third report
    assert row.rate == pytest.approx(5.0)
    assert row.whole_rate == pytest.approx((60_000 / 12.0) / (60_000 / 61.0))
    assert row.cost == pytest.approx(20.0 / 6.0)
    assert row.whole_cost == pytest.approx(50.0 / 11.0)
    other = compare(RUNS, "JaxMARL", "ours, as JaxMARL")
    assert (other.rate, other.level) == (pytest.approx(2.0), -22.0)
    assert other.cost == pytest.approx(20.0 / 15.0)

    twice = [*RUNS, run_of("JaxMARL", 4_000.0, 30.0, [-25.0, -24.0, -23.0], seed=1)]
    both = compare(twice, "JaxMARL", "ours")
    assert both.rate == pytest.approx(10_000 / 3_000)
    assert both.level == -23.0  # what all of their runs and ours reach
    assert both.cost == pytest.approx(((20.0 + 15.0) / 2) / 4.0)

    nothing = run_of("EPyMARL", 100.0, 1.0, [-25.0, -24.0])
    silent = dataclasses.replace(nothing, curve=tuple(dataclasses.replace(p, mean_return=None) for p in nothing.curve))
    row = compare([*RUNS, silent], "EPyMARL", "ours")
    assert (row.level, row.cost, row.whole_cost) == (None, None, None)
    assert row.rate == pytest.approx(100.0)


def test_the_tables_say_what_is_met() -> None:
    rows = compared(
        [*RUNS, run_of("ours, as EPyMARL", 3_000.0, 5.0, [-26.0, -25.0]), run_of("EPyMARL", 900.0, 1, [-26.0, -25.0])]
    )
    assert [(row.peer, row.ours) for row in rows] == [
        ("EPyMARL", "ours"),
        ("EPyMARL", "ours, as EPyMARL"),
        ("JaxMARL", "ours"),
        ("JaxMARL", "ours, as JaxMARL"),
    ]
    console = Console(width=200)
    with console.capture() as shown:
        console.print(ratios(rows))
        console.print(costs(RUNS, {run.program: 1500 for run in RUNS}))
    lines = shown.get().splitlines()
    (jaxmarl,) = [line for line in lines if "ours, as JaxMARL" in line and "met" in line]
    assert "2.00" in jaxmarl and "≥ 1: met" in jaxmarl
    (epymarl,) = [line for line in lines if "ours, as EPyMARL" in line]
    assert "3.33" in epymarl and "≥ 5: not met" in epymarl
    (ours,) = [line for line in lines if line.startswith("│ ours  ")]
    assert ours.replace("│", " ").split() == [
        "ours",
        "10,000",
        "5,000",
        "5.0",
        "2",
        "-19.0",
        "9",
        "9",
        "11",
    ]
    (slow,) = [line for line in lines if line.startswith("│ ours, as JaxMARL") and "met" not in line]
    assert slow.replace("│", " ").split()[-3:] == ["15", "20", "—"]


def fake(script: str, **changes: object) -> Program:
    def command(steps: int, seed: int) -> list[str]:
        return [sys.executable, "-c", script, str(steps), str(seed)]

    made = Program("fake", command, OurReader, {"versions": {}}, 10)
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]


# It burns CPU time itself and in a child, which is counted while it runs.
BURN = """
import json, os, subprocess, sys, time
import doubled
def burn(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end: pass
print(json.dumps({"event": "start"}), flush=True)
child = subprocess.Popen([sys.executable, "-c", "import time\\nwhile time.process_time() < 0.3: pass\\ntime.sleep(60)"])
while True:
    fields = open(f"/proc/{child.pid}/stat").read().rpartition(")")[2].split()
    if (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") >= 0.28: break
    time.sleep(0.01)
print(json.dumps({"steps": int(sys.argv[1]) // 2, "return": -2.0}), flush=True)
burn(0.3)
print(json.dumps({"steps": int(sys.argv[1]), "return": doubled.value}), flush=True)
child.kill()
child.wait()
"""


def test_children_are_counted() -> None:
    cores = os.sched_getaffinity(0)
    run = measure(fake(BURN, doubles={"doubled": "value = -1.0"}), 40_000, seed=3, threads=1)
    assert os.sched_getaffinity(0) == cores
    assert (run.program, run.seed, run.steps) == ("fake", 3, 40_000)
    first, last = run.curve
    assert first.cpu_s - run.cpu_s_imports > 0.25  # the child's alone
    assert last.cpu_s - first.cpu_s == pytest.approx(0.3, abs=0.15)
    assert run.cpu_s >= last.cpu_s
    assert last.mean_return == -1.0  # the latest 20,000 steps hold the second report only
    less = measure(fake(BURN, doubles={"doubled": "value = -1.0"}, share=0.5), 40_000, seed=3, threads=1)
    assert less.steps == 20_000


@pytest.mark.parametrize("script", ["raise SystemExit('no such thing')", "print('no such thing')"])
def test_a_program_that_fails_is_quoted(script: str) -> None:
    with pytest.raises(FailedError, match=r"fake ended with code [01]: .*no such thing"):
        measure(fake(script), 40_000, seed=0, threads=1)


def test_missing_peers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src/main.py").touch()
    found, missing = find({"EPyMARL": tmp_path, "JaxMARL": tmp_path, "BenchMARL": None})
    assert found == {}
    assert missing == {
        "EPyMARL": f"{tmp_path / '.venv/bin/python'} is not there",
        "JaxMARL": f"{tmp_path / 'baselines/MAPPO/mappo_rnn_mpe.py'} is not there",
        "BenchMARL": "benchmarl=FOLDER was not given",
    }
    with pytest.raises(SystemExit) as stopped:
        doors.peers([f"epymarl={tmp_path}", f"out={tmp_path / 'out.json'}"])
    assert stopped.value.code == 2
    shown = capsys.readouterr()
    assert "EPyMARL is not compared: " in shown.out
    assert "JaxMARL is not compared: jaxmarl=FOLDER was not given" in shown.out
    assert shown.err.strip().endswith("there is no peer to compare with; name one, e.g. jaxmarl=FOLDER")
    assert not (tmp_path / "out.json").exists()


def test_too_short_a_training_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        doors.peers(["steps=1000"])
    assert stopped.value.code == 2
    assert "steps=1000 is not allowed: it must be at least 80000" in capsys.readouterr().err


def test_the_record_is_plain_json_without_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "processor", lambda: "none")
    settings = {"steps": 60_000, "seeds": [0], "threads": 1}
    made = [fake(BURN, name=name) for name in ("ours", "ours, as JaxMARL", "JaxMARL")]
    plain = json.loads(json.dumps(record(made, RUNS, {"EPyMARL": "away"}, settings), allow_nan=False))
    assert (plain["format"], plain["version"]) == ("kdmarl_sat.benchmark_peers", 1)
    assert plain["settings"]["window_steps"] == 20_000
    assert plain["missing"] == {"EPyMARL": "away"}
    assert plain["programs"]["JaxMARL"]["command"][-2:] == ["60000", "0"]
    assert plain["programs"]["ours"]["command"][0].startswith("python")
    assert [run["steps_per_cpu_s"] for run in plain["runs"]] == [10_000.0, 4_000.0, 2_000.0]
    assert [(row["ours"], row["wanted"], row["met"]) for row in plain["comparisons"]] == [
        ("ours", 1.0, True),
        ("ours, as JaxMARL", 1.0, True),
    ]


def test_the_table_of_what_was_measured(tmp_path: Path) -> None:
    made = [fake(BURN, name=run.program) for run in RUNS]
    settings = {"steps": 60_000, "seeds": [0], "threads": 1}
    path = tmp_path / "peers.json"
    path.write_text(json.dumps(record(made, RUNS, {}, settings)))
    [table] = peers(read(path))
    # 10,000 and 4,000 steps per CPU second against 2,000.
    assert [(row[0], row[1], row[4].split()[0], row[7]) for row in table.rows] == [
        ("JaxMARL", "ours", "5.00×", "1.00×: met"),
        ("JaxMARL", "ours, as JaxMARL", "2.00×", "1.00×: met"),
    ]
    assert peers(read(tmp_path / "none.json")) == []


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", r"peers\.json is damaged"),
        ("[]", r"peers\.json is damaged"),
        ('{"format": "kdmarl_sat.benchmark_peers", "version": 9}', "has version 9: this program reads version 1"),
        (
            '{"format": "kdmarl_sat.benchmark_peers", "version": 1, "runs": []}',
            "it lacks comparisons, machine, settings",
        ),
    ],
)
def test_a_record_that_cannot_be_read_is_a_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "peers.json"
    path.write_text(text)
    with pytest.raises(RecordError, match=sentence):
        read(path)


def test_ours_is_set_as_a_user_would() -> None:
    values = {"environments": 16, "last_action": "false", "learning_rate": 2e-3, "entropy": [0.01, 0.0]}
    assert overrides(values, 5000, 7, 1) == [
        *("scenario=mpe_spread", "seed=7", "compute.threads=1"),
        "mappo.phases=[{steps:5000,learning_rate:0.002,entropy:[0.01,0.0]}]",
        *("mappo.environments=16", "mappo.last_action=false"),
    ]


def test_our_trainer_reports_its_own_play(capsys: pytest.CaptureFixture[str]) -> None:
    sizes = {"hidden": 8, "critic_hidden": 8, "environments": 4, "window": 5, "epochs": 1, "minibatches": 1}
    learning = {"learning_rate": 1e-3, "entropy": [0.0, 0.0], "last_action": "false"}
    config = composed_game(*overrides(sizes | learning, 60, 0, 1))
    train(config, Watched(ToyGame(4, rounds=3)))
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == {"event": "start"}
    # Episodes of 3 steps in windows of 5: they end with steps 3, 6, 9, 12 and 15 of each environment.
    assert [(line["steps"], line["episodes"]) for line in lines[1:]] == [(20, 4), (40, 8), (60, 8)]
    assert all(0 <= line["return"] <= 4.5 for line in lines[1:])
    # Three agents of 18 columns and an identity of 3; a critic of 54 columns, two layers and a value.
    assert macs_per_step(config) == 3 * (21 * 8 + 6 * 8**2 + 8 * 5) + 54 * 8 + 8**2 + 8


JAXMARL_SMAX = """\
{"event": "start"}
{"returns": NaN, "win_rate": NaN, "env_step": 0.0, "total_loss": 0.1}
{"returns": 0.9, "win_rate": 0.25, "env_step": 16384.0, "total_loss": 0.1}
"""
OURS_SMAX = """\
{"event": "start"}
{"steps": 4096, "return": null, "won": null, "episodes": 0}
{"steps": 8192, "return": 1.5, "won": 0.5, "episodes": 10}
"""


def test_wins_are_read_of_both_programs() -> None:
    theirs, ours = smax.TheirWins(), smax.OurWins()
    started, *reports = [theirs(line) for line in JAXMARL_SMAX.splitlines()]
    assert isinstance(started, Started) and reports == [Report(16384, None), Report(32768, 0.25)]
    started, *reports = [ours(line) for line in OURS_SMAX.splitlines()]
    assert isinstance(started, Started) and reports == [Report(4096, None), Report(8192, 0.5)]
    assert theirs("Importing submoduled environments...") is None


def test_our_phases_are_shortened_in_proportion() -> None:
    program = smax.ours("3m", threads=1)
    words = [word for word in program.command(1000, 3) if not word.startswith(("-", "/"))]
    config = composed_game(*[word for word in words if "=" in word])
    whole = composed_game("scenario=smac_3m", "budget=equal").mappo.phases
    assert [phase.steps for phase in config.mappo.phases] == [phase.steps * 1000 // 2_000_000 for phase in whole]
    assert [phase.learning_rate for phase in config.mappo.phases] == [phase.learning_rate for phase in whole]
    assert (config.seed, config.compute.threads) == (3, 1)


def test_wins_against_cpu_seconds_are_kept_and_drawn(tmp_path: Path) -> None:
    curve = tuple(Point(20_000 * n, 10.0 * n, 0.3 * n) for n in (1, 2, 3))
    runs = [Run(name, 0, curve, 31.0, 2.0, 33.0) for name in (smax.OURS, smax.THEIRS)]
    stored = smax.record([], runs, {"map": "3s5z", "steps": 60_000, "seeds": [0], "threads": 1})
    assert stored["runs"][0]["curve (steps, CPU seconds, share won)"] == [
        [20_000, 10.0, 0.3],
        [40_000, 20.0, 0.6],
        [60_000, 30.0, 0.9],
    ]
    json.dumps(stored, allow_nan=False)
    console = Console(width=140, record=True, file=io.StringIO())
    console.print(smax.table(runs, "3s5z"))
    text = console.export_text()
    assert "never" in text and "20" in text  # 95 % never, 50 % after 20 CPU-seconds
    axes = smax.figure(runs).axes[0]
    assert [line.get_label() for line in axes.lines] == ["ours", "JaxMARL"]
    assert list(axes.lines[0].get_xdata()) == [10.0, 20.0, 30.0]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["map=3s5z"], "map=3s5z needs jaxmarl=FOLDER: a checkout of JaxMARL, with .venv in it"),
        (["map=3s5z", "jaxmarl=nowhere"], "nowhere/baselines/MAPPO/mappo_rnn_smax.py is not there"),
        (["map=9m"], "map='9m' is not allowed: it must be one of 3m, 3s5z, 5m_vs_6m, 8m"),
    ],
)
def test_what_wins_need_is_told(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        doors.peers([*arguments, "out=never/x.json"])
    assert told in capsys.readouterr().err
    assert not Path("never").exists()
