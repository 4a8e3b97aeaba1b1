"""``python -m kdmarl_sat.results_table``: the stored run records as one table per scenario and preset.

It writes results/main_job.md and puts the same text between the markers in README.md, so that no number there is typed
in. Intervals are percentile bootstraps over training seeds and held-out episodes together, the episodes paired between
policies.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdmarl_sat.report.files import write_whole
from training.artifact import ROOT

BEGIN, END = "<!-- results: python -m kdmarl_sat.results_table -->", "<!-- end of results -->"
RESAMPLES = 5000
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
    """Markdown: one section per scenario and preset."""
    groups: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in records:
        groups[record["run"]["scenario"], record["run"]["preset"]].append(record)
    return "\n".join(_section(name, preset, group) for (name, preset), group in sorted(groups.items()))


def _section(scenario: str, preset: str, records: list[Record]) -> str:
    first = records[0]
    names = [p["name"] for p in first["policies"] if all(_policy(r, p["name"]) for r in records)]
    captured = {n: np.array([[e["captured"] for e in _policy(r, n)["episodes"]] for r in records]) for n in names}
    seeds, episodes = captured[names[0]].shape
    rng = np.random.default_rng(0)
    rows = rng.integers(seeds, size=(RESAMPLES, seeds, 1))
    columns = rng.integers(episodes, size=(RESAMPLES, 1, episodes))
    means = {name: values[rows, columns].mean(axis=(1, 2)) for name, values in captured.items()}
    commits = sorted({record["run"]["commit"][:10] + record["run"]["commit"][40:] for record in records})
    lines = [
        f"### {scenario}, preset={preset}: {seeds} training seed{'s' * (seeds > 1)} × {episodes} held-out episodes of "
        f"{first['config']['scenario']['duration_s']:g} s (commit {', '.join(commits)})",
        "",
        "| policy | captured priority | of global knowledge | kept of the teacher | duplicates | lost satellites | "
        "MACs per decision | times fewer | agrees with teacher |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    teacher_macs = max(_policy(first, "teacher_fo")["macs_per_decision"])
    for name in names:
        policies = [_policy(record, name) for record in records]
        flat = [episode for policy in policies for episode in policy["episodes"]]
        macs = max(policies[0]["macs_per_decision"], default=None)
        agreement = [value for policy in policies for value in policy["agreement"]]
        ratio = _interval(
            captured[name].mean() / captured["global_knowledge"].mean(), means[name] / means["global_knowledge"], 2
        )
        span = means["teacher_fo"] - means["random"]
        total = captured["teacher_fo"].mean() - captured["random"].mean()
        kept = _interval(
            100 * (captured[name].mean() - captured["random"].mean()) / total,
            100 * (means[name] - means["random"]) / span,
            0,
        )
        cells = [
            policies[0]["label"],
            _interval(captured[name].mean(), means[name], 1),
            ratio,
            f"{kept} %",
            f"{np.mean([e['duplicates'] for e in flat]):.1f}",
            f"{np.mean([e['deaths'] for e in flat]):.2f}",
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
        measured = ", ".join(f"{value['measured']:.3g}" for value in values)
        lines.append(f"- {claim['text']}: {measured} / {claim['wanted']:g}: {verdict}")
    return "\n".join([*lines, ""])


def _policy(record: Record, name: str) -> Any:
    return next((policy for policy in record["policies"] if policy["name"] == name), None)


def _interval(value: float, resampled: NDArray[np.float64], digits: int) -> str:
    low, high = np.percentile(resampled, [2.5, 97.5])
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def inserted(readme: str, text: str) -> str:
    """The README with the table between its markers."""
    before, rest = readme.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{text}{END}{after}"


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
