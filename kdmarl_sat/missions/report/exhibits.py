"""The figures of a report for which a run has data, with titles and captions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from envs.basilisk.trace import Trace
from kdmarl_sat.missions.report import figures, flight_figures
from kdmarl_sat.missions.report.geometry import along_and_across_km
from kdmarl_sat.missions.report.schedule_figures import gantt
from kdmarl_sat.missions.report.summary import PolicySummary, teacher_of
from kdmarl_sat.missions.results import PolicyResult, RunResult
from kdmarl_sat.report.formats import number

_STRING_KM = 1200.0  # targets farther from the first satellite's track than this: not one string of satellites
_UNROLLED_KM = 45_000.0  # about one orbit


@dataclass(frozen=True, slots=True)
class Exhibit:
    """A figure of the report; ``name`` is its file name without ending: letters, digits, hyphens."""

    name: str
    section: str
    title: str
    caption: str
    figure: Figure


def exhibits(result: RunResult, summaries: Sequence[PolicySummary]) -> list[Exhibit]:
    """Every figure for which the run has data, in the order of the report."""
    return [
        *_comparison(result, summaries),
        *_flights(result),
        *_networks(result),
    ]


def _comparison(result: RunResult, summaries: Sequence[PolicySummary]) -> list[Exhibit]:
    shown: list[Exhibit] = []
    flown = [summary for summary in summaries if summary.policy.episodes]
    if flown:
        shown.append(
            Exhibit(
                "captured-priority",
                "result",
                "Captured priority",
                "Look at whether the intervals part: mean over the held-out episodes, which every policy flew alike, "
                "with its bootstrap interval; faint dots are single episodes.",
                figures.captured_priority(
                    [
                        figures.Score(
                            name=summary.policy.name,
                            label=summary.policy.label,
                            episodes=tuple(episode.captured for episode in summary.policy.episodes),
                            interval=summary.captured,
                        )
                        for summary in flown
                    ],
                    available=flown[0].available,
                ),
            )
        )
        shown.append(
            Exhibit(
                "satellite-shares",
                "result",
                "Who captured it",
                "Look for a satellite that earns almost nothing: each row splits one policy's captured priority "
                "among the satellites.",
                figures.satellite_shares(
                    [summary.policy.label for summary in flown],
                    result.satellites,
                    [summary.share for summary in flown],
                ),
            )
        )
    if any(curve.x for curve in result.curves):
        shown.append(
            Exhibit(
                "learning-curves",
                "result",
                "Learning",
                "Look at where each curve levels off: training episodes, so with exploration and with random lengths; "
                "compare policies in the figure of held-out episodes instead.",
                figures.learning_curves([curve for curve in result.curves if curve.x]),
            )
        )
    return shown


def _flights(result: RunResult) -> list[Exhibit]:
    shown: list[Exhibit] = []
    for policy, trace in traces_to_show(result.policies):
        name = file_name(policy.name)
        what = f"{policy.label}: {_tally(trace)}"
        shown.append(
            Exhibit(
                f"ground-track-{name}",
                "flight",
                f"Ground tracks, {policy.label}",
                f"{what} in the first held-out episode; look for large hollow circles: valuable targets nobody imaged.",
                flight_figures.ground_track(trace, result.satellites),
            )
        )
        if _one_string(trace):
            shown.append(
                Exhibit(
                    f"unrolled-track-{name}",
                    "flight",
                    f"The same targets along the unrolled track, {policy.label}",
                    "Look at how the satellites divide each cluster: the first one passes from left to right, the "
                    "others follow on nearly the same line.",
                    flight_figures.unrolled_track(trace, result.satellites),
                )
            )
        shown.append(
            Exhibit(
                f"timeline-{name}",
                "flight",
                f"Battery and actions, {policy.label}",
                "Look at whether charging (hollow) falls into sunlight and the battery stays clear of zero in eclipse "
                "(shaded); dots are first images, larger for higher priority.",
                flight_figures.timeline(trace, result.satellites),
            )
        )
        if policy.tasks:
            shown.append(
                Exhibit(
                    f"schedule-{name}",
                    "flight",
                    f"Schedule, {policy.label}",
                    "Look for hollow bars: images that were begun and not captured; marks tell duplicates, clouds and "
                    "what the guard or a fault put in the place of a decision.",
                    gantt(policy.tasks[0], result.satellites),
                )
            )
    return shown


def _networks(result: RunResult) -> list[Exhibit]:
    shown: list[Exhibit] = []
    measured = [policy for policy in result.policies if policy.agreement]
    if measured:
        shown.append(
            Exhibit(
                "agreement",
                "network",
                "Agreement with the teacher",
                "Look at which satellite's mask costs most: the share of decisions in which the student picks what the "
                "teacher would have picked.",
                figures.agreement(
                    [policy.label for policy in measured], result.satellites, [policy.agreement for policy in measured]
                ),
            )
        )
    costs = [_cost(policy) for policy in result.policies]
    if any(cost.parameters or cost.macs or cost.latency_us for cost in costs):
        teacher = teacher_of(result.policies)
        shown.append(
            Exhibit(
                "cost",
                "network",
                "What one decision costs",
                "Look at the ratio to the teacher on the right: bars reach to the costliest satellite, dots are single "
                "satellites; log scales, FLOP = 2 MAC, latency is wall clock on this machine.",
                figures.cost(costs, _cost(teacher) if teacher else None),
            )
        )
    if result.budget:
        shown.append(
            Exhibit(
                "budget",
                "network",
                "Budget margins",
                "Look for dots near or beyond the limit: each satellite's student as a percentage of what its flight "
                "processor grants.",
                figures.budget_margins(result.budget, result.satellites),
            )
        )
    return shown


def traces_to_show(policies: Sequence[PolicyResult]) -> list[tuple[PolicyResult, Trace]]:
    """The teacher's and the LH+A student's flight; where a run lacks them, those of the first policies traced."""
    traced = [(policy, policy.trace) for policy in policies if policy.trace is not None]
    wanted = [pair for pair in traced if pair[0].name.startswith("teacher") or pair[0].name == "kd_lh_a"]
    return (wanted or traced)[:2]


def epoch_and_altitude(config: Mapping[str, Any]) -> tuple[str, float] | None:
    """When episodes start, in Basilisk's format, and how high [km] the orbits are; None where a run does not say."""
    scenario = config.get("scenario")
    if not isinstance(scenario, Mapping) or not {"epoch_utc", "constellation"} <= scenario.keys():
        return None
    return str(scenario["epoch_utc"]), float(scenario["constellation"]["altitude_km"])


def file_name(text: str) -> str:
    """Letters, digits and hyphens only, whatever a policy is called."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "policy"


def _cost(policy: PolicyResult) -> figures.Cost:
    return figures.Cost(
        name=policy.name,
        label=policy.label,
        parameters=tuple(value for value in policy.parameters if value > 0),
        macs=tuple(value for value in policy.macs_per_decision if value > 0),
        latency_us=tuple(value for value in policy.host_latency_us if value > 0),  # NaN: never decided
    )


def _tally(trace: Trace) -> str:
    imaged = trace.target_imaged_by >= 0
    reached = trace.target_accessible | imaged
    return (
        f"{int(imaged.sum())} of {int(reached.sum())} targets within reach imaged, "
        f"{number(trace.target_priority[imaged].sum())} of {number(trace.target_priority[reached].sum())} priority,"
    )


def _one_string(trace: Trace) -> bool:
    """Whether all satellites and targets lie along the first satellite's track, over about one orbit at most."""
    _, across, path, offset = along_and_across_km(trace)
    reached = trace.target_accessible | (trace.target_imaged_by >= 0)
    farthest = max(np.abs(across[reached]).max(initial=0), np.abs(offset).max())
    return bool(farthest < _STRING_KM and np.ptp(path) < _UNROLLED_KM)
