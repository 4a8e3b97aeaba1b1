"""``python -m kdmarl_sat.results_table``: the stored run records as one table per scenario, preset and configuration.

It writes results/main_job.md and puts the same text between the markers in README.md, so that no number there is typed
in. Intervals are percentile bootstraps over training seeds and held-out episodes together, the episodes paired between
policies.
"""

from __future__ import annotations

import argparse
import json
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.files import write_whole
from kdmarl_sat.report.formats import MISSING
from training.artifact import ROOT

BEGIN, END = "<!-- results: python -m kdmarl_sat.results_table -->", "<!-- end of results -->"
RESAMPLES = 5000
APART_FROM = ("seed", "output", "compute")  # settings of runs that still make one section
ADDING = ("evaluation.controls",)  # settings that add policies and change none
READABLE = 1

Record = dict[str, Any]


class RecordError(ValueError):
    """A run record that cannot be read; the message is one sentence."""


def read_records(folder: Path) -> list[Record]:
    """All run records of a folder.

    Raises:
        RecordError: one that is damaged or of another version.
    """
    records = []
    for path in sorted(folder.glob("*.json")):
        try:
            record = json.loads(path.read_text())
        except json.JSONDecodeError as error:
            raise RecordError(f"run record {path} is damaged: {error}") from error
        version = record.get("version") if isinstance(record, dict) else None
        if version != READABLE or record.get("format") != "kdmarl_sat.metrics":
            raise RecordError(f"run record {path} has version {version!r}; this program reads version {READABLE}")
        records.append(record)
    return records


def table(records: Sequence[Record]) -> str:
    """Markdown: one section per scenario and preset, and one for each configuration unlike the first of these."""
    groups: dict[tuple[str, str], dict[str, list[Record]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        settings = json.dumps(_settings(record), sort_keys=True)
        groups[record["run"]["scenario"], record["run"]["preset"]][settings].append(record)
    sections = []
    for (name, preset), unlike in sorted(groups.items()):
        first = next(iter(unlike.values()))[0]
        for group in unlike.values():
            differences = "" if group[0] is first else _differences(group[0], first)
            sections.append(_section(name, preset, group, differences))
            most = max(len(record["policies"]) for record in group)
            further = [record for record in group if len(record["policies"]) == most]
            if len(further) < len(group):  # controls are flown with some seeds only
                sections.append(_section(name, preset, further, differences))
    return "\n".join(sections)


def _settings(record: Record) -> dict[str, Any]:
    """Settings by their dotted keys, less those that runs of one section may have each their own of."""

    def flat(node: Mapping[str, Any], where: str) -> Iterator[tuple[str, Any]]:
        for key, value in node.items():
            if isinstance(value, Mapping) and value:
                yield from flat(value, f"{where}{key}.")
            else:
                yield f"{where}{key}", value

    every = dict(flat({key: value for key, value in record["config"].items() if key not in APART_FROM}, ""))
    return {key: value for key, value in every.items() if key not in ADDING}


def _differences(record: Record, first: Record) -> str:
    ours, theirs = _settings(record), _settings(first)

    def shown(settings: Mapping[str, Any], key: str) -> str:
        return json.dumps(settings[key]) if key in settings else "not set"

    keys = [key for key in sorted({*ours, *theirs}) if shown(ours, key) != shown(theirs, key)]
    return ", ".join(f"`{key}` {shown(ours, key)} (there {shown(theirs, key)})" for key in keys)


def _section(scenario: str, preset: str, records: list[Record], differences: str = "") -> str:
    first = records[0]
    names = [p["name"] for p in first["policies"] if all(_policy(r, p["name"]) for r in records)]
    flown = [len(_policy(record, name)["episodes"]) for record in records for name in names]
    seeds, episodes = len(records), min(flown)
    captured = {
        n: np.array([[e["captured"] for e in _policy(r, n)["episodes"][:episodes]] for r in records]) for n in names
    }
    rng = np.random.default_rng(0)
    rows = rng.integers(seeds, size=(RESAMPLES, seeds, 1))
    columns = rng.integers(episodes, size=(RESAMPLES, 1, episodes))
    means = {name: values[rows, columns].mean(axis=(1, 2)) for name, values in captured.items()}
    commits = sorted({record["run"]["commit"][:10] + record["run"]["commit"][40:] for record in records})
    lines = [
        f"### {scenario}, preset={preset}: {seeds} training seed{'s' * (seeds > 1)} × {episodes} held-out episodes of "
        f"{first['config']['scenario']['duration_s']:g} s (commit {', '.join(commits)})",
        "",
        *([f"Configured otherwise than the first: {differences}.", ""] if differences else []),
        *([f"Some flew up to {max(flown)} episodes; the first {episodes} count.", ""] if max(flown) > episodes else []),
        "| policy | captured priority | of global knowledge | kept of the teacher | duplicates | lost satellites | "
        "guard's overrides | MACs per decision | times fewer | agrees with teacher |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    teacher_macs = max(_policy(first, "teacher_fo")["macs_per_decision"])
    for name in names:
        policies = [_policy(record, name) for record in records]
        overrides = [count for policy in policies for count in policy.get("overrides", ())]
        flat = [episode for policy in policies for episode in policy["episodes"][:episodes]]
        macs = max(policies[0]["macs_per_decision"], default=None)
        agreement = [value for policy in policies for value in policy["agreement"]]
        with np.errstate(divide="ignore", invalid="ignore"):  # a baseline may have captured nothing
            ratio = _interval(
                captured[name].mean() / captured["global_knowledge"].mean(), means[name] / means["global_knowledge"], 2
            )
            span = means["teacher_fo"] - means["random"]
            total = captured["teacher_fo"].mean() - captured["random"].mean()
            kept = _interval(
                100 * (captured[name].mean() - captured["random"].mean()) / total,
                100 * (means[name] - means["random"]) / span,
                0,
                " %",
            )
        cells = [
            policies[0]["label"],
            _interval(captured[name].mean(), means[name], 1),
            ratio,
            kept,
            f"{np.mean([e['duplicates'] for e in flat]):.1f}",
            f"{np.mean([e['deaths'] for e in flat]):.2f}",
            f"{np.mean(overrides):.1f}" if overrides else MISSING,
            "–" if macs is None else f"{macs:,}",
            "–" if macs is None else f"{teacher_macs / macs:.1f}",
            "–" if not agreement else f"{np.mean(agreement):.0%}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "Claims, per seed (measured / wanted):", ""]
    for index, claim in enumerate(first["claims"]):
        values = [record["claims"][index] for record in records]
        verdict = "met" if all(value["met"] for value in values) else "**not met**"
        if len({value["met"] for value in values}) > 1:
            verdict = "**met in part**"
        measured = ", ".join(MISSING if v["measured"] is None else f"{v['measured']:.3g}" for v in values)
        lines.append(f"- {claim['text']}: {measured} / {claim['wanted']:g}: {verdict}")
    return "\n".join([*lines, ""])


def _policy(record: Record, name: str) -> Any:
    return next((policy for policy in record["policies"] if policy["name"] == name), None)


def _interval(value: float, resampled: NDArray[np.float64], digits: int, unit: str = "") -> str:
    if not math.isfinite(value):
        return MISSING
    if not np.isfinite(resampled).all():  # of a ratio whose denominator is 0 in some resample
        return f"{value:.{digits}f}{unit}"
    low, high = np.percentile(resampled, [2.5, 97.5])
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]{unit}"


def inserted(readme: str, text: str, begin: str = BEGIN, end: str = END) -> str:
    """The README with a table between its markers."""
    before, rest = readme.split(begin)
    _, after = rest.split(end)
    return f"{before}{begin}\n{text}{end}{after}"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="kdmarl_sat.results_table", description=__doc__)
    parser.add_argument("--records", type=Path, default=ROOT / "results/runs")
    options = parser.parse_args(arguments)
    text = table(read_records(options.records))
    write_whole(ROOT / "results/main_job.md", text.encode())
    readme = ROOT / "README.md"
    write_whole(readme, inserted(readme.read_text(), text).encode())
    print(text)


if __name__ == "__main__":
    main()
