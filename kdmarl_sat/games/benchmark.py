"""``kdmarl-sat benchmark``: runs the paper's benchmark and makes its tables and figures of the records.

run        what has no record yet, several runs at a time; the same command again goes on where it was stopped
ablation   a distilled method with one of its parts off, or otherwise, at a time
reference  hand-written policies on MPE, to hold the trained teachers against
table      Tables I to III with the paper's numbers beside ours, retention and costs (md, csv, tex, html)
figures    FLOPs (Fig. 3), frequencies of actions (Fig. 4), learning curves, and over all games the probability of
           improvement and performance profiles (png)
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from rich.console import Console

from envs.files import write_whole
from kdmarl_sat.arguments import Parser, whole
from kdmarl_sat.command import sentences
from kdmarl_sat.console import plain_console
from kdmarl_sat.games import jobs as games_jobs
from kdmarl_sat.games.jobs import VARIANTS, Job
from kdmarl_sat.games.records import GameRecord, RecordError, read_all
from kdmarl_sat.report.pages import inserted
from scenarios.folders import check_file, check_folder
from scenarios.games.schema import BUDGETS, METHODS
from scenarios.ranges import ConfigError, cut

RECORDS, OUT, LOGS = Path("results/runs/benchmark"), Path("results/benchmark"), Path("outputs/benchmark")
REFERENCE, REFERENCE_EPISODES = Path("results/benchmark_reference.json"), 512
PEERS = Path("results/benchmark_peers.json")
_REFERENCE = "Play hand-written policies that see everything on two MPE maps, to hold teachers against."


def main(arguments: Sequence[str] | None = None) -> None:
    parser = _parser()
    options = parser.parse_args(arguments)
    with sentences(parser.prog, resumable=True):
        sys.exit(options.work(options))


def table(options: argparse.Namespace) -> int:
    from kdmarl_sat.games import reference as by_rule  # here, so that --help does not wait for them
    from kdmarl_sat.games.report import formats, overview, write_tables
    from kdmarl_sat.games.report.peers import read as read_peers
    from kdmarl_sat.games.report.summary import grouped

    for flag, path, usual in (("reference", options.reference, REFERENCE), ("peers", options.peers, PEERS)):
        if path != usual and not path.is_file():  # the usual ones need not be there
            raise ConfigError(f"{flag}={path} is not allowed: it must be a file")
    check_folder(f"out={options.out}", options.out)
    if options.readme is not None:
        check_file("readme", options.readme)
        _marked(options.readme, overview.BEGIN, overview.END)  # before any table is written
    records = _records(options.records)
    console = plain_console()
    by_hand, peers = by_rule.read(options.reference), read_peers(options.peers)
    written = write_tables(records, options.out, by_hand, peers)
    if options.readme is not None:
        written.append(_insert(options.readme, overview.overview(grouped(records)), overview.BEGIN, overview.END))
    for each in formats.console(grouped(records)):
        console.print(each)
    _say_written(console, written)
    return 0


def reference(options: argparse.Namespace) -> int:
    from kdmarl_sat.games import reference as by_rule

    check_file("reference", options.reference)
    console = plain_console()
    options.reference.parent.mkdir(parents=True, exist_ok=True)
    with console.status("hand-written policies play"):
        found = by_rule.measure(options.reference, REFERENCE_EPISODES)
    for name, values in found.items():
        console.print(f"{name}: {sum(values) / len(values):.2f} over {len(values)} episodes")
    _say_written(console, [options.reference])
    return 0


def figures(options: argparse.Namespace) -> int:
    from kdmarl_sat.games.report import write_figures

    check_folder(f"out={options.out}", options.out)
    records = _records(options.records)
    maps = _listed(options.maps, sorted({record.map for record in records}), "maps") if options.maps else None
    pair = _listed(options.methods, sorted({*METHODS, *(record.method for record in records)}), "methods")
    _say_written(plain_console(), write_figures(records, options.out, maps, pair))
    return 0


def run(options: argparse.Namespace) -> int:
    scenarios = _listed(options.scenarios, games_jobs.scenario_names(), "scenarios")
    methods = tuple(_listed(options.methods, METHODS, "methods"))
    overrides = games_jobs.checked_overrides(options.overrides)
    # Seeds outermost: early on there is one run of everything rather than all runs of one game.
    budgets = _listed(options.budget, BUDGETS, "budget")
    seeds = _seeds(options.seeds)
    jobs = [Job(name, seed, methods, "", overrides, each) for seed in seeds for each in budgets for name in scenarios]
    return _work_off(jobs, options)


def ablation(options: argparse.Namespace) -> int:
    scenarios = _listed(options.scenarios, games_jobs.scenario_names(), "scenarios")
    variants = _listed(options.variants, tuple(VARIANTS), "variants")
    [method] = _listed([options.method], [name for name in METHODS if name.startswith("kd_")], "method")
    overrides = games_jobs.checked_overrides(options.overrides)
    jobs = [
        Job(name, seed, (method,), variant, (*overrides, *VARIANTS[variant]), budget)
        for seed in _seeds(options.seeds)
        for budget in _listed(options.budget, BUDGETS, "budget")
        for name in scenarios
        for variant in variants
    ]
    return _work_off(jobs, options)


def _work_off(jobs: Sequence[Job], options: argparse.Namespace) -> int:
    if os.path.lexists(options.records) and not options.records.is_dir():
        raise ConfigError(f"records={options.records} is not allowed: it must be a folder")
    if not options.dry_run:
        for flag in ("records", "logs"):
            check_folder(f"{flag}={getattr(options, flag)}", getattr(options, flag))
    console = plain_console()
    left = games_jobs.missing(jobs, options.records)
    wanted, todo = (sum(len(job.methods) for job in each) for each in (jobs, left))
    said = f"{wanted - todo} of {wanted} runs have a record in {options.records}; {todo} to do"
    console.print(said, markup=False, soft_wrap=True)
    if options.dry_run:
        for job in left:
            console.print(f"{job.name}: {', '.join(job.methods)}", markup=False, soft_wrap=True)
        return 0
    signal.signal(signal.SIGTERM, _interrupt)
    failures = games_jobs.run(
        left, options.records, options.logs, options.jobs, options.threads_per_job, options.module, console
    )
    for failure in failures:
        print(f"kdmarl-sat benchmark: {failure.job.name} failed: {failure.reason}", file=sys.stderr)
    return 1 if failures else 0


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _records(folder: Path) -> list[GameRecord]:
    records = read_all(folder)
    if not records:
        raise RecordError(f"records={folder} holds no run records: kdmarl-sat benchmark run makes them")
    return records


def _insert(path: Path, text: str, begin: str, end: str) -> Path:
    """Put a text between its markers in a file."""
    return write_whole(path, inserted(_marked(path, begin, end), text, begin, end).encode())


def _marked(path: Path, begin: str, end: str) -> str:
    """A file's text.

    Raises:
        ConfigError: it is no text, or has not each marker once.
    """
    try:
        whole = path.read_text("utf-8") if path.is_file() else ""
    except UnicodeDecodeError as error:
        raise ConfigError(f"readme={path} is not UTF-8 text (byte {error.start}): save it as UTF-8") from error
    if (whole.count(begin), whole.count(end)) != (1, 1):
        raise ConfigError(f"readme={path} is not allowed: it must be a file with one line {begin} and one {end}")
    return whole


def _say_written(console: Console, paths: Sequence[Path]) -> None:
    for path in paths:
        console.print(f"written: {path}", markup=False, soft_wrap=True)


def _listed(given: Sequence[str], allowed: Sequence[str], flag: str) -> list[str]:
    """Names separated by spaces or commas, each once."""
    names = [name for part in given for name in part.split(",") if name]
    if not names:  # or nothing would be done, and nothing said
        raise ConfigError(f"{flag}={','.join(given)!r} is not allowed: it must be of {', '.join(allowed)}")
    for name in names:
        if name not in allowed:
            raise ConfigError(f"{flag}={cut(name)} is not allowed: it must be one of {', '.join(allowed)}")
    return list(dict.fromkeys(names))


def _seeds(given: Sequence[str]) -> list[int]:
    texts = [text for part in given for text in part.split(",") if text]
    for text in texts or [""]:
        if not re.fullmatch("[0-9]{1,10}", text) or int(text) >= 2**31:
            allowed = f"whole numbers from 0 to {2**31 - 1}, such as 0,1,2"
            raise ConfigError(f"seeds={cut(text) or repr(text)} is not allowed: it must be {allowed}")
    return list(dict.fromkeys(int(text) for text in texts))


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="kdmarl-sat benchmark", description=__doc__)
    commands = parser.add_subparsers(prog=parser.prog, required=True, metavar="{run,ablation,reference,table,figures}")

    def command(name: str, work: object, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.add_argument("--records", type=Path, default=RECORDS, help="folder of run records")
        sub.set_defaults(work=work)
        return sub

    def jobs(sub: argparse.ArgumentParser, scenarios: Sequence[str], budgets: Sequence[str]) -> None:
        sub.add_argument(
            "--budget", nargs="+", default=list(budgets), metavar="NAME",
            help="training steps: equal (the game's own number for all but the teacher), converged (the teacher's)",
        )  # fmt: skip
        sub.add_argument("--scenarios", nargs="+", default=list(scenarios), metavar="NAME", help="games to run")
        sub.add_argument("--seeds", nargs="+", default=["0,1,2"], metavar="N,N", help="training seeds")
        number, threads = whole("jobs", 1, 1024), whole("threads_per_job", 1, 1024)
        sub.add_argument("--jobs", type=number, default=2, help="processes at a time, one per game and seed")
        sub.add_argument("--threads-per-job", type=threads, default=1, help="threads of each process")
        sub.add_argument(
            "overrides", nargs="*", metavar="KEY=VALUE",
            help="settings of the runs, e.g. preset=smoke; records of other settings do not count",
        )  # fmt: skip
        sub.add_argument("--logs", type=Path, default=LOGS, help="folder of what each process says")
        sub.add_argument("--module", default="kdmarl_sat.run", help="what a process runs: python -m MODULE")
        sub.add_argument("--dry-run", action="store_true", help="say what is missing and run nothing")

    sub = command("run", run, "Run what has no record yet; the same command again goes on where it was stopped.")
    sub.add_argument("--methods", nargs="+", default=list(METHODS), metavar="NAME", help="methods to run")
    jobs(sub, games_jobs.scenario_names(), BUDGETS)
    sub = command("ablation", ablation, "Run a distilled method with one part off or otherwise at a time.")
    sub.add_argument("--method", default="kd_lh", help="the distilled method")
    sub.add_argument("--variants", nargs="+", default=list(VARIANTS), metavar="NAME", help="what is off")
    jobs(sub, ["smac_3m"], ["equal"])
    sub = command("table", table, "Write tables.md, tables.csv, tables.tex and tables.html and print the main one.")
    sub.add_argument("--out", type=Path, default=OUT, help="folder of the tables")
    sub.add_argument("--reference", type=Path, default=REFERENCE, metavar="FILE", help="what `reference` wrote")
    sub.add_argument("--peers", type=Path, default=PEERS, metavar="FILE", help="what kdmarl-sat measure peers wrote")
    sub.add_argument("--readme", type=Path, metavar="FILE", help="put a short one between its markers in this file")
    sub = commands.add_parser("reference", help=_REFERENCE, description=_REFERENCE)
    sub.add_argument("--reference", type=Path, default=REFERENCE, metavar="FILE", help="where to keep it")
    sub.set_defaults(work=reference)
    sub = command("figures", figures, "Draw FLOPs, frequencies of actions and learning curves.")
    sub.add_argument("--out", type=Path, default=OUT, help="folder of the figures")
    sub.add_argument("--maps", nargs="+", metavar="MAP", help="games of curves and actions; all if not given")
    sub.add_argument(
        "--methods", nargs="+", default=["kd_lh_a", "mappo_lh_a"], metavar="NAME", help="whose actions are drawn"
    )
    return parser
