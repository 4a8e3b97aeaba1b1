"""The one table at the end of a run."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from kdmarl_sat.missions.report.summary import PolicySummary, apart_of, confidence_of, faults_of, summarise
from kdmarl_sat.missions.results import RunResult
from kdmarl_sat.report.formats import count, factor, number, percent, short, spread
from onboard.flightlog import Kind

_HEADINGS = ("captured", "kept", "dupl.", "lost", "MACs", "less", "sum", "less", "bits", "agrees")
_BITS = "; bits: intents sent per orbit, of the satellite that sends most"
_LEGEND = (
    "captured: mean [{} interval]; kept: normalised retention, random 0, teacher 100; dupl., lost: duplicate images "
    "and satellites lost per episode; MACs: per decision of the costliest satellite, and how many times less than the "
    "teacher; sum: of all satellites, and how many times less"
)
_CAUSES = {
    Kind.LATE: "late answers",
    Kind.BAD_OUTPUT: "unusable answers",
    Kind.BAD_OBSERVATION: "unusable observations",
    Kind.EMPTY_MASK: "without a legal action",
}


def console_table(result: RunResult, summaries: Sequence[PolicySummary] | None = None) -> Table:
    """Every policy's captured priority, retention, losses and cost; 80 columns are enough."""
    rows = summarise(result) if summaries is None else summaries
    talking = any(row.bits_per_orbit_max for row in rows)
    losing = any(row.deaths for row in rows)
    cells = [_cells(row, talking, losing) for row in rows]
    left_out = {name for name, shown in (("bits", talking), ("lost", losing)) if not shown}
    episodes = max((len(row.policy.episodes) for row in rows), default=0)
    table = Table(
        title=f"Captured priority over {episodes} held-out episodes",
        title_justify="left",
        caption=_caption(result, talking),
        caption_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
        padding=0,
    )
    table.add_column("policy", min_width=8)
    for column, heading in enumerate(heading for heading in _HEADINGS if heading not in left_out):
        widest = max(len(heading), *(len(row[column]) for row in cells)) if cells else len(heading)
        table.add_column(heading, justify="right", no_wrap=True, min_width=widest)
    for row, texts in zip(rows, cells, strict=True):
        table.add_row(Text(row.policy.label), *texts)  # Text, not a string: labels are no markup
    return table


def _caption(result: RunResult, talking: bool) -> Text:
    """The legend, and a warning where a bundle's network did not decide everything itself."""
    legend = _LEGEND + (_BITS if talking else "")
    caption = Text(legend.format(percent(confidence_of(result))), "table.caption")
    if faults := faults_of(result):
        caption.append(f"\n{faults}")
    if apart := apart_of(result):
        caption.append(f"\n{apart}")
    for policy in result.policies:
        events = policy.events or {}
        if fallbacks := events.get(Kind.FALLBACK, 0):
            asked = events.get(Kind.DECISION, 0) + fallbacks
            causes = ", ".join(f"{count(events[kind])} {cause}" for kind, cause in _CAUSES.items() if events.get(kind))
            caption.append(
                f"\nwarning: {policy.label}: {count(fallbacks)} of {count(asked)} decisions in flight were the "
                f"fallback action instead of the network's ({causes})",
                "bold",
            )
    return caption


def _cells(row: PolicySummary, talking: bool, losing: bool) -> tuple[str, ...]:
    return (
        f"{number(row.captured.estimate)} {spread(row.captured)}".rstrip(),
        percent(row.retention.estimate if row.retention else None),
        number(row.duplicates),
        *((number(row.deaths, 2),) if losing else ()),
        short(row.macs_max),
        factor(row.macs_ratio),
        short(row.macs_sum),
        factor(row.macs_sum_ratio),
        *((short(row.bits_per_orbit_max),) if talking else ()),
        percent(row.agreement),
    )
