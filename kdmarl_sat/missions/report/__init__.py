"""The report of a run: figures, one page, one table, metrics.json."""

from __future__ import annotations

from pathlib import Path

from envs.files import write_whole
from kdmarl_sat.missions.report import html
from kdmarl_sat.missions.report.console import console_table
from kdmarl_sat.missions.report.czml import czml
from kdmarl_sat.missions.report.exhibits import epoch_and_altitude, exhibits, file_name, traces_to_show
from kdmarl_sat.missions.report.metrics import metrics, write_metrics
from kdmarl_sat.missions.report.summary import summarise
from kdmarl_sat.missions.results import RunResult
from kdmarl_sat.report.formats import number, percent
from kdmarl_sat.report.index import Entry
from kdmarl_sat.report.render import png

__all__ = ["console_table", "entry", "metrics", "write_metrics", "write_report"]


def write_report(result: RunResult, folder: Path) -> Path:
    """Write metrics.json, PNGs, the flights shown as CZML and for Vizard and, last, report.html into a folder.

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
        for policy, trace in traces_to_show(result.policies):
            title = f"{result.config['scenario']['name']}: {policy.label}"
            text = czml(trace, result.satellites, where[0], title)
            write_whole(folder / f"flight-{file_name(policy.label)}.czml", text.encode())
            trace.save(folder / f"flight-{file_name(policy.label)}.npz")
            if policy.film is not None:
                write_whole(folder / f"flight-{file_name(policy.label)}.bin", policy.film)
    return write_whole(folder / "report.html", html.render(result, summaries, shown).encode())


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
