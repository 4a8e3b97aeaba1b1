"""What training costs beside other people's programs, as ``kdmarl-sat measure peers`` measured it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from envs.files import read_json
from kdmarl_sat.games.records import RecordError
from kdmarl_sat.games.report.cells import Table
from kdmarl_sat.report.formats import MISSING, count, factor, number

FORMAT, VERSION = "kdmarl_sat.benchmark_peers", 1


def read(path: Path) -> dict[str, Any] | None:
    """What ``kdmarl-sat measure peers`` recorded; None where there is no file.

    Raises:
        RecordError: it is damaged or of another version.
    """
    if not path.is_file():
        return None
    try:
        content: dict[str, Any] = read_json(path)
        known = (content["format"], content["version"]) == (FORMAT, VERSION)
        parts = {"settings", "machine", "runs", "comparisons"} - content.keys()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RecordError(f"{path} is damaged: {error}") from error
    if not known:
        raise RecordError(f"{path} has version {content['version']!r}: this program reads version {VERSION}")
    if parts:
        raise RecordError(f"{path} is damaged: it lacks {', '.join(sorted(parts))}")
    return content


def peers(measured: Mapping[str, Any] | None) -> list[Table]:
    """A row for each peer and each way in which ours was set beside it; nothing where nothing was measured."""
    if measured is None or not measured["comparisons"]:
        return []
    rows = [
        (
            row["peer"],
            row["ours"],
            count(_mean(measured, row["peer"], "steps_per_cpu_s")),
            count(_mean(measured, row["ours"], "steps_per_cpu_s")),
            f"{factor(row['rate'])} ({factor(row['whole_rate'])})",
            MISSING if row["level"] is None else number(row["level"], 1),
            MISSING if row["cost"] is None else f"{factor(row['cost'])} ({factor(row['whole_cost'])})",
            "" if row["wanted"] is None else f"{factor(row['wanted'])}: {'met' if row['met'] else 'not met'}",
        )
        for row in measured["comparisons"]
    ]
    head = (
        "peer",
        "ours",
        "its steps per CPU-s",
        "ours",
        "ratio",
        "common return",
        "CPU-s to it, ratio",
        "wanted ratio",
    )
    settings, machine = measured["settings"], measured["machine"]
    notes = (
        f"Recurrent MAPPO on simple_spread, {count(settings['steps'])} steps, seeds {_listed(settings['seeds'])}, "
        f"{settings['threads']} thread, on {machine['processor']}. Above 1×, ours is cheaper; ratios in brackets "
        "include start and compilation. The common return is the best return of the program that learns less.",
        '"ours": our usual settings, with the width and epochs of EPyMARL and JaxMARL and our own environments and '
        'minibatches; "as" a peer: also its environments and minibatches; arithmetic: layer widths that give its MACs.',
    )
    return [Table("What training costs beside other programs", head, tuple(rows), notes)]


def _mean(measured: Mapping[str, Any], program: str, what: str) -> float:
    return fmean(run[what] for run in measured["runs"] if run["program"] == program)


def _listed(values: Sequence[int]) -> str:
    return ", ".join(map(str, values))
