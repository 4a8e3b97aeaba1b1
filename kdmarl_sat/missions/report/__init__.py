"""The report of a run: figures, one page, one table, metrics.json."""

from __future__ import annotations

from pathlib import Path

from envs.files import write_whole
from kdmarl_sat.missions.report import html
from kdmarl_sat.missions.report.console import console_table
from kdmarl_sat.missions.report.exhibits import epoch_and_altitude, exhibits, file_name, traces_to_show
from kdmarl_sat.missions.report.metrics import metrics, write_metrics
from kdmarl_sat.missions.report.schedule import Flight, write_schedule, write_targets, write_trace
from kdmarl_sat.missions.report.summary import summarise
from kdmarl_sat.missions.results import RunResult
from kdmarl_sat.report.formats import number, percent
from kdmarl_sat.report.index import Entry
from kdmarl_sat.report.render import png

__all__ = ["console_table", "entry", "metrics", "write_metrics", "write_report"]


def write_report(result: RunResult, folder: Path) -> Path:
    """Write metrics.json, PNGs, schedules, flights as CZML and for Vizard and, last, report.html into a folder.

    Returns the page's path.
    """
    folder.mkdir(parents=True, exist_ok=True)
    summaries = summarise(result)
    write_metrics(metrics(result, summaries), folder / "metrics.json")
    shown = exhibits(result, summaries)
    for exhibit in shown:
        write_whole(folder / f"{exhibit.name}.png", png(exhibit.figure))
    where = epoch_and_altitude(result.config)
    if where is not None:
        _write_flights(result, where[0], folder)
    return write_whole(folder / "report.html", html.render(result, summaries, shown).encode())


def _write_flights(result: RunResult, epoch_utc: str, folder: Path) -> None:
    """Schedules and targets of every policy, and what the shown flights are to other programs."""
    scenario, in_full = (
        result.config["scenario"]["name"],
        {policy.name for policy, _ in traces_to_show(result.policies)},
    )
    for policy in result.policies:
        flight = Flight(scenario, policy.label, epoch_utc, result.satellites, result.catalogue_numbers)
        ending = f"-{file_name(policy.label)}"
        for episode, tasks in enumerate(policy.tasks):
            write_schedule(tasks, flight, folder, f"{ending}-{episode}" if episode else ending)
        if policy.trace is None:
            continue
        write_targets(policy.trace, flight, folder, ending)
        if policy.name in in_full:
            write_trace(policy.trace, next(iter(policy.tasks), None), flight, folder, ending)
            if policy.film is not None:
                write_whole(folder / f"flight{ending}.bin", policy.film)


def entry(result: RunResult) -> Entry:
    """The run in the index of all runs: what its policies captured, and the claims that it met."""
    shown = {row.policy.label: f"{number(row.captured.estimate)} captured" for row in summarise(result)[-6:]}
    for row in summarise(result):
        if row.policy.name.startswith("kd_") and row.retention is not None:
            shown[f"{row.policy.label}, kept"] = percent(row.retention.estimate)
    if result.claims:
        shown["claims met"] = f"{sum(met for *_, met in result.claims)} of {len(result.claims)}"
    run = result.run
    title = f"{run['scenario']}, {run['preset']}"
    return Entry(title, run["seed"], run["date"], "report.html", "captured-priority.png", shown)
